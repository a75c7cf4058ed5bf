"""Receiving: a stranger says that a page of theirs links to one of ours.

Nothing is fetched here: what is cheap is judged, the rest is written down and verified later.
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .. import signals
from ..errors import AddressRefused, LinkbackError, UnknownTarget
from ..fetch import check_url
from ..models import Mention, MentionState, MentionStatus, digest, host_of, without_fragment
from ..outbox import jobs
from ..site import Site
from .limits import CallRates, caller_key, plain_address, seconds_until_fetch
from .targets import Located, Targets

__all__ = ["VERIFY", "Received", "Refusal", "Refused", "locate", "receive"]

logger = logging.getLogger("flask_linkback.linkbacks")

VERIFY: Final = "verify_source"
"""The kind of job that fetches a source and judges every mention that waits for it."""


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
    source_unavailable = "The source cannot be read just now."
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
    """A linkback that was taken: its row, and the key and host of its source."""

    mention_id: int
    source_key: str
    source_host: str


def receive(
    site: Site, *, protocol: str, source: str, target: str, caller: str = "", hold_seconds: float = 0.0
) -> Received:
    """Check a linkback as far as it goes without the network, write it down and commit.

    ``caller`` is the address that told us. The worker verifies after ``hold_seconds``, unless whoever
    called has done it by then. Raises `Refused`.
    """
    now = site.now()
    key = caller_key(caller)
    if key is not None:
        _count(site, "caller", key, now)
    if not _is_url(source):
        raise Refused(Refusal.bad_source)
    located = locate(site, target)
    if without_fragment(source) == without_fragment(target):
        raise Refused(Refusal.same_page)
    session = site.session
    mention_key = digest(without_fragment(source), located.key)
    mention = session.scalar(sa.select(Mention).where(Mention.key == mention_key))
    if mention is not None and mention.state in (MentionState.received, MentionState.verified):
        _look_again(site, session, mention)
        raise Refused(Refusal.already)
    _count(site, "target", located.hash, now)
    if mention is None:
        mention = _new(source, target, located, mention_key)
        session.add(mention)
    else:  # gone or failed: judged anew, but what a person decided stands
        mention.recheck = False
        mention.reason = ""
    mention.state = MentionState.received
    mention.protocol = protocol
    mention.received_at = now
    mention.caller = plain_address(caller)
    try:
        session.flush()
    except IntegrityError:  # the same call came twice at the same time
        session.rollback()
        raise Refused(Refusal.already) from None
    # not before its host may be asked: jobs that can only be put off would keep the worker from others
    seconds = max(hold_seconds, seconds_until_fetch(site, session, mention.source_host))
    _owe_look(session, mention, due_at=now + timedelta(seconds=seconds))
    received = Received(mention_id=mention.id, source_key=mention.source_key, source_host=mention.source_host)
    session.commit()
    logger.info("Received a %s.", protocol, extra={"source": source, "target": target, "caller": caller})
    site.send(signals.mention_received, mention=mention)
    return received


def locate(site: Site, target: str) -> Located:
    """Return the open page of ours that a target URL names; raises `Refused`."""
    if not _is_url(target) or not site.is_own(target):
        raise Refused(Refusal.bad_target)
    if not site.settings.linkbacks.accept:
        raise Refused(Refusal.target_closed)
    route = site.match(target)
    # no page has a U+0000 in its address, and some databases raise when they are asked for one
    if route is None or any("\0" in str(value) for value in route.args.values()):
        raise Refused(Refusal.no_such_target)
    try:
        located = site.get(Targets).locate(site, route)
        is_open = located is not None and located.is_open(site)
    except UnknownTarget:
        raise Refused(Refusal.target_closed) from None
    except Exception as error:
        logger.exception("The loader of %s raised.", route.endpoint)
        raise Refused(Refusal.application) from error
    if located is None:
        raise Refused(Refusal.no_such_target)
    if not is_open:
        raise Refused(Refusal.target_closed)
    return located


def _is_url(url: str) -> bool:
    """Is this a URL that could be asked for, and stored?"""
    try:
        check_url(url)
        url.encode()
    except (AddressRefused, UnicodeEncodeError):
        return False
    return True


def _count(site: Site, limit: str, key: str, now: datetime) -> None:
    """Count a call; raises `Refused` when there were too many of this key in a minute."""
    at_most = site.settings.linkbacks.rate_limits[limit]
    wait = site.get(CallRates).wait(f"{limit} {key}", at_most, now.timestamp())
    if wait:
        raise Refused(Refusal.too_many, retry_after=wait)


def _new(source: str, target: str, located: Located, key: str) -> Mention:
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
    """A repeat may be an update: owe one more look at the source, not before its interval is over."""
    if mention.state is MentionState.verified:
        if mention.status in (MentionStatus.rejected, MentionStatus.spam):
            return
        mention.recheck = True
        session.flush()
    due_at = site.now()
    if mention.checked_at is not None:
        interval = timedelta(seconds=site.settings.linkbacks.source_interval_seconds)
        due_at = max(due_at, mention.checked_at + interval)
    _owe_look(session, mention, due_at=due_at)
    session.commit()


def _owe_look(session: Session, mention: Mention, *, due_at: datetime) -> None:
    """Owe a look at the mention's source, if none is owed already."""
    job = jobs.NewJob(
        kind=VERIFY,
        payload={"source": mention.source},
        host=mention.source_host,
        key=mention.source_key,
        due_at=due_at,
    )
    jobs.add_once(session, job)
