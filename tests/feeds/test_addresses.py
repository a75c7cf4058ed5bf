"""Addresses: what is none makes no fault of a feed."""

from __future__ import annotations

import pytest

from flask_linkback.feeds.generators import iri_to_uri
from tests.feeds.reading import AS, Plain, atom, rss


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
