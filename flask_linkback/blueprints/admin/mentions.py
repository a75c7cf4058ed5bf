"""Mentions: what others say of our pages, and what is decided about it."""

from __future__ import annotations

from typing import Any, Final

from flask import request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import defer

from ...linkbacks import moderation
from ...linkbacks.spam import SpamChecks
from ...models import Mention, MentionState, MentionStatus
from ...site import Site
from . import auditing
from .access import Access, Right
from .lists import Choice, Listing, Text, capped
from .screens import Action, Failed, Screen, Visit
from .words import N_, ngettext
from .words import gettext as _

__all__ = ["SCREENS", "WAITING"]

_PROTOCOLS: Final = ("webmention", "pingback", "trackback")
_TYPES: Final = ("mention", "reply", "like", "repost", "bookmark", "rsvp")


def _same(values: Any) -> list[tuple[str, str]]:
    return [(str(value), str(value)) for value in values]


def _statuses() -> list[tuple[str, str]]:
    return [
        ("pending", _("pending")),
        ("approved", _("approved")),
        ("rejected", _("rejected")),
        ("spam", _("spam")),
    ]


def _states() -> list[tuple[str, str]]:
    return [
        ("received", _("not checked")),
        ("verified", _("verified")),
        ("gone", _("gone")),
        ("failed", _("failed")),
    ]


LIST: Final = Listing(
    model=Mention,
    options=(defer(Mention.content),),
    filters=(
        Choice(
            name="status",
            label=N_("Decision"),
            choices=_statuses,
            condition=lambda value: Mention.status == MentionStatus(value),
            indexed=True,
        ),
        Choice(
            name="state",
            label=N_("Found"),
            choices=_states,
            condition=lambda value: Mention.state == MentionState(value),
        ),
        Choice(
            name="protocol",
            label=N_("Protocol"),
            choices=lambda: _same(_PROTOCOLS),
            condition=lambda value: Mention.protocol == value,
        ),
        Choice(
            name="type",
            label=N_("Kind"),
            choices=lambda: _same(_TYPES),
            condition=lambda value: Mention.type == value,
        ),
        Text(
            name="host",
            label=N_("Host"),
            hint="example.org",
            condition=lambda value: Mention.source_host == value.lower(),
        ),
        Text(
            name="target",
            label=N_("Page"),
            hint="/post/…",
            condition=lambda value: Mention.target.contains(value, autoescape=True),
        ),
    ),
)


WAITING: Final = capped(Mention.status == MentionStatus.pending)
"""The number of mentions about which somebody has to decide."""


def _list(visit: Visit) -> ResponseReturnValue:
    return visit.render("mentions", rows=LIST.read(visit.site.session))


def _show(visit: Visit) -> ResponseReturnValue:
    mention: Mention = visit.obj
    return visit.render(
        "mention",
        mention=mention,
        history=auditing.history(visit.site, f"mention:{mention.id}"),
        why_pending=_why_pending(visit.site, mention),
    )


def _why_pending(site: Site, mention: Mention) -> str:
    """Say why nobody decided yet about a mention; "" where somebody did."""
    if mention.status is not MentionStatus.pending:
        return ""
    if mention.state is MentionState.received:
        return _("Its source was not looked at yet: nothing is decided before that.")
    if mention.state is not MentionState.verified:
        return _("Its source has no link to the page: there is nothing to decide.")
    if mention.reason.startswith("vouch_"):
        return _("The page that should vouch for it does not.")
    if site.get(SpamChecks).checks:
        return _("No spam check is sure about it, and no rule of LINKBACK_AUTO_APPROVE lets it pass.")
    if not site.settings.linkbacks.auto_approve:
        return _("LINKBACK_AUTO_APPROVE is empty: a person decides about every mention.")
    return _("Nothing from this host or author was approved before: a person has to decide once.")


def _decide(visit: Visit) -> ResponseReturnValue:
    """Decide about the mentions that were ticked."""
    status = _status()
    chosen = visit.chosen(Mention, Right.manage)
    for mention in chosen:
        _moderate(visit, mention, status)
    visit.say(
        ngettext(
            "%(n)s mention is %(status)s.",
            "%(n)s mentions are %(status)s.",
            len(chosen),
            status=dict(_statuses())[status],
        )
    )
    return visit.back()


def _decide_one(visit: Visit) -> ResponseReturnValue:
    status = _status()
    _moderate(visit, visit.obj, status)
    visit.say(_("The mention is %(status)s.", status=dict(_statuses())[status]))
    return visit.back()


def _status() -> str:
    status = request.form.get("status", "")
    if status not in [each.value for each in MentionStatus]:
        raise Failed(_("Choose what to decide."))
    return status


def _moderate(visit: Visit, mention: Mention, status: str) -> None:
    if mention.is_erased:
        raise Failed(_("A mention whose person was erased stays rejected."))
    moderation.moderate(visit.site, mention, status, who=visit.site.get(Access).who(visit.site))


SCREENS: Final = (
    Screen(
        name="mentions",
        rule="/mentions",
        show=_list,
        actions={"decide": Action(right=Right.manage, run=_decide)},
    ),
    Screen(
        name="mention",
        rule="/mentions/<int:id>",
        show=_show,
        load=lambda visit, id_: visit.load(Mention, id_),
        actions={"decide": Action(right=Right.manage, run=_decide_one)},
    ),
)
