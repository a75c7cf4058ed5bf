"""Machine: pages are published, jobs claimed, told and lost in any order; a model knows what is true.

One application with one open transaction, three workers that may die, sleep past their lease or come
late, targets that take what they are told and answer as a rule wants, and a clock. After each step the
database, what the targets were told and the signals have to be what `Model` says. The workers are made
of what real ones are made of: `jobs.turn`, `jobs.renew`, `jobs.reclaim`, and in threads `perform`.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.orm import SessionTransaction

from flask_linkback.models import Attempt, Job, JobState, Link, LinkState, Page, PageState
from flask_linkback.outbox import jobs
from flask_linkback.outbox.jobs import Claim, Finished, NewJob, Outcome, Turn, Verdict
from tests.faults.ground import HOW, Doing, Ground, prepared
from tests.faults.model import (
    LEASE,
    SCHEDULE,
    Answer,
    Ended,
    Model,
    ModelJob,
    ModelLink,
    ModelPost,
    Transaction,
)
from tests.faults.report import Report
from tests.faults.stage import database

STEPS: Final = 50
MOMENT: Final = timedelta(milliseconds=1)
"""Between two steps: no two of them are at the same time."""
WORKERS: Final = 3
NOTES_HOST: Final = "notes.example"
_ALL: Final = 20
"""More than is ever due at once."""
_MUTE: Final = Answer(state=LinkState.unsupported, status=200)


def state_machine(kind: str, scale: float) -> Report:
    """Experiment 23: 2 000 examples of 50 steps, in any order that there is."""
    examples = round(2000 * scale)
    with (
        tempfile.TemporaryDirectory(prefix="linkback-faults-") as folder,
        database(kind, Path(folder)) as url,
    ):
        return Report(figures={"examples": examples, **run(url, examples)})


def run(database_url: str, examples: int) -> Counter[str]:
    """Go so many ways through the machine; return how often what was seen."""
    with prepared(database_url) as ground:
        run_state_machine_as_test(
            lambda: Machine(ground),  # type: ignore[arg-type]
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
    assert max(ground.lengthened, default=1.0) > 0, "what failed together comes back together"
    return ground.seen


# --- the rules ---------------------------------------------------------------------------------------


@dataclass
class Hands:
    """What one worker has in its hands."""

    claims: list[Claim] = field(default_factory=list)
    doing: list[Doing] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)

    @property
    def holds_something(self) -> bool:
        return bool(self.claims or self.doing or self.finished)


def _nobody_writes(machine: Machine) -> bool:
    """May somebody write beside the application's transaction? SQLite lets one."""
    return machine.ours is None or machine.ground.kind != "sqlite"


_pages = st.sampled_from(["a", "b", "c", "d"])
_numbers = st.integers(0, 11)
_hows = st.sampled_from(sorted(HOW))
_workers = st.integers(0, WORKERS - 1)


class Machine(RuleBasedStateMachine):
    """The rules; ``ours`` is what the application's open transaction holds."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        ground.begin()
        self.ground = ground
        self.site = ground.site
        self.session = ground.session()
        self.model = Model()
        self.ours: Transaction | None = None
        self.savepoints: list[tuple[SessionTransaction, Transaction]] = []
        self.hands = [Hands() for _ in range(WORKERS)]
        self.tokens: set[str] = set()
        self.told: list[tuple[str, str]] = []
        self.noted: list[int] = []
        self.notes = 0
        self.moved = True
        """Since the last look at the database."""

    def teardown(self) -> None:
        for hands in self.hands:
            self._drop(hands)
        self.ground.end()

    def _step(self) -> datetime:
        self.ground.seen["steps"] += 1
        self.ground.now += MOMENT
        self.moved = True
        return self.ground.now

    # --- the application -----------------------------------------------------------------------------

    def _open(self) -> Transaction:
        """The open transaction; it has written something, or SQLite's savepoints would not be in it."""
        if self.ours is None:
            self.session.execute(sa.update(Job.__table__).where(sa.false()).values(reason=""))
            self.ours = self.model.begin()
        return self.ours

    @initialize(number=_numbers, notes=st.integers(0, 2))
    def something_to_do(self, number: int, notes: int) -> None:
        for _ in range(notes):
            self.owe(None, 0)
        self.publish("a", number, commit=True)

    @rule(page=_pages, number=_numbers, commit=st.booleans())
    def publish(self, page: str, number: int, commit: bool) -> None:
        now, ours = self._step(), self._open()
        content = self.ground.contents[number % len(self.ground.contents)]
        url = self.ground.blog.url(page)
        self.ground.blog.linkback.publish(
            url, html=content.html, targets=None if content.html else content.targets
        )
        self.model.publish(ours, url, content, now)
        if commit:
            self.end("commit")

    @rule(slug=_pages, number=_numbers, flush=st.booleans())
    def write(self, slug: str, number: int, flush: bool) -> None:
        self._step()
        ours, blog = self._open(), self.ground.blog
        content = [each for each in self.ground.contents if each.html is not None][number % 5]
        post = ours.posts.get(slug)
        if post is None:
            row = blog.Post(slug=slug, html=content.html)
            self.session.add(row)
            self.session.flush()
            ours.flush()
            ours.posts[slug] = ModelPost(row.id, blog.url(slug), content)
            ours.changed.add(row.id)
            return
        row = self.session.get(blog.Post, post.id)
        if row.html != content.html:
            row.html = content.html
        post.content = content
        if flush:
            self.session.flush()
            ours.flush()

    @precondition(lambda self: (self.ours or self.model).posts)
    @rule(number=_numbers)
    def delete(self, number: int) -> None:
        self._step()
        ours = self._open()
        slug = sorted(ours.posts)[number % len(ours.posts)]
        self.session.delete(self.session.get(self.ground.blog.Post, ours.posts[slug].id))
        self.session.flush()
        post = ours.posts.pop(slug)
        if any(each.id == post.id for each in self.model.posts.values()):  # else it never was
            ours.deleted.append(post.object_key)
        ours.flush()

    @rule(key=st.sampled_from([None, "x", "y"]), seconds=st.sampled_from([0, 90]))
    def owe(self, key: str | None, seconds: int) -> None:
        now, ours = self._step(), self._open()
        due = now + timedelta(seconds=seconds)
        new = NewJob(kind="note", payload={"n": self.notes}, host=NOTES_HOST, key=key, due_at=due)
        waiting = self.model.waiting("note", key, ours) if key else []
        if len(waiting) > 1:
            return  # which of them it locks nobody says
        if key is None:
            assert jobs.add(self.session, [new]) == 1
        else:
            assert jobs.add_once(self.session, new) == (not waiting)
        if waiting:
            ours.locked_jobs.add(waiting[0].id)
        else:
            ours.owed.append(
                ModelJob(kind="note", about=(self.notes,), due=(due, due), host=NOTES_HOST, key=key)
            )
            self.notes += 1

    @precondition(lambda self: self.model.jobs)
    @rule(number=_numbers)
    def replay(self, number: int) -> None:
        now, ours = self._step(), self._open()
        job = self._pick(sorted(self.model.jobs.items()), number)[1]
        ended = job.state in (JobState.done, JobState.dead) and job.id not in ours.replayed
        assert self.ground.blog.linkback.replay(job.id) is ended
        if ended:
            ours.replayed[job.id] = now

    @precondition(lambda self: self.ours is not None and len(self.savepoints) < 3)
    @rule()
    def savepoint(self) -> None:
        self._step()
        ours = self._open()
        opened = self.session.begin_nested()
        ours.flush()
        self.savepoints.append((opened, ours.savepoint()))

    @precondition(lambda self: self.savepoints)
    @rule(keep=st.booleans())
    def end_savepoint(self, keep: bool) -> None:
        self._step()
        opened, before = self.savepoints.pop()
        if keep:
            opened.commit()
            self._open().flush()
        else:
            opened.rollback()
            self.ours = before

    @precondition(lambda self: len(self.savepoints) < 2)
    @rule(
        slug=_pages,
        number=_numbers,
        outer=st.booleans(),
        inner=st.none() | st.booleans(),
        commit=st.booleans(),
    )
    def try_out(self, slug: str, number: int, outer: bool, inner: bool | None, commit: bool) -> None:
        """What is done in a savepoint is kept or not, and so is what is done in one within it."""
        self.publish("a", number + 1, commit=False)
        self.savepoint()
        if inner is not None:
            self.savepoint()
        self.write(slug, number, flush=True)
        if inner is not None:
            self.end_savepoint(inner)
        self.end_savepoint(outer)
        if commit:
            self.end("commit")

    @precondition(lambda self: self.ours is not None)
    @rule(way=st.sampled_from(["commit", "commit", "commit outermost", "roll back", "leave"]))
    def end(self, way: str) -> None:
        """The transaction ends, over its savepoints too; with ``leave`` nobody commits what is there."""
        now, ours = self._step(), self._open()
        match way:
            case "commit":
                self.session.commit()
                self.model.commit(ours, now)
            case "commit outermost":
                outermost = self.session.get_transaction()
                assert outermost is not None
                outermost.commit()
                self.model.commit(ours, now)
            case "roll back":
                self.session.rollback()
            case "leave":
                self.ground.blog.db.session.remove()
                self.session = self.ground.session()
        self._forget()

    def _forget(self) -> None:
        self.ours = None
        self.savepoints = []

    # --- the workers ---------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 6, 31, 301, 1800, 9000, 86_400]))
    def tick(self, seconds: int) -> None:
        self._step()
        self.ground.now += timedelta(seconds=seconds)

    @precondition(_nobody_writes)
    @rule(worker=_workers, want=st.integers(0, 4), settle=st.booleans())
    def turn(self, worker: int, want: int, settle: bool) -> None:
        now, hands = self._step(), self.hands[worker]
        finished: Sequence[Finished] = ()
        if settle:
            finished, hands.finished = hands.finished, []
        lost = sum(not self.model.holds(each.claim) for each in finished)
        self.ground.seen["settled"] += len(finished) - lost
        self.ground.seen["settled late"] += lost
        with self.site.new_session() as session:
            turn = jobs.turn(
                session, now=now, schedule=SCHEDULE, finished=finished, want=want, lease_seconds=LEASE
            )
        self.model.settle(finished, now)
        self._claimed(turn, self.model.due(now, self._locked())[:want], now + timedelta(seconds=LEASE))
        hands.claims += turn.claims
        self.agree()
        full = len(turn.claims) == want
        assert turn.next_due == (None if full else self.model.next_due())

    @precondition(_nobody_writes)
    @rule(
        worker=_workers, hows=st.lists(_hows, min_size=1, max_size=3), after=st.sampled_from([0, 6, 90_000])
    )
    def work(self, worker: int, hows: list[str], after: int = 0) -> None:
        """A worker as it is on most days: it claims, does and settles."""
        self.tick(after)
        self.turn(worker, len(hows), settle=True)
        for how in hows:
            for hands, claim in self._ready(worker)[:1]:
                self._do(hands, claim, how)
        self.turn(worker, 0, settle=True)

    @precondition(_nobody_writes)
    @rule(
        worker=_workers,
        how=_hows,
        begun=st.booleans(),
        edit=st.none() | _numbers,
        asleep=st.booleans(),
        meanwhile=st.lists(_hows, max_size=3),
    )
    def slowly(
        self, worker: int, how: str, begun: bool, edit: int | None, asleep: bool, meanwhile: list[str]
    ) -> None:
        """A worker stops, perhaps at a target; meanwhile the page is changed, or the lease over."""
        self._step()
        self._expand(worker)
        self.turn(worker, _ALL, settle=True)
        ready = self._ready(worker)
        for hands, claim in [each for each in ready if each[1].kind == "send_link"][:1] or ready[:1]:
            doing = self._begin(hands, claim, how) if begun else None
            self.agree()
            other = (worker + 1) % WORKERS
            if edit is not None:
                self.publish(self._page(claim), edit, commit=True)
                self.agree()
                self._expand(other)
            if asleep:
                self.sleep()
            if meanwhile:
                self.work(other, meanwhile)
            self.renew(worker)
            self.agree()
            if doing is not None:
                self._answer(hands, doing, how)
            elif not begun:
                self._do(hands, claim, how)
            self.turn(worker, 0, settle=True)

    def _expand(self, worker: int) -> None:
        """A worker does the pages that are due; what else it claimed waits in its hands."""
        self.turn(worker, _ALL, settle=True)
        for hands, claim in self._ready(worker):
            if claim.kind == "publish_page":
                self._do(hands, claim, "thanks")
                self.agree()
        self.turn(worker, 0, settle=True)

    def _page(self, claim: Claim) -> str:
        """The page that a claim is about; any page for a note."""
        links = self.model.links
        source = links[claim.key or ""].source if claim.kind == "send_link" else claim.payload.get("url", "a")
        return str(source)[-1]

    def _claimed(self, turn: Turn, due: list[ModelJob], lease: datetime) -> None:
        assert [claim.id for claim in turn.claims] == sorted(job.id for job in due)
        tokens = {claim.token for claim in turn.claims}
        assert len(tokens) <= 1
        assert not tokens & self.tokens
        self.tokens |= tokens
        self.ground.seen["claimed"] += len(due)
        for claim in turn.claims:
            job = self.model.jobs[claim.id]
            job.claimed(claim.token, lease)
            assert (claim.kind, claim.key, claim.attempts) == (job.kind, job.key, job.attempts)
            assert claim.is_last == (job.attempts == len(SCHEDULE))

    def _locked(self) -> set[int]:
        return self.ours.locked_jobs if self.ours else set()

    @precondition(_nobody_writes)
    @precondition(lambda self: self._ready())
    @rule(number=_numbers, how=_hows)
    def do(self, number: int, how: str) -> None:
        """A job is done; it may be that of somebody who has lost it long ago."""
        self._step()
        self._do(*self._pick(self._ready(), number), how)

    @precondition(_nobody_writes)
    @precondition(lambda self: self._ready())
    @rule(number=_numbers, how=_hows)
    def begin(self, number: int, how: str) -> None:
        """The same, but whoever is told takes time."""
        self._step()
        self._begin(*self._pick(self._ready(), number), how)

    @precondition(_nobody_writes)
    @precondition(lambda self: self._standing())
    @rule(number=_numbers, how=_hows)
    def answer(self, number: int, how: str) -> None:
        self._step()
        self._answer(*self._pick(self._standing(), number), how)

    def _ready(self, worker: int | None = None) -> list[tuple[Hands, Claim]]:
        """What may be begun: a page that the application's transaction has locked would keep us waiting."""
        locked = self.ours.locked_pages if self.ours else ()
        return [
            (hands, claim)
            for hands in (self.hands if worker is None else [self.hands[worker]])
            for claim in hands.claims
            if claim.kind != "publish_page" or claim.payload["url"] not in locked
        ]

    def _standing(self) -> list[tuple[Hands, Doing]]:
        return [(hands, doing) for hands in self.hands for doing in hands.doing]

    def _do(self, hands: Hands, claim: Claim, how: str) -> None:
        doing = self._begin(hands, claim, how)
        if doing is not None:
            self.agree()
            self._answer(hands, doing, how)

    def _begin(self, hands: Hands, claim: Claim, how: str) -> Doing | None:
        """Begin a job; return the thread that waits for an answer, if there is one."""
        self.moved = True
        hands.claims.remove(claim)
        self.ground.seen["begun late"] += not self.model.holds(claim)
        link = self.model.links[claim.key or ""] if claim.kind == "send_link" else None
        doing = self.ground.doing = Doing(self.site, claim, link)
        self.ground.how = how
        told = doing.begin()
        if told is not None:
            hands.doing.append(doing)
            self.told.append(told)
        ended = self._expected(claim, link, how)
        if ended is None:
            assert link is not None
            assert told == (link.source, link.target)
            return doing
        assert told is None
        self._ended(hands, doing, ended)
        return None

    def _expected(self, claim: Claim, link: ModelLink | None, how: str) -> Ended | None:
        """What a handler has to say at once; None when it has to tell somebody first."""
        now = self.ground.now
        if claim.kind == "publish_page":
            self.model.expand(claim, now)
            return Ended(verdict=Verdict.done)
        if link is None:
            self.noted.append(claim.payload["n"])
            try:
                return _summary(HOW[how].note(self.ground.attempt()))
            except ConnectionResetError:
                return Ended(verdict=Verdict.again)
        removed = link.removed
        ended = self.model.begin_to_send(claim, link, now)
        if ended is None and link.target.endswith("/mute"):
            return self.model.answered(claim, link, _MUTE, now, removed=removed)
        return ended

    def _answer(self, hands: Hands, doing: Doing, how: str) -> None:
        self.moved = True
        hands.doing.remove(doing)
        doing.answer(HOW[how].wire)
        answer = HOW[how].answer
        if doing.removed and how == "no":  # it has seen that there is no link
            answer = Answer(state=LinkState.sent, status=200, fault=33)
        link = self.model.links[doing.claim.key or ""]
        changed = link.removed is not doing.removed
        self.ground.seen["changed while told"] += changed and self.model.holds(doing.claim)
        ended = self.model.answered(doing.claim, link, answer, self.ground.now, removed=doing.removed)
        self._ended(hands, doing, ended)

    def _ended(self, hands: Hands, doing: Doing, ended: Ended) -> None:
        assert doing.outcome is not None
        assert _summary(doing.outcome) == ended
        hands.finished.append(Finished(claim=doing.claim, outcome=doing.outcome))

    @precondition(lambda self: any(each.holds_something for each in self.hands))
    @rule(worker=_workers)
    def crash(self, worker: int) -> None:
        """A worker dies, wherever it was: it told, but wrote nothing; it wrote, but settled nothing."""
        self._step()
        self._drop(self.hands[worker])

    @precondition(_nobody_writes)
    @rule(worker=_workers, times=st.integers(1, len(SCHEDULE)))
    def crash_each_time(self, worker: int, times: int) -> None:
        """A job that kills workers."""
        for _ in range(times):
            self.turn(worker, 2, settle=False)
            self.crash(worker)
            self.sleep()
            self.agree()

    def _drop(self, hands: Hands) -> None:
        for doing in hands.doing:
            doing.kill()
        hands.claims, hands.doing, hands.finished = [], [], []

    @precondition(lambda self: any(each.claims for each in self.hands))
    @rule(worker=_workers)
    def release_claims(self, worker: int) -> None:
        """A worker is told to stop, and gives back what it has not begun."""
        self._step()
        hands = self.hands[worker]
        hands.finished += [Finished(claim=claim, outcome=jobs.later(0)) for claim in hands.claims]
        hands.claims = []

    @precondition(_nobody_writes)
    @precondition(lambda self: any(each.claims or each.doing for each in self.hands))
    @rule(worker=_workers)
    def renew(self, worker: int) -> None:
        now, hands = self._step(), self.hands[worker]
        held = [*hands.claims, *(doing.claim for doing in hands.doing)]
        until = now + timedelta(seconds=LEASE)
        with self.site.new_session() as session:
            ours = jobs.renew(session, held, until)
        expected = [claim for claim in held if self.model.holds(claim)]
        assert sorted(claim.id for claim in ours) == sorted(claim.id for claim in expected)
        for claim in expected:
            self.model.jobs[claim.id].due = (until, until)

    @precondition(_nobody_writes)
    @precondition(lambda self: any(job.token for job in self.model.jobs.values()))
    @rule()
    def reclaim(self) -> None:
        now = self._step()
        with self.site.new_session() as session:
            count = jobs.reclaim(session, now, len(SCHEDULE))
        assert count == self.model.reclaim(now)
        self.ground.seen["reclaimed"] += count

    @precondition(_nobody_writes)
    @precondition(lambda self: any(job.token for job in self.model.jobs.values()))
    @rule()
    def sleep(self) -> None:
        """Whoever holds a claim sleeps past its lease, and another worker takes over."""
        self.tick(31)
        self.reclaim()

    @precondition(_nobody_writes)
    @precondition(lambda self: any(job.kind == "note" for job in self.model.jobs.values()))
    @rule(seconds=st.sampled_from([10, 1000]))
    def put_off(self, seconds: int) -> None:
        """Notes are over their limit."""
        now = self._step()
        until = now + timedelta(seconds=seconds)
        with self.site.new_session() as session:
            jobs.put_off(session, kind="note", host=NOTES_HOST, now=now, until=until)
        for job in self.model.due(now, self._locked()):
            if job.kind == "note":
                job.due = (until, until)

    # --- what there is, and what has to be -----------------------------------------------------------

    @staticmethod
    def _pick(among: Sequence[Any], number: int) -> Any:
        return among[number % len(among)]

    @invariant()
    def agree(self) -> None:
        """The database, the targets and the listeners know what the model knows."""
        if not self.moved:
            return
        self.moved = False
        pages, links, rows, attempts = map(self.ground.rows, (_PAGES, _LINKS, _JOBS, _ATTEMPTS))
        assert {tuple(row) for row in pages} == {
            (
                page.url,
                PageState.gone if page.gone else PageState.published,
                page.digest,
                page.published_at,
                page.changed_at,
                page.object_key,
            )
            for page in self.model.pages.values()
        }
        assert len(pages) == len(self.model.pages)
        assert {row.key: tuple(row)[2:] for row in links} == {
            key: (each.state, each.removed, each.attempts, each.sent_at, each.status, each.fault)
            for key, each in self.model.links.items()
        }
        assert len(links) == len(self.model.links)
        self._agree_on_jobs(rows, {row.id: row.key for row in links})
        assert Counter(map(tuple, attempts)) == Counter(
            (job.id, number) for job in self.model.jobs.values() for number in job.tried
        )
        assert self.told == self.ground.received
        assert self.noted == self.ground.noted
        assert self.model.signals == self.ground.heard
        self.model.check(self.told)

    def _agree_on_jobs(self, rows: Sequence[Any], keys: dict[int, str]) -> None:
        """Find the jobs that are owed since this step, and compare them all."""
        owed = {job.place: job for job in self.model.owed}
        assert len(owed) == len(self.model.owed)
        for row in rows:
            if row.id not in self.model.jobs:
                place = (row.kind, self._about(row, keys), row.host, row.key, row.due_at)
                job = owed.pop(place)
                job.id = row.id
                self.model.jobs[row.id] = job
        assert not owed, "what is owed is not there"
        self.model.owed = []
        assert len(rows) == len(self.model.jobs), "accepted is not done, dead, pending and running"
        for row in rows:
            job = self.model.jobs[row.id]
            assert (row.state, row.attempts, row.token, row.key, row.finished_at) == (
                job.state,
                job.attempts,
                job.token,
                job.key,
                job.finished_at,
            )
            earliest, latest = job.due
            assert earliest <= row.due_at <= latest
            if earliest < latest:
                self.ground.lengthened.append((row.due_at - earliest) / (latest - earliest))
            job.due = (row.due_at, row.due_at)
            assert row.state is not JobState.dead or row.reason

    def _about(self, row: Any, keys: dict[int, str]) -> tuple[Any, ...]:
        payload = row.payload
        match row.kind:
            case "publish_page":
                names = ("url", "targets", "whole", "changed_at", "object_key")
                return tuple(tuple(payload[name]) if name == "targets" else payload[name] for name in names)
            case "send_link":
                return (keys[payload["link_id"]],)
        return (payload["n"],)


def _summary(outcome: Outcome) -> Ended:
    attempt = outcome.attempt is not None
    return Ended(
        verdict=outcome.verdict, attempt=attempt, seconds=outcome.seconds, overloaded=outcome.overloaded
    )


_page, _link, _job, _attempt = (each.__table__.c for each in (Page, Link, Job, Attempt))
_PAGES: Final = sa.select(
    _page.url, _page.state, _page.digest, _page.published_at, _page.changed_at, _page.object_key
)
_LINKS: Final = sa.select(
    _link.id,
    _link.key,
    _link.state,
    _link.removed,
    _link.attempts,
    _link.sent_at,
    _link.status_code,
    _link.fault_code,
)
_JOBS: Final = sa.select(Job.__table__)
_ATTEMPTS: Final = sa.select(_attempt.job_id, _attempt.number)
