"""Macros: threads of replies, other mentions, faces; one query each."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import render_template_string
from lxml import html

from flask_linkback.errors import UnknownTarget
from flask_linkback.linkbacks.shown import shown
from flask_linkback.models import Mention, MentionState, MentionStatus
from tests.apps import Blog
from tests.pingback.tools import add, statements
from tests.showing.mentions import said


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    """A blog with a post that nobody mentions yet."""
    blog = blogs(sqlite_url)
    add(blog, "hello")
    return blog


def draw(blog: Blog, call: str, path: str = "/post/hello") -> Any:
    """Return what a macro draws, as a tree."""
    with blog.app.test_request_context(path):
        post = blog.db.session.get(blog.Post, 1)
        text = render_template_string(
            f'<div>{{% from "linkback/macros.html" import mention_list, facepile %}}{{{{ {call} }}}}</div>',
            post=post,
        )
    return html.fromstring(text)


def outline(element: Any) -> list[Any]:
    """Return who speaks in lists, and below each of them who answers: ``["Ann", ["Bob"]]``."""
    found: list[Any] = []
    for item in element.xpath("./li"):
        found.append(item.xpath("string(./article//*[contains(@class, 'linkback-author')])"))
        found += [outline(replies) for replies in item.xpath("./ol")]
    return found


def threads(blog: Blog, call: str = "mention_list(post)") -> list[Any]:
    return [outline(each) for each in draw(blog, call).xpath("//ol[@class='linkback-threads']")]


@pytest.mark.parametrize("name", ["javascript:alert(1)", "data:text/html,<p>", "https://pills.example/cheap"])
def test_a_url_is_nobodys_name(blog: Blog, name: str) -> None:
    said(blog, "ann", "reply", author_name=name)
    said(blog, "bob", "like", author_name=name)
    assert threads(blog) == [["ann.example"]]
    (face,) = draw(blog, "facepile(post)").xpath("//ul[@class='linkback-faces']/li")
    assert "bob.example" in face.text_content()
    assert name not in html.tostring(face).decode()


# --- threads -----------------------------------------------------------------------------------------


def test_replies_stand_below_what_they_answer_the_oldest_first(blog: Blog) -> None:
    said(blog, "ann", "reply")
    said(blog, "bob", "reply", answers="ann")
    said(blog, "eve", "reply")
    said(blog, "dan", "reply", answers="ann")
    said(blog, "zoe", "reply", answers="bob")
    assert threads(blog) == [["Ann", ["Bob", ["Zoe"], "Dan"], "Eve"]]


def test_other_mentions_come_afterwards_the_newest_first(blog: Blog) -> None:
    for name in ("ann", "bob"):
        said(blog, name)
    said(blog, "eve", "reply")
    said(blog, "dan", "reply", answers="ann")
    assert threads(blog) == [["Eve"], ["Bob", "Ann", ["Dan"]]]


def test_a_reply_may_come_before_what_it_answers(blog: Blog) -> None:
    said(blog, "bob", "reply", answers="ann")
    said(blog, "ann", "reply")
    assert threads(blog) == [["Ann", ["Bob"]]]


def test_a_reply_to_what_is_not_shown_stands_for_itself(blog: Blog) -> None:
    said(blog, "ann", "reply", status=MentionStatus.pending)
    said(blog, "bob", "reply", answers="ann")
    said(blog, "eve", "like")
    said(blog, "dan", "reply", answers="eve")
    assert threads(blog) == [["Bob", "Dan"]]


def test_what_is_deeper_stands_on_the_last_level_and_says_what_it_answers(blog: Blog) -> None:
    names = ["ann", "bob", "cid", "dan", "eve", "fay"]
    for name, before in zip(names, ["", *names], strict=False):
        said(blog, name, "reply", answers=before)
    assert threads(blog) == [["Ann", ["Bob", ["Cid", ["Dan", "Eve", "Fay"]]]]]
    assert threads(blog, "mention_list(post, depth=1)") == [["Ann", ["Bob", "Cid", "Dan", "Eve", "Fay"]]]
    assert threads(blog, "mention_list(post, depth=0)") == [["Ann", "Bob", "Cid", "Dan", "Eve", "Fay"]]
    tree = draw(blog, "mention_list(post)")
    (eve,) = tree.xpath("//li[@id='mention-5']/article/p[@class='linkback-by']")
    assert " ".join(eve.text_content().split()) == "Eve replied to Dan at eve.example on 1 March 2026"
    assert eve.xpath("./a[@href='#mention-4']")
    (dan,) = tree.xpath("//li[@id='mention-4']/article/p[@class='linkback-by']")
    assert "to Cid" not in dan.text_content()


def test_circles_are_cut_at_the_oldest(blog: Blog) -> None:
    said(blog, "ann", "reply", answers="cid")
    said(blog, "bob", "reply", answers="ann")
    said(blog, "cid", "reply", answers="bob")
    said(blog, "eve", "reply", answers="eve")
    assert threads(blog) == [["Ann", ["Bob", ["Cid"]], "Eve"]]


def test_a_long_chain_is_drawn(blog: Blog) -> None:
    for number in range(60):
        said(blog, f"p{number}", "reply", answers=f"p{number - 1}" if number else "")
    assert len(draw(blog, "mention_list(post)").xpath("//article")) == 60


def test_the_newest_are_drawn_and_the_others_counted(blog: Blog) -> None:
    for name in ("ann", "bob", "cid"):
        said(blog, name, "reply")
    tree = draw(blog, "mention_list(post, limit=2)")
    assert [outline(each) for each in tree.xpath("//ol")] == [["Bob", "Cid"]]
    assert tree.xpath("string(//*[@class='linkback-more'])") == "and 1 older"


def test_what_a_mention_says(blog: Blog) -> None:
    published = datetime(2025, 12, 24, 18, tzinfo=UTC)
    said(blog, "ann", content="One.\nTwo.", published_at=published)
    tree = draw(blog, "mention_list(post)")
    (item,) = tree.xpath("//li[@id='mention-1']/article")
    assert [each.get("href") for each in item.xpath(".//a")] == [
        "https://ann.example/",
        "https://ann.example/post",
    ]
    assert {each.get("rel") for each in item.xpath(".//a")} == {"nofollow ugc noopener"}
    assert item.xpath("string(.//time/@datetime)") == published.isoformat()
    assert [each.text for each in item.xpath(".//*[@class='linkback-content'][@dir='auto']/p")] == [
        "One.",
        "Two.",
    ]
    assert item.xpath("string(.//*[@class='linkback-title'][@dir='auto'])") == "A page of ann"


def test_who_has_no_name_is_called_by_the_host(blog: Blog) -> None:
    said(blog, "ann", author_name="", author_url="")
    (by,) = draw(blog, "mention_list(post)").xpath("//*[@class='linkback-by']")
    assert " ".join(by.text_content().split()) == "ann.example mentioned this on 1 March 2026"
    assert by.xpath("string(./a/@href)") == "https://ann.example/post"


def test_the_title_of_a_reply_is_shown_where_it_says_nothing_else(blog: Blog) -> None:
    said(blog, "ann", "reply")
    said(blog, "bob", "reply", content="")
    assert draw(blog, "mention_list(post)").xpath("//*[@class='linkback-title']/text()") == ["A page of bob"]


def test_headings_have_the_level_that_is_asked_for(blog: Blog) -> None:
    for kind in ("reply", "mention", "like"):
        said(blog, kind, kind)
    tree = draw(blog, "facepile(post, heading=4) + mention_list(post, heading=3)")
    assert [(each.tag, each.text) for each in tree.xpath("//h4 | //h3")] == [
        ("h4", "1 like"),
        ("h3", "Replies"),
        ("h3", "Mentions"),
    ]
    plain = draw(blog, "facepile(post) + mention_list(post)")
    assert not plain.xpath("//h1 | //h2 | //h3 | //h4")
    assert plain.xpath("//ol[@class='linkback-threads']/@aria-label") == ["Replies", "Mentions"]


# --- faces -------------------------------------------------------------------------------------------


def test_faces_are_grouped_by_kind(blog: Blog) -> None:
    said(blog, "ann", "like")
    said(blog, "bob", "bookmark")
    said(blog, "cid", "like")
    said(blog, "dan", "rsvp", title="RSVP: no")
    said(blog, "eve", "rsvp", title="RSVP: yes")
    said(blog, "fay", "repost")
    said(blog, "gil", "rsvp", title="Perhaps")
    said(blog, "hal", "reply")
    kinds = draw(blog, "facepile(post)").xpath("//*[contains(@class, 'linkback-kind ')]")
    assert [(each[0].text, each.xpath(".//bdi/text()")) for each in kinds] == [
        ("2 likes", ["Cid", "Ann"]),
        ("1 repost", ["Fay"]),
        ("1 bookmark", ["Bob"]),
        ("1 is coming", ["Eve"]),
        ("1 is not coming", ["Dan"]),
        ("1 answer", ["Gil"]),
    ]


def test_the_newest_faces_are_drawn_and_the_others_counted(blog: Blog) -> None:
    for number in range(15):
        said(blog, f"p{number}", "like")
    said(blog, "ann", "repost")
    tree = draw(blog, "facepile(post, limit=3)")
    (likes, reposts) = tree.xpath("//ul")
    assert likes.xpath("./li//bdi/text()") == ["P14", "P13", "P12"]
    assert likes.xpath("string(./li[last()])") == "and 12 more"
    assert tree.xpath("string(//*[@class='linkback-heading'])") == "15 likes"
    assert len(reposts) == 1


def test_a_face_has_a_name_and_leads_to_the_page(blog: Blog) -> None:
    said(blog, "ann", "like", author_name="Ann van der Berg")
    (item,) = draw(blog, "facepile(post)").xpath("//li[@id='mention-1']")
    (link,) = item.xpath("./a")
    assert link.attrib == {
        "href": "https://ann.example/post",
        "title": "Ann van der Berg",
        "rel": "nofollow ugc noopener",
    }
    assert link.xpath("string(./span[@aria-hidden='true'])") == "AB"
    assert link.xpath("string(./span[not(@aria-hidden)]/bdi)") == "Ann van der Berg"


@pytest.mark.parametrize(
    ("name", "initials"),
    [
        ("Ann", "A"),
        ("ann bee", "AB"),
        ("Ann Ann", "A"),
        ("日本 太郎", "日太"),
        ("(Ann) B.", "B"),
        ("🦀", "?"),
        ("straße ßa", "SSS"),
    ],
)
def test_initials(name: str, initials: str) -> None:
    mention = Mention(
        **dict.fromkeys(
            ("source", "target", "title", "content", "author_url", "author_photo", "reply_to"), ""
        )
    )
    mention.type, mention.author_name = "like", name
    assert shown(mention, None).initials == initials


def test_photos_are_asked_for_only_where_the_page_says_so(blog: Blog) -> None:
    said(blog, "ann", "like")
    said(blog, "bob", "reply")
    said(blog, "cid", "like", author_photo="http://cid.example/me.png")
    assert not draw(blog, "facepile(post) + mention_list(post)").xpath("//img")
    photos = draw(blog, "facepile(post, photos=true) + mention_list(post, photos=true)").xpath("//img")
    assert [dict(each.attrib) for each in photos] == [
        {
            "src": f"https://{name}.example/me.png",
            "alt": "",
            "data-initials": name[0].upper(),
            "width": "48",
            "height": "48",
            "loading": "lazy",
            "referrerpolicy": "no-referrer",
        }
        for name in ("ann", "bob")
    ]


# --- both --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("macro", ["mention_list", "facepile"])
def test_nothing_is_drawn_of_nothing(blog: Blog, macro: str) -> None:
    said(blog, "ann", "like", state=MentionState.gone)
    said(blog, "bob", "reply", status=MentionStatus.rejected)
    for call, path in ((f"{macro}(post)", "/post/hello"), (f"{macro}()", "/about")):
        tree = draw(blog, call, path)
        assert len(tree) == 0
        assert not (tree.text or "").strip()
    with pytest.raises(UnknownTarget):
        draw(blog, f"{macro}('https://foreign.example/')")


def test_without_an_object_it_is_the_page_being_served(blog: Blog) -> None:
    said(blog, "ann", "reply")
    said(blog, "bob", "like")
    assert draw(blog, "mention_list() + facepile()").xpath("//li/@id") == ["mention-1", "mention-2"]


def test_each_macro_asks_once(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url)
    add(blog, "hello")
    for name in ("ann", "bob", "cid"):
        said(blog, name, "reply")
        said(blog, f"{name}2", "like")
    for macro in ("mention_list", "facepile"):
        with blog.app.test_request_context("/post/hello"):
            post = blog.db.session.get(blog.Post, 1)
            with statements(blog) as asked:
                text = render_template_string(
                    f'{{% from "linkback/macros.html" import {macro} %}}{{{{ {macro}(post) }}}}', post=post
                )
        assert text.count("<li") == 3
        assert len(asked) == 1


def test_who_waits_is_drawn_where_the_settings_say_so(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, SHOW_UNAPPROVED=True)
    add(blog, "hello")
    for kind in ("reply", "like"):
        said(blog, "ann", kind, status=MentionStatus.pending)
    assert draw(blog, "mention_list(post) + facepile(post)").xpath("//li/@id") == ["mention-1", "mention-2"]


def test_there_is_neither_style_nor_script(blog: Blog) -> None:
    for kind in ("reply", "mention", "like"):
        said(blog, kind, kind)
    tree = draw(blog, "mention_list(post, photos=true) + facepile(post, photos=true)")
    assert not tree.xpath("//style | //script | //@style | //@*[starts-with(name(), 'on')]")


def test_the_style_sheet_asks_for_nothing_and_touches_nothing_else(blog: Blog) -> None:
    with blog.app.test_client().get("/linkback/static/mentions.css") as answer:
        rules = re.sub(r"/\*.*?\*/", "", answer.text, flags=re.DOTALL)
    assert "url(" not in rules
    assert "@import" not in rules
    for selectors in re.findall(r"([^{}@]+){[^{}]*}", rules):
        for selector in re.split(r",(?![^(]*\))", selectors):
            assert selector.strip().startswith(".linkback-"), selector


# --- of a type ---------------------------------------------------------------------------------------


def test_mentions_of_a_type(blog: Blog) -> None:
    for kind in ("reply", "mention", "like"):
        said(blog, kind, kind)
    with blog.app.app_context():
        post = blog.db.session.get(blog.Post, 1)
        assert [each.type for each in blog.linkback.mentions_for(post, type="like")] == ["like"]
        assert blog.linkback.mention_count(post, type=("like", "reply")) == 2
        assert blog.linkback.mention_count(post) == 3
    assert draw(blog, "mention_count(post, type='reply')").text == "1"
