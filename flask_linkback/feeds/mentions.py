"""Mentions: those that a page of ours shows, as a feed for whoever follows a conversation."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask import abort, request

from ..errors import BaseURLMissing, FeedDoesNotExist, UnknownTarget
from ..linkbacks.avatars import AVATAR
from ..linkbacks.showing import mention_page
from ..linkbacks.shown import Shown
from ..protocols.microformats import MentionType
from ..site import current_site
from .atom import Atom1Feed
from .view import Feed

__all__ = ["MentionFeed"]

_ITEMS: Final = 50
_MAX_AGE: Final = 60
"""Seconds for which others may keep it: so long may be seen what was taken away."""
_DO: Final = {
    MentionType.mention: "mentions this page",
    MentionType.reply: "replies",
    MentionType.like: "likes this page",
    MentionType.repost: "reposts this page",
    MentionType.bookmark: "bookmarks this page",
    MentionType.rsvp: "says whether they come",
}


@dataclass(frozen=True, kw_only=True)
class _Page:
    """A page of ours, and what is shown of its mentions."""

    url: str
    mentions: Sequence[Shown]


class MentionFeed(Feed):
    """The newest mentions of one page, as Atom: ``?target=URL``. All that strangers said in it is text."""

    feed_type = Atom1Feed
    max_age = _MAX_AGE
    hubs = ()  # nobody tells a hub of a mention

    @classmethod
    def query_arguments(cls) -> Sequence[str]:
        return ["target"]

    def get_object(self) -> _Page:
        """Return the page and its mentions; a page that is none of ours is 404."""
        target = request.args.get("target", "")
        if not target:
            abort(400, "Which page? Say ?target=URL.")
        if "\0" in target or "%00" in target:  # no page has one in its address, and databases mind it
            raise FeedDoesNotExist
        site = current_site()

        def picture(key: str) -> str:
            return site.url_for(AVATAR, key=key)

        try:
            found = mention_page(site, target, avatar_url=picture, limit=_ITEMS)
        except (UnknownTarget, BaseURLMissing):
            raise FeedDoesNotExist from None
        return _Page(url=target, mentions=found.mentions)

    def title(self, obj: _Page) -> str:
        return f"Mentions of {obj.url}"

    def link(self, obj: _Page) -> str:
        return obj.url

    def items(self, obj: _Page) -> Sequence[Shown]:
        return obj.mentions

    def item_title(self, item: Shown) -> str:
        return html.escape(item.title or f"{item.name} {_DO[item.type]}")

    def item_description(self, item: Shown) -> str:
        return "".join(f"<p>{html.escape(line)}</p>" for line in item.paragraphs)

    def item_link(self, item: Shown) -> str:
        return item.source

    def item_guid(self, item: Shown) -> str:
        return f"{item.target}#mention-{item.id}"

    def item_author_name(self, item: Shown) -> str:
        return item.name

    def item_author_link(self, item: Shown) -> str | None:
        return item.author_url or None

    def item_pubdate(self, item: Shown) -> datetime:
        return item.received_at

    def item_categories(self, item: Shown) -> Sequence[str]:
        return [item.type.value]

    def item_in_reply_to(self, item: Shown) -> str:
        return item.target
