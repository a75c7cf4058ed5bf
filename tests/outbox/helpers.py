"""Helpers: waiting without sleeping, looking at jobs, workers in threads and in processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from flask_linkback import models
from flask_linkback.models import Job
from flask_linkback.outbox import jobs
from flask_linkback.outbox.worker import Worker
from flask_linkback.site import Site
from tests.apps import Blog

T = TypeVar("T")
ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], T], seconds: float = 20.0, *, every: float = 0.01) -> T:
    """Return the first true value of a condition; fail if there is none in time."""
    never = threading.Event()
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        never.wait(every)
    return value


# --- jobs --------------------------------------------------------------------------------------------


def owe(blog: Blog, kind: str, count: int = 1, **values: Any) -> None:
    """Add jobs and commit; ``n`` in the payload counts them."""
    with blog.app.app_context():
        session = blog.db.session()
        jobs.add(session, [jobs.NewJob(kind=kind, payload={"n": n}, **values) for n in range(count)])
        session.commit()


def all_jobs(site: Site) -> list[Job]:
    with site.context(), site.new_session() as session:
        return list(session.scalars(sa.select(Job).order_by(Job.id)))


def the_job(site: Site) -> Job:
    (job,) = all_jobs(site)
    return job


def states(site: Site) -> dict[str, int]:
    """Return the number of jobs by their state."""
    with site.context(), site.new_session() as session:
        return dict(Counter(state.value for state in session.scalars(sa.select(Job.state))))


def all_done(site: Site) -> bool:
    return set(states(site)) == {"done"}


# --- workers -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def working(blog: Blog, **options: Any) -> Iterator[Worker]:
    """A worker in a thread of this process."""
    worker = Worker(blog.site, runner="external", **options)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()


@contextlib.contextmanager
def process(
    blog: Blog, log: Path, *command: str, settings: dict[str, Any] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Another process with the application of `tests.outbox.works` on the same database.

    ``command`` follows ``python``. What it says goes to a file beside ``log``.
    """
    with blog.app.app_context():
        url = blog.site.engine.url.render_as_string(hide_password=False)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("FLASK_", "COVERAGE_"))}
    env |= {"WORKS_DATABASE": url, "WORKS_LOG": str(log), "WORKS_SETTINGS": json.dumps(settings or {})}
    with said(log).open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-W", "error", *command], cwd=ROOT, env=env, stdout=output, stderr=output
        )
        try:
            yield child
        finally:
            child.kill()
            child.wait(10)


def said(log: Path) -> Path:
    """Where the processes of a log say what they have to say."""
    return log.with_suffix(".said")


WORKER = ("-m", "flask", "--app", "tests.outbox.works", "linkback", "worker")


def wait_for_worker(blog: Blog, pid: int) -> None:
    """Wait until the worker of a process has looked for jobs for the first time."""

    def seen() -> bool:
        with blog.site.context(), blog.site.new_session() as session:
            return session.scalar(sa.select(models.Worker.id).where(models.Worker.pid == pid)) is not None

    wait_until(seen, 30)


def noted(log: Path) -> list[dict[str, Any]]:
    """What the jobs of processes wrote to their log."""
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines()]
