"""The client: whom it tells, what it makes of the answer, and what it does after that."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.errors import BaseURLMissing
from flask_linkback.linkbacks.sending import send
from flask_linkback.models import Job, JobState, Link, LinkState
from flask_linkback.outbox import jobs
from flask_linkback.outbox.worker import drain
from flask_linkback.publishing import expand, split_urls
from tests.apps import Blog
from tests.neighbours import Answer, Neighbour, Request, Wire, endless_body, hang_up, raw, silent
from tests.pingback.peers import Peer
from tests.pingback.tools import Clock, add, edit, heard, link, names, pending, publish_now, rows, work


@pytest.fixture
def peer(neighbour: Neighbour) -> Peer:
    return Peer(neighbour)


def linked(*urls: str) -> str:
    return " ".join(f'<a href="{url}">x</a>' for url in urls)


def replay(blog: Blog, job: Job) -> None:
    with blog.app.app_context():
        assert jobs.replay(blog.db.session, job.id)
        blog.db.session.commit()


def states(blog: Blog) -> dict[str, str]:
    """Map the path of each target to the state of its link."""
    return {each.target.partition("127.0.0.1")[2].partition("/")[2]: each.state for each in rows(blog, Link)}


# --- the acceptance cases ------------------------------------------------------------------------------


def test_a_post_out(blogs: Callable[..., Blog], database_url: str, peer: Peer) -> None:
    blog = blogs(database_url)
    with heard(blog) as said:
        source = add(blog, "hello", html=linked(f"{peer.url}#part"))
        assert peer.neighbour.requests == []
        work(blog)
        work(blog)
    assert peer.calls == [(source, f"{peer.url}#part")]  # as it stands in the page
    sent = link(blog)
    assert (sent.state, sent.protocol, sent.endpoint) == (LinkState.sent, "pingback", peer.server)
    assert (sent.status_code, sent.fault_code, sent.answer) == (200, None, "Thank you.")
    assert (sent.source, sent.object_key, sent.attempts) == (source, "Post:1", 1)
    assert sent.sent_at is not None
    assert names(said) == ["link_sent"]
    assert said[0][1]["link"].id == sent.id

    discovery, call = peer.neighbour.requests
    assert (discovery.method, discovery.path) == ("GET", "/target")
    assert (call.method, call.path) == ("POST", "/rpc")
    assert call.header("Content-Type") == "text/xml; charset=utf-8"
    for each in (discovery, call):
        assert (each.header("User-Agent") or "").endswith("(+https://blog.example)")


def test_p16_header_beats_link_element(blog: Blog, neighbour: Neighbour, peer: Peer) -> None:
    body = b'<link rel="pingback" href="http://127.0.0.1:1/wrong">'
    headers = [("X-Pingback", peer.server), ("X-Pingback", "http://127.0.0.1:1/second")]
    neighbour.answer("/target", body=body, headers=headers)
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    assert link(blog).state is LinkState.sent


@pytest.mark.parametrize(
    ("element", "found"),
    [
        ('<link rel="pingback" href="{}">', True),
        ('<link rel="pingback" href="{}"/>', True),
        ('<link rel="pingback" href="{}" />', True),
        ('<link href="{}" rel="pingback">', False),
        ("<link rel='pingback' href='{}'>", False),
        ('<LINK rel="pingback" href="{}">', False),
        ('<link rel="pingback" href="/rpc">', False),
    ],
)
def test_p16_link_element_in_the_exact_form(
    blog: Blog, neighbour: Neighbour, peer: Peer, element: str, found: bool
) -> None:
    neighbour.answer("/target", body=element.format(peer.server).encode())
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    assert link(blog).state is (LinkState.sent if found else LinkState.unsupported)


def test_p16_four_entities_of_the_element_are_expanded(blog: Blog, neighbour: Neighbour) -> None:
    peer = Peer(neighbour)
    element = f'<link rel="pingback" href="{peer.server}?a=1&amp;b=&quot;&lt;&gt;&copy;">'
    neighbour.answer("/target", body=element.encode())
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    assert link(blog).endpoint == f'{peer.server}?a=1&b="<>&copy;'


@pytest.mark.parametrize(("before", "found"), [(512 * 1024 - 100, True), (512 * 1024, False)])
def test_p16_only_the_first_512_kib_are_read(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, peer: Peer, before: int, found: bool
) -> None:
    blog = blogs(sqlite_url, MAX_BODY_BYTES=10_000)  # pages of sources, and what is kept of answers
    element = f'<link rel="pingback" href="{peer.server}">'.encode()
    neighbour.answer("/target", body=b" " * before + element + b" " * 1_000_000)
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    assert link(blog).state is (LinkState.sent if found else LinkState.unsupported)


def test_p16_nothing_is_read_behind_a_header_of_the_first_choice(
    blog: Blog, neighbour: Neighbour, peer: Peer
) -> None:
    def no_body(request: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nLink: </wm>; rel=webmention\r\nContent-Length: 9\r\n\r\n")
        wire.pause()

    neighbour.route("/target", no_body)
    neighbour.answer("/wm", status=202)
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    assert (link(blog).state, link(blog).protocol) == (LinkState.sent, "webmention")


def test_p16_endless_page_is_left(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.route("/target", endless_body)
    add(blog, "hello", html=linked(neighbour.url("/target")))
    work(blog)
    assert link(blog).state is LinkState.unsupported


def test_p17_unchanged_answered_link_is_not_told_again(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, peer: Peer
) -> None:
    blog = blogs(database_url)
    refusing = Peer(neighbour, path="/refusing", server_path="/no", answer=xmlrpc.client.Fault(33, "Closed."))
    add(blog, "hello", html=linked(peer.url, refusing.url))
    work(blog)
    assert (len(peer.calls), len(refusing.calls)) == (1, 1)
    edit(blog, "hello", title="Another title")
    assert pending(blog, "publish_page") == []
    edit(blog, "hello", html="More words. " + linked(peer.url, refusing.url))
    work(blog)
    edit(blog, "hello", html="Fewer. " + linked(refusing.url, peer.url))
    work(blog)
    assert (len(peer.calls), len(refusing.calls)) == (1, 1)
    assert states(blog) == {"target": "sent", "refusing": "refused"}


def test_p18_fault_or_int_is_no_success(blog: Blog, peer: Peer) -> None:
    for number, answer in enumerate((xmlrpc.client.Fault(16, "No."), 16, 0, 1, -1)):
        peer.answer = answer
        add(blog, str(number), html=linked(peer.url))
        work(blog)
        last = rows(blog, Link)[-1]
        assert last.state is not LinkState.sent, answer
        assert last.fault_code == (16 if number == 0 else answer)
    assert len(peer.calls) == 5


MEANINGS = {
    **dict.fromkeys((16, 17, 32, 33, 49, -32601), "refused"),
    **dict.fromkeys((0, 50, 409, 429, -32700, 2**31 - 1), "waiting"),
    48: "sent",
}


@pytest.mark.parametrize("bare", [False, True])
def test_p18_what_each_fault_means(blog: Blog, peer: Peer, bare: bool) -> None:
    for code, state in MEANINGS.items():
        peer.answer = code if bare else xmlrpc.client.Fault(code, "For a reason.")
        waiting = len(pending(blog, "send_link"))
        with heard(blog) as said:
            add(blog, f"fault{code}", html=linked(peer.url))
            work(blog)
        told = rows(blog, Link)[-1]
        assert (told.state, told.fault_code) == (state, code)
        assert names(said) == {"waiting": [], "refused": ["link_failed"], "sent": ["link_sent"]}[state]
        assert told.reason.startswith("" if state == "sent" else f"Fault {code}: ")
        assert len(pending(blog, "send_link")) - waiting == (state == "waiting")


def test_p18_denied_with_retry_after_is_tried_again(blog: Blog, peer: Peer, clock: Clock) -> None:
    peer.answer = xmlrpc.client.Fault(49, "Too many.")
    peer.headers = [("Retry-After", "120")]
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    assert link(blog).state is LinkState.waiting
    clock.move(119)
    work(blog)
    assert len(peer.calls) == 1
    peer.answer = "Thank you."
    clock.move(1)
    work(blog)
    assert link(blog).state is LinkState.sent


def test_p18_fault_codes_may_be_of_any_size(
    blogs: Callable[..., Blog], database_url: str, peer: Peer
) -> None:
    blog = blogs(database_url)
    for code in (2**31, 2**62, -(2**40)):
        value = f"<value><i8>{code}</i8></value>"
        body = f"<methodResponse><params><param>{value}</param></params></methodResponse>"
        peer.answer = Answer(body=body.encode())
        add(blog, f"fault{code}", html=linked(peer.url))
        work(blog)
        told = rows(blog, Link)[-1]
        assert (told.state, told.fault_code) == (LinkState.waiting, None)
        assert told.reason == f"Fault {code}: "


def test_p19_no_server_is_a_row_without_success(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/target", body=b"<p>Nothing here.</p>")
    with heard(blog) as said:
        add(blog, "hello", html=linked(neighbour.url("/target")))
        work(blog)
    unsupported = link(blog)
    assert (unsupported.state, unsupported.endpoint) == (LinkState.unsupported, None)
    assert unsupported.reason == "The target offers no way to be told."
    assert said == []
    assert pending(blog, "send_link") == []

    peer = Peer(neighbour)  # it has one now
    edit(blog, "hello", html="Edited. " + linked(peer.url))
    work(blog)
    assert link(blog).state is LinkState.sent
    assert len(peer.calls) == 1


@pytest.mark.parametrize(
    ("content", "url"),
    [
        ("html", "url"),
        ("body", "slug"),
        (lambda post: post.html, lambda post: post.url()),
        (lambda post: post.html.encode(), lambda post: f"https://blog.example/post/{post.slug}"),
    ],
)
def test_p20_content_and_url_are_attribute_method_or_callable(
    blogs: Callable[..., Blog], sqlite_url: str, peer: Peer, content: Any, url: Any
) -> None:
    blog = blogs(sqlite_url, content=None)
    blog.Post.body = lambda post: post.html
    blog.linkback.ping_external_links(blog.Post, content=content, url=url)
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    source = "https://blog.example/hello" if url == "slug" else "https://blog.example/post/hello"
    assert peer.calls == [(source, peer.url)]


def test_p20_when_says_no(blogs: Callable[..., Blog], sqlite_url: str, peer: Peer) -> None:
    blog = blogs(sqlite_url, content=None)
    blog.linkback.ping_external_links(blog.Post, content="html", when=lambda post: not post.closed)
    add(blog, "hello", html=linked(peer.url), closed=True)
    work(blog)
    assert rows(blog, Link) == []
    edit(blog, "hello", closed=False)
    work(blog)
    assert len(peer.calls) == 1


def test_p20_neither_content_nor_targets_is_a_type_error(blog: Blog) -> None:
    with pytest.raises(TypeError, match="content or targets"):
        blog.linkback.ping_external_links(blog.Post, url="url")


def test_p20_content_may_be_none(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, content=lambda post: None)
    add(blog, "hello")
    work(blog)
    assert rows(blog, Link) == []


def test_p23_semicolon_list_is_told_exactly(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, peer: Peer
) -> None:
    blog = blogs(database_url, content=None)
    blog.linkback.ping_external_links(blog.Post, targets="title")
    second = peer.serve_page("/semi;colon")
    add(blog, "hello", title=f"{peer.url}; ;{second}?a;b; ", html=linked(peer.serve_page("/not-this")))
    work(blog)
    assert peer.calls == [
        ("https://blog.example/post/hello", peer.url),
        ("https://blog.example/post/hello", f"{second}?a;b"),
    ]
    third = peer.serve_page("/third")
    edit(blog, "hello", title=f"{third}")
    work(blog)
    assert [target for _, target in peer.calls[2:]] == [third]
    assert not any(each.removed for each in rows(blog, Link))
    edit(blog, "hello", title="")
    work(blog)
    assert len(peer.calls) == 3


@pytest.mark.parametrize(
    ("urls", "found"),
    [
        ("", []),
        (" ; ;", []),
        ("https://a.example/", ["https://a.example/"]),
        ("https://a.example/;https://b.example/", ["https://a.example/", "https://b.example/"]),
        ("HTTP://a.example/ , https://b.example/,", ["HTTP://a.example/", "https://b.example/"]),
        (
            "https://a.example/x;y=1;z; https://b.example/",
            ["https://a.example/x;y=1;z", "https://b.example/"],
        ),
        ("https://a.example/?u=https://b.example/", ["https://a.example/?u=https://b.example/"]),
        (
            "https://a.example/; ftp://b.example/; https://c.example/",
            ["https://a.example/", "https://c.example/"],
        ),
        ("junk https://a.example/\n\nhttps://a.example/", ["https://a.example/"]),
        ("https://a.example/\0\ud800x", ["https://a.example/x"]),
        (
            ["https://a.example/;x", " https://b.example/ ", "", "ftp://c.example/"],
            ["https://a.example/;x", "https://b.example/"],
        ),
    ],
)
def test_p23_lists_of_urls(urls: Any, found: list[str]) -> None:
    assert split_urls(urls) == found


# --- what an answer means --------------------------------------------------------------------------------


STATUSES = {
    **dict.fromkeys((400, 403, 404, 405, 410), "refused"),
    **dict.fromkeys((301, 408, 425, 429, 500, 502, 503, 504), "waiting"),
}


@pytest.mark.parametrize("where", ["target", "pingback server"])
def test_what_each_status_means(blog: Blog, peer: Peer, where: str) -> None:
    for status, state in STATUSES.items():
        if where == "target":
            peer.neighbour.answer("/target", status=status, headers=[("X-Pingback", peer.server)])
        else:
            peer.answer = Answer(status=status, body=b"no")
        with heard(blog) as said:
            add(blog, f"status{status}", html=linked(peer.url))
            work(blog)
        told = rows(blog, Link)[-1]
        assert (told.state, told.status_code) == (state, status)
        assert told.reason == f"The {where} answers {status}."
        assert names(said) == (["link_failed"] if state == "refused" else [])


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"), [(503, "1000", 1000), (429, "", 60), (500, "x", 5)]
)
def test_retry_after_is_honoured(
    blog: Blog, peer: Peer, clock: Clock, status: int, retry_after: str, seconds: int
) -> None:
    peer.answer = Answer(status=status, headers=[("Retry-After", retry_after)])
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    (job,) = pending(blog, "send_link")
    assert seconds <= (job.due_at - clock()).total_seconds() <= seconds * 1.2


def test_answers_that_are_no_xmlrpc_are_tried_again(
    blogs: Callable[..., Blog], database_url: str, peer: Peer
) -> None:
    blog = blogs(database_url)
    bodies = (
        b"",
        b"OK",
        b"<html>",
        b"\0\x01\xff<methodResponse/>",
        b"<methodResponse><params/></methodResponse>",
        b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY y 'z'>]><methodResponse/>",
    )
    for number, body in enumerate(bodies):
        peer.answer = Answer(body=body)
        add(blog, str(number), html=linked(peer.url))
        work(blog)
        told = rows(blog, Link)[-1]
        assert (told.state, told.reason) == (LinkState.waiting, "The answer is no XML-RPC.")
        assert "\0" not in told.answer


def test_every_other_answer_is_a_success(blog: Blog, peer: Peer) -> None:
    for number, answer in enumerate(("", "ok", "x" * 10_000, True, 1.5, [], {"a": "b"}, None)):
        peer.answer = answer
        add(blog, str(number), html=linked(peer.url))
        work(blog)
        told = rows(blog, Link)[-1]
        assert (told.state, told.answer) == (LinkState.sent, str(answer)[:2000])


@pytest.mark.parametrize("route", [silent, hang_up, raw(b"SSH-2.0-OpenSSH\r\n")])
@pytest.mark.parametrize("where", ["/target", "/rpc"])
def test_servers_that_do_not_answer_are_tried_again(
    blogs: Callable[..., Blog], sqlite_url: str, peer: Peer, where: str, route: Any
) -> None:
    blog = blogs(sqlite_url, FETCH_TIMEOUT=0.3, DELIVERY_TIMEOUT=0.3)
    peer.neighbour.route(where, route)
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    assert link(blog).state is LinkState.waiting
    assert link(blog).reason.startswith("too_slow: " if route is silent else "unreachable: ")
    (job,) = pending(blog, "send_link")
    wait = (job.due_at - blog.site.now()).total_seconds()
    assert wait > 50 if route is silent else wait <= 6


def test_hopeless_after_eight_attempts(
    blogs: Callable[..., Blog], database_url: str, peer: Peer, clock: Clock
) -> None:
    blog = blogs(database_url)
    peer.answer = xmlrpc.client.Fault(0, "Not today.")
    with heard(blog) as said:
        add(blog, "hello", html=linked(peer.url))
        work(blog)
        waits = []
        while due := pending(blog, "send_link"):
            assert link(blog).state is LinkState.waiting
            waits.append((due[0].due_at - clock()).total_seconds())
            clock.move(waits[-1])
            work(blog)
    assert len(peer.calls) == 8
    for wait, planned in zip(waits, (5, 300, 1800, 7200, 18000, 36000, 36000), strict=True):
        assert planned <= wait <= planned * 1.2
    given_up = link(blog)
    assert (given_up.state, given_up.reason) == (LinkState.given_up, "Fault 0: Not today.")
    assert given_up.attempts == 8
    assert names(said) == ["link_failed"]
    assert said[0][1]["reason"] == "Fault 0: Not today."

    # one click replays it
    (dead,) = [job for job in rows(blog, Job) if job.state is JobState.dead]
    peer.answer = "At last."
    replay(blog, dead)
    work(blog)
    assert (link(blog).state, link(blog).answer) == (LinkState.sent, "At last.")


def test_refused_is_told_again_when_somebody_replays_it(blog: Blog, peer: Peer) -> None:
    peer.answer = xmlrpc.client.Fault(33, "Closed.")
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    assert link(blog).state is LinkState.refused
    (done,) = [job for job in rows(blog, Job) if job.kind == "send_link"]
    peer.answer = lambda: link(blog).state.value
    replay(blog, done)
    work(blog)
    assert (link(blog).state, link(blog).answer) == (LinkState.sent, "waiting")
    replay(blog, done)
    work(blog)
    assert len(peer.calls) == 2  # what was taken is not told again


def test_edit_asks_again_who_never_answered(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    peer = Peer(neighbour, answer=Answer(status=500))
    add(blog, "hello", html=linked(peer.url))
    for _ in range(8):
        work(blog)
        clock.move(50_000)
    assert link(blog).state is LinkState.given_up
    peer.answer = "Hello again."
    edit(blog, "hello", html="More. " + linked(peer.url))
    work(blog)
    assert link(blog).state is LinkState.sent


@pytest.mark.parametrize("what", ["target", "server"])
def test_addresses_that_are_not_public_are_refused_at_once(
    blog: Blog, neighbour: Neighbour, what: str
) -> None:
    with Neighbour(host="::1") as private:  # the tests open 127.0.0.0/8 only
        neighbour.answer("/target", headers=[("X-Pingback", private.url("/rpc"))])
        with heard(blog) as said:
            add(blog, "hello", html=linked((private if what == "target" else neighbour).url("/target")))
            work(blog)
        assert private.connections == 0
    assert link(blog).state is LinkState.refused
    assert link(blog).reason.startswith("address_refused: ")
    assert names(said) == ["link_failed"]


# --- edits -----------------------------------------------------------------------------------------------


def test_edits_tell_new_and_removed_targets(
    blogs: Callable[..., Blog], database_url: str, peer: Peer
) -> None:
    blog = blogs(database_url)
    a, b, c = (peer.serve_page(path) for path in ("/a", "/b", "/c"))
    source = add(blog, "hello", html=linked(a, b))
    work(blog)
    assert peer.calls == [(source, a), (source, b)]
    edit(blog, "hello", html=linked(b, c))
    with heard(blog) as said:
        work(blog)
    assert sorted(peer.calls[2:]) == [(source, a), (source, c)]
    assert [(each.target, each.removed) for each in rows(blog, Link)] == [(a, True), (b, False), (c, False)]
    assert names(said) == ["link_sent", "link_sent"]
    edit(blog, "hello", html="Later. " + linked(b, c))
    work(blog)
    assert len(peer.calls) == 4  # that it is removed is told once
    edit(blog, "hello", html=linked(a, b, c))
    work(blog)
    assert peer.calls[4:] == [(source, a)]  # and it is there again
    assert not any(each.removed for each in rows(blog, Link))


def test_target_that_finds_no_link_any_more_was_told(blog: Blog, peer: Peer) -> None:
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    peer.answer = xmlrpc.client.Fault(17, "There is no link.")
    edit(blog, "hello", html="Nothing.")
    with heard(blog) as said:
        work(blog)
    told = link(blog)
    assert (told.state, told.removed, told.fault_code) == (LinkState.sent, True, 17)
    assert names(said) == ["link_sent"]


def test_link_that_was_removed_before_it_was_told_is_not_told(blog: Blog, peer: Peer) -> None:
    peer.answer = Answer(status=503)
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    peer.answer = "Thank you."
    edit(blog, "hello", html="Nothing.")
    with heard(blog) as said:
        work(blog)
        with blog.app.app_context():
            blog.db.session.execute(sa.update(Job).values(due_at=blog.site.now()))
            blog.db.session.commit()
        work(blog)
    assert len(peer.calls) == 1
    assert (link(blog).state, link(blog).removed) == (LinkState.given_up, True)
    assert names(said) == ["link_failed"]


@pytest.mark.parametrize("answer", [xmlrpc.client.Fault(33, "Closed."), None])
def test_replay_for_a_link_that_the_page_lost_changes_nothing(
    blog: Blog, peer: Peer, answer: xmlrpc.client.Fault | None
) -> None:
    if answer is None:
        peer.neighbour.answer("/target", body=b"It offers nothing.")
    peer.answer = answer
    add(blog, "hello", html=linked(peer.url))
    work(blog)
    state = link(blog).state
    assert state is (LinkState.refused if answer else LinkState.unsupported)
    edit(blog, "hello", html="Nothing.")
    work(blog)
    (done,) = [job for job in rows(blog, Job) if job.kind == "send_link"]
    with heard(blog) as said:
        replay(blog, done)
        work(blog)
    assert (link(blog).state, link(blog).removed) == (state, True)
    assert names(said) == []


@pytest.mark.parametrize("removed", [False, True])
def test_who_begins_after_the_lease_leaves_the_end_to_others(
    blogs: Callable[..., Blog], database_url: str, peer: Peer, clock: Clock, removed: bool
) -> None:
    """A worker is stopped between its look at the lease and the job, and another one has the job now."""
    blog = blogs(database_url)
    peer.answer = xmlrpc.client.Fault(33, "Closed.")
    add(blog, "hello", html=linked(peer.url))
    with blog.app.app_context():
        drain(blog.site, limit=1)
        if removed:
            blog.db.session.execute(sa.update(Link).values(removed=True))
            blog.db.session.commit()
        with blog.site.new_session() as session:
            (late,) = jobs.turn(session, now=clock(), schedule=[0, 5], want=1).claims
            clock.move(60)
            assert jobs.reclaim(session, clock(), 2) == 1
    if not removed:
        work(blog)
    before = link(blog).state
    assert before is (LinkState.waiting if removed else LinkState.refused)
    with blog.app.app_context(), heard(blog) as said:
        assert send(blog.site, late) == jobs.done()
    assert link(blog).state is before
    assert len(peer.calls) == (not removed)
    assert names(said) == []


@pytest.mark.parametrize("how", ["vanished", "raised"])
def test_a_link_whose_job_dies_without_a_word_is_given_up_once(
    blogs: Callable[..., Blog], database_url: str, peer: Peer, clock: Clock, how: str
) -> None:
    """Its worker vanished during the last attempt, or its handler raised."""
    blog = blogs(database_url, RETRY_SCHEDULE=[0])
    add(blog, "hello", html=linked(peer.url))
    handler = blog.site.handlers["send_link"]
    with blog.app.app_context(), heard(blog) as said:
        drain(blog.site, limit=1)
        if how == "raised":
            del blog.site.handlers["send_link"]
            blog.site.handlers["send_link"] = lambda site, claim: None
        else:
            with blog.site.new_session() as session:
                (late,) = jobs.turn(session, now=clock(), schedule=[0], want=1).claims
                clock.move(60)
                assert jobs.reclaim(session, clock(), 1, burials=blog.site.burials) == 1
        work(blog)
        blog.site.handlers["send_link"] = handler
        (dead,) = [job for job in rows(blog, Job) if job.kind == "send_link"]
        assert (link(blog).state, link(blog).reason, link(blog).attempts) == (
            LinkState.given_up,
            dead.reason,
            1,
        )
        assert dead.state is JobState.dead
        (buried,) = [job for job in rows(blog, Job) if job.kind == "bury_job"]
        replay(blog, buried)
        work(blog)
        assert names(said) == ["link_failed"]
        assert said[0][1]["reason"] == dead.reason
        if how == "vanished":
            assert send(blog.site, late) == jobs.done()  # and comes back
        replay(blog, dead)
        work(blog)
    assert link(blog).state is LinkState.sent
    assert names(said) == ["link_failed", "link_sent"]


def test_who_is_told_again_is_not_given_up(
    blogs: Callable[..., Blog], database_url: str, peer: Peer, clock: Clock
) -> None:
    """By a person who replays the dead job before it is buried, or by an edit."""
    blog = blogs(database_url)
    add(blog, "hello", html=linked(peer.url))
    with blog.app.app_context(), heard(blog) as said, blog.site.new_session() as session:
        drain(blog.site, limit=1)
        (late,) = jobs.turn(session, now=clock(), schedule=[0], want=1).claims
        clock.move(60)
        jobs.reclaim(session, clock(), 1, burials=blog.site.burials)
        assert blog.linkback.replay(late.id)
        blog.db.session.commit()
        work(blog)
    assert names(said) == ["link_sent"]


def test_a_page_that_comes_again_owes_nothing_that_is_on_its_way(
    blogs: Callable[..., Blog], database_url: str, peer: Peer, clock: Clock
) -> None:
    """A worker is stopped when it has owed the links of a page and not yet settled that."""
    blog = blogs(database_url)
    add(blog, "hello", html=linked(peer.url))
    with blog.app.app_context(), blog.site.new_session() as session:

        def claim() -> jobs.Claim:
            (claim,) = jobs.turn(session, now=clock(), schedule=[0, 5], want=1).claims
            return claim

        assert expand(blog.site, claim()) == jobs.done()
        clock.move(20)
        assert claim().kind == "send_link"
        clock.move(20)
        assert jobs.reclaim(session, clock(), 2) == 1
        assert expand(blog.site, claim()) == jobs.done()
    assert [job.state for job in rows(blog, Job) if job.kind == "send_link"] == [JobState.running]


@pytest.mark.parametrize("back", [False, True])
def test_edit_while_the_target_is_told(
    blogs: Callable[..., Blog], database_url: str, peer: Peer, back: bool
) -> None:
    """What was told is not true any more when the answer comes, so it is told anew."""
    blog = blogs(database_url)
    html = linked(peer.url)
    add(blog, "hello", html=html)
    if back:
        work(blog)
        edit(blog, "hello", html="Nothing.")
    edits = ["Nothing." if not back else html]

    def meanwhile() -> str:
        if edits:
            edit(blog, "hello", html=edits.pop())
            publish_now(blog)
        return "Thank you."

    calls = len(peer.calls)
    peer.answer = meanwhile
    work(blog)
    assert len(peer.calls) == calls + 2
    assert (link(blog).state, link(blog).removed) == (LinkState.sent, not back)


@pytest.mark.parametrize("meanwhile", [xmlrpc.client.Fault(33, "Closed."), "Thank you."])
def test_two_jobs_of_a_link_bring_it_to_one_end(
    blogs: Callable[..., Blog], database_url: str, peer: Peer, meanwhile: Any
) -> None:
    """An edit owes a link again while its target is told; another worker does that at once."""
    blog = blogs(database_url)
    add(blog, "hello", html=linked(peer.url))

    def slow() -> str:
        peer.answer = meanwhile
        edit(blog, "hello", html=f"{linked(peer.url)} Edited.")
        work(blog)
        return "Thank you."

    peer.answer = slow
    with heard(blog) as said:
        work(blog)
    assert len(peer.calls) == 2
    refused = meanwhile != "Thank you."
    assert link(blog).state is (LinkState.refused if refused else LinkState.sent)
    assert names(said) == ["link_failed" if refused else "link_sent"]
    assert {job.state for job in rows(blog, Job)} == {JobState.done}


def test_only_the_last_of_several_edits_is_told(
    blogs: Callable[..., Blog], database_url: str, peer: Peer, clock: Clock
) -> None:
    blog = blogs(database_url)
    a, b, c = (peer.serve_page(path) for path in ("/a", "/b", "/c"))
    source = add(blog, "hello", html=linked(a, b))
    for urls in ((a, c), (b, c), (c,)):
        clock.move(1)
        edit(blog, "hello", html=linked(*urls))
    work(blog)
    assert peer.calls == [(source, c)]
    assert [each.target for each in rows(blog, Link)] == [c]


def test_old_version_of_a_page_never_wins(blog: Blog, peer: Peer, clock: Clock) -> None:
    """Jobs may run in any order: here the older one comes last."""
    a, b = (peer.serve_page(path) for path in ("/a", "/b"))
    source = add(blog, "hello", html=linked(a, b))
    clock.move(1)
    edit(blog, "hello", html=linked(b))
    with blog.app.app_context():
        first, second = pending(blog, "publish_page")
        late = sa.update(Job).where(Job.id == first.id).values(due_at=second.due_at, id=second.id + 1)
        blog.db.session.execute(late)
        blog.db.session.commit()
    work(blog)
    assert peer.calls == [(source, b)]


def test_targets_are_not_taken_back_by_what_was_published_before_them(
    blogs: Callable[..., Blog], database_url: str, peer: Peer, clock: Clock
) -> None:
    """Jobs may run in any order: here the page comes after what was published beside it."""
    blog = blogs(database_url, content=None)
    a, b = (peer.serve_page(path) for path in ("/a", "/b"))
    with blog.app.app_context():
        blog.linkback.publish("/page", html=linked(a))
        blog.linkback.publish("/page", targets=[b])
        blog.db.session.commit()
        first, _ = pending(blog, "publish_page")
        late = sa.update(Job).where(Job.id == first.id).values(due_at=clock() + timedelta(seconds=10))
        blog.db.session.execute(late)
        blog.db.session.commit()
        drain(blog.site, limit=1)
        assert [each.target for each in rows(blog, Link)] == [b]
        clock.move(20)
        with blog.site.new_session() as session:
            tomorrow = clock() + timedelta(days=1)
            jobs.put_off(session, kind="send_link", host="127.0.0.1", now=clock(), until=tomorrow)
        drain(blog.site, limit=1)
    assert [(each.target, each.removed) for each in rows(blog, Link)] == [(b, False), (a, False)]
    clock.move(86_400)
    work(blog)
    assert sorted(target for _, target in peer.calls) == [a, b]


def test_nothing_is_told_of_what_was_rolled_back(
    blogs: Callable[..., Blog], database_url: str, peer: Peer
) -> None:
    blog = blogs(database_url)
    with blog.app.app_context():
        blog.db.session.add(blog.Post(slug="hello", html=linked(peer.url)))
        blog.db.session.flush()
        blog.db.session.rollback()
        blog.linkback.publish("/post/other", html=linked(peer.url))
        blog.db.session.rollback()
    assert work(blog) == 0
    assert peer.neighbour.requests == []


def test_two_transactions_may_publish_the_same_page(
    blogs: Callable[..., Blog], database_url: str, peer: Peer
) -> None:
    blog = blogs(database_url, content=None)
    a, b = (peer.serve_page(path) for path in ("/a", "/b"))
    for url in (a, b):
        with blog.app.app_context():
            blog.linkback.publish("/page", html=linked(url))
            blog.db.session.commit()
    with blog.app.app_context():
        blog.linkback.publish("/page", html=linked(b))
        blog.linkback.publish("/page", html=linked(b))
        blog.db.session.commit()
    work(blog)
    assert {target for _, target in peer.calls} <= {a, b}
    assert peer.calls[-1] == ("https://blog.example/page", b)


# --- which links ------------------------------------------------------------------------------------------


def test_links_to_ourselves_are_not_told(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, peer: Peer
) -> None:
    port = neighbour.port
    blog = blogs(sqlite_url, base_url="http://127.0.0.1:1", HOSTS=("www.blog.example", "localhost"))
    html = linked(
        "/post/a",
        "#here",
        "mailto:me@blog.example",
        "javascript:alert(1)",
        "http://127.0.0.1:1/post/a",
        "https://www.blog.example/post/a",
        "https://www.blog.example:8443/post/a",
        f"http://localhost:{port}/target",
        peer.url,
    )
    add(blog, "hello", html=html)
    work(blog)
    assert [each.target for each in rows(blog, Link)] == [peer.url]  # our host, but not our port


def test_default_ports_are_ports(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url)
    add(
        blog, "hello", html=linked("https://blog.example:443/a", "http://BLOG.example/a", "//blog.example./a")
    )
    work(blog)
    assert rows(blog, Link) == []


def test_bad_links_spoil_no_others(blogs: Callable[..., Blog], database_url: str, peer: Peer) -> None:
    blog = blogs(database_url)
    bad = (
        "http://there.example:99999/",
        "http://there.example:0/",
        "http://user:pw@there.example/",
        "http://there.example/a b",
        "http://there.example/\u2028",
        "http://10.0.0.1/\x7f",
        "http://[::1]/",
        "http://[::1",
        "http://a..b/",
        "http://" + "x" * 300 + ".example/",
    )
    add(blog, "hello", html=linked(*bad, peer.url))
    work(blog)
    told = {each.target: each.state for each in rows(blog, Link)}
    assert told.pop(peer.url) is LinkState.sent
    assert set(told.values()) == {LinkState.refused}
    assert len(told) >= 7


def test_content_with_odd_characters(blogs: Callable[..., Blog], database_url: str, peer: Peer) -> None:
    blog = blogs(database_url, content=lambda post: f"\0\ud800\x01{post.html}\0")
    add(blog, "hello", html=linked(peer.url, "http://there.invalid/\ufffe&#0;&#xD800;"))
    work(blog)
    assert states(blog)["target"] == "sent"


# --- publish() --------------------------------------------------------------------------------------------


def test_publish_with_html(blogs: Callable[..., Blog], database_url: str, peer: Peer) -> None:
    blog = blogs(database_url, content=None)
    for _ in range(2):
        with blog.app.app_context():
            blog.linkback.publish("/page", html=linked(peer.url, "other"))
            blog.db.session.commit()
        work(blog)
    assert peer.calls == [("https://blog.example/page", peer.url)]


def test_publish_with_targets(blogs: Callable[..., Blog], database_url: str, peer: Peer) -> None:
    blog = blogs(database_url, content=None)
    other = peer.serve_page("/other")
    for targets in ([peer.url], f"{other}; {peer.url}", []):
        with blog.app.app_context():
            blog.linkback.publish("https://blog.example/page", targets=targets)
            blog.db.session.commit()
        work(blog)
    assert [target for _, target in peer.calls] == [peer.url, other]


def test_publish_with_html_and_targets_tells_both(blog: Blog, peer: Peer) -> None:
    other = peer.serve_page("/other")
    with blog.app.app_context():
        blog.linkback.publish("/page", html=linked(peer.url), targets=[other])
        blog.db.session.commit()
    work(blog)
    assert [target for _, target in peer.calls] == [peer.url, other]


def test_publish_without_both_fetches_the_page(
    serve: Callable[..., Blog], database_url: str, peer: Peer
) -> None:
    blog = serve(database_url, content=None)
    source = add(blog, "hello", html=linked(peer.url))
    with blog.app.app_context():
        blog.linkback.publish("/post/hello")
        blog.db.session.commit()
    work(blog)
    assert peer.calls == [(source, peer.url)]
    edit(blog, "hello", html="Nothing.")
    with blog.app.app_context():
        blog.linkback.publish(source)
        blog.db.session.commit()
    work(blog)
    assert len(peer.calls) == 2
    assert link(blog).removed


def test_publish_of_a_page_that_is_not_there_is_tried_again(
    serve: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = serve(sqlite_url)
    with blog.app.app_context():
        blog.linkback.publish("/post/missing")
        blog.db.session.commit()
    work(blog)
    (job,) = pending(blog, "publish_page")
    assert job.reason == "The page answers 404."


def test_publish_needs_a_commit(blog: Blog, peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    with blog.app.app_context():
        blog.linkback.publish("/page", html=linked(peer.url))
        blog.db.session.commit()
        blog.linkback.publish("/page", html=linked(peer.url))  # said already: nothing was written
    assert caplog.records == []
    with blog.app.app_context():
        blog.linkback.publish("/page", html="Nothing.")
    (record,) = caplog.records
    assert "publish()" in record.getMessage()


def test_sending_needs_a_base_url(blogs: Callable[..., Blog], sqlite_url: str, peer: Peer) -> None:
    blog = blogs(sqlite_url, base_url=None)
    with blog.app.app_context():
        for url in ("/page", "https://blog.example/page"):
            with pytest.raises(BaseURLMissing, match="LINKBACK_BASE_URL"):
                blog.linkback.publish(url, html=linked(peer.url))
        with pytest.raises(BaseURLMissing, match="LINKBACK_BASE_URL"):
            blog.add("hello", html=linked(peer.url))
        blog.db.session.rollback()


# --- explain ----------------------------------------------------------------------------------------------


def test_explain_tells_each_step(blog: Blog, neighbour: Neighbour, peer: Peer) -> None:
    body = b'<link rel="pingback" href="http://127.0.0.1:1/element">'
    neighbour.answer("/target", body=body, headers=[("X-Pingback", peer.server)])
    neighbour.answer("/moved", status=301, headers=[("Location", "/target")])
    with blog.app.app_context():
        steps = [each.as_dict() for each in blog.linkback.explain(neighbour.url("/moved"))]
    assert [(step["step"], step["protocol"], step["used"]) for step in steps] == [
        ("request", None, False),
        ("redirect", None, True),
        ("header", "webmention", False),
        ("element", "webmention", False),
        ("header", "pingback", True),
        ("element", "pingback", False),
        ("rdf", "trackback", False),
        ("element", "trackback", False),
        ("endpoint", "pingback", True),
        ("verdict", "pingback", True),
    ]
    assert steps[5]["reason"] == "The X-Pingback header goes first."
    assert steps[8]["value"] == peer.server
    assert all(step["reason"] for step in steps)
    assert peer.calls == []


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, "The page offers no endpoint."),
        (404, "The page answers 404."),
        (None, "The page cannot be read."),
    ],
)
def test_explain_says_why_not(blog: Blog, neighbour: Neighbour, status: int | None, verdict: str) -> None:
    if status is None:
        neighbour.route("/target", hang_up)
    else:
        neighbour.answer("/target", status=status)
    with blog.app.app_context():
        steps = blog.linkback.explain(neighbour.url("/target"))
    assert (steps[-1].step, steps[-1].used, steps[-1].reason) == ("verdict", False, verdict)


def test_explain_of_our_own_page(blog: Blog) -> None:
    with blog.app.app_context():
        (step,) = blog.linkback.explain("https://blog.example/post/hello")
    assert (step.step, step.used) == ("verdict", False)
