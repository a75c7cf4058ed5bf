"""Webmention: the endpoint that takes them, and a page for each that says what became of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa
from flask import Blueprint, Response, jsonify, render_template, request

from ..linkbacks.advertising import WEBMENTION
from ..linkbacks.erasing import ERASED
from ..linkbacks.receiving import Received, Refusal, Refused, receive
from ..linkbacks.vouching import MISSING, TROUBLES, lacks_vouch
from ..models import Mention, MentionState, MentionStatus
from ..protocols import webmention
from ..site import Site, current_site
from . import door

__all__ = ["ENDPOINT", "STATUS", "Progress", "make_blueprint", "progress_of"]

logger = logging.getLogger("flask_linkback.webmention")

ENDPOINT: Final = WEBMENTION
STATUS: Final = "linkback_webmention.status"

_TYPES: Final = ("", "application/x-www-form-urlencoded")
_KEY = re.compile(r"[0-9a-f]{32}")
_MAX_PREFILLED: Final = 2048


# --- what became of one --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a sender may know of a mention: where it stands, whether it is shown, and why not."""

    source: str
    target: str
    state: str
    """"pending", "verified", "refused" or "gone"."""
    display: str | None
    """"shown", "waiting" (for a moderator) or "not_shown", once it is verified."""
    reason: str
    """Why it is refused or gone, or nobody vouches for it while it waits, in a short word."""
    message: str
    """All of that in words."""


_STATES: Final = {
    MentionState.received: "pending",
    MentionState.verified: "verified",
    MentionState.failed: "refused",
    MentionState.gone: "gone",
}
_DISPLAYS: Final = {
    "shown": "The link was found, and the mention is shown.",
    "waiting": "The link was found. The mention waits for a moderator.",
    "not_shown": "The link was found. The mention is not shown.",
}
_UNREACHABLE: Final = "unreachable"
_REASONS: Final = {
    "no_link": "The source does not link to the target.",
    "not_html": "The source is of a type in which links cannot be looked for.",
    "too_large": "The source is too large, and no link was found in its first part.",
    "too_many_redirects": "The source redirects too often.",
    "too_slow": "The source did not answer in time.",
    _UNREACHABLE: "The source cannot be reached.",
    "http_410": "The source is gone.",
    "target_gone": "The page here is gone.",
    "given_up": "Looking at the source failed here.",
    ERASED: "What was known of it here was erased.",
}
_VOUCHES: Final = {
    MISSING: "Its site is not known here: send it again with a vouch, a page on a known site linking to it.",
    "vouch_unknown": "The page that vouches for it is on a site that is not known here.",
    "vouch_no_link": "The page that vouches for it has no link to the source's site.",
    "vouch_unreadable": "The page that vouches for it cannot be read.",
}
"""Why a vouch does not help a mention that waits."""


def progress_of(site: Site, mention: Mention) -> Progress:
    """Return what the sender of a mention may know of it.

    Of a moderator's decision no more than what everybody sees. A refused address is told as one that
    cannot be reached.
    """
    state = _STATES[mention.state]
    display = _display_of(site, mention) if state == "verified" else None
    reason = _reason_of(mention) if state in ("refused", "gone") else ""
    if state == "pending" or display == "waiting":
        reason = _vouch_reason(site, mention)
    if state == "pending":
        message = "The source was not looked at yet, or has trouble and will be looked at again."
    elif display is not None:
        message = _DISPLAYS[display]
    else:
        message = _REASONS.get(reason) or f"The source answered {reason.removeprefix('http_')}."
    if reason in _VOUCHES:
        message = f"{message} {_VOUCHES[reason]}"
    return Progress(
        source=mention.source,
        target=mention.target,
        state=state,
        display=display,
        reason=reason,
        message=message,
    )


def _display_of(site: Site, mention: Mention) -> str:
    if mention.shown:
        return "shown"
    if mention.status is not MentionStatus.pending:
        return "not_shown"
    return "shown" if site.settings.linkbacks.show_unapproved else "waiting"


def _reason_of(mention: Mention) -> str:
    known = mention.reason in _REASONS or re.fullmatch(r"http_[0-9]{3}", mention.reason)
    return mention.reason if known else _UNREACHABLE


def _vouch_reason(site: Site, mention: Mention) -> str:
    if lacks_vouch(site, mention):
        return MISSING
    return mention.reason if mention.reason in TROUBLES else ""


# --- the endpoint --------------------------------------------------------------------------------------

_RETRY_WITH_VOUCH: Final = "449 Retry With vouch"
_STATUS_CODES: Final[Mapping[Refusal, int]] = {
    Refusal.blocked: 403,
    Refusal.too_many: 429,
    Refusal.application: 500,
}
"""What is not answered with 400."""


def make_blueprint() -> Blueprint:
    """Return the blueprint ``linkback_webmention``: the endpoint, and below it the pages of its mentions."""
    blueprint = Blueprint("linkback_webmention", __name__)
    blueprint.url_value_preprocessor(door.exempt_from_csrf)

    @blueprint.route("/webmention", methods=("GET", "POST"))
    def endpoint() -> Response:
        return _take() if request.method == "POST" else _page()

    @blueprint.get("/webmention/<key>")
    def status(key: str) -> Response:
        return _status(key)

    return blueprint


def _take() -> Response:
    """Take a webmention (Webmention, section 3.2): 201 with the URL of its page, or what is wrong with it.

    Without a public address there is no such URL: 202. With VOUCH a stranger's without a vouch is taken, too,
    but waits: 449 asks for one.
    """
    if request.mimetype not in _TYPES:
        return _refuse(415, "not_a_form", f"Please send {webmention.CONTENT_TYPE}.")
    site, body = current_site(), door.body(webmention.MAX_BODY_BYTES)
    try:
        told = webmention.parse_request(body, with_vouch=site.settings.linkbacks.vouch)
        received = receive(
            site,
            protocol="webmention",
            source=told.source,
            target=told.target,
            caller=request.remote_addr or "",
            vouch=told.vouch,
        )
    except webmention.TooLarge as error:
        return _refuse(413, "too_large", str(error), body)
    except webmention.RequestError as error:
        return _refuse(400, "bad_request", str(error), body)
    except Refused as refused:
        code = _STATUS_CODES.get(refused.refusal, 400)
        response = _refuse(code, refused.refusal.name, refused.refusal.value, body)
        if refused.retry_after is not None:
            response.headers["Retry-After"] = str(refused.retry_after)
        return response
    return _accept(site, received)


def _accept(site: Site, received: Received) -> Response:
    mention = site.session.get_one(Mention, received.mention_id)
    progress = progress_of(site, mention)
    location = None
    if site.settings.site.base_url is not None:
        location = site.url_for(STATUS, key=mention.status_key)
    match _wanted("text/plain", "application/json", "text/html"):
        case "application/json":
            response = jsonify({**asdict(progress), "location": location})
        case "text/html":
            response = _html("linkback/mention.html", progress=progress, location=location)
        case _:
            thanks = f"Thank you. What becomes of it: {location}" if location else "Thank you."
            response = _text(f"{thanks}\n{_VOUCHES[MISSING]}" if progress.reason == MISSING else thanks)
    response.status_code = 202 if location is None else 201
    if progress.reason == MISSING:
        response.status = _RETRY_WITH_VOUCH
    if location is not None:
        response.headers["Location"] = location
    return door.guard(response)


def _refuse(code: int, error: str, message: str, body: bytes = b"") -> Response:
    logger.info(
        "Answered a webmention with %d.", code, extra={"reason": error, "caller": request.remote_addr}
    )
    match _wanted("text/plain", "application/json", "text/html"):
        case "application/json":
            response = jsonify(error=error, message=message)
        case "text/html":
            return _page(code, message, webmention.typed(body))
        case _:
            response = _text(message)
    response.status_code = code
    return door.guard(response)


def _page(code: int = 200, message: str = "", typed: Mapping[str, str] | None = None) -> Response:
    """The form by which people send a mention; ``?target=`` fills that field, what was ``typed`` all."""
    typed = typed or {"target": request.args.get("target", "")[:_MAX_PREFILLED]}
    vouch = current_site().settings.linkbacks.vouch
    response = _html("linkback/webmention.html", message=message, typed=typed, vouch=vouch)
    response.status_code = code
    return door.guard(response)


def _status(key: str) -> Response:
    site = current_site()
    mention = None
    if _KEY.fullmatch(key):
        mention = site.session.scalar(sa.select(Mention).where(Mention.status_key == key))
    progress = None if mention is None else progress_of(site, mention)
    if _wanted("text/html", "application/json") == "application/json":
        response = jsonify({"error": "unknown"} if progress is None else asdict(progress))
    else:
        response = _html("linkback/mention.html", progress=progress, location=None)
    response.status_code = 404 if progress is None else 200
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Vary"] = "Accept"
    return door.guard(response)


# --- how it is said ------------------------------------------------------------------------------------


def _wanted(*types: str) -> str:
    """Return the media type that the caller likes best, the first one where it does not say."""
    return request.accept_mimetypes.best_match(types, types[0])


def _text(message: str) -> Response:
    return Response(f"{message}\n", content_type="text/plain; charset=utf-8")


def _html(template: str, **values: Any) -> Response:
    return Response(render_template(template, **values), content_type="text/html; charset=utf-8")
