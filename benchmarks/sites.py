"""Sites: applications under measurement, each on a database of its own that goes away with it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_linkback import Linkback
from flask_linkback.models import Attempt, Job, JobState, host_of
from flask_linkback.models import Worker as WorkerRow
from flask_linkback.outbox import jobs
from flask_linkback.outbox.worker import Runner
from flask_linkback.site import Site

from .receiver import sign
from .runner import NotHere

__all__ = [
    "BODY",
    "DATABASES",
    "DELIVER",
    "POSTS",
    "ROOT",
    "Place",
    "make_app",
    "own_site",
    "process",
    "worker",
]

DATABASES = ("SQLite", "PostgreSQL")
ROOT = Path(__file__).parent.parent
DELIVER = "benchmark_deliver"
POSTS = 100
BODY = json.dumps({"type": "person.updated", "data": {"name": "Joe", "text": "x" * 940}})
CONFIG = "LINKBACK_BENCHMARK_CONFIG"
"""The environment variable that tells a process which site it serves, as JSON."""


# --- the application ---------------------------------------------------------------------------------


def make_app() -> Flask:
    """Return the site that the parent of this process described."""
    return _make_app(json.loads(os.environ[CONFIG]))


def _make_app(config: dict[str, Any]) -> Flask:
    """Return a site with posts that accept linkbacks, and with the job kind of the benchmarks."""

    class Models(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Models)
    linkback = Linkback(db=db)

    class Post(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str] = mapped_column(unique=True)
        title: Mapped[str]
        html: Mapped[str] = mapped_column(sa.Text)

    class Said(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        body: Mapped[bytes]

    app = Flask("benchmarks.site")
    app.config.update(
        LINKBACK_BASE_URL="https://blog.example",
        LINKBACK_ALLOW_NETWORKS="127.0.0.0/8",
        LINKBACK_ALLOW_PORTS="any",
        **config,
    )
    db.init_app(app)
    linkback.init_app(app)
    app.extensions["linkback"].handlers[DELIVER] = deliver

    @linkback.target("post", model=Post, url="url")
    def load(slug: str) -> Any:
        return db.session.scalar(db.select(Post).filter_by(slug=slug))

    @app.get("/post/<slug>", endpoint="post")
    @app.post("/post/<slug>", endpoint="bare")
    def bare(slug: str) -> str:
        """Load the post and answer: what storing a pingback is compared with."""
        return str(load(slug).title)

    @app.post("/insert")
    def insert() -> str:
        """Commit one INSERT of what was sent: what taking content is compared with."""
        db.session.execute(sa.insert(Said).values(body=request.get_data()))
        db.session.commit()
        return "Thank you."

    return app


def deliver(site: Site, claim: jobs.Claim) -> jobs.Outcome:
    """Do a job of the benchmarks: sign the body, post it through the door, say what the attempt saw."""
    began_at, began = site.now(), time.monotonic()
    url, body = claim.payload["url"], claim.payload["body"].encode()
    headers = {
        "Content-Type": "application/json",
        "X-Delivery": str(claim.payload["number"]),
        "X-Hub-Signature": sign(body),
    }
    response = site.fetch.post(url, body, headers=headers)
    good = 200 <= response.status < 300
    attempt = jobs.AttemptMade(
        started_at=began_at,
        seconds=time.monotonic() - began,
        outcome="done" if good else "status",
        url=url,
        address=response.address,
        status_code=response.status,
        headers=dict(response.headers),
        body=response.body,
    )
    return jobs.done(attempt=attempt) if good else jobs.again(f"HTTP {response.status}", attempt=attempt)


def _job(url: str, number: int) -> jobs.NewJob:
    payload = {"url": url, "number": number, "body": BODY}
    return jobs.NewJob(kind=DELIVER, payload=payload, host=host_of(url))


# --- one that is measured ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Place:
    """A site, and what another process needs to serve the same one."""

    app: Flask
    config: dict[str, Any]

    @property
    def site(self) -> Site:
        return self.app.extensions["linkback"]  # type: ignore[no-any-return]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, CONFIG: json.dumps(self.config)}

    def owe(self, urls: Iterable[str], first: int = 0) -> float:
        """Owe one delivery for each URL, numbered from ``first``; return when the commit began."""
        with self.app.app_context():
            session = self.site.session
            jobs.add(session, [_job(url, number) for number, url in enumerate(urls, first)])
            began = time.monotonic()
            session.commit()
            return began

    def check_all_done(self, seconds: float = 10) -> None:
        """Fail unless every job is done soon, with a row for its attempt."""
        deadline = time.monotonic() + seconds
        left: int | None = None
        while left != 0:
            if time.monotonic() > deadline:
                raise SystemExit(f"{left} jobs are not done.")
            with self.site.context(), self.site.new_session() as session:
                left = session.scalar(sa.select(sa.func.count()).where(Job.state != JobState.done))
                done = session.scalar(sa.select(sa.func.count()).select_from(Job))
                attempts = session.scalar(sa.select(sa.func.count()).select_from(Attempt))
        if done != attempts:
            raise SystemExit(f"{done} jobs are done, with {attempts} rows of attempts.")

    def wait_for_workers(self, count: int = 1, seconds: float = 20) -> None:
        """Return once so many workers have told the database that they live."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self.site.context(), self.site.new_session() as session:
                lives = session.scalar(sa.select(sa.func.count()).select_from(WorkerRow))
                if lives is not None and lives >= count:
                    return
            time.sleep(0.05)
        raise SystemExit("The workers do not start.")

    def empty(self) -> None:
        """Forget all jobs and their attempts."""
        with self.site.context(), self.site.new_session() as session:
            for model in (Attempt, Job):
                session.execute(sa.delete(model))
            session.commit()
        if self.config["SQLALCHEMY_DATABASE_URI"].startswith("postgresql"):
            with self.site.context():
                autocommit = self.site.engine.execution_options(isolation_level="AUTOCOMMIT")
                with autocommit.connect() as connection:
                    connection.execute(sa.text("VACUUM ANALYZE linkback_job, linkback_attempt"))


def own_sites(
    stack: contextlib.ExitStack, found: dict[str, Any], **settings: Any
) -> Iterator[tuple[str, Place]]:
    """Yield a site on each database that is there; note in ``found`` which are not, and why."""
    for kind in DATABASES:
        try:
            place = stack.enter_context(own_site(kind, **settings))
        except NotHere as error:
            found[kind] = error
        else:
            yield kind, place


@contextlib.contextmanager
def own_site(kind: str, **settings: Any) -> Iterator[Place]:
    """Make a site on a fresh database; it starts no worker unless ``RUNNER`` says so.

    SQLite is in WAL mode, with ``synchronous`` at its default, FULL: each commit is on the disk.
    """
    with _database(kind) as url:
        config = {"SQLALCHEMY_DATABASE_URI": url, "LINKBACK_RUNNER": "off"}
        config |= {f"LINKBACK_{name}": value for name, value in settings.items()}
        app = _make_app(config)
        place = Place(app=app, config=config)
        db = app.extensions["sqlalchemy"]
        try:
            with app.app_context():
                if kind == "SQLite":
                    db.session.execute(sa.text("PRAGMA journal_mode=WAL"))
                    db.session.remove()
                db.create_all()
                posts = [
                    {"slug": f"post-{n}", "title": f"Post {n}", "html": "<p>A post"} for n in range(POSTS)
                ]
                db.session.execute(sa.insert(db.metadata.tables["post"]), posts)
                db.session.commit()
            yield place
        finally:
            place.site.get(Runner).stop()
            place.site.fetch.close()
            with app.app_context():
                db.engine.dispose()


@contextlib.contextmanager
def _database(kind: str) -> Iterator[str]:
    """Make an empty database; PostgreSQL on the server that LINKBACK_TEST_POSTGRESQL names."""
    if kind == "SQLite":
        with tempfile.TemporaryDirectory(prefix="linkback-bench-") as directory:
            yield f"sqlite:///{directory}/site.db"
        return
    server_url = os.environ.get("LINKBACK_TEST_POSTGRESQL")
    if not server_url:
        raise NotHere("LINKBACK_TEST_POSTGRESQL is not set")
    name = f"linkback_bench_{uuid.uuid4().hex}"
    server = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    try:
        yield sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


# --- other processes ---------------------------------------------------------------------------------


@contextlib.contextmanager
def process(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python`` with these arguments, at the root of the project, for as long as the context lasts.

    What it says is shown only when the context fails.
    """
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            [sys.executable, *command], env=environment, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT
        ) as child,
    ):
        try:
            yield child
        except BaseException:
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


@contextlib.contextmanager
def worker(place: Place, threads: int, processes: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``flask linkback worker`` for a site, with the priority that its peers have."""
    command = [
        "-m",
        "flask",
        "--app",
        "benchmarks.sites:make_app",
        "linkback",
        "worker",
        f"--threads={threads}",
        f"--processes={processes}",
        "--nice=0",
    ]
    with process(command, place.environment) as child:
        yield child
