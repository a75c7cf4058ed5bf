"""Threads: what items answer, where they are answered, and how often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lxml import etree

from flask_linkback.errors import ImproperlyConfigured
from flask_linkback.feeds.generators import Atom1Feed, JSONFeed, Rss201rev2Feed
from flask_linkback.models import MentionState, MentionStatus
from tests.apps import Blog
from tests.feeds.reading import AS, Page, Plain, atom, declarations, respond, rss, written
from tests.pingback.tools import add, statements
from tests.showing.mentions import said


class Answering(Plain):
    item_comments_feed = "/tides/comments.atom?a=1&b=2"

    def item_in_reply_to(self, item: Any) -> Any:
        return ["https://ann.example/post?a=1&b=2", {"ref": "tag:bob.example,2026:1", "type": "text/html"}]


REPLIES = [
    (
        '<thr:in-reply-to href="https://ann.example/post?a=1&amp;b=2" '
        'ref="https://ann.example/post?a=1&amp;b=2"/>'
    ),
    '<thr:in-reply-to ref="tag:bob.example,2026:1" type="text/html"/>',
]


def test_rss() -> None:
    assert written(rss(Answering).find("item"), "thr", "wfw") == [
        "<wfw:commentRss>http://blog.example/tides/comments.atom?a=1&amp;b=2</wfw:commentRss>",
        *REPLIES,
    ]


def test_atom() -> None:
    entry = atom(Answering).find("a:entry", AS)
    assert written(entry, "thr") == REPLIES
    (link,) = entry.findall("a:link[@rel='replies']", AS)
    assert dict(link.attrib) == {
        "rel": "replies",
        "href": "http://blog.example/tides/comments.atom?a=1&b=2",
    }


def test_the_feed_of_comments_may_have_a_type() -> None:
    class Typed(Plain):
        item_comments_feed = ("/comments.rss", "application/rss+xml")

    (link,) = atom(Typed).findall("a:entry/a:link[@rel='replies']", AS)
    assert link.attrib["type"] == "application/rss+xml"
    assert link.attrib["href"] == "http://blog.example/comments.rss"


@pytest.mark.parametrize(
    ("given", "attributes"),
    [
        ("/other", 'href="http://blog.example/other" ref="http://blog.example/other"'),
        ({"href": "/other"}, 'href="http://blog.example/other" ref="http://blog.example/other"'),
        (
            {"ref": "urn:uuid:1", "href": "/other", "source": "/feed", "type": None},
            'href="http://blog.example/other" ref="urn:uuid:1" source="http://blog.example/feed"',
        ),
    ],
)
def test_what_is_answered_may_be_said_in_several_ways(given: Any, attributes: str) -> None:
    class Other(Plain):
        item_in_reply_to = given

    assert written(atom(Other).find("a:entry", AS), "thr") == [f"<thr:in-reply-to {attributes}/>"]


@pytest.mark.parametrize(
    ("hook", "given", "why"),
    [
        ("item_in_reply_to", {"url": "/x"}, "item_in_reply_to: there is no 'url'."),
        ("item_in_reply_to", {"type": "text/html"}, "item_in_reply_to: 'ref' or 'href' is missing."),
        ("item_comments_feed", ("/a", "b", "c"), "item_comments_feed: a URL, or a pair"),
    ],
)
def test_what_is_wrong_is_refused_by_name(hook: str, given: Any, why: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        respond(type("Wrong", (Plain,), {hook: given}), Atom1Feed)
    assert str(caught.value).startswith(why)


# --- counts ------------------------------------------------------------------------------------------


@pytest.fixture
def blog(blogs: Callable[..., Blog], database_url: str) -> Blog:
    """A blog with three posts, of which the first is mentioned twice and the second once."""
    blog = blogs(database_url, base_url="https://blog.example")
    for slug in ("hello", "other", "quiet"):
        add(blog, slug)
    said(blog, "ann")
    said(blog, "bob", "like")
    said(blog, "eve", status=MentionStatus.pending)
    said(blog, "guy", state=MentionState.gone)
    said(blog, "bob", target="other")
    return blog


class Counting(Plain):
    show_mention_counts = True

    def items(self) -> Any:
        raise NotImplementedError

    def item_link(self, item: Any) -> Any:
        return item.url() if hasattr(item, "url") else item.get_absolute_url()


def posts_of(blog: Blog) -> type[Counting]:
    class Posts(Counting):
        def items(self) -> Any:
            return blog.db.session.scalars(blog.db.select(blog.Post).order_by(blog.Post.id)).all()

    return Posts


def counts(blog: Blog, feed: type[Counting], format_: Any) -> list[str]:
    document = etree.fromstring(respond(feed, format_, app=blog.app).data)
    path, word = ("channel/item", "slash:comments") if format_ is Rss201rev2Feed else ("a:entry", "thr:total")
    return [entry.findtext(word, namespaces=AS) for entry in document.findall(path, AS)]


@pytest.mark.parametrize("format_", [Rss201rev2Feed, Atom1Feed])
def test_mentions_that_are_shown_are_counted(blog: Blog, format_: Any) -> None:
    assert counts(blog, posts_of(blog), format_) == ["2", "1", "0"]


def test_the_number_is_that_of_mention_count(blog: Blog) -> None:
    with blog.app.app_context():
        posts = blog.db.session.scalars(blog.db.select(blog.Post).order_by(blog.Post.id)).all()
        known = [str(blog.linkback.mention_count(post)) for post in posts]
    assert counts(blog, posts_of(blog), Atom1Feed) == known


def test_one_query_counts_for_all_items(blog: Blog) -> None:
    for number in range(20):
        add(blog, f"more-{number}")
    feed = posts_of(blog)
    with statements(blog) as seen:
        assert counts(blog, feed, Rss201rev2Feed) == ["2", "1", *["0"] * 21]
    of_mentions = [each for each in seen if "linkback_mention" in each]
    assert len(of_mentions) == 1
    assert len(seen) == 2  # and that of items()


def test_a_stream_is_counted_some_items_at_a_time(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_linkback.feeds.counts._AT_ONCE", 2)

    class Streamed(posts_of(blog)):  # type: ignore[misc]
        stream = True

        def items(self) -> Any:
            return iter(super().items())

    with statements(blog) as seen:
        assert counts(blog, Streamed, Atom1Feed) == ["2", "1", "0"]
    assert len([each for each in seen if "linkback_mention" in each]) == 2


def test_what_is_no_object_is_counted_by_its_link(blog: Blog) -> None:
    class Links(Counting):
        def items(self) -> Any:
            slugs = ("post/hello", "post/other?utm=1#top", "about", "post/none", "post/quiet")
            return [Page(slug=slug) for slug in slugs]

    assert counts(blog, Links, Atom1Feed) == ["2", "1", "0", "0", "0"]


def test_a_foreign_link_has_none(blog: Blog) -> None:
    class Foreign(Counting):
        def items(self) -> Any:
            return [Page()]

        def item_link(self, item: Any) -> Any:
            return "https://else.example/post/hello"

    assert counts(blog, Foreign, Rss201rev2Feed) == ["0"]


@pytest.mark.parametrize("format_", [Rss201rev2Feed, Atom1Feed])
def test_vocabularies_are_declared_once(blog: Blog, format_: Any) -> None:
    said = declarations(respond(posts_of(blog), format_, app=blog.app).data)
    assert len(said) == len(set(said))
    assert ("slash" in said, "thr" in said) == (format_ is Rss201rev2Feed, format_ is Atom1Feed)


def test_neither_django_nor_json_has_a_word_for_it(blog: Blog) -> None:
    class Compatible(posts_of(blog)):  # type: ignore[misc]
        django_compatible = True

    with statements(blog) as seen:
        assert b"slash" not in respond(Compatible, Rss201rev2Feed, app=blog.app).data
        assert respond(posts_of(blog), JSONFeed, app=blog.app).status_code == 200
    assert len(seen) == 2  # those of items()


@pytest.mark.parametrize("streamed", [False, True])
def test_without_linkback_the_cause_is_named(streamed: bool) -> None:
    class Lonely(Counting):
        stream = streamed

        def items(self) -> Any:
            return [Page()]

    with pytest.raises(ImproperlyConfigured, match=r"Did you call linkback.init_app\(app\)\?"):
        respond(Lonely, Atom1Feed)
