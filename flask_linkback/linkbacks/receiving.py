"""Receiving: a stranger says that a page of theirs links to one of ours.

Nothing is fetched here: what is cheap is judged, the rest is written down and verified later.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .. import signals
from ..callers import CallRates, caller_key, plain_address
from ..errors import AddressRefused, LinkbackError, UnknownTarget
from ..fetch import check_url
from ..models import Mention, MentionState, MentionStatus, digest, host_of, without_fragment
from ..outbox import jobs
from ..outbox.writers import Writers
from ..site import Site
from . import blocks
from .limits import seconds_to_hold
from .targets import Located, Targets, current_route

__all__ = ["VERIFY", "Claimed", "Received", "Refusal", "Refused", "locate", "look", "receive"]

logger = logging.getLogger("flask_linkback.linkbacks")

_mention: Final = Mention.__table__
_FIND: Final = sa.select(_mention.c.id).where(_mention.c.key == sa.bindparam("key"))
_INSERT: Final = sa.insert(_mention)
_BY_KEY: Final = sa.select(Mention).where(Mention.key == sa.bindparam("key"))
VERIFY: Final = "verify_source"
"""The kind of job that fetches a source and judges every mention that waits for it."""
_TOMBSTONES: Final = (MentionStatus.rejected, MentionStatus.spam)
"""What was decided against a mention, to hold whenever it is sent again."""


class Refusal(enum.Enum):
    """Why a linkback is not taken."""

    bad_source = "The source is no URL that we can use."
    bad_vouch = "The vouch is no URL that we can use."
    bad_target = "The target is no URL of a page here."
    same_page = "Source and target are the same page."
    no_such_target = "There is no such page."
    target_closed = "The target does not accept linkbacks."
    blocked = "The linkback is not wanted here."
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
class Claimed:
    """What a linkback says of its source, plain text that is good for nothing before the link is found.

    Then it stands in for what the page itself does not say.
    """

    title: str = ""
    excerpt: str = ""
    author_name: str = ""

    @property
    def columns(self) -> Mapping[str, str]:
        """The same by the names of a mention's columns."""
        return {"title": self.title, "content": self.excerpt, "author_name": self.author_name}


@dataclass(frozen=True, kw_only=True)
class Received:
    """A linkback that was taken: its row, and the key and host of its source."""

    mention_id: int
    source_key: str
    source_host: str
    is_known: bool
    """It was told before, by whatever protocol."""


def receive(
    site: Site,
    *,
    protocol: str,
    source: str,
    target: str,
    caller: str = "",
    hold_seconds: float = 0.0,
    claimed: Claimed | None = None,
    vouch: str = "",
) -> Received:
    """Check a linkback as far as it goes without the network, write it down and commit.

    Source and target have one row whatever the protocol: what another told already is a repeat, which
    owes no more than another look. ``caller`` is the address that told us. The worker verifies after
    ``hold_seconds``, unless whoever called has done it by then. ``vouch`` is a page that may speak for the
    source. Raises `Refused`.
    """
    now = site.now()
    key = caller_key(caller)
    if key is not None:
        _count(site, "caller", key, now)
    if not _is_url(source):
        raise Refused(Refusal.bad_source)
    if vouch and not _is_url(vouch):
        raise Refused(Refusal.bad_vouch)
    if blocks.find(site, source) is not None:  # whatever the target is: nothing is told of it
        raise Refused(Refusal.blocked)
    located = locate(site, target)
    if _is_same_page(site, source, target):
        raise Refused(Refusal.same_page)
    session = site.session
    mention_key = digest(without_fragment(source), located.key)
    # whether there is one is asked without making an object of it: most are new
    is_new = session.execute(_FIND, {"key": mention_key}).first() is None
    mention = None if is_new else session.scalars(_BY_KEY, {"key": mention_key}).one()
    if mention is not None and _is_known(mention):
        with site.get(Writers).turn(site.engine):
            _look_again(site, session, mention, protocol, vouch)
        return _received(mention, is_known=True)
    _count(site, "target", located.hash, now)
    told = {
        "state": MentionState.received,
        "protocol": protocol,
        "received_at": now,
        "caller": plain_address(caller),
        **({"vouch": vouch} if vouch else {}),
        **(claimed.columns if claimed is not None else {}),
    }
    row = {**_row(source, target, located, mention_key), **told}
    due_at = now + timedelta(seconds=max(hold_seconds, seconds_to_hold(site, session, row["source_host"])))
    with site.get(Writers).turn(site.engine):
        try:
            if mention is None:
                mention_id = session.execute(_INSERT, row).inserted_primary_key[0]  # type: ignore[attr-defined]
            else:  # gone or failed: judged anew
                mention_id = _judged_anew(session, mention, told)
        except IntegrityError:  # the same call came twice at the same time
            session.rollback()
            mention = session.scalars(_BY_KEY, {"key": mention_key}).one()
            _look_again(site, session, mention, protocol, vouch)
            return _received(mention, is_known=True)
        jobs.add_once(session, look(row["source"], row["source_key"], row["source_host"], due_at=due_at))
        session.commit()
    logger.info("Received a %s.", protocol, extra={"source": source, "target": target, "caller": caller})
    if signals.mention_received.has_receivers_for(site.app):
        site.send(signals.mention_received, mention=session.get_one(Mention, mention_id))
    return Received(
        mention_id=mention_id,
        source_key=row["source_key"],
        source_host=row["source_host"],
        is_known=False,
    )


def _judged_anew(session: Session, mention: Mention, told: Mapping[str, Any]) -> int:
    for name, value in told.items():
        setattr(mention, name, value)
    mention.recheck = False
    mention.reason = ""
    session.flush()
    return mention.id


def _is_known(mention: Mention) -> bool:
    """Is there nothing new in being told of a mention once more?"""
    return mention.state in (MentionState.received, MentionState.verified) or mention.status in _TOMBSTONES


def _received(mention: Mention, *, is_known: bool) -> Received:
    return Received(
        mention_id=mention.id,
        source_key=mention.source_key,
        source_host=mention.source_host,
        is_known=is_known,
    )


def locate(site: Site, target: str) -> Located:
    """Return the open page of ours that a target URL names; raises `Refused`."""
    if not _is_url(target) or not site.is_own(target):
        raise Refused(Refusal.bad_target)
    if not site.settings.linkbacks.accept:
        raise Refused(Refusal.target_closed)
    route = current_route(site, target)
    # no page has a U+0000 in its address, and some databases raise when they are asked for one
    if route is None or any("\0" in str(value) for value in route.args.values()):
        raise Refused(Refusal.no_such_target)
    try:
        located = site.get(Targets).load(site, route)
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


def _is_same_page(site: Site, source: str, target: str) -> bool:
    """Is the source the target itself, however it is written? A page that links to itself mentions nobody."""
    if without_fragment(source) == without_fragment(target):
        return True
    if site.settings.site.base_url is None or not site.is_own(source) or site.is_told(source):
        return False
    route = site.match(source)
    return route is not None and route == site.match(target)


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


def _row(source: str, target: str, located: Located, key: str) -> dict[str, Any]:
    return {
        "key": key,
        "source": source,
        "source_key": digest(without_fragment(source)),
        "source_host": host_of(source),
        "target": target,
        "target_key": located.key,
        "target_hash": located.hash,
        "endpoint": located.endpoint[:255],
        "status": MentionStatus.pending,
    }


def _look_again(site: Site, session: Session, mention: Mention, protocol: str, vouch: str) -> None:
    """A repeat may be an update: owe one more look at the source, not before its interval is over.

    Once it is told by webmention it is judged by the rules of webmention, which count more links than
    the others do; a new vouch stands in for the old one. Nobody wants to know whether a page changed whose
    mention was rejected. A source in trouble whose mention was never verified may be well again, and is
    looked at sooner; for one that was, nobody may spend the looks after which it counts as gone.
    """
    if mention.status in _TOMBSTONES:
        return
    if protocol == "webmention":
        mention.protocol = protocol
        mention.vouch = vouch or mention.vouch
    if mention.state is MentionState.verified:
        mention.recheck = True
    session.flush()
    due_at = site.now()
    interval = timedelta(seconds=site.settings.linkbacks.source_interval_seconds)
    if mention.checked_at is not None:
        due_at = max(due_at, mention.checked_at + interval)
    source = mention.source, mention.source_key, mention.source_host
    written = jobs.add_once(session, look(*source, due_at=due_at))
    if not written and mention.state is MentionState.received:
        # not at once: it may have been asked just now, and a repeat a second must not be a claim a second
        jobs.hasten(session, kind=VERIFY, key=mention.source_key, due_at=site.now() + interval)
    session.commit()


def look(source: str, source_key: str, source_host: str, *, due_at: datetime) -> jobs.NewJob:
    """Return the job that looks at a source."""
    return jobs.NewJob(
        kind=VERIFY, payload={"source": source}, host=source_host, key=source_key, due_at=due_at
    )
