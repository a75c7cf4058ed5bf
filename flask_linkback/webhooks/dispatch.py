"""Dispatch: an event becomes one delivery for each listener that wants it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import signals
from ..models import Event, Listener, ListenerVersion, digest
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.membership import among, dialect_of
from ..outbox.writers import Writers
from ..site import Site
from .hooks import Hook, changed
from .index import MatchIndex
from .listeners import ACTIVE, hears, keys_of
from .match import load
from .recording import DELIVER, MAX_DEPTH
from .registry import HookRegistry

__all__ = ["Indexes", "decides_itself", "dispatch", "hook_of", "matched", "owe_deliveries"]

_listener: Final = Listener.__table__
_version: Final = ListenerVersion.__table__


@dataclass
class _Kept:
    """The index of the listeners of one name or pattern, and what was read into it."""

    number: int = 0
    """The `ListenerVersion` that it is of."""
    versions: dict[int, int] = field(default_factory=dict)
    index: MatchIndex[int] = field(default_factory=MatchIndex)


class Indexes:
    """The filters of all listeners, in memory: one index for each name or pattern that is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def match(self, session: Session, keys: Iterable[str], event: Event) -> set[int]:
        """Return the ids of the listeners of these names whose filters take an event.

        Listeners that were committed before this was asked count, whichever process made them.
        """
        hashes = {digest(key) for key in keys}
        asked = sa.select(_version.c.hook_hash, _version.c.number).where(_version.c.hook_hash.in_(hashes))
        found: set[int] = set()
        for hook_hash, number in session.execute(asked).all():
            index = self._read(session, hook_hash, number)
            found |= index.match(event.data or {}, event.changes)
        return found

    def _read(self, session: Session, hook_hash: str, number: int) -> MatchIndex[int]:
        with self._lock:
            kept = self._kept.setdefault(hook_hash, _Kept())
            if kept.number != number:
                self._refresh(session, hook_hash, kept)
                kept.number = number
            return kept.index

    @staticmethod
    def _refresh(session: Session, hook_hash: str, kept: _Kept) -> None:
        """Read which listeners there are, and the filters of those that are others."""
        of_this = _listener.c.hook_hash == hook_hash
        rows = session.execute(sa.select(_listener.c.id, _listener.c.version).where(of_this))
        now = {row.id: row.version for row in rows}
        for listener_id in kept.versions.keys() - now.keys():
            kept.index.remove(listener_id)
            del kept.versions[listener_id]
        news = [key for key, version in now.items() if kept.versions.get(key) != version]
        read = sa.select(_listener.c.id, _listener.c.match, _listener.c.version)
        for chunk in _chunks(news):
            for row in session.execute(read.where(_listener.c.id.in_(chunk))):
                if row.id in kept.versions:
                    kept.index.remove(row.id)
                kept.index.add(row.id, load(row.match))
                kept.versions[row.id] = row.version


def _chunks(ids: list[int], size: int = 500) -> Iterable[list[int]]:
    return (ids[at : at + size] for at in range(0, len(ids), size))


def hook_of(site: Site, name: str) -> Hook:
    """Return the hook of an event; of one that is not registered (any more), what all have in common."""
    hook = site.get(HookRegistry).get(name)
    return hook if hook is not None else Hook(name)


def decides_itself(hook: Hook) -> bool:
    """Does the application say who gets the events of a hook, and not the filters alone?"""
    kind = type(hook)
    return kind.get_listeners is not Hook.get_listeners or kind.event_filter is not Hook.event_filter


def sends_as_it_is(hook: Hook) -> bool:
    """Does a hook leave it to us what is sent of its events?"""
    kind = type(hook)
    return kind.serialize is Hook.serialize and kind.deliver is Hook.deliver


def matched(site: Site, session: Session, event: Event) -> set[int]:
    """Return the ids of the listeners that want an event, active or not."""
    hook = hook_of(site, event.hook)
    if not decides_itself(hook):
        return site.get(Indexes).match(session, keys_of(event.hook, event.type), event)
    token = changed.set(event.changes or {})
    try:
        wanting = hook.get_listeners(None, event.data or {})
    finally:
        changed.reset(token)
    return {each.id for each in wanting if hears(each, event.hook, event.type)}


def dispatch(site: Site, claim: Claim) -> Outcome:
    """Handle a job: find out who wants an event, and owe it to each of them, once.

    Of one thing, in the order in which it happened: so its deliveries have their order, too.
    """
    return jobs.wait_turn(site, claim) or jobs.in_order(claim, _dispatch(site, claim))


def _dispatch(site: Site, claim: Claim) -> Outcome:
    session = site.session
    event = None if claim.event_id is None else session.get(Event, claim.event_id)
    if event is None:
        return jobs.done("The event is not kept any more.")
    if event.dispatched_at is not None:
        return jobs.done()
    if event.depth >= MAX_DEPTH:
        return jobs.dead(f"{MAX_DEPTH} webhooks led to it, one causing the other: it looks like a loop.")
    event_id = event.id
    ids = matched(site, session, event)
    session.rollback()

    def write() -> bool:
        if not jobs.is_ours(session, claim):
            session.rollback()
            return False
        first = sa.update(Event).where(Event.id == event_id, Event.dispatched_at.is_(None))
        was_first = session.execute(first.values(dispatched_at=site.now())).rowcount  # type: ignore[attr-defined]
        if was_first:
            owe_deliveries(session, event, ids)
        session.commit()
        return bool(was_first)

    if site.get(Writers).record(site.engine, session, write):
        site.send(signals.event_recorded, event=event)
    return jobs.done()


def owe_deliveries(session: Session, event: Event, ids: Collection[int]) -> int:
    """Owe an event to those of some listeners that are active; return their number. The caller commits."""
    if not ids:
        return 0
    key = None
    if event.order_hash is not None:
        key = sa.cast(Listener.id, sa.String) + sa.literal(f":{event.order_hash}")
    return jobs.add_for_each(
        session,
        DELIVER,
        where=(among(dialect_of(session), Listener.id, ids), Listener.state.in_(ACTIVE)),
        host=Listener.host,
        key=key,
        listener_id=Listener.id,
        event_id=event.id,
    )
