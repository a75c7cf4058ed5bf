"""Reading: what deliveries have to know, for many at once, as they come in order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..models import Event, Job, Listener, ListenerSecret
from ..outbox.jobs import Claim
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


@dataclass(frozen=True, kw_only=True)
class Owed:
    """What a delivery is about; of a listener or event that is gone there is None."""

    listener: Mapping[str, Any] | None
    event: Mapping[str, Any] | None
    secrets: Sequence[str] = ()

    def new_listener(self) -> Listener | None:
        """Return an object that is nobody else's, and in no session."""
        return None if self.listener is None else _object(Listener, self.listener)

    def new_event(self) -> Event | None:
        if self.event is None:
            return None
        said = {name: None if self.event[name] is None else json.loads(self.event[name]) for name in _JSON}
        return _object(Event, {**self.event, **said})


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

    def take(self, session: Session, claim: Claim, now: datetime) -> Owed:
        """Return what a delivery is about. One that comes again comes alone."""
        if claim.attempts > 1:
            return _read(session, [claim.id], now).get(claim.id, _NOTHING)
        with self._lock:
            at, owed = self._owed.pop(claim.id, (0.0, _NOTHING))
            read_at = time.monotonic()
            if read_at - at <= _FRESH_SECONDS:
                return owed
            # several windows stand side by side: threads are not quite in order
            fresh = {id_: each for id_, each in self._owed.items() if read_at - each[0] <= _FRESH_SECONDS}
            for id_, found in _read(session, range(claim.id, claim.id + _AHEAD), now).items():
                fresh.setdefault(id_, (read_at, found))
            self._owed = fresh
            return fresh.pop(claim.id, (0.0, _NOTHING))[1]

    def forget(self) -> None:
        """Read all anew: a listener is another one now."""
        with self._lock:
            self._owed = {}


_NOTHING: Final = Owed(listener=None, event=None)


def valid_secrets(now: datetime) -> sa.ColumnElement[bool]:
    """The condition that a secret signs at a time."""
    return sa.or_(_secret.c.expires_at.is_(None), _secret.c.expires_at > now)


def _read(session: Session, job_ids: Sequence[int], now: datetime) -> dict[int, Owed]:
    """Return what some jobs are about, by three statements; the jobs themselves are not read again."""
    owed = session.execute(
        sa.select(_job.c.id, _job.c.listener_id, _job.c.event_id)
        .where(_job.c.id.between(job_ids[0], job_ids[-1]), _job.c.kind == DELIVER)
        .order_by(_job.c.id)
    ).all()
    listeners = _rows(session, _LISTENERS, {row.listener_id for row in owed})
    events = _rows(session, _EVENTS, {row.event_id for row in owed})
    secrets: dict[int, list[str]] = {}
    asked = sa.select(_secret.c.listener_id, _secret.c.secret).where(
        _secret.c.listener_id.in_(list(listeners)), valid_secrets(now)
    )
    for listener_id, secret in session.execute(asked.order_by(_secret.c.id.desc())):
        secrets.setdefault(listener_id, []).append(str(secret))
    return {
        row.id: Owed(
            listener=listeners.get(row.listener_id),
            event=events.get(row.event_id),
            secrets=secrets.get(row.listener_id, ()),
        )
        for row in owed
    }


_LISTENERS: Final = sa.select(_listener)
# JSON as text: each delivery has values of its own
_EVENTS: Final = sa.select(
    *(sa.cast(column, sa.Text).label(column.name) if column.name in _JSON else column for column in _event.c)
)


def _rows(session: Session, asked: sa.Select[Any], ids: Iterable[int]) -> dict[int, Mapping[str, Any]]:
    table = asked.selected_columns.id.table
    found = session.execute(asked.where(table.c.id.in_(list(ids))))
    return {row["id"]: dict(row) for row in found.mappings()}
