"""Content stored: what a hub brings, a second under gunicorn, beside a view that commits one INSERT of it.

10 KB with a signature by SHA-256. Each delivery is another one, to one of some subscriptions; it is announced
later, by a worker that does not run here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import count

import sqlalchemy as sa

from flask_linkback.models import (
    Content,
    Secret,
    Subscription,
    SubscriptionRequest,
    SubscriptionState,
    digest,
)
from flask_linkback.protocols.signatures import sign

from .pingback_stored import per_second, post, served
from .runner import Benchmark, NotHere, Ratio, Scale, Way, Ways
from .sites import DATABASES, Place, own_sites

__all__ = ["BENCHMARKS"]

SUBSCRIPTIONS = 20
SECRET = "a secret of the hub and us"
_ENTRY = b"<entry><title>One of many</title><summary>%s</summary></entry>" % (b"word " * 2000)


def body_of(number: int) -> bytes:
    return b"<feed>%d%s</feed>" % (number, _ENTRY)


def delivery(number: int) -> bytes:
    body = body_of(number)
    path = f"/linkback/websub/token-{number % SUBSCRIPTIONS}"
    return post(path, "application/atom+xml", body, X_Hub_Signature=sign(SECRET, body))


def insert(number: int) -> bytes:
    return post("/insert", "application/atom+xml", body_of(number))


def subscribe(place: Place) -> None:
    """Write active subscriptions."""
    with place.site.context(), place.site.new_session() as session:
        now = place.site.now()
        for number in range(SUBSCRIPTIONS):
            url = f"https://topic-{number}.example/"
            subscription = Subscription(
                key=digest(url),
                topic_url=url,
                topic_key=digest(url),
                page_url=url,
                hub_url="https://hub.example/",
                state=SubscriptionState.active,
                lease_expires_at=now + timedelta(days=10),
                created_at=now,
                verified_at=now,
            )
            session.add(subscription)
            session.flush()
            session.add(
                SubscriptionRequest(
                    subscription_id=subscription.id,
                    token=f"token-{number}",
                    mode="subscribe",
                    topic_url=url,
                    hub_url="https://hub.example/",
                    secret=Secret(SECRET),
                    created_at=now,
                    requested_at=now,
                    verified_at=now,
                )
            )
        session.commit()


def stored(place: Place, port: int, numbers: Iterator[int], times: int) -> float:
    before = _contents(place)
    rate = per_second(port, delivery, numbers, times)
    if _contents(place) != before + times:
        raise SystemExit("Not all content was stored.")
    return rate


def _contents(place: Place) -> int:
    with place.site.context(), place.site.new_session() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Content)) or 0


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    times = scale.of(2_000, 100)
    with contextlib.ExitStack() as stack:
        found: dict[str, Way | NotHere] = {}
        for kind, place in own_sites(stack, found, RUNNER="external"):
            subscribe(place)
            port = stack.enter_context(served(place, delivery, insert))
            found[f"{kind}, content"] = partial(stored, place, port, count(), times)
            found[f"{kind}, one INSERT"] = partial(per_second, port, insert, count(), times)
        yield found


BENCHMARKS = (
    Benchmark(
        name="content_stored",
        title="Content of a hub stored",
        unit="requests/s",
        better="more",
        ways=ways,
        ratios=[
            Ratio(
                what=f"{kind} ÷ a view that commits one INSERT",
                of=f"{kind}, content",
                to=f"{kind}, one INSERT",
                at_least=0.5,
            )
            for kind in DATABASES
        ],
    ),
)
