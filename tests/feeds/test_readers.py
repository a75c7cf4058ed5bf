"""Readers: what programs of other people find in a feed that says all it can."""

from __future__ import annotations

from typing import Any

import atoma
import feedparser
import pytest

from flask_linkback.feeds import Author
from flask_linkback.feeds.generators import Atom1Feed, JSONFeed, Rss201rev2Feed
from tests.feeds.reading import respond
from tests.feeds.test_media import FILM
from tests.feeds.test_podcasts import NOON, Show


class Everything(Show):
    item_media = FILM
    item_geometry = (10.1, 54.3)
    item_comments_feed = "/tides/comments.atom"
    item_in_reply_to = "https://ann.example/post"
    item_authors = Author(name="Ann", email="ann@example.com")
    item_pubdate = NOON
    item_content = "<p>The <b>tides</b></p>"


@pytest.mark.parametrize("format_", [Rss201rev2Feed, Atom1Feed])
def test_feedparser_finds_it_all(format_: Any) -> None:
    feed = feedparser.parse(respond(Everything, format_).data)
    assert not feed.bozo
    assert feed.feed.itunes_block == 1
    assert feed.feed.image.href == "http://blog.example/cover.png"
    assert [each.term for each in feed.feed.tags] == ["Arts", "Society & Culture", "Places & Travel"]
    (entry,) = feed.entries
    assert entry.title == "Tides"
    assert entry.author_detail.email == "ann@example.com"
    assert entry.itunes_duration == "3723"
    assert entry.itunes_episode == "3"
    assert entry.podcast_chapters["url"] == "http://blog.example/chapters.json"
    assert entry.media_content[0]["url"] == "http://blog.example/film.mp4"
    assert [each["url"] for each in entry.media_thumbnail] == [
        "http://blog.example/film.png",
        "https://else.example/2.png?a=1&b=2",
    ]
    assert entry["where"]["type"] == "Point"
    assert entry["where"]["coordinates"] == pytest.approx((10.1, 54.3))
    assert "<p>The <b>tides</b></p>" in [each.value for each in entry.content]
    (enclosure,) = entry.enclosures
    assert enclosure.href == "http://blog.example/1.mp3"


def test_atoma_reads_json() -> None:
    feed = atoma.parse_json_feed_bytes(respond(Everything, JSONFeed).data)
    assert (feed.title, feed.icon, feed.expired) == ("Shore", "http://blog.example/cover.png", True)
    (item,) = feed.items
    assert item.id_ == "http://blog.example/tides"
    assert item.date_published == NOON
    assert item.content_html == "<p>The <b>tides</b></p>"
    (attachment,) = item.attachments
    assert attachment.mime_type == "audio/mpeg"
    assert attachment.size_in_bytes == 1000
