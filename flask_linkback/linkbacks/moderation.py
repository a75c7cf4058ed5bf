"""Moderation: what a person or rule decides about a mention."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa
from blinker import NamedSignal

from .. import signals
from ..changes import note_call
from ..errors import did_you_mean
from ..models import Audit, Mention, MentionState, MentionStatus, host_of
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.writers import Writers
from ..site import Site
from .avatars import owe_avatar
from .blocks import Listed, Screen, find
from .spam import SpamChecks, Verdict, name_of

__all__ = [
    "ANNOUNCE_MODERATED",
    "CHECK_SPAM",
    "CHECK_VOUCH",
    "Announcement",
    "announce_moderated",
    "check_spam",
    "decide",
    "is_known_host",
    "moderate",
    "record",
    "sweep",
    "turn_away",
    "waiting",
]

logger = logging.getLogger("flask_linkback.linkbacks")

ANNOUNCE_MODERATED: Final = "announce_moderated"
"""The kind of job that sends `mention_moderated` for what was decided in somebody's transaction."""
CHECK_SPAM: Final = "check_spam"
"""The kind of job that asks the spam checks about a mention, and then decides."""
CHECK_VOUCH: Final = "check_vouch"
"""The kind of job that looks at the page that vouches for a mention, and then decides."""
BLOCKED: Final = "blocked"
"""The reason of a mention whose source was blocked before it was looked at."""
_SWEPT_AT_A_TIME: Final = 500

Announcement = tuple[NamedSignal, Mention, dict[str, Any]]


def record(
    site: Site,
    mention: Mention,
    status: MentionStatus,
    *,
    who: str,
    reason: str = "",
    action: str = "moderate",
) -> Announcement:
    """Write a decision and its audit in the caller's transaction; return what to announce after it."""
    previous = mention.status
    mention.status = status
    if mention.reason.startswith("vouch_"):
        mention.reason = ""  # it was why the mention waited
    owe_avatar(site, mention)
    site.session.add(
        Audit(
            at=site.now(),
            who=who,
            action=action,
            object_key=f"mention:{mention.id}",
            before={"status": previous.value},
            after={"status": status.value},
            reason=reason,
        )
    )
    return signals.mention_moderated, mention, {"status": status, "previous": previous}


# --- what rules decide -------------------------------------------------------------------------------


def decide(site: Site, mention: Mention, *urls: str) -> Iterator[Announcement]:
    """Let the rules decide about a verified mention that waits, in the caller's transaction.

    First the block lists, by its source, its author and the ``urls`` to which the source redirects;
    then the spam checks, for which a job is owed, since they may take their time; then AUTO_APPROVE; then
    who vouches for it, for which a job is owed, too.
    """
    blocked = find(site, mention.source, mention.author_url, *urls)
    if blocked is not None:
        yield record(site, mention, MentionStatus.rejected, who=blocked.who, reason=blocked.reason)
    elif site.get(SpamChecks).checks:
        job = jobs.NewJob(kind=CHECK_SPAM, payload={"mention_id": mention.id}, key=mention.key)
        jobs.add_once(site.session, job)
    else:
        yield from _approve(site, mention)


def _approve(site: Site, mention: Mention) -> Iterator[Announcement]:
    rules = site.settings.linkbacks.auto_approve
    if rules is True:
        yield record(site, mention, MentionStatus.approved, who="rule:auto_approve")
        return
    approving = next((rule for rule in rules or () if _approves(site, mention, rule)), None)
    if approving is not None:
        name = approving if isinstance(approving, str) else name_of(approving)
        yield record(site, mention, MentionStatus.approved, who=f"rule:{name}")
    elif site.settings.linkbacks.vouch and mention.vouch:
        payload = {"mention_id": mention.id}
        host = host_of(mention.vouch)
        jobs.add_once(
            site.session, jobs.NewJob(kind=CHECK_VOUCH, payload=payload, host=host, key=mention.key)
        )


def _approves(site: Site, mention: Mention, rule: str | Callable[..., bool]) -> bool:
    if isinstance(rule, str):
        return _KNOWN[rule](site, mention)
    try:
        return bool(rule(mention))
    except Exception:  # the application's own bug must not let a stranger's page be fetched over and over
        logger.exception("A rule of LINKBACK_AUTO_APPROVE raised: a person has to decide.")
        return False


def is_known_host(site: Site, host: str) -> bool:
    """Was a mention from this host approved?"""
    return _is_known(site, Mention.source_host == host)


def _is_known(site: Site, *like: sa.ColumnElement[bool]) -> bool:
    approved = sa.select(Mention.id).where(Mention.status == MentionStatus.approved, *like)
    return site.session.scalar(approved.limit(1)) is not None


def _known_host(site: Site, mention: Mention) -> bool:
    return is_known_host(site, mention.source_host)


def _known_author(site: Site, mention: Mention) -> bool:
    # somebody else's page can claim any author: only a page of the same host knows its authors
    return bool(mention.author_url) and _is_known(
        site, Mention.source_host == mention.source_host, Mention.author_url == mention.author_url
    )


_KNOWN: Final = {"known_host": _known_host, "known_author": _known_author}


# --- what spam checks say ----------------------------------------------------------------------------


def check_spam(site: Site, claim: Claim) -> Outcome:
    """Handle a job: ask the spam checks about a mention that waits, and decide.

    "spam" makes it spam and "ham" approves it; where all are unsure, AUTO_APPROVE goes on.
    """
    mention_id = claim.payload["mention_id"]
    # the checks get a mention that no session holds: whatever they do, no transaction is open
    with site.new_session() as session:
        mention = session.scalar(waiting().where(Mention.id == mention_id))
    if mention is None:
        return jobs.done()
    verdict = site.get(SpamChecks).ask(site, mention)

    def write() -> list[Announcement]:
        session = site.session
        if not jobs.is_ours(session, claim):
            session.rollback()
            return []
        pending = session.scalar(waiting().where(Mention.id == mention_id).with_for_update())
        announcements = [] if pending is None else list(_judge_spam(site, pending, verdict))
        session.commit()
        return announcements

    announce(site, site.get(Writers).record(site.engine, site.session, write))
    return jobs.done()


def waiting() -> sa.Select[Any]:
    """Select the mentions that are verified and wait for somebody, or something, to decide."""
    return sa.select(Mention).where(
        Mention.state == MentionState.verified, Mention.status == MentionStatus.pending
    )


def _judge_spam(site: Site, mention: Mention, verdict: Verdict) -> Iterator[Announcement]:
    match verdict:
        case Verdict.spam:
            yield record(site, mention, MentionStatus.spam, who="spam_check")
        case Verdict.ham:
            yield record(site, mention, MentionStatus.approved, who="spam_check")
        case Verdict.unsure:
            yield from _approve(site, mention)


# --- what block lists decide -------------------------------------------------------------------------


def turn_away(site: Site, source_key: str, source: str) -> bool:
    """Say whether a source was blocked since it was told; if so, judge unseen what waits for it.

    What was never decided is rejected, and was not found; what was verified before stays as it is.
    """
    session = site.session
    blocked = find(site, source)
    session.rollback()
    if blocked is None:
        return False

    def write() -> list[Announcement]:
        waits = sa.or_(Mention.state == MentionState.received, Mention.recheck.is_(True))
        # a write goes first: it locks the rows, on SQLite the database, against a moderator's decision
        session.execute(
            sa.update(Mention).where(Mention.source_key == source_key, waits).values(recheck=True),
            execution_options={"synchronize_session": False},
        )
        told = sa.select(Mention).where(Mention.source_key == source_key, Mention.recheck.is_(True))
        announcements: list[Announcement] = []
        for mention in session.scalars(told.order_by(Mention.id)).all():
            announcements += _turned_away(site, mention, blocked)
        session.commit()
        return announcements

    announce(site, site.get(Writers).record(site.engine, session, write))
    return True


def _turned_away(site: Site, mention: Mention, blocked: Listed) -> Iterator[Announcement]:
    mention.recheck = False
    mention.checked_at = site.now()  # its turn to be looked at is over
    if mention.state is MentionState.received:
        mention.state = MentionState.failed if mention.verified_at is None else MentionState.gone
        mention.reason = BLOCKED
        yield signals.mention_removed, mention, {"reason": BLOCKED}
    if mention.status is MentionStatus.pending:
        yield record(site, mention, MentionStatus.rejected, who=blocked.who, reason=blocked.reason)


def sweep(site: Site, blocks: Iterable[Listed]) -> Sequence[Mention]:
    """Reject the mentions that some blocks keep out, by source or author, and return them.

    What is spam already stays so. The caller commits; then it is announced.
    """
    session = site.session
    found = find_blocked(site, blocks)
    swept: list[Mention] = []
    ids = list(found)
    for start in range(0, len(ids), _SWEPT_AT_A_TIME):
        portion = sa.select(Mention).where(Mention.id.in_(ids[start : start + _SWEPT_AT_A_TIME]))
        swept += session.scalars(portion.order_by(Mention.id))
    for mention in swept:
        blocked = found[mention.id]
        rejected = record(site, mention, MentionStatus.rejected, who=blocked.who, reason=blocked.reason)
        _announce_later(site, rejected)
    return swept


def find_blocked(site: Site, blocks: Iterable[Listed]) -> dict[int, Listed]:
    """Return what keeps out which mentions, by their ids, of those that `sweep` would reject."""
    screen = Screen(blocks)
    judged = (MentionStatus.pending, MentionStatus.approved)
    columns = sa.select(Mention.id, Mention.source, Mention.author_url).where(Mention.status.in_(judged))
    return {
        row.id: blocked
        for row in site.session.execute(columns.execution_options(yield_per=_SWEPT_AT_A_TIME))
        if (blocked := screen.find(row.source, row.author_url)) is not None
    }


# --- what people decide ------------------------------------------------------------------------------


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
    if decided is mention.status:
        return
    lesson = _lesson(mention.status, decided)
    _announce_later(site, record(site, mention, decided, who=who), lesson=lesson)
    note_call(site.session, "moderate")


def _lesson(previous: MentionStatus, decided: MentionStatus) -> Verdict | None:
    """What a person teaches the spam checks: that something is spam after all, or that it is not."""
    if decided is MentionStatus.spam:
        return Verdict.spam
    if previous is MentionStatus.spam and decided is MentionStatus.approved:
        return Verdict.ham
    return None


# --- announcing --------------------------------------------------------------------------------------


def announce(site: Site, announcements: Iterable[Announcement]) -> None:
    """Send the signals of what is committed."""
    for signal, mention, values in announcements:
        site.send(signal, mention=mention, **values)


def _announce_later(site: Site, announcement: Announcement, *, lesson: Verdict | None = None) -> None:
    """Owe the announcement of a decision in a transaction that is not ours to commit."""
    _, mention, values = announcement
    site.session.flush()
    payload = {
        "mention_id": mention.id,
        "status": values["status"].value,
        "previous": values["previous"].value,
        "lesson": lesson,
    }
    jobs.add(site.session, [jobs.NewJob(kind=ANNOUNCE_MODERATED, payload=payload)])


def announce_moderated(site: Site, claim: Claim) -> Outcome:
    """Send `mention_moderated` for a decision that is committed now, and teach the spam checks."""
    mention = site.session.get(Mention, claim.payload["mention_id"])
    if mention is not None:
        status, previous = claim.payload["status"], claim.payload["previous"]
        site.send(
            signals.mention_moderated,
            mention=mention,
            status=MentionStatus(status),
            previous=MentionStatus(previous),
        )
        if claim.payload.get("lesson") is not None:
            site.get(SpamChecks).teach(site, mention, Verdict(claim.payload["lesson"]))
    return jobs.done()
