"""Limits: how often we ask one host.

Fetches are counted in the database, so that many workers together do not flood a host that a
stranger named.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from ..callers import CallRates
from ..models import Host, Mention
from ..outbox import jobs
from ..outbox.writers import Writers
from ..site import Site

__all__ = [
    "Slot",
    "fetch_slot",
    "put_off",
    "seconds_to_hold",
    "seconds_until_fetch",
]

logger = logging.getLogger("flask_linkback.linkbacks")

MINUTE: Final = 60.0
_ALL_HOSTS: Final = "*"
_REMEMBERED: Final = timedelta(hours=1)
_FETCH_SECONDS: Final = 1.0
"""How long another fetch is given to end, where only so many may run."""
_host: Final = Host.__table__
# every look at a source asks these: they are made once, and make no objects
_NAMED: Final = Host.name.in_(sa.bindparam("names", expanding=True))
_SEE_HOSTS: Final = sa.select(Host.name, Host.fetches, Host.leases).where(_NAMED)
# in one order, or two who wait for each other's
_LOCK_HOSTS: Final = _SEE_HOSTS.order_by(Host.name).with_for_update()
# SQLite has one lock, and gives it to a write: whoever reads next waits for us
_LOCK_SQLITE: Final = (
    sa.update(_host)
    .where(_NAMED)
    .values(name=_host.c.name)
    .returning(_host.c.name, _host.c.fetches, _host.c.leases)
)
_WRITE_HOST: Final = (
    sa.update(_host)
    .where(_host.c.name == sa.bindparam("host"))
    .values({column: sa.bindparam(f"new_{column}") for column in ("fetches", "leases", "changed_at")})
)
_NEWEST_LOOK: Final = sa.select(sa.func.max(Mention.checked_at)).where(
    Mention.source_key == sa.bindparam("source_key")
)


# --- whom we may ask ---------------------------------------------------------------------------------


def seconds_to_hold(site: Site, session: Session, host: str) -> float:
    """Return how long a look at a source that somebody tells of now is better put off.

    Jobs that can only be put off would keep the worker from others. Where this process was told of few
    sources of a host, and of few in all, it does not ask.
    """
    limits, now = site.settings.linkbacks.rate_limits, site.now().timestamp()
    told = site.get(CallRates)
    waits = [
        told.wait(f"source {name}", limits[limit], now)
        for name, limit in ((host, "source_host"), (_ALL_HOSTS, "fetches"))
    ]
    return seconds_until_fetch(site, session, host) if any(waits) else 0.0


@dataclass
class Slot:
    """The right to fetch a source, or how long to wait for it."""

    site: Site
    host: str
    source_key: str
    seconds: float = 0.0
    """After how many seconds to ask again; 0 when the right is given."""
    began: float = 0.0
    is_held: bool = False

    def give_back(self, session: Session) -> None:
        """Give the right back in the session's transaction; the caller commits."""
        self.is_held = False
        books = _locked(session, self.host)
        if self.host in books:
            now, book = self.site.now(), books[self.host]
            # the host was asked at some time since: a minute from now is surely a minute from then
            book.fetches = [now.timestamp() if at == self.began else at for at in book.fetches]
            book.leases = [lease for lease in book.leases if lease[0] != self.source_key]
            _write(session, books, now)


@contextlib.contextmanager
def fetch_slot(site: Site, host: str, source_key: str) -> Iterator[Slot]:
    """Ask for the right to fetch a source now, and hold it inside the ``with``.

    A source is fetched by one at a time and once in SOURCE_INTERVAL_SECONDS, its host as RATE_LIMITS
    says. Who fetched writes ``checked_at`` of its mentions before leaving, and may give the right
    back in the same transaction. No transaction may be open that wrote.
    """
    slot = Slot(site=site, host=host, source_key=source_key)
    _take(slot)
    try:
        yield slot
    except BaseException:
        site.session.rollback()  # it may hold SQLite's one lock
        raise
    finally:
        if slot.is_held:
            _give_back(slot)


def seconds_until_fetch(site: Site, session: Session, host: str) -> float:
    """Return how long RATE_LIMITS keep everybody from asking a host, as far as can be seen without a lock."""
    limits = site.settings.linkbacks.rate_limits
    at_most = {_ALL_HOSTS: limits["fetches"], host: limits["source_host"]}
    now = site.now().timestamp()
    rows = session.execute(_SEE_HOSTS, {"names": list(at_most)})
    return max(
        (
            max(
                _seconds_until_free(_recent(row.fetches, now), at_most[row.name], now),
                _seconds_until_place(_held(row.leases, now), limits["source_host_parallel"]),
            )
            for row in rows
        ),
        default=0.0,
    )


def put_off(site: Site, kind: str, host: str) -> None:
    """Let all jobs of a kind wait that are due for a host which may not be asked now."""
    with site.new_session() as session:
        seconds = seconds_until_fetch(site, session, host)
        if seconds > 0:
            now = site.now()
            with site.get(Writers).turn(site.engine):
                jobs.put_off(session, kind=kind, host=host, now=now, until=now + timedelta(seconds=seconds))


def _take(slot: Slot) -> None:
    site = slot.site
    with site.new_session() as session:
        # where a flood names a host, thousands ask for it in vain: they must not lock anything
        slot.seconds = seconds_until_fetch(site, session, slot.host)
        session.rollback()
        if not slot.seconds:
            with site.get(Writers).turn(site.engine):
                _take_locked(slot, session)


def _take_locked(slot: Slot, session: Session) -> None:
    site, host = slot.site, slot.host
    limits = site.settings.linkbacks.rate_limits
    books = _opened(session, site, _ALL_HOSTS, host)
    everyone, one = books[_ALL_HOSTS], books[host]
    now = site.now().timestamp()
    everyone_recent, recent = _recent(everyone.fetches, now), _recent(one.fetches, now)
    leases = _held(one.leases, now)
    slot.seconds = max(
        _seconds_until_free(everyone_recent, limits["fetches"], now),
        _seconds_until_free(recent, limits["source_host"], now),
        _seconds_until_place(leases, limits["source_host_parallel"]),
        _FETCH_SECONDS if any(lease[0] == slot.source_key for lease in leases) else 0.0,
        _seconds_of_interval(site, session, slot.source_key),
    )
    if slot.seconds:
        session.rollback()
        return
    # a fetch that never gave its slot back is over by then
    over = now + 2 * site.settings.fetch.fetch_timeout
    everyone.fetches = [*everyone_recent, now][-(limits["fetches"] or 1) :]
    one.fetches = [*recent, now][-(limits["source_host"] or 1) :]
    one.leases = [*leases, [slot.source_key, over]]
    _write(session, books, site.now())
    session.commit()
    slot.began, slot.is_held = now, True


def _give_back(slot: Slot) -> None:
    site = slot.site
    try:
        with site.get(Writers).turn(site.engine), site.new_session() as session:
            slot.give_back(session)
            session.commit()
    except OperationalError:  # the database is busy or away; the fetch is done, and its slot ends of itself
        logger.warning("The slot of a fetch could not be given back.", extra={"host": slot.host})


def _recent(fetches: list[float], now: float) -> list[float]:
    return [at for at in fetches if now - MINUTE < at <= now]


def _held(leases: list[list[Any]], now: float) -> list[list[Any]]:
    return [lease for lease in leases if lease[1] > now]


def _seconds_until_place(leases: list[list[Any]], limit: int | None) -> float:
    return _FETCH_SECONDS if limit is not None and len(leases) >= limit else 0.0


def _seconds_until_free(recent: list[float], limit: int | None, now: float) -> float:
    """Seconds until fewer than ``limit`` fetches lie within the last minute."""
    if limit is None or len(recent) < limit:
        return 0.0
    return max(0.1, sorted(recent)[-limit] + MINUTE - now)


def _seconds_of_interval(site: Site, session: Session, source_key: str) -> float:
    """How long the source has to be left alone, by SOURCE_INTERVAL_SECONDS."""
    checked_at: datetime | None = session.execute(_NEWEST_LOOK, {"source_key": source_key}).scalar_one()
    if checked_at is None:
        return 0.0
    interval = timedelta(seconds=site.settings.linkbacks.source_interval_seconds)
    return max(0.0, (checked_at + interval - site.now()).total_seconds())


# --- what is written down of hosts ---------------------------------------------------------------------


@dataclass
class _Book:
    """The columns of a host's row."""

    fetches: list[float]
    leases: list[list[Any]]


def _locked(session: Session, *names: str) -> dict[str, _Book]:
    """Return what is written down of some hosts, as far as something is, locked until the session commits."""
    lock = _LOCK_SQLITE if session.get_bind().dialect.name == "sqlite" else _LOCK_HOSTS
    rows = session.execute(lock, {"names": names}, execution_options={"synchronize_session": False}).all()
    return {row.name: _Book(fetches=row.fetches, leases=row.leases) for row in rows}


def _opened(session: Session, site: Site, *names: str) -> dict[str, _Book]:
    """Return what is written down of some hosts, begun where there is nothing, locked alike."""
    books = _locked(session, *names)
    for name in names:
        if name not in books:
            if name != _ALL_HOSTS:
                # strangers name hosts, so they are forgotten too; whoever comes here holds the row of all
                old = Host.changed_at < site.now() - _REMEMBERED
                session.execute(sa.delete(Host).where(old, Host.name != _ALL_HOSTS))
            with contextlib.suppress(IntegrityError), session.begin_nested():  # somebody else met it just now
                session.add(Host(name=name, fetches=[], leases=[], changed_at=site.now()))
            books |= _locked(session, name)
    return books


def _write(session: Session, books: Mapping[str, _Book], now: datetime) -> None:
    rows = [
        {"host": name, "new_fetches": book.fetches, "new_leases": book.leases, "new_changed_at": now}
        for name, book in books.items()
    ]
    session.execute(_WRITE_HOST, rows, execution_options={"synchronize_session": False})
