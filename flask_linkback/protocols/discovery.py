"""Discovery: which endpoint does a page offer?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from . import link_header, pingback

__all__ = ["Finding", "Offer", "discover"]

MAX_VALUE_CHARACTERS: Final = 300
MAX_NEAR_MISSES: Final = 5

# No "<" inside: each byte is looked at once.
_LINK_ELEMENT = re.compile(rb"<link\s[^<>]*+>", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One place that was looked at: what stood there and what became of it."""

    kind: Literal["header", "element"]
    protocol: str
    value: str
    used: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What the page at ``url`` (the final one, after redirects) offers, and how that was found."""

    url: str
    findings: tuple[Finding, ...]

    @property
    def pingback(self) -> str | None:
        """The URL of its pingback server."""
        return self.endpoint("pingback")

    def endpoint(self, protocol: str) -> str | None:
        """Return the endpoint that is used for a protocol."""
        return next((one.value for one in self.findings if one.used and one.protocol == protocol), None)


def discover(
    url: str,
    *,
    x_pingback: Sequence[str] = (),
    link: Sequence[str] = (),
    body: bytes = b"",
) -> Offer:
    """Look for the endpoints of a page in the values of its headers and in its first bytes. Never raises.

    A pingback server has to be absolute (Pingback 1.0, section 2): a relative one is passed over, not
    guessed.
    """
    used = False
    findings: list[Finding] = []
    for finding in _pingback(x_pingback, link, body):
        if finding.used and used:
            finding = _passed_over(finding, "The X-Pingback header goes first.")
        used = used or finding.used
        findings.append(finding)
    return Offer(url=url, findings=tuple(findings))


def _pingback(x_pingback: Sequence[str], link: Sequence[str], body: bytes) -> Iterator[Finding]:
    first = pingback.header_server(x_pingback)
    if first is None:
        yield _finding("header", "", reason="There is no X-Pingback header.")
    else:
        yield _judged("header", first, "The first X-Pingback header.")
    for one in link_header.parse(link):
        if "pingback" in one.rels:
            yield _finding("header", one.url, reason="Pingback 1.0 knows no Link header, only X-Pingback.")
    element = pingback.element_server(body)
    if element is not None:
        yield _judged("element", element, "The first link element in the form of Pingback 1.0.")
        return
    yield _finding("element", "", reason='There is no <link rel="pingback" href="..."> in exactly this form.')
    for near_miss in _near_misses(body):
        yield _finding("element", near_miss, reason="Not in the exact form that Pingback 1.0 demands.")


def _judged(kind: Literal["header", "element"], value: str, reason: str) -> Finding:
    if pingback.is_absolute(value):
        return Finding(kind=kind, protocol="pingback", value=value, used=True, reason=reason)
    return _finding(kind, value, reason="It is no absolute http or https URL.")


def _finding(kind: Literal["header", "element"], value: str, *, reason: str) -> Finding:
    return Finding(
        kind=kind,
        protocol="pingback",
        value=value[:MAX_VALUE_CHARACTERS],
        used=False,
        reason=reason,
    )


def _passed_over(finding: Finding, reason: str) -> Finding:
    return _finding(finding.kind, finding.value, reason=reason)


def _near_misses(body: bytes) -> Iterator[str]:
    left = MAX_NEAR_MISSES
    for match in _LINK_ELEMENT.finditer(body, 0, pingback.MAX_SEARCH_BYTES):
        if b"pingback" in match[0].lower():
            yield match[0].decode("utf-8", "replace")
            left -= 1
            if not left:
                return
