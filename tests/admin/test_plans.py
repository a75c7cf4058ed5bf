"""Plans: no list reads or sorts a whole table for its first page, the next one, or a filter with an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.blueprints.admin.lists import PER_PAGE, Choice, Filter, Listing, Text
from flask_linkback.models import Base, Job
from tests.admin.conftest import PREFIX, Visitor
from tests.admin.stock import fill
from tests.apps import Blog

STOCK = 60
COPIES = 334
LARGE = 1_000
"""From so many rows on, reading or sorting all of a table counts as such."""
_SAID = {"type": "person.updated", "hook": "person", "host": "site7.example", "object": "mention:7"}
"""What is typed into filters, by their names."""
_ALSO = {"/deliveries": ({"state": "dead"},)}
"""What has an index of its own."""


@dataclass
class Seen:
    """What was asked of the database for a page."""

    listings: list[Listing[Any]] = field(default_factory=list)
    statements: list[tuple[str, Any]] = field(default_factory=list)
    """Those of the listings alone."""


@pytest.fixture
def stocked(blog: Blog) -> Blog:
    """A blog with 20 000 rows in each table on PostgreSQL; SQLite plans alike for few."""
    with blog.app.app_context():
        fill(blog, STOCK)
        if blog.db.engine.dialect.name == "postgresql":
            _multiply(blog)
    return blog


@pytest.fixture
def engine(stocked: Blog) -> sa.Engine:
    with stocked.app.app_context():
        return stocked.db.engine


def _multiply(blog: Blog) -> None:
    """Copy all rows that the stock wrote, each with keys of its own."""
    with blog.db.engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            count = connection.scalar(sa.select(sa.func.count()).select_from(table))
            if count != STOCK:
                continue
            values = ", ".join(_copied(table, column) for column in table.columns)
            names = ", ".join(column.name for column in table.columns)
            statement = f"INSERT INTO {table.name} ({names}) SELECT {values} FROM {table.name}, "
            made = connection.execute(sa.text(f"{statement} generate_series(1, {COPIES}) AS n"))
            assert made.rowcount > 20_000
    with blog.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))


def _copied(table: sa.Table, column: sa.Column[Any]) -> str:
    """Return what a column of a copy is: ids go on, so that what belongs together stays so."""
    name = f"{table.name}.{column.name}"
    if column.name == "id" or (column.name.endswith("_id") and isinstance(column.type, sa.Integer)):
        return f"{name} + {STOCK} * n"
    unique = {each.name for key in table.constraints if _is_unique(key) for each in key.columns}
    return f"md5({name} || n)" if column.name in unique else name


def _is_unique(constraint: Any) -> bool:
    return isinstance(constraint, sa.UniqueConstraint)


@contextmanager
def watching(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """See which listings a page reads, and the statements by which it does."""
    seen = Seen()
    is_reading = False
    read = Listing.read

    def look(self: Listing[Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal is_reading
        seen.listings.append(self)
        is_reading = True
        try:
            return read(self, *args, **kwargs)
        finally:
            is_reading = False

    def see(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if is_reading:
            seen.statements.append((statement, values))

    sa.event.listen(engine, "before_cursor_execute", see)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Listing, "read", look)
            yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", see)


def _paths(blog: Blog) -> list[str]:
    """Return the addresses of all screens that are about no one object."""
    rules = [each for each in blog.app.url_map.iter_rules() if each.endpoint.startswith("linkback_admin.")]
    return sorted(each.rule.removeprefix(PREFIX) for each in rules if not each.arguments)


def _queries(listing: Listing[Any]) -> Iterator[dict[str, str]]:
    """Yield the query of a list that is not filtered, of its next page, and of each filter with an index."""
    yield {}
    yield {"after": "50"}
    yield {"before": "5"}
    for each in listing.filters:
        if each.indexed:
            yield from ({each.name: value} for value in _values(each))


def _values(each: Filter) -> list[str]:
    if isinstance(each, Choice):
        return [key for key, _label in each.options()]
    assert isinstance(each, Text), f"Say here what is typed into {each.name}."
    return ["7"] if each.number else [_SAID.get(each.name, "x")]


def test_lists_read_by_an_index_and_in_its_order(
    stocked: Blog, engine: sa.Engine, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for path in _paths(stocked):
        with watching(engine, monkeypatch) as seen:
            visitor.get(path)
        for listing in seen.listings:
            found.append(path)
            with stocked.app.app_context():
                queries = [*_queries(listing), *_ALSO.get(path, ())]
            for query in queries:
                with watching(engine, monkeypatch) as page:
                    answer = visitor.get(path, **query)
                assert answer.status_code == 200, (path, query)
                assert page.statements, (path, query)
                faults = [fault for each in page.statements for fault in _faults(engine, *each)]
                assert not faults, (path, query, faults)
    assert {"/mentions", "/jobs", "/deliveries", "/events"} <= set(found)
    # that a plan without its index would be noticed
    (index,) = (each for each in Job.__table__.indexes if "listener_id" in each.columns)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP INDEX {index.name}"))
    engine.dispose()  # a connection to SQLite remembers what it explained
    with watching(engine, monkeypatch) as page:
        visitor.text("/deliveries", listener="7")
    assert any(_faults(engine, *each) for each in page.statements)


# --- plans ---------------------------------------------------------------------------------------------


def _plan(engine: sa.Engine, statement: str, values: Any) -> list[Any]:
    """Return how the database would do it."""
    is_sqlite = engine.dialect.name == "sqlite"
    explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN (FORMAT JSON)"
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", values).all()
    return [row[3] for row in rows] if is_sqlite else [_json(rows[0][0])[0]["Plan"]]


def _json(said: Any) -> Any:
    return json.loads(said) if isinstance(said, str) else said


def _faults(engine: sa.Engine, statement: str, values: Any) -> list[str]:
    plan = _plan(engine, statement, values)
    if engine.dialect.name == "sqlite":
        return [step for step in plan if _is_fault(step, statement)]
    return [fault for node in _nodes(plan[0]) for fault in _faults_of(node)]


def _is_fault(step: str, statement: str) -> bool:
    """SQLite: a sort, or a scan of more than the newest rows, whatever they are."""
    if "USE TEMP B-TREE" in step:
        return True
    is_page = "ORDER BY" in statement and "LIMIT" in statement and "WHERE" not in statement
    return step.startswith("SCAN ") and "INDEX ix_linkback_job_id" not in step and not is_page


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from _nodes(each)


def _faults_of(node: dict[str, Any]) -> list[str]:
    """PostgreSQL: a table that is read to its end, or many rows that are sorted."""
    kind = node["Node Type"]
    # along the keys, and with a condition that hardly any row meets: that does not end soon, either
    is_endless = "Filter" in node and "Index Cond" not in node and node["Plan Rows"] < PER_PAGE
    if kind == "Seq Scan" or ("Scan" in kind and is_endless):
        return [f"It reads all of {node['Relation Name']}."]
    rows = max((each["Plan Rows"] for each in node.get("Plans", ())), default=0)
    return [f"It sorts {rows} rows."] if "Sort" in kind and rows > LARGE else []
