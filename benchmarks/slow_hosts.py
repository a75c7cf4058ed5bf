"""Slow hosts: how long do deliveries to 190 or 160 quick hosts wait when the other ones take a second?

All deliveries are committed at once, host by host in turn, and the delay of a healthy one is the
time from that commit to its arrival, the mean of all. The hosts that are slow in some way do not
count in any. "Met" hosts had a delivery before, so that the worker may know who is slow; the others
it meets in the middle of the work.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from functools import partial

from .receiver import HOSTS, Receiver, receiving
from .runner import Benchmark, Ratio, Scale, Way, Ways
from .sites import Place, own_site, worker

__all__ = ["BENCHMARKS"]

THREADS = 8  # the default of WORKER_THREADS
FIVE, TWENTY = HOSTS // 20, HOSTS // 5
PATIENCE = 120.0  # seconds


def delay(place: Place, receiver: Receiver, each: int, met: bool) -> float:
    """Return the mean delay of the healthy hosts in milliseconds."""
    place.empty()
    receiver.forget()
    numbers = range(HOSTS, HOSTS + HOSTS * each)
    # the slow hosts of both shares, as the receiver chooses them
    healthy = [number for number in numbers if number % (HOSTS // TWENTY) and number % (HOSTS // FIVE)]
    with worker(place, THREADS) as child:
        place.wait_for_workers()
        if met:
            place.owe(map(receiver.url, range(HOSTS)))
            receiver.wait_for(HOSTS, seconds=PATIENCE, alive=child)
            place.check_all_done()
        place.owe(map(receiver.url, numbers), first=HOSTS)
        committed = time.monotonic()
        while not all(number in (came := receiver.heard().arrivals) for number in healthy):
            if time.monotonic() > committed + PATIENCE:
                raise SystemExit("The healthy hosts do not get what they are owed.")
            time.sleep(0.1)
        child.kill()  # the slow ones have enough for minutes
    return 1000 * statistics.mean(came[number] - committed for number in healthy)


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(own_site("SQLite"))
        found: dict[str, Way] = {}
        for share, slow in ((0, 0), (5, FIVE), (20, TWENTY)):
            receiver = stack.enter_context(receiving(slow_hosts=slow))
            for met in (True, False):
                if scale.short and (share == 5 or not met):
                    continue
                found[_name(share, met)] = partial(delay, place, receiver, scale.of(20, 5), met)
        yield found


def _name(share: int, met: bool) -> str:
    return f"{share} % of {'met' if met else 'unmet'} hosts slow"


BENCHMARKS = (
    Benchmark(
        name="slow_hosts",
        title="Some of 200 hosts at 1 s: delay of the healthy",
        unit="ms",
        better="less",
        ways=ways,
        ratios=[
            Ratio(
                what=f"{share} % ÷ none, hosts {'met before' if met else 'not met before'}",
                of=_name(share, met),
                to=_name(0, met),
                at_most=reach,
            )
            for met in (True, False)
            for share, reach in ((5, 1.5), (20, 3))
        ],
    ),
)
