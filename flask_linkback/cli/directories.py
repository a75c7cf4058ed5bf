"""Commands for weblog directories."""

from __future__ import annotations

from typing import Any

import click
import sqlalchemy as sa

from ..fetch import check_url
from ..linkbacks.directories import PING, owe_pings, ping_key
from ..models import DirectoryPing, Job, JobState
from ..outbox.errands import run_errands
from ..site import current_site
from .output import Output, command, local_time

__all__ = ["ping_directories"]


@command("ping-directories")
@click.argument("url", default="/")
@click.option("--feed", metavar="URL", help="The feed that has something new; default: none is named.")
def ping_directories(out: Output, url: str, feed: str | None) -> None:
    """Tell the directories of LINKBACK_DIRECTORIES now that the page at URL changed.

    URL is a page of ours, by default the home page. A directory that was told of the feed just now is
    told again after LINKBACK_DIRECTORY_INTERVAL_SECONDS.
    """
    site = current_site()
    page, feed_url = site.absolute(url), site.absolute(feed) if feed is not None else None
    for address in filter(None, (page, feed_url)):
        check_url(address)
    if not site.is_own(page):
        raise click.ClickException(f"{page} is no page of this site: that would be at {site.base_url}.")
    directories = site.settings.linkbacks.directories
    if not directories:
        raise click.ClickException("There are no directories: set LINKBACK_DIRECTORIES.")
    session = site.session
    owe_pings(site, session, page, feed_url=feed_url)
    keys = [ping_key(site, directory, feed_url) for directory in directories]
    waiting = sa.select(Job.id, Job.payload).where(
        Job.kind == PING, Job.key.in_(keys), Job.state == JobState.pending
    )
    owed = {job_id: payload["ping_id"] for job_id, payload in session.execute(waiting.order_by(Job.id))}
    session.commit()
    run_errands(site, list(owed))
    results = [_result(job_id, ping_id) for job_id, ping_id in owed.items()]
    for each in results:
        due = f" Due at {local_time(each['due_at'])}." if each["due_at"] is not None else ""
        out.say(f"{each['state']:7}  {each['directory']}  {each['message']}{due}")
        each["due_at"] = each["due_at"] and each["due_at"].isoformat()
    failed = any(each["state"] != "told" for each in results)
    out.finish({"page": page, "feed": feed_url, "directories": results}, failed=failed)


def _result(job_id: int, ping_id: int) -> dict[str, Any]:
    with current_site().new_session() as session:
        job, ping = session.get_one(Job, job_id), session.get_one(DirectoryPing, ping_id)
    waits = job.state in (JobState.pending, JobState.running)
    return {
        "directory": ping.url,
        "state": "told" if ping.success else "waits" if waits else "failed",
        "message": ping.message,
        "due_at": job.due_at if waits else None,
    }
