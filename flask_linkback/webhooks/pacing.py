"""Pacing: how often, and how many at a time, a listener is told.

A listener that sets limits has a row of its own, which its deliveries lock for a moment before they are
sent, whichever process sends them: one short transaction for each, and a second one after it where their
number is limited. Who has to wait is given a time and is not claimed before that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..models import Job, JobState, Listener, ListenerPace
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.writers import Writers
from ..site import Site
from .options import Options
from .recording import DELIVER

__all__ = ["give_back", "take"]

PACED: Final = "The listener wants no more in this time."
CROWDED: Final = "The listener wants no more at the same time."
TOLERANCE: Final = timedelta(seconds=0.25)
"""So much earlier than its time a delivery may begin: workers do not wake to the millisecond."""
CROWDED_SECONDS: Final = 5.0
"""How long it is waited at most for the end of another delivery."""
_AT_A_TIME: Final = 500
_job: Final = Job.__table__
_pace: Final = ListenerPace.__table__
_BOTH_STATES: Final = sa.text("state IN ('pending', 'running')")
T = TypeVar("T")


def take(site: Site, claim: Claim, listener: Listener, options: Options, seconds: float) -> Outcome | None:
    """Return None where a delivery of so many seconds may begin now, else when to come again.

    That costs no attempt. What else is due for the listener is put off alike, so that nobody looks at it.
    """
    session = site.session

    def write() -> Outcome | None:
        now = site.now()
        pace = _locked(session, listener.id, now)
        leases = [lease for lease in pace.leases if lease[1] > now.timestamp() and lease[0] != claim.id]
        if options.concurrency is not None and len(leases) >= options.concurrency:
            _put_off_all(session, listener.id, now)
            session.commit()
            return jobs.later(CROWDED_SECONDS, CROWDED)
        values: dict[str, Any] = {}
        if options.interval is not None:
            if not _may_begin(session, claim, pace, now, options.interval):
                due_at = _give_times(session, listener.id, pace, now, options.interval)
                session.commit()
                return jobs.later((due_at - now).total_seconds(), PACED)
            values["next_at"] = max(pace.next_at, now) + options.interval
        if options.concurrency is not None:
            # a worker that dies gives nothing back
            values["leases"] = [*leases, [claim.id, now.timestamp() + seconds + jobs.LEASE_SECONDS]]
        session.execute(sa.update(_pace).where(_pace.c.listener_id == listener.id).values(**values))
        session.commit()
        return None

    return _record(site, session, write)


def give_back(site: Site, claim: Claim, listener: Listener) -> None:
    """End a delivery: the next one that waits for that is due."""
    session = site.session

    def write() -> None:
        now = site.now()
        pace = _locked(session, listener.id, now)
        leases = [lease for lease in pace.leases if lease[0] != claim.id]
        session.execute(sa.update(_pace).where(_pace.c.listener_id == listener.id).values(leases=leases))
        first = _waiting(listener.id).where(
            _job.c.reason == CROWDED,
            _job.c.due_at > now,
            _job.c.due_at <= now + timedelta(seconds=CROWDED_SECONDS),
        )
        ids = list(session.scalars(first.limit(1)))
        session.execute(sa.update(_job).where(_job.c.id.in_(ids)).values(due_at=now))
        jobs.wake(session)
        session.commit()

    _record(site, session, write)


def _may_begin(session: Session, claim: Claim, pace: Any, now: datetime, interval: timedelta) -> bool:
    """Is it time for one more? Who was given a time before goes before who comes new."""
    if now < pace.next_at - max(interval / 2, TOLERANCE):
        return False
    if now >= pace.free_at:
        return True
    reason = session.scalar(sa.select(_job.c.reason).where(_job.c.id == claim.id))
    return reason == PACED


def _give_times(
    session: Session, listener_id: int, pace: Any, now: datetime, interval: timedelta
) -> datetime:
    """Give a delivery the next time that is free, and the ones after that to all others that are due."""
    first: datetime = max(pace.next_at, pace.free_at)
    due = _waiting(listener_id).where(_job.c.due_at <= now).limit(_AT_A_TIME)
    ids = list(session.scalars(due.with_for_update(skip_locked=True)))
    if ids:
        session.execute(
            sa.update(_job)
            .where(_job.c.id == sa.bindparam("job_id"))
            .values(due_at=sa.bindparam("at", type_=_job.c.due_at.type), reason=PACED),
            [{"job_id": job_id, "at": first + number * interval} for number, job_id in enumerate(ids, 1)],
        )
    free_at = first + (len(ids) + 1) * interval
    session.execute(sa.update(_pace).where(_pace.c.listener_id == listener_id).values(free_at=free_at))
    return first


def _put_off_all(session: Session, listener_id: int, now: datetime) -> None:
    due = _waiting(listener_id).where(_job.c.due_at <= now).limit(_AT_A_TIME)
    ids = list(session.scalars(due.with_for_update(skip_locked=True)))
    if ids:
        until = now + timedelta(seconds=CROWDED_SECONDS)
        session.execute(sa.update(_job).where(_job.c.id.in_(ids)).values(due_at=until, reason=CROWDED))


def _waiting(listener_id: int) -> sa.Select[tuple[int]]:
    return (
        sa.select(_job.c.id)
        .where(
            _job.c.state == JobState.pending,
            _BOTH_STATES,
            _job.c.listener_id == listener_id,
            _job.c.kind == DELIVER,
        )
        .order_by(_job.c.due_at, _job.c.id)
    )


def _locked(session: Session, listener_id: int, now: datetime) -> Any:
    """Return what is written down of a listener's pace, locked until the session commits."""
    this = _pace.c.listener_id == listener_id
    # a write that changes nothing: it is SQLite's lock
    lock = sa.update(_pace).where(this).values(listener_id=listener_id).returning(*_pace.c)
    row = session.execute(lock).first()
    if row is None:
        new = {"listener_id": listener_id, "next_at": now, "free_at": now, "leases": []}
        with suppress(IntegrityError), session.begin_nested():  # somebody else was first
            session.execute(sa.insert(_pace).values(**new))
        row = session.execute(lock).one()
    return row


def _record(site: Site, session: Session, write: Callable[[], T]) -> T:
    return site.get(Writers).record(site.engine, session, write)
