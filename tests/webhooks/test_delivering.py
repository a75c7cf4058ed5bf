"""Laws of delivering: signed anew each time, under the same name; by what is answered it goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook, signals
from flask_linkback.models import Attempt, Event, Job, JobState
from flask_linkback.webhooks.delivering import MASKED, draft
from flask_linkback.webhooks.recording import DELIVER
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock


def owe(blog: Blog, neighbour: Neighbour, hook: Hook | None = None, **options: Any) -> Any:
    """Owe one event to one listener."""
    hook = hook or Hook(name="shouted")
    listener = hook.listener(url=neighbour.url("/listening"), **options).save()
    hook.send(word="Hi")
    blog.db.session.commit()
    return listener


def delivery(blog: Blog) -> Job:
    blog.db.session.expire_all()
    return blog.db.session.scalars(sa.select(Job).where(Job.kind == DELIVER)).one()


def test_body_and_headers(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    owe(blog, neighbour, headers={"Authorization": "Bearer x"})
    blog.linkback.run_until_idle()
    (request,) = neighbour.requests
    assert json.loads(request.body) == {
        "type": "shouted",
        "timestamp": clock().isoformat().replace("+00:00", "Z"),
        "data": {"word": "Hi"},
        "changes": {},
    }
    assert request.header("Content-Type") == "application/json"
    assert request.header("Authorization") == "Bearer x"
    assert request.header("Webhook-Depth") == "1"
    assert request.header("webhook-timestamp") == str(int(clock().timestamp()))


def test_a_draft_is_what_is_sent_without_a_secret(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    listener = owe(blog, neighbour, headers={"Authorization": "Bearer x"})
    blog.linkback.run_until_idle()
    (request,) = neighbour.requests
    event = blog.db.session.scalars(sa.select(Event)).one()
    message = draft(blog.site, event, listener)
    assert (message.url, message.body) == (neighbour.url("/listening"), request.body)
    assert message.headers["Authorization"] == MASKED
    own = {"Authorization", "webhook-timestamp", "webhook-signature"}
    for name in message.headers.keys() - own:
        assert request.header(name) == message.headers[name]
    assert "v1," not in str(message.headers)


def test_headers_of_an_answer_are_kept_but_for_cookies(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    more = [(f"X-{n}", "y") for n in range(40)]
    headers = [("X-Trace", "t" * 500), ("Set-Cookie", "session=s3cr3t"), *more]
    neighbour.answer("/listening", status=500, headers=headers)
    owe(blog, neighbour)
    blog.linkback.run_until_idle()
    kept = blog.db.session.scalars(sa.select(Attempt)).one().headers or {}
    assert kept["x-trace"] == "t" * 200
    assert len(kept) == 24
    assert "s3cr3t" not in str(kept)


def test_the_id_stays_and_the_signature_is_new_at_each_attempt(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    neighbour.answer("/listening", status=500)
    owe(blog, neighbour)
    blog.linkback.run_until_idle()
    clock.move(10)
    blog.linkback.run_until_idle()
    first, second = neighbour.requests
    assert first.header("webhook-id") == second.header("webhook-id")
    assert first.header("webhook-signature") != second.header("webhook-signature")
    assert first.body == second.body
    attempts = blog.db.session.scalars(sa.select(Attempt.status_code).order_by(Attempt.id)).all()
    assert attempts == [500, 500]


@pytest.mark.parametrize(
    ("status", "state"),
    [(204, "done"), (302, "pending"), (404, "pending"), (410, "dead"), (500, "pending")],
)
def test_what_an_answer_means(blog: Blog, neighbour: Neighbour, status: int, state: str) -> None:
    neighbour.answer("/listening", status=status, headers=[("Location", "/elsewhere")])
    owe(blog, neighbour)
    blog.linkback.run_until_idle()
    assert delivery(blog).state == JobState(state)
    assert len(neighbour.requests) == 1


@pytest.mark.parametrize(
    ("options", "tries"), [({"retry": False}, 1), ({"max_retries": 2}, 3), ({}, 8)], ids=str
)
def test_how_often_it_is_tried(
    blog: Blog, neighbour: Neighbour, clock: Clock, options: dict[str, Any], tries: int
) -> None:
    neighbour.answer("/listening", status=500)
    hook = blog.linkback.hooks.register(Hook(name="shouted", **options))
    owe(blog, neighbour, hook)
    for _ in range(10):
        blog.linkback.run_until_idle()
        clock.move(50_000)
    assert len(neighbour.requests) == tries
    assert delivery(blog).state is JobState.dead


def test_signals_tell_what_became_of_it(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    heard: list[tuple[str, str]] = []

    def hear(name: str) -> Any:
        def receive(app: Any, delivery: Any, listener: Any, event: Any, reason: str = "") -> None:
            assert delivery.listener_id == listener.id
            assert delivery.event_id == event.id
            heard.append((name, reason))

        return receive

    receivers = {name: hear(name) for name in ("delivery_failed", "delivery_succeeded", "delivery_exhausted")}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, blog.app)
    neighbour.answer("/listening", status=500)
    owe(blog, neighbour)
    blog.linkback.run_until_idle()
    neighbour.answer("/listening", status=200)
    clock.move(10)
    blog.linkback.run_until_idle()
    assert heard == [("delivery_failed", "The server answers 500."), ("delivery_succeeded", "")]
