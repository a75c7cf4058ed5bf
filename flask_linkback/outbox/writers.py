"""Writers: the threads of a process take turns at a database that takes one writer at a time.

SQLite lets a thread that finds it locked sleep and ask again, each time for longer: under load some
wait for a hundred others.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

__all__ = ["Writers"]

PATIENCE_SECONDS: Final = 2.0
"""How long a turn is waited for: whoever has it may be waiting for something that we hold."""
TRIES: Final = 3
"""How often what happened is written down, each time as long as the driver waits for a busy database."""

T = TypeVar("T")


class Writers:
    """Whose turn it is to write, among the threads of this process that ask."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._free = threading.Condition(threading.Lock())
        self._owner: int | None = None
        self._depth = 0
        self._urgent = 0
        """How many wait that go before the others."""

    @contextlib.contextmanager
    def turn(self, engine: Engine, *, urgent: bool = False) -> Iterator[None]:
        """Have the turn inside the ``with``, in which a transaction is begun, written in and ended.

        Where a database takes many writers there is nothing to wait for. A thread that has the turn
        may ask again: a commit can do work of its own. Who is ``urgent`` is next.
        """
        if engine.dialect.name != "sqlite":
            yield
            return
        if self._pid != os.getpid():
            self._forget()  # a thread of the parent may have had it
        ours = self._take(urgent=urgent)
        try:
            yield
        finally:
            if ours:
                self._give_back()

    def _take(self, *, urgent: bool) -> bool:
        me = threading.get_ident()
        with self._free:
            if self._owner == me:
                self._depth += 1
                return True
            self._urgent += urgent
            is_free = self._free.wait_for(
                lambda: self._owner is None and (urgent or not self._urgent), PATIENCE_SECONDS
            )
            self._urgent -= urgent
            if is_free:
                self._owner, self._depth = me, 1
            return is_free

    def _give_back(self) -> None:
        with self._free:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                self._free.notify_all()

    def record(self, engine: Engine, session: Session, write: Callable[[], T]) -> T:
        """Write down in our turn what happened outside; again where the database was busy.

        ``write`` begins and ends the transaction. What was sent was sent: without its record it would
        be sent once more.
        """
        for _ in range(TRIES - 1):
            with self.turn(engine):
                try:
                    return write()
                except OperationalError:
                    session.rollback()
        with self.turn(engine):
            return write()
