"""Summary: what a page is called and how it begins, for those who are told of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .html import MAX_DEPTH, MAX_TITLE_CHARACTERS, NOT_SHOWN, SEPARATORS, TooDeep, parse
from .text import line

__all__ = ["MAX_EXCERPT_CHARACTERS", "Summary", "summarise"]

MAX_EXCERPT_CHARACTERS: Final = 250
_SPARE: Final = 8
"""How many characters are read for each that is kept: there may be much white space among them."""
_HEADINGS: Final = frozenset(("h1", "h2", "h3"))
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The title and the first words of a page, each one line of text, empty where there are none."""

    title: str = ""
    excerpt: str = ""


def summarise(markup: bytes | str) -> Summary:
    """Return the title (the first heading, else the ``<title>``) and the first words of paragraphs.

    A page without paragraphs begins with whatever text it has. Headings go before the title, which often
    names the site too.
    """
    reader = _Reader()
    parse(markup, reader)
    return reader.summary()


class _Reader:
    """The target of a parser that stops when it knows enough."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._hidden = 0
        self._within = ""  # the heading or paragraph whose text is taken
        self._texts = {"title": "", "heading": "", "paragraphs": "", "all": ""}

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Called by lxml."""
        self._open.append(tag)
        if len(self._open) > MAX_DEPTH or self._knows_enough():
            raise TooDeep
        self._hidden += tag in NOT_SHOWN
        if tag == "p":
            self._within = "paragraphs"
        elif tag in _HEADINGS and not self._texts["heading"].strip():
            self._within = "heading"
        if tag in SEPARATORS:
            self._add(" ")

    def end(self, tag: str) -> None:
        """Called by lxml, once for each start."""
        self._open.pop()
        self._hidden -= tag in NOT_SHOWN
        if tag in SEPARATORS:
            self._add(" ")
        if tag == "p" or tag in _HEADINGS:
            self._within = ""

    def data(self, data: str) -> None:
        """Called by lxml."""
        self._add(_SPACE.sub(" ", data))

    def close(self) -> None:
        """Called by lxml."""

    def summary(self) -> Summary:
        """Return what was read."""
        texts = {name: line(text, len(text)) for name, text in self._texts.items()}
        return Summary(
            title=(texts["heading"] or texts["title"])[:MAX_TITLE_CHARACTERS],
            excerpt=line(texts["paragraphs"] or texts["all"], MAX_EXCERPT_CHARACTERS),
        )

    def _add(self, text: str) -> None:
        if self._open and self._open[-1] == "title":
            self._put("title", text)
        elif not self._hidden:
            if self._within:
                self._put(self._within, text)
            if self._within != "heading":
                self._put("all", text)

    def _put(self, where: str, text: str) -> None:
        room = _SPARE * MAX_TITLE_CHARACTERS - len(self._texts[where])
        self._texts[where] += text[: max(0, room)]

    def _knows_enough(self) -> bool:
        long = len(self._texts["paragraphs"]) >= _SPARE * MAX_EXCERPT_CHARACTERS
        return long and bool(self._texts["heading"].strip())
