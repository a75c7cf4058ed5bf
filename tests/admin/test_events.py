"""Events: what happened, who was told of it, and why not; sent to whom it did not reach."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook
from flask_linkback.models import Audit, Event, Job, JobState, Listener, ListenerState, digest
from flask_linkback.webhooks import match
from flask_linkback.webhooks.recording import DELIVER, DISPATCH
from tests.admin.conftest import Visitor
from tests.admin.stock import HOSTILE, fill
from tests.apps import Blog

_LINK = re.compile(r'href="/linkback/admin/events/(\d+)"')


def ids(page: str) -> list[int]:
    return [int(each) for each in _LINK.findall(page)]


def audits(blog: Blog) -> list[tuple[str, str, Any]]:
    with blog.app.app_context():
        found = sa.select(Audit).where(Audit.object_key.startswith("event:")).order_by(Audit.id)
        return [(each.action, each.object_key, each.after) for each in blog.db.session.scalars(found)]


def hear(blog: Blog, **listeners: dict[str, Any]) -> None:
    """Fill in six rows of each table, and no listener but these: those of event 5, which has one delivery."""
    with blog.app.app_context():
        fill(blog, 6)
        session, now = blog.db.session, blog.site.now()
        session.execute(sa.delete(Job).where(Job.event_id == 5))
        session.execute(sa.delete(Listener))
        for id_, values in listeners.items():
            values = {"hook": "person.*", "state": ListenerState.active, "match": None, **values}
            session.add(
                Listener(
                    id=int(id_.removeprefix("l")),
                    hook_hash=digest(values["hook"]),
                    url=f"https://{id_}.example/",
                    host=f"{id_}.example",
                    created_at=now - timedelta(days=1),
                    updated_at=now,
                    **values,
                )
            )
        session.add(
            Job(
                kind=DELIVER,
                state=JobState.dead,
                due_at=now,
                created_at=now,
                finished_at=now,
                listener_id=11,
                event_id=5,
                reason="The server answers 500.",
                attempts=8,
            )
        )
        session.commit()


# --- the list ------------------------------------------------------------------------------------------


def test_without_a_row_it_says_what_to_do(visitor: Visitor) -> None:
    page = visitor.text("/events")
    assert "Nothing has happened yet." in page
    assert "registered hook" in page


def test_one_row_and_many(blog: Blog, visitor: Visitor) -> None:
    with blog.app.app_context():
        fill(blog, 1)
        blog.db.session.execute(sa.update(Event).values(dispatched_at=None))
        blog.db.session.commit()
    page = visitor.text("/events")
    assert ids(page) == [1]
    for said in ("person.updated", "Person:1", "not yet", "/linkback/admin/deliveries?event=1"):
        assert said in page


def test_many_rows_come_by_pages(blog: Blog, visitor: Visitor) -> None:
    with blog.app.app_context():
        fill(blog, 60)
    page = visitor.text("/events")
    assert ids(page) == list(range(60, 10, -1))
    assert "1 given up" in page
    assert len(page) < 100_000
    assert ids(visitor.text("/events", after="11")) == list(range(10, 0, -1))


def test_each_filter(blog: Blog, visitor: Visitor) -> None:
    with blog.app.app_context():
        fill(blog, 6)
        session = blog.db.session
        session.execute(sa.update(Event).where(Event.id == 2).values(type="person.created"))
        session.execute(sa.update(Event).where(Event.id == 3).values(type="personal.note"))
        session.commit()
    for query, found in (
        ({"type": "person.updated"}, [6, 5, 4, 1]),
        ({"type": "person.*"}, [6, 5, 4, 2, 1]),
        ({"type": "*"}, [6, 5, 4, 3, 2, 1]),
        ({"type": "person"}, []),
        ({"object": "Person:4"}, [4]),
        ({"type": "person.*", "object": "Person:3"}, []),
        ({"since": "2999-01-01T00:00"}, []),
    ):
        assert ids(visitor.text("/events", **query)) == found, query


def test_a_tail(blog: Blog, visitor: Visitor) -> None:
    with blog.app.app_context():
        fill(blog, 1)
    assert '<tbody data-tail="5">' in visitor.text("/events", tail="1")


# --- one -----------------------------------------------------------------------------------------------


def test_an_event_shows_what_changed_and_what_it_says(blog: Blog, visitor: Visitor) -> None:
    with blog.app.app_context():
        fill(blog, 6)
        session = blog.db.session
        session.get(Event, 6).changes = {"name": ["Jim", "Joe"], "born": [None, {"year": 1970}], HOSTILE: 1}
        session.commit()
    page = visitor.text("/events/6")
    for said in ("Jim", "Joe", "&#34;year&#34;: 1970", "&#34;city&#34;: &#34;Oslo&#34;", f"evt_{6:032x}"):
        assert said in page
    assert "<script>document" not in page
    assert "\u202e" not in page
    assert "It is not kept" not in page
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Event).values(data=None, changes=None))
        blog.db.session.commit()
    assert "its retention is over" in visitor.text("/events/6")
    assert visitor.get("/events/99").status_code == 404


def test_who_hears_of_it_and_why_not(blog: Blog, visitor: Visitor) -> None:
    now = blog.site.now()
    hear(
        blog,
        l11={},
        l12={"match": match.dump({"address.city": match.Is("Rome")})},
        l13={"state": ListenerState.paused},
        l14={"hook": "other"},
        l15={},
        l16={"match": {"broken": 1}},
    )
    with blog.app.app_context():
        blog.db.session.get(Listener, 15).created_at = now + timedelta(days=1)
        blog.db.session.commit()
    page = visitor.text("/events/5")
    got, *others = re.findall(r"l(1\d)\.example", page[page.index("Who hears of it") :])
    assert (got, others) == ("11", ["16", "15", "13", "12"])
    for said in (
        "The server answers 500.",
        "address.city is &#34;Oslo&#34;, not &#34;Rome&#34;",
        "The listener is paused.",
        "It came later than the event.",
        "Its filter cannot be read",
    ):
        assert said in page
    sendable = re.findall(r'name="listener" value="(\d+)"', page)
    assert sendable == ["16", "15", "12"]


def test_nobody_hears_of_it(blog: Blog, visitor: Visitor) -> None:
    hear(blog)
    assert "Nobody listens to this." in visitor.text("/events/4")


def test_an_event_that_is_not_matched_says_so(blog: Blog, visitor: Visitor) -> None:
    hear(blog, l11={}, l12={})
    with blog.app.app_context():
        session, now = blog.db.session, blog.site.now()
        session.get(Event, 5).dispatched_at = None
        session.add(
            Job(
                kind=DISPATCH, state=JobState.dead, due_at=now, created_at=now, event_id=5,
                reason="It looks like a loop.",
            )
        )  # fmt: skip
        session.commit()
    page = visitor.text("/events/5")
    assert "It looks like a loop." in page
    assert "The event is not matched yet." in page
    assert 'name="listener"' not in page


# --- sending -------------------------------------------------------------------------------------------


def test_an_event_is_sent_to_one_listener(blog: Blog, visitor: Visitor) -> None:
    hear(blog, l11={}, l12={"match": match.dump({"name": match.Is("Nobody")})}, l13={"hook": "other"})
    page = visitor.send("/events/5", "send", listener="12").text
    assert "1 delivery is queued." in page
    with blog.app.app_context():
        job = blog.db.session.scalars(sa.select(Job).where(Job.listener_id == 12, Job.event_id == 5)).one()
        assert (job.kind, job.state, job.host) == (DELIVER, JobState.pending, "l12.example")
    assert audits(blog) == [("send", "event:5", {"listener": 12})]
    assert "owed it before" in visitor.send("/events/5", "send", listener="12").text
    assert "It listens to other" in visitor.send("/events/5", "send", listener="13").text
    for nobody in ("99", "x", ""):
        assert "The listener is gone." in visitor.send("/events/5", "send", listener=nobody).text
    assert len(audits(blog)) == 1


def test_what_was_given_up_is_sent_again_after_a_look_at_how_many(blog: Blog, visitor: Visitor) -> None:
    hear(blog, l11={})
    asked = visitor.send("/events/5", "recover").text
    assert "1 delivery of this event was given up" in asked
    assert audits(blog) == []
    page = visitor.send("/events/5", "recover", confirm="1").text
    assert "1 delivery is queued." in page
    assert "/linkback/admin/deliveries?event=5" in page
    assert audits(blog) == [("recover", "event:5", {"queued": 1})]
    assert "Nothing of it was given up" in visitor.send("/events/5", "recover", confirm="1").text


def test_who_may_not_resend_sends_nothing(blog: Blog, visitor: Visitor) -> None:
    hear(blog, l11={}, l12={})
    visitor.get("/events/5")
    visitor.send("/events/5", "send", listener="99")
    blog.linkback.admin_access(lambda action, obj: action in ("view", "manage"))
    page = visitor.text("/events/5")
    assert 'name="listener"' not in page
    assert "given up…" not in page
    for action in ("send", "recover"):
        assert visitor.send("/events/5", action, listener="12", confirm="1").status_code == 403
    blog.linkback.admin_access(lambda action, obj: not isinstance(obj, Listener))
    assert visitor.send("/events/5", "send", listener="12").status_code == 403
    assert audits(blog) == []


# --- owners --------------------------------------------------------------------------------------------


def own(blog: Blog, **listeners: dict[str, Any]) -> None:
    """Let the visitor be the owner "acme", with listeners 11, 12, 13 at most."""
    hear(blog, **listeners)
    blog.linkback.admin_access(lambda action, obj: "acme")


def test_an_owner_sees_what_their_listeners_hear_of(blog: Blog, visitor: Visitor) -> None:
    for name in ("person", "cat", "secret"):
        blog.linkback.hooks.register(Hook(name=name))
    own(blog, l11={"owner": "other"}, l12={"owner": "acme"}, l13={"owner": "acme", "hook": "cat.born"})
    with blog.app.app_context():
        session = blog.db.session
        session.execute(sa.update(Event).where(Event.id < 4).values(type="secret.thing", hook="secret"))
        session.execute(sa.update(Event).where(Event.id == 2).values(type="cat.born", hook="cat"))
        session.commit()
    assert ids(visitor.text("/events")) == [6, 5, 4, 2]
    assert ids(visitor.text("/events", type="secret.thing")) == []
    for event_id, status in ((5, 200), (2, 200), (3, 404), (1, 404)):
        assert visitor.get(f"/events/{event_id}").status_code == status
    page = visitor.text("/events/5")
    assert "l12.example" in page
    assert "l11.example" not in page
    assert "given up" not in page + visitor.text("/events")
    assert "deliveries?event=5" not in visitor.text("/events")
    assert "The listener is gone." in visitor.send("/events/5", "send", listener="11").text
    assert "Nothing of it was given up" in visitor.send("/events/5", "recover", confirm="1").text
    assert visitor.send("/events/3", "recover", confirm="1").status_code == 404
    assert "1 delivery is queued." in visitor.send("/events/5", "send", listener="12").text
    with blog.app.app_context():
        theirs = blog.db.session.scalars(sa.select(Job).where(Job.listener_id == 11)).one()
        assert theirs.state is JobState.dead


@pytest.mark.parametrize("gets", [True, False])
def test_where_the_application_decides_an_owner_sees_what_it_gave_them(
    blog: Blog, visitor: Visitor, gets: bool
) -> None:
    class Own(Hook):
        def event_filter(self, sender: Any, payload: Any, match: Any) -> bool:
            return False

    blog.linkback.hooks.register(Own(name="person"))
    own(blog, **{"l11" if gets else "l12": {"owner": "acme"}})
    assert ids(visitor.text("/events")) == ([5] if gets else [])
    assert visitor.get("/events/5").status_code == (200 if gets else 404)
    assert visitor.get("/events/4").status_code == 404


def test_an_owner_without_a_listener_sees_nothing(blog: Blog, visitor: Visitor) -> None:
    own(blog, l11={"owner": "other"})
    assert ids(visitor.text("/events")) == []
    assert visitor.get("/events/5").status_code == 404
