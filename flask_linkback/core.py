"""Core: the one processor that the threads of a worker share."""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Iterator
from typing import Final

if sys.platform == "linux":
    import fcntl

__all__ = ["anywhere", "on_one_core"]

_PROCESSOR: Final = "/sys/devices/system/cpu/cpu{}"
"""What a worker locks that has a processor; the lock ends with its process, and leaves no file."""

_elsewhere: Final[set[int]] = set()
"""The processors of a worker of this process that stays on one of them."""


@contextlib.contextmanager
def on_one_core() -> Iterator[int | None]:
    """Keep this thread, and those that it starts, on a processor that no other worker of this system has.

    Python lets one thread run at a time. To hand that over to a thread on another processor takes longer
    than much of what is done in between, so that a worker that is spread over two does the same deliveries in
    nearly twice the time. The rest of the system is free to keep away from where a worker is; other workers
    are not, and so each has its own. Those of another container are not known: two may be on one by chance.

    Gives the processor's number. Who gets None, for there are more workers than processors, or the system
    cannot do that, or Python does not need it, is left as it is.
    """
    with contextlib.ExitStack() as stack:
        yield _taken(stack)


@contextlib.contextmanager
def anywhere() -> Iterator[None]:
    """Let this thread leave its core for what is long and needs no Python, such as to shake hands by TLS."""
    if not _elsewhere:
        yield
        return
    here = os.sched_getaffinity(0)
    _spread(_elsewhere)
    try:
        yield
    finally:
        _spread(here)


def _taken(stack: contextlib.ExitStack) -> int | None:
    """Take a processor, and run there, for as long as the stack holds."""
    before = _processors()
    # not by the module's own numbers, which an application may seed
    for number in random.SystemRandom().sample(sorted(before), len(before)):
        with contextlib.suppress(OSError), contextlib.ExitStack() as attempt:
            place = os.open(_PROCESSOR.format(number), os.O_RDONLY)
            attempt.callback(os.close, place)
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where another worker is
            attempt.callback(fcntl.flock, place, fcntl.LOCK_UN)  # for those, too, who were forked meanwhile
            os.sched_setaffinity(0, {number})
            attempt.callback(_spread, before)
            attempt.callback(_elsewhere.clear)
            _elsewhere.update(before)
            stack.push(attempt.pop_all())
            return number
    return None


def _processors() -> set[int]:
    """Return the numbers of those on which this thread may run, where it is of use to choose among them."""
    takes_turns = getattr(sys, "_is_gil_enabled", lambda: True)()
    if sys.platform != "linux" or not takes_turns:
        return set()
    some = os.sched_getaffinity(0)
    return some if len(some) > 1 else set()


def _spread(processors: set[int]) -> None:
    with contextlib.suppress(OSError):  # they are not there any more
        os.sched_setaffinity(0, processors)
