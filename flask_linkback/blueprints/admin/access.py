"""Access: who may see the admin, and do what there. Nobody, unless the application says so."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ...protocols import text
from ...site import Site

__all__ = ["Access", "Grant", "Right"]

F = TypeVar("F", bound=Callable[..., Any])
MAX_WHO_CHARACTERS: Final = 255
UNKNOWN: Final = "admin"
"""Who did it, where the application does not say."""
logger = logging.getLogger("flask_linkback.admin")


class Right(enum.StrEnum):
    """What somebody may do; the application is asked for each by its name."""

    view = "view"
    """See a page."""
    manage = "manage"
    """Change something."""
    reveal = "reveal"
    """See a secret."""
    resend = "resend"
    """Send something once more, or for the first time: deliveries, tests, linkbacks."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What somebody was let in for: everything, or what belongs to one owner."""

    owner: str | None = None


class Access:
    """What the application says about who is there."""

    def __init__(self) -> None:
        self._may: Callable[[str, Any], Any] | None = None
        self._who: Callable[[], Any] | None = None
        self._told = False

    def open_by(self, function: F) -> F:
        """Let a function decide; the last one that was named counts."""
        self._may = function
        return function

    def identify_by(self, function: F) -> F:
        self._who = function
        return function

    @property
    def is_open(self) -> bool:
        """Did the application say who may come in?"""
        return self._may is not None

    def ask(self, site: Site, right: Right, obj: Any = None) -> Grant | None:
        """Return what somebody may see of what a right is asked for; None for nothing.

        A function that raises lets nobody in.
        """
        try:
            return self.asked(site, right, obj)
        except Exception:  # whatever the application's function raises, nobody comes in by it
            return None

    def asked(self, site: Site, right: Right, obj: Any = None) -> Grant | None:
        """The same as `ask`, but raises what the function raises, after the session was rolled back."""
        if self._may is None:
            return None
        try:
            answer = site.app.ensure_sync(self._may)(right.value, obj)
        except Exception:
            logger.exception("The function of @linkback.admin_access raised: nobody is let in.")
            site.session.rollback()
            raise
        if isinstance(answer, str):
            return Grant(owner=str(answer)) if answer else None
        return Grant() if answer else None

    def tell(self) -> None:
        """Say in the log, once, why everybody is sent away."""
        if not self.is_open and not self._told:
            self._told = True
            logger.warning(
                "The admin is closed: no function is decorated with @linkback.admin_access, which says who "
                "may come in."
            )

    def who(self, site: Site) -> str:
        """Return who is there, for the audit."""
        if self._who is None:
            return UNKNOWN
        try:
            who = site.app.ensure_sync(self._who)()
        except Exception:
            logger.exception("The function of @linkback.admin_identity raised.")
            return UNKNOWN
        return text.line(str(who or ""), MAX_WHO_CHARACTERS) or UNKNOWN
