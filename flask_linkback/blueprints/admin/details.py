"""Details: what a form says of a listener beside its filter, and what is wrong with it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ...errors import AddressRefused, ConfigError
from ...fetch import check_url
from ...models import Listener, host_of
from ...webhooks.formats import FORMATS, STANDARD
from ...webhooks.listeners import check_pattern, check_secret, checked_headers
from ...webhooks.options import checked_options, options_of
from .words import gettext as _

__all__ = ["MASK", "Details", "details_of", "fallback", "known_headers", "read"]

T = TypeVar("T")
MASK: Final = "***"
"""Stands for the value of a header that is kept."""
_LONGEST: Final = 20_000
_NAMES: Final = (
    *("url", "events", "headers", "secret", "owner"),
    *("rate", "concurrency", "timeout", "retry_schedule", "format", "handshake"),
)
_PREFIX: Final = "listener_"
"""Before the names of our fields: those of a hook's own form are its own."""


@dataclass
class Details:
    """What was typed, and what it means where it means something."""

    typed: Mapping[str, str]
    errors: dict[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    formats: tuple[str, ...] = tuple(FORMATS)

    def check(self, name: str, do: Callable[[], T]) -> T | None:
        """Return what a function returns; what it raises is told at a field."""
        try:
            return do()
        except (ValueError, AddressRefused, ConfigError) as error:
            self.errors[name] = str(error)
            return None

    def get(self, name: str) -> str:
        return self.typed.get(name, "")


def fallback() -> Details:
    """Return what a form begins with."""
    return Details(typed={"format": STANDARD})


def details_of(listener: Listener) -> Details:
    """Return what is known of a listener, as it would be typed; the values of its headers are not told."""
    options = options_of(listener)
    headers, why_not = known_headers(listener)
    typed = {
        "url": listener.url,
        "events": listener.hook,
        "headers": "\n".join(f"{name}: {MASK}" for name in headers),
        "format": options.format,
        "concurrency": "" if options.concurrency is None else str(options.concurrency),
        "timeout": "" if options.timeout is None else f"{options.timeout:g}",
        "rate": "" if options.rate is None else _rate_as_typed(options.rate),
        "retry_schedule": ", ".join(f"{each:g}" for each in options.retry_schedule or ()),
    }
    return Details(typed=typed, errors={"headers": why_not} if why_not else {})


def known_headers(listener: Listener) -> tuple[Mapping[str, str], str]:
    """Return the headers of a listener's own; where nobody can read them any more, none, and why."""
    try:
        return listener.headers or {}, ""
    except ConfigError as error:
        return {}, str(error)


def _rate_as_typed(rate: tuple[float, float]) -> str:
    count, seconds = rate
    return f"{count:g}" if seconds == 1 else f"{count:g}/{seconds:g}"


def read(form: Mapping[str, str], listener: Listener | None = None) -> Details:
    """Return what a form says; for a new listener, or for one whose headers may be kept."""
    typed = {name: form.get(_PREFIX + name, "").strip()[:_LONGEST] for name in _NAMES}
    said = Details(typed=typed)
    if listener is not None:
        said.check("url", lambda: check_url(said.get("url")))
    said.check("events", lambda: check_pattern(said.get("events")))
    if said.get("secret"):
        said.check("secret", lambda: check_secret(said.get("secret")))
    said.headers = said.check("headers", lambda: _headers(said, listener)) or {}
    said.options = {}
    for name, parse in _OPTIONS.items():
        if said.get(name):
            made = said.check(name, functools.partial(_option, name, parse, said.get(name)))
            said.options = {**said.options, **(made or {})}
    return said


def _headers(said: Details, listener: Listener | None) -> dict[str, str]:
    """Return the headers of a text, a line for each; a mask stands for the value that is known."""
    headers_known = {} if listener is None else known_headers(listener)[0]
    known = {name.lower(): value for name, value in headers_known.items()}
    headers, kept = {}, False
    for line in said.get("headers").splitlines():
        if not line.strip():
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon:
            raise ValueError(_("Each line is a name, a colon and a value."))
        if value == MASK:
            if name.lower() not in known:
                raise ValueError(_("Give the value of the header %(name)s.", name=name[:80]))
            value, kept = known[name.lower()], True
        headers[name] = value
    if kept and listener is not None and host_of(said.get("url")) != listener.host:
        raise ValueError(
            _("The values of these headers were meant for another host: type them again, or take them out.")
        )
    return checked_headers(headers)


def _option(name: str, parse: Callable[[str], Any], said: str) -> dict[str, Any]:
    return checked_options({name: parse(said)})


def _number(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        raise ValueError(_("%(said)s is no number.", said=repr(said[:40]))) from None


def _rate(said: str) -> list[float]:
    count, _slash, seconds = said.partition("/")
    return [_number(count), _number(seconds or "1")]


def _schedule(said: str) -> list[float]:
    return [_number(each) for each in said.split(",") if each.strip()]


_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "rate": _rate,
    "concurrency": _number,
    "timeout": _number,
    "retry_schedule": _schedule,
    "format": str,
}
