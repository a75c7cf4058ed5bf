"""Pages: what is answered for a page of ours that is gone or moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, urlsplit

from flask import redirect, render_template, request
from flask.typing import ResponseReturnValue

from ..linkbacks.pages import absence_of
from ..site import Site

__all__ = ["answer_for_absent"]

_NOT_QUOTED: Final = "!$&'()*+,/:;=@~"
"""What ``url_for`` leaves as it is in a path."""


def answer_for_absent(site: Site) -> ResponseReturnValue | None:
    """Answer 410 for a page that is gone, 301 for one that moved, and leave others to the application."""
    if request.method not in ("GET", "HEAD") or site.settings.site.base_url is None or _is_no_page():
        return None
    absence = absence_of(site, _spellings(site))
    if absence is None:
        return None
    if absence.moved_to is not None:
        return redirect(absence.moved_to, 301)
    return render_template("linkback/gone.html"), 410


def _is_no_page() -> bool:
    return request.endpoint == "static" or (request.blueprint or "").startswith("linkback")


def _spellings(site: Site) -> Iterator[str]:
    """The public URL that is asked for: with its query first, and as ``url_for`` spells it."""
    base = urlsplit(site.base_url)
    origin = f"{base.scheme}://{request.host if site.routes_by_host else base.netloc}{base.path}"
    paths = list(dict.fromkeys((quote(request.path, safe=_NOT_QUOTED), request.path)))
    query = request.query_string.decode("latin-1")
    if query:
        yield from (f"{origin}{path}?{query}" for path in paths)
    yield from (f"{origin}{path}" for path in paths)
