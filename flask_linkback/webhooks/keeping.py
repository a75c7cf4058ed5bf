"""Keeping: what happened is forgotten after a while."""

from __future__ import annotations

from ..models import Event
from ..outbox.retention import delete_old, empty_old
from ..site import Site

__all__ = ["sweep"]


def sweep(site: Site) -> None:
    """Forget what events said after RETENTION_DAYS, and that they were after ROW_RETENTION_DAYS: a chore."""
    table = Event.__table__
    empty_old(site, table, table.c.created_at, ["data", "changes"])
    delete_old(site, table, table.c.created_at)
