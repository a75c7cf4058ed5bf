"""Fixtures: applications on every database that the tests know."""

from __future__ import annotations

import contextlib
import gc
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.apps import Blog, make_blog

POSTGRESQL = os.environ.get("LINKBACK_TEST_POSTGRESQL")


TIMED = ("browser", "faults", "journeys", "outbox", "test_example", "test_fetch")
"""What measures seconds: one after the other, and tried three times."""
PATIENT = ("cli", "docs", "hostile", "protocols")
"""What waits for other processes, or measures its own time: beside the others, and tried three times."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is tried again; the closing line says how often that was."""
    here = Path(__file__).parent
    for item in items:
        where = item.path.relative_to(here).parts[0]
        if where.startswith((*TIMED, *PATIENT)):
            item.add_marker(pytest.mark.flaky(reruns=2))
        if where.startswith(TIMED):
            item.add_marker(pytest.mark.xdist_group("timed"))


def pytest_collection_finish() -> None:
    """Let no test pay for looking whether thousands of others are garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/{uuid.uuid4().hex}.db"


@contextlib.contextmanager
def postgresql_database(*, like: str = "template1") -> Iterator[str]:
    """A database on the server that LINKBACK_TEST_POSTGRESQL names, a copy of another: its URL."""
    if not POSTGRESQL:
        pytest.skip("LINKBACK_TEST_POSTGRESQL is not set")
    name = f"linkback_{uuid.uuid4().hex}"
    server = sa.create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE "{like}"'))
    yield sa.make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    server.dispose()


@pytest.fixture(scope="session")
def postgresql_template() -> Iterator[str]:
    """The name of a database with all tables: to copy it takes half as long as to make them."""
    with postgresql_database() as url:
        make_blog(url).close()
        yield str(sa.make_url(url).database)


@pytest.fixture
def postgresql_url(postgresql_template: str) -> Iterator[str]:
    """A fresh database with all tables."""
    with postgresql_database(like=postgresql_template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A test with this fixture runs once on each database."""
    return request.getfixturevalue(f"{request.param}_url")  # type: ignore[no-any-return]


@pytest.fixture
def blogs() -> Iterator[Callable[..., Blog]]:
    """A maker of blogs: ``blogs(database_url, **settings)``; all are put away afterwards."""
    made: list[Blog] = []

    def make(url: str, **settings: Any) -> Blog:
        made.append(make_blog(url, **settings))
        return made[-1]

    yield make
    for blog in made:
        blog.close()


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    """One blog on SQLite, at https://blog.example."""
    return blogs(sqlite_url)


@pytest.fixture
def app(blog: Blog) -> Iterator[Flask]:
    """The application of `blog`, in its context."""
    with blog.app.app_context():
        yield blog.app
