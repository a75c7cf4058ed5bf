"""Replies: what the answer of a server means for the job that asked it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from ..errors import AddressRefused, FetchError, TooSlow
from ..fetch import Response
from ..protocols import text
from ..site import Site
from .jobs import AttemptMade, Outcome, again, dead, done
from .retry import SLOW_STATUSES, parse_retry_after

__all__ = ["attempt_of", "is_success", "may_pass", "outcome_of", "retry_after"]

KEPT_BYTES: Final = 16 * 1024
_KEPT_HEADERS: Final = 24
_KEPT_HEADER_CHARACTERS: Final = 200
_TRY_AGAIN_STATUSES: Final = frozenset((408, 425, 429))


def is_success(response: Response) -> bool:
    return 200 <= response.status < 300


def may_pass(response: Response) -> bool:
    """Is this a failure that another try may not see? 4xx is final, but for those that say "later".

    A redirect of a POST is none that anybody follows: by 301 and 302 it would become a GET (RFC 9110,
    section 15.4), by the others we would send to an address that the target did not name. The next try
    asks the target again where to send.
    """
    return not 400 <= response.status < 500 or response.status in _TRY_AGAIN_STATUSES


def retry_after(site: Site, response: Response) -> float | None:
    return parse_retry_after(response.headers.get("Retry-After"), site.now())


def attempt_of(
    site: Site,
    url: str,
    started_at: datetime,
    reply: Response | FetchError | None,
    *,
    outcome: str = "",
    reason: str = "",
) -> AttemptMade:
    """Return the record of an exchange that began at a time; ``outcome`` where its status does not say it.

    Without a reply there was nothing to ask for.
    """
    seconds = (site.now() - started_at).total_seconds()
    if isinstance(reply, FetchError):
        return AttemptMade(
            started_at=started_at,
            seconds=seconds,
            outcome=outcome or reply.kind,
            url=url,
            reason=reason or str(reply),
        )
    if reply is None:
        return AttemptMade(
            started_at=started_at, seconds=seconds, outcome=outcome or "done", url=url, reason=reason
        )
    return AttemptMade(
        started_at=started_at,
        seconds=seconds,
        outcome=outcome or ("done" if is_success(reply) else f"http_{reply.status}"),
        url=url,
        address=reply.address,
        status_code=reply.status,
        headers=_kept_headers(reply),
        body=reply.body[:KEPT_BYTES],
        reason=reason,
    )


def _kept_headers(reply: Response) -> dict[str, str]:
    """Return the first headers of an answer, cut to what is worth a look, and none that lets somebody in."""
    names = [name for name in reply.headers if name != "set-cookie"][:_KEPT_HEADERS]
    return {name: text.storable(reply.headers[name], _KEPT_HEADER_CHARACTERS) for name in names}


def outcome_of(
    site: Site, reply: Response | FetchError, attempt: AttemptMade, *, keep_trying: bool = False
) -> Outcome:
    """Return how a job ends whose one request got this reply.

    2xx is its end. An address that we refuse, 410, and any other 4xx that says no "later" is final, too;
    with ``keep_trying``, of the last only 410. All else is tried again.
    """
    if isinstance(reply, FetchError):
        reason = f"{reply.kind}: {reply}"
        if isinstance(reply, AddressRefused):
            return dead(reason, attempt=attempt)
        return again(reason, overloaded=isinstance(reply, TooSlow), attempt=attempt)
    if is_success(reply):
        return done(attempt=attempt)
    reason = f"The server answers {reply.status}."
    if reply.status == 410 or not (keep_trying or may_pass(reply)):
        return dead(reason, attempt=attempt)
    return again(
        reason,
        retry_after=retry_after(site, reply),
        overloaded=reply.status in SLOW_STATUSES,
        attempt=attempt,
    )
