"""Demo: two of these blogs on this computer tell each other what they link to.

``python -m example.demo``, or ``make demo``; with ``--once`` it ends when everything was shown. All
times are measured: they are those of signals and rows.

A new scene is a function like those below. Its docstring is its title; it stands in `SCENES`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from flask_linkback.protocols.standardwebhooks import new_secret

from .stage import Answering, Blog, DemoError, Event, Stage

__all__ = ["SCENES", "main"]

SETTINGS: Final = {
    "LINKBACK_ALLOW_NETWORKS": "127.0.0.0/8",
    "LINKBACK_ALLOW_PORTS": "any",
    "LINKBACK_SOURCE_INTERVAL_SECONDS": 0,
    "LINKBACK_WEBSUB_SECRETS": "always",
}
ADMIN: Final = "/linkback/admin/"


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who plays."""

    stage: Stage
    low_tide: Blog
    """Shows mentions at once."""
    lamplight: Blog
    """Lets a person decide about strangers."""
    secret: str
    """What Lamplight knows webhooks by."""
    password: str
    """What both know you by at their admins, for as long as the demo runs."""


Scene = Callable[[Cast], None]


# --- scenes ------------------------------------------------------------------------------------------


def shown_at_once(cast: Cast) -> None:
    """Lamplight links to Low Tide, where mentions are shown at once"""
    target = cast.low_tide.write(
        title="What the harbour keeps",
        html="<p>Rope, rust, and the names of boats nobody sails any more.</p>",
    )
    source = cast.lamplight.write(
        title="Names of boats",
        html=f'<p>I copied out every one that <a href="{target}">the harbour keeps</a>. Forty so far.</p>',
    )
    event = told(cast.stage, cast.lamplight, source, cast.low_tide, target)
    if event["mention"]["status"] != "approved":
        raise DemoError("Low Tide did not approve the mention.")
    cast.stage.step("approved", cast.low_tide, "LINKBACK_AUTO_APPROVE is on", at=event["at"])
    shown(cast.stage, cast.low_tide, target, event["mention"]["id"])


def decided_by_a_person(cast: Cast) -> None:
    """Low Tide sends Lamplight a webmention, and a person decides"""
    target = cast.lamplight.write(
        title="Reading after dark",
        html="<p>One lamp, one chair, one page that does not want to be turned.</p>",
    )
    source = cast.low_tide.command(
        "post",
        *("--title", "The light on the hill"),
        *("--html", f'<p>Somebody up there is <a href="{target}">still reading</a>. Good.</p>'),
    )
    event = told(cast.stage, cast.low_tide, source, cast.lamplight, target)
    mention_id = event["mention"]["id"]
    if mark(mention_id) in cast.lamplight.get(target):
        raise DemoError("Lamplight shows a mention that nobody approved.")
    cast.stage.step("waits", cast.lamplight, "visitors do not see it yet", at=event["at"])
    cast.lamplight.submit("/desk/mentions", f"/desk/mentions/{mention_id}", status="approved")
    event = cast.stage.wait_for(cast.lamplight, "mention_moderated", mention={"id": mention_id})
    cast.stage.step("approved", cast.lamplight, "by a person, at the desk", at=event["at"])
    shown(cast.stage, cast.lamplight, target, mention_id)


def liked(cast: Cast) -> None:
    """Low Tide likes a page of Lamplight, which knows it by now"""
    target = cast.lamplight.write(
        title="Moths", html="<p>They come for the lamp and stay for the second chapter.</p>"
    )
    source = cast.low_tide.write(title="A like", like_of=target)
    event = told(cast.stage, cast.low_tide, source, cast.lamplight, target)
    if (event["mention"]["type"], event["mention"]["status"]) != ("like", "approved"):
        raise DemoError(f"Lamplight did not take it for a like that it approves: {event['mention']}")
    cast.stage.step("approved", cast.lamplight, "it comes from a known host", at=event["at"])
    shown(cast.stage, cast.lamplight, target, event["mention"]["id"])


def a_link_goes(cast: Cast) -> None:
    """Low Tide edits a post, and its link to Lamplight goes"""
    target = cast.lamplight.write(title="Spare bulbs", html="<p>Two left. Winter is long.</p>")
    title = "What the neighbours burn"
    source = cast.low_tide.write(title=title, html=f'<p>Up there they have <a href="{target}">two</a>.</p>')
    event = told(cast.stage, cast.low_tide, source, cast.lamplight, target)
    shown(cast.stage, cast.lamplight, target, event["mention"]["id"])
    cast.stage.step("edited", cast.low_tide, "without the link", at=time.time())
    cast.low_tide.edit(source, title=title, html="<p>Driftwood, mostly.</p>")
    removed(cast, target, event["mention"]["id"])


def a_page_goes(cast: Cast) -> None:
    """Low Tide deletes a post that Lamplight shows"""
    target = cast.lamplight.write(title="Curtains", html="<p>Drawn at ten.</p>")
    source = cast.low_tide.write(title="I can see", html=f'<p>No, at <a href="{target}">eleven</a>.</p>')
    event = told(cast.stage, cast.low_tide, source, cast.lamplight, target)
    shown(cast.stage, cast.lamplight, target, event["mention"]["id"])
    cast.stage.step("deleted", cast.low_tide, f"{source} answers 410", at=time.time())
    cast.low_tide.delete(source)
    removed(cast, target, event["mention"]["id"])


def followed(cast: Cast) -> None:
    """Lamplight follows Low Tide, whose hub brings it the next post"""
    topic = f"{cast.low_tide.url}/feed.atom"
    cast.lamplight.command("linkback", "subscribe", topic)
    event = cast.stage.wait_for(cast.lamplight, "subscription_verified")
    cast.stage.step("asked", cast.lamplight, f"to be told of {topic}", at=event["subscription"]["created_at"])
    cast.stage.step("confirmed", cast.lamplight, f"by {event['subscription']['hub_url']}", at=event["at"])
    title = "The lowest water of the year"
    url = cast.low_tide.write(title=title, html="<p>You can walk to the wreck, if you walk back in time.</p>")
    cast.stage.step("published", cast.low_tide, url, at=cast.low_tide.created_at(url))
    event = cast.stage.wait_for(cast.low_tide, "hub_pinged", topic_url=topic)
    cast.stage.step("pinged", cast.low_tide, "its hub has the news", at=event["at"])
    event = cast.stage.wait_for(cast.lamplight, "updated")
    cast.stage.step("delivered", cast.lamplight, "signed, taken and announced", at=event["at"])
    if url not in cast.lamplight.get("/"):
        raise DemoError("Lamplight does not show what it follows.")
    cast.stage.step("shown", cast.lamplight, f"{cast.lamplight.url}/ has it under Elsewhere", at=time.time())


def listened(cast: Cast) -> None:
    """Low Tide sends webhooks: one is taken, one is not wanted, one waits for a listener that is down"""
    stage, low_tide, lamplight = cast.stage, cast.low_tide, cast.lamplight
    callback = f"{lamplight.url}/linkback/receive/blog"
    with Answering() as down:
        taking = listener(low_tide, callback, "--secret", cast.secret)
        picky = listener(low_tide, callback, "--match", '{"title": {"startswith": "Storm"}}')
        away = listener(low_tide, down.url, "--options", '{"retry_schedule": [0, 1, 1, 1, 1, 1]}')
        url = low_tide.write(title="A calm day", html="<p>Nothing to report, at length.</p>")
        stage.step("written", low_tide, f"{url}, and post.created", at=low_tide.created_at(url))
        taken = stage.wait_for(low_tide, "delivery_succeeded", listener={"id": taking})
        failed = stage.wait_for(low_tide, "delivery_failed", listener={"id": away})
        for event in sorted((taken, failed), key=lambda event: event["at"]):
            if event is taken:
                stage.step("taken", lamplight, f"at {callback}, signed", at=event["at"])
            else:
                stage.step("down", low_tide, f"listener {away}: {event['reason']}", at=event["at"])
        stage.look_for(lamplight, url)
        stage.step("shown", lamplight, f"{lamplight.url}/ has it under Elsewhere", at=time.time())
        down.begin()
        event = stage.wait_for(low_tide, "delivery_succeeded", listener={"id": away})
        stage.step("back", low_tide, f"listener {away} has it now", at=event["at"])
        told_of = low_tide.command("linkback", "events", "show", str(event["event"]["id"]), "--json")
        (reason,) = (each["reason"] for each in json.loads(told_of)["others"] if each["listener_id"] == picky)
        stage.step("left out", low_tide, f"listener {picky}: {reason}", at=time.time())


SCENES: Final[Sequence[Scene]] = (
    shown_at_once,
    decided_by_a_person,
    liked,
    a_link_goes,
    a_page_goes,
    listened,
    followed,
)


# --- what scenes share -------------------------------------------------------------------------------


def told(stage: Stage, writer: Blog, source: str, reader: Blog, target: str) -> Event:
    """Follow a link from its publication until the other blog has seen it; return that event."""
    stage.step("published", writer, source, at=writer.created_at(source))
    event = stage.wait_for(reader, "visited", url=target)
    stage.step("discovered", reader, f"listens at {event['endpoint']}", at=event["at"])
    event = stage.wait_for(reader, "mention_received", mention={"source": source, "target": target})
    said = f"{writer.name} says that it links here, by {event['mention']['protocol']}"
    stage.step("told", reader, said, at=event["mention"]["received_at"])
    event = stage.wait_for(reader, "mention_verified", mention={"source": source, "target": target})
    title = event["mention"]["title"]
    stage.step("verified", reader, f'the link is in "{title}"', at=event["mention"]["verified_at"])
    return event


def shown(stage: Stage, blog: Blog, url: str, mention_id: int) -> None:
    """See that a mention stands in the page."""
    if mark(mention_id) not in blog.get(url):
        raise DemoError(f"{blog.name} does not show the mention at {url}")
    stage.step("shown", blog, f"{url}#mention-{mention_id}", at=time.time())


def removed(cast: Cast, url: str, mention_id: int) -> None:
    """See that Lamplight is told, looks again, and shows the mention no more."""
    event = cast.stage.wait_for(cast.lamplight, "mention_removed", mention={"id": mention_id})
    cast.stage.step("removed", cast.lamplight, f"because of {event['reason']}", at=event["at"])
    if mark(mention_id) in cast.lamplight.get(url):
        raise DemoError(f"Lamplight still shows the mention at {url}")


def listener(blog: Blog, url: str, *options: str) -> int:
    """Let somebody listen to new posts of a blog; return which listener that is."""
    said = blog.command("linkback", "listeners", "add", url, "--event", "post.created", *options, "--json")
    return int(json.loads(said)["id"])


def mark(mention_id: int) -> str:
    return f'id="mention-{mention_id}"'


# --- the demo ----------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Play all scenes. Return 0 when everything was shown, 1 when not, 130 when interrupted before."""
    parser = argparse.ArgumentParser(prog="python -m example.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when everything was shown")
    once = parser.parse_args(arguments).once
    everything_shown = False
    for each in SIGNALS:
        signal.signal(each, interrupt)
    try:
        with on_stage() as cast:
            for number, scene in enumerate(SCENES, 1):
                cast.stage.begin(f"{number}. {scene.__doc__}")
                scene(cast)
            everything_shown = True
            if not once:
                invite(cast)
                cast.stage.stay()
                raise DemoError("A blog has ended.")
    except DemoError as error:
        print(f"\nThe demo failed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if everything_shown else 130
    return 0


@contextlib.contextmanager
def on_stage() -> Iterator[Cast]:
    """Let both blogs run; afterwards nothing is left of them."""
    with contextlib.ExitStack() as stack:
        stack.callback(hear_again, {each: signal.getsignal(each) for each in SIGNALS})
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="linkback-demo-"))
        stage = Stage(Path(folder), colours=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
        secret, password = new_secret(), secrets.token_urlsafe(9)
        settings = {**SETTINGS, "BLOG_ADMIN_PASSWORD": password}
        cast = Cast(
            stage=stage,
            # it only knows pingback, as so many do
            low_tide=stage.blog(
                "Low Tide",
                LINKBACK_AUTO_APPROVE=True,
                LINKBACK_PROTOCOLS=["pingback"],
                LINKBACK_HUB_ENABLED=True,
                **settings,
            ),
            lamplight=stage.blog(
                "Lamplight",
                LINKBACK_AUTO_APPROVE=["known_host"],
                BLOG_TONE="lamp",
                BLOG_WEBHOOK_SECRET=secret,
                **settings,
            ),
            secret=secret,
            password=password,
        )
        for blog in stage.blogs:
            stack.enter_context(blog)
        stack.callback(ignore_signals)  # runs first: what tidies up is not interrupted
        try:
            stage.begin("Two blogs, each with a process and a database of its own")
            for blog in stage.blogs:
                stage.wait_for(blog, "ready")
                blog.get("/")  # its worker starts with its first request
                stage.say(f"{blog.name:<9}  {blog.url}/")
            given = ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
            stage.say(stage.paint(f"Since they share this computer: {given}", "2"))
            yield cast
        except DemoError:
            for blog in stage.blogs:
                print(f"\n{blog.name} wrote: {blog.log() or 'nothing'}", file=sys.stderr)
            raise


def invite(cast: Cast) -> None:
    """Say where to look."""
    cast.stage.begin("Have a look")
    cast.stage.say(f"Low Tide   {cast.low_tide.url}/")
    cast.stage.say(f"Lamplight  {cast.lamplight.url}/ and its desk, {cast.lamplight.url}/desk/mentions")
    cast.stage.say(f"Admin      {cast.low_tide.url}{ADMIN} and {cast.lamplight.url}{ADMIN}")
    cast.stage.say(f"           Any name, and the password of this run: {cast.password}")
    cast.stage.say("Link from a post of one to a post of the other. Ctrl-C ends both.")


SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def ignore_signals() -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def hear_again(handlers: Mapping[signal.Signals, Any]) -> None:
    for each, handler in handlers.items():
        signal.signal(each, handler)


if __name__ == "__main__":
    sys.exit(main())
