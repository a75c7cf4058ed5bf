"""The ``flask linkback`` commands, one module for each room."""

from __future__ import annotations

from flask.cli import AppGroup

from . import admins as _admins  # noqa: F401  its checks join those of the doctor, and so do these
from . import (
    blocks,
    deliveries,
    directories,
    doctor,
    erasing,
    events,
    feeds,
    hubs,
    linkbacks,
    listeners,
    listening,
    outbox,
    secrets,
    subscriptions,
)
from . import topics as _topics  # noqa: F401

__all__ = ["linkback_cli"]

linkback_cli = AppGroup(
    "linkback",
    help="Linkbacks, feeds and hubs: what came in, what goes out, who is blocked, is all in place?",
)
for _command in (
    outbox.init_db,
    outbox.worker,
    linkbacks.mentions,
    linkbacks.moderate,
    blocks.block,
    erasing.erase_person,
    linkbacks.send,
    linkbacks.explain,
    directories.ping_directories,
    subscriptions.subscribe,
    subscriptions.unsubscribe,
    subscriptions.renew,
    subscriptions.subscriptions,
    hubs.ping_hub,
    listening.listen,
    listeners.listeners,
    events.events,
    deliveries.deliveries,
    secrets.rotate_secrets,
    feeds.feed,
    doctor.doctor,
):
    linkback_cli.add_command(_command)
