"""Match: what a listener wants to know of an event, field by field.

A filter is ``{"name": Startswith("J"), "address.city": Is("Oslo")}``: all must hold. A list of such dicts is
any of them; None, ``{}`` and ``[]`` are everything. Dots reach into nested dicts, nested dicts may be
written as such, and a plain value means `Is`. ``&`` and ``|`` join matchers of one field, `Not` negates one.

Matchers of ``data`` are `Any`, `Is`, `Startswith`, `Endswith`, `Contains`, `Like`, `In`, `Gt`, `Gte`, `Lt`,
`Lte`, `Exists` and `Missing`; those of ``changes``, ``{"name": [old, new]}``, are `Changed`, `Became` and
`FromTo`. A value of another kind, or none, is no match and never an error. Nothing is coerced: numbers are
compared with numbers (1 is 1.0), texts with texts, and True is no number.

As in durian, a matcher is ``==`` to what it matches; two matchers are ``==`` where they say the same.
"""

from __future__ import annotations

import contextlib

# one of the matchers is called Any
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from ..errors import MatchError, did_you_mean
from .matchers import (
    MAX_ALTERNATIVES,
    MAX_BITS,
    MAX_LEVELS,
    NOT_THERE,
    And,
    Any,
    Bare,
    Became,
    Change,
    Changed,
    Contains,
    Endswith,
    Exists,
    FromTo,
    Gt,
    Gte,
    In,
    Is,
    Joined,
    Like,
    Lt,
    Lte,
    Matchable,
    Missing,
    Not,
    Or,
    Startswith,
    bare,
    dump_matcher,
    encoded_for_like,
    multiplied,
    same,
    scalar,
    shown,
    too_many_ways,
)

__all__ = [
    "And",
    "Any",
    "BECAME",
    "Became",
    "CHANGED",
    "CONDITION_CONTAINS",
    "CONDITION_ENDSWITH",
    "CONDITION_EXACT",
    "CONDITION_PASS",
    "CONDITION_STARTSWITH",
    "CONST_TO_MATCHABLE",
    "CONTAINS",
    "Changed",
    "Contains",
    "ENDSWITH",
    "EXACT",
    "EXISTS",
    "Endswith",
    "Exists",
    "Filter",
    "FromTo",
    "GT",
    "GTE",
    "Gt",
    "Gte",
    "IN",
    "In",
    "Is",
    "LIKE",
    "LT",
    "LTE",
    "Like",
    "Lt",
    "Lte",
    "MATCHABLE_CHOICES",
    "MISSING",
    "Matchable",
    "Missing",
    "NOT",
    "Not",
    "Or",
    "PASS",
    "STARTSWITH",
    "Startswith",
    "const_to_matchable",
    "deepmatch",
    "describe",
    "dump",
    "equal",
    "holds",
    "load",
    "mtuplelist_to_matchdict",
    "read",
    "why",
]

Filter: t.TypeAlias = Mapping[str, t.Any] | Sequence[Mapping[str, t.Any]] | None
"""Matchers by field; several of these; or None for everything."""
Parts: t.TypeAlias = tuple[tuple[tuple[str, Matchable], ...], ...]
"""A filter in its one form: any of these, and of each all pairs of a path and a matcher."""

VERSION: Final = 1
"""Of the stored form."""
MAX_PREDICATES: Final = 32
MAX_TEXT: Final = 1024
MAX_PATH: Final = 255
MAX_VALUES: Final = 256
"""In one predicate."""


# --- fields ------------------------------------------------------------------------------------------


def find(data: object, path: str) -> t.Any:
    """Return the value at a path, or NOT_THERE; a name that has a dot itself is found as well."""
    if not isinstance(data, dict):
        return NOT_THERE
    if path in data:
        return data[path]
    dot = path.find(".")
    while dot >= 0:
        inner = data.get(path[:dot])
        if isinstance(inner, dict):
            value = find(inner, path[dot + 1 :])
            if value is not NOT_THERE:
                return value
        dot = path.find(".", dot + 1)
    return NOT_THERE


def find_change(changes: object, path: str) -> Change | None:
    """Return the old and the new value at a path where they differ, also within a value that changed."""
    if not isinstance(changes, dict):
        return None
    dot = len(path)
    while dot >= 0:
        pair = changes.get(path[:dot])
        if isinstance(pair, (list, tuple)) and len(pair) == 2:
            within = path[dot + 1 :]
            old, new = (find(each, within) for each in pair) if within else pair
            return None if old is new or same(old, new) else (old, new)
        dot = path.rfind(".", 0, dot)
    return None


def _checked_path(path: object) -> str:
    if not isinstance(path, str) or not path or len(path) > MAX_PATH or path.count(".") >= MAX_LEVELS:
        raise MatchError(
            f"{shown(path)} names no field: a path is a text of at most {MAX_PATH} characters "
            f"and {MAX_LEVELS} levels."
        )
    return path


# --- filters -----------------------------------------------------------------------------------------


def parts(wanted: Filter) -> Parts:
    """Return a filter in its one form; raises `MatchError` for what is no filter."""
    if wanted is None or isinstance(wanted, Mapping):
        return (_fields(wanted or {}),)
    if isinstance(wanted, (list, tuple)):
        return tuple(_fields(each) for each in wanted) or ((),)
    raise MatchError(f"A filter is a dict of matchers or a list of such dicts, not {shown(wanted)}.")


def _fields(wanted: object) -> tuple[tuple[str, Matchable], ...]:
    if not isinstance(wanted, Mapping):
        raise MatchError(f"A filter is a dict of matchers or a list of such dicts, not {shown(wanted)}.")
    fields: dict[str, Matchable] = {}
    for path, matcher in _flat(wanted, ""):
        fields[path] = And(fields[path], matcher) if path in fields else matcher
    return tuple(fields.items())


def _flat(wanted: Mapping[str, t.Any], above: str) -> Iterator[tuple[str, Matchable]]:
    for name, matcher in wanted.items():
        path = _checked_path(f"{above}{name}" if isinstance(name, str) else name)
        if isinstance(matcher, Matchable):
            yield path, matcher
        elif isinstance(matcher, Mapping):
            if not matcher:
                raise MatchError(f"{{}} wants nothing of {shown(path)}: write Exists(), or Is({{}}).")
            yield from _flat(matcher, f"{path}.")
        else:
            yield path, Is(matcher)


def rows(of: Parts) -> list[tuple[tuple[str, Matchable], ...]]:
    """Multiply a filter out: of any row all must hold, pairs of a path and a simple matcher or its `Not`.

    Raises `MatchError` for more than 64.
    """
    found: list[tuple[tuple[str, Matchable], ...]] = []
    for fields in of:
        placed = [[tuple((path, each) for each in way) for way in matcher.ways()] for path, matcher in fields]
        found += multiplied(placed)
    if len(found) > MAX_ALTERNATIVES:
        raise too_many_ways()
    return found


def meets(of: Parts, data: object, changes: object = None) -> bool:
    """Does a filter hold? One predicate after the other: what every index is measured by."""
    return any(_unmet(fields, data, changes) is None for fields in of)


def _unmet(
    fields: tuple[tuple[str, Matchable], ...], data: object, changes: object
) -> tuple[str, Matchable, t.Any, Change | None] | None:
    """Return the first field of which something else is wanted."""
    for path, matcher in fields:
        value, change = find(data, path), find_change(changes, path)
        if not matcher.meets(value, change):
            return path, matcher, value, change
    return None


def holds(wanted: Filter, data: object, changes: object = None) -> bool:
    """Does a filter hold for the data of an event and what changed, ``{"name": [old, new]}``?"""
    return meets(parts(wanted), data, changes)


def equal(one: Filter, other: Filter) -> bool:
    """Do two filters say the same, predicate by predicate? What is ``==`` may only match each other."""
    return [dict(fields) for fields in parts(one)] == [dict(fields) for fields in parts(other)]


def why(wanted: Filter, data: object, changes: object = None) -> str | None:
    """Return None where a filter holds, else the first predicate that does not, in a few words.

    ``name is "Simon", not something that starts with "J"``. Values are cut at 80 characters.
    """
    return why_not(parts(wanted), data, changes)


def why_not(of: Parts, data: object, changes: object = None) -> str | None:
    """The same as `why`, of a filter in its one form."""
    reasons = []
    for fields in of:
        unmet = _unmet(fields, data, changes)
        if unmet is None:
            return None
        reasons.append(_reason(*unmet))
    told = list(dict.fromkeys(reasons))
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    return "; ".join(told[:3]) + more


def _reason(path: str, matcher: Matchable, value: t.Any, change: Change | None) -> str:
    simple, negated = matcher.first_unmet(value, change)
    if all(not leaf.of_value for leaf in simple.leaves()):
        return f"{path} {simple.told(shown, not negated)}"
    if value is NOT_THERE:
        return f"{path} is missing, not something that {simple.told(shown, negated)}"
    if negated:
        return f"{path} is {shown(value)}, and what {simple.told(shown)} is excluded"
    if isinstance(simple, Is):
        return f"{path} is {shown(value)}, not {shown(simple.value)}"
    return f"{path} is {shown(value)}, not something that {simple.told(shown)}"


def describe(wanted: Filter) -> str:
    """Return a filter in words: ``name starts with J and city is Oslo``."""
    ways = []
    for fields in parts(wanted):
        told = (
            f"{path} ({matcher.told(bare)})" if matcher.joint() == "or" else f"{path} {matcher.told(bare)}"
            for path, matcher in fields
        )
        ways.append(" and ".join(told) or "everything")
    if "everything" in ways:
        return "everything"
    return " or ".join(f"({way})" if len(ways) > 1 and " and " in way else way for way in ways)


# --- as it is stored ---------------------------------------------------------------------------------


def dump(wanted: Filter) -> dict[str, t.Any]:
    """Return a filter as JSON takes it; raises `MatchError` for one that is over a budget.

    ``{"version": 1, "any": [{"name": {"startswith": "J"}, "address.city": {"is": "Oslo"}}]}``: any of the
    objects in which all fields match. A matcher is an object of one name:

    - ``is``, ``became`` with a value; ``in`` with a list of values; ``from_to`` with the old and the new one
    - ``startswith endswith contains like`` with a text; ``gt gte lt lte`` with a number or a text
    - ``any exists missing changed`` with true
    - ``not`` with a matcher; ``all`` and ``either`` with a list of two or more

    At most 32 predicates, 64 ways for it to hold, patterns of 256 and other texts of 1 024 characters without
    NUL, 256 values in a predicate, 8 levels of a path, of a value and of matchers within each other.
    """
    of = parts(wanted)
    _check_budgets(of)
    return {
        "version": VERSION,
        "any": [{path: dump_matcher(matcher) for path, matcher in fields} for fields in of],
    }


def load(stored: object) -> Filter:
    """Return the filter that was stored, as `dump` describes it; raises `MatchError` for anything else.

    What is loaded says the same as what was dumped (`equal`): a dict, or a list where there are several.
    None, where nothing is stored, is everything.
    """
    if stored is None:
        return {}
    if not isinstance(stored, dict) or stored.keys() != {"version", "any"}:
        raise MatchError('A stored filter is an object with "version" and "any", and nothing else.')
    if scalar(stored["version"]) != ("number", VERSION):
        raise MatchError(f"A filter of version {shown(stored['version'])} is not known, only {VERSION}.")
    ways = stored["any"]
    if not isinstance(ways, list) or not 1 <= len(ways) <= MAX_PREDICATES:
        raise MatchError(f'"any" is a list of 1 to {MAX_PREDICATES} objects.')
    loaded: list[Mapping[str, t.Any]] = []
    for fields in ways:
        if not isinstance(fields, dict) or len(fields) > MAX_PREDICATES:
            raise MatchError(f'In "any" are objects of at most {MAX_PREDICATES} fields, not {shown(fields)}.')
        loaded.append({_checked_path(path): _load_matcher(each) for path, each in fields.items()})
    _check_budgets(parts(loaded))
    return loaded if len(loaded) > 1 else loaded[0]


def read(said: t.Any) -> Filter:
    """Return the filter that a person wrote: as `dump` describes it, or shorter.

    Shorter is the object of fields alone, or a list of such; a plain value means ``is``. Raises `MatchError`.
    """
    if isinstance(said, dict) and "version" in said:
        return load(said)
    several = said if isinstance(said, list) else [said]
    if not all(isinstance(each, dict) for each in several):
        raise MatchError("A filter is an object of fields, or a list of them.")
    full = [
        {field: one if isinstance(one, dict) else {"is": one} for field, one in each.items()}
        for each in several
    ]
    return load({"version": VERSION, "any": full or [{}]})


def _load_matcher(stored: object, levels: int = MAX_LEVELS) -> Matchable:
    if not isinstance(stored, dict) or len(stored) != 1:
        raise MatchError(f'A stored matcher is an object of one name, like {{"is": 1}}, not {shown(stored)}.')
    if not levels:
        raise MatchError(f"There are more than {MAX_LEVELS} matchers within each other.")
    ((op, argument),) = stored.items()
    if op == "not":
        return Not(_load_matcher(argument, levels - 1))
    if op in _JOINED:
        if not isinstance(argument, list) or not 2 <= len(argument) <= MAX_PREDICATES:
            raise MatchError(f'"{op}" takes a list of 2 to {MAX_PREDICATES} matchers.')
        return _JOINED[op](*(_load_matcher(each, levels - 1) for each in argument))
    if op in _BARE:
        if argument is not True:
            raise MatchError(f'"{op}" takes true and nothing else.')
        return _BARE[op]()
    if op == "from_to":
        if not isinstance(argument, list) or len(argument) != 2:
            raise MatchError('"from_to" takes a list of the old and the new value.')
        return FromTo(*argument)
    if op == "in":
        if not isinstance(argument, list):
            raise MatchError('"in" takes a list of values.')
        return In(argument)
    if op not in _SIMPLE:
        known = [*_SIMPLE, *_JOINED, *_BARE, "from_to", "in", "not"]
        guess = did_you_mean(op[:MAX_PATH], known) if isinstance(op, str) else ""
        raise MatchError(f"There is no matcher {shown(op)}.{guess}")
    return _SIMPLE[op](argument)


_BARE: Final[Mapping[str, type[Bare]]] = {each.op: each for each in (Any, Exists, Missing, Changed)}
_JOINED: Final[Mapping[str, type[Joined]]] = {each.op: each for each in (And, Or)}
_SIMPLE: Final[Mapping[str, type[Matchable]]] = {
    each.op: each for each in (Is, Startswith, Endswith, Contains, Like, Gt, Gte, Lt, Lte, Became)
}


def _check_budgets(of: Parts) -> None:
    leaves = [leaf for fields in of for _, matcher in fields for leaf in matcher.leaves()]
    if len(leaves) > MAX_PREDICATES or len(of) > MAX_PREDICATES:
        raise MatchError(
            f"A filter has at most {MAX_PREDICATES} predicates, not {max(len(leaves), len(of))}."
        )
    for fields in of:
        for path, matcher in fields:
            _check_texts([path])
            if _depth(matcher) > MAX_LEVELS:
                raise MatchError(f"There are more than {MAX_LEVELS} matchers within each other.")
    for leaf in leaves:
        _check_texts([leaf.value])
    rows(of)


def _depth(matcher: Matchable) -> int:
    inner = matcher.value if isinstance(matcher, Joined) else [matcher.value]
    return 1 + max((_depth(each) for each in inner if isinstance(each, Matchable)), default=0)


def _check_texts(values: list[t.Any]) -> None:
    """Are these of a size that is kept, and texts that every database takes?"""
    seen = 0
    while values:
        value = values.pop()
        seen += 1
        if isinstance(value, dict):
            values += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            values += value
        elif isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise MatchError("A number of a filter is too large.")
        elif isinstance(value, str):
            if len(value) > MAX_TEXT:
                raise MatchError(f"A text of a filter has at most {MAX_TEXT} characters, not {len(value)}.")
            if "\0" in value or encoded_for_like(value) is None:
                raise MatchError(f"A text of a filter cannot be stored: {shown(value)}.")
        if seen + len(values) > MAX_VALUES + 2:
            raise MatchError(f"A predicate has at most {MAX_VALUES} values.")


# --- durian's ----------------------------------------------------------------------------------------

PASS: Final = 0
EXACT: Final = 1
STARTSWITH: Final = 2
ENDSWITH: Final = 3
CONTAINS: Final = 4
LIKE: Final = 5
NOT: Final = 6
IN: Final = 7
GT: Final = 8
GTE: Final = 9
LT: Final = 10
LTE: Final = 11
EXISTS: Final = 12
MISSING: Final = 13
CHANGED: Final = 14
BECAME: Final = 15
CONDITION_PASS: Final = PASS
CONDITION_EXACT: Final = EXACT
CONDITION_STARTSWITH: Final = STARTSWITH
CONDITION_ENDSWITH: Final = ENDSWITH
CONDITION_CONTAINS: Final = CONTAINS

MATCHABLE_CHOICES: Final = (
    (PASS, "anything"),
    (EXACT, "exact"),
    (STARTSWITH, "starts with"),
    (ENDSWITH, "ends with"),
    (CONTAINS, "contains"),
    (LIKE, "is like"),
    (NOT, "is not"),
    (IN, "is one of"),
    (GT, "above"),
    (GTE, "at least"),
    (LT, "below"),
    (LTE, "at most"),
    (EXISTS, "is there"),
    (MISSING, "is missing"),
    (CHANGED, "changed"),
    (BECAME, "became"),
)
"""What a form offers, with labels: durian's five, and those that it has not."""


def _typed(what: object) -> object:
    """What a person types as a bound: a number where it looks like one, else a text."""
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(what) if isinstance(what, str) else what
    return what


CONST_TO_MATCHABLE: Final[Mapping[int, Callable[[t.Any], Matchable]]] = {
    PASS: Any,
    EXACT: Is,
    STARTSWITH: Startswith,
    ENDSWITH: Endswith,
    CONTAINS: Contains,
    LIKE: Like,
    NOT: Not,
    IN: lambda what: In([each.strip() for each in what.split(",")]) if isinstance(what, str) else In(what),
    GT: lambda what: Gt(_typed(what)),
    GTE: lambda what: Gte(_typed(what)),
    LT: lambda what: Lt(_typed(what)),
    LTE: lambda what: Lte(_typed(what)),
    EXISTS: lambda what: Exists(),
    MISSING: lambda what: Missing(),
    CHANGED: lambda what: Changed(),
    BECAME: Became,
}
"""What the constants stand for, made of what was typed into a form: several values have commas between them,
a bound is a number where it looks like one."""


def const_to_matchable(kind: int | str, what: t.Any) -> Matchable:
    """Return the matcher of a constant, given as a number or as a form sends it; raises `MatchError`."""
    made = None
    with contextlib.suppress(ValueError, TypeError):
        made = CONST_TO_MATCHABLE.get(int(kind))
    if made is None:
        raise MatchError(f"There is no kind of match {shown(kind)}.")
    return made(what)


def mtuplelist_to_matchdict(mtuplelist: Iterable[tuple[str, int | str, t.Any]]) -> dict[str, Matchable]:
    """Return the filter of ``[(name, kind, what)]``, as forms give it, without what lets anything pass."""
    return {
        name: matcher
        for name, kind, what in mtuplelist
        if not isinstance(matcher := const_to_matchable(kind, what), Any)
    }


def deepmatch(needle: object, haystack: object) -> bool:
    """Is all that the needle has in the haystack, too? Matchers may stand on either side."""
    if not isinstance(needle, Mapping) or not isinstance(haystack, dict):
        return False
    for name, wanted in needle.items():
        value = find(haystack, name) if isinstance(name, str) else haystack.get(name, NOT_THERE)
        if isinstance(wanted, Matchable):
            matched = wanted.meets(value, None)
        elif isinstance(value, Matchable):
            matched = value.meets(wanted, None)
        elif isinstance(wanted, Mapping):
            matched = deepmatch(wanted, value)
        else:
            matched = value is not NOT_THERE and same(wanted, value)
        if not matched:
            return False
    return True
