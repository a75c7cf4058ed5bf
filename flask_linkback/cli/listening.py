"""Commands for trying out what sends: a listener that prints what comes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import click
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from ..errors import BadSignature
from ..protocols import handshake, standardwebhooks
from ..site import Site, current_site
from .outbox import stopped_by_signals
from .output import Output, command

__all__ = ["listen"]

_MOST_BYTES: Final = 256 * 1024
_PRINTED: Final = 16 * 1024
_READ_SECONDS: Final = 10
"""How long somebody may say nothing in the middle of a request."""


@command("listen")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: one that is free.")
@click.option(
    "--secret", "secrets", metavar="SECRET", multiple=True, help="Say whether this one, or that, has signed."
)
def listen(out: Output, host: str, port: int, secrets: tuple[str, ...]) -> None:
    """Print webhooks as they come, and thank for them, until Ctrl-C.

    With --json a document on one line for each. For trying out what sends: what comes is not handled.
    """
    for secret in secrets:
        standardwebhooks.check_secret(secret)
    sink = _Sink(out=out, site=current_site(), secrets=secrets)
    try:
        server = make_server(host, port, sink, threaded=True, request_handler=_Handler)
    except (OSError, SystemExit):  # werkzeug would end the process where a port is taken
        raise click.ClickException(f"Nobody can listen at {host}:{port}.") from None
    over = threading.Event()
    with stopped_by_signals(over.set):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{server.server_port}/"
        out.say(f"Listening at {url} - Ctrl-C ends.")
        out.record({"url": url})
        over.wait()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(WSGIRequestHandler):
    """Logs nothing of its own, and does not wait for ever."""

    timeout = _READ_SECONDS

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  as it is called there
        pass


@dataclass(frozen=True, kw_only=True)
class _Sink:
    """A WSGI application that takes everything, durian's ``debug`` view."""

    out: Output
    site: Site
    secrets: tuple[str, ...]
    lock: threading.Lock = field(default_factory=threading.Lock)
    """One is printed after the other."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self._take(Request(environ))(environ, start_response)

    def _take(self, request: Request) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if request.method == "OPTIONS":
            self._show(request, headers, b"")
            return Response(status=200, headers=handshake.allow(headers))
        # one byte more than allowed: what comes in chunks is cut at the limit without a word
        request.max_content_length = _MOST_BYTES + 1
        try:
            body = request.get_data()
        except RequestEntityTooLarge:
            body = bytes(_MOST_BYTES + 1)
        if len(body) > _MOST_BYTES:
            refusal = f"More than {_MOST_BYTES} bytes, refused."
            with self.lock:
                self.out.say(f"{request.method} {request.path}: {refusal}", fg="red")
                self.out.record({"method": request.method, "path": request.path, "error": refusal})
            return Response("Too large.", 413, content_type="text/plain; charset=utf-8")
        self._show(request, headers, body)
        return Response("Thanks!", content_type="text/plain; charset=utf-8")

    def _show(self, request: Request, headers: Mapping[str, str], body: bytes) -> None:
        signature = self._judged(headers, body)
        path = request.full_path if request.query_string else request.path
        text = body[:_PRINTED].decode("utf-8", "replace")
        with self.lock:
            self.out.say(f"{request.method} {path}")
            for name, value in headers.items():
                self.out.say(f"  {name}: {value}")
            if signature is not None:
                self.out.say(f"  Signature: {signature}", fg="green" if signature == "right" else "red")
            for line in text.splitlines():
                self.out.say(f"    {line}")
            if len(body) > _PRINTED:
                self.out.say(f"    ... {len(body)} bytes in all")
            self.out.say("")
            self.out.record(
                {
                    "method": request.method,
                    "path": path,
                    "headers": dict(headers),
                    "signature": signature,
                    "bytes": len(body),
                    "body": text,
                }
            )

    def _judged(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Return "right", or what is wrong; None where nobody asked."""
        if not self.secrets:
            return None
        try:
            standardwebhooks.verify(self.secrets, headers, body, now=self.site.now())
        except BadSignature as error:
            return f"wrong. {error}"
        return "right"
