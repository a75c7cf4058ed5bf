"""JF2: the mentions of one page in the form of webmention.io, for the scripts that draw it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_linkback.models import Mention, MentionState, MentionStatus
from tests.apps import Blog
from tests.pingback.tools import add, statements
from tests.showing.hostile import TEXTS, URLS
from tests.showing.mentions import said
from tests.showing.test_json import QUESTIONS
from tests.thorough import examples

JF2, JSON = "/linkback/mentions.jf2", "/linkback/mentions.json"
HELLO = "https://blog.example/post/hello"


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    """A blog with two posts that nobody mentions yet."""
    return make(blogs, sqlite_url)


@pytest.fixture
def everywhere(blogs: Callable[..., Blog], database_url: str) -> Blog:
    """The same on each database."""
    return make(blogs, database_url)


def make(blogs: Callable[..., Blog], url: str, **settings: Any) -> Blog:
    blog = blogs(url, MENTION_FEEDS=True, **settings)
    add(blog, "hello")
    add(blog, "other")
    return blog


def ask(blog: Blog, path: str = JF2, headers: Any = None, **query: Any) -> Any:
    """Ask for what is said of a page; ``_`` in a name stands for ``-``."""
    sent = {name.replace("_", "-"): value for name, value in {"target": HELLO, **query}.items()}
    given = {name: value for name, value in sent.items() if value is not None}
    return blog.app.test_client().get(path, query_string=given, headers=headers)


def ids(answer: Any) -> list[int]:
    return [child["wm-id"] for child in answer.json["children"]]


# --- the form -----------------------------------------------------------------------------------------


def test_what_is_said_of_a_mention(everywhere: Blog) -> None:
    published = datetime(2025, 12, 24, 18, tzinfo=timezone(timedelta(hours=1)))
    said(everywhere, "ann", "reply", answers="bob", published_at=published, caller="192.0.2.7")
    answer = ask(everywhere)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.json == {
        "type": "feed",
        "name": "Mentions",
        "children": [
            {
                "type": "entry",
                "author": {
                    "type": "card",
                    "name": "Ann",
                    "photo": "https://ann.example/me.png",
                    "url": "https://ann.example/",
                },
                "url": "https://ann.example/post",
                "published": "2025-12-24T17:00:00+00:00",
                "wm-received": "2026-03-01T12:00:00Z",
                "wm-id": 1,
                "wm-source": "https://ann.example/post",
                "wm-target": HELLO,
                "wm-protocol": "webmention",
                "name": "A page of ann",
                "content": {"text": "ann says so."},
                "in-reply-to": HELLO,
                "wm-property": "in-reply-to",
                "wm-private": False,
            }
        ],
    }


@pytest.mark.parametrize(
    ("kind", "title", "relation", "expected"),
    [
        ("mention", "", "mention-of", {"mention-of": HELLO}),
        ("dislike", "", "mention-of", {"mention-of": HELLO}),
        ("reply", "", "in-reply-to", {"in-reply-to": HELLO}),
        ("like", "", "like-of", {"like-of": HELLO}),
        ("repost", "", "repost-of", {"repost-of": HELLO}),
        ("bookmark", "", "bookmark-of", {"bookmark-of": HELLO}),
        ("rsvp", "RSVP: yes", "rsvp", {"in-reply-to": HELLO, "rsvp": "yes", "name": "RSVP: yes"}),
        ("rsvp", "Perhaps", "rsvp", {"in-reply-to": HELLO, "name": "Perhaps"}),
    ],
)
def test_a_type_is_a_property(
    blog: Blog, kind: str, title: str, relation: str, expected: dict[str, str]
) -> None:
    said(blog, "ann", kind, title=title, content="")
    (child,) = ask(blog).json["children"]
    always = {"type", "author", "url", "published"} | {name for name in child if name.startswith("wm-")}
    assert {name: value for name, value in child.items() if name not in always} == expected
    assert (child["wm-property"], child["published"]) == (relation, None)


def test_a_page_without_mentions_is_an_empty_feed(blog: Blog) -> None:
    assert ask(blog).json == {"type": "feed", "name": "Mentions", "children": []}


# --- the rules of mentions.json -------------------------------------------------------------------------


def test_only_what_the_page_shows(blog: Blog) -> None:
    shown = said(blog, "ann")
    said(blog, "bob", status=MentionStatus.pending)
    said(blog, "cid", status=MentionStatus.spam)
    said(blog, "dan", state=MentionState.gone)
    said(blog, "eve", target="other")
    assert ids(ask(blog)) == [shown]


def test_who_waits_is_told_where_the_page_shows_it(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = make(blogs, sqlite_url, SHOW_UNAPPROVED=True)
    said(blog, "bob", status=MentionStatus.pending)
    assert ids(ask(blog)) == [1]


@pytest.mark.parametrize(
    "query", [{}, {"limit": 2}, {"after": 4}, {"type": ["like", "reply"]}, {"limit": 1000}]
)
def test_the_same_as_by_json(blog: Blog, query: dict[str, Any]) -> None:
    for number in range(7):
        said(blog, f"p{number}", "like" if number % 2 else "reply")
    assert ids(ask(blog, **query)) == [each["id"] for each in ask(blog, JSON, **query).json["mentions"]]


def test_what_cannot_be_answered(everywhere: Blog) -> None:
    questions = [*QUESTIONS, *(({name: "x"}, 400) for name in ("page", "per_page"))]
    for query, status in [*questions, ({"target[]": ["/post/hello"] * 10}, 400), ({"page": "9" * 19}, 200)]:
        answer = ask(everywhere, **query)
        assert answer.status_code == status, query
        assert status == 200 or 0 < len(answer.json["error"]) <= 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_an_unchanged_answer_is_not_sent_again(blog: Blog) -> None:
    said(blog, "ann")
    first = ask(blog)
    headers = {"If-None-Match": first.headers["ETag"]}
    again = ask(blog, headers=headers)
    assert (again.status_code, again.headers["Cache-Control"]) == (304, "max-age=60")
    assert again.headers["Access-Control-Allow-Origin"] == "*"
    with blog.app.app_context():
        blog.linkback.moderate(blog.linkback.mentions_for(HELLO)[0], "spam")
        blog.db.session.commit()
    assert ids(ask(blog, headers=headers)) == []


def test_it_is_off_unless_it_is_switched_on(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url)
    add(blog, "hello")
    assert (ask(blog).status_code, ask(blog, JSON).status_code) == (404, 200)


def test_it_is_inert_wherever_it_lands(blog: Blog) -> None:
    for number, text in enumerate(TEXTS):
        said(blog, f"t{number}", title=text, content=text, author_name=text)
    for number, url in enumerate(URLS):
        said(blog, f"u{number}", author_url=url, author_photo=url, reply_to=url)
    seen: list[Any] = []
    while (answer := ask(blog, per_page=100, page=len(seen) // 100)).json["children"]:
        assert re.search(rb"[^\n\x20-\x7e]|[<>&']", answer.data) is None
        seen += answer.json["children"]
        if len(seen) % 100:
            break
    assert len(seen) == len(TEXTS) + len(URLS)
    for child in seen:
        for url in (child["author"]["url"], child["author"]["photo"], child["url"]):
            assert re.fullmatch(r"(https?://[^\s\"<>@]{1,2048})?", url)


# --- the names of webmention.io ---------------------------------------------------------------------------


def test_a_script_asks_for_both_schemes_of_its_page(blog: Blog) -> None:
    """As webmention.js does, with the wishes that it has."""
    shown = said(blog, "ann")
    there = said(blog, "bob", target="other")
    both = {"target": None, "per_page": 50, "sort_by": "published", "sort_dir": "up"}
    pages = [HELLO.replace("https:", "http:"), HELLO]
    assert ids(ask(blog, **both, **{"target[]": pages})) == [shown]
    pages += ["https://blog.example/post/other", "https://blog.example/nothing", "https://foreign.example/"]
    with statements(blog) as asked:
        assert ids(ask(blog, **both, **{"target[]": pages})) == [shown, there]
    assert len(asked) == 3 + 2  # for each page that there could be, and twice for mentions
    assert ask(blog, target=None, **{"target[]": pages[3:]}).status_code == 404


def test_pages_follow_each_other_to_an_empty_one(everywhere: Blog) -> None:
    said_so = [said(everywhere, f"p{number}") for number in range(7)]
    for newest_last, order in ((None, said_so[::-1]), ("down", said_so[::-1]), ("up", said_so)):
        parts = [ids(ask(everywhere, per_page=3, page=page, sort_dir=newest_last)) for page in range(4)]
        assert parts == [order[:3], order[3:6], order[6:], []]


def test_whatever_is_asked_for_a_part_has_a_hundred_at_most(blog: Blog) -> None:
    for number in range(101):
        said(blog, f"p{number}")
    assert [len(ids(ask(blog, per_page=1000, page=page))) for page in (0, 1, 2)] == [100, 1, 0]
    assert len(ids(ask(blog))) == 50


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ({"wm_property": "like-of"}, ["like"]),
        ({"wm_property[]": ["like-of", "in-reply-to"]}, ["reply", "like"]),
        ({"wm_property": "mention-of"}, ["mention"]),
        ({"wm_property": "rsvp", "type": "like"}, ["rsvp", "like"]),
        ({"wm_property": "follow-of"}, []),
    ],
)
def test_a_property_or_several(blog: Blog, query: dict[str, Any], kinds: list[str]) -> None:
    by_id = {said(blog, kind, kind): kind for kind in ("like", "reply", "mention", "rsvp")}
    assert [by_id[each] for each in ids(ask(blog, **query))] == kinds


NAMES = "target target[] type after limit page per-page perPage sort-dir wm-property wm-property[]"


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(
    query=st.dictionaries(
        st.sampled_from(NAMES.split()),
        st.one_of(st.sampled_from([HELLO, "1", "0", "like-of", "like", "up"]), st.text(max_size=20)),
    )
)
def test_whatever_is_asked(asked: Blog, query: dict[str, str]) -> None:
    answer = asked.app.test_client().get(JF2, query_string={name: clean(query[name]) for name in query})
    assert answer.status_code in (200, 400, 404)
    assert ("children" in answer.json) == (answer.status_code == 200)


def clean(text: str) -> str:
    """What a test client can send."""
    return text.encode("utf-8", "replace").decode()


@pytest.fixture
def asked(blogs: Callable[..., Blog], database_url: str) -> Blog:
    """One blog for all that a fuzzer asks, with mentions of each kind."""
    blog = make(blogs, database_url)
    for kind in ("like", "reply", "rsvp"):
        said(blog, kind, kind)
    with blog.app.app_context():
        assert blog.db.session.scalar(blog.db.select(blog.db.func.count()).select_from(Mention)) == 3
    return blog
