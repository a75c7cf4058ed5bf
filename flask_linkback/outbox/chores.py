"""Chores: what is done about once an hour without anybody asking for it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from ..site import Site

__all__ = ["EVERY", "Timetable"]

logger = logging.getLogger("flask_linkback.outbox")

EVERY: Final = timedelta(hours=1)
_AGAIN: Final = timedelta(minutes=1)
"""How long after one that raised all are tried again."""


class Timetable:
    """When the chores of a site are due next, in this process."""

    def __init__(self) -> None:
        self._due_at: datetime | None = None

    def do(self, site: Site) -> None:
        """Do the chores if their hour has come, each in an application context of its own.

        What a chore raises, it raises for itself alone: the jobs that wait are not its business.
        """
        now = site.now()
        if self._due_at is not None and now < self._due_at <= now + EVERY:
            return
        self._due_at = now + EVERY
        for chore in site.chores:
            try:
                with site.context():
                    chore(site)
            except SQLAlchemyError as error:  # the database is away or busy, or has no tables yet
                said = str(error).partition("\n")[0][:200]
                logger.warning("The chore %s waits for the database: %s", _name(chore), said)
                self._due_at = now + _AGAIN
            except Exception:
                logger.exception("The chore %s raised.", _name(chore))
                self._due_at = now + _AGAIN


def _name(chore: Any) -> str:
    return str(getattr(chore, "__name__", chore))
