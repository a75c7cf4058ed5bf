"""Tending: leases are renewed in time, and what a hub left unanswered is asked again."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Final

from .. import signals
from ..models import Subscription, SubscriptionRequest, SubscriptionState
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.writers import Writers
from ..site import Site
from .leases import (
    ASK,
    CONFIRM_SECONDS,
    OVERLAP,
    ask_key,
    begin,
    end,
    end_if_last,
    end_subscription,
    fail,
    lock,
    next_look,
    open_request,
    owe_tending,
    renewal_at,
)

__all__ = ["tend"]

_OVER: Final = (SubscriptionState.denied, SubscriptionState.unsubscribed)
_UNCONFIRMED: Final = "The hub took the request and did not confirm it."


def tend(site: Site, claim: Claim) -> Outcome:
    """Handle a job: look at one subscription, and do what the time has come for.

    A lease that is over is announced, one that is nearly over is renewed, beginning with the discovery of
    the hub (WebSub, section 6.1). A request that the hub took and did not confirm within 10 minutes is made
    again, by the retry schedule; the lease that is active stays so. All of it is decided by what the rows
    say now: the same look at another time does no harm.
    """
    write = functools.partial(_tend, site, claim)
    subscription, state = site.get(Writers).record(site.engine, site.session, write)
    if subscription is not None and state is SubscriptionState.expired:
        site.send(signals.subscription_expired, subscription=subscription)
    elif subscription is not None and state is SubscriptionState.failed:
        site.send(signals.subscription_failed, subscription=subscription, reason=subscription.reason)
    return jobs.done()


def _tend(site: Site, claim: Claim) -> tuple[Subscription | None, SubscriptionState | None]:
    """Write what is to be done and commit; return the subscription and the end that it has come to."""
    session, now = site.session, site.now()
    subscription = lock(session, claim.payload["subscription_id"])
    if subscription is None or not jobs.is_ours(session, claim):
        session.rollback()
        return None, None
    ended: SubscriptionState | None = None
    is_over = subscription.lease_expires_at is not None and subscription.lease_expires_at <= now
    state = subscription.state
    if is_over and state is SubscriptionState.unsubscribing:
        end_subscription(site, session, subscription, SubscriptionState.unsubscribed)
    elif is_over and state is SubscriptionState.active:
        # its callback takes what comes all the same: some hubs do not count
        subscription.state = ended = SubscriptionState.expired
        subscription.lease_expires_at = None
        subscription.reason = subscription.reason or "The lease ran out."
    elif state is SubscriptionState.unsubscribing:
        end_if_last(site, session, subscription)
    request = open_request(session, subscription.id)
    if request is None:
        if _wants_request(site, subscription):
            begin(site, session, subscription)
    elif _is_unconfirmed(site, request):
        ended = _make_again(site, subscription, request) or ended
    session.flush()
    if subscription.state not in _OVER:
        owe_tending(session, subscription, next_look(site, session, subscription))
    session.commit()
    return subscription, ended


def _is_unconfirmed(site: Site, request: SubscriptionRequest) -> bool:
    """Did the hub take the request, and then have time enough? One that is still to be asked did not."""
    if request.requested_at is None or jobs.is_owed(site.session, kind=ASK, key=ask_key(request)):
        return False
    return site.now() >= request.requested_at + timedelta(seconds=CONFIRM_SECONDS)


def _wants_request(site: Site, subscription: Subscription) -> bool:
    """Is there no lease, or one that is to be renewed?"""
    match subscription.state:
        case SubscriptionState.failed | SubscriptionState.expired:
            return True
        case SubscriptionState.active:
            expires_at, since = subscription.lease_expires_at, subscription.verified_at
            if expires_at is None or since is None:
                return False
            return site.now() >= renewal_at(since, expires_at, chance=1)
    return False


def _make_again(
    site: Site, subscription: Subscription, request: SubscriptionRequest
) -> SubscriptionState | None:
    """End a request that was not confirmed; the next one follows, sooner or later."""
    session, now = site.session, site.now()
    end(request, now + OVERLAP, _UNCONFIRMED)  # the hub may be slow: it counts if it confirms yet
    schedule = site.settings.outbox.retry_schedule
    tries = request.tries + 1
    subscription.reason = _UNCONFIRMED
    if tries < len(schedule):
        begin(site, session, subscription, tries=tries, due_at=now + timedelta(seconds=schedule[tries]))
        return None
    return SubscriptionState.failed if fail(site, subscription) else None
