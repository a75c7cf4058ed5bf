"""Serve: one blog in a process of its own, which says on standard output what happens in it.

For the demo: ``python -m example.serve SOCKET``, with the number of a listening socket. Each line is
a JSON object: ``{"name": "mention_verified", "at": 1732104000.25, "mention": {...}}``, with the name
of a signal of Flask-Linkback, or ``ready``, or ``visited`` when another blog read one of our pages.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from flask import Flask, Response, request, request_finished
from werkzeug.serving import make_server

from example import create_app
from flask_linkback import signals
from flask_linkback.models import Secret
from flask_linkback.protocols.link_header import parse

_lock = threading.Lock()


def say(name: str, **values: Any) -> None:
    """Write one line for the demo."""
    line = json.dumps({"name": name, "at": time.time(), **values}, default=simple)
    with _lock:
        print(line, flush=True)


def simple(value: Any) -> Any:
    """Return a row as a dict of its columns, a time in seconds, and anything else as text."""
    if isinstance(value, datetime):
        return value.timestamp()
    row = sa.inspect(value, raiseerr=False)
    if hasattr(row, "mapper"):
        said = {column.key: getattr(value, column.key) for column in row.mapper.column_attrs}
        return {name: each for name, each in said.items() if not isinstance(each, Secret)}
    return str(value)


def listen(app: Flask) -> None:
    """Say every signal of Flask-Linkback, and the visits of other blogs."""

    def repeat(name: str) -> Callable[..., None]:
        return lambda sender, **values: say(name, **values)

    for name in signals.__all__:
        getattr(signals, name).connect(repeat(name), app, weak=False)

    def visited(sender: Flask, response: Response, **_: Any) -> None:
        offers = [link.url for link in parse(response.headers.getlist("Link")) if "webmention" in link.rels]
        offers += response.headers.getlist("X-Pingback")
        if offers and str(request.user_agent).startswith("Flask-Linkback"):
            say("visited", url=request.url, endpoint=offers[0])

    request_finished.connect(visited, app, weak=False)


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    app = create_app()
    listen(app)
    server = make_server("127.0.0.1", 0, app, threaded=True, fd=int(sys.argv[1]))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    say("ready")
    sys.stdin.read()  # ends when the demo ends, however it ends: no blog is left behind
    server.shutdown()
    serving.join()
    server.server_close()


if __name__ == "__main__":
    main()
