"""Vocabularies: which hooks say what RSS and Atom have no words for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .extensions import Content, Extension
from .geo import Geometry
from .media import MediaFiles
from .podcasts import ITunesEpisode, ITunesShow, PodcastEpisode, PodcastShow
from .threads import CommentsFeed, InReplyTo

__all__ = ["FEED_HOOKS", "ITEM_HOOKS"]

FEED_HOOKS: Final[Mapping[str, type[Extension]]] = {
    "itunes": ITunesShow,
    "podcast": PodcastShow,
    "geometry": Geometry,
}
"""What the value of a hook of `Feed` becomes."""
ITEM_HOOKS: Final[Mapping[str, type[Extension]]] = {
    "item_content": Content,
    "item_comments_feed": CommentsFeed,
    "item_in_reply_to": InReplyTo,
    "item_media": MediaFiles,
    "item_itunes": ITunesEpisode,
    "item_podcast": PodcastEpisode,
    "item_geometry": Geometry,
}
"""What the value of an item's hook becomes."""
