"""Output: people read lines, programs one document, and nobody a traceback for what was to be expected."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from flask_linkback.cli import linkback_cli
from flask_linkback.models import Base
from tests.apps import Blog
from tests.cli.commands import add_mention, run

# each command with arguments that would do
COMMANDS = {
    "init-db": [],
    "worker": ["--once"],
    "mentions": [],
    "moderate": ["1", "approved"],
    "block add": ["bad.example"],
    "block remove": ["bad.example"],
    "block list": [],
    "block import": [os.devnull],
    "erase": ["--host", "bad.example", "--yes"],
    "send": ["/post/one"],
    "explain": ["https://other.example/"],
    "ping-directories": ["/post/one"],
    "ping-hub": ["/feed.atom", "--hub", "http://10.0.0.1/"],
    "subscribe": ["http://10.0.0.1/feed"],
    "unsubscribe": ["http://10.0.0.1/feed"],
    "renew": ["--all"],
    "subscriptions": [],
    "listeners list": [],
    "listeners add": ["https://other.example/", "--event", "post.*"],
    "listeners pause": ["1"],
    "listeners resume": ["1"],
    "listeners verify": ["1"],
    "listeners test": ["1"],
    "listeners remove": ["1"],
    "events list": [],
    "events show": ["1"],
    "deliveries list": [],
    "deliveries show": ["1"],
    "deliveries replay": ["1"],
    "deliveries recover": ["--listener", "1", "--since", "1d"],
    "deliveries cancel": ["1"],
    "rotate-secrets": ["--listener", "1"],
    "feed": ["/about"],
    "doctor": [],
}
# does not end, see test_listen
ENDLESS = {"listen"}
# these blogs have no directories, which is told first
NEED_THE_DATABASE = sorted(COMMANDS.keys() - {"explain", "feed", "ping-directories"})


def every_command(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def test_every_command_is_tried_here() -> None:
    assert set(dict(every_command(linkback_cli))) == set(COMMANDS) | ENDLESS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_json(blog: Blog, name: str) -> None:
    ran = run(blog, *name.split(), "--help")
    assert ran.status == 0
    assert "--json" in ran.stdout
    assert dict(every_command(linkback_cli))[name].help


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_document_whatever_happens(blog: Blog, name: str) -> None:
    assert run(blog, *name.split(), *COMMANDS[name], "--json").json is not None


@pytest.mark.parametrize("name", sorted(set(NEED_THE_DATABASE) - {"init-db", "doctor"}))
def test_missing_tables_are_told_with_what_to_do(blog: Blog, name: str) -> None:
    with blog.app.app_context():
        Base.metadata.drop_all(blog.db.engine)
    ran = run(blog, *name.split(), *COMMANDS[name])
    assert ran.status == 1
    assert ran.stderr.startswith("Error: The database lacks the tables linkback_attempt, ")
    assert "Run 'flask db upgrade' or" in ran.stderr
    assert "flask linkback init-db" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("name", sorted(set(NEED_THE_DATABASE) - {"doctor"}))
def test_a_database_that_is_away_is_told(blogs: Callable[..., Blog], tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    blog = blogs(f"sqlite:///{home}/blog.db")
    with blog.app.app_context():
        blog.db.engine.dispose()
    shutil.rmtree(home)
    ran = run(blog, *name.split(), *COMMANDS[name], "--json")
    assert ran.status == 1
    assert ran.json["error"].startswith(f"The database sqlite:///{home}/blog.db cannot be reached: ")
    assert ran.stderr == f"Error: {ran.json['error']}\n"


def test_a_database_that_refuses_is_told(blog: Blog) -> None:
    add_mention(blog)
    with blog.app.app_context():
        blog.db.session.execute(
            blog.db.text(
                "CREATE TRIGGER no BEFORE UPDATE ON linkback_mention"
                " BEGIN SELECT RAISE(ABORT, 'not today'); END"
            )
        )
        blog.db.session.commit()
    ran = run(blog, "moderate", "1", "approved")
    assert ran.status == 1
    assert ran.stderr == "Error: The database refuses: not today.\n"


def test_a_missing_address_is_told(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    ran = run(blogs(sqlite_url, base_url=None), "send", "/post/one")
    assert ran.status == 1
    assert ran.stderr.startswith("Error: Set LINKBACK_BASE_URL")


def test_wrong_usage_has_its_own_status(blog: Blog) -> None:
    ran = run(blog, "mentions", "--state", "lost", "--json")
    assert ran.status == 2
    assert ran.stdout == ""
    assert "'lost' is not one of" in ran.stderr


def test_a_strangers_title_does_not_steer_the_terminal(blog: Blog) -> None:
    add_mention(blog, title="\x1b[2Jgone\x9b31m \u202egnp.exe\nnext")
    ran = run(blog, "mentions")
    assert len(ran.lines) == 1
    assert ran.lines[0].endswith(" [2Jgone 31m  gnp.exe next")
    assert run(blog, "mentions", "--json").json[0]["title"] == "\x1b[2Jgone\x9b31m \u202egnp.exe\nnext"


def test_a_terminal_that_cannot_say_everything_says_what_it_can(blog: Blog) -> None:
    add_mention(blog, title="Grüße ✓")
    ran = run(blog, "mentions", charset="ascii")
    assert ran.status == 0
    assert ran.lines[0].endswith("Gr??e ?")
    assert run(blog, "mentions", "--json", charset="ascii").json[0]["title"] == "Grüße ✓"
