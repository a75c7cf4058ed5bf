"""Kills: what a worker was doing when it died, was stopped or was told to go."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from flask_linkback.models import Job, JobState, Link
from tests.faults.receiver import Manner, Receipt, Receiver
from tests.faults.report import Report, Stuck, until
from tests.faults.stage import Entry, Stage
from tests.thorough import slowness

UNSETTLED_SECONDS: Final = 0.05
"""What finished so shortly before a kill may be done again."""
WORKERS: Final = 3


@dataclass(frozen=True, kw_only=True)
class _Kill:
    pid: int
    at: float


def worker_kills(kind: str, scale: float) -> Report:
    """Experiment 1: workers die in the middle of what they do; another takes over after their leases."""
    count, kills = int(10_000 * scale), max(2, round(50 * scale))
    report = Report()
    with Stage(kind, receiver=Receiver(hosts=20), lease=None if scale == 1 else 2.0) as stage:
        ids = stage.owe_notes(count // 2) + stage.owe_links(count // 2)
        workers = [stage.worker() for _ in range(WORKERS)]
        killed: list[_Kill] = []
        began = time.monotonic()
        for number in range(kills):
            _wait_for_receipts(stage, (number + 1) * count // (kills + 1))
            victim = workers.pop(stage.random.randrange(len(workers)))
            killed.append(_kill(victim))
            workers.append(stage.worker())
        stage.wait_until_final(2 * stage.lease + 60)
        ended = time.monotonic()
        _check_all_told(report, stage, ids)
        pages = -(-count // 2 // 50)
        lost = stage.lost(count // 2 + pages)
        report.check(not lost, f"lost {lost}")
        under_way = _under_way(stage.diary(), killed)
        duplicates = len(stage.receiver.receipts) - len(ids)
        report.check(duplicates <= under_way, f"{duplicates} duplicates, {under_way} were under way")
        final_after = ended - killed[-1].at
        report.check(final_after <= 2 * stage.lease, f"final {final_after:.1f} s after the last kill")
        late = _told_after_done(stage)
        report.check(not late, f"{late} told after they were done")
        report.figures = {
            "jobs": count,
            "kills": len(killed),
            "seconds": ended - began,
            "duplicates": duplicates,
            "under way": under_way,
            "final after": final_after,
        }
    return report


def zombies(kind: str, scale: float) -> Report:
    """Experiment 8: a worker sleeps past its lease, another does its work; what it says then is void."""
    count, stops = int(10_000 * scale), max(2, round(10 * scale))
    report = Report()
    receiver = Receiver(hosts=20, manners=lambda receipt, before: Manner(seconds=0.05))
    lease = 5.0 if scale == 1 else 3.0
    with Stage(kind, receiver=receiver, lease=lease, FETCH_TIMEOUT=1, DELIVERY_TIMEOUT=1) as stage:
        sleeper, other = stage.worker(), stage.worker()
        assert sleeper.pid is not None
        ids: list[str] = []
        in_flight = pages = 0
        for number in range(stops):
            some = count // stops
            held: set[int] = set()
            while not held:  # or the other did all of it before the sleeper was caught
                if number % 2:
                    ids += stage.owe_notes(some, start=len(ids))
                else:
                    ids += stage.owe_links(some, start=len(ids))
                    pages += -(-some // 50)
                held = _stop_in_the_middle(stage, sleeper.pid, "note" if number % 2 else "send_link")
            in_flight += len(held)
            until(lambda held=held: _are_done(stage, held), 10 * lease, "what the sleeper held is done")
            before = _rows(stage, held)
            os.kill(sleeper.pid, signal.SIGCONT)
            until(
                lambda held=held: not held & _begun(stage.diary(), sleeper.pid or 0),
                10 * lease,
                "the sleeper has ended what it held",
            )
            _wait_for_its_next_turn(stage, sleeper)
            after = _rows(stage, held)
            report.check(before == after, f"written late: {_differences(before, after)}")
        stage.wait_until_final(60)
        report.check(other.is_alive() and sleeper.is_alive(), f"a worker died: {stage.said()}")
        _check_all_told(report, stage, ids)
        lost = stage.lost(sum(told.startswith("note") for told in ids) + pages)
        report.check(not lost, f"lost {lost}")
        duplicates = len(stage.receiver.receipts) - len(ids)
        report.check(duplicates <= in_flight, f"{duplicates} duplicates, {in_flight} were in flight")
        report.figures = {
            "jobs": len(ids),
            "stops": stops,
            "duplicates": duplicates,
            "in flight": in_flight,
        }
    return report


def deploys(kind: str, scale: float) -> Report:
    """Experiment 17: workers are told to go, one after the other, while there is much to do."""
    count, stops = int(10_000 * scale), max(2, round(20 * scale))
    report = Report()

    def manners(receipt: Receipt, before: int) -> Manner:
        number = int(receipt.id.rpartition("-")[2])
        # some are so slow that whoever waits for them is told to go meanwhile
        return Manner(seconds=6.0 if scale == 1 and number % 500 == 0 else 0.02 * (number % 10))

    with Stage(kind, receiver=Receiver(hosts=40, manners=manners)) as stage:
        ids = stage.owe_notes(count // 2) + stage.owe_links(count // 2)
        workers = [stage.worker() for _ in range(WORKERS)]
        longest = 0.0
        for number in range(stops):
            _wait_for_receipts(stage, (number + 1) * count // (stops + 1))
            leaving = workers.pop(0)
            assert leaving.pid is not None
            told_at = time.monotonic()
            os.kill(leaving.pid, signal.SIGTERM)
            workers.append(stage.worker())
            leaving.join(60)
            longest = max(longest, time.monotonic() - told_at)
            report.check(leaving.exitcode == 0, f"exit status {leaving.exitcode}: {stage.said()}")
            report.check(not _begun(stage.diary(), leaving.pid), "something was left in the middle")
        stage.wait_until_final(60)
        _check_all_told(report, stage, ids)
        pages = -(-count // 2 // 50)
        lost = stage.lost(count // 2 + pages)
        report.check(not lost, f"lost {lost}")
        duplicates = len(stage.receiver.receipts) - len(ids)
        report.check(duplicates == 0, f"{duplicates} duplicates")
        report.check(longest <= 30, f"a worker took {longest:.1f} s to go")
        again = stage.rows(sa.select(sa.func.count()).where(Job.attempts != 1))[0][0]
        report.check(again == 0, f"{again} jobs were claimed again")
        report.figures = {"jobs": count, "stops": stops, "duplicates": duplicates, "longest stop": longest}
    return report


# --- what was seen -----------------------------------------------------------------------------------


def _wait_for_receipts(stage: Stage, count: int) -> None:
    told = stage.receiver.receipts
    if not stage.receiver.wait_for(lambda: len(told) >= count, 3 * stage.lease + 30):
        raise Stuck(f"{len(told)} were told, not {count}; {stage.states()}; {stage.said()}")


def _kill(process: ForkServerProcess) -> _Kill:
    assert process.pid is not None
    at = time.monotonic()
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    return _Kill(pid=process.pid, at=at)


def _stop_in_the_middle(stage: Stage, pid: int, kind: str) -> set[int]:
    """Stop a process while it has jobs of a kind in its hands, and return all that it has there.

    Not while it holds the one lock that SQLite has: then nobody could go on. Nothing is stopped, nor
    returned, when all jobs are done before.
    """

    def holds_some() -> bool:
        running = stage.rows(sa.select(Job.id).where(Job.state == JobState.running, Job.kind == kind))
        return bool({job_id for (job_id,) in running} & _begun(stage.diary(), pid))

    def are_all_done() -> bool:
        states = stage.states()
        return states["pending"] + states["running"] == 0

    while True:
        what = f"the process does something of kind {kind}, or all is done"
        until(lambda: holds_some() or are_all_done(), 30, what, every=0.005)
        if are_all_done():
            return set()
        os.kill(pid, signal.SIGSTOP)
        until(lambda: _is_stopped(pid), 10, "the process has stopped", every=0.001)
        if not stage.is_locked() and holds_some():
            return _begun_and_not_settled(stage, pid)
        os.kill(pid, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    """Have all threads stopped? One that is in the middle of a system call ends it first."""
    states = [
        stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    ]
    return set(states) == {"T"}


def _begun(diary: Iterable[Entry], pid: int) -> set[int]:
    """The jobs that a process has begun and not ended."""
    begun: Counter[int] = Counter()
    for entry in diary:
        if entry.pid == pid:
            begun[entry.job_id] += 1 if entry.what == "begin" else -1
    return {job_id for job_id, times in begun.items() if times > 0}


def _begun_and_not_settled(stage: Stage, pid: int) -> set[int]:
    """The jobs that a process has in its hands: it told the receiver, and the database not yet."""
    running = {job_id for (job_id,) in stage.rows(sa.select(Job.id).where(Job.state == JobState.running))}
    return running & {entry.job_id for entry in stage.diary() if entry.pid == pid}


def _under_way(diary: list[Entry], kills: Iterable[_Kill]) -> int:
    """How many jobs were in flight, or had ended too shortly before to be settled, at each kill."""
    count, unsettled = 0, UNSETTLED_SECONDS * slowness()  # who waits for a processor settles later
    for kill in kills:
        count += len(_begun(diary, kill.pid))
        count += sum(
            1
            for entry in diary
            if entry.pid == kill.pid and entry.what == "end" and entry.at >= kill.at - unsettled
        )
    return count


def _check_all_told(report: Report, stage: Stage, ids: list[str]) -> None:
    missing = len(set(ids) - set(stage.receiver.counts))
    report.check(missing == 0, f"{missing} never told")
    invented = len(set(stage.receiver.counts) - set(ids))
    report.check(invented == 0, f"{invented} told that nobody owed")
    states = stage.states()
    report.check(states["dead"] == 0, f"{states['dead']} dead")


def _told_after_done(stage: Stage) -> int:
    """How many receipts there are of what was done already."""
    done: dict[str, float] = {}
    for job in stage.rows(sa.select(Job.payload, Job.finished_at).where(Job.kind == "note")):
        done[job.payload["id"]] = job.finished_at.timestamp()
    link = sa.select(Link.target, Job.finished_at).join(Job, Job.key == Link.key)
    for target, finished_at in stage.rows(link.where(Job.state == JobState.done)):
        told = target.rpartition("/")[2]
        # a link whose page was expanded twice has two jobs: it is done with the last
        done[told] = max(done.get(told, 0.0), finished_at.timestamp())
    return sum(receipt.wall > done[receipt.id] for receipt in stage.receiver.receipts)


def _are_done(stage: Stage, job_ids: set[int]) -> bool:
    return all(job.state is JobState.done for job in _jobs(stage, job_ids))


def _jobs(stage: Stage, job_ids: set[int]) -> Any:
    wanted = sa.select(Job.id, Job.state, Job.attempts, Job.finished_at, Job.token, Job.reason, Job.key)
    return stage.rows(wanted.where(Job.id.in_(job_ids)).order_by(Job.id))


def _rows(stage: Stage, job_ids: set[int]) -> list[Any]:
    """All that is known of some jobs and of the links that they are about."""
    found = _jobs(stage, job_ids)
    keys = [job.key for job in found if job.key]
    links = sa.select(*Link.__table__.columns).where(Link.key.in_(keys)).order_by(Link.id)
    return [tuple(row) for row in (*found, *stage.rows(links))]


def _differences(before: list[Any], after: list[Any]) -> str:
    pairs = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    return f"{len(pairs)} rows, such as {pairs[0][0]} -> {pairs[0][1]}" if pairs else ""


def _wait_for_its_next_turn(stage: Stage, process: ForkServerProcess) -> None:
    """Wait until a worker has been at the database again after what it ended last."""
    last = max(entry.at for entry in stage.diary() if entry.pid == process.pid and entry.what == "end")
    until(lambda: time.monotonic() > last + 0.5, 5, "half a second has passed")
