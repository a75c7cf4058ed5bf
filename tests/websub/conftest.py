"""Fixtures: those of the pingback tests."""

from __future__ import annotations

from tests.pingback.conftest import blogs, clock, hasty, neighbour, serve, tidy  # noqa: F401
