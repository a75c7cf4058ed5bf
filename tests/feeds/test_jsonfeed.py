"""JSON Feed: the same hooks in version 1.1 of that format, checked by a schema."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.errors import UnserializableContentError
from flask_linkback.feeds import Author, Category, Enclosure, Media
from flask_linkback.feeds.generators import Atom1Feed, JSONFeed
from tests.feeds.reading import AS, Page, Plain, atom, respond, values
from tests.feeds.test_podcasts import Show
from tests.thorough import examples

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = json.loads((Path(__file__).parent / "jsonfeed_schema.json").read_text())
CHECK = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def valid(document: Any) -> Any:
    CHECK.validate(document)
    return document


@pytest.mark.parametrize(
    "wrong",
    [
        {"home_page_url": "no url"},
        {"items": [{"id": "1"}]},
        {"items": [{"id": "1", "content_text": "", "date_published": "2026-03-01"}]},
        {"authors": [{}]},
    ],
)
def test_the_schema_finds_what_is_wrong(wrong: Any) -> None:
    good = {"version": "https://jsonfeed.org/version/1.1", "title": "", "items": []}
    valid(good)
    with pytest.raises(jsonschema.ValidationError):
        valid({**good, **wrong})


class Whole(Plain):
    feed_url = "/feed.json?page=1"
    author_name = "Ann"
    author_link = "https://ann.example/"
    authors = (Author(name="Bob", email="bob@blog.example", url="/bob", avatar="/bob.png"),)
    icon = "/icon.png"
    favicon = "/favicon.png"
    hubs = ("https://hub.example/",)
    links = (("prev", "http://blog.example/feed?page=0"), ("next", "http://blog.example/feed?page=2"))

    def item_guid(self, item: Page) -> Any:
        return 42

    def item_content(self, item: Page) -> Any:
        return "<p>Tides & <b>more</b></p>"

    def item_description(self, item: Page) -> Any:
        return "<p>Tides &amp; <i>others</i></p><p>Twice</p>"

    def item_author_name(self, item: Page) -> Any:
        return "Eve"

    item_author_email = "eve@blog.example"
    item_author_link = "https://eve.example/"
    item_authors = (Author(name="Guy", avatar="/guy.png"),)
    item_categories = ("tides", Category("moon", "/list", "The moon"))
    item_pubdate = datetime(2026, 3, 1, 12, 0, 0, 5, timezone(timedelta(hours=1)))
    item_updateddate = NOON.replace(tzinfo=None)

    def item_enclosures(self, item: Page) -> Any:
        return [
            Enclosure("http://blog.example/1.mp3", "1000", "audio/mpeg"),
            Enclosure("http://blog.example/2.ogg", "0", None),
            Enclosure("http://blog.example/3", "None", "None"),
            Enclosure("http://blog.example/4.png", "9" * 5000, ""),
        ]

    item_media = Media(url="/tides.png", medium="image")

    def item_extra_kwargs(self, item: Page) -> Any:
        return {"language": "de"}


def test_everything_has_its_place() -> None:
    assert valid(values(Whole)) == {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "Shore",
        "home_page_url": "http://blog.example/",
        "feed_url": "http://blog.example/feed.json?page=1",
        "description": "News of the shore",
        "next_url": "http://blog.example/feed?page=2",
        "icon": "http://blog.example/icon.png",
        "favicon": "http://blog.example/favicon.png",
        "authors": [
            {"name": "Ann", "url": "https://ann.example/"},
            {"name": "Bob", "url": "http://blog.example/bob", "avatar": "http://blog.example/bob.png"},
        ],
        "language": "en-us",
        "hubs": [{"type": "WebSub", "url": "https://hub.example/"}],
        "items": [
            {
                "id": "42",
                "url": "http://blog.example/tides",
                "title": "Tides",
                "content_html": "<p>Tides & <b>more</b></p>",
                "summary": "Tides & others\nTwice",
                "image": "http://blog.example/tides.png",
                "date_published": "2026-03-01T12:00:00.000005+01:00",
                "date_modified": "2026-03-01T12:00:00+00:00",
                "authors": [
                    {"name": "Eve", "url": "https://eve.example/"},
                    {"name": "Guy", "avatar": "http://blog.example/guy.png"},
                ],
                "tags": ["tides", "moon"],
                "language": "de",
                "attachments": [
                    {"url": "http://blog.example/1.mp3", "mime_type": "audio/mpeg", "size_in_bytes": 1000},
                    {"url": "http://blog.example/2.ogg", "mime_type": "audio/ogg"},
                    {"url": "http://blog.example/3", "mime_type": "application/octet-stream"},
                    {"url": "http://blog.example/4.png", "mime_type": "image/png"},
                ],
            }
        ],
    }


def test_the_version_is_first() -> None:
    assert respond(Whole, JSONFeed).data.startswith(b'{"version":"https://jsonfeed.org/version/1.1","title":')


def test_the_media_type() -> None:
    response = respond(Plain, JSONFeed)
    assert response.content_type == "application/feed+json"
    assert JSONFeed.media_types() == ("application/feed+json", "application/json")


def test_little_is_needed() -> None:
    class Empty(Plain):
        title = None
        description = None

        def items(self) -> Any:
            return []

    assert valid(values(Empty)) == {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "",
        "home_page_url": "http://blog.example/",
        "feed_url": "http://blog.example/feed",
        "language": "en-us",
        "items": [],
    }


def test_a_podcast_is_valid() -> None:
    valid(values(Show))


# --- text and HTML -----------------------------------------------------------------------------------


def test_an_items_own_text_is_no_html() -> None:
    class Odd(Plain):
        def items(self) -> Any:
            return [Page(title="A & B <c> &amp; 'd'")]

    (item,) = valid(values(Odd))["items"]
    assert item["title"] == "A & B <c> &amp; 'd'"
    assert item["content_html"] == "A &amp; B &lt;c&gt; &amp;amp; 'd'"
    assert atom(Odd).findtext("a:entry/a:title", namespaces=AS) == (
        "A &amp; B &lt;c&gt; &amp;amp; &#x27;d&#x27;"
    )


def test_what_a_hook_says_is_left_as_it_is() -> None:
    class Odd(Plain):
        item_title = "How to write &amp; in <b>"
        item_description = "<p>By &amp;amp;</p>"

    (item,) = values(Odd)["items"]
    assert (item["title"], item["content_html"]) == ("How to write &amp; in <b>", "<p>By &amp;amp;</p>")


@pytest.mark.parametrize(("name", "title"), [("t.html", "A & B's"), ("t.txt", "A & B's")])
def test_a_template_that_escapes_is_read_as_html(tmp_path: Path, name: str, title: str) -> None:
    (tmp_path / name).write_text("{{ obj.title }}")

    class Drawn(Plain):
        title_template = name

        def items(self) -> Any:
            return [Page(title="A & B's")]

    app = Flask("blog", template_folder=str(tmp_path))
    (item,) = json.loads(respond(Drawn, JSONFeed, app=app).data)["items"]
    assert item["title"] == title


def test_a_description_stands_for_content() -> None:
    class Described(Plain):
        item_title = None
        item_description = None

    (item,) = valid(values(Described))["items"]
    assert item == {
        "id": "http://blog.example/tides",
        "url": "http://blog.example/tides",
        "content_html": "",
    }


def test_text_that_is_hostile() -> None:
    odd = '</script>\x00\x08\x1f\ud800\udfff\ufffe\u2028\U0001f30a\r\n"\\'

    class Odd(Plain):
        title = odd
        item_title = odd

    kept = odd.replace("\ud800\udfff", "")
    feed = valid(values(Odd))
    assert feed["title"] == kept
    assert feed["items"][0]["title"] == kept


def test_strict_refuses_what_is_no_character() -> None:
    class Strict(Plain):
        strict = True
        item_title = "\x08"

    assert values(Strict)["items"][0]["title"] == "\x08"
    Strict.item_title = "\ud800"
    with pytest.raises(UnserializableContentError, match=r"Lone surrogates are no characters\."):
        respond(Strict, JSONFeed)


def test_days_and_naive_dates_are_moments() -> None:
    class Dated(Plain):
        item_pubdate = date(2026, 3, 1)
        item_updateddate = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(seconds=1234)))

    (item,) = valid(values(Dated))["items"]
    assert item["date_published"] == "2026-03-01T00:00:00+00:00"
    assert item["date_modified"] == "2026-03-01T11:39:26+00:00"


# --- the generator -----------------------------------------------------------------------------------


class Bigger(JSONFeed):
    def add_root_values(self, values: dict[str, Any]) -> None:
        super().add_root_values(values)
        values["_blog"] = {"about": self.feed["about"]}

    def add_item_values(self, values: dict[str, Any], item: dict[str, Any]) -> None:
        super().add_item_values(values, item)
        values["external_url"] = item["found"]


def feed_of(number: int, generator: type[JSONFeed] = JSONFeed) -> JSONFeed:
    feed = generator("Schöne 🌊", "https://blog.example/", "News", about="all")
    for each in range(number):
        feed.add_item(f"Title {each} ü", f"https://blog.example/{each}", "", found="https://else.example/")
    return feed


def test_subclasses_add_values() -> None:
    feed = valid(json.loads(feed_of(1, Bigger).writeString("utf-8")))
    assert feed["_blog"] == {"about": "all"}
    assert feed["items"][0]["external_url"] == "https://else.example/"


def test_an_item_without_id_is_called_by_its_link() -> None:
    assert json.loads(feed_of(1).writeString("utf-8"))["items"][0]["id"] == "https://blog.example/0"


@pytest.mark.parametrize("number", [0, 1, 63, 64, 65, 200])
def test_it_comes_in_parts(number: int) -> None:
    parts = list(feed_of(number).chunks())
    assert len(parts) == number // 64 + 1
    whole = valid(json.loads(b"".join(parts)))
    assert [each["title"] for each in whole["items"]] == [f"Title {each} ü" for each in range(number)]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "ascii", "iso-8859-1"])
def test_it_is_written_to_files_of_text_and_of_bytes(encoding: str) -> None:
    text, data = io.StringIO(), io.BytesIO()
    feed_of(2).write(text, encoding)
    feed_of(2).write(data, encoding)
    assert text.getvalue() == feed_of(2).writeString(encoding)
    assert data.getvalue() == text.getvalue().encode("utf-8")  # ASCII is UTF-8
    assert json.loads(data.getvalue())["title"] == "Schöne 🌊"


def test_a_generator_with_a_write_of_its_own_is_asked_for_it() -> None:
    class Own(JSONFeed):
        def write(self, outfile: Any, encoding: str) -> None:
            outfile.write(b"own")

    assert b"".join(feed_of(1, Own).chunks()) == b"own"


def test_a_stream_is_the_same_document() -> None:
    class Streamed(Plain):
        stream = True

        def items(self) -> Any:
            return (Page(slug=str(number)) for number in range(150))

    class Whole(Streamed):
        stream = False

    assert respond(Streamed, JSONFeed).data == respond(Whole, JSONFeed).data


# --- one of several formats --------------------------------------------------------------------------


class Several(Plain):
    feed_types = (Atom1Feed, JSONFeed)
    paginate_by = 2

    def items(self) -> Any:
        return [Page(slug=str(number)) for number in range(3)]


@pytest.mark.parametrize(
    ("query", "accept", "is_json"),
    [
        ("", "application/feed+json", True),
        ("", "application/json;q=0.9, text/html", True),
        ("", "*/*", False),
        ("?format=json", "*/*", True),
        ("?format=atom", "application/json", False),
    ],
)
def test_it_is_chosen_by_its_media_type_or_its_name(query: str, accept: str, is_json: bool) -> None:
    app = Flask("blog")
    app.add_url_rule("/feed", view_func=Several.as_view("feed"))
    response = app.test_client().get(f"/feed{query}", headers={"Accept": accept})
    assert (response.content_type == "application/feed+json") is is_json
    if is_json:
        valid(response.get_json(force=True))


def test_its_pages_lead_to_each_other() -> None:
    app = Flask("blog")
    app.add_url_rule("/feed", view_func=Several.as_view("feed"))
    client = app.test_client()
    first = valid(client.get("/feed?format=json").get_json(force=True))
    assert [each["id"] for each in first["items"]] == ["http://localhost/0", "http://localhost/1"]
    assert first["next_url"] != first["feed_url"]
    last = valid(client.get(first["next_url"]).get_json(force=True))
    assert [each["id"] for each in last["items"]] == ["http://localhost/2"]
    assert "next_url" not in last


# --- feeds that nobody thought of --------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=()), max_size=20)
# what is reserved stays as it is, as Django leaves it, wherever it stands
paths = texts.map(lambda text: "/" + re.sub(r"[/%\[\]#]", "", text))
maybe = st.none() | texts
moments = st.none() | st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001
    timezones=st.none() | st.timezones() | st.just(timezone(timedelta(hours=-3, minutes=30))),
)
authors = st.lists(
    st.builds(Author, name=texts, email=maybe, url=st.none() | paths, avatar=st.none() | paths), max_size=2
)
items = st.fixed_dictionaries(
    {
        "title": maybe,
        "link": paths,
        "description": maybe,
        "content": maybe,
        "guid": maybe,
        "pubdate": moments,
        "updateddate": moments,
        "categories": st.lists(texts | st.builds(Category, texts, texts, texts), max_size=3),
        "authors": authors,
        "enclosures": st.lists(
            st.builds(Enclosure, paths.map("http://h.example{}".format), texts, st.none())
        ),
    }
)


def told(name: str) -> Callable[[Any, Any], Any]:
    return lambda self, item: item[name]


@given(
    title=maybe,
    description=maybe,
    authors=authors,
    items=st.lists(items, max_size=4),
    picture=st.none() | paths,
)
@settings(max_examples=examples(60), deadline=None)
def test_any_feed_is_valid(title: Any, description: Any, authors: Any, items: Any, picture: Any) -> None:
    made = {"title": title, "description": description, "authors": authors, "icon": picture, "link": "/"}
    hooks = {
        f"item_{name}": told(name)
        for name in (
            *("title", "link", "description", "content", "guid"),
            *("pubdate", "updateddate", "categories", "authors", "enclosures"),
        )
    }
    feed = type("Any", (Plain,), {**made, **hooks, "items": items})
    document = valid(values(feed))
    assert len(document["items"]) == len(items)
    for said, item in zip(document["items"], items, strict=True):
        if item["title"]:
            assert said.get("title", "") == item["title"].encode("utf-8", "ignore").decode()
