"""Leases: renewed in time, with a callback of their own; a hub may be silent, and there may be two."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from flask_linkback.models import Content, Job, SubscriptionState
from flask_linkback.websub.contents import sweep
from flask_linkback.websub.leases import renewal_at
from flask_linkback.websub.polling import owe_polls
from tests.apps import Blog
from tests.neighbours import Neighbour, Request, Wire
from tests.pingback.tools import NOON, Clock, rows, work
from tests.websub.following import Heard, Hub, feed, requests_of, subscribe, subscription

TOPIC = "https://topic.example/feed"
MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.fixture
def blog(serve: Callable[..., Blog], database_url: str) -> Blog:
    return serve(database_url)


@pytest.fixture
def heard(blog: Blog) -> Heard:
    return Heard(blog)


def follow(blog: Blog, hub: Hub, topic: str = TOPIC, *, named: bool = True, **options: Any) -> None:
    subscribe(blog, topic, **({"hub": hub.url} if named else {}), **options)
    work(blog)
    assert hub.confirm()[0] == 200


# --- when ----------------------------------------------------------------------------------------------


@given(st.integers(1, 400 * DAY), st.floats(0, 1))
def test_a_renewal_begins_when_a_tenth_is_left(seconds: int, chance: float) -> None:
    lease = timedelta(seconds=seconds)
    at = renewal_at(NOON, NOON + lease, chance=chance) - NOON
    assert lease / 2 <= at <= lease
    left = lease - at
    wanted = min(max(lease / 10, timedelta(minutes=10)), timedelta(days=1))
    assert left <= wanted * 1.2 + timedelta(seconds=1)
    assert left >= min(wanted, lease / 2) - timedelta(seconds=1)


def test_a_lease_is_renewed_before_it_ends(blog: Blog, hub: Hub, heard: Heard, clock: Clock) -> None:
    hub.lease = 10 * DAY
    follow(blog, hub)
    clock.move(8 * DAY)
    work(blog)
    assert len(hub.requests) == 1
    clock.move(DAY)
    work(blog)
    first, second = hub.requests
    assert first["hub.callback"] != second["hub.callback"]
    assert second["hub.mode"] == "subscribe"
    assert subscription(blog).state is SubscriptionState.active
    assert hub.confirm()[0] == 200
    assert heard.names == ["subscription_verified", "subscription_renewed"]
    assert subscription(blog).lease_expires_at == clock() + timedelta(days=10)


def test_the_old_callback_is_unsubscribed_and_listens_for_a_day(
    blog: Blog, hub: Hub, heard: Heard, clock: Clock
) -> None:
    hub.lease = 10 * DAY
    follow(blog, hub, secret="lol")
    first = hub.requests[0]
    clock.move(9 * DAY)
    work(blog)
    hub.confirm()
    work(blog)
    _, second, end = hub.requests
    assert (end["hub.mode"], end["hub.callback"]) == ("unsubscribe", first["hub.callback"])
    body = feed("1")
    assert (hub.deliver(body, first), hub.deliver(body, second)) == (202, 202)
    work(blog)
    assert heard.bodies() == [body]  # which is the same, and is told of once
    clock.move(DAY + 1)
    assert hub.deliver(feed("2"), first) == 410
    assert hub.deliver(feed("2"), second) == 202


def test_the_old_callback_is_over_once_the_hub_confirms(blog: Blog, hub: Hub, clock: Clock) -> None:
    hub.lease = 10 * DAY
    follow(blog, hub)
    clock.move(9 * DAY)
    work(blog)
    hub.confirm()
    work(blog)
    assert hub.confirm(hub.requests[2], lease_seconds=None)[0] == 200
    assert hub.deliver(feed("2"), hub.requests[0]) == 410
    assert subscription(blog).state is SubscriptionState.active


def test_a_wrong_confirmation_changes_nothing(blog: Blog, hub: Hub, clock: Clock) -> None:
    hub.lease = 10 * DAY
    follow(blog, hub)
    clock.move(9 * DAY)
    work(blog)
    before = subscription(blog).lease_expires_at
    assert hub.confirm(topic="https://evil.example/")[0] == 404
    assert hub.confirm(mode="unsubscribe")[0] == 404
    assert hub.confirm(lease_seconds="x")[0] == 400
    assert subscription(blog).lease_expires_at == before
    assert hub.deliver(feed("1"), hub.requests[0]) == 202


def test_a_request_that_nobody_confirms_is_made_again(
    blog: Blog, hub: Hub, heard: Heard, clock: Clock
) -> None:
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    clock.move(9 * MINUTE)
    work(blog)
    assert len(hub.requests) == 1
    clock.move(2 * MINUTE)
    work(blog)
    clock.move(10)
    work(blog)
    first, second = hub.requests
    assert first["hub.callback"] != second["hub.callback"]
    assert hub.confirm(first)[0] == 200  # a slow hub is a hub
    assert hub.confirm(second)[0] == 410
    assert heard.names == ["subscription_verified"]


def test_a_hub_that_never_confirms_has_failed(
    serve: Callable[..., Blog], sqlite_url: str, hub: Hub, clock: Clock
) -> None:
    blog = serve(sqlite_url, RETRY_SCHEDULE=(0, 5, 60))
    heard = Heard(blog)
    subscribe(blog, TOPIC, hub=hub.url)
    for _ in range(6):
        work(blog)
        clock.move(11 * MINUTE)
    assert len(hub.requests) == 3
    assert subscription(blog).state is SubscriptionState.failed
    assert heard.names == ["subscription_failed"]
    clock.move(DAY)
    work(blog)
    assert len(hub.requests) == 4  # a day later it is asked again
    assert hub.confirm()[0] == 200
    assert subscription(blog).state is SubscriptionState.active


def test_a_renewal_that_nobody_confirms_leaves_the_lease(
    serve: Callable[..., Blog], sqlite_url: str, hub: Hub, clock: Clock
) -> None:
    blog = serve(sqlite_url, RETRY_SCHEDULE=(0, 5))
    heard = Heard(blog)
    hub.lease = 10 * DAY
    follow(blog, hub)
    first = hub.requests[0]
    clock.move(9 * DAY)
    for _ in range(4):
        work(blog)
        clock.move(11 * MINUTE)
    assert subscription(blog).state is SubscriptionState.active
    assert hub.deliver(feed("1"), first) == 202
    clock.move(DAY)
    work(blog)
    assert subscription(blog).state is SubscriptionState.expired
    assert [name for name in heard.names if name != "updated"] == [
        "subscription_verified",
        "subscription_expired",
    ]
    work(blog)
    assert hub.requests[-1]["hub.mode"] == "subscribe"
    assert hub.confirm()[0] == 200
    assert subscription(blog).state is SubscriptionState.active


def test_a_topic_that_moved_and_a_hub_that_changed_are_followed(
    blog: Blog, hub: Hub, neighbour: Neighbour, heard: Heard, clock: Clock
) -> None:
    hub.lease = 10 * DAY
    neighbour.answer("/feed", 200, feed(self_url=neighbour.url("/feed"), hubs=(hub.url,)))
    follow(blog, hub, neighbour.url("/feed"), named=False)
    other = Hub(neighbour, "/other", lease=10 * DAY)
    neighbour.answer("/feed", 301, b"", [("Location", "/moved")])
    neighbour.answer("/moved", 200, feed(self_url=neighbour.url("/moved"), hubs=(other.url,)))
    clock.move(9 * DAY)
    work(blog)
    assert other.requests[0]["hub.topic"] == neighbour.url("/moved")
    assert other.confirm()[0] == 200
    found = subscription(blog)
    assert (found.topic_url, found.hub_url) == (neighbour.url("/moved"), other.url)
    assert heard.names == ["subscription_verified", "subscription_moved"]
    work(blog)
    assert hub.requests[-1]["hub.mode"] == "unsubscribe"
    assert hub.requests[-1]["hub.topic"] == neighbour.url("/feed")


def test_subscribing_again_renews(blog: Blog, hub: Hub) -> None:
    follow(blog, hub)
    assert subscribe(blog, TOPIC, hub=hub.url, lease_seconds=99) == subscription(blog).id
    work(blog)
    assert [form["hub.lease_seconds"] for form in hub.requests] == ["864000", "99"]
    assert subscription(blog).state is SubscriptionState.active


def test_a_job_that_failed_is_replayed(blog: Blog, hub: Hub) -> None:
    hub.status = 403
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    hub.status = 202
    (job,) = [job for job in rows(blog, Job) if job.kind == "ask_hub"]
    with blog.app.app_context():
        assert blog.linkback.replay(job.id)
        blog.db.session.commit()
    work(blog)
    assert hub.confirm()[0] == 200
    assert subscription(blog).state is SubscriptionState.active


def test_subscribing_twice_at_once_asks_once(blog: Blog, hub: Hub) -> None:
    with blog.app.app_context():
        for _ in range(2):
            blog.linkback.websub.subscribe(TOPIC, hub=hub.url)
        blog.db.session.commit()
    work(blog)
    assert len(hub.requests) == 1
    assert hub.confirm()[0] == 200


def test_unsubscribing_what_nobody_was_asked_for(blog: Blog, hub: Hub) -> None:
    with blog.app.app_context():
        found = blog.linkback.websub.subscribe(TOPIC, hub=hub.url)
        blog.linkback.websub.unsubscribe(found)
        blog.db.session.commit()
    work(blog)
    assert hub.requests == []
    assert subscription(blog).state is SubscriptionState.unsubscribed


def test_unsubscribing_while_a_renewal_waits(blog: Blog, hub: Hub) -> None:
    follow(blog, hub)
    with blog.app.app_context():
        (found,) = blog.linkback.websub.subscriptions()
        blog.linkback.websub.renew(found)
        blog.linkback.websub.unsubscribe(found)
        blog.db.session.commit()
    work(blog)
    assert [form["hub.mode"] for form in hub.requests] == ["subscribe", "unsubscribe"]
    assert hub.confirm(lease_seconds=None)[0] == 200
    assert subscription(blog).state is SubscriptionState.unsubscribed


def test_a_hub_that_does_not_end_it_has_until_the_lease_ends(blog: Blog, hub: Hub, clock: Clock) -> None:
    follow(blog, hub)
    with blog.app.app_context():
        blog.linkback.websub.unsubscribe(blog.linkback.websub.subscriptions()[0])
        blog.db.session.commit()
    work(blog)
    clock.move(11 * DAY)
    work(blog)
    assert subscription(blog).state is SubscriptionState.unsubscribed
    assert hub.deliver(feed("1"), hub.requests[0]) == 410


def end(blog: Blog, times: int = 1) -> None:
    """Unsubscribe, and do what is due."""
    with blog.app.app_context():
        for _ in range(times):
            blog.linkback.websub.unsubscribe(blog.linkback.websub.subscriptions()[-1])
        blog.db.session.commit()
    work(blog)


@pytest.mark.parametrize("at_once", [True, False])
def test_unsubscribing_twice(blog: Blog, hub: Hub, at_once: bool) -> None:
    follow(blog, hub)
    end(blog, 2 if at_once else 1)
    if not at_once:
        end(blog)
    assert subscription(blog).state is SubscriptionState.unsubscribing
    assert hub.confirm(lease_seconds=None)[0] == 200
    assert subscription(blog).state is SubscriptionState.unsubscribed


@pytest.mark.parametrize("old_first", [True, False])
def test_unsubscribing_soon_after_a_renewal(blog: Blog, hub: Hub, old_first: bool) -> None:
    follow(blog, hub)
    with blog.app.app_context():
        blog.linkback.websub.renew(blog.linkback.websub.subscriptions()[0])
        blog.db.session.commit()
    work(blog)
    hub.confirm()
    end(blog)
    ends = [form for form in hub.requests if form["hub.mode"] == "unsubscribe"]
    assert len(ends) == 2
    for form in ends if old_first else reversed(ends):
        assert subscription(blog).state is SubscriptionState.unsubscribing
        assert hub.confirm(form, lease_seconds=None)[0] == 200
    assert subscription(blog).state is SubscriptionState.unsubscribed


def test_unsubscribing_while_a_hubs_yes_is_on_its_way(
    blog: Blog, hub: Hub, neighbour: Neighbour, clock: Clock
) -> None:
    def take(asked: Request, wire: Wire) -> None:
        hub.status = 202
        if b"hub.mode=subscribe" in asked.body:
            with blog.app.app_context():
                blog.linkback.websub.unsubscribe(blog.linkback.websub.subscriptions()[0])
                blog.db.session.commit()
            hub.status = 204
        hub.take(asked, wire)

    neighbour.route("/hub", take)
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    work(blog)
    assert subscription(blog).state is SubscriptionState.unsubscribing
    hub.confirm(lease_seconds=None)
    clock.move(11 * DAY)
    work(blog)
    assert subscription(blog).state is SubscriptionState.unsubscribed
    assert [form["hub.mode"] for form in hub.requests].count("subscribe") == 1


def test_a_hub_that_never_says_anything_of_an_end(blog: Blog, hub: Hub, clock: Clock) -> None:
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    end(blog)
    assert subscription(blog).state is SubscriptionState.unsubscribing
    clock.move(DAY + 60)
    work(blog)
    assert subscription(blog).state is SubscriptionState.unsubscribed


def test_a_slow_hub(blog: Blog, hub: Hub, clock: Clock) -> None:
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    for _ in range(3):
        clock.move(8 * MINUTE)
        work(blog)
    assert hub.confirm(hub.requests[0])[0] == 200
    assert subscription(blog).state is SubscriptionState.active
    assert all(hub.confirm(form)[0] == 410 for form in hub.requests[1:])


def test_a_hub_whose_leases_are_nothing(blog: Blog, hub: Hub, clock: Clock) -> None:
    hub.lease, hub.at_once = 1, True
    subscribe(blog, TOPIC, hub=hub.url)
    for _ in range(60):
        work(blog)
        clock.move(MINUTE)
    assert len([form for form in hub.requests if form["hub.mode"] == "subscribe"]) <= 13


def test_one_job_looks_after_a_subscription(blog: Blog, hub: Hub) -> None:
    follow(blog, hub)
    for _ in range(20):
        assert hub.confirm()[0] == 200
    assert len([job for job in rows(blog, Job) if job.kind == "tend_subscription"]) == 1


def test_two_who_subscribe_to_the_same_at_the_same_time(blog: Blog, hub: Hub) -> None:
    start, errors = threading.Barrier(4), []

    def begin() -> None:
        start.wait()
        try:
            subscribe(blog, TOPIC, hub=hub.url)
        except IntegrityError as error:
            errors.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    work(blog)
    assert hub.confirm()[0] == 200
    assert subscription(blog).state is SubscriptionState.active


def test_unsubscribing_and_subscribing_again(blog: Blog, hub: Hub) -> None:
    follow(blog, hub)
    with blog.app.app_context():
        blog.linkback.websub.unsubscribe(blog.linkback.websub.subscriptions()[0])
        blog.db.session.commit()
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    _, end, again = hub.requests
    assert (end["hub.mode"], again["hub.mode"]) == ("unsubscribe", "subscribe")
    assert hub.confirm(again)[0] == 200
    assert hub.confirm(end, lease_seconds=None)[0] == 200
    assert subscription(blog).state is SubscriptionState.active
    assert hub.deliver(feed("1"), again) == 202


def test_subscriptions_are_found(blog: Blog, hub: Hub, clock: Clock) -> None:
    follow(blog, hub)
    subscribe(blog, "https://other.example/", hub=hub.url)
    with blog.app.app_context():
        find = blog.linkback.websub.subscriptions
        assert len(find()) == 2
        assert [each.topic_url for each in find(topic_url=f"{TOPIC}#x")] == [TOPIC]
        assert len(find(hub_url=hub.url)) == 2
        assert [each.topic_url for each in find(state="active")] == [TOPIC]
        assert [each.topic_url for each in find(expires_before=clock() + timedelta(days=11))] == [TOPIC]
        with pytest.raises(ValueError, match="dancing"):
            find(state="dancing")


def test_many_leases_are_renewed_by_one_worker(
    serve: Callable[..., Blog], sqlite_url: str, hub: Hub, clock: Clock
) -> None:
    blog = serve(sqlite_url)
    count, hub.status = 50, 204
    with blog.app.app_context():
        for number in range(count):
            blog.linkback.websub.subscribe(f"{TOPIC}/{number}", hub=hub.url, lease_seconds=DAY)
        blog.db.session.commit()
    heard = Heard(blog)
    for _ in range(30):
        work(blog)
        clock.move(6 * MINUTE * 24)  # a tenth of a lease
    assert "subscription_expired" not in heard.names
    assert heard.names.count("subscription_renewed") >= 2 * count


# --- several ways --------------------------------------------------------------------------------------


def test_two_hubs_of_one_topic_are_told_of_once(blog: Blog, hub: Hub, neighbour: Neighbour) -> None:
    heard = Heard(blog)
    other = Hub(neighbour, "/other")
    follow(blog, hub)
    follow(blog, other)
    for body in (b"a", b"b", b"a"):  # which says again what it said before
        hub.deliver(body)
        other.deliver(body)
    work(blog)
    other.deliver(b"c")
    work(blog)
    assert sorted(heard.bodies()) == [b"a", b"a", b"b", b"c"]


def test_a_hub_that_sends_the_same_again(blog: Blog, hub: Hub, heard: Heard, clock: Clock) -> None:
    follow(blog, hub)
    for _ in range(2):
        hub.deliver(b"a")
    work(blog)
    assert heard.bodies() == [b"a"]
    clock.move(DAY + 1)
    hub.deliver(b"a")
    work(blog)
    assert heard.bodies() == [b"a", b"a"]


# --- polling -------------------------------------------------------------------------------------------


def poll(blog: Blog) -> None:
    """What the worker does about once an hour."""
    with blog.app.app_context():
        owe_polls(blog.site)
    work(blog)


def test_a_topic_without_a_hub_is_polled_hourly(
    blog: Blog, neighbour: Neighbour, heard: Heard, clock: Clock
) -> None:
    etag = [("ETag", '"1"'), ("Last-Modified", "Sun, 01 Mar 2026 00:00:00 GMT")]
    neighbour.answer("/feed", 200, feed("1", "2"), etag)
    subscribe(blog, neighbour.url("/feed"))
    work(blog)
    clock.move(HOUR)
    poll(blog)  # what is there at the first look is not new
    neighbour.answer("/feed", 304)
    clock.move(HOUR)
    poll(blog)
    asked = neighbour.requests[-1]
    assert asked.header("If-None-Match") == '"1"'
    assert asked.header("If-Modified-Since") == "Sun, 01 Mar 2026 00:00:00 GMT"
    assert heard.bodies() == []
    neighbour.answer("/feed", 200, feed("3", "1", "2"))
    clock.move(30 * MINUTE)
    count = len(neighbour.requests)
    poll(blog)
    assert len(neighbour.requests) == count
    clock.move(30 * MINUTE)
    poll(blog)
    assert heard.bodies() == [feed("3", "1", "2")]
    assert heard.said[-1][1]["links"] is None


def test_a_hub_is_found_out_to_be_silent(
    blog: Blog, hub: Hub, neighbour: Neighbour, heard: Heard, clock: Clock
) -> None:
    neighbour.answer("/feed", 200, feed("1", hubs=(hub.url,), self_url=neighbour.url("/feed")))
    follow(blog, hub, neighbour.url("/feed"), named=False)
    poll(blog)
    neighbour.answer("/feed", 200, feed("3", "2", "1"))
    clock.move(HOUR)
    count = len(neighbour.requests)
    poll(blog)
    assert len(neighbour.requests) == count  # daily is enough while a hub delivers
    clock.move(DAY)
    poll(blog)
    found = subscription(blog)
    assert (found.missed, found.silent) == (2, False)
    assert heard.bodies() == [feed("3", "2", "1")]
    neighbour.answer("/feed", 200, feed("4", "3", "2", "1"))
    clock.move(DAY)
    poll(blog)
    assert subscription(blog).silent is True
    neighbour.answer("/feed", 200, feed("5", "4", "3"))
    clock.move(HOUR)
    poll(blog)
    assert len(heard.bodies()) == 3
    assert hub.deliver(feed("6", "5")) == 202
    work(blog)
    found = subscription(blog)
    assert (found.missed, found.silent) == (0, False)


def test_a_hub_that_brings_an_entry_in_other_words_is_not_silent(
    blog: Blog, hub: Hub, neighbour: Neighbour, heard: Heard, clock: Clock
) -> None:
    neighbour.answer("/feed", 200, feed("1"))
    follow(blog, hub, neighbour.url("/feed"))
    poll(blog)
    for number in range(2, 7):  # YouTube's hub leaves out what the feed says of a film
        hub.deliver(feed(str(number)).replace(b"Entry", b"Film"))
    neighbour.answer("/feed", 200, feed("6", "5", "4", "3", "2", "1"))
    clock.move(DAY)
    poll(blog)
    found = subscription(blog)
    assert (found.missed, found.silent) == (0, False)
    assert len(heard.bodies()) == 5


def test_an_edit_is_found_by_polling_where_there_is_no_hub(
    blog: Blog, neighbour: Neighbour, heard: Heard, clock: Clock
) -> None:
    neighbour.answer("/feed", 200, feed("1"))
    subscribe(blog, neighbour.url("/feed"))
    work(blog)
    clock.move(HOUR)
    poll(blog)
    neighbour.answer("/feed", 200, feed("1").replace(b"Entry", b"Edited"))
    clock.move(HOUR)
    poll(blog)
    assert len(heard.bodies()) == 1


def test_what_polling_found_and_a_hub_brings_later_is_told_of_once(
    blog: Blog, hub: Hub, neighbour: Neighbour, heard: Heard, clock: Clock
) -> None:
    neighbour.answer("/feed", 200, feed("1"))
    follow(blog, hub, neighbour.url("/feed"))
    poll(blog)
    neighbour.answer("/feed", 200, feed("2", "1"))
    clock.move(DAY)
    poll(blog)
    hub.deliver(feed("2", "1"))
    work(blog)
    assert heard.bodies() == [feed("2", "1")]


@pytest.mark.parametrize("status", [404, 500])
def test_a_topic_that_cannot_be_read_is_read_again_later(
    blog: Blog, neighbour: Neighbour, clock: Clock, status: int
) -> None:
    neighbour.answer("/feed", 200, feed("1"))
    subscribe(blog, neighbour.url("/feed"))
    work(blog)
    neighbour.answer("/feed", status)
    for _ in range(2):
        clock.move(HOUR)
        count = len(neighbour.requests)
        poll(blog)
        assert len(neighbour.requests) == count + 1
    neighbour.answer("/feed", 200, feed("1"))
    clock.move(HOUR)
    poll(blog)
    assert subscription(blog).seen is not None


def test_who_stopped_does_not_poll(blog: Blog, hub: Hub, neighbour: Neighbour, clock: Clock) -> None:
    neighbour.answer("/feed", 200, feed("1"))
    subscribe(blog, neighbour.url("/feed"))
    work(blog)
    with blog.app.app_context():
        blog.linkback.websub.unsubscribe(blog.linkback.websub.subscriptions()[0])
        blog.db.session.commit()
    count = len(neighbour.requests)
    clock.move(2 * DAY)
    poll(blog)
    assert len(neighbour.requests) == count
    assert all(each.ends_at is not None for each in requests_of(blog))


# --- what is not kept ------------------------------------------------------------------------------------


def test_what_is_over_is_forgotten(blog: Blog, hub: Hub, clock: Clock) -> None:
    hub.lease = 400 * DAY
    follow(blog, hub)
    hub.deliver(feed("1"))
    subscribe(blog, f"{TOPIC}/2", hub=hub.url)
    work(blog)
    assert hub.deny() == 200
    work(blog)

    def swept(days: int) -> tuple[list[bool], int]:
        """Which contents have a body so many days later, and how many requests there are."""
        clock.move(days * DAY)
        with blog.app.app_context():
            sweep(blog.site)
        return [content.body is not None for content in rows(blog, Content)], len(requests_of(blog))

    assert swept(29) == ([True], 2)
    assert swept(2) == ([False], 2)
    assert swept(58) == ([False], 2)
    assert swept(2) == ([], 1)  # the active one stays
