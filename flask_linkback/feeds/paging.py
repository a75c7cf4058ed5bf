"""Paging: a long feed in several documents: pages that shift, or archives that stay (RFC 5005)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, tzinfo
from typing import TYPE_CHECKING, Any, Final

from werkzeug.exceptions import NotFound

from ..errors import ImproperlyConfigured
from .extensions import Archive, Extension
from .hooks import bind
from .values import moment

if TYPE_CHECKING:
    from .view import Feed

__all__ = ["ARCHIVE", "PAGE", "NoSuchPart", "Part", "part_of"]

PAGE: Final = "page"
ARCHIVE: Final = "archive"
_PERIODS: Final[Mapping[str, str]] = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d"}


class NoSuchPart(NotFound):
    """The feed is there, but no such page or archive of it."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one document of a feed has, and how it leads to the others."""

    items: Iterable[Any]
    links: Sequence[tuple[str, str]] = ()
    """Pairs of a relation and a URL."""
    extensions: Sequence[Extension] = field(default_factory=tuple)


def part_of(
    view: Feed,
    items: Any,
    arguments: Mapping[str, str],
    address: Callable[[Mapping[str, str]], str],
    zone: tzinfo,
) -> Part:
    """Return the part of a feed's items that the arguments of its URL choose; there is no other (404).

    ``address`` makes the URL of a document from its arguments.
    """
    if view.archive_by is not None:
        return _archive(view, items, arguments.get(ARCHIVE), address, zone)
    if view.paginate_by is not None:
        return _page(view.paginate_by, items, arguments.get(PAGE), address)
    return Part(items=items)


# --- pages -------------------------------------------------------------------------------------------


def _page(size: int, items: Any, asked: str | None, address: Callable[[Mapping[str, str]], str]) -> Part:
    """A page by its number, from 1 on (RFC 5005, section 3)."""
    number = _number(asked)
    start = (number - 1) * size
    found = _slice(items, start, start + size + 1)
    if not found and number > 1:
        raise NoSuchPart("The feed has no such page.")

    def at(page: int) -> str:
        return address({PAGE: str(page)} if page > 1 else {})

    links = [("first", at(1))]
    if number > 1:
        links.append(("previous", at(number - 1)))
    if len(found) > size:
        links.append(("next", at(number + 1)))
    count = _count(items)
    if count is not None:
        links.append(("last", at(max(1, -(-count // size)))))
    return Part(items=found[:size], links=links)


def _number(asked: str | None) -> int:
    if asked is None:
        return 1
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 9 and int(asked) > 0):
        raise NoSuchPart("The feed has no such page.")
    return int(asked)


def _slice(items: Any, start: int, end: int) -> Sequence[Any]:
    """Some of the items; a query of SQLAlchemy asks the database for no more than these."""
    if hasattr(items, "__getitem__"):
        return list(items[start:end])
    return list(itertools.islice(items, start, end))


def _count(items: Any) -> int | None:
    """How many there are, where that can be known without a look at each."""
    if isinstance(items, Sequence):
        return len(items)
    count = getattr(items, "count", None)
    return int(count()) if callable(count) and hasattr(items, "__getitem__") else None


# --- archives ----------------------------------------------------------------------------------------


def _archive(
    view: Feed,
    items: Iterable[Any],
    asked: str | None,
    address: Callable[[Mapping[str, str]], str],
    zone: tzinfo,
) -> Part:
    """The documents of a feed by the date of its items (RFC 5005, section 4).

    The feed itself has the newest period; those before it are archives, which no longer change.
    """
    periods = _by_period(view, items, zone)
    newest_first = sorted(periods, reverse=True)
    current, archives = (newest_first[0], newest_first[1:]) if newest_first else (None, [])

    def at(period: str) -> str:
        return address({ARCHIVE: period})

    if asked is None:
        links = [("prev-archive", at(archives[0]))] if archives else []
        return Part(items=periods[current] if current is not None else [], links=links)
    if asked not in archives:
        raise NoSuchPart("The feed has no such archive.")
    place = archives.index(asked)
    links = [("current", address({}))]
    if place + 1 < len(archives):
        links.append(("prev-archive", at(archives[place + 1])))
    if place > 0:
        links.append(("next-archive", at(archives[place - 1])))
    return Part(items=periods[asked], links=links, extensions=[Archive()])


def _by_period(view: Feed, items: Iterable[Any], zone: tzinfo) -> dict[str, list[Any]]:
    date_of = bind(view, "item_pubdate")
    pattern = _PERIODS.get(view.archive_by or "")
    if date_of is None or pattern is None:
        raise ImproperlyConfigured(
            f"{type(view).__name__}.archive_by is {view.archive_by!r}: it must be one of "
            f"{', '.join(_PERIODS)}, and there must be item_pubdate."
        )
    periods: dict[str, list[Any]] = {}
    for item in items:
        day: date | None = date_of(item)
        period = moment(day, zone).astimezone(zone).strftime(pattern) if day is not None else ""
        periods.setdefault(period, []).append(item)
    undated = periods.pop("", [])  # what has no date is always new
    if undated:
        newest = max(periods, default="")
        periods[newest] = [*undated, *periods.get(newest, [])]
    return periods
