"""Laws of the overview: is owed work done, and who makes trouble?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from flask_linkback.models import Listener, Worker
from tests.admin.conftest import Visitor
from tests.admin.stock import fill
from tests.apps import Blog


def test_without_a_worker_that_is_said_first(visitor: Visitor) -> None:
    text = visitor.text("/")
    assert "No worker is running." in text
    assert "flask linkback worker" in text
    assert "Nothing was delivered in the last 24 hours." in text


def test_a_worker_that_was_seen_lately_is_no_trouble_and_one_that_was_not_is(
    blog: Blog, visitor: Visitor
) -> None:
    with blog.app.app_context():
        fill(blog, 1)
    assert "No worker is running." not in visitor.text("/")
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Worker).values(seen_at=datetime.now(UTC) - timedelta(hours=2)))
        blog.db.session.commit()
    text = visitor.text("/")
    assert "No worker is running." in text
    assert "2 hours ago" in text


def test_deliveries_are_counted_and_those_in_trouble_named(blog: Blog, visitor: Visitor) -> None:
    with blog.app.app_context():
        fill(blog, 12)
    text = visitor.text("/")
    # of the stock 2 and 10 were delivered, 7 and 11 given up; 3 is no delivery
    assert "2 delivered and 2 given up in the last 24 hours" in text
    assert "1 of 1" in text
    assert "https://site7.example/hook/7" in text


def test_an_owner_sees_what_is_theirs(blog: Blog, visitor: Visitor) -> None:
    with blog.app.app_context():
        fill(blog, 12)
        owned = blog.db.session.scalars(sa.select(Listener.id).where(Listener.owner == "acme")).all()
        assert 7 not in owned
    blog.linkback.admin_access(lambda action, obj: "acme")
    text = visitor.text("/")
    assert "2 delivered and 0 given up" in text
    assert "site7.example" not in text
    assert "worker last seen" not in text
    assert "Mentions" not in text
