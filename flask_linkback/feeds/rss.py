"""RSS: 0.91 and 2.0."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, ClassVar

from .extensions import Extension
from .syndication import ours
from .values import Author, Category, Enclosure, media_type_of, rfc2822_date, rss_date
from .writer import NAMESPACES, SimplerXMLGenerator, attribute, escape, markup
from .xmlfeed import XMLFeed, categories_xml, is_email, octets, type_attribute, values_of

__all__ = ["Rss201rev2Feed", "RssFeed", "RssUserland091Feed"]


class RssFeed(XMLFeed):
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
        for rel, href in self.relations():
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
        for author in self.own("authors", Author):
            add("dc:creator", author.name)
        if (picture := self.picture("icon") or self.picture("favicon")) is not None:
            self._add_image(handler, picture)
        for extension in self.own("extensions", Extension):
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
        at = escape(link) if link else ""
        if unique_id is not None:
            permalink = unique_id_is_permalink
            if not (compatible or permalink is False or unique_id.startswith(("http://", "https://"))):
                permalink = False  # without the attribute it would be taken for the address of the item
            about = ""
            if permalink is True or permalink is False:
                about = f' isPermaLink="{"true" if permalink else "false"}"'
            guid = f"<guid{about}>{at if unique_id is link else escape(unique_id)}</guid>"
        if ttl is not None and compatible:
            more = f"<ttl>{escape(ttl)}</ttl>"
        if enclosures:
            more += _rss_enclosure(enclosures, compatible)
        if categories:
            more += categories_xml(categories, _rss_category)
        if description and title and link:
            return (
                f"<title>{title}</title><link>{at}</link>"
                f"<description>{markup(description) if self._cdata else escape(description)}</description>"
                f"{author}{date_}{said}{guid}{more}"
            )
        first = f"<title>{title}</title>" if title else "<title/>"
        first += f"<link>{at}</link>" if link else "<link/>"
        if description is not None:
            first += f"<description>{escape(description)}</description>" if description else "<description/>"
        return f"{first}{author}{date_}{said}{guid}{more}"

    def add_item_elements(self, handler: SimplerXMLGenerator, item: dict[str, Any]) -> None:
        """Write what is said of an item."""
        handler.raw(self.item_xml(*values_of(item)))
        if self.django_compatible:
            return
        if (authors := item.get("authors")) and (known := ours(authors, Author)):
            email = item["author_email"]
            _add_rss_authors(handler, known, has_author=bool(email and is_email(email)))
        if extensions := item.get("extensions"):
            for extension in ours(extensions, Extension):
                self.add_extension(handler, extension)


# --- parts -------------------------------------------------------------------------------------------


def _for_html(title: str) -> str:
    """Spell an escaped title so that who takes it for HTML shows the same (RSS profile, "Character data")."""
    return title.replace("&amp;", "&#x26;").replace("&lt;", "&#x3C;")


def _rss_category(category: str | Category) -> str:
    domain = (
        f' domain="{attribute(category.scheme)}"'
        if isinstance(category, Category) and category.scheme
        else ""
    )
    term = str(category)
    return f"<category{domain}>{escape(term)}</category>" if term else f"<category{domain}/>"


def _rss_enclosure(enclosures: Iterable[Enclosure], compatible: bool) -> str:
    several = enclosures if enclosures.__class__ is tuple else tuple(enclosures)
    if len(several) != 1:
        if several:
            raise ValueError(
                "RSS feed items may only have one enclosure, see "
                "http://www.rssboard.org/rss-profile#element-channel-item-enclosure"
            )
        if not compatible:
            return ""
    enclosure = several[0]
    if compatible:
        length, kind = attribute(enclosure.length), attribute(enclosure.mime_type)
    else:  # all three are required: what is not known is 0, or guessed
        length = octets(enclosure.length) or "0"
        kind = type_attribute(enclosure.mime_type) or attribute(media_type_of(enclosure))
    return f'<enclosure length="{length}" type="{kind}" url="{escape(enclosure.url)}"/>'


@functools.lru_cache(maxsize=256)  # few people write a feed
def _rss_author(name: str | None, email: str | None, dc: str, compatible: bool) -> str:
    """Write an ``author``, who has an e-mail address, or else a ``dc:creator``."""
    if email and (compatible or is_email(email)):
        return f"<author>{escape(f'{email} ({name})' if name else email)}</author>"
    return f"<dc:creator{dc}>{escape(name)}</dc:creator>" if name else ""


def _add_rss_authors(handler: SimplerXMLGenerator, authors: Iterable[Author], *, has_author: bool) -> None:
    """RSS has room for one author, who has an address; the others are creators of Dublin Core."""
    for author in authors:
        if author.email and is_email(author.email) and not has_author:
            has_author = True
            handler.addQuickElement("author", f"{author.email} ({author.name})")
        else:
            handler.addQuickElement("dc:creator", author.name)
