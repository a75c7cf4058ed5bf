"""Laws of the handshake (CloudEvents, web hooks, section 4): who did not agree gets nothing."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook
from flask_linkback.errors import BaseURLMissing
from flask_linkback.models import Job, JobState, Listener, ListenerState
from flask_linkback.webhooks.shaking import SHAKE
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock
from tests.webhooks.listening import deliveries, listen, shout, work

ALLOWED = ("WebHook-Allowed-Origin", "blog.example")


def agree(neighbour: Neighbour, *headers: tuple[str, str], status: int = 200) -> None:
    neighbour.answer("/listening", status=status, headers=headers)


def handshake(blog: Blog) -> Job:
    return blog.db.session.scalars(sa.select(Job).where(Job.kind == SHAKE).order_by(Job.id.desc())).all()[0]


@pytest.mark.parametrize("origin", ["*", "blog.example", "Blog.Example"])
def test_who_agrees_gets_its_events(blog: Blog, neighbour: Neighbour, clock: Clock, origin: str) -> None:
    agree(neighbour, ("WebHook-Allowed-Origin", origin))
    listener = listen(blog, neighbour, handshake=True)
    assert listener.state is ListenerState.unverified
    work(blog)
    (request,) = neighbour.requests
    assert (request.method, request.body) == ("OPTIONS", b"")
    assert request.header("WebHook-Request-Origin") == "blog.example"
    assert request.header("WebHook-Request-Rate") is None
    assert listener.state is ListenerState.active
    shout(blog)
    work(blog)
    assert [each.method for each in neighbour.requests][-1] == "POST"
    assert listener.options is None


@pytest.mark.parametrize(
    ("own", "allowed", "asked", "rate"),
    [
        (None, "120", None, [120, 60]),
        (None, "*", None, None),
        (None, "many", None, None),
        (None, "0", None, None),
        (5, "120", "300", [120, 60]),
        (0.5, "120", "30", [0.5, 1]),
        ([1, 3600], "*", "1", [1, 3600]),
    ],
    ids=str,
)
def test_the_rate_that_is_allowed_is_kept(
    blog: Blog, neighbour: Neighbour, clock: Clock, own: Any, allowed: str, asked: str | None, rate: Any
) -> None:
    agree(neighbour, ALLOWED, ("WebHook-Allowed-Rate", allowed))
    options = {"timeout": 5} | ({} if own is None else {"rate": own})
    listener = listen(blog, neighbour, options=options, handshake=True)
    work(blog)
    assert neighbour.requests[0].header("WebHook-Request-Rate") == asked
    assert listener.state is ListenerState.active
    assert listener.options == {"timeout": 5} | ({} if rate is None else {"rate": rate})


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (200, [], "It does not say WebHook-Allowed-Origin: it did not agree to have our events."),
        (200, [("WebHook-Allowed-Origin", "other.example")], "It agrees to the events of others, not to"),
        (405, [ALLOWED], "The server answers 405."),
        (302, [ALLOWED, ("Location", "/elsewhere")], "The server answers 302."),
        (500, [ALLOWED], "The server answers 500."),
    ],
    ids=str,
)
def test_who_does_not_agree_stays_unverified_with_the_reason(
    blog: Blog, neighbour: Neighbour, clock: Clock, status: int, headers: Any, reason: str
) -> None:
    agree(neighbour, *headers, status=status)
    listener = listen(blog, neighbour, handshake=True)
    work(blog)
    assert listener.state is ListenerState.unverified
    assert listener.reason.startswith(reason)
    shout(blog)
    work(blog)
    assert deliveries(blog) == []
    assert handshake(blog).state is (JobState.pending if status in (302, 500) else JobState.dead)
    assert {request.method for request in neighbour.requests} == {"OPTIONS"}
    agree(neighbour, ALLOWED)
    blog.linkback.webhooks.verify(listener)
    blog.db.session.commit()
    clock.move(10)
    work(blog)
    assert (listener.state, listener.reason) == (ListenerState.active, "")
    with pytest.raises(ValueError, match="needs no handshake"):
        blog.linkback.webhooks.verify(listener)


def test_who_asks_says_as_whom(blog: Blog, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Any) -> str:
        raise BaseURLMissing

    monkeypatch.setattr(type(blog.site), "base_url", property(missing))
    with pytest.raises(BaseURLMissing):
        Hook(name="shouted").listener(url=neighbour.url("/listening"), handshake=True).save()
    assert not blog.db.session.scalars(sa.select(Listener.id)).all()
