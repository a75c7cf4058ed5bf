"""Spam: the checks that an application has of its own, and who learns from what people say."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from ..models import Mention
from ..site import Site

__all__ = ["SpamChecks", "Verdict", "name_of"]

logger = logging.getLogger("flask_linkback.linkbacks")

Check = Callable[[Mention], Any]
Feedback = Callable[[Mention, str], Any]
C = TypeVar("C", bound=Check)
F = TypeVar("F", bound=Feedback)


class Verdict(enum.StrEnum):
    """What a check says of a mention."""

    ham = "ham"
    """It is welcome."""
    spam = "spam"
    """It is not."""
    unsure = "unsure"
    """Somebody else has to say."""


class SpamChecks:
    """The spam checks and their pupils; shared by all applications of one extension object."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.feedbacks: list[Feedback] = []

    def check(self, function: C) -> C:
        self.checks.append(function)
        return function

    def feedback(self, function: F) -> F:
        self.feedbacks.append(function)
        return function

    def ask(self, site: Site, mention: Mention) -> Verdict:
        """Return what the first check says that is sure.

        They may take their time, and talk to others: no transaction may be open. What one leaves
        uncommitted is dropped. One that raises, or says something else, is unsure.
        """
        for check in self.checks:
            verdict = _verdict(site, check, mention)
            site.session.rollback()
            if verdict is not Verdict.unsure:
                return verdict
        return Verdict.unsure

    def teach(self, site: Site, mention: Mention, verdict: Verdict) -> None:
        """Tell all pupils what a person says of a mention; one that raises is logged."""
        for feedback in self.feedbacks:
            try:
                site.app.ensure_sync(feedback)(mention, verdict.value)
            except Exception:  # the application's own bug; the decision stands
                logger.exception("The spam feedback %s raised.", name_of(feedback))
                site.session.rollback()


def _verdict(site: Site, check: Check, mention: Mention) -> Verdict:
    try:
        said = site.app.ensure_sync(check)(mention)
    except Exception:  # nor must it let a stranger's page be fetched over and over
        logger.exception("The spam check %s raised: it counts as unsure.", name_of(check))
        return Verdict.unsure
    try:
        return Verdict(said)
    except ValueError:
        message = "The spam check %s said %r, not 'ham', 'spam' or 'unsure': it counts as unsure."
        logger.error(message, name_of(check), said)
        return Verdict.unsure


def name_of(function: Callable[..., Any]) -> str:
    """What a callable of the application is called."""
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__
