"""Pictures: those of authors that are kept here, as readers get them."""

from __future__ import annotations

import re
from typing import Final

import sqlalchemy as sa
from flask import Blueprint, Response, abort, request

from ..models import Avatar
from ..site import current_site

__all__ = ["MAX_SECONDS", "add_to"]

MAX_SECONDS: Final = 86_400
"""How long others may keep a picture: so long may be seen one that was erased."""
_KEY = re.compile(r"[0-9a-f]{64}")


def add_to(blueprint: Blueprint, prefix: str) -> None:
    """Let a blueprint serve pictures below a prefix."""
    blueprint.add_url_rule(f"{prefix}/avatar/<key>", "avatar", avatar)


def avatar(key: str) -> Response:
    """Answer with a picture, which is nothing but a picture, whoever opens it in whatever way."""
    kept = sa.select(Avatar.media_type, Avatar.digest, Avatar.body).where(Avatar.key == key)
    row = current_site().session.execute(kept).first() if _KEY.fullmatch(key) else None
    if row is None or row.body is None:
        abort(404)
    response = Response(row.body, content_type=row.media_type)
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Robots-Tag"] = "noindex"
    response.headers["Content-Disposition"] = "inline"
    response.cache_control.public = True
    response.cache_control.max_age = MAX_SECONDS
    response.set_etag(row.digest)
    response.make_conditional(request)
    return response
