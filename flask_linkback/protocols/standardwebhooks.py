"""Standard Webhooks: a message is signed with its id and its time, by a shared secret or by a key pair."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets as random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ..errors import BadSecret, BadSignature, MissingExtra

__all__ = [
    "TOLERANCE_SECONDS",
    "Signed",
    "check_secret",
    "headers",
    "new_key_pair",
    "new_secret",
    "parse_time",
    "sign",
    "verify",
]

TOLERANCE_SECONDS: Final = 300
"""How far the time of a message may be from ours."""

SECRET: Final = "whsec_"  # noqa: S105
PRIVATE_KEY: Final = "whsk_"
PUBLIC_KEY: Final = "whpk_"
_SECRET_BYTES: Final = range(24, 64 + 1)
_SEED_BYTES: Final = 32
_MOST_SIGNATURES: Final = 20
_LONGEST_LIST: Final = 4096
_IS_ID: Final = re.compile(r"[!-\-/-~]{1,256}").fullmatch
"""Printable ASCII without a full stop, which divides what is signed."""
_IS_TIME: Final = re.compile("[0-9]{1,11}").fullmatch
_FAMILIES: Final = ("webhook", "svix")
"""What the names of the headers begin with: Svix's own were there before the specification."""


@dataclass(frozen=True, kw_only=True)
class Signed:
    """What a message says of itself, which somebody who knows a secret has signed."""

    id: str
    """The same each time that the message is sent."""
    at: datetime
    """When it was sent, this time."""


# --- secrets -----------------------------------------------------------------------------------------


def new_secret() -> str:
    """Return a new shared secret: ``whsec_`` and 32 random bytes."""
    return SECRET + _encode(random.token_bytes(32))


def new_key_pair() -> tuple[str, str]:
    """Return a new key to sign with (``whsk_...``) and the one to verify with (``whpk_...``).

    Raises `MissingExtra` without the extra ``crypto``.
    """
    key = _ed25519().Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    # the seed and the public key, which is how NaCl writes a private key, and others here
    return PRIVATE_KEY + _encode(key.private_bytes_raw() + public), PUBLIC_KEY + _encode(public)


def check_secret(secret: str | bytes) -> None:
    """Raise `BadSecret` where nobody could sign or verify with this, `MissingExtra` without ``crypto``."""
    _key_of(secret)


@dataclass(frozen=True)
class _Shared:
    """A shared secret (version ``v1``)."""

    key: bytes

    def signature(self, signed: bytes) -> bytes:
        return hmac.digest(self.key, signed, hashlib.sha256)


@dataclass(frozen=True)
class _Pair:
    """The key of a pair (version ``v1a``): ``private`` is None where we only verify."""

    private: Any
    public: Any


def _key_of(secret: str | bytes) -> _Shared | _Pair:
    if isinstance(secret, bytes):
        return _shared(secret)
    if not isinstance(secret, str):
        raise BadSecret(f"A secret is a string, not {type(secret).__name__}.")
    if secret.startswith(SECRET):
        return _shared(_decode_key(secret, SECRET))
    if secret.startswith(PRIVATE_KEY):
        seed = _decode_key(secret, PRIVATE_KEY)
        if len(seed) not in (_SEED_BYTES, 2 * _SEED_BYTES):
            raise BadSecret(f"A key {PRIVATE_KEY}... has 32 bytes, or 64 with its public key: {len(seed)}.")
        private = _ed25519().Ed25519PrivateKey.from_private_bytes(seed[:_SEED_BYTES])
        public = private.public_key()
        if seed[_SEED_BYTES:] not in (b"", public.public_bytes_raw()):
            raise BadSecret(f"The two halves of this key {PRIVATE_KEY}... do not belong together.")
        return _Pair(private, public)
    if secret.startswith(PUBLIC_KEY):
        key = _decode_key(secret, PUBLIC_KEY)
        if len(key) != _SEED_BYTES:
            raise BadSecret(f"A key {PUBLIC_KEY}... has 32 bytes, not {len(key)}.")
        return _Pair(None, _ed25519().Ed25519PublicKey.from_public_bytes(key))
    return _shared(secret.encode("utf-8", "surrogatepass"))


def _shared(key: bytes) -> _Shared:
    if len(key) not in _SECRET_BYTES:
        raise BadSecret(
            f"A secret has 24 to 64 bytes, not {len(key)}. Did you mean {SECRET}... and base64? "
            "standardwebhooks.new_secret() makes one."
        )
    return _Shared(key)


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise MissingExtra("A webhook's signature by a key pair (v1a)", "crypto") from None
    return ed25519


# --- signing -----------------------------------------------------------------------------------------


def sign(secret: str | bytes, *, webhook_id: str, at: datetime, body: bytes) -> str:
    """Return the signature of a message, ``v1,`` or ``v1a,`` and base64.

    ``secret`` is ``whsec_...``, or what comes without that prefix, letter by letter; with ``whsk_...`` it is
    ``v1a``. ``at`` is aware; of it whole seconds are signed. Raises `BadSecret`, and ValueError for an id
    that cannot be sent.
    """
    return _sign(_key_of(secret), _signed_bytes(webhook_id, _seconds(at), body))


def headers(secrets: Iterable[str] | str, *, webhook_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of a message: its id, its time, and a signature by each of the secrets.

    While a secret is changed, both sign. Where there is none, there is no signature.
    """
    seconds = _seconds(at)
    signed = _signed_bytes(webhook_id, seconds, body)
    found = {"webhook-id": webhook_id, "webhook-timestamp": str(seconds)}
    signatures = [_sign(_key_of(secret), signed) for secret in _listed(secrets)]
    if signatures:
        found["webhook-signature"] = " ".join(signatures)
    return found


def _sign(key: _Shared | _Pair, signed: bytes) -> str:
    if isinstance(key, _Shared):
        return f"v1,{_encode(key.signature(signed))}"
    if key.private is None:
        raise BadSecret(
            f"Nobody signs with a key {PUBLIC_KEY}...: that takes the {PRIVATE_KEY}... beside it."
        )
    return f"v1a,{_encode(key.private.sign(signed))}"


def _seconds(at: datetime) -> int:
    if at.tzinfo is None:
        raise ValueError(f"A time needs a time zone: {at!r}")
    return int(at.timestamp() // 1)


def _signed_bytes(webhook_id: str, seconds: int, body: bytes) -> bytes:
    if not _IS_ID(webhook_id):
        raise ValueError(f"The id of a webhook is printable ASCII without a full stop: {webhook_id!r}")
    return b"%s.%d.%s" % (webhook_id.encode("ascii"), seconds, body)


# --- verifying ---------------------------------------------------------------------------------------


def verify(
    secrets: Iterable[str] | str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    tolerance_seconds: int = TOLERANCE_SECONDS,
) -> Signed:
    """Return the id and the time of a message that one of the secrets has signed; raises `BadSignature`.

    ``secrets`` are those of `sign`, and ``whpk_...``. Whatever a stranger sends, it is signed or it is not:
    no other exception comes of headers and body. Of the secrets comes `BadSecret`. Compared in constant time.
    """
    keys = [_key_of(secret) for secret in _listed(secrets)]
    webhook_id, time, signatures = _read(headers)
    if not _IS_ID(webhook_id):
        raise BadSignature("The id of the message is missing or misshapen.")
    at = parse_time(time, now=now, tolerance_seconds=tolerance_seconds)
    # as it came: with zeros in front it was signed so
    signed = b"%s.%s.%s" % (webhook_id.encode("ascii"), time.encode("ascii"), body)
    if not _is_signed(keys, signatures, signed):
        raise BadSignature("No signature is right.")
    return Signed(id=webhook_id, at=at)


def parse_time(text: str, *, now: datetime, tolerance_seconds: int = TOLERANCE_SECONDS) -> datetime:
    """Return a time in whole seconds since 1970 that is near to now; raises `BadSignature`."""
    if not _IS_TIME(text):
        raise BadSignature("The time of the message is missing or misshapen.")
    seconds, ours = int(text), now.timestamp()
    if seconds < ours - tolerance_seconds:
        raise BadSignature("The message is too old.")
    if seconds > ours + tolerance_seconds:
        raise BadSignature("The message is from the future.")
    return datetime.fromtimestamp(seconds, UTC)


def _read(headers: Mapping[str, str]) -> tuple[str, str, str]:
    """Return id, time and signatures, those of one family."""
    found = {name.lower(): value for name, value in headers.items()}
    family = next((each for each in _FAMILIES if f"{each}-signature" in found), _FAMILIES[0])
    webhook_id, time, signatures = (
        found.get(f"{family}-{name}", "").strip() for name in ("id", "timestamp", "signature")
    )
    return webhook_id, time, signatures


def _is_signed(keys: Iterable[_Shared | _Pair], signatures: str, signed: bytes) -> bool:
    if len(signatures) > _LONGEST_LIST:
        raise BadSignature("There are too many signatures.")
    listed = signatures.split()
    if len(listed) > _MOST_SIGNATURES:
        raise BadSignature("There are too many signatures.")
    claimed: dict[str, list[bytes]] = {"v1": [], "v1a": []}
    for each in listed:
        version, _, text = each.partition(",")
        if version in claimed:
            claimed[version] += _decoded(text)
    right = False
    for key in keys:
        if isinstance(key, _Shared):
            expected = key.signature(signed)
            for one in claimed["v1"]:
                right |= hmac.compare_digest(expected, one)
        else:
            right |= any(_is_by(key, one, signed) for one in claimed["v1a"])
    return right


def _is_by(pair: _Pair, signature: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # it is there: the key is one of its own

    try:
        pair.public.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


# --- base64 ------------------------------------------------------------------------------------------


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _decoded(text: str) -> list[bytes]:
    """Return what is base64, or nothing."""
    try:
        return [base64.b64decode(text, validate=True)]
    except (binascii.Error, ValueError):  # ValueError: letters beyond ASCII
        return []


def _decode_key(secret: str, prefix: str) -> bytes:
    text = secret.removeprefix(prefix)
    # some write it without what fills it up
    found = _decoded(text + "=" * (-len(text) % 4))
    if not found:
        raise BadSecret(f"What follows {prefix} is not base64.")
    return found[0]


def _listed(secrets: Iterable[str] | str) -> Iterable[str]:
    return (secrets,) if isinstance(secrets, (str, bytes)) else secrets
