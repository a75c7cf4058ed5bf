"""Exchanges: how a target is told by each of the protocols, and what its answer means."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

import sqlalchemy as sa
from werkzeug.http import parse_options_header

from ..fetch import Response
from ..models import LinkState, Page, digest, without_fragment
from ..outbox.replies import is_success, retry_after
from ..outbox.retry import SLOW_STATUSES
from ..protocols import pingback, trackback, webmention, xml, xmlrpc
from ..protocols.discovery import Protocol
from ..protocols.html import HTML_TYPES, text_of
from ..protocols.pingback import FaultCode
from ..site import Site
from .answers import Answer, bad_status
from .vouching import find_vouch

__all__ = ["EXCHANGES", "KEPT_CHARACTERS", "Notice"]

KEPT_CHARACTERS: Final = 2000
"""How much of what an endpoint said is kept with the link."""
_RETRY_WITH_VOUCH: Final = 449
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


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What a target is told: that our page links to it, or, when ``removed``, does not any more.

    ``repeated``: it took a linkback of this page before.
    """

    source: str
    target: str
    removed: bool = False
    repeated: bool = False


# --- webmention --------------------------------------------------------------------------------------


def _by_webmention(site: Site, endpoint: str, notice: Notice) -> Answer:
    """Tell by webmention (section 3.1.3): any 2xx is a success.

    That a link is gone is a webmention like any other. A receiver that looks at once finds none and
    answers 400 then: it has seen what we wanted to say. With VOUCH, who answers 449 is told once more, by
    the help of a page that knows us both (indieweb.org/Vouch). Who answers 449 and says by ``Location`` where
    it keeps the mention has taken it: it is told, and of updates, too.
    """
    request = webmention.Request(source=notice.source, target=notice.target)
    response = _post(site, endpoint, request)
    if response.status == _RETRY_WITH_VOUCH and site.settings.linkbacks.vouch and not notice.removed:
        vouch = find_vouch(site, notice.source, notice.target)
        if vouch is not None:
            request = dataclasses.replace(request, vouch=vouch)
            response = _post(site, endpoint, request)
    said = _said(response)
    kept = response.status in (201, _RETRY_WITH_VOUCH)
    location = response.headers.get("Location", "").strip() if kept else ""
    taken = is_success(response) or (kept and location) or (notice.removed and response.status == 400)
    if not taken:
        return bad_status(site, response, f"The webmention endpoint answers {response.status}.", text=said)
    return Answer(
        state=LinkState.sent,
        reason=f"With the vouch of {request.vouch}." if request.vouch else "",
        status_code=response.status,
        text=urljoin(endpoint, location) if location else said,
        body=response.body,
        address=response.address,
    )


def _post(site: Site, endpoint: str, request: webmention.Request) -> Response:
    return site.fetch.post(
        endpoint, webmention.dump_request(request), headers={"Content-Type": webmention.CONTENT_TYPE}
    )


def _said(response: Response) -> str:
    """What an answer says, as text."""
    media_type, _ = parse_options_header(response.headers.get("Content-Type"))
    if media_type.lower() in HTML_TYPES:
        return text_of(response.body, KEPT_CHARACTERS)
    return response.body.decode("utf-8", "replace")


# --- pingback ----------------------------------------------------------------------------------------


def _by_pingback(site: Site, endpoint: str, notice: Notice) -> Answer:
    """Tell by pingback (section 3).

    Whatever its number, a fault is a failure, but for 48: that we told it before is what we want.
    A bare integer is the fault of a server that does not know how to raise one.
    """
    response = site.fetch.post(
        endpoint,
        xmlrpc.dump_call(pingback.METHOD, [notice.source, notice.target]),
        headers={"Content-Type": "text/xml; charset=utf-8"},
        max_body=xmlrpc.MAX_BODY_BYTES,
    )
    text = response.body.decode("utf-8", "replace")
    if not is_success(response):
        return bad_status(site, response, f"The pingback server answers {response.status}.", text=text)
    try:
        value = xmlrpc.parse_response(response.body)
        if isinstance(value, int) and not isinstance(value, bool):
            raise xmlrpc.Fault(value, "")
    except xmlrpc.Fault as fault:
        return _faulted(site, response, fault, notice)
    except xmlrpc.Malformed:
        return bad_status(site, response, "The answer is no XML-RPC.", failure="no_xmlrpc", text=text)
    return Answer(
        state=LinkState.sent,
        status_code=response.status,
        text=str(value),
        body=response.body,
        address=response.address,
    )


def _faulted(site: Site, response: Response, fault: xmlrpc.Fault, notice: Notice) -> Answer:
    code = fault.code
    denied = code == FaultCode.ACCESS_DENIED and "Retry-After" not in response.headers
    state: LinkState | None = None
    if code == FaultCode.ALREADY_REGISTERED or (notice.removed and code in _HOPELESS_FAULTS):
        state = LinkState.sent  # it knows the link, or has seen that there is none any more
    elif code in _HOPELESS_FAULTS or denied:
        state = LinkState.refused
    return Answer(
        state=state,
        failure="" if state is LinkState.sent else "fault",
        reason="" if state is LinkState.sent else f"Fault {code}: {fault.message}",
        status_code=response.status,
        fault_code=code if abs(code) <= _LARGEST_CODE else None,
        text=fault.message,
        body=response.body,
        retry_after=retry_after(site, response),
        overloaded=code in SLOW_STATUSES,  # WordPress lets its 429 through as a fault
        address=response.address,
    )


# --- trackback ---------------------------------------------------------------------------------------


def _by_trackback(site: Site, endpoint: str, notice: Notice) -> Answer:
    """Tell by trackback (1.2, "Sending a TrackBack Ping").

    A second ping is a second entry, so that none follows an answer with 2xx, however odd it is.
    """
    response = site.fetch.post(
        endpoint,
        trackback.dump_ping(_ping(site, notice)),
        headers={"Content-Type": trackback.CONTENT_TYPE},
        max_body=xml.MAX_BODY_BYTES,
    )
    text = response.body.decode("utf-8", "replace")
    if not is_success(response):
        return bad_status(site, response, f"The trackback server answers {response.status}.", text=text)
    failure, reason = "", ""
    try:
        said = trackback.parse_response(response.body)
        text = said.message
        if not said.ok:
            failure, reason = "error", f"Error: {text}"
    except xml.Malformed:
        failure, reason = "no_trackback", "The answer is none of a trackback server."
    return Answer(
        state=LinkState.refused if failure else LinkState.sent,
        failure=failure,
        reason=reason,
        status_code=response.status,
        text=text,
        body=response.body,
        address=response.address,
    )


def _ping(site: Site, notice: Notice) -> trackback.Ping:
    """What our page says of itself; only its address where nobody knows what it says."""
    about = sa.select(Page.title, Page.excerpt).where(Page.key == digest(without_fragment(notice.source)))
    found = site.session.execute(about).first()
    site.session.rollback()  # no transaction stays open over HTTP
    title, excerpt = found if found is not None else ("", "")
    blog_name = site.settings.site.site_name or ""
    return trackback.Ping(url=notice.source, title=title, excerpt=excerpt, blog_name=blog_name)


EXCHANGES: Final[Mapping[Protocol, Callable[[Site, str, Notice], Answer]]] = {
    "webmention": _by_webmention,
    "pingback": _by_pingback,
    "trackback": _by_trackback,
}
"""How to tell an endpoint of each protocol; raises `FetchError` where there is no answer."""
