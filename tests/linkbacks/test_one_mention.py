"""One mention: source and target have one row, by however many protocols they come, and one life."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import sqlalchemy as sa

from flask_linkback.models import Mention, MentionState
from flask_linkback.protocols import trackback
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import (
    Clock,
    add,
    fault_of,
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
from tests.webmention import tools as webmention

ALL = ("pingback", "webmention", "trackback")
GONE = b'<!doctype html><head><meta http-equiv="Status" content="410 Gone"><title>Gone</title></head>'


def make(blogs: Callable[..., Blog], url: str) -> Blog:
    """Make a blog that takes all three, with one post; it looks as often as it is told."""
    blog = blogs(url, PROTOCOLS=ALL, SOURCE_INTERVAL_SECONDS=0, AUTO_APPROVE=True)
    add(blog, "hello")
    work(blog)
    return blog


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    return make(blogs, sqlite_url)


@pytest.fixture
def each_blog(blogs: Callable[..., Blog], database_url: str) -> Blog:
    return make(blogs, database_url)


def tell(blog: Blog, protocol: str, source: str, target: str) -> str:
    """Tell a blog of a link and return what it answers: "new", "known", or what else it says."""
    match protocol:
        case "pingback":
            response = None
            try:
                return "new" if ping(blog, source, target).endswith("saved") else "odd"
            except Exception as fault:
                return "known" if getattr(fault, "faultCode", 0) == 48 else str(fault)
        case "webmention":
            response = webmention.send(blog, source, target)
            return "taken" if response.status_code == 201 else response.text
        case _:
            path = urlsplit(target).path
            body = urlencode({"url": source, "title": "Claimed"})
            response = blog.app.test_client().post(
                f"/linkback/trackback{path}", data=body, content_type=webmention.FORM
            )
            answer = trackback.parse_response(response.data)
            return "taken" if answer.ok else answer.message


FIRST = {"pingback": "new", "webmention": "taken", "trackback": "taken"}
AGAIN = {"pingback": "known", "webmention": "taken", "trackback": "taken"}


@pytest.mark.parametrize("order", list(itertools.permutations(ALL)), ids="-".join)
def test_three_protocols_one_row_one_look_one_line(
    each_blog: Blog, neighbour: Neighbour, order: tuple[str, ...]
) -> None:
    blog = each_blog
    source, target = neighbour.url("/source"), blog.url("hello")
    neighbour.answer("/source", body=page(target))
    with heard(blog) as said:
        assert tell(blog, order[0], source, target) == FIRST[order[0]]
        for protocol in order[1:]:
            assert tell(blog, protocol, f"{source}#again", f"{target}#x") == AGAIN[protocol]
        assert len(pending(blog, "verify_source")) == 1
        work(blog)
    assert names(said) == ["mention_received", "mention_verified", "mention_moderated"]
    assert len(neighbour.requests) == 1
    taken = mention(blog)
    assert (taken.protocol, taken.state, taken.title) == ("webmention", MentionState.verified, "Their page")
    with blog.app.app_context():
        assert blog.linkback.mention_count(target) == 1

    # now it is a repeat of what is verified: each owes a look, and changes nothing
    for looks, protocol in enumerate(order, 2):
        assert tell(blog, protocol, source, target) == AGAIN[protocol]
        work(blog)
        assert len(neighbour.requests) == looks
    assert (len(mentions(blog)), mention(blog).protocol) == (1, "webmention")


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("first", ["pingback", "trackback"])
def test_what_is_told_by_webmention_too_has_its_rules(
    each_blog: Blog, neighbour: Neighbour, first: str, waits: bool
) -> None:
    """An image is a link to a webmention, and none to the others."""
    blog = each_blog
    source, target = neighbour.url("/source"), blog.url("hello")
    neighbour.answer("/source", body=page(target))
    tell(blog, first, source, target)
    if not waits:
        work(blog)
    neighbour.answer("/source", body=f'<img src="{target}">'.encode())
    with heard(blog) as said:
        assert tell(blog, "webmention", source, target) == "taken"
        work(blog)
    assert mention(blog).state is MentionState.verified
    assert "mention_removed" not in names(said)


def test_all_protocols_at_the_same_time(each_blog: Blog, neighbour: Neighbour) -> None:
    blog = each_blog
    source, target = neighbour.url("/source"), blog.url("hello")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda protocol: tell(blog, protocol, source, target), ALL * 2))
    assert set(answers) <= {"new", "known", "taken"}
    assert len(mentions(blog)) == 1
    keys = {job.key for job in pending(blog, "verify_source")}
    assert len(keys) == 1


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("how", ["410", "meta", "no link"])
def test_a_deleted_page_removes_the_mention_and_a_restored_one_brings_it_back(
    blog: Blog, neighbour: Neighbour, protocol: str, how: str
) -> None:
    source, target = neighbour.url("/source"), blog.url("hello")
    neighbour.answer("/source", body=page(target))
    tell(blog, protocol, source, target)
    work(blog)
    match how:
        case "410":
            neighbour.answer("/source", status=410, body=page(target))
        case "meta":
            neighbour.answer("/source", body=GONE + page(target))
        case _:
            neighbour.answer("/source", body=page("https://elsewhere.example/"))
    with heard(blog) as said:
        assert tell(blog, protocol, source, target) == AGAIN[protocol]
        work(blog)
    assert names(said) == ["mention_removed"]
    reason = "no_link" if how == "no link" else "http_410"
    assert (mention(blog).state, mention(blog).reason) == (MentionState.gone, reason)
    with blog.app.app_context():
        assert blog.linkback.mention_count(target) == 0

    neighbour.answer("/source", body=page(target))
    with heard(blog) as said:
        assert tell(blog, "webmention", source, target) == "taken"
        work(blog)
    assert names(said) == ["mention_received", "mention_verified"]
    # who brought it back is whose rules count
    assert (mention(blog).state, mention(blog).protocol) == (MentionState.verified, "webmention")


def test_another_status_in_the_head_is_nothing(blog: Blog, neighbour: Neighbour) -> None:
    target = blog.url("hello")
    body = GONE.replace(b"410 Gone", b"404 Not Found") + page(target)
    neighbour.answer("/source", body=body)
    webmention.sent(blog, neighbour.url("/source"), target)
    work(blog)
    assert mention(blog).state is MentionState.verified


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("trouble", [404, 403, 500, 503, 429, None])
def test_trouble_is_looked_at_again_before_a_mention_is_removed(
    blog: Blog, clock: Clock, neighbour: Neighbour, protocol: str, trouble: int | None
) -> None:
    source, target = neighbour.url("/source"), blog.url("hello")
    neighbour.answer("/source", body=page(target))
    tell(blog, protocol, source, target)
    work(blog)
    if trouble is None:
        neighbour.route("/source", lambda request, wire: setattr(wire, "keep", False))
    else:
        neighbour.answer("/source", status=trouble)
    tell(blog, protocol, source, target)
    with heard(blog) as said:
        for look in range(1, 9):
            assert mention(blog).shown
            for job in pending(blog, "verify_source"):
                clock.at = max(clock.at, job.due_at)
            work(blog)
            assert (names(said) == []) == (look < 8)
    assert names(said) == ["mention_removed"]
    reason = "unreachable" if trouble is None else f"http_{trouble}"
    assert (mention(blog).state, mention(blog).reason) == (MentionState.gone, reason)


@pytest.mark.parametrize("protocol", ALL)
def test_a_repeat_hastens_the_look_at_a_source_that_was_in_trouble(
    each_blog: Blog, neighbour: Neighbour, protocol: str
) -> None:
    """Not that at one which is shown: strangers may not use up the looks after which it counts as gone."""
    blog, target = each_blog, each_blog.url("hello")
    neighbour.answer("/a", status=500)
    tell(blog, "webmention", neighbour.url("/a"), target)
    work(blog)
    assert mention(blog).state is MentionState.received
    neighbour.answer("/a", body=page(target))
    tell(blog, protocol, neighbour.url("/a"), target)
    work(blog)
    assert mention(blog).state is MentionState.verified
    neighbour.answer("/a", status=500)
    for _ in range(3):
        tell(blog, protocol, neighbour.url("/a"), target)
        work(blog)
    assert len(neighbour.requests) == 3
    assert mention(blog).state is MentionState.verified


@pytest.mark.parametrize("status", ["rejected", "spam"])
@pytest.mark.parametrize("state", ["verified", "gone", "failed"])
def test_what_was_rejected_is_not_fetched_again_by_any_protocol(
    blog: Blog, neighbour: Neighbour, status: str, state: str
) -> None:
    source, target = neighbour.url("/source"), blog.url("hello")
    neighbour.answer("/source", body=page(target))
    webmention.sent(blog, source, target)
    work(blog)
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Mention).values(status=status, state=state))
        blog.db.session.commit()
    with heard(blog) as said:
        for protocol in ALL:
            assert tell(blog, protocol, source, target) == AGAIN[protocol]
            assert work(blog) == 0
    assert said == []
    assert len(neighbour.requests) == 1
    assert (mention(blog).status, mention(blog).state) == (status, state)
    with blog.app.app_context():
        assert blog.linkback.mention_count(target) == 0


def test_what_is_moderated_as_spam_while_a_look_is_owed_is_judged_once_more_at_most(
    blog: Blog, neighbour: Neighbour
) -> None:
    source, target = neighbour.url("/source"), blog.url("hello")
    neighbour.answer("/source", body=page(target))
    webmention.sent(blog, source, target)
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Mention).values(status="spam"))
        blog.db.session.commit()
    work(blog)
    assert (mention(blog).state, mention(blog).status) == (MentionState.verified, "spam")
    webmention.sent(blog, source, target)
    assert work(blog) == 0


def test_two_targets_of_a_source_are_two_mentions_and_one_look(blog: Blog, neighbour: Neighbour) -> None:
    first, second = blog.url("hello"), add(blog, "other")
    neighbour.answer("/source", body=page(first, second))
    tell(blog, "pingback", neighbour.url("/source"), first)
    tell(blog, "webmention", neighbour.url("/source"), second)
    work(blog)
    assert [each.protocol for each in mentions(blog)] == ["pingback", "webmention"]
    assert {each.state for each in mentions(blog)} == {MentionState.verified}
    assert len(neighbour.requests) == 1


def test_at_once_concerns_pingbacks_only(
    serve: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog: Any = serve(
        sqlite_url, PROTOCOLS=ALL, PINGBACK_VERIFY="at_once", SOURCE_INTERVAL_SECONDS=0, content=None
    )
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target))
    webmention.sent(blog, neighbour.url("/source"), target)
    assert neighbour.requests == []
    assert fault_of(ping, blog, neighbour.url("/source"), target) == 0x30
    assert request("GET", target)[0] == 200
    work(blog)
    assert mention(blog).state is MentionState.verified
