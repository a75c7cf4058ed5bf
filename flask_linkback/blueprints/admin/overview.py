"""Overview: is owed work done, what goes out and what comes back, and who makes trouble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from flask.typing import ResponseReturnValue

from ...models import Job, JobState, Listener, ListenerState, Worker
from ...outbox.health import SEEN_SECONDS
from ...outbox.jobs import clock
from ...site import Site
from ...webhooks.recording import DELIVER
from . import reach
from .charts import Stack, bars_of
from .lists import WINDOW, capped, capped_count
from .screens import Screen, Visit

__all__ = ["SCREENS", "DEAD", "deliveries_by_hour"]

HOURS: Final = 24
_MOST_COUNTED: Final = 10_000
_WORST: Final = 10
_ENDED: Final = (JobState.done, JobState.dead)


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
    stacks = deliveries_by_hour(site, now, of_owner)
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
        stacks=stacks,
        delivered=delivered,
        failed=failed,
        troubles=_troubles(visit, now),
    )


def deliveries_by_hour(
    site: Site, now: datetime, conditions: Sequence[Any] = (), *, hours: int = HOURS, each: int = 1
) -> list[Stack]:
    """Return how many deliveries succeeded and were given up in each of the last hours, the oldest first.

    Of the newest jobs, as many as a page looks at.
    """
    begin = (now - timedelta(hours=hours - each)).replace(minute=0, second=0, microsecond=0)
    starts = [begin + timedelta(hours=n) for n in range(0, hours, each)]
    bucket = sa.case(
        *[(Job.finished_at >= start, n) for n, start in reversed(list(enumerate(starts)))], else_=-1
    ).label("bucket")
    newest = sa.select(sa.func.max(Job.id) - WINDOW).scalar_subquery()
    asked = (
        sa.select(bucket, Job.state, sa.func.count())
        .where(
            Job.id > newest, Job.kind == DELIVER, Job.state.in_(_ENDED), Job.finished_at >= begin, *conditions
        )
        .group_by(bucket, Job.state)
    )
    counts = {(n, state): count for n, state, count in site.session.execute(asked)}
    return [
        Stack(
            label=f"{start.astimezone(UTC):%H}:00",
            good=counts.get((n, JobState.done), 0),
            bad=counts.get((n, JobState.dead), 0),
        )
        for n, start in enumerate(starts)
    ]


def _troubles(visit: Visit, now: datetime) -> list[Trouble]:
    """Return the listeners that fail most, of those that are in trouble or gave up something lately."""
    session = visit.site.session
    newest = sa.select(sa.func.max(Job.id) - WINDOW).scalar_subquery()
    failed = sa.func.sum(sa.case((Job.state == JobState.dead, 1), else_=0)).label("failed")
    counted = (
        sa.select(Job.listener_id, failed, sa.func.count().label("total"))
        .where(
            Job.id > newest,
            Job.kind == DELIVER,
            Job.state.in_(_ENDED),
            Job.finished_at >= now - timedelta(hours=HOURS),
        )
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
