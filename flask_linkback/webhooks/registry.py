"""Registry: the hooks of an extension object, by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from ..changes import Watches
from ..errors import AlreadyRegistered, NotRegistered, did_you_mean

if TYPE_CHECKING:
    from .hooks import Hook

__all__ = ["HookRegistry"]

H = TypeVar("H", bound="Hook | type[Hook]")


class HookRegistry(Mapping[str, "Hook"]):
    """What can happen: a mapping from names to hooks; shared by all applications of one extension object."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches
        self._hooks: dict[str, Hook] = {}

    def __getitem__(self, name: str) -> Hook:
        return self._hooks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hooks)

    def __len__(self) -> int:
        return len(self._hooks)

    def register(self, hook: H) -> H:
        """Add a hook, or a class of which one is made, and return what was given; for decorators, too.

        Raises `AlreadyRegistered`. From now on a `ModelHook` hears of its model, and a `SignalHook` that
        has a signal of it, whoever sends that.
        """
        made: Hook = hook() if inspect.isclass(hook) else hook  # type: ignore[assignment]
        if made.name in self._hooks:
            raise AlreadyRegistered(f"Hook with name {made.name} is already registered.")
        made.listen(self._watches)
        self._hooks[made.name] = made
        return hook

    def unregister(self, hook: Hook | type[Hook] | str) -> None:
        """Take a hook away, by its name, itself or its class; raises `NotRegistered`."""
        name = self._name_of(hook)
        if name not in self._hooks:
            raise NotRegistered(f"Hook with name {name} is not registered.{did_you_mean(name, self._hooks)}")
        self._hooks.pop(name).leave(self._watches)

    def _name_of(self, hook: Hook | type[Hook] | str) -> str:
        if isinstance(hook, str):
            return hook
        if not inspect.isclass(hook):
            return hook.name
        return next((name for name, each in self._hooks.items() if type(each) is hook), hook.__name__)

    def get_all(self) -> Mapping[str, Hook]:
        """Return all hooks by their names."""
        return dict(self._hooks)

    def get_hook(self, name: str) -> Hook:
        """Return the hook of a name; raises KeyError."""
        return self._hooks[name]

    def as_choices(self) -> list[tuple[str, str]]:
        """Return names and what people call them, sorted by name, for the choices of a form."""
        return [(name, _capitalized(hook.verbose_name)) for name, hook in sorted(self._hooks.items())]


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
