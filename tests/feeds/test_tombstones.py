"""Tombstones: items that were taken away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from lxml import etree

from flask_linkback.errors import ImproperlyConfigured
from flask_linkback.feeds import Author, Tombstone
from flask_linkback.feeds.generators import Atom1Feed, JSONFeed, Rss201rev2Feed
from tests.feeds.reading import AS, Page, Plain, atom, declarations, respond, written

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Shrinking(Plain):
    deleted_items = [
        Tombstone(ref="/old", when=NOON, by="Ann & Bob", comment="It was <wrong>."),
        Tombstone(ref="https://else.example/x?a=1&b=2", when=datetime(2026, 3, 1, 12)),  # noqa: DTZ001
        Tombstone(
            ref="/other",
            when=NOON.astimezone(timezone(timedelta(hours=1))),
            by=Author(name="Eve", email="eve@blog.example", url="https://eve.example/"),
        ),
    ]


def test_atom_says_what_went_when_and_why() -> None:
    assert written(atom(Shrinking), "at") == [
        (
            '<at:deleted-entry ref="http://blog.example/old" when="2026-03-01T12:00:00+00:00">'
            "<at:by><name>Ann &amp; Bob</name></at:by><at:comment>It was &lt;wrong&gt;.</at:comment>"
            "</at:deleted-entry>"
        ),
        '<at:deleted-entry ref="https://else.example/x?a=1&amp;b=2" when="2026-03-01T12:00:00+00:00"/>',
        (
            '<at:deleted-entry ref="http://blog.example/other" when="2026-03-01T13:00:00+01:00">'
            "<at:by><name>Eve</name><email>eve@blog.example</email><uri>https://eve.example/</uri></at:by>"
            "</at:deleted-entry>"
        ),
    ]


@pytest.mark.parametrize("has_guid", [False, True])
def test_an_item_that_goes_is_called_as_it_was(has_guid: bool) -> None:
    class Before(Plain):
        if has_guid:

            def item_guid(self, item: Page) -> Any:
                return f"page-{item.slug}"

    class After(Before):
        deleted_items = (Tombstone(ref="page-tides" if has_guid else "/tides", when=NOON),)

        def items(self) -> list[Any]:
            return []

    was = atom(Before).findtext("a:entry/a:id", namespaces=AS)
    assert atom(After).find("at:deleted-entry", AS).attrib["ref"] == was


def test_the_feed_changed_when_an_item_went() -> None:
    class After(Plain):
        deleted_items = Tombstone(ref="/old", when=NOON)
        item_pubdate = NOON - timedelta(days=1)

    assert atom(After).findtext("a:updated", namespaces=AS) == "2026-03-01T12:00:00+00:00"
    assert respond(After, Rss201rev2Feed).last_modified == NOON


@pytest.mark.parametrize("format_", [Rss201rev2Feed, JSONFeed])
def test_rss_and_json_have_no_word_for_it(format_: Any) -> None:
    assert b"wrong" not in respond(Shrinking, format_).data


def test_the_vocabulary_is_declared_once_and_not_for_django() -> None:
    class Compatible(Shrinking):
        django_compatible = True

    assert declarations(respond(Shrinking, Atom1Feed).data).count("at") == 1
    assert b"deleted" not in respond(Compatible, Atom1Feed).data


def test_the_generator_takes_them_too() -> None:
    feed = Atom1Feed("Shore", "https://blog.example/", "News", deleted_items=[Tombstone(ref="42", when=NOON)])
    feed.add_item("Tides", "https://blog.example/tides", "About", unique_id="42")
    root = etree.fromstring(feed.writeString("utf-8").encode())
    gone = root.find("at:deleted-entry", AS)
    assert gone.attrib["ref"] == root.findtext("a:entry/a:id", namespaces=AS)


@pytest.mark.parametrize("given", ["/old", [("/old", NOON)], {"ref": "/old"}])
def test_what_is_no_tombstone_is_refused_by_name(given: Any) -> None:
    class Wrong(Plain):
        deleted_items = given

    with pytest.raises(ImproperlyConfigured, match=r"deleted_items: Tombstone\(...\) or a list of them"):
        respond(Wrong, Atom1Feed)
