"""Feeds: what a feed of RSS, Atom or JSON Feed says, and what readers will stumble over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urldefrag, urljoin
from xml.parsers import expat

from .xml import is_common_encoding

__all__ = ["MAX_BYTES", "Problem", "Report", "examine", "parse_rfc822", "parse_rfc3339"]

MAX_BYTES: Final = 32 << 20
"""More is not looked at."""
LARGE_BYTES: Final = 5_000_000
"""More is refused by some readers."""
MAX_DEPTH: Final = 200
MAX_JSON_NODES: Final = 500_000
MAX_PROBLEMS: Final = 100
"""So many of each gravity are told, the others counted."""
MAX_CHILDREN: Final = 500
MAX_TEXT_CHARACTERS: Final = 64 * 1024
_AHEAD: Final = timedelta(minutes=5)
"""By so much clocks may differ."""

_ATOM: Final = "http://www.w3.org/2005/Atom "
_OLD_ATOM: Final = "http://purl.org/atom/ns# "
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
_CONTENT: Final = "http://purl.org/rss/1.0/modules/content/ "
_BASE: Final = "http://www.w3.org/XML/1998/namespace base"
_JSON_VERSIONS: Final = {
    "https://jsonfeed.org/version/1": "1.0",
    "https://jsonfeed.org/version/1.1": "1.1",
}
_GENERIC: Final = ("application/xml", "text/xml")
_MEDIA_TYPES: Final = {
    "Atom": ("application/atom+xml", *_GENERIC),
    "RSS": ("application/rss+xml", *_GENERIC),
    "JSON Feed": ("application/feed+json", "application/json"),
}
"""What a feed may be served as, the best first."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with a feed or one of its items, and what to do about it."""

    item: int | None
    """Which one, from 1; None for the feed itself."""
    what: str
    advice: str
    is_error: bool
    """Is it against the format's rules, and not only against its advice or the habits of readers?"""


@dataclass(kw_only=True)
class Report:
    """What a feed says of itself, and what is wrong with it; empty where it does not say."""

    size: int
    format: str = ""
    version: str = ""
    title: str = ""
    items: int = 0
    newest: datetime | None = None
    self_url: str = ""
    hubs: list[str] = field(default_factory=list)
    errors: int = 0
    advices: int = 0
    _noted: list[Problem] = field(default_factory=list)

    @property
    def problems(self) -> Sequence[Problem]:
        """Those of the feed, then those of its items in their order."""
        return sorted(self._noted, key=lambda problem: problem.item or 0)

    @property
    def untold(self) -> int:
        """How many problems there are beside those of the list."""
        return self.errors + self.advices - len(self._noted)

    def error(self, what: str, advice: str, item: int | None = None) -> None:
        """Note what the format does not allow."""
        self.errors += 1
        if self.errors <= MAX_PROBLEMS:
            self._noted.append(Problem(item=item, what=what, advice=advice, is_error=True))

    def advise(self, what: str, advice: str, item: int | None = None) -> None:
        """Note what is allowed and not good."""
        self.advices += 1
        if self.advices <= MAX_PROBLEMS:
            self._noted.append(Problem(item=item, what=what, advice=advice, is_error=False))


def examine(body: bytes, *, url: str, content_type: str, now: datetime) -> Report:
    """Say what a feed is and what is wrong with it.

    ``url`` is where it was found, ``content_type`` the header it came with, ``now`` an aware time. Nothing
    is fetched, and nothing raised: a document that is no feed has that for its problem. A DOCTYPE is
    refused, and so are more than `MAX_BYTES` and elements more than 200 deep.

    The rules are those of RFC 4287, of RSS 2.0 with the RSS Advisory Board's profile and of JSON Feed 1.1.
    """
    report = Report(size=len(body))
    if len(body) > MAX_BYTES:
        report.error("It is too large to be looked at.", "Give fewer items: paginate_by, archive_by.")
        return report
    media_type, charset = _content_type(content_type)
    if body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        _JSONFeed(report, url, now).read(body)
    else:
        _read_xml(body, charset, report, url, now)
    if report.format:
        _check_media_type(report, media_type)
    if len(body) > LARGE_BYTES:
        size = f"{len(body) / 1_000_000:.1f} MB"
        report.advise(f"It has {size}.", "Some readers refuse more than 5 MB: paginate_by, archive_by.")
    return report


_charset: Final = re.compile(r";\s{0,9}charset\s{0,9}=\s{0,9}\"?([^\s;\"]{1,40})", re.IGNORECASE).search


def _content_type(header: str) -> tuple[str, str | None]:
    """Return the media type and the charset that a header says."""
    found = _charset(header[:1000])
    return header.partition(";")[0].strip().lower()[:100], found[1] if found is not None else None


def _check_media_type(report: Report, media_type: str) -> None:
    fitting = _MEDIA_TYPES[report.format]
    if media_type not in fitting:
        said = f"as {media_type}" if media_type else "without a Content-Type"
        report.error(f"It is served {said}.", f"Readers expect {fitting[0]}.")


# --- dates -------------------------------------------------------------------------------------------

_is_rfc3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
).fullmatch
_is_rfc822: Final = re.compile(
    r"(?:(?:mon|tue|wed|thu|fri|sat|sun),\s{0,9})?\d{1,2}\s{1,9}"
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\s{1,9}(?:\d{4}|\d\d)\s{1,9}"
    r"\d\d:\d\d(?::\d\d)?\s{1,9}(?:ut|gmt|[ecmp][sd]t|[a-z]|[+-]\d{4})",
    re.IGNORECASE | re.ASCII,
).fullmatch


def parse_rfc3339(text: str) -> datetime | None:
    """Return the time that Atom and JSON Feed write (RFC 3339, section 5.6), aware; None for any other."""
    if not _is_rfc3339(text):
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:  # the 31st of February
        return None


def parse_rfc822(text: str) -> datetime | None:
    """Return the time that RSS writes (RFC 822, section 5, with years of four digits), aware; or None."""
    if not _is_rfc822(text):
        return None
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


# --- what the formats have in common -----------------------------------------------------------------

_has_scheme: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S").match
_is_web_url: Final = re.compile(r"https?://[^\s/]", re.IGNORECASE).match
_is_markup: Final = re.compile(
    r"</?[A-Za-z][^<>]*>|&(?:[A-Za-z]{1,20}|#[0-9]{1,8}|#x[0-9A-Fa-f]{1,8});"
).search
_has_relative_links: Final = re.compile(
    r"<(?:a|img|audio|video|source|iframe)\s(?:[^<>]{0,500}?\s)?(?:href|src)\s{0,9}=\s{0,9}"
    r"[\"']?+(?![A-Za-z][A-Za-z0-9+.\-]*:|//|\#)",
    re.IGNORECASE,
).search


class _Checker:
    """What the formats have in common; one for each document."""

    def __init__(self, report: Report, url: str, now: datetime) -> None:
        self.report = report
        self.url = url
        self.now = now
        self._ids: dict[str, tuple[int, object]] = {}

    def know_self(self, href: str) -> None:
        """Compare where the feed says that it is with where it was found."""
        report = self.report
        if not href:
            report.advise(
                "It does not say where it is.",
                'Give it its own address (Atom and RSS: a link with rel="self"; JSON: feed_url).',
            )
            return
        try:
            report.self_url = urljoin(self.url, href)
        except ValueError:
            report.self_url = href
        if report.self_url != urldefrag(self.url)[0]:
            report.advise(
                f"It says that it is at {report.self_url}.",
                f"It was found at {self.url}: set LINKBACK_BASE_URL, or the hook feed_url.",
            )

    def check_date(self, name: str, said: str, date: datetime | None, *, item: int | None) -> None:
        """Complain of a date that could not be read or is not yet; remember the newest of an item."""
        report = self.report
        if date is None:
            wanted = "Mon, 05 Oct 2026 12:00:00 GMT" if report.format == "RSS" else "2026-10-05T12:00:00Z"
            report.error(f"{name} is no date: {_short(said)}", f"Write it as {wanted}.", item)
            return
        if date > self.now + _AHEAD:
            report.advise(
                f"{name} lies in the future: {said}",
                "Some readers hide it, others keep it on top: leave the item out until then.",
                item,
            )
        if item is not None and (report.newest is None or date > report.newest):
            report.newest = date

    def check_once(self, name: str, known: str, number: int, state: object = None) -> None:
        """Complain of an id that another item has."""
        before = self._ids.setdefault(known, (number, state))
        if before[0] == number:
            return
        what, advice = (
            f"{name} is that of item {before[0]}: {_short(known)}",
            "Readers show one of them only.",
        )
        if state is not None and state != before[1]:  # two versions of an entry (RFC 4287, section 4.1.1)
            self.report.advise(what, advice, number)
        else:
            self.report.error(what, advice, number)

    def check_content(self, html: str, number: int) -> None:
        """Complain of links that lead nowhere outside the page that the HTML comes from."""
        if _has_relative_links(html):
            self.report.advise(
                "Its HTML has relative links or pictures.",
                "Few readers find where they lead: write them with scheme and host.",
                number,
            )


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


# --- XML ---------------------------------------------------------------------------------------------


@dataclass(kw_only=True, slots=True)
class _Element:
    name: str
    attributes: Mapping[str, str]
    has_base: bool
    """Does it or an element around it say what relative URLs are relative to?"""
    texts: list[str] = field(default_factory=list)
    children: list[_Element] = field(default_factory=list)
    length: int = 0

    @property
    def text(self) -> str:
        return "".join(self.texts).strip()

    def all(self, *names: str) -> Iterator[_Element]:
        return (child for child in self.children if child.name in names)

    def first(self, *names: str) -> _Element | None:
        return next(self.all(*names), None)

    def text_of(self, *names: str) -> str:
        found = self.first(*names)
        return found.text if found is not None else ""


class _Refused(Exception):
    """The document is one that is not read on."""

    advice = "No reader needs that: leave it out."


class _OddEncoding(_Refused):
    """The document is written in what few readers know."""

    advice = "Write it in UTF-8."


def _check_encoding(name: str) -> None:
    if not is_common_encoding(name):
        raise _OddEncoding(f"Its encoding is one that few readers know: {_short(name)}")


def _read_xml(body: bytes, charset: str | None, report: Report, url: str, now: datetime) -> None:
    reader = _XMLReader(report, url, now)
    try:
        if charset is not None:
            _check_encoding(charset)
        parser = expat.ParserCreate(charset, namespace_separator=" ")
        reader.listen_to(parser)
        parser.Parse(body, True)
    except expat.ExpatError as error:
        report.error(
            f"It is not well-formed XML: line {error.lineno}, column {error.offset + 1}: "
            f"{expat.ErrorString(error.code)}.",
            "No reader shows a feed that is cut off or has a character that XML does not have.",
        )
    except _Refused as refused:
        report.error(str(refused), refused.advice)
    else:
        reader.finish()


class _XMLReader:
    """Takes the events of expat; of the document there is one item at a time, and what the feed says itself.

    What lies deeper than the parts of an item lends them its text.
    """

    def __init__(self, report: Report, url: str, now: datetime) -> None:
        self._report = report
        self._url = url
        self._now = now
        self._stack: list[_Element] = []
        self._depth = 0
        self._checker: _Atom | _RSS | None = None

    def listen_to(self, parser: expat.XMLParserType) -> None:
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.XmlDeclHandler = self._declare
        parser.StartDoctypeDeclHandler = self._refuse_doctype

    def finish(self) -> None:
        """Judge the feed when all of it was read."""
        if self._checker is not None:
            self._checker.check_feed()

    def _declare(self, _: str, encoding: str | None, __: int) -> None:
        if encoding is not None:
            _check_encoding(encoding)

    def _refuse_doctype(self, *_: object) -> None:
        raise _Refused("It has a DOCTYPE.")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused("Its elements are nested too deeply.")
        if not self._stack:
            self._begin(name, attributes)
            return
        # items that are children of what holds them, their parts, and the parts of these
        if self._depth != len(self._stack) + 1 or len(self._stack) >= self._kept:
            return
        parent = self._stack[-1]
        base = parent.has_base or _BASE in attributes
        self._stack.append(_Element(name=name, attributes=attributes, has_base=base))

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        checker: type[_Atom | _RSS]
        if name == f"{_ATOM}feed":
            checker, version = _Atom, "1.0"
        elif name == "rss":
            checker, version = _RSS, attributes.get("version", "").strip()[:10]
        else:
            raise _NoFeed(name)
        self._report.format, self._report.version = checker.format, version
        root = _Element(name=name, attributes=attributes, has_base=_BASE in attributes)
        self._checker = checker(self._report, self._url, self._now, root)
        self._kept = checker.kept
        self._stack.append(root)

    def _end(self, _: str) -> None:
        depth, self._depth = self._depth, self._depth - 1
        if depth != len(self._stack):
            return
        element = self._stack.pop()
        checker = self._checker
        assert checker is not None
        if checker.is_item(element, self._stack):
            self._report.items += 1
            checker.check_item(element, self._report.items)
        elif self._stack and len(self._stack[-1].children) < MAX_CHILDREN:
            self._stack[-1].children.append(element)

    def _text(self, text: str) -> None:
        element = self._stack[-1]
        if element.length < MAX_TEXT_CHARACTERS:
            element.texts.append(text[: MAX_TEXT_CHARACTERS - element.length])
            element.length += len(text)


class _NoFeed(_Refused):
    """The document is something else."""

    advice = "Is this the URL of the feed? It is RSS 2.0 or Atom 1.0 then."

    def __init__(self, name: str) -> None:
        namespace, _, local = name.rpartition(" ")
        local = local[:60]
        if f"{namespace} " == _OLD_ATOM:
            what = "It is Atom 0.3, which was a draft."
        elif name == f"{_RDF}RDF":
            what = "It is RSS 1.0, which is not looked at here."
        elif local == "feed":
            what = "It is a feed, but not in the namespace of Atom."
        else:
            what = f"It is no feed: its root is <{local}>."
        super().__init__(what)


class _Atom(_Checker):
    """Atom 1.0 (RFC 4287)."""

    format = "Atom"
    kept = 4  # feed, entry, author, name

    def __init__(self, report: Report, url: str, now: datetime, root: _Element) -> None:
        super().__init__(report, url, now)
        self._feed = root
        self._first_without_author = 0

    def is_item(self, element: _Element, above: Sequence[_Element]) -> bool:
        return element.name == f"{_ATOM}entry" and len(above) == 1

    def check_feed(self) -> None:
        """Section 4.1.1."""
        feed, report = self._feed, self.report
        report.title = self._check_title(feed, None)
        self._check_id(feed, None)
        self._check_updated(feed, None)
        if self._first_without_author and not self._has_author(feed, None):
            report.error(
                f"It has no author, and item {self._first_without_author} has none either.",
                "Give one to the feed, or to all items.",
            )
        links = list(feed.all(f"{_ATOM}link"))
        self._check_links(feed, None)
        report.hubs = [_href(link) for link in links if _rel(link) == "hub"]
        self.know_self(next((_href(link) for link in links if _rel(link) == "self"), ""))

    def check_item(self, entry: _Element, number: int) -> None:
        """Section 4.1.2."""
        self._check_title(entry, number)
        updated = self._check_updated(entry, number)
        known = self._check_id(entry, number)
        if known:
            self.check_once("The id", known, number, updated)
        published = entry.text_of(f"{_ATOM}published")
        if published:
            self.check_date("published", published, parse_rfc3339(published), item=number)
        if not self._has_author(entry, number) and not (
            (source := entry.first(f"{_ATOM}source")) and source.first(f"{_ATOM}author")
        ):
            self._first_without_author = self._first_without_author or number
        self._check_links(entry, number)
        content = entry.first(f"{_ATOM}content")
        if content is None and not any(_rel(link) == "alternate" for link in entry.all(f"{_ATOM}link")):
            self.report.error("It has neither content nor a link.", "Give it item_link.", number)
        for each in entry.all(f"{_ATOM}content", f"{_ATOM}summary"):
            if each.attributes.get("type") == "html" and not each.has_base:
                self.check_content(each.text, number)

    def _check_title(self, of: _Element, number: int | None) -> str:
        title = of.first(f"{_ATOM}title")
        if title is None:
            self.report.error("It has no title.", "Give it one, if only an empty one.", number)
            return ""
        text = title.text or "".join(each.text for each in title.children)  # type="xhtml" has a div
        if title.attributes.get("type", "text") == "text" and _is_markup(text):
            self.report.advise(
                f"Its title has HTML, and is said to be text: {_short(text)}",
                'Readers show it letter by letter: write plain text, or say type="html".',
                number,
            )
        return text

    def _check_id(self, of: _Element, number: int | None) -> str:
        known = of.text_of(f"{_ATOM}id")
        if not known:
            self.report.error("It has no id.", "Give it one that never changes.", number)
        elif not _has_scheme(known):
            self.report.error(
                f"The id is no URI: {_short(known)}", "Write a URL, or urn:uuid: or tag:.", number
            )
        return known

    def _check_updated(self, of: _Element, number: int | None) -> datetime | None:
        said = of.text_of(f"{_ATOM}updated")
        if not said:
            self.report.error("It does not say when it was updated.", "Give it updated.", number)
            return None
        date = parse_rfc3339(said)
        self.check_date("updated", said, date, item=number)
        return date

    def _has_author(self, of: _Element, number: int | None) -> bool:
        authors = list(of.all(f"{_ATOM}author"))
        if any(not author.text_of(f"{_ATOM}name") for author in authors):
            self.report.error("An author has no name.", "Give it a name.", number)
        return bool(authors)

    def _check_links(self, of: _Element, number: int | None) -> None:
        """Section 4.2.7."""
        report = self.report
        seen: set[tuple[str, str]] = set()
        for link in of.all(f"{_ATOM}link"):
            rel, href = _rel(link), _href(link)
            if not href:
                report.error(f"A link ({rel}) leads nowhere.", "Give it href.", number)
            elif not _has_scheme(href) and not link.has_base:
                report.advise(
                    f"A link ({rel}) is relative: {_short(href)}", "Write it with scheme and host.", number
                )
            kind = (link.attributes.get("type", ""), link.attributes.get("hreflang", ""))
            if rel == "alternate":
                if kind in seen:
                    report.error(
                        "It has two alternate links of one type and language.",
                        "Readers follow either: leave one.",
                        number,
                    )
                seen.add(kind)
            elif rel == "enclosure":
                missing = [name for name in ("length", "type") if not link.attributes.get(name)]
                if missing:
                    report.advise(
                        f"The enclosure {_short(href)} has no {' and no '.join(missing)}.",
                        "Readers cannot say what is loaded, or how much: give both.",
                        number,
                    )


def _rel(link: _Element) -> str:
    rel = link.attributes.get("rel", "alternate")
    return rel.removeprefix("http://www.iana.org/assignments/relation/")[:60]


def _href(link: _Element) -> str:
    return link.attributes.get("href", "").strip()


class _RSS(_Checker):
    """RSS 2.0 and those before it that have no namespace."""

    format = "RSS"
    kept = 4  # rss, channel, item, and what it says

    def __init__(self, report: Report, url: str, now: datetime, root: _Element) -> None:
        super().__init__(report, url, now)
        self._root = root

    def is_item(self, element: _Element, above: Sequence[_Element]) -> bool:
        return element.name == "item" and len(above) == 2 and above[1].name == "channel"

    def check_feed(self) -> None:
        """Required and optional elements of the channel."""
        report = self.report
        if not report.version:
            report.error("It does not say which version of RSS it is.", 'Write <rss version="2.0">.')
        channels = list(self._root.all("channel"))
        if len(channels) != 1:
            report.error(f"It has {len(channels)} channels.", "There is one, with all items in it.")
            return
        (channel,) = channels
        report.title = channel.text_of("title")
        for name in ("title", "link", "description"):
            if not channel.text_of(name):
                report.error(f"It has no {name}.", "RSS requires it.")
        self._check_url("The link", channel.text_of("link"), None)
        for name in ("pubDate", "lastBuildDate"):
            if said := channel.text_of(name):
                self.check_date(name, said, parse_rfc822(said), item=None)
        if report.version == "2.0":
            links = list(channel.all(f"{_ATOM}link"))
            report.hubs = [_href(link) for link in links if _rel(link) == "hub"]
            self.know_self(next((_href(link) for link in links if _rel(link) == "self"), ""))

    def check_item(self, item: _Element, number: int) -> None:
        """Elements of an item."""
        report = self.report
        if not item.text_of("title") and not item.text_of("description"):
            report.error("It has neither title nor description.", "One of them must be there.", number)
        self._check_url("The link", item.text_of("link"), number)
        if report.version == "2.0":
            self._check_guid(item, number)
            self._check_date(item, number)
        self._check_enclosures(item, number)
        author = item.text_of("author")
        if author and "@" not in author:
            report.advise(
                f"The author has no address: {_short(author)}",
                "author is an address of e-mail; a name is a dc:creator.",
                number,
            )
        for each in item.all("description", f"{_CONTENT}encoded"):
            if not each.has_base:
                self.check_content(each.text, number)

    def _check_url(self, name: str, url: str, number: int | None) -> None:
        if url and not _has_scheme(url):
            self.report.error(
                f"{name} is relative: {_short(url)}",
                "RSS has no base: write it with scheme and host.",
                number,
            )

    def _check_guid(self, item: _Element, number: int) -> None:
        guid = item.first("guid")
        if guid is None or not guid.text:
            self.report.advise(
                "It has no guid.", "Readers then show it again when its title changes.", number
            )
            return
        self.check_once("The guid", guid.text, number)
        if guid.attributes.get("isPermaLink", "true") != "false" and not _is_web_url(guid.text):
            self.report.error(
                f"The guid is said to be a URL, and is none: {_short(guid.text)}",
                'Write isPermaLink="false".',
                number,
            )

    def _check_date(self, item: _Element, number: int) -> None:
        said = item.text_of("pubDate")
        if said:
            self.check_date("pubDate", said, parse_rfc822(said), item=number)
        else:
            self.report.advise("It has no pubDate.", "Readers put it where they found it.", number)

    def _check_enclosures(self, item: _Element, number: int) -> None:
        report = self.report
        enclosures = list(item.all("enclosure"))
        if len(enclosures) > 1:
            report.advise(
                f"It has {len(enclosures)} enclosures.", "Many readers take one of them only.", number
            )
        for each in enclosures:
            missing = [name for name in ("url", "length", "type") if not each.attributes.get(name)]
            length = each.attributes.get("length") or "0"
            if missing:
                report.error(
                    f"An enclosure has no {' and no '.join(missing)}.",
                    "All three are required; a length that nobody knows is 0.",
                    number,
                )
            elif not (length.isascii() and length.isdigit()):
                report.error(
                    f"The length of an enclosure is no number: {_short(length)}",
                    "Write bytes, and 0 where nobody knows.",
                    number,
                )
            self._check_url("An enclosure", each.attributes.get("url", ""), number)


# --- JSON --------------------------------------------------------------------------------------------


class _JSONFeed(_Checker):
    """JSON Feed 1.1 and 1."""

    def read(self, body: bytes) -> None:
        report = self.report
        if body.count(b"{") + body.count(b"[") > MAX_JSON_NODES:
            report.error("It has too many values to be looked at.", "Give fewer items: paginate_by.")
            return
        try:
            feed = json.loads(body.decode())
        except UnicodeDecodeError:
            report.error("It is not in UTF-8.", "JSON Feed is always in UTF-8.")
        except json.JSONDecodeError as error:
            report.error(
                f"It is not well-formed JSON: line {error.lineno}, column {error.colno}.",
                "No reader shows a feed that is cut off.",
            )
        except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
            report.error("It is no JSON that can be read.", "It is nested too deeply, or has a huge number.")
        else:
            self._check_feed(feed)

    def _check_feed(self, feed: dict[str, Any]) -> None:
        """Section "Top-level"."""
        report = self.report
        version = feed.get("version")
        known = _JSON_VERSIONS.get(version) if isinstance(version, str) else None
        if known is None and not isinstance(feed.get("items"), list):
            report.error("It is no feed: a JSON Feed has a version and items.", "Look what is served there.")
            return
        report.format, report.version = "JSON Feed", known or ""
        if known is None:
            newest = next(reversed(_JSON_VERSIONS))
            report.error("Its version is none of JSON Feed.", f"Write {newest}.")
        report.title = self._text(feed, "title", None)
        if not isinstance(feed.get("title"), str):
            report.error("It has no title.", "Give it one, if only an empty one.")
        self._check_url(feed, "home_page_url", None)
        self._check_url(feed, "next_url", None)
        self.know_self(self._text(feed, "feed_url", None))
        report.hubs = [hub["url"] for hub in _dicts(feed.get("hubs")) if isinstance(hub.get("url"), str)]
        items = feed.get("items")
        if not isinstance(items, list):
            report.error("It has no list of items.", "Give it one, if only an empty one.")
            return
        report.items = len(items)
        for number, item in enumerate(items, 1):
            if isinstance(item, dict):
                self._check_item(item, number)
            else:
                report.error("It is no object.", "Write an object with id and content.", number)

    def _check_item(self, item: dict[str, Any], number: int) -> None:
        """Section "Items"."""
        report = self.report
        known = item.get("id")
        if not isinstance(known, str) or not known:
            report.error("It has no id, or one that is no text.", "Give it one that never changes.", number)
        else:
            self.check_once("The id", known, number)
        html = self._text(item, "content_html", number)
        if "content_html" not in item and "content_text" not in item:
            report.error("It has no content.", "Give it content_html or content_text.", number)
        self.check_content(html[:MAX_TEXT_CHARACTERS], number)
        for name in ("url", "external_url", "image"):
            self._check_url(item, name, number)
        for name in ("date_published", "date_modified"):
            if said := self._text(item, name, number):
                self.check_date(name, said, parse_rfc3339(said), item=number)
        if not item.get("date_published"):
            report.advise("It has no date_published.", "Readers put it where they found it.", number)
        for each in _dicts(item.get("attachments")):
            missing = [name for name in ("url", "mime_type") if not each.get(name)]
            if missing:
                report.error(
                    f"An attachment has no {' and no '.join(missing)}.", "Both are required.", number
                )
            self._check_url(each, "url", number)

    def _check_url(self, of: Mapping[str, Any], name: str, number: int | None) -> None:
        url = self._text(of, name, number)
        if url and not _has_scheme(url):
            self.report.error(f"{name} is relative: {_short(url)}", "Write it with scheme and host.", number)

    def _text(self, of: Mapping[str, Any], name: str, number: int | None) -> str:
        said = of.get(name)
        if said is None or isinstance(said, str):
            return said or ""
        self.report.error(f"{name} is no text.", "Write a string.", number)
        return ""


def _dicts(values: object) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []
