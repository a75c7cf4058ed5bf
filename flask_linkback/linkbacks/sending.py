"""Sending: the pages that a page of ours links to are told, each once, and their answers kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import signals
from ..errors import AddressRefused, FetchError, TooSlow
from ..fetch import CHUNK, Response
from ..models import Link, LinkState, digest, host_of, without_fragment
from ..outbox import jobs
from ..outbox.jobs import AttemptMade, Claim, Outcome
from ..outbox.retry import SLOW_STATUSES, parse_retry_after
from ..protocols import discovery, pingback, xmlrpc
from ..protocols.pingback import FaultCode
from ..site import Site
from .text import storable

__all__ = ["SEND", "Step", "explain", "owe_links", "send"]

SEND: Final = "send_link"
"""The kind of job that tells one target."""
_KEPT_CHARACTERS: Final = 2000
_KEPT_BYTES: Final = 16 * 1024
_LARGEST_CODE: Final = 2**31 - 1
_HOPELESS_FAULTS: Final = frozenset(
    (
        FaultCode.SOURCE_DOES_NOT_EXIST,
        FaultCode.SOURCE_DOES_NOT_LINK,
        FaultCode.TARGET_DOES_NOT_EXIST,
        FaultCode.TARGET_IS_NOT_PINGABLE,
        FaultCode.NO_SUCH_METHOD,
    )
)
_TRY_AGAIN_STATUSES: Final = frozenset((408, 425, 429))


# --- what is owed ------------------------------------------------------------------------------------


def owe_links(
    site: Site,
    session: Session,
    source: str,
    targets: Iterable[str],
    *,
    object_key: str | None = None,
    complete: bool = True,
) -> int:
    """Compare what a page links to with what was told, owe the rest, and return how much that is.

    A new target is owed a linkback. One that answered, whatever it was, is not told again; one that
    never answered or offered nothing is. With ``complete``, a target that took a linkback and that
    the page no longer has is told once more, so that it can look. Writes into the session's
    transaction.
    """
    source_key = digest(without_fragment(source))
    wanted = {digest(source, target): target for target in targets if site.is_told(target)}
    again: list[Link] = []
    for link in session.scalars(sa.select(Link).where(Link.source_key == source_key)).all():
        if wanted.pop(link.key, None) is not None:
            if link.removed or not _answered(link):
                again.append(link)
            link.removed = False
        elif complete and not link.removed:
            link.removed = True
            if link.state is LinkState.sent:
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


def _answered(link: Link) -> bool:
    """Did the target say yes or no? An address that we refused says nothing: our settings may change."""
    return link.state is LinkState.sent or (
        link.state is LinkState.refused and (link.status_code, link.fault_code) != (None, None)
    )


def _job(link: Link) -> jobs.NewJob:
    return jobs.NewJob(kind=SEND, payload={"link_id": link.id}, host=link.target_host, key=link.key)


# --- telling one target ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What came of telling one target: the link's next state, or another try."""

    state: LinkState | None
    """None: not yet decided, try again."""
    failure: str = ""
    """A short word for what went wrong, in the record of the attempt."""
    reason: str = ""
    endpoint: str | None = None
    status_code: int | None = None
    fault_code: int | None = None
    text: str = ""
    retry_after: float | None = None
    overloaded: bool = False
    address: str | None = None


def send(site: Site, claim: Claim) -> Outcome:
    """Handle a job: tell the target of one link.

    The job of a link that was refused or given up comes here only when somebody replays it.
    """
    session = site.session
    link = session.get(Link, claim.payload["link_id"])
    if link is None or link.state is LinkState.sent:
        return jobs.done()
    if link.removed and link.sent_at is None:
        reason = "The page lost the link before the target was told."
        _settle(site, link, _Answer(state=LinkState.given_up, reason=reason))
        return jobs.done(reason)
    source, target, removed = link.source, link.target, link.removed
    link.state = LinkState.waiting
    session.commit()  # no transaction stays open over HTTP
    started_at = site.now()
    answer = _tell(site, source, target, removed=removed)
    attempt = AttemptMade(
        started_at=started_at,
        seconds=(site.now() - started_at).total_seconds(),
        outcome=answer.failure or "done",
        url=answer.endpoint or target,
        address=answer.address,
        status_code=answer.status_code,
        body=answer.text.encode("utf-8", "replace")[:_KEPT_BYTES],
        reason=answer.reason,
    )
    ours = jobs.is_ours(session, claim)
    link = session.get(Link, claim.payload["link_id"], with_for_update=True) if ours else None
    if link is None:
        session.rollback()
        return jobs.done(attempt=attempt)
    link.attempts = claim.attempts
    if link.removed is not removed:
        if answer.state is LinkState.sent:
            link.sent_at = site.now()
        link.state = LinkState.waiting
        session.flush()
        jobs.add_once(session, _job(link))
        session.commit()
        return jobs.done("The page was changed meanwhile: its target is told anew.", attempt=attempt)
    if answer.state is None and not claim.is_last:
        _settle(site, link, answer)
        return jobs.again(
            answer.reason, retry_after=answer.retry_after, overloaded=answer.overloaded, attempt=attempt
        )
    given_up = answer.state is None
    _settle(site, link, dataclasses.replace(answer, state=LinkState.given_up) if given_up else answer)
    return (jobs.dead if given_up else jobs.done)(answer.reason, attempt=attempt)


def _settle(site: Site, link: Link, answer: _Answer) -> None:
    """Write what came of a link and commit; announce it when it is the end."""
    link.reason = storable(answer.reason, _KEPT_CHARACTERS)
    link.endpoint = answer.endpoint
    link.protocol = "pingback" if answer.endpoint else None
    link.status_code = answer.status_code
    link.fault_code = answer.fault_code
    link.answer = storable(answer.text, _KEPT_CHARACTERS)
    if answer.state is not None:
        link.state = answer.state
    if answer.state is LinkState.sent:
        link.sent_at = site.now()
    site.session.commit()
    if answer.state is LinkState.sent:
        site.send(signals.link_sent, link=link)
    elif answer.state in (LinkState.refused, LinkState.given_up):
        site.send(signals.link_failed, link=link, reason=link.reason)


def _tell(site: Site, source: str, target: str, *, removed: bool) -> _Answer:
    try:
        page, offer = _discover(site, target)
    except FetchError as error:
        return _not_fetched(error)
    if not 200 <= page.status < 300:
        return _bad_status(site, page, f"The target answers {page.status}.")
    if offer.pingback is None:
        return _Answer(
            state=LinkState.unsupported,
            failure="no_endpoint",
            reason="The target offers no pingback server.",
            status_code=page.status,
            address=page.address,
        )
    try:
        response = site.fetch.post(
            offer.pingback,
            xmlrpc.dump_call(pingback.METHOD, [source, target]),
            headers={"Content-Type": "text/xml; charset=utf-8"},
            max_body=xmlrpc.MAX_BODY_BYTES,
        )
    except FetchError as error:
        return _not_fetched(error, endpoint=offer.pingback)
    return _read_answer(site, response, offer.pingback, removed=removed)


def _not_fetched(error: FetchError, *, endpoint: str | None = None) -> _Answer:
    final = isinstance(error, AddressRefused)
    return _Answer(
        state=LinkState.refused if final else None,
        failure=error.kind,
        reason=f"{error.kind}: {error}",
        endpoint=endpoint,
        overloaded=isinstance(error, TooSlow),
    )


def _bad_status(
    site: Site,
    response: Response,
    reason: str,
    *,
    failure: str = "",
    endpoint: str | None = None,
    text: str = "",
) -> _Answer:
    """What an answer means that is no success: 4xx is final, but for those that say "later"."""
    final = 400 <= response.status < 500 and response.status not in _TRY_AGAIN_STATUSES
    return _Answer(
        state=LinkState.refused if final else None,
        failure=failure or f"http_{response.status}",
        reason=reason,
        endpoint=endpoint,
        status_code=response.status,
        text=text,
        retry_after=_retry_after(site, response),
        overloaded=response.status in SLOW_STATUSES,
        address=response.address,
    )


def _read_answer(site: Site, response: Response, endpoint: str, *, removed: bool) -> _Answer:
    """Judge the answer of a pingback server (Pingback 1.0, section 3).

    Whatever its number, a fault is a failure, but for 48: that we told it before is what we want.
    A bare integer is the fault of a server that does not know how to raise one.
    """
    text = response.body.decode("utf-8", "replace")
    if not 200 <= response.status < 300:
        reason = f"The pingback server answers {response.status}."
        return _bad_status(site, response, reason, endpoint=endpoint, text=text)
    try:
        value = xmlrpc.parse_response(response.body)
        if isinstance(value, int) and not isinstance(value, bool):
            raise xmlrpc.Fault(value, "")
    except xmlrpc.Fault as fault:
        return _faulted(site, response, fault, endpoint, removed=removed)
    except xmlrpc.Malformed:
        reason = "The answer is no XML-RPC."
        return _bad_status(site, response, reason, failure="no_xmlrpc", endpoint=endpoint, text=text)
    return _Answer(
        state=LinkState.sent,
        endpoint=endpoint,
        status_code=response.status,
        text=str(value),
        address=response.address,
    )


def _faulted(site: Site, response: Response, fault: xmlrpc.Fault, endpoint: str, *, removed: bool) -> _Answer:
    code = fault.code
    denied = code == FaultCode.ACCESS_DENIED and "Retry-After" not in response.headers
    state: LinkState | None = None
    if code == FaultCode.ALREADY_REGISTERED or (removed and code in _HOPELESS_FAULTS):
        state = LinkState.sent  # it knows the link, or has seen that there is none any more
    elif code in _HOPELESS_FAULTS or denied:
        state = LinkState.refused
    return _Answer(
        state=state,
        failure="" if state is LinkState.sent else "fault",
        reason="" if state is LinkState.sent else f"Fault {code}: {fault.message}",
        endpoint=endpoint,
        status_code=response.status,
        fault_code=code if abs(code) <= _LARGEST_CODE else None,
        text=fault.message,
        retry_after=_retry_after(site, response),
        overloaded=code in SLOW_STATUSES,  # WordPress lets its 429 through as a fault
        address=response.address,
    )


def _retry_after(site: Site, response: Response) -> float | None:
    return parse_retry_after(response.headers.get("Retry-After"), site.now())


def _discover(site: Site, target: str, *, thorough: bool = False) -> tuple[Response, discovery.Offer]:
    """Read as much of a page as it takes to know what it offers, or all that could matter."""
    read = bytearray()

    def offer(response: Response) -> discovery.Offer:
        return discovery.discover(
            response.url,
            x_pingback=response.headers.get_all("X-Pingback"),
            link=response.headers.get_all("Link"),
            body=bytes(read),
        )

    def on_chunk(response: Response, chunk: bytes) -> bool:
        if not chunk:
            known = not thorough and offer(response).pingback is not None
            return known or not 200 <= response.status < 300
        read.extend(chunk)
        return len(read) >= pingback.MAX_SEARCH_BYTES

    response = site.fetch.get(
        without_fragment(target),
        headers={"Accept": "text/html, */*;q=0.1"},
        max_body=pingback.MAX_SEARCH_BYTES + CHUNK,
        on_chunk=on_chunk,
    )
    return response, offer(response)


# --- explaining --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a dry run: what was looked at, what stood there, what became of it."""

    step: str
    """``request``, ``redirect``, ``header``, ``element``, ``endpoint`` or ``verdict``."""
    value: str
    used: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def explain(site: Site, target: str) -> Sequence[Step]:
    """Look how a page would be told, without telling it; one record for each step."""
    steps: list[Step] = []
    if site.settings.site.base_url is not None and not site.is_told(target):
        steps.append(Step(step="verdict", value=target, used=False, reason="This is a page of our own."))
        return steps
    try:
        response, offer = _discover(site, target, thorough=True)
    except FetchError as error:
        steps.append(Step(step="request", value=f"GET {target}", used=False, reason=f"{error.kind}: {error}"))
        steps.append(Step(step="verdict", value=target, used=False, reason="The page cannot be read."))
        return steps
    for number, hop in enumerate(response.hops):
        last = number == len(response.hops) - 1
        kind = "request" if number == 0 else "redirect"
        steps.append(
            Step(step=kind, value=f"GET {hop.url}", used=last, reason=f"The answer is {hop.status}.")
        )
    steps.extend(
        Step(step=found.kind, value=found.value, used=found.used, reason=found.reason)
        for found in offer.findings
    )
    if not 200 <= response.status < 300:
        reason = f"The page answers {response.status}."
        steps.append(Step(step="verdict", value=target, used=False, reason=reason))
    elif offer.pingback is None:
        steps.append(Step(step="verdict", value=target, used=False, reason="The page offers no endpoint."))
    else:
        host = urlsplit(offer.pingback).hostname or ""
        steps.append(
            Step(step="endpoint", value=offer.pingback, used=True, reason=f"A pingback server at {host}.")
        )
        steps.append(Step(step="verdict", value=target, used=True, reason="It would be told by pingback."))
    return steps
