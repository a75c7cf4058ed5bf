"""Tools: how a mention gets in, and what was decided about it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from flask_linkback.linkbacks import blocks
from flask_linkback.models import Audit, Mention
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import add, page, ping, rows, work


def told(blog: Blog, neighbour: Neighbour, path: str = "/source", *, slug: str = "hello") -> str:
    """Let a page of the neighbour link to a post, tell the blog, and return the page's URL."""
    with blog.app.app_context():
        known = blog.db.session.scalar(sa.select(blog.Post.id).filter_by(slug=slug))
    target = add(blog, slug) if known is None else blog.url(slug)
    neighbour.answer(path, body=page(target))
    ping(blog, neighbour.url(path), target)
    return neighbour.url(path)


def taken(blog: Blog, neighbour: Neighbour, path: str = "/source", *, slug: str = "hello") -> Mention:
    """Let a mention come in, and be verified and judged."""
    source = told(blog, neighbour, path, slug=slug)
    work(blog)
    return next(each for each in rows(blog, Mention) if each.source == source)


def moderate(blog: Blog, status: str, **options: Any) -> None:
    """Decide about the newest mention, and let it be announced."""
    with blog.app.app_context():
        newest = blog.db.session.scalars(sa.select(Mention).order_by(Mention.id.desc())).first()
        blog.linkback.moderate(newest, status, **options)
        blog.db.session.commit()
    work(blog)


def block(blog: Blog, value: str, kind: str | None = None, **options: Any) -> None:
    """Block a host, a URL or a pattern."""
    parsed = blocks.parse(value, kind)
    listed = blocks.Listed(kind=parsed.kind, value=parsed.value, list_name="bad", reason="Spams.")
    with blog.app.app_context():
        blocks.add(blog.site, [listed], **options)
        blog.db.session.commit()


def audits(blog: Blog) -> list[tuple[str, str, str, str]]:
    """Return what was decided: who, about what, from which status to which."""
    return [
        (each.who, each.object_key, (each.before or {})["status"], (each.after or {})["status"])
        for each in rows(blog, Audit)
    ]
