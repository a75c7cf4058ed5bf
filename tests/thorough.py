"""Thorough: how much is done of what costs time.

``make hostile`` (LINKBACK_TEST_FULL) tries every example and every document in its full size; the tests
of every day a part of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, TypeVar

__all__ = ["FULL", "examples", "some"]

T = TypeVar("T")
FULL: Final = bool(os.environ.get("LINKBACK_TEST_FULL"))


def examples(number: int) -> int:
    """Return how many examples are tried where all of them would be so many."""
    return number if FULL else max(10, number // 5)


def some(of: Sequence[T], *, each: int) -> Sequence[T]:
    """Return all of some, or each second, third and so on."""
    return of if FULL else of[::each]
