"""Hostile: whatever is sent, the answer is a documented one, and nothing of it does harm."""

from __future__ import annotations

import gzip
import http.client
import socket
import xmlrpc.client
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

import flask_linkback
from flask_linkback.models import Job, Link, Mention, MentionState
from flask_linkback.protocols.pingback import FaultCode
from flask_linkback.protocols.xmlrpc import Fault
from tests.apps import Blog, protected
from tests.hostile.odd import NO_LIMITS, fuzz, odd_text, odd_urls, page_at_every_path
from tests.neighbours import (
    Neighbour,
    bomb,
    endless_body,
    endless_trailers,
    hang_up,
    huge_headers,
    raw,
    slow_body,
    slow_head,
)
from tests.pingback.tools import (
    ENDPOINT,
    Clock,
    add,
    fault_of,
    mention,
    mentions,
    page,
    ping,
    post,
    request,
    rows,
    work,
)

CODES = {int(code) for code in FaultCode}


@pytest.fixture
def fuzzed(blogs: Callable[..., Blog], database_url: str) -> Blog:
    """One blog for all that a fuzzer thinks of, with a page at every path."""
    return page_at_every_path(blogs(database_url, RATE_LIMITS=NO_LIMITS))


def answered(blog: Blog, body: bytes, **options: Any) -> int | None:
    """Return the code of the fault that is answered, None for a value; anything else fails."""
    response = post(blog, body, **options)
    assert response.status_code == 200
    assert response.content_type == "text/xml; charset=utf-8"
    try:
        xmlrpc.client.loads(response.data)
        return None
    except xmlrpc.client.Fault as fault:
        code, text = fault.faultCode, fault.faultString
    assert code in CODES
    assert 0 < len(text) <= 200
    return code


def stored(blog: Blog) -> int:
    return len(rows(blog, Mention)) + len(rows(blog, Job))


# --- fuzz -------------------------------------------------------------------------------------------------


@fuzz
@given(
    body=st.binary(max_size=300),
    content_type=st.sampled_from(
        ["text/xml", "", "application/json", "text/plain; charset=\xff", "multipart/form-data"]
    ),
)
def test_random_bytes(fuzzed: Blog, body: bytes, content_type: str) -> None:
    before = stored(fuzzed)
    assert answered(fuzzed, body, content_type=content_type) in (-32700, -32600)
    assert stored(fuzzed) == before


elements = st.sampled_from(
    [
        "methodCall",
        "methodName",
        "params",
        "param",
        "value",
        "string",
        "int",
        "array",
        "data",
        "struct",
        "member",
        "name",
        "x",
    ]
)
trees: st.SearchStrategy[str] = st.recursive(
    st.one_of(
        st.sampled_from(
            ["pingback.ping", "system.methodHelp", "1", "&lt;", "&#0;", "&x;", "<!-- -->", "<![CDATA[<]]>"]
        ),
        st.text(max_size=5),
    ),
    lambda inner: st.builds(
        lambda name, parts: f"<{name}>{''.join(parts)}</{name}>", elements, st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)


@fuzz
@given(tree=trees)
def test_random_xml(fuzzed: Blog, tree: str) -> None:
    before = stored(fuzzed)
    for body in (tree, f"<methodCall>{tree}</methodCall>"):
        answered(fuzzed, body.encode("utf-8", "surrogatepass"))
    assert stored(fuzzed) == before


values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.text(max_size=20),
        st.integers(-(2**31), 2**31 - 1),
        st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.binary(max_size=9),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@fuzz
@given(
    method=st.one_of(
        st.sampled_from(
            ["pingback.ping", "system.listMethods", "system.methodHelp", "system.methodSignature"]
        ),
        st.text(max_size=20),
    ),
    params=st.lists(values, max_size=4),
)
def test_random_calls(fuzzed: Blog, method: str, params: list[Any]) -> None:
    before = stored(fuzzed)
    try:
        body = xmlrpc.client.dumps(tuple(params), method).encode("utf-8", "surrogatepass")
    except (OverflowError, TypeError):
        return
    answered(fuzzed, body)
    assert stored(fuzzed) == before


@fuzz
@given(source=odd_urls, target=odd_urls)
def test_random_urls(fuzzed: Blog, source: str, target: str) -> None:
    """By hand, since XML could not say half of it."""
    before = stored(fuzzed)
    with fuzzed.app.app_context():
        try:
            flask_linkback.ping_func(source, target)
            code = 48
        except Fault as fault:
            code = fault.code
    assert code in {16, 32, 33, 48}
    assert stored(fuzzed) == before or code == 48


@fuzz
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]),
    body=st.binary(max_size=50),
)
def test_random_methods(fuzzed: Blog, method: str, body: bytes) -> None:
    response = fuzzed.app.test_client().open(ENDPOINT, method=method, data=body)
    assert response.status_code == (200 if method in ("GET", "HEAD", "POST", "OPTIONS") else 405)


@fuzz
@given(title=odd_text, words=odd_text, charset=st.sampled_from(["utf-8", "latin-1", "utf-16", "utf-7", "x"]))
def test_random_pages(fuzzed: Blog, neighbour: Neighbour, title: str, words: str, charset: str) -> None:
    """What the source says is stored, whatever it is."""
    target = fuzzed.url("hello")
    html = f'<title>{title}</title><p>{words}<a href="{target}">x</a>&#0;&#x1b;&#xD800;{words}</p>'
    encoding = charset if charset in ("utf-8", "utf-16") else "latin-1"
    errors = "surrogatepass" if encoding != "latin-1" else "replace"
    content_type = [("Content-Type", f"text/html; charset={charset}")]
    neighbour.answer("/", body=html.encode(encoding, errors), headers=content_type)
    ping(fuzzed, neighbour.url(f"/?{len(neighbour.requests)}"), target)
    work(fuzzed)
    last = mentions(fuzzed)[-1]
    assert last.state in (MentionState.verified, MentionState.failed)
    for text in (last.title, last.content):
        assert len(text) <= 300
        assert not set(text) & set(map(chr, range(32)))
        text.encode()


# --- size ---------------------------------------------------------------------------------------------------


@pytest.fixture
def blog(serve: Callable[..., Blog], sqlite_url: str, clock: Clock) -> Blog:
    return serve(sqlite_url, SOURCE_INTERVAL_SECONDS=0)


def test_ten_megabytes(blog: Blog) -> None:
    body = xmlrpc.client.dumps(("x" * 10_000_000, "y"), "pingback.ping").encode()
    status, _, answer = request("POST", blog.base_url + ENDPOINT, body, {"Content-Type": "text/xml"})
    assert status == 200
    with pytest.raises(xmlrpc.client.Fault, match="-32600"):
        xmlrpc.client.loads(answer)


@pytest.mark.parametrize("size", [100, 300_000])
def test_chunks_without_a_length(blog: Blog, size: int) -> None:
    add(blog, "hello")
    call = xmlrpc.client.dumps(("http://there.example/", blog.url("hello")), "pingback.ping").encode()
    parts = urlsplit(blog.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    chunks = [call[:10], call[10:] + b" " * size]
    connection.request("POST", ENDPOINT, iter(chunks), {"Content-Type": "text/xml"}, encode_chunked=True)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    assert response.status == 200
    if size < 65536:
        assert b"saved" in answer
    else:
        assert b"-32600" in answer
    assert len(mentions(blog)) == (size < 65536)


def test_a_caller_who_hangs_up_does_no_harm(blog: Blog) -> None:
    parts = urlsplit(blog.base_url)
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as sock:
        sock.sendall(f"POST {ENDPOINT} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n<method".encode())
    assert request("GET", blog.base_url + ENDPOINT)[0] == 200
    assert mentions(blog) == []


@pytest.mark.parametrize(
    "xml",
    [
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><methodCall><methodName>&b;</methodName></methodCall>",
        b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><methodCall/>",
        b"<a>" * 10_000,
        b"<methodCall><methodName>a</methodName><params>"
        + b"<param><value/></param>" * 1000
        + b"</params></methodCall>",
        b"<methodCall " + b" ".join(b"a%d='b'" % n for n in range(5000)) + b"/>",
        b"<methodCall><methodName>pingback.ping</methodName><params><param><value>"
        + b"<array><data><value>" * 200
        + b"</value></data></array>" * 200
        + b"</value></param></params></methodCall>",
        b"<methodCall>&#0;</methodCall>",
        b"<methodCall>\x00</methodCall>",
        b"<?xml version='1.0' encoding='utf-7'?><methodCall/>",
        b"<?xml version='1.0' encoding='nothing'?><methodCall/>",
        gzip.compress(b"<methodCall/>", mtime=0),
    ],
)
def test_hostile_xml(blog: Blog, xml: bytes) -> None:
    assert answered(blog, xml) in (-32700, -32600, -32602)
    assert mentions(blog) == []


# --- sources -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        (slow_body, "too_slow"),
        (slow_head, "too_slow"),
        (endless_body, "too_large"),
        (endless_trailers, "too_large"),
        (huge_headers, "too_large"),
        (hang_up, "unreachable"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"), "unreachable"),
        (raw(b"SSH-2.0\r\n"), "unreachable"),
    ],
)
def test_hostile_sources(
    serve: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, route: Any, reason: str
) -> None:
    blog = serve(sqlite_url, FETCH_TIMEOUT=0.3 if reason == "too_slow" else 10, RETRY_SCHEDULE=(0,))
    neighbour.route("/source", route)
    ping(blog, neighbour.url("/source"), add(blog, "hello"))
    work(blog)
    assert (mention(blog).state, mention(blog).reason) == (MentionState.failed, reason)


def test_packed_source(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    neighbour.answer("/good", body=gzip.compress(page(target)), headers=[("Content-Encoding", "gzip")])
    neighbour.answer("/bomb", body=bomb(64), headers=[("Content-Encoding", "gzip")])
    for path in ("/good", "/bomb"):
        ping(blog, neighbour.url(path), target)
    work(blog)
    assert [(each.state, each.reason) for each in mentions(blog)] == [
        ("verified", ""),
        ("failed", "too_large"),
    ]


def test_open_and_closed_ports_of_a_private_network_look_alike(
    serve: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = serve(sqlite_url, PINGBACK_VERIFY="at_once")
    target = add(blog, "hello")
    with Neighbour(host="::1") as closed:
        pass
    with Neighbour(host="::1") as open_one:
        open_one.answer("/", body=page(target))
        for source in (open_one.url(), closed.url(), "http://nowhere.invalid/"):
            with pytest.raises(xmlrpc.client.Fault) as raised:
                ping(blog, source, target)
            assert str(raised.value) == "<Fault 16: 'The source URI does not exist.'>"
        assert open_one.connections == 0


def test_a_source_cannot_redirect_into_a_private_network(
    serve: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = serve(sqlite_url, PINGBACK_VERIFY="at_once")
    target = add(blog, "hello")
    with Neighbour(host="::1") as private:
        private.answer("/", body=page(target))
        neighbour.answer("/source", status=302, headers=[("Location", private.url())])
        assert fault_of(ping, blog, neighbour.url("/source"), target) == 0x10
        assert private.connections == 0


def test_markup_of_strangers_is_shown_as_text(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    title = "&lt;script>alert(1)&lt;/script>\u202e"
    words = f'&lt;img src=x onerror=alert(1)> <a href="{target}">x</a>'
    neighbour.answer("/source", body=f"<title>{title}</title><p>{words}</p>".encode())
    ping(blog, f'{neighbour.url("/source")}?"><script>alert(2)</script>', target)
    work(blog)
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Mention).values(status="approved"))
        blog.db.session.commit()
    body = request("GET", target)[2].decode()
    assert "<script" not in body
    assert "<img" not in body
    assert "&lt;script&gt;alert(1)" in body
    assert "&lt;img src=x" in body
    assert "\u202e" not in body


# --- in the application ------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["csrf", "linkback"])
@pytest.mark.parametrize("path", [ENDPOINT, "/xmlrpc/"])
def test_csrf_protection_does_not_concern_us(sqlite_url: str, first: str, path: str) -> None:
    app, _ = protected(sqlite_url, first, PINGBACK_ALIASES="/xmlrpc/")
    client = app.test_client()
    response = client.post(path, data=xmlrpc.client.dumps((), "system.listMethods"), content_type="text/xml")
    assert response.status_code == 200
    assert b"pingback.ping" in response.data
    assert client.post("/own").status_code == 400


def test_nothing_is_stored_of_what_is_refused(blog: Blog) -> None:
    add(blog, "hello")
    work(blog)
    before = {model: len(rows(blog, model)) for model in (Mention, Job, Link)}
    for source, target in (
        ("no url", blog.url("hello")),
        ("http://there.example/", "https://foreign.example/"),
        ("http://there.example/", blog.url("missing")),
        ("http://there.example/", f"{blog.base_url}/about"),
        (blog.url("hello"), blog.url("hello")),
    ):
        assert fault_of(ping, blog, source, target) in (16, 32, 33)
    assert {model: len(rows(blog, model)) for model in before} == before
