"""Pages: which of ours are gone, and where those are that moved."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ..models import Page, PageState, digest, without_fragment
from ..site import Site

__all__ = ["Absence", "Absences", "absence_of"]

logger = logging.getLogger("flask_linkback.linkbacks")

_REMEMBERED: Final = timedelta(seconds=5)
_HOPS: Final = 20
_ANYONE: Final = sa.select(Page.id).where(Page.state.in_((PageState.gone, PageState.moved))).limit(1)
_BY_KEYS: Final = sa.select(Page.key, Page.state, Page.moved_to).where(
    Page.key.in_(sa.bindparam("keys", expanding=True))
)


@dataclass(frozen=True, kw_only=True)
class Absence:
    """A page that is not where it was; ``moved_to`` is None for one that is gone."""

    moved_to: str | None


class Absences:
    """Whether any page is gone or moved, as far as this process knows.

    Most sites have none: they are asked for again every five seconds, and else nothing is.
    """

    def __init__(self) -> None:
        self._any = False
        self._until: datetime | None = None

    def expect(self, now: datetime) -> None:
        """A transaction of this process makes one: be prepared, whenever it commits."""
        self._any, self._until = True, now + _REMEMBERED

    def are_there(self, site: Site) -> bool:
        now = site.now()
        if self._until is None or not now < self._until <= now + _REMEMBERED:
            self._any = site.session.scalar(_ANYONE) is not None
            self._until = now + _REMEMBERED
        return self._any

    def none_for_now(self, now: datetime) -> None:
        """The database cannot say: do not ask it for each request."""
        self._any, self._until = False, now + _REMEMBERED


def absence_of(site: Site, urls: Iterable[str]) -> Absence | None:
    """Return what became of the page that goes by one of some spellings, the most exact one first.

    None for a page that is there, or that nobody ever published. Costs one look-up by key, and none at
    all where no page is absent. Nothing stays open: a request that writes later must not have read
    before, on SQLite.
    """
    absences = site.get(Absences)
    session = site.session
    was_idle = not session.in_transaction()
    try:
        return _find(site, urls) if absences.are_there(site) else None
    except SQLAlchemyError as error:  # no tables yet, or no database: the application's page may do without
        absences.none_for_now(site.now())
        logger.warning("It is not known which pages are gone: %s.", type(error).__name__)
        return None
    finally:
        if was_idle:
            session.rollback()


def _find(site: Site, urls: Iterable[str]) -> Absence | None:
    keys = [digest(without_fragment(url)) for url in urls]
    rows = {row.key: row for row in site.session.execute(_BY_KEYS, {"keys": keys})}
    page = next((rows[key] for key in keys if key in rows), None)
    if page is None or page.state is PageState.published:
        return None
    if page.state is PageState.gone or page.moved_to is None:
        return Absence(moved_to=None)
    return Absence(moved_to=_follow(site, page.moved_to))


def _follow(site: Site, url: str) -> str:
    """Return where a page is after all its moves. There are no circles: a page that is moved to is there."""
    for _ in range(_HOPS):
        here = sa.select(Page.moved_to).where(
            Page.key == digest(without_fragment(url)), Page.state == PageState.moved
        )
        onward = site.session.scalar(here)
        if onward is None:
            break
        url = onward
    return url
