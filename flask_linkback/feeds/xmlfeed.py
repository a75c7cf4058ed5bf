"""XML feeds: what RSS and Atom have in common."""

from __future__ import annotations

import codecs
import functools
import io
import itertools
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from .extensions import Extension
from .syndication import FLUSH_EVERY, SyndicationFeed, ours
from .values import media_type
from .writer import NAMESPACES, SimplerXMLGenerator, attribute

__all__ = ["XMLFeed", "is_email", "octets", "type_attribute", "values_of"]

values_of: Final = operator.itemgetter(
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


class XMLFeed(SyndicationFeed):
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
        if type(self).write is not XMLFeed.write:
            return super().chunks()
        return self._document(self._handler("utf-8"))

    def encoded(self, items: Iterable[str]) -> Iterator[bytes]:
        """Return items in UTF-8, some at a time, of which is written what is said of them."""
        handler = self._handler("utf-8")
        begin, end = self.item_tags()
        rest = iter(items)
        while part := f"{end}{begin}".join(itertools.islice(rest, FLUSH_EVERY)):
            handler.raw(f"{begin}{part}{end}")
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
        elif type(self).write_items is not XMLFeed.write_items:
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
        known = self.prefixes
        extensions = list(self.own("extensions", Extension))
        if known is None and isinstance(self.items, Sequence):
            several = (item.get("extensions") for item in self.items)
            extensions += [each for some in several if some for each in ours(some, Extension)]
        prefixes = {prefix for each in extensions for prefix in each.prefixes.get(self.format, ())}
        prefixes |= {*self._prefixes, *(known or ())}
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


@functools.lru_cache(maxsize=256, typed=True)  # most files of a feed are of one kind
def type_attribute(mime_type: Any) -> str:
    """Return a media type as it stands between quotes; empty for what is none."""
    return attribute(media_type(str(mime_type)) or "")


def categories_xml(categories: Iterable[Any], write: Callable[[Any], str]) -> str:
    """Write categories, each by a function; of those that are words the last ones are remembered."""
    if categories.__class__ is tuple or categories.__class__ is list:
        for each in categories:
            if each.__class__ is not str:  # it may equal another thing that is written otherwise
                break
        else:
            return _written_words(tuple(categories), write)
    return "".join(map(write, categories))


@functools.lru_cache(maxsize=1024)  # items share their categories
def _written_words(words: tuple[str, ...], write: Callable[[str], str]) -> str:
    return "".join(map(write, words))


is_email: Final = re.compile(r"[^\s@]+@[^\s@]+\Z").match


def octets(length: Any) -> str | None:
    """A length, if it is one: a number of bytes."""
    text = length if length.__class__ is str else str(length)
    return text if text.isdigit() and text.isascii() else None
