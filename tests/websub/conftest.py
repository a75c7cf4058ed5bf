"""Fixtures: those of pingback, and a hub."""

from __future__ import annotations

import pytest

from tests.neighbours import Neighbour
from tests.pingback.conftest import blogs, clock, hasty, neighbour, serve, tidy
from tests.websub.following import Hub

__all__ = ["blogs", "clock", "hasty", "hub", "neighbour", "serve", "tidy"]


@pytest.fixture
def hub(neighbour: Neighbour) -> Hub:
    return Hub(neighbour)
