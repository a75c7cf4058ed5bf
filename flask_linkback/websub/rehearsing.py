"""Rehearsing: our own callback is asked, and brought content, as by a hub, and nothing of it is kept."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode

import sqlalchemy as sa

from ..errors import FetchError
from ..fetch import Response
from ..models import Secret, Subscription, SubscriptionRequest, SubscriptionState, digest
from ..protocols.signatures import sign
from ..site import Site
from .asking import CALLBACK
from .callbacks import REHEARSAL

__all__ = ["Step", "rehearse"]

_TOPIC: Final = "https://topic.invalid/rehearsal"
"""A topic that nobody can have (RFC 2606, section 2): nothing is fetched from there."""
_LASTS: Final = timedelta(minutes=10)
_ALGORITHM: Final = "sha512"
"""As strong as any minimum that is set."""
_CONTENT: Final = (
    b"<?xml version='1.0'?><feed xmlns='http://www.w3.org/2005/Atom'><title>Rehearsal</title></feed>"
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request that a hub would make: what it is, what should be answered, and what was."""

    what: str
    url: str
    should: int
    reply: Response | FetchError
    is_good: bool


def rehearse(site: Site) -> list[Step]:
    """Do as a hub does with a subscription that is there only meanwhile, and return how that went.

    It goes over the network, to the public address: a hub asks whether we meant it, about our topic and
    about another one, and brings content, signed wrongly and rightly (WebSub, sections 5.3 and 7.1). The
    callback knows it by the mode of its request: content is written and rolled back, so that neither a
    worker nor the application can hear of it. Ends with the first request that is not answered at all.
    """
    token, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    url = site.url_for(CALLBACK, token=token)
    subscription_id = _begin(site, token, secret)
    steps: list[Step] = []
    try:
        for step in _steps(site, url, secret):
            steps.append(step)
            if isinstance(step.reply, FetchError):
                break
    finally:
        _forget(site, SubscriptionRequest.subscription_id == subscription_id)
    return steps


def _begin(site: Site, token: str, secret: str) -> int:
    """Write the subscription that a hub is to know, and commit; return its id."""
    now = site.now()
    _forget(site, SubscriptionRequest.created_at < now - _LASTS)  # of a process that was killed
    with site.new_session() as session:
        # unsubscribed: nobody renews it, polls it or counts it
        subscription = Subscription(
            key=digest(REHEARSAL, token),
            page_url=_TOPIC,
            topic_url=_TOPIC,
            topic_key=digest(_TOPIC),
            state=SubscriptionState.unsubscribed,
            created_at=now,
        )
        session.add(subscription)
        session.flush()
        request = SubscriptionRequest(
            subscription_id=subscription.id,
            token=token,
            mode=REHEARSAL,
            topic_url=_TOPIC,
            secret=Secret(secret),
            created_at=now,
            requested_at=now,
            verified_at=now,
            ends_at=now + _LASTS,
        )
        session.add(request)
        session.commit()
        return subscription.id


def _forget(site: Site, which: sa.ColumnElement[bool]) -> None:
    with site.new_session() as session:
        here = sa.select(SubscriptionRequest.subscription_id).where(
            SubscriptionRequest.mode == REHEARSAL, which
        )
        ids = list(session.scalars(here))
        if not ids:
            return
        session.execute(sa.delete(SubscriptionRequest).where(SubscriptionRequest.subscription_id.in_(ids)))
        session.execute(sa.delete(Subscription).where(Subscription.id.in_(ids)))
        session.commit()


def _steps(site: Site, url: str, secret: str) -> Iterator[Step]:
    challenge = secrets.token_urlsafe(16)
    wrong = site.settings.websub.websub_bad_signature_status
    yield _ask(site, "A hub asks whether we meant it", url, _TOPIC, challenge, should=200)
    yield _ask(
        site, "A hub asks about a topic that nobody wants", url, f"{_TOPIC}/not", challenge, should=404
    )
    forged = sign(secrets.token_urlsafe(32), _CONTENT, _ALGORITHM)
    yield _bring(site, "A stranger brings content, with a wrong signature", url, forged, should=wrong)
    signed = sign(secret, _CONTENT, _ALGORITHM)
    yield _bring(site, "A hub brings content, signed as it should be", url, signed, should=202)


def _ask(site: Site, what: str, callback_url: str, topic_url: str, challenge: str, *, should: int) -> Step:
    query = {
        "hub.mode": "subscribe",
        "hub.topic": topic_url,
        "hub.challenge": challenge,
        "hub.lease_seconds": str(site.settings.websub.lease_seconds),
    }
    url = f"{callback_url}?{urlencode(query)}"
    reply = _reply_of(lambda: site.fetch.get(url, purpose="callback", follow=False))
    is_good = isinstance(reply, Response) and reply.status == should
    if is_good and should == 200:
        is_good = isinstance(reply, Response) and reply.body == challenge.encode()
    return Step(what=what, url=callback_url, should=should, reply=reply, is_good=is_good)


def _bring(site: Site, what: str, callback_url: str, signature: str, *, should: int) -> Step:
    headers = {"Content-Type": "application/atom+xml", "X-Hub-Signature": signature}
    reply = _reply_of(lambda: site.fetch.post(callback_url, _CONTENT, headers=headers, purpose="callback"))
    is_good = isinstance(reply, Response) and reply.status == should
    return Step(what=what, url=callback_url, should=should, reply=reply, is_good=is_good)


def _reply_of(fetch: Callable[[], Response]) -> Response | FetchError:
    try:
        return fetch()
    except FetchError as error:
        return error
