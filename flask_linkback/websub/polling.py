"""Polling: a topic is read now and then, for a hub may be silent, or there is none."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from ..errors import FetchError
from ..fetch import Response
from ..models import Subscription, SubscriptionState, digest, host_of
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.replies import attempt_of, is_success
from ..outbox.writers import Writers
from ..site import Site
from .contents import Marks, Received, marks_of, remember, store
from .discovering import ACCEPT
from .leases import is_leased, lock

__all__ = ["POLL", "owe_polls", "poll"]

POLL: Final = "poll_topic"
"""The kind of job that reads one topic."""
OFTEN: Final = timedelta(hours=1)
"""How often a topic is read while no hub delivers it."""
SELDOM: Final = timedelta(days=1)
"""How often it is read while one should."""
SILENT_AFTER: Final = 3
"""So many entries that no delivery brought make a hub a silent one."""
_SLACK: Final = timedelta(minutes=5)
"""The hourly look is not made at the same minute each time."""
_LONGEST_VALIDATOR: Final = 1000
_FOLLOWED: Final = tuple(
    each
    for each in SubscriptionState
    if each not in (SubscriptionState.unsubscribed, SubscriptionState.unsubscribing)
)
_sub: Final = Subscription.__table__


def owe_polls(site: Site) -> None:
    """Owe a poll to each subscription whose time has come; a chore."""
    session, now = site.session, site.now()
    seldom = sa.and_(_sub.c.state == SubscriptionState.active, _sub.c.lease_expires_at > now, ~_sub.c.silent)
    last = sa.func.coalesce(_sub.c.polled_at, _sub.c.created_at)
    due = sa.or_(
        last <= now - SELDOM + _SLACK,
        sa.and_(~seldom, last <= now - OFTEN + _SLACK),
        # nobody knows yet what was there before
        sa.and_(_sub.c.polled_at.is_(None), _sub.c.verified_at.is_not(None), _sub.c.seen.is_(None)),
    )
    here = sa.select(_sub.c.id, _sub.c.topic_url).where(_sub.c.state.in_(_FOLLOWED), due)
    for subscription_id, topic_url in session.execute(here).all():
        job = jobs.NewJob(
            kind=POLL,
            payload={"subscription_id": subscription_id},
            host=host_of(topic_url),
            key=digest(POLL, str(subscription_id)),
        )
        jobs.add_once(session, job)
    session.commit()


def poll(site: Site, claim: Claim) -> Outcome:
    """Handle a job: read a topic, and announce what no hub brought.

    Only entries of feeds are known again: of other content nobody can tell whether it says something new.
    What was there at the first look is not announced. A topic that cannot be read is read again at the
    next time.
    """
    session = site.session
    subscription = session.get(Subscription, claim.payload["subscription_id"])
    if subscription is None or subscription.state not in _FOLLOWED:
        return jobs.done()
    topic_url = subscription.topic_url
    asked = {"If-None-Match": subscription.etag, "If-Modified-Since": subscription.last_modified}
    headers = {"Accept": ACCEPT} | {name: value for name, value in asked.items() if value is not None}
    session.commit()  # no transaction stays open over HTTP
    started_at = site.now()
    try:
        reply: Response | FetchError = site.fetch.get(topic_url, headers=headers, purpose="topic")
    except FetchError as error:
        reply = error
    attempt = dataclasses.replace(attempt_of(site, topic_url, started_at, reply), body=None)
    write = functools.partial(_record, site, claim, reply)
    site.get(Writers).record(site.engine, session, write)
    if isinstance(reply, FetchError):
        return jobs.done(f"{reply.kind}: {reply}", attempt=attempt)
    if not is_success(reply) and reply.status != 304:
        return jobs.done(f"The topic answers {reply.status}.", attempt=attempt)
    return jobs.done(attempt=attempt)


def _record(site: Site, claim: Claim, reply: Response | FetchError) -> None:
    """Write what a poll found and commit."""
    session = site.session
    subscription = lock(session, claim.payload["subscription_id"])
    if subscription is None or not jobs.is_ours(session, claim):
        session.rollback()
        return
    subscription.polled_at = site.now()
    if not isinstance(reply, FetchError) and is_success(reply):
        content_type = reply.headers.get("Content-Type", "")
        marks = marks_of(reply.body, content_type, reply.url)
        known = subscription.seen
        new = _new(site, subscription, marks)
        remember(subscription, marks)
        subscription.etag = _short(reply.headers.get("ETag"))
        subscription.last_modified = _short(reply.headers.get("Last-Modified"))
        if known is not None and new:
            _announce(site, subscription, reply, len(new))
    session.commit()


def _new(site: Site, subscription: Subscription, several: Sequence[Marks]) -> Sequence[Marks]:
    """Return the entries that nobody has brought; while no hub should, those that were edited, too.

    Some hubs bring an entry in other words than the feed has: that is no entry that was missed.
    """
    known = set(subscription.seen or ())
    if is_leased(site, subscription):
        return [marks for marks in several if marks.entry not in known]
    return [marks for marks in several if marks.words not in known]


def _announce(site: Site, subscription: Subscription, reply: Response, count: int) -> None:
    if is_leased(site, subscription):
        subscription.missed += count
        subscription.silent = subscription.silent or subscription.missed >= SILENT_AFTER
    links = ", ".join(reply.headers.get_all("Link"))
    store(
        site,
        subscription,
        Received(
            body=reply.body,
            content_type=reply.headers.get("Content-Type", ""),
            headers={"Link": links} if links else {},
        ),
    )


def _short(value: str | None) -> str | None:
    """A validator that is not too long to be kept and sent back."""
    return value if value is not None and len(value) <= _LONGEST_VALIDATOR else None
