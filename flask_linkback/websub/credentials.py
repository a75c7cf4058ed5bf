"""Credentials: who we are at a hub."""

from __future__ import annotations

from collections.abc import Callable

from ..site import Site

__all__ = ["Credentials", "credentials_for"]


class Credentials:
    """The function of an application that knows who we are at a hub."""

    def __init__(self) -> None:
        self.function: Callable[[str], tuple[str, str] | None] | None = None


def credentials_for(site: Site, hub_url: str) -> tuple[str, str] | None:
    """Return user and password for a hub, by the application's function or LINKBACK_HUB_CREDENTIALS."""
    known = site.settings.websub.hub_credentials
    function = site.get(Credentials).function
    if function is not None:
        return function(hub_url)
    if isinstance(known, str):
        found: tuple[str, str] | None = site.resolve(known)(hub_url)
        return found
    return known.get(hub_url) if known is not None else None
