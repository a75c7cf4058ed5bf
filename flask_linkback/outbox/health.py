"""Health: is owed work being done?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ..models import Job, JobState, Worker
from ..site import Site
from .jobs import clock

__all__ = ["health"]

SEEN_SECONDS = 60
"""A worker that was not seen for longer counts as away."""


def health(site: Site) -> dict[str, Any]:
    """Return jobs by state, the age of the oldest due job in seconds, and the workers seen lately."""
    with site.new_session() as session:
        now = clock(session, site)
        counts = {state.value: 0 for state in JobState}
        for state, count in session.execute(sa.select(Job.state, sa.func.count()).group_by(Job.state)):
            counts[state.value] = count
        oldest = session.scalar(
            sa.select(sa.func.min(Job.due_at)).where(Job.state == JobState.pending, Job.due_at <= now)
        )
        workers = session.scalars(
            sa.select(Worker).where(Worker.seen_at > now - timedelta(seconds=SEEN_SECONDS))
        ).all()
    return {
        "jobs": counts,
        "oldest_due_seconds": None if oldest is None else round((now - oldest).total_seconds(), 3),
        "workers": [
            {
                "machine": worker.machine,
                "pid": worker.pid,
                "runner": worker.runner,
                "threads": worker.threads,
                "seen_seconds_ago": round((now - worker.seen_at).total_seconds(), 3),
            }
            for worker in workers
        ],
    }
