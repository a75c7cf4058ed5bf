"""The ``flask linkback`` commands, one module for each room."""

from __future__ import annotations

from flask.cli import AppGroup

from . import outbox

__all__ = ["linkback_cli"]

linkback_cli = AppGroup("linkback", help="Pingbacks, WebSub, webhooks: what came in and what goes out.")
for _command in (outbox.init_db, outbox.worker):
    linkback_cli.add_command(_command)
