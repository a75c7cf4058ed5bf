"""View: a class whose hooks say what a feed is and what is in it, served at a URL."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from flask import Request, Response, abort, request
from flask.typing import ResponseReturnValue, RouteCallable
from flask.views import View
from sqlalchemy.exc import NoResultFound
from werkzeug.exceptions import NotFound

from ..errors import FeedDoesNotExist, ImproperlyConfigured
from ..site import Site, find_site
from . import generators
from .answering import Answer, calling_items
from .checking import check_class
from .extensions import Extension, all_of, dated, paired
from .hooks import bind, is_of, look_up
from .hubs import first_hub, hubs_for, says_hubs
from .items import ItemHooks, absolute_authors
from .paging import ARCHIVE, PAGE, part_of
from .place import FORMAT, Place, addresses, find_place
from .syndication import SyndicationFeed, ours
from .values import Enclosure, Tombstone, iri_to_uri, moment
from .vocabularies import FEED_HOOKS

__all__ = ["Feed"]


class Feed(View):
    """A feed: ``app.add_url_rule("/feed.atom", view_func=Latest.as_view("latest"))``.

    A subclass says by attributes and methods what Django's ``Feed`` is told by them, with the same names
    and the same rules; an instance is a view as well. Beyond Django, and all optional:

    - ``last_modified(obj)`` (datetime) and ``etag(obj)`` (text) answer who has the feed already, and HEAD,
      before ``items`` is called. Together they must change whenever the feed does.
    - ``cache`` is an object of cachelib that keeps bodies, for ``cache_seconds``.
    - ``max_age`` is for how many seconds a reader need not ask again.
    - ``feed_types``: several formats at one URL, by ``?format=`` or by what the reader accepts.
    - ``paginate_by`` so many items; the others are at ``?page=2`` and so on (RFC 5005).
    - ``archive_by`` "year", "month" or "day": older items are in archives, ``?archive=2026-10``.
    - ``hub`` or ``hubs`` (URLs) tell subscribers of the feed (WebSub) instead of the site's hubs; None and an
      empty list switch that off.
    - ``stream``: items are written as they come; ``items`` may be a generator of any length.
    - ``show_mention_counts`` says of each item how many mentions its page shows; it needs Linkback.
    - ``strict`` refuses text that XML cannot hold, with `UnserializableContentError`.
    - ``django_compatible`` gives the document and the headers that Django 6.1 gives.

    One object serves all requests: hooks keep nothing on ``self``.
    """

    methods = ("GET",)
    init_every_request = False

    feed_type: ClassVar[type[SyndicationFeed]] = generators.DefaultFeed
    feed_types: ClassVar[Sequence[type[SyndicationFeed]]] = ()
    title_template: ClassVar[str | None] = None
    description_template: ClassVar[str | None] = None
    language: ClassVar[str | None] = None

    django_compatible: ClassVar[bool] = False
    strict: ClassVar[bool] = False
    stream: ClassVar[bool] = False
    paginate_by: ClassVar[int | None] = None
    archive_by: ClassVar[str | None] = None
    max_age: ClassVar[int | None] = None
    cache: ClassVar[Any] = None
    cache_seconds: ClassVar[int] = 300
    show_mention_counts: ClassVar[bool] = False
    cache_version: ClassVar[str] = ""
    """Another one makes all validators and cached bodies void, as after a change of a hook."""

    __name__: str
    items: Any
    """A method or attribute: what is in the feed, the newest first."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_class(cls, Feed)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        feed = super().__new__(cls)
        feed.__name__ = cls.__name__  # what Flask calls an instance that is a view
        return feed

    @classmethod
    def as_view(cls, name: str, *class_args: Any, **class_kwargs: Any) -> RouteCallable:
        """Return a view function; its attribute ``feed`` is for who asks about the feed, not for it."""
        view = super().as_view(name, *class_args, **class_kwargs)
        vars(view)["feed"] = cls(*class_args, **class_kwargs)
        return view

    def __call__(self, **view_args: Any) -> ResponseReturnValue:
        return self.dispatch_request(**view_args)

    # --- hooks with a default ------------------------------------------------------------------------

    def get_object(self, *args: Any, **view_args: Any) -> Any:
        """Return what the feed is about, by the arguments of its URL.

        NotFound, `FeedDoesNotExist` and NoResultFound are answered 404.
        """
        return None

    def item_title(self, item: Any) -> Any:
        """Return the item as text, as HTML would write it: readers take titles for HTML."""
        return html.escape(str(item))

    def item_description(self, item: Any) -> Any:
        """Return the item as text."""
        return str(item)

    def item_link(self, item: Any) -> Any:
        """Return what ``get_absolute_url`` of the item says."""
        try:
            return item.get_absolute_url()
        except AttributeError:
            raise ImproperlyConfigured(
                f"Give your {type(item).__name__} class a get_absolute_url() method, or define an "
                "item_link() method in your Feed class."
            ) from None

    def item_enclosures(self, item: Any) -> Any:
        """Return an `Enclosure` of ``item_enclosure_url``, ``_length`` and ``_mime_type``, with a URL."""
        url = look_up(self, "item_enclosure_url", item)
        if not url:
            return []
        length = look_up(self, "item_enclosure_length", item)
        mime_type = look_up(self, "item_enclosure_mime_type", item)
        return [Enclosure(url=str(url), length=str(length), mime_type=str(mime_type))]

    def get_hub(self, obj: Any) -> Any:
        """Return the URL of the hub that tells of the feed, or a list of several; None for none.

        By default what ``hub`` or ``hubs`` of the class say, else the hubs of the site, of which this is the
        first.
        """
        return first_hub(self, obj, find_site())

    def feed_extra_kwargs(self, obj: Any) -> Mapping[str, Any]:
        """Return what else the generator is given."""
        return {}

    def item_extra_kwargs(self, item: Any) -> Mapping[str, Any]:
        """Return what else the generator is given for an item."""
        return {}

    def get_context_data(self, **kwargs: Any) -> Mapping[str, Any]:
        """Return what the templates know; given are ``item``, ``site``, ``obj`` and ``request``."""
        return {"obj": kwargs.get("item"), "site": kwargs.get("site")}

    def _get_dynamic_attr(self, attname: str, obj: Any, default: Any = None) -> Any:
        return look_up(self, attname, obj, default)

    def websub_topics(
        self, site: Site, url: str, args: Mapping[str, Any]
    ) -> Sequence[tuple[str, Sequence[str]]]:
        """Return the URLs by which hubs know the feed at a URL of ours, each with its hubs.

        One for each of its formats, or what the hook ``feed_url`` says. There is none where there is no feed.
        """
        obj = None
        if says_hubs(self) or bind(self, "feed_url") is not None:
            try:
                obj = self.get_object(**args)
            except (FeedDoesNotExist, NoResultFound, NotFound):
                return []
        hubs = hubs_for(self, obj, site)
        return [(each, hubs) for each in addresses(self, obj, site, url)]

    # --- a request -----------------------------------------------------------------------------------

    def dispatch_request(self, **view_args: Any) -> ResponseReturnValue:
        """Answer a request: 404, 304, or the feed."""
        try:
            obj = self.get_object(**view_args)
        except (FeedDoesNotExist, NoResultFound):
            abort(404, "Feed object does not exist.")
        if self.django_compatible:
            return self._answer_as_django(obj)
        return Answer(self, obj, request._get_current_object()).give()  # type: ignore[attr-defined]

    def _answer_as_django(self, obj: Any) -> Response:
        with calling_items():
            feed = self.get_feed(obj, request)
        response = Response(content_type=feed.content_type)
        if hasattr(self, "item_pubdate") or hasattr(self, "item_updateddate"):
            response.last_modified = feed.latest_post_date()
        response.set_data(b"".join(feed.chunks()))
        return response

    def get_feed(self, obj: Any, request: Request) -> SyndicationFeed:
        """Return the generator with all items."""
        place = find_place(request, self)
        feed = self._begin(obj, place)
        items = self._part(feed, obj, place)
        hooks = ItemHooks(self, obj, request, place)
        feed.prefixes = hooks.prefixes()
        made = hooks.made(items, stream=False)
        if type(feed).add_item is SyndicationFeed.add_item:
            feed.items = list(made)
        else:
            for item in made:
                feed.add_item(**item)
        return feed

    def feed_to_write(self, obj: Any, request: Request) -> SyndicationFeed:
        """Return the generator to be written once: its items may be written already, or be still to come."""
        place = find_place(request, self)
        if not is_of(self, "get_feed") or place.feed_type.add_item is not SyndicationFeed.add_item:
            return self.get_feed(obj, request)
        feed = self._begin(obj, place)
        items = self._part(feed, obj, place)
        hooks = ItemHooks(self, obj, request, place)
        feed.prefixes = hooks.prefixes()
        if hooks.are_written_at_once(feed):
            written = feed.encoded(map(hooks.as_xml(feed), items))
            feed.written = written if self.stream else list(written)
        else:
            made = hooks.made(items, stream=self.stream)
            feed.items = made if self.stream else list(made)
        return feed

    @classmethod
    def query_arguments(cls) -> Sequence[str]:
        """Return the names of what a query may choose."""
        chosen = {FORMAT: cls.feed_types, ARCHIVE: cls.archive_by, PAGE: cls.paginate_by}
        return [name for name, given in chosen.items() if given and not cls.django_compatible]

    def _part(self, feed: SyndicationFeed, obj: Any, place: Place) -> Iterable[Any]:
        """Return the items of the document that is asked for, and let the feed lead to the others."""
        items = look_up(self, "items", obj)
        if self.django_compatible:
            return items  # type: ignore[no-any-return]
        if not isinstance(items, Iterable) and not hasattr(items, "__getitem__"):
            raise ImproperlyConfigured(
                f"{type(self).__name__}.items must be a list or another iterable, not {type(items).__name__}."
            )
        part = part_of(self, items, place.arguments, place.address, place.timezone)
        feed.feed["links"] = [*ours(feed.feed["links"], tuple), *part.links]
        feed.feed["extensions"] = [*ours(feed.feed["extensions"], Extension), *part.extensions]
        return part.items

    def _begin(self, obj: Any, place: Place) -> SyndicationFeed:
        """Make the generator, without items."""

        def say(name: str) -> Any:
            return look_up(self, name, obj)

        compatible = self.django_compatible
        absolute, address = (place.glue, iri_to_uri) if compatible else (place.join, place.uri_or_none)
        more: dict[str, Any] = {}
        if not compatible:
            last_modified = say("last_modified")
            more["updated"] = dated(last_modified, place.timezone, "last_modified") if last_modified else None
            more["authors"] = absolute_authors(say("authors"), "authors", place)
            more["icon"], more["favicon"] = (
                place.uri(said) if (said := say(name)) is not None else None for name in ("icon", "favicon")
            )
            more["deleted_items"] = self._tombstones(say("deleted_items"), place)
            more["hubs"] = place.hubs(self, obj)
            more["links"] = [(rel, place.uri(href)) for rel, href in paired(say("links") or (), "links")]
            more["extensions"] = [
                extension.of(said, name, place.uri)
                for name, extension in FEED_HOOKS.items()
                if (said := say(name)) is not None
            ]
        feed = place.feed_type(
            title=say("title"),
            subtitle=say("subtitle"),
            link=absolute(say("link")),
            description=say("description"),
            language=place.language,
            feed_url=place.own_address(self, obj),
            author_name=say("author_name"),
            author_link=address(say("author_link")),
            author_email=say("author_email"),
            categories=map(str, said) if (said := say("categories")) and self.django_compatible else said,
            feed_copyright=say("feed_copyright"),
            feed_guid=say("feed_guid"),
            ttl=say("ttl"),
            stylesheets=say("stylesheets"),
            **more | dict(self.feed_extra_kwargs(obj)),
        )
        feed.django_compatible = feed.django_compatible or self.django_compatible
        feed.strict = feed.strict or self.strict
        return feed

    def _tombstones(self, said: Any, place: Place) -> Sequence[Tombstone]:
        """What was taken away; without ``item_guid`` an item is called by its absolute link."""
        is_link = bind(self, "item_guid") is None
        return [
            replace(
                each,
                ref=place.join(each.ref) if is_link else str(each.ref),
                when=moment(each.when, place.timezone),
            )
            for each in all_of(Tombstone, said or (), "deleted_items")
        ]
