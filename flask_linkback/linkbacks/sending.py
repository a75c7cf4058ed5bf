"""Sending: the pages that a page of ours links to are told, and their answers kept.

Each attempt asks the target what it offers and tells it by one protocol: webmention before pingback before
trackback. When that one fails or refuses, the next is not tried in its place: an endpoint that is down
would get the same linkback twice, and who refuses has answered.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import signals
from ..errors import FetchError
from ..models import Job, Link, LinkState, digest, host_of, without_fragment
from ..outbox import jobs
from ..outbox.jobs import AttemptMade, Claim, Outcome
from ..outbox.replies import is_success
from ..outbox.writers import Writers
from ..protocols.discovery import Finding, Offer
from ..protocols.text import storable
from ..site import Site
from .answers import Answer, bad_status, not_fetched
from .exchanges import EXCHANGES, KEPT_CHARACTERS, Notice
from .offers import look_at

__all__ = ["SEND", "can_be_resent", "give_up", "owe_links", "owe_move", "resend", "send"]

SEND: Final = "send_link"
"""The kind of job that tells one target."""
_KEPT_BYTES: Final = 16 * 1024


# --- what is owed ------------------------------------------------------------------------------------


def owe_links(
    site: Site,
    session: Session,
    source: str,
    targets: Iterable[str],
    *,
    object_key: str | None = None,
    complete: bool = True,
    changed: bool = False,
) -> int:
    """Compare what a page links to with what was told, owe the rest, and return how much that is.

    A new target is owed a linkback, and so is one that never answered or offered nothing. One that
    answered, whatever it was, is not told again of the same link, but for webmention when the page
    ``changed`` (section 3.1.4: "should re-send"). With ``complete``, a target that took a linkback and
    that the page no longer has is told once more, so that it can look. Trackback is told once, whatever
    happens: it knows neither update nor end. Writes into the session's transaction.
    """
    source_key = digest(without_fragment(source))
    wanted = {digest(source, target): target for target in targets if site.is_told(target)}
    again: list[Link] = []
    # locked, so that whoever tells one of them now sees afterwards that it is owed more
    links = sa.select(Link).where(Link.source_key == source_key).order_by(Link.id).with_for_update()
    for link in session.scalars(links).all():
        if wanted.pop(link.key, None) is not None:
            if _is_owed(link, changed=changed):
                again.append(link)
            link.removed = False
        elif complete and not link.removed:
            link.removed = True
            if _can_be_told_again(link):
                again.append(link)
    new = [
        Link(
            key=key,
            source=source,
            source_key=source_key,
            object_key=object_key,
            target=target,
            target_host=host_of(target),
            created_at=site.now(),
            state=LinkState.waiting,
        )
        for key, target in wanted.items()
    ]
    session.add_all(new)
    for link in again:
        link.state = LinkState.waiting
        link.attempts = 0
        link.reason = ""
    session.flush()
    jobs.add(session, [_job(link) for link in new])
    for link in again:
        jobs.add_once(session, _job(link))
    return len(new) + len(again)


def owe_move(site: Site, session: Session, old: str, new: str) -> int:
    """Let the links of the page that was at ``old`` be those of the one at ``new``, and owe that news.

    The targets are told of the new source alone: the old one, where they look again, sends them on to it.
    Who refused the page is not asked again, and who knows only trackback is not told twice. Returns how
    many are told. Writes into the session's transaction.
    """
    links = sa.select(Link).where(Link.source_key == digest(without_fragment(old))).with_for_update()
    told: list[Link] = []
    for link in session.scalars(links).all():
        key = digest(new, link.target)
        if session.scalar(sa.select(Link.id).where(Link.key == key)) is not None:
            session.delete(link)  # the page that is there links to it, too
            continue
        link.key, link.source, link.source_key = key, new, digest(without_fragment(new))
        if (
            link.removed
            or link.protocol == "trackback"
            or (_answered(link) and link.state is not LinkState.sent)
        ):
            continue
        link.state = LinkState.waiting
        link.attempts = 0
        told.append(link)
    session.flush()
    for link in told:
        jobs.add_once(session, _job(link))
    return len(told)


def resend(site: Site, session: Session, ids: Iterable[int]) -> list[Link]:
    """Owe some links, by their ids, once more, whatever their targets answered; return those that are queued.

    One that waits for its next try has it now. Left alone is what is told at this moment, and what
    `can_be_resent` says no of. Writes into the session's transaction.
    """
    chosen = sa.select(Link).where(Link.id.in_(list(ids))).order_by(Link.id).with_for_update()
    links = session.scalars(chosen.execution_options(populate_existing=True)).all()
    return [link for link in links if can_be_resent(link) and _tell_again(site, session, link)]


def can_be_resent(link: Link) -> bool:
    """May the target of a link be told (again)?

    Not where it took a trackback, which is told once; nor of the end of a link that it never heard of.
    """
    return _can_be_told_again(link) if link.sent_at is not None else not link.removed


def _tell_again(site: Site, session: Session, link: Link) -> bool:
    if jobs.is_waiting(session, kind=SEND, key=link.key):
        jobs.hasten(session, kind=SEND, key=link.key, due_at=site.now())
        return True
    if jobs.is_owed(session, kind=SEND, key=link.key):
        return False
    link.state = LinkState.waiting
    link.attempts = 0
    link.reason = ""
    session.flush()
    return jobs.add_once(session, _job(link))


def _is_owed(link: Link, *, changed: bool) -> bool:
    """Is a target told (again) of a link that the page has?"""
    if not _answered(link):
        return True
    if link.removed:
        return link.state is not LinkState.sent or _can_be_told_again(link)
    return changed and link.state is LinkState.sent and link.protocol == "webmention"


def _can_be_told_again(link: Link) -> bool:
    return link.sent_at is not None and link.protocol != "trackback"


def _answered(link: Link) -> bool:
    """Did the target say yes or no? An address that we refused says nothing: our settings may change."""
    return link.state is LinkState.sent or (
        link.state is LinkState.refused and (link.status_code, link.fault_code) != (None, None)
    )


def _job(link: Link) -> jobs.NewJob:
    return jobs.NewJob(kind=SEND, payload={"link_id": link.id}, host=link.target_host, key=link.key)


# --- telling one target ------------------------------------------------------------------------------


def send(site: Site, claim: Claim) -> Outcome:
    """Handle a job: tell the target of one link.

    The job of a link that was refused or given up comes here when somebody replays it, or late: in the
    hands of a worker that slept past its lease.
    """
    session = site.session
    link = session.get(Link, claim.payload["link_id"])
    if link is None or link.state is LinkState.sent:
        return jobs.done()
    ended = link.state is not LinkState.waiting
    useless = link.removed and link.sent_at is None
    reason = "The page lost the link before the target was told."
    if ended and useless:
        return jobs.done(reason)
    if (ended or useless) and not jobs.is_ours(session, claim):
        session.rollback()
        return jobs.done()
    if useless:
        _settle(site, link, Answer(state=LinkState.given_up, reason=reason))
        _announce(site, link)
        return jobs.done(reason)
    removed = link.removed
    notice = Notice(
        source=link.source, target=link.target, removed=removed, repeated=link.sent_at is not None
    )
    link.state = LinkState.waiting
    session.commit()  # no transaction stays open over HTTP
    started_at = site.now()
    answer = _tell(site, notice)
    attempt = AttemptMade(
        started_at=started_at,
        seconds=(site.now() - started_at).total_seconds(),
        outcome=answer.failure or "done",
        url=answer.endpoint or notice.target,
        address=answer.address,
        status_code=answer.status_code,
        body=answer.body[:_KEPT_BYTES],
        reason=answer.reason,
    )
    write = functools.partial(_record, site, claim, answer, removed=removed)
    recorded = site.get(Writers).record(site.engine, session, write)
    if recorded is _Recorded.outdated:
        return jobs.done("The page was changed meanwhile: its target is told anew.", attempt=attempt)
    if recorded is _Recorded.not_ours:
        return jobs.done(attempt=attempt)
    _announce(site, link)
    if answer.state is not None:
        return jobs.done(answer.reason, attempt=attempt)
    if claim.is_last:
        return jobs.dead(answer.reason, attempt=attempt)
    return jobs.again(
        answer.reason, retry_after=answer.retry_after, overloaded=answer.overloaded, attempt=attempt
    )


def give_up(site: Site, job: Job, claim: Claim) -> None:
    """End the link of a job that died without saying what became of it, unless another job has the link."""
    session = site.session

    def write() -> Link | None:
        ours = jobs.is_ours(session, claim)
        its = sa.select(Link).where(Link.key == job.key).with_for_update()
        link = session.scalar(its) if ours else None
        if (
            link is None
            or link.state is not LinkState.waiting
            or jobs.is_owed(session, kind=SEND, key=link.key)
        ):
            session.rollback()
            return None
        link.state, link.attempts = LinkState.given_up, job.attempts
        link.reason = storable(job.reason, KEPT_CHARACTERS)
        session.commit()
        return link

    link = site.get(Writers).record(site.engine, session, write)
    if link is not None:
        _announce(site, link)


class _Recorded(enum.Enum):
    """What became of the record of an answer."""

    yes = "It is the link's state now."
    outdated = "The page had changed meanwhile: the link waits again."
    not_ours = "Somebody else does this job by now."


def _record(site: Site, claim: Claim, answer: Answer, *, removed: bool) -> _Recorded:
    """Write what came of a link, unless that is somebody else's to say by now, and commit."""
    session = site.session
    ours = jobs.is_ours(session, claim)
    link = session.get(Link, claim.payload["link_id"], with_for_update=True) if ours else None
    if link is None or link.state is not LinkState.waiting:  # another job of this link has ended it
        session.rollback()
        return _Recorded.not_ours
    link.attempts = claim.attempts
    if answer.state is LinkState.sent and answer.protocol == "trackback":
        _settle(site, link, answer)  # told once for all, whatever became of the page meanwhile
        return _Recorded.yes
    if link.removed is not removed:
        if answer.state is LinkState.sent:
            link.sent_at = site.now()
        session.flush()
        jobs.add_once(session, _job(link))
        session.commit()
        return _Recorded.outdated
    given_up = answer.state is None and claim.is_last
    answer = dataclasses.replace(answer, state=LinkState.given_up) if given_up else answer
    if answer.state is LinkState.sent and jobs.is_waiting(session, kind=SEND, key=link.key):
        link.sent_at = site.now()
        answer = dataclasses.replace(answer, state=LinkState.waiting)  # of a newer version of the page
    _settle(site, link, answer)
    return _Recorded.yes


def _settle(site: Site, link: Link, answer: Answer) -> None:
    """Write what came of a link and commit."""
    link.reason = storable(answer.reason, KEPT_CHARACTERS)
    link.endpoint = answer.endpoint
    link.protocol = answer.protocol
    if answer.offers is not None:
        link.offers = list(answer.offers)
    link.status_code = answer.status_code
    link.fault_code = answer.fault_code
    link.answer = storable(answer.text, KEPT_CHARACTERS)
    if answer.state is not None:
        link.state = answer.state
    if answer.state is LinkState.sent:
        link.sent_at = site.now()
    site.session.commit()


def _announce(site: Site, link: Link) -> None:
    """Tell the application when it is the end of a link's way."""
    if link.state is LinkState.sent:
        site.send(signals.link_sent, link=link)
    elif link.state in (LinkState.refused, LinkState.given_up):
        site.send(signals.link_failed, link=link, reason=link.reason)


def _tell(site: Site, notice: Notice) -> Answer:
    """Ask the target what it offers and tell it by the first of that which can say it."""
    try:
        page, offer = look_at(site, notice.target)
    except FetchError as error:
        return not_fetched(error)
    if not is_success(page):
        return bad_status(site, page, f"The target answers {page.status}.")
    offers = tuple(one.protocol for one in offer.used)
    chosen = _choose(offer, notice)
    if chosen is None:
        known = "The target knows only trackback, which can say a thing once."
        return Answer(
            state=LinkState.unsupported,
            failure="no_endpoint",
            reason=known if offers else "The target offers no way to be told.",
            offers=offers,
            status_code=page.status,
            address=page.address,
        )
    try:
        answer = EXCHANGES[chosen.protocol](site, chosen.value, notice)
    except FetchError as error:
        answer = not_fetched(error)
    return dataclasses.replace(answer, protocol=chosen.protocol, endpoint=chosen.value, offers=offers)


def _choose(offer: Offer, notice: Notice) -> Finding | None:
    once = notice.removed or notice.repeated
    return next((one for one in offer.used if not (once and one.protocol == "trackback")), None)
