"""Offers: what does a target offer, by which it can be told?"""

from __future__ import annotations

from werkzeug.http import parse_options_header

from ..fetch import CHUNK, Response
from ..models import without_fragment
from ..protocols import pingback
from ..protocols.discovery import Discovery, Offer
from ..site import Site

__all__ = ["look_at"]


def look_at(site: Site, target: str, *, thorough: bool = False) -> tuple[Response, Offer]:
    """Read as much of a page as it takes to know what it offers, or all that could matter.

    One GET and no HEAD: each visit may cost an endpoint that works once (webmention.rocks, discovery 23).
    Nothing is remembered from one visit to the next. Raises `FetchError`.
    """
    reading: list[Discovery] = []
    max_bytes = site.settings.fetch.max_html_bytes

    def on_chunk(response: Response, chunk: bytes) -> bool:
        if not reading:
            reading.append(_reading(response, target, max_bytes, thorough=thorough))
        return reading[0].feed(chunk) or not 200 <= response.status < 300

    response = site.fetch.get(
        without_fragment(target),
        headers={"Accept": "text/html, */*;q=0.1"},
        max_body=max(max_bytes, pingback.MAX_SEARCH_BYTES) + CHUNK,
        on_chunk=on_chunk,
    )
    return response, reading[0].close()


def _reading(response: Response, target: str, max_bytes: int, *, thorough: bool) -> Discovery:
    media_type, options = parse_options_header(response.headers.get("Content-Type"))
    return Discovery(
        response.url,
        target=target,
        x_pingback=response.headers.get_all("X-Pingback"),
        link=response.headers.get_all("Link"),
        media_type=media_type,
        charset=options.get("charset"),
        max_bytes=max_bytes,
        thorough=thorough,
    )
