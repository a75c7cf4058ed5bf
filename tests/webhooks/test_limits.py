"""Laws of a listener's options: how fast, how many at a time, how long, how often."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_linkback import Hook
from flask_linkback.models import JobState, ListenerPace
from flask_linkback.outbox.worker import Worker
from tests.apps import Blog
from tests.neighbours import Neighbour, Request
from tests.pingback.tools import Clock
from tests.webhooks.listening import deliveries, listen, shout, states, work


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rat": 5}, "no option 'rat'. Did you mean rate?"),
        ({"rate": 0}, "rate is a number from 0.001"),
        ({"rate": True}, "rate is a number"),
        ({"rate": [1, 2, 3]}, r"or \[number, seconds\]"),
        ({"rate": [1, float("nan")]}, "rate is a number"),
        ({"concurrency": 0}, "concurrency is a number from 1 to 100"),
        ({"concurrency": 1.5}, "a whole number"),
        ({"timeout": "9"}, "timeout is a number from 0.1 to 60"),
        ({"retry_schedule": []}, "a list of 1 to 20 numbers"),
        ({"retry_schedule": [0] * 21}, "a list of 1 to 20 numbers"),
        ({"retry_schedule": [0, -1]}, "retry_schedule is a number from 0"),
        ({"retry_schedule": 5}, "a list of 1 to 20"),
    ],
    ids=str,
)
def test_options_are_checked_when_a_listener_is_saved(
    blog: Blog, neighbour: Neighbour, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        listen(blog, neighbour, options=options)


def test_a_listener_has_a_schedule_of_its_own(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    neighbour.answer("/listening", status=500)
    neighbour.answer("/other", status=500)
    listen(blog, neighbour, options={"retry_schedule": [0, 100, *[200] * 9]})
    listen(blog, neighbour, "/other", options={"retry_schedule": [0]})
    shout(blog)
    work(blog)
    own, once = deliveries(blog)
    assert once.state is JobState.dead
    assert 100 <= (own.due_at - clock()).total_seconds() <= 120
    for _ in range(12):
        clock.move(300)
        work(blog)
    assert [request.path for request in neighbour.requests].count("/listening") == 11
    assert states(blog) == ["dead", "dead"]


def test_a_listener_has_a_timeout_of_its_own(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    neighbour.route("/listening", lambda request, wire: wire.pause())
    listen(blog, neighbour, options={"timeout": 0.1})
    shout(blog, Hook(name="shouted", timeout=30))
    work(blog)
    assert deliveries(blog)[0].reason.startswith("too_slow")


@pytest.mark.parametrize("rate", [0.5, [30, 60]], ids=str)
def test_no_more_in_a_time_than_a_listener_wants(
    blog: Blog, neighbour: Neighbour, clock: Clock, rate: Any
) -> None:
    """One each two seconds: who has to wait has its time, costs no attempt and holds up nobody."""
    neighbour.answer("/other", status=204)
    listen(blog, neighbour, options={"rate": rate})
    listen(blog, neighbour, "/other")
    for number in range(6):
        shout(blog, number=number)
    work(blog)
    paths = [request.path for request in neighbour.requests]
    assert (paths.count("/listening"), paths.count("/other")) == (1, 6)
    waiting = [job for job in deliveries(blog) if job.state is JobState.pending]
    assert [job.attempts for job in waiting] == [0] * 5
    times = sorted(job.due_at - clock() for job in waiting)
    assert times == [timedelta(seconds=2 * number) for number in range(1, 6)]
    for number in range(2, 7):
        clock.move(2)
        shout(blog, number=5 + number)  # who comes new goes behind
        work(blog)
        told = [json.loads(each.body) for each in neighbour.requests if each.path == "/listening"]
        assert sorted(each["data"]["number"] for each in told) == list(range(number))


def test_what_is_late_is_not_made_up_for_at_once(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    """No worker was there for an hour: then what is due goes one after the other all the same."""
    listen(blog, neighbour, options={"rate": [1, 10]})
    for number in range(4):
        shout(blog, number=number)
    work(blog)
    clock.move(3600)
    work(blog)
    assert len(neighbour.requests) == 2
    clock.move(20)
    work(blog)
    assert len(neighbour.requests) == 3
    clock.move(20)
    work(blog)
    assert states(blog) == ["done"] * 4


def test_no_more_at_a_time_than_a_listener_wants(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    """Two workers of four threads, of which neither knows what the other does."""
    blog = blogs(database_url, content=None, RUNNER="off")
    lock, now, most = threading.Lock(), [0], [0]

    def take(request: Request, wire: Any) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        wire.pause(0.05)
        with lock:
            now[0] -= 1
        wire.send(b"HTTP/1.1 204 Yes\r\n\r\n")

    neighbour.route("/limited", take)
    neighbour.answer("/other", status=204)
    with blog.app.app_context():
        del blog.site.now  # real time: workers wait for each other
        listen(blog, neighbour, "/limited", options={"concurrency": 2})
        listen(blog, neighbour, "/other")
        for number in range(12):
            shout(blog, number=number)
        workers = [Worker(blog.site, runner="test", threads=4) for _ in range(2)]
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        neighbour.wait_for(24, timeout=60)
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(30)
        assert most == [2]
        assert set(states(blog)) == {"done"}


def test_a_worker_that_died_holds_its_place_no_longer_than_a_delivery_takes(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    listener = listen(blog, neighbour, options={"concurrency": 1, "timeout": 20})
    lost = [999, clock().timestamp() + 50]
    pace = ListenerPace(listener_id=listener.id, next_at=clock(), free_at=clock(), leases=[lost])
    blog.db.session.add(pace)
    shout(blog)
    work(blog)
    (job,) = deliveries(blog)
    assert (job.state, job.attempts) == (JobState.pending, 0)
    assert job.due_at == clock() + timedelta(seconds=5)
    clock.move(60)
    work(blog)
    assert states(blog) == ["done"]
