"""Counts: how many mentions the pages of a feed's items show."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from ..errors import ImproperlyConfigured
from ..linkbacks.showing import mention_counts
from ..models import key_of
from ..site import Site
from .place import Place
from .threads import MentionCount

if TYPE_CHECKING:
    from .view import Feed

__all__ = ["counted", "is_counted"]

_AT_ONCE: Final = 500
"""So many items of a stream are counted by one query; they are in memory together."""


def is_counted(view: Feed, place: Place) -> bool:
    """Are mentions counted, and is there a word for it?"""
    has_word = place.feed_type.format in MentionCount.prefixes
    return view.show_mention_counts and has_word and not view.django_compatible


def counted(
    items: Iterable[Any], make: Callable[[Any], dict[str, Any]], place: Place
) -> Iterator[dict[str, Any]]:
    """Make items that say how many mentions their pages show: by one query for a list of them.

    A mapped object is counted as itself, anything else by its link.
    """
    if place.linkback is None:
        raise ImproperlyConfigured(
            "show_mention_counts counts mentions, but there is no Linkback here. Did you call "
            "linkback.init_app(app)?"
        )
    return _counted(items, make, place.linkback)


def _counted(
    items: Iterable[Any], make: Callable[[Any], dict[str, Any]], site: Site
) -> Iterator[dict[str, Any]]:
    rest = iter(items)
    size = len(items) if isinstance(items, list) else _AT_ONCE
    while some := list(itertools.islice(rest, size)):
        made = [make(item) for item in some]
        pages = [
            item if key_of(item) is not None else each["link"] for item, each in zip(some, made, strict=True)
        ]
        for each, count in zip(made, mention_counts(site, pages), strict=True):
            each["extensions"] = [*each["extensions"], MentionCount(count)]
            yield each
