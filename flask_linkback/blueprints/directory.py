"""Directory: our own, which weblogs tell by weblogUpdates that they have something new, and its lists."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from flask import Blueprint, Response, abort, request

from ..linkbacks.weblogs import LISTED_FOR, LISTED_SHORTLY_FOR, Declined, Refusal, changes_of, take
from ..protocols import weblogupdates, xmlrpc
from ..protocols.weblogupdates import CHANGES_TYPE, PingError, Result
from ..site import Site, current_site
from . import door
from .pingback import Methods

__all__ = ["MAX_SECONDS", "add_methods", "make_blueprint"]

logger = logging.getLogger("flask_linkback.directory")

MAX_SECONDS: Final = 60
"""How long others may keep a list."""
_TYPES: Final = ("", "application/x-www-form-urlencoded")
_STATUS_CODES: Final = {Refusal.blocked: 403, Refusal.too_many: 429, Refusal.full: 503}
"""What is not answered with 400."""


def _is_directory(site: Site) -> bool:
    return site.settings.linkbacks.directory_server


# --- by XML-RPC ----------------------------------------------------------------------------------------


def add_methods(methods: Methods) -> None:
    """Let the XML-RPC endpoint of a site that is a directory take the pings of weblogs."""
    methods.register(weblogupdates.PING, _ping, returns="struct", args=["string"] * 3, when=_is_directory)
    methods.register(
        weblogupdates.EXTENDED_PING, _extended_ping, returns="struct", args=["string"] * 5, when=_is_directory
    )


def _ping(name: str, url: str, changes_url: str = "") -> dict[str, xmlrpc.Value]:
    """Tell our directory that the weblog at ``url`` has something new.

    Returns a struct: ``flerror`` says whether something was wrong, ``message`` what. The page that
    changed may be named too; no more is made of it.
    """
    return _answer(name, url)


def _extended_ping(
    name: str, url: str, changes_url: str, feed_url: str | None = None, tags: str = ""
) -> dict[str, xmlrpc.Value]:
    """Tell our directory that the weblog at ``url`` has something new, and where its feed is.

    In the order of weblogs.com: name, URL, the page that changed, the feed, tags; or by three: name,
    URL, feed. Returns a struct: ``flerror`` says whether something was wrong, ``message`` what.
    """
    # WordPress leaves out the page that changed
    return _answer(name, url, changes_url if feed_url is None else feed_url)


def _answer(name: str, url: str, feed_url: str = "") -> dict[str, xmlrpc.Value]:
    try:
        ping = weblogupdates.make_ping(name, url, feed_url)
        message = take(current_site(), ping, caller=request.remote_addr or "")
    except (PingError, Declined) as error:
        _log(error)
        return weblogupdates.dump_answer(Result(ok=False, message=str(error)))
    return weblogupdates.dump_answer(Result(ok=True, message=message))


def _log(error: Exception) -> None:
    """Leave one record of a ping that was not taken."""
    logger.info("Refused the ping of a weblog.", extra={"reason": str(error), "caller": request.remote_addr})


# --- by a form, and the lists -----------------------------------------------------------------------------


def make_blueprint() -> Blueprint:
    """Return the blueprint ``linkback_directory``: the form of pings, and the lists."""
    blueprint = Blueprint("linkback_directory", __name__)
    blueprint.url_value_preprocessor(door.exempt_from_csrf)

    @blueprint.before_request
    def look_for_the_switch() -> None:
        if not _is_directory(current_site()):
            abort(404)

    # the names that they have at weblogs.com
    @blueprint.route("/pingSiteForm", methods=("GET", "POST"))
    def form() -> Response:
        return door.guard(_take())

    @blueprint.get("/changes.xml")
    def changes() -> Response:
        return door.guard(_list(LISTED_FOR))

    @blueprint.get("/shortChanges.xml")
    def short_changes() -> Response:
        return door.guard(_list(LISTED_SHORTLY_FOR))

    return blueprint


def _take() -> Response:
    """Take a ping by weblogs.com's REST interface, and answer in plain text."""
    if request.method == "HEAD":  # who only looks has told nothing
        return _say(200, "")
    is_post = request.method == "POST"
    if is_post and request.mimetype not in _TYPES:
        return _say(415, "Please send application/x-www-form-urlencoded.")
    form = door.body(weblogupdates.MAX_BODY_BYTES) if is_post else request.query_string
    try:
        message = take(current_site(), weblogupdates.parse_form(form), caller=request.remote_addr or "")
    except PingError as error:
        _log(error)
        return _say(400, str(error))
    except Declined as declined:
        _log(declined)
        response = _say(_STATUS_CODES.get(declined.refusal, 400), str(declined))
        if declined.retry_after is not None:
            response.headers["Retry-After"] = str(declined.retry_after)
        return response
    return _say(200, message)


def _say(status: int, message: str) -> Response:
    response = Response(f"{message}\n", status, content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response


def _list(window: timedelta) -> Response:
    """Answer with the weblogs that told us within a time."""
    found = changes_of(current_site(), window)
    body = weblogupdates.dump_changes(found.weblogs, updated=found.updated, count=found.count)
    response = Response(body, content_type=CHANGES_TYPE)
    response.last_modified = found.updated
    response.cache_control.max_age = MAX_SECONDS
    response.add_etag()
    response.make_conditional(request)
    return response
