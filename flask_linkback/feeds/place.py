"""Place: where a feed is read and as what: its site, its own address, its format, language and time zone."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from flask import Request, abort

from ..errors import ImproperlyConfigured
from ..site import Site, current_flask, find_site
from .hooks import look_up
from .hubs import hubs_for
from .paging import ARCHIVE, PAGE
from .syndication import SyndicationFeed
from .values import add_domain, iri_to_uri, is_plain, tidy

if TYPE_CHECKING:
    from .view import Feed

__all__ = ["FORMAT", "FeedSite", "Place", "addresses", "find_place"]

_PATH: Final = "/:@!$&'()*+,;=~"
"""What stands in a path as it is (RFC 3986, section 3.3)."""
FORMAT: Final = "format"
"""The argument that chooses among several formats."""


@dataclass(frozen=True, kw_only=True)
class FeedSite:
    """What templates know as ``site``: its host, with the port where it needs one, and its name."""

    domain: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a feed is read, and as what."""

    site: FeedSite
    is_secure: bool
    path: str
    """Of the feed, quoted."""
    arguments: Mapping[str, str]
    """What of the query chooses a document, in a fixed order."""
    feed_type: type[SyndicationFeed]
    language: str
    vary: Collection[str]
    """The headers of the request that chose."""
    timezone: tzinfo
    linkback: Site | None

    @property
    def origin(self) -> str:
        return f"{'https' if self.is_secure else 'http'}://{self.site.domain}"

    def own_address(self, view: Feed, obj: Any) -> str:
        """The feed's own URL: what its hook says, or where it is read."""
        said = look_up(view, "feed_url", obj)
        if view.django_compatible:
            return self.glue(said or unquote(self.path))
        return self.join(said) if said else self.address(self.arguments)

    def hubs(self, view: Feed, obj: Any) -> list[str]:
        """The hubs that tell of this document: none tells of its other pages and its archives."""
        if not self.arguments.keys().isdisjoint((ARCHIVE, PAGE)):
            return []
        hubs = hubs_for(view, obj, self.linkback)
        return list(dict.fromkeys(map(self.uri, hubs))) if hubs else []

    def address(self, arguments: Mapping[str, str]) -> str:
        """The URL of another document of the feed, by these arguments; in the same format."""
        chosen = {name: value for name, value in self.arguments.items() if name == FORMAT} | dict(arguments)
        return f"{self.origin}{self.path}{'?' if chosen else ''}{urlencode(chosen)}"

    def glue(self, url: Any) -> str:
        """Make a URL absolute as Django does."""
        return add_domain(self.site.domain, url, self.is_secure)

    def uri(self, url: Any) -> str:
        """Make a URL absolute and quote what a URI cannot have."""
        return str(iri_to_uri(self.join(url)))

    def uri_or_none(self, url: Any) -> str | None:
        """Make a URL absolute and quote it; of nothing there is none."""
        return self.uri(url) if url else None

    def join(self, url: Any) -> str:
        """Make a URL absolute as browsers do, from the root of the site (RFC 3986, section 5)."""
        if url is None:
            raise ImproperlyConfigured("A feed and each of its items need a link.")
        text = url if isinstance(url, str) else str(url)
        if text.startswith(("http://", "https://")) and is_plain(text):
            return text
        text = tidy(text)
        if text.startswith(("http://", "https://")):
            return text
        if text.startswith("/") and not text.startswith("//"):
            return f"{self.origin}{iri_to_uri(text)}"
        with contextlib.suppress(ValueError):  # what is no address, such as "//[", stays what it is
            text = urljoin(f"{self.origin}/", text)
        return str(iri_to_uri(text))


def addresses(view: Feed, obj: Any, site: Site, url: str) -> list[str]:
    """Return the URLs of the formats of a feed at a URL of ours; what the hook says stands for all."""
    said = look_up(view, "feed_url", obj)
    if said:
        return [str(iri_to_uri(urljoin(urljoin(url, "/"), tidy(str(said)))))]
    if "?" in url or view.django_compatible:
        return [url]
    return [url, *(f"{url}?{urlencode({FORMAT: each.format})}" for each in view.feed_types)]


def find_place(request: Request, view: Feed) -> Place:
    """Say where this request reads: by BASE_URL where it is known, or else by its Host header."""
    linkback = find_site()
    base = linkback.settings.site.base_url if linkback is not None else None
    if base is not None:
        parts = urlsplit(base)
        scheme, domain, root = parts.scheme, parts.netloc, parts.path
    else:
        scheme, domain, root = request.scheme, request.host, quote(request.script_root, safe=_PATH)
    language, by_visitor = (view.language, False) if view.language else _language(linkback)
    feed_type, by_type = _choose_type(view, request)
    name = linkback.settings.site.site_name if linkback is not None else None
    return Place(
        site=FeedSite(domain=domain, name=name or domain),
        is_secure=scheme == "https",
        path=f"{root}{quote(request.path, safe=_PATH)}",
        arguments={name: request.args[name] for name in view.query_arguments() if name in request.args},
        feed_type=feed_type,
        language=language,
        vary=[*(["Accept"] if by_type else []), *(["Accept-Language"] if by_visitor else [])],
        timezone=linkback.settings.feeds.timezone if linkback is not None else UTC,
        linkback=linkback,
    )


def _choose_type(view: Feed, request: Request) -> tuple[type[SyndicationFeed], bool]:
    """Choose among several formats by ``?format=``, or by what is accepted; the first for any other."""
    several = view.feed_types
    if not several:
        return view.feed_type, False
    wanted = request.args.get(FORMAT)
    if wanted is not None:
        chosen = next((each for each in several if each.format == wanted), None)
        return (chosen or abort(404, "The feed has no such format.")), False
    by_media_type = {media_type: each for each in reversed(several) for media_type in each.media_types()}
    best = request.accept_mimetypes.best_match(
        [media_type for each in several for media_type in each.media_types()]
    )
    return (by_media_type[best] if best else several[0]), True


def _language(linkback: Site | None) -> tuple[str, bool]:
    """The language of Flask-Babel, which depends on the visitor, or that of the setting."""
    if "babel" in current_flask().extensions:
        from flask_babel import get_locale

        locale = get_locale()
        if locale is not None:
            return str(locale).replace("_", "-"), True
    return (linkback.settings.feeds.language if linkback is not None else "en-us"), False
