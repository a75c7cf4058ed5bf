"""Checking: a feed's class as it is written: what is no hook, and what cannot work, is told at once."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from typing import Any, Final

from ..errors import ImproperlyConfigured
from .syndication import SyndicationFeed
from .vocabularies import FEED_HOOKS, ITEM_HOOKS

__all__ = ["check_class"]

logger = logging.getLogger("flask_linkback.feeds")

_HOOKS: Final = frozenset(
    {
        *("title", "link", "description", "subtitle", "feed_url", "feed_guid", "items"),
        *("author_name", "author_email", "author_link", "authors", "categories", "feed_copyright", "ttl"),
        *("stylesheets", "hub", "hubs", "links", "last_modified", "etag"),
        *("item_guid", "item_guid_is_permalink", "item_pubdate", "item_updateddate", "item_comments"),
        *("item_author_name", "item_author_email", "item_author_link", "item_authors"),
        *("item_categories", "item_copyright"),
        *("item_enclosure_url", "item_enclosure_length", "item_enclosure_mime_type"),
        *FEED_HOOKS,
        *ITEM_HOOKS,
    }
)
"""Hooks that a feed's class may have beside those that `Feed` has itself."""
_ALIKE: Final = 0.85


def check_class(view: Any, base: type[Any]) -> None:
    """Look at what a subclass of `Feed` says itself; `ImproperlyConfigured` for what cannot work.

    A name that is nearly that of a hook is told in the log: it may be a method of somebody's own.
    """
    _check_types(view)
    known = sorted({name for name in dir(base) if not name.startswith("_")} | _HOOKS)
    for name in vars(view):
        if name.startswith("_") or name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)
        if near and near[0] not in vars(view):
            logger.warning("%s.%s is no hook of feeds. Did you mean %s?", view.__name__, name, near[0])


def _check_types(view: Any) -> None:
    types = view.feed_types
    if not isinstance(types, Sequence) or isinstance(types, str):
        raise ImproperlyConfigured(f"{view.__name__}.feed_types must be a list of generators.")
    for name, feed_type in (("feed_type", view.feed_type), *(("feed_types", each) for each in types)):
        if not (isinstance(feed_type, type) and issubclass(feed_type, SyndicationFeed)):
            raise ImproperlyConfigured(
                f"{view.__name__}.{name} says {feed_type!r}: it must be a generator such as Atom1Feed."
            )
    size = view.paginate_by
    if size is not None and not (isinstance(size, int) and size > 0):
        raise ImproperlyConfigured(f"{view.__name__}.paginate_by must be a number of items, not {size!r}.")
    cache = view.cache
    if cache is not None and not (hasattr(cache, "get") and hasattr(cache, "set")):
        raise ImproperlyConfigured(
            f"{view.__name__}.cache must be a cache with get() and set(), such as cachelib's, not {cache!r}."
        )
