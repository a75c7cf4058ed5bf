"""Metadata: what a page says of itself, in whatever words, is found once and in bounded time."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.protocols.html import parse
from flask_linkback.protocols.metadata import Article, Metadata, Person, read_json_ld
from tests.thorough import examples, usual


class Target(Metadata):
    def close(self) -> None:
        """Called by lxml."""


def metadata_of(page: str) -> Metadata:
    target = Target()
    parse(page.encode(), target)
    return target


def article_of(*documents: Any) -> Article:
    return read_json_ld([json.dumps(document) for document in documents])


def test_the_head_of_a_page() -> None:
    found = metadata_of(
        '<title> A page — Site </title><title>No</title><meta property="og:title" content="A page">'
        '<meta property="og:title" content="No"><meta name="Author" content="Ann">'
        '<meta property="article:author" content="https://social.example/ann">'
        '<meta property="article:published_time" content="2026-11-20T10:00:00Z">'
        '<base href="/dir/"><base href="/no/"><link rel="canonical" href="/a"><link rel="author" href="/ann">'
    )
    assert (found.title, found.published, found.url, found.base) == (
        "A page",
        "2026-11-20T10:00:00Z",
        "/a",
        "/dir/",
    )
    assert found.author == Person(name="Ann", url="/ann")


@pytest.mark.parametrize(
    ("page", "author"),
    [
        ('<meta name=author content="Ann">', Person(name="Ann")),
        ('<meta name=author content="https://ann.example/">', Person(url="https://ann.example/")),
        ('<meta property=article:author content="https://a.example/">', Person(url="https://a.example/")),
        ('<p>By <a rel="nofollow AUTHOR" href="/ann"> Ann </a>.', Person(name="Ann", url="/ann")),
        ('<a rel="author">Ann</a><link rel="author">', Person()),
        ('<meta name="author">', Person()),
    ],
)
def test_authors(page: str, author: Person) -> None:
    assert metadata_of(page).author == author


def test_titles() -> None:
    assert metadata_of("<title>A</title>").title == "A"
    assert metadata_of('<meta name="twitter:title" content="B"><title>A</title>').title == "B"
    assert metadata_of("").title == ""


def test_json_ld_of_a_page() -> None:
    found = metadata_of(
        '<script type="application/ld+json">{"@type": "BlogPosting", "headline": "It&#8217;s",'
        ' "datePublished": "2026-11-20", "author": {"@type": "Person", "name": "Ann",'
        ' "url": "https://ann.example/", "image": "/ann.png"}}</script><title>No</title>'
        '<meta name="author" content="No">'
    )
    assert (found.title, found.published) == ("It\u2019s", "2026-11-20")
    assert found.author == Person(name="Ann", url="https://ann.example/", photo="/ann.png")


def test_json_ld_in_a_graph() -> None:
    graph = [
        {"@type": "WebSite", "name": "Site"},
        {
            "@type": ["Article", "X"],
            "headline": ["Head"],
            "author": {"name": "Ann", "@id": "#ann"},
            "datePublished": {"@type": "Date", "@value": "2026-11-20"},
        },
        {"@type": "Person", "@id": "#ann", "name": "Ann Other", "url": ["/ann"], "image": {"@id": "#photo"}},
        {"@type": "ImageObject", "@id": "#photo", "contentUrl": "/ann.png"},
    ]
    expected = Article(
        title="Head",
        published="2026-11-20",
        author=Person(name="Ann", url="/ann", photo="/ann.png"),
    )
    assert article_of({"@context": "https://schema.org", "@graph": graph}) == expected
    assert article_of(graph) == expected
    assert article_of(*graph) == expected


@pytest.mark.parametrize(
    ("author", "person"),
    [
        ("Ann", Person(name="Ann")),
        ("https://ann.example/", Person(url="https://ann.example/")),
        ([{"name": "Ann"}, {"name": "Bob"}], Person(name="Ann")),
        (
            {"@type": "Organization", "name": "We", "image": {"url": "/we.png"}},
            Person(name="We", photo="/we.png"),
        ),
        ({"@id": "#nobody"}, Person()),
        *((odd, Person()) for odd in (None, 1, [], {}, [[]], {"name": 1, "url": {}, "image": [[1]]})),
    ],
)
def test_json_ld_authors(author: Any, person: Person) -> None:
    assert article_of({"@type": "Article", "author": author}).author == person


@pytest.mark.parametrize(
    "script",
    [
        "",
        "{",
        "null",
        '"x"',
        "[" * 60_000,
        '{"@graph":' * 10_000,
        "9" * 60_000,
        "[1e999, NaN]",
        '{"@type": 1}',
    ],
)
def test_json_ld_that_is_none(script: str) -> None:
    assert read_json_ld([script]) == Article()


def test_json_ld_is_bounded() -> None:
    started = time.thread_time()
    nested: Any = {"@type": "Article", "headline": "deep"}
    for _ in range(300):
        nested = {"@graph": [nested]}
    assert article_of(nested).title == "deep"
    assert article_of([{}] * 600, {"@type": "Article", "headline": "far"}).title == ""
    assert article_of({"@graph": [{"@type": "Article", "headline": "x" * 10_000}] * 9}).title == "x" * 3000
    metadata_of('<script type="application/ld+json">[' + "{}," * 20_000 + "{}]</script>" * 20)
    assert usual(time.thread_time() - started) < 1


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.sampled_from(["Article", "#a"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["@type", "@id", "@graph", "author", "image", "name", "url", "headline"]), inner
        )
    ),
    max_leaves=30,
)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(JSON, max_size=3))
def test_json_ld_never_raises(documents: list[Any]) -> None:
    assert isinstance(article_of(*documents), Article)
