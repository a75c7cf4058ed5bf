"""Explaining: how would a page be told, and why so?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import FetchError
from ..models import host_of
from ..outbox.replies import is_success
from ..protocols.discovery import Finding, Offer
from ..site import Site
from .offers import look_at

__all__ = ["Step", "explain"]

_ENDPOINTS: Final = {
    "webmention": "A webmention endpoint",
    "pingback": "A pingback server",
    "trackback": "A trackback server",
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a dry run: what was looked at, what stood there, what became of it."""

    step: str
    """``request``, ``redirect``, ``header``, ``element``, ``rdf``, ``endpoint`` or ``verdict``."""
    value: str
    used: bool
    reason: str
    protocol: str | None = None
    """``webmention``, ``pingback`` or ``trackback``, where the step is about one of them."""

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def explain(site: Site, target: str) -> Sequence[Step]:
    """Look how a page would be told, without telling it; one record for each step.

    All of the page is read, as far as pages are, so that what it offers beside the first choice shows.
    """
    if site.settings.site.base_url is not None and not site.is_told(target):
        return [_verdict(target, "This is a page of our own.")]
    try:
        response, offer = look_at(site, target, thorough=True)
    except FetchError as error:
        request = Step(step="request", value=f"GET {target}", used=False, reason=f"{error.kind}: {error}")
        return [request, _verdict(target, "The page cannot be read.")]
    last = len(response.hops) - 1
    steps = [
        Step(
            step="redirect" if number else "request",
            value=f"GET {hop.url}",
            used=number == last,
            reason=f"The answer is {hop.status}.",
        )
        for number, hop in enumerate(response.hops)
    ]
    steps += _found(offer)
    if not is_success(response):
        return [*steps, _verdict(target, f"The page answers {response.status}.")]
    if not offer.used:
        return [*steps, _verdict(target, "The page offers no endpoint.")]
    first = offer.used[0]
    reason = f"It would be told by {first.protocol}."
    verdict = Step(step="verdict", value=target, used=True, reason=reason, protocol=first.protocol)
    return [*steps, *_endpoints(offer.used), verdict]


def _verdict(target: str, reason: str) -> Step:
    return Step(step="verdict", value=target, used=False, reason=reason)


def _found(offer: Offer) -> Iterator[Step]:
    """What was found, for each protocol; whether it counts within its protocol is ``used``."""
    for one in offer.findings:
        yield Step(step=one.kind, value=one.value, used=one.used, reason=one.reason, protocol=one.protocol)


def _endpoints(offered: Sequence[Finding]) -> Iterator[Step]:
    """The endpoints that there are: the first is used."""
    for one in offered:
        used = one is offered[0]
        what = f"{_ENDPOINTS[one.protocol]} at {host_of(one.value)}"
        reason = f"{what}." if used else f"{what}; {offered[0].protocol} goes first."
        yield Step(step="endpoint", value=one.value, used=used, reason=reason, protocol=one.protocol)
