"""Hostile addresses, each by every road and through every entry: nobody connects to them."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from flask_linkback.config import Settings
from flask_linkback.fetch import Fetcher
from tests.apps import Blog
from tests.hostile.entries import Entry, attack, unlimited_blog
from tests.neighbours import Neighbour, Resolver
from tests.test_fetch_hostile import DISGUISED, NOT_PUBLIC

ALLOWED: Final = "127.77.0.1"
"""Where neighbours may live here; all other addresses that are not public are hostile."""
PUBLIC: Final = "198.41.0.4"
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=list(Entry))
def entry(request: pytest.FixtureRequest) -> Entry:
    return Entry(request.param)


@pytest.fixture(scope="module")
def blog(entry: Entry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blog]:
    made = unlimited_blog(entry, tmp_path_factory.mktemp("addresses") / "blog.db")
    made.site.fetch.close()
    made.site.fetch = Fetcher(
        Settings.from_config({**made.app.config, "LINKBACK_ALLOW_NETWORKS": f"{ALLOWED}/32"})
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def guide() -> Iterator[Neighbour]:
    """The one neighbour that may be talked to."""
    with Neighbour(host=ALLOWED) as neighbour:
        yield neighbour


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr("socket.getaddrinfo", resolver.getaddrinfo)
    return resolver


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where anybody tried to connect to; what is not the neighbour is not even tried."""
    tried: list[str] = []
    real = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        tried.append(address[0])
        if address[0] != ALLOWED:
            raise ConnectionRefusedError
        real(sock, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


# --- roads to an address ----------------------------------------------------------------------------


def literal(host: str, guide: Neighbour, names: Resolver) -> str:
    """The URL says it."""
    return f"http://{_netloc(host)}:{guide.port}/{next(_numbers)}"


def by_name(host: str, guide: Neighbour, names: Resolver) -> str:
    """A name has it, alone."""
    name = f"bad-{next(_numbers)}.test"
    names.names[name] = [host]
    return f"http://{name}:{guide.port}/"


def among_others(host: str, guide: Neighbour, names: Resolver) -> str:
    """A name has it behind a good one."""
    name = f"mixed-{next(_numbers)}.test"
    names.names[name] = [ALLOWED, host]
    return f"http://{name}:{guide.port}/"


def redirect(host: str, guide: Neighbour, names: Resolver) -> str:
    """A good server leads there."""
    path = f"/{next(_numbers)}"
    guide.answer(path, status=307, headers=[("Location", f"http://{_netloc(host)}:{guide.port}/")])
    return guide.url(path)


def rebinding(host: str, guide: Neighbour, names: Resolver) -> str:
    """A name has a good one when it is asked first, and this one ever after.

    The server behind the good one hangs up, so that whoever goes on has to resolve again.
    """
    again = _rebinding_name(host, guide, names)
    path = f"/{next(_numbers)}"
    location = ("Location", f"{again}/again")
    guide.answer(path, status=302, headers=[location, ("Connection", "close")])
    return f"{again}{path}"


def _rebinding_name(host: str, guide: Neighbour, names: Resolver) -> str:
    name = f"rebind-{next(_numbers)}.test"
    names.names[name] = [[ALLOWED], [host]]
    return f"http://{name}:{guide.port}"


def _netloc(host: str) -> str:
    return f"[{host}]" if ":" in host else host


ROADS = [literal, by_name, among_others, redirect, rebinding]


@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.__name__)
def test_nobody_connects_to_a_hostile_address(
    blog: Blog,
    guide: Neighbour,
    names: Resolver,
    connects: list[str],
    entry: Entry,
    road: Callable[[str, Neighbour, Resolver], str],
) -> None:
    # names that hide an address are resolved by the machine itself
    hosts = NOT_PUBLIC + (DISGUISED if road in (literal, redirect) else [])
    ended = attack(blog, entry, [road(host, guide, names) for host in hosts], guide)
    assert set(connects) <= {ALLOWED}
    assert len(ended.records) == len(hosts)
    if entry is Entry.endpoint and road in (redirect, rebinding):
        # a POST follows no redirect: what came is its answer, and of no use
        assert not {"", "done"} & set(ended.records)
    else:
        assert set(ended.records) == {"address_refused"}


def test_nobody_connects_to_an_endpoint_that_rebinds(
    blog: Blog, guide: Neighbour, names: Resolver, connects: list[str], entry: Entry
) -> None:
    """The name of a page is a good one while it is read, and hostile when its endpoint is told."""
    if entry is not Entry.endpoint:
        pytest.skip("Only who tells an endpoint asks the same name twice.")
    urls = []
    for host in NOT_PUBLIC:
        again = _rebinding_name(host, guide, names)
        path = f"/{next(_numbers)}"
        guide.answer(path, headers=[("X-Pingback", f"{again}/rpc"), ("Connection", "close")])
        urls.append(f"{again}{path}")
    ended = attack(blog, Entry.page, urls, guide)
    assert set(connects) <= {ALLOWED}
    assert ended.records == ("address_refused",) * len(urls)


def test_an_answer_does_not_tell_an_open_port_from_a_closed_one(
    blog: Blog, guide: Neighbour, names: Resolver, connects: list[str], entry: Entry
) -> None:
    """Who asks hears the same of what is refused, what is closed and what has no address."""
    if entry is not Entry.at_once:
        pytest.skip("Only a request that looks at once has an answer that could tell.")
    names.names["closed.test"] = [PUBLIC]
    names.names["none.test"] = []
    urls = [literal("127.0.0.1", guide, names), "http://closed.test/", "http://none.test/"]
    ended = attack(blog, entry, urls, guide)  # which holds each answer against the fixed words
    assert ended.records == ("address_refused", "unreachable", "unreachable")
