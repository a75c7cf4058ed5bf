"""Publisher: pages that are no feed, and say which hub tells of them (WebSub, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote_plus, urljoin, urlsplit

from flask import Response, request

from ..protocols import link_header
from ..protocols.websub import link_values
from ..site import Site, current_site
from ..websub.publisher import MARK, hubs_of, what_says

__all__ = ["Published", "advertise", "publish_page"]

V = TypeVar("V")

_PATH: Final = "/:@!$&'()*+,;=~"
"""What stands in a path as it is (RFC 3986, section 3.3)."""
_TRACKING: Final = frozenset(
    {
        *(
            "fbclid",
            "gclid",
            "dclid",
            "gbraid",
            "wbraid",
            "msclkid",
            "twclid",
            "ttclid",
            "li_fat_id",
            "yclid",
        ),
        *("igshid", "igsh", "srsltid", "_openstat", "_ga", "_gl", "_hsenc", "_hsmi", "mkt_tok", "s_cid"),
        *("mc_cid", "mc_eid", "oly_anon_id", "oly_enc_id", "vero_id", "wickedid", "rb_clickid", "epik"),
    }
)
"""What campaigns add to a URL; the page is the same."""
_TRACKING_PREFIXES: Final = ("utm_", "mtm_", "matomo_", "pk_", "hsa_")


@dataclass(frozen=True, kw_only=True)
class Published:
    """How a page is published: ``hubs`` None are those of the site, ``args`` None all that do not track."""

    hubs: Sequence[str] | None = None
    self_url: str | Callable[[], str] | None = None
    args: Collection[str] | None = None

    def topics(self, site: Site, url: str, args: Mapping[str, Any]) -> Sequence[tuple[str, Sequence[str]]]:
        """Return the topic that the page at a URL is, with its hubs."""
        said = self.self_url if isinstance(self.self_url, str) else None
        return [(urljoin(url, said) if said is not None else url, self.hubs_of(site))]

    def hubs_of(self, site: Site) -> Sequence[str]:
        return hubs_of(site) if self.hubs is None else self.hubs

    def own_address(self, site: Site) -> str:
        """Return the URL of the page that is being served, as the topic is called.

        By BASE_URL where it is known, and with those arguments of the query that choose the page.
        """
        base = site.settings.site.base_url
        root = request.host_url.rstrip("/") + quote(request.script_root, safe=_PATH) if base is None else base
        if base is not None and site.routes_by_host and site.is_own(request.host_url):
            public = urlsplit(site.public(request.host_url))
            root = f"{public.scheme}://{public.netloc}{urlsplit(base).path}"
        url = f"{root.rstrip('/')}{quote(request.path, safe=_PATH)}"
        said = self.self_url() if callable(self.self_url) else self.self_url
        return urljoin(url, said) if said else f"{url}{self._query()}"

    def _query(self) -> str:
        pairs = request.query_string.decode("ascii", "replace").split("&")
        kept = [pair for pair in pairs if pair and self._counts(unquote_plus(pair.partition("=")[0]))]
        return f"?{'&'.join(kept)}" if kept else ""

    def _counts(self, name: str) -> bool:
        if self.args is not None:
            return name in self.args
        return name not in _TRACKING and not name.startswith(_TRACKING_PREFIXES)


def publish_page(
    view: V | None = None,
    *,
    hubs: Iterable[str] | str | None = None,
    self_url: str | Callable[[], str] | None = None,
    args: Iterable[str] | str | None = None,
) -> Any:
    """Decorate a view whose page is a topic: its answers say so. Above or below ``@app.route``, as you like.

    The view is only marked: it may be a coroutine, a class or what ``as_view`` returns.
    """
    published = Published(hubs=_several(hubs), self_url=self_url, args=_several(args))

    def mark(view: V) -> V:
        setattr(view, MARK, published)
        return view

    return mark if view is None else mark(view)


def _several(said: Iterable[str] | str | None) -> tuple[str, ...] | None:
    return said if said is None else (said,) if isinstance(said, str) else tuple(said)


def advertise(response: Response) -> Response:
    """Say on a page that is a topic which hubs tell of it, and what it is called: in its Link headers.

    What the view says itself in such a header stays: there is exactly one ``rel="self"``.
    """
    if response.status_code not in (200, 304) or request.method not in ("GET", "HEAD"):
        return response
    site = current_site()
    published = what_says(site.app.view_functions.get(request.endpoint or ""))
    if not isinstance(published, Published):
        return response
    said = link_header.parse(response.headers.getlist("Link"))
    hubs = [site.absolute(hub) if site.settings.site.base_url else hub for hub in published.hubs_of(site)]
    if not hubs:
        return response
    known = {link.url for link in said if "hub" in link.rels}
    has_self = any("self" in link.rels for link in said)
    *its_hubs, itself = link_values(hubs, published.own_address(site))
    for hub, value in zip(dict.fromkeys(hubs), its_hubs, strict=True):
        if hub not in known:
            response.headers.add("Link", value)
    if not has_self:
        response.headers.add("Link", itself)
    return response
