"""Trackback: its ping, its answer, and the block of RDF by which a page says where it takes pings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

from lxml import etree

from . import pingback, xml
from .html import MAX_TITLE_CHARACTERS, Utf8, codec_of, text_of
from .text import line
from .xml import Malformed

__all__ = [
    "CONTENT_TYPE",
    "MAX_BODY_BYTES",
    "RESPONSE_TYPE",
    "BadURL",
    "Ping",
    "PingError",
    "Response",
    "TooLarge",
    "URLMissing",
    "dump_ping",
    "dump_rdf",
    "dump_response",
    "parse_ping",
    "parse_response",
]

CONTENT_TYPE: Final = "application/x-www-form-urlencoded; charset=utf-8"
RESPONSE_TYPE: Final = "text/xml; charset=utf-8"

MAX_BODY_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 20
MAX_EXCERPT_CHARACTERS: Final = 1000
MAX_MESSAGE_CHARACTERS: Final = 500

_DOCTYPE = re.compile("<!doctype", re.IGNORECASE)
_RESPONSE = re.compile("<(response)(?=[ \t\r\n>])", re.IGNORECASE)
_RESPONSE_END = re.compile("</response[ \t\r\n]*+>", re.IGNORECASE)
_ERROR = re.compile("<error[ \t\r\n]*+>([^<]{0,100})</error", re.IGNORECASE)
_MESSAGE = re.compile("<message[ \t\r\n]*+>", re.IGNORECASE)
_MESSAGE_END = re.compile("</message", re.IGNORECASE)


class PingError(ValueError):
    """The ping cannot be taken."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


class TooLarge(PingError):
    """The ping is too large."""


class URLMissing(PingError):
    """The url is missing."""


class BadURL(PingError):
    """The url is no http or https URL."""


@dataclass(frozen=True, kw_only=True)
class Ping:
    """What a page says of itself: all of it text without markup, and empty where nothing was said."""

    url: str
    title: str = ""
    excerpt: str = ""
    blog_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Response:
    """The answer to a ping."""

    ok: bool
    message: str = ""


# --- the ping ---------------------------------------------------------------------------------------------


def parse_ping(body: bytes, *, charset: str | None = None) -> Ping:
    """Read a form, or raise the ``PingError`` whose text is the answer.

    TrackBack 1.2, "Sending a TrackBack Ping". The charset is the one of the Content-Type, else that in a
    field of this name, else UTF-8 or, where a value is none, windows-1252; one that is no encoding of the
    web (UTF-7 above all) is UTF-8. More than 64 KiB or 20 fields are refused, long texts are cut.
    """
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge
    fields = _fields(body)
    charset = charset or fields.get("charset", b"").decode("ascii", "replace")
    text = {name: _decoded(value, charset) for name, value in fields.items()}
    url = text.get("url", "").strip()
    if not url:
        raise URLMissing
    if not pingback.is_absolute(url):
        raise BadURL
    return Ping(
        url=url,
        title=_said(text.get("title", ""), MAX_TITLE_CHARACTERS),
        excerpt=_said(text.get("excerpt", ""), MAX_EXCERPT_CHARACTERS),
        blog_name=_said(text.get("blog_name", ""), MAX_TITLE_CHARACTERS),
    )


def dump_ping(ping: Ping) -> bytes:
    """Write a form in UTF-8, to be sent as ``CONTENT_TYPE``."""
    fields = {
        "title": ping.title,
        "url": ping.url,
        "excerpt": ping.excerpt,
        "blog_name": ping.blog_name,
    }
    said = {name: value for name, value in fields.items() if value}
    return urlencode(said, encoding="utf-8", errors="replace").encode()


def _fields(body: bytes) -> Mapping[str, bytes]:
    """Return the first value of each field, as bytes: in Latin-1 each byte is a character."""
    try:
        pairs = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise TooLarge from None
    return {name: value.encode("latin-1") for name, value in reversed(pairs)}


def _said(html: str, limit: int) -> str:
    """Return what a stranger says in HTML as one line of text."""
    return line(text_of(html, limit), limit)


def _decoded(value: bytes, charset: str) -> str:
    if charset:
        return value.decode(codec_of(charset) or "utf-8", "replace")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")


# --- the answer -------------------------------------------------------------------------------------------


def dump_response(error: str | None = None) -> bytes:
    """Write the answer, which travels with HTTP 200: all went well, or what did not."""
    said = "<error>0</error>"
    if error is not None:
        said = f"<error>1</error>\n<message>{xml.escaped(error)}</message>"
    return xml.DECLARATION + f"<response>\n{said}\n</response>\n".encode()


def parse_response(body: bytes, *, charset: str | None = None) -> Response:
    """Read an answer, or raise ``Malformed`` where there is none in what came back.

    What stands round the response (white space, warnings of PHP) is passed over, the case of its names makes
    no difference, and a message that is no XML is read as it is meant. Whatever has a DOCTYPE, a page of
    HTML above all, is no answer.
    """
    if len(body) > xml.MAX_BODY_BYTES:
        raise Malformed("The document is too large.")
    utf8 = Utf8(charset)
    text = (utf8.feed(body) + utf8.feed(b"", final=True)).decode("utf-8", "replace")
    if _DOCTYPE.search(text) is not None:
        raise Malformed("A DOCTYPE is not allowed.")
    start = _RESPONSE.search(text)
    if start is None:
        raise Malformed("There is no response.")
    end = _RESPONSE_END.search(text, start.end())
    text = text[start.start() : end.end() if end is not None else len(text)]
    try:
        error, message = _by_xml(text)
    except Malformed:
        error, message = _by_tags(text)
    if error is None:
        raise Malformed("The response says nothing about an error.")
    return Response(ok=error.strip() == "0", message=_said(message, MAX_MESSAGE_CHARACTERS))


def _by_xml(text: str) -> tuple[str | None, str]:
    parts: dict[str, str] = {}
    for child in xml.parse(text.encode()):
        parts.setdefault(etree.QName(child).localname.lower(), "".join(map(str, child.itertext())))
    return parts.get("error"), parts.get("message", "")


def _by_tags(text: str) -> tuple[str | None, str]:
    error, message = _ERROR.search(text), _MESSAGE.search(text)
    if message is None:
        return error[1] if error is not None else None, ""
    end = _MESSAGE_END.search(text, message.end())
    said = text[message.end() : end.start() if end is not None else len(text)]
    return error[1] if error is not None else None, said


# --- the block of RDF -------------------------------------------------------------------------------------

_RDF: Final = """<!--
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:trackback="http://madskills.com/public/xml/rss/module/trackback/">
<rdf:Description rdf:about="{url}" dc:identifier="{url}" dc:title="{title}" trackback:ping="{ping_url}" />
</rdf:RDF>
-->"""


def dump_rdf(url: str, title: str, ping_url: str) -> str:
    """Write where the page ``url`` takes pings, as a comment for its HTML.

    TrackBack 1.2, "Auto-Discovery of TrackBack Ping URLs". Whatever the values hold, the comment ends where
    it should.
    """
    return _RDF.format(url=_attribute(url), title=_attribute(title), ping_url=_attribute(ping_url))


def _attribute(value: str) -> str:
    # two hyphens must not stand in a comment (XML 1.0, section 2.5)
    return xml.escaped(value).replace('"', "&quot;").replace("--", "-&#45;")
