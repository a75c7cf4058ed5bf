"""JSON: the mentions of one page, in parts, for anybody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from flask_linkback.models import MentionState, MentionStatus
from tests.apps import Blog
from tests.pingback.tools import add, statements
from tests.showing.mentions import said

PATH = "/linkback/mentions.json"


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    """A blog with two posts that nobody mentions yet."""
    return make(blogs, sqlite_url)


@pytest.fixture
def everywhere(blogs: Callable[..., Blog], database_url: str) -> Blog:
    """The same on each database."""
    return make(blogs, database_url)


def make(blogs: Callable[..., Blog], url: str, **settings: Any) -> Blog:
    blog = blogs(url, **settings)
    add(blog, "hello")
    add(blog, "other")
    return blog


def ask(blog: Blog, target: str | None = "https://blog.example/post/hello", **query: Any) -> Any:
    headers = query.pop("headers", None)
    query = {"target": target, **query}
    return blog.app.test_client().get(
        PATH,
        query_string={name: value for name, value in query.items() if value is not None},
        headers=headers,
    )


def test_what_is_said_of_a_mention(everywhere: Blog) -> None:
    blog = everywhere
    published = datetime(2025, 12, 24, 18, tzinfo=UTC)
    said(blog, "ann", "reply", answers="bob", published_at=published, caller="192.0.2.7", reason="because")
    answer = ask(blog)
    assert answer.status_code == 200
    assert answer.json == {
        "target": "https://blog.example/post/hello",
        "count": 1,
        "counts": {"reply": 1},
        "mentions": [
            {
                "id": 1,
                "source": "https://ann.example/post",
                "target": "https://blog.example/post/hello",
                "protocol": "webmention",
                "state": "verified",
                "status": "approved",
                "type": "reply",
                "title": "A page of ann",
                "content": "ann says so.",
                "author_name": "Ann",
                "author_url": "https://ann.example/",
                "author_photo": "https://ann.example/me.png",
                "reply_to": "https://bob.example/post#here",
                "published_at": "2025-12-24T18:00:00+00:00",
                "received_at": "2026-03-01T12:00:00+00:00",
                "verified_at": "2026-03-01T12:00:00+00:00",
            }
        ],
        "next_after": None,
    }


def test_only_what_the_page_shows(blog: Blog) -> None:
    said(blog, "ann")
    said(blog, "bob", status=MentionStatus.pending)
    said(blog, "cid", status=MentionStatus.spam)
    said(blog, "dan", state=MentionState.gone)
    said(blog, "eve", target="other")
    answer = ask(blog).json
    assert [each["author_name"] for each in answer["mentions"]] == ["Ann"]
    assert answer["count"] == 1


def test_who_waits_is_told_where_the_page_shows_it(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, SHOW_UNAPPROVED=True)
    add(blog, "hello")
    said(blog, "bob", status=MentionStatus.pending)
    assert [each["status"] for each in ask(blog).json["mentions"]] == ["pending"]


def test_page_without_mentions(blog: Blog) -> None:
    assert ask(blog).json == {
        "target": "https://blog.example/post/hello",
        "count": 0,
        "counts": {},
        "mentions": [],
        "next_after": None,
    }


def test_parts_follow_each_other_the_newest_first(everywhere: Blog) -> None:
    blog = everywhere
    ids = [said(blog, f"p{number}", "like" if number % 2 else "reply") for number in range(7)]
    seen: list[int] = []
    after = None
    for size in (3, 3, 1):
        answer = ask(blog, limit=3, after=after).json
        assert len(answer["mentions"]) == size
        assert answer["counts"] == {"like": 3, "reply": 4}
        seen += [each["id"] for each in answer["mentions"]]
        after = answer["next_after"]
    assert after is None
    assert seen == ids[::-1]
    assert ask(blog, limit=7).json["next_after"] is None


def test_a_type_or_several(blog: Blog) -> None:
    for kind in ("like", "reply", "mention"):
        said(blog, kind, kind)
    assert [each["type"] for each in ask(blog, type="like").json["mentions"]] == ["like"]
    several = ask(blog, type=["like", "reply"]).json
    assert [each["type"] for each in several["mentions"]] == ["reply", "like"]
    assert several["count"] == 3
    assert ask(blog, type="dislike").json["mentions"] == []


def test_a_part_has_a_hundred_at_most(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url)
    add(blog, "hello")
    for number in range(101):
        said(blog, f"p{number}")
    assert len(ask(blog).json["mentions"]) == 50
    assert len(ask(blog, limit=1000).json["mentions"]) == 100


@pytest.mark.parametrize(
    "target", ["https://blog.example/post/hello?x=1#y", "http://blog.example:81/post/hello"]
)
def test_a_page_has_several_addresses(blog: Blog, target: str) -> None:
    said(blog, "ann")
    assert ask(blog, target).json["count"] == 1


QUESTIONS: list[tuple[dict[str, Any], int]] = [
    ({"type": "\0"}, 200),
    ({"target": None}, 400),
    ({"target": ""}, 400),
    ({"limit": "0"}, 400),
    ({"limit": "-1"}, 400),
    ({"limit": "many"}, 400),
    ({"limit": ""}, 400),
    ({"after": "1.5"}, 400),
    ({"after": "٣"}, 400),
    ({"after": "9" * 5000}, 400),
    ({"after": "9" * 19}, 200),
    ({"target": "https://foreign.example/post/hello"}, 404),
    ({"target": "https://blog.example/post/nothing"}, 404),
    ({"target": "https://blog.example/about"}, 404),
    ({"target": "https://blog.example/nowhere"}, 404),
    ({"target": "https://blog.example/post/a%00b"}, 404),
    ({"target": "https://blog.example/post/a\0b"}, 404),
    ({"target": "/post/nothing"}, 404),
    ({"target": "https://[blog.example/"}, 404),
    ({"target": "javascript:alert(1)"}, 404),
]


def test_what_cannot_be_answered(everywhere: Blog) -> None:
    for query, status in QUESTIONS:
        answer = ask(everywhere, **query)
        assert answer.status_code == status, query
        assert status == 200 or 0 < len(answer.json["error"]) <= 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_a_site_without_an_address_has_the_pages_of_its_hosts(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = make(blogs, sqlite_url, base_url=None, HOSTS="blog.example", RUNNER="off")
    assert ask(blog, "https://blog.example/post/hello").status_code == 200
    assert ask(blog, "/post/hello").status_code == 404


def test_an_unchanged_answer_is_not_sent_again(blog: Blog) -> None:
    mention = said(blog, "ann")
    first = ask(blog)
    headers = {"If-None-Match": first.headers["ETag"]}
    again = ask(blog, headers=headers)
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Access-Control-Allow-Origin"] == "*"
    assert again.headers["Cache-Control"] == first.headers["Cache-Control"] == "max-age=60"
    with blog.app.app_context():  # taken away: no time in the answer would tell
        row = blog.linkback.mentions_for("https://blog.example/post/hello")[0]
        assert row.id == mention
        blog.linkback.moderate(row, "spam")
        blog.db.session.commit()
    changed = ask(blog, headers=headers)
    assert (changed.status_code, changed.json["count"]) == (200, 0)
    assert "Last-Modified" not in changed.headers


def test_it_asks_for_the_page_and_twice_for_mentions(blog: Blog) -> None:
    for number in range(10):
        said(blog, f"p{number}")
    ask(blog)  # whether any page moved is asked once in five seconds
    with statements(blog) as asked:
        assert ask(blog).json["count"] == 10
    assert len(asked) == 3


def test_it_is_there_whatever_is_mounted(blog: Blog) -> None:
    answer = blog.app.test_client().head(PATH, query_string={"target": "https://blog.example/post/hello"})
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.content_type == "application/json"
    assert blog.site.url_for("linkback.mentions") == f"https://blog.example{PATH}"
