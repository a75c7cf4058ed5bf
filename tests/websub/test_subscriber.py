"""Subscriber: the cases of django-push by their numbers, and what a hub may do to us."""

from __future__ import annotations

import base64
import gzip
import time
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_linkback.errors import AddressRefused, BaseURLMissing, SubscriptionError
from flask_linkback.models import Job, JobState, SubscriptionState
from flask_linkback.protocols.signatures import ALGORITHMS
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock, request, rows, work
from tests.websub.following import (
    CHALLENGE,
    Heard,
    Hub,
    feed,
    requests_of,
    subscribe,
    subscription,
)

TOPIC = "https://topic.example/feed"


@pytest.fixture
def blog(serve: Callable[..., Blog], database_url: str, clock: Clock) -> Blog:
    return serve(database_url)


@pytest.fixture
def heard(blog: Blog) -> Heard:
    return Heard(blog)


def follow(blog: Blog, hub: Hub, topic: str = TOPIC, **options: Any) -> None:
    """Subscribe at a hub and let it confirm."""
    subscribe(blog, topic, hub=hub.url, **options)
    work(blog)
    assert hub.confirm() == (200, CHALLENGE.encode())


# --- asking a hub --------------------------------------------------------------------------------------


def test_w6_a_request_says_exactly_this(blog: Blog, hub: Hub) -> None:
    subscribe(blog, TOPIC, hub=hub.url)
    assert subscription(blog).state is SubscriptionState.discovering
    assert hub.requests == []  # nothing leaves before the commit, and nothing in the request
    work(blog)
    (form,) = hub.requests
    assert form == {
        "hub.mode": "subscribe",
        "hub.topic": TOPIC,
        "hub.callback": form["hub.callback"],
        "hub.lease_seconds": "864000",
        "hub.verify": "async",
    }
    assert form["hub.callback"].startswith(f"{blog.base_url}/linkback/websub/")
    assert len(form["hub.callback"].rpartition("/")[2]) >= 40
    assert hub.asked[0].header("Authorization") is None
    assert hub.asked[0].header("Content-Type") == "application/x-www-form-urlencoded"
    found = subscription(blog)
    assert (found.state, found.lease_expires_at) == (SubscriptionState.requested, None)


def test_nothing_is_asked_for_a_transaction_that_rolls_back(blog: Blog, hub: Hub) -> None:
    with blog.app.app_context():
        blog.linkback.websub.subscribe(TOPIC, hub=hub.url)
        blog.db.session.rollback()
    assert work(blog) == 0
    assert hub.requests == []


@pytest.mark.parametrize(
    ("setting", "hub_url", "has_secret"),
    [
        ("https", "http://hub.example/", False),
        ("https", "https://hub.example/", True),
        ("always", "http://hub.example/", True),
        ("never", "https://hub.example/", False),
    ],
)
def test_w8_who_gets_a_secret(
    blogs: Callable[..., Blog], sqlite_url: str, setting: str, hub_url: str, has_secret: bool
) -> None:
    blog = blogs(sqlite_url, WEBSUB_SECRETS=setting, RETRY_SCHEDULE=(0,))
    subscribe(blog, TOPIC, hub=hub_url)
    work(blog)
    (asked,) = requests_of(blog)
    assert (asked.secret is not None) is has_secret
    assert asked.secret is None or 32 <= len(asked.secret.encode()) < 200


def test_w9_a_hub_of_pubsubhubbub_confirms_at_once(blog: Blog, hub: Hub, heard: Heard, clock: Clock) -> None:
    hub.status = 204
    subscribe(blog, TOPIC, hub=hub.url, lease_seconds=5000)
    work(blog)
    found = subscription(blog)
    assert (found.state, found.lease_seconds) == (SubscriptionState.active, 5000)
    assert found.lease_expires_at == clock() + timedelta(seconds=5000)
    assert heard.names == ["subscription_verified"]


@pytest.mark.parametrize(
    ("settings", "callback"),
    [
        ({"base_url": "https://blog.example"}, "https://blog.example/linkback/websub/"),
        ({"base_url": "https://blog.example/sub"}, "https://blog.example/sub/linkback/websub/"),
        ({"base_url": "http://blog.example", "URL_PREFIX": "/x"}, "http://blog.example/x/websub/"),
    ],
)
def test_w10_where_hubs_find_us(
    blogs: Callable[..., Blog], sqlite_url: str, hub: Hub, settings: Any, callback: str
) -> None:
    blog = blogs(sqlite_url, **settings)
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    assert hub.requests[0]["hub.callback"].startswith(callback)


def test_w10_nobody_subscribes_without_an_address(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, base_url=None)
    with blog.app.app_context(), pytest.raises(BaseURLMissing):
        blog.linkback.websub.subscribe(TOPIC)


def test_w13_a_hub_that_does_not_answer(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, DELIVERY_TIMEOUT=0.2)
    neighbour.route("/hub", lambda request, wire: wire.pause())
    subscribe(blog, TOPIC, hub=neighbour.url("/hub"))
    began = time.monotonic()
    work(blog)
    assert time.monotonic() - began < 5
    (job,) = [job for job in rows(blog, Job) if job.kind == "ask_hub"]
    assert (job.state, job.reason.split(":")[0]) == (JobState.pending, "too_slow")


def test_w11_unsubscribing_says_exactly_this(blog: Blog, hub: Hub) -> None:
    follow(blog, hub, lease_seconds=77, secret="s")
    with blog.app.app_context():
        (found,) = blog.linkback.websub.subscriptions()
        blog.linkback.websub.unsubscribe(found)
        blog.db.session.commit()
    work(blog)
    before, form = hub.requests
    assert form == {
        "hub.mode": "unsubscribe",
        "hub.topic": TOPIC,
        "hub.callback": before["hub.callback"],
        "hub.verify": "async",
    }


def test_w12_w14_the_lease_that_is_asked_for(serve: Callable[..., Blog], sqlite_url: str, hub: Hub) -> None:
    blog = serve(sqlite_url, LEASE_SECONDS=1234)
    subscribe(blog, TOPIC, hub=hub.url)
    subscribe(blog, f"{TOPIC}/2", hub=hub.url, lease_seconds=4321)
    work(blog)
    assert {form["hub.topic"]: form["hub.lease_seconds"] for form in hub.requests} == {
        TOPIC: "1234",
        f"{TOPIC}/2": "4321",
    }


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 410, 422])
def test_w15_what_a_hub_answers_and_means_no(blog: Blog, hub: Hub, heard: Heard, status: int) -> None:
    hub.status, hub.text = status, b"Not <b>here</b>"
    with blog.app.app_context():
        with pytest.raises(SubscriptionError) as raised:
            blog.linkback.websub.subscribe(TOPIC, hub=hub.url, wait=True)
        error = raised.value
        assert str(error) == f"Error during request to hub {hub.url} for topic {TOPIC}: Not <b>here</b>"
        assert error.subscription.state is SubscriptionState.failed
        assert (error.response.status_code, error.response.body) == (status, b"Not <b>here</b>")
    assert heard.names == ["subscription_failed"]
    assert len(hub.requests) == 1
    assert request("GET", f"{hub.requests[0]['hub.callback']}?hub.mode=denied&hub.topic={TOPIC}")[0] == 410


def test_a_hub_in_trouble_is_asked_again_by_the_schedule(
    blog: Blog, hub: Hub, heard: Heard, clock: Clock
) -> None:
    hub.status = 503
    hub.headers = [("Retry-After", "120")]
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    clock.move(100)
    assert work(blog) == 0
    clock.move(30)
    hub.status = 202
    work(blog)
    assert len(hub.requests) == 2
    assert hub.requests[0]["hub.callback"] == hub.requests[1]["hub.callback"]
    hub.confirm()
    assert heard.names == ["subscription_verified"]


@pytest.mark.parametrize("how", ["argument", "setting", "path"])
def test_w16_credentials(
    serve: Callable[..., Blog], sqlite_url: str, hub: Hub, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "argument": {},
        "setting": {"HUB_CREDENTIALS": {hub.url: ("ann", "p:w")}},
        "path": {"HUB_CREDENTIALS": "tests.websub.test_subscriber.ann_everywhere"},
    }[how]
    blog = serve(sqlite_url, **settings)
    subscribe(blog, TOPIC, hub=hub.url, **({"credentials": ("ann", "p:w")} if how == "argument" else {}))
    work(blog)
    assert hub.asked[0].header("Authorization") == f"Basic {base64.b64encode(b'ann:p:w').decode()}"


def ann_everywhere(hub_url: str) -> tuple[str, str]:
    return "ann", "p:w"


def test_what_a_hub_wants_besides_is_kept_over_renewals(blog: Blog, hub: Hub) -> None:
    params = {"format": "json", "hub.callback": "https://evil.example/", "hub.verify": "sync"}
    follow(blog, hub, params=params, headers={"Accept": "application/json"}, credentials=("a", "b"))
    with blog.app.app_context():
        blog.linkback.websub.renew(blog.linkback.websub.subscriptions()[0])
        blog.db.session.commit()
    work(blog)
    first, second = hub.requests
    for form, asked in zip((first, second), hub.asked, strict=True):
        assert form["hub.callback"].startswith(blog.base_url)
        assert (form["format"], form["hub.verify"]) == ("json", "sync")
        assert asked.header("Accept") == "application/json"
        assert asked.header("Authorization") is not None
    assert first["hub.callback"] != second["hub.callback"]


@pytest.mark.parametrize("status", [307, 308])
def test_a_hub_that_moved_is_followed(blog: Blog, hub: Hub, neighbour: Neighbour, status: int) -> None:
    neighbour.answer("/old", status, b"", [("Location", "/hub")])
    subscribe(blog, TOPIC, hub=neighbour.url("/old"), credentials=("a", "b"))
    work(blog)
    assert [form["hub.mode"] for form in hub.requests] == ["subscribe"]
    assert hub.confirm()[0] == 200
    found = subscription(blog)
    assert found.hub_url == neighbour.url("/old")  # the one that was named is asked the next time, too
    assert requests_of(blog)[0].answered_url == hub.url
    with blog.app.app_context():
        blog.linkback.websub.unsubscribe(blog.linkback.websub.subscriptions()[0])
        blog.db.session.commit()
    work(blog)
    assert hub.requests[-1]["hub.mode"] == "unsubscribe"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_hub_whose_redirect_would_lose_the_request_is_not_followed(
    blog: Blog, hub: Hub, neighbour: Neighbour, status: int
) -> None:
    neighbour.answer("/old", status, b"", [("Location", "/hub")])
    subscribe(blog, TOPIC, hub=neighbour.url("/old"))
    work(blog)
    assert hub.requests == []


def test_who_we_are_is_not_told_to_another_host(blog: Blog, neighbour: Neighbour) -> None:
    with Neighbour() as other:
        elsewhere = Hub(other)
        neighbour.answer("/old", 307, b"", [("Location", elsewhere.url)])
        subscribe(blog, TOPIC, hub=neighbour.url("/old"), credentials=("a", "b"), headers={"X-Key": "secret"})
        work(blog)
        assert len(elsewhere.requests) == 1
        assert elsewhere.confirm()[0] == 200
        with blog.app.app_context():
            blog.linkback.websub.renew(blog.linkback.websub.subscriptions()[0])
            blog.db.session.commit()
        work(blog)
        elsewhere.confirm()
        with blog.app.app_context():
            blog.linkback.websub.unsubscribe(blog.linkback.websub.subscriptions()[0])
            blog.db.session.commit()
        work(blog)
        assert {form["hub.mode"] for form in elsewhere.requests} == {"subscribe", "unsubscribe"}
        for asked in elsewhere.asked:
            assert asked.header("Authorization") is None
            assert asked.header("X-Key") is None


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("ftp://topic.example/", {}),
        ("https://user:pw@topic.example/", {}),
        (TOPIC, {"hub": "javascript:alert(1)"}),
    ],
)
def test_addresses_that_are_none_are_refused_at_once(blog: Blog, url: str, options: Any) -> None:
    with blog.app.app_context(), pytest.raises(AddressRefused):
        blog.linkback.websub.subscribe(url, **options)


@pytest.mark.parametrize(
    "options", [{"secret": "x" * 200}, {"secret": "é" * 100}, {"secret": ""}, {"lease_seconds": 0}]
)
def test_values_that_are_none_are_refused_at_once(blog: Blog, options: Any) -> None:
    with blog.app.app_context(), pytest.raises(ValueError, match=r"secret|lease_seconds"):
        blog.linkback.websub.subscribe(TOPIC, **options)


# --- which hub -----------------------------------------------------------------------------------------


def links(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    return [("Link", f'<{url}>; rel="{rel}"') for url, rel in pairs]


def test_the_hub_of_a_page_is_looked_for(blog: Blog, hub: Hub, neighbour: Neighbour) -> None:
    headers = links((hub.url, "hub"), ("/canonical", "self"))
    neighbour.answer("/page", 200, b"<title>Page</title>", headers)
    subscribe(blog, neighbour.url("/page"))
    work(blog)
    assert hub.requests[0]["hub.topic"] == neighbour.url("/canonical")
    assert hub.confirm()[0] == 200
    found = subscription(blog)
    assert (found.page_url, found.topic_url) == (neighbour.url("/page"), neighbour.url("/canonical"))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_topic_that_moved_is_followed(blog: Blog, hub: Hub, neighbour: Neighbour, status: int) -> None:
    neighbour.answer("/old", status, b"", [("Location", "/new")])
    neighbour.answer("/new", 200, feed(self_url=neighbour.url("/new"), hubs=(hub.url,)))
    subscribe(blog, neighbour.url("/old"))
    work(blog)
    assert hub.requests[0]["hub.topic"] == neighbour.url("/new")


def test_w7_a_page_without_a_hub(blog: Blog, neighbour: Neighbour, heard: Heard) -> None:
    neighbour.answer("/feed", 200, feed("1"))
    subscribe(blog, neighbour.url("/feed"))
    work(blog)
    found = subscription(blog)
    assert (found.state, "no hub" in found.reason) == (SubscriptionState.failed, True)
    assert heard.names == ["subscription_failed"]


def test_youtube_names_no_hub_and_everybody_knows_it(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url)
    subscribe(blog, "https://www.youtube.com/feeds/videos.xml?channel_id=UC1")
    assert subscription(blog).hub_url == "https://pubsubhubbub.appspot.com/subscribe"


def test_discover_says_what_a_subscriber_sees(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/feed", 200, feed(self_url="https://t.example/", hubs=("https://h.example/",)))
    with blog.app.app_context():
        offer = blog.linkback.websub.discover(neighbour.url("/feed"))
    assert (offer.topic_url, offer.hubs) == ("https://t.example/", ("https://h.example/",))


# --- the hub asks back ---------------------------------------------------------------------------------


def test_w17_parameters_that_are_missing(blog: Blog, hub: Hub) -> None:
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    assert hub.confirm(mode=None, topic=None, challenge=None) == (
        400,
        b"Missing parameters: hub.mode, hub.topic, hub.challenge\n",
    )
    assert hub.confirm(topic=None) == (400, b"Missing parameters: hub.topic\n")


def test_w18_another_topic(blog: Blog, hub: Hub) -> None:
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    assert hub.confirm(topic="https://evil.example/")[0] == 404
    assert hub.confirm(topic="https://evil.example/", mode="dance")[0] == 404
    assert subscription(blog).state is SubscriptionState.requested


def test_w19_w20_w21_what_is_not_understood(blog: Blog, hub: Hub) -> None:
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    assert hub.confirm(mode="dance") == (400, b"Unrecognized hub.mode parameter\n")
    assert hub.confirm(lease_seconds=None) == (400, b"Missing hub.lease_seconds parameter\n")
    for lease in ("soon", "-1", "1.5", "", "\u0661"):
        assert hub.confirm(lease_seconds=lease) == (400, b"hub.lease_seconds must be an integer\n")
    assert subscription(blog).state is SubscriptionState.requested


def test_w22_a_hub_confirms(blog: Blog, hub: Hub, heard: Heard, clock: Clock) -> None:
    hub.lease = 3600
    follow(blog, hub)
    found = subscription(blog)
    assert found.state is SubscriptionState.active
    assert (found.lease_seconds, found.lease_expires_at) == (3600, clock() + timedelta(hours=1))
    assert heard.names == ["subscription_verified"]


def test_a_challenge_is_no_page(blog: Blog, hub: Hub) -> None:
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    callback = hub.requests[0]["hub.callback"]
    query = f"?hub.mode=subscribe&hub.topic={TOPIC}&hub.lease_seconds=99&hub.challenge=%3Cscript%3E"
    status, headers, body = request("GET", callback + query)
    assert (status, body) == (200, b"<script>")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_hub_may_confirm_before_it_answers(blog: Blog, hub: Hub, heard: Heard) -> None:
    hub.at_once = True
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    assert hub.answers == [(200, CHALLENGE.encode())]
    assert subscription(blog).state is SubscriptionState.active
    assert heard.names == ["subscription_verified"]


def test_a_hub_that_confirmed_may_answer_200(blog: Blog, hub: Hub, heard: Heard) -> None:
    hub.at_once, hub.status = True, 200  # Superfeedr, with retrieve=true
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    assert subscription(blog).state is SubscriptionState.active
    assert heard.names == ["subscription_verified"]


def test_no_lease_is_believed_to_be_longer_than_the_longest(
    serve: Callable[..., Blog], sqlite_url: str, hub: Hub
) -> None:
    blog = serve(sqlite_url, MAX_LEASE_SECONDS=1000)
    hub.lease = 10**40
    follow(blog, hub)
    assert subscription(blog).lease_seconds == 1000


def test_w23_a_hub_confirms_the_end(blog: Blog, hub: Hub) -> None:
    follow(blog, hub)
    with blog.app.app_context():
        blog.linkback.websub.unsubscribe(blog.linkback.websub.subscriptions()[0])
        blog.db.session.commit()
    work(blog)
    assert subscription(blog).state is SubscriptionState.unsubscribing
    assert hub.deliver(feed("1")) == 202  # it is not over before the hub says so
    assert hub.confirm(lease_seconds=None) == (200, CHALLENGE.encode())
    assert subscription(blog).state is SubscriptionState.unsubscribed
    assert hub.deliver(feed("2")) == 410
    assert hub.confirm(lease_seconds=None) == (200, CHALLENGE.encode())  # it did not hear us
    assert hub.confirm(mode="subscribe")[0] == 410


def test_nobody_ends_what_we_want(blog: Blog, hub: Hub) -> None:
    follow(blog, hub)
    assert hub.confirm(mode="unsubscribe")[0] == 404
    assert subscription(blog).state is SubscriptionState.active
    assert hub.deliver(feed("1")) == 202


def test_an_active_subscription_is_confirmed_again(blog: Blog, hub: Hub, heard: Heard, clock: Clock) -> None:
    follow(blog, hub)
    clock.move(1000)
    hub.lease = 5000
    assert hub.confirm(verify_token="what is this") == (200, CHALLENGE.encode())
    assert subscription(blog).lease_expires_at == clock() + timedelta(seconds=5000)
    assert heard.names == ["subscription_verified"]


def test_unknown_callbacks(blog: Blog) -> None:
    for token in ("x" * 43, "x", "x" * 5000):
        url = f"{blog.base_url}/linkback/websub/{token}"
        query = f"?hub.mode=subscribe&hub.topic={TOPIC}&hub.lease_seconds=99&hub.challenge=c"
        assert request("GET", url + query)[0] == 404
        assert request("POST", url, b"x")[0] == 404
        assert request("HEAD", url + query)[0] == 405
        assert request("PUT", url + query)[0] == 405


def test_a_request_is_denied(blog: Blog, hub: Hub, heard: Heard) -> None:
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    assert hub.deny(reason="We do not like\x00 you") == 200
    found = subscription(blog)
    assert (found.state, found.reason) == (SubscriptionState.denied, "We do not like you")
    assert heard.said[0][0] == "subscription_denied"
    assert heard.said[0][1]["reason"] == "We do not like you"
    assert hub.confirm()[0] == 410


def test_an_accepted_subscription_is_denied(blog: Blog, hub: Hub, heard: Heard) -> None:
    follow(blog, hub)
    assert hub.deny() == 200
    assert subscription(blog).state is SubscriptionState.denied
    assert heard.names == ["subscription_verified", "subscription_denied"]
    assert hub.deliver(feed("1")) == 410


def test_a_renewal_that_is_denied_leaves_the_lease(blog: Blog, hub: Hub, heard: Heard) -> None:
    follow(blog, hub)
    first = hub.requests[0]
    with blog.app.app_context():
        blog.linkback.websub.renew(blog.linkback.websub.subscriptions()[0])
        blog.db.session.commit()
    work(blog)
    assert hub.deny(reason="Too often") == 200
    found = subscription(blog)
    assert (found.state, found.reason) == (SubscriptionState.active, "Too often")
    assert hub.deliver(feed("1"), first) == 202


# --- content -------------------------------------------------------------------------------------------


def test_w24_content_without_a_secret(blog: Blog, hub: Hub, heard: Heard) -> None:
    follow(blog, hub)
    body = b"\xff\x00 anything"
    assert hub.deliver(body, Content_Type="application/x-odd; v=1") == 202
    assert heard.bodies() == []  # not in the hub's request
    work(blog)
    name, said = heard.said[-1]
    assert (name, said["notification"], said["content_type"]) == ("updated", body, "application/x-odd; v=1")
    assert said["subscription"] == subscription(blog).id
    assert said["links"] is None
    assert said["request"].get_data() == body
    assert isinstance(said["content_id"], int)


@pytest.mark.parametrize("setting", [None, 200, 401])
def test_w25_w26_a_signature_that_is_missing_or_wrong(
    serve: Callable[..., Blog], sqlite_url: str, hub: Hub, setting: int | None
) -> None:
    blog = serve(sqlite_url, **({} if setting is None else {"WEBSUB_BAD_SIGNATURE_STATUS": setting}))
    heard = Heard(blog)
    follow(blog, hub, secret="lol")
    callback = hub.requests[0]["hub.callback"]
    wrong = [{}, {"X-Hub-Signature": "sha1=123456"}, {"X-Hub-Signature": "sha1"}, {"X-Hub-Signature": "=é"}]
    for headers in wrong:
        assert request("POST", callback, b"foo", headers)[0] == (setting or 403)
    assert hub.deliver(b"foo", secret="lol2") == (setting or 403)
    work(blog)
    assert heard.names == ["subscription_verified"]


def test_w27_the_right_signature(blog: Blog, hub: Hub, heard: Heard) -> None:
    follow(blog, hub, secret="lol")
    callback = hub.requests[0]["hub.callback"]
    signature = "sha1=bfe9c8b0bc631a74dbc484c4e4a5a469cbb8b01f"
    assert request("POST", callback, b"foo", {"X-Hub-Signature": signature})[0] == 202
    for number, algorithm in enumerate(ALGORITHMS):
        assert hub.deliver(b"%d" % number, algorithm=algorithm) == 202
    work(blog)
    assert sorted(heard.bodies()) == [b"0", b"1", b"2", b"3", b"foo"]


def test_a_weak_signature_is_none_where_a_stronger_one_is_wanted(
    serve: Callable[..., Blog], sqlite_url: str, hub: Hub
) -> None:
    blog = serve(sqlite_url, WEBSUB_MIN_ALGORITHM="sha256")
    follow(blog, hub, secret="lol")
    assert hub.deliver(b"foo", algorithm="sha1") == 403
    assert hub.deliver(b"foo", algorithm="sha512") == 202


def test_w28_links_of_a_delivery(blog: Blog, hub: Hub, heard: Heard) -> None:
    follow(blog, hub)
    hub.deliver(b"x", Link=f'<{TOPIC}>; rel="self", <{hub.url}>; rel=hub; title="a, b"')
    work(blog)
    links = heard.said[-1][1]["links"]
    assert [link["url"] for link in links if link["rel"] == "self"] == [TOPIC]
    assert links[1] == {"url": hub.url, "rel": "hub", "title": "a, b"}


def test_content_before_anybody_confirmed_is_nobodys(blog: Blog, hub: Hub) -> None:
    subscribe(blog, TOPIC, hub=hub.url)
    work(blog)
    assert hub.deliver(b"x") == 404


def test_content_has_a_cap(serve: Callable[..., Blog], sqlite_url: str, hub: Hub) -> None:
    blog = serve(sqlite_url, MAX_BODY_BYTES=2000)
    follow(blog, hub)
    assert hub.deliver(b"x" * 2000) == 202
    assert hub.deliver(b"x" * 2001) == 413


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", gzip.compress(b"x" * 2000), 202),
        ("deflate", zlib.compress(b"x" * 2000), 202),
        ("identity", b"x" * 2000, 202),
        ("gzip", gzip.compress(b"x" * 2001), 413),
        ("gzip", b"x" * 100, 400),
        ("br", b"x" * 100, 415),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x")), 415),
    ],
    ids=["gzip", "deflate", "identity", "too large", "no gzip", "brotli", "twice"],
)
def test_content_that_is_encoded(
    serve: Callable[..., Blog], sqlite_url: str, hub: Hub, encoding: str, body: bytes, status: int
) -> None:
    blog = serve(sqlite_url, MAX_BODY_BYTES=2000)
    heard = Heard(blog)
    follow(blog, hub, secret="s")
    assert hub.deliver(body, Content_Encoding=encoding) == status  # what is signed is what is sent
    work(blog)
    assert heard.bodies() == ([b"x" * 2000] if status == 202 else [])


def test_a_receiver_that_raises_hears_it_again(blog: Blog, hub: Hub, clock: Clock) -> None:
    from flask_linkback import signals

    bodies: list[bytes] = []

    def receive(app: Any, notification: bytes, **_: Any) -> None:
        bodies.append(notification)
        if len(bodies) == 1:
            raise RuntimeError("not yet")

    follow(blog, hub)
    with signals.updated.connected_to(receive, sender=blog.app):
        hub.deliver(b"x")
        work(blog)
        clock.move(10)
        work(blog)
    assert bodies == [b"x", b"x"]


def test_a_view_of_the_application(
    serve: Callable[..., Blog], sqlite_url: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flask_linkback import CallbackView

    taken: list[Any] = []

    class Mine(CallbackView):
        def handle_content(self, subscription: Any, content: Any) -> None:
            taken.append((subscription.topic_url, content.body, content.links))
            if content.body == b"keep":
                super().handle_content(subscription, content)

    blog = serve(sqlite_url, callback_view=Mine)
    heard = Heard(blog)
    follow(blog, hub)
    assert hub.deliver(b"x", Link="<https://a.example/>; rel=self") == 202
    assert hub.deliver(b"keep") == 202
    work(blog)
    assert taken[0] == (TOPIC, b"x", [{"rel": "self", "url": "https://a.example/"}])
    assert heard.bodies() == [b"keep"]
