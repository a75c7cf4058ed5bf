"""WebSub: what a publisher offers, and what publishers, subscribers and hubs say to each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args
from urllib.parse import quote, urldefrag, urlencode

from . import link_header, xml
from .html import HTML_TYPES, MAX_DEPTH, TooDeep, Utf8, absolute, parse, safe_url
from .text import storable
from .xml import Events, Malformed

__all__ = [
    "FORM_TYPE",
    "MAX_CHALLENGE_CHARACTERS",
    "MAX_LEASE_SECONDS",
    "MAX_SECRET_BYTES",
    "Finding",
    "Mode",
    "Offer",
    "RequestError",
    "Verification",
    "discover",
    "dump_ping",
    "dump_request",
    "known_hub",
    "link_values",
    "parse_verification",
]

Kind: TypeAlias = Literal["header", "element", "feed"]
Mode: TypeAlias = Literal["subscribe", "unsubscribe", "denied"]
Rel: TypeAlias = Literal["hub", "self"]

FORM_TYPE: Final = "application/x-www-form-urlencoded"
MAX_DOCUMENT_BYTES: Final = 2 << 20
MAX_JSON_NODES: Final = 100_000
MAX_HUBS: Final = 10
MAX_VALUE_CHARACTERS: Final = 300
MAX_NEAR_MISSES: Final = 5

_RELS: Final[tuple[Rel, ...]] = ("hub", "self")
_NO_URL: Final = "It leads to no http or https URL."


# --- what a publisher offers -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One place that was looked at: what stood there and what became of it."""

    kind: Kind
    rel: Rel
    value: str
    used: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What the resource at ``url`` (the final one, after redirects) offers, and how that was found.

    ``topic_url`` is its link to itself, None where it has none: whether ``url`` will do is for the caller to
    say. ``hubs`` are all of them, in their order.
    """

    url: str
    topic_url: str | None
    hubs: tuple[str, ...]
    findings: tuple[Finding, ...]


def discover(
    url: str,
    *,
    link: Sequence[str] = (),
    body: bytes = b"",
    media_type: str = "",
    charset: str | None = None,
) -> Offer:
    """Look for the hubs and the topic URL of a resource (WebSub, section 4). Never raises.

    ``link`` are the values of its Link headers. Hubs of these are used in preference to those of the
    document, and so is a topic URL. In HTML only the head counts: what visitors wrote into the page names no
    hub (section 8.1). Of Atom and RSS these are the links of the feed itself, not of its entries; a DOCTYPE
    is refused. Of JSON Feed they are ``feed_url`` and those ``hubs`` whose type is WebSub.
    """
    header = _Place("header", "Link header")
    for one in link_header.parse(link):
        rels = [rel for rel in _RELS if rel in one.rels]
        if rels and (anchor := one.params.get("anchor")) is not None and not _is_same(url, anchor):
            for rel in rels:
                header.miss(rel, one.url, "Its anchor says that it is a link of another page.")
            continue
        for rel in rels:
            header.offer(rel, url, one.url, empty_is_self=True)
    document = _read_document(url, body[:MAX_DOCUMENT_BYTES], media_type.strip().lower(), charset)
    hubs = tuple(header.used["hub"] or document.used["hub"])
    topics = header.used["self"] or document.used["self"]
    findings = tuple(_told(header, document))
    return Offer(url=url, topic_url=next(iter(topics), None), hubs=hubs, findings=findings)


_YOUTUBE: Final = re.compile(r"https?://(?:www\.)?youtube\.com/(?:xml/)?feeds/videos\.xml(?:[?#].*)?", re.I)


def known_hub(topic_url: str) -> str | None:
    """Return the hub of a topic that does not name it itself: YouTube's feeds."""
    if len(topic_url) <= MAX_DOCUMENT_BYTES and _YOUTUBE.fullmatch(topic_url):
        return "https://pubsubhubbub.appspot.com/subscribe"
    return None


def link_values(hubs: Iterable[str], self_url: str) -> list[str]:
    """Return the values of the Link headers of a topic: one for each hub, exactly one for itself."""
    links = [(hub, "hub") for hub in dict.fromkeys(hubs)]
    return [f'<{_in_header(url)}>; rel="{rel}"' for url, rel in (*links, (self_url, "self"))]


_IN_HEADER: Final = "".join(map(chr, range(0x21, 0x7F))).translate(dict.fromkeys(map(ord, '<>"')))


def _in_header(url: str) -> str:
    """Return a URL as a header can say it: nothing in it ends the link, the value or the header."""
    return quote(url, safe=_IN_HEADER, errors="replace")


class _Place:
    """Where links may stand: those that are of use, and why some of the others are not."""

    def __init__(self, kind: Kind, name: str) -> None:
        self.kind = kind
        self.name = name
        self.nothing: str | None = None
        self.used: dict[Rel, dict[str, None]] = {rel: {} for rel in _RELS}
        self._findings: list[Finding] = []
        self._missed: dict[Rel, int] = dict.fromkeys(_RELS, 0)

    def offer(self, rel: Rel, base_url: str, href: str, *, empty_is_self: bool) -> None:
        """Take what a link leads to, or say why not."""
        used = self.used[rel]
        found = safe_url(base_url, href)
        if not href.strip() and not (empty_is_self and rel == "self"):
            self.miss(rel, href, "It leads nowhere.")
        elif not found:
            self.miss(rel, href, _NO_URL)
        elif found in used:
            self.miss(rel, found, "It is there twice.")
        elif rel == "self" and used:
            self.miss(rel, found, "An earlier one goes first.")
        elif len(used) >= MAX_HUBS:
            self.miss(rel, found, f"More than {MAX_HUBS} hubs are not used.")
        else:
            used[found] = None
            reason = f"{'A hub' if rel == 'hub' else 'The topic URL'} of the {self.name}."
            self._findings.append(Finding(kind=self.kind, rel=rel, value=found, used=True, reason=reason))

    def miss(self, rel: Rel, value: str, reason: str) -> None:
        """Say why something is of no use."""
        self._missed[rel] += 1
        if self._missed[rel] <= MAX_NEAR_MISSES:
            self._findings.append(_unused(self.kind, rel, value, reason))

    def has_missed_enough(self) -> bool:
        return max(self._missed.values()) >= MAX_NEAR_MISSES

    def told(self, rel: Rel) -> list[Finding]:
        """Return what was found of a relation, or that nothing was."""
        found = [one for one in self._findings if one.rel == rel]
        reason = self.nothing or f'There is no rel="{rel}" in the {self.name}.'
        return found or [_unused(self.kind, rel, "", reason)]


def _unused(kind: Kind, rel: Rel, value: str, reason: str) -> Finding:
    return Finding(kind=kind, rel=rel, value=value[:MAX_VALUE_CHARACTERS], used=False, reason=reason)


def _told(header: _Place, document: _Place) -> Iterator[Finding]:
    for rel in _RELS:
        yield from header.told(rel)
        for finding in document.told(rel):
            if finding.used and header.used[rel]:
                finding = replace(finding, used=False, reason=f"The {header.name} goes first.")
            yield finding


def _is_same(url: str, anchor: str) -> bool:
    there = absolute(url, anchor)
    return there is not None and urldefrag(there)[0] == urldefrag(url)[0]


_JSON_TYPE: Final = re.compile(r"application/json|[^/]+/[^/]+\+json")
_XML_TYPE: Final = re.compile(r"(?:application|text)/xml|[^/]+/[^/]+\+xml")
_FIRST_TAG: Final = re.compile(
    rb"\s*+(?:<\?[^>]*+>\s*+|<!--[^>]*+>\s*+)*<(?:[\w.-]{1,40}:)?(rss|feed|RDF)[\s/>]", re.DOTALL
)
_SNIFFED_BYTES: Final = 4096


def _read_document(url: str, body: bytes, media_type: str, charset: str | None) -> _Place:
    """Read a document as what it says to be; a feed is known by its first tag, whatever its type."""
    first = body[:_SNIFFED_BYTES].removeprefix(b"\xef\xbb\xbf")
    if _JSON_TYPE.fullmatch(media_type) or (media_type == "" and first.lstrip().startswith(b"{")):
        return _read_json(url, body)
    is_html = media_type in HTML_TYPES
    is_feed = _FIRST_TAG.match(first) is not None
    if is_feed or (_XML_TYPE.fullmatch(media_type) and not is_html):
        return _read_feed(url, body, charset)
    if is_html:
        return _read_html(url, body, charset)
    place = _Place("element", "document")
    place.nothing = "The document is neither HTML nor a feed."
    return place


# --- HTML

_HEAD: Final = frozenset(("base", "link", "meta", "script", "style", "title"))
_LATER_IN_HEAD: Final = frozenset(("noscript", "template"))
"""Before these libxml2 begins a body where no head was begun."""
_SKIPPED: Final = frozenset(("noscript", "template"))
_WITH_TEXT: Final = frozenset(("script", "style", "title"))
_MAX_LINKS: Final = 2 * MAX_HUBS
"""Of each relation."""


def _read_html(url: str, body: bytes, charset: str | None) -> _Place:
    place = _Place("element", "head of the page")
    page = _Page(place)
    parse(body, page, charset=charset)
    base_url = absolute(url, page.base) or url
    for rel, href in page.links:
        place.offer(rel, base_url, href, empty_is_self=False)
    return place


class _Page:
    """The target of a parser that collects the links of the head, and says of others where they stood.

    The head is over where the standard says so ("The in head insertion mode"): before the first element or
    text that belongs in no head. What stands in ``<noscript>`` or ``<template>`` is passed over.
    """

    def __init__(self, place: _Place) -> None:
        self.base = ""
        self.links: list[tuple[Rel, str]] = []
        self._place = place
        self._open: list[str] = []
        self._skipped = 0
        self._in_head = True
        self._body_is_new = False
        self._had_head = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Called by lxml."""
        self._open.append(tag)
        if len(self._open) > MAX_DEPTH:
            raise TooDeep
        if self._skipped == 0 and self._in_head:
            self._look_for_body(tag)
        self._skipped += tag in _SKIPPED
        if not self._skipped:
            self._take(tag, attributes)

    def _look_for_body(self, tag: str) -> None:
        if tag == "head":
            self._had_head = True
        elif tag == "body" and not self._had_head:
            self._body_is_new = True  # perhaps one of libxml2's own
        elif self._body_is_new and tag not in _LATER_IN_HEAD:
            self._end_head()
        elif tag in _LATER_IN_HEAD:
            # what follows it was put into a body, and may belong to the head
            self._had_head, self._body_is_new = self._had_head or self._body_is_new, False
        elif tag not in _HEAD and tag != "html":
            self._end_head()

    def _end_head(self) -> None:
        self._in_head = False
        if {rel for rel, _ in self.links} == set(_RELS):
            raise TooDeep  # nothing that follows is of interest

    def _take(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "base" and not self.base:
            self.base = attributes.get("href", "")
        rels = attributes.get("rel", "").lower().split() if tag in ("link", "a") else ()
        for rel in _RELS:
            if rel not in rels:
                continue
            if tag == "a" or not self._in_head:
                reason = "Only link elements in the head of a page count."
                self._place.miss(rel, attributes.get("href", ""), reason)
            elif "href" not in attributes:
                self._place.miss(rel, "", "It has no href.")
            elif sum(known == rel for known, _ in self.links) < _MAX_LINKS:
                self.links.append((rel, attributes["href"]))
        if rels and not self._in_head and self._place.has_missed_enough():
            raise TooDeep

    def end(self, tag: str) -> None:
        """Called by lxml, once for each start."""
        self._open.pop()
        self._skipped -= tag in _SKIPPED

    def data(self, data: str) -> None:
        """Called by lxml."""
        is_hidden = self._skipped or (self._open and self._open[-1] in _WITH_TEXT)
        if self._in_head and not is_hidden and not data.isspace():
            self._end_head()

    def close(self) -> None:
        """Called by lxml."""


# --- feeds

_ATOM: Final = ("http://www.w3.org/2005/Atom", "http://purl.org/atom/ns#")
_BASE: Final = "http://www.w3.org/XML/1998/namespace base"
_KEPT_DEPTH: Final = 3
_REGISTRY: Final = "http://www.iana.org/assignments/relation/"
_DECLARATION: Final = re.compile(rb"\s*+(?:<\?xml\s[^>]{0,200}>)?")


def _read_feed(url: str, body: bytes, charset: str | None) -> _Place:
    place = _Place("feed", "feed")
    utf8 = Utf8(charset)
    text = utf8.feed(body) + utf8.feed(b"", final=True)
    declaration = _DECLARATION.match(text)
    links = _FeedLinks(place, url)
    try:
        xml.read(text[declaration.end() :] if declaration is not None else text, links, charset="utf-8")
    except Malformed as error:
        place.nothing = str(error)
    else:
        place.nothing = links.nothing
    return place


class _FeedLinks(Events):
    """Takes the links of a feed: children of Atom's feed, and of the channel of RSS.

    Those that came before a mistake in the document count: there is one in many feeds, further down.
    """

    nothing: str | None = None

    def __init__(self, place: _Place, url: str) -> None:
        self._place = place
        self._bases = [url]
        self._within = 0  # at which depth its links stand

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        depth, (namespace, _, local) = self.depth, name.rpartition(" ")
        if depth <= _KEPT_DEPTH:
            base_url = self._bases[-1]
            said = attributes.get(_BASE)
            self._bases.append(base_url if said is None else absolute(base_url, said) or base_url)
        if depth == 1:
            self._begin(namespace, local)
        elif depth == 2 and local == "channel" and self._within != 2:
            self._within = 3
        elif depth == self._within and local == "link" and namespace in _ATOM:
            self._take(attributes)

    def _begin(self, namespace: str, local: str) -> None:
        if local == "feed" and namespace in _ATOM:
            self._within = 2
        elif local not in ("rss", "RDF"):
            self.nothing = "The document is no feed."
            raise xml.Enough
        else:
            self._within = -1

    def end(self, name: str) -> None:
        if self.depth == 2 and self._within == 3:
            self._within = -1  # a channel is over
        if self.depth <= _KEPT_DEPTH:
            self._bases.pop()

    def _take(self, attributes: Mapping[str, str]) -> None:
        rels = attributes.get("rel", "").lower().replace(_REGISTRY, "").split()
        for rel in _RELS:
            if rel in rels:
                href = attributes.get("href")
                self._place.offer(rel, self._bases[-1], href or "", empty_is_self=href is not None)


def _read_json(url: str, body: bytes) -> _Place:
    place = _Place("feed", "JSON Feed")
    feed = load_json(body)
    if feed is None:
        place.nothing = "The document is no JSON Feed."
        return place
    if isinstance(feed_url := feed.get("feed_url"), str):
        place.offer("self", url, feed_url, empty_is_self=False)
    hubs = feed.get("hubs")
    for hub in hubs if isinstance(hubs, list) else ():
        hub_url = hub.get("url") if isinstance(hub, dict) else None
        if not isinstance(hub_url, str):
            place.miss("hub", "", "It has no url.")
        elif str(hub.get("type", "")).lower() != "websub":
            place.miss("hub", hub_url, "Its type is not WebSub.")
        else:
            place.offer("hub", url, hub_url, empty_is_self=False)
    return place


def load_json(body: bytes) -> dict[str, Any] | None:
    """Return the object that a document of JSON is; None for anything else, and for what is too large."""
    if body.count(b"{") + body.count(b"[") > MAX_JSON_NODES:
        return None
    try:
        loaded = json.loads(body.removeprefix(b"\xef\xbb\xbf").decode())
    except (RecursionError, ValueError):  # a number of thousands of digits among them
        return None
    return loaded if isinstance(loaded, dict) else None


# --- what is sent ------------------------------------------------------------------------------------

MAX_SECRET_BYTES: Final = 199
"""A secret has to be less than 200 bytes (section 5.1)."""


def dump_ping(topic_url: str) -> bytes:
    """Return the form by which a hub hears that a topic has something new.

    WebSub leaves it open (section 6). PubSubHubbub 0.3 says ``hub.url``, some hubs know only ``hub.topic``.
    """
    return urlencode({"hub.mode": "publish", "hub.url": topic_url, "hub.topic": topic_url}).encode()


def dump_request(
    mode: Literal["subscribe", "unsubscribe"],
    *,
    topic_url: str,
    callback_url: str,
    lease_seconds: int | None = None,
    secret: str | None = None,
    params: Mapping[str, str | Sequence[str]] | None = None,
) -> bytes:
    """Return the form by which a subscriber asks a hub (section 5.1).

    ``params`` are those that a hub wants besides; none of them replaces one of WebSub's own.
    ``hub.verify=async`` is for hubs of PubSubHubbub 0.3, which require it; all others ignore it.
    ValueError for a secret of 200 bytes and for a lease of no seconds.
    """
    if secret is not None and len(secret.encode()) > MAX_SECRET_BYTES:
        raise ValueError("A secret has to be less than 200 bytes (WebSub, section 5.1).")
    if lease_seconds is not None and lease_seconds < 1:
        raise ValueError("A lease has to be a positive number of seconds (WebSub, section 5.1).")
    form: dict[str, str | Sequence[str]] = {"hub.verify": "async", **(params or {})}
    own = {
        "hub.callback": callback_url,
        "hub.mode": mode,
        "hub.topic": topic_url,
        "hub.lease_seconds": None if lease_seconds is None else str(lease_seconds),
        "hub.secret": secret,
    }
    for name in own:
        form.pop(name, None)
    said = {name: value for name, value in own.items() if value is not None}
    return urlencode({**said, **form}, doseq=True).encode()


# --- what a hub says to a callback -------------------------------------------------------------------

MAX_CHALLENGE_CHARACTERS: Final = 4096
MAX_LEASE_SECONDS: Final = 10 * 365 * 86_400
"""A longer lease is taken for this one."""
MAX_REASON_CHARACTERS: Final = 500
_MAX_TOPIC_CHARACTERS: Final = 8192
_MODES: Final[Mapping[str, Mode]] = {mode: mode for mode in get_args(Mode)}
_is_number: Final = re.compile("[0-9]+").fullmatch


class RequestError(ValueError):
    """A hub says something to a callback that is not understood; the message is for the hub.

    ``topic_url`` is what it says the topic is, where that goes first: who asks about another topic is not
    told what is wrong with the rest.
    """

    def __init__(self, message: str, topic_url: str | None = None) -> None:
        super().__init__(message)
        self.topic_url = topic_url


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A hub asks whether a request was meant, or says that it is denied (sections 5.2 and 5.3).

    ``challenge`` is empty where it is denied, ``lease_seconds`` None but for a subscription. ``reason`` is
    text of a stranger.
    """

    mode: Mode
    topic_url: str
    challenge: str
    lease_seconds: int | None
    reason: str


class _Query(Protocol):
    """The arguments of a request, such as Werkzeug's MultiDict: the first of each name counts."""

    def get(self, key: str, /) -> str | None: ...


def parse_verification(query: _Query) -> Verification:
    """Read what a hub asks a callback, or raise `RequestError` with the text to answer.

    A lease counts only for a subscription: in the verification of an unsubscription it is passed over
    (section 5.3). An empty challenge is none: to repeat it would prove nothing.
    """
    mode, topic_url, challenge = (query.get(f"hub.{name}") for name in ("mode", "topic", "challenge"))
    missing = [name for name, value in (("hub.mode", mode), ("hub.topic", topic_url)) if value is None]
    if not challenge and mode != "denied":
        missing.append("hub.challenge")
    if missing or mode is None or topic_url is None:
        raise RequestError(f"Missing parameters: {', '.join(missing)}")
    known = _MODES.get(mode)
    if known is None:
        raise RequestError("Unrecognized hub.mode parameter", topic_url)
    if len(challenge or "") > MAX_CHALLENGE_CHARACTERS or len(topic_url) > _MAX_TOPIC_CHARACTERS:
        raise RequestError("A parameter is too long", topic_url[:_MAX_TOPIC_CHARACTERS])
    lease = _lease(query.get("hub.lease_seconds"), topic_url) if known == "subscribe" else None
    denied = known == "denied"
    return Verification(
        mode=known,
        topic_url=topic_url,
        challenge="" if denied or challenge is None else challenge,
        lease_seconds=lease,
        reason=storable(query.get("hub.reason") or "", MAX_REASON_CHARACTERS) if denied else "",
    )


def _lease(said: str | None, topic_url: str) -> int:
    if said is None:
        raise RequestError("Missing hub.lease_seconds parameter", topic_url)
    digits = said.lstrip("0")
    if not digits or not _is_number(digits):
        raise RequestError("hub.lease_seconds must be an integer", topic_url)
    return MAX_LEASE_SECONDS if len(digits) > 10 else min(int(digits), MAX_LEASE_SECONDS)
