"""Media: the pictures, sounds and films of an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from .extensions import Absolute, Element, Extension, Prefixes, all_of, several, wrong
from .podcasts import plain
from .values import Media
from .writer import SimplerXMLGenerator

__all__ = ["MediaFiles"]

_MEDIUMS = ("image", "audio", "video", "document", "executable")
_ATTRIBUTES = ("url", "type", "medium", "width", "height", "duration")


@dataclass(frozen=True)
class MediaFiles(Extension):
    """What belongs to an item, as Media RSS 1.5.1 has it: a `Media` or a list of them."""

    files: Sequence[Media]
    elements: Sequence[Element]
    prefixes: ClassVar[Prefixes] = {"rss": ("media",), "atom": ("media",)}

    @classmethod
    def of(cls, said: Any, hook: str, absolute: Absolute) -> Self:
        files = []
        for media in all_of(Media, said, hook):
            if media.medium is not None and media.medium not in _MEDIUMS:
                raise wrong(hook, f"medium is one of {', '.join(_MEDIUMS)}, not {media.medium!r}.")
            thumbnails = tuple(map(absolute, several(media.thumbnails)))
            files.append(replace(media, url=absolute(media.url), thumbnails=thumbnails))
        return cls(files, [_element(each, hook) for each in files])

    def add_to_rss(self, handler: SimplerXMLGenerator) -> None:
        for element in self.elements:
            element.write(handler)

    add_to_atom = add_to_rss

    def add_to_json(self, values: dict[str, Any]) -> None:
        pictures = [each.url for each in self.files if each.medium == "image" or _is_image(each)]
        pictures += [thumbnail for each in self.files for thumbnail in each.thumbnails]
        if pictures:
            values.setdefault("image", pictures[0])


def _is_image(media: Media) -> bool:
    return media.type is not None and media.type.startswith("image/")


def _element(media: Media, hook: str) -> Element:
    children = [
        Element(f"media:{name}", value, {"type": "plain"})
        for name in ("title", "description")
        if (value := getattr(media, name)) is not None
    ]
    children += [Element("media:thumbnail", None, {"url": url}) for url in media.thumbnails]
    if media.credit is not None:
        children.append(Element("media:credit", media.credit))
    attributes = {
        name: plain(hook, name, value) for name in _ATTRIBUTES if (value := getattr(media, name)) is not None
    }
    return Element("media:content", None, attributes, children)
