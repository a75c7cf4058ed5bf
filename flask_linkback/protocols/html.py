"""HTML: the links, the title, the words round a link and single elements of a page that comes in chunks.

A page has a hundred thousand tags and one link to us, so two share the work. ``_Cutter`` only knows where it
is (in a tag, a comment, a script ...) and cuts the page between tags; ``_Reader``, an lxml parser, is shown
the head and those pieces in which a wanted host is named at all. Both follow "Tokenization" of the HTML
standard; the tests hold them against each other.

`parse` shows a page to those who want all of its tags, `text_of` makes plain text of a piece of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urljoin, urlsplit

from lxml import etree

from .text import paragraphs, plain

__all__ = [
    "CITING",
    "COMMENT",
    "HTML_TYPES",
    "MAX_DEPTH",
    "MAX_LINKS",
    "MAX_TITLE_CHARACTERS",
    "MAX_URL_CHARACTERS",
    "NOT_SHOWN",
    "SEPARATORS",
    "Element",
    "ElementScan",
    "Found",
    "LinkScan",
    "Links",
    "TooDeep",
    "Utf8",
    "absolute",
    "codec_of",
    "outgoing_links",
    "parse",
    "safe_url",
    "text_and_excerpt",
    "text_of",
]

HTML_TYPES: Final = frozenset(("", "text/html", "application/xhtml+xml"))
"""The media types that are read as HTML; an answer that says none is taken for a page."""

MAX_TITLE_CHARACTERS: Final = 300
MAX_LINKS: Final = 1000
MAX_URL_CHARACTERS: Final = 2048
CHUNK_BYTES: Final = 16 * 1024
HEAD_BYTES: Final = 64 * 1024

# --- which bytes are what ---------------------------------------------------------------------------------

_SNIFFED_BYTES: Final = 1024
_DECLARED = re.compile(
    rb"""<(?:meta\s[^<>]{0,200}?\bcharset|\?xml\s[^<>]{0,100}?\bencoding)\s*=\s*["']?\s*([\w.:-]{1,40})""",
    re.IGNORECASE,
)
# What Python calls the encodings of the Encoding standard. Anything else (utf-7, punycode ...) is no text.
_CODECS: Final = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
    "utf-16": "utf-16-le",
} | {
    name: name
    for name in (
        *("utf-8", "utf-16-le", "utf-16-be", "gb18030", "big5hkscs", "cp932", "cp949", "cp866", "cp874"),
        *("euc_jp", "iso2022_jp", "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic"),
        *(f"iso8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
        *(f"cp{page}" for page in range(1250, 1259)),
    )
}
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Utf8:
    """Makes UTF-8 of a page's bytes. The order of the Encoding standard: mark, HTTP, the page itself."""

    def __init__(self, charset: str | None) -> None:
        self._charset = charset
        self._first: bytes | None = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def feed(self, chunk: bytes, *, final: bool = False) -> bytes:
        """Take bytes, return text; the first KiB waits until it is whole."""
        if self._first is not None:
            self._first += chunk
            if len(self._first) < _SNIFFED_BYTES and not final:
                return b""
            chunk, self._first = self._start(self._first), None
        if self._decoder is None:
            return chunk
        return self._decoder.decode(chunk, final).encode("utf-8", "replace")

    def _start(self, first: bytes) -> bytes:
        for mark, name in _MARKS:
            if first.startswith(mark):
                return self._use(name, first[len(mark) :])
        known = codec_of(self._charset) if self._charset else None
        if known is None:
            known = _declared(first)
        if known is None:
            known = "utf-8" if self._charset or _is_utf8(first) else "cp1252"
        return self._use(known, first)

    def _use(self, name: str, first: bytes) -> bytes:
        if name != "utf-8":
            self._decoder = codecs.getincrementaldecoder(name)("replace")
        return first


def codec_of(label: str) -> str | None:
    """Return what Python calls the encoding of the web that a label names; None for any other."""
    try:
        return _CODECS.get(codecs.lookup(label.strip().strip("\"'")).name)
    except (LookupError, ValueError):
        return None


def _declared(first: bytes) -> str | None:
    match = _DECLARED.search(first, 0, _SNIFFED_BYTES)
    name = codec_of(match[1].decode("ascii", "replace")) if match is not None else None
    # What could be read as ASCII is no UTF-16, whatever it says.
    return "utf-8" if name is not None and name.startswith("utf-16") else name


def _is_utf8(first: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(first)
    except UnicodeDecodeError:
        return False
    return True


# --- where a page may be cut ------------------------------------------------------------------------------

MAX_OPEN_BYTES: Final = 32 * 1024

_WS: Final = rb"\t\n\f\r "
_NAME: Final = rb"[" + _WS + rb"/]*+=?+[^" + _WS + rb"/>=]*+[" + _WS + rb"]*+"
# A value without quotes is complete only when its end is seen.
_BARE: Final = rb"[^" + _WS + rb">\"'][^" + _WS + rb">]*+(?=[" + _WS + rb">])"
_VALUE: Final = rb"=[" + _WS + rb"]*+(?:\"[^\"]*+\"|'[^']*+'|" + _BARE + rb"|(?=>))"
_ATTRIBUTES: Final = rb"(?:(?!>)" + _NAME + rb"(?:" + _VALUE + rb"|(?!=)))*"
_TAG_NAME: Final = rb"[a-zA-Z][^" + _WS + rb"/>]*+"
_END_OF_NAME: Final = rb"[" + _WS + rb"/>]"
_TURNS: Final = (
    rb"[sStTxXiInNpP/](?i:cript|tyle|extarea|itle|mp|frame|oembed|oframes|laintext|emplate|template)"
)
# Text and plain tags, as many as there are: nearly all of a page goes through this one expression. It stops
# before a tag that changes the way of reading, and before what is not complete. What repeats is told apart by
# its first character, so nothing is tried twice. Possessive are only single sets of characters: Python before
# 3.11.5 gets possessive groups wrong.
_PLAIN = re.compile(
    rb"(?:[^<]*+<(?:/(?![tT])[a-zA-Z][^>=]*+>"
    rb"|(?!" + _TURNS + _END_OF_NAME + rb")/?" + _TAG_NAME + _ATTRIBUTES + rb">"
    rb"|(?=[^/!?a-zA-Z])))*[^<]*+"
)
_TAG_START = re.compile(rb"</?(" + _TAG_NAME + rb")")
_ATTRIBUTES_OF_TAG = re.compile(rb"(?:(?!>)" + _NAME + rb"(?:(" + _VALUE + rb")|(?!=)))*")
_OPEN_VALUE = re.compile(_NAME + rb"=[" + _WS + rb"]*+([\"']?)")
_COMMENT_END = re.compile(rb"--!?>")
_SCRIPT_TURN = re.compile(rb"<!--|-->|<(/?)script(?=" + _END_OF_NAME + rb")", re.IGNORECASE)
_RAW_END = {
    name: re.compile(rb"</" + name + rb"(?=" + _END_OF_NAME + rb")", re.IGNORECASE)
    for name in (b"style", b"textarea", b"title", b"xmp", b"iframe", b"noembed", b"noframes")
}
_LONGEST_END: Final = len(b"</textarea>")


class _Cutter:
    """Cuts a page into pieces that begin and end between tags, never inside a tag, a comment or a script.

    What has no end within 32 KiB (a script, an attribute with a picture in it) is passed on shortened.
    """

    def __init__(self) -> None:
        self.templates = 0  # how many <template> are open after the last piece
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes, return the piece that is complete now, which may be empty."""
        data = self._rest + chunk
        position = 0
        while (position := _match_end(_PLAIN, data, position)) < len(data):
            end = self._turn_end(data, position)
            if end < 0:
                break
            position = end
        rest = data[position:]
        self._rest = _shortened(rest) if len(rest) > MAX_OPEN_BYTES else rest
        return data[:position]

    def close(self) -> bytes:
        """Return what was begun and never ended."""
        return self._rest

    def _turn_end(self, data: bytes, start: int) -> int:
        """Return the end of what begins with the "<" at ``start``, or -1 as long as that is not there."""
        follows = data[start + 1 : start + 2]
        if follows == b"!" and b"<!--".startswith(data[start : start + 4]):
            return _comment_end(data, start + 4) if len(data) >= start + 4 else -1
        if follows == b"/":
            follows = data[start + 2 : start + 3]
            if follows == b">":
                return start + 3
        if follows.isalpha():
            return self._tag_end(data, start)
        if not follows:
            return -1
        return data.find(b">", start + 2) + 1 or -1  # a bogus comment

    def _tag_end(self, data: bytes, start: int) -> int:
        name, end, empty = _tag(data, start)
        if data[end : end + 1] != b">":
            return -1
        closing = data[start + 1 : start + 2] == b"/"
        if name == b"template" and not empty:
            self.templates = max(0, self.templates + (-1 if closing else 1))
        return end + 1 if closing or empty else _raw_end(name, data, end + 1)


def _match_end(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    match = pattern.match(data, position)
    return match.end() if match is not None else position


def _tag(data: bytes, start: int) -> tuple[bytes, int, bool]:
    """Return the name of a tag, where its attributes end or are not complete, and whether it ends in "/>"."""
    tag = _TAG_START.match(data, start)
    attributes = _ATTRIBUTES_OF_TAG.match(data, tag.end()) if tag is not None else None
    if tag is None or attributes is None:
        return b"", len(data), False
    end = attributes.end()
    # libxml2 takes <script/> at its word as XHTML does. The slash of href=x/ is part of the value.
    empty = data.endswith(b"/", tag.end(), end) and attributes.end(1) != end
    return tag[1].lower(), end, empty


def _comment_end(data: bytes, position: int) -> int:
    for short in (b">", b"->"):
        if data.startswith(short, position):
            return position + len(short)
    match = _COMMENT_END.search(data, position)
    return match.end() if match is not None else -1


def _raw_end(name: bytes, data: bytes, position: int) -> int:
    """Return where the text of an element ends that has no markup in it: before its end tag."""
    if name == b"script":
        return _script_end(data, position)[0]
    if name == b"plaintext":
        return -1
    if name in _RAW_END:
        match = _RAW_END[name].search(data, position)
        return match.start() if match is not None else -1
    return position


def _script_end(data: bytes, position: int) -> tuple[int, int]:
    """Return where a script ends, or -1 and how deep it is in <!-- (1) and <script> within that (2)."""
    escaped = 0
    while (match := _SCRIPT_TURN.search(data, position)) is not None:
        position = match.end()
        if match[0] == b"<!--":
            escaped = escaped or 1
            position -= 2  # its dashes may be those of -->
        elif match[0] == b"-->":
            escaped = 0
        elif match[1] and escaped < 2:
            return match.start(), escaped
        elif escaped:
            escaped = 1 if match[1] else 2
    return -1, escaped


def _shortened(rest: bytes) -> bytes:
    """Return something short that goes on as this unfinished construct would."""
    if rest.startswith(b"<!--"):
        return b"<!-- " + rest[-3:]
    name, end, _ = _tag(rest, 0)
    if not name:
        return b"<?"
    name = name[:100]
    if rest[end : end + 1] == b">":
        escaped = _script_end(rest, end)[1] if name == b"script" else 0
        return b"<" + name + b">" + (b"", b"<!-- ", b"<!-- <script ")[escaped] + rest[-_LONGEST_END:]
    start = (b"</" if rest.startswith(b"</") else b"<") + name
    value = _OPEN_VALUE.match(rest, end)
    return start + b" x" if value is None else start + b" x=" + (value[1] or b"x")


# --- what stands there ------------------------------------------------------------------------------------

MAX_DEPTH: Final = 512
MAX_SEEN: Final = 2000
MAX_LINK_CHARACTERS: Final = 1000
MAX_PENDING: Final = 20
_BITE_BYTES: Final = 2048
# How many characters of text are kept on either side of a link for each one of its excerpt: there may be
# much white space among them
_SPARE: Final = 8

NOT_SHOWN: Final = frozenset(
    (
        *(
            "iframe",
            "noembed",
            "noframes",
            "noscript",
            "script",
            "style",
            "svg",
            "template",
            "textarea",
        ),
        "title",
    ),
)
_BLOCKS: Final = frozenset(
    (
        *(
            "address",
            "article",
            "aside",
            "blockquote",
            "body",
            "caption",
            "center",
            "dd",
            "details",
            "dialog",
        ),
        *(
            "div",
            "dl",
            "dt",
            "fieldset",
            "figcaption",
            "figure",
            "footer",
            "form",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
        ),
        *("h6", "header", "hgroup", "li", "main", "menu", "nav", "ol", "p", "pre", "search", "section"),
        *("summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
    ),
)
SEPARATORS: Final = frozenset((*_BLOCKS, "br", "hr", "img", "option"))
_SPACE = re.compile(r"\s+")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
# What need not be taken apart
_USUAL_URL = re.compile(r"https?://[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?:[/?#][!-~]*)?")
_ROOTED = re.compile(r"/(?:[a-zA-Z0-9_~-][!-.0-~]*(?:/[a-zA-Z0-9_~-][!-.0-~]*)*/?)?")
_LINE_BREAKS: Final = dict.fromkeys(map(ord, "\t\n\r"))
# What may stand in a head (HTML, "The in head insertion mode"), and before what of that lxml begins a body
_LATER_IN_HEAD: Final = frozenset(("basefont", "bgsound", "noscript", "template"))
_IN_HEAD: Final = _LATER_IN_HEAD | {"base", "link", "meta", "script", "style", "title"}
_ESCAPES: Final = {ord(character): f"%{ord(character):02X}" for character in ' "<>`'}
# Names in any script, but no credentials and nothing percent-encoded
_SERVER = re.compile(r"(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A link that was wanted: ``text`` is its own, ``excerpt`` is cut from that of the block it stands in."""

    url: str
    rels: tuple[str, ...]
    text: str
    excerpt: str


class TooDeep(Exception):
    """So many elements are open that libxml2 would search among them for too long.

    It looks for the start of each end tag among all open elements: half a MiB of ``<b>`` and as much of
    ``</i>`` keep it busy for most of a minute.
    """


class Links:
    """Makes absolute URLs of hrefs and asks, about once for each, whether it is wanted."""

    def __init__(self, wanted: Callable[[str], Hashable | None], base_url: str) -> None:
        self.base_url = base_url
        self._origin = (absolute(base_url, "/") or "").removesuffix("/")
        self._wanted = wanted
        self._based = False
        self._seen: dict[str, tuple[str, Hashable] | None] = {}

    def rebase(self, href: str) -> None:
        """Take the first <base href> of the page."""
        url = None if self._based else absolute(self.base_url, href)
        if url is not None:
            self.base_url = url
            self._origin = (absolute(url, "/") or "").removesuffix("/")
            self._based = True
            self._seen.clear()

    def look_up(self, href: str) -> tuple[str, Hashable] | None:
        """Return the URL and its key if it is wanted."""
        if len(href) > MAX_URL_CHARACTERS:
            return None
        if href not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            url = (
                self._origin + href
                if self._origin and _ROOTED.fullmatch(href)
                else absolute(self.base_url, href)
            )
            key = None if url is None else self._wanted(url)
            self._seen[href] = None if url is None or key is None else (url, key)
        return self._seen[href]


def absolute(base_url: str, href: str) -> str | None:
    """Return the http or https URL that an href stands for, None when it is none ("URL" standard, 4.4)."""
    if _USUAL_URL.fullmatch(href):
        return href
    href = href.strip("\t\n\f\r ").translate(_LINE_BREAKS)
    scheme = _SCHEME.match(href)
    if scheme is not None and scheme[0].lower() not in ("http:", "https:"):
        return None
    try:
        url = urljoin(base_url, href)
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname
        return parts.scheme + url[len(parts.scheme) :] if usable else None
    except ValueError:
        return None


def safe_url(base_url: str, href: str) -> str:
    """Return an absolute URL that may be stored and shown, or "".

    It is http or https, of sane length, without credentials, and without characters that are not seen or
    that could end an attribute somewhere: a blank, a quote, an angle bracket are percent-encoded.
    """
    url = (absolute(base_url, href) or "") if len(href) <= MAX_URL_CHARACTERS else ""
    url = url.translate(_ESCAPES)
    if len(url) > MAX_URL_CHARACTERS or not url.isprintable() or "\\" in url or "\ufffd" in url:
        return ""
    try:
        parts = urlsplit(url)
        return url if _SERVER.fullmatch(parts.netloc) and parts.port != 0 else ""
    except ValueError:  # a port of more than 65535
        return ""


class _Pending:
    """A link whose block has not ended yet."""

    def __init__(
        self,
        *,
        key: Hashable,
        url: str,
        rels: tuple[str, ...],
        before: str,
        cut: bool,
        block: int,
        empty: bool,
    ) -> None:
        self.key = key
        self.block = block
        self.open = not empty
        self._url = url
        self._rels = rels
        self._before = before
        self._cut = cut
        self._inside: list[str] = []
        self._after: list[str] = []
        self._inside_length = self._after_length = 0

    def add(self, text: str, limit: int) -> bool:
        """Take text of the link, then of what follows it; True as long as more is of use."""
        if self.open:
            self._inside.append(text[:MAX_LINK_CHARACTERS])
            self._inside_length += len(text)
            self.open = self._inside_length < MAX_LINK_CHARACTERS
            return True
        self._after.append(text[:limit])
        self._after_length += len(text)
        return self._after_length < limit

    def found(self, limit: int, *, complete: bool) -> Found:
        """Return the link with all that is known of its surroundings."""
        text, excerpt = text_and_excerpt(
            self._before,
            "".join(self._inside),
            "".join(self._after),
            limit,
            cut=self._cut,
            complete=complete,
        )
        return Found(url=self._url, rels=self._rels, text=text, excerpt=excerpt)


def text_and_excerpt(
    before: str, inside: str, after: str, limit: int, *, cut: bool, complete: bool
) -> tuple[str, str]:
    """Return what a link says and what is said round it, each as one line.

    ``cut`` and not ``complete`` say that there was more before and after it.
    """
    parts = (plain(text) for text in (before, inside, after))
    before, inside, after = _SPACE.sub(" ", "\0".join(parts)).split("\0")
    before = before.lstrip()
    if not before or before.endswith(" "):
        inside = inside.lstrip()
    if not before + inside or (before + inside).endswith(" "):
        after = after.lstrip()
    excerpt = _window("…" + before if cut else before, inside, after if complete else after + "…", limit)
    return inside.strip(), excerpt


def _window(before: str, inside: str, after: str, limit: int) -> str:
    """Cut a text to a number of characters round its middle; "…" stands where something is missing."""
    text = (before + inside + after).rstrip()
    if len(text) <= limit:
        return text
    room = max(0, limit - len(inside))
    start = max(0, min(len(before) - room // 2, len(text) - limit))
    cut = text[start : start + limit]
    if start and cut:
        cut = "…" + cut[1:].lstrip()
    if start + limit < len(text) and cut:
        cut = cut[:-1].rstrip() + "…"
    return cut


class _Reader:
    """The target of an lxml parser that begins somewhere between two tags of a page."""

    def __init__(self, scan: LinkScan, links: Links, templates: int) -> None:
        self.pending: list[_Pending] = []
        self.depth = 0
        self.body = False
        self._body_is_new = False  # nothing came since it began but what belongs in a head
        self._scan = scan
        self._links = links
        self._citing = scan.citing
        self._limit = scan.excerpt_length
        self._keep = scan.excerpt_length * _SPARE
        self._templates = 0
        self._hidden = 0
        self._svgs = 0
        self._title: str | None = None
        self._blocks: list[int] = []  # where the text of each open one begins
        self._text: list[str] = []  # the last of the text so far
        self._length = 0  # that of all the text
        self._enough = 0  # the length at which the first of it is forgotten
        self._parser = etree.HTMLParser(
            target=cast(Any, self), encoding="utf-8", no_network=True, huge_tree=False
        )
        self._parser.feed(b"<template>" * min(templates, MAX_DEPTH // 2))

    def feed(self, piece: bytes) -> None:
        """Read on; ``TooDeep`` when too many elements are open."""
        _bites(self._parser, piece)

    def finish(self) -> None:
        """Read what the parser still holds back and settle what is pending."""
        self._parser.close()
        self.settle(complete=True)

    def settle(self, *, complete: bool, block: int = 0) -> None:
        """Put links among those found: all whose block is this one or within it."""
        for one in [one for one in self.pending if one.block >= block]:
            self._settle_one(one, complete=complete)

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Called by lxml."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooDeep
        if self._body_is_new and not self._templates:
            self._doubt_body(tag)
        if tag == "a":
            if self.pending:
                self._end_of_link()  # they do not nest
            if "href" in attributes and not self._templates:
                self._link(attributes["href"], attributes.get("rel", ""))
        elif tag in SEPARATORS:
            self.data(" ")
            if tag in _BLOCKS:
                self._blocks.append(self._length)
                if tag == "body" and not self.body:
                    self.body = self._body_is_new = True
        elif tag in NOT_SHOWN:
            self._hidden += 1
            self._templates += tag == "template"
            self._svgs += tag == "svg"
            if tag == "title" and self._scan.title is None and not self._svgs and not self._templates:
                self._title = ""
        elif tag == "base" and "href" in attributes and not self._templates:
            self._scan.rebase(attributes["href"])
        elif tag == "meta" and not self.body and not self._templates:
            self._scan.meta(attributes)
        if self._citing and tag in self._citing and not self._templates:
            self._cite(self._citing[tag], attributes)

    def _doubt_body(self, tag: str) -> None:
        """See whether the body that began was one of lxml's own, before what still belongs in the head.

        In a page without ``<head>``, lxml takes the elements for the body's that HTML 4 did not have there.
        """
        if tag in _LATER_IN_HEAD:
            self.body = False
        elif self.body or tag not in _IN_HEAD:
            self.body, self._body_is_new = True, False

    def end(self, tag: str) -> None:
        """Called by lxml, once for each start."""
        self.depth -= 1
        if tag == "a":
            if self.pending:
                self._end_of_link()
        elif tag in SEPARATORS:
            if tag in _BLOCKS:
                if self.pending:
                    self.settle(complete=True, block=len(self._blocks))
                self._blocks.pop()
            self.data(" ")
        elif tag in NOT_SHOWN:
            self._hidden -= 1
            self._templates -= tag == "template"
            self._svgs -= tag == "svg"
            if tag == "title" and self._title is not None:
                self._scan.title = _collapsed(self._title)[:MAX_TITLE_CHARACTERS].rstrip() or None
                self._title = None

    def data(self, data: str) -> None:
        """Called by lxml; the most frequent of all."""
        if self._hidden:
            if self._title is not None and len(self._title) < MAX_TITLE_CHARACTERS * _SPARE:
                self._title += data[: MAX_TITLE_CHARACTERS * _SPARE]
            return
        if self._body_is_new and not data.isspace():
            self.body, self._body_is_new = True, False
        self._text.append(data)
        self._length += len(data)
        if self._length > self._enough:
            self._forget()
        if self.pending:
            for one in [one for one in self.pending if not one.add(data, self._keep)]:
                self._settle_one(one, complete=False)

    def close(self) -> None:
        """Called by lxml."""

    def _settle_one(self, one: _Pending, *, complete: bool) -> None:
        self.pending.remove(one)
        self._scan.found[one.key] = one.found(self._limit, complete=complete)

    def _forget(self) -> str:
        text = "".join(self._text)[-self._keep :] if self._keep else ""
        self._text = [text]
        self._enough = self._length + CHUNK_BYTES
        return text

    def _end_of_link(self) -> None:
        for one in self.pending:
            one.open = False

    def _cite(self, names: Collection[str], attributes: Mapping[str, str]) -> None:
        """Take the URLs of an element that is a link without words of its own."""
        for name in names:
            if name in attributes:
                self._link(attributes[name], attributes.get("rel", ""), empty=True)

    def _link(self, href: str, rel: str, *, empty: bool = False) -> None:
        rels = tuple(dict.fromkeys(rel.lower().split()))
        if not self._scan.without_rels.isdisjoint(rels):
            return
        answer = self._links.look_up(href)
        if answer is None:
            return
        url, key = answer
        if len(self._scan.found) >= MAX_LINKS or key in self._scan.found:
            return
        if any(one.key == key for one in self.pending):
            return
        if len(self.pending) >= MAX_PENDING:
            self._settle_one(self.pending[0], complete=False)
        text = self._forget()
        before = self._length - self._blocks[-1] if self._blocks else self._length
        self.pending.append(
            _Pending(
                key=key,
                url=url,
                rels=rels,
                before=text[max(0, len(text) - before) :],
                cut=before > len(text),
                block=len(self._blocks),
                empty=empty,
            ),
        )


def _collapsed(text: str) -> str:
    return _SPACE.sub(" ", plain(text)).strip()


# --- the scan ---------------------------------------------------------------------------------------------

# A host may be written with character references
_ENCODED = re.compile(rb"&(?:#|period;|hyphen;|dash;)")
_ENCODED_HREF = re.compile(rb"href\s{0,9}=[^>]{0,99}?&(?:#|period;|hyphen;|dash;)")
_ENCODED_URL = re.compile(rb"(?:href|src|cite|data|poster)\s{0,9}=[^>]{0,99}?&(?:#|period;|hyphen;|dash;)")
_STATUS = re.compile(r"\s*([1-5][0-9]{2})(?![0-9])")
_RESTART_DEPTH: Final = 64
CITING: Final[Mapping[str, Collection[str]]] = {
    **dict.fromkeys(("area", "link"), ("href",)),
    **dict.fromkeys(("audio", "embed", "iframe", "img", "source", "track"), ("src",)),
    **dict.fromkeys(("blockquote", "del", "ins", "q"), ("cite",)),
    "object": ("data",),
    "video": ("src", "poster"),
}
"""The elements beside ``<a href>`` that point to another page or show it, and the attributes that name it."""
_LINGER_BYTES: Final = 1024


class LinkScan:
    """Looks in a page for links that are wanted; what it keeps does not grow with the page.

    ``wanted`` is given absolute http and https URLs, each about once, and returns a key, or None. Of each
    key the first ``<a href>`` is found: no image, no text, nothing in a comment, script, textarea, template.
    ``hosts``, in lower case, are all that a wanted URL can have: what names none of them is skipped quickly.
    ``stop_when`` so many are found (and the head is read) ``feed`` asks for no more; None reads all. Links
    with one of the rels ``without_rels`` are passed over. ``citing`` says which attributes of which other
    elements are links too. ``status`` is the number that the head says instead of the server, by
    ``<meta http-equiv="Status" content="410 Gone">``.
    """

    def __init__(
        self,
        wanted: Callable[[str], Hashable | None],
        *,
        base_url: str,
        hosts: Collection[str] | None = None,
        excerpt_length: int = 200,
        charset: str | None = None,
        stop_when: int | None = 1,
        without_rels: Collection[str] = (),
        citing: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.title: str | None = None
        self.status: int | None = None
        self.found: dict[Hashable, Found] = {}
        self.excerpt_length = max(0, excerpt_length)
        self.without_rels = frozenset(without_rels)
        self.citing = citing or {}
        self._hosts = hosts
        self._stop_when = stop_when
        self._links = Links(wanted, base_url)
        self._needles = _needles(hosts, base_url)
        self._encoded = _ENCODED_URL if self.citing else _ENCODED_HREF
        self._utf8 = Utf8(charset)
        self._cutter = _Cutter()
        self._reader: _Reader | None = None
        self._buffer = b""
        self._before = b""  # the piece before this one
        self._before_templates = 0
        self._head_bytes = 0
        self._idle = 0
        self._in_head = True

    def feed(self, chunk: bytes) -> bool:
        """Take bytes of the page; True when all that is wanted is found, so that no more are needed."""
        self._buffer += self._utf8.feed(chunk)
        while len(self._buffer) >= CHUNK_BYTES and not self._done():
            data, self._buffer = self._buffer[:CHUNK_BYTES], self._buffer[CHUNK_BYTES:]
            self._piece(data)
        return self._done()

    def close(self) -> None:
        """Say that this was the last of the page."""
        if not self._done():
            self._piece(self._buffer + self._utf8.feed(b"", final=True))
            self._read(self._cutter.close())
        if self._reader is not None:
            self._finish(self._reader)
        self._buffer = self._before = b""

    def rebase(self, href: str) -> None:
        """Called by the reader for <base href>."""
        self._links.rebase(href)
        self._needles = _needles(self._hosts, self._links.base_url)

    def meta(self, attributes: Mapping[str, str]) -> None:
        """Called by the reader for <meta> before the body; behind the head it does not know where it is."""
        if self._in_head and self.status is None and attributes.get("http-equiv", "").lower() == "status":
            status = _STATUS.match(attributes.get("content", ""))
            self.status = int(status[1]) if status is not None else None

    def _done(self) -> bool:
        return self._stop_when is not None and len(self.found) >= self._stop_when and not self._in_head

    def _piece(self, data: bytes) -> None:
        templates = self._cutter.templates
        piece = self._cutter.feed(data)
        if piece:
            self._read(piece)
            self._before, self._before_templates = piece, templates

    def _read(self, piece: bytes) -> None:
        reader = self._reader
        interesting = self._in_head or self._interesting(piece)
        if reader is None:
            if not interesting:
                return
            reader = self._reader = _Reader(self, self._links, self._before_templates)
            piece = self._before + piece
        try:
            reader.feed(piece)
        except TooDeep:
            reader.settle(complete=False)
            self._reader, self._before = None, b""
            return
        if self._in_head:
            self._head_bytes += len(piece)
            self._in_head = self._head_bytes < HEAD_BYTES and not (reader.body and self.title is not None)
        # A little more than needed is read: the parser may hold some back.
        self._idle = 0 if interesting else self._idle + len(piece)
        if not reader.pending and (self._idle > _LINGER_BYTES or reader.depth > _RESTART_DEPTH):
            self._finish(reader)

    def _finish(self, reader: _Reader) -> None:
        self._reader = None
        try:
            reader.finish()
        except TooDeep:
            reader.settle(complete=False)

    def _interesting(self, piece: bytes) -> bool:
        if self._needles is None:
            return True
        lower = piece.lower()
        return any(needle in lower for needle in self._needles) or (
            _ENCODED.search(lower) is not None and self._encoded.search(lower) is not None
        )


def _needles(hosts: Collection[str] | None, base_url: str) -> tuple[bytes, ...] | None:
    """Return what a page has to say before it can link to these hosts, None when that cannot be told."""
    if hosts is None or any("xn--" in host or not host.isascii() for host in hosts):
        return None
    try:
        if urlsplit(base_url).hostname in hosts:
            return None  # any relative link will do
    except ValueError:
        return None
    return tuple(host.lower().encode() for host in hosts)


# --- single elements --------------------------------------------------------------------------------------

Element: TypeAlias = "tuple[str, Mapping[str, str]]"
COMMENT: Final = "!--"
_SIP_BYTES: Final = 512
_ENCODED_REL = re.compile(rb"rel\s{0,9}=[^>]{0,99}?&#")


class _Collector:
    """The target of an lxml parser that begins somewhere between two tags and keeps start tags."""

    def __init__(self, templates: int) -> None:
        self.elements: list[Element] = []
        self._templates = 0
        self._depth = 0
        self._parser = etree.HTMLParser(
            target=cast(Any, self), encoding="utf-8", no_network=True, huge_tree=False
        )
        self._parser.feed(b"<template>" * min(templates, MAX_DEPTH // 2))

    def read(self, piece: bytes) -> list[Element]:
        """Return the elements of a piece; where too many are open in it, those before that."""
        try:
            for start in range(0, len(piece), _BITE_BYTES):
                self._parser.feed(piece[start : start + _BITE_BYTES])
            self._parser.close()
        except TooDeep:
            pass
        return self.elements

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Called by lxml."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooDeep
        self._templates += tag == "template"
        if attributes and not self._templates:
            self.elements.append((tag, attributes))

    def end(self, tag: str) -> None:
        """Called by lxml, once for each start."""
        self._depth -= 1
        self._templates -= tag == "template"

    def comment(self, text: str) -> None:
        """Called by lxml."""
        if not self._templates:
            self.elements.append((COMMENT, {COMMENT: text}))

    def close(self) -> None:
        """Called by lxml."""


class ElementScan:
    """Tells the elements with attributes and the comments of a page, in their order, near certain words.

    What says none of ``words``, in lower case, has no ``<base>`` and no rel with a character reference is
    skipped quickly. A comment comes as the tag ``COMMENT`` with its text as the only attribute; the middle of
    one that is longer than 32 KiB is lost. Nothing within a script, textarea or template is told.
    """

    def __init__(self, words: Collection[str], *, charset: str | None = None) -> None:
        self._needles = (b"<base", *(word.encode() for word in words))
        self._utf8 = Utf8(charset)
        self._cutter = _Cutter()
        self._buffer = b""
        self._near_start = CHUNK_BYTES

    def feed(self, chunk: bytes) -> Iterator[Element]:
        """Take bytes of the page, yield elements; who has seen enough may leave it at that, and the scan."""
        data, position = self._buffer + self._utf8.feed(chunk), 0
        # What is wanted often stands near the start
        while len(data) - position >= (size := _SIP_BYTES if self._near_start > 0 else CHUNK_BYTES):
            self._near_start -= size
            position += size
            yield from self._piece(data[position - size : position])
        self._buffer = data[position:]

    def close(self) -> Iterator[Element]:
        """Say that this was the last of the page, yield the elements that are left."""
        yield from self._piece(self._buffer + self._utf8.feed(b"", final=True))
        yield from self._read(self._cutter.close(), self._cutter.templates)

    def _piece(self, data: bytes) -> Iterator[Element]:
        templates = self._cutter.templates
        yield from self._read(self._cutter.feed(data), templates)

    def _read(self, piece: bytes, templates: int) -> Sequence[Element]:
        lower = piece.lower()
        if any(needle in lower for needle in self._needles) or _ENCODED_REL.search(lower) is not None:
            return _Collector(templates).read(piece)
        return ()


# --- all links --------------------------------------------------------------------------------------------


def outgoing_links(html: bytes | str, base_url: str) -> list[str]:
    """Return the distinct http and https URLs that a page links to by ``<a href>``, in its order.

    The first 1000 of them, with their fragments; rel="nofollow" makes no difference. Links with rel="ugc"
    are what visitors wrote, the list of mentions among them: not for the page to tell of.
    """
    urls: dict[str, None] = {}
    scan = LinkScan(
        urls.setdefault,
        base_url=base_url,
        excerpt_length=0,
        charset=_charset(html),
        stop_when=None,
        without_rels=("ugc",),
    )
    data = html if isinstance(html, bytes) else html.encode("utf-8", "replace")
    for start in range(0, len(data), CHUNK_BYTES):
        scan.feed(data[start : start + CHUNK_BYTES])
        if len(urls) >= MAX_LINKS:
            break
    scan.close()
    return list(urls)[:MAX_LINKS]


def _charset(html: bytes | str) -> str | None:
    return None if isinstance(html, bytes) else "utf-8"


# --- all of a page ----------------------------------------------------------------------------------------


def parse(body: bytes | str, target: Any, *, charset: str | None = None) -> None:
    """Show all of a page to the target of an lxml parser, which ends it by raising `TooDeep`. Never raises.

    The target has to do so at `MAX_DEPTH` open elements. What has no end within 32 KiB comes shortened.
    """
    data = body if isinstance(body, bytes) else body.encode("utf-8", "replace")
    utf8 = Utf8(_charset(body) or charset)
    text = utf8.feed(data) + utf8.feed(b"", final=True)
    if not text:
        return  # lxml takes it for an error
    cutter = _Cutter()
    parser = etree.HTMLParser(target=target, encoding="utf-8", no_network=True, huge_tree=False)
    try:
        for start in range(0, len(text), CHUNK_BYTES):
            _bites(parser, cutter.feed(text[start : start + CHUNK_BYTES]))
        _bites(parser, cutter.close())
        parser.close()
    except TooDeep:
        return


def _bites(parser: Any, piece: bytes) -> None:
    # In small bites: after an exception libxml2 goes on to the end of what it was given.
    for start in range(0, len(piece), _BITE_BYTES):
        parser.feed(piece[start : start + _BITE_BYTES])


def text_of(markup: bytes | str, limit: int) -> str:
    """Return what a piece of HTML says, as plain text: a line for each paragraph, the alt text of images.

    At most so many characters; nothing of scripts, styles and what else is not shown.
    """
    text = _Text(limit * _SPARE)
    parse(markup, text)
    return paragraphs("".join(text.parts), limit)


class _Text:
    """The target of a parser that keeps the text: all white space is blanks but the ends of lines."""

    def __init__(self, limit: int) -> None:
        self.parts: list[str] = []
        self._left = limit
        self._depth = 0
        self._hidden = 0
        self._preformatted = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Called by lxml."""
        self._depth += 1
        if self._depth > MAX_DEPTH or self._left <= 0:
            raise TooDeep
        self._hidden += tag in NOT_SHOWN
        self._preformatted += tag == "pre"
        if tag == "img":
            self._add(_SPACE.sub(" ", attributes.get("alt", "")))
        elif tag in SEPARATORS:
            self._add("\n")

    def end(self, tag: str) -> None:
        """Called by lxml, once for each start."""
        self._depth -= 1
        self._hidden -= tag in NOT_SHOWN
        self._preformatted -= tag == "pre"
        if tag in _BLOCKS:
            self._add("\n")

    def data(self, data: str) -> None:
        """Called by lxml."""
        self._add(data if self._preformatted else _SPACE.sub(" ", data))

    def close(self) -> None:
        """Called by lxml."""

    def _add(self, text: str) -> None:
        if not self._hidden and self._left > 0:
            self.parts.append(text[: self._left])
            self._left -= len(text)
