"""Publisher: which hubs our topics have, and that these are told when there is something new."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import signals
from ..changes import note_call
from ..errors import FetchError, NoHub
from ..fetch import Response, check_url
from ..models import Attempt, Job, JobState, digest, host_of
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome, Verdict
from ..outbox.replies import attempt_of, outcome_of
from ..outbox.writers import Writers
from ..protocols import websub
from ..site import Site, current_site
from .credentials import authorization, credentials_for
from .hub import announce

__all__ = [
    "MARK",
    "OWN_HUB",
    "PING",
    "Topic",
    "give_up",
    "hubs_of",
    "owe_pings",
    "own_hub",
    "ping",
    "ping_hub",
    "ping_key",
    "published_at",
    "topics_at",
    "topics_of",
    "what_says",
    "withdraw_pings",
]

PING: Final = "ping_hub"
"""The kind of job that tells one hub of one topic."""
OWN_HUB: Final = "linkback_hub.endpoint"
"""The endpoint of our own hub, where there is one."""
MARK: Final = "_linkback_publisher"
"""The attribute of a view that says how it is published."""
_job: Final = Job.__table__


# --- which hubs --------------------------------------------------------------------------------------


def hubs_of(site: Site) -> tuple[str, ...]:
    """Return the hubs of all our topics: our own one first, then those of LINKBACK_HUBS."""
    own, others = own_hub(site), site.settings.websub.hubs
    return others if own is None else (own, *(hub for hub in others if hub != own))


class _Own:
    """The URL of our own hub, once it was asked for: every feed asks."""

    url: str | None = None


def own_hub(site: Site) -> str | None:
    """Return the URL of our own hub; None without one, and for a site that does not know its address."""
    if not site.settings.websub.hub_enabled or site.settings.site.base_url is None:
        return None
    own = site.get(_Own)
    if own.url is None and OWN_HUB in site.app.view_functions:
        own.url = site.url_for(OWN_HUB)
    return own.url


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A URL of ours that hubs tell of, and these hubs."""

    url: str
    hubs: tuple[str, ...]


def topics_at(site: Site, url: str) -> list[Topic]:
    """Return the topics that change with a page or feed of ours: the one at a URL, and its other formats."""
    url = site.absolute(url)
    route = site.match(url) if site.is_own(url) else None
    if route is None:
        return [Topic(url=url, hubs=hubs_of(site))]
    return topics_of(site, route.endpoint, route.args, url)


def topics_of(site: Site, endpoint: str, args: Mapping[str, Any], url: str | None = None) -> list[Topic]:
    """Return the topics of an endpoint, as its view says: a feed, or a page that `publisher` decorates."""
    url = site.url_for(endpoint, **args) if url is None else url
    says = what_says(site.app.view_functions.get(endpoint))
    if says is None:
        return [Topic(url=url, hubs=hubs_of(site))]
    return [
        Topic(url=topic_url, hubs=tuple(dict.fromkeys(map(site.absolute, hubs))))
        for topic_url, hubs in says.websub_topics(site, url, args)
    ]


def published_at(site: Site, url: str) -> list[Topic]:
    """Return the topics at a URL whose view says that it is one; none for any other page."""
    route = site.match(url)
    if route is None or what_says(site.app.view_functions.get(route.endpoint)) is None:
        return []
    return topics_of(site, route.endpoint, route.args, url)


class SaysTopics(Protocol):
    """What a view keeps as its attribute ``feed``: whose topics those of the view are."""

    def websub_topics(
        self, site: Site, url: str, args: Mapping[str, Any]
    ) -> Iterable[tuple[str, Iterable[str]]]: ...


def what_says(view: Any) -> SaysTopics | None:
    """Return what knows the topics of a view, seen through decorators with ``functools.wraps``."""
    while view is not None:
        for each in (view, getattr(view, "feed", None), getattr(view, "view_class", None)):
            found = getattr(each, MARK, each)
            if not isinstance(found, type) and hasattr(found, "websub_topics"):
                return found
        view = getattr(view, "__wrapped__", None)
    return None


# --- what is owed ------------------------------------------------------------------------------------


def ping_hub(topic_url: str, hub_url: str | None = None) -> None:
    """Tell a hub, or all of the topic's, that it has something new, once the current transaction commits.

    Raises `NoHub` where there is none, and `AddressRefused` for what is no URL of the web.
    """
    site = current_site()
    topic_url = site.absolute(topic_url)
    hubs = (
        {hub for topic in topics_at(site, topic_url) for hub in topic.hubs} if hub_url is None else {hub_url}
    )
    if not hubs:
        raise NoHub
    for url in (topic_url, *hubs):
        check_url(url)
    owe_pings(site, site.session, topic_url, sorted(hubs))
    note_call(site.session, "ping_hub")


def owe_pings(
    site: Site,
    session: Session,
    topic_url: str,
    hubs: Iterable[str] | None = None,
    *,
    due_at: datetime | None = None,
    about: str = "",
) -> int:
    """Owe each hub (by default: ours) the news that a topic changed, and return how many there are.

    A ping that waits stands for all changes until it is sent. One that waits because it failed is tried again
    now, unless the hub said how long to wait. With ``due_at`` it is sent then, and one for each of what it is
    ``about``; that of the same thing which waits already is moved. Writes into the session's transaction;
    may be called in the middle of a flush.
    """
    told = tuple(dict.fromkeys(hubs_of(site) if hubs is None else hubs))
    for hub_url in told:
        key = ping_key(topic_url, hub_url, about)
        payload = {"topic_url": topic_url, "hub_url": hub_url}
        job = jobs.NewJob(kind=PING, payload=payload, host=host_of(hub_url), key=key, due_at=due_at)
        if jobs.add_once(session, job):
            continue
        if due_at is not None:
            session.execute(sa.update(_job).where(*_waiting(key)).values(due_at=due_at))
        elif not _was_told_to_wait(session, key):
            jobs.hasten(session, kind=PING, key=key, due_at=site.now())
    return len(told)


def withdraw_pings(session: Session, topic: Topic, about: str) -> None:
    """Owe no ping any more that is due later for something: it has another time now, or another topic."""
    for hub_url in topic.hubs:
        session.execute(sa.delete(_job).where(*_waiting(ping_key(topic.url, hub_url, about))))


def ping_key(topic_url: str, hub_url: str, about: str = "") -> str:
    """Return the key of the job that tells a hub of a topic."""
    return digest(PING, topic_url, hub_url, about)


def _waiting(key: str) -> Sequence[sa.ColumnElement[bool]]:
    return _job.c.key == key, _job.c.state == JobState.pending, _job.c.kind == PING


def _was_told_to_wait(session: Session, key: str) -> bool:
    """Did the hub say when it wants to be asked again?"""
    last = (
        sa.select(Attempt.headers)
        .join(Job, (Job.id == Attempt.job_id) & (Job.attempts == Attempt.number))
        .where(*_waiting(key))
    )
    return any(session.scalars(last))


# --- telling one hub ---------------------------------------------------------------------------------


def ping(site: Site, claim: Claim) -> Outcome:
    """Handle a job: tell one hub of one topic.

    Our own hub is told without a request. Of others any 2xx will do: PubSubHubbub 0.3 says 204, WebSub leaves
    it open. A hub that refuses is not asked again, one that does not answer, or says "later", is.
    """
    topic_url, hub_url = claim.payload["topic_url"], claim.payload["hub_url"]
    if hub_url == own_hub(site):
        return _tell_own(site, topic_url, hub_url)
    headers = {"Content-Type": websub.FORM_TYPE, **authorization(credentials_for(site, hub_url))}
    site.session.rollback()  # a function for credentials may have read; no transaction stays open over HTTP
    started_at = site.now()
    reply: Response | FetchError
    try:
        reply = site.fetch.post(hub_url, websub.dump_ping(topic_url), headers=headers, purpose="hub")
    except FetchError as error:
        reply = error
    attempt = attempt_of(site, hub_url, started_at, reply)
    outcome = outcome_of(site, reply, attempt)
    if outcome.seconds is not None:
        attempt = dataclasses.replace(attempt, headers={"Retry-After": str(outcome.seconds)})
        outcome = dataclasses.replace(outcome, attempt=attempt)
    if outcome.verdict is Verdict.again:
        if not claim.is_last:
            return outcome
        outcome = jobs.dead(outcome.reason, attempt=attempt)
    status = reply.status if isinstance(reply, Response) else None
    site.send(signals.hub_pinged, topic_url=topic_url, hub_url=hub_url, status=status)
    return outcome


def _tell_own(site: Site, topic_url: str, hub_url: str) -> Outcome:
    """Tell the hub that we are: without a request, which an address that is not public would not get."""
    session = site.session

    def write() -> None:
        announce(site, session, [topic_url])
        session.commit()

    site.get(Writers).record(site.engine, session, write)
    site.send(signals.hub_pinged, topic_url=topic_url, hub_url=hub_url, status=204)
    return jobs.done()


def give_up(site: Site, job: Job, claim: Claim) -> None:
    """End the ping of a job that died without saying what became of it."""
    payload: Mapping[str, Any] = job.payload or {}
    if "topic_url" in payload and "hub_url" in payload:
        site.send(signals.hub_pinged, topic_url=payload["topic_url"], hub_url=payload["hub_url"], status=None)
