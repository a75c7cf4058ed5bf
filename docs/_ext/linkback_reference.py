"""Reference pages that are made from the code, so that they cannot say something else.

``.. linkback-settings::``, ``-signals::``, ``-tables::``, ``-states::``, ``-commands::`` and
``-errors::``. What the code declares but does not use yet is marked as planned.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

import click
import sqlalchemy as sa
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import flask_linkback
from flask_linkback import config, errors, models, signals
from flask_linkback.cli import linkback_cli

PACKAGE: Final = Path(flask_linkback.__file__).parent
PLANNED: Final = "*Planned: declared, but without effect yet.*"


@cache
def used() -> set[str]:
    """What the code speaks of: ``.attribute``, ``module.attribute``, and ``models.Name`` that is imported."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name in ("config.py", "models.py", "signals.py"):  # who declares a thing does not use it
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                found |= {f".{node.attr}", f"{ast.unparse(node.value)}.{node.attr}"}
            elif isinstance(node, ast.ImportFrom) and node.module == "models":
                found |= {f"models.{alias.name}" for alias in node.names}
    return found


def sentence(obj: Any) -> str:
    return inspect.cleandoc(obj.__doc__ or "").replace("\n", " ")


# --- settings -----------------------------------------------------------------------------------------


def settings() -> Iterator[str]:
    part_before = ""
    for part, field in config.setting_fields():
        if part != part_before:
            kind = type(getattr(config.Settings(), part))
            title = sentence(kind).rstrip(".")
            yield from (title, "~" * len(title), "")
            part_before = part
        yield from (f".. lb-setting:: LINKBACK_{field.name.upper()}", "")
        yield f"   {field.metadata['doc']} Default: ``{shown(field.metadata['default'])}``."
        if f".{field.name}" not in used():
            yield f"   {PLANNED}"
        yield ""


def shown(value: Any) -> str:
    """A default as one writes it."""
    if isinstance(value, tzinfo):
        return repr(str(value))
    if isinstance(value, frozenset):
        return repr(tuple(sorted(value)))
    return repr(dict(value)) if isinstance(value, Mapping) else repr(value)


# --- signals ------------------------------------------------------------------------------------------


def all_signals() -> Iterator[str]:
    for name in sorted(signals.__all__):
        yield from (f".. lb-signal:: {name}", "", f"   {code_words(getattr(signals, name).__doc__ or '')}")
        if f"signals.{name}" not in used():
            yield f"   {PLANNED}"
        yield ""


def code_words(text: str) -> str:
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)


# --- tables and states --------------------------------------------------------------------------------


def tables() -> Iterator[str]:
    mapped = {mapper.local_table.name: mapper.class_ for mapper in models.Base.registry.mappers}
    for name in sorted(mapped):
        model = mapped[name]
        yield from (f".. lb-table:: {name}", "", f"   {code_words(sentence(model))}")
        if f"models.{model.__name__}" not in used():
            yield f"   {PLANNED}"
        yield ""
        columns = ", ".join(f"``{column.name}``" for column in ordered(model.__table__))
        yield from (f"   Model: ``flask_linkback.models.{model.__name__}``. Columns: {columns}.", "")


def ordered(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns with the primary key in front."""
    return sorted(table.columns, key=lambda column: not column.primary_key)


def states() -> Iterator[str]:
    for name, kind in vars(models).items():
        if isinstance(kind, type) and issubclass(kind, enum.StrEnum) and kind.__module__ == models.__name__:
            yield from (name, "~" * len(name), "", sentence(kind), "")
            for member, meaning in members(kind).items():
                yield from (f"``{member}``", f"   {meaning}", "")


@cache
def members(kind: type[enum.StrEnum]) -> dict[str, str]:
    """The members of an enum and the string that stands behind each of them in the source."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    name = ""
    for node in definition.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            found[name] = str(node.value.value)
    return found


# --- commands -----------------------------------------------------------------------------------------


def all_commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name, those of a group in its place."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def commands() -> Iterator[str]:
    for name, command in all_commands(linkback_cli):
        context = click.Context(command, info_name=name)
        usage = " ".join(("flask linkback", name, *command.collect_usage_pieces(context)))
        yield from (f".. lb-command:: {usage}", "")
        for line in inspect.cleandoc(command.help or "").splitlines():
            yield f"   {line}"
        yield ""
        for param in command.params:
            if isinstance(param, click.Option):
                text, meaning = param.get_help_record(context) or ("", "")
                yield from (f"   ``{text}``", f"      {meaning or 'Only these.'}", "")


# --- errors -------------------------------------------------------------------------------------------


def all_errors() -> Iterator[str]:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type):
            base = kind.__base__
            assert base is not None
            above = f" A ``{base.__name__}``." if base is not Exception else ""
            yield from (f".. lb-error:: {name}", "", f"   {sentence(kind)}{above}", "")


# --- directives ---------------------------------------------------------------------------------------


class FromCode(SphinxDirective):
    """Puts lines that are made from the code where the directive stands."""

    lines: ClassVar[Callable[[], Iterable[str]]]

    def run(self) -> list[nodes.Node]:
        made = StringList(list(type(self).lines()), source="flask_linkback")
        return self.parse_content_to_nodes_of(made)

    def parse_content_to_nodes_of(self, lines: StringList) -> list[nodes.Node]:
        container = nodes.section()
        container.document = self.state.document
        self.state.nested_parse(lines, 0, container, match_titles=True)
        return container.children


def setup(app: Sphinx) -> dict[str, Any]:
    for kind in ("setting", "signal", "table", "command", "error"):
        app.add_object_type(f"lb-{kind}", f"lb-{kind}", objname=kind, indextemplate=f"pair: %s; {kind}")
    for name, lines in (
        ("settings", settings),
        ("signals", all_signals),
        ("tables", tables),
        ("states", states),
        ("commands", commands),
        ("errors", all_errors),
    ):
        directive = type(name, (FromCode,), {"lines": staticmethod(lines)})
        app.add_directive(f"linkback-{name}", directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
