"""Hub: what is asked of a hub, and the URLs by which it asks and tells callbacks."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from .text import storable

__all__ = [
    "CONTENT_TYPE",
    "MAX_BODY_BYTES",
    "MAX_SECRET_BYTES",
    "MAX_URL_CHARACTERS",
    "BadLease",
    "HasFragment",
    "Mode",
    "NotAURL",
    "NotText",
    "ParameterMissing",
    "ParameterRepeated",
    "Ping",
    "RequestError",
    "SecretTooLong",
    "SubscriptionRequest",
    "TooLarge",
    "TooLong",
    "UnknownMode",
    "denial_url",
    "parse_request",
    "spelled",
    "verification_url",
]

CONTENT_TYPE: Final = "application/x-www-form-urlencoded"

MAX_BODY_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 1000
MAX_URL_CHARACTERS: Final = 2048
MAX_SECRET_BYTES: Final = 199
_MAX_TOKEN_CHARACTERS: Final = 255
_MAX_PARAMETERS: Final = 50
_MAX_CHARACTERS: Final = 8192
"""Of all parameters together that are handed on."""
_LONGEST_LEASE: Final = 2**31 - 1
_NO_WORDS: Final = frozenset(("", "0", "false", "no", "off"))


# --- what is asked of a hub ------------------------------------------------------------------------------


class Mode(enum.StrEnum):
    """What a request to a hub wants."""

    subscribe = "subscribe"
    """To get the content of a topic, or to go on getting it."""
    unsubscribe = "unsubscribe"
    """To get it no more."""
    publish = "publish"
    """To tell that a topic has something new."""


class RequestError(ValueError):
    """The request cannot be taken: HTTP 400, 413 for `TooLarge`, with the text of the error."""

    sentence: str

    def __init__(self, parameter: str = "") -> None:
        super().__init__(self.sentence.format(parameter))


class ParameterMissing(RequestError):
    """A parameter is not there, or empty."""

    sentence = "The {} is missing."


class ParameterRepeated(RequestError):
    """A parameter is there twice, and says two things."""

    sentence = "There is more than one {}."


class UnknownMode(RequestError):
    """The mode is none that hubs have."""

    sentence = "The hub.mode must be subscribe, unsubscribe or publish."


class NotAURL(RequestError):
    """A parameter is no URL, or none of a scheme that can be fetched."""

    sentence = "The {} is no http or https URL."


class HasFragment(RequestError):
    """A parameter is a URL with a fragment, which no server ever sees."""

    sentence = "The {} must have no fragment."


class TooLong(RequestError):
    """A parameter is longer than a URL may be."""

    sentence = "The {} is too long."


class NotText(RequestError):
    """A parameter is not UTF-8, or has control characters."""

    sentence = "The {} is no UTF-8 text."


class BadLease(RequestError):
    """The lease is no positive whole number."""

    sentence = "The hub.lease_seconds must be a positive whole number."


class SecretTooLong(RequestError):
    """The secret is longer than WebSub allows."""

    sentence = "The hub.secret must be shorter than 200 bytes."


class TooLarge(RequestError):
    """The request has more bytes or parameters than any that a hub gets."""

    sentence = "The request is too large."


@dataclass(frozen=True, kw_only=True)
class SubscriptionRequest:
    """A request to subscribe or unsubscribe, as it was sent.

    ``secret`` is None where there is none, and so is ``lease_seconds``; both are of no meaning to
    unsubscribing. ``verify_token`` (PubSubHubbub 0.3) is to be sent along when the callback is asked. With
    ``whole`` a subscriber wants all of a feed each time, not only what is new. ``params`` is all that was
    sent, but for the secret, as far as it is not too much: the first value of each name, as text that can be
    stored.
    """

    mode: Mode
    callback: str
    topic: str
    lease_seconds: int | None = None
    secret: str | None = field(default=None, repr=False)
    verify_token: str | None = None
    whole: bool = False
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ping:
    """Somebody says that these topics have something new."""

    topics: Sequence[str]


def parse_request(body: bytes) -> SubscriptionRequest | Ping:
    """Read a form, or raise the ``RequestError`` that is its answer (WebSub, section 5.1).

    Parameters that a hub does not know are passed over, whatever they hold. A publisher names its topics by
    ``hub.url``, as PubSubHubbub had it, or ``hub.topic``, each as often as it likes, also as ``hub.url[]``.
    """
    pairs = _pairs(body)
    mode = _one(pairs, "hub.mode")
    if mode is None:
        raise ParameterMissing("hub.mode")
    if mode == Mode.publish:
        return _ping(pairs)
    if mode not in (Mode.subscribe, Mode.unsubscribe):
        raise UnknownMode
    callback, topic = _url(pairs, "hub.callback"), _url(pairs, "hub.topic")
    # section 5.1: of a request to unsubscribe the lease is ignored
    subscribes = mode == Mode.subscribe
    return SubscriptionRequest(
        mode=Mode(mode),
        callback=callback,
        topic=topic,
        lease_seconds=_lease(pairs) if subscribes else None,
        secret=_secret(pairs) if subscribes else None,
        verify_token=_verify_token(pairs),
        whole=subscribes and _first(pairs, "whole").lower() not in _NO_WORDS,
        params=_params(pairs),
    )


def _pairs(body: bytes) -> Sequence[tuple[str, str]]:
    """The names and values of a form; bytes that are not UTF-8 become lone surrogates."""
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge
    try:
        return parse_qsl(
            body.decode("utf-8", "surrogateescape"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise TooLarge from None


def _values(pairs: Sequence[tuple[str, str]], *names: str) -> list[str]:
    """The values of some names, each once, that are not empty."""
    return list(dict.fromkeys(value for name, value in pairs if name in names and value))


def _first(pairs: Sequence[tuple[str, str]], name: str) -> str:
    return next(iter(_values(pairs, name)), "")


def _one(pairs: Sequence[tuple[str, str]], name: str) -> str | None:
    values = _values(pairs, name)
    if len(values) > 1:
        raise ParameterRepeated(name)
    if values and storable(values[0], len(values[0])) != values[0]:
        raise NotText(name)
    return values[0] if values else None


def _url(pairs: Sequence[tuple[str, str]], name: str) -> str:
    url = _one(pairs, name)
    if url is None:
        raise ParameterMissing(name)
    return _checked(url, name)


_HTTP = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)


def _checked(url: str, name: str) -> str:
    if len(url) > MAX_URL_CHARACTERS:
        raise TooLong(name)
    if _HTTP.match(url) is None:
        raise NotAURL(name)
    if "#" in url:
        raise HasFragment(name)
    return url


def _lease(pairs: Sequence[tuple[str, str]]) -> int | None:
    value = _one(pairs, "hub.lease_seconds")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise BadLease
    digits = value.lstrip("0")
    if not digits:
        raise BadLease
    return min(int(digits), _LONGEST_LEASE) if len(digits) <= len(str(_LONGEST_LEASE)) else _LONGEST_LEASE


def _secret(pairs: Sequence[tuple[str, str]]) -> str | None:
    """The secret; its length counts in bytes (section 5.1)."""
    values = _values(pairs, "hub.secret")
    if len(values) > 1:
        raise ParameterRepeated("hub.secret")
    if values and len(values[0].encode("utf-8", "surrogateescape")) > MAX_SECRET_BYTES:
        raise SecretTooLong
    return _one(pairs, "hub.secret")


def _verify_token(pairs: Sequence[tuple[str, str]]) -> str | None:
    """The token of PubSubHubbub 0.3; WebSub does not know it, so what cannot be sent back is passed over."""
    token = _first(pairs, "hub.verify_token")
    fits = len(token) <= _MAX_TOKEN_CHARACTERS and storable(token, _MAX_TOKEN_CHARACTERS) == token
    return token if token and fits else None


def _params(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    room = _MAX_CHARACTERS
    for name, value in pairs:
        name = storable(name, _MAX_TOKEN_CHARACTERS)
        value = storable(value, MAX_URL_CHARACTERS)
        room -= len(name) + len(value)
        if name != "hub.secret" and len(found) < _MAX_PARAMETERS and room >= 0:
            found.setdefault(name, value)
    return found


def _ping(pairs: Sequence[tuple[str, str]]) -> Ping:
    names = ("hub.url", "hub.url[]", "hub.topic", "hub.topic[]")
    topics = _values(pairs, *names)
    if not topics:
        raise ParameterMissing("hub.url")
    for topic in topics:
        if storable(topic, len(topic)) != topic:
            raise NotText("hub.url")
        _checked(topic, "hub.url")
    return Ping(topics=topics)


# --- what a hub asks and tells ---------------------------------------------------------------------------


def verification_url(
    callback: str,
    *,
    mode: Mode,
    topic: str,
    challenge: str,
    lease_seconds: int | None = None,
    verify_token: str | None = None,
) -> str:
    """Return the URL by which a callback is asked whether it wants this (WebSub, section 5.3).

    The callback's own query stays as it is, in front, also where it has parameters of the same names
    (section 5.1.1). Of the lease a subscriber hears when it subscribes.
    """
    fields = {"hub.mode": mode.value, "hub.topic": topic, "hub.challenge": challenge}
    if lease_seconds is not None:
        fields["hub.lease_seconds"] = str(lease_seconds)
    if verify_token is not None:
        fields["hub.verify_token"] = verify_token
    return _with(callback, fields)


def denial_url(callback: str, *, topic: str, reason: str = "") -> str:
    """Return the URL by which a callback is told that there will be no subscription (WebSub, section 5.2).

    As much of the reason as a URL has room for.
    """
    fields = {"hub.mode": "denied", "hub.topic": topic}
    while reason:
        url = _with(callback, {**fields, "hub.reason": reason})
        if len(url) <= MAX_URL_CHARACTERS:
            return url
        reason = reason[: len(reason) // 2]
    return _with(callback, fields)


def _with(callback: str, fields: Mapping[str, str]) -> str:
    mark = "&" if "?" in callback else "?"
    if callback.endswith(("?", "&")):
        mark = ""
    return f"{callback}{mark}{urlencode(fields, quote_via=quote, safe='', errors='replace')}"


_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_NOT_IN_HEADERS = re.compile(r"[^!-~]|[\"<>]")


def spelled(path: str) -> str:
    """Return the one spelling of a URL's path and query: what is encoded without need is decoded.

    Those are the non-reserved characters, which a hub decodes (WebSub, section 5.1.1; RFC 3986, section
    6.2.2); what URLs do not have is encoded, so that the URL fits between ``<`` and ``>``.
    """
    plain = _ENCODED.sub(_decoded, path)
    return _NOT_IN_HEADERS.sub(lambda found: quote(found[0], safe="", errors="replace"), plain)


def _decoded(found: re.Match[str]) -> str:
    if found[1] is None:
        return "%25"
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0].upper()
