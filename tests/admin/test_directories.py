"""Directories: what each was told and answered, and telling it again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_linkback.linkbacks.directories import PING
from flask_linkback.models import Audit, DirectoryPing, Job, JobState
from tests.admin.conftest import Visitor
from tests.admin.stock import fill
from tests.apps import Blog
from tests.pingback.tools import rows

FILTERS = [
    ({"success": "yes", "directory": "site3.example"}, [43, 3]),
    ({"success": "no", "directory": "site3.example"}, []),
    ({"page": "https://blog.example/post/9#top"}, [9]),
    ({"page": "https://blog.example/post/9", "success": "no"}, []),
]


@pytest.fixture
def stocked(blog: Blog) -> Blog:
    with blog.app.app_context():
        fill(blog, 60)
    return blog


def _pings(blog: Blog) -> list[Job]:
    return [job for job in rows(blog, Job) if job.kind == PING]


def test_nobody_was_told(visitor: Visitor) -> None:
    text = visitor.text("/directories")
    assert "No directory was told of a page yet." in text
    assert "LINKBACK_DIRECTORIES names none" in text


def test_a_page_of_the_list(stocked: Blog, visitor: Visitor) -> None:
    text = visitor.text("/directories")
    assert text.count('name="id"') == 50
    assert visitor.text("/directories", after=11).count('name="id"') == 10


def test_filters(stocked: Blog, visitor: Visitor) -> None:
    for query, ids in FILTERS:
        text = visitor.text("/directories", **query)
        assert [int(part.partition('"')[0]) for part in text.split('name="id" value="')[1:]] == ids, query


def test_ping_again(stocked: Blog, visitor: Visitor) -> None:
    text = visitor.send("/directories", "ping", id=[1, 2]).text
    assert "2 pings are queued." in text
    assert f"/linkback/admin/jobs?kind={PING}&amp;state=pending" in text
    assert text.count(">waiting</span>") == 2
    assert "next try" in text
    new = rows(stocked, DirectoryPing)[60:]
    assert {row.url for row in new} == {"https://site1.example/rpc", "https://site2.example/rpc"}
    assert {row.page_url for row in new} == {"https://blog.example/post/1", "https://blog.example/post/2"}
    assert {job.payload["ping_id"] for job in _pings(stocked)} == {row.id for row in new}
    audits = [each for each in rows(stocked, Audit) if each.id > 60]
    assert {each.object_key for each in audits} == {"directory_ping:1", "directory_ping:2"}
    assert all(each.action == "ping" and each.after["page"] for each in audits)


def test_one_that_waits_is_left_alone(stocked: Blog, visitor: Visitor) -> None:
    visitor.send("/directories", "ping", id=1)
    text = visitor.send("/directories", "ping", id=[1, 2]).text
    assert "1 ping is queued." in text
    assert "1 was left alone" in text
    assert "Nothing was queued" in visitor.send("/directories", "ping", id=1).text
    assert len(_pings(stocked)) == 2


def test_the_interval_holds(stocked: Blog, visitor: Visitor) -> None:
    visitor.send("/directories", "ping", id=1)
    with stocked.app.app_context():
        job = stocked.db.session.get(Job, _pings(stocked)[0].id)
        job.state, job.finished_at = JobState.done, stocked.site.now()
        stocked.db.session.commit()
    visitor.send("/directories", "ping", id=1)
    assert _pings(stocked)[1].due_at > stocked.site.now() + timedelta(seconds=290)


def test_no_ping_without_the_right(stocked: Blog, visitor: Visitor) -> None:
    stocked.linkback.admin_access(lambda right, obj: right in ("view", "manage"))
    assert "Ping again" not in visitor.text("/directories")
    assert visitor.send("/directories", "ping", id=1).status_code == 403
    assert _pings(stocked) == []
