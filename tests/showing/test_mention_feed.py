"""The mentions of a page as Atom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import feedparser
import pytest

from flask_linkback.models import MentionStatus
from tests.apps import Blog
from tests.feeds.test_atom_schema import faults
from tests.pingback.tools import add
from tests.showing.hostile import TEXTS, URLS
from tests.showing.mentions import said

HELLO = "https://blog.example/post/hello"


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    return make(blogs, sqlite_url)


@pytest.fixture
def everywhere(blogs: Callable[..., Blog], database_url: str) -> Blog:
    """The same on each database."""
    return make(blogs, database_url)


def make(blogs: Callable[..., Blog], url: str) -> Blog:
    blog = blogs(url, MENTION_FEEDS=True)
    add(blog, "hello")
    return blog


def ask(blog: Blog, target: str | None = HELLO, headers: Any = None) -> Any:
    query = {"target": target} if target is not None else {}
    return blog.app.test_client().get("/linkback/mentions.atom", query_string=query, headers=headers)


def test_readers_see_who_says_what(everywhere: Blog) -> None:
    said(everywhere, "ann", "reply")
    said(everywhere, "bob", "like", title="", content="")
    said(everywhere, "eve", status=MentionStatus.pending)
    answer = ask(everywhere)
    assert (answer.status_code, answer.mimetype) == (200, "application/atom+xml")
    assert faults(answer.data) == []
    feed = feedparser.parse(answer.data)
    assert feed.feed.title == f"Mentions of {HELLO}"
    assert [(each.title, each.author, each.link, each.id) for each in feed.entries] == [
        ("Bob likes this page", "Bob", "https://bob.example/post", f"{HELLO}#mention-2"),
        ("A page of ann", "Ann", "https://ann.example/post", f"{HELLO}#mention-1"),
    ]
    assert feed.entries[1].summary == "<p>ann says so.</p>"
    assert f'href="{HELLO}" ref="{HELLO}"'.encode() in answer.data


def test_a_page_without_mentions_has_an_empty_feed(blog: Blog) -> None:
    answer = ask(blog)
    assert (answer.status_code, faults(answer.data)) == (200, [])


def test_it_is_unchanged_until_somebody_says_something(blog: Blog) -> None:
    said(blog, "ann")
    tag = {"If-None-Match": ask(blog).headers["ETag"]}
    assert ask(blog, headers=tag).status_code == 304
    said(blog, "bob")
    assert ask(blog, headers=tag).status_code == 200


@pytest.mark.parametrize("field", ["title", "content", "author_name"])
def test_what_strangers_say_is_text(blog: Blog, field: str) -> None:
    for number, text in enumerate(TEXTS):
        said(blog, f"host{number}", **{field: text})
    document = ask(blog).data
    assert faults(document) == []
    feed = feedparser.parse(document, sanitize_html=False)
    shown = " ".join(each.summary + each.title for each in feed.entries)
    assert "<script" not in shown
    assert "<img" not in shown


def test_no_address_runs_a_script(blog: Blog) -> None:
    for number, url in enumerate(URLS):
        said(blog, f"host{number}", source=url, author_url=url)
    document = ask(blog).data
    for each in feedparser.parse(document).entries:
        assert each.link.startswith(("http://", "https://")), each.link


@pytest.mark.parametrize(
    "target", ["https://blog.example/nowhere", "https://other.example/", "\0", "rubbish", "/%00"]
)
def test_what_is_no_page_here_is_404(blog: Blog, target: str) -> None:
    assert ask(blog, target).status_code == 404


def test_a_page_is_needed(blog: Blog) -> None:
    assert ask(blog, None).status_code == 400
    assert ask(blog, "").status_code == 400


def test_it_is_there_only_when_it_is_wanted(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    assert ask(blogs(sqlite_url)).status_code == 404
