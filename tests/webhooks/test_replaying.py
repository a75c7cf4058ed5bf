"""Laws of replaying: under the same id, signed anew; nothing twice that nobody asked for."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook, match
from flask_linkback.errors import ReplayRefused
from flask_linkback.models import Event, Job, JobState, ListenerState
from flask_linkback.webhooks import replaying
from tests.apps import Blog
from tests.neighbours import Neighbour, Request
from tests.pingback.tools import Clock
from tests.webhooks.listening import DAY, deliveries, listen, shout, states, work


def given_up(blog: Blog, neighbour: Neighbour, count: int = 1) -> Any:
    """Owe events to a listener that refuses them until they are given up; then let it take them."""
    hook = blog.linkback.hooks.register(Hook(name="shouted", retry=False))
    neighbour.answer("/listening", status=500)
    listener = listen(blog, neighbour)
    for number in range(count):
        shout(blog, hook, number=number)
    work(blog)
    assert states(blog) == ["dead"] * count
    neighbour.answer("/listening", status=204)
    neighbour.requests.clear()
    return listener


def numbers(requests: list[Request]) -> list[int]:
    return [json.loads(request.body)["data"]["number"] for request in requests]


# --- one ------------------------------------------------------------------------------------------------


def test_one_goes_again_under_its_id_with_a_fresh_signature(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    listen(blog, neighbour)
    shout(blog)
    work(blog)
    (job,) = deliveries(blog)
    with pytest.raises(ReplayRefused, match="delivered already: replay it with again=True"):
        blog.linkback.webhooks.replay(job)
    clock.move(60)
    assert blog.linkback.webhooks.replay(job.id, again=True).state is JobState.pending
    blog.db.session.commit()
    work(blog)
    first, second = neighbour.requests
    assert first.header("webhook-id") == second.header("webhook-id")
    assert first.header("webhook-signature") != second.header("webhook-signature")
    assert first.body == second.body


def test_one_that_was_given_up_has_all_its_attempts_again(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    given_up(blog, neighbour)
    (job,) = deliveries(blog)
    blog.linkback.webhooks.replay(job)
    blog.db.session.commit()
    work(blog)
    assert [(each.state, each.attempts) for each in deliveries(blog)] == [(JobState.done, 1)]


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("pending", "is still owed"),
        ("running", "is still owed"),
        ("paused", "The listener is paused"),
        ("no listener", "The listener is gone"),
        ("no data", "not kept any more"),
        ("no delivery", "no delivery 0"),
        ("another job", "no delivery"),
    ],
)
def test_what_is_not_replayed(blog: Blog, neighbour: Neighbour, clock: Clock, what: str, why: str) -> None:
    listener = given_up(blog, neighbour)
    (job,) = deliveries(blog)
    job_id = job.id
    match what:
        case "pending" | "running":
            job.state = JobState(what)
        case "paused":
            listener.state = ListenerState.paused
        case "no listener":
            blog.db.session.delete(listener)
        case "no data":
            blog.db.session.execute(sa.update(Event).values(data=None))
        case "no delivery":
            job_id = 0
        case _:
            job_id = blog.db.session.scalars(sa.select(Job.id).where(Job.id != job_id)).first() or 0
    blog.db.session.commit()
    with pytest.raises(ReplayRefused, match=why):
        blog.linkback.webhooks.replay(job_id, again=True)


# --- all that were given up -----------------------------------------------------------------------------


def test_what_was_given_up_since_a_time_is_recovered(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    listener = given_up(blog, neighbour, 2)
    clock.move(DAY)
    since = clock()
    neighbour.answer("/listening", status=500)
    for number in range(2, 6):
        shout(blog, blog.linkback.hooks["shouted"], number=number)
    work(blog)
    assert blog.linkback.webhooks.cancel(listener) == 0
    cancelled = deliveries(blog)[-1]
    cancelled.reason = "cancelled"
    neighbour.answer("/listening", status=204)
    neighbour.requests.clear()
    other = listen(blog, neighbour, "/other")
    recover = blog.linkback.webhooks.recover
    assert recover(listener, since, dry_run=True) == 3
    assert recover(other, since, dry_run=True) == 0
    assert states(blog) == ["dead"] * 6
    assert recover(listener, since) == 3
    blog.db.session.commit()
    work(blog)
    assert numbers(neighbour.requests) == [2, 3, 4]
    assert recover(listener, since, dry_run=True) == 0


def test_who_looks_back_too_far(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    listener = given_up(blog, neighbour)
    since = clock()
    clock.move(14 * DAY)
    assert blog.linkback.webhooks.recover(listener, since, dry_run=True) == 1
    clock.move(1)
    with pytest.raises(ValueError, match="14 days"):
        blog.linkback.webhooks.recover(listener, since)


def test_what_was_left_out_while_a_listener_was_disabled_can_be_recovered(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    neighbour.answer("/listening", status=500)
    listener = listen(blog, neighbour)
    shout(blog, number=0)
    work(blog)
    listener.state = ListenerState.disabled
    blog.db.session.commit()
    clock.move(10)
    work(blog)
    assert [(job.state, job.reason) for job in deliveries(blog)] == [
        (JobState.dead, "The listener is disabled.")
    ]
    with pytest.raises(ReplayRefused, match="disabled"):
        blog.linkback.webhooks.recover(listener, clock() - timedelta(days=1))
    listener.state = ListenerState.active
    neighbour.answer("/listening", status=204)
    assert blog.linkback.webhooks.recover(listener, clock() - timedelta(days=1)) == 1
    blog.db.session.commit()
    work(blog)
    assert states(blog) == ["done"]


# --- what a listener never got --------------------------------------------------------------------------


def test_a_new_listener_is_told_of_what_was_before(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    first = listen(blog, neighbour, "/other")
    neighbour.answer("/other", status=204)
    shout(blog, number=0)
    clock.move(DAY)
    since = clock()
    hook = blog.linkback.hooks.register(Hook(name="shouted", order_key="about"))
    for number in range(1, 6):
        shout(blog, hook, number=number, about=number % 2)
        shout(blog, Hook(name="whispered"), number=number)
    work(blog)
    new = Hook(name="shouted").listener(url=neighbour.url("/listening")).match(number=match.Gt(1)).save()
    blog.db.session.commit()
    shout(blog, hook, number=6)
    work(blog)
    neighbour.requests.clear()
    backfill = blog.linkback.webhooks.backfill
    assert backfill(new, since, dry_run=True) == 4
    assert backfill(first, since, dry_run=True) == 0
    assert backfill(new, since) == 4
    blog.db.session.commit()
    keys = [job.key for job in deliveries(blog) if job.listener_id == new.id]
    assert len(set(keys[1:])) == 2
    assert all(key.startswith(f"{new.id}:") for key in keys[1:] if key is not None)
    work(blog)
    assert numbers(neighbour.requests) == [2, 3, 4, 5]
    assert backfill(new, since) == 0


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("*", 4), ("person.*", 3), ("person.created", 1), ("person", 2), ("person_.*", 0)],
)
def test_back_fill_by_a_pattern(
    blog: Blog, neighbour: Neighbour, clock: Clock, pattern: str, count: int
) -> None:
    for name, type_ in (("person", "created"), ("person", "updated"), ("person.old", "x"), ("other", "y")):
        Hook(name=f"{name}.{type_}").send()
        last = blog.db.session.scalars(sa.select(Event).order_by(Event.id.desc())).first()
        assert last is not None
        last.hook = name
    blog.db.session.commit()
    work(blog)
    listener = Hook(name="x").listener(url=neighbour.url("/listening"), event=pattern).save()
    assert blog.linkback.webhooks.backfill(listener, clock() - timedelta(days=1), dry_run=True) == count


# --- one event ------------------------------------------------------------------------------------------


class Choosy(Hook):
    """Tells those whose configuration says so."""

    def get_listeners(self, sender: Any, payload: Any) -> Any:
        return [each for each in super().get_listeners(sender, payload) if (each.config or {}).get("chosen")]


def test_an_event_is_owed_to_one_listener_once_whatever_its_filter_says(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    event = shout(blog, number=1)
    work(blog)
    new = Hook(name="shouted").listener(url=neighbour.url("/listening")).match(number=match.Gt(5)).save()
    blog.db.session.commit()
    assert replaying.owe(blog.site, event, new).event_id == event.id
    blog.db.session.commit()
    with pytest.raises(ReplayRefused, match="owed it before"):
        replaying.owe(blog.site, event, new)
    work(blog)
    assert numbers(neighbour.requests) == [1]


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("waits", "not matched yet"),
        ("no data", "not kept any more"),
        ("paused", "The listener is paused"),
        ("other", "It listens to other, not to shouted"),
        ("choosy", "Choosy decides itself"),
    ],
)
def test_what_is_not_owed_to_one_listener(
    blog: Blog, neighbour: Neighbour, clock: Clock, what: str, why: str
) -> None:
    if what == "choosy":
        blog.linkback.hooks.register(Choosy(name="shouted"))
    event = shout(blog, number=1)
    if what != "waits":
        work(blog)
    hook = Hook(name="other" if what == "other" else "shouted")
    listener = hook.listener(url=neighbour.url("/listening")).save()
    if what == "paused":
        listener.state = ListenerState.paused
    if what == "no data":
        blog.db.session.execute(sa.update(Event).values(data=None))
    blog.db.session.commit()
    with pytest.raises(ReplayRefused, match=why):
        replaying.owe(blog.site, event, listener)


def test_what_was_given_up_of_an_event_goes_again(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    hook = blog.linkback.hooks.register(Hook(name="shouted", retry=False))
    paths = {"/a": "acme", "/b": "acme", "/c": "other", "/d": None}
    listeners = [listen(blog, neighbour, path, owner=owner) for path, owner in paths.items()]
    for path in paths:
        neighbour.answer(path, status=500)
    event = shout(blog, hook, number=1)
    shout(blog, hook, number=2)
    work(blog)
    cancelled = next(job for job in deliveries(blog) if job.listener_id == listeners[3].id)
    listeners[0].state = ListenerState.paused
    cancelled.reason = replaying.CANCELLED
    blog.db.session.commit()
    recover = replaying.recover_event
    assert recover(blog.site, event, dry_run=True) == 2
    assert recover(blog.site, event, owner="other", dry_run=True) == 1
    assert recover(blog.site, event, owner="acme") == 1
    blog.db.session.commit()
    again = [job for job in deliveries(blog) if job.state is JobState.pending]
    assert [(job.event_id, job.listener_id) for job in again] == [(event.id, listeners[1].id)]
    event.data = None
    with pytest.raises(ReplayRefused, match="not kept"):
        recover(blog.site, event)


# --- never ----------------------------------------------------------------------------------------------


def test_what_waits_is_cancelled(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    neighbour.answer("/listening", status=500)
    neighbour.answer("/other", status=500)
    one, other = listen(blog, neighbour), listen(blog, neighbour, "/other")
    events = [shout(blog, number=number) for number in range(3)]
    work(blog)
    cancel = blog.linkback.webhooks.cancel
    assert cancel(one, event=events[0]) == 1
    assert cancel(one) == 2
    assert cancel(event=events[1]) == 1
    last = next(job for job in deliveries_of(blog, other.id) if job.event_id == events[2].id)
    assert cancel(delivery=last) == 1
    blog.db.session.commit()
    found = [(job.state.value, job.reason) for job in deliveries(blog) if job.listener_id == one.id]
    assert found == [("dead", "cancelled")] * 3
    assert [job.state.value for job in deliveries_of(blog, other.id)] == ["pending", "dead", "dead"]
    with pytest.raises(TypeError, match="needs a listener"):
        cancel()


def deliveries_of(blog: Blog, listener_id: int) -> list[Job]:
    of_it = sa.select(Job).where(Job.listener_id == listener_id).order_by(Job.id)
    return list(blog.db.session.scalars(of_it.execution_options(populate_existing=True)))


def test_nothing_is_owed_again_by_a_transaction_that_is_rolled_back(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    listener = given_up(blog, neighbour, 2)
    assert blog.linkback.webhooks.recover(listener, clock() - timedelta(days=1)) == 2
    blog.db.session.rollback()
    work(blog)
    assert states(blog) == ["dead", "dead"]
