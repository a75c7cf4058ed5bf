"""Podcasts: what the vocabularies of Apple and of Podcasting 2.0 say of a show and of its episodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, ClassVar, Final, Self
from uuid import UUID

from .extensions import Absolute, Element, Elements, Prefixes, named, several, wrong
from .values import Author

__all__ = ["ITunesEpisode", "ITunesShow", "PodcastEpisode", "PodcastShow"]

Write = Callable[[str, str, Any, Absolute], Sequence[Element]]
"""Makes elements of hook, name, value and what makes addresses absolute."""


def plain(hook: str, name: str, value: Any) -> str:
    """Return a value as XML has it: true and false, numbers without exponents, text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not isfinite(value):
            raise wrong(hook, f"{name!r} is a number, not {value!r}.")
        return format(Decimal(repr(value)), "f")
    return str(value)


# --- Apple -------------------------------------------------------------------------------------------


def _itunes(name: str) -> str:
    """The element of a name; ``itunes:new-feed-url`` and ``itunes:episodeType`` have a style each."""
    special = {"new_feed_url": "new-feed-url", "episode_type": "episodeType"}
    return f"itunes:{special.get(name, name)}"


def _text(hook: str, name: str, value: Any, absolute: Absolute) -> Sequence[Element]:
    return [Element(_itunes(name), str(value))]


def _address(hook: str, name: str, value: Any, absolute: Absolute) -> Sequence[Element]:
    return [Element(_itunes(name), absolute(value))]


def _image(hook: str, name: str, value: Any, absolute: Absolute) -> Sequence[Element]:
    return [Element(_itunes(name), None, {"href": absolute(value)})]


def _flag(hook: str, name: str, value: Any, absolute: Absolute) -> Sequence[Element]:
    """``Yes`` is said; anything else has no effect, and stays unsaid."""
    return [Element(_itunes(name), "Yes")] if _truth(hook, name, value) else []


def _explicit(hook: str, name: str, value: Any, absolute: Absolute) -> Sequence[Element]:
    return [Element(_itunes(name), "true" if _truth(hook, name, value) else "false")]


def _truth(hook: str, name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(hook, f"{name!r} is True or False, not {value!r}.")
    return value


def _number(hook: str, name: str, value: Any, absolute: Absolute) -> Sequence[Element]:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise wrong(hook, f"{name!r} is a whole number from 1 on, not {value!r}.")
    return [Element(_itunes(name), str(value))]


def _one_of(*words: str) -> Write:
    def write(hook: str, name: str, value: Any, absolute: Absolute) -> Sequence[Element]:
        if value not in words:
            raise wrong(hook, f"{name!r} is one of {', '.join(words)}, not {value!r}.")
        return [Element(_itunes(name), value)]

    return write


def _owner(hook: str, name: str, value: Any, absolute: Absolute) -> Sequence[Element]:
    if isinstance(value, Author):
        value = {"name": value.name, "email": value.email}
    values = named(value, f"{hook}, {name!r}", ("name", "email"))
    return [
        Element(_itunes(name), children=[Element(f"itunes:{each}", str(values[each])) for each in values])
    ]


def _category(hook: str, name: str, value: Any, absolute: Absolute) -> Sequence[Element]:
    return [_nested(hook, name, each) for each in (value if isinstance(value, list) else [value])]


def _nested(hook: str, name: str, value: Any) -> Element:
    category, inner = value if isinstance(value, tuple) and len(value) == 2 else (value, [])
    if not isinstance(category, str) or not isinstance(inner, list):
        raise wrong(hook, f"{name!r} is text, a pair of text and a list, or a list of such, not {value!r}.")
    return Element(_itunes(name), None, {"text": category}, [_nested(hook, name, each) for each in inner])


_is_duration: Final = re.compile(r"\d+(:[0-5]?\d){0,2}\Z").match


def _duration(hook: str, name: str, value: Any, absolute: Absolute) -> Sequence[Element]:
    seconds = seconds_of(value)
    if seconds is None:
        raise wrong(hook, f"{name!r} is seconds, a timedelta or H:MM:SS, not {value!r}.")
    return [Element(_itunes(name), value if isinstance(value, str) else str(round(seconds)))]


def seconds_of(duration: Any) -> float | None:
    """Return how many seconds a number, a timedelta or ``H:MM:SS`` is; None for what is none of them."""
    if isinstance(duration, timedelta):
        duration = duration.total_seconds()
    if isinstance(duration, int | float) and not isinstance(duration, bool):
        return duration if isfinite(duration) and duration >= 0 else None
    if not isinstance(duration, str) or not _is_duration(duration):
        return None
    seconds = 0
    for part in duration.split(":"):
        seconds = seconds * 60 + int(part)
    return seconds


class _Vocabulary(Elements):
    """Elements of what a dict says, in the order of the names that are known."""

    known: ClassVar[Mapping[str, Any]]

    @classmethod
    def of(cls, said: Any, hook: str, absolute: Absolute) -> Self:
        return cls(list(cls._written(named(said, hook, cls.known), hook, absolute)))

    @classmethod
    def _written(cls, values: Mapping[str, Any], hook: str, absolute: Absolute) -> Iterator[Element]:
        raise NotImplementedError


class _ITunes(_Vocabulary):
    prefixes: ClassVar[Prefixes] = {"rss": ("itunes",), "atom": ("itunes",)}
    known: ClassVar[Mapping[str, Write]]

    @classmethod
    def _written(cls, values: Mapping[str, Any], hook: str, absolute: Absolute) -> Iterator[Element]:
        for name, write in cls.known.items():
            if name in values:
                yield from write(hook, name, values[name], absolute)

    def _text_of(self, name: str) -> str | None:
        return next((each.text for each in self.elements if each.name == name), None)

    def _picture(self) -> str | None:
        found = (each.attributes["href"] for each in self.elements if each.name == "itunes:image")
        return next(found, None)


class ITunesShow(_ITunes):
    """What Apple's directory is told of a podcast: a dict (A podcaster's guide to RSS, "Podcast tags").

    ``category`` is text, a pair of text and a list of subcategories, or a list of such; ``owner`` a dict of
    ``name`` and ``email`` or an `Author`; ``explicit``, ``block`` and ``complete`` are True or False,
    ``type`` is "episodic" or "serial".
    """

    known: ClassVar[Mapping[str, Write]] = {
        "author": _text,
        "title": _text,
        "subtitle": _text,
        "summary": _text,
        "image": _image,
        "category": _category,
        "explicit": _explicit,
        "owner": _owner,
        "type": _one_of("episodic", "serial"),
        "block": _flag,
        "complete": _flag,
        "new_feed_url": _address,
    }

    def add_to_json(self, values: dict[str, Any]) -> None:
        if (image := self._picture()) is not None:
            values.setdefault("icon", image)
        if self._text_of("itunes:complete") is not None:
            values["expired"] = True


class ITunesEpisode(_ITunes):
    """What Apple's directory is told of an episode: a dict (A podcaster's guide to RSS, "Episode tags").

    ``episode`` and ``season`` are numbers, ``episode_type`` is "full", "trailer" or "bonus", ``duration``
    seconds, a timedelta or ``H:MM:SS``.
    """

    known: ClassVar[Mapping[str, Write]] = {
        "author": _text,
        "title": _text,
        "subtitle": _text,
        "summary": _text,
        "image": _image,
        "explicit": _explicit,
        "block": _flag,
        "episode": _number,
        "season": _number,
        "episode_type": _one_of("full", "trailer", "bonus"),
        "duration": _duration,
    }

    def add_to_json(self, values: dict[str, Any]) -> None:
        if (image := self._picture()) is not None:
            values.setdefault("image", image)
        attachments = values.get("attachments", ())
        if len(attachments) == 1 and (seconds := seconds_of(self._text_of("itunes:duration"))) is not None:
            attachments[0].setdefault("duration_in_seconds", seconds)


# --- Podcasting 2.0 ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Word:
    """An element of Podcasting 2.0 and its attributes; what a plain value stands for is called ``alone``."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    alone: str | None = "text"
    """The attribute, or ``text`` within, that a value which is no dict stands for."""
    defaults: Mapping[str, str] | None = None
    several: bool = True
    check: Callable[[str, str, Any], Any] | None = None
    """Makes the text of a value, or refuses it."""
    inner: tuple[str, str, _Word] | None = None
    """The name of a list in the dict, the element for each of it, and its attributes."""

    def element(self, hook: str, name: str, said: Any, absolute: Absolute) -> Element:
        where = f"{hook}, {name!r}"
        if not isinstance(said, Mapping) and self.alone is not None:
            said = {self.alone: said}
        inner = [self.inner[0]] if self.inner is not None else []
        values = {
            **(self.defaults or {}),
            **named(said, where, (*self.required, *self.optional, *inner), required=[*self.required, *inner]),
        }
        children: Sequence[Element] = ()
        if self.inner is not None:
            key, child, word = self.inner
            children = [word.element(where, child, each, absolute) for each in several(values.pop(key))]
        text = values.pop("text", None)
        if text is not None and self.check is not None:
            text = self.check(hook, name, text)
        return Element(
            f"podcast:{name}",
            plain(where, "text", text) if text is not None else None,
            {
                key: absolute(value) if key in self.addresses else plain(where, key, value)
                for key, value in values.items()
            },
            children,
        )


def _yes_or_no(hook: str, name: str, value: Any) -> str:
    return "yes" if _truth(hook, name, value) else "no"


def _guid(hook: str, name: str, value: Any) -> str:
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise wrong(hook, f"{name!r} is a UUID, not {value!r}.") from None


_FUNDING: Final = _Word(required=("url",), optional=("text",), addresses=("url",), alone="url")
_LOCATION: Final = _Word(required=("text",), optional=("rel", "geo", "osm", "country"))
_PERSON: Final = _Word(
    required=("text",), optional=("role", "group", "img", "href"), addresses=("img", "href")
)
_RECIPIENT: Final = _Word(
    required=("type", "address", "split"), optional=("name", "customKey", "customValue", "fee"), alone=None
)
_VALUE: Final = _Word(
    required=("type", "method"),
    optional=("suggested",),
    alone=None,
    inner=("recipients", "valueRecipient", _RECIPIENT),
)


class _Podcast(_Vocabulary):
    prefixes: ClassVar[Prefixes] = {"rss": ("podcast",), "atom": ("podcast",)}
    known: ClassVar[Mapping[str, _Word]]

    @classmethod
    def _written(cls, values: Mapping[str, Any], hook: str, absolute: Absolute) -> Iterator[Element]:
        for name, word in cls.known.items():
            if name not in values:
                continue
            said = several(values[name])
            if not word.several and len(said) != 1:
                raise wrong(hook, f"{name!r} is one, not {len(said)}.")
            for each in said:
                yield word.element(hook, name, each, absolute)


class PodcastShow(_Podcast):
    """What Podcasting 2.0 says of a podcast: a dict by the names of its elements (docs/1.0.md).

    A value is text, or a dict of the attributes with ``text`` for what stands within; or a list of them.
    ``value`` has its ``recipients``.
    """

    known: ClassVar[Mapping[str, _Word]] = {
        "guid": _Word(required=("text",), several=False, check=_guid),
        "locked": _Word(required=("text",), optional=("owner",), several=False, check=_yes_or_no),
        "funding": _FUNDING,
        "medium": _Word(required=("text",), several=False),
        "person": _PERSON,
        "location": _LOCATION,
        "value": _VALUE,
    }


class PodcastEpisode(_Podcast):
    """What Podcasting 2.0 says of an episode: a dict as `PodcastShow` takes it."""

    known: ClassVar[Mapping[str, _Word]] = {
        "transcript": _Word(
            required=("url", "type"), optional=("language", "rel"), addresses=("url",), alone=None
        ),
        "chapters": _Word(
            required=("url",),
            optional=("type",),
            addresses=("url",),
            alone="url",
            defaults={"type": "application/json+chapters"},
            several=False,
        ),
        "soundbite": _Word(required=("startTime", "duration"), optional=("text",), alone=None),
        "funding": _FUNDING,
        "person": _PERSON,
        "location": _LOCATION,
        "value": _VALUE,
    }
