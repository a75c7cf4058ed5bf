"""Fan-out: 10 000 jobs are written, in the tables as they are shipped, beside the ORM's ``add_all``.

By topic: INSERT .. SELECT over the subscribers of a topic, with key and payload, as our hub does it; the
``add_all`` beside it knows the topic alone, too, and writes the same. Over matched ids: an event is owed
to the active ones of the listeners that an index found.
``jobs.add`` gets ready-made values. Every way ends with its commit.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_linkback.models import (
    Event,
    Job,
    JobState,
    Listener,
    ListenerState,
    Subscriber,
    SubscriberState,
    Topic,
    digest,
)
from flask_linkback.outbox import jobs
from flask_linkback.webhooks.dispatch import owe_deliveries

from .receiver import HOSTS
from .runner import Benchmark, Ratio, Scale, Ways
from .sites import DATABASES, Place, own_sites

__all__ = ["BENCHMARKS"]

KIND = "benchmark_fan_out"
EVENT = 7


def _host(number: int) -> str:
    return f"host-{number % HOSTS}.example"


def fill(place: Place, count: int) -> None:
    """Make a topic with so many subscribers, and as many listeners."""
    with place.site.context(), place.site.new_session() as session:
        now = place.site.now()
        session.add(Topic(key=digest("topic"), url="https://blog.example/feed", created_at=now))
        session.flush()
        urls = [f"https://{_host(number)}/callback/{number}" for number in range(count)]
        session.execute(
            sa.insert(Subscriber),
            [
                {
                    "key": digest(url),
                    "topic_id": 1,
                    "topic_url": "https://blog.example/feed",
                    "callback_url": url,
                    "callback_host": _host(number),
                    "state": SubscriberState.active,
                    "created_at": now,
                }
                for number, url in enumerate(urls)
            ],
        )
        session.execute(
            sa.insert(Listener),
            [
                {
                    "hook": "person",
                    "hook_hash": digest("person"),
                    "url": url,
                    "host": _host(number),
                    "state": ListenerState.active,
                    "created_at": now,
                    "updated_at": now,
                }
                for number, url in enumerate(urls)
            ],
        )
        session.commit()


# --- the ways ----------------------------------------------------------------------------------------


def by_topic(session: Session, now: datetime, ids: list[int]) -> None:
    """As our hub does: whom each job is for, and what it sends, is made by the statement, too."""
    jobs.add_for_each(
        session,
        KIND,
        where=(Subscriber.topic_id == 1, Subscriber.state == SubscriberState.active),
        host=Subscriber.callback_host,
        key="subscriber " + sa.cast(Subscriber.id, sa.String),
        payload={"subscriber_id": Subscriber.id, "content_id": sa.literal(EVENT, sa.BigInteger)},
    )


def over_matched_ids(session: Session, now: datetime, ids: list[int]) -> None:
    """As an event is owed to the listeners that want it."""
    event = Event(id=EVENT, order_hash=None)
    if owe_deliveries(session, event, ids) != len(ids):
        raise SystemExit("Not all listeners are owed the event.")


def by_add(session: Session, now: datetime, ids: list[int]) -> None:
    jobs.add(
        session,
        [jobs.NewJob(kind=KIND, host=_host(number), listener_id=number, event_id=EVENT) for number in ids],
    )


def by_add_all(session: Session, now: datetime, ids: list[int]) -> None:
    session.add_all(
        Job(
            kind=KIND,
            state=JobState.pending,
            due_at=now,
            host=_host(number),
            listener_id=number,
            event_id=EVENT,
            attempts=0,
            reason="",
            created_at=now,
        )
        for number in ids
    )


def by_add_all_of_a_topic(session: Session, now: datetime, ids: list[int]) -> None:
    """As one writes it who has a topic, and no statement that does all of it."""
    active = sa.select(Subscriber).where(Subscriber.topic_id == 1, Subscriber.state == SubscriberState.active)
    session.add_all(
        Job(
            kind=KIND,
            state=JobState.pending,
            due_at=now,
            host=each.callback_host,
            key=f"subscriber {each.id}",
            payload={"subscriber_id": each.id, "content_id": EVENT},
            attempts=0,
            reason="",
            created_at=now,
        )
        for each in session.scalars(active)
    )


WAYS: dict[str, Callable[[Session, datetime, list[int]], None]] = {
    "by topic": by_topic,
    "over matched ids": over_matched_ids,
    "jobs.add": by_add,
    "add_all": by_add_all,
    "add_all of a topic": by_add_all_of_a_topic,
}


def milliseconds(place: Place, write: Callable[[Session, datetime, list[int]], None], count: int) -> float:
    place.empty()
    ids = list(range(1, count + 1))
    with place.site.context(), place.site.new_session() as session:
        session.connection()
        now = place.site.now()
        began = time.perf_counter()
        write(session, now, ids)
        session.commit()
        took = time.perf_counter() - began
        written = session.scalar(sa.select(sa.func.count()).select_from(Job))
    if written != count:
        raise SystemExit(f"{written} jobs were written, not {count}.")
    return 1000 * took


# --- the benchmark -----------------------------------------------------------------------------------


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    count = scale.of(10_000, 2_000)
    with contextlib.ExitStack() as stack:
        found: dict[str, Any] = {}
        for kind, place in own_sites(stack, found):
            fill(place, count)
            for name, write in WAYS.items():
                found[f"{kind}, {name}"] = partial(milliseconds, place, write, count)
        yield found


_PEERS = {
    "by topic": "add_all of a topic",
    "over matched ids": "add_all",
    "jobs.add": "add_all",
}
"""What is compared with what begins and ends alike."""

BENCHMARKS = (
    Benchmark(
        name="fan_out",
        title="Fan-out of 10 000 jobs",
        unit="ms",
        better="less",
        ways=ways,
        ratios=[
            Ratio(what=f"{kind}: {peer} ÷ {name}", of=f"{kind}, {peer}", to=f"{kind}, {name}", at_least=reach)
            for kind, reaches in zip(DATABASES, ((50, 25, None), (15, 10, None)), strict=True)
            for (name, peer), reach in zip(_PEERS.items(), reaches, strict=True)
        ],
        rounds=9,
    ),
)
