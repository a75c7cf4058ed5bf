"""Delivering: one event goes to one listener, signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from .. import signals
from ..errors import FetchError
from ..fetch import Response
from ..models import Event, Job, Listener, ListenerState
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome, Verdict
from ..outbox.replies import attempt_of, outcome_of
from ..protocols import standardwebhooks
from ..site import Site
from . import health, pacing
from .dispatch import hook_of, sends_as_it_is
from .formats import FORMATS, Said
from .hooks import Hook
from .listeners import ACTIVE
from .options import Options, options_of
from .reading import OwedAhead

__all__ = [
    "AT_SENDING",
    "MASKED",
    "NOT_KEPT",
    "WHY_NOT",
    "Delivery",
    "Message",
    "Post",
    "attempts_allowed",
    "deliver",
    "draft",
    "masked",
    "message_id",
]

WHY_NOT: Final = {
    ListenerState.paused: "The listener is paused.",
    ListenerState.disabled: health.DISABLED,
    ListenerState.unverified: "The listener has not answered the handshake yet.",
}
NOT_KEPT: Final = "The event is not kept any more."
"""Why nothing can be sent of an event whose retention is over."""
MASKED: Final = "***"
"""What is shown for a header of the listener's own: it may be a password."""
AT_SENDING: Final = "(made when it is sent)"
"""What is shown for headers that are others with each attempt."""


class Post(Protocol):
    """Sends a delivery, as it is or with another URL, body or more headers; returns the answer."""

    def __call__(
        self, *, url: str | None = None, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response: ...


def message_id(event: Event, listener_id: int) -> str:
    """Return the ``webhook-id`` of an event for a listener: the same for all attempts and resends."""
    return f"{event.uid}_{listener_id}"


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent."""

    url: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """An event and a listener, with what is needed to send the one to the other."""

    site: Site
    event: Event
    listener: Listener
    secrets: Sequence[str]
    hook: Hook
    options: Options
    body: bytes | None = None
    """What the hook would make of it, where that is known."""
    more_headers: Mapping[str, str] = field(default_factory=dict)

    def post(
        self, *, url: str | None = None, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Sign and send."""
        return self.send(self.compose(url=url, body=body, headers=headers))

    def compose(
        self, *, url: str | None = None, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Message:
        """Sign; a new signature for each attempt (Standard Webhooks, "Signature scheme")."""
        said = self._said() if body is None else Said(headers={"Content-Type": "application/json"}, body=body)
        signed = standardwebhooks.headers(
            self.secrets,
            webhook_id=message_id(self.event, self.listener.id),
            at=self.site.now(),
            body=said.body,
        )
        all_headers = {
            **said.headers,
            **(self.listener.headers or {}),
            **(headers or {}),
            **self.more_headers,
            "Webhook-Depth": str(self.event.depth + 1),
            **signed,
        }
        return Message(url=url or self.listener.url, body=said.body, headers=all_headers)

    def _said(self) -> Said:
        """The event as the listener wants it said, which is as the hook does where it wants nothing else."""
        say = FORMATS.get(self.options.format)
        if say is not None:
            return say(self.site, self.event)
        body = self.hook.serialize(self.event, self.listener) if self.body is None else self.body
        return Said(headers={"Content-Type": "application/json"}, body=body)

    def send(self, message: Message) -> Response:
        return self.site.fetch.post(message.url, message.body, headers=message.headers, timeout=self.timeout)

    @property
    def timeout(self) -> float:
        """What the listener says counts before what the hook says, and that before the setting."""
        said = (self.options.timeout, self.hook.timeout, self.site.settings.fetch.delivery_timeout)
        return next(each for each in said if each is not None)


def draft(site: Site, event: Event, listener: Listener) -> Message:
    """Return what would be sent now, without a secret: headers of the listener's own are masked.

    A hook that overrides `Hook.deliver` may send something else.
    """
    delivery = Delivery(
        site=site,
        event=event,
        listener=listener,
        secrets=[],
        hook=hook_of(site, event.hook),
        options=options_of(listener),
    )
    message = delivery.compose()
    made = {"webhook-timestamp": AT_SENDING, "webhook-signature": AT_SENDING}
    return replace(message, headers={**masked(message.headers, listener), **made})


def masked(headers: Mapping[str, str], listener: Listener) -> dict[str, str]:
    """Return the headers of a delivery without the values that are the listener's own."""
    own = {name.lower() for name in listener.headers or {}}
    return {name: MASKED if name.lower() in own else value for name, value in headers.items()}


def deliver(site: Site, claim: Claim) -> Outcome:
    """Handle a job: send a listener an event.

    Each 2xx is taken for a yes, each redirect for a no (Standard Webhooks, "Webhook delivery"). 410 disables
    the listener. Of deliveries of one key the older one goes first: the others wait until it is done or dead.
    """
    return jobs.wait_turn(site, claim) or jobs.in_order(claim, _deliver(site, claim))


def _deliver(site: Site, claim: Claim) -> Outcome:
    delivery = _read(site, claim)
    if isinstance(delivery, Outcome):
        return delivery
    site.end_reading()
    options = delivery.options
    if options.is_limited:
        put_off = pacing.take(site, claim, delivery.listener, options, delivery.timeout)
        if put_off is not None:
            return put_off
    started_at = site.now()
    try:
        reply: Response | FetchError = delivery.hook.deliver(delivery.event, delivery.listener, delivery.post)
    except FetchError as error:
        reply = error
    finally:
        if options.concurrency is not None:
            pacing.give_back(site, claim, delivery.listener)
    attempt = attempt_of(site, delivery.listener.url, started_at, reply)
    outcome = outcome_of(site, reply, attempt, keep_trying=True)
    _note(site, claim, delivery.listener, reply, outcome)
    outcome = _allowed(claim, delivery, outcome)
    _announce(site, claim, outcome)
    return outcome


def _read(site: Site, claim: Claim) -> Delivery | Outcome:
    """Return what a delivery needs, apart from the session, or how it ends without being sent."""
    owed = site.get(OwedAhead).take(site, claim)
    listener, event = owed.listener, owed.event
    if listener is None:
        return jobs.done("The listener is gone.")
    if listener.state not in ACTIVE:
        return jobs.dead(WHY_NOT[listener.state])
    if event is None or event.shared.data is None:
        return jobs.dead(NOT_KEPT)
    hook = hook_of(site, event.shared.hook)
    as_it_is = sends_as_it_is(hook)
    return Delivery(
        site=site,
        event=event.shared if as_it_is else event.new(),
        listener=listener,
        secrets=owed.secrets,
        hook=hook,
        options=options_of(listener),
        body=event.body if as_it_is else None,
    )


def _note(
    site: Site, claim: Claim, listener: Listener, reply: Response | FetchError, outcome: Outcome
) -> None:
    """Note what an answer says of the listener's health."""
    if outcome.verdict is Verdict.done:
        health.note_success(site, claim, listener)
    elif isinstance(reply, Response) and reply.status == 410:
        health.disable(site, claim, listener, "It answered 410: it wants nothing any more.")
    else:
        health.note_failure(site, claim, listener, outcome.reason)


def _allowed(claim: Claim, delivery: Delivery, outcome: Outcome) -> Outcome:
    """Give up where hook or listener let try no more often."""
    if outcome.verdict is not Verdict.again:
        return outcome
    if claim.attempts >= attempts_allowed(delivery.hook, delivery.options, claim.attempts_allowed):
        return jobs.dead(outcome.reason, attempt=outcome.attempt)
    return replace(outcome, schedule=delivery.options.retry_schedule)


def attempts_allowed(hook: Hook, options: Options, of_site: int) -> int:
    """Return how often a delivery is tried at most, where the site lets try so often."""
    if not hook.retry:
        return 1
    own = of_site if options.retry_schedule is None else len(options.retry_schedule)
    return own if hook.max_retries is None else min(own, hook.max_retries + 1)


_SIGNALS: Final = {
    Verdict.done: signals.delivery_succeeded,
    Verdict.again: signals.delivery_failed,
    Verdict.dead: signals.delivery_exhausted,
}


def _announce(site: Site, claim: Claim, outcome: Outcome) -> None:
    signal = _SIGNALS[outcome.verdict]
    if not signal.has_receivers_for(site.app):
        return
    session = site.session
    about = {
        "delivery": session.get(Job, claim.id),
        "listener": session.get(Listener, claim.listener_id),
        "event": session.get(Event, claim.event_id),
    }
    if outcome.verdict is Verdict.done:
        site.send(signal, **about)
    else:
        site.send(signal, reason=outcome.reason, **about)
