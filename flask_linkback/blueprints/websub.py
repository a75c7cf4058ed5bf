"""WebSub: the callbacks that hubs ask whether we meant it, and to which they bring content."""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING, ClassVar, Final

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from flask.views import View

from ..protocols.websub import RequestError
from ..site import Site, current_site
from ..websub.callbacks import REHEARSAL, Gone, NotAsked, Unknown, answer, find, is_signed
from ..websub.contents import Received, store
from . import door

if TYPE_CHECKING:
    from ..models import Subscription, SubscriptionRequest

__all__ = ["CallbackView", "make_blueprint"]

logger = logging.getLogger("flask_linkback.websub")

_LONGEST_HEADER: Final = 8192
_LONGEST_TOKEN: Final = 64
_ENCODINGS: Final = ("", "identity", "gzip", "x-gzip", "deflate")


class CallbackView(View):
    """A callback of a subscription; ``Linkback(db=db, callback_view=MyCallback)`` takes another one.

    A subclass may override `handle_content`, which runs in the hub's request, once the signature was found
    right. Answers are those of WebSub, sections 5.3 and 7: 404 for an unknown callback and for a question
    that nobody waits for, 410 for one that is over, 400 for what is not understood, 202 for content,
    LINKBACK_WEBSUB_BAD_SIGNATURE_STATUS for content that is not signed as it should be, 413 for too much,
    415 for an encoding other than gzip and deflate.
    """

    methods: ClassVar[tuple[str, ...]] = ("GET", "POST")
    init_every_request = False

    def dispatch_request(self, *, token: str = "") -> ResponseReturnValue:
        """Answer a hub."""
        site = current_site()
        if request.method == "HEAD":  # which could not say a challenge
            response = _say(405, "Please use GET or POST.")
            response.allow.update(("GET", "POST"))
            return response
        try:
            if len(token) > _LONGEST_TOKEN:
                raise Unknown
            return self._take(site, token) if request.method == "POST" else _confirm(site, token)
        except Unknown:
            return _say(404, "There is no such subscription.")
        except Gone:
            return _say(410, "This subscription is over.")
        except NotAsked:
            return _say(404, "Nobody here asked for that.")
        except RequestError as error:
            return _say(400, str(error))

    def handle_content(self, subscription: Subscription, content: Received) -> None:
        """Keep the content, so that the signal `updated` is sent once it is committed.

        ``subscription`` and what this writes to ``db.session`` are committed after it. What it raises is
        answered 500: the hub tries again.
        """
        store(current_site(), subscription, content)

    def _take(self, site: Site, token: str) -> Response:
        subscription, asked = find(site, token)
        if asked.verified_at is None:
            raise Unknown  # what nobody confirmed is no subscription yet
        at_most = site.settings.fetch.max_body_bytes
        body = door.body(at_most)
        if len(body) > at_most:
            return _say(413, "The content is too large.")
        if not is_signed(site, asked, body, request.headers.get("X-Hub-Signature")):
            logger.info(
                "Passed over content with a missing or wrong signature.",
                extra={"subscription": subscription.id, "caller": request.remote_addr},
            )
            status = site.settings.websub.websub_bad_signature_status
            return _say(status, "The signature is missing or wrong.")
        if asked.mode == REHEARSAL:
            store(site, subscription, _received(asked, body))
            site.session.rollback()  # the database would take it, and nobody hears of it
            return _say(202, "Thank you.")
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            return _say(415, "Please send the content as it is, or by gzip.")
        if encoding not in ("", "identity"):
            try:
                body = _decoded(body, at_most)
            except zlib.error:
                return _say(400, "The content is not encoded as it says.")
            if len(body) > at_most:
                return _say(413, "The content is too large.")
        self.handle_content(subscription, _received(asked, body))
        site.session.commit()
        return _say(202, "Thank you.")


def make_blueprint(view: type[CallbackView] = CallbackView) -> Blueprint:
    """Return the blueprint ``linkback_websub``: one endpoint, ``callback``, with the token in its path."""
    blueprint = Blueprint("linkback_websub", __name__)
    blueprint.url_value_preprocessor(door.exempt_from_csrf)
    blueprint.add_url_rule("/websub/<token>", view_func=view.as_view("callback"))
    return blueprint


def _confirm(site: Site, token: str) -> Response:
    # a proof that we read it, and nothing that a browser would take for a page
    return _say(200, answer(site, token, request.args), end="")


def _decoded(body: bytes, at_most: int) -> bytes:
    """Return what was sent by gzip or deflate; of what is too large a little more than allowed."""
    return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, at_most + 1)


def _received(asked: SubscriptionRequest, body: bytes) -> Received:
    links = ", ".join(request.headers.getlist("Link"))
    kept = {"Link": links, "User-Agent": request.user_agent.string}
    return Received(
        body=body,
        content_type=request.headers.get("Content-Type", "")[:_LONGEST_HEADER],
        headers={name: value[:_LONGEST_HEADER] for name, value in kept.items() if value},
        request_id=asked.id,
    )


def _say(status: int, text: str, *, end: str = "\n") -> Response:
    response = Response(f"{text}{end}", status, content_type="text/plain; charset=utf-8")
    return door.guard(response)
