"""Hub: from a publication to the last of 2 000 subscribers, beside Flask-WebSub's hub with Celery and Redis.

Each side has one worker that is idle when the topic changes: it fetches the topic (10 KB), signs what it
sends by HMAC-SHA256 for each subscriber, and posts it to 200 hosts that answer at once. Counted is the time
from the publication to the last delivery.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import sqlalchemy as sa

from flask_linkback.models import Secret, Subscriber, SubscriberState, Topic, digest, host_of
from flask_linkback.websub.hub import announce

from .outbox_rate import OURS, PATIENCE, THREADS, redis
from .receiver import SECRET, Receiver, receiving
from .runner import Benchmark, NotHere, Ratio, Scale, Way, Ways
from .sites import DATABASES, Place, own_sites, process, worker

__all__ = ["BENCHMARKS"]


class Publisher:
    """A topic that says something else each time that it is published."""

    def __init__(self) -> None:
        self.edition = 0
        publisher = self

        class Serve(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = publisher.body()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Link", f'<{publisher.url}>; rel="self", <http://hub.example/>; rel="hub"')
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Serve)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def body(self) -> bytes:
        return b"<p>Edition %d</p>" % self.edition + b"<p>word</p>" * 900

    @contextlib.contextmanager
    def serving(self) -> Iterator[Publisher]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def per_second(receiver: Receiver, count: int, began: float, child: object) -> float:
    heard = receiver.wait_for(count, seconds=PATIENCE, alive=child)  # type: ignore[arg-type]
    return count / (max(heard.arrivals.values()) - began)


# --- ours --------------------------------------------------------------------------------------------


def follow(place: Place, topic_url: str, callbacks: list[str]) -> None:
    """Write active subscribers."""
    now = place.site.now()
    with place.site.context(), place.site.new_session() as session:
        topic = Topic(key=digest(topic_url), url=topic_url, created_at=now)
        session.add(topic)
        session.flush()
        rows = [
            {
                "key": digest(topic_url, url),
                "topic_id": topic.id,
                "topic_url": topic_url,
                "callback_url": url,
                "callback_host": host_of(url),
                "secret": Secret(SECRET.decode()),
                "state": SubscriberState.active,
                "lease_expires_at": now + timedelta(days=10),
                "created_at": now,
                "verified_at": now,
            }
            for url in callbacks
        ]
        session.execute(sa.insert(Subscriber), rows)
        session.commit()


def by_ours(place: Place, publisher: Publisher, receiver: Receiver, count: int, processes: int) -> float:
    place.empty()
    receiver.forget()
    with worker(place, THREADS, processes) as child:
        place.wait_for_workers(processes)
        publisher.edition += 1
        with place.app.app_context():
            session = place.site.session
            began = time.monotonic()
            announce(place.site, session, [publisher.url])
            session.commit()
        rate = per_second(receiver, count, began, child)
        place.check_all_done()
    return rate


# --- theirs ------------------------------------------------------------------------------------------


def by_theirs(
    broker: str, folder: str, publisher: Publisher, receiver: Receiver, count: int, pool: str
) -> float:
    queue = f"linkback-bench-{uuid.uuid4().hex}"
    names = {
        "LINKBACK_BENCHMARK_BROKER": broker,
        "LINKBACK_BENCHMARK_QUEUE": queue,
        "LINKBACK_BENCHMARK_STORAGE": str(Path(folder, "hub.db")),
    }
    os.environ.update(names)  # the peer reads them when it is imported here, too
    from . import flask_websub_peer as peer

    peer.app.conf.broker_url = broker
    peer.app.conf.task_default_queue = queue
    for number in range(count):
        if count > _stored.get(folder, 0):
            peer.hub.storage[publisher.url, _callback(receiver, number)] = {
                "lease_seconds": 864000,
                "secret": SECRET.decode(),
            }
    _stored[folder] = count
    receiver.forget()
    command = ["-W", "ignore", "-m", "celery", "--app=benchmarks.flask_websub_peer", "--quiet", "worker"]
    command += [f"--pool={pool}", "--concurrency=2", "--loglevel=ERROR", "-O", "fair"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", f"--queues={queue}"]
    with process(command, {**os.environ, **names}) as child:
        _wait_until_ready(peer)
        publisher.edition += 1
        began = time.monotonic()
        peer.hub.send_change_notification.apply_async((publisher.url,), queue=queue)
        return per_second(receiver, count, began, child)


_stored: dict[str, int] = {}
"""How many subscribers the storage of a folder has."""


def _wait_until_ready(peer: object, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if peer.app.control.ping(timeout=0.5):  # type: ignore[attr-defined]
            return
    raise SystemExit("Celery's worker does not start.")


# --- the benchmark -----------------------------------------------------------------------------------


def _callback(receiver: Receiver, number: int) -> str:
    return f"{receiver.url(number)}/{number}"


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    try:
        import celery  # noqa: F401
        import flask_websub  # noqa: F401
    except ImportError as error:
        raise NotHere(f"{error.name} is not installed: pip install Flask-Linkback[bench]") from None
    count = scale.of(2_000, 200)
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        publisher = stack.enter_context(Publisher().serving())
        found: dict[str, Way | NotHere] = {}
        for kind, place in own_sites(stack, found, HUB_ENABLED=True, HUB_TOPICS="any"):
            follow(place, publisher.url, [_callback(receiver, number) for number in range(count)])
            for processes, name in OURS.items():
                found[f"{kind}, {name}"] = partial(by_ours, place, publisher, receiver, count, processes)
        broker = stack.enter_context(redis())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="linkback-bench-"))
        for pool in ("prefork", "threads"):
            found[f"Flask-WebSub, {pool}"] = partial(
                by_theirs, broker, folder, publisher, receiver, count, pool
            )
        yield found


_THEIRS = ("Flask-WebSub, prefork", "Flask-WebSub, threads")

BENCHMARKS = (
    Benchmark(
        name="hub_rate",
        title="A hub's content to 2 000 subscribers",
        unit="deliveries/s",
        better="more",
        ways=ways,
        ratios=[
            Ratio(
                what=f"{kind}, {ours} ÷ Flask-WebSub's hub with Celery, the faster of prefork and threads",
                of=f"{kind}, {ours}",
                to=_THEIRS,
                at_least=5,
            )
            for kind in DATABASES
            for ours in OURS.values()
        ],
    ),
)
