"""Hostile: subscribers, publishers and topics that mean harm, or do it; and whatever a fuzzer thinks of."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_linkback.models import Attempt, Content, Job, JobState, Subscriber, SubscriberState
from flask_linkback.models import Topic as TopicRow
from flask_linkback.websub import hub
from tests.apps import Blog
from tests.hostile.odd import NO_LIMITS, fuzz, odd_text, odd_urls
from tests.neighbours import Answer, Neighbour
from tests.pingback.tools import Clock, pending, request, rows, vanish, work
from tests.websub.hubs import (
    FORM,
    HUB,
    SETTINGS,
    Callback,
    Topic,
    ask,
    ask_for,
    change,
    publish,
    subscribe,
    subscriber,
    tend,
)

PUBLIC = "93.184.215.14"


@pytest.fixture
def blogs(blogs: Callable[..., Blog]) -> Callable[..., Blog]:
    """A maker of blogs that are hubs for any topic."""
    return lambda url, **settings: blogs(url, **{**SETTINGS, **settings})


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    return blogs(sqlite_url, FETCH_TIMEOUT=0.3, DELIVERY_TIMEOUT=0.3)


@pytest.fixture
def callback(neighbour: Neighbour) -> Callback:
    return Callback(neighbour)


@pytest.fixture
def topic(neighbour: Neighbour) -> Topic:
    topic = Topic(neighbour)
    topic.say(b"<p>One.</p>")
    return topic


# --- callbacks that misbehave when they are asked --------------------------------------------------------


def test_a_callback_that_cannot_be_reached_is_asked_three_times(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, topic: Topic, clock: Clock
) -> None:
    blog = blogs(database_url)
    neighbour.route("/callback", lambda request, wire: setattr(wire, "keep", False))  # hangs up
    ask_for(blog, neighbour.url("/callback"), topic.url)
    for tries in (1, 2, 3, 3):
        work(blog)
        assert len(neighbour.requests) == tries
        clock.move(3600)
    (one,) = rows(blog, Subscriber)
    assert (one.state, one.reason, one.wanted_key) == (SubscriberState.ended, "unreachable", None)
    assert pending(blog, "verify_subscriber") == []


def test_a_callback_that_comes_back_is_verified(
    blog: Blog, neighbour: Neighbour, topic: Topic, clock: Clock
) -> None:
    neighbour.route("/callback", lambda request, wire: setattr(wire, "keep", False))
    callback_url = neighbour.url("/callback")
    ask_for(blog, callback_url, topic.url)
    work(blog)
    Callback(neighbour)
    clock.move(60)
    work(blog)
    assert subscriber(blog).state is SubscriberState.active


def test_a_callback_that_hangs_holds_nobody_up(blog: Blog, neighbour: Neighbour, topic: Topic) -> None:
    neighbour.route("/callback", lambda request, wire: wire.pause())
    ask_for(blog, neighbour.url("/callback"), topic.url)
    work(blog)
    (job,) = pending(blog, "verify_subscriber")
    assert job.reason == "too_slow"


@pytest.mark.parametrize("networks", [(), {"topic": "127.0.0.0/8", "hub": "127.0.0.0/8"}])
def test_a_callback_in_our_own_network_is_not_asked_and_nobody_hears_why(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic, networks: Any
) -> None:
    blog = blogs(sqlite_url, ALLOW_NETWORKS=networks)
    open_port = ask_for(blog, callback.url, topic.url)
    closed_port = ask_for(blog, "http://127.0.0.1:9/", topic.url)
    public = ask_for(blog, "http://reader.invalid/", topic.url)
    assert len({(each.status_code, each.data) for each in (open_port, closed_port, public)}) == 1
    work(blog)
    assert callback.neighbour.requests == []
    assert [each.reason for each in rows(blog, Subscriber)][:2] == ["address_refused"] * 2


def test_topics_and_callbacks_have_separate_policies(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(sqlite_url, ALLOW_NETWORKS={"callback": "127.0.0.0/8"})
    subscribe(blog, callback, topic.url)
    assert subscriber(blog).state is SubscriberState.active
    publish(blog, topic.url)
    assert topic.looks == []
    (job,) = (each for each in rows(blog, Job) if each.kind == "fetch_topic")
    assert job.state is JobState.dead
    assert job.reason.startswith("address_refused")


def test_an_address_that_became_private_gets_nothing_and_stays_subscribed(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(sqlite_url)
    subscribe(blog, callback, topic.url)
    change(blog, callback_url="http://10.0.0.1/", callback_host="10.0.0.1")
    publish(blog, topic.url)
    (job,) = (each for each in rows(blog, Job) if each.kind == "deliver_content")
    assert job.state is JobState.dead
    assert subscriber(blog).state is SubscriberState.active


def test_a_newer_request_takes_the_place_of_one_that_waits(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(database_url)
    for number in range(3):
        ask_for(blog, callback.url, topic.url, secret=str(number), lease_seconds=4000 + number)
    work(blog)
    assert [each["hub.lease_seconds"] for each in callback.asked] == ["4002"]
    (one,) = rows(blog, Subscriber)
    assert (one.secret, one.lease_seconds) == ("2", 4002)


def test_a_request_that_comes_while_the_one_before_is_asked_is_not_lost(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    """What was confirmed is not what is wanted now: the old secret never takes effect."""
    blog = blogs(database_url)
    confirm, secrets = callback.confirm, []

    def meanwhile(challenge: str) -> Answer:
        if not secrets:
            ask_for(blog, callback.url, topic.url, secret="new")
        secrets.append(subscriber(blog).secret)
        return confirm(challenge)

    callback.confirm = meanwhile
    subscribe(blog, callback, topic.url, secret="old")
    assert secrets == [None, None]
    assert (subscriber(blog).secret, subscriber(blog).state) == ("new", SubscriberState.active)


def test_a_verification_whose_worker_vanished_for_good_is_over(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic, clock: Clock
) -> None:
    blog = blogs(database_url)
    ask_for(blog, callback.url, topic.url)
    vanish(blog, clock)
    work(blog)
    (one,) = rows(blog, Subscriber)
    assert (one.state, one.wanted_key) == (SubscriberState.ended, None)


# --- callbacks that misbehave when they are told ---------------------------------------------------------


@pytest.mark.parametrize(
    "misbehave",
    [
        lambda request, wire: wire.pause(),
        lambda request, wire: setattr(wire, "keep", False),
        lambda request, wire: wire.send(b"SSH-2.0-x\r\n"),
        lambda request, wire: wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx") or wire.pause(),
    ],
)
def test_a_callback_that_takes_nothing_is_told_again(
    blog: Blog, callback: Callback, topic: Topic, clock: Clock, misbehave: Callable[..., Any]
) -> None:
    subscribe(blog, callback, topic.url)
    callback.answer = misbehave
    publish(blog, topic.url)
    assert len(callback.taken) == 1
    callback.answer = Answer(status=200)
    clock.move(3500)
    work(blog)
    assert callback.bodies == [b"<p>One.</p>"] * 2
    assert rows(blog, Attempt)[-1].status_code == 200


def test_one_who_fails_does_not_keep_others_waiting(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, topic: Topic
) -> None:
    blog = blogs(database_url)
    callbacks = [Callback(neighbour, path=f"/callback/{number}") for number in range(20)]
    for callback in callbacks:
        subscribe(blog, callback, topic.url)
    callbacks[3].answer = Answer(status=500)
    callbacks[7].answer = Answer(status=410)
    publish(blog, topic.url)
    assert [len(each.taken) for each in callbacks] == [1] * 20
    topic.say(b"<p>Two.</p>")
    publish(blog, topic.url)
    assert [len(each.taken) for each in callbacks] == [2] * 7 + [1] + [2] * 12


def test_a_closed_port_is_a_failure(blog: Blog, callback: Callback, topic: Topic) -> None:
    subscribe(blog, callback, topic.url)
    with Neighbour() as other:
        gone = other.url("/callback")
    change(blog, callback_url=gone)
    publish(blog, topic.url)
    (job,) = pending(blog, "deliver_content")
    assert job.reason.startswith("unreachable")


# --- topics that misbehave -------------------------------------------------------------------------------


def test_a_topic_that_is_too_large_is_not_distributed(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(sqlite_url, MAX_BODY_BYTES=2048)
    topic.say(b"x" * 2049)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert callback.taken == rows(blog, Content) == []


@pytest.mark.parametrize("content_type", ["text/html\x01", "a" * 300, "", "text/ht\xe4l"])
def test_a_media_type_that_is_none_does_no_harm(
    blog: Blog, callback: Callback, topic: Topic, content_type: str
) -> None:
    topic.content_type = content_type
    topic.say(b"x")
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    (taken,) = callback.taken
    assert taken.body == b"x"
    assert taken.header("Content-Type") in (None, content_type)


def test_bodies_are_kept_as_long_as_they_are_of_use(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic, clock: Clock
) -> None:
    blog = blogs(database_url, RATE_LIMITS=NO_LIMITS, RETENTION_DAYS=3, ROW_RETENTION_DAYS=5)
    subscribe(blog, callback, topic.url, lease_seconds=2_592_000)
    for number in range(20):
        topic.say(b"%d" % number)
        publish(blog, topic.url)
    kept = [content.body for content in rows(blog, Content)]
    assert kept == [None] * 4 + [b"%d" % number for number in range(4, 20)]
    tend(blog, clock, days=3)
    assert [content.body for content in rows(blog, Content)] == [None] * 19 + [b"19"]
    tend(blog, clock, days=2)
    assert [content.body for content in rows(blog, Content)] == [b"19"]
    tend(blog, clock, days=40)
    tend(blog, clock, hours=1)
    assert rows(blog, Subscriber) == rows(blog, TopicRow) == []
    tend(blog, clock, hours=1)
    assert rows(blog, Content) == []


# --- floods ----------------------------------------------------------------------------------------------


def test_a_caller_may_ask_so_often_in_a_minute(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic, clock: Clock
) -> None:
    blog = blogs(sqlite_url, RATE_LIMITS={"caller": 3})
    for mode in ("subscribe", "unsubscribe"):
        assert ask_for(blog, callback.url, topic.url, mode, caller=PUBLIC).status_code == 202
    assert ask(blog, {"hub.mode": "publish", "hub.url": topic.url}, caller=PUBLIC).status_code == 204
    refused = ask_for(blog, callback.url, topic.url, caller=PUBLIC)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert refused.text == "Too many requests: please come back later.\n"
    refused = ask(blog, {"hub.mode": "publish", "hub.url": topic.url}, caller=PUBLIC)
    assert refused.status_code == 429
    assert ask_for(blog, callback.url, topic.url, caller="93.184.215.15").status_code == 202
    clock.move(60)
    assert ask_for(blog, callback.url, topic.url, caller=PUBLIC).status_code == 202


def test_topics_are_fetched_so_often_in_a_minute_in_all(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    """Whoever follows many topics, and says that all of them have something new, gets them by and by."""
    blog = blogs(sqlite_url, RATE_LIMITS={"fetches": 3})
    callback, topics = Callback(neighbour), [Topic(neighbour, path=f"/{number}") for number in range(5)]
    for topic in topics:
        topic.say(topic.path.encode())
        subscribe(blog, callback, topic.url)
    publish(blog, *(topic.url for topic in topics))
    assert len(callback.taken) == 3
    assert {job.attempts for job in pending(blog, "fetch_topic")} == {0}
    clock.move(60)
    work(blog)
    assert sorted(callback.bodies) == [topic.path.encode() for topic in topics]


@pytest.mark.parametrize(
    ("limit", "passes"),
    [("MAX_OPEN", []), ("MAX_OPEN_OF_A_HOST", ["topic"]), ("MAX_OPEN_OF_A_TOPIC", ["host"])],
)
def test_so_many_requests_may_wait(
    blogs: Callable[..., Blog],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    passes: list[str],
) -> None:
    blog = blogs(database_url)
    monkeypatch.setattr(hub, limit, 3)
    for number in range(3):
        callback_url = (
            f"http://a.invalid/{number}" if limit != "MAX_OPEN_OF_A_TOPIC" else f"http://{number}.invalid/"
        )
        topic_url = "http://t.invalid/" if limit != "MAX_OPEN_OF_A_HOST" else f"http://t.invalid/{number}"
        assert ask_for(blog, callback_url, topic_url).status_code == 202
    # the same once more is no other
    assert ask_for(blog, callback_url, topic_url).status_code == 202
    statuses = {
        "both": ask_for(blog, "http://a.invalid/new", "http://t.invalid/").status_code,
        "topic": ask_for(blog, "http://b.invalid/new", "http://t.invalid/").status_code,
        "host": ask_for(blog, "http://a.invalid/new", "http://t.invalid/new").status_code,
    }
    assert [name for name, status in statuses.items() if status == 202] == passes
    assert {status for name, status in statuses.items() if name not in passes} == {429}
    assert len(rows(blog, Subscriber)) == 3 + len(passes)


def test_a_host_that_never_agrees_is_left_alone_for_a_while(
    blogs: Callable[..., Blog],
    database_url: str,
    neighbour: Neighbour,
    topic: Topic,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever names a stranger's host makes us ask it no more than so often; its own subscribers stay."""
    blog = blogs(database_url)
    monkeypatch.setattr(hub, "MAX_FAILED_OF_A_HOST", 5)
    friend = Callback(neighbour, path="/friend")
    subscribe(blog, friend, topic.url)
    for number in range(4):
        ask_for(blog, neighbour.url(f"/nobody/{number}"), topic.url)
        work(blog)
    ask_for(blog, neighbour.url("/nobody/0"), topic.url)
    work(blog)
    assert ask_for(blog, neighbour.url("/nobody/9"), topic.url).status_code == 429
    assert ask_for(blog, "http://b.invalid/", topic.url).status_code == 202
    subscribe(blog, friend, topic.url)
    clock.at += timedelta(hours=1)
    assert ask_for(blog, neighbour.url("/nobody/9"), topic.url).status_code == 202


def test_who_never_agreed_is_forgotten(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, topic: Topic, clock: Clock
) -> None:
    blog = blogs(database_url)
    friend = Callback(neighbour)
    subscribe(blog, friend, topic.url)
    ask_for(blog, neighbour.url("/nobody"), neighbour.url("/elsewhere"))
    work(blog)
    tend(blog, clock, hours=23)
    assert (len(rows(blog, Subscriber)), len(rows(blog, TopicRow))) == (2, 2)
    tend(blog, clock, hours=1)
    assert [each.callback_url for each in rows(blog, Subscriber)] == [friend.url]
    assert [each.url for each in rows(blog, TopicRow)] == [topic.url]


def test_the_same_request_many_times_at_once_is_one_subscriber(
    serve: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    blog = serve(database_url, **SETTINGS)
    fields = {"hub.mode": "subscribe", "hub.callback": callback.url, "hub.topic": topic.url}
    body, headers = urlencode(fields).encode(), {"Content-Type": FORM}
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: request("POST", blog.base_url + HUB, body, headers)[0], range(16))
        assert set(answers) == {202}
    work(blog)
    assert (len(rows(blog, Subscriber)), len(callback.asked)) == (1, 1)


# --- whatever comes --------------------------------------------------------------------------------------

odd_values = st.one_of(
    odd_urls,
    odd_text,
    st.sampled_from(["subscribe", "unsubscribe", "publish", "https://blog.example/post/a", "60", "9" * 400]),
)
odd_names = st.sampled_from(
    [
        *(
            f"hub.{name}"
            for name in ("mode", "callback", "topic", "url", "lease_seconds", "secret", "verify")
        ),
        *("hub.verify_token", "hub.url[]", "whole", "", "hub"),
    ]
)


@pytest.fixture
def fuzzed(blogs: Callable[..., Blog], database_url: str) -> Blog:
    return blogs(database_url, RATE_LIMITS=NO_LIMITS, ALLOW_NETWORKS=(), HUB_TOPICS="any")


@fuzz
@given(pairs=st.lists(st.tuples(odd_names, odd_values), max_size=8))
def test_odd_parameters(fuzzed: Blog, pairs: list[tuple[str, str]]) -> None:
    ask(fuzzed, urlencode(pairs, errors="surrogatepass").encode())


@fuzz
@given(
    callback=odd_urls,
    topic=odd_urls,
    mode=st.sampled_from(["subscribe", "unsubscribe", "publish"]),
    secret=odd_text,
    lease=st.one_of(odd_text, st.integers().map(str)),
    token=odd_text,
    name=odd_text,
)
def test_odd_values_in_a_request_that_is_whole(
    fuzzed: Blog, callback: str, topic: str, mode: str, secret: str, lease: str, token: str, name: str
) -> None:
    pairs = {
        "hub.mode": mode,
        "hub.callback": callback,
        "hub.topic": topic,
        "hub.url": topic,
        "hub.secret": secret,
        "hub.lease_seconds": lease,
        "hub.verify_token": token,
        name: secret,
    }
    ask(fuzzed, urlencode(pairs, errors="surrogatepass").encode())


@fuzz
@given(
    body=st.binary(max_size=300),
    content_type=st.sampled_from(
        [
            FORM,
            "",
            "application/json",
            "text/plain; charset=\xff",
            "multipart/form-data",
            f"{FORM}; charset=x",
        ]
    ),
    headers=st.dictionaries(
        st.sampled_from(
            [
                "Accept",
                "Authorization",
                "Content-Encoding",
                "Expect",
                "X-Hub-Signature",
                "Cookie",
                "From",
            ]
        ),
        st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=20),
        max_size=4,
    ),
)
def test_random_bytes_and_headers(
    fuzzed: Blog, body: bytes, content_type: str, headers: dict[str, str]
) -> None:
    for each in (body, b"hub.mode=publish&hub.url=" + body, b"hub.mode=subscribe&hub.callback=" + body):
        ask(fuzzed, each, content_type=content_type, headers=headers)


@fuzz
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]),
    query=odd_text,
)
def test_random_methods_and_queries(fuzzed: Blog, method: str, query: str) -> None:
    query = query.encode("utf-8", "replace").decode()
    code = fuzzed.app.test_client().open(HUB, method=method, query_string=query).status_code
    assert code == (200 if method in ("GET", "HEAD", "OPTIONS") else 400 if method == "POST" else 405)


@pytest.mark.parametrize("size", [100, 300_000])
def test_chunks_without_a_length(
    serve: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic, size: int
) -> None:
    blog = serve(sqlite_url, **SETTINGS)
    fields = {"hub.mode": "subscribe", "hub.callback": callback.url, "hub.topic": topic.url, "x": ""}
    form = urlencode(fields).encode()
    parts = urlsplit(blog.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    chunks = [form[:10], form[10:] + b"x" * size]
    connection.request("POST", HUB, iter(chunks), {"Content-Type": FORM}, encode_chunked=True)
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == (202 if size == 100 else 413)


def test_what_the_worker_makes_of_odd_requests(fuzzed: Blog) -> None:
    """Whatever was taken is worked off: nothing is left behind that raises."""
    for mode in ("subscribe", "unsubscribe", "subscribe"):
        for callback in ("https://a.invalid/é?ü=%", "http://[2001:db8::1]/", "http://xn--bcher-kva.invalid/"):
            for topic in ("https://t.invalid/%zz?%", "http://bücher.invalid/ü", "https://T.invalid:443"):
                assert (
                    ask_for(fuzzed, callback, topic, mode, verify_token="\u202e", x="\0").status_code == 202
                )
    work(fuzzed)
    assert all("Error" not in job.reason for job in rows(fuzzed, Job))
    assert {each.state for each in rows(fuzzed, Subscriber)} <= {
        SubscriberState.pending,
        SubscriberState.ended,
    }
