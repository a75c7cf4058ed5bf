"""Microformats: what a page says about the page that it links to, in words and URLs that can be shown.

By the classes of microformats2 where there are any (and mf2py, the extra ``mf2``, is installed), else by
the metadata of the page. Nothing is ever fetched: who is known only by a page elsewhere stays a URL.
"""

from __future__ import annotations

import enum
import html
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any, Final, cast

from .html import (
    MAX_DEPTH,
    MAX_TITLE_CHARACTERS,
    MAX_URL_CHARACTERS,
    NOT_SHOWN,
    SEPARATORS,
    TooDeep,
    absolute,
    outgoing_links,
    parse,
    safe_url,
    text_of,
)
from .metadata import Metadata, Person
from .text import is_address, line, paragraphs

__all__ = ["MAX_BYTES", "Content", "MentionType", "Reading", "moment", "read"]

MAX_BYTES: Final = 1 << 20
"""What of a page is looked at."""
MAX_NAME_CHARACTERS: Final = 100
MAX_ENTRIES: Final = 50
MAX_CARDS: Final = 200
MAX_ASKED: Final = 2000


class MentionType(enum.StrEnum):
    """How a page refers to another."""

    mention = "mention"
    """It links to it, no more."""
    reply = "reply"
    """It answers it."""
    like = "like"
    """It likes it."""
    repost = "repost"
    """It passes it on."""
    bookmark = "bookmark"
    """It keeps it for later."""
    rsvp = "rsvp"
    """It says whether somebody comes."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a page says about a target: plain text without markup, and absolute http and https URLs.

    What it does not say is "", and ``published_at``, in UTC, is None. ``content`` has a line for each
    paragraph, everything else is one line. ``url`` is the address that the page gives itself.
    """

    type: MentionType = MentionType.mention
    rsvp: str = ""
    """"yes", "no", "maybe" or "interested", when the type is "rsvp": the title is "RSVP: yes" then."""
    title: str = ""
    content: str = ""
    author_name: str = ""
    author_url: str = ""
    author_photo: str = ""
    published_at: datetime | None = None
    url: str = ""
    reply_to: str = ""
    """The first page beside the target that a reply answers too."""


def read(
    body: bytes,
    *,
    url: str,
    wanted: Callable[[str], Hashable | None],
    now: datetime,
    charset: str | None = None,
    content_length: int = 1000,
) -> Reading:
    """Read a page that was fetched from ``url`` (the final one, after redirects). Never raises.

    ``wanted`` is given absolute http and https URLs, each about once, and returns the key of a target, or
    None. Of the page the first MiB counts. Where mf2py would need too long for it, or fails, only the
    metadata is read.
    """
    page = _Page()
    parse(body[:MAX_BYTES], page, charset=charset)
    base_url = absolute(url, page.metadata.base) or url
    items = _items(page.document(), base_url)
    return Reading(
        items=items,
        metadata=page.metadata,
        url=url,
        base_url=base_url,
        wanted=wanted,
        now=now,
        content_length=content_length,
    )


# --- the page, written anew for mf2py ---------------------------------------------------------------------

# mf2py walks the page by recursion, two or three calls for an element
MAX_MARKED_DEPTH: Final = 100
MAX_WORK: Final = 80_000
MAX_TEXT_CHARACTERS: Final = 200_000
_MAX_ATTRIBUTE_CHARACTERS: Final = 1000

# Those with drafts of their own: h-full and h-screen are what style sheets call a height.
_ROOTS: Final = frozenset(
    f"h-{name}"
    for name in (
        *("adr", "app", "x-app", "card", "cite", "entry", "event", "feed", "geo", "item", "listing"),
        *("measure", "news", "product", "recipe", "resume", "review", "review-aggregate"),
    )
)
_NAMES: Final = (
    *("author", "name", "nickname", "org", "summary", "content", "description", "published", "url", "uid"),
    *("photo", "rsvp", "in-reply-to", "like-of", "repost-of", "bookmark-of", "comment", "like", "repost"),
)
_PROPERTIES: Final = frozenset(f"{prefix}-{name}" for prefix in ("p", "u", "dt", "e") for name in _NAMES)
_VALUES: Final = frozenset(("value", "value-title"))
# What the classes of the first generation mean, within each of its roots ("microformats2 parsing", backward
# compatible): the themes of WordPress have them. mf2py copies a page for each of these rules.
_OLD_ROOTS: Final = {"hentry": "h-entry", "hfeed": "h-feed", "vcard": "h-card"}
_OLD_PROPERTIES: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "hentry": {
        "author": ("p-author", "h-card"),
        "entry-title": ("p-name",),
        "entry-summary": ("p-summary",),
        "entry-content": ("e-content",),
        "published": ("dt-published",),
    },
    "hfeed": {"author": ("p-author", "h-card")},
    "vcard": {
        "fn": ("p-name",),
        "nickname": ("p-nickname",),
        "org": ("p-org",),
        "photo": ("u-photo",),
        "uid": ("u-uid",),
        "url": ("u-url",),
    },
}
_URLS: Final = frozenset(("href", "src", "data", "poster"))
_WORDS: Final = frozenset(("alt", "title", "datetime", "value"))
_VOID: Final = frozenset(("area", "br", "hr", "img", "input", "link", "source"))
_TAGS: Final = (
    (SEPARATORS - {"body", "option"})
    | _VOID
    | {"a", "abbr", "audio", "data", "del", "ins", "object", "time", "video"}
)


@dataclass(frozen=True, kw_only=True)
class _Open:
    """An element that is open: what it is called in the new page, and what mf2py does with its contents."""

    tag: str
    old: str
    """The root of the first generation that its classes are to be understood by, "" for microformats2."""
    times: int
    """How often they are parsed: a nested microformat once for each property that it is."""
    looks: int
    """How often each time: by those of its parents that take their text, or a copy."""


class _Page:
    """The target of a parser: keeps the metadata, and writes down what has to do with microformats.

    mf2py is made for pages that mean well: its time can double with every element within another. So
    it is shown only what stands within a microformat, with the classes and attributes that are of use, and
    nothing at all when its work, which is counted here, would be too much.
    """

    def __init__(self) -> None:
        self.metadata = Metadata()
        self._written: list[str] | None = []
        self._open: list[_Open | None] = []
        self._marked = [_Open(tag="", old="", times=1, looks=0)]
        self._hidden = 0
        self._foreign = 0
        self._work = 0
        self._characters = 0

    def document(self) -> str:
        """Return the page for mf2py; "" when there is nothing in it, or too much."""
        return "".join(self._written) if self._written else ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Called by lxml."""
        if len(self._open) >= MAX_DEPTH:
            raise TooDeep
        self._hidden += tag in NOT_SHOWN
        self._foreign += tag in ("svg", "template")
        if not self._foreign:
            self.metadata.start(tag, attributes)
        self._open.append(None if self._hidden or self._written is None else self._mark(tag, attributes))

    def end(self, tag: str) -> None:
        """Called by lxml, once for each start."""
        self._hidden -= tag in NOT_SHOWN
        self._foreign -= tag in ("svg", "template")
        self.metadata.end(tag)
        one = self._open.pop()
        if one is not None:
            self._marked.pop()
            if self._written is not None and one.tag not in _VOID:
                self._written.append(f"</{one.tag}>")

    def data(self, data: str) -> None:
        """Called by lxml."""
        self.metadata.data(data)
        if self._written is None or self._hidden or len(self._marked) == 1:
            return
        self._characters += len(data)
        # mf2py joins a text piece by piece, each time all that it has
        self._count(self._marked[-1], 1 + len(data) // 250 + self._characters // 10_000)
        if self._written is not None:
            self._written.append(html.escape(data, quote=False))

    def close(self) -> None:
        """Called by lxml."""

    def _mark(self, tag: str, attributes: Mapping[str, str]) -> _Open | None:
        """Write an element down, when it is a microformat or stands within one."""
        within = self._marked[-1]
        classes, old = _understood(attributes, within.old)
        is_root = not _ROOTS.isdisjoint(classes)
        if len(self._marked) == 1 and not is_root:
            return None
        properties = [one for one in classes if one in _PROPERTIES]
        one = _Open(
            tag=tag if tag in _TAGS else "div" if tag == "body" else "span",
            old=old,
            times=within.times * max(1, len(properties) if is_root else 1),
            # the text of every property is taken; of content the markup too, after its URLs were changed
            looks=within.looks + is_root + sum(4 if name.startswith("e-") else 1 for name in properties),
        )
        self._marked.append(one)
        self._count(one, 2 if is_root else 1)
        if self._written is not None:
            self._written.append(_start_tag(one.tag, classes, attributes))
        return one

    def _count(self, one: _Open, pieces: int) -> None:
        self._work += one.times * (3 + one.looks) * pieces
        too_large = self._work > MAX_WORK or self._characters > MAX_TEXT_CHARACTERS
        if too_large or len(self._marked) > MAX_MARKED_DEPTH:
            self._written = None


def _understood(attributes: Mapping[str, str], old: str) -> tuple[Sequence[str], str]:
    """Return the classes of an element in microformats2, and how those of its children are understood."""
    words = dict.fromkeys(attributes.get("class", "").split())
    roots = [one for one in words if one in _ROOTS]
    old_roots = [one for one in words if one in _OLD_ROOTS]
    if not old:
        classes = [one for one in words if one in _PROPERTIES or one in _VALUES]
    else:
        classes = [new for one in words for new in _OLD_PROPERTIES[old].get(one, ())]
        if old == "hentry" and "bookmark" in attributes.get("rel", "").lower().split():
            classes.append("u-url")
    if roots:
        return [*dict.fromkeys((*roots, *classes))], ""
    if "h-card" in classes or old_roots:
        classes += [_OLD_ROOTS[one] for one in old_roots]
        return [*dict.fromkeys(classes)], "vcard" if "h-card" in classes else old_roots[0]
    return classes, old


def _start_tag(tag: str, classes: Sequence[str], attributes: Mapping[str, str]) -> str:
    parts = [tag]
    if classes:
        parts.append(f'class="{" ".join(classes)}"')
    for name, value in attributes.items():
        if name in _URLS:
            # an address in its place that is none of use: without it the text would be taken for one
            kept = value if len(value) <= MAX_URL_CHARACTERS else "data:,"
            parts.append(f'{name}="{html.escape(kept)}"')
        elif name in _WORDS:
            parts.append(f'{name}="{html.escape(value[:_MAX_ATTRIBUTE_CHARACTERS])}"')
    return f"<{' '.join(parts)}>"


def _items(document: str, base_url: str) -> Sequence[Mapping[str, Any]]:
    """Return the microformats of a page (microformats2 parsing specification)."""
    if not document:
        return ()
    try:
        import mf2py
    except ImportError:
        return ()
    try:
        return cast(
            "Sequence[Mapping[str, Any]]",
            mf2py.parse(doc=f"<body>{document}</body>", url=base_url, html_parser="lxml")["items"],
        )
    except Exception:  # it takes for granted what strangers need not give: a TypeError, an AttributeError ...
        return ()


# --- the entries of a page --------------------------------------------------------------------------------

_ENTRIES: Final = frozenset(("h-entry", "h-event", "h-review", "h-recipe", "h-product"))
_RSVPS: Final = frozenset(("yes", "no", "maybe", "interested"))
# "Post Type Discovery", Response Type Algorithm; as its issue 25 has it, a reply comes last: who likes a
# post may say that it is a reply too, for those who know nothing else. Bookmarks, which it does not know,
# go before that. A reply that says whether somebody comes goes first, as an RSVP.
_RESPONSES: Final = (
    ("repost-of", MentionType.repost),
    ("like-of", MentionType.like),
    ("bookmark-of", MentionType.bookmark),
    ("in-reply-to", MentionType.reply),
)


class _Entry:
    """A microformat that is a post, with the feed it stands in."""

    def __init__(self, item: Mapping[str, Any], feed: Mapping[str, Any] | None) -> None:
        self.properties = _properties(item)
        self.feed = _properties(feed) if feed is not None else {}

    def texts(self, name: str) -> Iterator[str]:
        """Yield the values of a property as text."""
        return _texts(self.properties.get(name, ()))

    @property
    def rsvp(self) -> str:
        """Whether its author comes."""
        return next((one for one in map(_word, self.texts("rsvp")) if one in _RSVPS), "")

    def responses(self) -> Sequence[tuple[str, MentionType]]:
        """Return the properties by which it can answer something, in the order in which they count."""
        return (("in-reply-to", MentionType.rsvp), *_RESPONSES) if self.rsvp else _RESPONSES

    def markup(self) -> str:
        """Return its content as it stands in the page, "" where it is but text."""
        for value in self.properties.get("content", ()):
            if isinstance(value, dict) and isinstance(value.get("html"), str):
                return cast("str", value["html"])
        return ""

    def text(self, limit: int) -> str:
        """Return its content as plain text, else its summary."""
        markup = self.markup()
        if markup:
            return text_of(markup, limit)
        names = ("content", "summary", "description")
        texts = (paragraphs(text, limit) for name in names for text in self.texts(name))
        return next(filter(None, texts), "")


def _entries(items: Sequence[Mapping[str, Any]], feed: Mapping[str, Any] | None = None) -> Iterator[_Entry]:
    """Yield the posts of a page, those in feeds among them, but not what stands within a post."""
    for item in items:
        types = item.get("type", ())
        if _ENTRIES.intersection(types):
            yield _Entry(item, feed)
        else:
            yield from _entries(item.get("children", ()), item if "h-feed" in types else feed)


def _cards(items: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Sequence[Any]]]:
    """Yield the properties of all cards of persons, wherever they stand, in their order."""
    waiting: list[Any] = list(items)[::-1]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, dict):
            continue
        properties = _properties(one)
        if "h-card" in one.get("type", ()):
            yield properties
        waiting.extend(list(one.get("children", ()))[::-1])
        for values in reversed(list(properties.values())):
            waiting.extend(values[::-1])


def _properties(item: Mapping[str, Any]) -> Mapping[str, Sequence[Any]]:
    return cast("Mapping[str, Sequence[Any]]", item.get("properties", {}))


def _texts(values: Sequence[Any]) -> Iterator[str]:
    """Yield plain values; of what is more than that its name or value."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from islice(_texts(_properties(value).get("name", ())), 1)
            if isinstance(value.get("value"), str):
                yield value["value"]


def _urls(values: Sequence[Any]) -> Iterator[str]:
    """Yield plain values, the URLs of what is cited, and the addresses of pictures."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            properties = _properties(value)
            yield from _urls(properties.get("url", ()))
            yield from _urls(properties.get("uid", ()))
            if isinstance(value.get("value"), str):
                yield value["value"]


def _word(text: str) -> str:
    return text[:100].strip().lower()


# --- what is said about a target --------------------------------------------------------------------------


class Reading:
    """A page that was read: says what its author says about each target."""

    def __init__(
        self,
        *,
        items: Sequence[Mapping[str, Any]],
        metadata: Metadata,
        url: str,
        base_url: str,
        wanted: Callable[[str], Hashable | None],
        now: datetime,
        content_length: int,
    ) -> None:
        self._metadata = metadata
        self._url = url
        self._base_url = base_url
        self._now = now
        self._content_length = content_length
        self._cards = list(islice(_cards(items), MAX_CARDS))
        self._entries = list(islice(_entries(items), MAX_ENTRIES))
        self._contents: dict[tuple[_Entry, MentionType], Content] = {}
        self._answers: dict[Hashable, tuple[_Entry, MentionType]] = {}
        self._links: dict[Hashable, _Entry] = {}
        self._asked: dict[str, Hashable | None] = {}
        self._index(wanted)

    def about(self, key: Hashable) -> Content:
        """Return what is said about the target with this key.

        By the entry that answers it, else by one whose content links to it, else by that of the page
        itself, else by the first; without an entry by the metadata. For a mere mention the words round
        the link (`LinkScan`) say more than ``content``, which is the beginning of the post.
        """
        entry, kind = self._answers.get(key, (self._links.get(key, self._own), MentionType.mention))
        if entry is None:
            return self._plain
        if (entry, kind) not in self._contents:
            self._contents[entry, kind] = self._content(entry, kind)
        content = self._contents[entry, kind]
        return replace(content, reply_to=self._other(entry, key)) if kind is MentionType.reply else content

    # --- which entry ---

    def _index(self, wanted: Callable[[str], Hashable | None]) -> None:
        """Find out once, for all targets, which entries answer them or link to them."""
        asked = self._asked

        def key_of(url: str) -> Hashable | None:
            if url and url not in asked and len(asked) < MAX_ASKED:
                asked[url] = wanted(url)
            return asked.get(url)

        for entry in self._entries:
            for name, kind in entry.responses():
                for key in map(key_of, map(self._web, _urls(entry.properties.get(name, ())))):
                    if key is not None:
                        self._answers.setdefault(key, (entry, kind))
        for entry in self._entries if len(self._entries) > 1 else ():
            for key in map(key_of, outgoing_links(entry.markup(), self._base_url)):
                if key is not None:
                    self._links.setdefault(key, entry)

    @cached_property
    def _own(self) -> _Entry | None:
        """The entry that the page is for."""
        own = (entry for entry in self._entries if self._is_page(entry))
        return next(own, self._entries[0] if self._entries else None)

    def _is_page(self, entry: _Entry) -> bool:
        """Tell whether an entry is what the page is for: the only one, or one that has its URL."""
        if len(self._entries) == 1:
            return True
        urls = _urls(entry.properties.get("url", ()))
        return any(_same(self._web(url), self._url) for url in urls)

    def _other(self, entry: _Entry, key: Hashable) -> str:
        """Return what a reply answers beside the target, which any URL of what it cites may be."""
        for value in entry.properties.get("in-reply-to", ()):
            urls = [url for url in map(self._web, _urls([value])) if url]
            if urls and all(self._asked.get(url) != key for url in urls):
                return urls[0]
        return ""

    # --- what it says ---

    def _content(self, entry: _Entry, kind: MentionType) -> Content:
        content = entry.text(self._content_length)
        rsvp = entry.rsvp if kind is MentionType.rsvp else ""
        author = self._person(self._author(entry))
        url = next(filter(None, map(self._web, _urls(entry.properties.get("url", ())))), "")
        published_at = self._first_moment(entry.texts("published"))
        if self._is_page(entry):
            url = url or self._plain.url
            published_at = published_at or self._plain.published_at
        return Content(
            type=kind,
            rsvp=rsvp,
            title=f"RSVP: {rsvp}" if rsvp else self._title(entry, content),
            content=content,
            author_name=author.name,
            author_url=author.url,
            author_photo=author.photo,
            published_at=published_at,
            url=url,
        )

    def _title(self, entry: _Entry, content: str) -> str:
        """Return the name of a post, else that of its page.

        A name that the content begins with is no title (Post Type Discovery, section 5), and one as long
        as a text was put together from all that stands in the post.
        """
        for name in entry.texts("name"):
            title = line(name, MAX_TITLE_CHARACTERS + 2)
            if title and len(title) <= MAX_TITLE_CHARACTERS and not _begins(content, title):
                return title
        return self._plain.title

    def _author(self, entry: _Entry) -> Person:
        """Return who wrote an entry ("authorship-spec" of the IndieWeb, without the steps that fetch)."""
        page_url = ""
        for value in (*entry.properties.get("author", ()), *entry.feed.get("author", ()))[:1]:
            if isinstance(value, dict) and "h-card" in value.get("type", ()):
                return _card(_properties(value))
            name = next(_texts([value]), "").strip()
            page_url = safe_url("", name)
            if name and not page_url:
                return Person(name=name)
        if not self._is_page(entry):
            return self._card_at(page_url) or Person(url=page_url)
        linked = self._web(self._metadata.author_link)
        if page_url or self._card_at(linked) is not None:
            return self._card_at(page_url or linked) or Person(url=page_url)
        return self._card_at(self._url) or self._metadata.author

    def _card_at(self, url: str) -> Person | None:
        """Return the person whose card on this page has this URL ("representative h-card parsing")."""
        for card in self._cards if url else ():
            urls = (self._web(one) for one in _urls(card.get("url", ())))
            if any(_same(one, url) for one in urls):
                return _card(card)
        return None

    @cached_property
    def _plain(self) -> Content:
        """Return what the metadata says, whatever the target."""
        metadata = self._metadata
        author = self._person(metadata.author)
        return Content(
            title=line(metadata.title, MAX_TITLE_CHARACTERS),
            author_name=author.name,
            author_url=author.url,
            author_photo=author.photo,
            published_at=self._first_moment([metadata.published]),
            url=self._web(metadata.url),
        )

    def _person(self, person: Person) -> Person:
        name = line(person.name, 2 * MAX_NAME_CHARACTERS + 2)
        # a whole text, or the address of a picture that has no alt, is nobody's name
        if len(name) > 2 * MAX_NAME_CHARACTERS or is_address(name):
            name = ""
        return Person(
            name=line(name, MAX_NAME_CHARACTERS),
            url=self._web(person.url),
            photo=self._web(person.photo),
        )

    def _web(self, url: str) -> str:
        return safe_url(self._base_url, url) if url else ""

    def _first_moment(self, texts: Iterable[str]) -> datetime | None:
        return next((one for one in (moment(text, self._now) for text in texts) if one is not None), None)


def _card(card: Mapping[str, Sequence[Any]]) -> Person:
    names = (text for name in ("name", "nickname", "org") for text in _texts(card.get(name, ())))
    return Person(
        name=next(filter(str.strip, names), ""),
        url=next(filter(None, (safe_url("", url) for url in _urls(card.get("url", ())))), ""),
        photo=next(filter(None, (safe_url("", url) for url in _urls(card.get("photo", ())))), ""),
    )


def _begins(content: str, title: str) -> bool:
    text = " ".join(content.split())
    return text.startswith(title) or (text.endswith("…") and title.startswith(text[:-1]))


def _same(one: str, other: str) -> bool:
    return bool(one) and _bare(one) == _bare(other)


def _bare(url: str) -> str:
    return url.partition("#")[0].partition("://")[2].rstrip("/")


# --- times ------------------------------------------------------------------------------------------------

MAX_AHEAD: Final = timedelta(days=1)
FIRST_YEAR: Final = 1900

_ZONE = re.compile(r"\s*(?:UTC|GMT|Z)$")
_NAMED_ZONE = re.compile(r"\s+([+-]\d\d:?\d\d)(?:\s+[A-Z]{1,5})?$")
_ORDINAL = re.compile(r"(\d{4})-(\d{3})(?!\d)")


def moment(text: str, now: datetime) -> datetime | None:
    """Return the time in UTC that an ISO 8601 date or time means; None for what is none or cannot be.

    Without a zone it is UTC, without a time midnight. Nothing was published before 1900, or later than a
    day from now: clocks may differ, and zones may be forgotten.
    """
    text = text.strip().upper() if len(text) <= 60 else ""
    text = _ZONE.sub("+00:00", _NAMED_ZONE.sub(r"\1", text))
    try:
        ordinal = _ORDINAL.match(text)
        if ordinal is not None:
            day = datetime.strptime(ordinal[0], "%Y-%j").replace(tzinfo=UTC)
            text = f"{day:%Y-%m-%d}{text[ordinal.end() :]}"
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if found.year >= FIRST_YEAR and found <= now + MAX_AHEAD else None
