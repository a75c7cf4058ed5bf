"""Burying: what a dead job leaves open is ended, where its handler could not do so."""

from __future__ import annotations

from ..models import Job, JobState
from ..site import Site
from . import jobs
from .jobs import Claim, Outcome

__all__ = ["bury"]


def bury(site: Site, claim: Claim) -> Outcome:
    """Handle a job: tell whoever registered for the kind of a dead job, unless that was replayed meanwhile.

    They write only while the claim is ours, and bear a repeat.
    """
    job = site.session.get(Job, claim.payload["job_id"])
    end = site.burials.get(job.kind) if job is not None else None
    if job is None or end is None or job.state is not JobState.dead:
        return jobs.done()
    site.session.expunge(job)  # it stays readable, whatever is committed or rolled back
    end(site, job, claim)
    return jobs.done()
