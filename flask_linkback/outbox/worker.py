"""Worker: claims jobs, lets threads do them, settles what they finished.

One coordinator talks to the database, in merged transactions; a number of threads call the
handlers. Between two looks nothing here holds the application, so that it can be collected.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import platform
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import click
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from .. import models
from ..core import on_one_core
from ..errors import ConfigError
from ..site import Site, find_site
from . import jobs
from .chores import Timetable
from .desk import Desk
from .jobs import LEASE_SECONDS, Claim, Finished, Outcome, Verdict
from .wakeup import Bell, in_memory, watcher_for
from .writers import Writers

__all__ = [
    "LEASE_SECONDS",
    "Runner",
    "Worker",
    "check_runner",
    "check_shareable",
    "drain",
    "listen",
    "perform",
    "warn_of_uncommitted",
]

logger = logging.getLogger("flask_linkback.outbox")

SETTLE_SECONDS: Final = 0.025
"""How long a finished job waits for others to be settled with; with its turn to write, 50 ms at most."""
CLAIM_AT_MOST: Final = 100
_MORE_SECONDS: Final = 1.0
"""How long after one job another is expected."""
POLL_SECONDS: Final = (1.0, 5.0)
"""How often due jobs are looked for unasked: after work, and when all is quiet."""
DRAIN_SECONDS: Final = 25.0
"""How long a worker that is told to stop lets its threads finish."""
_BEAT_SECONDS: Final = 10.0
_AWAY_SECONDS: Final = 0.5
"""How long a worker waits before it tries again when the database is away or busy."""
_BUSY_SECONDS: Final = 5.0
"""How long a busy SQLite is asked for a turn."""
_BUSY_TRY_MILLISECONDS: Final = 10
"""How long it is waited for at a time: the longer SQLite waits, the more seldom it looks."""
_FORK_SECONDS: Final = 1.0
"""How long a fork waits for the embedded worker to leave the database alone."""
_COMPLAIN_SECONDS: Final = 1.0
_SAME_COMPLAINT_SECONDS: Final = 60.0

T = TypeVar("T")


class Worker:
    """One coordinator and its threads, for one application."""

    def __init__(
        self,
        site: Site,
        *,
        runner: str,
        bell: Bell | None = None,
        threads: int | None = None,
        one_core: bool = False,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.name = uuid.uuid4().hex
        self.runner = runner
        self.threads = threads or site.settings.outbox.worker_threads
        self.tally = {verdict.value: 0 for verdict in Verdict}
        """How many jobs ended how, so far."""
        self._site = weakref.ref(site, lambda _: self.stop())
        with site.context():
            self.engine = site.engine
        self._writers = site.get(Writers)
        self._schedule = site.settings.outbox.retry_schedule
        self._burials = site.burials
        self._lease_seconds = lease_seconds
        self.quiet = threading.Lock()
        """Held while the coordinator uses the database. Whoever forks takes it: a driver may have locks."""
        self._bell = bell or Bell()
        self._place = on_one_core if one_core else contextlib.nullcontext
        self._desk = Desk(self.threads, self._bell)
        self._threads: list[threading.Thread] = []
        self._line: _Line | None = None
        self._stopping = False
        self._settling: list[Finished] = []
        """Taken from the desk and not yet in the database."""
        self._without: list[str] = []
        """Hosts whose jobs the last claim left aside."""
        self._poll = POLL_SECONDS[0]
        # when (time.monotonic) what is to be done next
        self._claim_at = self._settle_at = self._beat_at = self._reclaim_at = 0.0
        self._renew_at = time.monotonic() + lease_seconds / 3
        self._more_until = self._away_until = self._complained_at = 0.0
        self._complained = ""

    def stop(self) -> None:
        """Ask the worker to finish what runs, release the rest and return; also from a signal handler."""
        self._stopping = True
        self._bell.nudge()

    def run(self, *, once: bool = False) -> None:
        """Work until stopped; with ``once``, until nothing is due any more."""
        check_shareable(self.engine)
        with self._place():
            self._run(once)

    def _run(self, once: bool) -> None:
        watcher = None if once else watcher_for(self.engine, self._bell, self.quiet, self._expects_more)
        if watcher is not None:
            watcher.start()
        try:
            while not self._stopping and (site := self._site()) is not None:
                claimed = self._try_to_look(site)
                del site
                if once and self._desk.is_empty() and not self._settling:
                    if claimed == 0:
                        break
                    self._claim_at = 0.0  # what was done may have made others due
                if self._bell.wait(self._seconds_to_wait()):
                    self._claim_at = 0.0
        finally:
            if watcher is not None:
                watcher.stop()
            self._finish()

    def _finish(self) -> None:
        """Release what was not begun, let what runs end, and say goodbye."""
        self._stopping = True
        deadline = time.monotonic() + DRAIN_SECONDS
        self._release(self._desk.close())
        while True:
            site = self._site()
            self._try_to_look(site)
            if self._desk.is_empty() and not self._settling:
                with self.quiet:
                    self._say_goodbye()
                break
            if site is None or time.monotonic() > deadline:
                break
            del site
            self._bell.wait(SETTLE_SECONDS)
            if time.monotonic() > deadline:
                # when they end after all, their tokens are void
                self._release(self._desk.held())
        for thread in self._threads:
            thread.join(1 if self._desk.is_empty() else 0)
        with self.quiet:
            self._hang_up()
            if self._site() is None:
                self.engine.dispose()  # nobody else can do that any more

    def _release(self, claims: list[Claim]) -> None:
        self._settling += [Finished(claim=claim, outcome=jobs.later(0)) for claim in claims]

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        """A Session on a connection of the worker's own.

        Handlers that use up the pool would keep it from renewing its leases.
        """
        if self._line is None:
            self._line = _Line(self.engine)
        try:
            with Session(self._line.connection) as session:
                yield session
        except BaseException:
            self._hang_up()  # it may be broken
            raise

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    # --- one look ------------------------------------------------------------------------------------

    def _try_to_look(self, site: Site | None) -> int | None:
        """Do what is to be done now; return how many jobs were claimed, None if none were looked for."""
        if time.monotonic() < self._away_until:
            return None
        try:
            with self.quiet:
                if site is not None and not self._stopping:
                    site.get(Timetable).do(site)
                claimed = self._settle_and_claim(site)
                self._keep_alive(site)
            self._start_threads()
        except Exception as error:  # whatever it was: what is owed stays owed, and is tried again
            self._complain(error)
            self._away_until = time.monotonic() + _AWAY_SECONDS
            return None
        return claimed

    def _settle_and_claim(self, site: Site | None) -> int | None:
        now = time.monotonic()
        self._collect(now)
        # there are probably more than were claimed; or a host that was left aside may have room now
        wanted = self._desk.refill or bool(self._without and self._settling)
        if now >= self._claim_at:
            self._claim_at = now + self._poll
            self._desk.refill = wanted = True
        room = 0 if self._stopping else self._desk.room(topping_up=bool(self._settling))
        claim = wanted and room >= self._desk.enough
        settle = bool(self._settling) and (now >= self._settle_at or self._desk.is_empty() or self._stopping)
        if not (claim or settle):
            return None
        want = min(room, CLAIM_AT_MOST) if wanted else 0
        without = self._desk.full_hosts() if want else []

        def settle_and_claim(session: Session) -> tuple[datetime, jobs.Turn]:
            moment = jobs.clock(session, site)
            return moment, jobs.turn(
                session,
                now=moment,
                schedule=self._schedule,
                finished=self._settling,
                want=want,
                lease_seconds=self._lease_seconds,
                without_hosts=without,
                burials=self._burials,
            )

        # what finished and is not written down would be done again after a kill: it goes first
        moment, turn = self._transact(settle_and_claim, urgent=True)
        self._settling = []
        if not want:
            return None
        claimed = len(turn.claims)
        self._without = without
        self._desk.refill = claimed == want
        self._poll = POLL_SECONDS[0] if claimed else min(2 * self._poll, POLL_SECONDS[1])
        seconds = (turn.next_due - moment).total_seconds() if turn.next_due else self._poll
        # what is due and was not claimed is in somebody else's hands
        self._claim_at = now + min(
            seconds if seconds > 0 else self._poll, self._poll, self._lease_seconds / 6
        )
        self._desk.put(turn.claims, until=now + self._lease_seconds)
        if claimed:
            self._more_until = now + _MORE_SECONDS
        return claimed

    def _expects_more(self) -> bool:
        """Is there nothing to do just now, but was a moment ago?"""
        return time.monotonic() < self._more_until and self._desk.is_empty()

    def _transact(self, write: Callable[[Session], T], *, urgent: bool = False) -> T:
        """Do a transaction in our turn; while another process writes to SQLite, ask more often than that."""
        deadline = time.monotonic() + _BUSY_SECONDS
        with self._writers.turn(self.engine, urgent=urgent), self._session() as session:
            while True:
                try:
                    return write(session)
                except OperationalError as error:
                    if not _is_busy(error) or time.monotonic() > deadline:
                        raise
                    session.rollback()

    def _collect(self, now: float) -> None:
        finished = self._desk.collect()
        if finished and not self._settling:
            self._settle_at = now + SETTLE_SECONDS
        self._settling += finished
        for each in finished:
            self.tally[Verdict.dead.value if each.is_given_up else each.outcome.verdict.value] += 1

    def _start_threads(self) -> None:
        for number in range(len(self._threads), self._desk.threads_wanted()):
            thread = threading.Thread(
                target=_work, args=(self._desk, self._site), name=f"linkback-sender-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _seconds_to_wait(self) -> float:
        """Until the next thing that time alone makes due."""
        now = time.monotonic()
        until = min(self._claim_at, self._beat_at, self._desk.away_at())
        if self._settling:
            until = min(until, self._settle_at)
        if self._desk.held():
            until = min(until, self._renew_at)
        return max(until, self._away_until) - now

    # --- alive, or not -------------------------------------------------------------------------------

    def _keep_alive(self, site: Site | None) -> None:
        """Say that this worker lives, renew its leases, take over the jobs of dead workers."""
        now = time.monotonic()
        held = self._desk.held()
        if not held:
            self._renew_at = now + self._lease_seconds / 3
        renew, beat, reclaim = now >= self._renew_at, now >= self._beat_at, now >= self._reclaim_at
        if not (renew or beat or reclaim):
            return
        if renew:
            ours = self._transact(lambda session: jobs.renew(session, held, self._lease_end(session, site)))
            self._desk.keep(ours, of=held, until=now + self._lease_seconds)
            self._renew_at = now + self._lease_seconds / 3
        if beat:
            self._transact(lambda session: self._beat(session, jobs.clock(session, site)))
            self._beat_at = now + _BEAT_SECONDS
        if reclaim:
            if self._transact(lambda session: self._reclaim(session, jobs.clock(session, site))):
                self._claim_at = 0.0
            self._reclaim_at = now + min(POLL_SECONDS[1], self._lease_seconds / 6)

    def _reclaim(self, session: Session, now: datetime) -> int:
        return jobs.reclaim(session, now, len(self._schedule), burials=self._burials)

    def _lease_end(self, session: Session, site: Site | None) -> datetime:
        return jobs.clock(session, site) + timedelta(seconds=self._lease_seconds)

    def _beat(self, session: Session, now: datetime) -> None:
        table = models.Worker.__table__
        seen = session.execute(sa.update(table).where(table.c.name == self.name).values(seen_at=now))
        if not seen.rowcount:  # type: ignore[attr-defined]
            session.execute(sa.delete(table).where(table.c.seen_at < now - timedelta(days=1)))
            row = {
                "name": self.name,
                "runner": self.runner,
                "machine": platform.node()[:255],
                "pid": os.getpid(),
                "threads": self.threads,
                "started_at": now,
                "seen_at": now,
            }
            session.execute(sa.insert(table).values(row))
        session.commit()

    def _say_goodbye(self) -> None:
        def leave(session: Session) -> None:
            session.execute(sa.delete(models.Worker).where(models.Worker.name == self.name))
            session.commit()

        try:
            self._transact(leave)
        except SQLAlchemyError as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """One line a second at most, and the same one once a minute."""
        said = error.orig if isinstance(error, DBAPIError) else error
        line = f"{type(said).__name__}: {str(said).partition(chr(10))[0][:200]}"
        now = time.monotonic()
        pause = _SAME_COMPLAINT_SECONDS if line == self._complained else _COMPLAIN_SECONDS
        if self._complained and now < self._complained_at + pause:
            return
        self._complained, self._complained_at = line, now
        if isinstance(error, SQLAlchemyError):
            logger.warning("The outbox waits for the database: %s", line)
        else:
            logger.error("The outbox cannot go on.", exc_info=error)


def _is_busy(error: OperationalError) -> bool:
    """Did SQLite say that somebody else writes just now?"""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF == sqlite3.SQLITE_BUSY


class _Line:
    """A connection beside the pool; it has the settings and events of its engine."""

    def __init__(self, engine: sa.Engine) -> None:
        self.connection = engine.connect()
        # detached, it is not known any more
        driver_connection: Any = self.connection.connection.driver_connection
        self._driver_connection = driver_connection
        self.connection.detach()
        if engine.dialect.name == "sqlite":
            driver_connection.execute(f"PRAGMA busy_timeout = {_BUSY_TRY_MILLISECONDS}")

    def close(self) -> None:
        self.connection.invalidate()  # or close() would roll back first, on a connection that may be lost
        self.connection.close()
        self._driver_connection.close()


# --- doing one job -----------------------------------------------------------------------------------


def _work(desk: Desk, find: weakref.ref[Site]) -> None:
    """What a thread does all its life; while it waits it holds no application."""
    while (claim := desk.take()) is not None:
        site = find()
        if site is None:
            return
        try:
            outcome = perform(site, claim)
        except BaseException as error:  # a handler that would end the process costs an attempt, too
            outcome = _raised(claim, error)
        del site
        desk.finish(claim, outcome)


def perform(site: Site, claim: Claim) -> Outcome:
    """Call the handler of a job in an application context of its own; what it raises costs an attempt.

    The context, and with it ``db.session``, is closed before the job is settled: what the handler
    or a receiver left uncommitted is dropped and logged.
    """
    try:
        with site.context():
            handler = site.handlers.get(claim.kind)
            if handler is None:
                return jobs.dead(f"Nobody handles jobs of kind {claim.kind!r}.")
            outcome = handler(site, claim)
            warn_of_uncommitted(site, claim)
            if not isinstance(outcome, Outcome):
                raise TypeError(f"The handler of {claim.kind!r} returned {outcome!r}, not an Outcome.")
            return outcome
    except Exception as error:
        return _raised(claim, error)


def _raised(claim: Claim, error: BaseException) -> Outcome:
    logger.error(
        "A job of kind %s raised.", claim.kind, exc_info=error, extra={"job_id": claim.id, "kind": claim.kind}
    )
    return jobs.again(f"{type(error).__name__}: {error}"[:200])


def warn_of_uncommitted(site: Site, claim: Claim) -> None:
    """Leave a record where a handler or receiver left changes uncommitted; they are dropped."""
    if not site.db.session.registry.has():
        return
    session = site.db.session()
    if session.new or session.dirty or session.deleted or session.info.get(_WROTE):
        logger.warning(
            "Uncommitted changes of a handler or receiver are dropped: commit them there.",
            extra={"job_id": claim.id, "kind": claim.kind},
        )


def drain(site: Site, *, once_each: bool = False, limit: int = 10_000) -> int:
    """Do due jobs in this thread, one after the other, until none is due; return how many were done.

    ``once_each`` ends it at the first job that is due a second time. Chores that are due come first.
    """
    with site.context():
        engine = site.engine
    site.get(Timetable).do(site)
    seen: set[int] = set()
    finished: list[Finished] = []
    count = 0
    while True:
        with Session(engine) as session:
            turn = jobs.turn(
                session,
                now=jobs.clock(session, site),
                schedule=site.settings.outbox.retry_schedule,
                finished=finished,
                want=1 if count < limit else 0,
                lease_seconds=10 * LEASE_SECONDS,  # nobody renews it
                burials=site.burials,
            )
        finished = []
        for claim in turn.claims:
            if once_each and claim.id in seen:
                limit = count
                finished.append(Finished(claim=claim, outcome=jobs.later(0)))
            else:
                seen.add(claim.id)
                count += 1
                finished.append(Finished(claim=claim, outcome=perform(site, claim)))
        if not finished:
            return count


# --- who runs the worker -----------------------------------------------------------------------------


class Runner:
    """Runs the embedded worker of one application: started when there is need, once in each process."""

    def __init__(self) -> None:
        self._forget()
        _runners.add(self)

    def _forget(self) -> None:
        self._bell = Bell()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._worker: Worker | None = None
        self._quiet: Worker | None = None
        self._taken = False
        self._forked = False
        self._inline = threading.local()

    def before_fork(self) -> None:
        """Let the embedded worker leave the database alone."""
        if self._worker is not None and self._worker.quiet.acquire(timeout=_FORK_SECONDS):
            self._quiet = self._worker

    def after_fork_in_parent(self) -> None:
        """Let it go on."""
        worker, self._quiet = self._quiet, None
        if worker is not None:
            worker.quiet.release()

    def after_fork_in_child(self) -> None:
        """Locks, threads and connections of the parent mean nothing here."""
        worker = self._worker
        self._forget()
        if worker is not None:
            worker.engine.dispose(close=False)
        else:
            self._forked = True

    @contextlib.contextmanager
    def taken(self) -> Iterator[Bell]:
        """Leave the work of this process to somebody else for a while: who hears the bell."""
        self._taken = True
        try:
            yield self._bell
        finally:
            self._taken = False

    def wake(self, site: Site, *, soon: bool = True) -> None:
        """Jobs were committed in this process; some of them are due soon, or none."""
        if soon:
            self._bell.ring()
        if self._taken:
            return
        match site.settings.outbox.runner:
            case "thread":
                # the flask command says so to the whole process; 'flask run' begins with a request
                if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
                    self.ensure_alive(site)
            case "inline":
                self._run_inline(site)

    def ensure_alive(self, site: Site) -> None:
        """Start the embedded worker unless it lives or must not; leave a parent's connections alone."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._forked:
            with self._lock:
                if self._forked:
                    site.engine.dispose(close=False)
                self._forked = False
        if self._taken or site.settings.outbox.runner != "thread" or not _may_start_thread(site):
            return
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._worker = Worker(site, runner="thread", bell=self._bell)
            self._thread = threading.Thread(target=self._worker.run, name="linkback-worker", daemon=True)
            self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Stop the embedded worker, if this process has one."""
        worker, thread = self._worker, self._thread
        if worker is not None and thread is not None:
            worker.stop()
            thread.join(seconds)

    def _run_inline(self, site: Site) -> None:
        if getattr(self._inline, "busy", False):
            return  # a job's own commit: the loop that called it goes on
        self._inline.busy = True
        try:
            drain(site, once_each=True)
        except Exception:  # the commit is done, and whoever made it need not hear of this
            logger.exception("Jobs that were committed could not be done at once; they wait.")
        finally:
            self._inline.busy = False


_runners: weakref.WeakSet[Runner] = weakref.WeakSet()


def _at_fork(step: str) -> Callable[[], None]:
    def act() -> None:
        for runner in list(_runners):
            getattr(runner, step)()

    return act


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_at_fork("before_fork"),
        after_in_parent=_at_fork("after_fork_in_parent"),
        after_in_child=_at_fork("after_fork_in_child"),
    )


@atexit.register
def _stop_all() -> None:
    """An interpreter that ends lets its workers finish."""
    for runner in list(_runners):
        runner.stop()


def _may_start_thread(site: Site) -> bool:
    """Not for tests, databases in memory, the shell and other commands."""
    if site.app.testing or in_memory(site.engine):
        return False
    context = click.get_current_context(silent=True)
    return context is None or context.info_name == "run"


# --- the sessions of the application -----------------------------------------------------------------

_WAKE: Final = "flask_linkback.wake"
_WROTE: Final = "flask_linkback.wrote"
_ACTIONS: Final = "flask_linkback.actions"


def after_commit(session: Session, action: Callable[[], None]) -> None:
    """Let something be done in this thread once the outermost transaction of a session is committed."""
    session.info.setdefault(_ACTIONS, []).append(action)


def _after_flush(session: Session, context: Any) -> None:
    session.info[_WROTE] = True


def _do_orm_execute(state: ORMExecuteState) -> None:
    if state.is_insert or state.is_update or state.is_delete:
        state.session.info[_WROTE] = True


def _after_commit(session: Session) -> None:
    if not session.in_nested_transaction() and jobs.ADDED in session.info:
        session.info[_WAKE] = session.info.pop(jobs.ADDED)


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is not None:
        return
    session.info.pop(_WROTE, None)
    session.info.pop(jobs.ADDED, None)
    soon = session.info.pop(_WAKE, None)
    actions = session.info.pop(_ACTIONS, ())
    site = find_site() if soon is not None else None
    if soon is None or site is None:
        return
    for action in actions:
        _act(action)
    site.get(Runner).wake(site, soon=soon)


def _act(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:  # the commit is done, and whoever made it need not hear of this
        logger.exception("What was to be done at once could not be; it waits.")


_EVENTS: Final[Mapping[str, Callable[..., None]]] = {
    "after_flush": _after_flush,
    "do_orm_execute": _do_orm_execute,
    "after_commit": _after_commit,
    "after_transaction_end": _after_transaction_end,
}


# not event.contains(), which takes a new object for an old one that was at the same address
_heard: weakref.WeakSet[Any] = weakref.WeakSet()


def listen(sessions: Any) -> None:
    """Hear the commits of an application's sessions; once for each ``db.session``."""
    if sessions not in _heard:
        _heard.add(sessions)
        for name, listener in _EVENTS.items():
            sa.event.listen(sessions, name, listener)


def check_shareable(engine: sa.Engine) -> None:
    """Refuse a database that a worker's threads cannot share."""
    if in_memory(engine):
        raise ConfigError(
            "This database lives in the memory of one process and in one connection, which a worker's "
            "threads cannot share: call linkback.run_until_idle(), or set LINKBACK_RUNNER to 'inline'."
        )


def check_runner(runner: str) -> None:
    """Refuse a runner that does not exist yet."""
    if runner == "celery":
        raise ConfigError("LINKBACK_RUNNER 'celery' does not exist yet: use 'thread' or 'external'.")
