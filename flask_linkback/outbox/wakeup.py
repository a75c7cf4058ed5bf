"""Wakeup: how a worker hears at once of jobs that somebody committed.

In the process by a bell; from other processes by LISTEN on PostgreSQL and by watching
``PRAGMA data_version`` on SQLite. Polling is the safety net, for everything that these miss.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import queue
import selectors
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import sqlalchemy as sa

from .jobs import CHANNEL

__all__ = ["Bell", "Watcher", "in_memory", "watcher_for"]

logger = logging.getLogger("flask_linkback.outbox")

DATA_VERSION_SECONDS: Final = 0.025
"""How often a change of an SQLite file is looked for; one look costs some 50 microseconds."""
EXPECTED_SECONDS: Final = 0.003
"""The same while more is to be expected."""
_CHECK_SECONDS: Final = 60.0
"""How often a quiet LISTEN connection is asked whether it still lives."""
_RECONNECT_SECONDS: Final = 2.0


class Bell:
    """Rung by whoever committed a job in this process; heard by its worker.

    May be rung from a signal handler and while objects are collected: a SimpleQueue bears that, a
    lock does not.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[bool] = queue.SimpleQueue()
        # what lies in the queue unheard: once is enough, also when nobody ever listens
        self._lies = {True: False, False: False}

    def ring(self) -> None:
        """There are new jobs."""
        self._put(True)

    def nudge(self) -> None:
        """There is something to look after, but no new job."""
        self._put(False)

    def _put(self, ring: bool) -> None:
        if not self._lies[ring]:
            self._lies[ring] = True
            self._queue.put(ring)

    def wait(self, seconds: float) -> bool:
        """Wait until rung or nudged, at most this long; say whether there are new jobs."""
        try:
            ring = self._queue.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return False
        self._lies[ring] = False  # before anything is looked at: a ring from here on lies there anew
        return ring


class Watcher(abc.ABC):
    """A thread that rings the bell when another process commits; it holds no application.

    It uses the driver under the lock ``quiet`` only: who forks takes that first.
    """

    def __init__(self, bell: Bell, name: str, quiet: threading.Lock) -> None:
        self._bell = bell
        self._quiet = quiet
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        lost = False
        while not self._stopping.is_set():
            try:
                for _ in self._watch():
                    lost = False
            except Exception as error:  # drivers raise what they like when a server goes away
                if not lost and not self._stopping.is_set():
                    logger.warning("Polling, for the wake-up connection is lost: %s", type(error).__name__)
                lost = True
                self._stopping.wait(_RECONNECT_SECONDS)

    @abc.abstractmethod
    def _watch(self) -> Iterator[None]:
        """Ring the bell until stopped, and yield while all is well; what it raises makes a new connection."""


class SqliteWatcher(Watcher):
    """Rings when ``PRAGMA data_version`` of the file changes: another connection committed."""

    def __init__(
        self, bell: Bell, quiet: threading.Lock, is_expected: Callable[[], bool], path: str, *, uri: bool
    ) -> None:
        super().__init__(bell, "linkback-data-version", quiet)
        self._is_expected = is_expected
        self._path = path
        self._uri = uri

    def _watch(self) -> Iterator[None]:
        with self._quiet:
            connection = sqlite3.connect(self._path, uri=self._uri, timeout=0)
        try:
            seen = None
            while not self._stopping.is_set():
                # an error: somebody writes just now
                with self._quiet, contextlib.suppress(sqlite3.OperationalError):
                    version = connection.execute("PRAGMA data_version").fetchone()[0]
                    if version != seen:
                        seen = version
                        self._bell.ring()
                yield
                # cheaper than to wait for an event
                time.sleep(EXPECTED_SECONDS if self._is_expected() else DATA_VERSION_SECONDS)
        finally:
            with self._quiet:
                connection.close()


class PostgresWatcher(Watcher):
    """Rings on NOTIFY, which PostgreSQL sends when a transaction with new jobs commits."""

    def __init__(self, bell: Bell, quiet: threading.Lock, engine: sa.Engine) -> None:
        super().__init__(bell, "linkback-listen", quiet)
        self._engine = engine
        self._stop_here, self._stop_there = socket.socketpair()

    def stop(self) -> None:
        self._stopping.set()
        self._stop_here.close()  # which the other end hears
        self._thread.join(5)
        if not self._thread.is_alive():
            self._stop_there.close()

    def _watch(self) -> Iterator[None]:
        with self._connection() as connection, selectors.DefaultSelector() as selector:
            cursor = connection.cursor()
            with self._quiet:
                cursor.execute(f"LISTEN {CHANNEL}")
            self._bell.ring()  # whatever was committed before we listened
            selector.register(connection, selectors.EVENT_READ)
            selector.register(self._stop_there, selectors.EVENT_READ)
            while not self._stopping.is_set():
                yield
                selector.select(_CHECK_SECONDS)
                with self._quiet:
                    cursor.execute("SELECT 1")  # takes in what the server told, or raises
                if getattr(connection, "notifies", None) and not callable(connection.notifies):  # psycopg2
                    connection.notifies.clear()
                    self._bell.ring()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        """A connection of its own, beside the pool, without transactions."""
        with self._quiet:
            connection = self._engine.raw_connection()
            driver_connection: Any = connection.driver_connection  # detached, it is not known any more
            connection.detach()
        try:
            with self._quiet:
                driver_connection.rollback()
                driver_connection.autocommit = True
            if hasattr(driver_connection, "add_notify_handler"):  # psycopg 3
                driver_connection.add_notify_handler(lambda _: self._bell.ring())
            yield driver_connection
        finally:
            with self._quiet:
                connection.invalidate()  # close() would roll back first, on one that may be lost
                driver_connection.close()


def watcher_for(
    engine: sa.Engine, bell: Bell, quiet: threading.Lock, is_expected: Callable[[], bool]
) -> Watcher | None:
    """Return the watcher that suits a database, or None where polling must do.

    ``is_expected`` says whether it is worth while to look more often just now.
    """
    if engine.dialect.name == "postgresql" and engine.dialect.driver in ("psycopg", "psycopg2"):
        return PostgresWatcher(bell, quiet, engine)
    if engine.dialect.name == "sqlite" and not in_memory(engine):
        (path, *_), options = engine.dialect.create_connect_args(engine.url)
        return SqliteWatcher(bell, quiet, is_expected, path, uri=bool(options.get("uri")))
    return None


def in_memory(engine: sa.Engine) -> bool:
    """Does this database live in one connection, so that a second thread must not use it?"""
    database = engine.url.database
    return engine.dialect.name == "sqlite" and (
        not database or database == ":memory:" or "mode=memory" in str(engine.url)
    )
