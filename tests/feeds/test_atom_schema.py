"""Atom: by default a feed is valid by RFC 4287, whatever is put into it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from lxml import etree

from flask_linkback import Feed, generators
from flask_linkback.errors import ImproperlyConfigured
from flask_linkback.feeds import Category

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


def written(feed: generators.SyndicationFeed) -> bytes:
    return b"".join(feed.chunks())


NOTHING: dict[str, Any] = {"title": "", "link": "", "description": ""}
HOSTILE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no description": {"description": None},
    "a number for an id": {"unique_id": 42},
    "an empty id": {"unique_id": ""},
    "an id with spaces": {"unique_id": "http://example.com/a b\n"},
    "an id of two lines": {"unique_id": "one\ntwo"},
    "control characters": {
        "title": "\x00\x1b[0m",
        "description": "\x08\ufffe\uffff\ud800",
        "categories": ["\x01"],
    },
    "a CDATA section's end": {"description": "<p>]]></p>"},
    "a CDATA section's end in disguise": {"description": "<p>]\x00]></p>"},
    "a CDATA section's end in better disguise": {"description": "<p>]\ufffe]\ud800></p>"},
    "an author without anything": {"author_name": ""},
    "an address that is none": {"author_name": "A", "author_email": "at home", "author_link": "my page"},
    "a day": {"pubdate": date(2026, 1, 31)},
    "no zone": {"pubdate": datetime(2026, 1, 31, 12), "updateddate": datetime(2026, 2, 1)},  # noqa: DTZ001
    "a zone of seconds": {"pubdate": datetime(2026, 1, 31, tzinfo=timezone(timedelta(seconds=3208)))},
    "a zone too far": {"pubdate": datetime(2026, 1, 31, tzinfo=timezone(timedelta(hours=-23)))},
    "an enclosure of nothing": {"enclosures": [generators.Enclosure("/a", None, None)]},
    "an enclosure of None": {"enclosures": [generators.Enclosure("/a b", "None", "None")]},
    "an enclosure of a number": {"enclosures": [generators.Enclosure("/a", 12, "audio/mpeg")]},
    "a category without a name": {"categories": ["", Category("", scheme="not a/URL", label="")]},
    "rights to nothing": {"item_copyright": ""},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_item_is_valid_whatever_it_is(name: str) -> None:
    feed = generators.Atom1Feed("", "http://example.com/", "")
    feed.add_item(**{**NOTHING, "link": "http://example.com/1", **HOSTILE[name]})
    assert faults(written(feed)) == []


def test_an_empty_feed_is_valid_and_says_the_same_at_any_time() -> None:
    assert faults(written(generators.Atom1Feed("", "http://example.com/", ""))) == []
    text = written(generators.Atom1Feed("", "http://example.com/", ""))
    assert b"<updated>1970-01-01T00:00:00+00:00</updated>" in text


def test_a_feed_without_addresses_is_valid() -> None:
    feed = generators.Atom1Feed(None, None, None)
    feed.add_item(None, None, None)
    # only what is read at an address need be absolute, but for what it links to
    assert faults(written(feed)) == ["4.1.2: an entry has neither content nor an alternate"]


def test_items_of_one_path_have_ids_of_their_own() -> None:
    feed = generators.Atom1Feed("", "http://example.com/", "")
    for link in ("?p=1", "?p=2", ";p=1", "#1", ""):
        feed.add_item(**{**NOTHING, "link": f"http://example.com/x{link}", "pubdate": date(2026, 1, 31)})
    root = etree.fromstring(written(feed))
    ids = [each.text for each in root.iter(f"{ATOM}id")]
    assert len(set(ids)) == len(ids)
    assert "tag:example.com,2026-01-31:/x/1" in ids


class Minimal(Feed):
    feed_type = generators.Atom1Feed
    title = None
    link = "/"

    def items(self) -> list[int]:
        return [42]

    def item_link(self, item: int) -> str:
        return "/?id=42&"

    def item_guid(self, item: int) -> int:
        return item


def test_the_least_that_one_can_say_is_valid() -> None:
    body = serve_ours(Minimal, "/feed/").body
    assert faults(body) == []
    assert body == serve_ours(Minimal, "/feed/").body


def test_what_is_known_to_be_wrong_is_found() -> None:
    """The schema, and this file, can say no: Django's feeds of the same values."""
    feed = generators.Atom1Feed("", "http://example.com/", "")
    feed.django_compatible = True
    feed.add_item("", "http://example.com/", "", unique_id="42")
    found = "\n".join(faults(written(feed)))
    assert "4.1.1: nobody" in found
    assert "4.2.6: an id" in found
    assert "RELAXNG" in found


def test_a_link_is_needed() -> None:
    class Linkless(Minimal):
        link = None  # type: ignore[assignment]

    with pytest.raises(ImproperlyConfigured, match="need a link"):
        serve_ours(Linkless, "/feed/")
