"""Admin: who may come into Flask-Linkback's admin. Whoever knows BLOG_ADMIN_PASSWORD; without one, nobody.

    FLASK_BLOG_ADMIN_PASSWORD=... flask --app example run

A site with users asks these instead: docs/howto/admin.rst has recipes.
"""

from __future__ import annotations

import hmac
from typing import Any

from flask import Flask, Response, current_app, request

from .linkbacks import linkback

__all__ = ["open_admin"]


def open_admin(app: Flask) -> None:
    """Let an application ask for the password before it shows the admin."""
    app.before_request(ask_for_the_password)
    app.context_processor(lambda: {"has_admin": has_admin()})


def has_admin() -> bool:
    """Is there an admin, which takes the extra ``[admin]``, and a password for it?"""
    return "linkback_admin" in current_app.blueprints and bool(current_app.config["BLOG_ADMIN_PASSWORD"])


def ask_for_the_password() -> Response | None:
    if "linkback_admin" in request.blueprints and has_admin() and not knows_the_password():
        return Response("A password, please.", 401, {"WWW-Authenticate": 'Basic realm="admin"'})
    return None


def knows_the_password() -> bool:
    given, wanted = request.authorization, current_app.config["BLOG_ADMIN_PASSWORD"]
    if not wanted or given is None or given.type != "basic":
        return False
    return hmac.compare_digest((given.password or "").encode(), str(wanted).encode())


@linkback.admin_access
def may(action: str, obj: Any) -> bool:
    return knows_the_password()


@linkback.admin_identity
def who() -> str | None:
    return request.authorization.username if request.authorization else None
