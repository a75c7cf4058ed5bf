"""Receiver: a fast server on many addresses of this machine that remembers what it was told, and when.

It takes pingbacks at ``/rpc``, notes at ``/note`` and offers any page by GET. Its manners can change:
what is told may wait for its answer, get none, or another status.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Self

from flask_linkback.protocols import xmlrpc

_TOLD = re.compile(rb"/page/([\w.-]+)</")
_THANKS: Final = xmlrpc.dump_response("thanks")


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """One thing that was told."""

    id: str
    at: float
    """time.monotonic()"""
    wall: float
    """time.time()"""
    host: str
    digest: str
    """Of the body."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How something is answered: after so many seconds, with this status, or not at all."""

    seconds: float = 0.0
    status: int = 200
    hang_up: bool = False


Manners = Callable[[Receipt, int], Manner]
"""Of a receipt and how many there were of its id before."""
Page = Callable[[str], tuple[Manner, bytes]]
"""Of a path."""
_GOOD: Final = Manner()


class Receiver:
    """A server on ``hosts`` addresses, 127.0.1.1 and on, in a thread of its own."""

    def __init__(self, *, hosts: int = 1, manners: Manners | None = None, page: Page | None = None) -> None:
        self.receipts: list[Receipt] = []
        self.pages: list[tuple[float, str, str]] = []
        """When (time.monotonic) which path of which host was asked for."""
        self.counts: Counter[str] = Counter()
        """How often each id was told."""
        self.manners = manners or (lambda receipt, before: _GOOD)
        self.page = page
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._sockets = [_listener(number) for number in range(hosts)]
        self.hosts = [f"{host}:{port}" for host, port in (each.getsockname() for each in self._sockets)]
        self._open: set[_Connection] = set()

    def url(self, path: str, host: int = 0) -> str:
        """The URL of a path on the host of this number, counted round."""
        return f"http://{self.hosts[host % len(self.hosts)]}{path}"

    def wait_for(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds of what was received; say whether it does."""
        with self._changed:
            return self._changed.wait_for(done, seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        closed: Future[None] = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        closed.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for each in self._sockets:
            serving = self._loop.create_server(lambda: _Connection(self), sock=each)
            self._loop.run_until_complete(serving)
        self._loop.run_forever()

    async def _close(self) -> None:
        for each in self._sockets:
            self._loop.remove_reader(each)
            each.close()
        for connection in list(self._open):
            connection.transport.abort()

    # --- for connections, in the loop's thread -------------------------------------------------------

    def opened(self, connection: _Connection) -> None:
        self._open.add(connection)

    def lost(self, connection: _Connection) -> None:
        self._open.discard(connection)

    def answer(self, connection: _Connection, method: str, path: str, body: bytes) -> None:
        """Remember what came, and answer it as the manners are."""
        if method != "POST":
            with self._changed:
                self.pages.append((time.monotonic(), connection.host, path))
                self._changed.notify_all()
            if self.page is not None:
                manner, content = self.page(path)
                connection.reply(manner, content)
            else:
                pingback = f"X-Pingback: http://{connection.host}/rpc\r\n".encode()
                connection.reply(_GOOD, b"<title>A page</title>", pingback)
            return
        told = body.decode() if path == "/note" else _told(body)
        receipt = Receipt(
            id=told,
            at=time.monotonic(),
            wall=time.time(),
            host=connection.host,
            digest=hashlib.sha256(body).hexdigest(),
        )
        manner = self.manners(receipt, self.counts[told])
        with self._changed:
            self.counts[told] += 1
            self.receipts.append(receipt)
            self._changed.notify_all()
        connection.reply(manner, _THANKS)


def _listener(number: int) -> socket.socket:
    # each address is a host of its own for caps and lanes
    address = f"127.0.{1 + number // 250}.{1 + number % 250}"
    listener = socket.create_server((address, 0), backlog=512)
    listener.setblocking(False)
    return listener


def _told(call: bytes) -> str:
    match = _TOLD.search(call)
    assert match is not None, call
    return match[1].decode()


class _Connection(asyncio.Protocol):
    """One connection: requests are answered one after the other."""

    transport: asyncio.Transport

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self.host = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        address, port = transport.get_extra_info("sockname")
        self.host = f"{address}:{port}"
        self._receiver.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.lost(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        _, found, after = lower.partition(b"content-length:")
        length = int(after.partition(b"\r\n")[0]) if found else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, _ = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        self._receiver.answer(self, method, path, rest[:length])

    def reply(self, manner: Manner, content: bytes, headers: bytes = b"") -> None:
        if manner.hang_up:
            self.transport.close()
            return
        head = b"HTTP/1.1 %d Status\r\nContent-Type: text/html\r\nContent-Length: %d\r\n%s\r\n"
        data = head % (manner.status, len(content), headers) + content
        if manner.seconds:
            asyncio.get_running_loop().call_later(manner.seconds, self._write, data)
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)
