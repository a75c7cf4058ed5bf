"""Extensions: what feeds can say beyond RSS and Atom: a vocabulary each, for all formats that have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from .writer import SimplerXMLGenerator

__all__ = ["FEED_HOOKS", "ITEM_HOOKS", "Archive", "Content", "Extension"]


class Extension:
    """Something that is said of a feed or an item; what a format has no word for stays unsaid."""

    prefixes: ClassVar[tuple[str, ...]] = ()
    """The vocabularies of `flask_linkback.feeds.writer.NAMESPACES` that it uses."""

    def add_to_rss(self, handler: SimplerXMLGenerator) -> None:
        """Write it into a ``channel`` or ``item``."""

    def add_to_atom(self, handler: SimplerXMLGenerator) -> None:
        """Write it into a ``feed`` or ``entry``."""

    def add_to_json(self, values: dict[str, Any]) -> None:
        """Put it into the object of a feed or an item."""


@dataclass(frozen=True)
class Content(Extension):
    """The whole of an item as HTML (RSS content module; RFC 4287, section 4.1.3; JSON Feed)."""

    html: str
    prefixes = ("content",)

    def add_to_rss(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("content:encoded", self.html)

    def add_to_atom(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("content", self.html, {"type": "html"})

    def add_to_json(self, values: dict[str, Any]) -> None:
        values["content_html"] = self.html


class Archive(Extension):
    """Says of a document that it is an archive, which does not change (RFC 5005, section 4)."""

    prefixes = ("fh",)

    def add_to_rss(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("fh:archive")

    def add_to_atom(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("fh:archive")


FEED_HOOKS: Final[Mapping[str, Callable[[Any], Extension]]] = {}
"""What the value of a hook of `Feed` becomes."""
ITEM_HOOKS: Final[Mapping[str, Callable[[Any], Extension]]] = {"item_content": Content}
"""What the value of an item's hook becomes."""
