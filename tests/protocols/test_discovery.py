"""Discovery: one record for each place that was looked at."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from flask_linkback.protocols import pingback
from flask_linkback.protocols.discovery import Offer, discover

URL = "https://b.example/entry"
ELEMENT = b'<link rel="pingback" href="https://b.example/element">'


def seen(offer: Offer) -> list[tuple[str, str, bool]]:
    return [(one.kind, one.value, one.used) for one in offer.findings]


def test_p16_header_beats_element_and_both_are_told() -> None:
    offer = discover(URL, x_pingback=["https://b.example/header"], body=ELEMENT)
    assert offer.pingback == "https://b.example/header"
    assert seen(offer) == [
        ("header", "https://b.example/header", True),
        ("element", "https://b.example/element", False),
    ]
    assert "first" in offer.findings[1].reason


def test_element_alone() -> None:
    offer = discover(URL, body=ELEMENT)
    assert offer.pingback == "https://b.example/element"
    assert seen(offer) == [("header", "", False), ("element", "https://b.example/element", True)]


def test_relative_values_are_passed_over_with_the_reason() -> None:
    offer = discover(URL, x_pingback=["/rpc"], body=ELEMENT)
    assert offer.pingback == "https://b.example/element"
    assert offer.findings[0].value == "/rpc"
    assert "absolute" in offer.findings[0].reason


def test_the_link_header_is_not_for_pingback() -> None:
    offer = discover(URL, link=['<https://b.example/rpc>; rel="pingback x"'])
    assert offer.pingback is None
    assert ("header", "https://b.example/rpc", False) in seen(offer)


def test_near_misses_are_shown() -> None:
    offer = discover(
        URL, body=b'<link href="/rpc" rel="pingback"><link rel="me" href="/"><LINK REL=PINGBACK>'
    )
    assert offer.pingback is None
    assert [one.value for one in offer.findings if "exact form" in one.reason] == [
        '<link href="/rpc" rel="pingback">',
        "<LINK REL=PINGBACK>",
    ]


def test_nothing_at_all() -> None:
    offer = discover(URL)
    assert offer.pingback is None
    assert offer.endpoint("webmention") is None
    assert all(one.reason for one in offer.findings)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(), max_size=2), st.lists(st.text(), max_size=2), st.binary())
def test_agrees_with_find_server(x_pingback: list[str], link: list[str], body: bytes) -> None:
    for page in (body, body + ELEMENT):
        offer = discover(URL, x_pingback=x_pingback, link=link, body=page)
        assert offer.pingback == pingback.find_server(x_pingback, page)
        assert sum(one.used for one in offer.findings) <= 1
