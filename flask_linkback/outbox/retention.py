"""Retention: bodies are forgotten after a while, and rows some time later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..models import Attempt, Job, JobState
from ..site import Site
from .writers import Writers

__all__ = ["delete_old", "empty_old", "sweep"]

_AT_A_TIME: Final = 500
_LOOK_BACK: Final = 2000
"""So many ids before the last one that was seen are looked at again: they do not come quite in order."""
_job: Final = Job.__table__
_attempt: Final = Attempt.__table__


class _Seen:
    """Up to which id the bodies of each table were forgotten, by this process."""

    def __init__(self) -> None:
        self.up_to: dict[str, int] = {}


def sweep(site: Site) -> None:
    """Forget what was answered, and later all attempts and finished jobs, of every kind: a chore.

    After RETENTION_DAYS and ROW_RETENTION_DAYS.
    """
    empty_old(site, _attempt, _attempt.c.started_at, ["headers", "body"])
    delete_old(site, _attempt, _attempt.c.started_at)
    finished = _job.c.state.in_((JobState.done, JobState.dead))
    rows_end = site.now() - timedelta(days=site.settings.outbox.row_retention_days)
    delete_old(site, _job, _job.c.created_at, finished, _job.c.finished_at <= rows_end)


def empty_old(site: Site, table: sa.Table, at: sa.Column[datetime], columns: Sequence[str]) -> None:
    """Forget some columns of the rows that are older than RETENTION_DAYS."""
    end = site.now() - timedelta(days=site.settings.outbox.retention_days)
    full = sa.or_(*(table.c[name].is_not(None) for name in columns))
    seen = site.get(_Seen).up_to
    forget = sa.update(table).values({name: sa.null() for name in columns})
    start = max(seen.get(table.name, 0) - _LOOK_BACK, 0)
    for last, ids in _pages(site, table, at, end, full, start=start):
        _write(site, ids, lambda ids: forget.where(table.c.id.in_(ids)))
        seen[table.name] = last


def delete_old(site: Site, table: sa.Table, at: sa.Column[datetime], *where: sa.ColumnElement[bool]) -> None:
    """Delete the rows that are older than ROW_RETENTION_DAYS and meet the conditions.

    But for the newest one: SQLite would give its id to another, and somebody may remember that.
    """
    end = site.now() - timedelta(days=site.settings.outbox.row_retention_days)
    newest = sa.select(sa.func.max(table.c.id)).scalar_subquery()
    wanted = sa.and_(table.c.id < newest, *where)
    for _, ids in _pages(site, table, at, end, wanted, start=0):
        _write(site, ids, lambda ids: sa.delete(table).where(table.c.id.in_(ids), *where))


def _pages(
    site: Site,
    table: sa.Table,
    at: sa.Column[datetime],
    end: datetime,
    wanted: sa.ColumnElement[bool],
    *,
    start: int,
) -> Iterator[tuple[int, list[int]]]:
    """Yield the last id of some old rows and the ids of those among them that are wanted, page by page.

    Rows are read in the order of their ids, which is nearly that of their time: a page without an old one
    ends it. So no index is needed, and where nothing is old one page is read.
    """
    session = site.session
    asked = sa.select(table.c.id, (at <= end).label("is_old"), wanted.label("is_wanted")).order_by(table.c.id)
    while True:
        page = session.execute(asked.where(table.c.id > start).limit(_AT_A_TIME)).all()
        session.rollback()
        old = [row for row in page if row.is_old]
        if not old:
            return
        yield old[-1].id, [row.id for row in old if row.is_wanted]
        start = page[-1].id


def _write(site: Site, ids: list[int], statement: Callable[[list[int]], sa.UpdateBase]) -> None:
    """Write something of some rows, in a transaction of its own; nothing where there are none."""
    if not ids:
        return
    session: Session = site.session

    def write() -> None:
        session.execute(statement(ids))
        session.commit()

    site.get(Writers).record(site.engine, session, write)
