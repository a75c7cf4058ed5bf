"""Wakeup: how a worker hears at once of jobs that somebody committed.

In the process by an Event; from other processes by LISTEN on PostgreSQL and by watching
``PRAGMA data_version`` on SQLite. Polling is the safety net, for everything that these miss.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import select
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa

from .jobs import CHANNEL

__all__ = ["Bell", "Watcher", "in_memory", "watcher_for"]

logger = logging.getLogger("flask_linkback.outbox")

DATA_VERSION_SECONDS: Final = 0.02
"""How often a change of an SQLite file is looked for; one look costs some ten microseconds."""
_RECONNECT_SECONDS: Final = 2.0


class Bell:
    """Rung by whoever committed a job in this process; heard by its worker."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._rung = False

    def ring(self) -> None:
        """There are new jobs."""
        self._rung = True
        self._event.set()

    def nudge(self) -> None:
        """There is something to look after, but no new job."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait until rung or nudged, at most this long; say whether there are new jobs."""
        self._event.wait(seconds)
        self._event.clear()  # first, so that a ring from here on is heard next time
        rung, self._rung = self._rung, False
        return rung


class Watcher(abc.ABC):
    """A thread that rings the bell when another process commits; it holds no application."""

    def __init__(self, bell: Bell, name: str) -> None:
        self._bell = bell
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._watch()
            except Exception as error:  # drivers raise what they like when a server goes away
                logger.warning("Lost the wake-up connection, polling goes on: %s", type(error).__name__)
                self._stopped.wait(_RECONNECT_SECONDS)

    @abc.abstractmethod
    def _watch(self) -> None:
        """Ring the bell until stopped; what it raises makes a new connection."""


class SqliteWatcher(Watcher):
    """Rings when ``PRAGMA data_version`` of the file changes: another connection committed."""

    def __init__(self, bell: Bell, path: str, *, uri: bool) -> None:
        super().__init__(bell, "linkback-data-version")
        self._path = path
        self._uri = uri

    def _watch(self) -> None:
        with contextlib.closing(sqlite3.connect(self._path, uri=self._uri, timeout=0)) as connection:
            seen = self._version(connection)
            while not self._stopped.wait(DATA_VERSION_SECONDS):
                version = self._version(connection)
                if version != seen:
                    seen = version
                    self._bell.ring()

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int | None:
        try:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                return None  # somebody is committing: look again
            raise


class PostgresWatcher(Watcher):
    """Rings on NOTIFY, which PostgreSQL sends when a transaction with new jobs commits."""

    def __init__(self, bell: Bell, engine: sa.Engine) -> None:
        super().__init__(bell, "linkback-listen")
        self._engine = engine

    def _watch(self) -> None:
        with self._connection() as connection:
            connection.rollback()
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(f"LISTEN {CHANNEL}")
            self._bell.ring()  # whatever was committed before we listened
            while not self._stopped.is_set():
                if self._notified(connection):
                    self._bell.ring()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        """A connection of its own, beside the pool."""
        connection = self._engine.raw_connection()
        driver_connection = connection.driver_connection  # detached, it does not know it any more
        connection.detach()
        try:
            yield driver_connection
        finally:
            connection.close()

    def _notified(self, connection: Any) -> bool:
        """Wait up to a second; psycopg 3 and psycopg2 tell of notifications in their own ways."""
        if hasattr(connection, "notifies") and callable(connection.notifies):
            return any(True for _ in connection.notifies(timeout=1.0, stop_after=1))
        if not select.select([connection], [], [], 1.0)[0]:
            return False
        connection.poll()
        heard = bool(connection.notifies)
        connection.notifies.clear()
        return heard


def watcher_for(engine: sa.Engine, bell: Bell) -> Watcher | None:
    """Return the watcher that suits a database, or None where polling must do."""
    if engine.dialect.name == "postgresql" and engine.dialect.driver in ("psycopg", "psycopg2"):
        return PostgresWatcher(bell, engine)
    if engine.dialect.name == "sqlite" and not in_memory(engine):
        (path, *_), options = engine.dialect.create_connect_args(engine.url)
        return SqliteWatcher(bell, path, uri=bool(options.get("uri")))
    return None


def in_memory(engine: sa.Engine) -> bool:
    """Does this database live in one connection, so that a second thread must not use it?"""
    database = engine.url.database
    return engine.dialect.name == "sqlite" and (
        not database or database == ":memory:" or "mode=memory" in str(engine.url)
    )
