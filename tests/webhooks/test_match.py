"""Match: what each matcher matches and what it does not, filters in words and as they are stored."""

from __future__ import annotations

import copy
import enum
import json
import pickle
import re
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_linkback import match
from flask_linkback.errors import MatchError, MissingExtra
from flask_linkback.webhooks import matchers
from tests.thorough import examples

from .filters import CHANGES, DATA, FILTERS, MATCHERS, ODD, VALUES

is_, gt = match.Is, match.Gt

JOE = {"name": "Joe", "age": 42, "address": {"city": "Oslo", "zip": "0150"}, "tags": ["a", "b"], "boss": None}


class Status(enum.StrEnum):
    paid = "paid"


# --- durian's ----------------------------------------------------------------------------------------


def test_d5_tuples_of_a_form_become_a_filter() -> None:
    """Kinds become classes with values, what lets anything pass is dropped, either side may be the needle."""
    wanted = match.mtuplelist_to_matchdict(
        [
            ("name", match.CONDITION_ENDSWITH, "Costanza"),
            ("phone", str(match.CONDITION_STARTSWITH), "212"),
            ("street", match.CONDITION_EXACT, "Main Street 1"),
            ("work", match.CONDITION_CONTAINS, "ndel"),
            ("pet", match.CONDITION_PASS, "a cat"),
        ]
    )
    assert {name: (type(each), each.value) for name, each in wanted.items()} == {
        "name": (match.Endswith, "Costanza"),
        "phone": (match.Startswith, "212"),
        "street": (match.Is, "Main Street 1"),
        "work": (match.Contains, "ndel"),
    }
    george = {"name": "G. Costanza", "phone": "212 555", "street": "Main Street 1", "work": "Vandelay"}
    assert match.deepmatch(wanted, {**george, "work": "Vandelay and vandels"})
    assert match.deepmatch({**george, "work": "vandels"}, wanted)
    assert not match.deepmatch(george | {"name": "G. Bush"}, wanted)


@pytest.mark.parametrize(
    ("needle", "haystack", "matches"),
    [
        ({"name": match.Like("Cos")}, {"name": "G. Costanza"}, True),
        ({"name": match.Like("Kra")}, {"name": "G. Costanza"}, False),
        ({"name": match.Startswith("G")}, {"name": "G. Costanza"}, True),
        ({"name": match.Startswith("C")}, {"name": "G. Costanza"}, False),
        ({"name": {"first": match.Startswith("El")}}, {"name": {"first": "Elaine", "last": "B"}}, True),
        (JOE, JOE, True),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"x": 1}}}, False),
        ({"foo": "bar"}, {"foo": "bar", "more": 1}, True),
        ({"foo": 1}, {"foo": "1"}, False),
        ({"foo": 1}, {"foo": True}, False),
        ({"foo": "bar", "baz": {"x": "x"}}, {"foo": "bar"}, False),
        ({"foo": None}, {}, False),
        ({"foo": match.Any()}, {}, True),
        ({"foo": "bar"}, {"foo": match.Startswith("b")}, True),
        ({"foo": 1}, ["foo"], False),
        ({1: 2}, {1: 2}, True),
    ],
)
def test_d6_deepmatch(needle: Any, haystack: Any, matches: bool) -> None:
    assert match.deepmatch(needle, haystack) is matches


def test_point_19_any_needs_no_argument() -> None:
    for anything in (match.Any(), match.Any("thing")):
        assert anything == "x"
        assert anything == None  # noqa: E711
        assert match.holds({"nowhere": anything}, {})


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, ["Joe"], b"Joe", object()])
@pytest.mark.parametrize(
    "matcher", [match.Startswith("J"), match.Endswith("e"), match.Contains("o"), match.Like("o")]
)
def test_point_22_what_is_no_text_matches_no_matcher_of_texts(
    matcher: match.Matchable, value: object
) -> None:
    assert matcher != value
    assert not match.holds({"name": matcher}, {"name": value})
    assert not match.holds({"name": matcher}, {})


def test_point_22_forms_offer_like() -> None:
    offered = dict(match.MATCHABLE_CHOICES)
    assert [offered[number] for number in range(5)] == [
        "anything",
        "exact",
        "starts with",
        "ends with",
        "contains",
    ]
    assert match.const_to_matchable(match.LIKE, "J.e") == "Joe"


def test_matchers_are_made_of_what_is_typed_into_a_form() -> None:
    made = match.const_to_matchable
    assert made(match.GT, "5") == 6
    assert made(match.LTE, "2.5") == 2.5
    assert made(match.GTE, "2026-01-01") == "2026-05-01"
    assert made(match.IN, "a, b") == "b"
    assert made(match.NOT, "a") == "b"
    assert made(match.EXISTS, "") == "b"
    assert made(match.BECAME, "paid").value == "paid"
    for kind in (99, "x", None, -1):
        with pytest.raises(MatchError):
            made(kind, "a")
    assert set(match.CONST_TO_MATCHABLE) == {number for number, _ in match.MATCHABLE_CHOICES}


def test_the_base_matches_nothing_of_its_own() -> None:
    with pytest.raises(NotImplementedError):
        assert match.Matchable(1) == 1


# --- each matcher --------------------------------------------------------------------------------------

HIT: list[tuple[match.Matchable, list[Any], list[Any]]] = [
    (match.Is("Joe"), ["Joe"], ["joe", "Joe ", None, 1]),
    (match.Is("paid"), [Status.paid], []),
    (match.Is(1), [1, 1.0, Decimal(1)], [True, "1", 2, [1]]),
    (match.Is(1.5), [1.5, Decimal("1.5")], [1, "1.5", float("nan"), Decimal("nan"), Decimal("sNaN")]),
    (match.Is(True), [True], [1, "True", "true"]),
    (match.Is(None), [None], [0, False, "", []]),
    (
        match.Is([1, {"a": None}]),
        [[1, {"a": None}], (1.0, {"a": None})],
        [[1], [True, {"a": None}], [1, {}], 1],
    ),
    (match.Is({"a": 1}), [{"a": 1}], [{"a": True}, {"a": 1, "b": 2}, {}, [("a", 1)]]),
    (match.Startswith("Jo"), ["Jo", "Joe"], ["J", "jo", "aJo", None]),
    (match.Startswith(""), ["", "x"], [None, 1]),
    (match.Endswith("oe"), ["oe", "Joe"], ["e", "oex"]),
    (match.Contains("o"), ["o", "Joe"], ["", "J", ["o"], {"o": 1}]),
    (match.Contains("x"), ["a" * 65_535 + "x"], ["a" * 65_536 + "x"]),
    (match.Like("^J.e$"), ["Joe", "J\u00e9e"], ["Jo", "Joes"]),
    (match.Like("x$"), ["a" * 65_535 + "x"], ["a" * 65_536 + "x", "\ud800x"]),
    (match.Like("(a+)+$"), ["a"], ["a" * 60_000 + "b"]),
    (match.In("draft", "paid"), ["paid"], ["void", None, ["paid"]]),
    (match.In([1, None, [2]]), [1.0, None, [2]], [True, 2]),
    (match.In(), [], [None, 1]),
    (match.Gt(5), [6, 5.1, float("inf"), 10**400, Decimal("5.1")], [5, "6", True, None, float("nan"), [6]]),
    (match.Gte(5), [5, 5.0], [4.9, "5"]),
    (match.Lt("b"), ["a", "Z"], ["b", 1, None]),
    (match.Lte(5), [5, -(10**400), False + 1], [6, False, Decimal("sNaN")]),
    (match.Exists(), [None, 0, ""], []),
    (match.Missing(), [], [None, 0, ""]),
    (match.Not("Joe"), ["Jim", 1, None], ["Joe"]),
    (match.Not(match.Gt(5)), [5, "6", None], [6]),
    (match.Not(match.Not(match.Startswith("J"))), ["Joe"], ["Bo", 1]),
    (match.Gt(1) & match.Lt(5), [2], [1, 5, "2"]),
    (match.Is("a") | match.Startswith("b"), ["a", "bc"], ["ab", None]),
    (match.Not(match.Is("a") | match.Startswith("b")), ["c", 1], ["a", "b"]),
    (match.Not(match.Startswith("a") & match.Endswith("b")), ["a", "b", None], ["ab"]),
]


@pytest.mark.parametrize(("matcher", "hits", "misses"), HIT, ids=[repr(matcher) for matcher, *_ in HIT])
def test_a_matcher_is_equal_to_what_it_matches(
    matcher: match.Matchable, hits: list[Any], misses: list[Any]
) -> None:
    for value in hits:
        assert matcher == value
        assert value == matcher
        assert not matcher != value  # noqa: SIM202
        assert match.holds({"field": matcher}, {"field": value})
    for value in misses:
        assert matcher != value
        assert value != matcher
        assert not match.holds({"field": matcher}, {"field": value})


@pytest.mark.parametrize("matcher", [matcher for matcher, *_ in HIT], ids=repr)
def test_what_is_missing_matches_only_what_asks_for_it(matcher: match.Matchable) -> None:
    assert match.holds({"field": matcher}, {}) is isinstance(matcher, match.Missing)


@pytest.mark.parametrize("matcher", [matcher for matcher, *_ in HIT], ids=repr)
def test_a_matcher_is_written_as_it_is_made(matcher: match.Matchable) -> None:
    again = eval(repr(matcher), vars(match))
    assert again == matcher
    assert hash(again) == hash(matcher)
    assert copy.deepcopy(matcher) == matcher
    assert pickle.loads(pickle.dumps(matcher)) == matcher


def test_matchers_say_the_same_or_not() -> None:
    assert repr(match.Is("v")) == 'Is("v")'
    assert match.Is("v") == match.Is("v")
    assert match.Is("v") != match.In("v")
    assert match.Is(1) != match.Is(True)
    assert match.Startswith("a") != match.Endswith("a")
    assert match.In(1, 2) == match.In(2, 1)
    assert len({match.Is(1), match.Is(1.0), match.Is("1"), match.Is(True)}) == 3


@pytest.mark.parametrize(
    ("matcher", "change", "holds"),
    [
        (match.Changed(), ["a", "b"], True),
        (match.Changed(), [1, True], True),
        (match.Changed(), ["a", "a"], False),
        (match.Changed(), [1, 1.0], False),
        (match.Changed(), None, False),
        (match.Changed(), "ab", False),
        (match.Changed(), ["a"], False),
        (match.Became("b"), ["a", "b"], True),
        (match.Became("b"), ("a", "b"), True),
        (match.Became("b"), ["b", "b"], False),
        (match.Became("b"), ["b", "c"], False),
        (match.Became(1), [None, True], False),
        (match.Became(None), ["b", None], True),
        (match.Became([1]), [[], [1]], True),
        (match.FromTo("a", "b"), ["a", "b"], True),
        (match.FromTo("a", "b"), ["b", "a"], False),
        (match.Not(match.Changed()), ["a", "b"], False),
        (match.Not(match.Changed()), None, True),
        (match.Not(match.Became("b")), ["a", "c"], True),
        (match.Changed() & match.Startswith("n"), ["a", "b"], True),
    ],
)
def test_matchers_of_changes_see_the_old_and_the_new_value(
    matcher: match.Matchable, change: object, holds: bool
) -> None:
    changes = {} if change is None else {"state": change}
    assert match.holds({"state": matcher}, {"state": "now"}, changes) is holds


@pytest.mark.parametrize("changes", [None, [], "ab", 1, {"other": ["a", "b"]}])
def test_without_changes_nothing_changed(changes: object) -> None:
    assert not match.holds({"state": match.Changed()}, {"state": "b"}, changes)


def test_a_change_is_seen_within_a_value() -> None:
    changes = {"address": [{"city": "Oslo", "zip": 1}, {"city": "Bergen", "zip": 1}]}
    assert match.holds({"address.city": match.FromTo("Oslo", "Bergen")}, {}, changes)
    assert not match.holds({"address.zip": match.Changed()}, {}, changes)
    assert match.holds({"a.b": match.Became(2)}, {}, {"a.b": [1, 2]})


# --- what cannot be made -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", ["(?=a)", "(?<!a)b", r"(a)\1", "(", "a{1001}", "a" * 257, ".{1000}", "\ud800"]
)
def test_a_pattern_that_re2_refuses_is_refused_when_it_is_made(pattern: str) -> None:
    with pytest.raises(MatchError):
        match.Like(pattern)


def test_patterns_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    matchers.compiled.cache_clear()
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(MissingExtra, match=r"flask-linkback\[fast\]"):
        match.Like("a")


@pytest.mark.parametrize(
    "make",
    [
        lambda: match.Is(object()),
        lambda: match.Is(Decimal(1)),
        lambda: match.Is(float("nan")),
        lambda: match.Is({1: 2}),
        lambda: match.Is([[[[[[[[[[]]]]]]]]]]),
        lambda: match.Is(match.Is(1)),
        lambda: match.In(b"a"),
        lambda: match.Startswith(1),
        lambda: match.Contains(None),
        lambda: match.Gt(True),
        lambda: match.Gt(None),
        lambda: match.Lt([1]),
        lambda: match.Became(match.Startswith("a")),
        lambda: match.And(match.Is(1)),
        lambda: match.holds("name", {}),  # type: ignore[arg-type]
        lambda: match.holds(["name"], {}),
        lambda: match.holds({1: "a"}, {}),
        lambda: match.holds({"": "a"}, {}),
        lambda: match.holds({"a": {}}, {}),
        lambda: match.holds({".".join("abcdefghi"): 1}, {}),
        lambda: match.holds({"a" * 256: 1}, {}),
    ],
)
def test_a_developer_is_told_at_once(make: Any) -> None:
    with pytest.raises(MatchError):
        make()


def test_matchers_are_joined_with_matchers() -> None:
    with pytest.raises(TypeError):
        match.Is(1) & 2  # type: ignore[operator]
    with pytest.raises(TypeError):
        match.Is(1) | 2  # type: ignore[operator]


# --- filters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (None, True),
        ({}, True),
        ([], True),
        ([{"name": "Bo"}, {}], True),
        ({"name": "Joe", "age": gt(40)}, True),
        ({"name": "Joe", "age": gt(50)}, False),
        ([{"name": "Bo"}, {"age": gt(40)}], True),
        ([{"name": "Bo"}, {"age": gt(50)}], False),
        ({"address.city": "Oslo"}, True),
        ({"address": {"city": is_("Oslo"), "zip": match.Startswith("0")}}, True),
        ({"address": {"city": is_("Bergen")}}, False),
        ({"address": is_({"city": "Oslo", "zip": "0150"})}, True),
        ({"address.city": match.Startswith("O"), "address": {"city": match.Endswith("x")}}, False),
        ({"address.city.more": match.Missing()}, True),
        ({"name.more": match.Exists()}, False),
        ({"tags": ["a", "b"]}, True),
        ({"boss": None}, True),
        ({"chief": None}, False),
    ],
)
def test_all_of_a_filter_must_hold_and_any_of_several(wanted: match.Filter, holds: bool) -> None:
    assert match.holds(wanted, JOE) is holds


@pytest.mark.parametrize(
    "data",
    [
        {"a.b": {"c": 1}},
        {"a": {"b.c": 1}},
        {"a": {"b": {"c": 1}}},
        {"a.b.c": 1},
        {"a": {"b": 1}, "a.b": {"c": 1}},
    ],
)
def test_a_name_may_have_a_dot_itself(data: dict[str, Any]) -> None:
    assert match.holds({"a.b.c": 1}, data)


@pytest.mark.parametrize("data", [None, [], "name", 1, {1: 2}])
def test_what_is_no_object_has_no_fields(data: object) -> None:
    assert not match.holds({"name": match.Exists()}, data)
    assert match.holds({"name": match.Missing()}, data)


@settings(max_examples=examples(1000), deadline=None)
@given(wanted=FILTERS, data=st.one_of(DATA, ODD), changes=CHANGES)
@example(wanted={"a": match.Changed()}, data={}, changes={"a": [Decimal("sNaN"), Decimal("sNaN")]})
def test_rubbish_is_never_an_error(wanted: match.Filter, data: object, changes: object) -> None:
    reason = match.why(wanted, data, changes)
    assert match.holds(wanted, data, changes) is (reason is None)
    assert reason is None or 0 < len(reason) < 2000


@settings(max_examples=examples(500), deadline=None)
@given(matcher=MATCHERS, value=VALUES)
def test_a_negation_is_the_contrary_where_there_is_a_value(matcher: match.Matchable, value: object) -> None:
    assert (match.Not(matcher) == value) is (matcher != value)
    assert match.holds({"a": match.Not(match.Not(matcher))}, {}) is match.holds({"a": matcher}, {})


def test_a_value_nested_without_end_is_no_match() -> None:
    deep: list[Any] = []
    deep.append(deep)
    assert not match.holds({"a": match.Is([[1]])}, {"a": deep})
    other: list[Any] = []
    other.append(other)
    assert match.holds({"a": match.Changed()}, {}, {"a": [deep, other]})


# --- in words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (None, "everything"),
        ({"name": match.Startswith("J"), "city": "Oslo"}, "name starts with J and city is Oslo"),
        ([{"name": "Joe"}, {"name": "Jim", "age": gt(5)}], "name is Joe or (name is Jim and age is above 5)"),
        ({"age": gt(1) & match.Lte(9)}, "age is above 1 and is at most 9"),
        ({"age": is_(1) | is_("1")}, 'age (is 1 or is "1")'),
        ({"a": match.Not("x y"), "b": match.Not(match.Exists())}, 'a is not "x y" and b is missing'),
        ({"a": match.In("x", "y"), "b": match.Any()}, "a is one of x, y and b is anything"),
        ({"a": match.FromTo("x", None), "b": match.Became(True)}, "a went from x to null and b became true"),
        ({"a": match.Not(match.Contains("x") & match.Like("y"))}, "a (does not contain x or is not like y)"),
        (
            {"a": "true", "b": True, "c": [1], "d": {"e": "."}},
            'a is "true" and b is true and c is a list and d.e is "."',
        ),
    ],
)
def test_a_filter_is_described(wanted: match.Filter, words: str) -> None:
    assert match.describe(wanted) == words


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"name": match.Startswith("J")}, None),
        ({"name": match.Startswith("B")}, 'name is "Joe", not something that starts with "B"'),
        ({"name": "Simon"}, 'name is "Joe", not "Simon"'),
        ({"age": "42"}, 'age is 42, not "42"'),
        ({"nick": "J"}, 'nick is missing, not something that is "J"'),
        ({"nick": match.Exists()}, "nick is missing"),
        ({"name": match.Missing()}, "name is there"),
        ({"name": match.Not("Joe")}, 'name is "Joe", and what is "Joe" is excluded'),
        (
            {"name": match.Startswith("J") & match.Endswith("x")},
            'name is "Joe", not something that ends with "x"',
        ),
        ({"name": is_("a") | is_("b")}, 'name is "Joe", not something that is "a" or is "b"'),
        ({"name": match.Changed()}, "name did not change"),
        ({"age": match.Became(1)}, "age did not become 1"),
        ({"age": match.Not(match.Changed())}, "age changed"),
        ({"tags": match.Gt(5)}, "tags is a list, not something that is above 5"),
        ([{"name": "Bo"}, {"name": "Al"}], 'name is "Joe", not "Bo"; name is "Joe", not "Al"'),
        ({"name": match.Not(match.Any())}, "name is anything"),
    ],
)
def test_the_first_predicate_that_fails_is_named(wanted: match.Filter, reason: str | None) -> None:
    assert match.why(wanted, JOE, {"age": [41, 42]}) == reason


def test_reasons_are_short() -> None:
    secret = "s" * 5000
    reason = match.why({"token": match.Is("t" * 500)}, {"token": secret})
    assert reason is not None
    assert "s" * 81 not in reason
    assert "t" * 81 not in reason
    many = match.why([{"token": str(number)} for number in range(20)], {"token": secret})
    assert many is not None
    assert many.endswith("; and 17 more")
    assert len(match.why({"a": match.In(*map(str, range(200)))}, {"a": 1}) or "") < 200
    assert match.why({"a": 1}, {"a": 10**5000}) == "a is a huge number, not 1"


# --- as it is stored -----------------------------------------------------------------------------------


def test_a_filter_is_stored_as_documented() -> None:
    wanted = {
        "name": match.Startswith("J"),
        "address": {"city": "Oslo"},
        "age": gt(1) & match.Not(9),
        "state": match.FromTo(1, 2),
    }
    assert match.dump(wanted) == {
        "version": 1,
        "any": [
            {
                "name": {"startswith": "J"},
                "address.city": {"is": "Oslo"},
                "age": {"all": [{"gt": 1}, {"not": {"is": 9}}]},
                "state": {"from_to": [1, 2]},
            }
        ],
    }
    assert match.load({"version": 1, "any": [{}]}) == {}
    assert match.load(None) == {}


@settings(max_examples=examples(500), deadline=None)
@given(wanted=FILTERS, data=DATA, changes=CHANGES)
def test_what_is_loaded_says_what_was_dumped(wanted: match.Filter, data: object, changes: object) -> None:
    try:
        stored = json.dumps(match.dump(wanted))
    except MatchError:
        return
    loaded = match.load(json.loads(stored))
    assert match.equal(loaded, wanted)
    assert json.dumps(match.dump(loaded)) == stored
    assert match.holds(loaded, data, changes) is match.holds(wanted, data, changes)


def test_filters_that_say_something_else_are_not_equal() -> None:
    assert match.equal({"a": 1}, {"a": is_(1)})
    assert match.equal({"a": {"b": 1}, "c": 2}, {"c": 2, "a.b": 1})
    assert match.equal(None, [])
    assert not match.equal({"a": 1}, {"a": True})
    assert not match.equal({"a": "Joe"}, {"a": match.Startswith("J")})
    assert not match.equal([{"a": 1}], [{"a": 1}, {"a": 2}])


def stored(**fields: Any) -> dict[str, Any]:
    return {"version": 1, "any": [fields]}


def nested(levels: int) -> dict[str, Any]:
    matcher: dict[str, Any] = {"is": 1}
    for _ in range(levels):
        matcher = {"not": matcher}
    return matcher


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "an object with"),
        ("name", "an object with"),
        ({"any": [{}]}, "an object with"),
        ({"version": 1, "any": [{}], "more": 1}, "an object with"),
        ({"version": 2, "any": [{}]}, "version 2 is not known"),
        ({"version": True, "any": [{}]}, "version true is not known"),
        ({"version": 1, "any": {}}, "a list of 1 to 32"),
        ({"version": 1, "any": []}, "a list of 1 to 32"),
        ({"version": 1, "any": [{}] * 33}, "a list of 1 to 32"),
        ({"version": 1, "any": ["name"]}, "objects"),
        (stored(name="Joe"), "an object of one name"),
        (stored(name={}), "an object of one name"),
        (stored(name={"is": 1, "gt": 2}), "an object of one name"),
        (stored(name={"startwith": "J"}), "Did you mean startswith?"),
        (stored(name={"startswith": 1}), "takes a text"),
        (stored(name={"like": "(?=a)"}), "no pattern"),
        (stored(name={"like": "a" * 257}), "at most 256"),
        (stored(name={"gt": True}), "a number or a text"),
        (stored(name={"is": float("nan")}), "cannot be made of"),
        (stored(name={"is": 10**400}), "too large"),
        (stored(name={"is": "a" * 1025}), "at most 1024"),
        (stored(name={"is": ["a" * 1025]}), "at most 1024"),
        (stored(name={"is": "a\0"}), "cannot be stored"),
        (stored(name={"is": "\ud800"}), "cannot be stored"),
        (stored(name={"is": [1] * 300}), "at most 256 values"),
        (stored(name={"in": "abc"}), "a list of values"),
        (stored(name={"in": [str(n) for n in range(300)]}), "at most 256 values"),
        (stored(name={"any": False}), "takes true"),
        (stored(name={"exists": 1}), "takes true"),
        (stored(name={"from_to": [1]}), "old and the new"),
        (stored(name={"all": [{"is": 1}]}), "2 to 32"),
        (stored(name={"either": "ab"}), "2 to 32"),
        (stored(name=nested(8)), "within each other"),
        (stored(name=nested(500)), "within each other"),
        (stored(name={"either": [{"is": n} for n in range(32)]}, more={"is": 1}), "at most 32 predicates"),
        (stored(**{f"f{n}": {"is": 1} for n in range(33)}), "at most 32 fields"),
        (stored(**{f"f{n}": {"either": [{"is": 1}, {"is": 2}]} for n in range(7)}), "more than 64 ways"),
        (stored(**{"": {"is": 1}}), "names no field"),
        (stored(**{"a" * 256: {"is": 1}}), "names no field"),
        (stored(**{"a.b.c.d.e.f.g.h.i": {"is": 1}}), "names no field"),
        (stored(**{"a\0": {"is": 1}}), "cannot be stored"),
    ],
)
def test_what_is_no_filter_is_refused_with_a_reason(given: Any, message: str) -> None:
    with pytest.raises(MatchError, match=re.escape(message)) as caught:
        match.load(given)
    assert len(str(caught.value)) <= 300
    assert isinstance(caught.value, ValueError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["version", "any", "is", "in", "not", "all", "either", "like", "gt", "from_to", "a"]
            ),
            inner,
            max_size=3,
        )
    ),
)


@settings(max_examples=examples(500), deadline=None)
@given(inner=JSON)
def test_whatever_is_stored_is_loaded_or_refused(inner: Any) -> None:
    for given_ in (inner, {"version": 1, "any": inner}, {"version": 1, "any": [{"a": inner}]}):
        try:
            loaded = match.load(given_)
        except MatchError:
            continue
        assert match.equal(match.load(match.dump(loaded)), loaded)


@pytest.mark.parametrize(
    "wanted",
    [
        {f"f{n}": 1 for n in range(33)},
        [{}] * 33,
        {"a": match.Startswith("a" * 1025)},
        {f"f{n}": is_(1) | is_(2) for n in range(30)},
    ],
)
def test_what_is_over_a_budget_is_not_dumped(wanted: match.Filter) -> None:
    with pytest.raises(MatchError):
        match.dump(wanted)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"name": "Joe", "age": {"gte": 18}}, {"name": match.Is("Joe"), "age": match.Gte(18)}),
        ([{"a": 1}, {"b": {"exists": True}}], [{"a": 1}, {"b": match.Exists()}]),
        ({"version": 1, "any": [{"a": {"is": 1}}]}, {"a": 1}),
        ({}, {}),
        ([], {}),
    ],
)
def test_what_a_person_writes_is_read(said: Any, meant: Any) -> None:
    assert match.equal(match.read(said), meant)
    for wrong in ("x", 7, None, [1], {"a": {"startswit": "x"}}):
        with pytest.raises(MatchError):
            match.read(wrong)


def test_a_form_says_what_is_wrong_with_a_pattern() -> None:
    with pytest.raises(MatchError, match="no pattern"):
        match.const_to_matchable(match.LIKE, "(")
