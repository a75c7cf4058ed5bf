"""Distributing: what is new in a topic goes to all who follow it.

A look at the topic finds out whether it is new; each delivery is a job of its own.
"""

from __future__ import annotations

import functools
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import signals
from ..callers import CallRates
from ..errors import FetchError
from ..fetch import Response
from ..models import Attempt, Content, Job, JobState, Subscriber, SubscriberState, Topic
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.membership import among, dialect_of
from ..outbox.readahead import ReadAhead
from ..outbox.replies import attempt_of, outcome_of
from ..outbox.writers import Writers
from ..protocols.entries import only_new
from ..protocols.signatures import sign
from ..site import Site
from .hub import DELIVER, follows, hub_url

__all__ = ["WantedAhead", "attempts_of", "deliver", "deliveries_of", "fetch_topic", "redeliver", "sweep"]

logger = logging.getLogger("flask_linkback.websub")

KEPT_CONTENTS: Final = 16
"""Of how many contents of a topic the bodies are kept: who got an older one last gets all of the next."""
_ASIDE_SECONDS: Final = 0.5
"""How long a delivery waits for the one before, to the same subscriber."""
_KEY: Final = "subscriber "
"""What the key of a delivery begins with; the subscriber's id follows."""
_OFF: Final = "The hub is switched off."
_job: Final = Job.__table__
_IN_THE_DATABASE: Final = {"synchronize_session": False}


# --- looking at a topic ------------------------------------------------------------------------------

_VALIDATOR = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
_MEDIA_TYPE = re.compile(r"[!-~]([\t -~\xa1-\xff]{0,253}[!-~\xa1-\xff])?")


def fetch_topic(site: Site, claim: Claim) -> Outcome:
    """Handle a job: look at a topic, and owe what is new to all who follow it, in one transaction.

    Nothing is fetched for nobody, and by each process no more topics in a minute than RATE_LIMITS allow
    fetches. A topic that did not change since the last look, by its validators or by its bytes, is owed to
    nobody.
    """
    session = site.session
    followed = sa.exists().where(Subscriber.topic_id == Topic.id, follows(site.now()))
    found = sa.select(Topic.url, Topic.content_id, Topic.etag, Topic.last_modified).where(followed)
    topic = session.execute(found.where(Topic.id == claim.payload["topic_id"])).first()
    session.rollback()  # no transaction stays open over HTTP
    if topic is None or not site.settings.websub.hub_enabled:
        return jobs.done("Nobody follows the topic.")
    limit = site.settings.linkbacks.rate_limits["fetches"]
    wait = site.get(CallRates).wait("topics of our hub", limit, site.now().timestamp())
    if wait:
        return jobs.later(wait, "Topics were fetched often enough for now.")
    started_at = site.now()
    try:
        reply: Response | FetchError = site.fetch.get(topic.url, headers=_conditions(topic), purpose="topic")
    except FetchError as error:
        reply = error
    attempt = attempt_of(site, topic.url, started_at, reply)
    if isinstance(reply, Response) and reply.status == 304 and topic.content_id is not None:
        return jobs.done("The topic did not change.", attempt=attempt)
    if not isinstance(reply, Response) or reply.status != 200:
        return outcome_of(site, reply, attempt)

    def write() -> int | None:
        if not jobs.is_ours(session, claim):
            session.rollback()
            return None
        count = _take(site, session, claim.payload["topic_id"], reply)
        session.commit()
        return count

    count = site.get(Writers).record(site.engine, session, write)
    if count is None:
        return jobs.done("The topic did not change.", attempt=attempt)
    logger.info("A topic has something new for %d subscribers.", count, extra={"topic": topic.url})
    return jobs.done(attempt=attempt)


def _conditions(topic: Any) -> Mapping[str, str]:
    headers = {"Accept": "*/*"}
    if topic.content_id is not None:
        if topic.etag:
            headers["If-None-Match"] = topic.etag
        if topic.last_modified:
            headers["If-Modified-Since"] = topic.last_modified
    return headers


def _take(site: Site, session: Session, topic_id: int, reply: Response) -> int | None:
    """Keep what a topic says now and owe it to its subscribers; return their number, None for nothing new."""
    # whoever subscribes meanwhile need not wait
    locked = {"key_share": True}
    topic = session.get(Topic, topic_id, populate_existing=True, with_for_update=locked)
    if topic is None:
        return None
    topic.etag = _validator(reply, "ETag")
    topic.last_modified = _validator(reply, "Last-Modified")
    topic.fetched_at = site.now()
    digest = sha256(reply.body).hexdigest()
    media_type = reply.headers.get("Content-Type", "")
    before = None if topic.content_id is None else session.get(Content, topic.content_id)
    if before is not None and before.digest == digest:
        return None
    content = Content(
        topic_id=topic_id,
        digest=digest,
        content_type=media_type if _MEDIA_TYPE.fullmatch(media_type) else "",
        body=reply.body,
        received_at=site.now(),
    )
    session.add(content)
    session.flush()
    topic.content_id = content.id
    session.flush()
    _forget_bodies(session, topic_id)
    return jobs.add_for_each(
        session,
        DELIVER,
        where=(Subscriber.topic_id == topic_id, follows(site.now())),
        host=Subscriber.callback_host,
        # in the order of ids: an index takes what comes in order faster than what is scattered
        key=_KEY + sa.cast(Subscriber.id, sa.String),
        payload={"subscriber_id": Subscriber.id, "content_id": sa.literal(content.id, sa.BigInteger)},
    )


def _validator(reply: Response, name: str) -> str | None:
    """What the next look is made conditional by, where it can be sent back."""
    value = reply.headers.get(name, "")
    return value if _VALIDATOR.fullmatch(value) else None


def _forget_bodies(session: Session, topic_id: int) -> None:
    newest = sa.select(Content.id).where(Content.topic_id == topic_id).order_by(Content.id.desc())
    last_kept = newest.offset(KEPT_CONTENTS - 1).limit(1).scalar_subquery()
    old = sa.update(Content).where(Content.topic_id == topic_id, Content.id < last_kept)
    session.execute(old.values(body=None), execution_options=_IN_THE_DATABASE)


# --- what is sent ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Sent:
    """The body of a delivery and its media type, and the hub that sends it."""

    content_type: str
    body: bytes
    hub: str


class _Shelf:
    """The bodies that were sent last: one content goes to thousands of subscribers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int | None], _Sent] = OrderedDict()

    def get(self, key: tuple[int, int | None], make: Callable[[], _Sent | None]) -> _Sent | None:
        """Return what stands here for a content and the one before it, made where it does not yet."""
        with self._lock:
            sent = self._kept.get(key)
        if sent is None:
            sent = make()
            if sent is not None:
                with self._lock:
                    self._kept[key] = sent
                    while len(self._kept) > _ON_THE_SHELF:
                        self._kept.popitem(last=False)
        return sent


_ON_THE_SHELF: Final = 8
_subscriber: Final = Subscriber.__table__
_topic: Final = Topic.__table__


def _deliveries(*states: JobState) -> sa.ColumnElement[bool]:
    """The condition that a job is a delivery to the subscriber that is looked at."""
    theirs = (
        _job.c.key == _KEY + sa.cast(_subscriber.c.id, sa.String),
        _job.c.kind == sa.literal_column(f"'{DELIVER}'"),
    )
    return sa.and_(*theirs, *(_job.c.state == sa.literal_column(f"'{state.value}'") for state in states))


# deliveries ask this: it is made once, and makes no objects
_WANTED: Final = sa.select(
    _subscriber.c.id,
    _subscriber.c.callback_url,
    _subscriber.c.secret,
    _subscriber.c.state,
    _subscriber.c.lease_expires_at,
    _subscriber.c.whole,
    _topic.c.url.label("topic_url"),
    _topic.c.content_id,
    # the first delivery that is under way
    sa.select(_job.c.id)
    .where(_deliveries(JobState.running))
    .order_by(_job.c.id + sa.literal_column("0"))
    .limit(sa.literal_column("1"))
    .correlate(_subscriber)
    .scalar_subquery()
    .label("under_way"),
    # the last one that was taken; by an expression, or PostgreSQL may look for it among all jobs
    sa.select(_job.c.payload)
    .where(_deliveries(JobState.done), _job.c.reason == sa.literal_column("''"))
    .order_by((_job.c.id + sa.literal_column("0")).desc())
    .limit(sa.literal_column("1"))
    .correlate(_subscriber)
    .scalar_subquery()
    .label("took"),
).join_from(_subscriber, _topic, _topic.c.id == _subscriber.c.topic_id)


@functools.cache
def _wanted_of(dialect: str) -> sa.Select[Any]:
    return _WANTED.where(among(dialect, _subscriber.c.id, "ids"))


class WantedAhead(ReadAhead[Any]):
    """What the next deliveries have to know of their subscribers: a row, or None where there is none."""

    kind = DELIVER

    def read(self, site: Site, claims: Sequence[Claim]) -> dict[int, Any]:
        """Return the rows of the subscribers of some deliveries, by one statement."""
        session = site.session
        asked = _wanted_of(dialect_of(session))
        subscribers = {claim.id: claim.payload.get("subscriber_id") for claim in claims}
        ids = {each for each in subscribers.values() if isinstance(each, int)}
        rows = {row.id: row for row in session.execute(asked, {"ids": list(ids)})}
        return {job_id: rows.get(subscriber_id) for job_id, subscriber_id in subscribers.items()}


def deliver(site: Site, claim: Claim) -> Outcome:
    """Handle a job: send a subscriber what its topic says (WebSub, section 7).

    The newest content is what counts: an older one that still waits is left out, so that none comes after a
    newer one. Redirects are failures, 410 ends the subscription, and whoever cannot be reached for too
    long misses this content alone.
    """
    subscriber_id, content_id = claim.payload["subscriber_id"], claim.payload["content_id"]
    row = site.get(WantedAhead).take(site, claim)
    why_not = _why_not(site, row, content_id)
    if row is None or why_not:
        return jobs.done(why_not)
    if row.under_way is not None and row.under_way < claim.id:
        return jobs.later(_ASIDE_SECONDS, "The delivery before is under way.")
    sent = _to_send(site, row, content_id)
    site.end_reading()
    if sent is None:
        return jobs.done("The content is not kept any more.")
    started_at = site.now()
    try:
        reply: Response | FetchError = site.fetch.post(
            row.callback_url, sent.body, headers=_headers(site, row, sent), purpose="callback"
        )
    except FetchError as error:
        reply = error
    attempt = attempt_of(site, row.callback_url, started_at, reply)
    outcome = outcome_of(site, reply, attempt, keep_trying=True)
    if isinstance(reply, Response) and reply.status == 410:
        _end(site, claim, subscriber_id)
    if outcome.verdict is jobs.Verdict.done and signals.content_distributed.has_receivers_for(site.app):
        subscriber = site.session.get(Subscriber, subscriber_id)
        site.send(signals.content_distributed, subscriber=subscriber, content_id=content_id)
    return outcome


def _why_not(site: Site, row: Any, content_id: int) -> str:
    """Why nothing is sent; "" where something is."""
    if not site.settings.websub.hub_enabled:
        return _OFF
    if row is None or row.state is not SubscriberState.active:
        return "The subscription ended."
    if row.lease_expires_at is None or row.lease_expires_at <= site.now():
        return "The lease is over."
    if row.content_id is not None and row.content_id > content_id:
        return "There is newer content."
    return ""


def _to_send(site: Site, row: Any, content_id: int) -> _Sent | None:
    """Return what a subscriber is sent of a content; None where it is not kept any more.

    All of it, but for the entries of an Atom or RSS feed that the subscriber has already (WebSub, section 7).
    """
    shelf = site.get(_Shelf)
    whole = shelf.get((content_id, None), lambda: _read(site, content_id))
    if whole is None or row.whole or "xml" not in whole.content_type.lower():
        return whole
    before = (row.took or {}).get("content_id")
    if before is None or before >= content_id:
        return whole
    return shelf.get((content_id, before), lambda: _without(whole, _read(site, before)))


def _read(site: Site, content_id: int) -> _Sent | None:
    found = sa.select(Content.content_type, Content.body).where(Content.id == content_id)
    content = site.session.execute(found).first()
    if content is None or content.body is None:
        return None
    return _Sent(content_type=content.content_type, body=content.body, hub=hub_url(site))


def _without(new: _Sent, old: _Sent | None) -> _Sent:
    """Return a feed without the entries that stand in an older one, where it is known."""
    body = None if old is None else only_new(old.body, new.body, content_type=new.content_type)
    return new if body is None else replace(new, body=body)


def _headers(site: Site, row: Any, sent: _Sent) -> Mapping[str, str]:
    """What a delivery says beside its body: no more than WebSub asks for."""
    headers = {"Link": f'<{sent.hub}>; rel="hub", <{row.topic_url}>; rel="self"'}
    if sent.content_type:
        headers["Content-Type"] = sent.content_type
    if row.secret:
        algorithm = site.settings.websub.hub_algorithm
        headers["X-Hub-Signature"] = sign(row.secret, sent.body, algorithm)
    return headers


def _end(site: Site, claim: Claim, subscriber_id: int) -> None:
    """End a subscription whose callback says that it is gone."""
    session = site.session
    gone = sa.update(Subscriber).where(
        Subscriber.id == subscriber_id, Subscriber.state == SubscriberState.active
    )

    def write() -> None:
        if jobs.is_ours(session, claim):
            values = {"state": SubscriberState.ended, "reason": "The callback answered 410."}
            session.execute(gone.values(values), execution_options=_IN_THE_DATABASE)
        session.commit()

    site.get(Writers).record(site.engine, session, write)


# --- for people --------------------------------------------------------------------------------------


def deliveries_of(session: Session, subscriber: Subscriber, *, limit: int = 100) -> Sequence[Job]:
    """Return the newest deliveries to a subscriber, what became of each, and when it is tried again."""
    theirs = sa.select(Job).where(Job.key == f"{_KEY}{subscriber.id}", Job.kind == DELIVER)
    return session.scalars(theirs.order_by(Job.id.desc()).limit(limit)).all()


def attempts_of(session: Session, job: Job) -> Sequence[Attempt]:
    """Return the attempts of a delivery in their order."""
    return session.scalars(sa.select(Attempt).where(Attempt.job_id == job.id).order_by(Attempt.id)).all()


def redeliver(session: Session, subscriber: Subscriber) -> bool:
    """Owe a subscriber the newest content of its topic once more; say whether there is one.

    The caller commits.
    """
    topic = session.get(Topic, subscriber.topic_id)
    if topic is None or topic.content_id is None:
        return False
    payload = {"subscriber_id": subscriber.id, "content_id": topic.content_id}
    key = f"{_KEY}{subscriber.id}"
    jobs.add(session, [jobs.NewJob(kind=DELIVER, payload=payload, host=subscriber.callback_host, key=key)])
    return True


# --- what is kept ------------------------------------------------------------------------------------


def sweep(site: Site) -> None:
    """Forget the bodies, and later the rows, of contents that nobody needs: a chore.

    What a topic says now is kept for as long as there is the topic.
    """
    if not site.settings.websub.hub_enabled:
        return
    now, outbox = site.now(), site.settings.outbox
    current = sa.exists().where(Topic.content_id == Content.id)
    ours = sa.and_(Content.topic_id.is_not(None), ~current)
    orphan = sa.and_(Content.topic_id.is_not(None), ~sa.exists().where(Topic.id == Content.topic_id))
    with site.get(Writers).turn(site.engine):
        for statement in (
            sa.delete(Content).where(orphan),
            sa.delete(Content).where(
                ours, Content.received_at <= now - timedelta(days=outbox.row_retention_days)
            ),
            sa.update(Content)
            .where(ours, Content.received_at <= now - timedelta(days=outbox.retention_days))
            .values(body=None),
        ):
            site.session.execute(statement, execution_options=_IN_THE_DATABASE)
        site.session.commit()
