"""Listening: a neighbour that hooks tell of what happens, and what became of that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from flask_linkback import Hook, signals
from flask_linkback.models import Event, Job, Listener
from flask_linkback.outbox.worker import Worker
from flask_linkback.webhooks.recording import DELIVER
from tests.apps import Blog
from tests.neighbours import Neighbour

HOUR = 3600
DAY = 24 * HOUR


def listen(blog: Blog, neighbour: Neighbour, path: str = "/listening", **options: Any) -> Listener:
    """Add a listener of whatever is shouted."""
    listener = Hook(name="shouted").listener(url=neighbour.url(path), **options).save()
    blog.db.session.commit()
    return listener


def shout(blog: Blog, hook: Hook | None = None, **payload: Any) -> Event:
    event = (hook or Hook(name="shouted")).send(None, **payload)
    assert event is not None
    blog.db.session.commit()
    return event


def deliveries(blog: Blog) -> list[Job]:
    """Return all deliveries as they are now, the oldest first."""
    blog.db.session.rollback()
    blog.db.session.expire_all()
    return list(blog.db.session.scalars(sa.select(Job).where(Job.kind == DELIVER).order_by(Job.id)))


def states(blog: Blog) -> list[str]:
    return [job.state.value for job in deliveries(blog)]


def work(blog: Blog) -> None:
    blog.linkback.run_until_idle()
    blog.db.session.rollback()
    blog.db.session.expire_all()


def work_ahead(blog: Blog, *, threads: int = 1) -> None:
    """Work as a worker does, which claims some jobs at once and reads for them together."""
    Worker(blog.site, runner="once", threads=threads).run(once=True)
    blog.db.session.rollback()
    blog.db.session.expire_all()


@contextlib.contextmanager
def hearing(blog: Blog, *names: str) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The signals of these names that go out, each with what it says."""
    heard: list[tuple[str, dict[str, Any]]] = []
    with contextlib.ExitStack() as stack:
        for name in names:

            def hear(sender: Any, name: str = name, **values: Any) -> None:
                heard.append((name, values))

            stack.enter_context(getattr(signals, name).connected_to(hear, blog.app))
        yield heard
