"""Hostile callers at the addresses of webhooks: documented answers, no rows, nothing told."""

from __future__ import annotations

import http.client
import io
import logging
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apps import Blog
from tests.hostile.odd import fuzz
from tests.pingback.tools import CALLER, request, work
from tests.webhooks.senders import JSON, SECRET, SIGN, handling, post, receipts, receive, signed, tell

PATH: Final = "/linkback/receive/shop"
AT: Final = "1772366400"  # the clock's noon
HEADERS: Final = (
    *("webhook-id", "webhook-timestamp", "webhook-signature", "svix-id", "svix-timestamp", "svix-signature"),
    *("X-Hub-Signature-256", "X-GitHub-Delivery", "X-GitHub-Event", "Stripe-Signature"),
    *("X-Slack-Signature", "X-Slack-Request-Timestamp", "Content-Type", "Content-Encoding"),
)
RIGHT: Final = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
values = st.one_of(
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60),
    st.sampled_from(
        [
            AT,
            f"t={AT},v1={'0' * 64}",
            f"v0={'0' * 64}",
            f"sha256={'0' * 64}",
            RIGHT,
            f"{RIGHT} v1a,AAAA",
            "m1",
        ]
    ),
)


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    """One on SQLite, out of its context."""
    return blogs(sqlite_url)


@pytest.fixture
def shop(blog: Blog) -> Blog:
    """A blog with a receiver of each scheme, and "shop"."""
    for name in ("shop", *SIGN):
        receive(blog, name)
    return blog


# --- fuzz ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGN)
@fuzz
@given(headers=st.dictionaries(st.sampled_from(HEADERS), values), body=st.binary(max_size=60))
def test_whatever_is_not_signed_is_refused(
    shop: Blog, name: str, headers: dict[str, str], body: bytes
) -> None:
    caller = "192.168.0.1"  # who is not counted
    content_type = headers.pop("Content-Type", JSON)
    response = post(shop, name, body, headers, caller=caller, content_type=content_type)
    assert (response.status_code, response.data) == (401, b"The signature is missing or wrong.\n")
    assert receipts(shop) == handling(shop) == []


@pytest.mark.parametrize("name", SIGN)
@fuzz
@given(
    body=st.binary(max_size=60)
    | st.sampled_from([b"[" * 5000, b"1" * 5000, b'{"type": "\\u0000\\ud800"}', b"null"]),
    content_type=st.sampled_from([JSON, "", "text/plain; charset=\xff", "multipart/form-data", "x/y+json"])
    | values,
)
def test_whatever_is_signed_is_taken(shop: Blog, name: str, body: bytes, content_type: str) -> None:
    headers = SIGN[name](shop, body, "m1")
    assert post(shop, name, body, headers, content_type=content_type).status_code == 202
    work(shop)


@fuzz
@given(name=st.text(max_size=30))
def test_names_that_nobody_has(shop: Blog, name: str) -> None:
    response = shop.app.test_client().post(f"/linkback/receive/x{name}".encode("utf-8", "replace").decode())
    assert response.status_code in (404, 405)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
@pytest.mark.parametrize("name", ["shop", "nobody"])
def test_other_methods(shop: Blog, method: str, name: str) -> None:
    response = shop.app.test_client().open(f"/linkback/receive/{name}", method=method)
    assert response.status_code == 405
    assert response.allow.as_set() == {"post", "options"}


# --- what a stranger learns ----------------------------------------------------------------------------


def test_each_refusal_is_the_same_and_leaves_one_record(shop: Blog, caplog: pytest.LogCaptureFixture) -> None:
    right = signed(shop, b"{}")
    wrongs: list[dict[str, Any]] = [
        {},
        {**right, "webhook-id": "other"},
        {**right, "webhook-timestamp": "12"},
        {**right, "webhook-timestamp": "123.9"},
        {**right, "webhook-signature": "garbage"},
        {**right, "webhook-signature": "v1,a,b"},
    ]
    with caplog.at_level(logging.DEBUG, "flask_linkback"):
        answers = {
            (each.status_code, each.data, tuple(each.headers))
            for each in (post(shop, "shop", b"{}", wrong) for wrong in wrongs)
        }
    assert len(answers) == 1
    assert [record.levelname for record in caplog.records] == ["INFO"] * len(wrongs)
    assert all(record.receiver == "shop" and record.caller == CALLER for record in caplog.records)
    assert len({record.reason for record in caplog.records}) == 4
    assert SECRET not in caplog.text


def test_an_answer_is_no_page(shop: Blog) -> None:
    for response in (post(shop, "shop", b"", {}), post(shop, "nobody", b"", {}), post(shop, "<b>", b"", {})):
        assert response.content_type == "text/plain; charset=utf-8"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert len(response.data) < 200


# --- size ----------------------------------------------------------------------------------------------


def test_a_body_has_at_most_max_body_bytes(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, MAX_BODY_BYTES=2000)
    receive(blog)
    for size, status in ((2000, 202), (2001, 413), (1_000_000, 413)):
        body = b"x" * size
        assert post(blog, "shop", body, signed(blog, body, f"m{size}")).status_code == status
    for size, status in ((2000, 202), (5000, 413)):
        body = b"y" * size
        response = blog.app.test_client().post(
            PATH,
            input_stream=io.BytesIO(body),
            headers={"Transfer-Encoding": "chunked", **signed(blog, body, f"c{size}")},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert response.status_code == status
    assert len(receipts(blog)) == 2


def test_many_headers(serve: Callable[..., Blog], sqlite_url: str) -> None:
    blog = serve(sqlite_url)
    told = receive(blog)
    headers = {f"X-{number}": "é".encode().decode("latin-1") * 3000 for number in range(80)}
    answer = request("POST", blog.base_url + PATH, b"{}", {**headers, **signed(blog, b"{}")})
    assert answer[0] == 202
    work(blog)
    assert len(told[0].headers) == 50


@pytest.mark.parametrize("length", ["500", "-1", "x", "99999999999999999999"])
def test_a_caller_who_lies_about_the_length_or_hangs_up_does_no_harm(
    serve: Callable[..., Blog], sqlite_url: str, length: str
) -> None:
    blog = serve(sqlite_url)
    receive(blog)
    parts = urlsplit(blog.base_url)
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as sock:
        head = "".join(f"{name}: {value}\r\n" for name, value in signed(blog, b"{}").items())
        sock.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {length}\r\n\r\n{{".encode())
    assert request("POST", blog.base_url + PATH, b"{}", signed(blog, b"{}", "m2"))[0] == 202
    assert [each.message_id for each in receipts(blog)] == ["m2"]


def test_a_header_that_comes_twice(serve: Callable[..., Blog], sqlite_url: str) -> None:
    blog = serve(sqlite_url)
    receive(blog)
    parts = urlsplit(blog.base_url)
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        said = signed(blog, b"{}")
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        connection.putrequest("POST", PATH)
        for header, value in [*said.items(), (name, said[name]), ("Content-Length", "2")]:
            connection.putheader(header, value)
        connection.endheaders(b"{}")
        assert connection.getresponse().status == 401
        connection.close()
    assert receipts(blog) == []


# --- floods --------------------------------------------------------------------------------------------


def test_who_is_refused_too_often_is_told_to_wait_and_who_signs_is_not(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = blogs(sqlite_url, RATE_LIMITS={"caller": 5})
    receive(blog)
    statuses = [post(blog, "shop", b"{}", {}, caller="198.41.0.4").status_code for _ in range(8)]
    assert statuses == [401] * 5 + [429] * 3
    answer = post(blog, "shop", b"{}", {}, caller="198.41.0.4")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    # GitHub does not send again what is refused: who signs as it should may send as much as it likes
    told = [tell(blog, {}, f"m{number}", caller="198.41.0.4") for number in range(20)]
    assert told == [202] * 20
    assert post(blog, "shop", b"{}", {}, caller="198.41.0.5").status_code == 401


def test_a_flood_of_repeats_leaves_one_row(shop: Blog) -> None:
    for _ in range(100):
        assert tell(shop, {}) == 202
    assert len(receipts(shop)) == len(handling(shop)) == 1
