"""WordPress: what a real one was seen to do, as client and as server, is met."""

from __future__ import annotations

import re
import time
import xmlrpc.client
from collections.abc import Callable

import pytest

from flask_linkback.models import Link, LinkState, MentionState
from tests.apps import Blog
from tests.neighbours import Neighbour, silent
from tests.pingback.peers import WordPress
from tests.pingback.tools import (
    ENDPOINT,
    Clock,
    add,
    edit,
    link,
    mention,
    mentions,
    page,
    pending,
    request,
    rows,
    work,
)

DISCOVERY_SECONDS = 2
PING_SECONDS = 3


@pytest.fixture
def wordpress(neighbour: Neighbour) -> WordPress:
    return WordPress(neighbour)


@pytest.fixture
def ours(serve: Callable[..., Blog], sqlite_url: str) -> Blog:
    return serve(sqlite_url, AUTO_APPROVE=True, SOURCE_INTERVAL_SECONDS=0)


# --- WordPress tells us ------------------------------------------------------------------------------------


def test_it_asks_by_head_and_gets_the_header(ours: Blog, wordpress: WordPress) -> None:
    target = add(ours, "hello")
    wordpress.neighbour.answer(wordpress.path, body=page(target))
    status, answer = wordpress.pings(target)
    assert (status, answer) == (200, f"pingback from {wordpress.url} to {target} saved")
    work(ours)
    assert (mention(ours).state, mention(ours).shown) == (MentionState.verified, True)


@pytest.mark.parametrize("verify", ["queued", "at_once"])
def test_it_does_not_wait_long(
    serve: Callable[..., Blog], sqlite_url: str, wordpress: WordPress, verify: str
) -> None:
    """Two seconds to find the server, three for its answer, and its own post may be slow to come."""
    blog = serve(sqlite_url, PINGBACK_VERIFY=verify, SOURCE_INTERVAL_SECONDS=0)
    target = add(blog, "hello")
    wordpress.neighbour.route(wordpress.path, silent)
    began = time.monotonic()
    request("HEAD", target)
    assert time.monotonic() - began < DISCOVERY_SECONDS
    began = time.monotonic()
    status, answer = wordpress.pings(target)
    assert time.monotonic() - began < PING_SECONDS
    assert status == 200
    assert isinstance(answer, str if verify == "queued" else xmlrpc.client.Fault)
    wordpress.neighbour.answer(wordpress.path, body=page(target))
    with blog.app.app_context():
        blog.db.session.execute(blog.db.text("UPDATE linkback_job SET due_at = '2020-01-01 00:00:00.000000'"))
        blog.db.session.commit()
    work(blog)
    assert mention(blog).state is MentionState.verified  # whatever it was told


def test_its_target_has_a_fragment(ours: Blog, wordpress: WordPress) -> None:
    target = add(ours, "hello")
    wordpress.neighbour.answer(wordpress.path, body=page(f"{target}#frag"))
    assert wordpress.pings(f"{target}#frag")[1] == f"pingback from {wordpress.url} to {target}#frag saved"
    work(ours)
    assert (mention(ours).state, mention(ours).target) == (MentionState.verified, f"{target}#frag")


def test_what_it_reads_needs_no_expanding(ours: Blog) -> None:
    """It leaves ``&amp;`` as it is, takes no relative header, and no other order of attributes."""
    target = add(ours, "hello")
    for method in ("HEAD", "GET"):
        (server,) = request(method, target)[1].get_all("X-Pingback") or []
        assert server == ours.base_url + ENDPOINT
        assert "&" not in server
    (element,) = re.findall(rb'<link rel="pingback" href="([^"]+)"', request("GET", target)[2])
    assert element.decode() == server


def test_it_finds_the_element_where_a_proxy_eats_the_header(ours: Blog, wordpress: WordPress) -> None:
    target = add(ours, "hello")

    @ours.app.after_request
    def eat(response):  # type: ignore[no-untyped-def]
        response.headers.pop("X-Pingback", None)
        return response

    ours.app.after_request_funcs[None].insert(0, ours.app.after_request_funcs[None].pop())
    assert "X-Pingback" not in request("HEAD", target)[1]
    assert isinstance(wordpress.pings(target)[1], str)


def test_every_edit_pings_again(ours: Blog, wordpress: WordPress) -> None:
    """One post with several links: only the last success is remembered, so the others come again."""
    targets = [add(ours, str(number)) for number in range(3)]
    wordpress.neighbour.answer(wordpress.path, body=page(*targets))
    for target in targets:
        assert isinstance(wordpress.pings(target)[1], str)
    work(ours)
    visits = len(wordpress.neighbour.requests)
    assert visits == 1
    for target in targets * 2:
        status, fault = wordpress.pings(target)
        assert (status, fault.faultCode) == (200, 48)
        assert fault.faultString == "The pingback has already been registered."
    assert len(wordpress.neighbour.requests) == visits
    assert len(pending(ours, "verify_source")) == 1
    assert len(mentions(ours)) == 3


def test_its_answer_needs_no_encoding(ours: Blog, wordpress: WordPress) -> None:
    """It says deflate, gzip, br, zstd; we send it plainly, and close."""
    headers = {
        "Content-Type": "text/xml",
        "Accept-Encoding": "deflate, gzip, br, zstd",
        "Connection": "close",
    }
    status, answered, body = request("POST", ours.base_url + ENDPOINT, b"<x/>", headers)
    assert (status, answered["Content-Encoding"]) == (200, None)
    assert body.startswith(b'<?xml version="1.0" encoding="utf-8"?>\n<methodResponse><fault>')


# --- we tell WordPress -------------------------------------------------------------------------------------


def test_it_takes_our_pingback(ours: Blog, wordpress: WordPress) -> None:
    source = add(ours, "hello", html=f'I read <a href="{wordpress.url}">a post</a>.')
    work(ours)
    assert wordpress.comments == [(source, wordpress.url)]
    sent = link(ours)
    assert sent.state is LinkState.sent
    assert sent.answer == f"Pingback from {source} to {wordpress.url} registered. Keep the web talking! :-)"


def test_it_wants_ampersands_escaped_as_our_pages_have_them(ours: Blog, wordpress: WordPress) -> None:
    target = f"{wordpress.url}?p=1&page=2"
    source = add(ours, "hello", html=f'<a href="{target.replace("&", "&amp;")}">a post</a>')
    work(ours)
    assert wordpress.comments == [(source, target)]


def test_it_masks_its_faults(ours: Blog, wordpress: WordPress, clock: Clock) -> None:
    source = add(ours, "hello", html=f'<a href="{wordpress.url}?a=1&b=2">raw</a>')
    work(ours)
    assert wordpress.faults == [(17, "The source URL does not contain a link to the target URL.")]
    assert (link(ours).state, link(ours).fault_code) == (LinkState.waiting, 0)
    # 0 may be anything, so it is tried again; by then the page may be as it wants it
    with ours.app.app_context():
        ours.db.session.execute(ours.db.text("UPDATE post SET html = replace(html, '&', '&amp;')"))
        ours.db.session.commit()
    clock.move(10)
    work(ours)
    assert wordpress.comments == [(source, f"{wordpress.url}?a=1&b=2")]
    assert link(ours).state is LinkState.sent


def test_48_is_a_success(ours: Blog, wordpress: WordPress) -> None:
    wordpress.comments.append((ours.url("hello"), wordpress.url))
    add(ours, "hello", html=f'<a href="{wordpress.url}">a post</a>')
    work(ours)
    assert (link(ours).state, link(ours).fault_code) == (LinkState.sent, 48)


@pytest.mark.parametrize(
    ("code", "text", "seconds"),
    [
        (409, "Duplicate comment detected", 5),
        (429, "You are posting comments too quickly. Slow down.", 60),
    ],
)
def test_codes_that_leak_through_are_taken(
    ours: Blog, wordpress: WordPress, clock: Clock, code: int, text: str, seconds: int
) -> None:
    wordpress.fault = xmlrpc.client.Fault(code, text)
    add(ours, "hello", html=f'<a href="{wordpress.url}">a post</a>')
    work(ours)
    told = link(ours)
    assert (told.state, told.fault_code, told.reason) == (LinkState.waiting, code, f"Fault {code}: {text}")
    (job,) = pending(ours, "send_link")
    assert (job.due_at - clock()).total_seconds() >= seconds
    wordpress.fault = None
    clock.move(seconds * 1.2)
    work(ours)
    assert link(ours).state is LinkState.sent


def test_its_endpoint_takes_only_post(ours: Blog, wordpress: WordPress) -> None:
    """A page that names another page as its server: 405, and that is the end."""
    status, headers, body = request("GET", wordpress.neighbour.url("/xmlrpc.php"))
    assert (status, headers["Content-Type"]) == (405, "text/plain")
    assert body == b"XML-RPC server accepts POST requests only."
    status, _, _ = request("POST", wordpress.neighbour.url("/xmlrpc.php"), b"<!DOCTYPE x>")
    assert status == 200


def test_it_reads_no_more_than_150_kb_and_needs_a_title(ours: Blog, wordpress: WordPress) -> None:
    """Our page has a title, and the link where it looks."""
    html = f'<a href="{wordpress.url}">a post</a>' + "<p>words</p>" * 20_000
    add(ours, "hello", html=html)
    work(ours)
    assert (link(ours).state, link(ours).reason) == (LinkState.sent, "")
    assert len(wordpress.comments) == 1


def test_edits_do_not_ping_it_again(ours: Blog, wordpress: WordPress) -> None:
    """Unlike itself."""
    second = WordPress(wordpress.neighbour, path="/second/")
    html = f'<a href="{wordpress.url}">a</a> <a href="{second.url}">b</a>'
    add(ours, "hello", html=html)
    work(ours)
    calls = [each for each in wordpress.neighbour.requests if each.method == "POST"]
    edit(ours, "hello", html=f"More. {html}")
    work(ours)
    assert [each for each in wordpress.neighbour.requests if each.method == "POST"] == calls
    assert {each.state for each in rows(ours, Link)} == {LinkState.sent}
