"""Snippets: what the documentation tells people to write and type does what it says."""

from __future__ import annotations

import ast
import contextlib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_linkback import Linkback
from flask_linkback.config import Settings
from flask_linkback.models import Job, JobState, Mention, MentionState, MentionStatus, digest
from tests.docs.blocks import PAGES, Block, page_blocks
from tests.docs.terminals import Terminal
from tests.neighbours import Neighbour, Request, Wire

# --- the quickstart -----------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_the_quickstart_word_for_word(tmp_path: Path) -> None:
    """But for the two ports, and that other ports than those of web servers may be reached."""
    ports = {"8000": str(free_port()), "8080": str(free_port())}

    def on_free_ports(text: str) -> str:
        for port, free in ports.items():
            text = text.replace(port, free)
        return text

    blocks = page_blocks("quickstart.rst")
    for block in blocks:
        if block.caption:
            (tmp_path / block.caption).write_text(on_free_ports(block.code))
    said: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        terminals = {
            f"terminal-{number}": stack.enter_context(Terminal(tmp_path, FLASK_LINKBACK_ALLOW_PORTS="any"))
            for number in (1, 2, 3)
        }
        for block in blocks:
            if block.language == "console" and block.is_run:
                (terminal,) = (terminals[name] for name in block.classes)
                for command in map(on_free_ports, block.commands):
                    said[command.replace(ports["8000"], "8000")] = output = terminal.type(command)
                    if command.endswith("linkback mentions"):
                        # a reader takes some seconds to get there
                        for _ in range(60):
                            if " verified " in output:
                                break
                            output = terminal.type(command)
                        assert " verified " in output
                        assert " pending " in output
                        assert "A reply" in output
    page = said["curl http://127.0.0.1:8000/hello"]
    assert "<h2>1 mentions</h2>" in page
    assert "A reply" in page
    assert "pending -> approved" in said["flask --app blog linkback moderate 1 approved"]
    assert "✗" not in said["flask --app blog linkback doctor"]


# --- the other pages ----------------------------------------------------------------------------------


NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Base(DeclarativeBase):
    """The base of the models that pages speak of; each application copies it."""


def models(db: SQLAlchemy) -> dict[str, Any]:
    class Post(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str] = mapped_column(unique=True)
        title: Mapped[str]
        html: Mapped[str]
        summary: Mapped[str] = mapped_column(default="")
        published_at: Mapped[datetime] = mapped_column(default=NOON)

        @property
        def url(self) -> str:
            return f"/{self.slug}"

    class News(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        is_open: Mapped[bool]
        published_at: Mapped[datetime]

    class Draft(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        url: Mapped[str]
        html: Mapped[str]
        published: Mapped[bool]

    class Article(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        url: Mapped[str]
        trackback_urls: Mapped[str]

    return {kind.__name__: kind for kind in (Post, News, Draft, Article)}


@pytest.fixture
def elsewhere() -> Iterator[Neighbour]:
    """Stands in for https://elsewhere.example: its pages take pingbacks, and link to ours."""
    with Neighbour() as neighbour:
        body = b"<params><param><value>thanks</value></param></params>"
        answer = b"<?xml version='1.0'?><methodResponse>" + body + b"</methodResponse>"

        def serve(request: Request, wire: Wire) -> None:
            found = answer if request.method == "POST" else b'<a href="https://blog.example/test">you</a>'
            kind = b"text/xml" if request.method == "POST" else b"text/html"
            wire.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n" % (kind, len(found))
                + f"X-Pingback: {neighbour.url('/pingback')}\r\n\r\n".encode()
                + (b"" if request.method == "HEAD" else found)
            )

        neighbour.default(serve)
        yield neighbour


@pytest.fixture
def names(tmp_path: Path, elsewhere: Neighbour) -> Iterator[dict[str, Any]]:
    """What the pieces of a page may speak of without having said it."""
    app = Flask("blog")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/blog.db",
        LINKBACK_BASE_URL="https://blog.example",
        LINKBACK_ALLOW_NETWORKS="127.0.0.0/8",
        LINKBACK_ALLOW_PORTS="any",
        LINKBACK_RUNNER="off",
        LINKBACK_HUBS=elsewhere.url("/hub"),
    )
    db = SQLAlchemy(model_class=type("Base", (DeclarativeBase,), {}))
    linkback = Linkback(db=db)
    known = models(db)
    db.init_app(app)
    linkback.init_app(app)
    for endpoint, rule in (
        ("post", "/<slug>"),
        ("news", "/news/<int:id>"),
        ("chapter", "/chapter/<int:number>"),
    ):
        app.add_url_rule(rule, endpoint, lambda **args: "")
    linkback.target("post", model=known["Post"])(
        lambda slug: db.session.scalar(db.select(known["Post"]).filter_by(slug=slug))
    )
    linkback.ping_external_links(known["Post"], content="html")
    with app.app_context():
        db.create_all()
        post = known["Post"](slug="first", title="The first", html="")
        db.session.add(post)
        db.session.flush()
        db.session.add(waiting_mention(post, elsewhere))
        db.session.commit()
        linkback.run_until_idle()
        yield {
            "app": app,
            "db": db,
            "linkback": linkback,
            "CHAPTERS": {1: {"number": 1}},
            "post": post,
            **known,
        }
        db.session.remove()
        db.engine.dispose()
    app.extensions["linkback"].fetch.close()


def waiting_mention(post: Any, elsewhere: Neighbour) -> Mention:
    now = datetime.now(UTC)
    return Mention(
        key="k",
        source=elsewhere.url("/hello"),
        source_key="k",
        source_host="127.0.0.1",
        target="https://blog.example/first",
        target_key=f"Post:{post.id}",
        target_hash=digest(f"Post:{post.id}"),
        protocol="pingback",
        state=MentionState.verified,
        status=MentionStatus.pending,
        title="Hello",
        content="Hello, you",
        received_at=now,
        verified_at=now,
    )


@pytest.mark.parametrize("page", [page for page in PAGES if page != "quickstart.rst"])
def test_every_piece_of_a_page_that_can_run_runs(
    page: str, names: dict[str, Any], elsewhere: Neighbour
) -> None:
    for block in page_blocks(page):
        code = block.code.replace("https://elsewhere.example", elsewhere.url("").rstrip("/"))
        if block.language == "python":
            tree = ast.parse(code, filename=page)
            if block.is_run:
                exec(compile(tree, page, "exec"), names)
        elif block.is_run:
            run_other(block, code, names)
    Settings.from_config(names["app"].config)  # what the page sets can be set
    session = names["db"].session
    assert [*session.new, *session.dirty] == [], f"{page} forgets to commit"
    answer = names["app"].test_client().get("/first")  # endpoints that the page names are there
    assert answer.headers["X-Pingback"] == "https://blog.example/linkback/pingback"


def run_other(block: Block, code: str, names: dict[str, Any]) -> None:
    app, db = names["app"], names["db"]
    match block.language:
        case "console":
            for command in Block(language="console", code=code).commands:
                words = command.split()
                assert words[0] == "flask", command
                ran = app.test_cli_runner().invoke(args=words[1:])
                assert ran.exit_code == 0, f"$ {command}\n{ran.output}"
        case "html+jinja":
            with app.test_request_context("/first"):
                app.preprocess_request()
                app.jinja_env.from_string(code).render(post=names["post"])
        case "sql":
            assert db.session.execute(db.text(code)).all()
        case language:
            assert language in ("css", "text", "ini", "nginx"), f"Nobody runs {language}"


def test_replaying_is_what_the_page_on_workers_says(names: dict[str, Any]) -> None:
    db = names["db"]
    db.session.execute(db.update(Job).values(state=JobState.dead))
    db.session.commit()
    (replay,) = (block for block in page_blocks("howto/workers.rst") if "linkback.replay" in block.code)
    exec(replay.code, names)
    assert set(db.session.scalars(db.select(Job.state))) == {JobState.pending}
