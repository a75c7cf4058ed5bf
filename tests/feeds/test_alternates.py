"""Links to feeds in the head of a page: types, titles, addresses, and what is no feed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import render_template_string
from lxml import html
from werkzeug.routing import BuildError

from flask_linkback import Feed
from flask_linkback.errors import BaseURLMissing, ConfigError
from flask_linkback.feeds.generators import Atom1Feed, Rss201rev2Feed
from tests.apps import Blog


class Latest(Feed):
    title: Any = "News & <more>"
    link = "/"
    description = "All"

    def items(self) -> list[Any]:
        return []


class Beat(Latest):
    feed_type = Atom1Feed

    def get_object(self, beat_id: int) -> int:
        return beat_id

    def title(self, obj: int) -> str:
        return f"Beat {obj}"


class Several(Latest):
    feed_types = (Atom1Feed, Rss201rev2Feed)

    def title(self) -> str:
        return "Two formats"


class Named(Latest):
    def __init__(self, title: str = "-") -> None:
        self.title = title


def watched(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def watch(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return watch


class Decorated(Latest):
    decorators = (watched,)


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    return with_feeds(blogs(sqlite_url, SITE_NAME="Low Tide"))


def with_feeds(blog: Blog) -> Blog:
    for path, name, view in (
        ("/feed", "feeds.latest", Latest.as_view("latest")),
        ("/beats/<int:beat_id>/feed", "feeds.beat", Beat.as_view("beat")),
        ("/several", "feeds.several", Several.as_view("several")),
        ("/instance", "feeds.instance", Latest()),
        ("/named", "feeds.named", Named.as_view("named", title="From outside")),
        ("/decorated", "feeds.decorated", Decorated.as_view("decorated")),
        ("/wrapped", "feeds.wrapped", watched(Latest())),
    ):
        blog.app.add_url_rule(path, endpoint=name, view_func=view)
    return blog


def draw(blog: Blog, call: str, **request: Any) -> list[dict[str, str]]:
    """The attributes of each element that the macro draws."""
    text = f'{{% from "linkback/macros.html" import linkback_feeds %}}<head>{{{{ linkback_feeds({call}) }}}}'
    with blog.app.test_request_context("/about", **request):
        head = html.fromstring(render_template_string(text))
    return [dict(each.attrib) for each in head.xpath("//link")]


def test_a_feed_is_told_by_type_title_and_public_address(blog: Blog) -> None:
    assert draw(blog, "'feeds.latest'", base_url="http://inside:8000") == [
        {
            "rel": "alternate",
            "type": "application/rss+xml",
            "title": "News & <more>",
            "href": "https://blog.example/feed",
        }
    ]


def test_a_feed_with_arguments_is_a_pair_and_has_the_name_of_the_site(blog: Blog) -> None:
    (link,) = draw(blog, "('feeds.beat', {'beat_id': 613})")
    assert link["href"] == "https://blog.example/beats/613/feed"
    assert (link["type"], link["title"]) == ("application/atom+xml", "Low Tide")


def test_a_feed_may_be_given_a_title(blog: Blog) -> None:
    links = draw(blog, "('feeds.beat', {'beat_id': 1}, 'Crimes'), ('feeds.latest', {}, 'News')")
    assert [each["title"] for each in links] == ["Crimes", "News"]


def test_several_feeds_and_formats_come_in_their_order(blog: Blog) -> None:
    links = draw(blog, "'feeds.several', 'feeds.latest'")
    assert [(each["href"], each["type"]) for each in links] == [
        ("https://blog.example/several?format=atom", "application/atom+xml"),
        ("https://blog.example/several?format=rss", "application/rss+xml"),
        ("https://blog.example/feed", "application/rss+xml"),
    ]
    assert [each["title"] for each in links] == ["Two formats", "Two formats", "News & <more>"]
    for link in links:
        answer = blog.app.test_client().get(link["href"])
        assert answer.content_type.partition(";")[0] == link["type"]


@pytest.mark.parametrize(
    ("endpoint", "title"),
    [
        ("feeds.instance", "News & <more>"),
        ("feeds.named", "From outside"),
        ("feeds.decorated", "News & <more>"),
        ("feeds.wrapped", "News & <more>"),
    ],
)
def test_a_feed_is_known_however_its_view_was_made(blog: Blog, endpoint: str, title: str) -> None:
    (link,) = draw(blog, repr(endpoint))
    assert link["title"] == title
    assert blog.app.test_client().get(link["href"]).status_code == 200


@pytest.mark.parametrize(
    ("endpoint", "near"),
    [("feeds.lates", " Did you mean feeds.latest?"), ("about", ""), ("nothing", "")],
)
def test_what_is_no_feed_is_refused_with_the_nearest_name(blog: Blog, endpoint: str, near: str) -> None:
    with pytest.raises(ConfigError) as raised:
        draw(blog, repr(endpoint))
    assert str(raised.value) == f"{endpoint!r} is no feed of this application.{near}"


def test_missing_arguments_are_told(blog: Blog) -> None:
    with pytest.raises(BuildError, match="beat_id"):
        draw(blog, "'feeds.beat'")


def test_without_a_base_url_the_request_says_where_the_feeds_are(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = with_feeds(blogs(sqlite_url, base_url=None))
    links = draw(blog, "'feeds.several', ('feeds.beat', {'beat_id': 1})", base_url="http://here.example:81")
    assert [each["href"] for each in links] == [
        "http://here.example:81/several?format=atom",
        "http://here.example:81/several?format=rss",
        "http://here.example:81/beats/1/feed",
    ]
    assert links[2]["title"] == "here.example:81"
    with blog.app.app_context(), pytest.raises(BaseURLMissing):
        blog.app.jinja_env.globals["linkback_feed_links"]("feeds.latest")


def test_no_feeds_are_nothing(blog: Blog) -> None:
    assert draw(blog, "") == []
