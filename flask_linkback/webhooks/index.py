"""Index: which of very many listeners want an event, without asking each of them.

A filter is multiplied out into rows of simple predicates that all have to hold. Each predicate that many
rows share has a number and is asked once per event: by dicts for `Is`, `In`, `Became` and `FromTo`, by a dict
for each length for `Startswith` and `Endswith`, by Aho and Corasick's automaton for `Contains`, by RE2's
sets for `Like`. A row hangs in a tree under its numbers, the rarest first, so that rows that say the same
hang together, and only branches that hold are walked. Bounds, `Exists`, `Missing` and `Changed` hold for too
many to be shared: they begin a row only where it has nothing else, sorted or in a dict; otherwise, like
negations, they are asked when all else holds.
"""

from __future__ import annotations

import bisect
import threading
import typing as t
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Final, Generic, TypeVar

from .match import Filter, Parts, find, find_change, meets, parts, rows, why_not
from .matchers import (
    NOT_THERE,
    Became,
    Bound,
    Changed,
    Contains,
    Endswith,
    Exists,
    FromTo,
    Gt,
    Gte,
    In,
    Is,
    Like,
    Lt,
    Lte,
    Matchable,
    Missing,
    Startswith,
    scalar,
    text_of,
)
from .searching import Searcher, find_patterns, find_texts

__all__ = ["MatchIndex", "Scan"]

_Id = TypeVar("_Id", bound=Hashable)
_Key = TypeVar("_Key", bound=Hashable)
_Predicate: t.TypeAlias = tuple[str, Matchable]
_Leaves: t.TypeAlias = dict[int, tuple[_Id, ...] | dict[_Id, None]]
"""Listeners by number."""
_Row: t.TypeAlias = tuple[tuple[int, ...], frozenset[_Predicate]]
"""The numbers that lead to a row in the tree, and what is to be asked there."""

SCAN_BELOW: Final = 50
"""Fewer listeners than this are sooner asked one by one."""
_MANY: Final = 100
"""Listeners at one place, above which a dict has them: a tuple is smaller, but made anew for each."""
_TIDY_FROM: Final = 1000
"""So many rows, and half of all, are hung in before the listeners of each place are put side by side."""
_FIRST: Final = 6
"""Characters of a start that say which lengths are worth trying."""
_ALWAYS: Final = 0
"""The number of what holds for every event."""

_SHARED: Final[dict[type[Matchable], int]] = {
    Is: 0,
    Became: 0,
    FromTo: 0,
    In: 1,
    Startswith: 2,
    Endswith: 2,
    Contains: 3,
    Like: 4,
}
"""Which predicates are asked once for all rows, and which of them lead.

However many values there are, an event follows one of them; a text may contain all sorts of things. Of one
kind the rarest leads.
"""
_LONE: Final[dict[type[Matchable], int]] = {
    Gt: 0,
    Gte: 0,
    Lt: 0,
    Lte: 0,
    Changed: 1,
    Missing: 2,
    Exists: 3,
}
"""Which begin a row that has nothing better."""
_OF_CHANGES: Final = (Changed, Became, FromTo)


class Scan(Generic[_Id]):
    """The same answers as the index, by asking each listener: right by being simple."""

    def __init__(self) -> None:
        self._parts: dict[_Id, Parts] = {}

    def add(self, listener_id: _Id, wanted: Filter) -> None:
        """Let a listener have this filter and no other; raises `MatchError` for what is none."""
        self._parts[listener_id] = parts(wanted)

    def remove(self, listener_id: _Id) -> None:
        """Forget a listener; one that is not there is forgotten already."""
        self._parts.pop(listener_id, None)

    def match(self, data: object, changes: object = None) -> set[_Id]:
        """Return the listeners whose filters hold."""
        return {each for each, of in self._parts.items() if meets(of, data, changes)}

    def why(self, listener_id: _Id, data: object, changes: object = None) -> str | None:
        """Return the first predicate that does not hold, None where all do; KeyError for nobody's id."""
        return why_not(self._parts[listener_id], data, changes)

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, listener_id: object) -> bool:
        return listener_id in self._parts


class MatchIndex(Generic[_Id]):
    """Filters of listeners by id. Any thread may use it at any time: a lock lets them in one by one.

    What is added or removed counts from the next `match` on. Below 50 listeners it asks each of them.
    """

    def __init__(self, *, scan_below: int = SCAN_BELOW) -> None:
        self._lock = threading.Lock()
        self._scan_below = scan_below
        self._scan: Scan[_Id] = Scan()
        self._rows: dict[_Id, list[_Row]] = {}
        self._tree: _Node[_Id] = _Node()
        self._numbers: dict[_Predicate, int] = {}
        self._predicates: dict[int, _Predicate] = {}
        self._uses: dict[int, int] = {}
        self._last = 0
        self._untidy = 0
        """How many rows were hung in since the listeners of each place lay side by side."""
        self._values: dict[str, _Values] = {}
        self._changes: dict[str, _Changes] = {}

    def add(self, listener_id: _Id, wanted: Filter) -> None:
        """Let a listener have this filter and no other; raises `MatchError` for what is none."""
        # of rows that ask for the same, in whatever order, one
        ways = set(map(frozenset, rows(parts(wanted))))
        with self._lock:
            self._drop(listener_id)
            self._scan.add(listener_id, wanted)
            self._rows[listener_id] = [self._placed(row) for row in ways]
            for path, asked in self._rows[listener_id]:
                self._tree.add(path, asked, listener_id)
            self._untidy += len(ways)

    def remove(self, listener_id: _Id) -> None:
        """Forget a listener; one that is not there is forgotten already."""
        with self._lock:
            self._drop(listener_id)

    def match(self, data: object, changes: object = None) -> set[_Id]:
        """Return the listeners whose filters hold for the data of an event and for what changed."""
        with self._lock:
            if len(self._scan) < self._scan_below:
                return self._scan.match(data, changes)
            return self._found(data if isinstance(data, dict) else {}, changes)

    def why(self, listener_id: _Id, data: object, changes: object = None) -> str | None:
        """Return the first predicate that does not hold, None where all do; KeyError for nobody's id."""
        with self._lock:
            return self._scan.why(listener_id, data, changes)

    def __len__(self) -> int:
        return len(self._scan)

    def __contains__(self, listener_id: object) -> bool:
        return listener_id in self._scan

    # --- rows -----------------------------------------------------------------------------------------

    def _placed(self, row: frozenset[_Predicate]) -> _Row:
        leading = [each for each in row if _is_shared(each[1])]
        if not leading:
            lone = [each for each in row if type(each[1]) in _LONE]
            leading = sorted(lone, key=lambda each: _LONE[type(each[1])])[:1]
        asked = row.difference(leading)
        numbers = [(self._number(each), each[1]) for each in leading]
        numbers.sort(key=lambda each: (_SHARED.get(type(each[1]), 0), self._uses[each[0]], each[0]))
        return tuple(number for number, _ in numbers), asked

    def _number(self, predicate: _Predicate) -> int:
        """Return the number of a predicate that is asked for one row more."""
        number = self._numbers.get(predicate)
        if number is None:
            number = self._numbers[predicate] = self._last = self._last + 1
            self._predicates[number] = predicate
            self._uses[number] = 0
            path, matcher = predicate
            self._field(path, matcher).add(matcher, number)
        self._uses[number] += 1
        return number

    def _field(self, path: str, matcher: Matchable) -> _Values | _Changes:
        if isinstance(matcher, _OF_CHANGES):
            return self._changes.setdefault(path, _Changes(path))
        return self._values.setdefault(path, _Values(path))

    def _drop(self, listener_id: _Id) -> None:
        self._scan.remove(listener_id)
        for path, asked in self._rows.pop(listener_id, ()):
            self._tree.remove(path, asked, listener_id)
            for number in path:
                self._uses[number] -= 1
                if not self._uses[number]:
                    self._forget(number)

    def _forget(self, number: int) -> None:
        predicate = path, matcher = self._predicates.pop(number)
        del self._numbers[predicate], self._uses[number]
        fields: dict[str, _Values] | dict[str, _Changes] = (
            self._changes if isinstance(matcher, _OF_CHANGES) else self._values
        )
        fields[path].remove(matcher, number)
        if fields[path].empty:
            del fields[path]

    # --- matching -------------------------------------------------------------------------------------

    def _found(self, data: dict[str, t.Any], changes: object) -> set[_Id]:
        if self._untidy > max(_TIDY_FROM, len(self._rows) // 2):
            self._tree.tidy()
            self._untidy = 0
        true = {_ALWAYS}
        lone: list[int] = []
        for values in self._values.values():
            values.into(true, lone, data)
        if changes:
            for field in self._changes.values():
                field.into(true, lone, changes)
        answers: dict[_Predicate, bool] = {}
        root = self._tree
        found: list[Iterable[_Id]] = [root.leaves[number] for number in lone if number in root.leaves]
        nodes: list[_Node[_Id] | _Leaves[_Id]] = [root]
        nodes += [root.nodes[number] for number in lone if number in root.nodes]
        for node in nodes:
            # & walks whichever there are fewer of: what branches, or what holds
            if isinstance(node, dict):
                found += map(node.__getitem__, node.keys() & true)
                continue
            found += map(node.leaves.__getitem__, node.leaves.keys() & true)
            nodes += map(node.nodes.__getitem__, node.nodes.keys() & true)
            for asked, listeners in node.asking.items():
                if all(self._answer(each, answers, data, changes) for each in asked):
                    found.append(listeners)
        return set().union(*found)

    @staticmethod
    def _answer(
        predicate: _Predicate, answers: dict[_Predicate, bool], data: dict[str, t.Any], changes: object
    ) -> bool:
        """Ask a predicate, once per event."""
        answer = answers.get(predicate)
        if answer is None:
            path, matcher = predicate
            answer = answers[predicate] = matcher.meets(find(data, path), find_change(changes, path))
        return answer


def _is_shared(matcher: Matchable) -> bool:
    """Can it be asked once for all rows? Lists and objects, and the text that is in every text, cannot."""
    if type(matcher) not in _SHARED:
        return False
    if isinstance(matcher, (In, FromTo)):
        return bool(matcher.value) and all(scalar(each) for each in matcher.value)
    return scalar(matcher.value) is not None and not (isinstance(matcher, Contains) and not matcher.value)


# --- the tree ----------------------------------------------------------------------------------------


class _Node(Generic[_Id]):
    """Where rows go on, by number.

    Most rows are short and many, and each object on the way to their listeners is one more that no cache
    has: where rows only end, there is a dict of listeners by number in place of a node, and there they are in
    a tuple until they are many.
    """

    __slots__ = ("asking", "leaves", "nodes")

    def __init__(self, leaves: _Leaves[_Id] | None = None) -> None:
        self.leaves: _Leaves[_Id] = leaves or {}
        self.nodes: dict[int, _Node[_Id] | _Leaves[_Id]] = {}
        self.asking: dict[frozenset[_Predicate], dict[_Id, None]] = {}
        """By what else is to be asked."""

    def __bool__(self) -> bool:
        return bool(self.leaves or self.nodes or self.asking)

    def add(self, numbers: Sequence[int], asked: frozenset[_Predicate], listener_id: _Id) -> None:
        """Hang a row in."""
        if not numbers and asked:
            self.asking.setdefault(asked, {})[listener_id] = None
        elif len(numbers) < 2 and not asked:
            _hang(self.leaves, numbers[0] if numbers else _ALWAYS, listener_id)
        else:
            first, *others = numbers
            node = self.nodes.setdefault(first, {})
            if isinstance(node, dict) and len(others) == 1 and not asked:
                _hang(node, others[0], listener_id)
                return
            if isinstance(node, dict):
                node = self.nodes[first] = _Node(node)
            node.add(others, asked, listener_id)

    def tidy(self) -> None:
        """Let the listeners of each place lie side by side in memory: what lies far apart is waited for."""
        for leaves in (self.leaves, *self.nodes.values()):
            if isinstance(leaves, _Node):
                leaves.tidy()
                continue
            for number, listeners in leaves.items():
                copies = map(_copy, listeners)
                leaves[number] = tuple(copies) if isinstance(listeners, tuple) else dict.fromkeys(copies)
        for asked, some in self.asking.items():
            self.asking[asked] = dict.fromkeys(map(_copy, some))

    def remove(self, numbers: Sequence[int], asked: frozenset[_Predicate], listener_id: _Id) -> None:
        """Take a row out, and what then leads nowhere."""
        if not numbers and asked:
            del self.asking[asked][listener_id]
            if not self.asking[asked]:
                del self.asking[asked]
        elif len(numbers) < 2 and not asked:
            _unhang(self.leaves, numbers[0] if numbers else _ALWAYS, listener_id)
        else:
            first, *others = numbers
            node = self.nodes[first]
            if isinstance(node, dict):
                _unhang(node, others[0], listener_id)
            else:
                node.remove(others, asked, listener_id)
            if not node:
                del self.nodes[first]


def _copy(listener_id: t.Any) -> t.Any:
    """Return the same number as a new object; of other ids there is no copy."""
    return listener_id + 0 if type(listener_id) is int else listener_id


def _hang(leaves: _Leaves[_Id], number: int, listener_id: _Id) -> None:
    listeners = leaves.get(number, ())
    if isinstance(listeners, dict):
        listeners[listener_id] = None
    else:
        listeners = (*listeners, listener_id)
        leaves[number] = listeners if len(listeners) <= _MANY else dict.fromkeys(listeners)


def _unhang(leaves: _Leaves[_Id], number: int, listener_id: _Id) -> None:
    listeners = leaves[number]
    if isinstance(listeners, dict):
        del listeners[listener_id]
    else:
        leaves[number] = tuple(each for each in listeners if each != listener_id)
    if not leaves[number]:
        del leaves[number]


# --- what is asked once ------------------------------------------------------------------------------


def _put(numbers: dict[_Key, tuple[int, ...]], key: _Key, number: int) -> None:
    numbers[key] = (*numbers.get(key, ()), number)


def _take(numbers: dict[_Key, tuple[int, ...]], key: _Key, number: int) -> None:
    left = tuple(each for each in numbers[key] if each != number)
    if left:
        numbers[key] = left
    else:
        del numbers[key]


class _Starts:
    """Numbers by how texts start: of each length that there is, a start is looked up.

    Which lengths there are is kept by the first characters: with few, most need not be tried.
    """

    __slots__ = ("_counts", "lengths", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.lengths: dict[str, list[int]] = {}
        """By the first characters; those of short starts under none."""
        self._counts: Counter[tuple[str, int]] = Counter()

    def add(self, start: str, number: int) -> None:
        self.numbers[start] = number
        first, length = _first(start), len(start)
        self._counts[first, length] += 1
        if self._counts[first, length] == 1:
            bisect.insort(self.lengths.setdefault(first, []), length)

    def remove(self, start: str) -> None:
        del self.numbers[start]
        first, length = _first(start), len(start)
        self._counts[first, length] -= 1
        if not self._counts[first, length]:
            del self._counts[first, length]
            self.lengths[first].remove(length)
            if not self.lengths[first]:
                del self.lengths[first]

    def into(self, true: set[int], text: str) -> None:
        """Add the numbers of the starts that a text has."""
        numbers, size = self.numbers, len(text)
        for first in ("", text[:_FIRST]):
            for length in self.lengths.get(first, ()):
                if length > size:
                    break
                number = numbers.get(text[:length])
                if number is not None:
                    true.add(number)


def _first(start: str) -> str:
    return start[:_FIRST] if len(start) >= _FIRST else ""


class _Bounds:
    """Numbers by bounds of one kind, sorted."""

    __slots__ = ("bounds", "numbers")

    def __init__(self) -> None:
        self.bounds: list[t.Any] = []
        self.numbers: list[int] = []

    def add(self, bound: t.Any, number: int) -> None:
        place = bisect.bisect_left(self.bounds, bound)
        self.bounds.insert(place, bound)
        self.numbers.insert(place, number)

    def remove(self, bound: t.Any) -> None:
        place = bisect.bisect_left(self.bounds, bound)
        del self.bounds[place], self.numbers[place]

    def met(self, matcher: type[Bound], value: t.Any) -> list[int]:
        """Return the numbers of the bounds that a value is on the right side of."""
        if matcher is Gt:
            return self.numbers[: bisect.bisect_left(self.bounds, value)]
        if matcher is Gte:
            return self.numbers[: bisect.bisect_right(self.bounds, value)]
        if matcher is Lt:
            return self.numbers[bisect.bisect_right(self.bounds, value) :]
        return self.numbers[bisect.bisect_left(self.bounds, value) :]


class _Values:
    """What is asked of the value at one path."""

    __slots__ = (
        "beginnings",
        "bounds",
        "ends",
        "exists",
        "missing",
        "path",
        "patterns",
        "plain",
        "scalars",
        "texts",
        "within",
    )

    def __init__(self, path: str) -> None:
        self.path = path
        self.plain = "." not in path
        self.texts: dict[str, tuple[int, ...]] = {}
        self.scalars: dict[tuple[str, t.Any], tuple[int, ...]] = {}
        self.beginnings = _Starts()
        self.ends = _Starts()
        """Of texts that are turned round."""
        self.within: Searcher | None = None
        self.patterns: Searcher | None = None
        self.bounds: dict[tuple[type[Bound], str], _Bounds] = {}
        self.exists: int | None = None
        self.missing: int | None = None

    @property
    def empty(self) -> bool:
        return (
            not (self.texts or self.scalars or self.beginnings.numbers or self.ends.numbers)
            and not (self.within or self.patterns or self.bounds)
            and self.exists is None
            and self.missing is None
        )

    def add(self, matcher: Matchable, number: int) -> None:
        if isinstance(matcher, (Is, In)):
            for kind, value in _keys(matcher):
                if kind == "text":
                    _put(self.texts, value, number)
                else:
                    _put(self.scalars, (kind, value), number)
        elif isinstance(matcher, Startswith):
            self.beginnings.add(matcher.value, number)
        elif isinstance(matcher, Endswith):
            self.ends.add(matcher.value[::-1], number)
        elif isinstance(matcher, Contains):
            self.within = self.within or Searcher(find_texts)
            self.within.add(matcher, number)
        elif isinstance(matcher, Like):
            self.patterns = self.patterns or Searcher(find_patterns)
            self.patterns.add(matcher, number)
        elif isinstance(matcher, Bound):
            self.bounds.setdefault(_side(matcher), _Bounds()).add(matcher.value, number)
        elif isinstance(matcher, Exists):
            self.exists = number
        else:
            self.missing = number

    def remove(self, matcher: Matchable, number: int) -> None:
        if isinstance(matcher, (Is, In)):
            for kind, value in _keys(matcher):
                if kind == "text":
                    _take(self.texts, value, number)
                else:
                    _take(self.scalars, (kind, value), number)
        elif isinstance(matcher, Startswith):
            self.beginnings.remove(matcher.value)
        elif isinstance(matcher, Endswith):
            self.ends.remove(matcher.value[::-1])
        elif isinstance(matcher, Contains):
            self.within = self.within and self.within.remove(matcher)
        elif isinstance(matcher, Like):
            self.patterns = self.patterns and self.patterns.remove(matcher)
        elif isinstance(matcher, Bound):
            side = _side(matcher)
            self.bounds[side].remove(matcher.value)
            if not self.bounds[side].numbers:
                del self.bounds[side]
        elif isinstance(matcher, Exists):
            self.exists = None
        else:
            self.missing = None

    def into(self, true: set[int], lone: list[int], data: dict[str, t.Any]) -> None:
        """Add the numbers of what holds for an event: shared ones, and those that begin a row alone."""
        value = data.get(self.path, NOT_THERE) if self.plain else find(data, self.path)
        if value is NOT_THERE:
            if self.missing is not None:
                lone.append(self.missing)
            return
        if self.exists is not None:
            lone.append(self.exists)
        text = value if type(value) is str else text_of(value)
        if text is not None:
            numbers = self.texts.get(text)
            if numbers is not None:
                true.update(numbers)
            if self.beginnings.lengths:
                self.beginnings.into(true, text)
            if self.ends.lengths:
                self.ends.into(true, text[::-1])
            if self.within is not None:
                self.within.into(true, text)
            if self.patterns is not None:
                self.patterns.into(true, text)
        elif self.scalars:
            key = scalar(value)
            if key is not None:
                true.update(self.scalars.get(key, ()))
        if self.bounds:
            key = scalar(value)
            if key is not None:
                for (matcher, kind), bounds in self.bounds.items():
                    if kind == key[0]:
                        lone += bounds.met(matcher, key[1])


def _keys(matcher: Is | In) -> set[tuple[str, t.Any]]:
    values = matcher.value if isinstance(matcher, In) else [matcher.value]
    return {key for key in map(scalar, values) if key is not None}


def _side(matcher: Bound) -> tuple[type[Bound], str]:
    return type(matcher), "text" if isinstance(matcher.value, str) else "number"


class _Changes:
    """What is asked of how the value at one path changed."""

    __slots__ = ("became", "changed", "from_to", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.changed: int | None = None
        self.became: dict[t.Any, int] = {}
        self.from_to: dict[t.Any, int] = {}

    @property
    def empty(self) -> bool:
        return self.changed is None and not self.became and not self.from_to

    def add(self, matcher: Matchable, number: int) -> None:
        if isinstance(matcher, Became):
            self.became[scalar(matcher.value)] = number
        elif isinstance(matcher, FromTo):
            self.from_to[_step(matcher.value)] = number
        else:
            self.changed = number

    def remove(self, matcher: Matchable, number: int) -> None:
        if isinstance(matcher, Became):
            del self.became[scalar(matcher.value)]
        elif isinstance(matcher, FromTo):
            del self.from_to[_step(matcher.value)]
        else:
            self.changed = None

    def into(self, true: set[int], lone: list[int], changes: object) -> None:
        """Add the numbers of what holds for an event, as for values."""
        change = find_change(changes, self.path)
        if change is None:
            return
        if self.changed is not None:
            lone.append(self.changed)
        for number in (self.became.get(scalar(change[1])), self.from_to.get(_step(change))):
            if number is not None:
                true.add(number)


def _step(change: t.Any) -> tuple[t.Any, t.Any]:
    return scalar(change[0]), scalar(change[1])
