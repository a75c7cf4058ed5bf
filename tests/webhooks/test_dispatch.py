"""Laws of dispatch: who wants an event gets it once, whichever process heard of the listener."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook, match
from flask_linkback.models import Event, Job, JobState, Listener, ListenerSecret, ListenerState
from flask_linkback.outbox import jobs
from flask_linkback.webhooks.dispatch import Indexes, dispatch
from flask_linkback.webhooks.recording import DELIVER, DISPATCH
from tests.apps import Blog
from tests.neighbours import Neighbour

URL = "http://127.0.0.1:9/"


def listen(blog: Blog, filter_: Any = None, **options: Any) -> Listener:
    listener = Hook(name="shouted").listener(url=URL, **options).match(filter_).save()
    blog.db.session.commit()
    return listener


def shout(blog: Blog, **payload: Any) -> Event:
    event = Hook(name="shouted").send(None, **payload)
    assert event is not None
    blog.db.session.commit()
    return event


def claims(blog: Blog) -> list[jobs.Claim]:
    with blog.site.new_session() as session:
        return jobs.turn(session, now=blog.site.now(), schedule=[0], want=100).claims


def expand(blog: Blog) -> list[int]:
    """Dispatch what is owed; return the listeners of the deliveries of the last event."""
    for claim in claims(blog):
        if claim.kind == DISPATCH:
            assert dispatch(blog.site, claim).verdict is jobs.Verdict.done
    last = sa.select(sa.func.max(Job.event_id)).scalar_subquery()
    owed = sa.select(Job.listener_id).where(Job.kind == DELIVER, Job.event_id == last).order_by(Job.id)
    return list(blog.db.session.scalars(owed))


def test_who_wants_it_gets_it(blog: Blog) -> None:
    wanted = [listen(blog), listen(blog, {"word": match.Startswith("H")}), listen(blog, {"to.whom": "you"})]
    listen(blog, {"word": "Ho"})
    shout(blog, word="Hi", to={"whom": "you"})
    assert expand(blog) == [each.id for each in wanted]


def test_it_is_owed_once_even_if_a_worker_did_not_come_back(blog: Blog) -> None:
    listen(blog)
    event = shout(blog, word="Hi")
    (claim,) = claims(blog)
    dispatch(blog.site, claim)
    dispatch(blog.site, claim)
    owed = sa.select(sa.func.count()).where(Job.kind == DELIVER, Job.event_id == event.id)
    assert blog.db.session.scalar(owed) == 1


def test_a_worker_that_lost_its_claim_owes_nothing(blog: Blog) -> None:
    listen(blog)
    shout(blog, word="Hi")
    (claim,) = claims(blog)
    blog.db.session.execute(sa.update(Job).values(token="somebody else's"))
    blog.db.session.commit()
    dispatch(blog.site, claim)
    assert not blog.db.session.scalar(sa.select(Job.id).where(Job.kind == DELIVER))


def test_changes_of_listeners_count_for_the_next_event(blog: Blog) -> None:
    first = listen(blog, {"word": "Hi"})
    shout(blog, word="Hi")
    assert expand(blog) == [first.id]
    second = listen(blog, {"word": "Hi"})
    first.match = match.dump({"word": "Ho"})
    blog.db.session.commit()
    shout(blog, word="Hi")
    assert expand(blog) == [second.id]
    blog.db.session.delete(second)
    blog.db.session.commit()
    shout(blog, word="Hi")
    assert expand(blog) == []
    first.state = ListenerState.paused
    blog.db.session.commit()
    shout(blog, word="Ho")
    assert expand(blog) == []


def test_an_index_of_another_process_hears_of_it(blog: Blog) -> None:
    event = shout(blog, word="Hi")
    theirs = Indexes()

    def found() -> set[int]:
        with blog.site.new_session() as session:
            return theirs.match(session, ["shouted"], event)

    assert found() == set()
    one = listen(blog, {"word": "Hi"})
    assert found() == {one.id}
    blog.db.session.execute(sa.update(Listener).values(match=match.dump({"word": "Ho"})))
    blog.db.session.commit()
    assert found() == set()
    one.match = match.dump({"word": match.Contains("i")})
    blog.db.session.rollback()
    assert found() == set()


def test_a_loop_ends(blog: Blog) -> None:
    listen(blog)
    event = shout(blog, word="Hi")
    event.depth = 6
    blog.db.session.commit()
    (claim,) = claims(blog)
    outcome = dispatch(blog.site, claim)
    assert outcome.verdict is jobs.Verdict.dead
    assert "loop" in outcome.reason


@pytest.mark.parametrize("overridden", ["get_listeners", "event_filter"])
def test_a_hook_that_decides_itself(blog: Blog, overridden: str) -> None:
    class Own(Hook):
        name = "own"

    if overridden == "get_listeners":
        Own.get_listeners = lambda self, sender, payload: [kept]  # type: ignore[method-assign]
    else:
        Own.event_filter = lambda self, sender, payload, match: match is not None and payload["n"] == 1  # type: ignore[method-assign]
    blog.linkback.hooks.register(Own)
    hook = blog.linkback.hooks["own"]
    kept = hook.listener(url=URL).match(n=2).save()
    other = Hook(name="other").listener(url=URL).save()
    event = hook.send(n=1)
    blog.db.session.commit()
    assert expand(blog) == [kept.id]
    assert blog.linkback.webhooks.why(event, kept) is None
    assert "not to own" in blog.linkback.webhooks.why(event, other)


def test_why_and_what_if(blog: Blog) -> None:
    listener = listen(blog, {"word": match.Startswith("J")})
    events = [shout(blog, word=word) for word in ("Joe", "Simon")]
    webhooks = blog.linkback.webhooks
    assert webhooks.why(events[0], listener) is None
    assert "Simon" in webhooks.why(events[1], listener)
    tried = webhooks.try_filter({"word": match.Endswith("n")}, last=5)
    assert [(event.id, matched) for event, matched, _ in tried] == [
        (events[1].id, True),
        (events[0].id, False),
    ]
    assert "Joe" in tried[1][2]
    assert webhooks.try_filter({}, event="other.*") == []
    assert len(webhooks.try_filter({}, event="shouted")) == 2
    listener.state = ListenerState.paused
    assert webhooks.why(events[0], listener) == "The listener is paused."


def test_what_was_of_a_listener_that_is_deleted_comes_to_no_other(blog: Blog) -> None:
    gone = listen(blog)
    listener_id = gone.id
    shout(blog, word="Hi")
    expand(blog)
    blog.db.session.delete(gone)
    blog.db.session.commit()
    (job,) = blog.db.session.scalars(sa.select(Job).where(Job.kind == DELIVER))
    assert (job.state, job.reason) == (JobState.dead, "The listener is gone.")
    assert not blog.db.session.scalars(sa.select(ListenerSecret)).all()
    assert listen(blog).id > listener_id


def test_a_listener_that_is_sent_nothing_any_more(blog: Blog, neighbour: Neighbour) -> None:
    listener = listen(blog)
    shout(blog, word="Hi")
    expand(blog)
    blog.db.session.delete(listener)
    blog.db.session.commit()
    blog.linkback.run_until_idle()
    (job,) = blog.db.session.scalars(sa.select(Job).where(Job.kind == DELIVER))
    assert job.reason == "The listener is gone."
