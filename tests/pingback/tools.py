"""Tools: how the tests talk to a blog, and what time it is there."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from werkzeug.serving import make_server

from flask_linkback import signals
from flask_linkback.models import Job, JobState, Link, Mention
from flask_linkback.outbox import jobs
from flask_linkback.outbox.jobs import Finished
from flask_linkback.publishing import expand
from tests.apps import Blog

CALLER = "192.0.2.7"
ENDPOINT = "/linkback/pingback"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def page(*urls: str, title: str | None = "Their page", text: str = "Do read {}, it is good.") -> bytes:
    """A page with a paragraph for each URL."""
    head = "" if title is None else f"<title>{title}</title>"
    links = (f'<a href="{url}">this</a>' for url in urls)
    paragraphs = "".join(f"<p>{text.format(link)}</p>\n" for link in links)
    return f"<!doctype html><html><head>{head}</head><body>{paragraphs}</body></html>".encode()


# --- calls --------------------------------------------------------------------------------------------


def post(blog: Blog, body: bytes, *, caller: str = CALLER, path: str = ENDPOINT, **options: Any) -> Any:
    """Post to the endpoint, without a socket between."""
    options.setdefault("content_type", "text/xml")
    return blog.app.test_client().post(path, data=body, environ_overrides={"REMOTE_ADDR": caller}, **options)


def call(blog: Blog, method: str, *params: Any, **options: Any) -> Any:
    """Call a method and return what it returns; raises `xmlrpc.client.Fault`."""
    body = xmlrpc.client.dumps(params, method, allow_none=True).encode()
    response = post(blog, body, **options)
    assert response.status_code == 200
    assert response.content_type == "text/xml; charset=utf-8"
    (value,), _ = xmlrpc.client.loads(response.data)
    return value


def ping(blog: Blog, source: str, target: str, **options: Any) -> str:
    """Tell a blog of a link; raises `xmlrpc.client.Fault`."""
    return call(blog, "pingback.ping", source, target, **options)  # type: ignore[no-any-return]


def fault_of(function: Callable[..., Any], *args: Any, **options: Any) -> int:
    """Return the code of the fault that is answered."""
    with pytest.raises(xmlrpc.client.Fault) as raised:
        function(*args, **options)
    assert 0 < len(raised.value.faultString) <= 200
    return raised.value.faultCode


def request(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Make a real request, exactly this one; return status, headers and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path or "/", body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


# --- what a blog holds ---------------------------------------------------------------------------------


def work(blog: Blog) -> int:
    """Do what is due; return how many jobs that was."""
    with blog.app.app_context():
        return blog.linkback.run_until_idle()


def rows(blog: Blog, model: type[Any]) -> list[Any]:
    """Return all rows of a table of ours, detached."""
    with blog.app.app_context():
        return list(blog.db.session.scalars(sa.select(model).order_by(model.id)))


def mentions(blog: Blog) -> list[Mention]:
    return rows(blog, Mention)


def mention(blog: Blog) -> Mention:
    (one,) = mentions(blog)
    return one


def link(blog: Blog) -> Link:
    (one,) = rows(blog, Link)
    return one


def pending(blog: Blog, kind: str) -> list[Job]:
    return [job for job in rows(blog, Job) if job.state is JobState.pending and job.kind == kind]


def publish_now(blog: Blog) -> None:
    """Do as another worker would: the one job that is due, of a page."""
    with blog.app.app_context(), blog.site.new_session() as session:
        (claim,) = jobs.turn(session, now=blog.site.now(), schedule=[0, 5], want=10).claims
        finished = Finished(claim=claim, outcome=expand(blog.site, claim))
        jobs.turn(session, now=blog.site.now(), schedule=[0, 5], finished=[finished])


def edit(blog: Blog, slug: str, **values: Any) -> None:
    """Change a post and commit."""
    with blog.app.app_context():
        post = blog.db.session.scalars(sa.select(blog.Post).filter_by(slug=slug)).one()
        for name, value in values.items():
            setattr(post, name, value)
        blog.db.session.commit()


def add(blog: Blog, slug: str, **values: Any) -> str:
    """Add a post and commit; return its URL."""
    with blog.app.app_context():
        blog.add(slug, **values)
    return blog.url(slug)


@contextlib.contextmanager
def statements(blog: Blog) -> Iterator[list[str]]:
    """Collect what the database is asked."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    with blog.app.app_context():
        engine = blog.db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


@contextlib.contextmanager
def heard(blog: Blog) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Collect the signals of a blog: name and values; rows are loaded while their session lives."""
    said: list[tuple[str, dict[str, Any]]] = []
    with contextlib.ExitStack() as stack:
        for name in signals.__all__:

            def note(sender: Any, _name: str = name, **values: Any) -> None:
                for value in values.values():
                    _ = getattr(value, "id", None)
                said.append((_name, values))

            stack.enter_context(getattr(signals, name).connected_to(note, sender=blog.app))
        yield said


def names(said: Sequence[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in said]


# --- time ----------------------------------------------------------------------------------------------


@dataclass
class Clock:
    """The clock of some blogs; it stands still until it is moved."""

    at: datetime = NOON
    blogs: list[Blog] = field(default_factory=list)

    def __call__(self) -> datetime:
        return self.at

    def set_for(self, blog: Blog) -> Blog:
        blog.site.now = self  # type: ignore[method-assign]
        return blog

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def vanish(blog: Blog, clock: Clock) -> None:
    """Claim what is due for the last time, and never come back."""
    with blog.app.app_context(), blog.site.new_session() as session:
        assert jobs.turn(session, now=clock(), schedule=[0], want=1).claims
        clock.move(60)
        assert jobs.reclaim(session, clock(), 1, burials=blog.site.burials) == 1


# --- real servers --------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(make: Callable[..., Blog], database_url: str, **settings: Any) -> Iterator[Blog]:
    """Make a blog and serve it on a port that was free before its address was known."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        blog = make(database_url, base_url=f"http://127.0.0.1:{port}", **settings)
        server = make_server("127.0.0.1", port, blog.app, threaded=True, fd=listener.fileno())
    server.daemon_threads = False  # those that serve a request are waited for
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield blog
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
