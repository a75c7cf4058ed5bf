"""Laws of secrets: all that are valid sign, by a secret that is shared or by the key of a pair."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from flask_linkback import signals
from flask_linkback.models import Listener, ListenerSecret
from flask_linkback.outbox.worker import drain
from flask_linkback.protocols import standardwebhooks
from tests.apps import Blog
from tests.neighbours import Neighbour, Request
from tests.pingback.tools import Clock
from tests.webhooks.listening import DAY, listen, shout, work, work_ahead


def signers(request: Request, *secrets: str) -> list[bool]:
    """Which of some secrets have signed a request?"""
    signatures = (request.header("webhook-signature") or "").split()
    signed = f"{request.header('webhook-id')}.{request.header('webhook-timestamp')}.".encode() + request.body
    at, webhook_id = int(request.header("webhook-timestamp") or 0), request.header("webhook-id") or ""
    assert signed.startswith(webhook_id.encode())
    when = datetime.fromtimestamp(at, UTC)
    return [
        standardwebhooks.sign(secret, webhook_id=webhook_id, at=when, body=request.body) in signatures
        for secret in secrets
    ]


def told(blog: Blog, neighbour: Neighbour) -> Request:
    """Let something happen and return how it was told."""
    neighbour.requests.clear()
    shout(blog)
    work(blog)
    (request,) = neighbour.requests
    return request


def test_old_and_new_sign_until_the_old_one_ends(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    listener = listen(blog, neighbour)
    (first,) = [each.secret for each in blog.linkback.webhooks.secrets(listener)]
    second = blog.linkback.webhooks.rotate_secret(listener)
    blog.db.session.commit()
    assert second != first
    assert signers(told(blog, neighbour), second, first) == [True, True]
    assert [each.secret for each in blog.linkback.webhooks.secrets(listener)] == [second, first]
    assert first not in repr(blog.linkback.webhooks.secrets(listener)[1].secret)
    clock.move(DAY)
    assert signers(told(blog, neighbour), second, first) == [True, False]
    assert len(blog.linkback.webhooks.secrets(listener)) == 1


def test_a_new_one_signs_what_was_read_together_with_the_old_one(blog: Blog, neighbour: Neighbour) -> None:
    listener = listen(blog, neighbour)
    (old,) = [each.secret for each in blog.linkback.webhooks.secrets(listener)]
    new = standardwebhooks.new_secret()
    for _ in range(2):
        shout(blog)
    drain(blog.site, limit=2)  # who wants them is known

    def rotate(sender: Any, listener: Listener, **_: Any) -> None:
        if len(neighbour.requests) == 1:
            blog.linkback.webhooks.rotate_secret(listener, overlap_seconds=0, secret=new)
            blog.db.session.commit()

    with signals.delivery_succeeded.connected_to(rotate, sender=blog.app):
        work_ahead(blog)
    assert [signers(each, old, new) for each in neighbour.requests] == [[True, False], [False, True]]


def test_a_secret_that_leaked_ends_at_once(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    listener = listen(blog, neighbour)
    (first,) = [each.secret for each in blog.linkback.webhooks.secrets(listener)]
    own = standardwebhooks.new_secret()
    blog.linkback.webhooks.rotate_secret(listener)
    assert blog.linkback.webhooks.rotate_secret(listener, overlap_seconds=0, secret=own) == own
    blog.db.session.commit()
    assert signers(told(blog, neighbour), own, first) == [True, False]
    assert len(blog.db.session.scalars(sa.select(ListenerSecret.id)).all()) == 1


def test_no_more_than_five_old_ones(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    listener = listen(blog, neighbour)
    made = [blog.linkback.webhooks.secrets(listener)[0].secret]
    for _ in range(7):
        clock.move(1)
        made.append(blog.linkback.webhooks.rotate_secret(listener, overlap_seconds=7 * DAY))
    blog.db.session.commit()
    assert signers(told(blog, neighbour), *made) == [False] * 2 + [True] * 6


@pytest.mark.parametrize(
    ("overlap", "secret", "said"),
    [
        (-1, None, "0 to 604800 seconds"),
        (7 * DAY + 1, None, "0 to 604800 seconds"),
        (0, "whsec_short", "base64|bytes"),
        (0, "short", "24 to 64 bytes"),
        (0, "whpk_" + "A" * 43 + "=", "only verifies|key"),
    ],
    ids=str,
)
def test_what_is_no_rotation(blog: Blog, neighbour: Neighbour, overlap: int, secret: str, said: str) -> None:
    listener = listen(blog, neighbour)
    with pytest.raises(ValueError, match=said):
        blog.linkback.webhooks.rotate_secret(listener, overlap, secret)
    assert len(blog.linkback.webhooks.secrets(listener)) == 1


def test_a_key_pair_signs_what_anybody_can_verify(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    """``v1a``: ed25519 of id, time and body, verified by the library and the public key alone."""
    private, public = standardwebhooks.new_key_pair()
    listener = listen(blog, neighbour, secret=private)
    request = told(blog, neighbour)
    version, _, signature = (request.header("webhook-signature") or "").partition(",")
    assert version == "v1a"
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    parts = (request.header("webhook-id"), request.header("webhook-timestamp"))
    signed = ".".join(part or "" for part in parts).encode() + b"." + request.body
    key.verify(base64.b64decode(signature), signed)
    assert standardwebhooks.verify(public, dict(request.headers), request.body, now=clock()).at == clock()
    with pytest.raises(ValueError, match="key pair"):
        blog.linkback.webhooks.rotate_secret(listener)
    shared = blog.linkback.webhooks.rotate_secret(listener, secret=standardwebhooks.new_secret())
    blog.db.session.commit()
    versions = [
        each.partition(",")[0] for each in (told(blog, neighbour).header("webhook-signature") or "").split()
    ]
    assert versions == ["v1", "v1a"]
    assert shared.startswith("whsec_")
