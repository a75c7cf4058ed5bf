"""Marks: times and states as pages show them. No macros: a list has hundreds, and a macro takes its time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from markupsafe import Markup, escape

from .words import Words, stamp

__all__ = ["Marks"]

_TONES: Final = {
    "good": "active approved delivered done handled published sent verified",
    "wait": "discovering failing pending received requested running unsubscribing unverified waiting",
    "bad": "dead denied disabled expired failed given_up refused spam",
}
TONES: Final = {state: tone for tone, states in _TONES.items() for state in states.split()}


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

    def tag(self, state: Any, label: str | None = None, tone: str | None = None) -> Markup:
        """Return a state as a word with a colour; states are ours, labels may be anybody's."""
        name = str(getattr(state, "value", state))
        said = escape(label or self._words.gettext(name.replace("_", " ")))
        return Markup(f'<span class="tag {escape(tone or TONES.get(name, "idle"))}">{said}</span>')  # noqa: S704
