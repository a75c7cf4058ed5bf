"""Forgetting: who followed topics at our hub, and is not to be known any more."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from ..models import Attempt, Job, Subscriber
from ..site import Site
from .distributing import WantedAhead
from .hub import DELIVER, VERIFY
from .subscribers import DENY

__all__ = ["forget_subscribers", "subscribers_at"]

logger = logging.getLogger("flask_linkback.websub")
_IN_THE_DATABASE: Final = {"synchronize_session": False}


def subscribers_at(site: Site, host: str) -> Sequence[int]:
    """Return the ids of the subscribers whose callbacks are at a host, without its subdomains."""
    at_host = sa.select(Subscriber.id).where(Subscriber.callback_host == host).order_by(Subscriber.id)
    return site.session.scalars(at_host).all()


def forget_subscribers(site: Site, host: str, *, who: str) -> None:
    """Delete the subscribers of a host, whatever their state, and all that was sent to them or is owed.

    Nobody is told. The caller commits; what is being sent just then arrives, and leaves nothing here.
    """
    session = site.session
    about = sa.and_(Job.kind.in_((DELIVER, VERIFY, DENY)), Job.host == host)
    for statement in (
        sa.delete(Subscriber).where(Subscriber.callback_host == host),
        sa.delete(Attempt).where(Attempt.job_id.in_(sa.select(Job.id).where(about))),
        sa.delete(Job).where(about),
    ):
        session.execute(statement, execution_options=_IN_THE_DATABASE)
    site.get(WantedAhead).forget()
    logger.info("Forgot the subscribers of a host.", extra={"who": who})
