"""Words: what the admin says, in the language of the site, and how it says times, sizes and numbers."""

from __future__ import annotations

import gettext as gnu
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from flask import g, json

from ...protocols import text
from ...site import Site, current_site

__all__ = [
    "N_",
    "Words",
    "cut",
    "gettext",
    "masked",
    "names_secret",
    "ngettext",
    "number",
    "path_of",
    "plain",
    "pretty",
    "size",
    "stamp",
    "words",
]

DOMAIN: Final = "flask_linkback"
_DIRECTORY: Final = Path(__file__).parents[2] / "translations"
_IS_SECRET: Final = re.compile("token|secret|signature|password|auth|cookie|key", re.IGNORECASE).search
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@lru_cache(maxsize=32)
def _translations(language: str) -> gnu.NullTranslations:
    spelled = language.replace("-", "_")
    base, _, region = spelled.partition("_")
    languages = [f"{base}_{region.upper()}", base] if region else [base]
    return gnu.translation(DOMAIN, _DIRECTORY, languages, fallback=True)


def number(n: int) -> str:
    return f"{n:,}"


class Words:
    """What a page says, in one language and at one time: a page says hundreds of things."""

    def __init__(self, site: Site) -> None:
        translations = _translations(site.settings.feeds.language)
        self._one, self._several = translations.gettext, translations.ngettext
        self._now = site.now()

    def gettext(self, message: str, /, **values: Any) -> str:
        """Return a message in the language of the site, with its ``%(name)s`` filled in."""
        said = self._one(message)
        return said % values if values else said

    def ngettext(self, one: str, many: str, n: int, /, **values: Any) -> str:
        """Return a message for so many, which it may name as ``%(n)s``."""
        return self._several(one, many, n) % {"n": number(n), **values}

    def span(self, seconds: float) -> str:
        """Return a length of time in the one unit that tells most: "5 minutes"."""
        _, ngettext = self.gettext, self.ngettext
        seconds = abs(seconds)
        if seconds < 1:
            return _("%(n)s ms", n=round(seconds * 1000))
        if seconds < _MINUTE:
            return ngettext("%(n)s second", "%(n)s seconds", int(seconds))
        if seconds < _HOUR:
            return ngettext("%(n)s minute", "%(n)s minutes", int(seconds // _MINUTE))
        if seconds < 2 * _DAY:
            return ngettext("%(n)s hour", "%(n)s hours", int(seconds // _HOUR))
        if seconds < 60 * _DAY:
            return ngettext("%(n)s day", "%(n)s days", int(seconds // _DAY))
        if seconds < 730 * _DAY:
            return ngettext("%(n)s month", "%(n)s months", int(seconds // (30.44 * _DAY)))
        return ngettext("%(n)s year", "%(n)s years", int(seconds // (365.25 * _DAY)))

    def ago(self, at: datetime) -> str:
        """Return how long ago something was, or how soon it will be."""
        _ = self.gettext
        seconds = (self._now - at).total_seconds()
        if abs(seconds) < 1:
            return _("now")
        if seconds > 0:
            return _("%(span)s ago", span=self.span(seconds))
        return _("in %(span)s", span=self.span(seconds))


def words() -> Words:
    """Return the words of the current request."""
    found: Words | None = g.get("linkback_words")
    if found is None:
        found = g.linkback_words = Words(current_site())
    return found


def gettext(message: str, /, **values: Any) -> str:
    """Return a message in the language of the site, with its ``%(name)s`` filled in."""
    return words().gettext(message, **values)


def ngettext(one: str, many: str, n: int, /, **values: Any) -> str:
    """Return a message for so many, which it may name as ``%(n)s``."""
    return words().ngettext(one, many, n, **values)


_ = gettext


def N_(message: str) -> str:
    """Mark a message that is said later, by `gettext`."""
    return message


def stamp(at: datetime) -> str:
    """Return a time to the second, in UTC: "2026-11-20 18:02:11 UTC"."""
    return f"{at.astimezone(UTC).isoformat(' ', 'seconds')[:19]} UTC"


def size(count: int) -> str:
    """Return a number of bytes in a unit that can be read."""
    if count < 1000:
        return ngettext("%(n)s byte", "%(n)s bytes", count)
    if count < 1000 * 1000:
        return _("%(n)s kB", n=f"{count / 1000:.1f}")
    return _("%(n)s MB", n=f"{count / 1_000_000:.1f}")


def plain(value: Any) -> str:
    """Return what a stranger wrote without what would deceive or disturb who reads it."""
    return text.plain(str(value))


def cut(value: Any, limit: int = 80) -> str:
    """Return what a stranger wrote as one short line."""
    said = str(value)
    if len(said) <= limit and said.isascii() and said.isprintable() and _is_line(said):
        return said  # as most are
    return text.line(said, limit)


def _is_line(said: str) -> bool:
    return "  " not in said and said[:1] != " " and said[-1:] != " "


def path_of(url: str) -> str:
    """Return a URL of ours without its beginning, which is the same for all; another one as it is."""
    base = current_site().settings.site.base_url
    return url.removeprefix(base) if base and url.startswith(f"{base}/") else url


def pretty(value: Any, limit: int = 16_384) -> str:
    """Return a value of JSON, or a body, as text to read; "…" stands for what was cut off."""
    if isinstance(value, bytes | bytearray):
        said = bytes(value[: 4 * limit]).decode("utf-8", "replace")
    elif isinstance(value, str):
        said = value
    else:
        said = _dump(value)
    # the lines stay where they are
    lines = (text.plain(line.expandtabs(4)) for line in said[: 2 * limit].splitlines())
    kept = "\n".join(lines)
    return kept if len(kept) <= limit else f"{kept[:limit]}…"


def names_secret(name: str) -> bool:
    """May what has this name be a secret, or made with one? Some senders send theirs as it is."""
    return _IS_SECRET(name) is not None


def masked(value: Any) -> Any:
    """Return a value of JSON with ``***`` in the place of what may be a secret by its name."""
    if isinstance(value, Mapping):
        return {name: "***" if names_secret(str(name)) else masked(each) for name, each in value.items()}
    return [masked(each) for each in value] if isinstance(value, list) else value


def _dump(value: Any) -> str:
    if isinstance(value, Mapping):
        value = dict(value)
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False, default=str)
