"""Reach: whose listeners, deliveries and events somebody sees, and which hooks may be listened to.

Who sees everybody's is held back by nothing here. Who sees one owner's alone sees the listeners of that one,
what these were owed, and the events that they hear of, whatever their filters say, if the application lets
the visitor see the hook: its function of @linkback.admin_access is asked for "view" with the hook, and for
"manage" before a listener of it is made. Of any other hook, and of one that decides itself who gets an event,
an owner sees what a listener of theirs was owed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from ...models import Event, Job, Listener
from ...webhooks.dispatch import decides_itself
from ...webhooks.hooks import Hook, ModelHook
from ...webhooks.listeners import is_asked_for, keys_of
from ...webhooks.recording import DELIVER
from ...webhooks.registry import HookRegistry
from .access import Right
from .screens import Visit

__all__ = [
    "deliveries",
    "events",
    "hooks",
    "keys_of_hook",
    "listeners",
    "may_ask_for",
    "types_of",
    "visible",
]

_MOST_PATTERNS: Final = 200


# --- rows ----------------------------------------------------------------------------------------------


def listeners(visit: Visit) -> list[Any]:
    """The condition that a listener is the visitor's; nothing for who sees all."""
    return [] if visit.owner is None else [Listener.owner == visit.owner]


def deliveries(visit: Visit) -> list[Any]:
    """The condition that a job is a delivery to a listener of the visitor's; nothing for who sees all."""
    if visit.owner is None:
        return []
    return [Job.kind == DELIVER, Job.listener_id.in_(sa.select(Listener.id).where(*listeners(visit)))]


def events(visit: Visit) -> list[Any]:
    """The condition that the visitor may see an event; nothing for who sees all."""
    if visit.owner is None:
        return []
    asked = sa.select(Listener.hook).where(*listeners(visit)).distinct().limit(_MOST_PATTERNS)
    heard = sa.or_(sa.false(), *map(is_asked_for, visit.site.session.scalars(asked)))
    got = sa.exists().where(Job.event_id == Event.id, *deliveries(visit))
    return [sa.or_(sa.and_(heard, Event.hook.in_(_open(visit))), got)]


def visible(visit: Visit, found: Iterable[Event]) -> list[Event]:
    """Return those of some events, which a listener of the visitor's hears of, that they may see."""
    several = list(found)
    if visit.owner is None:
        return several
    is_open = set(_open(visit))
    closed = [each.id for each in several if each.hook not in is_open]
    got: set[int | None] = set()
    if closed:
        told = sa.select(Job.event_id).where(Job.event_id.in_(closed), *deliveries(visit))
        got.update(visit.site.session.scalars(told))
    return [each for each in several if each.hook in is_open or each.id in got]


# --- hooks ---------------------------------------------------------------------------------------------


def hooks(visit: Visit, right: Right) -> Sequence[Hook]:
    """Return the hooks to whose events a visitor has a right, sorted by name."""
    found = sorted(visit.site.get(HookRegistry).values(), key=lambda hook: hook.name)
    return [hook for hook in found if visit.may(right, hook)]


def _open(visit: Visit) -> list[str]:
    """Return the names of the hooks whose events an owner sees as soon as they listen."""
    return [hook.name for hook in hooks(visit, Right.view) if not decides_itself(hook)]


def types_of(hook: Hook) -> list[str]:
    """Return the types of a hook's events."""
    return [f"{hook.name}.{kind}" for kind in hook.on] if isinstance(hook, ModelHook) else [hook.name]


def keys_of_hook(hook: Hook) -> list[str]:
    """Return the names and patterns by which one asks for a hook's events, the widest first."""
    types = types_of(hook)
    # by a pattern nobody hears of a hook whose one type is its name
    return [hook.name, *types, f"{hook.name}.*"] if types != [hook.name] else types


def may_ask_for(visit: Visit, pattern: str) -> bool:
    """May the visitor have a listener of this name or pattern?

    An owner may if each hook that it stands for is open to them; none may by ``*``, which stands for
    whatever there will be.
    """
    if visit.owner is None:
        return True
    every = visit.site.get(HookRegistry).values()
    asked = [each for each in every if any(pattern in keys_of(each.name, type_) for type_ in types_of(each))]
    return bool(asked) and pattern != "*" and all(visit.may(Right.manage, each) for each in asked)
