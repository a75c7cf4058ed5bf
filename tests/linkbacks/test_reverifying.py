"""Reverifying: what is shown is looked at again from time to time, though nobody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.linkbacks import verifying
from flask_linkback.models import Mention, MentionState
from flask_linkback.outbox.worker import Worker
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import (
    Clock,
    add,
    heard,
    mention,
    mentions,
    names,
    page,
    pending,
    ping,
    vanish,
    work,
)

DAY = 86_400.0
EVERYTHING_GOES = dict.fromkeys(("caller", "target", "source_host", "source_host_parallel", "fetches"))


def told(blog: Blog, neighbour: Neighbour, count: int = 1) -> str:
    """Let a blog have verified so many mentions of its one post; return the post's URL."""
    target = add(blog, "hello")
    for number in range(count):
        neighbour.answer(f"/{number}", body=page(target))
        ping(blog, neighbour.url(f"/{number}"), target)
    work(blog)
    assert {each.state for each in mentions(blog)} == {MentionState.verified}
    return target


def decide(blog: Blog, status: str) -> None:
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Mention).values(status=status))
        blog.db.session.commit()


def look_for_chores(blog: Blog) -> None:
    with blog.app.app_context():
        verifying.owe_rechecks(blog.site)


def test_a_shown_mention_is_looked_at_again_after_reverify_days(
    blogs: Callable[..., Blog], database_url: str, clock: Clock, neighbour: Neighbour
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=True)
    target = told(blog, neighbour)
    clock.move(29 * DAY)
    assert work(blog) == 0
    clock.move(1 * DAY + 1)
    with heard(blog) as said:
        assert work(blog) == 1
        assert len(neighbour.requests) == 2
        assert names(said) == []  # it says what it said
        assert work(blog) == 0

        neighbour.answer("/0", body=page(target, title="Another"))
        clock.move(30 * DAY + 1)
        work(blog)
        neighbour.answer("/0", status=410)
        clock.move(30 * DAY + 1)
        work(blog)
    assert names(said) == ["mention_updated", "mention_removed"]
    assert (mention(blog).state, mention(blog).reason) == (MentionState.gone, "http_410")
    clock.move(90 * DAY)
    assert work(blog) == 0


def test_trouble_is_looked_at_again_before_the_mention_is_removed(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, AUTO_APPROVE=True)
    told(blog, neighbour)
    neighbour.answer("/0", status=404)
    clock.move(30 * DAY + 1)
    for looks in range(1, 9):
        work(blog)
        assert len(neighbour.requests) == 1 + looks
        assert (mention(blog).state is MentionState.verified) == (looks < 8)
        for job in pending(blog, "verify_source"):
            clock.at = max(clock.at, job.due_at)
    assert (mention(blog).state, mention(blog).reason) == (MentionState.gone, "http_404")


@pytest.mark.parametrize(("status", "looks"), [("pending", 0), ("rejected", 0), ("spam", 0), ("approved", 1)])
def test_only_what_is_shown_is_worth_it(
    blogs: Callable[..., Blog],
    sqlite_url: str,
    clock: Clock,
    neighbour: Neighbour,
    status: str,
    looks: int,
) -> None:
    blog = blogs(sqlite_url)
    told(blog, neighbour)
    decide(blog, status)
    clock.move(31 * DAY)
    assert work(blog) == looks


def test_what_waits_for_a_moderator_is_looked_at_where_it_is_shown(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, SHOW_UNAPPROVED=True)
    told(blog, neighbour)
    clock.move(31 * DAY)
    assert work(blog) == 1


@pytest.mark.parametrize(("days", "looks"), [(None, 0), (7, 1)])
def test_how_long_is_a_setting(
    blogs: Callable[..., Blog],
    sqlite_url: str,
    clock: Clock,
    neighbour: Neighbour,
    days: int | None,
    looks: int,
) -> None:
    blog = blogs(sqlite_url, AUTO_APPROVE=True, REVERIFY_DAYS=days)
    told(blog, neighbour)
    clock.move(8 * DAY)
    assert work(blog) == looks


def test_many_are_spread_over_the_hour(
    blogs: Callable[..., Blog],
    sqlite_url: str,
    clock: Clock,
    neighbour: Neighbour,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verifying, "RECHECKS_AT_A_TIME", 6)
    blog = blogs(sqlite_url, AUTO_APPROVE=True, RATE_LIMITS=EVERYTHING_GOES)
    told(blog, neighbour, 10)
    clock.move(31 * DAY)
    look_for_chores(blog)
    due = sorted(job.due_at - clock.at for job in pending(blog, "verify_source"))
    assert due == [timedelta(minutes=10 * number) for number in range(6)]
    look_for_chores(blog)  # the rest
    assert len(pending(blog, "verify_source")) == 10
    look_for_chores(blog)
    assert len(pending(blog, "verify_source")) == 10


def test_a_source_of_many_mentions_is_looked_at_once(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, AUTO_APPROVE=True)
    targets = [add(blog, slug) for slug in ("a", "b", "c")]
    neighbour.answer("/", body=page(*targets))
    for target in targets:
        ping(blog, neighbour.url("/"), target)
    work(blog)
    clock.move(31 * DAY)
    assert work(blog) == 1
    assert len(neighbour.requests) == 2


def test_several_workers_owe_it_once(
    blogs: Callable[..., Blog], database_url: str, clock: Clock, neighbour: Neighbour
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=True, RATE_LIMITS=EVERYTHING_GOES)
    told(blog, neighbour, 20)
    clock.move(31 * DAY)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look_for_chores, [blog] * 4))
    keys = [job.key for job in pending(blog, "verify_source")]
    assert len(keys) == len(set(keys)) == 20


# --- who does chores ------------------------------------------------------------------------------------


def test_chores_are_done_once_an_hour_by_a_worker_too(blog: Blog, clock: Clock) -> None:
    clock.set_for(blog)
    done: list[str] = []

    def chore(site: Any) -> None:
        assert site.session.scalar(sa.select(sa.func.count(Mention.id))) == 0  # in a context of its own
        done.append("chore")

    blog.site.chores.append(chore)
    for _ in range(3):
        Worker(blog.site, runner="once").run(once=True)
        work(blog)
    assert len(done) == 1
    clock.move(3600)
    Worker(blog.site, runner="once").run(once=True)
    assert len(done) == 2
    clock.move(-7200)  # the clock was put right
    work(blog)
    assert len(done) == 3


def test_a_chore_that_raises_keeps_nobody_from_work(
    blog: Blog, clock: Clock, neighbour: Neighbour, caplog: pytest.LogCaptureFixture
) -> None:
    clock.set_for(blog)
    done: list[str] = []

    def broken(site: Any) -> None:
        done.append("broken")
        if len(done) == 1:
            raise ValueError("a bug")
        site.session.execute(sa.text("SELECT nothing FROM nowhere"))

    blog.site.chores.insert(0, broken)
    blog.site.chores.append(lambda site: done.append("another"))
    target = add(blog, "hello")
    neighbour.answer("/", body=page(target))
    ping(blog, neighbour.url("/"), target)
    work(blog)
    assert mention(blog).state is MentionState.verified
    clock.move(60)
    work(blog)
    assert done == ["broken", "another"] * 2
    first, second = (each.getMessage() for each in caplog.records)
    assert first == "The chore broken raised."
    assert second.startswith("The chore broken waits for the database: ")


def test_a_mention_whose_look_dies_with_its_worker_failed(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    """It is found after all by the next look."""
    blog = blogs(database_url, SOURCE_INTERVAL_SECONDS=0)
    target = add(blog, "hello")
    work(blog)
    neighbour.answer("/source", body=page(target))
    ping(blog, neighbour.url("/source"), target)
    with heard(blog) as said:
        vanish(blog, clock)
        work(blog)
    assert [(name, values["reason"]) for name, values in said] == [("mention_removed", "given_up")]
    assert (mention(blog).state, mention(blog).recheck) == (MentionState.failed, True)
    ping(blog, neighbour.url("/source"), target)
    work(blog)
    assert mention(blog).state is MentionState.verified


def test_a_mention_that_was_verified_stays_when_a_look_dies_with_its_worker(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=True)
    told(blog, neighbour)
    clock.move(31 * DAY)
    look_for_chores(blog)
    with heard(blog) as said:
        vanish(blog, clock)
        work(blog)
    assert names(said) == []
    assert (mention(blog).state, mention(blog).recheck) == (MentionState.verified, False)
    clock.move(31 * DAY)
    look_for_chores(blog)
    assert len(pending(blog, "verify_source")) == 1


def test_a_mention_for_which_another_look_is_owed_waits_for_it(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    blog = blogs(database_url)
    first, second = add(blog, "hello"), add(blog, "other")
    work(blog)
    neighbour.answer("/source", body=page(first, second))
    ping(blog, neighbour.url("/source"), first)
    vanish(blog, clock)
    ping(blog, neighbour.url("/source"), second)
    with heard(blog) as said:
        work(blog)
    assert names(said) == ["mention_verified"] * 2
