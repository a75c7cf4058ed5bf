"""Following: a publisher and a hub as neighbours, and a blog that follows them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

import sqlalchemy as sa

from flask_linkback import signals
from flask_linkback.models import Subscription, SubscriptionRequest
from flask_linkback.protocols.signatures import sign
from tests.apps import Blog
from tests.neighbours import Answer, Neighbour, Request, Wire
from tests.pingback.tools import request

CHALLENGE = "what+a challenge/é"
ENTRY = (
    "<entry><id>{0}</id><title>Entry {0}</title><updated>2026-01-01T00:00:00Z</updated>"
    '<link href="https://topic.example/{0}"/></entry>'
)


def feed(*entries: str, self_url: str = "", hubs: tuple[str, ...] = ()) -> bytes:
    """An Atom feed with entries of these ids."""
    links = "".join(f'<link rel="hub" href="{hub}"/>' for hub in hubs)
    if self_url:
        links += f'<link rel="self" href="{self_url}"/>'
    written = "".join(map(ENTRY.format, entries))
    return (
        f'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>T</title><id>urn:t</id>'
        f"<updated>2026-01-01T00:00:00Z</updated>{links}{written}</feed>"
    ).encode()


class Hub:
    """A hub at a neighbour: it takes requests, and confirms them when it is told to."""

    def __init__(self, neighbour: Neighbour, path: str = "/hub", *, status: int = 202, lease: int = 864000):
        self.neighbour = neighbour
        self.url = neighbour.url(path)
        self.status = status
        self.lease = lease
        self.text = b""
        self.headers: list[tuple[str, str]] = []
        self.at_once = False
        """Confirm before the request is answered."""
        self.requests: list[dict[str, str]] = []
        self.asked: list[Request] = []
        self.answers: list[tuple[int, bytes]] = []
        self._lock = threading.Lock()
        neighbour.route(path, self.take)

    def take(self, asked: Request, wire: Wire) -> None:
        """Answer a request, and remember it."""
        form = {name: values[-1] for name, values in parse_qs(asked.body.decode()).items()}
        with self._lock:
            self.requests.append(form)
            self.asked.append(asked)
        if self.at_once:
            self.answers.append(self.confirm(form))
        wire.send(Answer(status=self.status, body=self.text, headers=self.headers).dump(asked.method))

    def confirm(self, form: Mapping[str, str] | None = None, **other: Any) -> tuple[int, bytes]:
        """Ask the callback of a request, the last one by default; return what is answered."""
        form = form or self.requests[-1]
        query = {
            "hub.mode": form["hub.mode"],
            "hub.topic": form["hub.topic"],
            "hub.challenge": CHALLENGE,
            "hub.lease_seconds": str(self.lease),
            **{f"hub.{name}": value for name, value in other.items()},
        }
        said = {name: value for name, value in query.items() if value is not None}
        status, _, body = request("GET", f"{form['hub.callback']}?{urlencode(said)}")
        return status, body

    def deny(self, form: Mapping[str, str] | None = None, reason: str | None = None) -> int:
        form = form or self.requests[-1]
        return self.confirm(form, mode="denied", challenge=None, lease_seconds=None, reason=reason)[0]

    def deliver(
        self,
        body: bytes,
        form: Mapping[str, str] | None = None,
        *,
        algorithm: str = "sha256",
        secret: str | None = None,
        **headers: str,
    ) -> int:
        """Bring content to the callback of a request, signed where it has a secret."""
        form = form or self.requests[-1]
        sent = {
            "Content-Type": "application/atom+xml",
            **{n.replace("_", "-"): v for n, v in headers.items()},
        }
        secret = secret if secret is not None else form.get("hub.secret")
        if secret:
            sent["X-Hub-Signature"] = sign(secret, body, algorithm)
        return request("POST", form["hub.callback"], body, sent)[0]


class Heard:
    """What the signals of a blog have said."""

    def __init__(self, blog: Blog) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._receivers: list[Any] = []
        for name in (
            "updated",
            *(
                f"subscription_{end}"
                for end in ("verified", "denied", "failed", "renewed", "moved", "expired")
            ),
        ):
            receiver = self._receiver(name)
            self._receivers.append(receiver)  # signals hold them weakly
            getattr(signals, name).connect(receiver, sender=blog.app)

    def _receiver(self, name: str) -> Any:
        def receive(app: Any, **values: Any) -> None:
            self.said.append((name, {**values, "subscription": values["subscription"].id}))

        return receive

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.said]

    def bodies(self) -> list[bytes]:
        return [values["notification"] for name, values in self.said if name == "updated"]


def subscribe(blog: Blog, url: str, **options: Any) -> int:
    """Subscribe, commit, and return the id."""
    with blog.app.app_context():
        subscription = blog.linkback.websub.subscribe(url, **options)
        blog.db.session.commit()
        return subscription.id


def subscription(blog: Blog) -> Subscription:
    with blog.app.app_context():
        return blog.db.session.scalars(sa.select(Subscription)).one()


def requests_of(blog: Blog) -> list[SubscriptionRequest]:
    with blog.app.app_context():
        return list(blog.db.session.scalars(sa.select(SubscriptionRequest).order_by(SubscriptionRequest.id)))
