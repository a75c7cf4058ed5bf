"""Mentions: those of one page as JSON or JF2, for whoever draws them elsewhere or in a script."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask import Blueprint, Response, request
from jinja2.utils import htmlsafe_json_dumps

from ..errors import BaseURLMissing, UnknownTarget
from ..linkbacks.avatars import AVATAR
from ..linkbacks.showing import MentionPage, mention_page
from ..linkbacks.shown import ANSWERS, Shown
from ..protocols.microformats import MentionType
from ..site import current_site

__all__ = ["MAX_MENTIONS", "MAX_SECONDS", "add_to"]

MAX_MENTIONS: Final = 100
"""How many mentions one answer has at most."""
MAX_SECONDS: Final = 60
"""How long others may keep an answer: so long may be seen what was taken away."""
MAX_TARGETS: Final = 10
_FIRST: Final = 50
_MAX_ID: Final = 2**63 - 1
_FIELDS: Final = (
    *("id", "source", "target", "protocol", "state", "status", "type", "title", "content"),
    *("author_name", "author_url", "author_photo", "reply_to", "published_at", "received_at", "verified_at"),
)
_PROPERTIES: Final = {
    MentionType.mention: "mention-of",
    MentionType.reply: "in-reply-to",
    MentionType.like: "like-of",
    MentionType.repost: "repost-of",
    MentionType.bookmark: "bookmark-of",
    MentionType.rsvp: "rsvp",
}
"""What a type is called in microformats."""


def add_to(blueprint: Blueprint, prefix: str, *, feeds: bool) -> None:
    """Let a blueprint serve ``mentions.json`` below a prefix, and ``mentions.jf2`` where feeds are wanted."""
    blueprint.add_url_rule(f"{prefix}/mentions.json", "mentions", mentions)
    if feeds:
        blueprint.add_url_rule(f"{prefix}/mentions.jf2", "mentions_jf2", mentions_jf2)


def mentions() -> Response:
    """Answer with the mentions that a page of ours shows: ``?target=URL&type=&after=&limit=``.

    Whoever may read the page may read this, from any origin. There is no Last-Modified: a mention that
    was taken away would not change it.
    """
    return _answer(_asked, _as_dict)


def mentions_jf2() -> Response:
    """Answer with the same as a feed of JF2 (W3C Note), in the form and by the names of webmention.io.

    ``target`` or ``target[]``, several of them for several addresses of a page; ``wm-property`` beside
    ``type``, ``per-page`` beside ``limit``, ``page`` from 0, ``sort-dir=up`` for the oldest first.
    """
    return _answer(_asked_for_jf2, _as_jf2)


# --- what is asked -------------------------------------------------------------------------------------


class _NotAnswered(Exception):
    """The question is wrong; the text says how."""


@dataclass(frozen=True, kw_only=True)
class _Question:
    """Which mentions of which page are wanted; ``skip`` of them go before these."""

    targets: Sequence[str]
    types: Collection[str] | None
    after: int | None
    limit: int
    skip: int = 0
    oldest_first: bool = False


def _asked() -> _Question:
    return _Question(
        targets=_targets(request.args.getlist("target")[:1]),
        types=_types(request.args.getlist("type")),
        after=_number("after"),
        limit=_limit("limit"),
    )


def _asked_for_jf2() -> _Question:
    limit = _limit("limit", "per-page", "perPage")
    properties = _all("wm-property")
    named = [kind for kind, name in _PROPERTIES.items() if name in properties]
    return _Question(
        targets=_targets(_all("target")),
        types=_types([*_all("type"), *(named or properties)]),
        after=_number("after"),
        limit=limit,
        skip=limit * (_number("page", least=0) or 0),
        oldest_first=request.args.get("sort-dir") == "up",
    )


def _all(name: str) -> list[str]:
    """All values of a name, also as it is written for PHP and its like."""
    return [*request.args.getlist(name), *request.args.getlist(f"{name}[]")]


def _targets(given: Sequence[str]) -> Sequence[str]:
    targets = [url for url in given if url]
    if not targets:
        raise _NotAnswered("Which page? Say ?target=URL.")
    if len(targets) > MAX_TARGETS:
        raise _NotAnswered(f"{MAX_TARGETS} addresses of a page are enough.")
    # no page has a U+0000 in its address, and some databases raise when they are asked for one
    return [url for url in targets if "\0" not in url and "%00" not in url]


def _types(wanted: Collection[str]) -> Collection[str] | None:
    """The types that are asked for, None for all; there are no others than ours."""
    return [kind for kind in MentionType if kind in wanted] if wanted else None


def _limit(*names: str) -> int:
    """How many are wanted: by the first of these names that is there."""
    return min(next((number for name in names if (number := _number(name))), _FIRST), MAX_MENTIONS)


def _number(name: str, *, least: int = 1) -> int | None:
    """A whole number of the query, None where there is none."""
    given = request.args.get(name)
    if given is None:
        return None
    # what is longer is no id, and no number that Python likes to read
    is_number = given.isascii() and given.isdigit() and len(given) < 20
    if not is_number or int(given) < least:
        raise _NotAnswered(f"{name} is a whole number from {least}.")
    return min(int(given), _MAX_ID)


# --- what is answered ----------------------------------------------------------------------------------


def _answer(ask: Callable[[], _Question], write: Callable[[MentionPage], dict[str, Any]]) -> Response:
    site = current_site()
    try:
        asked = ask()
        page = mention_page(
            site,
            *asked.targets,
            avatar_url=lambda key: site.url_for(AVATAR, key=key),
            types=asked.types,
            after=asked.after,
            skip=min(asked.skip, _MAX_ID),
            limit=asked.limit,
            oldest_first=asked.oldest_first,
        )
    except _NotAnswered as error:
        return _refuse(400, str(error))
    except (UnknownTarget, BaseURLMissing):  # without an address of our own no path is ours
        return _refuse(404, "There is no such page here.")
    response = _json(write(page))
    response.cache_control.max_age = MAX_SECONDS
    response.add_etag()
    response.make_conditional(request)
    return response


def _as_dict(page: MentionPage) -> dict[str, Any]:
    return {
        "target": request.args["target"],
        "count": sum(page.counts.values()),
        "counts": dict(page.counts),
        "mentions": [_mention(each) for each in page.mentions],
        "next_after": page.next_after,
    }


def _mention(mention: Shown) -> dict[str, Any]:
    values = ((name, getattr(mention, name)) for name in _FIELDS)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values}


def _as_jf2(page: MentionPage) -> dict[str, Any]:
    return {"type": "feed", "name": "Mentions", "children": [_entry(each) for each in page.mentions]}


def _entry(mention: Shown) -> dict[str, Any]:
    """A mention as an entry of JF2; what begins with ``wm-`` is webmention.io's."""
    relation = _PROPERTIES[mention.type]
    entry: dict[str, Any] = {
        "type": "entry",
        "author": {
            "type": "card",
            "name": mention.author_name,
            "photo": mention.author_photo,
            "url": mention.author_url,
        },
        "url": mention.source,
        "published": mention.published_at and mention.published_at.isoformat(),
        "wm-received": f"{mention.received_at:%Y-%m-%dT%H:%M:%SZ}",
        "wm-id": mention.id,
        "wm-source": mention.source,
        "wm-target": mention.target,
        "wm-protocol": mention.protocol,
        "wm-property": relation,
        "wm-private": False,
    }
    if mention.title:
        entry["name"] = mention.title
    if mention.content:
        entry["content"] = {"text": mention.content}
    if mention.type is MentionType.rsvp and mention.title in ANSWERS:
        entry["rsvp"] = mention.title.removeprefix("RSVP: ")
    entry["in-reply-to" if mention.type is MentionType.rsvp else relation] = mention.target
    return entry


def _refuse(status: int, reason: str) -> Response:
    response = _json({"error": reason})
    response.status_code = status
    return response


def _json(value: dict[str, Any]) -> Response:
    # ASCII without <, >, & and ': nothing in it is markup, wherever it is put
    response = Response(htmlsafe_json_dumps(value), content_type="application/json")
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
