"""Signatures: proof that who sent a body knows a secret."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["ALGORITHMS", "sign", "verify"]

ALGORITHMS: Final = ("sha1", "sha256", "sha384", "sha512")
"""What WebSub knows (section 7.1.1), the weakest first; nothing else is taken."""

_HASHES: Final[Mapping[str, Callable[..., Any]]] = {
    "sha1": hashlib.sha1,
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
}
_LONGEST: Final = 160
"""Characters of the longest signature, and some to spare."""


def sign(secret: str, body: bytes, algorithm: str = "sha256") -> str:
    """Return the ``X-Hub-Signature`` of a body: ``sha256=`` and hexadecimal digits (WebSub, section 7.1)."""
    return f"{algorithm}={_hmac(secret, body, algorithm).hex()}"


def verify(secret: str, body: bytes, signature: str | None, *, at_least: str = "sha1") -> bool:
    """Is this the signature of a body, by the algorithm that it names and by none weaker than ``at_least``?

    Compared in constant time (WebSub, section 7.1.2). A missing, misshapen or unknown one is none.
    """
    if signature is None or len(signature) > _LONGEST:
        return False
    algorithm, _, digits = signature.strip().partition("=")
    algorithm = algorithm.lower()
    if algorithm not in ALGORITHMS or ALGORITHMS.index(algorithm) < ALGORITHMS.index(at_least):
        return False
    try:
        claimed = bytes.fromhex(digits)
    except ValueError:
        return False
    return hmac.compare_digest(claimed, _hmac(secret, body, algorithm))


def _hmac(secret: str, body: bytes, algorithm: str) -> bytes:
    return hmac.new(secret.encode(), body, _HASHES[algorithm]).digest()
