"""Web: a server's processes die while they publish."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode, urlsplit

import sqlalchemy as sa

from tests.faults.receiver import Receiver
from tests.faults.report import Report, Stuck, pause, until
from tests.faults.stage import Stage

CLIENTS: Final = 4
BETWEEN: Final = 5
"""Posts that are published between two kills, at least."""
AT_MOST_LATER: Final = 0.02
"""Seconds after the beginning of a ``publish()`` in which its process dies: it takes about half of them."""


def web_kills(kind: str, scale: float) -> Report:
    """Experiment 2: what was committed is told, what was not never was."""
    kills = max(2, round(200 * scale))
    report = Report()
    with Stage(kind, receiver=Receiver(hosts=20), lease=3.0) as stage:
        teller = str(stage.folder / "teller")
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
            stage.web(workers=2, threads=4, RUNNER="thread", more={"teller": teller}) as base_url,
        ):
            told.bind(teller)
            told.settimeout(30)
            with _clients(stage, base_url) as (asked, answered):
                killed = []
                for number in range(kills):
                    _wait_for_answers(stage, answered, (number + 1) * BETWEEN)
                    killed.append(_kill_one(stage, told))
            _wake_all(base_url)
            stage.wait_until_final(60)
        posts = {slug for (slug,) in stage.rows(sa.select(stage.blog.Post.slug))}
        received = set(stage.receiver.counts)
        report.check(not posts - received, f"{len(posts - received)} committed and not told")
        report.check(not received - posts, f"{len(received - posts)} told and not committed")
        report.check(not answered - posts, f"{len(answered - posts)} answered and not committed")
        lost = stage.lost(len(posts))
        report.check(not lost, f"lost {lost}")
        report.check(stage.states()["dead"] == 0, f"{stage.states()['dead']} dead")
        died = len(asked) - len(answered)
        report.check(died >= kills / 2, f"only {died} requests died in {kills} kills")
        report.figures = {
            "kills": len(killed),
            "asked": len(asked),
            "answered": len(answered),
            "committed": len(posts),
            "duplicates": len(stage.receiver.receipts) - len(received),
        }
    return report


@contextlib.contextmanager
def _clients(stage: Stage, base_url: str) -> Iterator[tuple[set[str], set[str]]]:
    """Publish posts without end from some threads; the values are the slugs asked for, and answered."""
    numbers, stop = itertools.count(), threading.Event()
    asked: set[str] = set()
    answered: set[str] = set()
    netloc = urlsplit(base_url).netloc

    def publish() -> None:
        while not stop.is_set():
            number = next(numbers)
            slug = f"post-{number}"
            asked.add(slug)
            form = urlencode({"slug": slug, "target": stage.receiver.url(f"/page/{slug}", number)})
            connection = http.client.HTTPConnection(netloc, timeout=20)
            with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", "/publish", form, headers)
                if connection.getresponse().status == 200:
                    answered.add(slug)

    threads = [threading.Thread(target=publish, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield asked, answered
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def _wait_for_answers(stage: Stage, answered: set[str], count: int) -> None:
    try:
        until(lambda: len(answered) >= count, 30, f"{count} posts published")
    except Stuck as stuck:
        raise Stuck(f"{stuck} {stage.said()}") from None


def _kill_one(stage: Stage, told: socket.socket) -> int:
    """Kill a process that has just begun to publish."""
    told.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            told.recv(32)  # what began earlier may have ended, and its process too
    told.settimeout(30)
    try:
        pid = int(told.recv(32))
    except TimeoutError:
        raise Stuck(f"Nobody publishes any more: {stage.said()}") from None
    pause(stage.random.uniform(0, AT_MOST_LATER))
    os.kill(pid, signal.SIGKILL)
    return pid


def _wake_all(base_url: str) -> None:
    """Ask for pages until each process has served one, which starts its worker."""
    netloc = urlsplit(base_url).netloc
    seen: Counter[str] = Counter()
    deadline = time.monotonic() + 20
    while (len(seen) < 2 or min(seen.values()) < 1) and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(netloc, timeout=10)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/pid")
            seen[connection.getresponse().read().decode()] += 1
