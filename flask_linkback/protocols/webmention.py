"""Webmention: its request, and what a source of each media type has to say to mention a target."""

from __future__ import annotations

import abc
import json
import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlencode

from . import pingback
from .html import CITING, HTML_TYPES, Found, Links, LinkScan, Utf8, text_and_excerpt

__all__ = [
    "CONTENT_TYPE",
    "MAX_BODY_BYTES",
    "NotAURL",
    "ParameterMissing",
    "ParameterRepeated",
    "Request",
    "RequestError",
    "SamePage",
    "Scan",
    "TooLarge",
    "TooLong",
    "dump_request",
    "is_readable",
    "parse_request",
    "scan_for",
    "typed",
]

CONTENT_TYPE: Final = "application/x-www-form-urlencoded"

MAX_BODY_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 20


# --- the request ------------------------------------------------------------------------------------------


class RequestError(ValueError):
    """The request cannot be taken: HTTP 400, 413 for `TooLarge`, with the text of the error."""

    sentence: str

    def __init__(self, parameter: str = "") -> None:
        super().__init__(self.sentence.format(parameter))


class ParameterMissing(RequestError):
    """A parameter is not there, or empty."""

    sentence = "The {} is missing."


class ParameterRepeated(RequestError):
    """A parameter is there twice."""

    sentence = "There is more than one {}."


class NotAURL(RequestError):
    """A parameter is no URL, or none of a scheme that can be fetched."""

    sentence = "The {} is no http or https URL."


class TooLong(RequestError):
    """A parameter is longer than a URL may be."""

    sentence = "The {} is too long."


class TooLarge(RequestError):
    """The request has more bytes or parameters than any webmention."""

    sentence = "The request is too large."


class SamePage(RequestError):
    """A page mentions itself."""

    sentence = "The source and the target are the same page."


@dataclass(frozen=True, kw_only=True)
class Request:
    """The page that mentions and the one that is mentioned, as they were sent.

    ``vouch`` is a page of somebody else's that links to the source's site (indieweb.org/Vouch), "" for none.
    """

    source: str
    target: str
    vouch: str = ""


def dump_request(request: Request) -> bytes:
    """Write the form that tells of a mention (Webmention, section 3.1.3), to be sent as ``CONTENT_TYPE``.

    The query of the endpoint's URL stays there.
    """
    fields = {"source": request.source, "target": request.target}
    if request.vouch:
        fields["vouch"] = request.vouch
    return urlencode(fields, encoding="utf-8", errors="replace").encode()


def parse_request(body: bytes, *, with_vouch: bool = False) -> Request:
    """Read a form, or raise the ``RequestError`` that is its answer (Webmention, section 3.2.1).

    Other parameters are passed over, and so is the vouch unless it is wanted. That two URLs are the same
    page is told without their fragments.
    """
    pairs = _pairs(body)
    vouched = with_vouch and any(value for name, value in pairs if name == "vouch")
    request = Request(
        source=_url(pairs, "source"),
        target=_url(pairs, "target"),
        vouch=_url(pairs, "vouch") if vouched else "",
    )
    if request.source.partition("#")[0] == request.target.partition("#")[0]:
        raise SamePage
    return request


def typed(body: bytes) -> Mapping[str, str]:
    """Return what a form says, right or wrong, to be put before its writer again: the first of each name.

    At most as much of each as a URL may have; nothing of a form that is too large.
    """
    try:
        pairs = _pairs(body)
    except TooLarge:
        return {}
    return {name: value[: pingback.MAX_URL_CHARACTERS] for name, value in reversed(pairs)}


def _pairs(body: bytes) -> Sequence[tuple[str, str]]:
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge
    try:
        return parse_qsl(
            body.decode("utf-8", "replace"),
            keep_blank_values=True,
            max_num_fields=MAX_FIELDS,
            errors="replace",
        )
    except ValueError:
        raise TooLarge from None


def _url(pairs: Collection[tuple[str, str]], name: str) -> str:
    values = [value for each, value in pairs if each == name]
    if not any(values):
        raise ParameterMissing(name)
    if len(values) > 1:
        raise ParameterRepeated(name)
    url = values[0].strip()
    if len(url) > pingback.MAX_URL_CHARACTERS:
        raise TooLong(name)
    if not pingback.is_absolute(url):
        raise NotAURL(name)
    return url


# --- the source -------------------------------------------------------------------------------------------


class Scan(Protocol):
    """What reads a source: `LinkScan` for HTML, and what looks like it for other media types."""

    title: str | None
    status: int | None
    found: dict[Hashable, Found]

    def feed(self, chunk: bytes) -> bool:
        """Take bytes of the source; True when all that is wanted is found."""

    def close(self) -> None:
        """Say that this was the last of the source."""


def is_readable(media_type: str) -> bool:
    """Tell whether there are rules for a media type; one that is not said is HTML."""
    return media_type in HTML_TYPES or media_type == "text/plain" or _is_json(media_type)


def scan_for(
    media_type: str,
    wanted: Callable[[str], Hashable | None],
    *,
    base_url: str,
    hosts: Collection[str] | None = None,
    excerpt_length: int = 200,
    charset: str | None = None,
    stop_when: int | None = 1,
) -> Scan | None:
    """Return what looks for mentions by the rules of a media type, None where there are none.

    Webmention, section 3.2.2: in HTML links and what is shown from elsewhere, in JSON a string that is the
    URL, in plain text the URL. The arguments are those of `LinkScan`.
    """
    if media_type in HTML_TYPES:
        return LinkScan(
            wanted,
            base_url=base_url,
            hosts=hosts,
            excerpt_length=excerpt_length,
            charset=charset,
            stop_when=stop_when,
            citing=CITING,
        )
    if media_type == "text/plain":
        return _TextScan(
            wanted, hosts=hosts, charset=charset, stop_when=stop_when, excerpt_length=excerpt_length
        )
    if _is_json(media_type):
        return _JSONScan(wanted, hosts=hosts, charset=charset or "utf-8", stop_when=stop_when)
    return None


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


_PIECE_BYTES: Final = 32 * 1024
MAX_FOUND: Final = 1000


class _PlainScan(abc.ABC):
    """Looks for absolute URLs in what has no markup, piece by piece."""

    def __init__(
        self,
        wanted: Callable[[str], Hashable | None],
        *,
        hosts: Collection[str] | None,
        charset: str | None,
        stop_when: int | None,
    ) -> None:
        self.title: str | None = None
        self.status: int | None = None
        self.found: dict[Hashable, Found] = {}
        self._links = Links(wanted, "")
        self._hosts = hosts
        self._stop_when = MAX_FOUND if stop_when is None else min(stop_when, MAX_FOUND)
        self._utf8 = Utf8(charset)
        self._buffer = b""

    def feed(self, chunk: bytes) -> bool:
        """Take bytes of the source; True when all that is wanted is found."""
        self._buffer += self._utf8.feed(chunk)
        while len(self._buffer) >= _PIECE_BYTES and not self._done():
            piece, rest = self._buffer[:_PIECE_BYTES], self._buffer[_PIECE_BYTES:]
            self._buffer = piece[self._read(piece, final=False) :] + rest
        return self._done()

    def close(self) -> None:
        """Say that this was the last of the source."""
        if not self._done():
            self._read(self._buffer + self._utf8.feed(b"", final=True), final=True)
        self._buffer = b""

    def _done(self) -> bool:
        return len(self.found) >= self._stop_when

    @abc.abstractmethod
    def _read(self, piece: bytes, *, final: bool) -> int:
        """Look for URLs in a piece and return how much of it is done with: something, if there is more."""

    def _look_up(self, url: str) -> tuple[str, Hashable] | None:
        """Return a URL and its key if it is wanted and new."""
        if self._hosts is not None and not any(host in url.lower() for host in self._hosts):
            return None
        answer = self._links.look_up(url)
        return answer if answer is not None and answer[1] not in self.found else None


_URL_RUN = re.compile(rb"(?<![a-z0-9+.%/-])https?://[^\x00-\x20\"<>\\^`{|}\x7f]++", re.IGNORECASE)
_ASCII_RUN = re.compile(rb"[!-~]++")
_PARAGRAPH_END = re.compile(r"\n[ \t\r]*+\n")
_PUNCTUATION: Final = b".,;:!?'*_)]"
_MAX_PUNCTUATION: Final = 3
_MAX_ROOM_BYTES: Final = 8 * 1024


class _TextScan(_PlainScan):
    """Looks for URLs in plain text: whole ones, ``https://a.example/post`` is not in ``.../post-2``.

    Punctuation that follows is no part of it, nor is a script without spaces. The words round a link are
    those of its paragraph.
    """

    def __init__(
        self,
        wanted: Callable[[str], Hashable | None],
        *,
        hosts: Collection[str] | None,
        charset: str | None,
        stop_when: int | None,
        excerpt_length: int,
    ) -> None:
        super().__init__(wanted, hosts=hosts, charset=charset, stop_when=stop_when)
        self._limit = max(0, excerpt_length)
        self._room = min(4 * self._limit, _MAX_ROOM_BYTES)
        self._seen = 0  # how much of the next piece was looked at and stays for the words before a link

    def _read(self, piece: bytes, *, final: bool) -> int:
        end = len(piece) if final else len(piece) - pingback.MAX_URL_CHARACTERS - self._room
        for run in _URL_RUN.finditer(piece, self._seen):
            if run.start() >= end or self._done():
                break
            self._judge(piece, run.start(), run[0])
        self._seen = min(self._room, end)
        return end - self._seen

    def _judge(self, piece: bytes, start: int, run: bytes) -> None:
        for spelling in _spellings(run):
            answer = self._look_up(spelling.decode("utf-8", "replace"))
            if answer is not None:
                self._take(*answer, piece, start, start + len(spelling))
                return

    def _take(self, url: str, key: Hashable, piece: bytes, start: int, end: int) -> None:
        before = piece[max(0, start - self._room) : start].decode("utf-8", "ignore")
        after = piece[end : end + self._room].decode("utf-8", "ignore")
        before = _PARAGRAPH_END.split(before)[-1]
        after = _PARAGRAPH_END.split(after)[0]
        text, excerpt = text_and_excerpt(before, url, after, self._limit, cut=False, complete=True)
        self.found[key] = Found(url=url, rels=(), text=text, excerpt=excerpt)


def _spellings(run: bytes) -> Iterator[bytes]:
    """Yield what a run of characters may mean as a URL."""
    yield run
    ascii_run = _ASCII_RUN.match(run)
    if ascii_run is not None and ascii_run[0] != run:
        yield (run := ascii_run[0])
    for _ in range(_MAX_PUNCTUATION):
        if run[-1] not in _PUNCTUATION:
            return
        yield (run := run[:-1])


_STRING = re.compile(rb'"((?:[^"\\]++|\\.)*)"[ \t\r\n]*+(:?)', re.DOTALL)
_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*("?)', re.DOTALL)


class _JSONScan(_PlainScan):
    """Looks for URLs in JSON: strings that are one, but for names of members.

    What is no string does not matter: neither how deep the document goes nor whether it is whole.
    """

    _skips = False  # it is within a string that is too long for a URL

    def _read(self, piece: bytes, *, final: bool) -> int:
        position = 0
        if self._skips:
            rest = _OF_STRING.match(piece)
            position = rest.end() if rest is not None else 0
            self._skips = rest is not None and not rest[1]
        while not self._skips and not self._done():
            start = piece.find(b'"', position)
            if start < 0:
                break
            string = _STRING.match(piece, start)
            # what is not complete, or may be a name, waits for the next piece
            if string is None or (string.end() == len(piece) and not final):
                if start or final:
                    return start
                self._skips = True
                return 1
            position = string.end()
            if not string[2]:
                self._judge(string[1])
        return position if self._skips else len(piece)

    def _judge(self, string: bytes) -> None:
        if len(string) > 6 * pingback.MAX_URL_CHARACTERS:
            return
        text = string.decode("utf-8", "replace")
        if "\\" in text:
            text = _unescaped(text)
        answer = self._look_up(text) if text[:4].lower() == "http" else None
        if answer is not None:
            url, key = answer
            self.found[key] = Found(url=url, rels=(), text="", excerpt="")


def _unescaped(string: str) -> str:
    """Return what a string of JSON says, "" for one that is none or no text."""
    try:
        text = str(json.loads(f'"{string}"'))
        text.encode()
    except ValueError:
        return ""
    return text
