"""Answers: what came of telling one target."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import AddressRefused, FetchError, TooSlow
from ..fetch import Response
from ..models import LinkState
from ..outbox.replies import may_pass, retry_after
from ..outbox.retry import SLOW_STATUSES
from ..site import Site

__all__ = ["Answer", "bad_status", "not_fetched"]


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
