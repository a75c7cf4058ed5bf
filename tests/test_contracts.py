"""Contracts: which module may use what. They hold, and a planted violation breaks them."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_linkback"
MODULES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
}
FLOORS = "A room uses what lies below, never what is above or beside it"
PROTOCOLS = "Protocols are bytes and values"
NO_REQUEST = "Rooms never see a Flask request"
ONE_DOOR = "Only fetch opens a connection to the outside"


def lint_imports(directory: Path) -> tuple[int, str]:
    """Check the import contracts of a copy of the package; return the exit status and what was said."""
    # where the package is read from is the directory itself, before what is installed
    start = "import sys; sys.path.insert(0, '.'); from importlinter import cli; cli.lint_imports_command()"
    ran = subprocess.run(
        [sys.executable, "-c", start, "--no-cache"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def broken(said: str) -> set[str]:
    return set(re.findall(r"^(.*) BROKEN\b", said, re.MULTILINE))


def test_the_contracts_hold() -> None:
    status, said = lint_imports(ROOT)
    assert status == 0, said
    assert set(re.findall(r"^(.*) KEPT\b", said, re.MULTILINE)) == {FLOORS, PROTOCOLS, NO_REQUEST, ONE_DOOR}


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("config.py", "from . import site", FLOORS),
        ("outbox/jobs.py", "from ..linkbacks import sending", FLOORS),
        ("changes.py", "from .outbox import jobs", FLOORS),
        ("models.py", "from . import fetch", FLOORS),
        ("protocols/html.py", "import flask", PROTOCOLS),
        ("protocols/xmlrpc.py", "import sqlalchemy", PROTOCOLS),
        ("linkbacks/receiving.py", "from flask import request", NO_REQUEST),
        ("outbox/worker.py", "import flask", NO_REQUEST),
        ("linkbacks/sending.py", "import urllib3", ONE_DOOR),
        ("blueprints/pingback.py", "import socket", ONE_DOOR),
        ("cli/outbox.py", "import http.client", ONE_DOOR),
    ],
)
def test_a_violation_is_told(tmp_path: Path, module: str, line: str, contract: str) -> None:
    shutil.copytree(PACKAGE, tmp_path / "flask_linkback", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    planted = tmp_path / "flask_linkback" / module
    planted.write_text(planted.read_text() + f"\n{line}\n")
    status, said = lint_imports(tmp_path)
    assert status != 0
    assert broken(said) == {contract}, said


def test_a_new_room_needs_a_floor(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "flask_linkback", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    (tmp_path / "flask_linkback" / "attic.py").write_text('"""Attic: what nobody placed."""\n')
    status, said = lint_imports(tmp_path)
    assert status != 0
    assert "flask_linkback.attic" in said


# --- what import-linter does not see ------------------------------------------------------------------

NETWORK = {
    "asyncio",
    "ftplib",
    "http.client",
    "httpx",
    "requests",
    "smtplib",
    "socket",
    "ssl",
    "telnetlib",
    "urllib.request",
    "urllib3",
    "xmlrpc.client",
}


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES)
def test_only_fetch_opens_connections_to_the_outside(module: str) -> None:
    used = {
        name
        for name in imported(MODULES[module])
        if any(name == each or name.startswith(f"{each}.") for each in NETWORK)
    }
    if module == "outbox/wakeup.py":
        used -= {"socket"}  # a pair of them within the process
    assert module == "fetch.py" or not used


@pytest.mark.parametrize("module", MODULES)
def test_only_site_reads_current_app(module: str) -> None:
    names = {node.id for node in ast.walk(MODULES[module]) if isinstance(node, ast.Name)}
    names |= {name.rpartition(".")[2] for name in imported(MODULES[module])}
    assert module == "site.py" or "current_app" not in names


@pytest.mark.parametrize("module", MODULES)
def test_only_config_reads_the_configuration_of_the_application(module: str) -> None:
    """The one who hands it over is ``Settings.from_config(app.config)`` in the extension."""
    handed_over = {
        id(argument)
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Settings.from_config"
        for argument in node.args
    }
    reads = [
        ast.unparse(node)
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.Attribute)
        and node.attr == "config"
        and ast.unparse(node.value).rpartition(".")[2] in ("app", "current_app")
        and id(node) not in handed_over
    ]
    assert reads == []


@pytest.mark.parametrize("module", MODULES)
def test_the_clock_is_that_of_the_site(module: str) -> None:
    """Tests replace ``Site.now``; who asks another clock what day it is, is not under test."""
    clocks = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
    asks = any(
        ast.unparse(node.func) in clocks for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call)
    )
    # the outbox: how far this machine is from the server of the database; generators need no site
    assert not asks or module in ("site.py", "outbox/jobs.py", "feeds/syndication.py")


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_lives_there(module: str) -> None:
    doc = ast.get_docstring(MODULES[module])
    if module.endswith("__init__.py") and not MODULES[module].body:
        return  # a package whose modules speak for themselves
    assert doc
    assert len(doc.partition("\n")[0]) <= 110
