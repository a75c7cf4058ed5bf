"""Discovery: the endpoint that a page means, and one record for each place that was looked at."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from flask_linkback.protocols import html, pingback, trackback
from flask_linkback.protocols.discovery import PROTOCOLS, Discovery, Finding, Offer, Protocol, discover
from tests.thorough import examples, usual

URL = "https://b.example/entry"
ELEMENT = b'<link rel="pingback" href="https://b.example/element">'


def seen(offer: Offer) -> list[tuple[str, str, bool]]:
    return [(one.kind, one.value, one.used) for one in findings(offer)]


def findings(offer: Offer, protocol: Protocol = "pingback") -> list[Finding]:
    return [one for one in offer.findings if one.protocol == protocol]


# --- pingback ---------------------------------------------------------------------------------------------


def test_p16_header_beats_element_and_both_are_told() -> None:
    offer = discover(URL, x_pingback=["https://b.example/header"], body=ELEMENT)
    assert offer.pingback == "https://b.example/header"
    assert seen(offer) == [
        ("header", "https://b.example/header", True),
        ("element", "https://b.example/element", False),
    ]
    assert "first" in findings(offer)[1].reason


def test_element_alone() -> None:
    offer = discover(URL, body=ELEMENT)
    assert offer.pingback == "https://b.example/element"
    assert seen(offer) == [("header", "", False), ("element", "https://b.example/element", True)]


def test_relative_values_are_passed_over_with_the_reason() -> None:
    offer = discover(URL, x_pingback=["/rpc"], body=ELEMENT)
    assert offer.pingback == "https://b.example/element"
    assert findings(offer)[0].value == "/rpc"
    assert "absolute" in findings(offer)[0].reason


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


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.text(), max_size=2), st.lists(st.text(), max_size=2), st.binary())
def test_agrees_with_find_server(x_pingback: list[str], link: list[str], body: bytes) -> None:
    for page in (body, body + ELEMENT):
        offer = discover(URL, x_pingback=x_pingback, link=link, body=page)
        assert offer.pingback == pingback.find_server(x_pingback, page)
        assert sum(one.used for one in offer.findings) <= 1


# --- webmention -------------------------------------------------------------------------------------------

B = "https://rocks.example"


def page(head: str = "", body: str = "") -> str:
    return f"<!doctype html><html><head><title>A post</title>{head}</head><body><p>{body}</p></body></html>"


ROCKS: Mapping[int, tuple[list[str], str, str]] = {
    # the header: unquoted, relative
    1: (["</test/1/webmention>; rel=webmention"], page(), "/test/1/webmention"),
    # the header: absolute
    2: ([f"<{B}/test/2/webmention>; rel=webmention"], page(), "/test/2/webmention"),
    # a link: relative
    3: ([], page('<link rel="webmention" href="/test/3/webmention">'), "/test/3/webmention"),
    # a link: absolute, href before rel
    4: ([], page(f'<link href="{B}/test/4/webmention" rel="webmention">'), "/test/4/webmention"),
    # an a: relative
    5: ([], page("", '<a rel="webmention" href="/test/5/webmention">w</a>'), "/test/5/webmention"),
    # an a: absolute
    6: ([], page("", f'<a href="{B}/test/6/webmention" rel="webmention">w</a>'), "/test/6/webmention"),
    # the header's name in strange case, which the door out has seen to
    7: ([f"<{B}/test/7/webmention>; rel=webmention"], page(), "/test/7/webmention"),
    # the header: quoted
    8: ([f'<{B}/test/8/webmention>; rel="webmention"'], page(), "/test/8/webmention"),
    # several rels in HTML
    9: (
        [],
        page(f'<link rel="webmention somethingelse" href="{B}/test/9/webmention">'),
        "/test/9/webmention",
    ),
    # several rels in the header
    10: ([f'<{B}/test/10/webmention>; rel="webmention somethingelse"'], page(), "/test/10/webmention"),
    # the header goes before the document
    11: (
        ["</test/11/webmention>; rel=webmention"],
        page(
            '<link rel="webmention" href="/test/11/error">', '<a href="/test/11/error" rel="webmention">w</a>'
        ),
        "/test/11/webmention",
    ),
    # a rel is compared whole
    12: (
        [],
        page(
            '<link rel="not-webmention" href="/test/12/error">',
            '<a href="/test/12/webmention" rel="webmention">w</a>',
        ),
        "/test/12/webmention",
    ),
    # comments
    13: (
        [],
        page(
            "",
            '<!-- <a href="/test/13/error" rel="webmention">w</a> -->'
            '<a href="/test/13/webmention" rel="webmention">w</a>',
        ),
        "/test/13/webmention",
    ),
    # escaped HTML
    14: (
        [],
        page(
            "",
            '<code>&lt;a href="/test/14/error" rel="webmention"&gt;&lt;/a&gt;</code>'
            '<a href="/test/14/webmention" rel="webmention">w</a>',
        ),
        "/test/14/webmention",
    ),
    # an empty href is the page itself
    15: ([], page('<link rel="webmention" href="">'), "/test/15"),
    # the order of the document: an a before a link
    16: (
        [],
        page(
            "",
            '<a href="/test/16/webmention" rel="webmention">w</a>'
            '<link rel="webmention" href="/test/16/error">',
        ),
        "/test/16/webmention",
    ),
    # the order of the document: a link before an a
    17: (
        [],
        page(
            "",
            '<link rel="webmention" href="/test/17/webmention">'
            '<a href="/test/17/error" rel="webmention">w</a>',
        ),
        "/test/17/webmention",
    ),
    # two headers
    18: (
        ['</test/18/error>; rel="other"', '</test/18/webmention>; rel="webmention"'],
        page(),
        "/test/18/webmention",
    ),
    # two values in one header
    19: (
        ['</test/19/error>; rel="other", </test/19/webmention>; rel="webmention"'],
        page(),
        "/test/19/webmention",
    ),
    # no href is no endpoint
    20: (
        [],
        page('<link rel="webmention">', '<a href="/test/20/webmention" rel="webmention">w</a>'),
        "/test/20/webmention",
    ),
    # the query stays
    21: (
        [],
        page('<link rel="webmention" href="/test/21/webmention?query=yes">'),
        "/test/21/webmention?query=yes",
    ),
    # relative to the path
    22: ([], page('<link rel="webmention" href="22/webmention">'), "/test/22/webmention"),
    # relative to the URL behind the redirect
    23: (
        ["<webmention-endpoint/KEY>; rel=webmention"],
        page("", '<a href="webmention-endpoint/KEY" rel="webmention">w</a>'),
        "/test/23/page/webmention-endpoint/KEY",
    ),
}


@pytest.mark.parametrize("number", ROCKS)
def test_webmention_rocks(number: int) -> None:
    link, body, endpoint = ROCKS[number]
    url = f"{B}/test/{number}" if number != 23 else f"{B}/test/23/page/KEY"
    offer = discover(url, target=f"{B}/test/{number}", link=link, body=body.encode(), media_type="text/html")
    assert offer.endpoint("webmention") == B + endpoint
    assert [one.protocol for one in offer.used] == ["webmention"]


LINK = '<link rel="webmention" href="/wm">'


@pytest.mark.parametrize(
    ("link", "body", "endpoint"),
    [
        (['</other>; rel="other"'], LINK, "/wm"),
        ([], '<b rel="webmention" href="/b"></b><area rel=webmention href=/area>' + LINK, "/wm"),
        (["</url,with,comma>; rel=webmention"], "", "/url,with,comma"),
        (["</header>; rel=WebMention"], "", "/header"),
        ([], "<LINK REL=WebMention HREF=/wm>", "/wm"),
        ([], '<link rel="\tme\nwebmention " href=/wm>', "/wm"),
        ([], "<link rel='me\xa0webmention' href=/no>", None),
        ([], "<link rel='web&#109;ention' href='/wm?a&amp;b'>", "/wm?a&b"),
        ([], f'<base href="/dir/"><base href="/no/"><link rel="webmention" href="wm">{LINK}', "/dir/wm"),
        ([], '<base href="//cdn.example/x"><base><link rel="webmention" href="wm">', "//cdn.example/wm"),
        (["<wm>; rel=webmention"], '<base href="/dir/">', "/wm"),
        (["<>; rel=webmention"], "", "/entry?x=1"),
        ([], "<a rel=webmention href>", "/entry?x=1"),
        ([], "<a rel=webmention href='#form'>", "/entry?x=1"),
        ([], '<link rel="webmention" href="/wm#part">', "/wm"),
        ([], f'<script>"{LINK}"</script><style>{LINK}</style><textarea>{LINK}</textarea>', None),
        (
            [],
            f"<template>{LINK}</template><noscript><a rel=webmention href=/no-script></noscript>",
            "/no-script",
        ),
        ([], f"<title>{LINK}</title><p title='{LINK}'><!-- {LINK} --><![CDATA[{LINK}]]>", None),
        ([], f'<a rel="webmention" href="mailto:x@y"><a rel="webmention" href="http://">{LINK}', "/wm"),
        (["<javascript:x>; rel=webmention", "</two>; rel=webmention"], LINK, "/two"),
        ([], f"<p>x</p>{'<i>y</i>' * 100_000}{LINK}", "/wm"),
        ([], f"{'<!-- -->' * 200_000}{LINK}", None),
        ([], "", None),
    ],
)
def test_more_of_webmention(link: list[str], body: str, endpoint: str | None) -> None:
    offer = discover("https://b.example/entry?x=1#frag", link=link, body=body.encode(), charset="utf-8")
    if endpoint is not None and not endpoint.startswith("//"):
        endpoint = f"//b.example{endpoint}"
    assert offer.endpoint("webmention") == (endpoint and f"https:{endpoint}")
    assert sum(one.used for one in findings(offer, "webmention")) <= 1


def test_of_what_is_no_html_only_the_headers_count() -> None:
    for media_type in ("text/plain", "image/png", "application/json"):
        for link in ([], ["</wm>; rel=webmention"]):
            offer = discover(URL, link=link, body=LINK.encode() + ELEMENT, media_type=media_type)
            assert offer.endpoint("webmention") == ("https://b.example/wm" if link else None)
            assert offer.pingback == "https://b.example/element"
            assert "HTML" in findings(offer, "webmention")[1].reason
    for media_type in ("", "text/html", "Application/XHTML+XML"):
        assert discover(URL, body=LINK.encode(), media_type=media_type).endpoint("webmention") is not None


def test_webmention_near_misses_are_shown_with_the_reason() -> None:
    body = (
        '<b rel="webmention"></b><a rel="webmention x">y</a><a rel=webmention href="tel:1">z</a>' + LINK * 9
    )
    told = findings(discover(URL, body=body.encode()), "webmention")
    assert [(one.value, one.used) for one in told] == [
        ("", False),
        ('<b rel="webmention">', False),
        ('<a rel="webmention x">', False),
        ("tel:1", False),
        ("https://b.example/wm", True),
        ("https://b.example/wm", False),
    ]
    assert all(one.reason for one in told)
    told = findings(discover(URL, link=["</h>; rel=webmention"], body=LINK.encode()), "webmention")
    assert [(one.kind, one.used) for one in told] == [("header", True), ("element", False)]
    assert told[1].reason == "The Link header goes first."


# --- trackback --------------------------------------------------------------------------------------------


def rdf(identifier: str, ping_url: str) -> str:
    return trackback.dump_rdf(identifier, 'A -- "title"', ping_url)


@pytest.mark.parametrize(
    "block",
    [
        rdf(URL, "https://b.example/tb?a=1&b--2"),
        rdf(f"{URL}/", "https://b.example/tb?a=1&b--2"),
        rdf("http://B.example/entry", "https://b.example/tb?a=1&b--2"),
        rdf(URL, "https://b.example/tb?a=1&b--2").removeprefix("<!--").removesuffix("-->"),
        rdf("https://b.example/other", "https://b.example/no") + rdf(URL, "https://b.example/tb?a=1&b--2"),
        f"<!--<RDF:description trackback:Ping='https://b.example/tb?a=1&b--2'\n dc:identifier={URL}></x>-->",
        f'<!-- <rdf:Description dc:identifier="{URL}" trackback:ping="/tb?a=1&amp;b--2"/> -->',
    ],
)
def test_the_block_of_rdf_that_names_the_page(block: str) -> None:
    body = f'<a rel="trackback" href="/no">x</a>{block}'
    for before in ("", "<p>x</p>" * 50_000):
        offer = discover(URL, body=(before + body).encode())
        assert offer.endpoint("trackback") == "https://b.example/tb?a=1&b--2"
        assert [one.reason for one in findings(offer, "trackback")][-1] == "The RDF block goes first."


@pytest.mark.parametrize(
    ("target", "identifier", "found"),
    [
        ("https://b.example/a?x=1", "https://b.example/a?x=1", True),
        ("https://b.example/a#part", "https://b.example/a", True),
        ("https://b.example/a#2", "https://b.example/a#2", True),
        ("https://b.example/a#2", "https://b.example/a#1", False),
        ("https://b.example/a", "https://b.example/a#1", False),
        ("https://b.example/moved", "https://b.example/entry", True),  # what the answer says its URL is
        ("https://b.example/caf%c3%A9?q=%7ex%26", "http://B.example/café?q=~x%26", True),
        ("https://b.example/a%2Fb", "https://b.example/a%2fb", True),
        ("https://b.example/a%2Fb", "https://b.example/a/b", False),
        ("https://b.example/a?x=%26y", "https://b.example/a?x=&y", False),
        ("https://b.example/100%", "https://b.example/100%", True),
        ("https://b.example/%E9", "https://b.example/%e9", True),
        ("https://b.example/a#ü", "https://b.example/a#%C3%BC", True),
        ("https://b.example/a?x=1", "https://b.example/a?x=2", False),
        ("https://b.example/a", "https://b.example/b", False),
        ("https://b.example/a", "https://c.example/a", False),
        ("https://b.example/a", "", False),
        ("https://b.example/a", "http://[", False),
        ("http://[", "http://[", False),
    ],
)
def test_whose_block_it_is(target: str, identifier: str, found: bool) -> None:
    offer = discover(URL, target=target, body=rdf(identifier, "https://b.example/tb").encode())
    assert (offer.endpoint("trackback") is not None) == found
    if not found:
        assert "dc:identifier" in findings(offer, "trackback")[0].reason


@pytest.mark.parametrize(
    ("body", "endpoint"),
    [
        ('<link rel="trackback" href="/tb">', "https://b.example/tb"),
        ('<a href="https://b.example/tb" rel="TrackBack nofollow">x</a>', "https://b.example/tb"),
        ('<a rel="trackback">x</a><a rel="trackback" href="/tb">x</a>', "https://b.example/tb"),
        (f'{rdf("https://b.example/x", "/no")}<a rel="trackback" href="/tb">', "https://b.example/tb"),
        (f'{rdf(URL, "javascript:x")}<a rel="trackback" href="/tb">', "https://b.example/tb"),
        (f"<template>{rdf(URL, '/no')}</template><textarea>{rdf(URL, '/no')}</textarea>", None),
        (f'<!-- <rdf:Description dc:identifier="{URL}" /> trackback:ping -->', None),
        (f'<!-- dc:identifier="{URL}" trackback:ping="/no" -->', None),
        ('<i rel="trackback" href="/no">', None),
    ],
)
def test_trackback_elsewhere(body: str, endpoint: str | None) -> None:
    assert discover(URL, body=body.encode()).endpoint("trackback") == endpoint


# --- all together -----------------------------------------------------------------------------------------

ALL = ELEMENT + LINK.encode() + b'<a rel="trackback" href="/tb">'


def test_the_order_in_which_they_are_used() -> None:
    offer = discover(URL, body=b'<a rel="trackback" href="/tb">' + ELEMENT + LINK.encode())
    assert [(one.protocol, one.value) for one in offer.used] == [
        ("webmention", "https://b.example/wm"),
        ("pingback", "https://b.example/element"),
        ("trackback", "https://b.example/tb"),
    ]
    assert [one.protocol for one in discover(URL, body=ELEMENT).used] == ["pingback"]
    assert discover(URL).used == ()


MORE = b"<p>x</p>" * 2000


def reading(*chunks: bytes, **options: Any) -> tuple[list[bool], Offer]:
    discovery = Discovery(URL, **options)
    return [discovery.feed(chunk) for chunk in chunks], discovery.close()


def test_a_header_of_the_best_protocol_is_enough() -> None:
    for protocols in (PROTOCOLS, ("webmention",)):
        fed, offer = reading(
            b"", link=["</wm>; rel=webmention"], x_pingback=["https://b.example/x"], protocols=protocols
        )
        assert fed == [True]
        assert offer.endpoint("webmention") == "https://b.example/wm"
    fed, offer = reading(b"", x_pingback=["https://b.example/x"], protocols=("pingback",))
    assert (fed, offer.pingback) == ([True], "https://b.example/x")
    assert {one.protocol for one in offer.findings} == {"pingback"}


def test_webmention_is_looked_for_behind_a_header_of_pingback() -> None:
    fed, offer = reading(b"", MORE, LINK.encode() + MORE, MORE, x_pingback=["https://b.example/x"])
    assert fed == [False, False, True, True]
    assert [one.protocol for one in offer.used] == ["webmention", "pingback"]


def test_no_more_is_read_than_can_matter() -> None:
    fed, offer = reading(*[MORE] * 3, LINK.encode(), max_bytes=2 * len(MORE) + 1, protocols=("webmention",))
    assert fed == [False, False, True, True]
    assert offer.endpoint("webmention") is None
    fed, offer = reading(b"", media_type="image/png", protocols=("webmention", "trackback"))
    assert fed == [True]
    fed, offer = reading(*[MORE] * 40, protocols=("pingback",), thorough=True)
    assert fed.index(True) == pingback.MAX_SEARCH_BYTES // len(MORE)


def test_the_last_bytes_that_are_read_count() -> None:
    body = b'<a rel="trackback" href="/tb">' + MORE + LINK.encode()
    for thorough in (False, True):
        for chunk in (len(body), 100):
            _, offer = reading(
                *(body[start : start + chunk] for start in range(0, len(body), chunk)),
                max_bytes=len(body),
                thorough=thorough,
            )
            assert [one.protocol for one in offer.used] == ["webmention", "trackback"]


def test_thorough_reads_on() -> None:
    fed, offer = reading(b"", ALL, MORE, link=["</wm>; rel=webmention"], thorough=True)
    assert fed == [False, False, False]
    assert [one.protocol for one in offer.used] == ["webmention", "pingback", "trackback"]


class Reference:
    """The endpoint for webmention that the tree of a page says."""

    def __init__(self, page: bytes) -> None:
        self.endpoint: str | None = None
        links = html.Links(lambda url: url, URL)
        root = etree.fromstring(b"<p>" + page, etree.HTMLParser(encoding="utf-8", no_network=True))
        for element in root.iter("base", "link", "a"):
            href = element.get("href")
            if href is None or any(True for _ in element.iterancestors("template")):
                continue
            if element.tag == "base":
                links.rebase(href)
            elif "webmention" in (element.get("rel") or "").lower().split() and self.endpoint is None:
                answer = links.look_up(href)
                url = answer[0].partition("#")[0] if answer is not None else ""
                self.endpoint = url if pingback.is_absolute(url) else None


PIECES = (
    *("<p>", "</p>", "<div title='", "'>", '"', "'", ">", "<", " ", "/", "=", "<!--", "-->", "<script>", "x"),
    *(
        "</script>",
        "<style>",
        "</style>",
        "<textarea>",
        "</textarea>",
        "<noscript>",
        "</noscript>",
        "<title>",
    ),
    *(
        "</title>",
        "<b>",
        "</b>",
        "<table><tr>",
        "</table>",
        "<ul><li>",
        "<svg>",
        "</svg>",
        "<!x",
        "&lt;",
        "é",
    ),
    *("<base href=/d/>", "<base>", "<head>", "</head>", "<body>", "</a>", "<select>", "<option>", "</form>"),
    *(
        "<link rel=webmention href=N>",
        "<a rel='webmention' href=\"N\">",
        "<a REL=WebMention>",
        "<form>",
        "\n",
    ),
    *("<link rel='me webmention' href>", "<a href=N rel=no-webmention>", "<b rel=webmention href=N>", "\0"),
    *("<a rel=webmention href=tel:N>", "<link rel=webmention href='N", "<a rel=web&#109;ention href=N>"),
)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from([1, 7, 50]))
def test_webmention_agrees_with_a_tree(pieces: list[str], bite: int) -> None:
    body = "".join(piece.replace("N", str(number)) for number, piece in enumerate(pieces)).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "_SIP_BYTES", bite)
        patch.setattr(html, "CHUNK_BYTES", 4 * bite)
        patch.setattr(html, "_SNIFFED_BYTES", 1)
        offer = discover(URL, body=body, charset="utf-8")
        _, early = reading(*(body[start : start + 13] for start in range(0, len(body), 13)), charset="utf-8")
    assert offer.endpoint("webmention") == early.endpoint("webmention") == Reference(body).endpoint


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.text(), max_size=2),
    st.binary(max_size=100),
    st.text(max_size=20),
    st.sampled_from(["", "text/html", "x"]),
    st.text(max_size=10) | st.none(),
)
def test_never_raises(
    headers: list[str], more: bytes, url: str, media_type: str, charset: str | None
) -> None:
    around = [f"<{header}>; rel=webmention" for header in headers]
    inside = b"<link rel=webmention href='" + more + b"'><!-- <rdf:Description trackback:ping='" + more + b"'"
    for body in (more, ALL + more, inside + more, inside + b" dc:identifier='" + more + b"' -->"):
        offer = discover(
            url,
            target=headers[0] if headers else None,
            x_pingback=headers,
            link=headers + around,
            body=body,
            media_type=media_type,
            charset=charset,
        )
        assert all(pingback.is_absolute(one.value) for one in offer.used)
        assert all(one.reason for one in offer.findings)


MIB = 1 << 20


@pytest.mark.parametrize(
    "unit",
    [
        *(
            b"webmention",
            b"<link rel=webmention>",
            b"<a rel=webmention href=tel:1>",
            b"<b>webmention",
            b"rel=&#",
        ),
        *(
            b"<!-- trackback:ping -->",
            b"<!--trackback:ping<rdf:Description trackback:ping=x />",
            b"<base href=x>",
        ),
        *(
            b"<rdf:Description trackback:ping=x />",
            b"<template>webmention",
            b"<a rel='webmention",
            b"trackback",
        ),
    ],
)
def test_hostile_pages_cost_little(unit: bytes) -> None:
    body = unit * (MIB // len(unit))
    started = time.process_time()
    offer = discover(URL, body=body)
    assert usual(time.process_time() - started) < 1.5
    assert len(offer.findings) < 30
