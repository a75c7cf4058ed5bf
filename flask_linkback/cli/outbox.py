"""Commands for the tables and the worker."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import click

from ..models import Base
from ..outbox.crew import Crew
from ..outbox.worker import Runner, Worker, check_shareable
from ..site import Site, current_site
from .output import Output, command, counted
from .tables import address_of, lacking

__all__ = ["init_db", "stopped_by_signals", "worker"]

_NICE: Final = 10
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2


@command("init-db")
def init_db(out: Output) -> None:
    """Create the tables, for applications without migrations.

    Tables that are there are left alone.
    """
    engine = current_site().engine
    before = lacking(engine)
    if before.columns:
        raise click.ClickException(f"The database lacks {before}. {before.advice}")
    Base.metadata.create_all(engine)
    if before.tables:
        out.say(f"Created {counted(len(before.tables), 'table')} in {address_of(engine)}.")
    else:
        out.say(f"The tables are in {address_of(engine)} already.")
    out.finish({"database": address_of(engine), "created": before.tables})


@command("worker")
@click.option("--once", is_flag=True, help="Do what is due now, then end.")
@click.option("--threads", type=click.IntRange(1, 512), help="Default: LINKBACK_WORKER_THREADS.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many share the work, with so many threads each: one process keeps one processor busy.",
)
@click.option(
    "--nice",
    type=click.IntRange(0, 19),
    help=f"How far it lets other processes go first. Default: {_NICE}; on SQLite, and with --once, 0.",
)
@click.option(
    "--one-core/--any-core",
    default=True,
    show_default=True,
    help="Whether the threads of a process stay together on one processor: Python is faster so.",
)
def worker(
    out: Output, once: bool, threads: int | None, processes: int, nice: int | None, one_core: bool
) -> None:
    """Do owed work until SIGTERM or Ctrl-C.

    What runs then is finished first, within 30 seconds; a second signal ends at once.
    """
    site = current_site()
    missing = lacking(site.engine)
    if missing:
        raise click.ClickException(f"The database lacks {missing}. {missing.advice}")
    check_shareable(site.engine)
    began = time.monotonic()
    share_memory()
    if nice is None:
        # who has SQLite's one lock must not wait for a processor as well: all others would wait for both
        nice = 0 if once or site.engine.dialect.name == "sqlite" else _NICE
    os.nice(nice)
    threads = threads or site.settings.outbox.worker_threads
    with site.get(Runner).taken() as bell:

        def begin() -> Worker:
            runner = "once" if once else "external"
            return Worker(site, runner=runner, bell=bell, threads=threads, one_core=one_core)

        work = begin() if processes == 1 else _crew(site, processes, begin)
        with stopped_by_signals(work.stop):
            if not once:
                each = counted(threads, "thread")
                of = each if processes == 1 else f"{processes} processes of {each} each"
                out.say(f"Working with {of}; Ctrl-C ends.")
            work.run(once=once)
    out.say(_summary(work.tally))
    out.finish({"jobs": work.tally, "seconds": round(time.monotonic() - began, 3)})
    if once and isinstance(work, Crew) and work.died:
        raise click.ClickException(
            f"{work.died} of {processes} processes died; what they had in hand is done again soon."
        )


def _crew(site: Site, processes: int, begin: Callable[[], Worker]) -> Crew:
    if not hasattr(os, "fork"):
        raise click.UsageError("--processes needs a system that can fork; start the command several times.")
    site.db.session.remove()
    site.engine.dispose()  # connections do not go through a fork
    return Crew(processes, begin)


def share_memory() -> None:
    """Let the threads of this process share two heaps, unless ``MALLOC_ARENA_MAX`` says how many.

    glibc makes eight for each core, and what a thread left free in one helps no thread of another: threads
    that take the place of those with a slow stranger would let a flood make the process grow.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at the first SIGTERM or SIGINT; the second ends the process."""

    def first(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        stop()
        # not print(): the signal may have come in the middle of one
        os.write(2, b"Finishing what runs; once more ends at once.\n")

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    for each in before:
        signal.signal(each, first)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _summary(tally: dict[str, int]) -> str:
    words = {"again": "to be tried again", "later": "put off", "dead": "given up"}
    rest = [f"{tally[verdict]} {said}" for verdict, said in words.items() if tally[verdict]]
    return ", ".join([f"{counted(tally['done'], 'job')} done", *rest]) + "."
