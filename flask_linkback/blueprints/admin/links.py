"""Links: which pages were told that pages of ours link to them, by which way, and what they answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from flask import url_for
from flask.typing import ResponseReturnValue

from ...linkbacks import sending
from ...models import Attempt, Job, Link, LinkState
from ...outbox import jobs
from . import auditing
from .access import Right
from .lists import Choice, Listing, Text
from .screens import Action, Failed, Screen, Visit
from .words import N_, ngettext
from .words import gettext as _

__all__ = ["SCREENS"]

_PROTOCOLS: Final = ("webmention", "pingback", "trackback")
_MOST_JOBS: Final = 20
_MOST_ATTEMPTS: Final = 100


def _states() -> list[tuple[str, str]]:
    return [
        ("waiting", _("waiting")),
        ("sent", _("sent")),
        ("refused", _("refused")),
        ("given_up", _("given up")),
        ("unsupported", _("unsupported")),
    ]


LIST: Final = Listing(
    model=Link,
    filters=(
        Choice(
            name="state",
            label=N_("State"),
            choices=_states,
            condition=lambda value: Link.state == LinkState(value),
            indexed=True,
        ),
        Choice(
            name="protocol",
            label=N_("Told by"),
            choices=lambda: [(protocol, protocol) for protocol in _PROTOCOLS],
            condition=lambda value: Link.protocol == value,
        ),
        Text(
            name="host",
            label=N_("Host"),
            hint="example.org",
            condition=lambda value: Link.target_host == value.lower(),
        ),
        Text(
            name="page",
            label=N_("Our page"),
            hint="/post/…",
            condition=lambda value: Link.source.contains(value, autoescape=True),
        ),
    ),
)


def _list(visit: Visit) -> ResponseReturnValue:
    session = visit.site.session
    rows = LIST.read(session)
    waiting = [link.key for link in rows if link.state is LinkState.waiting]
    return visit.render("links", rows=rows, owed=jobs.owed_at(session, kind=sending.SEND, keys=waiting))


def _show(visit: Visit) -> ResponseReturnValue:
    link: Link = visit.obj
    session = visit.site.session
    about = sa.select(Job).where(Job.key == link.key, Job.kind == sending.SEND)
    found = session.scalars(about.order_by(Job.id.desc()).limit(_MOST_JOBS)).all()
    return visit.render(
        "link",
        link=link,
        jobs=found,
        attempts=_attempts(visit, found),
        can_be_resent=sending.can_be_resent(link),
        history=auditing.history(visit.site, f"link:{link.id}"),
    )


def _attempts(visit: Visit, of: Sequence[Job]) -> list[Attempt]:
    """Return what was tried for a link, by all its jobs, the first try first."""
    asked = sa.select(Attempt).where(Attempt.job_id.in_([job.id for job in of]))
    newest = visit.site.session.scalars(asked.order_by(Attempt.id.desc()).limit(_MOST_ATTEMPTS))
    return list(newest)[::-1]


def _resend(visit: Visit) -> ResponseReturnValue:
    _queue(visit, visit.chosen(Link, Right.resend))
    return visit.back()


def _resend_one(visit: Visit) -> ResponseReturnValue:
    _queue(visit, [visit.obj])
    return visit.back()


def _queue(visit: Visit, links: Sequence[Link]) -> None:
    before = {link.id: link.state.value for link in links}
    queued = sending.resend(visit.site, visit.site.session, before)
    if not queued:
        raise Failed(
            _("Nothing was queued: each is told just now, took a trackback, or never heard of the link.")
        )
    for link in queued:
        auditing.note(visit.site, "resend", f"link:{link.id}", before={"state": before[link.id]})
    visit.say(
        ngettext("%(n)s link is queued.", "%(n)s links are queued.", len(queued)),
        link=url_for(".jobs", kind=sending.SEND, state="pending"),
        label=_("See the jobs"),
    )
    left = len(links) - len(queued)
    if left:
        visit.say(
            ngettext("%(n)s link cannot be told again now.", "%(n)s links cannot be told again now.", left),
            level="bad",
        )


SCREENS: Final = (
    Screen(
        name="links",
        rule="/links",
        show=_list,
        actions={"resend": Action(right=Right.resend, run=_resend)},
    ),
    Screen(
        name="link",
        rule="/links/<int:id>",
        show=_show,
        load=lambda visit, id_: visit.load(Link, id_),
        actions={"resend": Action(right=Right.resend, run=_resend_one)},
    ),
)
