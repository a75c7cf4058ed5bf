"""Ground: what the machine runs on: an application, its clock, its targets, and threads that stand still."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_linkback import signals
from flask_linkback.models import Base, Link, LinkState
from flask_linkback.outbox import jobs
from flask_linkback.outbox.jobs import AttemptMade, Claim, Outcome
from flask_linkback.outbox.worker import perform
from flask_linkback.protocols import xmlrpc
from flask_linkback.site import Site
from tests import neighbours
from tests.apps import make_blog
from tests.faults.model import SCHEDULE, Answer, Content, ModelLink
from tests.neighbours import Gone, Neighbour, Request, Wire

_BEGINNING: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""So long ago that the clock of a PostgreSQL server has no say in what is due."""
_PATIENCE: Final = 60.0
"""Seconds in which a thread has to come to something."""


# --- what targets answer -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class How:
    """How something goes: what a target answers and what that means, and what becomes of a note."""

    wire: neighbours.Answer | None
    """None: it took what it was told, but its answer is lost."""
    answer: Answer
    note: Callable[[AttemptMade], Outcome]


def _fault(code: int) -> neighbours.Answer:
    return neighbours.Answer(body=xmlrpc.dump_fault(xmlrpc.Fault(code, "no")))


def _raise(attempt: AttemptMade) -> Outcome:
    raise ConnectionResetError("it was told, but did it hear?")


HOW: Final = {
    "thanks": How(
        wire=neighbours.Answer(body=xmlrpc.dump_response("thanks")),
        answer=Answer(state=LinkState.sent, status=200),
        note=lambda attempt: jobs.done(attempt=attempt),
    ),
    "known": How(
        wire=_fault(48),
        answer=Answer(state=LinkState.sent, status=200, fault=48),
        note=lambda attempt: jobs.done("It was known."),
    ),
    "no": How(
        wire=_fault(33),
        answer=Answer(state=LinkState.refused, status=200, fault=33),
        note=lambda attempt: jobs.done("It was refused.", attempt=attempt),
    ),
    "gone": How(
        wire=neighbours.Answer(status=410),
        answer=Answer(state=LinkState.refused, status=410),
        note=lambda attempt: jobs.dead("It is gone.", attempt=attempt),
    ),
    "broken": How(
        wire=neighbours.Answer(status=500),
        answer=Answer(status=500),
        note=lambda attempt: jobs.again("It is broken.", attempt=attempt),
    ),
    "busy": How(
        wire=neighbours.Answer(status=503, headers=[("Retry-After", "900")]),
        answer=Answer(status=503, seconds=900, overloaded=True),
        note=lambda attempt: jobs.again("It is busy.", overloaded=True, attempt=attempt),
    ),
    "next week": How(
        wire=neighbours.Answer(status=500, headers=[("Retry-After", "604800")]),
        answer=Answer(status=500, seconds=604800),
        note=lambda attempt: jobs.again("Next week.", retry_after=604800, attempt=attempt),
    ),
    "lost": How(wire=None, answer=Answer(), note=_raise),
    "put off": How(
        wire=neighbours.Answer(status=429, headers=[("Retry-After", "-1")]),
        answer=Answer(status=429, overloaded=True),
        note=lambda attempt: jobs.later(90),
    ),
}


# --- a worker's thread -------------------------------------------------------------------------------


class Killed(BaseException):
    """A thread of a worker that died does nothing more."""


class Doing(threading.Thread):
    """Does one job; when it has told a target, it stands still until it is answered."""

    def __init__(self, site: Site, claim: Claim, link: ModelLink | None) -> None:
        super().__init__(name="doing", daemon=True)
        self.claim = claim
        self.removed = link is not None and link.removed
        """What it has to tell."""
        self.outcome: Outcome | None = None
        self.killed = False
        self._site = site
        self._news: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[neighbours.Answer | None] = queue.SimpleQueue()

    def run(self) -> None:
        with contextlib.suppress(Killed):
            self.outcome = perform(self._site, self.claim)
        self._news.put(None)

    def begin(self) -> tuple[str, str] | None:
        """Start and return what it told whom; None when it has ended already."""
        self.start()
        return self._news.get(timeout=_PATIENCE)

    def answer(self, wire: neighbours.Answer | None) -> None:
        """Let it go on to its end."""
        self._answers.put(wire)
        assert self._news.get(timeout=_PATIENCE) is None, "it told twice"

    def kill(self) -> None:
        self.killed = True
        self.answer(None)
        self.join(_PATIENCE)

    def told(self, source: str, target: str) -> neighbours.Answer | None:
        """At the target: let the machine go on, and return what it wants to be answered."""
        self._news.put((source, target))
        return self._answers.get(timeout=_PATIENCE)


def _die(*_: Any) -> None:
    thread = threading.current_thread()
    if isinstance(thread, Doing) and thread.killed:
        raise Killed


# --- where it happens --------------------------------------------------------------------------------


class Ground:
    """An application, its targets and its clock: made once, as new for each example."""

    def __init__(self, database_url: str, stack: contextlib.ExitStack) -> None:
        self.neighbour = stack.enter_context(Neighbour())
        self.neighbour.route("/rpc", self._take)
        pingback = [("X-Pingback", self.neighbour.url("/rpc"))]
        for path in ("/page/0", "/page/1"):
            self.neighbour.answer(path, headers=pingback)
        self.neighbour.answer("/mute")
        self.blog = make_blog(
            database_url,
            RUNNER="off",
            RETRY_SCHEDULE=SCHEDULE,
            READ_TIMEOUT=_PATIENCE,
            DELIVERY_TIMEOUT=_PATIENCE,
        )
        stack.callback(self.blog.close)
        self.site = self.blog.site
        self.site.now = lambda: self.now  # type: ignore[method-assign]
        self.site.handlers["note"] = self._note
        for name in ("link_sent", "link_failed"):
            stack.enter_context(getattr(signals, name).connected_to(self._hearing(name), self.blog.app))
        stack.enter_context(self.blog.app.app_context())
        stack.enter_context(_silence())
        self.kind = self.site.engine.dialect.name
        sa.event.listen(self.blog.db.session, "after_begin", _die)
        sa.event.listen(self.site.engine, "connect", _QUICKER[self.kind])
        self.site.engine.dispose()  # those from before are not as quick
        looking = self.site.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._looking = stack.enter_context(looking.connect())
        self.contents = self._contents()
        self.seen: Counter[str] = Counter()
        """How often what happened."""
        self.lengthened: list[float] = []
        """By how much of what is allowed the waits of retries were."""
        self.begin()

    def begin(self) -> None:
        self.now = _BEGINNING
        self.heard: list[tuple[str, str, str]] = []
        self.received: list[tuple[str, str]] = []
        self.noted: list[int] = []
        self.how = ""
        self.doing: Doing | None = None
        self.neighbour.requests.clear()

    def rows(self, statement: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """What everybody sees."""
        return self._looking.execute(statement).all()

    def session(self) -> Session:
        """The application's session; it flushes when it is told to, so that it is known what it flushed."""
        session = self.blog.db.session()
        session.autoflush = False
        return session

    def attempt(self) -> AttemptMade:
        """What is said of a note."""
        return AttemptMade(started_at=self.now, seconds=0, outcome="note")

    def end(self) -> None:
        """Leave nothing in the tables."""
        self.blog.db.session.remove()
        with self.site.engine.begin() as connection:
            for table in (*reversed(Base.metadata.sorted_tables), self.blog.Post.__table__):
                connection.execute(sa.delete(table))

    def _contents(self) -> list[Content]:
        first, second, mute = (self.neighbour.url(path) for path in ("/page/0", "/page/1", "/mute"))
        return [
            _html("Nothing."),
            _html("One.", first),
            _html("Two.", first, second),
            _html("Two, edited.", first, second),
            _html("Mute.", second, mute),
            Content(targets=(second,)),
            Content(targets=(mute, first)),
        ]

    def _take(self, request: Request, wire: Wire) -> None:
        assert self.doing is not None
        source, target = map(str, xmlrpc.parse_call(request.body).params)
        self.received.append((source, target))
        answer = self.doing.told(source, target)
        if answer is None:
            raise Gone
        wire.send(answer.dump("POST"))

    def _note(self, site: Site, claim: Claim) -> Outcome:
        self.noted.append(claim.payload["n"])
        return HOW[self.how].note(self.attempt())

    def _hearing(self, name: str) -> Callable[..., None]:
        def hear(sender: Any, link: Link, **_: Any) -> None:
            self.heard.append((name, link.source, link.target))

        return hear


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What is rolled back or raised here is meant to be."""
    logger = logging.getLogger("flask_linkback")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def prepared(database_url: str) -> Iterator[Ground]:
    with contextlib.ExitStack() as stack:
        yield Ground(database_url, stack)


def _html(words: str, *targets: str) -> Content:
    links = "".join(f'<a href="{target}">there</a>' for target in targets)
    return Content(html=f"<p>{words}</p>{links}", targets=targets)


def _execute(*statements: str) -> Callable[[Any, Any], None]:
    def connected(connection: Any, record: Any) -> None:
        for statement in statements:
            connection.execute(statement)
        connection.commit()

    return connected


# nobody pulls the plug here, and who waits for a lock waits for this very thread
_QUICKER: Final = {
    "sqlite": _execute("PRAGMA synchronous = OFF", "PRAGMA busy_timeout = 0"),
    "postgresql": _execute("SET synchronous_commit = off", "SET lock_timeout = '2s'"),
}
