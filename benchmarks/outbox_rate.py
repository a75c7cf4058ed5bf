"""Outbox to receiver: deliveries a second to 200 hosts that answer at once, beside Celery with Redis and
requests.

With one process and with two; Celery has two. Both sides find the same backlog when their worker starts,
carry the body of 1 kB with each delivery, sign it by HMAC-SHA256 at each attempt and keep connections alive.
Counted is what the receiver got, from the first to the last.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .receiver import Receiver, receiving
from .runner import Benchmark, NotHere, Ratio, Scale, Way, Ways
from .sites import BODY, DATABASES, Place, own_sites, process, worker

__all__ = ["BENCHMARKS", "DURABLE", "OURS", "PATIENCE", "POOLS", "THREADS", "by_celery", "by_outbox", "redis"]

THREADS = 8  # the default of WORKER_THREADS
OURS = {1: "one process", 2: "two processes"}
"""How a worker is started. Celery's have two processes, for that is where they are fastest on two cores."""
PATIENCE = 300.0  # seconds


def by_outbox(
    place: Place, receiver: Receiver, count: int, threads: int = THREADS, processes: int = 1
) -> float:
    place.empty()
    receiver.forget()
    place.owe(receiver.url(number) for number in range(count))
    with worker(place, threads, processes) as child:
        rate = receiver.wait_for(count, seconds=PATIENCE, alive=child).per_second
        place.check_all_done()
    return rate


# --- Celery ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Pool:
    """How Celery is started: so many workers, each with so many tasks at a time.

    ``late`` acknowledges a task when it is done, so that a kill does not lose it; by default Celery
    acknowledges it before.
    """

    kind: str
    concurrency: int
    workers: int = 1
    late: bool = True
    prefetch: int = 32


def by_celery(broker: str, receiver: Receiver, count: int, pool: Pool) -> float:
    from .celery_peer import BROKER, LATE, PREFETCH, QUEUE, app, deliver

    queue = f"linkback-bench-{uuid.uuid4().hex}"
    environment = {
        **os.environ,
        BROKER: broker,
        QUEUE: queue,
        LATE: "yes" if pool.late else "no",
        PREFETCH: str(pool.prefetch),
    }
    command = ["-W", "ignore", "-m", "celery", "--app=benchmarks.celery_peer", "--quiet", "worker"]
    command += [f"--pool={pool.kind}", f"--concurrency={pool.concurrency}", "--loglevel=ERROR", "-O", "fair"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.conf.broker_url = broker
    receiver.forget()
    with app.connection_for_write(broker) as connection, app.amqp.Producer(connection) as producer:
        for number in range(count):
            deliver.apply_async((receiver.url(number), number, BODY), queue=queue, producer=producer)
        try:
            with contextlib.ExitStack() as stack:
                for each in range(pool.workers):
                    name = f"--hostname=bench{each}@%h"
                    child = stack.enter_context(process([*command, name], environment))
                return receiver.wait_for(count, seconds=PATIENCE, alive=child).per_second
        finally:
            connection.default_channel.queue_delete(queue)


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A Redis of our own with nothing but its defaults, or the one that LINKBACK_TEST_REDIS names."""
    given = os.environ.get("LINKBACK_TEST_REDIS")
    if given:
        yield given
        return
    program = shutil.which("redis-server")
    if program is None:
        raise NotHere("there is no redis-server, and LINKBACK_TEST_REDIS is not set")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="linkback-bench-") as directory:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory]
        with (
            Path(directory, "log").open("w") as log,
            subprocess.Popen(command, stdout=log) as child,
        ):
            try:
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline:
                    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                        break
                    time.sleep(0.05)
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                child.kill()


POOLS: Mapping[str, Pool] = {
    "Celery, prefork": Pool(kind="prefork", concurrency=2),
    "Celery, threads": Pool(kind="threads", concurrency=2, workers=2),
    "Celery, prefork, early ack": Pool(kind="prefork", concurrency=2, late=False),
    "Celery, solo": Pool(kind="solo", concurrency=1, workers=2),
}
"""The fastest of each kind on two cores; solo, one task at a time, suits only receivers that never wait."""


# --- the benchmark -----------------------------------------------------------------------------------


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    try:
        from . import celery_peer  # noqa: F401
    except ImportError as error:
        raise NotHere(f"{error.name} is not installed: pip install Flask-Linkback[bench]") from None
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        found: dict[str, Way | NotHere] = {}
        for kind, place in own_sites(stack, found):
            for processes, name in OURS.items():
                count = scale.of(16_000, 1_500)
                found[f"{kind}, {name}"] = partial(by_outbox, place, receiver, count, processes=processes)
        broker = stack.enter_context(redis())
        for name, pool in POOLS.items():
            if scale.short and name not in DURABLE:
                continue
            found[name] = partial(by_celery, broker, receiver, scale.of(4_000, 400), pool)
        yield found


DURABLE = ("Celery, prefork", "Celery, threads")

BENCHMARKS = (
    Benchmark(
        name="outbox_rate",
        title="Outbox to 200 receivers of 0 ms",
        unit="deliveries/s",
        better="more",
        ways=ways,
        ratios=[
            Ratio(
                what=f"{kind}, {ours} ÷ {what}",
                of=f"{kind}, {ours}",
                to=to,
                at_least=5 if to is DURABLE else None,
            )
            for kind in DATABASES
            for ours in OURS.values()
            for what, to in (
                ("Celery with acks_late, the faster of prefork and threads", DURABLE),
                ("Celery's default, which loses what runs when it is killed", "Celery, prefork, early ack"),
                ("Celery with acks_late, two solo workers", "Celery, solo"),
            )
        ],
    ),
)
