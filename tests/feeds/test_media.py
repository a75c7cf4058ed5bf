"""Media: the pictures, sounds and films of items."""

from __future__ import annotations

from typing import Any

import pytest

from flask_linkback.errors import ImproperlyConfigured
from flask_linkback.feeds import Media
from flask_linkback.feeds.generators import Atom1Feed, Rss201rev2Feed
from tests.feeds.reading import AS, Plain, atom, declarations, respond, rss, values, written

FILM = Media(
    url="/film.mp4",
    type="video/mp4",
    medium="video",
    width=640,
    height=360,
    duration=61.5,
    title="A <film> & more",
    description='It says\n"hello".',
    thumbnails=("/film.png", "https://else.example/2.png?a=1&b=2"),
    credit="Ann",
)
PICTURE = Media(url="https://else.example/picture.jpg", type="image/jpeg")
FILM_SAID = (
    '<media:content duration="61.5" height="360" medium="video" type="video/mp4" '
    'url="http://blog.example/film.mp4" width="640">'
    '<media:title type="plain">A &lt;film&gt; &amp; more</media:title>'
    '<media:description type="plain">It says\n"hello".</media:description>'
    '<media:thumbnail url="http://blog.example/film.png"/>'
    '<media:thumbnail url="https://else.example/2.png?a=1&amp;b=2"/>'
    "<media:credit>Ann</media:credit></media:content>"
)
PICTURE_SAID = '<media:content type="image/jpeg" url="https://else.example/picture.jpg"/>'


@pytest.mark.parametrize(
    ("given", "xml"),
    [
        (FILM, [FILM_SAID]),
        ([FILM, PICTURE], [FILM_SAID, PICTURE_SAID]),
        ((PICTURE,), [PICTURE_SAID]),
        ([], []),
        (None, []),
    ],
)
def test_rss_and_atom_have_media_rss(given: Any, xml: list[str]) -> None:
    class Seen(Plain):
        def item_media(self, item: Any) -> Any:
            return given

    assert written(rss(Seen).find("item"), "media") == xml
    assert written(atom(Seen).find("a:entry", AS), "media") == xml


@pytest.mark.parametrize(
    ("given", "image"),
    [
        (FILM, "http://blog.example/film.png"),
        ([FILM, PICTURE], "https://else.example/picture.jpg"),
        (Media(url="/p", medium="image"), "http://blog.example/p"),
        (Media(url="/film.mp4", type="video/mp4", thumbnails="/one.png"), "http://blog.example/one.png"),  # type: ignore[arg-type]
        (Media(url="/sound.mp3", type="audio/mpeg"), None),
    ],
)
def test_json_has_the_first_picture(given: Any, image: str | None) -> None:
    class Seen(Plain):
        item_media = given

    assert values(Seen)["items"][0].get("image") == image


@pytest.mark.parametrize("format_", [Rss201rev2Feed, Atom1Feed])
def test_the_vocabulary_is_declared_once(format_: Any) -> None:
    class Seen(Plain):
        item_media = (FILM, PICTURE)

    assert declarations(respond(Seen, format_).data).count("media") == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("/film.mp4", "item_media: Media(...) or a list of them is needed, not '/film.mp4'."),
        ([FILM, 3], "item_media: Media(...) or a list of them is needed, not 3."),
        (3, "item_media: Media(...) or a list of them is needed, not 3."),
        ({"url": "/x"}, "item_media: Media(...) or a list of them is needed, not {'url': '/x'}."),
        (Media(url="/x", medium="film"), "item_media: medium is one of image, audio, video, document, "),
        (Media(url="/x", duration=float("nan")), "item_media: 'duration' is a number, not nan."),
    ],
)
def test_what_is_wrong_is_refused_by_name(given: Any, why: str) -> None:
    class Wrong(Plain):
        item_media = given

    with pytest.raises(ImproperlyConfigured) as caught:
        respond(Wrong, Rss201rev2Feed)
    assert str(caught.value).startswith(why)
