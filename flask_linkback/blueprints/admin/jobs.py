"""Jobs: all owed work, and what was given up, to be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import defer

from ...models import Attempt, Job, JobState
from ...outbox import jobs
from . import auditing
from .access import Right
from .lists import Choice, Listing, Text
from .screens import Action, Failed, Screen, Visit
from .words import N_, masked, ngettext
from .words import gettext as _

__all__ = ["SCREENS", "attempts_of"]

MOST_ATTEMPTS: Final = 20
"""So many are shown, and as many a listener may want."""
_FINISHED: Final = (JobState.done, JobState.dead)


def states() -> list[tuple[str, str]]:
    return [
        ("pending", _("waits")),
        ("running", _("under way")),
        ("done", _("done")),
        ("dead", _("given up")),
    ]


def _kinds() -> list[tuple[str, str]]:
    from ...site import current_site

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


def _list(visit: Visit) -> ResponseReturnValue:
    return visit.render("jobs", rows=LIST.read(visit.site.session))


def _show(visit: Visit) -> ResponseReturnValue:
    job: Job = visit.obj
    return visit.render("job", job=job, about=masked(job.payload), attempts=attempts_of(visit, job))


def _replay(visit: Visit) -> ResponseReturnValue:
    chosen = visit.chosen(Job, Right.resend, Job.state.in_(_FINISHED))
    for job in chosen:
        _again(visit, job)
    visit.say(ngettext("%(n)s job is queued.", "%(n)s jobs are queued.", len(chosen)))
    return visit.back()


def _replay_one(visit: Visit) -> ResponseReturnValue:
    if visit.obj.state not in _FINISHED:
        raise Failed(_("This job is still owed: it waits, or is under way."))
    _again(visit, visit.obj)
    visit.say(ngettext("%(n)s job is queued.", "%(n)s jobs are queued.", 1))
    return visit.back()


def _again(visit: Visit, job: Job) -> None:
    auditing.note(visit.site, "replay", f"job:{job.id}", before={"state": job.state.value})
    jobs.replay(visit.site.session, job.id)


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
