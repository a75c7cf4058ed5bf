"""XML-RPC: what we write others read, what others write we read, and nothing else gets in."""

from __future__ import annotations

import contextlib
import time
import xmlrpc.client
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.protocols import xmlrpc as ours
from flask_linkback.protocols.xmlrpc import Call, Fault, Malformed
from tests.thorough import examples, usual

WORDPRESS = b"""<?xml version="1.0"?>
<methodCall>
<methodName>pingback.ping</methodName>
<params>
<param><value><string>http://a.example/2026/07/hello/</string></value></param>
<param><value><string>http://b.example/entry?a=1&amp;b=2#frag</string></value></param>
</params></methodCall>
"""


def call_of(value: str) -> bytes:
    return (
        f"<methodCall><methodName>m</methodName><params><param>{value}</param></params></methodCall>".encode()
    )


def refused(body: bytes) -> int:
    with pytest.raises(Fault) as caught:
        ours.parse_call(body)
    assert 0 < len(caught.value.message) <= 200
    return caught.value.code


def test_wordpress_call() -> None:
    call = ours.parse_call(WORDPRESS)
    assert call == Call(
        method="pingback.ping",
        params=("http://a.example/2026/07/hello/", "http://b.example/entry?a=1&b=2#frag"),
    )


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf\n"])
def test_mark_and_white_space_before_the_declaration(before: bytes) -> None:
    assert ours.parse_call(before + WORDPRESS).method == "pingback.ping"


def test_utf16_and_latin1_by_declaration() -> None:
    text = '<?xml version="1.0" encoding="{}"?><methodCall><methodName>é</methodName></methodCall>'
    good = text.replace("é", "m")
    assert ours.parse_call(good.format("utf-16").encode("utf-16")).method == "m"
    assert refused(text.format("nonsense").encode()) == ours.NOT_WELL_FORMED
    assert refused(text.format("iso-8859-1").encode("latin-1")) == ours.NOT_A_CALL


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<value>bare</value>", "bare"),
        ("<value> white  space\n</value>", " white  space\n"),
        ("<value></value>", ""),
        ("<value/>", ""),
        ("<value><string/></value>", ""),
        ("<value> <string> x </string> </value>", " x "),
        ("<value><int> -7 </int></value>", -7),
        ("<value><i4>2147483647</i4></value>", 2**31 - 1),
        ("<value><i8>-9223372036854775808</i8></value>", -(2**63)),
        ("<value><boolean>1</boolean></value>", True),
        ("<value><boolean>0</boolean></value>", False),
        ("<value><double>-1.5e3</double></value>", -1500.0),
        (
            "<value><dateTime.iso8601>19980717T14:08:55</dateTime.iso8601></value>",
            datetime.fromisoformat("1998-07-17T14:08:55"),
        ),
        ("<value><base64>aGFs\n bG8=</base64></value>", b"hallo"),
        ("<value><array><data><value>a</value><value><int>1</int></value></data></array></value>", ["a", 1]),
        ("<value><struct><member><name>k</name><value>v</value></member></struct></value>", {"k": "v"}),
        ("<value><!-- a --><string>x<!-- b -->y<?p i?></string></value>", "xy"),
        ("<value><string>&#60;&amp;é</string></value>", "<&é"),
    ],
)
def test_values(value: str, expected: object) -> None:
    (read,) = ours.parse_call(call_of(value)).params
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    "value",
    [
        "<value><int>2147483648</int></value>",
        "<value><int>\uff11</int></value>",
        "<value><int>1_0</int></value>",
        "<value><int>" + "9" * 5000 + "</int></value>",
        "<value><i8>9223372036854775808</i8></value>",
        "<value><boolean>true</boolean></value>",
        "<value><double>nan</double></value>",
        "<value><double>1e999</double></value>",
        "<value><dateTime.iso8601>yesterday</dateTime.iso8601></value>",
        "<value><base64>*</base64></value>",
        "<value><nil/></value>",
        "<value><bignum>1</bignum></value>",
        "<value>text<string>x</string></value>",
        "<value><string>a</string><string>b</string></value>",
        "<value><string><b>x</b></string></value>",
        "<value><array><value>a</value></array></value>",
        "<value><struct><member><value>a</value></member></struct></value>",
        "<string>x</string>",
    ],
)
def test_strange_values_are_no_call(value: str) -> None:
    assert refused(call_of(value)) == ours.NOT_A_CALL


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", ours.NOT_WELL_FORMED),
        (b"pingback, please", ours.NOT_WELL_FORMED),
        (b"<methodCall>", ours.NOT_WELL_FORMED),
        (b"<methodCall><methodName>a\0</methodName></methodCall>", ours.NOT_WELL_FORMED),
        (b"<!DOCTYPE methodCall><methodCall><methodName>a</methodName></methodCall>", ours.NOT_WELL_FORMED),
        (b'<!DOCTYPE m SYSTEM "file:///etc/passwd"><methodCall/>', ours.NOT_WELL_FORMED),
        (b'<!DOCTYPE m [<!ENTITY a "b">]><methodCall><methodName>&a;</methodName></methodCall>', -32700),
        (b" " * ours.MAX_BODY_BYTES + b"<methodCall/>", ours.NOT_WELL_FORMED),
        (b"<methodCall/>", ours.NOT_A_CALL),
        (b"<methodResponse/>", ours.NOT_A_CALL),
        (b"<methodCall><methodName> </methodName></methodCall>", ours.NOT_A_CALL),
        (b"<methodCall><methodName>a b</methodName></methodCall>", ours.NOT_A_CALL),
        (b"<methodCall><methodName>a</methodName><params/><params/></methodCall>", ours.NOT_A_CALL),
        (b"<methodCall><methodName>a</methodName><params><x/></params></methodCall>", ours.NOT_A_CALL),
    ],
)
def test_codes_of_the_fault_code_specification(body: bytes, code: int) -> None:
    assert refused(body) == code


def test_too_many_and_too_deep() -> None:
    many = "<param><value>x</value></param>" * (ours.MAX_PARAMS + 1)
    assert (
        refused(f"<methodCall><methodName>m</methodName><params>{many}</params></methodCall>".encode())
        == -32602
    )
    array = "<value><array><data>{}</data></array></value>"
    assert refused(call_of(array.format("<value/>" * (ours.MAX_VALUES + 1)))) == ours.WRONG_PARAMS
    deep = "<value/>"
    for _ in range(ours.MAX_DEPTH + 1):
        deep = array.format(deep)
    assert refused(call_of(deep)) == ours.WRONG_PARAMS


def test_no_params_at_all() -> None:
    assert ours.parse_call(b"<methodCall><methodName>m</methodName></methodCall>").params == ()
    assert ours.parse_call(b"<methodCall><methodName>m</methodName><params/></methodCall>").params == ()


def test_response_and_fault() -> None:
    assert ours.parse_response(ours.dump_response("thanks <&>")) == "thanks <&>"
    with pytest.raises(Fault) as caught:
        ours.parse_response(ours.dump_fault(Fault(49, "Not now.", retry_after=60)))
    assert (caught.value.code, caught.value.message, caught.value.retry_after) == (49, "Not now.", None)
    assert str(caught.value) == "49: Not now."


def test_response_tolerates_nil_and_a_code_in_a_string() -> None:
    answer = b"<methodResponse><params><param><value><nil/></value></param></params></methodResponse>"
    assert ours.parse_response(answer) is None
    fault = ours.dump_response({"faultCode": "48", "faultString": 5})
    fault = fault.replace(b"<params><param>", b"<fault>").replace(b"</param></params>", b"</fault>")
    with pytest.raises(Fault) as caught:
        ours.parse_response(fault)
    assert (caught.value.code, caught.value.message) == (48, "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>no</html>",
        b"<methodResponse/>",
        b"<methodResponse><x/></methodResponse>",
        b"<methodResponse><params/></methodResponse>",
        b"<methodResponse><fault><value>x</value></fault></methodResponse>",
        b"<methodResponse><fault><value><struct/></value></fault></methodResponse>",
        b"<!DOCTYPE a><methodResponse><params><param><value/></param></params></methodResponse>",
    ],
)
def test_rubbish_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        ours.parse_response(body)


def test_what_is_written_cannot_break_out() -> None:
    nasty = "</string></value>]]>&<!--\x00\x0b\x1f\ufffe\ud800é\r\n\t"
    (read,), method = xmlrpc.client.loads(ours.dump_call("m", [nasty]).decode())
    assert method == "m"
    assert read == "</string></value>]]>&<!--é\r\n\t"
    with pytest.raises(ValueError, match="no name"):
        ours.dump_call("a</methodName>", [])


@pytest.mark.parametrize("value", [None, object(), float("nan"), 2**63, {1, 2}])
def test_what_has_no_type_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        ours.dump_response(value)


def test_aware_times_are_written_as_utc() -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert ours.parse_response(ours.dump_response(noon)) == datetime.fromisoformat("2026-07-01T10:00:00")
    assert b"20260701T10:00:00<" in ours.dump_response(noon.astimezone(UTC))


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")
)
PLAIN = st.one_of(
    TEXT,
    st.integers(-(2**31), 2**31 - 1),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.binary(max_size=50),
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=10,
)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(VALUES, max_size=4))
def test_round_trips_with_xmlrpc_client(params: list[Any]) -> None:
    body = ours.dump_call("a.b", params)
    read, method = xmlrpc.client.loads(body.decode(), use_builtin_types=True)
    assert (list(read), method) == (params, "a.b")
    theirs = xmlrpc.client.dumps(tuple(params), "a.b").encode()
    assert ours.parse_call(body) == ours.parse_call(theirs) == Call(method="a.b", params=tuple(params))


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_any_bytes_are_answered(data: st.DataObject) -> None:
    tags = (
        "methodCall",
        "methodName",
        "params",
        "param",
        "value",
        "struct",
        "member",
        "name",
        "array",
        "fault",
    )
    pieces = (
        [f"<{tag}>" for tag in tags] + [f"</{tag}>" for tag in tags] + ["<int>", "</int>", "1", "&a;", "]]>"]
    )
    soup = data.draw(st.lists(st.sampled_from(pieces)).map("".join).map(str.encode) | st.binary())
    started = time.thread_time()
    with contextlib.suppress(Fault):
        ours.parse_call(soup)
    with contextlib.suppress(Fault, Malformed):
        ours.parse_response(soup)
    assert usual(time.thread_time() - started) < 1


@pytest.mark.parametrize(
    "body",
    [
        b"<a>" * 20000,
        b"<a " + b"x='1' " * 10000,
        b"<value>" * 9000,
        b"<methodCall><methodName>a</methodName><params>" + b"<param/>" * 7000 + b"</params></methodCall>",
        b"<!DOCTYPE a [" + b'<!ENTITY a "b">' * 4000 + b"]><a/>",
    ],
)
def test_hostile_documents_cost_little(body: bytes) -> None:
    started = time.thread_time()
    with pytest.raises(Fault):
        ours.parse_call(body)
    assert usual(time.thread_time() - started) < 1
