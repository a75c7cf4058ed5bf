"""Laws of order: of one thing a listener is told in order, and nobody waits for another thing."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_linkback import Hook
from flask_linkback.models import JobState
from flask_linkback.outbox import jobs
from flask_linkback.outbox.worker import Worker
from tests.apps import Blog
from tests.neighbours import Neighbour, Request
from tests.pingback.tools import Clock
from tests.webhooks.listening import deliveries, listen, shout, states, work

STATUS = {True: b"HTTP/1.1 204 Yes\r\n\r\n", False: b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"}


@pytest.fixture
def hook(blog: Blog) -> Hook:
    return blog.linkback.hooks.register(Hook(name="shouted", order_key="about"))


class Refusing:
    """A listener that refuses what is in ``refused``; ``told`` is what it was told, and what it took."""

    def __init__(self, neighbour: Neighbour) -> None:
        self.refused: set[int] = set()
        self.told: list[int] = []
        self.taken: list[int] = []
        neighbour.route("/listening", self)

    def __call__(self, request: Request, wire: Any) -> None:
        number = json.loads(request.body)["data"]["number"]
        self.told.append(number)
        if number not in self.refused:
            self.taken.append(number)
        wire.send(STATUS[number not in self.refused])


@pytest.fixture
def told(neighbour: Neighbour) -> Refusing:
    return Refusing(neighbour)


def test_what_comes_later_waits_for_what_failed(
    blog: Blog, neighbour: Neighbour, clock: Clock, hook: Hook, told: Refusing
) -> None:
    listen(blog, neighbour)
    told.refused = {1}
    for number, about in enumerate(["a", "b", "b", "a", "b", None]):
        shout(blog, hook, number=number, about=about)
    work(blog)
    assert told.told == [0, 1, 3, 5]
    waiting = [job for job in deliveries(blog) if job.reason == jobs.WAITS_ITS_TURN]
    assert [job.attempts for job in waiting] == [0, 0]
    assert all(job.state is JobState.pending for job in waiting)
    told.refused = set()
    clock.move(10)
    work(blog)  # as soon as the one before is done, with no more time gone
    assert told.told[4:] == [1, 2, 4]
    assert states(blog) == ["done"] * 6


def test_what_comes_later_goes_when_the_one_before_is_given_up(
    blog: Blog, neighbour: Neighbour, clock: Clock, told: Refusing
) -> None:
    hook = blog.linkback.hooks.register(Hook(name="shouted", order_key="about", max_retries=1))
    listen(blog, neighbour)
    told.refused = {0}
    for number in range(3):
        shout(blog, hook, number=number, about="a")
    work(blog)
    assert told.told == [0]
    clock.move(10)
    work(blog)
    assert told.told == [0, 0, 1, 2]
    assert states(blog) == ["dead", "done", "done"]


def test_another_listener_does_not_wait(
    blog: Blog, neighbour: Neighbour, clock: Clock, hook: Hook, told: Refusing
) -> None:
    listen(blog, neighbour)
    neighbour.answer("/other", status=204)
    listen(blog, neighbour, "/other")
    told.refused = {0}
    for number in range(3):
        shout(blog, hook, number=number, about="a")
    work(blog)
    assert told.told == [0]
    assert [request.path for request in neighbour.requests].count("/other") == 3


def test_waiting_costs_no_attempt_and_ends_by_itself(
    blog: Blog, neighbour: Neighbour, clock: Clock, hook: Hook, told: Refusing
) -> None:
    """The one before never tells: its worker died. The others look again some time after it is due."""
    listen(blog, neighbour)
    for number in range(2):
        shout(blog, hook, number=number, about="a")
    told.refused = {0}
    work(blog)
    first, second = deliveries(blog)
    assert first.due_at < second.due_at <= clock() + timedelta(seconds=60)
    first.state, first.finished_at = JobState.dead, clock()
    blog.db.session.commit()
    clock.move(60)
    work(blog)
    assert told.taken == [1]


@pytest.mark.parametrize("what", ["event", "listener"])
def test_who_is_cancelled_lets_the_next_one_go(
    blog: Blog, neighbour: Neighbour, clock: Clock, hook: Hook, told: Refusing, what: str
) -> None:
    listener = listen(blog, neighbour)
    told.refused = {0}
    events = [shout(blog, hook, number=number, about="a") for number in range(2)]
    work(blog)
    webhooks = blog.linkback.webhooks
    count = webhooks.cancel(event=events[0]) if what == "event" else webhooks.cancel(listener)
    blog.db.session.commit()
    work(blog)
    assert (count, told.taken) == ((1, [1]) if what == "event" else (2, []))


def test_two_workers_keep_the_order(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    """Heads that fail at first, on two workers of four threads: nobody overtakes, or is forgotten."""
    blog = blogs(database_url, content=None, RUNNER="off", RETRY_SCHEDULE=[0, 0, 0, 0])
    hook = blog.linkback.hooks.register(Hook(name="shouted", order_key="about"))
    lock, tries, taken = threading.Lock(), defaultdict[int, int](int), defaultdict[int, list[int]](list)
    keys, of_each = 4, 6

    def take(request: Request, wire: Any) -> None:
        number = json.loads(request.body)["data"]["number"]
        with lock:
            tries[number] += 1
            good = number % 3 > 0 or tries[number] > 2
            if good:
                taken[number % keys].append(number)
        wire.send(STATUS[good])

    neighbour.route("/listening", take)
    with blog.app.app_context():
        del blog.site.now  # real time: workers wait for each other
        listen(blog, neighbour)
        for number in range(keys * of_each):
            shout(blog, hook, number=number, about=number % keys)
        workers = [Worker(blog.site, runner="test", threads=4) for _ in range(2)]
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        neighbour.wait_for(keys * of_each + 2 * keys * of_each // 3, timeout=30)
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(30)
        assert states(blog) == ["done"] * keys * of_each
    for key, numbers in taken.items():
        assert numbers == list(range(key, keys * of_each, keys))
