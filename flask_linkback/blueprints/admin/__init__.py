"""Admin: one control room for all that goes in and out; closed until the application opens it."""

from __future__ import annotations

import importlib.util
from typing import Final

from flask import Blueprint
from flask.blueprints import BlueprintSetupState

from .. import door
from . import (
    audit,
    blocks,
    creating,
    deliveries,
    directories,
    events,
    filtering,
    hooks,
    hub,
    jobs,
    links,
    listeners,
    mentions,
    overview,
    receivers,
    subscriptions,
)
from .access import Access
from .screens import Place, add_screens, check_extra
from .words import N_

__all__ = ["NAME", "Access", "is_installed", "make_blueprint"]

NAME: Final = "linkback_admin"
_SCREENS: Final = (
    *overview.SCREENS,
    *mentions.SCREENS,
    *links.SCREENS,
    *directories.SCREENS,
    *blocks.SCREENS,
    *subscriptions.SCREENS,
    *hub.SCREENS,
    *receivers.SCREENS,
    *hooks.SCREENS,
    *creating.SCREENS,
    *listeners.SCREENS,
    *filtering.SCREENS,
    *events.SCREENS,
    *deliveries.SCREENS,
    *jobs.SCREENS,
    *audit.SCREENS,
)
_PLACES: Final = (
    ("", (Place(screen="overview", label=N_("Overview")),)),
    (
        N_("Linkbacks"),
        (
            Place(screen="mentions", label=N_("Mentions"), count=mentions.WAITING, screens=("mention",)),
            Place(screen="links", label=N_("Links"), screens=("link",)),
            Place(screen="directories", label=N_("Directories")),
            Place(screen="blocks", label=N_("Blocks")),
        ),
    ),
    (
        N_("WebSub"),
        (
            Place(screen="subscriptions", label=N_("Subscriptions"), screens=("subscription",)),
            Place(screen="hub", label=N_("Hub"), screens=("subscriber",)),
        ),
    ),
    (
        N_("Webhooks"),
        (
            Place(
                screen="hooks",
                label=N_("Hooks and listeners"),
                screens=("listener", "listener_select", "listener_create", "listener_filter"),
            ),
            Place(screen="events", label=N_("Events"), screens=("event",)),
            Place(screen="deliveries", label=N_("Deliveries"), screens=("delivery",)),
            Place(screen="receivers", label=N_("Receivers"), screens=("receipt",)),
        ),
    ),
    (
        N_("House"),
        (
            Place(screen="jobs", label=N_("Jobs"), count=overview.DEAD, screens=("job",)),
            Place(screen="audit", label=N_("Audit")),
        ),
    ),
)


def is_installed() -> bool:
    """Are the libraries of the extra ``[admin]`` there?"""
    return importlib.util.find_spec("flask_wtf") is not None


def make_blueprint() -> Blueprint:
    """Return the blueprint ``linkback_admin``: every screen, behind one guard.

    It may be registered more than once, under other names and addresses. Raises `MissingExtra` where it is
    registered without the extra ``[admin]``.
    """
    blueprint = Blueprint(NAME, __name__)
    blueprint.url_value_preprocessor(door.exempt_from_csrf)
    blueprint.record(_check)
    add_screens(blueprint, _SCREENS, _PLACES)
    return blueprint


def _check(_state: BlueprintSetupState) -> None:
    check_extra()
