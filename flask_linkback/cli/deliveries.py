"""Commands for webhooks: who listens, what happened, and what became of telling it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import click
import sqlalchemy as sa
from flask.cli import AppGroup

from ..models import Attempt, Event, Job, JobState, Listener, ListenerState
from ..site import Site, current_site
from ..webhooks import match as matching
from ..webhooks import replaying, rotating, shaking, switching, trying
from ..webhooks.health import disabled_at
from ..webhooks.listeners import NewListener, add_listener
from ..webhooks.recording import DELIVER
from .output import Output, command, counted, local_time

__all__ = ["deliveries", "events", "listeners"]

R = TypeVar("R", Listener, Event, Job)


class ListGroup(AppGroup):
    """A group of commands that lists where no command is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


_LIMIT: Final = click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
_ID: Final = click.IntRange(1, 2**63 - 1)


def _one(site: Site, model: type[R], row_id: int) -> R:
    """Return a row by its id, or say that there is none."""
    found = site.session.get(model, row_id)
    if found is None or (isinstance(found, Job) and found.kind != DELIVER):
        name = "delivery" if model is Job else model.__name__.lower()
        raise click.ClickException(f"There is no {name} {row_id}.")
    return found


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"{name} is no JSON: {error}") from None


def _at(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


# --- listeners ---------------------------------------------------------------------------------------

listeners = ListGroup(
    "listeners", help="Who wants to hear of what happens: list (without a command), add, pause, test, ..."
)


@command("list")
@click.option("--state", type=click.Choice([each.value for each in ListenerState]))
@click.option("--event", metavar="NAME", help="Only those that asked for this name, type or pattern.")
@click.option("--owner", metavar="NAME")
@click.option("--host", metavar="HOST")
@_LIMIT
def list_listeners(
    out: Output, state: str | None, event: str | None, owner: str | None, host: str | None, limit: int
) -> None:
    """List listeners, newest first: where, of what, and how they are."""
    wanted = sa.select(Listener).order_by(Listener.id.desc()).limit(limit)
    for column, value in (
        (Listener.state, state),
        (Listener.hook, event),
        (Listener.owner, owner),
        (Listener.host, host),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    found = current_site().session.scalars(wanted).all()
    for each in found:
        _say_listener(out, each)
    if not found:
        out.say("No listeners.")
    out.finish([_listener_document(each) for each in found])


@command("add")
@click.argument("url")
@click.option("--event", required=True, metavar="NAME", help="A hook, a type or a pattern: 'person.*'.")
@click.option("--match", metavar="JSON", help="""Which: '{"name": "Joe", "age": {"gte": 18}}'.""")
@click.option("--secret", metavar="whsec_...", help="What is signed with; default: a new one.")
@click.option("--owner", metavar="NAME", help="Whose it is.")
@click.option("--options", metavar="JSON", help="""How: '{"rate": 5, "format": "cloudevents"}'.""")
@click.option("--handshake", is_flag=True, help="Ask first whether it wants our events.")
def add(
    out: Output,
    url: str,
    event: str,
    match: str | None,
    secret: str | None,
    owner: str | None,
    options: str | None,
    handshake: bool,
) -> None:
    """Add a listener at URL; its secret is shown once."""
    site = current_site()
    given = {} if options is None else _json(options, "--options")
    if not isinstance(given, dict):
        raise click.ClickException("--options is no JSON object.")
    try:
        listener = add_listener(
            site,
            NewListener(
                hook=event,
                url=url,
                match=None if match is None else _filter(_json(match, "--match")),
                secret=secret,
                owner=owner,
                options=given,
                handshake=handshake,
            ),
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    (kept,) = rotating.secrets(site, listener)
    site.session.commit()
    _say_listener(out, listener)
    out.say(f"Its secret, which is not shown again: {kept.secret}")
    out.finish({**_listener_document(listener), "secret": str(kept.secret)})


def _filter(said: Any) -> Any:
    """Read a filter as it is stored, or shorter: fields, or a list of such; a plain value means ``is``."""
    if isinstance(said, dict) and "version" in said:
        return matching.load(said)
    several = said if isinstance(said, list) else [said]
    if not all(isinstance(each, dict) for each in several):
        raise ValueError("--match is an object of fields, or a list of them.")
    full = [
        {field: one if isinstance(one, dict) else {"is": one} for field, one in each.items()}
        for each in several
    ]
    return matching.load({"version": 1, "any": full})


def _switch(name: str, doc: str, do: Any) -> click.Command:
    """Make a command that does something with some listeners."""

    def call(out: Output, ids: tuple[int, ...]) -> None:
        site = current_site()
        found = [_one(site, Listener, each) for each in ids]
        try:
            for each in found:
                do(site, each)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        site.session.commit()
        for each in found:
            _say_listener(out, each)
        out.finish([_listener_document(each) for each in found])

    call.__doc__ = doc
    argument = click.argument("ids", nargs=-1, required=True, type=_ID, metavar="ID...")
    return command(name)(argument(call))


@command("remove")
@click.argument("ids", nargs=-1, required=True, type=_ID, metavar="ID...")
def remove(out: Output, ids: tuple[int, ...]) -> None:
    """Remove listeners; what waits for them is given up."""
    site = current_site()
    for each in [_one(site, Listener, each) for each in ids]:
        switching.remove(site, each)
    site.session.commit()
    out.say(f"{counted(len(ids), 'listener')} removed.")
    out.finish({"removed": list(ids)})


@command("test")
@click.argument("listener_id", metavar="ID", type=_ID)
@click.option("--data", metavar="JSON", help="Default: what the newest event said that it hears of.")
@click.option("--type", "type_", metavar="NAME", help="The type of the test event.")
def test(out: Output, listener_id: int, data: str | None, type_: str | None) -> None:
    """Send a listener a test event now; if it takes that, it has its events again."""
    site = current_site()
    listener = _one(site, Listener, listener_id)
    try:
        given = None if data is None else _json(data, "--data")
        tested = switching.send_test(site, listener, given, type_)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    site.session.refresh(listener)
    out.say(f"POST {tested.url}")
    for name, value in tested.headers.items():
        out.say(f"{name}: {value}")
    out.say(tested.body.decode("utf-8", "replace"))
    out.say(f"-> {tested.status or 'no answer'} in {tested.seconds:.3f} s. {tested.reason}".rstrip())
    if tested.answer:
        out.say(tested.answer.decode("utf-8", "replace"))
    _say_listener(out, listener)
    out.finish(
        {
            "passed": tested.passed,
            "reason": tested.reason,
            "sent": {
                "url": tested.url,
                "headers": dict(tested.headers),
                "body": tested.body.decode("utf-8", "replace"),
            },
            "answered": {
                "status": tested.status,
                "headers": dict(tested.answer_headers),
                "body": tested.answer.decode("utf-8", "replace"),
                "seconds": tested.seconds,
            },
            "listener": _listener_document(listener),
        },
        failed=not tested.passed,
    )


for _each in (
    list_listeners,
    add,
    _switch("pause", "Send listeners nothing until they are resumed.", switching.pause),
    _switch("resume", "Let paused listeners have their events again.", switching.resume),
    _switch("verify", "Ask listeners again that did not agree to have our events.", shaking.verify),
    test,
    remove,
):
    listeners.add_command(_each)


def _say_listener(out: Output, each: Listener) -> None:
    end = disabled_at(each) if each.state is ListenerState.failing else None
    parts = [
        f"{each.id:>6}  {each.state.value:10}  {each.hook}  {each.url}",
        f"({each.owner})" if each.owner else "",
        f"- {each.reason}" if each.reason else "",
        f"It will be disabled at {local_time(end)}." if end is not None else "",
    ]
    out.say(" ".join(filter(None, parts)))


def _listener_document(each: Listener) -> dict[str, Any]:
    names = ("id", "hook", "url", "owner", "match", "options", "reason")
    said: dict[str, Any] = {name: getattr(each, name) for name in names}
    said |= {name: _at(getattr(each, name)) for name in ("failing_at", "created_at", "updated_at")}
    return {**said, "state": each.state.value, "disabled_at": _at(disabled_at(each))}


# --- events ------------------------------------------------------------------------------------------

events = ListGroup("events", help="What happened: list (without a command), show.")


@command("list")
@click.option("--type", "type_", metavar="NAME", help="Only those of this type.")
@click.option("--object", "object_key", metavar="KEY", help="Only those of this object: Post:42.")
@_LIMIT
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
@click.argument("event_id", metavar="ID", type=_ID)
def show_event(out: Output, event_id: int) -> None:
    """Show an event, whom it was told to, and why not whom else."""
    site = current_site()
    event = _one(site, Event, event_id)
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
        _say_delivery(out, job)
    for listener, reason in why_not:
        out.say(f"Not to listener {listener.id}: {reason or 'it came later.'}")
    out.finish(
        {
            **_event_document(event),
            "data": event.data,
            "changes": event.changes,
            "deliveries": [_delivery_document(each) for each in told],
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
    return {**said, "created_at": _at(each.created_at), "dispatched_at": _at(each.dispatched_at)}


# --- deliveries --------------------------------------------------------------------------------------

deliveries = ListGroup(
    "deliveries", help="What became of telling it: list (without a command), show, replay, recover, ..."
)
_LISTENER: Final = click.option("--listener", "listener_id", type=_ID, metavar="ID")
_EVENT: Final = click.option("--event", "event_id", type=_ID, metavar="ID")
_DRY_RUN: Final = click.option("--dry-run", is_flag=True, help="Only say how many they are.")
_SINCE: Final = click.option(
    "--since", required=True, metavar="TIME", help="2030-12-31T12:00, in UTC, or so long ago: 90m, 12h, 3d."
)


@command("list")
@click.option("--state", type=click.Choice([each.value for each in JobState]))
@_LISTENER
@_EVENT
@_LIMIT
def list_deliveries(
    out: Output, state: str | None, listener_id: int | None, event_id: int | None, limit: int
) -> None:
    """List deliveries, newest first: done, given up (dead), or when they are tried next."""
    wanted = sa.select(Job).where(Job.kind == DELIVER).order_by(Job.id.desc()).limit(limit)
    for column, value in ((Job.state, state), (Job.listener_id, listener_id), (Job.event_id, event_id)):
        if value is not None:
            wanted = wanted.where(column == value)
    _finish(out, current_site().session.scalars(wanted).all())


@command("show")
@click.argument("job_id", metavar="ID", type=_ID)
def show_delivery(out: Output, job_id: int) -> None:
    """Show a delivery and all its attempts."""
    site = current_site()
    job = _one(site, Job, job_id)
    made = sa.select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.id)
    attempts = site.session.scalars(made).all()
    _say_delivery(out, job)
    for each in attempts:
        body = (each.body or b"").decode("utf-8", "replace")
        said = each.status_code or each.outcome
        out.say(
            f"        {local_time(each.started_at)}  {said}  {each.seconds:.3f} s  {each.reason}".rstrip()
        )
        if body:
            out.say(f"        {body[:_SHOWN]}")
    out.finish({**_delivery_document(job), "attempts": [_attempt_document(each) for each in attempts]})


@command("replay")
@click.argument("ids", nargs=-1, required=True, type=_ID, metavar="ID...")
@click.option("--again", is_flag=True, help="What was delivered already, too.")
def replay(out: Output, ids: tuple[int, ...], again: bool) -> None:
    """Owe deliveries once more, under the same id; all of them or, where one cannot be, none."""
    site = current_site()
    found = [replaying.replay(site, each, again=again) for each in ids]
    site.session.commit()
    _finish(out, found)


@command("recover")
@click.option("--listener", "listener_id", type=_ID, metavar="ID", required=True)
@_SINCE
@click.option("--never-sent", is_flag=True, help="Instead, what it wants and was never owed.")
@_DRY_RUN
def recover(out: Output, listener_id: int, since: str, never_sent: bool, dry_run: bool) -> None:
    """Owe a listener once more all that was given up since a time, of the last 14 days."""
    site = current_site()
    listener = _one(site, Listener, listener_id)
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
@click.argument("ids", nargs=-1, type=_ID, metavar="[ID...]")
@_LISTENER
@_EVENT
def cancel(out: Output, ids: tuple[int, ...], listener_id: int | None, event_id: int | None) -> None:
    """Give up what waits: deliveries by their ids, or all to a listener, of an event, or both."""
    site = current_site()
    if bool(ids) is (listener_id is not None or event_id is not None):
        raise click.UsageError("Name deliveries, or a --listener or --event.")
    if ids:
        count = sum(replaying.cancel(site, job=_one(site, Job, each)) for each in ids)
    else:
        listener = None if listener_id is None else _one(site, Listener, listener_id)
        event = None if event_id is None else _one(site, Event, event_id)
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
        _say_delivery(out, each)
    if not found:
        out.say("No deliveries.")
    out.finish([_delivery_document(each) for each in found])


def _say_delivery(out: Output, each: Job) -> None:
    parts = [
        f"{each.id:>6}  {each.state.value:8}  event {each.event_id} to listener {each.listener_id}",
        f" attempts: {each.attempts}",
        f" next at {local_time(each.due_at)}" if each.state is JobState.pending else "",
        f" - {each.reason}" if each.reason else "",
    ]
    out.say(" ".join(filter(None, parts)))


def _delivery_document(each: Job) -> dict[str, Any]:
    said = {name: getattr(each, name) for name in ("id", "event_id", "listener_id", "attempts", "reason")}
    due_at = each.due_at if each.state is JobState.pending else None
    times = {"created_at": each.created_at, "due_at": due_at, "finished_at": each.finished_at}
    return {**said, "state": each.state.value, **{name: _at(at) for name, at in times.items()}}


def _attempt_document(each: Attempt) -> dict[str, Any]:
    names = ("number", "seconds", "outcome", "url", "address", "status_code", "reason")
    said = {name: getattr(each, name) for name in names}
    body = None if each.body is None else each.body.decode("utf-8", "replace")
    return {**said, "started_at": _at(each.started_at), "body": body}
