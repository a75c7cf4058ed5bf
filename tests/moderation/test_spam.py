"""Spam checks: who is asked, when, what counts, and who learns from a person."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_linkback.linkbacks.spam import SpamChecks
from flask_linkback.models import Mention, MentionStatus
from tests.apps import Blog
from tests.moderation.tools import audits, block, moderate, taken, told
from tests.neighbours import Neighbour
from tests.pingback.tools import fault_of, heard, mention, names, page, ping, work


def says(*words: Any) -> list[Callable[[Any], Any]]:
    """Checks that say these words, or raise them."""

    def make(word: Any) -> Callable[[Any], Any]:
        def check(mention: Any) -> Any:
            if isinstance(word, Exception):
                raise word
            return word

        return check

    return [make(word) for word in words]


@pytest.mark.parametrize(
    ("words", "status", "who"),
    [
        (["spam"], "spam", "spam_check"),
        (["ham"], "approved", "spam_check"),
        (["unsure", "spam", "ham"], "spam", "spam_check"),
        (["unsure", "ham", "spam"], "approved", "spam_check"),
        (["unsure"], "pending", None),
    ],
)
def test_the_first_that_is_sure_counts(
    blogs: Callable[..., Blog],
    database_url: str,
    neighbour: Neighbour,
    words: list[str],
    status: str,
    who: str | None,
) -> None:
    blog = blogs(database_url)
    for check in says(*words):
        assert blog.linkback.spam_check(check) is check
    with heard(blog) as said:
        assert taken(blog, neighbour).status == status
    assert audits(blog) == ([] if who is None else [(who, "mention:1", "pending", status)])
    assert names(said).count("mention_moderated") == (who is not None)


@pytest.mark.parametrize("word", [None, "SPAM", 1, RuntimeError("no")])
def test_rubbish_is_unsure_and_logged_once(
    blogs: Callable[..., Blog],
    sqlite_url: str,
    neighbour: Neighbour,
    caplog: pytest.LogCaptureFixture,
    word: Any,
) -> None:
    blog = blogs(sqlite_url, AUTO_APPROVE=True)
    for check in says(word):
        blog.linkback.spam_check(check)
    with caplog.at_level(logging.ERROR):
        assert taken(blog, neighbour).status is MentionStatus.approved
    (logged,) = caplog.records
    assert "The spam check check" in logged.getMessage()
    assert audits(blog) == [("rule:auto_approve", "mention:1", "pending", "approved")]


def test_a_check_sees_what_was_found_and_no_transaction_is_open(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    """Another connection may write to the mention while a check takes its time."""
    blog = blogs(database_url)
    seen: list[Any] = []

    @blog.linkback.spam_check
    def check(mention: Mention) -> str:
        seen.append((mention.title, mention.content, mention.source_host))
        assert not blog.db.session().in_transaction()
        with blog.site.new_session() as other:
            other.execute(sa.update(Mention).values(reason="seen"))
            other.commit()
        blog.db.session.execute(sa.update(Mention).values(reason="dropped"))  # and not committed
        return "unsure"

    taken(blog, neighbour)
    assert seen == [("Their page", "Do read this, it is good.", "127.0.0.1")]
    assert mention(blog).reason == "seen"


def test_coroutine_functions_will_do(blog: Blog, neighbour: Neighbour) -> None:
    @blog.linkback.spam_check
    async def check(mention: Mention) -> str:
        return "spam"

    assert taken(blog, neighbour).status is MentionStatus.spam


def test_a_person_is_quicker_than_the_check(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)

    @blog.linkback.spam_check
    def check(mention: Mention) -> str:
        with blog.site.new_session() as other:
            other.execute(sa.update(Mention).values(status=MentionStatus.rejected))
            other.commit()
        return "ham"

    assert taken(blog, neighbour).status is MentionStatus.rejected
    assert audits(blog) == []


def test_who_is_blocked_is_not_even_checked(blog: Blog, neighbour: Neighbour) -> None:
    asked: list[Any] = []
    blog.linkback.spam_check(asked.append)
    told(blog, neighbour)
    block(blog, "127.0.0.1")
    work(blog)
    assert (mention(blog).status, asked) == (MentionStatus.rejected, [])


def test_at_once_the_check_waits_for_the_worker(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    """No request waits for it: the mention is verified, and judged later."""
    blog = blogs(sqlite_url, PINGBACK_VERIFY="at_once")
    (check,) = says("ham")
    blog.linkback.spam_check(check)
    told(blog, neighbour)
    assert (mention(blog).state, mention(blog).status) == ("verified", "pending")
    work(blog)
    assert mention(blog).status is MentionStatus.approved


def test_what_waits_is_asked_about_again_when_it_is_read_again(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, SOURCE_INTERVAL_SECONDS=0)
    asked: list[str] = []

    @blog.linkback.spam_check
    def check(mention: Mention) -> str:
        asked.append(mention.title)
        return "spam" if "casino" in mention.title else "unsure"

    source = taken(blog, neighbour).source
    neighbour.answer("/source", body=page(blog.url("hello"), title="My casino"))
    assert fault_of(ping, blog, source, blog.url("hello")) == 48
    work(blog)
    assert asked == ["Their page", "My casino"]
    assert mention(blog).status is MentionStatus.spam


# --- feedback ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "steps", "lessons"),
    [
        ("ham", ["spam"], ["spam"]),
        ("unsure", ["spam"], ["spam"]),
        ("spam", ["approved"], ["ham"]),
        ("spam", ["approved", "spam"], ["ham", "spam"]),
        ("spam", ["spam"], []),
        ("spam", ["rejected"], []),
        ("spam", ["pending"], []),
        ("ham", ["rejected"], []),
        ("unsure", ["approved"], []),
    ],
)
def test_a_person_who_disagrees_is_heard(
    blog: Blog, neighbour: Neighbour, word: str, steps: list[str], lessons: list[str]
) -> None:
    learnt: list[tuple[int, str]] = []
    (check,) = says(word)
    blog.linkback.spam_check(check)

    @blog.linkback.spam_feedback
    def learn(mention: Mention, verdict: str) -> None:
        assert mention.content
        learnt.append((mention.id, verdict))

    taken(blog, neighbour)
    assert learnt == []
    for step in steps:
        moderate(blog, step, who="ann")
    assert learnt == [(1, lesson) for lesson in lessons]


def test_a_lesson_waits_for_the_commit_and_one_that_raises_stops_nobody(
    blog: Blog, neighbour: Neighbour, caplog: pytest.LogCaptureFixture
) -> None:
    learnt: list[str] = []

    @blog.linkback.spam_feedback
    def fail(mention: Mention, verdict: str) -> None:
        raise RuntimeError

    @blog.linkback.spam_feedback
    def learn(mention: Mention, verdict: str) -> None:
        learnt.append(verdict)

    found = taken(blog, neighbour)
    with blog.app.app_context():
        blog.linkback.moderate(blog.db.session.merge(found), "spam")
        assert learnt == []
        blog.db.session.rollback()
    work(blog)
    assert learnt == []
    moderate(blog, "spam")
    assert learnt == ["spam"]
    assert "The spam feedback fail raised." in caplog.messages


def test_applications_share_what_is_registered(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    """Registered after init_app, it counts for every application of the object."""
    blog = blogs(sqlite_url)
    other = Flask("other")
    other.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", SECRET_KEY="x")
    blog.db.init_app(other)
    blog.linkback.init_app(other)
    (check,) = says("ham")
    blog.linkback.spam_check(check)
    assert other.extensions["linkback"].get(SpamChecks).checks == [check]
    with other.app_context():
        blog.db.engine.dispose()
    other.extensions["linkback"].fetch.close()
