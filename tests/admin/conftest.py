"""Fixtures: a blog whose admin is open to whoever asks, and a client that sends forms as a browser does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.apps import Blog

PREFIX = "/linkback/admin"
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class Visitor:
    """Somebody with a browser at the admin."""

    def __init__(self, blog: Blog, prefix: str = PREFIX) -> None:
        self.client = blog.app.test_client()
        self.prefix = prefix
        self.token = ""
        """That of the last form that was seen: all forms of a visit have the same."""

    def get(self, path: str = "/", **query: Any) -> TestResponse:
        answer = self.client.get(f"{self.prefix}{path}", query_string=query or None)
        found = _TOKEN.search(answer.text)
        self.token = found[1] if found else self.token
        return answer

    def text(self, path: str = "/", **query: Any) -> str:
        answer = self.get(path, **query)
        assert answer.status_code == 200, (path, query, answer.status_code)
        return answer.text

    def send(self, path: str, action: str, follow: bool = True, **values: Any) -> TestResponse:
        """Send one of the forms of a page, with the token that the page has."""
        for each in (path, path.partition("?")[0]):
            self.get(each)
        data = {"action": action, "csrf_token": self.token, **values}
        return self.client.post(f"{self.prefix}{path}", data=data, follow_redirects=follow)


@pytest.fixture
def blog(blogs: Callable[..., Blog], database_url: str) -> Blog:
    """A blog on each database, its admin open."""
    made = blogs(database_url, RUNNER="off", HUB_ENABLED=True)
    made.linkback.admin_access(lambda action, obj: True)
    made.linkback.admin_identity(lambda: "ada@example.org")
    return made


@pytest.fixture
def visitor(blog: Blog) -> Visitor:
    return Visitor(blog)
