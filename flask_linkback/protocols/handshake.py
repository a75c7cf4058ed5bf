"""Handshake: does somebody want webhooks at an address? (CloudEvents, HTTP 1.1 Web Hooks, section 4)"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["allow"]

_IS_ORIGIN: Final = re.compile(r"[A-Za-z0-9*._:\[\]-]{1,255}").fullmatch


def allow(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that answer OPTIONS where webhooks are wanted, from whoever asks and at any rate.

    ``headers`` are those of the request, by their names in lower case. Who does not say who will send gets
    no permission. ``WebHook-Request-Callback`` is not called: the permission is given at once.
    """
    origin = headers.get("webhook-request-origin", "").strip()
    allowed = {"Allow": "POST, OPTIONS"}
    if _IS_ORIGIN(origin):
        allowed |= {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"}
    return allowed
