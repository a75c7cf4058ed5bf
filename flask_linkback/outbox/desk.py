"""Desk: claimed jobs between the coordinator, which puts them here, and the threads that do them.

It sees to it that a dead neighbour delays nobody: one host gets few threads, and all slow hosts
together at most a quarter of them. It holds no application.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from .jobs import Claim, Finished, Outcome, later
from .wakeup import Bell

__all__ = ["Desk"]

PER_HOST: Final = 4
"""Jobs of one host that run at the same time; one until the host has answered for the first time."""
SLOW_SECONDS: Final = 0.5
"""A host that takes longer goes to the slow lane."""
_HOSTS_REMEMBERED: Final = 1000


@dataclass
class _Host:
    """What one host does to the worker just now."""

    held: int = 0
    """Jobs that are claimed."""
    began: list[float] = field(default_factory=list)
    """When each of its running jobs began."""
    seconds: float | None = None
    """How long its jobs take; None until one has ended."""

    def is_slow(self, now: float) -> bool:
        running = now - self.began[0] if self.began else 0.0
        return max(running, self.seconds or 0.0) > SLOW_SECONDS

    def took(self, seconds: float) -> None:
        # one slow answer marks a host, a few quick ones clear it
        self.seconds = max(seconds, (self.seconds or 0.0) / 2)


class _Hosts:
    """Which claims may run now."""

    def __init__(self, threads: int) -> None:
        self._slow_lane = max(1, threads // 4)
        self._hosts: dict[str, _Host] = {}
        self._running: set[str] = set()

    def hold(self, name: str) -> None:
        """A job of this host was claimed."""
        self._hosts.setdefault(name, _Host()).held += 1

    def release(self, name: str) -> None:
        """A job of this host is not ours any more."""
        self._hosts[name].held -= 1

    def enter(self, name: str, now: float) -> bool:
        """Take a place for a job of this host, if there is one."""
        host = self._hosts[name]
        if not name:
            return True  # it talks to nobody
        if host.is_slow(now):
            running = (self._hosts[each] for each in self._running)
            if sum(len(each.began) for each in running if each.is_slow(now)) >= self._slow_lane:
                return False
        elif len(host.began) >= (1 if host.seconds is None else PER_HOST):
            return False
        host.began.append(now)
        self._running.add(name)
        return True

    def leave(self, name: str, began: float, now: float) -> bool:
        """Give a place back; return whether there may be room for more than one now."""
        host = self._hosts[name]
        if not name:
            return False
        better = host.seconds is None or host.is_slow(now)
        host.took(now - began)
        host.began.remove(began)
        if not host.began:
            self._running.remove(name)
        return better and not host.is_slow(now)

    def full(self, now: float) -> list[str]:
        """Hosts of which no more jobs should be claimed for now."""
        if len(self._hosts) > _HOSTS_REMEMBERED:
            self._hosts = {name: host for name, host in self._hosts.items() if host.held}
        slow = {name for name, host in self._hosts.items() if host.is_slow(now)}
        lane_is_full = sum(self._hosts[name].held for name in slow) >= 2 * self._slow_lane
        return [
            name
            for name, host in self._hosts.items()
            if name and (host.held >= 2 * PER_HOST or (lane_is_full and name in slow))
        ]


class Desk:
    """Where claims wait, run and end; the bell is nudged when the coordinator has to look."""

    def __init__(self, threads: int, bell: Bell) -> None:
        self.threads = threads
        self.refill = False
        """Whether to nudge as soon as there is room for one claim per thread."""
        self._bell = bell
        self._work = threading.Condition(threading.Lock())
        self._hosts = _Hosts(threads)
        self._ready: list[Claim] = []
        self._ends: dict[str, float] = {}
        """When (time.monotonic) the lease of the claims of each token ends."""
        self._blocked = 0
        """How many of those that are ready wait for their host, as far as was seen."""
        self._running: dict[tuple[str, int], tuple[Claim, float]] = {}
        self._finished: list[Finished] = []
        self._closed = False

    # --- for the coordinator -------------------------------------------------------------------------

    def put(self, claims: Sequence[Claim], *, until: float) -> None:
        """Let the threads do these, until their lease ends."""
        with self._work:
            self._ends = {claim.token: self._ends[claim.token] for claim in self._held()}
            for claim in claims:
                self._hosts.hold(claim.host)
                self._ends[claim.token] = until
            self._ready.extend(claims)
            self._work.notify(len(claims))

    def keep(self, ours: Collection[Claim], *, of: Sequence[Claim], until: float) -> None:
        """Lengthen the leases of claims that are still ours; what else waits of these is somebody else's."""
        kept = {(claim.token, claim.id) for claim in ours}
        with self._work:
            self._ends |= dict.fromkeys((claim.token for claim in ours), until)
            self._give_up([claim for claim in of if (claim.token, claim.id) not in kept])

    def room(self, *, topping_up: bool) -> int:
        """Return how many more claims are wanted: two for each thread, beside those that wait for their host.

        None while all threads are busy, so that another worker gets the jobs; but when ``topping_up``,
        threads have just become free.
        """
        with self._work:
            return self._room() if topping_up or len(self._running) < self.threads else 0

    def _room(self) -> int:
        return 2 * self.threads - len(self._running) - len(self._ready) + self._blocked

    def full_hosts(self) -> list[str]:
        """Return the hosts of which no more should be claimed for now."""
        with self._work:
            return self._hosts.full(time.monotonic())

    def held(self) -> list[Claim]:
        """Return the claims that run or wait."""
        with self._work:
            return self._held()

    def _held(self) -> list[Claim]:
        return [*(claim for claim, _ in self._running.values()), *self._ready]

    def is_empty(self) -> bool:
        """Does nothing run, wait, or lie here finished?"""
        with self._work:
            return not (self._running or self._ready or self._finished)

    def collect(self) -> list[Finished]:
        """Take what finished."""
        with self._work:
            finished, self._finished = self._finished, []
            return finished

    def close(self) -> list[Claim]:
        """Send the threads home as soon as they end what they do; return what was not begun."""
        with self._work:
            ready, self._ready, self._blocked = self._ready, [], 0
            for claim in ready:
                self._hosts.release(claim.host)
            self._closed = True
            self._work.notify_all()
            return ready

    # --- for the threads -----------------------------------------------------------------------------

    def take(self) -> Claim | None:
        """Wait for a claim that may run now; None sends the thread home."""
        with self._work:
            while not self._closed:
                now = time.monotonic()
                if self._ends and min(self._ends.values()) <= now:
                    # this process was stopped, or the database away, for longer than a lease
                    self._give_up([claim for claim in self._ready if self._ends[claim.token] <= now])
                for position, claim in enumerate(self._ready):
                    if self._hosts.enter(claim.host, now):
                        del self._ready[position]
                        self._blocked = position
                        self._running[claim.token, claim.id] = (claim, now)
                        return claim
                self._blocked = len(self._ready)
                if self.refill and self._room() >= self.threads:
                    self._bell.nudge()  # all that was claimed waits for its host: there is room for others
                self._work.wait()
            return None

    def _give_up(self, claims: Iterable[Claim]) -> None:
        """Do not begin these: another worker may have done so. If none has, they are due again."""
        for claim in claims:
            if claim in self._ready:
                self._ready.remove(claim)
                self._hosts.release(claim.host)
                self._finished.append(Finished(claim=claim, outcome=later(0)))

    def finish(self, claim: Claim, outcome: Outcome) -> None:
        """End a claim that was taken."""
        with self._work:
            now = time.monotonic()
            _, began = self._running.pop((claim.token, claim.id))
            if self._hosts.leave(claim.host, began, now):
                self._work.notify_all()
            self._hosts.release(claim.host)
            self._finished.append(Finished(claim=claim, outcome=outcome))
            look = (
                len(self._finished) == 1
                or not (self._running or self._ready)
                or (self.refill and self._room() >= self.threads)
            )
        if look:
            self._bell.nudge()
