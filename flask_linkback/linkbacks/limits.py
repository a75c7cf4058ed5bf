"""Limits: how often one caller may ask, and how often we ask one host.

Calls are counted in each process. Fetches are counted in the database, so that many workers
together do not flood a host that a stranger named.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..models import Host
from ..site import Site

__all__ = ["CallRates", "FetchSlot", "caller_key", "take_slot"]

MINUTE: Final = 60.0
_KEYS_REMEMBERED: Final = 10_000
_ALL_HOSTS: Final = "*"


def caller_key(address: str | None) -> str | None:
    """Return what a caller is counted under: the IPv4 address, the IPv6 /64; None for private ones.

    A private address is that of a proxy which was not declared: counting it would count everybody.
    """
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        else:
            network = ipaddress.ip_network((ip, 64), strict=False)
            return str(network) if ip.is_global else None
    return str(ip) if not (ip.is_private or ip.is_loopback) else None


class CallRates:
    """Counts calls by key in windows of a minute; remembers a bounded number of keys."""

    def __init__(self) -> None:
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait(self, key: str, limit: int | None, now: float) -> int:
        """Count a call; return 0 when it is within the limit, else the seconds to wait."""
        if limit is None:
            return 0
        began, count = self._windows.get(key, (now, 0))
        if not began <= now < began + MINUTE:
            began, count = now, 0
        if count >= limit:
            return max(1, int(began + MINUTE - now + 0.999))
        self._windows[key] = (began, count + 1)
        self._windows.move_to_end(key)
        while len(self._windows) > _KEYS_REMEMBERED:
            self._windows.popitem(last=False)
        return 0


@dataclass(frozen=True, kw_only=True)
class FetchSlot:
    """The right to fetch from a host now; give it back with `release`."""

    host: str
    token: str

    def release(self, site: Site) -> None:
        """Give the slot back, and commit."""
        with site.new_session() as session:
            row = _locked(session, self.host)
            if row is not None:
                row.leases = [lease for lease in row.leases if lease[0] != self.token]
            session.commit()


def take_slot(site: Site, host: str) -> FetchSlot | float:
    """Return the right to fetch from a host now, or the seconds after which to ask again."""
    limits = site.settings.linkbacks.rate_limits
    now = site.now().timestamp()
    # a fetch that never gave its slot back is over by then
    over = now + 2 * site.settings.fetch.fetch_timeout
    token = uuid.uuid4().hex
    with site.new_session() as session:
        everyone = _row(session, site, _ALL_HOSTS)
        one = _row(session, site, host)
        everyone_recent = [at for at in everyone.fetches if now - MINUTE < at <= now]
        recent = [at for at in one.fetches if now - MINUTE < at <= now]
        leases = [lease for lease in one.leases if lease[1] > now]
        wait = max(
            _wait(everyone_recent, limits["fetches"], now),
            _wait(recent, limits["source_host"], now),
            1.0 if _reached(len(leases), limits["source_host_parallel"]) else 0.0,
        )
        if wait:
            session.rollback()
            return wait
        everyone.fetches = [*everyone_recent, now][-(limits["fetches"] or 1) :]
        one.fetches = [*recent, now][-(limits["source_host"] or 1) :]
        one.leases = [*leases, [token, over]]
        one.changed_at = everyone.changed_at = site.now()
        session.commit()
    return FetchSlot(host=host, token=token)


def _reached(count: int, limit: int | None) -> bool:
    return limit is not None and count >= limit


def _wait(recent: list[float], limit: int | None, now: float) -> float:
    """Seconds until fewer than ``limit`` fetches lie within the last minute."""
    if limit is None or len(recent) < limit:
        return 0.0
    return max(0.1, sorted(recent)[-limit] + MINUTE - now)


def _locked(session: Session, name: str) -> Host | None:
    if session.get_bind().dialect.name == "sqlite":
        # the first statement of the transaction is a write: whoever reads next waits for us
        session.execute(sa.update(Host).where(Host.name == name).values(name=Host.name))
    return session.scalar(sa.select(Host).where(Host.name == name).with_for_update())


def _row(session: Session, site: Site, name: str) -> Host:
    """Return a host's row, made when missing and locked until the session commits."""
    row = _locked(session, name)
    if row is None:
        try:
            with session.begin_nested():
                session.add(Host(name=name, fetches=[], leases=[], changed_at=site.now()))
        except IntegrityError:
            pass  # somebody else met this host just now
        row = _locked(session, name)
        assert row is not None
    return row


def forget_hosts(site: Site, session: Session) -> None:
    """Delete the rows of hosts that were not fetched from for an hour."""
    session.execute(sa.delete(Host).where(Host.changed_at < site.now() - timedelta(hours=1)))
