"""Feeds: the posts for readers, by address in one format each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flask import Blueprint, current_app, url_for

from flask_linkback import Feed, FeedDoesNotExist
from flask_linkback.feeds.generators import Atom1Feed, JSONFeed, Rss201rev2Feed

from .models import Post

__all__ = ["feeds"]

feeds = Blueprint("feeds", __name__)


class Posts(Feed):
    """What is said of a post, in whatever feed it is."""

    def author_name(self) -> str:
        return str(current_app.config["LINKBACK_SITE_NAME"])

    def link(self) -> str:
        return url_for("blog.index")

    # the title is text, and the description HTML: each is written as the format wants it

    def item_title(self, post: Post) -> str:
        return post.title

    def item_description(self, post: Post) -> str:
        return post.html

    def item_link(self, post: Post) -> str:
        return post.url

    def item_author_name(self) -> str:
        return self.author_name()  # RSS has none for all

    def item_in_reply_to(self, post: Post) -> str | None:
        return post.in_reply_to or None

    def item_pubdate(self, post: Post) -> datetime:
        return post.created_at

    def item_updateddate(self, post: Post) -> datetime:
        return post.updated_at or post.created_at

    # who has the feed already is told so before any post is read; their number tells that one was deleted

    def last_modified(self) -> datetime | None:
        return Post.changed_at()

    def etag(self) -> str:
        return str(Post.number())


class Latest(Posts):
    """The newest posts."""

    description = subtitle = "The newest posts"

    def title(self) -> str:
        return self.author_name()

    def items(self) -> Sequence[Post]:
        return Post.newest(limit=20)


class LatestAtom(Latest):
    """The newest posts as Atom."""

    feed_type = Atom1Feed


class LatestRss(Latest):
    """The newest posts as RSS."""

    feed_type = Rss201rev2Feed


class LatestJson(Latest):
    """The newest posts as JSON Feed."""

    feed_type = JSONFeed


class Year(Posts):
    """The posts of a year: a feed for each, by an argument of the URL."""

    feed_type = Atom1Feed

    def get_object(self, year: int) -> int:
        if not Post.number(year):
            raise FeedDoesNotExist
        return year

    def feed_guid(self, year: int) -> str:
        # not that of the feed with all posts, and the same by whatever host it is read
        return str(current_app.extensions["linkback"].url_for("feeds.year", year=year))

    def title(self, year: int) -> str:
        return f"{self.author_name()} {year}"

    def items(self, year: int) -> Sequence[Post]:
        return Post.newest(year)


feeds.add_url_rule("/feed.atom", view_func=LatestAtom.as_view("atom"))
feeds.add_url_rule("/feed.rss", view_func=LatestRss.as_view("rss"))
feeds.add_url_rule("/feed.json", view_func=LatestJson.as_view("json"))
feeds.add_url_rule("/<int(fixed_digits=4):year>/feed.atom", view_func=Year.as_view("year"))
