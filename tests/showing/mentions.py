"""Mentions: rows as they stand after somebody was received and verified, or whatever a test wants in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask_linkback.models import Mention, MentionState, MentionStatus, digest
from tests.apps import Blog

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def said(
    blog: Blog, name: str, kind: str = "mention", *, answers: str = "", target: str = "hello", **values: Any
) -> int:
    """Write the mention of a post by the page of somebody, and commit; return its id.

    ``answers`` is the name of somebody else. Each mention comes an hour after the one before.
    """
    with blog.app.app_context():
        post = blog.db.session.scalars(blog.db.select(blog.Post).filter_by(slug=target)).one()
        number = blog.db.session.query(Mention).count()
        mention = row(name, kind, blog.url(target), f"Post:{post.id}", number, answers=answers, **values)
        blog.db.session.add(mention)
        blog.db.session.commit()
        return mention.id


def row(
    name: str, kind: str, target: str, target_key: str, number: int, *, answers: str = "", **values: Any
) -> Mention:
    at = NOON + timedelta(hours=number)
    plain = {
        "key": digest(name, target_key, str(number)),
        "source": f"https://{name}.example/post",
        "source_key": digest(name),
        "source_host": f"{name}.example",
        "target": target,
        "target_key": target_key,
        "target_hash": digest(target_key),
        "protocol": "webmention",
        "state": MentionState.verified,
        "status": MentionStatus.approved,
        "type": kind,
        "title": f"A page of {name}",
        "content": f"{name} says so.",
        "author_name": name.title(),
        "author_url": f"https://{name}.example/",
        "author_photo": f"https://{name}.example/me.png",
        "reply_to": f"https://{answers}.example/post#here" if answers else "",
        "received_at": at,
        "verified_at": at,
    }
    return Mention(**{**plain, **values})
