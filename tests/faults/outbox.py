"""Outbox: rollbacks, many workers for one row, answers that get lost, rows that poison."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
import sqlalchemy as sa

from flask_linkback.models import Job, JobState, Link, Listener, ListenerSecret, Page, Secret
from flask_linkback.outbox import jobs
from flask_linkback.outbox.jobs import CHANNEL
from flask_linkback.outbox.worker import Runner
from tests.apps import Blog
from tests.faults.receiver import Manner, Receiver
from tests.faults.report import Report
from tests.faults.stage import Stage

# --- experiment 3 ------------------------------------------------------------------------------------


def rollbacks(kind: str, scale: float) -> Report:
    """Experiment 3: what is rolled back leaves no row, tells nobody and wakes nobody."""
    rounds = 100
    report = Report()
    with Stage(kind, content="html") as stage:
        blog = stage.blog
        link = f'<a href="{stage.receiver.url("/page/x")}">x</a>'
        with blog.site.get(Runner).taken() as bell, _listening(stage) as heard:
            clean = 0
            for number in range(rounds):
                way = _WAYS[number % len(_WAYS)]
                with blog.app.app_context():
                    way(blog, f"post-{number}", link)
                with blog.app.app_context():
                    blog.linkback.run_until_idle()
                woken = [bell.wait(0), heard()]
                # the transaction round a savepoint is committed: it may wake who finds nothing
                clean += not (_rows_of_ours(stage) or (any(woken) and way is not _by_savepoint))
            report.check(clean == rounds, f"only {clean} of {rounds} left nothing")
            report.check(not stage.receiver.receipts, f"{len(stage.receiver.receipts)} told")
            # and the same ways would be seen if they committed
            with blog.app.app_context():
                blog.linkback.publish("/post/told", html=link)
                blog.db.session.commit()
            report.check(bell.wait(0) and heard() and _rows_of_ours(stage) > 0, "not even a commit is seen")
        report.figures = {"rollbacks": rounds, "clean": clean}
    return report


def _by_rollback(blog: Blog, slug: str, html: str) -> None:
    blog.linkback.publish(f"/post/{slug}", html=html)
    blog.db.session.rollback()


def _by_model(blog: Blog, slug: str, html: str) -> None:
    blog.db.session.add(blog.Post(slug=slug, html=html))
    blog.db.session.flush()
    blog.db.session.rollback()


def _by_savepoint(blog: Blog, slug: str, html: str) -> None:
    with contextlib.suppress(KeyError), blog.db.session.begin_nested():
        blog.linkback.publish(f"/post/{slug}", html=html)
        raise KeyError
    blog.db.session.commit()


def _by_failure(blog: Blog, slug: str, html: str) -> None:
    """The commit itself fails: the same slug twice."""
    blog.linkback.publish(f"/post/{slug}", html=html)
    blog.db.session.add_all([blog.Post(slug=slug, html=html), blog.Post(slug=slug, html=html)])
    with contextlib.suppress(sa.exc.IntegrityError):
        blog.db.session.commit()
    blog.db.session.rollback()


def _by_leaving(blog: Blog, slug: str, html: str) -> None:
    """Nobody commits: the session ends with its context."""
    blog.linkback.publish(f"/post/{slug}", html=html)


_WAYS: Final[list[Callable[[Blog, str, str], None]]] = [
    _by_rollback,
    _by_model,
    _by_savepoint,
    _by_failure,
    _by_leaving,
]


def _rows_of_ours(stage: Stage) -> int:
    return sum(stage.rows(sa.select(sa.func.count(table.id)))[0][0] for table in (Job, Page, Link))


@contextlib.contextmanager
def _listening(stage: Stage) -> Iterator[Callable[[], bool]]:
    """Hear what other processes would hear; the value tells whether there was anything."""
    if stage.kind == "postgresql":
        url = sa.make_url(stage.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}")

            def notified() -> bool:
                # our own comes behind all that were committed before
                connection.execute(f"NOTIFY {CHANNEL}, 'last'")
                others = itertools.takewhile(lambda each: each.payload != "last", connection.notifies())
                return len(list(others)) > 0

            yield notified
        return
    with contextlib.closing(sqlite3.connect(sa.make_url(stage.url).database or "")) as connection:
        seen = connection.execute("PRAGMA data_version").fetchone()

        def heard() -> bool:
            nonlocal seen
            before, seen = seen, connection.execute("PRAGMA data_version").fetchone()
            return before != seen

        yield heard


# --- experiment 7 ------------------------------------------------------------------------------------


def claims(kind: str, scale: float) -> Report:
    """Experiment 7: many processes go for the same rows; each is done once."""
    count, processes = (1000, 32) if scale == 1 else (50, 8)
    report = Report()
    with Stage(kind, receiver=Receiver(hosts=20), threads=1) as stage:
        ids = stage.owe_notes(count // 2) + stage.owe_links(count // 2, of_a_page=5)
        pages = -(-count // 2 // 5)
        for process in stage.workers_once(processes):
            process.join(120)
            report.check(process.exitcode == 0, f"exit status {process.exitcode}: {stage.said()}")
        stage.wait_until_final(5)
        twice = [each for each, times in stage.receiver.counts.items() if times > 1]
        report.check(not twice, f"{len(twice)} told twice")
        report.check(set(ids) == set(stage.receiver.counts), f"{len(stage.receiver.counts)} told")
        again = stage.rows(sa.select(sa.func.count()).where(Job.attempts != 1))[0][0]
        report.check(again == 0, f"{again} jobs claimed more than once")
        begun = Counter((entry.job_id, entry.attempt) for entry in stage.diary() if entry.what == "begin")
        report.check(len(begun) == count + pages, f"{len(begun)} begun of {count + pages}")
        report.check(max(begun.values()) == 1, "a claim was begun twice")
        lost = stage.lost(count // 2 + pages)
        report.check(not lost, f"lost {lost}")
        took_part = len({entry.pid for entry in stage.diary()})
        report.figures = {"jobs": count + pages, "processes": processes, "took part": took_part}
    return report


# --- experiment 14 -----------------------------------------------------------------------------------


def ambiguous(kind: str, scale: float) -> Report:
    """Experiment 14: the receiver has it, its answer gets lost: it is told again, and the same."""
    count = int(10_000 * scale)
    report = Report()
    receiver = Receiver(hosts=20, manners=lambda receipt, before: Manner(hang_up=before == 0))
    with Stage(kind, receiver=receiver, RETRY_SCHEDULE=(0, 0.2, 0.2, 0.2)) as stage:
        ids = stage.owe_notes(count // 2) + stage.owe_links(count // 2)
        stage.worker()
        stage.wait_until_final(300)
        once = [each for each in ids if stage.receiver.counts[each] < 2]
        report.check(not once, f"{len(once)} were not told again")
        digests: dict[str, set[str]] = {}
        for receipt in stage.receiver.receipts:
            digests.setdefault(receipt.id, set()).add(receipt.digest)
        other = sum(len(each) > 1 for each in digests.values())
        report.check(other == 0, f"{other} were told otherwise the second time")
        pages = -(-count // 2 // 50)
        states = stage.states()
        report.check(states["done"] == count + pages, f"{states}")
        lost = stage.lost(count // 2 + pages)
        report.check(not lost, f"lost {lost}")
        report.figures = {"jobs": count, "told": len(stage.receiver.receipts)}
    return report


# --- experiment 18 -----------------------------------------------------------------------------------


def poison(kind: str, scale: float) -> Report:
    """Experiment 18: rows that cannot be done die with a reason, and the others are done."""
    count = int(10_000 * scale)
    schedule = (0, 0.1, 0.1)
    report = Report()
    receiver = Receiver(hosts=20)
    with Stage(kind, receiver=receiver, RETRY_SCHEDULE=schedule, SECRET_KEYS=[_KEY]) as stage:
        poisoned = _owe_poison(stage)
        ids = stage.owe_notes(count // 2) + stage.owe_links(count // 2)
        worker = stage.worker()
        pid = worker.pid
        stage.wait_until_final(120)
        report.check(worker.is_alive() and worker.pid == pid, f"the worker died: {stage.said()}")
        kept = sa.select(Job.id, Job.state, Job.reason, Job.attempts).where(Job.id.in_(poisoned))
        for job in stage.rows(kept):
            is_dead = job.state is JobState.dead and job.reason and 1 <= job.attempts <= len(schedule)
            report.check(bool(is_dead), f"{poisoned[job.id]}: {tuple(job)}")
        missing = set(ids) - set(stage.receiver.counts)
        report.check(not missing, f"{len(missing)} never told")
        twice = len(stage.receiver.receipts) - len(ids)
        report.check(not twice, f"{twice} duplicates")
        pages = -(-count // 2 // 50)
        links = sum(
            what in ("an empty payload", "an odd link", "a huge number") for what in poisoned.values()
        )
        lost = stage.lost(count // 2 + pages + len(poisoned) - links)
        report.check(not lost, f"lost {lost}")
        report.figures = {"jobs": count, "poisoned": len(poisoned), "dead": stage.states()["dead"]}
    return report


_KEY: Final = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def _owe_poison(stage: Stage) -> dict[int, str]:
    """Commit jobs that nobody can do; the value says what is wrong with each."""
    wrong: dict[str, dict[str, Any]] = {
        "unknown kind": {"kind": "nobody", "payload": {}},
        "no payload": {"kind": "note", "payload": None},
        "an empty payload": {"kind": "send_link", "payload": {}},
        "a wrong type": {"kind": "publish_page", "payload": {"url": 1, "targets": 2}},
        "an odd link": {"kind": "send_link", "payload": {"link_id": {"x": 1}}},
        "a huge number": {"kind": "send_link", "payload": {"link_id": 10**30}},
        "a broken secret": {"kind": "secret", "payload": {"secret_id": 1}},
        "it leaves": {"kind": "exit", "payload": {}},
        "no URL": {"kind": "note", "payload": {"id": "x", "url": "\0"}},
    }
    stored = {"a list": "[1]", "a string": '"x"', "a number": "17", "a NUL": '{"url": "\\u0000"}'}
    if stage.kind == "sqlite":
        # which keeps whatever it is given; PostgreSQL looks at JSON and text when they are written
        stored |= {"no JSON": "{", "nothing": "", "no text": b"\xff\xfe{"}
    now = stage.blog.site.now()
    with stage.blog.app.app_context():
        session = stage.blog.db.session()
        for values in wrong.values():
            jobs.add(session, [jobs.NewJob(**values)])
        jobs.add(session, [jobs.NewJob(kind="note", payload={}) for _ in stored])
        session.flush()
        ids = list(session.scalars(sa.select(Job.id).order_by(Job.id)))
        poisoned = dict(zip(ids, [*wrong, *stored], strict=True))
        for job_id, payload in zip(ids[len(wrong) :], stored.values(), strict=True):
            cast = "CAST(:payload AS TEXT)" if stage.kind == "sqlite" else "CAST(:payload AS JSON)"
            update = sa.text(f"UPDATE linkback_job SET payload = {cast} WHERE id = :id")
            session.execute(update, {"payload": payload, "id": job_id})
        listener = Listener(
            hook="x", hook_hash="", url="", host="", state="active", created_at=now, updated_at=now
        )
        session.add(listener)
        session.flush()
        session.add(ListenerSecret(id=1, listener_id=listener.id, secret=Secret("x"), created_at=now))
        session.flush()
        session.execute(sa.text("UPDATE linkback_listener_secret SET secret = 'fernet:broken'"))
        session.commit()
    return poisoned
