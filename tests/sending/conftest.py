"""Fixtures: those of pingback, and the test server of webmention."""

from __future__ import annotations

import pytest

from tests.neighbours import Neighbour
from tests.pingback.conftest import blogs, clock, hasty, neighbour, serve, tidy
from tests.sending.rocks import Rocks

__all__ = ["blogs", "clock", "hasty", "neighbour", "rocks", "serve", "tidy"]


@pytest.fixture
def rocks(neighbour: Neighbour) -> Rocks:
    return Rocks(neighbour)
