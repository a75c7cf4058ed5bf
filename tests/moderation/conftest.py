"""Fixtures: those of the pingbacks, by which the mentions come in here too."""

from __future__ import annotations

from tests.pingback.conftest import blogs, clock, hasty, neighbour, serve, tidy

__all__ = ["blogs", "clock", "hasty", "neighbour", "serve", "tidy"]
