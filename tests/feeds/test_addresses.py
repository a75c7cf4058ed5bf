"""Addresses: what is none makes no fault of a feed."""

from __future__ import annotations

from typing import Any

import pytest

from flask_linkback.feeds import Enclosure
from flask_linkback.feeds.generators import iri_to_uri
from tests.feeds.reading import AS, Plain, atom, rss, values


def test_a_lone_surrogate_is_left_out() -> None:
    assert iri_to_uri("/a\ud800 ü") == "/a%20%C3%BC"

    class Odd(Plain):
        item_link = "/a\udfffb"

    assert rss(Odd).findtext("item/link") == "http://blog.example/ab"


@pytest.mark.parametrize("link", ["//[", "//[x]/y"])
def test_what_is_no_address_stays_what_it_is(link: str) -> None:
    class Odd(Plain):
        item_link = link

    assert atom(Odd).find("a:entry/a:link", AS).attrib["href"] == link


class Enclosed(Plain):
    item_enclosure_url = "/1 ü.mp3"
    item_enclosure_length = 3
    item_enclosure_mime_type = "audio/mpeg"


class ManyEnclosed(Plain):
    def item_enclosures(self, item: Any) -> Any:
        return iter([Enclosure("/1 ü.mp3", "3", "audio/mpeg")])


@pytest.mark.parametrize("feed", [Enclosed, ManyEnclosed])
def test_enclosures_are_made_absolute(feed: type[Plain]) -> None:
    url = "http://blog.example/1%20%C3%BC.mp3"
    assert dict(rss(feed).find("item/enclosure").attrib) == {"url": url, "length": "3", "type": "audio/mpeg"}
    assert atom(feed).find("a:entry/a:link[@rel='enclosure']", AS).attrib["href"] == url
    assert values(feed)["items"][0]["attachments"] == [
        {"url": url, "mime_type": "audio/mpeg", "size_in_bytes": 3}
    ]


def test_an_enclosure_elsewhere_stays_as_it_is() -> None:
    class Elsewhere(Enclosed):
        item_enclosure_url = "https://else.example/1.mp3"

    assert rss(Elsewhere).find("item/enclosure").attrib["url"] == "https://else.example/1.mp3"


def test_django_leaves_enclosures_as_they_are() -> None:
    class Compatible(Enclosed):
        django_compatible = True

    assert rss(Compatible).find("item/enclosure").attrib["url"] == "/1%20%C3%BC.mp3"
