"""Commands: run in this process, or as people run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask_linkback.models import Mention, MentionState, MentionStatus
from tests.apps import Blog

ROOT = Path(__file__).parents[2]
# what is open at the end is closed by the end
_WARNINGS = ("-W", "error", "-W", "ignore::ResourceWarning")


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command said, and its exit status."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


def run(blog: Blog, *args: str, charset: str = "utf-8") -> Ran:
    """Run ``flask linkback`` with these arguments in this process; what it raises is raised here."""
    runner = blog.app.test_cli_runner(charset=charset)
    result = runner.invoke(args=["linkback", *args], catch_exceptions=False)
    return Ran(status=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def start(settings: dict[str, Any], *args: str) -> subprocess.Popen[str]:
    """Run ``flask linkback`` for the blog of `tests.cli.served` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, *_WARNINGS, "-m", "flask", "--app", "tests.cli.served", "linkback", *args],
        cwd=ROOT,
        env={**os.environ, "LINKBACK_TEST_BLOG": json.dumps({"testing": False, **settings})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def ended(process: subprocess.Popen[str], seconds: float = 30) -> Ran:
    """Wait for the end of a process, and say what it said."""
    stdout, stderr = process.communicate(timeout=seconds)
    return Ran(status=process.returncode, stdout=stdout, stderr=stderr)


def add_mention(blog: Blog, **values: Any) -> int:
    """Write a verified mention of /post/one that waits for a moderator; return its id."""
    fields = {
        "key": uuid.uuid4().hex,
        "source": "https://other.example/1",
        "source_key": "",
        "source_host": "other.example",
        "target": blog.url("one"),
        "target_key": "Post:1",
        "target_hash": "",
        "endpoint": "post",
        "protocol": "pingback",
        "state": MentionState.verified,
        "status": MentionStatus.pending,
        "received_at": datetime(2026, 1, 1, tzinfo=UTC),
        **values,
    }
    with blog.app.app_context():
        mention = Mention(**fields)
        blog.db.session.add(mention)
        blog.db.session.commit()
        return mention.id


def found(blog: Blog, name: str, *args: str) -> tuple[str, str, str]:
    """Return what one check finds: mark, what, advice."""
    ran = run(blog, "doctor", *args, "--json")
    document = ran.json
    marks = [each["mark"] for each in document["findings"]]
    assert ran.status == (1 if "failure" in marks else 0)
    assert document["ok"] is ("failure" not in marks)
    finding = next(each for each in document["findings"] if each["check"] == name)
    assert bool(finding["advice"]) is (finding["mark"] != "ok")
    return finding["mark"], finding["what"], finding["advice"]
