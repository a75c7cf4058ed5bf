"""Items: what a feed's hooks say of each item, as a generator takes it; the hooks are looked up once."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from flask import Request, render_template
from jinja2 import Template, TemplateNotFound

from ..site import current_flask
from .atom import Atom1Feed
from .counts import counted, is_counted
from .extensions import Extension, all_of, dated
from .hooks import Constant, Hook, bind, is_of
from .place import Place
from .rss import Rss201rev2Feed
from .syndication import SyndicationFeed
from .threads import MentionCount
from .values import Author, Enclosure, as_text, enclosure_at, iri_to_uri, is_plain, uri_of_path
from .vocabularies import ITEM_HOOKS

if TYPE_CHECKING:
    from .view import Feed

__all__ = ["ItemHooks", "absolute_authors"]

Item = dict[str, Any]

_WRITTEN_AT_ONCE: Final = (Rss201rev2Feed, Atom1Feed)
"""Generators whose items nobody sees but they themselves."""


class ItemHooks:
    """The hooks for the items of one feed, in one request."""

    def __init__(self, view: Feed, obj: Any, request: Request, place: Place) -> None:
        self._view = view
        self._place = place
        self._compatible = view.django_compatible
        self._title = self._bound("item_title")
        self._description = self._bound("item_description")
        if place.feed_type.plain_text:
            self._say_what_is_html()
        self._draw(obj, request)
        self._link = self._bound("item_link")
        self._guid = self._bound("item_guid")
        self._permalink = self._bound("item_guid_is_permalink")
        self._author_name = self._bound("item_author_name")
        self._author_email = self._bound("item_author_email")
        self._author_link = self._bound("item_author_link")
        self._pubdate = self._bound("item_pubdate")
        self._updateddate = self._bound("item_updateddate")
        self._comments = self._bound("item_comments")
        self._categories = self._category_hook()
        self._copyright = self._bound("item_copyright")
        self._enclosures = self._enclosure_hook()
        self._more = None if is_of(view, "item_extra_kwargs") else view.item_extra_kwargs
        self._authors = None if self._compatible else self._bound("item_authors")
        self._is_counted = is_counted(view, place)
        self._extensions = [] if self._compatible else self._bound_extensions()

    def _bound(self, name: str) -> Hook | None:
        return bind(self._view, name)

    def as_dicts(self) -> Callable[[Any], Item]:
        """Return what makes the values of an item, as a generator keeps them."""
        make, authors, extensions, more = self._maker(None), self._authors, self._extensions, self._more
        if authors is None and not extensions and more is None:
            return make
        place = self._place

        def make_more(item: Any) -> Item:
            made: Item = make(item)
            if authors is not None:
                made["authors"] = absolute_authors(authors(item), "item_authors", place)
            if extensions:
                made["extensions"] = [
                    extension(said) for hook, extension in extensions if (said := hook(item)) is not None
                ]
            if more is not None:
                made.update(more(item))
                made["ttl"] = as_text(made["ttl"])  # the one of them that no hook says
            return made

        return make_more

    def made(self, items: Iterable[Any], *, stream: bool) -> Iterable[Item]:
        """Return the values of items; those of a stream are made as they are taken."""
        make = self.as_dicts()
        if self._is_counted:
            return counted(items if stream else list(items), make, self._place)
        return map(make, items)

    def are_written_at_once(self, feed: SyndicationFeed) -> TypeGuard[Rss201rev2Feed | Atom1Feed]:
        """May items be written without a look at their values, as nobody overrides what gets them?"""
        return type(feed) in _WRITTEN_AT_ONCE and not (
            self._more or self._authors or self._extensions or self._is_counted
        )

    def as_xml(self, feed: Rss201rev2Feed | Atom1Feed) -> Callable[[Any], str]:
        """Return what writes at once what is said of an item, and tells ``feed`` the newest date so far."""
        return self._maker(feed)

    def _maker(self, feed: Rss201rev2Feed | Atom1Feed | None) -> Callable[[Any], Any]:
        """Return what asks the hooks, and writes what they say by ``feed``, or returns it.

        One function with two ends, and values written out: as quick as can be, where a feed has thousands.
        """
        title, description, link, guid = self._title, self._description, self._link, self._guid
        name, email, address = self._author_name, self._author_email, self._author_link
        permalink, enclosures, comments = self._permalink, self._enclosures, self._comments
        pubdate, updateddate = self._pubdate, self._updateddate
        categories, rights = self._categories, self._copyright
        absolute, at = self._addresses()
        uri = iri_to_uri if self._compatible else self._place.uri_or_none
        # what is joined to the root of the site nearly always
        origin = "" if self._compatible else self._place.origin
        zone = self._place.timezone
        clean = _aware_as_django if self._compatible else dated
        write: Callable[..., str] | None = feed.item_xml if feed is not None else None
        newest: datetime | None = None

        def make(item: Any) -> Any:
            nonlocal newest
            title_of = title(item) if title is not None else None
            description_of = description(item) if description is not None else None
            said = link(item) if link is not None else None
            if origin and said.__class__ is str and said and said[0] == "/" and not said.startswith("//"):
                at_of = link_of = f"{origin}{uri_of_path(said)}"
            else:
                at_of, link_of = at(said)
            id_of = at_of if guid is None else guid(item)
            name_of = email_of = address_of = None
            if name is not None and (name_of := name(item)) is not None:
                email_of = as_text(email(item)) if email is not None else None
                address_of = uri(address(item)) if address is not None else None
            published = pubdate(item) if pubdate is not None else None
            if published.__class__ is not datetime or published.tzinfo is None:
                published = clean(published, zone, "item_pubdate") if published else None
            updated = updateddate(item) if updateddate is not None else None
            if updated.__class__ is not datetime or updated.tzinfo is None:
                updated = clean(updated, zone, "item_updateddate") if updated else None
            said = comments(item) if comments is not None else None
            comments_of = absolute(said) if said is not None else None
            if title_of.__class__ is not str:
                title_of = as_text(title_of)
            if description_of.__class__ is not str:
                description_of = as_text(description_of)
            if name_of.__class__ is not str:
                name_of = as_text(name_of)
            if id_of.__class__ is not str:
                id_of = as_text(id_of)
            permalink_of = permalink(item) if permalink is not None else None
            enclosures_of = (enclosures(item) or ()) if enclosures is not None else ()
            categories_of = (categories(item) or ()) if categories is not None else ()
            rights_of = as_text(rights(item)) if rights is not None else None
            if write is None:
                return {
                    "title": title_of,
                    "link": link_of,
                    "description": description_of,
                    "author_name": name_of,
                    "author_email": email_of,
                    "author_link": address_of,
                    "pubdate": published,
                    "updateddate": updated,
                    "comments": comments_of,
                    "unique_id": id_of,
                    "unique_id_is_permalink": permalink_of,
                    "enclosures": enclosures_of,
                    "categories": categories_of,
                    "item_copyright": rights_of,
                    "ttl": None,
                    "authors": (),
                    "extensions": (),
                }
            if published is not None and (newest is None or published > newest):
                newest = feed.newest = published  # type: ignore[union-attr]  # with a feed to write by
            if updated is not None and (newest is None or updated > newest):
                newest = feed.newest = updated  # type: ignore[union-attr]
            return write(
                title_of,
                link_of,
                description_of,
                name_of,
                email_of,
                address_of,
                published,
                updated,
                comments_of,
                id_of,
                permalink_of,
                enclosures_of,
                categories_of,
                rights_of,
                None,
            )

        return make

    # --- hooks that are more than one ----------------------------------------------------------------

    def _addresses(self) -> tuple[Callable[[Any], str], Callable[[Any], tuple[str, str]]]:
        """What makes a URL absolute; and what says it so, and as it is written."""
        place = self._place
        if self._compatible:

            def glued(url: Any) -> tuple[str, str]:
                absolute = place.glue(url)
                return absolute, iri_to_uri(absolute)

            return str, glued
        origin, join = place.origin, place.join

        def absolute(url: Any) -> str:
            if url.__class__ is str and url[:1] == "/" and url[1:2] != "/":
                return f"{origin}{uri_of_path(url)}"
            return join(url)

        def joined(url: Any) -> tuple[str, str]:
            at = join(url)
            return at, iri_to_uri(at)

        return absolute, joined

    def _enclosure_hook(self) -> Hook | None:
        """What ``item_enclosures`` of `Feed` does, with its three hooks looked up once; or the view's own."""
        join, _ = self._addresses()
        own = self._bound("item_enclosures")
        if own is not None and not is_of(self._view, "item_enclosures"):
            return (
                own
                if self._compatible
                else lambda item: [
                    _joined(each, join) for each in all_of(Enclosure, own(item) or (), "item_enclosures")
                ]
            )
        names = ("item_enclosure_url", "item_enclosure_length", "item_enclosure_mime_type")
        url, length, mime_type = map(self._bound, names)
        if url is None:
            return None

        text = str if self._compatible else as_text  # what is not known is "None" in Django
        made = Enclosure if self._compatible else enclosure_at
        at = str if self._compatible else self._place.uri
        if isinstance(length, Constant | None) and isinstance(mime_type, Constant | None):
            size = text(length.value if length is not None else None)
            kind = text(mime_type.value if mime_type is not None else None)

            def enclosures_of_a_kind(item: Any) -> Sequence[Enclosure]:
                if not (address := url(item)):
                    return ()
                if not (
                    address.__class__ is str
                    and address.startswith(("http://", "https://"))
                    and is_plain(address)
                ):
                    address = at(address)
                return (made(address, size, kind),)

            return enclosures_of_a_kind

        def enclosures(item: Any) -> Sequence[Enclosure]:
            if not (address := url(item)):
                return ()
            size = text(length(item) if length is not None else None)
            kind = text(mime_type(item) if mime_type is not None else None)
            return (made(at(address), size, kind),)

        return enclosures

    def _bound_extensions(self) -> Sequence[tuple[Hook, Callable[[Any], Extension]]]:
        def maker(name: str, extension: type[Extension]) -> Callable[[Any], Extension]:
            return lambda said: extension.of(said, name, self._place.uri)

        bound = ((self._bound(name), maker(name, extension)) for name, extension in ITEM_HOOKS.items())
        return [(hook, make) for hook, make in bound if hook is not None]

    def prefixes(self) -> Collection[str]:
        """Return the vocabularies of what items may say."""
        known = [extension for name, extension in ITEM_HOOKS.items() if self._bound(name) is not None]
        if self._is_counted:
            known.append(MentionCount)
        format_ = self._place.feed_type.format
        return {prefix for extension in known for prefix in extension.prefixes.get(format_, ())}

    def _category_hook(self) -> Hook | None:
        """What ``item_categories`` says, as text where Django would take it for text."""
        hook = self._bound("item_categories")
        if hook is None or not self._compatible:
            return hook
        return lambda item: list(map(str, hook(item) or ()))

    def _say_what_is_html(self) -> None:
        """Let an item's own text be a title, and no HTML: the format can say so."""
        if is_of(self._view, "item_title"):
            self._title = str
        if is_of(self._view, "item_description"):
            self._description = _as_html

    def _draw(self, obj: Any, request: Request) -> None:
        """Let templates say titles and descriptions; the first hook asks for the context of both."""
        view, site = self._view, self._place.site
        title_template, description_template = map(
            _template, (view.title_template, view.description_template)
        )
        if title_template is None and description_template is None and is_of(view, "get_context_data"):
            return
        title, description = self._title, self._description
        context: Mapping[str, Any] = {}
        is_html = (
            self._place.feed_type.plain_text
            and title_template is not None
            and current_flask().select_jinja_autoescape(title_template.name or "")
        )

        def draw_title(item: Any) -> Any:
            nonlocal context
            context = view.get_context_data(item=item, site=site, obj=obj, request=request)
            if title_template is not None:
                drawn = render_template(title_template, **context)
                return html.unescape(drawn) if is_html else drawn
            return title(item) if title is not None else None

        def draw_description(item: Any) -> Any:
            if description_template is not None:
                return render_template(description_template, **context)
            return description(item) if description is not None else None

        self._title, self._description = draw_title, draw_description


def _joined(enclosure: Enclosure, join: Callable[[Any], str]) -> Enclosure:
    url = join(enclosure.url)
    # one that is absolute already may be of a class of its own
    return enclosure if url == enclosure.url else Enclosure(url, enclosure.length, enclosure.mime_type)


def _as_html(item: Any) -> str:
    return html.escape(str(item), quote=False)


def absolute_authors(said: Any, hook: str, place: Place) -> Sequence[Author]:
    """Return one author or several, their addresses absolute."""
    return [
        replace(
            each,
            url=place.uri(each.url) if each.url is not None else None,
            avatar=place.uri(each.avatar) if each.avatar is not None else None,
        )
        for each in all_of(Author, said or (), hook)
    ]


def _aware_as_django(at: Any, zone: tzinfo, hook: str) -> Any:
    """A day has no time zone to ask for (AttributeError)."""
    return at if at.utcoffset() is not None else at.replace(tzinfo=zone)


def _template(name: str | None) -> Template | None:
    if name is None:
        return None
    try:
        return current_flask().jinja_env.get_template(name)
    except TemplateNotFound as missing:
        if missing.name != name:
            raise
        return None
