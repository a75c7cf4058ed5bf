"""Changes: what a transaction did to the objects that somebody watches.

Flushes are collected and tagged with their savepoint; a savepoint that rolls back takes its
changes with it. The outermost commit coalesces them, object by object, and calls the watchers,
which write what they owe into the same transaction. What is flushed later in the same commit is
handed on at once.

Not seen, because SQLAlchemy tells nobody: ``bulk_save_objects`` and its kin, rows that the database
deletes by ON DELETE CASCADE, and statements on connections that are not the session's.
"""

from __future__ import annotations

import enum
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import (
    InstanceState,
    InstrumentedAttribute,
    ORMExecuteState,
    Session,
    SessionTransaction,
    UOWTransaction,
    class_mapper,
)
from sqlalchemy.orm.attributes import get_history, instance_state
from sqlalchemy.orm.base import PASSIVE_NO_INITIALIZE
from sqlalchemy.orm.exc import ObjectDeletedError

from .errors import ConfigError, LinkbackError, did_you_mean
from .site import find_site

__all__ = [
    "BulkPolicy",
    "BulkRefused",
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


class BulkRefused(LinkbackError):
    """A bulk statement would change watched rows unseen."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a transaction did to one object; ``fields`` maps names to (old, new).

    The old value of a created object is None, and so is the new one of a deleted object. None as the
    old value of an updated object may also mean that nobody knows it: it was changed in place.
    """

    kind: Kind
    obj: Any
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BulkStatement:
    """A statement that changed rows of a watched model without loading them."""

    kind: Kind
    model: type[Any]
    statement: Any
    parameters: Any = None


Callback = Callable[[Session, Sequence[Change | BulkStatement]], None]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Somebody who wants to know what happens to objects of a model.

    ``callback`` gets the session, in which it writes what is owed, and the changes in the order in
    which they began. It may be called in the middle of a flush, and so must not flush. What it
    raises fails the commit; with ``on_error`` what it wrote is taken back instead, and ``on_error``
    is called with the exception. ``fields`` are the columns whose old and new values are wanted: an
    update of others is not told, unless of ``every`` one. Without fields every update is told, without
    values. ``name`` is for messages.
    """

    name: str
    model: type[Any]
    callback: Callback
    fields: tuple[str, ...] = ()
    every: bool = False
    bulk: BulkPolicy = BulkPolicy.warning
    on_error: Callable[[Session, Sequence[Change | BulkStatement], Exception], None] | None = None


class Watches:
    """Who watches what; shared by all applications of one extension object."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []
        self._by_class: dict[type[Any], tuple[Watch, ...]] = {}

    def watch(self, watch: Watch, *, allow_other_bind: bool = False) -> None:
        """Add a watch. A model of another bind is refused: its commit is not that of our tables."""
        # not inspect(), which would configure all mappers: other models may not be defined yet
        table = class_mapper(watch.model, configure=False).local_table
        bind = getattr(table, "metadata", sa.MetaData()).info.get("bind_key")
        if bind is not None and not allow_other_bind:
            raise ConfigError(
                f"{watch.name}: {watch.model.__name__} lives in the bind {bind!r}, but what it owes is "
                "written to the default one, in another transaction. Pass allow_other_bind=True if a "
                "crash between the two commits may lose or invent an event."
            )
        for name in watch.fields:
            _keep_old_values(watch, name)
        self._watches.append(watch)
        self._by_class.clear()

    def forget(self, watch: Watch) -> None:
        """Take a watch away."""
        self._watches.remove(watch)
        self._by_class.clear()

    def of(self, cls: type[Any]) -> tuple[Watch, ...]:
        """Return who watches objects of this class."""
        found = self._by_class.get(cls)
        if found is None:
            found = tuple(each for each in self._watches if issubclass(cls, each.model))
            self._by_class[cls] = found
        return found


def _keep_old_values(watch: Watch, name: str) -> None:
    """Let SQLAlchemy load the value of an attribute before it is changed."""
    attribute = getattr(watch.model, name, None)
    if not isinstance(attribute, InstrumentedAttribute):
        known = [key for key in dir(watch.model) if not key.startswith("_")]
        raise ConfigError(
            f"{watch.name}: {watch.model.__name__} has no column {name!r}.{did_you_mean(name, known)}"
        )
    implementation = getattr(attribute, "impl", None)  # there is none before the mapper is configured
    if implementation is None or not implementation.active_history:
        event.listen(attribute, "set", _nothing, active_history=True, propagate=True)


def _nothing(target: Any, value: Any, old: Any, initiator: Any) -> None:
    """To listen is enough."""


# --- what a transaction holds ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A change in a savepoint (or the transaction itself)."""

    within: SessionTransaction | None
    change: Change | BulkStatement
    beside: bool = False
    """Whether something changed beside the fields that somebody wants."""


@dataclass
class _Held:
    """What the running transaction of a session holds for us."""

    seen: list[_Seen] = field(default_factory=list)
    set_by_sql: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Of the last flush, by objects' ids: old values of what SQL was to make of them."""
    calls: list[tuple[SessionTransaction | None, str]] = field(default_factory=list)
    announced: SessionTransaction | None = None
    committing: bool = False
    committed: bool = False
    failed: str = ""


_HELD: Final = "flask_linkback.held"
_ROUNDS: Final = 100


def _held(session: Session) -> _Held:
    held: _Held | None = session.info.get(_HELD)
    if held is None:
        held = session.info[_HELD] = _Held()
    return held


def _innermost(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


def _is_within(transaction: SessionTransaction | None, outer: SessionTransaction) -> bool:
    while transaction is not None:
        if transaction is outer:
            return True
        transaction = transaction.parent
    return False


def note_call(session: Session, name: str) -> None:
    """Remember that an explicit call wrote rows: should nobody commit them, its name is logged."""
    _held(session).calls.append((_innermost(session), name))


def _watches() -> Watches | None:
    site = find_site()
    return None if site is None else site.get(Watches)


# --- collecting --------------------------------------------------------------------------------------


def _before_flush(session: Session, context: UOWTransaction, instances: Any) -> None:
    watches = _watches()
    if watches is None:
        return
    for obj in session.deleted:
        for name in _wanted(watches.of(type(obj))):
            try:
                getattr(obj, name)  # it may be expired, and cannot be loaded once it is gone
            except ObjectDeletedError:
                break
    set_by_sql = {id(obj): _set_by_sql(obj) for obj in session.dirty if watches.of(type(obj))}
    if any(set_by_sql.values()) or _HELD in session.info:
        _held(session).set_by_sql = set_by_sql


def _set_by_sql(obj: Any) -> dict[str, Any]:
    """Return the old values of attributes that are to be what an expression of SQL says.

    The new ones nobody knows before the flush, and after it nothing tells that they are new.
    """
    state = instance_state(obj)
    return {
        key: next(iter(get_history(obj, key, PASSIVE_NO_INITIALIZE).deleted or ()), None)
        for key in state.committed_state
        if isinstance(value := state.dict.get(key), sa.ClauseElement)
        or hasattr(type(value), "__clause_element__")
    }


def _after_flush(session: Session, context: UOWTransaction) -> None:
    watches = _watches()
    if watches is None:
        return
    found = list(_flushed(session, context, watches))
    if found:
        _held(session).seen += found


def _after_flush_postexec(session: Session, context: UOWTransaction) -> None:
    held: _Held | None = session.info.get(_HELD)
    watches = _watches() if held is not None and held.committing else None
    if held is not None and watches is not None:
        _hand_on(session, held, watches)


def _flushed(session: Session, context: UOWTransaction, watches: Watches) -> Iterator[_Seen]:
    within = _innermost(session)
    held: _Held | None = session.info.get(_HELD)
    set_by_sql = {} if held is None else held.set_by_sql
    for obj in session.new:
        if watching := watches.of(type(obj)):
            fields = {name: (None, getattr(obj, name)) for name in _wanted(watching)}
            yield _Seen(within=within, change=Change(kind=Kind.created, obj=obj, fields=fields))
    for obj in session.dirty:
        if watching := watches.of(type(obj)):
            state = instance_state(obj)
            if context.is_deleted(state):  # type: ignore[no-untyped-call]  # an orphan
                yield _Seen(within=within, change=_deleted(obj, state, watching))
                continue
            wanted = _wanted(watching)
            fields, beside = _updated(state, wanted)
            for name, old in set_by_sql.get(id(obj), {}).items():
                if name not in wanted:
                    beside = True
                elif (new := getattr(obj, name)) != old:
                    fields[name] = (old, new)
            if fields or beside:
                change = Change(kind=Kind.updated, obj=obj, fields=fields)
                yield _Seen(within=within, change=change, beside=beside)
    for obj in session.deleted:
        if watching := watches.of(type(obj)):
            yield _Seen(within=within, change=_deleted(obj, instance_state(obj), watching))


def _wanted(watching: Sequence[Watch]) -> list[str]:
    return list(dict.fromkeys(name for watch in watching for name in watch.fields))


def _deleted(obj: Any, state: InstanceState[Any], watching: Sequence[Watch]) -> Change:
    fields = {}
    for name in _wanted(watching):
        history = state.attrs[name].history
        fields[name] = (next(iter(history.deleted or history.unchanged or ()), None), None)
    return Change(kind=Kind.deleted, obj=obj, fields=fields)


def _updated(state: InstanceState[Any], wanted: Sequence[str]) -> tuple[dict[str, tuple[Any, Any]], bool]:
    """Return old and new values of the wanted columns, and whether something else changed.

    Collections do not count: what is in them has rows of its own.
    """
    # of what nobody set there is nothing to compare
    changed = {
        key: history
        for key in state.committed_state
        if not _is_collection(state, key)
        and (history := get_history(state.obj(), key, PASSIVE_NO_INITIALIZE)).has_changes()
    }
    fields = {}
    for name in wanted:
        if name in changed:
            before, new = changed.pop(name).deleted, getattr(state.obj(), name)
            # what is changed in place is its own old value
            fields[name] = (before[0] if before and before[0] is not new else None, new)
    return fields, bool(changed)


def _is_collection(state: InstanceState[Any], key: str) -> bool:
    relationship = state.mapper.relationships.get(key)
    return relationship is not None and bool(relationship.uselist)


def _do_orm_execute(state: ORMExecuteState) -> Any:
    kind = next((kind for flag, kind in _BULK_KINDS.items() if getattr(state, flag)), None)
    mapper = state.bind_mapper
    watches = _watches() if kind is not None and mapper is not None else None
    if watches is None or kind is None or mapper is None:
        return None
    name = mapper.class_.__name__
    watching = watches.of(mapper.class_)
    for watch in watching:
        if watch.bulk is BulkPolicy.error:
            raise BulkRefused(f"{watch.name} does not see bulk statements: change {name} objects.")
        if watch.bulk is BulkPolicy.warning:
            logger.warning("%s does not see a bulk statement on %s.", watch.name, name)
    if not any(watch.bulk is BulkPolicy.event for watch in watching):
        return None
    result = state.invoke_statement()  # a statement that fails changed nothing
    session = state.session
    bulk = BulkStatement(
        kind=kind, model=mapper.class_, statement=state.statement, parameters=state.parameters
    )
    held = _held(session)
    held.seen.append(_Seen(within=_innermost(session), change=bulk))
    if held.committing:
        _hand_on(session, held, watches)
    return result


_BULK_KINDS: Final = {"is_insert": Kind.created, "is_update": Kind.updated, "is_delete": Kind.deleted}


def _after_soft_rollback(session: Session, previous: SessionTransaction) -> None:
    held: _Held | None = session.info.get(_HELD)
    if held is not None:
        held.seen = [each for each in held.seen if not _is_within(each.within, previous)]
        if previous.nested:  # of the others the outermost end tells
            held.calls = [call for call in held.calls if not _is_within(call[0], previous)]


# --- handing on --------------------------------------------------------------------------------------


def _before_commit(session: Session) -> None:
    watches = _watches()
    if watches is None:
        return
    held = _held(session)
    if held.failed:
        raise LinkbackError(f"{held.failed} raised in this transaction: it must be rolled back.")
    savepoint = session.get_nested_transaction()
    if savepoint is not None and held.announced is not savepoint:
        # Whose commit this is the event does not say. When the transaction is committed over an open
        # savepoint, it announces itself, and then the savepoint does: the same one twice.
        held.announced = savepoint
        return
    session.flush()
    _hand_on(session, held, watches)
    held.committing = True


def _hand_on(session: Session, held: _Held, watches: Watches) -> None:
    """Give the coalesced changes to their watchers, and what these cause, too."""
    for _ in range(_ROUNDS):
        changes = _coalesced(held.seen)
        held.seen = []
        if not changes:
            return
        told: dict[int, tuple[Watch, list[Change | BulkStatement]]] = {}
        for seen in changes:
            change = seen.change
            cls = change.model if isinstance(change, BulkStatement) else type(change.obj)
            for watch in watches.of(cls):
                for its_change in _for(watch, seen):
                    told.setdefault(id(watch), (watch, []))[1].append(its_change)
        for watch, its_changes in told.values():
            _call(session, held, watch, its_changes)
        if not held.committing:
            session.flush()
    raise LinkbackError(f"Watchers changed watched objects {_ROUNDS} times over in one commit.")


def _call(session: Session, held: _Held, watch: Watch, changes: Sequence[Change | BulkStatement]) -> None:
    try:
        if watch.on_error is None:
            watch.callback(session, changes)
            return
        try:
            with session.begin_nested():
                watch.callback(session, changes)
        except Exception as error:
            logger.exception("%s raised.", watch.name)
            watch.on_error(session, changes, error)
    except Exception as error:
        held.failed = watch.name  # what others wrote must not be committed alone
        error.add_note(f"Raised for {watch.name}; so the commit fails.")
        raise


def _for(watch: Watch, seen: _Seen) -> Iterator[Change | BulkStatement]:
    """What one watch is told of a change: its own fields, or nothing."""
    change = seen.change
    if isinstance(change, BulkStatement):
        if watch.bulk is BulkPolicy.event:
            yield change
        return
    fields = {name: change.fields[name] for name in watch.fields if name in change.fields}
    if change.kind is not Kind.updated or fields or watch.every or not watch.fields:
        yield change if len(fields) == len(change.fields) else replace(change, fields=fields)


def _coalesced(flushed: Sequence[_Seen]) -> list[_Seen]:
    """One change for each object: what the transaction did to it as a whole."""
    whole: dict[int, _Seen | None] = {}
    for seen in flushed:
        what = seen.change
        if isinstance(what, BulkStatement):
            whole[id(what)] = seen
        else:
            before = whole.get(id(what.obj))
            whole[id(what.obj)] = seen if before is None else _merged(before, seen)
    return [seen for seen in whole.values() if seen is not None]


def _merged(first: _Seen, second: _Seen) -> _Seen | None:
    before, after = first.change, second.change
    assert isinstance(before, Change)
    assert isinstance(after, Change)
    if before.kind is Kind.created and after.kind is Kind.deleted:
        return None
    kind = Kind.created if before.kind is Kind.created else after.kind
    if before.kind is Kind.deleted:  # and came back
        kind = Kind.updated
    fields = dict(before.fields)
    for name, (old, new) in after.fields.items():
        fields[name] = (fields[name][0] if name in fields else old, new)
    beside = first.beside or second.beside
    if kind is Kind.updated:
        fields = {name: (old, new) for name, (old, new) in fields.items() if old != new}
        if not (fields or beside):
            return None
    return _Seen(within=second.within, change=replace(after, kind=kind, fields=fields), beside=beside)


# --- the end of a transaction ------------------------------------------------------------------------


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


def _after_begin(session: Session, transaction: SessionTransaction, connection: sa.Connection) -> None:
    site = find_site()
    if site is not None:
        site.give_keys()


_EVENTS: Final[Mapping[str, Callable[..., Any]]] = {
    "after_begin": _after_begin,
    "before_flush": _before_flush,
    "after_flush": _after_flush,
    "after_flush_postexec": _after_flush_postexec,
    "after_soft_rollback": _after_soft_rollback,
    "before_commit": _before_commit,
    "after_commit": _after_commit,
    "after_transaction_end": _after_transaction_end,
    "do_orm_execute": _do_orm_execute,
}


# not event.contains(), which takes a new object for an old one that was at the same address
_heard: weakref.WeakSet[Any] = weakref.WeakSet()


def listen(sessions: Any) -> None:
    """Hear the events of an application's sessions; once for each ``db.session``."""
    if sessions not in _heard:
        _heard.add(sessions)
        for name, listener in _EVENTS.items():
            event.listen(sessions, name, listener)
