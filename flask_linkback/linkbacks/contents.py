"""Contents: what a source says about a page of ours, in the columns of its mention."""

from __future__ import annotations

import re
from typing import Final

from ..errors import AddressRefused
from ..fetch import check_url, public_address
from ..models import Mention
from ..protocols.html import MAX_TITLE_CHARACTERS, Found
from ..protocols.microformats import Content, MentionType
from ..protocols.text import storable
from ..site import Site

__all__ = ["describe", "public_url"]

UNKNOWN_TITLE: Final = "Unknown title"
_SHOWN: Final = (
    *("type", "title", "content", "author_name", "author_url", "author_photo", "published_at", "reply_to"),
)
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE)
_LOCAL: Final = (".localhost", ".local", ".internal")


def describe(site: Site, mention: Mention, found: Found, content: Content, title: str) -> bool:
    """Write down what a source says; tell whether any of it is new.

    A mere mention is quoted by the words round its link, everything else by its own. What a trackback
    said of its page stands in for what the page does not say.
    """
    before = [getattr(mention, name) for name in _SHOWN]
    claimed = mention.protocol == "trackback"
    excerpt_length = site.settings.linkbacks.excerpt_length
    excerpt = storable(found.excerpt, excerpt_length)
    if not excerpt and claimed:
        excerpt = storable(mention.content, excerpt_length)
    quotes = content.type is MentionType.mention or (
        content.type is MentionType.reply and not content.content
    )
    mention.type = content.type.value
    mention.title = (
        content.title
        or storable(title, MAX_TITLE_CHARACTERS)
        or (mention.title if claimed else "")
        or UNKNOWN_TITLE
    )
    mention.content = excerpt if quotes else content.content
    mention.author_name = content.author_name or (mention.author_name if claimed else "")
    mention.author_url = public_url(site, content.author_url)
    mention.author_photo = public_url(site, content.author_photo)
    mention.published_at = content.published_at
    mention.reply_to = content.reply_to
    return before != [getattr(mention, name) for name in _SHOWN]


def public_url(site: Site, url: str) -> str:
    """Return a URL that readers may be sent to, "" for one that leads into somebody's own network.

    By its form alone, nobody is asked: addresses in whatever spelling browsers know, and names that
    mean nothing elsewhere. Networks that ALLOW_NETWORKS opens are as good as public ones.
    """
    try:
        host = check_url(url).host
    except AddressRefused:
        return ""
    allowed = site.settings.fetch.allow_networks.get("", ())
    # a host that ends in a number is an address for browsers, and then for us ("URL" standard, 3.5)
    if ":" in host or _ENDS_IN_A_NUMBER.fullmatch(host):
        return url if public_address(host.rstrip("."), allowed) else ""
    name = host.rstrip(".")
    return url if "." in name and not name.endswith(_LOCAL) else ""
