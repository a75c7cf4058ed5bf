"""Audit: who did what to what, to be found again."""

from __future__ import annotations

from typing import Any

import pytest

from flask_linkback.blueprints.admin.audit import Change, changes_of
from flask_linkback.models import Audit
from tests.admin.conftest import Visitor
from tests.admin.stock import fill
from tests.apps import Blog

ROW = '<td data-label="When">'
FILTERS = [
    ({"who": "ada@"}, 30),
    ({"action": "pause"}, 1),
    ({"object_key": "mention:7"}, 1),
    ({"object_key": "mention:7", "action": "pause"}, 0),
]
PAGES = [
    ("listener:3", "/listeners/3"),
    ("mention:7", "/mentions/7"),
    ("job:9", "/jobs/9"),
    ("receipt:4", "/receivers/4"),
    ("block:bad.example/?a=b", "/blocks?value=bad.example/?a%3Db"),
    ("directory_ping:1", None),
    ("mention:x", None),
    ("overview:1", None),
    ("mention:²", None),
    ("mention:" + "9" * 40, None),
    ("<script>:1", None),
    ("", None),
]


@pytest.fixture
def stocked(blog: Blog) -> Blog:
    with blog.app.app_context():
        fill(blog, 60)
    return blog


def _add(blog: Blog, object_key: str, **values: Any) -> None:
    with blog.app.app_context():
        row = Audit(at=blog.site.now(), who="joe", action="pause", object_key=object_key, **values)
        blog.db.session.add(row)
        blog.db.session.commit()


def test_nobody_did_anything(visitor: Visitor) -> None:
    assert "Nobody did anything yet." in visitor.text("/audit")


def test_a_page_of_the_list(stocked: Blog, visitor: Visitor) -> None:
    text = visitor.text("/audit")
    assert text.count(ROW) == 50
    assert "pending</bdi> → <bdi>approved" in text
    assert "<form method" not in text  # nothing of it can be changed
    assert visitor.text("/audit", after=11).count(ROW) == 10


def test_filters(stocked: Blog, visitor: Visitor) -> None:
    _add(stocked, "listener:3")
    for query, count in FILTERS:
        assert visitor.text("/audit", **query).count(ROW) == count, query


def test_what_it_was_about_is_linked(blog: Blog, visitor: Visitor) -> None:
    for key, _ in PAGES:
        _add(blog, key)
    text = visitor.text("/audit")
    cells = text.split('data-label="What">')[:0:-1]
    for cell, (key, path) in zip(cells, PAGES, strict=True):
        linked = "" if path is None else f' href="/linkback/admin{path}">'
        assert cell.startswith(f"<a{linked}") == bool(linked), key
    assert "<script>" not in text


def test_changes_are_what_differs() -> None:
    before, after = {"url": "a", "same": 1, "gone": [1]}, {"url": "b", "same": 1, "new": "x" * 99}
    assert changes_of(before, after) == [
        Change(name="url", before="a", after="b"),
        Change(name="gone", before="[1]"),
        Change(name="new", after="x" * 59 + "…"),
    ]
    assert changes_of(None, None) == []
    assert len(changes_of(None, {str(n): n for n in range(99)})) == 6
