"""Laws of the core: the threads of a worker share a processor that no other worker has."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from urllib3.connection import HTTPSConnection

from flask_linkback import core
from flask_linkback.core import anywhere, on_one_core
from flask_linkback.errors import Unreachable
from flask_linkback.outbox import jobs
from flask_linkback.outbox.jobs import Claim, Outcome
from flask_linkback.outbox.worker import Worker
from flask_linkback.site import Site
from tests.apps import Blog
from tests.cli.commands import run

if sys.platform != "linux":
    pytest.skip("Only on Linux a thread says where it runs.", allow_module_level=True)

ALL = os.sched_getaffinity(0)
several = pytest.mark.skipif(len(ALL) < 2, reason="There is one processor only.")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker of another test has a processor."""
    for number in ALL:
        (tmp_path / f"cpu{number}").touch()
    monkeypatch.setattr(core, "_PROCESSOR", f"{tmp_path}/cpu{{}}")


def in_a_thread(ask: Callable[[], set[int]]) -> set[int]:
    """Let another thread ask, and return what it was answered."""
    answers: list[set[int]] = []
    thread = threading.Thread(target=lambda: answers.append(ask()))
    thread.start()
    thread.join()
    return answers[0]


@several
def test_a_thread_and_those_that_it_starts_stay_on_one_until_it_is_over() -> None:
    with on_one_core() as number:
        assert number in ALL
        assert os.sched_getaffinity(0) == {number}
        assert in_a_thread(lambda: os.sched_getaffinity(0)) == {number}
    assert os.sched_getaffinity(0) == ALL


@several
def test_what_needs_no_python_may_be_done_anywhere() -> None:
    with anywhere():
        assert os.sched_getaffinity(0) == ALL
    with on_one_core() as number:
        with anywhere():
            assert os.sched_getaffinity(0) == ALL
        assert os.sched_getaffinity(0) == {number}


@several
def test_to_shake_hands_is_such_a_thing(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []

    def connect(self: HTTPSConnection) -> None:
        seen.append(os.sched_getaffinity(0))
        raise ConnectionRefusedError

    monkeypatch.setattr(HTTPSConnection, "connect", connect)
    with on_one_core(), pytest.raises(Unreachable):
        blog.site.fetch.get("https://a.example/")
    assert seen == [ALL]


@several
def test_each_worker_has_its_own_and_who_comes_late_has_none() -> None:
    def meanwhile(left: int) -> set[int]:
        os.sched_setaffinity(0, ALL)  # as a process of its own
        with on_one_core() as number:
            if number is None:
                assert os.sched_getaffinity(0) == ALL
                return set()
            return {number} | in_a_thread(lambda: meanwhile(left - 1))

    assert in_a_thread(lambda: meanwhile(len(ALL))) == ALL
    with on_one_core() as number:
        assert number is not None  # they left them to others


def test_where_it_is_of_no_use_or_cannot_be_done_all_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def left_alone() -> bool:
        with on_one_core() as number:
            return number is None and os.sched_getaffinity(0) == ALL

    with monkeypatch.context() as patch:
        patch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
        assert left_alone()
    with monkeypatch.context() as patch:
        patch.setattr(core, "_PROCESSOR", f"{tmp_path}/nothing/{{}}")
        assert left_alone()

    def refused(thread: int, processors: set[int]) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_setaffinity", refused)
        assert left_alone()
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda thread: {0})
        with on_one_core() as number:
            assert number is None


def note_where(blog: Blog) -> list[set[int]]:
    """Owe a job that notes where it is done."""
    seen: list[set[int]] = []

    def look(site: Site, claim: Claim) -> Outcome:
        seen.append(os.sched_getaffinity(0))
        return jobs.done()

    blog.site.handlers["look"] = look
    with blog.app.app_context():
        jobs.add(blog.db.session, [jobs.NewJob(kind="look")])
        blog.db.session.commit()
    return seen


@several
def test_a_worker_keeps_its_threads_together_if_it_is_to(blog: Blog) -> None:
    for one_core, processors in ((True, 1), (False, len(ALL))):
        seen = note_where(blog)
        Worker(blog.site, runner="once", one_core=one_core).run(once=True)
        assert [len(each) for each in seen] == [processors]
        assert os.sched_getaffinity(0) == ALL


@several
def test_the_command_does_unless_it_is_told_otherwise(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, RUNNER="off", testing=False)
    for options, processors in (((), 1), (("--any-core",), len(ALL))):
        seen = note_where(blog)
        assert run(blog, "worker", "--once", *options).status == 0
        assert [len(each) for each in seen] == [processors]
