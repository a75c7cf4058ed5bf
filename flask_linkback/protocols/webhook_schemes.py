"""Schemes: how those who send webhooks say which message it is, and prove that it is theirs."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn
from urllib.parse import parse_qs

from ..errors import BadSecret, BadSignature
from . import signatures, standardwebhooks

__all__ = ["SCHEMES", "Message", "Scheme", "Verified", "check_secrets", "parse_data"]

_LONGEST: Final = 255
_LONGEST_LIST: Final = 4096
_MOST_SIGNATURES: Final = 20
_LONGEST_CHALLENGE: Final = 1000
_IS_ID: Final = re.compile("[!-~]{1,255}").fullmatch
_IS_HMAC: Final = re.compile("[0-9a-fA-F]{64}").fullmatch
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Message:
    """What came: ``body`` as it was sent, ``headers`` by their names in lower case, and what we know."""

    headers: Mapping[str, str]
    body: bytes
    secrets: Sequence[str]
    """Each of them counts: while a secret is changed, there are two."""
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A message that is from whom it should be."""

    id: str
    """The same each time that the message is sent: it is handled once. At most 255 characters."""
    type: str = ""
    challenge: str | None = None
    """What is to be sent back, where the message is but a question whether we are there."""


Scheme = Callable[[Message], Verified]
"""Returns what it verified, or raises `BadSignature`."""


# --- those that are known --------------------------------------------------------------------------------


def standard(message: Message) -> Verified:
    """Standard Webhooks, by a shared secret or by a key pair; Svix's names of the headers, too."""
    signed = standardwebhooks.verify(message.secrets, message.headers, message.body, now=message.now)
    return Verified(id=signed.id, type=_said(_object_of(message), "type"))


def github(message: Message) -> Verified:
    """GitHub: ``X-Hub-Signature-256``. It signs the body alone, neither the id nor a time."""
    header = message.headers.get("x-hub-signature-256")
    found = [signatures.verify(each, message.body, header, at_least="sha256") for each in message.secrets]
    if not any(found):
        _refuse()
    delivery = message.headers.get("x-github-delivery", "").strip()
    if not _IS_ID(delivery):
        raise BadSignature("The id of the message is missing or misshapen.")
    return Verified(id=delivery, type=_cut(message.headers.get("x-github-event", "")))


def stripe(message: Message) -> Verified:
    """Stripe: ``Stripe-Signature: t=...,v1=...``, where several may be; the id is that of the event."""
    header = message.headers.get("stripe-signature", "")
    parts = header.split(",")
    if len(header) > _LONGEST_LIST or len(parts) > _MOST_SIGNATURES:
        raise BadSignature("There are too many signatures.")
    pairs = [(name.strip(), value.strip()) for name, _, value in (part.partition("=") for part in parts)]
    times = [value for name, value in pairs if name == "t"]
    time = times[0] if len(times) == 1 else ""
    standardwebhooks.parse_time(time, now=message.now)
    signed = b"%s.%s" % (time.encode("ascii"), message.body)
    if not _is_signed(message.secrets, [value for name, value in pairs if name == "v1"], signed):
        _refuse()
    event = _object_of(message)
    return Verified(id=_said(event, "id") or _digest(signed), type=_said(event, "type"))


def slack(message: Message) -> Verified:
    """Slack: ``X-Slack-Signature: v0=...``; the id is that of the event, and commands have none."""
    time = message.headers.get("x-slack-request-timestamp", "").strip()
    standardwebhooks.parse_time(time, now=message.now)
    version, _, digits = message.headers.get("x-slack-signature", "").strip().partition("=")
    signed = b"v0:%s:%s" % (time.encode("ascii"), message.body)
    if version != "v0" or not _is_signed(message.secrets, [digits], signed):
        _refuse()
    envelope = _object_of(message)
    kind = _said(envelope, "type")
    challenge = envelope.get("challenge")
    if kind == "url_verification" and isinstance(challenge, str) and len(challenge) <= _LONGEST_CHALLENGE:
        return Verified(id=_digest(signed), type=kind, challenge=challenge)
    inner = envelope.get("event")
    inner_kind = _said(inner, "type") if isinstance(inner, dict) else ""
    return Verified(id=_said(envelope, "event_id") or _digest(signed), type=inner_kind or kind)


SCHEMES: Final[Mapping[str, Scheme]] = {
    "standard": standard,
    "github": github,
    "stripe": stripe,
    "slack": slack,
}


def check_secrets(scheme: str, secrets: Iterable[str]) -> None:
    """Raise `BadSecret` where one of these is none for a scheme."""
    for secret in secrets:
        if not isinstance(secret, str) or not secret:
            raise BadSecret("A secret is a string that is not empty.")
        if scheme == "standard":
            standardwebhooks.check_secret(secret)


def _refuse() -> NoReturn:
    raise BadSignature("No signature is right.")


def _is_signed(secrets: Iterable[str], claimed: Iterable[str], signed: bytes) -> bool:
    """Is one of the signatures, in hexadecimal digits, by one of the secrets?"""
    right = False
    candidates = [bytes.fromhex(each) for each in claimed if _IS_HMAC(each)]
    for secret in secrets:
        expected = hmac.digest(secret.encode(), signed, hashlib.sha256)
        for one in candidates:
            right |= hmac.compare_digest(expected, one)
    return right


# --- what is in the body -----------------------------------------------------------------------------------


def parse_data(body: bytes, content_type: str) -> Any:
    """Return what a body says in JSON, or in the field ``payload`` of a form; None for anything else."""
    mimetype = content_type.partition(";")[0].strip().lower()
    if mimetype == _FORM:
        body = _payload(body)
    elif not (mimetype == "application/json" or mimetype.endswith("+json")):
        return None
    try:
        return json.loads(body.removeprefix(b"\xef\xbb\xbf").decode(), parse_constant=_no_constant)
    except (RecursionError, ValueError):  # a number of thousands of digits among them
        return None


def _payload(body: bytes) -> bytes:
    try:
        fields = parse_qs(body, max_num_fields=100)
    except ValueError:
        return b""
    return fields.get(b"payload", [b""])[0]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _object_of(message: Message) -> dict[str, Any]:
    found = parse_data(message.body, message.headers.get("content-type", ""))
    return found if isinstance(found, dict) else {}


def _said(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    return _cut(value) if isinstance(value, str) else ""


def _cut(text: str) -> str:
    """Return a word as it is kept: printable, and not too long."""
    return "".join(character for character in text[:_LONGEST] if character.isprintable())


def _digest(signed: bytes) -> str:
    return hashlib.sha256(signed).hexdigest()
