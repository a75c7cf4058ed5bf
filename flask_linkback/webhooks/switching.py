"""Switching: a listener is paused, tested and let go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import changes
from ..errors import FetchError
from ..fetch import Response
from ..models import Event, Job, Listener, ListenerState
from ..outbox import jobs
from ..outbox.replies import KEPT_BYTES, is_success
from ..outbox.writers import Writers
from ..site import Site
from . import rotating
from .delivering import WHY_NOT, Delivery, Message, masked
from .dispatch import hook_of
from .health import WELL
from .listeners import ACTIVE, forget
from .options import options_of
from .recording import DELIVER, MAX_TYPE_CHARACTERS, new_uid
from .registry import HookRegistry
from .trying import recent
from .values import plain

__all__ = ["TEST_TYPE", "Tested", "pause", "remove", "resume", "send_test"]

TEST_TYPE: Final = "linkback.test"
"""The type of a test event for a listener of a pattern that nothing happened for yet."""
_TEST: Final = "test_"
"""What the uid of a test event begins with."""
_listener: Final = Listener.__table__


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What a test sent and what was answered; headers of the listener's own are not shown."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    status: int | None = None
    """None where there was no answer."""
    answer_headers: Mapping[str, str]
    answer: bytes = b""
    """16 KiB at most."""
    seconds: float = 0.0
    reason: str = ""
    """What is wrong with the answer."""

    @property
    def passed(self) -> bool:
        return not self.reason


def pause(site: Site, listener: Listener) -> None:
    """Send a listener nothing until it is resumed, and give up what waits for it. The caller commits.

    ValueError for one that gets nothing anyway.
    """
    listener = site.ours(listener)
    if listener.state is ListenerState.paused:
        return
    if listener.state not in ACTIVE:
        raise ValueError(WHY_NOT[listener.state])
    session = site.session
    listener.state, listener.updated_at = ListenerState.paused, site.now()
    session.flush()
    reason = WHY_NOT[ListenerState.paused]
    jobs.cancel(session, reason, Job.listener_id == listener.id, Job.kind == DELIVER)
    changes.note_call(session, "pause")


def resume(site: Site, listener: Listener) -> None:
    """Let a paused listener have its events again. The caller commits.

    What happened meanwhile it gets by `backfill`, what waited when it was paused by `recover`. ValueError for
    one that is disabled, which resumes by a passing test, or not verified.
    """
    listener = site.ours(listener)
    if listener.state in ACTIVE:
        return
    if listener.state is not ListenerState.paused:
        how = "linkback.webhooks.test(listener) has to pass." if _is_disabled(listener) else ""
        raise ValueError(f"{WHY_NOT[listener.state]} {how}".rstrip())
    for name, value in WELL.items():
        setattr(listener, name, value)
    listener.updated_at = site.now()
    site.session.flush()
    changes.note_call(site.session, "resume")


def _is_disabled(listener: Listener) -> bool:
    return listener.state is ListenerState.disabled


def remove(site: Site, listener: Listener) -> None:
    """Remove a listener with its secrets, and give up what waits for it. The caller commits."""
    session = site.session
    forget(session, listener.id)
    session.delete(site.ours(listener))
    session.flush()
    changes.note_call(session, "remove")


def send_test(site: Site, listener: Listener, data: Any = None, type_: str | None = None) -> Tested:
    """Send a listener a test event now, once; if it takes that, it has its events again. It commits.

    Without data it is what the newest event said that it hears of. ValueError for a listener that has not
    answered the handshake: nobody knows yet whether it wants anything.
    """
    listener = site.ours(listener)
    if listener.state is ListenerState.unverified:
        raise ValueError(WHY_NOT[listener.state])
    session = site.session
    event = _event(site, session, listener, data, type_)
    secrets = [str(each.secret) for each in rotating.secrets(site, listener)]
    options = options_of(listener)
    session.commit()  # no transaction stays open over HTTP
    # its own object: a hook may look at it while it is sent
    session.refresh(listener)
    session.expunge(listener)
    try:
        hook = hook_of(site, event.hook)
        tested = _send(
            Delivery(
                site=site,
                event=event,
                listener=listener,
                secrets=secrets,
                hook=hook,
                options=options,
                more_headers={"Webhook-Test": "true"},
            )
        )
    finally:
        session.rollback()
        session.add(listener)
    if tested.passed and listener.state is not ListenerState.active:
        site.get(Writers).record(site.engine, session, lambda: _write_well(site, session, listener))
    return tested


def _write_well(site: Site, session: Session, listener: Listener) -> None:
    this = (_listener.c.id == listener.id, _listener.c.state != ListenerState.unverified)
    session.execute(sa.update(_listener).where(*this).values(**WELL, updated_at=site.now()))
    session.commit()


def _event(site: Site, session: Session, listener: Listener, data: Any, type_: str | None) -> Event:
    """Return an event that is told of and not kept."""
    newest = next(iter(recent(site, listener.hook, 1)), None) if type_ is None or data is None else None
    if type_ is None:
        pattern = listener.hook
        known = TEST_TYPE if pattern.endswith("*") else pattern
        type_ = known if newest is None else newest.type
    if len(type_) > MAX_TYPE_CHARACTERS:
        raise ValueError(f"A type has {MAX_TYPE_CHARACTERS} characters at most.")
    changed = None
    if data is None:
        data = {"test": True} if newest is None else newest.data
        changed = None if newest is None else newest.changes
    return Event(
        uid=f"{_TEST}{new_uid()}",
        type=type_,
        hook=_name_of_hook(site, type_) if newest is None else newest.hook,
        data=plain(data),
        changes=changed,
        depth=0,
        created_at=site.now(),
    )


def _name_of_hook(site: Site, type_: str) -> str:
    """Return the name of the hook whose events are of a type: that which is registered, if any is."""
    hooks = site.get(HookRegistry)
    name = type_
    while name not in hooks and "." in name:
        name = name.rpartition(".")[0]
    return name if name in hooks else type_


def _send(delivery: Delivery) -> Tested:
    """Send a message as the hook wants it sent, and say how it was."""
    site = delivery.site
    sent: list[Message] = []

    def post(
        *, url: str | None = None, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        sent.append(delivery.compose(url=url, body=body, headers=headers))
        return delivery.send(sent[-1])

    started_at = site.now()
    try:
        reply: Response | FetchError = delivery.hook.deliver(delivery.event, delivery.listener, post)
    except FetchError as error:
        reply = error
    message = sent[-1] if sent else delivery.compose()
    told: dict[str, Any] = {
        "url": message.url,
        "headers": masked(message.headers, delivery.listener),
        "body": message.body,
        "seconds": (site.now() - started_at).total_seconds(),
    }
    if isinstance(reply, FetchError):
        return Tested(**told, answer_headers={}, reason=f"{reply.kind}: {reply}")
    return Tested(
        **told,
        status=reply.status,
        answer_headers=reply.headers,
        answer=reply.body[:KEPT_BYTES],
        reason="" if is_success(reply) else f"The server answers {reply.status}.",
    )
