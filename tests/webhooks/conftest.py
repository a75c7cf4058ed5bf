"""Fixtures: those of pingback, and people whose changes are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.conftest import blogs, clock, hasty, neighbour, serve, tidy
from tests.pingback.tools import Clock
from tests.webhooks.people import People, make_people

__all__ = ["blog", "blogs", "clock", "hasty", "neighbour", "people", "serve", "tidy"]


@pytest.fixture
def people(sqlite_url: str, clock: Clock, neighbour: Neighbour) -> Iterator[People]:
    """People on SQLite, in the context of their application; a neighbour that listens at /listening."""
    neighbour.answer("/listening", status=204)
    people = make_people(sqlite_url, clock)
    with people.app.app_context():
        yield people
    people.close()


@pytest.fixture
def blog(blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour) -> Iterator[Blog]:
    """A blog on each database, in its context; nobody is told of its links."""
    neighbour.answer("/listening", status=204)
    blog = blogs(database_url, content=None, RUNNER="off")
    with blog.app.app_context():
        yield blog
