"""Receiving: webhooks of others are verified, kept, and handled once by a function of the application."""

from __future__ import annotations

import functools
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .. import changes
from ..callers import CallRates
from ..errors import AlreadyRegistered, BadSignature, ConfigError, LinkbackError, ReplayRefused, did_you_mean
from ..models import Job, JobState, Receipt, digest
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.retention import delete_old, empty_old
from ..outbox.worker import warn_of_uncommitted
from ..outbox.writers import Writers
from ..protocols.text import keepable
from ..protocols.webhook_schemes import SCHEMES, Message, Scheme, Verified, check_secrets, parse_data
from ..site import Site
from . import recording

__all__ = [
    "HANDLE",
    "ReceivedEvent",
    "Receiver",
    "Receivers",
    "Secrets",
    "TooMany",
    "handle",
    "job_of",
    "receive",
    "replay",
    "sweep",
]

logger = logging.getLogger("flask_linkback.webhooks")

HANDLE: Final = "handle_webhook"
"""The kind of job that calls the application for a webhook that it received."""
Secrets = str | Iterable[str] | Callable[[], str | Iterable[str] | None]

_receipt: Final = Receipt.__table__
_IS_NAME: Final = re.compile("[a-z0-9][a-z0-9_-]{0,63}").fullmatch
_MOST_HEADERS: Final = 50
_LONGEST_NAME: Final = 100
_LONGEST_HEADER: Final = 1024
_LONGEST_ID: Final = 255
_NOT_KEPT: Final = frozenset(("authorization", "cookie", "proxy-authorization"))


class TooMany(LinkbackError):
    """A caller was refused too often."""

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True)
class ReceivedEvent:
    """What somebody told us by a webhook, as the application's function gets it."""

    name: str
    """That of the receiver."""
    id: str
    """The same however often it was sent."""
    type: str
    """What happened, in the words of who sent it; ``""`` where it does not say."""
    data: Any
    """What the body says in JSON, also in a form's field ``payload``; None where it is something else."""
    body: bytes
    content_type: str
    headers: Mapping[str, str]
    """By their names in lower case; 50 at most, and of each 1024 characters."""
    received_at: datetime


Handler = Callable[[ReceivedEvent], Any]


# --- who receives --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A function of the application, and how to know who sends to it."""

    name: str
    function: Handler
    scheme: Scheme
    scheme_name: str
    """``""`` for one of the application's own."""
    secret: Secrets | None

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets that count now; raises `BadSecret`."""
        found = self.secret() if callable(self.secret) else self.secret
        secrets = (found,) if isinstance(found, str) else tuple(found or ())
        check_secrets(self.scheme_name, secrets)
        return secrets


class Receivers:
    """The receivers of an application, by name; one may be added at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._receivers: dict[str, Receiver] = {}

    def get(self, name: str) -> Receiver | None:
        return self._receivers.get(name)

    def __iter__(self) -> Iterator[Receiver]:
        """All of them, by their names."""
        return iter(sorted(self._receivers.copy().values(), key=lambda each: each.name))

    def add(
        self, name: str, function: Handler, *, secret: Secrets | None, scheme: str | Scheme | None
    ) -> None:
        """Let a function receive under a name; raises `AlreadyRegistered`, `ConfigError` and `BadSecret`."""
        if not _IS_NAME(name):
            raise ConfigError(
                f"A receiver's name is part of a URL, such as 'github' (a to z, 0 to 9, - and _): {name!r}."
            )
        receiver = _receiver(name, function, secret, scheme)
        if not callable(secret):
            receiver.secrets()
        with self._lock:
            if name in self._receivers:
                raise AlreadyRegistered(f"Receiver with name {name} is already registered.")
            self._receivers[name] = receiver


def _receiver(name: str, function: Handler, secret: Secrets | None, scheme: str | Scheme | None) -> Receiver:
    if scheme is None:
        scheme = name if name in SCHEMES else "standard"
    if callable(scheme):
        return Receiver(name=name, function=function, scheme=scheme, scheme_name="", secret=secret)
    if scheme not in SCHEMES:
        raise ConfigError(
            f"There is no scheme {scheme!r}, only {', '.join(SCHEMES)} and functions."
            + did_you_mean(str(scheme), SCHEMES)
        )
    if not secret:
        raise ConfigError(
            f"The receiver {name!r} needs a secret, by which it knows who sends: "
            f"receiver({name!r}, secret=...). Only a scheme of your own, a function, goes without."
        )
    return Receiver(name=name, function=function, scheme=SCHEMES[scheme], scheme_name=scheme, secret=secret)


# --- in the request ------------------------------------------------------------------------------------


def receive(
    site: Site, receiver: Receiver, *, headers: Iterable[tuple[str, str]], body: bytes, caller: str = ""
) -> Verified:
    """Verify a webhook, write it down with the job that handles it, and commit.

    What was written down before is left as it is. Raises `BadSignature`, and `TooMany` where a caller was
    refused more often than RATE_LIMITS let one call; who signs as it should is not counted. What the
    application's own functions raise is raised.
    """
    now = site.now()
    said = {name.lower(): value for name, value in headers}
    try:
        verified = _verified(receiver, Message(headers=said, body=body, secrets=receiver.secrets(), now=now))
    except BadSignature:
        _count(site, caller, now)
        raise
    if verified.challenge is not None:
        return verified
    is_new = _store(site, receiver, verified, kept_headers(said), body, now)
    logger.info(
        "Received a webhook." if is_new else "Received a webhook once more.",
        extra={"receiver": receiver.name, "message_id": verified.id, "caller": caller},
    )
    return verified


def _verified(receiver: Receiver, message: Message) -> Verified:
    verified = receiver.scheme(message)
    if not isinstance(verified, Verified) or not isinstance(verified.id, str) or not verified.id:
        raise TypeError(
            f"The scheme of the receiver {receiver.name!r} returned {verified!r}. "
            "Did you mean Verified(id=...), or to raise BadSignature?"
        )
    return verified


def _count(site: Site, caller: str, now: datetime) -> None:
    limit = site.settings.linkbacks.rate_limits["caller"]
    wait = site.get(CallRates).wait_for_caller(caller, limit, now.timestamp())
    if wait:
        raise TooMany(wait)


def kept_headers(said: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that are kept: no password, and not more than there is room for."""
    # the first one says how to read the body
    ordered = sorted(said.items(), key=lambda pair: pair[0] != "content-type")
    kept = [(name, value[:_LONGEST_HEADER]) for name, value in ordered if name not in _NOT_KEPT]
    return {name: value for name, value in kept[:_MOST_HEADERS] if len(name) <= _LONGEST_NAME}


def _store(
    site: Site,
    receiver: Receiver,
    verified: Verified,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> bool:
    """Write the receipt and its job; say whether it is the first of this message."""
    row: dict[str, Any] = {
        "key": digest(receiver.name, verified.id),
        "receiver": receiver.name,
        "message_id": keepable(verified.id)[:_LONGEST_ID],
        "headers": dict(headers),
        "body": body,
        "received_at": now,
    }
    session = site.session
    with site.get(Writers).turn(site.engine):
        try:
            insert = sa.insert(_receipt).values(row).returning(_receipt.c.id)
            receipt_id = session.execute(insert).scalar_one()
        except IntegrityError:  # the key was there, or came just now
            session.rollback()
            return False
        # the type is what the headers or the body said: it is not looked for a second time
        payload = {"receipt_id": receipt_id, "type": keepable(verified.type)}
        jobs.add(session, [jobs.NewJob(kind=HANDLE, payload=payload, key=row["key"])])
        session.commit()
    return True


# --- in the worker -------------------------------------------------------------------------------------


def handle(site: Site, claim: Claim) -> Outcome:
    """Handle a job: call the application's function for a webhook.

    One that raises has the job done again by the retry schedule; so has a name under which nobody receives,
    since another process may know it. What the function leaves uncommitted is dropped.
    """
    session = site.session
    receipt = session.get(Receipt, claim.payload["receipt_id"])
    if receipt is None or receipt.body is None:
        return jobs.dead("The webhook is not kept any more.")
    name = receipt.receiver
    event = _event_of(receipt, claim.payload["type"])
    session.commit()
    receiver = site.get(Receivers).get(name)
    if receiver is None:
        return jobs.again(f"There is no receiver {name!r} here.")
    write = functools.partial(_record, site, claim, claim.payload["receipt_id"])
    # what the function causes is as deep as what was received, or a loop by way of a receiver never ends
    before = recording.depth.set(recording.parse_depth(event.headers.get("webhook-depth")))
    try:
        site.app.ensure_sync(receiver.function)(event)
    except Exception as error:  # whatever the application's function does is not ours
        session.rollback()
        logger.exception(
            "The receiver of a webhook raised.",
            extra={"receiver": name, "message_id": event.id, "job_id": claim.id},
        )
        reason = f"{type(error).__name__}: {error}"[:200]
        site.get(Writers).record(site.engine, session, functools.partial(write, reason=reason))
        return jobs.again(reason)
    finally:
        recording.depth.reset(before)
    warn_of_uncommitted(site, claim)
    session.rollback()
    site.get(Writers).record(site.engine, session, functools.partial(write, handled_at=site.now()))
    return jobs.done()


def _event_of(receipt: Receipt, kind: str) -> ReceivedEvent:
    headers = dict(receipt.headers or {})
    body = receipt.body or b""
    content_type = headers.get("content-type", "")
    return ReceivedEvent(
        name=receipt.receiver,
        id=receipt.message_id,
        type=kind,
        data=parse_data(body, content_type),
        body=body,
        content_type=content_type,
        headers=MappingProxyType(headers),
        received_at=receipt.received_at,
    )


def _record(
    site: Site, claim: Claim, receipt_id: int, *, handled_at: datetime | None = None, reason: str = ""
) -> None:
    """Write down what came of a webhook, unless somebody else has its job by now."""
    session = site.session
    if not jobs.is_ours(session, claim):
        session.rollback()
        return
    came_of_it = {"reason": keepable(reason), "handled_at": handled_at}
    session.execute(sa.update(_receipt).where(_receipt.c.id == receipt_id).values(came_of_it))
    session.commit()


# --- once more -----------------------------------------------------------------------------------------


def job_of(session: Session, receipt: Receipt) -> Job | None:
    """Return the job that handles a webhook; None once it is not kept any more."""
    about = sa.select(Job).where(Job.key == receipt.key, Job.kind == HANDLE)
    return session.scalars(about.order_by(Job.id.desc()).limit(1)).first()


def replay(site: Site, receipt: Receipt, *, again: bool = False) -> Job:
    """Let a webhook be handled once more, by the job that handled it; the caller commits.

    Raises `ReplayRefused` while it is still to be handled, for what was handled unless ``again``, and where
    nothing is left to handle.
    """
    session = site.session
    job = job_of(session, receipt)
    if receipt.body is None or job is None:
        raise ReplayRefused("The webhook is not kept any more.")
    if job.state in (JobState.pending, JobState.running):
        raise ReplayRefused(f"The webhook is still to be handled: job {job.id} waits, or is under way.")
    if receipt.handled_at is not None and not again:
        raise ReplayRefused("The webhook was handled already: replay it with again=True.")
    jobs.replay(session, job.id)
    session.refresh(job)
    changes.note_call(session, "replay")
    return job


# --- what is not kept ----------------------------------------------------------------------------------


def sweep(site: Site) -> None:
    """Forget what webhooks said, and later that they came: a chore.

    After RETENTION_DAYS and ROW_RETENTION_DAYS. One whose row is gone would be handled once more.
    """
    empty_old(site, _receipt, _receipt.c.received_at, ["body", "headers"])
    delete_old(site, _receipt, _receipt.c.received_at)
