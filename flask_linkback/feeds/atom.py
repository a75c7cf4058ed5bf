"""Atom 1.0."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from .extensions import Extension
from .syndication import ours
from .values import (
    Author,
    Category,
    Enclosure,
    Tombstone,
    as_uri,
    atom_date,
    get_tag_uri,
    id_of_link,
    iri_to_uri,
    rfc3339_date,
    tidy,
)
from .writer import NAMESPACES, SimplerXMLGenerator, attribute, escape, markup
from .xmlfeed import XMLFeed, categories_xml, is_email, octets, type_attribute, values_of

__all__ = ["Atom1Feed"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The date of what has none: an empty feed says the same whenever it is read."""


class Atom1Feed(XMLFeed):
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
        for rel, href in self.own("links", tuple):
            add("link", "", {"rel": rel, "href": href})
        add("id", self._feed_id())
        if self.django_compatible:
            add("updated", rfc3339_date(self.latest_post_date()))
        else:
            add("updated", atom_date(self._fallback))
        if feed["author_name"] is not None:
            who = (feed["author_name"], feed["author_email"], feed["author_link"])
            handler.raw(_person(*who, compatible=self.django_compatible))
        authors = self.own("authors", Author)
        for author in authors:
            handler.raw(_person(author.name, author.email, author.url))
        if not (self.django_compatible or feed["author_name"] or authors):
            # a feed must name somebody, unless all of its entries do (section 4.1.1)
            handler.raw(_person(feed["title"] or feed["link"] or "-", None, None))
        if feed["subtitle"] is not None:
            add("subtitle", feed["subtitle"])
        for category in feed["categories"]:
            handler.raw(_atom_category(category))
        if feed["feed_copyright"] is not None:
            add("rights", feed["feed_copyright"])
        for name, url in (("icon", self.picture("favicon")), ("logo", self.picture("icon"))):
            if url is not None:
                add(name, url)
        for extension in self.own("extensions", Extension):
            self.add_extension(handler, extension)
        for tombstone in self.own("deleted_items", Tombstone):
            self._add_tombstone(handler, tombstone)
        for hub in self.own("hubs", str):  # where django-push has it
            add("link", "", {"rel": "hub", "href": hub})

    def _declared(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        if self.own("deleted_items", Tombstone):
            attributes = {"xmlns:at": NAMESPACES["at"], **attributes}
        return super()._declared(attributes)

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
            more += _atom_enclosure(enclosure, compatible)
        if categories:
            more += categories_xml(categories, _atom_category)
        if item_copyright is not None:
            more += f"<rights>{escape(item_copyright)}</rights>" if item_copyright else "<rights/>"
        at = escape(link) if link else ""
        about = at if unique_id is link else escape(unique_id)
        if title and link and about:
            return (
                f'<title>{escape(title)}</title><link href="{at}" rel="alternate"/>'
                f"{dates}{author}<id>{about}</id>{summary}{more}"
            )
        first = f"<title>{escape(title)}</title>" if title else "<title/>"
        if link is not None:
            first += f'<link href="{at}" rel="alternate"/>'
        first += f"{dates}{author}"
        return f"{first}<id>{about}</id>{summary}{more}" if about else f"{first}<id/>{summary}{more}"

    def add_item_elements(self, handler: SimplerXMLGenerator, item: dict[str, Any]) -> None:
        """Write what is said of an entry."""
        handler.raw(self.item_xml(*values_of(item)))
        if self.django_compatible:
            return
        if authors := item.get("authors"):
            for author in ours(authors, Author):
                handler.raw(_person(author.name, author.email, author.url))
        if extensions := item.get("extensions"):
            for extension in ours(extensions, Extension):
                self.add_extension(handler, extension)


# --- parts -------------------------------------------------------------------------------------------


def _atom_category(category: str | Category) -> str:
    if not isinstance(category, Category):
        return f'<category term="{attribute(category)}"/>'
    parts = {"label": category.label, "scheme": iri_to_uri(category.scheme), "term": category.term}
    inner = " ".join(f'{name}="{attribute(value)}"' for name, value in parts.items() if value is not None)
    return f"<category {inner}/>"


def _atom_enclosure(enclosure: Enclosure, compatible: bool) -> str:
    length, mime_type = enclosure.length, enclosure.mime_type
    if not compatible:
        size = f' length="{known}"' if (known := octets(length)) is not None else ""
        kind = type_attribute(mime_type)
        of_kind = f' type="{kind}"' if kind else ""
    else:
        size = f' length="{attribute(length)}"' if length is not None else ""
        of_kind = f' type="{attribute(mime_type)}"' if mime_type is not None else ""
    return f'<link href="{escape(enclosure.url)}"{size} rel="enclosure"{of_kind}/>'


def _is_web_address(unique_id: str) -> bool:
    """Is this id a URL as it is? By a short look, for there is one in each item."""
    return unique_id.startswith(("http://", "https://")) and " " not in unique_id and unique_id.isprintable()


@functools.lru_cache(maxsize=256)  # few people write a feed
def _person(
    name: str, email: str | None, url: str | None, element: str = "author", compatible: bool = False
) -> str:
    """Write an ``author`` or another person (RFC 4287, section 3.2)."""
    xml = f"<{element}><name>{escape(name)}</name>" if name else f"<{element}><name/>"
    if url is not None and not compatible:
        url = iri_to_uri(tidy(url))
    if email is not None and (compatible or is_email(email)):
        xml += f"<email>{escape(email)}</email>" if email else "<email/>"
    if url is not None:
        xml += f"<uri>{escape(url)}</uri>" if url else "<uri/>"
    return f"{xml}</{element}>"
