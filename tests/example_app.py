"""Example app: the blog of ``example/`` for tests, with neighbours on this computer allowed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.serving import make_server

from example import create_app
from example.models import db


@contextlib.contextmanager
def example_app(folder: Path, **settings: Any) -> Iterator[Flask]:
    """Make the blog on a database in a folder; due jobs run in the thread that commits them."""
    app = create_app(
        {
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder}/blog.db",
            "LINKBACK_BASE_URL": "http://blog.example",
            "LINKBACK_RUNNER": "inline",
            "LINKBACK_ALLOW_NETWORKS": "127.0.0.0/8",
            "LINKBACK_ALLOW_PORTS": "any",
            **settings,
        }
    )
    yield app
    with app.app_context():
        db.engine.dispose()
    app.extensions["linkback"].fetch.close()


@contextlib.contextmanager
def served_example(folder: Path, **settings: Any) -> Iterator[tuple[Flask, str]]:
    """Make the blog, serve it on a free port, and return it with its base URL."""
    server = make_server("127.0.0.1", 0, lambda *_: (), threaded=True)
    url = f"http://127.0.0.1:{server.port}"
    with example_app(folder, LINKBACK_BASE_URL=url, **settings) as app:
        server.app = app
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield app, url
        finally:
            server.shutdown()
            serving.join()
            server.server_close()
