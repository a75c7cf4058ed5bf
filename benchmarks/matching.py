"""Matching: one event against very many listeners, beside a tuned scan and durian's way; CPU time.

Events have 8 fields of text; each listener wants two things of them. ``saas``: an account and something else;
``mixed``: any two; ``dense``: one of five statuses and something else, so that the matches grow with the
listeners. What else is 40 % a value, 20 % a beginning, 15 % an end and 25 % (with patterns: 15 %, and 10 %
a pattern) a part. All ways must find the same listeners.
"""

from __future__ import annotations

import contextlib
import gc
import random
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from flask_linkback.webhooks import match
from flask_linkback.webhooks.index import MatchIndex

from .runner import Benchmark, Ratio, Scale, Ways

__all__ = ["BENCHMARKS"]

LISTENERS = 100_000
EVENTS = 200
WORDS = 20_000
SECONDS = 0.3
SYLLABLES = [
    "ka",
    "lo",
    "mi",
    "ne",
    "ru",
    "ta",
    "so",
    "vi",
    "do",
    "pe",
    "shi",
    "gra",
    "bel",
    "on",
    "ist",
    "er",
    "an",
]
STATUSES = ("draft", "paid", "shipped", "void", "new")
FIELDS = ("name", "email", "city", "title", "sku", "path")

Wanted = tuple[str, str, str]
"""An operator, a field, and what it is held against."""
Event = Mapping[str, str]


# --- who wants what ----------------------------------------------------------------------------------


class World:
    """Words as they are used, some often and most rarely, and what is made of them."""

    def __init__(self, accounts: int) -> None:
        self.chance = random.Random(7)
        self.accounts = accounts
        words: set[str] = set()
        while len(words) < WORDS:
            words.add("".join(self.chance.choices(SYLLABLES, k=self.chance.randint(2, 5))))
        self.words = sorted(words)

    def word(self) -> str:
        return self.words[min(WORDS - 1, int(WORDS ** self.chance.random()) - 1)]

    def account(self) -> str:
        return f"acct_{self.chance.randrange(self.accounts)}"

    def event(self) -> Event:
        word = self.word
        return {
            "account": self.account(),
            "name": f"{word()} {word()}",
            "email": f"{word()}.{word()}@{word()}.com",
            "city": word(),
            "status": self.chance.choice(STATUSES),
            "title": " ".join(word() for _ in range(8)),
            "sku": f"{word()}-{self.chance.randrange(10_000):04}",
            "path": f"/{word()}/{word()}/{word()}",
        }

    def something(self, patterns: bool) -> Wanted:
        field, word, kind = self.chance.choice(FIELDS), self.word(), self.chance.random()
        if kind < 0.40:
            return ("is", "name", f"{word} {self.word()}") if field == "name" else ("is", "city", word)
        if kind < 0.60:
            return ("startswith", field, f"/{word}" if field == "path" else word)
        if kind < 0.75:
            number = f"-{self.chance.randrange(10_000):04}"
            return ("endswith", field, {"email": f"{word}.com", "sku": number}.get(field, word))
        if kind < 0.90 or not patterns:
            return ("contains", field, word)
        return ("like", field, rf"{word[:4]}[a-z]+\d?" + self.chance.choice(["", r"\b", "$"]))

    def listener(self, load: str, patterns: bool) -> tuple[Wanted, Wanted]:
        second = self.something(patterns)
        if load == "saas":
            return ("is", "account", self.account()), second
        if load == "dense":
            return ("is", "status", self.chance.choice(STATUSES)), second
        return self.something(patterns), second


# --- ways --------------------------------------------------------------------------------------------


class Durian:
    """As durian has it: an object for each condition that overrides ``==``, walked by its deepmatch."""

    def __init__(self, listeners: Sequence[Sequence[Wanted]]) -> None:
        self.matches = [
            [{field: CONDITIONS[op](value)} for op, field, value in wanted] for wanted in listeners
        ]

    def match(self, event: Event) -> set[int]:
        return {
            number
            for number, wanted in enumerate(self.matches)
            if all(self.deepmatch(each, event) for each in wanted)
        }

    @staticmethod
    def deepmatch(needle: Mapping[str, Any], haystack: Mapping[str, Any]) -> bool:
        stack = [(needle, haystack)]
        while stack:
            wanted, given = stack.pop()
            for name, value in wanted.items():
                if isinstance(value, dict):
                    if name not in given:
                        return False
                    stack.append((value, given[name]))
                elif given.get(name) != value:
                    return False
        return True


class Condition:
    def __init__(self, value: str) -> None:
        self.value = value

    def __ne__(self, other: object) -> bool:
        return not self.__eq__(other)


class Is(Condition):
    def __eq__(self, other: Any) -> bool:
        return self.value == other


class Startswith(Condition):
    def __eq__(self, other: Any) -> bool:
        return other.startswith(self.value)


class Endswith(Condition):
    def __eq__(self, other: Any) -> bool:
        return other.endswith(self.value)


class Contains(Condition):
    def __eq__(self, other: Any) -> bool:
        return other.find(self.value) >= 0


class Like(Condition):
    def __init__(self, value: str) -> None:
        self.search = re.compile(value).search

    def __eq__(self, other: Any) -> bool:
        return self.search(other) is not None


CONDITIONS = {"is": Is, "startswith": Startswith, "endswith": Endswith, "contains": Contains, "like": Like}


class Linear:
    """A scan as quick as Python has it: numbers for operators, and an end at the first that does not hold."""

    OPERATORS = ("is", "startswith", "endswith", "contains", "like")

    def __init__(self, listeners: Sequence[Sequence[Wanted]]) -> None:
        self.rows = [
            (
                number,
                tuple(
                    (self.OPERATORS.index(op), field, re.compile(value).search if op == "like" else value)
                    for op, field, value in wanted
                ),
            )
            for number, wanted in enumerate(listeners)
        ]

    def match(self, event: Event) -> set[int]:
        found = set()
        for number, wanted in self.rows:
            for operator, field, value in wanted:
                text: Any = event.get(field)
                if text is None:
                    break
                if operator == 0:
                    if text != value:
                        break
                elif operator == 1:
                    if not text.startswith(value):
                        break
                elif operator == 2:
                    if not text.endswith(value):
                        break
                elif operator == 3:
                    if value not in text:
                        break
                elif value(text) is None:
                    break
            else:
                found.add(number)
        return found


MATCHERS = {
    "is": match.Is,
    "startswith": match.Startswith,
    "endswith": match.Endswith,
    "contains": match.Contains,
    "like": match.Like,
}


def indexed(listeners: Sequence[Sequence[Wanted]]) -> MatchIndex[int]:
    index: MatchIndex[int] = MatchIndex()
    for number, wanted in enumerate(listeners):
        fields: dict[str, match.Matchable] = {}
        for op, field, value in wanted:
            matcher = MATCHERS[op](value)
            fields[field] = fields[field] & matcher if field in fields else matcher
        index.add(number, fields)
    return index


# --- measuring ---------------------------------------------------------------------------------------


def measure(find: Callable[[Event], set[int]], events: Sequence[Event], least: int, seconds: float) -> float:
    """Return how many microseconds the event in the middle takes, of as many as take a time that counts."""
    spent: list[float] = []
    gc.collect()
    gc.disable()
    try:
        while len(spent) < least or sum(spent) < seconds:
            for event in events[:least]:
                began = time.process_time()
                find(event)
                spent.append(time.process_time() - began)
    finally:
        gc.enable()
    return 1e6 * statistics.median(spent)


@contextlib.contextmanager
def ways(load: str, patterns: bool, scale: Scale) -> Iterator[Ways]:
    most = scale.of(LISTENERS, 2_000)
    seconds = scale.of(3, 1) * SECONDS / 3
    measured: dict[str, Any] = {}
    for count in (most // 100, most // 10, most):
        world = World(max(10, count // 10))
        listeners = [world.listener(load, patterns) for _ in range(count)]
        events = [world.event() for _ in range(EVENTS)]
        index = indexed(listeners)
        linear = Linear(listeners)
        for event in events[:20]:
            if index.match(event) != linear.match(event):
                raise SystemExit(f"The index does not find what a scan finds of {event}")
        for event in events:
            index.match(event)
        measured[f"index, {shown(most, count)}"] = partial(measure, index.match, events, EVENTS, seconds)
        if count == most:
            durian = Durian(listeners)
            if any(index.match(event) != durian.match(event) for event in events[:3]):
                raise SystemExit("The index does not find what durian finds")
            measured["scan"] = partial(measure, linear.match, events, 20, seconds)
            measured["durian"] = partial(measure, durian.match, events, 7, seconds)
    yield measured


def shown(most: int, count: int) -> str:
    return {1: "all", 10: "a tenth", 100: "a hundredth"}[most // count]


def _benchmark(load: str, patterns: bool) -> Benchmark:
    return Benchmark(
        name=f"matching_{load}{'_patterns' if patterns else ''}",
        title=f"One event, 100 000 listeners, {load}{', 10 % patterns' if patterns else ''}",
        unit="µs",
        better="less",
        ways=partial(ways, load, patterns),
        ratios=[
            Ratio(what="scan ÷ index", of="scan", to="index, all", at_least=100),
            Ratio(what="durian ÷ index", of="durian", to="index, all", at_least=1000),
            Ratio(what="growth from 1 000 listeners", of="index, all", to="index, a hundredth", at_most=6),
            Ratio(what="growth from 10 000 listeners", of="index, all", to="index, a tenth"),
        ],
        rounds=5,
    )


BENCHMARKS = tuple(
    _benchmark(load, patterns) for load in ("saas", "mixed", "dense") for patterns in (False, True)
)
