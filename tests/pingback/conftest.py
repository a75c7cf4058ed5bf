"""Fixtures: a neighbour that serves pages, a clock that stands still, blogs that are served for real."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.apps import Blog
from tests.neighbours import Neighbour, no_threads_left
from tests.pingback.tools import Clock, served


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """No line for each request; no thread stays behind."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with no_threads_left():
        yield


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


@pytest.fixture(autouse=True)
def hasty() -> Iterator[None]:
    """SQLite does not wait for the disk: no test here is about a power failure."""

    def hurry(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    sa.event.listen(sa.Engine, "connect", hurry)
    yield
    sa.event.remove(sa.Engine, "connect", hurry)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def blogs(blogs: Callable[..., Blog], clock: Clock) -> Callable[..., Blog]:
    """A maker of blogs whose time stands still unless the clock is moved."""
    return lambda url, **settings: clock.set_for(blogs(url, **settings))


@pytest.fixture
def serve(blogs: Callable[..., Blog]) -> Iterator[Callable[..., Blog]]:
    """A maker of blogs that are served on a port of their own: ``serve(database_url, **settings)``."""
    with contextlib.ExitStack() as stack:

        def start(url: str, **settings: Any) -> Blog:
            return stack.enter_context(served(blogs, url, **settings))

        yield start
