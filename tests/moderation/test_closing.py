"""Closing: the site, the pages of an endpoint, one page, and pages of an age."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_linkback.models import MentionState
from tests.apps import Blog
from tests.moderation.tools import taken, told
from tests.neighbours import Neighbour
from tests.pingback.tools import NOON, Clock, edit, fault_of, mention, ping, request, work

ABOUT = "https://blog.example/about"


def close_site(blog: Blog) -> str:
    object.__setattr__(blog.site.settings.linkbacks, "accept", False)
    return blog.url("hello")


def close_endpoint(blog: Blog) -> str:
    blog.linkback.target("post", model=blog.Post, accepts=False)(lambda slug: {"slug": slug})
    return blog.url("hello")


def close_page(blog: Blog) -> str:
    edit(blog, "hello", closed=True)
    return blog.url("hello")


def close_by_age(blog: Blog) -> str:
    old = NOON - timedelta(days=8)
    blog.linkback.target("post", model=blog.Post, date=lambda post: old)(lambda slug: {"slug": slug})
    return blog.url("hello")


CLOSE = [close_site, close_endpoint, close_page, close_by_age]


@pytest.mark.parametrize("close", CLOSE)
def test_what_is_closed_takes_nothing_new_and_keeps_what_it_has(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, close: Callable[[Blog], str]
) -> None:
    blog = blogs(sqlite_url, CLOSE_AFTER_DAYS=7, AUTO_APPROVE=True)
    taken(blog, neighbour, "/early")
    target = close(blog)
    assert fault_of(ping, blog, neighbour.url("/late"), target) == 0x21
    assert mention(blog).shown
    assert fault_of(ping, blog, neighbour.url("/late"), f"{blog.base_url}/nothing") == (
        0x21 if close is close_site else 0x20
    )


@pytest.mark.parametrize("close", CLOSE)
def test_what_was_told_before_is_verified_after(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, close: Callable[[Blog], str]
) -> None:
    blog = blogs(sqlite_url, CLOSE_AFTER_DAYS=7)
    told(blog, neighbour)
    close(blog)
    work(blog)
    assert mention(blog).state is MentionState.verified


def test_an_endpoint_that_is_closed_does_not_say_that_it_takes_any(
    serve: Callable[..., Blog], sqlite_url: str
) -> None:
    """Of single pages and of age it takes a query to know, so they say it still."""
    blog = serve(sqlite_url)

    def about(**args: Any) -> str:
        return "about"

    blog.linkback.target("about", accepts=True)(about)
    url = f"{blog.base_url}/about"
    assert "X-Pingback" in request("GET", url)[1]
    blog.linkback.target("about", accepts=False)(about)
    assert "X-Pingback" not in request("GET", url)[1]
    assert fault_of(ping, blog, "https://there.example/", url) == 0x21


def test_a_page_closes_on_its_day(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock) -> None:
    blog = blogs(sqlite_url, CLOSE_AFTER_DAYS=7)
    blog.linkback.target("about", date=lambda _: NOON)(lambda: "about")
    clock.move(7 * 24 * 3600)
    assert ping(blog, "https://there.example/1", ABOUT)
    clock.move(1)
    assert fault_of(ping, blog, "https://there.example/2", ABOUT) == 0x21
