"""The walk: every screen of the contract is there, quick, small and inert, whatever is asked of it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_linkback import Hook
from tests.admin.conftest import PREFIX, Visitor
from tests.admin.stock import HOSTILE, SECRET, fill
from tests.apps import Blog
from tests.pingback.tools import statements
from tests.thorough import examples

CONTRACT = (
    "overview", "mentions", "mention", "links", "link", "directories", "subscriptions", "subscription", "hub",
    "subscriber", "hooks", "listener_select", "listener_create", "listener", "listener_filter", "deliveries",
    "delivery", "events", "event", "receivers", "blocks", "audit",
)  # fmt: skip
TABS = ("overview", "deliveries", "withheld", "secret", "test", "settings", "audit")
QUERIES: dict[str, list[dict[str, str]]] = {
    "listener_create": [{"type": "person"}],
    "listener": [{}, *({"tab": tab} for tab in TABS)],
    "deliveries": [{}, {"tail": "1"}],
    "events": [{}, {"tail": "1"}],
}
"""What a screen is asked with, where that is not nothing."""
MOST_QUERIES = 8
MOST_BYTES = 100_000
OLDER = re.compile(r'rel="next" href="([^"]+)"')
FILTERS = re.compile(r'<form class="filters".*?</form>', re.DOTALL)
NAMES = re.compile(r' name="([^"]+)"')
JUNK = (
    "", "0", "1", "-1", "²", "٣", "9" * 18, "9" * 19, "9" * 60, "nan", "\0", "%", "_", "\\", "'", '"',
    "\r\n", "\ud800", "\u202e", "../..", "host", "regex", "pending", "dead", "true", "mention:7", "2xx",
    "person.*", "https://[", "0001-01-01T00:00+23:59", "9999-12-31T23:59-12:00", "2026-02-30", HOSTILE,
)  # fmt: skip


class Person(Hook):
    """What the listeners of the stock wait for."""

    name = "person"
    provides_args = ("name", "address")


@pytest.fixture
def blog(blog: Blog) -> Blog:
    blog.linkback.hooks.register(Person)
    blog.linkback.webhooks.receiver("github", secret="a secret of theirs")(print)
    return blog


def _paths(blog: Blog, id_: int | None) -> list[tuple[str, str]]:
    """Return the endpoint and the path of each screen; without an id, of those about no one thing."""
    found = []
    with blog.app.test_request_context():
        for rule in blog.app.url_map.iter_rules():
            name = rule.endpoint.removeprefix("linkback_admin.")
            if name == rule.endpoint or (rule.arguments and id_ is None):
                continue
            built = rule.build(dict.fromkeys(rule.arguments, id_))
            assert built is not None
            found.append((name, built[1].removeprefix(PREFIX)))
    return found


def test_the_endpoints_are_those_of_the_contract(blog: Blog) -> None:
    there = {rule.endpoint for rule in blog.app.url_map.iter_rules()}
    assert {f"linkback_admin.{name}" for name in CONTRACT} <= there


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_every_screen_answers(blog: Blog, visitor: Visitor, n: int) -> None:
    with blog.app.app_context():
        fill(blog, n)
    visitor.text("/")  # once, for what is made at the first request
    for name, path in _paths(blog, n or None):
        for query in QUERIES.get(name, [{}]):
            _check(blog, visitor, path, query)


def _check(blog: Blog, visitor: Visitor, path: str, query: dict[str, str]) -> None:
    where = (path, query)
    with statements(blog) as seen:
        text = visitor.text(path, **query)
    assert len(seen) <= MOST_QUERIES, (where, seen)
    _check_text(text, where)
    older = OLDER.search(text)
    if older is not None:
        answer = visitor.client.get(older[1].replace("&amp;", "&"))
        assert answer.status_code == 200, where
        assert 'rel="prev"' in answer.text, where
        _check_text(answer.text, where)


def _check_text(text: str, where: Any) -> None:
    assert len(text.encode()) < MOST_BYTES, (where, len(text.encode()))
    for hostile in ("<script>", "<img", "\u202e", 'href="javascript:', " style=", SECRET, "s3cr3t"):
        assert hostile not in text, (where, hostile)


def test_what_is_not_there_is_404(blog: Blog, visitor: Visitor) -> None:
    for _, path in set(_paths(blog, 7)) - set(_paths(blog, None)):
        if visitor.get(path).text != "soon":
            assert visitor.get(path).status_code == 404, path
    for id_ in ("0", "9" * 30):
        assert visitor.get(f"/mentions/{id_}").status_code == 404


@settings(
    max_examples=examples(400),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_query_is_too_odd(stocked: tuple[Visitor, dict[str, list[str]]], data: st.DataObject) -> None:
    visitor, names = stocked
    path = data.draw(st.sampled_from(sorted(names)))
    value = st.one_of(st.sampled_from(JUNK), st.text(max_size=20), st.integers(0, 2**65).map(str))
    query = data.draw(st.lists(st.tuples(st.sampled_from(names[path]), value), max_size=4))
    said = "&".join(f"{name}={quote_plus(text, errors='surrogatepass')}" for name, text in query)
    answer = visitor.client.get(f"{PREFIX}{path}?{said}")
    assert answer.status_code in (200, 302, 303, 404), (path, query)
    assert "<script>" not in answer.text


@pytest.fixture
def stocked(blog: Blog, visitor: Visitor) -> tuple[Visitor, dict[str, list[str]]]:
    """A visitor of an admin with things in it, and by path what a query may be made of."""
    with blog.app.app_context():
        fill(blog, 60)
    always = [
        "after",
        "before",
        "tab",
        "tail",
        "type",
        "_external",
        "_scheme",
        "_method",
        "_anchor",
        "endpoint",
        "id",
    ]
    names = {}
    for name, path in _paths(blog, 59):
        page = visitor.text(path, **QUERIES.get(name, [{}])[0])
        forms = FILTERS.findall(page)
        names[path] = always + [each for form in forms for each in NAMES.findall(form)]
    assert sum(len(each) > len(always) for each in names.values()) > 5
    return visitor, names
