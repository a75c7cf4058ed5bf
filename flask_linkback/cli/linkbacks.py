"""Commands for linkbacks: what came in, what goes out."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import click
import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..errors import UnknownTarget
from ..fetch import check_url
from ..linkbacks import explaining, moderation, sending, verifying
from ..linkbacks.receiving import VERIFY
from ..linkbacks.targets import Targets, current_route
from ..models import (
    Job,
    JobState,
    Link,
    LinkState,
    Mention,
    MentionState,
    MentionStatus,
    digest,
    host_of,
    without_fragment,
)
from ..outbox.errands import run_errands
from ..publishing import PUBLISH, publish
from ..site import Site, current_site
from .output import Output, command, local_time

__all__ = ["explain", "from_to", "mentions", "moderate", "send", "user_name"]


# --- what came in ------------------------------------------------------------------------------------


_STATE: Final = click.option(
    "--state", type=click.Choice([each.value for each in MentionState]), help="What was found."
)
_HOST: Final = click.option("--host", metavar="HOST", help="Only those from this host, or by its people.")
_TARGET: Final = click.option("--target", metavar="URL", help="Only those of this page of ours.")


@command("mentions")
@_STATE
@click.option("--status", type=click.Choice([each.value for each in MentionStatus]), help="What was decided.")
@click.option("--protocol", type=click.Choice(["pingback", "webmention", "trackback"]))
@_HOST
@_TARGET
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option(
    "--verify",
    "ids",
    metavar="ID",
    type=click.IntRange(1, 2**63 - 1),
    multiple=True,
    help="Only this one, after a new look at its source; may be repeated.",
)
def mentions(
    out: Output,
    state: str | None,
    status: str | None,
    protocol: str | None,
    host: str | None,
    target: str | None,
    limit: int,
    ids: tuple[int, ...],
) -> None:
    """List linkbacks that were received, newest first.

    With --verify the status is not zero when the link of one was not found.
    """
    site = current_site()
    due = _verify(site, ids) if ids else {}
    wanted = sa.select(Mention).order_by(Mention.received_at.desc(), Mention.id.desc())
    wanted = wanted.limit(max(limit, len(ids)))
    if protocol is not None:
        wanted = wanted.where(Mention.protocol == protocol)
    if ids:
        wanted = wanted.where(Mention.id.in_(ids))
    wanted = wanted.where(*_chosen(site, state=state, status=status, host=host, target=target))
    found = site.session.scalars(wanted).all()
    for each in found:
        found_as = f"{each.protocol:10}  {each.type:8}  {each.state:8}  {each.status:8}"
        reason = f"({each.reason})" if each.reason else ""
        out.say(f"{each.id:>6}  {found_as}  {from_to(each)}  {each.title}{reason}")
        if each.source_key in due:
            out.say(f"        Its source is looked at again at {local_time(due[each.source_key])}.")
    if not found:
        out.say("No mentions.")
    failed = bool(ids) and any(each.state is not MentionState.verified for each in found)
    out.finish([_mention_document(each) for each in found], failed=failed)


def _verify(site: Site, ids: Sequence[int]) -> dict[str, datetime]:
    """Look at the sources of some mentions now; return when which of them, by its key, has to be again."""
    session = site.session
    found = _named(session, ids)
    erased = [str(each.id) for each in found if each.is_erased]
    if erased:
        raise click.ClickException(f"What is known of {', '.join(erased)} was erased, with the source.")
    keys = {each.source_key for each in found}
    verifying.owe_looks(site, found)
    session.commit()
    unfinished = (JobState.pending, JobState.running)
    owed = sa.select(Job).where(Job.kind == VERIFY, Job.key.in_(keys), Job.state.in_(unfinished))
    with site.new_session() as own:
        job_ids = [job.id for job in own.scalars(owed.order_by(Job.id))]
    run_errands(site, job_ids)
    with site.new_session() as own:
        return {job.key: job.due_at for job in own.scalars(owed) if job.key is not None}


def from_to(mention: Mention) -> str:
    """Which page says that it links to which, for people."""
    return f"{mention.source or '(erased)'} -> {mention.target}"


def _chosen(
    site: Site, *, state: str | None, status: str | None, host: str | None, target: str | None
) -> list[sa.ColumnElement[bool]]:
    """The conditions that a person's options stand for."""
    chosen: list[sa.ColumnElement[bool]] = []
    if state is not None:
        chosen.append(Mention.state == MentionState(state))
    if status is not None:
        chosen.append(Mention.status == MentionStatus(status))
    if host is not None:
        chosen.append(_is_host(host))
    if target is not None:
        chosen.append(_is_target(site, target))
    return chosen


def _is_host(host: str) -> sa.ColumnElement[bool]:
    """The mentions from a host, and those whose author is at home there."""
    name = host_of(f"//{host}")
    if not name:
        raise click.ClickException(f"{host!r} is no host name.")
    author = sa.func.lower(Mention.author_url)
    starts = [f"{scheme}://{name}" for scheme in ("http", "https")]
    at_home = [
        author.in_(starts),
        *(author.startswith(f"{start}{end}", autoescape=True) for start in starts for end in "/:?#"),
    ]
    return sa.or_(Mention.source_host == name, *at_home)


def _is_target(site: Site, url: str) -> sa.ColumnElement[bool]:
    """The mentions of the page at a URL, however it is written; of one that is not there, by its URL."""
    url = site.absolute(url)
    if not site.is_own(url):
        raise UnknownTarget(f"{url} is no page of this site.")
    route = current_route(site, url) or site.match(url)
    try:
        located = site.get(Targets).load(site, route) if route is not None else None
    except UnknownTarget:
        located = None
    return Mention.target == url if located is None else Mention.target_hash == located.hash


def _mention_document(mention: Mention) -> dict[str, Any]:
    return {
        "id": mention.id,
        "protocol": mention.protocol,
        "state": mention.state.value,
        "status": mention.status.value,
        "reason": mention.reason,
        "type": mention.type,
        "source": mention.source,
        "target": mention.target,
        "target_key": mention.target_key,
        "author_name": mention.author_name,
        "author_url": mention.author_url,
        "title": mention.title,
        "content": mention.content,
        "received_at": mention.received_at.isoformat(),
        "verified_at": mention.verified_at and mention.verified_at.isoformat(),
    }


@command("moderate")
@click.argument("ids", nargs=-1, type=click.IntRange(1, 2**63 - 1), metavar="[ID...]")
@click.argument("status", type=click.Choice([each.value for each in MentionStatus]))
@click.option(
    "--from",
    "previous",
    type=click.Choice([each.value for each in MentionStatus]),
    help="All that are this yet.",
)
@_STATE
@_HOST
@_TARGET
@click.option("--dry-run", is_flag=True, help="Only say which they are.")
def moderate(
    out: Output,
    ids: tuple[int, ...],
    status: str,
    previous: str | None,
    state: str | None,
    host: str | None,
    target: str | None,
    dry_run: bool,
) -> None:
    """Decide about mentions: approved, rejected, spam or pending.

    They are named by their ids, or chosen by options that hold together. With an unknown id nothing
    is changed.
    """
    site = current_site()
    chosen = _chosen(site, state=state, status=previous, host=host, target=target)
    if bool(ids) == bool(chosen):
        raise click.UsageError("Name ids, or choose by --from, --state, --host or --target.")
    found = _named(site.session, ids) if ids else _all(site.session, chosen)
    before = {each.id: each.status for each in found}
    if not dry_run:
        who = user_name()
        for each in found:
            moderation.moderate(site, each, status, who=who)
        site.session.commit()
    for mention_id, was in before.items():
        changed = was != status
        would = "Would change " if changed and dry_run else ""
        out.say(
            f"{would}{mention_id}: {was} -> {status}" if changed else f"{mention_id}: was {status} already"
        )
    if not found:
        out.say("No mentions.")
    out.finish(
        [
            {"id": mention_id, "before": was, "status": status, "changed": was != status and not dry_run}
            for mention_id, was in before.items()
        ]
    )


def _named(session: Session, ids: Sequence[int]) -> Sequence[Mention]:
    named = {each.id: each for each in session.scalars(sa.select(Mention).where(Mention.id.in_(ids)))}
    unknown = [str(each) for each in dict.fromkeys(ids) if each not in named]
    if unknown:
        raise click.ClickException(f"There is no mention {', '.join(unknown)}. Nothing was changed.")
    return [named[each] for each in dict.fromkeys(ids)]


def _all(session: Session, chosen: Sequence[sa.ColumnElement[bool]]) -> Sequence[Mention]:
    return session.scalars(sa.select(Mention).where(*chosen).order_by(Mention.id)).all()


def user_name() -> str:
    """Who the operating system says that we are, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a container's user may have no name; KeyError before Python 3.13
        return f"cli:uid {os.getuid()}"


# --- what goes out -----------------------------------------------------------------------------------

_FAILED: Final = (LinkState.refused, LinkState.given_up, LinkState.waiting)


@command("send")
@click.argument("url")
@click.option("--target", "targets", metavar="URL", multiple=True, help="Tell this page; may be repeated.")
def send(out: Output, url: str, targets: tuple[str, ...]) -> None:
    """Publish the page of ours at URL now, and tell the pages that it links to.

    Without --target the page is fetched and its links are told. What was told before is told again
    only where it is owed.
    """
    site = current_site()
    page = site.absolute(url)
    for each in (page, *targets):
        check_url(each)
    if not site.is_own(page):
        raise click.ClickException(f"{page} is no page of this site: that would be at {site.base_url}.")
    session = site.session
    newest = session.scalar(sa.select(sa.func.max(Job.id))) or 0
    publish(page, targets=targets or None)
    session.commit()
    job = _publish_page(site, page, newest)
    if job.state is not JobState.done:
        reason = "Another worker has it in hand." if job.state is JobState.running else job.reason
        out.say(f"{page} is not published. {reason}")
        if job.state is JobState.pending:
            out.say(f"It is tried again at {local_time(job.due_at)}.")
        out.finish({"page": page, "links": [], "reason": reason}, failed=True)
    results = _tell(site, page, targets)
    for result in results:
        out.say(str(result))
    if not results:
        out.say("The page has no links that are told.")
    failed = any(each.link.state in _FAILED for each in results)
    out.finish({"page": page, "links": [each.document() for each in results], "reason": ""}, failed=failed)


def _publish_page(site: Site, page: str, newest: int) -> Job:
    """Do the job that publishes a page, newer than another job; return what became of it."""
    added = sa.select(Job).where(Job.kind == PUBLISH, Job.id > newest).order_by(Job.id)
    with site.new_session() as session:
        job_id = next(job.id for job in session.scalars(added) if (job.payload or {}).get("url") == page)
    run_errands(site, [job_id])
    with site.new_session() as session:
        return session.get_one(Job, job_id)


@dataclass(frozen=True, kw_only=True)
class _Result:
    """What became of telling one target."""

    link: Link
    due_at: datetime | None
    """When it is told again, while it waits."""

    @property
    def answer(self) -> str:
        said = self.link.answer if self.link.state is LinkState.sent else self.link.reason
        return f"{said} (again at {local_time(self.due_at)})" if self.due_at is not None else said

    def __str__(self) -> str:
        return f"{self.link.state:11}  {self.link.target}  {self.link.protocol or '-'}  {self.answer}"

    def document(self) -> dict[str, Any]:
        return {
            "target": self.link.target,
            "state": self.link.state.value,
            "protocol": self.link.protocol,
            "endpoint": self.link.endpoint,
            "answer": self.link.answer,
            "reason": self.link.reason,
            "due_at": self.due_at and self.due_at.isoformat(),
        }


def _tell(site: Site, page: str, targets: Sequence[str]) -> list[_Result]:
    """Do what is owed to the targets of a page (default: to all); return what became of each."""
    wanted = sa.select(Link).where(Link.source_key == digest(without_fragment(page))).order_by(Link.id)
    if targets:
        wanted = wanted.where(Link.key.in_([digest(page, target) for target in targets]))
    with site.new_session() as session:
        keys = [link.key for link in session.scalars(wanted)]
        owed = [job.id for job in _owed(session, keys)]
    run_errands(site, owed)
    with site.new_session() as session:
        due = {job.key: job.due_at for job in _owed(session, keys)}
        links = session.scalars(wanted).all()
        told = {job.key for job in session.scalars(sa.select(Job).where(Job.id.in_(owed)))}
    return [
        _Result(link=link, due_at=due.get(link.key)) for link in links if not link.removed or link.key in told
    ]


def _owed(session: Session, keys: Sequence[str]) -> Sequence[Job]:
    unfinished = (JobState.pending, JobState.running)
    owed = sa.select(Job).where(Job.kind == sending.SEND, Job.key.in_(keys), Job.state.in_(unfinished))
    return session.scalars(owed.order_by(Job.id)).all()


@command("explain")
@click.argument("url")
def explain(out: Output, url: str) -> None:
    """Look how the page at URL would be told, without telling it."""
    check_url(url)
    steps = explaining.explain(current_site(), url)
    told = bool(steps) and steps[-1].used
    for each in steps:
        used = "used" if each.used else "-"
        out.say(f"{used:4}  {each.step:8}  {each.protocol or '':10}  {each.value or '-'}  {each.reason}")
    out.say("Yes." if told else "No.")
    out.finish({"url": url, "told": told, "steps": [each.as_dict() for each in steps]}, failed=not told)
