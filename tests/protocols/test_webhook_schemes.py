"""Schemes: GitHub's, Stripe's and Slack's own examples, and what is none."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.errors import BadSecret, BadSignature
from flask_linkback.protocols import standardwebhooks
from flask_linkback.protocols.webhook_schemes import (
    SCHEMES,
    Message,
    Verified,
    check_secrets,
    parse_data,
)

AT = 1531420618
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
JSON = "application/json"
COMMAND = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack"
    b".com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0"
    b"bc887a14d10d2c447fce8b6703c"
)


def hexed(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def verified(scheme: str, headers: Mapping[str, str], body: bytes, *secrets: str, now: int = AT) -> Verified:
    at = datetime.fromtimestamp(now, UTC)
    message = Message(headers=headers, body=body, secrets=secrets or (SECRET,), now=at)
    return SCHEMES[scheme](message)


# --- as they sign --------------------------------------------------------------------------------------

Sender = Callable[[bytes, str, int], dict[str, str]]


def standard(body: bytes, secret: str, at: int) -> dict[str, str]:
    return standardwebhooks.headers(secret, webhook_id="m1", at=datetime.fromtimestamp(at, UTC), body=body)


def github(body: bytes, secret: str, at: int) -> dict[str, str]:
    return {
        "x-hub-signature-256": f"sha256={hexed(secret, body)}",
        "x-github-delivery": "m1",
        "x-github-event": "push",
    }


def stripe(body: bytes, secret: str, at: int) -> dict[str, str]:
    return {"stripe-signature": f"t={at},v1={hexed(secret, b'%d.%s' % (at, body))},v0=6ffbb59b"}


def slack(body: bytes, secret: str, at: int) -> dict[str, str]:
    signature = f"v0={hexed(secret, b'v0:%d:%s' % (at, body))}"
    return {"x-slack-request-timestamp": str(at), "x-slack-signature": signature}


SENDERS: dict[str, Sender] = {"standard": standard, "github": github, "stripe": stripe, "slack": slack}
TIMED = ["standard", "stripe", "slack"]


def test_githubs_own_example() -> None:
    headers = {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-github-event": "issues",
    }
    found = verified("github", headers, b"Hello, World!", "It's a Secret to Everybody")
    assert found == Verified(id="72d3162e-cc78-11e3-81ab-4c9367dc0958", type="issues")


def test_slacks_own_example() -> None:
    headers = {
        "x-slack-request-timestamp": str(AT),
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    found = verified("slack", headers, COMMAND)
    assert found.type == ""
    assert len(found.id) == 64  # a command has none of its own


@pytest.mark.parametrize(
    ("scheme", "body", "found"),
    [
        ("standard", {"type": "person.created", "data": {}}, Verified(id="m1", type="person.created")),
        ("github", {"type": "no"}, Verified(id="m1", type="push")),
        ("stripe", {"id": "evt_1", "type": "charge.paid"}, Verified(id="evt_1", type="charge.paid")),
        (
            "slack",
            {"type": "event_callback", "event_id": "Ev1", "event": {"type": "app_mention"}},
            Verified(id="Ev1", type="app_mention"),
        ),
        (
            "slack",
            {"type": "app_rate_limited", "event_id": "Ev1"},
            Verified(id="Ev1", type="app_rate_limited"),
        ),
    ],
)
def test_what_a_message_is(scheme: str, body: Any, found: Verified) -> None:
    text = json.dumps(body).encode()
    assert verified(scheme, {**SENDERS[scheme](text, SECRET, AT), "content-type": JSON}, text) == found


def test_slack_asks_whether_we_are_there() -> None:
    body = json.dumps({"type": "url_verification", "token": "x", "challenge": "3eZbrw1aBm2rZgR"}).encode()
    headers = {**slack(body, SECRET, AT), "content-type": JSON}
    assert verified("slack", headers, body).challenge == "3eZbrw1aBm2rZgR"
    with pytest.raises(BadSignature):
        verified("slack", headers, body, "another secret")
    for odd in (17, None, "x" * 1001):
        body = json.dumps({"type": "url_verification", "challenge": odd}).encode()
        assert verified("slack", {**slack(body, SECRET, AT), "content-type": JSON}, body).challenge is None


@pytest.mark.parametrize("scheme", SENDERS)
@settings(max_examples=60)
@given(body=st.binary(max_size=200))
def test_each_of_the_secrets_counts_and_no_other(scheme: str, body: bytes) -> None:
    old, new = "an old secret of thirty letters", "a new secret of thirty letters"
    for secret in (old, new):
        assert verified(scheme, SENDERS[scheme](body, secret, AT), body, old, new).id
        with pytest.raises(BadSignature):
            verified(scheme, SENDERS[scheme](body, secret, AT), body)
        with pytest.raises(BadSignature):
            verified(scheme, SENDERS[scheme](body + b"x", secret, AT), body, old, new)
    message = Message(headers=SENDERS[scheme](body, old, AT), body=body, secrets=(), now=datetime.now(UTC))
    with pytest.raises(BadSignature):
        SCHEMES[scheme](message)


@pytest.mark.parametrize("scheme", TIMED)
def test_five_minutes_are_tolerated_and_not_a_second_more(scheme: str) -> None:
    for away in (-300, 300):
        assert verified(scheme, SENDERS[scheme](b"{}", SECRET, AT + away), b"{}")
    for away in (-301, 301, 10**9):
        with pytest.raises(BadSignature, match=r"old|future"):
            verified(scheme, SENDERS[scheme](b"{}", SECRET, AT + away), b"{}")


def test_stripe_signs_twice_while_a_secret_is_changed() -> None:
    wrong, right = f"v1={'0' * 64}", f"v1={hexed(SECRET, b'%d.{}' % AT)}"
    for header in (f"t={AT},{wrong},{right}", f"{right}, t={AT} ,{wrong}"):
        assert verified("stripe", {"stripe-signature": header}, b"{}")


def test_an_event_of_stripe_without_an_id_is_known_by_what_was_signed() -> None:
    ids = {verified("stripe", stripe(body, SECRET, AT), body).id for body in (b"a", b"b", b"a")}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("scheme", "changed"),
    [
        *(
            ("github", {"x-hub-signature-256": value})
            for value in ("", "sha256", "sha256=", "sha256=zz", "é" * 9)
        ),
        ("github", {"x-hub-signature-256": f"sha1={hmac.new(SECRET.encode(), b'{}', 'sha1').hexdigest()}"}),
        *(("github", {"x-github-delivery": value}) for value in ("", "é", "a b", "x" * 256)),
        *(
            ("stripe", {"stripe-signature": value})
            for value in (
                *(
                    "",
                    "t=",
                    "t=,v1=",
                    "v1=00",
                    f"t={AT}",
                    f"t={AT},v1=é",
                    f"t={AT},t={AT},v1={'0' * 64}",
                    "," * 5000,
                ),
                *(f"t={AT}.5,v1=00", f"t=-{AT},v1=00", f"t={AT},v0={hexed(SECRET, b'%d.{}' % AT)}"),
            )
        ),
        *(("slack", {"x-slack-signature": value}) for value in ("", "v0=", "v0=zz", "v1=00", "é", "=" * 999)),
        *(("slack", {"x-slack-request-timestamp": value}) for value in ("", "x", "-1", "1e9", "9" * 99)),
    ],
)
def test_misshapen_headers(scheme: str, changed: dict[str, str]) -> None:
    headers = {**SENDERS[scheme](b"{}", SECRET, AT), **changed}
    with pytest.raises(BadSignature):
        verified(scheme, headers, b"{}")


NAMES = [name for sender in SENDERS.values() for name in sender(b"", SECRET, AT)]


@pytest.mark.parametrize("scheme", SENDERS)
@settings(max_examples=100)
@given(
    headers=st.dictionaries(
        st.sampled_from(NAMES),
        st.text(st.characters(max_codepoint=255), max_size=60) | st.sampled_from([str(AT), f"t={AT},v1=0"]),
    ),
    body=st.binary(max_size=60),
)
def test_whatever_a_stranger_sends_is_refused(scheme: str, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(BadSignature):
        verified(scheme, headers, body)


# --- the body ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "data"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', "Application/JSON; charset=utf-8", {"a": 1}),
        (b"[1]", "application/cloudevents+json", [1]),
        (b"payload=%7B%22a%22%3A+1%7D&x=1", "application/x-www-form-urlencoded", {"a": 1}),
        (b"a=1", "application/x-www-form-urlencoded", None),
        (b"&".join([b"a=1"] * 101), "application/x-www-form-urlencoded", None),
        (b'{"a": 1}', "text/plain", None),
        (b'{"a": 1}', "", None),
        (b"", "application/json", None),
        (b"NaN", "application/json", None),
        (b"\xff", "application/json", None),
        (b"[" * 100_000, "application/json", None),
        (b"1" * 10_000, "application/json", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_data(body: bytes, content_type: str, data: Any) -> None:
    assert parse_data(body, content_type) == data


@pytest.mark.parametrize("scheme", SENDERS)
def test_what_is_said_of_a_type_is_a_printable_word(scheme: str) -> None:
    word = "\0\ud800\x1b[31mred\u202e" + "x" * 1000
    body = json.dumps({"type": word, "id": word, "event_id": word, "event": {"type": word}}).encode()
    headers = {**SENDERS[scheme](body, SECRET, AT), "content-type": JSON, "x-github-event": "\x1bpush"}
    found = verified(scheme, headers, body)
    for text in (found.id, found.type):
        assert 0 < len(text) <= 255
        assert text.isprintable()


@pytest.mark.parametrize("scheme", SENDERS)
def test_secrets_that_are_none(scheme: str) -> None:
    check_secrets(scheme, [SECRET])
    for bad in ("", None, 17, b"x" * 32):
        with pytest.raises(BadSecret):
            check_secrets(scheme, [SECRET, bad])  # type: ignore[list-item]
