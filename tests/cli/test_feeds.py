"""``flask linkback feed``: our feeds asked in this process, others through the door, and what is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Response, redirect, request

from flask_linkback import Feed
from flask_linkback.feeds.generators import Atom1Feed
from tests.apps import Blog
from tests.cli.commands import run
from tests.neighbours import Neighbour

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
RSS = b"""<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel><title>There</title>
<link>https://there.example/</link><description>All</description>
<item><title>One</title><link>/1</link><guid>https://there.example/1</guid>
<pubDate>Mon, 04 May 2026 12:00:00 GMT</pubDate></item></channel></rss>"""


class Latest(Feed):
    feed_type = Atom1Feed
    title = "Latest"
    link = "/"
    hubs = ("https://hub.example/",)
    streamed = False

    def get_object(self, year: int | None = None) -> int | None:
        return year

    def items(self, year: int | None) -> list[int]:
        return [1, 2]

    def item_link(self, item: int) -> str:
        return f"/post/{item}"

    def item_pubdate(self, item: int) -> datetime:
        return NOON.replace(day=item)


class Streamed(Latest):
    stream = True

    def items(self, year: int | None) -> Iterator[int]:  # type: ignore[override]
        yield 1


class Wrong(Latest):
    def item_guid(self, item: int) -> str:
        return "https://blog.example/same"

    def item_pubdate(self, item: int) -> datetime:
        return NOON


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    blog = blogs(sqlite_url, base_url="https://blog.example/below")
    for path, endpoint, feed in (
        ("/feed", "feeds.latest", Latest),
        ("/<int:year>/feed", "feeds.year", Latest),
        ("/stream", "feeds.stream", Streamed),
        ("/wrong", "feeds.wrong", Wrong),
    ):
        blog.app.add_url_rule(path, view_func=feed.as_view(endpoint), endpoint=endpoint)
    blog.app.add_url_rule("/old", "old", lambda: redirect("/feed", 301))
    return blog


@pytest.mark.parametrize(
    "named",
    ["feeds.latest", "/below/feed", "https://blog.example/below/feed", "http://blog.example:80/below/feed"],
)
def test_a_feed_of_ours_by_endpoint_path_or_url(blog: Blog, named: str) -> None:
    ran = run(blog, "feed", named, "--json")
    assert ran.status == 0
    said = ran.json
    assert said.pop("size") > 500
    assert said.pop("etag").startswith('"')
    problems = said.pop("problems")
    url = "https://blog.example/below/feed"
    if named.startswith("http://"):
        url = named
        assert [each["is_error"] for each in problems] == [False]
        assert problems[0]["what"] == "It says that it is at https://blog.example/below/feed."
    else:
        assert problems == []
    assert said == {
        "ok": True,
        "url": url,
        "content_type": "application/atom+xml; charset=utf-8",
        "format": "Atom",
        "version": "1.0",
        "title": "Latest",
        "items": 2,
        "newest": "2026-05-02T12:00:00+00:00",
        "self_url": "https://blog.example/below/feed",
        "hubs": ["https://hub.example/"],
        "last_modified": "Sat, 02 May 2026 12:00:00 GMT",
        "unchanged": True,
        "untold": 0,
    }


def test_people_are_told_line_by_line(blog: Blog) -> None:
    ran = run(blog, "feed", "feeds.latest")
    assert (ran.status, ran.stderr) == (0, "")
    said = [line.split(maxsplit=1) for line in ran.lines]
    assert ran.lines[0] == "Atom 1.0 at https://blog.example/below/feed"
    assert ["Title", "Latest"] in said
    assert ["Items", "2, the newest of 2026-05-02 12:00:00+00:00"] in said
    assert ["Self", "https://blog.example/below/feed"] in said
    assert ["Hubs", "https://hub.example/"] in said
    assert ["Asked", "again    304"] in said
    assert ran.lines[-1] == "✓ Nothing is wrong."


def test_what_is_wrong_has_a_line_with_the_number_of_the_item_and_fails(blog: Blog) -> None:
    ran = run(blog, "feed", "feeds.wrong")
    assert ran.status == 1
    assert ran.lines[-1] == (
        "✗ item 2: The id is that of item 1: 'https://blog.example/same'. Readers show one of them only."
    )


def test_a_feed_that_is_streamed_is_read_too_and_advice_is_no_failure(blog: Blog) -> None:
    ran = run(blog, "feed", "feeds.stream", "--json")
    assert (ran.status, ran.json["items"], ran.json["ok"]) == (0, 1, True)
    assert (ran.json["etag"], ran.json["last_modified"], ran.json["unchanged"]) == (None, None, False)
    assert [(each["item"], each["what"], each["is_error"]) for each in ran.json["problems"]] == [
        (None, "It has neither ETag nor Last-Modified.", False)
    ]
    (line,) = [line for line in run(blog, "feed", "feeds.stream").lines if line[0] in "✗!✓"]
    assert line.startswith("! feed: It has neither ETag nor Last-Modified. Readers load ")


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (
            "feeds.lates",
            "There is no endpoint 'feeds.lates'. Did you mean feeds.latest? A path begins with a slash.",
        ),
        ("nothing", "There is no endpoint 'nothing'. A path begins with a slash."),
        ("feeds.year", "The URL of 'feeds.year' has arguments: give a path instead."),
        ("/below/none", "https://blog.example/below/none answers 404."),
        ("old", "https://blog.example/below/old answers 301 and leads to /feed."),
        ("https://[/", "The URL is not well-formed."),
        ("ftp://there.example/feed", "Only http:// and https:// URLs are fetched."),
    ],
)
def test_what_cannot_be_asked_is_told(blog: Blog, named: str, sentence: str) -> None:
    ran = run(blog, "feed", named)
    assert (ran.status, ran.stderr) == (1, f"Error: {sentence}\n")
    assert run(blog, "feed", named, "--json").json == {"error": sentence}


def test_a_path_with_arguments(blog: Blog) -> None:
    ran = run(blog, "feed", "/below/2026/feed", "--json")
    assert (ran.status, ran.json["self_url"]) == (0, "https://blog.example/below/2026/feed")


def test_a_page_is_no_feed(blog: Blog) -> None:
    ran = run(blog, "feed", "about")
    assert ran.status == 1
    first, second = ran.lines
    assert first == "No feed at https://blog.example/below/about"
    assert second.startswith("✗ feed: It is no feed: its root is <title>. Is this the URL of the feed? ")


def test_what_a_visit_writes_is_not_kept(blog: Blog) -> None:
    def visited() -> Response:
        blog.db.session.add(blog.Post(slug="visited"))
        blog.db.session.commit()
        return Response(RSS, content_type="application/rss+xml")

    blog.app.add_url_rule("/visited", "visited", visited)
    run(blog, "feed", "visited")
    with blog.app.app_context():
        assert blog.db.session.scalars(sa.select(blog.Post)).all() == []


def test_another_feed_is_fetched_through_the_door_and_asked_again(blog: Blog) -> None:
    with Neighbour() as there:
        headers = [("Content-Type", "application/rss+xml"), ("ETag", '"1"')]
        there.answer("/feed", body=RSS, headers=headers)
        there.answer("/old", status=301, headers=[("Location", "/feed")])
        ran = run(blog, "feed", there.url("/old"))
        assert ran.status == 1
        assert ran.lines[0] == f"RSS 2.0 at {there.url('/feed')}"
        assert [line.split(".")[0] for line in ran.lines if line[0] in "✗!"] == [
            "! feed: It does not say where it is",
            "! feed: It is given in full to who has it already",
            "✗ item 1: The link is relative: '/1'",
        ]
        first, _, again = there.requests
        assert first.header("If-None-Match") is None
        assert (again.path, again.header("If-None-Match")) == ("/feed", '"1"')


def test_many_problems_are_counted(blog: Blog) -> None:
    items = b"<item><title>x</title></item>" * 300
    document = RSS.replace(b"</channel>", items + b"</channel>")
    blog.app.add_url_rule("/many", "many", lambda: Response(document, content_type="text/xml"))
    ran = run(blog, "feed", "many")
    assert ran.lines[-1].startswith("and ")
    assert run(blog, "feed", "many", "--json").json["untold"] == int(ran.lines[-1].split()[1])


@pytest.mark.parametrize("named", ["http://10.0.0.1/feed", "http://[::ffff:10.0.0.1]/"])
def test_an_address_of_the_inner_network_is_refused(blog: Blog, named: str) -> None:
    ran = run(blog, "feed", named)
    assert (ran.status, ran.stdout) == (1, "")
    assert "not public" in ran.stderr


def test_steering_characters_of_a_title_do_not_reach_the_terminal(blog: Blog) -> None:
    document = RSS.replace(b"There", "Th\u202eere".encode())
    blog.app.add_url_rule("/odd", "odd", lambda: Response(document, content_type="text/xml"))
    assert "\u202e" not in run(blog, "feed", "odd").stdout


def test_conditional_requests_carry_what_was_said(blog: Blog) -> None:
    seen: list[dict[str, Any]] = []

    def view() -> Response:
        seen.append(dict(request.headers))
        response = Response(RSS, content_type="text/xml")
        response.headers["Last-Modified"] = "Mon, 04 May 2026 12:00:00 GMT"
        return response

    blog.app.add_url_rule("/seen", "seen", view)
    assert run(blog, "feed", "seen", "--json").json["unchanged"] is False
    assert [each.get("If-Modified-Since") for each in seen] == [None, "Mon, 04 May 2026 12:00:00 GMT"]
