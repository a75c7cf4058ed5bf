"""Webhooks: the addresses at which those of others are received."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, request

from ..errors import BadSignature
from ..protocols import handshake
from ..site import Site, current_site
from ..webhooks.receiving import Receiver, Receivers, TooMany, receive
from . import door

__all__ = ["make_blueprint"]

logger = logging.getLogger("flask_linkback.webhooks")


def make_blueprint() -> Blueprint:
    """Return the blueprint ``linkback_webhooks``: one endpoint, ``receive``, with a name in its path."""
    blueprint = Blueprint("linkback_webhooks", __name__)
    blueprint.url_value_preprocessor(door.exempt_from_csrf)

    @blueprint.route(
        "/receive/<name>",
        endpoint="receive",
        methods=("POST", "OPTIONS"),
        provide_automatic_options=False,
    )
    def endpoint(name: str) -> Response:
        return door.guard(_answer(current_site(), name))

    return blueprint


def _answer(site: Site, name: str) -> Response:
    """Take a webhook, or say to whoever asks that they are wanted.

    202 for one that is from whom it should be, also for a repeat: the application is called later, once.
    """
    receiver = site.get(Receivers).get(name)
    if receiver is None:
        return _refuse(404, "Nobody here receives under that name.", name[:64])
    if request.method == "OPTIONS":
        asked = {header.lower(): value for header, value in request.headers.items()}
        return Response(status=200, headers=handshake.allow(asked))
    at_most = site.settings.fetch.max_body_bytes
    body = door.body(at_most)
    if len(body) > at_most:
        return _refuse(413, "The webhook is too large.", name)
    return _take(site, receiver, body)


def _take(site: Site, receiver: Receiver, body: bytes) -> Response:
    try:
        verified = receive(
            site, receiver, headers=request.headers.items(), body=body, caller=request.remote_addr or ""
        )
    except BadSignature as error:
        # which of the things was wrong is ours to know
        return _refuse(401, "The signature is missing or wrong.", receiver.name, str(error))
    except TooMany as error:
        response = _refuse(429, "Too many.", receiver.name, "The signature is missing or wrong, too often.")
        response.headers["Retry-After"] = str(error.retry_after)
        return response
    if verified.challenge is not None:
        return _say(200, verified.challenge, end="")
    return _say(202, "Thank you.")


def _refuse(status: int, message: str, name: str, reason: str = "") -> Response:
    logger.info(
        "Answered a webhook with %d.",
        status,
        extra={"reason": reason or message, "receiver": name, "caller": request.remote_addr},
    )
    return _say(status, message)


def _say(status: int, text: str, *, end: str = "\n") -> Response:
    return Response(f"{text}{end}", status, content_type="text/plain; charset=utf-8")
