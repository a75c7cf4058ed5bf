"""Linkbacks: all that this blog tells Flask-Linkback."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Flask, current_app

from flask_linkback import Linkback, ModelHook
from flask_linkback.protocols.entries import NotAFeed
from flask_linkback.webhooks.receiving import ReceivedEvent

from .models import Followed, Post, db

__all__ = ["linkback", "take_entries"]

linkback = Linkback(db=db)

# In: other pages may say that they link to a post. They are checked, kept, and shown by post.html.


@linkback.target("blog.show", model=Post)
def load_post(slug: str) -> Post | None:
    """Return the post at an address of ours: the arguments are those of the view."""
    return Post.at(slug)


# Out: whenever a post is committed, new or changed, the pages that it links to are told, and the one that it
# answers or likes. What it says of them they read in post.html, by its microformats.

linkback.ping_external_links(Post, content="html", targets="answered")

# And the hubs, where there are any (LINKBACK_HUBS, LINKBACK_HUB_ENABLED): they tell who follows.

linkback.websub.ping_on_change(
    Post,
    feeds=[
        "feeds.atom",
        "feeds.rss",
        "feeds.json",
        ("feeds.year", lambda post: {"year": post.created_at.year}),
    ],
)

# Whoever asks for more is sent what happens to posts (`flask --app example linkback listeners add URL ...`).


@linkback.hooks.register
class PostHook(ModelHook):
    """A post was written, edited or deleted."""

    name = "post"
    model = Post
    provides_args = ("title", "url")


# Another blog may send us the same, if it knows our BLOG_WEBHOOK_SECRET: index.html shows it, too.


@linkback.webhooks.receiver("blog", secret=lambda: current_app.config["BLOG_WEBHOOK_SECRET"])
def take_post(event: ReceivedEvent) -> None:
    """Keep a post that another blog has written; called by the worker, perhaps more than once."""
    if event.type == "post.created":
        post = event.data["data"]
        Followed.keep(url=post["url"], title=post["title"], site=urlsplit(post["url"]).netloc)
        db.session.commit()


# What others write that we follow (`flask --app example linkback subscribe URL`) is shown by index.html.


def take_entries(app: Flask, subscription: Any, notification: bytes, content_type: str, **_: Any) -> None:
    """Keep the entries of a feed; the signal `updated` calls this, perhaps more than once."""
    try:
        feed = linkback.websub.entries(notification, content_type=content_type, url=subscription.topic_url)
    except NotAFeed:
        return
    for entry in reversed(feed.entries):
        if entry.url and not entry.deleted:
            Followed.keep(url=entry.url, title=entry.title or entry.url, site=feed.title)
    db.session.commit()
