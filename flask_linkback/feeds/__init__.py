"""Feeds: a site's news as RSS, Atom and JSON Feed."""

from . import generators
from .values import Author, Category, Enclosure, Media, Stylesheet, Tombstone
from .view import Feed

__all__ = [
    "Author",
    "Category",
    "Enclosure",
    "Feed",
    "Media",
    "Stylesheet",
    "Tombstone",
    "generators",
]
