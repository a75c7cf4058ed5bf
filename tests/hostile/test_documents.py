"""Hostile documents, and mutants of them, for every parser: known errors, little time, little memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_linkback.errors import AddressRefused
from flask_linkback.fetch import check_url
from flask_linkback.outbox.retry import parse_retry_after
from flask_linkback.protocols import (
    discovery,
    entries,
    feeds,
    images,
    link_header,
    microformats,
    pingback,
    trackback,
    weblogupdates,
    webmention,
    websub,
    xml,
    xmlrpc,
)
from flask_linkback.protocols.html import CITING, LinkScan, outgoing_links, text_of
from flask_linkback.publishing import split_urls
from tests.hostile.corpus import GOOD, TOKENS, large, small
from tests.hostile.entries import Peak
from tests.thorough import examples, some, usual

SECONDS: Final = 1.0
"""Of this thread's own time: what others do on the machine is not the parser's fault."""
GROWTH: Final = 64 << 20
NOW: Final = datetime(2026, 11, 20, tzinfo=UTC)


def _text(document: bytes) -> str:
    """A document as a text such as no decoder makes, and every caller may pass: surrogates included."""
    return document.decode("utf-8", "surrogateescape")


def _header(document: bytes) -> str:
    return document.decode("latin-1").replace("\r", " ").replace("\n", " ")


def _scan(document: bytes) -> Any:
    scan = LinkScan(
        lambda url: url if "blog.example" in url else None,
        base_url="https://a.example/1",
        hosts=["blog.example"],
    )
    for start in range(0, len(document), 4096):
        if scan.feed(document[start : start + 4096]):
            break
    scan.close()
    return scan.found, scan.title


def _scan_all(document: bytes) -> Any:
    scan = LinkScan(
        lambda url: url, base_url="https://a.example/1", charset="utf-16", stop_when=None, citing=CITING
    )
    scan.feed(document)
    scan.close()
    return scan.found


def _read(document: bytes) -> Any:
    reading = microformats.read(
        document,
        url="https://a.example/1",
        wanted=lambda url: "key" if "blog.example" in url else None,
        now=NOW,
    )
    return reading.about("key"), reading.about("another")


def _source(media_type: str) -> Parser:
    def parse(document: bytes) -> Any:
        scan = webmention.scan_for(
            media_type, lambda url: url, base_url="https://a.example/1", stop_when=None
        )
        assert scan is not None
        for start in range(0, len(document), 4096):
            scan.feed(document[start : start + 4096])
        scan.close()
        return scan.found, scan.title, scan.status

    return parse


def _discovery(document: bytes) -> Any:
    reading = discovery.Discovery("https://a.example/", link=[_header(document)], thorough=True)
    for start in range(0, len(document), 4096):
        if reading.feed(document[start : start + 4096]):
            break
    return reading.close()


def _feed(content_type: Callable[[bytes], str]) -> Parser:
    return lambda document: feeds.examine(
        document, url="https://a.example/feed", content_type=content_type(document), now=NOW
    )


def _offer(media_type: str) -> Parser:
    return lambda document: websub.discover(
        "https://a.example/feed", link=[_header(document)], body=document, media_type=media_type
    )


def _verification(document: bytes) -> Any:
    said = _text(document)
    query = {f"hub.{name}": said for name in ("topic", "challenge", "lease_seconds", "reason")}
    return websub.parse_verification({**query, "hub.mode": "subscribe"})


Parser = Callable[[bytes], Any]
PARSERS: Final[Mapping[str, tuple[Parser, tuple[type[Exception], ...]]]] = {
    "parse_call": (xmlrpc.parse_call, (xmlrpc.Fault,)),
    "parse_response": (xmlrpc.parse_response, (xmlrpc.Fault, xmlrpc.Malformed)),
    "LinkScan": (_scan, ()),
    "LinkScan, all": (_scan_all, ()),
    "outgoing_links": (lambda document: outgoing_links(document, "https://a.example/"), ()),
    "outgoing_links of text": (lambda document: outgoing_links(_text(document), "https://a.example/"), ()),
    "microformats.read": (_read, ()),
    "find_server": (lambda document: pingback.find_server([_header(document)], document), ()),
    "link_header.parse": (lambda document: link_header.parse([_header(document), _text(document)]), ()),
    "discover": (
        lambda document: discovery.discover(
            "https://a.example/", x_pingback=[_header(document)], link=[_header(document)], body=document
        ),
        (),
    ),
    "Discovery in chunks": (_discovery, ()),
    "text_of": (lambda document: text_of(_text(document), 1000), ()),
    "source in HTML": (_source("text/html"), ()),
    "source in JSON": (_source("application/json"), ()),
    "source in text": (_source("text/plain"), ()),
    "webmention.parse_request": (
        lambda document: webmention.parse_request(document, with_vouch=True),
        (webmention.RequestError,),
    ),
    "images.read": (images.read, ()),
    "trackback.parse_ping": (trackback.parse_ping, (trackback.PingError,)),
    "trackback.parse_response": (trackback.parse_response, (xml.Malformed,)),
    "weblogupdates.parse_response": (weblogupdates.parse_response, (xmlrpc.Fault, xml.Malformed)),
    "feeds.examine": (_feed(lambda _: "application/xml"), ()),
    "feeds.examine, any header": (_feed(_header), ()),
    "websub.discover in HTML": (_offer("text/html"), ()),
    "websub.discover in XML": (_offer("application/xml"), ()),
    "websub.discover in JSON": (_offer("application/feed+json"), ()),
    "websub.discover in anything": (lambda document: _offer(_header(document)[:100])(document), ()),
    "websub.parse_verification": (_verification, (websub.RequestError,)),
    "websub.known_hub": (lambda document: websub.known_hub(_text(document)), ()),
    "entries.parse": (
        lambda document: entries.parse(document, url="https://a.example/feed"),
        (entries.NotAFeed,),
    ),
    "entries.parse, any header": (
        lambda document: entries.parse(document, content_type=_header(document)),
        (entries.NotAFeed,),
    ),
    "entries.only_new": (lambda document: entries.only_new(document[: len(document) // 2], document), ()),
    "entries.only_new of itself": (
        lambda document: entries.only_new(document, document, content_type=_header(document)),
        (),
    ),
    "parse_rfc822": (lambda document: feeds.parse_rfc822(_text(document)), ()),
    "parse_rfc3339": (lambda document: feeds.parse_rfc3339(_text(document)), ()),
    "parse_retry_after": (lambda document: parse_retry_after(_header(document), NOW), ()),
    "check_url": (lambda document: check_url(_text(document)), (AddressRefused,)),
    "split_urls": (lambda document: split_urls(_text(document)), ()),
}
"""Each with the errors that it is documented to raise."""


def _parse(parser: Parser, errors: tuple[type[Exception], ...], document: bytes) -> None:
    peak, began = Peak(), time.thread_time()
    with contextlib.suppress(*errors):
        parser(document)
    assert usual(time.thread_time() - began) <= SECONDS
    assert peak.growth() <= GROWTH


_DOCUMENTS: Final = [*large(), *some([*small(2_000)], each=2)]
_SMALL: Final = [document for _, document in small(60)]


@pytest.mark.parametrize("name", PARSERS)
def test_a_hostile_document_costs_little_and_raises_what_is_documented(name: str) -> None:
    for what, document in _DOCUMENTS:
        try:
            _parse(*PARSERS[name], document)
        except BaseException as error:
            error.add_note(f"The document: {what}")
            raise


@st.composite
def _mutants(draw: st.DrawFn) -> bytes:
    """A document of the corpus, and what some cuts, repeats and pieces of others make of it."""
    document = draw(st.sampled_from(_SMALL))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(document)))
        end = min(len(document), start + draw(st.sampled_from((0, 1, 2, 7, 40, 300))))
        before, piece, after = document[:start], document[start:end], document[end:]
        match draw(st.integers(0, 5)):
            case 0:
                document = before + after
            case 1:
                document = before + draw(st.sampled_from(TOKENS)) + after
            case 2:
                document = before + piece * draw(st.sampled_from((2, 3, 50))) + after
            case 3:
                document = before + draw(st.binary(max_size=6)) + after
            case 4:
                other = draw(st.sampled_from((*GOOD, *_SMALL)))
                document = before + other[: draw(st.integers(0, len(other)))] + after
            case 5:
                document = before + piece.swapcase()[::-1] + after
    return document[:200_000]


@pytest.mark.parametrize("name", PARSERS)
@settings(
    max_examples=examples(840),  # for each parser: more than 10 000 in all
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(document=_mutants())
def test_a_mutant_costs_little_and_raises_what_is_documented(name: str, document: bytes) -> None:
    _parse(*PARSERS[name], document)
