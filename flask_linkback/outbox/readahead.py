"""Read-ahead: what jobs have to know is read for all of them that were claimed together."""

from __future__ import annotations

import abc
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Generic, TypeVar

from ..errors import ConfigError
from ..site import Site
from .jobs import Claim

__all__ = ["ReadAhead"]

T = TypeVar("T")
_AT_ONCE: Final = 64
_FRESH_SECONDS: Final = 0.25
"""What was read before is read again."""


class ReadAhead(abc.ABC, Generic[T]):
    """What the next jobs of one kind are about."""

    kind: ClassVar[str]

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[int, tuple[float, T]] = {}
        """By the ids of jobs: what nobody has asked for yet, and when (time.monotonic) it was read."""

    @abc.abstractmethod
    def read(self, site: Site, claims: Sequence[Claim]) -> Mapping[int, T]:
        """Return what each of these is about, by the ids of the jobs."""

    def take(self, site: Site, claim: Claim) -> T:
        """Return what a job is about; the next of those that were claimed with it are read, too."""
        with self._lock:
            read_at = time.monotonic()
            known = self._found.pop(claim.id, None)
            if known is not None and read_at - known[0] <= _FRESH_SECONDS:
                return known[1]
            # several windows stand side by side: threads are not quite in order
            fresh = {id_: each for id_, each in self._found.items() if read_at - each[0] <= _FRESH_SECONDS}
            for id_, each in self._read(site, claim).items():
                fresh.setdefault(id_, (read_at, each))
            self._found = fresh
            return fresh.pop(claim.id)[1]

    def forget(self) -> None:
        """Read all anew: something is another one now."""
        with self._lock:
            self._found = {}

    def _read(self, site: Site, claim: Claim) -> Mapping[int, T]:
        """Read what this job and those that come next are about; what spoils one of them spoils no other."""
        beside = (each for each in (known() for known in claim.beside) if each is not None)
        others = (each for each in beside if each.id > claim.id and each.kind == self.kind)
        following = list(itertools.islice(others, _AT_ONCE - 1))
        if following:
            try:
                return self.read(site, [claim, *following])
            except (ConfigError, LookupError, ValueError):  # something stored that nobody can read
                site.session.rollback()
        return self.read(site, [claim])
