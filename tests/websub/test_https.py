"""HTTPS: topics, hubs and callbacks behind certificates, in both roles."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_linkback.models import SubscriberState, SubscriptionState
from tests.apps import Blog
from tests.neighbours import Neighbour, server_context, write_ca_bundle
from tests.pingback.tools import work
from tests.websub import hubs
from tests.websub.following import Heard, Hub, feed, subscribe, subscription

SECRET = "a secret that is long enough"


@pytest.fixture
def secure() -> Iterator[Neighbour]:
    with Neighbour(tls=server_context("127.0.0.1")) as neighbour:
        yield neighbour


@pytest.fixture
def blog(serve: Callable[..., Blog], database_url: str, tmp_path: Path) -> Blog:
    return serve(database_url, CA_BUNDLE=write_ca_bundle(tmp_path), **hubs.SETTINGS)


def test_a_topic_is_followed_by_https(blog: Blog, secure: Neighbour) -> None:
    """Found, moved, asked for, verified, delivered with a signature, renewed and left."""
    heard, hub = Heard(blog), Hub(secure)
    topic = secure.url("/feed")
    secure.answer("/old", status=301, headers=[("Location", topic)])
    document = feed("1", self_url=topic, hubs=(hub.url,))
    secure.answer("/feed", body=document, headers=[("Content-Type", "application/atom+xml")])
    subscribe(blog, secure.url("/old"))
    work(blog)
    assert hub.requests[0]["hub.topic"] == topic
    assert hub.requests[0]["hub.secret"]
    assert hub.confirm() == (200, b"what+a challenge/\xc3\xa9")
    assert hub.deliver(feed("1", "2")) == 202
    work(blog)
    assert heard.names == ["subscription_verified", "updated"]
    assert subscription(blog).state is SubscriptionState.active
    with blog.app.app_context():
        blog.linkback.websub.unsubscribe(subscription(blog))
        blog.db.session.commit()
    work(blog)
    assert hub.requests[-1]["hub.mode"] == "unsubscribe"
    hub.confirm()
    assert subscription(blog).state is SubscriptionState.unsubscribed
    assert {each.server_name for each in secure.requests} == {None}  # an address has no name to be asked for


def test_a_hub_brings_content_to_https(blog: Blog, secure: Neighbour) -> None:
    """Its topic and its callback are both behind certificates, and all it says of them is https."""
    callback, topic = hubs.Callback(secure), hubs.Topic(secure)
    topic.say(b"<p>One</p>")
    hubs.subscribe(blog, callback, topic.url, secret=SECRET)
    assert hubs.subscriber(blog).state is SubscriberState.active
    topic.say(b"<p>Two</p>")
    hubs.publish(blog, topic.url)
    (taken,) = callback.taken
    assert taken.body == b"<p>Two</p>"
    assert f'<{topic.url}>; rel="self"' in (taken.header("Link") or "")
    algorithm, _, signature = (taken.header("X-Hub-Signature") or "").partition("=")
    assert signature == hmac.new(SECRET.encode(), taken.body, algorithm).hexdigest()


@pytest.mark.parametrize("role", ["topic", "hub", "callback"])
def test_a_certificate_that_nobody_vouches_for(
    serve: Callable[..., Blog], database_url: str, secure: Neighbour, role: str
) -> None:
    """Nothing is taken from there, and nothing is said to it."""
    blog = serve(database_url, **hubs.SETTINGS)
    callback: Any = hubs.Callback(secure)
    if role == "callback":
        assert hubs.ask_for(blog, callback.url, "https://topic.example/").status_code == 202
    elif role == "hub":
        subscribe(blog, "https://topic.example/", hub=secure.url("/hub"))
    else:
        subscribe(blog, secure.url("/feed"))
    work(blog)
    assert secure.requests == []
    if role == "callback":
        assert hubs.subscriber(blog).state is not SubscriberState.active
    else:
        assert subscription(blog).state is not SubscriptionState.active
