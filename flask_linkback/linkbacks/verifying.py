"""Verifying: does the source really link to us? One fetch judges every mention that waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from blinker import NamedSignal
from sqlalchemy.orm import Session

from .. import signals
from ..errors import AddressRefused, FetchError, TooLarge, TooSlow
from ..fetch import Response
from ..models import Mention, MentionState, MentionStatus, host_of, without_fragment
from ..outbox import jobs
from ..outbox.jobs import AttemptMade, Claim, Outcome
from ..outbox.retry import SLOW_STATUSES, parse_retry_after
from ..protocols.html import Found, LinkScan
from ..site import Route, Site
from .limits import FetchSlot, take_slot
from .moderation import first_status
from .receiving import Received, Refusal, Refused

__all__ = ["AT_ONCE_SECONDS", "Look", "judge", "look_at", "verify", "verify_now"]

logger = logging.getLogger("flask_linkback.linkbacks")

AT_ONCE_PLACES: Final = 4
AT_ONCE_SECONDS: Final = 2.5
"""How long a fetch inside a request may take: WordPress waits three seconds for our answer."""
_READABLE: Final = frozenset(("", "text/html", "application/xhtml+xml"))


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at a source showed.

    ``links`` maps the routes of ours that it links to; ``failure`` is a short word for why it could
    not be read, ``final`` says that a repeat would not help, ``gone`` that it was taken away.
    """

    links: dict[Hashable, Found]
    title: str | None = None
    failure: str = ""
    final: bool = False
    gone: bool = False
    overloaded: bool = False
    retry_after: float | None = None
    attempt: AttemptMade


def verify(site: Site, claim: Claim) -> Outcome:
    """Handle a job: look at a source and judge what waits for it."""
    session = site.session
    waiting = _waiting(session, claim.key or "")
    if not waiting:
        return jobs.done()
    source = waiting[0].source
    wait = _seconds_left(site, session, claim.key or "")
    callers = ", ".join(dict.fromkeys(each.caller for each in waiting if each.caller))
    wanted = {each.id: _route_key(site, each.target) for each in waiting}
    session.rollback()  # no transaction stays open over HTTP
    if wait > 0:
        return jobs.later(wait, "The source was fetched a short while ago.")
    slot = take_slot(site, claim.host)
    if not isinstance(slot, FetchSlot):
        return jobs.later(slot, "The source's host was asked often enough for now.")
    try:
        look = look_at(site, source, set(wanted.values()), callers=callers[:200])
    finally:
        slot.release(site)
    transient = bool(look.failure) and not (look.final or look.gone)
    if transient and not claim.is_last:
        _mark_checked(site, session, wanted)
        return jobs.again(
            look.failure, retry_after=look.retry_after, overloaded=look.overloaded, attempt=look.attempt
        )
    judge(site, session, wanted, look)
    if transient:
        return jobs.dead(look.failure, attempt=look.attempt)
    return jobs.done(look.failure, attempt=look.attempt)


def _waiting(session: Session, source_key: str) -> Sequence[Mention]:
    waits = sa.or_(Mention.state == MentionState.received, Mention.recheck.is_(True))
    return session.scalars(sa.select(Mention).where(Mention.source_key == source_key, waits)).all()


def _seconds_left(site: Site, session: Session, source_key: str) -> float:
    """How long the source has to be left alone, by SOURCE_INTERVAL_SECONDS."""
    newest = sa.select(sa.func.max(Mention.checked_at)).where(Mention.source_key == source_key)
    checked_at: datetime | None = session.scalar(newest)
    if checked_at is None:
        return 0.0
    interval = timedelta(seconds=site.settings.linkbacks.source_interval_seconds)
    return (checked_at + interval - site.now()).total_seconds()


def _route_key(site: Site, url: str) -> Hashable:
    """What a URL of ours leads to, however it is written; None for others."""
    route: Route | None = site.match(url) if site.is_own(url) else None
    return None if route is None else (route.endpoint, tuple(sorted(map(repr, route.args.items()))))


def look_at(
    site: Site, source: str, wanted: set[Hashable], *, callers: str = "", timeout: float | None = None
) -> Look:
    """Fetch a source and look for links to the wanted routes, reading no further than needed."""
    settings = site.settings
    scan: LinkScan | None = None
    started_at = site.now()
    limit = settings.fetch.max_html_bytes

    def on_chunk(_: Response, chunk: bytes) -> bool:
        nonlocal scan
        if scan is None:
            scan = LinkScan(
                lambda url: key if (key := _route_key(site, url)) in wanted else None,
                base_url=without_fragment(source),
                excerpt_length=settings.linkbacks.excerpt_length,
                stop_when=len(wanted),
            )
        return scan.feed(chunk)

    headers = {"Accept": "text/html, application/xhtml+xml;q=0.9, */*;q=0.1"}
    if callers:
        headers["X-Pingback-Forwarded-For"] = callers
    response: Response | None = None
    error: FetchError | None = None
    try:
        response = site.fetch.get(source, headers=headers, max_body=limit, on_chunk=on_chunk, timeout=timeout)
    except FetchError as raised:
        error = raised
    if scan is not None:
        scan.close()
    attempt = AttemptMade(
        started_at=started_at,
        seconds=response.seconds if response else (site.now() - started_at).total_seconds(),
        outcome=error.kind if error else "done",
        url=source,
        address=response.address if response else None,
        status_code=response.status if response else None,
        reason=str(error or "")[:200],
    )
    found = scan.found if scan is not None else {}
    title = scan.title if scan is not None else None
    # a page that was cut at its cap counts when the link came before the cut
    whole = error is None or (isinstance(error, TooLarge) and len(found) == len(wanted))
    if not whole:
        assert error is not None
        return Look(
            links=found if isinstance(error, TooLarge) else {},
            title=title,
            failure=error.kind,
            final=isinstance(error, (AddressRefused, TooLarge)),
            overloaded=isinstance(error, TooSlow),
            attempt=attempt,
        )
    if response is None:
        return Look(links=found, title=title, attempt=attempt)
    return _read_answer(site, response, found, title, attempt)


def _read_answer(
    site: Site, response: Response, found: dict[Hashable, Found], title: str | None, attempt: AttemptMade
) -> Look:
    if response.status == 410:
        return Look(links={}, failure="http_410", gone=True, attempt=attempt)
    if not 200 <= response.status < 300:
        return Look(
            links={},
            failure=f"http_{response.status}",
            overloaded=response.status in SLOW_STATUSES,
            retry_after=parse_retry_after(response.headers.get("Retry-After"), site.now()),
            attempt=attempt,
        )
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type not in _READABLE:
        return Look(links={}, failure="not_html", final=True, attempt=attempt)
    return Look(links=found, title=title, attempt=attempt)


def _mark_checked(site: Site, session: Session, mention_ids: dict[int, Hashable]) -> None:
    session.execute(
        sa.update(Mention).where(Mention.id.in_(mention_ids)).values(checked_at=site.now()),
        execution_options={"synchronize_session": False},
    )
    session.commit()


def judge(site: Site, session: Session, wanted: dict[int, Hashable], look: Look) -> None:
    """Write what a look says about some mentions, commit, and announce what changed."""
    announce: list[tuple[NamedSignal | None, Mention]] = []
    for mention in session.scalars(sa.select(Mention).where(Mention.id.in_(wanted))):
        mention.checked_at = site.now()
        mention.recheck = False
        found = look.links.get(wanted[mention.id])
        if found is not None:
            announce.append((_verified(site, mention, found, look.title), mention))
        elif look.failure == TooLarge.kind and mention.state is MentionState.verified:
            mention.reason = look.failure  # its link may lie behind the cut: it stays
        else:
            announce.append((_missing(mention, look.failure or "no_link"), mention))
    session.commit()
    for signal, mention in announce:
        if signal is signals.mention_removed:
            site.send(signal, mention=mention, reason=mention.reason)
        elif signal is not None:
            site.send(signal, mention=mention)


def _verified(site: Site, mention: Mention, found: Found, title: str | None) -> NamedSignal | None:
    said = (mention.title, mention.content)
    was_verified = mention.state is MentionState.verified
    mention.state = MentionState.verified
    mention.reason = ""
    mention.title = title or "Unknown title"
    mention.content = found.excerpt
    mention.verified_at = site.now()
    if mention.status is MentionStatus.pending:
        mention.status = first_status(site, mention)
    if not was_verified:
        return signals.mention_verified
    return signals.mention_updated if said != (mention.title, mention.content) else None


def _missing(mention: Mention, reason: str) -> NamedSignal | None:
    had_it = mention.state is MentionState.verified or mention.verified_at is not None
    removed = mention.state in (MentionState.received, MentionState.verified)
    mention.state = MentionState.gone if had_it else MentionState.failed
    mention.reason = reason
    return signals.mention_removed if removed else None


def verify_now(site: Site, received: Received) -> None:
    """Look at a source within the request that told of it; raises `Refused` when it is not as said.

    At most a few requests do so at a time, each for a short time. Where a limit or the interval of
    the source says no, the job that is owed anyway does it later.
    """
    session = site.session
    places = site.get(_AtOnce).places
    if _seconds_left(site, session, received.source_key) > 0 or not places.acquire(blocking=False):
        return
    try:
        slot = take_slot(site, host_of(received.source))
        if not isinstance(slot, FetchSlot):
            return
        mention = session.get_one(Mention, received.mention_id)
        wanted = {mention.id: _route_key(site, mention.target)}
        caller = mention.caller
        session.rollback()
        try:
            look = look_at(
                site, received.source, set(wanted.values()), callers=caller, timeout=AT_ONCE_SECONDS
            )
        finally:
            slot.release(site)
    finally:
        places.release()
    judge(site, session, wanted, look)
    if look.failure and not look.links:
        # the same words for a closed port, a refused address and a page that is not there
        raise Refused(Refusal.no_such_source if look.failure != "not_html" else Refusal.no_link)
    if not look.links:
        raise Refused(Refusal.no_link)


class _AtOnce:
    """How many requests of this process may look at a source at the same time."""

    def __init__(self) -> None:
        self.places = threading.BoundedSemaphore(AT_ONCE_PLACES)
