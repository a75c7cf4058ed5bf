"""Jobs are added in the caller's transaction, claimed once, and settled by whoever holds them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_linkback.errors import ConfigError
from flask_linkback.models import Attempt, Job, JobState
from flask_linkback.outbox import jobs
from flask_linkback.outbox.jobs import AttemptMade, Claim, Finished, NewJob, Outcome, Turn
from tests.apps import Blog
from tests.outbox.helpers import all_jobs, owe, states, the_job

SCHEDULE = (0.0, 5.0, 300.0)


def take(session: Session, want: int = 10, *, now: datetime | None = None, **options: Any) -> Turn:
    return jobs.turn(session, now=now or datetime.now(UTC), schedule=SCHEDULE, want=want, **options)


def settle(session: Session, claims: Sequence[Claim], outcome: Outcome, now: datetime | None = None) -> None:
    finished = [Finished(claim=claim, outcome=outcome) for claim in claims]
    jobs.turn(session, now=now or datetime.now(UTC), schedule=SCHEDULE, finished=finished)


# --- adding ------------------------------------------------------------------------------------------


def test_jobs_live_and_die_with_the_callers_transaction(blog: Blog, session: Session) -> None:
    app_session = blog.db.session()
    assert jobs.add(app_session, [NewJob(kind="a"), NewJob(kind="b", payload={"x": 1}, host="h")]) == 2
    assert not take(session).claims
    app_session.rollback()
    assert all_jobs(blog.site) == []

    jobs.add(app_session, [NewJob(kind="a"), NewJob(kind="b", payload={"x": 1}, host="h", key="k")])
    with app_session.begin_nested() as savepoint:
        jobs.add(app_session, [NewJob(kind="dropped")])
        savepoint.rollback()
    app_session.commit()
    first, second = take(session).claims
    assert (first.kind, first.payload, first.attempts) == ("a", {}, 1)
    assert (second.kind, second.payload, second.host, second.key) == ("b", {"x": 1}, "h", "k")


def test_a_job_for_each_row_of_a_table(blog: Blog, session: Session) -> None:
    """As many as there are, by one statement, each with what its row says."""
    app_session = blog.db.session()
    jobs.add(app_session, [NewJob(kind="row", host=host, key=f"k{host}") for host in "abc"])
    assert jobs.add_for_each(
        app_session,
        "each",
        where=[Job.kind == "row", Job.host != "b"],
        host=Job.host,
        key="for " + Job.key,
        payload={"id": Job.id, "number": sa.literal(7)},
    ) == len("ac")
    app_session.commit()
    first, *_, before, last = take(session).claims
    assert (before.kind, before.host, before.key) == ("each", "a", "for ka")
    assert before.payload == {"id": first.id, "number": 7}
    assert (last.host, last.payload["id"], last.attempts) == ("c", first.id + 2, 1)


def test_nothing_is_added_of_nothing(blog: Blog) -> None:
    assert jobs.add(blog.db.session(), []) == 0
    assert not blog.db.session().in_transaction()


def test_a_job_may_be_due_later(blog: Blog, session: Session) -> None:
    now = datetime.now(UTC)
    app_session = blog.db.session()
    jobs.add(app_session, [NewJob(kind="later", due_at=now + timedelta(hours=1)), NewJob(kind="now")])
    app_session.commit()
    turn = take(session)
    assert [claim.kind for claim in turn.claims] == ["now"]
    assert turn.next_due == now + timedelta(hours=1)
    assert take(session).next_due == now + timedelta(hours=1)
    assert [claim.kind for claim in take(session, now=now + timedelta(hours=2)).claims] == ["later"]


def test_a_job_that_could_not_be_made_in_full_is_dead_and_replayable(blog: Blog, session: Session) -> None:
    jobs.add_dead(blog.db.session(), NewJob(kind="hook", payload={"x": 1}), "ValueError: no\0good")
    blog.db.session().commit()
    job = the_job(blog.site)
    assert (job.state, job.reason) == (JobState.dead, "ValueError: nogood")
    assert not take(session).claims
    assert jobs.replay(blog.db.session(), job.id)
    blog.db.session().commit()
    assert take(session).claims[0].payload == {"x": 1}


def test_a_waiting_job_is_not_added_again(blog: Blog, session: Session) -> None:
    app_session = blog.db.session()
    job = NewJob(kind="verify", key="source")
    assert jobs.add_once(app_session, job)
    assert not jobs.add_once(app_session, job)
    assert jobs.add_once(app_session, NewJob(kind="verify", key="another"))
    assert jobs.add_once(app_session, NewJob(kind="send", key="source"))
    app_session.commit()
    assert not jobs.add_once(app_session, job)
    app_session.commit()
    claims = take(session).claims
    assert len(claims) == 3
    assert jobs.add_once(app_session, job), "one that runs may have read already what it needs"
    app_session.commit()
    settle(session, claims, jobs.done())
    assert not jobs.add_once(app_session, job)
    app_session.rollback()


def test_when_what_is_owed_is_due(blog: Blog, session: Session) -> None:
    app_session = blog.db.session()
    later = blog.site.now() + timedelta(hours=1)
    for key, due_at in (("now", None), ("then", later), ("other", None)):
        jobs.add(app_session, [NewJob(kind="send", key=key, due_at=due_at)])
    jobs.add(app_session, [NewJob(kind="verify", key="verified")])
    app_session.commit()
    take(session)
    keys = ["now", "then", "verified", "unknown"]
    assert jobs.owed_at(app_session, kind="send", keys=keys) == {"now": None, "then": later}
    app_session.rollback()
    jobs.add(app_session, [NewJob(kind="send", key="now", due_at=later)])
    assert jobs.owed_at(app_session, kind="send", keys=keys) == {"now": later, "then": later}
    app_session.rollback()


def test_a_waiting_job_starts_after_what_its_caller_wrote(blog: Blog, session: Session) -> None:
    job = NewJob(kind="verify", key="source")
    app_session = blog.db.session()
    jobs.add_once(app_session, job)
    app_session.commit()
    assert not jobs.add_once(app_session, job)  # somebody else leans on the waiting job
    if session.get_bind().dialect.name == "sqlite":
        session.connection().exec_driver_sql("PRAGMA busy_timeout = 0")
        with pytest.raises(sa.exc.OperationalError, match="locked"):
            take(session)
        session.rollback()
        session.connection().exec_driver_sql("PRAGMA busy_timeout = 5000")
    else:
        assert not take(session).claims
    app_session.commit()
    assert len(take(session).claims) == 1


def test_a_job_that_is_claimed_just_now_does_not_count_as_waiting(
    blog: Blog, session: Session, only_postgresql: None
) -> None:
    """The worker's claim is not committed yet while we look for a waiting job."""
    app_session = blog.db.session()
    job = NewJob(kind="verify", key="source")
    jobs.add_once(app_session, job)
    app_session.commit()
    session.execute(sa.update(Job).values(state=JobState.running, token="t"))
    assert jobs.add_once(app_session, job)
    app_session.commit()
    session.commit()
    assert states(blog.site) == {"running": 1, "pending": 1}


# --- claiming ----------------------------------------------------------------------------------------


def test_jobs_are_claimed_in_the_order_in_which_they_are_due(blog: Blog, session: Session) -> None:
    now = datetime.now(UTC)
    app_session = blog.db.session()
    for minutes in (1, 3, 2, 3):
        due_at = now - timedelta(minutes=minutes)
        jobs.add(app_session, [NewJob(kind=str(minutes), due_at=due_at)])
    app_session.commit()
    claimed = [take(session, want=1).claims[0] for _ in range(4)]
    assert [claim.kind for claim in claimed] == ["3", "3", "2", "1"]
    assert claimed[0].id < claimed[1].id
    assert not take(session, want=1).claims


def test_a_claim_takes_so_many_and_tells_whether_there_are_more(blog: Blog, session: Session) -> None:
    owe(blog, "a", 5)
    turn = take(session, want=3)
    assert [claim.payload["n"] for claim in turn.claims] == [0, 1, 2]
    assert turn.next_due is None
    assert len(take(session, want=3).claims) == 2
    assert take(session, want=3) == Turn()
    assert take(session, want=0) == Turn()


def test_hosts_are_left_aside(blog: Blog, session: Session) -> None:
    owe(blog, "a", 2, host="slow.example")
    owe(blog, "b", 2, host="quick.example")
    owe(blog, "c", 1)
    turn = take(session, without_hosts=["slow.example", "other.example"])
    assert [claim.kind for claim in turn.claims] == ["b", "b", "c"]
    assert turn.next_due is None, "those left aside do not make the worker look again"
    assert [claim.kind for claim in take(session).claims] == ["a", "a"]


def test_a_claim_holds_until_its_lease_ends(blog: Blog, session: Session) -> None:
    now = datetime.now(UTC)
    owe(blog, "a", 2)
    claims = take(session, lease_seconds=30).claims
    assert {job.state for job in all_jobs(blog.site)} == {JobState.running}
    assert jobs.reclaim(session, now + timedelta(seconds=29), 3) == 0
    jobs.renew(session, claims[:1], now + timedelta(seconds=100))
    assert jobs.reclaim(session, now + timedelta(seconds=40), 3) == 1
    again = take(session, now=now + timedelta(seconds=41)).claims
    assert [(claim.id, claim.attempts) for claim in again] == [(claims[1].id, 2)]
    assert again[0].token != claims[1].token
    assert jobs.reclaim(session, now + timedelta(seconds=101), 3) == 2


def test_who_lost_a_claim_writes_nothing(blog: Blog, session: Session) -> None:
    """A worker that was frozen past its lease, and thaws when another has the job, or has done it."""
    owe(blog, "a", 3)
    now = datetime.now(UTC)
    late = take(session, now=now).claims
    jobs.reclaim(session, now + timedelta(seconds=60), 3)
    claims = take(session, 1, now=now + timedelta(seconds=60)).claims
    settle(session, claims, jobs.done("first"))
    settle(session, [late[1]], jobs.later(0, "is pending, by another token"))
    attempt = AttemptMade(started_at=now, seconds=1, outcome="done")
    ours = take(session, 2, now=now + timedelta(seconds=60)).claims
    finished = [Finished(claim=claim, outcome=jobs.dead("late", attempt=attempt)) for claim in late]
    finished.insert(1, Finished(claim=ours[0], outcome=jobs.done("ours", attempt=attempt)))
    jobs.turn(session, now=now, schedule=SCHEDULE, finished=finished)
    first, second, third = all_jobs(blog.site)
    assert (first.state, first.reason) == (JobState.done, "first")
    assert (second.state, second.reason, second.attempts) == (JobState.done, "ours", 2)
    assert third.state == JobState.running
    (number, job_id) = session.execute(sa.select(Attempt.number, Attempt.job_id)).one()
    assert (number, job_id) == (2, second.id)
    jobs.renew(session, late, now + timedelta(days=1))
    assert the_due(session, third.id) < now + timedelta(days=1)


def the_due(session: Session, job_id: int) -> datetime:
    return session.scalars(sa.select(Job.due_at).where(Job.id == job_id)).one()


def test_who_is_registered_for_a_kind_is_owed_the_burial_of_its_dead_jobs(
    blog: Blog, session: Session
) -> None:
    """Not of those that still have an attempt, of other kinds, or that the handler itself calls dead."""
    now = datetime.now(UTC) + timedelta(minutes=1)
    for kind in ("known", "other"):
        for end in ("raised", "said", "lost", "again"):
            owe(blog, f"{kind}-{end}")
    names = {"known-raised", "known-said", "known-lost", "known-again"}
    claims = {claim.kind: replace(claim, attempts=3) for claim in take(session, now=now, want=8).claims}
    assert len(claims) == 8
    claims["known-again"] = replace(claims["known-again"], attempts=2)
    ends = {"raised": jobs.again("boom"), "said": jobs.dead("no"), "again": jobs.again("not yet")}
    finished = [
        Finished(claim=claim, outcome=ends[kind.partition("-")[2]])
        for kind, claim in claims.items()
        if not kind.endswith("lost")
    ]
    jobs.turn(session, now=now, schedule=SCHEDULE, finished=finished, burials=names)
    jobs.reclaim(session, now + timedelta(hours=1), 1, burials=names)
    owed = session.scalars(sa.select(Job.payload).where(Job.kind == jobs.BURY))
    assert [(payload or {})["job_id"] for payload in owed] == [
        claims["known-raised"].id,
        claims["known-lost"].id,
    ]


def test_what_kills_workers_is_dead_after_its_last_attempt(blog: Blog, session: Session) -> None:
    now = datetime.now(UTC)
    owe(blog, "poison")
    for attempt in range(1, 4):
        now += timedelta(minutes=1)
        (claim,) = take(session, now=now).claims
        assert (claim.attempts, claim.is_last) == (attempt, attempt == 3)
        now += timedelta(minutes=1)
        assert jobs.reclaim(session, now, len(SCHEDULE)) == 1
    job = the_job(blog.site)
    assert (job.state, job.reason) == (JobState.dead, "The worker vanished during the last attempt.")
    assert job.finished_at == now
    assert not take(session, now=now).claims


def test_a_payload_that_cannot_be_decoded_is_dead_and_harms_no_other(
    blog: Blog, session: Session, database_url: str
) -> None:
    owe(blog, "a", 3)
    broken = '"no object"' if database_url.startswith("postgresql") else '{"half'
    session.execute(sa.text("UPDATE linkback_job SET payload = :broken WHERE id = 2"), {"broken": broken})
    session.commit()
    assert [claim.payload["n"] for claim in take(session).claims] == [0, 2]
    job = all_jobs(blog.site)[1] if database_url.startswith("postgresql") else None
    state, reason = session.execute(sa.select(Job.state, Job.reason).where(Job.id == 2)).one()
    assert state == JobState.dead
    assert reason.startswith("Its payload is broken: ")
    assert job is None or job.finished_at is not None


@pytest.mark.parametrize("workers", [8])
def test_many_workers_claim_each_job_once(blog: Blog, workers: int) -> None:
    count = 1000
    owe(blog, "a", count)
    claimed: list[int] = []
    start = threading.Barrier(workers)

    def work() -> None:
        with blog.site.context(), blog.site.new_session() as session:
            start.wait(10)
            finished: list[Finished] = []
            while True:
                turn = take(session, 20, finished=finished)
                finished = [Finished(claim=claim, outcome=jobs.done()) for claim in turn.claims]
                claimed.extend(claim.id for claim in turn.claims)
                if not turn.claims:
                    return

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(claimed) == sorted(set(claimed)), "a job was claimed twice"
    assert states(blog.site) == {"done": count}
    assert len(claimed) == count


def test_a_claim_does_not_wait_for_another_on_postgresql(blog: Blog, only_postgresql: None) -> None:
    owe(blog, "a", 10)
    with blog.site.new_session() as one, blog.site.new_session() as two:
        one.execute(sa.text("SELECT id FROM linkback_job WHERE id <= 4 FOR UPDATE"))
        two.execute(sa.text("SET lock_timeout = '1s'"))
        turn = take(two, 20)
        assert [claim.id for claim in turn.claims] == [5, 6, 7, 8, 9, 10]
        assert turn.next_due is not None, "what is locked is looked for again"
        one.rollback()
        assert len(take(two, 20).claims) == 4


def plans(session: Session, sent: Sequence[tuple[str, Any]]) -> list[str]:
    """Explain what was sent to the database."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        explained = [
            connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {each}", values) for each, values in sent
        ]
        return [" | ".join(row[-1] for row in rows) for rows in explained]
    session.execute(sa.text("SET enable_seqscan = off"))
    return [
        "\n".join(connection.exec_driver_sql(f"EXPLAIN {each}", values).scalars()) for each, values in sent
    ]


def test_looking_and_claiming_use_the_index(blog: Blog, session: Session) -> None:
    """A million finished jobs cost a look nothing."""
    engine = session.get_bind()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    sent: list[tuple[str, Any]] = []

    def remember(connection: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool) -> None:
        sent.append((statement, values))

    owe(blog, "a", 2)
    sa.event.listen(engine, "before_cursor_execute", remember)
    take(session, 1)
    take(session, 1, without_hosts=["slow.example"])
    jobs.reclaim(session, now + timedelta(days=10_000), 3)
    sa.event.remove(engine, "before_cursor_execute", remember)
    touching = [each for each in sent if "UPDATE" not in each[0] or "SELECT" in each[0]]
    assert len(touching) >= 6
    for plan in plans(session, touching):
        assert "ix_linkback_job_state" in plan, plan
        assert "Seq Scan" not in plan, plan
        assert "SCAN" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def test_somebody_writes_between_looking_and_claiming(
    blogs: Callable[..., Blog], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite in WAL mode, with transactions that begin when SQLAlchemy says so (its own recipe)."""
    blog = blogs(sqlite_url, content=None, RUNNER="off")
    look = jobs._next_due

    with blog.app.app_context():
        engine = blog.site.engine
        engine.dispose()

        @sa.event.listens_for(engine, "connect")
        def connect(connection: Any, record: Any) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA journal_mode = WAL")

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        def interrupted(*args: Any) -> datetime | None:
            found = look(*args)
            blog.db.session.add(blog.Post(slug=f"{datetime.now(UTC)}"))
            blog.db.session.commit()
            return found

        owe(blog, "a", 3)
        monkeypatch.setattr(jobs, "_next_due", interrupted)
        with blog.site.new_session() as session:
            assert len(take(session, 3).claims) == 3
            jobs.reclaim(session, datetime.now(UTC) + timedelta(hours=1), 3)
        assert states(blog.site) == {"pending": 3}


# --- settling ----------------------------------------------------------------------------------------


def test_outcomes(blog: Blog, session: Session) -> None:
    owe(blog, "a", 6)
    now = datetime.now(UTC)
    claims = take(session, now=now).claims
    outcomes = [
        jobs.done(),
        jobs.done("The target has it already."),
        jobs.dead("410"),
        jobs.again("500"),
        jobs.again("503", overloaded=True),
        jobs.later(120, "busy"),
    ]
    finished = [
        Finished(claim=claim, outcome=outcome) for claim, outcome in zip(claims, outcomes, strict=True)
    ]
    jobs.turn(session, now=now, schedule=SCHEDULE, finished=finished)
    done, told, dead, again, overloaded, later = all_jobs(blog.site)
    for job in (done, told, dead):
        assert (job.finished_at, job.token, job.attempts) == (now, None, 1)
    assert (done.state, done.reason) == (JobState.done, "")
    assert (told.state, told.reason) == (JobState.done, "The target has it already.")
    assert (dead.state, dead.reason) == (JobState.dead, "410")
    for job in (again, overloaded, later):
        assert (job.state, job.token, job.finished_at) == (JobState.pending, None, None)
    assert 5 <= (again.due_at - now).total_seconds() <= 6
    assert 60 <= (overloaded.due_at - now).total_seconds() <= 72
    assert (again.attempts, again.reason) == (1, "500")
    assert (later.due_at - now, later.attempts, later.reason) == (timedelta(seconds=120), 0, "busy")


def test_a_job_is_dead_after_its_last_attempt_and_can_be_replayed(blog: Blog, session: Session) -> None:
    owe(blog, "a")
    now = datetime.now(UTC)
    for attempt in range(1, 4):
        (claim,) = take(session, now=now).claims
        settle(session, [claim], jobs.again(f"attempt {attempt}"), now)
        now += timedelta(hours=1)
    job = the_job(blog.site)
    assert (job.state, job.attempts, job.reason) == (JobState.dead, 3, "attempt 3")
    assert not take(session, now=now).claims

    app_session = blog.db.session()
    assert jobs.replay(app_session, job.id)
    assert not jobs.replay(app_session, job.id), "it waits already"
    assert not jobs.replay(app_session, 999)
    app_session.commit()
    (claim,) = take(session).claims
    assert (claim.attempts, claim.is_last) == (1, False)


def test_attempts_are_kept_beside_their_job(blog: Blog, session: Session) -> None:
    owe(blog, "a", 2)
    now = datetime.now(UTC)
    claims = take(session, now=now).claims
    attempt = AttemptMade(
        started_at=now,
        seconds=0.25,
        outcome="done",
        url="https://a.example/",
        address="192.0.2.1",
        status_code=202,
        headers={"Server": "x"},
        body=b"\x00\xff",
        reason="odd \0 and \ud800",
    )
    settle(session, claims, jobs.done(attempt=attempt))
    rows = session.scalars(sa.select(Attempt).order_by(Attempt.job_id)).all()
    assert [row.job_id for row in rows] == [claim.id for claim in claims]
    assert (rows[0].number, rows[0].body, rows[0].headers) == (1, b"\x00\xff", {"Server": "x"})
    assert rows[0].reason == "odd  and ?"


def test_an_outcome_that_cannot_be_written_spoils_no_other(blog: Blog, session: Session) -> None:
    owe(blog, "a", 4)
    now = datetime.now(UTC)
    claims = take(session, now=now).claims
    bad = AttemptMade(started_at=now.replace(tzinfo=None), seconds=1, outcome="done")
    outcomes = [
        jobs.done(),
        jobs.done("sent", attempt=bad),
        jobs.again("odd", retry_after=float("nan")),
        jobs.later(float("inf")),
    ]
    finished = [
        Finished(claim=claim, outcome=outcome) for claim, outcome in zip(claims, outcomes, strict=True)
    ]
    jobs.turn(session, now=now, schedule=SCHEDULE, finished=finished)
    states = [(job.state.value, job.reason) for job in all_jobs(blog.site)]
    assert states == [
        ("done", ""),
        ("done", "done, but the rest cannot be written: StatementError"),
        ("pending", "odd"),
        ("pending", "later, but the rest cannot be written: OverflowError"),
    ]
    assert session.scalars(sa.select(Attempt)).all() == []


def test_a_turn_is_one_transaction(blog: Blog, session: Session) -> None:
    owe(blog, "a", 30)
    claims = take(session, 10).claims
    commits: list[Any] = []

    def count(connection: Any) -> None:
        commits.append(connection)

    sa.event.listen(blog.site.engine, "commit", count)
    finished = [Finished(claim=claim, outcome=jobs.done("ok" if claim.id % 2 else "")) for claim in claims]
    turn = take(session, 10, finished=finished)
    sa.event.remove(blog.site.engine, "commit", count)
    assert len(commits) == 1
    assert len(turn.claims) == 10
    assert states(blog.site) == {"done": 10, "running": 10, "pending": 10}


def test_a_database_that_is_neither_is_refused(blog: Blog, session: Session, monkeypatch: Any) -> None:
    owe(blog, "a")
    monkeypatch.setattr(jobs, "dialect_of", lambda _: "oracle")
    with pytest.raises(ConfigError, match="not yet on oracle"):
        take(session)


# --- the clock ---------------------------------------------------------------------------------------


def test_the_sites_clock_counts(blog: Blog, session: Session, monkeypatch: Any) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr(blog.site, "now", lambda: tomorrow)
    assert jobs.clock(session, blog.site) == tomorrow


@pytest.mark.parametrize("hours", [1, -1])
def test_a_machine_whose_clock_is_off_goes_by_the_servers(
    blog: Blog, session: Session, monkeypatch: Any, only_postgresql: None, hours: int
) -> None:
    off = timedelta(hours=hours)
    monkeypatch.setattr(jobs, "_machine_clock", lambda: datetime.now(UTC) + off)
    monkeypatch.setattr(blog.site, "now", jobs._machine_clock)
    assert abs(jobs.clock(session, blog.site) - datetime.now(UTC)) < timedelta(seconds=1)
    # a web process on such a machine adds a job: it is due at once all the same
    owe(blog, "a")
    assert len(take(session, now=jobs.clock(session, blog.site)).claims) == 1
