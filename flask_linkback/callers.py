"""Callers: who asks, and how often one may; counted in each process."""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict
from typing import Final

__all__ = ["CallRates", "caller_key", "plain_address"]

_WINDOW_SECONDS: Final = 60.0
_KEYS_REMEMBERED: Final = 10_000

# Networks behind a proxy. Not `is_private`, whose answer differs between versions of Python and
# would leave strangers in reserved networks uncounted.
_BEHIND_A_PROXY: Final = tuple(
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::/127",
        "fc00::/7",
        "fe80::/10",
    )
)


def plain_address(address: str | None) -> str:
    """Return an IP address in its shortest form, without a scope; ``""`` for what is none."""
    ip = _parsed(address)
    return "" if ip is None else str(ip)


def caller_key(address: str | None) -> str | None:
    """Return what a caller is counted under: the IPv4 address, the IPv6 /64; None for private ones.

    A private address is that of a proxy which was not declared: counting it would count everybody.
    """
    ip = _parsed(address)
    if ip is None or any(ip in network for network in _BEHIND_A_PROXY):
        return None
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


def _parsed(address: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    return (isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped) or ip


class CallRates:
    """Counts calls by key in windows of a minute; remembers a bounded number of keys."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_for_caller(self, address: str | None, limit: int | None, now: float) -> int:
        """Count a call by whose it is; one from a private address is not counted. Returns as `wait`."""
        key = caller_key(address)
        return 0 if key is None else self.wait(f"caller {key}", limit, now)

    def wait(self, key: str, limit: int | None, now: float) -> int:
        """Count a call; return 0 when it is within the limit, else the seconds to wait."""
        if limit is None:
            return 0
        with self._lock:
            began, count = self._windows.get(key, (now, 0))
            if not began <= now < began + _WINDOW_SECONDS:
                began, count = now, 0
            if count >= limit:
                return math.ceil(began + _WINDOW_SECONDS - now)
            self._windows[key] = (began, count + 1)
            self._windows.move_to_end(key)
            if len(self._windows) > _KEYS_REMEMBERED:
                self._windows.popitem(last=False)
            return 0
