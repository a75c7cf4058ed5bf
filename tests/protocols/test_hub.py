"""Hub: requests that are read or refused with a reason, and the URLs by which callbacks are asked."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.protocols.hub import (
    BadLease,
    HasFragment,
    Mode,
    NotAURL,
    NotText,
    ParameterMissing,
    ParameterRepeated,
    Ping,
    RequestError,
    SecretTooLong,
    SubscriptionRequest,
    TooLarge,
    TooLong,
    UnknownMode,
    denial_url,
    parse_request,
    spelled,
    verification_url,
)
from tests.thorough import examples

CALLBACK = "https://reader.example/cb?x=1&y=%c3%a9"
TOPIC = "https://blog.example/feed"
ASKED = {"hub.mode": "subscribe", "hub.callback": CALLBACK, "hub.topic": TOPIC}


def form(**more: Any) -> bytes:
    fields = {**ASKED, **{f"hub.{name}": value for name, value in more.items()}}
    return urlencode(
        {name: value for name, value in fields.items() if value is not None}, doseq=True
    ).encode()


def subscription(body: bytes) -> SubscriptionRequest:
    request = parse_request(body)
    assert isinstance(request, SubscriptionRequest)
    return request


# --- what is read ----------------------------------------------------------------------------------------


def test_a_request_to_subscribe() -> None:
    body = form(lease_seconds="600", secret="gehéim", verify="async", verify_token="tök en")
    assert parse_request(body) == SubscriptionRequest(
        mode=Mode.subscribe,
        callback=CALLBACK,
        topic=TOPIC,
        lease_seconds=600,
        secret="gehéim",
        verify_token="tök en",
        params={
            **ASKED,
            "hub.lease_seconds": "600",
            "hub.verify": "async",
            "hub.verify_token": "tök en",
        },
    )
    assert "gehéim" not in repr(parse_request(body))


def test_what_is_empty_is_not_there() -> None:
    """PubSubHubbub 0.3 had an empty lease for one without end: there is none, so it is the default."""
    request = subscription(form(lease_seconds="", secret="", verify_token=""))
    assert (request.lease_seconds, request.secret, request.verify_token) == (None, None, None)


def test_the_same_said_twice_is_said() -> None:
    assert subscription(form(topic=[TOPIC, TOPIC], verify=["sync", "async"])).topic == TOPIC


@pytest.mark.parametrize(
    ("value", "whole"),
    [("true", True), ("1", True), ("yes", True), ("0", False), ("FALSE", False), ("", False)],
)
def test_whole_is_a_wish_of_a_subscriber(value: str, whole: bool) -> None:
    assert subscription(form() + f"&whole={value}".encode()).whole is whole
    assert not subscription(form(mode="unsubscribe") + f"&whole={value}".encode()).whole


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1", 1),
        ("0086400", 86400),
        ("2147483647", 2**31 - 1),
        ("2147483648", 2**31 - 1),
        ("9" * 5000, 2**31 - 1),
    ],
)
def test_leases_are_positive_whole_numbers(value: str, seconds: int) -> None:
    assert subscription(form(lease_seconds=value)).lease_seconds == seconds


@pytest.mark.parametrize("value", ["0", "-1", "+1", "1.5", "1e3", "ten", "١٢", " 600", "0x10", "000"])
def test_other_leases_are_errors_unless_somebody_leaves(value: str) -> None:
    with pytest.raises(BadLease):
        parse_request(form(lease_seconds=value))
    assert subscription(form(lease_seconds=value, mode="unsubscribe")).lease_seconds is None


@pytest.mark.parametrize(
    ("secret", "fits"),
    [("x" * 199, True), ("x" * 200, False), ("é" * 99, True), ("é" * 100, False), ("€" * 67, False)],
)
def test_the_length_of_a_secret_is_counted_in_bytes(secret: str, fits: bool) -> None:
    if fits:
        assert subscription(form(secret=secret)).secret == secret
    else:
        with pytest.raises(SecretTooLong):
            parse_request(form(secret=secret))
    assert subscription(form(secret=secret, mode="unsubscribe")).secret is None


@pytest.mark.parametrize(
    "pairs",
    [
        [("hub.url", TOPIC)],
        [("hub.topic", TOPIC)],
        [("hub.url[]", TOPIC)],
        [("hub.topic[]", TOPIC), ("hub.url", TOPIC)],
        [("hub.url", ""), ("hub.url", TOPIC), ("hub.url", TOPIC), ("other", "x")],
    ],
)
def test_a_publisher_may_name_its_topics_by_many_names(pairs: list[tuple[str, str]]) -> None:
    assert parse_request(urlencode([("hub.mode", "publish"), *pairs]).encode()) == Ping(topics=[TOPIC])


def test_a_publisher_may_name_many_topics() -> None:
    urls = [f"{TOPIC}/{number}" for number in range(300)]
    pairs = [("hub.mode", "publish"), *(("hub.url", url) for url in urls)]
    assert parse_request(urlencode(pairs).encode()) == Ping(topics=urls)


def test_a_token_that_cannot_be_sent_back_is_passed_over() -> None:
    for token in ("x" * 256, "a\0b"):
        assert subscription(form(verify_token=token)).verify_token is None
    assert subscription(form() + b"&hub.verify_token=%ff").verify_token is None


def test_what_is_handed_on_has_an_end() -> None:
    more = urlencode([(f"x{number}", "y" * 1000) for number in range(50)]).encode()
    params = subscription(form() + b"&" + more).params
    assert len(params) < 12
    assert sum(map(len, params.values())) <= 8192
    assert subscription(form() + b"&a=%00\xff%ff").params["a"] == ""


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"mode": None}, ParameterMissing, "The hub.mode is missing."),
        ({"mode": ""}, ParameterMissing, "The hub.mode is missing."),
        ({"mode": "Subscribe"}, UnknownMode, "The hub.mode must be subscribe, unsubscribe or publish."),
        ({"mode": ["subscribe", "unsubscribe"]}, ParameterRepeated, "There is more than one hub.mode."),
        ({"callback": None}, ParameterMissing, "The hub.callback is missing."),
        ({"callback": [CALLBACK, TOPIC]}, ParameterRepeated, "There is more than one hub.callback."),
        ({"callback": "/cb"}, NotAURL, "The hub.callback is no http or https URL."),
        ({"callback": "mailto:a@b.example"}, NotAURL, "The hub.callback is no http or https URL."),
        ({"callback": f"{CALLBACK}#x"}, HasFragment, "The hub.callback must have no fragment."),
        ({"callback": "http://a.example/" + "x" * 2048}, TooLong, "The hub.callback is too long."),
        ({"callback": "http://a.example/\0"}, NotText, "The hub.callback is no UTF-8 text."),
        ({"topic": None}, ParameterMissing, "The hub.topic is missing."),
        ({"topic": "https:///feed"}, NotAURL, "The hub.topic is no http or https URL."),
        ({"topic": f"{TOPIC}#"}, HasFragment, "The hub.topic must have no fragment."),
        ({"secret": ["a", "b"]}, ParameterRepeated, "There is more than one hub.secret."),
        ({"secret": b"\xff\xfe"}, NotText, "The hub.secret is no UTF-8 text."),
        ({"secret": "a\0b"}, NotText, "The hub.secret is no UTF-8 text."),
        ({"mode": "publish"}, None, ""),
        ({"mode": "publish", "topic": None}, ParameterMissing, "The hub.url is missing."),
        ({"mode": "publish", "url": "feed"}, NotAURL, "The hub.url is no http or https URL."),
        ({"mode": "publish", "url": b"http://a.example/\xff"}, NotText, "The hub.url is no UTF-8 text."),
    ],
)
def test_what_is_wrong_is_said(fields: Any, error: type[RequestError] | None, text: str) -> None:
    if error is None:
        parse_request(form(**fields))
        return
    with pytest.raises(error) as raised:
        parse_request(form(**fields))
    assert str(raised.value) == text


@pytest.mark.parametrize("body", [b"x" * (64 * 1024 + 1), b"&".join([b"a=b"] * 1001)])
def test_what_is_too_large_is_not_read(body: bytes) -> None:
    with pytest.raises(TooLarge):
        parse_request(form() + b"&" + body)


# --- laws ------------------------------------------------------------------------------------------------

names = st.sampled_from(
    [
        f"hub.{name}"
        for name in ("mode", "topic", "callback", "lease_seconds", "secret", "url", "verify_token")
    ]
)
values = st.one_of(
    st.sampled_from(["subscribe", "unsubscribe", "publish", TOPIC, CALLBACK, "60"]),
    st.text(max_size=20),
    st.binary(max_size=20),
)


@given(pairs=st.lists(st.tuples(names, values), max_size=8), rest=st.binary(max_size=30))
def test_whatever_comes_is_read_or_refused_with_a_short_sentence(pairs: Any, rest: bytes) -> None:
    body = urlencode(pairs, errors="surrogatepass").encode() + rest
    try:
        said = repr(parse_request(body))
    except RequestError as error:
        said = str(error)[:201]
    assert len(said) > 0
    said.encode()


@given(body=st.binary(max_size=200))
def test_random_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        parse_request(body)


@given(unknown=st.lists(st.tuples(st.text(min_size=1, max_size=9), values), max_size=9))
def test_what_a_hub_does_not_know_changes_nothing(unknown: Any) -> None:
    """H2."""
    unknown = [(f"x-{name}", value) for name, value in unknown]
    more = urlencode(unknown, errors="surrogatepass").encode()
    request, with_more = subscription(form()), subscription(form() + b"&" + more)
    assert (request.callback, request.topic, request.secret) == (
        with_more.callback,
        with_more.topic,
        with_more.secret,
    )


queries = st.text(alphabet=[chr(code) for code in range(0x21, 0x7F) if chr(code) not in "#\\"], max_size=30)
words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=examples(300))
@given(query=queries, topic=words, challenge=words, token=st.none() | words, lease=st.none() | st.integers(1))
def test_the_query_of_a_callback_stays_as_it_is(
    query: str, topic: str, challenge: str, token: str | None, lease: int | None
) -> None:
    """H12: byte for byte in front, ours behind, none of them changed by the other."""
    callback = f"https://reader.example/cb?{query}"
    url = verification_url(
        callback,
        mode=Mode.subscribe,
        topic=topic,
        challenge=challenge,
        lease_seconds=lease,
        verify_token=token,
    )
    assert url.startswith(callback)
    added = url.removeprefix(callback)
    if query and not query.endswith(("?", "&")):
        assert added.startswith("&")
        added = added[1:]
    said = {"hub.mode": "subscribe", "hub.topic": topic, "hub.challenge": challenge}
    said |= {} if lease is None else {"hub.lease_seconds": str(lease)}
    said |= {} if token is None else {"hub.verify_token": token}
    assert parse_qsl(added, keep_blank_values=True, strict_parsing=True) == list(said.items())
    assert added.isascii()


def test_a_callback_without_query_gets_one() -> None:
    url = verification_url("https://a.example/cb", mode=Mode.unsubscribe, topic=TOPIC, challenge="c")
    assert url == (
        "https://a.example/cb?hub.mode=unsubscribe&hub.topic=https%3A%2F%2Fblog.example%2Ffeed&hub.challenge=c"
    )


@given(reason=words, size=st.integers(0, 1950))
def test_a_denial_says_as_much_of_its_reason_as_there_is_room_for(reason: str, size: int) -> None:
    callback = "https://reader.example/" + "x" * size
    url = denial_url(callback, topic=TOPIC, reason=reason * 100)
    assert len(url) <= max(2048, len(denial_url(callback, topic=TOPIC)))
    said = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    assert (said["hub.mode"], said["hub.topic"]) == ("denied", TOPIC)
    assert (reason * 100).startswith(said.get("hub.reason", ""))


@given(path=st.text(max_size=40))
def test_one_spelling_says_the_same_and_is_spelled_so_already(path: str) -> None:
    """H11."""
    once = spelled(path)
    assert spelled(once) == once
    assert once.isascii()
    assert not set(once) & set('<>" \r\n')
    assert unquote_to_bytes(once) == unquote_to_bytes(path.encode("utf-8", "replace"))


def test_what_is_reserved_stays_encoded() -> None:
    assert spelled("/100%&x=%%411") == "/100%25&x=%25A1"
    assert spelled("/%7euser/%41%2f%2D?a=%26&b=ö%c3") == "/~user/A%2F-?a=%26&b=%C3%B6%C3"
