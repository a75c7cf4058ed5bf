"""Mentions: ten thousand from fifty hosts, half of them hostile or slow, for one worker."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

import sqlalchemy as sa

from flask_linkback.models import Job, JobState, Mention, MentionState
from tests.faults.receiver import Manner, Receiver
from tests.faults.report import Report, Stuck, pause, percentile, until
from tests.faults.stage import Stage

RATE: Final = 50
"""Mentions in a second."""
VISITS: Final = 20
"""Pages that visitors read in a second."""
HOSTS: Final = 50
POSTS: Final = 100
SETTINGS: Final = {
    "RATE_LIMITS": dict.fromkeys(("caller", "target", "source_host", "source_host_parallel", "fetches")),
    "AUTO_APPROVE": True,
    "FETCH_TIMEOUT": 1,
}
"""What is raised for this: without limits everything comes to the worker at once."""
MEBIBYTE: Final = 1024 * 1024
FLAT: Final = 16 * MEBIBYTE
"""What the memory of a process may grow by between a tenth of the mentions and all."""
_TWICE: Final = 2.0
_SLOW: Final = 0.6
_DEEP: Final = b"<div class='h-entry'>" * 5_000


def mentions(kind: str, scale: float) -> Report:
    """Nothing is lost, visitors wait at most twice as long as in quiet times, and memory stays flat."""
    count = int(10_000 * scale)
    seconds = count / RATE
    report = Report()
    receiver = Receiver(hosts=HOSTS, page=_page)
    with (
        Stage(kind, receiver=receiver, threads=32, **SETTINGS) as stage,
        stage.web(workers=2, threads=4) as base_url,
    ):
        _add_posts(stage)
        worker = stage.worker(base_url=base_url)
        visit = _visitor(base_url)
        _visit_for(1.0, visit)  # what is slow only once
        alone = _visit_for(max(5.0, seconds / 10), visit)
        port = urlsplit(base_url).port
        sources = [
            f"http://{receiver.hosts[n % HOSTS]}/{n % HOSTS}/{port}/{n % POSTS}/{n}" for n in range(count)
        ]
        answers = stage.folder / "answers.json"
        telling = stage.run(_tell, base_url, sources, str(answers))
        until(answers.exists, 30, "the first is told")
        until(lambda: _states(stage)["verified"] >= count // 20, 60 + seconds, "some are verified")
        early = _memory(worker.pid)
        flooded = _visit_for(0.8 * seconds, visit)
        telling.join(120)
        report.check(telling.exitcode == 0, f"telling failed: {stage.said()}")
        try:
            until(lambda: not _due(stage), 120 + 2 * seconds, "nothing is due", every=0.5)
        except Stuck as stuck:
            report.failures.append(f"{stuck} {_states(stage)}")
        growth = _memory(worker.pid) - early

        answered = Counter(json.loads(answers.read_text()))
        report.check(answered["201"] == count, f"{answered['201']} of {count} were taken: {answered}")
        lost = _lost(stage, sources)
        report.check(not lost, f"lost {lost}")
        states = _states(stage)
        good = sum(1 for n in range(count) if _kind_of(n % HOSTS) in _GOOD)
        report.check(states["verified"] == good, f"{states['verified']} of {good} were verified")
        report.check(growth <= FLAT, f"the worker grew by {growth / MEBIBYTE:.1f} MiB")
        before, during = percentile(alone, 0.95), percentile(flooded, 0.95)
        ratio = during / before
        # a few seconds tell no percentile
        report.check(ratio <= _TWICE or scale < 1, f"a visit takes {ratio:.2f} times as long")
        report.figures = {
            "mentions": count,
            "states": states,
            "growth MiB": growth / MEBIBYTE,
            "p95 ms": 1000 * before,
            "p95 flooded": 1000 * during,
            "ratio": ratio,
        }
    return report


# --- what the hosts are like -------------------------------------------------------------------------

_KINDS: Final = ("good", "slow", "good", "hangs up", "good", "500", "good", "deep", "good", "silent")
"""Every second one is good."""
_GOOD: Final = ("good", "slow", "deep")
"""Where the link is found in the end."""


def _kind_of(host: int) -> str:
    return _KINDS[host % len(_KINDS)]


def _page(path: str) -> tuple[Manner, bytes]:
    """The source at ``/HOST/PORT/POST/NUMBER``; the port is that of the blog."""
    host, port, post, _ = path.strip("/").split("/")
    link = f'<title>x</title><a href="http://127.0.0.1:{port}/post/{post}">x</a>'.encode()
    match _kind_of(int(host)):
        case "slow":
            return Manner(seconds=_SLOW), link
        case "hangs up":
            return Manner(hang_up=True), b""
        case "500":
            return Manner(status=500), link
        case "deep":
            return Manner(), link + _DEEP
        case "silent":
            return Manner(seconds=60), link
    return Manner(), link


# --- who tells, and who reads ------------------------------------------------------------------------


def _add_posts(stage: Stage) -> None:
    with stage.blog.app.app_context():
        session = stage.blog.db.session
        session.add_all(stage.blog.Post(slug=str(n), title=str(n), html="") for n in range(POSTS))
        session.commit()


def _tell(base_url: str, sources: list[str], answers: str) -> None:
    """Send each webmention at its time, whether or not there are answers; write down what these were."""
    Path(answers).write_text("{}")
    counted = asyncio.run(_tell_at_the_rate(base_url, sources))
    Path(answers).write_text(json.dumps(counted))


async def _tell_at_the_rate(base_url: str, sources: list[str]) -> Counter[str]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    tasks = []
    for number, source in enumerate(sources):
        await asyncio.sleep(began + number / RATE - loop.time())
        tasks.append(asyncio.create_task(_tell_of_one(base_url, source)))
    return Counter(await asyncio.gather(*tasks))


async def _tell_of_one(base_url: str, source: str) -> str:
    parts = urlsplit(base_url)
    target = f"{base_url}/post/{source.split('/')[-2]}"
    body = urlencode({"source": source, "target": target})
    head = (
        f"POST /linkback/webmention HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write((head + body).encode())
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    return answer[9:12].decode("latin-1")


def _visitor(base_url: str) -> Callable[[int], None]:
    """Reads pages of the blog, with the mentions that they show."""

    def visit(number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=30)
        try:
            connection.request("GET", f"/post/{number % POSTS}")
            answer = connection.getresponse()
            assert answer.status == 200
            answer.read()
        finally:
            connection.close()

    return visit


def _visit_for(seconds: float, visit: Callable[[int], None]) -> list[float]:
    """Visit some times a second; return how long each visit took."""
    took = []
    began = time.monotonic()
    for turn in range(max(1, int(seconds * VISITS))):
        pause(began + turn / VISITS - time.monotonic())
        called = time.monotonic()
        visit(turn)
        took.append(time.monotonic() - called)
    return took


# --- what became of them -----------------------------------------------------------------------------


def _states(stage: Stage) -> dict[str, int]:
    counted = stage.rows(sa.select(Mention.state, sa.func.count()).group_by(Mention.state))
    return {state.value: 0 for state in MentionState} | {state.value: count for state, count in counted}


def _due(stage: Stage) -> int:
    """How many jobs run or could; those whose source is in trouble are tried again later."""
    due = sa.and_(Job.state == JobState.pending, Job.due_at <= stage.blog.site.now())
    return int(stage.rows(sa.select(sa.func.count()).where(due | (Job.state == JobState.running)))[0][0])


def _lost(stage: Stage, sources: list[str]) -> int:
    """How many have no row, or wait and nothing is owed that would end it."""
    owed = sa.exists().where(Job.key == Mention.source_key, Job.state == JobState.pending, Job.attempts > 0)
    forgotten = sa.select(sa.func.count()).where(Mention.state == MentionState.received, ~owed)
    kept = {source for (source,) in stage.rows(sa.select(Mention.source))}
    return len(set(sources) - kept) + int(stage.rows(forgotten)[0][0])


def _memory(pid: int | None) -> int:
    """Bytes of a process that are in memory."""
    resident = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(resident) * os.sysconf("SC_PAGE_SIZE")
