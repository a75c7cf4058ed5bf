"""Blocks: whom we do not want to hear, and what it takes back of what they said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from flask import request, url_for
from flask.typing import ResponseReturnValue

from ...errors import MissingExtra
from ...linkbacks import blocks, moderation, weblogs
from ...linkbacks.blocks import Listed
from ...models import Block, BlockKind
from . import auditing
from .access import Right
from .lists import Choice, Listing, Text
from .screens import Action, Screen, Visit
from .words import N_, cut, ngettext
from .words import gettext as _

__all__ = ["SCREENS"]

_FIELDS: Final = ("kind", "value", "reason", "days")
_LONGEST_REASON: Final = 500
_MOST_DAYS: Final = 36_500


def kinds() -> list[tuple[str, str]]:
    return [("host", _("host")), ("url", _("URL")), ("regex", _("pattern"))]


LIST: Final = Listing(
    model=Block,
    filters=(
        Choice(
            name="kind",
            label=N_("Kind"),
            choices=kinds,
            condition=lambda value: Block.kind == BlockKind(value),
        ),
        Text(
            name="value",
            label=N_("Who"),
            hint="example.org",
            condition=lambda value: Block.value.contains(value, autoescape=True),
        ),
        Text(
            name="list",
            label=N_("List"),
            hint=blocks.MANUAL,
            condition=lambda value: Block.list_name == value,
        ),
    ),
)


def _list(visit: Visit) -> ResponseReturnValue:
    return _page(visit, {name: request.args.get(name, "") for name in ("kind", "value")})


def _page(
    visit: Visit,
    form: Mapping[str, str],
    *,
    errors: Mapping[str, str] | None = None,
    rejects: int = 0,
) -> str:
    """Return the list under the form; ``rejects`` is how many mentions somebody has to confirm about."""
    return visit.render(
        "blocks",
        rows=LIST.read(visit.site.session),
        form={name: form.get(name, "") for name in _FIELDS},
        kinds=kinds(),
        errors=errors or {},
        rejects=rejects,
        now=visit.site.now(),
    )


def _add(visit: Visit) -> ResponseReturnValue:
    """Block somebody; what they said already is rejected, once that is confirmed."""
    form = {name: request.form.get(name, "").strip() for name in _FIELDS}
    errors: dict[str, str] = {}
    listed = _listed(form, errors)
    expires_at = _expires_at(visit, form["days"], errors)
    if listed is None or errors:
        return _page(visit, form, errors=errors)
    rejects = len(moderation.find_blocked(visit.site, [listed]))
    if rejects and not request.form.get("confirm"):
        return _page(visit, form, rejects=rejects)
    _block(visit, listed, expires_at)
    return visit.go("blocks")


def _listed(form: Mapping[str, str], errors: dict[str, str]) -> Listed | None:
    kind = form["kind"] if form["kind"] in dict(kinds()) else None
    try:
        listed = blocks.parse(form["value"], kind)
    except MissingExtra as error:
        errors["kind"] = str(error)
        return None
    except ValueError as error:
        errors["value"] = cut(error, 200)
        return None
    return replace(listed, list_name=blocks.MANUAL, reason=form["reason"][:_LONGEST_REASON].replace("\0", ""))


def _expires_at(visit: Visit, days: str, errors: dict[str, str]) -> datetime | None:
    if not days:
        return None
    if not (days.isascii() and days.isdigit() and len(days) < 6 and 0 < int(days) <= _MOST_DAYS):
        errors["days"] = _("Say a number of days, or nothing.")
        return None
    return visit.site.now() + timedelta(days=int(days))


def _block(visit: Visit, listed: Listed, expires_at: datetime | None) -> None:
    site = visit.site
    is_new = bool(blocks.add(site, [listed], expires_at=expires_at))
    unlisted = weblogs.unlist(site, [listed])
    rejected = len(moderation.sweep(site, [listed]))
    after: dict[str, Any] = {"kind": listed.kind.value, "list": listed.list_name}
    if expires_at is not None:
        after["until"] = expires_at.isoformat(timespec="seconds")
    if rejected:
        after["rejected"] = rejected
    auditing.note(site, "block", f"block:{listed.value}", after=after, reason=listed.reason)
    said = (
        _("%(who)s is blocked.") if is_new else _("%(who)s was blocked already: its reason and end are new.")
    )
    visit.say(said % {"who": cut(listed.value, 100)})
    if rejected:
        visit.say(
            ngettext("%(n)s mention is rejected.", "%(n)s mentions are rejected.", rejected),
            link=url_for(".mentions", status="rejected"),
            label=_("See them"),
        )
    if unlisted:
        visit.say(
            ngettext(
                "%(n)s weblog is taken out of the directory.",
                "%(n)s weblogs are taken out of the directory.",
                unlisted,
            )
        )


def _remove(visit: Visit) -> ResponseReturnValue:
    """Take the blocks that were ticked off their lists."""
    chosen = visit.chosen(Block, Right.manage)
    for row in chosen:
        before = {"kind": row.kind.value, "list": row.list_name}
        auditing.note(visit.site, "unblock", f"block:{row.value}", before=before, reason=row.reason)
        blocks.remove(visit.site, [Listed(kind=row.kind, value=row.value)], list_name=row.list_name)
    visit.say(
        ngettext(
            "%(n)s block is removed. What was rejected stays so.",
            "%(n)s blocks are removed. What was rejected stays so.",
            len(chosen),
        )
    )
    return visit.back()


SCREENS: Final = (
    Screen(
        name="blocks",
        rule="/blocks",
        show=_list,
        actions={
            "add": Action(right=Right.manage, run=_add),
            "remove": Action(right=Right.manage, run=_remove),
        },
    ),
)
