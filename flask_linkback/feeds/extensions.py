"""Extensions: what feeds can say beyond RSS and Atom: a vocabulary each, for all formats that have it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Any, ClassVar, Self, TypeVar

from ..errors import ImproperlyConfigured, did_you_mean
from .values import moment
from .writer import SimplerXMLGenerator

__all__ = [
    "Absolute",
    "Archive",
    "Content",
    "Element",
    "Elements",
    "Extension",
    "Prefixes",
    "all_of",
    "dated",
    "named",
    "paired",
    "several",
    "wrong",
]

T = TypeVar("T")
Prefixes = Mapping[str, tuple[str, ...]]
Absolute = Callable[[Any], str]
"""Makes an address absolute, as links of the feed are."""


class Extension:
    """Something that is said of a feed or an item; what a format has no word for stays unsaid."""

    prefixes: ClassVar[Prefixes] = {}
    """By format, the vocabularies of `flask_linkback.feeds.writer.NAMESPACES` that it uses."""

    @classmethod
    def of(cls, said: Any, hook: str, absolute: Absolute) -> Self:
        """Make it of what a hook said; raises `ImproperlyConfigured`, with the hook's name, if it cannot."""
        raise NotImplementedError

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
    prefixes: ClassVar[Prefixes] = {"rss": ("content",)}

    @classmethod
    def of(cls, said: Any, hook: str, absolute: Absolute) -> Self:
        return cls(str(said))

    def add_to_rss(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("content:encoded", self.html)

    def add_to_atom(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("content", self.html, {"type": "html"})

    def add_to_json(self, values: dict[str, Any]) -> None:
        values["content_html"] = self.html


class Archive(Extension):
    """Says of a document that it is an archive, which does not change (RFC 5005, section 4)."""

    prefixes: ClassVar[Prefixes] = {"rss": ("fh",), "atom": ("fh",)}

    def add_to_rss(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("fh:archive")

    def add_to_atom(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement("fh:archive")


# --- elements that RSS and Atom share ----------------------------------------------------------------


@dataclass(frozen=True)
class Element:
    """An element that is still to be written."""

    name: str
    text: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    children: Sequence[Element] = ()

    def write(self, handler: SimplerXMLGenerator) -> None:
        if not self.children:
            handler.addQuickElement(self.name, self.text, self.attributes)
            return
        handler.startElement(self.name, self.attributes)
        for child in self.children:
            child.write(handler)
        handler.endElement(self.name)


@dataclass(frozen=True)
class Elements(Extension):
    """Elements of a vocabulary that RSS and Atom have in the same words."""

    elements: Sequence[Element]

    def add_to_rss(self, handler: SimplerXMLGenerator) -> None:
        for element in self.elements:
            element.write(handler)

    add_to_atom = add_to_rss


# --- what hooks say ----------------------------------------------------------------------------------


def wrong(hook: str, why: str) -> ImproperlyConfigured:
    """Return the error for what a hook said."""
    return ImproperlyConfigured(f"{hook}: {why}")


def several(said: Any) -> Sequence[Any]:
    """Return one thing, or a list of them, as a list."""
    return said if isinstance(said, list | tuple) else [said]


def all_of(kind: type[T], said: Any, hook: str) -> Sequence[T]:
    """Return one thing, or any number of them, as a list; all must be of one type."""
    things: Iterable[Any] = [said] if isinstance(said, kind | str | Mapping) else said
    try:
        things = list(things)
    except TypeError:
        things = [said]
    for each in things:
        if not isinstance(each, kind):
            raise wrong(hook, f"{kind.__name__}(...) or a list of them is needed, not {each!r}.")
    return things


def dated(said: Any, zone: tzinfo, hook: str) -> datetime:
    """Return a date that a hook said with its time zone, or this one where it has none."""
    if not isinstance(said, date):
        raise wrong(hook, f"a date or datetime is needed, not {said!r}.")
    return moment(said, zone)


def paired(said: Any, hook: str) -> Sequence[tuple[str, Any]]:
    """Return pairs of a relation and an address as a list."""
    pairs = several(said)
    if not all(isinstance(each, tuple | list) and len(each) == 2 for each in pairs):
        raise wrong(hook, f"a list of pairs (relation, URL) is needed, not {said!r}.")
    return [(str(rel), href) for rel, href in pairs]


def named(said: Any, hook: str, known: Collection[str], *, required: Iterable[str] = ()) -> dict[str, Any]:
    """Return the values of a dict that are not None; unknown names are refused, required ones asked for."""
    if not isinstance(said, Mapping):
        raise wrong(hook, f"a dict is needed, not {said!r}.")
    for name in said:
        if name not in known:
            raise wrong(hook, f"there is no {name!r}.{did_you_mean(str(name), known)}")
    values = {name: value for name, value in said.items() if value is not None}
    for name in required:
        if name not in values:
            raise wrong(hook, f"{name!r} is missing.")
    return values
