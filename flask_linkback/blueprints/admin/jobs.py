"""Jobs: all owed work, and what was given up, to be replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from flask import url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import defer

from ...errors import ReplayRefused
from ...models import Attempt, Job, JobState
from ...outbox import jobs
from ...site import Site, current_site
from ...webhooks import replaying
from ...webhooks.recording import DELIVER
from . import auditing
from .access import Right
from .lists import Choice, Listing, Text
from .screens import Action, Failed, Screen, Visit
from .words import N_, masked, ngettext
from .words import gettext as _

__all__ = ["SCREENS", "attempts_of", "last_attempts"]

MOST_ATTEMPTS: Final = 20
"""So many are shown, and as many a listener may want."""


def states() -> list[tuple[str, str]]:
    return [
        ("pending", _("waits")),
        ("running", _("under way")),
        ("done", _("done")),
        ("dead", _("given up")),
    ]


def _kinds() -> list[tuple[str, str]]:
    return [(kind, kind.replace("_", " ")) for kind in sorted(current_site().handlers)]


LIST: Final = Listing(
    model=Job,
    options=(defer(Job.payload),),
    filters=(
        Choice(
            name="state",
            label=N_("State"),
            choices=states,
            condition=lambda value: Job.state == JobState(value),
        ),
        Choice(name="kind", label=N_("Kind"), choices=_kinds, condition=lambda value: Job.kind == value),
        Text(
            name="host",
            label=N_("Host"),
            hint="example.org",
            condition=lambda value: Job.host == value.lower(),
        ),
    ),
)


def attempts_of(visit: Visit, job: Job) -> Sequence[Attempt]:
    """Return the last tries at a job, the first of them first; a job that is replayed counts from 1 again."""
    # by an expression, or PostgreSQL may look for it among all attempts
    newest = (Attempt.id + sa.literal_column("0")).desc()
    asked = sa.select(Attempt).where(Attempt.job_id == job.id).order_by(newest).limit(MOST_ATTEMPTS)
    return visit.site.session.scalars(asked).all()[::-1]


def last_attempts(site: Site, job_ids: Sequence[int]) -> Mapping[int, Any]:
    """Return the last attempt of each job by its id, without what was answered: one query for a page."""
    if not job_ids:
        return {}
    newest = sa.select(sa.func.max(Attempt.id)).where(Attempt.job_id.in_(job_ids)).group_by(Attempt.job_id)
    return {row.job_id: row for row in site.session.execute(_ATTEMPTS.where(Attempt.id.in_(newest)))}


_ATTEMPTS: Final = sa.select(
    Attempt.job_id, Attempt.started_at, Attempt.status_code, Attempt.seconds, Attempt.outcome
)


def _list(visit: Visit) -> ResponseReturnValue:
    return visit.render("jobs", rows=LIST.read(visit.site.session))


def _show(visit: Visit) -> ResponseReturnValue:
    job: Job = visit.obj
    return visit.render("job", job=job, about=masked(job.payload), attempts=attempts_of(visit, job))


def _replay(visit: Visit) -> ResponseReturnValue:
    """Let what was ticked and was given up be done again; what cannot be is told of."""
    chosen = visit.chosen(Job, Right.resend, Job.state == JobState.dead)
    reasons = [reason for job in chosen if (reason := _again(visit, job))]
    queued = len(chosen) - len(reasons)
    if not queued:
        raise Failed(_("Nothing was queued: %(why)s", why=reasons[0]))
    _say_queued(visit, queued)
    if reasons:
        left = ngettext("%(n)s was left alone:", "%(n)s were left alone:", len(reasons))
        visit.say(f"{left} {reasons[0]}", level="bad")
    return visit.back()


def _replay_one(visit: Visit) -> ResponseReturnValue:
    if visit.obj.state is not JobState.dead:
        raise Failed(_("Only what was given up is replayed."))
    reason = _again(visit, visit.obj)
    if reason:
        raise Failed(reason)
    _say_queued(visit, 1)
    return visit.back()


def _say_queued(visit: Visit, count: int) -> None:
    visit.say(
        ngettext("%(n)s job is queued.", "%(n)s jobs are queued.", count),
        link=url_for(".jobs", state="pending"),
        label=_("See the jobs"),
    )


def _again(visit: Visit, job: Job) -> str:
    """Owe a job that was given up once more; return why not, or ""."""
    try:
        if job.kind == DELIVER:  # which may have nobody to go to, or nothing to say
            replaying.replay(visit.site, job)
        else:
            jobs.replay(visit.site.session, job.id)
    except ReplayRefused as error:
        return str(error)
    auditing.note(visit.site, "replay", f"job:{job.id}", before={"state": JobState.dead.value})
    return ""


SCREENS: Final = (
    Screen(
        name="jobs",
        rule="/jobs",
        show=_list,
        actions={"replay": Action(right=Right.resend, run=_replay)},
    ),
    Screen(
        name="job",
        rule="/jobs/<int:id>",
        show=_show,
        load=lambda visit, id_: visit.load(Job, id_),
        actions={"replay": Action(right=Right.resend, run=_replay_one)},
    ),
)
