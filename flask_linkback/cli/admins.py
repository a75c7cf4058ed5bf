"""Admin: the doctor's look at who comes in, and by which cookies."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..blueprints.admin import NAME, Access
from .doctor import Case, Finding, Mark, check

__all__ = ["admin"]


@check("admin")
def admin(case: Case) -> Finding:
    """Is the admin there, closed or open, and safe to use?"""
    site, app = case.site, case.site.app
    if NAME not in app.blueprints:
        return Finding(
            mark=Mark.note,
            what="The admin is not mounted.",
            advice="Should there be one: pip install 'flask-linkback[admin]'.",
        )
    if not site.get(Access).is_open:
        return Finding(
            mark=Mark.note,
            what="The admin is closed.",
            advice="To open it, let a function that @linkback.admin_access decorates say who may come in.",
        )
    if not app.secret_key:
        return Finding(
            mark=Mark.failure,
            what="The admin's forms need Flask's SECRET_KEY, which is not set.",
            advice="Set SECRET_KEY, to something long and random.",
        )
    lacking = _lacking(case)
    if lacking:
        return Finding(
            mark=Mark.warning,
            what="The admin is guarded by @linkback.admin_access; the session's cookie could be better kept.",
            advice=f"Set {', '.join(lacking)}.",
        )
    return Finding(mark=Mark.ok, what="The admin is guarded by @linkback.admin_access.")


def _lacking(case: Case) -> list[str]:
    """Return the settings that keep the cookie from others, as far as they are not set."""
    app = case.site.app
    cookies, base = app.session_interface, case.site.settings.site.base_url
    lacking = []
    if not cookies.get_cookie_secure(app) and base is not None and urlsplit(base).scheme == "https":
        lacking.append("SESSION_COOKIE_SECURE = True")
    if not cookies.get_cookie_httponly(app):
        lacking.append("SESSION_COOKIE_HTTPONLY = True")
    if (cookies.get_cookie_samesite(app) or "").lower() not in ("lax", "strict"):
        lacking.append('SESSION_COOKIE_SAMESITE = "Lax"')
    return lacking
