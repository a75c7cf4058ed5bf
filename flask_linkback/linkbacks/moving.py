"""Moving: the mentions of a page go with it to its new address, and are nobody's when it is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import signals
from ..errors import UnknownTarget
from ..models import Mention, MentionState, MentionStatus, digest, without_fragment
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..site import Site
from .targets import Located, Targets, route_key

__all__ = ["ANNOUNCE_REMOVED", "announce_removed", "move_mentions", "release_mentions"]

ANNOUNCE_REMOVED: Final = "announce_removed"
"""The kind of job that sends `mention_removed` for a mention whose page here was deleted."""
TARGET_GONE: Final = "target_gone"
"""The reason of such a mention."""


def move_mentions(site: Site, session: Session, old: str, new: str, *, object_key: str | None) -> int:
    """Let the mentions of the page that was at ``old`` be those of the one at ``new``; say how many.

    Which they are say the loader of the old address, if it still finds something there, its route, and
    ``object_key``, what was published there. ``target`` stays: it is the URL to which the other page
    links. Where a page mentions both addresses, one mention stays: the one that is shown, before one
    that somebody rejected, before one that is verified, before any other; among equals the one that the
    new page had. Raises `UnknownTarget` when there is nothing at ``new``.
    """
    located = _located(site, new)
    if located is None:
        return 0
    hashes = {digest(key) for key in _keys(site, old, object_key)} - {located.hash}
    count = 0
    for mention in session.scalars(sa.select(Mention).where(Mention.target_hash.in_(hashes))).all():
        key = digest(without_fragment(mention.source), located.key)
        other = session.scalar(sa.select(Mention).where(Mention.key == key))
        if other is not None:
            keeps = _rank(mention) > _rank(other)
            session.delete(other if keeps else mention)
            session.flush()  # before its key is given to somebody else
            if not keeps:
                continue
        mention.key, mention.endpoint = key, located.endpoint[:255]
        mention.target_key, mention.target_hash = located.key, located.hash
        count += 1
    return count


def _located(site: Site, new: str) -> Located | None:
    """Return the page at the new address; None for one that accepts no linkbacks at all."""
    route = site.match(new)
    if route is not None and route.endpoint not in site.get(Targets).by_endpoint(site):
        return None
    located = site.get(Targets).load(site, route) if route is not None else None
    if located is None:
        raise UnknownTarget(f"There is no page at {new} that the mentions could go to: add it first.")
    return located


def _keys(site: Site, old: str, object_key: str | None) -> Iterator[str]:
    """What identified the page at the old address."""
    if object_key is not None:
        yield object_key
    route = site.match(old)
    target = site.get(Targets).by_endpoint(site).get(route.endpoint) if route is not None else None
    if route is not None and target is not None:
        yield route_key(route)
        located = site.get(Targets).load(site, route)
        if located is not None:
            yield located.key


def _rank(mention: Mention) -> int:
    if mention.shown:
        return 3
    if mention.status in (MentionStatus.rejected, MentionStatus.spam):
        return 2
    return int(mention.state is MentionState.verified)


def release_mentions(session: Session, object_key: str) -> None:
    """Let the mentions of an object that was deleted be nobody's: SQLite gives its key to the next one.

    Those that were there are gone, and are announced once the transaction commits. A look at a source that
    is under way finds that they wait for nothing.
    """
    theirs = sa.and_(Mention.target_hash == digest(object_key), Mention.source != "")
    # a write goes first: it locks the rows, on SQLite the database, against a look's verdict
    session.execute(
        sa.update(Mention).where(theirs).values(recheck=False),
        execution_options={"synchronize_session": False},
    )
    columns = sa.select(Mention.id, Mention.source, Mention.state, Mention.verified_at)
    removed: list[jobs.NewJob] = []
    for row in session.execute(columns.where(theirs).order_by(Mention.id)).all():
        key = f"deleted:{row.id}"
        values: dict[str, Any] = {
            "key": digest(without_fragment(row.source), key),
            "target_key": key,
            "target_hash": digest(key),
        }
        if row.state in (MentionState.received, MentionState.verified):
            state = MentionState.failed if row.verified_at is None else MentionState.gone
            values |= {"state": state, "reason": TARGET_GONE}
            removed.append(jobs.NewJob(kind=ANNOUNCE_REMOVED, payload={"mention_id": row.id}))
        session.execute(sa.update(Mention).where(Mention.id == row.id).values(values))
    jobs.add(session, removed)


def announce_removed(site: Site, claim: Claim) -> Outcome:
    """Send `mention_removed` for a mention whose page here was deleted, which is committed now."""
    mention = site.session.get(Mention, claim.payload["mention_id"])
    if mention is not None:
        site.send(signals.mention_removed, mention=mention, reason=TARGET_GONE)
    return jobs.done()
