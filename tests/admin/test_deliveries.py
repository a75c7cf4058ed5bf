"""Deliveries: found, understood, sent again with care, cancelled; each to its owner alone."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook
from flask_linkback.models import Attempt, Audit, Event, Job, Listener, ListenerState
from flask_linkback.webhooks.recording import DELIVER
from flask_linkback.webhooks.replaying import CANCELLED
from tests.admin.conftest import Visitor
from tests.admin.stock import HOSTILE, SECRET, fill
from tests.apps import Blog

_ROW = re.compile(r'name="id" value="(\d+)" aria-label')


def stock(blog: Blog, n: int = 12, **changes: Any) -> None:
    """Fill in rows, of which all listeners are active."""
    with blog.app.app_context():
        fill(blog, n)
        blog.db.session.execute(sa.update(Listener).values(state=ListenerState.active))
        for job_id, values in changes.items():
            job = blog.db.session.get(Job, int(job_id.removeprefix("job")))
            for name, value in values.items():
                setattr(job, name, value)
        blog.db.session.commit()


def ids(page: str) -> list[int]:
    return [int(each) for each in _ROW.findall(page)]


def states(blog: Blog, *wanted: int) -> list[str]:
    with blog.app.app_context():
        return [blog.db.session.get(Job, each).state.value for each in wanted]


def audits(blog: Blog, action: str) -> list[tuple[str, str, Any]]:
    with blog.app.app_context():
        found = sa.select(Audit).where(Audit.action == action).order_by(Audit.id)
        return [(each.who, each.object_key, each.before) for each in blog.db.session.scalars(found)]


# --- the list ------------------------------------------------------------------------------------------


def test_without_a_row_it_says_what_to_do(visitor: Visitor) -> None:
    page = visitor.text("/deliveries")
    assert "Nothing was sent to a listener yet." in page
    assert "/linkback/admin/hooks" in page


def test_one_row_tells_all(blog: Blog, visitor: Visitor) -> None:
    stock(blog, 2)
    page = visitor.text("/deliveries")
    assert ids(page) == [2, 1]
    assert "person.updated" in page
    assert "Person:2" in page
    assert "site2.example" in page
    assert "200 ms" in page


def test_many_rows_come_by_pages_with_few_queries(blog: Blog, visitor: Visitor) -> None:
    stock(blog, 90)
    first = visitor.text("/deliveries")
    assert len(ids(first)) == 50
    assert len(first) < 100_000
    assert "<script>document" not in first
    older = re.search(r'rel="next" href="[^"]*after=(\d+)', first)
    assert older is not None
    second = visitor.text("/deliveries", after=older[1])
    assert ids(first)[-1] > ids(second)[0]
    assert len(ids(first) + ids(second)) == 60
    with blog.app.app_context():
        engine = blog.db.engine
    seen: list[str] = []

    def see(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", see)
    visitor.text("/deliveries")
    sa.event.remove(engine, "before_cursor_execute", see)
    assert len([each for each in seen if each.lstrip().upper().startswith("SELECT")]) <= 8, seen


FILTERS: list[tuple[dict[str, str], list[int]]] = [
    ({"state": "pending"}, [8, 4]),
    ({"state": "retrying"}, [4]),
    ({"state": "running"}, [5, 1]),
    ({"state": "done"}, [10, 2]),
    ({"state": "dead"}, [11]),
    ({"state": "cancelled"}, [7]),
    ({"code": "2xx"}, [10, 2]),
    ({"code": "5xx"}, [11, 8, 7, 5, 4]),
    ({"code": "none"}, [1]),
    ({"code": "4xx"}, []),
    ({"type": "person.updated"}, [11, 10, 8, 7, 5, 4, 2, 1]),
    ({"type": "person.*", "state": "dead"}, [11]),
    ({"type": "other.*"}, []),
    ({"host": "Site4.example"}, [4]),
    ({"listener": "5"}, [5]),
    ({"event": "7"}, [7]),
    ({"event": "7", "listener": "5"}, []),
    ({"event": "3"}, []),
    ({"since": "2999-01-01T00:00"}, []),
    ({"state": "rubbish", "listener": "-1"}, [11, 10, 8, 7, 5, 4, 2, 1]),
]


def test_each_filter(blog: Blog, visitor: Visitor) -> None:
    stock(blog, job7={"reason": CANCELLED}, job8={"attempts": 0})
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Attempt).where(Attempt.job_id == 1).values(status_code=None))
        blog.db.session.commit()
    for query, found in FILTERS:
        page = visitor.text("/deliveries", **query)
        assert ids(page) == found, query
        assert ("Nothing matches." in page) is not bool(found)


def test_the_last_of_several_attempts_counts(blog: Blog, visitor: Visitor) -> None:
    stock(blog)
    with blog.app.app_context():
        first = blog.db.session.get(Attempt, 4)
        blog.db.session.add(
            Attempt(
                job_id=4, number=1, started_at=first.started_at, seconds=1.5, outcome="timeout", reason=""
            )
        )
        blog.db.session.commit()
    assert 4 in ids(visitor.text("/deliveries", code="none"))
    assert 4 not in ids(visitor.text("/deliveries", code="5xx"))
    assert "timeout" in visitor.text("/deliveries", listener="4")
    # it counts from one again: somebody asked for it
    assert visitor.text("/deliveries/4").count("Queued again") == 1


def test_what_a_status_says(blog: Blog, visitor: Visitor) -> None:
    later = blog.site.now() + timedelta(seconds=250)
    stock(
        blog,
        job8={"due_at": later, "attempts": 3},
        job4={"attempts": 0, "reason": "The listener wants no more in this time.", "due_at": later},
        job10={"reason": "The listener is gone."},
    )
    with blog.app.app_context():
        blog.db.session.get(Listener, 8).options = {"retry_schedule": [0, 1, 2, 3, 4]}
        blog.db.session.commit()
    retrying = visitor.text("/deliveries", listener="8")
    assert "3 of 5 tried" in retrying
    assert "in 4 minutes" in retrying
    assert "wants no more in this time" in visitor.text("/deliveries", listener="4")
    assert "not sent" in visitor.text("/deliveries", listener="10")


def test_a_tail_loads_itself_again(blog: Blog, visitor: Visitor) -> None:
    empty = visitor.text("/deliveries", tail="1")
    assert '<meta http-equiv="refresh" content="5">' in empty
    assert "<noscript>" not in empty
    stock(blog)
    page = visitor.text("/deliveries", tail="1")
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
    assert '<tbody data-tail="5">' in page
    assert "refresh" not in visitor.text("/deliveries")


# --- one -----------------------------------------------------------------------------------------------


def test_a_delivery_shows_what_is_sent_and_no_secret(blog: Blog, visitor: Visitor) -> None:
    stock(blog)
    page = visitor.text("/deliveries/10")
    assert "It happened" in page
    assert "Attempt 1" in page
    assert "203.0.113.9" in page
    assert "POST https://site10.example/hook/10?x=&lt;b&gt;" in page
    assert f"evt_{10:032x}_10" in page
    assert "made when it is sent" in page
    assert "curl --globoff" in page
    for hidden in (SECRET, "s3cr3t", "<script>document", "v1,"):
        assert hidden not in page
    assert "Authorization: ***" in page
    assert "\u202e" not in page


@pytest.mark.parametrize(
    ("what", "said"),
    [("listener", "The listener is gone."), ("event", "not kept any more"), ("data", "not kept any more")],
)
def test_a_delivery_whose_parts_are_gone(blog: Blog, visitor: Visitor, what: str, said: str) -> None:
    stock(blog)
    with blog.app.app_context():
        session = blog.db.session
        if what == "data":
            session.get(Event, 10).data = None
        else:
            session.delete(session.get({"listener": Listener, "event": Event}[what], 10))
        session.commit()
    assert said in visitor.text("/deliveries/10")
    assert 10 in ids(visitor.text("/deliveries"))
    assert said in visitor.send("/deliveries/10", "resend").text


def test_what_a_hook_of_the_application_makes(blog: Blog, visitor: Visitor) -> None:
    class Own(Hook):
        def serialize(self, event: Event, listener: Listener) -> bytes:
            if listener.id == 10:
                raise RuntimeError("No.")
            return b"own body"

        def deliver(self, event: Event, listener: Listener, post: Any) -> Any:
            raise AssertionError("A page sends nothing.")

    blog.linkback.hooks.register(Own(name="person"))
    stock(blog)
    assert "The body cannot be made" in visitor.text("/deliveries/10")
    page = visitor.text("/deliveries/11")
    assert "own body" in page
    assert "Own sends it in a way of its own" in page


@pytest.mark.parametrize("path", ["/deliveries/3", "/deliveries/99", "/deliveries/99999999999999999999"])
def test_what_is_no_delivery_is_404(blog: Blog, visitor: Visitor, path: str) -> None:
    stock(blog)
    assert visitor.get(path).status_code == 404


# --- sending again -------------------------------------------------------------------------------------


def test_what_was_given_up_is_sent_again_at_once(blog: Blog, visitor: Visitor) -> None:
    stock(blog)
    page = visitor.send("/deliveries/11", "resend").text
    assert "1 delivery is queued." in page
    assert "/linkback/admin/deliveries?state=pending" in page
    assert states(blog, 11) == ["pending"]
    assert audits(blog, "resend") == [("ada@example.org", "delivery:11", {"state": "dead"})]
    assert "resend" in visitor.text("/deliveries/11")


def test_what_was_delivered_is_asked_for_twice(blog: Blog, visitor: Visitor) -> None:
    stock(blog)
    asked = visitor.send("/deliveries/10", "resend").text
    assert "It was delivered already." in asked
    assert 'name="confirm"' in asked
    assert states(blog, 10) == ["done"]
    assert "1 delivery is queued." in visitor.send("/deliveries/10", "resend", confirm="1").text
    assert states(blog, 10) == ["pending"]


def test_what_is_still_owed_is_refused(blog: Blog, visitor: Visitor) -> None:
    stock(blog)
    for job_id in (8, 5):  # the first has a form, to cancel it
        assert "still owed" in visitor.send(f"/deliveries/{job_id}", "resend").text
    assert audits(blog, "resend") == []


def test_many_are_sent_again_after_a_look_at_how_many(blog: Blog, visitor: Visitor) -> None:
    stock(blog, 24)
    with blog.app.app_context():
        blog.db.session.get(Listener, 19).state = ListenerState.paused
        blog.db.session.commit()
    chosen = ["11", "7", "19", "10", "8", "5", "3"]  # 3 is no delivery
    asked = visitor.send("/deliveries", "resend", id=chosen).text
    for said in (
        "2 were given up, and are sent again.",
        "1 was delivered already.",
        "2 are left alone: still owed",
        "1 is left alone: The listener is paused.",
    ):
        assert said in asked
    assert 'name="again"' in asked
    assert states(blog, 11, 7, 10) == ["dead", "dead", "done"]
    done = visitor.send("/deliveries", "resend", id=chosen, confirm="1").text
    assert "2 deliveries are queued." in done
    assert "4 were left alone." in done
    assert states(blog, 11, 7, 10, 19, 3) == ["pending", "pending", "done", "dead", "dead"]
    assert len(audits(blog, "resend")) == 2
    visitor.send("/deliveries", "resend", id=["10"], confirm="1", again="1")
    assert states(blog, 10) == ["pending"]


def test_when_nothing_can_be_sent_it_says_why(blog: Blog, visitor: Visitor) -> None:
    stock(blog)
    assert "Tick the rows first." in visitor.send("/deliveries", "resend").text
    assert "Nothing can be sent again: still owed" in visitor.send("/deliveries", "resend", id=["8"]).text
    assert "Nothing of it can be sent" in visitor.send("/deliveries", "resend", id=["8"], confirm="1").text


# --- cancelling ----------------------------------------------------------------------------------------


def test_what_waits_is_cancelled(blog: Blog, visitor: Visitor) -> None:
    stock(blog)
    page = visitor.send("/deliveries", "cancel", id=["4", "5", "10"]).text
    assert "1 delivery is cancelled." in page
    assert "2 were left alone." in page
    assert "1 delivery is cancelled." in visitor.send("/deliveries/8", "cancel").text
    assert states(blog, 4, 8, 5, 10) == ["dead", "dead", "running", "done"]
    assert [each[1:] for each in audits(blog, "cancel")] == [
        ("delivery:4", {"state": "pending"}),
        ("delivery:8", {"state": "pending"}),
    ]
    assert "Nothing of it waits" in visitor.send("/deliveries/5", "cancel").text
    assert "cancelled" in visitor.text("/deliveries/8")


# --- rights and owners ---------------------------------------------------------------------------------


def test_rights_are_apart(blog: Blog, visitor: Visitor) -> None:
    stock(blog)
    blog.linkback.admin_access(lambda action, obj: action in ("view", "manage"))
    assert "Send again" not in visitor.text("/deliveries") + visitor.text("/deliveries/11")
    assert visitor.send("/deliveries", "resend", id=["11"], confirm="1").status_code == 403
    assert visitor.send("/deliveries/11", "resend").status_code == 403
    assert visitor.send("/deliveries/8", "cancel").status_code == 200
    blog.linkback.admin_access(lambda action, obj: action in ("view", "resend"))
    assert visitor.send("/deliveries", "cancel", id=["4"]).status_code == 403
    assert visitor.send("/deliveries/4", "cancel").status_code == 403
    assert states(blog, 11, 4) == ["dead", "pending"]


def test_an_owner_has_their_own_alone(blog: Blog, visitor: Visitor) -> None:
    stock(blog)
    blog.linkback.admin_access(lambda action, obj: "other")  # whose listeners have odd ids
    assert ids(visitor.text("/deliveries")) == [11, 7, 5, 1]
    assert ids(visitor.text("/deliveries", state="dead")) == [11, 7]
    for query in ({"listener": "10"}, {"event": "10"}, {"host": "site10.example"}):
        assert ids(visitor.text("/deliveries", **query)) == []
    assert visitor.get("/deliveries/11").status_code == 200
    assert "/linkback/admin/jobs" not in visitor.text("/deliveries/11")
    for action in ("resend", "cancel"):
        assert visitor.send("/deliveries/10", action, confirm="1").status_code == 404
        visitor.send("/deliveries", action, id=["10", "4"], confirm="1", again="1")
    assert visitor.get("/deliveries/10").status_code == 404
    assert states(blog, 10, 4) == ["done", "pending"]
    visitor.send("/deliveries", "resend", id=["11", "10"], confirm="1", again="1")
    assert states(blog, 11, 10) == ["pending", "done"]


def test_hostile_words_are_inert(blog: Blog, visitor: Visitor) -> None:
    stock(blog)
    with blog.app.app_context():
        session = blog.db.session
        session.execute(sa.update(Event).values(type=HOSTILE[:80], object_key=HOSTILE, uid=Event.uid))
        session.execute(sa.update(Job).where(Job.kind == DELIVER).values(host=HOSTILE[:60]))
        session.execute(sa.update(Listener).values(url=f"https://a.example/{HOSTILE}", host=HOSTILE[:60]))
        session.commit()
    for path in ("/deliveries", "/deliveries/11", "/deliveries/10"):
        page = visitor.text(path)
        assert "<script>document" not in page
        assert "<img src=x" not in page
        assert "\u202e" not in page
