"""Mentions: ten thousand from fifty hosts, half of them hostile or slow, for one worker."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

import sqlalchemy as sa

from flask_linkback.models import Job, JobState, Mention, MentionState
from tests.faults.receiver import Manner, Receiver
from tests.faults.report import Report, Stuck, pause, percentile, until
from tests.faults.stage import Stage
from tests.showing.mentions import row

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
    """Nothing is lost, visitors wait at most twice as long as in quiet times, and memory stays flat.

    How much longer a visit takes is said of pages that are the same all the time: posts that nobody tells
    of just now, which show as many mentions as the others will in the end.
    """
    count = int(10_000 * scale)
    seconds = count / RATE
    report = Report()
    receiver = Receiver(hosts=HOSTS, page=_page)
    with (
        Stage(kind, receiver=receiver, threads=32, **SETTINGS) as stage,
        stage.web(workers=2, threads=4) as base_url,
    ):
        good = sum(1 for n in range(count) if _kind_of(n % HOSTS) in _GOOD)
        _add_posts(stage, base_url, shown=good // POSTS)
        worker = stage.worker(base_url=base_url)
        _visits(stage, base_url, 3.0, _CALM)()  # what is slow only once
        quiet = max(5.0, seconds / 10)
        alone = _visits(stage, base_url, quiet, _CALM)()[_CALM]
        port = urlsplit(base_url).port
        sources = [
            f"http://{receiver.hosts[n % HOSTS]}/{n % HOSTS}/{port}/{n % POSTS}/{n}" for n in range(count)
        ]
        answers = stage.folder / "answers.json"
        telling = stage.run(_tell, base_url, sources, str(answers))
        until(answers.exists, 30, "the first is told")
        flooded = _visits(stage, base_url, 0.8 * seconds, _CALM, _TOLD)
        until(lambda: _states(stage)["verified"] >= good // 10, 60 + seconds, "a tenth is verified")
        early = _memory(worker.pid)
        took = flooded()
        telling.join(120)
        report.check(telling.exitcode == 0, f"telling failed: {stage.said()}")
        try:
            until(lambda: not _due(stage), 120 + 2 * seconds, "nothing is due", every=0.5)
        except Stuck as stuck:
            report.failures.append(f"{stuck} {_states(stage)}")
        growth = _memory(worker.pid) - early
        alone += _visits(stage, base_url, quiet, _CALM)()[_CALM]

        answered = Counter(json.loads(answers.read_text()))
        report.check(answered["201"] == count, f"{answered['201']} of {count} were taken: {answered}")
        lost = _lost(stage, sources)
        report.check(not lost, f"lost {lost}")
        states = _states(stage)
        report.check(states["verified"] == good, f"{states['verified']} of {good} were verified")
        report.check(growth <= FLAT, f"the worker grew by {growth / MEBIBYTE:.1f} MiB")
        before, during = percentile(alone, 0.95), percentile(took[_CALM], 0.95)
        ratio = during / before
        # a few seconds tell no percentile
        report.check(ratio <= _TWICE or scale < 1, f"a visit takes {ratio:.2f} times as long")
        report.figures = {
            "mentions": count,
            "states": states,
            "growth MiB": growth / MEBIBYTE,
            "p95 ms": 1000 * before,
            "p95 flooded": 1000 * during,
            "of posts told of": 1000 * percentile(took[_TOLD], 0.95),
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

_TOLD: Final = "told"
"""Posts that the flood is about."""
_CALM: Final = "calm"
"""Posts that it leaves alone."""


def _add_posts(stage: Stage, base_url: str, *, shown: int) -> None:
    """Write the posts of both kinds; those that are left alone show so many mentions."""
    with stage.blog.app.app_context():
        session = stage.blog.db.session
        if stage.kind == "sqlite":
            session.execute(sa.text("PRAGMA journal_mode = WAL"))
            session.commit()
        for slug in map(str, range(POSTS)):
            calm = stage.blog.Post(slug=f"{_CALM}-{slug}", title=slug, html="")
            session.add_all([calm, stage.blog.Post(slug=slug, title=slug, html="")])
            session.flush()
            target, key = f"{base_url}/post/{calm.slug}", f"Post:{calm.id}"
            session.add_all(
                row(f"old{n}", "mention", target, key, n, title="x", content="x") for n in range(shown)
            )
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


def _visits(stage: Stage, base_url: str, seconds: float, *kinds: str) -> Callable[[], dict[str, list[float]]]:
    """Let visitors read posts of these kinds in turn; what is returned waits, and says how long visits took.

    They are a process of their own: in this one they would wait for the hosts, too.
    """
    said = stage.folder / f"visits-{time.monotonic()}.json"
    process = stage.run(_visit, base_url, seconds, kinds, str(said))

    def took() -> dict[str, list[float]]:
        process.join(60 + 2 * seconds)
        if process.exitcode != 0:
            raise Stuck(f"visiting failed: {stage.said()}")
        found: dict[str, list[float]] = json.loads(said.read_text())
        return found

    return took


def _visit(base_url: str, seconds: float, kinds: Sequence[str], said: str) -> None:
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    began = time.monotonic()
    for turn in range(int(seconds * VISITS)):
        pause(began + turn / VISITS - time.monotonic())
        kind, number = kinds[turn % len(kinds)], turn // len(kinds) % POSTS
        called = time.monotonic()
        _read(base_url, f"/post/{number}" if kind == _TOLD else f"/post/{_CALM}-{number}")
        took[kind].append(time.monotonic() - called)
    Path(said).write_text(json.dumps(took))


def _read(base_url: str, path: str) -> None:
    """Read a page of the blog, with the mentions that it shows."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    finally:
        connection.close()


# --- what became of them -----------------------------------------------------------------------------


def _states(stage: Stage) -> dict[str, int]:
    told = sa.select(Mention.state, sa.func.count()).where(Mention.caller != "")
    counted = stage.rows(told.group_by(Mention.state))
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
