"""Senders: those who send webhooks to a blog, as they sign them."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from collections.abc import Callable
from typing import Any

from flask_linkback.models import Job, Receipt
from flask_linkback.protocols import standardwebhooks
from flask_linkback.webhooks.receiving import HANDLE, ReceivedEvent
from tests.apps import Blog
from tests.pingback.tools import CALLER, rows

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
JSON = "application/json"


def hexed(signed: bytes) -> str:
    return hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()


def signed(blog: Blog, body: bytes, webhook_id: str = "msg_1", secret: Any = SECRET) -> dict[str, str]:
    """The headers of Standard Webhooks for a body that is sent now."""
    return standardwebhooks.headers(secret, webhook_id=webhook_id, at=blog.site.now(), body=body)


def by_github(blog: Blog, body: bytes, webhook_id: str) -> dict[str, str]:
    return {
        "X-Hub-Signature-256": f"sha256={hexed(body)}",
        "X-GitHub-Delivery": webhook_id,
        "X-GitHub-Event": "push",
    }


def by_stripe(blog: Blog, body: bytes, webhook_id: str) -> dict[str, str]:
    at = int(blog.site.now().timestamp())
    return {"Stripe-Signature": f"t={at},v1={hexed(b'%d.%s' % (at, body))}"}


def by_slack(blog: Blog, body: bytes, webhook_id: str) -> dict[str, str]:
    at = int(blog.site.now().timestamp())
    signature = f"v0={hexed(b'v0:%d:%s' % (at, body))}"
    return {"X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": signature}


SIGN: dict[str, Callable[[Blog, bytes, str], dict[str, str]]] = {
    "standard": signed,
    "github": by_github,
    "stripe": by_stripe,
    "slack": by_slack,
}


def post(
    blog: Blog, name: str, body: bytes, headers: dict[str, str], *, caller: str = CALLER, **options: Any
) -> Any:
    """Post to the address of a receiver, without a socket between."""
    options.setdefault("content_type", JSON)
    return blog.app.test_client().post(
        f"/linkback/receive/{name}",
        input_stream=io.BytesIO(body),  # as data, an empty form would become another body
        content_length=len(body),
        headers=headers,
        environ_overrides={"REMOTE_ADDR": caller},
        **options,
    )


def tell(blog: Blog, data: Any, webhook_id: str = "msg_1", name: str = "shop", **options: Any) -> int:
    """Send a webhook that is signed as it should be; return the status."""
    body = json.dumps(data).encode()
    status: int = post(blog, name, body, signed(blog, body, webhook_id), **options).status_code
    return status


def receive(blog: Blog, name: str = "shop", **options: Any) -> list[ReceivedEvent]:
    """Let a blog receive, and return the list of what its function is called with."""
    told: list[ReceivedEvent] = []
    options.setdefault("secret", SECRET)
    blog.linkback.webhooks.receiver(name, **options)(told.append)
    return told


def receipts(blog: Blog) -> list[Receipt]:
    return rows(blog, Receipt)


def handling(blog: Blog) -> list[Job]:
    return [job for job in rows(blog, Job) if job.kind == HANDLE]
