"""View: a class whose hooks say what a feed is and what is in it, served at a URL."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, ClassVar, Self

from flask import Request, Response, abort, current_app, render_template, request
from flask.typing import ResponseReturnValue
from flask.views import View
from jinja2 import Template, TemplateNotFound
from sqlalchemy.exc import NoResultFound

from ..errors import FeedDoesNotExist, ImproperlyConfigured
from . import generators
from .answering import Answer, calling_items
from .extensions import FEED_HOOKS, ITEM_HOOKS
from .generators import BLANK_ITEM, SyndicationFeed, clean_categories
from .hooks import Hook, bind, look_up
from .place import FORMAT, Place, find_place
from .values import Enclosure, iri_to_uri, moment

__all__ = ["Feed"]

Item = dict[str, Any]


class Feed(View):
    """A feed: ``app.add_url_rule("/feed.atom", view_func=Latest.as_view("latest"))``.

    A subclass says by attributes and methods what Django's ``Feed`` is told by them, with the same names
    and the same rules; an instance is a view as well. Beyond Django, and all optional:

    - ``last_modified(obj)`` (datetime) and ``etag(obj)`` (text) answer who has the feed already, and HEAD,
      before ``items`` is called. Together they must change whenever the feed does.
    - ``cache`` is an object of cachelib that keeps bodies, for ``cache_seconds``.
    - ``max_age`` is for how many seconds a reader need not ask again.
    - ``stream``: items are written as they come; ``items`` may be a generator of any length.
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
    max_age: ClassVar[int | None] = None
    cache: ClassVar[Any] = None
    cache_seconds: ClassVar[int] = 300
    cache_version: ClassVar[str] = ""
    """Another one makes all validators and cached bodies void, as after a change of a hook."""

    __name__: str
    items: Any
    """A method or attribute: what is in the feed, the newest first."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        feed = super().__new__(cls)
        feed.__name__ = cls.__name__  # what Flask calls an instance that is a view
        return feed

    def __call__(self, **view_args: Any) -> ResponseReturnValue:
        return self.dispatch_request(**view_args)

    # --- hooks with a default ------------------------------------------------------------------------

    def get_object(self, **view_args: Any) -> Any:
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
        make = self._item_maker(obj, request, place)
        items = look_up(self, "items", obj)
        if type(feed).add_item is SyndicationFeed.add_item:
            feed.items = list(map(make, items))
        else:
            for item in items:
                feed.add_item(**make(item))
        return feed

    def get_feed_of_a_stream(self, obj: Any, request: Request) -> SyndicationFeed:
        """Return the generator with items that are made as they are written, where nobody needs them all."""
        if not _is_base(self, "get_feed") or self.feed_type.add_item is not SyndicationFeed.add_item:
            return self.get_feed(obj, request)
        place = find_place(request, self)
        feed = self._begin(obj, place)
        feed.items = map(self._item_maker(obj, request, place), look_up(self, "items", obj))
        return feed

    @classmethod
    def query_arguments(cls) -> Sequence[str]:
        """Return the names of what a query may choose."""
        return [FORMAT] if cls.feed_types else []

    def _begin(self, obj: Any, place: Place) -> SyndicationFeed:
        """Make the generator, without items."""

        def say(name: str) -> Any:
            return look_up(self, name, obj)

        absolute = place.glue if self.django_compatible else place.join
        more: dict[str, Any] = {}
        if not self.django_compatible:
            last_modified = say("last_modified")
            more["updated"] = moment(last_modified, place.timezone) if last_modified else None
            more["authors"] = say("authors") or ()
            more["hubs"] = say("hubs") or ()
            more["links"] = say("links") or ()
            more["extensions"] = [
                make(value) for name, make in FEED_HOOKS.items() if (value := say(name)) is not None
            ]
        feed = place.feed_type(
            title=say("title"),
            subtitle=say("subtitle"),
            link=absolute(say("link")),
            description=say("description"),
            language=place.language,
            feed_url=place.own_address(self, obj),
            author_name=say("author_name"),
            author_link=say("author_link"),
            author_email=say("author_email"),
            categories=say("categories"),
            feed_copyright=say("feed_copyright"),
            feed_guid=say("feed_guid"),
            ttl=say("ttl"),
            stylesheets=say("stylesheets"),
            **more,
            **self.feed_extra_kwargs(obj),
        )
        feed.django_compatible = feed.django_compatible or self.django_compatible
        feed.strict = feed.strict or self.strict
        return feed

    def _item_maker(self, obj: Any, request: Request, place: Place) -> Callable[[Any], Item]:
        """Return what makes an item for the generator; the hooks are looked up once, here."""
        compatible = self.django_compatible
        title, description, link, guid, permalink = map(
            self._bound,
            ("item_title", "item_description", "item_link", "item_guid", "item_guid_is_permalink"),
        )
        name, email, address, authors = map(
            self._bound, ("item_author_name", "item_author_email", "item_author_link", "item_authors")
        )
        pubdate, updateddate, comments, categories, rights, enclosures = map(
            self._bound,
            (
                "item_pubdate",
                "item_updateddate",
                "item_comments",
                "item_categories",
                "item_copyright",
                "item_enclosures",
            ),
        )
        more = None if _is_base(self, "item_extra_kwargs") else self.item_extra_kwargs
        extensions = [] if compatible else self._item_extensions()
        drawn = self._templates()
        if any(drawn) or not _is_base(self, "get_context_data"):
            title, description = self._drawn(drawn, title, description, obj, request, place)
        absolute, when = (place.glue, _aware) if compatible else (place.join, moment)
        zone, copy = place.timezone, dict(BLANK_ITEM).copy

        def make(item: Any) -> Item:
            made = copy()
            if title is not None:
                said = title(item)
                made["title"] = said if said.__class__ is str or said is None else str(said)
            if description is not None:
                said = description(item)
                made["description"] = said if said.__class__ is str or said is None else str(said)
            at = absolute(link(item) if link is not None else None)
            made["link"] = iri_to_uri(at)
            said = at if guid is None else guid(item)
            made["unique_id"] = said if said.__class__ is str or said is None else str(said)
            if permalink is not None:
                made["unique_id_is_permalink"] = permalink(item)
            if enclosures is not None:
                made["enclosures"] = enclosures(item) or ()
            if name is not None and (said := name(item)) is not None:
                made["author_name"] = str(said)
                if email is not None and (said := email(item)) is not None:
                    made["author_email"] = str(said)
                if address is not None:
                    made["author_link"] = iri_to_uri(address(item))
            if pubdate is not None and (said := pubdate(item)):
                made["pubdate"] = when(said, zone)
            if updateddate is not None and (said := updateddate(item)):
                made["updateddate"] = when(said, zone)
            if comments is not None and (said := comments(item)) is not None:
                made["comments"] = str(said) if compatible else absolute(said)
            if categories is not None and (said := categories(item)):
                made["categories"] = clean_categories(said)
            if rights is not None and (said := rights(item)) is not None:
                made["item_copyright"] = str(said)
            if authors is not None:
                made["authors"] = authors(item) or ()
            if extensions:
                made["extensions"] = [
                    extension(said) for hook, extension in extensions if (said := hook(item)) is not None
                ]
            if more is not None:
                made.update(more(item))
            return made

        return make

    def _bound(self, name: str) -> Hook | None:
        if name == "item_enclosures" and _is_base(self, name):
            return self._enclosure_hook()
        return bind(self, name)

    def _enclosure_hook(self) -> Hook | None:
        """What `item_enclosures` does, with its three hooks looked up once."""
        names = ("item_enclosure_url", "item_enclosure_length", "item_enclosure_mime_type")
        url, length, mime_type = (bind(self, name) for name in names)
        if url is None:
            return None

        def enclosures(item: Any) -> Sequence[Enclosure]:
            if not (at := url(item)):
                return ()
            size = length(item) if length is not None else None
            kind = mime_type(item) if mime_type is not None else None
            return (Enclosure(str(at), str(size), str(kind)),)

        return enclosures

    def _item_extensions(self) -> Sequence[tuple[Hook, Callable[[Any], Any]]]:
        bound = ((bind(self, name), make) for name, make in ITEM_HOOKS.items())
        return [(hook, make) for hook, make in bound if hook is not None]

    def _templates(self) -> tuple[Template | None, Template | None]:
        """The templates of titles and descriptions; one that does not exist is none."""
        return _template(self.title_template), _template(self.description_template)

    def _drawn(
        self,
        templates: tuple[Template | None, Template | None],
        title: Hook | None,
        description: Hook | None,
        obj: Any,
        request: Request,
        place: Place,
    ) -> tuple[Hook, Hook]:
        """Hooks that draw templates; the first of them asks for the context, which is the same for both."""
        title_template, description_template = templates
        context: dict[str, Any] = {}

        def draw_title(item: Any) -> Any:
            nonlocal context
            context = {**self.get_context_data(item=item, site=place.site, obj=obj, request=request)}
            if title_template is not None:
                return render_template(title_template, **context)
            return title(item) if title is not None else None

        def draw_description(item: Any) -> Any:
            if description_template is not None:
                return render_template(description_template, **context)
            return description(item) if description is not None else None

        return draw_title, draw_description


def _is_base(feed: Feed, name: str) -> bool:
    """Is this hook the one of `Feed` itself?"""
    return getattr(type(feed), name) is getattr(Feed, name) and name not in vars(feed)


def _template(name: str | None) -> Template | None:
    if name is None:
        return None
    try:
        return current_app.jinja_env.get_template(name)
    except TemplateNotFound as missing:
        if missing.name != name:
            raise
        return None


def _aware(moment: Any, zone: tzinfo) -> Any:
    """A date as Django makes it aware: a day has no time zone to ask for (AttributeError)."""
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=zone)
