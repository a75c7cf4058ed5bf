"""Twenty ways through the machine; ``python -m tests.faults state-machine`` goes two thousand."""

from __future__ import annotations

from tests.faults.machine import run


def test_what_workers_do_is_what_the_model_says(database_url: str) -> None:
    assert run(database_url, 20)["settled"] > 0
