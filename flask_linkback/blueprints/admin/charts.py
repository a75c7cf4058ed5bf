"""Charts: numbers as bars, drawn in SVG without a line of script or style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Bar", "Spark", "Stack", "bars_of", "spark_of"]

HEIGHT: Final = 100
_LEAST: Final = 2.0
"""What is there is seen, however little it is."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What one bar stands for."""

    label: str
    good: int = 0
    bad: int = 0

    @property
    def total(self) -> int:
        return self.good + self.bad


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar as it is drawn: all numbers are units of a box that is `HEIGHT` high."""

    label: str
    good: int
    bad: int
    x: float
    width: float
    good_y: float
    good_height: float
    bad_y: float
    bad_height: float


@dataclass(frozen=True, kw_only=True)
class Spark:
    """Small bars in a row of a list: two paths instead of many boxes, since there are many rows."""

    good: str
    bad: str
    width: int


def spark_of(stacks: Sequence[Stack]) -> Spark:
    """Return stacks as two paths."""
    bars = bars_of(stacks)
    return Spark(
        good="".join(_box(bar, bar.good_y, bar.good_height) for bar in bars if bar.good),
        bad="".join(_box(bar, bar.bad_y, bar.bad_height) for bar in bars if bar.bad),
        width=10 * len(bars),
    )


def _box(bar: Bar, y: float, height: float) -> str:
    return f"M{bar.x:g} {y:g}h{bar.width:g}v{height:g}h-{bar.width:g}z"


def bars_of(stacks: Sequence[Stack], *, step: float = 10, gap: float = 3) -> list[Bar]:
    """Return bars side by side, as high as the highest of them lets them be."""
    most = max((stack.total for stack in stacks), default=0)
    bars = []
    for index, stack in enumerate(stacks):
        good, bad = (_height(count, most) for count in (stack.good, stack.bad))
        over = max(0.0, good + bad - HEIGHT)
        if good >= bad:
            good -= over
        else:
            bad -= over
        bars.append(
            Bar(
                label=stack.label,
                good=stack.good,
                bad=stack.bad,
                x=index * step + gap / 2,
                width=step - gap,
                good_y=round(HEIGHT - good, 2),
                good_height=round(good, 2),
                bad_y=round(HEIGHT - good - bad, 2),
                bad_height=round(bad, 2),
            )
        )
    return bars


def _height(count: int, most: int) -> float:
    return max(_LEAST, HEIGHT * count / most) if count else 0.0
