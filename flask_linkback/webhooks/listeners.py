"""Listeners: who wants to hear of what, where, and with which secret it is signed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from .. import changes
from ..changes import BulkPolicy, BulkStatement, Change, Kind, Watch
from ..errors import BadSecret
from ..fetch import check_url
from ..models import (
    Event,
    Job,
    Listener,
    ListenerPace,
    ListenerSecret,
    ListenerState,
    ListenerVersion,
    Secret,
    digest,
    host_of,
)
from ..outbox import jobs
from ..protocols import standardwebhooks
from ..site import Site
from .match import dump
from .options import checked_options
from .recording import DELIVER
from .shaking import owe_handshake

__all__ = [
    "LISTENER_OPTIONS",
    "NewListener",
    "WATCH",
    "active_listeners",
    "add_listener",
    "forget",
    "hears",
    "is_asked_for",
    "keys_of",
]

LISTENER_OPTIONS: Final = ("event", "secret", "owner", "headers", "options", "config", "handshake")
"""What is said of a listener beside its URL and match; whatever else is said is its configuration."""
ACTIVE: Final = (ListenerState.active, ListenerState.failing)
"""Who gets events."""
_PATTERN: Final = re.compile(r"[^*\x00-\x20]+|(?:[^*\x00-\x20]+\.)?\*")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?|")
_OURS: Final = re.compile(
    r"(?i)webhook-.*|host|content-length|content-type|transfer-encoding|connection|expect|upgrade|te|trailer"
)
MAX_HEADERS: Final = 32
MAX_HEADER_CHARACTERS: Final = 4096
_listener: Final = Listener.__table__
_version: Final = ListenerVersion.__table__


@dataclass(frozen=True, kw_only=True)
class NewListener:
    """A listener to be: ``hook`` is a name, a type of event, or a pattern such as ``"person.*"``."""

    hook: str
    url: str
    match: Any = None
    secret: str | None = None
    owner: str | None = None
    headers: Mapping[str, str] | None = None
    options: Mapping[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    handshake: bool = False
    """Whether it is asked first whether it wants our events (CloudEvents, web hooks, section 4)."""


def add_listener(site: Site, new: NewListener) -> Listener:
    """Write a listener and its secret into the current session, flush, and return it. The caller commits.

    ValueError for a pattern, header, option, secret or filter that cannot be, `AddressRefused` for such URLs.
    """
    check_url(new.url)
    check_pattern(new.hook)
    headers = checked_headers(new.headers or {})
    secret = new.secret or standardwebhooks.new_secret()
    check_secret(secret)
    now, session = site.now(), site.session
    if new.handshake:
        _ = site.base_url  # as whom we ask; raises BaseURLMissing
    listener = Listener(
        hook=new.hook,
        hook_hash=digest(new.hook),
        url=new.url,
        host=host_of(new.url),
        owner=new.owner,
        state=ListenerState.unverified if new.handshake else ListenerState.active,
        match=dump(new.match),
        config=dict(new.config) or None,
        headers=headers or None,
        options=checked_options(new.options or {}) or None,
        created_at=now,
        updated_at=now,
    )
    session.add(listener)
    session.flush()
    session.add(ListenerSecret(listener_id=listener.id, secret=Secret(secret), created_at=now))
    session.flush()
    if new.handshake:
        owe_handshake(session, listener)
    changes.note_call(session, "save")
    return listener


def check_pattern(hook: str) -> None:
    """Refuse what is no name and no pattern: a star stands alone, or for all that follows a dot."""
    if not _PATTERN.fullmatch(hook):
        raise ValueError(f"{hook[:80]!r} is no name of a hook, nor a pattern such as 'person.*'.")


def check_secret(secret: str) -> None:
    """Refuse what nobody can sign with; raises `BadSecret`, a ValueError."""
    standardwebhooks.check_secret(secret)
    if secret.startswith(standardwebhooks.PUBLIC_KEY):
        raise BadSecret(
            f"A key {standardwebhooks.PUBLIC_KEY}... only verifies: give the "
            f"{standardwebhooks.PRIVATE_KEY}... of the pair."
        )


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers as they can be sent; ValueError for those that cannot, or that are ours to say."""
    if len(headers) > MAX_HEADERS:
        raise ValueError(f"A listener has {MAX_HEADERS} headers at most.")
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name) or _OURS.fullmatch(name):
            raise ValueError(f"A delivery cannot be given the header {str(name)[:80]!r}.")
        if not isinstance(value, str) or len(value) > MAX_HEADER_CHARACTERS or not _VALUE.fullmatch(value):
            raise ValueError(f"The value of the header {name!r} cannot be sent.")
    return dict(headers)


# --- who hears what ----------------------------------------------------------------------------------


def keys_of(hook: str, type_: str) -> list[str]:
    """Return the names and patterns by which listeners ask for an event of a type, of a hook."""
    keys = [hook, type_, "*"]
    keys += [f"{type_[:at]}.*" for at, character in enumerate(type_) if character == "."]
    return list(dict.fromkeys(keys))


def hears(listener: Listener, hook: str, type_: str) -> bool:
    """Did a listener ask for events of this type?"""
    return listener.hook in keys_of(hook, type_)


def is_asked_for(pattern: str) -> sa.ColumnElement[bool]:
    """The condition that an event is of a hook, of a type or of a pattern."""
    if pattern == "*":
        return sa.true()
    if pattern.endswith(".*"):
        return sa.or_(Event.type.startswith(pattern[:-1], autoescape=True), Event.hook == pattern)
    return sa.or_(Event.type == pattern, Event.hook == pattern)


def active_listeners(session: Session, hook: str) -> Sequence[Listener]:
    """Return who may get events of a hook, whatever their type."""
    keys = [key for kind in ("", *(f".{each.value}" for each in Kind)) for key in keys_of(hook, hook + kind)]
    hashes = [digest(key) for key in dict.fromkeys(keys)]
    asked = sa.select(Listener).where(Listener.hook_hash.in_(hashes), Listener.state.in_(ACTIVE))
    return session.scalars(asked.order_by(Listener.id)).all()


# --- what indexes know ----------------------------------------------------------------------------------


def _changed(session: Session, seen: Sequence[Change | BulkStatement]) -> None:
    """Count a change of listeners, for all who keep an index of them, in the transaction that makes it."""
    hashes: set[str] = set()
    ids: list[int] = []
    for change in seen:
        if isinstance(change, BulkStatement):
            session.execute(sa.update(_version).values(number=_version.c.number + 1))
            session.execute(sa.update(_listener).values(version=_listener.c.version + 1))
            continue
        old, new = change.fields.get("hook_hash", (None, None))
        hashes |= {each for each in (old, new, change.obj.__dict__.get("hook_hash")) if each}
        (listener_id,) = sa.inspect(change.obj).identity
        if change.kind is Kind.updated:
            ids.append(listener_id)
        elif change.kind is Kind.deleted:
            forget(session, listener_id)
    if ids:
        session.execute(
            sa.update(_listener).where(_listener.c.id.in_(ids)).values(version=_listener.c.version + 1)
        )
    count_changes(session, hashes)


def forget(session: Session, listener_id: int) -> None:
    """Give up what waits for a listener that goes, and delete what is of it alone."""
    jobs.cancel(session, "The listener is gone.", Job.listener_id == listener_id, Job.kind == DELIVER)
    for kind in (ListenerSecret, ListenerPace):  # SQLite does not do so by itself
        session.execute(sa.delete(kind).where(kind.listener_id == listener_id))


def count_changes(session: Session, hashes: Iterable[str]) -> None:
    """Let everybody's indexes of these names read again; in one order, so that nobody waits in a ring."""
    rows = [{"hook_hash": each, "number": 1} for each in sorted(hashes)]
    if not rows:
        return
    is_postgresql = session.get_bind(clause=sa.insert(_version)).dialect.name == "postgresql"
    insert: Any = (postgresql_insert if is_postgresql else sqlite_insert)(_version)
    more = insert.on_conflict_do_update(index_elements=["hook_hash"], set_={"number": _version.c.number + 1})
    session.execute(more, rows)


WATCH: Final = Watch(
    name="Listeners",
    model=Listener,
    callback=_changed,
    fields=("hook_hash", "match"),
    bulk=BulkPolicy.event,
)
"""What an index holds is watched; who gets something at all, by state, is asked for when it is sent."""
