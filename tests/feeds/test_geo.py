"""Geo: where feeds and items are; the cases are those of Django's geographic feeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from lxml import etree

from flask_linkback.feeds.generators import Atom1Feed, JSONFeed, Rss201rev2Feed
from flask_linkback.feeds.geo import GeoAtom1Feed, GeoRSSFeed, W3CGeoFeed
from tests.feeds.reading import AS, Plain, atom, declarations, respond, rss, values, written


@dataclass
class Shape:
    """As shapely and GEOS have them."""

    geom_type: str
    coords: Any = ()


@dataclass
class Polygon:
    """As shapely has it."""

    exterior: Shape
    geom_type: str = "Polygon"


RING = Shape("LinearRing", [(10, 54), (11, 54), (11, 55), (10, 54)])
LINE = "54.000000 10.000000 54.000000 11.000000 55.000000 11.000000 54.000000 10.000000"
BOX = "<georss:box>54.000000 10.000000 55.500000 11.250000</georss:box>"
POINT = "<georss:point>54.300000 10.100000</georss:point>"

GEOMETRIES: list[tuple[Any, str]] = [
    ((10.1, 54.3), POINT),
    ([10.1, 54.3], POINT),
    ((10, 54, 11.25, 55.5), BOX),
    (((10, 54), (11.25, 55.5)), BOX),
    ([[10, 54], [11.25, 55.5]], BOX),
    (Shape("Point", (10.1, 54.3)), POINT),
    (Shape("Point", [(10.1, 54.3, 7.0)]), POINT),
    (Shape("LineString", RING.coords), f"<georss:line>{LINE}</georss:line>"),
    (RING, f"<georss:line>{LINE}</georss:line>"),
    (Polygon(RING), f"<georss:polygon>{LINE}</georss:polygon>"),
]


@pytest.mark.parametrize(("given", "xml"), GEOMETRIES)
def test_feeds_and_items_say_where_they_are(given: Any, xml: str) -> None:
    class Here(Plain):
        geometry = given

        def item_geometry(self, item: Any) -> Any:
            return given

    channel = rss(Here)
    assert written(channel, "georss") == [xml]
    assert written(channel.find("item"), "georss") == [xml]
    feed = atom(Here)
    assert written(feed, "georss") == [xml]
    assert written(feed.find("a:entry", AS), "georss") == [xml]
    assert "_geo" not in str(values(Here))


def test_a_polygon_of_geos_is_a_list_of_rings() -> None:
    class GEOS:
        geom_type = "Polygon"

        def __getitem__(self, number: int) -> Shape:
            return [RING][number]

    class Here(Plain):
        item_geometry = GEOS()

    assert written(rss(Here).find("item"), "georss") == [f"<georss:polygon>{LINE}</georss:polygon>"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((1, 2, 3), "Only should be 2 or 4 numeric elements."),
        ((), "Only should be 2 or 4 numeric elements."),
        (((1, 2), (3, 4), (5, 6)), "Only should be two sets of coordinates."),
        (Shape("MultiPoint"), 'Geometry type "MultiPoint" not supported.'),
        ("54.3 10.1", 'Geometry type "None" not supported.'),
        ((float("nan"), 1), "(nan, 1) is no position."),
        (("a", "b"), "('a', 'b') is no position."),
        (((1,), (2,)), "(1,) is no position."),
    ],
)
@pytest.mark.parametrize("hook", ["geometry", "item_geometry"])
def test_what_is_no_geometry_is_refused(hook: str, given: Any, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  compared whole below
        respond(type("Wrong", (Plain,), {hook: given}), Rss201rev2Feed)
    assert str(caught.value) == why
    assert f"the hook {hook} of" in caught.value.__notes__[0]


@pytest.mark.parametrize("format_", [Rss201rev2Feed, Atom1Feed])
def test_the_vocabulary_is_declared_once_and_only_where_it_is_used(format_: Any) -> None:
    class Here(Plain):
        geometry = item_geometry = (1, 2)

    class Compatible(Here):
        django_compatible = True

    assert declarations(respond(Here, format_).data).count("georss") == 1
    for feed in (Plain, Compatible):
        assert b"georss" not in respond(feed, format_).data
    assert b"geo" not in respond(Compatible, JSONFeed).data


# --- generators --------------------------------------------------------------------------------------


@pytest.mark.parametrize("generator", [GeoRSSFeed, GeoAtom1Feed])
@pytest.mark.parametrize("is_compatible", [False, True])
def test_generators_write_what_they_are_given(generator: Any, is_compatible: bool) -> None:
    feed = generator("Shore", "https://blog.example/", "News", geometry=(10.1, 54.3))
    feed.django_compatible = is_compatible
    feed.add_item("Tides", "https://blog.example/tides", "About", geometry=((10, 54), (11.25, 55.5)))
    feed.add_item("Else", "https://blog.example/else", "About")
    document = feed.writeString("utf-8")
    assert declarations(document.encode()).count("georss") == 1
    root = etree.fromstring(document.encode())
    found = [child for child in root.iter() if child.tag.startswith(f"{{{AS['georss']}}}")]
    assert [(each.getparent().tag.rpartition("}")[2], each.text) for each in found] == [
        ("channel" if generator is GeoRSSFeed else "feed", "54.300000 10.100000"),
        ("item" if generator is GeoRSSFeed else "entry", "54.000000 10.000000 55.500000 11.250000"),
    ]


@pytest.mark.parametrize(("is_compatible", "word"), [(False, "long"), (True, "lon")])
def test_the_w3c_calls_it_long(is_compatible: bool, word: str) -> None:
    feed = W3CGeoFeed("Shore", "https://blog.example/", "News", geometry=(10.1, 54.3))
    feed.django_compatible = is_compatible
    feed.add_item("Tides", "https://blog.example/tides", "About", geometry=Shape("Point", (10.1, 54.3)))
    channel = etree.fromstring(feed.writeString("utf-8").encode())[0]
    said = ["<geo:lat>54.300000</geo:lat>", f"<geo:{word}>10.100000</geo:{word}>"]
    assert written(channel, "geo") == said
    assert written(channel.find("item"), "geo") == said


def test_hooks_are_written_in_the_words_of_the_generator() -> None:
    class Here(Plain):
        geometry = item_geometry = (10.1, 54.3)

    channel = rss(Here, W3CGeoFeed)
    assert [len(written(each, "geo")) for each in (channel, channel.find("item"))] == [2, 2]
    assert written(channel, "georss") == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((1, 2, 3, 4), "Cannot use simple GeoRSS box in W3C Geo feeds."),
        (Polygon(RING), "W3C Geo only supports Point geometries."),
    ],
)
def test_the_w3c_has_points_only(given: Any, why: str) -> None:
    feed = W3CGeoFeed("Shore", "https://blog.example/", "News")
    feed.add_item("Tides", "https://blog.example/tides", "About", geometry=given)
    with pytest.raises(ValueError, match=why):
        feed.writeString("utf-8")
