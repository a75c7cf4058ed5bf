"""Hub: the endpoint of our own, for subscribers and publishers, and a page that says what it is."""

from __future__ import annotations

import logging
from typing import Final

from flask import Blueprint, Response, abort, render_template, request

from ..protocols import hub
from ..protocols.hub import Ping, RequestError, TooLarge
from ..site import current_site
from ..websub.hub import ENDPOINT, Refusal, Refused, figures_of, ping, receive
from . import door

__all__ = ["make_blueprint"]

logger = logging.getLogger("flask_linkback.hub")

MAX_SECONDS: Final = 60
"""How long others may keep the page."""
_TYPES: Final = ("", hub.CONTENT_TYPE)
_STATUS_CODES: Final = {Refusal.foreign_topic: 403, Refusal.no_address: 403, Refusal.too_many: 429}
"""What is not answered with 400."""
_NAME, _, _VIEW = ENDPOINT.partition(".")


def make_blueprint() -> Blueprint:
    """Return the blueprint ``linkback_hub``: one address for all that a hub is asked."""
    blueprint = Blueprint(_NAME, __name__)
    blueprint.url_value_preprocessor(door.exempt_from_csrf)

    @blueprint.before_request
    def look_for_the_switch() -> None:
        if not current_site().settings.websub.hub_enabled:
            abort(404)

    @blueprint.route("/hub", endpoint=_VIEW, methods=("GET", "POST"))
    def endpoint() -> Response:
        return door.guard(_take() if request.method == "POST" else _page())

    return blueprint


def _take() -> Response:
    """Take what a subscriber or publisher asks (WebSub, section 5.1.2), and answer in plain text.

    202 for what is to be verified, whatever comes of that; 204 for a publisher.
    """
    if request.mimetype not in _TYPES:
        return _refuse(415, f"Please send {hub.CONTENT_TYPE}.")
    site, caller = current_site(), request.remote_addr or ""
    try:
        asked = hub.parse_request(door.body(hub.MAX_BODY_BYTES))
        if isinstance(asked, Ping):
            ping(site, asked, caller=caller)
            return Response(status=204)
        receive(site, asked, caller=caller)
    except TooLarge as error:
        return _refuse(413, str(error))
    except RequestError as error:
        return _refuse(400, str(error))
    except Refused as refused:
        response = _refuse(_STATUS_CODES.get(refused.refusal, 400), refused.refusal.value)
        if refused.retry_after is not None:
            response.headers["Retry-After"] = str(refused.retry_after)
        return response
    return _say(202, "Thank you. The callback is asked next.")


def _refuse(status: int, message: str) -> Response:
    logger.info(
        "Answered a request to the hub with %d.",
        status,
        extra={"reason": message, "caller": request.remote_addr},
    )
    return _say(status, message)


def _say(status: int, message: str) -> Response:
    return Response(f"{message}\n", status, content_type="text/plain; charset=utf-8")


def _page() -> Response:
    site = current_site()
    body = render_template(
        "linkback/hub.html",
        figures=figures_of(site),
        any_topic=site.settings.websub.hub_topics == "any",
        leases=site.settings.websub.hub_lease_seconds,
    )
    response = Response(body, content_type="text/html; charset=utf-8")
    response.cache_control.max_age = MAX_SECONDS
    return response
