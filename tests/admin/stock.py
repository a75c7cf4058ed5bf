"""Stock: rows of every table that the admin shows, as many as a test wants, with what strangers write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from flask_linkback.models import (
    Attempt,
    Audit,
    Base,
    Block,
    BlockKind,
    Content,
    DirectoryPing,
    Event,
    Job,
    JobState,
    Link,
    LinkState,
    Listener,
    ListenerSecret,
    ListenerState,
    Mention,
    MentionState,
    MentionStatus,
    Receipt,
    Secret,
    Subscriber,
    SubscriberState,
    Subscription,
    SubscriptionRequest,
    SubscriptionState,
    Topic,
    Worker,
    digest,
)
from flask_linkback.webhooks.recording import DELIVER
from tests.apps import Blog

HOSTILE = "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>\u202egnp.exe"
"""What a stranger would have us show."""
SECRET = "whsec_c2VjcmV0LW9mLXRoZS1zdG9jay0wMTIzNDU2Nzg5"
_TITLES = ("A reply to your post", "Notes on distributed publishing", HOSTILE, "Wochenrückblick", "リンク集")
_REASONS = ("", "The server answers 503.", "timeout: Nothing came for 10 s.")


def rows_of(n: int, now: datetime) -> dict[type[Base], list[dict[str, Any]]]:
    """Return ``n`` rows for each table, the newest last."""
    made: dict[type[Base], list[dict[str, Any]]] = {
        kind: []
        for kind in (
            Mention, Link, DirectoryPing, Subscription, SubscriptionRequest, Topic, Content, Subscriber,
            Listener, ListenerSecret, Event, Job, Attempt, Receipt, Block, Audit,
        )
    }  # fmt: skip
    for i in range(1, n + 1):
        at = now - timedelta(seconds=97 * (n - i) + 5)
        host = f"site{i % 40}.example"
        state = list(MentionState)[i % 4]
        made[Mention].append(
            {
                "id": i, "key": digest("m", str(i)), "status_key": digest("s", str(i))[:32],
                "source": f"https://{host}/note/{i}", "source_key": digest(f"https://{host}/note/{i}"),
                "source_host": host, "target": f"https://blog.example/post/{i % 7}",
                "target_key": f"Post:{i % 7}", "target_hash": digest(f"Post:{i % 7}"),
                "protocol": ("webmention", "pingback", "trackback")[i % 3], "state": state,
                "status": list(MentionStatus)[i % 4], "type": ("mention", "reply", "like")[i % 3],
                "title": _TITLES[i % 5], "content": f"{HOSTILE}\nIt says something about {i}.",
                "author_name": "Ada" if i % 2 else HOSTILE,
                "author_url": "javascript:alert(1)" if i % 3 == 0 else f"https://{host}/",
                "received_at": at, "verified_at": at if state is MentionState.verified else None,
                "caller": "192.0.2.7",
            }
        )  # fmt: skip
        made[Link].append(
            {
                "id": i, "key": digest("l", str(i)), "source": f"https://blog.example/post/{i}",
                "source_key": digest(f"https://blog.example/post/{i}"), "target": f"https://{host}/page?{i}",
                "target_host": host, "state": list(LinkState)[i % 5], "protocol": "webmention",
                "endpoint": f"https://{host}/webmention", "status_code": (201, 400, 503)[i % 3],
                "answer": HOSTILE, "reason": _REASONS[i % 3], "attempts": i % 4, "created_at": at,
                "sent_at": at,
            }
        )  # fmt: skip
        made[DirectoryPing].append(
            {
                "id": i, "page_key": digest(f"https://blog.example/post/{i}"),
                "page_url": f"https://blog.example/post/{i}", "url": f"https://{host}/rpc",
                "success": bool(i % 2), "message": HOSTILE, "sent_at": at,
            }
        )  # fmt: skip
        made[Subscription].append(
            {
                "id": i, "key": digest("sub", str(i)), "topic_url": f"https://{host}/feed/{i}",
                "topic_key": digest(f"https://{host}/feed/{i}"), "page_url": f"https://{host}/",
                "hub_url": f"https://hub{i % 3}.example/",
                "state": list(SubscriptionState)[i % 8], "lease_seconds": 864_000,
                "lease_expires_at": at + timedelta(days=10 if i % 2 else -1), "secret": SECRET,
                "created_at": at, "verified_at": at, "delivered_at": at, "reason": _REASONS[i % 3],
            }
        )  # fmt: skip
        made[SubscriptionRequest].append(
            {
                "id": i, "subscription_id": i, "token": digest("t", str(i))[:43], "mode": "subscribe",
                "topic_url": f"https://{host}/feed/{i}", "hub_url": "https://hub.example/", "secret": SECRET,
                "created_at": at, "requested_at": at, "verified_at": at,
            }
        )  # fmt: skip
        made[Topic].append(
            {
                "id": i, "key": digest(f"https://blog.example/feed/{i}"),
                "url": f"https://blog.example/feed/{i}", "fetched_at": at, "created_at": at,
            }
        )  # fmt: skip
        made[Content].append(
            {
                "id": i, "subscription_id": i, "topic_id": None, "digest": digest(str(i)),
                "content_type": "application/atom+xml", "body": HOSTILE.encode(), "received_at": at,
            }
        )  # fmt: skip
        made[Subscriber].append(
            {
                "id": i, "key": digest("subscriber", str(i)), "topic_id": i,
                "topic_url": f"https://blog.example/feed/{i}", "callback_url": f"https://{host}/cb/{i}?<b>",
                "callback_host": host, "secret": SECRET, "state": list(SubscriberState)[i % 4],
                "lease_seconds": 864_000, "lease_expires_at": at + timedelta(days=3), "created_at": at,
                "verified_at": at, "reason": HOSTILE if i % 4 == 3 else "",
            }
        )  # fmt: skip
        made[Listener].append(
            {
                "id": i, "hook": ("person", "person.created", "person.*")[i % 3],
                "hook_hash": digest(("person", "person.created", "person.*")[i % 3]),
                "url": f"https://{host}/hook/{i}?x=<b>", "host": host, "owner": ("acme", "other")[i % 2],
                "state": list(ListenerState)[i % 5],
                "match": {"version": 1, "any": [{"name": {"startswith": "J"}}]},
                "headers": {"Authorization": "Bearer s3cr3t"}, "created_at": at, "updated_at": at,
                "failing_at": at if i % 5 == 2 else None, "reason": HOSTILE if i % 5 == 4 else "",
            }
        )  # fmt: skip
        made[ListenerSecret].append({"id": i, "listener_id": i, "secret": SECRET, "created_at": at})
        made[Event].append(
            {
                "id": i, "uid": f"evt_{i:032x}", "type": "person.updated", "hook": "person",
                "object_key": f"Person:{i}", "data": {"name": HOSTILE, "address": {"city": "Oslo"}},
                "changes": {"name": ["Jim", HOSTILE]}, "created_at": at, "dispatched_at": at,
            }
        )  # fmt: skip
        state_of_job = list(JobState)[i % 4]
        made[Job].append(
            {
                "id": i, "kind": DELIVER if i % 3 else "send_links", "state": state_of_job, "due_at": at,
                "host": host, "listener_id": i if i % 3 else None, "event_id": i if i % 3 else None,
                "attempts": 1, "reason": HOSTILE if state_of_job is JobState.dead else "", "created_at": at,
                "finished_at": at if i % 4 > 1 else None,
            }
        )  # fmt: skip
        made[Attempt].append(
            {
                "id": i, "job_id": i, "number": 1, "started_at": at, "seconds": 0.2,
                "outcome": "done" if i % 4 == 2 else "http", "url": f"https://{host}/hook/{i}",
                "address": "203.0.113.9", "status_code": 200 if i % 4 == 2 else 503,
                "headers": {"Content-Type": "text/html", "X-<b>": HOSTILE}, "body": HOSTILE.encode(),
                "reason": _REASONS[i % 3],
            }
        )  # fmt: skip
        made[Receipt].append(
            {
                "id": i, "key": digest("r", str(i)), "receiver": "github", "message_id": f"msg_{i}",
                "headers": {"user-agent": HOSTILE}, "body": HOSTILE.encode(), "received_at": at,
                "handled_at": at if i % 2 else None, "reason": "" if i % 2 else f"ValueError: {HOSTILE}",
            }
        )  # fmt: skip
        made[Block].append(
            {
                "id": i, "key": digest("b", str(i)), "lookup": digest("host", f"bad{i}.example"),
                "kind": BlockKind.host, "value": f"bad{i}.example", "list_name": "", "reason": HOSTILE,
                "created_at": at,
            }
        )  # fmt: skip
        made[Audit].append(
            {
                "id": i, "at": at, "who": "ada@example.org" if i % 2 else HOSTILE, "action": "moderate",
                "object_key": f"mention:{i}", "before": {"status": "pending"},
                "after": {"status": "approved"},
                "reason": HOSTILE,
            }
        )  # fmt: skip
    return made


def fill(blog: Blog, n: int, *, now: datetime | None = None) -> None:
    """Write ``n`` rows of each table, and a worker that was seen just now."""
    now = now or datetime.now(UTC)
    worker = {
        "name": "w", "runner": "external", "machine": "box", "pid": 7, "threads": 8, "started_at": now,
        "seen_at": now,
    }  # fmt: skip
    session = blog.site.session
    for kind, rows in {**rows_of(n, now), Worker: [worker]}.items():
        if rows:
            session.execute(sa.insert(kind), [secretly(row) for row in rows])
    session.commit()
    if session.get_bind().dialect.name == "postgresql":  # ids were given by hand
        for table in Base.metadata.sorted_tables:
            last = sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0) + 1).scalar_subquery()
            sequence = sa.func.pg_get_serial_sequence(table.name, "id")
            session.execute(sa.select(sa.func.setval(sequence, last, sa.false())))
        session.commit()


def secretly(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose secret does not show itself."""
    if row.get("secret"):
        return {**row, "secret": Secret(row["secret"])}
    return row
