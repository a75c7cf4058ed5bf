"""States: every step of a listener that the documentation draws is walked, with its signal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_linkback.models import Listener, ListenerState
from tests.apps import Blog
from tests.docs.blocks import NEW, Step, drawn
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock
from tests.webhooks.listening import DAY, HOUR, hearing, listen, shout, work


class Walk:
    """A blog with one listener, which answers what it is told to."""

    def __init__(self, blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
        self.blog, self.neighbour, self.clock = blog, neighbour, clock
        self.listener: Listener | None = None

    def answers(self, status: int) -> None:
        self.neighbour.answer("/listening", status=status, headers=[("WebHook-Allowed-Origin", "*")])
        if self.listener is not None:
            shout(self.blog)
            work(self.blog)

    def active(self) -> None:
        self.listener = listen(self.blog, self.neighbour)

    def unverified(self) -> None:
        self.answers(200)
        self.listener = listen(self.blog, self.neighbour, handshake=True)

    def agrees(self) -> None:
        work(self.blog)

    def failing(self) -> None:
        self.active()
        self.answers(500)

    def paused(self) -> None:
        self.active()
        self.pause()

    def disabled(self) -> None:
        self.active()
        self.answers(410)

    def fails(self) -> None:
        self.answers(500)

    def goes(self) -> None:
        self.answers(410)

    def takes(self) -> None:
        self.answers(204)

    def fails_on(self) -> None:
        self.clock.move(13 * HOUR)
        self.answers(500)
        self.clock.move(5 * DAY)
        work(self.blog)

    def pause(self) -> None:
        assert self.listener is not None
        self.blog.linkback.webhooks.pause(self.listener)
        self.blog.db.session.commit()

    def resume(self) -> None:
        assert self.listener is not None
        self.blog.linkback.webhooks.resume(self.listener)
        self.blog.db.session.commit()

    def passes(self) -> None:
        assert self.listener is not None
        self.neighbour.answer("/listening", status=204)
        assert self.blog.linkback.webhooks.test(self.listener).passed


def nothing(walk: Walk) -> None:
    """There is nothing before it is saved."""


WALKS: list[tuple[Step, Callable[[Walk], None], Callable[[Walk], None]]] = [
    ((NEW, "active"), nothing, Walk.active),
    ((NEW, "unverified"), nothing, Walk.unverified),
    (("unverified", "active"), Walk.unverified, Walk.agrees),
    (("active", "failing"), Walk.active, Walk.fails),
    (("active", "disabled"), Walk.active, Walk.goes),
    (("active", "paused"), Walk.active, Walk.pause),
    (("failing", "active"), Walk.failing, Walk.takes),
    (("failing", "active"), Walk.failing, Walk.passes),
    (("failing", "disabled"), Walk.failing, Walk.fails_on),
    (("failing", "disabled"), Walk.failing, Walk.goes),
    (("failing", "paused"), Walk.failing, Walk.pause),
    (("paused", "active"), Walk.paused, Walk.resume),
    (("paused", "active"), Walk.paused, Walk.passes),
    (("disabled", "active"), Walk.disabled, Walk.passes),
]


def test_every_step_that_is_drawn_is_walked() -> None:
    assert {step for step, _, _ in WALKS} == set(drawn(ListenerState))


@pytest.mark.parametrize(
    ("step", "before", "take"),
    WALKS,
    ids=[f"{'-'.join(step)} by {take.__name__}" for step, _, take in WALKS],
)
def test_a_step_of_a_listener(
    blog: Blog,
    neighbour: Neighbour,
    clock: Clock,
    step: Step,
    before: Callable[[Walk], None],
    take: Callable[[Walk], None],
) -> None:
    walk = Walk(blog, neighbour, clock)
    before(walk)
    assert walk.listener is None or walk.listener.state == step[0]
    with hearing(blog, "listener_disabled") as heard:
        take(walk)
    assert walk.listener is not None
    assert walk.listener.state == step[1]
    signal = drawn(ListenerState)[step]
    assert [name for name, _ in heard] == ([signal] if signal else [])
