"""Contents: what a hub brought, or polling found, is announced to the application, once."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session
from werkzeug.test import EnvironBuilder

from .. import signals
from ..models import Content, Subscription, SubscriptionRequest, digest
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.writers import Writers
from ..protocols import link_header
from ..protocols.entries import NotAFeed, parse
from ..site import Site

__all__ = ["ANNOUNCE", "Marks", "Received", "announce", "links_of", "marks_of", "remember", "store", "sweep"]

ANNOUNCE: Final = "announce_content"
"""The kind of job that tells the application of content."""
SAME_WITHIN: Final = timedelta(hours=24)
"""For how long the same content by another callback, hub or poll is no news."""
_KNOWN_MARKS: Final = 2000
"""Two for each entry."""
_MARK_CHARACTERS: Final = 16

_content: Final = Content.__table__
_request: Final = SubscriptionRequest.__table__


@dataclass(frozen=True, kw_only=True)
class Received:
    """What a hub brought: ``body`` and ``content_type`` as they came, and some of its headers."""

    body: bytes
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: int | None = None
    """By which request's callback it came; None where it was fetched."""

    @property
    def links(self) -> list[dict[str, str]] | None:
        """The links of its Link headers, ``url`` and ``rel`` of each; None where it has none."""
        return links_of(self.headers)


def store(site: Site, subscription: Subscription, received: Received) -> int:
    """Write content and the job that announces it; the caller commits. Returns its id."""
    row = {
        "subscription_id": subscription.id,
        "request_id": received.request_id,
        "digest": hashlib.sha256(received.body).hexdigest(),
        "content_type": received.content_type,
        "headers": dict(received.headers) or None,
        "body": received.body,
        "received_at": site.now(),
    }
    session = site.session
    content_id: int = session.execute(sa.insert(_content).values(row).returning(_content.c.id)).scalar_one()
    jobs.add(session, [jobs.NewJob(kind=ANNOUNCE, payload={"content_id": content_id})])
    return content_id


def announce(site: Site, claim: Claim) -> Outcome:
    """Handle a job: send `updated` for one content, unless the same came by another way.

    A receiver that raises has the job done again by the retry schedule.
    """
    session = site.session
    content = session.get(Content, claim.payload["content_id"])
    if content is None or content.body is None or content.subscription_id is None:
        return jobs.done("The content is not kept any more.")
    subscription = session.get(Subscription, content.subscription_id)
    if subscription is None:
        return jobs.done()
    if _is_known(session, subscription, content):
        return jobs.done("The same content came by another way.")
    session.commit()
    if content.request_id is not None:
        write = functools.partial(_record, site, claim, subscription, content)
        site.get(Writers).record(site.engine, session, write)
    headers = dict(content.headers or {})
    raised = site.send(
        signals.updated,
        subscription=subscription,
        notification=content.body,
        content_type=content.content_type,
        links=links_of(headers),
        headers=headers,
        request=_as_request(site, content, headers),
        content_id=content.id,
    )
    if raised:
        return jobs.again(f"A receiver of updated raised {type(raised[0]).__name__}.")
    return jobs.done()


def _as_request(site: Site, content: Content, headers: dict[str, Any]) -> Any:
    """Return a request like the one by which it came."""
    builder = EnvironBuilder(
        method="POST",
        base_url=site.base_url,
        headers=[*headers.items(), ("Content-Type", content.content_type)],
        input_stream=io.BytesIO(content.body or b""),
    )
    return site.app.request_class(builder.get_environ())


# --- once --------------------------------------------------------------------------------------------


def _is_known(session: Session, subscription: Subscription, content: Content) -> bool:
    """Did the application hear of this already, by another way?

    The ways are the callbacks of all subscriptions to the topic, each hub's and that of a renewal, and
    polling. What one of them has brought as often as this one was told of then. And what this one brought
    last: a hub that did not see our answer sends the same again. That a topic says what it said two changes
    ago is news.
    """
    siblings = sa.select(Subscription.id).where(Subscription.topic_key == subscription.topic_key)
    way = (_content.c.subscription_id, _content.c.request_id)
    since = content.received_at - SAME_WITHIN
    here = (_content.c.subscription_id.in_(siblings), _content.c.id < content.id)
    same = sa.select(*way, sa.func.count()).where(
        *here, _content.c.digest == content.digest, _content.c.received_at > since
    )
    counts = {(row[0], row[1]): row[2] for row in session.execute(same.group_by(*way))}
    own = (content.subscription_id, content.request_id)
    by_this = counts.pop(own, 0)
    return by_this < max(counts.values(), default=0) or _is_repeated(session, content)


def _is_repeated(session: Session, content: Content) -> bool:
    last = (
        sa.select(_content.c.digest, _content.c.received_at)
        .where(
            _content.c.subscription_id == content.subscription_id,
            _content.c.request_id == content.request_id,
            _content.c.id < content.id,
        )
        .order_by(_content.c.id.desc())
        .limit(1)
    )
    before = session.execute(last).first()
    return (
        before is not None
        and before.digest == content.digest
        and before.received_at > content.received_at - SAME_WITHIN
    )


def _record(site: Site, claim: Claim, subscription: Subscription, content: Content) -> None:
    """Write that the hub delivers, and which entries are known now."""
    session = site.session
    if not jobs.is_ours(session, claim):
        session.rollback()
        return
    session.refresh(subscription)
    subscription.delivered_at = content.received_at
    subscription.silent, subscription.missed = False, 0
    marks = marks_of(content.body or b"", content.content_type, subscription.topic_url)
    if subscription.seen is not None:  # else the first poll finds what was there before, and this
        remember(subscription, marks)
    session.commit()


# --- entries -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Marks:
    """By which an entry is known again: one for itself, and one for what it says."""

    entry: str
    words: str


def marks_of(body: bytes, content_type: str, url: str) -> Sequence[Marks]:
    """Return the marks of each entry of a feed; none for other content."""
    try:
        entries = parse(body, content_type=content_type, url=url).entries
    except NotAFeed:
        return ()
    return [
        Marks(
            entry=digest(entry.id)[:_MARK_CHARACTERS],
            # two entries may say the same
            words=digest(entry.id, entry.digest)[:_MARK_CHARACTERS],
        )
        for entry in entries
    ]


def remember(subscription: Subscription, several: Iterable[Marks]) -> None:
    """Add the marks of entries to those that are known, and forget the oldest."""
    new = [mark for marks in several for mark in (marks.entry, marks.words)]
    # what is there once more is as good as new: it is not forgotten before what is gone
    kept = [mark for mark in subscription.seen or () if mark not in set(new)]
    subscription.seen = [*kept, *dict.fromkeys(new)][-_KNOWN_MARKS:]


def links_of(headers: Mapping[str, str]) -> list[dict[str, str]] | None:
    """Return the links of a Link header as ``requests`` does: ``url`` among the parameters; None without."""
    if "Link" not in headers:
        return None
    return [{**one.params, "url": one.url} for one in link_header.parse([headers["Link"]])]


# --- what is not kept ----------------------------------------------------------------------------------


def sweep(site: Site) -> None:
    """Forget the bodies, and later the rows, of content, and callbacks that are over for long: a chore.

    After RETENTION_DAYS and ROW_RETENTION_DAYS. A callback that is forgotten is unknown: 404 in place of 410.
    """
    settings, now = site.settings.outbox, site.now()
    bodies, rows = (
        now - timedelta(days=days) for days in (settings.retention_days, settings.row_retention_days)
    )
    received = _content.c.subscription_id.is_not(None)
    old_bodies = (received, _content.c.body.is_not(None), _content.c.received_at <= bodies)
    old_contents = (received, _content.c.received_at <= rows)
    old_requests = (_request.c.ends_at <= rows,)
    there = [
        sa.exists(sa.select(table.c.id).where(*old))
        for table, old in ((_content, old_bodies), (_content, old_contents), (_request, old_requests))
    ]
    is_any = site.session.scalar(sa.select(sa.or_(*there)))
    site.session.rollback()
    if not is_any:
        return  # nobody waits for a turn to write nothing
    with site.get(Writers).turn(site.engine):
        for statement in (
            sa.update(_content).where(*old_bodies).values(body=None),
            sa.delete(_content).where(*old_contents),
            sa.delete(_request).where(*old_requests),
        ):
            site.session.execute(statement)
        site.session.commit()
