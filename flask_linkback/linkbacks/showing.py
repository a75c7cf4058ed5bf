"""Showing: the mentions of a page, as a template wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..errors import UnknownTarget
from ..models import Mention, MentionState, MentionStatus, digest
from ..site import Route, Site
from .targets import Targets

__all__ = ["mention_count", "mentions_for"]


def mentions_for(
    site: Site, what: Any, protocol: str | None = None, *, include_hidden: bool = False
) -> Sequence[Mention]:
    """Return the mentions of an object, or of the page at a URL of ours, newest first.

    Those that are verified and approved; with SHOW_UNAPPROVED those that wait for a moderator too;
    with ``include_hidden`` all. An object without primary key and a foreign URL raise `UnknownTarget`.
    """
    newest_first = _mentions(site, what, protocol, include_hidden, Mention).order_by(
        Mention.received_at.desc(), Mention.id.desc()
    )
    return site.session.scalars(newest_first).all()


def mention_count(site: Site, what: Any, protocol: str | None = None, *, include_hidden: bool = False) -> int:
    """Return the number of what `mentions_for` returns."""
    count = _mentions(site, what, protocol, include_hidden, sa.func.count())
    return site.session.scalar(count) or 0


def _mentions(
    site: Site, what: Any, protocol: str | None, include_hidden: bool, columns: Any
) -> sa.Select[Any]:
    statement = sa.select(columns).where(Mention.target_hash == digest(_key(site, what)))
    if protocol is not None:
        statement = statement.where(Mention.protocol == protocol)
    if not include_hidden:
        shown = [MentionStatus.approved]
        if site.settings.linkbacks.show_unapproved:
            shown.append(MentionStatus.pending)
        statement = statement.where(Mention.state == MentionState.verified, Mention.status.in_(shown))
    return statement


def _key(site: Site, what: Any) -> str:
    targets = site.get(Targets)
    if isinstance(what, Route):
        located = targets.locate(site, what)
    elif isinstance(what, str):
        located = targets.locate_url(site, site.absolute(what))
    else:
        return targets.key_for(what)
    if located is None:
        raise UnknownTarget(f"{what} is no page of this site.")
    return located.key
