"""The example: its pages, its command, and who may come to its desk."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastfeedparser
import feedparser
import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from lxml import etree, html
from werkzeug.test import TestResponse

from example import create_app
from example.models import Post, db, slugify
from flask_linkback.models import Job, Mention
from flask_linkback.protocols import microformats, xmlrpc
from flask_linkback.protocols.microformats import Content
from tests.example_app import example_app
from tests.neighbours import Neighbour


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with example_app(tmp_path) as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


def post(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["post", *arguments])


def submit(client: FlaskClient, path: str, to: str = "", **fields: str) -> TestResponse:
    """Open a page and send its form."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert token
    return client.post(to or path, data={"csrf_token": token[1], **fields})


def mention(client: FlaskClient, neighbour: Neighbour, target: str, *, title: str = "A friend") -> str:
    """Let a neighbour link to a page and tell it; return the neighbour's URL."""
    html = f'<title>{title}</title><p>Have you read <a href="{target}">this</a>?</p>'
    neighbour.answer("/friend", body=html.encode(), headers=[("Content-Type", "text/html")])
    source = neighbour.url("/friend")
    body = xmlrpc.dump_call("pingback.ping", [source, target])
    answer = client.post("/linkback/pingback", data=body, content_type="text/xml")
    assert "saved" in xmlrpc.parse_response(answer.data)
    return source


# --- pages -------------------------------------------------------------------------------------------


def test_index_lists_the_newest_first(app: Flask, client: FlaskClient) -> None:
    assert "Nothing here yet" in client.get("/").text
    post(app, "--title", "One", "--html", "<p>1</p>")
    post(app, "--title", "Two", "--html", "<p>2</p>")
    page = client.get("/").text
    assert page.index("/posts/two") < page.index("/posts/one")


def test_post_shows_the_html_of_the_author(app: Flask, client: FlaskClient) -> None:
    post(app, "--title", "5 < 6", "--html", "<p>Indeed, <em>less</em>.</p>")
    answer = client.get("/posts/5-6")
    assert '<h1 class="p-name">5 &lt; 6</h1>' in answer.text
    assert "<em>less</em>" in answer.text
    assert '<link rel="pingback" href="http://blog.example/linkback/pingback">' in answer.text
    assert answer.headers["X-Pingback"] == "http://blog.example/linkback/pingback"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_page_that_is_not_there(client: FlaskClient) -> None:
    answer = client.get("/posts/nothing")
    assert answer.status_code == 404
    assert "There is no such page." in answer.text


@pytest.mark.parametrize("path", ["/", "/posts/nothing", "/desk/write", "/desk/mentions"])
def test_pages_carry_neither_style_nor_script_of_their_own(client: FlaskClient, path: str) -> None:
    page = client.get(path).text
    assert "<script" not in page
    assert "<style" not in page
    assert "style=" not in page
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//(?!blog\.example/)", page)


# --- feeds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"), [("/feed.atom", "Atom"), ("/feed.rss", "RSS"), ("/feed.json", "JSON Feed")]
)
def test_feed_has_the_posts_and_nothing_is_wrong_with_it(
    app: Flask, client: FlaskClient, path: str, kind: str
) -> None:
    post(app, "--title", "5 < 6 & so", "--html", "<p>Indeed, <em>less</em>.</p>")
    post(app, "--title", "Two", "--html", "<p>2</p>", "--slug", "two")
    said = judged(app, path)
    assert (said["format"], said["title"], said["items"], said["problems"]) == (kind, "Low Tide", 2, [])
    read = fastfeedparser.parse(client.get(path).data)
    assert [(each.title, each.link) for each in read.entries] == [
        ("Two", "http://blog.example/posts/two"),
        ("5 < 6 & so", "http://blog.example/posts/5-6-so"),
    ]
    assert {each.author for each in read.entries} == {"Low Tide"}
    assert "<p>Indeed, <em>less</em>.</p>" in client.get(path).text


def judged(app: Flask, named: str) -> dict[str, Any]:
    """What ``flask linkback feed`` says."""
    done = app.test_cli_runner().invoke(args=["linkback", "feed", named, "--json"])
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.output)
    return said


@pytest.mark.parametrize("path", ["/feed.atom", "/feed.rss", "/feed.json", "/2026/feed.atom"])
def test_feed_says_whether_anything_changed(
    app: Flask, client: FlaskClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("example.models.now", lambda: MAY)
    for title in ("One", "Two"):
        post(app, "--title", title, "--html", "<p>1</p>")
    for change in ("edit", "delete"):
        first = client.get(path)
        known = {"If-None-Match": first.headers["ETag"]}
        assert client.get(path, headers=known).status_code == 304
        if change == "edit":
            monkeypatch.undo()
            post(app, "--title", "One", "--html", "<p>1, edited</p>")
        else:
            submit(client, "/desk/write/two", "/desk/delete/two")
        again = client.get(path, headers=known)
        assert again.status_code == 200
        assert again.data != first.data


MAY = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_feed_of_a_year(app: Flask, client: FlaskClient) -> None:
    post(app, "--title", "Now", "--html", "<p>1</p>")
    post(app, "--title", "Then", "--html", "<p>2</p>")
    with app.app_context():
        Post.at("then").created_at = MAY.replace(year=2019)
        db.session.commit()
    read = feedparser.parse(io.BytesIO(client.get("/2019/feed.atom").data))
    assert (read.feed.title, [each.title for each in read.entries]) == ("Low Tide 2019", ["Then"])
    assert judged(app, "/2019/feed.atom")["problems"] == []
    assert read.feed.id != feedparser.parse(io.BytesIO(client.get("/feed.atom").data)).feed.id
    assert client.get("/2018/feed.atom").status_code == 404
    assert client.get("/20199/feed.atom").status_code == 404


@pytest.mark.parametrize("path", ["/feed.atom", "/feed.rss"])
def test_feed_says_what_a_post_answers(app: Flask, client: FlaskClient, path: str) -> None:
    post(app, "--title", "Yes", "--html", "<p>Yes.</p>", "--in-reply-to", "http://127.0.0.1:9/there")
    root = etree.fromstring(client.get(path).data)
    answered = [each.get("ref") for each in root.iter("{http://purl.org/syndication/thread/1.0}in-reply-to")]
    assert answered == ["http://127.0.0.1:9/there"]
    assert judged(app, path)["problems"] == []


def test_feed_without_posts(app: Flask, client: FlaskClient) -> None:
    assert judged(app, "feeds.atom")["items"] == 0
    assert client.get("/feed.atom").data == client.get("/feed.atom").data


def test_pages_lead_to_the_feeds(app: Flask, client: FlaskClient) -> None:
    post(app, "--title", "One", "--html", "<p>1</p>")
    everywhere = [
        ("application/atom+xml", "Low Tide", "http://blog.example/feed.atom"),
        ("application/rss+xml", "Low Tide", "http://blog.example/feed.rss"),
        ("application/feed+json", "Low Tide", "http://blog.example/feed.json"),
    ]
    assert offered(client.get("/")) == offered(client.get("/posts/nothing")) == everywhere
    year = datetime.now(UTC).year
    of_year = ("application/atom+xml", f"All posts of {year}", f"http://blog.example/{year}/feed.atom")
    assert offered(client.get("/posts/one")) == [*everywhere, of_year]
    for _, _, href in [*everywhere, of_year]:
        assert client.get(href).status_code == 200


def offered(page: TestResponse) -> list[tuple[str, str, str]]:
    links = html.fromstring(page.text).xpath("//head/link[@rel='alternate']")
    return [(each.get("type"), each.get("title"), each.get("href")) for each in links]


# --- the command -------------------------------------------------------------------------------------


def test_command_prints_the_address(app: Flask) -> None:
    done = post(app, "--title", "Café in the Rain", "--html", "<p>Wet.</p>")
    assert done.exit_code == 0
    assert done.output == "http://blog.example/posts/caf%C3%A9-in-the-rain\n"
    assert app.test_client().get(done.output.strip()).status_code == 200


def test_slug_given_twice_edits(app: Flask, client: FlaskClient) -> None:
    first = post(app, "--title", "Draft", "--html", "<p>1</p>", "--slug", "Tides")
    second = post(app, "--title", "Final", "--html", "<p>2</p>", "--slug", "tides")
    assert first.output == second.output == "http://blog.example/posts/tides\n"
    with app.app_context():
        (only,) = Post.newest()
        assert (only.title, only.html) == ("Final", "<p>2</p>")
        assert only.updated_at is not None
        assert only.created_at <= only.updated_at
    assert "edited" in client.get("/posts/tides").text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--title", "  ", "--html", "<p>1</p>"),
        ("--title", "Empty", "--html", " "),
        ("--title", "!?", "--html", "<p>1</p>"),
        ("--title", "x" * 201, "--html", "<p>1</p>"),
        ("--title", "No text"),
    ],
)
def test_command_refuses_what_is_no_post(app: Flask, arguments: tuple[str, ...]) -> None:
    done = post(app, *arguments)
    assert done.exit_code == 2
    assert "Error: " in done.output
    assert "Traceback" not in done.output


def test_post_owes_a_linkback_to_what_it_links_to(app: Flask, neighbour: Neighbour) -> None:
    post(app, "--title", "A link", "--html", f'<p><a href="{neighbour.url("/page")}">there</a></p>')
    assert neighbour.wait_for(1)[0].path == "/page"


def test_slugs() -> None:
    assert slugify("  What the harbour keeps! ") == "what-the-harbour-keeps"
    assert slugify("Über_uns / 東京") == "über-uns-東京"
    assert slugify("../..") == ""


# --- the desk ----------------------------------------------------------------------------------------


def test_form_publishes_and_edits(app: Flask, client: FlaskClient) -> None:
    answer = submit(client, "/desk/write", title="Low water", slug="", html="<p>1</p>")
    assert (answer.status_code, answer.location) == (303, "/posts/low-water")
    assert "Published." in client.get(answer.location).text
    answer = submit(client, "/desk/write/low-water", title="High water", slug="other", html="<p>2</p>")
    assert answer.location == "/posts/low-water"  # an address stays
    assert '<h1 class="p-name">High water</h1>' in client.get("/posts/low-water").text
    assert client.get("/desk/write/nothing").status_code == 404


def test_form_publishes_a_reply_and_a_like(app: Flask, client: FlaskClient, neighbour: Neighbour) -> None:
    there, liked = neighbour.url("/there"), neighbour.url("/liked")
    submit(client, "/desk/write", title="Yes", html="<p>Indeed.</p>", in_reply_to=f" {there} ")
    submit(client, "/desk/write", title="Good", like_of=liked)
    assert said_by(client, "/posts/yes", there).type == "reply"
    assert f'value="{there}"' in client.get("/desk/write/yes").text
    like = said_by(client, "/posts/good", liked)
    assert (like.type, like.title, like.author_name) == ("like", "Good", "Low Tide")
    assert (like.author_url, like.url) == ("http://blog.example/", "http://blog.example/posts/good")
    assert like.published_at is not None
    assert {each.path for each in neighbour.wait_for(2)} >= {"/there", "/liked"}
    submit(client, "/desk/write/yes", title="Yes", html="<p>Indeed.</p>")
    assert said_by(client, "/posts/yes", there).type == "mention"


def said_by(client: FlaskClient, path: str, target: str) -> Content:
    """What others read in a page of ours about a page of theirs."""
    reading = microformats.read(
        client.get(path).data,
        url=f"http://blog.example{path}",
        wanted=lambda url: url if url == target else None,
        now=datetime.now(UTC),
    )
    return reading.about(target)


@pytest.mark.parametrize(
    "fields",
    [
        {"html": ""},
        {"html": "", "in_reply_to": "https://a.example/"},
        {"in_reply_to": "https://a.example/", "like_of": "https://a.example/"},
        {"in_reply_to": "javascript:alert(1)"},
        {"like_of": "there"},
    ],
)
def test_form_refuses_what_is_no_reply_and_no_like(client: FlaskClient, fields: dict[str, str]) -> None:
    answer = submit(client, "/desk/write", **{"title": "Yes", "html": "<p>1</p>", **fields})
    assert answer.status_code == 422
    assert client.get("/posts/yes").status_code == 404


def test_post_is_deleted(app: Flask, client: FlaskClient) -> None:
    post(app, "--title", "Low water", "--html", "<p>1</p>")
    answer = submit(client, "/desk/write/low-water", "/desk/delete/low-water")
    assert (answer.status_code, answer.location) == (303, "/")
    assert "Deleted." in client.get("/").text
    assert client.get("/posts/low-water").status_code in (404, 410)
    assert submit(client, "/desk/write", "/desk/delete/low-water").status_code == 404


def test_form_keeps_what_was_written_when_it_refuses(app: Flask, client: FlaskClient) -> None:
    post(app, "--title", "Low water", "--html", "<p>1</p>")
    answer = submit(client, "/desk/write", title="Low  Water", slug="", html="<p>\n2 & 3</p>")
    assert answer.status_code == 422
    assert "There is a post with this slug already" in answer.text
    assert "2 &amp; 3" in answer.text
    answer = submit(client, "/desk/write/low-water", title="", html="<p>2</p>")
    assert answer.status_code == 422
    assert "<p>1</p>" in client.get("/posts/low-water").text


@pytest.mark.parametrize("path", ["/desk/write", "/desk/write/one", "/desk/delete/one", "/desk/mentions/1"])
@pytest.mark.parametrize("token", [{}, {"csrf_token": ""}, {"csrf_token": "-"}, {"csrf_token": "né"}])
def test_form_of_somebody_else_is_refused(
    app: Flask, client: FlaskClient, path: str, token: dict[str, str]
) -> None:
    answer = client.post(path, data={"title": "One", "html": "<p>1</p>", "status": "approved", **token})
    assert answer.status_code == 400
    assert "reload the page" in answer.text
    with app.app_context():
        assert Post.newest() == []


@pytest.mark.parametrize(
    "visitor",
    [
        {"environ_overrides": {"REMOTE_ADDR": "192.0.2.7"}},
        {"environ_overrides": {"REMOTE_ADDR": ""}},
        {"base_url": "http://blog.example"},  # DNS rebinding: a foreign name that leads here
        {"base_url": "http://localhost.evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/desk/write", "/desk/mentions"])
def test_desk_answers_only_at_home(client: FlaskClient, path: str, visitor: dict[str, Any]) -> None:
    answer = client.get(path, **visitor)
    assert answer.status_code == 403
    assert "no login" in answer.text
    assert "/desk" not in client.get("/", **visitor).text


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:5000", "http://[::1]:5000", "http://localhost"])
def test_desk_has_several_names(client: FlaskClient, base_url: str) -> None:
    assert client.get("/desk/write", base_url=base_url).status_code == 200


@pytest.mark.parametrize(("status", "shown"), [("approved", True), ("rejected", False)])
def test_mention_waits_until_it_is_decided(
    app: Flask, client: FlaskClient, neighbour: Neighbour, status: str, shown: bool
) -> None:
    target = post(app, "--title", "Tides", "--html", "<p>1</p>").output.strip()
    source = mention(client, neighbour, target)
    assert source not in client.get("/posts/tides").text
    desk = client.get("/desk/mentions").text
    assert source in desk
    assert "A friend" in desk
    answer = submit(client, "/desk/mentions", "/desk/mentions/1", status=status)
    assert (answer.status_code, answer.location) == (303, "/desk/mentions")
    desk = client.get("/desk/mentions").text
    assert f"is {status}" in desk
    assert source not in desk
    assert (source in client.get("/posts/tides").text) is shown
    assert ("1 mention" in client.get("/").text) is shown


def test_decision_needs_a_mention_and_a_verdict(
    app: Flask, client: FlaskClient, neighbour: Neighbour
) -> None:
    target = post(app, "--title", "Tides", "--html", "<p>1</p>").output.strip()
    mention(client, neighbour, target)
    assert submit(client, "/desk/mentions", "/desk/mentions/99", status="approved").status_code == 404
    assert submit(client, "/desk/mentions", "/desk/mentions/1", status="excellent").status_code == 400
    with app.app_context():
        assert db.session.get_one(Mention, 1).status == "pending"


def test_what_a_stranger_says_is_text(app: Flask, client: FlaskClient, neighbour: Neighbour) -> None:
    target = post(app, "--title", "Tides", "--html", "<p>1</p>").output.strip()
    mention(client, neighbour, target, title="<script>alert(1)</script>")
    assert "<script" not in client.get("/desk/mentions").text
    submit(client, "/desk/mentions", "/desk/mentions/1", status="approved")
    page = client.get("/posts/tides").text
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


# --- the factory -------------------------------------------------------------------------------------


def test_settings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path}/other.db")
    monkeypatch.setenv("FLASK_LINKBACK_BASE_URL", "https://other.example")
    app = create_app()
    assert post(app, "--title", "One", "--html", "<p>1</p>").output == "https://other.example/posts/one\n"
    assert (tmp_path / "other.db").exists()
    with app.app_context():
        db.engine.dispose()


def test_nothing_is_owed_when_a_post_is_refused(app: Flask) -> None:
    post(app, "--title", "", "--html", '<a href="http://127.0.0.1:9/">x</a>')
    with app.app_context():
        assert db.session.query(Job).count() == 0
