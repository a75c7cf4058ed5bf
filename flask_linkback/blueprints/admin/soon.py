"""Soon: screens that are on their way. This module goes when they are there."""

from __future__ import annotations

from .screens import Screen

_RULES = {
    "links": "/links", "link": "/links/<int:id>", "directories": "/directories",
    "subscriptions": "/subscriptions", "subscription": "/subscriptions/<int:id>",
    "hub": "/hub", "subscriber": "/subscribers/<int:id>",
    "hooks": "/hooks", "listener_select": "/listeners/select", "listener_create": "/listeners/create",
    "listener": "/listeners/<int:id>", "listener_filter": "/listeners/<int:id>/filter",
    "receivers": "/receivers", "blocks": "/blocks", "audit": "/audit",
}  # fmt: skip


def missing(there: set[str]) -> tuple[Screen, ...]:
    return tuple(
        Screen(name=name, rule=rule, show=lambda visit: "soon", for_owners=True)
        for name, rule in _RULES.items()
        if name not in there
    )
