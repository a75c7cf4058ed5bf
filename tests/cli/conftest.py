"""Fixtures: processes that do not outlive their test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cli import commands
from tests.neighbours import Neighbour


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A starter of real processes: ``start({"database_url": ...}, "worker", "--once")``."""
    started: list[subprocess.Popen[str]] = []

    def start(settings: dict[str, Any], *args: str) -> subprocess.Popen[str]:
        started.append(commands.start(settings, *args))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour
