"""Auditing: who did what in the admin, written in the transaction in which it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ...models import Audit
from ...site import Site
from .access import Access

__all__ = ["history", "note"]


def note(
    site: Site,
    action: str,
    object_key: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Write down that somebody did something; no secret may be among it. The caller commits.

    ``object_key`` is what it was done to, such as "listener:7".
    """
    site.session.add(
        Audit(
            at=site.now(),
            who=site.get(Access).who(site),
            action=action[:32],
            object_key=object_key[:255],
            before=None if before is None else dict(before),
            after=None if after is None else dict(after),
            reason=reason[:1000],
        )
    )


def history(site: Site, *object_keys: str, most: int = 20) -> Sequence[Audit]:
    """Return what was done to something lately, by any of its keys, the newest first."""
    asked = sa.select(Audit).where(Audit.object_key.in_(object_keys)).order_by(Audit.id.desc())
    return site.session.scalars(asked.limit(most)).all()
