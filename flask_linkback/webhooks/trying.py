"""Trying: why a listener gets an event or not, and what a filter would take of what happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from ..errors import MatchError
from ..models import Event, Job, Listener
from ..site import Site
from .delivering import NOT_KEPT, WHY_NOT
from .dispatch import decides_itself, hook_of, matched
from .listeners import ACTIVE, check_pattern, hears, is_asked_for
from .match import load
from .match import why as why_not
from .recording import DELIVER

__all__ = ["judge", "recent", "try_filter", "unwanted", "why", "why_each", "withheld"]
_LOOKED_AT: Final = 200
"""So many events are looked at for those that a filter left out."""
_ASKED: Final = 20
"""So many of them a hook is asked about that decides itself."""


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


def recent(
    site: Site, pattern: str | None = None, last: int = 50, *conditions: Any, within: int | None = None
) -> Sequence[Event]:
    """Return the newest events of a name or pattern that are kept; looked for ``within`` so many of all."""
    newest = sa.select(Event).where(Event.data.is_not(None), *conditions).order_by(Event.id.desc())
    if pattern is not None:
        check_pattern(pattern)
        newest = newest.where(is_asked_for(pattern))
    if within is not None:
        newest = newest.where(Event.id > sa.select(sa.func.max(Event.id) - within).scalar_subquery())
    return site.session.scalars(newest.limit(last)).all()


def judge(filter_: Any, events: Sequence[Event]) -> Sequence[tuple[Event, bool, str]]:
    """Return events, whether a filter takes each, and why not."""
    found = []
    for each in events:
        reason = why_not(filter_, each.data or {}, each.changes)
        found.append((each, reason is None, reason or ""))
    return found


def try_filter(
    site: Site, filter_: Any, last: int = 50, event: str | None = None
) -> Sequence[tuple[Event, bool, str]]:
    """Return the newest events of a name or pattern, whether a filter takes each, and why not."""
    return judge(filter_, recent(site, event, last))


def withheld(
    site: Site, listener: Listener, last: int = 50, *, within: int | None = None
) -> Sequence[tuple[Event, str]]:
    """Return the newest events that a listener heard of and its filter leaves out, and why.

    Of the newest 200 since it is there. What was owed to it, by a filter of before, is none of these.
    """
    since = (Event.created_at >= listener.created_at, Event.dispatched_at.is_not(None))
    heard = recent(site, listener.hook, _LOOKED_AT, *since, within=within)
    owed = sa.select(Job.event_id).where(
        Job.listener_id == listener.id, Job.kind == DELIVER, Job.event_id.in_([each.id for each in heard])
    )
    told = set(site.session.scalars(owed))
    found: list[tuple[Event, str]] = []
    asked = 0
    for each in heard:
        if each.id in told or len(found) == last:
            continue
        if decides_itself(hook_of(site, each.hook)):
            asked += 1
            if asked > _ASKED:
                continue
        reason = unwanted(site, each, listener)
        if reason is not None:
            found.append((each, reason))
    return found
