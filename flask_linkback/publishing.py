"""Publishing: one page goes out, in the caller's transaction, to all who want to know."""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import RelationshipDirection, Session, class_mapper, object_session

from .changes import BulkStatement, Change, Kind, Watch, Watches, note_call
from .errors import AddressRefused, ConfigError, FetchError, UnknownTarget, did_you_mean
from .fetch import check_url
from .linkbacks.directories import owe_pings
from .linkbacks.moving import move_mentions, release_mentions
from .linkbacks.pages import Absences
from .linkbacks.sending import owe_links, owe_move
from .linkbacks.targets import moment_of, read
from .models import Job, Page, PageState, digest, key_of, without_fragment
from .outbox import jobs
from .outbox.jobs import AttemptMade, Claim, Outcome
from .outbox.replies import attempt_of, is_success
from .outbox.writers import Writers
from .protocols.html import MAX_TITLE_CHARACTERS, outgoing_links
from .protocols.summary import MAX_EXCERPT_CHARACTERS, summarise
from .protocols.text import storable
from .site import Site, current_site
from .websub.publisher import Topic, hubs_of, published_at, topics_at, topics_of, withdraw_pings
from .websub.publisher import owe_pings as owe_hubs

__all__ = [
    "PUBLISH",
    "expand",
    "gone",
    "moved",
    "ping_directories",
    "ping_external_links",
    "ping_on_change",
    "publish",
    "split_urls",
]

PUBLISH: Final = "publish_page"
"""The kind of job that turns a page into a link for each of its targets."""
How = str | Callable[[Any], Any]
_LONGEST_URL: Final = 2048
_page: Final = Page.__table__
# a place, not the separators before it: those may be many, and would be tried from each of them
_NEXT_URL = re.compile(r"(?<=[;,\s])(?=https?://)", re.IGNORECASE)


def publish(
    url: str,
    html: str | bytes | None = None,
    targets: Iterable[str] | None = None,
    feeds: Iterable[str] = (),
    hubs: Iterable[str] | None = None,
) -> None:
    """Tell the pages that a page of ours links to, directories and hubs, once the transaction commits.

    ``html`` is the page, or the part of it that has the links; without it the worker fetches the
    page. ``targets``, a list or a string of URLs, are told exactly. ``feeds`` are the URLs of the feeds
    that have the page, for the directories and for the hubs of each; ``hubs`` are told instead of those.
    A page that `publisher` decorates is told of like a feed. An unchanged page is told once. Raises
    `BaseURLMissing`, `AddressRefused` for a hub that is no URL, and `UnknownTarget` for a page that is not
    ours.
    """
    site = current_site()
    named = (hubs,) if isinstance(hubs, str) else None if hubs is None else tuple(hubs)
    for hub in named or ():
        check_url(hub)
    url = _own(site, url)
    if _owe_page(site, site.session, url, html=html, targets=targets):
        feed_urls = [site.absolute(feed) for feed in ((feeds,) if isinstance(feeds, str) else feeds)]
        for feed_url in feed_urls:
            owe_pings(site, site.session, url, feed_url=feed_url)
        if not feed_urls:
            owe_pings(site, site.session, url)
        for topic in [*published_at(site, url), *(t for feed in feed_urls for t in topics_at(site, feed))]:
            owe_hubs(site, site.session, topic.url, topic.hubs if named is None else named)
        note_call(site.session, "publish")


def gone(url: str) -> None:
    """Say that a page of ours was taken away, once the current transaction commits.

    Its URL answers 410 until it is published again, and who was told of its links is told of their end.
    Raises `BaseURLMissing`, and `UnknownTarget` for a page that is not ours.
    """
    site = current_site()
    url = _own(site, url)
    if _end_page(site, site.session, url):
        note_call(site.session, "gone")


def moved(old_url: str, new_url: str) -> None:
    """Say that a page of ours has another address, once the current transaction commits.

    The old URL answers 301, the page's mentions are those of the new one, and the targets of its links
    are told by the new one. Raises `BaseURLMissing`, `UnknownTarget` for a page that is not ours or not
    there yet, and `ValueError` when both are the same or the page moved elsewhere before.
    """
    site = current_site()
    session = site.session
    old, new = without_fragment(_own(site, old_url)), without_fragment(_own(site, new_url))
    if old == new:
        raise ValueError(f"The page at {old} cannot move to its own address.")
    now = site.now()
    said = [_page.c[name] for name in ("object_key", "object_hash", "digest", "title", "excerpt")]
    columns = sa.select(_page.c.state, _page.c.moved_to, *said)
    page = session.execute(columns.where(_page.c.key == digest(old))).first()
    if page is not None and page.state is PageState.moved:
        if page.moved_to == new:
            return
        raise ValueError(
            f"The page at {old} moved to {page.moved_to} already: move it from there, or publish first what "
            "is at the old address now."
        )
    move_mentions(site, session, old, new, object_key=page.object_key if page is not None else None)
    there: dict[str, Any] = {} if page is None else dict(page._mapping)  # the same page: nothing new to tell
    # what was published there is there no more: who publishes anew at the old address has nothing of it
    empty = {"object_key": None, "object_hash": None}
    there |= {"url": new, "state": PageState.published, "moved_to": None, "changed_at": now}
    _write_page(session, there, differs=_page.c.state != PageState.published)
    _write_page(session, {"url": old, "state": PageState.moved, "moved_to": new, "changed_at": now, **empty})
    # who came here by an earlier move goes on at once
    earlier = sa.update(_page).where(_page.c.state == PageState.moved, _page.c.moved_to == old)
    session.execute(earlier.values(moved_to=new))
    owe_move(site, session, old, new)
    site.get(Absences).expect(now)
    note_call(session, "moved")


def _own(site: Site, url: str) -> str:
    """Return the absolute URL of a page of ours, in the spelling by which it is asked for."""
    _ = site.base_url  # without one no page is ours
    url = site.absolute(url)
    if not site.is_own(url):
        raise UnknownTarget(
            f"{url} is no page of this site: its host is not among LINKBACK_BASE_URL and LINKBACK_HOSTS."
        )
    return site.public(url)


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
    title: str = "",
) -> bool:
    """Write the page's row and its job, unless this very content was told already; say whether.

    Content, or the page itself, is the whole of what it links to; targets alone leave other links be.
    ``title`` is for content that has none.
    """
    _ = site.base_url  # without one there is nothing that others could fetch
    source = site.public(site.absolute(url))
    links: list[str] | None = None
    if html is not None:
        links = [storable(link, _LONGEST_URL) for link in outgoing_links(html, source)]
    if targets is not None:
        links = list(dict.fromkeys([*(links or ()), *split_urls(targets)]))
    whole = html is not None or targets is None
    if not whole and not links:
        return False
    now = site.now()
    row = {"url": source, "state": PageState.published, "moved_to": None, "changed_at": now}
    if object_key is not None:
        row |= {"object_key": object_key, "object_hash": digest(object_key)}
    if html is not None:
        row |= _said(html, links or (), title=title)
    differs = None
    if html is not None:  # else nobody knows before the page is fetched
        differs = sa.or_(_page.c.state != PageState.published, _page.c.digest.is_distinct_from(row["digest"]))
    if not _write_page(session, row, kept=() if whole else ("changed_at",), differs=differs):
        return False
    # without content nobody knows before the page is fetched, and of targets alone nobody does
    changed = html is not None
    _add_job(session, source, now, targets=links, object_key=object_key, whole=whole, changed=changed)
    return True


def _end_page(site: Site, session: Session, url: str) -> bool:
    """Write that a page is gone and owe its targets this news, unless it is gone already; say whether."""
    now = site.now()
    row = {"url": url, "state": PageState.gone, "moved_to": None, "digest": None, "changed_at": now}
    if not _write_page(session, row, differs=_page.c.state != PageState.gone):
        return False
    _add_job(session, url, now, targets=[])
    site.get(Absences).expect(now)
    return True


def _add_job(
    session: Session,
    url: str,
    changed_at: datetime,
    *,
    targets: Sequence[str] | None,
    object_key: str | None = None,
    whole: bool = True,
    changed: bool = False,
) -> None:
    payload = {
        "url": url,
        "targets": targets,
        "object_key": object_key,
        "whole": whole,
        "changed": changed,
        "changed_at": changed_at.isoformat(),
    }
    jobs.add(session, [jobs.NewJob(kind=PUBLISH, payload=payload, key=_key(url))])


def _key(url: str) -> str:
    return digest(without_fragment(url))


def _said(html: str | bytes, links: Iterable[str], *, title: str = "") -> dict[str, Any]:
    """What the row of a page keeps of its content."""
    text = html if isinstance(html, str) else html.decode("utf-8", "surrogateescape")
    summary = summarise(html)
    return {
        "digest": digest(text, *links),
        "title": storable(summary.title or title, MAX_TITLE_CHARACTERS),
        "excerpt": storable(summary.excerpt, MAX_EXCERPT_CHARACTERS),
    }


def _write_page(
    session: Session,
    row: dict[str, Any],
    *,
    kept: Collection[str] = (),
    differs: sa.ColumnElement[bool] | None = None,
) -> bool:
    """Write the row of a page, ``kept`` columns only where it is new; False when nothing ``differs``.

    One statement, so that two transactions which publish the same page do not fail each other.
    """
    dialect = session.get_bind(clause=_page.select()).dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(_page).values(**row, key=_key(row["url"]), published_at=row["changed_at"])
    new = {name: statement.excluded[name] for name in row if name not in kept}
    statement = statement.on_conflict_do_update(index_elements=["key"], set_=new, where=differs)
    return session.execute(statement.returning(_page.c.id)).first() is not None


def expand(site: Site, claim: Claim) -> Outcome:
    """Handle a job: owe each target of a page its linkback."""
    url, targets = claim.payload["url"], claim.payload["targets"]
    said: dict[str, Any] = {}
    attempt: AttemptMade | None = None
    if targets is None:
        started_at = site.now()
        try:
            response = site.fetch.get(url, max_body=site.settings.fetch.max_html_bytes)
        except FetchError as error:
            attempt = attempt_of(site, url, started_at, error)
            end = jobs.dead if isinstance(error, AddressRefused) else jobs.again
            return end(f"{error.kind}: {error}", attempt=attempt)
        attempt = attempt_of(site, url, started_at, response)
        if not is_success(response):
            return jobs.again(f"The page answers {response.status}.", attempt=attempt)
        targets = [storable(link, _LONGEST_URL) for link in outgoing_links(response.body, response.url)]
        said = _said(response.body, targets)
    write = functools.partial(_owe_targets, site, claim, targets, said)
    if not site.get(Writers).record(site.engine, site.session, write):
        return jobs.done("A later version of the page was published.", attempt=attempt)
    return jobs.done(attempt=attempt)


def _owe_targets(site: Site, claim: Claim, targets: Iterable[str], said: Mapping[str, Any]) -> bool:
    """Owe each target its linkback, unless the page was published anew meanwhile, and commit.

    ``said`` is what a page that was fetched says: it changed if it did not say so before.
    """
    session = site.session
    url, whole, changed = claim.payload["url"], claim.payload["whole"], claim.payload.get("changed", False)
    if not jobs.is_ours(session, claim):
        session.rollback()  # we slept past the lease, and somebody else has done it
        return True
    page = _lock_page(session, url)
    if page is not None and page.owed_by == claim.id and claim.attempts > 1:
        session.rollback()  # a worker that vanished had done it: its links may be on their way
        return True
    if page is not None and page.state is PageState.moved:  # before this could be done
        url, whole = page.moved_to, False
        _lock_page(session, url)
    elif page is not None:
        if whole and page.changed_at.isoformat() != claim.payload["changed_at"]:
            session.rollback()
            return False
        if said:
            changed = page.digest != said["digest"]
            session.execute(sa.update(_page).where(_page.c.id == page.id).values(said))
    if whole:
        targets = [*targets, *_targets_since(session, url, claim.id)]
    key = claim.payload["object_key"]
    owe_links(site, session, url, targets, object_key=key, complete=whole, changed=changed)
    session.execute(
        sa.update(_page).where(_page.c.key == _key(claim.payload["url"])).values(owed_by=claim.id)
    )
    session.commit()
    return True


def _targets_since(session: Session, url: str, job_id: int) -> list[str]:
    """Return the targets that were published alone after this job was written.

    Jobs may run in any order, and the whole of a page must not take back what came after it.
    """
    later = sa.select(Job.payload).where(Job.key == _key(url), Job.kind == PUBLISH, Job.id > job_id)
    payloads = session.scalars(later.order_by(Job.id))
    return [target for payload in payloads if not payload["whole"] for target in payload["targets"]]


def _lock_page(session: Session, url: str) -> Any:
    """Keep others from the links of a page until the transaction ends; return its row or None."""
    here = _page.c.key == _key(url)
    # a write that changes nothing: it locks the row, on SQLite the database
    session.execute(sa.update(_page).where(here).values(key=_page.c.key))
    return session.execute(sa.select(_page).where(here)).first()


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
        seen = [change for change in changes if isinstance(change, Change)]
        # first, so that an object which takes the place of another has it
        for change in seen:
            if change.kind is Kind.deleted:
                _end_pages_of(site, session, change.obj)
        for change in seen:
            if change.kind is not Kind.deleted:
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
        title = getattr(obj, "title", None)
        _owe_page(
            site,
            session,
            url,
            html=html,
            targets=targets,
            object_key=key_of(obj),
            title=title if isinstance(title, str) else "",
        )


def _end_pages_of(site: Site, session: Session, obj: Any) -> None:
    """A deleted object has no URL to ask for any more: its pages are those that it published."""
    key = key_of(obj)
    if key is None:
        return
    here = sa.select(_page.c.url).where(
        _page.c.object_hash == digest(key), _page.c.state == PageState.published
    )
    for url in session.scalars(here).all():
        _end_page(site, session, url)
    release_mentions(session, key)


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


# --- models whose objects are news for directories ----------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _DirectoryWatcher:
    """Tells the directories of the objects of a model when they are created or changed."""

    url: How
    feed_url: How | None
    when: Callable[[Any], Any] | None

    def __call__(self, session: Session, changes: Sequence[Change | BulkStatement]) -> None:
        site = current_site()
        if not site.settings.linkbacks.directories:
            return
        for change in changes:
            if isinstance(change, Change) and change.kind is not Kind.deleted:
                self._owe(site, session, change.obj)

    def _owe(self, site: Site, session: Session, obj: Any) -> None:
        if self.when is not None and not self.when(obj):
            return
        with site.building_urls():
            url, feed_url = site.absolute(str(read(obj, self.url))), self._feed_of(obj)
        owe_pings(site, session, url, feed_url=feed_url and site.absolute(feed_url), object_key=key_of(obj))

    def _feed_of(self, obj: Any) -> str | None:
        how = self.feed_url
        if how is None:
            return None
        found = how if isinstance(how, str) and _is_address(how) else read(obj, how)
        return str(found) if found else None


def _is_address(text: str) -> bool:
    return text.startswith(("/", "http://", "https://"))


def ping_directories(
    watches: Watches,
    model: type[Any],
    url: How = "url",
    feed_url: How | None = None,
    when: Callable[[Any], Any] | None = None,
) -> None:
    """Tell the directories of LINKBACK_DIRECTORIES whenever an object of a model is created or changed.

    ``url`` is where the object is: an attribute name, method name or callable that takes the object.
    ``feed_url`` is its feed, likewise or as a URL or path for all objects; ``when`` says whether an
    object is to be told of at all.
    """
    for name, how in (("url", url), ("feed_url", feed_url)):
        if isinstance(how, str) and not hasattr(model, how) and not (name == "feed_url" and _is_address(how)):
            raise TypeError(f"{model.__name__} has no {how!r}: say by {name}= what it is called there.")
    watches.watch(
        Watch(
            name=f"ping_directories({model.__name__})",
            model=model,
            callback=_DirectoryWatcher(url=url, feed_url=feed_url, when=when),
        )
    )


# --- models whose objects are news for hubs -----------------------------------------------------------

Feeds = str | tuple[str, Callable[[Any], Mapping[str, Any] | None]] | Callable[[Any], Any]
"""An endpoint, one with a callable for the arguments of its URL, a URL, or a callable that returns URLs."""


class _Before:
    """An object as it was before it changed: an attribute says the old value, a method is called with it."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def __getattr__(self, name: str) -> Any:
        obj, fields = self._change.obj, self._change.fields
        if name in fields:
            return fields[name][0]
        said = getattr(type(obj), name, None)
        if isinstance(said, property) and said.fget is not None:
            return said.fget(self)
        if isinstance(said, types.FunctionType):
            return types.MethodType(said, self)
        for relation, target, key in _moved_relations(self._change):
            session = object_session(obj)
            if relation == name and session is not None:
                return None if key[0] is None else session.get(target, key[0])
        return getattr(obj, name)


def _moved_relations(change: Change) -> Iterator[tuple[str, type[Any], tuple[Any, Any]]]:
    """Yield the relationships whose foreign key changed: name, class, and the keys of old and new object."""
    mapper: Any = sa.inspect(change.obj).mapper
    for relation in mapper.relationships:
        pairs = relation.local_remote_pairs
        if relation.direction is not RelationshipDirection.MANYTOONE or len(pairs) != 1:
            continue
        ((local, remote),) = pairs
        name = mapper.get_property_by_column(local).key
        if name in change.fields and remote.primary_key and len(relation.mapper.primary_key) == 1:
            yield relation.key, relation.mapper.class_, change.fields[name]


def _forget_stale(session: Session, change: Change) -> None:
    """Let an object whose foreign key was set say which object it belongs to now."""
    loaded = sa.inspect(change.obj).dict
    for name, _, (_, key) in _moved_relations(change):
        other = loaded.get(name)
        if name in loaded and (other is None or sa.inspect(other).identity != (key,)):
            session.expire(change.obj, [name])


@dataclass(frozen=True, kw_only=True)
class _HubWatcher:
    """Tells the hubs of the feeds that have an object when it is created, changed or deleted."""

    feeds: Sequence[Feeds]
    when: Callable[[Any], Any] | None
    at: How | None
    fields: Collection[str] | None

    def __call__(self, session: Session, changes: Sequence[Change | BulkStatement]) -> None:
        site = current_site()
        if site.settings.site.base_url is None and not hubs_of(site):
            return  # a site that does not know its address can still save what it tells nobody
        for change in changes:
            if isinstance(change, Change) and self._is_news(change):
                with site.building_urls():
                    self._owe(site, session, change)

    def _is_news(self, change: Change) -> bool:
        return (
            self.fields is None
            or change.kind is not Kind.updated
            or not change.fields.keys().isdisjoint(self.fields)
        )

    def _owe(self, site: Site, session: Session, change: Change) -> None:
        """Owe pings for what the feeds said before the change, and for what they say now.

        An object that is not to be seen yet is news when it will be; until then its feeds stay as they are.
        """
        now, about = site.now(), key_of(change.obj) or ""
        if change.kind is not Kind.created:
            before = change.obj if change.kind is Kind.deleted else _Before(change)
            self._tell(site, session, before, now, about, was_there=True)
        if change.kind is not Kind.deleted:
            _forget_stale(session, change)
            self._tell(site, session, change.obj, now, about, was_there=False)

    def _tell(
        self, site: Site, session: Session, obj: Any, now: datetime, about: str, *, was_there: bool
    ) -> None:
        if self.when is not None and not self.when(obj):
            return
        at = None
        if self.at is not None:
            said = read(obj, self.at)
            if said is None:
                return  # it has no time yet: nobody sees it
            at = moment_of(said, site)
        for topic in self._topics(site, obj):
            if at is None or at <= now:
                owe_hubs(site, session, topic.url, topic.hubs)
            elif was_there:
                withdraw_pings(session, topic, about)
            else:
                owe_hubs(site, session, topic.url, topic.hubs, due_at=at, about=about)

    def _topics(self, site: Site, obj: Any) -> list[Topic]:
        found: dict[Topic, None] = {}
        for feed in self.feeds:
            found |= dict.fromkeys(_topics_of(site, feed, obj))
        return list(found)


def _topics_of(site: Site, feed: Feeds, obj: Any) -> list[Topic]:
    """Return the topics of a feed in which an object is; none where the callable says None."""
    if isinstance(feed, str):
        return topics_at(site, feed) if _is_address(feed) else _topics_by_name(site, feed, {})
    if callable(feed):
        said = feed(obj)
        urls = [said] if isinstance(said, str) or said is None else said
        return [topic for url in urls if url for topic in topics_at(site, str(url))]
    endpoint, arguments = feed
    args = arguments(obj)
    return [] if args is None else _topics_by_name(site, endpoint, args)


def _topics_by_name(site: Site, endpoint: str, args: Mapping[str, Any]) -> list[Topic]:
    if endpoint not in site.app.view_functions:
        near = did_you_mean(endpoint, site.app.view_functions)
        raise ConfigError(f"ping_on_change(): there is no endpoint {endpoint!r}.{near}")
    if any(value is None for value in args.values()):
        return []  # the object is in no such feed
    return topics_of(site, endpoint, args)


def ping_on_change(
    watches: Watches,
    model: type[Any],
    feeds: Sequence[Feeds],
    when: Callable[[Any], Any] | None = None,
    at: How | None = None,
    fields: Collection[str] | None = None,
) -> None:
    """Tell the hubs of some feeds whenever an object of a model is created, changed or deleted.

    A feed is an endpoint, a tuple of that and a callable that takes the object and returns the arguments of
    the URL, a URL or path, or a callable that returns URLs. Where a change moves the object, both feeds are
    told of. ``when`` says whether an object is in the feeds at all; ``at``, an attribute name, method name or
    callable, since when. A later time is waited for. Of ``fields``, names of columns, one has to differ for
    a change to count.
    """
    if isinstance(feeds, str) or not feeds:
        raise TypeError("ping_on_change() needs a list of feeds: which ones have the object?")
    if isinstance(at, str) and not hasattr(model, at):
        raise TypeError(f"{model.__name__} has no {at!r}: say by at= what it is called there.")
    columns = tuple(class_mapper(model, configure=False).columns.keys())
    for name in fields or ():
        if name not in columns:
            raise TypeError(f"{model.__name__} has no column {name!r}.{did_you_mean(name, columns)}")
    watches.watch(
        Watch(
            name=f"ping_on_change({model.__name__})",
            model=model,
            callback=_HubWatcher(feeds=feeds, when=when, at=at, fields=fields),
            fields=columns,
            every=True,
        )
    )
