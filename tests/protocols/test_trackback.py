"""Trackback: pings of all ages, answers of all kinds, and a block of RDF that stays in its comment."""

from __future__ import annotations

import contextlib
import time
from urllib.parse import parse_qs, quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from flask_linkback.protocols import trackback
from flask_linkback.protocols.text import plain
from flask_linkback.protocols.trackback import (
    BadURL,
    Ping,
    PingError,
    Response,
    TooLarge,
    URLMissing,
    dump_ping,
    dump_rdf,
    dump_response,
    parse_ping,
    parse_response,
)
from flask_linkback.protocols.xml import Malformed
from tests.thorough import examples, usual

URL = "https://a.example/post?a=1&b=2"

# --- the ping ---------------------------------------------------------------------------------------------


def form(**fields: bytes) -> bytes:
    return "&".join(f"{name}={quote_from_bytes(value)}" for name, value in fields.items()).encode()


def test_a_ping_with_all_and_one_with_the_least() -> None:
    whole = Ping(url=URL, title="Títle", excerpt="Words & more", blog_name="A's")
    assert parse_ping(dump_ping(whole)) == whole
    assert parse_ping(dump_ping(Ping(url=URL))) == Ping(url=URL)
    assert parse_qs(dump_ping(Ping(url=URL)).decode()) == {"url": [URL]}
    assert trackback.CONTENT_TYPE == "application/x-www-form-urlencoded; charset=utf-8"


@pytest.mark.parametrize(
    ("said", "field", "value", "title"),
    [
        ("utf-8", b"", "é".encode(), "é"),
        (None, b"", "é".encode(), "é"),
        (None, b"", b"caf\xe9 \x80", "café €"),
        ("iso-8859-1", b"", b"caf\xe9", "café"),
        (None, b"ISO-8859-1", b"caf\xe9", "café"),
        (None, b"shift_jis", "日本".encode("shift_jis"), "日本"),
        ("utf-8", b"shift_jis", "日本".encode(), "日本"),
        ("utf-7", b"", b"+ADw-script+AD4- caf\xe9", "+ADw-script+AD4- caf\ufffd"),
        (None, b"UTF-7", b"+ADw-b+AD4-", "+ADw-b+AD4-"),
        (None, b"unicode_escape", b"\\x41", "\\x41"),
        (None, b"no such thing \xff", b"x", "x"),
    ],
)
def test_charsets(said: str | None, field: bytes, value: bytes, title: str) -> None:
    body = form(url=URL.encode(), title=value, charset=field)
    assert parse_ping(body, charset=said).title == title


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", URLMissing),
        (b"title=x", URLMissing),
        (b"url=", URLMissing),
        (b"url=+", URLMissing),
        (b"url=foo", BadURL),
        (b"url=javascript:alert(1)", BadURL),
        (b"url=//a.example/", BadURL),
        (b"url=https://a.example/%00", BadURL),
        (b"url=https://a.example/" + b"x" * 3000, BadURL),
        (b"url=https://a.example/&title=" + b"x" * 200_000, TooLarge),
        (b"&".join(b"f%d=x" % number for number in range(100)), TooLarge),
    ],
)
def test_each_refusal_has_its_sentence(body: bytes, error: type[PingError]) -> None:
    with pytest.raises(error) as raised:
        parse_ping(body)
    assert 0 < len(str(raised.value)) <= 200
    assert str(raised.value).endswith(".")


def test_the_first_of_several_values_counts() -> None:
    assert parse_ping(b"url=https://a.example/1&url=https://a.example/2").url == "https://a.example/1"


def test_what_strangers_write_is_text_and_short() -> None:
    markup = b"<p>Fish &amp; <b>chips</b><script>alert(1)</script>&lt;b&gt;\x00\xe2\x80\xae [&#8230;]</p>"
    ping = parse_ping(form(url=URL.encode(), excerpt=markup, title=b"t" * 2000, blog_name=b"<br>" * 2000))
    assert ping.excerpt == "Fish & chips<b>\ufffd […]"
    assert ping.title == "t" * 299 + "…"
    assert ping.blog_name == ""
    assert len(parse_ping(form(url=URL.encode(), excerpt=b"x " * 10_000)).excerpt) <= 1000


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="<&"), max_size=30
).filter(lambda text: plain(text) == text)


@settings(max_examples=examples(100), deadline=None)
@given(WORDS, WORDS, WORDS)
def test_round_trip(title: str, excerpt: str, blog_name: str) -> None:
    ping = Ping(url=URL, title=title, excerpt=excerpt, blog_name=blog_name)
    assert parse_ping(dump_ping(ping)) == ping


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=200), st.text(max_size=20) | st.none(), st.binary(max_size=20))
def test_a_ping_raises_nothing_else(body: bytes, charset: str | None, field: bytes) -> None:
    for each in (body, form(url=URL.encode(), title=body, excerpt=body, charset=field)):
        with contextlib.suppress(PingError):
            ping = parse_ping(each, charset=charset)
            assert len(ping.title) <= 300
            assert len(ping.excerpt) <= 1000


@pytest.mark.parametrize(
    "unit", [b"&", b"=", b"%", b"title=&", b"<b>", b"<b>" * 9 + b"</i>", b"&lt;", b"\xff"]
)
def test_hostile_pings_cost_little(unit: bytes) -> None:
    body = unit * (60_000 // len(unit))
    started = time.thread_time()
    for each in (body, form(url=URL.encode(), excerpt=body[:20_000])):
        with contextlib.suppress(PingError):
            parse_ping(each)
    assert usual(time.thread_time() - started) < 0.5


# --- the answer -------------------------------------------------------------------------------------------


def test_the_answers_of_the_specification() -> None:
    assert dump_response() == (
        b'<?xml version="1.0" encoding="utf-8"?>\n<response>\n<error>0</error>\n</response>\n'
    )
    assert dump_response("No <such> page.") == (
        b'<?xml version="1.0" encoding="utf-8"?>\n<response>\n<error>1</error>\n'
        b"<message>No &lt;such&gt; page.</message>\n</response>\n"
    )


@pytest.mark.parametrize(
    ("body", "response"),
    [
        (b"<response><error>0</error></response>", Response(ok=True)),
        (
            b"\xef\xbb\xbf\r\n <?xml version='1.0'?>\n<response><error> 0 </error></response>\n",
            Response(ok=True),
        ),
        (b"<response><error>0</error><rss version='0.91'><channel/></rss></response>", Response(ok=True)),
        (b"<RESPONSE><Error>1</Error><Message>No.</Message></RESPONSE>", Response(ok=False, message="No.")),
        (b"<Response><error>0</error></response>", Response(ok=True)),
        (b"<response xmlns='x'><error>0</error></response>", Response(ok=True)),
        (b"<response><error>1</error></response>", Response(ok=False)),
        (b"<response><error></error></response>", Response(ok=False)),
        (b"<response><error>403</error><message>x", Response(ok=False, message="x")),
        (
            b"<br><b>Warning</b>: x\n<response><error>1</error><message>A &amp; b</message></response>",
            Response(ok=False, message="A & b"),
        ),
        (
            b"<response><error>1</error><message>No & &eacute; <br> now</message></response>",
            Response(ok=False, message="No & é now"),
        ),
        (
            b"<response><message><![CDATA[<b>No</b> more]]></message><error>1</error></response>",
            Response(ok=False, message="No more"),
        ),
        (
            b"<?xml version='1.0' encoding='latin1'?><response><error>1</error><message>\xe9",
            Response(ok=False, message="é"),
        ),
        (
            b"<response><error>1</error><message>" + b"x" * 9000 + b"</message></response>",
            Response(ok=False, message="x" * 499 + "…"),
        ),
    ],
)
def test_answers_as_they_are_met(body: bytes, response: Response) -> None:
    assert parse_response(body) == response


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"<html><body>Not found</body></html>",
        b"<!DOCTYPE html><title>Oops</title>",
        b"<!DOCTYPE x [<!ENTITY e 'x'>]><response><error>0</error><message>&e;</message></response>",
        b"<!doctype html><response><error>0</error></response>",
        b"<responses><error>0</error></responses>",
        b"<response></response>",
        b"<response><message>x</message></response>",
        b"<response><error>0</error></response>" + b" " * 70_000,
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse_response(body)


@settings(max_examples=examples(100), deadline=None)
@given(WORDS)
def test_an_answer_comes_back(message: str) -> None:
    assert parse_response(dump_response(message)) == Response(ok=False, message=message)


PIECES = st.sampled_from(
    [
        *(
            "<response>",
            "</response>",
            "<error>",
            "</error>",
            "<message>",
            "</message>",
            "0",
            "1",
            "&",
            "&#0;",
        ),
        *("<RESPONSE", ">", "<![CDATA[", "]]>", "<!--", "-->", "<!DOCTYPE", "<?xml ", "?>", "é", "\x00", " "),
    ]
)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(PIECES, max_size=20), st.binary(max_size=20), st.text(max_size=10) | st.none())
def test_an_answer_raises_nothing_else(pieces: list[str], more: bytes, charset: str | None) -> None:
    body = "".join(pieces).encode()
    for each in (body, body + more, more, b"<response><error>" + body, b"<response><error>1</error>" + body):
        with contextlib.suppress(Malformed):
            assert isinstance(parse_response(each, charset=charset), Response)


@pytest.mark.parametrize(
    "unit", ["<response>", "<error>", "<message", "<message ", "</message", "<!--", "<b>"]
)
def test_hostile_answers_cost_little(unit: str) -> None:
    started = time.thread_time()
    for start in ("", "<response><error>1</error><message>"):
        with contextlib.suppress(Malformed):
            parse_response((start + unit * (60_000 // len(unit))).encode())
    assert usual(time.thread_time() - started) < 0.5


# --- the block of RDF -------------------------------------------------------------------------------------

NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "trackback": "http://madskills.com/public/xml/rss/module/trackback/",
}


def test_the_block_is_rdf_in_a_comment() -> None:
    block = dump_rdf(URL, "A \"title\" -- <i>'so'</i> -->", "https://a.example/tb/1?x--y")
    assert block.startswith("<!--\n<rdf:RDF ")
    assert block.endswith("</rdf:RDF>\n-->")
    (description,) = etree.fromstring(block.removeprefix("<!--").removesuffix("-->").strip())
    assert description.tag == f"{{{NAMES['rdf']}}}Description"
    assert description.attrib == {
        f"{{{NAMES['rdf']}}}about": URL,
        f"{{{NAMES['dc']}}}identifier": URL,
        f"{{{NAMES['dc']}}}title": "A \"title\" -- <i>'so'</i> -->",
        f"{{{NAMES['trackback']}}}ping": "https://a.example/tb/1?x--y",
    }


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.sampled_from(("-", "--", ">", "!", "<", '"', "&", "\x00", "\r", "x", "{", "}"))))
def test_the_comment_ends_where_it_should(pieces: list[str]) -> None:
    value = "".join(pieces)
    block = dump_rdf(value, value, value)
    inside = block.removeprefix("<!--").removesuffix("-->")
    assert "--" not in inside
    (description,) = etree.fromstring(inside.strip())
    assert description.get(f"{{{NAMES['dc']}}}title") == value.replace("\x00", "")
