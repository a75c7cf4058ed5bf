"""Deliveries: what was sent to whom, what came of it, and what waits; to be sent again, or never."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from flask import request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session, defer

from ...errors import ReplayRefused
from ...models import Attempt, Event, Job, JobState, Listener
from ...site import Site
from ...webhooks import replaying
from ...webhooks.delivering import NOT_KEPT, Message, attempts_allowed, draft
from ...webhooks.dispatch import hook_of
from ...webhooks.hooks import Hook
from ...webhooks.listeners import is_asked_for
from ...webhooks.options import options_of
from ...webhooks.recording import DELIVER
from . import auditing, reach
from .access import Right
from .curl import MAX_BODY_BYTES, curl_of
from .jobs import attempts_of, last_attempts
from .lists import Choice, Filter, Listing, Rows, Since, Text
from .screens import Action, Failed, Screen, Visit
from .words import N_, ngettext
from .words import gettext as _

__all__ = ["SCREENS", "TAIL_SECONDS", "Status", "allowed_of", "of_type", "status_of"]

TAIL_SECONDS: Final = 5
_OWED: Final = (JobState.pending, JobState.running)
_MOST_LEFT: Final = 5
"""How many reasons are told why something is left alone."""
logger = logging.getLogger("flask_linkback.admin")


# --- what became of a delivery, in words ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a delivery is, as people say it."""

    name: str
    label: str
    tone: str
    more: str = ""
    at: datetime | None = None
    """When it is tried next."""


def status_of(job: Job, now: datetime, allowed: Callable[[], int]) -> Status:
    """Return where a delivery is; ``allowed`` says how often it is tried at most."""
    if job.state is JobState.running:
        return Status(name="running", label=_("under way"), tone="wait")
    if job.state is JobState.done:
        if job.reason:
            return Status(name="done", label=_("not sent"), tone="idle", more=job.reason)
        return Status(name="done", label=_("delivered"), tone="good")
    if job.state is JobState.dead:
        if job.reason == replaying.CANCELLED:
            return Status(name="cancelled", label=_("cancelled"), tone="idle")
        return Status(name="dead", label=_("given up"), tone="bad", more=job.reason)
    at = job.due_at if job.due_at > now else None
    if job.attempts:
        more = _("%(n)s of %(all)s tried", n=job.attempts, all=allowed())
        return Status(name="retrying", label=_("retrying"), tone="wait", more=more, at=at)
    return Status(name="pending", label=_("waits"), tone="wait", more=job.reason, at=at)


def _states() -> list[tuple[str, str]]:
    return [
        ("pending", _("waits or is retried")),
        ("retrying", _("retrying")),
        ("running", _("under way")),
        ("done", _("delivered")),
        ("dead", _("given up")),
        ("cancelled", _("cancelled")),
    ]


def _in_state(value: str) -> sa.ColumnElement[bool]:
    # a literal: with a value SQLite does not use the index of what was given up
    dead = Job.state == sa.literal_column("'dead'")
    match value:
        case "dead":
            return sa.and_(dead, Job.reason != replaying.CANCELLED)
        case "cancelled":
            return sa.and_(dead, Job.reason == replaying.CANCELLED)
        case "retrying":
            return sa.and_(Job.state == JobState.pending, Job.attempts > 0)
    return Job.state == JobState(value)


# --- the list ------------------------------------------------------------------------------------------


def _codes() -> list[tuple[str, str]]:
    return [("2xx", "2xx"), ("3xx", "3xx"), ("4xx", "4xx"), ("5xx", "5xx"), ("none", _("no answer"))]


# by an expression, or PostgreSQL may look for it among all attempts
_NEWEST_FIRST: Final = (Attempt.id + sa.literal_column("0")).desc()


def _answered(value: str) -> sa.ColumnElement[bool]:
    """The condition that the last answer was one of these."""
    last = (
        sa.select(Attempt.status_code)
        .where(Attempt.job_id == Job.id)
        .order_by(_NEWEST_FIRST)
        .limit(1)
        .correlate(Job)
        .scalar_subquery()
    )
    if value == "none":
        return last.is_(None)
    least = 100 * int(value[0])
    return last.between(least, least + 99)


def of_type(value: str) -> sa.ColumnElement[bool]:
    """The condition that an event is of a type, or of a pattern such as ``person.*``."""
    return is_asked_for(value) if value.endswith("*") else Event.type == value


def _tells_of_type(value: str) -> sa.ColumnElement[bool]:
    return sa.exists().where(Event.id == Job.event_id, of_type(value))


_STATE: Final = Choice(name="state", label=N_("State"), choices=_states, condition=_in_state)
_FILTERS: Final[tuple[Filter, ...]] = (
    _STATE,
    Choice(name="code", label=N_("Answer"), choices=_codes, condition=_answered),
    Text(name="type", label=N_("Event type"), hint="person.*", condition=_tells_of_type),
    Text(
        name="host",
        label=N_("Host"),
        hint="example.org",
        condition=lambda value: Job.host == value.lower(),
    ),
    Text(
        name="listener",
        label=N_("Listener"),
        hint="12",
        number=True,
        condition=lambda value: Job.listener_id == value,
        indexed=True,
    ),
    Text(
        name="event",
        label=N_("Event"),
        hint="12",
        number=True,
        condition=lambda value: Job.event_id == value,
        indexed=True,
    ),
    Since(name="since", label=N_("Since"), condition=lambda value: Job.created_at >= value),
)
LIST: Final = Listing(model=Job, options=(defer(Job.payload),), filters=_FILTERS)
GIVEN_UP: Final = replace(LIST, filters=(replace(_STATE, indexed=True), *_FILTERS[1:]))
"""The same where only what was given up is shown, which has an index."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """A delivery in the list, with what is known of it elsewhere."""

    job: Job
    status: Status
    listener: Any
    event: Any
    last: Any


def _list(visit: Visit) -> ResponseReturnValue:
    rows = _read(visit)
    return visit.render(
        "deliveries",
        rows=rows,
        deliveries=_told(visit.site, rows.rows),
        tail=TAIL_SECONDS if "tail" in request.args else None,
    )


def _read(visit: Visit) -> Rows[Job]:
    values = LIST.values()
    listing = GIVEN_UP if values.get("state") == "dead" else LIST
    is_served = "listener" in values or "event" in values or listing is GIVEN_UP
    conditions = (Job.kind == DELIVER, *reach.deliveries(visit))
    return listing.read(visit.site.session, *conditions, indexed=is_served and visit.owner is None)


def _told(site: Site, found: Sequence[Job]) -> list[Told]:
    """Return deliveries with their listeners, events and last attempts: one query for each of these."""
    session, now = site.session, site.now()
    listeners = _by_id(session, _LISTENERS, {job.listener_id for job in found})
    events = _by_id(session, _EVENTS, {job.event_id for job in found})
    lasts = last_attempts(site, [job.id for job in found])
    told = []
    for job in found:
        listener, event = listeners.get(job.listener_id), events.get(job.event_id)
        status = status_of(job, now, partial(allowed_of, site, listener, event))
        told.append(Told(job=job, status=status, listener=listener, event=event, last=lasts.get(job.id)))
    return told


# columns alone: objects of the ORM would take longer than the rest of the page
_LISTENERS: Final = sa.select(Listener.id, Listener.host, Listener.options, Listener.state)
_EVENTS: Final = sa.select(Event.id, Event.type, Event.hook, Event.object_key)


def _by_id(session: Session, asked: Any, ids: Iterable[int | None]) -> dict[int | None, Any]:
    wanted = [each for each in ids if each is not None]
    if not wanted:
        return {}
    rows = session.execute(asked.where(asked.selected_columns.id.in_(wanted)))
    return {row.id: row for row in rows}


def allowed_of(site: Site, listener: Any, event: Any) -> int:
    """Return how often a delivery of an event to a listener is tried at most; both are objects or rows."""
    of_site = len(site.settings.outbox.retry_schedule)
    if listener is None or event is None:
        return of_site
    return attempts_allowed(hook_of(site, event.hook), options_of(listener), of_site)


# --- one -----------------------------------------------------------------------------------------------


def _load(visit: Visit, id_: int) -> Job | None:
    return visit.load(Job, id_, Job.kind == DELIVER)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What would be sent now, without a secret, or why there is nothing to show."""

    message: Message | None = None
    curl: str = ""
    is_from_file: bool = False
    """Does the command read the body from a file, since it is long?"""
    sender: str = ""
    """The class of the hook that sends in a way of its own."""
    reason: str = ""


def _show(visit: Visit) -> ResponseReturnValue:
    site, job = visit.site, visit.obj
    session = site.session
    listener = session.get(Listener, job.listener_id)
    event = session.get(Event, job.event_id)
    return visit.render(
        "delivery",
        job=job,
        listener=listener,
        event=event,
        status=status_of(job, site.now(), partial(allowed_of, site, listener, event)),
        attempts=attempts_of(visit, job),
        sent=_request(site, event, listener),
        history=auditing.history(visit.site, f"delivery:{job.id}", f"job:{job.id}"),
    )


def _request(site: Site, event: Event | None, listener: Listener | None) -> Request:
    if listener is None:
        return Request(reason=_("The listener is gone."))
    if event is None or event.data is None:
        return Request(reason=_(NOT_KEPT))
    try:
        message = draft(site, event, listener)
    except Exception:  # whatever the application's hook raises while it makes a body
        logger.exception("A delivery cannot be shown: its body cannot be made.")
        return Request(reason=_("The body cannot be made: the log says why."))
    kind = type(hook_of(site, event.hook))
    return Request(
        message=message,
        curl=curl_of(message.url, message.headers, message.body),
        is_from_file=len(message.body) > MAX_BODY_BYTES,
        sender="" if kind.deliver is Hook.deliver else kind.__name__,
    )


# --- sending again -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What sending some deliveries again would do."""

    given_up: int
    delivered: int
    left: Sequence[tuple[str, int]]
    """Why, and how many, are left alone."""


def _plan(visit: Visit, found: Sequence[Job]) -> Plan:
    session = visit.site.session
    listeners = _by_id(session, _LISTENERS, {job.listener_id for job in found})
    of_these = Event.id.in_({job.event_id for job in found})
    kept = set(session.scalars(sa.select(Event.id).where(of_these, Event.data.is_not(None))))
    counts: Counter[JobState] = Counter()
    left: Counter[str] = Counter()
    for job in found:
        if job.state in _OWED:
            left[_("still owed (it waits, or is under way)")] += 1
            continue
        listener = listeners.get(job.listener_id)
        reason = replaying.refusal(job, listener, is_kept=job.event_id in kept, again=True)
        if reason is None:
            counts[job.state] += 1
        else:
            left[_(reason)] += 1
    return Plan(
        given_up=counts[JobState.dead],
        delivered=counts[JobState.done],
        left=left.most_common(_MOST_LEFT),
    )


def _resend(visit: Visit) -> ResponseReturnValue:
    """Send what was ticked again: first it is said what that means."""
    found = visit.chosen(Job, Right.resend, Job.kind == DELIVER)
    if "confirm" not in request.form:
        return _ask(visit, found)
    queued = _send_again(visit, found, again="again" in request.form)
    _say_queued(visit, queued)
    left = len(found) - queued
    if left:
        visit.say(ngettext("%(n)s was left alone.", "%(n)s were left alone.", left), level="bad")
    return visit.back()


def _resend_one(visit: Visit) -> ResponseReturnValue:
    job: Job = visit.obj
    if job.state in _OWED:
        raise Failed(_("This delivery is still owed: it waits, or is under way."))
    if job.state is JobState.done and "confirm" not in request.form:
        return _ask(visit, [job])
    try:
        _replay(visit, job, again="confirm" in request.form)
    except ReplayRefused as error:
        raise Failed(str(error)) from None
    _say_queued(visit, 1)
    return visit.back()


def _ask(visit: Visit, found: Sequence[Job]) -> ResponseReturnValue:
    plan = _plan(visit, found)
    if not plan.given_up and not plan.delivered:
        why = "; ".join(reason.rstrip(".") for reason, _count in plan.left)
        raise Failed(_("Nothing can be sent again: %(why)s.", why=why))
    is_one = visit.obj is not None
    return visit.confirm(
        _("Send again?"),
        label=_("Send again"),
        back=_("Delivery %(id)s", id=visit.obj.id) if is_one else _("Deliveries"),
        values={"id": [job.id for job in found]},
        template="resend",
        plan=plan,
        is_one=is_one,
    )


def _send_again(visit: Visit, found: Sequence[Job], *, again: bool) -> int:
    """Owe deliveries once more, but for those that cannot be; return how many are."""
    queued = 0
    for job in found:
        try:
            _replay(visit, job, again=again)
        except ReplayRefused:
            continue
        queued += 1
    if not queued:
        raise Failed(_("Nothing of it can be sent again now."))
    return queued


def _replay(visit: Visit, job: Job, *, again: bool) -> None:
    before = job.state.value
    replaying.replay(visit.site, job, again=again)
    auditing.note(visit.site, "resend", f"delivery:{job.id}", before={"state": before})


def _say_queued(visit: Visit, count: int) -> None:
    visit.say(
        ngettext("%(n)s delivery is queued.", "%(n)s deliveries are queued.", count),
        link=url_for(".deliveries", state="pending"),
        label=_("See what waits"),
    )


# --- cancelling ----------------------------------------------------------------------------------------


def _cancel(visit: Visit) -> ResponseReturnValue:
    found = visit.chosen(Job, Right.manage, Job.kind == DELIVER)
    return _cancel_these(visit, found)


def _cancel_one(visit: Visit) -> ResponseReturnValue:
    return _cancel_these(visit, [visit.obj])


def _cancel_these(visit: Visit, found: Sequence[Job]) -> ResponseReturnValue:
    count = 0
    for job in found:
        before = job.state.value
        if replaying.cancel(visit.site, job=job):
            auditing.note(visit.site, "cancel", f"delivery:{job.id}", before={"state": before})
            count += 1
    if not count:
        raise Failed(_("Nothing of it waits: what is under way, or ended, cannot be cancelled."))
    visit.say(ngettext("%(n)s delivery is cancelled.", "%(n)s deliveries are cancelled.", count))
    left = len(found) - count
    if left:
        visit.say(ngettext("%(n)s was left alone.", "%(n)s were left alone.", left), level="bad")
    return visit.back()


SCREENS: Final = (
    Screen(
        name="deliveries",
        rule="/deliveries",
        show=_list,
        actions={
            "resend": Action(right=Right.resend, run=_resend),
            "cancel": Action(right=Right.manage, run=_cancel),
        },
        for_owners=True,
        owned=reach.deliveries,
    ),
    Screen(
        name="delivery",
        rule="/deliveries/<int:id>",
        show=_show,
        load=_load,
        actions={
            "resend": Action(right=Right.resend, run=_resend_one),
            "cancel": Action(right=Right.manage, run=_cancel_one),
        },
        for_owners=True,
        owned=reach.deliveries,
    ),
)
