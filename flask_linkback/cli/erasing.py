"""The command that erases a person's data."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from ..config import ascii_host
from ..fetch import check_url
from ..linkbacks import moderation
from ..linkbacks.erasing import Person, erase, erase_weblogs, mentions_of, weblogs_of
from ..models import Mention, Subscriber, Weblog
from ..site import current_site
from ..websub.forgetting import forget_subscribers, subscribers_at
from .linkbacks import from_to, user_name
from .output import Output, command, counted

__all__ = ["erase_person"]


@command("erase")
@click.option(
    "--author",
    metavar="URL",
    help="What this author wrote, wherever it stands; scheme and port do not count.",
)
@click.option("--host", metavar="HOST", help="What came from this host, and what its people wrote.")
@click.option("--dry-run", is_flag=True, help="Only say what it would be.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase_person(out: Output, author: str | None, host: str | None, dry_run: bool, yes: bool) -> None:
    """Erase a person's data: what they wrote, who they are, where it stood.

    Their mentions are rejected, and stay so when they are sent again; their weblogs leave our directory, and
    the subscribers at HOST our hub. HOST is without its subdomains. It cannot be undone.
    """
    person = _person(author, host)
    site = current_site()
    ids, weblogs = mentions_of(site, person), weblogs_of(site, person)
    subscribers = [] if person.host is None else list(subscribers_at(site, person.host))
    some = bool(ids or weblogs or subscribers)
    much = _much(ids, weblogs, subscribers) if some else ""
    if some and not dry_run:
        if not yes:
            _ask(much)
        announcements = erase(site, ids, who=user_name())
        if weblogs:
            erase_weblogs(site, weblogs, who=user_name())
        if person.host is not None and subscribers:
            forget_subscribers(site, person.host, who=user_name())
        site.session.commit()
        moderation.announce(site, announcements)
    if not some:
        out.say("There is nothing to erase.")
    elif dry_run:
        _say_which(out, ids, weblogs, subscribers)
        out.say(f"Would erase {much}.")
    else:
        out.say(f"{much} erased.")
    erased = some and not dry_run
    out.finish({"mentions": ids, "weblogs": weblogs, "subscribers": subscribers, "erased": erased})


def _much(ids: Sequence[int], weblogs: Sequence[int], subscribers: Sequence[int]) -> str:
    """Say how much it is, where it is anything."""
    numbers = {"mention": len(ids), "weblog": len(weblogs), "subscriber": len(subscribers)}
    *first, last = [counted(number, noun) for noun, number in numbers.items() if number]
    return f"{', '.join(first)} and {last}" if first else last


def _say_which(out: Output, ids: Sequence[int], weblogs: Sequence[int], subscribers: Sequence[int]) -> None:
    """Name what would be emptied, or forgotten."""
    session = current_site().session
    for mention_id in ids:
        out.say(f"Would empty mention {mention_id}: {from_to(session.get_one(Mention, mention_id))}")
    for weblog_id in weblogs:
        out.say(f"Would empty weblog {weblog_id}: {session.get_one(Weblog, weblog_id).url}")
    for subscriber_id in subscribers:
        callback = session.get_one(Subscriber, subscriber_id).callback_url
        out.say(f"Would forget subscriber {subscriber_id}: {callback}")


def _person(author: str | None, host: str | None) -> Person:
    if (author is None) == (host is None):
        raise click.UsageError("Name either an --author or a --host.")
    if author is not None:
        check_url(author)
        return Person(author=author)
    try:
        name = ascii_host((host or "").strip("[]"))
    except ValueError:
        name = ""
    if not name or "/" in name:
        raise click.ClickException(f"{host!r} is no host name.")
    return Person(host=name)


def _ask(much: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody is there to be asked: give --yes, or --dry-run to see what it is.")
    click.confirm(f"Erase the data of {much} for good?", abort=True, err=True)
