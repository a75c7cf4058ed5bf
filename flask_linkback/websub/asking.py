"""Asking: a hub is asked to begin or to end a subscription, once it is known which hub that is."""

from __future__ import annotations

import dataclasses
import functools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urljoin

import sqlalchemy as sa

from .. import signals
from ..errors import FetchError, LinkbackError
from ..fetch import Response, check_url
from ..models import Job, Secret, Subscription, SubscriptionRequest, SubscriptionState
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.replies import attempt_of, is_success, outcome_of
from ..outbox.writers import Writers
from ..protocols import websub
from ..protocols.text import storable
from ..site import Site
from .credentials import authorization, credentials_for
from .discovering import look_at
from .leases import (
    CONFIRM_SECONDS,
    activate,
    begin,
    end,
    end_if_last,
    fail,
    lock,
    open_request,
    owe_tending,
    try_again_at,
)

__all__ = ["CALLBACK", "ask", "callback_url", "error_text", "give_up"]

CALLBACK: Final = "linkback_websub.callback"
"""The endpoint that hubs call, wherever the application mounted it."""
_KEPT_CHARACTERS: Final = 500
_REDIRECTS: Final = frozenset((307, 308))
_NO_HUB: Final = "The page names no hub."


def callback_url(site: Site, request: SubscriptionRequest) -> str:
    """Return the URL that a hub knows a request by."""
    return site.url_for(CALLBACK, token=request.token)


def error_text(hub_url: str | None, topic_url: str, said: str) -> str:
    """Return what a person is told of a hub that does not do as it is asked."""
    return f"Error during request to hub {hub_url or '?'} for topic {topic_url}: {said}"


@dataclass(frozen=True, kw_only=True)
class _Question:
    """What a hub is asked."""

    hub_url: str
    answered_url: str | None
    """Who took this request before, where the hub sent us on."""
    topic_url: str
    callback_url: str
    mode: str
    lease_seconds: int
    secret: str | None
    user: tuple[str, str] | None
    params: dict[str, str] | None
    headers: Mapping[str, str] | None


class _NothingToAsk(LinkbackError):
    """The page names no hub, or cannot be read."""

    def __init__(self, reason: str, response: Response) -> None:
        super().__init__(reason)
        self.response = response


def ask(site: Site, claim: Claim) -> Outcome:
    """Handle a job: ask the hub of a request; look first, where nobody named one, which hub that is.

    A hub that takes the question (202) confirms it by a question of its own, at the callback, perhaps before
    it has answered ours. One of PubSubHubbub 0.3 may say at once that it is confirmed (204). Everything else
    is a failure (WebSub, section 5.1.2); 200, too.
    """
    session = site.session
    request = session.get(SubscriptionRequest, claim.payload["request_id"])
    subscription = session.get(Subscription, request.subscription_id) if request is not None else None
    if request is None or subscription is None or request.mode != claim.payload["mode"]:
        return jobs.done()
    if request.mode == "subscribe" and (request.ends_at is not None or request.verified_at is not None):
        has_none = subscription.state in (SubscriptionState.failed, SubscriptionState.expired)
        if has_none and open_request(session, subscription.id) is None:  # a person replays the job
            begin(site, session, subscription)
            session.commit()
            return jobs.done("It is asked anew.")
        return jobs.done("Another request took its place.")
    if request.mode == "unsubscribe" and request.requested_at is None:
        return jobs.done("The hub was never asked.")
    hub_url, topic_url = request.hub_url, request.topic_url
    started_at = site.now()
    if request.mode == "subscribe":
        session.commit()  # no transaction stays open over HTTP
        try:
            hub_url, topic_url = _find(site, subscription)
        except FetchError as error:
            attempt = attempt_of(site, subscription.page_url, started_at, error)
            return _failed(site, claim, outcome_of(site, error, attempt, keep_trying=True))
        except _NothingToAsk as error:
            named = "no_hub" if is_success(error.response) else ""
            attempt = attempt_of(
                site, subscription.page_url, started_at, error.response, outcome=named, reason=str(error)
            )
            attempt = dataclasses.replace(attempt, body=None)
            if named:
                return _failed(site, claim, jobs.dead(str(error), attempt=attempt))
            return _failed(site, claim, outcome_of(site, error.response, attempt))
    assert hub_url is not None
    assert topic_url is not None
    prepare = functools.partial(_prepare, site, claim, request.id, hub_url, topic_url)
    question = site.get(Writers).record(site.engine, session, prepare)
    if question is None:
        return jobs.done("Another request took its place.")
    started_at = site.now()
    reply, hub_url = _send(site, question)
    attempt = attempt_of(site, hub_url, started_at, reply)
    if isinstance(reply, FetchError):
        return _failed(site, claim, outcome_of(site, reply, attempt), hub_url=hub_url)
    write = functools.partial(_record, site, claim, request.id, reply, hub_url)
    accepted = site.get(Writers).record(site.engine, session, write)
    if accepted is not False:
        return jobs.done(attempt=attempt)
    if is_success(reply):
        reason = f"The hub answers {reply.status}, neither 202 nor 204."
        attempt = dataclasses.replace(attempt, outcome=f"http_{reply.status}", reason=reason)
        return _failed(site, claim, jobs.dead(reason, attempt=attempt), hub_url=hub_url)
    return _failed(site, claim, outcome_of(site, reply, attempt), hub_url=hub_url)


# --- which hub ---------------------------------------------------------------------------------------


def _find(site: Site, subscription: Subscription) -> tuple[str, str]:
    """Return the hub and the topic of a subscription as they are now; raises `FetchError`.

    Where the caller named the hub, or everybody knows it, the URL is the topic. Otherwise the page says both;
    the hub that we have is kept as long as the page names it.
    """
    if subscription.hub_given and subscription.hub_url is not None:
        return subscription.hub_url, subscription.page_url
    known = websub.known_hub(subscription.page_url)
    if known is not None:
        return known, subscription.page_url
    response, offer = look_at(site, subscription.page_url)
    if not is_success(response):
        raise _NothingToAsk(f"The page answers {response.status}.", response)
    if not offer.hubs:
        raise _NothingToAsk(_NO_HUB, response)
    hub_url = subscription.hub_url if subscription.hub_url in offer.hubs else offer.hubs[0]
    return hub_url, offer.topic_url or response.url


# --- the question ------------------------------------------------------------------------------------


def _prepare(site: Site, claim: Claim, request_id: int, hub_url: str, topic_url: str) -> _Question | None:
    """Write down what the hub is about to be asked, and commit: it may call back before it answers."""
    session = site.session
    request = session.get(SubscriptionRequest, request_id)
    subscription = lock(session, request.subscription_id) if request is not None else None
    if request is not None:
        session.refresh(request)
    if (
        request is None
        or subscription is None
        or not jobs.is_ours(session, claim)
        or request.mode != claim.payload["mode"]
        or (request.mode == "subscribe" and request.ends_at is not None)
    ):
        session.rollback()
        return None
    settings = site.settings.websub
    if request.mode == "subscribe":
        if request.secret is None or request.hub_url != hub_url:
            request.secret = _secret(site, subscription, hub_url)
        request.hub_url, request.topic_url = hub_url, topic_url
        if subscription.state is SubscriptionState.discovering:
            subscription.state = SubscriptionState.requested
            subscription.topic_url = topic_url
            subscription.hub_url = hub_url
    request.requested_at = site.now()
    user = _user(site, subscription, hub_url)
    question = _Question(
        hub_url=hub_url,
        answered_url=request.answered_url,
        topic_url=topic_url,
        callback_url=callback_url(site, request),
        mode=request.mode,
        lease_seconds=subscription.wanted_lease_seconds or settings.lease_seconds,
        secret=str(request.secret) if request.secret is not None else None,
        user=user,
        params=subscription.params,
        headers=subscription.headers,
    )
    session.commit()
    return question


def _secret(site: Site, subscription: Subscription, hub_url: str) -> Secret | None:
    """Return what the hub is to sign with: the caller's secret, or one of this request's own.

    One that goes over the wire in the clear protects nothing (section 8.1): by default only a hub with
    https gets one.
    """
    if subscription.secret is not None:
        return subscription.secret
    wanted = site.settings.websub.websub_secrets
    if wanted == "always" or (wanted == "https" and hub_url.lower().startswith("https://")):
        return Secret(secrets.token_urlsafe(32))
    return None


def _user(site: Site, subscription: Subscription, hub_url: str) -> tuple[str, str] | None:
    if subscription.credentials is not None:
        user, _, password = str(subscription.credentials).partition(":")
        return user, password
    return credentials_for(site, hub_url)


def _send(site: Site, question: _Question) -> tuple[Response | FetchError, str]:
    """Ask, at another hub where this one says so by 307 or 308 (section 5.1.2); return who answered, too.

    Who we are is not told to a host that was not meant. An end goes to whoever took the beginning.
    """
    body = websub.dump_request(
        "subscribe" if question.mode == "subscribe" else "unsubscribe",
        topic_url=question.topic_url,
        callback_url=question.callback_url,
        lease_seconds=question.lease_seconds if question.mode == "subscribe" else None,
        secret=question.secret if question.mode == "subscribe" else None,
        params=question.params,
    )
    origin = _origin(question.hub_url)
    hub_url = question.hub_url
    if question.mode == "unsubscribe" and question.answered_url is not None:
        hub_url = question.answered_url
    for hop in range(site.settings.fetch.max_redirects + 1):
        headers = {"Content-Type": websub.FORM_TYPE}
        if _origin(hub_url) == origin:
            headers |= question.headers or {}
            headers |= authorization(question.user)
        try:
            response = site.fetch.post(hub_url, body, headers=headers, purpose="hub")
        except FetchError as error:
            return error, hub_url
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or not location or hop == site.settings.fetch.max_redirects:
            break
        hub_url = urljoin(hub_url, location)
    return response, hub_url


def _origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URL that may be asked; None of any other."""
    try:
        parts = check_url(url)
    except FetchError:
        return None
    return parts.scheme, parts.host, parts.port


# --- the answer --------------------------------------------------------------------------------------


def _record(site: Site, claim: Claim, request_id: int, response: Response, hub_url: str) -> bool | None:
    """Write what an answer means that is no "later", and commit; say whether it is a yes, None if too late.

    What the hub asked the callback meanwhile counts more than what it answers here.
    """
    session = site.session
    request = session.get(SubscriptionRequest, request_id)
    subscription = lock(session, request.subscription_id) if request is not None else None
    if request is None or subscription is None or not jobs.is_ours(session, claim):
        session.rollback()
        return None
    session.refresh(request)
    unsubscribes = claim.payload["mode"] == "unsubscribe"
    if request.mode != claim.payload["mode"]:
        session.commit()  # it is to end by now: another job says so
        return None
    if unsubscribes:
        is_over = request.ends_at is not None and request.ends_at <= site.now()
        if is_over and is_success(response):
            session.commit()
            return True
    else:
        request.answered_url = hub_url if hub_url != request.hub_url else None
        if request.verified_at is not None:
            session.commit()
            return True  # it was confirmed before it was answered
        if request.ends_at is not None:
            session.commit()
            return None
    if response.status == 204:
        if unsubscribes:
            end(request, site.now())
            end_if_last(site, session, subscription)
            session.commit()
            return True
        signal = activate(site, session, subscription, request, None)
        session.commit()
        if signal is not None:
            site.send(signal, subscription=subscription)
        return True
    if response.status == 202:
        owe_tending(session, subscription, site.now() + timedelta(seconds=CONFIRM_SECONDS))
        session.commit()
        return True
    session.commit()
    return False


def _failed(site: Site, claim: Claim, outcome: Outcome, *, hub_url: str | None = None) -> Outcome:
    """Let a subscription fail with its request where no other try follows."""
    if outcome.verdict is jobs.Verdict.again and not claim.is_last:
        return outcome
    attempt = outcome.attempt
    said = outcome.reason
    if attempt is not None and attempt.body:
        said = attempt.body[:_KEPT_CHARACTERS].decode("utf-8", "replace").strip() or said
    write = functools.partial(_fail, site, claim, said, hub_url)
    subscription = site.get(Writers).record(site.engine, site.session, write)
    if subscription is not None:
        site.send(signals.subscription_failed, subscription=subscription, reason=subscription.reason)
    return jobs.dead(outcome.reason, attempt=attempt)


def _fail(site: Site, claim: Claim, said: str, hub_url: str | None) -> Subscription | None:
    """Write that a request failed and commit; return its subscription where that failed as well."""
    session = site.session
    request = session.get(SubscriptionRequest, claim.payload["request_id"])
    subscription = lock(session, request.subscription_id) if request is not None else None
    if request is None or subscription is None or not jobs.is_ours(session, claim):
        session.rollback()
        return None
    session.refresh(request)
    now = site.now()
    reason = storable(said, _KEPT_CHARACTERS)
    failed = None
    if request.mode != claim.payload["mode"]:
        session.rollback()
        return None
    if request.mode == "unsubscribe":
        # the hub does not hear us: that its lease ends is all that is left, and nobody listens any more
        end(request, now, reason)
        end_if_last(site, session, subscription, reason)
    elif request.verified_at is None and request.ends_at is None:
        end(request, now, reason)
        owe_tending(session, subscription, try_again_at(site, subscription))
        subscription.reason = storable(
            error_text(hub_url or subscription.hub_url, subscription.topic_url, said), _KEPT_CHARACTERS
        )
        failed = subscription if fail(site, subscription) else None
    session.commit()
    return failed


def give_up(site: Site, job: Job, claim: Claim) -> None:
    """End the request of a job that died without saying what became of it."""
    payload = job.payload or {}
    request = site.session.scalar(
        sa.select(SubscriptionRequest).where(SubscriptionRequest.id == payload.get("request_id"))
    )
    if request is None:
        return
    # the claim of the burial, about what the dead job was about
    _failed(site, dataclasses.replace(claim, payload=payload), jobs.dead(job.reason))
