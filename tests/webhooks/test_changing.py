"""Laws of changing a listener: all of it or nothing, and from then on it counts."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook, match
from flask_linkback.models import Job, ListenerState, digest
from flask_linkback.webhooks.listeners import change_filter, change_listener
from flask_linkback.webhooks.shaking import SHAKE
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.webhooks.listening import listen, shout, work


def test_a_listener_has_other_events_at_another_url(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/elsewhere", status=204)
    listener = listen(blog, neighbour)
    shout(blog)
    work(blog)
    change_listener(
        blog.site,
        listener,
        hook="other",
        url=neighbour.url("/elsewhere"),
        headers={"X-Who": "me"},
        options={},
    )
    blog.db.session.commit()
    assert (listener.hook_hash, listener.host) == (digest("other"), "127.0.0.1")
    shout(blog)
    shout(blog, Hook(name="other"))
    work(blog)
    assert [request.path for request in neighbour.requests] == ["/listening", "/elsewhere"]
    assert neighbour.requests[1].header("X-Who") == "me"


@pytest.mark.parametrize(
    "wrong",
    [{"hook": "a*"}, {"url": "https://a.example/ b"}, {"headers": {"Host": "x"}}, {"options": {"rate": -1}}],
)
def test_what_cannot_be_changes_nothing(blog: Blog, neighbour: Neighbour, wrong: dict[str, Any]) -> None:
    listener = listen(blog, neighbour)
    right: dict[str, Any] = {"hook": "other", "url": "https://a.example/", "headers": {}, "options": {}}
    with pytest.raises(Exception, match=r"URL|hook|header|option"):
        change_listener(blog.site, listener, **{**right, **wrong})
    assert not blog.db.session.dirty
    assert listener.hook == "shouted"


def test_who_has_not_agreed_is_asked_where_it_is_now(blog: Blog, neighbour: Neighbour) -> None:
    listener = listen(blog, neighbour)
    listener.state = ListenerState.unverified
    change_listener(blog.site, listener, hook="shouted", url="https://a.example/", headers={}, options={})
    assert blog.db.session.scalar(sa.select(sa.func.count()).where(Job.kind == SHAKE)) == 1


def test_a_listener_wants_other_events(blog: Blog, neighbour: Neighbour) -> None:
    listener = listen(blog, neighbour)
    shout(blog, word="Joe")
    work(blog)
    change_filter(blog.site, listener, {"word": match.Startswith("S")})
    blog.db.session.commit()
    for word in ("Jim", "Simon"):
        shout(blog, word=word)
    work(blog)
    assert len(neighbour.requests) == 2
    with pytest.raises(match.MatchError):
        change_filter(blog.site, listener, {"word": match.Is("x" * 2000)})
