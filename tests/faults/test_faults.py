"""The experiments in short: a twentieth of the size, and at least two kills each. ``make faults`` has all."""

from __future__ import annotations

import pytest

from tests.faults.__main__ import EXPERIMENTS, SHORT
from tests.faults.stage import DATABASES, POSTGRESQL


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "state-machine"])
def test_an_experiment_in_short(name: str, kind: str) -> None:
    if kind == "postgresql" and not POSTGRESQL:
        pytest.skip("LINKBACK_TEST_POSTGRESQL is not set")
    report = EXPERIMENTS[name](kind, SHORT)
    if report.failures:
        pytest.fail(str(report))
