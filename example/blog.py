"""Blog: the pages that everybody sees."""

from __future__ import annotations

from flask import Blueprint, abort, render_template

from .models import Followed, Post

__all__ = ["blog"]

blog = Blueprint("blog", __name__)


@blog.route("/")
def index() -> str:
    return render_template("index.html", posts=Post.newest(), followed=Followed.newest())


@blog.route("/posts/<slug>")
def show(slug: str) -> str:
    return render_template("post.html", post=Post.at(slug) or abort(404))
