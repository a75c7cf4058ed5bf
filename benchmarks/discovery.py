"""Discovery: the webmention endpoint of a page of 200 KB, beside an lxml DOM with XPath; CPU time.

Both have the whole page in memory; ours is given it as the door out gives it, in chunks, and may stop.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urljoin

import lxml.html

from flask_linkback.fetch import CHUNK
from flask_linkback.protocols.discovery import Discovery

from .html_scan import page
from .runner import Benchmark, Ratio, Scale, Ways

__all__ = ["BENCHMARKS"]

SIZE = 200_000
SECONDS = 0.5

URL = "https://me.example/2026/07/an-entry"
HERE = b'<link rel="webmention" href="/webmention">'
ENDPOINT = "https://me.example/webmention"
FULL_HEAD = b"".join(
    (
        *(b'<meta property="og:thing%d" content="What a network wants to know">\n' % n for n in range(30)),
        b"<style>",
        *(b".class-%d > a:hover { color: #123456; margin: 0 1em }\n" % n for n in range(110)),
        b"</style>",
    )
)


def by_dom(body: bytes) -> str | None:
    root = lxml.html.document_fromstring(body)
    links: Any = root.xpath("//*[self::link or self::a][@href][@rel]")
    for link in links:
        if "webmention" in link.get("rel").lower().split():
            return urljoin(URL, link.get("href"))
    return None


def by_discovery(body: bytes) -> str | None:
    discovery = Discovery(URL, media_type="text/html", charset="utf-8")
    for start in range(0, len(body), CHUNK):
        if discovery.feed(body[start : start + CHUNK]):
            break
    return discovery.close().endpoint("webmention")


WAYS: dict[str, Callable[[bytes], str | None]] = {
    "lxml DOM and XPath": by_dom,
    "Discovery": by_discovery,
}


def measure(way: Callable[[bytes], str | None], body: bytes, found: str | None, seconds: float) -> float:
    """Look as often as it takes for a time that counts, and say how many milliseconds one look took."""
    looks = 0
    began = time.process_time()
    while (spent := time.process_time() - began) < seconds:
        if way(body) != found:
            raise SystemExit(f"{way.__name__} did not find {found}")
        looks += 1
    return 1000 * spent / looks


@contextlib.contextmanager
def ways(head: bytes, body: bytes, found: str | None, scale: Scale) -> Iterator[Ways]:
    whole = page(SIZE, 2).replace(b"</head>", head + b"</head>").removesuffix(b"\n") + body
    seconds = SECONDS / 10 if scale.short else SECONDS
    yield {name: partial(measure, way, whole, found, seconds) for name, way in WAYS.items()}


def _benchmark(
    name: str, what: str, head: bytes, body: bytes, found: str | None, reach: float | None
) -> Benchmark:
    return Benchmark(
        name=name,
        title=f"Discovery in a page of 200 KB, {what}",
        unit="ms",
        better="less",
        ways=partial(ways, head, body, found),
        ratios=[Ratio(what="lxml DOM ÷ Discovery", of="lxml DOM and XPath", to="Discovery", at_least=reach)],
        rounds=9,
    )


BENCHMARKS = (
    _benchmark("discovery", "a link in the head", HERE, b"", ENDPOINT, 30),
    _benchmark("discovery_late", "a link behind 8 KB of head", FULL_HEAD + HERE, b"", ENDPOINT, None),
    _benchmark("discovery_foot", "a link at the foot", b"", HERE, ENDPOINT, None),
    _benchmark("discovery_none", "no link", b"", b"", None, None),
)
