"""Showing: the mentions of a page, as a template wants them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from ..errors import UnknownTarget
from ..models import Mention, MentionState, MentionStatus, digest
from ..protocols.microformats import MentionType
from ..site import Route, Site
from .avatars import photos_of
from .shown import ANSWERS, FACES, Conversation, Faces, Shown, converse, shown, type_of
from .targets import Targets

__all__ = [
    "MentionPage",
    "conversation_of",
    "faces_of",
    "mention_count",
    "mention_counts",
    "mention_page",
    "mentions_for",
]

Types = str | Collection[str]
AvatarURL = Callable[[str], str]
"""Where a picture that is kept here is served, by its key."""
_AT_ONCE: Final = 10_000
"""Databases take so many values of one query, and more."""
_NEWEST_FIRST = (Mention.received_at.desc(), Mention.id.desc())


def mentions_for(
    site: Site,
    what: Any,
    protocol: str | None = None,
    *,
    include_hidden: bool = False,
    types: Types | None = None,
) -> Sequence[Mention]:
    """Return the mentions of an object, or of the page at a URL of ours, newest first.

    Those that are verified and approved; with SHOW_UNAPPROVED those that wait for a moderator too;
    with ``include_hidden`` all. An object without primary key and a foreign URL raise `UnknownTarget`.
    """
    wanted = _wanted(site, what, protocol, include_hidden=include_hidden, types=types)
    return site.session.scalars(sa.select(Mention).where(*wanted).order_by(*_NEWEST_FIRST)).all()


def mention_count(
    site: Site,
    what: Any,
    protocol: str | None = None,
    *,
    include_hidden: bool = False,
    types: Types | None = None,
) -> int:
    """Return the number of what `mentions_for` returns."""
    wanted = _wanted(site, what, protocol, include_hidden=include_hidden, types=types)
    return site.session.scalar(sa.select(sa.func.count(Mention.id)).where(*wanted)) or 0


def mention_counts(site: Site, several: Iterable[Any]) -> Sequence[int]:
    """Return how many mentions each of several objects or URLs of ours shows, by one query.

    What accepts none has none. A URL costs what its loader does.
    """
    hashes = [_hash_of(site, what) for what in several]
    wanted = sorted({each for each in hashes if each is not None})
    counts: dict[str, int] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        found = (
            sa.select(Mention.target_hash, sa.func.count())
            .where(Mention.target_hash.in_(wanted[start : start + _AT_ONCE]), *_visible(site))
            .group_by(Mention.target_hash)
        )
        counts.update((target, number) for target, number in site.session.execute(found))
    return [counts.get(each, 0) if each is not None else 0 for each in hashes]


def conversation_of(site: Site, what: Any, *, avatar_url: AvatarURL, depth: int, limit: int) -> Conversation:
    """Return what was said about a page, by one query: replies in threads, then other mentions.

    Those that are shown, the newest ``limit`` of them; who only likes, reposts, bookmarks or comes is
    not among them.
    """
    newest = (
        sa.select(Mention, sa.func.count().over())
        .where(*_wanted(site, what), Mention.type.not_in(FACES))
        .order_by(*_NEWEST_FIRST)
        .limit(limit)
    )
    rows = site.session.execute(newest).all()
    more = rows[0][1] - len(rows) if rows else 0
    mentions = [mention for mention, _ in rows]
    return converse(mentions, photos_of(site, mentions, avatar_url), depth=depth, more=more)


def faces_of(site: Site, what: Any, *, avatar_url: AvatarURL, limit: int) -> Sequence[Faces]:
    """Return who likes, reposts, bookmarks a page or says whether they come, by one query.

    Of each kind the newest ``limit``, and how many there are.
    """
    answers = sa.and_(Mention.type == MentionType.rsvp, Mention.title.in_(ANSWERS))
    answer = sa.case((answers, Mention.title), else_="")
    alike = (Mention.type, answer)
    ranked = (
        sa.select(
            Mention.id,
            answer.label("answer"),
            sa.func.row_number().over(partition_by=alike, order_by=_NEWEST_FIRST).label("place"),
            sa.func.count().over(partition_by=alike).label("number"),
        )
        .where(*_wanted(site, what), Mention.type.in_(FACES))
        .subquery()
    )
    newest = (
        sa.select(Mention, ranked.c.answer, ranked.c.number)
        .join(ranked, ranked.c.id == Mention.id)
        .where(ranked.c.place <= limit)
        .order_by(*_NEWEST_FIRST)
    )
    found_alike: dict[tuple[str, str], list[tuple[Mention, int]]] = defaultdict(list)
    for mention, answered, number in site.session.execute(newest):
        found_alike[mention.type, answered].append((mention, number))
    everybody = [mention for found in found_alike.values() for mention, _ in found]
    photos = photos_of(site, everybody, avatar_url)
    return [
        Faces(
            type=kind,
            answer=answered.removeprefix("RSVP: "),
            mentions=[shown(mention, photos) for mention, _ in found],
            count=found[0][1],
        )
        for kind in FACES
        for answered in (*ANSWERS, "")
        if (found := found_alike.get((kind, answered)))
    ]


@dataclass(frozen=True, kw_only=True)
class MentionPage:
    """Some mentions of a page, how many of each type there are, and the id after which there are more."""

    mentions: Sequence[Shown]
    counts: Mapping[str, int]
    next_after: int | None


def mention_page(
    site: Site,
    *urls: str,
    avatar_url: AvatarURL,
    types: Types | None = None,
    after: int | None = None,
    skip: int = 0,
    limit: int,
    oldest_first: bool = False,
) -> MentionPage:
    """Return the mentions that the pages at some URLs of ours show, by two queries; the newest ids first.

    ``after`` is where the part before ended, ``skip`` how many go before this part. URLs that are none of
    ours are passed over; without any other they raise `UnknownTarget`.
    """
    all_shown = [Mention.target_hash.in_(_hashes(site, urls)), *_visible(site)]
    some = [*all_shown, *_of_types(types)]
    if after is not None:
        some.append(Mention.id > after if oldest_first else Mention.id < after)
    order = Mention.id.asc() if oldest_first else Mention.id.desc()
    by_id = sa.select(Mention).where(*some).order_by(order).offset(skip).limit(limit + 1)
    found = site.session.scalars(by_id).all()
    by_type = sa.select(Mention.type, sa.func.count()).where(*all_shown).group_by(Mention.type)
    counts: Counter[str] = Counter()
    for word, number in site.session.execute(by_type.order_by(Mention.type)):
        counts[type_of(word)] += number
    photos = photos_of(site, found[:limit], avatar_url)
    return MentionPage(
        mentions=[shown(each, photos) for each in found[:limit]],
        counts=counts,
        next_after=found[limit - 1].id if len(found) > limit else None,
    )


# --- which ones --------------------------------------------------------------------------------------


def _wanted(
    site: Site,
    what: Any,
    protocol: str | None = None,
    *,
    include_hidden: bool = False,
    types: Types | None = None,
) -> Sequence[sa.ColumnElement[bool]]:
    wanted = [Mention.target_hash == digest(_key(site, what)), *_of_types(types)]
    if protocol is not None:
        wanted.append(Mention.protocol == protocol)
    if not include_hidden:
        wanted += _visible(site)
    return wanted


def _visible(site: Site) -> Sequence[sa.ColumnElement[bool]]:
    statuses = [MentionStatus.approved]
    if site.settings.linkbacks.show_unapproved:
        statuses.append(MentionStatus.pending)
    return Mention.state == MentionState.verified, Mention.status.in_(statuses)


def _of_types(types: Types | None) -> Sequence[sa.ColumnElement[bool]]:
    if types is None:
        return ()
    return (Mention.type.in_([types] if isinstance(types, str) else types),)


def _hashes(site: Site, urls: Iterable[str]) -> Collection[str]:
    """Return what the pages at some URLs are found by; raises `UnknownTarget` where there is none."""
    hashes: set[str] = set()
    unknown = UnknownTarget("There is no URL that could be a page's.")
    for url in urls:
        try:
            hashes.add(digest(_key(site, url)))
        except UnknownTarget as error:
            unknown = error
    if not hashes:
        raise unknown
    return hashes


def _hash_of(site: Site, what: Any) -> str | None:
    try:
        return digest(_key(site, what))
    except UnknownTarget:
        return None


def _key(site: Site, what: Any) -> str:
    targets = site.get(Targets)
    if isinstance(what, Route):
        located = targets.load(site, what)
    elif isinstance(what, str):
        located = targets.locate_url(site, site.absolute(what))
    else:
        return targets.key_for(what)
    if located is None:
        raise UnknownTarget(f"{what} is no page of this site.")
    return located.key
