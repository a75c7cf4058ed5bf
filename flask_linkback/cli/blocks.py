"""Commands for block lists: whom we do not want to hear."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import click
import sqlalchemy as sa
from flask.cli import AppGroup

from ..linkbacks import blocks, moderation, weblogs
from ..linkbacks.blocks import Listed
from ..models import Block, BlockKind, Mention
from ..site import Site, current_site
from .output import Output, command, counted

__all__ = ["block"]

MAX_FILE_BYTES: Final = 16 << 20
MAX_LINE_BYTES: Final = 1000

block = AppGroup("block", help="Block hosts, URLs and patterns: add, remove, list, import.")

_KIND: Final = click.option(
    "--kind",
    type=click.Choice([each.value for each in BlockKind]),
    help="Default: a url where there is a slash, else a host.",
)
_REASON: Final = click.option("--reason", default="", metavar="TEXT", help="Why; strangers are not told.")
_EXPIRES: Final = click.option(
    "--expires", metavar="DATE|DAYS", help="When it ends: 2030-12-31, or in so many days."
)
_SWEEP: Final = click.option(
    "--sweep", is_flag=True, help="Reject what came from there already, approved or not."
)


@command("add")
@click.argument("values", nargs=-1, required=True, metavar="VALUE...")
@_KIND
@click.option("--list", "list_name", default=blocks.MANUAL, show_default=True, metavar="NAME")
@_REASON
@_EXPIRES
@_SWEEP
def add(
    out: Output,
    values: tuple[str, ...],
    kind: str | None,
    list_name: str,
    reason: str,
    expires: str | None,
    sweep: bool,
) -> None:
    """Block hosts with their subdomains, URLs with what lies below, or patterns.

    What is blocked already gets the new reason and expiry. Patterns need the extra "fast".
    """
    site = current_site()
    given = [_on_list(each, list_name, reason) for each in _parsed(values, kind)]
    new = blocks.add(site, given, expires_at=_moment(site, expires))
    swept = _swept(site, given) if sweep else []
    site.session.commit()
    for each in given:
        out.say(f"{each.kind:5}  {each.value}" + ("" if each in new else "  (was blocked already)"))
    _say_swept(out, swept, sweep=sweep)
    out.finish(
        {
            "list": list_name,
            "blocks": [{"kind": each.kind, "value": each.value, "new": each in new} for each in given],
            "swept": [each.id for each in swept],
        }
    )


@command("remove")
@click.argument("values", nargs=-1, metavar="VALUE...")
@_KIND
@click.option("--list", "list_name", metavar="NAME", help="Default: take it off all lists.")
@click.option("--all", "everything", is_flag=True, help="All that is on the list.")
def remove(
    out: Output, values: tuple[str, ...], kind: str | None, list_name: str | None, everything: bool
) -> None:
    """Take hosts, URLs or patterns off the lists; what was rejected stays so."""
    site = current_site()
    if everything:
        if values or list_name is None:
            raise click.UsageError("--all takes a --list, and no VALUE.")
        removed = blocks.replace(site, list_name, [])
    elif not values:
        raise click.UsageError("Name what to remove, or a --list with --all.")
    else:
        removed = blocks.remove(site, _named(values, kind), list_name=list_name)
    site.session.commit()
    out.say(f"{counted(removed, 'block')} removed.")
    out.finish({"removed": removed}, failed=not removed)


@command("list")
@click.option("--list", "list_name", metavar="NAME", help="Only those of this list.")
@click.option("--kind", type=click.Choice([each.value for each in BlockKind]))
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
def list_(out: Output, list_name: str | None, kind: str | None, limit: int) -> None:
    """List what is blocked, newest first, and how much each list holds."""
    site = current_site()
    conditions = [
        column == value for column, value in ((Block.list_name, list_name), (Block.kind, kind)) if value
    ]
    newest = sa.select(Block).where(*conditions).order_by(Block.id.desc()).limit(limit)
    found = site.session.scalars(newest).all()
    for each in found:
        out.say(f"{each.kind:5}  {each.list_name}  {each.value}  {_ends(site, each)}  {each.reason}".rstrip())
    counts = sa.select(Block.list_name, sa.func.count()).where(*conditions).group_by(Block.list_name)
    lists = {row[0]: row[1] for row in site.session.execute(counts.order_by(Block.list_name))}
    for name, number in lists.items():
        out.say(f"{name}: {counted(number, 'block')}.")
    if not lists:
        out.say("Nothing is blocked.")
    out.finish({"lists": lists, "blocks": [_document(site, each) for each in found]})


@command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--list", "list_name", metavar="NAME", help="Default: the file's name without its ending.")
@_REASON
@_EXPIRES
@_SWEEP
def import_(
    out: Output, file: IO[bytes], list_name: str | None, reason: str, expires: str | None, sweep: bool
) -> None:
    """Let a list hold the hosts of a file, one a line, and nothing else.

    What follows a # is left aside. With a line that is no host, or has more than one, nothing is changed.
    Other lists stay.
    """
    site = current_site()
    path = str(getattr(file, "name", "<stdin>"))
    if path == "<stdin>" and list_name is None:
        raise click.UsageError("What comes by the standard input needs a --list.")
    name = list_name or Path(path).stem
    given = [_on_list(each, name, reason) for each in _hosts(file)]
    before = blocks.replace(site, name, given, expires_at=_moment(site, expires))
    swept = _swept(site, given) if sweep else []
    site.session.commit()
    out.say(f"{name}: {counted(len(given), 'block')}; there were {before}.")
    _say_swept(out, swept, sweep=sweep)
    out.finish({"list": name, "before": before, "blocks": len(given), "swept": [each.id for each in swept]})


for _command in (add, remove, list_, import_):
    block.add_command(_command)


# --- what is given -----------------------------------------------------------------------------------


def _parsed(values: Iterable[str], kind: str | None) -> list[Listed]:
    try:
        return list(dict.fromkeys(blocks.parse(value, kind) for value in values))
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _named(values: Iterable[str], kind: str | None) -> list[Listed]:
    """What is to go; a pattern goes as it is written, also where there is no RE2 any more."""
    if kind == BlockKind.regex:
        return [Listed(kind=BlockKind.regex, value=value.strip()) for value in values]
    return _parsed(values, kind)


def _on_list(listed: Listed, list_name: str, reason: str) -> Listed:
    if not 0 < len(list_name) <= 255 or not list_name.isprintable():
        raise click.ClickException("A list has a name of 255 characters at most.")
    return replace(listed, list_name=list_name, reason=reason)


def _hosts(file: IO[bytes]) -> list[Listed]:
    found: dict[Listed, None] = {}
    for number, line in _lines(file):
        try:
            found[blocks.parse(line.decode("utf-8", "replace"), BlockKind.host)] = None
        except ValueError as error:
            what = "A line is one host: --reason and --expires are for all of them. Nothing was changed."
            raise click.ClickException(f"Line {number}: {error} {what}") from None
    return list(found)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that say something, with their numbers; a file without end is not read to it."""
    content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise click.ClickException(f"The file has more than {MAX_FILE_BYTES >> 20} MiB. Nothing was changed.")
    for number, line in enumerate(io.BytesIO(content.removeprefix(b"\xef\xbb\xbf")), 1):
        if len(line) > MAX_LINE_BYTES:
            raise click.ClickException(
                f"Line {number} has more than {MAX_LINE_BYTES} bytes. Nothing was changed."
            )
        said = line.partition(b"#")[0].strip()
        if said:
            yield number, said


def _moment(site: Site, expires: str | None) -> datetime | None:
    """When a block ends: at the beginning of a day, by TIMEZONE where it says nothing else."""
    if expires is None:
        return None
    try:
        if expires.isdecimal():
            return site.now() + timedelta(days=int(expires))
        at = datetime.fromisoformat(expires)
    except (ValueError, OverflowError):
        raise click.ClickException(
            f"{expires!r} is no date such as 2030-12-31, and no number of days."
        ) from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=site.settings.feeds.timezone)
    if at <= site.now():
        raise click.ClickException(f"{expires} is over already.")
    return at


# --- what is told ------------------------------------------------------------------------------------


def _swept(site: Site, given: list[Listed]) -> list[Mention]:
    """Reject the mentions that are blocked now, and take such weblogs out of our directory."""
    weblogs.unlist(site, given)
    return list(moderation.sweep(site, given))


def _say_swept(out: Output, swept: list[Mention], *, sweep: bool) -> None:
    if sweep:
        out.say(f"{counted(len(swept), 'mention')} rejected.")


def _ends(site: Site, row: Block) -> str:
    if row.expires_at is None:
        return ""
    return f"{'expired' if row.expires_at <= site.now() else 'until'} {row.expires_at.date()}"


def _document(site: Site, row: Block) -> dict[str, Any]:
    return {
        "kind": row.kind.value,
        "value": row.value,
        "list": row.list_name,
        "reason": row.reason,
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at and row.expires_at.isoformat(),
        "expired": row.expires_at is not None and row.expires_at <= site.now(),
    }
