"""Atom: by default a feed is valid by RFC 4287, whatever is put into it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from flask_linkback import Feed, generators

from .peer import BY_DEFAULT, Library, serve_ours
from .strategies import SETTINGS, classes

ATOM = "{http://www.w3.org/2005/Atom}"
SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).with_name("rfc4287.rng")))

is_absolute = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{}|\\^`]+\Z").match


def faults(document: bytes) -> list[str]:
    """What is wrong with a document: by the schema, and by the sentences that no schema says."""
    root = etree.fromstring(document)
    found = [] if SCHEMA.validate(root) else [str(each) for each in SCHEMA.error_log]
    entries = root.findall(f"{ATOM}entry")
    if root.find(f"{ATOM}author") is None and any(entry.find(f"{ATOM}author") is None for entry in entries):
        found.append("4.1.1: nobody is the author of an entry")
    for each in (root, *entries):
        if not is_absolute(each.findtext(f"{ATOM}id") or ""):
            found.append("4.2.6: an id is no IRI")
        alternates = [
            (link.get("type"), link.get("hreflang"))
            for link in each.findall(f"{ATOM}link")
            if link.get("rel") in (None, "alternate")
        ]
        if len(alternates) != len(set(alternates)):
            found.append("4.1.1: two alternates of one type")
    for entry in entries:
        rels = [link.get("rel") for link in entry.findall(f"{ATOM}link")]
        if entry.find(f"{ATOM}content") is None and "alternate" not in rels:
            found.append("4.1.2: an entry has neither content nor an alternate")
    return found


@SETTINGS
@given(classes(versions=["Atom1Feed"], with_faults=False))
def test_a_feed_is_valid(make: Callable[[Library], type[Any]]) -> None:
    assert faults(serve_ours(make(BY_DEFAULT), "/feed/").body) == []
