"""Errands: certain jobs done now, in this thread, because a person waits for them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from ..models import Job, JobState
from ..site import Site
from . import jobs
from .jobs import LEASE_SECONDS, Claim, Finished
from .worker import perform

__all__ = ["run_errands"]

_LOOK_SECONDS: Final = 0.05
"""How often a job in another worker's hands is looked at."""


def run_errands(site: Site, ids: Sequence[int]) -> None:
    """Do those of some jobs that are due; return when all are finished, or wait for a retry.

    A job that another worker was quicker to claim is waited for, as long as a claim holds.
    """
    for job_id in ids:
        claim = _claim(site, job_id)
        if claim is not None:
            outcome = perform(site, claim)
            with site.new_session() as session:
                jobs.turn(
                    session,
                    now=jobs.clock(session, site),
                    schedule=site.settings.outbox.retry_schedule,
                    finished=[Finished(claim=claim, outcome=outcome)],
                    burials=site.burials,
                )
    deadline = time.monotonic() + LEASE_SECONDS
    never = threading.Event()
    while _are_running(site, ids) and time.monotonic() < deadline:
        never.wait(_LOOK_SECONDS)


def _claim(site: Site, job_id: int) -> Claim | None:
    """Claim a job that is due; None when it is not, or when somebody else has it."""
    token = uuid.uuid4().hex
    with site.new_session() as session:
        now = jobs.clock(session, site)
        claim = (
            sa.update(Job)
            .where(Job.id == job_id, Job.state == JobState.pending, Job.due_at <= now)
            .values(
                state=JobState.running,
                token=token,
                due_at=now + timedelta(seconds=2 * LEASE_SECONDS),  # nobody renews it
                attempts=Job.attempts + 1,
            )
            .execution_options(synchronize_session=False)
        )
        claimed = session.execute(claim).rowcount  # type: ignore[attr-defined]
        session.commit()
        if not claimed:
            return None
        job = session.get_one(Job, job_id)
        return Claim(
            id=job.id,
            kind=job.kind,
            payload=job.payload or {},
            host=job.host,
            key=job.key,
            attempts=job.attempts,
            listener_id=job.listener_id,
            event_id=job.event_id,
            created_at=job.created_at,
            token=token,
            attempts_allowed=len(site.settings.outbox.retry_schedule),
        )


def _are_running(site: Site, ids: Sequence[int]) -> bool:
    running = sa.select(Job.id).where(Job.id.in_(ids), Job.state == JobState.running)
    with site.new_session() as session:
        return session.scalar(running.limit(1)) is not None
