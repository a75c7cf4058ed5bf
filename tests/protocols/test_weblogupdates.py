"""weblogUpdates: what a directory is told, and all the ways in which directories say yes and no."""

from __future__ import annotations

import contextlib
import xmlrpc.client
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from flask_linkback.protocols import xmlrpc as ours
from flask_linkback.protocols.weblogupdates import (
    MAX_MESSAGE_CHARACTERS,
    MAX_NAME_CHARACTERS,
    Listed,
    Ping,
    PingError,
    Result,
    dump_changes,
    dump_extended_ping,
    dump_ping,
    make_ping,
    parse_form,
    parse_response,
)
from flask_linkback.protocols.xml import Malformed
from tests.thorough import examples

HOME, POST, FEED = "https://b.example/", "https://b.example/post", "https://b.example/feed"


def answer(members: str) -> bytes:
    struct = f"<struct>{members}</struct>"
    return (
        f"<methodResponse><params><param><value>{struct}</value></param></params></methodResponse>".encode()
    )


def member(name: str, value: str) -> str:
    return f"<member><name>{name}</name><value>{value}</value></member>"


def test_p21_a_plain_ping() -> None:
    params, method = xmlrpc.client.loads(dump_ping("Bü & Co", HOME))
    assert (method, params) == ("weblogUpdates.ping", ("Bü & Co", HOME))


def test_p21_an_extended_ping_has_four_arguments() -> None:
    params, method = xmlrpc.client.loads(dump_extended_ping("B", HOME, POST, FEED))
    assert (method, params) == ("weblogUpdates.extendedPing", ("B", HOME, POST, FEED))


def test_tags_are_a_fifth_argument() -> None:
    params, _ = xmlrpc.client.loads(dump_extended_ping("B", HOME, POST, FEED, tags=["a", "b|c"]))
    assert params == ("B", HOME, POST, FEED, "a|b c")


@pytest.mark.parametrize("name", ["flerror", "flError", "FLERROR"])
@pytest.mark.parametrize(
    ("value", "ok"),
    [
        ("<boolean>0</boolean>", True),
        ("<boolean>1</boolean>", False),
        ("<int>0</int>", True),
        ("<i4>1</i4>", False),
        ("<double>0</double>", True),
        ("0", True),
        (" 0 ", True),
        ("1", False),
        ("<string>false</string>", True),
        ("<string>True</string>", False),
        ("<string></string>", True),
        ("<string>no such site</string>", False),
        ("<nil/>", True),
    ],
)
def test_p21_flerror_in_each_spelling(name: str, value: str, ok: bool) -> None:
    assert parse_response(answer(member(name, value) + member("message", "Thanks."))) == Result(
        ok=ok, message="Thanks."
    )


@pytest.mark.parametrize(
    ("members", "result"),
    [
        ("", Result(ok=True, message="")),
        (member("message", "Thanks."), Result(ok=True, message="Thanks.")),
        (member("flerror", "1"), Result(ok=False, message="")),
        (member("flerror", "1") + member("message", "<int>7</int>"), Result(ok=False, message="")),
        (member("message", "x" * 10_000), Result(ok=True, message="x" * MAX_MESSAGE_CHARACTERS)),
    ],
)
def test_what_is_missing_or_odd(members: str, result: Result) -> None:
    assert parse_response(answer(members)) == result


def test_a_fault_is_raised() -> None:
    with pytest.raises(ours.Fault) as raised:
        parse_response(ours.dump_fault(ours.Fault(-32601, "No such method.")))
    assert raised.value.code == ours.NO_SUCH_METHOD


@pytest.mark.parametrize("value", ["Thanks for the ping.", 0, True, ["x"], 1.5])
def test_an_answer_that_is_no_struct(value: ours.Value) -> None:
    with pytest.raises(Malformed):
        parse_response(ours.dump_response(value))


@pytest.mark.parametrize("body", [b"", b"OK", b"<html>", b"<!DOCTYPE x><methodResponse/>", b"\xff" * 70_000])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse_response(body)


PIECES = st.sampled_from(
    [
        *("<methodResponse>", "<params>", "<param>", "<value>", "<struct>", "<member>", "<name>", "flError"),
        *("</name>", "</value>", "</member>", "</struct>", "</param>", "</params>", "</methodResponse>"),
        *("message", "<boolean>1</boolean>", "<fault>", "</fault>", "<nil/>", "<array><data>", "&amp;", "0"),
    ]
)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(PIECES, max_size=30), st.binary(max_size=30))
def test_raises_nothing_else(pieces: list[str], more: bytes) -> None:
    bodies = [answer("".join(pieces)), "".join(pieces).encode() + more, more]
    bodies += [answer(member("flerror", "".join(pieces)))]
    for body in bodies:
        with contextlib.suppress(ours.Fault, Malformed):
            assert isinstance(parse_response(body), Result)


@settings(max_examples=examples(100), deadline=None)
@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_whatever_the_words_a_ping_can_be_read(name: str, url: str, tags: list[str]) -> None:
    assert len(ours.parse_call(dump_ping(name, url)).params) == 2
    params = ours.parse_call(dump_extended_ping(name, url, url, url, tags=tags)).params
    assert len(params) == (5 if tags else 4)


# --- the other side -----------------------------------------------------------------------------------

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_list_is_in_the_form_of_weblogs_com() -> None:
    weblogs = [
        Listed(name='Tom & "Jerry" <3', url=HOME, feed_url=FEED, at=NOON - timedelta(seconds=1.9)),
        Listed(name="B", url=POST, feed_url=None, at=NOON + timedelta(seconds=5)),
    ]
    assert dump_changes(weblogs, updated=NOON, count=7).decode().splitlines() == [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<weblogUpdates version="2" updated="Sun, 01 Mar 2026 12:00:00 GMT" count="7">',
        f'<weblog name="Tom &amp; &quot;Jerry&quot; &lt;3" url="{HOME}" when="1" rssUrl="{FEED}"/>',
        f'<weblog name="B" url="{POST}" when="0"/>',
        "</weblogUpdates>",
    ]


def test_a_name_is_read_as_html_and_a_form_as_a_call() -> None:
    said = {"name": " Tom &amp;\n <b>Jerry</b> ", "url": f" {HOME} ", "changesURL": FEED}
    expected = Ping(name="Tom & Jerry", url=HOME, feed_url=FEED)
    assert make_ping(*said.values()) == parse_form(urlencode(said).encode()) == expected
    assert parse_form(urlencode([*said.items(), ("name", "Other")]).encode()) == expected


texts = st.text(st.characters() | st.sampled_from("<>&\"'\0\n\t\x0b\x85\u2028\ufffe\ud800"), max_size=400)


@settings(deadline=None)
@given(name=texts, url=st.just(HOME) | texts, feed_url=st.just(FEED) | texts)
def test_what_is_taken_comes_back_from_the_list(name: str, url: str, feed_url: str) -> None:
    try:
        ping = make_ping(name, HOME + url, feed_url)
    except PingError:
        return
    weblog = Listed(name=ping.name, url=ping.url, feed_url=ping.feed_url, at=NOON)
    (read,) = etree.fromstring(dump_changes([weblog], updated=NOON, count=1))
    assert (read.get("name"), read.get("url"), read.get("rssUrl")) == (ping.name, ping.url, ping.feed_url)
    assert 0 < len(ping.name) <= MAX_NAME_CHARACTERS


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_a_form_is_read_or_refused(form: bytes) -> None:
    with contextlib.suppress(PingError):
        parse_form(b"name=a&url=" + form)
        parse_form(form)
