"""Neighbours: real servers on 127.0.0.1 that remember what they were asked, and can misbehave.

::

    with Neighbour() as neighbour:
        neighbour.answer("/hook", status=202)
        fetcher.post(neighbour.url("/hook"), b"...")
        assert neighbour.wait_for(1)[0].body == b"..."

A route is an `Answer` or a function ``(request, wire)`` that writes what it likes. Nothing sleeps:
a server that is slow by intention waits in `Wire.pause`, which ends when the neighbour is closed.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import trustme

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What somebody asked."""

    method: str
    path: str  # with the query, as sent
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: float  # time.monotonic()
    connection: int  # 0 for the first connection
    server_name: str | None  # that TLS was asked for

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is answered; Content-Length comes of itself unless a header says otherwise."""

    status: int = 200
    body: bytes = b""
    headers: Pairs = ()

    def dump(self, method: str) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Status"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        names = {name.lower() for name, _ in self.headers}
        if not names & {"content-length", "transfer-encoding"} and self.status not in (204, 304):
            lines.append(f"Content-Length: {len(self.body)}")
        body = b"" if method == "HEAD" else self.body
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Gone(Exception):
    """The other side, or the neighbour itself, ended the connection."""


class Wire:
    """One connection in the hands of a route."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self.sock = sock
        self.closing = closing
        self.keep = True  # the connection goes on after this route

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except (OSError, ValueError):
            raise Gone from None

    def pause(self, seconds: float | None = None) -> None:
        """Do nothing for a while, or until the neighbour is closed."""
        if self.closing.wait(seconds):
            raise Gone

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on with TLS on the same connection, as behind the CONNECT of a proxy."""
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True)
        except (OSError, ValueError):
            raise Gone from None


Route = Answer | Callable[[Request, Wire], Any]


class Neighbour:
    """A server on a port of its own; what it was asked is in ``requests``, in their order."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        scheme: str | None = None,
        host: str = "127.0.0.1",
        greet: Callable[[Wire], Any] | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._routes: dict[str, Route] = {}
        self._default: Route = Answer(status=404)
        self._tls = tls
        self._greet = greet  # speaks before anything is read
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[Wire] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=128)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.scheme = scheme or ("https" if tls else "http")

    def url(self, path: str = "/", *, host: str | None = None) -> str:
        """Return the URL of a path, by another host name if one is given."""
        name = host or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"{self.scheme}://{name}:{self.port}{path}"

    def answer(self, path: str, status: int = 200, body: bytes = b"", headers: Pairs = ()) -> None:
        """Answer a path (without its query) so from now on."""
        self._routes[path] = Answer(status=status, body=body, headers=headers)

    def route(self, path: str, route: Route) -> None:
        """Let a function write the answer of a path."""
        self._routes[path] = route

    def default(self, route: Route) -> None:
        """Answer every other path so."""
        self._default = route

    def wait_for(self, count: int, timeout: float = 10) -> list[Request]:
        """Return the requests as soon as there are so many; fail if there never are."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout):
                raise AssertionError(f"{len(self.requests)} requests came, not {count}")
            return list(self.requests)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        with self._changed:
            wires = list(self._open)
        for wire in wires:
            with contextlib.suppress(OSError):
                wire.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:  # grows until the first of them, which accepts, has ended
            thread.join(10)
        self._listener.close()
        left = [thread for thread in self._threads if thread.is_alive()]
        assert not left, f"threads left: {left}"

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name=f"neighbour:{self.port}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            wire = Wire(sock, self._closing)
            with self._changed:
                number = self.connections
                self.connections += 1
                self._open.add(wire)
            if self._closing.is_set():
                sock.close()
                return
            self._start(self._serve, wire, number)

    def _serve(self, wire: Wire, number: int) -> None:
        try:
            wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._greet is not None:
                self._greet(wire)
            if self._tls is not None:
                wire.start_tls(self._tls)
            while wire.keep and self._serve_one(wire, number):
                pass
        except (Gone, OSError, ValueError):  # ValueError: shut down in the middle of TLS
            pass
        finally:
            with self._changed:
                self._open.discard(wire)
            wire.sock.close()

    def _serve_one(self, wire: Wire, number: int) -> bool:
        name = getattr(wire.sock, "linkback_server_name", None)
        with wire.sock.makefile("rb") as reader:
            request = _read_request(reader, number, name)
        if request is None:
            return False
        route = self._routes.get(request.path.partition("?")[0], self._default)
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        if isinstance(route, Answer):
            wire.send(route.dump(request.method))
            closes = any(n.lower() == "connection" and "close" in v.lower() for n, v in route.headers)
            return not closes
        route(request, wire)
        return True


def _read_request(reader: io.BufferedReader, connection: int, server_name: str | None) -> Request | None:
    start = reader.readline().decode("latin-1").split()
    if len(start) != 3:
        return None
    headers = []
    while (line := reader.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    body = reader.read(length) if length else b""
    return Request(
        method=start[0],
        path=start[1],
        headers=tuple(headers),
        body=body,
        at=time.monotonic(),
        connection=connection,
        server_name=server_name,
    )


class Deaf:
    """A port whose queue of connections is full: connecting to it never ends."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        listener = self._stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        self.port: int = listener.getsockname()[1]
        for _ in range(4):
            waiting = self._stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


# --- certificates ---------------------------------------------------------------------------------


@functools.cache
def authority() -> trustme.CA:
    """Return the authority that signs for all neighbours of a test run."""
    return trustme.CA()


def write_ca_bundle(directory: Path) -> str:
    """Write the authority's certificate to a file, for LINKBACK_CA_BUNDLE; return its path."""
    path = directory / "neighbours.pem"
    authority().cert_pem.write_to_path(str(path))
    return str(path)


def server_context(*names: str, ca: trustme.CA | None = None) -> ssl.SSLContext:
    """Return the context of a server whose certificate is for these names and addresses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (ca or authority()).issue_cert(*names).configure_cert(context)

    def remember(sock: Any, name: str | None, _: ssl.SSLContext) -> None:
        sock.linkback_server_name = name

    context.sni_callback = remember
    return context


# --- names ----------------------------------------------------------------------------------------


@dataclass
class Resolver:
    """Stands in for the resolver of the machine, for names only: what no test can ask a real one.

    ``names["two.test"] = ["198.51.100.1", "127.0.0.1"]``; a list of lists answers in turn. With
    ``only_these`` other names are nobody's, and no server is asked for them.
    """

    names: dict[str, Any] = field(default_factory=dict)
    only_these: bool = False
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        self.asked.append(host)
        answer = self.names.get(host)
        if answer is None and self.only_these and str(host).rpartition(".")[2].isalpha():
            answer = []
        if answer is None:
            return list(self._real(host, port, *args, **kwargs))
        if answer and isinstance(answer[0], list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found: list[Any] = []
        for each in answer:
            six = ipaddress.ip_address(each.partition("%")[0]).version == 6
            family = socket.AF_INET6 if six else socket.AF_INET
            address = (each, port, 0, 0) if six else (each, port)
            found.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address))
        return found


# --- bad manners ----------------------------------------------------------------------------------


def slow_body(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    drip(wire, b"x")


def slow_head(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    drip(wire, b"x")


def slow_status(request: Request, wire: Wire) -> None:
    drip(wire, b"H")


def slow_chunk_line(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    drip(wire, b"x")


def slow_trailers(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    drip(wire, b"X-Trailer: x\r\n")


def slow_continue(request: Request, wire: Wire) -> None:
    drip(wire, b"HTTP/1.1 100 Continue\r\n\r\n")


def silent(request: Request, wire: Wire) -> None:
    wire.pause()


def drip(wire: Wire, data: bytes, seconds: float = 0.02) -> None:
    while True:
        wire.send(data)
        wire.pause(seconds)


def pour(wire: Wire, data: bytes) -> None:
    data *= max(1, 65536 // len(data))
    while not wire.closing.is_set():
        wire.send(data)


def endless_continue(request: Request, wire: Wire) -> None:
    pour(wire, b"HTTP/1.1 100 Continue\r\n\r\n")


def endless_body(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
    pour(wire, b"x")


def endless_chunks(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    pour(wire, b"1\r\nx\r\n")


def endless_chunk_extension(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    pour(wire, b"x")


def endless_trailers(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    pour(wire, b"X-Trailer: x\r\n")


def endless_status_line(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 ")
    pour(wire, b"x")


def many_headers(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(5000)) + b"\r\n")


def huge_headers(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(99):
        wire.send(b"X-%d: %s\r\n" % (number, b"x" * 65000))
    wire.send(b"\r\n")


def huge_redirect_body(request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n")
    pour(wire, b"x")


def raw(data: bytes) -> Callable[[Request, Wire], None]:
    """Return a route that writes these bytes and closes."""

    def route(request: Request, wire: Wire) -> None:
        wire.send(data)
        wire.keep = False

    return route


def hang_up(request: Request, wire: Wire) -> None:
    wire.keep = False


def chunked(*chunks: bytes, headers: bytes = b"", trailers: bytes = b"") -> bytes:
    """Return a whole answer in chunks."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + headers + b"\r\n"
    return head + body + b"0\r\n" + trailers + b"\r\n"


@functools.cache
def bomb(megabytes: int, layers: int = 1) -> bytes:
    """Return so many megabytes of nothing, packed by gzip so many times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()
    for _ in range(layers - 1):
        packed = gzip.compress(packed)
    return packed


@contextlib.contextmanager
def no_threads_left() -> Iterator[None]:
    """Fail if what runs inside leaves a thread behind."""
    before = set(threading.enumerate())
    yield
    left: Iterable[threading.Thread] = set(threading.enumerate()) - before
    assert not left, f"threads left: {left}"
