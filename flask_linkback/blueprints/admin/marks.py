"""Marks: times and states as pages show them. No macros: a list has hundreds, and a macro takes its time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from markupsafe import Markup, escape

from .words import N_, Words, stamp

__all__ = ["Marks"]

# as they are said: some have "_" for the space
_SAID: Final = {
    "good": (
        *(N_("active"), N_("approved"), N_("delivered"), N_("done"), N_("handled"), N_("published")),
        *(N_("sent"), N_("verified")),
    ),
    "wait": (
        *(N_("discovering"), N_("failing"), N_("pending"), N_("received"), N_("requested"), N_("running")),
        *(N_("silent"), N_("unsubscribing"), N_("unverified"), N_("waiting")),
    ),
    "bad": (
        *(N_("dead"), N_("denied"), N_("disabled"), N_("expired"), N_("failed"), N_("given up")),
        *(N_("refused"), N_("spam")),
    ),
    "idle": (
        *(N_("cancelled"), N_("ended"), N_("gone"), N_("over"), N_("paused"), N_("rejected")),
        *(N_("unsubscribed"), N_("unsupported")),
    ),
}
_TONES: Final = {said.replace(" ", "_"): tone for tone, several in _SAID.items() for said in several}


class Marks:
    """The marks of one page."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def when(self, at: datetime | None, empty: str = "–") -> Markup:  # noqa: RUF001
        """Return how long ago something was; the exact time is its title."""
        if at is None:
            return Markup(f'<span class="soft">{escape(empty)}</span>')  # noqa: S704  escaped
        said = escape(self._words.ago(at))
        return Markup(f'<time datetime="{at.isoformat()}" title="{stamp(at)}">{said}</time>')  # noqa: S704

    def tick(self, id: int, label: str) -> Markup:  # noqa: A002  as a row has it
        """Return the cell with the box that ticks a row."""
        box = f'<input type="checkbox" name="id" value="{id}" aria-label="{escape(label)}">'
        return Markup(f'<td class="tick">{box}</td>')  # noqa: S704  escaped

    def tag(self, state: Any, label: str | None = None, tone: str | None = None) -> Markup:
        """Return a state as a word with a colour; states are ours, labels may be anybody's."""
        name = str(getattr(state, "value", state))
        said = escape(label or self._words.gettext(name.replace("_", " ")))
        return Markup(f'<span class="tag {escape(tone or _TONES.get(name, "idle"))}">{said}</span>')  # noqa: S704
