"""Reading: what a feed's class serves, in each format, as a test wants to look at it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flask import Flask
from lxml import etree

from flask_linkback import Feed
from flask_linkback.feeds.generators import Atom1Feed, JSONFeed, Rss201rev2Feed, SyndicationFeed
from flask_linkback.feeds.writer import NAMESPACES

ORIGIN = "http://blog.example"
AS = {**NAMESPACES, "a": NAMESPACES["atom"]}


@dataclass(frozen=True)
class Page:
    """An item."""

    slug: str = "tides"
    title: str = "Tides"
    text: str = "About the tides."

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return f"/{self.slug}"


class Plain(Feed):
    """A feed of one page, to be made more of."""

    title = "Shore"
    link = "/"
    description = "News of the shore"

    def items(self) -> list[Any]:
        return [Page()]


def respond(feed: type[Feed], feed_type: type[SyndicationFeed], *, app: Flask | None = None) -> Any:
    """Ask for ``/feed``, as a feed of some format."""
    view = type(feed.__name__, (feed,), {"feed_type": feed_type})()
    with (app or Flask("blog")).test_request_context("/feed", base_url=ORIGIN):
        response: Any = view()
        response.get_data()  # what is streamed is made here
    return response


def rss(feed: type[Feed], feed_type: type[SyndicationFeed] = Rss201rev2Feed) -> Any:
    """Its channel."""
    return etree.fromstring(respond(feed, feed_type).data)[0]


def atom(feed: type[Feed], feed_type: type[SyndicationFeed] = Atom1Feed) -> Any:
    return etree.fromstring(respond(feed, feed_type).data)


def values(feed: type[Feed], feed_type: type[SyndicationFeed] = JSONFeed) -> Any:
    return json.loads(respond(feed, feed_type).data)


def written(parent: Any, *prefixes: str) -> list[str]:
    """The children of these vocabularies, as they stand there but for declarations."""
    wanted = {NAMESPACES[prefix] for prefix in prefixes}
    found = [child for child in parent if etree.QName(child).namespace in wanted]
    return [shown(child) for child in found]


def shown(element: Any) -> str:
    text = etree.tostring(element, encoding="unicode", with_tail=False)
    for prefix, uri in NAMESPACES.items():
        text = text.replace(f' xmlns:{prefix}="{uri}"', "")
    return text.replace(f' xmlns="{NAMESPACES["atom"]}"', "")


def declarations(document: bytes) -> list[str]:
    """All prefixes that are declared, however often."""
    return [part.partition(b"=")[0].decode() for part in document.split(b" xmlns:")[1:]]
