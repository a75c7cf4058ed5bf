"""Jobs: owed work is added in the caller's transaction, claimed and settled by a worker."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..errors import ConfigError
from ..models import Attempt, Job, JobState
from ..site import current_site
from .retry import next_due

__all__ = [
    "ADDED",
    "CHANNEL",
    "AttemptMade",
    "Claim",
    "Finished",
    "NewJob",
    "Outcome",
    "Verdict",
    "add",
    "add_once",
    "dead",
    "done",
    "later",
    "again",
    "reclaim",
    "renew",
    "replay",
    "turn",
]

CHANNEL: Final = "flask_linkback"
"""The PostgreSQL channel that wakes workers."""
ADDED: Final = "flask_linkback.added"
"""The mark in ``session.info`` of a transaction that added jobs."""

_job: Final = Job.__table__
_columns: Final = (
    _job.c.id,
    _job.c.kind,
    _job.c.payload,
    _job.c.host,
    _job.c.key,
    _job.c.attempts,
    _job.c.listener_id,
    _job.c.event_id,
    _job.c.created_at,
)


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
    rows = [
        {
            "kind": job.kind,
            "state": JobState.pending,
            "due_at": job.due_at or now,
            "host": job.host,
            "key": job.key,
            "payload": job.payload,
            "listener_id": job.listener_id,
            "event_id": job.event_id,
            "created_at": now,
            "attempts": 0,
            "reason": "",
        }
        for job in jobs
    ]
    if rows:
        session.execute(_insert(session), rows)
        session.info[ADDED] = True
    return len(rows)


def _insert(session: Session) -> Any:
    statement = sa.insert(_job)
    if session.get_bind(clause=statement).dialect.name == "postgresql":
        # sent with the commit, and not at all by a rollback; no round trip of its own
        statement = statement.returning(sa.func.pg_notify(CHANNEL, ""))
    return statement


def add_once(session: Session, job: NewJob) -> bool:
    """Write a job unless one of its kind and key waits already; say whether it was written.

    The waiting job is locked until the transaction ends, so that it starts after what the caller
    wrote is visible. Call it after the caller's own write, which on SQLite is the lock.
    """
    waiting = (
        sa.select(_job.c.id)
        .where(_job.c.key == job.key, _job.c.state == JobState.pending, _job.c.kind == job.kind)
        .limit(1)
        .with_for_update(read=True, skip_locked=True)
    )
    if session.execute(waiting).first() is not None:
        return False
    add(session, [job])
    return True


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
    """A handler's verdict; ``seconds`` is the wait of `later`, or the Retry-After of `again`."""

    verdict: Verdict
    reason: str = ""
    seconds: float | None = None
    overloaded: bool = False
    attempt: AttemptMade | None = None


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

    @property
    def is_last(self) -> bool:
        """Will a failure of this attempt be the end?"""
        return self.attempts >= self.attempts_allowed


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A claim and what became of it."""

    claim: Claim
    outcome: Outcome
    at: datetime


def turn(
    session: Session,
    *,
    now: datetime,
    schedule: Sequence[float],
    finished: Iterable[Finished] = (),
    want: int = 0,
    token: str = "",
    lease_seconds: float = 30.0,
    without_hosts: Collection[str] = (),
) -> list[Claim]:
    """Settle what finished and claim up to ``want`` due jobs, in one transaction.

    What is settled must carry the token of its claim; a claim that was lost is left alone. Claimed
    jobs are running until their lease ends. The session is committed.
    """
    _settle(session, finished, schedule)
    claims: list[Claim] = []
    if want > 0:
        lease = now + timedelta(seconds=lease_seconds)
        rows = _claim(session, now, lease, want, token, without_hosts)
        claims = [
            Claim(
                **{**row._mapping, "payload": row.payload or {}},
                token=token,
                attempts_allowed=len(schedule),
            )
            for row in rows
        ]
    session.commit()
    # RETURNING promises no order
    return sorted(claims, key=lambda claim: claim.id)


def _claim(
    session: Session, now: datetime, lease: datetime, want: int, token: str, without_hosts: Collection[str]
) -> Sequence[sa.Row[Any]]:
    due = (
        sa.select(_job.c.id)
        .where(_job.c.state == sa.literal_column("'pending'"), _job.c.due_at <= now)
        .order_by(_job.c.due_at, _job.c.id)
        .limit(want)
    )
    if without_hosts:
        due = due.where(_job.c.host.not_in(without_hosts))
    claim = (
        sa.update(_job)
        .values(state=JobState.running, token=token, due_at=lease, attempts=_job.c.attempts + 1)
        .returning(*_columns)
    )
    match session.get_bind(clause=claim).dialect.name:
        case "postgresql":
            # an array is made once; a bare sub-select may be planned to run, and lock, more often
            picked = sa.func.array(due.with_for_update(skip_locked=True).scalar_subquery())
            claim = claim.where(_job.c.id == sa.any_(picked))
        case "sqlite":
            # look first: an idle worker takes no write lock
            if session.execute(due.limit(1)).first() is None:
                return []
            claim = claim.where(_job.c.id.in_(due))
        case other:
            raise ConfigError(f"The outbox works on SQLite and PostgreSQL, not yet on {other}.")
    return session.execute(claim, execution_options={"synchronize_session": False}).all()


def _settle(session: Session, finished: Iterable[Finished], schedule: Sequence[float]) -> None:
    by_token: dict[tuple[str, str], list[Finished]] = {}
    attempts: list[dict[str, Any]] = []
    for each in finished:
        claim, outcome = each.claim, each.outcome
        if outcome.verdict is Verdict.done and not outcome.reason:
            by_token.setdefault(("done", claim.token), []).append(each)
        else:
            values = _settled_values(each, schedule)
            session.execute(
                sa.update(_job).where(_job.c.id == claim.id, _job.c.token == claim.token).values(values)
            )
        if outcome.attempt is not None:
            attempts.append(
                {"job_id": claim.id, "number": claim.attempts, **_attempt_values(outcome.attempt)}
            )
    for (_, token), several in by_token.items():
        session.execute(
            sa.update(_job)
            .where(_job.c.id.in_([each.claim.id for each in several]), _job.c.token == token)
            .values(state=JobState.done, token=None, finished_at=several[-1].at)
        )
    if attempts:
        session.execute(sa.insert(Attempt.__table__), attempts)


def _attempt_values(attempt: AttemptMade) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in AttemptMade.__dataclass_fields__}


def _settled_values(each: Finished, schedule: Sequence[float]) -> dict[str, Any]:
    claim, outcome = each.claim, each.outcome
    ended = {"token": None, "finished_at": each.at, "reason": outcome.reason}
    match outcome.verdict:
        case Verdict.done:
            return {"state": JobState.done, **ended}
        case Verdict.dead:
            return {"state": JobState.dead, **ended}
        case Verdict.later:
            due_at = each.at + timedelta(seconds=outcome.seconds or 0)
            return {
                "state": JobState.pending,
                "token": None,
                "due_at": due_at,
                "attempts": claim.attempts - 1,
                "reason": outcome.reason,
            }
    due = next_due(
        each.at,
        claim.attempts,
        schedule,
        retry_after=outcome.seconds,
        overloaded=outcome.overloaded,
    )
    if due is None:
        return {"state": JobState.dead, **ended}
    return {"state": JobState.pending, "token": None, "due_at": due, "reason": outcome.reason}


def renew(session: Session, claims: Iterable[Claim], until: datetime) -> None:
    """Lengthen the leases of claims that are still ours, and commit."""
    tokens: dict[str, list[int]] = {}
    for claim in claims:
        tokens.setdefault(claim.token, []).append(claim.id)
    for token, ids in tokens.items():
        session.execute(sa.update(_job).where(_job.c.id.in_(ids), _job.c.token == token).values(due_at=until))
    session.commit()


def reclaim(session: Session, now: datetime, attempts_allowed: int) -> int:
    """Put jobs whose lease ended back among the due ones, commit, and return their number.

    A job whose worker never came back from the last allowed attempt is dead: it may be what kills
    workers.
    """
    expired = sa.and_(_job.c.state == sa.literal_column("'running'"), _job.c.due_at < now)
    if session.execute(sa.select(_job.c.id).where(expired).limit(1)).first() is None:
        session.rollback()
        return 0
    reason = "The worker vanished during the last attempt."
    session.execute(
        sa.update(_job)
        .where(expired, _job.c.attempts >= attempts_allowed)
        .values(state=JobState.dead, token=None, finished_at=now, reason=reason)
    )
    result = session.execute(
        sa.update(_job).where(expired).values(state=JobState.pending, token=None, due_at=now)
    )
    session.commit()
    return result.rowcount  # type: ignore[attr-defined,no-any-return]


def replay(session: Session, job_id: int) -> bool:
    """Make a dead or done job due again with all its attempts; say whether there was one."""
    result = session.execute(
        sa.update(_job)
        .where(_job.c.id == job_id, _job.c.state.in_((JobState.dead, JobState.done)))
        .values(state=JobState.pending, due_at=current_site().now(), attempts=0, finished_at=None, reason="")
    )
    session.info[ADDED] = True
    return bool(result.rowcount)  # type: ignore[attr-defined]
