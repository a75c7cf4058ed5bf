"""Hostile servers, each through every entry: left in time, in little memory, with one record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Literal

import pytest

from tests import neighbours
from tests.apps import Blog
from tests.hostile.entries import Entry, attack, unlimited_blog
from tests.neighbours import Answer, Deaf, Neighbour, Route, Wire, bomb, raw, server_context
from tests.thorough import FULL

DEADLINE: Final = 0.2
"""Seconds of one fetch, where a server would never end it."""
PATIENCE: Final = 10.0
"""Seconds of one fetch, where the size or the form of what is sent must end it before."""
GRACE: Final = 0.5
GROWTH: Final = 16 << 20

Served = AbstractContextManager[Neighbour] | AbstractContextManager[Deaf]


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server, and as what it is to be recorded: by whoever GETs, by who POSTs, by who reads a head only.

    ``""`` is an answer that was read and is of no use, which is no failed fetch.
    """

    make: Callable[[], Served]
    get: str
    post: str
    head: str
    """Discovery reads no further than 512 KiB: what comes later does it no harm."""
    slow: bool = False


def _plain(route: Route, get: str, *, post: str | None = None, head: str | None = None) -> Server:
    return _server(lambda: Neighbour(), route, get, post, head)


def _tls(route: Route, get: str, *, post: str | None = None, head: str | None = None) -> Server:
    return _server(lambda: Neighbour(tls=server_context("127.0.0.1")), route, get, post, head)


def _server(
    make: Callable[[], Neighbour], route: Route, get: str, post: str | None, head: str | None
) -> Server:
    def made() -> Neighbour:
        neighbour = make()
        neighbour.default(route)
        return neighbour

    return Server(
        make=made,
        get=get,
        post=get if post is None else post,
        head=get if head is None else head,
        slow=get == "too_slow",
    )


def _greeting(greet: Callable[[Wire], None], scheme: Literal["http", "https"]) -> Server:
    def made() -> Neighbour:
        return Neighbour(scheme=scheme, greet=greet)

    return Server(make=made, get="too_slow", post="too_slow", head="too_slow", slow=True)


def _drip_handshake(wire: Wire) -> None:
    wire.send(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB begins
    neighbours.drip(wire, b"\x02")


def _speak_no_end(wire: Wire) -> None:
    wire.start_tls(server_context("127.0.0.1"))
    wire.pause()


OK: Final = b"HTTP/1.1 200 OK\r\n"
GZIP: Final = ("Content-Encoding", "gzip")
_BOMB: Final = Answer(body=bomb(256), headers=[GZIP])
_BOMB_ON_THE_WAY: Final = Answer(status=302, body=bomb(256), headers=[GZIP, ("Location", "/")])
_LAYERS: Final = Answer(body=bomb(256, 3), headers=[GZIP, GZIP, GZIP])

SERVERS: Final[dict[str, Server]] = {
    # too slow
    "slow body": _plain(neighbours.slow_body, "too_slow"),
    "slow headers": _plain(neighbours.slow_head, "too_slow"),
    "slow status line": _plain(neighbours.slow_status, "too_slow"),
    "slow chunk-size line": _plain(neighbours.slow_chunk_line, "too_slow"),
    "slow trailers": _plain(neighbours.slow_trailers, "too_slow"),
    "100 Continue, for ever": _plain(neighbours.slow_continue, "too_slow"),
    "silence": _plain(neighbours.silent, "too_slow"),
    "a full queue": Server(make=Deaf, get="too_slow", post="too_slow", head="too_slow", slow=True),
    "TLS: no handshake": _greeting(lambda wire: wire.pause(), "https"),
    "TLS: a slow handshake": _greeting(_drip_handshake, "https"),
    "TLS: silence": _greeting(_speak_no_end, "https"),
    "TLS: slow headers": _tls(neighbours.slow_head, "too_slow"),
    "TLS: slow body": _tls(neighbours.slow_body, "too_slow"),
    # too large
    "endless body": _plain(neighbours.endless_body, "too_large", post="", head=""),
    "endless chunks": _plain(neighbours.endless_chunks, "too_large", post=""),
    "endless chunk-size line": _plain(neighbours.endless_chunk_extension, "too_large"),
    "endless trailers": _plain(neighbours.endless_trailers, "too_large"),
    "100 Continue, fast": _plain(neighbours.endless_continue, "too_large"),
    "5 000 headers": _plain(neighbours.many_headers, "too_large"),
    "99 headers of 65 KB": _plain(neighbours.huge_headers, "too_large"),
    "endless status line": _plain(neighbours.endless_status_line, "unreachable"),
    "gzip bomb": _plain(_BOMB, "too_large", post="", head=""),
    "gzip bomb in a gzip bomb": _plain(_LAYERS, "too_large", post="", head=""),
    "gzip bomb in a redirect": _plain(_BOMB_ON_THE_WAY, "too_many_redirects", post=""),
    "TLS: endless body": _tls(neighbours.endless_body, "too_large", post="", head=""),
    "TLS: endless headers": _tls(neighbours.huge_headers, "too_large"),
    # in bad form
    "a loop of redirects": _plain(
        raw(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), "too_many_redirects", post=""
    ),
    "HTTP/0.9": _plain(raw(b"<html>hello</html>"), "unreachable"),
    "half a head": _plain(raw(OK + b"Content-Le"), "unreachable"),
    "a short body": _plain(raw(OK + b"Content-Length: 100\r\n\r\nshort"), "unreachable"),
    "a chunk cut off": _plain(raw(OK + b"Transfer-Encoding: chunked\r\n\r\n64\r\nshort"), "unreachable"),
    "200 encodings": _plain(
        raw(OK + b"Content-Encoding: " + b", ".join([b"gzip"] * 200) + b"\r\n\r\nok"), "unreachable"
    ),
    "a hang-up": _plain(neighbours.hang_up, "unreachable"),
    "TLS: a wrong name": _server(
        lambda: Neighbour(tls=server_context("other.test")), Answer(), "unreachable", None, None
    ),
    "TLS: spoken plainly": _server(
        lambda: Neighbour(scheme="https", greet=lambda wire: wire.send(OK)),
        Answer(),
        "unreachable",
        None,
        None,
    ),
}


# by webmention and trackback an address comes to the same place as by pingback
ENTRIES: Final = list(Entry) if FULL else [Entry.at_once, Entry.page, Entry.endpoint]


@pytest.fixture(scope="module", params=ENTRIES)
def entry(request: pytest.FixtureRequest) -> Entry:
    return Entry(request.param)


@pytest.fixture(scope="module")
def blogs(entry: Entry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[float, Blog]]:
    """A blog that waits shortly and one that waits long."""
    folder = tmp_path_factory.mktemp("servers")
    blogs = {
        seconds: unlimited_blog(
            entry,
            folder / f"{seconds}.db",
            CA_BUNDLE=neighbours.write_ca_bundle(folder),
            FETCH_TIMEOUT=seconds,
            DELIVERY_TIMEOUT=seconds,
        )
        for seconds in (DEADLINE, PATIENCE)
    }
    with Neighbour() as neighbour:  # what is done first takes memory that stays
        neighbour.answer("/", status=404)
        for blog in blogs.values():
            attack(blog, entry, [neighbour.url()], neighbour)
    yield blogs
    for blog in blogs.values():
        blog.close()


@pytest.fixture(scope="module")
def guide() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS.keys())
def test_a_hostile_server_is_left_in_time_in_little_memory_with_one_record(
    blogs: dict[float, Blog], guide: Neighbour, entry: Entry, server: Server
) -> None:
    deadline = DEADLINE if server.slow else PATIENCE
    with server.make() as neighbour:
        ended = attack(blogs[deadline], entry, [neighbour.url()], guide)
    assert ended.seconds <= deadline + GRACE
    assert ended.growth <= GROWTH
    expected = {Entry.endpoint: server.post, Entry.page: server.head}.get(entry, server.get)
    assert len(ended.records) == 1
    if expected:
        # on a slow machine what never ends is too slow before it is too large
        assert ended.records[0] in (expected, "too_slow" if expected == "too_large" else expected)
    else:
        assert ended.records[0] not in ("", "done")
