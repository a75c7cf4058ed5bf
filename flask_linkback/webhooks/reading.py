"""Reading: what deliveries have to know, for many at once, as they come in order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..models import Event, Job, Listener, ListenerSecret
from ..outbox.jobs import Claim
from ..site import Site
from .formats import body_of
from .recording import DELIVER

__all__ = ["Owed", "ReadAhead", "valid_secrets"]

M = TypeVar("M", Listener, Event)
_AHEAD: Final = 64
"""So many ids of jobs are looked at at once."""
_FRESH_SECONDS: Final = 0.25
"""What was read before is read again."""
_job: Final = Job.__table__
_listener: Final = Listener.__table__
_event: Final = Event.__table__
_secret: Final = ListenerSecret.__table__
_JSON: Final = ("data", "changes")


class EventRead:
    """An event as it was read, for all deliveries of it that were read together."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row

    def new(self) -> Event:
        """Return an object whose values are nobody else's."""
        said = {name: None if self._row[name] is None else json.loads(self._row[name]) for name in _JSON}
        return _object(Event, {**self._row, **said})

    @cached_property
    def shared(self) -> Event:
        """The object of all those who only look at it."""
        return self.new()

    @cached_property
    def body(self) -> bytes:
        """What is sent of it where its hook says nothing else."""
        return body_of(self.shared)


@dataclass(frozen=True, kw_only=True)
class Owed:
    """What a delivery is about; of a listener or event that is gone there is None."""

    listener: Listener | None
    """An object of its own, in no session."""
    event: EventRead | None
    secrets: Sequence[str] = ()


def _object(model: type[M], values: Mapping[str, Any]) -> M:
    """Return an object with these values as if it had been loaded; the constructor takes its time."""
    found: M = model.__mapper__.class_manager.new_instance()
    found.__dict__.update(values)
    return found


class ReadAhead:
    """What the next deliveries are about."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owed: dict[int, tuple[float, Owed]] = {}
        """By the ids of jobs: what nobody has asked for yet, and when (time.monotonic) it was read."""

    def take(self, site: Site, claim: Claim) -> Owed:
        """Return what a delivery is about. One that comes again comes alone."""
        if claim.attempts > 1:
            return _read(site, [claim.id]).get(claim.id, _NOTHING)
        with self._lock:
            at, owed = self._owed.pop(claim.id, (0.0, _NOTHING))
            read_at = time.monotonic()
            if read_at - at <= _FRESH_SECONDS:
                return owed
            # several windows stand side by side: threads are not quite in order
            fresh = {id_: each for id_, each in self._owed.items() if read_at - each[0] <= _FRESH_SECONDS}
            for id_, found in _read(site, range(claim.id, claim.id + _AHEAD)).items():
                fresh.setdefault(id_, (read_at, found))
            self._owed = fresh
            return fresh.pop(claim.id, (0.0, _NOTHING))[1]

    def forget(self) -> None:
        """Read all anew: a listener is another one now."""
        with self._lock:
            self._owed = {}


_NOTHING: Final = Owed(listener=None, event=None)


def valid_secrets(now: datetime | sa.BindParameter[datetime]) -> sa.ColumnElement[bool]:
    """The condition that a secret signs at a time."""
    return sa.or_(_secret.c.expires_at.is_(None), _secret.c.expires_at > now)


# deliveries ask this: it is made once. JSON as text: a delivery may have values of its own
_OWED: Final = (
    sa.select(_job.c.id, _job.c.listener_id, _job.c.event_id)
    .where(_job.c.id.between(sa.bindparam("first"), sa.bindparam("last")), _job.c.kind == DELIVER)
    .order_by(_job.c.id)
)
_IDS: Final[sa.BindParameter[Any]] = sa.bindparam("ids", expanding=True)
_LISTENERS: Final = sa.select(_listener).where(_listener.c.id.in_(_IDS))
_EVENTS: Final = sa.select(
    *(sa.cast(column, sa.Text).label(column.name) if column.name in _JSON else column for column in _event.c)
).where(_event.c.id.in_(_IDS))
_SECRETS: Final = (
    sa.select(_secret.c.listener_id, _secret.c.secret)
    .where(
        _secret.c.listener_id.in_(_IDS),
        valid_secrets(sa.bindparam("now", type_=_secret.c.expires_at.type)),
    )
    .order_by(_secret.c.id.desc())
)


def _read(site: Site, job_ids: Sequence[int]) -> dict[int, Owed]:
    """Return what some jobs are about, by four statements."""
    session = site.session
    owed = session.execute(_OWED, {"first": job_ids[0], "last": job_ids[-1]}).all()
    listeners = _rows(session, _LISTENERS, {row.listener_id for row in owed})
    events = {
        event_id: EventRead(row)
        for event_id, row in _rows(session, _EVENTS, {row.event_id for row in owed}).items()
    }
    secrets: dict[int, list[str]] = {}
    for listener_id, secret in session.execute(_SECRETS, {"ids": list(listeners), "now": site.now()}):
        secrets.setdefault(listener_id, []).append(str(secret))
    return {
        row.id: Owed(
            listener=_object(Listener, found) if (found := listeners.get(row.listener_id)) else None,
            event=events.get(row.event_id),
            secrets=secrets.get(row.listener_id, ()),
        )
        for row in owed
    }


def _rows(session: Session, asked: sa.Select[Any], ids: Iterable[int | None]) -> dict[int, Any]:
    found = session.execute(asked, {"ids": list(ids)})
    names = tuple(found.keys())
    rows = (dict(zip(names, row, strict=True)) for row in found)
    return {row["id"]: row for row in rows}
