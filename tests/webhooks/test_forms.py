"""Laws of the forms by which listeners are made."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from wtforms import StringField

from flask_linkback import Hook, match
from flask_linkback.models import Listener
from flask_linkback.webhooks.forms import BaseMatchForm, HookConfigForm, create_select_hook_form
from tests.webhooks.people import People

FILLED_IN = {
    "name_cond": match.CONDITION_EXACT,
    "name_query": "George Constanza",
    "address_cond": str(match.CONDITION_ENDSWITH),
    "address_query": "New York City",
    "phone_cond": match.CONDITION_STARTSWITH,
    "phone_query": "212",
    "email_cond": match.CONDITION_CONTAINS,
    "email_query": "@vandelay",
    "notes_cond": match.PASS,
}


@pytest.fixture
def hook() -> Hook:
    return Hook(name="testhook", provides_args=["name", "address", "phone", "email", "notes"])


def test_d2_a_form_for_each_field_makes_a_filter(hook: Hook) -> None:
    for field in hook.provides_args:
        form = hook.match_forms[field]()
        assert isinstance(form, BaseMatchForm)
        assert set(form.data) == {f"{field}_cond", f"{field}_query"}
    assert len(hook.get_match_forms()) == 5

    made = hook.apply_match_forms(FILLED_IN)
    kinds = {"name": match.Is, "address": match.Endswith, "phone": match.Startswith, "email": match.Contains}
    assert {field: type(matcher) for field, matcher in made.items()} == kinds
    george = {
        "name": "George Constanza",
        "address": "Border Lane, New York City",
        "phone": "212 555 88 23",
        "email": "george@vandelay.com",
    }
    assert match.deepmatch(made, george)
    assert not match.deepmatch(made, {**george, "phone": "213"})


def test_22_like_can_be_chosen_and_a_wrong_pattern_is_said(hook: Hook) -> None:
    form = hook.match_forms["name"]
    assert match.LIKE in [choice.value for choice in form().name_cond.choices]
    assert form({"name_cond": match.LIKE, "name_query": "^J"}).field_to_mtuple() == ("name", match.LIKE, "^J")
    for wrong in ({"name_cond": match.LIKE, "name_query": "("}, {"name_cond": "99"}, {"name_cond": "x"}):
        with pytest.raises(ValueError, match="'name'"):
            form(wrong).field_to_mtuple()


def test_a_listener_by_form(people: People) -> None:
    class WithChannel(HookConfigForm):
        channel = StringField("Channel")

    hook = Hook(name="chat", config_form=WithChannel)
    filled_in = hook.config_form({"url": "http://where.joe/", "channel": "#news"})
    listener = hook.listener(filled_in).match(name="Joe").save()
    assert isinstance(listener, Listener)
    assert (listener.url, listener.config) == ("http://where.joe/", {"channel": "#news"})


@pytest.mark.parametrize("url", ["", "where.joe", "ftp://where.joe/", "http://a:b@where.joe/"])
def test_a_form_without_a_url_is_refused(people: People, hook: Hook, url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        hook.listener(hook.config_form({"url": url})).save()


def test_a_choice_of_hooks(people: People) -> None:
    form: Any = create_select_hook_form(people.linkback.hooks)
    assert [(choice.value, choice.label) for choice in form.type.choices] == [("person", "Person")]


def test_wtforms_is_not_asked_for_before_it_is_used() -> None:
    code = "import sys; import flask_linkback.webhooks.hooks; assert 'wtforms' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
