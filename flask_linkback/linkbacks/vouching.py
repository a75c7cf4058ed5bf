"""Vouching: a page that we trust says that it knows the site of a stranger (indieweb.org/Vouch).

Who receives a mention of a site that nobody knows wants the URL of such a page, and looks whether it links
there. Who sends one looks for it among the pages that link here.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import sqlalchemy as sa
from werkzeug.http import parse_options_header

from ..errors import AddressRefused, FetchError, TooLarge, TooSlow
from ..fetch import Response
from ..models import Link, Mention, MentionState, MentionStatus, digest, host_of, without_fragment
from ..outbox import jobs
from ..outbox.jobs import AttemptMade, Claim, Outcome
from ..outbox.replies import is_success, may_pass, retry_after
from ..outbox.retry import SLOW_STATUSES
from ..outbox.writers import Writers
from ..protocols.html import HTML_TYPES, LinkScan
from ..site import Site
from . import blocks
from .limits import Slot, fetch_slot, put_off
from .moderation import CHECK_VOUCH, Announcement, announce, is_known_host, record, waiting

__all__ = ["MISSING", "TROUBLES", "check_vouch", "find_vouch", "lacks_vouch"]

logger = logging.getLogger("flask_linkback.linkbacks")

MISSING: Final = "vouch_missing"
"""Why a mention waits that nobody vouches for; told, not written down."""
_UNKNOWN: Final = "vouch_unknown"
_NO_LINK: Final = "vouch_no_link"
_UNREADABLE: Final = "vouch_unreadable"
TROUBLES: Final = frozenset((_UNKNOWN, _NO_LINK, _UNREADABLE))
"""What is wrong with a vouch, as the reason of a mention that waits."""
_WITHOUT: Final = ("nofollow", "ugc")
"""The rels of links for which a page does not answer: visitors wrote them."""
_CANDIDATES: Final = 500
"""Among how many mentions a page is looked for that may vouch for us: the newest."""


# --- receiving ---------------------------------------------------------------------------------------


def lacks_vouch(site: Site, mention: Mention) -> bool:
    """Would a vouch help a mention, which has none, past the moderator? Only where its host is not known."""
    settings = site.settings.linkbacks
    return (
        settings.vouch
        and settings.auto_approve is not True
        and mention.protocol == "webmention"
        and mention.status is MentionStatus.pending
        and not mention.vouch
        and not is_known_host(site, mention.source_host)
    )


def check_vouch(site: Site, claim: Claim) -> Outcome:
    """Handle a job: look at the page that vouches for a mention, which is approved if it does.

    The host of the page must be known: one whose mention was approved, or to which a page of ours links.
    There it has to link to the source's site. Anything else leaves the mention to a moderator. RATE_LIMITS
    count this fetch, too.
    """
    mention_id = claim.payload["mention_id"]
    mention = site.session.scalar(waiting().where(Mention.id == mention_id))
    if not site.settings.linkbacks.vouch or mention is None or not mention.vouch:
        site.session.rollback()
        return jobs.done()
    vouch, source_host = mention.vouch, mention.source_host

    def write(reason: str | None, slot: Slot | None = None) -> list[Announcement]:
        session = site.session
        if not jobs.is_ours(session, claim):
            session.rollback()
            return []
        announcements = [] if reason is None else list(_judge(site, mention_id, vouch, reason))
        if slot is not None:
            slot.give_back(session)
        session.commit()
        return announcements

    tell = partial(site.get(Writers).record, site.engine, site.session)
    if not _may_vouch(site, vouch, source_host):
        announce(site, tell(partial(write, _UNKNOWN)))
        return jobs.done(_UNKNOWN)
    host = host_of(vouch)
    with fetch_slot(site, host, digest(without_fragment(vouch))) as slot:
        if slot.seconds:
            put_off(site, CHECK_VOUCH, host)
            return jobs.later(slot.seconds, "The page that vouches, or its host, was asked often enough.")
        look = _look_at(site, vouch, source_host)
        ends = look.is_final or claim.is_last
        announcements = tell(partial(write, look.reason if ends else None, slot))
    announce(site, announcements)
    if look.is_final:
        return jobs.done(look.reason, attempt=look.attempt)
    if claim.is_last:
        return jobs.dead(look.reason, attempt=look.attempt)
    return jobs.again(
        look.reason, retry_after=look.retry_after, overloaded=look.overloaded, attempt=look.attempt
    )


def _may_vouch(site: Site, url: str, source_host: str) -> bool:
    """Is a page on a site that we know, and neither on ours nor on that of the source?"""
    host = host_of(url)
    linked = sa.select(Link.id).where(Link.target_host == host, Link.removed.is_(False)).limit(1)
    known = (
        bool(host)
        and host != source_host
        and host not in site.own_hosts
        and blocks.find(site, url) is None
        and (is_known_host(site, host) or site.session.scalar(linked) is not None)
    )
    site.session.rollback()  # no transaction stays open over HTTP
    return known


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What a look at the page that vouches showed; ``reason`` is "" when it does vouch."""

    reason: str
    is_final: bool
    attempt: AttemptMade
    retry_after: float | None = None
    overloaded: bool = False


def _look_at(site: Site, vouch: str, source_host: str) -> _Look:
    """Fetch the page that vouches and look for a real link to the source's site."""
    started_at = site.now()
    finder = _Finder((source_host,))
    response: Response | None = None
    failure, is_final, overloaded = "", True, False
    try:
        response = finder.read(site, vouch)
    except FetchError as error:
        failure, overloaded = error.kind, isinstance(error, TooSlow)
        # of a page that is too large the first part counts
        is_final = isinstance(error, (AddressRefused, TooLarge))
    if response is not None and not is_success(response):
        failure, is_final = f"http_{response.status}", not may_pass(response)
        overloaded = response.status in SLOW_STATUSES
    if failure not in ("", TooLarge.kind):
        reason = _UNREADABLE
    elif response is not None and host_of(response.url) != host_of(vouch):
        # whoever finds a page there that redirects must not be able to vouch for themselves
        reason = "" if _may_vouch(site, response.url, source_host) else _UNKNOWN
    else:
        reason = ""
    reason = reason or ("" if finder.found else _NO_LINK)
    return _Look(
        reason=reason,
        is_final=is_final,
        overloaded=overloaded,
        retry_after=retry_after(site, response) if response is not None else None,
        attempt=AttemptMade(
            started_at=started_at,
            seconds=response.seconds if response else (site.now() - started_at).total_seconds(),
            outcome=failure or reason or "done",
            url=vouch,
            address=response.address if response else None,
            status_code=response.status if response else None,
        ),
    )


def _judge(site: Site, mention_id: int, vouch: str, reason: str) -> Iterator[Announcement]:
    """Write down what came of a vouch, in the caller's transaction."""
    still = waiting().where(Mention.id == mention_id).with_for_update()
    mention = site.session.scalar(still.execution_options(populate_existing=True))
    if mention is None or mention.vouch != vouch:
        return
    mention.reason = reason
    if not reason:
        yield record(site, mention, MentionStatus.approved, who="vouch", reason=vouch)


class _Finder:
    """Looks in a page of HTML for a link to one of some hosts that speaks for the page itself."""

    def __init__(self, hosts: Collection[str]) -> None:
        self.found = ""
        """The first of the hosts that the page links to."""
        self._hosts = frozenset(hosts)
        self._scan: LinkScan | None = None

    def read(self, site: Site, url: str) -> Response:
        """Fetch a page, as far as it takes to know; raises `FetchError`, also behind a link that counts."""
        try:
            return site.fetch.get(
                url,
                headers={"Accept": "text/html, application/xhtml+xml;q=0.9"},
                max_body=site.settings.fetch.max_html_bytes,
                on_chunk=self._take,
            )
        finally:
            if self._scan is not None:
                self._scan.close()
                self.found = next(iter(map(str, self._scan.found)), "")

    def _take(self, response: Response, chunk: bytes) -> bool:
        if self._scan is None:
            media_type, options = parse_options_header(response.headers.get("Content-Type"))
            if not is_success(response) or media_type.lower() not in HTML_TYPES:
                return True
            self._scan = LinkScan(
                self._host_of,
                base_url=response.url,
                hosts=self._hosts,
                excerpt_length=0,
                charset=options.get("charset"),
                without_rels=_WITHOUT,
            )
        return self._scan.feed(chunk)

    def _host_of(self, url: str) -> str | None:
        host = host_of(url)
        return host if host in self._hosts else None


# --- sending -----------------------------------------------------------------------------------------


def find_vouch(site: Site, source: str, target: str) -> str | None:
    """Return a page that may vouch for one of ours where the target's site does not know us.

    Somebody else's page that links here, and is shown here. The best is on a site to which the target
    links: its site knows that one. Where none is, or the target cannot be read, it is the newest.
    """
    found = (
        sa.select(Mention.source, Mention.source_host, Mention.target)
        .where(Mention.state == MentionState.verified, Mention.status == MentionStatus.approved)
        .order_by(Mention.id.desc())
        .limit(_CANDIDATES)
    )
    here, there = host_of(source), host_of(target)
    pages: dict[str, str] = {}
    for row in site.session.execute(found):
        if host_of(row.target) == here and row.source_host not in (here, there, ""):
            pages.setdefault(row.source_host, row.source)
    site.session.rollback()  # no transaction stays open over HTTP
    if not pages:
        return None
    finder = _Finder(pages)
    try:
        finder.read(site, without_fragment(target))
    except FetchError:
        logger.info("A target could not be read for whom it knows.", extra={"target": target})
    return pages.get(finder.found) or next(iter(pages.values()))
