"""Easy to miss: what who makes Django's feeds again forgets, point by point (24 to 36)."""

from __future__ import annotations

import functools
import mimetypes
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from jinja2 import DictLoader
from lxml import etree
from werkzeug.test import TestResponse

from flask_linkback import Feed, generators
from flask_linkback.errors import ImproperlyConfigured, UnserializableContentError
from flask_linkback.feeds import Enclosure, Stylesheet
from tests.apps import Blog

from .peer import ATTRIBUTES_ARE_CHECKED, DJANGO, serve_django, serve_ours

A = "{http://www.w3.org/2005/Atom}"
DAY = datetime(2026, 7, 1, 12, tzinfo=UTC)


class Small(Feed):
    title = "Small"
    link = "/"
    description: Any = "A feed"
    items: Any = ('it\'s <"one">',)
    item_link: Any = "/1"

    django_compatible = True


def made(base: type[Feed] = Small, **body: Any) -> type[Feed]:
    return type("Made", (base,), body)


def atom(**body: Any) -> type[Feed]:
    return made(feed_type=generators.Atom1Feed, **body)


def both(feed: type[Feed]) -> list[type[Feed]]:
    return [feed, made(feed, django_compatible=False)]


def body_of(feed: type[Feed]) -> bytes:
    return serve_ours(feed, "/feed/").body


def item_of(feed: type[Feed]) -> etree._Element:
    root = etree.fromstring(body_of(feed))
    found = root.find(f"{A}entry") if root.tag == f"{A}feed" else root.find("channel/item")
    assert found is not None
    return found


def client_of(feed: type[Feed], **templates: str) -> Any:
    app = Flask(__name__)
    app.testing = True
    app.jinja_loader = DictLoader({f"{name}.html": text for name, text in templates.items()})
    app.add_url_rule("/feed/", view_func=feed.as_view("feed"))
    return app.test_client()


def test_24_arguments_are_counted_and_lost_properties_are_unset() -> None:
    def hidden(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    def lost(self: Any) -> Any:
        raise AttributeError("lost")

    @functools.wraps(lambda self, item: None)
    def through(*args: Any) -> str:
        return "through"

    for feed in both(made(item_title=through)):
        assert item_of(feed).findtext("title") == "through"
    for feed in both(made(item_comments=property(lost), ttl=staticmethod(lambda: 5))):
        with pytest.raises(
            ImproperlyConfigured, match="'ttl' decorated by '<lambda>' needs to use @functools"
        ):
            body_of(feed)

    class Static(Small):
        item_comments = property(lost)

        @staticmethod
        def ttl() -> int:
            return 5

    for feed in both(Static):
        assert item_of(feed).find("comments") is None
        assert b"<ttl>5</ttl>" in body_of(feed)
    for feed in both(made(item_title=hidden(lambda self, item: ""))):
        with pytest.raises(
            ImproperlyConfigured,
            match=r"^Feed method 'item_title' decorated by 'wrapper' needs to use @functools\.wraps\.$",
        ):
            body_of(feed)


def test_25_titles_are_escaped_by_default_and_templates_spell_quotes_otherwise() -> None:
    for feed in both(Small):
        assert item_of(feed).findtext("title") == "it&#x27;s &lt;&quot;one&quot;&gt;"
        assert item_of(feed).findtext("description") == 'it\'s <"one">'
    for feed in both(made(title_template="title.html")):
        body = client_of(feed, title="{{ obj }}\n").get("/feed/").data
        assert etree.fromstring(body).findtext("channel/item/title") == "it&#39;s &lt;&#34;one&#34;&gt;"


def test_26_empty_elements() -> None:
    for feed in both(made(description=None, item_description=None)):
        body = body_of(feed)
        assert b"<description/>" in body
        assert item_of(feed).find("description") is None
    for feed in both(made(item_description="")):
        assert b"<description/>" in body_of(feed)
        assert item_of(feed).find("description") is not None
    handler = generators.SimplerXMLGenerator()
    handler.addQuickElement("a", "", {"z": "1", "b": "2", "xml:b": "3", "B": "4"})
    assert handler.flush() == b'<a B="4" b="2" xml:b="3" z="1"/>'


def test_27_what_only_one_format_has() -> None:
    everything: dict[str, Any] = {
        "author_name": "AUTHOR",
        "author_email": "author@example.com",
        "subtitle": "SUBTITLE",
        "description": "DESCRIPTION",
        "ttl": "TTL",
        "item_comments": "/comments",
        "item_copyright": "RIGHTS",
        "item_updateddate": DAY,
    }
    for feed in both(made(**everything)):
        body = body_of(feed)
        for word in (b"AUTHOR", b"SUBTITLE", b"RIGHTS"):
            assert word not in body
        for word in (b"DESCRIPTION", b"TTL", b"/comments"):
            assert word in body
    for feed in both(atom(**everything)):
        body = body_of(feed)
        for word in (b"AUTHOR", b"SUBTITLE", b"RIGHTS"):
            assert word in body
        for word in (b"DESCRIPTION", b"TTL", b"/comments"):
            assert word not in body


def test_28_the_default_guid_is_the_link_before_it_is_quoted() -> None:
    for feed in both(made(item_link="https://x.example/é")):
        item = item_of(feed)
        assert item.findtext("link") == "https://x.example/%C3%A9"
        assert item.findtext("guid") == "https://x.example/é"
    for feed in both(atom(item_link="https://x.example/é")):
        assert item_of(feed).findtext(f"{A}id") == "https://x.example/é"


def test_29_what_django_never_makes_absolute() -> None:
    feed = made(
        item_enclosures=lambda self, item: [Enclosure("/é.mp3", "1", "audio/mpeg")],
        item_comments="/comments",
        item_guid="/guid",
        stylesheets=["/style.xsl", Stylesheet("/é.css")],
    )
    compatible, default = map(item_of, both(feed))
    assert compatible.find("enclosure").get("url") == "/%C3%A9.mp3"
    assert compatible.findtext("comments") == "/comments"
    assert compatible.findtext("guid") == "/guid"
    # by default what a reader follows is absolute; an id is left as it is, and so is what browsers resolve
    assert default.find("enclosure").get("url") == "http://localhost/%C3%A9.mp3"
    assert default.findtext("comments") == "http://localhost/comments"
    assert (default.findtext("guid"), default.find("guid").get("isPermaLink")) == ("/guid", "false")
    for each in both(feed):
        assert b'<?xml-stylesheet href="/style.xsl"' in body_of(each)
        assert b'<?xml-stylesheet href="/%C3%A9.css"' in body_of(each)


def answers(feed: type[Feed], **headers: str) -> TestResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response: TestResponse = client_of(feed).get("/feed/", headers=names)
    return response


def test_30_what_is_not_modified() -> None:
    dated = made(item_pubdate=DAY)
    for feed in both(dated):
        assert answers(feed).headers["Last-Modified"] == "Wed, 01 Jul 2026 12:00:00 GMT"
    # Django leaves 304 to a middleware; we answer it
    default = made(dated, django_compatible=False)
    etag = answers(default).headers["ETag"]
    assert answers(default, If_None_Match=etag).status_code == 304
    assert answers(default, If_None_Match=etag).headers["ETag"] == etag
    later, earlier = "Wed, 01 Jul 2026 12:00:01 GMT", "Wed, 01 Jul 2026 11:59:59 GMT"
    assert answers(default, If_Modified_Since=later).status_code == 304
    assert answers(default, If_Modified_Since=earlier).status_code == 200
    assert answers(default, If_Modified_Since=later, If_None_Match='"other"').status_code == 200
    # without dates nothing says now: two answers are one
    assert b"lastBuildDate" not in answers(made(django_compatible=False)).data
    assert b"lastBuildDate" in answers(Small).data


def test_31_naive_dates_are_in_the_default_zone_with_its_summer(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = blogs(sqlite_url, TIMEZONE="Europe/Berlin")
    summer, winter = datetime(2026, 7, 1, 12), datetime(2026, 1, 1, 12)  # noqa: DTZ001
    feed = made(items=[summer, winter], item_pubdate=lambda self, item: item)
    for number, each in enumerate(both(feed)):
        blog.app.add_url_rule(f"/feed/{number}", view_func=each.as_view(f"feed{number}"))
    for number in range(2):
        root = etree.fromstring(blog.app.test_client().get(f"/feed/{number}").data)
        assert [each.text for each in root.iter("pubDate")] == [
            "Wed, 01 Jul 2026 12:00:00 +0200",
            "Thu, 01 Jan 2026 12:00:00 +0100",
        ]


@pytest.mark.parametrize("control", ["\x00", "\x08", "\x0b", "\x0c", "\x1f"])
def test_32_control_characters(control: str) -> None:
    in_text = made(title=f"a{control}b")
    in_attribute = atom(categories=[f"a{control}b"])
    for feed in (in_text, in_attribute):
        for strict in (feed, made(feed, django_compatible=False, strict=True)):
            with pytest.raises(UnserializableContentError):
                body_of(strict)
        body = body_of(made(feed, django_compatible=False))
        assert b"ab" in body
        assert control.encode() not in body


def test_32_django_before_6_1_writes_them_into_attributes() -> None:
    theirs: dict[str, Any] = {
        "title": "T",
        "link": "/",
        "items": [],
        "categories": ["a\x08b"],
        "feed_type": DJANGO.generators.Atom1Feed,
    }
    feed = type("Theirs", (DJANGO.feed,), theirs)
    if ATTRIBUTES_ARE_CHECKED:
        with pytest.raises(ValueError, match="Control characters"):
            serve_django(feed, "/feed/")
    else:
        with pytest.raises(etree.XMLSyntaxError):
            etree.fromstring(serve_django(feed, "/feed/").body)


def test_33_obj_of_templates_is_the_item() -> None:
    class OfObject(Small):
        title_template = "title.html"

        def get_object(self) -> str:
            return "the object"

        def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
            return {**super().get_context_data(**kwargs), "of": kwargs["obj"], "asked": kwargs["request"]}

    template = "{{ obj }}|{{ of }}|{{ site.domain }}|{{ site.name }}|{{ asked.path }}|{{ request.path }}"
    for feed in both(made(OfObject, items=["item"])):
        body = client_of(feed, title=template).get("/feed/").data
        title = etree.fromstring(body).findtext("channel/item/title")
        assert title == "item|the object|localhost|localhost|/feed/|/feed/"


def test_34_a_template_that_is_missing_is_passed_over() -> None:
    missing = made(title_template="missing.html", description_template="none.html", items=["item"])
    for feed in both(missing):
        root = etree.fromstring(client_of(feed).get("/feed/").data)
        assert root.findtext("channel/item/title") == "item"


def test_34_but_not_one_that_a_template_needs() -> None:
    from jinja2 import TemplateNotFound

    for feed in both(made(title_template="title.html")):
        with pytest.raises(TemplateNotFound, match="base"):
            client_of(feed, title='{% extends "base.html" %}').get("/feed/")


@pytest.mark.parametrize(
    ("url", "mimetype"),
    [
        ("/a.xsl", "text/xsl"),
        ("/a.xslt", "text/xsl"),
        ("/a.css", "text/css"),
        ("/a.css?x=1", None),
        ("/a", None),
        ("https://h.example/a.xsl", "text/xsl"),
    ],
)
def test_35_media_types_of_stylesheets_are_the_same_everywhere(
    url: str, mimetype: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # whatever the platform takes them for
    monkeypatch.setitem(mimetypes._types_map_default, ".xslt", "application/xslt+xml")
    monkeypatch.setitem(mimetypes._types_map_default, ".xsl", "text/xml")
    assert Stylesheet(url).mimetype == mimetype
    assert Stylesheet(url).mimetype == DJANGO.generators.Stylesheet(url).mimetype


def test_36_head_is_answered_and_post_is_refused() -> None:
    for feed in both(made(item_pubdate=DAY)):
        client = client_of(feed)
        head, get = client.head("/feed/"), client.get("/feed/")
        assert (head.status_code, head.data) == (200, b"")
        for name in ("Content-Type", "Last-Modified"):
            assert head.headers[name] == get.headers[name]
        assert client.post("/feed/").status_code == 405


@pytest.mark.parametrize("hook", ["item_pubdate", "item_updateddate"])
def test_a_day_is_no_date_to_django(hook: str) -> None:
    for feed in (made(**{hook: DAY.date()}), atom(**{hook: DAY.date()})):
        with pytest.raises(AttributeError, match=r"^'datetime\.date' object has no attribute 'utcoffset'$"):
            body_of(feed)
    root = etree.fromstring(body_of(atom(**{hook: DAY.date()}, django_compatible=False)))
    assert root.findtext(f"{A}entry/{A}updated") == "2026-07-01T00:00:00+00:00"
