"""Syndication: the acceptance cases of Django's feeds by name, and what is otherwise by default.

S1 to S36 ask for what Django gives, with ``django_compatible``; a second look tells what we give without it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from flask import Flask, Response, url_for
from jinja2 import DictLoader
from lxml import etree
from werkzeug.exceptions import NotFound
from werkzeug.local import LocalProxy
from werkzeug.test import TestResponse

from flask_linkback import Feed, FeedDoesNotExist, generators
from flask_linkback.errors import ImproperlyConfigured, UnserializableContentError
from flask_linkback.feeds import Enclosure, Stylesheet
from tests.apps import Blog

A = "{http://www.w3.org/2005/Atom}"
TZ = timezone(timedelta(minutes=42))


@dataclass(frozen=True)
class Entry:
    id: int
    title: str
    published: datetime
    updated: datetime

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return f"/blog/{self.id}/"


ENTRIES = [
    Entry(
        1,
        "My first entry",
        datetime(1980, 1, 1, 12, 30, tzinfo=UTC),
        datetime(1980, 1, 1, 12, 30, tzinfo=UTC),
    ),
    Entry(
        2,
        "My second entry",
        datetime(2008, 1, 2, 12, 30, tzinfo=UTC),
        datetime(2008, 1, 2, 12, 30, tzinfo=UTC),
    ),
    Entry(
        3,
        "My third entry",
        datetime(2008, 1, 2, 13, 30, tzinfo=UTC),
        datetime(2008, 1, 2, 14, 30, tzinfo=UTC),
    ),
    Entry(
        4, "A & B < C > D", datetime(2008, 1, 3, 13, 30, tzinfo=UTC), datetime(2008, 1, 3, 14, 30, tzinfo=UTC)
    ),
]


class Rss(Feed):
    django_compatible = True
    title = "My blog"
    description = "A more thorough description of my blog."
    link = "/blog/"
    feed_guid = "/foo/bar/1234"
    author_name = "Sally Smith"
    author_email = "test@example.com"
    author_link = "http://www.example.com/"
    categories = ("python", "flask")
    feed_copyright = "Copyright (c) 2007, Sally Smith"
    ttl: Any = 600

    def items(self) -> list[Entry]:
        return ENTRIES

    def item_description(self, item: Entry) -> str:
        return f"Overridden description: {item}"

    def item_pubdate(self, item: Entry) -> datetime:
        return item.published

    def item_updateddate(self, item: Entry) -> datetime:
        return item.updated

    def item_comments(self, item: Entry) -> str:
        return f"{item.get_absolute_url()}comments"

    item_author_name = "Sally Smith"
    item_author_email = "test@example.com"
    item_author_link = "http://www.example.com/"
    item_categories = ("python", "testing")
    item_copyright = "Copyright (c) 2007, Sally Smith"


class Rss091(Rss):
    feed_type = generators.RssUserland091Feed


class Atom(Rss):
    feed_type = generators.Atom1Feed
    subtitle = Rss.description


def by_default(feed: type[Feed], **more: Any) -> type[Feed]:
    """The same class without ``django_compatible``."""
    return type(f"{feed.__name__}ByDefault", (feed,), {"django_compatible": False, **more})


def ask(
    feed: type[Feed], *, rule: str = "/feed/", path: str = "/feed/", secure: bool = False, **headers: str
) -> TestResponse:
    app = Flask(__name__)
    app.testing = True
    app.jinja_loader = DictLoader(
        {"title.html": "{{ obj }} by {{ foo }}", "body.html": "<p>{{ obj.id }}</p>"}
    )
    app.add_url_rule("/static.xsl", "stylesheet", lambda: "")
    app.add_url_rule(rule, view_func=feed.as_view("feed"))
    return app.test_client().get(path, base_url=f"http{'s' * secure}://example.com/", headers=headers)


def document(feed: type[Feed], **options: Any) -> etree._Element:
    response = ask(feed, **options)
    assert response.status_code == 200
    return etree.fromstring(response.data)


def channel_of(feed: type[Feed], **options: Any) -> etree._Element:
    (channel,) = document(feed, **options)
    return channel


def tags(element: etree._Element) -> list[str]:
    """The names of an element's children, in their order."""
    return [str(child.tag).replace(A, "atom:" if element.tag == "channel" else "") for child in element]


def texts(element: etree._Element, *names: str) -> list[str | None]:
    return [element.findtext(name) for name in names]


def varied(base: type[Feed], **body: Any) -> type[Feed]:
    return type(f"Varied{base.__name__}", (base,), body)


# --- RSS --------------------------------------------------------------------------------------------------

CHANNEL = ["title", "link", "description", "atom:link", "language", "category", "category", "copyright"]
CHANNEL += ["lastBuildDate", "ttl", "item", "item", "item", "item"]


def test_s1_rss2() -> None:
    root = document(Rss)
    assert (root.tag, root.get("version"), len(root)) == ("rss", "2.0", 1)
    channel = root[0]
    assert tags(channel) == CHANNEL
    assert texts(channel, "title", "link", "description", "language", "ttl") == [
        "My blog",
        "http://example.com/blog/",
        "A more thorough description of my blog.",
        "en-us",
        "600",
    ]
    assert channel.findtext("copyright") == "Copyright (c) 2007, Sally Smith"
    assert channel.findtext("lastBuildDate") == "Thu, 03 Jan 2008 14:30:00 +0000"
    assert [each.text for each in channel.findall("category")] == ["python", "flask"]
    assert channel.find(f"{A}link").attrib == {"rel": "self", "href": "http://example.com/feed/"}
    item = channel.find("item")
    assert tags(item) == [
        *("title", "link", "description", "author", "pubDate", "comments", "guid", "category", "category"),
    ]
    assert texts(item, "title", "link", "description", "guid", "pubDate", "author", "comments") == [
        "My first entry",
        "http://example.com/blog/1/",
        "Overridden description: My first entry",
        "http://example.com/blog/1/",
        "Tue, 01 Jan 1980 12:30:00 +0000",
        "test@example.com (Sally Smith)",
        "/blog/1/comments",
    ]
    assert [each.text for each in item.findall("category")] == ["python", "testing"]
    assert item.find("guid").get("isPermaLink") is None

    other = channel_of(by_default(Rss))
    assert tags(other) == CHANNEL
    assert other.find("item").findtext("comments") == "http://example.com/blog/1/comments"


def test_s2_a_callable_object_is_a_hook() -> None:
    class TimeToLive:
        def __call__(self) -> int:
            return 700

    for feed in (varied(Rss, ttl=TimeToLive()), by_default(varied(Rss, ttl=TimeToLive()))):
        assert channel_of(feed).findtext("ttl") == "700"


def with_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> str:
        return f"decorated {function(*args)}"

    return wrapper


def test_s3_decorated_hooks_are_seen_through() -> None:
    class Copyright:
        @with_wraps
        def __call__(self) -> str:
            return "copyright"

    class Decorated(Rss):
        @with_wraps
        def title(self) -> str:  # type: ignore[override]
            return "title"

        @with_wraps
        def description(self, obj: Any) -> str:  # type: ignore[override]
            return "description"

        @staticmethod
        @with_wraps
        def ttl() -> str:
            return "ttl"

        @staticmethod
        def categories() -> list[str]:  # type: ignore[override]
            return ["static"]

        feed_copyright = Copyright()  # type: ignore[assignment]

        @with_wraps
        def item_title(self, item: Entry) -> str:
            return item.title

    for feed in (Decorated, by_default(Decorated)):
        channel = channel_of(feed)
        assert texts(channel, "title", "description", "ttl", "category", "copyright") == [
            "decorated title",
            "decorated description",
            "decorated ttl",
            "static",
            "decorated copyright",
        ]
        assert channel.find("item").findtext("title") == "decorated My first entry"


def test_s4_a_decorator_without_wraps_is_told() -> None:
    def without_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    class Decorated(Rss):
        @without_wraps
        def item_description(self, item: Entry) -> str:
            return "description"

    message = r"^Feed method 'item_description' decorated by 'wrapper' needs to use @functools\.wraps\.$"
    for feed in (Decorated, by_default(Decorated)):
        with pytest.raises(ImproperlyConfigured, match=message):
            ask(feed)


@pytest.mark.parametrize(("case", "is_permalink"), [("s5", False), ("s6", True)])
def test_s5_s6_guid_is_permalink(case: str, is_permalink: bool) -> None:
    feed = varied(Rss, item_guid_is_permalink=is_permalink)
    for each in (feed, by_default(feed)):
        guids = channel_of(each).findall("item/guid")
        assert [guid.get("isPermaLink") for guid in guids] == [str(is_permalink).lower()] * 4
    # what is no URL cannot be followed, whatever is said of it
    unfollowed = varied(feed, item_guid=lambda self, item: str(item.id))
    assert channel_of(unfollowed).find("item/guid").get("isPermaLink") == str(is_permalink).lower()
    assert channel_of(by_default(unfollowed)).find("item/guid").get("isPermaLink") == "false"


ENCLOSURE = {
    "item_enclosure_url": "http://example.com/hello.png",
    "item_enclosure_length": 0,
    "item_enclosure_mime_type": "image/png",
}
TWO = [Enclosure("http://example.com/1.png", "1", "image/png"), Enclosure("/2.png", "2", "image/png")]


def test_s7_rss_single_enclosure() -> None:
    for feed in (varied(Rss, **ENCLOSURE), by_default(varied(Rss, **ENCLOSURE))):
        for item in channel_of(feed).findall("item"):
            (enclosure,) = item.findall("enclosure")
            assert enclosure.attrib == {
                "url": "http://example.com/hello.png",
                "length": "0",
                "type": "image/png",
            }
    unknown = varied(Rss, item_enclosure_url="/hello.png")
    assert channel_of(unknown).find("item/enclosure").attrib == {
        "url": "/hello.png",
        "length": "None",
        "type": "None",
    }
    assert channel_of(by_default(unknown)).find("item/enclosure").attrib == {
        "url": "http://example.com/hello.png",
        "length": "0",
        "type": "image/png",
    }


def test_s8_rss_multiple_enclosures() -> None:
    feed = varied(Rss, item_enclosures=lambda self, item: TWO)
    message = (
        "^RSS feed items may only have one enclosure, see "
        "http://www.rssboard.org/rss-profile#element-channel-item-enclosure$"
    )
    for each in (feed, by_default(feed)):
        with pytest.raises(ValueError, match=message):
            ask(each)


def test_s9_rss091() -> None:
    root = document(varied(Rss091, **ENCLOSURE))
    assert (root.tag, root.get("version")) == ("rss", "0.91")
    assert tags(root[0]) == CHANNEL
    for item in root[0].findall("item"):
        assert tags(item) == ["title", "link", "description"]


# --- Atom -------------------------------------------------------------------------------------------------


def test_s10_atom() -> None:
    feed = document(Atom)
    assert feed.tag == f"{A}feed"
    assert tags(feed) == [
        *("title", "link", "link", "id", "updated", "author", "subtitle", "category", "category", "rights"),
        *("entry", "entry", "entry", "entry"),
    ]
    assert [link.attrib for link in feed.findall(f"{A}link")] == [
        {"rel": "alternate", "href": "http://example.com/blog/"},
        {"rel": "self", "href": "http://example.com/feed/"},
    ]
    assert texts(feed, f"{A}id", f"{A}subtitle", f"{A}rights", f"{A}updated") == [
        "/foo/bar/1234",
        "A more thorough description of my blog.",
        "Copyright (c) 2007, Sally Smith",
        "2008-01-03T14:30:00+00:00",
    ]
    assert tags(feed.find(f"{A}author")) == ["name", "email", "uri"]
    entry = feed.find(f"{A}entry")
    assert tags(entry) == [
        *(
            "title",
            "link",
            "published",
            "updated",
            "author",
            "id",
            "summary",
            "category",
            "category",
            "rights",
        )
    ]
    assert entry.find(f"{A}summary").get("type") == "html"
    assert feed.get("{http://www.w3.org/XML/1998/namespace}lang") == "en-us"

    other = document(by_default(Atom))
    assert tags(other) == tags(feed)
    assert tags(other.find(f"{A}entry")) == tags(entry)
    # an id is a URI, and stays what it is
    assert other.findtext(f"{A}id") == "urn:uuid:f84c23a7-8033-533f-8cbf-1fe959bc21a3"


def test_s11_atom_published_and_updated() -> None:
    for feed in (Atom, by_default(Atom)):
        entry = document(feed).findall(f"{A}entry")[2]
        assert texts(entry, f"{A}published", f"{A}updated") == [
            "2008-01-02T13:30:00+00:00",
            "2008-01-02T14:30:00+00:00",
        ]
    published_only = varied(Atom, item_updateddate=None)
    assert document(published_only).find(f"{A}entry/{A}updated") is None
    assert (
        document(by_default(published_only)).findtext(f"{A}entry/{A}updated") == "1980-01-01T12:30:00+00:00"
    )


def test_s12_atom_single_enclosure() -> None:
    for feed in (varied(Atom, **ENCLOSURE), by_default(varied(Atom, **ENCLOSURE))):
        (link,) = [each for each in document(feed).find(f"{A}entry") if each.get("rel") == "enclosure"]
        assert link.attrib == {
            "rel": "enclosure",
            "href": "http://example.com/hello.png",
            "length": "0",
            "type": "image/png",
        }
    unknown = varied(Atom, item_enclosure_url="/hello.png")
    link = document(by_default(unknown)).find(f"{A}entry/{A}link[@rel='enclosure']")
    assert link.attrib == {"rel": "enclosure", "href": "http://example.com/hello.png"}


def test_s13_atom_multiple_enclosures() -> None:
    feed = varied(Atom, item_enclosures=lambda self, item: TWO)
    for each, second in ((feed, "/2.png"), (by_default(feed), "http://example.com/2.png")):
        links = document(each).find(f"{A}entry").findall(f"{A}link[@rel='enclosure']")
        assert [link.get("href") for link in links] == ["http://example.com/1.png", second]
        assert [link.get("length") for link in links] == ["1", "2"]
    assert [each.url for each in TWO] == ["http://example.com/1.png", "/2.png"]  # nobody's object was changed


def test_s14_latest_post_date() -> None:
    for feed in (Atom, by_default(Atom)):
        published = varied(feed, item_updateddate=lambda self, item: None)
        assert document(published).findtext(f"{A}updated") == "2008-01-03T13:30:00+00:00"
        assert document(feed).findtext(f"{A}updated") == "2008-01-03T14:30:00+00:00"


class Custom(generators.Atom1Feed):
    def root_attributes(self) -> dict[str, Any]:
        return {**super().root_attributes(), "flask": "rocks"}

    def add_root_elements(self, handler: Any) -> None:
        super().add_root_elements(handler)
        handler.addQuickElement("spam", "eggs")

    def item_attributes(self, item: Any) -> dict[str, Any]:
        return {**super().item_attributes(item), "bacon": "yum"}

    def add_item_elements(self, handler: Any, item: Any) -> None:
        super().add_item_elements(handler, item)
        handler.addQuickElement("ministry", "silly walks")


def test_s15_custom_generator() -> None:
    for each in (varied(Atom, feed_type=Custom), by_default(varied(Atom, feed_type=Custom))):
        feed = document(each)
        assert feed.get("flask") == "rocks"
        assert feed.findtext(f"{A}spam") == "eggs"
        for entry in feed.findall(f"{A}entry"):
            assert entry.get("bacon") == "yum"
            assert entry.findtext(f"{A}ministry") == "silly walks"
            assert tags(entry)[-1] == "ministry"


def test_s16_language() -> None:
    for each in (varied(Rss, language="de"), by_default(varied(Rss, language="de"))):
        assert channel_of(each).findtext("language") == "de"


def test_s17_titles_are_escaped() -> None:
    for feed in (Rss, by_default(Rss)):
        title = channel_of(feed).findall("item")[3].findtext("title")
        assert title == "A &amp; B &lt; C &gt; D"


def test_s18_control_characters() -> None:
    feed = varied(Atom, categories=["a\x08b"])
    for each in (feed, by_default(feed, strict=True)):
        with pytest.raises(
            UnserializableContentError, match=r"^Control characters are not supported in XML 1\.0$"
        ):
            ask(each)
    assert document(by_default(feed)).find(f"{A}category").get("term") == "ab"


# --- dates, elements, stylesheets -------------------------------------------------------------------------


def test_s19_naive_dates_are_in_the_default_time_zone(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    class Naive(Atom):
        def items(self) -> list[Entry]:
            return [
                Entry(1, "summer", datetime(2008, 7, 1, 12), datetime(2008, 7, 1, 12)),  # noqa: DTZ001
                Entry(2, "winter", datetime(2008, 1, 1, 12), datetime(2008, 1, 1, 12)),  # noqa: DTZ001
            ]

    blog = blogs(sqlite_url, TIMEZONE="America/Chicago")
    for number, feed in enumerate((Naive, by_default(Naive))):
        blog.app.add_url_rule(f"/{number}", view_func=feed.as_view(f"feed{number}"))
    for number in range(2):
        response = blog.app.test_client().get(f"/{number}")
        entries = etree.fromstring(response.data).findall(f"{A}entry")
        assert [entry.findtext(f"{A}updated") for entry in entries] == [
            "2008-07-01T12:00:00-05:00",
            "2008-01-01T12:00:00-06:00",
        ]
        # s27
        assert response.headers["Last-Modified"] == "Tue, 01 Jul 2008 17:00:00 GMT"


class Aware(Atom):
    def items(self) -> list[Entry]:
        return [Entry(1, "aware", datetime(2008, 3, 26, 1, tzinfo=TZ), datetime(2008, 3, 26, 1, tzinfo=TZ))]


def test_s20_aware_dates_keep_their_time_zone() -> None:
    for feed in (Aware, by_default(Aware)):
        entry = document(feed).find(f"{A}entry")
        assert texts(entry, f"{A}published", f"{A}updated") == ["2008-03-26T01:00:00+00:42"] * 2


def test_s21_empty_elements_close_themselves() -> None:
    for feed in (Rss, by_default(Rss)):
        assert b'<atom:link href="http://example.com/feed/" rel="self"/>' in ask(feed).data
    for feed in (Atom, by_default(Atom)):
        assert b'<link href="http://example.com/feed/" rel="self"/>' in ask(feed).data
        assert b'<category term="python"/>' in ask(feed).data


def test_s22_no_stylesheets() -> None:
    for feed in (varied(Rss, stylesheets=None), by_default(varied(Rss, stylesheets=None))):
        assert b"xml-stylesheet" not in ask(feed).data


XSL = 'href="/test.xsl" media="screen" type="text/xsl"'
SPELLINGS: list[tuple[Any, str]] = [
    ("/test.xsl", XSL),
    ("/test.xslt", 'href="/test.xslt" media="screen" type="text/xsl"'),
    ("/test.css", 'href="/test.css" media="screen" type="text/css"'),
    ("/test", 'href="/test" media="screen"'),
    ("https://example.com/test.xsl", 'href="https://example.com/test.xsl" media="screen" type="text/xsl"'),
    ("https://example.com/test.css", 'href="https://example.com/test.css" media="screen" type="text/css"'),
    ("https://example.com/test", 'href="https://example.com/test" media="screen"'),
    ("/♥/test.xsl", 'href="/%E2%99%A5/test.xsl" media="screen" type="text/xsl"'),
    (
        LocalProxy(lambda: url_for("static", filename="a.xsl")),
        'href="/static/a.xsl" media="screen" type="text/xsl"',
    ),
    (LocalProxy(lambda: url_for("stylesheet")), 'href="/static.xsl" media="screen" type="text/xsl"'),
    (Stylesheet("/test.xsl"), XSL),
    (Stylesheet("/test.xsl", mimetype="text/xsl"), XSL),
    (Stylesheet("/test.xsl", mimetype="text/css"), 'href="/test.xsl" media="screen" type="text/css"'),
    (Stylesheet("/test.xsl", mimetype=None), 'href="/test.xsl" media="screen"'),
    (Stylesheet("/test.xsl", media="print"), 'href="/test.xsl" media="print" type="text/xsl"'),
    (Stylesheet("/test.xsl", media=None), 'href="/test.xsl" type="text/xsl"'),
    (Stylesheet("/test.xsl", mimetype=None, media=None), 'href="/test.xsl"'),
    (Stylesheet("/♥.xsl", media="a & b"), 'href="/%E2%99%A5.xsl" media="a &amp; b" type="text/xsl"'),
    (
        Stylesheet(LocalProxy(lambda: url_for("stylesheet")), mimetype="text/xsl; a=1"),
        'href="/static.xsl" media="screen" type="text/xsl; a=1"',
    ),
]


@pytest.mark.parametrize("number", range(len(SPELLINGS)))
def test_s23_spellings_of_a_stylesheet(number: int) -> None:
    stylesheet, expected = SPELLINGS[number]
    for feed in (varied(Rss, stylesheets=[stylesheet]), by_default(varied(Rss, stylesheets=[stylesheet]))):
        assert f"<?xml-stylesheet {expected}?>".encode() in ask(feed).data


def instructions(feed: type[Feed]) -> list[str]:
    before = document(feed).itersiblings(preceding=True)
    return [str(each.text) for each in reversed(list(before))]


def test_s24_stylesheets_come_first_in_order() -> None:
    feed = varied(Rss, stylesheets=["/first.xsl", Stylesheet("/second.css", media=None)])
    expected = ['href="/first.xsl" media="screen" type="text/xsl"', 'href="/second.css" type="text/css"']
    assert instructions(feed) == expected
    assert instructions(by_default(feed)) == expected
    # Django leaves them out of Atom, whatever its documentation says
    atom = varied(Atom, stylesheets=["/first.xsl", Stylesheet("/second.css", media=None)])
    assert instructions(atom) == []
    assert instructions(by_default(atom)) == expected


@pytest.mark.parametrize("alone", ["/stylesheet.xsl", Stylesheet("/stylesheet.xsl")])
def test_s25_a_stylesheet_alone_is_refused(alone: Any) -> None:
    for feed in (varied(Rss, stylesheets=alone), by_default(varied(Rss, stylesheets=alone))):
        with pytest.raises(TypeError, match=f"^stylesheets should be a list, not {type(alone)}$"):
            ask(feed)


def test_s26_how_a_stylesheet_is_shown() -> None:
    assert repr(Stylesheet("/test.xsl", mimetype=None)) == "('/test.xsl', None, 'screen')"


# --- headers, addresses -----------------------------------------------------------------------------------


def test_s27_s28_last_modified() -> None:
    for feed in (Aware, by_default(Aware)):
        assert ask(feed).headers["Last-Modified"] == "Wed, 26 Mar 2008 00:18:00 GMT"

    class Dateless(Feed):
        django_compatible = True
        title = description = "No dates"
        link = "/"
        items = ENTRIES

    assert "Last-Modified" not in ask(Dateless).headers
    assert "Last-Modified" not in ask(by_default(Dateless)).headers
    # a hook that says nothing is a hook to Django: it was changed now
    silent = varied(Dateless, item_pubdate=None)
    assert "Last-Modified" in ask(silent).headers
    assert "Last-Modified" not in ask(by_default(silent)).headers
    assert ask(by_default(silent)).headers["ETag"] == ask(by_default(silent)).headers["ETag"]


def test_s29_feed_url() -> None:
    for feed in (
        varied(Atom, feed_url="/customfeedurl/"),
        by_default(varied(Atom, feed_url="/customfeedurl/")),
    ):
        link = document(feed).find(f"{A}link[@rel='self']")
        assert link.get("href") == "http://example.com/customfeedurl/"


def test_s30_https_everywhere() -> None:
    for feed in (Atom, by_default(Atom)):
        links = [link.get("href") for link in document(feed, secure=True).iter(f"{A}link")]
        assert links
        assert all(str(link).startswith("https://example.com/") for link in links)


def test_s31_an_item_needs_a_link() -> None:
    message = (
        r"^Give your int class a get_absolute_url\(\) method, or define an item_link\(\) method in your "
        r"Feed class\.$"
    )
    feed = varied(Feed, title="", link="/", description="", items=[42])
    for each in (feed, varied(feed, django_compatible=True)):
        with pytest.raises(ImproperlyConfigured, match=message):
            ask(each)


def test_s32_templates() -> None:
    feed = varied(Rss, title_template="title.html", description_template="body.html")
    for each in (feed, by_default(feed)):
        item = channel_of(each).find("item")
        assert texts(item, "title", "description") == ["My first entry by ", "<p>1</p>"]


def test_s33_get_context_data() -> None:
    class WithContext(Rss):
        title_template = "title.html"

        def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
            return {**super().get_context_data(**kwargs), "foo": f"{kwargs['site'].domain} & co"}

    for feed in (WithContext, by_default(WithContext)):
        items = channel_of(feed).findall("item")
        assert items[0].findtext("title") == "My first entry by example.com &amp; co"
        assert items[0].findtext("description") == "Overridden description: My first entry"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("example.com", "/foo/?arg=value"), "http://example.com/foo/?arg=value"),
        (("example.com", "/foo/?arg=value", True), "https://example.com/foo/?arg=value"),
        (("example.com", "http://djangoproject.com/doc/"), "http://djangoproject.com/doc/"),
        (("example.com", "https://djangoproject.com/doc/"), "https://djangoproject.com/doc/"),
        (("example.com", "mailto:uhoh@djangoproject.com"), "mailto:uhoh@djangoproject.com"),
        (("example.com", "//example.com/foo/?arg=value"), "http://example.com/foo/?arg=value"),
    ],
)
def test_s34_add_domain(given: tuple[Any, ...], expected: str) -> None:
    assert generators.add_domain(*given) == expected


class OfEntry(Rss):
    def get_object(self, entry_id: int) -> Entry:
        for entry in ENTRIES:
            if entry.id == entry_id:
                return entry
        raise FeedDoesNotExist

    def title(self, obj: Entry) -> str:  # type: ignore[override]
        return f"On {obj.title}"

    def items(self, obj: Entry) -> list[Entry]:  # type: ignore[override]
        return [obj]


def test_s35_a_feed_of_an_object() -> None:
    for feed in (OfEntry, by_default(OfEntry)):
        channel = channel_of(feed, rule="/<int:entry_id>/rss/", path="/2/rss/")
        assert texts(channel, "title", "item/guid") == ["On My second entry", "http://example.com/blog/2/"]


def test_s36_a_missing_object_is_404() -> None:
    for feed in (OfEntry, by_default(OfEntry)):
        assert ask(feed, rule="/<int:entry_id>/rss/", path="/9/rss/").status_code == 404
    # but what is missing within is no feed that is missing
    for error, raised in ((FeedDoesNotExist, FeedDoesNotExist), (NotFound, RuntimeError)):
        within = varied(Rss, items=property(raising(error)))
        for feed in (within, by_default(within)):
            with pytest.raises(raised):
                ask(feed)


def raising(error: type[Exception]) -> Callable[[Any], Any]:
    def items(self: Any) -> Any:
        raise error

    return items


def test_content_types() -> None:
    for feed, subtype in ((Rss, "rss"), (Rss091, "rss"), (Atom, "atom")):
        for each in (feed, by_default(feed)):
            response: Response = ask(each)
            assert response.headers["Content-Type"] == f"application/{subtype}+xml; charset=utf-8"
            assert response.data.startswith(b'<?xml version="1.0" encoding="utf-8"?>\n<')
