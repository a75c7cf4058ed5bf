"""Receiving: a webhook is verified, written down, and handled once, by the worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from standardwebhooks import Webhook

from flask_linkback import Linkback
from flask_linkback.errors import AlreadyRegistered, BadSecret, BadSignature, ConfigError, ReplayRefused
from flask_linkback.models import JobState, Receipt
from flask_linkback.protocols.standardwebhooks import new_key_pair, new_secret
from flask_linkback.protocols.webhook_schemes import Message, Verified
from flask_linkback.webhooks import receiving
from flask_linkback.webhooks.receiving import ReceivedEvent, Receivers
from tests.apps import Blog, mounted, protected
from tests.pingback.tools import Clock, request, statements, work
from tests.webhooks.senders import (
    JSON,
    SECRET,
    SIGN,
    by_github,
    handling,
    post,
    receipts,
    receive,
    signed,
    tell,
)

BODY = b'{"type": "order.paid", "data": {"id": 7}}'


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    """One on SQLite, out of its context."""
    return blogs(sqlite_url)


# --- the way of a webhook ------------------------------------------------------------------------------


def test_a_webhook_is_kept_and_then_handled(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url)
    told = receive(blog)
    response = post(blog, "shop", BODY, {**signed(blog, BODY), "X-Shop": "7"})
    assert (response.status_code, response.data) == (202, b"Thank you.\n")
    assert told == []  # the request is answered before
    (receipt,) = receipts(blog)
    assert (receipt.receiver, receipt.message_id, receipt.body) == ("shop", "msg_1", BODY)
    assert receipt.received_at == blog.site.now()
    assert receipt.handled_at is None
    assert work(blog) == 1
    (event,) = told
    assert (event.name, event.id, event.type) == ("shop", "msg_1", "order.paid")
    assert event.data == {"type": "order.paid", "data": {"id": 7}}
    assert (event.body, event.content_type, event.received_at) == (BODY, JSON, receipt.received_at)
    assert event.headers["x-shop"] == "7"
    assert receipts(blog)[0].handled_at == blog.site.now()
    (job,) = handling(blog)
    assert job.state is JobState.done


def test_an_event_cannot_be_changed(blog: Blog) -> None:
    told = receive(blog)
    tell(blog, {})
    work(blog)
    with pytest.raises(FrozenInstanceError):
        told[0].id = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        told[0].headers["x"] = "y"  # type: ignore[index]


def test_a_repeat_is_taken_and_handled_once(
    blogs: Callable[..., Blog], database_url: str, clock: Clock
) -> None:
    blog = blogs(database_url)
    told = receive(blog)
    other = receive(blog, "other")
    assert tell(blog, {"n": 1}) == 202
    assert tell(blog, {"n": 1}) == 202
    work(blog)
    clock.move(3600)  # it is signed anew, by its old id
    assert tell(blog, {"n": 1}) == 202
    work(blog)
    assert len(told) == len(receipts(blog)) == 1
    tell(blog, {"n": 2}, "msg_2")
    tell(blog, {"n": 1}, name="other")
    work(blog)
    assert [event.data for event in told] == [{"n": 1}, {"n": 2}]
    assert [event.id for event in other] == ["msg_1"]  # the ids of one are not those of another


def test_a_replayed_message_is_refused_after_five_minutes(blog: Blog, clock: Clock) -> None:
    receive(blog)
    headers = signed(blog, BODY)
    clock.move(300)
    assert post(blog, "shop", BODY, headers).status_code == 202
    clock.move(1)
    assert post(blog, "shop", BODY, headers).status_code == 401


def test_the_same_message_at_the_same_time_is_handled_once(
    serve: Callable[..., Blog], database_url: str
) -> None:
    blog = serve(database_url)
    told = receive(blog)
    headers = {**signed(blog, BODY), "Content-Type": JSON}
    statuses: list[int] = []
    gate = threading.Barrier(6)

    def send() -> None:
        gate.wait()
        statuses.append(request("POST", f"{blog.base_url}/linkback/receive/shop", BODY, headers)[0])

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work(blog)
    assert statuses == [202] * 6
    assert len(told) == len(receipts(blog)) == 1


def test_two_inserts_are_all_that_the_sender_waits_for(blog: Blog) -> None:
    receive(blog)
    with statements(blog) as asked:
        tell(blog, {})
    assert [each.split()[:3] for each in asked] == [
        ["INSERT", "INTO", "linkback_receipt"],
        ["INSERT", "INTO", "linkback_job"],
    ]


def test_what_the_library_of_the_specification_signs_is_taken(
    serve: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = serve(sqlite_url)
    told = receive(blog)
    at = blog.site.now()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", at, BODY.decode()),
    }
    assert request("POST", f"{blog.base_url}/linkback/receive/shop", BODY, headers)[0] == 202
    work(blog)
    assert told[0].body == BODY


# --- who sends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SIGN)
def test_a_name_that_is_known_is_a_scheme(blog: Blog, scheme: str) -> None:
    told = receive(blog, scheme)
    body = b'{"id": "m1", "type": "order.paid", "event_id": "m1"}'
    headers = SIGN[scheme](blog, body, "m1")
    assert post(blog, scheme, body, headers).status_code == 202
    assert post(blog, scheme, body, headers).status_code == 202
    assert post(blog, scheme, body + b" ", headers).status_code == 401
    work(blog)
    assert [(event.id, event.type) for event in told] == [
        ("m1", "push" if scheme == "github" else "order.paid")
    ]


def test_any_name_may_have_any_scheme(blog: Blog) -> None:
    told = receive(blog, "fork", scheme="github")
    assert (
        post(
            blog,
            "fork",
            b"payload=%7B%22a%22%3A1%7D",
            by_github(blog, b"payload=%7B%22a%22%3A1%7D", "m1"),
            content_type="application/x-www-form-urlencoded",
        ).status_code
        == 202
    )
    work(blog)
    assert told[0].data == {"a": 1}
    assert told[0].content_type == "application/x-www-form-urlencoded"


def test_a_form_is_verified_as_it_was_sent(blog: Blog) -> None:
    """bloomberg/python-github-webhook#29: a form's ``request.data`` is empty."""
    told = receive(blog)
    body = b"b=2&a=1&a=%c3%a9"
    form = "application/x-www-form-urlencoded; charset=utf-8"
    assert post(blog, "shop", body, signed(blog, body), content_type=form).status_code == 202
    parts = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    multipart = "multipart/form-data; boundary=x"
    assert post(blog, "shop", parts, signed(blog, parts, "m2"), content_type=multipart).status_code == 202
    work(blog)
    assert [(event.body, event.data) for event in told] == [(body, None), (parts, None)]


def test_bytes_that_are_no_text_are_taken(blog: Blog) -> None:
    told = receive(blog)
    body = bytes(range(256))
    assert post(blog, "shop", body, signed(blog, body)).status_code == 202
    assert post(blog, "shop", b"", signed(blog, b"", "m2")).status_code == 202
    work(blog)
    assert [(event.body, event.data, event.type) for event in told] == [(body, None, ""), (b"", None, "")]


def test_a_key_pair(blog: Blog) -> None:
    private, public = new_key_pair()
    told = receive(blog, secret=public)
    assert post(blog, "shop", BODY, signed(blog, BODY, secret=private)).status_code == 202
    assert post(blog, "shop", BODY, signed(blog, BODY, "m2")).status_code == 401
    work(blog)
    assert len(told) == 1


def test_each_of_several_secrets_counts(blog: Blog) -> None:
    receive(blog, secret=[new_secret(), SECRET])
    assert tell(blog, {}) == 202


def test_a_secret_is_asked_for_in_each_request(blog: Blog) -> None:
    now: Any = None
    asked = []

    def secret() -> Any:
        asked.append(current_app.name)
        return now

    receive(blog, secret=secret)
    assert asked == []
    assert tell(blog, {}) == 401  # there is none, so nobody has signed by it
    now = SECRET
    assert tell(blog, {}) == 202
    now = [new_secret(), SECRET]
    assert tell(blog, {}, "m2") == 202
    now = "short"
    with pytest.raises(BadSecret):
        tell(blog, {}, "m3")
    assert asked == [blog.app.name] * 4


def test_slack_is_answered_when_it_asks_whether_we_are_there(blog: Blog) -> None:
    receive(blog, "slack")
    body = b'{"type": "url_verification", "token": "x", "challenge": "<b>3eZ"}'
    response = post(blog, "slack", body, SIGN["slack"](blog, body, ""))
    assert (response.status_code, response.data) == (200, b"<b>3eZ")
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert receipts(blog) == []
    assert post(blog, "slack", body, {}).status_code == 401


def test_a_scheme_of_the_applications_own(blog: Blog) -> None:
    seen: list[Message] = []

    def by_token(message: Message) -> Verified:
        seen.append(message)
        if message.headers.get("x-token") != "sesame":
            raise BadSignature
        return Verified(id=message.headers["x-id"], type="opened")

    told = receive(blog, secret=None, scheme=by_token)
    assert post(blog, "shop", BODY, {"X-Token": "rice", "X-Id": "1"}).status_code == 401
    for _ in range(2):
        assert post(blog, "shop", BODY, {"X-Token": "sesame", "X-Id": "1"}).status_code == 202
    work(blog)
    assert [(event.id, event.type) for event in told] == [("1", "opened")]
    assert (seen[0].body, seen[0].secrets, seen[0].now) == (BODY, (), blog.site.now())
    receive(blog, "other", secret=["a", "b"], scheme=by_token)
    assert post(blog, "other", BODY, {"X-Token": "sesame", "X-Id": "1"}).status_code == 202
    assert seen[-1].secrets == ("a", "b")


def test_an_id_of_ones_own_may_be_of_any_text(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url)
    ids = iter(["\0", "\ud800", "x" * 5000, "é日"])
    told = receive(blog, secret=None, scheme=lambda message: Verified(id=next(ids), type="\0\ud800é"))
    for _ in range(4):
        assert post(blog, "shop", b"", {}).status_code == 202
    work(blog)
    assert [event.id for event in told] == ["", "?", "x" * 255, "é日"]
    assert {event.type for event in told} == {"?é"}


@pytest.mark.parametrize("returned", [None, True, "m1", Verified(id=""), Verified(id=7)])  # type: ignore[arg-type]
def test_a_scheme_that_says_something_else_is_the_applications_mistake(blog: Blog, returned: Any) -> None:
    receive(blog, secret=None, scheme=lambda message: returned)
    with pytest.raises(TypeError, match="Did you mean Verified"):
        post(blog, "shop", BODY, {})
    blog.app.testing = False
    assert post(blog, "shop", BODY, {}).status_code == 500
    assert receipts(blog) == []


# --- who receives --------------------------------------------------------------------------------------


def test_a_receiver_is_registered_at_any_time(sqlite_url: str) -> None:
    db = SQLAlchemy()
    linkback = Linkback(db=db)
    told: list[str] = []

    @linkback.webhooks.receiver("before", secret=SECRET)
    def before(event: ReceivedEvent) -> None:
        told.append(event.name)

    app = Flask(__name__)
    app.config.update(
        TESTING=True, SQLALCHEMY_DATABASE_URI=sqlite_url, LINKBACK_BASE_URL="https://blog.example"
    )
    db.init_app(app)
    linkback.init_app(app)
    blog = Blog(app=app, db=db, linkback=linkback, Post=None, base_url="https://blog.example")
    assert tell(blog, {}, name="before") == 202
    assert tell(blog, {}, name="after") == 404

    @linkback.webhooks.receiver("after", secret=SECRET)
    def after(event: ReceivedEvent) -> None:
        told.append(event.name)

    assert callable(after)  # what is decorated stays what it is
    assert tell(blog, {}, name="after") == 202
    work(blog)
    assert sorted(told) == ["after", "before"]
    blog.close()


@pytest.mark.parametrize(
    ("name", "options", "cause"),
    [
        ("a/b", {}, "part of a URL"),
        ("", {}, "part of a URL"),
        ("Shop", {}, "part of a URL"),
        ("x" * 65, {}, "part of a URL"),
        ("shop", {"scheme": "githob"}, r"no scheme 'githob'.*Did you mean github\?"),
        ("shop", {"secret": None}, "needs a secret"),
        ("shop", {"secret": ""}, "needs a secret"),
        ("shop", {"secret": []}, "needs a secret"),
        ("github", {"secret": None}, "needs a secret"),
        ("shop", {"secret": "hunter2"}, "24 to 64 bytes"),
        ("shop", {"secret": [SECRET, "whsec_!"]}, "not base64"),
        ("github", {"secret": [SECRET, ""]}, "not empty"),
    ],
)
def test_a_developers_mistake_is_told_at_once(blog: Blog, name: str, options: Any, cause: str) -> None:
    with pytest.raises((ConfigError, BadSecret), match=cause):
        receive(blog, name, **options)


def test_a_name_has_one_receiver(blog: Blog) -> None:
    told = receive(blog)
    with pytest.raises(AlreadyRegistered, match="shop"):
        receive(blog)
    tell(blog, {})
    work(blog)
    assert len(told) == 1


def test_the_secrets_of_other_schemes_may_be_short(blog: Blog) -> None:
    for scheme in ("github", "stripe", "slack"):
        receive(blog, scheme, secret="hunter2")


# --- the function --------------------------------------------------------------------------------------


def test_a_function_that_raises_is_called_again_by_the_schedule(
    blogs: Callable[..., Blog], database_url: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    blog = blogs(database_url, RETRY_SCHEDULE=(0, 60, 600))
    calls = []
    broken = True

    @blog.linkback.webhooks.receiver("shop", secret=SECRET)
    def on_shop(event: ReceivedEvent) -> None:
        calls.append(event.id)
        if broken:
            raise RuntimeError("the till is shut")

    tell(blog, {})
    for seconds in (0, 80, 800):
        clock.move(seconds)
        with caplog.at_level(logging.ERROR, "flask_linkback.webhooks"):
            work(blog)
    assert calls == ["msg_1"] * 3
    (job,) = handling(blog)
    assert (job.state, job.reason) == (JobState.dead, "RuntimeError: the till is shut")
    assert receipts(blog)[0].reason == job.reason
    assert receipts(blog)[0].handled_at is None
    assert [record.message for record in caplog.records] == ["The receiver of a webhook raised."] * 3
    assert tell(blog, {}) == 202  # a repeat does not wake the dead
    work(blog)
    assert len(calls) == 3
    broken = False
    with blog.app.app_context():
        assert blog.linkback.replay(job.id)
        blog.db.session.commit()
    work(blog)
    assert len(calls) == 4
    assert handling(blog)[0].state is JobState.done
    assert receipts(blog)[0].reason == ""
    assert receipts(blog)[0].handled_at == clock()


def test_what_a_function_commits_stays_and_what_it_leaves_is_dropped(
    blogs: Callable[..., Blog], database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    blog = blogs(database_url, content=None)

    @blog.linkback.webhooks.receiver("shop", secret=SECRET)
    def on_shop(event: ReceivedEvent) -> None:
        blog.add("committed")
        blog.db.session.add(blog.Post(slug="flushed"))
        blog.db.session.flush()
        blog.db.session.add(blog.Post(slug="added"))

    tell(blog, {})
    work(blog)
    with blog.app.app_context():
        assert list(blog.db.session.scalars(sa.select(blog.Post.slug))) == ["committed"]
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == ["Uncommitted changes of a handler or receiver are dropped: commit them there."]
    assert receipts(blog)[0].handled_at is not None
    assert handling(blog)[0].state is JobState.done


def test_what_a_function_wrote_before_it_raised_is_dropped(
    blogs: Callable[..., Blog], database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "flask_linkback.webhooks")  # no report can hold half a character
    blog = blogs(database_url, content=None)

    @blog.linkback.webhooks.receiver("shop", secret=SECRET)
    def on_shop(event: ReceivedEvent) -> None:
        blog.db.session.add(blog.Post(slug="flushed"))
        blog.db.session.flush()
        raise RuntimeError("\0\ud800" * 200)

    tell(blog, {})
    work(blog)
    with blog.app.app_context():
        assert list(blog.db.session.scalars(sa.select(blog.Post.slug))) == []
    assert 0 < len(receipts(blog)[0].reason) <= 200


def test_a_coroutine_may_receive(blog: Blog) -> None:
    told = []

    @blog.linkback.webhooks.receiver("shop", secret=SECRET)
    async def on_shop(event: ReceivedEvent) -> None:
        told.append(event.id)

    tell(blog, {})
    work(blog)
    assert told == ["msg_1"]


def test_a_name_that_nobody_has_any_more_is_waited_for(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock
) -> None:
    receive(first := blogs(sqlite_url))
    tell(first, {})
    other = blogs(sqlite_url)  # another process, in which the module was not imported
    work(other)
    (job,) = handling(other)
    assert (job.state, job.reason) == (JobState.pending, "There is no receiver 'shop' here.")
    told = receive(other)
    clock.move(10)
    work(other)
    assert len(told) == 1


# --- what is kept --------------------------------------------------------------------------------------


def test_passwords_are_not_kept_and_headers_are_bounded(blog: Blog) -> None:
    told = receive(blog)
    secrets = {"Authorization": "Basic x", "Cookie": "session=x", "Proxy-Authorization": "Basic x"}
    many = {f"X-{number}": "y" * 3000 for number in range(100)}
    post(blog, "shop", BODY, {**many, **secrets, "X" * 200: "1", **signed(blog, BODY)})
    work(blog)
    (event,) = told
    assert len(event.headers) <= 50
    assert max(map(len, event.headers.values())) == 1024
    assert not {name.lower() for name in secrets} & set(event.headers)
    assert event.content_type == JSON  # which is kept before the others


def test_a_chore_forgets_what_was_said_and_later_that_it_was(
    blogs: Callable[..., Blog], database_url: str, clock: Clock
) -> None:
    blog = blogs(database_url, RETENTION_DAYS=2, ROW_RETENTION_DAYS=5)
    told = receive(blog)
    tell(blog, {}, "old")
    work(blog)
    clock.move(86400)
    tell(blog, {}, "new")
    work(blog)
    clock.move(86400)
    work(blog)
    assert [(each.message_id, each.body, each.headers is None) for each in receipts(blog)] == [
        ("old", None, True),
        ("new", b"{}", False),
    ]
    assert tell(blog, {}, "old") == 202  # the id is known yet
    work(blog)
    assert len(told) == 2
    with blog.app.app_context():
        assert blog.linkback.replay(handling(blog)[0].id)
        blog.db.session.commit()
    work(blog)
    assert handling(blog)[0].reason == "The webhook is not kept any more."
    clock.move(3 * 86400)
    work(blog)
    assert [each.message_id for each in receipts(blog)] == ["new"]


# --- the door ------------------------------------------------------------------------------------------


def test_the_handshake_of_cloudevents(blog: Blog) -> None:
    receive(blog)
    client = blog.app.test_client()
    asked = {"WebHook-Request-Origin": "events.example", "WebHook-Request-Rate": "120"}
    response = client.options("/linkback/receive/shop", headers=asked)
    assert response.status_code == 200
    assert response.headers["WebHook-Allowed-Origin"] == "events.example"
    assert response.headers["WebHook-Allowed-Rate"] == "*"
    assert response.headers["Allow"] == "POST, OPTIONS"
    for headers in ({}, {"WebHook-Request-Origin": "<x> y"}, {"WebHook-Request-Origin": "x" * 256}):
        response = client.options("/linkback/receive/shop", headers=headers)
        assert response.status_code == 200
        assert "WebHook-Allowed-Origin" not in response.headers
    assert client.options("/linkback/receive/other", headers=asked).status_code == 404
    assert "WebHook-Allowed-Origin" not in client.options("/linkback/receive/other", headers=asked).headers


@pytest.mark.parametrize("first", ["csrf", "linkback"])
def test_a_csrf_check_does_not_keep_senders_out(sqlite_url: str, first: str) -> None:
    app, db = protected(sqlite_url, first)
    blog = Blog(app=app, db=db, linkback=None, Post=None, base_url="")  # type: ignore[arg-type]
    blog.site.get(Receivers).add("shop", print, secret=SECRET, scheme=None)
    with app.app_context():
        db.create_all()
    assert tell(blog, {}) == 202
    blog.close()


def test_the_application_may_mount_it_itself(sqlite_url: str) -> None:
    app, db = mounted(sqlite_url, "webhooks", {"subdomain": "hooks"})
    blog = Blog(app=app, db=db, linkback=None, Post=None, base_url="")  # type: ignore[arg-type]
    blog.site.get(Receivers).add("shop", print, secret=SECRET, scheme=None)
    response = app.test_client().post(
        "/receive/shop", data=BODY, headers=signed(blog, BODY), base_url="https://hooks.blog.example"
    )
    assert response.status_code == 202
    blog.close()


# --- once more -----------------------------------------------------------------------------------------


def replay(blog: Blog, **options: Any) -> None:
    with blog.app.app_context():
        (receipt,) = blog.db.session.scalars(sa.select(Receipt))
        receiving.replay(blog.site, receipt, **options)
        blog.db.session.commit()


def test_a_webhook_is_handled_again(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url)
    told = receive(blog)
    post(blog, "shop", BODY, signed(blog, BODY))
    with pytest.raises(ReplayRefused, match="still to be handled"):
        replay(blog, again=True)
    work(blog)
    with pytest.raises(ReplayRefused, match="was handled already"):
        replay(blog)
    replay(blog, again=True)
    assert work(blog) == 1
    assert [(event.id, event.type, event.data) for event in told] == [
        ("msg_1", "order.paid", told[0].data)
    ] * 2
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Receipt).values(body=None))
        blog.db.session.commit()
    with pytest.raises(ReplayRefused, match="not kept"):
        replay(blog, again=True)


def test_receivers_come_in_the_order_of_their_names(blog: Blog) -> None:
    for name in ("shop", "bank", "mail"):
        receive(blog, name)
    assert [receiver.name for receiver in blog.site.get(Receivers)] == ["bank", "mail", "shop"]
