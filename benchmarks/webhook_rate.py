"""Webhooks to receivers: deliveries a second of one event to listeners on 200 hosts that answer at once,
beside Celery with Redis and requests.

Ours is all that a delivery is: the listener's state, its options, its secret, its own body, a signature of
Standard Webhooks, the attempt and the listener's health. Theirs is one POST with a signature, whose URL and
body came with the task.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from functools import partial

import sqlalchemy as sa

from flask_linkback.models import Event, Listener, ListenerSecret, ListenerState, Secret, digest, host_of
from flask_linkback.webhooks.dispatch import owe_deliveries

from .outbox_rate import DURABLE, OURS, PATIENCE, POOLS, THREADS, by_celery, redis
from .receiver import Receiver, receiving, webhook_secret
from .runner import Benchmark, NotHere, Ratio, Scale, Way, Ways
from .sites import BODY, DATABASES, Place, own_sites, worker

__all__ = ["BENCHMARKS"]

HOOK = "person"


def listen(place: Place, receiver: Receiver, count: int) -> None:
    """Write listeners, each with a secret, and an event of 1 kB."""
    now = place.site.now()
    with place.site.context(), place.site.new_session() as session:
        listeners = [
            {
                "hook": HOOK,
                "hook_hash": digest(HOOK),
                "url": f"{receiver.url(number)}/{number}",
                "host": host_of(receiver.url(number)),
                "state": ListenerState.active,
                "created_at": now,
                "updated_at": now,
            }
            for number in range(count)
        ]
        ids = session.scalars(sa.insert(Listener).returning(Listener.id), listeners).all()
        secret = Secret(webhook_secret())
        session.execute(
            sa.insert(ListenerSecret),
            [{"listener_id": each, "secret": secret, "created_at": now} for each in ids],
        )
        body = json.loads(BODY)
        session.add(
            Event(
                uid="benchmark", type=f"{HOOK}.updated", hook=HOOK, data=body["data"], created_at=now,
                dispatched_at=now,
            )
        )  # fmt: skip
        session.commit()


def by_webhooks(place: Place, receiver: Receiver, count: int, processes: int) -> float:
    place.empty()
    receiver.forget()
    with place.site.context(), place.site.new_session() as session:
        event = session.scalars(sa.select(Event)).one()
        ids = list(session.scalars(sa.select(Listener.id).order_by(Listener.id)))
        if owe_deliveries(session, event, ids) != count:
            raise SystemExit("Not all listeners are owed the event.")
        session.commit()
    with worker(place, THREADS, processes) as child:
        rate = receiver.wait_for(count, seconds=PATIENCE, alive=child).per_second
        place.check_all_done()
    return rate


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    try:
        from . import celery_peer  # noqa: F401
    except ImportError as error:
        raise NotHere(f"{error.name} is not installed: pip install Flask-Linkback[bench]") from None
    count = scale.of(8_000, 800)
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        found: dict[str, Way | NotHere] = {}
        for kind, place in own_sites(stack, found):
            listen(place, receiver, count)
            for processes, name in OURS.items():
                found[f"{kind}, {name}"] = partial(by_webhooks, place, receiver, count, processes)
        broker = stack.enter_context(redis())
        for name in DURABLE:
            found[name] = partial(by_celery, broker, receiver, scale.of(4_000, 400), POOLS[name])
        yield found


BENCHMARKS = (
    Benchmark(
        name="webhook_rate",
        title="Webhooks to 200 receivers of 0 ms",
        unit="deliveries/s",
        better="more",
        ways=ways,
        ratios=[
            Ratio(
                what=f"{kind}, {ours} ÷ Celery with acks_late, the faster of prefork and threads",
                of=f"{kind}, {ours}",
                to=DURABLE,
                at_least=5,
            )
            for kind in DATABASES
            for ours in OURS.values()
        ],
    ),
)
