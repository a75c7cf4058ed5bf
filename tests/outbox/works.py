"""An application for other processes: what its jobs do is noted in a file."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any

from flask import Flask

from flask_linkback.outbox import jobs
from flask_linkback.outbox.jobs import Claim, Outcome
from flask_linkback.site import Site
from tests.apps import make_blog


def note(**values: Any) -> None:
    """Write one line, whole also when several processes write."""
    line = json.dumps({**values, "at": time.time(), "pid": os.getpid()})
    log = os.open(os.environ["WORKS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(log, line.encode() + b"\n")
    finally:
        os.close(log)


def note_it(site: Site, claim: Claim) -> Outcome:
    note(id=claim.id, attempt=claim.attempts)
    return jobs.done()


def take_a_while(site: Site, claim: Claim) -> Outcome:
    threading.Event().wait(0.02)
    return note_it(site, claim)


def never_end(site: Site, claim: Claim) -> Outcome:
    note(id=claim.id, attempt=claim.attempts)
    if claim.attempts == 1:
        threading.Event().wait()
    return jobs.done()


def create_app() -> Flask:
    settings = {"RUNNER": "external", **json.loads(os.environ["WORKS_SETTINGS"])}
    blog = make_blog(os.environ["WORKS_DATABASE"], testing=False, content=None, **settings)
    blog.site.handlers |= {"note": note_it, "while": take_a_while, "never": never_end}

    @blog.app.get("/threads")
    def threads() -> dict[str, Any]:
        names = sorted(thread.name for thread in threading.enumerate())
        return {"pid": os.getpid(), "parent": os.getppid(), "threads": names}

    @blog.app.post("/owe/<int:count>")
    def owe(count: int) -> str:
        session = blog.db.session()
        jobs.add(session, [jobs.NewJob(kind="note") for _ in range(count)])
        session.commit()
        return "owed"

    return blog.app
