"""XML: documents of strangers, read without what makes them dangerous, and text that is safe in one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape

from lxml import etree

__all__ = [
    "DECLARATION",
    "MAX_ATTRIBUTES",
    "MAX_BODY_BYTES",
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "Enough",
    "Events",
    "Malformed",
    "escaped",
    "is_common_encoding",
    "parse",
    "read",
]

MAX_BODY_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 100
MAX_ELEMENTS: Final = 40_000
MAX_ATTRIBUTES: Final = 100
"""Of one element."""
DECLARATION: Final = b'<?xml version="1.0" encoding="utf-8"?>\n'

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Malformed(ValueError):
    """The document is not what it should be."""


def parse(body: bytes) -> etree._Element:
    """Return the root of a document, or raise ``Malformed``.

    A byte order mark and white space before the XML declaration are tolerated; a DOCTYPE is not, and neither
    is a document of more than 64 KiB.
    """
    if len(body) > MAX_BODY_BYTES:
        raise Malformed("The document is too large.")
    # An own parser each time: etree's default one can be changed by anybody. Never say collect_ids=False:
    # it makes libxml2 load the DTD that a document names.
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(body.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n"), parser)
    except (etree.LxmlError, ValueError, LookupError):
        raise Malformed("The document is not well formed XML.") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise Malformed("A DOCTYPE is not allowed.")
    return root


# --- event by event ----------------------------------------------------------------------------------


class Enough(Exception):
    """Who reads a document wants no more of it."""


class Events:
    """Who reads a document event by event; names are ``"namespace name"``, the namespace may be missing.

    ``depth`` is that of the element which starts or ends, 1 for the root.
    """

    depth = 0

    def begin(self, parser: expat.XMLParserType) -> None:
        """Take the parser, before it reads anything."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Take a start tag."""

    def end(self, name: str) -> None:
        """Take an end tag."""

    def text(self, text: str) -> None:
        """Take text, or a part of it."""


def read(body: bytes, events: Events, *, charset: str | None = None) -> None:
    """Show a document to ``events`` until they raise `Enough`, or raise `Malformed`.

    For documents that are longer than `parse` takes. ``charset`` is that of the HTTP header. A DOCTYPE, an
    odd encoding and more than `MAX_DEPTH`, `MAX_ELEMENTS` and `MAX_ATTRIBUTES` are refused.
    """
    gate = _Gate(events)
    try:
        if charset is not None:
            gate.check_encoding(charset)
        parser = expat.ParserCreate(charset, namespace_separator=" ")
        gate.listen_to(parser)
        events.begin(parser)
        parser.Parse(body, True)
    except Enough:
        return
    except (expat.ExpatError, LookupError):
        raise Malformed("The document is not well formed XML.") from None
    except Malformed:
        raise
    except ValueError:  # an encoding of several bytes for each character
        raise Malformed("The document is not well formed XML.") from None


is_common_encoding: Final = re.compile(
    r"utf-?8|utf-?16(?:le|be)?|(?:us-)?ascii|iso-8859-(?:1?\d|2)|latin-?1|windows-125\d|koi8-[ru]",
    re.IGNORECASE | re.ASCII,
).fullmatch
"""To any other name expat would decode by Python's codec of that name, such as unicode_escape."""


class _Gate:
    """Passes on what is allowed."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._elements = 0

    def listen_to(self, parser: expat.XMLParserType) -> None:
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._events.text
        parser.XmlDeclHandler = self._declare
        parser.StartDoctypeDeclHandler = self._refuse_doctype

    def check_encoding(self, name: str) -> None:
        if not is_common_encoding(name):
            raise Malformed("The encoding is none of those that are read.")

    def _declare(self, _: str, encoding: str | None, __: int) -> None:
        if encoding is not None:
            self.check_encoding(encoding)

    def _refuse_doctype(self, *_: object) -> None:
        raise Malformed("A DOCTYPE is not allowed.")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        events = self._events
        events.depth += 1
        self._elements += 1
        if events.depth > MAX_DEPTH or self._elements > MAX_ELEMENTS or len(attributes) > MAX_ATTRIBUTES:
            raise Malformed(
                "The document has too many elements or attributes, or they are nested too deeply."
            )
        events.start(name, attributes)

    def _end(self, name: str) -> None:
        self._events.end(name)
        self._events.depth -= 1


# --- text for a document -----------------------------------------------------------------------------


def escaped(text: str) -> str:
    """Return text as it stands between tags, without the characters that XML has no way to write."""
    # A bare carriage return would come back as a line feed (XML 1.0, section 2.11).
    return escape(_NOT_XML.sub("", text), {"\r": "&#13;"})
