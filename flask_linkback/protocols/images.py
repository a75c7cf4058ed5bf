"""Images: which picture do some bytes hold, and how large will it be once somebody unpacks it?

Only formats of pixels are known: an SVG is a document, which can hold scripts. What the header says is read
and nothing is unpacked, so that a few bytes cannot turn into gigabytes here; the caller sees to it that
they do not elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Image", "read"]


@dataclass(frozen=True, kw_only=True)
class Image:
    """A picture by its first bytes; ``width`` and ``height`` are in pixels, of its largest frame."""

    media_type: str
    width: int
    height: int


class _Malformed(ValueError):
    """The bytes begin like a picture and do not go on like one."""


def read(data: bytes) -> Image | None:
    """Return what picture some bytes hold: PNG, JPEG, GIF, WebP or AVIF; None for anything else.

    Their first bytes decide, whatever their server calls them ("MIME Sniffing" standard, section 6.1).
    """
    media_type = _media_type(data)
    if media_type is None:
        return None
    try:
        width, height = _SIZES[media_type](data)
    except (_Malformed, struct.error):  # struct: it ends too early
        return None
    return Image(media_type=media_type, width=width, height=height) if width and height else None


def _media_type(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return "image/avif" if _is_avif(data) else None


def _is_avif(data: bytes) -> bool:
    """Is one of the brands of the first box AVIF's? ("AVIF", section 6; ISO/IEC 14496-12, 4.3)."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), len(data), _MAX_BRANDS)
    brands = [data[8:12], *(data[start : start + 4] for start in range(16, end, 4))]
    return b"avif" in brands or b"avis" in brands


_MAX_BRANDS: Final = 256


# --- how large they are -------------------------------------------------------------------------------


def _png(data: bytes) -> tuple[int, int]:
    """The first chunk is IHDR ("PNG", section 11.2.1); frames of an animation lie within it."""
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if (length, kind) != (13, b"IHDR"):
        raise _Malformed
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    """The segment that begins the one frame has it (ITU T.81, annex B.2.2)."""
    start = 2
    while True:
        (marker,) = struct.unpack_from(">H", data, start)
        if marker == 0xFFFF:  # any marker may have fill bytes in front
            start += 1
            continue
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, start + 5)
            return width, height  # a height of 0 would be told behind the pixels: that is no picture here
        if not 0xFFC0 <= marker <= 0xFFFE or marker in _NO_SEGMENTS:
            raise _Malformed
        (length,) = struct.unpack_from(">H", data, start + 2)
        if length < 2:  # it counts itself
            raise _Malformed
        start += 2 + length


_FRAMES: Final = frozenset(range(0xFFC0, 0xFFD0)) - {0xFFC4, 0xFFC8, 0xFFCC}
_NO_SEGMENTS: Final = frozenset(range(0xFFD0, 0xFFDB))
"""What has no length, or ends the picture or begins its pixels, before any frame was seen."""


def _gif(data: bytes) -> tuple[int, int]:
    """The screen, or the frames where they reach beyond it ("GIF89a", sections 18 and 20)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    start = 13 + _table(flags)
    frames = 0
    while True:
        (introducer,) = struct.unpack_from("B", data, start)
        if introducer == 0x3B and frames:
            return width, height
        if introducer == 0x21:
            start = _behind_blocks(data, start + 2)
        elif introducer == 0x2C:
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, start + 1)
            width, height = max(width, left + wide), max(height, top + high)
            start = _behind_blocks(data, start + 11 + _table(flags))
            frames += 1
        else:
            raise _Malformed


def _table(flags: int) -> int:
    """How many bytes the table of colours has that is announced so."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _behind_blocks(data: bytes, start: int) -> int:
    while True:
        (length,) = struct.unpack_from("B", data, start)
        start += 1 + length
        if not length:
            return start


def _webp(data: bytes) -> tuple[int, int]:
    """The first chunk has it: of a simple picture, or of the canvas of one with more (RFC 9649, 2.5-2.7)."""
    kind = data[12:16]
    if kind == b"VP8 ":
        start_code, width, height = struct.unpack_from("<3sHH", data, 23)
        if start_code != b"\x9d\x01\x2a":
            raise _Malformed
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", data, 20)
        if signature != 0x2F:
            raise _Malformed
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return (high_width << 16 | low_width) + 1, (high_height << 16 | low_height) + 1
    raise _Malformed


def _avif(data: bytes) -> tuple[int, int]:
    """The largest of all pictures in the file, whole, tile or preview ("HEIF", 6.5.3: ``ispe``)."""
    sizes = [
        struct.unpack_from(">II", data, start + 4)
        for meta, meta_end in _boxes(data, 0, len(data), b"meta")
        for properties, properties_end in _boxes(data, meta + 4, meta_end, b"iprp")
        for container, container_end in _boxes(data, properties, properties_end, b"ipco")
        for start, _ in _boxes(data, container, container_end, b"ispe")
    ]
    if not sizes:
        raise _Malformed
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _boxes(data: bytes, start: int, end: int, wanted: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the contents of each box of a kind begin and end (ISO/IEC 14496-12, section 4.2)."""
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        elif size == 0:  # as far as there is
            size = end - start
        if size < head or start + size > end:
            raise _Malformed
        if kind == wanted:
            yield start + head, start + size
        start += size


_SIZES: Final[Mapping[str, Callable[[bytes], tuple[int, int]]]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/avif": _avif,
}
