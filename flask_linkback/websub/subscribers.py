"""Subscribers: whether a callback wants what was asked for in its name, and for how long it gets it."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import changes
from ..errors import AddressRefused, FetchError, TooLarge, TooSlow
from ..fetch import Response
from ..models import Job, Subscriber, SubscriberState, Topic, host_of
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome, Verdict
from ..outbox.replies import attempt_of, is_success, outcome_of
from ..outbox.writers import Writers
from ..protocols import hub
from ..protocols.hub import Mode
from ..protocols.text import storable
from ..site import Site
from .distributing import WantedAhead
from .hub import FAILED_FOR, Policies

__all__ = ["DENY", "deny", "give_up", "sweep", "tell_denied", "verify"]

logger = logging.getLogger("flask_linkback.websub")

DENY: Final = "deny_subscriber"
"""The kind of job that tells a callback that there will be no subscription."""
TRIES: Final = 3
"""How often a callback is asked that cannot be reached."""
_MAX_ANSWER_BYTES: Final = 4096
"""More than any challenge has."""
_KEPT_CHARACTERS: Final = 500
_UNVERIFIED_FOR: Final = timedelta(days=1)
"""How long somebody is remembered who never confirmed."""
_subscriber: Final = Subscriber.__table__
_OPEN: Final = (SubscriberState.pending, SubscriberState.active)
_IN_THE_DATABASE: Final = {"synchronize_session": False}


# --- asking a callback -------------------------------------------------------------------------------


def verify(site: Site, claim: Claim) -> Outcome:
    """Handle a job: ask a callback whether it wants to subscribe or unsubscribe (WebSub, section 5.3).

    Before a subscription the policy of the application is asked; where it gives a reason the callback is
    told that it was denied. What is not confirmed changes nothing of what the subscriber has. Only a
    callback that cannot be reached is asked again: any answer is an answer.
    """
    asked, session = claim.payload, site.session
    mode = Mode(asked["mode"])
    found = sa.select(Subscriber.state, Subscriber.wanted_key, Subscriber.active_key, Topic.url).join(
        Topic, Topic.id == Subscriber.topic_id
    )
    row = session.execute(found.where(Subscriber.id == asked["subscriber_id"])).first()
    session.rollback()  # no transaction stays open over HTTP
    if row is None or not _is_wanted(mode, asked, row):
        return jobs.done("Nobody asks for it any more.")
    if mode is Mode.subscribe:
        reason = site.get(Policies).reason_to_deny(asked["callback"], row.url, asked["params"])
        session.rollback()
        if reason is not None:
            return _refuse(site, claim, str(reason))
    challenge = secrets.token_urlsafe(32)
    url = hub.verification_url(
        asked["callback"],
        mode=mode,
        topic=asked["topic"],
        challenge=challenge,
        lease_seconds=asked.get("lease_seconds"),
        verify_token=asked["verify_token"],
    )
    started_at = site.now()
    reply = _get(site, url)
    trouble = _trouble_with(reply, challenge)
    # the challenge was for once: it is not written down
    attempt = attempt_of(site, asked["callback"], started_at, reply, outcome=trouble)
    logger.info(
        "A callback was asked whether it wants to %s.",
        mode,
        extra={"host": claim.host, "reason": trouble or "confirmed"},
    )
    if not trouble:
        _record(site, claim, _confirmed(mode, asked, site.now()))
        return jobs.done(attempt=attempt)
    if _may_be_reached_later(reply) and claim.attempts < TRIES and not claim.is_last:
        return jobs.again(trouble, overloaded=isinstance(reply, TooSlow), attempt=attempt)
    _record(site, claim, _failed(mode, asked, trouble, site.now()))
    return jobs.done(trouble, attempt=attempt)


def _is_wanted(mode: Mode, asked: dict[str, Any], row: Any) -> bool:
    """Is this request still the one that counts?"""
    if mode is Mode.subscribe:
        return bool(row.wanted_key == asked["request"])
    # a later subscription is another one
    return row.state in _OPEN and row.active_key in (asked["active"], asked["request"])


def _get(site: Site, url: str) -> Response | FetchError:
    try:
        return site.fetch.get(url, purpose="callback", max_body=_MAX_ANSWER_BYTES, follow=False)
    except FetchError as error:
        return error


def _trouble_with(reply: Response | FetchError, challenge: str) -> str:
    """Why a reply is no confirmation, in a short word; "" for one that is (WebSub, section 5.3.1)."""
    if isinstance(reply, FetchError):
        return reply.kind
    if not is_success(reply):
        return f"http_{reply.status}"
    return "" if reply.body == challenge.encode() else "wrong_challenge"


def _may_be_reached_later(reply: Response | FetchError) -> bool:
    return isinstance(reply, FetchError) and not isinstance(reply, (AddressRefused, TooLarge))


# --- what comes of it --------------------------------------------------------------------------------


def _record(site: Site, claim: Claim, change: sa.Update, *owed: jobs.NewJob) -> bool:
    """Write what came of asking and commit, unless that is somebody else's to say; say whether it counted."""
    session = site.session

    def write() -> bool:
        if not jobs.is_ours(session, claim):
            session.rollback()
            return False
        counts = bool(session.execute(change, execution_options=_IN_THE_DATABASE).rowcount)  # type: ignore[attr-defined]
        if counts:
            jobs.add(session, owed)
        session.commit()
        return counts

    counts = site.get(Writers).record(site.engine, session, write)
    site.get(WantedAhead).forget()
    return counts


def _this(asked: dict[str, Any]) -> sa.Update:
    return sa.update(Subscriber).where(Subscriber.id == asked["subscriber_id"])


def _confirmed(mode: Mode, asked: dict[str, Any], now: datetime) -> sa.Update:
    """Let a request take effect, all of it at once, unless a newer one has come meanwhile."""
    if mode is Mode.unsubscribe:
        known = [key for key in (asked["active"], asked["request"]) if key is not None]
        same = Subscriber.active_key.in_(known)
        return _ended(asked, "Unsubscribed.").where(
            sa.or_(same, Subscriber.active_key.is_(None)) if asked["active"] is None else same
        )
    return (
        _this(asked)
        .where(Subscriber.wanted_key == asked["request"])
        .values(
            state=SubscriberState.active,
            topic_url=asked["topic"],
            callback_url=asked["callback"],
            callback_host=host_of(asked["callback"]),
            secret=Subscriber.wanted_secret,
            whole=asked["whole"],
            lease_seconds=asked["lease_seconds"],
            lease_expires_at=now + timedelta(seconds=asked["lease_seconds"]),
            wanted_key=None,
            wanted_secret=None,
            active_key=asked["request"],
            failures=0,
            failed_at=None,
            verified_at=now,
            reason="",
        )
    )


def _ended(asked: dict[str, Any], reason: str) -> sa.Update:
    """End a subscription, and the request for one that stood when this was asked; a newer one goes on."""
    asked_for = asked["request"]
    stood = sa.false() if asked_for is None else Subscriber.wanted_key == asked_for
    return (
        _this(asked)
        .where(sa.or_(Subscriber.state == SubscriberState.active, stood))
        .values(
            state=SubscriberState.ended,
            wanted_key=sa.case((stood, None), else_=Subscriber.wanted_key),
            wanted_secret=sa.case((stood, None), else_=_subscriber.c.wanted_secret),
            reason=reason,
        )
    )


def _failed(mode: Mode, asked: dict[str, Any], reason: str, now: datetime) -> sa.Update:
    """Forget a request that was not confirmed; whoever was subscribed stays so (WebSub, section 5.1)."""
    lately = Subscriber.failed_at > now - FAILED_FOR
    if mode is Mode.unsubscribe:  # anybody may ask that of a callback which says no: it counts once
        known = sa.case((sa.and_(lately, Subscriber.failures > 0), Subscriber.failures), else_=1)
        return _this(asked).values(failures=known, failed_at=now)
    counted = {"failures": sa.case((lately, Subscriber.failures + 1), else_=1), "failed_at": now}
    is_new = Subscriber.state == SubscriberState.pending
    return (
        _this(asked)
        .where(Subscriber.wanted_key == asked["request"])
        .values(
            **counted,
            state=sa.case((is_new, SubscriberState.ended), else_=Subscriber.state),
            reason=sa.case((is_new, reason), else_=Subscriber.reason),
            wanted_key=None,
            wanted_secret=None,
        )
    )


def give_up(site: Site, job: Job, claim: Claim) -> None:
    """End the verification of a job that died without saying what became of it."""
    asked = job.payload or {}
    if asked.get("mode") == Mode.subscribe:
        _record(
            site, claim, _failed(Mode.subscribe, asked, storable(job.reason, _KEPT_CHARACTERS), site.now())
        )


# --- denying -----------------------------------------------------------------------------------------


def _refuse(site: Site, claim: Claim, reason: str) -> Outcome:
    """Write down that the policy refuses a request, and owe the callback that news (section 5.2).

    A subscriber that is told so considers itself without subscription: it has none from here on.
    """
    asked = claim.payload
    said = storable(reason, _KEPT_CHARACTERS)
    change = _ended(asked, f"Denied: {said}" if said else "Denied.")
    _record(site, claim, change, _denial(asked["callback"], asked["topic"], said))
    return jobs.done(f"The policy refuses: {said}")


def deny(site: Site, subscriber: Subscriber, reason: str = "") -> bool:
    """End a subscription, and let its callback know why; say whether there was one. The caller commits.

    WebSub, section 5.2: a hub may do so at any time.
    """
    session, subscriber = site.session, site.ours(subscriber)
    if subscriber.state not in _OPEN:
        return False
    changes.note_call(session, "deny")
    said = storable(reason, _KEPT_CHARACTERS)
    subscriber.state = SubscriberState.ended
    subscriber.wanted_key = subscriber.wanted_secret = None
    subscriber.reason = f"Denied: {said}" if said else "Denied."
    session.flush()
    jobs.add(session, [_denial(subscriber.callback_url, subscriber.topic_url, said)])
    site.get(WantedAhead).forget()
    return True


def _denial(callback: str, topic: str, reason: str) -> jobs.NewJob:
    payload = {"callback": callback, "topic": topic, "reason": reason}
    return jobs.NewJob(kind=DENY, payload=payload, host=host_of(callback))


def tell_denied(site: Site, claim: Claim) -> Outcome:
    """Handle a job: tell a callback that there will be no subscription, and why."""
    told = claim.payload
    url = hub.denial_url(told["callback"], topic=told["topic"], reason=told["reason"])
    started_at = site.now()
    reply = _get(site, url)
    attempt = attempt_of(site, url, started_at, reply)
    outcome = outcome_of(site, reply, attempt)
    if outcome.verdict is Verdict.again and claim.attempts >= TRIES:
        return jobs.dead(outcome.reason, attempt=attempt)
    return outcome


# --- time --------------------------------------------------------------------------------------------


def sweep(site: Site) -> None:
    """Let leases end, and forget who never confirmed, who is long gone, and topics without anybody: a chore.

    WebSub, section 5.3.1: a hub enforces its leases. Nobody gets anything after the end of a lease, whenever
    this is called: see `follows`.
    """
    if not site.settings.websub.hub_enabled:
        return
    with site.get(Writers).turn(site.engine):
        _sweep(site.session, site.now(), timedelta(days=site.settings.outbox.row_retention_days))
        site.session.commit()


def _sweep(session: Session, now: datetime, kept_for: timedelta) -> None:
    over = sa.and_(Subscriber.state == SubscriberState.active, Subscriber.lease_expires_at <= now)
    ended = Subscriber.state.in_((SubscriberState.ended, SubscriberState.expired))
    unwanted = sa.and_(ended, Subscriber.wanted_key.is_(None))
    never = Subscriber.verified_at.is_(None)
    followed = sa.exists().where(Subscriber.topic_id == Topic.id)
    for statement in (
        sa.update(Subscriber).where(over).values(state=SubscriberState.expired, reason="The lease ran out."),
        sa.delete(Subscriber).where(unwanted, never, Subscriber.created_at <= now - _UNVERIFIED_FOR),
        sa.delete(Subscriber).where(never, Subscriber.created_at <= now - kept_for),
        sa.delete(Subscriber).where(unwanted, Subscriber.lease_expires_at <= now - kept_for),
        sa.delete(Topic).where(~followed, Topic.created_at <= now - _UNVERIFIED_FOR),
    ):
        session.execute(statement, execution_options=_IN_THE_DATABASE)
