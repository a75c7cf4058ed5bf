"""Fixtures: applications on every database that the tests know."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.apps import Blog, make_blog

POSTGRESQL = os.environ.get("LINKBACK_TEST_POSTGRESQL")


TIMED = ("faults", "outbox", "test_fetch")
"""What measures seconds: one after the other, and tried three times."""
PATIENT = ("browser", "cli", "docs", "hostile", "journeys", "protocols", "test_example")
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


# --- databases ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of a blog: to copy it is quicker than to make one."""
    path = tmp_path_factory.mktemp("blog") / "blog.db"
    make_blog(f"sqlite:///{path}", content=None, RUNNER="off").close()
    return path


@pytest.fixture
def sqlite_url(sqlite_file: Path, tmp_path: Path) -> str:
    """A fresh database with all tables."""
    return f"sqlite:///{shutil.copy(sqlite_file, tmp_path / f'{uuid.uuid4().hex}.db')}"


@contextlib.contextmanager
def postgresql_database() -> Iterator[str]:
    """An empty database on the server that LINKBACK_TEST_POSTGRESQL names: its URL."""
    if not POSTGRESQL:
        pytest.skip("LINKBACK_TEST_POSTGRESQL is not set")
    name = f"linkback_{uuid.uuid4().hex}"
    server = sa.create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
        # no test pulls the plug of the server
        connection.execute(sa.text(f'ALTER DATABASE "{name}" SET synchronous_commit = off'))
    yield sa.make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    server.dispose()


SHAPE = sa.text("""
SELECT md5(string_agg(concat_ws(' ', relname, attname, atttypid, attnotnull), ';' ORDER BY relname, attnum))
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0
""")
AS_NEW = sa.text("""
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('DELETE FROM %I', name);
  END LOOP;
END $$
""")
FROM_ONE = sa.text("""
SELECT setval(quote_ident(sequencename)::regclass, 1, false) FROM pg_sequences WHERE last_value IS NOT NULL
""")


class Reused:
    """One database after the other, each for as many tests as leave its tables as they were."""

    def __init__(self) -> None:
        self._made = contextlib.ExitStack()
        self._url = self._shape = ""

    def take(self) -> str:
        """Cut off whoever is connected yet, and return the URL of a database that is as new."""
        if self._url and not self._is_as_new():
            self.close()
        if not self._url:
            self._url = self._made.enter_context(postgresql_database())
            make_blog(self._url).close()
            with self._connect() as connection:
                self._shape = connection.scalar(SHAPE)
        return self._url

    def _is_as_new(self) -> bool:
        with self._connect() as connection:
            cut_off(connection)
            if connection.scalar(SHAPE) != self._shape:
                return False
            connection.execute(AS_NEW)
            connection.execute(FROM_ONE)
        return True

    def close(self) -> None:
        self._url = ""
        self._made.close()

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sa.Connection]:
        engine = sa.create_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            yield connection
        engine.dispose()


def cut_off(connection: sa.Connection) -> None:
    """End all other connections to a PostgreSQL database."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    connection.execute(
        sa.text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}")
    )


@pytest.fixture(scope="session")
def reused() -> Iterator[Reused]:
    databases = Reused()
    yield databases
    databases.close()


@pytest.fixture
def postgresql_url(reused: Reused) -> str:
    """A database with all tables, as new: to make one takes longer than most tests."""
    return reused.take()


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
