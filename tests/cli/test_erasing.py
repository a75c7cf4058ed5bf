"""Erasing by command: it asks, it says how much, and it can be done twice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from flask_linkback.models import (
    Attempt,
    Audit,
    Job,
    JobState,
    Mention,
    Subscriber,
    SubscriberState,
    Topic,
    digest,
    host_of,
)
from flask_linkback.outbox import jobs
from flask_linkback.websub.hub import DELIVER, VERIFY
from flask_linkback.websub.subscribers import DENY
from tests.apps import Blog
from tests.cli.commands import Ran, add_mention, run

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def erased(blog: Blog) -> list[int]:
    with blog.app.app_context():
        return [
            each.id
            for each in blog.db.session.scalars(sa.select(Mention).order_by(Mention.id))
            if each.is_erased
        ]


def test_erase_empties_and_says_how_much(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url)
    joe = add_mention(blog, source_host="joe.example", source_key="1")
    by_joe = add_mention(blog, author_url="https://joe.example/", source_key="2")
    add_mention(blog, source_key="3")
    ran = run(blog, "erase", "--host", "JOE.example.", "--dry-run")
    where = "https://other.example/1 -> https://blog.example/post/one"
    assert (ran.status, erased(blog)) == (0, [])
    assert ran.lines == [
        f"Would empty mention {joe}: {where}",
        f"Would empty mention {by_joe}: {where}",
        "Would erase 2 mentions.",
    ]
    assert run(blog, "erase", "--author", "http://joe.example:8080/", "--dry-run").lines[1:] == [
        "Would erase 1 mention."
    ]
    ran = run(blog, "erase", "--author", "http://joe.example", "--yes", "--json")
    assert ran.json == {"mentions": [by_joe], "weblogs": [], "subscribers": [], "erased": True}
    ran = run(blog, "erase", "--host", "joe.example", "--yes")
    assert (ran.status, ran.lines, erased(blog)) == (0, ["1 mention erased."], [joe, by_joe])
    for args in (["--yes"], []):
        ran = run(blog, "erase", "--host", "joe.example", *args)
        assert (ran.status, ran.lines) == (0, ["There is nothing to erase."])
    ran = run(blog, "erase", "--host", "joe.example", "--json")
    assert ran.json == {"mentions": [], "weblogs": [], "subscribers": [], "erased": False}
    with blog.app.app_context():
        audits = blog.db.session.scalars(sa.select(Audit)).all()
        assert {(each.action, each.who.partition(":")[0]) for each in audits} == {("erase", "cli")}
        assert not any("joe" in f"{each.before}{each.after}{each.reason}" for each in audits)
    assert "(erased) -> " in run(blog, "mentions").stdout


def subscribe(blog: Blog, topic: Topic, callback: str) -> int:
    """Let a callback follow a topic, and have been sent something."""
    host = host_of(callback)
    subscriber = Subscriber(
        key=digest(topic.url, callback),
        topic_id=topic.id,
        topic_url=topic.url,
        callback_url=callback,
        callback_host=host,
        state=SubscriberState.active,
        created_at=NOW,
    )
    blog.db.session.add(subscriber)
    for kind in (DELIVER, VERIFY, DENY):
        job = Job(
            kind=kind, state=JobState.done, host=host, due_at=NOW, created_at=NOW, attempts=1, reason=""
        )
        blog.db.session.add(job)
        blog.db.session.flush()
        seen = Attempt(job_id=job.id, number=1, started_at=NOW, seconds=0.1, outcome="done", url=callback)
        blog.db.session.add(seen)
    jobs.add(
        blog.db.session, [jobs.NewJob(kind=DELIVER, host=host, payload={"subscriber_id": subscriber.id})]
    )
    return subscriber.id


def test_erase_forgets_the_subscribers_of_a_host(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url, HUB_ENABLED=True)
    with blog.app.app_context():
        topic = Topic(key=digest("t"), url="https://blog.example/feed", created_at=NOW)
        blog.db.session.add(topic)
        blog.db.session.flush()
        urls = ("https://joe.example/a", "https://joe.example/b?c=1", "https://sub.joe.example/c")
        joe, joe_too, other = (subscribe(blog, topic, url) for url in urls)
        blog.db.session.commit()
    ran = run(blog, "erase", "--host", "joe.example", "--dry-run")
    assert ran.lines == [
        f"Would forget subscriber {joe}: https://joe.example/a",
        f"Would forget subscriber {joe_too}: https://joe.example/b?c=1",
        "Would erase 2 subscribers.",
    ]
    assert run(blog, "erase", "--author", "https://joe.example/a", "--yes").lines == [
        "There is nothing to erase."
    ]
    joes = add_mention(blog, source_host="joe.example")
    ran = run(blog, "erase", "--host", "joe.example", "--yes")
    assert ran.lines == ["1 mention and 2 subscribers erased."]
    assert erased(blog) == [joes]
    with blog.app.app_context():
        assert list(blog.db.session.scalars(sa.select(Subscriber.id))) == [other]
        assert set(blog.db.session.scalars(sa.select(Job.host))) == {"sub.joe.example"}
        assert set(blog.db.session.scalars(sa.select(Attempt.url))) == {"https://sub.joe.example/c"}


def answering(blog: Blog, monkeypatch: pytest.MonkeyPatch, answer: str) -> Ran:
    """Run it at a terminal where somebody types this."""
    runner = blog.app.test_cli_runner()
    with runner.isolation(input=answer):
        stdin_type = type(sys.stdin)
    monkeypatch.setattr(stdin_type, "isatty", lambda self: True, raising=False)
    result = runner.invoke(args=["linkback", "erase", "--host", "joe.example"], input=answer)
    return Ran(status=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def test_at_a_terminal_it_asks(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    joe = add_mention(blog, source_host="joe.example")
    ran = answering(blog, monkeypatch, "n\n")
    assert (ran.status, erased(blog)) == (1, [])
    assert "Erase the data of 1 mention for good?" in ran.stderr
    ran = answering(blog, monkeypatch, "y\n")
    assert (ran.status, ran.lines[-1:], erased(blog)) == (0, ["1 mention erased."], [joe])


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--host", "joe.example"],
        ["--host", "joe.example", "--author", "https://joe.example/", "--yes"],
        ["--host", "", "--yes"],
        ["--host", "https://joe.example/", "--yes"],
        ["--host", "ü..example", "--yes"],
        ["--author", "joe", "--yes"],
    ],
)
def test_without_a_person_or_a_yes_nothing_is_erased(blog: Blog, args: list[str]) -> None:
    add_mention(blog, source_host="joe.example", author_url="https://joe.example/")
    ran = run(blog, "erase", *args)
    assert ran.status == 1
    assert ran.stderr.startswith("Error: ")
    assert erased(blog) == []
