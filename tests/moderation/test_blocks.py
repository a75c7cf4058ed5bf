"""Block lists: what they keep out, when, and what a stranger is told."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from flask_linkback.errors import MissingExtra
from flask_linkback.linkbacks import blocks, moderation
from flask_linkback.linkbacks.blocks import Listed, Screen
from flask_linkback.models import Block, BlockKind, MentionState, MentionStatus
from tests.apps import Blog
from tests.moderation.tools import audits, block, moderate, taken, told
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock, add, fault_of, heard, mention, mentions, page, ping, post, rows, work

DEEP = "https://bad.example/" + "a/" * 40

BLOCKED = [
    ("bad.example", "https://bad.example/"),
    ("bad.example", "http://www.Blog.BAD.example.:8080/x?y#z"),
    ("BAD.example.", "https://bad.example/"),
    ("bücher.example", "https://shop.xn--bcher-kva.example/"),
    ("xn--bcher-kva.example", "https://bücher.example/"),
    ("example", "https://anybody.example/"),
    ("192.0.2.9", "http://192.0.2.9/"),
    ("192.0.2.9", "http://0xc0.0.521/"),
    ("192.0.2.9", "http://3221225993:8000/"),
    ("192.0.2.9", "http://0300.0.2.011/"),
    ("192.0.2.9", "http://[::ffff:192.0.2.9]/"),
    ("[2001:db8::1]", "http://[2001:0DB8:0::1]/"),
    ("https://host.example/~joe", "https://host.example/~joe"),
    ("https://host.example/~joe", "http://HOST.example:8080/%7Ejoe/2026/?page=1#top"),
    ("http://host.example/~joe/", "https://host.example/~joe?x"),
    ("host.example/~joe", "https://host.example//x/.././~joe/post"),
    ("https://host.example", "https://host.example/anything"),
    ("https://host.example/index.php?user=7", "https://host.example/index.php?user=7&page=2"),
    ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
    ("https://bad.example/" + "a/" * 31, DEEP),
]
OPEN = [
    ("bad.example", "https://notbad.example/"),
    ("bad.example", "https://bad.example.org/"),
    ("bad.example", "https://good.example/?bad.example"),
    ("192.0.2.9", "http://192.0.2.90/"),
    ("2.9", "http://192.0.2.9/"),
    ("https://host.example/~joe", "https://host.example/~joey"),
    ("https://host.example/~joe", "https://host.example/~JOE"),
    ("https://host.example/~joe", "https://www.host.example/~joe"),
    ("https://host.example/index.php?user=7", "https://host.example/index.php?user=77"),
    ("https://host.example/index.php?user=7", "https://host.example/index.php"),
]
PATTERNS = [
    (r"casino|viagra", "https://good.example/online-CASINO", False),
    (r"(?i)casino|viagra", "https://good.example/online-CASINO", True),
    (r"^https?://[^/]*\.bad\.example/", "https://A.BAD.example:444/x", True),
    (r"^https?://bad\.example/", "https://good.example/?u=https://bad.example/", False),
]


@pytest.mark.parametrize(("value", "source"), BLOCKED)
def test_a_blocked_source_is_refused_when_it_is_told(blog: Blog, value: str, source: str) -> None:
    target = add(blog, "hello")
    block(blog, value)
    assert fault_of(ping, blog, source, target) == 49
    assert mentions(blog) == []
    assert Screen([blocks.parse(value)]).find(source)


@pytest.mark.parametrize(("value", "source"), OPEN)
def test_others_are_not(blog: Blog, value: str, source: str) -> None:
    target = add(blog, "hello")
    block(blog, value)
    ping(blog, source, target)
    assert len(mentions(blog)) == 1
    assert Screen([blocks.parse(value)]).find(source) is None


@pytest.mark.parametrize(("pattern", "source", "is_blocked"), PATTERNS)
def test_patterns_are_searched(blog: Blog, pattern: str, source: str, is_blocked: bool) -> None:
    target = add(blog, "hello")
    block(blog, "other.example")
    block(blog, pattern, "regex")
    if is_blocked:
        assert fault_of(ping, blog, source, target) == 49
    else:
        ping(blog, source, target)
    screen = Screen([blocks.parse("other.example"), blocks.parse(pattern, "regex")])
    assert bool(screen.find("", source)) is is_blocked


def test_a_stranger_learns_nothing(blog: Blog) -> None:
    """Neither which list it was nor why, nor whether there is such a page; nothing to wait for either."""
    target = add(blog, "hello")
    block(blog, "bad.example")
    answers = []
    for url in (target, blog.url("nothing"), f"{blog.base_url}/about"):
        body = (
            '<?xml version="1.0"?><methodCall><methodName>pingback.ping</methodName><params>'
            f"<param><value>https://bad.example/</value></param><param><value>{url}</value></param>"
            "</params></methodCall>"
        )
        answers.append(post(blog, body.encode()))
    assert len({answer.data for answer in answers}) == 1
    assert b"Access denied." in answers[0].data
    assert b"bad" not in answers[0].data
    assert "Retry-After" not in answers[0].headers


def test_a_block_ends_when_it_expires(blog: Blog, clock: Clock) -> None:
    target = add(blog, "hello")
    block(blog, "bad.example", expires_at=clock() + timedelta(days=1))
    assert fault_of(ping, blog, "https://bad.example/", target) == 49
    clock.move(24 * 3600)
    ping(blog, "https://bad.example/", target)


def test_what_one_process_blocks_another_sees_at_once(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    one, two = blogs(database_url), blogs(database_url)
    target = add(one, "hello")
    ping(two, "https://a.bad.example/", target)
    block(one, "bad.example")
    assert fault_of(ping, two, "https://b.bad.example/", target) == 49
    with one.app.app_context():
        assert blocks.remove(one.site, [blocks.parse("BAD.example")], list_name="other") == 0
        assert blocks.remove(one.site, [blocks.parse("BAD.example")]) == 1
        one.db.session.commit()
    ping(two, "https://b.bad.example/", target)


def test_who_was_told_of_before_the_block_is_not_fetched(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)
    told(blog, neighbour)
    block(blog, "127.0.0.1")
    with heard(blog) as said:
        work(blog)
    assert neighbour.requests == []
    assert (mention(blog).state, mention(blog).status) == (MentionState.failed, MentionStatus.rejected)
    assert mention(blog).reason == "blocked"
    assert [name for name, _ in said] == ["mention_removed", "mention_moderated"]
    assert audits(blog) == [("block:bad", "mention:1", "pending", "rejected")]


def test_what_a_person_approved_stays_but_is_not_fetched_again(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, SOURCE_INTERVAL_SECONDS=0)
    source = taken(blog, neighbour).source
    moderate(blog, "approved", who="ann")
    assert fault_of(ping, blog, source, blog.url("hello")) == 48
    block(blog, "127.0.0.1")
    visits = len(neighbour.requests)
    with heard(blog) as said:
        work(blog)
    assert len(neighbour.requests) == visits
    assert said == []
    assert mention(blog).shown
    assert not mention(blog).recheck


def test_an_author_is_blocked_too(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    """Somebody else's page may bring what a blocked person writes."""
    blog = blogs(database_url, AUTO_APPROVE=True)
    found = taken(blog, neighbour)
    block(blog, "https://silo.example/@joe")
    with blog.app.app_context():
        row = blog.db.session.merge(found)
        row.author_url, row.status = "https://silo.example/@joe", MentionStatus.pending
        announcements = list(moderation.decide(blog.site, row))
        blog.db.session.commit()
        assert [values["status"] for _, _, values in announcements] == ["rejected"]
    assert audits(blog)[-1] == ("block:bad", "mention:1", "pending", "rejected")


@pytest.mark.parametrize("verify", ["queued", "at_once"])
def test_nobody_comes_round_a_block_by_a_redirect(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, verify: str
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=True, PINGBACK_VERIFY=verify)
    block(blog, neighbour.url("/~joe"))
    target = add(blog, "hello")
    neighbour.answer("/~joe/post", body=page(target))
    neighbour.answer("/short", status=302, headers=[("Location", "/~joe/post")])
    ping(blog, neighbour.url("/short"), target)
    work(blog)
    assert mention(blog).status is MentionStatus.rejected
    assert audits(blog) == [("block:bad", "mention:1", "pending", "rejected")]


def test_a_sweep_rejects_what_is_there_already(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)
    for path, status in (("/~joe/1", "approved"), ("/~joe/2", "spam"), ("/~ann/1", "approved")):
        taken(blog, neighbour, path)
        moderate(blog, status)
    taken(blog, neighbour, "/~joe/3", slug="other")  # of a known host: approved
    with heard(blog) as said, blog.app.app_context():
        listed = Listed(kind=BlockKind.url, value="127.0.0.1/~joe", list_name="mine", reason="Enough.")
        swept = moderation.sweep(blog.site, [listed])
        assert [each.id for each in swept] == [1, 4]
        assert said == []
        blog.db.session.commit()
        blog.linkback.run_until_idle()
    assert [name for name, _ in said] == ["mention_moderated"] * 2
    assert [each.status for each in mentions(blog)] == ["rejected", "spam", "approved", "rejected"]
    assert audits(blog)[-2:] == [
        ("block:mine", "mention:1", "approved", "rejected"),
        ("block:mine", "mention:4", "approved", "rejected"),
    ]


# --- what can be blocked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("", None),
        ("   ", None),
        ("bad example", None),
        ("bad..example", None),
        ("-" * 64, None),
        ("a." * 127 + "aa", None),
        ("bad\x00example", None),
        ("999.1.1.1.1/", "host"),
        ("*.example", None),
        ("ftp://bad.example/", None),
        ("https:///path", None),
        ("https://[::1/", None),
        ("https://bad host/", None),
        (DEEP, None),
        ("https://bad.example/" + "a" * 2048, None),
        ("(", "regex"),
        (r"(a)\1", "regex"),
        ("(?=a)", "regex"),
    ],
)
def test_what_is_none_is_refused(value: str, kind: str | None) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        blocks.parse(value, kind)


def test_to_block_again_renews(blog: Blog, clock: Clock) -> None:
    listed = blocks.parse("bad.example")
    with blog.app.app_context():
        assert blocks.add(blog.site, [listed, listed]) == [listed]
        later = clock() + timedelta(days=3)
        assert blocks.add(blog.site, [listed, blocks.parse("b.example")], expires_at=later) == [
            blocks.parse("b.example")
        ]
        blog.db.session.commit()
    assert [(each.value, each.expires_at) for each in rows(blog, Block)] == [
        ("bad.example", later),
        ("b.example", later),
    ]


# --- without RE2 ---------------------------------------------------------------------------------------


@pytest.fixture
def without_re2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    def take_away() -> None:
        blocks._search.cache_clear()
        monkeypatch.setitem(sys.modules, "re2", None)

    yield take_away
    blocks._search.cache_clear()


def test_a_pattern_needs_the_extra(without_re2: Callable[[], None]) -> None:
    without_re2()
    with pytest.raises(MissingExtra, match=r"flask-linkback\[fast\]"):
        blocks.parse("casino", "regex")


def test_a_pattern_without_re2_is_never_searched_by_another_engine(
    blog: Blog, without_re2: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    target = add(blog, "hello")
    block(blog, "casino", "regex")
    block(blog, "bad.example")
    without_re2()
    with caplog.at_level(logging.WARNING):
        for number in range(2):
            ping(blog, f"https://good.example/casino/{number}", target)
    assert [each.message for each in caplog.records] == [
        "A block is without effect: A block by regex needs: pip install 'flask-linkback[fast]'"
    ]
    assert fault_of(ping, blog, "https://bad.example/", target) == 49
