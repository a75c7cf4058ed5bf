"""Trying: why a listener gets an event or not, and what a filter would take of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..models import Event, Listener
from ..site import Site
from .delivering import WHY_NOT
from .dispatch import hook_of
from .hooks import Hook, changed
from .listeners import ACTIVE, check_pattern, hears
from .match import load
from .match import why as why_not

__all__ = ["try_filter", "unwanted", "why"]


def why(site: Site, event: Event, listener: Listener) -> str | None:
    """Return the first thing that keeps an event from a listener; None if it gets it."""
    if not hears(listener, event.hook, event.type):
        return f"It listens to {listener.hook}, not to {event.type}."
    if listener.state not in ACTIVE:
        return WHY_NOT[listener.state]
    if event.data is None:
        return "The event is not kept any more."
    return unwanted(site, event, listener)


def unwanted(site: Site, event: Event, listener: Listener) -> str | None:
    """Return why the filter of a listener leaves out an event that it hears of; None if it takes it."""
    hook = hook_of(site, event.hook)
    if type(hook).get_listeners is Hook.get_listeners and type(hook).event_filter is Hook.event_filter:
        return why_not(load(listener.match), event.data or {}, event.changes)
    token = changed.set(event.changes or {})
    try:
        wanting = hook.get_listeners(None, event.data or {})
    finally:
        changed.reset(token)
    if any(each.id == listener.id for each in wanting):
        return None
    return f"{type(hook).__name__} decides itself, and leaves it out."


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
