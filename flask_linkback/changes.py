"""Changes: what a transaction did to the objects that somebody watches.

Flushes are collected and tagged with their savepoint; a savepoint that rolls back takes its
changes with it. The outermost commit coalesces them, object by object, and calls the watchers,
which write what they owe into the same transaction. What is flushed later in the same commit is
handed on at once.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction, UOWTransaction

from .errors import BulkRefused, ConfigError, LinkbackError
from .site import find_site

__all__ = [
    "BulkPolicy",
    "BulkStatement",
    "Change",
    "Kind",
    "Watch",
    "Watches",
    "listen",
    "note_call",
]

logger = logging.getLogger("flask_linkback.changes")


class Kind(enum.StrEnum):
    """What happened to an object in the transaction as a whole."""

    created = "created"
    """It was not there before."""
    updated = "updated"
    """It was there, and is another."""
    deleted = "deleted"
    """It is not there any more."""


class BulkPolicy(enum.StrEnum):
    """What to do about a statement that changes rows without loading objects."""

    event = "event"
    """Tell the watcher of the statement."""
    warning = "warning"
    """Log that the watcher does not hear of it."""
    error = "error"
    """Refuse it."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a transaction did to one object; ``fields`` maps names to (old, new)."""

    kind: Kind
    obj: Any
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BulkStatement:
    """A statement that changed rows of a watched model without loading them."""

    kind: Kind
    model: type[Any]
    statement: Any


Callback = Callable[[Session, Sequence[Change | BulkStatement]], None]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Somebody who wants to know what happens to objects of a model.

    ``fields`` are the columns whose old and new values are wanted: an update of others is not told.
    Without fields every update is told, without values. ``name`` is for messages.
    """

    name: str
    model: type[Any]
    callback: Callback
    fields: tuple[str, ...] = ()
    bulk: BulkPolicy = BulkPolicy.warning


class Watches:
    """Who watches what; shared by all applications of one extension object."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []
        self._by_class: dict[type[Any], tuple[Watch, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._watches)

    def watch(self, watch: Watch, *, allow_other_bind: bool = False) -> None:
        """Add a watch. A model of another bind is refused: its commit is not that of our tables."""
        table = sa.inspect(watch.model).local_table
        bind = table.metadata.info.get("bind_key")
        if bind is not None and not allow_other_bind:
            raise ConfigError(
                f"{watch.name}: {watch.model.__name__} lives in the bind {bind!r}, but what it owes is "
                "written to the default one, in another transaction. Pass allow_other_bind=True if a "
                "crash between the two commits may lose or invent an event."
            )
        for name in watch.fields:
            attribute = getattr(watch.model, name)
            if not event.contains(attribute, "set", _keep_old_value):
                event.listen(attribute, "set", _keep_old_value, active_history=True)
        self._watches.append(watch)
        self._by_class.clear()

    def of(self, cls: type[Any]) -> tuple[Watch, ...]:
        """Return who watches objects of this class."""
        found = self._by_class.get(cls)
        if found is None:
            found = tuple(each for each in self._watches if issubclass(cls, each.model))
            self._by_class[cls] = found
        return found


def _keep_old_value(target: Any, value: Any, old: Any, initiator: Any) -> None:
    """Does nothing: listening with ``active_history`` makes SQLAlchemy load the value before a change."""


# --- what a transaction holds ------------------------------------------------------------------------


@dataclass
class _Held:
    """What the running transaction of a session holds for us."""

    changes: list[tuple[SessionTransaction | None, Change | BulkStatement]] = field(default_factory=list)
    calls: list[tuple[SessionTransaction | None, str]] = field(default_factory=list)
    committing: bool = False
    committed: bool = False


_HELD: Final = "flask_linkback.held"
_ROUNDS: Final = 100


def _held(session: Session) -> _Held:
    held: _Held | None = session.info.get(_HELD)
    if held is None:
        held = session.info[_HELD] = _Held()
    return held


def _tag(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


def _is_within(transaction: SessionTransaction | None, outer: SessionTransaction) -> bool:
    while transaction is not None:
        if transaction is outer:
            return True
        transaction = transaction.parent
    return False


def note_call(session: Session, name: str) -> None:
    """Remember that an explicit call wrote rows: should nobody commit them, its name is logged."""
    _held(session).calls.append((_tag(session), name))


def _watches() -> Watches | None:
    site = find_site()
    watches = site.get(Watches) if site is not None else None
    return watches or None


# --- the events of a session -------------------------------------------------------------------------


def _after_flush(session: Session, context: UOWTransaction) -> None:
    watches = _watches()
    if watches is None:
        return
    found = list(_flushed(session, watches))
    if not found:
        return
    held = _held(session)
    tag = _tag(session)
    held.changes.extend((tag, change) for change in found)
    if held.committing:
        _hand_on(session, watches)


def _flushed(session: Session, watches: Watches) -> Iterator[Change]:
    for obj in session.new:
        if watches.of(type(obj)):
            fields = {name: (None, getattr(obj, name)) for name in _wanted(watches, obj)}
            yield Change(kind=Kind.created, obj=obj, fields=fields)
    for obj in session.dirty:
        watching = watches.of(type(obj))
        if watching and session.is_modified(obj, include_collections=False):
            yield Change(kind=Kind.updated, obj=obj, fields=_changed(watches, obj))
    for obj in session.deleted:
        if watches.of(type(obj)):
            state = sa.inspect(obj)
            fields = {name: (state.dict.get(name), None) for name in _wanted(watches, obj)}
            yield Change(kind=Kind.deleted, obj=obj, fields=fields)


def _wanted(watches: Watches, obj: Any) -> list[str]:
    return list(dict.fromkeys(name for watch in watches.of(type(obj)) for name in watch.fields))


def _changed(watches: Watches, obj: Any) -> dict[str, tuple[Any, Any]]:
    fields = {}
    attributes = sa.inspect(obj).attrs
    for name in _wanted(watches, obj):
        history = attributes[name].history
        if history.has_changes():
            old = history.deleted[0] if history.deleted else None
            new = history.added[0] if history.added else None
            fields[name] = (old, new)
    return fields


def _after_soft_rollback(session: Session, previous: SessionTransaction) -> None:
    held: _Held | None = session.info.get(_HELD)
    if held is not None:
        held.changes = [each for each in held.changes if not _is_within(each[0], previous)]
        if previous.nested:  # the outermost end tells of the others
            held.calls = [each for each in held.calls if not _is_within(each[0], previous)]


def _before_commit(session: Session) -> None:
    watches = _watches()
    if watches is None or session.in_nested_transaction():
        return
    session.flush()
    _hand_on(session, watches)
    _held(session).committing = True


def _hand_on(session: Session, watches: Watches) -> None:
    """Give the coalesced changes to their watchers, and what these cause, too."""
    held = _held(session)
    for _ in range(_ROUNDS):
        if not held.changes:
            return
        changes = _coalesced([change for _, change in held.changes])
        held.changes = []
        by_watch: dict[int, tuple[Watch, list[Change | BulkStatement]]] = {}
        for change in changes:
            for watch in watches.of(_class(change)):
                if _concerns(watch, change):
                    by_watch.setdefault(id(watch), (watch, []))[1].append(change)
        for watch, its_changes in by_watch.values():
            try:
                watch.callback(session, its_changes)
            except Exception as error:
                error.add_note(f"Raised for {watch.name}; so the commit fails.")
                raise
        if not held.committing:
            session.flush()
    raise LinkbackError(f"Watchers changed watched objects {_ROUNDS} times over in one commit.")


def _class(change: Change | BulkStatement) -> type[Any]:
    return change.model if isinstance(change, BulkStatement) else type(change.obj)


def _concerns(watch: Watch, change: Change | BulkStatement) -> bool:
    if isinstance(change, BulkStatement):
        return watch.bulk is BulkPolicy.event
    if change.kind is not Kind.updated or not watch.fields:
        return True
    return any(name in change.fields for name in watch.fields)


def _coalesced(changes: Sequence[Change | BulkStatement]) -> list[Change | BulkStatement]:
    """One change for each object: what the transaction did to it as a whole."""
    whole: dict[int, Change | BulkStatement | None] = {}
    for change in changes:
        if isinstance(change, BulkStatement):
            whole[id(change)] = change
            continue
        before = whole.get(id(change.obj))
        if isinstance(before, Change):
            whole[id(change.obj)] = _merged(before, change)
        else:
            whole[id(change.obj)] = change
    return [change for change in whole.values() if change is not None]


def _merged(first: Change, second: Change) -> Change | None:
    if first.kind is Kind.created and second.kind is Kind.deleted:
        return None
    fields = dict(first.fields)
    for name, (old, new) in second.fields.items():
        fields[name] = (fields[name][0] if name in fields else old, new)
    kind = Kind.created if first.kind is Kind.created else second.kind
    if kind is Kind.updated:
        changed = {name: pair for name, pair in fields.items() if pair[0] != pair[1]}
        if fields and not changed:
            return None
        fields = changed
    return Change(kind=kind, obj=second.obj, fields=fields)


def _after_commit(session: Session) -> None:
    if not session.in_nested_transaction() and _HELD in session.info:
        _held(session).committed = True


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is not None:
        return
    held: _Held | None = session.info.pop(_HELD, None)
    if held is not None and held.calls and not held.committed:
        names = ", ".join(dict.fromkeys(f"{name}()" for _, name in held.calls))
        logger.warning("What %s wrote was not committed: call db.session.commit().", names)


_BULK_KINDS: Final = {"is_insert": Kind.created, "is_update": Kind.updated, "is_delete": Kind.deleted}


def _do_orm_execute(state: ORMExecuteState) -> None:
    kind = next((kind for flag, kind in _BULK_KINDS.items() if getattr(state, flag)), None)
    mapper = state.bind_mapper
    watches = _watches() if kind is not None and mapper is not None else None
    if watches is None or kind is None or mapper is None:
        return
    for watch in watches.of(mapper.class_):
        name = mapper.class_.__name__
        match watch.bulk:
            case BulkPolicy.error:
                raise BulkRefused(f"{watch.name} does not see bulk statements: change {name} objects.")
            case BulkPolicy.warning:
                logger.warning("%s does not see a bulk statement on %s.", watch.name, name)
            case BulkPolicy.event:
                statement = BulkStatement(kind=kind, model=mapper.class_, statement=state.statement)
                _held(state.session).changes.append((_tag(state.session), statement))
                break


def _after_begin(session: Session, transaction: SessionTransaction, connection: sa.Connection) -> None:
    site = find_site()
    if site is not None:
        site.give_keys()


_EVENTS: Final[Mapping[str, Callable[..., None]]] = {
    "after_begin": _after_begin,
    "after_flush": _after_flush,
    "after_soft_rollback": _after_soft_rollback,
    "before_commit": _before_commit,
    "after_commit": _after_commit,
    "after_transaction_end": _after_transaction_end,
    "do_orm_execute": _do_orm_execute,
}


def listen(sessions: Any) -> None:
    """Hear the events of an application's sessions; once for each ``db.session``."""
    if not event.contains(sessions, "after_flush", _after_flush):
        for name, listener in _EVENTS.items():
            event.listen(sessions, name, listener)
