"""Avatars: the pictures of authors, kept here, so that readers ask no stranger for them.

Only for mentions that are verified and approved anything is fetched: nobody whose mention waits makes us
fetch more than its source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from ..errors import AddressRefused, FetchError, TooLarge, TooSlow
from ..fetch import Response
from ..models import Avatar, Mention, MentionState, MentionStatus, digest, host_of
from ..outbox import jobs
from ..outbox.jobs import AttemptMade, Claim, Outcome
from ..outbox.replies import is_success, may_pass, retry_after
from ..outbox.retry import SLOW_STATUSES
from ..outbox.writers import Writers
from ..protocols import images
from ..protocols.images import Image
from ..site import Site
from .limits import fetch_slot, put_off
from .shown import Photos

__all__ = ["AVATAR", "FETCH", "fetch_avatar", "owe_avatar", "photos_of", "release", "tend_avatars"]

AVATAR: Final = "linkback.avatar"
"""The endpoint that serves them."""
FETCH: Final = "fetch_avatar"
"""The kind of job that fetches the picture of an author."""
MAX_BYTES: Final = 512 * 1024
MAX_SIDE: Final = 2048
"""How many pixels wide or high a picture may be: four bytes for each will be taken of a reader's memory."""
AT_A_TIME: Final = 500
SPREAD: Final = timedelta(hours=1)
_ACCEPT: Final = "image/avif, image/webp, image/png, image/jpeg, image/gif"
_SHOWN: Final = sa.and_(
    Mention.state == MentionState.verified,
    Mention.status == MentionStatus.approved,
    Mention.author_photo != "",
)


# --- what is owed ------------------------------------------------------------------------------------


def owe_avatar(site: Site, mention: Mention) -> None:
    """Owe the picture of a shown mention's author, in the caller's transaction.

    A picture is asked for at most once in SOURCE_INTERVAL_SECONDS, however many mentions have it.
    """
    url = mention.author_photo
    if not site.settings.linkbacks.avatar_cache or not mention.shown or not url:
        return
    fetched_at = site.session.scalar(sa.select(Avatar.fetched_at).where(Avatar.key == digest(url)))
    interval = timedelta(seconds=site.settings.linkbacks.source_interval_seconds)
    if fetched_at is None or fetched_at + interval <= site.now():
        jobs.add_once(site.session, _job(url))


def _job(url: str, due_at: datetime | None = None) -> jobs.NewJob:
    return jobs.NewJob(kind=FETCH, payload={"url": url}, host=host_of(url), key=digest(url), due_at=due_at)


# --- fetching one ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Got:
    """A picture, or why there is none, by a short word; ``final`` when a repeat would not help."""

    body: bytes = b""
    image: Image | None = None
    failure: str = ""
    final: bool = True
    retry_after: float | None = None
    overloaded: bool = False
    response: Response | None = None


def fetch_avatar(site: Site, claim: Claim) -> Outcome:
    """Handle a job: fetch a picture and keep it; or keep that there is none.

    While its host has trouble, what is kept already stays. A host that was asked often enough for now is
    asked later: RATE_LIMITS count these fetches, too.
    """
    url, key = claim.payload.get("url", ""), claim.key or ""
    if not site.settings.linkbacks.avatar_cache or not _is_used(site, url):
        return jobs.done("No mention that is shown has this picture.")
    with fetch_slot(site, claim.host, key) as slot:
        if slot.seconds:
            put_off(site, FETCH, claim.host)
            return jobs.later(slot.seconds, "The host was asked often enough for now.")
        started_at = site.now()
        got = _get(site, url)

        def write() -> None:
            session = site.session
            if jobs.is_ours(session, claim) and (got.final or claim.is_last):
                _keep(site, url, got)
            slot.give_back(session)
            session.commit()

        site.get(Writers).record(site.engine, site.session, write)
    attempt = AttemptMade(
        started_at=started_at,
        seconds=got.response.seconds if got.response else (site.now() - started_at).total_seconds(),
        outcome=got.failure or "done",
        url=url,
        address=got.response.address if got.response else None,
        status_code=got.response.status if got.response else None,
    )
    if got.final:
        return jobs.done(got.failure, attempt=attempt)
    if claim.is_last:
        return jobs.dead(got.failure, attempt=attempt)
    return jobs.again(got.failure, retry_after=got.retry_after, overloaded=got.overloaded, attempt=attempt)


def _is_used(site: Site, url: str) -> bool:
    used = sa.select(Mention.id).where(Mention.author_photo == url, _SHOWN).limit(1)
    found = site.session.scalar(used) is not None
    site.session.rollback()  # no transaction stays open over HTTP
    return found


def _get(site: Site, url: str) -> _Got:
    try:
        response = site.fetch.get(url, headers={"Accept": _ACCEPT}, max_body=MAX_BYTES)
    except FetchError as error:
        final = isinstance(error, (AddressRefused, TooLarge))
        return _Got(failure=error.kind, final=final, overloaded=isinstance(error, TooSlow))
    if not is_success(response):
        return _Got(
            failure=f"http_{response.status}",
            final=not may_pass(response),
            retry_after=retry_after(site, response),
            overloaded=response.status in SLOW_STATUSES,
            response=response,
        )
    image = images.read(response.body)
    if image is None:
        return _Got(failure="no_image", response=response)
    if max(image.width, image.height) > MAX_SIDE:
        return _Got(failure="too_many_pixels", response=response)
    return _Got(body=response.body, image=image, response=response)


def _keep(site: Site, url: str, got: _Got) -> None:
    """Write down what came of asking for a picture; the caller commits."""
    session, days = site.session, site.settings.linkbacks.reverify_days
    avatar = session.scalar(sa.select(Avatar).where(Avatar.key == digest(url)).with_for_update())
    if avatar is None:
        avatar = Avatar(key=digest(url), url=url, host=host_of(url))
        session.add(avatar)
    if got.final:
        avatar.media_type = got.image.media_type if got.image else ""
        avatar.digest = _digest(got.body) if got.image else ""
        avatar.body = got.body if got.image else None
    avatar.reason = got.failure
    avatar.fetched_at = site.now()
    avatar.expires_at = site.now() + timedelta(days=days) if days is not None else None


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# --- showing them ------------------------------------------------------------------------------------


def photos_of(site: Site, mentions: Iterable[Mention], url_of: Callable[[str], str]) -> Photos | None:
    """Return where readers find the pictures of some mentions, by one query; None for where they are.

    ``url_of`` says where ours are, by their keys. With AVATAR_CACHE nobody is sent anywhere else.
    """
    if not site.settings.linkbacks.avatar_cache:
        return None
    keys = {digest(each.author_photo) for each in mentions if each.author_photo}
    there = sa.select(Avatar.key).where(Avatar.key.in_(keys), Avatar.body.is_not(None))
    kept = set(site.session.scalars(there)) if keys else set()

    def photos(url: str) -> str:
        key = digest(url)
        return url_of(key) if key in kept else ""

    return photos


# --- letting them go ---------------------------------------------------------------------------------


def release(site: Site, urls: Iterable[str]) -> set[str]:
    """Delete the pictures at some URLs but those that a shown mention has; return the URLs that nobody has.

    Writes into the session's transaction.
    """
    session = site.session
    wanted = {url for url in urls if url}
    used = sa.select(Mention.author_photo).where(Mention.author_photo.in_(wanted), _SHOWN)
    unused = wanted - set(session.scalars(used))
    session.execute(
        sa.delete(Avatar).where(Avatar.key.in_([digest(url) for url in unused])),
        execution_options={"synchronize_session": False},
    )
    return unused


def tend_avatars(site: Site) -> None:
    """Delete pictures that no shown mention has; owe those that are old, or were never asked for: a chore.

    Those are asked for one after the other until the next time. Without AVATAR_CACHE none is kept.
    """
    keeps = site.settings.linkbacks.avatar_cache
    session = site.session
    unused = Avatar.url.not_in(sa.select(Mention.author_photo).where(_SHOWN)) if keeps else sa.true()
    ids = session.scalars(sa.select(Avatar.id).where(unused).limit(AT_A_TIME)).all()
    session.rollback()  # SQLite lets nobody write who read what was written over since
    if ids:
        with site.get(Writers).turn(site.engine):
            session.execute(sa.delete(Avatar).where(Avatar.id.in_(ids)))
            session.commit()
    if keeps:
        _owe_old(site)


def _owe_old(site: Site) -> None:
    session, now = site.session, site.now()
    known = sa.select(Avatar.url).where(sa.or_(Avatar.expires_at.is_(None), Avatar.expires_at > now))
    wanted = sa.select(Mention.author_photo).where(_SHOWN, Mention.author_photo.not_in(known)).distinct()
    urls = session.scalars(wanted.limit(AT_A_TIME)).all()
    session.rollback()
    if urls:
        with site.get(Writers).turn(site.engine):
            for number, url in enumerate(urls):
                jobs.add_once(session, _job(url, now + number * SPREAD / len(urls)))
            session.commit()
