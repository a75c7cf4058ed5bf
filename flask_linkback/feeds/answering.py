"""Answering: a feed as a response: unchanged, from the cache, whole or as it is written."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from flask import Request, Response, stream_with_context
from werkzeug.exceptions import NotFound

from ..protocols.websub import link_values
from .conditional import Validators, checksum, digest
from .extensions import dated
from .hooks import look_up
from .paging import NoSuchPart
from .place import find_place
from .values import iri_to_uri

if TYPE_CHECKING:
    from .view import Feed

__all__ = ["Answer", "calling_items"]

_VERSION: Final = importlib.metadata.version("flask-linkback")


class Answer:
    """The answer to one request for a feed."""

    def __init__(self, view: Feed, obj: Any, request: Request) -> None:
        self._view = view
        self._obj = obj
        self._request = request
        self._place = find_place(request, view)

    def give(self) -> Response:
        """Say that nothing changed, or give the feed."""
        known = self._known_before()
        if known.are_known_to(self._request):
            return self._response((), known, status=304)
        # what is streamed says no more of itself than is known before
        if self._request.method == "HEAD" and (known or self._view.stream):
            return self._response((), known)
        if self._view.stream:
            return self._response(self._streamed(), known)
        body, validators = self._whole(known)
        if validators.are_known_to(self._request):
            return self._response((), validators, status=304)
        return self._response(body, validators)

    def _known_before(self) -> Validators:
        """What is known of the feed's state without its items."""
        last_modified = self._ask("last_modified")
        if last_modified is not None:
            last_modified = dated(last_modified, self._place.timezone, "last_modified")
        etag = self._ask("etag")
        if last_modified is None and etag is None:
            return Validators()
        # two documents of one state may differ in a byte, such as the address of an item
        return Validators(
            last_modified=last_modified, etag=digest(self._name, last_modified, etag), weak=True
        )

    def _ask(self, hook: str) -> Any:
        return look_up(self._view, hook, self._obj)

    @cached_property
    def _name(self) -> str:
        """Which document this is: of two with the same name, one is older."""
        view, place = type(self._view), self._place
        return "\n".join(
            (
                _VERSION,
                view.__module__,
                view.__qualname__,
                view.cache_version,
                place.feed_type.__qualname__,
                place.origin,
                place.path,
                str(place.arguments),
                place.language,
                *self._hubs,
            )
        )

    @cached_property
    def _hubs(self) -> Sequence[str]:
        return self._place.hubs(self._view, self._obj)

    # --- bodies --------------------------------------------------------------------------------------

    def _whole(self, known: Validators) -> tuple[list[bytes], Validators]:
        """All of the feed, with what it says of its state."""
        cache = self._view.cache
        key = f"linkback-feed-{digest(self._name, known.etag)}"
        if cache is not None and (kept := cache.get(key)) is not None:
            body, said, etag = kept
            last_modified = datetime.fromisoformat(said) if said else None
        else:
            with calling_items():
                feed = self._view.feed_to_write(self._obj, self._request)
                body = list(feed.chunks())
            last_modified, etag = feed.updated(), checksum(body)
            if cache is not None:
                said = last_modified.isoformat() if last_modified is not None else ""
                cache.set(key, (body, said, etag), timeout=self._view.cache_seconds)
        return body, known or Validators(last_modified=last_modified, etag=etag)

    def _streamed(self) -> Iterator[bytes]:
        """The feed as its items come; its beginning is there before the status is sent."""

        def chunks() -> Iterator[bytes]:
            with calling_items():
                yield from self._view.feed_to_write(self._obj, self._request).chunks()

        written = stream_with_context(chunks())
        return chain([next(written)], _closing(written))

    # --- headers -------------------------------------------------------------------------------------

    def _response(self, body: Iterable[bytes], validators: Validators, *, status: int = 200) -> Response:
        response = Response(body, status, content_type=self._place.feed_type.content_type)
        # HEAD must not say 0 where GET says more (RFC 9110, section 8.6)
        response.automatically_set_content_length = False
        if isinstance(body, list):
            response.content_length = sum(map(len, body))
        validators.put_on(response)
        max_age = self._view.max_age
        response.headers["Cache-Control"] = "no-cache" if max_age is None else f"max-age={max_age}"
        if self._place.vary:
            response.vary.update(self._place.vary)
        if self._hubs:
            own_address = iri_to_uri(self._place.own_address(self._view, self._obj))  # as the document says
            for value in link_values(self._hubs, own_address):
                response.headers.add("Link", value)
        return response


def _closing(written: Iterator[bytes]) -> Iterator[bytes]:
    """What is left of a stream, which is ended when nobody reads on."""
    with contextlib.closing(written):  # type: ignore[type-var]  # a generator
        yield from written


@contextlib.contextmanager
def calling_items() -> Iterator[None]:
    """See to it that what is missing within a feed is a fault of it, not a feed that is missing."""
    try:
        yield
    except NoSuchPart:
        raise
    except NotFound as error:
        raise RuntimeError("An item of the feed raised NotFound: only get_object() may.") from error
