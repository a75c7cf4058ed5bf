"""Receivers: what came by webhooks of others, and having it handled again."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flask_linkback.models import Audit, JobState, Receipt
from flask_linkback.webhooks.receiving import HANDLE
from tests.admin.conftest import PREFIX, Visitor
from tests.admin.stock import fill
from tests.apps import Blog
from tests.pingback.tools import rows, work
from tests.webhooks.senders import handling, post, receive, signed, tell

FILTERS = [
    ({"receiver": "github"}, range(60, 10, -1)),
    ({"receiver": "shop"}, [62, 61]),
    ({"receiver": "github", "state": "handled", "after": 9}, [7, 5, 3, 1]),
    ({"state": "waiting"}, [62]),
    ({"state": "failed", "receiver": "shop"}, [61]),
]


@pytest.fixture
def stocked(blog: Blog) -> Blog:
    with blog.app.app_context():
        fill(blog, 60)
    return blog


def _ids(text: str) -> list[int]:
    return [int(part.partition('"')[0]) for part in text.split('name="id" value="')[1:]]


def _audits(blog: Blog) -> list[tuple[str, str, Any]]:
    return [(each.action, each.object_key, each.before) for each in rows(blog, Audit)]


def test_nothing_came(blog: Blog, visitor: Visitor) -> None:
    text = visitor.text("/receivers")
    assert "No webhook came yet." in text
    assert "@linkback.webhooks.receiver" in text
    receive(blog)
    text = visitor.text("/receivers")
    assert "https://blog.example/linkback/receive/shop" in text
    assert "standard" in text
    assert "never" in text


def test_a_page_of_the_list(stocked: Blog, visitor: Visitor) -> None:
    assert _ids(visitor.text("/receivers")) == list(range(60, 10, -1))
    assert _ids(visitor.text("/receivers", after=11)) == list(range(10, 0, -1))


def test_filters(stocked: Blog, visitor: Visitor) -> None:
    receive(stocked)
    tell(stocked, {})
    with stocked.app.app_context():
        _end(stocked, JobState.dead, reason="ValueError: no")
    tell(stocked, {}, "msg_2")
    for query, ids in FILTERS:
        assert _ids(visitor.text("/receivers", **query)) == list(ids), query


def test_counts_of_each_receiver(stocked: Blog, visitor: Visitor) -> None:
    stocked.linkback.webhooks.receiver("github", secret="a secret of theirs")(print)
    receive(stocked)
    tell(stocked, {})
    text = visitor.text("/receivers")
    cells = re.findall(r'<td class="n" data-label="(\w+)">(?:<a [^>]+>)?(\d+)', text)
    assert cells == [
        *(("Handled", "30"), ("Waiting", "0"), ("Failed", "30")),
        *(("Handled", "0"), ("Waiting", "1"), ("Failed", "0")),
    ]


def test_the_page_of_one(blog: Blog, visitor: Visitor) -> None:
    receive(blog)
    body = f'{{"says": "{"<script>"}"}}'.encode()
    headers = {**signed(blog, body), "X-Gitlab-Token": "t0k3n", "X-Shop": "<b>"}
    assert post(blog, "shop", body, headers).status_code == 202
    text = visitor.text("/receivers/1")
    assert "msg_1" in text
    assert "{&#34;says&#34;: &#34;&lt;script&gt;&#34;}" in text
    assert "x-shop: &lt;b&gt;" in text
    assert "t0k3n" not in text
    assert signed(blog, body)["webhook-signature"] not in text
    assert "x-gitlab-token: (not shown)" in text
    assert "Handle again" not in text  # it still waits
    assert visitor.get("/receivers/2").status_code == 404


def test_handle_one_that_failed_again(blog: Blog, visitor: Visitor) -> None:
    told = receive(blog)
    tell(blog, {"id": 7})
    with blog.app.app_context():
        _end(blog, JobState.dead, reason="ValueError: no")
    text = visitor.send("/receivers/1", "replay").text
    assert "1 webhook is queued." in text
    assert f"/linkback/admin/jobs?kind={HANDLE}&amp;state=pending" in text
    assert _audits(blog) == [("replay", "receipt:1", {"state": "failed"})]
    assert "still to be handled" in _insist(visitor, 1)
    assert work(blog) == 1
    assert [event.data for event in told] == [{"id": 7}]
    assert rows(blog, Receipt)[0].handled_at is not None


def test_what_was_handled_is_handled_again_once_confirmed(blog: Blog, visitor: Visitor) -> None:
    told = receive(blog)
    tell(blog, {})
    work(blog)
    text = visitor.send("/receivers/1", "replay").text
    assert "It was handled already." in text
    assert 'name="confirm" value="1"' in text
    assert handling(blog)[0].state is JobState.done
    assert "1 webhook is queued." in visitor.send("/receivers/1", "replay", confirm="1").text
    work(blog)
    assert len(told) == 2


def test_several_at_once_but_those_that_were_handled(blog: Blog, visitor: Visitor) -> None:
    receive(blog)
    tell(blog, {})
    work(blog)
    tell(blog, {}, "msg_2")
    with blog.app.app_context():
        _end(blog, JobState.dead, reason="ValueError: no")
    tell(blog, {}, "msg_3")
    text = visitor.send("/receivers", "replay", id=[1, 2, 3]).text
    assert "1 webhook is queued." in text
    assert "2 were left alone" in text
    assert _audits(blog) == [("replay", "receipt:2", {"state": "failed"})]
    assert "Nothing was queued" in visitor.send("/receivers", "replay", id=[1, 3]).text


def test_what_is_not_kept_is_not_handled_again(stocked: Blog, visitor: Visitor) -> None:
    text = _insist(visitor, 2)
    assert "The webhook is not kept any more." in text
    assert "Handle again" not in text


def test_nothing_is_handled_without_the_right(blog: Blog, visitor: Visitor) -> None:
    receive(blog)
    tell(blog, {})
    work(blog)
    blog.linkback.admin_access(lambda right, obj: right in ("view", "manage"))
    assert "Handle again" not in visitor.text("/receivers")
    assert "Handle again" not in visitor.text("/receivers/1")
    with visitor.client.session_transaction() as session:
        session["csrf_token"] = "x"
    for path in ("/receivers", "/receivers/1"):
        assert visitor.send(path, "replay", id=1, confirm="1").status_code == 403
    assert handling(blog)[0].state is JobState.done


def _end(blog: Blog, state: JobState, *, reason: str) -> None:
    """Let the newest webhook be given up."""
    session, now = blog.db.session, blog.site.now()
    job = session.merge(handling(blog)[-1])
    job.state, job.reason, job.finished_at = state, reason, now
    session.merge(rows(blog, Receipt)[-1]).reason = reason
    session.commit()


def _insist(visitor: Visitor, id_: int) -> str:
    """Send the form of a page that does not have it any more."""
    token = re.findall('name="csrf_token" value="([^"]+)', visitor.text("/receivers"))[0]
    data = {"action": "replay", "csrf_token": token, "confirm": "1"}
    return visitor.client.post(f"{PREFIX}/receivers/{id_}", data=data, follow_redirects=True).text
