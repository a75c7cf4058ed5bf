"""Contents: what is kept of what a source says, and that all of it is text or the URL of a public place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from flask_linkback.linkbacks.contents import public_url
from flask_linkback.models import Mention, MentionState
from tests.apps import Blog
from tests.neighbours import Neighbour, Request, Wire
from tests.pingback.tools import Clock, add, heard, mention, names, page, ping, work
from tests.webmention.tools import sent

CARD = (
    '<a class="p-author h-card" href="https://ann.example/">'
    '<img src="https://ann.example/a.png" alt="">Ann</a>'
)
ENTRY = f"""<!doctype html><title>Page title</title><div class="h-entry">
<h1 class="p-name">{{title}}</h1>{CARD}<time class="dt-published" datetime="2026-02-28T10:00:00+01:00"></time>
{{link}}<div class="e-content"><p>First <b>words</b>.</p><p>Last ones.</p></div></div>"""


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    return blogs(sqlite_url, SOURCE_INTERVAL_SECONDS=0, AUTO_APPROVE=True)


def read(blog: Blog, neighbour: Neighbour, html: str, *, slug: str = "hello") -> Mention:
    """Let a blog read a source that mentions its post."""
    neighbour.answer("/source", body=html.encode(), headers=[("Content-Type", "text/html; charset=utf-8")])
    sent(blog, neighbour.url("/source"), blog.url(slug))
    work(blog)
    return mention(blog)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("in-reply-to", "reply"),
        ("like-of", "like"),
        ("repost-of", "repost"),
        ("bookmark-of", "bookmark"),
    ],
)
def test_an_entry_says_what_it_is_and_whose(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, name: str, kind: str
) -> None:
    blog = blogs(database_url)
    target = add(blog, "hello")
    link = f'<a class="u-{name}" href="{target}">it</a>'
    one = read(blog, neighbour, ENTRY.format(title="An answer", link=link))
    assert (one.state, one.type, one.title) == (MentionState.verified, kind, "An answer")
    assert one.content == "First words.\nLast ones."
    assert (one.author_name, one.author_url) == ("Ann", "https://ann.example/")
    assert one.author_photo == "https://ann.example/a.png"
    assert one.published_at == datetime(2026, 2, 28, 9, tzinfo=UTC)
    assert one.reply_to == ""


def test_an_rsvp_is_in_its_title(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    link = f'<a class="u-in-reply-to" href="{target}">it</a><data class="p-rsvp" value="maybe">x</data>'
    one = read(blog, neighbour, ENTRY.format(title="Perhaps", link=link))
    assert (one.type, one.title) == ("rsvp", "RSVP: maybe")


def test_a_mere_mention_is_quoted_round_its_link(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    link = f'<p>I like <a href="{target}">this</a> much.</p>'
    one = read(blog, neighbour, ENTRY.format(title="A post", link=link))
    assert (one.type, one.title, one.content) == ("mention", "A post", "I like this much.")
    assert one.author_name == "Ann"


def test_a_reply_names_the_other_page_that_it_answers(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    cite = (
        f'<div class="u-in-reply-to h-cite"><a class="u-url" href="{target}">it</a>'
        '<a class="u-uid" href="https://silo.example/1">too</a></div>'
    )
    others = "".join(
        f'<a class="u-in-reply-to" href="{url}">x</a>'
        for url in ("javascript:1", f"{target}#comments", "https://bob.example/a", "https://cat.example/b")
    )
    assert (
        read(blog, neighbour, ENTRY.format(title="x", link=cite + others)).reply_to == "https://bob.example/a"
    )
    one = read(blog, neighbour, ENTRY.format(title="x", link=cite))
    assert (one.type, one.reply_to) == ("reply", "")


def test_a_page_without_microformats_has_its_metadata(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    head = (
        '<title>Title</title><meta name="author" content="Bob"><link rel="author" href="https://bob.example/">'
        '<meta property="article:published_time" content="2026-02-01T00:00:00Z">'
    )
    one = read(blog, neighbour, f'<head>{head}</head><p>See <a href="{target}">here</a>.</p>')
    assert (one.type, one.title, one.content) == ("mention", "Title", "See here.")
    assert (one.author_name, one.author_url) == ("Bob", "https://bob.example/")
    assert one.published_at == datetime(2026, 2, 1, tzinfo=UTC)


def test_without_the_extra_the_page_is_read_plainly(
    blog: Blog, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mf2py", None)
    target = add(blog, "hello")
    link = f'<p>In reply to <a class="u-in-reply-to" href="{target}">it</a>:</p>'
    one = read(blog, neighbour, ENTRY.format(title="An answer", link=link))
    assert (one.state, one.type, one.title) == (MentionState.verified, "mention", "Page title")
    assert one.content == "In reply to it:"


@pytest.mark.parametrize("date", ["2126-01-01", "1800-01-01", "soon", "0000-00-00", "2026-13-01"])
def test_only_a_plausible_date_is_one(blog: Blog, neighbour: Neighbour, date: str) -> None:
    target = add(blog, "hello")
    html = ENTRY.format(title="x", link=f'<a href="{target}">x</a>').replace(
        "2026-02-28T10:00:00+01:00", date
    )
    assert read(blog, neighbour, html).published_at is None


def test_pingbacks_are_read_alike_and_in_the_request_too(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, PINGBACK_VERIFY="at_once")
    target = add(blog, "hello")
    html = ENTRY.format(title="An answer", link=f'<a class="u-like-of" href="{target}">it</a>')
    neighbour.answer("/source", body=html.encode())
    ping(blog, neighbour.url("/source"), target)
    one = mention(blog)
    assert (one.state, one.type, one.author_name) == (MentionState.verified, "like", "Ann")


def test_each_target_of_a_page_has_the_entry_that_answers_it(blog: Blog, neighbour: Neighbour) -> None:
    first, second = add(blog, "a"), add(blog, "b")
    entries = "".join(
        f'<div class="h-entry"><b class="p-author h-card">{author}</b>'
        f'<a class="u-{kind}" href="{target}">it</a></div>'
        for author, kind, target in (("Ann", "like-of", first), ("Bob", "repost-of", second))
    )
    neighbour.answer("/source", body=entries.encode())
    for target in (first, second):
        sent(blog, neighbour.url("/source"), target)
    work(blog)
    with blog.app.app_context():
        (one,), (other,) = blog.linkback.mentions_for(first), blog.linkback.mentions_for(second)
    assert (one.type, one.author_name) == ("like", "Ann")
    assert (other.type, other.author_name) == ("repost", "Bob")


# --- what changes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("An answer", "Another answer"),
        ("First", "Second"),
        ("Ann</a>", "Anna</a>"),
        ('href="https://ann.example/"', 'href="https://anna.example/"'),
        ("a.png", "b.png"),
        ("2026-02-28", "2026-02-27"),
        ("u-in-reply-to", "u-like-of"),
        ("</h1>", '</h1><a class="u-in-reply-to" href="https://bob.example/">x</a>'),
    ],
)
def test_whatever_is_shown_and_changes_is_announced_once(
    blog: Blog, clock: Clock, neighbour: Neighbour, old: str, new: str
) -> None:
    target = add(blog, "hello")
    html = ENTRY.format(title="An answer", link=f'<a class="u-in-reply-to" href="{target}">it</a>')
    read(blog, neighbour, html)
    with heard(blog) as said:
        read(blog, neighbour, html.replace("</div></div>", "</div></div><p>More that is not shown.</p>"))
        assert names(said) == []
        read(blog, neighbour, html.replace(old, new))
        read(blog, neighbour, html.replace(old, new))
    assert names(said) == ["mention_updated"]


# --- how much is read ----------------------------------------------------------------------------------


def test_a_page_is_read_to_its_end_since_the_author_may_come_last(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    filler = "<p>many words </p>" * 30_000
    late = f'<div class="h-entry">{CARD}<a class="u-like-of" href="{target}">it</a></div>'
    one = read(blog, neighbour, f'<p><a href="{target}">it</a></p>{filler}{late}')
    assert (one.type, one.author_name) == ("like", "Ann")
    html = f'<p><a href="{target}">it</a></p>{filler}<meta name="author" content="Last">'
    assert read(blog, neighbour, html).author_name == "Last"


def test_what_breaks_off_behind_the_link_counts_as_far_as_it_came(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, FETCH_TIMEOUT=0.5, SOURCE_INTERVAL_SECONDS=0)
    target = add(blog, "hello")
    begin = page(target) + b"<p>" + b"many words " * 10_000

    def breaks_off(request: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 999999\r\n\r\n" + begin)
        wire.keep = False

    def stalls(request: Request, wire: Wire) -> None:
        breaks_off(request, wire)
        wire.pause()

    def never_ends(request: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + begin)
        while True:
            wire.send(b"<p>word " * 4096)

    for number, route in enumerate((breaks_off, stalls, never_ends)):
        neighbour.route(f"/{number}", route)
        sent(blog, neighbour.url(f"/{number}"), target)
        work(blog)
    with blog.app.app_context():
        found = blog.linkback.mentions_for(target, include_hidden=True)
        assert [(each.state, each.title) for each in found] == [(MentionState.verified, "Their page")] * 3


# --- hostile -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2/a.png",
        "http://10.0.0.1/a.png",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/a.png",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://198.41.0.04/",
        "http://localhost/",
        "http://router/",
        "http://printer.local/",
        "http://db.internal./",
        "http://LOCALHOST:8080/",
        "http://user:pw@ann.example/",
        "http://ann.example:0/",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
    ],
)
def test_nobody_is_sent_into_their_own_network(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, url: str
) -> None:
    blog = blogs(sqlite_url, ALLOW_NETWORKS="127.0.0.1/32")
    target = add(blog, "hello")
    card = f'<a class="p-author h-card" href="{url}"><img class="u-photo" src="{url}">Ann</a>'
    one = read(
        blog,
        neighbour,
        f'<div class="h-entry">{card}<a class="u-like-of" href="{target}">x</a></div>',
    )
    assert (one.type, one.author_url, one.author_photo) == ("like", "", "")
    assert len(neighbour.requests) == 1  # and nobody was asked


def test_public_places_are_shown(blog: Blog) -> None:
    for url in (
        "https://ann.example/",
        "http://198.41.0.4:81/x",
        "https://[2606:4700::1111]/",
        "https://1.example/",
        "https://zürich.example/ü",
        "http://127.0.0.1:5000/",  # ALLOW_NETWORKS opens it here
    ):
        assert public_url(blog.site, url) == url


KINDS: dict[str, str] = {
    "script": "<script>alert(1)</script>",
    "escaped script": "&lt;script&gt;alert(1)&lt;/script&gt;",
    "image": "<img src=x onerror=alert(1)>",
    "attribute": "&quot; onmouseover=&quot;alert(1)",
    "direction": "\u202egnp.exe",
    "nothing to see": "\u200b\u200b",
    "control": "a&#0;b&#x1b;c",
    "marks": "e" + "\u0301" * 50,
    "template": "{{ 1234 * 4321 }} {% raw %}",
    "long": "word " * 5000,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_strangers_say_is_text(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, kind: str
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=True)
    target = add(blog, "hello")
    said = KINDS[kind]
    html = (
        f'<div class="h-entry"><b class="p-name">{said}</b><b class="p-author h-card">{said}</b>'
        f'<a class="u-in-reply-to" href="{target}">x</a><div class="e-content">{said}</div></div>'
    )
    one: Any = read(blog, neighbour, html)
    assert one.state is MentionState.verified
    for text in (one.title, one.author_name, one.content):
        assert len(text) <= 1000
        assert not set(text) & {"\u202e", "\u200b", "\0", "\x1b"}
    shown = blog.app.test_client().get("/post/hello").text
    assert "<script" not in shown
    assert "<img" not in shown
    assert "\u202e" not in shown
    assert "5332114" not in shown.replace("&#49", "")
