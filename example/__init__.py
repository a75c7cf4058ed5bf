"""A small blog that is part of the web around it.

    flask --app example run
    flask --app example post --title "Hello" --html "<p>Hello, world.</p>"

Elsewhere than at 127.0.0.1:5000, say where: ``FLASK_LINKBACK_BASE_URL=https://blog.example``.

Read `linkbacks.py` first: it is all that Flask-Linkback needs to know. Then `models.py`, `blog.py`
(what everybody sees), `feeds.py` (what readers fetch), `desk.py` (what the author sees) and `admin.py`
(who sees all that goes in and out). `demo.py` lets two of these blogs talk.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, render_template
from werkzeug.exceptions import HTTPException

from flask_linkback import signals
from flask_linkback.protocols.standardwebhooks import new_secret

from .admin import open_admin
from .blog import blog
from .commands import post_command
from .desk import desk
from .feeds import feeds
from .linkbacks import linkback, take_entries
from .models import db

__all__ = ["create_app"]


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the blog; settings come from here, then the environment (``FLASK_...``), then ``config``."""
    app = Flask(__name__)
    app.config.from_mapping(
        # good for one process; several that share their sessions need one FLASK_SECRET_KEY
        SECRET_KEY=secrets.token_hex(),
        SESSION_COOKIE_SAMESITE="Lax",
        SQLALCHEMY_DATABASE_URI="sqlite:///blog.db",  # in the instance folder
        LINKBACK_BASE_URL="http://127.0.0.1:5000",  # where the web finds this blog
        LINKBACK_SITE_NAME="Low Tide",
        BLOG_WEBHOOK_SECRET=new_secret(),  # who knows it may send us webhooks
        BLOG_ADMIN_PASSWORD="",  # who knows it comes into the admin; without one it is closed
        BLOG_TONE="tide",  # or "lamp": the colours
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})

    db.init_app(app)
    linkback.init_app(app)
    signals.updated.connect(take_entries, app)
    app.register_blueprint(blog)
    app.register_blueprint(feeds)
    app.register_blueprint(desk)
    open_admin(app)
    app.cli.add_command(post_command)
    app.after_request(protect)
    for code in (400, 403, 404):
        app.register_error_handler(code, show_error)

    # enough for an example; an application that grows uses Flask-Migrate
    with app.app_context():
        db.create_all()
    return app


def protect(response: Response) -> Response:
    """Let a page load nothing but its own files, and pictures."""
    response.headers.setdefault(
        "Content-Security-Policy",
        "default-src 'self'; img-src * data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    )
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def show_error(error: HTTPException) -> tuple[str, int]:
    return render_template("error.html", error=error), error.code or 500
