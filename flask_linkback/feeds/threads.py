"""Threads: what an item answers, where it is answered, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from .extensions import Absolute, Element, Elements, Extension, Prefixes, named, several, wrong
from .writer import SimplerXMLGenerator

__all__ = ["CommentsFeed", "InReplyTo", "MentionCount"]

_ADDRESSES: Final = ("ref", "href", "source")


@dataclass(frozen=True)
class CommentsFeed(Extension):
    """The feed of an item's comments (Comment API; RFC 4685, section 4).

    It is a URL, or a pair of URL and media type; without a type Atom takes it for Atom, by that section.
    """

    url: str
    type: str | None = None
    prefixes: ClassVar[Prefixes] = {"rss": ("wfw",)}

    @classmethod
    def of(cls, said: Any, hook: str, absolute: Absolute) -> Self:
        if not isinstance(said, tuple):
            return cls(absolute(said))
        if len(said) != 2:
            raise wrong(hook, f"a URL, or a pair of URL and media type, is needed, not {said!r}.")
        return cls(absolute(said[0]), str(said[1]))

    def add_to_rss(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("wfw:commentRss", self.url)

    def add_to_atom(self, handler: SimplerXMLGenerator) -> None:
        type_ = {"type": self.type} if self.type is not None else {}
        handler.addQuickElement("link", None, {"rel": "replies", "href": self.url, **type_})


class InReplyTo(Elements):
    """What an item answers (RFC 4685, section 3): an address, a dict or a list of them.

    A dict has ``ref``, the id of the other item, and ``href``, where it is, of which one may do; ``type`` is
    the media type there, ``source`` the feed or page that has it.
    """

    prefixes: ClassVar[Prefixes] = {"rss": ("thr",), "atom": ("thr",)}

    @classmethod
    def of(cls, said: Any, hook: str, absolute: Absolute) -> Self:
        return cls([_in_reply_to(each, hook, absolute) for each in several(said)])


def _in_reply_to(said: Any, hook: str, absolute: Absolute) -> Element:
    values = (
        named(said, hook, ("ref", "href", "type", "source"))
        if isinstance(said, Mapping)
        else {"ref": said, "href": said}
    )
    if not {"ref", "href"} & values.keys():
        raise wrong(hook, "'ref' or 'href' is missing.")
    written = {name: absolute(value) if name in _ADDRESSES else str(value) for name, value in values.items()}
    written.setdefault("ref", written.get("href", ""))
    if written["ref"].startswith(("http://", "https://")):
        written.setdefault("href", written["ref"])
    return Element("thr:in-reply-to", None, written)


@dataclass(frozen=True)
class MentionCount(Extension):
    """How many mentions an item's page shows (RFC 4685, section 5; RSS slash module)."""

    count: int
    prefixes: ClassVar[Prefixes] = {"rss": ("slash",), "atom": ("thr",)}

    def add_to_rss(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("slash:comments", str(self.count))

    def add_to_atom(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("thr:total", str(self.count))
