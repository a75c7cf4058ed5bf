"""Entries: every way by which a stranger makes the site talk to a server of their choice."""

from __future__ import annotations

import contextlib
import enum
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from flask_linkback.models import Attempt, Job, host_of
from flask_linkback.outbox.worker import Worker
from flask_linkback.protocols import pingback, trackback, xmlrpc
from tests.apps import Blog, make_blog
from tests.neighbours import Neighbour

_numbers = itertools.count(1)


class Entry(enum.StrEnum):
    """Where an address comes from."""

    source = "source"
    """Somebody says that a page links to us; the worker looks."""
    webmention = "webmention"
    """The same, by webmention."""
    trackback = "trackback"
    """The same, by trackback."""
    at_once = "at_once"
    """The same by pingback, where the request itself looks."""
    page = "page"
    """A page of ours links to a page; the worker looks for its endpoint."""
    endpoint = "endpoint"
    """The page that ours links to names a server as its endpoint; the worker tells it."""
    publish = "publish"
    """A page is published by its URL alone; the worker fetches it for its links."""


_KINDS: Final = {
    Entry.source: "verify_source",
    Entry.webmention: "verify_source",
    Entry.trackback: "verify_source",
    Entry.page: "send_link",
    Entry.endpoint: "send_link",
    Entry.publish: "publish_page",
}
"""The kind of job that goes there."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How it ended: after how long, how much larger we were meanwhile, and what was written down."""

    seconds: float
    growth: int
    """Bytes of memory, at the worst moment."""
    records: tuple[str, ...]
    """What each attempt came to: ``done`` or the class of what went wrong."""


def unlimited_blog(entry: Entry, database: Path, **settings: Any) -> Blog:
    """Make a blog for an entry, without the limits that would spare the server at its other end."""
    blog = make_blog(
        f"sqlite:///{database}",
        PROTOCOLS=["pingback", "webmention", "trackback"],
        PINGBACK_VERIFY="at_once" if entry is Entry.at_once else "queued",
        SOURCE_INTERVAL_SECONDS=0,
        RETRY_SCHEDULE=(0, 86_400),  # an attempt each: what failed does not come again
        RATE_LIMITS=dict.fromkeys(["caller", "target", "source_host", "fetches"]),
        **settings,
    )
    with blog.app.app_context():
        sa.event.listen(blog.db.engine, "connect", _do_not_wait_for_the_disk)
        blog.db.engine.dispose()
    return blog


def _do_not_wait_for_the_disk(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def attack(blog: Blog, entry: Entry, urls: Sequence[str], guide: Neighbour) -> Ended:
    """Give the site these URLs by an entry, and see how it ends.

    ``guide`` is a good neighbour, whose pages name endpoints.
    """
    target = _post(blog)
    newest = _newest_job(blog)
    if entry is not Entry.at_once:
        for url in urls:
            _provoke(blog, entry, url, target, guide)
    peak, began = Peak(), time.monotonic()
    if entry is Entry.at_once:
        with _not_fetched() as records:
            for url in urls:
                answer = ping(blog, url, target)
                # no page, no link in what was read of it, or its server has trouble
                assert isinstance(answer, xmlrpc.Fault)
                assert answer.code in (16, 17, 50)
    else:
        # one that has threads, as it runs everywhere
        Worker(blog.site, runner="once", threads=2).run(once=True)
    seconds, growth = time.monotonic() - began, peak.growth()
    if entry is not Entry.at_once:
        records = _attempts(blog, entry, newest)
    return Ended(seconds=seconds, growth=growth, records=tuple(records))


def _provoke(blog: Blog, entry: Entry, url: str, target: str, guide: Neighbour) -> None:
    match entry:
        case Entry.source:
            said = ping(blog, url, target)
            assert not isinstance(said, xmlrpc.Fault), said
        case Entry.webmention:
            form = {"source": url, "target": target}
            answer = blog.app.test_client().post("/linkback/webmention", data=form)
            assert answer.status_code == 201, answer.text
        case Entry.trackback:
            path = f"/linkback/trackback{urlsplit(target).path}"
            answer = blog.app.test_client().post(path, data={"url": url})
            assert trackback.parse_response(answer.data).ok, answer.text
        case Entry.page:
            _publish(blog, f"/told/{next(_numbers)}", targets=[url])
        case Entry.endpoint:
            path = f"/page/{next(_numbers)}"
            guide.answer(path, headers=[("X-Pingback", url), ("Content-Type", "text/html")])
            _publish(blog, f"/told/{next(_numbers)}", targets=[guide.url(path)])
        case Entry.publish:
            # only pages of ours are published: one of our names leads there
            blog.site.own_hosts |= {host_of(url)}
            _publish(blog, url)


def ping(blog: Blog, source: str, target: str) -> object:
    """Call ``pingback.ping`` and return what it answers, a fault included."""
    call = xmlrpc.dump_call(pingback.METHOD, [source, target])
    answer = blog.app.test_client().post("/linkback/pingback", data=call, content_type="text/xml")
    assert answer.status_code == 200
    try:
        return xmlrpc.parse_response(answer.data)
    except xmlrpc.Fault as fault:
        return fault


def _publish(blog: Blog, url: str, **options: Any) -> None:
    with blog.app.app_context():
        blog.linkback.publish(url, **options)
        blog.db.session.commit()


def _post(blog: Blog) -> str:
    """Make a post, have it told, and return its URL."""
    slug = f"post-{next(_numbers)}"
    with blog.app.app_context():
        blog.add(slug)
        blog.linkback.run_until_idle()
    return blog.url(slug)


def _newest_job(blog: Blog) -> int:
    with blog.app.app_context():
        return blog.db.session.scalar(sa.select(sa.func.max(Job.id))) or 0


def _attempts(blog: Blog, entry: Entry, newest: int) -> list[str]:
    """What the attempts since came to, of the jobs that belong to an entry."""
    found = sa.select(Attempt.outcome).join(Job, Job.id == Attempt.job_id)
    with blog.app.app_context():
        return list(blog.db.session.scalars(found.where(Job.kind == _KINDS[entry], Job.id > newest)))


@contextlib.contextmanager
def _not_fetched() -> Iterator[list[str]]:
    """What the log says of fetches that failed: a request that looks at once has no attempts."""
    kinds: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kinds.append(record.__dict__["kind"])

    logger, handler = logging.getLogger("flask_linkback.fetch"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield kinds
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class Peak:
    """How much memory this process took at most since this was made."""

    def __init__(self) -> None:
        # Linux sets the high-water mark back; tracemalloc would not see what lxml and zlib take
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _resident("VmRSS")

    def growth(self) -> int:
        """Return the bytes by which it grew, those given back again included."""
        return max(0, _resident("VmHWM") - self._before)


def _resident(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) << 10
