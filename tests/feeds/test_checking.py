"""What is wrong with a feed's class is told when it is written."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask

from flask_linkback import Feed, generators
from flask_linkback.errors import ImproperlyConfigured


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"feed_type": "atom"}, "feed_type says 'atom': it must be a generator such as Atom1Feed"),
        ({"feed_type": Flask}, "it must be a generator"),
        ({"feed_types": "atom"}, "feed_types must be a list of generators"),
        ({"feed_types": generators.Atom1Feed}, "feed_types must be a list of generators"),
        ({"feed_types": ("atom",)}, "feed_types says 'atom'"),
        ({"paginate_by": 0}, "paginate_by must be a number of items, not 0"),
        ({"paginate_by": "20"}, "paginate_by must be a number of items, not '20'"),
        ({"cache": {1, 2}}, "cache must be a cache with get"),
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^Latest\..*{message}"):
        type("Latest", (Feed,), values)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("item_tilte", "item_title"),
        ("item_pub_date", "item_pubdate"),
        ("feed_typ", "feed_type"),
        ("item_itune", "item_itunes"),
        ("pagniate_by", "paginate_by"),
    ],
)
def test_what_is_nearly_a_hook_is_told(name: str, meant: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "flask_linkback.feeds"):
        type("Latest", (Feed,), {name: "x"})
    assert caplog.messages == [f"Latest.{name} is no hook of feeds. Did you mean {meant}?"]


@pytest.mark.parametrize("name", ["item_title", "items", "get_object", "item_words", "db", "_itmes", "posts"])
def test_nobody_is_told_of_hooks_and_of_names_of_their_own(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    type("Latest", (Feed,), {name: "x"})
    assert caplog.messages == []


@pytest.mark.parametrize("items", [None, 3])
def test_items_must_be_some(items: Any) -> None:
    app = Flask("feeds")
    view = type("Latest", (Feed,), {"title": "x", "link": "/", "items": items})
    with (
        app.test_request_context("/feed"),
        pytest.raises(ImproperlyConfigured, match=r"^Latest\.items must be a list or another iterable"),
    ):
        view().dispatch_request()


def test_a_prefix_that_nobody_declares_is_refused() -> None:
    class Odd(generators.Rss201rev2Feed):
        def add_item_elements(self, handler: generators.SimplerXMLGenerator, item: dict[str, Any]) -> None:
            handler.addQuickElement("foo:bar", "x")

    feed = Odd("x", "https://x.example/", "x")
    feed.add_item("x", "https://x.example/", "x")
    with pytest.raises(ValueError, match=r"Nothing declares the prefix of 'foo:bar'"):
        feed.writeString("utf-8")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"item_pubdate": "2026-01-01"}, "item_pubdate: a date or datetime is needed, not '2026-01-01'."),
        ({"item_updateddate": 17}, "item_updateddate: a date or datetime is needed, not 17."),
        ({"last_modified": "today"}, "last_modified: a date or datetime is needed, not 'today'."),
        ({"links": ["/a"]}, r"links: a list of pairs \(relation, URL\) is needed"),
        ({"item_enclosures": lambda self, item: ["/a.mp3"]}, r"item_enclosures: Enclosure\(...\) or a list"),
    ],
)
def test_what_a_hook_says_wrong_is_told_with_its_name(values: dict[str, Any], message: str) -> None:
    app = Flask("feeds")
    said = {"title": "x", "link": "/", "items": ["a"], "item_link": "/a", **values}
    view = type("Latest", (Feed,), said)
    with (
        app.test_request_context(),
        pytest.raises(ImproperlyConfigured, match=f"^{message}"),
    ):
        view().dispatch_request()
