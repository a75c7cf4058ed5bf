"""Erasing: a person's data goes, and what keeps them from coming back unasked stays.

What stays of a mention are its times, its target, and the digests of its source: by these a source
that is told again is known, and refused as before. Nobody can read the source from them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from .. import signals
from ..models import (
    Attempt,
    Avatar,
    Host,
    Job,
    JobState,
    Mention,
    MentionState,
    MentionStatus,
    Weblog,
    digest,
    host_of,
)
from ..site import Site
from . import receiving, weblogs
from .avatars import FETCH, release
from .moderation import CHECK_VOUCH, Announcement, record

__all__ = ["ERASED", "Person", "erase", "erase_weblogs", "mentions_of", "weblogs_of"]

logger = logging.getLogger("flask_linkback.linkbacks")

ERASED: Final = "erased"
"""The reason of a mention whose person's data is gone."""
_AT_A_TIME: Final = 500
_EMPTY: Final = {
    "source": "",
    "source_host": "",
    "type": "mention",
    "title": "",
    "content": "",
    "author_name": "",
    "author_url": "",
    "author_photo": "",
    "reply_to": "",
    "vouch": "",
    "caller": "",
    "published_at": None,
}


@dataclass(frozen=True, kw_only=True)
class Person:
    """Whose data is meant: an author by URL, or all that a host stands for."""

    author: str | None = None
    host: str | None = None

    def is_meant(self, source_host: str, author_url: str) -> bool:
        """Is a mention, by its source's host and its author, theirs?"""
        if self.host is not None and self.host in (source_host, host_of(author_url)):
            return True
        return self.author is not None and bool(author_url) and _plain(author_url) == _plain(self.author)


def _plain(url: str) -> tuple[str, str, str]:
    """A URL as two of a person are compared: without scheme, port, fragment and slash at its end."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", url, ""
    return host_of(url), parts.path.rstrip("/"), parts.query


def mentions_of(site: Site, person: Person) -> list[int]:
    """Return the ids of a person's mentions that are not erased yet.

    All mentions by a page go together: what one of them says of its author holds for the page.
    """
    columns = sa.select(Mention.source_key, Mention.source_host, Mention.author_url)
    rows = site.session.execute(columns.where(Mention.source != "").execution_options(yield_per=_AT_A_TIME))
    keys = {row.source_key for row in rows if person.is_meant(row.source_host, row.author_url)}
    ids: list[int] = []
    for some in _portions(sorted(keys)):
        theirs = sa.select(Mention.id).where(Mention.source_key.in_(some), Mention.source != "")
        ids += site.session.scalars(theirs)
    return sorted(ids)


def erase(site: Site, ids: Sequence[int], *, who: str) -> list[Announcement]:
    """Empty some mentions and what was noted of their sources; return what to announce.

    The caller commits, and announces after that. A look at a source that is under way finds its
    job taken away, and writes nothing.
    """
    session = site.session
    announcements: list[Announcement] = []
    for some in _portions(list(ids)):
        # a write goes first: it locks the rows, on SQLite the database, against a look's verdict
        session.execute(
            sa.update(Mention).where(Mention.id.in_(some)).values(recheck=False),
            execution_options={"synchronize_session": False},
        )
        mentions = session.scalars(
            sa.select(Mention).where(Mention.id.in_(some)), execution_options={"populate_existing": True}
        ).all()
        sources, keys = {each.source for each in mentions}, {each.source_key for each in mentions}
        hosts, photos = {each.source_host for each in mentions}, {each.author_photo for each in mentions}
        for mention in mentions:
            announcements += _emptied(site, mention, who)
        session.flush()
        answered = sa.update(Mention).where(Mention.reply_to.in_(sources))
        session.execute(answered.values(reply_to=""), execution_options={"synchronize_session": False})
        photos = release(site, photos)
        _forget_jobs(site, receiving.VERIFY, keys)
        _forget_jobs(site, CHECK_VOUCH, {each.key for each in mentions})
        _forget_jobs(site, FETCH, {digest(url) for url in photos})
        _forget_hosts(site, hosts | {host_of(url) for url in photos})
    logger.info("Erased %d mentions.", len(ids), extra={"who": who})
    return announcements


def weblogs_of(site: Site, person: Person) -> list[int]:
    """Return the ids of a person's weblogs that our directory knows."""
    rows = site.session.execute(sa.select(Weblog.id, Weblog.host, Weblog.url).where(Weblog.url != ""))
    return sorted(row.id for row in rows if person.is_meant(row.host, row.url))


def erase_weblogs(site: Site, ids: Sequence[int], *, who: str) -> None:
    """Take some weblogs out of our directory, and empty them. The caller commits.

    Who tells us again is known again: they do so of their own will.
    """
    session = site.session
    for some in _portions(list(ids)):
        found = session.scalars(sa.select(Weblog).where(Weblog.id.in_(some))).all()
        hosts = {each.host for each in found}
        for weblog in found:
            weblog.url = weblog.host = weblog.name = ""
            weblog.feed_url, weblog.reason = None, ERASED
            weblog.listed, weblog.changed_at = False, site.now()
        session.flush()
        _forget_jobs(site, weblogs.VERIFY, {each.key for each in found})
        _forget_hosts(site, hosts)
    logger.info("Erased %d weblogs.", len(ids), extra={"who": who})


def _emptied(site: Site, mention: Mention, who: str) -> Iterator[Announcement]:
    previous, was_there = mention.status, mention.state in (MentionState.received, MentionState.verified)
    for name, value in _EMPTY.items():
        setattr(mention, name, value)
    if was_there:
        mention.state = MentionState.failed if mention.verified_at is None else MentionState.gone
    mention.reason = ERASED
    decision = record(site, mention, MentionStatus.rejected, who=who, action="erase")
    if was_there:
        yield signals.mention_removed, mention, {"reason": ERASED}
    if previous is not MentionStatus.rejected:
        yield decision


def _forget_jobs(site: Site, kind: str, keys: set[str]) -> None:
    """Empty the jobs of a kind that are about somebody, and their attempts; what was owed is done with."""
    session = site.session
    about = sa.and_(Job.kind == kind, Job.key.in_(keys))
    ids = sa.select(Job.id).where(about)
    nothing: dict[str, Any] = {"url": None, "address": None, "headers": None, "body": None, "reason": ""}
    unfinished = Job.state.in_((JobState.pending, JobState.running))
    ended = {"state": JobState.done, "finished_at": site.now(), "token": None}
    for statement in (
        sa.update(Attempt).where(Attempt.job_id.in_(ids)).values(nothing),
        sa.update(Job).where(about, unfinished).values(ended),
        sa.update(Job).where(about).values(payload={}, host="", reason=ERASED),
    ):
        session.execute(statement, execution_options={"synchronize_session": False})


def _forget_hosts(site: Site, hosts: set[str]) -> None:
    """Forget when some hosts were asked, where nothing came from them but what was erased."""
    source = sa.exists(sa.select(Mention.id).where(Mention.source_host == Host.name))
    picture = sa.exists(sa.select(Avatar.id).where(Avatar.host == Host.name))
    site.session.execute(
        sa.delete(Host).where(Host.name.in_(hosts), ~source, ~picture),
        execution_options={"synchronize_session": False},
    )


def _portions(some: list[Any]) -> Iterator[list[Any]]:
    return (some[start : start + _AT_A_TIME] for start in range(0, len(some), _AT_A_TIME))
