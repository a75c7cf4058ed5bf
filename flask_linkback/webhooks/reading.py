"""Reading: what deliveries have to know, for many at once, as they come in order."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..models import Event, Listener, ListenerSecret
from ..outbox.jobs import Claim
from ..outbox.membership import among, dialect_of
from ..outbox.readahead import ReadAhead
from ..site import Site
from .formats import body_of
from .recording import DELIVER

__all__ = ["Owed", "OwedAhead", "valid_secrets"]

M = TypeVar("M", Listener, Event)
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


def valid_secrets(now: datetime | sa.BindParameter[datetime]) -> sa.ColumnElement[bool]:
    """The condition that a secret signs at a time."""
    return sa.or_(_secret.c.expires_at.is_(None), _secret.c.expires_at > now)


class _Statements(NamedTuple):
    listeners: sa.Select[Any]
    events: sa.Select[Any]
    secrets: sa.Select[Any]


@functools.cache
def _statements(dialect: str) -> _Statements:
    """What deliveries ask: made once. JSON as text: a delivery may have values of its own."""
    columns = (sa.cast(each, sa.Text).label(each.name) if each.name in _JSON else each for each in _event.c)
    now: sa.BindParameter[Any] = sa.bindparam("now", type_=_secret.c.expires_at.type)
    return _Statements(
        listeners=sa.select(_listener).where(among(dialect, _listener.c.id, "ids")),
        events=sa.select(*columns).where(among(dialect, _event.c.id, "ids")),
        secrets=sa.select(_secret.c.listener_id, _secret.c.secret)
        .where(among(dialect, _secret.c.listener_id, "ids"), valid_secrets(now))
        .order_by(_secret.c.id.desc()),
    )


class OwedAhead(ReadAhead[Owed]):
    """What the next deliveries are about."""

    kind = DELIVER

    def read(self, site: Site, claims: Sequence[Claim]) -> dict[int, Owed]:
        """Return listener, event and secrets of some deliveries, by three statements."""
        session = site.session
        ask = _statements(dialect_of(session))
        listeners = _rows(session, ask.listeners, {claim.listener_id for claim in claims})
        events = {
            event_id: EventRead(row)
            for event_id, row in _rows(session, ask.events, {claim.event_id for claim in claims}).items()
        }
        secrets: dict[int | None, list[str]] = {}
        for listener_id, secret in session.execute(ask.secrets, {"ids": list(listeners), "now": site.now()}):
            secrets.setdefault(listener_id, []).append(str(secret))
        owed = {}
        for claim in claims:
            listener = listeners.get(claim.listener_id)
            owed[claim.id] = Owed(
                listener=None if listener is None else _object(Listener, listener),
                event=events.get(claim.event_id),
                secrets=secrets.get(claim.listener_id, ()),
            )
        return owed


def _rows(session: Session, asked: sa.Select[Any], ids: Iterable[int | None]) -> dict[int | None, Any]:
    found = session.execute(asked, {"ids": [each for each in ids if each is not None]})
    names = tuple(found.keys())
    rows = (dict(zip(names, row, strict=True)) for row in found)
    return {row["id"]: row for row in rows}
