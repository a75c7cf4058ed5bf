"""Report: what an experiment showed, on one line, and what of it is not as it has to be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Stuck(Exception):
    """What was waited for did not come."""


@dataclass
class Report:
    """The figures of an experiment and the sentences of what failed; without any, it passed."""

    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def check(self, holds: bool, sentence: str) -> None:
        """Note that something that has to hold does not."""
        if not holds:
            self.failures.append(sentence)

    def __str__(self) -> str:
        figures = "  ".join(f"{name} {_said(value)}" for name, value in self.figures.items())
        verdict = "FAIL: " + " | ".join(self.failures) if self.failures else "PASS"
        return f"{figures}  {verdict}"


def _said(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


_nobody = threading.Event()


def until(holds: Callable[[], Any], seconds: float, what: str, *, every: float = 0.02) -> Any:
    """Ask again and again until something is true of another process, and return it; raises `Stuck`."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise Stuck(f"After {seconds:.0f} s still not: {what}.")
        _nobody.wait(every)
    return found


def pause(seconds: float) -> None:
    """Let something go on for a while: a moment that an experiment chooses, not a guess how long it takes."""
    _nobody.wait(seconds)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
