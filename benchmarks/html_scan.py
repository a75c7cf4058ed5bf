"""HTML scan: a link near the end of a page of 5 MB, beside an lxml DOM with XPath.

The time is CPU time. The memory is what one scan adds to the peak of a process of its own that
already holds the page.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lxml import etree

from flask_linkback.protocols.html import CHUNK_BYTES, LinkScan

from .runner import Benchmark, Ratio, Scale, Ways
from .sites import ROOT

__all__ = ["BENCHMARKS"]

SIZE = 5_000_000
REPEAT = 3

TARGET = "https://blog.example/2026/07/an-entry?x=1&y=2"
HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>T &amp; t</title>
<link rel="pingback" href="https://me.example/xmlrpc">
<script>var a = "<a href='x'>"; if (a < 3) {}</script></head><body>"""
UNIT = """<div class="post h-entry" id="p{0}">
<h2><a class="u-url" href="/2026/07/{0}?a=1&amp;b=2">Title &mdash; {0}</a></h2>
<p>Lorem ipsum dolor sit amet, <em>consectetur</em> adipiscing elit, sed do
<a href="https://other.example/page/{0}">eiusmod</a> tempor &lt;incididunt&gt; ut labore et dolore magna
aliqua.<br><img src="/i/{0}.png" alt="x"> Ut enim ad minim veniam, quis nostrud.</p>
<ul><li>one<li>two</ul></div>
"""
LINK = '<p>See <a href="https://blog.example/2026/07/an-entry?x=1&amp;y=2">this</a>.</p>'


def page(size: int, place: float) -> bytes:
    units: list[str] = [HEAD]
    length = 0
    placed = False
    while length < size:
        if not placed and length >= size * place:
            units.append(LINK)
            placed = True
        units.append(UNIT.format(len(units)))
        length += len(units[-1])
    return "".join(units).encode()


def by_dom(body: bytes) -> bool:
    root = etree.fromstring(body, etree.HTMLParser(no_network=True, huge_tree=False))
    hrefs: Any = root.xpath("//a/@href")
    return any(href == TARGET for href in hrefs)


def _by_scan(body: bytes, hosts: set[str] | None) -> bool:
    def wanted(url: str) -> Hashable | None:
        return url if url == TARGET else None

    scan = LinkScan(wanted, base_url="https://source.example/", hosts=hosts)
    for start in range(0, len(body), CHUNK_BYTES):
        if scan.feed(body[start : start + CHUNK_BYTES]):
            break
    scan.close()
    return TARGET in scan.found


def by_scan(body: bytes) -> bool:
    return _by_scan(body, {"blog.example"})


def by_scan_of_all(body: bytes) -> bool:
    return _by_scan(body, None)


DOM = "lxml DOM and XPath"
WAYS: dict[str, Callable[[bytes], bool]] = {
    DOM: by_dom,
    "LinkScan with hosts": by_scan,
    "LinkScan without hosts": by_scan_of_all,
}


def peak() -> int:
    """Return the most memory that this process ever had, in KiB; ``ru_maxrss`` begins with its parent's."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in each)
    return int(line.split()[1])


def measure(way: str, file: Path) -> dict[str, float]:
    """Scan a page in this process, which has done nothing else, and say what it took."""
    body = file.read_bytes()
    work = WAYS[way]
    work(page(20_000, 0.5))
    before = peak()
    if not work(body):
        raise SystemExit(f"{way} did not find the link")
    added = peak() - before
    times = []
    for _ in range(REPEAT):
        began = time.process_time()
        work(body)
        times.append(time.process_time() - began)
    return {"ms": 1000 * statistics.median(times), "MiB": max(added, 1) / 1024}


def measure_apart(way: str, file: Path, unit: str) -> float:
    command = [sys.executable, "-m", "benchmarks.html_scan", way, str(file)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, cwd=ROOT).stdout
    return float(json.loads(output)[unit])


@contextlib.contextmanager
def ways(unit: str, scale: Scale) -> Iterator[Ways]:
    with tempfile.TemporaryDirectory(prefix="linkback-bench-") as directory:
        file = Path(directory, "page.html")
        file.write_bytes(page(SIZE, 0.9))
        yield {name: partial(measure_apart, name, file, unit) for name in WAYS}


def _benchmark(name: str, what: str, unit: str, reach: float) -> Benchmark:
    return Benchmark(
        name=name,
        title=f"A link in a page of 5 MB, {what}",
        unit=unit,
        better="less",
        ways=partial(ways, unit),
        ratios=[
            Ratio(what="LinkScan with hosts ÷ lxml DOM", of="LinkScan with hosts", to=DOM, at_most=reach),
            Ratio(what="LinkScan without hosts ÷ lxml DOM", of="LinkScan without hosts", to=DOM),
        ],
    )


BENCHMARKS = (
    _benchmark("html_scan", "CPU time", "ms", 1 / 3),
    _benchmark("html_scan_memory", "memory", "MiB", 1 / 10),
)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
