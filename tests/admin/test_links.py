"""Links: what became of each linkback that we sent, and sending it again."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.linkbacks.sending import SEND
from flask_linkback.models import Attempt, Audit, Job, JobState, Link, LinkState
from tests.admin.conftest import Visitor
from tests.admin.stock import fill
from tests.apps import Blog
from tests.pingback.tools import rows

SENT = 1  # by the stock
WAITING, REFUSED = 5, 2
FILTERS = [
    ({"state": "sent"}, range(56, 0, -5)),
    ({"state": "given_up", "host": "site3.example"}, [43, 3]),
    ({"host": "SITE3.example"}, [43, 3]),
    ({"page": "/post/6"}, [60, 6]),
    ({"protocol": "webmention", "page": "/post/59"}, [59]),
    ({"protocol": "pingback"}, []),
]


@pytest.fixture
def stocked(blog: Blog) -> Blog:
    with blog.app.app_context():
        fill(blog, 60)
    return blog


def _link(blog: Blog, id_: int) -> Link:
    return next(link for link in rows(blog, Link) if link.id == id_)


def _change(blog: Blog, id_: int, **values: Any) -> None:
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Link).where(Link.id == id_).values(values))
        blog.db.session.commit()


def _owed(blog: Blog, link: Link) -> list[Job]:
    return [job for job in rows(blog, Job) if job.key == link.key]


def _add_job(blog: Blog, link: Link, state: JobState, **values: Any) -> int:
    now = blog.site.now()
    payload = {"link_id": link.id}
    job = Job(kind=SEND, state=state, key=link.key, payload=payload, due_at=now, created_at=now, **values)
    with blog.app.app_context():
        blog.db.session.add(job)
        blog.db.session.commit()
        return job.id


def _audits(blog: Blog) -> list[tuple[str, str, Any]]:
    return [(each.action, each.object_key, each.before) for each in rows(blog, Audit) if each.id > 60]


def test_nothing_was_sent(visitor: Visitor) -> None:
    text = visitor.text("/links")
    assert "No page was told of a link yet." in text
    assert "flask linkback send" in text


def test_a_page_of_the_list(stocked: Blog, visitor: Visitor) -> None:
    text = visitor.text("/links")
    assert text.count('name="id"') == 50
    assert "https://site20.example/page?60" in text
    assert visitor.text("/links", after=11).count('name="id"') == 10


def test_filters(stocked: Blog, visitor: Visitor) -> None:
    for query, ids in FILTERS:
        text = visitor.text("/links", **query)
        found = [int(part.partition('"')[0]) for part in text.split('name="id" value="')[1:]]
        assert found == list(ids), query
        assert ("Nothing matches." in text) == (not ids)


def test_what_is_told_next_says_when(stocked: Blog, visitor: Visitor) -> None:
    _add_job(stocked, _link(stocked, WAITING), JobState.running)
    assert "under way" in visitor.text("/links", page="/post/5")
    assert "under way" in visitor.text(f"/links/{WAITING}")


def test_the_page_of_one(stocked: Blog, visitor: Visitor) -> None:
    _change(stocked, 7, fault_code=17, offers=["webmention", "pingback"], object_key="Post:7")
    job_id = _add_job(stocked, _link(stocked, 7), JobState.dead, finished_at=stocked.site.now())
    with stocked.app.app_context():
        attempt = Attempt(
            job_id=job_id, number=1, started_at=stocked.site.now(), seconds=0.5, outcome="http_503",
            status_code=503, body=b"<b>Too busy</b>", reason="The endpoint answers 503.",
        )  # fmt: skip
        stocked.db.session.add(attempt)
        stocked.db.session.commit()
    text = visitor.text("/links/7")
    for said in ("fault 17", "webmention, pingback", "Post:7", "https://site7.example/webmention"):
        assert said in text
    assert "The endpoint answers 503." in text
    assert "&lt;b&gt;Too busy&lt;/b&gt;" in text
    assert visitor.get("/links/99").status_code == 404


@pytest.mark.parametrize("where", ["list", "page"])
@pytest.mark.parametrize("id_", [SENT, REFUSED])
def test_send_again(stocked: Blog, visitor: Visitor, where: str, id_: int) -> None:
    before = _link(stocked, id_).state.value
    path, values = ("/links", {"id": id_}) if where == "list" else (f"/links/{id_}", {})
    text = visitor.send(path, "resend", **values).text
    assert "1 link is queued." in text
    assert f"/linkback/admin/jobs?kind={SEND}&amp;state=pending" in text
    link = _link(stocked, id_)
    assert (link.state, link.attempts, link.reason) == (LinkState.waiting, 0, "")
    (job,) = _owed(stocked, link)
    assert (job.kind, job.state, job.payload) == (SEND, JobState.pending, {"link_id": id_})
    assert _audits(stocked) == [("resend", f"link:{id_}", {"state": before})]
    assert "resend" in visitor.text(f"/links/{id_}")


def test_several_are_sent_again_but_those_that_cannot(stocked: Blog, visitor: Visitor) -> None:
    _change(stocked, SENT, protocol="trackback")
    _change(stocked, 3, removed=True, sent_at=None)
    _add_job(stocked, _link(stocked, WAITING), JobState.running)
    text = visitor.send("/links", "resend", id=[SENT, REFUSED, 3, 4, WAITING]).text
    assert "2 links are queued." in text
    assert "3 links cannot be told again now." in text
    assert [key for _, key, _ in _audits(stocked)] == ["link:2", "link:4"]
    assert _link(stocked, SENT).state is LinkState.sent
    assert "Nothing was queued" in visitor.send("/links", "resend", id=SENT).text
    assert "which is told once" in visitor.text(f"/links/{SENT}")
    assert "there is nothing to tell" in visitor.text("/links/3")


def test_nothing_is_sent_without_the_right(stocked: Blog, visitor: Visitor) -> None:
    stocked.linkback.admin_access(lambda right, obj: right in ("view", "manage"))
    assert "Send again" not in visitor.text("/links")
    assert "Send again" not in visitor.text("/links/1")
    for path in ("/links", "/links/1"):
        assert visitor.send(path, "resend", id=[1]).status_code == 403
    assert _owed(stocked, _link(stocked, 1)) == []


def test_owners_see_no_links(stocked: Blog, visitor: Visitor) -> None:
    stocked.linkback.admin_access(lambda right, obj: "acme")
    for path in ("/links", "/links/1", "/directories", "/blocks", "/audit", "/receivers", "/receivers/1"):
        assert visitor.get(path).status_code == 403
    assert "/linkback/admin/links" not in visitor.text("/")
