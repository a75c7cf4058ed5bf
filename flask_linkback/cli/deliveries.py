"""Commands for deliveries: what became of telling listeners what happened."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
import sqlalchemy as sa

from ..models import Attempt, Event, Job, JobState, Listener
from ..site import Site, current_site
from ..webhooks import replaying
from ..webhooks.recording import DELIVER
from .lists import ID, LIMIT, ListGroup, iso, one
from .output import Output, command, local_time

__all__ = ["deliveries", "delivery_document", "say_delivery"]

deliveries = ListGroup(
    "deliveries",
    help="What became of telling it: list (also without a command: --state, --listener, --event, --since), "
    "show, replay, recover, ...",
)
_LISTENER: Final = click.option("--listener", "listener_id", type=ID, metavar="ID")
_EVENT: Final = click.option("--event", "event_id", type=ID, metavar="ID")
_DRY_RUN: Final = click.option("--dry-run", is_flag=True, help="Only say how many they are.")


def _since(*, required: bool) -> Callable[[Any], Any]:
    what = "2030-12-31T12:00, in UTC, or so long ago: 90m, 12h, 3d."
    return click.option("--since", required=required, metavar="TIME", help=what)


@command("list")
@click.option("--state", type=click.Choice([each.value for each in JobState]))
@_LISTENER
@_EVENT
@_since(required=False)
@LIMIT
def list_deliveries(
    out: Output,
    state: str | None,
    listener_id: int | None,
    event_id: int | None,
    since: str | None,
    limit: int,
) -> None:
    """List deliveries, newest first: done, given up (dead), or when they are tried next.

    With --since those alone that are owed since then.
    """
    site = current_site()
    wanted = sa.select(Job).where(Job.kind == DELIVER).order_by(Job.id.desc()).limit(limit)
    for column, value in ((Job.state, state), (Job.listener_id, listener_id), (Job.event_id, event_id)):
        if value is not None:
            wanted = wanted.where(column == value)
    if since is not None:
        wanted = wanted.where(Job.created_at >= _moment(site, since))
    _finish(out, site.session.scalars(wanted).all())


@command("show")
@click.argument("job_id", metavar="ID", type=ID)
def show_delivery(out: Output, job_id: int) -> None:
    """Show a delivery and all its attempts."""
    site = current_site()
    job = one(site, Job, job_id)
    made = sa.select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.id)
    attempts = site.session.scalars(made).all()
    say_delivery(out, job)
    for each in attempts:
        body = (each.body or b"").decode("utf-8", "replace")
        said = each.status_code or each.outcome
        out.say(
            f"        {local_time(each.started_at)}  {said}  {each.seconds:.3f} s  {each.reason}".rstrip()
        )
        if body:
            out.say(f"        {body[:_SHOWN]}")
    out.finish({**delivery_document(job), "attempts": [_attempt_document(each) for each in attempts]})


@command("replay")
@click.argument("ids", nargs=-1, required=True, type=ID, metavar="ID...")
@click.option("--again", is_flag=True, help="What was delivered already, too.")
def replay(out: Output, ids: tuple[int, ...], again: bool) -> None:
    """Owe deliveries once more, under the same id; all of them or, where one cannot be, none."""
    site = current_site()
    found = [replaying.replay(site, each, again=again) for each in ids]
    site.session.commit()
    _finish(out, found)


@command("recover")
@click.option("--listener", "listener_id", type=ID, metavar="ID", required=True)
@_since(required=True)
@click.option("--never-sent", is_flag=True, help="Instead, what it wants and was never owed.")
@_DRY_RUN
def recover(out: Output, listener_id: int, since: str, never_sent: bool, dry_run: bool) -> None:
    """Owe a listener once more all that was given up since a time, of the last 14 days."""
    site = current_site()
    listener = one(site, Listener, listener_id)
    do = replaying.backfill if never_sent else replaying.recover
    try:
        count = do(site, listener, _moment(site, since), dry_run=dry_run)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    site.session.commit()
    would = "would be" if dry_run else "are"
    number = f"{count} delivery" if count == 1 else f"{count} deliveries"
    out.say(f"{number} {would} owed to listener {listener_id}.")
    out.finish({"listener_id": listener_id, "count": count, "dry_run": dry_run})


@command("cancel")
@click.argument("ids", nargs=-1, type=ID, metavar="[ID...]")
@_LISTENER
@_EVENT
def cancel(out: Output, ids: tuple[int, ...], listener_id: int | None, event_id: int | None) -> None:
    """Give up what waits: deliveries by their ids, or all to a listener, of an event, or both."""
    site = current_site()
    if bool(ids) is (listener_id is not None or event_id is not None):
        raise click.UsageError("Name deliveries, or a --listener or --event.")
    if ids:
        count = sum(replaying.cancel(site, job=one(site, Job, each)) for each in ids)
    else:
        listener = None if listener_id is None else one(site, Listener, listener_id)
        event = None if event_id is None else one(site, Event, event_id)
        count = replaying.cancel(site, listener, event=event)
    site.session.commit()
    out.say(f"{count} delivery cancelled." if count == 1 else f"{count} deliveries cancelled.")
    out.finish({"cancelled": count}, failed=not count)


_SHOWN: Final = 500
for _each in (list_deliveries, show_delivery, replay, recover, cancel):
    deliveries.add_command(_each)

_AGO: Final = re.compile("([0-9]{1,6})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def _moment(site: Site, text: str) -> datetime:
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return site.now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.ClickException(f"{text!r} is no time: 2030-12-31T12:00, or 90m, 12h, 3d.") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _finish(out: Output, found: Sequence[Job]) -> None:
    for each in found:
        say_delivery(out, each)
    if not found:
        out.say("No deliveries.")
    out.finish([delivery_document(each) for each in found])


def say_delivery(out: Output, each: Job) -> None:
    parts = [
        f"{each.id:>6}  {each.state.value:8}  event {each.event_id} to listener {each.listener_id}",
        f" attempts: {each.attempts}",
        f" next at {local_time(each.due_at)}" if each.state is JobState.pending else "",
        f" - {each.reason}" if each.reason else "",
    ]
    out.say(" ".join(filter(None, parts)))


def delivery_document(each: Job) -> dict[str, Any]:
    said = {name: getattr(each, name) for name in ("id", "event_id", "listener_id", "attempts", "reason")}
    due_at = each.due_at if each.state is JobState.pending else None
    times = {"created_at": each.created_at, "due_at": due_at, "finished_at": each.finished_at}
    return {**said, "state": each.state.value, **{name: iso(at) for name, at in times.items()}}


def _attempt_document(each: Attempt) -> dict[str, Any]:
    names = ("number", "seconds", "outcome", "url", "address", "status_code", "reason")
    said = {name: getattr(each, name) for name in names}
    body = None if each.body is None else each.body.decode("utf-8", "replace")
    return {**said, "started_at": iso(each.started_at), "body": body}
