"""Linkbacks: all that this blog tells Flask-Linkback."""

from __future__ import annotations

from flask_linkback import Linkback

from .models import Post, db

__all__ = ["linkback"]

linkback = Linkback(db=db)

# In: other pages may say that they link to a post. They are checked, kept, and shown by post.html.


@linkback.target("blog.show", model=Post)
def load_post(slug: str) -> Post | None:
    """Return the post at an address of ours: the arguments are those of the view."""
    return Post.at(slug)


# Out: whenever a post is committed, new or changed, the pages that it links to are told, and the one that it
# answers or likes. What it says of them they read in post.html, by its microformats.

linkback.ping_external_links(Post, content="html", targets="answered")
