"""Metadata: what a page says of itself beside its text: title, meta and link elements, JSON-LD."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

__all__ = ["Article", "Metadata", "Person", "read_json_ld"]

# More than a URL may have: one that was cut is still seen to be too long
MAX_VALUE_CHARACTERS: Final = 3000
MAX_SCRIPTS: Final = 5
MAX_SCRIPT_CHARACTERS: Final = 64 * 1024
MAX_NODES: Final = 500

_METAS: Final = frozenset(
    ("article:author", "article:published_time", "author", "og:title", "og:url", "twitter:title"),
)
_LINKS: Final = frozenset(("author", "canonical"))
_JSON_LD: Final = "application/ld+json"


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody in the words of a page: nothing of it is checked."""

    name: str = ""
    url: str = ""
    photo: str = ""


@dataclass(frozen=True, kw_only=True)
class Article:
    """A post in the words of a page: nothing of it is checked."""

    title: str = ""
    published: str = ""
    author: Person = field(default_factory=Person)


class Metadata:
    """Takes the tags of a page, as the target of an lxml parser does, and keeps what they say of it.

    Of each kind the first; nothing grows with the page. To be asked when all tags went by.
    """

    def __init__(self) -> None:
        self.base = ""
        self.author_link = ""
        """Where ``rel="author"`` leads."""
        self._title = ""
        self._author = ""
        self._metas: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._scripts: list[str] = []
        self._ends = ""  # the tag at whose end the text is complete
        self._text: list[str] = []
        self._length = 0

    @property
    def title(self) -> str:
        """What it calls itself."""
        titles = (self._metas.get("og:title"), self._metas.get("twitter:title"), self.article.title)
        return next(filter(None, titles), self._title)

    @property
    def published(self) -> str:
        """When it says that it was published."""
        return self._metas.get("article:published_time") or self.article.published

    @property
    def url(self) -> str:
        """Where it says that it belongs."""
        return self._links.get("canonical") or self._metas.get("og:url", "")

    @property
    def author(self) -> Person:
        """Who wrote it: the author in JSON-LD, else whom meta and link elements name."""
        if self.article.author != Person():
            return self.article.author
        named = (self._metas.get("author", ""), self._metas.get("article:author", ""), self._author)
        urls = [one for one in named if one.startswith(("http://", "https://"))]
        names = [one for one in named if one not in urls]
        return Person(
            name=next(filter(None, names), ""), url=next(filter(None, (self.author_link, *urls)), "")
        )

    @cached_property
    def article(self) -> Article:
        """What the first article in JSON-LD says."""
        return read_json_ld(self._scripts)

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take a start tag."""
        match tag:
            case "title" if not self._title:
                self._begin(tag)
            case "meta":
                name = (attributes.get("property") or attributes.get("name") or "").lower()
                if name in _METAS and attributes.get("content"):
                    self._metas.setdefault(name, attributes["content"][:MAX_VALUE_CHARACTERS])
            case "base" if not self.base:
                self.base = attributes.get("href", "")[:MAX_VALUE_CHARACTERS]
            case "script" if attributes.get("type", "").strip().lower() == _JSON_LD:
                if len(self._scripts) < MAX_SCRIPTS:
                    self._begin(tag)
            case "a" | "link" if "rel" in attributes and "href" in attributes:
                self._link(tag, attributes["rel"][:MAX_VALUE_CHARACTERS].lower().split(), attributes["href"])

    def data(self, data: str) -> None:
        """Take text."""
        if self._ends and self._length <= MAX_SCRIPT_CHARACTERS:
            self._text.append(data)
            self._length += len(data)

    def end(self, tag: str) -> None:
        """Take an end tag."""
        if tag != self._ends:
            return
        self._ends = ""
        text = "".join(self._text)
        if tag == "script":
            self._scripts.append(text[:MAX_SCRIPT_CHARACTERS])
        elif tag == "title":
            self._title = text[:MAX_VALUE_CHARACTERS].strip()
        else:
            self._author = text[:MAX_VALUE_CHARACTERS].strip()

    def _begin(self, tag: str) -> None:
        self._ends, self._text, self._length = tag, [], 0

    def _link(self, tag: str, rels: Sequence[str], href: str) -> None:
        for rel in _LINKS.intersection(rels):
            if rel == "author" and not self.author_link:
                self.author_link = href[:MAX_VALUE_CHARACTERS]
                if tag == "a":
                    self._begin(tag)
            elif tag == "link":
                self._links.setdefault(rel, href[:MAX_VALUE_CHARACTERS])


# --- JSON-LD ----------------------------------------------------------------------------------------------

_ARTICLES: Final = frozenset(
    (
        *("Article", "BlogPosting", "NewsArticle", "TechArticle", "ScholarlyArticle", "Report", "Review"),
        *("SocialMediaPosting", "DiscussionForumPosting", "LiveBlogPosting", "OpinionNewsArticle"),
    ),
)


def read_json_ld(scripts: Sequence[str]) -> Article:
    """Return what the first article of some JSON-LD says, an empty one when there is none. Never raises.

    The terms of schema.org under whatever ``@context``, in a ``@graph``, a list or by themselves; what an
    ``@id`` refers to is looked for in the same scripts only.
    """
    nodes = list(_nodes([document for script in scripts for document in _document(script)]))
    known = {node["@id"]: node for node in reversed(nodes) if isinstance(node.get("@id"), str)}
    for node in nodes:
        types = node.get("@type")
        if _ARTICLES.intersection(one for one in _listed(types) if isinstance(one, str)):
            return Article(
                title=_text(node.get("headline")) or _text(node.get("name")),
                published=_text(node.get("datePublished")),
                author=_person(node.get("author"), known),
            )
    return Article()


def _document(script: str) -> Iterator[Any]:
    try:
        yield json.loads(script)
    except (ValueError, RecursionError):  # RecursionError: brackets, a thousand deep
        return


def _nodes(documents: list[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of documents, lists and graphs, in their order and not too many."""
    left = MAX_NODES
    waiting = documents[::-1]
    while waiting and left:
        left -= 1
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            one = one.get("@graph")
        if isinstance(one, list):
            waiting.extend(one[:left][::-1])


def _person(value: Any, known: Mapping[str, Mapping[str, Any]]) -> Person:
    one = _first(value)
    if isinstance(one, str):
        is_url = one.startswith(("http://", "https://"))
        return Person(url=_text(one)) if is_url else Person(name=_text(one))
    person = _resolved(one, known)
    image = _resolved(_first(person.get("image")), known)
    return Person(
        name=_text(person.get("name")),
        url=_text(person.get("url")),
        photo=_text(image.get("url")) or _text(image.get("contentUrl")) or _text(person.get("image")),
    )


def _resolved(value: Any, known: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the object that a value is or refers to; what it says itself goes first."""
    if not isinstance(value, dict):
        return {}
    identity = value.get("@id")
    return {**known.get(identity, {}), **value} if isinstance(identity, str) else value


def _text(value: Any) -> str:
    one = _first(value)
    if isinstance(one, dict):
        one = one.get("@value")
    # WordPress writes the entities of HTML into it
    return html.unescape(one[:MAX_VALUE_CHARACTERS]).strip() if isinstance(one, str) else ""


def _first(value: Any) -> Any:
    return next(iter(_listed(value)), None)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
