"""Overview: is owed work done, what goes out and what comes back, and who makes trouble."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from flask.typing import ResponseReturnValue

from ...models import Job, JobState, Listener, ListenerState, Worker
from ...outbox.health import SEEN_SECONDS
from ...outbox.jobs import clock
from . import outcomes, reach
from .charts import bars_of
from .lists import capped, capped_count
from .screens import Screen, Visit

__all__ = ["SCREENS", "DEAD"]

_MOST_COUNTED: Final = 10_000
_WORST: Final = 10


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A listener that fails, and how often it did lately."""

    listener: Listener
    failed: int
    total: int

    @property
    def percent(self) -> int:
        return round(100 * self.failed / self.total) if self.total else 0


DEAD: Final = capped(Job.state == JobState.dead)
"""The number of jobs that were given up, and that somebody may replay."""


def _show(visit: Visit) -> ResponseReturnValue:
    session, site = visit.site.session, visit.site
    now = clock(session, site)
    of_owner = reach.deliveries(visit)
    worker = session.scalar(sa.select(Worker).order_by(Worker.seen_at.desc()).limit(1))
    oldest = session.scalar(
        sa.select(Job.due_at)
        .where(Job.state == JobState.pending, Job.due_at <= now, *of_owner)
        .order_by(Job.due_at)
        .limit(1)
    )
    waiting = capped_count(session, Job.state == JobState.pending, *of_owner, most=_MOST_COUNTED)
    stacks = outcomes.by_hour(site, now, *of_owner)
    delivered, failed = sum(stack.good for stack in stacks), sum(stack.bad for stack in stacks)
    return visit.render(
        "overview",
        worker=worker,
        is_away=worker is None or worker.seen_at < now - timedelta(seconds=SEEN_SECONDS),
        oldest=oldest,
        oldest_seconds=None if oldest is None else (now - oldest).total_seconds(),
        waiting=waiting,
        most_counted=_MOST_COUNTED,
        bars=bars_of(stacks),
        delivered=delivered,
        failed=failed,
        troubles=_troubles(visit, now),
    )


def _troubles(visit: Visit, now: datetime) -> list[Trouble]:
    """Return the listeners that fail most, of those that are in trouble or gave up something lately."""
    session = visit.site.session
    failed = sa.func.sum(sa.case((Job.state == JobState.dead, 1), else_=0)).label("failed")
    counted = (
        sa.select(Job.listener_id, failed, sa.func.count().label("total"))
        .where(*outcomes.ended_since(now - timedelta(hours=outcomes.HOURS)))
        .group_by(Job.listener_id)
        .subquery()
    )
    bad = (ListenerState.failing, ListenerState.disabled)
    asked = (
        sa.select(Listener, sa.func.coalesce(counted.c.failed, 0), sa.func.coalesce(counted.c.total, 0))
        .outerjoin(counted, counted.c.listener_id == Listener.id)
        .where(sa.or_(counted.c.failed > 0, Listener.state.in_(bad)), *reach.listeners(visit))
        .order_by(sa.func.coalesce(counted.c.failed * 1.0 / counted.c.total, 1.0).desc(), Listener.id)
        .limit(_WORST)
    )
    return [
        Trouble(listener=listener, failed=int(failed), total=int(total))
        for listener, failed, total in session.execute(asked)
    ]


SCREENS: Final = (Screen(name="overview", rule="/", show=_show, for_owners=True),)
