"""Peer: Django in this process, and one feed's class made for it and for us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import django
from django.conf import settings as django_settings
from flask import Flask
from jinja2 import DictLoader
from lxml import etree

if not django_settings.configured:
    django_settings.configure(
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=[],
        LANGUAGE_CODE="en-us",
        LOGGING_CONFIG=None,  # the loggers of this process are not Django's
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "context_processors": ["django.template.context_processors.request"],
                    "loaders": [("django.template.loaders.locmem.Loader", {})],
                },
            }
        ],
        TIME_ZONE="UTC",
        USE_I18N=False,
        USE_TZ=True,
    )
    django.setup()

import django.contrib.syndication.views as django_views
import django.utils.feedgenerator as django_generators
from django.test import RequestFactory

from flask_linkback import Feed, generators

__all__ = [
    "ATTRIBUTES_ARE_CHECKED",
    "BY_DEFAULT",
    "DJANGO",
    "OURS",
    "Library",
    "canonical",
    "draw_with",
    "serve_django",
    "serve_ours",
]

ATTRIBUTES_ARE_CHECKED = django.VERSION >= (6, 1)
"""Django 5.2 and 6.0 write control characters into attributes: no XML. Nothing else in them differs."""


@dataclass(frozen=True, kw_only=True)
class Library:
    """Django, or us."""

    feed: type[Any]
    generators: Any
    add_domain: Callable[..., str]
    takes_request: bool
    """Is ``get_object`` given the request?"""


DJANGO = Library(
    feed=django_views.Feed,
    generators=django_generators,
    add_domain=django_views.add_domain,
    takes_request=True,
)
OURS = Library(
    feed=type("CompatibleFeed", (Feed,), {"django_compatible": True}),
    generators=generators,
    add_domain=generators.add_domain,
    takes_request=False,
)
BY_DEFAULT = replace(OURS, feed=Feed)
"""Us, where we differ from Django."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """What was answered."""

    body: bytes
    content_type: str
    last_modified: str | None


_serving: dict[str, Callable[[], Any]] = {}
_app = Flask(__name__)
_app.testing = True
_app.add_url_rule("/<path:where>", view_func=lambda where: _serving["feed"](), endpoint="feed")
_client = _app.test_client()


def serve_ours(feed: type[Feed], path: str, *, secure: bool = False) -> Served:
    """Ask for a feed of ours through an application."""
    _serving["feed"] = feed.as_view("feed")
    response = _client.get(path, base_url=f"http{'s' * secure}://localhost/")
    assert response.status_code == 200
    return Served(
        body=response.data,
        content_type=response.headers["Content-Type"],
        last_modified=response.headers.get("Last-Modified"),
    )


def serve_django(feed: type[Any], path: str, *, secure: bool = False) -> Served:
    """Ask Django for a feed."""
    response = feed()(RequestFactory().get(path, secure=secure, headers={"host": "localhost"}))
    assert response.status_code == 200
    return Served(
        body=response.content,
        content_type=response.headers["Content-Type"],
        last_modified=response.headers.get("Last-Modified"),
    )


def draw_with(templates: Mapping[str, str]) -> None:
    """Give both the same templates."""
    django_settings.TEMPLATES[0]["OPTIONS"]["loaders"][0][1].clear()
    django_settings.TEMPLATES[0]["OPTIONS"]["loaders"][0][1].update(templates)
    _app.jinja_loader = DictLoader(dict(templates))
    if (cache := _app.jinja_env.cache) is not None:
        cache.clear()


def canonical(document: bytes) -> str:
    """Return a document in its canonical form, with the processing instructions before its root."""
    # PIs are part of the tree, not of the root; a feed's text may be of any size
    tree = etree.fromstring(document, etree.XMLParser(huge_tree=True)).getroottree()
    return etree.tostring(tree, method="c14n").decode()
