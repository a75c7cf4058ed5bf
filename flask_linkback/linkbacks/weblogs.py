"""Weblogs: those that tell us, as their directory, that they have something new.

Nothing is fetched while they tell: the worker looks whether the page is there, and only then are they
listed.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from werkzeug.http import parse_options_header

from ..callers import CallRates
from ..errors import AddressRefused, FetchError, LinkbackError, TooSlow
from ..fetch import Response, check_url
from ..models import Weblog, digest
from ..outbox import jobs
from ..outbox.jobs import AttemptMade, Claim, Outcome
from ..outbox.replies import may_pass, retry_after
from ..outbox.retry import SLOW_STATUSES
from ..outbox.writers import Writers
from ..protocols.html import HTML_TYPES
from ..protocols.weblogupdates import Listed, Ping
from ..site import Site
from . import blocks
from .contents import public_url
from .limits import fetch_slot, put_off, seconds_to_hold

__all__ = [
    "LISTED_FOR",
    "LISTED_SHORTLY_FOR",
    "VERIFY",
    "Changes",
    "Declined",
    "Refusal",
    "changes_of",
    "sweep",
    "take",
    "unlist",
    "verify",
]

logger = logging.getLogger("flask_linkback.linkbacks")

VERIFY: Final = "verify_weblog"
"""The kind of job that looks whether the page of a weblog is there."""
LISTED_FOR: Final = timedelta(hours=3)
"""How long a weblog is in the list after it told us: as at weblogs.com."""
LISTED_SHORTLY_FOR: Final = timedelta(minutes=5)
"""How long it is in the short list."""
MAX_LISTED: Final = 2000
MAX_WEBLOGS: Final = 10_000
"""How many are known at most; what is not listed gives way to others."""
MAX_OF_A_HOST: Final = 100
BLOCKED: Final = "blocked"
_THANKS: Final = "Thanks for the ping."
_KNOWN: Final = "Thanks for the ping. You told us just now: we know already."
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


# --- being told ----------------------------------------------------------------------------------------


class Refusal(enum.Enum):
    """Why a weblog is not taken."""

    not_public = "The URL of the weblog leads to no public place."
    blocked = "The weblog is not wanted here."
    too_many = "Too many pings: please come back later."
    full = "The directory is full: please come back later."


class Declined(LinkbackError):
    """A weblog was not taken; ``refusal`` says why, ``retry_after`` (seconds) when to come back."""

    def __init__(self, refusal: Refusal, *, retry_after: int | None = None) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal
        self.retry_after = retry_after


def take(site: Site, ping: Ping, *, caller: str = "") -> str:
    """Check what a weblog says as far as it goes without the network, write it down and commit.

    One that tells again within DIRECTORY_INTERVAL_SECONDS is thanked, and nothing is written. A feed
    elsewhere than on the weblog's own host is left out: anybody could have named it. Returns what to
    answer. Raises `Declined`.
    """
    now = site.now()
    _count(site, caller, now)
    url, host = _plain(site, ping.url)
    if blocks.find(site, url) is not None:
        raise Declined(Refusal.blocked)
    session = site.session
    key = digest(url)
    weblog = session.scalar(sa.select(Weblog).where(Weblog.key == key))
    interval = timedelta(seconds=site.settings.linkbacks.directory_interval_seconds)
    if weblog is not None and now < weblog.pinged_at + interval:
        return _KNOWN
    feed_url = public_url(site, ping.feed_url or "")
    if feed_url and check_url(feed_url).host != host:
        feed_url = ""
    due_at = now + timedelta(seconds=seconds_to_hold(site, session, host))
    with site.get(Writers).turn(site.engine):
        if weblog is None:
            _make_room(session, host, now)
            weblog = Weblog(key=key)
            session.add(weblog)
        elif weblog.listed:
            weblog.changed_at = now
        weblog.url, weblog.host = url, host  # of one that was erased nothing was left
        weblog.name, weblog.feed_url = ping.name, feed_url or None
        weblog.pinged_at, weblog.listed, weblog.reason = now, False, ""
        try:
            session.flush()
        except IntegrityError:  # the same call came twice at the same time
            session.rollback()
            return _KNOWN
        jobs.add_once(session, jobs.NewJob(kind=VERIFY, host=host, key=key, due_at=due_at))
        session.commit()
    logger.info("Received a ping of a weblog.", extra={"url": url, "caller": caller})
    return _THANKS


def _count(site: Site, caller: str, now: datetime) -> None:
    limit = site.settings.linkbacks.rate_limits["caller"]
    wait = site.get(CallRates).wait_for_caller(caller, limit, now.timestamp())
    if wait:
        raise Declined(Refusal.too_many, retry_after=wait)


def _plain(site: Site, url: str) -> tuple[str, str]:
    """Return a URL in its one form, without fragment, and its host."""
    if not public_url(site, url):
        raise Declined(Refusal.not_public)
    parts = check_url(url)
    return f"{parts.scheme}://{parts.authority}{parts.path}", parts.host


def _make_room(session: Session, host: str, now: datetime) -> None:
    """Let what is not listed give way where there are too many; raises `Declined` where nothing can."""
    of_host = sa.case((Weblog.host == host, 1))
    everywhere, there = session.execute(sa.select(sa.func.count(Weblog.id), sa.func.count(of_host))).one()
    if there >= MAX_OF_A_HOST:
        session.rollback()
        raise Declined(Refusal.full)
    if everywhere >= MAX_WEBLOGS:
        looked_at = sa.and_(Weblog.listed.is_(False), Weblog.reason != "")
        old = sa.or_(looked_at, Weblog.pinged_at <= now - LISTED_FOR)
        result = session.execute(sa.delete(Weblog).where(old))
        session.commit()
        if not result.rowcount:  # type: ignore[attr-defined]
            raise Declined(Refusal.full)


# --- looking whether it is there -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What a look at a weblog showed: the short word is "" where its page is there."""

    reason: str
    final: bool = True
    url: str = ""
    overloaded: bool = False
    retry_after: float | None = None
    attempt: AttemptMade


def verify(site: Site, claim: Claim) -> Outcome:
    """Handle a job: list a weblog if its URL answers with a page, by the limits of a look at a source."""
    session = site.session
    key = claim.key or ""
    waits = sa.and_(Weblog.key == key, Weblog.listed.is_(False), Weblog.pinged_at > site.now() - LISTED_FOR)
    url = session.scalar(sa.select(Weblog.url).where(waits))
    session.rollback()  # no transaction stays open over HTTP
    if url is None or not site.settings.linkbacks.directory_server:
        return jobs.done()
    with fetch_slot(site, claim.host, key) as slot:
        if slot.seconds:
            put_off(site, VERIFY, claim.host)
            return jobs.later(slot.seconds, "The weblog's host was asked often enough for now.")
        look = _look_at(site, url)

        def write() -> bool:
            if not jobs.is_ours(session, claim):
                session.rollback()
                return False
            reason = look.reason
            if not reason and blocks.find(site, url, look.url) is not None:
                reason = BLOCKED
            if not reason or look.final or claim.is_last:
                _judge(site, key, reason)
            slot.give_back(session)
            session.commit()
            return True

        if not site.get(Writers).record(site.engine, session, write):
            return jobs.done(attempt=look.attempt)
    if not look.final and not claim.is_last:
        interval = site.settings.linkbacks.source_interval_seconds
        return jobs.again(
            look.reason,
            retry_after=max(interval, look.retry_after or 0.0) or None,
            overloaded=look.overloaded,
            attempt=look.attempt,
        )
    end = jobs.done if look.final else jobs.dead
    return end(look.reason, attempt=look.attempt)


def _look_at(site: Site, url: str) -> _Look:
    """Ask for the page of a weblog, whose head says enough."""
    started_at = site.now()
    try:
        response = site.fetch.get(
            url,
            headers={"Accept": "text/html, application/xhtml+xml;q=0.9, */*;q=0.1"},
            on_chunk=lambda response, chunk: True,
        )
    except FetchError as error:
        return _Look(
            reason=error.kind,
            final=isinstance(error, AddressRefused),
            overloaded=isinstance(error, TooSlow),
            attempt=AttemptMade(
                started_at=started_at,
                seconds=(site.now() - started_at).total_seconds(),
                outcome=error.kind,
                url=url,
                reason=str(error),
            ),
        )
    reason = _reason_of(response)
    return _Look(
        reason=reason,
        final=response.status == 200 or not may_pass(response),
        url=response.url,
        overloaded=response.status in SLOW_STATUSES,
        retry_after=retry_after(site, response),
        attempt=AttemptMade(
            started_at=started_at,
            seconds=response.seconds,
            outcome=reason or "done",
            url=url,
            address=response.address,
            status_code=response.status,
        ),
    )


def _reason_of(response: Response) -> str:
    """Why an answer is no page, in a short word; "" for a page."""
    if response.status != 200:
        return f"http_{response.status}"
    media_type, _ = parse_options_header(response.headers.get("Content-Type"))
    return "" if media_type.lower() in HTML_TYPES else "not_html"


def _judge(site: Site, key: str, reason: str) -> None:
    """Write down what a look at a weblog showed; the caller commits."""
    session = site.session
    weblog = session.scalar(sa.select(Weblog).where(Weblog.key == key))
    if weblog is None or weblog.listed:  # swept, or listed by another
        return
    weblog.reason = reason
    if not reason:
        weblog.listed = True
        weblog.changed_at = site.now()
        weblog.number = 1 + (session.scalar(sa.select(sa.func.max(Weblog.number))) or 0)


# --- the list ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The weblogs that told us lately, the newest first, when that changed last, and how often it did."""

    weblogs: Sequence[Listed]
    updated: datetime
    count: int


def changes_of(site: Site, window: timedelta) -> Changes:
    """Return the weblogs that told us within a time, those whose page is there.

    ``updated`` is a whole second, and nothing that changes the list later in that second is in it yet: who
    asks whether it was modified since misses nothing.
    """
    session = site.session
    as_of = site.now().replace(microsecond=0)
    begin = as_of - window
    listed = sa.and_(Weblog.listed, Weblog.changed_at <= as_of)
    newest = (
        sa.select(Weblog)
        .where(listed, Weblog.pinged_at > begin)
        .order_by(Weblog.pinged_at.desc(), Weblog.id.desc())
        .limit(MAX_LISTED)
    )
    weblogs = [
        Listed(name=each.name, url=each.url, feed_url=each.feed_url, at=each.pinged_at)
        for each in session.scalars(newest)
    ]
    newest_change = sa.select(sa.func.max(Weblog.number), sa.func.max(Weblog.changed_at))
    count, changed = session.execute(newest_change.where(Weblog.changed_at <= as_of)).one()
    left = session.scalar(sa.select(sa.func.max(Weblog.pinged_at)).where(listed, Weblog.pinged_at <= begin))
    moments = [_NEVER, *(_whole(at) for at in (changed, left and left + window) if at is not None)]
    return Changes(weblogs=weblogs, updated=max(moments), count=count or 0)


def _whole(at: datetime) -> datetime:
    """The first whole second that is not before a moment."""
    return at if not at.microsecond else at.replace(microsecond=0) + timedelta(seconds=1)


def unlist(site: Site, given: Iterable[blocks.Listed]) -> int:
    """Take out of the list what some blocks keep out, and return how many that were. The caller commits."""
    screen = blocks.Screen(given)
    weblogs = site.session.scalars(sa.select(Weblog).where(Weblog.listed)).all()
    out = [each for each in weblogs if screen.find(each.url) is not None]
    for weblog in out:
        weblog.listed, weblog.reason, weblog.changed_at = False, BLOCKED, site.now()
    return len(out)


def sweep(site: Site) -> None:
    """Forget the weblogs that told us long ago: a chore.

    Not that which came into the list last: by it is known how often the list changed.
    """
    settings = site.settings.linkbacks
    remembered = max(LISTED_FOR, timedelta(seconds=settings.directory_interval_seconds))
    session = site.session
    newest = session.scalar(sa.select(sa.func.max(Weblog.number))) or 0
    is_last = sa.and_(Weblog.number == newest, Weblog.number > 0)
    old = sa.and_(Weblog.pinged_at <= site.now() - remembered, sa.not_(is_last))
    ids = session.scalars(sa.select(Weblog.id).where(old)).all()
    session.rollback()  # SQLite lets nobody write who read what was written over since
    if ids:
        with site.get(Writers).turn(site.engine):
            session.execute(sa.delete(Weblog).where(old))
            session.commit()
