"""Webmention: requests that are taken or refused with a reason, and mentions in each kind of source."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Hashable
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.protocols.html import Found, LinkScan
from flask_linkback.protocols.webmention import (
    CONTENT_TYPE,
    NotAURL,
    ParameterMissing,
    ParameterRepeated,
    Request,
    RequestError,
    SamePage,
    Scan,
    TooLarge,
    TooLong,
    dump_request,
    is_readable,
    parse_request,
    scan_for,
)
from tests.thorough import examples, usual

SOURCE = "https://a.example/reply?a=1&b=ü"
TARGET = "https://blog.example/post"

# --- the request ------------------------------------------------------------------------------------------


def test_source_and_target_and_nothing_else() -> None:
    body = dump_request(Request(source=SOURCE, target=TARGET))
    assert parse_qs(body.decode(), strict_parsing=True) == {"source": [SOURCE], "target": [TARGET]}
    assert parse_request(body) == Request(source=SOURCE, target=TARGET)
    assert CONTENT_TYPE == "application/x-www-form-urlencoded"


def test_the_fragment_of_the_target_and_other_parameters_are_tolerated() -> None:
    body = urlencode({"vouch": "https://v.example/", "target": f"{TARGET}#part", "source": f" {SOURCE}\n"})
    assert parse_request(body.encode()) == Request(source=SOURCE, target=f"{TARGET}#part")


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({}, ParameterMissing, "The source is missing."),
        ({"source": SOURCE}, ParameterMissing, "The target is missing."),
        ({"source": "", "target": TARGET}, ParameterMissing, "The source is missing."),
        ({"source": [SOURCE, SOURCE], "target": TARGET}, ParameterRepeated, "There is more than one source."),
        ({"source": SOURCE, "target": [TARGET, "x"]}, ParameterRepeated, "There is more than one target."),
        # webmention.rocks, receive/2: each of them, and both
        ({"source": "jwoijgoiw", "target": TARGET}, NotAURL, "The source is no http or https URL."),
        ({"source": SOURCE, "target": "jwoijgoiw"}, NotAURL, "The target is no http or https URL."),
        ({"source": "jwoijgoiw", "target": "jwoij"}, NotAURL, "The source is no http or https URL."),
        (
            {"source": "mailto:joe@a.example", "target": TARGET},
            NotAURL,
            "The source is no http or https URL.",
        ),
        ({"source": "//a.example/", "target": TARGET}, NotAURL, "The source is no http or https URL."),
        (
            {"source": "https://a.example/\0", "target": TARGET},
            NotAURL,
            "The source is no http or https URL.",
        ),
        (
            {"source": "https://a.example/" + "x" * 3000, "target": TARGET},
            TooLong,
            "The source is too long.",
        ),
        ({f"f{number}": "x" for number in range(100)}, TooLarge, "The request is too large."),
        ({"x": "x" * 20_000}, TooLarge, "The request is too large."),
        ({"source": TARGET, "target": TARGET}, SamePage, "The source and the target are the same page."),
        (
            {"source": f"{TARGET}#a", "target": f"{TARGET}#b"},
            SamePage,
            "The source and the target are the same page.",
        ),
    ],
)
def test_each_refusal_has_its_sentence(fields: dict[str, str], error: type[RequestError], text: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_request(urlencode(fields, doseq=True).encode())
    assert (type(raised.value), str(raised.value)) == (error, text)


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=200))
def test_a_request_raises_nothing_else(body: bytes) -> None:
    for each in (
        body,
        b"source=" + body + b"&target=http://a/",
        b"source=http://b/" + body + b"&target=http://a/",
    ):
        with contextlib.suppress(RequestError):
            request = parse_request(each)
            assert parse_request(dump_request(request)) == request


# --- the source -------------------------------------------------------------------------------------------


def scan_of(media_type: str, document: str | bytes, *, chunk: int = 1000, charset: str | None = None) -> Scan:
    def wanted(url: str) -> Hashable | None:
        return "post" if url.partition("#")[0] == TARGET else None

    scan = scan_for(
        media_type, wanted, base_url="https://a.example/", hosts=["blog.example"], charset=charset
    )
    assert scan is not None
    data = document.encode() if isinstance(document, str) else document
    for start in range(0, len(data), chunk):
        if scan.feed(data[start : start + chunk]):
            break
    scan.close()
    return scan


def found_in(media_type: str, document: str | bytes, *, chunk: int = 1000) -> Found | None:
    return scan_of(media_type, document, chunk=chunk).found.get("post")


@pytest.mark.parametrize(
    ("media_type", "readable"),
    [
        ("", True),
        ("text/html", True),
        ("application/xhtml+xml", True),
        ("text/plain", True),
        ("application/json", True),
        ("application/activity+json", True),
        ("application/feed+json", True),
        ("text/css", False),
        ("image/png", False),
        ("application/xml", False),
    ],
)
def test_media_types_with_rules(media_type: str, readable: bool) -> None:
    assert is_readable(media_type) is readable
    assert (scan_for(media_type, str, base_url=SOURCE) is not None) is readable


def test_html_is_read_for_all_that_shows_a_page() -> None:
    for element in (
        f'<a href="{TARGET}">x</a>',
        f'<img src="{TARGET}">',
        f'<video src="{TARGET}#t"></video>',
    ):
        assert isinstance(scan_of("text/html", element), LinkScan)
        assert found_in("text/html", f"<p>{element}</p>") is not None
    assert found_in("text/html", f"<p>{TARGET}</p>") is None
    assert scan_of("", '<meta http-equiv="Status" content="410 Gone">').status == 410


FILLER = 'Lorem ipsum https://other.example/dolor sit amet, "consectetur" \\ elit.\n'


def everywhere(text: str) -> list[str]:
    """The same text alone, and far within more."""
    return [text, f"{FILLER * 3000}{text}\n{FILLER * 1000}"]


@pytest.mark.parametrize(
    "text",
    [
        TARGET,
        f"See {TARGET} there",
        f"See {TARGET}.",
        f"(see {TARGET}).",
        f"<{TARGET}>",
        f'"{TARGET}"',
        f"[post]({TARGET})",
        f"{TARGET}, and more",
        f"{TARGET}#part!",
        f"見て{TARGET}を",
        f"key={TARGET}\r\n",
        f"https://blog.example/post-2 {TARGET}",
    ],
)
def test_plain_text_holds_the_url(text: str) -> None:
    for document in everywhere(text):
        found = found_in("text/plain", document)
        assert found is not None
        assert found.url.partition("#")[0] == TARGET
        assert len(found.excerpt) <= 200
        assert TARGET in found.excerpt


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{TARGET}-2",
        f"{TARGET}/comments",
        f"{TARGET}?x=1",
        f"x{TARGET}",
        f"https://archive.example/{TARGET}",
        f"archive.example/{TARGET}",
        f"https://a.example/?u={TARGET}",
        TARGET.removeprefix("https://"),
        TARGET[:-1],
        "https://blog.example/ post",
    ],
)
def test_plain_text_holds_another_url(text: str) -> None:
    for document in everywhere(text):
        assert found_in("text/plain", document) is None


def test_the_words_round_a_url_are_those_of_its_paragraph() -> None:
    for before, after in (("", ""), (FILLER * 3000 + "\n", "\n \n" + FILLER * 1000)):
        found = found_in("text/plain", f"{before}I read\n {TARGET}, again.{after}")
        assert found == Found(url=TARGET, rels=(), text=TARGET, excerpt=f"I read {TARGET}, again.")
    found = found_in("text/plain", "word " * 1000 + TARGET + " word" * 1000)
    assert found is not None
    assert found.excerpt.startswith("…")
    assert found.excerpt.endswith("…")


@pytest.mark.parametrize(
    "value",
    [
        TARGET,
        [TARGET],
        {"target": TARGET},
        {"items": [{"properties": {"in-reply-to": [TARGET], "name": ['say "hi"\\']}}]},
        {"a": f"{TARGET}#part", TARGET: 1},
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_holds_the_url_as_a_value(value: object, ascii_only: bool) -> None:
    for document in (value, {"before": [FILLER] * 3000, "x": value, "after": [FILLER] * 1000}):
        for indent in (None, 2):
            written = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
            for text in (written, written.replace("/", "\\/"), written.replace("blog", "bl\\u006fg")):
                found = found_in("application/json", text)
                assert found is not None
                assert found.url.partition("#")[0] == TARGET


@pytest.mark.parametrize(
    "value",
    [
        {TARGET: 1},
        f"See {TARGET}",
        f"{TARGET}-2",
        f'"{TARGET}"',
        f"{TARGET}\\",
        ["x", None, 1.5],
        "x" * 100_000 + TARGET,
        f'{"x" * 100_000}", "{TARGET}',
    ],
)
def test_json_holds_the_url_otherwise(value: object) -> None:
    for document in (value, {"before": [FILLER] * 3000, "x": value}):
        assert found_in("application/json", json.dumps(document)) is None


def test_json_behind_a_long_string_and_cut_off() -> None:
    for chunk in (1, 1000, 200_000):
        for long in ("x" * 70_000, "\\" * 70_001, '"' * 70_003, "é" * 40_000):
            text = json.dumps([long, TARGET, "x"], ensure_ascii=False)
            assert found_in("application/json", text, chunk=chunk) is not None
            assert found_in("application/json", text[:-3], chunk=chunk) is not None
            assert found_in("application/json", text[: -len(TARGET)], chunk=chunk) is None


def test_json_deeper_than_any_reader_goes() -> None:
    assert found_in("application/json", "[" * 200_000 + f'"{TARGET}"' + "]" * 200_000) is not None


@pytest.mark.parametrize("media_type", ["text/plain", "application/json"])
def test_one_is_enough_and_another_encoding_is_read(media_type: str) -> None:
    document = json.dumps([TARGET])
    scan = scan_for(media_type, lambda url: url, base_url=SOURCE, stop_when=1)
    assert scan is not None
    assert scan.feed((document + " " * 40_000).encode())
    encoded = document.encode("utf-16")
    assert "post" in scan_of(media_type, encoded).found
    assert "post" in scan_of(media_type, document.encode("utf-16-be"), charset="utf-16be").found


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    TEXTS | st.just(TARGET) | st.none() | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.just(TARGET), inner, max_size=4),
    max_leaves=20,
)


def strings_of(value: object) -> list[str]:
    if isinstance(value, list):
        return [each for item in value for each in strings_of(item)]
    if isinstance(value, dict):
        return strings_of(list(value.values()))
    return [value] if isinstance(value, str) else []


@settings(max_examples=examples(200), deadline=None)
@given(VALUES, st.booleans(), st.sampled_from([7, 40, 1000]))
def test_json_agrees_with_a_parser(value: object, ascii_only: bool, size: int) -> None:
    document = json.dumps(value, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_linkback.protocols.webmention._PIECE_BYTES", size)
        patch.setattr("flask_linkback.protocols.html._SNIFFED_BYTES", 1)
        found = found_in("application/json", document, chunk=13)
    # a string that is longer than a piece is passed over
    if size > len(TARGET) + 3:
        assert (found is not None) == (TARGET in strings_of(value))


@settings(max_examples=examples(150), deadline=None)
@given(
    st.lists(st.sampled_from(('"', "\\", "\\u", "d800", ":", " ", "http", "s://", "x", ".", "é", TARGET))),
    st.binary(max_size=50),
    st.sampled_from(["", "text/plain", "application/json"]),
    st.integers(0, 30),
)
def test_a_source_raises_nothing(pieces: list[str], more: bytes, media_type: str, length: int) -> None:
    scan = scan_for(media_type, lambda url: url, base_url=SOURCE, excerpt_length=length, stop_when=None)
    assert scan is not None
    scan.feed("".join(pieces).encode())
    scan.feed(more)
    scan.close()
    assert all(len(each.excerpt) <= length for each in scan.found.values())
    assert all(str(key).encode() for key in scan.found)


@pytest.mark.parametrize("media_type", ["text/plain", "application/json"])
@pytest.mark.parametrize(
    "unit",
    [
        *('"', '\\"', '"\\', '"\\"', "https://", "https://blog.example/.", "https://blog.example/x)))) "),
        *('"https://blog.example/"', '"https:\\/\\/blog.example/",', "\\", " ", ":", "\n\n", "é", "\0"),
    ],
)
def test_hostile_sources_cost_little(media_type: str, unit: str) -> None:
    data = (unit * ((1 << 20) // len(unit.encode()))).encode()
    started = time.process_time()
    scan = scan_for(
        media_type,
        lambda url: url,
        base_url=SOURCE,
        hosts=["blog.example"],
        stop_when=None,
        excerpt_length=5000,
    )
    assert scan is not None
    for start in range(0, len(data), 4096):
        scan.feed(data[start : start + 4096])
    scan.close()
    assert usual(time.process_time() - started) < 1
    assert len(scan.found) <= 1000
