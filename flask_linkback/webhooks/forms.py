"""Forms: what a page asks who wants to listen: where, and to which events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from werkzeug.datastructures import MultiDict
from wtforms import Form, SelectField, StringField, URLField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Optional, ValidationError

from ..errors import AddressRefused, MatchError, MissingExtra
from ..fetch import check_url
from .match import MATCHABLE_CHOICES, PASS, const_to_matchable
from .registry import HookRegistry

__all__ = ["BaseMatchForm", "HookConfigForm", "create_match_forms", "create_select_hook_form"]


class _DictForm(Form):  # type: ignore[misc]  # it comes without types
    """A form that is filled in by any mapping."""

    def __init__(self, formdata: Any = None, *args: Any, **kwargs: Any) -> None:
        if isinstance(formdata, Mapping) and not hasattr(formdata, "getlist"):
            formdata = MultiDict(formdata)
        super().__init__(formdata, *args, **kwargs)


def _is_url(form: Form, field: Any) -> None:
    try:
        check_url(field.data)
    except AddressRefused as error:
        raise ValidationError(str(error)) from None


class HookConfigForm(_DictForm):
    """Where a listener is. A subclass adds fields: they become its ``config``."""

    url = URLField("Listener URL", [InputRequired(), _is_url])

    def save(self) -> dict[str, Any]:
        """Return what was filled in."""
        return dict(self.data)


def create_select_hook_form(hooks: HookRegistry, *args: Any, **kwargs: Any) -> Form:
    """Return a form with one choice, ``type``: the name of a hook."""

    class SelectHookForm(_DictForm):
        type = SelectField("Event", choices=_choices(hooks.as_choices()))

    return SelectHookForm(*args, **kwargs)


class BaseMatchForm(_DictForm):
    """Which events are wanted, by one of their fields: a condition, and what it is about."""

    condition_for: ClassVar[str] = ""

    def field_to_mtuple(self) -> tuple[str, int, Any]:
        """Return field, condition and query; ValueError for what was not filled in right."""
        field = self.condition_for
        if not self.validate():
            raise ValueError(f"The form for {field!r} is not valid: {self.errors}")
        return field, int(self[f"{field}_cond"].data), self[f"{field}_query"].data or ""

    save = field_to_mtuple


def create_match_forms(name: str, provides_args: Iterable[str]) -> dict[str, type[BaseMatchForm]]:
    """Return a form for each field: ``name: [anything|exact|starts with|...] [query]``.

    Its own fields are ``<field>_cond`` and ``<field>_query``; where nothing is chosen, anything goes.
    """
    return {field: _match_form(name, field) for field in provides_args}


def _choices(named: Iterable[tuple[Any, str]]) -> list[SelectChoice]:
    return [SelectChoice(value, label) for value, label in named]


def _match_form(name: str, field: str) -> type[BaseMatchForm]:
    def can_be(form: Form, query: Any) -> None:
        try:
            const_to_matchable(int(form[f"{field}_cond"].data), query.data or "")
        except (MatchError, MissingExtra, ValueError, TypeError) as error:
            raise ValidationError(str(error)) from None

    fields = {
        "condition_for": field,
        f"{field}_cond": SelectField(
            field, [Optional()], choices=_choices(MATCHABLE_CHOICES), coerce=int, default=PASS
        ),
        f"{field}_query": StringField("", [can_be]),
    }
    return type(f"{name}{field}", (BaseMatchForm,), fields)
