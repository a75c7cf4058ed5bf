"""Fetch: the only door to the network, guarded, bounded and timed.

urllib3 opens the connections: TLS, certificate names and proxy tunnels are its work. Which address
is connected to is decided here, in the one method that every connection of urllib3 goes through.
The exchange itself is written and read here too: each byte that arrives is counted and each wait
ends with the deadline of the request it belongs to, on connections that live longer than requests.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import functools
import importlib.metadata
import io
import ipaddress
import logging
import os
import re
import socket
import ssl
import string
import threading
import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import parse_url
from urllib3.util.wait import wait_for_read

from .config import IPNetwork, Settings
from .core import anywhere
from .errors import (
    AddressRefused,
    ConfigError,
    FetchError,
    TooLarge,
    TooManyRedirects,
    TooSlow,
    Unreachable,
)

__all__ = ["Fetcher", "Headers", "Hop", "Response", "URLParts", "check_url", "public_address"]

logger = logging.getLogger(__name__)

PURPOSES = ("", "topic", "hub", "callback")
KEPT_OF_A_DELIVERY = 16 * 1024  # bytes of the answer to a POST
CHUNK = 16 * 1024
MAX_URL = 2048
MAX_HEAD = 64 * 1024  # bytes of status line and headers, interim answers included
MAX_FIELDS = 200
MAX_CHUNK_LINE = 1024
MAX_CODINGS = 3  # of one body; each has its own limit of decoded bytes
MAX_ADDRESSES = 4  # of one host that are tried
MAX_IDLE = 256
MAX_IDLE_PER_HOST = 16
IDLE_SECONDS = 20.0

# what a connection may raise when the other side, or the network, misbehaves
_BROKEN = (OSError, HTTPError, HTTPException, ValueError)
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_DEFAULT_PORTS = {"http": 80, "https": 443}


# --- which addresses ------------------------------------------------------------------------------


# Not `is_global`: its answer differs between versions of Python, and multicast, 6to4 and
# NAT64 forms of private addresses are global for some of them. From the IANA special-purpose
# registries; 168.63.129.16 is the host of a virtual machine in Azure.
_NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(each)
    for each in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
_UNICAST_6 = ipaddress.IPv6Network("2000::/3")  # nothing else was ever handed out
_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(each)
    for each in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)


def public_address(ip_text: str, allow: Iterable[IPNetwork] = ()) -> bool:
    """Return whether an IP address is one that everybody may reach, or is in ``allow``.

    An address with a scope, and text that is no address, is neither.
    """
    if "%" in ip_text:
        return False
    try:
        address = ipaddress.ip_address(ip_text)
    except ValueError:
        return False
    if any(address in network for network in allow):  # another version is in no network
        return True
    if isinstance(address, ipaddress.IPv6Address):
        return address in _UNICAST_6 and not any(address in network for network in _NOT_PUBLIC_6)
    return not any(address in network for network in _NOT_PUBLIC_4)


class URLParts(NamedTuple):
    """A URL in the form in which it is asked for: ASCII, host in lower case, port filled in."""

    scheme: str
    host: str  # an IPv6 address stands without its brackets
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        """The host as the Host header says it: brackets for IPv6, a port that is not the default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


_SCHEME = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")
_AS_IT_STANDS = string.punctuation
_HOST = re.compile(r"(?=.{1,254}\Z)(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")


@functools.lru_cache(maxsize=1024)
def check_url(url: str) -> URLParts:
    """Return the parts of an http or https URL that is fit to be asked for.

    Only its form is judged; a name is resolved, and its addresses are, when the connection is
    made. Raises `AddressRefused`.
    """
    if not isinstance(url, str) or len(url) > MAX_URL or _NOT_IN_URL.search(url):
        raise AddressRefused("The URL is too long or has characters that URLs do not have.")
    start = _SCHEME.match(url)
    if start is None:
        raise AddressRefused("Only http:// and https:// URLs are fetched.")
    if "@" in start[1] or "%" in start[1]:
        raise AddressRefused("The URL has credentials, or a host that is not a plain name.")
    try:
        parsed = parse_url(url)
    except LocationParseError:
        raise AddressRefused("The URL is not well-formed.") from None
    scheme, host, port = parsed.scheme or "", parsed.host or "", parsed.port
    if host.startswith("["):
        host = host[1:-1]
    elif not _HOST.fullmatch(host):
        raise AddressRefused("The URL's host is not a host name.")
    if port is None:
        port = _DEFAULT_PORTS[scheme]
    elif not 0 < port < 65536:
        raise AddressRefused("The URL's port is not a port.")
    path = parsed.path or "/"
    if parsed.query is not None:
        # as it stands: what looks the same to us may not to whom it was written for, or signed by
        query = url.partition("#")[0].partition("?")[2]
        path = f"{path}?{quote(query, safe=_AS_IT_STANDS, errors='replace')}"
    return URLParts(scheme, host, port, path)


# --- what comes back ------------------------------------------------------------------------------


class Headers(Mapping[str, str]):
    """The headers of an answer: read-only, names in any case, each name as often as it came.

    ``headers[name]`` and ``get`` are the first value of a name, ``get_all`` is all of them.
    """

    __slots__ = ("_values", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = tuple(pairs)  # (name as sent, value), in their order
        self._values: dict[str, list[str]] = {}
        for name, value in self.pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()][0]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.pairs)!r})"

    def get_all(self, name: str) -> list[str]:
        """Return each value of a name, in the order in which they came."""
        return list(self._values.get(name.lower(), ()))

    getlist = get_all  # as Werkzeug calls it


@dataclass(frozen=True, kw_only=True, slots=True)
class Hop:
    """One request that was made, and how it was answered."""

    url: str
    status: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """An answer, whatever its status."""

    status: int
    url: str  # after redirects
    headers: Headers
    body: bytes  # decoded; empty if chunks were handed out instead
    hops: tuple[Hop, ...]  # the last is this answer
    seconds: float
    address: str  # that was connected to; empty behind a proxy


# --- bounds ---------------------------------------------------------------------------------------


class _Budget:
    """What one request may still cost, its redirects included."""

    __slots__ = ("bytes_left", "deadline", "patience")

    def __init__(self, *, deadline: float, patience: float, bytes_left: int) -> None:
        self.deadline = deadline
        self.patience = patience  # seconds of one wait
        self.bytes_left = bytes_left

    def seconds(self, at_most: float | None = None) -> float:
        """Return how long the next wait may take."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TooSlow("The answer took too long.")
        return min(left, self.patience if at_most is None else at_most)


class _Socket(socket.socket):
    """A socket whose reads are charged to the request that is using it.

    Every read of a connection goes through ``recv_into``, since it is made by a file object.
    """

    budget: _Budget | None = None  # None while the connection is idle
    armed = 0.0  # the timeout as last set

    def arm(self, seconds: float) -> None:
        """Set the timeout; a system call, and left out where it would change next to nothing."""
        slack = min(seconds / 20, 0.1)
        if not seconds - slack < self.armed <= seconds + slack:
            self.settimeout(seconds)
            self.armed = seconds

    def recv_into(self, *args: Any) -> int:
        budget = self.budget
        if budget is None:  # whoever reads now looks for bytes that nobody asked for
            raise BlockingIOError(errno.EAGAIN, "the connection is idle")
        self.arm(budget.seconds())
        try:
            count: int = super().recv_into(*args)
        except TimeoutError:
            raise TooSlow("The answer took too long.") from None
        budget.bytes_left -= count
        if budget.bytes_left < 0:
            raise TooLarge("The answer is too large.")
        return count

    def gettimeout(self) -> float | None:
        # what a TLS handshake takes over from the socket that it wraps
        return super().gettimeout() if self.budget is None else self.budget.seconds()


class _TLSSocket(_Socket, ssl.SSLSocket):
    """The same with TLS."""


# --- connections ----------------------------------------------------------------------------------


class _Hangup(Unreachable):
    """The connection ended before the first byte of an answer."""

    def __init__(self, *, asked: bool) -> None:
        super().__init__("The server closed the connection.")
        self.asked = asked  # the request may have been read


class _Connection(HTTPConnection):
    """A connection to an address that was checked in the moment of connecting to it."""

    key: Any = None
    networks: tuple[IPNetwork, ...] = ()
    connect_timeout: float = 5.0
    proxied: bool = False
    budget: _Budget | None = None
    reader: io.BufferedReader | None = None
    address: str = ""
    reused: bool = False
    idle_since: float = 0.0

    def _new_conn(self) -> socket.socket:
        """Return a socket that is connected to one of the host's addresses (urllib3 asks here).

        One resolution serves both check and connection: a second one might answer differently.
        A single address that is not public spoils all of them.
        """
        budget = self.budget
        assert budget is not None
        try:
            answers = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Unreachable("The host has no address.") from None
        budget.seconds()  # the resolver keeps its own time
        if not self.proxied:
            for answer in answers:
                self._check(answer[4][0])
        failure: OSError | None = None
        for family, kind, protocol, _, address in answers[:MAX_ADDRESSES]:
            plain = _Socket(family, kind, protocol)
            try:
                plain.settimeout(budget.seconds(self.connect_timeout))
                plain.connect(address)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if not self.proxied:
                    self.address = self._check(plain.getpeername()[0])
            except OSError as error:
                plain.close()
                failure = error
            except FetchError:
                plain.close()
                raise
            else:
                plain.budget = budget
                return plain
        if isinstance(failure, TimeoutError):
            raise TooSlow("The server does not take the connection.")
        raise Unreachable("The server does not take the connection.")

    def _check(self, address: str | int) -> str:
        if not isinstance(address, str) or not public_address(address, self.networks):
            refusal = AddressRefused("The host has an address that is not public (LINKBACK_ALLOW_NETWORKS).")
            refusal.add_note(f"{self.host} has the address {address}")
            raise refusal
        return address

    def open(self, budget: _Budget) -> None:
        """Connect, which for https ends with a certificate that is the host's."""
        self.budget = budget
        try:
            self.connect()
        except ssl.SSLCertVerificationError:
            raise Unreachable("The server's certificate is not accepted.") from None
        except TimeoutError:
            raise TooSlow("The server took too long to greet.") from None
        except _BROKEN as error:
            raise Unreachable("The server cannot be reached.") from error
        assert isinstance(self.sock, _Socket)
        self.sock.budget = budget
        self.reader = self.sock.makefile("rb")

    def send_whole(self, request: bytes) -> None:
        assert isinstance(self.sock, _Socket)
        assert self.budget is not None
        self.sock.arm(self.budget.seconds())
        try:
            self.sock.sendall(request)
        except TimeoutError:
            raise TooSlow("The server took too long to read.") from None
        except OSError:
            # no server has the whole request now: on an old connection it is safe to start anew,
            # on a new one an answer may lie there that was given before the request was read
            if self.reused:
                raise _Hangup(asked=False) from None

    def take_up(self, budget: _Budget) -> bool:
        """Begin another request; False if the other side has closed, or has spoken unasked."""
        if self.sock is None or wait_for_read(self.sock, timeout=0):
            return False
        assert isinstance(self.sock, _Socket)
        self.sock.budget = self.budget = budget
        self.reused = True
        return True

    def put_down(self) -> bool:
        """End a request whose answer was read; False if there is more than the answer."""
        assert isinstance(self.sock, _Socket)
        assert self.reader is not None
        self.sock.budget = self.budget = None
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return False
        return not self.reader.peek(1)

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None
        super().close()


class _TLSConnection(_Connection, HTTPSConnection):
    """The same with TLS."""

    def connect(self) -> None:
        with anywhere():
            super().connect()


class _Idle:
    """Connections that wait for the next request to their host: few, and not for long."""

    def __init__(self) -> None:
        self._closed = False
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._by_key: dict[Any, deque[_Connection]] = {}
        self._by_age: OrderedDict[_Connection, None] = OrderedDict()

    def _check_process(self) -> None:
        # after a fork the parent goes on with these connections; closing our side of them is not heard
        if self._process != os.getpid():
            inherited = list(self._by_age)
            self._reset()
            for connection in inherited:
                connection.close()

    def take(self, key: Any, budget: _Budget) -> _Connection | None:
        """Return the connection used last, if the other side has kept it open."""
        self._check_process()
        while True:
            with self._lock:
                waiting = self._by_key.get(key)
                if waiting is None:
                    return None
                connection = waiting.pop()
                del self._by_age[connection]
                if not waiting:
                    del self._by_key[key]
            if time.monotonic() - connection.idle_since < IDLE_SECONDS and connection.take_up(budget):
                return connection
            connection.close()

    def give(self, connection: _Connection) -> None:
        self._check_process()
        now = connection.idle_since = time.monotonic()
        surplus = []
        with self._lock:
            if self._closed:
                surplus.append(connection)
            else:
                waiting = self._by_key.setdefault(connection.key, deque())
                waiting.append(connection)
                self._by_age[connection] = None
                if len(waiting) > MAX_IDLE_PER_HOST:
                    surplus.append(waiting.popleft())
                    del self._by_age[surplus[0]]
                while self._by_age:
                    oldest = next(iter(self._by_age))
                    if len(self._by_age) <= MAX_IDLE and now - oldest.idle_since < IDLE_SECONDS:
                        break
                    surplus.append(oldest)
                    self._forget(oldest)
        for each in surplus:
            each.close()

    def _forget(self, oldest: _Connection) -> None:
        del self._by_age[oldest]
        waiting = self._by_key[oldest.key]
        waiting.popleft()  # both orders are by age
        if not waiting:
            del self._by_key[oldest.key]

    def __len__(self) -> int:
        return len(self._by_age)

    def close(self) -> None:
        self._check_process()
        with self._lock:
            self._closed = True
            connections = list(self._by_age)
            self._by_age.clear()
            self._by_key.clear()
        for connection in connections:
            connection.close()


# --- reading an answer (RFC 9112) -----------------------------------------------------------------


_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_BLANK = (b"\r\n", b"\n")


class _Head(NamedTuple):
    """Status and headers of an answer, and how its body is framed."""

    status: int
    headers: Headers
    chunked: bool
    length: int | None  # None: to the end of the connection
    keep: bool  # the connection lives on


def _read_head(connection: _Connection, method: str) -> _Head:
    """Read the head of an answer; interim answers (100, 103) are passed over.

    More strict than browsers where leniency lets an answer be read in two ways.
    """
    reader = connection.reader
    assert reader is not None
    try:
        line = reader.readline(MAX_HEAD)
    except OSError:
        line = b""
    if not line:
        raise _Hangup(asked=True)
    room = MAX_HEAD
    while True:
        start = _STATUS_LINE.fullmatch(line)
        if start is None:
            raise Unreachable("The server does not speak HTTP.")
        room -= len(line)
        pairs, room = _read_fields(reader, room)
        status = int(start[2])
        if status >= 200:
            break
        if status == 101:
            raise Unreachable("The server changes the protocol unasked.")
        line = _read_line(reader, room)
    headers = Headers(pairs)
    codings = headers.get_all("transfer-encoding")
    lengths = {each.strip() for value in headers.get_all("content-length") for each in value.split(",")}
    keep = "close" not in (words := ",".join(headers.get_all("connection")).lower()) and (
        start[1] == b"1" or "keep-alive" in words
    )
    if method == "HEAD" or status in (204, 304):
        return _Head(status, headers, False, 0, keep)
    if codings:
        if [each.lower() for each in codings] != ["chunked"]:
            raise Unreachable("The answer's transfer coding is unknown.")
        return _Head(status, headers, True, None, keep and not lengths)
    if not lengths:
        return _Head(status, headers, False, None, False)
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit() and len(length) < 16):
        raise Unreachable("The answer has no clear length.")
    return _Head(status, headers, False, int(length), keep)


def _read_fields(reader: io.BufferedReader, room: int) -> tuple[list[tuple[str, str]], int]:
    """Read header lines up to the empty line; the room that is left comes back too."""
    pairs: list[tuple[str, str]] = []
    while True:
        line = _read_line(reader, room)
        room -= len(line)
        if line in _BLANK:
            return pairs, room
        if len(pairs) >= MAX_FIELDS:
            raise TooLarge("The answer has too many headers.")
        text = line.decode("latin-1")
        if text[0] in " \t":  # the obsolete way to go on with the line before
            if pairs:
                name, value = pairs[-1]
                pairs[-1] = (name, f"{value} {text.strip()}".strip())
            continue
        name, colon, value = text.partition(":")
        if not colon or not name or name[-1] in " \t":
            raise Unreachable("The server does not speak HTTP.")
        pairs.append((name, value.strip(" \t\r\n")))


def _read_line(reader: io.BufferedReader, room: int) -> bytes:
    try:
        line = reader.readline(room + 1)
    except OSError as error:
        raise Unreachable("The connection broke.") from error
    if len(line) > room:
        raise TooLarge("The answer's head is too large.")
    if not line.endswith(b"\n"):
        raise Unreachable("The answer is cut off.")
    return line


def _read_some(reader: io.BufferedReader, at_most: int) -> bytes:
    try:
        return reader.read1(min(at_most, CHUNK))
    except OSError as error:
        raise Unreachable("The connection broke.") from error


def _read_body(reader: io.BufferedReader, head: _Head) -> Iterator[bytes]:
    """Yield a body as it arrives, at most `CHUNK` bytes at a time; one that is cut off raises."""
    if head.chunked:
        while size := _read_chunk_size(reader):
            yield from _read_exactly(reader, size)
            if b"".join(_read_exactly(reader, 2)) != b"\r\n":
                raise Unreachable("The answer is garbled.")
        while _read_line(reader, MAX_HEAD) not in _BLANK:
            pass  # trailers are of no use; the budget ends them
    elif head.length is not None:
        yield from _read_exactly(reader, head.length)
    else:
        while some := _read_some(reader, CHUNK):
            yield some


def _read_chunk_size(reader: io.BufferedReader) -> int:
    line = _CHUNK_LINE.fullmatch(_read_line(reader, MAX_CHUNK_LINE))
    if line is None:
        raise Unreachable("The answer is garbled.")
    return int(line[1], 16)


def _read_exactly(reader: io.BufferedReader, size: int) -> Iterator[bytes]:
    while size:
        some = _read_some(reader, size)
        if not some:
            raise Unreachable("The answer is cut off.")
        size -= len(some)
        yield some


def _codings(headers: Headers) -> list[str]:
    """Return the content codings of a body in the order in which they are undone."""
    names = [
        name
        for value in headers.get_all("content-encoding")
        for each in value.split(",")
        if (name := each.strip().lower()) not in ("", "identity")
    ]
    if len(names) > MAX_CODINGS or not set(names) <= {"gzip", "x-gzip", "deflate"}:
        raise Unreachable("The answer is packed in a way that was not asked for.")
    return names[::-1]


def _unpack(packed: Iterator[bytes], coding: str, limit: int, budget: _Budget) -> Iterator[bytes]:
    """Undo one content coding, `CHUNK` bytes at a time and ``limit`` bytes in all."""
    unpacker = None
    ended = False  # what follows the end is padding
    try:
        for data in packed:
            while data and not ended:
                if unpacker is None:
                    unpacker = zlib.decompressobj(_window(coding, data))
                piece = unpacker.decompress(data, CHUNK)
                data = unpacker.unconsumed_tail
                if unpacker.eof:
                    data = unpacker.unused_data
                    if coding == "deflate" or data[:1] not in (b"", b"\x1f"):
                        ended = True
                    elif data:
                        unpacker = None  # gzip may have several members
                budget.seconds()
                limit -= len(piece)
                if limit < 0:
                    raise TooLarge("The answer is too large.")
                if piece:
                    yield piece
        while unpacker is not None and not unpacker.eof:
            piece = unpacker.decompress(b"", CHUNK)  # what zlib itself still holds back
            if not piece:
                raise Unreachable("The answer is cut off.")
            yield piece
    except zlib.error:
        raise Unreachable("The answer is garbled.") from None


def _window(coding: str, data: bytes) -> int:
    """Return zlib's name of a coding; "deflate" is sent with and without zlib's own header."""
    if coding != "deflate":
        return 16 + zlib.MAX_WBITS
    return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS


# --- the door -------------------------------------------------------------------------------------


_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# what decides where a request ends and who gets it is ours to say
_OURS = frozenset(("host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te"))
# what belongs to one site and is not shown to the one that it redirects to
_SECRET = frozenset(("authorization", "cookie", "proxy-authorization"))


class Fetcher:
    """Fetches from and posts to servers of strangers; one for an application, used by many threads.

    ``purpose`` names why: it chooses what ALLOW_NETWORKS opens beside the public internet. Every
    method raises subclasses of `FetchError` and nothing else; an answer of any status is returned.
    Redirects are followed by GET and HEAD, and each hop is checked as the first one was.
    """

    def __init__(self, settings: Settings, *, user_agent: str | None = None) -> None:
        self._settings = settings.fetch
        self._user_agent = user_agent or _user_agent(settings.site.base_url)
        self._idle = _Idle()
        allowed = settings.fetch.allow_networks
        self._networks = {
            each: (*allowed.get("", ()), *(each and allowed.get(each, ()))) for each in PURPOSES
        }
        # purposes with the same networks share connections
        distinct = list(dict.fromkeys(self._networks.values()))
        self._room = {each: distinct.index(networks) for each, networks in self._networks.items()}
        self._proxy, self._proxy_headers = _proxy(settings.fetch.egress_proxy)
        if settings.fetch.ca_bundle is not None:
            _ = self._tls  # a wrong path is told now, not at the first https URL

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """One context for all: reading the system's certificates takes longer than a handshake."""
        try:
            context = ssl.create_default_context(cafile=self._settings.ca_bundle)
        except OSError as error:
            raise ConfigError(f"LINKBACK_CA_BUNDLE cannot be read: {error}.") from None
        context.sslsocket_class = _TLSSocket
        return context

    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        purpose: str = "",
        timeout: float | None = None,
        max_body: int | None = None,
        on_chunk: Callable[[Response, bytes], bool] | None = None,
        follow: bool = True,
    ) -> Response:
        """Return the answer to a GET, with at most ``max_body`` decoded bytes (MAX_BODY_BYTES).

        A redirect is an answer like others where it is not to be followed.
        ``on_chunk`` is called with the answer, which has no body yet, and ``b""`` as soon as the
        head is there, then with the decoded body piece by piece (16 KiB at most). It returns True
        when it has seen enough, which ends the reading; the response's body stays empty.
        """
        return self._fetch("GET", url, None, headers, purpose, timeout, max_body, on_chunk, follow=follow)

    def head(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        purpose: str = "",
        timeout: float | None = None,
    ) -> Response:
        """Return the answer to a HEAD."""
        return self._fetch("HEAD", url, None, headers, purpose, timeout, None, None)

    def options(self, url: str, *, headers: Mapping[str, str] | None = None, purpose: str = "") -> Response:
        """Return the answer to an OPTIONS without its body; a redirect is an answer like others."""
        timeout, enough = self._settings.delivery_timeout, lambda response, data: True
        return self._fetch("OPTIONS", url, None, headers, purpose, timeout, None, enough, follow=False)

    def post(
        self,
        url: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        purpose: str = "",
        timeout: float | None = None,
        max_body: int | None = None,
    ) -> Response:
        """Return the answer to a POST, a redirect included, and the beginning of its body.

        What is longer than ``max_body`` (16 KiB) is cut off without an error: the status says
        whether a delivery was taken.
        """
        return self._fetch("POST", url, body, headers, purpose, timeout, max_body, None)

    def close(self) -> None:
        """Close what is idle; connections in use are closed when they are done."""
        self._idle.close()

    def self_check(self) -> bool:
        """Return whether urllib3 still asks us for its sockets: a loopback address is refused."""
        now = time.monotonic()
        for make in (_Connection, _TLSConnection):
            connection = make("127.0.0.1", 9)
            try:
                connection.open(_Budget(deadline=now + 1, patience=1, bytes_left=0))
            except AddressRefused:
                continue
            except FetchError:
                return False
            finally:
                connection.close()
            return False
        return True

    def _fetch(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        purpose: str,
        timeout: float | None,
        max_body: int | None,
        on_chunk: Callable[[Response, bytes], bool] | None,
        *,
        follow: bool = True,
    ) -> Response:
        started = time.monotonic()
        settings = self._settings
        if timeout is None:
            timeout = settings.delivery_timeout if method == "POST" else settings.fetch_timeout
        if max_body is None:
            max_body = KEPT_OF_A_DELIVERY if method == "POST" else settings.max_body_bytes
        budget = _Budget(
            deadline=started + timeout,
            patience=settings.read_timeout,
            bytes_left=max(max_body, settings.max_body_bytes) + MAX_HEAD,
        )
        hops: list[Hop] = []
        try:
            fields = _fields(headers)
            while True:
                parts = check_url(url)
                connection, head = self._ask(method, parts, fields, body, purpose, budget)
                try:
                    hops.append(Hop(url=url, status=head.status))
                    onward = _onward(url, head) if follow and method != "POST" else None
                    answer = functools.partial(
                        Response,
                        status=head.status,
                        url=url,
                        headers=head.headers,
                        hops=tuple(hops),
                        address=connection.address,
                    )
                    if onward is None:
                        see = on_chunk and functools.partial(
                            on_chunk, answer(body=b"", seconds=time.monotonic() - started)
                        )
                        kept, whole = _take_body(connection, head, method, max_body, see, budget)
                    else:
                        kept, whole = b"", head.length == 0  # a redirect's body is of no use
                except BaseException:
                    connection.close()
                    raise
                if whole and head.keep and connection.put_down():
                    self._idle.give(connection)
                else:
                    connection.close()
                if onward is None:
                    return answer(body=kept, seconds=time.monotonic() - started)
                if len(hops) > settings.max_redirects:
                    raise TooManyRedirects("The page redirects too often.")
                if check_url(onward)[:3] != parts[:3]:
                    fields = [pair for pair in fields if pair[0].lower() not in _SECRET]
                url = onward
        except FetchError as error:
            _log(error, method, url, purpose, len(hops))
            raise

    def _ask(
        self,
        method: str,
        parts: URLParts,
        fields: list[tuple[str, str]],
        body: bytes | None,
        purpose: str,
        budget: _Budget,
    ) -> tuple[_Connection, _Head]:
        """Send a request and return the head of the answer, with the connection it came by."""
        ports = self._settings.allow_ports
        if ports is not None and parts.port not in ports:
            raise AddressRefused("The URL's port is not open to us: see LINKBACK_ALLOW_PORTS.")
        request = self._request(method, parts, fields, body)
        key = (*parts[:3], self._room[purpose])
        connection = self._idle.take(key, budget)
        if connection is not None:
            try:
                return connection, self._talk(connection, method, request)
            except _Hangup as hangup:
                # closed while our request was on its way; a POST that was perhaps read stays failed
                if hangup.asked and method == "POST":
                    raise
        connection = self._connect(parts, purpose, budget)
        connection.key = key
        return connection, self._talk(connection, method, request)

    def _talk(self, connection: _Connection, method: str, request: bytes) -> _Head:
        try:
            connection.send_whole(request)
            return _read_head(connection, method)
        except BaseException:
            connection.close()
            raise

    def _connect(self, parts: URLParts, purpose: str, budget: _Budget) -> _Connection:
        proxy = self._proxy
        host, port = (parts.host, parts.port) if proxy is None else (proxy.host, proxy.port)
        connection: _Connection
        if parts.scheme == "https":
            connection = _TLSConnection(host, port, ssl_context=self._tls)
            if proxy is not None:
                connection.set_tunnel(parts.host, parts.port, headers=dict(self._proxy_headers))
        else:
            connection = _Connection(host, port)
        connection.proxied = proxy is not None
        connection.networks = self._networks[purpose]
        connection.connect_timeout = self._settings.connect_timeout
        try:
            connection.open(budget)
        except BaseException:
            connection.close()
            raise
        return connection

    def _request(
        self, method: str, parts: URLParts, fields: list[tuple[str, str]], body: bytes | None
    ) -> bytes:
        """Return the bytes of a request; one write sends a small one."""
        path = parts.path
        lines = [f"{name}: {value}\r\n" for name, value in fields]
        names = {name.lower() for name, _ in fields}
        if "user-agent" not in names:
            lines.append(f"User-Agent: {self._user_agent}\r\n")
        if "accept-encoding" not in names:
            lines.append(f"Accept-Encoding: {'identity' if method == 'POST' else 'gzip, deflate'}\r\n")
        if self._proxy is not None and parts.scheme == "http":
            path = f"http://{parts.authority}{path}"
            lines += [f"{name}: {value}\r\n" for name, value in self._proxy_headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}\r\n")
        head = f"{method} {path} HTTP/1.1\r\nHost: {parts.authority}\r\n{''.join(lines)}\r\n"
        return head.encode("latin-1") + (body or b"")


def _user_agent(base_url: str | None) -> str:
    """Return who we are, with the site that somebody can complain to."""
    try:
        version = importlib.metadata.version("Flask-Linkback")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        version = "0"
    return f"Flask-Linkback/{version}" + (f" (+{base_url})" if base_url else "")


def _proxy(url: str | None) -> tuple[URLParts | None, tuple[tuple[str, str], ...]]:
    """Return the proxy's parts, and the headers that are for it alone."""
    if url is None:
        return None, ()
    try:
        parsed = parse_url(url)
        parts = check_url(parsed._replace(auth=None, path=None, query=None, fragment=None).url)
    except (LocationParseError, AddressRefused) as error:
        raise ConfigError(f"LINKBACK_EGRESS_PROXY: {error}") from None
    if parts.scheme != "http":
        raise ConfigError("LINKBACK_EGRESS_PROXY must be an http:// URL; https goes through it by CONNECT.")
    if parsed.auth is None:
        return parts, ()
    credentials = base64.b64encode(unquote(parsed.auth).encode()).decode()
    return parts, (("Proxy-Authorization", f"Basic {credentials}"),)


def _fields(headers: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Return a caller's headers; those that could change the request's shape are refused."""
    if not headers:
        return []
    for name, value in headers.items():
        if not _FIELD_NAME.fullmatch(name) or _NOT_IN_VALUE.search(value) or name.lower() in _OURS:
            raise AddressRefused("The request has a header that cannot be sent.")
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            raise AddressRefused("The request has a header that cannot be sent.") from None
    return list(headers.items())


def _onward(url: str, head: _Head) -> str | None:
    """Return where a redirect goes, None for any other answer."""
    if head.status not in _REDIRECTS:
        return None
    location = head.headers.get("location", "")
    if not location:
        return None
    with contextlib.suppress(UnicodeDecodeError):
        location = location.encode("latin-1").decode()  # raw UTF-8 is common, though not allowed
    try:
        return urljoin(url, location.replace(" ", "%20"))
    except ValueError:
        raise AddressRefused("The page redirects to something that is no URL.") from None


def _take_body(
    connection: _Connection,
    head: _Head,
    method: str,
    max_body: int,
    see: Callable[[bytes], bool] | None,
    budget: _Budget,
) -> tuple[bytes, bool]:
    """Read a body as far as it is wanted; return what is kept, and whether that was all of it."""
    reader = connection.reader
    assert reader is not None
    if (see is not None and see(b"")) or head.length == 0:
        return b"", head.length == 0
    if method == "GET" and see is None and head.length is not None and head.length > max_body:
        raise TooLarge("The answer is too large.")
    pieces = _read_body(reader, head)
    # a coding's own limit only stops what no later step sees
    for coding in _codings(head.headers):
        pieces = _unpack(pieces, coding, max(max_body, CHUNK) + CHUNK, budget)
    kept = bytearray()
    seen = 0
    for piece in pieces:
        seen += len(piece)
        if seen > max_body:
            if method == "POST":
                kept += piece
                return bytes(kept[:max_body]), False
            raise TooLarge("The answer is too large.")
        if see is None:
            kept += piece
        elif see(piece):
            return b"", False
    return bytes(kept), True


def _log(error: FetchError, method: str, url: object, purpose: str, hops: int) -> None:
    """Leave one record of what was not fetched: the host, never the path, which may hold a secret."""
    if not logger.isEnabledFor(logging.INFO):
        return
    host = _SCHEME.match(url) if isinstance(url, str) else None
    logger.info(
        "not fetched: %s",
        error.kind,
        extra={
            "kind": error.kind,
            "reason": str(error),
            "detail": "; ".join(getattr(error, "__notes__", ())),
            "method": method,
            "host": _NOT_IN_URL.sub("?", host[1].rpartition("@")[2][:254]) if host else "",
            "purpose": purpose,
            "hops": hops,
        },
    )
