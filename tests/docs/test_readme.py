"""README: its example works as pasted, and its commands are those that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from xmlrpc.client import ServerProxy

import pytest

from tests.docs.blocks import ROOT, markdown_blocks
from tests.docs.terminals import Terminal
from tests.docs.test_snippets import free_port
from tests.neighbours import Neighbour

README = (ROOT / "README.md").read_text()
BLOCKS = list(markdown_blocks(README))
EXAMPLES = [block.code for block in BLOCKS if block.language == "python"]


def example() -> str:
    return EXAMPLES[0]


def test_the_example_works_as_pasted(tmp_path: Path) -> None:
    """But for its port. What it tells, and is told of, is on this machine: nobody goes there."""
    port = str(free_port())
    home = f"http://127.0.0.1:{port}"
    (tmp_path / "blog.py").write_text("\n\n".join(EXAMPLES).replace("8000", port))
    with Neighbour() as neighbour, Terminal(tmp_path, FLASK_APP="blog") as terminal:
        (tmp_path / "write.py").write_text(WRITE.format(url=neighbour.url("/page")))
        terminal.type("python write.py")
        terminal.type(f"flask run --port {port}")
        page = terminal.type(f"curl {home}/post/1")
        assert f'<link rel="pingback" href="{home}/linkback/pingback">' in page
        pingback = ServerProxy(f"{home}/linkback/pingback").pingback
        source, target = neighbour.url("/page"), f"{home}/post/1"
        assert pingback.ping(source, target) == f"pingback from {source} to {target} saved"
        assert source in terminal.type("flask linkback mentions")
        assert "✗" not in terminal.type("flask linkback doctor")
        feed = terminal.type(f"curl {home}/feed.atom")
        assert f'<title>Post 1</title><link href="{home}/post/1" rel="alternate"/>' in feed
    assert neighbour.requests == []


WRITE = """
from blog import Post, app, db

with app.app_context():
    db.session.add(Post(html='<a href="{url}">there</a>'))
    db.session.commit()
"""


def test_the_example_is_short() -> None:
    lines = [line for line in example().splitlines() if line.strip()]
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "console"], ids=lambda b: b.code
)
def test_every_command_is_a_target_of_the_makefile(block: object) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in getattr(block, "commands", []):
        program, target = command.split()[:2]
        assert program == "make"
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_make_demo_once_shows_what_the_readme_shows() -> None:
    if shutil.which("make") is None:
        pytest.skip("There is no make")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    ran = subprocess.run(
        ["make", "demo", "ONCE=1"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (shown,) = (block.code for block in BLOCKS if "published" in block.code)
    assert steps(shown) == steps(ran.stdout)[: len(steps(shown))]


def steps(text: str) -> list[str]:
    """The lines of a timeline, without what differs from run to run."""
    lines = re.findall(r"^ +[0-9.]+ s  (.*)$", text, re.MULTILINE)
    return [re.sub(r"127\.0\.0\.1:\d+", "HOST", line) for line in lines]


def test_what_it_says_it_runs_on_is_what_the_package_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pythons = [each.rpartition(" ")[2] for each in project["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert f"Python {pythons[0]} to {pythons[-1]}" in README
    assert f'requires-python = ">={pythons[0]}"' in (ROOT / "pyproject.toml").read_text()
    assert f"## {project['version']}" in (ROOT / "CHANGES.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "CHANGES.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
        assert (ROOT / link).exists(), link
