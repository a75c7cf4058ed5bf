"""Hooks: what can happen here, who listens to it, and how that goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from flask import request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import defer

from ...errors import MatchError, MissingExtra
from ...models import Job, JobState, Listener, ListenerState, digest
from ...site import Site
from ...webhooks import match, switching
from ...webhooks.hooks import Hook
from ...webhooks.recording import DELIVER
from ...webhooks.registry import HookRegistry
from . import auditing, reach
from .access import Right
from .charts import Spark, spark_of
from .jobs import last_attempts
from .lists import Choice, Listing, Text
from .outcomes import by_listener
from .screens import Action, Screen, Visit
from .words import N_, ngettext
from .words import gettext as _

__all__ = [
    "SCREENS",
    "change_state",
    "delete",
    "in_words",
    "load",
    "name_of",
]

EACH: Final = 3
"""Hours in a bar."""
MOST_HOOKS: Final = 100
MOST_COUNTED: Final = 1000


def states() -> list[tuple[str, str]]:
    return [
        ("active", _("active")),
        ("failing", _("failing")),
        ("paused", _("paused")),
        ("disabled", _("disabled")),
        ("unverified", _("unverified")),
    ]


LIST: Final = Listing(
    model=Listener,
    options=(defer(Listener.headers), defer(Listener.config), defer(Listener.options)),
    filters=(
        Choice(
            name="state",
            label=N_("State"),
            choices=states,
            condition=lambda value: Listener.state == ListenerState(value),
        ),
        Text(
            name="hook",
            label=N_("Events"),
            hint="person.*",
            condition=lambda value: Listener.hook_hash == digest(value),
            indexed=True,
        ),
        Text(
            name="host",
            label=N_("Host"),
            hint="example.org",
            condition=lambda value: Listener.host == value.lower(),
        ),
        Text(
            name="url",
            label=N_("URL"),
            hint="/webhooks/…",
            condition=lambda value: Listener.url.contains(value, autoescape=True),
        ),
        Text(
            name="owner",
            label=N_("Owner"),
            condition=lambda value: Listener.owner == value,
            indexed=True,
        ),
    ),
)
OWN_LIST: Final = replace(LIST, filters=tuple(each for each in LIST.filters if each.name != "owner"))
"""For who sees one owner's alone."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A hook, as the catalogue has it."""

    name: str
    label: str
    hook: Hook
    keys: Sequence[str]
    listeners: int
    """Counted to 1 000 at most."""


@dataclass(frozen=True, kw_only=True)
class Last:
    """The newest delivery to a listener."""

    job_id: int
    state: JobState
    at: datetime
    status_code: int | None = None
    outcome: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A listener in the list."""

    listener: Listener
    wanted: str
    good: int = 0
    bad: int = 0
    spark: Spark | None = None
    last: Last | None = None

    @property
    def percent(self) -> int:
        # what is not all good is not said to be
        return 100 * self.good // (self.good + self.bad)


# --- what all screens of listeners share ----------------------------------------------------------------


def load(visit: Visit, id_: int) -> Listener | None:
    """Return a listener, where the visitor may know of it."""
    return visit.load(Listener, id_)


def in_words(listener: Listener) -> str:
    """Say what a listener wants of the events that it hears of."""
    try:
        return match.describe(match.load(listener.match))
    except (MatchError, MissingExtra):
        return _("a filter that cannot be read: it gets nothing")


def name_of(site: Site, hook: Hook) -> str:
    """Return what people call a hook, as a title."""
    return dict(site.get(HookRegistry).as_choices()).get(hook.name, hook.verbose_name)


def change_state(visit: Visit, listener: Listener, do: Callable[[Site, Listener], None], action: str) -> None:
    """Pause a listener, or resume it, with a note; raises ValueError where that cannot be."""
    before = listener.state
    do(visit.site, listener)
    if listener.state is not before:
        auditing.note(
            visit.site,
            action,
            f"listener:{listener.id}",
            before={"state": before.value},
            after={"state": listener.state.value},
        )


def delete(visit: Visit, listener: Listener) -> None:
    """Remove a listener, with a note of what it was."""
    what = {"hook": listener.hook, "url": listener.url, "owner": listener.owner}
    auditing.note(visit.site, "delete", f"listener:{listener.id}", before=what)
    switching.remove(visit.site, listener)


# --- the list -------------------------------------------------------------------------------------------


def _show(visit: Visit) -> ResponseReturnValue:
    if request.args.get("tab") == "hooks":
        known, has_more = _catalogue(visit)
        return visit.render("hooks", tab="hooks", known=known, has_more=has_more, most_counted=MOST_COUNTED)
    listing = LIST if visit.owner is None else OWN_LIST
    rows = listing.read(visit.site.session, *reach.listeners(visit))
    hooks = len(reach.hooks(visit, Right.manage))
    return visit.render("hooks", tab="listeners", rows=rows, shown=_rows(visit, rows.rows), hooks=hooks)


def _catalogue(visit: Visit) -> tuple[list[Known], bool]:
    hooks = reach.hooks(visit, Right.view)
    labels = dict(visit.site.get(HookRegistry).as_choices())
    some = hooks[:MOST_HOOKS]
    counts = _counted(visit, some)
    known = [
        Known(
            name=hook.name,
            label=labels[hook.name],
            hook=hook,
            keys=reach.keys_of_hook(hook),
            listeners=count,
        )
        for hook, count in zip(some, counts, strict=True)
    ]
    return known, len(hooks) > MOST_HOOKS


def _counted(visit: Visit, hooks: Sequence[Hook]) -> Sequence[int]:
    """Count the listeners that ask for the events of each hook, by one query."""
    if not hooks:
        return []
    columns = []
    for hook in hooks:
        hashes = [digest(key) for key in reach.keys_of_hook(hook)]
        some = sa.select(sa.literal(1)).where(Listener.hook_hash.in_(hashes), *reach.listeners(visit))
        counted = sa.select(sa.func.count()).select_from(some.limit(MOST_COUNTED).subquery())
        columns.append(counted.scalar_subquery())
    return list(visit.site.session.execute(sa.select(*columns)).one())


def _rows(visit: Visit, listeners: Sequence[Listener]) -> list[Row]:
    ids = [each.id for each in listeners]
    stacks, last = by_listener(visit.site, ids, EACH), _last(visit.site, ids)
    rows = []
    for each in listeners:
        own = stacks.get(each.id, [])
        rows.append(
            Row(
                listener=each,
                wanted=in_words(each),
                good=sum(stack.good for stack in own),
                bad=sum(stack.bad for stack in own),
                spark=spark_of(own) if own else None,
                last=last.get(each.id),
            )
        )
    return rows


def _last(site: Site, ids: Sequence[int]) -> dict[int, Last]:
    """Return the newest delivery to each listener: two queries, whatever they had before."""
    if not ids:
        return {}
    newest = (
        sa.select(Job.id)
        .where(Job.listener_id == Listener.id, Job.kind == DELIVER)
        .order_by(Job.id.desc())
        .limit(1)
        .correlate(Listener)
        .scalar_subquery()
    )
    these = sa.select(newest).where(Listener.id.in_(ids))
    columns = (Job.id, Job.listener_id, Job.state, Job.due_at, Job.finished_at)
    jobs = site.session.execute(sa.select(*columns).where(Job.id.in_(these))).all()
    attempts = last_attempts(site, [job.id for job in jobs])
    found = {}
    for job in jobs:
        tried = attempts.get(job.id)
        found[job.listener_id] = Last(
            job_id=job.id,
            state=job.state,
            at=tried.started_at if tried else job.finished_at or job.due_at,
            status_code=tried.status_code if tried else None,
            outcome=tried.outcome if tried else "",
        )
    return found


# --- what is done to those that are ticked --------------------------------------------------------------


def _pause(visit: Visit) -> ResponseReturnValue:
    done = _switch(visit, switching.pause, "pause")
    if done:
        visit.say(ngettext("%(n)s listener is paused.", "%(n)s listeners are paused.", done))
    return visit.back()


def _resume(visit: Visit) -> ResponseReturnValue:
    done = _switch(visit, switching.resume, "resume")
    if done:
        visit.say(ngettext("%(n)s listener has its events.", "%(n)s listeners have their events.", done))
    return visit.back()


def _switch(visit: Visit, do: Callable[[Site, Listener], None], action: str) -> int:
    """Switch those that can be, and say of the others why not."""
    done, reasons = 0, []
    for listener in visit.chosen(Listener, Right.manage):
        try:
            change_state(visit, listener, do, action)
        except ValueError as error:
            reasons.append(str(error))
        else:
            done += 1
    if reasons:
        refused = ngettext(
            "%(n)s listener stays as it is:", "%(n)s listeners stay as they are:", len(reasons)
        )
        visit.say(f"{refused} {reasons[0]}", level="bad")
    return done


def _delete(visit: Visit) -> ResponseReturnValue:
    chosen = visit.chosen(Listener, Right.manage)
    if not request.form.get("confirm"):
        return visit.confirm(
            ngettext("Delete %(n)s listener?", "Delete %(n)s listeners?", len(chosen)),
            _("What waits for them is given up, and their secrets are forgotten. Nobody can undo that."),
            label=_("Delete"),
            back=_("Hooks and listeners"),
            named=[each.url for each in chosen],
            values={"id": [each.id for each in chosen]},
            tone="danger",
        )
    for listener in chosen:
        delete(visit, listener)
    visit.say(ngettext("%(n)s listener is deleted.", "%(n)s listeners are deleted.", len(chosen)))
    return visit.back()


SCREENS: Final = (
    Screen(
        name="hooks",
        rule="/hooks",
        show=_show,
        actions={
            "pause": Action(right=Right.manage, run=_pause),
            "resume": Action(right=Right.manage, run=_resume),
            "delete": Action(right=Right.manage, run=_delete),
        },
        for_owners=True,
        owned=reach.listeners,
    ),
)
