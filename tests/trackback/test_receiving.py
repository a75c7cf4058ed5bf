"""Receiving: what the addresses of trackbacks take, what they answer, and how a page names its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from flask_linkback.models import Mention, MentionState
from flask_linkback.protocols import trackback
from flask_linkback.protocols.discovery import discover
from flask_linkback.templating import linkback_head
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import (
    CALLER,
    Clock,
    add,
    heard,
    mention,
    mentions,
    names,
    page,
    request,
    rows,
    work,
)

PLACE = "/linkback/trackback/"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def blogs(blogs: Callable[..., Blog]) -> Callable[..., Blog]:
    """A maker of blogs that take trackbacks."""
    return lambda url, **settings: blogs(
        url, **{"PROTOCOLS": ["pingback", "webmention", "trackback"], **settings}
    )


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock) -> Blog:
    return blogs(sqlite_url)


def post(
    blog: Blog, slug: str, body: bytes | str, *, caller: str = CALLER, place: str = "post/", **options: Any
) -> Any:
    """Post to the address of a post's trackbacks."""
    options.setdefault("content_type", FORM)
    return blog.app.test_client().post(
        f"{PLACE}{place}{slug}", data=body, environ_overrides={"REMOTE_ADDR": caller}, **options
    )


def ping(blog: Blog, slug: str, **fields: str) -> str | None:
    """Send a trackback and return the message of the error, None when all went well."""
    return answer(post(blog, slug, urlencode(fields)))


def answer(response: Any, status: int = 200) -> str | None:
    """Hold an answer against what is documented; return the message of the error, if it is one."""
    assert response.status_code == status
    assert response.content_type == "text/xml; charset=utf-8"
    assert response.data.startswith(b"<?xml")
    parsed = trackback.parse_response(response.data)
    assert parsed.ok == (not parsed.message)
    assert len(parsed.message) <= 200
    return parsed.message or None


# --- what is taken ------------------------------------------------------------------------------------


def test_a_ping_is_verified_like_every_mention_before_it_is_shown(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=True)
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target))
    claims = {"title": "Buy <b>this</b>", "excerpt": "cheap!", "blog_name": "Ann\u202e's"}
    with heard(blog) as said:
        assert ping(blog, "hello", url=neighbour.url("/source"), **claims) is None
        waiting = mention(blog)
        assert (waiting.protocol, waiting.state, waiting.shown) == (
            "trackback",
            MentionState.received,
            False,
        )
        assert (waiting.target, waiting.target_key) == (target, "Post:1")
        assert neighbour.requests == []
        work(blog)
    assert names(said) == ["mention_received", "mention_verified", "mention_moderated"]
    taken = mention(blog)
    # what the page says counts, and what it does not say the ping may
    assert (taken.title, taken.content) == ("Their page", "Do read this, it is good.")
    assert taken.author_name == "Ann's"
    assert taken.shown


def test_what_a_ping_says_stands_in_for_what_the_page_does_not_say(
    blog: Blog, clock: Clock, neighbour: Neighbour
) -> None:
    target = add(blog, "hello")
    neighbour.answer("/source", body=f'<a href="{target}"><img src="x.png"></a>'.encode())
    claims = {"title": "My <i>title</i>", "excerpt": "<p>Some " + "words " * 80, "blog_name": "A blog"}
    assert ping(blog, "hello", url=neighbour.url("/source"), **claims) is None
    work(blog)
    taken = mention(blog)
    assert (taken.title, taken.author_name) == ("My title", "A blog")
    assert taken.content.startswith("Some words")
    assert len(taken.content) <= 200
    clock.move(300)
    with heard(blog) as said:
        assert ping(blog, "hello", url=neighbour.url("/source")) is None
        work(blog)
    assert len(neighbour.requests) == 2
    assert names(said) == []  # it says what it said
    assert mention(blog).title == "My title"


def test_what_a_ping_says_of_a_page_without_the_link_is_never_shown(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, AUTO_APPROVE=True)
    add(blog, "hello")
    neighbour.answer("/source", body=page())
    assert ping(blog, "hello", url=neighbour.url("/source"), title="Buy this") is None
    work(blog)
    assert (mention(blog).state, mention(blog).shown) == (MentionState.failed, False)
    assert b"Buy this" not in blog.app.test_client().get("/post/hello").data


def test_a_repeat_goes_well_and_is_no_second_mention(blog: Blog, neighbour: Neighbour) -> None:
    add(blog, "hello")
    for _ in range(3):
        assert ping(blog, "hello", url=neighbour.url("/source")) is None
    assert len(mentions(blog)) == 1


@pytest.mark.parametrize(
    ("content_type", "field", "encoding"),
    [
        (f"{FORM}; charset=iso-8859-1", {}, "latin-1"),
        (FORM, {"charset": "iso-8859-1"}, "latin-1"),
        (FORM, {}, "utf-8"),
        (FORM, {}, "latin-1"),
        ("", {}, "utf-8"),
    ],
)
def test_charsets(blog: Blog, content_type: str, field: dict[str, str], encoding: str) -> None:
    add(blog, "hello")
    body = urlencode({"url": "http://there.example/", "title": "Größe", **field}, encoding=encoding)
    assert answer(post(blog, "hello", body, content_type=content_type)) is None
    assert mention(blog).title == "Größe"


def test_the_path_may_be_any_that_a_page_has(blog: Blog) -> None:
    blog.app.add_url_rule("/", "home", lambda: "home")
    blog.app.add_url_rule("/page/<path:name>/", "page", lambda name: name)
    blog.linkback.target("home")(lambda: "home")
    blog.linkback.target("page")(lambda name: name)
    add(blog, "über uns & 100%")
    for number, (path, target) in enumerate(
        {
            "post/%C3%BCber%20uns%20&%20100%25": "https://blog.example/post/%C3%BCber%20uns%20&%20100%25",
            "post/über uns & 100%": "https://blog.example/post/%C3%BCber%20uns%20&%20100%25",
            "page/a/b/": "https://blog.example/page/a/b/",
            "": "https://blog.example/",
        }.items()
    ):
        body = urlencode({"url": f"http://there.example/{number}"})
        assert answer(post(blog, path, body, place="")) is None
        assert mentions(blog)[-1].target == target
    assert [each.target_key for each in mentions(blog)] == [
        "Post:1",
        "Post:1",
        "page?name=a%2Fb",
        "home?",
    ]


def test_base_url_may_have_a_path(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, base_url="https://example.org/the/blog")
    target = add(blog, "hello")
    assert ping(blog, "hello", url="http://there.example/") is None
    assert mention(blog).target == target


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "fields", "message"),
    [
        ("hello", {"title": "x"}, "The url is missing."),
        ("hello", {"url": ""}, "The url is missing."),
        ("hello", {"url": "there"}, "The url is no http or https URL."),
        ("hello", {"url": "javascript:alert(1)"}, "The url is no http or https URL."),
        ("hello", {"url": "http://user:pw@there.example/"}, "The source is no URL that we can use."),
        (
            "hello",
            {"url": "https://blog.example/post/hello#x"},
            "Source and target are the same page.",
        ),
        ("missing", {"url": "http://there.example/"}, "There is no such page."),
        ("a/b", {"url": "http://there.example/"}, "There is no such page."),
        ("\0", {"url": "http://there.example/"}, "There is no such page."),
        ("%ff", {"url": "http://there.example/"}, "There is no such page."),
        ("closed", {"url": "http://there.example/"}, "The target does not accept linkbacks."),
    ],
)
def test_an_error_is_told_with_http_200(
    blog: Blog, slug: str, fields: dict[str, str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    add(blog, "hello")
    add(blog, "closed", closed=True)
    work(blog)
    caplog.set_level("INFO", "flask_linkback")
    caplog.clear()
    assert answer(post(blog, slug.replace("\0", "%00"), urlencode(fields))) == message
    assert rows(blog, Mention) == []
    assert work(blog) == 0
    (record,) = caplog.records
    assert (record.name, vars(record)["reason"]) == ("flask_linkback.trackback", message)


def test_only_forms_are_taken(blog: Blog) -> None:
    add(blog, "hello")
    body = urlencode({"url": "http://there.example/"})
    for content_type in ("application/json", "text/xml", "multipart/form-data; boundary=x"):
        assert answer(post(blog, "hello", body, content_type=content_type)) == "The ping is no form."
    assert mentions(blog) == []


def test_too_many_are_an_error_with_retry_after(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock
) -> None:
    blog = blogs(sqlite_url, RATE_LIMITS={"caller": 2})
    add(blog, "hello")
    for number in range(2):
        body = urlencode({"url": f"http://there.example/{number}"})
        assert answer(post(blog, "hello", body, caller="198.41.0.4")) is None
    clock.move(10)
    response = post(blog, "hello", urlencode({"url": "http://there.example/2"}), caller="198.41.0.4")
    assert answer(response) == "Too many linkbacks: please come back later."
    assert response.headers["Retry-After"] == "50"
    assert len(mentions(blog)) == 2


def test_the_application_that_fails_is_500(blog: Blog) -> None:
    blog.linkback.target("about")(lambda: None.page)  # type: ignore[attr-defined]
    body = urlencode({"url": "http://there.example/"})
    assert answer(post(blog, "about", body, place=""), 500) == "The site failed to look the target up."


def test_who_opens_the_address_is_sent_to_the_page(serve: Callable[..., Blog], sqlite_url: str) -> None:
    blog = serve(sqlite_url, PROTOCOLS="trackback")
    for path in ("post/hello", "post/hello?__mode=rss", "", "post/%C3%BC"):
        for method in ("GET", "HEAD"):
            code, headers, _ = request(method, f"{blog.base_url}{PLACE}{path}")
            assert (code, headers["Location"]) == (302, f"{blog.base_url}/{path.partition('?')[0]}")
    assert request("PUT", f"{blog.base_url}{PLACE}post/hello", b"x")[0] == 405


def test_nobody_is_sent_anywhere_else(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, base_url=None, HOSTS="blog.example", content=None)
    client = blog.app.test_client()
    assert client.get(f"{PLACE}post/hello", base_url="https://evil.example").status_code == 404
    response = client.get(f"{PLACE}post/hello", base_url="https://blog.example")
    assert response.headers["Location"] == "https://blog.example/post/hello"


def test_by_default_none_are_taken(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, PROTOCOLS=["pingback", "webmention"])
    add(blog, "hello")
    assert post(blog, "hello", urlencode({"url": "http://there.example/"})).status_code == 404
    assert "trackback" not in blog.app.test_client().get("/post/hello").text


# --- where a page says so -----------------------------------------------------------------------------


def test_the_head_has_the_rdf_behind_the_links(blog: Blog) -> None:
    slug = "hello-é-->&\"'"
    target = add(blog, slug)
    body = blog.app.test_client().get(target).text
    head = body.partition("<head>")[2].partition("</head>")[0]
    found = [head.index(each) for each in ('rel="pingback"', 'rel="webmention"', "<rdf:RDF")]
    assert found == sorted(found)
    with blog.app.app_context():
        page_url = blog.site.url_for("post", slug=slug)
    offer = discover(page_url, body=body.encode())
    place = offer.endpoint("trackback")
    assert place is not None
    assert re.fullmatch(r"https://blog\.example/linkback/trackback/post/hello-[\x21-\x7e]+", place)
    response = blog.app.test_client().post(place, data={"url": "http://there.example/"})
    assert answer(response) is None
    assert mention(blog).target_key == "Post:1"


def test_the_rdf_names_the_page_as_the_template_says(blog: Blog) -> None:
    add(blog, "hello")
    with blog.app.test_request_context("/post/hello"):
        assert 'dc:title="https://blog.example/post/hello"' in linkback_head()
        assert 'dc:title="A &quot;title&quot; -&#45;&gt;"' in linkback_head('A "title" -->')
    with blog.app.test_request_context("/about"):
        assert linkback_head() == ""


def test_a_page_whose_address_cannot_be_told_has_none_for_trackbacks(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = blogs(sqlite_url)

    @blog.app.url_value_preprocessor
    def take_away(endpoint: str | None, values: dict[str, Any] | None) -> None:
        if endpoint == "post" and values is not None:
            values.pop("slug")

    with blog.app.test_request_context("/post/hello"):
        blog.app.preprocess_request()
        assert "trackback" not in linkback_head()
        assert 'rel="webmention"' in linkback_head()
