"""Events: what happened, what it changed, and who was told of it, or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from flask import abort, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session, defer

from ...errors import ReplayRefused
from ...models import Event, Job, JobState, Listener, digest
from ...site import Site
from ...webhooks import replaying
from ...webhooks.dispatch import decides_itself, hook_of
from ...webhooks.listeners import ACTIVE, keys_of
from ...webhooks.recording import DELIVER, DISPATCH
from ...webhooks.trying import why_each
from . import auditing, reach
from .access import Right
from .deliveries import TAIL_SECONDS, Status, allowed_of, of_type, status_of
from .lists import Listing, Since, Text, whole_number
from .screens import Action, Failed, Screen, Visit
from .words import N_, ngettext
from .words import gettext as _

__all__ = ["SCREENS"]

MOST_LISTENERS: Final = 100
"""So many fit into a page that is not too large."""
MOST_CHANGES: Final = 100


# --- the list ------------------------------------------------------------------------------------------


LIST: Final = Listing(
    model=Event,
    options=(defer(Event.data), defer(Event.changes)),
    filters=(
        Text(name="type", label=N_("Type"), hint="person.*", condition=of_type, indexed=True),
        Text(
            name="object",
            label=N_("Object"),
            hint="Person:42",
            condition=lambda value: Event.object_key == value,
        ),
        Since(name="since", label=N_("Since"), condition=lambda value: Event.created_at >= value),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many deliveries an event has, and how many of them were given up."""

    total: int = 0
    given_up: int = 0


def _list(visit: Visit) -> ResponseReturnValue:
    session = visit.site.session
    conditions = reach.events(visit)
    # an index finds the events of one type, and not those of a pattern
    is_served = not conditions and not LIST.values().get("type", "").endswith("*")
    rows = LIST.read(session, *conditions, indexed=is_served)
    return visit.render(
        "events",
        rows=rows,
        counts=_counts(visit, [event.id for event in rows]),
        tail=TAIL_SECONDS if "tail" in request.args else None,
    )


def _counts(visit: Visit, ids: Sequence[int]) -> Mapping[int | None, Count]:
    if not ids:
        return {}
    given_up = sa.func.sum(sa.case((Job.state == JobState.dead, 1), else_=0))
    asked = (
        sa.select(Job.event_id, sa.func.count(), given_up)
        .where(Job.event_id.in_(ids), Job.kind == DELIVER, *reach.deliveries(visit))
        .group_by(Job.event_id)
    )
    found = visit.site.session.execute(asked)
    return {event_id: Count(total=total, given_up=int(dead)) for event_id, total, dead in found}


# --- one -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """A listener that asked for events of a name, and what it got of one."""

    listener: Listener
    job: Job | None = None
    status: Status | None = None
    reason: str = ""
    """Why it did not get it."""
    can_be_sent: bool = False


def _load(visit: Visit, id_: int) -> Event | None:
    return visit.load(Event, id_)


def _show(visit: Visit) -> ResponseReturnValue:
    site, event = visit.site, visit.obj
    session = site.session
    of_it = sa.select(Job).where(Job.event_id == event.id, Job.kind == DISPATCH).options(defer(Job.payload))
    hearings = _hearings(visit, event)
    changed = list((event.changes or {}).items())
    return visit.render(
        "event",
        event=event,
        matching=None if event.dispatched_at else session.scalar(of_it.limit(1)),
        changes=[(name, *_old_and_new(value)) for name, value in changed[:MOST_CHANGES]],
        changes_left=max(len(changed) - MOST_CHANGES, 0),
        hearings=hearings[:MOST_LISTENERS],
        told=sum(each.job is not None for each in hearings[:MOST_LISTENERS]),
        has_more=len(hearings) > MOST_LISTENERS,
        most=MOST_LISTENERS,
        count=_counts(visit, [event.id]).get(event.id, Count()),
        # whoever acts on it is somebody of the admin: an owner does not see who
        history=auditing.history(visit.site, f"event:{event.id}") if visit.owner is None else [],
    )


def _old_and_new(value: Any) -> tuple[Any, Any]:
    return (value[0], value[1]) if isinstance(value, list) and len(value) == 2 else (None, value)


def _hearings(visit: Visit, event: Event) -> list[Hearing]:
    """Return the newest listeners that hear of an event, one more than are shown; first those that got it."""
    site, session = visit.site, visit.site.session
    hashes = [digest(key) for key in keys_of(event.hook, event.type)]
    asked = (
        sa.select(Listener)
        .where(Listener.hook_hash.in_(hashes), *reach.listeners(visit))
        .options(defer(Listener.headers), defer(Listener.config))
        .order_by(Listener.id.desc())
        .limit(MOST_LISTENERS + 1)
    )
    listeners = session.scalars(asked).all()
    jobs = _jobs_of(session, event, [listener.id for listener in listeners])
    reasons = why_each(site, event, [each for each in listeners if each.id not in jobs])
    now = site.now()
    found = [_hearing(site, event, each, jobs.get(each.id), reasons.get(each.id), now) for each in listeners]
    return sorted(found, key=lambda each: each.job is None)


def _jobs_of(session: Session, event: Event, ids: Sequence[int]) -> dict[int | None, Job]:
    if not ids:
        return {}
    asked = (
        sa.select(Job)
        .where(Job.event_id == event.id, Job.kind == DELIVER, Job.listener_id.in_(ids))
        .options(defer(Job.payload))
    )
    return {job.listener_id: job for job in session.scalars(asked)}


def _hearing(
    site: Site, event: Event, listener: Listener, job: Job | None, reason: str | None, now: datetime
) -> Hearing:
    if job is not None:
        status = status_of(job, now, partial(allowed_of, site, listener, event))
        return Hearing(listener=listener, job=job, status=status)
    is_left_out = reason is not None and decides_itself(hook_of(site, event.hook))
    can_be_sent = (
        event.dispatched_at is not None
        and event.data is not None
        and listener.state in ACTIVE
        and not is_left_out
    )
    return Hearing(listener=listener, reason=reason or _why_late(event, listener), can_be_sent=can_be_sent)


def _why_late(event: Event, listener: Listener) -> str:
    """Say why a listener has nothing that wants an event."""
    if event.dispatched_at is None:
        return _("The event is not matched yet.")
    if listener.created_at > event.dispatched_at:
        return _("It came later than the event.")
    return _("It would get it as it is now. When it happened it was paused, or had another filter.")


# --- sending -------------------------------------------------------------------------------------------


def _send(visit: Visit) -> ResponseReturnValue:
    """Send an event to one listener that did not get it."""
    event: Event = visit.obj
    listener = _listener(visit)
    try:
        job = replaying.owe(visit.site, event, listener)
    except ReplayRefused as error:
        raise Failed(_(str(error))) from None
    auditing.note(visit.site, "send", f"event:{event.id}", after={"listener": listener.id})
    visit.say(
        ngettext("%(n)s delivery is queued.", "%(n)s deliveries are queued.", 1),
        link=url_for(".delivery", id=job.id),
        label=_("See what becomes of it"),
    )
    return visit.back()


def _listener(visit: Visit) -> Listener:
    wanted = Listener.id == (whole_number(request.form.get("listener", "")) or 0)
    listener = visit.site.session.scalar(sa.select(Listener).where(wanted, *reach.listeners(visit)))
    if listener is None:
        raise Failed(_("The listener is gone."))
    if not visit.may(Right.resend, listener):
        abort(403)
    return listener


def _recover(visit: Visit) -> ResponseReturnValue:
    """Send an event again to all that it was given up for: first it is said how many they are."""
    event: Event = visit.obj
    is_sure = "confirm" in request.form
    try:
        count = replaying.recover_event(visit.site, event, owner=visit.owner, dry_run=not is_sure)
    except ReplayRefused as error:
        raise Failed(_(str(error))) from None
    if not count:
        raise Failed(_("Nothing of it was given up that can be sent again now."))
    if not is_sure:
        text = ngettext(
            "%(n)s delivery of this event was given up, and is sent again.",
            "%(n)s deliveries of this event were given up, and are sent again.",
            count,
        )
        return visit.confirm(_("Send again?"), text, label=_("Send again"), back=f"{event.type} {event.id}")
    auditing.note(visit.site, "recover", f"event:{event.id}", after={"queued": count})
    visit.say(
        ngettext("%(n)s delivery is queued.", "%(n)s deliveries are queued.", count),
        link=url_for(".deliveries", event=event.id),
        label=_("See them"),
    )
    return visit.back()


SCREENS: Final = (
    Screen(name="events", rule="/events", show=_list, for_owners=True, owned=reach.events),
    Screen(
        name="event",
        rule="/events/<int:id>",
        show=_show,
        load=_load,
        actions={
            "send": Action(right=Right.resend, run=_send),
            "recover": Action(right=Right.resend, run=_recover),
        },
        for_owners=True,
        owned=reach.events,
    ),
)
