"""Podcasts: what shows and episodes say in the vocabularies of Apple and of Podcasting 2.0."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from flask_linkback.errors import ImproperlyConfigured
from flask_linkback.feeds import Author, Enclosure
from flask_linkback.feeds.generators import Atom1Feed, JSONFeed, Rss201rev2Feed
from tests.feeds.reading import Plain, atom, declarations, respond, rss, values, written

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GUID = "917393e3-1b1e-5cef-ace4-edaa54e1f810"


class Show(Plain):
    itunes = {
        "author": "Ann & Bob",
        "title": "Shore",
        "subtitle": "News <daily>",
        "summary": "All of it",
        "image": "/cover.png",
        "category": ["Arts", ("Society & Culture", ["Places & Travel"])],
        "explicit": False,
        "owner": {"name": "Ann", "email": "ann@blog.example"},
        "type": "serial",
        "block": True,
        "complete": True,
        "new_feed_url": "/new.rss",
    }
    podcast = {
        "guid": GUID,
        "locked": {"text": True, "owner": "ann@blog.example"},
        "funding": [{"url": "/give", "text": "Give <now>"}, "/more"],
        "medium": "podcast",
        "person": ["Ann", {"text": "Bob", "role": "guest", "href": "/bob", "img": "/bob.png"}],
        "location": {"text": "The shore", "rel": "creator", "geo": "geo:54.3,10.1", "country": "DE"},
        "value": {
            "type": "lightning",
            "method": "keysend",
            "suggested": 0.00000005,
            "recipients": [
                {"name": "Ann", "type": "node", "address": "02d5", "split": 95},
                {"type": "lnaddress", "address": "a@b.example", "split": 5, "fee": True, "customKey": "7"},
            ],
        },
    }

    def item_itunes(self, item: Any) -> Any:
        return {
            "author": "Ann",
            "title": "Tides",
            "subtitle": "Up & down",
            "summary": "And up",
            "image": "/tides.png",
            "explicit": True,
            "block": False,
            "episode": 3,
            "season": 2,
            "episode_type": "full",
            "duration": 3723.4,
        }

    def item_podcast(self, item: Any) -> Any:
        return {
            "transcript": [
                {"url": "/t.vtt", "type": "text/vtt", "language": "en", "rel": "captions"},
                {"url": "https://else.example/t.srt", "type": "application/x-subrip"},
            ],
            "chapters": "/chapters.json",
            "soundbite": {"startTime": 73.0, "duration": 60, "text": "High <tide>"},
            "location": "The pier",
            "person": "Eve",
        }

    def item_enclosures(self, item: Any) -> Any:
        return [Enclosure("http://blog.example/1.mp3", "1000", "audio/mpeg")]


SHOW = [
    "<itunes:author>Ann &amp; Bob</itunes:author>",
    "<itunes:title>Shore</itunes:title>",
    "<itunes:subtitle>News &lt;daily&gt;</itunes:subtitle>",
    "<itunes:summary>All of it</itunes:summary>",
    '<itunes:image href="http://blog.example/cover.png"/>',
    '<itunes:category text="Arts"/>',
    (
        '<itunes:category text="Society &amp; Culture">'
        '<itunes:category text="Places &amp; Travel"/></itunes:category>'
    ),
    "<itunes:explicit>false</itunes:explicit>",
    "<itunes:owner><itunes:name>Ann</itunes:name><itunes:email>ann@blog.example</itunes:email></itunes:owner>",
    "<itunes:type>serial</itunes:type>",
    "<itunes:block>Yes</itunes:block>",
    "<itunes:complete>Yes</itunes:complete>",
    "<itunes:new-feed-url>http://blog.example/new.rss</itunes:new-feed-url>",
    f"<podcast:guid>{GUID}</podcast:guid>",
    '<podcast:locked owner="ann@blog.example">yes</podcast:locked>',
    '<podcast:funding url="http://blog.example/give">Give &lt;now&gt;</podcast:funding>',
    '<podcast:funding url="http://blog.example/more"/>',
    "<podcast:medium>podcast</podcast:medium>",
    "<podcast:person>Ann</podcast:person>",
    (
        '<podcast:person href="http://blog.example/bob" img="http://blog.example/bob.png" role="guest">'
        "Bob</podcast:person>"
    ),
    '<podcast:location country="DE" geo="geo:54.3,10.1" rel="creator">The shore</podcast:location>',
    (
        '<podcast:value method="keysend" suggested="0.00000005" type="lightning">'
        '<podcast:valueRecipient address="02d5" name="Ann" split="95" type="node"/>'
        '<podcast:valueRecipient address="a@b.example" customKey="7" fee="true" split="5" type="lnaddress"/>'
        "</podcast:value>"
    ),
]
EPISODE = [
    "<itunes:author>Ann</itunes:author>",
    "<itunes:title>Tides</itunes:title>",
    "<itunes:subtitle>Up &amp; down</itunes:subtitle>",
    "<itunes:summary>And up</itunes:summary>",
    '<itunes:image href="http://blog.example/tides.png"/>',
    "<itunes:explicit>true</itunes:explicit>",
    "<itunes:episode>3</itunes:episode>",
    "<itunes:season>2</itunes:season>",
    "<itunes:episodeType>full</itunes:episodeType>",
    "<itunes:duration>3723</itunes:duration>",
    '<podcast:transcript language="en" rel="captions" type="text/vtt" url="http://blog.example/t.vtt"/>',
    '<podcast:transcript type="application/x-subrip" url="https://else.example/t.srt"/>',
    '<podcast:chapters type="application/json+chapters" url="http://blog.example/chapters.json"/>',
    '<podcast:soundbite duration="60" startTime="73.0">High &lt;tide&gt;</podcast:soundbite>',
    "<podcast:person>Eve</podcast:person>",
    "<podcast:location>The pier</podcast:location>",
]


def test_rss_has_both_vocabularies() -> None:
    channel = rss(Show)
    assert written(channel, "itunes", "podcast") == SHOW
    assert written(channel.find("item"), "itunes", "podcast") == EPISODE


def test_atom_has_the_same() -> None:
    feed = atom(Show)
    assert written(feed, "itunes", "podcast") == SHOW
    assert written(feed[-1], "itunes", "podcast") == EPISODE


def test_json_has_what_it_has_words_for() -> None:
    feed = values(Show)
    assert feed["icon"] == "http://blog.example/cover.png"
    assert feed["expired"] is True
    (item,) = feed["items"]
    assert item["image"] == "http://blog.example/tides.png"
    assert item["attachments"] == [
        {
            "url": "http://blog.example/1.mp3",
            "mime_type": "audio/mpeg",
            "size_in_bytes": 1000,
            "duration_in_seconds": 3723,
        }
    ]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("format_", [Rss201rev2Feed, Atom1Feed])
def test_each_vocabulary_is_declared_once(format_: Any, streamed: bool) -> None:
    class Streamed(Show):
        stream = streamed

    said = declarations(respond(Streamed, format_).data)
    assert len(said) == len(set(said))
    assert {"itunes", "podcast"} <= set(said)


@pytest.mark.parametrize("format_", [Rss201rev2Feed, Atom1Feed, JSONFeed])
def test_django_writes_none_of_it(format_: Any) -> None:
    class Compatible(Show):
        django_compatible = True
        item_pubdate = NOON

    class Bare(Plain):
        django_compatible = True
        item_pubdate = NOON
        item_enclosures = Show.item_enclosures

    assert respond(Compatible, format_).data == respond(Bare, format_).data


@pytest.mark.parametrize(
    ("duration", "said"),
    [(61, "61"), (timedelta(minutes=2), "120"), ("1:02:03", "1:02:03"), ("75", "75"), ("12:34", "12:34")],
)
def test_durations(duration: Any, said: str) -> None:
    class Timed(Plain):
        item_itunes = {"duration": duration}

    assert written(rss(Timed).find("item"), "itunes") == [f"<itunes:duration>{said}</itunes:duration>"]


def test_an_owner_may_be_an_author_and_a_guid_a_uuid() -> None:
    class Owned(Plain):
        itunes = {"owner": Author(name="Ann", email="ann@blog.example"), "category": "Arts"}
        podcast = {"guid": UUID(GUID), "locked": False}

    assert written(rss(Owned), "itunes", "podcast") == [
        '<itunes:category text="Arts"/>',
        "<itunes:owner><itunes:name>Ann</itunes:name><itunes:email>ann@blog.example</itunes:email></itunes:owner>",
        f"<podcast:guid>{GUID}</podcast:guid>",
        "<podcast:locked>no</podcast:locked>",
    ]


WRONG: list[tuple[str, Any, str]] = [
    ("itunes", {"autor": "Ann"}, "itunes: there is no 'autor'. Did you mean author?"),
    ("item_itunes", {"duraton": 1}, "item_itunes: there is no 'duraton'. Did you mean duration?"),
    ("item_itunes", {"complete": True}, "item_itunes: there is no 'complete'."),
    ("itunes", "Ann", "itunes: a dict is needed, not 'Ann'."),
    ("itunes", {"explicit": "yes"}, "itunes: 'explicit' is True or False, not 'yes'."),
    ("itunes", {"type": "weekly"}, "itunes: 'type' is one of episodic, serial, not 'weekly'."),
    ("itunes", {"category": 3}, "itunes: 'category' is text, a pair of text and a list"),
    ("itunes", {"owner": {"mail": "x"}}, "itunes, 'owner': there is no 'mail'. Did you mean email?"),
    ("item_itunes", {"episode": 0}, "item_itunes: 'episode' is a whole number from 1 on, not 0."),
    ("item_itunes", {"episode": True}, "item_itunes: 'episode' is a whole number"),
    ("item_itunes", {"duration": -1}, "item_itunes: 'duration' is seconds, a timedelta or H:MM:SS"),
    ("item_itunes", {"duration": "1h"}, "item_itunes: 'duration' is seconds"),
    ("item_itunes", {"duration": float("nan")}, "item_itunes: 'duration' is seconds"),
    ("item_podcast", {"guid": GUID}, "item_podcast: there is no 'guid'."),
    ("podcast", {"guid": "42"}, "podcast: 'guid' is a UUID, not '42'."),
    ("podcast", {"locked": "yes"}, "podcast: 'locked' is True or False, not 'yes'."),
    ("podcast", {"guid": [GUID, GUID]}, "podcast: 'guid' is one, not 2."),
    ("podcast", {"transcript": {}}, "podcast: there is no 'transcript'."),
    ("podcast", {"funding": {"text": "Give"}}, "podcast, 'funding': 'url' is missing."),
    ("podcast", {"value": {"type": "a", "method": "b"}}, "podcast, 'value': 'recipients' is missing."),
    (
        "podcast",
        {"value": {"type": "a", "method": "b", "recipients": [{"typ": "node"}]}},
        "podcast, 'value', 'valueRecipient': there is no 'typ'. Did you mean type?",
    ),
    ("item_podcast", {"transcript": "/t.vtt"}, "item_podcast, 'transcript': a dict is needed, not '/t.vtt'."),
    (
        "item_podcast",
        {"soundbite": {"start_time": 1, "duration": 2}},
        "item_podcast, 'soundbite': there is no 'start_time'. Did you mean startTime?",
    ),
    (
        "item_podcast",
        {"soundbite": {"startTime": float("inf"), "duration": 2}},
        "item_podcast, 'soundbite': 'startTime' is a number, not inf.",
    ),
]


@pytest.mark.parametrize(("hook", "said", "why"), WRONG)
def test_what_is_wrong_is_refused_by_name(hook: str, said: Any, why: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        respond(type("Wrong", (Plain,), {hook: said}), Rss201rev2Feed)
    assert str(caught.value).startswith(why)
