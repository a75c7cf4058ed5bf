"""Erasing: what goes, what stays, and what becomes of one who is told again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.linkbacks import erasing, moderation
from flask_linkback.linkbacks.erasing import Person, erase, mentions_of
from flask_linkback.models import Attempt, Audit, Base, Host, Job, JobState, Mention, MentionState
from tests.apps import Blog
from tests.moderation.tools import moderate, taken
from tests.neighbours import Neighbour
from tests.pingback.tools import CALLER, NOON, fault_of, heard, mention, mentions, names, ping, rows, work

HERE = Person(host="127.0.0.1")


def erased(blog: Blog, person: Person = HERE) -> list[int]:
    """Erase a person's data as the command does; return the mentions that this was."""
    with blog.app.app_context():
        ids = mentions_of(blog.site, person)
        announcements = erase(blog.site, ids, who="cli:ann")
        blog.db.session.commit()
        moderation.announce(blog.site, announcements)
        return ids


def about(blog: Blog, **values: Any) -> None:
    """Let the mentions say this."""
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Mention).values(**values))
        blog.db.session.commit()


def everything(blog: Blog) -> str:
    """All that the tables hold."""
    with blog.app.app_context(), blog.db.engine.connect() as connection:
        return "\n".join(
            str(row)
            for table in Base.metadata.sorted_tables
            for row in connection.execute(sa.select(*table.columns))
        )


WHOLE = {
    "title": "About Joe",
    "content": "Joe says",
    "author_name": "Joe Doe",
    "author_url": "https://joe.example/me",
    "author_photo": "https://joe.example/me.png",
    "reply_to": "https://friend.example/",
    "published_at": NOON,
    "type": "like",
}


def test_nothing_of_a_person_is_left_in_any_table(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=True)
    source = taken(blog, neighbour, "/joes-page").source
    about(blog, **WHOLE)
    told = ("joes-page", "Joe", "joe.example", "friend.example", CALLER)
    assert all(each in everything(blog) for each in told)
    before = mention(blog)
    with heard(blog) as said:
        assert erased(blog) == [1]
    left = everything(blog)
    assert [each for each in (*told, "127.0.0.1") if each in left] == []
    after = mention(blog)
    assert (after.key, after.source_key, after.target) == (before.key, before.source_key, before.target)
    assert (after.state, after.status, after.reason) == ("gone", "rejected", "erased")
    assert after.is_erased
    assert not after.shown
    assert (after.url, after.host) == ("", "")
    assert names(said) == ["mention_removed", "mention_moderated"]
    assert said[0][1]["reason"] == "erased"
    assert (said[1][1]["previous"], said[1][1]["status"]) == ("approved", "rejected")
    newest = rows(blog, Audit)[-1]
    assert (newest.who, newest.action, newest.object_key) == ("cli:ann", "erase", "mention:1")
    assert (newest.before, newest.after) == ({"status": "approved"}, {"status": "rejected"})
    assert source


def test_the_page_of_a_webmention_says_that_it_was_erased(blog: Blog, neighbour: Neighbour) -> None:
    taken(blog, neighbour)
    erased(blog)
    url = f"/linkback/webmention/{mention(blog).status_key}"
    client = blog.app.test_client()
    said = client.get(url, headers={"Accept": "application/json"}).json
    assert (said["reason"], said["source"]) == ("erased", "")
    shown = client.get(url, headers={"Accept": "text/html"}).text
    assert "erased" in shown
    assert "Source" not in shown


def test_again_there_is_nothing_to_erase(blog: Blog, neighbour: Neighbour) -> None:
    taken(blog, neighbour)
    assert erased(blog) == [1]
    with heard(blog) as said:
        assert erased(blog) == []
    assert said == []
    assert len(rows(blog, Audit)) == 1


def test_who_is_told_again_is_refused_and_not_stored(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url, SOURCE_INTERVAL_SECONDS=0)
    source = taken(blog, neighbour).source
    erased(blog)
    visits, left = len(neighbour.requests), everything(blog)
    assert fault_of(ping, blog, source, blog.url("hello")) == 48
    assert work(blog) == 0
    assert len(neighbour.requests) == visits
    assert everything(blog) == left


@pytest.mark.parametrize("status", ["approved", "pending"])
def test_what_was_erased_stays_out_of_sight(blog: Blog, neighbour: Neighbour, status: str) -> None:
    """Also when somebody approves it by mistake: there is nothing to show."""
    taken(blog, neighbour)
    erased(blog)
    moderate(blog, status)
    with blog.app.app_context():
        assert blog.linkback.mentions_for(blog.url("hello")) == []
    page = blog.app.test_client().get("/post/hello")
    assert page.status_code == 200
    assert b"pingback-1" not in page.data


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        (Person(author="https://joe.example/me"), [1]),
        (Person(author="HTTP://Joe.example/me/#x"), [1]),
        (Person(author="https://joe.example/"), []),
        (Person(author="https://bücher.example/me"), [3]),
        (Person(host="joe.example"), [1]),
        (Person(host="example"), []),
        (Person(host="127.0.0.1"), [1, 2, 3, 4]),
    ],
)
def test_who_is_meant(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, person: Person, expected: list[int]
) -> None:
    blog = blogs(database_url)
    authors = ("https://joe.example/me", "https://joe.example/you?", "https://xn--bcher-kva.example/me", "")
    for number, author in enumerate(authors):
        taken(blog, neighbour, f"/{number}")
        with blog.app.app_context():
            newest = sa.update(Mention).where(Mention.id == number + 1)
            blog.db.session.execute(newest.values(author_url=author))
            blog.db.session.commit()
    if expected == [1] and person.host:
        expected = [1, 2]
    assert erased(blog, person) == expected
    assert [each.id for each in mentions(blog) if each.is_erased] == expected


def test_a_page_goes_as_a_whole_and_replies_to_it_forget_it(blog: Blog, neighbour: Neighbour) -> None:
    source = taken(blog, neighbour, slug="hello").source
    taken(blog, neighbour, slug="other")
    taken(blog, neighbour, "/reply")
    with blog.app.app_context():
        session = blog.db.session
        joes = sa.update(Mention).where(Mention.id == 1).values(author_url="https://joe.example/")
        replies = sa.update(Mention).where(Mention.id == 3).values(reply_to=source)
        session.execute(joes)
        session.execute(replies)
        session.commit()
    assert erased(blog, Person(author="https://joe.example/")) == [1, 2]
    reply = mentions(blog)[2]
    assert (reply.reply_to, reply.is_erased) == ("", False)


def test_jobs_and_attempts_are_emptied_and_still_counted(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)
    taken(blog, neighbour, "/done")
    neighbour.answer("/later", status=503)
    ping(blog, neighbour.url("/later"), blog.url("hello"))
    work(blog)
    number = len(rows(blog, Job))
    erased(blog)
    looks = [job for job in rows(blog, Job) if job.kind == "verify_source"]
    assert len(rows(blog, Job)) == number
    assert [(job.state, job.payload, job.host) for job in looks] == [(JobState.done, {}, "")] * 2
    attempts = rows(blog, Attempt)
    assert [(each.url, each.address, each.outcome) for each in attempts] == [
        (None, None, "done"),
        (None, None, "http_503"),
    ]
    assert rows(blog, Host) == [] or [each.name for each in rows(blog, Host)] == ["*"]
    with blog.app.app_context():  # replayed, it finds nothing to do
        assert blog.linkback.replay(looks[0].id)
        blog.db.session.commit()
    assert work(blog) == 1


def test_a_look_that_is_under_way_writes_nothing(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)
    source = taken(blog, neighbour, "/first").source
    assert source
    visited: list[Any] = []

    def answer(request: Any, wire: Any) -> None:
        visited.append(erased(blog))
        body = f'<title>Joe</title><a href="{blog.url("hello")}">x</a>'.encode()
        wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    neighbour.route("/second", answer)
    ping(blog, neighbour.url("/second"), blog.url("hello"))
    with heard(blog) as said:
        work(blog)
    assert visited == [[1, 2]]
    assert {each.state for each in mentions(blog)} == {MentionState.gone, MentionState.failed}
    assert "Joe" not in everything(blog)
    assert "mention_verified" not in names(said)


def test_at_once_a_look_that_is_under_way_writes_nothing(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, PINGBACK_VERIFY="at_once")
    with blog.app.app_context():
        blog.add("hello")

    def answer(request: Any, wire: Any) -> None:
        erased(blog)
        body = f'<title>Joe</title><a href="{blog.url("hello")}">x</a>'.encode()
        wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    neighbour.route("/joe", answer)
    ping(blog, neighbour.url("/joe"), blog.url("hello"))
    work(blog)
    assert mention(blog).is_erased
    assert mention(blog).title == ""
    assert "/joe" not in everything(blog)


def test_many_are_erased_in_portions(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_AT_A_TIME", 2)
    with blog.app.app_context():
        blog.add("hello")
    for number in range(5):
        ping(blog, f"https://joe.example/{number}", blog.url("hello"))
    assert erased(blog, Person(host="joe.example")) == [1, 2, 3, 4, 5]
    assert "joe.example" not in everything(blog)
