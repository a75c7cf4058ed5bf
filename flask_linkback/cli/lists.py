"""Lists: what the commands for listeners, events and deliveries have in common."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final, TypeVar

import click
from flask.cli import AppGroup

from ..models import Event, Job, Listener
from ..site import Site
from ..webhooks.recording import DELIVER

__all__ = ["ID", "LIMIT", "ListGroup", "iso", "one", "parse_json"]

R = TypeVar("R", Listener, Event, Job)


class ListGroup(AppGroup):
    """A group of commands that lists where no command is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


LIMIT: Final = click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
ID: Final = click.IntRange(1, 2**63 - 1)


def one(site: Site, model: type[R], row_id: int) -> R:
    """Return a row by its id, or say that there is none."""
    found = site.session.get(model, row_id)
    if found is None or (isinstance(found, Job) and found.kind != DELIVER):
        name = "delivery" if model is Job else model.__name__.lower()
        raise click.ClickException(f"There is no {name} {row_id}.")
    return found


def parse_json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"{name} is no JSON: {error}") from None


def iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
