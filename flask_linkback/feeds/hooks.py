"""Hooks: how an attribute of a feed's class is looked up: a value, or a method with or without an object."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from ..errors import ImproperlyConfigured

__all__ = ["Constant", "Hook", "bind", "is_of", "look_up", "look_up_alone"]

Hook = Callable[[Any], Any]


class Constant:
    """A hook that says the same of everything."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, _: Any) -> Any:
        return self.value


def bind(of: object, name: str) -> Hook | None:
    """Return a function that takes an object and returns what the hook says of it; None without the hook.

    The rules are those of Django's feeds. What is not callable is the value itself. A callable is given
    the object if its code has two positional arguments, decorators with ``functools.wraps`` seen
    through. A property that raises AttributeError is no hook. One without any argument that is no
    static method was decorated without ``wraps``: asked, it raises `ImproperlyConfigured`.
    """
    try:
        hook = getattr(of, name)
    except AttributeError:
        return None
    if not callable(hook):
        return Constant(hook)
    try:
        takes_object = _takes_object(of, name, hook)
    except (AttributeError, ImproperlyConfigured) as error:
        return _refusing(error)  # an empty feed has nothing to ask, and nothing to complain of
    return hook if takes_object else lambda _: hook()


def look_up(of: object, name: str, obj: Any, default: Any = None) -> Any:
    """Return what a hook says of an object."""
    hook = bind(of, name)
    return default if hook is None else hook(obj)


def look_up_alone(of: object, name: str) -> Any:
    """Return what a hook says without an object; None where it asks for one, or there is no hook."""
    hook = getattr(of, name, None)
    if not callable(hook):
        return hook
    return None if _takes_object(of, name, hook) else hook()


def _refusing(error: Exception) -> Hook:
    def refuse(_: Any) -> Any:
        raise error

    return refuse


def is_of(of: object, name: str) -> bool:
    """Is this method the one of the class that first had it, and no subclass's or object's own?"""
    first = next(each for each in reversed(type(of).__mro__) if name in vars(each))
    return getattr(type(of), name) is vars(first)[name] and name not in vars(of)


def _takes_object(of: object, name: str, hook: Any) -> bool:
    # the arguments are counted, for a TypeError may come from within
    if type(hook) is MethodType and type(hook.__func__) is FunctionType and not vars(hook.__func__):
        function = hook.__func__  # a plain method: there is nothing to see through
    else:
        function = inspect.unwrap(hook)
    try:
        code = function.__code__
    except AttributeError:
        function = inspect.unwrap(hook.__call__)
        code = function.__code__
    count: int = code.co_argcount
    if not count and not isinstance(inspect.getattr_static(of, function.__name__, None), staticmethod):
        raise ImproperlyConfigured(
            f"Feed method {name!r} decorated by {function.__name__!r} needs to use @functools.wraps."
        )
    return count == 2
