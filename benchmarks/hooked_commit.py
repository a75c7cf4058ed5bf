"""A commit that changes an object, with a hook on its model and without: one UPDATE by the ORM.

The hook writes the event and the job that tells of it into the same transaction. SQLite is a file with
``synchronous`` at FULL, PostgreSQL on this machine.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import sqlalchemy as sa

from flask_linkback import ModelHook
from flask_linkback.changes import Watches
from flask_linkback.models import Event

from .runner import Benchmark, NotHere, Ratio, Scale, Way, Ways
from .sites import DATABASES, Place, own_sites

__all__ = ["BENCHMARKS"]

FIELDS = ("slug", "title")


def commits(place: Place, hook: ModelHook, numbers: Iterator[int], times: int, *, hooked: bool) -> float:
    """Return the median of some commits, in milliseconds; a new session for each, as in a request."""
    watches = place.site.get(Watches)
    if hooked:
        hook.listen(watches)
    before = _events(place)
    taken = []
    for number in (next(numbers) for _ in range(times)):
        with place.app.app_context():
            session = place.site.session
            began = time.perf_counter()
            post = session.get(hook.model, 1)  # type: ignore[arg-type]
            post.title = f"Title {number}"
            session.commit()
            taken.append(time.perf_counter() - began)
    hook.leave(watches)
    if _events(place) != before + (times if hooked else 0):
        raise SystemExit("Not every commit has its event, or one has that should not.")
    return statistics.median(taken) * 1e3


def _events(place: Place) -> int:
    with place.site.context(), place.site.new_session() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Event)) or 0


def _model(place: Place) -> type[Any]:
    db = place.app.extensions["sqlalchemy"]
    return next(each.class_ for each in db.Model.registry.mappers if each.class_.__name__ == "Post")


@contextlib.contextmanager
def ways(scale: Scale) -> Iterator[Ways]:
    times = scale.of(400, 20)
    with contextlib.ExitStack() as stack:
        found: dict[str, Way | NotHere] = {}
        for kind, place in own_sites(stack, found):
            hook = ModelHook(model=_model(place), name="post", provides_args=FIELDS)
            measure = partial(commits, place, hook, count(), times)
            found[f"{kind}, hooked"] = partial(measure, hooked=True)
            found[f"{kind}, without hooks"] = partial(measure, hooked=False)
        yield found


BENCHMARKS = (
    Benchmark(
        name="hooked_commit",
        title="A commit that changes an object",
        unit="ms",
        better="less",
        ways=ways,
        ratios=[
            Ratio(
                what=f"{kind}, hooked ÷ without hooks",
                of=f"{kind}, hooked",
                to=f"{kind}, without hooks",
                at_most=1.15,
            )
            for kind in DATABASES
        ],
    ),
)
