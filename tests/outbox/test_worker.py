"""A worker claims jobs, lets threads do them and settles them, whatever happens round it."""

from __future__ import annotations

import logging
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import models
from flask_linkback.errors import ConfigError
from flask_linkback.models import Job, JobState
from flask_linkback.outbox import jobs, worker
from flask_linkback.outbox.desk import AHEAD_AT_MOST
from flask_linkback.outbox.health import health
from flask_linkback.outbox.jobs import Claim, NewJob, Outcome
from flask_linkback.outbox.worker import Worker, drain
from flask_linkback.site import Site
from tests.apps import Blog
from tests.conftest import cut_off
from tests.outbox.helpers import (
    WORKER,
    all_done,
    all_jobs,
    noted,
    owe,
    process,
    states,
    the_job,
    wait_until,
    working,
)
from tests.thorough import usual


def work_off(blog: Blog, **options: Any) -> Worker:
    """Let a worker do what is due."""
    worker = Worker(blog.site, runner="once", **options)
    worker.run(once=True)
    return worker


# --- handlers ----------------------------------------------------------------------------------------


def test_each_job_has_a_context_and_a_session_of_its_own(blog: Blog) -> None:
    sessions: list[Any] = []

    def handle(site: Site, claim: Claim) -> Outcome:
        sessions.append(blog.db.session())
        blog.db.session.add(blog.Post(slug=f"by-{claim.payload['n']}"))
        blog.db.session.commit()
        return jobs.done()

    blog.site.handlers["post"] = handle
    owe(blog, "post", 3)
    assert work_off(blog, threads=1).tally == {"done": 3, "again": 0, "later": 0, "dead": 0}
    assert len({id(session) for session in sessions}) == 3
    assert blog.db.session() not in sessions
    assert blog.db.session.scalar(sa.select(sa.func.count()).select_from(blog.Post)) == 3


def add_and_go(blog: Blog) -> None:
    blog.db.session.add(blog.Post(slug="added"))


def flush_and_go(blog: Blog) -> None:
    blog.db.session.add(blog.Post(slug="flushed"))
    blog.db.session.flush()


def execute_and_go(blog: Blog) -> None:
    blog.db.session.execute(sa.insert(blog.Post.__table__).values(slug="x", title="", html="", closed=False))


@pytest.mark.parametrize("leave", [add_and_go, flush_and_go, execute_and_go])
def test_what_a_handler_leaves_uncommitted_is_dropped_and_logged(
    blog: Blog, caplog: pytest.LogCaptureFixture, leave: Callable[[Blog], None]
) -> None:
    def handle(site: Site, claim: Claim) -> Outcome:
        leave(blog)
        return jobs.done()

    blog.site.handlers["leave"] = handle
    owe(blog, "leave")
    work_off(blog)
    assert blog.db.session.scalars(sa.select(blog.Post)).all() == []
    (record,) = caplog.records
    assert record.getMessage().startswith("Uncommitted changes of a handler or receiver are dropped")
    assert (record.kind, record.job_id) == ("leave", 1)  # type: ignore[attr-defined]
    assert all_done(blog.site)


def test_what_a_handler_commits_or_only_reads_is_no_matter(
    blog: Blog, caplog: pytest.LogCaptureFixture
) -> None:
    def handle(site: Site, claim: Claim) -> Outcome:
        if claim.payload["n"] == 0:
            blog.db.session.add(blog.Post(slug="kept"))
            blog.db.session.commit()
        if claim.payload["n"] == 1:
            flush_and_go(blog)
            blog.db.session.rollback()
        blog.db.session.scalars(sa.select(blog.Post)).all()
        return jobs.done()

    blog.site.handlers["read"] = handle
    owe(blog, "read", 3)
    work_off(blog)
    assert caplog.records == []
    assert [post.slug for post in blog.db.session.scalars(sa.select(blog.Post))] == ["kept"]


class Bad(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Bad("odd\0"), "Bad: odd"), (SystemExit(3), "SystemExit: 3"), (Bad("x" * 999), "Bad: " + "x" * 195)],
)
def test_a_handler_that_raises_costs_an_attempt_and_not_the_worker(
    blog: Blog, caplog: pytest.LogCaptureFixture, error: BaseException, reason: str
) -> None:
    def handle(site: Site, claim: Claim) -> Outcome:
        if claim.payload["n"] == 0:
            raise error
        return jobs.done()

    blog.site.handlers["bad"] = handle
    owe(blog, "bad", 3)
    assert work_off(blog, threads=1).tally == {"done": 2, "again": 1, "later": 0, "dead": 0}
    job = all_jobs(blog.site)[0]
    assert (job.state, job.attempts, job.reason) == (JobState.pending, 1, reason)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "A job of kind bad raised.")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_handler_must_say_what_became_of_the_job(blog: Blog) -> None:
    blog.site.handlers["mute"] = lambda site, claim: None
    owe(blog, "mute")
    work_off(blog)
    assert the_job(blog.site).reason == "TypeError: The handler of 'mute' returned None, not an Outcome."


def test_a_job_that_nobody_handles_is_dead(blog: Blog) -> None:
    owe(blog, "unheard_of")
    work_off(blog)
    job = the_job(blog.site)
    assert (job.state, job.reason) == (JobState.dead, "Nobody handles jobs of kind 'unheard_of'.")


def test_a_job_is_dead_after_its_last_attempt(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url, content=None, RUNNER="off", RETRY_SCHEDULE=(0, 0, 0))
    last: list[bool] = []

    def handle(site: Site, claim: Claim) -> Outcome:
        last.append(claim.is_last)
        return jobs.again("no luck")

    blog.site.handlers["fail"] = handle
    owe(blog, "fail")
    assert work_off(blog).tally == {"done": 0, "again": 2, "later": 0, "dead": 1}
    assert last == [False, False, True]
    job = the_job(blog.site)
    assert (job.state, job.reason, job.attempts) == (JobState.dead, "no luck", 3)


# --- once, and in this thread ------------------------------------------------------------------------


def test_once_does_all_that_is_due_and_no_more(blog: Blog) -> None:
    def spread(site: Site, claim: Claim) -> Outcome:
        if claim.payload["n"] < 3:
            added = [NewJob(kind="spread", payload={"n": claim.payload["n"] + 1}, host="h") for _ in "ab"]
            jobs.add(site.session, added)
            site.session.commit()
        return jobs.done()

    blog.site.handlers |= {"spread": spread, "fail": lambda site, claim: jobs.again("not now")}
    owe(blog, "spread", host="h")
    owe(blog, "fail")
    jobs.add(blog.db.session(), [NewJob(kind="spread", due_at=blog.site.now() + timedelta(hours=1))])
    blog.db.session.commit()
    assert work_off(blog).tally == {"done": 15, "again": 1, "later": 0, "dead": 0}
    assert states(blog.site) == {"done": 15, "pending": 2}
    assert work_off(blog).tally == {"done": 0, "again": 0, "later": 0, "dead": 0}


def test_run_until_idle_does_what_is_due_in_this_thread(blog: Blog) -> None:
    threads: set[int] = set()

    def handle(site: Site, claim: Claim) -> Outcome:
        threads.add(threading.get_ident())
        if claim.payload["n"] == 0:
            owe(blog, "more", 3)
        return jobs.again("once more") if claim.payload["n"] == 1 else jobs.done()

    blog.site.handlers["more"] = lambda site, claim: jobs.done()
    blog.site.handlers["a"] = handle
    owe(blog, "a", 3)
    assert blog.linkback.run_until_idle() == 6
    assert threads == {threading.get_ident()}
    assert states(blog.site) == {"done": 5, "pending": 1}
    assert blog.linkback.run_until_idle() == 0
    owe(blog, "more", 3)
    assert drain(blog.site, limit=2) == 2
    assert states(blog.site) == {"done": 7, "pending": 2}


def test_a_database_in_memory_has_no_worker(blogs: Callable[..., Blog]) -> None:
    blog = blogs("sqlite://", content=None, RUNNER="off")
    with pytest.raises(ConfigError, match="run_until_idle"):
        work_off(blog)


# --- hosts -------------------------------------------------------------------------------------------


class Crowd:
    """Counts who is inside at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inside: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.open = threading.Event()

    def __call__(self, site: Site, claim: Claim) -> Outcome:
        with self._lock:
            self.inside[claim.host] += 1
            self.most[claim.host] = max(self.most[claim.host], self.inside[claim.host])
        held = claim.host.startswith("dead")
        if held:
            self.open.wait(60)
        with self._lock:
            self.inside[claim.host] -= 1
        return jobs.again("It never answered.") if held else jobs.done()


def test_a_dead_neighbour_delays_nobody(blog: Blog) -> None:
    """40 jobs of a host that never answers are due before 40 of hosts that do."""
    crowd = Crowd()
    blog.site.handlers["send"] = crowd
    owe(blog, "send", 40, host="dead.example")
    for n in range(40):
        owe(blog, "send", host=f"healthy-{n % 4}.example")
    began = time.monotonic()
    with working(blog, threads=8) as work:
        wait_until(lambda: states(blog.site).get("done") == 40)
        took = time.monotonic() - began
        assert crowd.inside["dead.example"] == crowd.most["dead.example"] <= 2
        # and the one that is slow does not take more when there is nothing else to do
        owe(blog, "send", 4, host="healthy-0.example")
        wait_until(lambda: states(blog.site).get("done") == 44)
        assert crowd.most["dead.example"] <= 2
        assert states(blog.site)["running"] <= 2 * 8
        work.stop()
        crowd.open.set()
    assert took < 10


def test_many_dead_neighbours_have_a_quarter_of_the_threads(blog: Blog) -> None:
    """Once they are known to be slow, whatever else is due goes first."""
    crowd = Crowd()
    blog.site.handlers["send"] = crowd
    hosts = [f"dead-{n}.example" for n in range(5)]
    for host in hosts:
        owe(blog, "send", host=host)
    with working(blog, threads=8) as work:
        wait_until(lambda: sum(crowd.inside.values()) == 5)  # nobody knows them yet
        crowd.open.set()
        wait_until(lambda: states(blog.site) == {"pending": 5})
        crowd.open.clear()
        for host in hosts:  # their slowness is remembered; but these were answered quickly
            work._desk._hosts._hosts[host].seconds = 10.0
        for host in hosts:
            owe(blog, "send", 3, host=host)
        owe(blog, "send", 30, host="healthy.example")
        work._bell.ring()
        wait_until(lambda: states(blog.site).get("done") == 30)
        assert sum(crowd.inside.values()) == 2
        work.stop()
        crowd.open.set()


def test_threads_that_wait_for_strangers_are_replaced(blog: Blog) -> None:
    """Nobody knows yet that these hosts are dead: each keeps a thread, and others take their places."""
    crowd = Crowd()
    blog.site.handlers["send"] = crowd
    for n in range(20):
        owe(blog, "send", host=f"dead-{n}.example")
    with working(blog, threads=2) as work:
        wait_until(lambda: sum(crowd.inside.values()) == 2 + 3 * 2)
        owe(blog, "send", 4, host="healthy.example")
        work._bell.ring()
        assert len(work._threads) == 2 + 3 * 2  # and no more
        crowd.open.set()
        wait_until(lambda: states(blog.site).get("done") == 4)
        work.stop()


def test_a_healthy_host_does_not_wait_for_strangers_that_never_answer(blog: Blog) -> None:
    crowd = Crowd()
    blog.site.handlers["send"] = crowd
    for n in range(3):
        owe(blog, "send", host=f"dead-{n}.example")
    owe(blog, "send", 30, host="healthy.example")
    with working(blog, threads=3) as work:
        wait_until(lambda: states(blog.site).get("done") == 30)
        assert crowd.inside.total() == 3
        assert crowd.most["healthy.example"] <= 3
        work.stop()
        crowd.open.set()


def test_one_host_has_four_threads_at_most_and_one_before_it_answered(blog: Blog) -> None:
    seen: list[int] = []
    inside: list[int] = []
    first_is_out = threading.Event()
    full = threading.Event()

    def handle(site: Site, claim: Claim) -> Outcome:
        inside.append(claim.id)
        seen.append(len(inside))
        if not first_is_out.is_set():
            threading.Event().wait(0.1)
            first_is_out.set()
        elif len(inside) == 4:
            full.set()
        else:
            full.wait(20)
        inside.remove(claim.id)
        return jobs.done()

    blog.site.handlers["send"] = handle
    owe(blog, "send", 30, host="one.example")
    work_off(blog, threads=8)
    assert seen[:2] == [1, 1]
    assert max(seen) == 4
    assert all_done(blog.site)


# --- settling ----------------------------------------------------------------------------------------


def test_a_finished_job_is_settled_within_50_ms_with_those_that_finish_meanwhile(
    blog: Blog, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = threading.Event()
    ended: dict[int, float] = {}
    waits: list[float] = []
    settled: list[int] = []
    turn = jobs.turn

    def watched(*args: Any, **options: Any) -> jobs.Turn:
        if finished := options["finished"]:
            waits.append(time.monotonic() - min(ended[each.claim.id] for each in finished))
            settled.append(len(finished))
        return turn(*args, **options)

    def handle(site: Site, claim: Claim) -> Outcome:
        if claim.kind == "long":
            busy.wait(60)
        ended[claim.id] = time.monotonic()
        return jobs.done()

    monkeypatch.setattr(jobs, "turn", watched)
    blog.site.handlers |= {"long": handle, "short": handle}
    owe(blog, "long")
    with working(blog, threads=4):
        for n in range(1, 12):
            owe(blog, "short", 3)
            wait_until(lambda n=n: states(blog.site).get("done") == 3 * n)  # type: ignore[misc]
        busy.set()
        wait_until(lambda: all_done(blog.site))
    assert statistics.median(waits[:11]) < 0.05
    assert max(settled) >= 3


def test_many_jobs_are_settled_and_claimed_in_few_transactions(blog: Blog) -> None:
    commits: list[str] = []

    def count(connection: Any) -> None:
        commits.append(threading.current_thread().name)

    blog.site.handlers["quick"] = lambda site, claim: jobs.done()
    owe(blog, "quick", 320)
    sa.event.listen(blog.site.engine, "commit", count)
    work_off(blog, threads=8)
    sa.event.remove(blog.site.engine, "commit", count)
    assert all_done(blog.site)
    # 8 a turn until it is known how quick they are, up to 100 then
    assert 4 <= len(commits) <= 60


# --- leases ------------------------------------------------------------------------------------------


def test_the_lease_of_a_long_job_is_renewed(blog: Blog) -> None:
    runs: list[int] = []
    go_on = threading.Event()

    def handle(site: Site, claim: Claim) -> Outcome:
        runs.append(claim.attempts)
        go_on.wait(60)
        return jobs.done()

    blog.site.handlers["long"] = handle
    owe(blog, "long")
    with working(blog, threads=2, lease_seconds=0.9), working(blog, threads=2, lease_seconds=0.9):
        wait_until(lambda: runs)
        first = the_job(blog.site).due_at
        wait_until(lambda: the_job(blog.site).due_at > first + timedelta(seconds=2))
        go_on.set()
        wait_until(lambda: all_done(blog.site))
    assert runs == [1]


def test_jobs_of_a_worker_that_vanished_are_done_by_another(blog: Blog) -> None:
    blog.site.handlers["a"] = lambda site, claim: jobs.done()
    owe(blog, "a", 3)
    with blog.site.new_session() as session:
        jobs.turn(session, now=blog.site.now(), schedule=(0, 0), want=3, lease_seconds=1)
    with working(blog, lease_seconds=1):
        wait_until(lambda: all_done(blog.site))
    assert {job.attempts for job in all_jobs(blog.site)} == {2}


def test_a_worker_that_was_frozen_past_its_lease_writes_nothing(blog: Blog) -> None:
    """The zombie of `reliability.md` 3.8: another did the job meanwhile."""
    frozen, thawed = threading.Event(), threading.Event()

    def handle(site: Site, claim: Claim) -> Outcome:
        if claim.attempts == 1:
            frozen.set()
            thawed.wait(60)
            return jobs.dead("late")
        return jobs.done("in time")

    blog.site.handlers["a"] = handle
    owe(blog, "a")
    with working(blog):
        assert frozen.wait(20)
        with blog.site.new_session() as session:
            session.execute(sa.update(Job).values(due_at=blog.site.now() - timedelta(seconds=1)))
            session.commit()
            jobs.reclaim(session, blog.site.now(), 8)
        drain(blog.site)  # unless the worker itself was quicker
        wait_until(lambda: all_done(blog.site))
        thawed.set()
    job = the_job(blog.site)
    assert (job.state, job.reason, job.attempts) == (JobState.done, "in time", 2)


def test_a_worker_says_that_it_lives_and_when_it_goes(blog: Blog) -> None:
    with working(blog, threads=3) as work:
        (seen,) = wait_until(lambda: health(blog.site)["workers"])
        assert (seen["runner"], seen["threads"]) == ("external", 3)
        assert seen["seen_seconds_ago"] < 5
        with blog.site.new_session() as session:
            assert session.scalars(sa.select(models.Worker.name)).one() == work.name
    assert health(blog.site)["workers"] == []


def test_health_counts_what_is_owed(blog: Blog) -> None:
    assert health(blog.site)["oldest_due_seconds"] is None
    now = blog.site.now()
    due = [now - timedelta(seconds=90), now - timedelta(seconds=5), now + timedelta(hours=1)]
    jobs.add(blog.db.session(), [NewJob(kind="a", due_at=each) for each in due])
    jobs.add_dead(blog.db.session(), NewJob(kind="a"), "odd")
    blog.db.session.commit()
    told = health(blog.site)
    assert told["jobs"] == {"pending": 3, "running": 0, "done": 0, "dead": 1}
    assert 90 <= told["oldest_due_seconds"] < 100


# --- clocks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [1, -1])
def test_a_machine_whose_clock_is_off_keeps_the_servers_time(
    blog: Blog, monkeypatch: pytest.MonkeyPatch, only_postgresql: None, hours: int
) -> None:
    """Nothing starts early, nothing late, and no lease is longer or shorter than others see it."""
    attempts: list[int] = []
    leases: list[datetime] = []

    def handle(site: Site, claim: Claim) -> Outcome:
        attempts.append(claim.attempts)
        leases.append(the_job(site).due_at)
        return jobs.later(30, "not now")

    off = timedelta(hours=hours)
    monkeypatch.setattr(jobs, "_machine_clock", lambda: datetime.now(UTC) + off)
    monkeypatch.setattr(blog.site, "now", jobs._machine_clock)
    blog.site.handlers["a"] = handle
    with working(blog):
        owe(blog, "a")
        wait_until(lambda: "pending" in states(blog.site))
    work_off(blog)
    assert attempts == [1]
    now = datetime.now(UTC)
    assert timedelta(seconds=20) < leases[0] - now < timedelta(seconds=31)
    assert timedelta(seconds=20) < the_job(blog.site).due_at - now < timedelta(seconds=31)


def test_a_job_that_is_due_soon_starts_on_time(blog: Blog) -> None:
    """Not at the next poll, which may be seconds away."""
    started: list[datetime] = []

    def handle(site: Site, claim: Claim) -> Outcome:
        started.append(site.now())
        return jobs.done()

    blog.site.handlers["a"] = handle
    late: list[float] = []
    with working(blog):
        for _ in range(5):
            due_at = blog.site.now() + timedelta(seconds=0.3)
            owe(blog, "a", due_at=due_at)
            wait_until(lambda: started)
            late.append((started.pop() - due_at).total_seconds())
    assert min(late) >= 0
    assert statistics.median(late) < 0.1


# --- the end -----------------------------------------------------------------------------------------


def test_a_worker_that_is_told_to_stop_finishes_what_runs_and_releases_the_rest(blog: Blog) -> None:
    go_on = threading.Event()
    running: list[int] = []

    def handle(site: Site, claim: Claim) -> Outcome:
        running.append(claim.id)
        go_on.wait(60)
        return jobs.done()

    blog.site.handlers["a"] = handle
    owe(blog, "a", 10)
    with working(blog, threads=4) as work:
        wait_until(lambda: len(running) == 4)
        work.stop()
        # what was not begun is free at once, not only when the others end
        wait_until(lambda: states(blog.site) == {"running": 4, "pending": 6})
        go_on.set()
    assert states(blog.site) == {"done": 4, "pending": 6}
    assert {job.attempts for job in all_jobs(blog.site) if job.state == JobState.pending} == {0}


def test_a_job_that_does_not_end_is_released_at_last(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.3)
    go_on, ended = threading.Event(), threading.Event()

    def handle(site: Site, claim: Claim) -> Outcome:
        go_on.wait(60)
        ended.set()
        return jobs.done()

    blog.site.handlers["a"] = handle
    owe(blog, "a")
    work = Worker(blog.site, runner="external")
    thread = threading.Thread(target=work.run)
    thread.start()
    wait_until(lambda: states(blog.site) == {"running": 1})
    work.stop()
    thread.join(20)
    assert not thread.is_alive()
    job = the_job(blog.site)
    assert (job.state, job.attempts, job.token) == (JobState.pending, 0, None)
    go_on.set()
    for sender in work._threads:
        sender.join(20)
        assert not sender.is_alive()
    assert the_job(blog.site).state == JobState.pending


def test_sigterm_under_load_loses_nothing_and_repeats_nothing(blog: Blog, tmp_path: Path) -> None:
    log = tmp_path / "log"
    count = 400
    owe(blog, "while", count)
    with process(blog, log, *WORKER) as first:
        wait_until(lambda: len(noted(log)) > 50)
        first.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert first.wait(30) == 0
        assert time.monotonic() - began < 30
        done = len(noted(log))
        assert states(blog.site) == {"done": done, "pending": count - done}
        assert 50 < done < count
    with process(blog, log, *WORKER, "--once") as second:
        assert second.wait(60) == 0
    assert all_done(blog.site)
    runs = Counter(each["id"] for each in noted(log))
    assert len(runs) == count
    assert set(runs.values()) == {1}


SHORT_LEASE = """
import sys
from flask_linkback.outbox.worker import Worker
from tests.outbox.works import create_app
app = create_app()
Worker(app.extensions["linkback"], runner="external", lease_seconds=2).run()
"""


def test_after_a_kill_the_lease_ends_and_another_does_it(blog: Blog, tmp_path: Path) -> None:
    log = tmp_path / "log"
    owe(blog, "never", 3)
    owe(blog, "while", 200)
    with process(blog, log, "-c", SHORT_LEASE) as first:
        wait_until(lambda: len(noted(log)) > 60)
        first.kill()
        first.wait(10)
    in_flight = states(blog.site)["running"]
    assert 3 <= in_flight <= AHEAD_AT_MOST
    with process(blog, log, "-c", SHORT_LEASE):
        wait_until(lambda: all_done(blog.site), 30)
    runs = Counter(each["id"] for each in noted(log))
    assert len(runs) == 203
    # twice: what was running, and what had ended and was not settled
    assert sum(runs.values()) - len(runs) <= in_flight


def test_handlers_that_use_up_the_pool_do_not_keep_a_worker_from_its_leases(blog: Blog) -> None:
    go_on = threading.Event()
    begun = threading.Event()

    def handle(site: Site, claim: Claim) -> Outcome:
        begun.set()
        go_on.wait(60)
        return jobs.done()

    blog.site.handlers["a"] = handle
    with working(blog, lease_seconds=0.9):
        owe(blog, "a")
        assert begun.wait(20)
        blog.db.session.remove()
        held = [blog.site.engine.connect() for _ in range(15)]
        try:
            due = sa.select(Job.due_at)
            first = held[0].execute(due).scalar_one()
            held[0].rollback()

            def renewed() -> bool:
                now = held[0].execute(due).scalar_one()
                held[0].rollback()
                return bool(now > first)

            wait_until(renewed)
            go_on.set()
            done = sa.select(Job.state)
            wait_until(lambda: (held[1].rollback(), held[1].execute(done).scalar_one())[1] == JobState.done)
        finally:
            for connection in held:
                connection.close()


# --- trouble -----------------------------------------------------------------------------------------


@pytest.fixture
def quick_handlers(blog: Blog) -> None:
    blog.site.handlers["a"] = lambda site, claim: jobs.done()


@pytest.fixture
def every_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same one is told more than once a minute."""
    monkeypatch.setattr(worker, "_SAME_COMPLAINT_SECONDS", 1.0)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "flask_linkback.outbox"]


def test_a_worker_survives_that_postgresql_goes_away(
    blog: Blog,
    caplog: pytest.LogCaptureFixture,
    only_postgresql: None,
    quick_handlers: None,
    database_url: str,
) -> None:
    server = sa.create_engine(
        sa.make_url(database_url).set(database="postgres"),
        isolation_level="AUTOCOMMIT",
        poolclass=sa.NullPool,
    )
    name = sa.make_url(database_url).database
    with working(blog), server.connect() as connection:
        owe(blog, "a", 50)
        wait_until(lambda: states(blog.site).get("done", 0) == 50)
        blog.db.session.remove()
        blog.site.engine.dispose()
        away = time.monotonic()
        connection.execute(sa.text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
        ending = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        wait_until(lambda: not connection.execute(sa.text(ending)).all())
        wait_until(lambda: len(complaints(caplog)) >= 3)
        connection.execute(sa.text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
        away = time.monotonic() - away
        owe(blog, "a", 50)
        wait_until(lambda: states(blog.site).get("done", 0) == 100)
    server.dispose()
    said = complaints(caplog)
    assert sum(each.startswith("The outbox waits for the database: ") for each in said) <= away + 2
    assert sum(each.startswith("Polling, for the wake-up connection is lost") for each in said) <= 1
    assert not any("Traceback" in (each.exc_text or "") for each in caplog.records)


def test_connections_that_are_cut_in_the_middle_lose_nothing(
    blog: Blog, only_postgresql: None, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Handlers lose theirs, too: that costs them an attempt at most."""
    runs: Counter[int] = Counter()

    def handle(site: Site, claim: Claim) -> Outcome:
        runs[claim.id] += 1
        site.session.scalars(sa.select(blog.Post)).all()
        return jobs.done()

    blog.site.handlers["a"] = handle
    owe(blog, "a", 300)
    engine = sa.create_engine(database_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with working(blog, lease_seconds=1), engine.connect() as connection:
        for least in (20, 100, 200):
            wait_until(lambda least=least: len(runs) >= least)  # type: ignore[misc]
            blog.db.session.remove()
            cut_off(connection)

        def over() -> bool:
            done = sa.text(
                "SELECT count(*) FROM linkback_job WHERE state = 'done' OR attempts > 0 AND state = 'pending'"
            )
            return bool(connection.execute(done).scalar() == 300)

        wait_until(over)
    engine.dispose()
    assert len(runs) == 300
    assert sum(runs.values()) - 300 <= 3 * 16
    assert set(states(blog.site)) <= {"done", "pending"}


def test_a_worker_waits_while_somebody_else_writes_to_sqlite(
    blogs: Callable[..., Blog], sqlite_url: str, caplog: pytest.LogCaptureFixture, every_complaint: None
) -> None:
    blog = blogs(f"{sqlite_url}?timeout=0.1", content=None, RUNNER="off")
    blog.site.handlers["a"] = lambda site, claim: jobs.done()
    owe(blog, "a", 20)
    with blog.app.app_context(), blog.site.engine.connect() as other:
        other.exec_driver_sql("BEGIN EXCLUSIVE")
        locked = time.monotonic()
        with working(blog):
            wait_until(lambda: complaints(caplog))
            locked = time.monotonic() - locked
            used = time.process_time()
            other.rollback()
            wait_until(lambda: all_done(blog.site))
    assert all("database is locked" in each for each in complaints(caplog))
    assert len(complaints(caplog)) <= locked + 1
    assert usual(time.process_time() - used) < 5


def test_a_worker_says_nothing_while_somebody_else_writes_to_sqlite_for_a_moment(
    blogs: Callable[..., Blog], sqlite_url: str, caplog: pytest.LogCaptureFixture, every_complaint: None
) -> None:
    """Not when it says that it is alive, nor when it claims, settles, lengthens its leases, or goes."""
    blog = blogs(sqlite_url, content=None, RUNNER="off")
    begun, end, refused = threading.Event(), threading.Event(), threading.Event()

    def hold(site: Site, claim: Claim) -> Outcome:
        begun.set()
        end.wait(10)
        return jobs.done()

    blog.site.handlers["a"] = hold
    owe(blog, "a", 1)
    with blog.app.app_context(), blog.site.engine.connect() as other:

        def until_it_was_refused() -> None:
            other.exec_driver_sql("BEGIN IMMEDIATE")
            refused.clear()

        @sa.event.listens_for(blog.site.engine, "handle_error")
        def let_it(context: sa.ExceptionContext) -> None:
            other.rollback()
            refused.set()

        until_it_was_refused()
        with working(blog, lease_seconds=0.9):
            assert refused.wait(10)
            assert begun.wait(10)
            until_it_was_refused()
            assert refused.wait(10)  # for a lease has to be lengthened
            until_it_was_refused()
            end.set()
            assert refused.wait(10)
            wait_until(lambda: all_done(blog.site))
            until_it_was_refused()
        assert refused.wait(10)
    assert complaints(caplog) == []


def test_whatever_goes_wrong_the_worker_goes_on(
    blog: Blog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, quick_handlers: None
) -> None:
    turn = jobs.turn
    odd = [RuntimeError("odd"), RuntimeError("odd")]

    def sometimes(*args: Any, **options: Any) -> jobs.Turn:
        if odd:
            raise odd.pop()
        return turn(*args, **options)

    monkeypatch.setattr(jobs, "turn", sometimes)
    owe(blog, "a", 3)
    with working(blog):
        wait_until(lambda: all_done(blog.site))
    assert complaints(caplog) == ["The outbox cannot go on."]


def test_a_missing_table_is_named_and_not_over_and_over(
    blog: Blog, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_AWAY_SECONDS", 0.01)
    monkeypatch.setattr(worker, "_COMPLAIN_SECONDS", 0.01)
    Job.__table__.drop(blog.site.engine)
    tries: list[int] = []
    turn = jobs.turn

    def count(*args: Any, **options: Any) -> jobs.Turn:
        tries.append(1)
        return turn(*args, **options)

    monkeypatch.setattr(jobs, "turn", count)
    with working(blog):
        wait_until(lambda: len(tries) > 10)
    Job.__table__.create(blog.site.engine)
    (said,) = (line for line in complaints(caplog) if not line.startswith("The chore"))
    assert "linkback_job" in said


def test_nothing_is_left_of_an_interpreter_that_ends(blog: Blog, tmp_path: Path) -> None:
    """A script commits a job and ends at once: the embedded worker finishes what it has begun."""
    script = """
from flask_linkback.outbox import jobs
from tests.outbox.works import create_app
from tests.thorough import usual
app = create_app()
with app.app_context():
    db = app.extensions["sqlalchemy"]
    jobs.add(db.session(), [jobs.NewJob(kind="while") for _ in range(4)])
    db.session.commit()
    import threading
    assert "linkback-worker" in [thread.name for thread in threading.enumerate()]
"""
    log = tmp_path / "log"
    with process(blog, log, "-c", script, settings={"RUNNER": "thread"}) as child:
        assert child.wait(30) == 0
    with blog.site.new_session() as session:
        assert session.scalars(sa.select(models.Worker.name)).all() == []
    done = Counter(each["id"] for each in noted(log))
    assert set(done.values()) <= {1}
    assert states(blog.site).get("done", 0) == len(done)
    assert "running" not in states(blog.site)
