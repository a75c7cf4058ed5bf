"""Laws of formats: an event is said as its listener wants it, and signed as it is said."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from flask_linkback import Hook
from flask_linkback.models import Event, ListenerState
from flask_linkback.protocols import standardwebhooks
from tests.apps import Blog
from tests.neighbours import Neighbour, Request
from tests.pingback.tools import Clock
from tests.webhooks.listening import deliveries, listen, shout, work


def told(blog: Blog, neighbour: Neighbour, format_: str, **event: Any) -> tuple[Event, Request]:
    """Let something be told in a format; its signature is right."""
    listener = listen(blog, neighbour, options={"format": format_})
    happened = shout(blog, word="Hi <you> & @everyone")
    for name, value in event.items():
        setattr(happened, name, value)
    blog.db.session.commit()
    work(blog)
    (request,) = neighbour.requests
    (secret,) = blog.linkback.webhooks.secrets(listener)
    standardwebhooks.verify(secret.secret, dict(request.headers), request.body, now=blog.site.now())
    return happened, request


def test_a_format_that_is_none(blog: Blog, neighbour: Neighbour) -> None:
    with pytest.raises(ValueError, match=r"Did you mean cloudevents\?"):
        listen(blog, neighbour, options={"format": "cloudevent"})


def test_cloudevents_structured(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    """CloudEvents 1.0, JSON format: required attributes, and each attribute is text."""
    event, request = told(blog, neighbour, "cloudevents", object_key="Post:1", changes={"word": ["Ho", "Hi"]})
    assert (request.header("Content-Type") or "").startswith("application/cloudevents+json")
    body = json.loads(request.body)
    assert json.loads(body.pop("changes")) == {"word": ["Ho", "Hi"]}
    assert body == {
        "specversion": "1.0",
        "id": event.uid,
        "source": "https://blog.example",
        "type": "shouted",
        "time": "2026-03-01T12:00:00Z",
        "subject": "Post:1",
        "datacontenttype": "application/json",
        "data": {"word": "Hi <you> & @everyone"},
    }


def test_cloudevents_binary(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    """CloudEvents 1.0, HTTP binding, 3.1.3: header values are percent-encoded where they are not ASCII."""
    event, request = told(blog, neighbour, "cloudevents-binary", object_key='Ort:"Köln 1%"')
    assert request.header("Content-Type") == "application/json"
    assert json.loads(request.body) == {"word": "Hi <you> & @everyone"}
    assert request.header("ce-specversion") == "1.0"
    assert request.header("ce-id") == event.uid
    assert request.header("ce-type") == "shouted"
    assert request.header("ce-source") == "https://blog.example"
    assert request.header("ce-time") == "2026-03-01T12:00:00Z"
    assert request.header("ce-subject") == "Ort:%22K%C3%B6ln%201%25%22"
    assert request.header("ce-datacontenttype") is None


def test_a_form(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    _, request = told(blog, neighbour, "form")
    assert request.header("Content-Type") == "application/x-www-form-urlencoded"
    ((name, [payload]),) = parse_qs(request.body.decode()).items()
    assert (name, json.loads(payload)["data"]) == ("payload", {"word": "Hi <you> & @everyone"})


def test_a_message_for_slack(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    _, request = told(blog, neighbour, "slack", changes={"word": ["Ho", "Hi"]})
    assert json.loads(request.body) == {"text": "*shouted*\nword: Ho → Hi &lt;you&gt; &amp; @everyone"}


def test_a_message_for_discord(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    many = {f"field{number}": "x" * 300 for number in range(30)}
    _, request = told(blog, neighbour, "discord", data={"list": [1, None], **many})
    body = json.loads(request.body)
    assert body["allowed_mentions"] == {"parse": []}
    assert body["content"].startswith("**shouted**\nlist: [1, null]\nfield0: xxx")
    assert len(body["content"]) == 2000


def test_a_hook_speaks_for_itself_where_a_listener_wants_nothing_else(
    blog: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    class Own(Hook):
        name = "shouted"

        def serialize(self, event: Any, listener: Any) -> bytes:
            return b"own"

    blog.linkback.hooks.register(Own)
    neighbour.answer("/other", status=204)
    listen(blog, neighbour, "/other")
    listen(blog, neighbour, options={"format": "slack"})
    shout(blog, blog.linkback.hooks["shouted"])
    work(blog)
    said = {request.path: request.body for request in neighbour.requests}
    assert said == {"/other": b"own", "/listening": b'{"text":"*shouted*"}'}


def test_headers_and_sizes(blog: Blog, neighbour: Neighbour, clock: Clock, caplog: Any) -> None:
    """Own headers go out beside ours; what is too big for anybody is told to nobody, and seen."""
    listener = listen(blog, neighbour, headers={"X-Own": "1", "Authorization": "Bearer x"})
    with pytest.raises(ValueError, match="cannot be given the header"):
        listen(blog, neighbour, headers={"Webhook-Id": "1"})
    shout(blog, text="x" * (20 * 1024))
    assert "many receivers take no more" in caplog.text
    assert Hook(name="shouted").send(text="x" * (256 * 1024)) is None
    blog.db.session.commit()
    work(blog)
    (request,) = neighbour.requests
    assert (request.header("X-Own"), request.header("Authorization")) == ("1", "Bearer x")
    assert [job.listener_id for job in deliveries(blog)] == [listener.id]
    assert listener.state is ListenerState.active
