"""Laws of the screens of jobs: what was given up is done again, and nothing else is."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_linkback.models import Audit, Job, JobState, Listener
from tests.admin.conftest import Visitor
from tests.admin.stock import fill
from tests.apps import Blog

SENT, LINK = 7, 3
"""Of the stock, what was given up: a delivery, and a job of another kind."""


def state(blog: Blog, id_: int) -> str:
    with blog.app.app_context():
        return str(blog.db.session.get_one(Job, id_).state.value)


@pytest.fixture
def stocked(blog: Blog) -> Blog:
    with blog.app.app_context():
        fill(blog, 12)
        blog.db.session.execute(sa.update(Listener).values(state="active"))
        blog.db.session.commit()
    return blog


def test_an_empty_list_says_what_to_do(visitor: Visitor) -> None:
    assert "Nothing is owed" in visitor.text("/jobs")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"state": "dead"}, {3, 7, 11}),
        ({"kind": "post_webhook", "state": "dead"}, {7, 11}),
        ({"host": "site9.example"}, {9}),
    ],
)
def test_filters(stocked: Blog, visitor: Visitor, query: dict[str, str], shown: set[int]) -> None:
    text = visitor.text("/jobs", **query)
    assert {n for n in range(1, 13) if f'/jobs/{n}"' in text} == shown


@pytest.mark.parametrize("id_", [SENT, LINK])
def test_one_that_was_given_up_is_owed_again(stocked: Blog, visitor: Visitor, id_: int) -> None:
    assert "1 job is queued." in visitor.send(f"/jobs/{id_}", "replay").text
    assert state(stocked, id_) == "pending"
    with stocked.app.app_context():
        asked = sa.select(Audit).where(Audit.object_key == f"job:{id_}", Audit.action == "replay")
        (note,) = stocked.db.session.scalars(asked).all()
        assert (note.who, note.before) == ("ada@example.org", {"state": "dead"})


@pytest.mark.parametrize("id_", [1, 2, 4])
def test_nothing_else_is(stocked: Blog, visitor: Visitor, id_: int) -> None:
    before = state(stocked, id_)
    assert before != JobState.dead
    visitor.text("/jobs/7")  # whose page has a token
    answer = visitor.send(f"/jobs/{id_}", "replay")
    assert "Only what was given up is replayed." in answer.text
    assert "Tick the rows first." in visitor.send("/jobs", "replay", id=str(id_)).text
    assert state(stocked, id_) == before


def test_a_delivery_that_has_nobody_to_go_to_stays(stocked: Blog, visitor: Visitor) -> None:
    with stocked.app.app_context():
        stocked.db.session.execute(sa.delete(Listener).where(Listener.id == SENT))
        stocked.db.session.commit()
    assert "The listener is gone." in visitor.send(f"/jobs/{SENT}", "replay").text
    answer = visitor.send("/jobs", "replay", id=[str(SENT), str(LINK)])
    assert "1 job is queued." in answer.text
    assert "1 was left alone: The listener is gone." in answer.text
    assert (state(stocked, SENT), state(stocked, LINK)) == ("dead", "pending")


def test_it_takes_the_right_to_resend(stocked: Blog, visitor: Visitor) -> None:
    stocked.linkback.admin_access(lambda action, obj: action != "resend")
    assert visitor.send(f"/jobs/{SENT}", "replay").status_code == 403
    assert ">Replay<" not in visitor.text(f"/jobs/{SENT}")
    assert state(stocked, SENT) == "dead"
