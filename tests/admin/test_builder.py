"""Laws of the builder: what rows say is the filter that is meant, and a filter is the rows that say it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_linkback.blueprints.admin.builder import OPERATORS, changed_by, parse, rows_of, value_of, written
from flask_linkback.webhooks import match
from flask_linkback.webhooks.match import Changed, FromTo, Gt, In, Is, Like, Not, Startswith
from tests.apps import Blog

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["5", "true", '"', "a, b", "a -> b", "→", "[1]", "{", " x ", "NaN", ""]),
)


def form(*groups: list[tuple[str, str, str]]) -> dict[str, str]:
    said = {}
    for group, rows in enumerate(groups):
        for place, row in enumerate(rows):
            for key, value in zip(("field", "op", "value"), row, strict=True):
                said[f"{key}-{group}-{place}"] = value
    return said


def said(*groups: list[tuple[str, str, str]]) -> Any:
    made = parse(form(*groups))
    assert made.is_right, made
    return made.wanted


@pytest.mark.parametrize(
    ("op", "typed", "meant"),
    [
        ("is", "Oslo", Is("Oslo")),
        ("is", "5", Is(5)),
        ("is", '"5"', Is("5")),
        ("is", "true", Is(True)),
        ("is", '""', Is("")),
        ("is", "NaN", Is("NaN")),
        ("not", "null", Not(Is(None))),
        ("in", 'draft, 3, "a, b"', In(["draft", 3, "a, b"])),
        ("in", '["a", "b"]', In(["a", "b"])),
        ("startswith", "5", Startswith("5")),
        ("gt", "1.5", Gt(1.5)),
        ("gt", "2026-01-01", Gt("2026-01-01")),
        ("like", "^a+$", Like("^a+$")),
        ("changed", "", Changed()),
        ("from_to", "draft -> sent", FromTo("draft", "sent")),
        ("from_to", '"a -> b" → 2', FromTo("a -> b", 2)),
    ],
)
def test_what_is_typed_is_what_is_meant(op: str, typed: str, meant: Any) -> None:
    assert match.equal(said([("name", op, typed)]), {"name": meant})


@given(VALUES)
def test_a_value_is_written_as_it_is_read(value: Any) -> None:
    assert match.same(value_of(written(value).strip()), value)


@given(st.lists(VALUES, min_size=1, max_size=4), st.sampled_from(["is", "not", "in", "became", "from_to"]))
def test_a_filter_survives_its_rows(values: list[Any], op: str) -> None:
    matchers: dict[str, Any] = {
        "is": Is(values[0]),
        "not": Not(Is(values[0])),
        "in": In(values),
        "became": match.Became(values[0]),
        "from_to": FromTo(values[0], values[-1]),
    }
    wanted = {"a.b": matchers[op]}
    made = rows_of(wanted)
    assert made is not None
    rows = [[(row.path, row.op, row.value) for row in group] for group in made.groups]
    assert match.equal(said(*rows), wanted)


def test_rows_of_a_group_all_hold_and_one_group_is_enough(blog: Blog) -> None:
    wanted = said(
        [("name", "startswith", "J"), ("name", "endswith", "e"), ("city", "is", "Oslo")], [("n", "gt", "5")]
    )
    assert match.holds(wanted, {"name": "Joe", "city": "Oslo"})
    assert not match.holds(wanted, {"name": "Jim", "city": "Oslo"})
    assert match.holds(wanted, {"n": 6})
    assert said([("", "is", "")], [("n", "gt", "5")]) == {}
    assert said([("name", "any", "")]) == {}
    assert said() == {}


@pytest.mark.parametrize(
    "row",
    [
        ("", "is", "x"),
        ("name", "is", " "),
        ("name", "startswith", ""),
        ("name", "gt", "true"),
        ("name", "like", "("),
        ("name", "from_to", "draft"),
        ("name", "sideways", "x"),
        ("a." * 20, "is", "x"),
        ("name", "is", "[" * 3000),
        ("name", "is", "1e999"),
    ],
)
def test_what_cannot_be_is_told_at_its_row(blog: Blog, row: tuple[str, str, str]) -> None:
    with blog.app.app_context():
        made = parse(form([row, ("city", "is", "Oslo")]))
    if row[2].startswith("["):
        assert made.is_right  # no JSON, so it is text
        return
    assert [bool(each.error) for each in made.groups[0]] == [True, False]


def test_buttons(blog: Blog) -> None:
    made = parse(form([("name", "is", "x")]))
    made = changed_by(made, "row:0")
    made = changed_by(made, "group")
    assert [len(group) for group in made.groups] == [2, 1]
    made = changed_by(made, "drop:0:0")
    assert [len(group) for group in made.groups] == [1, 1]
    assert [len(group) for group in changed_by(made, "drop:0:0").groups] == [1]
    for junk in ("row:9", "row:x", "drop:0", "drop:7:1", "row", "", "drop:0:0:0", "row:-1"):
        assert changed_by(made, junk).groups == made.groups


@pytest.mark.parametrize(
    "wanted", [{"a": Is(1) | Is(2)}, {"a": Not(Gt(1))}, {"a": Startswith("")}, {"a": In()}]
)
def test_what_rows_cannot_say(wanted: Any) -> None:
    assert rows_of(wanted) is None


def test_every_operator_is_known() -> None:
    typed = {"from_to": "a -> b"}
    for op, _label in OPERATORS:
        made = said([("name", op, typed.get(op, "1"))])
        assert rows_of(made) is not None
