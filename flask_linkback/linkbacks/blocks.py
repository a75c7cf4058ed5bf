"""Blocks: whom we do not want to hear, by host, URL or pattern.

A source is looked up by digests of its host, of the domains above that and of the URLs above its own:
one query on an index, however long the lists are, and what one process blocks the next one sees at
once. Patterns cannot be looked up: all of them are read and searched in turn.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import sqlalchemy as sa

from ..config import ascii_host
from ..errors import ConfigError, MissingExtra
from ..models import Block, BlockKind, digest, host_of
from ..site import Site

__all__ = ["MANUAL", "Listed", "Screen", "add", "find", "parse", "remove", "replace", "without_effect"]

logger = logging.getLogger("flask_linkback.linkbacks")

MANUAL: Final = "manual"
"""The list of what people block one by one."""
MAX_CHARACTERS: Final = 2048
MAX_LEVELS: Final = 32
"""How many levels a URL that is blocked may have; those of a source beyond it are not looked at."""
_MAX_HOST: Final = 253
_AT_A_TIME: Final = 500
_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER: Final = re.compile("0x[0-9a-f]{1,16}|[0-9]{1,20}")
_PATTERNS: Final = digest(BlockKind.regex)
_ANY: Final[sa.Select[Any]] = sa.select(sa.literal_column("1")).select_from(Block.__table__).limit(1)
_FIND: Final = (
    sa.select(Block.kind, Block.value, Block.list_name, Block.reason)
    .where(
        Block.lookup.in_(sa.bindparam("lookups", expanding=True)),
        sa.or_(Block.expires_at.is_(None), Block.expires_at > sa.bindparam("now")),
    )
    .order_by(Block.id)
)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a block names: a host, a URL without its scheme and port, or a pattern."""

    kind: BlockKind
    value: str
    list_name: str = ""
    reason: str = ""

    @property
    def lookup(self) -> str:
        """What a source is looked up by."""
        return _PATTERNS if self.kind is BlockKind.regex else digest(self.kind, self.value)

    @property
    def who(self) -> str:
        """Who decides where this block does, for the audit."""
        return f"block:{self.list_name}"


# --- what is blocked ---------------------------------------------------------------------------------


def parse(value: str, kind: str | None = None) -> Listed:
    """Return what a person means by a host, a URL or a pattern; raises `ValueError`.

    Without a kind, what has a slash is a URL and anything else a host. A pattern needs the extra
    ``fast``: without it `MissingExtra`.
    """
    value = value.strip()
    wanted = BlockKind(kind) if kind is not None else BlockKind.url if "/" in value else BlockKind.host
    if not value or len(value) > MAX_CHARACTERS or not value.isprintable():
        raise ValueError(f"{value[:80]!r} cannot be blocked: it is empty, too long, or has odd characters.")
    return Listed(kind=wanted, value=_PARSERS[wanted](value))


def _parse_host(value: str) -> str:
    try:
        host = _plain_host(ascii_host(value.strip("[]")))
    except ValueError:
        host = ""
    if not (_HOST.fullmatch(host) and len(host) <= _MAX_HOST) and not _is_address(host):
        raise ValueError(f"{value[:80]!r} is no host name and no address.")
    return host


def _parse_url(value: str) -> str:
    url = value if "://" in value else f"https://{value}"
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"{value[:80]!r} is no http(s) URL.")
    levels = list(_levels(url))
    if not levels or len(levels) > MAX_LEVELS:
        raise ValueError(f"{value[:80]!r} is no URL, or has more than {MAX_LEVELS} levels.")
    _parse_host(levels[0].partition("/")[0])
    return levels[-1]


def _parse_pattern(value: str) -> str:
    try:
        _compile(value)
    except MissingExtra:
        raise
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return value


_PARSERS: Final[dict[BlockKind, Callable[[str], str]]] = {
    BlockKind.host: _parse_host,
    BlockKind.url: _parse_url,
    BlockKind.regex: _parse_pattern,
}


# --- how URLs are compared ---------------------------------------------------------------------------


def _lookups(url: str) -> Iterator[str]:
    """What may block a URL: the digests of its host, its domains, and the URLs above it."""
    host = _plain_host(host_of(url))
    if not host:
        return
    for name in _domains(host):
        yield digest(BlockKind.host, name)
    for _, level in zip(range(MAX_LEVELS), _levels(url), strict=False):
        yield digest(BlockKind.url, level)


def _domains(host: str) -> Iterator[str]:
    """A host and the domains above it; an address has none."""
    yield host
    while not _is_address(host) and "." in host:
        host = host.partition(".")[2]
        yield host


def _levels(url: str) -> Iterator[str]:
    """A URL from its host downwards, a segment of its path and then an argument of its query at a time.

    How it is written does not count: scheme, port, escapes, dots and double slashes of the path.
    """
    host = _plain_host(host_of(url))
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    if not host:
        return
    level = f"{host}/"
    yield level
    path = posixpath.normpath(f"/{unquote(parts.path)}").strip("/")
    for place, segment in enumerate(path.split("/") if path else ()):
        level += f"/{segment}" if place else segment
        yield level
    for place, argument in enumerate(unquote(parts.query).split("&") if parts.query else ()):
        level += f"{'&' if place else '?'}{argument}"
        yield level


def _plain_host(host: str) -> str:
    """An address in its one form, however a URL may write it; a name as it is."""
    try:
        ip = ipaddress.ip_address(_dotted(host))
    except ValueError:
        return host
    return str((isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped) or ip)


def _dotted(host: str) -> str:
    """An IPv4 address that is written as resolvers take it too, ``0x7f.1``, with its four numbers."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return host
    try:
        *first, last = [int(part, 16 if "x" in part else 8 if part[0] == "0" else 10) for part in parts]
    except ValueError:  # an 8 where numbers are octal
        return host
    rest = 4 - len(first)
    if any(number > 255 for number in first) or last >= 256**rest:
        return host
    return ".".join(str(number) for number in [*first, *last.to_bytes(rest, "big")])


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# --- patterns ----------------------------------------------------------------------------------------


def _compile(pattern: str) -> Any:
    """Return a pattern of RE2; raises `ConfigError` for one that is none, `MissingExtra` without RE2."""
    # never re, whose time a stranger's URL could make grow without end
    try:
        import re2
    except ImportError:
        raise MissingExtra("A block by regex", "fast") from None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        raise ConfigError(f"{pattern[:80]!r} is no pattern: {said}") from None


@functools.lru_cache(maxsize=10_000)
def _search(pattern: str) -> Callable[[str], Any]:
    """Return the search for a pattern; one that cannot be made finds nothing, and is logged once."""
    try:
        search: Callable[[str], Any] = _compile(pattern).search
    except ConfigError as error:
        logger.warning("A block is without effect: %s", error)
        return lambda url: None
    return search


def _searched(url: str) -> str:
    """A URL as patterns see it: scheme and host in lower case, no port, no fragment."""
    parts = urlsplit(url)
    host = _plain_host(host_of(url))
    authority = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme.lower(), authority, parts.path or "/", parts.query, ""))


def _matches(patterns: Collection[Listed], urls: Iterable[str]) -> Listed | None:
    texts = [_searched(url) for url in urls] if patterns else []
    return next((each for each in patterns if any(_search(each.value)(text) for text in texts)), None)


def without_effect(site: Site) -> list[ConfigError]:
    """Return why patterns in force keep nobody out: without RE2 there is one reason for all."""
    in_force = sa.or_(Block.expires_at.is_(None), Block.expires_at > site.now())
    patterns = sa.select(Block.value).where(Block.lookup == _PATTERNS, in_force).order_by(Block.id)
    found = []
    for pattern in site.session.scalars(patterns):
        try:
            _compile(pattern)
        except ConfigError as error:
            found.append(error)
    return found


# --- looking up --------------------------------------------------------------------------------------


def find(site: Site, *urls: str) -> Listed | None:
    """Return what blocks one of these URLs now; None where nothing does. Empty ones are passed over."""
    given = [url for url in urls if url]
    if not given:
        return None
    # seen by the same transaction as what the caller goes on to write; what that is makes no difference
    with site.session.no_autoflush:
        # most sites block nobody: that is known before any digest is made
        if site.session.execute(_ANY).first() is None:
            return None
        lookups = {lookup for url in given for lookup in _lookups(url)}
        rows = site.session.execute(_FIND, {"lookups": [*lookups, _PATTERNS], "now": site.now()})
        found = [Listed(**row._mapping) for row in rows]
    for each in found:
        if each.kind is not BlockKind.regex:
            return each
    return _matches(found, given)


class Screen:
    """Some blocks in memory, to hold against many URLs."""

    def __init__(self, blocks: Iterable[Listed]) -> None:
        self._by_lookup: dict[str, Listed] = {}
        self._patterns: list[Listed] = []
        for block in blocks:
            if block.kind is BlockKind.regex:
                self._patterns.append(block)
            else:
                self._by_lookup.setdefault(block.lookup, block)

    def find(self, *urls: str) -> Listed | None:
        """Return what blocks one of these URLs; empty ones are passed over."""
        given = [url for url in urls if url]
        for url in given:
            for lookup in _lookups(url):
                if lookup in self._by_lookup:
                    return self._by_lookup[lookup]
        return _matches(self._patterns, given)


# --- the lists ---------------------------------------------------------------------------------------


def add(site: Site, blocks: Iterable[Listed], *, expires_at: datetime | None = None) -> list[Listed]:
    """Put blocks on their lists and return those that are new; the caller commits.

    One that is there already gets the new reason and expiry.
    """
    rows = _rows(site, blocks, expires_at)
    session = site.session
    present = {
        key
        for keys in _portions(list(rows))
        for key in session.scalars(sa.select(Block.key).where(Block.key.in_(keys)))
    }
    for key in present:
        values = {name: rows[key][1][name] for name in ("reason", "expires_at")}
        session.execute(sa.update(Block).where(Block.key == key).values(values))
    _insert(site, [row for key, (_, row) in rows.items() if key not in present])
    return [block for key, (block, _) in rows.items() if key not in present]


def remove(site: Site, blocks: Iterable[Listed], *, list_name: str | None = None) -> int:
    """Take blocks off one list, or off all; return how many there were. The caller commits."""
    on_list = sa.true() if list_name is None else Block.list_name == list_name
    removed = 0
    for block in blocks:
        named = sa.and_(Block.lookup == block.lookup, Block.kind == block.kind, Block.value == block.value)
        result = site.session.execute(sa.delete(Block).where(named, on_list))
        removed += result.rowcount  # type: ignore[attr-defined]
    return removed


def replace(
    site: Site, list_name: str, blocks: Iterable[Listed], *, expires_at: datetime | None = None
) -> int:
    """Let a list hold these blocks and no others; return how many it held. The caller commits."""
    result = site.session.execute(sa.delete(Block).where(Block.list_name == list_name))
    _insert(site, [row for _, row in _rows(site, blocks, expires_at).values()])
    return int(result.rowcount)  # type: ignore[attr-defined]


def _rows(
    site: Site, blocks: Iterable[Listed], expires_at: datetime | None
) -> dict[str, tuple[Listed, dict[str, Any]]]:
    now = site.now()
    rows = {}
    for block in blocks:
        key = digest(block.list_name, block.kind, block.value)
        rows[key] = (
            block,
            {
                "key": key,
                "lookup": block.lookup,
                "kind": block.kind,
                "value": block.value,
                "list_name": block.list_name,
                "reason": block.reason,
                "created_at": now,
                "expires_at": expires_at,
            },
        )
    return rows


def _insert(site: Site, rows: list[dict[str, Any]]) -> None:
    if rows:
        site.session.execute(sa.insert(Block), rows)


def _portions(keys: list[str]) -> Iterator[list[str]]:
    return (keys[start : start + _AT_A_TIME] for start in range(0, len(keys), _AT_A_TIME))
