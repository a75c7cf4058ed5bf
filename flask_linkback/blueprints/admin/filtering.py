"""Filtering: which events a listener wants, put together row by row, and tried on those that happened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flask import request
from flask.typing import ResponseReturnValue

from ...errors import MatchError, MissingExtra
from ...models import Event, Listener
from ...webhooks import match, trying
from ...webhooks.dispatch import decides_itself
from ...webhooks.listeners import change_filter, hears
from ...webhooks.match import Filter
from ...webhooks.registry import HookRegistry
from . import auditing, builder, reach
from .access import Right
from .builder import OPERATORS, Builder
from .hooks import in_words, load
from .lists import WINDOW
from .screens import Action, Failed, Screen, Visit
from .words import gettext as _

__all__ = ["SCREENS"]

_LAST: Final = 50
_MOST_PATHS: Final = 150
_LEVELS: Final = 4
_LONGEST: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A filter that somebody works at: as rows or as JSON."""

    mode: str
    builder: Builder = field(default_factory=Builder)
    text: str = ""
    wanted: Filter = None
    error: str = ""
    """What is wrong with it as a whole."""

    @property
    def is_right(self) -> bool:
        return not self.error and (self.mode == "json" or self.builder.is_right)


# --- what is there --------------------------------------------------------------------------------------


def _show(visit: Visit) -> ResponseReturnValue:
    return _page(visit, _stored(visit.obj, request.args.get("mode", "")))


def _stored(listener: Listener, mode: str) -> Draft:
    """Return the filter of a listener, as rows where they can say it."""
    try:
        wanted = match.load(listener.match)
    except (MatchError, MissingExtra) as error:
        return Draft(mode="json", text=_written(listener.match), error=str(error))
    return _as_json(wanted) if mode == "json" else _as_rows(wanted)


def _as_rows(wanted: Filter) -> Draft:
    rows = builder.rows_of(wanted)
    return _as_json(wanted) if rows is None else Draft(mode="rows", builder=rows, wanted=wanted)


def _as_json(wanted: Filter) -> Draft:
    return Draft(mode="json", text=_written(match.dump(wanted)["any"]), wanted=wanted)


def _written(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _page(visit: Visit, draft: Draft, *, is_asked: bool = False) -> ResponseReturnValue:
    """Show a draft beside what it would take; ``is_asked``: saving waits for a second look."""
    listener: Listener = visit.obj
    events = reach.visible(visit, trying.recent(visit.site, listener.hook, _LAST, within=WINDOW))
    tried = trying.judge(draft.wanted, events) if draft.is_right else []
    return visit.render(
        "listener_filter",
        listener=listener,
        draft=draft,
        operators=OPERATORS,
        paths=_paths(visit, events),
        tried=tried,
        taken=sum(taken for _event, taken, _reason in tried),
        wanted=match.describe(draft.wanted) if draft.is_right else "",
        stamp_of=_digest(draft.wanted) if draft.is_right else "",
        is_asked=is_asked,
        decides=_decides(visit),
    )


def _decides(visit: Visit) -> list[str]:
    """Return the hooks that decide themselves who gets their events, of those that the listener hears of."""
    hooks = visit.site.get(HookRegistry)
    return [
        hook.name
        for hook in hooks.values()
        if decides_itself(hook) and any(hears(visit.obj, hook.name, each) for each in reach.types_of(hook))
    ]


def _paths(visit: Visit, events: Sequence[Event]) -> list[str]:
    """Return the fields that a filter can name: those that are promised, and those that were seen."""
    listener: Listener = visit.obj
    found: dict[str, None] = {}
    for hook in visit.site.get(HookRegistry).values():
        if any(hears(listener, hook.name, each) for each in reach.types_of(hook)):
            found.update(dict.fromkeys(hook.provides_args))
    for event in events:
        _walk(event.data, "", found)
        found.update(dict.fromkeys(event.changes or ()))
        if len(found) > _MOST_PATHS:
            break
    return [each for each in found if len(each) <= match.MAX_PATH][:_MOST_PATHS]


def _walk(data: Any, above: str, found: dict[str, None]) -> None:
    if not isinstance(data, dict) or above.count(".") >= _LEVELS or len(found) > _MOST_PATHS:
        return
    for name, value in data.items():
        if isinstance(value, dict) and value:
            _walk(value, f"{above}{name}.", found)
        else:
            found[f"{above}{name}"] = None


def _digest(wanted: Filter) -> str:
    """Return what stands for a filter that was tried."""
    return hashlib.sha256(json.dumps(match.dump(wanted), sort_keys=True).encode()).hexdigest()


# --- what is done to it ---------------------------------------------------------------------------------


def _filter(visit: Visit) -> ResponseReturnValue:
    """Do what the button says: "try", "save", "json", "rows", or what `builder.changed_by` knows."""
    do, draft = request.form.get("do", "try"), _said()
    if do in ("json", "rows"):
        return _page(visit, _turned(draft, do))
    if do.partition(":")[0] in ("row", "group", "drop"):
        return _page(
            visit, _checked(Draft(mode="rows", builder=_again(builder.changed_by(draft.builder, do))))
        )
    if do != "save" or not draft.is_right:
        return _page(visit, draft)
    if request.form.get("tried") != _digest(draft.wanted):
        return _page(visit, draft, is_asked=True)
    return _save(visit, draft.wanted)


def _again(rows: Builder) -> Builder:
    """Return rows with what is wrong with each, and the filter that they say."""
    said = {}
    for group, of in enumerate(rows.groups):
        for place, row in enumerate(of):
            for key, value in (("field", row.path), ("op", row.op), ("value", row.value)):
                said[f"{key}-{group}-{place}"] = value
    return builder.parse(said)


def _said() -> Draft:
    """Return the draft that a form holds."""
    if request.form.get("mode") != "json":
        return _checked(Draft(mode="rows", builder=builder.parse(request.form)))
    text = request.form.get("json", "")[:_LONGEST]
    try:
        wanted = match.read(json.loads(text) if text.strip() else {})
    except (MatchError, MissingExtra) as error:
        return Draft(mode="json", text=text, error=str(error))
    except RecursionError:
        return Draft(mode="json", text=text, error=_("This is nested too deeply."))
    except ValueError as error:
        return Draft(mode="json", text=text, error=_("This is no JSON: %(error)s", error=error))
    return Draft(mode="json", text=text, wanted=wanted)


def _checked(draft: Draft) -> Draft:
    """Return rows with what is wrong with them as a whole."""
    wanted = draft.builder.wanted
    try:
        match.dump(wanted)
    except (MatchError, MissingExtra) as error:
        return Draft(mode="rows", builder=draft.builder, error=str(error))
    return Draft(mode="rows", builder=draft.builder, wanted=wanted)


def _turned(draft: Draft, mode: str) -> Draft:
    """Return the same draft the other way, where it can be said so."""
    if not draft.is_right:
        return draft
    turned = _as_json(draft.wanted) if mode == "json" else _as_rows(draft.wanted)
    if turned.mode == mode:
        return turned
    error = _("Rows cannot say this: it joins or negates more than they do.")
    return Draft(mode="json", text=draft.text, wanted=draft.wanted, error=error)


def _save(visit: Visit, wanted: Filter) -> ResponseReturnValue:
    listener: Listener = visit.obj
    if not reach.may_ask_for(visit, listener.hook):
        raise Failed(_("Somebody else decided what this listener is told: its filter stays."))
    before = in_words(listener)
    change_filter(visit.site, listener, wanted)
    auditing.note(
        visit.site,
        "filter",
        f"listener:{listener.id}",
        before={"filter": before},
        after={"filter": in_words(listener)},
    )
    visit.say(_("The filter is saved: it counts from the next event on."))
    return visit.go("listener", id=listener.id)


SCREENS: Final = (
    Screen(
        name="listener_filter",
        rule="/listeners/<int:id>/filter",
        show=_show,
        load=load,
        actions={"filter": Action(right=Right.manage, run=_filter)},
        for_owners=True,
        owned=reach.listeners,
    ),
)
