"""A worker hears at once of what somebody committed, and costs nothing while nobody does."""

from __future__ import annotations

import contextlib
import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_linkback.outbox import jobs, wakeup, worker
from flask_linkback.outbox.wakeup import Bell, in_memory, watcher_for
from tests.apps import Blog
from tests.conftest import cut_off
from tests.outbox.helpers import (
    WORKER,
    all_done,
    noted,
    owe,
    process,
    wait_for_worker,
    wait_until,
    working,
)

# --- the bell ----------------------------------------------------------------------------------------


def test_a_bell_tells_rings_from_nudges_and_forgets_none() -> None:
    bell = Bell()
    assert bell.wait(0) is False
    assert bell.wait(-1) is False
    bell.ring()
    bell.nudge()
    bell.ring()
    assert sorted([bell.wait(0), bell.wait(0)]) == [False, True]
    began = time.monotonic()
    assert bell.wait(0.05) is False
    assert time.monotonic() - began >= 0.05


def test_a_bell_that_nobody_hears_does_not_grow() -> None:
    bell = Bell()
    for _ in range(1000):
        bell.ring()
        bell.nudge()
    assert bell._queue.qsize() == 2


def test_no_ring_is_lost_between_threads() -> None:
    bell, lock = Bell(), threading.Lock()
    total = seen = 0

    def ring() -> None:
        nonlocal total
        for _ in range(2000):
            with lock:
                total += 1
            bell.ring()

    threads = [threading.Thread(target=ring) for _ in range(4)]
    for thread in threads:
        thread.start()
    while seen < 8000:
        assert bell.wait(10)
        seen = total
    for thread in threads:
        thread.join(10)


def test_a_signal_handler_may_ring_wherever_it_interrupts() -> None:
    bell = Bell()
    before = signal.signal(signal.SIGALRM, lambda *_: bell.ring())
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        rings = sum(bell.wait(0.01) for _ in range(2000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rings > 100


# --- watchers ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def watching(blog: Blog) -> Iterator[Bell]:
    bell = Bell()
    watcher = watcher_for(blog.site.engine, bell, threading.Lock(), lambda: True)
    assert watcher is not None
    watcher.start()
    try:
        assert bell.wait(10), "it rings when it begins: something may be there already"
        yield bell
    finally:
        began = time.monotonic()
        watcher.stop()
        assert not watcher._thread.is_alive()
        assert time.monotonic() - began < 2


def test_a_watcher_rings_when_another_connection_commits_jobs(blog: Blog) -> None:
    with watching(blog) as bell:
        session = blog.db.session()
        for _ in range(3):
            jobs.add(session, [jobs.NewJob(kind="a")])
            assert not bell.wait(0.1)
            session.commit()
            assert bell.wait(10)
            jobs.add(session, [jobs.NewJob(kind="a")])
            session.rollback()
            assert not bell.wait(0.1)


def looks_per_second(blog: Blog, *, expected: bool) -> float:
    """How often a watcher looks."""
    asked: list[bool] = []

    def is_expected() -> bool:
        asked.append(expected)
        return expected

    with blog.app.app_context():
        watcher = watcher_for(blog.site.engine, Bell(), threading.Lock(), is_expected)
    assert watcher is not None
    watcher.start()
    began = time.monotonic()
    wait_until(lambda: len(asked) > 20)
    watcher.stop()
    return 20 / (time.monotonic() - began)


def test_sqlite_is_looked_at_more_often_while_more_is_expected(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = blogs(sqlite_url)
    assert looks_per_second(blog, expected=True) > 2 * looks_per_second(blog, expected=False)


def test_replaying_and_leaning_on_a_waiting_job_ring_too(blog: Blog) -> None:
    session = blog.db.session()
    jobs.add_dead(session, jobs.NewJob(kind="a"), "odd")
    jobs.add_once(session, jobs.NewJob(kind="a", key="k"))
    session.commit()
    with watching(blog) as bell:
        jobs.replay(session, 1)
        session.commit()
        assert bell.wait(10)
        assert not jobs.add_once(session, jobs.NewJob(kind="a", key="k"))
        blog.db.session.add(blog.Post(slug="x"))
        session.commit()
        assert bell.wait(10)


def test_a_watcher_connects_again(
    blog: Blog, only_postgresql: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wakeup, "_RECONNECT_SECONDS", 0.01)
    engine = blog.site.engine
    with watching(blog) as bell:
        pooled = engine.pool.checkedout()
        server = sa.create_engine(engine.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with server.connect() as connection:
            blog.db.session.remove()
            cut_off(connection)
        server.dispose()
        engine.dispose()
        assert bell.wait(10)
        owe(blog, "a")
        assert bell.wait(10)
        assert engine.pool.checkedout() <= pooled
    (record,) = caplog.records
    assert record.getMessage().startswith("Polling, for the wake-up connection is lost: ")


def test_a_watcher_of_sqlite_bears_that_somebody_writes(
    blogs: Callable[..., Blog], sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    blog = blogs(sqlite_url, content=None, RUNNER="off")
    with blog.app.app_context(), watching(blog) as bell, blog.site.engine.connect() as other:
        other.exec_driver_sql("BEGIN EXCLUSIVE")
        assert not bell.wait(0.1)
        other.exec_driver_sql("INSERT INTO post (slug, title, html, closed) VALUES ('a', '', '', 0)")
        other.commit()
        assert bell.wait(10)
    assert caplog.records == []


def test_which_databases_live_in_memory(tmp_path: Path) -> None:
    memory = ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&cache=shared&uri=true"]
    for url in memory:
        engine = sa.create_engine(url, poolclass=sa.StaticPool)
        assert in_memory(engine), url
        assert watcher_for(engine, Bell(), threading.Lock(), lambda: True) is None
    assert not in_memory(sa.create_engine(f"sqlite:///{tmp_path}/x.db"))
    assert not in_memory(sa.create_engine("postgresql+psycopg://localhost/x"))


# --- from process to process -------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have used so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def test_an_idle_worker_of_another_process_starts_a_job_within_50_ms(
    blog: Blog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best of five rounds, for other programs use this machine, too."""
    latencies, shares = [math.inf], [math.inf]
    log = tmp_path / "log"
    never = threading.Event()
    with process(blog, log, *WORKER) as other:
        wait_for_worker(blog, other.pid)
        for _ in range(5):
            late = sorted(latency(blog, log, never, n) for n in range(40))
            p50, p95 = statistics.median(late), statistics.quantiles(late, n=20)[-1]
            never.wait(1)
            began, used = time.monotonic(), cpu_seconds(other.pid)
            never.wait(2)
            share = (cpu_seconds(other.pid) - used) / (time.monotonic() - began)
            with capsys.disabled():
                print(
                    f"\n{blog.site.engine.dialect.name}: from commit to start in another process "
                    f"p50 {1000 * p50:.1f} ms, p95 {1000 * p95:.1f} ms; idle {100 * share:.2f} % of a core"
                )
            latencies.append(p95)
            shares.append(share)
            if min(latencies) < 0.05 and min(shares) < 0.01:
                break
    assert min(latencies) < 0.05
    assert min(shares) < 0.01


def latency(blog: Blog, log: Path, never: threading.Event, n: int) -> float:
    """Commit a job, and return after how many seconds it started."""
    never.wait(0.02 + n % 7 / 200)  # out of step with whoever looks regularly
    count = len(noted(log))
    owe(blog, "note")
    committed = time.time()
    wait_until(lambda: len(noted(log)) > count, every=0.002)
    return max(0.0, noted(log)[-1]["at"] - committed)


def test_a_worker_that_hears_nothing_polls(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "watcher_for", lambda *_: None)
    monkeypatch.setattr(worker, "POLL_SECONDS", (0.1, 0.3))
    blog.site.handlers["a"] = lambda site, claim: jobs.done()
    with working(blog):
        owe(blog, "a")
        wait_until(lambda: all_done(blog.site))
