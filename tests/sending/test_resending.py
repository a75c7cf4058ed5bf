"""Resending: a target is told again because a person wants it so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_linkback.linkbacks import sending
from flask_linkback.models import LinkState
from tests.apps import Blog
from tests.neighbours import Answer, Neighbour
from tests.pingback.tools import Clock, add, edit, link, pending, work
from tests.sending.test_protocols import There, linked


@pytest.fixture
def there(neighbour: Neighbour) -> There:
    return There(neighbour)


def resend(blog: Blog, *ids: int) -> list[int]:
    with blog.app.app_context():
        queued = sending.resend(blog.site, blog.db.session(), ids)
        blog.db.session.commit()
        return [each.id for each in queued]


@pytest.mark.parametrize("status", [202, 403])
def test_what_was_answered_is_asked_again(
    blogs: Callable[..., Blog], database_url: str, there: There, status: int
) -> None:
    blog = blogs(database_url)
    there.answers["webmention"] = Answer(status=status, body=b"Hm.")
    add(blog, "hello", html=linked(there.offer("webmention")))
    work(blog)
    there.answers["webmention"] = Answer(status=202, body=b"Yes.")
    assert resend(blog, link(blog).id, 99) == [link(blog).id]
    assert (link(blog).state, link(blog).attempts) == (LinkState.waiting, 0)
    work(blog)
    assert (link(blog).state, link(blog).answer, len(there.told)) == (LinkState.sent, "Yes.", 2)


def test_one_that_waits_for_its_next_try_has_it_now(
    blogs: Callable[..., Blog], database_url: str, there: There, clock: Clock
) -> None:
    blog = blogs(database_url)
    there.answers["webmention"] = Answer(status=503)
    add(blog, "hello", html=linked(there.offer("webmention")))
    work(blog)
    (job,) = pending(blog, sending.SEND)
    assert job.due_at > clock()
    assert resend(blog, 1) == [1]
    (hastened,) = pending(blog, sending.SEND)
    assert (hastened.id, hastened.due_at) == (job.id, clock())
    assert link(blog).attempts == 1


def test_one_that_is_told_at_this_moment_is_left_alone(blog: Blog, there: There) -> None:
    add(blog, "hello", html=linked(there.offer("webmention")))
    seen: list[list[int]] = []
    there.on_post = lambda: seen.append(resend(blog, 1))
    work(blog)
    assert seen == [[]]
    assert link(blog).state is LinkState.sent


def test_what_cannot_be_told_again(blog: Blog, there: There) -> None:
    add(blog, "hello", html=linked(there.offer("trackback")))
    work(blog)
    assert link(blog).state is LinkState.sent
    assert resend(blog, 1) == []
    there.neighbour.answer("/late", status=503)
    add(blog, "other", html=linked(there.neighbour.url("/late")))
    work(blog)
    edit(blog, "other", html="Nothing.")
    work(blog)
    (job,) = pending(blog, sending.SEND)
    assert resend(blog, 2) == []
    assert pending(blog, sending.SEND)[0].due_at == job.due_at
