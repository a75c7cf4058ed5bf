"""Laws of recording: an event is in the transaction in which it happens, whatever that does."""

from __future__ import annotations

import logging
import os
import random
import re
import subprocess
import sys
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook, ModelHook
from flask_linkback.changes import BulkRefused
from flask_linkback.models import Event, Job
from flask_linkback.webhooks.recording import DISPATCH
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.webhooks.people import bodies


def hooked(blog: Blog, **options: Any) -> Any:
    """Register a hook on posts and return it."""
    options.setdefault("provides_args", ["slug", "title"])
    return blog.linkback.hooks.register(ModelHook(model=blog.Post, name="post", **options))


def told(blog: Blog) -> list[tuple[str, Any]]:
    """Return type and changes of all events that are committed."""
    with blog.site.new_session() as session:
        events = session.scalars(sa.select(Event).order_by(Event.id)).all()
        owed = session.scalars(sa.select(Job.event_id).where(Job.kind == DISPATCH).order_by(Job.event_id))
        assert list(owed) == [event.id for event in events]
        return [(event.type, event.changes) for event in events]


def test_a_rollback_leaves_none(blog: Blog) -> None:
    hooked(blog)
    blog.db.session.add(blog.Post(slug="a"))
    blog.db.session.flush()
    Hook(name="by hand").send(n=1)
    blog.db.session.rollback()
    assert told(blog) == []


def test_a_savepoint_that_rolls_back_takes_its_own_along(blog: Blog) -> None:
    hooked(blog)
    session = blog.db.session
    session.add(blog.Post(slug="a"))
    with session.begin_nested() as savepoint:
        session.add(blog.Post(slug="b"))
        session.flush()
        Hook(name="by hand").send(n=1)
        savepoint.rollback()
    session.commit()
    assert [changes["slug"] for _, changes in told(blog)] == [[None, "a"]]


def test_a_savepoint_that_is_released_tells_nothing_yet(blog: Blog) -> None:
    hooked(blog)
    with blog.db.session.begin_nested():
        blog.db.session.add(blog.Post(slug="a"))
    assert told(blog) == []
    blog.db.session.rollback()
    assert told(blog) == []


def test_one_event_for_all_that_a_transaction_does_to_an_object(blog: Blog) -> None:
    hooked(blog)
    session = blog.db.session
    post, gone = blog.Post(slug="a", title="1"), blog.Post(slug="b")
    session.add_all([post, gone])
    session.flush()
    post.title = "2"
    session.delete(gone)
    session.commit()
    for title in ("3", "4"):
        post.title = title
        session.flush()
    session.commit()
    assert told(blog) == [
        ("post.created", {"slug": [None, "a"], "title": [None, "2"]}),
        ("post.updated", {"title": ["2", "4"]}),
    ]


def test_the_old_value_of_an_expired_object_is_known_and_the_same_is_no_change(blog: Blog) -> None:
    hooked(blog)
    post = blog.add("a", title="1")
    post.title = "1"
    blog.db.session.commit()
    blog.db.session.expire_all()
    post.title = "2"
    blog.db.session.commit()
    assert told(blog)[1:] == [("post.updated", {"title": ["1", "2"]})]


@pytest.mark.parametrize("bulk", ["warning", "error", "event"])
def test_statements_that_change_rows_without_objects(
    blog: Blog, bulk: str, caplog: pytest.LogCaptureFixture
) -> None:
    hooked(blog, bulk=bulk)
    blog.add("a")
    change = sa.update(blog.Post).values(title="x")
    with caplog.at_level(logging.WARNING, "flask_linkback.changes"):
        if bulk == "error":
            with pytest.raises(BulkRefused, match="ModelHook post"):
                blog.db.session.execute(change)
            blog.db.session.rollback()
        else:
            blog.db.session.execute(change)
            blog.db.session.commit()
    assert [type_ for type_, _ in told(blog)] == [
        "post.created",
        *(["post.updated"] if bulk == "event" else []),
    ]
    assert ("does not see a bulk statement on Post" in caplog.text) is (bulk == "warning")


def test_an_event_by_hand_is_there_before_the_commit_and_told_after_it(
    blog: Blog, neighbour: Neighbour
) -> None:
    hook = Hook(name="shouted", is_async=False)
    hook.listener(url=neighbour.url("/listening")).save()
    event = hook.send(word="Hi")
    assert event is not None
    assert event.data == {"word": "Hi"}
    assert not neighbour.requests
    blog.db.session.commit()
    assert [body["type"] for body in bodies(neighbour)] == ["shouted"]


def test_what_is_delivered_at_once_waits_for_the_outermost_commit(blog: Blog, neighbour: Neighbour) -> None:
    hooked(blog, is_async=False)
    blog.linkback.hooks["post"].listener(url=neighbour.url("/listening")).save()
    with blog.db.session.begin_nested():
        blog.db.session.add(blog.Post(slug="a"))
    assert not neighbour.requests
    blog.db.session.commit()
    assert len(neighbour.requests) == 1


def test_a_listener_that_fails_fails_no_commit(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/listening", status=500)
    hooked(blog, is_async=False)
    blog.linkback.hooks["post"].listener(url=neighbour.url("/listening")).save()
    blog.add("a")
    assert len(neighbour.requests) == 1


def test_an_event_has_a_name_of_its_own(blog: Blog) -> None:
    hooked(blog)
    for slug in ("a", "b"):
        random.seed(7)  # an application may
        blog.db.session.add(blog.Post(slug=slug))
        blog.db.session.commit()
    names = blog.db.session.scalars(sa.select(Event.uid)).all()
    assert len(set(names)) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)


FORKS = """
import os
from flask_linkback.webhooks.recording import new_uid

new_uid()
reader, writer = os.pipe()
if not os.fork():
    os.write(writer, new_uid().encode())
    os._exit(0)
os.wait()
assert os.read(reader, 64).decode() != new_uid()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_processes_that_fork_name_their_events_differently() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
