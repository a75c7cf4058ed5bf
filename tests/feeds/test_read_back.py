"""Read back: what feedparser, atoma and fastfeedparser read of our feeds is what was put into them."""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import atoma
import fastfeedparser
import feedparser
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_linkback import Feed, generators
from flask_linkback.feeds import Author, Enclosure
from tests.thorough import examples

from .peer import serve_ours
from .strategies import SETTINGS as MANY

SETTINGS = settings(MANY, max_examples=examples(80))

# atoma's own, on Python 3.12 and newer
pytestmark = pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning:atoma")

VERSIONS = {"rss": generators.Rss201rev2Feed, "atom": generators.Atom1Feed}


@dataclass(frozen=True, kw_only=True)
class Post:
    """What goes in, and should come out."""

    title: str
    text: str = "<p>Text &amp; more</p>"
    link: str = "http://example.com/1"
    id: str = "http://example.com/1"
    author: str = "Ann"
    email: str | None = None
    published: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    updated: datetime = datetime(2026, 1, 3, tzinfo=UTC)
    enclosure: tuple[str, int, str] | None = None
    categories: Sequence[str] = ()


def feed_of(posts: Sequence[Post], version: str, title: str = "Posts") -> bytes:
    class Posts(Feed):
        feed_type = VERSIONS[version]
        link = "http://example.com/"
        description = "What was posted."
        items = posts

        def item_title(self, item: Post) -> str:
            return item.title

        def item_description(self, item: Post) -> str:
            return item.text

        def item_link(self, item: Post) -> str:
            return item.link

        def item_guid(self, item: Post) -> str:
            return item.id

        def item_author_name(self, item: Post) -> str:
            return item.author

        def item_author_email(self, item: Post) -> str | None:
            return item.email

        def item_pubdate(self, item: Post) -> datetime:
            return item.published

        def item_updateddate(self, item: Post) -> datetime:
            return item.updated

        def item_categories(self, item: Post) -> Sequence[str]:
            return item.categories

        def item_enclosures(self, item: Post) -> list[Enclosure]:
            return [Enclosure(*item.enclosure)] if item.enclosure else []

    Posts.title = title  # type: ignore[attr-defined]
    return serve_ours(Posts, "/posts/").body


# --- values -----------------------------------------------------------------------------------------------

looks_like_markup = re.compile(r"&\S|<\S|\S>").search
no_xml = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def is_doubly_encoded(text: str) -> bool:
    """Does it look like UTF-8 that was taken for Latin-1? feedparser makes it what it thinks was meant."""
    try:
        return text.encode("iso-8859-1").decode("utf-8") != text
    except (UnicodeEncodeError, UnicodeDecodeError):
        return False


def kept(text: str) -> str:
    """A text as XML has it and readers tell it: without what cannot be said, spaces as one."""
    return " ".join(no_xml.sub("", text).split())


odd = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co", "Zl", "Zp"]),
        st.sampled_from("&<>\"'] \x00\x1f\ufffe\ud800"),
    ),
    max_size=30,
)
# what looks like markup in a title is markup to readers of RSS: see test_markup_in_titles
plain = st.one_of(st.just("R & D: 1 < 2 > 0"), odd).filter(
    lambda text: (
        kept(text) and not looks_like_markup(no_xml.sub("", text)) and not is_doubly_encoded(kept(text))
    )
)
paths = st.text("abcé/-_.~%& ü()'", max_size=12).map(lambda text: re.sub("%", "%25", text).strip())
addresses = paths.map(lambda path: f"http://example.com/{path}")
names = st.text("abcdé Øü-'&", min_size=1, max_size=12).filter(
    lambda text: bool(text.strip()) and not looks_like_markup(text)
)
zones = st.integers(-12 * 3600, 14 * 3600).map(lambda seconds: timezone(timedelta(seconds=seconds)))
moments = st.datetimes(datetime(1975, 1, 1), datetime(2035, 1, 1), timezones=zones)  # noqa: DTZ001
posts = st.builds(
    Post,
    title=plain,
    link=addresses,
    id=st.one_of(addresses, st.integers(0, 99).map("item {}".format), st.just("tag:example.com,2026:1")),
    author=names,
    email=st.sampled_from([None, "ann@example.com"]),
    published=moments,
    updated=moments,
    enclosure=st.none()
    | st.tuples(addresses, st.integers(0, 10**10), st.sampled_from(["audio/mpeg", "image/svg+xml"])),
    categories=st.lists(names, max_size=2, unique_by=kept),  # feedparser tells each once
)
feeds = st.lists(posts, min_size=1, max_size=3, unique_by=lambda post: post.id)


def second(moment: datetime) -> int:
    return calendar.timegm(moment.utctimetuple())


def is_same_id(read: str | None, post: Post, version: str) -> bool:
    if version == "atom" and not post.id.startswith(("http:", "tag:")):
        return str(read).startswith("urn:uuid:")
    return str(read) == post.id or (version == "atom" and read == generators.iri_to_uri(post.id))


# --- the readers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@SETTINGS
@given(several=feeds, title=plain)
def test_feedparser_reads_what_was_put_in(version: str, several: list[Post], title: str) -> None:
    read = feedparser.parse(
        feed_of(several, version, title), sanitize_html=False, resolve_relative_uris=False
    )
    assert not read.bozo
    assert read.version == {"rss": "rss20", "atom": "atom10"}[version]
    assert kept(read.feed.title) == kept(title)
    assert read.feed.link == "http://example.com/"
    assert len(read.entries) == len(several)
    for entry, post in zip(read.entries, several, strict=True):
        assert kept(entry.title) == kept(post.title)
        assert entry.link == generators.iri_to_uri(post.link)
        assert is_same_id(entry.id, post, version)
        assert entry.summary == post.text
        assert calendar.timegm(entry.published_parsed) == second(post.published)
        assert kept(post.author) in kept(entry.author)
        assert (post.email or "") in entry.author
        assert [kept(tag.term) for tag in entry.get("tags", ())] == [kept(each) for each in post.categories]
        enclosures = [(each.href, int(each.length), each.type) for each in entry.enclosures]
        expected = [post.enclosure] if post.enclosure else []
        assert enclosures == [(generators.iri_to_uri(url), *rest) for url, *rest in expected]
        if version == "atom":
            assert calendar.timegm(entry.updated_parsed) == second(post.updated)
            assert kept(entry.author_detail.name) == kept(post.author)


@SETTINGS
@given(several=feeds, title=plain)
def test_atoma_reads_atom(several: list[Post], title: str) -> None:
    read = atoma.parse_atom_bytes(feed_of(several, "atom", title))
    assert kept(read.title.value) == kept(title)
    for entry, post in zip(read.entries, several, strict=True):
        assert kept(entry.title.value) == kept(post.title)
        assert entry.title.text_type.value == "text"
        assert is_same_id(entry.id_, post, "atom")
        assert (entry.summary.value, entry.summary.text_type.value) == (post.text, "html")
        assert (second(entry.published), second(entry.updated)) == (
            second(post.published),
            second(post.updated),
        )
        assert [(kept(each.name), each.email) for each in entry.authors] == [(kept(post.author), post.email)]
        links = {link.rel: link for link in entry.links}
        assert links["alternate"].href == generators.iri_to_uri(post.link)
        if post.enclosure:
            url, length, mime_type = post.enclosure
            enclosure = links["enclosure"]
            assert (enclosure.href, enclosure.length) == (generators.iri_to_uri(url), length)
            assert enclosure.type_ == mime_type


@SETTINGS
@given(several=feeds, title=plain)
def test_atoma_reads_rss(several: list[Post], title: str) -> None:
    read = atoma.parse_rss_bytes(feed_of(several, "rss", title))
    assert kept(read.title) == kept(title)
    for item, post in zip(read.items, several, strict=True):
        assert kept(item.title) == kept(post.title)
        assert item.link == generators.iri_to_uri(post.link)
        assert item.guid == post.id
        assert item.description == post.text
        assert second(item.pub_date) == second(post.published)
        # atoma knows no dc:creator, in which those without an address are
        assert kept(item.author or "") == (kept(f"{post.email} ({post.author})") if post.email else "")
        if post.enclosure:
            url, length, mime_type = post.enclosure
            (enclosure,) = item.enclosures
            assert (enclosure.url, enclosure.length) == (generators.iri_to_uri(url), length)
            assert enclosure.type == mime_type


@pytest.mark.parametrize("version", VERSIONS)
@SETTINGS
@given(several=feeds, title=plain)
@example(several=[Post(title="One")], title="Posts")
def test_fastfeedparser_reads_what_was_put_in(version: str, several: list[Post], title: str) -> None:
    read = fastfeedparser.parse(feed_of(several, version, title))
    assert kept(read.feed.title) == kept(title)
    for entry, post in zip(read.entries, several, strict=True):
        assert kept(entry.title) == kept(post.title)
        assert entry.link == generators.iri_to_uri(post.link)
        assert is_same_id(entry.id, post, version)
        assert second(datetime.fromisoformat(entry.published)) == second(post.published)
        assert kept(post.author) in kept(entry.author)


# --- what readers differ about ----------------------------------------------------------------------------


@pytest.mark.parametrize("title", ["AT&amp;T", "<em>Emphasis</em>", "a &lt; b"])
def test_a_title_that_looks_like_markup_is_text_in_atom(title: str) -> None:
    body = feed_of([Post(title=title)], "atom")
    assert feedparser.parse(body, sanitize_html=False).entries[0].title == title
    assert atoma.parse_atom_bytes(body).entries[0].title.value == title


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_feed_is_read_without_complaint(version: str) -> None:
    read = feedparser.parse(feed_of([], version))
    assert not read.bozo
    assert read.entries == []


@pytest.mark.parametrize("version", VERSIONS)
def test_several_authors_are_read(version: str) -> None:
    feed = VERSIONS[version]("Posts", "http://example.com/", "")
    feed.add_item("One", "http://example.com/1", "", authors=[Author(name="Ann"), Author(name="Bo")])
    (entry,) = feedparser.parse(b"".join(feed.chunks())).entries
    assert [author.name for author in entry.authors] == ["Ann", "Bo"]
