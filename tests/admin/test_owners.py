"""Owners: who sees one owner's things alone sees, changes and learns nothing of another's, on any way."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook, match
from flask_linkback.models import Audit, Event, Job, JobState, Listener, ListenerSecret, ListenerState, digest
from flask_linkback.webhooks.recording import DELIVER
from tests.admin.conftest import PREFIX, Visitor
from tests.admin.stock import fill
from tests.apps import Blog
from tests.neighbours import Neighbour

OURS, THEIRS = "acme", "other"
SECRETS = ("site1.example", "site3.example", "site5.example", "Person:1", "Person:3", "of-theirs")
"""What only the other owner may see: rows of odd ids."""
TABS = ("overview", "deliveries", "withheld", "secret", "test", "settings", "audit")


class Payroll(Hook):
    """What no owner may listen to."""

    name = "payroll"
    provides_args = ("salary",)


class Own(Hook):
    """Who gets its events is decided by the application."""

    name = "own"
    provides_args = ("word",)

    def event_filter(self, sender: Any, payload: Any, match: Any) -> bool:
        return False


class Person(Hook):
    """What everybody may listen to."""

    name = "person"
    provides_args = ("name",)


def may(action: str, obj: Any) -> str | bool:
    return False if isinstance(obj, Payroll) else OURS


@pytest.fixture
def shared(blog: Blog) -> Blog:
    """Six rows of each table: listeners, deliveries and events of odd ids are the other owner's."""
    for kind in (Person, Payroll, Own):
        blog.linkback.hooks.register(kind)
    with blog.app.app_context():
        fill(blog, 6)
        session = blog.db.session
        for number in range(1, 7):
            hook, state = ("person", "own")[number % 2], JobState.dead if number > 2 else JobState.pending
            session.execute(sa.update(Event).where(Event.id == number).values(hook=hook, type=hook))
            session.execute(
                sa.update(Job)
                .where(Job.id == number)
                .values(kind=DELIVER, listener_id=number, event_id=number, state=state, reason="of-" + state)
            )
            session.execute(
                sa.update(Listener)
                .where(Listener.id == number)
                .values(
                    hook=hook, hook_hash=digest(hook), match=match.dump({}), state=ListenerState.active,
                    reason="of-theirs" if number % 2 else "",
                )
            )  # fmt: skip
            session.add(Audit(at=blog.site.now(), who="of-theirs", action="x", object_key=f"event:{number}"))
        session.execute(sa.update(Event).where(Event.id % 2 == 1).values(data={"word": "of-theirs"}))
        session.commit()
    blog.linkback.admin_access(may)
    return blog


def state_of_theirs(blog: Blog) -> Any:
    """Return all of the other owner's that could change."""
    with blog.app.app_context():
        session = blog.db.session
        listeners = sa.select(Listener.id, Listener.url, Listener.state, Listener.hook, Listener.match)
        jobs = sa.select(Job.id, Job.state, Job.reason, Job.due_at, Job.attempts)
        kept = sa.select(ListenerSecret.id, ListenerSecret.expires_at).order_by(ListenerSecret.id)
        audits = sa.select(Audit.object_key).where(Audit.who == "ada@example.org", Audit.action != "moderate")
        return (
            session.execute(listeners.where(Listener.owner == THEIRS).order_by(Listener.id)).all(),
            session.execute(jobs.where(Job.listener_id % 2 == 1).order_by(Job.id)).all(),
            session.execute(kept.where(ListenerSecret.listener_id % 2 == 1)).all(),
            [key for key in session.scalars(audits) if int(key.rpartition(":")[2]) % 2],
        )


def rules(blog: Blog) -> list[tuple[str, Any]]:
    """Return the path of every screen, with a number of the other owner's, and its actions."""
    from flask_linkback.blueprints.admin import _SCREENS

    return [(screen.rule.replace("<int:id>", "{}"), screen) for screen in _SCREENS]


QUERIES = (
    {}, {"listener": "1"}, {"listener": "3"}, {"event": "1"}, {"host": "site1.example"}, {"owner": THEIRS},
    {"object": "Person:1"}, {"type": "own"}, {"type": "payroll"}, {"state": "dead"}, {"state": "pending"},
    {"hook": "own"}, {"url": "site1"}, {"tab": "hooks"}, {"code": "5xx"}, {"after": "6"}, {"before": "0"},
    {"tail": "1"}, {"since": "2020-01-01T00:00"},
)  # fmt: skip


def test_no_screen_and_no_filter_shows_what_is_anothers(shared: Blog, visitor: Visitor) -> None:
    shown = 0
    for rule, screen in rules(shared):
        for number in (1, 2) if "{}" in rule else (None,):
            queries = [*QUERIES, *({"tab": tab} for tab in TABS)] if screen.name == "listener" else QUERIES
            for query in queries:
                answer = visitor.get(rule.format(number), **query)
                where = (rule, number, query, answer.status_code)
                if not screen.for_owners:
                    assert answer.status_code == 403, where
                elif number == 1:
                    assert answer.status_code == 404, where
                else:
                    # of payroll, where nobody may listen, there is no form
                    assert answer.status_code in (200, 303, 403), where
                    shown += answer.status_code == 200
                for secret in SECRETS:
                    if secret not in query.values():  # which are told back
                        assert secret not in answer.text, (where, secret)
    assert shown > 100


def test_no_form_changes_what_is_anothers(shared: Blog, visitor: Visitor) -> None:
    before = state_of_theirs(shared)
    visitor.get("/hooks")
    numbers = {
        name: ["1", "3", "5"]
        for name in ("id", "listener", "event", "delivery", "job", "secret_id", "object")
    }
    values: dict[str, Any] = {
        **numbers, "owner": THEIRS, "listener_owner": THEIRS, "confirm": "1", "again": "1", "days": "0",
        "since": f"{shared.site.now():%Y-%m-%d}T00:00", "do": "save", "mode": "json", "json": "{}",
        "sample": "{}", "status": "spam", "type": "own", "url": "https://a.example/", "tried": "",
        "listener_url": "https://a.example/", "listener_events": "*",
    }  # fmt: skip
    done = 0
    for rule, screen in rules(shared):
        for action in sorted(screen.actions, key=lambda name: name == "delete"):
            if action == "delete" and "{}" in rule:
                del values["confirm"]
            for number in (1, 2) if "{}" in rule else (None,):
                path = f"{PREFIX}{rule.format(number)}"
                data = {"action": action, "csrf_token": visitor.token, **values}
                answer = visitor.client.post(path, data=data)
                where = (path, action, answer.status_code)
                if not screen.for_owners:
                    assert answer.status_code == 403, where
                elif number == 1:
                    assert answer.status_code == 404, where
                else:
                    assert answer.status_code in (200, 303, 403), where
                    done += 1
                for secret in SECRETS:
                    assert secret not in answer.text, (where, secret)
                assert state_of_theirs(shared) == before, where
    assert done > 10


def test_what_was_ticked_is_looked_for_among_ones_own(shared: Blog, visitor: Visitor) -> None:
    before = state_of_theirs(shared)
    page = visitor.send("/hooks", "pause", id=["1", "2"]).text
    assert "1 listener is paused." in page
    page = visitor.send("/deliveries", "resend", id=["3", "4"], confirm="1").text
    assert "1 delivery is queued." in page or "was left alone" in page or "Nothing" in page
    for path, action in (("/hooks", "pause"), ("/deliveries", "cancel")):
        assert "Tick the rows first." in visitor.send(path, action, id=["1", "3"]).text
    assert state_of_theirs(shared) == before


# --- hooks ---------------------------------------------------------------------------------------------


def test_an_owner_listens_to_no_hook_that_is_denied(shared: Blog, visitor: Visitor) -> None:
    assert "payroll" not in visitor.text("/listeners/select") + visitor.text("/hooks", tab="hooks")
    assert "person" in visitor.text("/listeners/select") + visitor.text("/hooks")
    assert visitor.get("/listeners/create", type="payroll").status_code == 403
    filled_in = {"url": "https://a.example/", "listener_events": "payroll"}
    assert visitor.send("/listeners/create?type=payroll", "create", **filled_in).status_code == 403
    with shared.app.app_context():
        before = shared.db.session.query(Listener).count()
    for pattern in ("payroll", "*", "payroll.*", "unknown"):
        values = {"listener_url": "https://site2.example/", "listener_events": pattern}
        page = visitor.send("/listeners/2?tab=settings", "edit", **values).text
        assert "Choose events of a hook" in page, pattern
        filled_in["listener_events"] = pattern
        page = visitor.send("/listeners/create?type=person", "create", **filled_in).text
        assert "Choose the events." in page
    with shared.app.app_context():
        assert shared.db.session.get(Listener, 2).hook == "person"
        assert shared.db.session.query(Listener).count() == before


def test_of_a_hook_that_is_denied_an_owner_sees_what_they_got(shared: Blog, visitor: Visitor) -> None:
    """An application may make such a listener, with a filter that lets an owner have their own alone."""
    with shared.app.app_context():
        session = shared.db.session
        for number, salary in ((1, "of-theirs"), (2, "of-ours")):
            values = {"hook": "payroll", "type": "payroll", "data": {"salary": salary}}
            session.execute(sa.update(Event).where(Event.id == number).values(**values))
        session.execute(
            sa.update(Listener)
            .where(Listener.id == 2)
            .values(
                hook="payroll", hook_hash=digest("payroll"), match=match.dump({"salary": match.Is("of-ours")})
            )
        )
        session.commit()
    assert visitor.get("/events/1").status_code == 404
    assert visitor.get("/events/2").status_code == 200
    pages = [visitor.text("/listeners/2", tab=tab) for tab in TABS]
    pages += [visitor.text("/listeners/2/filter"), visitor.text("/events"), visitor.text("/deliveries")]
    assert "of-ours" in pages[TABS.index("test")]
    for page in pages:
        assert "of-theirs" not in page
    tried = visitor.send("/listeners/2/filter", "filter", mode="json", json="{}", do="try").text
    assert "of-theirs" not in tried
    assert "It would have received 1 of 1." in tried
    stamp = re.search('name="tried" value="([^"]*)"', tried)
    assert stamp is not None
    values = {"mode": "json", "json": "{}", "do": "save", "tried": stamp[1]}
    assert "its filter stays" in visitor.send("/listeners/2/filter", "filter", **values).text
    with shared.app.app_context():
        assert "of-ours" in str(shared.db.session.get(Listener, 2).match)


def test_a_test_sends_nothing_of_an_event_that_an_owner_does_not_see(shared: Blog, visitor: Visitor) -> None:
    with Neighbour() as neighbour, shared.app.app_context():
        session = shared.db.session
        url = neighbour.url("/hook")
        values = {"hook": "own", "url": url, "host": "127.0.0.1"}
        session.execute(sa.update(Listener).where(Listener.id == 2).values(**values))
        session.commit()
        page = visitor.send("/listeners/2?tab=test", "test", sample="null", type="own").text
        assert "An event says something" in page
        page = visitor.send("/listeners/2?tab=test", "test", sample="{}", type="payroll").text
        assert "does not listen to events of this type" in page
        assert not neighbour.requests


# --- rights of which some are everybody's ---------------------------------------------------------------


def test_who_sees_one_owners_changes_no_more(shared: Blog, visitor: Visitor) -> None:
    before = state_of_theirs(shared)
    shared.linkback.admin_access(lambda action, obj: OURS if action == "view" else True)
    assert visitor.send("/listeners/1", "pause").status_code == 404
    assert "Tick the rows first." in visitor.send("/hooks", "pause", id=["1"]).text
    assert state_of_theirs(shared) == before


def test_who_sees_all_may_change_one_owners_alone(shared: Blog, visitor: Visitor) -> None:
    shared.linkback.admin_access(lambda action, obj: OURS if action == "manage" else True)
    assert visitor.get("/mentions").status_code == 200
    assert "Approve" not in visitor.text("/mentions")
    assert visitor.send("/listeners/1", "pause").status_code == 404
    assert "is paused" in visitor.send("/listeners/2", "pause").text


def test_rights_of_two_owners_are_none(shared: Blog, visitor: Visitor) -> None:
    visitor.get("/hooks")
    shared.linkback.admin_access(lambda action, obj: OURS if action == "view" else THEIRS)
    assert visitor.get("/listeners/2").status_code == 200
    for number in ("1", "2"):
        assert visitor.send(f"/listeners/{number}", "pause").status_code in (403, 404)
    assert ">Pause<" not in visitor.text("/listeners/2")
