"""Entries: what the feeds of strangers say, as text, and which of it is new."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from html.entities import name2codepoint
from io import BytesIO
from typing import Any, Final, Literal
from xml.parsers import expat

import feedparser

from . import xml
from .feeds import parse_rfc3339
from .html import Utf8, safe_url, text_of
from .text import line, paragraphs, storable
from .websub import load_json
from .xml import Events, Malformed

__all__ = [
    "MAX_BYTES",
    "MAX_CONTENT_CHARACTERS",
    "MAX_ENTRIES",
    "Entry",
    "NotAFeed",
    "ParsedFeed",
    "only_new",
    "parse",
]

MAX_BYTES: Final = 2 << 20
"""A longer feed is refused."""
MAX_ENTRIES: Final = 500
"""Those after these are passed over."""
MAX_CONTENT_CHARACTERS: Final = 64 * 1024
MAX_SUMMARY_CHARACTERS: Final = 4096
MAX_TITLE_CHARACTERS: Final = 300
MAX_ID_CHARACTERS: Final = 2048


class NotAFeed(ValueError):
    """The document is no feed of Atom, RSS or JSON Feed that can be read; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of a feed, in the words of a stranger.

    All of it is text, and none of it markup: ``title`` and ``author`` are one line each, ``summary`` and
    ``content`` a line for each paragraph, without tags and with characters in place of references. To be
    escaped like any other text where it is shown; ``<`` is what the entry says, not the begin of a tag.
    """

    id: str
    """What it calls itself, its URL where it has no id; unique in a sane feed."""
    url: str
    """An http or https URL that is safe to link to, or ""."""
    title: str
    summary: str
    content: str
    author: str
    published_at: datetime | None
    updated_at: datetime | None
    """Both aware; for a deleted entry the second says when it was."""
    digest: str
    """The same as long as id, URL and words are: an edited entry has another."""
    deleted: bool = False
    """Did the feed say that it is gone (RFC 6721)? Then only id and time are told."""


@dataclass(frozen=True, kw_only=True)
class ParsedFeed:
    """What a feed says: ``title`` and ``url`` (of the page it belongs to) may be empty."""

    title: str
    url: str
    entries: tuple[Entry, ...]


def parse(body: bytes, *, content_type: str = "", url: str = "") -> ParsedFeed:
    """Read a feed of Atom, RSS (0.9x, 1.0, 2.0) or JSON Feed, or raise `NotAFeed`.

    ``content_type`` is the header that it came with, ``url`` where it was found, which relative URLs are
    relative to. Nothing is fetched. A DOCTYPE is refused, and so are more than `MAX_BYTES` and too many or
    too deeply nested elements; characters that XML does not have, and names of HTML's characters, are
    mended. The first `MAX_ENTRIES` count.
    """
    if len(body) > MAX_BYTES:
        raise NotAFeed("The document is too large.")
    if body[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return _parse_json(body, url)
    text, gate = _pass_gate(_as_utf8(body, content_type))
    feed: Any = feedparser.parse(
        BytesIO(text),
        response_headers={"content-type": "application/xml; charset=utf-8"},
        # both are work for HTML that is shown, and what is kept here is text
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    # RSS does not say what is HTML; feedparser guesses, and takes a lone tag for text
    is_rss = _string(feed, "version").startswith("rss")
    entries = [_entry(one, url, is_rss=is_rss) for one in feed.entries[:MAX_ENTRIES]]
    deleted = [_deleted(ref, when) for ref, when in gate.deleted]
    title = _string(feed.feed, "title")
    return ParsedFeed(
        title=_plain(title, "" if is_rss else _type(feed.feed, "title"), MAX_TITLE_CHARACTERS, one_line=True),
        url=_link(url, _string(feed.feed, "link")),
        entries=(*entries, *deleted),
    )


# --- the gate before feedparser ----------------------------------------------------------------------

_charset: Final = re.compile(r";\s{0,9}charset\s{0,9}=\s{0,9}\"?([^\s;\"]{1,40})", re.IGNORECASE).search
_DECLARATION: Final = re.compile(rb"\s*+(?:<\?xml\s[^>]{0,200}>\s*+)?")
_REFERENCE: Final = re.compile(rb"&(?:(#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,8})|([a-zA-Z][a-zA-Z0-9]{0,30}));|&")
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_OF_XML: Final = frozenset((b"amp", b"lt", b"gt", b"quot", b"apos"))
_DELETED: Final = "http://purl.org/atompub/tombstones/1.0 deleted-entry"
_ROOTS: Final = frozenset(("feed", "rss", "RDF"))
_ENTRIES: Final = {
    "http://www.w3.org/2005/Atom feed": ("http://www.w3.org/2005/Atom entry", 2),
    "rss": ("item", 3),
}
"""What entries are called, and how deep they stand, by the root of their document."""


def _as_utf8(body: bytes, content_type: str) -> bytes:
    """Return a document as UTF-8 without a declaration: the gate and feedparser see the same characters."""
    found = _charset(content_type[:1000])
    utf8 = Utf8(found[1] if found is not None else None)
    text = utf8.feed(body) + utf8.feed(b"", final=True)
    declaration = _DECLARATION.match(text)
    return text[declaration.end() :] if declaration is not None else text


def _pass_gate(text: bytes) -> tuple[bytes, _Gate]:
    """Let a document through that feedparser may see, mended where need be."""
    try:
        return text, _Gate.of(text)
    except Malformed:
        mended = _mended(text)
    try:
        return mended, _Gate.of(mended)
    except Malformed as error:
        raise NotAFeed(str(error)) from None


def _mended(text: bytes) -> bytes:
    known = _REFERENCE.sub(_mended_reference, text)
    return _NOT_XML.sub("", known.decode("utf-8", "replace")).encode()


def _mended_reference(reference: re.Match[bytes]) -> bytes:
    number, name = reference[1], reference[2]
    if number is not None:
        code = int(number[2:], 16) if number[1:2] in b"xX" else int(number[1:])
        is_character = code in (9, 10, 13) or 31 < code < 0xD800 or 0xDFFF < code < 0xFFFE
        return reference[0] if is_character or 0xFFFF < code < 0x110000 else b""
    if name in _OF_XML:
        return reference[0]
    code_point = name2codepoint.get(name.decode()) if name is not None else None
    return b"&#%d;" % code_point if code_point is not None else b"&amp;" + reference[0][1:]


class _Gate(Events):
    """Sees that a document is a feed and of sane size, and what it says is deleted."""

    def __init__(self) -> None:
        self.deleted: list[tuple[str, str]] = []

    @classmethod
    def of(cls, text: bytes) -> _Gate:
        """Return the gate that a document went through, or raise `Malformed`."""
        gate = cls()
        xml.read(text, gate, charset="utf-8")
        return gate

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if self.depth == 1 and name.rpartition(" ")[2] not in _ROOTS:
            raise Malformed("The document is no feed.")
        ref = attributes.get("ref") if name == _DELETED and self.depth <= 3 else None
        if ref and len(self.deleted) < MAX_ENTRIES:
            self.deleted.append((ref, attributes.get("when", "")))


# --- one entry ---------------------------------------------------------------------------------------

_PLAIN_TYPE: Final = "text/plain"
_MAX_AUTHOR_CHARACTERS: Final = 1000
_MAILBOX: Final = re.compile(r"\s*[^\s()<>@]{1,100}@[^\s()<>@]{1,300}\s*\(([^()]+)\)\s*").fullmatch


def _entry(one: Any, url: str, *, is_rss: bool) -> Entry:
    contents = _get(one, "content")
    content = contents[0] if isinstance(contents, list) and contents else {}
    link, author = _link(url, _string(one, "link")), _author(one)
    title, summary, said = _string(one, "title"), _string(one, "summary"), _string(content, "value")
    return _made(
        id=_string(one, "id"),
        url=link,
        said=(title, summary, said, author),
        title=_plain(title, "" if is_rss else _type(one, "title"), MAX_TITLE_CHARACTERS, one_line=True),
        summary=_plain(summary, "" if is_rss else _type(one, "summary"), MAX_SUMMARY_CHARACTERS),
        content=_plain(said, _string(content, "type"), MAX_CONTENT_CHARACTERS),
        author=_plain(author, "", MAX_TITLE_CHARACTERS, one_line=True),
        published_at=_time(_get(one, "published_parsed")),
        updated_at=_time(_get(one, "updated_parsed")),
    )


def _made(*, id: str, url: str, said: Iterable[str], **words: Any) -> Entry:  # noqa: A002
    known = storable(id.strip(), MAX_ID_CHARACTERS) or url
    digest = sha256("\0".join((known, url, *said)).encode("utf-8", "replace")).hexdigest()[:32]
    return Entry(id=known or digest, url=url, digest=digest, **words)


def _deleted(ref: str, when: str) -> Entry:
    return _made(
        id=ref,
        url="",
        said=("deleted",),
        title="",
        summary="",
        content="",
        author="",
        published_at=None,
        updated_at=parse_rfc3339(when.strip()),
        deleted=True,
    )


def _author(one: Any) -> str:
    said, detail = _string(one, "author")[:_MAX_AUTHOR_CHARACTERS], _get(one, "author_detail")
    name, address = _string(detail, "name"), _string(detail, "email")
    if name and said in (name, f"{name} ({address})"):
        return name
    # RSS: an address and the name as its comment, in which feedparser gets the newer domains wrong
    mailbox = _MAILBOX(said)
    return mailbox[1] if mailbox is not None else said


def _link(url: str, href: str) -> str:
    return safe_url(url, href) if href.strip() else ""


def _get(of: Any, name: str) -> Any:
    # feedparser's own get() looks elsewhere, too, and warns that it does
    return dict.get(of, name) if isinstance(of, dict) else None


def _string(of: Any, name: str) -> str:
    value = _get(of, name)
    return value if isinstance(value, str) else ""


def _type(of: Any, name: str) -> str:
    return _string(_get(of, f"{name}_detail"), "type")


def _plain(said: str, media_type: str, limit: int, *, one_line: bool = False) -> str:
    """Return what is said as text: without the tags if it is markup, which all is but plain text."""
    if media_type != _PLAIN_TYPE and ("<" in said or "&" in said):
        said = text_of(said, limit)
    return line(said, limit) if one_line else paragraphs(said, limit)


def _time(parsed: Any) -> datetime | None:
    if not isinstance(parsed, time.struct_time):
        return None
    try:
        return datetime.fromtimestamp(calendar.timegm(parsed), UTC)
    except (ValueError, OverflowError, OSError):
        return None


# --- JSON Feed ---------------------------------------------------------------------------------------


def _parse_json(body: bytes, url: str) -> ParsedFeed:
    feed = load_json(body)
    items = feed.get("items") if feed is not None else None
    if feed is None or not isinstance(items, list):
        raise NotAFeed("The document is no JSON Feed.")
    found = [one for one in items[:MAX_ENTRIES] if isinstance(one, dict)]
    return ParsedFeed(
        title=_plain(_string(feed, "title"), _PLAIN_TYPE, MAX_TITLE_CHARACTERS, one_line=True),
        url=_link(url, _string(feed, "home_page_url")),
        entries=tuple(_item(one, url) for one in found),
    )


def _item(one: dict[str, Any], url: str) -> Entry:
    """Section "Items" of JSON Feed 1.1; a number for an id is taken as its digits."""
    known = one.get("id")
    said = [_string(one, name) for name in ("title", "summary", "content_html", "content_text")]
    title, summary, markup, text = said
    author = _string(next(iter(_authors(one)), None), "name")
    return _made(
        id=str(known) if isinstance(known, str | int | float) else "",
        url=_link(url, _string(one, "url")),
        said=(*said, author),
        title=_plain(title, _PLAIN_TYPE, MAX_TITLE_CHARACTERS, one_line=True),
        summary=_plain(summary, _PLAIN_TYPE, MAX_SUMMARY_CHARACTERS),
        content=_plain(markup or text, "" if markup else _PLAIN_TYPE, MAX_CONTENT_CHARACTERS),
        author=_plain(author, _PLAIN_TYPE, MAX_TITLE_CHARACTERS, one_line=True),
        published_at=parse_rfc3339(_string(one, "date_published")),
        updated_at=parse_rfc3339(_string(one, "date_modified")),
    )


def _authors(one: dict[str, Any]) -> list[Any]:
    authors = one.get("authors")
    return authors if isinstance(authors, list) else [one.get("author")]


# --- what is new -------------------------------------------------------------------------------------


def only_new(old: bytes, new: bytes, *, content_type: str = "") -> bytes | None:
    """Return the feed ``new`` without the entries that stood in ``old`` letter by letter (WebSub, section 7).

    For Atom and RSS 2.0 and before; everything else stays as it is, byte for byte. None where there is
    nothing to leave out: for all other documents, and where the elements round the entries have changed,
    which may give the same letters another meaning.
    """
    charset = _charset(content_type[:1000])
    before, after = (_cut_up(body, charset and charset[1]) for body in (old, new))
    if before is None or after is None or before.context != after.context:
        return None
    known = {before.body[start:end] for start, end in before.entries}
    kept, position = [], 0
    for start, end in after.entries:
        if after.body[start:end] in known:
            kept.append(after.body[position:start])
            position = end
    return b"".join((*kept, after.body[position:])) if kept else None


def _cut_up(body: bytes, charset: str | None) -> _Pieces | None:
    if len(body) > MAX_BYTES:
        return None
    pieces = _Pieces(body.lstrip(b" \t\r\n"))
    try:
        xml.read(pieces.body, pieces, charset=charset)
    except Malformed:
        return None
    return pieces if pieces.context else None


class _Pieces(Events):
    """Notes where the entries of a feed begin and end, and what stands round them."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.context: list[bytes] = []
        """The declaration, and the start tags that all entries are in."""
        self.entries: list[tuple[int, int]] = []
        self._entry = ("", 0)
        """What an entry is called, and how deep it stands."""
        self._began = 0
        self._looked_at: Literal["tag", "entry", ""] = ""
        """What it is whose end shows when the next token begins."""

    def begin(self, parser: expat.XMLParserType) -> None:
        self._parser = parser
        # each token on its own: the next one begins where the last one ended
        parser.buffer_text = False
        parser.DefaultHandlerExpand = self.text

    def _note(self) -> int:
        """Say where the reader is, and that what was looked at last ended here."""
        here = self._parser.CurrentByteIndex
        if self._looked_at == "tag":
            self.context.append(self.body[self._began : here])
        elif self._looked_at == "entry":
            self.entries.append((self._began, here))
        self._looked_at = ""
        return here

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        here = self._note()
        if self.depth == 1:
            if (entry := _ENTRIES.get(name)) is None:
                raise Malformed("The document is none that has entries to leave out.")
            self._entry = entry
            declaration = _DECLARATION.match(self.body)
            self.context.append(declaration[0] if declaration is not None else b"")
        if self.depth < self._entry[1] and (self.depth == 1 or name == "channel"):
            self._began, self._looked_at = here, "tag"
        elif (name, self.depth) == self._entry:
            self._began = here

    def end(self, name: str) -> None:
        self._note()
        if (name, self.depth) == self._entry:
            self._looked_at = "entry"

    def text(self, text: str) -> None:
        self._note()
