"""Blocks: the pieces of code in a page of the documentation."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.rst") if "_build" not in path.parts
)

_RST = re.compile(r"^\.\. code-block:: (\S+)\n((?:   :\S+:.*\n)*)\n((?:(?:   .*)?\n)+)", re.MULTILINE)
_MARKDOWN = re.compile(r"^```(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of code: its language, its name if it is a file, and words on what to do with it."""

    language: str
    code: str
    caption: str = ""
    classes: tuple[str, ...] = ()

    @property
    def is_run(self) -> bool:
        return "not-run" not in self.classes

    @property
    def commands(self) -> list[str]:
        """What is typed at the prompts of a console."""
        return [line.removeprefix("$ ") for line in self.code.splitlines() if line.startswith("$ ")]


def rst_blocks(text: str) -> Iterator[Block]:
    for language, options, body in _RST.findall(text):
        said = dict(re.findall(r":(\S+): *(.*)", options))
        yield Block(
            language=language,
            code=textwrap.dedent(body).strip("\n") + "\n",
            caption=said.get("caption", ""),
            classes=tuple(said.get("class", "").split()),
        )


def markdown_blocks(text: str) -> Iterator[Block]:
    for language, body in _MARKDOWN.findall(text):
        yield Block(language=language, code=body)


def page_blocks(page: str) -> list[Block]:
    return list(rst_blocks((DOCS / page).read_text()))


# --- the steps of a state -----------------------------------------------------------------------------

NEW = "*"
Step = tuple[str, str]


def drawn(kind: type) -> dict[Step, str]:
    """The steps of a state that the page of states draws, each with its signal or ""."""
    (block,) = (
        each for each in page_blocks("reference/states.rst") if f"steps-of-{kind.__name__}" in each.classes
    )
    steps = {}
    for line in block.code.splitlines():
        found = re.fullmatch(r"(\S+) -> (\w+) +(.*?)(?:  +(\w+))?", line.strip())
        assert found, line
        steps[found[1], found[2]] = found[4] or ""
    return steps
