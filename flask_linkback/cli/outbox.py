"""Commands for the tables and the worker."""

from __future__ import annotations

import signal
from types import FrameType

import click
from flask.cli import with_appcontext

from ..models import Base
from ..outbox.worker import Worker
from ..site import current_site

__all__ = ["init_db", "worker"]


@click.command("init-db")
@with_appcontext
def init_db() -> None:
    """Create the tables, for applications without migrations."""
    site = current_site()
    Base.metadata.create_all(site.engine)
    click.echo(f"The tables of Linkback are in {site.engine.url.render_as_string(hide_password=True)}.")


@click.command()
@click.option("--once", is_flag=True, help="Do what is due now, then end.")
@click.option("--threads", type=click.IntRange(1, 512), help="Default: LINKBACK_WORKER_THREADS.")
@with_appcontext
def worker(once: bool, threads: int | None) -> None:
    """Do owed work until SIGTERM or Ctrl-C; what runs then is finished first."""
    site = current_site()
    work = Worker(site, runner="once" if once else "external", threads=threads)

    def stop(number: int, frame: FrameType | None) -> None:
        work.stop()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    work.run(once=once)
