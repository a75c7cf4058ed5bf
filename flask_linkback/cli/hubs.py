"""Commands for hubs."""

from __future__ import annotations

from typing import Any

import click
import sqlalchemy as sa

from ..fetch import check_url
from ..models import Attempt, Job, JobState
from ..outbox.errands import run_errands
from ..site import current_site
from ..websub.publisher import PING, owe_pings, ping_key, topics_at
from .output import Output, command, local_time

__all__ = ["ping_hub"]


@command("ping-hub")
@click.argument("url")
@click.option("--hub", metavar="URL", help="The hub to tell; default: all that the topic has.")
def ping_hub(out: Output, url: str, hub: str | None) -> None:
    """Tell hubs now that the topic at URL, a feed or a page of ours, has something new.

    A feed that has several formats at one URL is as many topics. A hub that said how long to wait is told
    after that.
    """
    site = current_site()
    session = site.session
    pings: list[tuple[str, str]] = []
    for topic in topics_at(site, url):
        pings += [(topic.url, each) for each in ((hub,) if hub is not None else topic.hubs)]
    if not pings:
        raise click.ClickException(f"{site.absolute(url)} has no hub: give --hub or set LINKBACK_HUBS.")
    for address in dict.fromkeys(one for pair in pings for one in pair):
        check_url(address)
    for topic_url, hub_url in pings:
        owe_pings(site, session, topic_url, [hub_url])
    keys = [ping_key(*each) for each in pings]
    waiting = sa.select(Job.id).where(Job.kind == PING, Job.key.in_(keys), Job.state == JobState.pending)
    owed = list(session.scalars(waiting.order_by(Job.id)))
    session.commit()
    run_errands(site, owed)
    results = [_result(job_id) for job_id in owed]
    for each in results:
        due = f" Due at {local_time(each['due_at'])}." if each["due_at"] is not None else ""
        status = f"  {each['status']}" if each["status"] is not None else ""
        reason = f"  {each['reason']}" if each["reason"] else ""
        out.say(f"{each['state']:7}  {each['hub']}  {each['topic']}{status}{reason}{due}")
        each["due_at"] = each["due_at"] and each["due_at"].isoformat()
    failed = any(each["state"] != "told" for each in results)
    out.finish({"pings": results}, failed=failed)


def _result(job_id: int) -> dict[str, Any]:
    with current_site().new_session() as session:
        job = session.get_one(Job, job_id)
        last = sa.select(Attempt.status_code).where(Attempt.job_id == job_id).order_by(Attempt.id.desc())
        status = session.scalars(last.limit(1)).first()
    waits = job.state in (JobState.pending, JobState.running)
    payload = job.payload or {}
    return {
        "hub": payload["hub_url"],
        "topic": payload["topic_url"],
        "state": "told" if job.state is JobState.done else "waits" if waits else "failed",
        "status": status,
        "reason": job.reason,
        "due_at": job.due_at if waits else None,
    }
