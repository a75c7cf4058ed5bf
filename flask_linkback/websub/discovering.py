"""Discovering: which topic is at a URL, and which hubs deliver it?"""

from __future__ import annotations

from werkzeug.http import parse_options_header

from ..fetch import Response
from ..models import without_fragment
from ..outbox.replies import is_success
from ..protocols import websub
from ..protocols.websub import Offer
from ..site import Site

__all__ = ["discover", "look_at", "offer_of"]

ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, text/html;q=0.9, "
    "application/xml;q=0.8, */*;q=0.7"
)
"""What a reader of feeds likes; a publisher may have several representations (WebSub, section 4.1)."""


def discover(site: Site, url: str) -> Offer:
    """Fetch a page or feed, redirects followed, and say what it offers (WebSub, section 4).

    An answer that is no success offers nothing. Raises `FetchError`.
    """
    return look_at(site, url)[1]


def look_at(site: Site, url: str) -> tuple[Response, Offer]:
    """Return what was answered, too."""
    response = site.fetch.get(without_fragment(url), headers={"Accept": ACCEPT}, purpose="topic")
    return response, offer_of(response)


def offer_of(response: Response) -> Offer:
    """Return what a topic offers that was fetched already."""
    if not is_success(response):
        return websub.discover(response.url)
    media_type, options = parse_options_header(response.headers.get("Content-Type"))
    return websub.discover(
        response.url,
        link=response.headers.get_all("Link"),
        body=response.body,
        media_type=media_type,
        charset=options.get("charset"),
    )
