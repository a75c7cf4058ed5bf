"""Model: what has to be true of pages, links and jobs, whatever workers did and whoever died.

It says in plain Python what the package says in SQL. `Model` is what is committed, `Transaction` what
the application's open transaction adds to it. A state changes only by a step that the documentation draws.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from flask_linkback.models import JobState, LinkState, digest
from flask_linkback.outbox.jobs import Claim, Finished, Outcome, Verdict
from tests.docs.blocks import NEW, Step, drawn

SCHEDULE: Final = (0.0, 5.0, 300.0)
LEASE: Final = 30.0
PENALTY: Final = 60.0
LONGEST: Final = 86_400.0
_STEPS: Final[Mapping[type, set[Step]]] = {kind: set(drawn(kind)) for kind in (JobState, LinkState)}
_SIGNALS: Final = {
    LinkState.sent: "link_sent",
    LinkState.refused: "link_failed",
    LinkState.given_up: "link_failed",
}


def _step(kind: type, before: str, after: str) -> None:
    assert (before, after) in _STEPS[kind], f"{kind.__name__}: {before} -> {after} is not drawn"


# --- what there is -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a page says: HTML, which is all that it links to, or targets beside it."""

    targets: tuple[str, ...]
    html: str | None = None

    @property
    def digest(self) -> str | None:
        return None if self.html is None else digest(self.html, *self.targets)


@dataclass
class ModelPage:
    """A page of ours; `links` is what it has to have told once nothing is owed for it."""

    url: str
    digest: str | None
    published_at: datetime
    changed_at: datetime
    object_key: str | None
    links: set[str] = field(default_factory=set)
    gone: bool = False


@dataclass
class ModelLink:
    """A link of a page of ours, and how its target answered."""

    source: str
    target: str
    state: LinkState = LinkState.waiting
    removed: bool = False
    attempts: int = 0
    sent_at: datetime | None = None
    status: int | None = None
    fault: int | None = None

    def __post_init__(self) -> None:
        _step(LinkState, NEW, self.state)

    @property
    def key(self) -> str:
        return digest(self.source, self.target)

    @property
    def answered(self) -> bool:
        refused = self.state is LinkState.refused and (self.status, self.fault) != (None, None)
        return self.state is LinkState.sent or refused

    def become(self, state: LinkState) -> None:
        if state is not self.state:
            _step(LinkState, self.state, state)
            self.state = state


@dataclass
class ModelJob:
    """Owed work: `about` says of what; `due` is the earliest and the latest moment that it may be due."""

    kind: str
    about: tuple[Any, ...]
    due: tuple[datetime, datetime]
    host: str = ""
    key: str | None = None
    id: int = 0
    """Until it is in the database: none."""
    state: JobState = JobState.pending
    attempts: int = 0
    token: str | None = None
    finished_at: datetime | None = None
    tried: list[int] = field(default_factory=list)
    """The number of each attempt of which there is a record."""

    def __post_init__(self) -> None:
        _step(JobState, NEW, self.state)

    @property
    def place(self) -> tuple[Any, ...]:
        """By which it is told from others before it has an id."""
        return (self.kind, self.about, self.host, self.key, self.due[0])

    def become(self, state: JobState, due: datetime, latest: datetime | None = None) -> None:
        _step(JobState, self.state, state)
        self.state = state
        self.due = (due, latest or due)
        self.token = None
        self.finished_at = None

    def claimed(self, token: str, lease: datetime) -> None:
        self.become(JobState.running, lease)
        self.token = token
        self.attempts += 1


@dataclass
class ModelPost:
    """An object of the watched model: what it says, and what of that was flushed."""

    id: int
    url: str
    content: Content
    flushed: Content = field(init=False)

    def __post_init__(self) -> None:
        self.flushed = self.content

    @property
    def object_key(self) -> str:
        return f"Post:{self.id}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a target's answer means: an end, or without a state another try."""

    state: LinkState | None = None
    status: int | None = None
    fault: int | None = None
    seconds: float | None = None
    overloaded: bool = False


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a handler has to say of its job."""

    verdict: Verdict
    attempt: bool = False
    seconds: float | None = None
    overloaded: bool = False


# --- the application's transaction -------------------------------------------------------------------


@dataclass
class Transaction:
    """What the application did and nobody else sees yet; a savepoint is a copy of it."""

    posts: dict[str, ModelPost]
    pages: dict[str, ModelPage] = field(default_factory=dict)
    owed: list[ModelJob] = field(default_factory=list)
    replayed: dict[int, datetime] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    """The ids of posts that a flush created or changed."""
    deleted: list[str] = field(default_factory=list)
    """The keys of posts that were there before and are not any more."""
    locked_pages: set[str] = field(default_factory=set)
    locked_jobs: set[int] = field(default_factory=set)

    def savepoint(self) -> Transaction:
        return copy.deepcopy(self)

    def flush(self) -> None:
        for post in self.posts.values():
            if post.content != post.flushed:
                post.flushed = post.content
                self.changed.add(post.id)


@dataclass
class Model:
    """What is committed."""

    pages: dict[str, ModelPage] = field(default_factory=dict)
    posts: dict[str, ModelPost] = field(default_factory=dict)
    links: dict[str, ModelLink] = field(default_factory=dict)
    jobs: dict[int, ModelJob] = field(default_factory=dict)
    owed: list[ModelJob] = field(default_factory=list)
    """Committed by this step: of these the database has rows, but we do not know their ids."""
    signals: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, source and target."""
    said: set[tuple[str, str]] = field(default_factory=set)
    """Source and target of each link that a committed page ever had."""
    beside: set[tuple[str, str]] = field(default_factory=set)
    """Those that were published as targets alone: they may be told after the page was changed."""
    owed_by: dict[str, int] = field(default_factory=dict)
    """The job that owed the links of a page last, by the page's URL."""

    # --- publishing ----------------------------------------------------------------------------------

    def begin(self) -> Transaction:
        return Transaction(posts=copy.deepcopy(self.posts))

    def publish(
        self, ours: Transaction, url: str, content: Content, now: datetime, object_key: str | None = None
    ) -> None:
        """A page is written and its job is owed, unless it says this already."""
        ours.locked_pages.add(url)
        page = ours.pages.get(url) or copy.deepcopy(self.pages.get(url))
        whole = content.html is not None
        if whole and page is not None and page.digest == content.digest and not page.gone:
            return
        if page is None:
            page = ModelPage(url, None, now, now, object_key)
        if whole:
            page.digest, page.changed_at, page.links = content.digest, now, set()
        page.gone = False
        page.links |= set(content.targets)
        page.object_key = object_key or page.object_key
        ours.pages[url] = page
        about = (url, content.targets, whole, now.isoformat(), object_key)
        ours.owed.append(ModelJob(kind="publish_page", about=about, due=(now, now), key=digest(url)))

    def end_pages(self, ours: Transaction, object_key: str, now: datetime) -> None:
        """The pages of an object that was deleted are gone, and their targets are owed this news."""
        for url, page in (self.pages | ours.pages).items():
            if page.object_key == object_key and not page.gone:
                page = ours.pages[url] = copy.deepcopy(page)
                page.gone, page.digest, page.changed_at, page.links = True, None, now, set()
                about = (url, (), True, now.isoformat(), None)
                ours.owed.append(ModelJob(kind="publish_page", about=about, due=(now, now), key=digest(url)))

    def waiting(self, kind: str, key: str, ours: Transaction | None = None) -> list[ModelJob]:
        """The jobs of a kind and key that wait, as the application's transaction sees it or all others."""
        committed = [*self.jobs.values(), *self.owed]
        replayed = ours.replayed if ours else {}
        seen = [job for job in committed if job.state is JobState.pending or job.id in replayed]
        seen += ours.owed if ours else []
        return [job for job in seen if (job.kind, job.key) == (kind, key)]

    def commit(self, ours: Transaction, now: datetime) -> None:
        """The watchers are told of the objects that changed, and all of it becomes true."""
        ours.flush()
        for object_key in ours.deleted:
            self.end_pages(ours, object_key, now)
        alive = {post.id: post for post in ours.posts.values()}
        for post in (alive[each] for each in sorted(ours.changed & set(alive))):
            self.publish(ours, post.url, post.content, now, post.object_key)
        self.posts, self.pages = ours.posts, self.pages | ours.pages
        self.owed += ours.owed
        for job in ours.owed:
            if job.kind == "publish_page":
                source, targets, whole, *_ = job.about
                links = {(source, target) for target in targets}
                self.said |= links
                self.beside |= set() if whole else links
        for job_id, due in ours.replayed.items():
            self.jobs[job_id].become(JobState.pending, due)
            self.jobs[job_id].attempts = 0

    # --- the worker's turns --------------------------------------------------------------------------

    def holds(self, claim: Claim) -> bool:
        return self.jobs[claim.id].token == claim.token

    def settle(self, finished: Sequence[Finished], now: datetime) -> None:
        """What finished is written, unless its claim was lost."""
        for each in finished:
            if not self.holds(each.claim):
                continue
            job = self.jobs[each.claim.id]
            if each.outcome.attempt is not None:
                job.tried.append(job.attempts)
            _settle(job, each.outcome, now)

    def due(self, now: datetime, locked: Collection[int]) -> list[ModelJob]:
        """The jobs that may be claimed, those that were due first first."""
        pending = (job for job in self.jobs.values() if job.state is JobState.pending)
        due = [job for job in pending if job.due[0] <= now and job.id not in locked]
        return sorted(due, key=lambda job: (job.due, job.id))

    def next_due(self) -> datetime | None:
        """When the next job that waits is due; to be asked once the database told the exact moments."""
        return min((job.due[0] for job in self.jobs.values() if job.state is JobState.pending), default=None)

    def reclaim(self, now: datetime) -> int:
        """Jobs whose lease ended are due again, or dead after their last attempt; return how many."""
        expired = [j for j in self.jobs.values() if j.state is JobState.running and j.due[0] < now]
        for job in expired:
            if job.attempts >= len(SCHEDULE):
                job.become(JobState.dead, *job.due)
                job.finished_at = now
            else:
                job.become(JobState.pending, now)
        return len(expired)

    # --- what the handlers do ------------------------------------------------------------------------

    def expand(self, claim: Claim, now: datetime) -> None:
        """Each link of a page is owed, unless that is done or a later version of the page was published."""
        job = self.jobs[claim.id]
        source, targets, whole, changed_at, _ = job.about
        if not self.holds(claim) or (self.owed_by.get(source) == job.id and claim.attempts > 1):
            return
        if whole and self.pages[source].changed_at.isoformat() != changed_at:
            return
        self.owed_by[source] = job.id
        wanted = {*targets, *(self._targets_since(job) if whole else ())}
        for link in [each for each in self.links.values() if each.source == source]:
            if link.target in wanted:
                wanted.remove(link.target)
                tell = link.removed or not link.answered
                link.removed = False
            else:
                tell = whole and not link.removed and link.sent_at is not None
                link.removed |= whole
            if tell:
                link.become(LinkState.waiting)
                link.attempts = 0
                self._owe_once(link, now)
        for target in wanted:
            link = ModelLink(source, target)
            self.links[link.key] = link
            self.owed.append(_send(link, now))

    def _targets_since(self, job: ModelJob) -> set[str]:
        """What was published beside a page after it."""
        later = [each.about for each in self.jobs.values() if each.key == job.key and each.id > job.id]
        return {target for _, targets, whole, *_ in later if not whole for target in targets}

    def _owe_once(self, link: ModelLink, now: datetime) -> None:
        if not self.waiting("send_link", link.key):
            self.owed.append(_send(link, now))

    def begin_to_send(self, claim: Claim, link: ModelLink, now: datetime) -> Ended | None:
        """The target is told (None), unless that is of no use or not our business any more."""
        ended = link.state is not LinkState.waiting
        useless = link.removed and link.sent_at is None
        if link.state is LinkState.sent or (ended and useless):
            return Ended(verdict=Verdict.done)
        if (ended or useless) and not self.holds(claim):
            return Ended(verdict=Verdict.done)
        if useless:
            self._end(link, Answer(state=LinkState.given_up), now)
            return Ended(verdict=Verdict.done)
        link.become(LinkState.waiting)
        return None

    def answered(
        self, claim: Claim, link: ModelLink, answer: Answer, now: datetime, *, removed: bool
    ) -> Ended:
        """What is written of an answer to somebody who was told that the link is there, or removed."""
        if not self.holds(claim) or link.state is not LinkState.waiting:
            return Ended(verdict=Verdict.done, attempt=True)
        link.attempts = claim.attempts
        if link.removed is not removed:
            if answer.state is LinkState.sent:
                link.sent_at = now
            self._owe_once(link, now)
            return Ended(verdict=Verdict.done, attempt=True)
        if answer.state is LinkState.sent and self.waiting("send_link", link.key):
            link.status, link.fault, link.sent_at = answer.status, answer.fault, now
            return Ended(verdict=Verdict.done, attempt=True)  # there is more to be told
        if answer.state is not None:
            self._end(link, answer, now)
            return Ended(verdict=Verdict.done, attempt=True)
        if claim.attempts == len(SCHEDULE):
            self._end(link, replace(answer, state=LinkState.given_up), now)
            return Ended(verdict=Verdict.dead, attempt=True)
        link.status, link.fault = answer.status, answer.fault
        return Ended(
            verdict=Verdict.again, attempt=True, seconds=answer.seconds, overloaded=answer.overloaded
        )

    def _end(self, link: ModelLink, answer: Answer, now: datetime) -> None:
        """A link comes to an end, and whoever listens is told."""
        assert answer.state is not None
        link.become(answer.state)
        link.status, link.fault = answer.status, answer.fault
        if answer.state is LinkState.sent:
            link.sent_at = now
        signal = _SIGNALS.get(answer.state)
        if signal is not None:
            self.signals.append((signal, link.source, link.target))

    # --- laws ----------------------------------------------------------------------------------------

    def check(self, told: Iterable[tuple[str, str]]) -> None:
        """What holds whatever the steps were."""
        owed = {job.key for job in self.jobs.values() if job.state is not JobState.done}
        for link in self.links.values():
            assert link.state is not LinkState.waiting or link.key in owed, f"forgotten: {link}"
        unsettled = {job.about[0] for job in self.jobs.values() if job.state is not JobState.done}
        for page in self.pages.values():
            its = [link for link in self.links.values() if link.source == page.url]
            has = {link.target for link in its if not link.removed}
            beside = {target for source, target in self.beside if source == page.url}
            settled = page.links <= has <= page.links | beside
            assert settled or page.url in unsettled, f"{page} has {has}"
        assert set(told) <= self.said, "what no page said was told"
        for job in self.jobs.values():
            assert job.attempts <= len(SCHEDULE), job
            assert (job.token is not None) == (job.state is JobState.running), job


def _send(link: ModelLink, now: datetime) -> ModelJob:
    return ModelJob(kind="send_link", about=(link.key,), due=(now, now), host="127.0.0.1", key=link.key)


def _settle(job: ModelJob, outcome: Outcome, now: datetime) -> None:
    attempts = job.attempts
    match outcome.verdict:
        case Verdict.done:
            job.become(JobState.done, now)
        case Verdict.later:
            job.become(JobState.pending, now + timedelta(seconds=outcome.seconds or 0))
            job.attempts = attempts - 1
        case Verdict.again if attempts < len(SCHEDULE):
            job.become(JobState.pending, *(now + wait for wait in _waits(attempts, outcome)))
        case _:
            job.become(JobState.dead, now)
    if job.state in (JobState.done, JobState.dead):
        job.finished_at = now


def _waits(attempts: int, outcome: Outcome) -> tuple[timedelta, timedelta]:
    """The shortest and the longest time until the next attempt."""
    wait = max(SCHEDULE[attempts], PENALTY if outcome.overloaded else 0)
    asked = 0.0 if outcome.seconds is None else min(max(outcome.seconds, 1.0), LONGEST)
    return timedelta(seconds=max(wait, asked)), timedelta(seconds=max(wait * 1.2, asked))
