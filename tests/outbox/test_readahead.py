"""Laws of reading ahead: what was claimed together is read together, and soon read anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from flask_linkback.outbox import jobs, readahead
from flask_linkback.outbox.jobs import Claim
from flask_linkback.outbox.readahead import ReadAhead
from flask_linkback.site import Site
from tests.apps import Blog


class Ahead(ReadAhead[str]):
    """Notes what is read at once."""

    kind = "a"

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[list[int]] = []

    def read(self, site: Site, claims: Sequence[Claim]) -> dict[int, str]:
        self.reads.append([claim.id for claim in claims])
        return {claim.id: f"about {claim.id}" for claim in claims}


def claimed(blog: Blog, *kinds: str) -> list[Claim]:
    """Owe a job of each kind, and claim all of them together."""
    with blog.app.app_context(), blog.site.new_session() as session:
        jobs.add(session, [jobs.NewJob(kind=kind) for kind in kinds])
        session.commit()
        return list(jobs.turn(session, now=blog.site.now(), schedule=[0], want=len(kinds)).claims)


def test_what_was_claimed_together_is_read_together(blog: Blog) -> None:
    known = Ahead()
    first, other, second = claimed(blog, "a", "b", "a")
    third = claimed(blog, "a")[0]
    assert [known.take(blog.site, each) for each in (first, second, third)] == [
        f"about {each.id}" for each in (first, second, third)
    ]
    assert known.reads == [[first.id, second.id], [third.id]]
    assert known.take(blog.site, replace(other, beside=())) == f"about {other.id}"


def test_one_that_comes_again_is_read_again(blog: Blog) -> None:
    known = Ahead()
    first, second = claimed(blog, "a", "a")
    for _ in range(2):
        known.take(blog.site, first)
    assert known.reads == [[first.id, second.id]] * 2


def test_many_are_read_in_portions(blog: Blog) -> None:
    known = Ahead()
    claims = claimed(blog, *("a" * 100))
    for claim in claims:
        known.take(blog.site, claim)
    assert [len(each) for each in known.reads] == [64, 36]


def test_what_was_read_counts_for_a_moment_only_and_not_once_it_is_to_be_forgotten(
    blog: Blog, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Ahead()
    first, second, third = claimed(blog, "a", "a", "a")
    known.take(blog.site, first)
    known.forget()
    known.take(blog.site, second)
    monkeypatch.setattr(readahead, "_FRESH_SECONDS", -1.0)
    known.take(blog.site, third)
    assert known.reads == [[first.id, second.id, third.id], [second.id, third.id], [third.id]]


def test_what_cannot_be_read_spoils_nothing_else(blog: Blog) -> None:
    class Choosy(Ahead):
        def read(self, site: Site, claims: Sequence[Claim]) -> dict[int, str]:
            if bad.id in [claim.id for claim in claims]:
                raise ValueError(bad.id)
            return super().read(site, claims)

    known = Choosy()
    first, bad, last = claimed(blog, "a", "a", "a")
    with blog.app.app_context():
        assert known.take(blog.site, first) == f"about {first.id}"
        with pytest.raises(ValueError, match=str(bad.id)):
            known.take(blog.site, bad)
        assert known.take(blog.site, last) == f"about {last.id}"
