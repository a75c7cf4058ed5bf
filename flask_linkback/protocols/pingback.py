"""Pingback: its faults, and where a page says that its server is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Final
from urllib.parse import urlsplit

from . import xmlrpc

__all__ = [
    "METHOD",
    "FaultCode",
    "element_server",
    "fault",
    "find_server",
    "header_server",
    "is_absolute",
]

METHOD: Final = "pingback.ping"
MAX_SEARCH_BYTES: Final = 512 * 1024
MAX_URL_CHARACTERS: Final = 2048

# Pingback 1.0, section 2, to the letter
_ELEMENT = re.compile(rb'<link rel="pingback" href="([^"]+)" ?/?>')


class FaultCode(IntEnum):
    """Why a pingback was not taken (Pingback 1.0, section 3; fault code interoperability).

    ``message`` is what a stranger is told: nothing about how we are built.
    """

    message: str

    def __new__(cls, value: int, message: str) -> FaultCode:
        code = int.__new__(cls, value)
        code._value_ = value
        code.message = message
        return code

    GENERIC = 0, "The pingback could not be taken."
    SOURCE_DOES_NOT_EXIST = 0x10, "The source URI does not exist."
    SOURCE_DOES_NOT_LINK = 0x11, "The source URI does not contain a link to the target URI."
    TARGET_DOES_NOT_EXIST = 0x20, "The target URI does not exist."
    TARGET_IS_NOT_PINGABLE = 0x21, "The target URI cannot be used as a target."
    ALREADY_REGISTERED = 0x30, "The pingback has already been registered."
    ACCESS_DENIED = 0x31, "Access denied."
    UPSTREAM_ERROR = 0x32, "An upstream server could not be reached or answered with an error."
    NOT_WELL_FORMED = xmlrpc.NOT_WELL_FORMED, "The request is not well formed XML."
    NOT_A_CALL = xmlrpc.NOT_A_CALL, "The request is no XML-RPC call."
    NO_SUCH_METHOD = xmlrpc.NO_SUCH_METHOD, "There is no such method."
    WRONG_PARAMS = xmlrpc.WRONG_PARAMS, "The method takes other parameters."
    INTERNAL_ERROR = xmlrpc.INTERNAL_ERROR, "Something went wrong here."


def fault(code: FaultCode, *, retry_after: int | None = None) -> xmlrpc.Fault:
    """Return the fault with its fixed sentence, ready to raise."""
    return xmlrpc.Fault(code, code.message, retry_after=retry_after)


def find_server(headers_x_pingback: Sequence[str], body: bytes) -> str | None:
    """Return the URL of the page's pingback server: header first, then element (Pingback 1.0, section 2).

    Both have to be absolute; one that is not counts as absent.
    """
    for url in (header_server(headers_x_pingback), element_server(body)):
        if url is not None and is_absolute(url):
            return url
    return None


def header_server(headers_x_pingback: Sequence[str]) -> str | None:
    """Return the first X-Pingback value that is not empty, as it was sent."""
    return next((value.strip() for value in headers_x_pingback if value.strip()), None)


def element_server(body: bytes) -> str | None:
    """Return the href of the first link element in the spec's exact form, its four entities expanded.

    Searched are the first 512 KiB, as bytes: any charset that keeps ASCII as it is will do.
    """
    match = _ELEMENT.search(body, 0, MAX_SEARCH_BYTES)
    if match is None:
        return None
    href = match[1].decode("utf-8", "replace")
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        href = href.replace(entity, character)  # &amp; last: what it leaves is text, no entity
    return href


def is_absolute(url: str) -> bool:
    """Tell whether this is a whole http or https URL of sane length, without white space in it."""
    if len(url) > MAX_URL_CHARACTERS or re.search(r"[\x00-\x20\x7f\ufffd]", url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
