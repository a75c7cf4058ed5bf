"""Laws of switching: who is paused gets nothing, and who passes a test gets all again."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook
from flask_linkback.models import Event, Job, JobState, Listener, ListenerState
from flask_linkback.protocols import standardwebhooks
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock
from tests.webhooks.listening import deliveries, hearing, listen, shout, states, work


def test_who_is_paused_gets_nothing(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    listener = listen(blog, neighbour)
    neighbour.answer("/listening", status=500)
    shout(blog)
    work(blog)
    webhooks = blog.linkback.webhooks
    with hearing(blog, "listener_disabled", "delivery_exhausted") as heard:
        webhooks.pause(listener)
        webhooks.pause(listener)
        blog.db.session.commit()
        shout(blog)
        clock.move(10)
        work(blog)
    assert heard == []
    assert len(neighbour.requests) == 1
    assert [(job.state.value, job.reason) for job in deliveries(blog)] == [
        ("dead", "The listener is paused.")
    ]
    webhooks.resume(listener)
    blog.db.session.commit()
    assert (listener.state, listener.failing_at, listener.reason) == (ListenerState.active, None, "")
    webhooks.resume(listener)
    shout(blog)
    work(blog)
    assert len(neighbour.requests) == 2


def test_a_listener_of_another_session_is_switched_all_the_same(blog: Blog, neighbour: Neighbour) -> None:
    listener_id = listen(blog, neighbour).id
    webhooks = blog.linkback.webhooks

    def elsewhere() -> Listener:
        with blog.app.app_context():
            return blog.db.session.get_one(Listener, listener_id)

    def kept() -> str:
        blog.db.session.commit()
        return elsewhere().state.value

    webhooks.pause(elsewhere())
    assert kept() == "paused"
    webhooks.resume(elsewhere())
    assert kept() == "active"
    assert webhooks.test(elsewhere()).passed
    webhooks.remove(elsewhere())
    blog.db.session.commit()
    assert blog.db.session.get(Listener, listener_id) is None


@pytest.mark.parametrize("state", ["disabled", "unverified"])
def test_who_is_not_paused_and_not_resumed(blog: Blog, neighbour: Neighbour, state: str) -> None:
    listener = listen(blog, neighbour)
    listener.state = ListenerState(state)
    for switch in (blog.linkback.webhooks.pause, blog.linkback.webhooks.resume):
        with pytest.raises(ValueError, match="The listener"):
            switch(listener)
    assert listener.state == state


def test_a_test_is_sent_at_once_and_says_what_was_sent_and_answered(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    neighbour.answer("/listening", status=202, body=b"thanks", headers=[("X-Who", "me")])
    listener = listen(blog, neighbour, headers={"Authorization": "Bearer secret"})
    tested = blog.linkback.webhooks.test(listener, {"word": "Hi"})
    (request,) = neighbour.requests
    assert tested.passed
    assert (tested.status, tested.answer, tested.answer_headers["X-Who"]) == (202, b"thanks", "me")
    assert tested.body == request.body
    assert json.loads(request.body)["data"] == {"word": "Hi"}
    assert json.loads(request.body)["type"] == "shouted"
    assert request.header("Webhook-Test") == tested.headers["Webhook-Test"] == "true"
    assert request.header("Authorization") == "Bearer secret"
    assert tested.headers["Authorization"] == "***"
    (secret,) = blog.linkback.webhooks.secrets(listener)
    sent = standardwebhooks.verify(secret.secret, dict(request.headers), request.body, now=clock())
    assert sent.id.startswith("test_")
    assert not blog.db.session.scalars(sa.select(Event.id)).all()
    assert not blog.db.session.scalars(sa.select(Job.id)).all()


@pytest.mark.parametrize("state", ["paused", "disabled", "failing", "active"])
def test_a_passing_test_lets_go_on(blog: Blog, neighbour: Neighbour, clock: Clock, state: str) -> None:
    listener = listen(blog, neighbour)
    listener.state, listener.reason = ListenerState(state), "It failed for 5 days."
    listener.failing_at = clock()
    blog.db.session.commit()
    neighbour.answer("/listening", status=500)
    tested = blog.linkback.webhooks.test(listener)
    assert (tested.passed, tested.reason) == (False, "The server answers 500.")
    assert listener.state == state
    neighbour.answer("/listening", status=200)
    assert blog.linkback.webhooks.test(listener).passed
    assert listener.state is ListenerState.active
    if state != "active":
        assert (listener.failing_at, listener.failed_again_at, listener.reason) == (None, None, "")
    shout(blog)
    work(blog)
    assert states(blog) == ["done"]


def test_a_failing_test_is_not_repeated_and_no_failure_of_the_listener(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    listener = listen(blog, neighbour)
    neighbour.answer("/listening", status=410)
    blog.linkback.webhooks.test(listener)
    clock.move(1000)
    work(blog)
    assert len(neighbour.requests) == 1
    assert listener.state is ListenerState.active


def test_nobody_is_tested_who_did_not_agree(blog: Blog, neighbour: Neighbour) -> None:
    listener = listen(blog, neighbour)
    listener.state = ListenerState.unverified
    with pytest.raises(ValueError, match="handshake"):
        blog.linkback.webhooks.test(listener)
    assert not neighbour.requests


@pytest.mark.parametrize(
    ("pattern", "type_", "data"),
    [
        ("shouted", "shouted", {"word": "Hi"}),
        ("*", "shouted", {"word": "Hi"}),
        ("other.*", "linkback.test", {"test": True}),
        ("other", "other", {"test": True}),
    ],
)
def test_what_a_test_says_by_itself(
    blog: Blog, neighbour: Neighbour, clock: Clock, pattern: str, type_: str, data: Any
) -> None:
    shout(blog, word="Hi")
    listener = listen(blog, neighbour, event=pattern)
    tested = blog.linkback.webhooks.test(listener)
    body = json.loads(tested.body)
    assert (body["type"], body["data"]) == (type_, data)


def test_a_test_of_who_cannot_be_reached(blog: Blog, neighbour: Neighbour) -> None:
    listener = Hook(name="shouted").listener(url="http://127.0.0.1:9/").save()
    tested = blog.linkback.webhooks.test(listener)
    assert (tested.passed, tested.status) == (False, None)
    assert tested.reason.startswith("unreachable")
    assert blog.db.session.scalars(sa.select(Listener.id)).all() == [listener.id]


def test_a_hook_that_delivers_in_its_own_way_is_tested_in_that(blog: Blog, neighbour: Neighbour) -> None:
    class Own(Hook):
        name = "own"

        def deliver(self, event: Any, listener: Any, post: Any) -> Any:
            return post(url=neighbour.url("/own"), body=b"own", headers={"Content-Type": "text/plain"})

    neighbour.answer("/own", status=200)
    blog.linkback.hooks.register(Own)
    listener = blog.linkback.hooks["own"].listener(url=neighbour.url("/listening")).save()
    tested = blog.linkback.webhooks.test(listener)
    assert (tested.url, tested.body) == (neighbour.url("/own"), b"own")
    assert tested.headers["Content-Type"] == "text/plain"
    assert deliveries(blog) == []
    assert JobState.pending not in states(blog)


def test_a_test_is_said_as_its_hook_says_it(blog: Blog, neighbour: Neighbour) -> None:
    class Loud(Hook):
        name = "loud"

        def serialize(self, event: Event, listener: Listener) -> bytes:
            return b"LOUD"

    blog.linkback.hooks.register(Loud)
    listener = blog.linkback.hooks["loud"].listener(url=neighbour.url("/listening")).save()
    for type_ in ("loud", "loud.created"):
        assert blog.linkback.webhooks.test(listener, {"word": "Hi"}, type_).body == b"LOUD"
