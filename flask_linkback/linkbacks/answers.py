"""Answers: what came of telling one target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..errors import AddressRefused, FetchError, TooSlow
from ..fetch import Response
from ..models import LinkState
from ..outbox.retry import SLOW_STATUSES, parse_retry_after
from ..site import Site

__all__ = ["Answer", "bad_status", "is_success", "may_pass", "not_fetched", "retry_after"]

_TRY_AGAIN_STATUSES: Final = frozenset((408, 425, 429))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of telling one target: the link's next state, or another try."""

    state: LinkState | None
    """None: not yet decided, try again."""
    failure: str = ""
    """A short word for what went wrong, in the record of the attempt."""
    reason: str = ""
    protocol: str | None = None
    endpoint: str | None = None
    offers: tuple[str, ...] | None = None
    """The protocols that the target offered; None where nobody could look."""
    status_code: int | None = None
    fault_code: int | None = None
    text: str = ""
    """What was said, for people."""
    body: bytes = b""
    retry_after: float | None = None
    overloaded: bool = False
    address: str | None = None


def is_success(response: Response) -> bool:
    return 200 <= response.status < 300


def may_pass(response: Response) -> bool:
    """Is this a failure that another try may not see? 4xx is final, but for those that say "later".

    A redirect of a POST is none that anybody follows: by 301 and 302 it would become a GET (RFC 9110,
    section 15.4), by the others we would send to an address that the target did not name. The next try
    asks the target again where to send.
    """
    return not 400 <= response.status < 500 or response.status in _TRY_AGAIN_STATUSES


def not_fetched(error: FetchError) -> Answer:
    """What it means that there was no answer: only an address that we refuse is refused again."""
    final = isinstance(error, AddressRefused)
    return Answer(
        state=LinkState.refused if final else None,
        failure=error.kind,
        reason=f"{error.kind}: {error}",
        overloaded=isinstance(error, TooSlow),
    )


def bad_status(site: Site, response: Response, reason: str, *, failure: str = "", text: str = "") -> Answer:
    """What an answer means that is no success."""
    return Answer(
        state=None if may_pass(response) else LinkState.refused,
        failure=failure or f"http_{response.status}",
        reason=reason,
        status_code=response.status,
        text=text,
        body=response.body,
        retry_after=retry_after(site, response),
        overloaded=response.status in SLOW_STATUSES,
        address=response.address,
    )


def retry_after(site: Site, response: Response) -> float | None:
    return parse_retry_after(response.headers.get("Retry-After"), site.now())
