"""Sending: the pages that a page of ours links to are told, each once, and their answers kept."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import signals
from ..errors import AddressRefused, FetchError, TooSlow
from ..fetch import Response
from ..models import Link, LinkState, digest, host_of, without_fragment
from ..outbox import jobs
from ..outbox.jobs import AttemptMade, Claim, Outcome
from ..outbox.retry import SLOW_STATUSES, parse_retry_after
from ..protocols import discovery, pingback, xmlrpc
from ..protocols.pingback import FaultCode
from ..site import Site

__all__ = ["SEND", "Step", "explain", "owe_links", "send"]

logger = logging.getLogger("flask_linkback.linkbacks")

SEND: Final = "send_link"
"""The kind of job that tells one target."""
_KEPT_CHARACTERS: Final = 2000
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

    A new target is owed a linkback; one that answered already is not; one that refused, gave no
    answer or offered nothing is asked again. With ``complete``, a target that the page no longer
    has is told once more, so that it can look. Writes into the session's transaction.
    """
    source_key = digest(without_fragment(source))
    wanted = {digest(source, target): target for target in targets if site.is_told(target)}
    owed: list[Link] = []
    for link in session.scalars(sa.select(Link).where(Link.source_key == source_key)):
        if wanted.pop(link.key, None) is not None:
            if link.state is not LinkState.sent or link.removed:
                owed.append(link)
            link.removed = False
        elif complete and not link.removed:
            link.removed = True
            if link.state is LinkState.sent:
                owed.append(link)
    for key, target in wanted.items():
        link = Link(
            key=key,
            source=source,
            source_key=source_key,
            object_key=object_key,
            target=target,
            target_host=host_of(target),
            created_at=site.now(),
        )
        session.add(link)
        owed.append(link)
    for link in owed:
        link.state = LinkState.waiting
        link.attempts = 0
        link.reason = ""
    session.flush()
    for link in owed:
        job = jobs.NewJob(kind=SEND, payload={"link_id": link.id}, host=link.target_host, key=link.key)
        jobs.add_once(session, job)
    return len(owed)


# --- telling one target ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What came of telling one target: the link's next state, or another try."""

    state: LinkState | None
    """None: not yet decided, try again."""
    reason: str = ""
    endpoint: str | None = None
    status_code: int | None = None
    fault_code: int | None = None
    text: str = ""
    retry_after: float | None = None
    overloaded: bool = False
    address: str | None = None


def send(site: Site, claim: Claim) -> Outcome:
    """Handle a job: tell the target of one link."""
    session = site.session
    link = session.get(Link, claim.payload["link_id"])
    if link is None or link.state is not LinkState.waiting:
        return jobs.done()
    if link.removed and link.sent_at is None:
        link.state = LinkState.given_up
        link.reason = "The page lost the link before the target was told."
        session.commit()
        return jobs.done()
    source, target = link.source, link.target
    session.rollback()  # no transaction stays open over HTTP
    started_at = site.now()
    answer = _tell(site, source, target)
    attempt = AttemptMade(
        started_at=started_at,
        seconds=(site.now() - started_at).total_seconds(),
        outcome="done" if answer.state is LinkState.sent else "failed",
        url=answer.endpoint or target,
        address=answer.address,
        status_code=answer.status_code,
        body=answer.text.encode()[:16_384],
        reason=answer.reason[:200],
    )
    state = answer.state
    if state is None and claim.is_last:
        state = LinkState.given_up
    link = session.get(Link, claim.payload["link_id"])
    if link is None:
        return jobs.done()
    _keep(site, link, answer, state, claim.attempts)
    session.commit()
    if state is LinkState.sent:
        site.send(signals.link_sent, link=link)
    elif state in (LinkState.refused, LinkState.given_up):
        site.send(signals.link_failed, link=link, reason=link.reason)
    if answer.state is None:
        return jobs.again(
            answer.reason, retry_after=answer.retry_after, overloaded=answer.overloaded, attempt=attempt
        )
    return jobs.done(answer.reason, attempt=attempt)


def _keep(site: Site, link: Link, answer: _Answer, state: LinkState | None, attempts: int) -> None:
    link.attempts = attempts
    link.reason = answer.reason[:_KEPT_CHARACTERS]
    link.endpoint = answer.endpoint
    link.protocol = "pingback" if answer.endpoint else None
    link.status_code = answer.status_code
    link.fault_code = answer.fault_code
    link.answer = answer.text[:_KEPT_CHARACTERS]
    if state is not None:
        link.state = state
    if state is LinkState.sent:
        link.sent_at = site.now()


def _tell(site: Site, source: str, target: str) -> _Answer:
    try:
        page, offer = _discover(site, target)
    except FetchError as error:
        return _not_fetched(error)
    if page.status == 410 or (400 <= page.status < 500 and page.status not in _TRY_AGAIN_STATUSES):
        return _Answer(
            state=LinkState.refused, reason=f"The target answers {page.status}.", status_code=page.status
        )
    if not 200 <= page.status < 300:
        return _try_again(site, page, f"The target answers {page.status}.")
    if offer.pingback is None:
        return _Answer(state=LinkState.unsupported, reason="The target offers no pingback server.")
    body = xmlrpc.dump_call(pingback.METHOD, [source, target])
    try:
        response = site.fetch.post(
            offer.pingback,
            body,
            headers={"Content-Type": "text/xml; charset=utf-8"},
            max_body=xmlrpc.MAX_BODY_BYTES,
        )
    except FetchError as error:
        return _not_fetched(error, endpoint=offer.pingback)
    return _read_answer(site, response, offer.pingback)


def _not_fetched(error: FetchError, *, endpoint: str | None = None) -> _Answer:
    final = isinstance(error, AddressRefused)
    return _Answer(
        state=LinkState.refused if final else None,
        reason=f"{error.kind}: {error}",
        endpoint=endpoint,
        overloaded=isinstance(error, TooSlow),
    )


def _try_again(site: Site, response: Response, reason: str, **known: Any) -> _Answer:
    return _Answer(
        state=None,
        reason=reason,
        status_code=response.status,
        retry_after=parse_retry_after(response.headers.get("Retry-After"), site.now()),
        overloaded=response.status in SLOW_STATUSES,
        address=response.address,
        **known,
    )


def _read_answer(site: Site, response: Response, endpoint: str) -> _Answer:
    """Judge the answer of a pingback server (Pingback 1.0, section 3).

    Whatever its number, a fault is a failure, but for 48: that we told it before is what we want.
    Bare integers among the codes are faults of servers that do not know how to raise them.
    """
    text = response.body.decode("utf-8", "replace")
    status = response.status
    if not 200 <= status < 300:
        if 400 <= status < 500 and status not in _TRY_AGAIN_STATUSES:
            return _Answer(
                state=LinkState.refused,
                reason=f"The pingback server answers {status}.",
                endpoint=endpoint,
                status_code=status,
                text=text,
                address=response.address,
            )
        return _try_again(
            site, response, f"The pingback server answers {status}.", endpoint=endpoint, text=text
        )
    try:
        value = xmlrpc.parse_response(response.body)
    except xmlrpc.Fault as fault:
        return _faulted(site, response, endpoint, fault.code, fault.message)
    except xmlrpc.Malformed:
        return _try_again(site, response, "The answer is no XML-RPC.", endpoint=endpoint, text=text)
    if pingback.is_error(value):
        return _faulted(site, response, endpoint, int(str(value)), "")
    return _Answer(
        state=LinkState.sent,
        endpoint=endpoint,
        status_code=status,
        text=str(value),
        address=response.address,
    )


def _faulted(site: Site, response: Response, endpoint: str, code: int, message: str) -> _Answer:
    if code == FaultCode.ALREADY_REGISTERED:
        state: LinkState | None = LinkState.sent
    elif code in _HOPELESS_FAULTS or (
        code == FaultCode.ACCESS_DENIED and "Retry-After" not in response.headers
    ):
        state = LinkState.refused
    else:
        state = None
    return _Answer(
        state=state,
        reason="" if state is LinkState.sent else f"Fault {code}: {message}"[:500],
        endpoint=endpoint,
        status_code=response.status,
        fault_code=code,
        text=message,
        retry_after=parse_retry_after(response.headers.get("Retry-After"), site.now()),
        overloaded=code == 429,
        address=response.address,
    )


def _discover(site: Site, target: str) -> tuple[Response, discovery.Offer]:
    """Read as much of a page as it takes to know what it offers."""
    read = bytearray()

    def on_chunk(_: Response, chunk: bytes) -> bool:
        read.extend(chunk)
        return len(read) >= pingback.MAX_SEARCH_BYTES

    response = site.fetch.get(
        without_fragment(target), headers={"Accept": "text/html, */*;q=0.1"}, on_chunk=on_chunk
    )
    offer = discovery.discover(
        response.url,
        x_pingback=response.headers.get_all("X-Pingback"),
        link=response.headers.get_all("Link"),
        body=bytes(read[: pingback.MAX_SEARCH_BYTES]),
    )
    return response, offer


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
        return asdict(self)


def explain(site: Site, target: str) -> Sequence[Step]:
    """Look how a page would be told, without telling it; one record for each step."""
    steps: list[Step] = []
    if not site.is_told(target):
        steps.append(Step(step="verdict", value=target, used=False, reason="This is a page of our own."))
        return steps
    try:
        response, offer = _discover(site, target)
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
