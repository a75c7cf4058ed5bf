"""Creating: a listener in two steps, as in durian: which event, then who listens to it and to what of it."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from typing import Any, Final

from flask import abort, request, session
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from ...fetch import check_url, public_address
from ...models import Listener
from ...webhooks import match, rotating
from ...webhooks.hooks import Hook
from ...webhooks.registry import HookRegistry
from . import auditing, details, reach
from .access import Right
from .details import Details
from .hooks import in_words, name_of
from .screens import Action, Screen, Visit
from .words import cut
from .words import gettext as _

__all__ = ["SCREENS"]

_MADE: Final = "linkback_made"
"""Where the session keeps which forms made a listener: a page that is loaded again makes no second one."""
_MOST_MADE: Final = 5
_LONGEST_ONCE: Final = 32
_HIDDEN: Final = ("HiddenField", "CSRFTokenField", "SubmitField")


def _select(visit: Visit) -> ResponseReturnValue:
    from ...webhooks.forms import create_select_hook_form

    form = create_select_hook_form(visit.site.get(HookRegistry))
    names = {hook.name for hook in reach.hooks(visit, Right.manage)}
    form.type.choices = [choice for choice in form.type.choices if choice.value in names]
    return visit.render("listener_select", form=form, hooks=len(names))


def _hook(visit: Visit) -> Hook:
    hook = visit.site.get(HookRegistry).get(request.args["type"])
    if hook is None:
        abort(404)
    if not visit.may(Right.manage if request.method == "POST" else Right.view, hook):
        abort(403)
    return hook


def _keys(visit: Visit, hook: Hook) -> list[str]:
    """Return the names and patterns of a hook by which the visitor may ask for its events."""
    return [key for key in reach.keys_of_hook(hook) if reach.may_ask_for(visit, key)]


def _show(visit: Visit) -> ResponseReturnValue:
    if not request.args.get("type"):
        return visit.go("listener_select")
    hook = _hook(visit)
    return _page(visit, hook, _config_form(hook, None), hook.get_match_forms(), details.fallback())


def _page(
    visit: Visit, hook: Hook, config: Any, matching: Sequence[Any], said: Details
) -> ResponseReturnValue:
    return visit.render(
        "listener_create",
        once=request.form.get("once", "")[:_LONGEST_ONCE] or secrets.token_urlsafe(12),
        title=_("Create %(name)s Listener", name=name_of(visit.site, hook)),
        hook=hook,
        fields=[each for each in config if each.type not in _HIDDEN],
        matching=[(form, form.condition_for) for form in matching],
        said=said,
        events=_keys(visit, hook),
    )


def _config_form(hook: Hook, filled_in: Any) -> Any:
    """Return a hook's form; the admin has a token of its own, whether this would have one or not."""
    return hook.config_form(filled_in, meta={"csrf": False})


def _create(visit: Visit) -> ResponseReturnValue:
    if not request.args.get("type"):
        return visit.go("listener_select")
    hook = _hook(visit)
    once = request.form.get("once", "")[:_LONGEST_ONCE]
    if once and once in session.get(_MADE, ()):
        visit.say(_("This listener was made already, and its secret shown then."))
        return visit.go("hooks")
    # no database takes NUL
    filled_in = MultiDict((name, value.replace("\0", "")) for name, value in request.form.items(multi=True))
    config, matching = _config_form(hook, filled_in), hook.get_match_forms(formdata=filled_in)
    said = details.read(filled_in)
    if said.get("events") not in _keys(visit, hook):
        said.errors["events"] = _("Choose the events.")
    is_right = all([config.validate(), *(each.validate() for each in matching)])
    listener = None
    if is_right and not said.errors:
        wanted = match.mtuplelist_to_matchdict(each.field_to_mtuple() for each in matching)
        listener = said.check(
            "form",
            lambda: hook.add_listener_by_form(
                config,
                wanted,
                event=said.get("events"),
                secret=said.get("secret") or None,
                owner=visit.owner if visit.owner is not None else (cut(said.get("owner"), 255) or None),
                headers=said.headers,
                options=said.options,
                handshake=bool(said.get("handshake")),
            ),
        )
    if listener is None:
        visit.site.session.rollback()
        if said.get("secret"):
            said.errors.setdefault("secret", _("Type it again: a page does not say it back."))
        return _page(visit, hook, config, matching, said)
    if once:
        session[_MADE] = [*session.get(_MADE, ()), once][-_MOST_MADE:]
    return _created(visit, listener)


def _created(visit: Visit, listener: Listener) -> ResponseReturnValue:
    """Show a listener that was made, and its secret, this once."""
    after = {
        "hook": listener.hook,
        "url": listener.url,
        "filter": in_words(listener),
        "owner": listener.owner,
    }
    auditing.note(visit.site, "create", f"listener:{listener.id}", after=after)
    secret = rotating.secrets(visit.site, listener)[0].secret
    return visit.render(
        "listener_created",
        listener=listener,
        secret=secret,
        wanted=in_words(listener),
        is_out_of_reach=_is_out_of_reach(visit, listener),
    )


def _is_out_of_reach(visit: Visit, listener: Listener) -> bool:
    """Is its host an address to which nothing is sent? A name is looked up when something is."""
    host = check_url(listener.url).host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return not public_address(host, visit.site.settings.fetch.allow_networks.get("", ()))


SCREENS: Final = (
    Screen(name="listener_select", rule="/listeners/select", show=_select, for_owners=True),
    Screen(
        name="listener_create",
        rule="/listeners/create",
        show=_show,
        actions={"create": Action(right=Right.manage, run=_create)},
        for_owners=True,
    ),
)
