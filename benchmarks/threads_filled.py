"""Receivers of 50 ms: how much of what 128 threads could send at that latency is sent?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from .outbox_rate import by_outbox
from .receiver import Receiver, receiving
from .runner import Benchmark, NotHere, Ratio, Scale, Way, Ways
from .sites import DATABASES, Place, own_sites

__all__ = ["BENCHMARKS"]

THREADS = 128
SECONDS = 0.05


def share(place: Place, receiver: Receiver, count: int) -> float:
    return by_outbox(place, receiver, count, THREADS) * SECONDS / THREADS


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(receiving(delay=SECONDS))
        found: dict[str, Way | NotHere] = {}
        for kind, place in own_sites(stack, found):
            found[kind] = partial(share, place, receiver, scale.of(20_000, 2_000))
        yield found


BENCHMARKS = (
    Benchmark(
        name="threads_filled",
        title="Receivers of 50 ms, 128 threads",
        unit="of threads ÷ latency",
        better="more",
        ways=ways,
        ratios=[
            Ratio(what=f"{kind} ÷ threads ÷ latency", of=kind, to=1.0, at_least=0.9) for kind in DATABASES
        ],
    ),
)
