"""Hub: our own, its topics, and who follows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from flask import request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import defer
from werkzeug.routing import BuildError

from ...errors import BaseURLMissing
from ...models import Attempt, Content, Job, Subscriber, SubscriberState, Topic
from ...site import Site
from ...websub import distributing, subscribers
from ...websub.hub import DELIVER, hub_url
from . import auditing
from .access import Right
from .lists import Choice, Listing, Text, whole_number
from .screens import Action, Failed, Screen, Visit
from .words import N_, ngettext
from .words import gettext as _

__all__ = ["SCREENS"]

_MOST_DELIVERIES: Final = 30
_MOST_ATTEMPTS: Final = 400
_LONGEST_REASON: Final = 300
_OPEN: Final = (SubscriberState.pending, SubscriberState.active)


def _states() -> list[tuple[str, str]]:
    return [
        ("pending", _("pending")),
        ("active", _("active")),
        ("expired", _("expired")),
        ("ended", _("ended")),
    ]


def _of_topic(said: str) -> sa.ColumnElement[bool]:
    """The condition that a subscriber follows a topic, by its number or a part of its URL."""
    number = whole_number(said)
    if number is not None:
        return Subscriber.topic_id == number
    return Subscriber.topic_id.in_(sa.select(Topic.id).where(Topic.url.icontains(said, autoescape=True)))


TOPICS: Final = Listing(
    model=Topic,
    filters=(
        Text(
            name="url",
            label=N_("Topic"),
            hint="/feed.atom",
            condition=lambda value: Topic.url.icontains(value, autoescape=True),
        ),
    ),
)
# a page does not read them, and so answers where nobody can any more
_SECRETS: Final = (defer(Subscriber.secret), defer(Subscriber.wanted_secret))
SUBSCRIBERS: Final = Listing(
    model=Subscriber,
    options=_SECRETS,
    filters=(
        Choice(
            name="state",
            label=N_("State"),
            choices=_states,
            condition=lambda value: Subscriber.state == SubscriberState(value),
        ),
        Text(name="topic", label=N_("Topic"), hint=N_("its number, or /feed.atom"), condition=_of_topic),
        Text(
            name="host",
            label=N_("Host"),
            hint="example.org",
            condition=lambda value: Subscriber.callback_host == value.lower(),
        ),
    ),
)


# --- the hub -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What a topic said last."""

    received_at: datetime
    content_type: str
    size: int | None


def _show(visit: Visit) -> ResponseReturnValue:
    session = visit.site.session
    common: dict[str, Any] = {
        "is_on": visit.site.settings.websub.hub_enabled,
        "address": _address(visit.site),
        "takes_any": visit.site.settings.websub.hub_topics == "any",
    }
    if request.args.get("tab") == "subscribers":
        return visit.render(
            "hub", tab="subscribers", rows=SUBSCRIBERS.read(session), now=visit.site.now(), **common
        )
    rows = TOPICS.read(session)
    return visit.render(
        "hub",
        tab="topics",
        rows=rows,
        counts=_counts(visit.site, rows.rows),
        said=_said(visit.site, rows.rows),
        **common,
    )


def _address(site: Site) -> str:
    """Return the public address of our hub; "" where the site has none, or the hub is mounted nowhere."""
    try:
        return hub_url(site)
    except (BaseURLMissing, BuildError):
        return ""


def _counts(site: Site, topics: Sequence[Topic]) -> Mapping[int, tuple[int, int]]:
    """Return how many follow each topic, and how many ever did that are still known."""
    if not topics:
        return {}
    found = (
        sa.select(Subscriber.topic_id, Subscriber.state, sa.func.count())
        .where(Subscriber.topic_id.in_([topic.id for topic in topics]))
        .group_by(Subscriber.topic_id, Subscriber.state)
    )
    counts: dict[int, tuple[int, int]] = {}
    for topic_id, state, count in site.session.execute(found):
        active, total = counts.get(topic_id, (0, 0))
        counts[topic_id] = (active + (count if state is SubscriberState.active else 0), total + count)
    return counts


def _said(site: Site, topics: Sequence[Topic]) -> Mapping[int, _Said]:
    """Return what each topic said last, without the bodies."""
    ids = [topic.content_id for topic in topics if topic.content_id is not None]
    if not ids:
        return {}
    found = sa.select(
        Content.id, Content.received_at, Content.content_type, sa.func.length(Content.body)
    ).where(Content.id.in_(ids))
    return {
        id_: _Said(received_at=received_at, content_type=content_type, size=size)
        for id_, received_at, content_type, size in site.session.execute(found)
    }


# --- a subscriber --------------------------------------------------------------------------------------


def _show_one(visit: Visit) -> ResponseReturnValue:
    return _show_with(visit)


def _show_with(visit: Visit, *, denying: str | None = None) -> str:
    """Show a subscriber; ``denying`` is the reason with which somebody is about to end it."""
    session, subscriber = visit.site.session, visit.obj
    deliveries = distributing.deliveries_of(session, subscriber, limit=_MOST_DELIVERIES)
    return visit.render(
        "subscriber",
        subscriber=subscriber,
        topic=session.get(Topic, subscriber.topic_id),
        has_secret=session.scalar(
            sa.select(Subscriber.secret.is_not(None)).where(Subscriber.id == subscriber.id)
        ),
        now=visit.site.now(),
        is_open=subscriber.state in _OPEN,
        is_active=subscriber.state is SubscriberState.active,
        denying=denying,
        deliveries=deliveries,
        attempts=_attempts_of(visit.site, deliveries),
        history=auditing.history(visit.site, f"subscriber:{subscriber.id}"),
    )


def _attempts_of(site: Site, deliveries: Sequence[Job]) -> Mapping[int, list[Attempt]]:
    """Return the attempts of each delivery, without what was answered."""
    if not deliveries:
        return {}
    found = (
        sa.select(Attempt)
        .options(defer(Attempt.headers), defer(Attempt.body))
        .where(Attempt.job_id.in_([job.id for job in deliveries]))
        .order_by(Attempt.id.desc())
        .limit(_MOST_ATTEMPTS)
    )
    by_job: dict[int, list[Attempt]] = {}
    for attempt in site.session.scalars(found):
        by_job.setdefault(attempt.job_id, []).insert(0, attempt)
    return by_job


def _redeliver(visit: Visit) -> ResponseReturnValue:
    """Owe a subscriber what its topic says now once more."""
    subscriber: Subscriber = visit.obj
    if not visit.site.settings.websub.hub_enabled:
        raise Failed(_("The hub is switched off: nothing is sent."))
    if subscriber.state is not SubscriberState.active:
        raise Failed(_("Only an active subscriber is sent something."))
    if not distributing.redeliver(visit.site.session, subscriber):
        raise Failed(_("The topic was not fetched yet: there is nothing to send."))
    auditing.note(
        visit.site, "redeliver", f"subscriber:{subscriber.id}", after={"topic": subscriber.topic_url}
    )
    visit.say(
        ngettext("%(n)s delivery is queued.", "%(n)s deliveries are queued.", 1),
        link=url_for(".jobs", kind=DELIVER, host=subscriber.callback_host),
        label=_("See the jobs"),
    )
    return visit.back()


def _deny(visit: Visit) -> ResponseReturnValue:
    """End a subscription: asked for once, it is shown what that means; confirmed, it is done."""
    subscriber: Subscriber = visit.obj
    reason = request.form.get("reason", "").strip()[:_LONGEST_REASON]
    if subscriber.state not in _OPEN:
        raise Failed(_("There is no subscription to end."))
    if not request.form.get("confirm"):
        return _show_with(visit, denying=reason)
    before = subscriber.state.value
    subscribers.deny(visit.site, subscriber, reason)
    auditing.note(
        visit.site,
        "deny",
        f"subscriber:{subscriber.id}",
        before={"state": before},
        after={"state": subscriber.state.value},
        reason=reason,
    )
    visit.say(
        ngettext(
            "The subscription has ended. %(n)s message to its callback is queued.",
            "The subscription has ended. %(n)s messages to its callback are queued.",
            1,
        ),
        link=url_for(".jobs", kind=subscribers.DENY),
        label=_("See the jobs"),
    )
    return visit.back()


SCREENS: Final = (
    Screen(name="hub", rule="/hub", show=_show),
    Screen(
        name="subscriber",
        rule="/subscribers/<int:id>",
        show=_show_one,
        load=lambda visit, id_: visit.load(Subscriber, id_, options=_SECRETS),
        actions={
            "redeliver": Action(right=Right.resend, run=_redeliver),
            "deny": Action(right=Right.manage, run=_deny),
        },
    ),
)
