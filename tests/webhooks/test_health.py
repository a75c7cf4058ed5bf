"""Laws of health: who asks is waited for, who is gone is left alone, who fails is warned, then disabled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook
from flask_linkback.models import Listener, ListenerState
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock
from tests.webhooks.listening import DAY, HOUR, deliveries, hearing, listen, shout, states, work

HEALTH = ("listener_failing", "listener_disabled")


@pytest.mark.parametrize(
    ("status", "headers", "least", "most"),
    [
        (500, [], 5, 6),
        (500, [("Retry-After", "1000")], 1000, 1000),
        (500, [("Retry-After", "Sun, 01 Mar 2026 12:10:00 GMT")], 600, 600),
        (500, [("Retry-After", "3")], 5, 6),
        (500, [("Retry-After", "soon")], 5, 6),
        (404, [("Retry-After", "999999999")], DAY, DAY),
        (429, [], 60, 72),
        (502, [], 60, 72),
        (503, [("Retry-After", "-7")], 60, 72),
        (504, [("Retry-After", "120")], 120, 120),
    ],
    ids=str,
)
def test_how_long_an_answer_lets_wait(
    blog: Blog, neighbour: Neighbour, clock: Clock, status: int, headers: Any, least: float, most: float
) -> None:
    neighbour.answer("/listening", status=status, headers=headers)
    listen(blog, neighbour)
    shout(blog)
    work(blog)
    (job,) = deliveries(blog)
    wait = (job.due_at - clock()).total_seconds()
    assert least <= wait <= most


def test_who_does_not_answer_in_time_is_left_alone_for_a_minute(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    neighbour.route("/listening", lambda request, wire: wire.pause())
    listen(blog, neighbour)
    shout(blog, blog.linkback.hooks.register(Hook(name="shouted", timeout=0.1)))
    work(blog)
    (job,) = deliveries(blog)
    assert 60 <= (job.due_at - clock()).total_seconds() <= 72
    assert job.reason.startswith("too_slow")


def test_who_is_gone_is_disabled_and_what_waits_for_it_given_up(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    neighbour.answer("/listening", status=500)
    listener, other = listen(blog, neighbour), listen(blog, neighbour, "/other")
    shout(blog)
    work(blog)
    neighbour.answer("/listening", status=410)
    shout(blog)
    with hearing(blog, *HEALTH) as heard:
        work(blog)
    ((name, said),) = heard
    assert (name, said["listener"].id) == ("listener_disabled", listener.id)
    assert listener.state is ListenerState.disabled
    assert listener.reason == said["reason"] == "It answered 410: it wants nothing any more."
    to_it = [job for job in deliveries(blog) if job.listener_id == listener.id]
    assert [(job.state.value, job.reason) for job in to_it] == [
        ("dead", "The listener is disabled."),
        ("dead", "The server answers 410."),
    ]
    assert other.state is ListenerState.failing
    shout(blog)
    work(blog)
    assert [job.listener_id for job in deliveries(blog)][4:] == [other.id]


@pytest.fixture
def writes(blog: Blog) -> Iterator[list[str]]:
    """What is written to the table of listeners."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE linkback_listener "):
            seen.append(statement)

    sa.event.listen(blog.db.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(blog.db.engine, "before_cursor_execute", note)


def test_health_is_written_when_it_changes_and_not_before(
    blog: Blog, neighbour: Neighbour, clock: Clock, writes: list[str]
) -> None:
    listener = listen(blog, neighbour)
    for _ in range(3):
        shout(blog)
    work(blog)
    assert listener.state is ListenerState.active
    assert not writes
    neighbour.answer("/listening", status=500)
    for _ in range(3):
        shout(blog)
    began = clock()
    work(blog)
    assert (listener.state, listener.failing_at) == (ListenerState.failing, began)
    assert listener.reason == "The server answers 500."
    clock.move(10)
    work(blog)
    assert listener.failing_at == began
    assert len(writes) == 1
    neighbour.answer("/listening", status=204)
    clock.move(HOUR)
    work(blog)
    assert states(blog) == ["done"] * 6
    assert (listener.state, listener.failing_at, listener.reason) == (ListenerState.active, None, "")
    assert len(writes) == 2


def fail_until(blog: Blog, clock: Clock, seconds: float) -> None:
    """Let time pass, six hours at a time, and somebody shout twice a day."""
    end = clock() + timedelta(seconds=seconds)
    while clock() < end:
        if clock().hour % 12 == 0:
            shout(blog)
        work(blog)
        clock.move(6 * HOUR)
    work(blog)


def test_who_fails_for_five_days_is_warned_twice_and_then_disabled(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    neighbour.answer("/listening", status=500)
    listener = listen(blog, neighbour)
    began, said = clock(), []
    with hearing(blog, *HEALTH) as heard:
        for _ in range(6):
            fail_until(blog, clock, DAY)
            said += [(name, clock() - began, values) for name, values in heard]
            heard.clear()
    end = began + timedelta(days=5)
    assert [(name, when.days) for name, when, _ in said] == [
        ("listener_failing", 4),
        ("listener_failing", 5),
        ("listener_disabled", 5),
    ]
    assert [values["disabled_at"] for _, _, values in said[:2]] == [end, end]
    assert listener.state is ListenerState.disabled
    assert listener.reason == said[2][2]["reason"] == "It failed for 5 days: The server answers 500."
    assert set(states(blog)) == {"dead"}


def test_one_success_between_and_the_days_are_counted_anew(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    neighbour.answer("/listening", status=500)
    listener = listen(blog, neighbour)
    fail_until(blog, clock, 4.75 * DAY)
    neighbour.answer("/listening", status=200)
    work(blog)
    shout(blog)
    work(blog)
    assert listener.state is ListenerState.active
    neighbour.answer("/listening", status=500)
    with hearing(blog, *HEALTH) as heard:
        fail_until(blog, clock, 3.5 * DAY)
        assert heard == []
        fail_until(blog, clock, DAY)
    assert [name for name, _ in heard] == ["listener_failing"]
    assert listener.state is ListenerState.failing


def test_one_bad_hour_is_no_reason(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    """Failures that lie near to each other are one, however long ago; a day's warning there always is."""
    neighbour.answer("/listening", status=500)
    listener = listen(blog, neighbour)
    hook = blog.linkback.hooks.register(Hook(name="shouted", retry=False))
    for _ in range(3):
        shout(blog, hook)
        work(blog)
        clock.move(HOUR)
    clock.move(7 * DAY)
    with hearing(blog, *HEALTH) as heard:
        work(blog)
        assert listener.state is ListenerState.failing
        shout(blog, hook)
        work(blog)
        ((name, said),) = heard
        assert (name, said["disabled_at"]) == ("listener_failing", clock() + timedelta(days=1))
        clock.move(DAY)
        work(blog)
    assert [name for name, _ in heard] == ["listener_failing", "listener_failing", "listener_disabled"]


def test_a_worker_that_lost_its_claim_says_nothing_of_a_listener(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    engine = blog.site.engine

    def steal(request: Any, wire: Any) -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE linkback_job SET token = 'another' WHERE state = 'running'"))
        wire.send(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")

    neighbour.route("/listening", steal)
    listen(blog, neighbour)
    shout(blog)
    with hearing(blog, *HEALTH) as heard:
        blog.linkback.run_until_idle()
    assert heard == []
    blog.db.session.rollback()
    assert blog.db.session.scalars(sa.select(Listener.state)).all() == [ListenerState.active]
