"""``python -m benchmarks [NAMES] [--rounds N] [--short] [--json FILE]``: the figures that the design
promises.

What needs PostgreSQL is measured when LINKBACK_TEST_POSTGRESQL names a server. The ratios compare
what was measured side by side, in turn, on this machine: they bear another one, the numbers behind
them do not.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path

from .runner import Benchmark, Scale, as_json, as_markdown, run

NAMES = (
    "outbox_rate",
    "threads_filled",
    "cold_https",
    "slow_hosts",
    "first_byte",
    "fan_out",
    "pingback_stored",
    "content_stored",
    "hub_rate",
    "webhook_rate",
    "html_scan",
    "discovery",
    "matching",
    "hooked_commit",
    "feeds",
    "admin_pages",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--rounds", type=int, help="how often each way is measured")
    parser.add_argument("--short", action="store_true", help="only show that all of it works, in a minute")
    parser.add_argument("--json", metavar="FILE", help="write all numbers there; - is standard output")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}.")
    if options.rounds is not None and not 1 <= options.rounds <= 100:
        parser.error("--rounds is from 1 to 100.")
    scale = Scale(short=options.short)
    chosen = [each for name in options.names or NAMES for each in _load(name)]
    results = [run(each, scale, options.rounds) for each in chosen]
    numbers = json.dumps(as_json(results, scale), indent=1, ensure_ascii=False)
    if options.json == "-":
        print(numbers)
        return
    if options.json:
        Path(options.json).write_text(f"{numbers}\n")
    print(as_markdown(results))


def _load(name: str) -> Sequence[Benchmark]:
    """Import one only when it is asked for: each has its own needs."""
    benchmarks: Sequence[Benchmark] = importlib.import_module(f".{name}", __package__).BENCHMARKS
    return benchmarks


if __name__ == "__main__":
    main()
