"""Retry: when is a failed job due again?"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

__all__ = ["LONGEST_WAIT", "PENALTY", "SLOW_STATUSES", "next_due", "parse_retry_after"]

PENALTY = 60.0
"""Seconds that are waited at least after a server said, or showed, that it is overloaded."""
SLOW_STATUSES = frozenset((429, 502, 503, 504))
LONGEST_WAIT = 86_400.0
"""Seconds that a server can make us wait at most."""
_JITTER = 0.2


def next_due(
    now: datetime,
    attempts: int,
    schedule: Sequence[float],
    *,
    retry_after: float | None = None,
    overloaded: bool = False,
    chance: Callable[[], float] = random.random,
) -> datetime | None:
    """Return when to try again after ``attempts`` attempts, or None when that was the last one.

    The wait of the schedule (seconds) is lengthened by up to a fifth, never shortened: what failed
    together does not come back together. ``retry_after`` (seconds, clamped to 1 s .. 24 h) and an
    overloaded server lengthen it further.
    """
    if attempts >= len(schedule):
        return None
    wait = schedule[attempts]
    if overloaded:
        wait = max(wait, PENALTY)
    wait *= 1 + _JITTER * chance()
    if retry_after is not None:
        wait = max(wait, min(max(retry_after, 1.0), LONGEST_WAIT))
    return now + timedelta(seconds=wait)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a ``Retry-After`` header, 0 for a past date, None for rubbish.

    RFC 9110, section 10.2.3: a whole number of seconds, or an HTTP date.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - now).total_seconds(), 0.0)
