"""Block lists by command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_linkback import ping_func
from flask_linkback.cli import blocks
from flask_linkback.models import Audit, Block, Mention, MentionStatus
from flask_linkback.protocols.xmlrpc import Fault
from tests.apps import Blog
from tests.cli.commands import add_mention, run


def held(blog: Blog) -> list[tuple[str, str, str]]:
    """What is blocked: list, kind, value."""
    with blog.app.app_context():
        found = blog.db.session.scalars(sa.select(Block).order_by(Block.id))
        return [(each.list_name, each.kind.value, each.value) for each in found]


def test_add_blocks_hosts_urls_and_patterns(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url)
    ran = run(blog, "block", "add", "BAD.example", "https://host.example/~joe/", "--reason", "Spams.")
    assert (ran.status, ran.lines) == (0, ["host   bad.example", "url    host.example/~joe"])
    ran = run(blog, "block", "add", "casino", "--kind", "regex", "--list", "words", "--json")
    assert ran.json == {
        "list": "words",
        "blocks": [{"kind": "regex", "value": "casino", "new": True}],
        "swept": [],
    }
    assert held(blog) == [
        ("manual", "host", "bad.example"),
        ("manual", "url", "host.example/~joe"),
        ("words", "regex", "casino"),
    ]
    ran = run(blog, "block", "add", "bad.example", "--expires", "30")
    assert ran.lines == ["host   bad.example  (was blocked already)"]
    with blog.app.app_context():
        blog.add("one")
        for source in ("https://www.bad.example/", "https://x.example/casino"):
            with blog.app.test_request_context(), pytest.raises(Fault):
                ping_func(source, blog.url("one"))


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["bad host"], "'bad host' is no host name"),
        (["good.example", "(", "--kind", "host"], "'(' is no host name"),
        (["(", "--kind", "regex"], "'(' is no pattern: missing ): ("),
        (["bad.example", "--expires", "soon"], "'soon' is no date such as 2030-12-31"),
        (["bad.example", "--expires", "9" * 20], f"'{'9' * 20}' is no date"),
        (["bad.example", "--expires", "2001-01-01"], "2001-01-01 is over already."),
        (["bad.example", "--list", ""], "A list has a name"),
        (["bad.example", "--list", "x" * 256], "A list has a name"),
    ],
)
def test_add_refuses_what_cannot_be_blocked(blog: Blog, args: list[str], sentence: str) -> None:
    ran = run(blog, "block", "add", *args)
    assert ran.status == 1
    assert ran.stderr.startswith(f"Error: {sentence}")
    assert held(blog) == []


def test_a_pattern_without_re2_names_the_extra(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    run(blog, "block", "add", "casino", "--kind", "regex")
    monkeypatch.setitem(sys.modules, "re2", None)
    ran = run(blog, "block", "add", "viagra", "--kind", "regex")
    assert (ran.status, ran.stderr) == (
        1,
        "Error: A block by regex needs: pip install 'flask-linkback[fast]'\n",
    )
    assert run(blog, "block", "remove", "casino", "--kind", "regex").status == 0
    assert held(blog) == []


def test_expires_takes_a_date_and_days(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, TIMEZONE="Europe/Paris")
    blog.site.now = lambda: datetime(2026, 3, 1, 12, tzinfo=UTC)  # type: ignore[method-assign]
    run(blog, "block", "add", "a.example", "--expires", "2030-07-01")
    run(blog, "block", "add", "b.example", "--expires", "7", "--reason", "Rude.")
    assert [each["expires_at"] for each in run(blog, "block", "list", "--json").json["blocks"]] == [
        "2026-03-08T12:00:00+00:00",
        "2030-06-30T22:00:00+00:00",
    ]
    blog.site.now = lambda: datetime(2026, 3, 8, 12, tzinfo=UTC)  # type: ignore[method-assign]
    assert run(blog, "block", "list").lines == [
        "host   manual  b.example  expired 2026-03-08  Rude.",
        "host   manual  a.example  until 2030-06-30",
        "manual: 2 blocks.",
    ]


def test_list_counts_and_filters(blog: Blog) -> None:
    assert run(blog, "block", "list").lines == ["Nothing is blocked."]
    assert run(blog, "block", "list", "--json").json == {"lists": {}, "blocks": []}
    run(blog, "block", "add", "a.example", "b.example", "--list", "one")
    run(blog, "block", "add", "https://c.example/x", "--list", "two", "--reason", "Why.")
    document = run(blog, "block", "list", "--limit", "1", "--json").json
    assert document["lists"] == {"one": 2, "two": 1}
    (newest,) = document["blocks"]
    assert newest.pop("created_at")
    assert newest == {
        "kind": "url",
        "value": "c.example/x",
        "list": "two",
        "reason": "Why.",
        "expires_at": None,
        "expired": False,
    }
    for option, value in (("--list", "one"), ("--kind", "host")):
        found = run(blog, "block", "list", option, value, "--json").json
        assert [each["value"] for each in found["blocks"]] == ["b.example", "a.example"]
        assert found["lists"] == {"one": 2}


def test_remove_takes_off_all_lists_or_one(blog: Blog) -> None:
    for name in ("one", "two"):
        run(blog, "block", "add", "a.example", "b.example", "--list", name)
    assert run(blog, "block", "remove", "A.example").lines == ["2 blocks removed."]
    assert run(blog, "block", "remove", "b.example", "--list", "two", "--json").json == {"removed": 1}
    assert held(blog) == [("one", "host", "b.example")]
    ran = run(blog, "block", "remove", "unknown.example")
    assert (ran.status, ran.lines) == (1, ["0 blocks removed."])
    assert run(blog, "block", "remove", "--list", "one", "--all").lines == ["1 block removed."]
    assert held(blog) == []


@pytest.mark.parametrize(
    "args", [[], ["--list", "one"], ["--all"], ["a.example", "--list", "one", "--all"], ["bad host"]]
)
def test_remove_wants_to_know_what(blog: Blog, args: list[str]) -> None:
    run(blog, "block", "add", "a.example", "--list", "one")
    assert run(blog, "block", "remove", *args).status == 1
    assert len(held(blog)) == 1


# --- import --------------------------------------------------------------------------------------------


def test_import_replaces_that_list_only(
    blogs: Callable[..., Blog], database_url: str, tmp_path: Path
) -> None:
    blog = blogs(database_url)
    run(blog, "block", "add", "mine.example")
    file = tmp_path / "spammers.txt"
    file.write_bytes(
        "\ufeff# shared\r\na.example\r\n\r\n  B.example  # twice\nb.example.\nbücher.example\n".encode()
    )
    ran = run(blog, "block", "import", str(file), "--reason", "Shared.")
    assert (ran.status, ran.lines) == (0, ["spammers: 3 blocks; there were 0."])
    file.write_text("b.example\nc.example")
    assert run(blog, "block", "import", str(file), "--json").json == {
        "list": "spammers",
        "before": 3,
        "blocks": 2,
        "swept": [],
    }
    assert held(blog) == [
        ("manual", "host", "mine.example"),
        ("spammers", "host", "b.example"),
        ("spammers", "host", "c.example"),
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"good.example\nbad host\n", "Line 2: 'bad host' is no host name and no address."),
        (b"\xff\xfe\n", "Line 1: "),
        (b"https://bad.example/\n", "Line 1: "),
        (b"0.0.0.0 bad.example\n", "Line 1: "),
        (b"a.example\nb.example,Spams.,2030-12-31\n", "Line 2: "),
        (b"b.example\tSpams.\n", "Line 1: "),
        (b"b.example 2030-12-31\n", "Line 1: "),
        (b"# x\n" + b"a" * 1001, "Line 2 has more than 1000 bytes."),
    ],
)
def test_import_of_a_bad_line_changes_nothing(
    blog: Blog, tmp_path: Path, content: bytes, sentence: str
) -> None:
    run(blog, "block", "add", "a.example", "--list", "shared")
    file = tmp_path / "shared.txt"
    file.write_bytes(content)
    ran = run(blog, "block", "import", str(file))
    assert ran.status == 1
    assert ran.stderr.startswith(f"Error: {sentence}")
    assert ran.stderr.endswith("Nothing was changed.\n")
    assert held(blog) == [("shared", "host", "a.example")]


def test_import_reads_no_file_without_end(
    blog: Blog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MAX_FILE_BYTES", 1 << 20)
    file = tmp_path / "endless"
    with file.open("wb") as hole:
        hole.truncate((1 << 20) + 1)
    ran = run(blog, "block", "import", str(file))
    assert (ran.status, ran.stderr) == (1, "Error: The file has more than 1 MiB. Nothing was changed.\n")
    assert run(blog, "block", "import", str(tmp_path / "missing")).status == 2


def test_import_from_a_pipe_needs_a_name(blog: Blog) -> None:
    def piped(*args: str) -> tuple[int, str]:
        ran = blog.app.test_cli_runner().invoke(
            args=["linkback", "block", "import", "-", *args], input="a.example\n"
        )
        return ran.exit_code, ran.output

    assert piped()[0] == 1
    assert piped("--list", "shared") == (0, "shared: 1 block; there were 0.\n")


# --- sweep ---------------------------------------------------------------------------------------------


def test_a_sweep_rejects_what_is_there(blogs: Callable[..., Blog], database_url: str, tmp_path: Path) -> None:
    blog = blogs(database_url)
    bad = add_mention(blog, source="https://www.bad.example/1", status=MentionStatus.approved)
    by_bad = add_mention(blog, source="https://other.example/1", author_url="https://bad.example/joe")
    good = add_mention(blog, source="https://good.example/1")
    ran = run(blog, "block", "add", "bad.example", "--sweep")
    assert ran.lines == ["host   bad.example", "2 mentions rejected."]
    file = tmp_path / "more.txt"
    file.write_text("good.example\n")
    assert run(blog, "block", "import", str(file), "--sweep", "--json").json["swept"] == [good]
    with blog.app.app_context():
        assert set(blog.db.session.scalars(sa.select(Mention.status))) == {MentionStatus.rejected}
        audits = blog.db.session.execute(sa.select(Audit.who, Audit.object_key).order_by(Audit.id)).all()
        assert [tuple(each) for each in audits] == [
            ("block:manual", f"mention:{bad}"),
            ("block:manual", f"mention:{by_bad}"),
            ("block:more", f"mention:{good}"),
        ]


def test_a_source_is_looked_up_by_an_index(blog: Blog, tmp_path: Path) -> None:
    file = tmp_path / "big.txt"
    file.write_text("".join(f"spam-{number}.example\n" for number in range(2_000)))
    assert run(blog, "block", "import", str(file)).status == 0
    with blog.app.app_context():
        plan = blog.db.session.execute(
            sa.text("EXPLAIN QUERY PLAN SELECT value FROM linkback_block WHERE lookup IN ('a', 'b')")
        )
        assert "USING INDEX ix_linkback_block_lookup" in str(plan.all())


def test_a_block_that_expired_keeps_nobody_out(blog: Blog) -> None:
    run(blog, "block", "add", "bad.example", "--expires", "1")
    now = datetime.now(UTC)
    with blog.app.app_context():
        blog.add("one")
        with blog.app.test_request_context(), pytest.raises(Fault):
            ping_func("https://bad.example/", blog.url("one"))
        blog.site.now = lambda: now + timedelta(days=2)  # type: ignore[method-assign]
        with blog.app.test_request_context():
            ping_func("https://bad.example/", blog.url("one"))
