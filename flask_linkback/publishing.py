"""Publishing: one page goes out, in the caller's transaction, to all who want to know."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from .changes import BulkStatement, Change, Kind, Watch, Watches, note_call
from .errors import AddressRefused, FetchError, UnknownTarget
from .fetch import Response
from .linkbacks.sending import owe_links
from .linkbacks.targets import key_of, read
from .linkbacks.text import storable
from .models import Page, PageState, digest, without_fragment
from .outbox import jobs
from .outbox.jobs import AttemptMade, Claim, Outcome
from .protocols.html import outgoing_links
from .site import Site, current_site

__all__ = ["PUBLISH", "expand", "ping_external_links", "publish", "split_urls"]

PUBLISH: Final = "publish_page"
"""The kind of job that turns a page into a link for each of its targets."""
How = str | Callable[[Any], Any]
_LONGEST_URL: Final = 2048
_page: Final = Page.__table__
# a place, not the separators before it: those may be many, and would be tried from each of them
_NEXT_URL = re.compile(r"(?<=[;,\s])(?=https?://)", re.IGNORECASE)


def publish(url: str, html: str | bytes | None = None, targets: Iterable[str] | None = None) -> None:
    """Tell the pages that a page of ours links to, once the current transaction commits.

    ``html`` is the page, or the part of it that has the links; without it the worker fetches the
    page. ``targets``, a list or a string of URLs, are told exactly. An unchanged page is told once.
    Raises `BaseURLMissing`, and `UnknownTarget` for a page that is not ours.
    """
    site = current_site()
    _ = site.base_url  # without one no page is ours
    if not site.is_own(site.absolute(url)):
        raise UnknownTarget(
            f"{url} is no page of this site: its host is not among LINKBACK_BASE_URL and LINKBACK_HOSTS."
        )
    if _owe_page(site, site.session, url, html=html, targets=targets):
        note_call(site.session, "publish")


def split_urls(urls: str | Iterable[str]) -> list[str]:
    """Return the URLs of a list, or of a string such as ``"https://a.example/; https://b.example/"``.

    A string is split before each ``http://`` and ``https://``, so that a semicolon within a URL stays.
    """
    if isinstance(urls, str):
        urls = [words[0].rstrip(";,") for piece in _NEXT_URL.split(urls) if (words := piece.split())]
    found = (storable(url.strip(), _LONGEST_URL) for url in urls)
    return list(dict.fromkeys(url for url in found if url.lower().startswith(("http://", "https://"))))


def _owe_page(
    site: Site,
    session: Session,
    url: str,
    *,
    html: str | bytes | None = None,
    targets: Iterable[str] | None = None,
    object_key: str | None = None,
) -> bool:
    """Write the page's row and its job, unless this very content was told already; say whether.

    Content, or the page itself, is the whole of what it links to; targets alone leave other links be.
    """
    _ = site.base_url  # without one there is nothing that others could fetch
    source = site.absolute(url)
    links: list[str] | None = None
    if html is not None:
        links = [storable(link, _LONGEST_URL) for link in outgoing_links(html, source)]
    if targets is not None:
        links = list(dict.fromkeys([*(links or ()), *split_urls(targets)]))
    whole = html is not None or targets is None
    if not whole and not links:
        return False
    now = site.now()
    row = {"url": source, "state": PageState.published, "changed_at": now}
    if object_key is not None:
        row |= {"object_key": object_key, "object_hash": digest(object_key)}
    if whole:
        row["digest"] = None if html is None else _digest(html, links or ())
    if not _write_page(session, row, whole=whole):
        return False
    payload = {"url": source, "targets": links, "object_key": object_key, "whole": whole}
    jobs.add(session, [jobs.NewJob(kind=PUBLISH, payload={**payload, "changed_at": now.isoformat()})])
    return True


def _digest(html: str | bytes, links: Iterable[str]) -> str:
    text = html if isinstance(html, str) else html.decode("utf-8", "surrogateescape")
    return digest(text, *links)


def _write_page(session: Session, row: dict[str, Any], *, whole: bool) -> bool:
    """Write the row of a page; False when it says this very thing already.

    One statement, so that two transactions which publish the same page do not fail each other.
    """
    dialect = session.get_bind(clause=_page.select()).dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    key = digest(without_fragment(row["url"]))
    statement = insert(_page).values(**row, key=key, published_at=row["changed_at"])
    new = {name: statement.excluded[name] for name in row if whole or name != "changed_at"}
    differs = None
    if row.get("digest") is not None:  # else nobody knows before the page is fetched
        differs = sa.or_(_page.c.state != PageState.published, _page.c.digest.is_distinct_from(row["digest"]))
    statement = statement.on_conflict_do_update(index_elements=["key"], set_=new, where=differs)
    return session.execute(statement.returning(_page.c.id)).first() is not None


def expand(site: Site, claim: Claim) -> Outcome:
    """Handle a job: owe each target of a page its linkback."""
    url, targets = claim.payload["url"], claim.payload["targets"]
    whole = claim.payload["whole"]
    attempt: AttemptMade | None = None
    if targets is None:
        started_at = site.now()
        try:
            response = site.fetch.get(url, max_body=site.settings.fetch.max_html_bytes)
        except FetchError as error:
            attempt = _attempt(site, url, started_at, error=error)
            end = jobs.dead if isinstance(error, AddressRefused) else jobs.again
            return end(f"{error.kind}: {error}", attempt=attempt)
        attempt = _attempt(site, url, started_at, response=response)
        if not 200 <= response.status < 300:
            return jobs.again(f"The page answers {response.status}.", attempt=attempt)
        targets = [storable(link, _LONGEST_URL) for link in outgoing_links(response.body, response.url)]
    session = site.session
    changed_at = _lock_page(session, url)
    if whole and changed_at is not None and changed_at.isoformat() != claim.payload["changed_at"]:
        session.rollback()
        return jobs.done("A later version of the page was published.", attempt=attempt)
    owe_links(site, session, url, targets, object_key=claim.payload["object_key"], complete=whole)
    session.commit()
    return jobs.done(attempt=attempt)


def _attempt(
    site: Site,
    url: str,
    started_at: datetime,
    *,
    response: Response | None = None,
    error: FetchError | None = None,
) -> AttemptMade:
    status = response.status if response is not None else None
    if error is not None:
        outcome = error.kind
    else:
        outcome = "done" if status is None or 200 <= status < 300 else f"http_{status}"
    return AttemptMade(
        started_at=started_at,
        seconds=(site.now() - started_at).total_seconds(),
        outcome=outcome,
        url=url,
        address=response.address if response is not None else None,
        status_code=status,
        reason=str(error or ""),
    )


def _lock_page(session: Session, url: str) -> datetime | None:
    """Keep others from the links of a page until the transaction ends; return when it was changed."""
    here = _page.c.key == digest(without_fragment(url))
    # a write that changes nothing: it locks the row, on SQLite the database
    session.execute(sa.update(_page).where(here).values(key=_page.c.key))
    return session.scalar(sa.select(_page.c.changed_at).where(here))


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
                self._publish(site, session, change.obj)

    def _publish(self, site: Site, session: Session, obj: Any) -> None:
        if self.when is not None and not self.when(obj):
            return
        html = None if self.content is None else read(obj, self.content) or ""
        targets = None if self.targets is None else read(obj, self.targets) or ()
        if site.settings.site.base_url is None and not targets and not outgoing_links(html or "", ""):
            return  # a site that does not know its address can still save a page that tells nobody
        with site.building_urls():
            url = str(read(obj, self.url))
        _owe_page(site, session, url, html=html, targets=targets, object_key=key_of(obj))


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
    for name, how in (("content", content), ("url", url), ("targets", targets)):
        if isinstance(how, str) and not hasattr(model, how):
            raise TypeError(f"{model.__name__} has no {how!r}: say by {name}= what it is called there.")
    watches.watch(
        Watch(
            name=f"ping_external_links({model.__name__})",
            model=model,
            callback=_LinkWatcher(content=content, targets=targets, url=url, when=when),
        )
    )
