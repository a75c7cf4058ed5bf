"""Credentials: who we are at a hub."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import ConfigError
from ..site import Site

__all__ = ["Credentials", "authorization", "credentials_for"]

F = TypeVar("F", bound=Callable[..., Any])


class Credentials:
    """The function that an application registers by ``@linkback.websub.credentials``; one at most."""

    def __init__(self) -> None:
        self.function: Callable[[str], Any] | None = None

    def register(self, function: F) -> F:
        """Take the function, in place of one that was registered before."""
        self.function = function
        return function


def credentials_for(site: Site, hub_url: str) -> tuple[str, str] | None:
    """Return user and password for a hub; None where it wants none.

    Says the registered function; without one LINKBACK_HUB_CREDENTIALS, by exactly the URL of the hub: nothing
    is sent to another one. Raises `ConfigError` for an answer that is no pair.
    """
    function = site.get(Credentials).function
    setting = site.settings.websub.hub_credentials
    if function is None and isinstance(setting, str):
        function = site.resolve(setting)
    if function is not None:
        said = site.app.ensure_sync(function)(hub_url)
    else:
        said = setting.get(hub_url) if isinstance(setting, Mapping) else None
    if said is None:
        return None
    if not (isinstance(said, tuple | list) and len(said) == 2 and all(isinstance(one, str) for one in said)):
        raise ConfigError(f"The credentials for {hub_url} must be None or a pair (user, password).")
    return said[0], said[1]


def authorization(credentials: tuple[str, str] | None) -> dict[str, str]:
    """Return the headers that say who we are ("Basic", RFC 7617): none without credentials."""
    if credentials is None:
        return {}
    return {"Authorization": f"Basic {b64encode(':'.join(credentials).encode()).decode()}"}
