"""Jobs: owed work is added in the caller's transaction, claimed and settled by a worker."""

from __future__ import annotations

import enum
import functools
import json
import uuid
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import InstrumentedAttribute, Session

from ..errors import ConfigError
from ..models import Attempt, Event, Job, JobState
from ..protocols.text import keepable
from ..site import Site, current_site
from .membership import among, dialect_of
from .retry import next_due

__all__ = [
    "ADDED",
    "BURY",
    "CHANNEL",
    "LEASE_SECONDS",
    "WAITS_ITS_TURN",
    "AttemptMade",
    "Claim",
    "Finished",
    "NewJob",
    "Outcome",
    "Turn",
    "Verdict",
    "add",
    "add_dead",
    "add_for_event",
    "add_for_each",
    "add_once",
    "again",
    "cancel",
    "clock",
    "dead",
    "done",
    "hasten",
    "in_order",
    "is_ours",
    "is_owed",
    "is_waiting",
    "later",
    "owed_at",
    "put_off",
    "reclaim",
    "renew",
    "replay",
    "replay_all",
    "turn",
    "wait_turn",
    "waiting_of",
    "wake",
]

CHANNEL: Final = "flask_linkback"
"""The PostgreSQL channel that wakes workers."""
ADDED: Final = "flask_linkback.added"
"""The mark in ``session.info`` of a transaction that added jobs: whether one of them is due soon."""
BURY: Final = "bury_job"
"""The kind of job that ends what a job left open which died without its handler."""
LEASE_SECONDS: Final = 30.0
"""How long a claim holds without being renewed."""

_job: Final = Job.__table__
_event: Final = Event.__table__
_SOON: Final = timedelta(seconds=10)
"""Workers look by themselves more often than this: nobody need be woken for what is due later."""
WAITS_ITS_TURN: Final = "An older one about the same comes first."
"""Why a job was put off that is to be done in order; by that it is known when its turn comes."""
_MISSED_SECONDS: Final = 30.0
_LONGEST_TURN_SECONDS: Final = 600.0
_BOTH_STATES: Final = sa.text("state IN ('pending', 'running')")
"""The condition of the partial index, letter by letter: without it SQLite does not use the index."""


# --- the clock ---------------------------------------------------------------------------------------

_SAME_SECONDS: Final = 0.005
"""Clocks that differ by less count as one."""


def _machine_clock() -> datetime:
    return datetime.now(UTC)


def clock(session: Session, site: Site | None) -> datetime:
    """Return the time: the site's, put right by as much as this machine's differs from the server's.

    Workers on several machines so agree about what is due and whose lease has ended. SQLite has no
    clock but the machine's. Without a site, when the application is gone, it is the machine's, too.
    """
    now = _machine_clock() if site is None else site.now()
    if dialect_of(session) != "postgresql":
        return now
    asked = _machine_clock()
    told = session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    travel = (_machine_clock() - asked) / 2
    offset = told - (asked + travel)
    if abs(offset) <= travel + timedelta(seconds=_SAME_SECONDS):
        return now
    return now + offset  # type: ignore[no-any-return]


# --- adding ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """Work to be done once the transaction commits.

    ``host`` says whom it talks to, ``key`` what it is about, ``due_at`` when (default: now).
    """

    kind: str
    payload: dict[str, Any] | None = None
    host: str = ""
    key: str | None = None
    due_at: datetime | None = None
    listener_id: int | None = None
    event_id: int | None = None


def add(session: Session, jobs: Iterable[NewJob]) -> int:
    """Write jobs in the session's transaction and return their number; they live and die with it."""
    now = current_site().now()
    due: list[dict[str, Any]] = []
    scheduled: list[dict[str, Any]] = []
    for job in jobs:
        row = _row(job, now, JobState.pending)
        if job.due_at is None or job.due_at <= now:
            due.append(row)
        else:
            scheduled.append(row)
    for rows, at_once in ((due, True), (scheduled, False)):
        if rows:
            session.execute(_insert(session, at_once=at_once), rows)
    if due or scheduled:
        _added(session, soon=bool(due) or min(row["due"] for row in scheduled) < now + _SOON)
    return len(due) + len(scheduled)


def add_for_each(
    session: Session,
    kind: str,
    *,
    where: Iterable[sa.ColumnElement[bool]],
    host: sa.ColumnElement[str] | InstrumentedAttribute[str],
    key: sa.ColumnElement[str] | InstrumentedAttribute[str] | None = None,
    payload: Mapping[str, Any] | None = None,
    listener_id: sa.ColumnElement[int] | InstrumentedAttribute[int] | None = None,
    event_id: int | sa.ColumnElement[int] | InstrumentedAttribute[int] | None = None,
    order_by: sa.ColumnElement[Any] | InstrumentedAttribute[Any] | None = None,
) -> int:
    """Write a due job for each row of a table that meets the conditions, by one statement; return the number.

    ``host``, ``key``, ``listener_id`` and ``event_id`` are columns of that table, or literals; the values of
    ``payload`` are columns or numbers. ``order_by`` is the column in whose order the jobs come.
    """
    now = current_site().now()
    dialect = dialect_of(session)
    at = sa.literal(now, _job.c.created_at.type)
    columns: dict[str, Any] = {
        "kind": sa.literal(kind),
        "state": sa.literal(JobState.pending, _job.c.state.type),
        "due_at": sa.func.least(at, sa.func.now()) if dialect == "postgresql" else at,
        "host": host,
        "attempts": sa.literal(0),
        "reason": sa.literal(""),
        "created_at": at,
    }
    if payload is not None:
        members = [part for name, value in payload.items() for part in (sa.literal(name), value)]
        make = sa.func.json_build_object if dialect == "postgresql" else sa.func.json_object
        columns["payload"] = make(*members)
    if key is not None:
        columns["key"] = key
    if listener_id is not None:
        columns["listener_id"] = listener_id
    if event_id is not None:
        columns["event_id"] = (
            sa.literal(event_id, _job.c.event_id.type) if isinstance(event_id, int) else event_id
        )
    rows = sa.select(*columns.values()).where(*where)
    if order_by is not None:
        rows = rows.order_by(order_by)
    insert = sa.insert(_job).from_select(list(columns), rows, include_defaults=False)
    counted = insert.execution_options(preserve_rowcount=True)
    count: int = session.execute(counted).rowcount  # type: ignore[attr-defined]
    if count:
        _added(session)
    return count


def add_for_event(session: Session, kind: str, event: Mapping[str, Any]) -> int:
    """Write an event and a due job about it, and return the event's id: with as little ado as can be.

    For it happens in commits that people wait for. ``event`` has all columns but the id; data and changes
    as text. The job's key is the event's order.
    """
    site = current_site()
    connection = session.connection(bind_arguments={"clause": _ADD_EVENT})
    say = site.get(_Phrases).say
    values = {**event, "kind": kind, "now": site.now()}
    session.info[ADDED] = True
    if connection.dialect.name == "postgresql":
        return cast("int", say(connection, _ADD_EVENT_AND_JOB, values).scalar_one())
    event_id: int = say(connection, _ADD_EVENT, values).lastrowid
    say(connection, _ADD_EVENT_JOB, {**values, "event_id": event_id})
    return event_id


class _Phrases:
    """Statements in the words of an application's driver.

    SQLAlchemy looks at a statement each time for what it knows of it: that takes longer than SQLite does.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[sa.Dialect, sa.TextClause], _Phrase] = {}

    def say(
        self, connection: sa.Connection, statement: sa.TextClause, values: Mapping[str, Any]
    ) -> sa.CursorResult[Any]:
        """Execute a statement with those of the values that it asks for."""
        known = self._known.get((connection.dialect, statement))
        if known is None:
            known = self._known[connection.dialect, statement] = _Phrase(connection.dialect, statement)
        return connection.exec_driver_sql(known.text, known.parameters(values))


class _Phrase:
    def __init__(self, dialect: sa.Dialect, statement: sa.TextClause) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = compiled.string
        self._positions: Sequence[str] | None = compiled.positiontup
        self._processors = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for name, bind in compiled.binds.items()
        }

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """What the driver is given beside the text: by name, or one after the other."""
        given = {
            name: values[name] if process is None else process(values[name])
            for name, process in self._processors.items()
        }
        return given if self._positions is None else tuple(map(given.__getitem__, self._positions))


_EVENT_COLUMNS: Final = tuple(column.name for column in _event.columns if column.name != "id")


def _insert_event(json: str) -> str:
    values = [json.format(name) if name in ("data", "changes") else f":{name}" for name in _EVENT_COLUMNS]
    columns = ", ".join(_EVENT_COLUMNS)
    return f"INSERT INTO {_event.name} ({columns}) VALUES ({', '.join(values)})"  # noqa: S608  names of ours


_INSERT_EVENT_JOB: Final = (
    f"INSERT INTO {_job.name} (kind, state, due_at, host, key, event_id, attempts, reason, created_at)"
)


def _typed(statement: str) -> sa.TextClause:
    """Return a statement whose values are written as its columns want them; JSON is text already."""
    types: dict[str, Any] = {name: _event.c[name].type for name in _EVENT_COLUMNS}
    types |= {"data": sa.Text(), "changes": sa.Text(), "now": _job.c.due_at.type}
    named = [sa.bindparam(name, type_=kind) for name, kind in types.items() if f":{name}" in statement]
    return sa.text(statement).bindparams(*named)


_ADD_EVENT: Final = _typed(_insert_event(":{}"))
_ADD_EVENT_JOB: Final = _typed(
    f"{_INSERT_EVENT_JOB} VALUES (:kind, 'pending', :now, '', :order_hash, :event_id, 0, '', :now)"
)
_ADD_EVENT_AND_JOB: Final = _typed(
    f"WITH new_event AS ({_insert_event('CAST(:{} AS json)')} RETURNING id), "  # noqa: S608  names of ours
    f"new_job AS ({_INSERT_EVENT_JOB} "
    "SELECT :kind, 'pending', least(:now, now()), '', :order_hash, id, 0, '', :now FROM new_event) "
    f"SELECT id, pg_notify('{CHANNEL}', '') FROM new_event"
)


def add_dead(session: Session, job: NewJob, reason: str) -> None:
    """Write a job that could not be made in full, to be seen and replayed by a person."""
    now = current_site().now()
    row = {**_row(job, now, JobState.dead), "reason": keepable(reason), "finished_at": now}
    session.execute(_insert(session, at_once=False), [row])


def _row(job: NewJob, now: datetime, state: JobState) -> dict[str, Any]:
    return {
        "kind": job.kind,
        "state": state,
        "due": job.due_at or now,
        "host": job.host,
        "key": job.key,
        "payload": job.payload,
        "listener_id": job.listener_id,
        "event_id": job.event_id,
        "created_at": now,
        "attempts": 0,
        "reason": "",
    }


_ROW: Final = (
    *("kind", "state", "host", "key", "payload", "listener_id", "event_id"),
    *("created_at", "attempts", "reason"),
)


def _insert(session: Session, *, at_once: bool) -> sa.Insert:
    return sa.insert(_job).values(due_at=_due(dialect_of(session), at_once=at_once))


def _due(dialect: str, *, at_once: bool) -> sa.ColumnElement[datetime]:
    due: Any = sa.bindparam("due", type_=_job.c.due_at.type)
    # the clock of this machine may be fast; what is due now must not wait for that
    return sa.func.least(due, sa.func.now()) if at_once and dialect == "postgresql" else due


def _added(session: Session, *, soon: bool = True) -> None:
    """Let this transaction's commit wake the workers, those of other processes too, if jobs are due soon."""
    session.info[ADDED] = soon or session.info.get(ADDED, False)
    if soon and dialect_of(session) == "postgresql":
        # sent with the commit, and not at all by a rollback
        session.execute(sa.select(sa.func.pg_notify(CHANNEL, ""))).close()


def wake(session: Session) -> None:
    """Let this transaction's commit wake the workers: jobs that waited are due."""
    _added(session)


def add_once(session: Session, job: NewJob) -> bool:
    """Write a job unless one of its kind and key waits already; say whether it was written.

    The waiting job is locked until the transaction ends, so that it starts after what the caller
    wrote is visible. Two callers at the same time may write one each: handlers bear a repeat.
    """
    now = current_site().now()
    row = _row(job, now, JobState.pending)
    about = {"about_key": job.key, "about_kind": job.kind}
    soon = row["due"] < now + _SOON
    insert = _insert_once(dialect_of(session), at_once=row["due"] <= now)
    written: bool = session.execute(insert, {**row, **about}).rowcount == 1  # type: ignore[attr-defined]
    # where one waits, a worker that passed over the locked row is to look again
    _added(session, soon=soon or not written)
    return written


def hasten(session: Session, *, kind: str, key: str, due_at: datetime) -> None:
    """Let the jobs of this kind and key that wait for longer be due at this time."""
    later = (_job.c.key == key, _job.c.state == JobState.pending, _job.c.kind == kind, _job.c.due_at > due_at)
    session.execute(sa.update(_job).where(*later).values(due_at=due_at))
    _added(session, soon=due_at < current_site().now() + _SOON)


def is_waiting(session: Session, *, kind: str, key: str) -> bool:
    """Does a job of this kind and key wait?"""
    return _is_there(session, kind, key, JobState.pending)


def is_owed(session: Session, *, kind: str, key: str) -> bool:
    """Does a job of this kind and key wait, or run?"""
    return _is_there(session, kind, key, JobState.pending, JobState.running)


def owed_at(session: Session, *, kind: str, keys: Iterable[str]) -> dict[str, datetime | None]:
    """Return when the jobs of a kind are due that wait, by their keys; None for one that runs."""
    owed = (JobState.pending, JobState.running)
    about = (_job.c.key.in_(list(keys)), _job.c.state.in_(owed), _job.c.kind == kind)
    # what waits comes last: it is what will happen
    found = sorted(
        session.execute(sa.select(_job.c.key, _job.c.state, _job.c.due_at).where(*about)),
        key=lambda row: row.state is JobState.pending,
    )
    return {row.key: row.due_at if row.state is JobState.pending else None for row in found}


def waiting_of(session: Session, *, kind: str, event_id: int) -> Sequence[int]:
    """Return the ids of the jobs of a kind that wait for an event, in their order."""
    here = (_job.c.event_id == event_id, _job.c.kind == kind, _job.c.state == JobState.pending)
    return session.scalars(sa.select(_job.c.id).where(*here).order_by(_job.c.id)).all()


def _is_there(session: Session, kind: str, key: str, *states: JobState) -> bool:
    here = (_job.c.key == key, _job.c.state.in_(states), _job.c.kind == kind)
    return session.execute(sa.select(_job.c.id).where(*here).limit(1)).first() is not None


@functools.cache
def _insert_once(dialect: str, *, at_once: bool) -> sa.Insert:
    waiting = (
        sa.select(_job.c.id)
        .where(
            _job.c.key == sa.bindparam("about_key"),
            _job.c.state == JobState.pending,
            _job.c.kind == sa.bindparam("about_kind"),
        )
        # a row that a worker claims just now is passed over: it may have read what it needed already
        .with_for_update(read=True, skip_locked=True)
    )
    columns = {name: _job.c[name] for name in _ROW}
    values = [sa.bindparam(name, type_=column.type) for name, column in columns.items()]
    row = sa.select(_due(dialect, at_once=at_once), *values).where(~sa.exists(waiting.subquery().select()))
    return sa.insert(_job).from_select(["due_at", *columns], row).execution_options(preserve_rowcount=True)


# --- outcomes ----------------------------------------------------------------------------------------


class Verdict(enum.Enum):
    """What a handler says of its job."""

    done = "done"
    """Finished, well or finally refused."""
    again = "again"
    """Failed; to be tried again by the schedule."""
    later = "later"
    """Not tried: the time is not right. Costs no attempt."""
    dead = "dead"
    """Given up."""


@dataclass(frozen=True, kw_only=True)
class AttemptMade:
    """What an attempt saw; becomes a row beside its job. ``body`` is the answer's, 16 KiB at most."""

    started_at: datetime
    seconds: float
    outcome: str
    url: str | None = None
    address: str | None = None
    status_code: int | None = None
    headers: dict[str, str] | None = None
    body: bytes | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A handler's verdict; ``seconds`` is the wait of `later`, or the Retry-After of `again`.

    ``schedule`` is when to try again where the job has one of its own; ``in_order`` lets the next job of its
    key go when this one has ended.
    """

    verdict: Verdict
    reason: str = ""
    seconds: float | None = None
    overloaded: bool = False
    attempt: AttemptMade | None = None
    schedule: Sequence[float] | None = None
    in_order: bool = False


def done(reason: str = "", *, attempt: AttemptMade | None = None) -> Outcome:
    return Outcome(verdict=Verdict.done, reason=reason, attempt=attempt)


def again(
    reason: str,
    *,
    retry_after: float | None = None,
    overloaded: bool = False,
    attempt: AttemptMade | None = None,
) -> Outcome:
    return Outcome(
        verdict=Verdict.again, reason=reason, seconds=retry_after, overloaded=overloaded, attempt=attempt
    )


def later(seconds: float, reason: str = "") -> Outcome:
    return Outcome(verdict=Verdict.later, seconds=seconds, reason=reason)


def dead(reason: str, *, attempt: AttemptMade | None = None) -> Outcome:
    return Outcome(verdict=Verdict.dead, reason=reason, attempt=attempt)


# --- claiming and settling ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A job in a worker's hands; the token says that it still is."""

    id: int
    kind: str
    payload: dict[str, Any]
    host: str
    key: str | None
    attempts: int
    """This attempt included."""
    listener_id: int | None
    event_id: int | None
    created_at: datetime
    token: str
    attempts_allowed: int
    beside: Sequence[weakref.ref[Claim]] = field(default=(), repr=False, compare=False)
    """All that were claimed together and are in hand, this one among them, in order."""

    @property
    def is_last(self) -> bool:
        """Will a failure of this attempt be the end?"""
        return self.attempts >= self.attempts_allowed


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A claim and what became of it."""

    claim: Claim
    outcome: Outcome

    @property
    def is_given_up(self) -> bool:
        """Did the last attempt fail?"""
        if self.outcome.verdict is not Verdict.again:
            return False
        own = self.outcome.schedule
        return self.claim.is_last if own is None else self.claim.attempts >= len(own)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a turn brought: claims in the order of their ids, and when the next job will be due."""

    claims: Sequence[Claim] = ()
    next_due: datetime | None = None
    """None when no other job waits, or when there are probably more that are due now."""


def turn(
    session: Session,
    *,
    now: datetime,
    schedule: Sequence[float],
    finished: Sequence[Finished] = (),
    want: int = 0,
    lease_seconds: float = LEASE_SECONDS,
    without_hosts: Collection[str] = (),
    burials: Collection[str] = (),
) -> Turn:
    """Settle what finished and claim up to ``want`` due jobs, in one transaction.

    What is settled must carry the token of its claim; a claim that was lost is left alone. Claimed
    jobs are running until their lease ends. Of the kinds of ``burials``, a job that dies since no attempt
    is left, and not since its handler says so, is owed one. The session is committed.
    """
    try:
        _settle(session, finished, now, schedule, burials)
    except (OperationalError, InterfaceError, PoolTimeout):
        raise  # the database is away or busy: all of it is tried again
    except Exception:  # drivers raise what they like at values that they cannot write
        session.rollback()
        _settle_apart(session, finished, now, schedule, burials)
    found = Turn()
    if want > 0:
        # an idle worker only reads; on SQLite it so takes no write lock
        due_at = None if finished else _next_due(session, without_hosts)
        if finished or (due_at is not None and due_at <= now):
            _read_is_over(session, wrote=bool(finished))
            found = _claim(session, now, want, lease_seconds, without_hosts, len(schedule))
        else:
            found = Turn(next_due=due_at)
    session.commit()
    return found


def _waiting(column: Any, *, leave_aside: bool) -> sa.Select[Any]:
    """Select a column of the jobs that wait, those that are due first first."""
    waiting = (
        sa.select(column)
        .where(_job.c.state == sa.literal_column("'pending'"), _BOTH_STATES)
        .order_by(_job.c.due_at, _job.c.id)
        .limit(sa.bindparam("at_most", type_=sa.Integer))
    )
    return (
        waiting.where(_job.c.host.not_in(sa.bindparam("hosts", expanding=True))) if leave_aside else waiting
    )


# the statements of a turn are made once: making them takes longer than what the database does


@functools.cache
def _find_next(*, leave_aside: bool) -> sa.Select[Any]:
    return _waiting(_job.c.due_at, leave_aside=leave_aside)


def _next_due(session: Session, without_hosts: Collection[str]) -> datetime | None:
    statement = _find_next(leave_aside=bool(without_hosts))
    values = {"at_most": 1, "hosts": list(without_hosts)} if without_hosts else {"at_most": 1}
    return cast("datetime | None", session.scalar(statement, values))


def _read_is_over(session: Session, *, wrote: bool = False) -> None:
    """SQLite lets no transaction write that has read what somebody has written over since."""
    if not wrote and dialect_of(session) == "sqlite":
        session.rollback()


_COLUMNS: Final = (
    _job.c.id,
    _job.c.kind,
    # decoded here, so that one row that cannot be decoded does not spoil the others; SQLite keeps, and
    # its driver chokes on, text that is none
    sa.cast(_job.c.payload, sa.Text().with_variant(sa.LargeBinary(), "sqlite")).label("payload"),
    _job.c.host,
    _job.c.key,
    _job.c.attempts,
    _job.c.listener_id,
    _job.c.event_id,
    _job.c.created_at,
)


@functools.cache
def _take(dialect: str, *, leave_aside: bool) -> sa.UpdateBase:
    due = _waiting(_job.c.id, leave_aside=leave_aside)
    due = due.where(_job.c.due_at <= sa.bindparam("now", type_=_job.c.due_at.type))
    return (
        sa.update(_job)
        .where(_locked(dialect, due))
        .values(
            state=JobState.running,
            token=sa.bindparam("new_token"),
            due_at=sa.bindparam("lease", type_=_job.c.due_at.type),
            attempts=_job.c.attempts + 1,
        )
        .returning(*_COLUMNS)
    )


def _claim(
    session: Session,
    now: datetime,
    want: int,
    lease_seconds: float,
    without_hosts: Collection[str],
    attempts_allowed: int,
) -> Turn:
    token = uuid.uuid4().hex
    lease = now + timedelta(seconds=lease_seconds)
    about: dict[str, Any] = {"now": now, "at_most": want, "lease": lease, "new_token": token}
    if without_hosts:
        about["hosts"] = list(without_hosts)
    claim = _take(dialect_of(session), leave_aside=bool(without_hosts))
    rows = session.execute(claim, about, execution_options={"synchronize_session": False}).all()
    claims: list[Claim] = []
    beside: list[weakref.ref[Claim]] = []
    for row in rows:
        values = {**row._mapping, "token": token, "attempts_allowed": attempts_allowed}
        try:
            claims.append(Claim(**{**values, "payload": _payload(row.payload)}, beside=beside))
        except ValueError as error:
            spoilt = Finished(
                claim=Claim(**{**values, "payload": {}}), outcome=dead(f"Its payload is broken: {error}")
            )
            session.execute(_SETTLE, _settled(spoilt, now, ()))
    claims.sort(key=lambda claim: claim.id)  # RETURNING promises no order
    beside += map(weakref.ref, claims)
    return Turn(claims=claims, next_due=_next_due(session, without_hosts) if len(rows) < want else None)


def _payload(stored: Any) -> dict[str, Any]:
    payload = None if stored is None else json.loads(stored)
    if payload is None:
        return {}
    if not isinstance(payload, dict):
        raise ValueError("it is no object")
    return payload


def _locked(dialect: str, ids: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """The condition that a job is among those selected, and nobody else's just now."""
    match dialect:
        case "postgresql":
            # an array is made once; a bare sub-select may be planned to run, and lock, more often
            picked = sa.func.array(ids.with_for_update(skip_locked=True).scalar_subquery())
            return _job.c.id == sa.any_(picked)
        case "sqlite":
            return _job.c.id.in_(ids)
        case other:
            raise ConfigError(f"The outbox works on SQLite and PostgreSQL, not yet on {other}.")


_SETTLE: Final = (
    sa.update(_job)
    .where(_job.c.id == sa.bindparam("claim_id"), _job.c.token == sa.bindparam("claim_token"))
    .values(
        {
            name: sa.bindparam(f"new_{name}", type_=_job.c[name].type)
            for name in ("state", "token", "due_at", "attempts", "reason", "finished_at")
        }
    )
)


@functools.cache
def _settle_done(dialect: str) -> sa.Update:
    """What most jobs come to, for all those of one token at once."""
    return (
        sa.update(_job)
        .where(among(dialect, _job.c.id, "claim_ids"), _job.c.token == sa.bindparam("claim_token"))
        .values(
            state=JobState.done,
            token=None,
            due_at=sa.bindparam("now", type_=_job.c.due_at.type),
            finished_at=sa.bindparam("now", type_=_job.c.finished_at.type),
            reason="",
        )
    )


_ADD_ATTEMPT: Final = sa.insert(Attempt.__table__)


def _settle(
    session: Session,
    finished: Sequence[Finished],
    now: datetime,
    schedule: Sequence[float],
    burials: Collection[str],
) -> None:
    if not finished:
        return
    ours = finished
    if _settle_together(session, finished, now, schedule) != len(finished):
        # some claims were lost, or the driver does not count: one by one, to see which
        session.rollback()
        rows = [(each, _settled(each, now, schedule)) for each in finished]
        ours = [each for each, row in rows if session.execute(_SETTLE, row).rowcount]  # type: ignore[attr-defined]
    seen = [attempt for each in ours if (attempt := _attempt(each)) is not None]
    if seen:
        session.execute(_ADD_ATTEMPT, seen)
    # a handler that minds its last attempt says that the job is dead; this one raised
    raised = (each for each in ours if each.is_given_up)
    _owe_burials(session, [(each.claim.id, each.claim.kind) for each in raised], now, burials)
    ended = (
        each.claim for each in ours if each.outcome.in_order and each.outcome.verdict is not Verdict.again
    )
    _let_next_go(session, {(claim.kind, claim.key) for claim in ended if claim.key is not None}, now)


def _owe_burials(
    session: Session, dead: Iterable[tuple[int, str]], now: datetime, burials: Collection[str]
) -> None:
    """Owe the end of what dead jobs, by id and kind, left open."""
    owed = [
        _row(NewJob(kind=BURY, payload={"job_id": job_id}), now, JobState.pending)
        for job_id, kind in dead
        if kind in burials
    ]
    if owed:
        session.execute(_insert(session, at_once=True), owed)


def _settle_together(
    session: Session, finished: Sequence[Finished], now: datetime, schedule: Sequence[float]
) -> int:
    """Settle with few statements and return how many jobs were still ours, -1 or less if nobody knows."""
    done: dict[str, list[int]] = {}
    rows = []
    for each in finished:
        if each.outcome.verdict is Verdict.done and not each.outcome.reason:
            done.setdefault(each.claim.token, []).append(each.claim.id)
        else:
            rows.append(_settled(each, now, schedule))
    settle = _settle_done(dialect_of(session))
    counts = [
        session.execute(settle, {"claim_ids": ids, "claim_token": token, "now": now}).rowcount  # type: ignore[attr-defined]
        for token, ids in done.items()
    ]
    if rows:
        counts.append(session.execute(_SETTLE, rows).rowcount)  # type: ignore[attr-defined]
    return sum(counts) if min(counts) >= 0 else -1


def _settle_apart(
    session: Session,
    finished: Sequence[Finished],
    now: datetime,
    schedule: Sequence[float],
    burials: Collection[str],
) -> None:
    """Settle each on its own, and without what cannot be written."""
    for each in finished:
        try:
            _settle(session, [each], now, schedule, burials)
            session.commit()
        except (OperationalError, InterfaceError, PoolTimeout):
            raise
        except Exception as why:
            session.rollback()
            reason = f"{each.outcome.verdict.value}, but the rest cannot be written: {type(why).__name__}"
            bare = replace(each.outcome, reason=reason, seconds=None, attempt=None)
            _settle(session, [replace(each, outcome=bare)], now, schedule, burials)
            session.commit()


def _settled(each: Finished, now: datetime, schedule: Sequence[float]) -> dict[str, Any]:
    claim, outcome = each.claim, each.outcome
    row: dict[str, Any] = {
        "claim_id": claim.id,
        "claim_token": claim.token,
        "new_token": None,
        "new_attempts": claim.attempts,
        "new_reason": keepable(outcome.reason),
        "new_due_at": now,
        "new_finished_at": now,
    }
    due_at: datetime | None = None
    match outcome.verdict:
        case Verdict.done:
            row["new_state"] = JobState.done
            return row
        case Verdict.later:
            row["new_attempts"] = claim.attempts - 1
            due_at = now + timedelta(seconds=outcome.seconds or 0)
        case Verdict.again:
            due_at = next_due(
                now,
                claim.attempts,
                schedule if outcome.schedule is None else outcome.schedule,
                retry_after=outcome.seconds,
                overloaded=outcome.overloaded,
            )
    if due_at is None:
        row["new_state"] = JobState.dead
    else:
        row |= {"new_state": JobState.pending, "new_due_at": due_at, "new_finished_at": None}
    return row


def _attempt(each: Finished) -> dict[str, Any] | None:
    attempt = each.outcome.attempt
    if attempt is None:
        return None
    row: dict[str, Any] = {"job_id": each.claim.id, "number": each.claim.attempts}
    for name in AttemptMade.__dataclass_fields__:
        value = getattr(attempt, name)
        row[name] = keepable(value) if isinstance(value, str) else value
    return row


# --- in order ----------------------------------------------------------------------------------------


def wait_turn(site: Site, claim: Claim) -> Outcome | None:
    """Put a job off behind the oldest of its kind and key that waits or runs; None when its turn has come.

    That costs no attempt. When the one before ends, with an outcome that is ``in_order``, this one is due at
    once; should that be missed, some time after the one before is due.
    """
    if claim.key is None:
        return None
    older = sa.select(_job.c.due_at).where(
        _job.c.key == claim.key,
        _job.c.state.in_((JobState.pending, JobState.running)),
        _job.c.kind == claim.kind,
        _job.c.id < claim.id,
    )
    # by an expression, or PostgreSQL may look for it among all jobs
    due_at = site.session.scalar(older.order_by(_job.c.id + sa.literal_column("0")).limit(1))
    if due_at is None:
        return None
    seconds = max((due_at - site.now()).total_seconds(), 0.0) + _MISSED_SECONDS
    return in_order(claim, later(min(seconds, _LONGEST_TURN_SECONDS), WAITS_ITS_TURN))


def in_order(claim: Claim, outcome: Outcome) -> Outcome:
    """Return the outcome of a job that has its turn: when it has ended, the next of its key goes."""
    return outcome if claim.key is None else replace(outcome, in_order=True)


_first: Final = _job.alias()
_IS_FIRST: Final = (
    sa.select(sa.func.min(_first.c.id))
    .where(
        _first.c.key == _job.c.key,
        _first.c.state.in_((JobState.pending, JobState.running)),
        _first.c.kind == _job.c.kind,
    )
    .scalar_subquery()
)
_LET_GO: Final = (
    sa.update(_job)
    .where(
        _job.c.key.in_(sa.bindparam("keys", expanding=True)),
        _job.c.state == JobState.pending,
        _job.c.kind == sa.bindparam("the_kind"),
        _job.c.reason == WAITS_ITS_TURN,
        _job.c.due_at > sa.bindparam("now", type_=_job.c.due_at.type),
        _job.c.id == _IS_FIRST,
    )
    .values(due_at=sa.bindparam("now", type_=_job.c.due_at.type))
)


def _let_next_go(
    session: Session, ended: Collection[tuple[str, str]], now: datetime, *, locked: bool = True
) -> None:
    """Let what waits for its turn behind jobs of these kinds and keys be due, if its turn has come.

    Two workers that end neighbours of one key at the same time would not see each other's: with ``locked``
    the second waits until the first has committed.
    """
    kinds: dict[str, list[str]] = {}
    for kind, key in sorted(ended):
        kinds.setdefault(kind, []).append(key)
    for kind, keys in kinds.items():
        if locked and dialect_of(session) == "postgresql":
            for key in keys:
                session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(key, 0))))
        session.execute(_LET_GO, {"keys": keys, "the_kind": kind, "now": now})


def cancel(session: Session, reason: str, *where: sa.ColumnElement[bool]) -> int:
    """Give up the jobs that wait and meet these conditions, and return their number.

    What a worker claims at this moment is passed over.
    """
    now = current_site().now()
    waiting = sa.select(_job.c.id).where(_job.c.state == JobState.pending, *where)
    ended = (
        sa.update(_job)
        .where(_locked(dialect_of(session), waiting))
        .values(state=JobState.dead, reason=reason, finished_at=now)
        .returning(_job.c.kind, _job.c.key)
    )
    rows = session.execute(ended).all()
    _let_next_go(session, {(row.kind, row.key) for row in rows if row.key is not None}, now, locked=False)
    return len(rows)


def put_off(session: Session, *, kind: str, host: str, now: datetime, until: datetime) -> None:
    """Let the jobs of a kind for a host that are due wait, all at once, and commit."""
    ids = sa.select(_job.c.id).where(
        _job.c.state == sa.literal_column("'pending'"),
        _BOTH_STATES,
        _job.c.due_at <= now,
        _job.c.kind == kind,
        _job.c.host == host,
    )
    if session.execute(ids.limit(1)).first() is not None:
        _read_is_over(session)
        session.execute(sa.update(_job).where(_locked(dialect_of(session), ids)).values(due_at=until))
    session.commit()


# --- leases ------------------------------------------------------------------------------------------


_OURS: Final = sa.and_(_job.c.id == sa.bindparam("claim_id"), _job.c.token == sa.bindparam("claim_token"))
_ASK_OURS: Final = sa.select(_job.c.id).where(_OURS).with_for_update()
# a write that changes nothing: it is SQLite's lock
_HOLD_OURS: Final = sa.update(_job).where(_OURS).values(token=_job.c.token)


def is_ours(session: Session, claim: Claim) -> bool:
    """Does a claim still hold? If so, it does until the transaction ends.

    A handler that slept past its lease has nothing to say any more: somebody else did its job.
    """
    this = {"claim_id": claim.id, "claim_token": claim.token}
    if dialect_of(session) == "sqlite":
        return bool(session.execute(_HOLD_OURS, this).rowcount)  # type: ignore[attr-defined]
    return session.execute(_ASK_OURS, this).first() is not None


def renew(session: Session, claims: Iterable[Claim], until: datetime) -> list[Claim]:
    """Lengthen the leases of claims that are still ours, commit, and return these."""
    tokens: dict[str, dict[int, Claim]] = {}
    for claim in claims:
        tokens.setdefault(claim.token, {})[claim.id] = claim
    ours: list[Claim] = []
    for token, by_id in tokens.items():
        still = sa.update(_job).where(_job.c.id.in_(by_id), _job.c.token == token).values(due_at=until)
        ours += [by_id[job_id] for job_id in session.scalars(still.returning(_job.c.id))]
    session.commit()
    return ours


def reclaim(session: Session, now: datetime, attempts_allowed: int, *, burials: Collection[str] = ()) -> int:
    """Put jobs whose lease ended back among the due ones, commit, and return their number.

    A job whose worker never came back from the last allowed attempt is dead: it may be what kills
    workers. Of the kinds of ``burials`` it is owed one.
    """
    expired = sa.select(_job.c.id).where(
        _job.c.state == sa.literal_column("'running'"), _BOTH_STATES, _job.c.due_at < now
    )
    count = 0
    if session.execute(expired.limit(1)).first() is not None:
        _read_is_over(session)
        reason = "The worker vanished during the last attempt."
        last = expired.where(_job.c.attempts >= attempts_allowed)
        dead = {"state": JobState.dead, "token": None, "finished_at": now, "reason": reason}
        due = {"state": JobState.pending, "token": None, "due_at": now}
        for ids, values in ((last, dead), (expired, due)):
            taken = sa.update(_job).where(_locked(dialect_of(session), ids)).values(values)
            rows = session.execute(taken.returning(_job.c.id, _job.c.kind)).all()
            if values is dead:
                _owe_burials(session, [(row.id, row.kind) for row in rows], now, burials)
            count += len(rows)
    session.commit()
    return count


def replay(session: Session, job_id: int) -> bool:
    """Make a dead or done job due again with all its attempts; say whether there was one."""
    return replay_all(session, _job.c.id == job_id) > 0


def replay_all(session: Session, *where: sa.ColumnElement[bool]) -> int:
    """Make the dead and done jobs due again that meet these conditions, and return their number."""
    finished = _job.c.state.in_((JobState.dead, JobState.done))
    anew = {"state": JobState.pending, "attempts": 0, "finished_at": None, "reason": ""}
    result = session.execute(
        sa.update(_job).where(finished, *where).values(due_at=current_site().now(), **anew)
    )
    count: int = result.rowcount  # type: ignore[attr-defined]
    if count:
        _added(session)
    return count
