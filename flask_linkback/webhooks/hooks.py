"""Hooks: what can happen, and what listeners are told of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from blinker import ANY, Signal
from sqlalchemy.orm import Session, class_mapper

from .. import changes
from ..changes import BulkPolicy, BulkStatement, Change, Kind, Watch, Watches
from ..errors import ConfigError, MissingExtra, did_you_mean
from ..models import Event, Listener, key_of
from ..outbox import jobs, worker
from ..outbox.errands import run_errands
from ..site import Site, current_site
from .formats import body_of
from .listeners import LISTENER_OPTIONS, NewListener, active_listeners, add_listener
from .match import Matchable, holds, load, mtuplelist_to_matchdict
from .recording import DELIVER, DISPATCH, MAX_TYPE_CHARACTERS, NewEvent, record
from .values import plain

if TYPE_CHECKING:
    from ..fetch import Response
    from .delivering import Post

__all__ = ["Hook", "IntermediateListener", "ModelHook", "SignalHook", "changed"]

logger = logging.getLogger("flask_linkback.webhooks")
_OPTIONS: Final = (
    *("name", "verbose_name", "timeout", "retry", "max_retries", "fail_silently", "is_async"),
    *("provides_args", "config_form", "match_forms", "order_key"),
)


changed: Final[ContextVar[Mapping[str, Any]]] = ContextVar("flask_linkback.changed")
"""What changed with the event whose listeners are looked for."""


class Hook:
    """Something that can happen and that listeners elsewhere may want to hear of.

    Each option is an attribute of a subclass, or an argument, which counts before that:

    - ``name`` is its name in the registry and the type of its events (default: the class's full name),
      ``verbose_name`` what people call it.
    - ``provides_args`` names what a payload has: forms for filters are made of it.
    - ``timeout`` is for how many seconds a listener may take (default: DELIVERY_TIMEOUT); ``retry`` whether a
      delivery that fails is tried again by RETRY_SCHEDULE, ``max_retries`` how often at most.
    - ``is_async = False`` delivers a first time in the thread that commits, before ``commit()`` returns.
    - ``fail_silently`` lets a transaction live whose payload cannot be made: it leaves a dead job.
    - ``order_key``, the name of a field or a callable that takes the payload, says what an event is about:
      of one thing, a listener is told in order.
    - ``config_form`` and ``match_forms`` are the forms of a page where listeners are made.

    To be overridden: `prepare_payload`, `get_listeners`, `event_filter`, `serialize`, `deliver`. All but the
    first are called by the worker, which knows hooks by their names: register a hook that overrides them.
    """

    name: str = ""
    verbose_name: str = ""
    timeout: float | None = None
    retry: bool = True
    max_retries: int | None = None
    fail_silently: bool = False
    is_async: bool = True
    provides_args: Iterable[str] = ()
    order_key: str | Callable[[Mapping[str, Any]], Any] | None = None

    _options: ClassVar[Sequence[str]] = _OPTIONS

    def __init__(self, name: str | None = None, **options: Any) -> None:
        if name is not None:
            options["name"] = name
        for option, value in options.items():
            if option not in self._options:
                near = did_you_mean(option, self._options)
                raise TypeError(f"{type(self).__name__} has no option {option!r}.{near}")
            if value is not None:
                setattr(self, option, value)
        if isinstance(self.provides_args, str):
            raise TypeError(f"provides_args is a list of names: [{self.provides_args!r}].")
        self.name = self.name or f"{type(self).__module__}.{type(self).__qualname__}"
        if len(self.name) > MAX_TYPE_CHARACTERS - len(".updated"):
            raise ConfigError(f"The name of a hook is too long: {self.name[:80]}...")
        self.verbose_name = self.verbose_name or self.name
        self.provides_args = list(dict.fromkeys(self.provides_args))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    if TYPE_CHECKING:
        config_form: Any
        match_forms: Any
    else:

        @cached_property
        def config_form(self):
            return _forms().HookConfigForm

        @cached_property
        def match_forms(self):
            return _forms().create_match_forms(f"{self.name.capitalize()}ConfigForm", self.provides_args)

    # --- it happens ----------------------------------------------------------------------------------

    def send(self, sender: Any = None, **payload: Any) -> Event | None:
        """Record an event in the current session, for all listeners that want it, and return it.

        They are told once the transaction commits. None for what cannot be told of: too big, or with
        ``fail_silently`` what raised.
        """
        site = current_site()
        session = site.session
        session.flush()  # what the payload speaks of has its keys
        event_id = self._owe(site, session, lambda: self._new(sender, payload))
        changes.note_call(session, f"{type(self).__name__}.send")
        return None if event_id is None else session.get(Event, event_id)

    def _new(self, sender: Any, payload: Mapping[str, Any]) -> NewEvent:
        prepared = self.prepare_payload(sender, dict(payload))
        return self._event(self.name, prepared)

    def _event(self, type_: str, prepared: Mapping[str, Any], **more: Any) -> NewEvent:
        data = {}
        for field, value in prepared.items():
            try:
                data[str(field)] = plain(value)
            except TypeError as error:
                error.add_note(
                    f"In the payload of {self!r}, field {field!r}: prepare_payload() may change it."
                )
                raise
        return NewEvent(hook=self.name, type=type_, data=data, order_key=self._order(data), **more)

    def _order(self, data: Mapping[str, Any]) -> str | None:
        """What an event is about, as text; None where the order does not matter."""
        if self.order_key is None:
            return None
        about = self.order_key(data) if callable(self.order_key) else data.get(self.order_key)
        return None if about is None else json.dumps(plain(about), sort_keys=True)

    def _owe(self, site: Site, session: Session, make: Callable[[], NewEvent]) -> int | None:
        """Write an event; a hook that fails silently leaves a dead job where it cannot."""
        if not self.fail_silently:
            return self._record(site, session, make())
        try:
            with session.begin_nested():
                return self._record(site, session, make())
        except Exception as error:
            logger.exception("%r raised.", self)
            self._bury(session, error)
            return None

    def _bury(self, session: Session, error: Exception) -> None:
        job = jobs.NewJob(kind=DISPATCH, payload={"type": self.name})
        jobs.add_dead(session, job, f"{type(error).__name__}: {error}"[:200])

    def _record(self, site: Site, session: Session, new: NewEvent) -> int | None:
        event_id = record(site, session, new)
        if event_id is not None and not self.is_async:
            worker.after_commit(session, lambda: _deliver_now(site, event_id))
        return event_id

    # --- to be overridden ----------------------------------------------------------------------------

    def prepare_payload(self, sender: Any, payload: dict[str, Any]) -> Mapping[str, Any]:
        """Return what listeners are told; called in the transaction in which it happens."""
        return payload

    def get_listeners(self, sender: Any, payload: Mapping[str, Any]) -> Sequence[Listener]:
        """Return who wants an event with this payload; the sender is None by then.

        Who overrides this, or `event_filter`, gives up the index: each listener is looked at.
        """
        return [
            listener
            for listener in active_listeners(current_site().session, self.name)
            if self.event_filter(sender, payload, listener.match)
        ]

    def event_filter(self, sender: Any, payload: Mapping[str, Any], match: Any) -> bool:
        """Say whether a listener with this match, as stored, wants an event."""
        return holds(load(match), payload, changed.get({}))

    def serialize(self, event: Event, listener: Listener) -> bytes:
        """Return the body that a listener is sent: JSON as Standard Webhooks has it ("Payload structure")."""
        return body_of(event)

    def deliver(self, event: Event, listener: Listener, post: Post) -> Response:
        """Send an event to a listener: ``post()`` does, or with another ``url``, ``body`` or ``headers``.

        ``listener.config`` is what the application keeps there. Signature and id are added to whatever is
        sent.
        """
        return post()

    # --- listeners -----------------------------------------------------------------------------------

    def listener(self, form: Any = None, *, url: str | None = None, **options: Any) -> IntermediateListener:
        """Begin a listener: ``hook.listener(url="https://a.example/").match(name="Joe").save()``.

        ``form`` is a filled-in ``config_form`` instead. ``secret`` is what is signed with (default: a new
        one), ``owner`` whose it is, ``headers`` what is sent beside, ``event`` one type of the hook's events
        or a pattern such as "person.*"; what else is given is its ``config``.
        """
        if (form is None) == (url is None):
            raise TypeError('listener() needs a form or a URL: listener(url="https://listener.example/").')
        return IntermediateListener(self, form=form, url=url, options=options)

    def add_listener(self, url: str, match: Any = None, **options: Any) -> Listener:
        """Add a listener and return it; the caller commits. Arguments as for `listener`."""
        known = {name: options.pop(name) for name in LISTENER_OPTIONS if name in options}
        config = {**known.pop("config", {}), **options}
        hook = known.pop("event", None) or self.name
        return add_listener(
            current_site(), NewListener(hook=hook, url=url, match=match, config=config, **known)
        )

    def add_listener_by_form(self, form: Any, match: Any = None, **options: Any) -> Listener:
        """Add a listener by a filled-in ``config_form``; raises ValueError with what is wrong in it."""
        if not form.validate():
            raise ValueError(f"The form is not valid: {json.dumps(form.errors, default=str)}")
        config = {name: value for name, value in form.data.items() if name not in ("csrf_token", "url")}
        return self.add_listener(form.data["url"], match, **{**config, **options})

    def get_match_forms(self, **options: Any) -> list[Any]:
        """Return the forms by which a filter is made, one for each field; options are those of WTForms."""
        return [form(**options) for form in self.match_forms.values()]

    def apply_match_forms(self, data: Any) -> dict[str, Matchable]:
        """Return the filter that was filled in, from a mapping of the forms' fields; raises ValueError."""
        return mtuplelist_to_matchdict(form(data).field_to_mtuple() for form in self.match_forms.values())

    # --- registered ----------------------------------------------------------------------------------

    def listen(self, watches: Watches) -> None:
        """Hear of whatever makes it happen: nothing does but `send`."""

    def leave(self, watches: Watches) -> None:
        """Hear of it no more."""


class IntermediateListener:
    """A listener that is not saved yet."""

    def __init__(self, hook: Hook, *, form: Any, url: str | None, options: dict[str, Any]) -> None:
        self.hook = hook
        self.form = form
        self.url = url
        self._options = options
        self._match: Any = None

    def match(self, filter: Any = None, /, **conditions: Any) -> IntermediateListener:  # noqa: A002
        """Say which events are wanted: by fields, or by a filter with paths such as ``"address.city"``."""
        self._match = conditions if filter is None else filter
        return self

    def save(self) -> Listener:
        """Write it into the current session, flush, and return it. The caller commits."""
        if self.form is not None:
            return self.hook.add_listener_by_form(self.form, self._match, **self._options)
        assert self.url is not None
        return self.hook.add_listener(self.url, self._match, **self._options)


class SignalHook(Hook):
    """A hook that happens whenever a blinker signal is sent: the signal's arguments are the payload.

    ``signal`` is an attribute of the class or an argument. Registered, it hears of all senders;
    `connect` lets it hear of some.
    """

    signal: Signal | None = None

    def __init__(self, signal: Signal | None = None, **options: Any) -> None:
        super().__init__(**options)
        if signal is not None:
            self.signal = signal
        self._hears_all = False

    def connect(self, sender: Any = ANY) -> None:
        """Hear of a sender; of this one alone, if it was all before."""
        if self._hears_all and sender is not ANY:
            self.disconnect()
        self._hears_all = sender is ANY
        self._signal().connect(self._receive, sender=sender)

    def disconnect(self, sender: Any = ANY) -> None:
        """Hear of a sender no more; without one, of none."""
        signal = self._signal()
        signal.disconnect(self._receive, sender=sender)
        if sender is ANY:
            self._hears_all = False

    def _signal(self) -> Signal:
        if self.signal is None:
            raise ConfigError(f"{self!r} has no signal: give the class an attribute signal.")
        return self.signal

    def _receive(self, sender: Any, **payload: Any) -> None:
        self.send(sender, **payload)

    def listen(self, watches: Watches) -> None:
        if self.signal is not None:
            self.connect()

    def leave(self, watches: Watches) -> None:
        if self.signal is not None:
            self.disconnect()


class ModelHook(Hook):
    """A hook that happens whenever an object of a model is created, updated or deleted.

    ``on`` says at which of these; ``provides_args`` is what of the object is told, and nothing else ever is:
    its columns but for the primary key, unless it says so. An update that changes nothing of that is no
    event. The types are ``"person.created"``, ``"person.updated"`` and ``"person.deleted"``; the payload has
    these fields and ``created``, and beside it stands what changed, old and new.
    ``bulk`` says what to do about statements that change rows without objects: "event", "warning" or "error";
    ``allow_other_bind`` lets the model live in another database, where a crash between two commits may lose
    or invent an event.
    """

    model: type[Any] | None = None
    on: Iterable[str] = ("created", "updated", "deleted")
    bulk: str = "warning"
    allow_other_bind: bool = False

    _options: ClassVar[Sequence[str]] = (*_OPTIONS, "bulk", "allow_other_bind")

    def __init__(
        self, model: type[Any] | None = None, *, on: Iterable[str] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.model = model or self.model
        if self.model is None:
            raise NotImplementedError("ModelHook requires a model.")
        wanted = self.on if on is None else on
        self.on = [wanted] if isinstance(wanted, str) else list(wanted)
        for kind in self.on:
            if kind not in Kind.__members__:
                raise ConfigError(f"{self!r}: on={kind!r} is none of created, updated, deleted.")
        self._watch: Watch | None = None
        self._watches: Watches | None = None
        if not self.provides_args:
            self.provides_args = self.get_model_default_fields()
        for name in self.provides_args:
            if not hasattr(self.model, name):
                known = [key for key in dir(self.model) if not key.startswith("_")]
                raise ConfigError(
                    f"{self!r}: {self.model.__name__} has no {name!r}.{did_you_mean(name, known)}"
                )

    def get_model_default_fields(self) -> list[str]:
        """Return the names of the model's columns, but for the primary key."""
        return [name for name, column in self._columns().items() if not column.primary_key]

    def _columns(self) -> Mapping[str, Any]:
        mapper = class_mapper(self.model, configure=False)  # type: ignore[arg-type]
        return dict(mapper.columns.items())

    def connect(self) -> None:
        """Hear of the model without being registered, in the current application."""
        self.listen(current_site().get(Watches))

    def disconnect(self) -> None:
        """Hear of the model no more."""
        if self._watches is not None:
            self.leave(self._watches)

    def listen(self, watches: Watches) -> None:
        if self._watch is not None:
            return
        columns = self._columns()
        self._watch = Watch(
            name=f"{type(self).__name__} {self.name}",
            model=self.model,  # type: ignore[arg-type]
            callback=self._happen,
            fields=tuple(name for name in self.provides_args if name in columns),
            # what is no column may be made of any
            every=any(name not in columns for name in self.provides_args),
            bulk=BulkPolicy(self.bulk),
            on_error=self._failed if self.fail_silently else None,
        )
        self._watches = watches
        watches.watch(self._watch, allow_other_bind=self.allow_other_bind)

    def leave(self, watches: Watches) -> None:
        if self._watch is not None:
            watches.forget(self._watch)
            self._watch = None

    def prepare_payload(self, sender: Any, payload: dict[str, Any]) -> Mapping[str, Any]:
        """Return the fields of ``instance`` that ``provides_args`` names, and what else the payload has."""
        instance = payload.pop("instance", None)
        payload.pop("signal", None)
        if instance is None:
            return payload
        return {name: getattr(instance, name, None) for name in self.provides_args} | payload

    # --- in the transaction --------------------------------------------------------------------------

    def _happen(self, session: Session, seen: Sequence[Change | BulkStatement]) -> None:
        site = current_site()
        with session.no_autoflush:
            for change in seen:
                if change.kind.value not in self.on:
                    continue
                if isinstance(change, BulkStatement):
                    self._record(site, session, self._of_statement(change))
                else:
                    self._record(site, session, self._of_change(change))

    def _of_change(self, change: Change) -> NewEvent:
        prepared = self.prepare_payload(
            self.model, {"instance": change.obj, "created": change.kind is Kind.created}
        )
        differs = {}
        for name, (old, new) in change.fields.items():
            before, after = plain(old), plain(new)
            if change.kind is not Kind.updated or before != after:
                differs[name] = [before, after]
        return self._event(
            f"{self.name}.{change.kind.value}",
            prepared,
            changes=differs,
            object_key=key_of(change.obj),
        )

    def _of_statement(self, bulk: BulkStatement) -> NewEvent:
        """The rows of a statement are not known: what it says is."""
        statement = " ".join(str(bulk.statement).split())
        return self._event(f"{self.name}.{bulk.kind.value}", {"bulk": True, "statement": statement})

    def _failed(self, session: Session, seen: Sequence[Change | BulkStatement], error: Exception) -> None:
        self._bury(session, error)


def _forms() -> Any:
    """The forms, for whose pages there are: they need a package."""
    try:
        from . import forms
    except ImportError:
        raise MissingExtra("A form for listeners", "admin") from None
    return forms


def _deliver_now(site: Site, event_id: int) -> None:
    """Do what an event owes a first time, in this thread."""
    for kind in (DISPATCH, DELIVER):
        with site.new_session() as session:
            ids = jobs.waiting_of(session, kind=kind, event_id=event_id)
        run_errands(site, ids)
