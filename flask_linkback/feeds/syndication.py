"""Syndication: a feed and its items, without a format."""

from __future__ import annotations

import io
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Final, TypeVar

from .extensions import Extension
from .values import Author, Category, Enclosure, Stylesheet, Tombstone, as_text, aware, iri_to_uri
from .writer import SimplerXMLGenerator

__all__ = ["FLUSH_EVERY", "SyndicationFeed", "ours"]

T = TypeVar("T")

FLUSH_EVERY: Final = 64
"""So many items are written at a time: some tens of kilobytes."""


class SyndicationFeed:
    """A feed and its items, without a format: what `Rss201rev2Feed` and the others have in common.

    ``title``, ``link`` (URL) and ``description`` are text; ``categories`` are text or `Category`;
    ``stylesheets`` a list of URLs or `Stylesheet` (TypeError for one of them alone); ``authors`` a list of
    `Author`; ``hubs`` URLs and ``links`` pairs of relation and URL; ``extensions`` objects of
    `flask_linkback.feeds.extensions`; ``updated`` when it changed last, where that is known before the items
    are. ``icon`` and ``favicon`` are URLs of a large and a small square picture, ``deleted_items`` a list of
    `Tombstone`. Whatever else is given, and what is of another kind than these, is kept in ``feed`` for
    methods that subclasses override.

    What Django's generators of these names write is written, but valid: see "Differences from Django".
    ``django_compatible`` writes what Django 6.1 does, ``strict`` refuses text that XML cannot hold with
    `UnserializableContentError`.
    """

    content_type: ClassVar[str]
    format: ClassVar[str] = ""
    """What ``?format=`` calls it where one URL has several."""
    plain_text: ClassVar[bool] = False
    """Are titles text, in a format that says which text is HTML?"""
    django_compatible = False
    strict = False
    items: Any

    def __init__(
        self,
        title: Any,
        link: Any,
        description: Any,
        language: Any = None,
        author_email: Any = None,
        author_name: Any = None,
        author_link: Any = None,
        subtitle: Any = None,
        categories: Iterable[Any] | None = None,
        feed_url: Any = None,
        feed_copyright: Any = None,
        feed_guid: Any = None,
        ttl: Any = None,
        stylesheets: Iterable[Any] | None = None,
        *,
        authors: Sequence[Author] = (),
        hubs: Sequence[str] = (),
        links: Sequence[tuple[str, str]] = (),
        extensions: Sequence[Extension] = (),
        updated: datetime | None = None,
        icon: str | None = None,
        favicon: str | None = None,
        deleted_items: Sequence[Tombstone] = (),
        **kwargs: Any,
    ) -> None:
        if isinstance(stylesheets, Stylesheet | str):
            raise TypeError(f"stylesheets should be a list, not {stylesheets.__class__}")
        if stylesheets is not None:
            stylesheets = [each if isinstance(each, Stylesheet) else Stylesheet(each) for each in stylesheets]
        self.feed: dict[str, Any] = {
            "title": as_text(title),
            "link": iri_to_uri(link),
            "description": as_text(description),
            "language": as_text(language),
            "author_email": as_text(author_email),
            "author_name": as_text(author_name),
            "author_link": iri_to_uri(author_link),
            "subtitle": as_text(subtitle),
            "categories": _categories(categories),
            "feed_url": iri_to_uri(feed_url),
            "feed_copyright": as_text(feed_copyright),
            "id": feed_guid or link,
            "ttl": as_text(ttl),
            "stylesheets": stylesheets,
            "authors": authors,
            "hubs": hubs,
            "links": links,
            "extensions": extensions,
            "updated": updated,
            "icon": icon,
            "favicon": favicon,
            "deleted_items": deleted_items,
            **kwargs,
        }
        self.items = []
        self.written: Iterable[bytes] | None = None
        """The items as they are sent, where nobody needs their values."""
        self.newest: datetime | None = None
        """The newest date of the items that are written already."""
        self.prefixes: Collection[str] | None = None
        """The vocabularies of the items, where they are known before the items are."""

    def add_item(
        self,
        title: Any,
        link: Any,
        description: Any,
        author_email: Any = None,
        author_name: Any = None,
        author_link: Any = None,
        pubdate: date | None = None,
        comments: Any = None,
        unique_id: Any = None,
        unique_id_is_permalink: bool | None = None,
        categories: Iterable[Any] | None = (),
        item_copyright: Any = None,
        ttl: Any = None,
        updateddate: date | None = None,
        enclosures: Iterable[Enclosure] | None = None,
        authors: Sequence[Author] = (),
        extensions: Sequence[Extension] = (),
        **kwargs: Any,
    ) -> None:
        """Add an item: text, but for the dates, and of the constructor's kinds.

        Whatever else is given is kept in the item for methods that subclasses override.
        """
        self.items.append(
            {
                "title": title if title.__class__ is str else as_text(title),
                "link": iri_to_uri(link),
                "description": description if description.__class__ is str else as_text(description),
                "author_email": as_text(author_email),
                "author_name": as_text(author_name),
                "author_link": iri_to_uri(author_link),
                "pubdate": pubdate,
                "updateddate": updateddate,
                "comments": as_text(comments),
                "unique_id": unique_id if unique_id.__class__ is str else as_text(unique_id),
                "unique_id_is_permalink": unique_id_is_permalink,
                "enclosures": enclosures or (),
                "categories": _categories(categories) if categories else (),
                "item_copyright": as_text(item_copyright),
                "ttl": as_text(ttl),
                "authors": authors,
                "extensions": extensions,
                **kwargs,
            }
        )

    @classmethod
    def media_types(cls) -> Sequence[str]:
        """Return the media types that it may be asked for by, its own first."""
        own = cls.content_type.partition(";")[0]
        return (own, "application/json") if own.endswith("json") else (own, "application/xml", "text/xml")

    def num_items(self) -> int:
        """Return how many items there are."""
        return len(self.items)

    def root_attributes(self) -> dict[str, Any]:
        """Return attributes for the element that has the items: ``channel`` or ``feed``."""
        return {}

    def add_root_elements(self, handler: SimplerXMLGenerator) -> None:
        """Write what the feed says of itself."""

    def add_stylesheets(self, handler: SimplerXMLGenerator) -> None:
        """Write what comes before the root element."""

    def item_attributes(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes for the element of an item: ``item`` or ``entry``."""
        return {}

    def add_item_elements(self, handler: SimplerXMLGenerator, item: dict[str, Any]) -> None:
        """Write what is said of an item."""

    def write(self, outfile: Any, encoding: str) -> None:
        """Write the feed to a file of text or of bytes."""
        raise NotImplementedError("subclasses of SyndicationFeed must provide a write() method")

    def writeString(self, encoding: str) -> str:
        """Return the feed as text that says it has this encoding."""
        out = io.StringIO()
        self.write(out, encoding)
        return out.getvalue()

    def chunks(self) -> Iterator[bytes]:
        """Return the feed in UTF-8, some items at a time."""
        out = io.BytesIO()
        self.write(out, "utf-8")
        yield out.getvalue()

    def own(self, name: str, kind: type[T]) -> Sequence[T]:
        """Return what the feed was given beyond Django's arguments, as far as it is of our kinds."""
        return ours(self.feed[name], kind) if not self.django_compatible else ()

    def picture(self, name: str) -> str | None:
        """Return the URL of ``icon`` or ``favicon``."""
        url = self.feed[name]
        return str(iri_to_uri(url)) if isinstance(url, str) and not self.django_compatible else None

    def relations(self) -> Iterator[tuple[str, str]]:
        """Return links beside those that a feed always has: pairs of relation and URL."""
        yield from (("hub", hub) for hub in self.own("hubs", str))
        yield from ((rel, href) for rel, href in self.own("links", tuple))

    def latest_post_date(self) -> datetime:
        """Return the newest date of an item; the present, in UTC, if none has one."""
        return self._newest(_dates_of(self.items)) or datetime.now(UTC)

    def _newest(self, dates: Sequence[date]) -> Any:
        try:
            return max(dates, default=None)
        except TypeError:  # with and without time zone, days and moments
            if self.django_compatible:
                raise
            return max(dates, key=aware)

    def updated(self) -> datetime | None:
        """Return when the feed changed last, as far as it is known: its own date or its items' newest.

        The first item of a stream stands for the others.
        """
        known = self.feed["updated"]
        if isinstance(known, datetime):
            return known
        if self.written is not None:
            _, self.written = _begun(self.written)
            newest = self.newest
        else:
            seen, self.items = _begun(self.items)
            newest = self._newest(_dates_of(seen))
        dates = [each.when for each in self.own("deleted_items", Tombstone)]
        return max(map(aware, [*dates, newest] if newest is not None else dates), default=None)


def ours(said: Any, kind: type[T]) -> Sequence[T]:
    """Return what is of a kind of ours: under a name of ours an application may keep what it likes."""
    return [each for each in said if isinstance(each, kind)] if isinstance(said, list | tuple) else ()


def _categories(categories: Iterable[Any] | None) -> Sequence[str | Category]:
    return [
        each if each.__class__ is str or isinstance(each, Category) else str(each)
        for each in categories or ()
    ]


def _dates_of(items: Iterable[Mapping[str, Any]]) -> Sequence[date]:
    return [each for item in items for each in (item.get("updateddate"), item.get("pubdate")) if each]


def _begun(several: Iterable[Any]) -> tuple[Sequence[Any], Iterable[Any]]:
    """Return what is known of some things without an end of the waiting, and all of them."""
    if isinstance(several, Sequence):
        return several, several
    rest = iter(several)
    first = list(itertools.islice(rest, 1))
    return first, itertools.chain(first, rest)
