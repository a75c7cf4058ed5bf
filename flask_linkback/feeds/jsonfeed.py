"""JSON: a feed's values as JSON Feed 1.1."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors import UnserializableContentError
from ..protocols.html import text_of
from .extensions import Extension
from .syndication import FLUSH_EVERY, SyndicationFeed, ours
from .values import Author, Enclosure, atom_date, media_type_of

__all__ = ["JSONFeed"]

_VERSION: Final = "https://jsonfeed.org/version/1.1"
_SUMMARY_CHARACTERS: Final = 1000
_surrogates: Final = re.compile("[\ud800-\udfff]")
_beyond_ascii: Final = re.compile("[^\x00-\x7f]")
_is_size: Final = re.compile("[1-9][0-9]{0,17}").fullmatch
_dump: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class JSONFeed(SyndicationFeed):
    """JSON Feed 1.1 (jsonfeed.org).

    It has what RSS and Atom have of a feed and its items, whose description is the ``content_html`` of those
    without content. A subclass overrides `add_root_values` and `add_item_values` as one of the others does
    ``add_root_elements`` and ``add_item_elements``; names of its own begin with ``_`` (section "Extensions").

    Control characters are escaped, lone surrogates left out; with ``strict`` they raise
    `UnserializableContentError`.
    """

    content_type = "application/feed+json"
    format = "json"
    plain_text = True

    def add_root_values(self, values: dict[str, Any]) -> None:
        """Put what the feed says of itself, all but its items, into an object (section "Top-level")."""
        feed = self.feed
        said = {
            "version": _VERSION,
            "title": feed["title"] or "",
            "home_page_url": feed["link"],
            "feed_url": feed["feed_url"],
            "description": feed["description"] or None,
            "next_url": next((href for rel, href in self.relations() if rel == "next"), None),
            "icon": self.picture("icon"),
            "favicon": self.picture("favicon"),
            "authors": _authors(feed),
            "language": feed["language"],
            "hubs": [{"type": "WebSub", "url": hub} for hub in self.own("hubs", str)] or None,
        }
        values.update((name, value) for name, value in said.items() if value is not None)
        for extension in self.own("extensions", Extension):
            extension.add_to_json(values)

    def add_item_values(self, values: dict[str, Any], item: dict[str, Any]) -> None:
        """Put what is said of an item into an object (section "Items")."""
        pubdate, updated = item["pubdate"], item["updateddate"]
        said = {
            "id": item["unique_id"] if item["unique_id"] is not None else item["link"] or "",
            "url": item["link"],
            "title": item["title"] or None,
            "date_published": atom_date(pubdate) if pubdate is not None else None,
            "date_modified": atom_date(updated) if updated is not None else None,
            "authors": _authors(item),
            "tags": [str(category) for category in item["categories"]] or None,
            "language": item.get("language"),
            "attachments": [_attachment(each) for each in item["enclosures"]] or None,
        }
        values.update((name, value) for name, value in said.items() if value is not None)
        for extension in ours(item.get("extensions"), Extension):
            extension.add_to_json(values)
        description = item["description"] or ""
        if not {"content_html", "content_text"} & values.keys():
            values["content_html"] = description
        elif description and "summary" not in values:
            values["summary"] = text_of(description, _SUMMARY_CHARACTERS)

    def write(self, outfile: Any, encoding: str) -> None:
        """Write the feed to a file of text or of bytes; JSON is UTF-8, in any other encoding it is ASCII."""
        for text in self._texts():
            if encoding.lower().replace("-", "").replace("_", "") != "utf8":
                text = _beyond_ascii.sub(_escaped, text)
            outfile.write(text if isinstance(outfile, io.TextIOBase) else text.encode(encoding))

    def chunks(self) -> Iterator[bytes]:
        """Return the feed in UTF-8, some items at a time."""
        if type(self).write is not JSONFeed.write:
            yield from super().chunks()
            return
        for text in self._texts():
            yield text.encode()

    def _texts(self) -> Iterator[str]:
        """The document in parts that can be encoded."""
        for text in self._document():
            if not text.isascii() and _surrogates.search(text):
                if self.strict:
                    raise UnserializableContentError("Lone surrogates are no characters.")
                text = _surrogates.sub("", text)
            yield text

    def _document(self) -> Iterator[str]:
        values: dict[str, Any] = {}
        self.add_root_values(values)
        parts = [f'{_dump(values)[:-1]}{"," if values else ""}"items":[']
        before = ""
        for number, item in enumerate(self.items, 1):
            values = {}
            self.add_item_values(values, item)
            parts.append(f"{before}{_dump(values)}")
            before = ","
            if not number % FLUSH_EVERY:
                yield "".join(parts)
                parts.clear()
        yield f"{''.join(parts)}]}}"


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def _authors(of: Mapping[str, Any]) -> Any:
    """The authors of a feed or item; an address of e-mail is not said."""
    authors: list[Author] = []
    if of["author_name"] is not None:
        authors.append(Author(name=of["author_name"], url=of["author_link"]))
    authors += ours(of.get("authors"), Author)
    return [_author(each) for each in authors] or None


def _author(author: Author) -> Mapping[str, str]:
    said = {"name": author.name, "url": author.url, "avatar": author.avatar}
    return {name: value for name, value in said.items() if value is not None}


def _attachment(enclosure: Enclosure) -> dict[str, Any]:
    """An enclosure: its type must be there, its size is a number."""
    attachment = {"url": enclosure.url, "mime_type": media_type_of(enclosure)}
    length = str(enclosure.length)
    # 0 means that nobody knows, in RSS
    return {**attachment, "size_in_bytes": int(length)} if _is_size(length) else attachment
