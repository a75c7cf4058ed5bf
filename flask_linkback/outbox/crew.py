"""Crew: workers in processes of their own, since the threads of one take turns at Python.

The parent does nothing but look after them, and opens no connection that they would share.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Final

from .worker import Worker

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

__all__ = ["Crew"]

logger = logging.getLogger("flask_linkback.outbox")

_REPLACE_SECONDS: Final = 1.0
"""How long it is waited before one that died is replaced: what killed it may kill the next one, too."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Crew:
    """So many workers, each made by ``begin`` in a process of its own; one that dies is replaced.

    Without their parent all finish what runs, and end.
    """

    def __init__(self, count: int, begin: Callable[[], Worker]) -> None:
        self.tally: Counter[str] = Counter()
        """How many jobs ended how, by those who have ended."""
        self.died = 0
        """How many ended without a word."""
        self._count = count
        self._begin = begin
        self._once = self._stopping = False
        self._members: dict[ForkProcess, Connection] = {}

    def stop(self) -> None:
        """Let all finish what runs and end; also from a signal handler."""
        self._stopping = True
        for line in list(self._members.values()):
            with contextlib.suppress(OSError):  # it has ended
                line.send(None)

    def run(self, *, once: bool = False) -> None:
        """Work until stopped; with ``once``, until nothing is due any more, and nobody is replaced."""
        self._once = once
        for _ in range(self._count):
            self._start()
        while self._members:
            ended = self._wait()
            for process in ended:
                self._let_go(process)
            if not (once or self._stopping):
                self._wait(_REPLACE_SECONDS)
                for _ in ended:
                    self._start()

    def _wait(self, seconds: float | None = None) -> list[ForkProcess]:
        """Wait until some have ended and return these."""
        ended = wait([process.sentinel for process in self._members], seconds)
        return [process for process in self._members if process.sentinel in ended]

    def _let_go(self, process: ForkProcess) -> None:
        """Forget a process that has ended, and note what it had done."""
        process.join()
        with self._members.pop(process) as line:
            try:
                self.tally.update(line.recv())
            except (EOFError, OSError):
                self.died += 1
                logger.warning("A worker's process ended with %s.", process.exitcode)

    def _start(self) -> None:
        if self._stopping:
            return
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        # a signal that comes meanwhile is for the parent, which then knows whom to tell
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process = context.Process(target=self._work, args=(here, there, before))
            process.start()
            self._members[process] = here
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        there.close()

    # --- in a member ---------------------------------------------------------------------------------

    def _work(self, parents_end: Connection, line: Connection, before: Any) -> None:
        """Work; what the member does all its life."""
        for end in (parents_end, *self._members.values()):
            end.close()  # only the parent's death closes them all
        worker = self._begin()

        def listen() -> None:
            with contextlib.suppress(EOFError, OSError):
                line.recv()
                worker.stop()
                line.poll(None)  # there is no other word: now a second signal has ended the parent
                os._exit(1)
            worker.stop()

        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is heard by all: the parent will tell
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        threading.Thread(target=listen, name="linkback-lifeline", daemon=True).start()
        worker.run(once=self._once)
        with contextlib.suppress(OSError):  # there is no parent any more
            line.send(worker.tally)
