"""Signals: what an application can listen to.

The sender of each signal is the Flask application. Receivers run inside an application context,
one after the other; one that raises is logged and neither stops the others nor undoes anything
(only `updated` is tried again). A receiver that writes to ``db.session`` commits it itself.
"""

from __future__ import annotations

from blinker import Namespace

__all__ = [
    "content_distributed",
    "delivery_exhausted",
    "delivery_failed",
    "delivery_succeeded",
    "directory_pinged",
    "event_recorded",
    "hub_pinged",
    "link_failed",
    "link_sent",
    "listener_disabled",
    "listener_failing",
    "mention_moderated",
    "mention_received",
    "mention_removed",
    "mention_updated",
    "mention_verified",
    "subscription_denied",
    "subscription_expired",
    "subscription_failed",
    "subscription_moved",
    "subscription_renewed",
    "subscription_verified",
    "updated",
]

_signals = Namespace()

mention_received = _signals.signal(
    "mention_received", doc="Somebody says that a page links to us. ``mention``: not yet verified."
)
mention_verified = _signals.signal("mention_verified", doc="The link was found on the source. ``mention``.")
mention_updated = _signals.signal(
    "mention_updated", doc="A verified source was read again and says something else. ``mention``."
)
mention_removed = _signals.signal(
    "mention_removed", doc="The link is gone, or was never found. ``mention``, ``reason``."
)
mention_moderated = _signals.signal(
    "mention_moderated", doc="A person or rule decided. ``mention``, ``status``, ``previous``."
)
link_sent = _signals.signal("link_sent", doc="A page that we link to accepted our linkback. ``link``.")
link_failed = _signals.signal(
    "link_failed", doc="A linkback that we owe was refused or given up. ``link``, ``reason``."
)
directory_pinged = _signals.signal(
    "directory_pinged", doc="A weblog directory said yes or no, or was given up. ``directory_ping``."
)
hub_pinged = _signals.signal(
    "hub_pinged",
    doc="A hub was told of new content, or was given up. ``topic_url``, ``hub_url``, ``status`` (that of its "
    "answer, None where there was none).",
)
updated = _signals.signal(
    "updated",
    doc="New content of a topic that we follow. ``subscription``, ``notification`` (bytes), "
    "``content_type``, ``links``, ``headers``, ``request``, ``content_id``. At least once: when a "
    "receiver raises, the same content is announced again by the retry schedule.",
)
subscription_verified = _signals.signal("subscription_verified", doc="A hub confirmed. ``subscription``.")
subscription_denied = _signals.signal(
    "subscription_denied", doc="A hub refused. ``subscription``, ``reason``."
)
subscription_failed = _signals.signal(
    "subscription_failed", doc="A hub could not be asked. ``subscription``, ``reason``."
)
subscription_renewed = _signals.signal(
    "subscription_renewed", doc="A lease was renewed in time. ``subscription``."
)
subscription_moved = _signals.signal(
    "subscription_moved", doc="The topic or its hub has another address now. ``subscription``."
)
subscription_expired = _signals.signal(
    "subscription_expired", doc="A lease ran out without renewal. ``subscription``."
)
content_distributed = _signals.signal(
    "content_distributed", doc="Our hub sent content to a subscriber. ``subscriber``, ``content_id``."
)
event_recorded = _signals.signal("event_recorded", doc="A hook's event was written and committed. ``event``.")
delivery_succeeded = _signals.signal(
    "delivery_succeeded", doc="A listener took an event. ``delivery``, ``listener``, ``event``."
)
delivery_failed = _signals.signal(
    "delivery_failed",
    doc="One attempt failed, more will follow. ``delivery``, ``listener``, ``event``, ``reason``.",
)
delivery_exhausted = _signals.signal(
    "delivery_exhausted",
    doc="The last attempt failed. ``delivery``, ``listener``, ``event``, ``reason``.",
)
listener_failing = _signals.signal(
    "listener_failing", doc="A listener will be disabled soon. ``listener``, ``disabled_at``."
)
listener_disabled = _signals.signal(
    "listener_disabled", doc="A listener gets nothing any more. ``listener``, ``reason``."
)
