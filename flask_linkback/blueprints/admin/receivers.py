"""Receivers: the webhooks of others that came, and what our functions made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from flask import request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session, defer
from werkzeug.routing import BuildError

from ...errors import BaseURLMissing, ReplayRefused
from ...models import Receipt
from ...outbox import jobs
from ...webhooks import receiving
from ...webhooks.receiving import Receiver, Receivers
from . import auditing, words
from .access import Right
from .jobs import attempts_of
from .lists import MOST_COUNTED, Choice, Listing, Text
from .screens import Action, Failed, Screen, Visit
from .words import N_, ngettext
from .words import gettext as _

__all__ = ["SCREENS"]

_MOST_RECEIVERS: Final = 50
_CONDITIONS: Final = {
    "handled": Receipt.handled_at.is_not(None),
    "waiting": sa.and_(Receipt.handled_at.is_(None), Receipt.reason == ""),
    "failed": sa.and_(Receipt.handled_at.is_(None), Receipt.reason != ""),
}


@dataclass(frozen=True, kw_only=True)
class Count:
    """What came to a receiver lately: of the newest receipts, so many at most."""

    last_at: datetime | None = None
    total: int = 0
    handled: int = 0
    failed: int = 0

    @property
    def waiting(self) -> int:
        return self.total - self.handled - self.failed


def _states() -> list[tuple[str, str]]:
    return [("handled", _("handled")), ("waiting", _("waiting")), ("failed", _("failed"))]


LIST: Final = Listing(
    model=Receipt,
    options=(defer(Receipt.headers), defer(Receipt.body)),
    filters=(
        Text(
            name="receiver",
            label=N_("Receiver"),
            hint="github",
            condition=lambda value: Receipt.receiver == value,
            indexed=True,
        ),
        Choice(
            name="state",
            label=N_("State"),
            choices=_states,
            condition=lambda value: _CONDITIONS[value],
        ),
    ),
)


def state_of(receipt: Receipt) -> str:
    if receipt.handled_at is not None:
        return "handled"
    return "failed" if receipt.reason else "waiting"


def _list(visit: Visit) -> ResponseReturnValue:
    site = visit.site
    found = list(site.get(Receivers))[:_MOST_RECEIVERS]
    rows = LIST.read(site.session)
    open_ = [row.key for row in rows if row.handled_at is None]
    return visit.render(
        "receivers",
        rows=rows,
        receivers=found,
        addresses={receiver.name: _address(visit, receiver) for receiver in found},
        counts=_counts(site.session, found),
        none_yet=Count(),
        most=MOST_COUNTED,
        owed=jobs.owed_at(site.session, kind=receiving.HANDLE, keys=open_),
        state_of=state_of,
    )


def _address(visit: Visit, receiver: Receiver) -> str:
    """Return where webhooks are sent to; "" where the application has no such place, or no address."""
    try:
        return visit.site.url_for("linkback_webhooks.receive", name=receiver.name)
    except (BaseURLMissing, BuildError):
        return ""


def _counts(session: Session, receivers: Sequence[Receiver]) -> dict[str, Count]:
    """Return what came to each receiver lately, by its name: all in one query."""
    if not receivers:
        return {}
    found = session.execute(sa.union_all(*[_newest_of(receiver.name) for receiver in receivers]))
    return {
        name: Count(last_at=last_at, total=total, handled=handled, failed=int(failed or 0))
        for name, last_at, total, handled, failed in found
    }


def _newest_of(name: str) -> sa.Select[Any]:
    columns = (Receipt.received_at, Receipt.handled_at, Receipt.reason)
    newest = sa.select(*columns).where(Receipt.receiver == name).order_by(Receipt.id.desc())
    some = newest.limit(MOST_COUNTED).subquery()
    has_failed = sa.and_(some.c.handled_at.is_(None), some.c.reason != "")
    counts: list[sa.ColumnElement[Any]] = [
        sa.literal(name).label("name"),
        sa.func.max(some.c.received_at).label("last_at"),
        sa.func.count().label("total"),
        sa.func.count(some.c.handled_at).label("handled"),
        sa.func.sum(sa.case((has_failed, 1), else_=0)).label("failed"),
    ]
    return sa.select(*counts).select_from(some)


def _show(visit: Visit) -> ResponseReturnValue:
    return _page(visit)


def _page(visit: Visit, *, asks: bool = False) -> str:
    """Return the page of one webhook; with ``asks`` it wants to know whether it is to be handled again."""
    receipt: Receipt = visit.obj
    session = visit.site.session
    job = receiving.job_of(session, receipt)
    return visit.render(
        "receipt",
        receipt=receipt,
        state=state_of(receipt),
        headers=[(name, words.names_secret(name), value) for name, value in (receipt.headers or {}).items()],
        job=job,
        attempts=attempts_of(visit, job) if job is not None else [],
        history=auditing.history(visit.site, f"receipt:{receipt.id}"),
        asks=asks,
    )


def _replay(visit: Visit) -> ResponseReturnValue:
    """Have the webhooks that were ticked and are not handled yet handled once more."""
    chosen = visit.chosen(Receipt, Right.resend)
    queued = sum(_again(visit, receipt) for receipt in chosen)
    if not queued:
        raise Failed(
            _("Nothing was queued: each was handled, is still to be handled, or is not kept any more.")
        )
    _say_queued(visit, queued)
    left = len(chosen) - queued
    if left:
        visit.say(
            ngettext(
                "%(n)s was left alone: it was handled, is still to be handled, or is not kept any more.",
                "%(n)s were left alone: each was handled, is still to be handled, or is not kept any more.",
                left,
            )
        )
    return visit.back()


def _again(visit: Visit, receipt: Receipt) -> bool:
    try:
        receiving.replay(visit.site, receipt)
    except ReplayRefused:
        return False
    auditing.note(visit.site, "replay", f"receipt:{receipt.id}", before={"state": state_of(receipt)})
    return True


def _replay_one(visit: Visit) -> ResponseReturnValue:
    """Have a webhook handled once more; of one that was handled already somebody has to be sure."""
    receipt: Receipt = visit.obj
    if receipt.handled_at is not None and not request.form.get("confirm"):
        return _page(visit, asks=True)
    try:
        receiving.replay(visit.site, receipt, again=True)
    except ReplayRefused as error:
        raise Failed(str(error)) from None
    auditing.note(visit.site, "replay", f"receipt:{receipt.id}", before={"state": state_of(receipt)})
    _say_queued(visit, 1)
    return visit.back()


def _say_queued(visit: Visit, count: int) -> None:
    visit.say(
        ngettext("%(n)s webhook is queued.", "%(n)s webhooks are queued.", count),
        link=url_for(".jobs", kind=receiving.HANDLE, state="pending"),
        label=_("See the jobs"),
    )


SCREENS: Final = (
    Screen(
        name="receivers",
        rule="/receivers",
        show=_list,
        actions={"replay": Action(right=Right.resend, run=_replay)},
    ),
    Screen(
        name="receipt",
        rule="/receivers/<int:id>",
        show=_show,
        load=lambda visit, id_: visit.load(Receipt, id_),
        actions={"replay": Action(right=Right.resend, run=_replay_one)},
    ),
)
