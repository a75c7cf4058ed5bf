"""Hubs: blogs that are hubs, and callbacks of subscribers as neighbours that can misbehave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import sqlalchemy as sa

from flask_linkback.models import Subscriber
from flask_linkback.outbox.chores import Timetable
from tests.apps import Blog
from tests.neighbours import Answer, Neighbour, Request, Wire
from tests.pingback.tools import CALLER, Clock, rows, work

HUB = "/linkback/hub"
FORM = "application/x-www-form-urlencoded"
SETTINGS: Mapping[str, Any] = {"HUB_ENABLED": True, "HUB_TOPICS": "any", "content": None}
ATOM = "application/atom+xml; charset=utf-8"
Pairs = list[tuple[str, str]]


def ask(
    blog: Blog, fields: Mapping[str, Any] | Pairs | bytes, *, caller: str = CALLER, **options: Any
) -> Any:
    """Post to the hub; what is not documented fails."""
    options.setdefault("content_type", FORM)
    body = fields if isinstance(fields, bytes) else urlencode(fields, doseq=True).encode()
    response = blog.app.test_client().post(
        HUB, data=body, environ_overrides={"REMOTE_ADDR": caller}, **options
    )
    assert response.status_code in (202, 204, 400, 403, 413, 415, 429), response.status
    if response.status_code == 204:
        assert response.data == b""
    else:
        assert response.content_type == "text/plain; charset=utf-8"
        assert 0 < len(response.text.strip()) <= 200
    assert ("Retry-After" in response.headers) == (response.status_code == 429)
    return response


def ask_for(
    blog: Blog, callback: str, topic: str, mode: str = "subscribe", *, caller: str = CALLER, **more: Any
) -> Any:
    """Ask to subscribe or unsubscribe; ``lease_seconds`` and the like are parameters of ``hub.``."""
    fields = {"hub.mode": mode, "hub.callback": callback, "hub.topic": topic}
    fields |= {name if name == "whole" else f"hub.{name}": value for name, value in more.items()}
    return ask(blog, fields, caller=caller)


def publish(blog: Blog, *topics: str, caller: str = CALLER) -> None:
    """Tell the hub that topics have something new, and let it do what it owes."""
    assert ask(blog, {"hub.mode": "publish", "hub.url": list(topics)}, caller=caller).status_code == 204
    work(blog)


@dataclass
class Callback:
    """The callback of a subscriber: it agrees to whatever it is asked, unless told otherwise.

    ``answer`` is how it takes content; ``confirm`` how it answers a verification, by the challenge.
    """

    neighbour: Neighbour
    path: str = "/callback"
    query: str = ""
    answer: Any = field(default_factory=lambda: Answer(status=204))
    confirm: Callable[[str], Answer] = lambda challenge: Answer(status=200, body=challenge.encode())
    asked: list[dict[str, str]] = field(default_factory=list)
    taken: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.neighbour.route(self.path, self._serve)

    @property
    def url(self) -> str:
        return self.neighbour.url(f"{self.path}{self.query}")

    def _serve(self, request: Request, wire: Wire) -> None:
        if request.method == "POST":
            self.taken.append(request)
            if isinstance(self.answer, Answer):
                wire.send(self.answer.dump("POST"))
            else:
                self.answer(request, wire)
            return
        fields = parse_qsl(request.path.partition("?")[2], keep_blank_values=True)
        # the hub's own parameters come last
        self.asked.append({name: value for name, value in fields if name.startswith("hub.")})
        wire.send(self.confirm(self.asked[-1].get("hub.challenge", "")).dump("GET"))

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.taken]


@dataclass
class Topic:
    """A topic as a neighbour serves it."""

    neighbour: Neighbour
    path: str = "/feed"
    content_type: str = "text/html; charset=utf-8"

    @property
    def url(self) -> str:
        return self.neighbour.url(self.path)

    def say(self, body: bytes, **headers: str) -> None:
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.neighbour.answer(self.path, 200, body, [("Content-Type", self.content_type), *pairs])

    @property
    def looks(self) -> list[Request]:
        return [each for each in self.neighbour.requests if each.path.partition("?")[0] == self.path]


def subscribe(blog: Blog, callback: Callback, topic: str, **more: Any) -> None:
    """Subscribe and be verified."""
    assert ask_for(blog, callback.url, topic, **more).status_code == 202
    work(blog)


def subscriber(blog: Blog, number: int = 0) -> Subscriber:
    return rows(blog, Subscriber)[number]  # type: ignore[no-any-return]


def change(blog: Blog, **values: Any) -> None:
    """Change the rows of all subscribers."""
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Subscriber).values(**values))
        blog.db.session.commit()


def tend(blog: Blog, clock: Clock, **ago: float) -> None:
    """Let time pass, and do the chores."""
    clock.at += timedelta(**ago)
    blog.site.get(Timetable).__init__()  # type: ignore[misc]
    work(blog)
