"""Laws of reading ahead: many deliveries cost few statements, and none of them sees another's things."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from flask_linkback import Hook
from flask_linkback.models import Event, Listener
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.webhooks.listening import listen, shout, states, work_ahead


@contextmanager
def selects(blog: Blog, table: str) -> Iterator[list[str]]:
    """The statements that read a table."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if f"FROM {table}" in statement:
            seen.append(statement)

    sa.event.listen(blog.db.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(blog.db.engine, "before_cursor_execute", note)


def test_many_deliveries_read_their_listeners_together(blog: Blog, neighbour: Neighbour) -> None:
    for number in range(100):
        listen(blog, neighbour, f"/listening?{number}")
    shout(blog)
    with selects(blog, "linkback_listener_secret") as seen:
        work_ahead(blog, threads=8)
    assert len(neighbour.requests) == 100
    assert states(blog) == ["done"] * 100
    assert len(seen) < 50


def test_what_a_hook_does_to_an_event_stays_with_that_delivery(blog: Blog, neighbour: Neighbour) -> None:
    @blog.linkback.hooks.register
    class Shouted(Hook):
        name = "shouted"

        def serialize(self, event: Event, listener: Listener) -> bytes:
            assert event.data is not None
            event.data["seen"] = event.data.get("seen", 0) + 1
            listener.config = {"seen": True}
            return json.dumps(event.data).encode()

    for number in range(5):
        listen(blog, neighbour, f"/listening?{number}")
    shout(blog, blog.linkback.hooks["shouted"], word="Hi")
    work_ahead(blog)
    assert [json.loads(each.body)["seen"] for each in neighbour.requests] == [1] * 5
    assert blog.db.session.scalars(sa.select(Event)).one().data == {"word": "Hi"}
    assert set(blog.db.session.scalars(sa.select(Listener.config))) == {None}
