"""Recording: an event is a row in the transaction in which it happens, and a job that tells of it."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from ..models import digest
from ..outbox import jobs
from ..site import Site

__all__ = [
    "DELIVER",
    "DISPATCH",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_TYPE_CHARACTERS",
    "NewEvent",
    "depth",
    "new_uid",
    "parse_depth",
    "record",
]

DISPATCH: Final = "dispatch_event"
"""The kind of job that finds out who wants an event."""
DELIVER: Final = "post_webhook"
"""The kind of job that sends one event to one listener: a delivery."""
MAX_BYTES: Final = 256 * 1024
"""What an event may be as JSON: receivers refuse more."""
WARN_BYTES: Final = 20 * 1024
"""Standard Webhooks advises to stay below this ("Payload size")."""
MAX_TYPE_CHARACTERS: Final = 255
depth: ContextVar[int] = ContextVar("flask_linkback.depth", default=0)
"""How many webhooks, one causing the other, led to what is done just now."""
MAX_DEPTH: Final = 5
"""So many webhooks may cause one another: a loop ends here."""
logger = logging.getLogger("flask_linkback.webhooks")


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """Something that happens in this transaction; all values are those of JSON.

    ``order_key`` is what it is about: deliveries of one key go to a listener one after the other.
    """

    hook: str
    type: str
    data: Mapping[str, Any]
    changes: Mapping[str, Any] | None = None
    object_key: str | None = None
    order_key: str | None = None


def parse_depth(text: str | None) -> int:
    """Return what a ``Webhook-Depth`` says: 0 for none and for rubbish, `MAX_DEPTH` for all that is more."""
    text = (text or "").strip()
    if not (text.isascii() and text.isdigit()):
        return 0
    return min(int(text[:9]), MAX_DEPTH)


def new_uid() -> str:
    """Return 32 hexadecimal digits for an event that no other has."""
    return secrets.token_hex(16)


def record(site: Site, session: Session, new: NewEvent) -> int | None:
    """Write an event and the job that tells of it, and return its id; nothing is flushed.

    None for what is too big to be told of: its job is dead from the start, where people see it.
    """
    data = _dump(new.data)
    changes = None if new.changes is None else _dump(new.changes)
    size = len(data) + len(changes or "")
    if size > MAX_BYTES:
        reason = f"The event {new.type} is {size} bytes as JSON; {MAX_BYTES} are the most."
        logger.error(reason, extra={"hook": new.hook})
        jobs.add_dead(session, jobs.NewJob(kind=DISPATCH, payload={"type": new.type}), reason)
        return None
    if size > WARN_BYTES:
        logger.warning(
            "The event %s is %d bytes as JSON: many receivers take no more than %d.",
            new.type,
            size,
            WARN_BYTES,
            extra={"hook": new.hook},
        )
    row = {
        "uid": new_uid(),
        "type": new.type,
        "hook": new.hook,
        "object_key": new.object_key,
        "order_hash": None if new.order_key is None else digest(new.hook, new.order_key)[:32],
        "data": data,
        "changes": changes,
        "depth": depth.get(),
        "created_at": site.now(),
        "dispatched_at": None,
    }
    return jobs.add_for_event(session, DISPATCH, row)


_dump: Final = json.JSONEncoder(separators=(",", ":")).encode
