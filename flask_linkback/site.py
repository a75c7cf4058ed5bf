"""Site: one application as the extension knows it."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from flask.globals import app_ctx
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter, RequestRedirect

from . import models
from .config import Settings
from .errors import ConfigError
from .fetch import Fetcher

if TYPE_CHECKING:
    from blinker import NamedSignal
    from flask_sqlalchemy import SQLAlchemy

__all__ = ["Route", "Site", "current_flask", "current_site", "find_site"]

T = TypeVar("T")
M = TypeVar("M", bound=models.Base)
logger = logging.getLogger("flask_linkback.site")
EXTENSION: Final = "linkback"
_REDIRECTS: Final = 3
"""How many redirects of the URL map itself are followed."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where a URL of this site leads: an endpoint and its arguments."""

    endpoint: str
    args: Mapping[str, Any]


class Site:
    """One application's settings, sessions, fetcher, registries, handlers, clock and URLs.

    It is ``app.extensions["linkback"]``; inside an application context `current_site` returns it.
    """

    def __init__(self, app: Flask, db: SQLAlchemy, settings: Settings) -> None:
        self.app = app
        self.db = db
        self.settings = settings
        self.fetch = Fetcher(settings)
        self.handlers: dict[str, Callable[..., Any]] = {}
        """What to do for a job, by its kind."""
        self.burials: dict[str, Callable[..., Any]] = {}
        """What to do for a job that died without its handler, by its kind: once."""
        self.chores: list[Callable[[Site], Any]] = []
        """What to do about once an hour."""
        self._registries: dict[type[Any], Any] = {}
        self._keyed = False

    def now(self) -> datetime:
        """The time, aware and UTC. The only clock: tests replace this."""
        return datetime.now(UTC)

    # --- what rooms keep here ------------------------------------------------------------------------

    def put(self, registry: object) -> None:
        """Keep a room's registry, to be found under its type."""
        self._registries[type(registry)] = registry

    def get(self, kind: type[T]) -> T:
        """Return the registry of this type; made without arguments where nobody put one."""
        found: T | None = self._registries.get(kind)
        # two threads may make one at the same time: the first one stays
        return found if found is not None else self._registries.setdefault(kind, kind())

    # --- database ------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The application's session of this context: one request or command is one transaction."""
        self.give_keys()
        return self.db.session()

    def ours(self, obj: M) -> M:
        """Return an object as the session of this context has it; one of another session is read anew."""
        identity = sa.inspect(obj).identity
        if identity is None or obj in self.session:
            return obj
        return self.session.get_one(type(obj), identity)

    def end_reading(self) -> None:
        """Let no transaction stay open over HTTP; a session that nobody asked for is not made for that."""
        if self.db.session.registry.has():
            self.db.session.rollback()

    @property
    def engine(self) -> Engine:
        """The engine of the default bind."""
        self.give_keys()
        return self.db.engine

    def give_keys(self) -> None:
        """Give the engine the keys for its secrets, once; the engine exists from ``db.init_app`` on."""
        if not self._keyed:
            models.use_keys(self.db.engine, self.settings.site.secret_keys)
            self._keyed = True

    def new_session(self) -> Session:
        """Return a Session of our own on the same engine, for the worker."""
        return Session(self.engine, expire_on_commit=False)

    # --- contexts and callbacks ----------------------------------------------------------------------

    def context(self) -> AbstractContextManager[Any]:
        """A fresh application context, and so a fresh ``db.session``."""
        return self.app.app_context()

    def send(self, signal: NamedSignal, **values: Any) -> list[Exception]:
        """Call the receivers of a signal one by one; return what they raised, already logged.

        What a receiver that raised left uncommitted is dropped, so that the next one finds a session
        that works.
        """
        raised: list[Exception] = []
        for receiver in signal.receivers_for(self.app):
            try:
                self.app.ensure_sync(receiver)(self.app, **values)
            except Exception as error:  # whatever an application's receiver does is not ours
                logger.exception("A receiver of %s raised.", signal.name)
                raised.append(error)
                self.session.rollback()
        return raised

    def resolve(self, name: str) -> Any:
        """Import what a dotted path names: ``"blog.views.post_detail"``."""
        module, _, attribute = name.rpartition(".")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(f"Nothing can be imported as {name!r}: {error}") from error

    # --- URLs ----------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """The site's public address without a slash at its end; raises `BaseURLMissing`."""
        return self.settings.base_url

    @cached_property
    def own_hosts(self) -> frozenset[str]:
        """Lower-case host names whose pages are ours."""
        base = self.settings.site.base_url
        own = {models.host_of(base)} if base else set()
        return frozenset(own | set(self.settings.site.hosts))

    def is_own(self, url: str) -> bool:
        """Is this a URL of ours? Scheme (http or https) and port do not count."""
        return models.host_of(url) in self.own_hosts

    @property
    def routes_by_host(self) -> bool:
        """Does the URL map tell hosts apart? Else the same page is served by each of ours."""
        return self.app.subdomain_matching or self.app.url_map.host_matching

    def is_told(self, url: str) -> bool:
        """Is a link to this URL told? All are but those to our own host and port, and to HOSTS."""
        host = models.host_of(url)
        if not host or host in self.settings.site.hosts:
            return False
        return (host, _port(url)) != (models.host_of(self.base_url), _port(self.base_url))

    def public(self, url: str) -> str:
        """Write a URL of our own host and port, or of HOSTS, as we do: by the public address.

        A host of HOSTS stays where it has pages of its own.
        """
        base, host = urlsplit(self.base_url), models.host_of(url)
        home = models.host_of(self.base_url)
        if host not in self.settings.site.hosts and (host, _port(url)) != (home, _port(self.base_url)):
            return url
        own = self.routes_by_host and host != home
        netloc = _authority(host, _port(url)) if own else base.netloc
        return urlsplit(url)._replace(scheme=base.scheme, netloc=netloc).geturl()

    def url_for(self, endpoint: str, **values: Any) -> str:
        """Return the absolute public URL of an endpoint, without a request; raises `BaseURLMissing`."""
        adapter = self._adapter(self.base_url)
        self.app.inject_url_defaults(endpoint, values)
        return adapter.build(endpoint, values, force_external=True)

    @contextlib.contextmanager
    def building_urls(self) -> Iterator[None]:
        """Let Flask's own ``url_for`` build public URLs where there is no request: in scripts, too."""
        context = app_ctx._get_current_object()  # type: ignore[attr-defined]
        if context.url_adapter is not None or self.settings.site.base_url is None:
            yield
            return
        context.url_adapter = self._adapter(self.base_url)
        try:
            yield
        finally:
            context.url_adapter = None

    def absolute(self, url: str) -> str:
        """Put the public address before a path; leave an absolute URL as it is.

        A path with a slash in front begins at the host, as what ``url_for`` returns in a request does.
        """
        return url if url.startswith(("http://", "https://")) else urljoin(f"{self.base_url}/", url)

    def match(self, url: str) -> Route | None:
        """Return where a URL of ours leads by GET; None when no route takes it.

        Query and fragment are left aside, a redirect of the URL map itself is followed.
        """
        for _ in range(_REDIRECTS):
            path = self._path(url)
            if path is None:
                return None
            try:
                endpoint, args = self._adapter(url).match(path, method="GET")
            except RequestRedirect as redirect:
                url = redirect.new_url
                if not self.is_own(url):
                    return None
            except HTTPException:
                return None
            else:
                return Route(endpoint=endpoint, args=args)
        return None

    def _path(self, url: str) -> str | None:
        """What the application sees of a URL's path; None where it is not below the public address."""
        try:
            path = unquote(urlsplit(url).path, errors="replace")
        except ValueError:
            return None
        prefix = unquote(urlsplit(self.settings.site.base_url or "").path)
        if not f"{path}/".startswith(f"{prefix}/"):
            return None
        return f"/{path.removeprefix(prefix).removeprefix('/')}"

    def _adapter(self, url: str) -> MapAdapter:
        """The URL map as it serves the host of a URL.

        Scheme, port and path prefix are those of the public address, which a proxy may have given.
        """
        base = urlsplit(self.settings.site.base_url or url)
        prefix = base.path if self.settings.site.base_url else ""
        bind = partial(self.app.url_map.bind, script_name=f"{prefix}/", url_scheme=base.scheme)
        host, root = models.host_of(url), models.host_of(base.geturl())
        if self.app.url_map.host_matching:
            return bind(_authority(host, base.port))
        if not (self.app.subdomain_matching and self.settings.server_name):
            return bind(_authority(root, base.port))
        server = models.host_of(f"//{self.settings.server_name}")
        if root.endswith(f".{server}"):
            root = server
        subdomain = host.removesuffix(f".{root}") if host.endswith(f".{root}") else ""
        return bind(_authority(root, base.port), subdomain=subdomain)


def _authority(host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def _port(url: str) -> int | None:
    """The port of a URL where it is not the one that goes without saying; -1 for rubbish."""
    try:
        port = urlsplit(url).port
        return None if port in (80, 443) else port
    except ValueError:
        return -1


def find_site() -> Site | None:
    """Return the Site of the current application context, or None without one."""
    if not has_app_context():
        return None
    return current_app.extensions.get(EXTENSION)


def current_flask() -> Flask:
    """Return the application of the current context, with or without a Linkback."""
    return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]


def current_site() -> Site:
    """Return the Site of the current application context; raises `ConfigError` without one."""
    site = find_site()
    if site is None:
        raise ConfigError(
            "There is no Linkback here. Did you call linkback.init_app(app), and is this code inside "
            "'with app.app_context():'?"
        )
    return site
