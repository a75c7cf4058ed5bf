"""Targets: which pages of ours accept linkbacks, and what they are about."""

from __future__ import annotations

import contextlib
import inspect
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.exc import NoResultFound
from werkzeug.exceptions import NotFound
from werkzeug.routing import BuildError

from ..errors import ConfigError, UnknownTarget, did_you_mean
from ..models import digest, key_of
from ..site import Route, Site
from .pages import absence_of

__all__ = ["Located", "Target", "Targets", "current_route", "moment_of", "read", "route_key"]

View = str | Callable[..., Any]


def read(obj: Any, how: str | Callable[[Any], Any]) -> Any:
    """Return what an attribute name, method name or callable says of an object."""
    if callable(how):
        return how(obj)
    value = getattr(obj, how)
    return value() if callable(value) else value


@dataclass(frozen=True, kw_only=True)
class Target:
    """A view whose pages accept linkbacks.

    ``loader`` takes the URL's arguments and returns the page's object, or None where there is no
    such page. ``accepts`` says of an object whether it is open, ``url`` where it is, ``key`` what
    identifies it, ``date`` how old it is.
    """

    view: View
    loader: Callable[..., Any]
    model: type[Any] | None = None
    url: str | Callable[[Any], str] = "url"
    accepts: bool | str | Callable[[Any], bool] | None = None
    key: Callable[[Any], str] | None = None
    date: str | Callable[[Any], datetime | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Located:
    """The page that a URL of ours leads to."""

    target: Target
    endpoint: str
    obj: Any
    key: str

    @property
    def hash(self) -> str:
        return digest(self.key)

    def is_open(self, site: Site) -> bool:
        """Does this page accept linkbacks now?"""
        if not site.settings.linkbacks.accept:
            return False
        accepts = self.target.accepts
        if accepts is not None and not (accepts if isinstance(accepts, bool) else read(self.obj, accepts)):
            return False
        days = site.settings.linkbacks.close_after_days
        if days is not None and self.target.date is not None:
            born = read(self.obj, self.target.date)
            return born is None or site.now() - moment_of(born, site) <= timedelta(days=days)
        return True


def moment_of(born: date, site: Site) -> datetime:
    """What a date means: midnight, and by TIMEZONE where it says nothing else."""
    moment = born if isinstance(born, datetime) else datetime.combine(born, time())
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=site.settings.feeds.timezone)


class Targets:
    """The views that accept linkbacks; shared by all applications of one extension object.

    Views are resolved to endpoints when an application first asks, since blueprints may come later.
    """

    def __init__(self) -> None:
        self._targets: list[Target] = []
        self._resolved: weakref.WeakKeyDictionary[Site, tuple[int, dict[str, Target]]] = (
            weakref.WeakKeyDictionary()
        )

    def add(self, target: Target) -> None:
        self._targets.append(target)

    def by_endpoint(self, site: Site) -> dict[str, Target]:
        """Return the targets of an application; a view that it does not have raises `ConfigError`."""
        count, resolved = self._resolved.get(site, (0, {}))
        if count != len(self._targets):
            resolved = {
                endpoint: target for target in self._targets for endpoint in _endpoints(site, target.view)
            }
            self._resolved[site] = (len(self._targets), resolved)
        return resolved

    def load(self, site: Site, route: Route) -> Located | None:
        """Load the page behind a route, wherever it moved; None when there is no such page.

        `UnknownTarget` when the route accepts no linkbacks. What else the application's loader
        raises is the application's.
        """
        target = self.by_endpoint(site).get(route.endpoint)
        if target is None:
            raise UnknownTarget(f"{route.endpoint} accepts no linkbacks.")
        try:
            obj = target.loader(**route.args)
        except (NotFound, NoResultFound):
            obj = None
        if obj is None:
            return None
        return Located(target=target, endpoint=route.endpoint, obj=obj, key=_key(target, route, obj))

    def locate_url(self, site: Site, url: str) -> Located | None:
        """Load the page behind a URL, where it moved the one at its new address.

        None for a foreign URL, and where there is no such page or it is gone.
        """
        route = current_route(site, url) if site.is_own(url) else None
        return None if route is None else self.load(site, route)

    def for_object(self, obj: Any) -> Target | None:
        """Return the target whose model an object is of."""
        return next(
            (each for each in self._targets if each.model is not None and isinstance(obj, each.model)), None
        )

    def key_for(self, obj: Any) -> str:
        """Return the key of an object, as a mention of its page has it."""
        target = self.for_object(obj)
        if target is not None and target.key is not None:
            return str(target.key(obj))
        key = key_of(obj)
        if key is None:
            raise UnknownTarget(f"{obj!r} is no mapped object with a primary key, and no URL of ours.")
        return key

    def url_for(self, site: Site, obj: Any) -> str:
        """Return the absolute URL of an object's page."""
        target = self.for_object(obj)
        how = "url" if target is None else target.url
        if isinstance(how, str) and not hasattr(obj, how):
            raise UnknownTarget(f"{type(obj).__name__} has no {how!r}: name it by target(..., url=).")
        with site.building_urls():
            return site.absolute(str(read(obj, how)))


def _key(target: Target, route: Route, obj: Any) -> str:
    if target.key is not None:
        return str(target.key(obj))
    key = key_of(obj)
    if key is not None:
        return key
    return route_key(route)


def current_route(site: Site, url: str) -> Route | None:
    """Return where a URL of ours leads, or its new address where it moved; None for a page that is gone.

    The loader may still find what its page does not show any more.
    """
    route = site.match(url)
    if site.settings.site.base_url is None:
        return route
    spellings = [site.public(url)]
    if route is not None:
        with contextlib.suppress(BuildError):  # a route that only the application's own converter can write
            spellings.append(site.url_for(route.endpoint, **route.args))
    absence = absence_of(site, spellings)
    if absence is None:
        return route
    if absence.moved_to is None or absence_of(site, [absence.moved_to]) is not None:
        return None
    return site.match(absence.moved_to)


def route_key(route: Route) -> str:
    """Return the key of a page that nothing identifies but its address: ``"blog.post?slug=x"``."""
    args = urlencode(sorted((name, str(value)) for name, value in route.args.items()))
    return f"{route.endpoint}?{args}"


def _endpoints(site: Site, view: View) -> Sequence[str]:
    """Return the endpoints that a name, a dotted path or a view function stands for."""
    functions = site.app.view_functions
    name = view if isinstance(view, str) else getattr(view, "__name__", repr(view))
    if isinstance(view, str):
        if view in functions:
            return (view,)
        try:
            view = site.resolve(view)
        except ConfigError:
            hint = did_you_mean(name, functions)
            raise ConfigError(f"There is no endpoint {name!r} to accept linkbacks.{hint}") from None
    found = [
        endpoint
        for endpoint, function in functions.items()
        if view in (function, inspect.unwrap(function), getattr(function, "view_class", None))
    ]
    if not found:
        hint = did_you_mean(name, functions)
        raise ConfigError(f"{name} accepts linkbacks, but is no view of {site.app.name!r}.{hint}")
    return found
