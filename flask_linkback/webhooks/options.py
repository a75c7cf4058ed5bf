"""Options: how a listener wants to be told, where that differs from others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Final

from ..errors import did_you_mean
from ..models import Listener
from .formats import FORMATS, STANDARD

__all__ = ["Options", "checked_options", "options_of"]

MAX_CONCURRENCY: Final = 100
MAX_TIMEOUT: Final = 60.0
MAX_ATTEMPTS: Final = 20
MAX_WAIT: Final = 2 * 86_400.0
_DAY: Final = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is said of a listener beside who it is."""

    rate: tuple[float, float] | None = None
    """So many deliveries in so many seconds."""
    concurrency: int | None = None
    """How many deliveries at the same time."""
    timeout: float | None = None
    """Seconds that an answer may take."""
    retry_schedule: Sequence[float] | None = None
    """Seconds before each attempt, after the one before."""
    format: str = STANDARD
    """In which way an event is said."""

    @property
    def interval(self) -> timedelta | None:
        """How far apart deliveries begin."""
        return None if self.rate is None else timedelta(seconds=self.rate[1] / self.rate[0])

    @property
    def is_limited(self) -> bool:
        return self.rate is not None or self.concurrency is not None


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as they are stored; ValueError for those that cannot be."""
    found = {}
    for name, value in options.items():
        check = _CHECKS.get(name)
        if check is None:
            near = did_you_mean(str(name), _CHECKS)
            raise ValueError(f"A listener has no option {str(name)[:80]!r}.{near}")
        found[name] = check(name, value)
    return found


def options_of(listener: Listener) -> Options:
    """Return the options of a listener; those that somebody stored who knows others are left aside."""
    if not listener.options:
        return _NONE
    return Options(**{name: value for name, value in listener.options.items() if name in _KNOWN})


_NONE: Final = Options()
_KNOWN: Final = frozenset(each.name for each in fields(Options))


def _number(name: str, value: Any, least: float, most: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not least <= value <= most:
        raise ValueError(f"The option {name} is a number from {least:g} to {most:g}, not {value!r}.")
    return float(value)


def _rate(name: str, value: Any) -> list[float]:
    if not isinstance(value, list | tuple):
        value = [value, 1]
    if len(value) != 2:
        raise ValueError(f"The option {name} is a number per second, or [number, seconds].")
    return [_number(name, value[0], 0.001, 10_000), _number(name, value[1], 0.001, _DAY)]


def _concurrency(name: str, value: Any) -> int:
    number = _number(name, value, 1, MAX_CONCURRENCY)
    if number != int(number):
        raise ValueError(f"The option {name} is a whole number, not {value!r}.")
    return int(number)


def _timeout(name: str, value: Any) -> float:
    return _number(name, value, 0.1, MAX_TIMEOUT)


def _schedule(name: str, value: Any) -> list[float]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_ATTEMPTS:
        raise ValueError(f"The option {name} is a list of 1 to {MAX_ATTEMPTS} numbers of seconds.")
    return [_number(name, each, 0, MAX_WAIT) for each in value]


def _format(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in FORMATS:
        near = did_you_mean(str(value), FORMATS)
        raise ValueError(f"The option {name} is one of {', '.join(FORMATS)}, not {str(value)[:80]!r}.{near}")
    return value


_CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "rate": _rate,
    "concurrency": _concurrency,
    "timeout": _timeout,
    "retry_schedule": _schedule,
    "format": _format,
}
