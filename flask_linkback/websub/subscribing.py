"""Subscribing: an application follows a topic, renews or stops, in a transaction of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ..changes import note_call
from ..errors import SubscriptionError
from ..fetch import check_url
from ..models import (
    Attempt,
    Job,
    Secret,
    Subscription,
    SubscriptionRequest,
    SubscriptionState,
    digest,
    without_fragment,
)
from ..outbox import jobs
from ..outbox.errands import run_errands
from ..protocols.websub import MAX_SECRET_BYTES, known_hub
from ..site import Site
from .asking import error_text
from .leases import (
    ASK,
    OVERLAP,
    active_request,
    ask_key,
    begin,
    end,
    end_subscription,
    listening,
    open_request,
    owe_asking,
    owe_tending,
    stop,
)

__all__ = ["renew", "subscribe", "subscriptions", "unsubscribe"]

_IDLE = frozenset(
    (
        SubscriptionState.denied,
        SubscriptionState.failed,
        SubscriptionState.expired,
        SubscriptionState.unsubscribed,
        SubscriptionState.unsubscribing,
    )
)
"""Who subscribes anew in one of these begins from the start."""


def subscribe(
    site: Site,
    url: str,
    *,
    hub: str | None = None,
    lease_seconds: int | None = None,
    secret: str | None = None,
    credentials: tuple[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    wait: bool = False,
) -> Subscription:
    """Follow a topic: write the subscription, its request and the job that asks the hub.

    What is asked for again is renewed; what is given then replaces what was given before, for this and all
    renewals to come. With ``wait`` all of it is committed, and the hub asked before this returns.
    """
    session = site.session
    page_url = without_fragment(url)
    _ = site.base_url  # without one there is no callback
    for address in filter(None, (page_url, hub)):
        check_url(address)
    _check(lease_seconds, secret, credentials)
    key = digest(page_url, hub or "")
    row = {
        "key": key,
        "page_url": page_url,
        "topic_url": page_url,
        "topic_key": digest(page_url),
        "hub_url": hub or known_hub(page_url),
        "hub_given": hub is not None,
        "state": SubscriptionState.discovering,
        "silent": False,
        "missed": 0,
        "created_at": site.now(),
        "reason": "",
    }
    # one statement: two who subscribe to the same at the same time do not fail each other
    dialect = session.get_bind(clause=sa.insert(Subscription)).dialect.name
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(Subscription)
    session.execute(insert.values(row).on_conflict_do_nothing(index_elements=["key"]))
    here = sa.select(Subscription).where(Subscription.key == key).with_for_update()
    subscription = session.scalars(here).one()
    if subscription.state in _IDLE:
        subscription.state = SubscriptionState.discovering
    if lease_seconds is not None:
        subscription.wanted_lease_seconds = lease_seconds
    if secret is not None:
        subscription.secret = Secret(secret)
    if credentials is not None:
        subscription.credentials = Secret(":".join(credentials))
    if params is not None:
        subscription.params = dict(params)
    if headers is not None:
        subscription.headers = dict(headers)
    subscription.reason = ""
    session.flush()
    request = begin(site, session, subscription)
    note_call(session, "subscribe")
    if wait:
        _wait(site, session, subscription, [request])
    return subscription


def _check(lease_seconds: int | None, secret: str | None, credentials: tuple[str, str] | None) -> None:
    if lease_seconds is not None and lease_seconds < 1:
        raise ValueError("lease_seconds must be a positive number of seconds.")
    if secret is not None and not 0 < len(secret.encode()) <= MAX_SECRET_BYTES:
        raise ValueError(f"A secret has from 1 to {MAX_SECRET_BYTES} bytes (WebSub, section 5.1).")
    if credentials is not None and (len(credentials) != 2 or ":" in credentials[0]):
        raise ValueError("credentials are a user without a colon, and a password.")


def renew(site: Site, subscription: Subscription, *, wait: bool = False) -> Subscription:
    """Ask for a new lease now, beginning with the discovery of the hub; the one that is active stays so."""
    session, subscription = site.session, site.ours(subscription)
    if subscription.state in _IDLE:
        subscription.state = SubscriptionState.discovering
    subscription.reason = ""
    request = begin(site, session, subscription)
    note_call(session, "renew")
    if wait:
        _wait(site, session, subscription, [request])
    return subscription


def unsubscribe(site: Site, subscription: Subscription, *, wait: bool = False) -> Subscription:
    """Ask the hub to end a subscription; it is over once the hub confirms, or when nobody was ever asked."""
    session, subscription = site.session, site.ours(subscription)
    active = active_request(session, subscription.id)
    waiting = open_request(session, subscription.id)
    asked = [each for each in (active, waiting) if each is not None and each.requested_at is not None]
    if subscription.state is SubscriptionState.unsubscribing:
        asked = _ask_again(site, session, subscription)
    elif not asked:
        end_subscription(site, session, subscription, SubscriptionState.unsubscribed)
    else:
        subscription.state = SubscriptionState.unsubscribing
        if subscription.lease_expires_at is None:  # the hub may never say anything
            subscription.lease_expires_at = site.now() + OVERLAP
        if waiting is not None and waiting not in asked:
            end(waiting, site.now())
        for request in asked:
            stop(site, session, subscription, request, until=subscription.lease_expires_at)
        owe_tending(session, subscription, min(subscription.lease_expires_at, site.now() + OVERLAP))
    session.flush()
    note_call(session, "unsubscribe")
    if wait:
        _wait(site, session, subscription, asked)
    return subscription


def _ask_again(site: Site, session: Session, subscription: Subscription) -> list[SubscriptionRequest]:
    """Owe the hub the news once more that it is to end something, unless that waits; return the requests."""
    to_end = sa.select(SubscriptionRequest).where(
        listening(subscription, site.now()), SubscriptionRequest.mode == "unsubscribe"
    )
    waiting = list(session.scalars(to_end))
    for request in waiting:
        if not jobs.is_owed(session, kind=ASK, key=ask_key(request)):
            owe_asking(session, subscription, request)
    return waiting


def subscriptions(
    site: Site,
    topic_url: str | None = None,
    hub_url: str | None = None,
    state: str | SubscriptionState | None = None,
    expires_before: datetime | None = None,
) -> Sequence[Subscription]:
    """Return subscriptions, the oldest first: those of a topic, at a hub, in a state, soon to expire.

    A topic is known by its own URL and by the one that was subscribed to. ValueError for an unknown state.
    """
    found = sa.select(Subscription).order_by(Subscription.id)
    if topic_url is not None:
        url = without_fragment(topic_url)
        found = found.where(sa.or_(Subscription.topic_key == digest(url), Subscription.page_url == url))
    if hub_url is not None:
        found = found.where(Subscription.hub_url == hub_url)
    if state is not None:
        found = found.where(Subscription.state == SubscriptionState(state))
    if expires_before is not None:
        found = found.where(Subscription.lease_expires_at < expires_before)
    return site.session.scalars(found).all()


# --- waiting -----------------------------------------------------------------------------------------


def _wait(
    site: Site, session: Session, subscription: Subscription, requests: Sequence[SubscriptionRequest]
) -> None:
    """Commit, ask the hub now, and raise `SubscriptionError` where it does not do as it is asked."""
    keys = [ask_key(each) for each in requests]
    here = sa.select(Job.id).where(Job.kind == ASK, Job.key.in_(keys)).order_by(Job.id)
    ids = list(session.scalars(here))
    session.commit()
    run_errands(site, ids)
    session.refresh(subscription)
    newest = sa.select(Attempt).where(Attempt.job_id.in_(ids)).order_by(Attempt.id.desc()).limit(1)
    attempt = session.scalar(newest) if ids else None
    if attempt is not None and attempt.outcome != "done":
        said = (attempt.body or b"").decode("utf-8", "replace").strip() or attempt.reason
        message = error_text(subscription.hub_url, subscription.topic_url, said or str(attempt.status_code))
        raise SubscriptionError(message, subscription, attempt)
