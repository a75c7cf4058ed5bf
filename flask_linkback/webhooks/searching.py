"""Searching: which of many texts, or patterns, are found in a text, in one pass over it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Self

from .matchers import MAX_SEARCHED, Text, compiled, encoded_for_like

__all__ = ["Searcher", "find_patterns", "find_texts", "find_texts_by_grams"]

Find = Callable[[str], Iterable[int]]
"""Takes a text, returns the numbers of what was found in it."""

MAX_FRESH: Final = 300
"""How many are looked for one by one before all are put together anew."""
_REBUILD: Final = 30
"""How many looks at one of them cost as much as to put it together with the others."""
_GRAM: Final = 5
_WINDOW: Final = 1024
_MANY: Final = 16
"""Finds for each byte of a window, from which on it is worth while to look for each text once only."""
_TOGETHER: Final = 1000
_SET_BYTES: Final = 64 << 20


class Searcher:
    """Predicates of one kind about one field, by their numbers.

    They are put together when they are first asked for, and again once enough are new or gone; until then,
    new ones are asked one by one. A number is never used twice, so that one of a predicate that is gone
    may be found for some time: it means nothing to anybody.
    """

    __slots__ = ("_build", "_find", "_fresh", "_gone", "_looks", "_numbers")

    def __init__(self, build: Callable[[Mapping[str, int]], Find]) -> None:
        self._build = build
        self._numbers: dict[str, int] = {}
        self._fresh: dict[str, tuple[int, Text]] = {}
        self._gone = 0
        self._looks = 0
        self._find: Find | None = None

    def add(self, matcher: Text, number: int) -> None:
        """Ask this matcher, too, from now on."""
        self._numbers[matcher.value] = number
        self._fresh[matcher.value] = number, matcher

    def remove(self, matcher: Text) -> Self | None:
        """Ask this matcher no more; return None where none is left."""
        del self._numbers[matcher.value]
        if self._fresh.pop(matcher.value, None) is None:
            self._gone += 1
            if self._numbers and self._gone > max(MAX_FRESH, len(self._numbers)):
                self._put_together()
        return self if self._numbers else None

    def into(self, found: set[int], text: str) -> None:
        """Add the numbers of those that match a text."""
        text = text[:MAX_SEARCHED]
        fresh = self._fresh
        if fresh:
            self._looks += len(fresh)
            if len(fresh) > MAX_FRESH or self._looks > _REBUILD * len(self._numbers):
                self._put_together()
            for number, matcher in fresh.values():
                if matcher.test_text(text):
                    found.add(number)
        if self._find is not None:
            found.update(self._find(text))

    def _put_together(self) -> None:
        self._find = self._build(self._numbers)
        self._fresh.clear()
        self._gone = self._looks = 0


def find_texts(texts: Mapping[str, int]) -> Find:
    """Return a search for texts, none of them empty: by Aho and Corasick, with the extra ``fast``."""
    try:
        from ahocorasick_rs import BytesAhoCorasick
    except ImportError:
        return find_texts_by_grams(texts)
    all_texts = dict(texts)
    by_grams = functools.cache(lambda: find_texts_by_grams(all_texts))
    numbers = list(texts.values())
    encoded = [_encoded(text) for text in texts]
    automaton = BytesAhoCorasick(encoded)
    longest = max(map(len, encoded))
    step = max(_WINDOW, longest)

    def find(text: str) -> Iterable[int]:
        data = _encoded(text)
        if len(data) <= step:
            return [numbers[hit[0]] for hit in automaton.find_matches_as_indexes(data, overlapping=True)]
        found: set[int] = set()
        for start in range(0, len(data), step):
            window = data[start : start + step + longest - 1]
            hits = automaton.find_matches_as_indexes(window, overlapping=True)
            # of "a", "aa", "aaa" and so on each is found at each byte of "aaaa..."
            if len(hits) > _MANY * len(window):
                return by_grams()(text)
            found.update([numbers[hit[0]] for hit in hits])
        return found

    return find


def _encoded(text: str) -> bytes:
    """A text as bytes, of which none begins within another one's character."""
    return text.encode("utf-8", "surrogatepass")


def find_texts_by_grams(texts: Mapping[str, int]) -> Find:
    """Return a search for texts, none of them empty, by the rarest five characters of each."""
    counts = Counter(gram for text in texts for gram in _grams(text, _GRAM))
    tables: dict[int, dict[str, list[tuple[str, int]]]] = {}
    for text, number in texts.items():
        gram = min(sorted(_grams(text, _GRAM)), key=counts.__getitem__) if len(text) >= _GRAM else text
        tables.setdefault(len(gram), {}).setdefault(gram, []).append((text, number))

    def find(text: str) -> Iterable[int]:
        return [
            number
            for size, table in tables.items()
            for gram in table.keys() & _grams(text, size)
            for wanted, number in table[gram]
            if wanted in text
        ]

    return find


def _grams(text: str, size: int) -> set[str]:
    return {text[at : at + size] for at in range(len(text) - size + 1)}


def find_patterns(patterns: Mapping[str, int]) -> Find:
    """Return a search for patterns of RE2, a thousand at a time."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _SET_BYTES
    sets = []
    pairs = list(patterns.items())
    for start in range(0, len(pairs), _TOGETHER):
        portion = pairs[start : start + _TOGETHER]
        together = re2.Set.SearchSet(options)
        # found in any text: a set that does not even find this had no room to search
        together.Add("")
        for pattern, _ in portion:
            together.Add(pattern)
        try:
            together.Compile()
        except re2.error:
            together = None
        sets.append((together, portion, [0, *(number for _, number in portion)]))

    def find(text: str) -> Iterable[int]:
        encoded = encoded_for_like(text)
        if encoded is None:
            return []
        found: list[int] = []
        for together, portion, numbers in sets:
            places = together and together.Match(encoded)
            if places:
                found += [numbers[place] for place in places if place]
            else:
                found += [number for pattern, number in portion if compiled(pattern)(encoded)]
        return found

    return find
