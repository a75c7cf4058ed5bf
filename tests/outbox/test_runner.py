"""Who does the work: the embedded thread, another process, the committing thread, or nobody."""

from __future__ import annotations

import gc
import re
import threading
import urllib.request
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_linkback.errors import ConfigError
from flask_linkback.models import JobState
from flask_linkback.outbox import jobs, worker
from flask_linkback.outbox.jobs import Claim, NewJob, Outcome
from flask_linkback.outbox.worker import Runner
from flask_linkback.site import Site
from tests.apps import Blog, make_blog
from tests.outbox.helpers import (
    all_done,
    all_jobs,
    noted,
    owe,
    process,
    said,
    states,
    the_job,
    wait_until,
)

Blogs = Callable[..., Blog]


@pytest.fixture(autouse=True)
def not_by_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of commands leave this in the environment."""
    monkeypatch.delenv("FLASK_RUN_FROM_CLI", raising=False)


def workers() -> int:
    return [thread.name for thread in threading.enumerate()].count("linkback-worker")


def handled(blog: Blog) -> list[int]:
    """Let jobs of kind "a" be done, and return the list of the threads that did them."""
    threads: list[int] = []

    def handle(site: Site, claim: Claim) -> Outcome:
        threads.append(threading.get_ident())
        return jobs.done()

    blog.site.handlers["a"] = handle
    return threads


# --- thread ------------------------------------------------------------------------------------------


@pytest.fixture
def embedded(blogs: Blogs, database_url: str) -> Blog:
    return blogs(database_url, content=None, testing=False, RUNNER="thread")


def test_the_first_request_starts_the_worker_once(embedded: Blog) -> None:
    handled(embedded)
    assert workers() == 0
    client = embedded.app.test_client()
    for _ in range(3):
        assert client.get("/about").status_code == 200
        assert workers() == 1


def test_the_first_commit_that_owes_something_starts_the_worker(embedded: Blog) -> None:
    threads = handled(embedded)
    with embedded.app.app_context():
        session = embedded.db.session()
        session.add(embedded.Post(slug="a"))
        session.commit()
        jobs.add(session, [NewJob(kind="a")])
        session.rollback()
        with session.begin_nested():
            jobs.add(session, [NewJob(kind="a")])
        assert workers() == 0, "not before the outermost transaction is committed"
        session.commit()
        assert workers() == 1
    wait_until(lambda: all_done(embedded.site))
    assert threading.get_ident() not in threads


def test_a_worker_that_ended_is_started_again(embedded: Blog) -> None:
    handled(embedded)
    owe(embedded, "a")
    wait_until(lambda: all_done(embedded.site))
    embedded.site.get(Runner).stop()
    assert workers() == 0
    owe(embedded, "a")
    assert workers() == 1
    wait_until(lambda: all_done(embedded.site))


def test_many_first_requests_start_one_worker(embedded: Blog) -> None:
    runner = embedded.site.get(Runner)
    start = threading.Barrier(8)

    def request() -> None:
        start.wait(10)
        with embedded.app.app_context():
            runner.ensure_alive(embedded.site)

    threads = [threading.Thread(target=request) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert workers() == 1


def test_a_process_that_is_a_worker_itself_starts_none(embedded: Blog) -> None:
    with embedded.site.get(Runner).taken() as bell:
        owe(embedded, "a")
        embedded.app.test_client().get("/about")
        assert workers() == 0
        assert bell.wait(0)


FORK = """
import os, signal, sys, threading, warnings
import sqlalchemy as sa
from flask_linkback.outbox import jobs
from tests.outbox.works import create_app, note

app = create_app()
db = app.extensions["sqlalchemy"]

def workers():
    return [thread.name for thread in threading.enumerate()].count("linkback-worker")

def backend():
    if db.engine.dialect.name == "sqlite":
        return os.getpid()
    return db.session.scalar(sa.select(sa.func.pg_backend_pid()))

def owe():
    jobs.add(db.session(), [jobs.NewJob(kind="note")])
    db.session.commit()

with app.app_context():
    owe()
    db.session.remove()  # what the parent used is back in the pool
    assert workers() == 1
    warnings.simplefilter("ignore", ResourceWarning)  # a child does not close its parent's connections
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # should it hang, it does not outlive the test
        before = workers()
        owe()
        note(child=True, before=before, after=workers(), backend=backend())
        db.session.remove()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    owe()
    note(child=False, before=1, after=workers(), backend=backend())
"""


def test_a_fork_has_a_worker_of_its_own(blogs: Blogs, database_url: str, tmp_path: Path) -> None:
    blog = blogs(database_url, content=None, RUNNER="off")
    log = tmp_path / "log"
    with process(blog, log, "-c", FORK, settings={"RUNNER": "thread"}) as parent:
        assert parent.wait(30) == 0, said(log).read_text()
    child, mother = sorted(
        (each for each in noted(log) if "child" in each), key=lambda each: not each["child"]
    )
    assert (child["before"], child["after"]) == (0, 1)
    assert (mother["before"], mother["after"]) == (1, 1)
    assert child["backend"] != mother["backend"]
    assert said(log).read_text() == ""
    assert set(states(blog.site)) <= {"done", "pending"}


# --- when there must be no thread --------------------------------------------------------------------


def provoke(blog: Blog) -> None:
    owe(blog, "a")
    blog.app.test_client().get("/about")


@pytest.mark.parametrize("runner", ["external", "off", "inline"])
def test_other_runners_have_no_thread(blogs: Blogs, sqlite_url: str, runner: str) -> None:
    blog = blogs(sqlite_url, content=None, testing=False, RUNNER=runner)
    handled(blog)
    provoke(blog)
    assert workers() == 0
    assert states(blog.site) == {"done" if runner == "inline" else "pending": 1}


def test_tests_and_databases_in_memory_have_no_thread(blogs: Blogs, sqlite_url: str) -> None:
    provoke(blogs(sqlite_url, content=None, RUNNER="thread"))
    provoke(blogs("sqlite://", content=None, RUNNER="thread", testing=False))
    assert workers() == 0


def test_commands_have_no_thread(embedded: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    @embedded.app.cli.command("post")
    def post() -> None:
        provoke(embedded)
        seen.append(workers())
        monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")  # as the flask command does
        thread = threading.Thread(target=owe, args=(embedded, "a"))  # of which click knows nothing
        thread.start()
        thread.join(10)
        seen.append(workers())

    ran = embedded.app.test_cli_runner().invoke(args=["post"])
    assert (ran.exit_code, seen) == (0, [0, 0])


SHELL = """
import threading
from flask import current_app
from flask_linkback.outbox import jobs
db = current_app.extensions["sqlalchemy"]
jobs.add(db.session(), [jobs.NewJob(kind="note")]); db.session.commit()
print("threads:", sorted(thread.name for thread in threading.enumerate()))
"""


def test_the_shell_has_no_thread(blogs: Blogs, sqlite_url: str, tmp_path: Path) -> None:
    blog = blogs(sqlite_url, content=None, RUNNER="off")
    log = tmp_path / "log"
    log.with_suffix(".py").write_text(SHELL)
    read = f"import os; os.dup2(os.open({str(log.with_suffix('.py'))!r}, 0), 0)"
    shell = f"{read}; from flask.cli import main; main()"
    arguments = ("-c", shell, "--app", "tests.outbox.works", "shell")
    with process(blog, log, *arguments, settings={"RUNNER": "thread"}) as child:
        assert child.wait(30) == 0
    assert "threads: ['MainThread']" in said(log).read_text()
    assert states(blog.site) == {"pending": 1}


def test_flask_run_has_one(blogs: Blogs, sqlite_url: str, tmp_path: Path) -> None:
    blog = blogs(sqlite_url, content=None, RUNNER="off")
    log = tmp_path / "log"
    arguments = ("-m", "flask", "--app", "tests.outbox.works", "run", "--port", "0")
    with process(blog, log, *arguments, settings={"RUNNER": "thread"}) as server:
        found = wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+", said(log).read_text()), 30)
        request = urllib.request.Request(f"{found[0]}/owe/2", method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        wait_until(lambda: states(blog.site) == {"done": 2})
        server.terminate()
        server.wait(10)


# --- inline ------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def inline(request: pytest.FixtureRequest, blogs: Blogs) -> Iterator[Blog]:
    url = "sqlite://" if request.param == "memory" else request.getfixturevalue(f"{request.param}_url")
    blog = blogs(url, content=None, RUNNER="inline", RETRY_SCHEDULE=(0, 0, 0))
    with blog.app.app_context():
        yield blog


def test_inline_jobs_run_in_the_committing_thread_after_the_commit(inline: Blog) -> None:
    session = inline.db.session()
    seen: list[Any] = []

    def handle(site: Site, claim: Claim) -> Outcome:
        seen.append((threading.get_ident(), inline.db.session() is session, session.in_transaction()))
        slugs = inline.db.session.scalars(sa.select(inline.Post.slug)).all()
        seen.append(list(slugs))
        return jobs.done()

    inline.site.handlers["a"] = handle
    post = inline.Post(slug="a")
    session.add(post)
    with session.begin_nested():
        jobs.add(session, [NewJob(kind="a")])
    session.flush()
    assert seen == []
    session.commit()
    assert seen == [(threading.get_ident(), False, False), ["a"]]
    assert post.slug == "a"
    assert all_done(inline.site)


def test_inline_jobs_of_a_rolled_back_savepoint_do_not_run(inline: Blog) -> None:
    threads = handled(inline)
    session = inline.db.session()
    jobs.add(session, [NewJob(kind="a")])
    savepoint = session.begin_nested()
    jobs.add(session, [NewJob(kind="a"), NewJob(kind="a")])
    savepoint.rollback()
    session.begin_nested()  # and one that is left open
    session.commit()
    assert len(threads) == 1
    jobs.add(session, [NewJob(kind="a")])
    session.rollback()
    session.add(inline.Post(slug="b"))
    session.commit()
    assert len(threads) == 1
    with session.begin():
        jobs.add(session, [NewJob(kind="a")])
    assert len(threads) == 2


def test_commits_of_inline_jobs_do_not_recurse(inline: Blog) -> None:
    inside: list[int] = []
    order: list[int] = []

    def handle(site: Site, claim: Claim) -> Outcome:
        assert not inside
        inside.append(claim.id)
        if claim.payload["n"] < 4:
            jobs.add(site.session, [NewJob(kind="a", payload={"n": claim.payload["n"] + 1})])
            site.session.commit()
        order.append(claim.payload["n"])
        inside.clear()
        return jobs.done()

    inline.site.handlers["a"] = handle
    owe(inline, "a")
    assert order == [0, 1, 2, 3, 4]
    assert all_done(inline.site)


def test_an_inline_job_that_fails_harms_no_commit_and_runs_once(
    inline: Blog, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []

    def handle(site: Site, claim: Claim) -> Outcome:
        runs.append(claim.attempts)
        raise ValueError("odd")

    inline.site.handlers["a"] = handle
    owe(inline, "a")
    assert runs == [1]
    job = the_job(inline.site)
    assert (job.state, job.attempts) == (JobState.pending, 1)
    assert [record.getMessage() for record in caplog.records] == ["A job of kind a raised."]
    handled(inline)
    owe(inline, "a")
    assert [job.attempts for job in all_jobs(inline.site)] == [2, 1]
    assert all_done(inline.site)


def test_a_commit_stands_when_inline_jobs_cannot_be_done(
    inline: Blog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(worker, "drain", fail)
    owe(inline, "a")
    assert states(inline.site) == {"pending": 1}
    assert caplog.records[0].getMessage().startswith("Jobs that were committed could not be done at once")


# --- celery, which is to come ------------------------------------------------------------------------


def test_celery_is_refused_in_one_sentence(sqlite_url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_blog(sqlite_url, RUNNER="celery")
    assert str(caught.value) == "LINKBACK_RUNNER 'celery' does not exist yet: use 'thread' or 'external'."


# --- nothing is kept alive ---------------------------------------------------------------------------


def run_and_drop(url: str, count: int) -> list[weakref.ref[Flask]]:
    """Make apps with embedded workers, let them work, and keep nothing of them."""
    apps = []
    for _ in range(count):
        blog = make_blog(url, content=None, testing=False, RUNNER="thread")
        handled(blog)
        owe(blog, "a", 5)
        wait_until(lambda blog=blog: all_done(blog.site))  # type: ignore[misc]
        apps.append(weakref.ref(blog.app))
    return apps


@pytest.mark.parametrize("count", [1, 3])
def test_an_application_that_nobody_uses_any_more_is_collected_with_its_threads(
    database_url: str, count: int
) -> None:
    apps = run_and_drop(database_url, count)

    def collected() -> bool:
        gc.collect()
        return not any(app() for app in apps)

    wait_until(collected, 5)
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("linkback-")], 5)
