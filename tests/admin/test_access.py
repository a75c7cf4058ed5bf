"""Access: nobody comes in unless the application says so, and nobody does what they may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import abort

from flask_linkback.blueprints.admin.access import Right
from flask_linkback.models import Audit, Mention, MentionStatus
from tests.admin.conftest import PREFIX, Visitor
from tests.admin.stock import fill
from tests.apps import Blog

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture
def closed(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    return blogs(sqlite_url, RUNNER="off", HUB_ENABLED=True)


def _paths(blog: Blog) -> list[str]:
    """Return an address of every rule of the admin."""
    rules = [rule for rule in blog.app.url_map.iter_rules() if rule.endpoint.startswith("linkback_admin.")]
    with blog.app.test_request_context():
        return [rule.build(dict.fromkeys(rule.arguments, 1))[1] for rule in rules]  # type: ignore[index]


def test_without_an_access_function_everything_is_403(closed: Blog) -> None:
    with closed.app.app_context():
        fill(closed, 3)
    paths = _paths(closed)
    assert len(paths) > 20
    for path in paths:
        for method in METHODS:
            answer = closed.app.test_client().open(path, method=method)
            takes = method in ("GET", "HEAD", "POST", "OPTIONS")
            assert answer.status_code == (403 if takes else 405), (method, path)
            assert b"site1.example" not in answer.data


def test_debug_opens_nothing(closed: Blog) -> None:
    closed.app.debug = True
    assert closed.app.test_client().get(f"{PREFIX}/").status_code == 403


def _raise(action: str, obj: Any) -> bool:
    raise RuntimeError("The door is broken.")


def _abort(action: str, obj: Any) -> bool:
    abort(401)


async def _refuse(action: str, obj: Any) -> bool:
    return False


@pytest.mark.parametrize("function", [_raise, _abort, _refuse, lambda a, o: None, lambda a, o: ""])
def test_what_does_not_let_in_denies(closed: Blog, function: Any) -> None:
    closed.linkback.admin_access(function)
    for path in _paths(closed):
        assert closed.app.test_client().get(path).status_code == 403


def test_an_async_function_lets_in(closed: Blog) -> None:
    async def may(action: str, obj: Any) -> bool:
        return True

    closed.linkback.admin_access(may)
    assert closed.app.test_client().get(f"{PREFIX}/").status_code == 200


def test_the_function_is_asked_for_the_action_and_the_object(blog: Blog, visitor: Visitor) -> None:
    asked: list[tuple[str, Any]] = []

    def may(action: str, obj: Any) -> bool:
        asked.append((action, getattr(obj, "id", None)))
        return True

    blog.linkback.admin_access(may)
    with blog.app.app_context():
        fill(blog, 2)
    visitor.get("/mentions")
    assert asked[0] == ("view", None)
    asked.clear()
    visitor.get("/mentions/2")
    assert asked[0] == ("view", 2)
    asked.clear()
    visitor.send("/mentions/2", "decide", status="approved")
    assert ("manage", 2) in asked


def test_who_may_only_view_changes_nothing(blog: Blog, visitor: Visitor) -> None:
    blog.linkback.admin_access(lambda action, obj: action == "view")
    with blog.app.app_context():
        fill(blog, 1)
        before = blog.db.session.get(Mention, 1).status
    assert "Approve" not in visitor.text("/mentions")
    with visitor.client.session_transaction() as session:
        session["csrf_token"] = "x"
    answer = visitor.send("/mentions/1", "decide", status="approved")
    assert answer.status_code == 403
    with blog.app.app_context():
        assert blog.db.session.get(Mention, 1).status == before


def test_a_single_object_can_be_denied(blog: Blog, visitor: Visitor) -> None:
    blog.linkback.admin_access(lambda action, obj: getattr(obj, "id", 0) != 2)
    with blog.app.app_context():
        fill(blog, 3)
    assert visitor.get("/mentions/1").status_code == 200
    assert visitor.get("/mentions/2").status_code == 403
    assert visitor.send("/mentions", "decide", id=["1", "2"], status="spam").status_code == 403
    with blog.app.app_context():
        assert blog.db.session.query(Audit).filter_by(action="moderate", who="ada@example.org").count() <= 3


@pytest.mark.parametrize("protect", [False, True])
def test_a_form_without_its_token_is_400(blog: Blog, visitor: Visitor, protect: bool) -> None:
    if protect:
        from flask_wtf import CSRFProtect

        CSRFProtect(blog.app)
    with blog.app.app_context():
        fill(blog, 1)
    for data in ({}, {"csrf_token": "x"}, {"csrf_token": "a.b.c"}):
        answer = visitor.client.post(
            f"{PREFIX}/mentions/1", data={"action": "decide", "status": "spam", **data}
        )
        assert answer.status_code == 400
    assert visitor.send("/mentions/1", "decide", status="spam").status_code == 200
    with blog.app.app_context():
        assert blog.db.session.get(Mention, 1).status is MentionStatus.spam


def test_an_unknown_action_is_400(blog: Blog, visitor: Visitor) -> None:
    assert visitor.send("/mentions", "explode").status_code == 400


def test_every_answer_is_sealed(blog: Blog, visitor: Visitor) -> None:
    for path in ("/", "/mentions", "/mentions/99"):
        headers = visitor.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Cookie" in headers["Vary"]


def test_rights_are_those_of_the_design() -> None:
    assert {right.value for right in Right} == {"view", "manage", "reveal", "resend"}
