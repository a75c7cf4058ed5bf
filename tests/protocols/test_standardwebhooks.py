"""Standard Webhooks: what we sign the specification's own library verifies, and the other way round."""

from __future__ import annotations

import base64
import builtins
import random
import string
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unittest.mock import patch

import pytest
import standardwebhooks as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.errors import BadSecret, BadSignature, MissingExtra
from flask_linkback.protocols.standardwebhooks import (
    Signed,
    check_secret,
    headers,
    new_key_pair,
    new_secret,
    sign,
    verify,
)
from tests.thorough import examples

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
PRIVATE, PUBLIC = new_key_pair()

ids = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1).map(
    lambda text: text[:200]
)
keys = st.binary(min_size=24, max_size=64)


def whsec(key: bytes) -> str:
    return f"whsec_{base64.b64encode(key).decode()}"


def changed(**values: str | None) -> dict[str, str]:
    """The headers of a right message, but for these; None leaves one out."""
    said = headers(SECRET, webhook_id=ID, at=AT, body=BODY)
    said |= {f"webhook-{name}": value for name, value in values.items()}  # type: ignore[misc]
    return {name: value for name, value in said.items() if value is not None}


def refusal(said: Mapping[str, str], body: bytes = BODY, secrets: Any = SECRET, now: datetime = AT) -> str:
    with pytest.raises(BadSignature) as raised:
        verify(secrets, said, body, now=now)
    assert len(str(raised.value)) < 100
    return str(raised.value)


# --- both ways -----------------------------------------------------------------------------------------


def test_the_signature_of_the_specifications_own_libraries() -> None:
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(SECRET, webhook_id=ID, at=AT, body=BODY) == signature
    assert headers(SECRET, webhook_id=ID, at=AT, body=BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": signature,
    }


def verified_by_both(key: bytes, webhook_id: str, body: bytes, now: datetime, at: datetime) -> None:
    secret = whsec(key)
    ours = headers(secret, webhook_id=webhook_id, at=at, body=body)
    them = theirs.Webhook(secret)
    them.verify(body, ours, json_parse=False)
    signature = them.sign(webhook_id, at, body.decode())
    assert ours["webhook-signature"] == signature
    said = {
        "Webhook-Id": webhook_id,
        "WEBHOOK-TIMESTAMP": str(int(at.timestamp())),
        "webhook-signature": signature,
    }
    expected = Signed(id=webhook_id, at=at.replace(microsecond=0))
    assert verify(secret, said, body, now=now) == expected


@settings(max_examples=examples(200), deadline=None)
@given(key=keys, webhook_id=ids, text=st.text(), seconds=st.integers(-200, 200))
def test_what_we_sign_they_verify_and_what_they_sign_we_do(
    key: bytes, webhook_id: str, text: str, seconds: int
) -> None:
    now = datetime.now(UTC)
    body = text.encode("utf-8", "replace")
    verified_by_both(key, webhook_id, body, now, now + timedelta(seconds=seconds))


def test_so_it_is_for_thousands_of_bodies() -> None:
    chance = random.Random(7)
    letters = string.printable + "\0\x7fäß€日本😀\u2028"
    now = datetime.now(UTC)
    for number in range(5000):
        body = "".join(chance.choices(letters, k=chance.choice((0, 1, 10, 300)))).encode()
        key = chance.randbytes(chance.randint(24, 64))
        verified_by_both(key, f"msg_{number}", body, now, now + timedelta(seconds=chance.uniform(-200, 200)))


@settings(max_examples=examples(150), deadline=None)
@given(secrets=st.lists(keys.map(whsec) | st.just(PRIVATE), min_size=1, max_size=6), body=st.binary())
def test_each_of_several_secrets_verifies_and_each_signature_may_be_the_right_one(
    secrets: list[str], body: bytes
) -> None:
    said = headers(secrets, webhook_id=ID, at=AT, body=body)
    assert len(said["webhook-signature"].split(" ")) == len(secrets)
    for secret in secrets:
        assert verify(secret, said, body, now=AT).id == ID
        alone = headers([secret], webhook_id=ID, at=AT, body=body)
        assert verify([*secrets, OTHER], alone, body, now=AT).at == AT


@settings(max_examples=examples(150))
@given(key=keys, body=st.binary(), other=st.binary())
def test_another_secret_body_id_or_time_is_not_signed(key: bytes, body: bytes, other: bytes) -> None:
    said = headers(SECRET, webhook_id=ID, at=AT, body=body)
    refusal(said, body, whsec(key))
    if other != body:
        refusal(said, other)
    refusal({**said, "webhook-id": "msg_other"}, body)
    refusal({**said, "webhook-timestamp": "1614265331"}, body)


def test_a_time_of_another_zone_is_the_same_time_and_one_without_a_zone_is_none() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=-7)))
    assert sign(SECRET, webhook_id=ID, at=elsewhere, body=BODY) == sign(
        SECRET, webhook_id=ID, at=AT, body=BODY
    )
    with pytest.raises(ValueError, match="time zone"):
        sign(SECRET, webhook_id=ID, at=datetime(2026, 1, 1), body=BODY)  # noqa: DTZ001


def test_a_message_without_a_secret_is_not_signed() -> None:
    assert headers([], webhook_id=ID, at=AT, body=BODY) == changed(signature=None)
    assert refusal(changed(), secrets=[]) == "No signature is right."


@pytest.mark.parametrize("webhook_id", ["", "a.b", "a b", "é", "a\r\nx: y", "x" * 257], ids=len)
def test_an_id_that_cannot_be_sent_is_not_signed(webhook_id: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        headers(SECRET, webhook_id=webhook_id, at=AT, body=BODY)


def test_headers_by_the_names_of_svix_are_the_same() -> None:
    said = {name.replace("webhook", "svix"): value for name, value in changed().items()}
    assert verify(SECRET, said, BODY, now=AT).id == ID
    # those of one family, never of both
    refusal({**said, "webhook-signature": "v1,AAAA"})
    refusal({"svix-id": ID, "webhook-timestamp": "1614265330", "svix-signature": said["svix-signature"]})


# --- key pairs -----------------------------------------------------------------------------------------


@settings(max_examples=examples(100), deadline=None)
@given(webhook_id=ids, body=st.binary())
def test_who_has_the_public_key_verifies_and_does_not_sign(webhook_id: str, body: bytes) -> None:
    said = headers(PRIVATE, webhook_id=webhook_id, at=AT, body=body)
    assert said["webhook-signature"].startswith("v1a,")
    for key in (PUBLIC, PRIVATE, [SECRET, PUBLIC]):
        assert verify(key, said, body, now=AT) == Signed(id=webhook_id, at=AT)
    refusal(said, body + b" ", PUBLIC)
    refusal(said, body, new_key_pair()[1])
    refusal(said, body, SECRET)
    with pytest.raises(BadSecret, match="whsk_"):
        sign(PUBLIC, webhook_id=webhook_id, at=AT, body=body)


def test_a_private_key_may_come_without_its_public_one() -> None:
    whole = base64.b64decode(PRIVATE.removeprefix("whsk_"))
    seed = f"whsk_{base64.b64encode(whole[:32]).decode()}"
    assert sign(seed, webhook_id=ID, at=AT, body=BODY) == sign(PRIVATE, webhook_id=ID, at=AT, body=BODY)
    stranger = base64.b64decode(new_key_pair()[0].removeprefix("whsk_"))
    with pytest.raises(BadSecret, match="belong together"):
        check_secret(f"whsk_{base64.b64encode(whole[:32] + stranger[32:]).decode()}")


def test_a_signature_of_one_kind_is_none_of_the_other() -> None:
    shared = sign(SECRET, webhook_id=ID, at=AT, body=BODY)
    pair = sign(PRIVATE, webhook_id=ID, at=AT, body=BODY)
    refusal(changed(signature=shared.replace("v1,", "v1a,")), secrets=[SECRET, PUBLIC])
    refusal(changed(signature=pair.replace("v1a,", "v1,")), secrets=[SECRET, PUBLIC])


def test_without_the_extra_a_key_pair_says_which_one_is_missing() -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **options)

    with patch.object(builtins, "__import__", without):
        assert sign(SECRET, webhook_id=ID, at=AT, body=BODY)
        for attempt in (new_key_pair, lambda: check_secret(PUBLIC)):
            with pytest.raises(MissingExtra, match=r"flask-linkback\[crypto\]"):
                attempt()


# --- secrets -------------------------------------------------------------------------------------------


def test_a_new_secret_is_new_and_has_32_bytes() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    for secret in made:
        assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
        check_secret(secret)


def test_a_secret_without_prefix_is_taken_as_it_is() -> None:
    raw = "thirty-two letters, and then sóme"
    expected = sign(whsec(raw.encode()), webhook_id=ID, at=AT, body=BODY)
    assert sign(raw, webhook_id=ID, at=AT, body=BODY) == expected
    assert sign(raw.encode(), webhook_id=ID, at=AT, body=BODY) == expected


def test_a_secret_may_lack_what_fills_up_its_base64() -> None:
    full = whsec(b"x" * 31)
    assert full.endswith("=")
    assert sign(full.rstrip("="), webhook_id=ID, at=AT, body=BODY) == sign(
        full, webhook_id=ID, at=AT, body=BODY
    )


@pytest.mark.parametrize(
    ("secret", "cause"),
    [
        ("", "24 to 64 bytes, not 0"),
        ("hunter2", "24 to 64 bytes, not 7"),
        (b"x" * 23, "not 23"),
        (b"x" * 65, "not 65"),
        (whsec(b"x" * 16), "not 16"),
        ("whsec_", "not 0"),
        ("whsec_a secret!", "not base64"),
        ("whsec_é", "not base64"),
        ("whsk_AAAA", "32 bytes"),
        ("whpk_AAAA", "32 bytes"),
        ("whpk_*", "not base64"),
        (None, "NoneType"),
        (17, "int"),
    ],
)
def test_a_bad_secret_is_the_developers_mistake_and_is_not_shown(secret: Any, cause: str) -> None:
    for attempt in (
        lambda: check_secret(secret),
        lambda: sign(secret, webhook_id=ID, at=AT, body=BODY),
        lambda: verify([SECRET, secret], changed(), BODY, now=AT),
    ):
        with pytest.raises(BadSecret, match=cause) as raised:
            attempt()
        if isinstance(secret, str) and len(secret) > 6:
            assert secret not in str(raised.value)


# --- what strangers send -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        " ",
        ",",
        "v1",
        "v1,",
        "garbage",
        "v1,a",
        "v1,a,b",
        "v1,é",
        "v1,\0",
        "v1,====",
        "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "V1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1,g0hM9SsE OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1a,AAAA v1a,",
        "v1,AAAA," * 1000,
        "v1,AAAA " * 21,
    ],
    ids=lambda value: repr(value)[:30],
)
def test_signatures_that_are_none(signature: str | None) -> None:
    refusal(changed(signature=signature), secrets=[SECRET, PUBLIC])


def test_the_right_one_of_many_counts_up_to_a_bound() -> None:
    right = sign(SECRET, webhook_id=ID, at=AT, body=BODY)
    said = changed(signature=" ".join(["nonsense", "v9,AAAA", *["v1,AAAA"] * 17, right]))
    assert verify(SECRET, said, BODY, now=AT).id == ID
    assert "too many" in refusal(changed(signature=" ".join(["v1,AAAA"] * 20 + [right])))
    assert "too many" in refusal(changed(signature=f"{right} {'x' * 5000}"))


@pytest.mark.parametrize(
    "timestamp",
    [
        *(
            None,
            "",
            " ",
            "-1",
            "+1614265330",
            "1614265330.0",
            "123.9",
            "1e9",
            "0x60",
            "nan",
            "inf",
            "\uff11\uff16\uff11\uff14",
        ),
        *("1_614_265_330", "99999999999999999999999", "0" * 100, "1614265330\0", "2021-02-25T15:02:10Z"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_times_that_are_none(timestamp: str | None) -> None:
    assert "misshapen" in refusal(changed(timestamp=timestamp))


@pytest.mark.parametrize("seconds", [-301, -1e9, 301, 1e9])
def test_a_message_of_another_time_is_refused(seconds: float) -> None:
    at = AT + timedelta(seconds=seconds)
    said = headers(SECRET, webhook_id=ID, at=at, body=BODY)
    assert refusal(said) == ("The message is too old." if seconds < 0 else "The message is from the future.")
    assert verify(SECRET, said, BODY, now=AT, tolerance_seconds=2 * 10**9).at == at


@pytest.mark.parametrize("seconds", [-300, 300])
def test_five_minutes_are_tolerated(seconds: int) -> None:
    said = headers(SECRET, webhook_id=ID, at=AT + timedelta(seconds=seconds), body=BODY)
    assert verify(SECRET, said, BODY, now=AT)


@pytest.mark.parametrize("webhook_id", [None, "", "a.b", "é", "x" * 257, "a b"])
def test_ids_that_are_none(webhook_id: str | None) -> None:
    assert "id" in refusal(changed(id=webhook_id))


@settings(max_examples=examples(150))
@given(
    said=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "svix-signature", "x"]),
        st.text(max_size=40) | st.sampled_from([ID, "1614265330", "v1,AAAA", "v1a,AAAA", "v1," * 9]),
    ),
    body=st.binary(max_size=40),
)
def test_nothing_that_a_stranger_sends_raises_anything_else(said: dict[str, str], body: bytes) -> None:
    refusal(said, body, [SECRET, PUBLIC])
