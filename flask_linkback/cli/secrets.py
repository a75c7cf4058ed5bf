"""Commands for secrets: new ones, and new keys for those that are stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import click
import sqlalchemy as sa

from ..errors import ConfigError
from ..models import Base, Listener, Sealed, SecretText
from ..outbox.writers import Writers
from ..site import Site, current_site
from ..webhooks import rotating
from .output import Output, command, counted, local_time

__all__ = ["rotate_secrets"]

_AT_A_TIME: Final = 100
_COLUMNS: Final = tuple(
    column
    for table in Base.metadata.sorted_tables
    for column in table.columns
    if isinstance(column.type, SecretText)
)


@command("rotate-secrets")
@click.option("--listener", "listener_id", type=click.IntRange(1), metavar="ID", help="A new secret for it.")
@click.option(
    "--overlap",
    type=click.FloatRange(0, rotating.MAX_OVERLAP_SECONDS / 3600),
    metavar="HOURS",
    help="How long its old secret signs as well. Default: 24.",
)
@click.option("--secret", metavar="whsec_...", help="The new secret; default: one is made.")
def rotate_secrets(out: Output, listener_id: int | None, overlap: float | None, secret: str | None) -> None:
    """Encrypt all stored secrets with the first of LINKBACK_SECRET_KEYS, or give a listener a new one.

    Once that is done the other keys can be taken away.
    """
    site = current_site()
    if listener_id is not None:
        _rotate(out, site, listener_id, 24 if overlap is None else overlap, secret)
        return
    if overlap is not None or secret is not None:
        raise click.UsageError("--overlap and --secret go with --listener.")
    if not site.settings.site.secret_keys:
        raise click.ClickException("LINKBACK_SECRET_KEYS is empty: there is no key to encrypt with.")
    done: dict[str, int] = {}
    closed: dict[str, int] = {}
    for column in _COLUMNS:
        name = column.table.name
        encrypted, unopened = _encrypt(site, column)
        done[name] = done.get(name, 0) + encrypted
        closed[name] = closed.get(name, 0) + unopened
    for name, count in done.items():
        out.say(f"{name}: {counted(count, 'secret')} encrypted.")
        if closed[name]:
            out.say(f"{name}: none of the keys opens {counted(closed[name], 'secret')}.", fg="red")
    out.finish({"encrypted": done, "closed": closed}, failed=any(closed.values()))


def _rotate(out: Output, site: Site, listener_id: int, hours: float, secret: str | None) -> None:
    listener = site.session.get(Listener, listener_id)
    if listener is None:
        raise click.ClickException(f"There is no listener {listener_id}.")
    try:
        new = rotating.rotate_secret(site, listener, hours * 3600, secret)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    site.session.commit()
    until = site.now() + timedelta(hours=hours)
    out.say(f"The new secret of listener {listener_id}, which is not shown again: {new}")
    out.say(f"The old one signs as well until {local_time(until)}." if hours else "The old one is forgotten.")
    out.finish({"listener_id": listener_id, "secret": new, "old_until": until.isoformat()})


def _encrypt(site: Site, column: sa.Column[Any]) -> tuple[int, int]:
    """Encrypt the secrets of a column anew; return how many, and how many no key opens."""
    table, session = column.table, site.session
    stored = sa.type_coerce(column, sa.Text())
    encrypted = unopened = last = 0
    while True:
        page = sa.select(table.c.id, stored.label("stored")).where(table.c.id > last, column.is_not(None))
        rows = session.execute(page.order_by(table.c.id).limit(_AT_A_TIME)).all()
        session.rollback()
        if not rows:
            return encrypted, unopened
        last = rows[-1].id
        with site.get(Writers).turn(site.engine):
            for row in rows:
                this = (table.c.id == row.id, stored == row.stored)  # unless it was changed just now
                try:
                    secret = session.scalar(sa.select(column).where(*this))
                    if isinstance(secret, Sealed):
                        secret = dict(secret)
                except ConfigError:
                    unopened += 1
                    continue
                if secret is not None:
                    session.execute(sa.update(table).where(*this).values({column.name: secret}))
                    encrypted += 1
            session.commit()
