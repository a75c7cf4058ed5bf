"""Commit to first byte: when does a delivery arrive, beside a request that posts it itself?

Counted is the median time from just before the commit, with the worker idle, to the first byte at
the receiver; for ``requests.post`` from its call, once to the first byte and once to its end, which
the request has to wait for. Each delivery goes to another host, so that all connections are new.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

from .receiver import Receiver, receiving, sign
from .runner import Benchmark, NotHere, Ratio, Scale, Way, Ways
from .sites import BODY, DATABASES, Place, own_site, worker

__all__ = ["BENCHMARKS"]

QUIET = 0.05  # seconds before each, lengthened by chance: no clock of the worker's is met in step

Send = Callable[[str, int], tuple[float, float | None]]
"""Sends to a URL; returns when it began and, if that is what counts, when it ended."""


def p50(receiver: Receiver, send: Send, numbers: Iterator[int], times: int) -> float:
    """Return the median of so many single deliveries, in milliseconds."""
    took = []
    for _ in range(times):
        number = next(numbers)
        time.sleep(QUIET * (1 + random.random()))
        began, ended = send(receiver.url(number), number)
        arrived = _arrival(receiver, number)
        took.append((ended or arrived) - began)
    return 1000 * statistics.median(took)


def _arrival(receiver: Receiver, number: int) -> float:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        time.sleep(0.01)
        receiver_heard = receiver.heard().arrivals
        if number in receiver_heard:
            receiver.forget()
            return receiver_heard[number]
    raise SystemExit("The delivery does not arrive.")


def by_outbox(place: Place, url: str, number: int) -> tuple[float, None]:
    return place.owe([url], first=number), None


def by_requests(whole: bool, url: str, number: int) -> tuple[float, float | None]:
    import requests

    body = BODY.encode()
    headers = {
        "Content-Type": "application/json",
        "X-Delivery": str(number),
        "X-Hub-Signature": sign(body),
    }
    began = time.monotonic()
    requests.post(url, data=body, headers=headers, timeout=10).raise_for_status()
    return began, time.monotonic() if whole else None


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    try:
        import requests  # noqa: F401
    except ImportError as error:
        raise NotHere(f"{error.name} is not installed: pip install Flask-Linkback[bench]") from None
    times = scale.of(40, 8)
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        measure = partial(p50, receiver, numbers=count(), times=times)
        found: dict[str, Way | NotHere] = {
            PEER: partial(measure, partial(by_requests, False)),
            WHOLE: partial(measure, partial(by_requests, True)),
        }
        for kind in DATABASES:
            try:
                same = stack.enter_context(own_site(kind, RUNNER="thread"))
                other = stack.enter_context(own_site(kind))
            except NotHere as error:
                found[f"{kind}, same process"] = found[f"{kind}, other process"] = error
                continue
            stack.enter_context(worker(other, threads=8))
            other.wait_for_workers()
            found[f"{kind}, same process"] = partial(measure, partial(by_outbox, same))
            found[f"{kind}, other process"] = partial(measure, partial(by_outbox, other))
        yield found


PEER = "requests.post, to the first byte"
WHOLE = "requests.post, to its end"

BENCHMARKS = (
    Benchmark(
        name="first_byte",
        title="Commit to first byte, p50",
        unit="ms",
        better="less",
        ways=ways,
        ratios=[
            Ratio(
                what=f"{kind}, worker in the {where} process ÷ {to}",
                of=f"{kind}, {where} process",
                to=to,
                at_most=reach,
            )
            for kind, reach in zip(DATABASES, (3, 4.5), strict=True)
            for where in ("same", "other")
            for to in (PEER, WHOLE)
        ],
    ),
)
