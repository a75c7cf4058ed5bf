"""Worker: claims jobs, lets threads do them, settles what they finished.

One coordinator talks to the database, in merged transactions; a number of sender threads call the
handlers. Between two looks nothing here holds the application, so that it can be collected.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import platform
import queue
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from .. import models
from ..errors import ConfigError
from ..site import Site, find_site
from . import jobs
from .jobs import Claim, Finished, Outcome, Verdict
from .wakeup import Bell, Watcher, in_memory, watcher_for

__all__ = ["Runner", "Worker", "drain", "listen"]

logger = logging.getLogger("flask_linkback.outbox")

LEASE_SECONDS: Final = 30.0
"""How long a claim holds without being renewed; it is renewed after a third of it."""
SETTLE_SECONDS: Final = 0.05
"""How long a finished job waits at most for others to be settled with."""
CLAIM_AT_MOST: Final = 100
PER_HOST: Final = 4
"""Jobs of one host that run at the same time."""
SLOW_SECONDS: Final = 0.5
"""A host whose jobs take longer on average goes to the slow lane."""
POLL_SECONDS: Final = (1.0, 5.0)
"""How often due jobs are looked for unasked: after work, and when all is quiet."""
_HOSTS_REMEMBERED: Final = 1000
_BEAT_SECONDS: Final = 10.0
_DRAIN_SECONDS: Final = 30.0
"""How long a worker that is told to stop lets its threads finish."""


@dataclass
class _HostLoad:
    """What one host does to the worker just now."""

    running: int = 0
    held: int = 0
    seconds: float = 0.0
    """A moving average of how long its jobs take."""

    @property
    def slow(self) -> bool:
        return self.seconds > SLOW_SECONDS

    def took(self, seconds: float) -> None:
        # one slow answer marks a host, a few quick ones clear it
        self.seconds = max(seconds, self.seconds * 0.5) if seconds > SLOW_SECONDS else self.seconds * 0.5


class _Lanes:
    """Which claims may run now: a cap for each host, a quarter of the threads for slow hosts."""

    def __init__(self, threads: int) -> None:
        self._per_host = min(PER_HOST, threads)
        self._slow_lane = max(1, threads // 4)
        self._hosts: dict[str, _HostLoad] = {}

    def hold(self, host: str) -> None:
        """A job of this host was claimed."""
        if host:
            self._hosts.setdefault(host, _HostLoad()).held += 1

    def enter(self, host: str) -> bool:
        """Take a place for a job of this host, if there is one."""
        if not host:
            return True
        load = self._hosts[host]
        if load.running >= self._per_host or (load.slow and self._slow("running") >= self._slow_lane):
            return False
        load.running += 1
        return True

    def leave(self, host: str, seconds: float) -> None:
        """A job of this host ended."""
        if host:
            load = self._hosts[host]
            load.running -= 1
            load.held -= 1
            load.took(seconds)

    def _slow(self, what: str) -> int:
        return sum(getattr(load, what) for load in self._hosts.values() if load.slow)

    def full(self) -> list[str]:
        """Hosts of which no more jobs should be claimed for now."""
        if len(self._hosts) > _HOSTS_REMEMBERED:
            self._hosts = {host: load for host, load in self._hosts.items() if load.held}
        lane_full = self._slow("held") >= 2 * self._slow_lane
        return [
            host
            for host, load in self._hosts.items()
            if load.held >= 2 * self._per_host or (load.slow and lane_full)
        ]


@dataclass
class _Inside:
    """What sender threads and coordinator share; holds no application."""

    bell: Bell
    todo: queue.SimpleQueue[tuple[Claim, Site] | None] = field(default_factory=queue.SimpleQueue)
    finished: deque[tuple[Claim, Outcome, float]] = field(default_factory=deque)


class Worker:
    """One coordinator and its sender threads, for one application."""

    def __init__(
        self, site: Site, *, runner: str, bell: Bell | None = None, threads: int | None = None
    ) -> None:
        self.name = uuid.uuid4().hex
        self.runner = runner
        self.threads = threads or site.settings.outbox.worker_threads
        self.tally = {verdict.value: 0 for verdict in Verdict}
        """How many jobs ended how, so far."""
        self._site = weakref.ref(site, lambda _: self.stop())
        self._inside = _Inside(bell or Bell())
        self._lanes = _Lanes(self.threads)
        self._hold_at_most = min(CLAIM_AT_MOST, 2 * self.threads)
        self._ready: list[Claim] = []
        self._blocked = 0
        """How many of those that are ready wait for their host."""
        self._running: dict[int, Claim] = {}
        self._settling: list[Finished] = []
        self._backlog = False
        """There are probably more due jobs than were claimed."""
        self._senders: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._offset = timedelta()
        self._next: dict[str, float] = {}
        self._busy_until = 0.0

    # --- from outside --------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask the worker to finish what runs, release the rest and return."""
        self._stopping.set()
        self._inside.bell.nudge()

    def run(self, *, once: bool = False) -> None:
        """Work until stopped; with ``once``, until nothing is due any more."""
        watcher = None if once else self._watcher()
        if watcher is not None:
            watcher.start()
        try:
            while not self._stopping.is_set():
                site = self._site()
                if site is None:
                    break
                nothing_due = not self._look(site)
                if once and nothing_due and not (self._running or self._ready or self._settling):
                    break
                seconds = self._wait_seconds(once=once)
                del site
                if self._inside.bell.wait(seconds):
                    self._next["claim"] = 0.0
        finally:
            if watcher is not None:
                watcher.stop()
            self._finish()

    def _watcher(self) -> Watcher | None:
        site = self._site()
        if site is None:
            return None
        with site.context():
            return watcher_for(site.engine, self._inside.bell)

    # --- one look ------------------------------------------------------------------------------------

    def _look(self, site: Site) -> bool:
        """Settle, claim and dispatch; return False when a claim found nothing due."""
        self._collect(site)
        now = time.monotonic()
        want = max(0, self._hold_at_most - len(self._running) - (len(self._ready) - self._blocked))
        polled = now >= self._next.get("claim", 0.0)
        if polled and not want:
            self._backlog = True
        enough_room = want >= self.threads or not self._ready
        claim = want > 0 and (polled or (self._backlog and bool(self._settling) and enough_room))
        idle = not self._running and not self._ready
        settle = bool(self._settling) and (claim or idle or now >= self._next["settle"])
        try:
            claimed = self._database(site, want if claim else 0) if claim or settle else None
            self._housekeeping(site)
        except SQLAlchemyError as error:
            self._complain(error)
            return True
        self._dispatch(site)
        return not (claim and claimed == 0)

    def _collect(self, site: Site) -> None:
        while self._inside.finished:
            claim, outcome, seconds = self._inside.finished.popleft()
            self._running.pop(claim.id, None)
            self._lanes.leave(claim.host, seconds)
            given_up = outcome.verdict is Verdict.again and claim.is_last
            self.tally[Verdict.dead.value if given_up else outcome.verdict.value] += 1
            if not self._settling:
                self._next["settle"] = time.monotonic() + SETTLE_SECONDS
            self._settling.append(Finished(claim=claim, outcome=outcome, at=self._now(site)))

    def _database(self, site: Site, want: int) -> int:
        """One transaction: settle what finished, claim what is wanted; return how many were claimed."""
        with site.context(), site.new_session() as session:
            if want:
                self._measure_offset(session)
            full = self._lanes.full()
            claims = jobs.turn(
                session,
                now=self._now(site),
                schedule=site.settings.outbox.retry_schedule,
                finished=self._settling,
                want=want,
                token=uuid.uuid4().hex,
                lease_seconds=LEASE_SECONDS,
                without_hosts=full,
            )
        self._settling = []
        if want:
            self._backlog = len(claims) == want or bool(full)
            self._next["claim"] = time.monotonic() + self._poll_seconds(bool(claims))
        for claim in claims:
            self._lanes.hold(claim.host)
        self._ready.extend(claims)
        return len(claims)

    def _dispatch(self, site: Site) -> None:
        """Hand ready claims to the threads, as far as threads and hosts have room."""
        waiting: list[Claim] = []
        self._blocked = 0
        for claim in self._ready:
            if len(self._running) >= self.threads:
                waiting.append(claim)
            elif self._lanes.enter(claim.host):
                self._running[claim.id] = claim
                self._hand_over(claim, site)
            else:
                self._blocked += 1
                waiting.append(claim)
        self._ready = waiting

    def _hand_over(self, claim: Claim, site: Site) -> None:
        if len(self._senders) < len(self._running):
            name = f"linkback-sender-{len(self._senders)}"
            thread = threading.Thread(target=_send, args=(self._inside,), name=name, daemon=True)
            self._senders.append(thread)
            thread.start()
        self._inside.todo.put((claim, site))

    def _poll_seconds(self, found: bool) -> float:
        now = time.monotonic()
        if found:
            self._busy_until = now + POLL_SECONDS[1]
        return POLL_SECONDS[0] if now < self._busy_until else POLL_SECONDS[1]

    def _wait_seconds(self, *, once: bool) -> float:
        """Until the next thing that time alone makes due."""
        if self._inside.finished:
            return 0.0
        if once and not (self._running or self._ready):
            self._next["claim"] = 0.0
        until = self._next.get("claim", 0.0)
        if len(self._running) + len(self._ready) - self._blocked >= self._hold_at_most:
            until = time.monotonic() + POLL_SECONDS[0]  # no room: the next finished job will ring
        if self._settling:
            until = min(until, self._next["settle"])
        return max(0.0, until - time.monotonic())

    # --- clock, beat, trouble ------------------------------------------------------------------------

    def _now(self, site: Site) -> datetime:
        return site.now() + self._offset

    def _measure_offset(self, session: Session) -> None:
        """See how far this machine's clock is from the database server's."""
        if session.get_bind().dialect.name != "postgresql":
            return
        asked = datetime.now(UTC)
        told = session.scalar(sa.select(sa.func.clock_timestamp()))
        assert told is not None
        offset = told - asked
        # what the question took is no difference of clocks
        self._offset = offset if abs(offset) > timedelta(seconds=0.2) else timedelta()

    def _due(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._next.get(what, 0.0):
            return False
        self._next[what] = now + seconds
        return True

    def _housekeeping(self, site: Site) -> None:
        """Say that this worker lives, renew its leases, take back those of dead workers."""
        held = [*self._running.values(), *self._ready]
        beat = self._due("beat", _BEAT_SECONDS)
        renew = self._due("renew", LEASE_SECONDS / 3) and bool(held)
        reclaim = self._due("reclaim", POLL_SECONDS[0])
        if not (beat or renew or reclaim):
            return
        with site.context(), site.new_session() as session:
            if beat:
                self._beat(session, site)
            if renew:
                jobs.renew(session, held, self._now(site) + timedelta(seconds=LEASE_SECONDS))
            if reclaim and jobs.reclaim(session, self._now(site), len(site.settings.outbox.retry_schedule)):
                self._next["claim"] = 0.0

    def _beat(self, session: Session, site: Site) -> None:
        now = self._now(site)
        table = models.Worker.__table__
        seen = session.execute(sa.update(table).where(table.c.name == self.name).values(seen_at=now))
        if not seen.rowcount:  # type: ignore[attr-defined]
            session.execute(sa.delete(table).where(table.c.seen_at < now - timedelta(days=1)))
            session.execute(
                sa.insert(table).values(
                    name=self.name,
                    runner=self.runner,
                    machine=platform.node()[:255],
                    pid=os.getpid(),
                    threads=self.threads,
                    started_at=now,
                    seen_at=now,
                )
            )
        session.commit()

    def _complain(self, error: SQLAlchemyError) -> None:
        """The database is away or busy: one line a second at most, and no busy loop."""
        if self._due("complain", 1.0):
            logger.warning("The outbox waits for the database: %s", type(error).__name__, exc_info=False)
        self._stopping.wait(0.5)

    def _finish(self) -> None:
        """Let running jobs end, settle them, release the others."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        for _ in self._senders:
            self._inside.todo.put(None)
        for thread in self._senders:
            thread.join(max(0.0, deadline - time.monotonic()))
        site = self._site()
        if site is None:
            return
        self._collect(site)
        # a job that still runs is released too; when its thread ends after all, its token is void
        for claim in (*self._ready, *self._running.values()):
            self._settling.append(Finished(claim=claim, outcome=jobs.later(0), at=self._now(site)))
        self._ready = []
        while time.monotonic() < deadline:
            try:
                self._database(site, 0)
                with site.context(), site.new_session() as session:
                    session.execute(sa.delete(models.Worker).where(models.Worker.name == self.name))
                    session.commit()
            except SQLAlchemyError as error:
                self._complain(error)
            else:
                return


# --- doing one job -----------------------------------------------------------------------------------


def _send(inside: _Inside) -> None:
    while True:
        item = inside.todo.get()
        if item is None:
            return
        claim, site = item
        began = time.monotonic()
        outcome = perform(site, claim)
        inside.finished.append((claim, outcome, time.monotonic() - began))
        del item, site, claim, outcome  # an idle thread holds no application
        inside.bell.nudge()


def perform(site: Site, claim: Claim) -> Outcome:
    """Call the handler of a job in an application context of its own; never raises.

    The context, and with it ``db.session``, is closed before the job is settled: what the handler
    or a receiver left uncommitted is dropped and logged.
    """
    try:
        with site.context():
            handler = site.handlers.get(claim.kind)
            if handler is None:
                outcome = jobs.dead(f"Nobody handles jobs of kind {claim.kind!r}.")
            else:
                outcome = handler(site, claim)
            _warn_of_uncommitted(site, claim)
    except Exception as error:  # a handler's bug costs one attempt, not the worker
        logger.exception("A job of kind %s raised.", claim.kind, extra={"job_id": claim.id})
        return jobs.again(f"{type(error).__name__}: {error}"[:200])
    return outcome


def _warn_of_uncommitted(site: Site, claim: Claim) -> None:
    session = site.db.session()
    if session.new or session.dirty or session.deleted:
        logger.warning(
            "Uncommitted changes of a handler or receiver are dropped: commit them there.",
            extra={"job_id": claim.id, "kind": claim.kind},
        )


def drain(site: Site, *, limit: int = 10_000) -> int:
    """Do due jobs in this thread, one after the other, until none is due; return how many were done."""
    count = 0
    finished: list[Finished] = []
    while count <= limit:
        with site.context(), site.new_session() as session:
            claims = jobs.turn(
                session,
                now=site.now(),
                schedule=site.settings.outbox.retry_schedule,
                finished=finished,
                want=1 if count < limit else 0,
                token=uuid.uuid4().hex,
                lease_seconds=LEASE_SECONDS * 10,
            )
        if not claims:
            break
        finished = [Finished(claim=claim, outcome=perform(site, claim), at=site.now()) for claim in claims]
        count += len(claims)
    return count


# --- who runs the worker -----------------------------------------------------------------------------


class Runner:
    """Starts the embedded worker of one application when there is need, and once in each process."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.bell = Bell()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._worker: Worker | None = None
        self._pid = os.getpid()
        self._inline = threading.local()
        self._taken = False

    @contextlib.contextmanager
    def taken(self) -> Iterator[Bell]:
        """Leave the work of this process to somebody else for a while: who hears the bell."""
        self._taken = True
        try:
            yield self.bell
        finally:
            self._taken = False

    def wake(self, site: Site) -> None:
        """Jobs were committed in this process."""
        if self._taken:
            self.bell.ring()
            return
        match site.settings.outbox.runner:
            case "thread":
                self.bell.ring()
                self.ensure_alive(site)
            case "inline":
                self._run_inline(site)

    def ensure_alive(self, site: Site) -> None:
        """Start the embedded worker unless it lives, also after a fork."""
        if self._pid != os.getpid():
            self._reset()  # locks and threads of the parent mean nothing here
        if self._taken or site.settings.outbox.runner != "thread":
            return
        if self._thread and self._thread.is_alive():
            return
        if not _may_start_thread(site):
            return
        with self._lock:
            if self._thread and self._thread.is_alive():
                return
            worker = Worker(site, runner="thread", bell=self.bell)
            thread = threading.Thread(target=worker.run, name="linkback-worker", daemon=True)
            self._worker, self._thread = worker, thread
            atexit.register(_stop_at_exit, weakref.ref(self), os.getpid())
            thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Stop the embedded worker, if this process has one."""
        worker, thread = self._worker, self._thread
        if worker is None or thread is None or self._pid != os.getpid():
            return
        worker.stop()
        if thread is not threading.current_thread():
            thread.join(seconds)

    def _run_inline(self, site: Site) -> None:
        if getattr(self._inline, "busy", False):
            return  # a job's own commit: the loop that called it goes on
        self._inline.busy = True
        try:
            drain(site)
        finally:
            self._inline.busy = False


def _stop_at_exit(runner: weakref.ref[Runner], pid: int) -> None:
    alive = runner()
    if alive is not None and pid == os.getpid():
        alive.stop()


def _may_start_thread(site: Site) -> bool:
    """Not for tests, databases in memory, the shell and other commands."""
    if site.app.testing:
        return False
    context = click.get_current_context(silent=True)
    if context is not None and context.info_name != "run":
        return False
    with site.context():
        return not in_memory(site.engine)


def _after_commit(session: Session) -> None:
    if not session.in_nested_transaction() and session.info.pop(jobs.ADDED, False):
        session.info[_WAKE] = True


def _after_transaction_end(session: Session, transaction: Any) -> None:
    if transaction.parent is not None:
        return
    session.info.pop(jobs.ADDED, None)
    if session.info.pop(_WAKE, False):
        site = find_site()
        if site is not None:
            site.get(Runner).wake(site)


_WAKE: Final = "flask_linkback.wake"


def listen(sessions: Any) -> None:
    """Hear the commits of an application's sessions; once for each ``db.session``."""
    if not sa.event.contains(sessions, "after_commit", _after_commit):
        sa.event.listen(sessions, "after_commit", _after_commit)
        sa.event.listen(sessions, "after_transaction_end", _after_transaction_end)


def check_runner(site_runner: str) -> None:
    """Refuse a runner that does not exist yet."""
    if site_runner == "celery":
        raise ConfigError("LINKBACK_RUNNER 'celery' does not exist yet: use 'thread' or 'external'.")
