"""Listeners: one of them on a page: how it is, what it got, its secrets, and all that can be done to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from flask import request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import defer

from ...errors import ConfigError
from ...models import Event, Job, JobState, Listener, ListenerSecret, ListenerState
from ...protocols import standardwebhooks
from ...webhooks import replaying, rotating, shaking, switching, trying
from ...webhooks.health import disabled_at
from ...webhooks.hooks import Hook
from ...webhooks.listeners import change_listener, hears
from ...webhooks.options import options_of
from ...webhooks.recording import DELIVER, MAX_BYTES
from ...webhooks.registry import HookRegistry
from . import auditing, details, outcomes, reach
from .access import Right
from .charts import bars_of
from .hooks import change_state, delete, in_words, load
from .jobs import last_attempts
from .lists import WINDOW, Since, capped_count
from .screens import Action, Failed, Screen, Visit
from .words import N_, cut, ngettext
from .words import gettext as _

__all__ = ["SCREENS"]

_FEW: Final = 10
_MANY: Final = 50
_MOST_WAITING: Final = 1000
_MOST_TYPES: Final = 200
_SINCE: Final = Since(name="since", label=N_("Since"), condition=lambda value: Job.created_at >= value)
_OVERLAPS: Final = tuple(range(8))
SNIPPET: Final = """\
import base64, hashlib, hmac, os, time
from flask import Flask, abort, request

app = Flask(__name__)
SECRET = os.environ["WEBHOOK_SECRET"]  # whsec_...

@app.post("/webhook")
def webhook():
    said = {name: request.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")}
    signed = f"{said['id']}.{said['timestamp']}.".encode() + request.get_data()
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    right = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    given = [each.partition(",")[2] for each in said["signature"].split() if each.startswith("v1,")]
    if not any(hmac.compare_digest(right.encode(), each.encode()) for each in given):
        abort(401)
    if abs(time.time() - int(said["timestamp"])) > 300:
        abort(401)
    # the same id may come twice: remember those that you handled
    print(said["id"], request.get_json())
    return "", 204
"""
"""How an application of somebody else verifies what it gets."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """A delivery, and the event that it tells of."""

    job: Job
    type: str | None
    object_key: str | None
    attempt: Any = None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A secret, without the secret."""

    id: int
    prefix: str
    fingerprint: str
    created_at: datetime
    expires_at: datetime | None
    is_pair: bool


# --- tabs -----------------------------------------------------------------------------------------------


def _show(visit: Visit) -> ResponseReturnValue:
    return _page(visit, request.args.get("tab", "overview"))


def _page(visit: Visit, tab: str, **values: Any) -> ResponseReturnValue:
    listener: Listener = visit.obj
    tab = tab if tab in _TABS else "overview"
    label, template, read = _TABS[tab]
    return visit.render(
        template,
        listener=listener,
        tab=tab,
        tabs=[(name, _(each[0])) for name, each in _TABS.items()],
        tab_label=_(label),
        **{**read(visit), **values},
    )


def _overview(visit: Visit) -> Mapping[str, Any]:
    listener, site = visit.obj, visit.site
    stacks = outcomes.by_hour(site, site.now(), Job.listener_id == listener.id)
    good, bad = sum(stack.good for stack in stacks), sum(stack.bad for stack in stacks)
    return {
        "wanted": in_words(listener),
        "options": options_of(listener),
        "disabled_at": disabled_at(listener) if listener.state is ListenerState.failing else None,
        "bars": bars_of(stacks),
        "good": good,
        "bad": bad,
        "percent": 100 * good // (good + bad) if good + bad else None,
        "waiting": _waiting(visit),
        "most_waiting": _MOST_WAITING,
        "deliveries": _deliveries(visit, _FEW),
    }


def _waiting(visit: Visit) -> int:
    waiting = (Job.listener_id == visit.obj.id, Job.kind == DELIVER, Job.state == JobState.pending)
    return capped_count(visit.site.session, *waiting, most=_MOST_WAITING)


def _deliveries(visit: Visit, most: int) -> list[Told]:
    listener, session = visit.obj, visit.site.session
    asked = (
        sa.select(Job, Event.type, Event.object_key)
        .outerjoin(Event, Event.id == Job.event_id)
        .where(Job.listener_id == listener.id, Job.kind == DELIVER)
        .options(defer(Job.payload))
        .order_by(Job.id.desc())
        .limit(most)
    )
    rows = session.execute(asked).all()
    attempts = last_attempts(visit.site, [job.id for job, _type, _key in rows])
    return [
        Told(job=job, type=type_, object_key=key, attempt=attempts.get(job.id)) for job, type_, key in rows
    ]


def _delivered(visit: Visit) -> Mapping[str, Any]:
    return {
        "deliveries": _deliveries(visit, _MANY),
        "waiting": _waiting(visit),
        "most_waiting": _MOST_WAITING,
        "since": (visit.site.now() - timedelta(days=1)).astimezone(UTC),
        "days": replaying.RECOVERABLE.days,
    }


def _withheld(visit: Visit) -> Mapping[str, Any]:
    listener = visit.obj
    try:
        found = trying.withheld(visit.site, listener, _MANY, within=WINDOW)
    except (ConfigError, ValueError) as error:  # a pattern that needs an extra, a filter of others
        return {"withheld": [], "broken": str(error), "wanted": in_words(listener)}
    shown = {event.id for event in reach.visible(visit, [event for event, _reason in found])}
    return {
        "withheld": [(event, reason) for event, reason in found if event.id in shown],
        "broken": "",
        "wanted": in_words(listener),
    }


def _secrets(visit: Visit) -> Mapping[str, Any]:
    found: Sequence[ListenerSecret] = ()
    broken = ""
    try:
        found = rotating.secrets(visit.site, visit.obj)
    except ConfigError as error:  # nobody can read them any more
        broken = str(error)
    return {
        "secrets": [_shown(each) for each in found],
        "broken": broken,
        "overlaps": [
            (days, ngettext("%(n)s day", "%(n)s days", days) if days else _("not at all"))
            for days in _OVERLAPS
        ],
        "snippet": SNIPPET,
    }


def _shown(kept: ListenerSecret) -> Shown:
    secret = str(kept.secret)
    known = (standardwebhooks.SECRET, standardwebhooks.PRIVATE_KEY)
    return Shown(
        id=kept.id,
        prefix=next((each for each in known if secret.startswith(each)), ""),
        fingerprint=hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:12],
        created_at=kept.created_at,
        expires_at=kept.expires_at,
        is_pair=secret.startswith(standardwebhooks.PRIVATE_KEY),
    )


def _tests(visit: Visit) -> Mapping[str, Any]:
    types = _types(visit)
    type_ = cut(request.values.get("type", ""), 255) or (types[0] if types else switching.TEST_TYPE)
    return {
        "types": types,
        "type": type_,
        "sample": json.dumps(_sample(visit, type_), indent=2, ensure_ascii=False),
    }


def _types(visit: Visit) -> list[str]:
    """Return the types of events that a listener hears of."""
    hooks = visit.site.get(HookRegistry)
    known = [
        type_
        for hook in hooks.values()
        for type_ in reach.types_of(hook)
        if hears(visit.obj, hook.name, type_)
    ]
    pattern = visit.obj.hook
    return known[:_MOST_TYPES] or ([] if pattern.endswith("*") else [pattern])


def _sample(visit: Visit, type_: str) -> Any:
    """Return what the newest event of a type said; else what one could say."""
    newest = trying.recent(visit.site, visit.obj.hook, 1, Event.type == type_)
    if reach.visible(visit, newest):
        return newest[0].data
    hooks: Mapping[str, Hook] = visit.site.get(HookRegistry)
    hook = hooks.get(type_) or hooks.get(type_.rpartition(".")[0])
    return dict.fromkeys(hook.provides_args, "") if hook and hook.provides_args else {"test": True}


def _settings(visit: Visit) -> Mapping[str, Any]:
    keys = [key for hook in reach.hooks(visit, Right.manage) for key in reach.keys_of_hook(hook)]
    return {"said": details.details_of(visit.obj), "events": keys[:_MOST_TYPES]}


def _history(visit: Visit) -> Mapping[str, Any]:
    return {"history": auditing.history(visit.site, f"listener:{visit.obj.id}", most=_MANY)}


_TABS: Final[Mapping[str, tuple[str, str, Callable[[Visit], Mapping[str, Any]]]]] = {
    "overview": (N_("Overview"), "listener", _overview),
    "deliveries": (N_("Deliveries"), "listener_deliveries", _delivered),
    "withheld": (N_("Withheld"), "listener_withheld", _withheld),
    "secret": (N_("Secret"), "listener_secret", _secrets),
    "test": (N_("Test"), "listener_test", _tests),
    "settings": (N_("Settings"), "listener_settings", _settings),
    "audit": (N_("Audit"), "listener_audit", _history),
}
"""By name: the label, the template, and what that is given."""


# --- switching ------------------------------------------------------------------------------------------


def _pause(visit: Visit) -> ResponseReturnValue:
    _switch(visit, switching.pause, "pause")
    visit.say(_("The listener is paused: it gets nothing until it is resumed."))
    return visit.back()


def _resume(visit: Visit) -> ResponseReturnValue:
    _switch(visit, switching.resume, "resume")
    visit.say(
        _("The listener has its events again. What happened meanwhile can be sent now:"),
        link=url_for(".listener", id=visit.obj.id, tab="deliveries"),
        label=_("Deliveries"),
    )
    return visit.back()


def _switch(visit: Visit, do: Callable[..., None], action: str) -> None:
    try:
        change_state(visit, visit.obj, do, action)
    except ValueError as error:
        raise Failed(str(error)) from None


def _verify(visit: Visit) -> ResponseReturnValue:
    try:
        shaking.verify(visit.site, visit.obj)
    except ValueError as error:
        raise Failed(str(error)) from None
    _note(visit, "verify")
    visit.say(_("The listener is asked once more."))
    return visit.back()


def _delete(visit: Visit) -> ResponseReturnValue:
    if not request.form.get("confirm"):
        return _confirm(
            visit,
            _("Delete this listener?"),
            _("What waits for it is given up, and its secrets are forgotten. Nobody can undo that."),
            _("Delete"),
            tone="danger",
        )
    delete(visit, visit.obj)
    visit.say(_("The listener is deleted."))
    return visit.go("hooks")


def _confirm(visit: Visit, title: str, text: str, label: str, **more: Any) -> ResponseReturnValue:
    back = _("Listener %(id)s", id=visit.obj.id)
    return visit.confirm(title, text, label=label, back=back, named=[visit.obj.url], **more)


def _note(visit: Visit, action: str, **values: Any) -> None:
    auditing.note(visit.site, action, f"listener:{visit.obj.id}", **values)


# --- once more ------------------------------------------------------------------------------------------


def _recover(visit: Visit) -> ResponseReturnValue:
    def title(count: int) -> str:
        return ngettext("Send %(n)s delivery again?", "Send %(n)s deliveries again?", count)

    text = _("They were given up since then. Each is tried again from the start, under the same id.")
    return _owe(visit, "recover", replaying.recover, title, text)


def _backfill(visit: Visit) -> ResponseReturnValue:
    def title(count: int) -> str:
        return ngettext("Send %(n)s event?", "Send %(n)s events?", count)

    text = _("They happened since then, its filter takes them, and it was never owed them.")
    return _owe(visit, "backfill", replaying.backfill, title, text)


def _owe(
    visit: Visit, action: str, do: Callable[..., int], title: Callable[[int], str], text: str
) -> ResponseReturnValue:
    """Count first; owe it once that is confirmed."""
    listener, since = visit.obj, _since(visit)
    is_confirmed = bool(request.form.get("confirm"))
    try:
        count = do(visit.site, listener, since, dry_run=not is_confirmed)
    except (ValueError, ConfigError) as error:
        raise Failed(str(error)) from None
    if not count:
        raise Failed(_("There is nothing of the kind since then."))
    if not is_confirmed:
        values = {"since": [since.isoformat()]}
        return _confirm(visit, title(count), text, _("Send"), values=values)
    _note(visit, action, after={"count": count, "since": since.isoformat()})
    visit.say(
        ngettext("%(n)s delivery is queued.", "%(n)s deliveries are queued.", count),
        link=url_for(".deliveries", listener=listener.id),
        label=_("See them"),
    )
    return visit.back()


def _since(visit: Visit) -> datetime:
    since: datetime | None = _SINCE.parse(request.form.get("since", ""))
    if since is None:
        raise Failed(_("Say since when, in UTC."))
    if since < visit.site.now() - replaying.RECOVERABLE:
        raise Failed(_("What is older than %(n)s days is not sent from here.", n=replaying.RECOVERABLE.days))
    return since


def _cancel(visit: Visit) -> ResponseReturnValue:
    if not request.form.get("confirm"):
        waiting = _waiting(visit)
        if not waiting:
            raise Failed(_("Nothing waits for this listener."))
        many = waiting == _MOST_WAITING
        title = ngettext("Cancel %(n)s delivery?", "Cancel %(n)s deliveries?", waiting)
        title = _("Cancel more than %(n)s deliveries?", n=waiting) if many else title
        text = _("They are given up. Those under way are not held back.")
        return _confirm(visit, title, text, _("Cancel them"), tone="danger")
    count = replaying.cancel(visit.site, visit.obj)
    _note(visit, "cancel", after={"count": count})
    visit.say(ngettext("%(n)s delivery is cancelled.", "%(n)s deliveries are cancelled.", count))
    return visit.back()


# --- secrets --------------------------------------------------------------------------------------------


def _rotate(visit: Visit) -> ResponseReturnValue:
    said, secret = request.form.get("days", ""), request.form.get("secret", "").strip()
    if said not in map(str, _OVERLAPS):
        raise Failed(_("Choose for how long the old secret is valid."))
    days = int(said)
    try:
        new = rotating.rotate_secret(visit.site, visit.obj, days * 86_400, secret or None)
    except (ValueError, ConfigError) as error:
        raise Failed(str(error)) from None
    _note(visit, "rotate", after={"overlap_days": days})
    return _page(visit, "secret", secret=new, is_new=True)


def _reveal(visit: Visit) -> ResponseReturnValue:
    wanted = request.form.get("secret_id", "")
    for each in rotating.secrets(visit.site, visit.obj):
        if str(each.id) == wanted:
            _note(visit, "reveal", after={"fingerprint": _shown(each).fingerprint})
            return _page(visit, "secret", secret=str(each.secret), is_new=False)
    raise Failed(_("There is no such secret any more."))


# --- a test ---------------------------------------------------------------------------------------------


def _test(visit: Visit) -> ResponseReturnValue:
    listener: Listener = visit.obj
    said = request.form.get("sample", "")
    type_ = cut(request.form.get("type", ""), 255) or switching.TEST_TYPE
    try:
        data = _json(said)
    except ValueError as error:
        return _page(visit, "test", sample=said, type=type_, error=str(error))
    if type_ != switching.TEST_TYPE and not hears(listener, type_.rpartition(".")[0], type_):
        raise Failed(_("It does not listen to events of this type."))
    if listener.state in (ListenerState.paused, ListenerState.disabled) and not visit.may("manage", listener):
        raise Failed(
            _("A test that passes lets it have its events again: that takes the right to manage it.")
        )
    _note(visit, "test", after={"type": type_})
    try:
        # it commits, with the note, before anything is sent
        tested = switching.send_test(visit.site, listener, data, type_)
    except ValueError as error:
        raise Failed(str(error)) from None
    visit.site.session.refresh(listener)
    return _page(visit, "test", sample=said, type=type_, tested=tested)


def _json(said: str) -> Any:
    if len(said) > MAX_BYTES:
        raise ValueError(_("An event has %(n)s bytes at most.", n=MAX_BYTES))
    try:
        data = json.loads(said)
    except RecursionError:
        raise ValueError(_("This is nested too deeply.")) from None
    except ValueError as error:
        raise ValueError(_("This is no JSON: %(error)s", error=error)) from None
    if data is None:  # which stands for the newest event, whoever may see that
        raise ValueError(_("An event says something: give an object."))
    return data


# --- settings -------------------------------------------------------------------------------------------


def _edit(visit: Visit) -> ResponseReturnValue:
    listener: Listener = visit.obj
    said = details.read(request.form, listener)
    wanted = said.get("events")
    if wanted != listener.hook and not said.errors and not reach.may_ask_for(visit, wanted):
        said.errors["events"] = _("Choose events of a hook that you may listen to.")
    if said.errors:
        return _page(visit, "settings", said=said)
    before = _facts(listener)
    old, _why_not = details.known_headers(listener)
    change_listener(
        visit.site,
        listener,
        hook=wanted,
        url=said.get("url"),
        headers=said.headers,
        options=said.options,
    )
    after = _facts(listener)
    changed = {name for name in after if after[name] != before[name]}
    if old != said.headers:
        changed.add("headers")
    if changed:
        named = sorted(changed)
        _note(
            visit,
            "edit",
            before={name: before[name] for name in named},
            after={name: after[name] for name in named},
        )
    visit.say(_("The settings are saved."))
    return visit.back()


def _facts(listener: Listener) -> dict[str, Any]:
    """What the audit tells of settings: of headers their names alone."""
    return {
        "url": listener.url,
        "events": listener.hook,
        "headers": sorted(details.known_headers(listener)[0]),
        "options": listener.options,
    }


SCREENS: Final = (
    Screen(
        name="listener",
        rule="/listeners/<int:id>",
        show=_show,
        load=load,
        actions={
            "pause": Action(right=Right.manage, run=_pause),
            "resume": Action(right=Right.manage, run=_resume),
            "verify": Action(right=Right.manage, run=_verify),
            "delete": Action(right=Right.manage, run=_delete),
            "edit": Action(right=Right.manage, run=_edit),
            "rotate": Action(right=Right.manage, run=_rotate),
            "cancel": Action(right=Right.manage, run=_cancel),
            "reveal": Action(right=Right.reveal, run=_reveal),
            "recover": Action(right=Right.resend, run=_recover),
            "backfill": Action(right=Right.resend, run=_backfill),
            "test": Action(right=Right.resend, run=_test),
        },
        for_owners=True,
        owned=reach.listeners,
    ),
)
