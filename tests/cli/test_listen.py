"""What comes is printed: durian's ``debug`` view, by command."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_linkback.protocols.standardwebhooks import headers, new_key_pair, new_secret
from tests.apps import Blog
from tests.cli.commands import ended, run
from tests.pingback.tools import request

SECRET = new_secret()
PRIVATE, PUBLIC = new_key_pair()
BODY = b'{"type": "person.created"}\n\x1b[31m\xff second line'


class Listener:
    """A process that listens, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.stdout = process.stdout
        first = self.stdout.readline()
        self.url = json.loads(first)["url"] if first.startswith("{") else first.split()[2]

    def send(
        self, method: str = "POST", path: str = "", body: bytes = BODY, **said: str
    ) -> tuple[int, bytes]:
        status, _, answer = request(
            method, self.url + path, body, {k.replace("_", "-"): v for k, v in said.items()}
        )
        return status, answer

    def signed(self, secrets: Any = SECRET, *, seconds: int = 0) -> tuple[int, bytes]:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        return self.send(**headers(secrets, webhook_id="msg_1", at=at, body=BODY))

    def block(self) -> list[str]:
        """The lines of one request."""
        return [line.rstrip() for line in iter(self.stdout.readline, "\n")]

    def record(self) -> Any:
        return json.loads(self.stdout.readline())


@pytest.fixture
def listen(start: Callable[..., subprocess.Popen[str]], sqlite_url: str) -> Callable[..., Listener]:
    def listen(*args: str) -> Listener:
        return Listener(start({"database_url": sqlite_url}, "listen", *args))

    return listen


def test_what_comes_is_printed_and_thanked_for(listen: Callable[..., Listener]) -> None:
    listener = listen("--secret", SECRET, "--secret", PUBLIC)
    assert listener.url.startswith("http://127.0.0.1:")
    assert listener.send(path="hook?a=1", x_person="Joe") == (200, b"Thanks!")
    lines = listener.block()
    assert lines[0] == "POST /hook?a=1"
    assert "  x-person: Joe" in lines
    assert "  Signature: wrong. The id of the message is missing or misshapen." in lines
    # what would steer the terminal does not
    assert lines[-2:] == ['    {"type": "person.created"}', "     [31m\ufffd second line"]
    for secrets in (SECRET, PRIVATE, [new_secret(), SECRET]):
        listener.signed(secrets)
        assert "  Signature: right" in listener.block()
    listener.signed(new_secret())
    assert "  Signature: wrong. No signature is right." in listener.block()
    listener.signed(seconds=-400)
    assert "  Signature: wrong. The message is too old." in listener.block()
    assert listener.send("GET", body=b"") == (200, b"Thanks!")
    assert listener.block()[0] == "GET /"
    assert listener.send(body=b"x" * 300_000) == (413, b"Too large.")
    assert listener.stdout.readline() == "POST /: More than 262144 bytes, refused.\n"
    assert listener.send(body=b"y" * 20_000) == (200, b"Thanks!")
    *_, text, rest = listener.block()
    assert (len(text), rest) == (4 + 16384, "    ... 20000 bytes in all")
    listener.process.send_signal(signal.SIGINT)
    assert ended(listener.process).status == 0


def test_programs_get_a_document_on_a_line_for_each(listen: Callable[..., Listener]) -> None:
    listener = listen("--json")
    listener.signed()
    record = listener.record()
    assert (record["method"], record["path"], record["bytes"]) == ("POST", "/", len(BODY))
    assert record["headers"]["webhook-id"] == "msg_1"
    assert record["body"] == BODY.decode(errors="replace")
    assert record["signature"] is None  # nobody asked
    status, said, _ = request("OPTIONS", listener.url, None, {"WebHook-Request-Origin": "events.example"})
    assert (status, said["WebHook-Allowed-Origin"]) == (200, "events.example")
    assert listener.record()["method"] == "OPTIONS"
    assert listener.send(path="x", body=b"x" * 300_000)[0] == 413
    assert listener.record() == {"method": "POST", "path": "/x", "error": "More than 262144 bytes, refused."}
    listener.process.terminate()
    assert ended(listener.process).status == 0


def test_what_cannot_be_is_told(blog: Blog) -> None:
    ran = run(blog, "listen", "--secret", "hunter2")
    assert ran.status == 1
    assert "24 to 64 bytes" in ran.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run(blog, "listen", "--port", str(port))
        assert ran.status == 1
        assert f"Nobody can listen at 127.0.0.1:{port}." in ran.stderr
