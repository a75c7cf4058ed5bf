"""Commands for listeners: who wants to hear of what happens."""

from __future__ import annotations

from typing import Any

import click
import sqlalchemy as sa

from ..models import Listener, ListenerState
from ..site import current_site
from ..webhooks import match as matching
from ..webhooks import rotating, shaking, switching
from ..webhooks.health import disabled_at
from ..webhooks.listeners import NewListener, add_listener
from .lists import ID, LIMIT, ListGroup, iso, one, parse_json
from .output import Output, command, counted, local_time

__all__ = ["listeners"]

listeners = ListGroup(
    "listeners", help="Who wants to hear of what happens: list (without a command), add, pause, test, ..."
)


@command("list")
@click.option("--state", type=click.Choice([each.value for each in ListenerState]))
@click.option("--event", metavar="NAME", help="Only those that asked for this name, type or pattern.")
@click.option("--owner", metavar="NAME")
@click.option("--host", metavar="HOST")
@LIMIT
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
    given = {} if options is None else parse_json(options, "--options")
    if not isinstance(given, dict):
        raise click.ClickException("--options is no JSON object.")
    try:
        listener = add_listener(
            site,
            NewListener(
                hook=event,
                url=url,
                match=None if match is None else matching.read(parse_json(match, "--match")),
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


def _switch(name: str, doc: str, do: Any) -> click.Command:
    """Make a command that does something with some listeners."""

    def call(out: Output, ids: tuple[int, ...]) -> None:
        site = current_site()
        found = [one(site, Listener, each) for each in ids]
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
    argument = click.argument("ids", nargs=-1, required=True, type=ID, metavar="ID...")
    return command(name)(argument(call))


@command("remove")
@click.argument("ids", nargs=-1, required=True, type=ID, metavar="ID...")
def remove(out: Output, ids: tuple[int, ...]) -> None:
    """Remove listeners; what waits for them is given up."""
    site = current_site()
    for each in [one(site, Listener, each) for each in ids]:
        switching.remove(site, each)
    site.session.commit()
    out.say(f"{counted(len(ids), 'listener')} removed.")
    out.finish({"removed": list(ids)})


@command("test")
@click.argument("listener_id", metavar="ID", type=ID)
@click.option("--data", metavar="JSON", help="Default: what the newest event said that it hears of.")
@click.option("--type", "type_", metavar="NAME", help="The type of the test event.")
def test(out: Output, listener_id: int, data: str | None, type_: str | None) -> None:
    """Send a listener a test event now; if it takes that, it has its events again."""
    site = current_site()
    listener = one(site, Listener, listener_id)
    try:
        given = None if data is None else parse_json(data, "--data")
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
    said |= {name: iso(getattr(each, name)) for name in ("failing_at", "created_at", "updated_at")}
    return {**said, "state": each.state.value, "disabled_at": iso(disabled_at(each))}
