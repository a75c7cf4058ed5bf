"""Laws of hooks: what happens is told, and nothing else is."""

from __future__ import annotations

import enum
import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from blinker import Signal

from flask_linkback import Hook, ModelHook, SignalHook, match
from flask_linkback.errors import AddressRefused, AlreadyRegistered, ConfigError, NotRegistered
from flask_linkback.models import Event, Job, JobState, Listener, ListenerState
from flask_linkback.webhooks.hooks import IntermediateListener
from flask_linkback.webhooks.values import plain
from tests.neighbours import Neighbour
from tests.webhooks.people import People, bodies, events, listeners, only

# --- the documented examples of durian ------------------------------------------------------------------


def test_d1_a_hook_is_in_the_registry(people: People) -> None:
    hook = Hook(name="testhook", provides_args=["name", "address", "phone", "email"])
    assert people.linkback.hooks.register(hook) is hook
    assert people.linkback.hooks.get("testhook") is hook
    assert isinstance(people.linkback.hooks["person"], people.PersonHook)


def test_d3_a_listener_gets_what_it_asked_for(people: People, neighbour: Neighbour) -> None:
    hook = people.linkback.hooks.register(Hook(name="testhook", provides_args=["name", "address"]))
    url = neighbour.url("/listening")
    listener = hook.listener(url=url).match(name="Joe").save()
    assert isinstance(listener, Listener)
    people.db.session.commit()
    assert [each.url for each in listeners(people.db)] == [url]

    hook.send(sender=None, name="Joe", address="foo")
    hook.send(None, name="Simon", address="bar")
    people.db.session.commit()
    people.work()

    assert [body["data"] for body in bodies(neighbour)] == [{"name": "Joe", "address": "foo"}]


def test_d4_an_object_that_is_created_and_changed_is_told(people: People, neighbour: Neighbour) -> None:
    intermediate = people.PersonHook().listener(url=neighbour.url("/listening"))
    assert isinstance(intermediate, IntermediateListener)
    assert isinstance(intermediate.match(name="joe").save(), Listener)
    people.db.session.commit()

    joe = people.add(name="joe", address="joe@example.com", secret="joe")
    people.work()
    joe.address = "elsewhere"
    people.db.session.commit()
    people.work()

    created, updated = bodies(neighbour)
    assert created["type"] == "person.created"
    assert created["data"] == {"name": "joe", "address": "joe@example.com", "created": True}
    assert created["changes"] == {"name": [None, "joe"], "address": [None, "joe@example.com"]}
    assert updated["type"] == "person.updated"
    assert updated["data"] == {"name": "joe", "address": "elsewhere", "created": False}
    assert updated["changes"] == {"address": ["joe@example.com", "elsewhere"]}


def test_19_what_durian_documents_works(people: People, neighbour: Neighbour) -> None:
    """A URL in place of a form, ``Any()``, a signal of the class, delivery without a worker."""
    shouted = Signal()

    @people.linkback.hooks.register
    class Shouting(SignalHook):
        name = "shouting"
        signal = shouted
        is_async = False

    people.linkback.hooks["shouting"].listener(url=neighbour.url("/listening")).match(word=match.Any()).save()
    people.db.session.commit()
    shouted.send("somebody", word="Hi")
    people.db.session.commit()
    assert only(neighbour.requests).method == "POST"
    assert bodies(neighbour)[0]["data"] == {"word": "Hi"}


def test_20_default_fields_are_all_but_the_primary_key(people: People) -> None:
    hook = ModelHook(model=people.Person, name="all")
    assert hook.provides_args == ["name", "address", "secret"]
    assert hook.get_model_default_fields() == ["name", "address", "secret"]


def test_21_what_is_configured_reaches_the_dispatcher(people: People, neighbour: Neighbour) -> None:
    neighbour.answer("/elsewhere", status=200)
    seen: list[Any] = []

    @people.linkback.hooks.register
    class Twitter(Hook):
        name = "twitter"

        def serialize(self, event: Event, listener: Listener) -> bytes:
            return f"{listener.config['status']} {event.data['name']}".encode()

        def deliver(self, event: Event, listener: Listener, post: Any) -> Any:
            seen.append(listener.config)
            return post(url=neighbour.url("/elsewhere"), headers={"X-Who": "us"})

    Twitter().listener(url=neighbour.url("/listening"), status="Hello,").save()
    Twitter().send(name="Joe")
    people.db.session.commit()
    people.work()
    request = only(neighbour.requests)
    assert (request.path, request.body, request.header("X-Who")) == ("/elsewhere", b"Hello, Joe", "us")
    assert seen == [{"status": "Hello,"}]


def test_a_hook_by_hand_works_without_registering(people: People, neighbour: Neighbour) -> None:
    class MyHook(Hook):
        name = "myhook"
        provides_args = ("name", "address")
        is_async = False

    MyHook().listener(url=neighbour.url("/listening")).save()
    event = MyHook().send(sender=None, name="George Constanza", address="New York City")
    assert isinstance(event, Event)
    assert not neighbour.requests
    people.db.session.commit()
    assert bodies(neighbour)[0]["data"] == {"name": "George Constanza", "address": "New York City"}


# --- options ---------------------------------------------------------------------------------------------


def test_options_are_attributes_or_arguments() -> None:
    class Slow(Hook):
        timeout = 4
        retry = False

    assert (Slow().timeout, Slow().retry, Slow().is_async) == (4, False, True)
    assert Slow(timeout=9, is_async=False).timeout == 9
    assert Slow().name == f"{__name__}.test_options_are_attributes_or_arguments.<locals>.Slow"
    assert Slow("slow").verbose_name == "slow"
    assert Hook(name="x", provides_args=["b", "a", "b"]).provides_args == ["b", "a"]
    with pytest.raises(TypeError, match=r"Did you mean timeout"):
        Hook(name="x", timeuot=3)
    with pytest.raises(TypeError, match="list of names"):
        Hook(name="x", provides_args="name")


def test_the_registry(people: People) -> None:
    hooks = people.linkback.hooks
    with pytest.raises(AlreadyRegistered, match=r"^Hook with name person is already registered\.$"):
        hooks.register(people.PersonHook)
    hooks.register(Hook(name="b", verbose_name="something else"))
    assert hooks.as_choices() == [("b", "Something else"), ("person", "Person")]
    assert set(hooks.get_all()) == {"b", "person"}
    assert "b" in hooks
    assert hooks.get_hook("b").name == "b"
    with pytest.raises(KeyError):
        hooks.get_hook("c")
    hooks.unregister("b")
    with pytest.raises(NotRegistered, match=r"^Hook with name b is not registered"):
        hooks.unregister("b")
    hooks.unregister(people.PersonHook)
    people.add(name="Joe")
    assert not events(people.db)


def test_a_model_hook_wants_a_model_and_fields_that_it_has(people: People) -> None:
    with pytest.raises(NotImplementedError, match=r"^ModelHook requires a model\.$"):
        ModelHook(name="x")
    with pytest.raises(ConfigError, match=r"Person has no 'nmae'.*Did you mean name"):
        ModelHook(model=people.Person, name="x", provides_args=["nmae"])
    with pytest.raises(ConfigError, match="none of created"):
        ModelHook(model=people.Person, name="x", on=("saved",))


# --- models ----------------------------------------------------------------------------------------------


def test_only_what_is_provided_is_ever_told(people: People) -> None:
    joe = people.add(name="Joe", secret="s3cret")
    joe.secret = "other"
    people.db.session.commit()
    (event,) = events(people.db)
    assert "secret" not in str([event.data, event.changes])


def test_a_deleted_object_is_told_as_it_was(people: People) -> None:
    joe = people.add(name="Joe", address="Oslo")
    people.db.session.delete(joe)
    people.db.session.commit()
    _, event = events(people.db)
    assert event.type == "person.deleted"
    assert event.object_key == "Person:1"
    assert event.data == {"name": "Joe", "address": "Oslo", "created": False}
    assert event.changes == {"name": ["Joe", None], "address": ["Oslo", None]}


def test_on_says_when(people: People) -> None:
    people.linkback.hooks.register(ModelHook(model=people.Person, name="new", on="created"))
    joe = people.add(name="Joe")
    joe.name = "Jim"
    people.db.session.commit()
    assert [each.type for each in events(people.db)] == ["person.created", "new.created", "person.updated"]


def test_a_model_hook_connects_and_disconnects_by_hand(people: People) -> None:
    hook = ModelHook(model=people.Person, name="hand")
    hook.connect()
    hook.connect()
    people.add(name="Joe")
    hook.disconnect()
    people.add(name="Jim")
    assert [each.hook for each in events(people.db)].count("hand") == 1


def test_a_transaction_that_fails_tells_nothing(people: People) -> None:
    people.db.session.add(people.Person(name="Joe"))
    people.db.session.flush()
    people.db.session.rollback()
    with people.db.session.begin_nested() as savepoint:
        people.db.session.add(people.Person(name="Jim"))
        people.db.session.flush()
        savepoint.rollback()
    people.add(name="Jack")
    assert [each.data["name"] for each in events(people.db)] == ["Jack"]


def test_what_changed_and_changed_back_is_no_event(people: People) -> None:
    joe = people.add(name="Joe")
    joe.name = "Jim"
    people.db.session.flush()
    joe.name = "Joe"
    people.db.session.commit()
    assert [each.type for each in events(people.db)] == ["person.created"]


def test_a_property_may_be_told(people: People) -> None:
    people.Person.shout = property(lambda self: self.name.upper())
    people.linkback.hooks.register(ModelHook(model=people.Person, name="loud", provides_args=["shout"]))
    joe = people.add(name="Joe")
    joe.name = "Jim"
    people.db.session.commit()
    loud = [each for each in events(people.db) if each.hook == "loud"]
    assert [each.data["shout"] for each in loud] == ["JOE", "JIM"]
    assert loud[1].changes == {}


def test_a_payload_that_raises_fails_the_commit_and_says_so(people: People) -> None:
    class Odd(ModelHook):
        name = "odd"
        model = people.Person

        def prepare_payload(self, sender: Any, payload: dict[str, Any]) -> Mapping[str, Any]:
            return {"odd": object()}

    people.linkback.hooks.register(Odd)
    with pytest.raises(TypeError, match="JSON knows nothing like object") as raised:
        people.add(name="Joe")
    assert any("'odd'" in note for note in raised.value.__notes__)
    people.db.session.rollback()
    assert not events(people.db)


def test_a_payload_that_raises_silently_leaves_a_dead_job(people: People) -> None:
    class Odd(ModelHook):
        name = "odd"
        model = people.Person
        fail_silently = True

        def prepare_payload(self, sender: Any, payload: dict[str, Any]) -> Mapping[str, Any]:
            raise RuntimeError("no")

    people.linkback.hooks.register(Odd)
    people.add(name="Joe")
    (dead,) = people.db.session.scalars(sa.select(Job).where(Job.state == JobState.dead))
    assert dead.reason == "RuntimeError: no"
    assert Odd().send(instance=None) is None


# --- signals ---------------------------------------------------------------------------------------------


def test_a_signal_of_some_senders(people: People) -> None:
    signal = Signal()
    hook = SignalHook(signal, name="some")
    hook.connect("a")
    other = SignalHook(signal, name="other")
    other.connect("a")
    for sender in ("a", "b"):
        signal.send(sender, n=sender)
    heard = {each.hook: each.data for each in events(people.db)}
    assert heard == {"some": {"n": "a"}, "other": {"n": "a"}}
    hook.disconnect("a")
    signal.send("a", n=2)
    assert [each.hook for each in events(people.db)].count("some") == 1
    with pytest.raises(ConfigError, match="has no signal"):
        SignalHook(name="none").connect()


def test_a_registered_hook_hears_of_one_sender_once_it_is_named(people: People) -> None:
    signal = Signal()
    hook = people.linkback.hooks.register(SignalHook(signal, name="some"))
    signal.send("a", n=1)
    hook.connect("b")
    signal.send("a", n=2)
    signal.send("b", n=3)
    people.linkback.hooks.unregister(hook)
    assert [each.data["n"] for each in events(people.db)] == [1, 3]


# --- payloads --------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    red = "r"


@pytest.mark.parametrize(
    ("value", "as_json"),
    [
        (Decimal("1.10"), "1.10"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(minutes=1.5), 90.0),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.red, "r"),
        (b"\xff", "/w=="),
        ({3: {1, 2}}, {"3": [1, 2]}),
        (float("nan"), None),
        ((True, 1, None), [True, 1, None]),
        ("a\ud800b", "a?b"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_as_json(value: Any, as_json: Any) -> None:
    assert plain(value) == as_json


def test_an_object_is_its_key(people: People) -> None:
    joe = people.add(name="Joe")
    assert plain({"who": joe, "all": [joe]}) == {"who": 1, "all": [1]}
    nested: list[Any] = []
    nested.append(nested)
    with pytest.raises(TypeError, match="nested"):
        plain(nested)


def test_what_is_too_big_is_not_told_and_stops_nobody(
    people: People, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "flask_linkback.webhooks"):
        people.add(name="x" * 21_000)
        people.add(name="x" * 262_145)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert len(events(people.db)) == 1
    (dead,) = people.db.session.scalars(sa.select(Job).where(Job.state == JobState.dead))
    assert "262144 are the most" in dead.reason


# --- listeners -------------------------------------------------------------------------------------------


def test_patterns(people: People, neighbour: Neighbour) -> None:
    hook = people.PersonHook()
    for event in ("person", "person.created", "person.*", "*", "per.*", "person.updated"):
        hook.listener(url=neighbour.url(f"/{event}"), event=event).save()
    people.add(name="Joe")
    people.work()
    assert sorted(request.path for request in neighbour.requests) == [
        *("/*", "/person", "/person.*", "/person.created")
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://a.example/"},
        {"url": "http://user:password@a.example/"},
        {"event": "per*"},
        {"event": "a b"},
        {"headers": {"Webhook-Id": "x"}},
        {"headers": {"Host": "x"}},
        {"headers": {"X": "a\r\nb"}},
        {"secret": "short"},
    ],
    ids=str,
)
def test_a_listener_that_cannot_be(people: People, wrong: dict[str, Any]) -> None:
    options = {"url": "http://a.example/", **wrong}
    with pytest.raises((AddressRefused, ValueError, ConfigError)):
        people.PersonHook().listener(**options).save()


def test_who_is_paused_gets_nothing(people: People, neighbour: Neighbour) -> None:
    listener = people.PersonHook().listener(url=neighbour.url("/listening")).save()
    people.add(name="Joe")
    listener.state = ListenerState.paused
    people.db.session.commit()
    people.work()
    people.add(name="Jim")
    people.work()
    assert not neighbour.requests


def test_nothing_is_committed_for_you(people: People, caplog: pytest.LogCaptureFixture) -> None:
    people.PersonHook().listener(url="http://a.example/").save()
    Hook(name="x").send(n=1)
    with caplog.at_level(logging.WARNING, "flask_linkback.changes"):
        people.db.session.rollback()
    assert "save()" in caplog.text
    assert "Hook.send()" in caplog.text
    assert not events(people.db)
    assert not listeners(people.db)
