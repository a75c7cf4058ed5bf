"""Publishing: one page goes out, in the caller's transaction, to all who want to know."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .changes import BulkStatement, Change, Kind, Watch, Watches, note_call
from .errors import BaseURLMissing, FetchError
from .linkbacks.sending import owe_links
from .linkbacks.targets import key_of, read
from .models import Page, PageState, digest, without_fragment
from .outbox import jobs
from .outbox.jobs import Claim, Outcome
from .protocols.html import outgoing_links
from .site import Site, current_site

__all__ = ["PUBLISH", "expand", "ping_external_links", "publish", "split_urls"]

logger = logging.getLogger("flask_linkback.publishing")

PUBLISH: Final = "publish_page"
"""The kind of job that turns a page into a link for each of its targets."""
How = str | Callable[[Any], Any]


def publish(url: str, html: str | bytes | None = None, targets: Iterable[str] | None = None) -> None:
    """Tell the pages that a page of ours links to, once the current transaction commits.

    ``html`` is the page, or the part of it that has the links; without it the worker fetches the
    page. ``targets``, a list or a string of URLs, are told exactly. An unchanged page is told once.
    """
    site = current_site()
    session = site.session
    if targets is not None:
        _owe_page(site, session, url, split_urls(targets), complete=False)
    elif html is not None:
        _owe_page(site, session, url, outgoing_links(html, site.absolute(url)), content=html)
    else:
        _owe_page(site, session, url, None)
    note_call(session, "publish")


def split_urls(urls: str | Iterable[str]) -> list[str]:
    """Return the URLs of a list, or of a string such as ``"https://a.example/; https://b.example/"``.

    A string is split before each ``http://`` and ``https://``, so that a semicolon within a URL stays.
    """
    if not isinstance(urls, str):
        return [url.strip() for url in urls if url.strip()]
    found = []
    rest = urls
    while rest:
        ahead = [at for scheme in ("http://", "https://") if (at := rest.find(scheme, 1)) > 0]
        # a scheme inside a URL, as in a proxy's path, begins no new one
        ahead = [at for at in ahead if rest[at - 1] in "; ,\t\r\n"]
        cut = min(ahead, default=len(rest))
        found.append(rest[:cut].strip("; ,\t\r\n"))
        rest = rest[cut:]
    return [url for url in found if url.startswith(("http://", "https://"))]


def _owe_page(
    site: Site,
    session: Session,
    url: str,
    targets: Sequence[str] | None,
    *,
    content: str | bytes | None = None,
    object_key: str | None = None,
    complete: bool = True,
) -> None:
    """Write the page's row and its job, unless this very content was told already."""
    source = site.absolute(url)
    key = digest(without_fragment(source))
    told = _content_digest(content)
    page = session.scalar(sa.select(Page).where(Page.key == key))
    if page is None:
        page = Page(key=key, url=source, state=PageState.published, published_at=site.now())
        session.add(page)
    elif told is not None and page.digest == told and page.state is PageState.published:
        return
    page.state = PageState.published
    page.changed_at = site.now()
    page.digest = told or page.digest
    page.object_key = object_key or page.object_key
    page.object_hash = digest(page.object_key) if page.object_key else None
    payload = {"url": source, "targets": targets, "object_key": object_key, "complete": complete}
    jobs.add(session, [jobs.NewJob(kind=PUBLISH, payload=payload)])


def _content_digest(content: str | bytes | None) -> str | None:
    if content is None:
        return None
    return digest(content if isinstance(content, str) else content.decode("utf-8", "surrogateescape"))


def expand(site: Site, claim: Claim) -> Outcome:
    """Handle a job: owe each target of a page its linkback."""
    url, targets = claim.payload["url"], claim.payload["targets"]
    if targets is None:
        try:
            response = site.fetch.get(url, max_body=site.settings.fetch.max_html_bytes)
        except FetchError as error:
            return jobs.again(f"{error.kind}: {error}")
        if not 200 <= response.status < 300:
            return jobs.again(f"The page answers {response.status}.")
        targets = outgoing_links(response.body, response.url)
    session = site.session
    owe_links(
        site,
        session,
        url,
        targets,
        object_key=claim.payload.get("object_key"),
        complete=claim.payload.get("complete", True),
    )
    session.commit()
    return jobs.done()


# --- models whose objects are pages ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _LinkWatcher:
    """Publishes the objects of a model when they are created or changed."""

    content: How | None
    targets: How | None
    url: How
    when: Callable[[Any], Any] | None

    def __call__(self, session: Session, changes: Sequence[Change | BulkStatement]) -> None:
        site = current_site()
        for change in changes:
            if isinstance(change, Change) and change.kind is not Kind.deleted:
                self.publish(site, session, change.obj)

    def publish(self, site: Site, session: Session, obj: Any) -> None:
        if self.when is not None and not self.when(obj):
            return
        url = str(read(obj, self.url))
        object_key = key_of(obj)
        # not here: without a public address there is no URL to tell
        if site.settings.site.base_url is None and not url.startswith(("http://", "https://")):
            raise BaseURLMissing
        if self.targets is not None:
            targets = split_urls(read(obj, self.targets) or ())
            if targets:
                _owe_page(site, session, url, targets, object_key=object_key, complete=False)
        if self.content is not None:
            html = read(obj, self.content) or ""
            links = outgoing_links(html, site.absolute(url))
            _owe_page(site, session, url, links, content=html, object_key=object_key)


def ping_external_links(
    watches: Watches,
    model: type[Any],
    content: How | None = None,
    url: How = "url",
    when: Callable[[Any], Any] | None = None,
    targets: How | None = None,
) -> None:
    """Tell the pages that objects of a model link to, whenever one is created or changed.

    ``content`` (HTML), ``url`` and ``targets`` are attribute names, method names or callables that
    take the object; ``when`` says whether the object is to be told at all. Without content and
    targets there is nothing to tell: TypeError.
    """
    if content is None and targets is None:
        raise TypeError("ping_external_links() needs content or targets: where are the links?")
    watches.watch(
        Watch(
            name=f"ping_external_links({model.__name__})",
            model=model,
            callback=_LinkWatcher(content=content, targets=targets, url=url, when=when),
        )
    )
