"""Fixtures: those of pingback, and a hub."""

from __future__ import annotations

import socket

import pytest

from tests.neighbours import Neighbour, Resolver
from tests.pingback.conftest import blogs, clock, hasty, neighbour, serve, tidy
from tests.websub.following import Hub

__all__ = ["blogs", "clock", "hasty", "hub", "neighbour", "nowhere", "serve", "tidy"]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The topics and hubs of tests have no address, and no server of names is asked for one."""
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(only_these=True).getaddrinfo)


@pytest.fixture
def hub(neighbour: Neighbour) -> Hub:
    return Hub(neighbour)
