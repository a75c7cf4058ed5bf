"""Shaking hands: a listener is asked whether it wants our events at all, before it gets any.

CloudEvents, "HTTP 1.1 Web Hooks for Event Delivery", section 4: so nobody can aim us at a stranger.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import changes
from ..errors import FetchError
from ..fetch import Response
from ..models import Listener, ListenerState, host_of
from ..outbox import jobs
from ..outbox.jobs import Claim, Outcome
from ..outbox.replies import attempt_of, is_success, outcome_of
from ..outbox.writers import Writers
from ..site import Site
from .options import options_of

__all__ = ["SHAKE", "owe_handshake", "shake", "verify"]

SHAKE: Final = "shake_hands"
"""The kind of job that asks a listener whether it wants our events."""
_MINUTE: Final = 60.0
_listener: Final = Listener.__table__


def owe_handshake(session: Session, listener: Listener) -> None:
    """Ask a listener once the transaction commits, unless that is owed already."""
    key = f"shake hands {listener.id}"
    jobs.add_once(session, jobs.NewJob(kind=SHAKE, host=listener.host, key=key, listener_id=listener.id))


def verify(site: Site, listener: Listener) -> None:
    """Ask a listener again that is not verified yet; the caller commits. ValueError for another one."""
    if listener.state is not ListenerState.unverified:
        raise ValueError("The listener needs no handshake.")
    owe_handshake(site.session, listener)
    changes.note_call(site.session, "verify")


def shake(site: Site, claim: Claim) -> Outcome:
    """Handle a job: ask a listener, and let it have its events if it says yes.

    A rate that it allows becomes its own, where that is not lower.
    """
    session = site.session
    listener = session.get(Listener, claim.listener_id)
    if listener is None or listener.state is not ListenerState.unverified:
        return jobs.done("There is nothing to ask.")
    session.expunge(listener)
    session.rollback()  # no transaction stays open over HTTP
    origin, own = host_of(site.base_url), options_of(listener).rate
    asked = {"WebHook-Request-Origin": origin}
    if own is not None:
        asked["WebHook-Request-Rate"] = str(max(1, round(own[0] / own[1] * _MINUTE)))
    started_at = site.now()
    try:
        reply: Response | FetchError = site.fetch.options(listener.url, headers=asked)
    except FetchError as error:
        reply = error
    attempt = attempt_of(site, listener.url, started_at, reply)
    if isinstance(reply, Response) and is_success(reply):
        why_not = _why_not(reply, origin)
        if not why_not:
            _record(site, claim, listener, _welcome(listener, reply))
            return jobs.done(attempt=attempt)
        outcome = jobs.dead(why_not, attempt=attempt)
    else:
        outcome = outcome_of(site, reply, attempt)
    _record(site, claim, listener, {"reason": outcome.reason})
    return outcome


def _why_not(reply: Response, origin: str) -> str:
    """Say why an answer is no yes; "" where it is one."""
    allowed = reply.headers.get("WebHook-Allowed-Origin", "").strip().lower()
    if not allowed:
        return "It does not say WebHook-Allowed-Origin: it did not agree to have our events."
    return "" if allowed in ("*", origin) else f"It agrees to the events of others, not to those of {origin}."


def _welcome(listener: Listener, reply: Response) -> dict[str, Any]:
    """What is written of a listener that said yes."""
    values: dict[str, Any] = {"state": ListenerState.active, "reason": ""}
    allowed = reply.headers.get("WebHook-Allowed-Rate", "").strip()
    if allowed.isascii() and allowed.isdigit() and int(allowed[:9]) > 0:
        rate, own = [float(int(allowed[:9])), _MINUTE], options_of(listener).rate
        if own is None or own[0] / own[1] > rate[0] / rate[1]:
            values["options"] = {**(listener.options or {}), "rate": rate}
    return values


def _record(site: Site, claim: Claim, listener: Listener, values: dict[str, Any]) -> None:
    session = site.session
    waiting = (_listener.c.id == listener.id, _listener.c.state == ListenerState.unverified)

    def write() -> None:
        if jobs.is_ours(session, claim):
            session.execute(sa.update(_listener).where(*waiting).values(**values, updated_at=site.now()))
        session.commit()

    site.get(Writers).record(site.engine, session, write)
