"""Site: one application as the extension knows it."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from flask import Flask, current_app, has_app_context
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter, RequestRedirect

from . import models
from .config import Settings
from .errors import BaseURLMissing, ConfigError
from .fetch import Fetcher

if TYPE_CHECKING:
    from blinker import NamedSignal
    from flask_sqlalchemy import SQLAlchemy

__all__ = ["Route", "Site", "current_site", "find_site"]

T = TypeVar("T")
logger = logging.getLogger("flask_linkback.site")
EXTENSION: Final = "linkback"


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
        if kind not in self._registries:
            self._registries[kind] = kind()
        return self._registries[kind]  # type: ignore[no-any-return]

    # --- database ------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The application's session of this context: one request or command is one transaction."""
        self.give_keys()
        return self.db.session()

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
        """Call the receivers of a signal one by one; return what they raised, already logged."""
        raised: list[Exception] = []
        for receiver in signal.receivers_for(self.app):
            try:
                self.app.ensure_sync(receiver)(self.app, **values)
            except Exception as error:  # whatever an application's receiver does is not ours
                logger.exception("A receiver of %s raised.", signal.name)
                raised.append(error)
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

    @property
    def own_hosts(self) -> frozenset[str]:
        """Lower-case host names whose pages are ours."""
        base = self.settings.site.base_url
        own = {urlsplit(base).hostname or ""} if base else set()
        return frozenset(own | set(self.settings.site.hosts))

    def is_own(self, url: str) -> bool:
        """Is this a URL of ours? Scheme (http or https) and port do not count."""
        return models.host_of(url) in self.own_hosts

    def is_told(self, url: str) -> bool:
        """Is a link to this URL told? All are but those to our own host and port, and to HOSTS."""
        parts = urlsplit(url)
        if (parts.hostname or "") in self.settings.site.hosts:
            return False
        base = urlsplit(self.base_url)
        return (parts.hostname, _port(parts)) != (base.hostname, _port(base))

    def _adapter(self, host: str = "") -> MapAdapter:
        """The URL map as seen from the public address, or from another host of ours."""
        url_map = self.app.url_map
        base = urlsplit(self.settings.site.base_url or f"http://{host or 'localhost'}")
        subdomain = ""
        if not url_map.host_matching and self.app.subdomain_matching and host.endswith(f".{base.netloc}"):
            subdomain = host.removesuffix(f".{base.netloc}")
        return url_map.bind(
            host if host and url_map.host_matching else base.netloc,
            script_name=f"{base.path}/",
            subdomain=None if url_map.host_matching else subdomain,
            url_scheme=base.scheme,
        )

    def url_for(self, endpoint: str, **values: Any) -> str:
        """Return the absolute public URL of an endpoint, without a request; raises `BaseURLMissing`."""
        if self.settings.site.base_url is None:
            raise BaseURLMissing
        self.app.inject_url_defaults(endpoint, values)
        return self._adapter().build(endpoint, values, force_external=True)

    def absolute(self, url: str) -> str:
        """Put the public address before a path; leave an absolute URL as it is."""
        if url.startswith(("http://", "https://")):
            return url
        base = urlsplit(self.base_url)
        if url.startswith("/"):
            return f"{base.scheme}://{base.netloc}{url}"
        return f"{self.base_url}/{url}"

    def match(self, url: str) -> Route | None:
        """Return where a URL of ours leads by GET; None when no route takes it.

        Query and fragment are left aside, a redirect of the URL map itself is followed.
        """
        parts = urlsplit(url)
        adapter = self._adapter(parts.netloc.lower())
        path = unquote(parts.path, errors="replace") or "/"
        for _ in range(3):
            if not path.startswith(adapter.script_name):
                return None
            below = "/" + path.removeprefix(adapter.script_name)
            try:
                endpoint, args = adapter.match(below, method="GET")
            except RequestRedirect as redirect:
                path = unquote(urlsplit(redirect.new_url).path, errors="replace")
            except HTTPException:
                return None
            else:
                return Route(endpoint=endpoint, args=args)
        return None


def _port(parts: SplitResult) -> int | None:
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def find_site() -> Site | None:
    """Return the Site of the current application context, or None without one."""
    if not has_app_context():
        return None
    return current_app.extensions.get(EXTENSION)


def current_site() -> Site:
    """Return the Site of the current application context; raises `ConfigError` without one."""
    site = find_site()
    if site is None:
        raise ConfigError(
            "There is no Linkback here. Did you call linkback.init_app(app), and is this code inside "
            "'with app.app_context():'?"
        )
    return site
