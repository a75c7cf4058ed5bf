"""Entries: what feeds of strangers say, as text, and which of it is new."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from flask_linkback.protocols import entries
from flask_linkback.protocols.entries import Entry, NotAFeed, ParsedFeed, only_new, parse
from tests.thorough import examples

URL = "https://a.example/feed"
ATOM = (
    '<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom">'
    '<title>My &amp; blog</title><link href="https://a.example/"/>'
    '<entry><id>urn:x:1</id><title type="html">&lt;b>One&lt;/b> &amp;amp; two</title>'
    '<link href="/one"/><author><name>Ann</name><email>ann@a.example</email></author>'
    "<published>2026-05-04T10:00:00Z</published><updated>2026-05-05T10:00:00+02:00</updated>"
    '<summary>5 &lt; 6</summary><content type="html">&lt;p>Hello&lt;/p>&lt;script>x()&lt;/script>&lt;p>world'
    "&lt;/p></content></entry></feed>"
)
RSS = (
    '<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>'
    "<title>My &amp;amp; blog</title><link>https://a.example/</link>"
    "<item><guid>urn:x:1</guid><title>&lt;b>One&lt;/b> &amp;amp; two</title>"
    "<link>https://a.example/one</link><author>ann@a.example (Ann)</author>"
    "<pubDate>Mon, 04 May 2026 10:00:00 GMT</pubDate><description>5 &amp;lt; 6</description>"
    "<content:encoded><![CDATA[<p>Hello</p><script>x()</script><p>world</p>]]></content:encoded>"
    "</item></channel></rss>"
)
JSON = (
    '{"version": "https://jsonfeed.org/version/1.1", "title": "My & blog", "home_page_url": "/", "items": '
    '[{"id": "urn:x:1", "url": "/one", "title": "One & two", "authors": [{"name": "Ann"}], '
    '"summary": "5 < 6", "content_html": "<p>Hello</p><script>x()</script><p>world</p>", '
    '"date_published": "2026-05-04T10:00:00Z"}]}'
)


@pytest.mark.parametrize("feed", [ATOM, RSS, JSON])
def test_the_formats_say_the_same(feed: str) -> None:
    read = parse(feed.encode(), url=URL)
    assert (read.title, read.url) == ("My & blog", "https://a.example/")
    (one,) = read.entries
    assert (one.id, one.url, one.title, one.author) == (
        "urn:x:1",
        "https://a.example/one",
        "One & two",
        "Ann",
    )
    assert (one.summary, one.content) == ("5 < 6", "Hello\nworld")
    assert one.published_at == datetime(2026, 5, 4, 10, tzinfo=UTC)
    assert not one.deleted


def test_times_are_aware() -> None:
    (one,) = parse(ATOM.encode(), url=URL).entries
    assert one.updated_at == datetime(2026, 5, 5, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "feed",
    [
        '<rss version="0.91"><channel><title>T</title><item><title>One</title></item></channel></rss>',
        (
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">'
            "<channel><title>T</title></channel><item><title>One</title></item></rdf:RDF>"
        ),
        (
            '<feed xmlns="http://purl.org/atom/ns#" version="0.3"><title>T</title>'
            "<entry><title>One</title></entry></feed>"
        ),
        "\n\n<rss><channel><title>T</title><item><title>One</title></item></channel></rss>",
    ],
)
def test_older_formats(feed: str) -> None:
    read = parse(feed.encode(), url=URL)
    assert (read.title, [one.title for one in read.entries]) == ("T", ["One"])
    (one,) = read.entries
    assert one.id == one.digest  # it has nothing else


def test_encodings() -> None:
    feed = "<rss><channel><title>Grüße</title></channel></rss>"
    for body, content_type in (
        (feed.encode("utf-8-sig"), ""),
        (feed.encode("utf-16"), ""),
        (feed.encode("latin-1"), 'text/xml; charset="iso-8859-1"'),
        (b'<?xml version="1.0" encoding="iso-8859-1"?>' + feed.encode("latin-1"), "text/xml"),
        # a name of Python's is none of the web's
        (feed.encode(), "text/xml; charset=unicode_escape"),
    ):
        assert parse(body, content_type=content_type).title == "Grüße"


def test_what_many_feeds_get_wrong_is_mended() -> None:
    feed = b"<rss><channel><title>a&nbsp;&ndash; b & c \x01&#2;&lt; d&#x42;&bogus;</title></channel></rss>"
    assert parse(feed).title == "a \N{EN DASH} b & c < dB&bogus;"


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "data:text/html,x", "https://u:p@a.example/", "", " ", "http://["]
)
def test_links_lead_into_the_web(link: str) -> None:
    feed = f"<rss><channel><link>{link}</link><item><guid>1</guid><link>{link}</link></item></channel></rss>"
    read = parse(feed.encode(), url=URL)
    assert (read.url, read.entries[0].url) == ("", "")


def test_text_is_without_markup_and_tricks() -> None:
    feed = (
        "<rss><channel><item><title>&lt;img src=x onerror=y alt='A'>\u202eB\x85</title>"
        "<description>&lt;style>x&lt;/style>&lt;p>One&lt;br>two &amp;amp;lt;three</description>"
        "</item></channel></rss>"
    )
    (one,) = parse(feed.encode()).entries
    assert (one.title, one.summary) == ("AB", "One\ntwo &lt;three")


def test_authors() -> None:
    def author(markup: str) -> str:
        feed = (
            f"<rss xmlns:dc='http://purl.org/dc/elements/1.1/'><channel><item>{markup}</item></channel></rss>"
        )
        return parse(feed.encode()).entries[0].author

    assert author("<dc:creator>Ann</dc:creator>") == "Ann"
    assert author("<author>ann@a.photography (Ann &amp; Bob)</author>") == "Ann & Bob"
    assert author("<author>Ann</author>") == "Ann"
    assert author("") == ""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not well formed"),
        (b"<html><body>Hello</body></html>", "no feed"),
        (b"<!DOCTYPE rss><rss/>", "DOCTYPE"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><rss><channel><title>&a;</title></channel></rss>', "DOCTYPE"),
        (ATOM[:300].encode(), "not well formed"),
        (b"<rss>" * 101 + b"</rss>" * 101, "too deeply"),
        (b"<rss><channel>" + b"<a/>" * 50_000 + b"</channel></rss>", "too many"),
        (b"<rss " + b" ".join(b"a%d=''" % number for number in range(200)) + b"/>", "too many"),
        (b"<rss>" + b" " * (2 << 20) + b"</rss>", "too large"),
        (b'{"a": 1}', "no JSON Feed"),
        (b'{"items": ' + b"[" * 200_000, "no JSON Feed"),
    ],
)
def test_what_is_no_feed_is_said_to_be_none(body: bytes, text: str) -> None:
    with pytest.raises(NotAFeed, match=text):
        parse(body)


def test_a_hidden_doctype_is_found() -> None:
    hidden = "<!DOCTYPE rss [<!ENTITY a 'b'>]><rss><channel><title>&a;</title></channel></rss>"
    for body, content_type in (
        (hidden.encode("utf-16"), ""),
        (hidden.encode("utf-7"), "text/xml; charset=utf-7"),
        (hidden.encode("cp037"), "text/xml; charset=cp037"),
    ):
        with pytest.raises(NotAFeed):
            parse(body, content_type=content_type)


def test_entries_beyond_the_most_are_passed_over() -> None:
    many = "".join(f"<item><guid>{number}</guid></item>" for number in range(entries.MAX_ENTRIES + 5))
    read = parse(f"<rss><channel>{many}</channel></rss>".encode())
    assert [one.id for one in read.entries] == [str(number) for number in range(entries.MAX_ENTRIES)]


def test_deleted_entries_are_told() -> None:
    """RFC 6721; YouTube says so."""
    feed = ATOM.replace(
        "<title>My",
        '<at:deleted-entry xmlns:at="http://purl.org/atompub/tombstones/1.0" ref="yt:video:1"'
        ' when="2026-05-06T10:00:00+00:00"><link href="https://a.example/x"/></at:deleted-entry><title>My',
    )
    one, gone = parse(feed.encode(), url=URL).entries
    assert not one.deleted
    assert (gone.id, gone.url, gone.deleted) == ("yt:video:1", "", True)
    assert gone.updated_at == datetime(2026, 5, 6, 10, tzinfo=UTC)


# --- digests ----------------------------------------------------------------------------------------------


def digest(feed: str) -> str:
    (one,) = parse(feed.encode(), url=URL).entries
    return one.digest


def test_the_digest_is_of_what_an_entry_says() -> None:
    known = digest(ATOM)
    assert digest(ATOM) == known
    assert digest(ATOM.replace("My &amp; blog", "Another title")) == known
    assert digest(ATOM.replace("2026-05-05", "2026-05-07")) == known
    for old, new in (
        ("urn:x:1", "urn:x:2"),
        ("/one", "/two"),
        ("One", "Two"),
        ("world", "all"),
        ("5 &lt;", "7 &lt;"),
        (">Ann<", ">Bob<"),
    ):
        assert digest(ATOM.replace(old, new)) != known


def test_an_edit_beyond_what_is_kept_is_another_digest() -> None:
    long = ATOM.replace("world", "x " * entries.MAX_CONTENT_CHARACTERS)
    assert len(parse(long.encode(), url=URL).entries[0].content) <= entries.MAX_CONTENT_CHARACTERS
    assert digest(long) != digest(long.replace("x &lt;/p>", "y &lt;/p>"))


# --- what is new ------------------------------------------------------------------------------------------


def feed_of(*items: str, kind: str = "atom", title: str = "T") -> bytes:
    if kind == "atom":
        body = "\n  ".join(f"<entry><id>{item[:1]}</id>{item}</entry>" for item in items)
        return (
            f"<?xml version='1.0'?>\n<feed   xmlns='http://www.w3.org/2005/Atom'><!-- é -->"
            f"<title>{title}</title>\n  {body}<?x y?></feed>\n"
        ).encode()
    body = "\n  ".join(f"<item><guid>{item[:1]}</guid>{item}</item>" for item in items)
    return f"<rss version='2.0'><channel><title>{title}</title>\n  {body}</channel></rss>\n".encode()


def cut(feed: bytes, *items: str, kind: str) -> bytes:
    tag = "entry><id" if kind == "atom" else "item><guid"
    first, second = tag.split("><")
    for item in items:
        feed = feed.replace(f"<{first}><{second}>{item[:1]}</{second}>{item}</{first}>".encode(), b"", 1)
    return feed


@pytest.mark.parametrize("kind", ["atom", "rss"])
def test_unchanged_entries_are_left_out_and_nothing_else(kind: str) -> None:
    old = feed_of("a", "b é", "c", kind=kind)
    new = feed_of("d", "b é", "a changed", "c", kind=kind, title="Another")
    made = only_new(old, new)
    assert made == cut(new, "b é", "c", kind=kind)
    etree.fromstring(made)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_encodings_are_left_alone(encoding: str) -> None:
    def encoded(feed: bytes) -> bytes:
        return (
            feed.decode().replace("'1.0'?", f"'1.0' encoding='{encoding[:7].rstrip('-s')}'?").encode(encoding)
        )

    old, new = feed_of("a é"), feed_of("b ü", "a é")
    assert only_new(encoded(old), encoded(new)) == encoded(cut(new, "a é", kind="atom"))


def test_an_entry_may_be_empty_and_may_be_the_last_thing() -> None:
    assert only_new(b"<rss><channel><item/></channel></rss>", b"<rss><channel><item/></channel></rss>") == (
        b"<rss><channel></channel></rss>"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (feed_of("a"), feed_of("b")),
        (feed_of(), feed_of("a")),
        (feed_of("a", kind="rss"), feed_of("a")),
        (feed_of("a"), feed_of("a").replace(b"<feed ", b"<feed xml:base='/x/' ")),
        (feed_of("a", kind="rss"), feed_of("a", kind="rss").replace(b"<channel", b"<channel xml:lang='de'")),
        (feed_of("a"), feed_of("a")[:-10]),
        (feed_of("a")[:-10], feed_of("a")),
        (b"<!DOCTYPE rss><rss><channel><item/></channel></rss>",) * 2,
        (b"<html><item/></html>",) * 2,
        (JSON.encode(), JSON.encode()),
        (b"", b""),
    ],
)
def test_where_nothing_can_be_left_out_there_is_nothing(old: bytes, new: bytes) -> None:
    assert only_new(old, new) is None


WORDS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="<>&"), min_size=1, max_size=5
)


@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6), st.sampled_from(("atom", "rss")))
def test_what_is_left_is_what_is_new(old: list[str], new: list[str], kind: str) -> None:
    made = only_new(feed_of(*old, kind=kind), feed_of(*new, kind=kind))
    left = [item for item in new if item not in old]
    assert (made is None) == (len(left) == len(new))
    if made is not None:
        name = "entry" if kind == "atom" else "item"
        found = etree.fromstring(made).findall(f".//{{*}}{name}")
        assert ["".join(each.itertext())[1:] for each in found] == left


# --- whatever comes ---------------------------------------------------------------------------------------


@settings(max_examples=examples(300), deadline=None)
@given(
    st.binary() | st.text().map(str.encode) | st.text().map(lambda text: ATOM.replace("One", text).encode())
)
@example(b"<rss><channel><item><pubDate>Mon, 04 May 99999 10:00:00 GMT</pubDate></item></channel></rss>")
@example(
    b"<feed xmlns='http://www.w3.org/2005/Atom'><entry><content type='a/b'>!!!!</content></entry></feed>"
)
@example(b'{"items": [{"id": 1e999, "url": 7, "authors": [3], "date_published": "2026-02-31T10:00:00Z"}]}')
def test_nothing_but_the_documented_error_is_raised(body: bytes) -> None:
    try:
        read = parse(body, content_type="text/xml", url=URL)
    except NotAFeed:
        return
    assert isinstance(read, ParsedFeed)
    assert all(isinstance(one, Entry) and one.id and len(one.digest) == 32 for one in read.entries)
