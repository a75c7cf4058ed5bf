"""Hub: our own is seen in the admin, with its topics and subscribers, who are sent things and denied."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.models import (
    Attempt,
    Audit,
    Content,
    Job,
    JobState,
    Secret,
    Subscriber,
    SubscriberState,
    Topic,
    digest,
)
from flask_linkback.websub.hub import DELIVER
from flask_linkback.websub.subscribers import DENY
from tests.admin.conftest import Visitor
from tests.admin.stock import HOSTILE, SECRET, fill
from tests.apps import Blog

NOW = datetime.now(UTC)


def add_topic(blog: Blog, name: str = "feed", *, content: bytes | None = b"<feed/>") -> int:
    with blog.app.app_context():
        url = f"https://blog.example/{name}"
        topic = Topic(key=digest(url), url=url, created_at=NOW)
        blog.db.session.add(topic)
        blog.db.session.flush()
        if content is not None:
            said = Content(topic_id=topic.id, digest="x", body=content, received_at=NOW)
            blog.db.session.add(said)
            blog.db.session.flush()
            topic.content_id = said.id
        blog.db.session.commit()
        return topic.id


def add(
    blog: Blog, topic_id: int, state: SubscriberState = SubscriberState.active, name: str = "a", **values: Any
) -> int:
    with blog.app.app_context():
        subscriber = Subscriber(
            **{
                "key": digest(str(topic_id), name), "topic_id": topic_id,
                "topic_url": "https://blog.example/feed", "callback_url": f"https://{name}.example/cb",
                "callback_host": f"{name}.example", "secret": Secret(SECRET), "state": state,
                "created_at": NOW, "lease_expires_at": NOW + timedelta(days=1), **values,
            }
        )  # fmt: skip
        blog.db.session.add(subscriber)
        blog.db.session.commit()
        return subscriber.id


def read(blog: Blog, statement: Any) -> list[Any]:
    with blog.app.app_context():
        found = list(blog.db.session.scalars(statement))
        blog.db.session.expunge_all()
        return found


# --- the hub -------------------------------------------------------------------------------------------


def test_a_hub_that_is_on_says_where(visitor: Visitor) -> None:
    page = visitor.text("/hub")
    assert "https://blog.example/linkback/hub" in page
    assert "Nobody follows a topic of yours" in page
    assert "Nobody follows a topic of yours" in visitor.text("/hub", tab="subscribers")


def test_a_hub_that_is_off_says_how_to_switch_it_on(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, RUNNER="off")
    blog.linkback.admin_access(lambda action, obj: True)
    page = Visitor(blog).text("/hub")
    assert "LINKBACK_HUB_ENABLED = True" in page
    assert "https://blog.example/linkback/hub" not in page
    number = add(blog, add_topic(blog))
    page = Visitor(blog).send(f"/subscribers/{number}", "redeliver").text
    assert "The hub is switched off" in page


def test_a_hub_without_an_address_says_so(blog: Blog, visitor: Visitor) -> None:
    object.__setattr__(blog.site.settings.site, "base_url", None)
    assert "it has no address" in visitor.text("/hub")


@pytest.mark.parametrize("tab", ["topics", "subscribers"])
@pytest.mark.parametrize("n", [1, 60])
def test_the_lists(blog: Blog, visitor: Visitor, tab: str, n: int) -> None:
    with blog.app.app_context():
        fill(blog, n)
    page = visitor.text("/hub", tab=tab)
    assert page.count("<tr>") == min(n, 50) + 1
    assert "<script>document" not in page
    assert SECRET not in page
    assert len(page) < 100_000
    if n > 50:
        assert f"tab={tab}" in page[page.index("Older") - 200 : page.index("Older")]
        assert visitor.text("/hub", tab=tab, after=11).count("<tr>") == 11


def test_topics_have_their_subscribers_counted_and_say_what_is_new(blog: Blog, visitor: Visitor) -> None:
    first, second = add_topic(blog), add_topic(blog, "other", content=None)
    for name, state in (("a", "active"), ("b", "active"), ("c", "ended")):
        add(blog, first, SubscriberState(state), name)
    page = visitor.text("/hub")
    assert "2 active" in page
    assert "of 3" in page
    assert "7 bytes" in page
    assert "0 active" in page
    assert f"/linkback/admin/hub?tab=subscribers&amp;topic={second}" in page
    page = visitor.text("/hub", url="/other")
    assert "https://blog.example/other" in page
    assert "https://blog.example/feed<" not in page


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, {"a", "b", "c"}),
        ({"state": "ended"}, {"c"}),
        ({"host": "B.example"}, {"b"}),
        ({"topic": "/other"}, {"b"}),
        ({"topic": "2"}, {"b"}),
        ({"topic": "9" * 30}, set()),
        ({"topic": "_"}, set()),
    ],
)
def test_filters_of_subscribers(
    blog: Blog, visitor: Visitor, query: dict[str, str], wanted: set[str]
) -> None:
    first, second = add_topic(blog), add_topic(blog, "other")
    assert (first, second) == (1, 2)
    add(blog, first, name="a")
    add(blog, second, name="b")
    add(blog, first, SubscriberState.ended, "c")
    page = visitor.text("/hub", tab="subscribers", **query)
    assert {name for name in "abc" if f"https://{name}.example/cb" in page} == wanted
    assert '<input type="hidden" name="tab" value="subscribers">' in page  # filtering stays on this tab


# --- a subscriber --------------------------------------------------------------------------------------


def test_a_subscriber_and_its_deliveries(blog: Blog, visitor: Visitor) -> None:
    number = add(blog, add_topic(blog), reason=HOSTILE, failures=2, failed_at=NOW, wanted_key="k")
    with blog.app.app_context():
        job = Job(
            kind=DELIVER, state=JobState.dead, due_at=NOW, key=f"subscriber {number}", attempts=2,
            reason=HOSTILE, created_at=NOW, finished_at=NOW,
        )  # fmt: skip
        other = Job(kind=DELIVER, state=JobState.dead, due_at=NOW, key="subscriber 77", created_at=NOW)
        blog.db.session.add_all([job, other])
        blog.db.session.flush()
        for n, code in ((1, 503), (2, None)):
            blog.db.session.add(
                Attempt(
                    job_id=job.id, number=n, started_at=NOW, seconds=0.25, outcome="too_slow",
                    status_code=code, body=b"hush",
                )
            )  # fmt: skip
        blog.db.session.commit()
        job_id, other_id = job.id, other.id
    page = visitor.text(f"/subscribers/{number}")
    assert f'href="/linkback/admin/jobs/{job_id}"' in page
    assert f'href="/linkback/admin/jobs/{other_id}"' not in page
    assert "503" in page
    assert "too slow" in page
    assert "250 ms" in page
    for hidden in (SECRET, "<script>document", "hush"):
        assert hidden not in page


def test_the_newest_content_is_sent_again(blog: Blog, visitor: Visitor) -> None:
    topic_id = add_topic(blog)
    number = add(blog, topic_id)
    page = visitor.send(f"/subscribers/{number}", "redeliver").text
    assert "1 delivery is queued." in page
    assert "/linkback/admin/jobs?kind=deliver_content&amp;host=a.example" in page
    (job,) = read(blog, sa.select(Job))
    assert (job.kind, job.state) == (DELIVER, JobState.pending)
    assert job.payload["subscriber_id"] == number
    (note,) = read(blog, sa.select(Audit))
    assert (note.action, note.object_key, note.who) == (
        "redeliver",
        f"subscriber:{number}",
        "ada@example.org",
    )


@pytest.mark.parametrize(
    ("state", "content", "said"),
    [("active", None, "was not fetched yet"), ("ended", b"<feed/>", "Only an active subscriber")],
)
def test_what_cannot_be_sent_is_said(
    blog: Blog, visitor: Visitor, state: str, content: bytes | None, said: str
) -> None:
    visitor.get("/subscriptions")  # which has a form; where nothing can be done the page has none
    number = add(blog, add_topic(blog, content=content), SubscriberState(state))
    assert said in visitor.send(f"/subscribers/{number}", "redeliver").text
    assert read(blog, sa.select(Job)) == []
    assert read(blog, sa.select(Audit)) == []


def test_a_subscriber_is_denied_when_that_is_confirmed(blog: Blog, visitor: Visitor) -> None:
    number = add(blog, add_topic(blog))
    page = visitor.send(f"/subscribers/{number}", "deny", reason=f"Spam {HOSTILE}").text
    assert "End this subscription?" in page
    assert "<script>document" not in page
    assert read(blog, sa.select(Subscriber.state)) == [SubscriberState.active]
    page = visitor.send(f"/subscribers/{number}", "deny", reason="Spam", confirm="1").text
    assert "1 message to its callback is queued." in page
    (subscriber,) = read(blog, sa.select(Subscriber))
    assert (subscriber.state, subscriber.reason) == (SubscriberState.ended, "Denied: Spam")
    (job,) = read(blog, sa.select(Job))
    assert (job.kind, job.payload["reason"]) == (DENY, "Spam")
    (note,) = read(blog, sa.select(Audit))
    assert (note.action, note.before, note.after, note.reason) == (
        "deny",
        {"state": "active"},
        {"state": "ended"},
        "Spam",
    )
    blog.app.config["WTF_CSRF_ENABLED"] = False  # the page has no form any more
    page = visitor.send(f"/subscribers/{number}", "deny", reason="Spam", confirm="1").text
    assert "There is no subscription to end." in page


def test_rights(blog: Blog, visitor: Visitor) -> None:
    number = add(blog, add_topic(blog))
    path = f"/subscribers/{number}"
    for may, refused in (("resend", "deny"), ("manage", "redeliver")):
        blog.linkback.admin_access(lambda action, obj, may=may: action in ("view", may))
        assert visitor.send(path, refused, confirm="1").status_code == 403
        page = visitor.text(path)
        assert ("again" in page, "End it…" in page) == (may == "resend", may == "manage")
    blog.linkback.admin_access(lambda action, obj: "acme")
    for each in ("/hub", path, "/subscribers/99"):
        assert visitor.get(each).status_code == 403
    assert read(blog, sa.select(Job)) == []


def test_what_is_not_there_is_404(visitor: Visitor) -> None:
    assert visitor.get("/subscribers/99").status_code == 404
