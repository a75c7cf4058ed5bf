"""Door: what the endpoints for strangers have in common."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from ..linkbacks.advertising import pingback_server, webmention_endpoint
from ..site import current_site

__all__ = ["advertise", "body", "exempt_from_csrf", "guard"]

_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def exempt_from_csrf(endpoint: str | None, values: Any) -> None:
    """Exempt the blueprint that is about to serve from an installed Flask-WTF CSRFProtect.

    In the request, so that it does not matter which of the two was initialised first.
    """
    app = current_site().app
    protect = app.extensions.get("csrf")
    if protect is not None and request.blueprint is not None:
        protect.exempt(app.blueprints[request.blueprint])


def body(at_most: int) -> bytes:
    """Return the body of the request; of one that is too large a little more than allowed, at most."""
    # one byte more than allowed: what comes in chunks is cut at the limit without a word
    request.max_content_length = at_most + 1
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        return bytes(at_most + 1)


def guard(response: Response) -> Response:
    """Let an answer be no more than it is: no script, no frame, nothing for search engines."""
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Robots-Tag"] = "noindex"
    return response


def advertise(response: Response) -> Response:
    """Say on a page that takes linkbacks where they go.

    By ``X-Pingback`` (Pingback 1.0, section 2) and ``Link`` (Webmention, section 3.1.2).
    """
    if response.status_code == 200 and request.method in ("GET", "HEAD"):
        site = current_site()
        server = pingback_server(site, request.endpoint)
        if server is not None:
            response.headers["X-Pingback"] = server
        endpoint = webmention_endpoint(site, request.endpoint)
        if endpoint is not None:
            response.headers.add("Link", f'<{endpoint}>; rel="webmention"')
    return response
