"""The experiments in short: a thirtieth of the size, and at least two kills each. ``make faults`` has all.

Those that kill run on each database, the others on one of them, in turn.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.faults.__main__ import EXPERIMENTS, SHORT
from tests.faults.stage import DATABASES, POSTGRESQL
from tests.thorough import FULL

NAMES: Final = [name for name in EXPERIMENTS if name != "state-machine"]
HERE: Final = [
    (name, kind)
    for number, name in enumerate(NAMES)
    for place, kind in enumerate(DATABASES)
    if FULL or "kills" in name or number % 2 == place
]


@pytest.mark.parametrize(("name", "kind"), HERE)
def test_an_experiment_in_short(name: str, kind: str) -> None:
    if kind == "postgresql" and not POSTGRESQL:
        pytest.skip("LINKBACK_TEST_POSTGRESQL is not set")
    report = EXPERIMENTS[name](kind, SHORT)
    if report.failures:
        pytest.fail(str(report))
