"""Lanes: how long healthy hosts wait while some of their neighbours take a second for each answer."""

from __future__ import annotations

import statistics
import time
from typing import Final

from tests.faults.receiver import Manner, Receipt, Receiver
from tests.faults.report import Report, Stuck, percentile
from tests.faults.stage import Stage

HOSTS: Final = 200
SLOW_SECONDS: Final = 1.0
AT_MOST: Final = {5: 1.5, 20: 3.0}
"""How many times as long the healthy may wait, by the share of slow hosts in per cent."""
PATIENCE: Final = 180.0
ROUNDS: Final = 2


def slow_lane(kind: str, scale: float) -> Report:
    """5 % of 200 hosts that answer after a second delay the healthy 1.5 times at most, 20 % 3 times.

    All is owed at one moment, host by host in turn; a delay is the time from that commit to an
    arrival at a host that is healthy in each of the rounds. In full the worker meets the slow hosts in
    the middle of its work; in short, too short to learn anything in, it has met them before.
    """
    each = max(10, round(50 * scale))
    report = Report()
    delays: dict[int, list[float]] = {share: [] for share in (0, *AT_MOST)}
    for _ in range(ROUNDS):  # in turn, so that what else the machine does falls on all of them
        for share in delays:
            delays[share] += _delays(kind, share, each, met=scale < 1)
    means = {share: statistics.mean(found) for share, found in delays.items()}
    for share in delays:
        report.figures |= {
            f"{share} % mean s": means[share],
            f"{share} % p95 s": percentile(delays[share], 0.95),
        }
    for share, at_most in AT_MOST.items():
        ratio = means[share] / means[0]
        report.figures[f"{share} % ratio"] = ratio
        report.check(ratio <= at_most, f"{share} % slow hosts delay the healthy {ratio:.2f} times")
    return report


def _delays(kind: str, share: int, each: int, *, met: bool) -> list[float]:
    slow = {number for number in range(HOSTS) if number % 20 < share / 5}

    def manners(receipt: Receipt, before: int) -> Manner:
        number = int(receipt.id.rpartition("-")[2])
        return Manner(seconds=SLOW_SECONDS if number % HOSTS in slow else 0.0)

    ever_slow = {number for number in range(HOSTS) if number % 20 < max(AT_MOST) / 5}
    with Stage(kind, receiver=Receiver(hosts=HOSTS, manners=manners)) as stage:
        stage.worker()
        counts = stage.receiver.counts
        if met:
            first = stage.owe_notes(HOSTS)
            if not stage.receiver.wait_for(lambda: len(counts) >= len(first), PATIENCE):
                raise Stuck(f"Only {len(counts)} of {len(first)} were told: {stage.said()}")
            stage.wait_until_final(60)
        ids = stage.owe_notes(HOSTS * each, start=HOSTS)
        committed = time.monotonic()
        healthy = {told for told in ids if int(told.rpartition("-")[2]) % HOSTS not in ever_slow}
        if not stage.receiver.wait_for(lambda: healthy <= counts.keys(), PATIENCE):
            raise Stuck(f"Only {len(healthy & counts.keys())} healthy ones were told: {stage.said()}")
        return [each.at - committed for each in stage.receiver.receipts if each.id in healthy]
