"""Served: the tests' blog in processes that are killed.

Its jobs are the real ones (pages, links) and ``note``, which tells a receiver something and keeps
nothing of its own. Each begin and end of a job goes to a diary, so that afterwards it can be said
what was under way when a process died.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, request
from flask.cli import ScriptInfo
from werkzeug.middleware.proxy_fix import ProxyFix

import flask_linkback.cli.outbox
import flask_linkback.outbox.worker
from flask_linkback.errors import FetchError
from flask_linkback.models import ListenerSecret
from flask_linkback.outbox import jobs
from flask_linkback.outbox.jobs import Claim, Outcome
from flask_linkback.site import Site
from tests.apps import Blog, make_blog

ENVIRONMENT = "LINKBACK_TEST_FAULTS"

Settings = Mapping[str, Any]
"""``blog`` goes to `make_blog`; ``diary`` is a file, ``lease`` seconds, ``threads`` a number."""


def serve(settings: Settings) -> Blog:
    """Make the blog with its handlers."""
    if settings.get("lease"):
        _shorten_leases(settings["lease"])
    blog = make_blog(**settings["blog"])
    handlers = blog.site.handlers
    handlers["note"] = note
    handlers["secret"] = secret
    handlers["exit"] = leave
    if settings.get("diary"):
        diary = os.open(settings["diary"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for kind, handler in list(handlers.items()):
            handlers[kind] = _written_down(handler, diary)
    return blog


def _shorten_leases(seconds: float) -> None:
    made = functools.partial(flask_linkback.outbox.worker.Worker, lease_seconds=seconds)
    flask_linkback.outbox.worker.Worker = made  # type: ignore[assignment,misc]
    flask_linkback.cli.outbox.Worker = made  # type: ignore[assignment,misc]


def _written_down(handler: Callable[..., Outcome], diary: int) -> Callable[..., Outcome]:
    def written_down(site: Site, claim: Claim) -> Outcome:
        _write(diary, "begin", claim)
        try:
            return handler(site, claim)
        finally:
            _write(diary, "end", claim)

    return written_down


def _write(diary: int, what: str, claim: Claim) -> None:
    # one write to a file opened for appending is never mixed with another
    os.write(diary, f"{what} {claim.id} {claim.attempts} {os.getpid()} {time.monotonic():.6f}\n".encode())


# --- jobs of the experiments ------------------------------------------------------------------------


def note(site: Site, claim: Claim) -> Outcome:
    """Tell a receiver; what it answers is all that is known."""
    headers = {"X-Attempt": str(claim.attempts)}
    try:
        response = site.fetch.post(claim.payload["url"], claim.payload["id"].encode(), headers=headers)
    except FetchError as error:
        return jobs.again(f"{error.kind}: {error}")
    if 200 <= response.status < 300:
        return jobs.done()
    return jobs.again(f"The receiver answers {response.status}.")


def secret(site: Site, claim: Claim) -> Outcome:
    """Read a secret, which raises where no key opens it."""
    site.session.get_one(ListenerSecret, claim.payload["secret_id"])
    return jobs.done()


def leave(site: Site, claim: Claim) -> Outcome:
    """Do what no handler should."""
    sys.exit("A handler leaves.")


# --- what runs in a process -------------------------------------------------------------------------


def work(settings: Settings, log: str) -> None:
    """Be ``flask linkback worker``."""
    begin_process(log)
    app = serve(settings).app
    args = ["linkback", "worker", "--threads", str(settings.get("threads", 8))]
    app.cli.main(args=args, obj=ScriptInfo(create_app=lambda: app), prog_name="flask", standalone_mode=False)


def work_once(settings: Settings, log: str, gate: Any) -> None:
    """Wait for the others, then do what is due beside them."""
    begin_process(log)
    blog = serve(settings)
    worker = flask_linkback.outbox.worker.Worker(blog.site, runner="once", threads=settings.get("threads", 1))
    gate.wait(60)
    worker.run(once=True)


def begin(log: str, target: Callable[..., None], *args: Any) -> None:
    """Call a function."""
    begin_process(log)
    target(*args)


def begin_process(log: str) -> None:
    """Say what is said to a file, and be as strict as the tests are."""
    warnings.simplefilter("error")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)


def wsgi() -> Flask:
    """Make the application for a web server; its settings are in the environment."""
    settings = json.loads(os.environ[ENVIRONMENT])
    blog = serve(settings)
    app = blog.app
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)  # type: ignore[method-assign]
    teller = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    @app.post("/publish")
    def publish() -> str:
        """Write a post and owe its link, in one transaction; say when it begins."""
        slug, target = request.form["slug"], request.form["target"]
        if settings.get("teller"):
            teller.sendto(str(os.getpid()).encode(), settings["teller"])
        html = f'<a href="{target}">this</a>'
        blog.db.session.add(blog.Post(slug=slug, title=slug, html=html))
        blog.linkback.publish(blog.url(slug), html=html)
        blog.db.session.commit()
        return slug

    @app.get("/pid")
    def pid() -> str:
        return str(os.getpid())

    with app.app_context():
        blog.db.engine.dispose()
    return app
