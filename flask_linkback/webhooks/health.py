"""Health: a listener that fails is warned of, and disabled when it does so for five days."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import signals
from ..models import Job, Listener, ListenerState
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.writers import Writers
from ..site import Site
from .listeners import ACTIVE
from .reading import OwedAhead
from .recording import DELIVER

__all__ = [
    "DISABLED",
    "TEND",
    "WELL",
    "disable",
    "disabled_at",
    "note_failure",
    "note_success",
    "tend",
]

TEND: Final = "tend_listener"
"""The kind of job that warns of a failing listener, and disables it in the end."""
BAD_DAYS: Final = timedelta(days=5)
"""For how long a listener may fail."""
APART: Final = timedelta(hours=12)
"""One bad hour is none of these: two failures lie at least so far apart."""
WARNED_BEFORE: Final = (timedelta(hours=24), timedelta(hours=6))
"""How long before the end its owner is warned."""
DISABLED: Final = "The listener is disabled."
"""Why a delivery is not sent to one that is."""
WELL: Final[Mapping[str, Any]] = {
    "state": ListenerState.active,
    "failing_at": None,
    "failed_again_at": None,
    "reason": "",
}
"""What is written of a listener that takes its events again."""

_listener: Final = Listener.__table__


def disabled_at(listener: Listener) -> datetime | None:
    """Return when a failing listener will be disabled; None as long as that is not certain.

    After five days, and never less than a day after the failure that makes it certain.
    """
    if listener.failing_at is None or listener.failed_again_at is None:
        return None
    return max(listener.failing_at + BAD_DAYS, listener.failed_again_at + WARNED_BEFORE[0])


def note_success(site: Site, claim: Claim, listener: Listener) -> None:
    """Write that a listener is well again; nothing where it was well before."""
    if listener.state is not ListenerState.failing:
        return
    failing = (_listener.c.id == listener.id, _listener.c.state == ListenerState.failing)
    _record(site, claim, lambda session: _update(session, *failing, **WELL))


def note_failure(site: Site, claim: Claim, listener: Listener, reason: str) -> None:
    """Write the first failure of a listener, and the first that is far enough from that: no other."""
    now, this = site.now(), _listener.c.id == listener.id
    if listener.state is ListenerState.active:
        first = {"state": ListenerState.failing, "failing_at": now, "reason": reason}
        active = _listener.c.state == ListenerState.active
        _record(site, claim, lambda session: _update(session, this, active, **first))
        return
    since = listener.failing_at
    if since is None or listener.failed_again_at is not None or now < since + APART:
        return
    listener.failed_again_at = now  # it is nobody's object but ours

    def write(session: Session) -> bool:
        same = (_listener.c.state == ListenerState.failing, _listener.c.failing_at == since)
        new = _listener.c.failed_again_at.is_(None)
        if not _update(session, this, *same, new, failed_again_at=now, reason=reason):
            return False
        _owe_tending(session, listener, step=0)
        return True

    _record(site, claim, write)


def _owe_tending(session: Session, listener: Listener, *, step: int) -> None:
    """Owe a warning, or, when all were given, the end."""
    end = disabled_at(listener)
    assert end is not None
    assert listener.failing_at is not None
    before = WARNED_BEFORE[step] if step < len(WARNED_BEFORE) else timedelta()
    payload = {"failing_at": listener.failing_at.isoformat(), "step": step}
    key = f"tend listener {listener.id}"
    job = jobs.NewJob(kind=TEND, key=key, payload=payload, due_at=end - before, listener_id=listener.id)
    jobs.add(session, [job])


def tend(site: Site, claim: Claim) -> Outcome:
    """Handle a job: warn that a listener will be disabled, or disable it, unless it is well again."""
    session = site.session
    listener = session.get(Listener, claim.listener_id)
    since = None if listener is None else listener.failing_at
    if listener is None or listener.state is not ListenerState.failing or since is None:
        return jobs.done("It does not fail any more.")
    end = disabled_at(listener)
    if end is None or since.isoformat() != claim.payload["failing_at"]:
        return jobs.done("It was well since.")
    step = claim.payload["step"]
    session.expunge(listener)
    session.rollback()
    if step >= len(WARNED_BEFORE):
        days = (site.now() - since) // timedelta(days=1)
        disable(site, claim, listener, f"It failed for {days} days: {listener.reason}")
        return jobs.done()

    def write(session: Session) -> bool:
        _owe_tending(session, listener, step=step + 1)
        return True

    if _record(site, claim, write):
        kept = site.session.get(Listener, listener.id)
        site.send(signals.listener_failing, listener=kept, disabled_at=end)
    return jobs.done()


def disable(site: Site, claim: Claim, listener: Listener, reason: str) -> None:
    """Send a listener nothing more, and give up what waits for it."""

    def write(session: Session) -> bool:
        heard = (_listener.c.id == listener.id, _listener.c.state.in_(ACTIVE))
        if not _update(session, *heard, state=ListenerState.disabled, reason=reason, updated_at=site.now()):
            return False
        jobs.cancel(session, DISABLED, Job.listener_id == listener.id, Job.kind == DELIVER)
        return True

    if _record(site, claim, write):
        kept = site.session.get(Listener, listener.id)
        site.send(signals.listener_disabled, listener=kept, reason=reason)


def _update(session: Session, *where: sa.ColumnElement[bool], **values: Any) -> bool:
    # by the table: this is no bulk statement that an index has to hear of
    result = session.execute(sa.update(_listener).where(*where).values(**values))
    return bool(result.rowcount)  # type: ignore[attr-defined]


def _record(site: Site, claim: Claim, write: Callable[[Session], bool]) -> bool:
    """Write something in a transaction of its own, while the claim is ours; say whether that was done."""
    session = site.session

    def transact() -> bool:
        if not jobs.is_ours(session, claim):
            session.rollback()
            return False
        written = write(session)
        session.commit()
        site.get(OwedAhead).forget()
        return written

    return site.get(Writers).record(site.engine, session, transact)
