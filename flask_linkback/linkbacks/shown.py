"""Shown: a mention as readers may see it, whatever its row holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from ..models import Mention, MentionState, MentionStatus, without_fragment
from ..protocols.html import MAX_TITLE_CHARACTERS, safe_url
from ..protocols.microformats import MAX_NAME_CHARACTERS, MentionType
from ..protocols.text import is_address, line, paragraphs

__all__ = [
    "ANSWERS",
    "FACES",
    "Conversation",
    "Faces",
    "Photos",
    "Shown",
    "Thread",
    "converse",
    "shown",
    "type_of",
]

MAX_CONTENT_CHARACTERS: Final = 5000
FACES: Final = (MentionType.like, MentionType.repost, MentionType.bookmark, MentionType.rsvp)
"""Types that say all by who says it: they are shown as faces, in this order."""
ANSWERS: Final = ("RSVP: yes", "RSVP: maybe", "RSVP: interested", "RSVP: no")
"""Titles of those who say whether they come, in the order in which they are shown."""
_TYPES: Final = frozenset(MentionType)

Photos = Callable[[str], str]
"""Where readers find the picture that is at a URL, with AVATAR_CACHE; "" where they do not."""


# --- one mention -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a page says of a mention: plain text, and http(s) URLs or "".

    A row was cleaned when it was written; here it is cleaned again, since rows are imported, and rules
    grow. ``name`` is that of the author, where that is no URL, else the host; ``at`` when it was published,
    as far as known.
    """

    id: int
    source: str
    target: str
    host: str
    protocol: str
    state: MentionState
    status: MentionStatus
    type: MentionType
    title: str
    content: str
    author_name: str
    author_url: str
    author_photo: str
    """With AVATAR_CACHE the picture that is kept here, "" where none is."""
    photo: str
    """The same, where a page that is served by https may show it."""
    reply_to: str
    published_at: datetime | None
    received_at: datetime
    verified_at: datetime | None

    @property
    def name(self) -> str:
        return self.author_name or self.host or "?"

    @property
    def at(self) -> datetime:
        return self.published_at or self.received_at

    @property
    def paragraphs(self) -> Sequence[str]:
        return self.content.splitlines()

    @property
    def initials(self) -> str:
        """The first letters of the first and the last word of the name."""
        letters = [word[0] for word in self.name.split() if word[0].isalnum()]
        return "".join(dict.fromkeys((letters[0], letters[-1]))).upper() if letters else "?"


def shown(mention: Mention, photos: Photos | None) -> Shown:
    """Return a mention without what could deceive or run in a page.

    Without ``photos`` the author's is where the author has it.
    """
    source = safe_url("", mention.source)
    author_name = line(mention.author_name, MAX_NAME_CHARACTERS)
    if photos is None:
        author_photo = safe_url("", mention.author_photo)
        photo = author_photo if author_photo.startswith("https://") else ""
    else:
        author_photo = photo = photos(mention.author_photo)
    return Shown(
        id=mention.id,
        source=source,
        target=safe_url("", mention.target),
        host=line(urlsplit(source).netloc, MAX_NAME_CHARACTERS),
        protocol=mention.protocol,
        state=mention.state,
        status=mention.status,
        type=type_of(mention.type),
        title=line(mention.title, MAX_TITLE_CHARACTERS),
        content=paragraphs(mention.content, MAX_CONTENT_CHARACTERS),
        author_name="" if is_address(author_name) else author_name,
        author_url=safe_url("", mention.author_url),
        author_photo=author_photo,
        photo=photo,
        reply_to=safe_url("", mention.reply_to),
        published_at=mention.published_at,
        received_at=mention.received_at,
        verified_at=mention.verified_at,
    )


def type_of(word: str) -> MentionType:
    """Return the type that a word stands for; what is no type is no more than a mention."""
    return MentionType(word) if word in _TYPES else MentionType.mention


# --- what was said -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Thread:
    """A mention and the replies to it, the oldest first.

    ``answers`` is the mention that it answers, where it is not drawn right below that one.
    """

    mention: Shown
    answers: Shown | None
    replies: Sequence[Thread]


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What was said about a page: replies, the oldest first; other mentions, the newest first.

    ``more`` counts those that are older and not among them.
    """

    replies: Sequence[Thread] = ()
    mentions: Sequence[Thread] = ()
    more: int = 0


def converse(
    newest_first: Sequence[Mention], photos: Photos | None, *, depth: int, more: int = 0
) -> Conversation:
    """Put replies below what they answer, at most ``depth`` levels deep; what is deeper stands at the last.

    A reply to what is not there stands for itself, and so does the oldest of a circle.
    """
    mentions = [shown(each, photos) for each in reversed(newest_first)]
    parents = _parents(mentions)
    below: dict[int | None, list[Shown]] = defaultdict(list)
    for mention in mentions:
        above = list(_above(mention, parents))
        # the one right above it, unless that stands on the last level itself
        below[above[max(0, len(above) - depth)].id if above and depth > 0 else None].append(mention)
    threads = [_thread(mention, None, parents, below) for mention in below[None]]
    return Conversation(
        replies=[each for each in threads if each.mention.type is MentionType.reply],
        mentions=[each for each in threads if each.mention.type is not MentionType.reply][::-1],
        more=more,
    )


def _parents(mentions: Sequence[Shown]) -> Mapping[int, Shown]:
    """Return what each mention answers, by its id."""
    by_source = {without_fragment(each.source): each for each in mentions if each.source}
    parents: dict[int, Shown] = {}
    for mention in reversed(mentions):
        parent = by_source.get(without_fragment(mention.reply_to))
        if parent is not None and not _closes_circle(mention, parent, parents):
            parents[mention.id] = parent
    return parents


def _closes_circle(mention: Shown, parent: Shown, parents: Mapping[int, Shown]) -> bool:
    return any(each.id == mention.id for each in (parent, *_above(parent, parents)))


def _above(mention: Shown, parents: Mapping[int, Shown]) -> Iterator[Shown]:
    """Yield what a mention answers, what that answers, and so on."""
    parent = parents.get(mention.id)
    while parent is not None:
        yield parent
        parent = parents.get(parent.id)


def _thread(
    mention: Shown,
    under: int | None,
    parents: Mapping[int, Shown],
    below: Mapping[int | None, Sequence[Shown]],
) -> Thread:
    parent = parents.get(mention.id)
    return Thread(
        mention=mention,
        answers=parent if parent is not None and parent.id != under else None,
        replies=[_thread(each, mention.id, parents, below) for each in below.get(mention.id, ())],
    )


# --- who was there -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Who did the same: the newest of them, and how many there are.

    ``answer`` is "yes", "maybe", "interested" or "no" where the type is "rsvp", and was said.
    """

    type: MentionType
    answer: str
    mentions: Sequence[Shown]
    count: int

    @property
    def more(self) -> int:
        return self.count - len(self.mentions)
