"""Hooks and listeners in the admin: what can happen, who listens, and what is done to many at once."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_linkback import Hook, ModelHook
from flask_linkback.models import Audit, Listener, ListenerSecret, ListenerState
from tests.admin.conftest import Visitor
from tests.admin.stock import fill
from tests.apps import Blog


@pytest.fixture
def hooks(blog: Blog) -> Blog:
    blog.linkback.hooks.register(
        ModelHook(blog.Post, name="person", verbose_name="person <b>", provides_args=["title", "slug"])
    )
    blog.linkback.hooks.register(Hook(name="order", provides_args=["total"]))
    return blog


def stocked(blog: Blog, n: int) -> None:
    with blog.app.app_context():
        fill(blog, n)


def ids(page: str) -> list[int]:
    return [int(each) for each in re.findall(r'name="id" value="(\d+)"', page)]


def audits(session: Session, action: str) -> list[Audit]:
    return list(session.scalars(sa.select(Audit).where(Audit.action == action).order_by(Audit.id)))


def test_an_empty_list_says_what_to_do(blog: Blog, visitor: Visitor) -> None:
    assert "@linkback.hooks.register" in visitor.text("/hooks")
    assert "@linkback.hooks.register" in visitor.text("/hooks", tab="hooks")
    assert "@linkback.hooks.register" in visitor.text("/listeners/select")
    blog.linkback.hooks.register(Hook(name="order"))
    assert "/listeners/select" in visitor.text("/hooks")


def test_the_catalogue_counts_who_listens(hooks: Blog, visitor: Visitor) -> None:
    stocked(hooks, 6)
    page = visitor.text("/hooks", tab="hooks")
    for said in ("person.updated", "title, slug", "Person &lt;b&gt;", ">6</td>", ">0</td>"):
        assert said in page
    assert "<b>" not in page.replace('<b class="count">', "")


@pytest.mark.parametrize("n", [1, 60])
def test_the_list(hooks: Blog, visitor: Visitor, n: int) -> None:
    stocked(hooks, n)
    statements: list[str] = []
    with hooks.app.app_context():
        engine = hooks.db.engine

    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    sa.event.listen(engine, "before_cursor_execute", count)
    page = visitor.text("/hooks")
    sa.event.remove(engine, "before_cursor_execute", count)
    assert len(statements) <= 8
    assert len(page.encode()) < 100_000
    assert "name starts with J and address.city is Oslo" in page
    assert "<script>d" not in page
    assert "s3cr3t" not in page
    assert len(ids(page)) == min(n, 50)
    if n == 60:
        assert "0 %" in page
        assert "100 %" in page
        assert ids(visitor.text("/hooks", after=11)) == list(range(10, 0, -1))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"state": "paused"}, [8, 3]),
        ({"hook": "person.created"}, [10, 7, 4, 1]),
        ({"host": "Site4.example"}, [4]),
        ({"url": "/hook/10"}, [10]),
        ({"owner": "acme"}, [10, 8, 6, 4, 2]),
        ({"state": "nonsense"}, list(range(10, 0, -1))),
    ],
)
def test_filters(hooks: Blog, visitor: Visitor, query: dict[str, str], found: list[int]) -> None:
    stocked(hooks, 10)
    assert ids(visitor.text("/hooks", **query)) == found


def test_many_are_paused_and_resumed(hooks: Blog, visitor: Visitor) -> None:
    stocked(hooks, 10)
    page = visitor.send("/hooks", "pause", id=["1", "2", "4", "5"]).text
    assert "2 listeners are paused." in page
    assert "2 listeners stay as they are: The listener" in page
    with hooks.app.app_context():
        session = hooks.db.session
        assert {session.get(Listener, each).state for each in (1, 2)} == {ListenerState.paused}
        assert [each.object_key for each in audits(session, "pause")] == ["listener:2", "listener:1"]
    assert "1 listener has its events." in visitor.send("/hooks", "resume", id=["1"]).text
    with hooks.app.app_context():
        assert hooks.db.session.get(Listener, 1).state is ListenerState.active
    assert "Tick the rows first." in visitor.send("/hooks", "pause").text


def test_many_are_deleted_once_that_is_confirmed(hooks: Blog, visitor: Visitor) -> None:
    stocked(hooks, 4)
    page = visitor.send("/hooks", "delete", id=["1", "3"]).text
    assert "Delete 2 listeners?" in page
    with hooks.app.app_context():
        assert hooks.db.session.query(Listener).count() == 4
    assert "2 listeners are deleted." in visitor.send("/hooks", "delete", id=["1", "3"], confirm="1").text
    with hooks.app.app_context():
        assert hooks.db.session.query(Listener).count() == 2
        assert hooks.db.session.query(ListenerSecret).count() == 2
        assert {each.before["url"] for each in audits(hooks.db.session, "delete")} == {
            "https://site1.example/hook/1?x=<b>",
            "https://site3.example/hook/3?x=<b>",
        }


def test_who_may_only_look_changes_nothing(hooks: Blog, visitor: Visitor) -> None:
    stocked(hooks, 2)
    hooks.linkback.admin_access(lambda action, obj: action == "view")
    page = visitor.text("/hooks")
    assert "Pause" not in page
    assert "Add a listener" not in page
    for action in ("pause", "resume", "delete"):
        assert visitor.send("/hooks", action, id=["1"]).status_code == 403


def test_an_owner_sees_and_changes_their_own_alone(hooks: Blog, visitor: Visitor) -> None:
    stocked(hooks, 10)
    hooks.linkback.admin_access(lambda action, obj: "acme")
    page = visitor.text("/hooks", owner="other")
    assert ids(page) == [10, 8, 6, 4, 2]
    assert ">5</td>" in visitor.text("/hooks", tab="hooks")
    for action in ("pause", "delete"):
        page = visitor.send("/hooks", action, id=["1", "2"], confirm="1").text
        assert "1 listener " in page
    with hooks.app.app_context():
        assert hooks.db.session.get(Listener, 1).state is ListenerState.active
        assert hooks.db.session.get(Listener, 2) is None


def test_a_filter_that_nobody_can_read_breaks_no_page(hooks: Blog, visitor: Visitor) -> None:
    stocked(hooks, 1)
    with hooks.app.app_context():
        hooks.db.session.get(Listener, 1).match = {"version": 9}
        hooks.db.session.commit()
    assert "a filter that cannot be read" in visitor.text("/hooks")
    for tab in ("overview", "withheld", "test", "settings"):
        visitor.text("/listeners/1", tab=tab)
    assert "version" in visitor.text("/listeners/1/filter")
