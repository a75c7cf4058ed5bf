"""Replaying: deliveries that were given up are owed again, or never, or for the first time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import changes
from ..errors import ReplayRefused
from ..models import Event, Job, JobState, Listener
from ..outbox import jobs
from ..site import Site
from .delivering import WHY_NOT
from .listeners import ACTIVE, is_asked_for
from .recording import DELIVER
from .trying import unwanted

__all__ = ["CANCELLED", "RECOVERABLE", "backfill", "cancel", "recover", "replay"]

CANCELLED: Final = "cancelled"
"""Why a delivery was given up that a person cancelled."""
RECOVERABLE: Final = timedelta(days=14)
"""How far back what was given up can be recovered."""
_AT_A_TIME: Final = 500
_GONE: Final = "The listener is gone."
_NOT_KEPT: Final = "The event is not kept any more."
_job: Final = Job.__table__
_event: Final = Event.__table__


def replay(site: Site, delivery: Job | int, *, again: bool = False) -> Job:
    """Owe a finished delivery once more, with all its attempts and the same ``webhook-id``.

    Raises `ReplayRefused` while it waits or runs, for what was delivered unless ``again``, and where
    there is nothing to send or nobody to send it to.
    """
    session = site.session
    job_id = delivery if isinstance(delivery, int) else delivery.id
    job = session.get(Job, job_id, populate_existing=True, with_for_update=True)
    if job is None or job.kind != DELIVER:
        raise ReplayRefused(f"There is no delivery {job_id}.")
    if job.state in (JobState.pending, JobState.running):
        raise ReplayRefused(f"The delivery {job_id} is still owed: it waits, or is under way.")
    if job.state is JobState.done and not again:
        raise ReplayRefused(f"The delivery {job_id} was delivered already: replay it with again=True.")
    _check_listener(session.get(Listener, job.listener_id))
    event = session.get(Event, job.event_id)
    if event is None or event.data is None:
        raise ReplayRefused(_NOT_KEPT)
    jobs.replay(session, job_id)
    session.refresh(job)
    changes.note_call(session, "replay")
    return job


def recover(site: Site, listener: Listener, since: datetime, *, dry_run: bool = False) -> int:
    """Owe a listener all deliveries again that were given up since a time; return how many they are.

    Those that a person cancelled are left alone, and so are those whose event is not kept any more. With
    ``dry_run`` they are only counted. ValueError for a time of more than 14 days ago.
    """
    if since < site.now() - RECOVERABLE:
        raise ValueError(f"What was given up can be recovered for {RECOVERABLE.days} days.")
    _check_listener(listener)
    session = site.session
    kept = sa.exists().where(_event.c.id == _job.c.event_id, _event.c.data.is_not(None))
    given_up = (
        _job.c.listener_id == listener.id,
        _job.c.kind == DELIVER,
        _job.c.state == JobState.dead,
        _job.c.created_at >= since,
        _job.c.reason != CANCELLED,
        kept,
    )
    if dry_run:
        counted = sa.select(sa.func.count()).select_from(_job).where(*given_up)
        return session.scalar(counted) or 0
    count = jobs.replay_all(session, *given_up)
    changes.note_call(session, "recover")
    return count


def backfill(site: Site, listener: Listener, since: datetime, *, dry_run: bool = False) -> int:
    """Owe a listener the events since a time that it wants and was never owed; return how many they are.

    In the order in which they happened. With ``dry_run`` they are only counted.
    """
    _check_listener(listener)
    count = 0
    session = site.session
    for ids in _missed(site, session, listener, since):
        count += len(ids)
        if ids and not dry_run:
            _owe(session, listener, ids)
    if not dry_run:
        changes.note_call(session, "backfill")
    return count


def _missed(site: Site, session: Session, listener: Listener, since: datetime) -> Iterator[list[int]]:
    """Yield the ids of the events that a listener wants and was never owed, some at a time."""
    owed = sa.exists().where(
        _job.c.event_id == Event.id, _job.c.listener_id == listener.id, _job.c.kind == DELIVER
    )
    # what waits to be dispatched comes by itself
    there = (Event.created_at >= since, Event.data.is_not(None), Event.dispatched_at.is_not(None))
    asked = sa.select(Event).where(*there, ~owed, is_asked_for(listener.hook))
    last = 0
    while True:
        page = session.scalars(asked.where(Event.id > last).order_by(Event.id).limit(_AT_A_TIME)).all()
        if not page:
            return
        last = page[-1].id
        yield [event.id for event in page if unwanted(site, event, listener) is None]


def _owe(session: Session, listener: Listener, ids: list[int]) -> None:
    jobs.add_for_each(
        session,
        DELIVER,
        where=(Event.id.in_(ids),),
        host=sa.literal(listener.host),
        # NULL where the event has no order
        key=sa.literal(f"{listener.id}:") + Event.order_hash,
        listener_id=sa.literal(listener.id, _job.c.listener_id.type),
        event_id=Event.id,
        order_by=Event.id,
    )


def cancel(
    site: Site, listener: Listener | None = None, *, event: Event | None = None, job: Job | None = None
) -> int:
    """Give up the deliveries that wait for a listener, of an event or both, or one; return how many.

    What is under way is not held back.
    """
    if listener is None and event is None and job is None:
        raise TypeError("cancel() needs a listener, an event or a delivery.")
    conditions = [_job.c.kind == DELIVER]
    if listener is not None:
        conditions.append(_job.c.listener_id == listener.id)
    if event is not None:
        conditions.append(_job.c.event_id == event.id)
    if job is not None:
        conditions.append(_job.c.id == job.id)
    count = jobs.cancel(site.session, CANCELLED, *conditions)
    changes.note_call(site.session, "cancel")
    return count


def _check_listener(listener: Listener | None) -> None:
    if listener is None:
        raise ReplayRefused(_GONE)
    if listener.state not in ACTIVE:
        raise ReplayRefused(WHY_NOT[listener.state])
