"""Receiver: a server for many hosts that answers any POST, and knows what came and when.

``python -m benchmarks.receiver OPTIONS`` serves as many addresses of 127.0.0.0/8 as it is asked to,
on one port, and ends with its standard input. It is one loop without a framework, so that the
clients are what is measured. A delivery is known by its X-Delivery number, or the one at the end of its path;
the signature of one in 64 is checked, X-Hub-Signature or that of Standard Webhooks.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import errno
import hashlib
import hmac
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ANSWER",
    "HOSTS",
    "SECRET",
    "Receiver",
    "address",
    "listen",
    "receiving",
    "sign",
    "webhook_secret",
]

HOSTS = 200
SECRET = b"the secret that both sides know"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_CHECK_EACH = 64


def address(number: int) -> str:
    """Return the address of a host, counted from 0."""
    return f"127.0.0.{number % HOSTS + 1}"


def sign(body: bytes) -> str:
    """Return the signature that a delivery carries in X-Hub-Signature."""
    return f"sha256={hmac.new(SECRET, body, hashlib.sha256).hexdigest()}"


def webhook_secret() -> str:
    """Return the secret as Standard Webhooks writes it."""
    return f"whsec_{base64.b64encode(SECRET).decode()}"


def _signed(head: bytes, body: bytes) -> bool:
    """Is a delivery signed as it should be, in either way? Base64 in lower case, as the head is."""
    signature = _value(head, b"\r\nwebhook-signature: ")
    if not signature:
        return _value(head, b"\r\nx-hub-signature: ") == sign(body).encode()
    signed = b".".join((_value(head, b"\r\nwebhook-id: "), _value(head, b"\r\nwebhook-timestamp: "), body))
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest())
    return signature == b"v1," + expected.lower()


# --- the process that serves -------------------------------------------------------------------------


@dataclass
class _Wire:
    """One connection."""

    sock: socket.socket
    delay: float
    came: bytes = b""
    first_byte_at: float = 0.0


@dataclass
class _Server:
    """The loop: reads whole requests, remembers them, answers at once or after its host's delay."""

    listeners: dict[int, tuple[socket.socket, float]]
    wires: dict[int, _Wire] = field(default_factory=dict)
    waiting: dict[float, deque[tuple[float, _Wire]]] = field(default_factory=dict)
    arrivals: dict[int, float] = field(default_factory=dict)
    repeats: int = 0
    checked: int = 0
    forged: int = 0

    def serve(self, commands: int) -> None:
        poll = select.epoll()
        for number in (commands, *self.listeners):
            poll.register(number, select.EPOLLIN)
        while True:
            for number, _ in poll.poll(self._seconds()):
                wire = self.wires.get(number)
                if wire is not None:
                    if not self._read(wire):
                        poll.unregister(number)
                        del self.wires[number]
                        wire.sock.close()
                elif number == commands:
                    if not self._obey(os.read(commands, 65536)):
                        return
                else:
                    self._accept(number, poll)
            self._answer_the_delayed()

    def _accept(self, number: int, poll: select.epoll) -> None:
        listener, delay = self.listeners[number]
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.wires[sock.fileno()] = _Wire(sock, delay)
                poll.register(sock.fileno(), select.EPOLLIN)

    def _read(self, wire: _Wire) -> bool:
        """Take what came; False when the other side has closed."""
        try:
            data = wire.sock.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        if not wire.came:
            wire.first_byte_at = time.monotonic()
        wire.came += data
        end = wire.came.find(b"\r\n\r\n")
        if end < 0:
            return True
        head = wire.came[:end].lower()
        whole = end + 4 + int(_value(head, b"\r\ncontent-length: ") or 0)
        if len(wire.came) < whole:
            return True
        self._take(wire, head, wire.came[end + 4 : whole])
        wire.came = wire.came[whole:]
        if wire.delay:
            self.waiting.setdefault(wire.delay, deque()).append((time.monotonic() + wire.delay, wire))
        else:
            wire.sock.send(ANSWER)
        return True

    def _take(self, wire: _Wire, head: bytes, body: bytes) -> None:
        number = int(_value(head, b"\r\nx-delivery: ") or _in_path(head) or -1)
        if number in self.arrivals:
            self.repeats += 1
            return
        self.arrivals[number] = wire.first_byte_at
        if number % _CHECK_EACH == 0:
            self.checked += 1
            self.forged += not _signed(head, body)

    def _seconds(self) -> float:
        due = [line[0][0] for line in self.waiting.values() if line]
        return max(0.0, min(due) - time.monotonic()) if due else -1

    def _answer_the_delayed(self) -> None:
        now = time.monotonic()
        for line in self.waiting.values():  # each in the order in which they are due
            while line and line[0][0] <= now:
                _, wire = line.popleft()
                with contextlib.suppress(OSError):  # the client did not wait
                    wire.sock.send(ANSWER)

    def _obey(self, commands: bytes) -> bool:
        """Answer each line of the parent; False when there is no parent any more."""
        for command in commands.decode().split():
            if command == "forget":
                self.arrivals, self.repeats, self.checked, self.forged = {}, 0, 0, 0
            said: Any = len(self.arrivals)
            if command == "tell":
                said = {
                    "arrivals": list(self.arrivals.items()),
                    "repeats": self.repeats,
                    "checked": self.checked,
                    "forged": self.forged,
                    "cpu": time.process_time(),
                }
            print(json.dumps(said), flush=True)
        return bool(commands)


def _in_path(head: bytes) -> bytes | None:
    """The number at the end of the path: ``/hook/17``."""
    last = head.partition(b" ")[2].partition(b" ")[0].rpartition(b"/")[2]
    return last if last.isdigit() else None


def _value(head: bytes, name: bytes) -> bytes | None:
    start = head.find(name)
    if start < 0:
        return None
    start += len(name)
    end = head.find(b"\r", start)
    return head[start:] if end < 0 else head[start:end]


def listen(hosts: int) -> list[socket.socket]:
    """Listen on one port of every host's address."""
    for _ in range(20):
        with contextlib.ExitStack() as stack:
            port = 0
            listeners = []
            try:
                for number in range(hosts):
                    listener = stack.enter_context(socket.socket())
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind((address(number), port))
                    listener.listen(512)
                    listener.setblocking(False)
                    port = port or listener.getsockname()[1]
                    listeners.append(listener)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue  # somebody has the port on another address
            stack.pop_all()
            return listeners
    raise SystemExit("No port is free on all addresses.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=HOSTS)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--slow-hosts", type=int, default=0, help="so many hosts have another delay")
    parser.add_argument("--slow-delay", type=float, default=1.0)
    options = parser.parse_args()
    every = options.hosts // options.slow_hosts if options.slow_hosts else 0
    listeners = {}
    for number, listener in enumerate(listen(options.hosts)):
        slow = bool(every) and number % every == 0
        listeners[listener.fileno()] = (listener, options.slow_delay if slow else options.delay)
    port = next(iter(listeners.values()))[0].getsockname()[1]
    print(json.dumps({"port": port}), flush=True)
    _Server(listeners).serve(sys.stdin.fileno())


# --- for whoever measures ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a receiver has to tell: the time (``time.monotonic``) of each delivery's first byte, by number."""

    arrivals: dict[int, float]
    repeats: int
    checked: int
    cpu: float

    @property
    def per_second(self) -> float:
        times = self.arrivals.values()
        return (len(times) - 1) / (max(times) - min(times))


class Receiver:
    """A receiver in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port: int = self._answer()["port"]

    def url(self, number: int) -> str:
        return f"http://{address(number)}:{self.port}/hook"

    def count(self) -> int:
        return int(self._ask("count"))

    def forget(self) -> None:
        self._ask("forget")

    def heard(self) -> Heard:
        told = self._ask("tell")
        if told["forged"]:
            raise SystemExit(f"{told['forged']} of {told['checked']} signatures are wrong.")
        return Heard(
            arrivals=dict(told["arrivals"]),
            repeats=told["repeats"],
            checked=told["checked"],
            cpu=told["cpu"],
        )

    def wait_for(self, count: int, *, seconds: float, alive: subprocess.Popen[Any] | None = None) -> Heard:
        """Return what was heard once so many deliveries came; fail when they do not."""
        deadline = time.monotonic() + seconds
        while self.count() < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"Only {self.count()} of {count} deliveries came in {seconds:.0f} s.")
            if alive is not None and alive.poll() is not None:
                raise SystemExit(f"The client ended with {alive.returncode} before all was delivered.")
            time.sleep(0.05)
        return self.heard()

    def _ask(self, command: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def receiving(
    *, hosts: int = HOSTS, delay: float = 0.0, slow_hosts: int = 0, slow_delay: float = 1.0
) -> Iterator[Receiver]:
    """Run a receiver for as long as the context lasts."""
    command = [sys.executable, "-m", "benchmarks.receiver", f"--hosts={hosts}", f"--delay={delay}"]
    command += [f"--slow-hosts={slow_hosts}", f"--slow-delay={slow_delay}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Receiver(process)
        finally:
            process.kill()


if __name__ == "__main__":
    main()
