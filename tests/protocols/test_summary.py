"""Summary: the title and the first words of a page."""

from __future__ import annotations

import time

import pytest

from flask_linkback.protocols.summary import MAX_EXCERPT_CHARACTERS, summarise


@pytest.mark.parametrize(
    ("markup", "title", "excerpt"),
    [
        ("", "", ""),
        ("<title>A &amp; b</title>", "A & b", ""),
        ("<title>The site</title><h1>A  <i>post</i></h1>Text", "A post", "Text"),
        ("<h2>Two</h2><h1>One</h1>", "Two", "One"),
        ("<h1> </h1><h2>Two</h2>", "Two", ""),
        ("<nav>Home</nav><p>One<br>line.</p>and<p>Two.</p>", "", "One line. Two."),
        ("No <b>paragraph</b>", "", "No paragraph"),
        ("<p>a<script>no()</script><style>no</style><template>no</template> b</p>", "", "a b"),
        ("<svg><title>no</title></svg><p>x", "no", "x"),
        ("<p>\u202egnihton</p>", "", "gnihton"),
        (b"<p>f\xf6x</p>", "", "föx"),
    ],
)
def test_what_a_page_says(markup: str | bytes, title: str, excerpt: str) -> None:
    summary = summarise(markup)
    assert (summary.title, summary.excerpt) == (title, excerpt)


def test_long_texts_are_cut() -> None:
    summary = summarise(f"<h1>{'t' * 9999}</h1><p>{'word ' * 9999}</p>")
    assert len(summary.title) == 300
    assert len(summary.excerpt) <= MAX_EXCERPT_CHARACTERS
    assert summary.excerpt.endswith("…")


def test_no_more_is_read_than_needed() -> None:
    page = "<h1>A post</h1>" + "<p>Some words, and more.</p>" * 400_000
    began = time.perf_counter()
    assert summarise(page).title == "A post"
    assert time.perf_counter() - began < 2
