"""Formats: the ways in which an event can be said to a listener."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from ..models import Event
from ..site import Site

__all__ = ["FORMATS", "STANDARD", "Said", "body_of"]

STANDARD: Final = "standard"
"""JSON as Standard Webhooks has it, or what the hook makes of it: the default."""
_JSON: Final = "application/json"
_MOST_FIELDS: Final = 20
_MOST_CHARACTERS: Final = 200
_DISCORD_CHARACTERS: Final = 2000
_UNQUOTED: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(frozen=True, kw_only=True)
class Said:
    """A body and the headers that say what it is."""

    headers: Mapping[str, str]
    body: bytes


def body_of(event: Event) -> bytes:
    """Return an event as Standard Webhooks has it: ``type``, ``timestamp``, ``data``, and our ``changes``."""
    body = {
        "type": event.type,
        "timestamp": timestamp_of(event.created_at),
        "data": event.data or {},
        "changes": event.changes or {},
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def timestamp_of(at: datetime) -> str:
    """ISO 8601, in UTC."""
    return at.isoformat().replace("+00:00", "Z")


def _structured(site: Site, event: Event) -> Said:
    """CloudEvents 1.0, HTTP protocol binding, section 3.2: all of it in the body."""
    body = {**_attributes(site, event), "datacontenttype": _JSON, "data": event.data or {}}
    return Said(headers={"Content-Type": "application/cloudevents+json; charset=utf-8"}, body=_dump(body))


def _binary(site: Site, event: Event) -> Said:
    """CloudEvents 1.0, HTTP protocol binding, section 3.1: data in the body, all else in headers."""
    said = {f"ce-{name}": quote(value, safe=_UNQUOTED) for name, value in _attributes(site, event).items()}
    return Said(headers={**said, "Content-Type": _JSON}, body=_dump(event.data or {}))


def _attributes(site: Site, event: Event) -> dict[str, str]:
    """What CloudEvents says of any event; what changed is an extension, as JSON: attributes are text."""
    said = {
        "specversion": "1.0",
        "id": event.uid,
        "source": site.base_url,
        "type": event.type,
        "time": timestamp_of(event.created_at),
    }
    if event.object_key:
        said["subject"] = event.object_key
    if event.changes:
        said["changes"] = json.dumps(event.changes, separators=(",", ":"))
    return said


def _form(site: Site, event: Event) -> Said:
    """A form with one field, as others do: ``payload`` is the JSON that is sent by default."""
    body = urlencode({"payload": body_of(event)}).encode()
    return Said(headers={"Content-Type": "application/x-www-form-urlencoded"}, body=body)


def _slack(site: Site, event: Event) -> Said:
    """A message for Slack's incoming webhooks, and those that take the same; nothing in it is a command."""
    lines = list(_lines(event))
    text = "\n".join([f"*{_slack_text(event.type)}*", *map(_slack_text, lines)])
    return Said(headers={"Content-Type": _JSON}, body=_dump({"text": text}))


def _slack_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _discord(site: Site, event: Event) -> Said:
    """A message for Discord's webhooks; it calls nobody."""
    text = "\n".join([f"**{event.type}**", *_lines(event)])
    body = {"content": text[:_DISCORD_CHARACTERS], "allowed_mentions": {"parse": []}}
    return Said(headers={"Content-Type": _JSON}, body=_dump(body))


def _lines(event: Event) -> Iterator[str]:
    """An event as people read it: a line for each field, with what it was before."""
    changes = event.changes or {}
    for name, value in list((event.data or {}).items())[:_MOST_FIELDS]:
        before = changes.get(name)
        # of what was created there is nothing before
        was = f"{_words(before[0])} → " if before and before[0] is not None and before[0] != value else ""
        yield f"{name}: {was}{_words(value)}"


def _words(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


FORMATS: Final[Mapping[str, Callable[[Site, Event], Said] | None]] = {
    STANDARD: None,
    "cloudevents": _structured,
    "cloudevents-binary": _binary,
    "form": _form,
    "slack": _slack,
    "discord": _discord,
}
"""By name; None is what the hook itself says."""
