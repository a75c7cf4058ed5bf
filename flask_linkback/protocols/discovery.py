"""Discovery: which endpoint does a page offer?"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, urlsplit

from . import link_header, pingback
from .html import COMMENT, HTML_TYPES, ElementScan, Links

__all__ = ["MAX_PAGE_BYTES", "PROTOCOLS", "Discovery", "Finding", "Kind", "Offer", "Protocol", "discover"]

Protocol: TypeAlias = Literal["webmention", "pingback", "trackback"]
Kind: TypeAlias = Literal["header", "element", "rdf"]

PROTOCOLS: Final[tuple[Protocol, ...]] = ("webmention", "pingback", "trackback")
"""All of them, the one to use first."""

MAX_PAGE_BYTES: Final = 1 << 20
MAX_VALUE_CHARACTERS: Final = 300
MAX_NEAR_MISSES: Final = 5
MAX_COMMENTS: Final = 200

# No "<" inside: each byte is looked at once.
_LINK_ELEMENT = re.compile(rb"<link\s[^<>]*+>", re.IGNORECASE)
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset(f"{string.ascii_letters}{string.digits}-._~")
_SPACE = re.compile("[\t\n\f\r ]+")
_NO_URL: Final = "It leads to no http or https URL."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One place that was looked at: what stood there and what became of it."""

    kind: Kind
    protocol: Protocol
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

    @property
    def used(self) -> tuple[Finding, ...]:
        """The endpoint of each protocol that has one, the one to use first at the front."""
        used = [one for one in self.findings if one.used]
        return tuple(sorted(used, key=lambda one: PROTOCOLS.index(one.protocol)))

    def endpoint(self, protocol: Protocol) -> str | None:
        """Return the endpoint that is used for a protocol."""
        return next((one.value for one in self.findings if one.used and one.protocol == protocol), None)


def discover(
    url: str,
    *,
    target: str | None = None,
    x_pingback: Sequence[str] = (),
    link: Sequence[str] = (),
    body: bytes = b"",
    media_type: str = "",
    charset: str | None = None,
) -> Offer:
    """Look for all endpoints of a page that is there as a whole. Never raises."""
    discovery = Discovery(
        url,
        target=target,
        x_pingback=x_pingback,
        link=link,
        media_type=media_type,
        charset=charset,
        thorough=True,
    )
    discovery.feed(body)
    return discovery.close()


class Discovery:
    """Looks for the endpoints of a page that comes in chunks, and tells when it has seen enough.

    ``url`` is the page's own, after redirects; ``target`` is what was linked to. Only ``protocols`` are
    looked for, and the first of them is liked best: when it is found, no more is wanted, but ``thorough``
    wants all that could matter. Looked at are ``max_bytes`` of HTML, and 512 KiB of anything for pingback.

    - Webmention (section 3.1.2): the first Link header, else the first ``<link>`` or ``<a>``, of those that
      lead to an http or https URL. An empty href is the page itself, none at all is no endpoint.
    - Pingback 1.0 (section 2): X-Pingback, else the first element in the exact form. Both have to be
      absolute: a relative one is passed over, not guessed.
    - Trackback 1.2: the block of RDF whose dc:identifier is the target, else the first ``<link>`` or ``<a>``.
    """

    def __init__(
        self,
        url: str,
        *,
        target: str | None = None,
        x_pingback: Sequence[str] = (),
        link: Sequence[str] = (),
        media_type: str = "",
        charset: str | None = None,
        protocols: Sequence[Protocol] = PROTOCOLS,
        max_bytes: int = MAX_PAGE_BYTES,
        thorough: bool = False,
    ) -> None:
        self._url = url
        self._protocols = protocols
        self._thorough = thorough
        self._links = Links(lambda found: found, url)
        self._target_keys = {_page_key(each) for each in (target or url, url)}
        self._target_fragment = _one_spelling((target or url).partition("#")[2])
        self._server_header = pingback.header_server(x_pingback)
        self._link_header = link_header.parse(link)
        self._header = _Place("header", "webmention", "Link header")
        self._element = _Place("element", "webmention", "link or a element")
        self._rdf = _Place("rdf", "trackback", "RDF block")
        self._trackback_element = _Place("element", "trackback", "link or a element")
        self._comments = 0
        self._first = bytearray()
        self._left = max_bytes
        self._scan: ElementScan | None = None
        marked_up = [protocol for protocol in protocols if protocol != "pingback"]
        if marked_up and media_type.lower() in HTML_TYPES:
            self._scan = ElementScan(marked_up, charset=charset)
        else:
            for place in (self._element, self._rdf, self._trackback_element):
                place.nothing = "The page is no HTML."
        for one in self._link_header:
            if "webmention" in one.rels:
                self._offer(self._header, one.url)
        self._enough = self._has_enough()

    def feed(self, chunk: bytes) -> bool:
        """Take bytes of the page, at first none; True when no more are wanted."""
        if self._enough:
            return True
        if "pingback" in self._protocols:
            self._first += chunk[: pingback.MAX_SEARCH_BYTES - len(self._first)]
        if self._scan is not None and self._left:
            chunk = chunk[: self._left]
            self._left -= len(chunk)
            self._read(self._scan.feed(chunk))
        self._enough = self._has_enough()
        return self._enough

    def close(self) -> Offer:
        """Say that this was all, or enough, of the page, and return what it offers."""
        if self._scan is not None and not self._has_best():
            self._read(self._scan.close())
        found: Mapping[Protocol, Iterator[Finding]] = {
            "webmention": _first_of(self._header, self._element),
            "pingback": self._pingback(),
            "trackback": _first_of(self._rdf, self._trackback_element),
        }
        findings = tuple(one for protocol in self._protocols for one in found[protocol])
        return Offer(url=self._url, findings=findings)

    # --- when it is enough ---------------------------------------------------------------------------

    def _has_best(self) -> bool:
        return not self._thorough and any(map(self._has, self._protocols[:1]))

    def _has_enough(self) -> bool:
        if self._thorough:
            return not any(map(self._may_have, self._protocols))
        for protocol in self._protocols:
            if self._has(protocol):
                return True
            if self._may_have(protocol):
                return False
        return True

    def _has(self, protocol: Protocol) -> bool:
        if protocol == "webmention":
            return self._header.used or self._element.used
        if protocol == "pingback":
            return self._server_header is not None and pingback.is_absolute(self._server_header)
        return self._rdf.used

    def _may_have(self, protocol: Protocol) -> bool:
        """Tell whether what follows can matter."""
        if protocol == "pingback":
            return len(self._first) < pingback.MAX_SEARCH_BYTES
        return self._scan is not None and self._left > 0

    # --- webmention and trackback --------------------------------------------------------------------

    def _read(self, elements: Iterator[tuple[str, Mapping[str, str]]]) -> None:
        for tag, attributes in elements:
            if tag == COMMENT:
                self._read_comment(attributes[COMMENT])
            elif tag == "base":
                if "href" in attributes:
                    self._links.rebase(attributes["href"])
            elif tag == "rdf:description":
                self._read_description(attributes)
            elif "rel" in attributes:
                self._read_rels(tag, attributes)
                if self._has_best():
                    return

    def _read_rels(self, tag: str, attributes: Mapping[str, str]) -> None:
        rels = _SPACE.split(attributes["rel"].lower())
        for place in (self._element, self._trackback_element):
            if place.protocol not in rels:
                continue
            if tag not in ("link", "a"):
                place.miss(_as_tag(tag, attributes), "Only link and a elements count.")
            elif "href" not in attributes:
                place.miss(_as_tag(tag, attributes), "It has no href.")
            else:
                self._offer(place, attributes["href"])

    def _read_comment(self, text: str) -> None:
        """Look for a block of RDF, which hides in a comment from browsers that would show it."""
        if self._comments >= MAX_COMMENTS or "trackback:ping" not in text.lower():
            return
        self._comments += 1
        scan = ElementScan(["trackback"], charset="utf-8")
        for elements in (scan.feed(text.encode("utf-8", "replace")), scan.close()):
            for tag, attributes in elements:
                if tag == "rdf:description":
                    self._read_description(attributes)

    def _read_description(self, attributes: Mapping[str, str]) -> None:
        ping_url = attributes.get("trackback:ping")
        if ping_url is None:
            return
        if not self._is_target(attributes.get("dc:identifier", "")):
            self._rdf.miss(ping_url, "Its dc:identifier is not the page that was linked to.")
        else:
            self._offer(self._rdf, ping_url)

    def _is_target(self, identifier: str) -> bool:
        """Tell whether an identifier is that of the page that was linked to.

        Neither the scheme, a slash at the end nor needless escapes make a difference; a fragment does where
        there is one: it tells the entries of one page apart.
        """
        url, _, fragment = identifier.strip().partition("#")
        key = _page_key(url)
        return (
            key is not None
            and key in self._target_keys
            and _one_spelling(fragment) in ("", self._target_fragment)
        )

    def _offer(self, place: _Place, href: str) -> None:
        answer = self._links.look_up(href)
        endpoint = answer[0].partition("#")[0] if answer is not None else ""
        if pingback.is_absolute(endpoint):
            place.take(endpoint)
        else:
            place.miss(href, _NO_URL)

    # --- pingback ------------------------------------------------------------------------------------

    def _pingback(self) -> Iterator[Finding]:
        used = False
        for finding in self._pingback_places():
            if finding.used and used:
                finding = replace(finding, used=False, reason="The X-Pingback header goes first.")
            used = used or finding.used
            yield finding

    def _pingback_places(self) -> Iterator[Finding]:
        if self._server_header is None:
            yield _unused("header", "pingback", "", "There is no X-Pingback header.")
        else:
            yield _judged("header", self._server_header, "The first X-Pingback header.")
        for one in self._link_header:
            if "pingback" in one.rels:
                reason = "Pingback 1.0 knows no Link header, only X-Pingback."
                yield _unused("header", "pingback", one.url, reason)
        body = bytes(self._first)
        element = pingback.element_server(body)
        if element is not None:
            yield _judged("element", element, "The first link element in the form of Pingback 1.0.")
            return
        reason = 'There is no <link rel="pingback" href="..."> in exactly this form.'
        yield _unused("element", "pingback", "", reason)
        for near_miss in _near_misses(body):
            yield _unused(
                "element", "pingback", near_miss, "Not in the exact form that Pingback 1.0 demands."
            )


class _Place:
    """Where an endpoint may stand: the first that is one is used, some of the others are told."""

    def __init__(self, kind: Kind, protocol: Protocol, name: str) -> None:
        self.protocol = protocol
        self.name = name
        self.used = False
        self.nothing = f"There is no {name} for {protocol}."
        self._kind = kind
        self._findings: list[Finding] = []

    def take(self, endpoint: str) -> None:
        """Use an endpoint, or say that there is one already."""
        if self.used:
            self.miss(endpoint, "An earlier one goes first.")
            return
        self.used = True
        reason = f"The first {self.name} for {self.protocol}."
        self._findings.append(
            Finding(kind=self._kind, protocol=self.protocol, value=endpoint, used=True, reason=reason)
        )

    def miss(self, value: str, reason: str) -> None:
        """Say why something is no endpoint."""
        if len(self._findings) < MAX_NEAR_MISSES:
            self._findings.append(_unused(self._kind, self.protocol, value, reason))

    def told(self) -> list[Finding]:
        """Return what was found, or that nothing was."""
        return self._findings or [_unused(self._kind, self.protocol, "", self.nothing)]


def _first_of(first: _Place, second: _Place) -> Iterator[Finding]:
    yield from first.told()
    for finding in second.told():
        if finding.used and first.used:
            finding = _unused(finding.kind, finding.protocol, finding.value, f"The {first.name} goes first.")
        yield finding


def _judged(kind: Kind, value: str, reason: str) -> Finding:
    if pingback.is_absolute(value):
        return Finding(kind=kind, protocol="pingback", value=value, used=True, reason=reason)
    return _unused(kind, "pingback", value, "It is no absolute http or https URL.")


def _unused(kind: Kind, protocol: Protocol, value: str, reason: str) -> Finding:
    value = value[:MAX_VALUE_CHARACTERS]
    return Finding(kind=kind, protocol=protocol, value=value, used=False, reason=reason)


def _as_tag(tag: str, attributes: Mapping[str, str]) -> str:
    return f'<{tag} rel="{attributes["rel"]}">'


def _page_key(url: str) -> tuple[str, str, str] | None:
    """Return the same for URLs that are one page, but for scheme, fragment and a slash at the end."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if not parts.netloc:
        return None
    return parts.netloc.lower(), _one_spelling(parts.path).rstrip("/"), _one_spelling(parts.query)


def _one_spelling(part: str) -> str:
    """Return a part of a URL with those escapes that it needs, in upper case (RFC 3986, section 6.2.2)."""
    return _ESCAPE.sub(_unescaped, quote(part, safe=string.punctuation, errors="replace"))


def _unescaped(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _near_misses(body: bytes) -> Iterator[str]:
    left = MAX_NEAR_MISSES
    for match in _LINK_ELEMENT.finditer(body, 0, pingback.MAX_SEARCH_BYTES):
        if b"pingback" in match[0].lower():
            yield match[0].decode("utf-8", "replace")
            left -= 1
            if not left:
                return
