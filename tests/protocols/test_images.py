"""Images: each format is known by its bytes, with its size; nothing else is a picture."""

from __future__ import annotations

import random
import struct
import time

import pytest

from flask_linkback.protocols.images import Image, read
from tests import pictures
from tests.pictures import avif, box, gif, jpeg, png
from tests.thorough import usual


@pytest.mark.parametrize(
    ("data", "media_type", "size"),
    [
        (png(3, 4), "image/png", (3, 4)),
        (gif(3, 4), "image/gif", (3, 4)),
        (gif(3, 4).replace(b"GIF89a", b"GIF87a"), "image/gif", (3, 4)),
        (jpeg(3, 4), "image/jpeg", (3, 4)),
        (jpeg(3, 4, marker=0xC2), "image/jpeg", (3, 4)),
        (jpeg(3, 4, before=b"\xff\xdb\0\x05abc\xff\xff\xff\xc4\0\x03a"), "image/jpeg", (3, 4)),
        (pictures.WEBP_LOSSY, "image/webp", (1, 1)),
        (pictures.WEBP_LOSSLESS, "image/webp", (1, 1)),
        (pictures.WEBP_ALPHA, "image/webp", (1, 1)),
        (pictures.AVIF, "image/avif", (2, 2)),
        (avif((3, 4)), "image/avif", (3, 4)),
    ],
)
def test_a_picture_is_known_by_its_bytes(data: bytes, media_type: str, size: tuple[int, int]) -> None:
    assert read(data) == Image(media_type=media_type, width=size[0], height=size[1])


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(says=(100_000, 90_000)), (100_000, 90_000)),
        (gif(65_535, 65_535), (65_535, 65_535)),
        (gif(1, 1, frame=(60_000, 5, 5_000, 50_000)), (65_000, 50_005)),
        (jpeg(65_500, 65_500), (65_500, 65_500)),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\xff\xff\xff\xfe\xff\xff", (1 << 24, (1 << 24) - 1)),
        (avif((8, 8), (90_000, 80_000), (100_000, 9)), (100_000, 80_000)),
    ],
)
def test_how_large_it_will_be_is_read_not_unpacked(data: bytes, size: tuple[int, int]) -> None:
    image = read(data)
    assert image is not None
    assert (image.width, image.height) == size
    assert len(data) < 300


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + pictures.HTML,
        png(says=(0, 5)),
        b"GIF89a",
        b"GIF89a" + pictures.HTML,
        gif()[:-1],
        gif().replace(b",", b"x"),
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe1\0\0" * 10,
        jpeg(3, 0),
        jpeg(before=b"\xff\xda\0\x03x"),
        b"\xff\xd8" + b"\xff" * 1000,
        b"RIFF\0\0\0\0WEBPVP9 " + bytes(30),
        b"RIFF\0\0\0\0WEBPVP8 " + bytes(30),
        b"RIFF\0\0\0\0WEBPVP8L" + bytes(30),
        b"RIFF\0\0\0\0WAVEfmt ",
        avif(),
        box(b"ftyp", b"heic", bytes(4), b"mif1", b"heic"),
        box(b"ftyp", b"avif", bytes(4)) + struct.pack(">I4s", 4, b"meta"),
        box(b"ftyp", b"avif", bytes(4)) + struct.pack(">I4sQ", 1, b"meta", 1 << 63),
        pictures.SVG,
        b"\xef\xbb\xbf" + pictures.SVG,
        pictures.HTML,
        b"BM" + bytes(100),
        b"\0\0\x01\0\x01\0" + bytes(100),
        b"%PDF-1.7",
    ],
)
def test_anything_else_is_no_picture(data: bytes) -> None:
    assert read(data) is None


@pytest.mark.parametrize(
    "data", [png(), gif(), jpeg(), pictures.WEBP_LOSSY, pictures.WEBP_ALPHA, pictures.AVIF, avif((1, 1))]
)
def test_mutants_raise_nothing(data: bytes) -> None:
    chance = random.Random(7)
    for _ in range(500):
        mutant = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            mutant[chance.randrange(4, len(mutant))] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
        read(bytes(mutant[: chance.randint(1, len(mutant))]))


@pytest.mark.parametrize(
    "data",
    [
        gif()[:-1] + b"!\xf9\0" * 170_000,
        gif()[:-1] + b"!\xfe" + b"\x01x" * 250_000,
        b"\xff\xd8" + b"\xff\xfe\0\x02" * 130_000,
        b"\xff\xd8" + b"\xff" * 500_000,
        box(b"ftyp", b"avif", bytes(4)) + box(b"meta", bytes(4), box(b"iprp", box(b"ipco", bytes(500_000)))),
        box(b"ftyp", b"avif", bytes(4)) + box(b"meta", bytes(4), box(b"iprp", *[box(b"free")] * 60_000)),
        box(b"ftyp", b"avif", bytes(4)) + box(b"meta", bytes(4)) * 40_000,
    ],
)
def test_the_work_is_bounded(data: bytes) -> None:
    started = time.process_time()
    assert read(data) is None
    assert usual(time.process_time() - started) < 2
