"""Pictures: small ones of each format, and some that are not what they seem."""

from __future__ import annotations

import struct
import zlib
from base64 import b64decode

WEBP_LOSSY = b64decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
WEBP_LOSSLESS = b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
WEBP_ALPHA = b64decode(
    "UklGRkoAAABXRUJQVlA4WAoAAAAQAAAAAAAAAAAAQUxQSAwAAAARBxAR/Q9ERP8DAABWUDggGAAAABQBAJ0BKgEAAQAAAP4AAA3AAP7mtQAAAA=="
)
AVIF = b64decode(
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADybWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAGxpYmF2"
    "aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABGgAAAB0AAAAoaWluZgAAAAAAAQAAABppbmZlAgAAAAABAABhdjAx"
    "Q29sb3IAAAAAamlwcnAAAABLaXBjbwAAABRpc3BlAAAAAAAAAAIAAAACAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgQ0MAAAAABNjb2xybmNs"
    "eAACAAIAAYAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAACVtZGF0EgAKCBgANogQEAwgMg8f8D///8WfhwB8+ErK42A="
)
SVG = b"""<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">
<script>alert(1)</script><image href="https://evil.example/x.png"/></svg>"""
HTML = b"<!doctype html><title>No picture</title><script>alert(1)</script>"


def png(width: int = 2, height: int = 2, *, says: tuple[int, int] | None = None) -> bytes:
    """A red picture; its header may lie."""
    header = struct.pack(">IIBBBBB", *(says or (width, height)), 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\xc0\x20\x20" * width) * height, 9)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif(width: int = 1, height: int = 1, *, frame: tuple[int, int, int, int] | None = None) -> bytes:
    """A white picture; its one frame may reach beyond the screen (left, top, width, height)."""
    colours = b"\xff\xff\xff\0\0\0"
    control = b"!\xf9\x04\0\0\0\0\0"
    image = b"," + struct.pack("<HHHHB", *(frame or (0, 0, width, height)), 0) + b"\x02\x02L\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + colours + control + image + b";"


def jpeg(width: int = 1, height: int = 1, *, marker: int = 0xC0, before: bytes = b"") -> bytes:
    """The head of a picture, as far as the segment that begins the frame; there are no pixels in it."""
    exif = b"\xff\xe1\0\x08Exif\0\0"
    frame = b"\xff" + bytes([marker]) + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\0"
    return b"\xff\xd8" + exif + before + frame + b"\xff\xd9"


def box(kind: bytes, *contents: bytes) -> bytes:
    """A box of ISO/IEC 14496-12."""
    body = b"".join(contents)
    return struct.pack(">I", 8 + len(body)) + kind + body


def avif(*sizes: tuple[int, int]) -> bytes:
    """The boxes that say how large the pictures in a file are; there are no pixels in it."""
    extents = [box(b"ispe", bytes(4), struct.pack(">II", *size)) for size in sizes]
    properties = box(b"iprp", box(b"ipco", *extents))
    return box(b"ftyp", b"mif1", bytes(4), b"miaf", b"avif") + box(b"meta", bytes(4), properties)
