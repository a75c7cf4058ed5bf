"""Text: what deceives or disturbs is gone, and what people write stays."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_linkback.protocols.text import is_address, line, paragraphs, plain
from tests.thorough import usual

UNWANTED = (
    "\0\x01\x08\x0e\x7f\x9f\xad\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2069"
)


@pytest.mark.parametrize("character", [*UNWANTED, "\ufeff", "\ud800", "\ufffe", "\U000e0041"])
def test_control_characters_and_overrides_are_gone(character: str) -> None:
    assert plain(f"a{character}b{character}") == "ab"


@pytest.mark.parametrize(
    "text",
    [
        *("👍", "❤️", "👩‍👩‍👧", "🏳️‍🌈", "👋🏽", "🇩🇪", "1️⃣"),
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # the flag of England
        *("می‌خواهم", "שלום עולם", "مرحبا", "葛\U000e0100城", "क्‍ष", "Việt Nam", "Z\u0301\u0323"),
        *("<b>no markup</b> & more", "O'Brien", "한국어"),
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert plain(text) == text
    assert line(text, 100) == paragraphs(text, 100) == text


def test_what_has_no_width_does_not_pile_up() -> None:
    assert plain("\u200d\u200da\u200d\u200d\u200db \u200cc\u200c") == "a\u200db c"
    assert plain("e" + "\u0301" * 50 + "x") == "e" + "\u0301" * 4 + "x"
    assert plain("☺" + "\ufe0f" * 50) == "☺\ufe0f"
    assert line("\u2800\u3164\uffa0\u115f\u200b\u200d", 100) == ""
    assert plain("\U0001f3f4" + "\U000e0067" * 50) == "\U0001f3f4"


def test_a_line_is_one_line() -> None:
    assert line(" a\r\n\tb\u2028c\u0085d\x0be  ", 100) == "a b c d e"
    assert line("abc def", 7) == "abc def"
    assert line("abc def", 6) == "abc d…"
    assert line("abc def", 5) == "abc…"
    assert [line("abc", limit) for limit in (0, 1, 2)] == ["", "…", "a…"]
    assert line("👩‍👩‍👧", 4) == "👩‍👩…"


def test_paragraphs_are_lines() -> None:
    assert paragraphs("\n\n a  b \r\n\r\n\tc\u2029d\n \u200b \n", 100) == "a b\nc\nd"
    assert paragraphs("ab\ncd", 4) == "ab…"


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        " JavaScript:1",
        "data:text/html,x",
        "https://x.example/",
        "gopher://x",
        "mailto:a@b",
    ],
)
def test_what_begins_like_a_url_is_an_address(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text", ["", "Ann", "Team: Blue", "ann.example", "Data", "Ann (https://ann.example/)"]
)
def test_what_may_be_a_name_is_none(text: str) -> None:
    assert not is_address(text)


@given(st.text(max_size=300), st.integers(0, 50))
def test_laws(text: str, limit: int) -> None:
    assert len(line(text, limit)) <= limit
    assert len(paragraphs(text, limit)) <= limit
    assert "\n" not in line(text, limit)
    assert all(one.strip() for one in paragraphs(text, limit).split("\n")) or not paragraphs(text, limit)
    clean = line(text, limit) + paragraphs(text, limit)
    assert all(unicodedata.bidirectional(one) not in ("LRE", "RLE", "LRO", "RLO", "PDF") for one in clean)
    clean.encode()


@pytest.mark.parametrize("piece", ["\u200d", "\u0301", "\ufe0f", "\U000e0067", "\u202e", "\n", "a\u200d"])
def test_no_text_takes_long(piece: str) -> None:
    started = time.thread_time()
    for around in ("x{}x", "\U0001f3f4{}"):
        plain(around.format(piece * 200_000))
        paragraphs(around.format(piece * 200_000), 100_000)
    assert usual(time.thread_time() - started) < 1.5
