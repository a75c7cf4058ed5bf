"""Rocks: what websub.rocks asks of a hub, step by step, served for real.

From its views and lib/Rocks at the time of the Recommendation: a topic of theirs, a subscriber of theirs,
and a publisher that says ``hub.topic`` alone.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.apps import Blog
from tests.neighbours import Answer, Neighbour
from tests.pingback.tools import Clock, request, rows, work
from tests.websub.hubs import FORM, HUB, SETTINGS, Callback, Topic, tend

from flask_linkback.models import Subscriber  # isort: skip

SECRET = "websub-rocks-secret"


@pytest.fixture
def blog(serve: Callable[..., Blog], database_url: str) -> Blog:
    return serve(database_url, **SETTINGS)


@pytest.fixture
def callback(neighbour: Neighbour) -> Callback:
    return Callback(neighbour, path="/hub/100/sub/abc")


@pytest.fixture
def topic(neighbour: Neighbour) -> Topic:
    topic = Topic(neighbour, path="/hub/100/pub/abc")
    topic.say(post(1))
    return topic


def post(number: int) -> bytes:
    return b'<html><body class="h-feed"><p class="h-entry">Quote %d</p></body></html>' % number


def send(blog: Blog, **fields: Any) -> int:
    """Ask the hub over HTTP; then the worker has its turn. Return the status."""
    body = urlencode({f"hub.{name}": value for name, value in fields.items()}).encode()
    status, _, _ = request("POST", blog.base_url + HUB, body, {"Content-Type": FORM})
    work(blog)
    return status


def subscribe(blog: Blog, callback: Callback, topic: Topic, **more: Any) -> None:
    status = send(blog, mode="subscribe", topic=topic.url, callback=callback.url, **more)
    assert 200 <= status < 300
    assert callback.asked[-1]["hub.mode"] == "subscribe"
    assert callback.asked[-1]["hub.topic"] == topic.url
    assert callback.asked[-1]["hub.challenge"]
    assert int(callback.asked[-1]["hub.lease_seconds"]) > 0


def publish(blog: Blog, topic: Topic, body: bytes) -> None:
    topic.say(body)
    assert 200 <= send(blog, mode="publish", topic=topic.url) < 300


def expect(blog: Blog, callback: Callback, topic: Topic, *bodies: bytes) -> None:
    """These came, each with its type and links."""
    assert callback.bodies == list(bodies)
    for taken in callback.taken:
        assert taken.header("Content-Type") == topic.content_type
        link = taken.header("Link") or ""
        assert f'<{blog.base_url}{HUB}>; rel="hub"' in link
        assert f'<{topic.url}>; rel="self"' in link


def test_100_typical_subscription(blog: Blog, callback: Callback, topic: Topic) -> None:
    subscribe(blog, callback, topic)
    publish(blog, topic, post(2))
    expect(blog, callback, topic, post(2))


def test_101_a_subscription_with_other_parameters(blog: Blog, callback: Callback, topic: Topic) -> None:
    """Parameters that no hub knows, in the request and in the callback's query."""
    callback = Callback(callback.neighbour, path="/hub/101/sub/abc", query="?x=y&hub=%c3%b6")
    subscribe(blog, callback, topic, foo="bar", **{"extra[]": "1"})
    publish(blog, topic, post(2))
    expect(blog, callback, topic, post(2))
    assert callback.taken[0].path == "/hub/101/sub/abc?x=y&hub=%c3%b6"


def test_102_a_subscriber_comes_back_before_the_end_of_its_lease(
    blog: Blog, callback: Callback, topic: Topic
) -> None:
    subscribe(blog, callback, topic)
    publish(blog, topic, post(2))
    subscribe(blog, callback, topic)
    publish(blog, topic, post(3))
    expect(blog, callback, topic, post(2), post(3))


def test_103_a_subscriber_leaves(blog: Blog, callback: Callback, topic: Topic) -> None:
    subscribe(blog, callback, topic)
    publish(blog, topic, post(2))
    assert 200 <= send(blog, mode="unsubscribe", topic=topic.url, callback=callback.url) < 300
    assert callback.asked[-1]["hub.mode"] == "unsubscribe"
    publish(blog, topic, post(3))
    expect(blog, callback, topic, post(2))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/plain", b"Quote \xe2\x80\x94 two"), ("application/json", b'{"quote": "two"}')],
)
def test_104_105_plain_text_and_json(
    blog: Blog, callback: Callback, topic: Topic, content_type: str, body: bytes
) -> None:
    topic.content_type = content_type
    subscribe(blog, callback, topic)
    publish(blog, topic, body)
    expect(blog, callback, topic, body)


def test_106_content_is_signed(blog: Blog, callback: Callback, topic: Topic) -> None:
    subscribe(blog, callback, topic, secret=SECRET)
    publish(blog, topic, post(2))
    expect(blog, callback, topic, post(2))
    method, _, signature = (callback.taken[0].header("X-Hub-Signature") or "").partition("=")
    assert method in ("sha1", "sha256", "sha384", "sha512")
    assert signature == hmac.new(SECRET.encode(), post(2), method).hexdigest()


def test_leases_end(blog: Blog, callback: Callback, topic: Topic, clock: Clock) -> None:
    subscribe(blog, callback, topic, lease_seconds=3600)
    tend(blog, clock, hours=1)
    publish(blog, topic, post(2))
    expect(blog, callback, topic)


def test_what_is_not_confirmed_is_not_there(blog: Blog, callback: Callback, topic: Topic) -> None:
    callback.confirm = lambda challenge: Answer(status=404)
    assert 200 <= send(blog, mode="subscribe", topic=topic.url, callback=callback.url) < 300
    assert [each.state.value for each in rows(blog, Subscriber)] == ["ended"]
    publish(blog, topic, post(2))
    expect(blog, callback, topic)
