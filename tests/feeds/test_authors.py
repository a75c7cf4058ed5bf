"""Authors, categories and content: who wrote what about what, in each format."""

from __future__ import annotations

from typing import Any

import pytest

from flask_linkback.errors import ImproperlyConfigured
from flask_linkback.feeds import Author, Category
from flask_linkback.feeds.generators import Atom1Feed, JSONFeed, Rss201rev2Feed
from tests.feeds.reading import AS, Plain, atom, declarations, respond, rss, values, written

ANN = Author(name="Ann <&>", email="ann@blog.example", url="/ann?a=1&b=2", avatar="/ann.png")
BOB = Author(name="Bob")
EVE = Author(name="Eve", email="eve@blog.example")


class Written(Plain):
    authors = [ANN, BOB]

    def item_authors(self, item: Any) -> Any:
        return (BOB, ANN, EVE)


def test_rss_has_one_author_with_an_address_and_creators() -> None:
    channel = rss(Written)
    assert written(channel, "dc") == [
        "<dc:creator>Ann &lt;&amp;&gt;</dc:creator>",
        "<dc:creator>Bob</dc:creator>",
    ]
    item = channel.find("item")
    assert [each.text for each in item.findall("author")] == ["ann@blog.example (Ann <&>)"]
    assert written(item, "dc") == ["<dc:creator>Bob</dc:creator>", "<dc:creator>Eve</dc:creator>"]


def test_atom_has_persons() -> None:
    def persons(of: Any) -> Any:
        return [
            {part.tag.rpartition("}")[2]: part.text for part in each} for each in of.findall("a:author", AS)
        ]

    ann = {"name": "Ann <&>", "email": "ann@blog.example", "uri": "http://blog.example/ann?a=1&b=2"}
    feed = atom(Written)
    assert persons(feed) == [ann, {"name": "Bob"}]
    assert persons(feed.find("a:entry", AS)) == [
        {"name": "Bob"},
        ann,
        {"name": "Eve", "email": "eve@blog.example"},
    ]


def test_json_has_pictures_and_no_addresses_of_mail() -> None:
    ann = {
        "name": "Ann <&>",
        "url": "http://blog.example/ann?a=1&b=2",
        "avatar": "http://blog.example/ann.png",
    }
    feed = values(Written)
    assert feed["authors"] == [ann, {"name": "Bob"}]
    assert feed["items"][0]["authors"] == [{"name": "Bob"}, ann, {"name": "Eve"}]


def test_they_stand_beside_djangos_hooks() -> None:
    class Both(Written):
        item_author_name = "Guy"
        item_author_email = "guy@blog.example"

    item = rss(Both).find("item")
    assert [each.text for each in item.findall("author")] == ["guy@blog.example (Guy)"]
    assert [each.text for each in item.findall("dc:creator", AS)] == ["Bob", "Ann <&>", "Eve"]
    assert len(atom(Both).findall("a:entry/a:author", AS)) == 4
    assert [each["name"] for each in values(Both)["items"][0]["authors"]] == ["Guy", "Bob", "Ann <&>", "Eve"]


def test_one_needs_no_list() -> None:
    class One(Plain):
        authors = item_authors = BOB

    assert rss(One).findtext("item/dc:creator", namespaces=AS) == "Bob"
    assert values(One)["authors"] == [{"name": "Bob"}]


@pytest.mark.parametrize("hook", ["authors", "item_authors"])
@pytest.mark.parametrize("given", ["Ann", [{"name": "Ann"}]])
def test_what_is_no_author_is_refused_by_name(hook: str, given: Any) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        respond(type("Wrong", (Plain,), {hook: given}), Atom1Feed)
    assert str(caught.value).startswith(f"{hook}: Author(...) or a list of them is needed, not ")


def test_django_knows_no_lists_of_them() -> None:
    class Compatible(Written):
        django_compatible = True

    for format_ in (Rss201rev2Feed, Atom1Feed, JSONFeed):
        assert b"Bob" not in respond(Compatible, format_).data


# --- categories --------------------------------------------------------------------------------------


class Sorted(Plain):
    categories = item_categories = [
        "tides <&>",
        Category("moon", "https://list.example/?a=1&b=2", 'The "moon"'),
        Category("sun", label="The sun"),
    ]


def test_categories_of_rss_have_a_domain() -> None:
    channel = rss(Sorted)
    for of in (channel, channel.find("item")):
        assert [(each.text, dict(each.attrib)) for each in of.findall("category")] == [
            ("tides <&>", {}),
            ("moon", {"domain": "https://list.example/?a=1&b=2"}),
            ("sun", {}),
        ]


def test_categories_of_atom_have_scheme_and_label() -> None:
    feed = atom(Sorted)
    for of in (feed, feed.find("a:entry", AS)):
        assert [dict(each.attrib) for each in of.findall("a:category", AS)] == [
            {"term": "tides <&>"},
            {"term": "moon", "scheme": "https://list.example/?a=1&b=2", "label": 'The "moon"'},
            {"term": "sun", "label": "The sun"},
        ]


def test_categories_of_items_are_tags_in_json() -> None:
    assert values(Sorted)["items"][0]["tags"] == ["tides <&>", "moon", "sun"]


def test_a_category_is_written_as_django_writes_its_text() -> None:
    """Django knows text only: a class that is served in its way too keeps its categories."""

    class Compatible(Sorted):
        django_compatible = True

    channel, feed = rss(Compatible), atom(Compatible)
    for of in (channel, channel.find("item")):
        said = [(each.text, dict(each.attrib)) for each in of.findall("category")]
        assert said == [("tides <&>", {}), ("moon", {}), ("sun", {})]
    for of in (feed, feed.find("a:entry", AS)):
        assert [dict(each.attrib) for each in of.findall("a:category", AS)] == [
            {"term": "tides <&>"},
            {"term": "moon"},
            {"term": "sun"},
        ]


# --- content -----------------------------------------------------------------------------------------

HTML = "<p>]]> &amp; <b>more</b></p>\n"


class Full(Plain):
    def item_content(self, item: Any) -> Any:
        return HTML


def test_content_stands_beside_the_description() -> None:
    item = rss(Full).find("item")
    assert item.findtext("content:encoded", namespaces=AS) == HTML
    assert item.findtext("description") == "Tides"
    entry = atom(Full).find("a:entry", AS)
    content = entry.find("a:content", AS)
    assert (content.text, dict(content.attrib)) == (HTML, {"type": "html"})
    assert entry.findtext("a:summary", namespaces=AS) == "Tides"
    (said,) = values(Full)["items"]
    assert (said["content_html"], said["summary"]) == (HTML, "Tides")


def test_an_item_may_have_none() -> None:
    class Bare(Plain):
        def item_content(self, item: Any) -> Any:
            return None

    assert rss(Bare).find("item/content:encoded", AS) is None
    assert atom(Bare).find("a:entry/a:content", AS) is None


@pytest.mark.parametrize(("format_", "said"), [(Rss201rev2Feed, True), (Atom1Feed, False)])
def test_the_vocabulary_is_declared_where_it_is_used(format_: Any, said: bool) -> None:
    assert declarations(respond(Full, format_).data).count("content") == said
    assert declarations(respond(Plain, format_).data).count("content") == 0


# --- pictures of a feed ------------------------------------------------------------------------------


def test_a_feed_has_an_icon_and_a_favicon() -> None:
    class Pictured(Plain):
        icon = "/large.png"
        favicon = "/small ü.png"

    image = rss(Pictured).find("image")
    assert {part.tag: part.text for part in image} == {
        "url": "http://blog.example/large.png",
        "title": "Shore",
        "link": "http://blog.example/",
    }
    feed = atom(Pictured)
    assert feed.findtext("a:icon", namespaces=AS) == "http://blog.example/small%20%C3%BC.png"
    assert feed.findtext("a:logo", namespaces=AS) == "http://blog.example/large.png"
    said = values(Pictured)
    assert (said["icon"], said["favicon"]) == (
        "http://blog.example/large.png",
        "http://blog.example/small%20%C3%BC.png",
    )


def test_django_knows_no_pictures() -> None:
    class Compatible(Plain):
        django_compatible = True
        icon = favicon = "/large.png"

    for format_ in (Rss201rev2Feed, Atom1Feed):
        assert b"large" not in respond(Compatible, format_).data
