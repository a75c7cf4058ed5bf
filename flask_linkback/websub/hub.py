"""Hub: who asks our hub for what, as far as it goes without the network.

What is asked is written down and answered; whether a subscriber wants it, and whether we want the
subscriber, is found out afterwards (WebSub, section 5.1.2).
"""

from __future__ import annotations

import enum
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..callers import CallRates
from ..errors import AddressRefused, LinkbackError
from ..fetch import check_url
from ..models import Content, Job, JobState, Secret, Subscriber, SubscriberState, Topic, digest, host_of
from ..outbox import jobs
from ..outbox.writers import Writers
from ..protocols import hub
from ..protocols.hub import Mode, Ping, SubscriptionRequest
from ..site import Site

__all__ = [
    "DELIVER",
    "ENDPOINT",
    "FETCH",
    "VERIFY",
    "Figures",
    "Policies",
    "Refusal",
    "Refused",
    "announce",
    "figures_of",
    "follows",
    "hub_url",
    "ping",
    "receive",
    "topic_url",
]

logger = logging.getLogger("flask_linkback.websub")

ENDPOINT: Final = "linkback_hub.endpoint"
VERIFY: Final = "verify_subscriber"
"""The kind of job that asks a callback whether it wants what somebody asked for in its name."""
FETCH: Final = "fetch_topic"
"""The kind of job that looks at a topic, and owes its subscribers what is new."""
DELIVER: Final = "deliver_content"
"""The kind of job that sends one subscriber the content of its topic."""

# whoever asks in the name of others makes us ask these: no host, no topic and no flood gets more
MAX_OPEN: Final = 10_000
"""How many requests may wait to be verified."""
MAX_OPEN_OF_A_TOPIC: Final = 5_000
MAX_OPEN_OF_A_HOST: Final = 1_000
MAX_FAILED_OF_A_HOST: Final = 100
"""How many verifications of a host may fail in an hour; then only who is subscribed there may ask again."""
FAILED_FOR: Final = timedelta(hours=1)
_BUSY_SECONDS: Final = 60
"""When to come back where too many wait."""
_TRIES: Final = 3
"""How often a request is written down: the same one may come twice at the same time."""
CHALLENGE_CHARACTERS: Final = 43
Policy = Callable[[str, str, Mapping[str, str]], str | None]


class Refusal(enum.Enum):
    """Why a request to our hub is not taken."""

    bad_callback = "The hub.callback is no URL that we can use."
    bad_topic = "The hub.topic is no URL that we can use."
    too_long = "The hub.callback and the hub.topic are too long together."
    foreign_topic = "This hub serves the pages of its own site only."
    no_address = "This hub has no public address."
    too_many = "Too many requests: please come back later."


class Refused(LinkbackError):
    """A request was not taken; ``refusal`` says why, ``retry_after`` (seconds) when to come back."""

    def __init__(self, refusal: Refusal, *, retry_after: int | None = None) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal
        self.retry_after = retry_after


class Policies:
    """What the application says about who may subscribe; shared by all applications of one extension."""

    def __init__(self) -> None:
        self._policies: list[Policy] = []

    def add(self, policy: Policy) -> None:
        self._policies.append(policy)

    def reason_to_deny(self, callback_url: str, topic_url: str, params: Mapping[str, str]) -> str | None:
        """Return the first reason that one of them gives, None where nobody minds."""
        for policy in self._policies:
            reason = policy(callback_url, topic_url, params)
            if reason is not None:
                return reason
        return None


def hub_url(site: Site) -> str:
    """Return the public address of our hub; raises `BaseURLMissing`."""
    return site.url_for(ENDPOINT)


# --- which topics ------------------------------------------------------------------------------------


def topic_url(site: Site, url: str) -> str:
    """Return the one spelling of a topic that our hub serves; raises `Refused`.

    Those of the site itself, by whichever of its names and schemes; with HUB_TOPICS "any" all others, too.
    """
    try:
        check_url(url)
        own = site.is_own(url) and site.match(url) is not None
        return _spelled(site.public(url) if own else url, own=own, any_topic=_takes_any(site))
    except AddressRefused:
        raise Refused(Refusal.bad_topic) from None


def _takes_any(site: Site) -> bool:
    return site.settings.websub.hub_topics == "any"


def _spelled(url: str, *, own: bool, any_topic: bool) -> str:
    if not own and not any_topic:
        raise Refused(Refusal.foreign_topic)
    parts = check_url(url)
    return f"{parts.scheme}://{parts.authority}{hub.spelled(parts.path)}"


def follows(now: datetime) -> sa.ColumnElement[bool]:
    """The condition that a subscriber gets content: it is verified, and its lease is not over."""
    return sa.and_(Subscriber.state == SubscriberState.active, Subscriber.lease_expires_at > now)


# --- subscribing and unsubscribing -------------------------------------------------------------------


def receive(site: Site, request: SubscriptionRequest, *, caller: str = "") -> None:
    """Write down that somebody wants to subscribe or unsubscribe a callback, and commit.

    What the subscriber has stays as it is until the callback confirms (WebSub, section 5.1). ``caller`` is
    the address that asks. Raises `Refused`.
    """
    _count(site, caller)
    asked = _asked(site, request)
    for tries_left in reversed(range(_TRIES)):
        with site.get(Writers).turn(site.engine):
            try:
                if request.mode is Mode.subscribe:
                    _want(site, request, asked)
                else:
                    _want_no_more(site, request, asked)
                site.session.commit()
                break
            except IntegrityError:  # the same request came twice at the same time
                site.session.rollback()
                if not tries_left:
                    raise
            except Refused:
                site.session.rollback()
                raise
    logger.info("Asked to %s.", request.mode, extra={"topic": asked.topic_url, "caller": caller})


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a request is about: the one spelling of its topic, the key of topic and callback, the host."""

    topic_url: str
    key: str
    host: str


def _count(site: Site, caller: str) -> None:
    limit = site.settings.linkbacks.rate_limits["caller"]
    wait = site.get(CallRates).wait_for_caller(caller, limit, site.now().timestamp())
    if wait:
        raise Refused(Refusal.too_many, retry_after=wait)


def _asked(site: Site, request: SubscriptionRequest) -> _Asked:
    try:
        callback = check_url(request.callback)
    except AddressRefused:
        raise Refused(Refusal.bad_callback) from None
    topic = topic_url(site, request.topic)
    if site.settings.site.base_url is None:
        raise Refused(Refusal.no_address)
    longest = hub.verification_url(
        request.callback,
        mode=Mode.unsubscribe,
        topic=request.topic,
        challenge="x" * CHALLENGE_CHARACTERS,
        lease_seconds=site.settings.websub.hub_lease_seconds[2],
        verify_token=request.verify_token,
    )
    try:
        check_url(longest)
    except AddressRefused:
        raise Refused(Refusal.too_long) from None
    spelled = f"{callback.scheme}://{callback.authority}{hub.spelled(callback.path)}"
    return _Asked(topic_url=topic, key=digest(topic, spelled), host=host_of(request.callback))


def _find(session: Session, asked: _Asked) -> Subscriber | None:
    found = sa.select(Subscriber).where(Subscriber.key == asked.key).with_for_update()
    return session.scalar(found, execution_options={"populate_existing": True})


def _want(site: Site, request: SubscriptionRequest, asked: _Asked) -> None:
    """Owe the verification of a request to subscribe, which takes the place of one that still waits."""
    session, now = site.session, site.now()
    subscriber = _find(session, asked)
    _check_limits(session, asked, subscriber, now)
    if subscriber is None:
        subscriber = Subscriber(
            key=asked.key,
            topic_id=_topic_id(session, asked.topic_url, now),
            topic_url=request.topic,
            callback_url=request.callback,
            callback_host=asked.host,
            state=SubscriberState.pending,
            created_at=now,
        )
        session.add(subscriber)
    session.flush()  # it has an id from here on
    least, default, most = site.settings.websub.hub_lease_seconds
    seconds = default if request.lease_seconds is None else request.lease_seconds
    subscriber.wanted_key = uuid.uuid4().hex
    subscriber.wanted_secret = None if request.secret is None else Secret(request.secret)
    job = _job(request, asked, subscriber)
    job["lease_seconds"] = max(least, min(seconds, most))
    job["whole"] = request.whole
    job["params"] = dict(request.params)
    jobs.add(session, [jobs.NewJob(kind=VERIFY, payload=job, host=asked.host, key=asked.key)])


def _want_no_more(site: Site, request: SubscriptionRequest, asked: _Asked) -> None:
    """Owe the verification of a request to unsubscribe, where there is something to end."""
    session = site.session
    subscriber = _find(session, asked)
    if subscriber is None or subscriber.state not in (SubscriberState.pending, SubscriberState.active):
        return
    about = jobs.NewJob(
        kind=VERIFY,
        payload=_job(request, asked, subscriber),
        host=asked.host,
        key=digest(Mode.unsubscribe, asked.key),
    )
    if not jobs.add_once(session, about):  # one that could not reach the callback waits to try again
        waiting = (Job.kind == VERIFY, Job.key == about.key, Job.state == JobState.pending)
        newest = sa.update(Job).where(*waiting).values(payload=about.payload, due_at=site.now(), attempts=0)
        session.execute(newest, execution_options={"synchronize_session": False})


def _job(request: SubscriptionRequest, asked: _Asked, subscriber: Subscriber) -> dict[str, Any]:
    """What the job has to know of a request that no column does; never the secret."""
    return {
        "subscriber_id": subscriber.id,
        "mode": request.mode.value,
        "request": subscriber.wanted_key,
        "active": subscriber.active_key,
        "callback": request.callback,
        "topic": request.topic,
        "verify_token": request.verify_token,
    }


def _topic_id(session: Session, url: str, now: datetime) -> int:
    key = digest(url)
    found = sa.select(Topic.id).where(Topic.key == key).with_for_update(read=True, key_share=True)
    topic_id = session.scalar(found)
    if topic_id is None:
        topic = Topic(key=key, url=url, created_at=now)
        session.add(topic)
        session.flush()
        topic_id = topic.id
    return topic_id


def _check_limits(session: Session, asked: _Asked, subscriber: Subscriber | None, now: datetime) -> None:
    """Let nobody make us ask too much; raises `Refused`."""
    topic = sa.select(Topic.id).where(Topic.key == digest(asked.topic_url)).scalar_subquery()
    of_topic, of_host = Subscriber.topic_id == topic, Subscriber.callback_host == asked.host
    if subscriber is None or subscriber.wanted_key is None:
        counts = (sa.func.count(sa.case((condition, 1))) for condition in (sa.true(), of_topic, of_host))
        waiting = session.execute(sa.select(*counts).where(Subscriber.wanted_key.is_not(None))).one()
        limits = (MAX_OPEN, MAX_OPEN_OF_A_TOPIC, MAX_OPEN_OF_A_HOST)
        if any(count >= limit for count, limit in zip(waiting, limits, strict=True)):
            raise Refused(Refusal.too_many, retry_after=_BUSY_SECONDS)
    if subscriber is None or subscriber.state is not SubscriberState.active:
        lately = sa.and_(of_host, Subscriber.failed_at > now - FAILED_FOR)
        failed = session.scalar(sa.select(sa.func.sum(Subscriber.failures)).where(lately))
        if (failed or 0) >= MAX_FAILED_OF_A_HOST:
            raise Refused(Refusal.too_many, retry_after=int(FAILED_FOR.total_seconds()))


# --- publishing --------------------------------------------------------------------------------------


def ping(site: Site, told: Ping, *, caller: str = "") -> None:
    """Take it from somebody that topics have something new, and commit. Raises `Refused`.

    Whoever it is: that it is so is seen when the topic is fetched.
    """
    _count(site, caller)
    with site.get(Writers).turn(site.engine):
        owed = announce(site, site.session, told.topics)
        site.session.commit()
    if owed:
        logger.info("Told of %d topics with something new.", owed, extra={"caller": caller})


def announce(site: Site, session: Session, urls: Iterable[str]) -> int:
    """Owe a look at those of some topics that somebody follows; return how many there are.

    One look serves all who tell before it begins, and a topic is looked at as often in a minute as
    RATE_LIMITS allow for a target. Writes into the session's transaction.
    """
    now = site.now()
    keys = {key for url in urls if (key := _key(site, url)) is not None}
    followed = sa.exists().where(Subscriber.topic_id == Topic.id, follows(now))
    found = sa.select(Topic.id, Topic.key, Topic.url).where(Topic.key.in_(keys), followed).order_by(Topic.key)
    topics = session.execute(found).all()
    for topic in topics:
        limit = site.settings.linkbacks.rate_limits["target"]
        wait = site.get(CallRates).wait(f"topic {topic.key}", limit, now.timestamp())
        due_at = now + timedelta(seconds=wait)
        look = jobs.NewJob(
            kind=FETCH, payload={"topic_id": topic.id}, host=host_of(topic.url), key=topic.key, due_at=due_at
        )
        if not jobs.add_once(session, look):
            # it may wait for longer, since the topic had trouble
            jobs.hasten(session, kind=FETCH, key=topic.key, due_at=due_at)
    return len(topics)


def _key(site: Site, url: str) -> str | None:
    try:
        return digest(topic_url(site, url))
    except Refused:
        return None


# --- figures -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What everybody may know of our hub: how much there is, and nothing of whom."""

    topics: int
    """That somebody follows."""
    subscribers: int
    contents: int
    """New contents of topics, in 24 hours."""
    deliveries: int
    """Contents that subscribers took, in 24 hours."""


class _FiguresKept:
    """Figures are counted once a minute: anybody may ask for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[datetime, Figures] | None = None

    def get(self, site: Site) -> Figures:
        now = site.now()
        with self._lock:
            if self._kept is None or not self._kept[0] <= now < self._kept[0] + _KEPT_FOR:
                self._kept = (now, _count_figures(site, now))
            return self._kept[1]


_KEPT_FOR: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)


def figures_of(site: Site) -> Figures:
    """Return the figures of our hub, at most a minute old."""
    return site.get(_FiguresKept).get(site)


def _count_figures(site: Site, now: datetime) -> Figures:
    session = site.session
    topics, subscribers = session.execute(
        sa.select(sa.func.count(sa.distinct(Subscriber.topic_id)), sa.func.count()).where(follows(now))
    ).one()
    contents = sa.select(sa.func.count()).where(
        Content.topic_id.is_not(None), Content.received_at > now - _DAY
    )
    deliveries = sa.select(sa.func.count()).where(
        Job.kind == DELIVER, Job.state == JobState.done, Job.reason == "", Job.finished_at > now - _DAY
    )
    return Figures(
        topics=topics,
        subscribers=subscribers,
        contents=session.scalar(contents) or 0,
        deliveries=session.scalar(deliveries) or 0,
    )
