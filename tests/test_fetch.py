"""What the door does for servers that behave: requests, redirects, names, certificates, reuse."""

from __future__ import annotations

import dataclasses
import gzip
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from flask_linkback import fetch
from flask_linkback.config import Settings
from flask_linkback.errors import (
    AddressRefused,
    ConfigError,
    FetchError,
    TooLarge,
    TooManyRedirects,
    TooSlow,
    Unreachable,
)
from flask_linkback.fetch import Fetcher, Headers, Hop, Response, check_url, public_address

from .neighbours import (
    Deaf,
    Gone,
    Neighbour,
    Request,
    Resolver,
    Wire,
    chunked,
    raw,
    server_context,
    write_ca_bundle,
)

MakeFetcher = Callable[..., Fetcher]


@pytest.fixture(scope="module")
def ca_bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_ca_bundle(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def make_fetcher(ca_bundle: str) -> Iterator[MakeFetcher]:
    """Fetchers that may talk to neighbours; settings are given without their prefix."""
    made: list[Fetcher] = []

    def make(**settings: Any) -> Fetcher:
        settings = {
            "ALLOW_NETWORKS": ["127.0.0.0/8", "::1/128"],
            "ALLOW_PORTS": "any",
            "CA_BUNDLE": ca_bundle,
            "BASE_URL": "https://blog.example",
            **settings,
        }
        made.append(Fetcher(Settings.from_config({f"LINKBACK_{k}": v for k, v in settings.items()})))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def fetcher(make_fetcher: MakeFetcher) -> Fetcher:
    return make_fetcher()


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr("socket.getaddrinfo", resolver.getaddrinfo)
    return resolver


# --- requests and answers -------------------------------------------------------------------------


def test_get_returns_status_headers_and_body(fetcher: Fetcher, neighbour: Neighbour) -> None:
    links = [
        ("Link", "</a>; rel=webmention"),
        ("X-Pingback", "https://x.example/"),
        ("link", "</b>; rel=hub"),
    ]
    neighbour.answer("/page", body=b"hello", headers=links)
    response = fetcher.get(neighbour.url("/page"))
    assert (response.status, response.body, response.url) == (200, b"hello", neighbour.url("/page"))
    assert response.headers.get_all("LINK") == ["</a>; rel=webmention", "</b>; rel=hub"]
    assert response.headers.get("x-pingback") == "https://x.example/"
    assert response.hops == (Hop(url=neighbour.url("/page"), status=200),)
    assert response.address == "127.0.0.1"
    assert 0 < response.seconds < 5


def test_requests_say_who_we_are(fetcher: Fetcher, neighbour: Neighbour) -> None:
    fetcher.get(neighbour.url("/?q=1#fragment"), headers={"Accept": "text/html"})
    (request,) = neighbour.requests
    assert (request.method, request.path) == ("GET", "/?q=1")
    assert request.header("Host") == f"127.0.0.1:{neighbour.port}"
    assert request.header("User-Agent").startswith("Flask-Linkback/")  # type: ignore[union-attr]
    assert request.header("User-Agent").endswith(" (+https://blog.example)")  # type: ignore[union-attr]
    assert request.header("Accept-Encoding") == "gzip, deflate"
    assert request.header("Accept") == "text/html"
    assert request.header("Cookie") is None


def test_post_sends_the_body_and_returns_the_answer(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.answer("/hook", status=202, body=b"taken")
    response = fetcher.post(neighbour.url("/hook"), b"\x00payload", headers={"Content-Type": "a/b"})
    assert (response.status, response.body) == (202, b"taken")
    (request,) = neighbour.requests
    assert (request.method, request.body, request.header("Content-Length")) == ("POST", b"\x00payload", "8")


def test_an_empty_post_says_that_it_is_empty(fetcher: Fetcher, neighbour: Neighbour) -> None:
    fetcher.post(neighbour.url(), b"")
    assert neighbour.requests[0].header("Content-Length") == "0"


def test_a_large_post_arrives_whole(fetcher: Fetcher, neighbour: Neighbour) -> None:
    fetcher.post(neighbour.url(), bytes(3_000_000))
    assert len(neighbour.requests[0].body) == 3_000_000


def test_head_has_headers_and_no_body(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.answer("/page", body=b"hello", headers=[("X-Pingback", "https://x.example/")])
    response = fetcher.head(neighbour.url("/page"))
    assert (response.status, response.body) == (200, b"")
    assert response.headers["X-Pingback"] == "https://x.example/"
    assert fetcher.head(neighbour.url("/page")).status == 200
    assert neighbour.connections == 1


@pytest.mark.parametrize("status", [204, 304, 404, 410, 500])
def test_any_status_is_an_answer(fetcher: Fetcher, neighbour: Neighbour, status: int) -> None:
    neighbour.answer("/", status=status)
    assert fetcher.get(neighbour.url(), headers={"If-None-Match": '"1"'}).status == status
    assert neighbour.requests[0].header("If-None-Match") == '"1"'


@pytest.mark.parametrize(
    "answer",
    [
        chunked(b"hel", b"lo"),
        chunked(b"hello", trailers=b"X-Sum: 1\r\n"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200\r\n\r\nhello",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 200 OK\r\n\r\nhello",
    ],
)
def test_framings(fetcher: Fetcher, neighbour: Neighbour, answer: bytes) -> None:
    neighbour.route("/", raw(answer))
    response = fetcher.get(neighbour.url())
    assert (response.status, response.body) == (200, b"hello")
    assert "link" not in response.headers


def test_a_folded_header_is_one_header(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.route("/", raw(b"HTTP/1.1 200 OK\r\nLink: <a>;\r\n\trel=hub\r\nX: 1\r\n\r\n"))
    assert fetcher.get(neighbour.url()).headers.pairs == (("Link", "<a>; rel=hub"), ("X", "1"))


def _deflate(data: bytes, window: int) -> bytes:
    packer = zlib.compressobj(wbits=window)
    return packer.compress(data) + packer.flush()


PAGE = b"The quick brown fox. " * 5000


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(PAGE, mtime=0)),
        ("X-GZip", gzip.compress(PAGE, mtime=0)),
        ("gzip", gzip.compress(PAGE[:100], mtime=0) + gzip.compress(PAGE[100:], mtime=0)),
        ("gzip", gzip.compress(PAGE, mtime=0) + bytes(40)),
        ("deflate", _deflate(PAGE, 15)),
        ("deflate", _deflate(PAGE, -15)),
        ("gzip, deflate", _deflate(gzip.compress(PAGE, mtime=0), 15)),
        ("identity", PAGE),
    ],
)
def test_bodies_are_unpacked(fetcher: Fetcher, neighbour: Neighbour, coding: str, packed: bytes) -> None:
    neighbour.answer("/", body=packed, headers=[("Content-Encoding", coding)])
    seen: list[bytes] = []
    assert fetcher.get(neighbour.url()).body == PAGE

    def keep(response: Response, chunk: bytes) -> bool:
        seen.append(chunk)
        return False

    response = fetcher.get(neighbour.url(), on_chunk=keep)
    assert b"".join(seen) == PAGE
    assert max(map(len, seen)) <= 16384
    assert response.body == b""
    assert neighbour.connections == 1


def test_one_byte_at_a_time(fetcher: Fetcher, neighbour: Neighbour) -> None:
    packed = gzip.compress(b"a") + gzip.compress(b"b")
    pieces = [packed[n : n + 1] for n in range(len(packed))]
    neighbour.route("/", raw(chunked(*pieces, headers=b"Content-Encoding: gzip\r\n")))
    assert fetcher.get(neighbour.url()).body == b"ab"


def test_on_chunk_ends_the_reading(fetcher: Fetcher, neighbour: Neighbour) -> None:
    ended = threading.Event()

    def endless(request: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                wire.send(b"x" * 4096)
        finally:
            ended.set()

    neighbour.route("/", endless)
    seen: list[bytes] = []

    def enough(response: Response, chunk: bytes) -> bool:
        seen.append(chunk)
        return len(seen) == 3

    assert fetcher.get(neighbour.url(), on_chunk=enough).body == b""
    assert len(seen) == 3
    assert ended.wait(5)


def test_on_chunk_knows_the_answer_before_its_body(fetcher: Fetcher, neighbour: Neighbour) -> None:
    def never(request: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nX-Pingback: there\r\n\r\n")
        wire.pause()

    neighbour.answer("/", status=302, headers=[("Location", "/there")])
    neighbour.route("/there", never)
    seen: list[tuple[Response, bytes]] = []

    def look(response: Response, chunk: bytes) -> bool:
        seen.append((response, chunk))
        return "X-Pingback" in response.headers

    answer = fetcher.get(neighbour.url(), on_chunk=look)
    ((response, chunk),) = seen
    assert (chunk, response.body, answer.body) == (b"", b"", b"")
    assert response.status == answer.status == 404
    assert response.url == answer.url == neighbour.url("/there")
    assert [hop.status for hop in response.hops] == [302, 404]
    assert response.address == "127.0.0.1"

    neighbour.answer("/empty")
    assert fetcher.get(neighbour.url("/empty"), on_chunk=look).status == 200
    assert len(seen) == 2


def test_an_error_of_on_chunk_is_the_callers_own(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.answer("/", body=b"x")

    def broken(response: Response, chunk: bytes) -> bool:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fetcher.get(neighbour.url(), on_chunk=broken)


def test_headers_are_a_mapping() -> None:
    headers = Headers([("A", "1"), ("a", "2"), ("B", "3")])
    assert (headers["a"], headers.get("c"), len(headers), list(headers)) == ("1", None, 2, ["a", "b"])
    assert headers.get_all("A") == headers.getlist("a") == ["1", "2"]
    assert "B" in headers
    assert repr(headers) == "Headers([('A', '1'), ('a', '2'), ('B', '3')])"


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nY: b"},
        {"X\r\nY": "b"},
        {"X": "a\0"},
        {"": "a"},
        {"X": "€"},
        {"Host": "other.example"},
        {"content-length": "3"},
        {"Transfer-Encoding": "chunked"},
    ],
)
def test_headers_that_would_change_the_request_are_refused(
    fetcher: Fetcher, neighbour: Neighbour, headers: dict[str, str]
) -> None:
    with pytest.raises(AddressRefused):
        fetcher.post(neighbour.url(), b"", headers=headers)
    assert neighbour.connections == 0


def test_ipv6(fetcher: Fetcher) -> None:
    try:
        neighbour = Neighbour(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with neighbour:
        assert fetcher.get(neighbour.url()).address == "::1"
        assert neighbour.requests[0].header("Host") == f"[::1]:{neighbour.port}"


# --- limits that good servers meet ----------------------------------------------------------------


def test_a_body_may_be_as_large_as_allowed_and_no_larger(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.answer("/", body=bytes(5000))
    assert len(fetcher.get(neighbour.url(), max_body=5000).body) == 5000
    for coding in ([], [("Transfer-Encoding", "chunked")]):
        body = chunked(bytes(5000)).partition(b"\r\n\r\n")[2] if coding else bytes(5000)
        neighbour.answer("/", body=body, headers=coding)
        with pytest.raises(TooLarge):
            fetcher.get(neighbour.url(), max_body=4999)
        with pytest.raises(TooLarge):
            fetcher.get(neighbour.url(), max_body=4999, on_chunk=lambda *_: False)


def test_a_delivery_keeps_the_beginning_of_a_long_answer(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.answer("/", body=bytes(100_000))
    assert len(fetcher.post(neighbour.url(), b"").body) == 16384
    assert len(fetcher.post(neighbour.url(), b"", max_body=50_000).body) == 50_000
    assert len(fetcher.post(neighbour.url(), b"", max_body=100_000).body) == 100_000
    packed = gzip.compress(bytes(3_000_000))
    neighbour.answer("/", body=packed, headers=[("Content-Encoding", "gzip")])
    assert len(fetcher.post(neighbour.url(), b"").body) == 16384


def test_connecting_has_a_limit_of_its_own(make_fetcher: MakeFetcher) -> None:
    with Deaf() as deaf, pytest.raises(TooSlow) as raised:
        make_fetcher(CONNECT_TIMEOUT=0.2).get(deaf.url())
    assert raised.value.kind == "too_slow"


def test_one_wait_has_a_limit_of_its_own(make_fetcher: MakeFetcher, neighbour: Neighbour) -> None:
    neighbour.route("/", lambda request, wire: wire.pause())
    with pytest.raises(TooSlow):
        make_fetcher(READ_TIMEOUT=0.2).get(neighbour.url())


def test_deliveries_and_fetches_have_their_own_deadlines(
    make_fetcher: MakeFetcher, neighbour: Neighbour
) -> None:
    neighbour.route("/", lambda request, wire: wire.pause())
    fetcher = make_fetcher(DELIVERY_TIMEOUT=0.2, FETCH_TIMEOUT=0.2)
    for call in (fetcher.get, fetcher.head, lambda url: fetcher.post(url, b"")):
        with pytest.raises(TooSlow):
            call(neighbour.url())


def test_a_closed_port_is_unreachable(fetcher: Fetcher) -> None:
    with Neighbour() as neighbour:
        url = neighbour.url()
    with pytest.raises(Unreachable):
        fetcher.get(url)


# --- redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["get", "head"])
def test_redirects_are_followed(fetcher: Fetcher, neighbour: Neighbour, status: int, method: str) -> None:
    neighbour.answer("/a/", status=status, headers=[("Location", "../b?q=1")], body=b"moved")
    neighbour.answer("/b", body=b"here")
    response = getattr(fetcher, method)(neighbour.url("/a/"))
    assert (response.status, response.url) == (200, neighbour.url("/b?q=1"))
    assert [hop.status for hop in response.hops] == [status, 200]
    assert {request.method for request in neighbour.requests} == {method.upper()}


def test_a_redirect_that_is_not_followed_is_an_answer(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.answer("/", 302, b"elsewhere", [("Location", "/there")])
    response = fetcher.get(neighbour.url(), follow=False)
    assert (response.status, response.body, len(response.hops)) == (302, b"elsewhere", 1)
    assert len(neighbour.requests) == 1


@pytest.mark.parametrize(
    "query",
    [
        "",
        "a=1&&b=2&a=3",
        "z=%c3%a9&a=%7Efoo+bar%20",
        "100%&x=%2f",
        "a[]=1&b='\"<>`^{|}&?x=/y",
        "hub.mode=evil&=&&",
    ],
)
def test_a_query_is_sent_as_it_stands(fetcher: Fetcher, neighbour: Neighbour, query: str) -> None:
    neighbour.answer("/x", 200)
    assert fetcher.get(f"{neighbour.url('/x')}?{query}#fragment").status == 200
    assert neighbour.requests[0].path == f"/x?{query}"


def test_a_query_that_is_not_ascii_is_encoded(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.answer("/x", 200)
    fetcher.get(neighbour.url("/x?q=zwölf&r=%c3"))
    assert neighbour.requests[0].path == "/x?q=zw%C3%B6lf&r=%c3"


def test_a_post_is_not_redirected(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.answer("/", status=307, headers=[("Location", "/b")])
    response = fetcher.post(neighbour.url(), b"secret")
    assert (response.status, response.headers["Location"]) == (307, "/b")
    assert len(neighbour.requests) == 1


@pytest.mark.parametrize("headers", [[], [("Location", "")]])
def test_a_redirect_to_nowhere_is_an_answer(
    fetcher: Fetcher, neighbour: Neighbour, headers: list[tuple[str, str]]
) -> None:
    neighbour.answer("/", status=302, headers=headers, body=b"hm")
    assert fetcher.get(neighbour.url()).body == b"hm"


def test_redirects_are_counted(make_fetcher: MakeFetcher, neighbour: Neighbour) -> None:
    neighbour.default(lambda request, wire: wire.send(_redirect(f"{request.path}x")))
    with pytest.raises(TooManyRedirects):
        make_fetcher(MAX_REDIRECTS=3).get(neighbour.url())
    assert [request.path for request in neighbour.requests] == ["/", "/x", "/xx", "/xxx"]


def _redirect(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode()


def test_a_location_in_raw_utf8_or_with_spaces_works(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.route("/", lambda request, wire: wire.send(_redirect("/zwölf boxkämpfer")))
    fetcher.get(neighbour.url())
    assert neighbour.requests[1].path == "/zw%C3%B6lf%20boxk%C3%A4mpfer"


def test_a_location_in_latin1_does_no_harm(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.route("/", raw(b"HTTP/1.1 302 Found\r\nLocation: /zw\xf6lf\r\n\r\n"))
    assert fetcher.get(neighbour.url()).url == neighbour.url("/zwölf")


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "//192.168.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://user:password@127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://[::1",
        "http://127.0.0.1:0/",
        "http://a\\@127.0.0.1/",
    ],
)
def test_each_hop_is_checked(fetcher: Fetcher, neighbour: Neighbour, location: str) -> None:
    neighbour.route("/", lambda request, wire: wire.send(_redirect(location)))
    with pytest.raises(AddressRefused):
        fetcher.get(neighbour.url())


def test_a_secret_is_not_shown_to_another_site(fetcher: Fetcher, neighbour: Neighbour) -> None:
    with Neighbour() as other:
        neighbour.answer("/", status=302, headers=[("Location", "/same")])
        neighbour.answer("/same", status=302, headers=[("Location", other.url())])
        fetcher.get(neighbour.url(), headers={"Authorization": "Basic x", "Accept": "a/b"})
        assert [r.header("Authorization") for r in neighbour.requests] == ["Basic x", "Basic x"]
        assert other.requests[0].header("Authorization") is None
        assert other.requests[0].header("Accept") == "a/b"


# --- TLS ------------------------------------------------------------------------------------------


def test_https_checks_the_certificate_by_name(fetcher: Fetcher, names: Resolver) -> None:
    names.names["blog.test"] = names.names["blog.test."] = ["127.0.0.1"]
    with Neighbour(tls=server_context("blog.test")) as neighbour:
        assert fetcher.get(neighbour.url(host="blog.test")).status == 404
        assert fetcher.get(neighbour.url(host="blog.test.")).status == 404
        first = neighbour.requests[0]
        assert first.header("Host") == f"blog.test:{neighbour.port}"
        assert {request.server_name for request in neighbour.requests} == {"blog.test"}


def test_https_by_address(fetcher: Fetcher) -> None:
    with Neighbour(tls=server_context("127.0.0.1")) as neighbour:
        assert fetcher.get(neighbour.url()).address == "127.0.0.1"


def test_a_certificate_for_another_name_is_not_accepted(fetcher: Fetcher) -> None:
    with Neighbour(tls=server_context("other.test")) as neighbour:
        with pytest.raises(Unreachable):
            fetcher.get(neighbour.url())
        assert neighbour.requests == []


def test_a_certificate_of_an_unknown_authority_is_not_accepted(fetcher: Fetcher) -> None:
    with Neighbour(tls=server_context("127.0.0.1", ca=trustme.CA())) as neighbour:
        with pytest.raises(Unreachable):
            fetcher.get(neighbour.url())
        assert neighbour.requests == []


def test_the_system_decides_without_a_bundle(make_fetcher: MakeFetcher) -> None:
    with Neighbour(tls=server_context("127.0.0.1")) as neighbour, pytest.raises(Unreachable):
        make_fetcher(CA_BUNDLE=None).get(neighbour.url())


def test_a_missing_bundle_is_told_at_once(make_fetcher: MakeFetcher, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LINKBACK_CA_BUNDLE"):
        make_fetcher(CA_BUNDLE=str(tmp_path / "none.pem"))


def test_https_may_redirect_to_http(fetcher: Fetcher, neighbour: Neighbour) -> None:
    with Neighbour(tls=server_context("127.0.0.1")) as secure:
        secure.answer("/", status=301, headers=[("Location", neighbour.url("/b"))])
        assert fetcher.get(secure.url()).url == neighbour.url("/b")


def test_a_plain_server_behind_https_is_unreachable(fetcher: Fetcher) -> None:
    # it answers at once: whether a handshake looks like a whole request is a matter of chance
    with (
        Neighbour(greet=lambda wire: wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as plain,
        pytest.raises(Unreachable),
    ):
        fetcher.get(plain.url().replace("http:", "https:"))


# --- connections that live on ---------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
def test_connections_are_used_again(fetcher: Fetcher, secure: bool) -> None:
    with Neighbour(tls=server_context("127.0.0.1") if secure else None) as neighbour:
        for number in range(5):
            fetcher.post(neighbour.url(f"/{number}"), b"x")
            fetcher.get(neighbour.url(f"/{number}"))
        assert neighbour.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_connections_that_should_end_are_not_used_again(
    fetcher: Fetcher, answer: bytes, secure: bool
) -> None:
    with Neighbour(tls=server_context("127.0.0.1") if secure else None) as neighbour:
        neighbour.route("/", lambda request, wire: wire.send(answer))
        for _ in range(3):
            assert fetcher.get(neighbour.url()).body == b"ok"
        assert neighbour.connections == 3


def test_bytes_that_come_later_unasked_end_a_connection(fetcher: Fetcher) -> None:
    spoken = threading.Event()
    answered = threading.Event()

    def talkative(request: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if request.connection == 0:
            assert answered.wait(5)
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            spoken.set()

    with Neighbour() as neighbour:
        neighbour.route("/", talkative)
        fetcher.get(neighbour.url())
        answered.set()
        assert spoken.wait(5)
        assert fetcher.get(neighbour.url()).body == b"ok"
        assert neighbour.connections == 2


def _closes_while_asked(request: Request, wire: Wire) -> None:
    """Answer the first request of a first connection; end it at the second, unread as it seems."""
    if request.connection == 0 and request.path == "/again":
        wire.keep = False
    else:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_a_get_is_sent_again_if_an_old_connection_ends(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.default(_closes_while_asked)
    fetcher.get(neighbour.url())
    assert fetcher.get(neighbour.url("/again")).body == b"ok"
    assert neighbour.connections == 2


def test_a_post_that_may_have_been_read_is_not_sent_again(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.default(_closes_while_asked)
    fetcher.post(neighbour.url(), b"1")
    with pytest.raises(Unreachable):
        fetcher.post(neighbour.url("/again"), b"2")
    assert [request.body for request in neighbour.requests] == [b"1", b"2"]


def test_an_idle_connection_that_was_closed_is_no_failure(fetcher: Fetcher) -> None:
    closed = threading.Event()

    def last_answer(request: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        wire.sock.shutdown(2)
        wire.keep = False
        closed.set()

    with Neighbour() as neighbour:
        neighbour.route("/", last_answer)
        for number in range(3):
            assert fetcher.post(neighbour.url(), b"x").body == b"ok"
            assert closed.wait(5)
            closed.clear()
            assert len(neighbour.requests) == number + 1


def test_a_new_connection_is_tried_once(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.route("/", raw(b""))
    with pytest.raises(Unreachable):
        fetcher.get(neighbour.url())
    assert len(neighbour.requests) == 1


def test_an_early_answer_is_read_though_the_request_was_not(fetcher: Fetcher) -> None:
    def greet(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        wire.sock.recv(1)
        raise Gone

    with Neighbour(greet=greet) as neighbour:
        assert fetcher.post(neighbour.url(), bytes(30_000_000)).status == 413


def test_a_post_that_was_not_sent_whole_is_sent_again(fetcher: Fetcher, neighbour: Neighbour) -> None:
    def ends_in_the_middle(request: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        if request.connection == 0:
            wire.sock.recv(1)
            raise Gone

    neighbour.default(ends_in_the_middle)
    fetcher.post(neighbour.url(), b"1")
    assert fetcher.post(neighbour.url(), bytes(30_000_000)).status == 204
    assert [len(request.body) for request in neighbour.requests] == [1, 30_000_000]


def test_purposes_with_other_networks_do_not_share_connections(make_fetcher: MakeFetcher) -> None:
    fetcher = make_fetcher(
        ALLOW_NETWORKS={"topic": ["127.0.0.0/8"], "hub": ["127.0.0.0/8"], "callback": ["127.0.0.1/32"]}
    )
    with Neighbour() as neighbour:
        fetcher.get(neighbour.url(), purpose="topic")
        fetcher.get(neighbour.url(), purpose="hub")
        assert neighbour.connections == 1
        fetcher.get(neighbour.url(), purpose="callback")
        assert neighbour.connections == 2
        with pytest.raises(AddressRefused):
            fetcher.get(neighbour.url())
        assert neighbour.connections == 2


def test_few_connections_wait_and_not_for_long(
    make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MAX_IDLE", 3)
    fetcher = make_fetcher(ALLOW_NETWORKS=["127.0.0.0/8"])
    with Neighbour(host="0.0.0.0") as neighbour:
        for number in range(1, 7):
            fetcher.get(neighbour.url(host=f"127.0.0.{number}"))
        assert len(fetcher._idle) == 3
        fetcher.get(neighbour.url(host="127.0.0.6"))
        assert neighbour.connections == 6
        monkeypatch.setattr(fetch, "IDLE_SECONDS", 0)
        fetcher.get(neighbour.url(host="127.0.0.6"))
        assert neighbour.connections == 7
        assert len(fetcher._idle) == 0


def test_one_host_has_few_waiting_connections(
    fetcher: Fetcher, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MAX_IDLE_PER_HOST", 2)
    together = threading.Barrier(4)

    def meet(request: Request, wire: Wire) -> None:
        together.wait(5)
        wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    neighbour.route("/", meet)
    threads = [threading.Thread(target=fetcher.get, args=[neighbour.url()]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert neighbour.connections == 4
    assert len(fetcher._idle) == 2


def test_a_closed_fetcher_keeps_nothing(fetcher: Fetcher, neighbour: Neighbour) -> None:
    fetcher.get(neighbour.url())
    fetcher.close()
    assert len(fetcher._idle) == 0
    assert fetcher.get(neighbour.url()).status == 404
    assert len(fetcher._idle) == 0


def test_a_forked_process_has_connections_of_its_own(
    fetcher: Fetcher, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher.get(neighbour.url())
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as a child would see it
    fetcher.get(neighbour.url())
    assert neighbour.connections == 2


def test_many_threads_share_one_fetcher(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.default(lambda request, wire: wire.send(_echo(request)))
    wrong: list[Any] = []

    def work(number: int) -> None:
        for count in range(25):
            body = f"{number} {count}".encode()
            answer = fetcher.post(neighbour.url(), body)
            if answer.body != body:
                wrong.append((body, answer))

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert wrong == []
    assert len(neighbour.requests) == 200
    assert neighbour.connections <= 8


def _echo(request: Request) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(request.body), request.body)


# --- through a proxy ------------------------------------------------------------------------------


def test_http_goes_through_the_proxy(make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    with Neighbour() as proxy:
        proxy.default(lambda request, wire: wire.send(_echo(request)))
        fetcher = make_fetcher(
            EGRESS_PROXY=f"http://user:p%40ss@127.0.0.1:{proxy.port}", ALLOW_NETWORKS=[], ALLOW_PORTS=[80]
        )
        response = fetcher.post("http://blog.test/hook?x=1", b"hello")
        assert (response.body, response.address) == (b"hello", "")
        (request,) = proxy.requests
        assert request.path == "http://blog.test/hook?x=1"
        assert request.header("Host") == "blog.test"
        assert request.header("Proxy-Authorization") == "Basic dXNlcjpwQHNz"
        for url in ("http://blog.test:81/", "ftp://blog.test/", "http://u:p@blog.test/"):
            with pytest.raises(AddressRefused):
                fetcher.get(url)


def test_https_goes_through_a_tunnel(make_fetcher: MakeFetcher) -> None:
    context = server_context("blog.test")

    def tunnel(request: Request, wire: Wire) -> None:
        if request.method == "CONNECT":
            wire.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            wire.start_tls(context)
        else:
            wire.send(_echo(request))

    with Neighbour() as proxy:
        proxy.default(tunnel)
        fetcher = make_fetcher(EGRESS_PROXY=f"http://u:p@127.0.0.1:{proxy.port}", ALLOW_NETWORKS=[])
        for _ in range(2):
            assert fetcher.post("https://blog.test/hook", b"hello").body == b"hello"
        connect, post, _again = proxy.requests
        assert (connect.method, connect.path) == ("CONNECT", "blog.test:443")
        assert connect.header("Proxy-Authorization") == "Basic dTpw"
        assert (post.path, post.server_name) == ("/hook", "blog.test")
        assert post.header("Proxy-Authorization") is None
        with pytest.raises(Unreachable):  # the tunnel ends at a server with another name
            fetcher.get("https://other.test/")


def test_a_proxy_that_refuses_makes_it_unreachable(make_fetcher: MakeFetcher) -> None:
    with Neighbour() as proxy:
        proxy.default(lambda request, wire: wire.send(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"))
        with pytest.raises(Unreachable):
            make_fetcher(EGRESS_PROXY=f"http://127.0.0.1:{proxy.port}").get("https://blog.test/")


@pytest.mark.parametrize("handshake", [False, True])
def test_a_proxy_that_stalls_is_too_slow(make_fetcher: MakeFetcher, handshake: bool) -> None:
    def stall(request: Request, wire: Wire) -> None:
        if handshake:
            wire.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        wire.pause()

    with Neighbour() as proxy:
        proxy.default(stall)
        with pytest.raises(TooSlow):
            make_fetcher(EGRESS_PROXY=f"http://127.0.0.1:{proxy.port}").get("https://blog.test/", timeout=0.3)


@pytest.mark.parametrize("url", ["https://127.0.0.1:3128", "http://pro xy/", "http://a:99999/"])
def test_a_proxy_that_cannot_work_is_told_at_once(make_fetcher: MakeFetcher, url: str) -> None:
    with pytest.raises(ConfigError, match="LINKBACK_EGRESS_PROXY"):
        make_fetcher(EGRESS_PROXY=url)


def test_the_environment_has_no_say(
    fetcher: Fetcher, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with Neighbour() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url())
        fetcher.get(neighbour.url())
        assert proxy.connections == 0
    assert neighbour.requests[0].header("Authorization") is None


def test_cookies_are_not_kept(fetcher: Fetcher, neighbour: Neighbour) -> None:
    neighbour.answer("/", headers=[("Set-Cookie", "a=b")])
    fetcher.get(neighbour.url())
    fetcher.get(neighbour.url())
    assert neighbour.requests[1].header("Cookie") is None


# --- records --------------------------------------------------------------------------------------


def test_a_refusal_leaves_one_record_without_secrets(
    make_fetcher: MakeFetcher, caplog: pytest.LogCaptureFixture, names: Resolver
) -> None:
    names.names["inside.test"] = ["10.0.0.1"]
    caplog.set_level(logging.INFO, logger="flask_linkback.fetch")
    with pytest.raises(AddressRefused) as raised:
        make_fetcher().get("http://inside.test/path?token=hush", headers={"X": "hush"}, purpose="topic")
    (record,) = caplog.records
    assert record.name == "flask_linkback.fetch"
    values = vars(record)
    assert (values["kind"], values["host"], values["purpose"]) == ("address_refused", "inside.test", "topic")
    assert values["detail"] == "inside.test has the address 10.0.0.1"
    assert "hush" not in repr(values)
    assert "10.0.0.1" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://user:hush@a.example/", "http://user:hush@a\n.example/"])
def test_a_record_never_holds_credentials(
    fetcher: Fetcher, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    caplog.set_level(logging.INFO, logger="flask_linkback.fetch")
    with pytest.raises(FetchError):
        fetcher.get(url)
    assert "hush" not in repr(vars(caplog.records[0]))
    assert "\n" not in vars(caplog.records[0])["host"]


def test_an_answer_leaves_no_record(
    fetcher: Fetcher, neighbour: Neighbour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fetcher.get(neighbour.url())
    assert caplog.records == []


# --- the door itself ------------------------------------------------------------------------------


def test_urllib3_still_asks_us_for_its_sockets(fetcher: Fetcher) -> None:
    assert fetcher.self_check()


def test_the_self_check_notices_when_it_does_not(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fetch._Connection, "_new_conn")
    assert not fetcher.self_check()


def test_a_response_is_a_value(fetcher: Fetcher, neighbour: Neighbour) -> None:
    response = fetcher.get(neighbour.url())
    with pytest.raises(dataclasses.FrozenInstanceError):
        response.status = 200  # type: ignore[misc]


def test_helpers_are_public() -> None:
    assert check_url("https://Example.com/a?b") == ("https", "example.com", 443, "/a?b")
    assert public_address("93.184.216.34")
