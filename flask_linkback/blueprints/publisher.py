"""Publisher: pages that are no feed, and say which hub tells of them (WebSub, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote_plus, urljoin, urlsplit

from flask import Response, request
from markupsafe import Markup

from ..protocols import link_header
from ..protocols.websub import link_values
from ..site import Site, current_site
from ..websub.publisher import MARK, hubs_of, what_says

__all__ = ["Published", "advertise", "linkback_hub_links", "publish_page"]

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

    def websub_topics(
        self, site: Site, url: str, args: Mapping[str, Any]
    ) -> Sequence[tuple[str, Sequence[str]]]:
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


def linkback_hub_links() -> Markup:
    """Write the ``<link>`` elements of a page that `publisher` decorates: its hubs, and what it is called.

    For the head; they say what its Link headers say. For all other pages there are none.
    """
    found = _links_of_this_page()
    if found is None:
        return Markup()
    hubs, own_address = found
    links = [*((hub, "hub") for hub in hubs), (own_address, "self")]
    return Markup("\n").join(Markup('<link rel="{}" href="{}">').format(rel, url) for url, rel in links)


def _links_of_this_page() -> tuple[list[str], str] | None:
    """Return the hubs of the page that is being served, and its URL; None where it is no topic."""
    site = current_site()
    published = what_says(site.app.view_functions.get(request.endpoint or ""))
    if not isinstance(published, Published):
        return None
    hubs = [urljoin(own_address := published.own_address(site), hub) for hub in published.hubs_of(site)]
    return (list(dict.fromkeys(hubs)), own_address) if hubs else None


def advertise(response: Response) -> Response:
    """Say on a page that is a topic which hubs tell of it, and what it is called: in its Link headers.

    What the view says itself in such a header stays: there is exactly one ``rel="self"``.
    """
    if response.status_code not in (200, 304) or request.method not in ("GET", "HEAD"):
        return response
    found = _links_of_this_page()
    if found is None:
        return response
    hubs, own_address = found
    said = link_header.parse(response.headers.getlist("Link"))
    known = {link.url for link in said if "hub" in link.rels}
    *its_hubs, itself = link_values(hubs, own_address)
    for hub, value in zip(hubs, its_hubs, strict=True):
        if hub not in known:
            response.headers.add("Link", value)
    if not any("self" in link.rels for link in said):
        response.headers.add("Link", itself)
    return response
