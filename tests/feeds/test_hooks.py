"""Hooks: how an attribute of a feed's class is looked up, row by row, here and in Django."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from flask_linkback.errors import ImproperlyConfigured
from flask_linkback.feeds.hooks import bind, look_up

from .peer import DJANGO

WRAPS = "Feed method {!r} decorated by {!r} needs to use @functools.wraps."


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def passed_on(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return passed_on


def hidden(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Without:
    def __call__(self) -> str:
        return "called"


class With:
    def __call__(self, obj: Any) -> str:
        return f"called with {obj}"


class WrappedWithout:
    @wrapped
    def __call__(self) -> str:
        return "called"


class WrappedWith:
    @wrapped
    def __call__(self, obj: Any) -> str:
        return f"called with {obj}"


class HiddenWith:
    @hidden
    def __call__(self, obj: Any) -> str:
        return f"called with {obj}"


class StaticCall:
    @staticmethod
    def __call__(obj: Any) -> str:
        return f"called with {obj}"


def of_module() -> str:
    return "of the module"


class Rows:
    """Each attribute is a row; its value is what ``ROWS`` says of it."""

    value = "value"
    none = None
    number = 0
    empty: tuple[str, ...] = ()

    def method(self) -> str:
        return "method"

    def method_with(self, obj: Any) -> str:
        return f"method with {obj}"

    def method_with_default(self, obj: Any = "default") -> str:
        return f"method with {obj}"

    def method_with_keyword(self, *, obj: Any = "keyword") -> str:
        return f"method with {obj}"

    def method_with_both(self, obj: Any, *, more: Any = "more") -> str:
        return f"method with {obj} and {more}"

    def method_positional_only(self, obj: Any, /) -> str:
        return f"method with {obj}"

    def method_with_two(self, obj: Any, other: Any) -> str:
        return f"method with {obj} and {other}"

    def method_with_two_defaults(self, obj: Any = "first", other: Any = "second") -> str:
        return f"method with {obj} and {other}"

    def method_with_any(self, *objs: Any) -> str:
        return f"method with {objs}"

    @wrapped
    def wrapped_method(self) -> str:
        return "method"

    @wrapped
    def wrapped_method_with(self, obj: Any) -> str:
        return f"method with {obj}"

    @wrapped
    @wrapped
    def twice_wrapped_method_with(self, obj: Any) -> str:
        return f"method with {obj}"

    @hidden
    def hidden_method(self) -> str:
        raise AssertionError("must not be called")

    @hidden
    @wrapped
    def hidden_wrapped_method(self, obj: Any) -> str:
        raise AssertionError("must not be called")

    @wrapped
    @hidden
    def wrapped_hidden_method(self, obj: Any) -> str:
        raise AssertionError("must not be called")

    @staticmethod
    def static() -> str:
        return "static"

    @staticmethod
    def static_with(obj: Any) -> str:
        raise AssertionError("must not be called")

    @staticmethod
    def static_with_two(obj: Any, other: Any = "other") -> str:
        return f"static with {obj} and {other}"

    @staticmethod
    @wrapped
    def wrapped_static() -> str:
        return "static"

    @staticmethod
    @hidden
    def hidden_static() -> str:
        raise AssertionError("must not be called")

    @classmethod
    def of_class(cls) -> str:
        return f"of {cls.__name__}"

    @classmethod
    def of_class_with(cls, obj: Any) -> str:
        return f"of {cls.__name__} with {obj}"

    callable_without = Without()
    callable_with = With()
    callable_wrapped_without = WrappedWithout()
    callable_wrapped_with = WrappedWith()
    callable_hidden = HiddenWith()
    callable_static = StaticCall()
    a_class = With
    a_builtin = len
    partial = functools.partial(lambda obj: obj, "bound")
    partial_method = functools.partialmethod(lambda self, obj: f"partial with {obj}")
    lambda_with = lambda self, obj: f"lambda with {obj}"  # noqa: E731
    lambda_without = lambda self: "lambda"  # noqa: E731

    @property
    def of_property(self) -> str:
        return "of a property"

    @property
    def method_of_property(self) -> Any:
        return self.method_with

    @property
    def lambda_of_property(self) -> Any:
        return lambda: "never"

    @property
    def lost(self) -> str:
        raise AttributeError("lost")

    @property
    def deeply_lost(self) -> str:
        return self.no_such_attribute  # type: ignore[attr-defined,no-any-return]

    @property
    def broken(self) -> str:
        raise ValueError("broken")

    @functools.cached_property
    def cached(self) -> str:
        return "cached"

    def raising_type_error(self, obj: Any) -> str:
        raise TypeError("from within")

    def raising_attribute_error(self, obj: Any) -> str:
        raise AttributeError("from within")

    def returning_none(self, obj: Any) -> None:
        return None


class Table(Rows, DJANGO.feed):  # type: ignore[misc,name-defined]
    """The rows with Django's own look-up."""

    def __init__(self) -> None:
        self.of_instance = lambda obj: f"of the instance with {obj}"
        self.of_instance_without = of_module
        self.of_instance_with_two = lambda obj, other=None: f"of the instance with {obj} and {other}"


NOT_COUNTED = "'method-wrapper' object has no attribute '__code__'"

ROWS: dict[str, Any] = {
    "no_such_hook": "the default",
    "value": "value",
    "none": None,
    "number": 0,
    "empty": (),
    "method": "method",
    "method_with": "method with obj",
    "method_with_default": "method with obj",
    "method_with_keyword": "method with keyword",
    "method_with_both": "method with obj and more",
    "method_positional_only": "method with obj",
    "method_with_two": TypeError(
        "Rows.method_with_two() missing 2 required positional arguments: 'obj' and 'other'"
    ),
    "method_with_two_defaults": "method with first and second",
    "method_with_any": "method with ()",
    "wrapped_method": "method",
    "wrapped_method_with": "method with obj",
    "twice_wrapped_method_with": "method with obj",
    "hidden_method": ImproperlyConfigured(WRAPS.format("hidden_method", "wrapper")),
    "hidden_wrapped_method": ImproperlyConfigured(WRAPS.format("hidden_wrapped_method", "wrapper")),
    "wrapped_hidden_method": ImproperlyConfigured(WRAPS.format("wrapped_hidden_method", "wrapper")),
    "static": "static",
    "static_with": TypeError("Rows.static_with() missing 1 required positional argument: 'obj'"),
    "static_with_two": "static with obj and other",
    "wrapped_static": "static",
    "hidden_static": ImproperlyConfigured(WRAPS.format("hidden_static", "wrapper")),
    "of_class": "of Table",
    "of_class_with": "of Table with obj",
    "callable_without": "called",
    "callable_with": "called with obj",
    "callable_wrapped_without": "called",
    "callable_wrapped_with": "called with obj",
    "callable_hidden": ImproperlyConfigured(WRAPS.format("callable_hidden", "wrapper")),
    "callable_static": TypeError("StaticCall.__call__() missing 1 required positional argument: 'obj'"),
    "a_class": TypeError("With() takes no arguments"),
    "a_builtin": AttributeError(NOT_COUNTED),
    "partial": AttributeError(NOT_COUNTED),
    "partial_method": AttributeError(NOT_COUNTED),
    "lambda_with": "lambda with obj",
    "lambda_without": "lambda",
    "of_property": "of a property",
    "method_of_property": "method with obj",
    "lambda_of_property": ImproperlyConfigured(WRAPS.format("lambda_of_property", "<lambda>")),
    "lost": "the default",
    "deeply_lost": "the default",
    "broken": ValueError("broken"),
    "cached": "cached",
    "raising_type_error": TypeError("from within"),
    "raising_attribute_error": AttributeError("from within"),
    "returning_none": None,
    # one argument of a function that is no method is taken for self
    "of_instance": TypeError(
        "Table.__init__.<locals>.<lambda>() missing 1 required positional argument: 'obj'"
    ),
    "of_instance_without": ImproperlyConfigured(WRAPS.format("of_instance_without", "of_module")),
    "of_instance_with_two": "of the instance with obj and None",
}


@pytest.mark.parametrize("name", ROWS)
def test_a_hook_says_what_it_says_in_django(name: str) -> None:
    expected, table = ROWS[name], Table()
    looked_up: list[Callable[[], Any]] = [
        lambda: look_up(table, name, "obj", "the default"),
        lambda: table._get_dynamic_attr(name, "obj", "the default"),
    ]
    for look in looked_up:
        if isinstance(expected, Exception):
            with pytest.raises(Exception) as raised:  # noqa: PT011  its kind and its message are below
                look()
            assert type(raised.value).__name__ == type(expected).__name__
            assert str(raised.value) == str(expected)
        else:
            assert look() == expected


def test_the_table_has_every_row() -> None:
    named = {name for name in [*vars(Rows), *vars(Table())] if not name.startswith("__")}
    assert named | {"no_such_hook"} == set(ROWS)


@pytest.mark.parametrize("name", ["hidden_method", "partial", "a_builtin"])
def test_a_hook_that_is_wrong_says_so_when_it_is_asked(name: str) -> None:
    hook = bind(Table(), name)
    assert hook is not None
    for _ in range(2):
        with pytest.raises((ImproperlyConfigured, AttributeError)):
            hook("obj")


def test_a_hook_is_looked_up_once_and_asked_of_each() -> None:
    hook = bind(Table(), "method_with")
    assert hook is not None
    assert [hook(number) for number in range(3)] == ["method with 0", "method with 1", "method with 2"]
    assert bind(Table(), "no_such_hook") is None
