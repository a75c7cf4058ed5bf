"""Builder: a filter as rows of field, operator and value, as a form has them, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn

from ...errors import MatchError, MissingExtra
from ...webhooks import match
from ...webhooks.match import Filter, Matchable
from .words import N_
from .words import gettext as _

__all__ = ["OPERATORS", "Builder", "Row", "changed_by", "parse", "rows_of", "written"]

OPERATORS: Final = (
    ("any", N_("anything")),
    ("is", N_("is")),
    ("not", N_("is not")),
    ("in", N_("is one of")),
    ("startswith", N_("starts with")),
    ("endswith", N_("ends with")),
    ("contains", N_("contains")),
    ("like", N_("matches")),
    ("gt", ">"),
    ("gte", "≥"),
    ("lt", "<"),
    ("lte", "≤"),
    ("exists", N_("exists")),
    ("missing", N_("is missing")),
    ("changed", N_("changed")),
    ("became", N_("became")),
    ("from_to", N_("changed from → to")),
)
_BARE: Final[Mapping[str, type[Matchable]]] = {
    "exists": match.Exists,
    "missing": match.Missing,
    "changed": match.Changed,
}
_OF_TEXT: Final[Mapping[str, type[Matchable]]] = {
    "startswith": match.Startswith,
    "endswith": match.Endswith,
    "contains": match.Contains,
    "like": match.Like,
}
_OF_VALUE: Final[Mapping[str, type[Matchable]]] = {
    "is": match.Is,
    "not": match.Not,
    "gt": match.Gt,
    "gte": match.Gte,
    "lt": match.Lt,
    "lte": match.Lte,
    "became": match.Became,
}
_NAME: Final = re.compile("(field|op|value)-([0-9]{1,2})-([0-9]{1,2})")
_LONGEST: Final = 4000
_MOST: Final = match.MAX_PREDICATES
_COMMA: Final = re.compile(r"\s*,\s*")
_ARROW: Final = re.compile(r"\s*(?:→|->)\s*")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One condition, as it was typed."""

    path: str = ""
    op: str = "is"
    value: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Builder:
    """Groups of rows: any of the groups has to hold, and of it all rows."""

    groups: Sequence[Sequence[Row]] = field(default_factory=lambda: ((Row(),),))
    wanted: Filter = None
    """The filter that they say; None where something is wrong with it."""

    @property
    def is_right(self) -> bool:
        return not any(row.error for group in self.groups for row in group)


# --- from a form ----------------------------------------------------------------------------------------


def parse(form: Mapping[str, str]) -> Builder:
    """Return what a form says, each row that is wrong with its error."""
    typed: dict[int, dict[int, dict[str, str]]] = {}
    for name, value in form.items():
        found = _NAME.fullmatch(name)
        if found is not None:
            key, group, place = found[1], int(found[2]), int(found[3])
            typed.setdefault(group, {}).setdefault(place, {})[key] = value[:_LONGEST]
    groups: list[tuple[Row, ...]] = []
    filters: list[dict[str, Matchable]] = []
    for _number, rows in sorted(typed.items())[:_MOST]:
        checked: list[Row] = []
        fields: list[tuple[str, Matchable]] = []
        for _place, said in sorted(rows.items())[:_MOST]:
            row = Row(
                path=said.get("field", "").strip(), op=said.get("op", "is"), value=said.get("value", "")
            )
            try:
                matcher = _matcher(row)
            except (MatchError, MissingExtra) as error:
                row = replace(row, error=str(error))
            else:
                fields += [] if matcher is None else [(row.path, matcher)]
            checked.append(row)
        groups.append(tuple(checked or [Row()]))
        filters.append(_joined(fields))
    return Builder(groups=tuple(groups) or ((Row(),),), wanted=_whole(filters))


def changed_by(builder: Builder, do: str) -> Builder:
    """Return the rows after a button: "row:0" and "drop:0:1" change a group, "group" adds one."""
    groups = [list(group) for group in builder.groups]
    what, *places = do.split(":")
    numbers = [int(each) for each in places if each.isascii() and each.isdigit() and len(each) < 4]
    if what == "group" and len(groups) < _MOST:
        groups.append([Row()])
    elif what == "row" and len(numbers) == 1 and numbers[0] < len(groups):
        if sum(map(len, groups)) < _MOST:
            groups[numbers[0]].append(Row())
    elif what == "drop" and len(numbers) == 2 and numbers[0] < len(groups):
        del groups[numbers[0]][numbers[1] : numbers[1] + 1]
    return Builder(groups=tuple(tuple(group) for group in groups if group) or ((Row(),),))


def _joined(fields: Sequence[tuple[str, Matchable]]) -> dict[str, Matchable]:
    """Several conditions of one field all have to hold."""
    found: dict[str, Matchable] = {}
    for path, matcher in fields:
        found[path] = found[path] & matcher if path in found else matcher
    return found


def _whole(filters: list[dict[str, Matchable]]) -> Filter:
    if not all(filters):
        return {}  # a group without a condition takes everything
    return filters if len(filters) > 1 else (filters or [{}])[0]


def _matcher(row: Row) -> Matchable | None:
    """Return the matcher of a row; None for one that says nothing. Raises `MatchError`."""
    if row.op == "any" or not (row.path or row.value.strip()):
        return None
    if not row.path:
        _refuse(_("Name the field."))
    match.parts({row.path: match.Exists()})  # is it one?
    if row.op in _BARE:
        return _BARE[row.op]()  # type: ignore[call-arg]
    said = row.value if row.op in _OF_TEXT else row.value.strip()
    if not said:
        _refuse(_('Give a value; an empty text is "".'))
    if row.op in _OF_TEXT:
        return _OF_TEXT[row.op](said)
    if row.op in _OF_VALUE:
        return _OF_VALUE[row.op](value_of(said))
    if row.op == "in":
        values = list(_several(said, _COMMA))
        return match.In(values[0] if len(values) == 1 and isinstance(values[0], list) else values)
    if row.op == "from_to":
        pair = list(_several(said, _ARROW))
        if len(pair) != 2:
            _refuse(_("Write the old value, an arrow, and the new one: draft -> sent"))
        return match.FromTo(*pair)
    return _refuse(_("Choose an operator."))


def _refuse(message: str) -> NoReturn:
    raise MatchError(message)


# --- values ---------------------------------------------------------------------------------------------


def value_of(said: str) -> Any:
    """Return what was typed: what is JSON is that value (``5``, ``true``, ``"5"``), all else is text."""
    try:
        return json.loads(said, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return said


def written(value: Any) -> str:
    """Return a value as it would be typed."""
    is_plain = isinstance(value, str) and value == value.strip() and value.isprintable() and value != ""
    if is_plain and value_of(value) == value and not value.startswith(("[", "{", '"')):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _several(said: str, between: re.Pattern[str]) -> Iterator[Any]:
    """Yield the values that have something between them; in quotes and brackets it is part of the value."""
    decoder, rest = json.JSONDecoder(parse_constant=_refuse), said.strip()
    while rest:
        if rest[0] in '"[{':
            try:
                value, end = decoder.raw_decode(rest)
            except (ValueError, RecursionError):
                pass
            else:
                follows = between.match(rest, end)
                if follows or not rest[end:].strip():
                    yield value
                    rest = rest[follows.end() :] if follows else ""
                    continue
        head, *tail = between.split(rest, maxsplit=1)
        yield value_of(head)
        rest = tail[0] if tail else ""


def _one_of_several(value: Any, between: re.Pattern[str]) -> str:
    said = written(value)
    quoted = isinstance(value, str) and between.search(value) is not None
    return json.dumps(value, ensure_ascii=False) if quoted else said


# --- from a filter --------------------------------------------------------------------------------------


def rows_of(wanted: Filter) -> Builder | None:
    """Return a filter as rows; None for one that says more than rows can."""
    groups = []
    for fields in match.parts(wanted):
        rows: list[Row] = []
        for path, matcher in fields:
            for part in matcher.value if isinstance(matcher, match.And) else (matcher,):
                row = _row(path, part)
                if row is None:
                    return None
                rows.append(row)
        groups.append(tuple(rows or [Row()]))
    return Builder(groups=tuple(groups), wanted=wanted)


def _row(path: str, matcher: Matchable) -> Row | None:
    op, value = matcher.op, matcher.value
    if isinstance(matcher, match.Not):
        if not isinstance(matcher.value, match.Is):
            return None
        value = matcher.value.value
    if op == "any" or op in _BARE:
        return Row(path=path, op=op)
    if op in _OF_TEXT:
        # an input has one line, and an empty one is none
        return Row(path=path, op=op, value=value) if value and value.isprintable() else None
    if op in _OF_VALUE:
        return Row(path=path, op=op, value=written(value))
    if op == "from_to":
        return Row(path=path, op=op, value=" → ".join(_one_of_several(each, _ARROW) for each in value))
    if op == "in" and value:
        if len(value) == 1 and isinstance(value[0], list):
            return Row(path=path, op=op, value=written(value))
        return Row(path=path, op=op, value=", ".join(_one_of_several(each, _COMMA) for each in value))
    return None
