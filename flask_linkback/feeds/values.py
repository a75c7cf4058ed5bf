"""Values: what feeds are made of: dates, addresses, enclosures, stylesheets, authors, categories."""

from __future__ import annotations

import email.utils
import html
import mimetypes
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from io import StringIO
from typing import Any, Final
from urllib.parse import quote, urlparse

__all__ = [
    "Author",
    "Category",
    "Enclosure",
    "Media",
    "Stylesheet",
    "Tombstone",
    "add_domain",
    "get_tag_uri",
    "iri_to_uri",
    "rfc2822_date",
    "rfc3339_date",
]

# --- dates -------------------------------------------------------------------------------------------

_TWO_DIGITS: Final = tuple(f"{number:02d}" for number in range(60))
_MINUTES: Final = tuple(f"{hour}:{minute}:" for hour in _TWO_DIGITS[:24] for minute in _TWO_DIGITS)
"""Each minute of a day."""
_REMEMBERED: Final = 4096
_days: dict[date, tuple[str, str]] = {}
"""A day as ``"Sat, 31 Jan 2026 "`` and as ``"2026-01-31T"``: items of a feed share their days."""
_offsets: dict[timedelta, tuple[str, str]] = {}
"""A time zone's offset as ``"+0100"`` and as ``"+01:00"``."""


def rfc2822_date(date: date) -> str:
    """Write a date as RSS does (RFC 2822, section 3.3): without a zone ``-0000``, a day as its midnight."""
    at = date if isinstance(date, datetime) else datetime.combine(date, time())
    day = at.date()
    name, _ = _days.get(day) or _day(day)
    offset, _ = _UTC if at.tzinfo is UTC else _offset(at.utcoffset())
    return f"{name}{_MINUTES[60 * at.hour + at.minute]}{_TWO_DIGITS[at.second]} {offset}"


def rfc3339_date(date: date) -> str:
    """Write a date as Atom does (RFC 3339, section 5.6): without a zone ``Z``, a day as its midnight."""
    at = date if isinstance(date, datetime) else datetime.combine(date, time())
    if at.microsecond:
        return at.isoformat() if at.tzinfo is not None else f"{at.isoformat()}Z"
    day = at.date()
    _, name = _days.get(day) or _day(day)
    _, offset = _UTC if at.tzinfo is UTC else _offset(at.utcoffset())
    return f"{name}{_MINUTES[60 * at.hour + at.minute]}{_TWO_DIGITS[at.second]}{offset}"


def rss_date(day: date) -> str:
    """Write a date as RSS must have it: with a time zone of hours and minutes, or none."""
    if day.__class__ is datetime and day.tzinfo is UTC:  # nearly always, and in each item
        date_ = day.date()
        name, _ = _days.get(date_) or _day(date_)
        return f"{name}{_MINUTES[60 * day.hour + day.minute]}{_TWO_DIGITS[day.second]} +0000"
    text = rfc2822_date(day)
    return text if len(text) == _RFC2822_LENGTH else rfc2822_date(aware(day).astimezone(UTC))


_RFC2822_LENGTH: Final = len("Tue, 03 Nov 2026 00:00:00 +0000")


def atom_date(day: date) -> str:
    """Write a date as Atom must have it: with a time zone of hours and minutes, UTC where it has none.

    So it is where a zone is farther than any.
    """
    if day.__class__ is datetime and day.tzinfo is UTC and not day.microsecond:
        date_ = day.date()
        _, name = _days.get(date_) or _day(date_)
        return f"{name}{_MINUTES[60 * day.hour + day.minute]}{_TWO_DIGITS[day.second]}+00:00"
    at = moment(day, UTC)
    text = rfc3339_date(at)
    return text if text[-6] in "+-" and text[-5:] <= _FARTHEST else at.astimezone(UTC).isoformat()


_FARTHEST: Final = "14:00"
"""The farthest zone that ``xsd:dateTime`` has, by which Atom is checked."""


def _day(day: date) -> tuple[str, str]:
    if len(_days) >= _REMEMBERED:
        _days.clear()
    midnight = datetime.combine(day, time())
    _days[day] = email.utils.format_datetime(midnight)[:17], f"{day.isoformat()}T"
    return _days[day]


def _offset(offset: timedelta | None) -> tuple[str, str]:
    if offset is None:
        return "-0000", "Z"
    known = _offsets.get(offset)
    if known is None:
        if len(_offsets) >= _REMEMBERED:
            _offsets.clear()
        text = datetime(2000, 1, 1, tzinfo=timezone(offset)).isoformat()[19:]
        known = _offsets[offset] = (text.replace(":", ""), text)
    return known


_UTC: Final = ("+0000", "+00:00")


def moment(day: date, zone: tzinfo) -> datetime:
    """Return a date with its time zone, or this one where it has none; a day is its midnight."""
    if day.__class__ is datetime and day.tzinfo is not None:
        return day
    at = day if isinstance(day, datetime) else datetime.combine(day, time())
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def aware(day: date) -> datetime:
    """Return a date that can be compared with any other: without a time zone it means UTC."""
    return moment(day, UTC)


# --- addresses ---------------------------------------------------------------------------------------

_RESERVED: Final = "/#%[]=:;$&()+,!?*@'~"
"""The reserved characters of RFC 3986, section 2.2, ``%`` and ``~``: what is not quoted."""
_PLAIN: Final = bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)) + b"_.-"
_UNCHANGED: Final = _PLAIN + _RESERVED.encode()


def iri_to_uri(iri: Any) -> Any:
    """Quote what a URI cannot have (RFC 3987, section 3.1); what is quoted stays, None is None.

    Takes text, UTF-8 bytes or an object whose ``str()`` is the address.
    """
    if iri.__class__ is str:  # a plain one nearly always: nothing is left of it without what stays
        return iri if iri.isascii() and not iri.encode().translate(None, _UNCHANGED) else _quoted(iri)
    if iri is None:
        return None
    return _quoted(iri if isinstance(iri, bytes) else str(iri))


def _quoted(text: str | bytes) -> str:
    # a lone surrogate is left out, as it is in text
    return quote(text if isinstance(text, bytes) else text.encode(errors="ignore"), safe=_RESERVED)


_is_odd: Final = re.compile(r"[%\[\]#]").search
_stray_percent: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_authority: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//[^/?#]*")
_PLAIN_PATH: Final = bytes(set(_UNCHANGED) - set(b"%[]#"))


def tidy(url: str) -> str:
    """Quote the reserved characters of an address that stand where they say nothing (RFC 3986, section 3)."""
    if not _is_odd(url):
        return url
    authority = _authority.match(url)
    start = authority.end() if authority is not None else 0
    path, number_sign, fragment = url[start:].partition("#")
    rest = f"{path}{number_sign}{fragment.replace('#', '%23')}".replace("[", "%5B").replace("]", "%5D")
    return url[:start] + _stray_percent.sub("%25", rest)


def is_plain(url: str) -> bool:
    """Has a URL, or a path, nothing that could have to be quoted? Most have nothing."""
    return url.isascii() and not url.encode().translate(None, _PLAIN_PATH)


def uri_of_path(path: str) -> str:
    """Quote a path from the root, with its query, so that it is part of a URI."""
    if is_plain(path):
        return path
    return str(iri_to_uri(tidy(path)))


def add_domain(domain: str, url: str, secure: bool = False) -> str:
    """Put scheme and domain before a path; an absolute http(s) or mailto URL stays as it is.

    As Django's function of this name: what has no slash in front is glued to the domain.
    """
    protocol = "https" if secure else "http"
    if url.startswith("//"):
        return f"{protocol}:{url}"
    if url.startswith(("http://", "https://", "mailto:")):
        return url
    return str(iri_to_uri(f"{protocol}://{domain}{url}"))


def get_tag_uri(url: str, date: date | None) -> str:
    """Make a tag URI (RFC 4151) of an address and the day that it dates from."""
    parts = urlparse(url)  # parameters of the path are no part of the id, in Django as here
    day = f",{date:%Y-%m-%d}" if date is not None else ""
    return f"tag:{parts.hostname}{day}:{parts.path}/{parts.fragment}"


_is_uri: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{}|\\^`]+\Z").match


def as_uri(text: str, *, within: str) -> str:
    """Return an id that is a URI already as it is; of any other, a ``urn:uuid`` that stays the same.

    An address of the web with spaces and the like is one when they are quoted. ``within`` says what the
    id belongs to: two feeds may both have an item 42 (RFC 4287, section 4.2.6).
    """
    if _is_uri(text):
        return text
    if text.startswith(("http://", "https://")):
        return str(iri_to_uri(text))
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{within}\n{text}").urn


def id_of_link(link: str | None, date: date | None, *, within: str) -> str:
    """Make an id for what has none: a tag URI, where that says all that the address does.

    Two addresses that differ in their query have one tag URI; and one without a date is none (RFC 4151,
    section 2.1).
    """
    parts = urlparse(link or "")
    if date is not None and link and parts.hostname and not (parts.query or parts.params):
        return get_tag_uri(link, date)
    return as_uri(link or "", within=within)


def as_text(value: Any) -> str | None:
    """Return a value as text, but for None."""
    return str(value) if value is not None else None


_is_media_type: Final = re.compile(r"[\w!#$&^.+\-]+/[\w!#$&^.+\-]+\s*(?:;.*)?\Z", re.ASCII).match


def media_type(text: str) -> str | None:
    """Return a media type, if it is one (RFC 6838, section 4.2)."""
    return text if _is_media_type(text) else None


def media_type_of(enclosure: Enclosure) -> str:
    """Return the media type of a file: the one that it has, or one guessed by its name."""
    known = media_type(str(enclosure.mime_type))
    return known or mimetypes.guess_type(enclosure.url)[0] or "application/octet-stream"


# --- things ------------------------------------------------------------------------------------------


class Enclosure:
    """A file that belongs to an item: ``url``, ``length`` in bytes and ``mime_type``, all text."""

    def __init__(self, url: Any, length: Any, mime_type: Any) -> None:
        self.url: str = iri_to_uri(url)
        self.length, self.mime_type = length, mime_type


def enclosure_at(uri: str, length: Any, mime_type: Any) -> Enclosure:
    """Return an enclosure whose address was quoted already."""
    made = _bare(Enclosure)
    made.url, made.length, made.mime_type = uri, length, mime_type
    return made


_bare: Final = Enclosure.__new__


class Stylesheet:
    """How a browser shows a feed: ``<?xml-stylesheet ...?>`` (Associating Style Sheets with XML documents).

    ``url`` may be an object whose ``str()`` is the address, which is asked for when the feed is written.
    ``mimetype`` ``""`` is guessed by the name's end, None is left out; so is a ``media`` of None.
    """

    def __init__(self, url: Any, mimetype: str | None = "", media: str | None = "screen") -> None:
        self._url = url
        self._mimetype = mimetype
        self.media = media

    @property
    def url(self) -> str:
        return str(iri_to_uri(self._url))

    @property
    def mimetype(self) -> str | None:
        return _guess_mimetype(self.url) if self._mimetype == "" else self._mimetype

    def __str__(self) -> str:
        attributes = {"href": self.url, "media": self.media, "type": self.mimetype}
        return " ".join(
            f'{name}="{html.escape(value)}"' for name, value in attributes.items() if value is not None
        )

    def __repr__(self) -> str:
        return repr((self.url, self.mimetype, self.media))


def _guess_mimetype(url: str) -> str | None:
    """By the end of the name; XSLT is what browsers take it for, on every platform."""
    known = mimetypes.MimeTypes()
    known.readfp(StringIO("text/xsl\txsl\ntext/xsl\txslt"))
    return known.guess_type(url)[0]


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who wrote a feed or an item: ``Author(name="Ann")``; the rest are text where known.

    RFC 4287, section 3.2; JSON Feed 1.1, "authors"; ``dc:creator`` in RSS, which has no address but e-mail.
    """

    name: str
    email: str | None = None
    url: str | None = None
    avatar: str | None = None


@dataclass(frozen=True)
class Category:
    """What a feed or an item is about: ``Category("tides")`` (RFC 4287, section 4.2.2).

    ``scheme`` is the address of the list that has the term, RSS's ``domain``; ``label`` is for people.
    """

    term: str
    scheme: str | None = None
    label: str | None = None

    def __str__(self) -> str:
        return self.term


@dataclass(frozen=True, kw_only=True)
class Tombstone:
    """An item that was taken away: its id, when, by whom and why (RFC 6721, section 3).

    ``by`` is a name or an `Author`.
    """

    ref: str
    when: datetime
    by: str | Author | None = None
    comment: str | None = None


@dataclass(frozen=True, kw_only=True)
class Media:
    """A picture, sound or film of an item (Media RSS 1.5.1, ``media:content``).

    ``medium`` is "image", "audio", "video", "document" or "executable"; sizes are pixels, ``duration``
    seconds, ``thumbnails`` addresses of pictures, ``credit`` who made it.
    """

    url: str
    type: str | None = None
    medium: str | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    title: str | None = None
    description: str | None = None
    thumbnails: tuple[str, ...] = ()
    credit: str | None = None
