"""The sender against what webmention.rocks asks of it: 23 cases of discovery, 2 updates, 1 deletion."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_linkback.models import Link, LinkState
from tests.apps import Blog
from tests.neighbours import Answer
from tests.pingback.tools import Clock, add, edit, link, rows, work
from tests.sending.rocks import Rocks


def linked(*urls: str) -> str:
    return " ".join(f'<a href="{url}">x</a>' for url in urls)


@pytest.mark.parametrize("case", range(1, 24))
def test_discovery_case(serve: Callable[..., Blog], sqlite_url: str, rocks: Rocks, case: int) -> None:
    blog = serve(sqlite_url)
    target = rocks.url(f"/test/{case}" if case != 23 else "/test/23/page")
    source = add(blog, "hello", html=linked(target))
    work(blog)
    endpoint = {
        15: "/test/15",
        21: "/test/21/webmention?query=yes",
        23: "/test/23/page/webmention-endpoint/key1",
    }.get(case, f"/test/{case}/webmention")
    assert rocks.faults == []
    assert rocks.taken == [(endpoint, source, target)]
    sent = link(blog)
    assert (sent.state, sent.protocol, sent.endpoint) == (LinkState.sent, "webmention", rocks.url(endpoint))
    assert sent.offers == ["webmention"]
    assert {each.method for each in rocks.neighbour.requests} == {"GET", "POST"}
    assert len(rocks.neighbour.requests) == (3 if case == 23 else 2)  # each page and endpoint once


def test_discovery_case_23_with_a_retry(
    serve: Callable[..., Blog], sqlite_url: str, rocks: Rocks, clock: Clock
) -> None:
    """An endpoint that works once is looked for anew by the next attempt."""
    blog = serve(sqlite_url)
    rocks.status = 503
    add(blog, "hello", html=linked(rocks.url("/test/23/page")))
    work(blog)
    assert link(blog).state is LinkState.waiting
    rocks.status = 202
    clock.move(100)
    work(blog)
    assert rocks.faults == []
    assert [path.rpartition("/")[2] for path, _, _ in rocks.taken] == ["key1", "key2"]
    assert link(blog).state is LinkState.sent


def test_update_1(serve: Callable[..., Blog], database_url: str, rocks: Rocks) -> None:
    """An edit that adds a link: the old target is told again, the new one too, each at a fresh endpoint."""
    blog = serve(database_url)
    old, new = rocks.url("/update/1"), rocks.url("/update/1/part/2")
    source = add(blog, "hello", html=linked(old))
    work(blog)
    edit(blog, "hello", html=linked(old, new))
    work(blog)
    assert rocks.faults == []
    assert sorted((path.partition("?")[0], at, to) for path, at, to in rocks.taken) == [
        ("/update/1/part/1/webmention", source, old),
        ("/update/1/part/1/webmention", source, old),
        ("/update/1/part/2/webmention", source, new),
    ]
    assert len({path for path, _, _ in rocks.taken}) == 3
    assert rocks.gone == []


def test_update_2(serve: Callable[..., Blog], database_url: str, rocks: Rocks) -> None:
    """An edit that removes a link: both are told, and what was removed is seen to be so."""
    blog = serve(database_url)
    first, second = rocks.url("/update/2"), rocks.url("/update/2/part/2")
    source = add(blog, "hello", html=linked(first, second))
    work(blog)
    edit(blog, "hello", html=linked(first))
    work(blog)
    assert rocks.faults == []
    assert [to for _, _, to in rocks.taken] == [first, second, first, second]
    assert rocks.gone == [source]
    assert [(each.target, each.removed, each.state) for each in rows(blog, Link)] == [
        (first, False, LinkState.sent),
        (second, True, LinkState.sent),
    ]


# --- what its makers were asked for and did not build ------------------------------------------------------

PAGES = {
    "Link header with another rel": Answer(
        headers=[("Link", '</other>; rel="other"'), ("Content-Type", "text/html")],
        body=b'<link rel="webmention" href="/wm">',
    ),
    "b element": Answer(body=b'<b rel="webmention" href="/no"></b><a rel="webmention" href="/wm">x</a>'),
    "area element": Answer(body=b'<area rel="webmention" href="/no"><a rel="webmention" href="/wm">x</a>'),
    "case of the rel": Answer(headers=[("Link", "</wm>; rel=WebMention")]),
    "base element": Answer(body=b'<base href="/dir/"><link rel="webmention" href="../wm">'),
    "no HTML": Answer(
        headers=[("Content-Type", "image/png"), ("Link", "</wm>; rel=webmention")],
        body=b'<link rel="webmention" href="/no">',
    ),
}


@pytest.mark.parametrize("wish", PAGES)
def test_wishes_beside_the_cases(blog: Blog, rocks: Rocks, wish: str) -> None:
    rocks.neighbour.route("/page", PAGES[wish])
    rocks.neighbour.answer("/wm", status=202)
    add(blog, "hello", html=linked(rocks.url("/page")))
    work(blog)
    assert (link(blog).state, link(blog).endpoint) == (LinkState.sent, rocks.url("/wm"))


def test_wish_comma_in_the_url_of_a_link_header(blog: Blog, rocks: Rocks) -> None:
    rocks.neighbour.answer("/page", headers=[("Link", "</url,with,comma>; rel=webmention")])
    rocks.neighbour.answer("/url,with,comma", status=202)
    add(blog, "hello", html=linked(rocks.url("/page")))
    work(blog)
    assert (link(blog).state, link(blog).endpoint) == (LinkState.sent, rocks.url("/url,with,comma"))
