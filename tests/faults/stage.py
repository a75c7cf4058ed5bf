"""Stage: a database, a receiver and the processes that work between them, for one experiment."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from flask_linkback.models import Job, JobState, Link, LinkState
from flask_linkback.outbox import jobs
from tests.apps import Blog, make_blog
from tests.faults import served
from tests.faults.receiver import Receiver
from tests.faults.report import Stuck, pause, until

ROOT: Final = Path(__file__).parents[2]
POSTGRESQL: Final = os.environ.get("LINKBACK_TEST_POSTGRESQL")
DATABASES: Final = ("sqlite", "postgresql")

# a server that has imported everything, and forks: a new process is there at once
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.faults.served", "psycopg", "pytest"])


@contextlib.contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """A fresh database, as a URL; dropped afterwards."""
    name = f"linkback_{uuid.uuid4().hex}"
    if kind == "sqlite":
        yield f"sqlite:///{folder}/{name}.db"
        return
    assert POSTGRESQL is not None
    server = sa.create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    try:
        yield sa.make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        server.dispose()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the diary."""

    what: str
    job_id: int
    attempt: int
    pid: int
    at: float


class Stage:
    """What an experiment is made of; everything it started is gone when it ends."""

    def __init__(
        self,
        kind: str,
        *,
        receiver: Receiver | None = None,
        lease: float | None = None,
        threads: int = 8,
        content: str | None = None,
        **settings: Any,
    ) -> None:
        self.kind = kind
        self.receiver = receiver or Receiver()
        self.lease = lease or jobs.LEASE_SECONDS
        self.random = random.Random(20260101)
        self._stack = contextlib.ExitStack()
        self._lease = lease
        self._threads = threads
        self._content = content
        self._settings = settings
        self._processes: list[ForkServerProcess] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="linkback-faults-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self.folder = folder
            self.log = str(folder / "processes.log")
            self.diary_file = folder / "diary"
            self.url = stack.enter_context(database(self.kind, folder))
            self.blog: Blog = make_blog(self.url, content=self._content, RUNNER="external", **self._settings)
            stack.callback(self.blog.close)
            stack.enter_context(self.receiver)
            stack.callback(self._end_processes)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # --- what is owed --------------------------------------------------------------------------------

    def owe_notes(self, count: int, *, start: int = 0) -> list[str]:
        """Commit jobs that tell the receiver's hosts in turn, and return their ids."""
        numbers = range(start, start + count)
        with self.blog.app.app_context():
            session = self.blog.db.session()
            jobs.add(session, map(self._note, numbers))
            session.commit()
        return [f"note-{number}" for number in numbers]

    def _note(self, number: int) -> jobs.NewJob:
        host = self.receiver.hosts[number % len(self.receiver.hosts)].partition(":")[0]
        payload = {"id": f"note-{number}", "url": self.receiver.url("/note", number)}
        return jobs.NewJob(kind="note", payload=payload, host=host)

    def owe_links(self, count: int, *, of_a_page: int = 50, start: int = 0) -> list[str]:
        """Publish pages with so many links in all, and return what the receiver is to be told."""
        ids = [f"link-{number}" for number in range(start, start + count)]
        with self.blog.app.app_context():
            for first in range(0, count, of_a_page):
                some = ids[first : first + of_a_page]
                targets = [
                    self.receiver.url(f"/page/{each}", first + offset) for offset, each in enumerate(some)
                ]
                self.blog.linkback.publish(f"/told/{start}-{first}", targets=targets)
            self.blog.db.session.commit()
        return ids

    # --- processes -----------------------------------------------------------------------------------

    def served_settings(self, **more: Any) -> dict[str, Any]:
        blog = {
            "database_url": self.url,
            "content": self._content,
            "testing": False,
            "RUNNER": "external",
            **self._settings,
            **more,
        }
        diary = str(self.diary_file)
        return {"blog": blog, "diary": diary, "lease": self._lease, "threads": self._threads}

    def worker(self, **settings: Any) -> ForkServerProcess:
        """Start a ``flask linkback worker``."""
        return self._start(served.work, self.served_settings(**settings), self.log)

    def workers_once(self, count: int) -> list[ForkServerProcess]:
        """Start workers that begin together and end when nothing is due."""
        self._gate = _forks.Barrier(count)  # which would be gone if nobody here knew it
        settings = self.served_settings()
        return [self._start(served.work_once, settings, self.log, self._gate) for _ in range(count)]

    def run(self, target: Callable[..., None], *args: Any) -> ForkServerProcess:
        """Call a function in a process of its own."""
        return self._start(served.begin, self.log, target, *args)

    def _start(self, target: Any, *args: Any) -> ForkServerProcess:
        process = _forks.Process(target=target, args=args, daemon=True)
        process.start()
        self._processes.append(process)
        return process

    def _end_processes(self) -> None:
        for process in self._processes:
            if process.is_alive():
                process.kill()  # also one that is stopped
        for process in self._processes:
            process.join(10)
            process.close()

    @contextlib.contextmanager
    def web(self, *, workers: int, threads: int, **settings: Any) -> Iterator[str]:
        """Serve the blog by gunicorn; the value is its base URL."""
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
            base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            more = settings.pop("more", {})
            served_settings = {**self.served_settings(base_url=base_url, **settings), **more}
            command = [sys.executable, "-m", "gunicorn", "--preload", "--bind", f"fd://{listener.fileno()}"]
            command += ["--workers", str(workers), "--threads", str(threads), "--log-file", self.log]
            environment = {**os.environ, served.ENVIRONMENT: json.dumps(served_settings)}
            gunicorn = subprocess.Popen(
                [*command, "--no-control-socket", "tests.faults.served:wsgi()"],
                cwd=ROOT,
                env=environment,
                pass_fds=[listener.fileno()],
            )
            try:
                yield base_url
            finally:
                gunicorn.send_signal(signal.SIGTERM)
                try:
                    gunicorn.wait(40)
                except subprocess.TimeoutExpired:
                    gunicorn.kill()
                    gunicorn.wait(10)

    # --- what is known -------------------------------------------------------------------------------

    def rows(self, statement: Any) -> Sequence[Any]:
        """Ask the database, in a transaction that ends with the question."""
        with self.blog.app.app_context():
            return self.blog.db.session.execute(statement).all()

    def is_locked(self) -> bool:
        """Is somebody in the middle of a transaction, and not only for a moment?"""
        if self.kind == "postgresql":
            before = self._transactions()
            pause(0.2)
            return bool(before & self._transactions())
        path = sa.make_url(self.url).database or ""
        with contextlib.closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
        return False

    def _transactions(self) -> set[tuple[int, Any]]:
        others = "SELECT pid, xact_start FROM pg_stat_activity WHERE datname = current_database() "
        others += "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        return {tuple(row) for row in self.rows(sa.text(others))}

    def states(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        counted = self.rows(sa.select(Job.state, sa.func.count()).group_by(Job.state))
        return {state.value: 0 for state in JobState} | {state.value: count for state, count in counted}

    def wait_until_final(self, seconds: float) -> float:
        """Wait until no job is owed any more; return how long that took."""
        began = time.monotonic()

        def is_final() -> bool:
            states = self.states()
            return states["pending"] + states["running"] == 0

        try:
            until(is_final, seconds, "every job final", every=0.1)
        except Stuck as stuck:
            raise Stuck(f"{stuck} {self.states()} {self.said()}") from None
        return time.monotonic() - began

    def lost(self, accepted: int) -> int:
        """Return how many of the accepted notes and pages, and of the links of these, nobody accounts for.

        Accounted for is what is done, dead or refused with its reason, or still due. A page that was
        expanded twice may have two jobs for one link: links are counted by their own rows.
        """
        due = Job.state.in_((JobState.pending, JobState.running))
        dead = sa.and_(Job.state == JobState.dead, Job.reason != "")
        done = Job.state == JobState.done
        no_work = ("send_link", jobs.BURY)
        jobs_of_their_own = sa.select(sa.func.count()).where(Job.kind.not_in(no_work), due | dead | done)
        ended = sa.or_(
            Link.state == LinkState.sent,
            sa.and_(Link.state != LinkState.waiting, Link.reason != ""),
        )
        owed = sa.exists().where(Job.key == Link.key, due | dead)
        forgotten = sa.select(sa.func.count()).where(~ended, ~owed)
        ((accounted,),), ((links,),) = self.rows(jobs_of_their_own), self.rows(forgotten)
        return int(accepted - accounted + links)

    def diary(self) -> list[Entry]:
        """Read what the processes wrote of their jobs; what died in the middle of a line said nothing."""
        lines = self.diary_file.read_text().splitlines() if self.diary_file.exists() else []
        entries = []
        for line in lines:
            what, job_id, attempt, pid, at = line.split()
            entries.append(
                Entry(what=what, job_id=int(job_id), attempt=int(attempt), pid=int(pid), at=float(at))
            )
        return entries

    def said(self, last: int = 3) -> str:
        """The last lines of what the processes said."""
        log = Path(self.log)
        return " / ".join(log.read_text().splitlines()[-last:]) if log.exists() else ""
