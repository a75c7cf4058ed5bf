"""Peers: pages of a neighbour that take pingbacks, well or badly."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

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
