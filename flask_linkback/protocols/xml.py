"""XML: documents of strangers, read without what makes them dangerous, and text that is safe in one."""

from __future__ import annotations

import re
from typing import Final
from xml.sax.saxutils import escape

from lxml import etree

__all__ = ["DECLARATION", "MAX_BODY_BYTES", "Malformed", "escaped", "parse"]

MAX_BODY_BYTES: Final = 64 * 1024
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


def escaped(text: str) -> str:
    """Return text as it stands between tags, without the characters that XML has no way to write."""
    # A bare carriage return would come back as a line feed (XML 1.0, section 2.11).
    return escape(_NOT_XML.sub("", text), {"\r": "&#13;"})
