"""Advertising: where a page says that it takes linkbacks."""

from __future__ import annotations

from typing import Final

from ..site import Site
from .targets import Targets

__all__ = ["PINGBACK", "pingback_server", "server_url"]

PINGBACK: Final = "linkback_pingback.endpoint"
"""The endpoint that takes pingbacks, wherever the application mounted it."""


def pingback_server(site: Site, endpoint: str | None) -> str | None:
    """Return the absolute URL of our pingback server if pages of this endpoint take pingbacks.

    Single pages may be closed nevertheless: to know that would take a query.
    """
    settings = site.settings.linkbacks
    takes = (
        settings.accept
        and "pingback" in settings.protocols
        and site.settings.site.base_url is not None
        and PINGBACK in site.app.view_functions
        and endpoint in site.get(Targets).by_endpoint(site)
    )
    return server_url(site) if takes else None


def server_url(site: Site) -> str:
    """The absolute URL of our pingback server."""
    return site.url_for(PINGBACK)
