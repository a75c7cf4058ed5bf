"""weblogUpdates: a directory is told that a site has something new, what it answers, and its list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final
from urllib.parse import parse_qsl

from . import xml, xmlrpc
from .html import safe_url, text_of
from .text import line
from .xml import Malformed

__all__ = [
    "CHANGES_TYPE",
    "EXTENDED_PING",
    "MAX_BODY_BYTES",
    "PING",
    "BadFeedURL",
    "BadURL",
    "Listed",
    "NameMissing",
    "Ping",
    "PingError",
    "Result",
    "TooLarge",
    "dump_answer",
    "dump_changes",
    "dump_extended_ping",
    "dump_ping",
    "make_ping",
    "parse_form",
    "parse_response",
]

PING: Final = "weblogUpdates.ping"
EXTENDED_PING: Final = "weblogUpdates.extendedPing"
CHANGES_TYPE: Final = "application/xml; charset=utf-8"

MAX_BODY_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 20
MAX_NAME_CHARACTERS: Final = 200
MAX_MESSAGE_CHARACTERS: Final = 500
_FALSE_WORDS: Final = frozenset(("", "0", "false"))


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a directory made of a ping: a word for programs and a sentence for people."""

    ok: bool
    message: str


# --- telling a directory -------------------------------------------------------------------------------


def dump_ping(name: str, url: str) -> bytes:
    """Write the call that names a site and its home page."""
    return xmlrpc.dump_call(PING, [name, url])


def dump_extended_ping(
    name: str, url: str, changes_url: str, feed_url: str, tags: Sequence[str] = ()
) -> bytes:
    """Write the call that also names the page that changed and the feed.

    Four parameters in the order of weblogs.com and blo.gs, and a fifth for the tags if there are any.
    WordPress leaves out the page that changed: such a call says something else.
    """
    params = [name, url, changes_url, feed_url]
    if tags:
        params.append("|".join(tag.replace("|", " ") for tag in tags))
    return xmlrpc.dump_call(EXTENDED_PING, params)


def parse_response(body: bytes) -> Result:
    """Read an answer; raise the ``xmlrpc.Fault`` it carries, or ``Malformed`` for anything but a struct.

    The members are ``flerror``, which is also met as ``flError``, and ``message``. The first may be a
    boolean, a number or a string; where it is missing, nothing is said to be wrong.
    """
    answer = xmlrpc.parse_response(body)
    if not isinstance(answer, dict):
        raise Malformed("The answer is no struct.")
    members: Mapping[str, xmlrpc.Value] = {name.lower(): value for name, value in answer.items()}
    message = members.get("message")
    return Result(
        ok=not _is_true(members.get("flerror")),
        message=message[:MAX_MESSAGE_CHARACTERS] if isinstance(message, str) else "",
    )


def _is_true(value: xmlrpc.Value) -> bool:
    return value.strip().lower() not in _FALSE_WORDS if isinstance(value, str) else bool(value)


# --- being told ----------------------------------------------------------------------------------------


class PingError(ValueError):
    """The ping cannot be taken."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


class TooLarge(PingError):
    """The ping is too large."""


class NameMissing(PingError):
    """The name of the weblog is missing."""


class BadURL(PingError):
    """The URL of the weblog is no http or https URL that we can use."""


class BadFeedURL(PingError):
    """The URL of the feed is no http or https URL that we can use."""


@dataclass(frozen=True, kw_only=True)
class Ping:
    """What a weblog says of itself: its name as one line of text, its URL and, if any, that of its feed."""

    name: str
    url: str
    feed_url: str | None = None


def make_ping(name: str, url: str, feed_url: str = "") -> Ping:
    """Return what somebody said in a call, or raise the ``PingError`` whose text is the answer.

    A name is read as HTML, since WordPress sends it escaped, and cut at its length.
    """
    said = line(text_of(name, MAX_NAME_CHARACTERS), MAX_NAME_CHARACTERS)
    if not said:
        raise NameMissing
    home, feed = safe_url("", url.strip()), safe_url("", feed_url.strip())
    if not home:
        raise BadURL
    if feed_url.strip() and not feed:
        raise BadFeedURL
    return Ping(name=said, url=home, feed_url=feed or None)


def parse_form(form: bytes) -> Ping:
    """Read the query or form of weblogs.com's REST interface: ``name``, ``url``, ``changesURL`` (the feed).

    Of a field that comes again the first counts, others are passed over. Raises ``PingError``.
    """
    if len(form) > MAX_BODY_BYTES:
        raise TooLarge
    try:
        pairs = parse_qsl(
            form.decode("utf-8", "replace"),
            keep_blank_values=True,
            errors="replace",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise TooLarge from None
    fields = dict(reversed(pairs))
    return make_ping(fields.get("name", ""), fields.get("url", ""), fields.get("changesURL", ""))


def dump_answer(result: Result) -> dict[str, xmlrpc.Value]:
    """Return the struct that answers a call."""
    return {"flerror": not result.ok, "message": result.message}


# --- the list ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A weblog as the list shows it."""

    name: str
    url: str
    feed_url: str | None
    at: datetime


def dump_changes(weblogs: Iterable[Listed], *, updated: datetime, count: int) -> bytes:
    """Write ``changes.xml`` ("How changes.xml works", weblogs.com; version 2 has ``rssUrl``).

    ``count`` says how often the list changed, ``when`` how many seconds before ``updated`` a weblog did.
    """
    moment = format_datetime(updated, usegmt=True)
    lines = [f'<weblogUpdates version="2" updated="{moment}" count="{count}">']
    for each in weblogs:
        seconds = max(0, int((updated - each.at).total_seconds()))
        feed = "" if each.feed_url is None else f' rssUrl="{_quoted(each.feed_url)}"'
        lines.append(
            f'<weblog name="{_quoted(each.name)}" url="{_quoted(each.url)}" when="{seconds}"{feed}/>'
        )
    lines.append("</weblogUpdates>\n")
    return xml.DECLARATION + "\n".join(lines).encode()


def _quoted(value: str) -> str:
    return xml.escaped(value).replace('"', "&quot;")
