"""Laws of retention: what was said goes first, that it was said goes later; what is young is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.models import Attempt, Event, Job, JobState
from flask_linkback.outbox import jobs, retention
from flask_linkback.webhooks import keeping
from flask_linkback.webhooks.recording import DELIVER
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock
from tests.webhooks.listening import DAY, deliveries, listen, shout, work


@pytest.fixture
def blog(blogs: Callable[..., Blog], database_url: str) -> Iterator[Blog]:
    blog = blogs(database_url, content=None, RUNNER="off", RETENTION_DAYS=10, ROW_RETENTION_DAYS=20)
    with blog.app.app_context():
        yield blog


@pytest.fixture
def writes(blog: Blog) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith("SELECT"):
            seen.append(statement)

    sa.event.listen(blog.db.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(blog.db.engine, "before_cursor_execute", note)


def sweep(blog: Blog) -> None:
    retention.sweep(blog.site)
    keeping.sweep(blog.site)
    blog.db.session.rollback()
    blog.db.session.expire_all()


def counts(blog: Blog) -> tuple[int, int, int]:
    """How many events, jobs and attempts there are."""
    found = [
        blog.db.session.scalar(sa.select(sa.func.count()).select_from(each)) for each in (Event, Job, Attempt)
    ]
    return found[0] or 0, found[1] or 0, found[2] or 0


def test_what_was_said_goes_first_and_then_the_rows(
    blog: Blog, neighbour: Neighbour, clock: Clock, writes: list[str]
) -> None:
    neighbour.answer("/listening", status=200, body=b"thanks")
    listener = listen(blog, neighbour)
    events = [shout(blog, number=number) for number in range(2)]
    jobs.add(blog.db.session, [jobs.NewJob(kind="nobody's")])
    blog.db.session.commit()
    work(blog)
    clock.move(5 * DAY)
    young = shout(blog, number=3)
    work(blog)
    assert counts(blog) == (3, 7, 3)
    clock.move(5 * DAY)
    sweep(blog)
    assert [event.data is None and event.changes is None for event in (*events, young)] == [True, True, False]
    bodies = blog.db.session.scalars(sa.select(Attempt.body).order_by(Attempt.id)).all()
    assert bodies == [None, None, b"thanks"]
    assert counts(blog) == (3, 7, 3)
    writes.clear()
    sweep(blog)
    assert writes == []
    clock.move(10 * DAY)
    sweep(blog)
    assert counts(blog) == (1, 2, 1)
    (left,) = deliveries(blog)
    assert (left.event_id, left.listener_id) == (young.id, listener.id)
    assert young.data is None


def test_what_is_still_owed_stays(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    due_at = clock() + timedelta(days=100)
    jobs.add(blog.db.session, [jobs.NewJob(kind="x", due_at=due_at), jobs.NewJob(kind="x")])
    blog.db.session.commit()
    clock.move(10 * DAY)
    work(blog)
    clock.move(15 * DAY)
    sweep(blog)
    states = blog.db.session.scalars(sa.select(Job.state).order_by(Job.id)).all()
    assert states == [JobState.dead, JobState.pending]  # the first one is old, but did not end so long ago
    clock.move(5 * DAY)
    jobs.add(blog.db.session, [jobs.NewJob(kind="x", due_at=due_at)])
    blog.db.session.commit()
    sweep(blog)
    assert set(blog.db.session.scalars(sa.select(Job.state))) == {JobState.pending}


def test_many_are_swept_in_batches_and_the_newest_number_is_not_given_again(
    blog: Blog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_AT_A_TIME", 10)
    now = clock()
    rows = [
        {"kind": DELIVER, "state": "done", "due_at": now, "created_at": now, "finished_at": now, "host": ""}
        | {"attempts": 1, "reason": ""}
        for _ in range(95)
    ]
    blog.db.session.execute(sa.insert(Job.__table__), rows)
    blog.db.session.commit()
    last = blog.db.session.scalar(sa.select(sa.func.max(Job.id)))
    clock.move(20 * DAY)
    sweep(blog)
    assert blog.db.session.scalars(sa.select(Job.id)).all() == [last]


def test_it_is_a_chore(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    event = shout(blog)
    work(blog)
    clock.move(11 * DAY)
    work(blog)
    assert event.data is None
