"""Generators: the acceptance cases of Django's by name; they need no application."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from io import BytesIO, StringIO
from typing import Any

import pytest

from flask_linkback import generators
from flask_linkback.feeds import Stylesheet
from flask_linkback.feeds.generators import (
    Atom1Feed,
    DefaultFeed,
    Rss201rev2Feed,
    SyndicationFeed,
    get_tag_uri,
    rfc2822_date,
    rfc3339_date,
)

NAIVE = datetime(2008, 11, 14, 13, 37)  # noqa: DTZ001
AWARE = NAIVE.replace(tzinfo=timezone(timedelta(hours=1)))
LATER = NAIVE.replace(tzinfo=timezone(timedelta(hours=2)))


def both_ways(make: Callable[[], SyndicationFeed]) -> list[str]:
    """A feed as it is by default and with ``django_compatible``."""
    compatible = make()
    compatible.django_compatible = True
    return [make().writeString("utf-8"), compatible.writeString("utf-8")]


def test_f1_tag_uri() -> None:
    assert get_tag_uri("http://example.org/foo/bar#headline", datetime(2004, 10, 25, tzinfo=UTC)) == (
        "tag:example.org,2004-10-25:/foo/bar/headline"
    )


def test_f2_tag_uri_drops_the_port() -> None:
    assert get_tag_uri("http://www.example.org:8000/2008/11/14/django#headline", NAIVE) == (
        "tag:www.example.org,2008-11-14:/2008/11/14/django/headline"
    )


@pytest.mark.parametrize(
    ("case", "day", "expected"),
    [
        ("f3 naive", NAIVE, "Fri, 14 Nov 2008 13:37:00 -0000"),
        ("f4 aware", AWARE, "Fri, 14 Nov 2008 13:37:00 +0100"),
        ("f5 a day", date(2008, 11, 14), "Fri, 14 Nov 2008 00:00:00 -0000"),
    ],
)
def test_f3_f4_f5_rfc2822_date(case: str, day: date, expected: str) -> None:
    assert rfc2822_date(day) == expected


@pytest.mark.parametrize(
    ("case", "day", "expected"),
    [
        ("f6 naive", NAIVE, "2008-11-14T13:37:00Z"),
        ("f7 aware", LATER, "2008-11-14T13:37:00+02:00"),
        ("f8 a day", date(2008, 11, 14), "2008-11-14T00:00:00Z"),
    ],
)
def test_f6_f7_f8_rfc3339_date(case: str, day: date, expected: str) -> None:
    assert rfc3339_date(day) == expected


def test_f9_f10_content_types() -> None:
    assert Atom1Feed("title", "/link", "descr").content_type == "application/atom+xml; charset=utf-8"
    assert Rss201rev2Feed("title", "/link", "descr").content_type == "application/rss+xml; charset=utf-8"
    assert DefaultFeed is Rss201rev2Feed


def test_f11_no_feed_url_no_self_link() -> None:
    for written in both_ways(lambda: Rss201rev2Feed("title", "/link", "descr")):
        assert "<atom:link" not in written


def test_f12_feed_url_is_the_self_link() -> None:
    for written in both_ways(lambda: Rss201rev2Feed("title", "/link", "descr", feed_url="/feed")):
        assert '<atom:link href="/feed" rel="self"/>' in written


def test_f13_an_item_of_three_arguments() -> None:
    def make() -> SyndicationFeed:
        feed = Atom1Feed("title", "/link", "descr")
        feed.add_item("item_title", "item_link", "item_description")
        return feed

    for written in both_ways(make):
        assert "<entry><title>item_title</title>" in written
        assert '<summary type="html">item_description</summary></entry>' in written


def test_f14_attributes_are_in_the_order_of_their_names() -> None:
    for written in both_ways(lambda: Atom1Feed("title", "/link", "descr")):
        assert '<link href="/link" rel="alternate"/>' in written


@pytest.mark.parametrize("version", [Rss201rev2Feed, Atom1Feed])
def test_f15_the_latest_post_date_of_no_items_is_now_in_utc(version: type[SyndicationFeed]) -> None:
    before = datetime.now(UTC)
    latest = version("title", "/link", "descr").latest_post_date()
    assert latest.utcoffset() == timedelta(0)
    assert before <= latest <= datetime.now(UTC)


def test_f16_a_stylesheet_asks_for_its_address_when_it_is_written() -> None:
    class Lazy:
        asked = 0

        def __str__(self) -> str:
            self.asked += 1
            return "test.css"

    lazy = Lazy()
    stylesheet = Stylesheet(lazy)
    feed = Rss201rev2Feed("title", "/link", "descr", stylesheets=[stylesheet])
    assert lazy.asked == 0
    assert str(stylesheet) == 'href="test.css" media="screen" type="text/css"'
    assert lazy.asked > 0
    assert '<?xml-stylesheet href="test.css"' in feed.writeString("utf-8")


def test_f17_attributes_of_stylesheets_are_escaped() -> None:
    stylesheet = Stylesheet('http://example.com/style.css?foo="bar"&x=<y>', mimetype='a"b', media="<&>'")
    assert str(stylesheet) == (
        'href="http://example.com/style.css?foo=%22bar%22&amp;x=%3Cy%3E" media="&lt;&amp;&gt;&#x27;" '
        'type="a&quot;b"'
    )


# --- what those cases do not ask --------------------------------------------------------------------------


def test_a_generator_without_a_format_writes_nothing() -> None:
    message = r"^subclasses of SyndicationFeed must provide a write\(\) method$"
    with pytest.raises(NotImplementedError, match=message):
        SyndicationFeed("title", "/link", "descr").writeString("utf-8")


def test_what_else_is_given_is_kept() -> None:
    feed = Atom1Feed("title", "/link", "descr", feed_guid=0, colour="red")
    feed.add_item("title", "/é", "descr", taste="sour", ttl=5, unique_id=42)
    assert feed.feed["colour"] == "red"
    assert feed.feed["id"] == "/link"
    assert feed.num_items() == 1
    (item,) = feed.items
    assert (item["taste"], item["ttl"], item["unique_id"], item["link"]) == ("sour", "5", "42", "/%C3%A9")


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "iso-8859-1", "us-ascii", "utf-16"])
@pytest.mark.parametrize("compatible", [False, True])
def test_every_encoding_is_written_whole(encoding: str, compatible: bool) -> None:
    from lxml import etree

    feed = Rss201rev2Feed("träume \U0001f30d", "/", "\r" if not compatible else "")
    feed.django_compatible = compatible
    for number in range(200):
        feed.add_item(f"größe {number}", f"/{number}", "<p>世界</p>")
    out = BytesIO()
    feed.write(out, encoding)
    root = etree.fromstring(out.getvalue())
    assert root.findtext("channel/title") == "träume \U0001f30d"
    assert len(root.findall("channel/item")) == 200
    assert root.findall("channel/item")[-1].findtext("description") == "<p>世界</p>"
    text = StringIO()
    feed.write(text, encoding)
    assert text.getvalue().startswith(f'<?xml version="1.0" encoding="{encoding}"?>\n<rss')


def test_vocabularies_of_others_keep_their_meaning() -> None:
    class Own(Rss201rev2Feed):
        def rss_attributes(self) -> dict[str, Any]:
            return {**super().rss_attributes(), "xmlns:dc": "urn:mine"}

        def add_item_elements(self, handler: Any, item: Any) -> None:
            super().add_item_elements(handler, item)
            handler.addQuickElement("dc:mine", "x")
            handler.startElement("media:group", {"xmlns:media": "urn:mine"})
            handler.addQuickElement("media:thing")
            handler.endElement("media:group")
            handler.addQuickElement("media:title", "of the vocabulary that we know")

    from lxml import etree

    feed = Own("title", "/", "")
    feed.add_item("title", "/", "", author_name="Ann")
    for written in (feed.writeString("utf-8").encode(),):
        item = etree.fromstring(written).find("channel/item")
        assert item.findtext("{http://purl.org/dc/elements/1.1/}creator") == "Ann"
        assert item.findtext("{urn:mine}mine") == "x"
        assert item.find("{urn:mine}group/{urn:mine}thing") is not None
        assert item.find("{http://search.yahoo.com/mrss/}title") is not None


def test_no_enclosures_of_a_generator_are_none() -> None:
    feed = Rss201rev2Feed("title", "/", "")
    feed.add_item("title", "/", "", enclosures=iter(()))
    assert "<enclosure" not in feed.writeString("utf-8")


def test_what_a_writer_refuses() -> None:
    handler = generators.SimplerXMLGenerator()
    handler.startElement("a", {})
    with pytest.raises(ValueError, match="is no name in XML"):
        handler.addQuickElement("b c")
    with pytest.raises(ValueError, match="is not the last one that began"):
        handler.endElement("b")
