"""Directories: which weblog directories were told of which pages, and what they answered."""

from __future__ import annotations

from typing import Final

from flask import url_for
from flask.typing import ResponseReturnValue

from ...errors import BaseURLMissing
from ...linkbacks import directories
from ...models import DirectoryPing, digest, without_fragment
from . import auditing
from .access import Right
from .lists import Choice, Listing, Text
from .screens import Action, Failed, Screen, Visit
from .words import N_, ngettext
from .words import gettext as _

__all__ = ["SCREENS"]


LIST: Final = Listing(
    model=DirectoryPing,
    filters=(
        Choice(
            name="success",
            label=N_("Outcome"),
            choices=lambda: [("yes", _("told")), ("no", _("not told"))],
            condition=lambda value: DirectoryPing.success.is_(value == "yes"),
        ),
        Text(
            name="directory",
            label=N_("Directory"),
            hint="rpc.example.org",
            condition=lambda value: DirectoryPing.url.contains(value, autoescape=True),
        ),
        Text(
            name="page",
            label=N_("Page"),
            hint="https://…",
            condition=lambda value: DirectoryPing.page_key == digest(without_fragment(value)),
            indexed=True,
        ),
    ),
)


def _list(visit: Visit) -> ResponseReturnValue:
    site = visit.site
    rows = LIST.read(site.session)
    return visit.render(
        "directories",
        rows=rows,
        owed=directories.next_tries(site, site.session, rows.rows),
        named=site.settings.linkbacks.directories,
    )


def _ping(visit: Visit) -> ResponseReturnValue:
    """Tell the directories of the rows that were ticked once more."""
    chosen = visit.chosen(DirectoryPing, Right.resend)
    queued = [row for row in chosen if _owe(visit, row)]
    if not queued:
        raise Failed(_("Nothing was queued: a ping of each waits already."))
    for row in queued:
        told = {"directory": row.url, "page": row.page_url}
        auditing.note(visit.site, "ping", f"directory_ping:{row.id}", after=told)
    visit.say(
        ngettext("%(n)s ping is queued.", "%(n)s pings are queued.", len(queued)),
        link=url_for(".jobs", kind=directories.PING, state="pending"),
        label=_("See the jobs"),
    )
    left = len(chosen) - len(queued)
    if left:
        visit.say(
            ngettext(
                "%(n)s was left alone: a ping of it waits already.",
                "%(n)s were left alone: a ping of each waits already.",
                left,
            )
        )
    return visit.back()


def _owe(visit: Visit, row: DirectoryPing) -> bool:
    try:
        return directories.owe_again(visit.site, visit.site.session, row)
    except BaseURLMissing as error:
        raise Failed(str(error)) from None


SCREENS: Final = (
    Screen(
        name="directories",
        rule="/directories",
        show=_list,
        actions={"ping": Action(right=Right.resend, run=_ping)},
    ),
)
