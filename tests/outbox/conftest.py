"""Fixtures: blogs whose outbox is worked by nobody but the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.orm import Session

from tests.apps import Blog
from tests.outbox.helpers import wait_until


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("linkback-")])


@pytest.fixture
def blog(blogs: Callable[..., Blog], database_url: str) -> Iterator[Blog]:
    """A blog on each database, in its context; nothing is owed for its posts."""
    blog = blogs(database_url, content=None, RUNNER="off")
    with blog.app.app_context():
        yield blog


@pytest.fixture
def session(blog: Blog) -> Iterator[Session]:
    """A Session of a worker."""
    with blog.site.new_session() as session:
        yield session


@pytest.fixture
def only_postgresql(database_url: str) -> None:
    if not database_url.startswith("postgresql"):
        pytest.skip("of PostgreSQL only")
