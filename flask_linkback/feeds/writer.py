"""Writer: XML as a list of fragments, with the method names of SAX."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..errors import UnserializableContentError

__all__ = ["NAMESPACES", "SimplerXMLGenerator", "attribute", "escape"]

try:  # the same without an object round it, in a fraction of the time
    from markupsafe._speedups import _escape_inner as escape
except ImportError:  # pragma: no cover  where markupsafe has no compiled part
    from markupsafe._native import _escape_inner as escape


NAMESPACES: Final[Mapping[str, str]] = {
    "at": "http://purl.org/atompub/tombstones/1.0",
    "atom": "http://www.w3.org/2005/Atom",
    "content": "http://purl.org/rss/1.0/modules/content/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "fh": "http://purl.org/syndication/history/1.0",
    "geo": "http://www.w3.org/2003/01/geo/wgs84_pos#",
    "georss": "http://www.georss.org/georss",
    "itunes": "http://www.itunes.com/dtds/podcast-1.0.dtd",
    "media": "http://search.yahoo.com/mrss/",
    "podcast": "https://podcastindex.org/namespace/1.0",
    "slash": "http://purl.org/rss/1.0/modules/slash/",
    "thr": "http://purl.org/syndication/thread/1.0",
    "wfw": "http://wellformedweb.org/CommentAPI/",
}
"""The vocabularies that feeds use; a name of one is declared where nobody did."""

_CONTROLS: Final = bytes(code for code in range(32) if code not in (9, 10, 13))
"""What XML 1.0 has no place for (section 2.2), as bytes of UTF-8."""
_has_controls: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]").search
_is_refused: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]").search
_surrogates: Final = re.compile("[\ud800-\udfff]")
_is_name: Final = re.compile(r"[A-Za-z_][\w.\-]*(?::[A-Za-z_][\w.\-]*)?\Z").match


def attribute(value: Any) -> str:
    """Escape what stands between quotes; its line ends and tabs would be read as spaces."""
    text = escape(value if isinstance(value, str) else str(value))
    if "\n" in text or "\t" in text or "\r" in text:
        text = text.replace("\n", "&#10;").replace("\t", "&#9;").replace("\r", "&#13;")
    return text


class SimplerXMLGenerator:
    """Writes elements to a buffer, or to ``out``, a file of text or bytes, when the root element ends.

    It has the methods that generators of feeds call on Django's class of this name. Names are checked,
    elements balanced (ValueError), text and attribute values escaped, attributes sorted by name. What
    XML cannot hold (control characters, U+FFFE, U+FFFF, lone surrogates) is left out; with ``strict`` it
    raises `UnserializableContentError`, with ``compatible`` only control characters do, as in Django.
    """

    def __init__(
        self,
        out: Any = None,
        encoding: str = "utf-8",
        short_empty_elements: bool = True,
        *,
        strict: bool = False,
        compatible: bool = False,
    ) -> None:
        self.encoding = encoding
        self._out = out
        self._short = short_empty_elements
        self._strict = strict
        self._compatible = compatible
        self._parts: list[str] = []
        self.raw: Callable[[str], None] = self._parts.append
        """Put XML as it is: it must be well-formed, and what it says escaped."""
        self._stack: list[str] = []
        self._known: set[str] = set()
        self._declared: set[str] = {"xml", "xmlns"}

    def startDocument(self) -> None:
        self.raw(f'<?xml version="1.0" encoding="{self.encoding}"?>\n')

    def endDocument(self) -> None:
        self.write_out()

    def startElement(self, name: str, attrs: Mapping[str, Any] | None = None) -> None:
        self._open(name, attrs or {}, ">")
        self._stack.append(name)

    def endElement(self, name: str) -> None:
        if not self._stack or self._stack[-1] != name:
            raise ValueError(f"</{name}> ends what <{self._stack[-1] if self._stack else ''}> began.")
        self._stack.pop()
        self.raw(f"</{name}>")
        if not self._stack:
            self.write_out()

    def characters(self, content: Any) -> None:
        self.raw(escape(content if isinstance(content, str) else str(content)))

    ignorableWhitespace = characters

    def addQuickElement(
        self, name: str, contents: Any = None, attrs: Mapping[str, Any] | None = None
    ) -> None:
        """Write an element without children."""
        if contents or not self._short:
            self._open(name, attrs or {}, ">")
            if contents is not None:
                self.characters(contents)
            self.raw(f"</{name}>")
        else:
            self._open(name, attrs or {}, "/>")

    def processingInstruction(self, target: str, data: Any) -> None:
        self.raw(f"<?{target} {str(data).replace('?>', '?&gt;')}?>")

    def addElement(self, element: Any) -> None:
        """Write an element of lxml, its tail left aside."""
        from lxml import etree

        self.raw(etree.tostring(element, encoding="unicode", with_tail=False))

    def declare(self, prefix: str) -> str:
        """Return the declaration that a fragment needs for a name of `NAMESPACES`; empty if there is one."""
        return "" if prefix in self._declared else f' xmlns:{prefix}="{NAMESPACES[prefix]}"'

    def flush(self) -> bytes:
        """Take what was written so far."""
        text = "".join(self._parts)
        self._parts.clear()
        if not text:
            return b""
        if self._compatible or self._strict:
            refused = _has_controls if self._compatible else _is_refused
            if refused(text):
                raise UnserializableContentError
        # a text that is all below U+0100 has none of these, which Python knows without a look
        if not text.isascii() and not self._compatible:
            text = text.replace("\ufffe", "").replace("\uffff", "")
        if "\r" in text and not self._compatible:
            text = text.replace("\r", "&#13;")  # no markup of ours has one; a parser would take it for "\n"
        try:
            encoded = text.encode(
                self.encoding, "xmlcharrefreplace" if self.encoding != "utf-8" else "strict"
            )
        except UnicodeEncodeError:
            if self._compatible:
                raise
            encoded = _surrogates.sub("", text).encode(self.encoding, "xmlcharrefreplace")
        return encoded.translate(None, _CONTROLS) if _is_ascii_like(self.encoding) else encoded

    def write_out(self) -> None:
        if self._out is None:
            return
        data = self.flush()
        self._out.write(data.decode(self.encoding) if isinstance(self._out, io.TextIOBase) else data)

    def _open(self, name: str, attrs: Mapping[str, Any], end: str) -> None:
        if name not in self._known or attrs:
            self._open_slowly(name, attrs, end)
        else:
            self.raw(f"<{name}{end}")

    def _open_slowly(self, name: str, attrs: Mapping[str, Any], end: str) -> None:
        fragment = [f"<{name}"]
        written = {str(key): value for key, value in attrs.items()}
        if not self._stack:
            self._declared |= {key[6:] for key in written if key.startswith("xmlns:")}
        for each in (name, *written):
            prefix = each.partition(":")[0] if ":" in each else ""
            if each not in self._known and not _is_name(each):
                raise ValueError(f"{each!r} is no name in XML.")
            if not prefix or prefix in self._declared:
                self._known.add(each)
            elif prefix in NAMESPACES and f"xmlns:{prefix}" not in written:
                written[f"xmlns:{prefix}"] = NAMESPACES[prefix]
        fragment += [f' {key}="{attribute(written[key])}"' for key in sorted(written)]
        self.raw("".join([*fragment, end]))


def _is_ascii_like(encoding: str) -> bool:
    """Are the control characters the same bytes in this encoding, and nothing else?"""
    return encoding.lower().replace("-", "").replace("_", "") in (
        "utf8",
        "ascii",
        "usascii",
        "iso88591",
        "latin1",
    )
