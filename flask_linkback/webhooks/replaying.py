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
from .delivering import NOT_KEPT, WHY_NOT
from .dispatch import decides_itself, hook_of
from .listeners import ACTIVE, hears, is_asked_for
from .recording import DELIVER
from .trying import unwanted

__all__ = [
    "CANCELLED",
    "RECOVERABLE",
    "backfill",
    "cancel",
    "owe",
    "recover",
    "recover_event",
    "refusal",
    "replay",
]

CANCELLED: Final = "cancelled"
"""Why a delivery was given up that a person cancelled."""
RECOVERABLE: Final = timedelta(days=14)
"""How far back what was given up can be recovered."""
_AT_A_TIME: Final = 500
_GONE: Final = "The listener is gone."
_job: Final = Job.__table__
_event: Final = Event.__table__
_GIVEN_UP: Final = (_job.c.kind == DELIVER, _job.c.state == JobState.dead, _job.c.reason != CANCELLED)


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
    listener, event = session.get(Listener, job.listener_id), session.get(Event, job.event_id)
    reason = refusal(job, listener, is_kept=event is not None and event.data is not None, again=again)
    if reason is not None:
        raise ReplayRefused(reason)
    jobs.replay(session, job_id)
    session.refresh(job)
    changes.note_call(session, "replay")
    return job


def refusal(job: Job, listener: Listener | None, *, is_kept: bool, again: bool = False) -> str | None:
    """Return why a delivery to a listener cannot be owed once more; None if it can.

    ``is_kept`` says whether what its event says is still there.
    """
    if job.state in (JobState.pending, JobState.running):
        return f"The delivery {job.id} is still owed: it waits, or is under way."
    if job.state is JobState.done and not again:
        return f"The delivery {job.id} was delivered already: replay it with again=True."
    return _refuses(listener) or (None if is_kept else NOT_KEPT)


def owe(site: Site, event: Event, listener: Listener) -> Job:
    """Owe an event to one listener that was never owed it, whatever its filter says, and return the delivery.

    Raises `ReplayRefused` where the listener did not ask for events of this name or gets none, where the hook
    decides itself and leaves it out, for what was owed to it before, and for what is not matched yet: that
    comes by itself.
    """
    session = site.session
    # two who ask for the same at the same time come one after the other
    session.execute(sa.select(Listener.id).where(Listener.id == listener.id).with_for_update())
    owed = sa.select(_job.c.id).where(
        _job.c.event_id == event.id, _job.c.listener_id == listener.id, _job.c.kind == DELIVER
    )
    reason = _refuses(listener) or (NOT_KEPT if event.data is None else None)
    if reason is None and not hears(listener, event.hook, event.type):
        reason = f"It listens to {listener.hook}, not to {event.type}."
    if reason is None and event.dispatched_at is None:
        reason = "The event is not matched yet: what listeners want of it comes by itself."
    if reason is None and decides_itself(hook_of(site, event.hook)):
        reason = unwanted(site, event, listener)
    if reason is None and session.execute(owed).first() is not None:
        reason = "The listener was owed it before."
    if reason is not None:
        raise ReplayRefused(reason)
    _owe(session, listener, [event.id])
    changes.note_call(session, "owe")
    return session.get_one(Job, session.execute(owed).scalar_one())


def recover_event(site: Site, event: Event, *, owner: str | None = None, dry_run: bool = False) -> int:
    """Owe all deliveries of an event again that were given up; return how many they are.

    Those that a person cancelled are left alone, and so are those to listeners that get nothing now. With
    ``owner`` only those to the listeners of one; with ``dry_run`` they are only counted.
    """
    if event.data is None:
        raise ReplayRefused(NOT_KEPT)
    session = site.session
    active = sa.select(Listener.id).where(Listener.state.in_(ACTIVE))
    if owner is not None:
        active = active.where(Listener.owner == owner)
    given_up = (_job.c.event_id == event.id, *_GIVEN_UP, _job.c.listener_id.in_(active))
    if dry_run:
        return session.scalar(sa.select(sa.func.count()).select_from(_job).where(*given_up)) or 0
    count = jobs.replay_all(session, *given_up)
    changes.note_call(session, "recover")
    return count


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
        *_GIVEN_UP,
        _job.c.created_at >= since,
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
    reason = _refuses(listener)
    if reason is not None:
        raise ReplayRefused(reason)


def _refuses(listener: Listener | None) -> str | None:
    """Return why a listener gets nothing; None if it gets something."""
    if listener is None:
        return _GONE
    return None if listener.state in ACTIVE else WHY_NOT[listener.state]
