"""Text: what strangers write, in a form that every database takes."""

from __future__ import annotations

import re

__all__ = ["storable"]

# PostgreSQL takes no U+0000, no database a lone surrogate; nobody wants the other control characters
_NOT_STORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def storable(text: str, limit: int) -> str:
    """Return the first characters of a text, without those that cannot or should not be stored."""
    return _NOT_STORABLE.sub("", text[: 2 * limit])[:limit]
