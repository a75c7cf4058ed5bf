"""Commands for topics of others that the site follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from flask_linkback.models import SubscriptionState
from tests.apps import Blog
from tests.pingback.tools import work
from tests.websub.conftest import blogs, clock, hasty, hub, neighbour, nowhere, serve, tidy
from tests.websub.following import Hub, subscription

__all__ = ["blogs", "clock", "hasty", "hub", "neighbour", "nowhere", "serve", "tidy"]

TOPIC = "https://topic.example/feed"


@pytest.fixture
def blog(serve: Callable[..., Blog], sqlite_url: str) -> Blog:
    return serve(sqlite_url)


def run(blog: Blog, *args: str) -> Any:
    return blog.app.test_cli_runner().invoke(args=["linkback", *args])


def test_subscribe_asks_the_hub_and_says_what_came_of_it(blog: Blog, hub: Hub) -> None:
    hub.at_once = True
    result = run(
        blog, "subscribe", TOPIC, "--hub", hub.url, "--lease-seconds", "7200", "--param", "format=json"
    )
    assert (result.exit_code, result.output.split()[:4]) == (0, ["active", TOPIC, "at", hub.url])
    assert (hub.requests[0]["hub.lease_seconds"], hub.requests[0]["format"]) == ("7200", "json")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["ftp://a.example/"], "Only http:// and https://"),
        ([TOPIC, "--param", "x"], "'x' is no NAME=VALUE"),
        ([TOPIC, "--lease-seconds", "0"], "0 is not in the range"),
    ],
)
def test_subscribe_to_what_is_none(blog: Blog, args: list[str], said: str) -> None:
    result = run(blog, "subscribe", *args)
    assert result.exit_code != 0
    assert said in result.output


def test_a_hub_that_refuses(blog: Blog, hub: Hub) -> None:
    hub.status, hub.text = 403, b"Not you\x1b[31m"
    result = run(blog, "subscribe", TOPIC, "--hub", hub.url)
    assert result.exit_code == 1
    assert f"Error during request to hub {hub.url} for topic {TOPIC}: Not you" in result.output
    assert "\x1b" not in result.output


def test_renew_and_unsubscribe(blog: Blog, hub: Hub) -> None:
    hub.at_once = True
    run(blog, "subscribe", TOPIC, "--hub", hub.url)
    assert run(blog, "renew", TOPIC).exit_code == 0
    assert run(blog, "renew", "--all").exit_code == 0
    work(blog)  # the old callbacks end
    assert [form["hub.mode"] for form in hub.requests].count("subscribe") == 3
    result = run(blog, "unsubscribe", TOPIC)
    assert (result.exit_code, result.output.split()[0]) == (0, "unsubscribed")
    assert subscription(blog).state is SubscriptionState.unsubscribed


@pytest.mark.parametrize("args", [["renew", TOPIC], ["unsubscribe", TOPIC], ["renew", "--all"]])
def test_what_nobody_subscribed_to(blog: Blog, args: list[str]) -> None:
    result = run(blog, *args)
    assert result.exit_code == 1
    assert "There is no such subscription" in result.output


def test_renew_what(blog: Blog) -> None:
    assert run(blog, "renew").exit_code == 1
    assert run(blog, "renew", TOPIC, "--all").exit_code == 1


def test_subscriptions_are_shown(blog: Blog, hub: Hub) -> None:
    assert run(blog, "subscriptions").output == "There is no subscription.\n"
    hub.at_once = True
    run(blog, "subscribe", TOPIC, "--hub", hub.url)
    assert run(blog, "subscriptions", "--state", "failed").output == "There is no subscription.\n"
    shown = json.loads(run(blog, "subscriptions", TOPIC, "--hub", hub.url, "--json").output)
    (one,) = shown["subscriptions"]
    assert (one["state"], one["topic_url"], one["hub_url"]) == ("active", TOPIC, hub.url)
    assert "secret" not in json.dumps(shown)
