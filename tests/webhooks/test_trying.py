"""Laws of trying: what a filter makes of what happened, and what it left out."""

from __future__ import annotations

from typing import Any

import pytest

from flask_linkback import Hook, match
from flask_linkback.webhooks import trying
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.webhooks.listening import listen, shout, work


def test_what_a_listener_was_not_told_and_why(blog: Blog, neighbour: Neighbour) -> None:
    before = shout(blog, word="Jack")
    listener = listen(blog, neighbour)
    for each in (before, *(shout(blog, word=word) for word in ("Joe", "Simon"))):
        assert each.dispatched_at is None
    work(blog)
    # what was owed by another filter was not left out
    listener.match = match.dump({"word": match.Startswith("J")})
    blog.db.session.commit()
    shout(blog, word="Carl")
    assert trying.withheld(blog.site, listener) == []
    work(blog)
    ((event, reason),) = trying.withheld(blog.site, listener)
    assert event.data == {"word": "Carl"}
    assert "Carl" in reason
    assert trying.withheld(blog.site, listener, within=0) == []


def test_a_hook_that_decides_itself_is_asked_about_few(blog: Blog, neighbour: Neighbour) -> None:
    class Own(Hook):
        name = "own"

        def event_filter(self, sender: Any, payload: Any, match: Any) -> bool:
            return False

    blog.linkback.hooks.register(Own)
    hook = blog.linkback.hooks["own"]
    assert trying.decides_itself(hook)
    assert not trying.decides_itself(Hook(name="shouted"))
    listener = hook.listener(url=neighbour.url("/listening")).save()
    for number in range(25):
        shout(blog, hook, number=number)
    work(blog)
    withheld = trying.withheld(blog.site, listener)
    assert len(withheld) == 20
    assert withheld[0][1] == "Own decides itself, and leaves it out."


def test_the_newest_events_of_a_pattern(blog: Blog) -> None:
    first = shout(blog, word="Joe")
    second = shout(blog, word="Jim")
    found = trying.recent(blog.site, "shouted")
    assert [each.id for each in found] == [second.id, first.id]
    assert [each.id for each in trying.recent(blog.site, "*", within=1)] == [second.id]
    assert trying.recent(blog.site, "shouted.*") == []
    with pytest.raises(ValueError, match="no name of a hook"):
        trying.recent(blog.site, "a*")
