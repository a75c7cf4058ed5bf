"""The experiments in full: ``python -m tests.faults [names] [--short] [--database sqlite]``.

One line for each with its figures; the exit status is 1 when one failed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Final

from tests.faults import flood, kills, lanes, machine, mentions, outbox, web
from tests.faults.report import Report
from tests.faults.stage import DATABASES, POSTGRESQL

SHORT: Final = 0.03
EXPERIMENTS: Final[Mapping[str, Callable[[str, float], Report]]] = {
    "kills": kills.worker_kills,
    "web-kills": web.web_kills,
    "rollbacks": outbox.rollbacks,
    "claims": outbox.claims,
    "zombies": kills.zombies,
    "ambiguous": outbox.ambiguous,
    "deploys": kills.deploys,
    "poison": outbox.poison,
    "flood": flood.flood,
    "mentions": mentions.mentions,
    "slow-lane": lanes.slow_lane,
    "state-machine": machine.state_machine,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*EXPERIMENTS, []], help="default: all")
    parser.add_argument("--short", action="store_true", help="a thirtieth of the size")
    parser.add_argument("--database", choices=DATABASES, help="default: all that are given")
    options = parser.parse_args()
    logging.getLogger("flask_linkback").setLevel(logging.ERROR)  # they are warned, and mean it
    passed = True
    for name in options.names or EXPERIMENTS:
        for kind in [options.database] if options.database else DATABASES:
            passed &= _run(name, kind, SHORT if options.short else 1.0)
    return 0 if passed else 1


def _run(name: str, kind: str, scale: float) -> bool:
    label = f"{name:<13} {kind:<10}"
    if kind == "postgresql" and not POSTGRESQL:
        print(f"{label} SKIP: LINKBACK_TEST_POSTGRESQL is not set", flush=True)
        return True
    began = time.monotonic()
    try:
        report = EXPERIMENTS[name](kind, scale)
    except Exception:
        traceback.print_exc()
        report = Report(failures=[traceback.format_exc().splitlines()[-1]])
    print(f"{label} {time.monotonic() - began:5.0f} s  {report}", flush=True)
    return not report.failures


if __name__ == "__main__":
    sys.exit(main())
