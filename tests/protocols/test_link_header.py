"""Link header: RFC 8288 as it is written, and as it is met."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.protocols import link_header
from flask_linkback.protocols.link_header import Link
from tests.thorough import examples, usual


def links(*values: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(link.url, link.rels) for link in link_header.parse(values)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("</a>; rel=x", [("/a", ("x",))]),
        ('</a>; rel="x"', [("/a", ("x",))]),
        ('<https://h.example/a>;rel="x  Y"', [("https://h.example/a", ("x", "y"))]),
        ("</a>; REL=WebMention", [("/a", ("webmention",))]),
        ("</a>; rel = x ; title=t", [("/a", ("x",))]),
        ("<a,b;c>; rel=x, <d>; rel=y", [("a,b;c", ("x",)), ("d", ("y",))]),
        ('<a>; title="b, <c>; rel=no"; rel=x', [("a", ("x",))]),
        ('<a>; title="q\\"; rel=no"; rel=x', [("a", ("x",))]),
        ("<a>; rel=x; rel=y", [("a", ("x",))]),
        ("<>; rel=self", [("", ("self",))]),
        ("< /a >; rel=x", [("/a", ("x",))]),
        ("<a>", [("a", ())]),
        ("<a>;", [("a", ())]),
        ("<a>; rel", [("a", ())]),
        ("<a>;;; rel=x;,,<b>;rel=y", [("a", ("x",)), ("b", ("y",))]),
        ("junk, <a>; rel=x", [("a", ("x",))]),
        ('junk "<no>" , <a>; rel=x', [("a", ("x",))]),
        ("<a> junk; rel=x", [("a", ("x",))]),
        ('<a>; rel="x', [("a", ("x",))]),
        ("<a", []),
        ("", []),
        (",,;;", []),
    ],
)
def test_reading(value: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    assert links(value) == expected


def test_several_headers_keep_their_order() -> None:
    assert links("<a>; rel=x", "", "<b>; rel=y, <c>; rel=z") == [("a", ("x",)), ("b", ("y",)), ("c", ("z",))]


def test_parameters() -> None:
    (link,) = link_header.parse(['<a>; rel=self; Type="text/html"; title="a \\"b\\""; x; media=; type=no'])
    assert link == Link(
        url="a",
        rels=("self",),
        params={"rel": "self", "type": "text/html", "title": 'a "b"', "x": "", "media": ""},
    )


def test_no_more_than_anybody_needs() -> None:
    assert len(link_header.parse(["<a>;rel=x, " * 1000] * 60)) <= link_header.MAX_LINKS
    (link,) = link_header.parse(["<a>" + "".join(f";p{n}=1" for n in range(1000))])
    assert len(link.params) == link_header.MAX_PARAMS


TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=8)
URL = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="<>"), max_size=20)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(URL, st.lists(TOKEN, max_size=3, unique=True), st.text(max_size=10)), max_size=5))
def test_round_trip(written: list[tuple[str, list[str], str]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    value = ", ".join(
        f'<{url}>; title={quoted(title)}; rel="{" ".join(rels)}"' for url, rels, title in written
    )
    read = link_header.parse([value])
    assert [(link.url, list(link.rels), link.params["title"]) for link in read] == written


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.text('<>;,="\\ arel\n\t\xa0', max_size=60) | st.text(), max_size=3))
def test_never_raises(values: list[str]) -> None:
    link_header.parse(values)


@pytest.mark.parametrize(
    "unit", ["<a>;", '\\"', '"\\', "<", '"', ";", " ", '<a>" ;', '<a>;a="', ",<a> x", "<a>;x="]
)
def test_linear_time(unit: str) -> None:
    started = time.thread_time()
    link_header.parse([unit * 20_000] * 100)
    link_header.parse(["<a>" + unit * 20_000] * 100)
    assert usual(time.thread_time() - started) < 1
