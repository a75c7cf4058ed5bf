"""Geo: where on earth a feed or an item is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Self

from .atom import Atom1Feed
from .extensions import Absolute, Extension, Prefixes
from .rss import Rss201rev2Feed
from .writer import NAMESPACES, SimplerXMLGenerator
from .xmlfeed import XMLFeed

__all__ = ["GeoAtom1Feed", "GeoRSSFeed", "Geometry", "W3CGeoFeed"]

Position = tuple[float, float]
"""Longitude and latitude."""


@dataclass(frozen=True)
class Geometry(Extension):
    """A point, box, line or polygon (GeoRSS Simple 1.1), as Django's geographic feeds take it.

    A point is a pair of longitude and latitude; a box four numbers, or two pairs, its south-western and its
    north-eastern corner; a line or polygon an object with ``geom_type`` and ``coords``, such as those of
    shapely and GEOS. Of a polygon the outer ring is written. Anything else raises ValueError.
    """

    kind: str
    positions: Sequence[Position]
    prefixes: ClassVar[Prefixes] = {"rss": ("georss",), "atom": ("georss",)}

    @classmethod
    def of(cls, said: Any, hook: str, absolute: Absolute) -> Self:
        try:
            return cls.measured(said)
        except ValueError as error:
            error.add_note(f"This is what the hook {hook} of a feed said: {said!r}")
            raise

    @classmethod
    def measured(cls, said: Any) -> Self:
        """Make it of a tuple, a list or an object; raises ValueError."""
        kind, positions = _of_numbers(said) if isinstance(said, list | tuple) else _of_shape(said)
        return cls(kind, [_position(each) for each in positions])

    def add_to_rss(self, handler: SimplerXMLGenerator) -> None:
        handler.addQuickElement(f"georss:{self.kind}", " ".join(map(_latitude_first, self.positions)))

    add_to_atom = add_to_rss

    def add_as_w3c(self, handler: SimplerXMLGenerator, *, compatible: bool) -> None:
        """Write a point in the vocabulary of the W3C; ValueError for anything else."""
        if self.kind == "box":
            raise ValueError("Cannot use simple GeoRSS box in W3C Geo feeds.")
        if self.kind != "point":
            raise ValueError("W3C Geo only supports Point geometries.")
        longitude, latitude = self.positions[0]
        handler.addQuickElement("geo:lat", f"{latitude:f}")
        # the vocabulary has no geo:lon, which is what Django writes
        handler.addQuickElement("geo:lon" if compatible else "geo:long", f"{longitude:f}")


def _of_numbers(said: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    if said and isinstance(said[0], list | tuple):
        if len(said) != 2:
            raise ValueError("Only should be two sets of coordinates.")
        return "box", said
    if len(said) == 2:
        return "point", [said]
    if len(said) == 4:
        return "box", [said[:2], said[2:]]
    raise ValueError("Only should be 2 or 4 numeric elements.")


def _of_shape(shape: Any) -> tuple[str, Sequence[Any]]:
    named = getattr(shape, "geom_type", None)
    kind = str(named).lower()
    if kind == "point":
        coordinates = list(shape.coords)
        # GEOS has a point's numbers there, shapely a list of one position
        return "point", coordinates if isinstance(coordinates[0], Iterable) else [coordinates]
    if kind in ("linestring", "linearring"):
        return "line", list(shape.coords)
    if kind == "polygon":
        outer = shape.exterior if hasattr(shape, "exterior") else shape[0]
        return "polygon", list(outer.coords)
    raise ValueError(f'Geometry type "{named}" not supported.')


def _position(said: Any) -> Position:
    try:
        position = float(said[0]), float(said[1])
    except (IndexError, TypeError, ValueError):
        raise ValueError(f"{said!r} is no position.") from None
    if not all(map(isfinite, position)):
        raise ValueError(f"{said!r} is no position.")
    return position


def _latitude_first(position: Position) -> str:
    return f"{position[1]:f} {position[0]:f}"


# --- generators --------------------------------------------------------------------------------------


class _Located(XMLFeed):
    """Writes ``geometry``, which the feed or an item was given."""

    def add_root_elements(self, handler: SimplerXMLGenerator) -> None:
        super().add_root_elements(handler)
        self._locate(handler, self.feed)

    def add_item_elements(self, handler: SimplerXMLGenerator, item: dict[str, Any]) -> None:
        super().add_item_elements(handler, item)
        self._locate(handler, item)

    def _locate(self, handler: SimplerXMLGenerator, of: Mapping[str, Any]) -> None:
        if (said := of.get("geometry")) is not None:
            self.add_extension(handler, Geometry.measured(said))


class GeoRSSFeed(_Located, Rss201rev2Feed):
    """RSS 2.0 that writes ``geometry``, which the feed or an item was given, as GeoRSS."""

    def rss_attributes(self) -> dict[str, Any]:
        return {**super().rss_attributes(), "xmlns:georss": NAMESPACES["georss"]}


class GeoAtom1Feed(_Located, Atom1Feed):
    """Atom 1.0 that writes ``geometry``, which the feed or an item was given, as GeoRSS."""

    def root_attributes(self) -> dict[str, Any]:
        return {**super().root_attributes(), "xmlns:georss": NAMESPACES["georss"]}


class W3CGeoFeed(_Located, Rss201rev2Feed):
    """RSS 2.0 that writes ``geometry``, a point, in the words of the W3C: ``geo:lat``, ``geo:long``."""

    def rss_attributes(self) -> dict[str, Any]:
        return {**super().rss_attributes(), "xmlns:geo": NAMESPACES["geo"]}

    def add_extension(self, handler: SimplerXMLGenerator, extension: Any) -> None:
        if isinstance(extension, Geometry):
            extension.add_as_w3c(handler, compatible=self.django_compatible)
        else:
            super().add_extension(handler, extension)
