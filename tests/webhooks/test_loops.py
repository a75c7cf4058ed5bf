"""Laws of loops: webhooks that cause one another end, whoever they go by."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import request

from flask_linkback import Hook
from flask_linkback.models import Event, Job, JobState
from flask_linkback.protocols.standardwebhooks import new_secret
from flask_linkback.webhooks import recording
from flask_linkback.webhooks.receiving import ReceivedEvent
from flask_linkback.webhooks.recording import DELIVER, DISPATCH
from tests.apps import Blog
from tests.webhooks.listening import work


@pytest.fixture
def blog(serve: Callable[..., Blog], sqlite_url: str) -> Blog:
    """A site, served, that shouts whenever somebody tells it something."""
    blog = serve(sqlite_url, content=None, RUNNER="off")

    def again() -> tuple[str, int]:
        Hook(name="shouted").send(said=request.path)
        blog.db.session.commit()
        return "", 204

    blog.app.add_url_rule("/again", "again", again, methods=["POST"])
    return blog


def test_a_loop_by_way_of_http_ends(blog: Blog) -> None:
    with blog.app.app_context():
        Hook(name="shouted").listener(url=f"{blog.base_url}/again").save()
        Hook(name="shouted").send()
        blog.db.session.commit()
        for _ in range(10):
            work(blog)
        depths = blog.db.session.scalars(sa.select(Event.depth).order_by(Event.id)).all()
        assert depths == [0, 1, 2, 3, 4, 5]
        sent = sa.select(sa.func.count()).where(Job.kind == DELIVER, Job.state == JobState.done)
        assert blog.db.session.scalar(sent) == 5
        (end,) = blog.db.session.scalars(sa.select(Job).where(Job.state == JobState.dead))
        assert (end.kind, end.event_id) == (DISPATCH, 6)
        assert "it looks like a loop" in end.reason


@pytest.mark.parametrize(
    ("said", "depth"),
    [
        (None, 0),
        ("3", 3),
        (" 4 ", 4),
        ("5", 5),
        ("6", 5),
        ("9" * 5000, 5),
        ("-1", 0),
        ("1.5", 0),
        ("²", 0),
        ("x" * 5000, 0),
        ("", 0),
    ],
    ids=lambda value: str(value)[:10].encode("ascii", "replace").decode(),
)
def test_what_somebody_says_of_the_depth(blog: Blog, said: str | None, depth: int) -> None:
    headers = {} if said is None else {"Webhook-Depth": said}
    response = blog.app.test_client().post("/again", headers=headers)
    assert response.status_code == 204
    assert recording.depth.get() == 0
    with blog.app.app_context():
        assert blog.db.session.scalars(sa.select(Event.depth)).all() == [depth]


def test_a_request_within_another_keeps_the_depth_of_that(blog: Blog) -> None:
    def outer() -> str:
        blog.app.test_client().post("/again")
        return str(recording.depth.get())

    blog.app.add_url_rule("/outer", "outer", outer)
    assert blog.app.test_client().get("/outer", headers={"Webhook-Depth": "2"}).text == "2"


def test_a_loop_by_way_of_a_receiver_ends(blog: Blog) -> None:
    """What a receiver's function does happens later, in the worker: it is as deep as what was received."""
    secret = new_secret()

    @blog.linkback.webhooks.receiver("mirror", secret=secret)
    def mirror(event: ReceivedEvent) -> None:
        Hook(name="shouted").send(said=event.id)
        blog.db.session.commit()

    with blog.app.app_context():
        url = f"{blog.base_url}/linkback/receive/mirror"
        Hook(name="shouted").listener(url=url, secret=secret).save()
        Hook(name="shouted").send()
        blog.db.session.commit()
        for _ in range(20):
            work(blog)
        depths = blog.db.session.scalars(sa.select(Event.depth).order_by(Event.id)).all()
        assert depths == [0, 1, 2, 3, 4, 5]
        assert recording.depth.get() == 0
