"""Lists: rows by their key, some at a time, with filters from the query string. Fast at any size.

A page never counts and never skips: it begins behind a key. A filter that an index serves looks as far as it
must; any other looks at so many rows at a time, says how far it came, and offers to look further.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa
from flask import request
from sqlalchemy.orm import Session

from ...models import Base

__all__ = ["Choice", "Filter", "Listing", "Rows", "Since", "Text", "capped", "capped_count", "whole_number"]

M = TypeVar("M", bound=Base)
Condition = sa.ColumnElement[bool]

PER_PAGE: Final = 50
WINDOW: Final = 20_000
"""How many rows a page looks at for a filter that no index serves."""
MOST_COUNTED: Final = 100
_LONGEST: Final = 500
_MOST_DIGITS: Final = 18


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A part of the query string that says which rows are wanted."""

    name: str
    label: str
    condition: Callable[[Any], Condition]
    indexed: bool = False
    """Does an index find these rows, newest first?"""

    def parse(self, said: str) -> Any:
        """Return the value that was meant; None for none, and for rubbish."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Choice(Filter):
    """One of a few: pairs of value and label."""

    choices: Sequence[tuple[str, str]] | Callable[[], Sequence[tuple[str, str]]]

    def options(self) -> Sequence[tuple[str, str]]:
        return self.choices() if callable(self.choices) else self.choices

    def parse(self, said: str) -> Any:
        return said if said in dict(self.options()) else None


@dataclass(frozen=True, kw_only=True)
class Text(Filter):
    """Words that somebody types."""

    hint: str = ""
    number: bool = False

    def parse(self, said: str) -> Any:
        said = said.strip()[:_LONGEST].replace("\0", "")
        if not self.number:
            return said.encode("utf-8", "replace").decode() or None
        return whole_number(said)


@dataclass(frozen=True, kw_only=True)
class Since(Filter):
    """A time from which on, in UTC."""

    def parse(self, said: str) -> Any:
        try:
            at = datetime.fromisoformat(said.strip()) if said.strip() else None
            return at if at is None else at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
        except (ValueError, OverflowError):
            return None


@dataclass(frozen=True, kw_only=True)
class Rows(Generic[M]):
    """A page of a list."""

    rows: Sequence[M]
    filters: Sequence[Filter]
    values: Mapping[str, Any]
    """The filters that are set."""
    older: int | None = None
    """The key behind which older rows follow."""
    newer: int | None = None
    further: int | None = None
    """The key behind which the search did not look yet."""
    searched: int = 0

    @property
    def is_filtered(self) -> bool:
        return bool(self.values)

    def __iter__(self) -> Any:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[M]):
    """A list of the rows of a model, the newest first."""

    model: type[M]
    filters: Sequence[Filter] = ()
    options: Sequence[Any] = field(default_factory=tuple)
    """Loader options: no page loads what it does not show."""

    def values(self) -> dict[str, Any]:
        """Return the filters that the query string sets."""
        parsed = {each.name: each.parse(request.args.get(each.name, "")) for each in self.filters}
        return {name: value for name, value in parsed.items() if value is not None}

    def read(self, session: Session, *conditions: Condition, indexed: bool = True) -> Rows[M]:
        """Return the page that the query string asks for, of the rows that hold ``conditions``.

        ``indexed`` says whether an index finds these, newest first.
        """
        key = self.model.id
        values = self.values()
        wanted = [each for each in self.filters if each.name in values]
        conditions += tuple(each.condition(values[each.name]) for each in wanted)
        after, before = _key("after"), _key("before")
        newer: int | None
        older: int | None
        asked = sa.select(self.model).options(*self.options).where(*conditions)
        window = None
        if not indexed or not all(each.indexed for each in wanted):
            window = self._window(session, after, before)
            asked = asked.where(key > window[0], key <= window[1])
        if before is not None:
            found = list(session.scalars(asked.where(key > before).order_by(key).limit(PER_PAGE + 1)))
            has_more = len(found) > PER_PAGE
            rows = found[:PER_PAGE][::-1]
            newer = rows[0].id if has_more else None
            older = rows[-1].id if rows else before + 1
        else:
            if after is not None:
                asked = asked.where(key < after)
            found = list(session.scalars(asked.order_by(key.desc()).limit(PER_PAGE + 1)))
            rows = found[:PER_PAGE]
            older = rows[-1].id if len(found) > PER_PAGE else None
            newer = rows[0].id if after is not None and rows else None
        further, searched = None, 0
        if window is not None and older is None and before is None and window[0] > 0:
            further, searched = window[0] + 1, window[1] - window[0]
        return Rows(
            rows=rows,
            filters=self.filters,
            values=values,
            older=older,
            newer=newer,
            further=further,
            searched=searched,
        )

    def _window(self, session: Session, after: int | None, before: int | None) -> tuple[int, int]:
        """Return the keys between which a page looks: beyond the first, up to the second."""
        if before is not None:
            return before, before + WINDOW
        top = session.scalar(sa.select(sa.func.max(self.model.id))) or 0
        if after is not None:
            top = min(top, after - 1)
        return max(top - WINDOW, 0), top


def _key(name: str) -> int | None:
    return whole_number(request.args.get(name, ""))


def whole_number(said: str) -> int | None:
    """Return a number that somebody typed, small enough for any database; None for what is none."""
    return int(said) if said.isascii() and said.isdigit() and len(said) <= _MOST_DIGITS else None


def capped_count(session: Session, *conditions: Condition, most: int = MOST_COUNTED) -> int:
    """Return how many rows there are, counting to so many at most."""
    return session.scalar(sa.select(capped(*conditions, most=most))) or 0


def capped(*conditions: Condition, most: int = MOST_COUNTED) -> sa.ScalarSelect[int]:
    """The number of rows, counting to so many at most, as a part of a statement."""
    some = sa.select(sa.literal(1)).where(*conditions).limit(most).subquery()
    return sa.select(sa.func.count()).select_from(some).scalar_subquery()
