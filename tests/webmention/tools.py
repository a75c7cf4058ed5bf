"""Tools: how the tests send webmentions to a blog."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.apps import Blog
from tests.pingback.tools import CALLER

ENDPOINT = "/linkback/webmention"
FORM = "application/x-www-form-urlencoded"


def post(blog: Blog, body: bytes | str, *, caller: str = CALLER, **options: Any) -> Any:
    """Post to the endpoint, without a socket between."""
    options.setdefault("content_type", FORM)
    return blog.app.test_client().post(
        ENDPOINT, data=body, environ_overrides={"REMOTE_ADDR": caller}, **options
    )


def send(blog: Blog, source: str, target: str, **options: Any) -> Any:
    """Send a webmention and return the answer, whatever it is."""
    return post(blog, urlencode({"source": source, "target": target}), **options)


def sent(blog: Blog, source: str, target: str, **options: Any) -> str:
    """Send a webmention that is taken; return the address of its page."""
    response = send(blog, source, target, **options)
    assert response.status_code == 201, response.text
    return str(response.headers["Location"])


def status(blog: Blog, location: str, accept: str = "application/json") -> Any:
    """Ask for the page of a webmention."""
    return blog.app.test_client().get(urlsplit(location).path, headers={"Accept": accept})


def told(blog: Blog, location: str) -> tuple[str, str | None, str]:
    """What the page of a webmention says: state, display, reason."""
    response = status(blog, location)
    assert response.status_code == 200
    return response.json["state"], response.json["display"], response.json["reason"]
