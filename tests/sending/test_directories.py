"""Directories: what they are told, what they answer, how often, and that each has its turn."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from flask_linkback.errors import BaseURLMissing
from flask_linkback.linkbacks.directories import next_tries, owe_again
from flask_linkback.models import DirectoryPing, Job, JobState
from tests.apps import Blog
from tests.cli.commands import run
from tests.neighbours import Answer, Neighbour, Request, Wire, hang_up
from tests.pingback.peers import XML
from tests.pingback.tools import Clock, add, edit, heard, names, pending, rows, vanish, work

FEED = "https://blog.example/feed.atom"
EXTENDED, PLAIN = "weblogUpdates.extendedPing", "weblogUpdates.ping"
GOOD = {"flerror": False, "message": "Thanks for the ping."}


@dataclass
class Directory:
    """A directory at a path of a neighbour; ``answers`` are by method: a value, a fault or an `Answer`."""

    neighbour: Neighbour
    path: str = "/RPC2"
    answers: dict[str, Any] = field(default_factory=lambda: {EXTENDED: GOOD, PLAIN: GOOD})
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.neighbour.route(self.path, self._serve)

    @property
    def url(self) -> str:
        return self.neighbour.url(self.path)

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]

    def _serve(self, request: Request, wire: Wire) -> None:
        params, method = xmlrpc.client.loads(request.body)
        assert method is not None
        self.calls.append((method, params))
        answer = self.answers[method]
        if not isinstance(answer, Answer):
            value = answer if isinstance(answer, xmlrpc.client.Fault) else (answer,)
            answer = Answer(body=xmlrpc.client.dumps(value, methodresponse=True).encode(), headers=[XML])
        wire.send(answer.dump(request.method))


@pytest.fixture
def directory(neighbour: Neighbour) -> Directory:
    return Directory(neighbour)


@pytest.fixture
def make(blogs: Callable[..., Blog]) -> Callable[..., Blog]:
    """A maker of blogs whose posts are told to these directories."""

    def make(url: str, *directories: str, feed_url: Any = "/feed.atom", **settings: Any) -> Blog:
        blog = blogs(url, content=None, DIRECTORIES=directories, **settings)
        blog.linkback.ping_directories(blog.Post, url="url", feed_url=feed_url)
        return blog

    return make


def results(blog: Blog) -> list[tuple[str, bool, str]]:
    return [(each.url, each.success, each.message) for each in rows(blog, DirectoryPing)]


# --- the acceptance cases ----------------------------------------------------------------------------


def test_p21_extended_ping_has_four_arguments(
    make: Callable[..., Blog], database_url: str, directory: Directory
) -> None:
    blog = make(database_url, directory.url, SITE_NAME="A blög & more")
    with heard(blog) as said:
        page = add(blog, "hello")
        assert directory.calls == []
        work(blog)
    assert directory.calls == [(EXTENDED, ("A blög & more", "https://blog.example/", page, FEED))]
    assert results(blog) == [(directory.url, True, "Thanks for the ping.")]
    (row,) = rows(blog, DirectoryPing)
    assert (row.page_url, row.feed_url, row.object_key) == (page, FEED, "Post:1")
    assert (row.date, names(said)) == (blog.site.now(), ["directory_pinged"])
    assert said[0][1]["directory_ping"].id == row.id


@pytest.mark.parametrize(
    "answer",
    [
        xmlrpc.client.Fault(-32601, "No such method."),
        {"flerror": True, "message": "Not like this."},
        {"flError": "1", "message": ""},
        "no struct",
        Answer(status=500),
        Answer(status=404),
    ],
)
def test_p21_falls_back_to_the_plain_ping(
    make: Callable[..., Blog], sqlite_url: str, directory: Directory, answer: Any
) -> None:
    blog = make(sqlite_url, directory.url)
    directory.answers[EXTENDED] = answer
    add(blog, "hello")
    work(blog)
    assert directory.methods == [EXTENDED, PLAIN]
    assert directory.calls[1][1] == ("blog.example", "https://blog.example/")
    assert results(blog) == [(directory.url, True, "Thanks for the ping.")]


@pytest.mark.parametrize("name", ["flerror", "flError"])
@pytest.mark.parametrize(("value", "success"), [(True, False), (False, True), ("0", True), ("1", False)])
def test_p21_flerror_in_both_spellings_and_string_zeros(
    make: Callable[..., Blog], sqlite_url: str, directory: Directory, name: str, value: Any, success: bool
) -> None:
    blog = make(sqlite_url, directory.url, feed_url=None)
    directory.answers[PLAIN] = {name: value, "message": "Said so."}
    with heard(blog) as said:
        add(blog, "hello")
        work(blog)
    assert results(blog) == [(directory.url, success, "Said so.")]
    assert names(said) == ["directory_pinged"]
    assert pending(blog, "ping_directory") == []  # what a directory says is final


def test_p21_one_failing_directory_does_not_stop_the_next(
    make: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    neighbour.route("/dead", hang_up)
    neighbour.answer("/html", body=b"<html>")
    private = "http://10.0.0.1/"
    no = {"flerror": True, "message": "No."}
    refusing = Directory(neighbour, "/no", {EXTENDED: no, PLAIN: no})
    good = Directory(neighbour, "/good")
    urls = [neighbour.url("/dead"), neighbour.url("/html"), private, refusing.url, good.url]
    blog = make(database_url, *urls)
    with heard(blog) as said:
        add(blog, "hello")
        work(blog)
    found = {url: (success, message) for url, success, message in results(blog)}
    assert list(found) == urls  # a row each
    assert found[good.url] == (True, "Thanks for the ping.")
    assert found[refusing.url] == (False, f"{EXTENDED}: No. {PLAIN}: No.")
    assert found[urls[0]][1].startswith("unreachable: ")
    assert found[private][1].startswith("address_refused: ")
    assert "The answer is none of a directory." in found[urls[1]][1]
    assert [success for success, _ in found.values()].count(True) == 1
    assert names(said) == ["directory_pinged"] * 3  # the others are told again
    assert len(pending(blog, "ping_directory")) == 2


def test_6_extended_ping_then_plain_and_four_arguments(
    make: Callable[..., Blog], sqlite_url: str, directory: Directory
) -> None:
    """Easy to miss: extendedPing first, plain ping as fallback, the flerror key, four arguments."""
    blog = make(sqlite_url, directory.url)
    directory.answers[EXTENDED] = {"flerror": True, "message": "Only ping here."}
    page = add(blog, "hello")
    work(blog)
    assert [(method, len(params)) for method, params in directory.calls] == [(EXTENDED, 4), (PLAIN, 2)]
    assert directory.calls[0][1][2:] == (page, FEED)


# --- who says it, and how often ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feed_url", "told"),
    [
        (None, None),
        ("/feed.atom", FEED),
        (FEED, FEED),
        ("title", "https://blog.example/feeds/1"),
        (lambda post: f"/feeds/{post.id}", "https://blog.example/feeds/1"),
        (lambda post: None, None),
    ],
)
def test_feed_is_an_address_an_attribute_or_a_callable(
    make: Callable[..., Blog], sqlite_url: str, directory: Directory, feed_url: Any, told: str | None
) -> None:
    blog = make(sqlite_url, directory.url, feed_url=feed_url)
    add(blog, "hello", title="/feeds/1")
    work(blog)
    ((method, params),) = directory.calls
    assert method == (PLAIN if told is None else EXTENDED)
    assert params[3:] == (() if told is None else (told,))


def test_when_says_no_and_a_wrong_name_is_told(
    blogs: Callable[..., Blog], sqlite_url: str, directory: Directory
) -> None:
    blog = blogs(sqlite_url, content=None, DIRECTORIES=directory.url)
    blog.linkback.ping_directories(blog.Post, when=lambda post: not post.closed)
    add(blog, "hello", closed=True)
    work(blog)
    assert directory.calls == []
    for wrong in ({"url": "address"}, {"feed_url": "feed"}):
        with pytest.raises(TypeError, match=r"Post has no '(address|feed)'"):
            blog.linkback.ping_directories(blog.Post, **wrong)


def test_a_feed_is_announced_once_in_an_interval(
    make: Callable[..., Blog], database_url: str, directory: Directory, clock: Clock
) -> None:
    """What comes within the interval is told once after it, by the page that changed last."""
    blog = make(database_url, directory.url)
    for slug in ("one", "two"):
        add(blog, slug)
    work(blog)
    assert [params[2] for _, params in directory.calls] == [blog.url("two")]
    clock.move(100)
    edit(blog, "one", title="Edited")
    add(blog, "three")
    work(blog)
    assert len(directory.calls) == 1
    clock.move(199)
    work(blog)
    assert len(directory.calls) == 1
    clock.move(1)
    work(blog)
    assert [params[2] for _, params in directory.calls] == [blog.url("two"), blog.url("three")]
    assert len(rows(blog, DirectoryPing)) == 2
    clock.move(300)
    add(blog, "four")
    work(blog)
    assert len(directory.calls) == 3


def test_each_feed_has_its_own_interval(
    make: Callable[..., Blog], sqlite_url: str, directory: Directory
) -> None:
    blog = make(sqlite_url, directory.url, feed_url="title")
    for slug in ("a", "b", "c"):
        add(blog, slug, title=f"/feeds/{slug}")
        work(blog)
    assert [params[3][-1] for _, params in directory.calls] == ["a", "b", "c"]


def test_publish_tells_directories(
    blogs: Callable[..., Blog], database_url: str, directory: Directory
) -> None:
    blog = blogs(database_url, content=None, DIRECTORIES=[directory.url])
    for url, feeds in (("/one", ()), ("/two", "/feed.atom"), ("/three", ["/a.atom", "/b.atom"])):
        for _ in range(2):  # an unchanged page is told once
            with blog.app.app_context():
                blog.linkback.publish(url, html="<p>Hello", feeds=feeds)
                blog.db.session.commit()
        work(blog)
    assert directory.methods == [PLAIN, EXTENDED, EXTENDED, EXTENDED]
    assert [params[2:] for _, params in directory.calls[1:]] == [
        ("https://blog.example/two", FEED),
        ("https://blog.example/three", "https://blog.example/a.atom"),
        ("https://blog.example/three", "https://blog.example/b.atom"),
    ]


def test_nothing_is_told_of_what_was_rolled_back(
    make: Callable[..., Blog], database_url: str, directory: Directory
) -> None:
    blog = make(database_url, directory.url)
    with blog.app.app_context():
        blog.db.session.add(blog.Post(slug="hello"))
        blog.db.session.flush()
        blog.db.session.rollback()
    work(blog)
    assert (directory.calls, rows(blog, DirectoryPing)) == ([], [])


def test_no_directories_cost_nothing_and_some_need_an_address(
    make: Callable[..., Blog], sqlite_url: str, directory: Directory
) -> None:
    blog = make(sqlite_url, base_url=None)
    add(blog, "hello")
    assert rows(blog, Job) == []
    nowhere = make(sqlite_url, directory.url, base_url=None)
    with nowhere.app.app_context(), pytest.raises(BaseURLMissing):
        nowhere.add("other")


# --- again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_directory_that_does_not_answer_is_told_again(
    make: Callable[..., Blog], database_url: str, directory: Directory, clock: Clock, status: int
) -> None:
    blog = make(database_url, directory.url)
    directory.answers = dict.fromkeys(directory.answers, Answer(status=status))
    add(blog, "hello")
    work(blog)
    assert directory.methods == ([EXTENDED, PLAIN] if status == 500 else [EXTENDED])  # others are busy
    assert rows(blog, DirectoryPing)[0].success is False
    directory.answers = {EXTENDED: GOOD, PLAIN: GOOD}
    clock.move(100)
    work(blog)
    assert results(blog) == [(directory.url, True, "Thanks for the ping.")]


def test_a_directory_that_never_answers_is_given_up(
    make: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = make(sqlite_url, neighbour.url("/dead"), RETRY_SCHEDULE=[0, 0])
    neighbour.route("/dead", hang_up)
    with heard(blog) as said:
        add(blog, "hello")
        work(blog)
    assert [job.state for job in rows(blog, Job)] == [JobState.dead]
    assert names(said) == ["directory_pinged"]
    assert rows(blog, DirectoryPing)[0].success is False


# --- the command -------------------------------------------------------------------------------------


def test_the_command_tells_now(blogs: Callable[..., Blog], database_url: str, directory: Directory) -> None:
    blog = blogs(database_url, DIRECTORIES=[directory.url])
    ran = run(blog, "ping-directories", "/post/one", "--feed", "/feed.atom")
    assert (ran.status, ran.lines) == (0, [f"told     {directory.url}  Thanks for the ping."])
    assert directory.calls[0][1][1:] == ("https://blog.example/", blog.url("one"), FEED)
    ran = run(blog, "ping-directories", "--json")  # of the site: another feed
    assert ran.json == {
        "page": "https://blog.example/",
        "feed": None,
        "directories": [
            {"directory": directory.url, "state": "told", "message": "Thanks for the ping.", "due_at": None}
        ],
    }
    ran = run(blog, "ping-directories", "--json")  # within the interval
    assert (ran.status, ran.json["directories"][0]["state"]) == (1, "waits")
    due_at = datetime.fromisoformat(ran.json["directories"][0]["due_at"]).astimezone()
    (line,) = run(blog, "ping-directories").lines
    assert line == f"waits    {directory.url}  Not told yet. Due at {due_at.isoformat(' ', 'seconds')}."
    assert len(directory.calls) == 2


def test_the_command_says_what_failed(
    blogs: Callable[..., Blog], sqlite_url: str, directory: Directory
) -> None:
    blog = blogs(sqlite_url, DIRECTORIES=[directory.url])
    directory.answers[PLAIN] = {"flerror": True, "message": "Too often."}
    ran = run(blog, "ping-directories")
    assert (ran.status, ran.lines) == (1, [f"failed   {directory.url}  Too often."])
    assert "LINKBACK_DIRECTORIES" in run(blogs(sqlite_url), "ping-directories").stderr
    assert "no page of this site" in run(blog, "ping-directories", "https://other.example/").stderr


def test_a_ping_whose_job_dies_with_its_worker_is_given_up(
    make: Callable[..., Blog], database_url: str, directory: Directory, clock: Clock
) -> None:
    blog = make(database_url, directory.url)
    add(blog, "hello")
    with heard(blog) as said:
        vanish(blog, clock)
        work(blog)
    assert names(said) == ["directory_pinged"]
    assert results(blog) == [(directory.url, False, "The worker vanished during the last attempt.")]
    assert directory.calls == []


# --- by hand -------------------------------------------------------------------------------------------


def test_a_directory_is_told_again_after_its_interval(
    make: Callable[..., Blog], database_url: str, directory: Directory, clock: Clock
) -> None:
    blog = make(database_url, directory.url)
    add(blog, "hello")
    work(blog)
    with blog.app.app_context():
        session = blog.db.session()
        row = session.get(DirectoryPing, 1)
        assert next_tries(blog.site, session, [row]) == {}
        assert owe_again(blog.site, session, row)
        assert not owe_again(blog.site, session, row)
        session.commit()
        new = session.get(DirectoryPing, 2)
        assert next_tries(blog.site, session, [row, new]) == {2: clock() + timedelta(seconds=300)}
    work(blog)
    assert len(directory.calls) == 1
    clock.move(300)
    work(blog)
    assert directory.calls[0] == directory.calls[1]
    assert [each[1] for each in results(blog)] == [True, True]
