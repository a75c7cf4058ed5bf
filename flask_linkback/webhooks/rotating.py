"""Rotating: a listener's secret is changed, and for a while both sign."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from .. import changes
from ..models import Listener, ListenerSecret, Secret
from ..protocols import standardwebhooks
from ..site import Site
from .listeners import check_secret
from .reading import OwedAhead, valid_secrets

__all__ = ["MAX_OLD", "MAX_OVERLAP_SECONDS", "rotate_secret", "secrets"]

logger = logging.getLogger("flask_linkback.webhooks")
DAY_SECONDS: Final = 86_400
MAX_OVERLAP_SECONDS: Final = 7 * DAY_SECONDS
MAX_OLD: Final = 5
"""So many old secrets sign beside the new one: each makes the header longer."""


def secrets(site: Site, listener: Listener) -> Sequence[ListenerSecret]:
    """Return the secrets that sign what a listener is sent, the newest first."""
    found = sa.select(ListenerSecret).where(
        ListenerSecret.listener_id == listener.id, valid_secrets(site.now())
    )
    return site.session.scalars(found.order_by(ListenerSecret.id.desc())).all()


def rotate_secret(
    site: Site, listener: Listener, overlap_seconds: float = DAY_SECONDS, secret: str | None = None
) -> str:
    """Give a listener a new secret and return it; the old one signs as well for a while. The caller commits.

    Of more than five old ones those are forgotten that would end first. ValueError for an overlap beyond
    seven days, for a secret that cannot be, and without one where a key pair is replaced.
    """
    if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
        raise ValueError(f"An old secret is valid for 0 to {MAX_OVERLAP_SECONDS} seconds more.")
    now, session = site.now(), site.session
    # two rotations at the same time come one after the other
    session.execute(sa.select(Listener.id).where(Listener.id == listener.id).with_for_update())
    old = list(secrets(site, listener))
    if secret is None:
        if old and old[0].secret.startswith(standardwebhooks.PRIVATE_KEY):
            raise ValueError(
                "This listener has a key pair: give the new secret, standardwebhooks.new_key_pair()."
            )
        secret = standardwebhooks.new_secret()
    check_secret(secret)
    until = now + timedelta(seconds=overlap_seconds)
    ends = {}
    for each in old:
        each.expires_at = ends[each.id] = until if each.expires_at is None else min(each.expires_at, until)
    session.flush()
    kept = sorted((key for key, end in ends.items() if end > now), key=lambda key: (ends[key], key))[
        -MAX_OLD:
    ]
    others = sa.delete(ListenerSecret).where(
        ListenerSecret.listener_id == listener.id, ListenerSecret.id.not_in(kept)
    )
    session.execute(others)
    session.add(ListenerSecret(listener_id=listener.id, secret=Secret(secret), created_at=now))
    session.flush()
    site.get(OwedAhead).forget()
    logger.info("The secret of a listener was rotated.", extra={"listener_id": listener.id})
    changes.note_call(session, "rotate_secret")
    return secret
