"""Leases: what a hub owes us until when, and the callbacks by which it pays.

A subscription has one active request at most, the one that a hub confirmed last; its callback takes the
content. A renewal is another request, with a callback and a secret of its own, and changes nothing until the
hub confirms it.
"""

from __future__ import annotations

import random
import secrets
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from blinker import NamedSignal
from sqlalchemy.orm import Session

from .. import signals
from ..models import Subscription, SubscriptionRequest, SubscriptionState, digest, host_of
from ..outbox import jobs
from ..site import Site

__all__ = [
    "ASK",
    "CONFIRM_SECONDS",
    "OVERLAP",
    "TEND",
    "activate",
    "active_request",
    "ask_key",
    "begin",
    "end",
    "end_if_last",
    "end_subscription",
    "fail",
    "is_leased",
    "listening",
    "lock",
    "next_look",
    "owe_asking",
    "open_request",
    "owe_tending",
    "renewal_at",
    "stop",
    "try_again_at",
]

ASK: Final = "ask_hub"
"""The kind of job that asks a hub to begin or to end a subscription."""
TEND: Final = "tend_subscription"
"""The kind of job that looks whether a lease is to be renewed or over, or a hub silent about a request."""
CONFIRM_SECONDS: Final = 600
"""How long a hub has to confirm a request that it took."""
OVERLAP: Final = timedelta(hours=24)
"""How long a callback whose successor is active takes content, unless the hub ends it first."""
_LEAST_MARGIN: Final = timedelta(minutes=10)
_MOST_MARGIN: Final = timedelta(hours=24)
_TRY_AGAIN: Final = timedelta(hours=24)
"""How long after a request that failed for good the next one is made."""
_LEAST_PAUSE: Final = timedelta(minutes=5)
"""How long a subscription is left alone at least."""
_SPREAD: Final = 0.2
"""By how much of its margin a renewal is early at most: what was leased together is not renewed together."""

_request: Final = SubscriptionRequest.__table__


# --- requests ----------------------------------------------------------------------------------------


def lock(session: Session, subscription_id: int) -> Subscription | None:
    """Return a subscription that nobody else changes until the transaction ends."""
    # a write that changes nothing: it locks the row, on SQLite the database
    here = sa.update(Subscription).where(Subscription.id == subscription_id).values(key=Subscription.key)
    session.execute(here.execution_options(synchronize_session=False))
    return session.get(Subscription, subscription_id, populate_existing=True)


def begin(
    site: Site,
    session: Session,
    subscription: Subscription,
    *,
    tries: int = 0,
    due_at: datetime | None = None,
) -> SubscriptionRequest:
    """Write a request with a callback of its own, and the job that asks the hub; one that is open ends."""
    now = site.now()
    earlier = open_request(session, subscription.id)
    if earlier is not None:
        earlier.ends_at = now
    request = SubscriptionRequest(
        subscription_id=subscription.id,
        # 256 bits: who does not know it does not find the callback (section 8.2)
        token=secrets.token_urlsafe(32),
        mode="subscribe",
        tries=tries,
        created_at=now,
    )
    session.add(request)
    session.flush()
    owe_asking(session, subscription, request, due_at=due_at)
    return request


def ask_key(request: SubscriptionRequest) -> str:
    """Return the key of the job that asks the hub."""
    return digest(ASK, request.token, request.mode)


def owe_asking(
    session: Session,
    subscription: Subscription,
    request: SubscriptionRequest,
    *,
    due_at: datetime | None = None,
) -> None:
    """Owe a hub the question of a request."""
    host = host_of(request.hub_url or subscription.hub_url or subscription.page_url)
    job = jobs.NewJob(
        kind=ASK,
        payload={"request_id": request.id, "mode": request.mode},
        host=host,
        key=ask_key(request),
        due_at=due_at,
    )
    jobs.add(session, [job])


def owe_tending(session: Session, subscription: Subscription, at: datetime) -> None:
    """Owe a subscription a look at this time, or sooner: there is one job for each."""
    key = digest(TEND, str(subscription.id))
    job = jobs.NewJob(kind=TEND, payload={"subscription_id": subscription.id}, key=key, due_at=at)
    if not jobs.add_once(session, job):
        jobs.hasten(session, kind=TEND, key=key, due_at=at)


def active_request(session: Session, subscription_id: int) -> SubscriptionRequest | None:
    """Return the request that the hub confirmed last, as long as nobody ends it."""
    return _newest(session, subscription_id, _request.c.verified_at.is_not(None))


def open_request(session: Session, subscription_id: int) -> SubscriptionRequest | None:
    """Return the request that the hub has not confirmed yet, asked or still to be asked."""
    return _newest(session, subscription_id, _request.c.verified_at.is_(None))


def _newest(
    session: Session, subscription_id: int, which: sa.ColumnElement[bool]
) -> SubscriptionRequest | None:
    here = (
        _request.c.subscription_id == subscription_id,
        _request.c.mode == "subscribe",
        _request.c.ends_at.is_(None),
        which,
    )
    newest = sa.select(SubscriptionRequest).where(*here).order_by(_request.c.id.desc()).limit(1)
    return session.scalar(newest)


def listening(subscription: Subscription, now: datetime) -> sa.ColumnElement[bool]:
    """The condition that a request is of a subscription, and its callback takes something yet."""
    still = sa.or_(_request.c.ends_at.is_(None), _request.c.ends_at > now)
    return sa.and_(_request.c.subscription_id == subscription.id, still)


def is_leased(site: Site, subscription: Subscription) -> bool:
    """Does a hub owe content now?"""
    return subscription.state in (
        SubscriptionState.active,
        SubscriptionState.unsubscribing,
    ) and not _is_over(site, subscription)


def _is_over(site: Site, subscription: Subscription) -> bool:
    return subscription.lease_expires_at is not None and subscription.lease_expires_at <= site.now()


# --- what a hub confirms -------------------------------------------------------------------------------


def activate(
    site: Site,
    session: Session,
    subscription: Subscription,
    request: SubscriptionRequest,
    lease_seconds: int | None,
) -> NamedSignal | None:
    """Let a request be the active one, and its lease begin; return the signal that tells of it.

    A hub that confirms without naming a lease (PubSubHubbub 0.3) is believed to have given what it was
    asked for; none is believed to give more than MAX_LEASE_SECONDS. The callback of the lease before is
    unsubscribed, for the hub would deliver to both. That a hub confirms once more what it had confirmed is
    no news.
    """
    settings, now = site.settings.websub, site.now()
    signal: NamedSignal | None = signals.subscription_verified
    if request.verified_at is not None:
        signal = None
    elif subscription.verified_at is not None and (request.topic_url, request.hub_url) != (
        subscription.topic_url,
        subscription.hub_url,
    ):
        signal = signals.subscription_moved
    elif subscription.state is SubscriptionState.active:
        signal = signals.subscription_renewed
    wanted = subscription.wanted_lease_seconds or settings.lease_seconds
    lease = min(lease_seconds if lease_seconds is not None else wanted, settings.max_lease_seconds)
    before = active_request(session, subscription.id)
    request.verified_at = now
    request.ends_at = None  # it was given up, perhaps, and the hub is slow
    request.reason = ""
    subscription.state = SubscriptionState.active
    subscription.topic_url = request.topic_url or subscription.topic_url
    subscription.topic_key = digest(subscription.topic_url)
    subscription.hub_url = request.hub_url
    subscription.lease_seconds = lease
    subscription.lease_expires_at = now + timedelta(seconds=lease)
    subscription.verified_at = now
    subscription.silent, subscription.missed = False, 0
    subscription.reason = ""
    if before is not None and before.id != request.id:
        stop(site, session, subscription, before, until=now + OVERLAP)
    session.flush()
    # of requests that no hub has confirmed nothing comes any more
    unconfirmed = sa.update(SubscriptionRequest).where(
        listening(subscription, now), _request.c.verified_at.is_(None)
    )
    session.execute(unconfirmed.values(ends_at=now))
    owe_tending(session, subscription, next_look(site, session, subscription))
    return signal


def next_look(site: Site, session: Session, subscription: Subscription) -> datetime:
    """Return when there will be something to do about a subscription: in five minutes at the soonest.

    A hub that gives leases of a second is not asked each second.
    """
    now = site.now()
    times: list[datetime] = []
    expires_at, since = subscription.lease_expires_at, subscription.verified_at
    request = open_request(session, subscription.id)
    if expires_at is not None:
        times.append(expires_at)
        if since is not None and request is None and subscription.state is SubscriptionState.active:
            times.append(renewal_at(since, expires_at))
    if request is not None and request.requested_at is not None:
        times.append(request.requested_at + timedelta(seconds=CONFIRM_SECONDS))
    if request is None and not is_leased(site, subscription):
        times.append(now + _TRY_AGAIN)
    return max(min(times, default=now + _TRY_AGAIN), now + _LEAST_PAUSE)


def stop(
    site: Site,
    session: Session,
    subscription: Subscription,
    request: SubscriptionRequest,
    *,
    until: datetime | None = None,
) -> None:
    """Ask the hub of a request to end it; until it confirms, or this time, its callback takes content."""
    request.mode = "unsubscribe"
    request.ends_at = until
    session.flush()
    owe_asking(session, subscription, request)


def end(request: SubscriptionRequest, at: datetime, reason: str = "") -> None:
    """Let the callback of a request take nothing any more."""
    request.ends_at = at
    request.reason = reason


def end_if_last(site: Site, session: Session, subscription: Subscription, reason: str = "") -> None:
    """Let a subscription be over that was to end, once no callback of it is left that waits for its end."""
    session.flush()
    left = sa.select(_request.c.id).where(listening(subscription, site.now())).limit(1)
    if subscription.state is SubscriptionState.unsubscribing and session.scalar(left) is None:
        end_subscription(site, session, subscription, SubscriptionState.unsubscribed, reason)


def end_subscription(
    site: Site, session: Session, subscription: Subscription, state: SubscriptionState, reason: str = ""
) -> None:
    """Let a subscription end in a state, and all of its callbacks with it."""
    now = site.now()
    here = sa.update(SubscriptionRequest).where(listening(subscription, now))
    session.execute(here.values(ends_at=now, reason=reason))
    subscription.state = state
    subscription.lease_expires_at = None
    subscription.reason = reason


def fail(site: Site, subscription: Subscription) -> bool:
    """Let a subscription fail whose hub could not be asked; say whether that is news.

    It is none while a lease is active, and where there was none before.
    """
    has_none = subscription.state in (SubscriptionState.failed, SubscriptionState.expired)
    if has_none or is_leased(site, subscription):
        return False
    subscription.state = SubscriptionState.failed
    subscription.lease_expires_at = None
    return True


def try_again_at(site: Site, subscription: Subscription) -> datetime:
    """Return when to ask anew after a hub could not be asked: in a day, or in half of what is left."""
    now = site.now()
    if not is_leased(site, subscription) or subscription.lease_expires_at is None:
        return now + _TRY_AGAIN
    left = max(subscription.lease_expires_at - now, _LEAST_MARGIN)
    return now + min(_TRY_AGAIN, left / 2)


def _chance() -> float:
    return random.random()  # noqa: S311  nobody gains by knowing it


def renewal_at(now: datetime, expires_at: datetime, *, chance: float | None = None) -> datetime:
    """Return when to begin to renew a lease that begins now: when a tenth of it is left.

    That is 10 minutes at least and a day at most, and never before half of it is over; a little earlier by
    chance.
    """
    lease = expires_at - now
    margin = min(max(lease / 10, _LEAST_MARGIN), _MOST_MARGIN)
    margin *= 1 + _SPREAD * (_chance() if chance is None else chance)
    return max(expires_at - margin, now + lease / 2)
