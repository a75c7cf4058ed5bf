"""Subscriptions: the topics that we follow, until when, and what their hubs brought."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from flask import request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import defer
from werkzeug.routing import BuildError

from ...errors import AddressRefused, BaseURLMissing
from ...fetch import check_url
from ...models import Content, Job, Subscription, SubscriptionRequest, SubscriptionState
from ...site import Site, current_site
from ...websub import leases, subscribing
from ...websub.asking import callback_url
from . import auditing
from .access import Right
from .lists import Choice, Listing, Text
from .screens import Action, Failed, Screen, Visit
from .words import N_, ngettext
from .words import gettext as _

__all__ = ["SCREENS"]

_MOST_REQUESTS: Final = 20
_MOST_CONTENTS: Final = 5
_SHOWN_CHARACTERS: Final = 3000
"""Of each content: five of them leave the page small, whatever is in them."""
_BYTES_OF_A_CHARACTER: Final = 4


def _states() -> list[tuple[str, str]]:
    return [
        ("discovering", _("discovering")),
        ("requested", _("requested")),
        ("active", _("active")),
        ("unsubscribing", _("unsubscribing")),
        ("denied", _("denied")),
        ("failed", _("failed")),
        ("expired", _("expired")),
        ("unsubscribed", _("unsubscribed")),
    ]


def _has_expired(said: str) -> sa.ColumnElement[bool]:
    """The condition that a lease is over, or that none is: one that nobody gave did not end."""
    over = sa.or_(
        Subscription.state == SubscriptionState.expired,
        sa.func.coalesce(Subscription.lease_expires_at <= current_site().now(), sa.false()),
    )
    return over if said == "yes" else sa.not_(over)


def _of_topic(said: str) -> sa.ColumnElement[bool]:
    return sa.or_(
        Subscription.topic_url.icontains(said, autoescape=True),
        Subscription.page_url.icontains(said, autoescape=True),
    )


# a page does not read them, and so answers where nobody can any more
_SECRETS: Final = tuple(defer(each) for each in (Subscription.secret, Subscription.credentials))
_LONG: Final = tuple(defer(each) for each in (Subscription.seen, Subscription.params, Subscription.headers))
LIST: Final = Listing(
    model=Subscription,
    options=(*_SECRETS, *_LONG),
    filters=(
        Choice(
            name="state",
            label=N_("State"),
            choices=_states,
            condition=lambda value: Subscription.state == SubscriptionState(value),
        ),
        Choice(
            name="expired",
            label=N_("Expired"),
            choices=lambda: [("yes", _("yes")), ("no", _("no"))],
            condition=_has_expired,
        ),
        Text(
            name="hub",
            label=N_("Hub"),
            hint="hub.example",
            condition=lambda value: Subscription.hub_url.icontains(value, autoescape=True),
        ),
        Text(name="topic", label=N_("Topic"), hint="example.org/feed", condition=_of_topic),
    ),
)


# --- the list, and how to follow something -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What somebody typed to follow a topic, and what is wrong with it, by the names of the fields."""

    url: str = ""
    hub: str = ""
    lease: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


def _list(visit: Visit) -> ResponseReturnValue:
    return _list_with(visit, _Wish())


def _list_with(visit: Visit, wish: _Wish) -> str:
    rows = LIST.read(visit.site.session)
    return visit.render(
        "subscriptions",
        rows=rows,
        wish=wish,
        now=visit.site.now(),
        lease_seconds=visit.site.settings.websub.lease_seconds,
    )


def _subscribe(visit: Visit) -> ResponseReturnValue:
    """Follow what the form names, as ``flask linkback subscribe`` does."""
    said = {name: request.form.get(name, "").strip() for name in ("url", "hub", "lease")}
    most = visit.site.settings.websub.max_lease_seconds
    errors = {
        name: why
        for name, why in (
            ("url", _why_no_address(said["url"])),
            ("hub", _why_no_address(said["hub"]) if said["hub"] else ""),
            ("lease", _why_no_lease(said["lease"], most)),
        )
        if why
    }
    if errors:
        return _list_with(visit, _Wish(**said, errors=errors)), 422
    _check_address(visit.site)
    hub, lease = said["hub"] or None, int(said["lease"]) if said["lease"] else None
    subscription = subscribing.subscribe(visit.site, said["url"], hub=hub, lease_seconds=lease)
    after = {"topic": subscription.page_url, "hub": hub, "lease_seconds": lease}
    auditing.note(visit.site, "subscribe", f"subscription:{subscription.id}", after=after)
    _say_queued(visit, 1, ngettext("%(n)s subscription is queued.", "%(n)s subscriptions are queued.", 1))
    return visit.go("subscription", id=subscription.id)


def _why_no_address(said: str) -> str:
    if not said:
        return _("Give the address of a feed or of a page.")
    try:
        check_url(said)
    except AddressRefused as error:
        return str(error)
    return ""


def _why_no_lease(said: str, most: int) -> str:
    if not said or (said.isascii() and said.isdigit() and len(said) < 10 and 1 <= int(said) <= most):
        return ""
    return _("Give a number of seconds from 1 to %(most)s, or nothing.", most=most)


def _check_address(site: Site) -> None:
    """Refuse what would need a callback where there is none."""
    try:
        _ = site.base_url
    except BaseURLMissing as error:
        raise Failed(str(error)) from None


# --- renewing and unsubscribing ------------------------------------------------------------------------


def _renew(visit: Visit) -> ResponseReturnValue:
    """Renew those that were ticked, but for those that somebody ended."""
    chosen = visit.chosen(Subscription, Right.manage)
    _check_address(visit.site)
    wanted = [each for each in chosen if each.state is not SubscriptionState.unsubscribed]
    for each in wanted:
        _change(visit, each, "renew", subscribing.renew)
    failed = len(chosen) - len(wanted)
    _say_renewed(visit, len(wanted))
    if failed:
        visit.say(
            ngettext(
                "Failed to renew %(n)s subscription: it was unsubscribed.",
                "Failed to renew %(n)s subscriptions: they were unsubscribed.",
                failed,
            ),
            level="bad",
        )
    return visit.back()


def _renew_one(visit: Visit) -> ResponseReturnValue:
    _check_address(visit.site)
    _change(visit, visit.obj, "renew", subscribing.renew)
    _say_renewed(visit, 1)
    return visit.back()


def _unsubscribe(visit: Visit) -> ResponseReturnValue:
    """Let the hubs end those that were ticked, but for those that have ended."""
    chosen = visit.chosen(Subscription, Right.manage)
    _check_address(visit.site)
    wanted = [each for each in chosen if each.state is not SubscriptionState.unsubscribed]
    _end(visit, wanted)
    failed = len(chosen) - len(wanted)
    if failed:
        visit.say(
            ngettext(
                "Failed to unsubscribe from %(n)s topic: it was unsubscribed before.",
                "Failed to unsubscribe from %(n)s topics: they were unsubscribed before.",
                failed,
            ),
            level="bad",
        )
    return visit.back()


def _unsubscribe_one(visit: Visit) -> ResponseReturnValue:
    if visit.obj.state is SubscriptionState.unsubscribed:
        raise Failed(_("This subscription has ended."))
    _check_address(visit.site)
    _end(visit, [visit.obj])
    return visit.back()


def _end(visit: Visit, wanted: Sequence[Subscription]) -> None:
    for each in wanted:
        _change(visit, each, "unsubscribe", subscribing.unsubscribe)
    ended = sum(each.state is SubscriptionState.unsubscribed for each in wanted)
    _say_queued(
        visit,
        len(wanted) - ended,
        ngettext(
            "%(n)s subscription is queued for unsubscription.",
            "%(n)s subscriptions are queued for unsubscription.",
            len(wanted) - ended,
        ),
    )
    if ended:
        visit.say(
            ngettext(
                "Unsubscribed from %(n)s topic, whose hub was never asked.",
                "Unsubscribed from %(n)s topics, whose hubs were never asked.",
                ended,
            )
        )


def _change(
    visit: Visit, subscription: Subscription, action: str, change: Callable[[Site, Subscription], Any]
) -> None:
    before = subscription.state.value
    change(visit.site, subscription)
    auditing.note(
        visit.site,
        action,
        f"subscription:{subscription.id}",
        before={"state": before},
        after={"state": subscription.state.value},
    )


def _say_renewed(visit: Visit, count: int) -> None:
    _say_queued(
        visit,
        count,
        ngettext(
            "%(n)s subscription is queued for renewal.", "%(n)s subscriptions are queued for renewal.", count
        ),
    )


def _say_queued(visit: Visit, count: int, message: str) -> None:
    if count:
        visit.say(message, link=url_for(".jobs", kind=leases.ASK), label=_("See the jobs"))


# --- one of them ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A request to a hub: its callback, and the newest job that asks the hub."""

    request: SubscriptionRequest
    job: Job | None
    callback: str
    is_over: bool

    @property
    def state(self) -> str:
        """Where it stands, in a word."""
        if self.is_over:
            return N_("over")
        if self.request.mode == "unsubscribe":
            return N_("unsubscribing")
        if self.request.verified_at is not None:
            return N_("active")
        return N_("requested") if self.request.requested_at is not None else N_("waiting")


@dataclass(frozen=True, kw_only=True)
class _Brought:
    """What a hub brought, or was found: ``beginning`` is None where the body is not kept any more."""

    content_type: str
    received_at: datetime
    is_pushed: bool
    size: int | None
    beginning: bytes | None


def _show(visit: Visit) -> ResponseReturnValue:
    subscription: Subscription = visit.obj
    kept = sa.select(Subscription.secret.is_not(None), Subscription.credentials.is_not(None))
    has_secret, has_credentials = visit.site.session.execute(
        kept.where(Subscription.id == subscription.id)
    ).one()
    return visit.render(
        "subscription",
        subscription=subscription,
        has_secret=has_secret,
        has_credentials=has_credentials,
        now=visit.site.now(),
        requests=_requests_of(visit.site, subscription),
        contents=_contents_of(visit.site, subscription),
        shown_characters=_SHOWN_CHARACTERS,
        history=auditing.history(visit.site, f"subscription:{subscription.id}"),
    )


def _requests_of(site: Site, subscription: Subscription) -> list[_Asked]:
    """Return the newest requests, those first whose callbacks take something yet."""
    session, now = site.session, site.now()
    listening = leases.listening(subscription, now)
    found = (
        sa.select(SubscriptionRequest)
        .options(defer(SubscriptionRequest.secret))
        .where(SubscriptionRequest.subscription_id == subscription.id)
        .order_by(sa.case((listening, 0), else_=1), SubscriptionRequest.id.desc())
        .limit(_MOST_REQUESTS)
    )
    requests = session.scalars(found).all()
    keys = {leases.ask_key(each): each.id for each in requests}
    jobs = sa.select(Job).where(Job.key.in_(keys), Job.kind == leases.ASK).order_by(Job.id)
    newest = {keys[job.key]: job for job in session.scalars(jobs) if job.key is not None} if keys else {}
    return [
        _Asked(
            request=each,
            job=newest.get(each.id),
            callback=_callback(site, each),
            is_over=each.ends_at is not None and each.ends_at <= now,
        )
        for each in requests
    ]


def _callback(site: Site, asked: SubscriptionRequest) -> str:
    """Return the URL that a hub calls; "" where the application has no address, or no such endpoint."""
    try:
        return callback_url(site, asked)
    except (BaseURLMissing, BuildError):
        return ""


def _contents_of(site: Site, subscription: Subscription) -> list[_Brought]:
    """Return what came last, the newest first, with no more of the bodies than is shown."""
    beginning = sa.func.substr(
        Content.body, 1, _SHOWN_CHARACTERS * _BYTES_OF_A_CHARACTER, type_=Content.body.type
    )
    found = (
        sa.select(
            Content.content_type,
            Content.received_at,
            Content.request_id,
            sa.func.length(Content.body),
            beginning,
        )
        .where(Content.subscription_id == subscription.id)
        # by an expression, or PostgreSQL may look for it among all contents
        .order_by((Content.id + sa.literal_column("0")).desc())
        .limit(_MOST_CONTENTS)
    )
    return [
        _Brought(
            content_type=content_type,
            received_at=received_at,
            is_pushed=request_id is not None,
            size=size,
            beginning=body,
        )
        for content_type, received_at, request_id, size, body in site.session.execute(found)
    ]


SCREENS: Final = (
    Screen(
        name="subscriptions",
        rule="/subscriptions",
        show=_list,
        actions={
            "subscribe": Action(right=Right.manage, run=_subscribe),
            "renew": Action(right=Right.manage, run=_renew),
            "unsubscribe": Action(right=Right.manage, run=_unsubscribe),
        },
    ),
    Screen(
        name="subscription",
        rule="/subscriptions/<int:id>",
        show=_show,
        load=lambda visit, id_: visit.load(Subscription, id_, options=_SECRETS),
        actions={
            "renew": Action(right=Right.manage, run=_renew_one),
            "unsubscribe": Action(right=Right.manage, run=_unsubscribe_one),
        },
    ),
)
