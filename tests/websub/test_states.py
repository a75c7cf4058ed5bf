"""States: every step of a subscription that the documentation draws is walked, and no other is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.models import Subscription, SubscriptionState
from tests.apps import Blog
from tests.docs.blocks import NEW, drawn
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock, work
from tests.websub.following import Heard, Hub, subscribe, subscription

DAY = 86400
TOPIC = "https://topic.example/feed"
Step = tuple[str, str]


@pytest.fixture
def taken() -> Iterator[list[Step]]:
    """The steps that any subscription takes."""
    steps: list[Step] = []

    def note(subscription: Any, new: SubscriptionState, old: Any, event: Any) -> None:
        known = isinstance(old, SubscriptionState)
        steps.append((old.value if known else NEW, new.value))

    sa.event.listen(Subscription.state, "set", note, active_history=True)
    yield steps
    sa.event.remove(Subscription.state, "set", note)


class Walk:
    """A blog that follows a topic."""

    def __init__(self, blog: Blog, hub: Hub, clock: Clock) -> None:
        self.blog, self.hub, self.clock = blog, hub, clock

    def begin(self) -> None:
        subscribe(self.blog, TOPIC, hub=self.hub.url, lease_seconds=DAY)

    def asked(self) -> None:
        self.begin()
        work(self.blog)

    def active(self) -> None:
        self.asked()
        assert self.hub.confirm()[0] == 200

    def refused(self) -> None:
        self.hub.status = 403
        self.asked()
        self.hub.status = 202

    def end(self) -> None:
        with self.blog.app.app_context():
            self.blog.linkback.websub.unsubscribe(self.blog.linkback.websub.subscriptions()[-1])
            self.blog.db.session.commit()
        work(self.blog)

    def renew(self) -> None:
        with self.blog.app.app_context():
            self.blog.linkback.websub.renew(self.blog.linkback.websub.subscriptions()[-1])
            self.blog.db.session.commit()
        work(self.blog)
        assert self.hub.confirm()[0] == 200

    def late(self) -> None:
        """A hub that cannot be asked until the lease is over."""
        self.hub.status = 403
        for _ in range(3):
            self.clock.move(11 * DAY)
            work(self.blog)
        self.hub.status = 202
        self.clock.move(DAY + 1)
        work(self.blog)


def expired(walk: Walk) -> None:
    walk.active()
    walk.hub.status = 403
    walk.clock.move(11 * DAY)
    work(walk.blog)
    walk.hub.status = 202


def ended(walk: Walk) -> None:
    walk.active()
    walk.end()
    walk.hub.confirm(lease_seconds=None)


def then(first: Callable[[Walk], None], second: Callable[[Walk], Any]) -> Callable[[Walk], None]:
    def walk_both(walk: Walk) -> None:
        first(walk)
        second(walk)

    return walk_both


def a_day_later(walk: Walk) -> None:
    walk.clock.move(DAY + 60)
    work(walk.blog)
    work(walk.blog)
    assert walk.hub.confirm()[0] == 200


def no_hub(walk: Walk) -> None:
    walk.hub.neighbour.answer("/page", 200, b"<p>nothing")
    subscribe(walk.blog, walk.hub.neighbour.url("/page"))
    work(walk.blog)


def deny(walk: Walk) -> None:
    assert walk.hub.deny() == 200


WALKS: dict[Step, Callable[[Walk], None]] = {
    (NEW, "discovering"): Walk.begin,
    ("discovering", "requested"): Walk.asked,
    ("discovering", "failed"): no_hub,
    ("discovering", "unsubscribed"): then(Walk.begin, Walk.end),
    ("requested", "active"): Walk.active,
    ("requested", "failed"): Walk.refused,
    ("requested", "denied"): then(Walk.asked, deny),
    ("requested", "unsubscribing"): then(Walk.asked, Walk.end),
    ("active", "active"): then(Walk.active, Walk.renew),
    ("active", "denied"): then(Walk.active, deny),
    ("active", "expired"): expired,
    ("active", "unsubscribing"): then(Walk.active, Walk.end),
    ("unsubscribing", "unsubscribed"): ended,
    ("expired", "active"): then(expired, a_day_later),
    ("failed", "active"): then(Walk.refused, a_day_later),
    ("denied", "discovering"): then(then(Walk.asked, deny), Walk.begin),
    ("failed", "discovering"): then(Walk.refused, Walk.begin),
    ("expired", "discovering"): then(expired, Walk.begin),
    ("unsubscribing", "discovering"): then(then(Walk.active, Walk.end), Walk.begin),
    ("unsubscribed", "discovering"): then(ended, Walk.begin),
}


def test_every_step_that_is_drawn_is_walked() -> None:
    assert set(WALKS) == set(drawn(SubscriptionState))


@pytest.mark.parametrize("step", WALKS, ids=lambda step: "->".join(step))
def test_a_step(
    serve: Callable[..., Blog],
    sqlite_url: str,
    hub: Hub,
    clock: Clock,
    neighbour: Neighbour,
    taken: list[Step],
    step: Step,
) -> None:
    blog = serve(sqlite_url)
    heard = Heard(blog)
    hub.lease = DAY
    WALKS[step](Walk(blog, hub, clock))
    if step[0] == NEW:  # a row, and no object whose state is set
        assert subscription(blog).state == step[1]
    else:
        assert taken[-1] == step
    drawn_steps = drawn(SubscriptionState)
    assert set(taken) <= set(drawn_steps)
    assert heard.names == [drawn_steps[each] for each in taken if drawn_steps[each]]
