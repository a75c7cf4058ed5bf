"""Curl: a request as a command that one can paste into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from ...protocols import text
from ...webhooks.delivering import AT_SENDING, MASKED

__all__ = ["curl_of"]

MAX_BODY_BYTES: Final = 4096
"""What is longer comes from a file: nobody pastes it."""
_PRINTABLE: Final = frozenset(range(0x20, 0x7F)) - {ord("\\")}


def curl_of(url: str, headers: Mapping[str, str], body: bytes) -> str:
    """Return a request as words that any POSIX shell takes as they are: nothing in it is a command or a file.

    What was masked, or is made when a request is sent, is a placeholder in angle brackets.
    """
    said = {name: f"<{name}>" if value in (MASKED, AT_SENDING) else value for name, value in headers.items()}
    words = [f"-H {_word(f'{name}: {value}')}" for name, value in said.items()]
    before = ""
    if len(body) > MAX_BODY_BYTES:
        words.append("--data-binary @body")
    elif (plain := _plain(body)) is not None:
        # not --data, for which a body that begins with @ is the name of a file
        words.append(f"--data-raw {_word(plain)}")
    else:
        before = f"printf '%b' {_word(_escaped(body))} |\n  "
        words.append("--data-binary @-")
    return " \\\n  ".join([f"{before}curl --globoff -X POST {_word(url)}", *words])


def _word(said: str) -> str:
    return shlex.quote(text.plain(said))


def _plain(body: bytes) -> str | None:
    """Return a body as text; None if something in it cannot be shown as it is."""
    try:
        said = body.decode()
    except UnicodeDecodeError:
        return None
    return said if said.isprintable() and text.plain(said) == said else None


def _escaped(body: bytes) -> str:
    """Return bytes for the ``%b`` of printf, which takes ``\\0`` and three octal digits for any of them."""
    return "".join(chr(byte) if byte in _PRINTABLE else f"\\0{byte:03o}" for byte in body)
