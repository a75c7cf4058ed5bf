"""Trying: why a listener gets an event or not, and what a filter would take of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from ..models import Event, Job, Listener
from ..site import Site
from .delivering import WHY_NOT
from .dispatch import hook_of
from .hooks import Hook, changed
from .listeners import ACTIVE, check_pattern, hears, is_asked_for
from .match import load
from .match import why as why_not
from .recording import DELIVER

__all__ = ["decides_itself", "judge", "recent", "try_filter", "unwanted", "why", "withheld"]

_LOOKED_AT: Final = 200
"""So many events are looked at for those that a filter left out."""
_ASKED: Final = 20
"""So many of them a hook is asked about that decides itself."""


def why(site: Site, event: Event, listener: Listener) -> str | None:
    """Return the first thing that keeps an event from a listener; None if it gets it."""
    if not hears(listener, event.hook, event.type):
        return f"It listens to {listener.hook}, not to {event.type}."
    if listener.state not in ACTIVE:
        return WHY_NOT[listener.state]
    if event.data is None:
        return "The event is not kept any more."
    return unwanted(site, event, listener)


def decides_itself(hook: Hook) -> bool:
    """Does a hook say who gets its events, so that no filter tells that alone?"""
    return not (
        type(hook).get_listeners is Hook.get_listeners and type(hook).event_filter is Hook.event_filter
    )


def unwanted(site: Site, event: Event, listener: Listener) -> str | None:
    """Return why the filter of a listener leaves out an event that it hears of; None if it takes it."""
    hook = hook_of(site, event.hook)
    if not decides_itself(hook):
        return why_not(load(listener.match), event.data or {}, event.changes)
    token = changed.set(event.changes or {})
    try:
        wanting = hook.get_listeners(None, event.data or {})
    finally:
        changed.reset(token)
    if any(each.id == listener.id for each in wanting):
        return None
    return f"{type(hook).__name__} decides itself, and leaves it out."


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
