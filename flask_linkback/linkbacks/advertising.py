"""Advertising: where a page says that it takes linkbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from werkzeug.routing import BuildError

from ..site import Site
from .targets import Targets

__all__ = [
    "PINGBACK",
    "TRACKBACK",
    "WEBMENTION",
    "pingback_server",
    "server_url",
    "trackback_place",
    "webmention_endpoint",
]

PINGBACK: Final = "linkback_pingback.endpoint"
"""The endpoint that takes pingbacks, wherever the application mounted it."""
WEBMENTION: Final = "linkback_webmention.endpoint"
"""The one that takes webmentions."""
TRACKBACK: Final = "linkback_trackback.endpoint"
"""The one that takes trackbacks; below it lie the paths of the pages that they are for."""


def pingback_server(site: Site, endpoint: str | None) -> str | None:
    """Return the absolute URL of our pingback server if pages of this endpoint take pingbacks.

    Single pages may be closed nevertheless: to know that would take a query.
    """
    return server_url(site) if _is_taken(site, "pingback", PINGBACK, endpoint) else None


def server_url(site: Site) -> str:
    """The absolute URL of our pingback server."""
    return site.url_for(PINGBACK)


def webmention_endpoint(site: Site, endpoint: str | None) -> str | None:
    """Return the absolute URL of our webmention endpoint if pages of this endpoint take webmentions."""
    return site.url_for(WEBMENTION) if _is_taken(site, "webmention", WEBMENTION, endpoint) else None


def trackback_place(
    site: Site, endpoint: str | None, values: Mapping[str, Any] | None
) -> tuple[str, str] | None:
    """Return the URL of a page that takes trackbacks, and that for its pings; None where it takes none.

    A page below another host than the public address takes none: its path alone does not name it.
    """
    if endpoint is None or not _is_taken(site, "trackback", TRACKBACK, endpoint):
        return None
    try:
        page_url = site.url_for(endpoint, **(values or {})).partition("?")[0]
    except BuildError:  # a preprocessor of the application took a part of it away
        return None
    if not page_url.startswith(f"{site.base_url}/"):
        return None
    return page_url, site.url_for(TRACKBACK) + page_url.removeprefix(f"{site.base_url}/")


def _is_taken(site: Site, protocol: str, door: str, endpoint: str | None) -> bool:
    settings = site.settings.linkbacks
    target = site.get(Targets).by_endpoint(site).get(endpoint or "")
    return (
        settings.accept
        and protocol in settings.protocols
        and site.settings.site.base_url is not None
        and door in site.app.view_functions
        and target is not None
        and target.accepts is not False
    )
