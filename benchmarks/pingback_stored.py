"""Pingback stored: calls a second under gunicorn, beside a bare view that runs the same loader.

Everything that a pingback does before it is answered is done: the call is parsed, the target found
by the URL map and loaded, limits and repeats looked at, mention and job written and committed. Each
call names another source. The limits by caller and target are off; the sources are fetched later,
by a worker that does not run here. The bare view loads the same posts by the same SELECT, and says
their title.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import sqlalchemy as sa

from flask_linkback.models import Mention

from .runner import Benchmark, NotHere, Ratio, Scale, Way, Ways
from .sites import DATABASES, POSTS, ROOT, Place, own_sites

__all__ = ["BENCHMARKS"]

WORKERS = 2
CLIENTS = 4
_CALL = (
    '<?xml version="1.0"?><methodCall><methodName>pingback.ping</methodName><params>'
    "<param><value><string>https://source-{0}.example/post/{0}</string></value></param>"
    "<param><value><string>https://blog.example/post/post-{1}</string></value></param>"
    "</params></methodCall>"
)


def pingback(number: int) -> bytes:
    return post("/linkback/pingback", "text/xml", _CALL.format(number, number % POSTS).encode())


def bare(number: int) -> bytes:
    return post(f"/post/post-{number % POSTS}", "text/plain", b"")


def post(path: str, content_type: str, body: bytes, **headers: str) -> bytes:
    """Return a whole request."""
    lines = {"Host": "blog.example", "Connection": "close", "Content-Type": content_type, **headers}
    lines["Content-Length"] = str(len(body))
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def per_second(port: int, make: Callable[[int], bytes], numbers: Iterator[int], times: int) -> float:
    """Ask so many times, from a few clients at a time; fail unless each answer is a good one."""
    requests = [make(next(numbers)) for _ in range(times)]
    wrong: list[bytes] = []

    def client() -> None:
        while True:
            try:
                request = requests.pop()
            except IndexError:
                return
            answer = _ask(port, request)
            if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")) or b"<fault>" in answer:
                wrong.append(answer)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    if wrong:
        raise SystemExit(f"{len(wrong)} answers are wrong, such as {wrong[0]!r}")
    return times / took


def _ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.sendall(request)
        answer = b""
        while some := sock.recv(65536):
            answer += some
        return answer


@contextlib.contextmanager
def served(place: Place, *ways: Callable[[int], bytes]) -> Iterator[int]:
    """Serve a site by gunicorn with its default, sync workers, and return the port.

    Each worker has answered each way before.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        bind = f"--bind=fd://{listener.fileno()}"
        command = [sys.executable, "-m", "gunicorn", f"--workers={WORKERS}", bind, "--log-level=error"]
        with subprocess.Popen(
            [*command, "benchmarks.sites:make_app()"],
            pass_fds=[listener.fileno()],
            env=place.environment,
            cwd=ROOT,
        ) as child:
            try:
                port = listener.getsockname()[1]
                for number in range(20 * WORKERS):
                    for way in ways:
                        _ask(port, way(-1 - number))
                yield port
            finally:
                child.terminate()
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()


def stored(place: Place, port: int, numbers: Iterator[int], times: int) -> float:
    before = _mentions(place)
    rate = per_second(port, pingback, numbers, times)
    if _mentions(place) != before + times:
        raise SystemExit("Not every pingback was stored.")
    return rate


def _mentions(place: Place) -> int:
    with place.site.context(), place.site.new_session() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Mention)) or 0


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    times = scale.of(2_000, 100)
    with contextlib.ExitStack() as stack:
        found: dict[str, Way | NotHere] = {}
        for kind, place in own_sites(
            stack, found, RUNNER="external", RATE_LIMITS={"caller": None, "target": None}
        ):
            port = stack.enter_context(served(place, bare, pingback))
            found[f"{kind}, pingback"] = partial(stored, place, port, count(), times)
            found[f"{kind}, bare view"] = partial(per_second, port, bare, count(), times)
        yield found


BENCHMARKS = (
    Benchmark(
        name="pingback_stored",
        title="Pingback stored",
        unit="requests/s",
        better="more",
        ways=ways,
        ratios=[
            Ratio(
                what=f"{kind} ÷ bare view with the same loader",
                of=f"{kind}, pingback",
                to=f"{kind}, bare view",
                at_least=reach,
            )
            for kind, reach in zip(DATABASES, (0.5, 0.35), strict=True)
        ],
    ),
)
