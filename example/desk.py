"""Desk: where the author writes, and decides which mentions are shown.

There is no login in this example. Instead the desk answers only to the computer that the blog runs
on. Behind a reverse proxy every visitor seems to come from there: put a login here first.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from sqlalchemy import func, select
from werkzeug.wrappers import Response

from flask_linkback.models import Mention, MentionState, MentionStatus

from .linkbacks import linkback
from .models import Post, db, slugify

__all__ = ["desk"]

desk = Blueprint("desk", __name__, url_prefix="/desk")


# --- writing -----------------------------------------------------------------------------------------


FIELDS = ("title", "slug", "html", "in_reply_to", "like_of")


@desk.route("/write", methods=["GET", "POST"])
@desk.route("/write/<slug>", methods=["GET", "POST"])
def write(slug: str | None = None) -> Response | str | tuple[str, int]:
    """Write a post; with a slug, edit the one that is there. An address, once given, stays."""
    post = None if slug is None else Post.at(slug) or abort(404)
    if request.method == "GET":
        return render_template("desk/write.html", post=post, draft=post, error=None)
    draft = {name: request.form.get(name, "") for name in FIELDS}
    if post is not None:
        draft["slug"] = post.slug
    try:
        if post is None and Post.at(slugify(draft["slug"] or draft["title"])):
            raise ValueError("There is a post with this slug already: choose another, or edit that one.")
        written = Post.write(**draft)
    except ValueError as error:
        return render_template("desk/write.html", post=post, draft=draft, error=error), 422
    db.session.commit()
    flash("Published. The pages that it links to are being told.")
    return redirect(url_for("blog.show", slug=written.slug), 303)


@desk.route("/delete/<slug>", methods=["POST"])
def delete(slug: str) -> Response:
    """Delete a post."""
    db.session.delete(Post.at(slug) or abort(404))
    db.session.commit()
    flash("Deleted.")
    return redirect(url_for("blog.index"), 303)


# --- deciding ----------------------------------------------------------------------------------------


WAITING = (Mention.state == MentionState.verified, Mention.status == MentionStatus.pending)


@desk.route("/mentions")
def mentions() -> str:
    """Show the mentions that nobody decided about, the oldest first."""
    oldest = select(Mention).where(*WAITING).order_by(Mention.received_at, Mention.id).limit(50)
    return render_template("desk/mentions.html", mentions=db.session.scalars(oldest).all())


def how_many_wait() -> int:
    return db.session.scalar(select(func.count(Mention.id)).where(*WAITING)) or 0


@desk.route("/mentions/<int:mention_id>", methods=["POST"])
def decide(mention_id: int) -> Response:
    mention = db.session.get(Mention, mention_id) or abort(404)
    status = request.form.get("status")
    if status not in ("approved", "rejected"):
        abort(400)
    linkback.moderate(mention, status, who="desk")
    db.session.commit()
    flash(f"The mention by {mention.host} is {status}.")
    return redirect(url_for("desk.mentions"), 303)


# --- who may come in ---------------------------------------------------------------------------------


@desk.before_request
def guard() -> None:
    """Let in only this computer, and only forms that the desk itself has shown."""
    if not at_home():
        abort(403, "The desk has no login, so it answers only to the computer that the blog runs on.")
    if request.method == "POST":
        given = request.form.get("csrf_token", "").encode()
        if not hmac.compare_digest(given, csrf_token().encode()):
            abort(400, "The form has expired. Go back, reload the page and send it again.")


def at_home() -> bool:
    """Does the request come from this computer, to an address of this computer?

    The second question stops a foreign page whose name is suddenly that of 127.0.0.1 (DNS rebinding).
    """
    return is_loopback(request.remote_addr) and is_loopback(urlsplit(request.host_url).hostname)


def is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def csrf_token() -> str:
    """Return this visitor's token, for a hidden field of each form."""
    if "csrf_token" not in session:
        session["csrf_token"] = secrets.token_urlsafe()
    return str(session["csrf_token"])


@desk.app_context_processor
def for_templates() -> dict[str, Any]:
    return {"at_home": at_home, "csrf_token": csrf_token, "how_many_wait": how_many_wait}
