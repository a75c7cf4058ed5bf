"""Outcomes: what became of the deliveries of the last day, counted for charts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from ...models import Job, JobState
from ...site import Site
from ...webhooks.recording import DELIVER
from .charts import Stack
from .lists import WINDOW

__all__ = ["HOURS", "by_hour", "by_listener", "ended_since"]

HOURS: Final = 24


def by_hour(site: Site, now: datetime, *conditions: Any) -> list[Stack]:
    """Return how many deliveries succeeded and were given up in each hour, the oldest first."""
    starts = _starts(now, 1)
    return _stacks(site, Job.kind, starts, *conditions).get(DELIVER) or _drawn(starts, {})


def by_listener(site: Site, ids: Sequence[int], hours: int) -> dict[int, list[Stack]]:
    """Return the same for some listeners, those that had any, in steps of so many hours."""
    if not ids:
        return {}
    return _stacks(site, Job.listener_id, _starts(site.now(), hours), Job.listener_id.in_(ids))


def ended_since(at: datetime) -> list[Any]:
    """The condition that a job is a delivery that ended since, among as many jobs as a page looks at."""
    newest = sa.select(sa.func.max(Job.id) - WINDOW).scalar_subquery()
    ended = Job.state.in_((JobState.done, JobState.dead))
    return [Job.id > newest, Job.kind == DELIVER, ended, Job.finished_at >= at]


def _starts(now: datetime, hours: int) -> list[datetime]:
    begin = (now - timedelta(hours=HOURS - hours)).replace(minute=0, second=0, microsecond=0)
    return [begin + timedelta(hours=n) for n in range(0, HOURS, hours)]


def _stacks(site: Site, key: Any, starts: Sequence[datetime], *conditions: Any) -> dict[Any, list[Stack]]:
    """Return what ended from each time to the next, by a column: one query."""
    bucket = sa.case(*[(Job.finished_at >= start, n) for n, start in reversed(list(enumerate(starts)))])
    asked = (
        sa.select(key, bucket.label("bucket"), Job.state, sa.func.count())
        .where(*ended_since(starts[0]), *conditions)
        .group_by(key, sa.text("bucket"), Job.state)
    )
    counts: dict[Any, dict[tuple[int, JobState], int]] = {}
    for each, n, state, count in site.session.execute(asked):
        counts.setdefault(each, {})[n, state] = count
    return {each: _drawn(starts, of_it) for each, of_it in counts.items()}


def _drawn(starts: Sequence[datetime], counts: dict[tuple[int, JobState], int]) -> list[Stack]:
    return [
        Stack(
            label=f"{start.astimezone(UTC):%H}:00",
            good=counts.get((n, JobState.done), 0),
            bad=counts.get((n, JobState.dead), 0),
        )
        for n, start in enumerate(starts)
    ]
