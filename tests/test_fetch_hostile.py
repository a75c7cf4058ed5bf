"""What the door does not let in: hostile addresses, URLs and servers."""

from __future__ import annotations

import contextlib
import gzip
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flask_linkback.config import Settings
from flask_linkback.errors import (
    AddressRefused,
    FetchError,
    TooLarge,
    TooManyRedirects,
    TooSlow,
    Unreachable,
)
from flask_linkback.fetch import Fetcher, check_url, public_address
from tests.thorough import examples

from . import neighbours
from .neighbours import Neighbour, Request, Resolver, Wire, bomb, chunked, raw, server_context

SCHEMES = ["http", "https"]


@pytest.fixture(scope="module")
def ca_bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return neighbours.write_ca_bundle(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def fetcher(ca_bundle: str) -> Iterator[Fetcher]:
    """May talk to neighbours, for less than a second."""
    made = Fetcher(
        Settings.from_config(
            {
                "LINKBACK_ALLOW_NETWORKS": ["127.0.0.0/8"],
                "LINKBACK_ALLOW_PORTS": "any",
                "LINKBACK_CA_BUNDLE": ca_bundle,
                "LINKBACK_FETCH_TIMEOUT": 0.4,
                "LINKBACK_DELIVERY_TIMEOUT": 0.4,
            }
        )
    )
    yield made
    made.close()


@pytest.fixture
def patient(ca_bundle: str) -> Iterator[Fetcher]:
    """May talk to neighbours, and is not stopped by the clock."""
    made = Fetcher(
        Settings.from_config(
            {
                "LINKBACK_ALLOW_NETWORKS": ["127.0.0.0/8"],
                "LINKBACK_ALLOW_PORTS": "any",
                "LINKBACK_CA_BUNDLE": ca_bundle,
                "LINKBACK_FETCH_TIMEOUT": 20,
                "LINKBACK_DELIVERY_TIMEOUT": 20,
            }
        )
    )
    yield made
    made.close()


@pytest.fixture
def stranger() -> Iterator[Fetcher]:
    """Has the settings of a site that has set nothing, but may use any port."""
    made = Fetcher(Settings.from_config({"LINKBACK_ALLOW_PORTS": "any"}))
    yield made
    made.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr("socket.getaddrinfo", resolver.getaddrinfo)
    return resolver


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where anybody tried to connect to; what is not on this machine is not even tried."""
    tried: list[Any] = []
    real = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        tried.append(address[0])
        if not str(address[0]).startswith("127."):
            raise ConnectionRefusedError
        real(sock, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


# --- addresses ------------------------------------------------------------------------------------

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",  # metadata, Alibaba
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # host of a virtual machine, Azure
    "169.254.169.254",  # metadata, most clouds
    "169.254.170.2",  # credentials, ECS
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",  # metadata, Oracle
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "100:0:0:1::1",
    "2001::1",  # Teredo
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # metadata, EC2
    "fd20:ce::254",  # metadata, Google
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "100.63.255.255", "172.32.0.1", "223.255.255.255", "2606:4700::1111"]
DISGUISED = [
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.01",
    "127.1",
    "127.0.1",
    "0",
    "localhost",
    "LOCALHOST",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public(address: str) -> None:
    assert not public_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    assert public_address(address)


@pytest.mark.parametrize(
    "text", ["", "example.com", "127.1", "1.1.1.1%eth0", "2606:4700::1111%2", "1.1.1.1 "]
)
def test_what_is_no_address_is_not_public(text: str) -> None:
    assert not public_address(text)


def test_networks_can_be_allowed() -> None:
    allowed = Settings.from_config({"LINKBACK_ALLOW_NETWORKS": ["10.1.0.0/16", "fd00::/8"]}).fetch
    networks = allowed.allow_networks[""]
    assert public_address("10.1.2.3", networks)
    assert public_address("fd00::1", networks)
    assert not public_address("10.2.0.1", networks)
    assert not public_address("::ffff:10.1.2.3", networks)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("host", NOT_PUBLIC + DISGUISED)
def test_no_connection_to_what_is_not_public(
    stranger: Fetcher, connects: list[Any], host: str, scheme: str
) -> None:
    netloc = f"[{host}]" if ":" in host else host
    with Neighbour() as neighbour:
        for url in (f"{scheme}://{netloc}:{neighbour.port}/", f"{scheme}://{netloc}/"):
            with pytest.raises(AddressRefused):
                stranger.get(url)
            with pytest.raises(AddressRefused):
                stranger.post(url, b"x")
        assert neighbour.connections == 0
    assert connects == []


@pytest.mark.parametrize(
    "answers", [["1.1.1.1", "10.0.0.1"], ["127.0.0.1", "1.1.1.1"], ["1.1.1.1", "fe80::1%2"]]
)
def test_one_bad_address_spoils_a_name(
    stranger: Fetcher, names: Resolver, connects: list[Any], answers: list[str]
) -> None:
    names.names["mixed.test"] = answers
    with pytest.raises(AddressRefused):
        stranger.get("http://mixed.test/")
    assert connects == []


def test_a_name_is_resolved_once_for_check_and_connection(
    stranger: Fetcher, names: Resolver, connects: list[Any]
) -> None:
    names.names["rebind.test"] = [["198.41.0.4"], ["127.0.0.1"]]
    with pytest.raises(Unreachable):
        stranger.get("http://rebind.test/")
    assert connects == ["198.41.0.4"]
    assert names.asked == ["rebind.test"]
    with pytest.raises(AddressRefused):
        stranger.get("http://rebind.test/")
    assert connects == ["198.41.0.4"]


def test_few_addresses_of_a_name_are_tried(stranger: Fetcher, names: Resolver, connects: list[Any]) -> None:
    names.names["many.test"] = [f"198.41.0.{n}" for n in range(1, 9)]
    with pytest.raises(Unreachable):
        stranger.get("http://many.test/")
    assert connects == ["198.41.0.1", "198.41.0.2", "198.41.0.3", "198.41.0.4"]


def test_the_next_address_is_tried(fetcher: Fetcher, names: Resolver, connects: list[Any]) -> None:
    names.names["two.test"] = ["198.41.0.4", "127.0.0.1"]
    with Neighbour() as neighbour:
        assert fetcher.get(neighbour.url(host="two.test")).address == "127.0.0.1"
    assert connects == ["198.41.0.4", "127.0.0.1"]


def test_the_other_end_is_checked_too(
    stranger: Fetcher, names: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.names["bent.test"] = ["198.41.0.4"]
    real = socket.socket.connect
    with Neighbour() as neighbour:
        inside = ("127.0.0.1", neighbour.port)
        monkeypatch.setattr(socket.socket, "connect", lambda sock, address: real(sock, inside))
        with pytest.raises(AddressRefused):
            stranger.get("http://bent.test/")
        assert neighbour.requests == []


@pytest.mark.parametrize("answer", [[], ["::1"]])
def test_names_without_a_usable_address(stranger: Fetcher, names: Resolver, answer: list[str]) -> None:
    names.names["none.test"] = answer
    with pytest.raises(AddressRefused if answer else Unreachable):
        stranger.get("http://none.test/")


def test_a_resolver_that_is_slow_counts(names: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Fetcher(Settings.from_config({"LINKBACK_FETCH_TIMEOUT": 0.05}))
    names.names["slow.test"] = ["198.41.0.4"]
    resolve = names.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            pass
        return resolve(*args, **kwargs)

    monkeypatch.setattr("socket.getaddrinfo", slow)
    with pytest.raises(TooSlow):
        quick.get("http://slow.test/")


def test_ports_are_listed(names: Resolver, connects: list[Any]) -> None:
    fetcher = Fetcher(Settings.from_config({}))
    names.names["blog.test"] = ["198.41.0.4"]
    for port in (1, 22, 25, 6379, 11211, 65535):
        with pytest.raises(AddressRefused):
            fetcher.post(f"http://blog.test:{port}/", b"")
    assert names.asked == []
    for url in ("http://blog.test/", "https://blog.test/", "http://blog.test:8080/"):
        with pytest.raises(Unreachable):
            fetcher.get(url)
    assert len(connects) == 3


# --- URLs -----------------------------------------------------------------------------------------

BAD_URLS = [
    "",
    "example.com",
    "//example.com/",
    "http:example.com",
    "http:/example.com",
    "http:///example.com",
    "http://",
    "http://?",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "data:text/plain,x",
    " http://example.com/",
    "http://example.com/ ",
    "http://exa mple.com/",
    "http://example.com/\r\nHost: evil",
    "http://example.com/\x00",
    "http://example.com\t/",
    "http://example.com\\@127.0.0.1/",
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://@example.com/",
    "http://example.com@127.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://example.com%2f@evil/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1",
    "http://[::1]x/",
    "http://[127.0.0.1]/",
    "http://[v1.x]/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:99999999/",
    "http://example.com:-1/",
    "http://example.com:a/",
    "http://example.com:80:80/",
    "http://a..b/",
    "http://.a/",
    "http://./",
    "http://a,b/",
    "http://a'b/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 200 + "example/",
    "http://example.com/" + "x" * 2048,
    "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "http://127。0。0。1/",
    "http://ⓔxample.com/",
    "http://exa\u00admple.com/",
    "http://xn--\x80.example/",
    "http://\ud800.example/",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_malformed_urls_are_refused(
    stranger: Fetcher, connects: list[Any], names: Resolver, url: str
) -> None:
    for call in (stranger.get, stranger.head, lambda url: stranger.post(url, b"")):
        with pytest.raises(AddressRefused):
            call(url)
    assert names.asked == connects == []


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://example.com", ("http", "example.com", 80, "/")),
        ("HTTP://EXAMPLE.com:8080", ("http", "example.com", 8080, "/")),
        ("https://example.com:/a", ("https", "example.com", 443, "/a")),
        ("http://example.com?q=a%20b&ü#x", ("http", "example.com", 80, "/?q=a%20b&%C3%BC")),
        ("http://zwölf.example/ß", ("http", "xn--zwlf-6qa.example", 80, "/%C3%9F")),
        ("http://faß.example/", ("http", "xn--fa-hia.example", 80, "/")),
        ("http://a_b.example./", ("http", "a_b.example.", 80, "/")),
        ("http://[2606:4700::1111]:81/", ("http", "2606:4700::1111", 81, "/")),
        ("http://example.com/@x:y", ("http", "example.com", 80, "/@x:y")),
        ("http://example.com/a//b/../c", ("http", "example.com", 80, "/a//c")),
    ],
)
def test_well_formed_urls(url: str, parts: tuple[str, str, int, str]) -> None:
    assert check_url(url) == parts


_HOSTS = st.sampled_from(
    ["a.example", "127.0.0.1", "[::1]", "zwölf.example", "xn--a.example", "@", "%31", ""]
)
_ODD = st.text(alphabet=st.sampled_from("abc/\\@:%#?[]. \t\r\n\0é。-_0Ⅷ\u2028\ud800"), max_size=12)


@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.text(max_size=40),
        st.tuples(st.sampled_from(["http://", "https://"]), _ODD, _HOSTS, _ODD).map("".join),
    )
)
@example("http://a.example/\n")
def test_any_text_is_a_url_or_is_refused(text: str) -> None:
    try:
        parts = check_url(text)
    except AddressRefused:
        return
    line = f"GET {parts.path} HTTP/1.1 {parts.authority}"
    assert line.isascii()
    assert line.count(" ") == 3
    assert line.isprintable()
    assert "@" not in parts.authority
    assert 0 < parts.port < 65536


# --- servers: time --------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(route: neighbours.Route, scheme: str) -> Iterator[Neighbour]:
    with Neighbour(tls=server_context("127.0.0.1") if scheme == "https" else None) as neighbour:
        neighbour.default(route)
        yield neighbour


SLOW = [
    neighbours.slow_body,
    neighbours.slow_head,
    neighbours.slow_status,
    neighbours.slow_chunk_line,
    neighbours.slow_trailers,
    neighbours.slow_continue,
    neighbours.silent,
]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("route", SLOW)
def test_a_slow_server_is_left_at_the_deadline(
    fetcher: Fetcher, route: Callable[[Request, Wire], None], method: str, scheme: str
) -> None:
    with serving(route, scheme) as neighbour:
        started = time.monotonic()
        with pytest.raises(TooSlow):
            fetcher.get(neighbour.url()) if method == "get" else fetcher.post(neighbour.url(), b"x")
        assert 0.3 < time.monotonic() - started < 3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_deadline_holds_on_a_connection_that_is_used_again(fetcher: Fetcher, scheme: str) -> None:
    with serving(neighbours.slow_body, scheme) as neighbour:
        neighbour.answer("/first", body=b"ok")
        fetcher.get(neighbour.url("/first"), timeout=5)
        with pytest.raises(TooSlow):
            fetcher.get(neighbour.url())
        assert neighbour.connections == 1


def test_redirects_share_one_deadline(fetcher: Fetcher) -> None:
    def later(request: Request, wire: Wire) -> None:
        wire.pause(0.15)
        wire.send(b"HTTP/1.1 302 Found\r\nLocation: %sx\r\n\r\n" % request.path.encode())

    with serving(later, "http") as neighbour:
        with pytest.raises(TooSlow):
            fetcher.get(neighbour.url())
        assert len(neighbour.requests) < 4


def test_a_handshake_that_stalls_ends_at_the_deadline(fetcher: Fetcher) -> None:
    with Neighbour(scheme="https", greet=lambda wire: wire.pause()) as neighbour, pytest.raises(TooSlow):
        fetcher.get(neighbour.url())


def test_a_handshake_that_drips_ends_at_the_deadline(fetcher: Fetcher) -> None:
    def drip(wire: Wire) -> None:
        wire.send(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB begins
        neighbours.drip(wire, b"\x02")

    with Neighbour(scheme="https", greet=drip) as neighbour:
        started = time.monotonic()
        with pytest.raises(FetchError):
            fetcher.get(neighbour.url())
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_that_does_not_read_ends_at_the_deadline(fetcher: Fetcher, scheme: str) -> None:
    context = server_context("127.0.0.1") if scheme == "https" else None

    def greet(wire: Wire) -> None:
        if context:
            wire.start_tls(context)
        wire.pause()

    with Neighbour(scheme=scheme, greet=greet) as neighbour, pytest.raises(TooSlow):
        fetcher.post(neighbour.url(), bytes(30_000_000))


# --- servers: size --------------------------------------------------------------------------------

LARGE = [
    neighbours.endless_continue,
    neighbours.endless_body,
    neighbours.endless_chunks,
    neighbours.endless_chunk_extension,
    neighbours.endless_trailers,
    neighbours.many_headers,
    neighbours.huge_headers,
]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("route", LARGE)
def test_an_endless_server_is_left(
    patient: Fetcher, route: Callable[[Request, Wire], None], scheme: str
) -> None:
    with serving(route, scheme) as neighbour, pytest.raises(TooLarge):
        patient.get(neighbour.url())


def test_an_endless_status_line_is_no_http(patient: Fetcher) -> None:
    with serving(neighbours.endless_status_line, "http") as neighbour, pytest.raises(Unreachable):
        patient.get(neighbour.url())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_endless_body_does_not_undo_a_delivery(patient: Fetcher, scheme: str) -> None:
    with serving(neighbours.endless_body, scheme) as neighbour:
        response = patient.post(neighbour.url(), b"x")
        assert (response.status, len(response.body)) == (200, 16384)


def test_the_body_of_a_redirect_is_not_read(patient: Fetcher) -> None:
    with serving(neighbours.huge_redirect_body, "http") as neighbour:
        neighbour.answer("/there", body=b"ok")
        assert patient.get(neighbour.url()).body == b"ok"


def test_a_loop_of_redirects_ends(patient: Fetcher) -> None:
    with serving(raw(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), "http") as neighbour:
        with pytest.raises(TooManyRedirects):
            patient.get(neighbour.url())
        assert len(neighbour.requests) == 6


GZIP = [("Content-Encoding", "gzip")]


@pytest.mark.parametrize(
    ("status", "headers", "layers"),
    [
        (200, GZIP, 1),
        (200, [("Content-Encoding", "gzip, gzip")], 2),
        (200, [*GZIP, *GZIP, *GZIP], 3),
        (302, [*GZIP, ("Location", "/")], 1),
        (404, GZIP, 1),
    ],
)
def test_a_bomb_does_not_go_off(
    patient: Fetcher, status: int, headers: list[tuple[str, str]], layers: int
) -> None:
    packed = bomb(256, layers)
    with Neighbour() as neighbour:
        neighbour.answer("/", status=status, headers=headers, body=packed)
        tracemalloc.start()
        try:
            with pytest.raises((TooLarge, TooManyRedirects)):
                patient.get(neighbour.url())
            with pytest.raises((TooLarge, TooManyRedirects)):
                patient.get(neighbour.url(), on_chunk=lambda *_: False)
            assert len(patient.post(neighbour.url(), b"x").body) == 16384
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()


def test_what_a_later_step_throws_away_is_counted_too(patient: Fetcher) -> None:
    packed = gzip.compress(gzip.compress(b"x") + bytes(64 << 20))
    with Neighbour() as neighbour:
        neighbour.answer("/", headers=[("Content-Encoding", "gzip, gzip")], body=packed)
        with pytest.raises(TooLarge):
            patient.get(neighbour.url())


def test_many_small_answers_leave_no_memory_behind(patient: Fetcher) -> None:
    with Neighbour() as neighbour:
        neighbour.answer("/", body=gzip.compress(bytes(100_000)), headers=GZIP)
        for _ in range(20):
            patient.get(neighbour.url())
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(100):
                patient.get(neighbour.url())
                neighbour.requests.clear()
            assert tracemalloc.get_traced_memory()[0] - before < 200_000
        finally:
            tracemalloc.stop()


# --- servers: form --------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GARBLED = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/0.9 by name": b"HTTP/0.9 200 OK\r\n\r\nhello",
    "HTTP/2": b"HTTP/2 200\r\n\r\nhello",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "bad status": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 99 OK\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "half a head": OK + b"Content-Le",
    "a head without end": OK + b"Content-Length: 0\r\n",
    "no colon": OK + b"hello\r\n\r\n",
    "space before the colon": OK + b"Content-Length : 2\r\n\r\nok",
    "a short body": OK + b"Content-Length: 100\r\n\r\nshort",
    "no body": OK + b"Content-Length: 100\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "two lengths in one": OK + b"Content-Length: 2, 3\r\n\r\nok!",
    "a negative length": OK + b"Content-Length: -2\r\n\r\nok",
    "a signed length": OK + b"Content-Length: +2\r\n\r\nok",
    "an odd length": OK + b"Content-Length: 0x2\r\n\r\nok",
    "an empty length": OK + b"Content-Length: \r\n\r\nok",
    "a long length": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nok",
    "an unknown transfer coding": OK + b"Transfer-Encoding: gzip\r\n\r\nok",
    "two transfer codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a chunk cut off": CHUNKED + b"64\r\nshort",
    "no last chunk": CHUNKED + b"2\r\nok\r\n",
    "no chunk": CHUNKED,
    "no end of trailers": CHUNKED + b"2\r\nok\r\n0\r\n",
    "a negative chunk": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a signed chunk": CHUNKED + b"+2\r\nok\r\n0\r\n\r\n",
    "an odd chunk": CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    "an underscore in a chunk": CHUNKED + b"0_2\r\nok\r\n0\r\n\r\n",
    "a long chunk size": CHUNKED + b"0" * 50 + b"2\r\nok\r\n0\r\n\r\n",
    "a chunk without end": CHUNKED + b"2\r\nokay\r\n0\r\n\r\n",
    "no gzip": OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "half a gzip": OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello" * 99)[:-9],
    "a wrong sum": OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello")[:-8] + bytes(8),
    "an unknown coding": OK + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\nok",
    "200 codings": OK + b"Content-Encoding: " + b", ".join([b"gzip"] * 200) + b"\r\n\r\nok",
    "codings in 4 headers": OK + b"Content-Encoding: gzip\r\n" * 4 + b"\r\nok",
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("answer", GARBLED.values(), ids=GARBLED.keys())
def test_what_is_no_whole_http_is_unreachable(patient: Fetcher, answer: bytes, scheme: str) -> None:
    with serving(raw(answer), scheme) as neighbour:
        with pytest.raises(Unreachable) as raised:
            patient.get(neighbour.url())
        assert len(str(raised.value)) <= 200
        with pytest.raises(Unreachable):
            patient.post(neighbour.url(), b"x")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_reset_is_unreachable(patient: Fetcher, begun: bytes, scheme: str) -> None:
    def reset(request: Request, wire: Wire) -> None:
        wire.send(begun)
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.keep = False

    with serving(reset, scheme) as neighbour, pytest.raises(Unreachable):
        patient.get(neighbour.url())


@settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_bytes_make_another_error_than_ours(patient: Fetcher, data: st.DataObject) -> None:
    piece = st.one_of(
        st.sampled_from(
            [OK, CHUNKED, b"\r\n", b"\n", b"Content-Length: 3\r\n", b"0\r\n\r\n", b"3\r\nabc\r\n"]
        ),
        st.sampled_from(
            [b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", gzip.compress(b"x")]
        ),
        st.sampled_from(
            [b"HTTP/1.1 302 Found\r\n", b"Location: http://[/\r\n", b"Location: /\xff\r\n", chunked(b"x")]
        ),
        st.binary(max_size=12),
    )
    answer = b"".join(data.draw(st.lists(piece, max_size=7)))
    with serving(raw(answer), "http") as neighbour, contextlib.suppress(FetchError):
        patient.get(neighbour.url())


def test_no_thread_is_left_behind(patient: Fetcher) -> None:
    with (
        neighbours.no_threads_left(),
        serving(neighbours.silent, "http") as neighbour,
        pytest.raises(TooSlow),
    ):
        patient.get(neighbour.url(), timeout=0.1)
