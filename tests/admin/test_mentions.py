"""Laws of the screens of mentions: decided about by people, with a note of who did, and why one waits."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_linkback.models import Audit, Mention, MentionState, MentionStatus
from tests.admin.conftest import Visitor
from tests.admin.stock import fill
from tests.apps import Blog


def stock(blog: Blog, n: int, **values: object) -> None:
    """Write mentions; those values are of each."""
    with blog.app.app_context():
        fill(blog, n)
        if values:
            blog.db.session.execute(sa.update(Mention).values(**values))
            blog.db.session.commit()


def statuses(blog: Blog) -> dict[int, str]:
    with blog.app.app_context():
        return {each.id: each.status.value for each in blog.db.session.scalars(sa.select(Mention))}


def test_an_empty_list_says_what_to_do(visitor: Visitor) -> None:
    assert "linkback_head()" in visitor.text("/mentions")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"status": "approved"}, {1, 5}),
        ({"state": "gone"}, {2, 6}),
        ({"protocol": "trackback"}, {2, 5}),
        ({"type": "reply"}, {1, 4}),
        ({"host": "Site3.example"}, {3}),
        ({"target": "/post/6"}, {6}),
        ({"status": "approved", "host": "site5.example"}, {5}),
        ({"status": "rubbish"}, {1, 2, 3, 4, 5, 6}),
    ],
)
def test_filters(blog: Blog, visitor: Visitor, query: dict[str, str], shown: set[int]) -> None:
    stock(blog, 6)
    text = visitor.text("/mentions", **query)
    assert {n for n in range(1, 7) if f'/mentions/{n}"' in text} == shown


@pytest.mark.parametrize("status", ["approved", "rejected", "spam"])
def test_what_is_ticked_is_decided(blog: Blog, visitor: Visitor, status: str) -> None:
    stock(blog, 3, status=MentionStatus.pending)
    answer = visitor.send("/mentions", "decide", id=["1", "3"], status=status)
    assert "2 mentions are" in answer.text
    assert statuses(blog) == {1: status, 2: "pending", 3: status}
    with blog.app.app_context():
        made = blog.db.session.scalars(
            sa.select(Audit).where(Audit.before["status"].as_string() == "pending", Audit.id > 3)
        ).all()
        assert {each.object_key for each in made} == {"mention:1", "mention:3"}
        assert {each.who for each in made} == {"ada@example.org"}


def test_nothing_ticked_and_nothing_chosen_are_said(blog: Blog, visitor: Visitor) -> None:
    stock(blog, 1, status=MentionStatus.pending)
    assert "Tick the rows first." in visitor.send("/mentions", "decide", status="spam").text
    assert "Choose what to decide." in visitor.send("/mentions/1", "decide", status="x").text
    assert statuses(blog) == {1: "pending"}


def test_one_is_decided_on_its_page_which_says_who_did(blog: Blog, visitor: Visitor) -> None:
    stock(blog, 1, status=MentionStatus.pending)
    text = visitor.send("/mentions/1", "decide", status="rejected").text
    assert "pending → rejected" in text
    assert statuses(blog) == {1: "rejected"}


def test_who_was_erased_stays_rejected(blog: Blog, visitor: Visitor) -> None:
    stock(blog, 1, source="", status=MentionStatus.rejected)
    visitor.text("/blocks")  # a page with a token: its own has nothing to press
    assert "stays rejected" in visitor.send("/mentions/1", "decide", status="approved").text
    assert statuses(blog) == {1: "rejected"}


@pytest.mark.parametrize(
    ("state", "rules", "why"),
    [
        (MentionState.received, (), "was not looked at yet"),
        (MentionState.failed, (), "has no link to the page"),
        (MentionState.verified, (), "LINKBACK_AUTO_APPROVE is empty"),
    ],
)
def test_it_is_said_why_one_waits(
    blog: Blog, visitor: Visitor, state: MentionState, rules: tuple[str, ...], why: str
) -> None:
    stock(blog, 1, state=state, status=MentionStatus.pending)
    object.__setattr__(blog.site.settings.linkbacks, "auto_approve", rules)
    assert why in visitor.text("/mentions/1")


def test_a_link_that_is_none_is_text(blog: Blog, visitor: Visitor) -> None:
    stock(blog, 3, author_url="javascript:alert(1)")
    text = visitor.text("/mentions/3")
    assert "javascript:alert(1)" in text
    assert 'href="javascript:' not in text
