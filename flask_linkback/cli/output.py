"""Output: what a command says, to people or as JSON, and how it fails."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..errors import LinkbackError
from ..site import current_site
from .tables import address_of, lacking

__all__ = ["Output", "cause_of", "command", "counted", "local_time"]


class Output:
    """What a command says: lines for people or, with ``--json``, one document for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def say(self, line: str, **style: Any) -> None:
        """Print a line for people; ``style`` is that of `click.style`."""
        if not self._as_json:
            click.secho(_printable(line), **style)

    def record(self, document: Any) -> None:
        """Print one of the documents for programs of a command that goes on, on a line of its own."""
        if self._as_json:
            click.echo(json.dumps(document))

    def finish(self, document: Any, *, failed: bool = False) -> None:
        """Print the document for programs and end the command, with status 1 if it failed."""
        if self._as_json:
            # ASCII: no terminal and no encoding of the standard output minds it
            click.echo(json.dumps(document, indent=2))
        if failed:
            raise click.exceptions.Exit(1)

    @contextlib.contextmanager
    def failing_politely(self) -> Iterator[None]:
        """Turn what can be expected to go wrong into one sentence and status 1."""
        try:
            yield
        except click.ClickException as error:
            raise self._failure(error.message) from None
        except LinkbackError as error:
            raise self._failure(str(error)) from None
        except SQLAlchemyError as error:
            raise self._failure(_database_trouble(error)) from None

    def _failure(self, sentence: str) -> click.ClickException:
        if self._as_json:
            click.echo(json.dumps({"error": sentence}, indent=2))
        return click.ClickException(_printable(sentence))


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a command with ``--json``, in the application's context.

    The function takes an `Output` first. What it raises of our own errors, and of the database's,
    is told in one sentence.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def call(*args: Any, as_json: bool, **options: Any) -> None:
            out = Output(as_json=as_json)
            with out.failing_politely():
                function(out, *args, **options)

        made = click.command(name)(with_appcontext(call))
        made.params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document."))
        return made

    return decorate


def _printable(text: str) -> str:
    """Return a line that does no harm: strangers' titles may hold what steers a terminal."""
    line = "".join(" " if unicodedata.category(character) in _STEERING else character for character in text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return line.encode(encoding, "replace").decode(encoding)


_STEERING = frozenset(("Cc", "Cf", "Zl", "Zp"))
"""Unicode categories: controls, invisible formatting such as the change of direction, line ends."""


def counted(number: int, noun: str) -> str:
    """Return ``"1 job"`` or ``"2 jobs"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def local_time(at: datetime) -> str:
    """Return a time as the clock of this machine shows it."""
    return at.astimezone().isoformat(" ", "seconds")


def cause_of(error: SQLAlchemyError) -> str:
    """Return what the database said, in one line."""
    said = str(error.orig if isinstance(error, DBAPIError) else error).strip() or type(error).__name__
    return said.splitlines()[0].rstrip(".")


def _database_trouble(error: SQLAlchemyError) -> str:
    engine = current_site().engine
    try:
        missing = lacking(engine)
    except SQLAlchemyError as trouble:
        return f"The database {address_of(engine)} cannot be reached: {cause_of(trouble)}."
    if missing:
        return f"The database lacks {missing}. {missing.advice}"
    return f"The database refuses: {cause_of(error)}."
