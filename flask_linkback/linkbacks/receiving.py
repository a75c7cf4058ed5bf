"""Receiving: a stranger says that a page of theirs links to one of ours.

Nothing is fetched here: what is cheap is judged, the rest is written down and verified later.
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .. import signals
from ..errors import AddressRefused, LinkbackError, UnknownTarget
from ..fetch import check_url
from ..models import Mention, MentionState, MentionStatus, digest, host_of, without_fragment
from ..outbox import jobs
from ..site import Site
from .limits import CallRates, caller_key
from .targets import Located, Targets

__all__ = ["VERIFY", "Received", "Refusal", "Refused", "locate", "receive"]

logger = logging.getLogger("flask_linkback.linkbacks")

VERIFY: Final = "verify_source"
"""The kind of job that fetches a source and judges every mention that waits for it."""
MAX_URL_CHARACTERS: Final = 2048


class Refusal(enum.Enum):
    """Why a linkback is not taken."""

    bad_source = "The source is no URL that we can use."
    bad_target = "The target is no URL of a page here."
    same_page = "Source and target are the same page."
    no_such_target = "There is no such page."
    target_closed = "The target does not accept linkbacks."
    already = "The linkback is registered already."
    too_many = "Too many linkbacks: please come back later."
    no_such_source = "The source cannot be read."
    no_link = "The source does not link to the target."
    application = "The site failed to look the target up."


class Refused(LinkbackError):
    """A linkback was not taken; ``refusal`` says why, ``retry_after`` (seconds) when to come back."""

    def __init__(self, refusal: Refusal, *, retry_after: int | None = None) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True)
class Received:
    """A linkback that was taken: its row, and the key of its source for whoever verifies at once."""

    mention_id: int
    source: str
    source_key: str


def receive(site: Site, *, protocol: str, source: str, target: str, caller: str = "") -> Received:
    """Check a linkback as far as it goes without the network, write it down and commit.

    ``caller`` is the address that told us. Raises `Refused`.
    """
    now = site.now()
    rates = site.get(CallRates)
    limits = site.settings.linkbacks.rate_limits
    key = caller_key(caller)
    if key is not None:
        _check_rate(rates.wait(f"caller {key}", limits["caller"], now.timestamp()))
    _check_source(source)
    located = locate(site, target)
    if without_fragment(source) == without_fragment(target):
        raise Refused(Refusal.same_page)
    session = site.session
    mention_key = digest(without_fragment(source), located.key)
    mention = session.scalar(sa.select(Mention).where(Mention.key == mention_key))
    if mention is not None and mention.state in (MentionState.received, MentionState.verified):
        _look_again(site, session, mention)
        raise Refused(Refusal.already)
    _check_rate(rates.wait(f"target {located.hash}", limits["target"], now.timestamp()))
    if mention is None:
        mention = _new(source, target, located, mention_key, now)
        session.add(mention)
    else:  # gone or failed: judged anew, but what a person decided stands
        mention.recheck = False
        mention.reason = ""
    mention.state = MentionState.received
    mention.protocol = protocol
    mention.received_at = now
    mention.caller = (caller or "")[:64]
    try:
        session.flush()
    except IntegrityError:  # the same call came twice at the same time
        session.rollback()
        raise Refused(Refusal.already) from None
    add_verification(site, session, mention, due_at=now)
    session.commit()
    received = Received(mention_id=mention.id, source=mention.source, source_key=mention.source_key)
    logger.info("Received a %s.", protocol, extra={"source": source, "target": target, "caller": caller})
    site.send(signals.mention_received, mention=mention)
    return received


def locate(site: Site, target: str) -> Located:
    """Return the open page of ours that a target URL names; raises `Refused`."""
    if len(target) > MAX_URL_CHARACTERS or urlsplit_or_none(target) is None or not site.is_own(target):
        raise Refused(Refusal.bad_target)
    route = site.match(target)
    if route is None:
        raise Refused(Refusal.no_such_target)
    try:
        located = site.get(Targets).locate(site, route)
    except UnknownTarget:
        raise Refused(Refusal.target_closed) from None
    except Exception as error:
        logger.exception("The loader of %s raised.", route.endpoint)
        raise Refused(Refusal.application) from error
    if located is None:
        raise Refused(Refusal.no_such_target)
    if not located.is_open(site):
        raise Refused(Refusal.target_closed)
    return located


def urlsplit_or_none(url: str) -> object | None:
    """Split an http(s) URL; None for anything else."""
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


def _check_source(source: str) -> None:
    try:
        check_url(source)
    except AddressRefused:
        raise Refused(Refusal.bad_source) from None


def _check_rate(wait: int) -> None:
    if wait:
        raise Refused(Refusal.too_many, retry_after=wait)


def _new(source: str, target: str, located: Located, key: str, now: datetime) -> Mention:
    return Mention(
        key=key,
        source=source,
        source_key=digest(without_fragment(source)),
        source_host=host_of(source),
        target=target,
        target_key=located.key,
        target_hash=located.hash,
        endpoint=located.endpoint[:255],
        status=MentionStatus.pending,
    )


def _look_again(site: Site, session: Session, mention: Mention) -> None:
    """A repeat may be an update: look at the source again, once in its interval, unasked for now."""
    undecided = mention.status in (MentionStatus.pending, MentionStatus.approved)
    if mention.state is MentionState.verified and undecided and not mention.recheck:
        mention.recheck = True
        session.flush()
        interval = timedelta(seconds=site.settings.linkbacks.source_interval_seconds)
        checked_at = mention.checked_at or site.now()
        add_verification(site, session, mention, due_at=max(site.now(), checked_at + interval))
        session.commit()


def add_verification(site: Site, session: Session, mention: Mention, *, due_at: datetime) -> None:
    """Owe a look at the mention's source, if none is owed already."""
    job = jobs.NewJob(
        kind=VERIFY,
        payload={"source": mention.source},
        host=mention.source_host,
        key=mention.source_key,
        due_at=due_at,
    )
    jobs.add_once(session, job)
