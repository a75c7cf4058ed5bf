"""The tables and the worker, by command."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.models import Base, Job, JobState, Link, LinkState
from flask_linkback.models import Worker as WorkerRow
from flask_linkback.outbox import jobs
from flask_linkback.outbox.worker import Runner
from flask_linkback.protocols import xmlrpc
from tests.apps import Blog
from tests.cli.commands import ended, run
from tests.neighbours import Neighbour, Request, Wire, no_threads_left
from tests.outbox.helpers import wait_until

Start = Callable[..., "subprocess.Popen[str]"]


def tell(blog: Blog, *targets: str, **values: Any) -> None:
    """Publish /post/one with these targets."""
    with blog.app.app_context():
        blog.linkback.publish("/post/one", targets=targets)
        blog.db.session.commit()


def states(blog: Blog) -> list[LinkState]:
    with blog.app.app_context():
        return list(blog.db.session.scalars(sa.select(Link.state).order_by(Link.id)))


def members(blog: Blog) -> set[int]:
    """The processes of the workers that live, as the database knows them."""
    with blog.app.app_context():
        pids = set(blog.db.session.scalars(sa.select(WorkerRow.pid)))
        blog.db.session.rollback()
    return pids


def friendly(neighbour: Neighbour) -> None:
    """Let a neighbour have a page at / that accepts pingbacks."""
    neighbour.answer("/", headers=[("X-Pingback", neighbour.url("/xmlrpc"))])
    neighbour.answer("/xmlrpc", body=xmlrpc.dump_response("Thanks."))


# --- init-db -----------------------------------------------------------------------------------------


def test_init_db_creates_what_is_missing_and_leaves_the_rest(
    blogs: Callable[..., Blog], database_url: str
) -> None:
    blog = blogs(database_url)
    with blog.app.app_context():
        Base.metadata.tables["linkback_audit"].drop(blog.db.engine)
        Base.metadata.tables["linkback_job"].drop(blog.db.engine)
    ran = run(blog, "init-db")
    assert (ran.status, ran.stdout.startswith("Created 2 tables in ")) == (0, True)
    assert "password" not in ran.stdout
    with blog.app.app_context():
        assert sa.inspect(blog.db.engine).has_table("linkback_audit")
    assert run(blog, "init-db").stdout.startswith("The tables are in ")
    assert run(blog, "init-db", "--json").json["created"] == []


def test_init_db_says_that_it_adds_no_columns(blog: Blog) -> None:
    with blog.app.app_context(), blog.db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE linkback_job DROP COLUMN reason"))
    ran = run(blog, "init-db")
    assert ran.status == 1
    assert "lacks the column linkback_job.reason" in ran.stderr
    assert "'flask db upgrade'" in ran.stderr


# --- worker ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["thread", "external", "inline", "off"])
def test_worker_once_does_what_is_due_and_says_how_much(
    blogs: Callable[..., Blog], database_url: str, runner: str
) -> None:
    blog = blogs(database_url, RUNNER="off")
    with no_threads_left(), Neighbour() as neighbour:
        friendly(neighbour)
        tell(blog, neighbour.url("/"), neighbour.url("/nothing"))
        worker = blogs(database_url, RUNNER=runner, testing=False)
        ran = run(worker, "worker", "--once")
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.stdout == "3 jobs done.\n"  # publishing the page, then telling each of its targets
    assert states(blog) == [LinkState.sent, LinkState.refused]
    with blog.app.app_context():
        assert blog.db.session.scalar(sa.select(sa.func.count()).select_from(WorkerRow)) == 0


def test_worker_once_tells_programs_what_became_of_the_jobs(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = blogs(sqlite_url, RUNNER="off", RETRY_SCHEDULE=[0, 100])
    with Neighbour() as neighbour:
        friendly(neighbour)
        neighbour.answer("/broken", status=500)
        tell(blog, neighbour.url("/"), neighbour.url("/broken"))
        with blog.app.app_context():
            jobs.add(blog.db.session, [jobs.NewJob(kind="unheard_of")])
            blog.db.session.commit()
        ran = run(blog, "worker", "--once", "--json")
        assert ran.json["jobs"] == {"done": 2, "again": 1, "later": 0, "dead": 1}
        assert ran.json["seconds"] > 0
        with blog.app.app_context():
            blog.db.session.execute(
                sa.update(Job).where(Job.state == JobState.pending).values(due_at=blog.site.now())
            )
            blog.db.session.commit()
        assert run(blog, "worker", "--once", "--threads", "1").stdout == "0 jobs done, 1 given up.\n"
    assert states(blog) == [LinkState.sent, LinkState.given_up]


def test_worker_leaves_no_embedded_worker_beside_it(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    """A job that adds jobs commits in a thread that no command is known of."""
    blog = blogs(sqlite_url, testing=False, RUNNER="thread")
    names: list[str] = []

    def add_another(site: Any, claim: Any) -> jobs.Outcome:
        jobs.add(site.session, [jobs.NewJob(kind="look_round")])
        site.session.commit()
        return jobs.done()

    def look_round(site: Any, claim: Any) -> jobs.Outcome:
        names.extend(thread.name for thread in threading.enumerate())
        return jobs.done()

    blog.site.handlers |= {"add_another": add_another, "look_round": look_round}
    with blog.app.app_context(), blog.site.get(Runner).taken():
        jobs.add(blog.db.session, [jobs.NewJob(kind="add_another")])
        blog.db.session.commit()
    with no_threads_left():
        assert run(blog, "worker", "--once").stdout == "2 jobs done.\n"
    assert "linkback-worker" not in names
    assert any(name.startswith("linkback-sender") for name in names)


class Gate:
    """A page that answers when it is told to."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, request: Request, wire: Wire) -> None:
        while not self.open.is_set():
            wire.pause(0.01)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("options", "processes", "said"),
    [
        ((), 1, "8 threads"),
        (("--processes", "2", "--threads", "3"), 2, "2 processes of 3 threads each"),
    ],
    ids=["one", "two"],
)
def test_a_signal_lets_the_worker_finish_what_runs(
    blogs: Callable[..., Blog],
    database_url: str,
    start: Start,
    options: tuple[str, ...],
    processes: int,
    said: str,
    number: signal.Signals,
) -> None:
    blog = blogs(database_url, RUNNER="external")
    gate = Gate()
    with Neighbour() as neighbour:
        neighbour.route("/slow", gate)
        process = start({"database_url": database_url, "RUNNER": "external"}, "worker", *options)
        wait_until(lambda: len(members(blog)) == processes, 30)
        tell(blog, neighbour.url("/slow"))
        neighbour.wait_for(1)
        process.send_signal(number)
        assert process.stderr is not None
        assert process.stderr.readline() == "Finishing what runs; once more ends at once.\n"
        gate.open.set()
        ran = ended(process)
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.lines == [f"Working with {said}; Ctrl-C ends.", "2 jobs done."]
    assert states(blog) == [LinkState.unsupported]
    assert members(blog) == set()
    with blog.app.app_context():
        assert set(blog.db.session.scalars(sa.select(Job.state))) == {JobState.done}


def test_a_second_signal_ends_the_worker_at_once(
    blogs: Callable[..., Blog], sqlite_url: str, start: Start
) -> None:
    blog = blogs(sqlite_url, RUNNER="external")
    with Neighbour() as neighbour:
        neighbour.route("/slow", Gate())
        process = start({"database_url": sqlite_url, "RUNNER": "external"}, "worker", "--json")
        tell(blog, neighbour.url("/slow"))
        neighbour.wait_for(1)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert ended(process, seconds=5).status == -signal.SIGINT
    with blog.app.app_context():  # nothing is lost: the claim runs out, and the job is done again
        assert blog.db.session.scalar(sa.select(Job.state).where(Job.host != "")) is JobState.running


def test_an_idle_worker_ends_at_once(database_url: str, start: Start) -> None:
    process = start({"database_url": database_url}, "worker", "--threads", "1")
    assert process.stdout is not None
    assert process.stdout.readline() == "Working with 1 thread; Ctrl-C ends.\n"
    process.send_signal(signal.SIGTERM)
    ran = ended(process, seconds=5)
    assert (ran.status, ran.stdout) == (0, "0 jobs done.\n")


@pytest.mark.parametrize(
    ("options", "lower"), [((), {"postgresql": 10}), (("--nice", "3"), {"postgresql": 3, "sqlite": 3})]
)
def test_a_worker_lets_others_go_first(
    blogs: Callable[..., Blog],
    database_url: str,
    start: Start,
    options: tuple[str, ...],
    lower: dict[str, int],
) -> None:
    process = start({"database_url": database_url}, "worker", *options)
    assert process.stdout is not None
    process.stdout.readline()
    ours, theirs = (os.getpriority(os.PRIO_PROCESS, pid) for pid in (0, process.pid))
    assert theirs == min(19, ours + lower.get(database_url.partition(":")[0].partition("+")[0], 0))
    process.send_signal(signal.SIGTERM)
    assert ended(process).status == 0


# --- several processes -------------------------------------------------------------------------------


def test_several_processes_share_what_is_due(
    blogs: Callable[..., Blog], database_url: str, start: Start
) -> None:
    blog = blogs(database_url, RUNNER="external")
    with Neighbour() as neighbour:
        friendly(neighbour)
        tell(blog, neighbour.url("/"), neighbour.url("/nothing"))
        options = ("--once", "--processes", "3", "--json")
        ran = ended(start({"database_url": database_url, "RUNNER": "external"}, "worker", *options))
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.json["jobs"] == {"done": 3, "again": 0, "later": 0, "dead": 0}
    assert states(blog) == [LinkState.sent, LinkState.refused]
    assert members(blog) == set()


def test_a_process_that_dies_is_replaced(blogs: Callable[..., Blog], sqlite_url: str, start: Start) -> None:
    blog = blogs(sqlite_url, RUNNER="external")
    process = start({"database_url": sqlite_url, "RUNNER": "external"}, "worker", "--processes", "2")
    wait_until(lambda: len(members(blog)) == 2, 30)
    first, second = members(blog)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(members(blog)) == 3, 30)  # the dead one's row stays for a while
    (third,) = members(blog) - {first, second}
    assert third != process.pid
    process.send_signal(signal.SIGTERM)
    ran = ended(process)
    assert (ran.status, ran.lines[-1]) == (0, "0 jobs done.")
    assert "A worker's process ended with -9." in ran.stderr


@pytest.mark.parametrize("how", [[signal.SIGKILL], [signal.SIGTERM, signal.SIGTERM]])
def test_processes_end_with_their_parent(
    blogs: Callable[..., Blog], sqlite_url: str, start: Start, how: list[signal.Signals]
) -> None:
    """Killed, it leaves them to finish what runs; a second signal ends all of them at once."""
    blog = blogs(sqlite_url, RUNNER="external")
    gate = Gate()
    with Neighbour() as neighbour:
        neighbour.route("/slow", gate)
        process = start({"database_url": sqlite_url, "RUNNER": "external"}, "worker", "--processes", "2")
        wait_until(lambda: len(members(blog)) == 2, 30)
        pids = list(members(blog))
        tell(blog, neighbour.url("/slow"))
        neighbour.wait_for(1)
        *before, last = how
        for number in before:
            process.send_signal(number)
            assert process.stderr is not None
            process.stderr.readline()  # two that come together are one
        process.send_signal(last)
        assert process.wait(10) == -last
        if how == [signal.SIGKILL]:
            gate.open.set()
        wait_until(lambda: not any(map(lives, pids)), 10)
        gate.open.set()
    with blog.app.app_context():
        state = blog.db.session.scalar(sa.select(Job.state).where(Job.host != ""))
    assert state is (JobState.done if how == [signal.SIGKILL] else JobState.running)


def lives(pid: int) -> bool:
    """Does a process run? Nobody may have asked yet how one of a parent that is gone has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_that_dies_at_its_work_is_told_of(
    blogs: Callable[..., Blog], sqlite_url: str, start: Start
) -> None:
    blog = blogs(sqlite_url, RUNNER="external")
    gate = Gate()
    with Neighbour() as neighbour:
        neighbour.route("/slow", gate)
        tell(blog, neighbour.url("/slow"))
        options = ("--once", "--processes", "2")
        process = start({"database_url": sqlite_url, "RUNNER": "external"}, "worker", *options)
        neighbour.wait_for(1)
        wait_until(lambda: len(members(blog)) == 1, 30)  # the other one has nothing to do
        os.kill(*members(blog), signal.SIGKILL)
        ran = ended(process)
        gate.open.set()
    assert ran.status == 1
    assert "1 of 2 processes died; what they had in hand is done again" in ran.stderr


def test_celery_is_refused_with_one_sentence(sqlite_url: str, start: Start) -> None:
    ran = ended(start({"database_url": sqlite_url, "RUNNER": "celery"}, "worker", "--once"))
    assert ran.status != 0
    assert "LINKBACK_RUNNER 'celery' does not exist yet: use 'thread' or 'external'." in ran.stderr


def test_worker_refuses_a_database_in_memory(blogs: Callable[..., Blog]) -> None:
    ran = run(blogs("sqlite://"), "worker", "--once")
    assert ran.status == 1
    assert ran.stderr.startswith("Error: This database lives in the memory of one process")


# --- memory ----------------------------------------------------------------------------------------------

HEAPS = """
import ctypes, sys, threading
from flask_linkback.cli.outbox import share_memory

share_memory()
gate = threading.Barrier(9)

def work():
    kept = bytearray(10_000)
    gate.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
gate.wait()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
told = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, told)
libc.fclose(told)
"""


@pytest.mark.parametrize(("arenas", "heaps"), [(None, 2), ("3", 3)])
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="Other C libraries have no heaps of threads.")
def test_the_threads_of_a_worker_share_their_heaps(tmp_path: Path, arenas: str | None, heaps: int) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MALLOC_ARENA_MAX"}
    if arenas is not None:
        environment["MALLOC_ARENA_MAX"] = arenas
    told = tmp_path / "heaps.xml"
    subprocess.run([sys.executable, "-c", HEAPS, str(told)], env=environment, check=True, timeout=60)
    assert told.read_text().count("<heap nr=") == heaps
