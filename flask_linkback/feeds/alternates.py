"""Alternates: what the head of a page says of feeds, so that readers find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import has_request_context, url_for

from ..errors import ConfigError, did_you_mean
from ..site import Site, current_site
from .hooks import look_up_alone
from .place import FORMAT
from .syndication import SyndicationFeed
from .view import Feed

__all__ = ["Alternate", "linkback_feed_links"]


@dataclass(frozen=True, kw_only=True)
class Alternate:
    """A feed as ``<link rel="alternate">`` names it: media type, title and absolute URL."""

    type: str
    title: str
    href: str


Named = str | tuple[str, Mapping[str, Any]] | tuple[str, Mapping[str, Any], str]


def linkback_feed_links(*feeds: Named) -> Sequence[Alternate]:
    """Return what `linkback_feeds` draws for some feeds: one of each of their formats.

    A feed is named by its endpoint, or by a tuple of that, the arguments of its URL and perhaps a title. Else
    its title is what the hook ``title`` says where that asks for no object, or the name of the site. An
    endpoint that is no feed raises `ConfigError`.
    """
    site = current_site()
    found: list[Alternate] = []
    for each in feeds:
        endpoint, values, *titles = (each, {}) if isinstance(each, str) else each
        feed = _feed_at(site, endpoint)
        title = titles[0] if titles else look_up_alone(feed, "title")
        for feed_type, chosen in _formats(feed):
            href = _address(site, endpoint, {**values, **chosen})
            said = title if title is not None else site.settings.site.site_name or urlsplit(href).netloc
            found.append(Alternate(type=feed_type.media_types()[0], title=str(said), href=href))
    return found


def _feed_at(site: Site, endpoint: str) -> Feed:
    views = site.app.view_functions
    feed = _feed_of(views.get(endpoint))
    if feed is None:
        near = did_you_mean(endpoint, [name for name, view in views.items() if _feed_of(view) is not None])
        raise ConfigError(f"{endpoint!r} is no feed of this application.{near}")
    return feed


def _feed_of(view: Any) -> Feed | None:
    """Return the feed behind a view, seen through decorators with ``functools.wraps``."""
    while view is not None:
        for each in (view, getattr(view, "feed", None)):
            if isinstance(each, Feed):
                return each
        view = getattr(view, "__wrapped__", None)
    return None


def _formats(feed: Feed) -> Sequence[tuple[type[SyndicationFeed], Mapping[str, str]]]:
    """The formats of a feed, each with what its URL says to choose it."""
    if not feed.feed_types:
        return [(feed.feed_type, {})]
    return [(each, {FORMAT: each.format}) for each in feed.feed_types]


def _address(site: Site, endpoint: str, values: dict[str, Any]) -> str:
    """The public URL; without BASE_URL that by which the page is read, as the feeds themselves do."""
    if site.settings.site.base_url is None and has_request_context():
        return url_for(endpoint, _external=True, **values)
    return site.url_for(endpoint, **values)
