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

__all__ = ["on_one_core"]

_PROCESSOR: Final = "/sys/devices/system/cpu/cpu{}"
"""What a worker locks that has a processor; the lock ends with its process, and leaves no file."""


@contextlib.contextmanager
def on_one_core() -> Iterator[int | None]:
    """Keep this thread, and those that it starts, on a processor that no other worker of this machine has.

    Python lets one thread run at a time. To hand that over to a thread on another processor takes longer
    than much of what is done in between, so that a worker that is spread over two does the same deliveries in
    nearly twice the time. The rest of the system is free to keep away from where a worker is; other workers
    are not, and so each has its own. Gives its number. Who gets None, for there are more workers than
    processors, or the system cannot do that, or Python does not need it, is left as it is.
    """
    with contextlib.ExitStack() as stack:
        number = _taken(stack)
        if number is None:
            yield None
            return
        before = os.sched_getaffinity(0)
        _move(frozenset({number}))
        try:
            yield number
        finally:
            _move(before)


def _taken(stack: contextlib.ExitStack) -> int | None:
    """Take a processor for as long as the stack holds."""
    some = sorted(_processors())
    for number in random.sample(some, len(some)):  # where workers of other containers are, nobody says
        with contextlib.suppress(OSError), contextlib.ExitStack() as attempt:
            place = os.open(_PROCESSOR.format(number), os.O_RDONLY)
            attempt.callback(os.close, place)
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where another worker is
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


def _move(processors: frozenset[int] | set[int]) -> None:
    with contextlib.suppress(OSError):  # it may not, or they are not there any more
        os.sched_setaffinity(0, processors)
