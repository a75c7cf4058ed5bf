"""Generators: a feed's values as RSS 0.91, RSS 2.0, Atom 1.0 or JSON Feed; they need no application."""

from __future__ import annotations

import codecs
import functools
import io
import itertools
import mimetypes
import operator
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Final

from ..errors import UnserializableContentError
from .values import (
    Author,
    Category,
    Enclosure,
    Stylesheet,
    Tombstone,
    add_domain,
    as_uri,
    atom_date,
    aware,
    get_tag_uri,
    id_of_link,
    iri_to_uri,
    rfc2822_date,
    rfc3339_date,
    rss_date,
    tidy,
)
from .writer import NAMESPACES, SimplerXMLGenerator, attribute, escape, markup

__all__ = [
    "Atom1Feed",
    "DefaultFeed",
    "Enclosure",
    "JSONFeed",
    "Rss201rev2Feed",
    "RssFeed",
    "RssUserland091Feed",
    "SimplerXMLGenerator",
    "Stylesheet",
    "SyndicationFeed",
    "UnserializableContentError",
    "add_domain",
    "get_tag_uri",
    "iri_to_uri",
    "rfc2822_date",
    "rfc3339_date",
]

FLUSH_EVERY: Final = 64
"""So many items are written at a time: some tens of kilobytes."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The date of what has none: an empty feed says the same whenever it is read."""

_values_of: Final = operator.itemgetter(
    "title",
    "link",
    "description",
    "author_name",
    "author_email",
    "author_link",
    "pubdate",
    "updateddate",
    "comments",
    "unique_id",
    "unique_id_is_permalink",
    "enclosures",
    "categories",
    "item_copyright",
    "ttl",
)
"""The values of an item as the arguments of ``item_xml``."""


class SyndicationFeed:
    """A feed and its items, without a format: what `Rss201rev2Feed` and the others have in common.

    ``title``, ``link`` (URL) and ``description`` are text; ``categories`` are text or `Category`;
    ``stylesheets`` a list of URLs or `Stylesheet` (TypeError for one of them alone); ``authors`` a list of
    `Author`; ``hubs`` URLs and ``links`` pairs of relation and URL; ``extensions`` objects of
    `flask_linkback.feeds.extensions`, ``prefixes`` the vocabularies of those that items have, where that is
    known before the items are; so is ``updated``, when it changed last. ``icon`` and ``favicon`` are URLs of
    a large and a small square picture, ``deleted_items`` a list of `Tombstone`. Whatever else is given is
    kept in ``feed`` for methods that subclasses override.

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
        authors: Iterable[Author] = (),
        hubs: Iterable[str] = (),
        links: Iterable[tuple[str, str]] = (),
        extensions: Iterable[Any] = (),
        prefixes: Collection[str] | None = None,
        updated: datetime | None = None,
        icon: Any = None,
        favicon: Any = None,
        deleted_items: Iterable[Tombstone] = (),
        **kwargs: Any,
    ) -> None:
        if isinstance(stylesheets, Stylesheet | str):
            raise TypeError(f"stylesheets should be a list, not {stylesheets.__class__}")
        if stylesheets is not None:
            stylesheets = [each if isinstance(each, Stylesheet) else Stylesheet(each) for each in stylesheets]
        self.feed: dict[str, Any] = {
            "title": _text(title),
            "link": iri_to_uri(link),
            "description": _text(description),
            "language": _text(language),
            "author_email": _text(author_email),
            "author_name": _text(author_name),
            "author_link": iri_to_uri(author_link),
            "subtitle": _text(subtitle),
            "categories": _categories(categories),
            "feed_url": iri_to_uri(feed_url),
            "feed_copyright": _text(feed_copyright),
            "id": feed_guid or link,
            "ttl": _text(ttl),
            "stylesheets": stylesheets,
            "authors": tuple(authors),
            "hubs": tuple(hubs),
            "links": tuple(links),
            "extensions": tuple(extensions),
            "prefixes": prefixes,
            "updated": updated,
            "icon": iri_to_uri(icon),
            "favicon": iri_to_uri(favicon),
            "deleted_items": tuple(deleted_items),
            **kwargs,
        }
        self.items = []
        self.written: Iterable[bytes] | None = None
        """The items as they are sent, where nobody needs their values."""
        self.newest: datetime | None = None
        """The newest date of the items that are written already."""

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
        authors: Iterable[Author] = (),
        extensions: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        """Add an item: text, but for the dates, and of the constructor's kinds.

        Whatever else is given is kept in the item for methods that subclasses override.
        """
        self.items.append(
            {
                "title": title if title.__class__ is str else _text(title),
                "link": iri_to_uri(link),
                "description": description if description.__class__ is str else _text(description),
                "author_email": _text(author_email),
                "author_name": _text(author_name),
                "author_link": iri_to_uri(author_link),
                "pubdate": pubdate,
                "updateddate": updateddate,
                "comments": _text(comments),
                "unique_id": unique_id if unique_id.__class__ is str else _text(unique_id),
                "unique_id_is_permalink": unique_id_is_permalink,
                "enclosures": enclosures or (),
                "categories": _categories(categories) if categories else (),
                "item_copyright": _text(item_copyright),
                "ttl": _text(ttl),
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
        known: datetime | None = self.feed["updated"]
        if known is not None:
            return known
        if self.written is not None:
            _, self.written = _begun(self.written)
            newest = self.newest
        else:
            seen, self.items = _begun(self.items)
            newest = self._newest(_dates_of(seen))
        dates = [each.when for each in self.feed["deleted_items"]]
        return max(map(aware, [*dates, newest] if newest is not None else dates), default=None)


class _XMLFeed(SyndicationFeed):
    """What RSS and Atom have in common."""

    _item: ClassVar[str]
    _prefixes: ClassVar[tuple[str, ...]] = ()

    def write(self, outfile: Any, encoding: str) -> None:
        """Write the feed to a file of text or of bytes."""
        is_text = isinstance(outfile, io.TextIOBase)
        for data in self._document(self._handler(encoding)):
            outfile.write(data.decode(encoding) if is_text else data)

    def chunks(self) -> Iterator[bytes]:
        """Return the feed in UTF-8, some items at a time."""
        if type(self).write is not _XMLFeed.write:
            return super().chunks()
        return self._document(self._handler("utf-8"))

    def encoded(self, items: Iterable[str]) -> Iterator[bytes]:
        """Return items that are written already in UTF-8, some at a time."""
        handler = self._handler("utf-8")
        for number, xml in enumerate(items, 1):
            handler.raw(xml)
            if not number % FLUSH_EVERY:
                yield handler.flush()
        yield handler.flush()

    _cdata = False
    """May HTML stand as it is? Not where the encoding lacks characters: in CDATA nothing refers to one."""

    def _handler(self, encoding: str) -> SimplerXMLGenerator:
        self._cdata = not self.django_compatible and codecs.lookup(encoding).name.startswith("utf-")
        return SimplerXMLGenerator(encoding=encoding, strict=self.strict, compatible=self.django_compatible)

    def _document(self, handler: SimplerXMLGenerator) -> Iterator[bytes]:
        """Write the document, and give it in parts."""
        raise NotImplementedError

    def item_tags(self) -> tuple[str, str]:
        """Return what is before and after what is said of an item."""
        return f"<{self._item}>", f"</{self._item}>"

    def _written_items(self, handler: SimplerXMLGenerator) -> Iterator[bytes]:
        if self.written is not None:
            yield handler.flush()
            yield from self.written
        elif type(self).write_items is not _XMLFeed.write_items:
            self.write_items(handler)
        else:
            for _ in self._each_item(handler):
                yield handler.flush()

    def write_items(self, handler: SimplerXMLGenerator) -> None:
        """Write the items."""
        for _ in self._each_item(handler):
            pass

    def _each_item(self, handler: SimplerXMLGenerator) -> Iterator[None]:
        put, add, name = handler.raw, self.add_item_elements, self._item
        plain = type(self).item_attributes is SyndicationFeed.item_attributes
        begin, end = self.item_tags()
        for number, item in enumerate(self.items, 1):
            if plain:
                put(begin)
                add(handler, item)
                put(end)
            else:
                handler.startElement(name, self.item_attributes(item))
                add(handler, item)
                handler.endElement(name)
            if not number % FLUSH_EVERY:
                yield

    def _declared(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes of the root, with all vocabularies that are known to be used."""
        if self.django_compatible:
            return dict(attributes)
        known: Collection[str] | None = self.feed["prefixes"]
        extensions = list(self.feed["extensions"])
        if known is None and isinstance(self.items, Sequence):
            extensions += [each for item in self.items for each in item.get("extensions", ())]
        prefixes = {prefix for each in extensions for prefix in each.prefixes.get(self.format, ())}
        prefixes |= {*self._prefixes, *(known or ())}
        if self.format == "atom" and self.feed["deleted_items"]:
            prefixes.add("at")
        prefixes -= self._own
        return {f"xmlns:{prefix}": NAMESPACES[prefix] for prefix in sorted(prefixes)} | dict(attributes)

    _own: ClassVar[frozenset[str]] = frozenset()
    """Vocabularies that are the format's own."""

    def add_extension(self, handler: SimplerXMLGenerator, extension: Any) -> None:
        """Write an `Extension` of the feed or of an item."""
        raise NotImplementedError

    def add_stylesheets(self, handler: SimplerXMLGenerator) -> None:
        """Write the stylesheets; they come before the root element."""
        for stylesheet in self.feed["stylesheets"] or ():
            handler.processingInstruction("xml-stylesheet", stylesheet)


class RssFeed(_XMLFeed):
    """RSS, of whatever version."""

    content_type = "application/rss+xml; charset=utf-8"
    format = "rss"
    _version: ClassVar[str]
    _item = "item"
    _prefixes = ("dc",)
    _dc = f' xmlns:dc="{NAMESPACES["dc"]}"'
    """How ``dc:creator`` says what ``dc`` is, where the root does not."""

    def _document(self, handler: SimplerXMLGenerator) -> Iterator[bytes]:
        handler.startDocument()
        self.add_stylesheets(handler)
        handler.startElement("rss", self._declared(self.rss_attributes()))
        self._dc = handler.declare("dc")
        handler.startElement("channel", self.root_attributes())
        self.add_root_elements(handler)
        yield from self._written_items(handler)
        self.endChannelElement(handler)
        handler.endElement("rss")
        yield handler.flush()

    def rss_attributes(self) -> dict[str, Any]:
        """Return attributes for the root element."""
        return {"version": self._version, "xmlns:atom": NAMESPACES["atom"]}

    def add_extension(self, handler: SimplerXMLGenerator, extension: Any) -> None:
        """Write an `Extension` of the feed or of an item."""
        extension.add_to_rss(handler)

    def endChannelElement(self, handler: SimplerXMLGenerator) -> None:
        """End the element that has the items."""
        handler.endElement("channel")

    def add_root_elements(self, handler: SimplerXMLGenerator) -> None:
        """Write what the channel says of itself (RSS 2.0, "Required channel elements" and after)."""
        feed = self.feed
        add = handler.addQuickElement
        self._add_title(handler, feed["title"])
        add("link", feed["link"])
        add("description", feed["description"])
        if feed["feed_url"] is not None:
            add("atom:link", None, {"rel": "self", "href": feed["feed_url"]})
        for rel, href in _relations(feed):
            add("atom:link", None, {"rel": rel, "href": href})
        if feed["language"] is not None:
            add("language", feed["language"])
        for category in feed["categories"]:
            handler.raw(_rss_category(category))
        if feed["feed_copyright"] is not None:
            add("copyright", feed["feed_copyright"])
        if self.django_compatible:
            add("lastBuildDate", rfc2822_date(self.latest_post_date()))
        elif (updated := self.updated()) is not None:
            add("lastBuildDate", rss_date(updated))
        if feed["ttl"] is not None:
            add("ttl", feed["ttl"])
        for author in feed["authors"]:
            add("dc:creator", author.name)
        if (picture := feed["icon"] or feed["favicon"]) is not None:
            self._add_image(handler, picture)
        for extension in feed["extensions"]:
            self.add_extension(handler, extension)

    def _add_image(self, handler: SimplerXMLGenerator, url: str) -> None:
        handler.startElement("image")
        handler.addQuickElement("url", url)
        self._add_title(handler, self.feed["title"])
        handler.addQuickElement("link", self.feed["link"])
        handler.endElement("image")

    def _add_title(self, handler: SimplerXMLGenerator, title: str | None) -> None:
        if title and not self.django_compatible:
            handler.raw(f"<title>{_for_html(escape(title))}</title>")
        else:
            handler.addQuickElement("title", title)


class RssUserland091Feed(RssFeed):
    """RSS 0.91 (Userland): items have a title, a link and a description."""

    _version = "0.91"

    def add_item_elements(self, handler: SimplerXMLGenerator, item: dict[str, Any]) -> None:
        """Write what is said of an item."""
        self._add_title(handler, item["title"])
        handler.addQuickElement("link", item["link"])
        if item["description"] is not None:
            handler.addQuickElement("description", item["description"])


class Rss201rev2Feed(RssFeed):
    """RSS 2.0 (RSS Advisory Board, 2.0.11)."""

    _version = "2.0"

    def item_xml(
        self,
        title: str | None,
        link: str,
        description: str | None,
        author_name: str | None,
        author_email: str | None,
        author_link: str | None,
        pubdate: date | None,
        updateddate: date | None,
        comments: str | None,
        unique_id: str | None,
        unique_id_is_permalink: bool | None,
        enclosures: Iterable[Enclosure],
        categories: Iterable[str | Category],
        item_copyright: str | None,
        ttl: str | None,
    ) -> str:
        """Write an ``item`` in words of RSS ("Elements of <item>")."""
        compatible = self.django_compatible
        author = date_ = said = guid = more = ""
        if title:
            title = escape(title)
            if not compatible and "&" in title:
                title = _for_html(title)
        if author_email or author_name:
            author = _rss_author(author_name, author_email, self._dc, compatible)
        if pubdate is not None:
            date_ = f"<pubDate>{rfc2822_date(pubdate) if compatible else rss_date(pubdate)}</pubDate>"
        if comments is not None:
            said = f"<comments>{escape(comments)}</comments>" if comments else "<comments/>"
        if unique_id is not None:
            permalink = unique_id_is_permalink
            if not (
                compatible or permalink is False or unique_id[:7] == "http://" or unique_id[:8] == "https://"
            ):
                permalink = False  # without the attribute it would be taken for the address of the item
            if permalink is True or permalink is False:
                guid = f'<guid isPermaLink="{"true" if permalink else "false"}">{escape(unique_id)}</guid>'
            else:
                guid = f"<guid>{escape(unique_id)}</guid>"
        if ttl is not None and compatible:
            more = f"<ttl>{escape(ttl)}</ttl>"
        if enclosures:
            more += _rss_enclosure(enclosures, compatible=compatible)
        for category in categories:
            if category and category.__class__ is str:
                more += f"<category>{escape(category)}</category>"
            else:
                more += _rss_category(category)
        if description and title and link:
            return (
                f"<title>{title}</title><link>{escape(link)}</link>"
                f"<description>{markup(description) if self._cdata else escape(description)}</description>"
                f"{author}{date_}{said}{guid}{more}"
            )
        first = f"<title>{title}</title>" if title else "<title/>"
        first += f"<link>{escape(link)}</link>" if link else "<link/>"
        if description is not None:
            first += f"<description>{escape(description)}</description>" if description else "<description/>"
        return f"{first}{author}{date_}{said}{guid}{more}"

    def add_item_elements(self, handler: SimplerXMLGenerator, item: dict[str, Any]) -> None:
        """Write what is said of an item."""
        handler.raw(self.item_xml(*_values_of(item)))
        if self.django_compatible:
            return
        if authors := item.get("authors"):
            email = item["author_email"]
            _add_rss_authors(handler, authors, has_author=bool(email and _is_email(email)))
        for extension in item.get("extensions", ()):
            self.add_extension(handler, extension)


class Atom1Feed(_XMLFeed):
    """Atom 1.0 (RFC 4287)."""

    content_type = "application/atom+xml; charset=utf-8"
    format = "atom"
    ns = NAMESPACES["atom"]
    _item = "entry"
    _own = frozenset({"atom"})
    _fallback: datetime = _EPOCH
    """When the feed changed last: it stands in for entries without a date."""

    def _document(self, handler: SimplerXMLGenerator) -> Iterator[bytes]:
        handler.startDocument()
        if not self.django_compatible:
            self._fallback = self.updated() or _EPOCH
            self.add_stylesheets(handler)
        handler.startElement("feed", self._declared(self.root_attributes()))
        self.add_root_elements(handler)
        yield from self._written_items(handler)
        handler.endElement("feed")
        yield handler.flush()

    def root_attributes(self) -> dict[str, Any]:
        """Return attributes for the root element."""
        if self.feed["language"] is not None:
            return {"xmlns": self.ns, "xml:lang": self.feed["language"]}
        return {"xmlns": self.ns}

    def add_root_elements(self, handler: SimplerXMLGenerator) -> None:
        """Write what the feed says of itself (section 4.1.1)."""
        feed = self.feed
        add = handler.addQuickElement
        add("title", feed["title"])
        if feed["link"] is not None:
            add("link", "", {"rel": "alternate", "href": feed["link"]})
        if feed["feed_url"] is not None:
            add("link", "", {"rel": "self", "href": feed["feed_url"]})
        for rel, href in _relations(feed):
            add("link", "", {"rel": rel, "href": href})
        add("id", self._feed_id())
        if self.django_compatible:
            add("updated", rfc3339_date(self.latest_post_date()))
        else:
            add("updated", atom_date(self._fallback))
        if feed["author_name"] is not None:
            who = (feed["author_name"], feed["author_email"], feed["author_link"])
            handler.raw(_person(*who, compatible=self.django_compatible))
        for author in feed["authors"]:
            handler.raw(_person(author.name, author.email, author.url))
        if not (self.django_compatible or feed["author_name"] or feed["authors"]):
            # a feed must name somebody, unless all of its entries do (section 4.1.1)
            handler.raw(_person(feed["title"] or feed["link"] or "-", None, None))
        if feed["subtitle"] is not None:
            add("subtitle", feed["subtitle"])
        for category in feed["categories"]:
            handler.raw(_atom_category(category))
        if feed["feed_copyright"] is not None:
            add("rights", feed["feed_copyright"])
        for name, url in (("icon", feed["favicon"]), ("logo", feed["icon"])):
            if url is not None:
                add(name, url)
        for extension in feed["extensions"]:
            self.add_extension(handler, extension)
        for tombstone in feed["deleted_items"]:
            self._add_tombstone(handler, tombstone)

    def add_extension(self, handler: SimplerXMLGenerator, extension: Any) -> None:
        """Write an `Extension` of the feed or of an item."""
        extension.add_to_atom(handler)

    def _add_tombstone(self, handler: SimplerXMLGenerator, tombstone: Tombstone) -> None:
        """Write that an entry was taken away (RFC 6721, section 3)."""
        ref = tombstone.ref
        if not ref.startswith(("http://", "https://")):
            ref = as_uri(ref, within=str(self.feed["id"]))  # as the id of the entry was
        handler.startElement("at:deleted-entry", {"ref": ref, "when": atom_date(tombstone.when)})
        if tombstone.by is not None:
            by = tombstone.by if isinstance(tombstone.by, Author) else Author(name=tombstone.by)
            handler.raw(_person(by.name, by.email, by.url, "at:by"))
        if tombstone.comment is not None:
            handler.addQuickElement("at:comment", tombstone.comment)
        handler.endElement("at:deleted-entry")

    def _feed_id(self) -> str:
        known = self.feed["id"]
        return known if self.django_compatible else as_uri(str(known), within="")

    def item_xml(
        self,
        title: str | None,
        link: str,
        description: str | None,
        author_name: str | None,
        author_email: str | None,
        author_link: str | None,
        pubdate: date | None,
        updateddate: date | None,
        comments: str | None,
        unique_id: str | None,
        unique_id_is_permalink: bool | None,
        enclosures: Iterable[Enclosure],
        categories: Iterable[str | Category],
        item_copyright: str | None,
        ttl: str | None,
    ) -> str:
        """Write an ``entry`` in words of Atom (section 4.1.2)."""
        compatible = self.django_compatible
        when = rfc3339_date if compatible else atom_date
        dates = author = summary = more = ""
        if pubdate is not None:
            published = when(pubdate)
            dates = f"<published>{published}</published>"
            if updateddate is None and not compatible:
                dates += f"<updated>{published}</updated>"
        elif updateddate is None and not compatible:
            dates = f"<updated>{when(self._fallback)}</updated>"
        if updateddate is not None:
            dates += f"<updated>{when(updateddate)}</updated>"
        if author_name is not None:
            author = _person(author_name, author_email, author_link, "author", compatible)
        if unique_id is None:
            within = str(self.feed["id"])
            unique_id = get_tag_uri(link, pubdate) if compatible else id_of_link(link, pubdate, within=within)
        elif not (compatible or _is_web_address(unique_id)):
            unique_id = as_uri(unique_id, within=str(self.feed["id"]))
        if description:
            text = markup(description) if self._cdata else escape(description)
            summary = f'<summary type="html">{text}</summary>'
        elif description is not None:
            summary = '<summary type="html"/>'
        for enclosure in enclosures:
            more += _atom_enclosure(enclosure, compatible=compatible)
        for category in categories:
            if category.__class__ is str and category.isprintable():
                more += f'<category term="{escape(category)}"/>'
            else:
                more += _atom_category(category)
        if item_copyright is not None:
            more += f"<rights>{escape(item_copyright)}</rights>" if item_copyright else "<rights/>"
        if title and link and unique_id:
            return (
                f'<title>{escape(title)}</title><link href="{escape(link)}" rel="alternate"/>'
                f"{dates}{author}<id>{escape(unique_id)}</id>{summary}{more}"
            )
        first = f"<title>{escape(title)}</title>" if title else "<title/>"
        if link is not None:
            first += f'<link href="{escape(link)}" rel="alternate"/>'
        first += f"{dates}{author}"
        return (
            f"{first}<id>{escape(unique_id)}</id>{summary}{more}"
            if unique_id
            else f"{first}<id/>{summary}{more}"
        )

    def add_item_elements(self, handler: SimplerXMLGenerator, item: dict[str, Any]) -> None:
        """Write what is said of an entry."""
        handler.raw(self.item_xml(*_values_of(item)))
        if self.django_compatible:
            return
        for author in item.get("authors", ()):
            handler.raw(_person(author.name, author.email, author.url))
        for extension in item.get("extensions", ()):
            self.add_extension(handler, extension)


DefaultFeed = Rss201rev2Feed

# --- items -------------------------------------------------------------------------------------------


def _dates_of(items: Iterable[Mapping[str, Any]]) -> Sequence[date]:
    return [each for item in items for each in (item.get("updateddate"), item.get("pubdate")) if each]


def _begun(several: Iterable[Any]) -> tuple[Sequence[Any], Iterable[Any]]:
    """Return what is known of some things without an end of the waiting, and all of them."""
    if isinstance(several, Sequence):
        return several, several
    rest = iter(several)
    first = list(itertools.islice(rest, 1))
    return first, itertools.chain(first, rest)


# --- parts -------------------------------------------------------------------------------------------


def _text(value: Any) -> str | None:
    return str(value) if value is not None else None


def _categories(categories: Iterable[Any] | None) -> Sequence[str | Category]:
    return [
        each if each.__class__ is str or isinstance(each, Category) else str(each)
        for each in categories or ()
    ]


def _for_html(title: str) -> str:
    """Spell an escaped title so that who takes it for HTML shows the same (RSS profile, "Character data")."""
    return title.replace("&amp;", "&#x26;").replace("&lt;", "&#x3C;")


def _attribute(value: Any) -> str:
    """Escape what stands between quotes and is short and plain nearly always."""
    return escape(value) if value.__class__ is str and value.isprintable() else attribute(value)


def _relations(feed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Links of a feed beside those that it always has."""
    yield from (("hub", hub) for hub in feed["hubs"])
    yield from feed["links"]


def _rss_category(category: str | Category) -> str:
    domain = (
        f' domain="{attribute(category.scheme)}"'
        if isinstance(category, Category) and category.scheme
        else ""
    )
    term = str(category)
    return f"<category{domain}>{escape(term)}</category>" if term else f"<category{domain}/>"


def _atom_category(category: str | Category) -> str:
    if not isinstance(category, Category):
        return f'<category term="{attribute(category)}"/>'
    parts = {"label": category.label, "scheme": iri_to_uri(category.scheme), "term": category.term}
    inner = " ".join(f'{name}="{attribute(value)}"' for name, value in parts.items() if value is not None)
    return f"<category {inner}/>"


def _rss_enclosure(enclosures: Iterable[Enclosure], *, compatible: bool) -> str:
    several = list(enclosures)
    if len(several) > 1:
        raise ValueError(
            "RSS feed items may only have one enclosure, see "
            "http://www.rssboard.org/rss-profile#element-channel-item-enclosure"
        )
    if not several and not compatible:
        return ""
    enclosure = several[0]
    length, mime_type = enclosure.length, enclosure.mime_type
    if not compatible:  # all three are required: what is not known is 0, or guessed
        length = _octets(length) or "0"
        mime_type = _media_type(str(mime_type)) or mimetypes.guess_type(enclosure.url)[0] or _UNKNOWN_TYPE
    return (
        f'<enclosure length="{_attribute(length)}" type="{_attribute(mime_type)}" '
        f'url="{escape(enclosure.url)}"/>'
    )


def _atom_enclosure(enclosure: Enclosure, *, compatible: bool) -> str:
    length, mime_type = enclosure.length, enclosure.mime_type
    if not compatible:
        length, mime_type = _octets(length), _media_type(str(mime_type))
    size = f' length="{_attribute(length)}"' if length is not None else ""
    kind = f' type="{_attribute(mime_type)}"' if mime_type is not None else ""
    return f'<link href="{escape(enclosure.url)}"{size} rel="enclosure"{kind}/>'


_UNKNOWN_TYPE: Final = "application/octet-stream"
_is_media_type: Final = re.compile(r"[\w!#$&^.+\-]+/[\w!#$&^.+\-]+\s*(?:;.*)?\Z", re.ASCII).match
_is_email: Final = re.compile(r"[^\s@]+@[^\s@]+\Z").match


@functools.lru_cache(maxsize=256)  # few people write a feed
def _rss_author(name: str | None, email: str | None, dc: str, compatible: bool) -> str:
    """Write an ``author``, who has an e-mail address, or else a ``dc:creator``."""
    if email and (compatible or _is_email(email)):
        return f"<author>{escape(f'{email} ({name})' if name else email)}</author>"
    return f"<dc:creator{dc}>{escape(name)}</dc:creator>" if name else ""


def _octets(length: Any) -> str | None:
    """A length, if it is one: a number of bytes."""
    text = length if length.__class__ is str else str(length)
    return text if text.isdigit() and text.isascii() else None


@functools.lru_cache(maxsize=256)  # most files of a feed are of one kind
def _media_type(text: str) -> str | None:
    """A media type, if it is one (RFC 6838, section 4.2)."""
    return text if _is_media_type(text) else None


def _is_web_address(unique_id: str) -> bool:
    """Is this id a URL as it is? By a short look, for there is one in each item."""
    return unique_id.startswith(("http://", "https://")) and " " not in unique_id and unique_id.isprintable()


def _add_rss_authors(handler: SimplerXMLGenerator, authors: Iterable[Author], *, has_author: bool) -> None:
    """RSS has room for one author, who has an address; the others are creators of Dublin Core."""
    for author in authors:
        if author.email and _is_email(author.email) and not has_author:
            has_author = True
            handler.addQuickElement("author", f"{author.email} ({author.name})")
        else:
            handler.addQuickElement("dc:creator", author.name)


@functools.lru_cache(maxsize=256)  # few people write a feed
def _person(
    name: str, email: str | None, url: str | None, element: str = "author", compatible: bool = False
) -> str:
    """Write an ``author`` or another person (RFC 4287, section 3.2)."""
    xml = f"<{element}><name>{escape(name)}</name>" if name else f"<{element}><name/>"
    if url is not None and not compatible:
        url = iri_to_uri(tidy(url))
    if email is not None and (compatible or _is_email(email)):
        xml += f"<email>{escape(email)}</email>" if email else "<email/>"
    if url is not None:
        xml += f"<uri>{escape(url)}</uri>" if url else "<uri/>"
    return f"{xml}</{element}>"


# it is a SyndicationFeed, which has to be there first
from .jsonfeed import JSONFeed  # noqa: E402
