"""Laws of the doctor's look at the admin."""

from __future__ import annotations

from collections.abc import Callable

from tests.apps import Blog
from tests.cli.commands import found

SAFE = {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_SAMESITE": "Lax"}


def test_a_closed_admin_is_noted(blog: Blog) -> None:
    assert found(blog, "admin")[:2] == ("note", "The admin is closed.")


def test_an_open_one_wants_its_cookies_kept(blog: Blog) -> None:
    blog.linkback.admin_access(lambda action, obj: False)
    mark, _, advice = found(blog, "admin")
    assert mark == "warning"
    assert advice == 'Set SESSION_COOKIE_SECURE = True, SESSION_COOKIE_SAMESITE = "Lax".'
    blog.app.config.update(SAFE)
    assert found(blog, "admin")[0] == "ok"


def test_without_https_a_cookie_cannot_be_kept_to_it(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, base_url="http://blog.example")
    blog.linkback.admin_access(lambda action, obj: False)
    assert found(blog, "admin")[2] == 'Set SESSION_COOKIE_SAMESITE = "Lax".'


def test_without_a_secret_key_there_are_no_forms(blog: Blog) -> None:
    blog.linkback.admin_access(lambda action, obj: False)
    blog.app.secret_key = None
    assert found(blog, "admin")[0] == "failure"


def test_where_there_is_none_that_is_said(blog: Blog) -> None:
    del blog.app.blueprints["linkback_admin"]
    assert found(blog, "admin")[1] == "The admin is not mounted."
