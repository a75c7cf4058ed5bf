"""Flood: thousands of callers name one victim, and an innocent caller is served all the while."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from flask_linkback.models import Mention, MentionState
from flask_linkback.protocols import pingback, xmlrpc
from tests.faults.receiver import Manner, Receiver
from tests.faults.report import Report, Stuck, pause, percentile, until
from tests.faults.stage import Stage

RATE: Final = 100
"""Calls of the flood in a second."""
PER_ADDRESS: Final = 10
FLOODED_TARGETS: Final = 500
INNOCENT_RATES: Final = (4, 20)
"""Innocent calls in a second, in full and in short: enough to tell a percentile by."""
INNOCENTS: Final = 10
"""Innocent callers, each with a target of its own."""
ANSWERED_AFTER: Final = 0.2
"""Seconds that the source takes which many name: longer than it takes to name it."""
_VICTIM, _NAMED, _FIRST_INNOCENT = 0, 1, 2


def flood(kind: str, scale: float) -> Report:
    """Name a victim 10 000 times, 100 times a second; it is fetched from 20 times a minute at most."""
    count = int(10_000 * scale)
    seconds = count / RATE
    report = Report()
    receiver = Receiver(hosts=_FIRST_INNOCENT + 40, page=_page)
    with (
        Stage(kind, receiver=receiver) as stage,
        stage.web(workers=2, threads=4, RUNNER="thread") as base_url,
    ):
        targets = [f"flooded-{number}" for number in range(FLOODED_TARGETS)]
        _add_posts(stage, [*targets, *(f"quiet-{number}" for number in range(INNOCENTS)), *_NAMED_POSTS])
        innocent = _Innocent(stage, base_url, INNOCENT_RATES[scale < 1])
        innocent.call_for(1.0)  # what is slow only once
        alone = innocent.call_for(max(5.0, seconds / 4))
        answers = stage.folder / "answers.json"
        victim = stage.receiver.url("/source/", _VICTIM)
        flooding = stage.run(_flood, base_url, victim, count, str(answers))
        until(answers.exists, 30, "the flood begins")
        flooded = innocent.call_for(seconds)
        flooding.join(60)
        report.check(flooding.exitcode == 0, f"the flood failed: {stage.said()}")
        named = _name_one_source(stage, base_url)
        innocent.wait_until_verified(report)

        at = [at for at, host, _ in stage.receiver.pages if host == stage.receiver.hosts[_VICTIM]]
        worst = max((sum(1 for other in at if first <= other < first + 60) for first in at), default=0)
        report.check(1 <= worst <= 20, f"the victim was fetched from {worst} times in a minute")
        fetched = sum(1 for _, host, _ in stage.receiver.pages if host == stage.receiver.hosts[_NAMED])
        report.check(fetched == 1, f"a source that was named {named} times was fetched {fetched} times")
        before, during = percentile(alone, 0.95), percentile(flooded, 0.95)
        ratio = during / before
        # a few seconds, most of them the first ones, tell no percentile
        report.check(ratio <= 2 or scale < 1, f"an innocent call takes {ratio:.2f} times as long")
        answered = Counter(json.loads(answers.read_text()))
        report.check(answered.total() == count, f"{answered.total()} of {count} were answered: {answered}")
        ((waiting,),) = stage.rows(sa.select(sa.func.count()).where(Mention.state == MentionState.received))
        report.figures = {
            "calls": count,
            "answers": dict(answered),
            "fetches a minute": worst,
            "named source": fetched,
            "p50 ms": 1000 * statistics.median(alone),
            "p50 flooded": 1000 * statistics.median(flooded),
            "p95 ms": 1000 * before,
            "p95 flooded": 1000 * during,
            "ratio": ratio,
            "verified after s": percentile(innocent.delays(), 0.95),
            "still waiting": waiting,
        }
    return report


# --- who is innocent ---------------------------------------------------------------------------------

_NAMED_POSTS: Final = [f"named-{number}" for number in range(5)]


def _page(path: str) -> tuple[Manner, bytes]:
    """The source at ``/source/TARGET?...`` links to that target; the one that many name, to all of theirs."""
    target = path.partition("?")[0].removeprefix("/source/")
    if target == "named":
        links = "".join(f'<a href="http://127.0.0.1/post/{slug}">x</a>' for slug in _NAMED_POSTS)
        return Manner(seconds=ANSWERED_AFTER), f"<title>x</title>{links}".encode()
    return Manner(), f'<title>x</title><a href="http://127.0.0.1/post/{target}">x</a>'.encode()


def _add_posts(stage: Stage, slugs: list[str]) -> None:
    with stage.blog.app.app_context():
        session = stage.blog.db.session
        session.add_all(stage.blog.Post(slug=slug, title=slug, html="") for slug in slugs)
        session.commit()


class _Innocent:
    """Tells of sources that link, each on another host, calmly and from addresses of its own."""

    def __init__(self, stage: Stage, base_url: str, rate: int) -> None:
        self._stage = stage
        self._rate = rate
        self._base_url = base_url
        self._numbers = itertools.count()
        self._told: dict[str, float] = {}

    def call_for(self, seconds: float) -> list[float]:
        """Call some times a second; return how long each call took."""
        took = []
        began = time.monotonic()
        for turn in range(max(1, int(seconds * self._rate))):
            pause(began + turn / self._rate - time.monotonic())
            number = next(self._numbers)
            slug = f"quiet-{number % INNOCENTS}"
            source = self._stage.receiver.url(f"/source/{slug}?{number}", _FIRST_INNOCENT + number % 40)
            called = time.monotonic()
            answer = _call(self._base_url, source, slug, f"9.9.9.{number % INNOCENTS}")
            took.append(time.monotonic() - called)
            if isinstance(answer, xmlrpc.Fault):
                raise Stuck(f"An innocent call is answered {answer}.")
            self._told[source] = called
        return took

    def wait_until_verified(self, report: Report) -> None:
        """Wait until each of these sources was looked at and found to link."""

        def verified() -> bool:
            found = sa.select(sa.func.count()).where(
                Mention.source.in_(self._told), Mention.state == MentionState.verified
            )
            return self._stage.rows(found)[0][0] == len(self._told)

        try:
            until(verified, 60, "all that the innocent said is verified", every=0.2)
        except Stuck as stuck:
            report.failures.append(str(stuck))

    def delays(self) -> list[float]:
        """How long after each call its source was fetched."""
        asked = {f"http://{host}{path}": at for at, host, path in self._stage.receiver.pages}
        return [asked[source] - at for source, at in self._told.items() if source in asked] or [-1.0]


def _call(base_url: str, source: str, slug: str, address: str) -> Any:
    body = xmlrpc.dump_call(pingback.METHOD, [source, f"{base_url}/post/{slug}"])
    headers = {"Content-Type": "text/xml", "X-Forwarded-For": address}
    with contextlib.closing(http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=30)) as connection:
        connection.request("POST", "/linkback/pingback", body, headers)
        answer = connection.getresponse()
        assert answer.status == 200
        try:
            return xmlrpc.parse_response(answer.read())
        except xmlrpc.Fault as fault:
            return fault


def _name_one_source(stage: Stage, base_url: str) -> int:
    """Let five callers name one source for five targets, four times over and all at once."""
    source = stage.receiver.url("/source/named", _NAMED)
    calls = [(slug, f"11.11.11.{caller}") for _ in range(4) for caller in range(5) for slug in _NAMED_POSTS]
    threads = [threading.Thread(target=_call, args=(base_url, source, *call)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    stage.receiver.wait_for(lambda: any(path == "/source/named" for _, _, path in stage.receiver.pages), 30)
    pause(2 * ANSWERED_AFTER + 2)  # in which it would be fetched again
    return len(calls)


# --- who floods --------------------------------------------------------------------------------------


def _flood(base_url: str, victim: str, count: int, answers: str) -> None:
    """Call at the rate, whether or not there are answers; write down what these were."""
    Path(answers).write_text("{}")
    counted = asyncio.run(_call_at_the_rate(base_url, victim, count))
    Path(answers).write_text(json.dumps(counted))


async def _call_at_the_rate(base_url: str, victim: str, count: int) -> Counter[str]:
    counted: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    began = loop.time()
    calls = set()
    for number in range(count):
        await asyncio.sleep(began + number / RATE - loop.time())
        address = number // PER_ADDRESS
        call = _one_call(base_url, victim, number, f"8.{address // 250}.{address % 250}.8")
        task = asyncio.create_task(call)
        calls.add(task)
        task.add_done_callback(lambda task: (calls.discard(task), counted.update([task.result()])))
    await asyncio.gather(*calls)
    return counted


async def _one_call(base_url: str, victim: str, number: int, address: str) -> str:
    slug = f"flooded-{number % FLOODED_TARGETS}"
    body = xmlrpc.dump_call(pingback.METHOD, [f"{victim}{slug}?{number}", f"{base_url}/post/{slug}"])
    parts = urlsplit(base_url)
    head = (
        f"POST /linkback/pingback HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: text/xml\r\n"
        f"X-Forwarded-For: {address}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(head.encode() + body)
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    if not answer.startswith(b"HTTP/1.1 200"):
        return answer[9:12].decode("latin-1")
    try:
        xmlrpc.parse_response(answer.partition(b"\r\n\r\n")[2])
    except xmlrpc.Fault as fault:
        return f"fault {fault.code}"
    return "taken"
