"""Microformats: who says what about a target, in pages as people make them and in those made to harm."""

from __future__ import annotations

import sys
import time
from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_linkback.protocols import microformats
from flask_linkback.protocols.microformats import Content, MentionType, Reading, moment, read
from tests.thorough import examples, usual

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SOURCE = "https://source.example/post"
TARGET = "https://blog.example/entry"
LINK = f'<a href="{TARGET}">this</a>'


def wanted(url: str) -> Hashable | None:
    bare = url.partition("#")[0]
    return bare if bare.startswith("https://blog.example/") else None


def reading_of(page: str | bytes, **options: Any) -> Reading:
    body = page.encode("utf-8", "replace") if isinstance(page, str) else page
    return read(body, **{"url": SOURCE, "wanted": wanted, "now": NOW, **options})


def content_of(page: str | bytes, target: str = TARGET, **options: Any) -> Content:
    return reading_of(page, **options).about(target)


def entry(inside: str) -> str:
    return f'<title>Page</title><div class="h-entry">{inside}</div>'


# --- as they are made -------------------------------------------------------------------------------------

WORDPRESS_CLASSIC = f"""
<!DOCTYPE html><html lang="en-US"><head><meta charset="UTF-8"><title>Hello &#8211; A Site</title>
<link rel="canonical" href="https://source.example/2026/hello/"></head>
<body class="post-template single single-post hfeed"><header><a href="/" rel="home">A Site</a></header>
<main><article id="post-7" class="post-7 post type-post hentry category-x"><header class="entry-header">
<h1 class="entry-title">Hello</h1><div class="entry-meta"><span class="byline"><span class="author vcard">
<img alt="" src="/avatar.jpg" class="avatar photo">
<a class="url fn n" href="/author/ann/">Ann</a></span>
</span><a href="/2026/hello/" rel="bookmark"><time class="entry-date published"
datetime="2026-11-19T11:00:00+01:00">yesterday</time></a></div></header>
<div class="entry-content"><p>I read {LINK}.</p><p>It is good.</p></div>
</article><ol class="comment-list"><li class="comment"><article
class="comment-body"><div class="comment-author vcard"><b class="fn"><a href="https://bob.example/"
class="url">Bob</a></b></div></article></li></ol></main>
"""

WORDPRESS_BLOCKS = f"""
<!DOCTYPE html><html><head><title>Hello &#8211; A Site</title><meta property="og:title" content="Hello">
<link rel="canonical" href="https://source.example/2026/hello/">
<meta property="article:published_time" content="2026-11-19T10:00:00+00:00"><meta name="author" content="Ann">
<script type="application/ld+json">{{"@context":"https://schema.org","@graph":[{{"@type":"Article",
"author":{{"name":"Ann","@id":"https://source.example/#/person/1"}},"headline":"Hello"}},{{"@type":"Person",
"@id":"https://source.example/#/person/1","name":"Ann","image":{{"@type":"ImageObject",
"url":"https://source.example/avatar.jpg"}},"url":"https://source.example/author/ann/"}}]}}</script></head>
<body class="wp-site-blocks"><main><p>I read {LINK}.</p></main>
"""

MICRO_BLOG = f"""
<html><head><title>Ann's blog</title><link rel="author" href="https://source.example/"></head><body>
<div class="h-entry"><div class="p-author h-card"><a href="https://source.example/" class="u-url"><img
class="u-photo" src="/avatar.jpg" alt=""></a> <span class="p-name">Ann</span></div>
<a class="u-url" href="/2026/hello/"><time class="dt-published"
datetime="2026-11-19T10:00:00+00:00">Nov 19</time></a><div class="e-content"><p>I read {LINK}.</p>
<p>It is good.</p></div></div>
"""

KNOWN = f"""
<html><head><title>A reply</title></head><body><div class="idno-object h-entry"><div class="p-author author
h-card vcard"><a href="https://source.example/profile/ann" class="u-url icon-container"><img class="u-photo"
src="/avatar.jpg" alt=""></a><a class="p-name u-url fn" href="https://source.example/profile/ann">Ann</a></div>
<div class="e-content entry-content"><div class="reply-text"><p><i>in reply to</i> <a
href="{TARGET}" rel="in-reply-to" class="u-in-reply-to">an entry</a></p></div>
<div class="p-name"><p>I read this.</p><p>It is good.</p></div></div>
<a class="u-url url" href="/2026/hello/" rel="permalink"><time class="dt-published"
datetime="2026-11-19T10:00:00+00:00">a day ago</time></a></div>
"""

HUGO = f"""
<html><head><title>Hello</title></head><body class="h-full"><article class="h-entry p-4 h-screen">
<h1 class="p-name">Hello</h1><time class="dt-published" datetime="2026-11-19 10:00:00 +0000 UTC">x</time>
<a class="u-url" href="https://source.example/2026/hello/"></a><div class="e-content u-flex">
<p>I read {LINK}.</p><p>It is good.</p></div><a class="p-author h-card" href="/author/ann/"
rel="author"><img src="/avatar.jpg" alt="">Ann</a></article>
"""


@pytest.mark.parametrize(
    "page", [WORDPRESS_CLASSIC, MICRO_BLOG, KNOWN, HUGO], ids=["wordpress", "micro.blog", "known", "hugo"]
)
def test_posts(page: str) -> None:
    content = content_of(page)
    assert content.author_name == "Ann"
    assert content.author_url.startswith("https://source.example/")
    assert content.author_photo == "https://source.example/avatar.jpg"
    assert content.published_at == datetime(2026, 11, 19, 10, tzinfo=UTC)
    assert content.url == "https://source.example/2026/hello/"
    assert content.content.endswith(".\nIt is good.")
    assert content.type is (MentionType.reply if page is KNOWN else MentionType.mention)
    if page in (WORDPRESS_CLASSIC, HUGO):
        assert (content.title, content.content) == ("Hello", "I read this.\nIt is good.")


def test_a_page_without_microformats() -> None:
    assert content_of(WORDPRESS_BLOCKS) == Content(
        title="Hello",
        author_name="Ann",
        author_url="https://source.example/author/ann/",
        author_photo="https://source.example/avatar.jpg",
        published_at=datetime(2026, 11, 19, 10, tzinfo=UTC),
        url="https://source.example/2026/hello/",
    )


def bridged(kind: str, response: str) -> str:
    return f"""
<!DOCTYPE html><html><head><meta http-equiv="refresh" content="0;url=https://social.example/@bob/1"><title>x
</title></head><article class="h-entry"><span class="p-uid">tag:social.example,2026:{kind}</span>
<time class="dt-published" datetime="2026-11-19T10:00:00+00:00">2026-11-19</time>
<span class="p-author h-card"><data class="p-uid" value="tag:social.example:bob"></data>
<a class="p-name u-url" href="https://social.example/@bob">Bob 🐘</a>
<img class="u-photo" src="https://social.example/bob.png" alt=""></span>
<a class="u-url" href="https://social.example/@bob/1">https://social.example/@bob/1</a>{response}</article>
"""


@pytest.mark.parametrize(
    ("kind", "response", "content"),
    [
        ("like", f'<span class="e-content"></span><a class="u-like-of" href="{TARGET}"></a>', ""),
        (
            "repost",
            f"""<div class="e-content p-name">What she said</div>
            <div class="h-cite u-repost-of"><a class="u-url" href="{TARGET}">{TARGET}</a></div>""",
            "What she said",
        ),
        (
            "reply",
            f"""<div class="e-content p-name"><p>@ann 👍</p></div>
            <a class="u-in-reply-to" href="https://social.example/@ann/1"></a>
            <a class="u-in-reply-to" href="{TARGET}"></a>""",
            "@ann 👍",
        ),
        (
            "bookmark",
            f'<cite class="u-bookmark-of h-cite"><a class="p-name u-url" href="{TARGET}">it</a></cite>',
            "",
        ),
        (
            "rsvp",
            f"""<p class="e-content">I <data class="p-rsvp" value="Maybe">may</data>
            <a class="u-in-reply-to" href="{TARGET}">come</a></p>""",
            "I may come",
        ),
    ],
)
def test_responses(kind: str, response: str, content: str) -> None:
    found = content_of(bridged(kind, response))
    assert found.type == kind
    assert found.rsvp == ("maybe" if kind == "rsvp" else "")
    assert found.title == ("RSVP: maybe" if kind == "rsvp" else "x")
    assert found.content == content
    assert (found.author_name, found.author_url) == ("Bob 🐘", "https://social.example/@bob")
    assert found.author_photo == "https://social.example/bob.png"
    assert found.url == "https://social.example/@bob/1"


# --- which kind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "kind"),
    [
        (f'<a class="u-in-reply-to u-like-of" href="{TARGET}">x</a>', "like"),
        (f'<a class="u-in-reply-to u-like-of u-repost-of" href="{TARGET}">x</a>', "repost"),
        (f'<a class="u-in-reply-to u-bookmark-of" href="{TARGET}">x</a>', "bookmark"),
        (f'<a class="u-in-reply-to u-like-of" href="{TARGET}">x</a><b class="p-rsvp">YES</b>', "rsvp"),
        (f'<a class="u-like-of" href="{TARGET}">x</a><b class="p-rsvp">yes</b>', "like"),
        (f'<a class="u-in-reply-to" href="{TARGET}">x</a><b class="p-rsvp">perhaps</b>', "reply"),
        (f'<a class="u-in-reply-to" href="{TARGET}#c1">x</a>', "reply"),
        (f'<b class="p-in-reply-to">{TARGET}</b>', "reply"),
        (f'<div class="p-in-reply-to h-cite"><a class="u-url" href="{TARGET}">x</a></div>', "reply"),
        (
            f'<p class="u-in-reply-to h-cite"><b class="p-name">x</b><a class="u-url" href="{TARGET}"></a>',
            "reply",
        ),
        ('<a class="u-in-reply-to" href="https://other.example/">x</a>' + LINK, "mention"),
        ('<a class="u-in-reply-to" href="javascript:x">x</a>' + LINK, "mention"),
        (f'<p class="u-comment h-cite"><a class="u-in-reply-to" href="{TARGET}">x</a></p>', "mention"),
        (f'<template><a class="u-like-of" href="{TARGET}">x</a></template>', "mention"),
        (f'<!-- <a class="u-like-of" href="{TARGET}">x</a> -->', "mention"),
        (f'<noscript><a class="u-like-of" href="{TARGET}">x</a></noscript>', "mention"),
    ],
)
def test_kinds(inside: str, kind: str) -> None:
    assert content_of(entry(inside)).type == kind


def test_relative_urls() -> None:
    page = entry('<a class="u-like-of" href="entry">x</a><a class="u-url" href="?p=1">x</a>')
    content = content_of('<base href="//blog.example/">' + page)
    assert (content.type, content.url) == ("like", "https://blog.example/?p=1")
    assert content_of(page, url="https://blog.example/x").type == "like"
    assert content_of('<base href="javascript:x">' + page, url="https://blog.example/x").type == "like"


def test_each_target_has_what_is_said_about_it() -> None:
    reading = reading_of(
        '<div class="h-feed"><h1 class="p-name">Feed</h1><a class="p-author h-card" href="/">Ann</a>'
        '<div class="h-entry"><a class="u-url" href="/1">1</a><p class="e-content">First</p></div>'
        '<div class="h-entry"><a class="u-url" href="/2">2</a><p class="e-content">See '
        '<a href="https://blog.example/a">a</a> and <a href="https://blog.example/b">b</a></p></div>'
        '<div class="h-entry"><a class="u-url" href="/3">3</a><p class="e-content">Yes</p>'
        '<a class="u-in-reply-to" href="https://blog.example/b">b</a></div></div>'
    )
    about_a, about_b, other = (reading.about(f"https://blog.example/{name}") for name in "abc")
    assert (about_a.type, about_a.content, about_a.url) == (
        "mention",
        "See a and b",
        "https://source.example/2",
    )
    assert (about_b.type, about_b.content, about_b.url) == ("reply", "Yes", "https://source.example/3")
    assert (other.type, other.content) == ("mention", "First")
    assert {one.author_name for one in (about_a, about_b, other)} == {"Ann"}


def test_the_entry_of_the_page_itself() -> None:
    entries = [
        f'<div class="h-entry"><a class="u-url" href="{url}">x</a><p class="e-content">{url}</p></div>'
        for url in ("/1", "/post/", "/3")
    ]
    assert content_of(f"{''.join(entries)}<footer>{LINK}</footer>").content == "/post/"


def test_other_kinds_of_posts() -> None:
    for kind in ("h-event", "h-review", "h-recipe"):
        page = (
            f'<div class="{kind}"><h1 class="p-name">Name</h1><p class="p-description">Words {LINK}</p></div>'
        )
        content = content_of(page)
        assert (content.title, content.content) == ("Name", "Words this")


# --- titles and words -------------------------------------------------------------------------------------


def test_titles() -> None:
    assert (
        content_of(entry('<p class="p-name">A  title</p><p class="e-content">Words</p>')).title == "A title"
    )
    assert content_of(entry('<p class="p-name e-content">Only words</p>')).title == "Page"
    assert content_of(entry("All of it, with no class")).title == "All of it, with no class"
    assert content_of(entry("words " * 500)).title == "Page"
    long = f'<p class="p-name">words {"x " * 140}</p><div class="e-content">words {"x " * 600}</div>'
    assert content_of(entry(long), content_length=200).title == "Page"


def test_words() -> None:
    assert content_of(entry('<p class="p-content">A<br>b</p>')).content == "A\nb"
    assert content_of(entry('<p class="p-summary">A  b</p>')).content == "A b"
    assert content_of(entry('<p class="e-content">' + "word " * 900), content_length=9).content == "word wor…"
    assert content_of(entry('<p class="e-content"><img alt="👩‍👩‍👧" src=x>')).content == "👩‍👩‍👧"


def test_encodings() -> None:
    page = entry('<p class="e-content">é</p>')
    assert content_of(page.encode("cp1252")).content == "é"
    assert content_of(page.encode("utf-16-le"), charset="utf-16").content == "é"
    assert content_of(page.encode("iso8859-7", "replace") + b'<b class="\xe1">', charset="x").content == "?"


# --- authors ----------------------------------------------------------------------------------------------

CARD = (
    '<div class="h-card"><a class="p-name u-url" href="https://ann.example/">Ann</a><img src="/a.png"></div>'
)


@pytest.mark.parametrize(
    ("page", "name", "url"),
    [
        (entry('<b class="p-author">Ann</b>'), "Ann", ""),
        (entry('<a class="u-author" href="https://ann.example">x</a>') + CARD, "Ann", "https://ann.example/"),
        (entry('<a class="u-author" href="https://b.example/">x</a>') + CARD, "", "https://b.example/"),
        (entry('<b class="p-author">https://ann.example/</b>') + CARD, "Ann", "https://ann.example/"),
        (entry(LINK) + CARD, "", ""),
        (
            entry(LINK) + CARD + '<a rel="author" href="https://ann.example/">x</a>',
            "Ann",
            "https://ann.example/",
        ),
        (entry(LINK) + CARD.replace("https://ann.example/", SOURCE), "Ann", SOURCE),
        (entry(LINK) + '<link rel="author" href="/ann">', "", "https://source.example/ann"),
        (entry(LINK) + '<meta name="author" content="Ann">', "Ann", ""),
        (entry('<b class="p-author">Ann</b>') + '<meta name="author" content="Bob">', "Ann", ""),
        (f'<div class="h-feed"><b class="p-author">Ann</b>{entry(LINK)}</div>', "Ann", ""),
        (
            entry('<a class="p-author h-card" href="/a">Ann</a><a class="p-author h-card" href="/b">Bob</a>'),
            "Ann",
            "https://source.example/a",
        ),
        (entry('<div class="p-author h-card"><b class="p-nickname">ann</b></div>'), "ann", ""),
        (entry('<div class="p-author h-card"><b class="p-org">We</b></div>'), "We", ""),
        (
            entry('<a class="p-author h-card" href="/a"><img src="/a.png"></a>'),
            "",
            "https://source.example/a",
        ),
        (entry('<div class="p-author h-card">' + "words " * 100 + "</div>"), "", ""),
        (entry('<div class="u-comment h-cite"><a class="p-author h-card" href="/b">Bob</a></div>'), "", ""),
    ],
)
def test_authors(page: str, name: str, url: str) -> None:
    content = content_of(page)
    assert (content.author_name, content.author_url) == (name, url)


# --- times ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-19T10:11:12Z", "2026-11-19T10:11:12"),
        ("2026-11-19t10:11:12z", "2026-11-19T10:11:12"),
        ("2026-11-19T10:11:12+01:00", "2026-11-19T09:11:12"),
        ("2026-11-19 10:11:12 -0230", "2026-11-19T12:41:12"),
        ("2026-11-19 10:11:12 +0100 CET", "2026-11-19T09:11:12"),
        ("2026-11-19 10:11:12 UTC", "2026-11-19T10:11:12"),
        ("2026-11-19T10:11:12.1234567Z", "2026-11-19T10:11:12.123456"),
        ("2026-11-19T10:11", "2026-11-19T10:11:00"),
        ("20261119T101112Z", "2026-11-19T10:11:12"),
        (" 2026-11-19\n", "2026-11-19T00:00:00"),
        ("2026-323", "2026-11-19T00:00:00"),
        ("2026-323T10:00Z", "2026-11-19T10:00:00"),
        ("2026-W47-4", "2026-11-19T00:00:00"),
        ("2026-11-21T11:00:00Z", "2026-11-21T11:00:00"),
        ("1900-01-01", "1900-01-01T00:00:00"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert moment(text, NOW) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "yesterday",
            "2026",
            "2026-11",
            "2026-13-01",
            "2026-02-30",
            "2026-366",
            "2026-000",
            "10:00",
            "Z",
        ),
        *("2026-11-21T13:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "1899-12-31"),
        *(
            "20261119T",
            "2026-11-19T25:00",
            "-2026-11-19",
            "\uff12026-11-19",
            "9" * 61,
            "2026-11-19" + " " * 60,
            "\0",
        ),
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert moment(text, NOW) is None


@settings(max_examples=examples(300), deadline=None)
@given(
    st.text(max_size=40)
    | st.from_regex(r"[0-9]{4}-?[0-9W]{2,3}-?[0-9]{0,2}[T ]?[0-9:.]{0,12}[-+Z0-9: ]{0,7}")
)
def test_moment_never_raises(text: str) -> None:
    found = moment(text, NOW)
    assert found is None or (found.tzinfo is UTC and found.year >= 1900 and found <= NOW + timedelta(days=1))


# --- made to harm -----------------------------------------------------------------------------------------

URLS = (
    *("javascript:alert(1)", "JaVaScRiPt:alert(1)", "java&#10;script:alert(1)", "&#1;javascript:alert(1)"),
    *(" javascript:alert(1)", "&#x6a;avascript:alert(1)", "javascript&colon;alert(1)", "vbscript:x"),
    *(
        "data:text/html,&lt;script>alert(1)&lt;/script>",
        "DATA:image/svg+xml,x",
        "blob:x",
        "file:///etc/passwd",
    ),
    *("mailto:x@y.example", "https://user:word@x.example/", "https://x.example\\@y.example/", "https://"),
    *("https://x.example/&#x202e;gpj.exe", "https://x.example/&#0;", "https://[x", "http://x.example:99999/"),
    *("https://x.example/" + "x" * 3000, "view-source:https://x.example/", "feed:https://x.example/"),
)


@pytest.mark.parametrize("url", URLS)
def test_no_url_does_harm(url: str) -> None:
    page = entry(
        f'<a class="u-url" href="{url}">x</a><div class="e-content">x</div><div class="p-author h-card">'
        f'<a class="p-name u-url" href="{url}">Ann</a><img class="u-photo" src="{url}" alt=""></div>'
    )
    head = f'<link rel="canonical" href="{url}"><link rel="author" href="{url}">'
    found = content_of(page) if url == "https://" else content_of(head + page)
    plain = content_of(head)
    assert found.author_name == "Ann"
    for one in (found.url, found.author_url, found.author_photo, plain.url, plain.author_url):
        assert one in ("", "https://source.example/post")


TEXTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<style>*{display:none}</style>",
    "<meta http-equiv=refresh content=0;url=https://x.example/>",
    "<base href=https://x.example/>",
    "<a href=javascript:alert(1)>x</a>",
    "<b onmouseover=alert(1)>x</b>",
    "<textarea>",
    "<!--",
    "<title>",
    "{{ 7 * 7 }}",
)


@pytest.mark.parametrize("text", TEXTS)
def test_markup_is_no_part_of_what_is_said(text: str) -> None:
    page = entry(
        f'<h1 class="p-name">Name{text}</h1><div class="e-content">Words{text}</div>'
        f'<div class="p-author h-card"><b class="p-name">Ann{text}</b></div>'
    )
    for found in (content_of(page), content_of(page.encode(), content_length=5)):
        for one in (found.title, found.content, found.author_name):
            assert not {"<", ">"} & set(one)
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    shown = content_of(entry(f'<b class="p-author">{escaped}</b>')).author_name
    assert shown == text  # as text; who shows it escapes it


def test_words_that_deceive() -> None:
    page = entry(
        '<h1 class="p-name">\u202eeltit\u202c\n\na\u2066b\0c\u200b</h1>'
        '<div class="e-content">\u202e\u200bA\u0007<p>\u2067b</div>'
        '<div class="p-author h-card"><b class="p-name">Ann\u202e\u200b\n\nOther\x01</b></div>'
    )
    found = content_of(page)
    assert (found.title, found.content, found.author_name) == ("eltit ab\ufffdc", "A\nb", "Ann Other")
    assert content_of(entry('<b class="p-author">\u200b\u2800\u3164</b>')).author_name == ""
    assert len(content_of(entry(f'<b class="p-author">{"x" * 150}</b>')).author_name) == 100


def test_what_mf2py_fails_at_is_read_without() -> None:
    for odd in (
        '<b class="dt-published"><i class="value">+01:00</i></b>',
        '<b class="p-name"><i class="value-title">x</i></b>',
    ):
        content = content_of(entry(f'{odd}<a class="u-like-of" href="{TARGET}">x</a>'))
        assert content == Content(title="Page")


def test_without_mf2py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mf2py", None)
    assert content_of(MICRO_BLOG) == Content(title="Ann's blog", author_url="https://source.example/")
    assert content_of(WORDPRESS_BLOCKS).author_name == "Ann"


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    for page in ("", "<p>", MICRO_BLOG, entry('<a class="u-author" href="https://ann.example/">x</a>')):
        content_of(page)


ALL = " ".join(sorted(microformats._PROPERTIES))
MANY = 100_000


@pytest.mark.parametrize(
    "page",
    [
        '<div class="h-entry">' * MANY,
        '<div class="h-entry">' + "<b>" * MANY + "</i>" * MANY,
        '<div class="h-entry"></div>' * 9_900,
        '<div class="h-entry"><p class="p-name">x</p></div>' * 20_000,
        '<div class="p-author p-name h-card">' * 90 + "x",
        ('<div class="p-author p-name h-card">' * 11 + "x" + "</div>" * 11) * 20,
        '<div class="hentry">' + '<div class="author entry-title entry-content">' * 90 + "x",
        '<div class="vcard">' * 90 + "<b>x</b>" * 4000,
        '<div class="vcard"><b class="fn">x</b></div>' * 4_000,
        '<div class="h-entry">' + '<div class="e-content">' * 90 + "x" * 20_000,
        '<div class="h-entry">' + '<div class="e-content">' * 20 + "\U0001f600" * MANY,
        '<div class="h-entry"><div class="e-content">' + "<i>x</i>" * 3_900,
        '<div class="h-entry"><div class="e-content">' + "é<br>" * 300_000,
        '<div class="h-entry"><div class="e-content">' + ("é" * 300 + "<br>") * 500,
        f'<div class="h-entry {ALL}">' * 30 + "x",
        f'<div class="h-entry {"p-name " * MANY}">x',
        f'<div class="{" ".join(f"h-{number}" for number in range(MANY))}">x',
        f'<div class="h-entry"><b {" ".join(f"a{number}=x" for number in range(MANY))}>x',
        '<div class="h-entry">' + f'<a class="u-like-of" href="{TARGET}">x</a>' * 6_000,
        '<div class="h-entry">' + '<a class="p-author h-card" href="/x">x</a>' * 4_000,
        '<div class="h-entry"><b class="dt-published">' + '<i class="value">2026-</i>' * 5_000,
        "".join(f'<p class="h-entry"><b class="e-content">{LINK * 60}</b></p>' for _ in range(60)),
        '<script type="application/ld+json">' + "[" * MANY + "</script>",
        '<meta name="author" content="x">' * MANY,
        '<a rel="author" href="x">' * MANY,
        "<title>" + "x" * (1 << 20),
    ],
    ids=lambda page: repr(page[:40]),
)
def test_hostile_pages_cost_little(page: str) -> None:
    content_of(MICRO_BLOG)  # what is loaded at first use
    started = time.thread_time()
    reading = reading_of(page)
    for number in range(1000):
        reading.about(number)
    assert usual(time.thread_time() - started) < 1


def test_a_page_of_the_usual_size_is_within_the_limits() -> None:
    words = (
        f"<p>Lorem <em>ipsum</em> dolor <a href='/x'>sit</a> amet. {'Lorem ipsum dolor sit amet. ' * 10}</p>"
    )
    sheets = "<style>a{b:c}</style><script>var a = '<b>'</script><svg><path d='x'/></svg>" * 2000
    around = '<div><ul class="nav"><li><a href="/">x</a></li></ul></div>' * 3000
    post = entry(f'<div class="e-content">{words * 200}</div><b class="p-author">Ann</b>')
    assert content_of(sheets + around + post + around).author_name == "Ann"


# --- whatever comes ---------------------------------------------------------------------------------------


def check(content: Content, length: int) -> None:
    """Check what every content promises."""
    assert content.type in MentionType
    assert (content.rsvp != "") == (content.type is MentionType.rsvp)
    assert len(content.title) <= 300
    assert len(content.author_name) <= 100
    assert len(content.content) <= length
    for text in (content.title, content.author_name, *content.content.split("\n")):
        assert text == " ".join(text.split())
        assert not {*"\0\u202a\u202d\u202e\u2066\u2067\u200b"} & set(text)
        text.encode()
    for url in (content.url, content.author_url, content.author_photo):
        assert url == "" or url.startswith(("http://", "https://"))
        assert len(url) <= 2048
        assert url.isprintable()
    assert content.published_at is None or content.published_at.utcoffset() == timedelta(0)


PIECES = (
    *(f'<div class="{name}">' for name in sorted(microformats._ROOTS | set(microformats._OLD_ROOTS))),
    *(
        f'<p class="{name}">'
        for name in ("p-name", "p-author", "p-rsvp", "e-content", "dt-published", "u-url")
    ),
    *(
        f'<b class="{name}">'
        for name in ("author vcard", "fn", "url", "value", "value-title", "entry-content")
    ),
    *(
        f'<a class="{name}" href="{TARGET}">'
        for name in ("u-in-reply-to", "u-like-of h-cite", "p-author h-card")
    ),
    *(
        '<a class="u-url" href="',
        '<img class="u-photo" src="',
        '" alt="',
        '">',
        "</a>",
        "</div>",
        "</p>",
        "</b>",
    ),
    *("<pre>", "</pre>", "<br>", "<title>", "</title>", "<base href='//x/'>", "<template>", "</template>"),
    *(
        '<script type="application/ld+json">',
        "</script>",
        '{"@type":"Article","author":',
        '"x"',
        "}",
        "[",
        "]",
    ),
    *(
        '<meta name="author" content="',
        '<link rel="author canonical" href="',
        "javascript:",
        "https://x.example/",
    ),
    *(
        "2026-11-19",
        "T10:00",
        "+01:00",
        "yes",
        "\u202e",
        "\u200d",
        "\0",
        "\ud800",
        "&#x202e;",
        "&lt;",
        "é",
        "x y",
    ),
)


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join), st.integers(0, 40))
def test_whatever_the_markup(page: str, length: int) -> None:
    check(content_of(page, content_length=length), length)


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=300), st.text(max_size=20) | st.none(), st.text(max_size=20))
def test_whatever_the_bytes(page: bytes, charset: str | None, url: str) -> None:
    check(content_of(page, charset=charset, url=url), 1000)
    check(content_of(b'<div class="h-entry">' + page, charset=charset, url=url), 1000)


PAGES = (WORDPRESS_CLASSIC, WORDPRESS_BLOCKS, MICRO_BLOG, KNOWN, HUGO, bridged("like", LINK))


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutants_of_pages(data: st.DataObject) -> None:
    page = data.draw(st.sampled_from(PAGES))
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(page)))
        end = min(len(page), start + data.draw(st.sampled_from((0, 1, 5, 40, 300))))
        middle = data.draw(st.sampled_from(("", page[start:end] * 3, *PIECES)))
        page = page[:start] + middle + page[end:]
    check(content_of(page), 1000)


def test_a_page_without_head_and_body_elements_is_read_too() -> None:
    """The parser leaves an article in the head that it makes up itself."""
    body = (
        b'<!doctype html><title>T</title><article class="h-entry"><a class="u-like-of" href="https://x.example/">'
        b'it</a><a class="p-author h-card" href="https://there.example/">Ann</a></article>'
    )
    url = "https://there.example/1"
    reading = read(body, url=url, wanted=lambda each: "x" if "x.example" in each else None, now=NOW)
    content = reading.about("x")
    assert (content.type, content.author_name) == ("like", "Ann")
