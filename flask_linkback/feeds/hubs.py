"""Hubs: which a feed names, by its class or by the settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..site import Site
from ..websub.publisher import hubs_of
from .hooks import look_up

if TYPE_CHECKING:
    from .view import Feed

__all__ = ["first_hub", "hubs_for", "says_hubs"]

_BASE: Final = f"{__package__}.view"
"""Where ``Feed`` itself is: what it says is what is said by nobody."""
_HOOKS: Final = ("get_hub", "hubs", "hub")
"""The first of those that a class has counts."""


def hubs_for(view: Feed, obj: Any, site: Site | None) -> Sequence[str]:
    """Return the hubs of a feed: what its class says, else those of the site.

    Of a class and those that it comes from the first one counts that says anything: ``hub = None`` and
    ``hubs = ()`` are an answer, too. Who overrides ``get_hub`` and returns what it was has all hubs.
    """
    hook = _hook_of(view, _HOOKS)
    if hook != "get_hub":
        return _said_by(hook, view, obj, site)
    said, usual = look_up(view, hook, obj), _usual(view, obj, site)
    return usual if said == next(iter(usual), None) else _listed(said)


def first_hub(view: Feed, obj: Any, site: Site | None) -> str | None:
    """Return what ``get_hub`` says unless somebody overrides it."""
    return next(iter(_usual(view, obj, site)), None)


def says_hubs(view: Feed) -> bool:
    """Does the class of a feed name hubs itself?"""
    return _hook_of(view, _HOOKS) is not None


def _usual(view: Feed, obj: Any, site: Site | None) -> Sequence[str]:
    return _said_by(_hook_of(view, _HOOKS[1:]), view, obj, site)


def _said_by(hook: str | None, view: Feed, obj: Any, site: Site | None) -> Sequence[str]:
    if hook is not None:
        return _listed(look_up(view, hook, obj))
    return hubs_of(site) if site is not None else ()


def _hook_of(view: Feed, hooks: Iterable[str]) -> str | None:
    """Return the hook that the feed itself has, or else the most special of its classes."""
    for hook in hooks:
        if hook in vars(view):
            return hook
    for cls in type(view).__mro__:
        if cls.__module__ == _BASE:
            break
        for hook in hooks:
            if hook in cls.__dict__:
                return hook
    return None


def _listed(said: Any) -> Sequence[str]:
    if said is None or said == "":
        return ()
    several = [said] if isinstance(said, str) or not isinstance(said, Iterable) else said
    return tuple(dict.fromkeys(str(each) for each in several if each))
