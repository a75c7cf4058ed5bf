"""Audit: who did what, when, to what, and what that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import url_for
from flask.typing import ResponseReturnValue

from ...models import Audit
from .lists import Listing, Text
from .screens import Screen, Visit
from .words import N_, cut

__all__ = ["SCREENS", "Change", "changes_of"]

_PAGES: Final = frozenset(
    ("delivery", "event", "job", "link", "listener", "mention", "receipt", "subscriber", "subscription")
)
"""What has a page of its own, under its name and number."""
_MOST_CHANGES: Final = 6
_LONGEST_VALUE: Final = 60


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of one value; ``""`` where there was none, or is none."""

    name: str
    before: str = ""
    after: str = ""


LIST: Final = Listing(
    model=Audit,
    filters=(
        Text(
            name="who",
            label=N_("Who"),
            hint="ada@example.org",
            condition=lambda value: Audit.who.contains(value, autoescape=True),
        ),
        Text(
            name="action",
            label=N_("Action"),
            hint="moderate",
            condition=lambda value: Audit.action == value,
        ),
        Text(
            name="object_key",
            label=N_("What"),
            hint="mention:7",
            condition=lambda value: Audit.object_key == value,
            indexed=True,
        ),
    ),
)


def changes_of(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Sequence[Change]:
    """Return what differs between two records, a few values of it, each as a short line."""
    old, new = before or {}, after or {}
    differ = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [
        Change(name=cut(name, _LONGEST_VALUE), before=_said(old.get(name)), after=_said(new.get(name)))
        for name in differ[:_MOST_CHANGES]
    ]


def _said(value: Any) -> str:
    return "" if value is None else cut(value, _LONGEST_VALUE)


def page_of(visit: Visit, object_key: str) -> str:
    """Return the address of what something was done to; "" where it has no page for this visitor."""
    kind, _, name = object_key.partition(":")
    if kind == "block" and "blocks" in visit.screens:
        return url_for(".blocks", value=name)
    has_number = name.isascii() and name.isdigit() and len(name) < 19
    if kind not in _PAGES or kind not in visit.screens or not has_number:
        return ""
    return url_for(f".{kind}", id=int(name))


def _list(visit: Visit) -> ResponseReturnValue:
    rows = LIST.read(visit.site.session)
    return visit.render(
        "audit",
        rows=rows,
        pages={row.id: page_of(visit, row.object_key) for row in rows},
        changes={row.id: changes_of(row.before, row.after) for row in rows},
    )


SCREENS: Final = (Screen(name="audit", rule="/audit", show=_list),)
