"""Hostile rows: whatever stands in a mention is text, a web address, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import render_template_string
from lxml import html

from tests.apps import Blog
from tests.showing.hostile import ALL, TEXTS, URLS, hostile_blog

TAGS = {
    *("html", "head", "meta", "title", "link", "body", "main", "div", "h1", "h2", "p", "ol", "ul", "li"),
    *("article", "span", "bdi", "a", "img", "time", "blockquote"),
}
ATTRIBUTES = {
    *(
        "lang",
        "charset",
        "rel",
        "href",
        "id",
        "class",
        "title",
        "aria-hidden",
        "aria-label",
        "dir",
        "datetime",
    ),
    *("name", "content", "src", "alt", "data-initials", "width", "height", "loading", "referrerpolicy"),
}
DECEIVING = re.compile("[\0\x01\u200b\u202d\u202e\u2066\u2067\ufeff]")


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    return hostile_blog(blogs(sqlite_url))


def draw(blog: Blog) -> str:
    with blog.app.test_request_context("/post/hello"):
        return render_template_string(ALL, post=blog.db.session.get(blog.Post, 1), photos=True)


def test_every_macro_and_tag_writes_nothing_but_its_own_markup(blog: Blog) -> None:
    tree = html.document_fromstring(draw(blog).replace("\0", "\ufffd"))
    assert {each.tag for each in tree.iter()} <= TAGS
    assert {name for each in tree.iter() for name in each.attrib} <= ATTRIBUTES
    addresses = {value for each in tree.xpath("//body//*") for value in (each.get("href"), each.get("src"))}
    for address in addresses - {None, ""}:
        assert re.match("https?://|#mention-", address), address
    assert (
        tree.xpath("//a[not(starts-with(@href, '#'))][not(@rel)]/ancestor::*[@id='threads' or @id='faces']")
        == []
    )
    assert len(tree.xpath("//*[@id='pingbacks']//li")) == 3 * (len(TEXTS) + len(URLS))
    assert "hidden" not in tree.text_content()


def test_macros_show_nothing_that_deceives_or_floods(blog: Blog) -> None:
    tree: Any = html.document_fromstring(draw(blog).replace("\0", "\ufffd"))
    for place in ("faces", "threads"):
        (drawn,) = tree.xpath(f"//*[@id='{place}']")
        written = html.tostring(drawn, encoding="unicode")
        assert not DECEIVING.search(written)
        assert all(len(each) <= 200 for each in drawn.xpath(".//bdi/text() | .//@title"))
        assert all(len(each) <= 5000 for each in drawn.xpath(".//text()"))
        assert all("secret" not in each for each in drawn.xpath(".//@href | .//@src | .//text()"))


def test_json_is_inert_wherever_it_lands(blog: Blog) -> None:
    client = blog.app.test_client()
    seen = 0
    after = None
    while seen == 0 or after is not None:
        answer = client.get(
            "/linkback/mentions.json",
            query_string={
                "target": "https://blog.example/post/hello",
                "limit": 100,
                **({"after": after} if after else {}),
            },
        )
        assert re.search(rb"[^\n\x20-\x7e]|[<>&']", answer.data) is None
        assert answer.json is not None
        for mention in answer.json["mentions"]:
            assert not any(DECEIVING.search(value) for value in mention.values() if isinstance(value, str))
            assert mention["type"] in ("mention", "reply", "like", "repost", "bookmark", "rsvp")
            for name in ("source", "target", "author_url", "author_photo", "reply_to"):
                assert re.fullmatch(r"(https?://[^\s\"<>@]{1,2048})?", mention[name])
        seen += len(answer.json["mentions"])
        after = answer.json["next_after"]
    assert seen == answer.json["count"] == 3 * (len(TEXTS) + len(URLS))
