"""Directories: weblog directories are told that the site has something new, and their answers kept."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import signals
from ..errors import AddressRefused, FetchError, TooSlow
from ..models import DirectoryPing, Job, JobState, digest, host_of, without_fragment
from ..outbox import jobs
from ..outbox.jobs import AttemptMade, Claim, Outcome
from ..outbox.replies import is_success, may_pass, retry_after
from ..outbox.retry import SLOW_STATUSES
from ..outbox.writers import Writers
from ..protocols import weblogupdates, xmlrpc
from ..protocols.text import storable
from ..protocols.xml import Malformed
from ..site import Site

__all__ = ["PING", "give_up", "next_tries", "owe_again", "owe_pings", "ping", "ping_key"]

PING: Final = "ping_directory"
"""The kind of job that tells one directory."""
_KEPT_CHARACTERS: Final = 500
_KEPT_BYTES: Final = 16 * 1024
_NOT_YET: Final = "Not told yet."
_job: Final = Job.__table__
_row: Final = DirectoryPing.__table__


# --- what is owed ------------------------------------------------------------------------------------


def owe_pings(
    site: Site, session: Session, page_url: str, *, feed_url: str | None = None, object_key: str | None = None
) -> int:
    """Owe each directory the news that a page of ours changed, and return how many there are.

    A directory hears of a feed (of the site, where no feed is named) once in DIRECTORY_INTERVAL_SECONDS:
    what comes within the interval is told after it, in one ping that names the last page. Writes into
    the session's transaction; may be called in the middle of a flush.
    """
    directories = site.settings.linkbacks.directories
    for directory in directories:
        page = {
            "page_url": page_url,
            "page_key": digest(without_fragment(page_url)),
            "object_key": object_key,
        }
        key = ping_key(site, directory, feed_url)
        waiting = _waiting(session, key)
        if waiting is not None:
            session.execute(sa.update(_row).where(_row.c.id == waiting["ping_id"]).values(page))
            continue
        _owe(site, session, key, {**page, "url": directory, "feed_url": feed_url})
    return len(directories)


def owe_again(site: Site, session: Session, row: DirectoryPing) -> bool:
    """Owe a directory the news of a page once more; say whether it is queued: not while a ping waits.

    It comes after the interval like any other, as a row of its own: what was answered before stays. Writes
    into the session's transaction.
    """
    key = ping_key(site, row.url, row.feed_url)
    if jobs.is_waiting(session, kind=PING, key=key):
        return False
    names = ("page_url", "page_key", "object_key", "url", "feed_url")
    _owe(site, session, key, {name: getattr(row, name) for name in names})
    return True


def _owe(site: Site, session: Session, key: str, page: dict[str, Any]) -> None:
    due_at = _due_at(site, session, key)
    row = {**page, "message": _NOT_YET, "sent_at": due_at}
    ping_id = session.scalar(sa.insert(_row).values(row).returning(_row.c.id))
    job = jobs.NewJob(
        kind=PING, payload={"ping_id": ping_id}, host=host_of(page["url"]), key=key, due_at=due_at
    )
    jobs.add(session, [job])


def next_tries(site: Site, session: Session, pings: Sequence[DirectoryPing]) -> dict[int, datetime | None]:
    """Return when those of some pings that are owed are told next, by their ids; None: at this moment."""
    if site.settings.site.base_url is None:
        return {}  # without an address of its own a site owes none
    keys = {ping_key(site, row.url, row.feed_url) for row in pings if not row.success}
    owed = sa.select(_job.c.payload, _job.c.state, _job.c.due_at).where(
        _job.c.key.in_(keys), _job.c.state.in_((JobState.pending, JobState.running)), _job.c.kind == PING
    )
    return {
        payload["ping_id"]: due_at if state is JobState.pending else None
        for payload, state, due_at in session.execute(owed)
    }


def ping_key(site: Site, directory: str, feed_url: str | None) -> str:
    """Return what a directory is told at most once in an interval, as the key of its job."""
    return digest(PING, directory, feed_url or _home(site))


def _home(site: Site) -> str:
    return f"{site.base_url}/"


def _waiting(session: Session, key: str) -> dict[str, Any] | None:
    """Return the payload of the job that waits, locked so that it starts after what is written now."""
    here = (_job.c.key == key, _job.c.state == JobState.pending, _job.c.kind == PING)
    waiting = sa.select(_job.c.payload).where(*here).limit(1).with_for_update(skip_locked=True)
    payload: dict[str, Any] | None = session.scalar(waiting)
    return payload


def _due_at(site: Site, session: Session, key: str) -> datetime:
    """Return when a directory may be told again: now, or after its interval."""
    now = site.now()
    before = session.execute(
        sa.select(_job.c.state, _job.c.finished_at).where(
            _job.c.key == key, _job.c.state != JobState.pending, _job.c.kind == PING
        )
    )
    last = [now if row.state is JobState.running else row.finished_at for row in before]
    interval = timedelta(seconds=site.settings.linkbacks.directory_interval_seconds)
    return max([now, *(at + interval for at in last if at is not None)])


# --- telling one directory ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Result:
    """What came of one call: ``success`` is None where another try may do better."""

    success: bool | None
    message: str
    failure: str = ""
    """A short word for what went wrong, in the record of the attempt."""
    answered: bool = True
    """Whether the directory understood that it was asked, so that it may be asked in other words."""
    status_code: int | None = None
    body: bytes = b""
    address: str | None = None
    retry_after: float | None = None
    overloaded: bool = False


def ping(site: Site, claim: Claim) -> Outcome:
    """Handle a job: tell one directory.

    What a directory answers, yes or no, is final. Where it does not answer, or not as directories do, it is
    told again by the schedule.
    """
    session = site.session
    row = session.get(DirectoryPing, claim.payload["ping_id"])
    if row is None or row.success:
        return jobs.done()
    directory, page_url, feed_url = row.url, row.page_url, row.feed_url
    session.commit()  # no transaction stays open over HTTP
    started_at = site.now()
    result = _tell(site, directory, page_url, feed_url)
    attempt = AttemptMade(
        started_at=started_at,
        seconds=(site.now() - started_at).total_seconds(),
        outcome=result.failure or "done",
        url=directory,
        address=result.address,
        status_code=result.status_code,
        body=result.body,
        reason="" if result.success else result.message,
    )
    write = functools.partial(_record, site, claim, row.id, result)
    if not site.get(Writers).record(site.engine, session, write):
        return jobs.done(attempt=attempt)
    if result.success is None and not claim.is_last:
        return jobs.again(
            result.message, retry_after=result.retry_after, overloaded=result.overloaded, attempt=attempt
        )
    site.send(signals.directory_pinged, directory_ping=row)
    if result.success is None:
        return jobs.dead(result.message, attempt=attempt)
    return jobs.done("" if result.success else result.message, attempt=attempt)


def give_up(site: Site, job: Job, claim: Claim) -> None:
    """End the ping of a job that died without saying what became of it."""
    row = site.session.get(DirectoryPing, (job.payload or {}).get("ping_id"))
    if row is None or row.success:
        return
    write = functools.partial(_record, site, claim, row.id, _Result(success=False, message=job.reason))
    if site.get(Writers).record(site.engine, site.session, write):
        site.send(signals.directory_pinged, directory_ping=row)


def _record(site: Site, claim: Claim, ping_id: int, result: _Result) -> bool:
    """Write what came of a ping and commit, unless that is somebody else's to say by now."""
    session = site.session
    row = session.get(DirectoryPing, ping_id) if jobs.is_ours(session, claim) else None
    if row is None:
        session.rollback()
        return False
    row.success = bool(result.success)
    row.message = storable(result.message, _KEPT_CHARACTERS)
    row.sent_at = site.now()
    session.commit()
    return True


def _tell(site: Site, directory: str, page_url: str, feed_url: str | None) -> _Result:
    """Call ``extendedPing`` where there is a feed; ``ping`` where there is none or it was not understood.

    Many directories know only the second, and say so in many ways.
    """
    name = site.settings.site.site_name or host_of(site.base_url)
    home = _home(site)
    if feed_url is not None:
        body = weblogupdates.dump_extended_ping(name, home, page_url, feed_url)
        result = _call(site, directory, body)
        if result.success or not result.answered:
            return result
        plain = _call(site, directory, weblogupdates.dump_ping(name, home))
        if not plain.success:
            said = f"{weblogupdates.EXTENDED_PING}: {result.message} {weblogupdates.PING}: {plain.message}"
            return dataclasses.replace(plain, message=said)
        return plain
    return _call(site, directory, weblogupdates.dump_ping(name, home))


def _call(site: Site, directory: str, body: bytes) -> _Result:
    try:
        response = site.fetch.post(
            directory,
            body,
            headers={"Content-Type": "text/xml; charset=utf-8"},
            max_body=xmlrpc.MAX_BODY_BYTES,
        )
    except FetchError as error:
        return _Result(
            success=False if isinstance(error, AddressRefused) else None,
            message=f"{error.kind}: {error}",
            failure=error.kind,
            answered=False,
            overloaded=isinstance(error, TooSlow),
        )
    said = functools.partial(
        _Result,
        status_code=response.status,
        body=response.body[:_KEPT_BYTES],
        address=response.address,
        retry_after=retry_after(site, response),
        overloaded=response.status in SLOW_STATUSES,
    )
    if not is_success(response):
        return said(
            success=None if may_pass(response) else False,
            message=f"The directory answers {response.status}.",
            failure=f"http_{response.status}",
            answered=response.status not in (408, 425, *SLOW_STATUSES),
        )
    try:
        result = weblogupdates.parse_response(response.body)
    except xmlrpc.Fault as fault:
        return said(success=False, message=f"Fault {fault.code}: {fault.message}", failure="fault")
    except Malformed:
        return said(success=None, message="The answer is none of a directory.", failure="no_xmlrpc")
    return said(success=result.ok, message=result.message, failure="" if result.ok else "flerror")
