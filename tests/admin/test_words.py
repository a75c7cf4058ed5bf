"""Words: all that the admin says goes through gettext, and a translation of it shows."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from jinja2 import Environment, nodes

import flask_linkback
from flask_linkback.blueprints.admin import words
from tests.admin.conftest import Visitor
from tests.admin.stock import fill
from tests.apps import Blog

PACKAGE = Path(flask_linkback.__file__).parent
POT = PACKAGE / "translations" / "flask_linkback.pot"
TEMPLATES = sorted((PACKAGE / "templates" / "linkback" / "admin").glob("*.html"))
MODULES = sorted((PACKAGE / "blueprints" / "admin").glob("*.py"))
MARKS = {"_": None, "gettext": None, "N_": None, "ngettext": (1, 2)}
SAID = ("title", "placeholder", "aria-label", "alt", "label", "data-label", "data-copied")
"""Attributes that somebody reads."""
UNSAID = ("code", "pre", "svg")
"""What is in these is for machines."""
NAMES = frozenset(("Linkback", "POST"))
ATTRIBUTE = re.compile(' [a-z-]+="[^"]*"')
"""What a macro adds to a tag looks like text."""
WORD = re.compile("[^\\W\\d_]{2,}")
SENTENCE = re.compile("[A-Z][a-z]+ [a-z]|[a-z]+ [a-z]+")


def messages() -> set[str | tuple[str, ...]]:
    """Return what the source says, as `make pot` finds it."""
    method = [("blueprints/admin/**.py", "python"), ("templates/linkback/admin/**.html", "jinja2")]
    found = extract_from_dir(PACKAGE, method, keywords=MARKS)  # type: ignore[arg-type]
    return {message for _file, _line, message, _comments, _context in found}


def test_the_file_for_translators_is_current() -> None:
    with POT.open("rb") as file:
        kept = {message.id for message in read_po(file) if message.id}
    found = messages()
    assert len(found) > 500
    assert found == kept, "Run make pot."


# --- nothing is said beside it --------------------------------------------------------------------------


class Reader(HTMLParser):
    """Collects what a template says by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in UNSAID
        self.found += [value for name, value in attrs if name in SAID and value]

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in UNSAID

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.found.append(ATTRIBUTE.sub("", data))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_say_nothing_by_themselves(path: Path) -> None:
    source = path.read_text()
    reader = Reader()
    reader.feed(re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", "", source, flags=re.DOTALL))
    assert [word for said in reader.found for word in WORD.findall(said) if word not in NAMES] == []
    assert [said for said in _constants(Environment().parse(source)) if SENTENCE.search(said)] == []


def _constants(node: nodes.Node) -> Iterator[str]:
    """Yield the texts in the expressions of a template that are not translated."""
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in MARKS:
        return
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        yield node.value
    for child in node.iter_child_nodes():
        yield from _constants(child)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_code_says_nothing_by_itself(path: Path) -> None:
    assert list(_sentences(ast.parse(path.read_text()))) == []


def _sentences(node: ast.AST) -> Iterator[str]:
    """Yield the sentences in code, but for those that are translated, or that only developers read."""
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in MARKS or name in (
            "ConfigError",
            "MissingExtra",
            "exception",
            "info",
            "warning",
            "compile",
        ):
            return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.Assign | ast.AnnAssign):
        named = ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
        if named in ("SNIPPET", "_HEADERS"):  # code, and what browsers read
            return
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and SENTENCE.search(node.value)
        and node.value[:1] != "<"
    ):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from _sentences(child)


# --- in another language -------------------------------------------------------------------------------


@pytest.fixture
def german(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A translation of each message: itself in brackets that nobody else writes."""
    catalog = Catalog(locale="de")
    for message in messages():
        if isinstance(message, tuple):
            catalog.add(message, tuple(f"⟦{each}⟧" for each in message))
        else:
            catalog.add(message, f"⟦{message}⟧")
    made = BytesIO()
    write_mo(made, catalog)
    place = tmp_path / "de" / "LC_MESSAGES" / "flask_linkback.mo"
    place.parent.mkdir(parents=True)
    place.write_bytes(made.getvalue())
    monkeypatch.setattr(words, "_DIRECTORY", tmp_path)
    words._translations.cache_clear()
    yield
    words._translations.cache_clear()


@pytest.mark.usefixtures("german")
def test_pages_are_in_the_language_of_the_site(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, RUNNER="off", LANGUAGE="de-at")
    blog.linkback.admin_access(lambda action, obj: True)
    with blog.app.app_context():
        fill(blog, 5)
    visitor = Visitor(blog)
    said: Any = visitor.text("/mentions")
    assert '<html lang="de-at"' in said
    assert "<h1>⟦Mentions⟧</h1>" in said
    assert ">⟦approved⟧</span>" in said
    assert re.search(r">⟦⟦\d+ minutes⟧ ago⟧</time>", said)
    assert "⟦1 mention is ⟦rejected⟧.⟧" in visitor.send("/mentions", "decide", id="1", status="rejected").text
    headings = re.findall("<h[12][^>]*>([^<]+)<", visitor.text("/") + visitor.text("/deliveries/2"))
    assert headings
    assert all(each.startswith("⟦") or "person" in each for each in headings)
