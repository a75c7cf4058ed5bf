"""Receiving: what the endpoint takes and refuses, and what the page of a webmention says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import sqlalchemy as sa

from flask_linkback.models import Mention, MentionState, MentionStatus, digest
from flask_linkback.protocols.discovery import discover
from tests.apps import Blog, mounted, protected
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
    request,
    work,
)
from tests.sending.test_pages import delete, moved, publish
from tests.webmention.tools import ENDPOINT, FORM, post, send, sent, status, told

# --- webmention.rocks ---------------------------------------------------------------------------------


def test_rocks_receive_1(serve: Callable[..., Blog], database_url: str, neighbour: Neighbour) -> None:
    """A valid source and target: 201, which needs a Location, and the mention shows up."""
    blog = serve(database_url, AUTO_APPROVE=True, content=None)
    target = add(blog, "hello")
    neighbour.answer("/post", body=page(target))
    body = urlencode({"source": neighbour.url("/post"), "target": target}).encode()
    code, headers, answer = request("POST", blog.base_url + ENDPOINT, body, {"Content-Type": FORM})
    assert code == 201
    location = headers["Location"]
    assert location.startswith(f"{blog.base_url}{ENDPOINT}/")
    assert answer.decode() == f"Thank you. What becomes of it: {location}\n"
    assert neighbour.requests == []  # nothing is fetched while the caller waits
    work(blog)
    taken = mention(blog)
    assert (taken.state, taken.protocol, taken.target_key) == (MentionState.verified, "webmention", "Post:1")
    assert (taken.title, taken.content) == ("Their page", "Do read this, it is good.")
    assert f'<li id="pingback-{taken.id}">'.encode() in request("GET", target)[2]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("jwoijgoi", None),
        (None, "jwoijgoi"),
        ("jwoijgoi", "owijegoij"),
    ],
)
def test_rocks_receive_2(blog: Blog, neighbour: Neighbour, source: str | None, target: str | None) -> None:
    """A source or target that is no URL: 400, and nothing shows up."""
    url = add(blog, "hello")
    work(blog)
    response = send(blog, source or neighbour.url("/post"), target or url)
    assert response.status_code == 400
    assert "Location" not in response.headers
    assert work(blog) == 0
    assert mentions(blog) == []


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("", "/post/hello", "bad_request"),
        ("http://there.example/", "", "bad_request"),
        ("ftp://there.example/", "/post/hello", "bad_request"),
        ("javascript:alert(1)", "/post/hello", "bad_request"),
        ("http://there.example/ a", "/post/hello", "bad_request"),
        ("http://there.example/" + "x" * 2048, "/post/hello", "bad_request"),
        ("/post/hello#one", "/post/hello#two", "bad_request"),
        ("http://user:secret@there.example/", "/post/hello", "bad_source"),
        ("http://there.example:0/", "/post/hello", "bad_source"),
        ("http://there.example/", "https://foreign.example/post/hello", "bad_target"),
        ("http://there.example/", "https://user@blog.example/post/hello", "bad_target"),
        ("http://there.example/", "/nowhere", "no_such_target"),
        ("http://there.example/", "/post/missing", "no_such_target"),
        ("http://there.example/", "/post/%00", "no_such_target"),
        ("http://there.example/", "/about", "target_closed"),
        ("http://there.example/", "/post/closed", "target_closed"),
    ],
)
def test_what_the_specification_calls_an_error_is_400(
    blog: Blog, source: str, target: str, error: str
) -> None:
    add(blog, "hello")
    add(blog, "closed", closed=True)
    work(blog)
    urls = [blog.base_url + url if url.startswith("/") else url for url in (source, target)]
    response = send(blog, *urls, headers={"Accept": "application/json"})
    assert (response.status_code, response.json["error"]) == (400, error)
    assert 0 < len(response.json["message"]) <= 200
    text = send(blog, *urls)
    assert (text.status_code, text.content_type) == (400, "text/plain; charset=utf-8")
    assert text.text.strip() == response.json["message"]
    assert mentions(blog) == []
    assert work(blog) == 0


@pytest.mark.parametrize("more", ["x" * 16 * 1024, "&x" * 20])
def test_more_than_any_webmention_is_413(blog: Blog, more: str) -> None:
    good = urlencode({"source": "http://there.example/", "target": add(blog, "hello")})
    response = post(blog, f"{good}&more={more}", headers={"Accept": "application/json"})
    assert (response.status_code, response.json) == (
        413,
        {"error": "too_large", "message": "The request is too large."},
    )
    assert mentions(blog) == []


def test_parameters_may_stand_among_others_but_once(blog: Blog) -> None:
    target = add(blog, "hello")
    good = urlencode({"source": "http://there.example/", "vouch": "x", "target": target, "code": "y"})
    assert post(blog, good).status_code == 201
    assert post(blog, f"{good}&source=http://other.example/").status_code == 400
    assert post(blog, f"{good}&target={target}").status_code == 400


def test_only_forms_are_taken(blog: Blog) -> None:
    target = add(blog, "hello")
    body = urlencode({"source": "http://there.example/", "target": target})
    for content_type in ("application/json", "text/plain", "multipart/form-data; boundary=x", "text/xml"):
        response = post(blog, body, content_type=content_type)
        assert response.status_code == 415
        assert FORM in response.text
    assert mentions(blog) == []
    for number, content_type in enumerate((f"{FORM}; charset=utf-8", FORM.upper(), "")):
        one = body.replace("there", f"there{number}")
        assert post(blog, one, content_type=content_type).status_code == 201


def test_the_application_that_fails_is_500(
    blog: Blog, neighbour: Neighbour, caplog: pytest.LogCaptureFixture
) -> None:
    @blog.linkback.target("about")
    def broken() -> Any:
        return None.page  # type: ignore[attr-defined]

    response = send(blog, neighbour.url("/source"), "https://blog.example/about")
    assert response.status_code == 500
    assert "page" not in response.text.replace("up.", "")
    assert len([each for each in caplog.records if each.exc_info]) == 1
    assert mentions(blog) == []


def test_too_many_calls_are_429(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock) -> None:
    blog = blogs(sqlite_url, RATE_LIMITS={"caller": 3, "target": 5})
    target = add(blog, "hello")
    codes = [
        send(blog, f"http://there.example/{number}", target, caller="198.41.0.4").status_code
        for number in range(4)
    ]
    assert codes == [201, 201, 201, 429]
    clock.move(20)
    response = send(
        blog,
        "http://there.example/9",
        target,
        caller="198.41.0.4",
        headers={"Accept": "application/json"},
    )
    assert (response.status_code, response.json["error"]) == (429, "too_many")
    assert response.headers["Retry-After"] == "40"
    assert len(mentions(blog)) == 3
    for number in range(20, 22):  # another caller, the same page
        assert send(blog, f"http://there.example/{number}", target, caller="198.41.0.5").status_code == 201
    assert send(blog, "http://there.example/30", target, caller="198.41.0.6").status_code == 429
    assert len(mentions(blog)) == 5
    clock.move(60)
    assert send(blog, "http://there.example/9", target, caller="198.41.0.4").status_code == 201


def test_each_refusal_leaves_one_record(blog: Blog, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flask_linkback")
    send(blog, "http://there.example/", "https://blog.example/nowhere")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("flask_linkback.webmention", "INFO")
    assert vars(record)["reason"] == "no_such_target"


# --- what is taken ------------------------------------------------------------------------------------


def test_a_fragment_counts_neither_in_the_source_nor_in_the_target(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(f"{target}#comments"))
    first = sent(blog, neighbour.url("/source#top"), f"{target}#part")
    assert sent(blog, neighbour.url("/source"), f"{target}?x=1") == first
    work(blog)
    assert mention(blog).state is MentionState.verified


def test_a_page_that_links_to_itself_mentions_nobody(blog: Blog) -> None:
    target = add(blog, "hello")
    for source in (f"{target}?x=1", target.replace("https", "http"), f"{target}?x=2#part"):
        response = send(blog, source, target)
        assert (response.status_code, response.text) == (400, "Source and target are the same page.\n")
    other = add(blog, "other")
    assert send(blog, other, target).status_code == 201


def test_a_repeat_is_201_again_and_owes_a_look(blog: Blog, clock: Clock, neighbour: Neighbour) -> None:
    clock.set_for(blog)
    target, source = add(blog, "hello"), neighbour.url("/source")
    neighbour.answer("/source", body=page(target))
    location = sent(blog, source, target)
    for _ in range(3):
        assert sent(blog, source, target) == location
    assert len(pending(blog, "verify_source")) == 1
    work(blog)
    neighbour.answer("/source", body=page(target, title="Another"))
    with heard(blog) as said:
        assert sent(blog, source, target) == location
        work(blog)
        assert len(neighbour.requests) == 1  # not before the interval is over
        clock.move(300)
        work(blog)
    assert names(said) == ["mention_updated"]
    assert (len(mentions(blog)), mention(blog).title) == (1, "Another")


@pytest.mark.parametrize(
    ("media_type", "body", "found"),
    [
        ("text/html", '<a href="{}">x</a>', True),
        ("text/html", '<img src="{}">', True),
        ("text/html", '<blockquote cite="{}">x</blockquote>', True),
        ("text/html", '<link rel="in-reply-to" href="{}">', True),
        ("text/html", "<p>{}</p>", False),
        ("text/html", '<!-- <a href="{}">x</a> -->', False),
        ("application/xhtml+xml", '<video src="{}"></video>', True),
        ("application/json", '{{"like": "{}"}}', True),
        ("application/ld+json; charset=utf-8", '[{{"a": ["{}"]}}]', True),
        ("application/json", '{{"text": "I like {} much"}}', False),
        ("application/json", '{{"{}": 1}}', False),
        ("text/plain", "Do read {}, please.", True),
        ("text/plain", "Do read {}-2, please.", False),
        ("image/png", '<a href="{}">x</a>', False),
        ("application/pdf", "{}", False),
    ],
)
def test_each_media_type_has_its_rules(
    blog: Blog, neighbour: Neighbour, media_type: str, body: str, found: bool
) -> None:
    target = add(blog, "hello")
    headers = [("Content-Type", media_type)]
    neighbour.answer("/source", body=body.format(target).encode(), headers=headers)
    location = sent(blog, neighbour.url("/source"), target)
    work(blog)
    assert told(blog, location)[0] == ("verified" if found else "refused")


def test_a_pingback_that_waits_for_the_same_source_keeps_its_own_rules(
    blog: Blog, neighbour: Neighbour
) -> None:
    first, second = add(blog, "a"), add(blog, "b")
    neighbour.answer("/source", body=f'<img src="{first}"><img src="{second}">'.encode())
    ping(blog, neighbour.url("/source"), first)
    sent(blog, neighbour.url("/source"), second)
    work(blog)
    assert [each.state for each in mentions(blog)] == [MentionState.failed, MentionState.verified]
    assert len(neighbour.requests) == 1


# --- what became of it --------------------------------------------------------------------------------


def test_the_page_of_a_webmention_follows_its_life(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, SOURCE_INTERVAL_SECONDS=0)
    target, source = add(blog, "hello"), neighbour.url("/source")

    def decide(decision: str) -> tuple[str, str | None, str]:
        with blog.app.app_context():
            blog.db.session.execute(sa.update(Mention).values(status=decision))
            blog.db.session.commit()
        return told(blog, location)

    neighbour.answer("/source", body=page())
    location = sent(blog, source, target)
    assert told(blog, location) == ("pending", None, "")
    work(blog)
    assert told(blog, location) == ("refused", None, "no_link")
    neighbour.answer("/source", body=page(target))
    sent(blog, source, target)
    assert told(blog, location) == ("pending", None, "")
    work(blog)
    assert told(blog, location) == ("verified", "waiting", "")
    assert decide("approved") == ("verified", "shown", "")
    assert decide("rejected") == decide("spam") == ("verified", "not_shown", "")
    decide("approved")
    neighbour.answer("/source", status=410)
    sent(blog, source, target)
    work(blog)
    assert told(blog, location) == ("gone", None, "http_410")


def test_the_page_of_a_webmention_stays_where_it_is(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    """Whatever becomes of the target; and nobody finds it who was not told."""
    blog = blogs(database_url)
    old, new = add(blog, "old"), add(blog, "new")
    source = neighbour.url("/source")
    neighbour.answer("/source", body=page(old))
    location = sent(blog, source, old)
    assert location.rpartition("/")[2] not in (mention(blog).key, digest(source, "Post:1"))
    work(blog)
    moved(blog, old, new)
    assert told(blog, location) == ("verified", "waiting", "")
    assert sent(blog, source, old) == location
    publish(blog, old)  # another page has the old address
    other = sent(blog, source, old)
    assert other != location
    assert told(blog, other) == ("pending", None, "")
    delete(blog, "new")
    assert told(blog, location) == ("gone", None, "target_gone")


def test_what_is_shown_unapproved_is_told_as_shown(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, SHOW_UNAPPROVED=True)
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target))
    location = sent(blog, neighbour.url("/source"), target)
    work(blog)
    assert told(blog, location) == ("verified", "shown", "")


REASONS = {
    "no_link": "The source does not link to the target.",
    "not_html": "The source is of a type in which links cannot be looked for.",
    "too_large": "The source is too large, and no link was found in its first part.",
    "too_many_redirects": "The source redirects too often.",
    "too_slow": "The source did not answer in time.",
    "unreachable": "The source cannot be reached.",
    "address_refused": "The source cannot be reached.",
    "http_410": "The source is gone.",
    "target_gone": "The page here is gone.",
    "given_up": "Looking at the source failed here.",
    "http_503": "The source answered 503.",
    "<script>": "The source cannot be reached.",
}


@pytest.mark.parametrize("reason", REASONS)
def test_why_it_is_refused_is_said_in_words(blog: Blog, neighbour: Neighbour, reason: str) -> None:
    target = add(blog, "hello")
    location = sent(blog, neighbour.url("/?<b>&quot;"), target)
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Mention).values(state="failed", reason=reason))
        blog.db.session.commit()
    answer = status(blog, location)
    assert answer.json == {
        "source": neighbour.url("/?<b>&quot;"),
        "target": target,
        "state": "refused",
        "display": None,
        "reason": "unreachable" if reason in ("address_refused", "<script>") else reason,
        "message": REASONS[reason],
    }
    human = status(blog, location, "text/html")
    assert REASONS[reason] in human.text
    assert "<h1>Refused</h1>" in human.text
    assert "?&lt;b&gt;&amp;quot;" in human.text
    for response in (answer, human):
        assert response.headers["X-Robots-Tag"] == "noindex"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Vary"] == "Accept"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_who_does_not_say_gets_the_page_for_people(blog: Blog) -> None:
    location = sent(blog, "http://there.example/", add(blog, "hello"))
    for accept in ("*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "image/png"):
        assert status(blog, location, accept).content_type == "text/html; charset=utf-8"


@pytest.mark.parametrize("key", ["0" * 32, "0" * 64, "x", "%00" * 32, "0" * 5000, "Ω", "1", "../../etc"])
def test_an_unknown_page_is_404(blogs: Callable[..., Blog], database_url: str, key: str) -> None:
    blog = blogs(database_url)
    for accept in ("application/json", "text/html"):
        response = status(blog, f"{ENDPOINT}/{quote(key, safe='%')}", accept)
        assert response.status_code == 404


# --- for people ---------------------------------------------------------------------------------------

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_a_person_finds_a_form(serve: Callable[..., Blog], sqlite_url: str) -> None:
    blog = serve(sqlite_url)
    code, headers, body = request("GET", f"{blog.base_url}{ENDPOINT}?target=%22%3E%3Cscript%3E")
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b'<form class="linkback-form" method="post">' in body
    assert b'value="&#34;&gt;&lt;script&gt;"' in body
    assert b"<script" not in body
    assert request("HEAD", blog.base_url + ENDPOINT)[0] == 200
    assert request("OPTIONS", blog.base_url + ENDPOINT)[0] == 200
    assert request("PUT", blog.base_url + ENDPOINT, b"x")[0] == 405


def test_a_person_is_answered_by_a_page(blog: Blog) -> None:
    target = add(blog, "hello")
    response = send(blog, "http://there.example/", target, headers={"Accept": BROWSER})
    assert (response.status_code, response.content_type) == (201, "text/html; charset=utf-8")
    assert "<h1>Waiting</h1>" in response.text
    assert f'<a href="{response.headers["Location"]}">' in response.text
    response = send(blog, "http://there.example/", "there", headers={"Accept": BROWSER})
    assert (response.status_code, response.content_type) == (400, "text/html; charset=utf-8")
    assert "The target is no http or https URL." in response.text
    assert "<form" in response.text


def test_a_person_who_is_refused_finds_what_they_typed(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, VOUCH=True)
    wrong = {"source": 'there"><script>', "target": "x" * 3000, "vouch": "&amp; 'one'"}
    body = urlencode(wrong) + "&source=twice"
    page = post(blog, body, headers={"Accept": BROWSER})
    assert page.status_code == 400
    assert 'value="there&#34;&gt;&lt;script&gt;"' in page.text
    assert f'value="{"x" * 2048}"' in page.text
    assert 'value="&amp;amp; &#39;one&#39;"' in page.text
    gone = send(blog, "http://there.example/", blog.url("none"), headers={"Accept": BROWSER})
    assert f'value="{blog.url("none")}"' in gone.text
    for other in (b"source=a&" * 5000, b"target=x"):  # too large; not a form
        options = {} if other.startswith(b"s") else {"content_type": "text/plain"}
        page = post(blog, other, headers={"Accept": BROWSER}, **options)
        assert page.text.count('value=""') == 3


def test_a_program_may_ask_for_json(blog: Blog) -> None:
    target = add(blog, "hello")
    response = send(blog, "http://there.example/", target, headers={"Accept": "application/json"})
    assert response.status_code == 201
    said = json.loads(response.data)
    assert said["location"] == response.headers["Location"]
    assert said["state"] == "pending"


# --- where a page says so -----------------------------------------------------------------------------


def test_pages_that_accept_say_so_by_header_and_element(serve: Callable[..., Blog], sqlite_url: str) -> None:
    blog = serve(sqlite_url)
    target = add(blog, "hello")
    endpoint = blog.base_url + ENDPOINT
    for method in ("GET", "HEAD"):
        _, headers, _ = request(method, target)
        assert headers.get_all("Link") == [f'<{endpoint}>; rel="webmention"']
        assert headers["X-Pingback"] == f"{blog.base_url}/linkback/pingback"
        for path in ("/about", "/post/missing", "/nowhere", ENDPOINT):
            assert "Link" not in request(method, blog.base_url + path)[1]
    assert "Link" not in request("OPTIONS", target)[1]
    _, _, body = request("GET", target)
    first, second = body.decode().partition("<head>")[2].partition("</head>")[0].split("\n")
    assert first.endswith(f'<link rel="pingback" href="{blog.base_url}/linkback/pingback">')
    assert second == f'<link rel="webmention" href="{endpoint}">'
    offer = discover(target, body=body)
    assert (offer.endpoint("webmention"), offer.pingback) == (
        endpoint,
        f"{blog.base_url}/linkback/pingback",
    )


def test_a_link_header_of_the_application_stays(blog: Blog) -> None:
    @blog.app.after_request
    def more(response: Any) -> Any:
        response.headers.add("Link", '</feed>; rel="alternate"')
        return response

    add(blog, "hello")
    links = blog.app.test_client().get("/post/hello").headers.getlist("Link")
    assert sorted(links) == [
        '</feed>; rel="alternate"',
        '<https://blog.example/linkback/webmention>; rel="webmention"',
    ]


@pytest.mark.parametrize(
    "settings", [{"PROTOCOLS": "pingback"}, {"ACCEPT": False}, {"PROTOCOLS": "trackback"}]
)
def test_where_none_are_taken_none_are_advertised(
    blogs: Callable[..., Blog], sqlite_url: str, settings: dict[str, Any]
) -> None:
    blog = blogs(sqlite_url, **settings)
    add(blog, "hello")
    response = blog.app.test_client().get("/post/hello")
    assert "Link" not in response.headers
    assert "webmention" not in response.text


def test_without_base_url_it_is_taken_without_a_page(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, base_url=None, HOSTS="blog.example", content=None)
    with blog.app.app_context():
        blog.add("hello")
    response = send(blog, "http://there.example/", "https://blog.example/post/hello")
    assert response.status_code == 202
    assert "Location" not in response.headers
    assert mention(blog).status is MentionStatus.pending


# --- in the application -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["csrf", "linkback"])
def test_csrf_protection_does_not_concern_us(sqlite_url: str, first: str) -> None:
    app, db = protected(sqlite_url, first, PROTOCOLS=["webmention", "trackback"])
    client = app.test_client()
    response = client.post(ENDPOINT, data={"source": "x", "target": "y"})
    assert response.text == "The source is no http or https URL.\n"
    response = client.post("/linkback/trackback/x", data={"title": "x"})
    assert "The url is missing." in response.text
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(
    ("mount", "endpoint"),
    [
        ({"url_prefix": "/talk"}, "https://blog.example/talk/webmention"),
        ({"subdomain": "ping"}, "https://ping.blog.example/webmention"),
        (None, None),
    ],
)
def test_the_application_may_mount_the_endpoint_itself(
    sqlite_url: str, mount: dict[str, Any] | None, endpoint: str | None
) -> None:
    app, db = mounted(sqlite_url, "webmention", mount)
    client = app.test_client()
    response = client.get("/page", base_url="https://blog.example")
    assert response.headers.get("Link") == (endpoint and f'<{endpoint}>; rel="webmention"')
    if endpoint is not None:
        told = {"source": "http://there.example/", "target": "https://blog.example/page"}
        taken = client.post(endpoint, data=told)
        assert taken.status_code == 201
        assert taken.headers["Location"].startswith(f"{endpoint}/")
        assert client.get(taken.headers["Location"]).status_code == 200
    with app.app_context():
        db.engine.dispose()
