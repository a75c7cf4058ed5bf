"""Screens: the frame of every page of the admin: who may come in, what is done there, and how it is shown."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import sqlalchemy as sa
from flask import (
    Blueprint,
    Response,
    abort,
    g,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from ...errors import ConfigError, LinkbackError, MissingExtra
from ...models import Base
from ...site import Site, current_site
from . import words
from .access import Access, Grant, Right
from .lists import whole_number
from .marks import Marks
from .words import gettext as _

__all__ = ["Action", "Failed", "Place", "Screen", "Visit", "add_screens"]

M = TypeVar("M", bound=Base)
Show = Callable[["Visit"], ResponseReturnValue]

MOST_CHOSEN: Final = 200
"""How many rows one click changes."""
_NOTES: Final = "_linkback_notes"
_MOST_NOTES: Final = 5
_LONGEST_NOTE: Final = 300
_MOST_KEPT: Final = 2400
"""Characters of JSON, in which one that is not ASCII has six or twelve."""
_MOST_BYTES: Final = 1024 * 1024
"""Of a form: the largest holds an event as JSON."""
_TOKEN: Final = "csrf_token"  # noqa: S105  the name of a field
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
logger = logging.getLogger("flask_linkback.admin")


class Failed(LinkbackError):
    """What was asked for cannot be done; the message says why, to the person who asked."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """What a form on a screen does: the right that it takes, and the function that does it."""

    right: Right
    run: Show


@dataclass(frozen=True, kw_only=True)
class Screen:
    """A page: ``show`` answers GET, and POST by the function that the form's field ``action`` names.

    ``load`` returns what the id in the rule names, within what the visitor may see, or None.
    """

    name: str
    rule: str
    show: Show
    load: Callable[[Visit, int], Any] | None = None
    actions: Mapping[str, Action] = field(default_factory=dict)
    for_owners: bool = False
    """Whether somebody who sees one owner's things alone sees this at all."""
    owned: Callable[[Visit], Sequence[Any]] | None = None
    """Returns the condition that a row of it is the visitor's; without one, an owner has no rows here."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A screen in the navigation, with how many things wait there."""

    screen: str
    label: str
    count: sa.ScalarSelect[int] | None = None
    """The number, 100 at most, as a part of the one statement that counts for all places."""
    screens: Sequence[str] = ()
    """The screens below it."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """All screens by their name, and the navigation: groups of places under a title."""

    screens: Mapping[str, Screen]
    places: Sequence[tuple[str, Sequence[Place]]]
    waiting: sa.Select[Any]
    """Counts what waits at each place that counts: made once, since every page asks."""


@dataclass
class Visit:
    """Somebody at a screen."""

    site: Site
    room: Room
    screen: Screen
    grant: Grant
    obj: Any = None
    is_broken: bool = False
    """Did the application's function raise? What was done in this request is undone then."""

    @property
    def owner(self) -> str | None:
        """Whose things alone are shown; None for everybody's."""
        return self.grant.owner

    @property
    def screens(self) -> frozenset[str]:
        """The screens that this visitor may go to."""
        is_for = (screen for screen in self.room.screens.values() if self.owner is None or screen.for_owners)
        return frozenset(screen.name for screen in is_for)

    def may(self, right: str, obj: Any = None) -> bool:
        """Has the visitor a right to an object, or at all?"""
        try:
            grant = self.site.get(Access).asked(self.site, Right(right), obj)
        except Exception:  # whatever the application's function raises
            self.is_broken = True
            return False
        if grant is None or (grant.owner is not None and not self.screen.for_owners):
            return False
        return self.owner is None or grant.owner in (None, self.owner)

    def waiting(self) -> Mapping[str, int]:
        """Return how many things wait at each place that counts them; nothing is told of owners."""
        if self.owner is not None:
            return {}
        return dict(self.site.session.execute(self.room.waiting).mappings().one())

    def load(self, model: type[M], id_: int, *conditions: Any, options: Sequence[Any] = ()) -> M | None:
        """Return a row, of those that the visitor may know of."""
        asked = sa.select(model).where(model.id == id_, *conditions, *self._owned()).options(*options)
        return self.site.session.scalar(asked)

    def _owned(self) -> Sequence[Any]:
        """The condition that a row of this screen's is the visitor's."""
        if self.owner is None:
            return ()
        return (sa.false(),) if self.screen.owned is None else self.screen.owned(self)

    def chosen(self, model: type[M], right: Right, *conditions: Any) -> Sequence[M]:
        """Return the rows that were ticked, each of which the visitor may do this to; 403 where not."""
        said = map(whole_number, request.form.getlist("id")[:MOST_CHOSEN])
        ids = [each for each in said if each is not None]
        these = sa.select(model).where(model.id.in_(ids), *conditions, *self._owned())
        asked = these.order_by(model.id.desc())
        found = self.site.session.scalars(asked).all()
        if not found:
            raise Failed(_("Tick the rows first."))
        for each in found:
            if not self.may(right, each):
                abort(403)
        return found

    def say(self, message: str, *, level: str = "good", link: str = "", label: str = "") -> None:
        """Show a note on the next page: ``level`` is "good" or "bad", ``link`` a page of ours."""
        note = {"text": message[:_LONGEST_NOTE], "level": level, "link": link, "label": label}
        notes = [*session.get(_NOTES, ()), note][-_MOST_NOTES:]
        while len(json.dumps(notes)) > _MOST_KEPT:  # in a cookie, beside what the application has there
            notes = notes[1:]
        session[_NOTES] = notes

    def go(self, screen: str, **values: Any) -> Response:
        """Send the browser on to a screen."""
        return _answer(redirect(url_for(f".{screen}", **values), 303))

    def back(self) -> Response:
        """Send the browser back to where it was, with all that is in its query."""
        return _answer(redirect(here(), 303))

    def render(self, template: str, **values: Any) -> str:
        """Return a page; its notes are shown once."""
        notes = session.pop(_NOTES, ()) if _NOTES in session else ()
        return render_template(
            f"linkback/admin/{template}.html",
            visit=self,
            notes=notes,
            places=self.room.places,
            **_tools(),
            **values,
        )

    def confirm(
        self,
        title: str,
        text: str = "",
        *,
        label: str,
        back: str,
        named: Sequence[str] = (),
        values: Mapping[str, Sequence[Any]] | None = None,
        tone: str = "do",
        template: str = "confirm",
        **more: Any,
    ) -> str:
        """Return a page that asks whether to do what a form asked for: it sends that again with "confirm".

        ``label`` is on its button, ``back`` is what the page is called that it leads back to, ``named`` are
        the URLs of what it is about, and ``values`` what the form says besides.
        """
        return self.render(
            template,
            title=title,
            text=text,
            label=label,
            back=back,
            named=named,
            values=values or {},
            action=request.form["action"],
            tone=tone,
            **more,
        )


def _answer(response: Any) -> Response:
    return make_response(response)


# --- what templates can say ----------------------------------------------------------------------------


def here(**changes: Any) -> str:
    """Return the URL of this page with some of its query changed; None takes a part away."""
    args: dict[str, Any] = {name: request.args.getlist(name) for name in request.args}
    args.update(changes)
    said = [(name, value) for name, value in args.items() if value is not None and value != ""]
    query = urlencode(said, doseq=True)
    # not by url_for: what somebody else wrote into the query may look like one of its own arguments
    path = url_for(request.endpoint or "", **(request.view_args or {}))
    return f"{path}?{query}" if query else path


def is_at(place: Place) -> bool:
    name = (request.endpoint or "").rpartition(".")[2]
    return name == place.screen or name in place.screens


def csrf_token() -> str:
    """Return the token that every form carries; raises `ConfigError` without a SECRET_KEY."""
    from flask_wtf.csrf import generate_csrf

    try:
        return str(generate_csrf(token_key=_TOKEN))
    except RuntimeError:
        raise ConfigError("The admin needs Flask's SECRET_KEY: by it forms know who sent them.") from None


class _Urls:
    """Flask's `url_for` for one page: fifty rows lead to the same screen, each by its id."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}

    def __call__(self, endpoint: str, **values: Any) -> str:
        id_ = values.get("id")
        if len(values) != 1 or not isinstance(id_, int):
            return url_for(endpoint, **values)
        if endpoint not in self._known:
            before, _, after = url_for(endpoint, id=_MARK).partition(str(_MARK))
            self._known[endpoint] = (before, after)
        before, after = self._known[endpoint]
        return f"{before}{id_}{after}"


_MARK: Final = 987_654_321_987_654_321
"""An id that nothing has."""


def _tools() -> dict[str, Any]:
    said = words.words()
    marks = Marks(said)
    return {
        "_": said.gettext,
        "ago": said.ago,
        "csrf_token": csrf_token,
        "cut": words.cut,
        "here": here,
        "is_at": is_at,
        "ngettext": said.ngettext,
        "number": words.number,
        "path_of": words.path_of,
        "plain": words.plain,
        "pretty": words.pretty,
        "size": words.size,
        "span": said.span,
        "stamp": words.stamp,
        "tag": marks.tag,
        "tick": marks.tick,
        "url_for": _Urls(),
        "when": marks.when,
    }


# --- the frame -----------------------------------------------------------------------------------------


def add_screens(
    blueprint: Blueprint, screens: Iterable[Screen], places: Iterable[tuple[str, Sequence[Place]]]
) -> None:
    """Put screens behind the guard of a blueprint; nothing else of it can be reached."""
    all_places = tuple(places)
    flat = [place for _, group in all_places for place in group]
    counts: list[Any] = [place.count.label(place.screen) for place in flat if place.count is not None]
    room = Room(
        screens={screen.name: screen for screen in screens},
        places=all_places,
        waiting=sa.select(*counts),
    )
    blueprint.before_request(functools.partial(_guard, room))
    blueprint.after_request(_seal)
    for screen in room.screens.values():
        blueprint.add_url_rule(
            screen.rule, screen.name, functools.partial(_serve, screen), methods=("GET", "POST")
        )


def _guard(room: Room) -> None:
    """Let nobody further than to what they may see or do. A view that forgets to ask cannot be."""
    site = current_site()
    screen = room.screens.get((request.endpoint or "").rpartition(".")[2])
    if screen is None or not site.get(Access).is_open:
        site.get(Access).tell()
        abort(403)
    # a form is read before it is known who sends it
    request.max_content_length = min(request.max_content_length or _MOST_BYTES, _MOST_BYTES)
    request.max_form_memory_size = _MOST_BYTES
    action = screen.actions.get(request.form.get("action", "")) if request.method == "POST" else None
    right = Right.manage if request.method == "POST" else Right.view
    if action is not None:
        right = action.right
    g.linkback_visit = _enter(site, room, screen, right)
    if request.method == "POST":
        _check_token(site)
        if action is None:
            abort(400)


def _enter(site: Site, room: Room, screen: Screen, right: Right) -> Visit:
    """Return the visit of somebody who may have it: 403 who may not, 404 for what is not there for them."""
    visit = Visit(site=site, room=room, screen=screen, grant=Grant())
    id_ = (request.view_args or {}).get("id")
    if screen.load is not None and id_ is not None and id_ < 2**63:
        visit.obj = screen.load(visit, id_)
    # who is answered a form sees a page, too
    grant = _granted(site, (right, Right.view), visit.obj)
    if grant is None or (grant.owner is not None and not screen.for_owners):
        abort(403)
    visit.grant = grant
    if grant.owner is not None and visit.obj is not None and screen.load is not None:
        visit.obj = screen.load(visit, visit.obj.id)
    if screen.load is not None and visit.obj is None:
        abort(404)
    return visit


def _granted(site: Site, rights: Iterable[Right], obj: Any) -> Grant | None:
    """Return what somebody has several rights for; None for nothing, and where they are of two owners."""
    owners: set[str] = set()
    for right in dict.fromkeys(rights):
        grant = site.get(Access).ask(site, right, obj)
        if grant is None:
            return None
        owners |= set() if grant.owner is None else {grant.owner}
    return None if len(owners) > 1 else Grant(owner=next(iter(owners), None))


def _serve(screen: Screen, **_args: Any) -> ResponseReturnValue:
    """Answer somebody whom the guard let in."""
    visit: Visit = g.linkback_visit
    if request.method != "POST":
        return screen.show(visit)
    session = visit.site.session
    try:
        answer = screen.actions[request.form["action"]].run(visit)
        if visit.is_broken:
            abort(403)
        session.commit()
    except (Failed, ConfigError) as error:
        session.rollback()
        visit.say(str(error), level="bad")
        return visit.back()
    except HTTPException:
        session.rollback()
        raise
    return answer


def _check_token(site: Site) -> None:
    """Refuse a form that is not ours, whether the application has a CSRFProtect or not."""
    from flask_wtf.csrf import validate_csrf
    from wtforms import ValidationError

    if site.settings.free_forms:
        return
    try:
        validate_csrf(request.form.get(_TOKEN), token_key=_TOKEN)
    except ValidationError as error:
        logger.info(
            "Refused a form of the admin.", extra={"reason": str(error), "caller": request.remote_addr}
        )
        abort(
            400, _("The form is too old, or not from here. Go back, load the page again, and send it again.")
        )


def _seal(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.vary.add("Cookie")
    return response


def check_extra() -> None:
    """Raise `MissingExtra` where the admin's libraries are not there."""
    try:
        import flask_wtf  # noqa: F401
    except ImportError:
        raise MissingExtra("The admin", "admin") from None
