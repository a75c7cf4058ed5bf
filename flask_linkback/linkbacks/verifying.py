"""Verifying: does the source really link to us? One fetch judges every mention that waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from blinker import NamedSignal
from werkzeug.http import parse_options_header

from .. import signals
from ..errors import AddressRefused, FetchError, TooLarge, TooSlow
from ..fetch import Response
from ..models import Job, Mention, MentionState, MentionStatus, without_fragment
from ..outbox import jobs
from ..outbox.jobs import AttemptMade, Claim, Outcome
from ..outbox.retry import SLOW_STATUSES, parse_retry_after
from ..outbox.writers import Writers
from ..protocols import microformats
from ..protocols.html import HTML_TYPES, Found, LinkScan
from ..protocols.microformats import Content, Reading
from ..protocols.webmention import Scan, is_readable, scan_for
from ..site import Route, Site
from .avatars import owe_avatar
from .contents import describe
from .limits import Slot, fetch_slot, put_off
from .moderation import decide, turn_away
from .receiving import VERIFY, Received, Refusal, Refused, look
from .targets import current_route

__all__ = ["AT_ONCE_SECONDS", "HOLD_SECONDS", "give_up", "owe_looks", "owe_rechecks", "verify", "verify_now"]

logger = logging.getLogger("flask_linkback.linkbacks")

AT_ONCE_PLACES: Final = 4
"""How many requests of one process may look at a source at the same time."""
AT_ONCE_SECONDS: Final = 2.5
"""How long a fetch inside a request may take: WordPress waits three seconds for our answer."""
HOLD_SECONDS: Final = 2 * AT_ONCE_SECONDS
"""How long the worker leaves a source to the request that looks at it."""
MAX_CALLERS: Final = 10
GIVEN_UP: Final = "given_up"
"""The reason of a mention whose source we did not manage to look at."""
_GONE: Final = 410
_TRY_AGAIN_STATUSES: Final = frozenset((408, 425, 429))


# --- what waits --------------------------------------------------------------------------------------

_WAITS: Final = sa.or_(Mention.state == MentionState.received, Mention.recheck.is_(True))
"""Whether a mention waits for a look at its source."""
_WAITING: Final = sa.select(
    Mention.id, Mention.source, Mention.target, Mention.protocol, Mention.caller
).where(Mention.source_key == sa.bindparam("source_key"), _WAITS)


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """The mentions that wait for a look at one source."""

    source: str
    pages: Mapping[int, Hashable]
    """The page of ours that each mention, by its id, says the source links to."""
    moved: Mapping[Hashable, Hashable]
    """Where such a page is now, where that is elsewhere, and the page: a link to either counts."""
    cited: frozenset[int]
    """The mentions that need no ``<a href>``: webmentions have rules of their own for each media type."""
    servers: frozenset[str]
    """Host and port of the targets as they were sent."""
    callers: str
    """Who told us, for the source's owner: addresses with commas between them."""


def _waiting(site: Site, source_key: str) -> _Waiting | None:
    session = site.session
    mentions = session.execute(_WAITING, {"source_key": source_key}).all()
    pages = {each.id: _page(site, each.target) for each in mentions}
    moves = ((_page_at(current_route(site, each.target)), pages[each.id]) for each in mentions)
    callers = list(dict.fromkeys(each.caller for each in mentions if each.caller))
    waiting = _Waiting(
        source=mentions[0].source if mentions else "",
        pages=pages,
        moved={now: page for now, page in moves if now not in (None, page)},
        cited=frozenset(each.id for each in mentions if each.protocol == "webmention"),
        servers=frozenset(urlsplit(each.target).netloc.lower() for each in mentions),
        callers=", ".join(callers[:MAX_CALLERS]),
    )
    session.rollback()  # no transaction stays open over HTTP
    return waiting if waiting.pages else None


def _page(site: Site, url: str) -> Hashable | None:
    """What a URL of ours leads to, however it is written; None for a foreign one."""
    if not site.is_own(url):
        return None
    return _page_at(site.match(url)) or without_fragment(url)


def _page_at(route: Route | None) -> Hashable | None:
    if route is None:
        return None
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
    """What a look at a source showed: the links that mentions told of, or what was in the way."""

    links: Mapping[int, Found]
    """By the ids of their mentions."""
    url: str
    """Where the source is after redirects; "" where nothing was read."""
    title: str
    reading: Reading | None
    """The page as a whole, where there are links in it."""
    trouble: _Trouble | None
    attempt: AttemptMade


def _look_at(site: Site, waiting: _Waiting, *, timeout: float | None = None) -> _Look:
    """Fetch a source, look for links to the wanted pages, and read what it says about them."""
    started_at = site.now()
    reader = _Reader(site, waiting)
    headers = {"Accept": "text/html, application/xhtml+xml;q=0.9, */*;q=0.1"}
    if waiting.callers:
        headers["X-Pingback-Forwarded-For"] = waiting.callers
    response: Response | None = None
    trouble: _Trouble | None = None
    reason = ""
    try:
        response = site.fetch.get(
            waiting.source,
            headers=headers,
            max_body=site.settings.fetch.max_html_bytes,
            on_chunk=reader.read,
            timeout=timeout,
        )
        trouble = _trouble_of_answer(site, response, reader)
    except FetchError as error:
        if not reader.has_all:  # else the links were there before the end went missing
            reason = str(error)
            trouble = _trouble_of_fetch(error)
    # a page that was cut at its cap counts for the links before the cut
    readable = trouble is None or trouble.kind == TooLarge.kind
    links = reader.close() if readable else {}
    if reader.status == _GONE:
        links, trouble = {}, _http_trouble(_GONE)
    return _Look(
        links=links,
        url=reader.url,
        title=reader.title,
        reading=reader.content() if links else None,
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
    """Reads a source as it comes in; nothing of an answer that is no page.

    For pingbacks and trackbacks it looks for ``<a href>`` in HTML, for webmentions by the rules of the
    media type: the protocol by which a mention came decides. A page of HTML that has the links is read
    on to its end, 1 MiB at most: an entry may end, and its author be named, far behind the link.
    """

    def __init__(self, site: Site, waiting: _Waiting) -> None:
        self.has_all = False
        self.url = ""
        self._site = site
        self._waiting = waiting
        self._own_server = ""
        self._charset: str | None = None
        self._scans: dict[bool, Scan] = {}
        """By whether they are for webmentions."""
        self._unfinished: list[Scan] = []
        self._body: bytearray | None = None
        """What is kept of a page, to be read as a whole."""

    def reads(self, media_type: str) -> bool:
        """Is there anything to be found in a source of this media type?"""
        waiting = self._waiting
        return media_type in HTML_TYPES or (bool(waiting.cited) and is_readable(media_type))

    def read(self, response: Response, chunk: bytes) -> bool:
        """Take a piece of the body; True when no more is wanted."""
        if not self.url:
            self._begin(response)
        self._unfinished = [scan for scan in self._unfinished if not scan.feed(chunk)]
        self.has_all = bool(self._scans) and not self._unfinished
        if self._body is not None:
            self._body += chunk[: microformats.MAX_BYTES - len(self._body)]
            return self.has_all and len(self._body) == microformats.MAX_BYTES
        return not self._unfinished

    def _begin(self, response: Response) -> None:
        self.url = response.url
        media_type, options = _content_type(response)
        if not 200 <= response.status < 300 or not self.reads(media_type):
            return
        self._charset = options.get("charset")
        server = urlsplit(response.url).netloc.lower()
        # another port of our host is another site, whose links to its own pages are none to ours
        self._own_server = server if server not in self._waiting.servers else ""
        for cited in (False, True):
            pages = {
                page for each, page in self._waiting.pages.items() if (each in self._waiting.cited) == cited
            }
            scan = self._scan(media_type, pages, cited=cited) if pages else None
            if scan is not None:
                self._scans[cited] = scan
        self._unfinished = list(self._scans.values())
        self._body = bytearray() if media_type in HTML_TYPES else None

    def _scan(self, media_type: str, pages: Set[Hashable], *, cited: bool) -> Scan | None:
        look_for = partial(self._key, pages)
        if cited:
            return scan_for(
                media_type,
                look_for,
                base_url=self.url,
                hosts=self._site.own_hosts,
                excerpt_length=self._site.settings.linkbacks.excerpt_length,
                charset=self._charset,
                stop_when=len(pages),
            )
        if media_type not in HTML_TYPES:
            return None
        return LinkScan(
            look_for,
            base_url=self.url,
            hosts=self._site.own_hosts,
            excerpt_length=self._site.settings.linkbacks.excerpt_length,
            charset=self._charset,
            stop_when=len(pages),
        )

    def _key(self, pages: Set[Hashable], url: str) -> Hashable | None:
        if self._own_server and urlsplit(url).netloc.lower() == self._own_server:
            return None
        page = _page(self._site, url)
        if page not in pages:
            page = self._waiting.moved.get(page)
        return page if page in pages else None

    def close(self) -> Mapping[int, Found]:
        """Return the links of what was read, by the mentions that told of them."""
        for scan in self._scans.values():
            scan.close()
        found = {cited: scan.found for cited, scan in self._scans.items()}
        links = {
            each: found.get(each in self._waiting.cited, {}).get(page)
            for each, page in self._waiting.pages.items()
        }
        return {each: link for each, link in links.items() if link is not None}

    @property
    def title(self) -> str:
        """What the page is called."""
        return next((scan.title for scan in self._scans.values() if scan.title), "")

    @property
    def status(self) -> int | None:
        """What the page says instead of its server, by ``<meta http-equiv="Status">``."""
        return next((scan.status for scan in self._scans.values() if scan.status), None)

    def content(self) -> Reading | None:
        """Read the page as a whole; None for one that is no HTML."""
        if self._body is None:
            return None
        return microformats.read(
            bytes(self._body),
            url=self.url,
            wanted=partial(self._key, set(self._waiting.pages.values())),
            now=self._site.now(),
            charset=self._charset,
        )


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


def _trouble_of_answer(site: Site, response: Response, reader: _Reader) -> _Trouble | None:
    """What an answer means that is no page; None for a page.

    410 means what it says. 404 and its like are no page (fault 16), though perhaps only today. 5xx is
    trouble of the server, which says nothing about the page: fault 50.
    """
    status = response.status
    if 200 <= status < 300:
        if reader.reads(_content_type(response)[0]):
            return None
        return _Trouble(kind="not_html", final=True, refusal=Refusal.no_link)
    retry_after = parse_retry_after(response.headers.get("Retry-After"), site.now())
    return _http_trouble(status, retry_after=retry_after)


def _http_trouble(status: int, *, retry_after: float | None = None) -> _Trouble:
    unavailable = status >= 500 or status in _TRY_AGAIN_STATUSES
    return _Trouble(
        kind=f"http_{status}",
        final=status == _GONE,
        refusal=Refusal.source_unavailable if unavailable else Refusal.no_such_source,
        overloaded=status in SLOW_STATUSES,
        retry_after=retry_after,
    )


# --- judging -----------------------------------------------------------------------------------------

_OURS: Final = Mention.id.in_(sa.bindparam("ids", expanding=True))
_CHECKED: Final = (
    sa.update(Mention.__table__)
    .where(_OURS)
    .values(checked_at=sa.bindparam("now", type_=Mention.checked_at.type))
)
_JUDGED: Final = sa.select(Mention).where(_OURS).order_by(Mention.id).with_for_update()

_Announcement = tuple[NamedSignal, Mention, dict[str, Any]]


def _judge(
    site: Site, pages: Mapping[int, Hashable], look: _Look, slot: Slot, *, given_up: bool = False
) -> list[_Announcement]:
    """Write what a look says about some mentions, give its slot back, commit; return what is to be announced.

    Where we gave up, the next look at this source, whoever asks for it, judges again.
    """
    session, now = site.session, site.now()
    # locked against a moderator's decision; SQLite has one lock, and gives it to a write
    if site.engine.dialect.name == "sqlite":
        session.execute(_CHECKED, {"ids": list(pages), "now": now})
    announcements: list[_Announcement] = []
    for mention in session.scalars(_JUDGED, {"ids": list(pages)}).all():
        mention.checked_at = now
        if mention.state is not MentionState.received and not mention.recheck:
            continue  # it was erased meanwhile, or its page here was deleted: it waits for nothing
        mention.recheck = given_up
        found = look.links.get(mention.id)
        reason = look.trouble.kind if look.trouble else "no_link"
        if found is not None:
            content = look.reading.about(pages[mention.id]) if look.reading is not None else Content()
            announcements += _verified(site, mention, found, content, look)
        elif reason == TooLarge.kind and mention.state is MentionState.verified:
            mention.reason = reason  # its link may lie behind the cut: it stays
        else:
            announcements += _missing(mention, reason)
    slot.give_back(session)
    session.commit()
    return announcements


def _verified(
    site: Site, mention: Mention, found: Found, content: Content, look: _Look
) -> Iterator[_Announcement]:
    was_verified = mention.state is MentionState.verified
    mention.state = MentionState.verified
    mention.reason = ""
    mention.verified_at = site.now()
    changed = describe(site, mention, found, content, look.title)
    if not was_verified:
        yield signals.mention_verified, mention, {}
    elif changed:
        yield signals.mention_updated, mention, {}
    if mention.status is MentionStatus.pending:
        yield from decide(site, mention, look.url)
    else:
        owe_avatar(site, mention)


def _missing(mention: Mention, reason: str) -> Iterator[_Announcement]:
    removed = mention.state in (MentionState.received, MentionState.verified)
    mention.state = MentionState.failed if mention.verified_at is None else MentionState.gone
    mention.reason = reason
    if removed:
        yield signals.mention_removed, mention, {"reason": reason}


def _note_look(site: Site, mention_ids: Iterable[int], slot: Slot) -> None:
    """Write down that a source was looked at in vain, give the slot of the look back, and commit."""
    site.session.execute(_CHECKED, {"ids": list(mention_ids), "now": site.now()})
    slot.give_back(site.session)
    site.session.commit()


def _announce(site: Site, announcements: Iterable[_Announcement]) -> None:
    for signal, mention, values in announcements:
        site.send(signal, mention=mention, **values)


# --- later, by a job ---------------------------------------------------------------------------------


def verify(site: Site, claim: Claim) -> Outcome:
    """Handle a job: look at a source and judge what waits for it."""
    source_key = claim.key or ""
    waiting = _waiting(site, source_key)
    if waiting is None or turn_away(site, source_key, waiting.source):
        return jobs.done()
    with fetch_slot(site, claim.host, source_key) as slot:
        if slot.seconds:
            put_off(site, VERIFY, claim.host)
            return jobs.later(slot.seconds, "The source, or its host, was asked often enough for now.")
        look = _look_at(site, waiting)
        trouble = look.trouble
        unclear = trouble is not None and not trouble.final

        def write() -> list[_Announcement] | None:
            if not jobs.is_ours(site.session, claim):
                site.session.rollback()
                return None
            if unclear and not claim.is_last:
                _note_look(site, waiting.pages, slot)
                return []
            return _judge(site, waiting.pages, look, slot, given_up=unclear)

        announcements = site.get(Writers).record(site.engine, site.session, write)
    if announcements is None:
        return jobs.done(attempt=look.attempt)
    _announce(site, announcements)
    if trouble is not None and unclear and not claim.is_last:
        interval = site.settings.linkbacks.source_interval_seconds
        return jobs.again(
            trouble.kind,
            retry_after=max(interval, trouble.retry_after or 0.0) or None,
            overloaded=trouble.overloaded,
            attempt=look.attempt,
        )
    end = jobs.dead if unclear else jobs.done
    return end(trouble.kind if trouble else "", attempt=look.attempt)


def give_up(site: Site, job: Job, claim: Claim) -> None:
    """End the wait of mentions for a look that died without judging them, unless another look is owed.

    The next look at this source, whoever asks for it, judges them again. What is verified stays so: that it
    was we who failed says nothing of the page.
    """
    session, source_key = site.session, job.key or ""

    def write() -> list[_Announcement]:
        announcements: list[_Announcement] = []
        if not jobs.is_ours(session, claim) or jobs.is_owed(session, kind=VERIFY, key=source_key):
            session.rollback()
            return announcements
        waiting = sa.select(Mention).where(Mention.source_key == source_key, _WAITS).with_for_update()
        for mention in session.scalars(waiting.order_by(Mention.id)).all():
            mention.checked_at = site.now()
            mention.recheck = mention.state is not MentionState.verified
            if mention.recheck:
                announcements += _missing(mention, GIVEN_UP)
        session.commit()
        return announcements

    _announce(site, site.get(Writers).record(site.engine, session, write))


# --- again, unasked -----------------------------------------------------------------------------------

RECHECKS_AT_A_TIME: Final = 500
RECHECKS_SPREAD: Final = timedelta(hours=1)


def owe_rechecks(site: Site) -> None:
    """Owe a look at shown mentions whose source was not looked at for REVERIFY_DAYS: a chore.

    They come one after the other until the next time. However many workers do this at once, the row
    itself says to whom it fell.
    """
    settings = site.settings.linkbacks
    if settings.reverify_days is None:
        return
    now = site.now()
    shown = [MentionStatus.approved, *([MentionStatus.pending] if settings.show_unapproved else [])]
    old = (
        sa.select(Mention.id)
        .where(
            Mention.state == MentionState.verified,
            Mention.checked_at < now - timedelta(days=settings.reverify_days),
            Mention.status.in_(shown),
            Mention.recheck.is_(False),
        )
        .order_by(Mention.checked_at)
        .limit(RECHECKS_AT_A_TIME)
    )
    session = site.session
    ids = session.scalars(old).all()
    session.rollback()  # SQLite lets nobody write who read what was written over since
    if not ids:
        return
    marked = sa.update(Mention).where(Mention.id.in_(ids), Mention.recheck.is_(False)).values(recheck=True)
    with site.get(Writers).turn(site.engine):
        rows = session.execute(
            marked.returning(Mention.source, Mention.source_key, Mention.source_host),
            execution_options={"synchronize_session": False},
        ).all()
        sources = {row.source_key: row for row in rows}
        for number, row in enumerate(sources.values()):
            due_at = now + number * RECHECKS_SPREAD / len(sources)
            jobs.add_once(session, look(*row, due_at=due_at))
        session.commit()
    logger.info("Looking again at %d sources.", len(sources))


def owe_looks(site: Site, mentions: Iterable[Mention]) -> None:
    """Owe a look at the sources of some mentions now, whatever was found before; the caller commits.

    A source whose interval is not over is looked at after it.
    """
    session, now = site.session, site.now()
    sources: dict[str, Mention] = {}
    for mention in mentions:
        mention.recheck = mention.state is not MentionState.received  # which waits for a look anyway
        sources.setdefault(mention.source_key, mention)
    session.flush()
    for key, mention in sources.items():
        if not jobs.add_once(session, look(mention.source, key, mention.source_host, due_at=now)):
            jobs.hasten(session, kind=VERIFY, key=key, due_at=now)


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
        with fetch_slot(site, received.source_host, received.source_key) as slot:
            if slot.seconds:
                return
            timeout = min(AT_ONCE_SECONDS, site.settings.fetch.fetch_timeout)
            look = _look_at(site, waiting, timeout=timeout)
            refusal = look.trouble.refusal if look.trouble else Refusal.no_link
            announcements: list[_Announcement] = []
            with site.get(Writers).turn(site.engine):
                if look.trouble is None or look.trouble.final:
                    announcements = _judge(site, waiting.pages, look, slot)
                elif refusal is Refusal.source_unavailable:
                    _note_look(site, mine, slot)
                else:  # this caller is told so; for the others it is tried again
                    announcements = _judge(site, mine, look, slot)
    finally:
        places.release()
    _announce(site, announcements)
    if received.mention_id not in look.links:
        raise Refused(refusal)


class _AtOnce:
    """The places for requests of this process that look at a source."""

    def __init__(self) -> None:
        self.places = threading.BoundedSemaphore(AT_ONCE_PLACES)
