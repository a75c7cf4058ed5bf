"""Text: what strangers write, without what is there to deceive or disturb."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_address", "keepable", "line", "paragraphs", "plain", "storable"]

# How many characters are looked at for each one that is wanted: much of a text may be white space
_SPARE: Final = 8

# Control characters except white space; what turns the direction of the text that follows; what has no width
# and no meaning; halves of characters, and what is none (Unicode, sections 23.2 to 23.8)
_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\ud800-\udfff\ufdd0-\ufdef\ufeff\ufff0-\ufffb\ufffe\uffff"
    "\U0001d173-\U0001d17a]",
)
# Characters that spell a name nobody sees, except behind a black flag: there they tell England from Wales
_TAGS = re.compile(
    "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,8}\U000e007f)"
    "|[\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]",
)
# One of these between two characters makes a family of emoji or a Persian word; otherwise they are nothing
_JOINERS = re.compile("(?<=[\u200c\u200d])[\u200c\u200d]+|(?<!\\S)[\u200c\u200d]+|[\u200c\u200d]+(?!\\S)")
_SELECTORS = re.compile(
    "([\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]+",
)
# No script piles up more marks on a letter; who does writes over the lines above and below
_MARK: Final = "[\u0300-\u036f\u0483-\u0489\u0e47-\u0e4e\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_MARKS = re.compile(f"({_MARK}{{4}}){_MARK}+")
_LOOKS_EMPTY: Final = dict.fromkeys(map(ord, "\u2800\u3164\uffa0"), " ")
# With // any scheme makes a URL; without, a word before a colon may well be part of a name
_ADDRESS = re.compile(
    r"\s*(?:[a-z][a-z0-9+.-]*://|(?:about|blob|data|file|javascript|mailto|tel|vbscript):)", re.IGNORECASE
)
# PostgreSQL takes no U+0000, no database a lone surrogate; nobody wants the other control characters
_NOT_STORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_SPACE = re.compile(r"\s+")
_LINE_BREAK = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")


def plain(text: str) -> str:
    """Return a text without control characters, overrides of its direction and what has no width.

    Emoji stay whole, and so do right-to-left scripts: a template isolates them by ``<bdi>``.
    """
    text = _TAGS.sub(r"\1", _UNWANTED.sub("", text.translate(_LOOKS_EMPTY)))
    return _MARKS.sub(r"\1", _SELECTORS.sub(r"\1", _JOINERS.sub("", text)))


def storable(text: str, limit: int) -> str:
    """Return the first characters of a text, without those that cannot or should not be stored."""
    return _NOT_STORABLE.sub("", text[: 2 * limit])[:limit]


def keepable(text: str) -> str:
    """Return a text without what PostgreSQL cannot keep, and nothing else."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def line(text: str, limit: int) -> str:
    """Return a text as one line of at most so many characters; "…" stands for what was cut off."""
    return _cut(_SPACE.sub(" ", plain(text[: limit * _SPARE])).strip(), limit)


def is_address(text: str) -> bool:
    """Tell whether a text begins like a URL, which is nobody's name."""
    return _ADDRESS.match(text) is not None


def paragraphs(text: str, limit: int) -> str:
    """Return a text as lines, none of them empty, of at most so many characters in all."""
    lines = (_SPACE.sub(" ", one).strip() for one in _LINE_BREAK.split(plain(text[: limit * _SPARE])))
    return _cut("\n".join(filter(None, lines)), limit)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return text[: limit - 1].rstrip().rstrip("\u200c\u200d") + "…" if limit > 0 else ""
