"""AUTO_APPROVE: each rule, and what it writes down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_linkback.models import MentionState, MentionStatus
from tests.apps import Blog
from tests.moderation.tools import audits, moderate, taken
from tests.neighbours import Neighbour
from tests.pingback.tools import fault_of, heard, mentions, ping, work


def is_local(mention: Any) -> bool:
    return bool(mention.source_host == "127.0.0.1" and mention.title)


class Friends:
    def __call__(self, mention: Any) -> bool:
        return True


@pytest.mark.parametrize(
    ("rules", "who"),
    [
        (True, "rule:auto_approve"),
        ([is_local], "rule:is_local"),
        ([lambda mention: False, Friends()], "rule:Friends"),
        (["known_host", is_local], "rule:is_local"),
    ],
)
def test_a_rule_that_approves_is_written_down_and_told_once(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, rules: Any, who: str
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=rules)
    with heard(blog) as said:
        mention = taken(blog, neighbour)
    assert mention.status is MentionStatus.approved
    assert audits(blog) == [(who, "mention:1", "pending", "approved")]
    assert [name for name, _ in said] == ["mention_received", "mention_verified", "mention_moderated"]
    assert said[-1][1]["status"] is MentionStatus.approved
    assert said[-1][1]["previous"] is MentionStatus.pending


@pytest.mark.parametrize("rules", [False, (), ["known_host", "known_author"], lambda mention: False])
def test_strangers_wait(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, rules: Any
) -> None:
    blog = blogs(sqlite_url, AUTO_APPROVE=rules)
    with heard(blog) as said:
        assert taken(blog, neighbour).status is MentionStatus.pending
    assert audits(blog) == []
    assert "mention_moderated" not in [name for name, _ in said]


def test_a_known_host_passes_and_a_rejected_one_is_not_known(blog: Blog, neighbour: Neighbour) -> None:
    taken(blog, neighbour, "/1")
    moderate(blog, "rejected")
    assert taken(blog, neighbour, "/2").status is MentionStatus.pending
    moderate(blog, "approved", who="ann")
    assert taken(blog, neighbour, "/3").status is MentionStatus.approved
    assert audits(blog) == [
        ("", "mention:1", "pending", "rejected"),
        ("ann", "mention:2", "pending", "approved"),
        ("rule:known_host", "mention:3", "pending", "approved"),
    ]


def test_what_a_rule_approved_is_not_judged_again(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, AUTO_APPROVE=True, SOURCE_INTERVAL_SECONDS=0)
    source = taken(blog, neighbour).source
    neighbour.answer("/source", body=b"gone")
    assert fault_of(ping, blog, source, blog.url("hello")) == 48
    work(blog)
    assert mentions(blog)[0].state is MentionState.gone
    with heard(blog) as said:
        taken(blog, neighbour)
    assert [each.status for each in mentions(blog)] == [MentionStatus.approved]
    assert len(audits(blog)) == 1
    assert "mention_moderated" not in [name for name, _ in said]
