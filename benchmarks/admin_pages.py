"""The lists of the admin at a million rows in every table, beside a bare page of Flask with one query.

The bare page shows fifty rows of the same table, read by the ORM, in a template of Jinja: a link to each, six
of its columns, and nothing else. Both are asked for in this process: what is measured is the page, no server.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from flask import render_template_string

from flask_linkback.models import (
    Attempt,
    Audit,
    Base,
    Block,
    Content,
    DirectoryPing,
    Event,
    Job,
    Link,
    Listener,
    ListenerSecret,
    Mention,
    Receipt,
    Subscriber,
    Subscription,
    SubscriptionRequest,
    Topic,
)
from tests.admin.stock import rows_of, secretly

from .runner import Benchmark, NotHere, Ratio, Scale, Way, Ways
from .sites import DATABASES, Place, own_sites

__all__ = ["BENCHMARKS"]

PREFIX: Final = "/linkback/admin"
LISTS: Final[dict[str, type[Base]]] = {
    "mentions": Mention,
    "links": Link,
    "directories": DirectoryPing,
    "subscriptions": Subscription,
    "hub": Subscriber,
    "hooks": Listener,
    "deliveries": Job,
    "events": Event,
    "receivers": Receipt,
    "blocks": Block,
    "audit": Audit,
    "jobs": Job,
}
FILLED: Final = (
    Mention, Link, DirectoryPing, Subscription, SubscriptionRequest, Topic, Content, Subscriber, Listener,
    ListenerSecret, Event, Job, Attempt, Receipt, Block, Audit,
)  # fmt: skip
SEED: Final = 1_000
_UNIQUE: Final = ("key", "status_key", "token", "uid")
_OTHERS: Final = ("listener_id", "event_id", "job_id", "subscription_id", "topic_id")
BARE: Final = """<!doctype html><title>Bare</title><table>{% for row in rows %}
<tr><td><a href="{{ url_for('bare_list', name=name, id=row.id) }}">{{ row.id }}</a></td>
{% for column in columns %}<td>{{ row[column] }}</td>{% endfor %}</tr>{% endfor %}</table>"""


def fill(place: Place, count: int) -> None:
    """Write so many rows of every table: some, and these over and over under other keys."""
    with place.app.app_context():
        session = place.site.session
        seed = rows_of(min(SEED, count), datetime.now(UTC))
        for model in FILLED:
            session.execute(sa.insert(model), [_without_id(row) for row in map(secretly, seed[model])])
            session.commit()
        for model in FILLED:
            _multiply(session, model, count)
        autocommit = place.site.engine.execution_options(isolation_level="AUTOCOMMIT")
        session.close()
        with autocommit.connect() as connection:
            is_postgresql = connection.dialect.name == "postgresql"
            connection.execute(sa.text("VACUUM ANALYZE" if is_postgresql else "ANALYZE"))


def _without_id(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}


def _multiply(session: Any, model: type[Base], count: int) -> None:
    table = model.__table__
    there = session.scalar(sa.select(sa.func.count()).select_from(table))
    while there < count:
        more = min(there, count - there)
        names = [column.name for column in table.columns if column.name != "id"]
        values = [_copied(session, table, name, there) for name in names]
        copied = sa.select(*values).where(table.c.id <= more)
        session.execute(sa.insert(table).from_select(names, copied, include_defaults=False))
        session.commit()
        there += more


def _copied(session: Any, table: sa.Table, name: str, there: int) -> Any:
    if name in _UNIQUE:
        length = table.c[name].type.length or 64
        if session.get_bind().dialect.name == "postgresql":
            return sa.literal_column(f"substr(md5(random()::text) || md5(random()::text), 1, {length})")
        return sa.literal_column(f"substr(lower(hex(randomblob(32))), 1, {length})")
    if name in _OTHERS:
        return table.c[name] + there
    return table.c[name]


def milliseconds(place: Place, path: str, times: int) -> float:
    """Return the median time of a page."""
    client = place.app.test_client()
    taken = []
    for _ in range(times + 2):
        began = time.perf_counter()
        answer = client.get(path)
        taken.append(time.perf_counter() - began)
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status}")
        if len(answer.data) > 100_000:
            raise SystemExit(f"{path}: {len(answer.data)} bytes")
    return statistics.median(taken[2:]) * 1e3


def open_admin(place: Place) -> None:
    place.app.config["SECRET_KEY"] = "benchmark"
    linkback = place.app.extensions["linkback"]
    from flask_linkback.blueprints.admin.access import Access

    linkback.get(Access).open_by(lambda action, obj: True)
    db = place.app.extensions["sqlalchemy"]

    def bare(name: str) -> str:
        newest = sa.select(LISTS[name]).order_by(LISTS[name].id.desc()).limit(50)
        columns = [column.name for column in LISTS[name].__table__.columns if column.name != "id"][:6]
        return render_template_string(BARE, rows=db.session.scalars(newest).all(), name=name, columns=columns)

    place.app.add_url_rule("/bare/<name>", "bare_list", bare)


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    count, times = scale.of(1_000_000, 2_000), scale.of(30, 3)
    with contextlib.ExitStack() as stack:
        found: dict[str, Way | NotHere] = {}
        for kind, place in own_sites(stack, found, HUB_ENABLED=True):
            open_admin(place)
            fill(place, count)
            for name in LISTS:
                found[f"{kind}, {name}"] = partial(milliseconds, place, f"{PREFIX}/{name}", times)
                found[f"{kind}, {name}, bare"] = partial(milliseconds, place, f"/bare/{name}", times)
        yield found


BENCHMARKS = (
    Benchmark(
        name="admin_pages",
        title="A list of the admin at 1 000 000 rows",
        unit="ms",
        better="less",
        ways=ways,
        ratios=[
            Ratio(
                what=f"{kind}, {name} ÷ a bare page",
                of=f"{kind}, {name}",
                to=f"{kind}, {name}, bare",
                at_most=3,
            )
            for kind in DATABASES
            for name in LISTS
        ],
    ),
)
