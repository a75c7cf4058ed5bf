"""Desk: claimed jobs between the coordinator, which puts them here, and the threads that do them.

It sees to it that a dead neighbour delays nobody: one host gets few threads, and all slow hosts
together at most a quarter of them. It holds no application.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from .jobs import Claim, Finished, Outcome, later
from .wakeup import Bell

__all__ = ["Desk"]

PER_HOST: Final = 4
"""Jobs of one host that run at the same time; one until the host has answered for the first time."""
SLOW_SECONDS: Final = 0.5
"""A host that takes longer goes to the slow lane."""
AWAY_SECONDS: Final = 0.25
"""A thread that does one job for longer waits for somebody: another one takes its place meanwhile."""
AWAY_AT_MOST: Final = 3
"""How many such threads there may be for each one that works."""
AHEAD_SECONDS: Final = 0.1
"""For how long the threads have claims ahead, at the pace of the last ones: some turns' time."""
AHEAD_AT_MOST: Final = 100
_ENOUGH: Final = 50
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

    def leave(self, name: str, began: float, now: float) -> None:
        """Give a place back."""
        host = self._hosts[name]
        if name:
            host.took(now - began)
            host.began.remove(began)
            if not host.began:
                self._running.remove(name)

    def is_slow(self, name: str, now: float) -> bool:
        """Does this host belong in the slow lane?"""
        return self._hosts[name].is_slow(now)

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
        """Whether to nudge as soon as there is room for enough claims."""
        self._bell = bell
        self._hold = 2 * threads
        """How many claims are wanted here, those that run included."""
        self._pace: tuple[float, int] = (0.0, 0)
        """Since when how many were finished."""
        self._work = threading.Condition(threading.Lock())
        self._hosts = _Hosts(threads)
        self._ready: deque[Claim] = deque()
        self._parked: dict[str, deque[Claim]] = {}
        """What waits for its host, by the host's name."""
        self._ends: dict[str, float] = {}
        """When (time.monotonic) the lease of the claims of each token ends."""
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
            self._work.notify(min(len(claims), self.threads))

    def keep(self, ours: Collection[Claim], *, of: Sequence[Claim], until: float) -> None:
        """Lengthen the leases of claims that are still ours; what else waits of these is somebody else's."""
        kept = {(claim.token, claim.id) for claim in ours}
        with self._work:
            self._ends |= dict.fromkeys((claim.token for claim in ours), until)
            self._give_up([claim for claim in of if (claim.token, claim.id) not in kept])

    def room(self, *, topping_up: bool) -> int:
        """Return how many more claims are wanted, beside those that wait for their host or for an answer.

        Two for each thread, and as many as are done in the time of a turn where that is more.
        None while all threads are busy, so that another worker gets the jobs; but when ``topping_up``,
        threads have just become free.
        """
        with self._work:
            return self._room() if topping_up or self._at_work(time.monotonic()) < self.threads else 0

    @property
    def enough(self) -> int:
        """For how many claims a turn is worth its while."""
        return min(self._hold // 2, _ENOUGH)

    def _room(self) -> int:
        at_work = self._at_work(time.monotonic())
        return max(0, self._hold - at_work - len(self._ready))

    def _at_work(self, now: float) -> int:
        """How many threads do something and are not away."""
        if len(self._running) < self.threads:
            return len(self._running)  # nearly: what that says is that there is room
        return sum(1 for _ in self._not_away(now))

    def _not_away(self, now: float) -> Iterator[float]:
        """When what runs began, the newest first, as far as it has not lasted long."""
        for _, began in reversed(self._running.values()):
            if began <= now - AWAY_SECONDS:
                return
            yield began

    def threads_wanted(self) -> int:
        """Return how many threads there should be, and wake those that take the place of one away."""
        with self._work:
            now = time.monotonic()
            away = len(self._running) - sum(1 for _ in self._not_away(now))
            if away:
                self._work.notify(away)
            held = len(self._running) + len(self._ready)
            return min(held, self.threads + min(away, AWAY_AT_MOST * self.threads))

    def away_at(self) -> float:
        """When (time.monotonic) a thread may be away while something waits for one; infinite for never."""
        with self._work:
            now = time.monotonic()
            if not self._ready or len(self._running) < self.threads:
                return math.inf
            return min(self._not_away(now), default=math.inf) + AWAY_SECONDS

    def full_hosts(self) -> list[str]:
        """Return the hosts of which no more should be claimed for now."""
        with self._work:
            return self._hosts.full(time.monotonic())

    def held(self) -> list[Claim]:
        """Return the claims that run or wait."""
        with self._work:
            return self._held()

    def _held(self) -> list[Claim]:
        running = [claim for claim, _ in self._running.values()]
        return [*running, *self._ready, *itertools.chain.from_iterable(self._parked.values())]

    def is_empty(self) -> bool:
        """Does nothing run, wait, or lie here finished?"""
        with self._work:
            return not (self._running or self._ready or self._parked or self._finished)

    def collect(self) -> list[Finished]:
        """Take what finished."""
        with self._work:
            finished, self._finished = self._finished, []
            self._keep_pace(len(finished))
            return finished

    def _keep_pace(self, count: int) -> None:
        now = time.monotonic()
        since, before = self._pace
        self._pace = (since, before + count)
        if now - since >= AHEAD_SECONDS:
            ahead = int((before + count) * AHEAD_SECONDS / (now - since))
            ahead = max(ahead, self._hold // 2)  # a turn that took long is no reason to fall behind
            self._hold = max(2 * self.threads, min(ahead, AHEAD_AT_MOST))
            self._pace = (now, 0)

    def close(self) -> list[Claim]:
        """Send the threads home as soon as they end what they do; return what was not begun."""
        with self._work:
            waiting = [*self._ready, *itertools.chain.from_iterable(self._parked.values())]
            self._ready.clear()
            self._parked.clear()
            for claim in waiting:
                self._hosts.release(claim.host)
            self._closed = True
            self._work.notify_all()
            return waiting

    # --- for the threads -----------------------------------------------------------------------------

    def take(self) -> Claim | None:
        """Wait for a claim that may run now; None sends the thread home."""
        with self._work:
            while not self._closed:
                now = time.monotonic()
                if self._ends and min(self._ends.values()) <= now:
                    # this process was stopped, or the database away, for longer than a lease
                    self._give_up([each for each in self._held() if self._ends[each.token] <= now])
                while self._ready and self._at_work(now) < self.threads:
                    claim = self._ready.popleft()
                    if self._hosts.enter(claim.host, now):
                        self._running[claim.token, claim.id] = (claim, now)
                        return claim
                    self._parked.setdefault(claim.host, deque()).append(claim)
                if self.refill and self._room() >= self.enough:
                    self._bell.nudge()  # what was claimed waits for its host: there is room for others
                self._work.wait()
            return None

    def _give_up(self, claims: Iterable[Claim]) -> None:
        """Do not begin these: another worker may have done so. If none has, they are due again."""
        for claim in claims:
            waiting = self._ready if claim in self._ready else self._parked.get(claim.host, deque())
            if claim in waiting:
                waiting.remove(claim)
                self._hosts.release(claim.host)
                self._finished.append(Finished(claim=claim, outcome=later(0)))
        self._parked = {host: parked for host, parked in self._parked.items() if parked}

    def finish(self, claim: Claim, outcome: Outcome) -> None:
        """End a claim that was taken."""
        with self._work:
            now = time.monotonic()
            _, began = self._running.pop((claim.token, claim.id))
            self._hosts.leave(claim.host, began, now)
            self._unpark(claim.host, now)
            self._hosts.release(claim.host)
            self._finished.append(Finished(claim=claim, outcome=outcome))
            look = (
                len(self._finished) == 1
                or not (self._running or self._ready)
                or (self.refill and self._room() >= self.enough)
            )
        if look:
            self._bell.nudge()

    def _unpark(self, host: str, now: float) -> None:
        """Let those go on that waited for the end of a job of this host: its own, and one that is slow."""
        if host in self._parked and not self._hosts.is_slow(host, now):
            self._let_go(host, PER_HOST)
        slow = next((each for each in self._parked if self._hosts.is_slow(each, now)), None)
        if slow is not None:
            self._let_go(slow, 1)

    def _let_go(self, host: str, count: int) -> None:
        parked = self._parked.pop(host)
        freed = [parked.popleft() for _ in range(min(count, len(parked)))]
        if parked:
            self._parked[host] = parked  # behind the others: each has its turn
        self._ready.extendleft(reversed(freed))
        self._work.notify(len(freed))
