"""Values: what an event may carry, as JSON."""

from __future__ import annotations

import base64
import enum
import math
import uuid
from collections.abc import Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import InstanceState

__all__ = ["plain"]

_MAX_DEPTH: Final = 32


def plain(value: Any, _depth: int = 0) -> Any:
    """Return a value as JSON has it.

    Dates and times in ISO 8601, decimals and UUIDs as text, durations in seconds, bytes in base64, enums by
    their value, sets as lists. An object of the database is its primary key, several are the list of
    theirs. What JSON has no number for (NaN and the infinities) is None. Raises TypeError for anything else.
    """
    if value is None or (isinstance(value, bool | str) and not isinstance(value, enum.Enum)):
        return value if value.__class__ is not str or value.isascii() else _text(value)
    if _depth > _MAX_DEPTH:
        raise TypeError(f"It is nested more than {_MAX_DEPTH} deep, or in itself.")
    match value:
        case enum.Enum():
            return plain(value.value, _depth + 1)
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal() | uuid.UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case Mapping():
            return {str(plain(key, _depth + 1)): plain(item, _depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [plain(item, _depth + 1) for item in value]
        case Set():
            return sorted((plain(item, _depth + 1) for item in value), key=str)
    return _key_of(value)


def _text(value: str) -> str:
    """Text as UTF-8 can say it."""
    return value.encode("utf-8", "replace").decode()


def _key_of(value: Any) -> Any:
    """The primary key of an object: one value, or the list of several."""
    try:
        state: Any = sa.inspect(value)
    except NoInspectionAvailable:
        state = None
    if not isinstance(state, InstanceState):
        raise TypeError(f"JSON knows nothing like {type(value).__name__}.")
    key = state.mapper.primary_key_from_instance(value)
    return plain(key[0]) if len(key) == 1 else [plain(each) for each in key]
