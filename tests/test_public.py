"""Public: what the package offers is importable, documented, typed and shipped."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from mypy import api as mypy

import flask_linkback
from flask_linkback import Linkback, config, errors, models, signals
from flask_linkback.cli import linkback_cli

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    each.name for each in pkgutil.walk_packages(flask_linkback.__path__, prefix=f"{flask_linkback.__name__}.")
)


# --- names --------------------------------------------------------------------------------------------


def test_public_names_are_sorted_and_there() -> None:
    assert flask_linkback.__all__ == sorted(flask_linkback.__all__)
    for name in flask_linkback.__all__:
        assert getattr(flask_linkback, name) is not None
    assert flask_linkback.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_offers_is_there(name: str) -> None:
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", [])
    assert len(offered) == len(set(offered))
    for each in offered:
        assert hasattr(module, each), f"{name} offers {each}"


def test_the_package_is_imported_in_a_moment() -> None:
    """Neither what is for tests and development nor an extra is imported with it."""
    code = """
import sys, flask, flask_sqlalchemy
before = set(sys.modules)
import flask_linkback
heavy = {"ahocorasick_rs", "asyncio", "celery", "cryptography", "flask_migrate", "pytest", "re2", "requests"}
print(sorted(heavy & (set(sys.modules) - before)))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"


# --- documentation ------------------------------------------------------------------------------------


def documentation(out: Path) -> str:
    """The documentation as text, built as it is published: what is wrong with it is an error."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "text", "docs", str(out)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return "\n".join(path.read_text() for path in sorted(out.rglob("*.txt")))


def public_names() -> list[str]:
    members = [f"Linkback.{name}" for name, _ in inspect.getmembers(Linkback) if not name.startswith("_")]
    return [*flask_linkback.__all__, *members]


def every_command(group: click.Group, above: str = "") -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from every_command(command, f"{above}{name} ")
        else:
            yield f"{above}{name}"


def named() -> list[str]:
    things = {
        "setting": [f"LINKBACK_{field.name.upper()}" for _, field in config.setting_fields()],
        "signal": signals.__all__,
        "table": sorted(models.Base.metadata.tables),
        "command": [f"flask linkback {name}" for name in every_command(linkback_cli)],
        "error": [name for name in errors.__all__ if isinstance(getattr(errors, name), type)],
        "name": public_names(),
        "blueprint": [
            f'linkback.blueprints["{name}"]'
            for name in ("pingback", "webmention", "trackback", "directory", "hub", "webhooks")
        ],
        "template": ["linkback_head", "mentions_for", "mention_count", "pingback_list", "linkback_href"],
        "tag": ["get_pingback_list", "get_pingback_count"],
    }
    return [f"{kind} {name}" for kind, names in things.items() for name in names]


def test_what_there_is_is_documented_and_has_an_effect(tmp_path: Path) -> None:
    """One test, since to build the documentation takes its time."""
    text = documentation(tmp_path)
    words = {name: name.partition(" ")[2].removeprefix("Linkback.") for name in named()}
    unsaid = [
        name for name, word in words.items() if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)
    ]
    assert unsaid == []
    assert "Planned: declared, but without effect yet." not in text


@pytest.mark.parametrize("name", [name for name in public_names() if name.startswith("Linkback.")])
def test_what_an_application_calls_says_what_it_does(name: str) -> None:
    doc = inspect.getdoc(getattr(Linkback, name.removeprefix("Linkback.")))
    assert doc
    assert doc.partition("\n")[0].endswith((".", ":"))


# --- types --------------------------------------------------------------------------------------------


def test_typical_code_of_users_has_the_right_types() -> None:
    said, complaints, status = mypy.run(
        [str(ROOT / "tests" / "typing"), "--config-file", str(ROOT / "pyproject.toml")]
    )
    assert status == 0, said + complaints


# --- the wheel ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The package as it is shipped."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "flask_linkback", source / "flask_linkback", ignore=shutil.ignore_patterns("__pycache__")
    )
    code = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return zipfile.Path(source / ran.stdout.split()[-1])


def test_the_wheel_has_all_that_the_package_needs(wheel: zipfile.Path) -> None:
    shipped = set(wheel.root.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "flask_linkback").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= shipped
    assert {"flask_linkback/py.typed", "flask_linkback/static/linkback/linkback.css"} <= shipped
    assert "flask_linkback/templates/linkback/macros.html" in shipped
    assert "flask_linkback/translations/flask_linkback.pot" in shipped


def test_the_wheel_has_nothing_else(wheel: zipfile.Path) -> None:
    tops = {name.partition("/")[0] for name in wheel.root.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"flask_linkback"}


def test_the_wheel_says_what_it_is(wheel: zipfile.Path) -> None:
    (about,) = (name for name in wheel.root.namelist() if name.endswith("/METADATA"))
    metadata = wheel.root.read(about).decode()
    assert "\nLicense-Expression: BSD-3-Clause\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "\nDescription-Content-Type: text/markdown\n" in metadata
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.root.namelist())
