"""Index: it finds the listeners that a plain scan finds, whatever was added and removed before."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.errors import MatchError
from flask_linkback.webhooks import searching
from flask_linkback.webhooks.index import MatchIndex, Scan
from tests.thorough import examples

from .filters import CHANGES, DATA, FILTERS

IDS = st.integers(min_value=0, max_value=9)
STEPS = st.lists(
    st.one_of(st.tuples(IDS, FILTERS), st.tuples(IDS, st.just("remove")), st.tuples(DATA, CHANGES)),
    max_size=30,
)


def both(scan_below: int = 0) -> tuple[MatchIndex[int], Scan[int]]:
    return MatchIndex(scan_below=scan_below), Scan()


@pytest.fixture(params=["fast", "plain"])
def libraries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the library that finds many texts at once, and without."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "ahocorasick_rs", None)


def walk(steps: list[Any], scan_below: int = 0) -> None:
    index, scan = both(scan_below)
    for first, second in steps:
        if second == "remove":
            index.remove(first)
            scan.remove(first)
        elif isinstance(first, int):
            try:
                scan.add(first, second)
                index.add(first, second)
            except MatchError:
                scan.remove(first)
                index.remove(first)
        else:
            found = index.match(first, second)
            assert found == scan.match(first, second)
            assert all(
                (index.why(each, first, second) is None) == (each in found)
                for each in range(10)
                if each in index
            )
    assert len(index) == len(scan)


@pytest.mark.parametrize("every_look_anew", [False, True])
@settings(max_examples=examples(150), deadline=None)
@given(steps=STEPS)
def test_the_index_finds_what_a_scan_finds(every_look_anew: bool, steps: list[Any]) -> None:
    """With what is new asked one by one, and with all put together at every look."""
    with pytest.MonkeyPatch.context() as patch:
        if every_look_anew:
            patch.setattr(searching, "_REBUILD", 0)
        walk(steps)
        # a scan below some number, as it is used
        walk(steps, scan_below=4)
