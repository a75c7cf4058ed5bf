"""Callbacks: what a hub asks of one of our URLs, and what it brings there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import sqlalchemy as sa
from blinker import NamedSignal

from .. import signals
from ..models import Subscription, SubscriptionRequest, SubscriptionState
from ..protocols import signatures
from ..protocols.websub import RequestError, Verification, parse_verification
from ..site import Site
from .leases import activate, end, end_if_last, end_subscription, is_leased, lock

__all__ = [
    "REHEARSAL",
    "Gone",
    "NotAsked",
    "Unknown",
    "answer",
    "find",
    "is_signed",
]

REHEARSAL: Final = "rehearse"
"""The mode of a request that no hub was sent: its callback answers as others do, and nothing is kept."""


class Unknown(Exception):
    """There is no such callback."""


class Gone(Exception):
    """The subscription of this callback is over."""


class NotAsked(Exception):
    """Nobody here asked for that."""


# --- which callback ----------------------------------------------------------------------------------


def find(site: Site, token: str) -> tuple[Subscription, SubscriptionRequest]:
    """Return whose callback has this token; raises `Unknown` and `Gone`."""
    subscription, request = _find(site, token)
    if _is_over(site, request):
        raise Gone
    return subscription, request


def _is_over(site: Site, request: SubscriptionRequest) -> bool:
    return request.ends_at is not None and request.ends_at <= site.now()


def _find(site: Site, token: str) -> tuple[Subscription, SubscriptionRequest]:
    statement = (
        sa.select(Subscription, SubscriptionRequest)
        .join(SubscriptionRequest, SubscriptionRequest.subscription_id == Subscription.id)
        .where(SubscriptionRequest.token == token)
    )
    row = site.session.execute(statement).first()
    if row is None:
        raise Unknown
    subscription, request = row
    return subscription, request


# --- what a hub asks ---------------------------------------------------------------------------------


def answer(site: Site, token: str, query: Mapping[str, str]) -> str:
    """Do what a hub asks of a callback, commit, and return the text to answer: the challenge (section 5.3).

    Raises `Unknown`, `Gone`, `RequestError` for what is not understood, and `NotAsked` for what nobody wants:
    another topic, a mode that is not waited for. Then nothing changes. That a request is denied (section 5.2)
    may come at any time.
    """
    session = site.session
    subscription, request = _find(site, token)
    if _is_over(site, request):
        return _answer_late(request, query)
    subscription_id = subscription.id
    session.rollback()  # what is read from here on is true until the end
    lock(session, subscription_id)
    subscription, request = find(site, token)
    try:
        asked = parse_verification(query)
    except RequestError as error:
        if error.topic_url not in (None, request.topic_url):
            raise NotAsked from None
        raise
    if request.requested_at is None or asked.topic_url != request.topic_url:
        raise NotAsked
    if request.mode == REHEARSAL:
        session.rollback()
        if asked.mode != "subscribe":
            raise NotAsked
        return asked.challenge
    signal = _ANSWERS[asked.mode](site, subscription, request, asked)
    session.commit()
    if signal is signals.subscription_denied:
        site.send(signal, subscription=subscription, reason=asked.reason)
    elif signal is not None:
        site.send(signal, subscription=subscription)
    return asked.challenge


def _answer_late(request: SubscriptionRequest, query: Mapping[str, str]) -> str:
    """Say once more to a hub that did not hear it that the end is meant; to all else that it is over."""
    try:
        asked = parse_verification(query)
    except RequestError:
        raise Gone from None
    if (asked.mode, request.mode) != ("unsubscribe", "unsubscribe") or asked.topic_url != request.topic_url:
        raise Gone
    return asked.challenge


def _subscribe(
    site: Site, subscription: Subscription, request: SubscriptionRequest, asked: Verification
) -> NamedSignal | None:
    """A hub asks whether we want it, or again what we have wanted (PubSubHubbub 0.3, section 6.2.3)."""
    if request.mode != "subscribe":
        raise NotAsked
    return activate(site, site.session, subscription, request, asked.lease_seconds)


def _unsubscribe(
    site: Site, subscription: Subscription, request: SubscriptionRequest, asked: Verification
) -> NamedSignal | None:
    """A hub asks whether we want it to end (section 5.3): only where we said so."""
    if request.mode != "unsubscribe":
        raise NotAsked
    end(request, site.now())
    end_if_last(site, site.session, subscription)
    return None


def _deny(
    site: Site, subscription: Subscription, request: SubscriptionRequest, asked: Verification
) -> NamedSignal | None:
    """A hub refuses a request, or ends what it had accepted (section 5.2); another lease stays as it is."""
    was_active = request.verified_at is not None
    if request.mode == "unsubscribe":
        end(request, site.now(), asked.reason)
        end_if_last(site, site.session, subscription, asked.reason)
        return None
    if was_active or not is_leased(site, subscription):
        end_subscription(site, site.session, subscription, SubscriptionState.denied, asked.reason)
    else:
        end(request, site.now(), asked.reason)
        subscription.reason = asked.reason
    return signals.subscription_denied


_ANSWERS: Final[Mapping[str, Callable[..., NamedSignal | None]]] = {
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "denied": _deny,
}


# --- what a hub brings -------------------------------------------------------------------------------


def is_signed(site: Site, request: SubscriptionRequest, body: bytes, signature: str | None) -> bool:
    """Is content from who knows the secret (section 7.1.2), or from anybody where there is none?"""
    if request.secret is None:
        return True
    at_least = site.settings.websub.websub_min_algorithm
    return signatures.verify(str(request.secret), body, signature, at_least=at_least)
