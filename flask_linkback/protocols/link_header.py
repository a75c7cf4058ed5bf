"""Link header: the links of an HTTP answer (RFC 8288)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Link", "parse"]

MAX_VALUE_CHARACTERS: Final = 16 * 1024
MAX_VALUES: Final = 50
MAX_LINKS: Final = 200
MAX_PARAMS: Final = 30

# An unclosed quote takes the rest, and what repeats is told apart by its first character: nothing is looked
# at twice. (Groups are not possessive: Python before 3.11.5 gets those wrong.)
_QUOTED: Final = r'"(?:[^"\\]++|\\.)*(?:"|\\?\Z)'
_BEFORE = re.compile(r"[\s,]*+")
_URL = re.compile(r"<([^>]*+)>")
_PARAM = re.compile(
    rf';\s*+([^\s=;,"<>]*+)\s*+(?:=\s*+({_QUOTED}|[^\s;,"]*+))?',
    re.DOTALL,
)
_BETWEEN = re.compile(rf'(?:{_QUOTED}|[^;,"]++)*', re.DOTALL)
_REST = re.compile(rf'(?:{_QUOTED}|[^,"]++)*', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Link:
    """One link: ``url`` as written, relation types in lower case, the first value of each parameter."""

    url: str
    rels: tuple[str, ...]
    params: Mapping[str, str] = field(default_factory=dict)


def parse(values: Sequence[str]) -> list[Link]:
    """Read all Link headers of an answer, in their order; what is no link is skipped (RFC 8288, section 3).

    A URL may be relative: the caller knows what to. Never raises; takes linear time.
    """
    links: list[Link] = []
    for value in values[:MAX_VALUES]:
        _parse_value(value[:MAX_VALUE_CHARACTERS], links)
    return links[:MAX_LINKS]


def _parse_value(value: str, links: list[Link]) -> None:
    position = _end(_BEFORE, value, 0)
    while position < len(value) and len(links) < MAX_LINKS:
        url = _URL.match(value, position)
        if url is not None:
            params, position = _parse_params(value, url.end())
            rels = tuple(dict.fromkeys(params.get("rel", "").lower().split()))
            links.append(Link(url=url[1].strip(), rels=rels, params=params))
        position = _end(_BEFORE, value, _end(_REST, value, position))


def _parse_params(value: str, position: int) -> tuple[dict[str, str], int]:
    params: dict[str, str] = {}
    position = _end(_BETWEEN, value, position)
    while (match := _PARAM.match(value, position)) is not None:
        name = match[1].lower()
        # "occurrences after the first MUST be ignored by parsers" (RFC 8288, section 3.3, for rel)
        if name and name not in params and len(params) < MAX_PARAMS:
            params[name] = _unquote(match[2] or "")
        position = _end(_BETWEEN, value, match.end())
    return params, position


def _unquote(text: str) -> str:
    if not text.startswith('"'):
        return text
    return _ESCAPE.sub(r"\1", text[1:].removesuffix('"') if len(text) > 1 else "")


def _end(pattern: re.Pattern[str], value: str, position: int) -> int:
    match = pattern.match(value, position)
    return match.end() if match is not None else position
