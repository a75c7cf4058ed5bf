"""Commands: writing from the terminal."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from .models import Post, db

__all__ = ["post_command"]


@click.command("post")
@click.option("--title", required=True, help="The title, as plain text.")
@click.option("--html", required=True, help="The text, as HTML.")
@click.option("--slug", default="", help="The end of the address. Default: made from the title.")
@with_appcontext
def post_command(title: str, html: str, slug: str) -> None:
    """Publish a post, or edit the one that has this slug; print its address."""
    try:
        post = Post.write(title=title, html=html, slug=slug)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    # what the post owes to others is written in the same transaction; the running blog sends it
    db.session.commit()
    click.echo(post.url)
