"""Commands for events: what happened, and whom it was told to."""

from __future__ import annotations

import json
from typing import Any, Final

import click
import sqlalchemy as sa

from ..models import Event, Job, Listener
from ..site import current_site
from ..webhooks import trying
from ..webhooks.recording import DELIVER
from .deliveries import delivery_document, say_delivery
from .lists import ID, LIMIT, ListGroup, iso, one
from .output import Output, command, local_time

__all__ = ["events"]

events = ListGroup("events", help="What happened: list (without a command), show.")


@command("list")
@click.option("--type", "type_", metavar="NAME", help="Only those of this type.")
@click.option("--object", "object_key", metavar="KEY", help="Only those of this object: Post:42.")
@LIMIT
def list_events(out: Output, type_: str | None, object_key: str | None, limit: int) -> None:
    """List what happened, newest first."""
    wanted = sa.select(Event).order_by(Event.id.desc()).limit(limit)
    if type_ is not None:
        wanted = wanted.where(Event.type == type_)
    if object_key is not None:
        wanted = wanted.where(Event.object_key == object_key)
    found = current_site().session.scalars(wanted).all()
    for each in found:
        _say_event(out, each)
    if not found:
        out.say("No events.")
    out.finish([_event_document(each) for each in found])


@command("show")
@click.argument("event_id", metavar="ID", type=ID)
def show_event(out: Output, event_id: int) -> None:
    """Show an event, whom it was told to, and why not whom else."""
    site = current_site()
    event = one(site, Event, event_id)
    told = site.session.scalars(
        sa.select(Job).where(Job.event_id == event_id, Job.kind == DELIVER).order_by(Job.id)
    ).all()
    names = {job.listener_id for job in told}
    others = sa.select(Listener).where(Listener.id.not_in(names)).order_by(Listener.id).limit(_OTHERS)
    why_not = [(each, trying.why(site, event, each)) for each in site.session.scalars(others)]
    _say_event(out, event)
    for name, value in (("data", event.data), ("changes", event.changes)):
        out.say(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    for job in told:
        say_delivery(out, job)
    for listener, reason in why_not:
        out.say(f"Not to listener {listener.id}: {reason or 'it came later.'}")
    out.finish(
        {
            **_event_document(event),
            "data": event.data,
            "changes": event.changes,
            "deliveries": [delivery_document(each) for each in told],
            "others": [{"listener_id": each.id, "reason": reason} for each, reason in why_not],
        }
    )


_OTHERS: Final = 100
"""Of so many listeners it is said why they did not get an event."""
for _each in (list_events, show_event):
    events.add_command(_each)


def _say_event(out: Output, each: Event) -> None:
    about = f"  {each.object_key}" if each.object_key else ""
    out.say(f"{each.id:>6}  {local_time(each.created_at)}  {each.type}{about}")


def _event_document(each: Event) -> dict[str, Any]:
    said = {name: getattr(each, name) for name in ("id", "uid", "type", "hook", "object_key", "depth")}
    return {**said, "created_at": iso(each.created_at), "dispatched_at": iso(each.dispatched_at)}
