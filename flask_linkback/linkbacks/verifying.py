"""Verifying: does the source really link to us? One fetch judges every mention that waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from blinker import NamedSignal
from werkzeug.http import parse_options_header

from .. import signals
from ..errors import AddressRefused, FetchError, TooLarge, TooSlow
from ..fetch import Response
from ..models import Mention, MentionState, MentionStatus, without_fragment
from ..outbox import jobs
from ..outbox.jobs import AttemptMade, Claim, Outcome
from ..outbox.retry import SLOW_STATUSES, parse_retry_after
from ..protocols.html import MAX_TITLE_CHARACTERS, Found, LinkScan
from ..site import Site
from .limits import fetch_slot, seconds_until_fetch
from .moderation import first_status
from .receiving import VERIFY, Received, Refusal, Refused
from .text import storable

__all__ = ["AT_ONCE_SECONDS", "HOLD_SECONDS", "verify", "verify_now"]

logger = logging.getLogger("flask_linkback.linkbacks")

AT_ONCE_PLACES: Final = 4
"""How many requests of one process may look at a source at the same time."""
AT_ONCE_SECONDS: Final = 2.5
"""How long a fetch inside a request may take: WordPress waits three seconds for our answer."""
HOLD_SECONDS: Final = 2 * AT_ONCE_SECONDS
"""How long the worker leaves a source to the request that looks at it."""
MAX_CALLERS: Final = 10
_READABLE: Final = frozenset(("", "text/html", "application/xhtml+xml"))
_TRY_AGAIN_STATUSES: Final = frozenset((408, 425, 429))


# --- what waits --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """The mentions that wait for a look at one source."""

    source: str
    pages: Mapping[int, Hashable]
    """The page of ours that each mention, by its id, says the source links to."""
    servers: frozenset[str]
    """Host and port of the targets as they were sent."""
    callers: str
    """Who told us, for the source's owner: addresses with commas between them."""


def _waiting(site: Site, source_key: str) -> _Waiting | None:
    session = site.session
    waits = sa.or_(Mention.state == MentionState.received, Mention.recheck.is_(True))
    mentions = session.scalars(sa.select(Mention).where(Mention.source_key == source_key, waits)).all()
    callers = list(dict.fromkeys(each.caller for each in mentions if each.caller))
    waiting = _Waiting(
        source=mentions[0].source if mentions else "",
        pages={each.id: _page(site, each.target) for each in mentions},
        servers=frozenset(urlsplit(each.target).netloc.lower() for each in mentions),
        callers=", ".join(callers[:MAX_CALLERS]),
    )
    session.rollback()  # no transaction stays open over HTTP
    return waiting if waiting.pages else None


def _page(site: Site, url: str) -> Hashable | None:
    """What a URL of ours leads to, however it is written; None for a foreign one."""
    if not site.is_own(url):
        return None
    route = site.match(url)
    if route is None:
        return without_fragment(url)
    return route.endpoint, tuple(sorted((name, repr(value)) for name, value in route.args.items()))


# --- a look at a source ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Trouble:
    """Why a source could not be read: a short word, and whether a repeat would not help either.

    ``refusal`` is what a caller is told who waits for the answer.
    """

    kind: str
    final: bool
    refusal: Refusal
    overloaded: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What a look at a source showed: the pages of ours that it links to, or what was in the way."""

    links: Mapping[Hashable, Found]
    title: str | None
    trouble: _Trouble | None
    attempt: AttemptMade


def _look_at(site: Site, waiting: _Waiting, *, timeout: float | None = None) -> _Look:
    """Fetch a source and look for links to the wanted pages, reading no further than needed."""
    started_at = site.now()
    reader = _Reader(site, waiting)
    headers = {"Accept": "text/html, application/xhtml+xml;q=0.9, */*;q=0.1"}
    if waiting.callers:
        headers["X-Pingback-Forwarded-For"] = waiting.callers
    response: Response | None = None
    reason = ""
    try:
        response = site.fetch.get(
            waiting.source,
            headers=headers,
            max_body=site.settings.fetch.max_html_bytes,
            on_chunk=reader.read,
            timeout=timeout,
        )
        trouble = _trouble_of_answer(site, response)
    except FetchError as error:
        reason = str(error)
        trouble = _trouble_of_fetch(error)
    # a page that was cut at its cap counts for the links before the cut
    readable = trouble is None or trouble.kind == TooLarge.kind
    links, title = reader.close() if readable else ({}, None)
    return _Look(
        links=links,
        title=title,
        trouble=trouble,
        attempt=AttemptMade(
            started_at=started_at,
            seconds=response.seconds if response else (site.now() - started_at).total_seconds(),
            outcome=trouble.kind if trouble else "done",
            url=waiting.source,
            address=response.address if response else None,
            status_code=response.status if response else None,
            reason=reason,
        ),
    )


class _Reader:
    """Reads a source as it comes in; nothing of an answer that is no page."""

    def __init__(self, site: Site, waiting: _Waiting) -> None:
        self._site = site
        self._waiting = waiting
        self._wanted = set(waiting.pages.values())
        self._own_server = ""
        self._scan: LinkScan | None = None

    def read(self, response: Response, chunk: bytes) -> bool:
        """Take a piece of the body; True when no more is wanted."""
        if self._scan is None:
            media_type, options = _content_type(response)
            if not 200 <= response.status < 300 or media_type not in _READABLE:
                return True
            server = urlsplit(response.url).netloc.lower()
            # another port of our host is another site, whose links to its own pages are none to ours
            self._own_server = server if server not in self._waiting.servers else ""
            self._scan = LinkScan(
                self._key,
                base_url=response.url,
                hosts=self._site.own_hosts,
                excerpt_length=self._site.settings.linkbacks.excerpt_length,
                charset=options.get("charset"),
                stop_when=len(self._wanted),
            )
        return self._scan.feed(chunk)

    def _key(self, url: str) -> Hashable | None:
        if self._own_server and urlsplit(url).netloc.lower() == self._own_server:
            return None
        page = _page(self._site, url)
        return page if page in self._wanted else None

    def close(self) -> tuple[Mapping[Hashable, Found], str | None]:
        """Return the links and the title of what was read."""
        if self._scan is None:
            return {}, None
        self._scan.close()
        return self._scan.found, self._scan.title


def _content_type(response: Response) -> tuple[str, Mapping[str, str]]:
    media_type, options = parse_options_header(response.headers.get("Content-Type"))
    return media_type.lower(), options


def _trouble_of_fetch(error: FetchError) -> _Trouble:
    """What it means that there was no answer.

    A caller who waits is told the same of a closed port, a refused address and a name that does not
    exist: that there is no such page (fault 16). A time-out may be our own impatience: fault 50.
    """
    if isinstance(error, TooLarge):
        return _Trouble(kind=error.kind, final=True, refusal=Refusal.no_link)
    if isinstance(error, TooSlow):
        return _Trouble(kind=error.kind, final=False, refusal=Refusal.source_unavailable, overloaded=True)
    return _Trouble(kind=error.kind, final=isinstance(error, AddressRefused), refusal=Refusal.no_such_source)


def _trouble_of_answer(site: Site, response: Response) -> _Trouble | None:
    """What an answer means that is no page; None for a page.

    410 means what it says. 404 and its like are no page (fault 16), though perhaps only today. 5xx is
    trouble of the server, which says nothing about the page: fault 50.
    """
    status = response.status
    if 200 <= status < 300:
        if _content_type(response)[0] in _READABLE:
            return None
        return _Trouble(kind="not_html", final=True, refusal=Refusal.no_link)
    unavailable = status >= 500 or status in _TRY_AGAIN_STATUSES
    return _Trouble(
        kind=f"http_{status}",
        final=status == 410,
        refusal=Refusal.source_unavailable if unavailable else Refusal.no_such_source,
        overloaded=status in SLOW_STATUSES,
        retry_after=parse_retry_after(response.headers.get("Retry-After"), site.now()),
    )


# --- judging -----------------------------------------------------------------------------------------

_Announcement = tuple[NamedSignal, Mention, dict[str, Any]]


def _judge(
    site: Site, pages: Mapping[int, Hashable], look: _Look, *, given_up: bool = False
) -> list[_Announcement]:
    """Write what a look says about some mentions and commit; return what is to be announced.

    Where we gave up, the next look at this source, whoever asks for it, judges again.
    """
    session = site.session
    # a write goes first: it locks the rows, on SQLite the database, against a moderator's decision
    session.execute(
        sa.update(Mention).where(Mention.id.in_(pages)).values(checked_at=site.now(), recheck=given_up),
        execution_options={"synchronize_session": False},
    )
    announcements: list[_Announcement] = []
    mentions = sa.select(Mention).where(Mention.id.in_(pages)).order_by(Mention.id)
    for mention in session.scalars(mentions).all():
        found = look.links.get(pages[mention.id])
        reason = look.trouble.kind if look.trouble else "no_link"
        if found is not None:
            announcements += _verified(site, mention, found, look.title)
        elif reason == TooLarge.kind and mention.state is MentionState.verified:
            mention.reason = reason  # its link may lie behind the cut: it stays
        else:
            announcements += _missing(mention, reason)
    session.commit()
    return announcements


def _verified(site: Site, mention: Mention, found: Found, title: str | None) -> Iterator[_Announcement]:
    said = (mention.title, mention.content)
    was_verified = mention.state is MentionState.verified
    mention.state = MentionState.verified
    mention.reason = ""
    mention.title = storable(title or "Unknown title", MAX_TITLE_CHARACTERS)
    mention.content = storable(found.excerpt, site.settings.linkbacks.excerpt_length)
    mention.verified_at = site.now()
    if not was_verified:
        yield signals.mention_verified, mention, {}
    elif said != (mention.title, mention.content):
        yield signals.mention_updated, mention, {}
    if mention.status is MentionStatus.pending:
        mention.status = first_status(site, mention)
        if mention.status is not MentionStatus.pending:
            decision = {"status": mention.status, "previous": MentionStatus.pending}
            yield signals.mention_moderated, mention, decision


def _missing(mention: Mention, reason: str) -> Iterator[_Announcement]:
    removed = mention.state in (MentionState.received, MentionState.verified)
    mention.state = MentionState.failed if mention.verified_at is None else MentionState.gone
    mention.reason = reason
    if removed:
        yield signals.mention_removed, mention, {"reason": reason}


def _note_look(site: Site, mention_ids: Iterable[int]) -> None:
    """Write down that a source was looked at in vain, and commit."""
    site.session.execute(
        sa.update(Mention).where(Mention.id.in_(mention_ids)).values(checked_at=site.now()),
        execution_options={"synchronize_session": False},
    )
    site.session.commit()


def _announce(site: Site, announcements: Iterable[_Announcement]) -> None:
    for signal, mention, values in announcements:
        site.send(signal, mention=mention, **values)


# --- later, by a job ---------------------------------------------------------------------------------


def verify(site: Site, claim: Claim) -> Outcome:
    """Handle a job: look at a source and judge what waits for it."""
    source_key = claim.key or ""
    waiting = _waiting(site, source_key)
    if waiting is None:
        return jobs.done()
    with fetch_slot(site, claim.host, source_key) as seconds:
        if seconds:
            _put_off(site, claim.host)
            return jobs.later(seconds, "The source, or its host, was asked often enough for now.")
        look = _look_at(site, waiting)
        if not jobs.is_ours(site.session, claim):
            site.session.rollback()
            return jobs.done(attempt=look.attempt)
        trouble = look.trouble
        if trouble is not None and not trouble.final and not claim.is_last:
            _note_look(site, waiting.pages)
            interval = site.settings.linkbacks.source_interval_seconds
            return jobs.again(
                trouble.kind,
                retry_after=max(interval, trouble.retry_after or 0.0) or None,
                overloaded=trouble.overloaded,
                attempt=look.attempt,
            )
        given_up = trouble is not None and not trouble.final
        announcements = _judge(site, waiting.pages, look, given_up=given_up)
    _announce(site, announcements)
    end = jobs.dead if given_up else jobs.done
    return end(trouble.kind if trouble else "", attempt=look.attempt)


def _put_off(site: Site, host: str) -> None:
    """Let all jobs wait that are due for a host which may not be asked now."""
    with site.new_session() as session:
        seconds = seconds_until_fetch(site, session, host)
        if seconds > 0:
            now = site.now()
            jobs.put_off(session, kind=VERIFY, host=host, now=now, until=now + timedelta(seconds=seconds))


# --- at once, in the request -------------------------------------------------------------------------


def verify_now(site: Site, received: Received) -> None:
    """Look at a source within the request that told of it; raises `Refused` when it is not as said.

    At most a few requests do so at a time, each for a short time. Where a limit or the interval of
    the source says no, the job that is owed anyway does it later; so it does where the source has
    trouble that may pass.
    """
    places = site.get(_AtOnce).places
    if not places.acquire(blocking=False):
        return
    try:
        waiting = _waiting(site, received.source_key)
        if waiting is None or received.mention_id not in waiting.pages:
            return
        mine = {received.mention_id: waiting.pages[received.mention_id]}
        with fetch_slot(site, received.source_host, received.source_key) as seconds:
            if seconds:
                return
            timeout = min(AT_ONCE_SECONDS, site.settings.fetch.fetch_timeout)
            look = _look_at(site, waiting, timeout=timeout)
            refusal = look.trouble.refusal if look.trouble else Refusal.no_link
            announcements: list[_Announcement] = []
            if look.trouble is None or look.trouble.final:
                announcements = _judge(site, waiting.pages, look)
            elif refusal is Refusal.source_unavailable:
                _note_look(site, mine)
            else:  # this caller is told so; for the others it is tried again
                announcements = _judge(site, mine, look)
    finally:
        places.release()
    _announce(site, announcements)
    if mine[received.mention_id] not in look.links:
        raise Refused(refusal)


class _AtOnce:
    """The places for requests of this process that look at a source."""

    def __init__(self) -> None:
        self.places = threading.BoundedSemaphore(AT_ONCE_PLACES)
