"""Models: the posts, and what others wrote that we follow."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from flask import current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ColumnElement, DateTime, String, extract, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Followed", "Post", "db", "slugify"]


class Base(DeclarativeBase):
    """The base of all models."""


db = SQLAlchemy(model_class=Base)

LONGEST = 200


def now() -> datetime:
    return datetime.now(UTC)


class Post(db.Model):  # type: ignore[misc, name-defined]  # to mypy, Model is Any
    """A post; its address is made from its slug."""

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(LONGEST), unique=True)
    title: Mapped[str] = mapped_column(String(LONGEST))
    html: Mapped[str]
    in_reply_to: Mapped[str] = mapped_column(default="")
    """The page that the post answers, if it answers one."""
    like_of: Mapped[str] = mapped_column(default="")
    """The page that the post likes, if that is what it is for."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    updated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), onupdate=now)

    @property
    def url(self) -> str:
        """The public address: the same in a request, in a command and in the worker."""
        url: str = current_app.extensions["linkback"].url_for("blog.show", slug=self.slug)
        return url

    @property
    def answered(self) -> list[str]:
        """The page that the post answers or likes: it is told, as are those that the text links to."""
        return [url for url in (self.in_reply_to, self.like_of) if url]

    @classmethod
    def at(cls, slug: str) -> Post | None:
        """Return the post with this slug, if there is one."""
        return db.session.scalar(select(cls).filter_by(slug=slug))

    @classmethod
    def newest(cls, year: int | None = None, *, limit: int | None = None) -> list[Post]:
        """Return all posts, or those of a year, the newest first."""
        newest = select(cls).where(*cls._of(year)).order_by(cls.created_at.desc(), cls.id.desc())
        return list(db.session.scalars(newest.limit(limit)))

    @classmethod
    def number(cls, year: int | None = None) -> int:
        """Return how many posts there are, or were written in a year."""
        return db.session.scalar(select(func.count(cls.id)).where(*cls._of(year))) or 0

    @classmethod
    def changed_at(cls) -> datetime | None:
        """Return when a post was written or edited last."""
        return db.session.scalar(select(func.max(func.coalesce(cls.updated_at, cls.created_at))))

    @classmethod
    def _of(cls, year: int | None) -> list[ColumnElement[bool]]:
        return [] if year is None else [extract("year", cls.created_at) == year]

    @classmethod
    def write(
        cls, *, title: str, html: str, slug: str = "", in_reply_to: str = "", like_of: str = ""
    ) -> Post:
        """Return the post with this slug, made or changed; the caller commits.

        Without a slug it is made from the title. Raises ValueError with a sentence for the author.
        """
        title = " ".join(title.split())
        slug = slugify(slug or title)
        in_reply_to, like_of = in_reply_to.strip(), like_of.strip()
        if not title or not (html.strip() or like_of):
            raise ValueError("A post needs a title and a text; a like needs no text.")
        if in_reply_to and like_of:
            raise ValueError("A post is a reply or a like, not both.")
        if not (in_reply_to or like_of or "http://").startswith(("http://", "https://")):
            raise ValueError("What a post answers or likes has an address with http:// or https://.")
        if not slug:
            raise ValueError("A post needs a slug with a letter or digit in it.")
        if max(len(title), len(slug)) > LONGEST:
            raise ValueError(f"Title and slug have {LONGEST} characters at most.")
        post = cls.at(slug) or cls(slug=slug)
        post.title = title
        post.html = html
        post.in_reply_to = in_reply_to
        post.like_of = like_of
        db.session.add(post)
        return post


class Followed(db.Model):  # type: ignore[misc, name-defined]
    """An entry of a feed that we follow."""

    id: Mapped[int] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    site: Mapped[str]
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)

    @classmethod
    def keep(cls, *, url: str, title: str, site: str) -> None:
        """Keep an entry, or its new title; the caller commits."""
        entry = db.session.scalar(select(cls).filter_by(url=url)) or cls(url=url)
        entry.title, entry.site = title, site
        db.session.add(entry)

    @classmethod
    def newest(cls, *, limit: int = 5) -> list[Followed]:
        """Return the newest entries, the newest first."""
        return list(db.session.scalars(select(cls).order_by(cls.seen_at.desc(), cls.id.desc()).limit(limit)))


def slugify(text: str) -> str:
    """Return the letters and digits of any language, with hyphens between the words."""
    return "-".join(re.findall(r"[^\W_]+", text.lower()))
