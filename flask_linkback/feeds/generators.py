"""Generators: a feed's values as RSS 0.91, RSS 2.0, Atom 1.0 or JSON Feed; they need no application."""

from ..errors import UnserializableContentError
from .atom import Atom1Feed
from .jsonfeed import JSONFeed
from .rss import Rss201rev2Feed, RssFeed, RssUserland091Feed
from .syndication import SyndicationFeed
from .values import (
    Enclosure,
    Stylesheet,
    add_domain,
    get_tag_uri,
    iri_to_uri,
    rfc2822_date,
    rfc3339_date,
)
from .writer import SimplerXMLGenerator

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

DefaultFeed = Rss201rev2Feed
