"""Signatures: proof that who sent a body knows a secret."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_linkback.protocols.signatures import ALGORITHMS, sign, verify


def test_the_signature_of_django_pushs_tests() -> None:
    assert sign("lol", b"foo", "sha1") == "sha1=bfe9c8b0bc631a74dbc484c4e4a5a469cbb8b01f"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_is_the_one_of_its_name(algorithm: str) -> None:
    expected = hmac.new(b"s\xc3\xa9", b"body", getattr(hashlib, algorithm)).hexdigest()
    assert sign("sé", b"body", algorithm) == f"{algorithm}={expected}"
    assert verify("sé", b"body", f"{algorithm}={expected}")
    assert verify("sé", b"body", f" {algorithm.upper()}={expected.upper()} ")


@pytest.mark.parametrize("at_least", ALGORITHMS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_weaker_algorithm_than_wanted_is_none(algorithm: str, at_least: str) -> None:
    strong_enough = ALGORITHMS.index(algorithm) >= ALGORITHMS.index(at_least)
    assert verify("s", b"body", sign("s", b"body", algorithm), at_least=at_least) is strong_enough


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "=",
        "sha1",
        "sha1=",
        "sha1=zz",
        "md5=9b61d6ae6ff6ca25d0a7ab1bdf1d2e6a",
        "bfe9c8b0bc631a74dbc484c4e4a5a469cbb8b01f",
        "sha1=bfe9c8b0bc631a74dbc484c4e4a5a469cbb8b0",
        "sha256=bfe9c8b0bc631a74dbc484c4e4a5a469cbb8b01f",
        "sha1=\u0661" * 20,
        "sha1=" + "b" * 100_000,
    ],
)
def test_what_is_no_signature_is_none(signature: str | None) -> None:
    assert not verify("lol", b"foo", signature)


@given(st.text(max_size=300))
def test_nothing_that_anybody_writes_raises(signature: str) -> None:
    assert not verify("a secret that nobody knows", b"foo", signature)


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.binary(), st.sampled_from(ALGORITHMS))
def test_a_signature_holds_for_its_own_body_alone(secret: str, body: bytes, algorithm: str) -> None:
    signature = sign(secret, body, algorithm)
    assert verify(secret, body, signature)
    assert not verify(secret, body + b"\n", signature)
    assert not verify(secret + "x", body, signature)
