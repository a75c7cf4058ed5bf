"""Hostile requests at the doors of webmentions and trackbacks: documented answers, no rows."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from flask_linkback.models import Job, Mention, MentionState
from flask_linkback.protocols import trackback
from tests.apps import Blog
from tests.hostile.corpus import small
from tests.hostile.odd import NO_LIMITS, fuzz, odd_text, odd_urls, page_at_every_path
from tests.neighbours import Neighbour
from tests.pingback.conftest import blogs, clock, hasty, neighbour, serve, tidy  # noqa: F401
from tests.pingback.tools import add, mentions, page, request, rows, work
from tests.thorough import some

FORM: Final = "application/x-www-form-urlencoded"
WEBMENTION: Final = "/linkback/webmention"
TRACKBACK: Final = "/linkback/trackback/post/hello"
SETTINGS: Final[Mapping[str, Any]] = {"PROTOCOLS": ["webmention", "trackback"]}


@pytest.fixture
def blog(serve: Callable[..., Blog], sqlite_url: str) -> Blog:  # noqa: F811
    blog = serve(sqlite_url, **SETTINGS, content=None)
    add(blog, "hello")
    return blog


@pytest.fixture
def fuzzed(blogs: Callable[..., Blog], database_url: str) -> Blog:  # noqa: F811
    """One blog for all that a fuzzer thinks of, with a page at every path."""
    return page_at_every_path(blogs(database_url, **SETTINGS, RATE_LIMITS=NO_LIMITS, content=None))


def stored(blog: Blog) -> int:
    return len(rows(blog, Mention)) + len(rows(blog, Job))


def webmention(blog: Blog, body: bytes | str, **options: Any) -> int:
    """Post to the endpoint of webmentions; what is not documented fails. Return the status."""
    options.setdefault("content_type", FORM)
    response = blog.app.test_client().post(WEBMENTION, data=body, **options)
    assert response.status_code in (201, 400, 413, 415, 429)
    assert len(response.data) < 10_000
    assert ("Location" in response.headers) == (response.status_code == 201)
    return response.status_code


def ping(blog: Blog, body: bytes | str, path: str = TRACKBACK, **options: Any) -> bool:
    """Post to the address of a page's trackbacks; what is not documented fails. Tell whether it was taken."""
    options.setdefault("content_type", FORM)
    response = blog.app.test_client().post(path, data=body, **options)
    assert response.status_code == 200
    assert response.content_type == "text/xml; charset=utf-8"
    answer = trackback.parse_response(response.data)
    assert answer.ok == (not answer.message)
    assert len(answer.message) <= 200
    return answer.ok


# --- fuzz ----------------------------------------------------------------------------------------------


@fuzz
@given(
    body=st.binary(max_size=300),
    content_type=st.sampled_from(
        [
            FORM,
            "",
            "application/json",
            "text/plain; charset=\xff",
            "multipart/form-data",
            f"{FORM}; charset=x",
        ]
    ),
    accept=st.sampled_from(["", "*/*", "text/html", "application/json", "\xff;q=nan", "a/b;q=-1,,"]),
)
def test_random_bytes(fuzzed: Blog, body: bytes, content_type: str, accept: str) -> None:
    before = stored(fuzzed)
    for each in (body, b"source=" + body, b"target=" + body + b"&source=x"):
        assert webmention(fuzzed, each, content_type=content_type, headers={"Accept": accept}) != 201
    for each in (body, b"title=" + body + b"&charset=" + body, b"url=x" + body):
        assert not ping(fuzzed, each, content_type=content_type)
    assert stored(fuzzed) == before


@fuzz
@given(source=odd_urls, target=odd_urls, said=odd_text)
def test_random_urls(fuzzed: Blog, source: str, target: str, said: str) -> None:
    before = stored(fuzzed)
    body = urlencode({"source": source, "target": target}, errors="surrogatepass")
    taken = webmention(fuzzed, body) == 201
    assert stored(fuzzed) == before or taken
    before = stored(fuzzed)
    path = quote(target.removeprefix("https://blog.example/"), safe="/%", errors="surrogatepass")
    fields = {"url": source, "title": said, "excerpt": said, "blog_name": said, "charset": said}
    body = urlencode(fields, errors="surrogatepass")
    response = fuzzed.app.test_client().post(f"/linkback/trackback/{path}", data=body, content_type=FORM)
    if response.status_code == 308:  # slashes that are too many
        return
    # Werkzeug's paths have no line feed, ours and those of any page
    assert response.status_code == (404 if "\n" in target.removeprefix("https://blog.example/") else 200)
    assert stored(fuzzed) == before or trackback.parse_response(response.data).ok


@fuzz
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]),
    body=st.binary(max_size=50),
)
def test_random_methods(fuzzed: Blog, method: str, body: bytes) -> None:
    client = fuzzed.app.test_client()
    code = client.open(WEBMENTION, method=method, data=body, content_type=FORM).status_code
    assert code == (200 if method in ("GET", "HEAD", "OPTIONS") else 400 if method == "POST" else 405)
    code = client.open(TRACKBACK, method=method, data=body, content_type=FORM).status_code
    assert code == (302 if method in ("GET", "HEAD") else 200 if method in ("POST", "OPTIONS") else 405)
    code = client.open(f"{WEBMENTION}/{'0' * 32}", method=method, data=body).status_code
    assert code == (404 if method in ("GET", "HEAD") else 200 if method == "OPTIONS" else 405)


# --- size and form -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [WEBMENTION, TRACKBACK])
def test_ten_megabytes(blog: Blog, path: str) -> None:
    body = urlencode({"source": "x" * 10_000_000, "target": "y", "url": "z"}).encode()
    status, _, answer = request("POST", blog.base_url + path, body, {"Content-Type": FORM})
    assert status == (413 if path == WEBMENTION else 200)
    assert b"too large" in answer
    assert mentions(blog) == []


@pytest.mark.parametrize("path", [WEBMENTION, TRACKBACK])
@pytest.mark.parametrize("size", [100, 300_000])
def test_chunks_without_a_length(blog: Blog, path: str, size: int) -> None:
    source = "http://there.example/"
    form = urlencode({"source": source, "url": source, "target": blog.url("hello"), "title": ""}).encode()
    parts = urlsplit(blog.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    chunks = [form[:10], form[10:] + b"x" * size]
    connection.request("POST", path, iter(chunks), {"Content-Type": FORM}, encode_chunked=True)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if size == 100:
        assert response.status == (201 if path == WEBMENTION else 200)
    else:
        assert b"too large" in answer
    assert len(mentions(blog)) == (size == 100)


@pytest.mark.parametrize("path", [WEBMENTION, TRACKBACK])
@pytest.mark.parametrize("length", ["500", "-1", "x", "99999999999999999999"])
def test_a_caller_who_lies_about_the_length_or_hangs_up_does_no_harm(
    blog: Blog, path: str, length: str
) -> None:
    parts = urlsplit(blog.base_url)
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as sock:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {length}\r\n\r\n"
        sock.sendall(head.encode() + b"source=http")
    assert request("GET", blog.base_url + WEBMENTION)[0] == 200
    assert mentions(blog) == []


@pytest.mark.parametrize(
    "body",
    [
        "&".join(f"a{number}=b" for number in range(10_000)),
        "source=x&" * 1000,
        "&" * 16_000,
        "%" * 16_000,
        "source[]=x&target[]=y",
        "source=%00&target=%00&url=%00",
        "source=%FF%FE&target=%FF&url=%FF",
        '{"source": "http://there.example/"}',
        "<xml/>",
    ],
)
def test_hostile_forms(blog: Blog, body: str) -> None:
    assert webmention(blog, body) in (400, 413)
    assert not ping(blog, body)
    assert mentions(blog) == []


# --- floods --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", [WEBMENTION, TRACKBACK])
def test_a_flood_of_one_caller_is_stored_up_to_the_limit(
    blogs: Callable[..., Blog],  # noqa: F811
    sqlite_url: str,
    door: str,
) -> None:
    blog = blogs(sqlite_url, **SETTINGS, content=None)
    target = add(blog, "hello")
    others = [add(blog, str(number)) for number in range(9)]
    taken = 0
    for number in range(150):
        to = [target, *others][number % 10]
        source = f"http://there.example/{number}"
        caller = {"environ_overrides": {"REMOTE_ADDR": "198.41.0.4"}}
        if door == WEBMENTION:
            taken += webmention(blog, urlencode({"source": source, "target": to}), **caller) == 201
        else:
            path = f"/linkback/trackback{urlsplit(to).path}"
            taken += ping(blog, urlencode({"url": source}), path, **caller)
    assert taken == len(mentions(blog)) == 60
    with blog.app.app_context():  # one host is not asked by all of them at once
        waiting = blog.db.session.scalar(sa.select(sa.func.count(Job.id)).where(Job.kind == "verify_source"))
    assert waiting == 60


# --- documents -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", ["text/html", "application/json", "text/plain", ""])
def test_a_hostile_document_is_judged_and_what_is_kept_of_it_is_text(
    blogs: Callable[..., Blog],  # noqa: F811
    sqlite_url: str,
    neighbour: Neighbour,  # noqa: F811
    media_type: str,
) -> None:
    blog = blogs(sqlite_url, **SETTINGS, RATE_LIMITS=NO_LIMITS, AUTO_APPROVE=True, content=None)
    target = add(blog, "one")  # which the corpus speaks of
    for number, (_, document) in enumerate(some([*small(60)], each=4)):
        path = f"/{number}"
        headers = [("Content-Type", media_type)] if media_type else []
        body = page(target) + document if media_type in ("", "text/html") else document
        neighbour.answer(path, body=body, headers=headers)
        assert webmention(blog, urlencode({"source": neighbour.url(path), "target": target})) == 201
    work(blog)
    judged = mentions(blog)
    assert {each.state for each in judged} <= {MentionState.verified, MentionState.failed}
    assert any(each.state is MentionState.verified for each in judged)
    for one in judged:
        for text in (one.title, one.content, one.author_name):
            assert len(text) <= 1000
            assert not set(text) & set(map(chr, (*range(9), *range(11, 32), 127)))
            text.encode()
        for url in (one.author_url, one.author_photo, one.reply_to):
            assert url == "" or url.startswith(("http://", "https://"))
    assert b"<script" not in blog.app.test_client().get("/post/one").data
