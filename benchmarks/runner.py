"""Runner: measures the ways of a benchmark in interleaved rounds, and says how they compare."""

from __future__ import annotations

import contextlib
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Benchmark", "NotHere", "Ratio", "Result", "Scale", "as_json", "as_markdown", "run"]


class NotHere(Exception):
    """What a benchmark needs is not on this machine, or was not asked for; the message says what."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured: ``short`` for a quick look that only shows that all of it works."""

    short: bool = False

    def of(self, number: int, short: int) -> int:
        return short if self.short else number


Way = Callable[[], float]
"""Measures once and returns a number in the unit of its benchmark."""
Ways = Mapping[str, Way | NotHere]
"""By name; where something is missing, what."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One figure of the table: the number of a way divided by that of another, and what to reach.

    With several names under ``to`` the best of them in the round counts. ``to`` may also be a number.
    """

    what: str
    of: str
    to: str | float | Sequence[str]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reach(self) -> str:
        if self.at_least is not None:
            return f"≥ {self.at_least:.3g}"
        return "" if self.at_most is None else f"≤ {self.at_most:.3g}"

    def reached(self, ratio: float) -> bool | None:
        if self.at_least is not None:
            return ratio >= self.at_least
        return None if self.at_most is None else ratio <= self.at_most


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is measured, in which unit, and a context that makes the ways ready and cleans up."""

    name: str
    title: str
    unit: str
    better: Literal["more", "less"]
    ways: Callable[[Scale], contextlib.AbstractContextManager[Ways]]
    ratios: Sequence[Ratio]
    rounds: int = 5


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A ratio over the rounds."""

    ratio: Ratio
    median: float
    low: float
    high: float

    @property
    def reached(self) -> bool | None:
        return self.ratio.reached(self.median)


@dataclass(kw_only=True)
class Result:
    """The numbers of each way in the order of the rounds, and their ratios."""

    benchmark: Benchmark
    samples: dict[str, list[float]] = field(default_factory=dict)
    compared: list[Compared] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Why a way, or under "" all of it, was not measured."""
    seconds: float = 0.0


def run(benchmark: Benchmark, scale: Scale, rounds: int | None = None) -> Result:
    """Measure a benchmark: in each round every way once, in an order that changes."""
    result = Result(benchmark=benchmark)
    began = time.monotonic()
    rounds = rounds or (1 if scale.short else benchmark.rounds)
    try:
        with benchmark.ways(scale) as all_ways:
            ways = {name: way for name, way in all_ways.items() if not isinstance(way, NotHere)}
            result.skipped = {name: str(way) for name, way in all_ways.items() if isinstance(way, NotHere)}
            order = list(ways)
            chance = random.Random(0)
            for number in range(rounds):
                chance.shuffle(order)
                for name in order:
                    _say(f"{benchmark.name}: round {number + 1} of {rounds}, {name}")
                    result.samples.setdefault(name, []).append(ways[name]())
            result.samples = {name: result.samples[name] for name in ways}
    except NotHere as error:
        result.skipped[""] = str(error)
    _say("")
    result.seconds = time.monotonic() - began
    result.compared = [
        each for ratio in benchmark.ratios for each in _compare(benchmark, ratio, result.samples)
    ]
    return result


def _compare(benchmark: Benchmark, ratio: Ratio, samples: Mapping[str, list[float]]) -> Iterator[Compared]:
    peers = [ratio.to] if isinstance(ratio.to, str) else [] if isinstance(ratio.to, float) else list(ratio.to)
    peers = [name for name in peers if name in samples]
    if ratio.of not in samples or not (peers or isinstance(ratio.to, float)):
        return
    ours = samples[ratio.of]
    if isinstance(ratio.to, float):
        theirs: list[float] = [ratio.to] * len(ours)
    else:
        best = max if benchmark.better == "more" else min
        theirs = [best(numbers) for numbers in zip(*(samples[name] for name in peers), strict=True)]
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    yield Compared(ratio=ratio, median=statistics.median(each), low=min(each), high=max(each))


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:110]}", end="", file=sys.stderr, flush=True)


# --- telling -----------------------------------------------------------------------------------------


def as_json(results: Sequence[Result], scale: Scale) -> dict[str, Any]:
    """Return all that was measured, as JSON takes it."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "short": scale.short,
        "benchmarks": [
            {
                "name": result.benchmark.name,
                "title": result.benchmark.title,
                "unit": result.benchmark.unit,
                "skipped": result.skipped,
                "seconds": round(result.seconds, 1),
                "ways": {
                    name: {"median": statistics.median(numbers), "rounds": numbers}
                    for name, numbers in result.samples.items()
                },
                "ratios": [
                    {
                        "what": each.ratio.what,
                        "of": each.ratio.of,
                        "to": each.ratio.to,
                        "median": each.median,
                        "min": each.low,
                        "max": each.high,
                        "reach": each.ratio.reach or None,
                        "reached": each.reached,
                    }
                    for each in result.compared
                ],
            }
            for result in results
        ],
    }


_SIGNS = {True: "yes", False: "**no**", None: ""}


def as_markdown(results: Sequence[Result]) -> str:
    """Return the table of the ratios, then that of the numbers behind them."""
    lines = ["| what | ratio | spread | to reach | reached |", "|---|---:|---:|---:|---|"]
    for result in results:
        for name, why in result.skipped.items():
            what = f"{result.benchmark.title}: {name}" if name else result.benchmark.title
            lines.append(f"| {what} | | | | not measured: {why} |")
        for each in result.compared:
            what = f"{result.benchmark.title}: {each.ratio.what}"
            spread = f"{_short(each.low)} .. {_short(each.high)}"
            lines.append(
                f"| {what} | {_short(each.median)} | {spread} | {each.ratio.reach} | {_SIGNS[each.reached]} |"
            )
    lines += ["", "| measured | median | spread | unit |", "|---|---:|---:|---|"]
    for result in results:
        for name, numbers in result.samples.items():
            spread = f"{_short(min(numbers))} .. {_short(max(numbers))}"
            median = _short(statistics.median(numbers))
            lines.append(
                f"| {result.benchmark.title}: {name} | {median} | {spread} | {result.benchmark.unit} |"
            )
    return "\n".join(lines)


def _short(number: float) -> str:
    """Three digits that count."""
    if number >= 100:
        return f"{number:,.0f}".replace(",", " ")
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}" if number >= 1 else f"{number:.3f}"
