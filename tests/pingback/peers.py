"""Peers: pages of a neighbour that take pingbacks, well or badly."""

from __future__ import annotations

import contextlib
import html
import http.client
import re
import xmlrpc.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.neighbours import Answer, Neighbour, Request, Wire

XML = ("Content-Type", "text/xml")


@dataclass
class Peer:
    """A page at ``path`` and the pingback server that it names.

    ``answer`` is what the server says: a value, an `xmlrpc.client.Fault`, a whole `Answer`, or a
    function that makes one of them when it is asked.
    """

    neighbour: Neighbour
    path: str = "/target"
    server_path: str = "/rpc"
    answer: Any = "Thank you."
    headers: Sequence[tuple[str, str]] = ()
    calls: list[tuple[str, ...]] = field(default_factory=list)
    posts: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.serve_page()
        self.neighbour.route(self.server_path, self._serve)

    @property
    def url(self) -> str:
        return self.neighbour.url(self.path)

    @property
    def server(self) -> str:
        return self.neighbour.url(self.server_path)

    @property
    def visits(self) -> int:
        """How often the page was asked for."""
        return sum(each.path.partition("?")[0] == self.path for each in self.neighbour.requests)

    def serve_page(self, path: str | None = None) -> str:
        """Serve one more page that names the server in its header; return its URL."""
        path = path or self.path
        self.neighbour.answer(path, body=b"<p>Hello</p>", headers=[("X-Pingback", self.server)])
        return self.neighbour.url(path)

    def _serve(self, request: Request, wire: Wire) -> None:
        if request.method == "POST":
            params, method = xmlrpc.client.loads(request.body)
            assert method == "pingback.ping"
            self.posts.append(request)
            self.calls.append(params)
        answer = self.answer() if isinstance(self.answer, Callable) else self.answer  # type: ignore[arg-type]
        wire.send(self._answer(answer).dump(request.method))

    def _answer(self, answer: Any) -> Answer:
        if isinstance(answer, Answer):
            return answer
        value = answer if isinstance(answer, xmlrpc.client.Fault) else (answer,)
        body = xmlrpc.client.dumps(value, methodresponse=True, allow_none=True).encode()
        return Answer(body=body, headers=[XML, *self.headers])


@dataclass
class WordPress:
    """What WordPress 6.1.9 was seen to do, as a neighbour: a post, its pingback server, its client."""

    neighbour: Neighbour
    path: str = "/hello-world/"
    fault: xmlrpc.client.Fault | None = None
    """What leaks through its masks: 409 "Duplicate comment", 429 "too quickly"."""
    comments: list[tuple[str, str]] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    """What it would have said; strangers are told 0 and nothing."""

    def __post_init__(self) -> None:
        headers = [("X-Pingback", self.neighbour.url("/xmlrpc.php")), ("Content-Type", "text/html")]
        self.neighbour.answer(self.path, body=b"<title>Hello world!</title>", headers=headers)
        self.neighbour.route("/xmlrpc.php", self._xmlrpc)

    @property
    def url(self) -> str:
        return self.neighbour.url(self.path)

    # --- the server ---------------------------------------------------------------------------------------

    def _xmlrpc(self, request: Request, wire: Wire) -> None:
        if request.method != "POST":
            answer = Answer(
                status=405,
                body=b"XML-RPC server accepts POST requests only.",
                headers=[("Allow", "POST"), ("Content-Type", "text/plain")],
            )
        else:
            body = self._answer(request)
            answer = Answer(body=body.encode(), headers=[("Content-Type", "text/xml; charset=UTF-8")])
        wire.send(answer.dump(request.method))

    def _answer(self, request: Request) -> str:
        def fault(code: int, message: str) -> str:
            return xmlrpc.client.dumps(xmlrpc.client.Fault(code, message))

        if b"<!DOCTYPE" in request.body:
            return fault(-32700, "parse error. not well formed")
        (source, target), method = xmlrpc.client.loads(request.body)
        if method != "pingback.ping":
            return fault(-32601, f"server error. requested method {method} does not exist.")
        if self.fault is not None:
            return fault(self.fault.faultCode, self.fault.faultString)
        code, message = self._ping(source, target, "127.0.0.1")
        if code is None:
            return xmlrpc.client.dumps((message,), methodresponse=True)
        self.faults.append((code, message))
        return fault(48, message) if code == 48 else fault(0, "")

    def _ping(self, source: str, target: str, caller: str) -> tuple[int | None, str]:
        if (source, target) in self.comments:
            return 48, "The pingback has already been registered."
        agent = f"WordPress/6.1.9; {self.neighbour.url()}; verifying pingback from {caller}"
        headers = {"User-Agent": agent, "X-Pingback-Forwarded-For": caller, "Connection": "close"}
        status, _, body = request_of("GET", source, headers)
        text = body[:153_600].decode()
        if status // 100 == 3 or not text:  # it follows no redirects
            return 16, "The source URL does not exist."
        title = re.search("<title>([^<]*?)</title>", text, re.IGNORECASE)
        if title is None or not title[1]:
            return 32, "We cannot find a title on that page."
        written = target.replace("&", "&amp;")  # the only form that it looks for
        if re.search(rf"<a[^>]+?{re.escape(written)}[^>]*>([^>]+?)</a>", text) is None:
            return 17, "The source URL does not contain a link to the target URL."
        self.comments.append((source, target))
        return None, f"Pingback from {source} to {target} registered. Keep the web talking! :-)"

    # --- the client ---------------------------------------------------------------------------------------

    def pings(self, target: str) -> tuple[int, Any]:
        """Tell a page of a link, as WordPress does; return the status and the value or fault."""
        agent = {"User-Agent": f"WordPress/6.1.9; {self.neighbour.url()}", "Connection": "close"}
        address = target.partition("#")[0]
        _, headers, _ = request_of("HEAD", address, agent)
        server = headers["X-Pingback"]
        if server is None:
            _, _, page = request_of("GET", address, agent)
            element = re.search(rb'<link rel="pingback" href="([^"]+)"', page)
            assert element is not None
            server = element[1].decode()  # &amp; and all
        body = (
            '<?xml version="1.0"?>\n<methodCall>\n<methodName>pingback.ping</methodName>\n<params>\n'
            f"<param><value><string>{html.escape(self.url)}</string></value></param>\n"
            f"<param><value><string>{html.escape(target)}</string></value></param>\n</params></methodCall>\n"
        )
        headers = {
            "User-Agent": f"The Incutio XML-RPC PHP Library -- {agent['User-Agent'].partition(';')[0]}",
            "Accept": "*/*",
            "Accept-Encoding": "deflate, gzip, br, zstd",
            "Referer": server,
            "Content-Type": "text/xml",
            "Connection": "close",
        }
        status, _, answer = request_of("POST", server, headers, body.encode())
        try:
            (value,), _ = xmlrpc.client.loads(answer)
        except xmlrpc.client.Fault as fault:
            return status, fault
        return status, value


def request_of(
    method: str, url: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, Any, bytes]:
    """Make a request with these headers and follow nothing."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
