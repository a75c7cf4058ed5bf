"""Pingback: its faults and its discovery."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.protocols import pingback
from flask_linkback.protocols.pingback import FaultCode
from tests.thorough import examples, usual

LINK = b'<link rel="pingback" href="https://b.example/rpc">'


def test_the_codes_of_the_specification() -> None:
    assert {int(code) for code in FaultCode} == {
        *(0, 16, 17, 32, 33, 48, 49, 50),
        *(-32700, -32600, -32601, -32602, -32603),
    }


@pytest.mark.parametrize("code", FaultCode)
def test_each_code_has_a_sentence(code: FaultCode) -> None:
    fault = pingback.fault(code, retry_after=7)
    assert (fault.code, fault.message, fault.retry_after) == (int(code), code.message, 7)
    assert 0 < len(fault.message) <= 200
    assert fault.message.endswith(".")
    assert type(fault.code) is int


def test_p16_header_goes_before_element() -> None:
    assert pingback.find_server(["https://a.example/rpc"], LINK) == "https://a.example/rpc"


def test_first_header_that_is_not_empty() -> None:
    assert (
        pingback.header_server(["", "  ", " https://a.example/1 ", "https://a.example/2"])
        == "https://a.example/1"
    )
    assert pingback.header_server([]) is None
    assert pingback.find_server(["", " "], LINK) == "https://b.example/rpc"


@pytest.mark.parametrize("end", [b">", b" >", b"/>", b" />"])
def test_p16_the_exact_form(end: bytes) -> None:
    body = b"<html><head>" + LINK[:-1] + end
    assert pingback.find_server([], body) == "https://b.example/rpc"


@pytest.mark.parametrize(
    "body",
    [
        b'<link href="https://b.example/rpc" rel="pingback">',
        b"<link rel='pingback' href='https://b.example/rpc'>",
        b'<LINK rel="pingback" href="https://b.example/rpc">',
        b'<link rel="pingback"  href="https://b.example/rpc">',
        b'<link rel="pingback" href="https://b.example/rpc"  >',
        b'<link rel="pingback" href="">',
        b'<a rel="pingback" href="https://b.example/rpc">',
    ],
)
def test_no_other_form(body: bytes) -> None:
    assert pingback.find_server([], body) is None


def test_p16_only_the_first_512_kib() -> None:
    room = pingback.MAX_SEARCH_BYTES - len(LINK)
    assert pingback.find_server([], b" " * room + LINK) == "https://b.example/rpc"
    assert pingback.find_server([], b" " * (room + 1) + LINK) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"?a=1&amp;b=2", "?a=1&b=2"),
        (b"?&lt;&gt;&quot;&amp;", '?<>"&'),
        (b"?&amp;lt;", "?&lt;"),
        (b"?&amp;amp;", "?&amp;"),
        (b"?&eacute;&#38;&apos;", "?&eacute;&#38;&apos;"),
    ],
)
def test_four_entities_once(written: bytes, meant: str) -> None:
    body = LINK.replace(b"/rpc", b"/rpc" + written)
    assert pingback.element_server(body) == "https://b.example/rpc" + meant


def test_any_charset_that_keeps_ascii() -> None:
    for charset in ("utf-8", "latin-1", "shift_jis", "euc-jp", "big5"):
        page = "<title>".encode(charset, "replace") + b"\xe9\xff\x83" + LINK
        assert pingback.find_server([], page) == "https://b.example/rpc"


@pytest.mark.parametrize(
    "url", ["/rpc", "rpc", "//b.example/rpc", "ftp://b.example/", "http://", "http://[", "http:x"]
)
def test_a_server_that_is_not_absolute_counts_as_absent(url: str) -> None:
    assert not pingback.is_absolute(url)
    assert pingback.find_server([url], LINK) == "https://b.example/rpc"
    assert pingback.find_server([], LINK.replace(b"https://b.example/rpc", url.encode())) is None


@pytest.mark.parametrize(
    "url", ["https://b.example/a b", "https://b.example/\n", "https://b.example/" + "x" * 3000]
)
def test_no_strange_urls(url: str) -> None:
    assert not pingback.is_absolute(url)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.text(), max_size=3), st.binary(), st.binary())
def test_never_raises(headers: list[str], before: bytes, inside: bytes) -> None:
    for body in (before, before + b'<link rel="pingback" href="' + inside + b'">'):
        found = pingback.find_server(headers, body)
        assert found is None or pingback.is_absolute(found)


def test_hostile_pages_cost_little() -> None:
    started = time.thread_time()
    for unit in (b'<link rel="pingback" href="', b"<link ", b'<link rel="pingback" href="x"'):
        assert pingback.find_server([], unit * 100_000) is None
    assert usual(time.thread_time() - started) < 1
