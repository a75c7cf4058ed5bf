"""HTML scan: a link in a large page, beside an lxml DOM with XPath.

``python benchmarks/html_scan.py [--repeat N] [--megabytes N]`` prints a table and then the same as JSON. The
memory is what one scan adds to the peak of a process of its own that already holds the page.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from lxml import etree

from flask_linkback.protocols.html import CHUNK_BYTES, LinkScan

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


WAYS: dict[str, Callable[[bytes], bool]] = {
    "lxml DOM and XPath": by_dom,
    "LinkScan with hosts": by_scan,
    "LinkScan without hosts": by_scan_of_all,
}


def measure(way: str, file: Path, repeat: int) -> dict[str, float]:
    body = file.read_bytes()
    work = WAYS[way]
    work(page(20_000, 0.5))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if not work(body):
        raise SystemExit(f"{way} did not find the link")
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    times = []
    for _ in range(repeat):
        started = time.process_time()
        work(body)
        times.append(time.process_time() - started)
    return {"ms": 1000 * statistics.median(times), "mib": added / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--megabytes", type=float, default=5)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = int(min(options.megabytes, 50) * 1_000_000)
    repeat = max(1, min(options.repeat, 100))
    if options.way:
        print(json.dumps(measure(options.way, options.file, repeat)))
        return
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "page.html")
        file.write_bytes(page(size, 0.9))
        for way in WAYS:
            command = [sys.executable, __file__, f"--way={way}", f"--file={file}", f"--repeat={repeat}"]
            output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
            results[way] = json.loads(output)
    dom = results["lxml DOM and XPath"]
    print(f"{'':24}{'ms':>9}{'of DOM':>9}{'MiB':>9}{'of DOM':>9}")
    for way, result in results.items():
        result["time_ratio"] = result["ms"] / dom["ms"]
        result["memory_ratio"] = result["mib"] / dom["mib"]
        print(
            f"{way:24}{result['ms']:9.1f}{result['time_ratio']:9.2f}{result['mib']:9.1f}{result['memory_ratio']:9.3f}"
        )
    print(json.dumps({"benchmark": "html_scan", "bytes": size, "repeat": repeat, "results": results}))


if __name__ == "__main__":
    main()
