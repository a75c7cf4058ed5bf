"""Commands: writing from the terminal."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from .models import Post, db

__all__ = ["post_command"]


@click.command("post")
@click.option("--title", required=True, help="The title, as plain text.")
@click.option("--html", default="", help="The text, as HTML; only a like needs none.")
@click.option("--slug", default="", help="The end of the address. Default: made from the title.")
@click.option("--in-reply-to", default="", help="The address of a page that the post answers.")
@click.option("--like-of", default="", help="The address of a page that the post likes.")
@with_appcontext
def post_command(**draft: str) -> None:
    """Publish a post, or edit the one that has this slug; print its address."""
    try:
        post = Post.write(**draft)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    # what the post owes to others is written in the same transaction; the running blog sends it
    db.session.commit()
    click.echo(post.url)
