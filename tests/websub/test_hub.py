"""Hub: every requirement of WebSub on a hub, by its number, and what PubSubHubbub leaves us.

The numbers are those of the checklist: the sections of the Recommendation stand beside them.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from flask_linkback import signals
from flask_linkback.models import Attempt, Content, Job, JobState, Subscriber, SubscriberState
from flask_linkback.models import Topic as TopicRow
from flask_linkback.outbox.worker import Worker, drain
from flask_linkback.websub.distributing import attempts_of, deliveries_of
from flask_linkback.websub.forgetting import forget_subscribers
from flask_linkback.websub.subscribers import deny
from tests.apps import Blog, mounted, protected
from tests.neighbours import Answer, Gone, Neighbour, Request, Wire
from tests.pingback.tools import Clock, add, heard, names, pending, rows, work
from tests.websub.hubs import (
    FORM,
    HUB,
    SETTINGS,
    Callback,
    Topic,
    ask,
    ask_for,
    publish,
    subscribe,
    subscriber,
    tend,
)


@pytest.fixture
def blogs(blogs: Callable[..., Blog]) -> Callable[..., Blog]:
    """A maker of blogs that are hubs for any topic."""
    return lambda url, **settings: blogs(url, **{**SETTINGS, **settings})


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    return blogs(sqlite_url)


@pytest.fixture
def callback(neighbour: Neighbour) -> Callback:
    return Callback(neighbour)


@pytest.fixture
def topic(neighbour: Neighbour) -> Topic:
    topic = Topic(neighbour)
    topic.say(b"<p>One.</p>")
    return topic


def state(blog: Blog) -> str:
    return subscriber(blog).state.value


# --- what is asked (sections 3.1.3, 5.1) ----------------------------------------------------------------


def test_h1_a_request_with_callback_mode_topic_and_secret_is_accepted(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(database_url)
    assert ask_for(blog, callback.url, topic.url, secret="geheim").status_code == 202
    (one,) = rows(blog, Subscriber)
    assert (one.state, one.secret, one.wanted_secret) == (SubscriberState.pending, None, "geheim")
    assert "geheim" not in repr(one.wanted_secret)
    work(blog)
    (one,) = rows(blog, Subscriber)
    assert (one.state, one.secret, one.wanted_secret) == (SubscriberState.active, "geheim", None)
    assert all("geheim" not in repr(job.payload) for job in rows(blog, Job))


def test_h2_what_the_hub_does_not_know_is_ignored(blog: Blog, callback: Callback, topic: Topic) -> None:
    fields = [
        ("hub.callback", callback.url),
        ("hub.mode", "subscribe"),
        ("hub.topic", topic.url),
        ("hub.verify", "sync"),
        ("hub.verify", "async"),
        ("foo", "bar"),
        ("hub.something", "\0\ud83d" * 10),
        ("", ""),
    ]
    body = "&".join(f"{name}={value}" for name, value in fields).encode("utf-8", "surrogatepass")
    assert ask(blog, body + b"&x=%ff%00").status_code == 202
    work(blog)
    assert state(blog) == "active"


def test_h3_a_request_that_can_be_handled_is_answered_202_and_verified_soon(
    blog: Blog, callback: Callback, topic: Topic
) -> None:
    assert ask_for(blog, callback.url, topic.url).status_code == 202
    assert callback.asked == []
    (job,) = rows(blog, Job)
    assert (job.kind, job.due_at) == ("verify_subscriber", blog.site.now())


@pytest.mark.parametrize("status", [200, 404, 500])
def test_h4_the_answer_does_not_depend_on_what_the_callback_says(
    blog: Blog, callback: Callback, topic: Topic, status: int
) -> None:
    callback.confirm = lambda challenge: Answer(status=status, body=b"no")
    known = ask_for(blog, callback.url, topic.url)
    work(blog)
    again = ask_for(blog, callback.url, topic.url)
    nowhere = ask_for(blog, "http://127.0.0.1:1/nobody", topic.url)
    leaves = ask_for(blog, "http://127.0.0.1:1/nobody", topic.url, "unsubscribe")
    assert {(each.status_code, each.data) for each in (known, again, nowhere, leaves)} == {(202, known.data)}


def test_h4_the_answer_does_not_depend_on_the_policy(blog: Blog, callback: Callback, topic: Topic) -> None:
    taken = ask_for(blog, callback.url, topic.url)
    blog.linkback.websub.hub_policy(lambda *asked: "no")
    refused = ask_for(blog, callback.url, topic.url)
    assert (refused.status_code, refused.data) == (taken.status_code, taken.data)


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({}, 400, "The hub.mode is missing."),
        ({"hub.mode": "frob"}, 400, "The hub.mode must be subscribe, unsubscribe or publish."),
        ({"hub.callback": ""}, 400, "The hub.callback is missing."),
        ({"hub.callback": "nonsense"}, 400, "The hub.callback is no http or https URL."),
        (
            {"hub.callback": "http://user:x@c.example/"},
            400,
            "The hub.callback is no URL that we can use.",
        ),
        ({"hub.callback": "http://there.example:0/"}, 400, "The hub.callback is no URL that we can use."),
        ({"hub.callback": "http://a b/"}, 400, "The hub.callback is no URL that we can use."),
        ({"hub.topic": "http://[::1"}, 400, "The hub.topic is no URL that we can use."),
        ({"hub.lease_seconds": "soon"}, 400, "The hub.lease_seconds must be a positive whole number."),
        (
            {"hub.topic": "http://t.example/" + "x" * 1000, "hub.callback": "http://c.example/" + "x" * 1000},
            400,
            "The hub.callback and the hub.topic are too long together.",
        ),
        ({"hub.secret": "x" * 65_536}, 413, "The request is too large."),
    ],
)
def test_h5_errors_are_4xx_with_a_plain_text(
    blog: Blog, callback: Callback, topic: Topic, fields: dict[str, str], status: int, text: str
) -> None:
    asked = {"hub.mode": "subscribe", "hub.callback": callback.url, "hub.topic": topic.url, **fields}
    response = ask(blog, asked if fields else {})
    assert (response.status_code, response.text) == (status, f"{text}\n")
    assert rows(blog, Subscriber) == rows(blog, Job) == []


def test_h5_what_is_no_form_is_415(blog: Blog, callback: Callback, topic: Topic) -> None:
    for content_type in ("application/json", "multipart/form-data; boundary=x", "text/plain"):
        response = ask(blog, b"{}", content_type=content_type)
        assert (response.status_code, response.text) == (415, f"Please send {FORM}.\n")
    fields = {"hub.mode": "subscribe", "hub.callback": callback.url, "hub.topic": topic.url}
    for content_type in ("", f"{FORM}; charset=UTF-8", FORM.upper()):
        assert ask(blog, fields, content_type=content_type).status_code == 202


@pytest.mark.parametrize(("secret", "status"), [("é" * 99, 202), ("é" * 100, 400)])
def test_h6_a_secret_of_200_bytes_is_an_error(
    blog: Blog, callback: Callback, topic: Topic, secret: str, status: int
) -> None:
    response = ask_for(blog, callback.url, topic.url, secret=secret)
    assert response.status_code == status
    if status == 400:
        assert response.text == "The hub.secret must be shorter than 200 bytes.\n"
        assert rows(blog, Subscriber) == []


def test_h7_no_request_is_sent_on_to_another_hub(blog: Blog, callback: Callback, topic: Topic) -> None:
    """A hub may redirect; ours has nobody to send to."""
    assert "Location" not in ask_for(blog, callback.url, topic.url).headers


# --- subscribing again (section 5.1) ---------------------------------------------------------------------


def test_h8_a_subscription_is_renewed_at_any_time(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic, clock: Clock
) -> None:
    blog = blogs(database_url)
    subscribe(blog, callback, topic.url, lease_seconds=7200)
    clock.move(1000)
    subscribe(blog, callback, topic.url, lease_seconds=10_000)
    (one,) = rows(blog, Subscriber)
    assert (one.lease_expires_at - clock()).total_seconds() == one.lease_seconds == 10_000


@pytest.mark.parametrize("status", [404, 500, 302, 200])
def test_h8_what_is_not_verified_changes_nothing(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic, clock: Clock, status: int
) -> None:
    blog = blogs(database_url)
    subscribe(blog, callback, topic.url, secret="old", lease_seconds=7200)
    before = subscriber(blog)
    clock.move(100)
    callback.confirm = lambda challenge: Answer(status=status, body=b"", headers=[("Location", "/callback")])
    for mode in ("subscribe", "unsubscribe"):
        ask_for(blog, callback.url, topic.url, mode, secret="new", lease_seconds=9000)
        during = subscriber(blog)
        work(blog)
        after = subscriber(blog)
        for name in (
            "state",
            "secret",
            "lease_seconds",
            "lease_expires_at",
            "whole",
            "reason",
            "verified_at",
        ):
            assert getattr(before, name) == getattr(during, name) == getattr(after, name)
        assert after.wanted_key is after.wanted_secret is None
    publish(blog, topic.url)
    assert len(callback.taken) == 1


@pytest.mark.parametrize("secret", ["new", None])
def test_h9_a_new_secret_and_no_secret_take_effect(
    blog: Blog, callback: Callback, topic: Topic, secret: str | None
) -> None:
    subscribe(blog, callback, topic.url, secret="old")
    subscribe(blog, callback, topic.url, **({} if secret is None else {"secret": secret}))
    publish(blog, topic.url)
    signature = callback.taken[0].header("X-Hub-Signature")
    assert signature == (secret and signed(secret, callback.bodies[0]))


def signed(secret: str, body: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}={hmac.new(secret.encode(), body, algorithm).hexdigest()}"


def test_h10_who_unsubscribes_is_asked_and_gets_no_more(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(database_url)
    subscribe(blog, callback, topic.url)
    assert ask_for(blog, callback.url, topic.url, "unsubscribe").status_code == 202
    assert state(blog) == "active"
    work(blog)
    assert state(blog) == "ended"
    said = callback.asked[-1]
    assert (said["hub.mode"], said["hub.topic"]) == ("unsubscribe", topic.url)
    publish(blog, topic.url)
    assert callback.taken == topic.looks == []


def test_h10_who_never_subscribed_is_not_asked(blog: Blog, callback: Callback, topic: Topic) -> None:
    assert ask_for(blog, callback.url, topic.url, "unsubscribe").status_code == 202
    assert work(blog) == 0
    assert rows(blog, Subscriber) == rows(blog, TopicRow) == []


def test_h10_who_leaves_before_the_verification_has_left(
    blog: Blog, callback: Callback, topic: Topic
) -> None:
    ask_for(blog, callback.url, topic.url)
    ask_for(blog, callback.url, topic.url, "unsubscribe")
    work(blog)
    assert [each["hub.mode"] for each in callback.asked] == ["subscribe", "unsubscribe"]
    assert state(blog) == "ended"


def hang_up(challenge: str) -> Any:
    """A callback that cannot be reached."""
    raise Gone


def test_h10_an_unsubscription_that_is_tried_again_does_not_end_what_came_later(
    blog: Blog, callback: Callback, topic: Topic, clock: Clock
) -> None:
    subscribe(blog, callback, topic.url)
    callback.confirm = hang_up
    ask_for(blog, callback.url, topic.url, "unsubscribe")
    work(blog)
    callback.confirm = lambda challenge: Answer(body=challenge.encode())
    clock.move(1)
    subscribe(blog, callback, topic.url)
    for _ in range(5):
        clock.move(3600)
        work(blog)
    assert subscriber(blog).state is SubscriberState.active


def test_h10_who_asks_again_to_be_unsubscribed_is_asked_at_once(
    blog: Blog, callback: Callback, topic: Topic
) -> None:
    subscribe(blog, callback, topic.url)
    callback.confirm = hang_up
    ask_for(blog, callback.url, topic.url, "unsubscribe", verify_token="one")
    work(blog)
    callback.confirm = lambda challenge: Answer(body=challenge.encode())
    ask_for(blog, callback.url, topic.url, "unsubscribe", verify_token="two")
    work(blog)
    assert callback.asked[-1]["hub.verify_token"] == "two"
    assert subscriber(blog).state is SubscriberState.ended


def test_h10_who_comes_back_after_leaving_is_there(blog: Blog, callback: Callback, topic: Topic) -> None:
    subscribe(blog, callback, topic.url)
    ask_for(blog, callback.url, topic.url, "unsubscribe")
    ask_for(blog, callback.url, topic.url)
    work(blog)
    assert state(blog) == "active"
    assert len(rows(blog, Subscriber)) == 1


# --- URLs (section 5.1.1) --------------------------------------------------------------------------------


def test_h11_non_reserved_characters_are_decoded(
    blog: Blog, callback: Callback, neighbour: Neighbour
) -> None:
    """However a topic is spelled, it is one; the subscriber is asked by its own spelling."""
    topic = Topic(neighbour, path="/~user/feed-1")
    topic.say(b"x")
    odd = neighbour.url("/%7euser/%66eed%2D1").replace("http://", "HTTP://")
    subscribe(blog, callback, odd)
    assert callback.asked[0]["hub.topic"] == odd
    publish(blog, topic.url)
    assert callback.bodies == [b"x"]
    ask_for(blog, callback.url.replace("callback", "c%61llback"), topic.url)
    work(blog)
    assert len(rows(blog, Subscriber)) == 1


@pytest.mark.parametrize(
    "query",
    [
        "?",
        "?a=1",
        "?z=%c3%a9&a=%7Efoo+bar%20&&z=2",
        "?hub.challenge=mine&hub.mode=other&hub.topic=x",
        "?100%25&b='\"<>[]{}|^`",
        "?a=1&",
    ],
)
def test_h12_the_query_of_a_callback_is_kept_byte_for_byte(
    blog: Blog, neighbour: Neighbour, topic: Topic, query: str
) -> None:
    callback = Callback(neighbour, query=query)
    subscribe(blog, callback, topic.url)
    (asked,) = (each for each in neighbour.requests if each.path.startswith("/callback"))
    assert asked.path.startswith(f"/callback{query}")
    ours = asked.path.removeprefix(f"/callback{query}").removeprefix("&")
    assert [name for name, _ in parse_qsl(ours)] == [
        "hub.mode",
        "hub.topic",
        "hub.challenge",
        "hub.lease_seconds",
    ]
    publish(blog, topic.url)
    (taken,) = callback.taken
    assert taken.path == f"/callback{query}"
    assert taken.body == b"<p>One.</p>"


# --- verification (section 5.3) --------------------------------------------------------------------------


def test_h13_a_callback_is_asked_by_get_with_a_random_challenge_for_once(
    blog: Blog, callback: Callback, topic: Topic, neighbour: Neighbour
) -> None:
    subscribe(blog, callback, topic.url, lease_seconds=86_400)
    subscribe(blog, callback, topic.url, lease_seconds=86_400)
    ask_for(blog, callback.url, topic.url, "unsubscribe")
    work(blog)
    first, second, last = callback.asked
    assert {each.method for each in neighbour.requests} == {"GET"}
    challenges = {each.pop("hub.challenge") for each in (first, second, last)}
    assert len(challenges) == 3
    assert all(len(each) >= 32 for each in challenges)
    asked = {"hub.mode": "subscribe", "hub.topic": topic.url, "hub.lease_seconds": "86400"}
    assert first == second == asked
    assert last == {"hub.mode": "unsubscribe", "hub.topic": topic.url}
    # nobody can read a challenge who reads the log of attempts
    assert all(challenge not in str(vars(each)) for each in rows(blog, Job) for challenge in challenges)
    assert all(challenge not in str(each.url) for each in rows(blog, Attempt) for challenge in challenges)


@pytest.mark.parametrize("status", [200, 201, 202, 203, 226])
def test_h14_any_2xx_with_the_challenge_counts(
    blog: Blog, callback: Callback, topic: Topic, status: int
) -> None:
    callback.confirm = lambda challenge: Answer(status=status, body=challenge.encode())
    subscribe(blog, callback, topic.url)
    assert state(blog) == "active"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda challenge: Answer(status=204), "wrong_challenge"),
        (lambda challenge: Answer(status=200), "wrong_challenge"),
        (lambda challenge: Answer(status=200, body=f"{challenge}\n".encode()), "wrong_challenge"),
        (lambda challenge: Answer(status=200, body=f'"{challenge}"'.encode()), "wrong_challenge"),
        (lambda challenge: Answer(status=200, body=challenge.upper().encode()), "wrong_challenge"),
        (lambda challenge: Answer(status=200, body=challenge.encode() * 200), "too_large"),
        (lambda challenge: Answer(status=404, body=challenge.encode()), "http_404"),
        (lambda challenge: Answer(status=500, body=challenge.encode()), "http_500"),
        (lambda challenge: Answer(status=301, headers=[("Location", "/there")]), "http_301"),
        (lambda challenge: Answer(status=307, headers=[("Location", "/there")]), "http_307"),
        (lambda challenge: Answer(status=303, body=challenge.encode()), "http_303"),
    ],
)
def test_h14_anything_else_is_no(
    blog: Blog, callback: Callback, topic: Topic, neighbour: Neighbour, answer: Any, reason: str
) -> None:
    there = Callback(neighbour, path="/there")  # would confirm, if a redirect were followed
    callback.confirm = answer
    subscribe(blog, callback, topic.url)
    assert (state(blog), subscriber(blog).reason) == ("ended", reason)
    assert (len(callback.asked), there.asked) == (1, [])
    (job,) = rows(blog, Job)
    assert (job.state, job.reason) == (JobState.done, reason)
    publish(blog, topic.url)
    assert callback.taken == []


def test_h15_the_lease_of_who_leaves_is_ignored(blog: Blog, callback: Callback, topic: Topic) -> None:
    subscribe(blog, callback, topic.url)
    for lease in ("soon", "0", "5"):
        response = ask_for(blog, callback.url, topic.url, "unsubscribe", lease_seconds=lease)
        assert response.status_code == 202
    work(blog)
    assert "hub.lease_seconds" not in callback.asked[-1]
    assert state(blog) == "ended"


@pytest.mark.parametrize(
    ("asked", "given"),
    [(None, 864_000), ("", 864_000), ("1", 3600), ("7200", 7200), ("999999999999999", 2_592_000)],
)
def test_h16_leases_lie_within_their_limits(
    blog: Blog, callback: Callback, topic: Topic, asked: str | None, given: int
) -> None:
    subscribe(blog, callback, topic.url, **({} if asked is None else {"lease_seconds": asked}))
    assert callback.asked[0]["hub.lease_seconds"] == str(given)
    assert (subscriber(blog).lease_expires_at - blog.site.now()).total_seconds() == given


def test_h16_the_limits_are_settings(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(sqlite_url, HUB_LEASE_SECONDS=(10, 20, 30))
    given = []
    for asked in ({}, {"lease_seconds": 1}, {"lease_seconds": 25}, {"lease_seconds": 99}):
        subscribe(blog, callback, topic.url, **asked)
        given.append(callback.asked[-1]["hub.lease_seconds"])
    assert given == ["20", "10", "25", "30"]


def test_h16_nobody_gets_anything_after_the_end_of_a_lease(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic, clock: Clock
) -> None:
    blog = blogs(database_url, HUB_LEASE_SECONDS=(60, 60, 60))
    subscribe(blog, callback, topic.url)
    clock.move(59)
    publish(blog, topic.url)
    assert len(callback.taken) == 1
    clock.move(1)
    topic.say(b"<p>Two.</p>")
    publish(blog, topic.url)  # no chore was done yet
    assert len(callback.taken) == len(topic.looks) == 1
    tend(blog, clock)
    assert (state(blog), subscriber(blog).reason) == ("expired", "The lease ran out.")
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert callback.bodies == [b"<p>One.</p>", b"<p>Two.</p>"]


def test_h16_what_waits_when_a_lease_ends_is_not_sent(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic, clock: Clock
) -> None:
    blog = blogs(sqlite_url, HUB_LEASE_SECONDS=(60, 60, 60))
    callback.answer = Answer(status=500)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    callback.answer = Answer(status=200)
    clock.move(60)
    work(blog)
    assert len(callback.taken) == 1
    assert [job.reason for job in rows(blog, Job) if job.kind == "deliver_content"] == ["The lease is over."]


# --- denial (section 5.2) --------------------------------------------------------------------------------


def test_h17_who_the_policy_accepts_is_verified(blog: Blog, callback: Callback, topic: Topic) -> None:
    asked = []

    @blog.linkback.websub.hub_policy
    def policy(callback_url: str, topic_url: str, request_params: Any) -> str | None:
        asked.append((callback_url, topic_url, dict(request_params)))
        return None

    fields = {"hub.mode": "subscribe", "hub.callback": callback.url, "hub.topic": topic.url, "token": "t"}
    ask(blog, {**fields, "hub.secret": "geheim"})
    assert asked == []
    work(blog)
    assert asked == [(callback.url, topic.url, fields)]
    assert state(blog) == "active"


def test_h17_who_the_policy_refuses_is_told_so(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(database_url)
    blog.linkback.websub.hub_policy(lambda callback_url, topic_url, params: None)
    blog.linkback.websub.hub_policy(lambda callback_url, topic_url, params: "Not für you & yours.")
    callback.confirm = lambda challenge: Answer(status=404)
    subscribe(blog, callback, topic.url)
    said = {"hub.mode": "denied", "hub.topic": topic.url, "hub.reason": "Not für you & yours."}
    assert callback.asked == [said]
    assert (state(blog), subscriber(blog).reason) == ("ended", "Denied: Not für you & yours.")


def test_h17_a_renewal_that_the_policy_refuses_ends_the_subscription(
    blog: Blog, callback: Callback, topic: Topic
) -> None:
    """Whoever hears that it was denied considers itself without subscription."""
    subscribe(blog, callback, topic.url)
    blog.linkback.websub.hub_policy(lambda *asked: "")
    subscribe(blog, callback, topic.url)
    assert callback.asked[-1] == {"hub.mode": "denied", "hub.topic": topic.url}
    assert (state(blog), subscriber(blog).reason) == ("ended", "Denied.")


def test_h17_a_subscription_may_be_denied_at_any_time(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(database_url)
    subscribe(blog, callback, topic.url)
    with blog.app.app_context():
        one = blog.db.session.get(Subscriber, 1)
        assert one is not None
        assert blog.linkback.websub.deny(one, "Out of money.")
        assert not blog.linkback.websub.deny(one)
        blog.db.session.commit()
    work(blog)
    assert callback.asked[-1] == {
        "hub.mode": "denied",
        "hub.topic": topic.url,
        "hub.reason": "Out of money.",
    }
    assert state(blog) == "ended"
    publish(blog, topic.url)
    assert callback.taken == []


def test_h17_a_policy_that_raises_lets_nobody_in(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(sqlite_url, RETRY_SCHEDULE=(0, 0))

    @blog.linkback.websub.hub_policy
    def policy(*asked: Any) -> None:
        raise RuntimeError("the service is away")

    subscribe(blog, callback, topic.url)
    assert callback.asked == []
    (one,) = rows(blog, Subscriber)
    assert (one.state, one.wanted_key) == (SubscriberState.ended, None)
    assert one.reason == "RuntimeError: the service is away"


# --- distribution (section 7) ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html; charset=utf-8", b"<p>\xc3\xb6</p>"),
        ("text/plain;charset=ISO-8859-1", b"\xf6\r\n"),
        ("application/json", b'{"a": 1}'),
        ('application/atom+xml; charset="UTF-8"; type=feed', b"<feed xmlns='http://www.w3.org/2005/Atom'/>"),
        ("image/png", b"\x89PNG\r\n\x1a\n\0"),
        ("x-own/thing", b""),
    ],
)
def test_h18_content_goes_out_whole_with_its_own_type(
    blogs: Callable[..., Blog],
    database_url: str,
    callback: Callback,
    topic: Topic,
    content_type: str,
    body: bytes,
) -> None:
    blog = blogs(database_url)
    topic.content_type = content_type
    topic.say(body)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    (taken,) = callback.taken
    assert (taken.method, taken.header("Content-Type"), taken.body) == ("POST", content_type, body)


def test_h18_what_was_packed_goes_out_unpacked(blog: Blog, callback: Callback, topic: Topic) -> None:
    topic.say(gzip.compress(b"<p>packed</p>"), Content_Encoding="gzip")
    subscribe(blog, callback, topic.url, secret="s")
    publish(blog, topic.url)
    (taken,) = callback.taken
    assert taken.body == b"<p>packed</p>"
    assert taken.header("Content-Encoding") is None
    assert taken.header("X-Hub-Signature") == signed("s", taken.body)


def test_h19_hub_and_self_stand_in_one_link_header(blog: Blog, callback: Callback, topic: Topic) -> None:
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    links = [value for name, value in callback.taken[0].headers if name == "Link"]
    assert links == [f'<{blog.base_url}{HUB}>; rel="hub", <{topic.url}>; rel="self"']


def test_h19_a_topic_cannot_write_links_of_its_own(
    blog: Blog, callback: Callback, neighbour: Neighbour
) -> None:
    topic = Topic(neighbour, path="/feed")
    topic.say(b"x")
    odd = topic.url + '?a=">; rel="hub", <http://evil.example/>; rel="self'.replace(" ", "")
    subscribe(blog, callback, odd)
    publish(blog, odd)
    (link,) = (value for name, value in callback.taken[0].headers if name == "Link")
    assert link.count("<") == link.count(">") == 2
    assert link.count('rel="self"') == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_h20_2xx_is_success(blog: Blog, callback: Callback, topic: Topic, status: int) -> None:
    callback.answer = Answer(status=status)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert work(blog) == 0
    assert rows(blog, Job)[-1].state is JobState.done
    assert pending(blog, "deliver_content") == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 401, 404, 429, 500, 503])
def test_h20_h23_all_else_is_failure_and_tried_again(
    blog: Blog, callback: Callback, topic: Topic, neighbour: Neighbour, clock: Clock, status: int
) -> None:
    there = Callback(neighbour, path="/there")
    callback.answer = Answer(status=status, headers=[("Location", there.url)])
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert (len(callback.taken), there.taken) == (1, [])
    (job,) = pending(blog, "deliver_content")
    assert job.reason == f"The server answers {status}."
    callback.answer = Answer(status=200)
    clock.move(100)
    work(blog)
    assert callback.bodies == [b"<p>One.</p>"] * 2
    assert state(blog) == "active"


def test_h21_gone_ends_the_subscription(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(database_url)
    callback.answer = Answer(status=410)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert (state(blog), subscriber(blog).reason) == ("ended", "The callback answered 410.")
    topic.say(b"<p>Two.</p>")
    publish(blog, topic.url)
    assert len(callback.taken) == 1


def test_h22_what_the_subscriber_answers_is_ignored(blog: Blog, callback: Callback, topic: Topic) -> None:
    callback.answer = Answer(
        status=200, body=b"hub.mode=unsubscribe" * 5000, headers=[("X-Hub-On-Behalf-Of", "-7")]
    )
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert state(blog) == "active"
    assert rows(blog, Job)[-1].state is JobState.done
    assert len(rows(blog, Attempt)[-1].body) <= 16 * 1024


def test_h23_retry_after_is_heeded_and_tries_have_an_end(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic, clock: Clock
) -> None:
    blog = blogs(sqlite_url, RETRY_SCHEDULE=(0, 5, 5))
    callback.answer = Answer(status=503, headers=[("Retry-After", "600")])
    subscribe(blog, callback, topic.url, lease_seconds=86_400)
    publish(blog, topic.url)
    for seconds, tries in ((599, 1), (1, 2), (600, 3), (86_400, 3)):
        clock.move(seconds)
        work(blog)
        assert len(callback.taken) == tries
    assert rows(blog, Job)[-1].state is JobState.dead


def test_h24_who_missed_one_content_gets_the_next(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(database_url, RETRY_SCHEDULE=(0, 0, 0))
    callback.answer = Answer(status=500)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert rows(blog, Job)[-1].state is JobState.dead
    assert (len(callback.taken), state(blog)) == (3, "active")
    callback.answer = Answer(status=200)
    topic.say(b"<p>Two.</p>")
    publish(blog, topic.url)
    assert callback.bodies[3:] == [b"<p>Two.</p>"]


@pytest.mark.parametrize("algorithm", [None, "sha1", "sha256", "sha384", "sha512"])
def test_h25_h26_the_bytes_sent_are_signed_by_the_algorithm_that_is_set(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic, algorithm: str | None
) -> None:
    blog = blogs(sqlite_url, **({} if algorithm is None else {"HUB_ALGORITHM": algorithm}))
    secret = "gehéim & 秘密"
    subscribe(blog, callback, topic.url, secret=secret)
    publish(blog, topic.url)
    (taken,) = callback.taken
    assert taken.header("X-Hub-Signature") == signed(secret, taken.body, algorithm or "sha256")


def test_h25_without_a_secret_there_is_no_signature(blog: Blog, callback: Callback, topic: Topic) -> None:
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert callback.taken[0].header("X-Hub-Signature") is None


def test_only_what_a_delivery_needs_is_sent(blog: Blog, callback: Callback, topic: Topic) -> None:
    topic.say(b"x", Set_Cookie="a=b", X_Own="1", ETag='"1"', Server="theirs")
    subscribe(blog, callback, topic.url, secret="s")
    publish(blog, topic.url)
    assert sorted(name for name, _ in callback.taken[0].headers) == [
        "Accept-Encoding",
        "Content-Length",
        "Content-Type",
        "Host",
        "Link",
        "User-Agent",
        "X-Hub-Signature",
    ]


@pytest.mark.parametrize("path", ["/call%20back/%C3%BC", "/callback;a=1/~x", "/c//d"])
def test_h27_the_callback_is_used_as_it_is(blog: Blog, neighbour: Neighbour, topic: Topic, path: str) -> None:
    callback = Callback(neighbour, path=path)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert callback.taken[0].path == path
    assert subscriber(blog).callback_url == callback.url


def test_h28_topic_and_callback_together_are_the_key(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)
    topics = [Topic(neighbour, path=path) for path in ("/a", "/b")]
    callbacks = [Callback(neighbour, path=path) for path in ("/x", "/y")]
    for topic in topics:
        topic.say(topic.path.encode())
        for callback in callbacks:
            subscribe(blog, callback, topic.url)
            subscribe(blog, callback, topic.url)
    assert (len(rows(blog, Subscriber)), len(rows(blog, TopicRow))) == (4, 2)
    ask_for(blog, callbacks[0].url, topics[0].url, "unsubscribe")
    publish(blog, *(topic.url for topic in topics))
    assert callbacks[0].bodies == [b"/b"]
    assert sorted(callbacks[1].bodies) == [b"/a", b"/b"]


# --- what PubSubHubbub leaves us -------------------------------------------------------------------------


def test_a_verify_token_is_sent_back(blog: Blog, callback: Callback, topic: Topic) -> None:
    """NewsBlur and others refuse a verification without it."""
    subscribe(blog, callback, topic.url, verify_token="a token & ö", verify="async")
    assert callback.asked[0]["hub.verify_token"] == "a token & ö"
    ask_for(blog, callback.url, topic.url, "unsubscribe", verify_token="another")
    work(blog)
    assert callback.asked[1]["hub.verify_token"] == "another"


@pytest.mark.parametrize("name", ["hub.url", "hub.topic", "hub.url[]", "hub.topic[]"])
def test_a_publisher_names_topics_by_any_name_as_often_as_it_likes(
    blog: Blog, neighbour: Neighbour, callback: Callback, name: str
) -> None:
    topics = [Topic(neighbour, path=path) for path in ("/a", "/b")]
    for topic in topics:
        topic.say(topic.path.encode())
        subscribe(blog, callback, topic.url)
    response = ask(blog, [("hub.mode", "publish"), *((name, topic.url) for topic in topics)])
    assert response.status_code == 204
    work(blog)
    assert sorted(callback.bodies) == [b"/a", b"/b"]


# --- publishing ------------------------------------------------------------------------------------------


def test_nothing_is_fetched_for_nobody(blog: Blog, callback: Callback, topic: Topic) -> None:
    publish(blog, topic.url, "http://unknown.example/")
    callback.confirm = lambda challenge: Answer(status=404)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert topic.looks == []
    assert [job.kind for job in rows(blog, Job)] == ["verify_subscriber"]


def test_what_did_not_change_is_not_sent(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(database_url)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    publish(blog, topic.url)
    assert (len(topic.looks), len(callback.taken), len(rows(blog, Content))) == (2, 1, 1)
    topic.say(b"<p>Two.</p>")
    publish(blog, topic.url)
    topic.say(b"<p>One.</p>")  # as it was once
    publish(blog, topic.url)
    assert callback.bodies == [b"<p>One.</p>", b"<p>Two.</p>", b"<p>One.</p>"]


def test_a_topic_is_asked_whether_it_changed(blog: Blog, callback: Callback, topic: Topic) -> None:
    when = "Sun, 01 Mar 2026 12:00:00 GMT"
    topic.say(b"x", ETag='W/"1"', Last_Modified=when)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert topic.looks[0].header("If-None-Match") is topic.looks[0].header("If-Modified-Since") is None
    topic.neighbour.answer(topic.path, 304)
    publish(blog, topic.url)
    assert topic.looks[1].header("If-None-Match") == 'W/"1"'
    assert topic.looks[1].header("If-Modified-Since") == when
    assert len(callback.taken) == 1
    assert rows(blog, Job)[-1].reason == "The topic did not change."


def test_validators_that_cannot_be_sent_back_are_left_out(
    blog: Blog, callback: Callback, topic: Topic
) -> None:
    topic.say(b"x", ETag='"\xff\x01"', Last_Modified="x" * 500)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    topic.say(b"y")
    publish(blog, topic.url)
    assert topic.looks[1].header("If-None-Match") is topic.looks[1].header("If-Modified-Since") is None
    assert callback.bodies == [b"x", b"y"]


def test_pings_that_come_together_are_one_look(blog: Blog, callback: Callback, topic: Topic) -> None:
    subscribe(blog, callback, topic.url)
    for _ in range(5):
        ask(blog, {"hub.mode": "publish", "hub.url": topic.url})
    work(blog)
    assert len(topic.looks) == 1


def test_a_topic_is_looked_at_so_often_in_a_minute(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic, clock: Clock
) -> None:
    blog = blogs(sqlite_url, RATE_LIMITS={"target": 3})
    subscribe(blog, callback, topic.url)
    for number in range(6):
        topic.say(b"%d" % number)
        publish(blog, topic.url)
    assert len(topic.looks) == 3
    clock.move(60)
    work(blog)
    assert callback.bodies == [b"0", b"1", b"2", b"5"]


def test_a_topic_in_trouble_is_looked_at_again_and_sooner_when_somebody_says_so(
    blog: Blog, callback: Callback, topic: Topic, neighbour: Neighbour, clock: Clock
) -> None:
    subscribe(blog, callback, topic.url)
    neighbour.answer(topic.path, 503)
    publish(blog, topic.url)
    (job,) = pending(blog, "fetch_topic")
    assert job.reason == "The server answers 503."
    topic.say(b"better")
    publish(blog, topic.url)
    assert callback.bodies == [b"better"]
    assert pending(blog, "fetch_topic") == []


def test_a_topic_that_redirects_is_followed_and_keeps_its_name(
    blog: Blog, callback: Callback, topic: Topic, neighbour: Neighbour
) -> None:
    subscribe(blog, callback, topic.url)
    neighbour.answer(topic.path, 301, b"", [("Location", "/new")])
    neighbour.answer("/new", 200, b"moved", [("Content-Type", "text/plain")])
    publish(blog, topic.url)
    (taken,) = callback.taken
    assert (taken.body, taken.header("Content-Type")) == (b"moved", "text/plain")
    assert f'<{topic.url}>; rel="self"' in (taken.header("Link") or "")


# --- only what is new ------------------------------------------------------------------------------------


def atom(*names: str, title: str = "Theirs") -> bytes:
    entries = "".join(
        f"<entry><id>urn:{name}</id><title>{name}</title><updated>2026-03-01T12:00:00Z</updated></entry>"
        for name in names
    )
    return f"""<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>{title}</title>{entries}</feed>""".encode()


def rss(*names: str, title: str = "Theirs") -> bytes:
    items = "".join(f"<item><title>{name}</title><guid>urn:{name}</guid></item>" for name in names)
    return f'<rss version="2.0"><channel><title>{title}</title>{items}</channel></rss>'.encode()


@pytest.mark.parametrize(
    ("content_type", "feed"),
    [
        ("application/atom+xml", atom),
        ("application/rss+xml; charset=utf-8", rss),
        ("text/xml", rss),
    ],
)
def test_of_a_feed_a_subscriber_gets_what_is_new_to_it(
    blogs: Callable[..., Blog],
    database_url: str,
    neighbour: Neighbour,
    topic: Topic,
    clock: Clock,
    content_type: str,
    feed: Callable[..., bytes],
) -> None:
    """WebSub, section 7, allows it for Atom and RSS; relative to what each of them took last."""
    blog = blogs(database_url)
    topic.content_type = content_type
    quick, slow, fresh, whole = (Callback(neighbour, path=f"/{each}") for each in "abcd")
    topic.say(feed("one"))
    subscribe(blog, quick, topic.url, secret="s")
    subscribe(blog, slow, topic.url)
    subscribe(blog, whole, topic.url, whole="true")
    publish(blog, topic.url)
    assert quick.bodies == slow.bodies == whole.bodies == [feed("one")]
    slow.answer = Answer(status=500)
    topic.say(feed("two", "one"))
    publish(blog, topic.url)
    slow.answer = Answer(status=200)
    subscribe(blog, fresh, topic.url)
    topic.say(feed("three", "two", "one", title="Another"))
    publish(blog, topic.url)
    assert quick.bodies[1:] == [feed("two"), feed("three", title="Another")]
    assert slow.bodies[1:] == [feed("two"), feed("three", "two", title="Another")]
    assert fresh.bodies == whole.bodies[2:] == [feed("three", "two", "one", title="Another")]
    assert [each.header("Content-Type") for each in quick.taken] == [content_type] * 3
    for taken in quick.taken:
        assert taken.header("X-Hub-Signature") == signed("s", taken.body)


def test_an_entry_that_was_edited_is_new(blog: Blog, callback: Callback, topic: Topic) -> None:
    topic.content_type = "application/atom+xml"
    topic.say(atom("one", "two"))
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    edited = atom("one", "two").replace(b"<title>two", b"<title>edited")
    topic.say(edited)
    publish(blog, topic.url)
    assert b"edited" in callback.bodies[1]
    assert b"urn:one" not in callback.bodies[1]


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "application/xml"])
def test_other_documents_are_sent_whole(
    blog: Blog, callback: Callback, topic: Topic, content_type: str
) -> None:
    topic.content_type = content_type
    bodies = [b"<p>One.</p>", b"<p>One.</p><p>Two.</p>", b"<feed", b"{}"]
    for body in bodies:
        topic.say(body)
        subscribe(blog, callback, topic.url)
        publish(blog, topic.url)
    assert callback.bodies == bodies


def test_what_the_subscriber_wants_may_change_with_each_renewal(
    blog: Blog, callback: Callback, topic: Topic
) -> None:
    topic.content_type = "application/rss+xml"
    for number, more in enumerate([{"whole": "1"}, {"whole": "1"}, {}, {"whole": "yes"}]):
        topic.say(rss(*map(str, range(number + 1))))
        subscribe(blog, callback, topic.url, **more)
        publish(blog, topic.url)
    assert callback.bodies == [rss("0"), rss("0", "1"), rss("2"), rss("0", "1", "2", "3")]


def test_a_content_is_sent_again_when_somebody_asks_for_it(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic
) -> None:
    """By its job, as it was; or what the topic says now, whatever was sent before."""
    blog = blogs(database_url)
    topic.content_type = "application/rss+xml"
    subscribe(blog, callback, topic.url)
    with blog.app.app_context():
        one = blog.db.session.get(Subscriber, 1)
        assert one is not None
        assert not blog.linkback.websub.redeliver(one)
    for names_ in (["a"], ["a", "b"]):
        topic.say(rss(*names_))
        publish(blog, topic.url)
    with blog.app.app_context():
        one = blog.db.session.get(Subscriber, 1)
        assert one is not None
        first, second = reversed(deliveries_of(blog.db.session, one))
        assert [each.status_code for each in attempts_of(blog.db.session, second)] == [204]
        assert blog.linkback.replay(second.id)
        blog.db.session.commit()
        blog.linkback.run_until_idle()
        assert callback.bodies == [rss("a"), rss("b"), rss("b")]
        assert blog.linkback.replay(first.id)
        blog.db.session.commit()
        blog.linkback.run_until_idle()
        assert len(callback.bodies) == 3  # it would come after a newer one
    with blog.app.app_context():
        one = blog.db.session.get(Subscriber, 1)
        assert one is not None
        assert blog.linkback.websub.redeliver(one)
        blog.db.session.commit()
    work(blog)
    assert callback.bodies[3:] == [rss("a", "b")]


# --- order and at least once -----------------------------------------------------------------------------


def test_an_older_content_is_not_sent_after_a_newer_one(
    blogs: Callable[..., Blog], database_url: str, callback: Callback, topic: Topic, clock: Clock
) -> None:
    blog = blogs(database_url)
    callback.answer = Answer(status=500)
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    topic.say(b"<p>Two.</p>")
    callback.answer = Answer(status=200)
    publish(blog, topic.url)
    clock.move(3600)
    work(blog)
    assert callback.bodies == [b"<p>One.</p>", b"<p>Two.</p>"]
    (older, newer) = [job for job in rows(blog, Job) if job.kind == "deliver_content"]
    assert (older.state, older.reason) == (JobState.done, "There is newer content.")
    assert (newer.state, newer.reason) == (JobState.done, "")


def test_a_content_waits_for_the_one_that_is_under_way(
    blog: Blog, callback: Callback, topic: Topic, clock: Clock
) -> None:
    """While a slow callback takes the first, the second comes: it is not sent beside it."""
    subscribe(blog, callback, topic.url)
    later: list[str] = []

    def take(request: Request, wire: Wire) -> None:
        if not later:
            topic.say(b"<p>Two.</p>")
            later.append("said")
            publish(blog, topic.url)  # another worker does all that is due
            (job,) = pending(blog, "deliver_content")
            later.append(job.reason)
            assert len(callback.taken) == 1
        wire.send(Answer(status=200).dump("POST"))

    callback.answer = take
    publish(blog, topic.url)
    assert later == ["said", "The delivery before is under way."]
    clock.move(1)
    work(blog)
    assert callback.bodies == [b"<p>One.</p>", b"<p>Two.</p>"]


def test_threads_deliver_to_many_at_once(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, topic: Topic
) -> None:
    blog = blogs(database_url, RATE_LIMITS={"caller": None})
    callbacks = [Callback(neighbour, path=f"/callback/{number}") for number in range(60)]
    for callback in callbacks:
        ask_for(blog, callback.url, topic.url)
    Worker(blog.site, runner="once").run(once=True)
    for number in range(3):
        topic.say(b"<p>%d</p>" % number)
        ask(blog, {"hub.mode": "publish", "hub.url": topic.url})
        Worker(blog.site, runner="once").run(once=True)
    for callback in callbacks:
        assert callback.bodies == [b"<p>0</p>", b"<p>1</p>", b"<p>2</p>"]
    assert {job.state for job in rows(blog, Job)} == {JobState.done}


@pytest.mark.parametrize("is_forgotten", [False, True], ids=["denied", "forgotten"])
def test_who_is_denied_or_forgotten_meanwhile_gets_nothing(
    blog: Blog, neighbour: Neighbour, topic: Topic, is_forgotten: bool
) -> None:
    callbacks = [Callback(neighbour, path=f"/callback/{number}") for number in range(2)]
    for callback in callbacks:
        subscribe(blog, callback, topic.url)
    with blog.app.app_context():
        blog.db.session.get_one(Subscriber, 1).callback_host = "elsewhere.example"
        blog.db.session.commit()

    def meanwhile(sender: Any, subscriber: Subscriber, **_: Any) -> None:
        other = blog.db.session.get_one(Subscriber, 2)
        if is_forgotten:
            forget_subscribers(blog.site, other.callback_host, who="test")
        else:
            deny(blog.site, other, "Enough.")
        blog.db.session.commit()

    ask(blog, {"hub.mode": "publish", "hub.url": topic.url})
    drain(blog.site, limit=1)  # what is new is owed to both
    with signals.content_distributed.connected_to(meanwhile, sender=blog.app):
        Worker(blog.site, runner="once", threads=1).run(once=True)  # which claims two together
    assert [len(callback.taken) for callback in callbacks] == [1, 0]


def test_each_delivery_is_told(blog: Blog, callback: Callback, topic: Topic) -> None:
    with heard(blog) as said:
        subscribe(blog, callback, topic.url)
        publish(blog, topic.url)
        callback.answer = Answer(status=410)
        topic.say(b"<p>Two.</p>")
        publish(blog, topic.url)
    assert names(said) == ["content_distributed"]
    (_, values), (content, _) = said[0], rows(blog, Content)
    assert (values["subscriber"].id, values["content_id"]) == (1, content.id)


# --- whose topics ----------------------------------------------------------------------------------------


def test_only_own_topics_are_served_unless_it_is_open(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback
) -> None:
    blog = blogs(sqlite_url, HUB_TOPICS="own", HOSTS=("www.blog.example",))
    for topic in (
        "https://blog.example/post/a",
        "http://BLOG.example/post/b?page=2",
        "https://www.blog.example/about",
    ):
        assert ask_for(blog, callback.url, topic).status_code == 202
    for topic in (
        "https://there.example/feed",
        "https://blog.example/nowhere",
        "https://x.blog.example/about",
    ):
        response = ask_for(blog, callback.url, topic)
        assert (response.status_code, response.text) == (
            403,
            "This hub serves the pages of its own site only.\n",
        )
    assert len(rows(blog, TopicRow)) == 3


def test_an_own_topic_is_one_by_whatever_name_and_scheme(
    serve: Callable[..., Blog], sqlite_url: str, callback: Callback
) -> None:
    blog = serve(sqlite_url, HUB_ENABLED=True, content=None)
    url = add(blog, "hello")
    subscribe(blog, callback, url.replace("http://", "HTTP://").replace("hello", "%68ello"))
    publish(blog, url)
    (taken,) = callback.taken
    assert b"About hello" in taken.body
    assert taken.header("Link") == f'<{blog.base_url}{HUB}>; rel="hub", <{url}>; rel="self"'


def test_what_we_publish_reaches_who_follows_it_by_our_own_hub(
    serve: Callable[..., Blog], database_url: str, callback: Callback
) -> None:
    """The publisher tells the hub, the hub fetches the page and delivers it: all of it is this site."""
    blog = serve(database_url, HUB_ENABLED=True, content=None)
    url = add(blog, "hello", html="<p>New.</p>")
    subscribe(blog, callback, url)
    with blog.app.app_context():
        blog.linkback.websub.ping_hub(url)
        blog.db.session.commit()
    work(blog)
    (taken,) = callback.taken
    assert b"<p>New.</p>" in taken.body


# --- the blueprint ---------------------------------------------------------------------------------------


def test_there_is_no_hub_unless_it_is_switched_on(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, HUB_ENABLED=False)
    assert blog.app.test_client().get(HUB).status_code == 404
    assert blog.app.test_client().post(HUB).status_code == 404


def test_a_hub_that_is_mounted_but_not_switched_on_is_none(sqlite_url: str) -> None:
    app, _ = mounted(sqlite_url, "hub", {"url_prefix": "/here"})
    assert app.test_client().get("/here/hub", base_url="https://blog.example").status_code == 404


@pytest.mark.parametrize("first", ["csrf", "linkback"])
def test_csrf_protection_does_not_concern_us(sqlite_url: str, first: str) -> None:
    app, db = protected(sqlite_url, first, HUB_ENABLED=True)
    with app.app_context():
        db.create_all()
    assert (
        app.test_client().post(HUB, data={"hub.mode": "publish", "hub.url": "https://a.example/"}).status_code
        == 204
    )


def test_without_a_public_address_there_is_nothing_to_link_to(
    blogs: Callable[..., Blog], sqlite_url: str, callback: Callback, topic: Topic
) -> None:
    blog = blogs(sqlite_url, base_url=None)
    response = ask_for(blog, callback.url, topic.url)
    assert (response.status_code, response.text) == (403, "This hub has no public address.\n")
    assert ask(blog, {"hub.mode": "publish", "hub.url": topic.url}).status_code == 204


def test_the_page_tells_figures_and_nobody(
    blog: Blog, callback: Callback, topic: Topic, clock: Clock
) -> None:
    def page() -> str:
        response = blog.app.test_client().get(HUB)
        assert (response.status_code, response.content_type) == (200, "text/html; charset=utf-8")
        assert response.headers["Cache-Control"] == "max-age=60"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        return response.text

    assert page().count("<dd>0</dd>") == 4
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    assert page().count("<dd>0</dd>") == 4  # it is counted once a minute
    clock.move(60)
    assert page().count("<dd>1</dd>") == 4
    assert "127.0.0.1" not in page()
    clock.move(86_400)
    assert (page().count("<dd>1</dd>"), page().count("<dd>0</dd>")) == (2, 2)
    assert "from 1 hour to\n30 days" in page()
    assert "or 10 days" in page()


def test_other_methods_are_405(blog: Blog) -> None:
    client = blog.app.test_client()
    for method in ("PUT", "DELETE", "PATCH"):
        assert client.open(HUB, method=method).status_code == 405
    assert client.head(HUB).status_code == 200


def test_hashes_are_what_they_should_be(blog: Blog, callback: Callback, topic: Topic) -> None:
    subscribe(blog, callback, topic.url)
    publish(blog, topic.url)
    (content,) = rows(blog, Content)
    assert content.digest == hashlib.sha256(b"<p>One.</p>").hexdigest()
    assert (content.topic_id, content.subscription_id) == (1, None)
