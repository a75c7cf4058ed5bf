"""The filter of a listener in the admin: built row by row, tried on what happened, and then saved."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook, match
from flask_linkback.models import Audit, Listener
from tests.admin.conftest import Visitor
from tests.apps import Blog

_TRIED = re.compile(r'name="tried" value="([0-9a-f]*)"')


@pytest.fixture
def shouted(blog: Blog) -> Blog:
    """A listener that wants what begins with J, and four events."""
    blog.linkback.hooks.register(Hook(name="shouted", provides_args=["word"]))
    with blog.app.app_context():
        hook = blog.linkback.hooks["shouted"]
        hook.listener(url="https://a.example/").match(word=match.Startswith("J")).save()
        for word in ("Joe", "Jim", "Simon", "<script>alert(1)</script>"):
            hook.send(word=word, deep={"er": {"down": 1}})
        blog.db.session.commit()
    return blog


@pytest.fixture
def path(shouted: Blog) -> str:
    with shouted.app.app_context():
        return f"/listeners/{shouted.db.session.scalar(sa.select(Listener.id))}/filter"


def wanted(blog: Blog) -> Any:
    with blog.app.app_context():
        return match.load(blog.db.session.scalar(sa.select(Listener.match)))


def said(*rows: tuple[str, str, str]) -> dict[str, str]:
    made = {}
    for place, row in enumerate(rows):
        for key, value in zip(("field", "op", "value"), row, strict=True):
            made[f"{key}-0-{place}"] = value
    return made


def test_the_filter_that_is_there_is_shown_and_tried(shouted: Blog, visitor: Visitor, path: str) -> None:
    page = visitor.text(path)
    for each in ('value="word"', "It would have received 2 of 4.", 'value="deep.er.down"', 'value="J"'):
        assert each in page
    assert page.count("✓") == 2
    assert "word is &#34;Simon&#34;, not something that starts with &#34;J&#34;" in page
    assert "<script>alert" not in page
    assert "startswith" in visitor.text(path, mode="json")


def test_a_filter_is_tried_before_it_is_saved(shouted: Blog, visitor: Visitor, path: str) -> None:
    rows = said(("word", "endswith", "n"), ("deep.er.down", "is", "1"))
    page = visitor.send(path, "filter", do="save", **rows).text
    assert "then save" in page
    assert "It would have received 1 of 4." in page
    assert match.equal(wanted(shouted), {"word": match.Startswith("J")})
    tried = _TRIED.search(page)
    assert tried is not None
    # another filter was not tried
    other = said(("word", "endswith", "m"))
    assert "then save" in visitor.send(path, "filter", do="save", tried=tried[1], **other).text
    answer = visitor.send(path, "filter", do="save", tried=tried[1], **rows)
    assert "The filter is saved" in answer.text
    assert answer.request.path.endswith(path.removesuffix("/filter"))
    assert match.equal(wanted(shouted), {"word": match.Endswith("n"), "deep.er.down": 1})
    with shouted.app.app_context():
        (noted,) = shouted.db.session.scalars(sa.select(Audit))
        assert noted.action == "filter"
        assert noted.before == {"filter": "word starts with J"}
        assert noted.after == {"filter": "word ends with n and deep.er.down is 1"}


def test_rows_and_groups_come_and_go(shouted: Blog, visitor: Visitor, path: str) -> None:
    rows = said(("word", "is", "Joe"))
    page = visitor.send(path, "filter", do="row:0", **rows).text
    assert 'name="field-0-1"' in page
    assert 'value="Joe"' in page
    page = visitor.send(path, "filter", do="group", **rows).text
    assert 'name="field-1-0"' in page
    page = visitor.send(path, "filter", do="drop:0:0", **rows).text
    assert 'value="Joe"' not in page
    for junk in ("drop:9:9", "row:x", "nonsense", "", "row:" + "9" * 400):
        assert visitor.send(path, "filter", do=junk, **rows).status_code == 200


def test_what_is_wrong_is_told_at_its_row(shouted: Blog, visitor: Visitor, path: str) -> None:
    rows = said(("word", "gt", "true"), ("", "is", "<b>x"))
    page = visitor.send(path, "filter", do="save", **rows).text
    assert "Gt takes a number or a text, not true." in page
    assert "Name the field." in page
    assert "&lt;b&gt;x" in page
    assert "Once nothing is wrong" in page
    many = said(*[(f"a{n}", "is", "1") for n in range(40)])
    page = visitor.send(path, "filter", do="save", **many).text
    assert "Once nothing is wrong" in page or "It would have received" in page
    groups = {f"{key}-{n}-0": value for n in range(33) for key, value in (("field", f"a{n}"), ("value", "1"))}
    assert visitor.send(path, "filter", do="try", **groups).status_code == 200
    long = said(("word", "is", "x" * 3000))
    assert "at most 1024 characters" in visitor.send(path, "filter", do="save", **long).text


def test_json_is_another_way_to_say_it(shouted: Blog, visitor: Visitor, path: str) -> None:
    page = visitor.send(path, "filter", do="json", **said(("word", "in", "Joe, Jim"))).text
    text = html.unescape(page.partition('spellcheck="false">')[2].partition("</textarea>")[0])
    assert json.loads(text) == [{"word": {"in": ["Joe", "Jim"]}}]
    assert 'value="Joe, Jim"' in visitor.send(path, "filter", do="rows", mode="json", json=text).text
    joined = '{"word": {"either": [{"is": "Joe"}, {"endswith": "n"}]}}'
    page = visitor.send(path, "filter", do="rows", mode="json", json=joined).text
    assert "Rows cannot say this" in page
    page = visitor.send(path, "filter", do="save", mode="json", json=joined).text
    tried = _TRIED.search(page)
    assert tried is not None
    visitor.send(path, "filter", do="save", mode="json", json=joined, tried=tried[1])
    assert match.equal(wanted(shouted), {"word": match.Is("Joe") | match.Endswith("n")})
    assert "either" in visitor.text(path)  # rows cannot say it


NO_FILTERS = (
    ("{", "This is no JSON"),
    ("[" * 90_000, "nested too deeply"),
    ('"x"', "an object of fields"),
    ('{"word": {"startswit": "J"}}', "startswith"),
    ('{"version": 2, "any": []}', "version 2"),
    ('{"word": "\\ud800"}', "cannot be stored"),
    ('{"word": "\\u0000"}', "cannot be stored"),
    ('{"word": {"like": "("}}', "no pattern"),
)


def test_json_that_is_no_filter(shouted: Blog, visitor: Visitor, path: str) -> None:
    for text, told in NO_FILTERS:
        page = visitor.send(path, "filter", do="save", mode="json", json=text).text
        assert told in page
    assert match.equal(wanted(shouted), {"word": match.Startswith("J")})


def test_an_empty_filter_takes_everything(shouted: Blog, visitor: Visitor, path: str) -> None:
    page = visitor.send(path, "filter", do="try", **said(("", "is", ""))).text
    assert "It wants: everything" in page
    assert "It would have received 4 of 4." in page


def test_nothing_happened_yet(shouted: Blog, visitor: Visitor, path: str) -> None:
    with shouted.app.app_context():
        shouted.db.session.scalars(sa.select(Listener)).one().hook = "silent"
        shouted.db.session.commit()
    assert "Nothing of the kind happened yet." in visitor.text(path)


def test_who_may_only_look_saves_nothing(shouted: Blog, visitor: Visitor, path: str) -> None:
    shouted.linkback.admin_access(lambda action, obj: action == "view")
    page = visitor.text(path)
    assert ">Save</button>" not in page
    assert "2 of 4" in page
    assert visitor.send(path, "filter", do="save").status_code == 403
