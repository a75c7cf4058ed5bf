"""Curl: what a stranger wrote is no command, and arrives byte by byte."""

from __future__ import annotations

import subprocess

import pytest

from flask_linkback.blueprints.admin.curl import MAX_BODY_BYTES, curl_of
from flask_linkback.webhooks.delivering import MASKED

# a curl that says what it was given, and then what it reads
_STUB = """curl() { for each; do printf '%s\\0' "$each"; done; case "$*" in *"@-") cat;; esac; }\n"""
BODIES = (
    b'{"name":"Joe"}',
    b"'; touch owned; '$(id)`id`\"\\ !! ~ * ?",
    b"@/etc/passwd",
    b"two\nlines\r\n\x1b[201~id\n",
    "\u202egnp.exe".encode(),
    b"\xff\x00\\0101%s",
    b"",
)


def _said(command: str) -> list[bytes]:
    """Return what a shell gives to curl, and last the body."""
    run = subprocess.run(["sh", "-c", _STUB + command], capture_output=True, check=True)
    assert not run.stderr
    *words, piped = run.stdout.split(b"\0", 1 + command.count(" -H ") * 2 + 5)
    return [*words[:-1], piped if words[-1] == b"@-" else words[-1]]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_arrives_as_it_is(body: bytes) -> None:
    said = _said(curl_of("https://a.example/?x='$(id)&[1]", {"X": "it's"}, body))
    assert said[:6] == [b"--globoff", b"-X", b"POST", b"https://a.example/?x='$(id)&[1]", b"-H", b"X: it's"]
    assert said[6] in (b"--data-raw", b"--data-binary")
    assert said[7] == body


def test_what_is_shown_can_be_pasted_safely() -> None:
    for body in BODIES:
        command = curl_of("https://a.example/", {"X": "a\u202eb"}, body)
        assert "\u202e" not in command
        assert all(line.isprintable() for line in command.splitlines())


def test_what_is_masked_is_a_placeholder_and_a_long_body_a_file() -> None:
    command = curl_of("https://a.example/", {"Authorization": MASKED}, b"x" * (MAX_BODY_BYTES + 1))
    assert "'Authorization: <Authorization>'" in command
    assert command.endswith("--data-binary @body")
