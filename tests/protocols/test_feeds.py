"""Feeds as readers see them: what is right says nothing, each thing that is wrong says what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from flask_linkback.protocols import feeds
from flask_linkback.protocols.feeds import Report, examine, parse_rfc822, parse_rfc3339

URL = "https://blog.example/feed"
NOW = datetime(2026, 11, 20, tzinfo=UTC)

ATOM_ENTRY = """<entry><title>One</title><link href="https://blog.example/1"/><id>tag:blog.example,2026:1</id>
<published>2026-05-04T10:00:00+02:00</published><updated>2026-05-05T10:00:00Z</updated>
<link rel="enclosure" href="https://blog.example/1.mp3" length="3" type="audio/mpeg"/>
<summary type="html">&lt;p&gt;&lt;a href="https://a.example/">there&lt;/a&gt;&lt;/p&gt;</summary></entry>"""
ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Posts</title><link href="https://blog.example/"/>
<link rel="self" href="https://blog.example/feed"/><link rel="hub" href="https://hub.example/"/>
<id>https://blog.example/</id><updated>2026-05-05T10:00:00Z</updated><author><name>Ann</name></author>
ENTRY</feed>"""

RSS_ITEM = """<item><title>One &#x26; two</title><link>https://blog.example/1</link><description>D</description>
<pubDate>Mon, 04 May 2026 10:00:00 +0200</pubDate><guid isPermaLink="false">1</guid>
<author>ann@a.example (Ann)</author>
<enclosure url="https://blog.example/1.mp3" length="0" type="audio/mpeg"/></item>"""
RSS = """<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel><title>Posts</title>
<link>https://blog.example/</link><description>All</description>
<atom:link rel="self" href="https://blog.example/feed"/><atom:link rel="hub" href="https://hub.example/"/>
<lastBuildDate>Mon, 04 May 2026 10:00:00 GMT</lastBuildDate>ITEM</channel></rss>"""

JSON_ITEM: dict[str, Any] = {
    "id": "1",
    "url": "https://blog.example/1",
    "content_html": "<p>1</p>",
    "date_published": "2026-05-04T10:00:00+02:00",
    "attachments": [{"url": "https://blog.example/1.mp3", "mime_type": "audio/mpeg"}],
}
JSON: dict[str, Any] = {
    "version": "https://jsonfeed.org/version/1.1",
    "title": "Posts",
    "feed_url": URL,
    "home_page_url": "https://blog.example/",
    "hubs": [{"type": "WebSub", "url": "https://hub.example/"}],
    "items": [JSON_ITEM],
}
TYPES = {
    "<feed": "application/atom+xml; charset=utf-8",
    "<rss": "application/rss+xml",
    "{": "application/feed+json",
}


def look(document: str | bytes, content_type: str | None = None) -> Report:
    body = document.encode() if isinstance(document, str) else document
    if content_type is None:
        content_type = next(known for start, known in TYPES.items() if start.encode() in body)
    return examine(body, url=URL, content_type=content_type, now=NOW)


def said(report: Report) -> list[tuple[int | None, str, bool]]:
    return [(each.item, each.what, each.is_error) for each in report.problems]


def atom(old: str = "", new: str = "", *, entries: int = 1) -> str:
    """The good feed of Atom with one thing changed."""
    document = ATOM.replace("ENTRY", ATOM_ENTRY * entries)
    assert old in document
    return document.replace(old, new, 1)


def rss(old: str = "", new: str = "", *, items: int = 1) -> str:
    document = RSS.replace("ITEM", RSS_ITEM * items)
    assert old in document
    return document.replace(old, new, 1)


def json_feed(**changes: Any) -> str:
    return json.dumps({name: value for name, value in (JSON | changes).items() if value is not ...})


def json_item(**changes: Any) -> str:
    item = {name: value for name, value in (JSON_ITEM | changes).items() if value is not ...}
    return json_feed(items=[item])


# --- what is right ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "format", "version"),
    [(atom(), "Atom", "1.0"), (rss(), "RSS", "2.0"), (json_feed(), "JSON Feed", "1.1")],
)
def test_a_good_feed_is_told_without_a_problem(document: str, format: str, version: str) -> None:  # noqa: A002
    report = look(document)
    assert said(report) == []
    assert (report.format, report.version, report.title) == (format, version, "Posts")
    assert (report.items, report.self_url, report.hubs) == (1, URL, ["https://hub.example/"])
    assert report.newest is not None
    assert report.newest.astimezone(UTC).day in (4, 5)
    assert report.size == len(document)


@pytest.mark.parametrize(
    "document",
    [
        b"\xef\xbb\xbf" + atom().encode(),
        atom().replace("utf-8", "utf-16").encode("utf-16"),
        atom("<title>One", "<title type='html'>&lt;b>One&lt;/b>").encode(),
        atom("<title>One", "<title>A &amp; B, 5 &lt; 6").encode(),
        # the feed's author stands for all, and each entry's own stands for the feed
        atom("</id>\n<pub", "</id><author><name>Bob</name></author>\n<pub")
        .replace("<author><name>Ann</name></author>", "")
        .encode(),
        atom("<entry>", '<entry xml:base="https://blog.example/">')
        .replace('"https://blog.example/1"', '"/1"')
        .encode(),
        rss('isPermaLink="false">1', ">https://blog.example/1").encode(),
        rss("Mon, 04 May 2026 10:00:00 +0200", "4 May 26 10:00 EST").encode(),
    ],
)
def test_what_is_allowed_is_no_problem(document: bytes) -> None:
    assert said(look(document, "application/xml")) == []


def test_the_header_says_which_encoding_it_is() -> None:
    document = atom("utf-8", "us-ascii").replace("Posts", "Caf\xe9").encode("latin-1")
    assert look(document, "application/atom+xml; charset=iso-8859-1").title == "Caf\xe9"


def test_any_prefix_may_stand_for_atom() -> None:
    document = re.sub(r"<(/?)(?=\w)", r"<\1a:", atom()).replace("xmlns=", "xmlns:a=")
    report = look(document, "application/xml")
    assert (report.title, said(report)) == ("Posts", [])


def test_what_the_feed_says_may_come_after_its_items() -> None:
    head = "<title>Posts</title>"
    document = rss().replace(head, "", 1).replace("</channel>", f"{head}</channel>")
    assert (look(document).title, said(look(document))) == ("Posts", [])


# --- what is wrong ------------------------------------------------------------------------------------

ERROR, ADVICE = True, False


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (atom("<id>https://blog.example/</id>"), (None, "It has no id.", ERROR)),
        (atom("https://blog.example/</id>", "blog</id>"), (None, "The id is no URI: 'blog'", ERROR)),
        (atom("<title>Posts</title>"), (None, "It has no title.", ERROR)),
        (
            atom("<updated>2026-05-05T10:00:00Z</updated>"),
            (None, "It does not say when it was updated.", ERROR),
        ),
        (
            atom("<author><name>Ann</name></author>"),
            (None, "It has no author, and item 1 has none either.", ERROR),
        ),
        (atom("<name>Ann</name>"), (None, "An author has no name.", ERROR)),
        (
            atom('<link rel="self" href="https://blog.example/feed"/>'),
            (None, "It does not say where it is.", ADVICE),
        ),
        (atom("example/feed", "example/f"), (None, "It says that it is at https://blog.example/f.", ADVICE)),
        (atom("<title>One</title>"), (1, "It has no title.", ERROR)),
        (atom("<id>tag:blog.example,2026:1</id>"), (1, "It has no id.", ERROR)),
        (atom("tag:blog.example,2026:1", "1"), (1, "The id is no URI: '1'", ERROR)),
        (atom("2026-05-04T10:00:00+02:00", "2026-05-04"), (1, "published is no date: '2026-05-04'", ERROR)),
        (
            atom("2026-05-04T10:00:00+02:00", "2026-02-31T10:00:00Z"),
            (1, "published is no date: '2026-02-31T10:00:00Z'", ERROR),
        ),
        (
            atom("2026-05-04T10:00:00+02:00", "2026-11-20T00:06:00Z"),
            (1, "published lies in the future: 2026-11-20T00:06:00Z", ADVICE),
        ),
        (atom(entries=2), (2, "The id is that of item 1: 'tag:blog.example,2026:1'", ERROR)),
        (
            atom("2026-05-05T10:00:00Z</updated>\n<link", "2026-05-06T10:00:00Z</updated>\n<link", entries=2),
            (2, "The id is that of item 1: 'tag:blog.example,2026:1'", ADVICE),
        ),
        (
            atom("<title>One", "<title>&lt;b>One&lt;/b>"),
            (1, "Its title has HTML, and is said to be text: '<b>One</b>'", ADVICE),
        ),
        (
            atom("<title>One", "<title type='text'>A &amp;amp; B"),
            (1, "Its title has HTML, and is said to be text: 'A &amp; B'", ADVICE),
        ),
        (atom('"https://blog.example/1"', '"/1"'), (1, "A link (alternate) is relative: '/1'", ADVICE)),
        (atom(' href="https://blog.example/1"'), (1, "A link (alternate) leads nowhere.", ERROR)),
        (
            atom('<link href="https://blog.example/1"/>', '<link href="x:1"/><link href="x:2"/>'),
            (1, "It has two alternate links of one type and language.", ERROR),
        ),
        (
            atom('<link href="https://blog.example/1"/>'),
            (1, "It has neither content nor a link.", ERROR),
        ),
        (
            atom(' length="3" type="audio/mpeg"'),
            (1, "The enclosure 'https://blog.example/1.mp3' has no length and no type.", ADVICE),
        ),
        (atom('"https://a.example/"', '"/there"'), (1, "Its HTML has relative links or pictures.", ADVICE)),
        (rss(' version="2.0"'), (None, "It does not say which version of RSS it is.", ERROR)),
        (rss("<title>Posts</title>"), (None, "It has no title.", ERROR)),
        (rss("<link>https://blog.example/</link>"), (None, "It has no link.", ERROR)),
        (rss("<description>All</description>", "<description/>"), (None, "It has no description.", ERROR)),
        (rss(">https://blog.example/<", ">/<"), (None, "The link is relative: '/'", ERROR)),
        (rss("Mon, 04 May 2026 10:00:00 GMT", "today"), (None, "lastBuildDate is no date: 'today'", ERROR)),
        (rss("</channel>", "</channel><channel/>"), (None, "It has 2 channels.", ERROR)),
        (rss('rel="self"', 'rel="me"'), (None, "It does not say where it is.", ADVICE)),
        (
            rss("<title>One &#x26; two</title>").replace("<description>D</description>", ""),
            (1, "It has neither title nor description.", ERROR),
        ),
        (rss("https://blog.example/1<", "/1<"), (1, "The link is relative: '/1'", ERROR)),
        (
            rss("Mon, 04 May 2026 10:00:00 +0200", "2026-05-04T10:00:00Z"),
            (1, "pubDate is no date: '2026-05-04T10:00:00Z'", ERROR),
        ),
        (
            rss("Mon, 04 May 2026 10:00:00 +0200", "Mon, 04 May 2036 10:00:00 GMT"),
            (1, "pubDate lies in the future: Mon, 04 May 2036 10:00:00 GMT", ADVICE),
        ),
        (rss("<pubDate>Mon, 04 May 2026 10:00:00 +0200</pubDate>"), (1, "It has no pubDate.", ADVICE)),
        (rss('<guid isPermaLink="false">1</guid>'), (1, "It has no guid.", ADVICE)),
        (rss(' isPermaLink="false"'), (1, "The guid is said to be a URL, and is none: '1'", ERROR)),
        (rss(items=2), (2, "The guid is that of item 1: '1'", ERROR)),
        (rss("ann@a.example (Ann)", "Ann"), (1, "The author has no address: 'Ann'", ADVICE)),
        (rss(' length="0" type="audio/mpeg"'), (1, "An enclosure has no length and no type.", ERROR)),
        (rss('length="0"', 'length="3 MB"'), (1, "The length of an enclosure is no number: '3 MB'", ERROR)),
        (rss('"https://blog.example/1.mp3"', '"1.mp3"'), (1, "An enclosure is relative: '1.mp3'", ERROR)),
        (
            rss("<enclosure", '<enclosure url="x:1" length="1" type="a/b"/><enclosure'),
            (1, "It has 2 enclosures.", ADVICE),
        ),
        (
            rss(">D<", ">&lt;img alt='' src=/a.png><"),
            (1, "Its HTML has relative links or pictures.", ADVICE),
        ),
        (json_feed(version="2"), (None, "Its version is none of JSON Feed.", ERROR)),
        (json_feed(title=...), (None, "It has no title.", ERROR)),
        (json_feed(feed_url=...), (None, "It does not say where it is.", ADVICE)),
        (json_feed(feed_url=f"{URL}?x"), (None, f"It says that it is at {URL}?x.", ADVICE)),
        (json_feed(home_page_url="/"), (None, "home_page_url is relative: '/'", ERROR)),
        (json_feed(items={}), (None, "It has no list of items.", ERROR)),
        (json_feed(items=[1]), (1, "It is no object.", ERROR)),
        (json_feed(items=[JSON_ITEM, JSON_ITEM]), (2, "The id is that of item 1: '1'", ERROR)),
        (json_item(id=...), (1, "It has no id, or one that is no text.", ERROR)),
        (json_item(id=1), (1, "It has no id, or one that is no text.", ERROR)),
        (json_item(content_html=...), (1, "It has no content.", ERROR)),
        (json_item(content_html=[1]), (1, "content_html is no text.", ERROR)),
        (
            json_item(content_html='<a href="#x">x</a> <a href="x">x</a>'),
            (1, "Its HTML has relative links or pictures.", ADVICE),
        ),
        (json_item(url="/1"), (1, "url is relative: '/1'", ERROR)),
        (json_item(date_modified="yesterday"), (1, "date_modified is no date: 'yesterday'", ERROR)),
        (json_item(date_published=...), (1, "It has no date_published.", ADVICE)),
        (json_item(attachments=[{"url": "x:1"}]), (1, "An attachment has no mime_type.", ERROR)),
        (
            json_item(attachments=[{"url": "1.mp3", "mime_type": "a/b"}]),
            (1, "url is relative: '1.mp3'", ERROR),
        ),
    ],
)
def test_what_is_wrong_is_told(document: str, problem: tuple[int | None, str, bool]) -> None:
    assert said(look(document)) == [problem]


def test_every_problem_says_what_to_do() -> None:
    for document in (atom("<title>One</title>"), rss('isPermaLink="false"'), json_item(id=1)):
        for problem in look(document).problems:
            assert problem.advice.endswith((".", "'"))


@pytest.mark.parametrize(
    ("document", "content_type", "problem"),
    [
        (atom(), "text/html; charset=utf-8", "It is served as text/html."),
        (atom(), "application/rss+xml", "It is served as application/rss+xml."),
        (rss(), "", "It is served without a Content-Type."),
        (rss(), "application/atom+xml", "It is served as application/atom+xml."),
        (json_feed(), "application/rss+xml", "It is served as application/rss+xml."),
        (atom(), "application/xml", None),
        (rss(), "text/xml; charset=utf-8", None),
        (json_feed(), "application/json", None),
    ],
)
def test_the_media_type_fits_or_is_told(document: str, content_type: str, problem: str | None) -> None:
    assert said(look(document, content_type)) == ([(None, problem, ERROR)] if problem else [])


@pytest.mark.parametrize(
    ("document", "content_type", "start"),
    [
        (atom()[:200], "application/atom+xml", "It is not well-formed XML: line 3, column "),
        (atom("Posts", "Po\x08sts"), "application/atom+xml", "It is not well-formed XML: line 2, column "),
        (f" {atom()}", "application/atom+xml", "It is not well-formed XML: line 1, column "),
        (atom("utf-8", "x-unknown"), "application/atom+xml", "Its encoding is one that few readers know: "),
        (atom(), "application/atom+xml; charset=klingon", "Its encoding is one that few readers know: "),
        (atom(), "application/atom+xml; charset=utf-7", "Its encoding is one that few readers know: "),
        (
            atom("Posts", "Caf\xe9").encode("latin-1"),
            "application/atom+xml",
            "It is not well-formed XML: line 2",
        ),
        ("", "application/atom+xml", "It is not well-formed XML: line 1, column 1: no element found."),
        ("<!DOCTYPE rss><rss/>", "text/xml", "It has a DOCTYPE."),
        ("<html><p>Hi</p></html>", "text/html", "It is no feed: its root is <html>."),
        (
            '<feed version="0.3" xmlns="http://purl.org/atom/ns#"/>',
            "text/xml",
            "It is Atom 0.3, which was a draft.",
        ),
        ("<feed/>", "text/xml", "It is a feed, but not in the namespace of Atom."),
        (
            '<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>',
            "text/xml",
            "It is RSS 1.0, which is not looked at here.",
        ),
        ('{"items": [', "application/json", "It is not well-formed JSON: line 1, column 12."),
        ('{"a": 1}', "application/json", "It is no feed: a JSON Feed has a version and items."),
        (b'{"a": "\xff"}', "application/json", "It is not in UTF-8."),
        ('{"a": ' + "9" * 5000 + "}", "application/json", "It is no JSON that can be read."),
        ('{"a": ' + "[" * 100_000, "application/json", "It is no JSON that can be read."),
        ('{"a": [' + "[]," * 500_000 + "1]}", "application/json", "It has too many values to be looked at."),
    ],
)
def test_what_cannot_be_read_is_told(document: str | bytes, content_type: str, start: str) -> None:
    what = look(document, content_type).problems[0]
    assert what.what.startswith(start)
    assert what.is_error
    assert len(what.what) <= 200


def test_elements_may_not_be_nested_for_ever() -> None:
    deep = feeds.MAX_DEPTH - 3
    assert said(look(atom("</summary>", "</summary>" + "<b>" * deep + "</b>" * deep))) == []
    assert said(look(atom("</summary>", "</summary>" + "<b>" * 10_000)))[0][1] == (
        "Its elements are nested too deeply."
    )


def test_a_large_feed_is_told_and_a_huge_one_is_not_read() -> None:
    padding = "<!--" + "x" * 5_000_000 + "-->"
    assert said(look(rss("</rss>", f"{padding}</rss>"))) == [(None, "It has 5.0 MB.", ADVICE)]
    assert said(look(b"<rss>" + b"x" * feeds.MAX_BYTES)) == [
        (None, "It is too large to be looked at.", ERROR)
    ]


def test_many_problems_are_counted_and_some_told() -> None:
    report = look(
        rss('<guid isPermaLink="false">1</guid>', items=1).replace(
            "</item>", "</item>" + "<item><link>/</link></item>" * 1_000
        )
    )
    assert report.items == 1_001
    assert report.errors == 2_000
    assert report.advices == 2_001
    assert len(report.problems) == 2 * feeds.MAX_PROBLEMS
    assert report.untold == 4_001 - 2 * feeds.MAX_PROBLEMS
    items = [each.item or 0 for each in report.problems]
    assert items == sorted(items)


# --- dates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parse_rfc3339, "2026-05-04T10:00:00Z", datetime(2026, 5, 4, 10, tzinfo=UTC)),
        (parse_rfc3339, "2026-05-04t10:00:00.25z", datetime(2026, 5, 4, 10, 0, 0, 250_000, tzinfo=UTC)),
        (
            parse_rfc3339,
            "2026-05-04T10:00:00-05:30",
            datetime(2026, 5, 4, 10, tzinfo=timezone(-timedelta(hours=5, minutes=30))),
        ),
        (parse_rfc3339, "2026-05-04 10:00:00Z", None),
        (parse_rfc3339, "2026-05-04T10:00:00", None),
        (parse_rfc3339, "2026-05-04T10:00Z", None),
        (parse_rfc3339, "2026-13-04T10:00:00Z", None),
        (parse_rfc3339, "٢٠٢٦-05-04T10:00:00Z", None),
        (parse_rfc822, "Mon, 04 May 2026 10:00:00 GMT", datetime(2026, 5, 4, 10, tzinfo=UTC)),
        (parse_rfc822, "4 may 26 10:00 UT", datetime(2026, 5, 4, 10, tzinfo=UTC)),
        (parse_rfc822, "Mon, 04 May 2026 10:00:00 -0000", datetime(2026, 5, 4, 10, tzinfo=UTC)),
        (
            parse_rfc822,
            "Mon, 04 May 2026 10:00:00 EST",
            datetime(2026, 5, 4, 10, tzinfo=timezone(-timedelta(hours=5))),
        ),
        (parse_rfc822, "Mon, 04 May 2026 10:00:00", None),
        (parse_rfc822, "Mo, 04 Mai 2026 10:00:00 GMT", None),
        (parse_rfc822, "Mon, 32 May 2026 10:00:00 GMT", None),
        (parse_rfc822, "Mon, 04 May 2026 10:00:00 +9999", None),
        (parse_rfc822, "2026-05-04T10:00:00Z", None),
    ],
)
def test_dates(parse: Callable[[str], datetime | None], text: str, expected: datetime | None) -> None:
    assert parse(text) == expected
