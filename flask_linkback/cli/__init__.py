"""The ``flask linkback`` commands, one module for each room."""

from __future__ import annotations

from flask.cli import AppGroup

from . import doctor, linkbacks, outbox

__all__ = ["linkback_cli"]

linkback_cli = AppGroup("linkback", help="Pingbacks: what came in and what goes out.")
for _command in (
    outbox.init_db,
    outbox.worker,
    linkbacks.mentions,
    linkbacks.moderate,
    linkbacks.send,
    linkbacks.explain,
    doctor.doctor,
):
    linkback_cli.add_command(_command)
