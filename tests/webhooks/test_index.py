"""Index: it finds the listeners that a plain scan finds, whatever was added and removed before."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_linkback.errors import MatchError
from flask_linkback.webhooks import index, match, searching
from flask_linkback.webhooks.index import MatchIndex, Scan
from flask_linkback.webhooks.searching import Searcher, find_patterns, find_texts, find_texts_by_grams
from tests.thorough import examples

from .filters import CHANGES, DATA, FILTERS, TEXTS

IDS = st.integers(min_value=0, max_value=9)
STEPS = st.lists(
    st.one_of(st.tuples(IDS, FILTERS), st.tuples(IDS, st.just("remove")), st.tuples(DATA, CHANGES)),
    max_size=30,
)


LIBRARIES = pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
"""With the library that finds many texts at once, and without."""


@contextlib.contextmanager
def library(fast: bool, every_look_anew: bool = False) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if not fast:
            patch.setitem(sys.modules, "ahocorasick_rs", None)
        if every_look_anew:
            patch.setattr(searching, "_REBUILD", 0)
            patch.setattr(index, "_TIDY_FROM", 0)
        yield


def walk(steps: list[Any], scan_below: int = 0) -> None:
    index: MatchIndex[int] = MatchIndex(scan_below=scan_below)
    scan: Scan[int] = Scan()
    for first, second in steps:
        if second == "remove":
            index.remove(first)
            scan.remove(first)
        elif isinstance(first, int):
            try:
                index.add(first, second)
            except MatchError:
                continue  # what is refused leaves all as it was
            scan.add(first, second)
        else:
            found = index.match(first, second)
            assert found == scan.match(first, second)
            for each in range(10):
                assert (each in index) is (each in scan)
                if each in index:
                    assert (index.why(each, first, second) is None) is (each in found)
    assert len(index) == len(scan)
    for each in range(10):
        index.remove(each)
    assert index.match({"a": "b"}) == set()
    assert is_bare(index)


def is_bare(index: MatchIndex[int]) -> bool:
    """Is nothing kept of what was removed?"""
    kept = [value for name, value in vars(index).items() if isinstance(value, dict)]
    return len(kept) >= 6 and not any(kept) and not index._tree


@LIBRARIES
@pytest.mark.parametrize("every_look_anew", [False, True])
@settings(max_examples=examples(500), deadline=None)
@given(steps=STEPS)
@example(
    steps=[
        # of one listener twice the same, in another order
        (1, [{"a": "x", "b": "y"}, {"b": "y", "a": "x"}]),
        (1, {"a": match.Is("x") | match.Not("x")}),
        (2, {"a": match.Contains("") & match.Exists(), "b": match.Missing()}),
        ({"a": "x"}, None),
        (1, "remove"),
        ({"a": "x"}, None),
    ]
)
def test_the_index_finds_what_a_scan_finds(fast: bool, every_look_anew: bool, steps: list[Any]) -> None:
    """With what is new asked one by one, and with all put together at every look."""
    with library(fast, every_look_anew):
        walk(steps)
        # some listeners are scanned, as it is used
        walk(steps, scan_below=4)


@LIBRARIES
def test_many_come_and_go(fast: bool) -> None:
    """More than are asked one by one, while all the time some are added and removed."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abc", k=chance.randint(1, 6))) for _ in range(300)]
    patterns = [f"{word}[ab]+$" for word in words[:100]]

    def one() -> match.Matchable:
        word = chance.choice(words)
        return chance.choice(
            [
                match.Is(word),
                match.In(word, chance.choice(words)),
                match.Startswith(word),
                match.Endswith(word),
                match.Contains(word),
                match.Contains(word),
                match.Like(chance.choice(patterns)),
                match.Not(match.Contains(word)),
                match.Gt(word),
                match.Exists(),
            ]
        )

    with library(fast):
        index: MatchIndex[int] = MatchIndex()
        scan: Scan[int] = Scan()
        for number in range(1500):
            wanted = {chance.choice("xy"): one(), "z": one()} if number % 3 else {chance.choice("xyz"): one()}
            index.add(number, wanted)
            scan.add(number, wanted)
            if number % 4 == 0:
                gone = chance.randrange(number + 1)
                index.remove(gone)
                scan.remove(gone)
            if number % 100 == 99:
                event = {field: " ".join(chance.choices(words, k=3)) for field in "xyz"}
                event["x"] = chance.choice(words)
                assert index.match(event) == scan.match(event)
        for number in range(1500):
            index.remove(number)
        assert is_bare(index)


@pytest.mark.parametrize("scan_below", [0, 50])
def test_a_new_filter_of_a_listener_counts_at_once(scan_below: int) -> None:
    index: MatchIndex[str] = MatchIndex(scan_below=scan_below)
    index.add("a", {"name": match.Contains("J")})
    assert index.match({"name": "Joe"}) == {"a"}
    index.add("a", {"name": match.Contains("B")})
    assert index.match({"name": "Joe"}) == set()
    assert index.match({"name": "Bo"}) == {"a"}
    assert index.why("a", {"name": "Joe"}) == 'name is "Joe", not something that contains "B"'
    with pytest.raises(MatchError):
        index.add("a", {"name": {}})
    assert index.match({"name": "Bo"}) == {"a"}
    assert "a" in index
    assert len(index) == 1
    index.remove("a")
    index.remove("a")
    assert "a" not in index
    assert len(index) == 0
    with pytest.raises(KeyError):
        index.why("a", {})


def test_a_filter_with_too_many_ways_is_refused() -> None:
    two = match.Is(1) | match.Is(2)
    with pytest.raises(MatchError, match="64 ways"):
        MatchIndex[int]().add(1, {f"f{number}": two for number in range(30)})


def test_threads_match_while_others_add_and_remove() -> None:
    index: MatchIndex[int] = MatchIndex(scan_below=0)
    always = set(range(0, 400, 2))
    for number in always:
        index.add(number, {"name": match.Contains(f"n{number:03}")})
    text = "".join(f"n{number:03}" for number in range(400))
    wrong: list[object] = []

    def guarded(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except Exception as error:  # a thread's own traceback is seen by nobody
                wrong.append(error)

        return run

    def change() -> None:
        for number in range(1, 400, 2):
            index.add(number, {"name": match.Contains(f"n{number:03}") & match.Startswith("n")})
        for number in range(1, 400, 2):
            index.remove(number)

    def look() -> None:
        assert all(always <= index.match({"name": text}) for _ in range(40))

    threads = [threading.Thread(target=guarded(work)) for work in (change, look, look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert index.match({"name": text}) == always


# --- what finds many texts and patterns --------------------------------------------------------------------


def numbered(texts: list[str]) -> dict[str, int]:
    return {text: number for number, text in enumerate(texts)}


@settings(max_examples=examples(500), deadline=None)
@given(wanted=st.lists(TEXTS.filter(bool), min_size=1, unique=True, max_size=20), text=TEXTS)
def test_texts_are_found_where_they_are(wanted: list[str], text: str) -> None:
    there = {place for place, each in enumerate(wanted) if each in text}
    assert set(find_texts(numbered(wanted))(text)) == there
    assert set(find_texts_by_grams(numbered(wanted))(text)) == there


@pytest.mark.parametrize("find", [find_texts, find_texts_by_grams])
def test_a_long_text_is_searched_to_its_end(find: Callable[[dict[str, int]], searching.Find]) -> None:
    """Also across the windows in which it is looked at, and where each byte ends very many of them."""
    wanted = ["begin", "x" * 1020 + "é", "é" * 500 + "end", "nowhere"]
    text = "begin" + "ab" * 500 + "x" * 1020 + "é" + "cd" * 3000 + "é" * 500 + "end"
    assert set(find(numbered(wanted))(text)) == {0, 1, 2}
    nested = ["a" * length for length in range(1, 600)]
    assert set(find(numbered([*nested, "b"]))("a" * 5000)) == set(range(599))


def test_patterns_are_found_though_the_set_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = [f"a{number}[a-z]*b$" for number in range(30)]
    for room in (1 << 10, 1 << 14, 1 << 16, 1 << 26):
        monkeypatch.setattr(searching, "_SET_BYTES", room)
        find = find_patterns(numbered(patterns))
        assert set(find("a7xb")) == {7}
        assert set(find("a29b")) == {29}
        assert set(find("\ud800")) == set()


def test_what_is_gone_is_found_for_a_while_only() -> None:
    searcher = Searcher(find_texts)
    matchers = [match.Contains(f"n{number:04}") for number in range(1000)]
    for number, each in enumerate(matchers):
        searcher.add(each, number)
    found: set[int] = set()
    searcher.into(found, "n0007 n0999")
    assert found == {7, 999}
    for each in matchers[:-1]:
        searcher.remove(each)
    found = set()
    searcher.into(found, "n0007 n0999")
    assert found == {999}
    assert searcher.remove(matchers[-1]) is None
