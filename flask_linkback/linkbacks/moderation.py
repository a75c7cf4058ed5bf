"""Moderation: what a person or rule decides about a mention."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

from .. import signals
from ..changes import note_call
from ..errors import did_you_mean
from ..models import Audit, Mention, MentionStatus
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..site import Site

__all__ = ["ANNOUNCE_MODERATED", "announce_moderated", "first_status", "moderate"]

logger = logging.getLogger("flask_linkback.linkbacks")

ANNOUNCE_MODERATED: Final = "announce_moderated"


def first_status(site: Site, mention: Mention) -> MentionStatus:
    """Return the status that a verified mention gets before a person looks at it (AUTO_APPROVE)."""
    rules = site.settings.linkbacks.auto_approve
    approved = rules if isinstance(rules, bool) else any(_approves(site, mention, rule) for rule in rules)
    return MentionStatus.approved if approved else MentionStatus.pending


def _approves(site: Site, mention: Mention, rule: str | Callable[..., bool]) -> bool:
    if isinstance(rule, str):
        return _KNOWN[rule](site, mention)
    try:
        return bool(rule(mention))
    except Exception:  # the application's own bug must not let a stranger's page be fetched over and over
        logger.exception("A rule of LINKBACK_AUTO_APPROVE raised: a person has to decide.")
        return False


def _known(site: Site, mention: Mention, *like: Any) -> bool:
    other = sa.select(Mention.id).where(
        Mention.status == MentionStatus.approved, Mention.id != mention.id, *like
    )
    return site.session.scalar(other.limit(1)) is not None


def _known_host(site: Site, mention: Mention) -> bool:
    return _known(site, mention, Mention.source_host == mention.source_host)


def _known_author(site: Site, mention: Mention) -> bool:
    # somebody else's page can claim any author: only a page of the same host knows its authors
    return bool(mention.author_url) and _known(
        site, mention, Mention.source_host == mention.source_host, Mention.author_url == mention.author_url
    )


_KNOWN: Final = {"known_host": _known_host, "known_author": _known_author}


def moderate(site: Site, mention: Mention, status: str, *, who: str = "") -> None:
    """Decide about a mention, in the application's transaction: the caller commits.

    ``status`` is "approved", "rejected", "spam" or "pending"; another raises `ValueError`. The
    decision is audited and announced by `mention_moderated` once it is committed.
    """
    try:
        decided = MentionStatus(status)
    except ValueError:
        hint = did_you_mean(str(status), MentionStatus)
        raise ValueError(f"A mention is approved, rejected, spam or pending, not {status!r}.{hint}") from None
    previous = mention.status
    if decided is previous:
        return
    session = site.session
    mention.status = decided
    session.add(
        Audit(
            at=site.now(),
            who=who,
            action="moderate",
            object_key=f"mention:{mention.id}",
            before={"status": previous.value},
            after={"status": decided.value},
        )
    )
    session.flush()
    payload = {"mention_id": mention.id, "status": decided.value, "previous": previous.value}
    jobs.add(session, [jobs.NewJob(kind=ANNOUNCE_MODERATED, payload=payload)])
    note_call(session, "moderate")


def announce_moderated(site: Site, claim: Claim) -> Outcome:
    """Send `mention_moderated` for a decision that is committed now."""
    mention = site.session.get(Mention, claim.payload["mention_id"])
    if mention is not None:
        status, previous = claim.payload["status"], claim.payload["previous"]
        site.send(
            signals.mention_moderated,
            mention=mention,
            status=MentionStatus(status),
            previous=MentionStatus(previous),
        )
    return jobs.done()
