"""Trying: why a listener gets an event or not, and what a filter would take of what happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from ..errors import MatchError
from ..models import Event, Listener
from ..site import Site
from .delivering import NOT_KEPT, WHY_NOT
from .dispatch import decides_itself, hook_of, matched
from .listeners import ACTIVE, check_pattern, hears
from .match import load
from .match import why as why_not

__all__ = ["try_filter", "unwanted", "why", "why_each"]


def why(site: Site, event: Event, listener: Listener) -> str | None:
    """Return the first thing that keeps an event from a listener; None if it gets it."""
    return why_each(site, event, [listener])[listener.id]


def why_each(site: Site, event: Event, listeners: Iterable[Listener]) -> dict[int, str | None]:
    """The same as `why` of several listeners, by their ids; a hook that decides itself is asked once."""
    found: dict[int, str | None] = {}
    left: list[Listener] = []
    for listener in listeners:
        reason = _out_of_reach(event, listener)
        if reason is None:
            left.append(listener)
        else:
            found[listener.id] = reason
    return found | _unwanted(site, event, left)


def unwanted(site: Site, event: Event, listener: Listener) -> str | None:
    """Return why the filter of a listener leaves out an event that it hears of; None if it takes it."""
    return _unwanted(site, event, [listener])[listener.id]


def _out_of_reach(event: Event, listener: Listener) -> str | None:
    """Return what keeps an event from a listener, whatever its filter says."""
    if not hears(listener, event.hook, event.type):
        return f"It listens to {listener.hook}, not to {event.type}."
    if listener.state not in ACTIVE:
        return WHY_NOT[listener.state]
    return NOT_KEPT if event.data is None else None


def _unwanted(site: Site, event: Event, listeners: Sequence[Listener]) -> dict[int, str | None]:
    if not listeners:
        return {}
    hook = hook_of(site, event.hook)
    if decides_itself(hook):
        wanting = matched(site, site.session, event)
        left_out = f"{type(hook).__name__} decides itself, and leaves it out."
        return {each.id: None if each.id in wanting else left_out for each in listeners}
    return {each.id: _unmet(event, each) for each in listeners}


def _unmet(event: Event, listener: Listener) -> str | None:
    try:
        wanted = load(listener.match)
    except MatchError as error:
        return f"Its filter cannot be read: {error}"
    return why_not(wanted, event.data or {}, event.changes)


def try_filter(
    site: Site, filter_: Any, last: int = 50, event: str | None = None
) -> Sequence[tuple[Event, bool, str]]:
    """Return the newest events of a name or pattern, whether a filter takes each, and why not."""
    newest = sa.select(Event).where(Event.data.is_not(None)).order_by(Event.id.desc())
    if event is not None:
        check_pattern(event)
        of_type = Event.type == event
        if event.endswith("*"):
            of_type = Event.type.startswith(event[:-1], autoescape=True)
        newest = newest.where(sa.or_(of_type, Event.hook == event))
    found = []
    for each in site.session.scalars(newest.limit(last)):
        reason = why_not(filter_, each.data or {}, each.changes)
        found.append((each, reason is None, reason or ""))
    return found
