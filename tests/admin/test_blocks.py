"""Blocks: who is on which list, putting somebody on it, and what that takes back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.models import Audit, Block, BlockKind, Mention, MentionStatus, Weblog
from tests.admin.conftest import Visitor
from tests.admin.stock import HOSTILE, fill
from tests.apps import Blog
from tests.pingback.tools import rows

FILTERS = [
    ({"kind": "host", "value": "bad6"}, [60, 6]),
    ({"kind": "url"}, [3]),
    ({"list": "spammers"}, [3]),
    ({"list": "manual"}, []),
    ({"value": "%"}, []),
]
WRONG = [
    ({"value": ""}, "cannot be blocked"),
    ({"value": "no host"}, "is no host name"),
    ({"value": "ftp://bad.example/", "kind": "url"}, "is no http(s) URL"),
    ({"value": "a(", "kind": "regex"}, "is no pattern"),
    ({"value": "bad.example", "days": "0"}, "Say a number of days"),
    ({"value": "bad.example", "days": "9" * 9}, "Say a number of days"),
    ({"value": HOSTILE, "reason": HOSTILE}, "has odd characters"),
]


@pytest.fixture
def stocked(blog: Blog) -> Blog:
    with blog.app.app_context():
        fill(blog, 60)
    return blog


def _audits(blog: Blog, action: str) -> list[Audit]:
    return [each for each in rows(blog, Audit) if each.action == action and each.who == "ada@example.org"]


def _ids(text: str) -> list[int]:
    return [int(part.partition('"')[0]) for part in text.split('name="id" value="')[1:]]


def test_nobody_is_blocked(visitor: Visitor) -> None:
    text = visitor.text("/blocks")
    assert "Nobody is blocked." in text
    assert "<details" in text


def test_a_page_of_the_list(stocked: Blog, visitor: Visitor) -> None:
    assert _ids(visitor.text("/blocks")) == list(range(60, 10, -1))
    assert _ids(visitor.text("/blocks", after=11)) == list(range(10, 0, -1))


def test_filters(stocked: Blog, visitor: Visitor) -> None:
    with stocked.app.app_context():
        changed = {"kind": BlockKind.url, "list_name": "spammers"}
        stocked.db.session.execute(sa.update(Block).where(Block.id == 3).values(changed))
        stocked.db.session.commit()
    for query, ids in FILTERS:
        assert _ids(visitor.text("/blocks", **query)) == ids, query


def test_the_form_is_filled_from_the_page_of_a_mention(stocked: Blog, visitor: Visitor) -> None:
    assert "/linkback/admin/blocks?kind=host&amp;value=site9.example" in visitor.text("/mentions/9")
    text = visitor.text("/blocks", kind="host", value="site9.example")
    assert "open>" in text
    assert '<input name="value" value="site9.example"' in text
    assert '<option value="host" selected>' in text


def test_block_somebody_new(blog: Blog, visitor: Visitor) -> None:
    values = {"kind": "", "value": " https://BAD.example/~joe/ ", "reason": "Casino.", "days": "7"}
    text = visitor.send("/blocks", "add", **values).text
    assert "bad.example/~joe is blocked." in text
    (row,) = rows(blog, Block)
    assert (row.kind, row.value, row.list_name) == (BlockKind.url, "bad.example/~joe", "manual")
    assert row.reason == "Casino."
    assert timedelta(days=6) < row.expires_at - blog.site.now() < timedelta(days=8)
    (audit,) = _audits(blog, "block")
    assert (audit.object_key, audit.reason) == ("block:bad.example/~joe", "Casino.")
    assert audit.after["kind"] == "url"
    again = visitor.send("/blocks", "add", value="bad.example/~joe", reason="Worse.").text
    assert "was blocked already" in again
    (row,) = rows(blog, Block)
    assert (row.reason, row.expires_at) == ("Worse.", None)


def test_what_came_from_there_is_rejected_once_confirmed(stocked: Blog, visitor: Visitor) -> None:
    with stocked.app.app_context():
        weblog = Weblog(
            key="k", url="https://site9.example/", host="site9.example", name="x", listed=True,
            pinged_at=stocked.site.now(),
        )  # fmt: skip
        stocked.db.session.add(weblog)
        stocked.db.session.execute(sa.update(Mention).values(status=MentionStatus.pending))
        stocked.db.session.commit()
    values: dict[str, Any] = {"kind": "host", "value": "site9.example", "reason": "Spams."}
    text = visitor.send("/blocks", "add", **values).text
    assert "2 mentions from there would be rejected." in text
    assert '<input type="hidden" name="reason" value="Spams.">' in text
    assert len(rows(stocked, Block)) == 60
    assert all(each.status is MentionStatus.pending for each in rows(stocked, Mention))
    text = visitor.send("/blocks", "add", confirm="1", **values).text
    assert "site9.example is blocked." in text
    assert "2 mentions are rejected." in text
    assert "1 weblog is taken out of the directory." in text
    rejected = [each.id for each in rows(stocked, Mention) if each.status is MentionStatus.rejected]
    assert rejected == [9, 49]
    assert _audits(stocked, "block")[0].after["rejected"] == 2
    assert [each.who for each in rows(stocked, Audit) if each.object_key == "mention:49"][
        -1
    ] == "block:manual"
    assert not rows(stocked, Weblog)[0].listed


def test_what_cannot_be_blocked(blog: Blog, visitor: Visitor) -> None:
    for values, said in WRONG:
        answer = visitor.send("/blocks", "add", **{"reason": "Because.", **values})
        assert answer.status_code == 200
        assert said in answer.text, values
        assert 'aria-invalid="true"' in answer.text
        assert ('value="Because."' in answer.text) == ("reason" not in values)  # the input is kept
        assert "<script>" not in answer.text
    assert rows(blog, Block) == []
    assert rows(blog, Audit) == []


def test_without_re2_a_pattern_is_refused(
    blog: Blog, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "re2", None)
    text = visitor.send("/blocks", "add", kind="regex", value="casino").text
    assert "flask-linkback[fast]" in text
    assert rows(blog, Block) == []


def test_remove_some(stocked: Blog, visitor: Visitor) -> None:
    text = visitor.send("/blocks?kind=host", "remove", id=[7, 8]).text
    assert "2 blocks are removed." in text
    assert {7, 8}.isdisjoint(row.id for row in rows(stocked, Block))
    assert len(rows(stocked, Block)) == 58
    assert {each.object_key for each in _audits(stocked, "unblock")} == {
        "block:bad7.example",
        "block:bad8.example",
    }
    assert "Tick the rows first." in visitor.send("/blocks", "remove").text


def test_nothing_changes_without_the_right(stocked: Blog, visitor: Visitor) -> None:
    stocked.linkback.admin_access(lambda right, obj: right == "view")
    text = visitor.text("/blocks")
    assert "Block somebody" not in text
    assert "Remove" not in text
    with visitor.client.session_transaction() as session:
        session["csrf_token"] = "x"
    assert visitor.send("/blocks", "add", value="bad.example").status_code == 403
    assert visitor.send("/blocks", "remove", id=1).status_code == 403
    assert len(rows(stocked, Block)) == 60
