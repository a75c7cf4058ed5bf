"""Limits: how often we look at a source, how often we may be called, and for how long a page is open."""

from __future__ import annotations

import sqlite3
import threading
import xmlrpc.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_linkback.callers import CallRates, caller_key, plain_address
from flask_linkback.linkbacks import verifying
from flask_linkback.linkbacks.limits import fetch_slot
from flask_linkback.models import Host, Job, JobState, Mention, MentionState, MentionStatus, digest
from flask_linkback.outbox import jobs
from tests.apps import Blog
from tests.neighbours import Neighbour, Request, Wire, silent
from tests.pingback.tools import (
    Clock,
    add,
    fault_of,
    heard,
    mention,
    mentions,
    names,
    page,
    pending,
    ping,
    post,
    rows,
    work,
)


@pytest.fixture
def told(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock, neighbour: Neighbour) -> Blog:
    """A blog that has verified a mention of its one post by ``/source``."""
    blog = blogs(sqlite_url)
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target))
    ping(blog, neighbour.url("/source"), target)
    work(blog)
    assert mention(blog).state is MentionState.verified
    return blog


def decide(blog: Blog, status: str) -> None:
    with blog.app.app_context():
        blog.linkback.moderate(blog.db.session.get_one(Mention, 1), status)
        blog.db.session.commit()
    work(blog)


# --- the same source again -------------------------------------------------------------------------------


def test_repeat_is_48_without_a_fetch_and_one_look_in_an_interval(
    told: Blog, clock: Clock, neighbour: Neighbour
) -> None:
    source, target = neighbour.url("/source"), told.url("hello")
    assert len(neighbour.requests) == 1
    for _ in range(3):
        for _ in range(5):
            clock.move(10)
            assert fault_of(ping, told, source, target) == 0x30
            work(told)
        assert len(pending(told, "verify_source")) == 1
        looked = len(neighbour.requests)
        clock.move(300 - 50 - 1)
        work(told)
        assert len(neighbour.requests) == looked
        clock.move(1)
        work(told)
        assert len(neighbour.requests) == looked + 1
    assert len(mentions(told)) == 1
    clock.move(10_000)
    work(told)
    assert len(neighbour.requests) == 4  # unasked, nobody looks again


def test_repeat_of_what_is_not_yet_verified_is_48(blog: Blog, clock: Clock, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    ping(blog, neighbour.url("/source"), target)
    for _ in range(3):
        assert fault_of(ping, blog, neighbour.url("/source"), target) == 0x30
    assert len(pending(blog, "verify_source")) == 1
    assert neighbour.requests == []


def test_repeat_owes_the_look_that_got_lost(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target))
    ping(blog, neighbour.url("/source"), target)
    with blog.app.app_context():  # its job failed to the end, by a bug perhaps
        blog.db.session.execute(sa.update(Job).values(state=JobState.dead))
        blog.db.session.commit()
    assert fault_of(ping, blog, neighbour.url("/source"), target) == 0x30
    work(blog)
    assert mention(blog).state is MentionState.verified


def test_failed_is_judged_anew_but_not_fetched_at_once(
    blog: Blog, clock: Clock, neighbour: Neighbour
) -> None:
    target = add(blog, "hello")
    neighbour.answer("/source", body=page())
    ping(blog, neighbour.url("/source"), target)
    work(blog)
    assert mention(blog).state is MentionState.failed
    neighbour.answer("/source", body=page(target))
    assert ping(blog, neighbour.url("/source"), target)
    work(blog)
    assert (mention(blog).state, len(neighbour.requests)) == (MentionState.received, 1)
    clock.move(300)
    work(blog)
    assert (mention(blog).state, len(neighbour.requests)) == (MentionState.verified, 2)
    assert len(mentions(blog)) == 1


@pytest.mark.parametrize("status", ["rejected", "spam"])
def test_rejected_stays_rejected(told: Blog, clock: Clock, neighbour: Neighbour, status: str) -> None:
    source, target = neighbour.url("/source"), told.url("hello")
    decide(told, status)
    clock.move(1000)
    assert fault_of(ping, told, source, target) == 0x30
    assert work(told) == 0
    assert len(neighbour.requests) == 1  # nobody wants to know whether it changed

    with told.app.app_context():
        told.db.session.execute(sa.update(Mention).values(state=MentionState.gone))
        told.db.session.commit()
    assert fault_of(ping, told, source, target) == 0x30
    assert work(told) == 0
    assert (mention(told).state, mention(told).status) == (MentionState.gone, status)
    with told.app.app_context():
        assert told.linkback.mention_count(target) == 0


def test_interval_zero_switches_it_off(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, SOURCE_INTERVAL_SECONDS=0)
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target))
    ping(blog, neighbour.url("/source"), target)
    work(blog)
    for _ in range(3):
        assert fault_of(ping, blog, neighbour.url("/source"), target) == 0x30
        work(blog)
    assert len(neighbour.requests) == 4


def test_another_target_of_a_source_waits_for_the_interval(
    told: Blog, clock: Clock, neighbour: Neighbour
) -> None:
    other = add(told, "other")
    neighbour.answer("/source", body=page(told.url("hello"), other))
    assert ping(told, neighbour.url("/source"), other)
    work(told)
    assert [each.state for each in mentions(told)] == [MentionState.verified, MentionState.received]
    clock.move(300)
    work(told)
    assert [each.state for each in mentions(told)] == [MentionState.verified] * 2
    assert len(neighbour.requests) == 2


def test_trouble_is_looked_at_again_before_a_mention_is_removed(
    told: Blog, clock: Clock, neighbour: Neighbour
) -> None:
    clock.move(300)
    fault_of(ping, told, neighbour.url("/source"), told.url("hello"))
    for looks, status in enumerate((404, 500, 503, 404, 429, 403, 500, 404), 1):
        assert mention(told).state is MentionState.verified
        neighbour.answer("/source", status=status)
        (job,) = pending(told, "verify_source")
        clock.at = max(clock.at, job.due_at)
        work(told)
        assert len(neighbour.requests) == 1 + looks
    assert (mention(told).state, mention(told).reason) == (MentionState.gone, "http_404")
    (dead,) = [job for job in rows(told, Job) if job.state is JobState.dead]
    assert dead.reason == "http_404"

    # it is back, and somebody replays the job
    neighbour.answer("/source", body=page(told.url("hello")))
    clock.move(300)
    with told.app.app_context():
        assert jobs.replay(told.db.session, dead.id)
        told.db.session.commit()
    work(told)
    assert mention(told).state is MentionState.verified


# --- one at a time ---------------------------------------------------------------------------------------


def test_a_source_is_fetched_once_however_many_workers_there_are(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)
    targets = [add(blog, str(number)) for number in range(4)]
    work(blog)
    neighbour.answer("/source", body=page(*targets))
    for target in targets:
        ping(blog, neighbour.url("/source"), target)
    with blog.app.app_context():  # as if each call had found the job of the one before it running
        key = digest(neighbour.url("/source"))
        more = jobs.NewJob(kind="verify_source", host="127.0.0.1", key=key)
        jobs.add(blog.db.session, [more] * 7)
        blog.db.session.commit()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [blog] * 8))
    assert len(neighbour.requests) == 1
    assert {each.state for each in mentions(blog)} == {MentionState.verified}


def test_a_look_that_cannot_be_written_down_is_made_again(
    told: Blog, clock: Clock, neighbour: Neighbour, caplog: pytest.LogCaptureFixture
) -> None:
    def busy(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE linkback_mention SET checked_at"):
            raise OperationalError(statement, {}, sqlite3.OperationalError("database is locked"))

    other = add(told, "other")
    neighbour.answer("/other", body=page(other))
    ping(told, neighbour.url("/other"), other)
    with told.app.app_context():
        engine = told.db.engine
    sa.event.listen(engine, "before_cursor_execute", busy)
    with heard(told) as said:
        work(told)
        assert names(said) == []
        sa.event.remove(engine, "before_cursor_execute", busy)
        assert [record.getMessage() for record in caplog.records] == ["A job of kind verify_source raised."]
        clock.move(30)
        work(told)
    assert names(said) == ["mention_verified"]


def test_slots_of_a_host(blogs: Callable[..., Blog], database_url: str, clock: Clock) -> None:
    blog = blogs(database_url)
    other_process = blogs(database_url)

    def ask(key: str, host: str = "a.example") -> float:
        with other_process.app.app_context(), fetch_slot(other_process.site, host, key) as slot:
            return slot.seconds

    with blog.app.app_context():
        with fetch_slot(blog.site, "a.example", "1") as slot:
            assert slot.seconds == 0
            assert ask("1") == 1  # this very source is being fetched
            assert ask("2") == 0
            with fetch_slot(blog.site, "a.example", "3"):
                assert ask("2") == 1  # two at a time
                assert ask("2", "b.example") == 0
            assert ask("2") == 0
        with fetch_slot(blog.site, "a.example", "4"), fetch_slot(blog.site, "a.example", "5"):
            clock.move(29)
            assert ask("6") == 1
            clock.move(1)  # twice FETCH_TIMEOUT: whoever had these two is dead
            assert ask("6") == 0


def test_fetches_of_a_host_and_of_all_in_a_minute(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock
) -> None:
    blog = blogs(sqlite_url, RATE_LIMITS={"source_host": 3, "fetches": 5})

    def ask(host: str) -> float:
        clock.move(1)
        with blog.app.app_context(), fetch_slot(blog.site, host, str(clock.at)) as slot:
            return slot.seconds

    assert [ask("a") for _ in range(4)] == [0, 0, 0, 57]
    assert [ask("b") for _ in range(3)] == [0, 0, 54]
    clock.move(53)
    assert [ask("b"), ask("a")] == [0, 0]
    clock.move(4000)
    assert ask("c") == 0
    with blog.app.app_context():
        assert set(blog.db.session.scalars(sa.select(Host.name))) == {"*", "c"}  # others are forgotten


def test_over_a_hosts_limit_is_stored_and_fetched_later(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, RATE_LIMITS={"source_host": 2}, PINGBACK_VERIFY="at_once")
    target = add(blog, "hello")
    for number in range(4):
        neighbour.answer(f"/{number}", body=page(target))
        assert ping(blog, neighbour.url(f"/{number}"), target)
    assert len(neighbour.requests) == 2
    clock.move(10)
    work(blog)
    assert len(neighbour.requests) == 2
    clock.move(60)
    work(blog)
    assert {each.state for each in mentions(blog)} == {MentionState.verified}
    assert len(neighbour.requests) == 4


def test_none_is_no_limit(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock) -> None:
    limits = dict.fromkeys(("caller", "target", "source_host", "source_host_parallel", "fetches"))
    blog = blogs(sqlite_url, RATE_LIMITS=limits)
    target = add(blog, "hello")
    for number in range(100):
        ping(blog, f"http://there.example/{number}", target)
    with blog.app.app_context(), ExitStack() as stack:
        for number in range(10):
            assert stack.enter_context(fetch_slot(blog.site, "a.example", str(number))).seconds == 0


# --- at once ----------------------------------------------------------------------------------------------


@pytest.fixture
def at_once(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock) -> Blog:
    blog = blogs(sqlite_url, PINGBACK_VERIFY="at_once")
    add(blog, "hello")
    work(blog)
    return blog


def test_at_once_the_caller_gets_the_verdict(at_once: Blog, neighbour: Neighbour, clock: Clock) -> None:
    target = at_once.url("hello")
    neighbour.answer("/source", body=page(target))
    assert ping(at_once, neighbour.url("/source"), target)
    assert mention(at_once).state is MentionState.verified
    clock.move(10_000)
    work(at_once)
    assert len(neighbour.requests) == 1


def test_at_once_inside_the_interval_is_queued(at_once: Blog, neighbour: Neighbour, clock: Clock) -> None:
    target = at_once.url("hello")
    neighbour.answer("/source", body=page())
    assert fault_of(ping, at_once, neighbour.url("/source"), target) == 0x11
    assert ping(at_once, neighbour.url("/source"), target)
    assert mention(at_once).state is MentionState.received
    neighbour.answer("/source", body=page(target))
    clock.move(300)
    work(at_once)
    assert mention(at_once).state is MentionState.verified
    assert len(neighbour.requests) == 2


def test_at_once_is_bounded_in_time(
    at_once: Blog, neighbour: Neighbour, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verifying.AT_ONCE_SECONDS < 3  # after which WordPress does not wait any more
    monkeypatch.setattr(verifying, "AT_ONCE_SECONDS", 0.2)
    neighbour.route("/source", silent)
    target = at_once.url("hello")
    began = datetime.now(UTC)
    assert fault_of(ping, at_once, neighbour.url("/source"), target) == 0x32
    assert datetime.now(UTC) - began < timedelta(seconds=2)
    assert mention(at_once).state is MentionState.received  # the worker has more patience

    neighbour.answer("/source", body=page(target))
    clock.move(300)
    work(at_once)
    assert mention(at_once).state is MentionState.verified


def test_at_once_is_bounded_in_number(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    at_once = blogs(sqlite_url, PINGBACK_VERIFY="at_once", RATE_LIMITS={"source_host_parallel": None})
    add(at_once, "hello")
    release = threading.Event()
    targets = [add(at_once, str(number)) for number in range(verifying.AT_ONCE_PLACES)]

    def hold(request: Request, wire: Wire) -> None:
        release.wait(10)
        wire.send(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")

    neighbour.default(hold)
    with ThreadPoolExecutor(len(targets)) as pool:
        held = [
            pool.submit(fault_of, ping, at_once, neighbour.url(f"/{number}"), target)
            for number, target in enumerate(targets)
        ]
        neighbour.wait_for(len(targets))
        assert ping(at_once, neighbour.url("/one-more"), at_once.url("hello"))
        assert len(neighbour.requests) == len(targets)
        release.set()
        assert {each.result() for each in held} == {0x10}
    assert mentions(at_once)[-1].state is MentionState.received


def test_at_once_the_worker_leaves_the_source_to_the_request(
    at_once: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    target = at_once.url("hello")
    done: list[int] = []

    def meanwhile(request: Request, wire: Wire) -> None:
        done.append(work(at_once))
        body = page(target)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    neighbour.route("/source", meanwhile)
    assert ping(at_once, neighbour.url("/source"), target)
    assert done == [0]
    assert len(neighbour.requests) == 1


def test_at_once_judges_what_else_waits_for_the_source(
    at_once: Blog, neighbour: Neighbour, clock: Clock
) -> None:
    first, second = at_once.url("hello"), add(at_once, "second")
    neighbour.answer("/source", status=503)
    assert fault_of(ping, at_once, neighbour.url("/source"), first) == 0x32
    clock.move(300)
    neighbour.answer("/source", status=404)  # this caller is told so, the other was not
    assert fault_of(ping, at_once, neighbour.url("/source"), second) == 0x10
    assert [each.state for each in mentions(at_once)] == [MentionState.received, MentionState.failed]
    clock.move(300)
    neighbour.answer("/source", body=page(first))
    assert fault_of(ping, at_once, neighbour.url("/source"), second) == 0x11
    assert [each.state for each in mentions(at_once)] == [MentionState.verified, MentionState.failed]


# --- callers ----------------------------------------------------------------------------------------------


def test_over_a_callers_limit_is_49_with_retry_after(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock
) -> None:
    blog = blogs(sqlite_url)
    target = add(blog, "hello")
    body = xmlrpc.client.dumps(("http://there.example/", target), "pingback.ping").encode()
    fault_of(ping, blog, "no url", target)
    fault_of(ping, blog, "http://there.example/", "https://blog.example/nowhere")
    ping(blog, "http://there.example/", target)
    for _ in range(57):
        assert fault_of(ping, blog, "http://there.example/", target) == 0x30
    clock.move(20.5)
    assert fault_of(ping, blog, "http://there.example/new", target) == 0x31
    response = post(blog, body)
    assert (response.status_code, response.headers["Retry-After"]) == (200, "40")
    assert len(mentions(blog)) == 1
    assert fault_of(ping, blog, "http://there.example/", target, caller="192.0.2.8") == 0x30
    clock.move(39)
    assert fault_of(ping, blog, "http://there.example/new", target) == 0x31
    clock.move(0.5)
    assert ping(blog, "http://there.example/new", target)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("2002:808:808::1", "2002:808:808::/64"),
        *(
            (private, None)
            for private in ("10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1")
        ),
        *((private, None) for private in ("100.64.0.1", "0.0.0.0", "::1", "::", "fe80::1%eth0", "fd00::1")),
        *(
            (none, None)
            for none in ("::ffff:10.0.0.1", "", None, "unknown", "8.8.8.8, 9.9.9.9", "8.8.8.8:80")
        ),
    ],
)
def test_what_a_caller_is_counted_under(address: str | None, key: str | None) -> None:
    assert caller_key(address) == key


def test_plain_addresses() -> None:
    assert plain_address("2001:DB8:0::5") == "2001:db8::5"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("evil\r\nX: y") == plain_address(None) == ""


def test_ipv6_callers_are_counted_by_their_network(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock
) -> None:
    blog = blogs(sqlite_url, RATE_LIMITS={"caller": 2})
    target = add(blog, "hello")
    for number in range(2):
        assert ping(blog, f"http://there.example/{number}", target, caller=f"2001:db8::{number}")
    assert fault_of(ping, blog, "http://there.example/3", target, caller="2001:db8::3") == 0x31
    assert ping(blog, "http://there.example/3", target, caller="2001:db8:0:1::3")
    for number in range(4, 9):  # a proxy that was not declared: counting it would count everybody
        assert ping(blog, f"http://there.example/{number}", target, caller="10.0.0.1")


def test_callers_behind_a_declared_proxy(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock) -> None:
    blog = blogs(sqlite_url, RATE_LIMITS={"caller": 1})
    blog.app.wsgi_app = ProxyFix(blog.app.wsgi_app)  # type: ignore[method-assign]
    target = add(blog, "hello")

    def through(caller: str, source: str) -> Any:
        return ping(
            blog, source, target, caller="10.0.0.1", headers={"X-Forwarded-For": f"1.1.1.1, {caller}"}
        )

    assert through("192.0.2.1", "http://there.example/1")
    assert fault_of(through, "192.0.2.1", "http://there.example/2") == 0x31
    assert through("192.0.2.2", "http://there.example/2")
    assert [each.caller for each in mentions(blog)] == ["192.0.2.1", "192.0.2.2"]


def test_over_a_targets_limit_is_49(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock) -> None:
    blog = blogs(sqlite_url)
    target, other = add(blog, "hello"), add(blog, "other")
    for number in range(30):
        ping(blog, f"http://there.example/{number}", target, caller=f"192.0.2.{number}")
    assert fault_of(ping, blog, "http://there.example/new", f"{target}?x", caller="192.0.2.99") == 0x31
    assert fault_of(ping, blog, "http://there.example/1", target, caller="192.0.2.99") == 0x30
    assert ping(blog, "http://there.example/new", other, caller="192.0.2.99")
    clock.move(60)
    assert ping(blog, "http://there.example/new", target, caller="192.0.2.99")
    assert len(mentions(blog)) == 32


def test_counting_forgets_and_bears_a_clock_that_jumps() -> None:
    rates = CallRates()
    assert [rates.wait("a", 1, now) for now in (100, 101, 40, 41, 100.5)] == [0, 59, 0, 59, 0]
    for number in range(20_000):
        rates.wait(str(number), 1, 200)
    assert len(rates._windows) == 10_000
    assert rates.wait("19999", 1, 200) == 60
    assert rates.wait("0", 1, 200) == 0


# --- pages that close with age ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("published", "closed"),
    [
        (datetime(2026, 2, 19, 12, tzinfo=UTC), False),
        (datetime(2026, 2, 19, 11, 59, tzinfo=UTC), True),
        (datetime.fromisoformat("2026-02-19T13:00"), False),  # by TIMEZONE, which is an hour ahead
        (datetime.fromisoformat("2026-02-19T12:59"), True),
        (date(2026, 2, 20), False),
        (date(2026, 2, 19), True),
        (None, False),
    ],
)
def test_close_after_days(
    blogs: Callable[..., Blog], sqlite_url: str, clock: Clock, published: Any, closed: bool
) -> None:
    blog = blogs(sqlite_url, CLOSE_AFTER_DAYS=10, TIMEZONE="Europe/Paris")
    blog.linkback.target("about", date=lambda _: published)(lambda: "about")
    if closed:
        assert fault_of(ping, blog, "http://there.example/", "https://blog.example/about") == 0x21
    else:
        assert ping(blog, "http://there.example/", "https://blog.example/about")
    assert ping(blog, "http://there.example/", add(blog, "hello"))  # has no date, so it has no age


def test_status_of_a_mention_is_kept_when_it_is_judged_anew(
    told: Blog, clock: Clock, neighbour: Neighbour
) -> None:
    decide(told, "approved")
    clock.move(300)
    neighbour.answer("/source", status=410)
    fault_of(ping, told, neighbour.url("/source"), told.url("hello"))
    work(told)
    assert (mention(told).state, mention(told).status) == (MentionState.gone, MentionStatus.approved)
    clock.move(300)
    neighbour.answer("/source", body=page(told.url("hello")))
    ping(told, neighbour.url("/source"), told.url("hello"))
    work(told)
    assert (mention(told).state, mention(told).status) == (MentionState.verified, MentionStatus.approved)
