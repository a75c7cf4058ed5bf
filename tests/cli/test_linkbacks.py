"""Linkbacks by command: what came in, what goes out."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import ping_func
from flask_linkback.cli.output import local_time
from flask_linkback.linkbacks.receiving import receive
from flask_linkback.models import (
    Audit,
    Job,
    JobState,
    Link,
    LinkState,
    Mention,
    MentionState,
    MentionStatus,
    Page,
)
from flask_linkback.outbox import errands, jobs
from flask_linkback.outbox.errands import run_errands
from flask_linkback.outbox.jobs import Claim, Finished
from flask_linkback.outbox.worker import perform
from flask_linkback.protocols import xmlrpc
from tests.apps import Blog
from tests.cli.commands import add_mention, run
from tests.neighbours import Neighbour, no_threads_left

# --- mentions ----------------------------------------------------------------------------------------


def test_mentions_come_newest_first(blog: Blog) -> None:
    old = add_mention(blog, received_at=datetime(2026, 1, 1, tzinfo=UTC), title="Old")
    new = add_mention(
        blog, received_at=datetime(2026, 1, 2, tzinfo=UTC), title="New", protocol="webmention", type="reply"
    )
    ran = run(blog, "mentions")
    assert ran.status == 0
    assert [line.split() for line in ran.lines] == [
        [
            str(new),
            "webmention",
            "reply",
            "verified",
            "pending",
            "https://other.example/1",
            "->",
            "https://blog.example/post/one",
            "New",
        ],
        [
            str(old),
            "pingback",
            "mention",
            "verified",
            "pending",
            "https://other.example/1",
            "->",
            "https://blog.example/post/one",
            "Old",
        ],
    ]
    assert [each["id"] for each in run(blog, "mentions", "--json").json] == [new, old]
    assert [each["id"] for each in run(blog, "mentions", "--limit", "1", "--json").json] == [new]


def test_no_mentions_are_told_too(blog: Blog) -> None:
    assert run(blog, "mentions").stdout == "No mentions.\n"
    assert run(blog, "mentions", "--json").json == []


def test_a_mention_as_json_says_all(blog: Blog) -> None:
    add_mention(blog, title="T", content="C", verified_at=datetime(2026, 1, 3, tzinfo=UTC))
    assert run(blog, "mentions", "--json").json == [
        {
            "id": 1,
            "protocol": "pingback",
            "state": "verified",
            "status": "pending",
            "reason": "",
            "type": "mention",
            "source": "https://other.example/1",
            "target": "https://blog.example/post/one",
            "target_key": "Post:1",
            "author_name": "",
            "author_url": "",
            "title": "T",
            "content": "C",
            "received_at": "2026-01-01T00:00:00+00:00",
            "verified_at": "2026-01-03T00:00:00+00:00",
        }
    ]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--state", "gone"), ("--status", "spam"), ("--protocol", "webmention"), ("--host", "bad.example")],
)
def test_mentions_are_filtered(blog: Blog, option: str, value: str) -> None:
    add_mention(blog)
    wanted = add_mention(
        blog,
        state=MentionState.gone,
        status=MentionStatus.spam,
        protocol="webmention",
        source_host="bad.example",
    )
    assert [each["id"] for each in run(blog, "mentions", option, value, "--json").json] == [wanted]


def test_mentions_of_a_page_however_it_is_written(blog: Blog) -> None:
    with blog.app.app_context():
        blog.add("one")
        blog.add("two")
    for slug in ("one", "two"):
        with blog.app.test_request_context():
            ping_func(f"https://other.example/{slug}", blog.url(slug))
    for target in ("/post/one", "http://BLOG.example:8080/post/one?utm=1#top"):
        found = run(blog, "mentions", "--target", target, "--json").json
        assert [each["source"] for each in found] == ["https://other.example/one"]


def test_mentions_of_a_page_that_is_gone_are_found_by_its_url(blog: Blog) -> None:
    wanted = add_mention(blog)
    add_mention(blog, target=blog.url("two"))
    found = run(blog, "mentions", "--target", "/post/one", "--json").json
    assert [each["id"] for each in found] == [wanted]
    assert run(blog, "mentions", "--target", "/about", "--json").json == []


def test_mentions_of_a_foreign_page_are_refused(blog: Blog) -> None:
    ran = run(blog, "mentions", "--target", "https://other.example/")
    assert (ran.status, ran.stderr) == (1, "Error: https://other.example/ is no page of this site.\n")


# --- mentions --verify ---------------------------------------------------------------------------------


@pytest.fixture
def hasty(blogs: Callable[..., Blog], database_url: str) -> Blog:
    """A blog that may look at a source as often as it likes."""
    return blogs(database_url, SOURCE_INTERVAL_SECONDS=0)


@pytest.fixture
def told(hasty: Blog, neighbour: Neighbour) -> int:
    """The id of a mention by a page of the neighbour, /source, that was not there at first."""
    blog = hasty
    with blog.app.app_context():
        blog.add("one")
        receive(blog.site, protocol="webmention", source=neighbour.url("/source"), target=blog.url("one"))
        blog.linkback.run_until_idle()
        return blog.db.session.scalars(sa.select(Mention.id)).one()


def test_a_source_is_looked_at_again_at_once(hasty: Blog, neighbour: Neighbour, told: int) -> None:
    blog, other = hasty, add_mention(hasty)
    neighbour.answer("/source", body=f'<title>Now</title><a href="{blog.url("one")}">one</a>'.encode())
    ran = run(blog, "mentions", "--verify", str(told))
    assert ran.status == 0
    (line,) = ran.lines
    assert line.split()[:4] == [str(told), "webmention", "mention", "verified"]
    assert line.endswith("Now")
    # and once more, after it was judged; then the link is gone
    neighbour.answer("/source", body=b"<p>Nothing.")
    ran = run(blog, "mentions", "--verify", str(told), "--json")
    assert (ran.status, [(each["id"], each["state"], each["reason"]) for each in ran.json]) == (
        1,
        [(told, "gone", "no_link")],
    )
    assert other not in [each["id"] for each in ran.json]


def test_trouble_of_a_source_is_told_with_the_time_of_the_next_look(
    hasty: Blog, neighbour: Neighbour, told: int
) -> None:
    neighbour.answer("/source", status=503)
    ran = run(hasty, "mentions", "--verify", str(told))
    assert ran.status == 1
    assert [line.split()[:3] for line in ran.lines] == [
        [str(told), "webmention", "mention"],
        ["Its", "source", "is"],
    ]
    with hasty.app.app_context():
        due_at = hasty.db.session.scalars(sa.select(Job.due_at).where(Job.state == JobState.pending)).one()
    assert f"at {local_time(due_at)}." in ran.lines[1]


def test_what_has_no_source_is_not_looked_at(blog: Blog) -> None:
    erased = add_mention(blog, source="")
    ran = run(blog, "mentions", "--verify", str(erased))
    assert (ran.status, ran.stderr) == (
        1,
        f"Error: What is known of {erased} was erased, with the source.\n",
    )
    assert run(blog, "mentions", "--verify", "77").stderr.startswith("Error: There is no mention 77.")


# --- moderate ----------------------------------------------------------------------------------------


def statuses(blog: Blog) -> dict[int, MentionStatus]:
    with blog.app.app_context():
        return {each.id: each.status for each in blog.db.session.scalars(sa.select(Mention))}


def test_moderate_decides_about_several(blog: Blog) -> None:
    first, second = add_mention(blog), add_mention(blog, status=MentionStatus.spam)
    third = add_mention(blog, status=MentionStatus.approved)
    ran = run(blog, "moderate", str(third), str(first), str(second), str(first), "approved")
    assert ran.status == 0
    assert sorted(ran.lines) == [
        f"{first}: pending -> approved",
        f"{second}: spam -> approved",
        f"{third}: was approved already",
    ]
    assert set(statuses(blog).values()) == {MentionStatus.approved}
    with blog.app.app_context():
        audits = blog.db.session.scalars(sa.select(Audit).order_by(Audit.object_key)).all()
        assert [(each.who, each.object_key) for each in audits] == [
            (f"cli:{getpass.getuser()}", f"mention:{first}"),
            (f"cli:{getpass.getuser()}", f"mention:{second}"),
        ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--host", "Bad.example:8080"], [1, 2]),
        (["--host", "https-is-no-host.example"], []),
        (["--from", "spam"], [3]),
        (["--from", "pending", "--host", "bad.example"], [1, 2]),
        (["--state", "gone"], [4]),
        (["--from", "pending", "--state", "gone"], [4]),
        (["--target", "/post/two"], [4]),
    ],
)
def test_moderate_chooses(
    blogs: Callable[..., Blog], database_url: str, options: list[str], expected: list[int]
) -> None:
    blog = blogs(database_url)
    add_mention(blog, source_host="bad.example")
    add_mention(blog, author_url="HTTPS://bad.example")
    add_mention(blog, status=MentionStatus.spam, author_url="https://bad.example.org/")
    add_mention(blog, state=MentionState.gone, target=blog.url("two"))
    before = statuses(blog)
    ran = run(blog, "moderate", *options, "rejected", "--dry-run", "--json")
    assert [(each["id"], each["changed"]) for each in ran.json] == [(each, False) for each in expected]
    would = [line for line in run(blog, "moderate", *options, "rejected", "--dry-run").lines if expected]
    assert all(line.startswith("Would change ") for line in would)
    assert statuses(blog) == before
    ran = run(blog, "moderate", *options, "rejected")
    assert ran.status == 0
    assert len(ran.lines) == max(1, len(expected))
    assert [each for each, status in statuses(blog).items() if status == "rejected"] == expected
    found = run(blog, "mentions", "--status", "rejected", "--json").json
    assert sorted(each["id"] for each in found) == expected


@pytest.mark.parametrize(
    "args", [["approved"], ["1", "--host", "bad.example", "approved"], ["--host", "[", "spam"]]
)
def test_moderate_wants_to_know_which(blog: Blog, args: list[str]) -> None:
    add_mention(blog)
    assert run(blog, "moderate", *args).status == 1
    assert set(statuses(blog).values()) == {MentionStatus.pending}


def test_moderate_tells_programs(blog: Blog) -> None:
    mention = add_mention(blog)
    assert run(blog, "moderate", str(mention), "spam", "--json").json == [
        {"id": mention, "before": "pending", "status": "spam", "changed": True}
    ]


def test_moderate_with_an_unknown_id_changes_nothing(blog: Blog) -> None:
    mention = add_mention(blog)
    ran = run(blog, "moderate", str(mention), "77", "78", "approved")
    assert ran.status == 1
    assert ran.stderr == "Error: There is no mention 77, 78. Nothing was changed.\n"
    assert statuses(blog) == {mention: MentionStatus.pending}
    with blog.app.app_context():
        assert blog.db.session.scalars(sa.select(Job)).all() == []


@pytest.mark.parametrize("wrong", ["one", "0", "-1", "9" * 30])
def test_moderate_takes_ids_only(blog: Blog, wrong: str) -> None:
    assert run(blog, "moderate", "--", wrong, "approved").status == 2


def test_moderate_names_a_user_without_a_name(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nobody)
    run(blog, "moderate", str(add_mention(blog)), "spam")
    with blog.app.app_context():
        assert blog.db.session.scalar(sa.select(Audit.who)).startswith("cli:uid ")


# --- send --------------------------------------------------------------------------------------------


def friendly(neighbour: Neighbour, path: str = "/") -> str:
    """Let a neighbour have a page that accepts pingbacks; return its URL."""
    neighbour.answer(path, headers=[("X-Pingback", neighbour.url("/xmlrpc"))])
    neighbour.answer("/xmlrpc", body=xmlrpc.dump_response("Thanks."))
    return neighbour.url(path)


def paths(neighbour: Neighbour) -> list[str]:
    return [request.path for request in neighbour.requests]


@pytest.mark.parametrize("runner", ["thread", "external", "inline", "off"])
def test_send_tells_these_targets_now(blogs: Callable[..., Blog], database_url: str, runner: str) -> None:
    with no_threads_left(), Neighbour() as neighbour:
        blog = blogs(database_url, RUNNER=runner, testing=False)
        page, silent = friendly(neighbour), neighbour.url("/silent")
        neighbour.answer("/silent")
        ran = run(blog, "send", "/post/one", "--target", page, "--target", silent)
        assert (ran.status, ran.stderr) == (0, "")
        assert [line.split(maxsplit=3) for line in ran.lines] == [
            ["sent", page, "pingback", "Thanks."],
            ["unsupported", silent, "-", "The target offers no way to be told."],
        ]
        call = xmlrpc.parse_call(neighbour.requests[1].body)
        assert list(call.params) == [blog.url("one"), page]
    with blog.app.app_context():
        assert set(blog.db.session.scalars(sa.select(Job.state))) == {JobState.done}


def test_send_tells_programs(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    with Neighbour() as neighbour:
        blog = blogs(sqlite_url, RUNNER="external")
        page = friendly(neighbour)
        assert run(blog, "send", blog.url("one"), "--target", page, "--json").json == {
            "page": blog.url("one"),
            "links": [
                {
                    "target": page,
                    "state": "sent",
                    "protocol": "pingback",
                    "endpoint": neighbour.url("/xmlrpc"),
                    "answer": "Thanks.",
                    "reason": "",
                    "due_at": None,
                }
            ],
            "reason": "",
        }


def test_send_fails_when_a_target_refuses(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    with Neighbour() as neighbour:
        blog = blogs(sqlite_url, RUNNER="external")
        page = friendly(neighbour)
        neighbour.answer("/xmlrpc", body=xmlrpc.dump_fault(xmlrpc.Fault(17, "No link.")))
        ran = run(blog, "send", "/post/one", "--target", page)
    assert ran.status == 1
    assert ran.lines[0].split(maxsplit=3) == ["refused", page, "pingback", "Fault 17: No link."]


def test_send_fails_when_a_target_has_to_be_told_later(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    with Neighbour() as neighbour:
        blog = blogs(sqlite_url, RUNNER="external")
        neighbour.answer("/", status=503)
        for _ in range(2):  # the second time it is not due yet, and so not asked again
            ran = run(blog, "send", "/post/one", "--target", neighbour.url("/"), "--json")
            assert ran.status == 1
            (link,) = ran.json["links"]
            assert link["state"] == "waiting"
            assert datetime.fromisoformat(link["due_at"]) > datetime.now(UTC) + timedelta(seconds=50)
        assert paths(neighbour) == ["/"]
        ran = run(blog, "send", "/post/one", "--target", neighbour.url("/"))
        assert ran.lines[0].startswith("waiting      http://127.0.0.1")
        assert "(again at 20" in ran.lines[0]


def test_send_fails_when_a_target_is_given_up(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    with Neighbour() as neighbour:
        blog = blogs(sqlite_url, RUNNER="external", RETRY_SCHEDULE=[0])
        neighbour.answer("/", status=503)
        ran = run(blog, "send", "/post/one", "--target", neighbour.url("/"), "--json")
    assert (ran.status, ran.json["links"][0]["state"]) == (1, "given_up")


def test_send_fetches_the_page_and_tells_only_what_is_owed(
    blogs: Callable[..., Blog], database_url: str
) -> None:
    with Neighbour() as us, Neighbour() as neighbour:
        blog = blogs(database_url, base_url=us.url(""), RUNNER="external")
        one, two = friendly(neighbour, "/1"), friendly(neighbour, "/2")
        us.answer("/post/one", body=f'<a href="{one}">1</a> <a href="/about">us</a>'.encode(), headers=HTML)
        assert [link["target"] for link in run(blog, "send", "/post/one", "--json").json["links"]] == [one]
        us.answer("/post/one", body=f'<a href="{one}">1</a> <a href="{two}">2</a>'.encode(), headers=HTML)
        ran = run(blog, "send", "/post/one")
        assert [line.split()[:2] for line in ran.lines] == [["sent", one], ["sent", two]]
        assert paths(neighbour) == ["/1", "/xmlrpc", "/2", "/xmlrpc"]
        # a link that is gone is told once more, and then no more
        us.answer("/post/one", body=f'<a href="{two}">2</a>'.encode(), headers=HTML)
        for expected in ([one, two], [two]):
            links = run(blog, "send", "/post/one", "--json").json["links"]
            assert [link["target"] for link in links] == expected
        assert paths(neighbour)[4:] == ["/1", "/xmlrpc"]


HTML = [("Content-Type", "text/html; charset=utf-8")]


def test_send_says_when_there_is_nobody_to_tell(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    with Neighbour() as us:
        blog = blogs(sqlite_url, base_url=us.url(""), RUNNER="external")
        us.answer("/post/one", body=b"<p>No links.</p>", headers=HTML)
        ran = run(blog, "send", "/post/one")
    assert (ran.status, ran.stdout) == (0, "The page has no links that are told.\n")


def test_send_fails_when_the_page_cannot_be_read(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    with Neighbour() as us:
        blog = blogs(sqlite_url, base_url=us.url(""), RUNNER="external")
        ran = run(blog, "send", "/post/one")
        assert ran.status == 1
        assert ran.lines[0] == f"{us.url('/post/one')} is not published. The page answers 404."
        assert ran.lines[1].startswith("It is tried again at 20")
        assert run(blog, "send", "/post/one", "--json").json == {
            "page": us.url("/post/one"),
            "links": [],
            "reason": "The page answers 404.",
        }


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["https://other.example/"], "https://other.example/ is no page of this site: that would be at "),
        (["https://blog.example:99999/"], "The URL"),
        (["/post/one", "--target", "mailto:joe@other.example"], "Only http:// and https:// URLs"),
        (["/post/one", "--target", "https://other.example:99999/"], "The URL"),
    ],
)
def test_send_refuses_what_is_no_page(blog: Blog, args: list[str], sentence: str) -> None:
    ran = run(blog, "send", *args)
    assert ran.status == 1
    assert ran.stderr.startswith(f"Error: {sentence}")
    with blog.app.app_context():
        assert blog.db.session.scalars(sa.select(Page)).all() == []


def test_send_leaves_other_work_alone(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    with Neighbour() as neighbour:
        blog = blogs(sqlite_url, RUNNER="external")
        with blog.app.app_context():
            blog.linkback.publish("/post/other", targets=[neighbour.url("/other")])
            blog.db.session.commit()
        run(blog, "send", "/post/one", "--target", friendly(neighbour))
        assert "/other" not in paths(neighbour)


# --- errands -----------------------------------------------------------------------------------------


class OtherWorker:
    """Is quicker to claim a job, and finishes it when it is told to."""

    def __init__(self, blog: Blog, job_id: int) -> None:
        self.blog = blog
        claim = claim_job(blog.site, job_id)
        assert claim is not None
        self.claim = claim

    def finish(self) -> None:
        site = self.blog.site
        finished = Finished(claim=self.claim, outcome=perform(site, self.claim))
        with site.context(), site.new_session() as session:
            jobs.turn(session, now=site.now(), schedule=(0,), finished=[finished])


claim_job = errands._claim


@pytest.fixture
def job_id(blog: Blog) -> int:
    """A job that is due."""
    blog.site.handlers["greet"] = lambda site, claim: jobs.done()
    with blog.app.app_context():
        jobs.add(blog.db.session, [jobs.NewJob(kind="greet")])
        blog.db.session.commit()
        return blog.db.session.scalars(sa.select(Job.id)).one()


def state(blog: Blog, job_id: int) -> JobState:
    with blog.app.app_context():
        return blog.db.session.get_one(Job, job_id).state


def test_an_errand_that_another_worker_has_is_waited_for(
    blog: Blog, job_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with blog.app.app_context():
        other = OtherWorker(blog, job_id)
    looked = threading.Event()
    are_running = errands._are_running

    def look(*args: Any) -> bool:
        running = are_running(*args)
        looked.set()
        return running

    monkeypatch.setattr(errands, "_are_running", look)

    def finish() -> None:
        assert looked.wait(10)
        other.finish()

    thread = threading.Thread(target=finish)
    thread.start()
    with blog.app.app_context():
        run_errands(blog.site, [job_id])
    assert state(blog, job_id) is JobState.done
    thread.join(10)


def test_an_errand_is_not_waited_for_longer_than_a_claim_holds(
    blog: Blog, job_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "LEASE_SECONDS", 0)
    with blog.app.app_context():
        OtherWorker(blog, job_id)
        run_errands(blog.site, [job_id])
    assert state(blog, job_id) is JobState.running


def test_an_errand_is_done_once(blog: Blog, job_id: int) -> None:
    done: list[Claim] = []
    blog.site.handlers["greet"] = lambda site, claim: done.append(claim) or jobs.done()  # type: ignore[func-returns-value]
    with blog.app.app_context():
        run_errands(blog.site, [job_id, job_id])
    assert [claim.id for claim in done] == [job_id]
    assert done[0].attempts == 1
    assert not done[0].is_last


def test_send_says_that_another_worker_has_the_page(
    blogs: Callable[..., Blog], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blog = blogs(sqlite_url, RUNNER="external")
    monkeypatch.setattr(errands, "LEASE_SECONDS", 0)
    monkeypatch.setattr(errands, "_claim", lambda site, job_id: OtherWorker(blog, job_id) and None)
    ran = run(blog, "send", "/post/one", "--target", "http://127.0.0.1:9/")
    assert (ran.status, ran.lines) == (
        1,
        [f"{blog.url('one')} is not published. Another worker has it in hand."],
    )


# --- explain -----------------------------------------------------------------------------------------


def test_explain_says_yes_step_by_step(blog: Blog) -> None:
    with Neighbour() as neighbour:
        page = friendly(neighbour, "/page")
        neighbour.answer("/", status=302, headers=[("Location", "/page")])
        ran = run(blog, "explain", neighbour.url("/"))
        document = run(blog, "explain", neighbour.url("/"), "--json").json
        assert paths(neighbour) == ["/", "/page", "/", "/page"]  # and nothing was sent
    assert ran.status == 0
    assert ran.lines[0].split(maxsplit=4)[1:4] == ["request", "GET", neighbour.url("/")]
    assert ran.lines[1].split() == ["used", "redirect", "GET", page, "The", "answer", "is", "200."]
    assert ran.lines[-1] == "Yes."
    assert (document["url"], document["told"]) == (neighbour.url("/"), True)
    assert [step["step"] for step in document["steps"]] == [
        "request",
        "redirect",
        *("header", "element", "header", "element", "rdf", "element"),
        "endpoint",
        "verdict",
    ]
    assert set(document["steps"][0]) == {"step", "value", "used", "reason", "protocol"}
    with blog.app.app_context():
        assert blog.db.session.scalars(sa.select(Link)).all() == []


def test_explain_says_no(blog: Blog) -> None:
    with Neighbour() as neighbour:
        neighbour.answer("/")
        ran = run(blog, "explain", neighbour.url("/"), "--json")
        assert (ran.status, ran.json["told"]) == (1, False)
        ran = run(blog, "explain", neighbour.url("/"))
    assert (ran.status, ran.lines[-1]) == (1, "No.")
    assert "The page offers no endpoint." in ran.lines[-2]


def test_explain_says_no_of_our_own_page_and_of_one_that_cannot_be_read(blog: Blog) -> None:
    ran = run(blog, "explain", blog.url("one"))
    assert (ran.status, len(ran.lines)) == (1, 2)
    assert "This is a page of our own." in ran.lines[0]
    with Neighbour() as neighbour:
        url = neighbour.url("/")
    ran = run(blog, "explain", url)
    assert ran.status == 1
    assert "unreachable" in ran.lines[0]


@pytest.mark.parametrize("url", ["foo", "mailto:joe@other.example", "http://other.example:99999/"])
def test_explain_refuses_what_is_no_url(blog: Blog, url: str) -> None:
    ran = run(blog, "explain", url)
    assert (ran.status, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Error: ")


def test_columns_are_as_wide_as_their_longest_word() -> None:
    assert max(map(len, LinkState)) == 11
    assert max(map(len, MentionState)) == 8
    assert max(map(len, MentionStatus)) == 8
