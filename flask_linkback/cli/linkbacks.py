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
from ..linkbacks import moderation, sending
from ..linkbacks.targets import Targets
from ..models import (
    Job,
    JobState,
    Link,
    LinkState,
    Mention,
    MentionState,
    MentionStatus,
    digest,
    without_fragment,
)
from ..publishing import PUBLISH, publish
from ..site import Site, current_site
from .errands import run_errands
from .output import Output, command

__all__ = ["explain", "mentions", "moderate", "send"]


# --- what came in ------------------------------------------------------------------------------------


@command("mentions")
@click.option("--state", type=click.Choice([each.value for each in MentionState]), help="What was found.")
@click.option("--status", type=click.Choice([each.value for each in MentionStatus]), help="What was decided.")
@click.option("--protocol", type=click.Choice(["pingback", "webmention", "trackback"]))
@click.option("--target", metavar="URL", help="Only those of this page of ours.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
def mentions(
    out: Output, state: str | None, status: str | None, protocol: str | None, target: str | None, limit: int
) -> None:
    """List linkbacks that were received, newest first."""
    site = current_site()
    wanted = sa.select(Mention).order_by(Mention.received_at.desc(), Mention.id.desc()).limit(limit)
    for column, value in ((Mention.state, state), (Mention.status, status), (Mention.protocol, protocol)):
        if value is not None:
            wanted = wanted.where(column == value)
    if target is not None:
        wanted = wanted.where(_is_target(site, target))
    found = site.session.scalars(wanted).all()
    for each in found:
        out.say(
            f"{each.id:>6}  {each.state:8}  {each.status:8}  {each.source} -> {each.target}  {each.title}"
        )
    if not found:
        out.say("No mentions.")
    out.finish([_mention_document(each) for each in found])


def _is_target(site: Site, url: str) -> sa.ColumnElement[bool]:
    """The mentions of the page at a URL, however it is written; of one that is gone, by its URL."""
    url = site.absolute(url)
    try:
        located = site.get(Targets).locate_url(site, url)
    except UnknownTarget:
        located = None
    if located is not None:
        return Mention.target_hash == located.hash
    if not site.is_own(url):
        raise UnknownTarget(f"{url} is no page of this site.")
    return Mention.target == url


def _mention_document(mention: Mention) -> dict[str, Any]:
    return {
        "id": mention.id,
        "protocol": mention.protocol,
        "state": mention.state.value,
        "status": mention.status.value,
        "reason": mention.reason,
        "source": mention.source,
        "target": mention.target,
        "target_key": mention.target_key,
        "title": mention.title,
        "content": mention.content,
        "received_at": mention.received_at.isoformat(),
        "verified_at": mention.verified_at and mention.verified_at.isoformat(),
    }


@command("moderate")
@click.argument("ids", nargs=-1, required=True, type=click.IntRange(1, 2**63 - 1), metavar="ID...")
@click.argument("status", type=click.Choice([each.value for each in MentionStatus]))
def moderate(out: Output, ids: tuple[int, ...], status: str) -> None:
    """Decide about mentions: approved, rejected, spam or pending.

    With an unknown id nothing is changed.
    """
    site = current_site()
    session = site.session
    chosen = {each.id: each for each in session.scalars(sa.select(Mention).where(Mention.id.in_(ids)))}
    unknown = [str(each) for each in dict.fromkeys(ids) if each not in chosen]
    if unknown:
        raise click.ClickException(f"There is no mention {', '.join(unknown)}. Nothing was changed.")
    before = {each.id: each.status for each in chosen.values()}
    who = _user_name()
    for each in dict.fromkeys(ids):
        moderation.moderate(site, chosen[each], status, who=who)
    session.commit()
    for each in before:
        changed = before[each] != status
        out.say(f"{each}: {before[each]} -> {status}" if changed else f"{each}: was {status} already")
    out.finish(
        [{"id": each, "before": previous.value, "status": status} for each, previous in before.items()]
    )


def _user_name() -> str:
    """Who the operating system says that we are, for the audit."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name; KeyError before Python 3.13
        return f"uid {os.getuid()}"


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
            out.say(f"It is tried again at {_when(job.due_at)}.")
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
        return f"{said} (again at {_when(self.due_at)})" if self.due_at is not None else said

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


def _when(at: datetime) -> str:
    return at.astimezone().isoformat(" ", "seconds")


@command("explain")
@click.argument("url")
def explain(out: Output, url: str) -> None:
    """Look how the page at URL would be told, without telling it."""
    check_url(url)
    steps = sending.explain(current_site(), url)
    told = bool(steps) and steps[-1].used
    for each in steps:
        out.say(f"{'used' if each.used else '-':4}  {each.step:8}  {each.value or '-'}  {each.reason}")
    out.say("Yes." if told else "No.")
    out.finish({"url": url, "told": told, "steps": [each.as_dict() for each in steps]}, failed=not told)
