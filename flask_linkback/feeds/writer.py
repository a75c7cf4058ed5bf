"""Writer: XML as a list of fragments, with the method names of SAX."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..errors import UnserializableContentError

__all__ = ["NAMESPACES", "SimplerXMLGenerator", "attribute", "escape", "markup"]

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
_CONTROL_CHARACTERS: Final = _CONTROLS.decode()
_is_refused: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]").search
_surrogates: Final = re.compile("[\ud800-\udfff]")
_is_name: Final = re.compile(r"[A-Za-z_][\w.\-]*(?::[A-Za-z_][\w.\-]*)?\Z").match


def _has_controls(text: str) -> bool:
    # one look for each: Python finds a character in no time, and one of several in a long one
    return any(map(text.__contains__, _CONTROL_CHARACTERS))


def attribute(value: Any) -> str:
    """Escape what stands between quotes; its line ends and tabs would be read as spaces."""
    text = escape(value if isinstance(value, str) else str(value))
    if text.isprintable():
        return text
    return text.replace("\n", "&#10;").replace("\t", "&#9;").replace("\r", "&#13;")


def markup(text: str) -> str:
    """Write HTML as a text of XML: as it is, where that can be said (XML 1.0, section 2.7).

    Not where that would end early, and what XML cannot hold is left out later: ``]\\x00]>`` would end it.
    """
    if "<" in text and "\r" not in text and not ("]" in text and ("]]" in text or _is_refused(text))):
        return f"<![CDATA[{text}]]>"
    return escape(text)


class SimplerXMLGenerator:
    """Writes elements to a buffer, or to ``out``, a file of text or bytes, when the root element ends.

    It has the methods that generators of feeds call on Django's class of this name. Names are checked,
    elements balanced (ValueError), text and attribute values escaped, attributes sorted by name, those
    of None left out. So is what XML cannot hold (control characters, U+FFFE, U+FFFF, lone surrogates);
    with ``strict`` it raises `UnserializableContentError`, with ``compatible`` only control characters
    do, as in Django.
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
        self._is_utf8 = codecs.lookup(encoding).name == "utf-8"
        # one for the whole document: a mark of the byte order stands before the first part only
        self._encode = codecs.getincrementalencoder(encoding)("xmlcharrefreplace").encode
        self._parts: list[str] = []
        self.raw: Callable[[str], None] = self._parts.append
        """Put XML as it is: it must be well-formed, and what it says escaped."""
        self._stack: list[str] = []
        self._known: set[str] = set()
        """Names that were found to be right, their prefixes declared."""
        self._declared: Mapping[str, str] = {"xml": "", "xmlns": ""}
        self._last: tuple[str, Mapping[str, Any], str] = ("", {}, "")
        """The last tag with attributes, all of them text: its name, its attributes, and how it is written."""
        self._outside: list[tuple[int, set[str], Mapping[str, str]]] = []
        """For elements that declare something, by their depth: what was known and declared before."""

    def startDocument(self) -> None:
        self.raw(f'<?xml version="1.0" encoding="{self.encoding}"?>\n')

    def endDocument(self) -> None:
        self.write_out()

    def startElement(self, name: str, attrs: Mapping[str, Any] | None = None) -> None:
        if attrs or name not in self._known:
            tag, declared = self._tag(name, attrs or {})
            self.raw(f"<{tag}>")
            if declared:
                self._outside.append((len(self._stack), self._known, self._declared))
                self._known, self._declared = self._known.copy(), {**self._declared, **declared}
        else:
            self.raw(f"<{name}>")
        self._stack.append(name)

    def endElement(self, name: str) -> None:
        stack = self._stack
        if not stack or stack.pop() != name:
            raise ValueError(f"</{name}> ends an element that is not the last one that began.")
        self.raw(f"</{name}>")
        if self._outside and self._outside[-1][0] == len(stack):
            _, self._known, self._declared = self._outside.pop()
            self._last = ("", {}, "")
        if not stack:
            self.write_out()

    def characters(self, content: Any) -> None:
        self.raw(escape(content if isinstance(content, str) else str(content)))

    ignorableWhitespace = characters

    def addQuickElement(
        self, name: str, contents: Any = None, attrs: Mapping[str, Any] | None = None
    ) -> None:
        """Write an element without children."""
        tag = self._tag(name, attrs or {})[0] if attrs or name not in self._known else name
        if contents:
            text = contents if contents.__class__ is str else str(contents)
            self.raw(f"<{tag}>{escape(text)}</{name}>")
        else:
            self.raw(f"<{tag}/>" if self._short else f"<{tag}></{name}>")

    def processingInstruction(self, target: str, data: Any) -> None:
        self.raw(f"<?{target} {str(data).replace('?>', '?&gt;')}?>")

    def addElement(self, element: Any) -> None:
        """Write an element of lxml, its tail left aside."""
        from lxml import etree

        self.raw(etree.tostring(element, encoding="unicode", with_tail=False))

    def declare(self, prefix: str) -> str:
        """Return the declaration that a fragment needs for a name of `NAMESPACES`; empty if there is one."""
        namespace = NAMESPACES[prefix]
        return "" if self._declared.get(prefix) == namespace else f' xmlns:{prefix}="{namespace}"'

    def flush(self) -> bytes:
        """Take what was written so far."""
        text = "".join(self._parts)
        self._parts.clear()
        if not text:
            return b""
        if self._compatible:
            if _has_controls(text):
                raise UnserializableContentError
            return self._encode(text)
        if self._strict and _is_refused(text):
            raise UnserializableContentError
        if "\r" in text:
            text = text.replace("\r", "&#13;")  # no markup of ours has one; a parser would take it for "\n"
        # a text that is all below U+0100 has none of these, which Python knows without a look
        text = text.replace("\ufffe", "").replace("\uffff", "")
        try:
            data = text.encode()
        except UnicodeEncodeError:
            data = _surrogates.sub("", text).encode()
        if _has_controls(text):
            data = data.translate(None, _CONTROLS)
        return data if self._is_utf8 else self._encode(data.decode())

    def write_out(self) -> None:
        """Write what was written so far to ``out``."""
        if self._out is None:
            return
        data = self.flush()
        self._out.write(data.decode(self.encoding) if isinstance(self._out, io.TextIOBase) else data)

    def _tag(self, name: str, attrs: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
        """What stands between ``<`` and ``>``, and what it declares; names are checked."""
        if attrs == self._last[1] and name == self._last[0]:
            return self._last[2], {}  # one item begins as the other
        declared: Mapping[str, str] = {}
        if name not in self._known or not self._known.issuperset(attrs):
            attrs, declared = self._checked(name, attrs)
        if not attrs:
            return name, declared
        several = sorted(attrs.items()) if len(attrs) > 1 else attrs.items()
        written = [f' {key}="{attribute(value)}"' for key, value in several if value is not None]
        tag = f"{name}{''.join(written)}"
        if not declared and all(value.__class__ is str for value in attrs.values()):
            self._last = (name, dict(attrs), tag)
        return tag, declared

    def _checked(self, name: str, attrs: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        written = {str(key): value for key, value in attrs.items() if value is not None}
        own = {key[6:]: str(value) for key, value in written.items() if key.startswith("xmlns:")}
        for each in (name, *attrs):
            if each in self._known:
                continue
            if not _is_name(each):
                raise ValueError(f"{each!r} is no name in XML.")
            prefix, colon, _ = each.partition(":")
            if not colon or prefix in self._declared:
                self._known.add(each)
            elif prefix in NAMESPACES and prefix not in own:
                own[prefix] = written[f"xmlns:{prefix}"] = NAMESPACES[prefix]
            elif prefix not in own and not self._compatible:
                raise ValueError(
                    f"Nothing declares the prefix of {each!r}: xmlns:{prefix} must be an attribute."
                )
        return written, own
