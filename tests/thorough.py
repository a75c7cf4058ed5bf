"""Thorough: how much is done of what costs time.

``make hostile`` (LINKBACK_TEST_FULL) tries every example and every document in its full size; the tests
of every day a part of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

__all__ = ["FULL", "examples", "slowness", "some", "usual"]

T = TypeVar("T")
FULL: Final = bool(os.environ.get("LINKBACK_TEST_FULL"))


def examples(number: int) -> int:
    """Return how many examples are tried where all of them would be so many."""
    return number if FULL else max(10, number // 5)


def some(of: Sequence[T], *, each: int) -> Sequence[T]:
    """Return all of some, or each second, third and so on."""
    return of if FULL else of[::each]


LOOP_SECONDS: Final = 0.05
"""What a million turns of a loop take on the machine for which the limits of tests are meant."""


def usual(seconds: float) -> float:
    """Return how long a processor was used, as if it were the one that limits are meant for.

    Another one may be slower, or others may share it: a loop says how it is just now.
    """
    return seconds if seconds < LOOP_SECONDS else seconds / slowness(time.thread_time)


def slowness(clock: Callable[[], float] = time.monotonic) -> float:
    """Return how many times longer things take here and now; never less than 1."""
    began, total = clock(), 0
    for number in range(1_000_000):
        total += number
    return max(1.0, (clock() - began) / LOOP_SECONDS)
