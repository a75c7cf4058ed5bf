"""Scene: a day of a small site with a blog and a shop, as an admin would show it. Nothing is hostile."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from flask_linkback import Hook, match
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

__all__ = ["BASE_URL", "LISTS", "set_scene", "tabs"]

BASE_URL: Final = "https://lowtide.example"
_SECRET: Final = "whsec_VGhlIHNlY3JldCBvZiBhIHNjZW5lLCBub3Qgb2YgYSBzaXRl"
_POSTS: Final = ("names-of-boats", "low-water", "a-lamp-for-the-pier", "what-the-harbour-keeps")
_MENTIONS: Final = (
    ("fernweh.example", "Names of boats, and who painted them", "Jana Olbrich", "reply", "webmention"),
    ("tideline.example", "Reading list, week 47", "Tomas Lind", "mention", "webmention"),
    ("lanternhouse.example", "Lanternhouse liked this", "Ines Caro", "like", "webmention"),
    ("oldrope.example", "Low water, high time", "R. Achterberg", "mention", "pingback"),
    ("saltpress.example", "Five small sites worth your evening", "Saltpress", "mention", "trackback"),
    ("cheap-anchors.example", "BUY ANCHORS CHEAP best price", "", "mention", "trackback"),
    ("kustvader.example", "Over lampen en pieren", "Mies de Boer", "reply", "webmention"),
    ("fernweh.example", "A second note on boats", "Jana Olbrich", "repost", "webmention"),
)
_QUOTE: Final = "We walked down to see them. Half of the names are still readable, and the lamp works again."
_LISTENERS: Final = (
    ("https://hooks.parcelman.example/lowtide/orders", "order.*", ListenerState.active),
    ("https://books.ledgerly.example/in/7f3a", "order.paid", ListenerState.active),
    ("https://stock.quayside.example/webhooks/lowtide", "order.*", ListenerState.failing),
    ("https://letters.postino.example/hooks/41", "customer.registered", ListenerState.active),
    ("https://old-crm.example/callback.php", "customer.registered", ListenerState.disabled),
    ("https://reports.ledgerly.example/in/nightly", "order.paid", ListenerState.paused),
)
_CITIES: Final = ("Oslo", "Bergen", "Lisbon", "Antwerp", "Gdańsk")
_BUYERS: Final = ("Jim Halden", "Joanna Reis", "Simon Vos", "Jessica Lund", "Piotr Zając", "Amara Diallo")
_REFUSED: Final = "The server answers 503: warehouse is being counted, come back at 22:00"
LISTS: Final[Mapping[str, str]] = {
    "overview": "/",
    "mentions": "/mentions",
    "links": "/links",
    "directories": "/directories",
    "blocks": "/blocks",
    "subscriptions": "/subscriptions",
    "hub": "/hub",
    "hub_subscribers": "/hub?tab=subscribers",
    "hooks": "/hooks",
    "hooks_hooks": "/hooks?tab=hooks",
    "listener_select": "/listeners/select",
    "listener_create": "/listeners/create?type=order.paid",
    "events": "/events",
    "deliveries": "/deliveries",
    "receivers": "/receivers",
    "jobs": "/jobs",
    "audit": "/audit",
}
"""The screens that are about no one thing."""


def set_scene(blog: Blog) -> dict[str, str]:
    """Register what can happen, write what did, and return the path of each screen by its name."""
    for name, fields in {
        "order.paid": ["number", "total", "buyer", "address"],
        "order.shipped": ["number", "carrier", "address"],
        "customer.registered": ["name", "address"],
    }.items():
        label = name.replace(".", " ").capitalize()
        blog.linkback.hooks.register(Hook(name=name, verbose_name=label, provides_args=fields))
    blog.linkback.webhooks.receiver("github", secret="a secret of theirs")(print)
    blog.linkback.webhooks.receiver("stripe", secret="another secret")(print)
    with blog.app.app_context():
        return _Painter(blog).paint()


class _Painter:
    def __init__(self, blog: Blog) -> None:
        self.blog = blog
        self.now = datetime.now(UTC)
        self.dice = Random(8)

    def paint(self) -> dict[str, str]:
        mention = self._mentions()
        link = self._links()
        subscription, subscriber = self._websub()
        listeners = self._listeners()
        event, delivery = self._deliveries(listeners)
        receipt = self._receipts()
        self._house(mention, listeners)
        self.blog.site.session.commit()
        failing = listeners[2]["id"]
        return {
            **LISTS,
            "mention": f"/mentions/{mention}",
            "link": f"/links/{link}",
            "subscription": f"/subscriptions/{subscription}",
            "subscriber": f"/subscribers/{subscriber}",
            **tabs(failing),
            "listener_filter": f"/listeners/{listeners[1]['id']}/filter",
            "event": f"/events/{event}",
            "delivery": f"/deliveries/{delivery}",
            "job": f"/jobs/{delivery}",
            "receipt": f"/receivers/{receipt}",
        }

    def ago(self, **span: float) -> datetime:
        return self.now - timedelta(**span)

    def add(self, kind: type[Base], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Write rows, numbered from 1 on, and return them."""
        for number, row in enumerate(rows, 1):
            row.setdefault("id", number)
        self.blog.site.session.add_all(kind(**row) for row in rows)
        self.blog.site.session.flush()
        return rows

    def _mentions(self) -> int:
        rows = []
        for n in range(24):
            host, title, author, kind, protocol = _MENTIONS[-1 - n % 8]
            source = f"https://{host}/2026/{n}"
            slug = _POSTS[n % 4]
            status = MentionStatus.approved
            state = MentionState.received if n == 23 else MentionState.verified
            if host == "cheap-anchors.example":
                status = MentionStatus.spam
            elif n > 19 or n == 13:
                status = MentionStatus.pending
            at = self.ago(hours=5 * (24 - n) - 4.6)
            rows.append(
                {
                    "key": digest("m", source), "status_key": digest("s", source)[:32], "source": source,
                    "source_key": digest(source), "source_host": host, "target": f"{BASE_URL}/post/{slug}",
                    "target_key": f"Post:{n % 4 + 1}", "target_hash": digest(f"Post:{n % 4 + 1}"),
                    "protocol": protocol, "state": state,
                    "status": status, "type": kind, "title": title, "content": _QUOTE,
                    "author_name": author, "author_url": f"https://{host}/" if author else "",
                    "received_at": at, "verified_at": at, "checked_at": at, "caller": "192.0.2.7",
                    "published_at": at - timedelta(minutes=8), "reason": "",
                }
            )  # fmt: skip
        self.add(Mention, rows)
        return 22

    def _links(self) -> int:
        said = (
            ("fernweh.example", LinkState.sent, "webmention", 202, ""),
            ("tideline.example", LinkState.sent, "pingback", 200, "Pingback registered. Thank you!"),
            ("brass-and-tin.example", LinkState.given_up, "webmention", 503, "The server answers 503."),
            ("wikipedia.example", LinkState.unsupported, "", None, ""),
            ("oldrope.example", LinkState.refused, "webmention", 400, "The source does not link to it."),
            ("saltpress.example", LinkState.sent, "trackback", 200, ""),
        )  # fmt: skip
        rows = []
        for n in range(18):
            host, state, protocol, status, answer = said[n % 6]
            source, target = f"{BASE_URL}/post/{_POSTS[n % 4]}", f"https://{host}/2026/{n}"
            at = self.ago(hours=7 * (18 - n) - 5)
            rows.append(
                {
                    "key": digest("l", target), "source": source, "source_key": digest(source),
                    "target": target, "target_host": host, "state": state, "protocol": protocol,
                    "offers": [protocol] if protocol else [], "endpoint": f"https://{host}/webmention",
                    "status_code": status, "answer": answer, "reason": answer if status == 503 else "",
                    "attempts": 3 if status == 503 else 1, "created_at": at, "sent_at": at,
                    "object_key": f"Post:{n % 4 + 1}", "removed": False,
                }
            )  # fmt: skip
        self.add(Link, rows)
        pings = []
        for n in range(12):
            page = f"{BASE_URL}/post/{_POSTS[n // 3]}"
            host = ("rpc.weblogs.example", "ping.smallweb.example", "blogdir.example")[n % 3]
            pings.append(
                {
                    "page_key": digest(page), "page_url": page, "url": f"https://{host}/RPC2",
                    "success": host != "blogdir.example", "sent_at": self.ago(hours=9 * (12 - n)),
                    "message": "Thanks." if host != "blogdir.example" else "The server answers 500.",
                }
            )  # fmt: skip
        self.add(DirectoryPing, pings)
        return 15

    def _websub(self) -> tuple[int, int]:
        superfeed, pubsub = "https://hub.superfeed.example/", "https://pubsub.example/hub"
        states = SubscriptionState
        said = (
            ("https://fernweh.example/feed.xml", superfeed, states.active, 6),
            ("https://tideline.example/atom", superfeed, states.active, 2),
            ("https://oldrope.example/rss", pubsub, states.expired, -1),
            ("https://lanternhouse.example/feed", pubsub, states.denied, None),
            ("https://kustvader.example/feed.json", "https://kustvader.example/hub", states.active, 9),
            ("https://saltpress.example/feed", pubsub, states.requested, None),
        )
        subscriptions, requests, contents = [], [], []
        for n, (topic, hub, state, days) in enumerate(said, 1):
            has_lease = days is not None
            ends = self.now + timedelta(days=days) if has_lease else None
            subscriptions.append(
                {
                    "key": digest("sub", topic), "topic_url": topic, "topic_key": digest(topic),
                    "page_url": topic, "hub_url": hub, "state": state, "created_at": self.ago(days=40 - n),
                    "lease_seconds": 864_000 if has_lease else None, "lease_expires_at": ends,
                    "verified_at": self.ago(days=4) if has_lease else None,
                    "delivered_at": self.ago(hours=3 * n) if has_lease else None,
                    "reason": "The hub says: this topic is for members." if days is None and n == 4 else "",
                }
            )  # fmt: skip
            requests.append(
                {
                    "subscription_id": n, "token": digest("t", topic)[:43], "mode": "subscribe",
                    "topic_url": topic, "hub_url": hub, "created_at": self.ago(days=4),
                    "requested_at": self.ago(days=4), "verified_at": self.ago(days=4) if has_lease else None,
                }
            )  # fmt: skip
            if has_lease:
                entry = f"<feed><title>{topic}</title>\n<entry><title>A new lamp</title></entry></feed>"
                contents.append(self._content(entry.encode(), self.ago(hours=3 * n), subscription_id=n))
        self.add(Subscription, subscriptions)
        self.add(SubscriptionRequest, requests)
        self.add(Content, contents)
        for n, name in enumerate(("feed.xml", "feed.json"), 1):
            body = self._content(b"<feed/>" * 700, self.ago(hours=5), topic_id=n)
            self.add(Content, [{"id": len(contents) + n, **body}])
            url = f"{BASE_URL}/{name}"
            topic_row = {
                "id": n, "key": digest(url), "url": url, "fetched_at": self.ago(hours=5),
                "created_at": self.ago(days=90), "content_id": len(contents) + n,
            }  # fmt: skip
            self.add(Topic, [topic_row])
        readers = []
        for n in range(9):
            host = ("feedbird.example", "riverreader.example", "planet.example", "newsrack.example")[n % 4]
            url = f"{BASE_URL}/{('feed.xml', 'feed.json')[n % 2]}"
            readers.append(
                {
                    "key": digest("reader", str(n)), "topic_id": n % 2 + 1, "topic_url": url,
                    "callback_url": f"https://{host}/websub/{7100 + n}", "callback_host": host,
                    "secret": Secret(_SECRET),
                    "state": SubscriberState.ended if n == 3 else SubscriberState.active,
                    "lease_seconds": 864_000,
                    "lease_expires_at": self.now + timedelta(days=n + 1), "created_at": self.ago(days=30),
                    "verified_at": self.ago(days=n), "reason": "",
                }
            )  # fmt: skip
        self.add(Subscriber, readers)
        return 1, 1

    def _content(self, body: bytes, at: datetime, **of: int) -> dict[str, Any]:
        kind = "application/atom+xml"
        return {"digest": digest(str(of)), "content_type": kind, "body": body, "received_at": at, **of}

    def _listeners(self) -> list[dict[str, Any]]:
        wanted = match.dump(
            [{"total": match.Gt(100), "address.city": "Oslo"}, {"buyer": match.Startswith("J")}]
        )
        rows: list[dict[str, Any]] = []
        for n, (url, hook, state) in enumerate(_LISTENERS):
            rows.append(
                {
                    "hook": hook, "hook_hash": digest(hook), "url": url, "host": url.split("/")[2],
                    "owner": None, "state": state, "match": wanted if n == 1 else match.dump({}),
                    "headers": {"Authorization": "Bearer of-a-scene"} if n == 2 else {},
                    "created_at": self.ago(days=60 - n), "updated_at": self.ago(days=9),
                    "failing_at": self.ago(hours=7) if state is ListenerState.failing else None,
                    "reason": "",
                }
            )  # fmt: skip
        rows[2]["reason"] = _REFUSED
        rows[4]["reason"] = "It answered 410: it does not want our events any more."
        self.add(Listener, rows)
        secrets = [
            {"listener_id": n, "secret": Secret(_SECRET), "created_at": self.ago(days=60)}
            for n in range(1, len(rows) + 1)
        ]
        self.add(ListenerSecret, secrets)
        return rows

    def _deliveries(self, listeners: list[dict[str, Any]]) -> tuple[int, int]:
        """Write a day of events and what became of them; return the last that failed, and its delivery."""
        events: list[dict[str, Any]] = []
        deliveries: list[dict[str, Any]] = []
        attempts: list[dict[str, Any]] = []
        last = (1, 1)
        for minutes in sorted((self._minutes() for _ in range(140)), reverse=True):
            at = self.ago(minutes=minutes)
            event = self._event(len(events), at)
            events.append(event)
            for listener in listeners[:4]:
                if listener["hook"] not in (event["type"], event["type"].partition(".")[0] + ".*"):
                    continue
                if listener["id"] == 2 and event["data"]["total"] < 100:
                    continue
                job = self._job(listener, len(events), at, minutes)
                deliveries.append(job)
                attempts += self._tries(job, len(deliveries), listener, at)
                if job["state"] is JobState.dead:
                    last = (len(events), len(deliveries))
        self.add(Event, events)
        self.add(Job, deliveries)
        self.add(Attempt, attempts)
        return last

    def _minutes(self) -> float:
        """More happens by day than at night."""
        while True:
            minutes = self.dice.uniform(2, 23.5 * 60)
            if self.dice.random() < 1 - abs((minutes / 60 - 9) / 16):
                return minutes

    def _event(self, n: int, at: datetime) -> dict[str, Any]:
        kind = self.dice.choice(("order.paid", "order.paid", "order.shipped", "customer.registered"))
        city, buyer = self.dice.choice(_CITIES), self.dice.choice(_BUYERS)
        number = f"LT-{20_410 + n}"
        data: dict[str, Any] = {"number": number, "address": {"city": city, "street": "Quay 4"}}
        changes = None
        if kind == "order.paid":
            data |= {"total": self.dice.randrange(12, 260), "buyer": buyer, "state": "paid"}
            changes = {"state": ["open", "paid"]}
        elif kind == "order.shipped":
            data |= {"carrier": "Parcelman", "total": 0}
            changes = {"state": ["paid", "shipped"]}
        else:
            data = {"name": buyer, "address": {"city": city}, "total": 0}
        about = f"Customer:{900 + n}" if kind == "customer.registered" else f"Order:{20_410 + n}"
        return {
            "uid": f"evt_{digest(number)[:24]}", "type": kind, "hook": kind, "object_key": about,
            "data": data, "changes": changes, "created_at": at, "dispatched_at": at + timedelta(seconds=1),
        }  # fmt: skip

    def _job(self, listener: Mapping[str, Any], event: int, at: datetime, minutes: float) -> dict[str, Any]:
        state = JobState.done
        if listener["id"] == 3 and minutes < 7 * 60:
            state = JobState.dead if minutes > 150 else JobState.pending
        row = {
            "kind": DELIVER, "state": state, "due_at": at, "host": listener["host"], "created_at": at,
            "listener_id": listener["id"], "event_id": event, "attempts": 1, "reason": "",
            "finished_at": at + timedelta(seconds=2),
        }  # fmt: skip
        if state is JobState.dead:
            row |= {"attempts": 4, "reason": _REFUSED, "finished_at": at + timedelta(minutes=140)}
        elif state is JobState.pending:
            due = self.now + timedelta(minutes=self.dice.uniform(1, 40))
            row |= {"attempts": 2, "reason": _REFUSED, "finished_at": None, "due_at": due}
        return row

    def _tries(
        self, job: Mapping[str, Any], number: int, listener: Mapping[str, Any], at: datetime
    ) -> list[dict[str, Any]]:
        is_done = job["state"] is JobState.done
        waited = (0, 1, 25, 138)
        return [
            {
                "job_id": number, "number": n + 1, "started_at": at + timedelta(minutes=waited[n]),
                "seconds": self.dice.uniform(0.03, 0.4), "outcome": "done" if is_done else "http",
                "url": listener["url"], "address": "203.0.113.9", "status_code": 200 if is_done else 503,
                "headers": {"Content-Type": "text/plain", "Server": "nginx"},
                "body": b"ok" if is_done else b"warehouse is being counted, come back at 22:00",
                "reason": "" if is_done else "The server answers 503.",
            }
            for n in range(job["attempts"])
        ]  # fmt: skip

    def _receipts(self) -> int:
        rows = []
        for n in range(14):
            name = ("github", "stripe")[n % 3 == 2]
            body = b'{"action": "published", "release": {"tag_name": "v2.1.0"}, "sender": {"login": "jana"}}'
            is_done = n != 9
            at = self.ago(hours=4 * (14 - n) - 3)
            rows.append(
                {
                    "key": digest("r", str(n)), "receiver": name,
                    "message_id": f"{digest(str(n))[:8]}-4f1c-11f0",
                    "headers": {"user-agent": "GitHub-Hookshot/4be1", "content-type": "application/json"},
                    "body": body, "received_at": at, "reason": "" if is_done else "KeyError: 'repository'",
                    "handled_at": at + timedelta(seconds=1) if is_done else None,
                }
            )  # fmt: skip
        self.add(Receipt, rows)
        return 10

    def _house(self, mention: int, listeners: list[dict[str, Any]]) -> None:
        blocked = (
            ("cheap-anchors.example", "It sells anchors.", ""),
            ("seo-miracle.example", "Spam by trackback", ""),
            ("casino-royal.example", "", "friends-of-the-coast"),
            ("buy-likes.example", "", "friends-of-the-coast"),
        )
        blocks = [
            {
                "key": digest("b", host), "lookup": digest("host", host), "kind": BlockKind.host,
                "value": host,
                "list_name": name, "reason": reason, "created_at": self.ago(days=12 - n),
                "expires_at": self.now + timedelta(days=30) if n == 1 else None,
            }
            for n, (host, reason, name) in enumerate(blocked)
        ]  # fmt: skip
        self.add(Block, blocks)
        done = (
            ("moderate", f"mention:{mention - 3}", {"status": "pending"}, {"status": "approved"}, ""),
            ("block", "block:1", None, {"value": "cheap-anchors.example"}, "It sells anchors."),
            ("create", "listener:6", None, {"url": listeners[5]["url"], "events": "order.paid"}, ""),
            ("pause", "listener:6", {"state": "active"}, {"state": "paused"}, ""),
            ("renew", "subscription:2", None, None, ""),
            ("filter", "listener:2", {"filter": "everything"}, {"filter": "total is greater than 100"}, ""),
        )
        audits = [
            {
                "at": self.ago(hours=20 - 3 * n), "who": f"{('ada', 'ben')[n % 2]}@lowtide.example",
                "action": action, "object_key": about, "before": before, "after": after, "reason": reason,
            }
            for n, (action, about, before, after, reason) in enumerate(done)
        ]  # fmt: skip
        self.add(Audit, audits)
        worker = {
            "name": "w", "runner": "external", "machine": "lowtide-1", "pid": 7, "threads": 8,
            "started_at": self.ago(days=3), "seen_at": self.ago(seconds=4),
        }  # fmt: skip
        self.add(Worker, [worker])


def tabs(listener: int) -> dict[str, str]:
    """Return the path of each page of a listener."""
    names = ("deliveries", "withheld", "secret", "test", "settings", "audit")
    return {
        "listener": f"/listeners/{listener}",
        **{f"listener_{tab}": f"/listeners/{listener}?tab={tab}" for tab in names},
    }
