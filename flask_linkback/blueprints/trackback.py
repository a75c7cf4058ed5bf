"""Trackback: the endpoint that takes pings, one address for each page."""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import quote

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from ..linkbacks.advertising import TRACKBACK
from ..linkbacks.receiving import Claimed, Refusal, Refused, receive
from ..protocols import trackback
from ..site import Site, current_site
from . import door

__all__ = ["ENDPOINT", "make_blueprint"]

logger = logging.getLogger("flask_linkback.trackback")

ENDPOINT: Final = TRACKBACK

_TYPES: Final = ("", "application/x-www-form-urlencoded")
_SAFE: Final = "/!$&'()*+,;=:@~"
"""What stands in a path as it is (RFC 3986, section 3.3)."""


def make_blueprint() -> Blueprint:
    """Return the blueprint ``linkback_trackback`` with its one endpoint."""
    blueprint = Blueprint("linkback_trackback", __name__)
    blueprint.url_value_preprocessor(door.exempt_from_csrf)

    @blueprint.route("/trackback/", methods=("GET", "POST"), defaults={"path": ""})
    @blueprint.route("/trackback/<path:path>", methods=("GET", "POST"))
    def endpoint(path: str) -> BaseResponse:
        target = _target(current_site(), path)
        return _take(target) if request.method == "POST" else _show(target)

    return blueprint


def _target(site: Site, path: str) -> str:
    """Return the URL of the page that a path names, below the public address."""
    base = site.settings.site.base_url or request.url_root.rstrip("/")
    return f"{base}/{quote(path, safe=_SAFE)}"


def _take(target: str) -> Response:
    """Take a ping and answer in XML, with HTTP 200 whatever became of it (TrackBack 1.2).

    What the ping says of its page is text, and shown only where the page, once its link is found, says
    nothing itself.
    """
    error: str | None = None
    status, headers = 200, {}
    try:
        ping = _parse()
        receive(
            current_site(),
            protocol="trackback",
            source=ping.url,
            target=target,
            caller=request.remote_addr or "",
            claimed=Claimed(title=ping.title, excerpt=ping.excerpt, author_name=ping.blog_name),
        )
    except (_NotAForm, trackback.PingError) as refused:
        error = str(refused)
    except Refused as refused:
        error = refused.refusal.value
        status = 500 if refused.refusal is Refusal.application else 200
        if refused.retry_after is not None:
            headers["Retry-After"] = str(refused.retry_after)
    if error is not None:
        logger.info("Refused a trackback.", extra={"reason": error, "caller": request.remote_addr})
    body = trackback.dump_response(error)
    return Response(body, status, headers, content_type=trackback.RESPONSE_TYPE)


class _NotAForm(Exception):
    """The ping is no form."""


def _parse() -> trackback.Ping:
    if request.mimetype not in _TYPES:
        raise _NotAForm(_NotAForm.__doc__)
    charset = request.mimetype_params.get("charset")
    return trackback.parse_ping(door.body(trackback.MAX_BODY_BYTES), charset=charset)


def _show(target: str) -> BaseResponse:
    """Send a person who opens the address of the pings on to the page that they are for."""
    if not current_site().is_own(target):
        return Response("There is no such page.\n", 404, content_type="text/plain; charset=utf-8")
    return redirect(target)
