"""Soon: screens that are on their way. This module goes when they are there."""

from __future__ import annotations

from .screens import Screen

_RULES = {
    "deliveries": "/deliveries", "delivery": "/deliveries/<int:id>",
    "events": "/events", "event": "/events/<int:id>",
}  # fmt: skip


def missing(there: set[str]) -> tuple[Screen, ...]:
    return tuple(
        Screen(name=name, rule=rule, show=lambda visit: "soon", for_owners=True)
        for name, rule in _RULES.items()
        if name not in there
    )
