"""WebSub: the hubs and the topic that a resource means, and the words of publisher and subscriber."""

from __future__ import annotations

from urllib.parse import parse_qs, parse_qsl

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from flask_linkback.protocols import link_header, websub
from flask_linkback.protocols.websub import Offer, RequestError, discover, parse_verification
from tests.thorough import examples

URL = "https://a.example/blog/feed?page=2"
HUB = "https://hub.example/"
ATOM = "http://www.w3.org/2005/Atom"


def found(offer: Offer) -> tuple[str | None, tuple[str, ...]]:
    return offer.topic_url, offer.hubs


def reasons(offer: Offer) -> list[tuple[str, str, bool, str]]:
    return [(one.kind, one.rel, one.used, one.reason) for one in offer.findings]


# --- Link headers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [f'<{HUB}>; rel="hub", </topic>; rel="self"'],
        [f"<{HUB}>;rel=hub", "</topic>;rel=self"],
        [f'<{HUB}>; REL="HUB nofollow"', '<https://a.example/topic>; title="a, b; rel=x"; rel=Self'],
        ['<//hub.example/>; rel="preload hub"', "<../topic>; rel=self"],
    ],
)
def test_w28_links_of_the_header(values: list[str]) -> None:
    assert found(discover(URL, link=values)) == ("https://a.example/topic", (HUB,))


def test_one_link_may_be_both() -> None:
    assert found(discover(URL, link=['<https://x.example/>; rel="self hub"'])) == (
        "https://x.example/",
        ("https://x.example/",),
    )


def test_all_hubs_in_their_order_and_each_once() -> None:
    values = [f"<https://{name}.example/>; rel=hub" for name in ("b", "a", "b", "c")]
    offer = discover(URL, link=[", ".join(values)])
    assert offer.hubs == ("https://b.example/", "https://a.example/", "https://c.example/")
    assert ("header", "hub", False, "It is there twice.") in reasons(offer)


def test_the_first_self_of_several_counts() -> None:
    offer = discover(URL, link=["</one>; rel=self, </two>; rel=self"])
    assert offer.topic_url == "https://a.example/one"
    assert ("header", "self", False, "An earlier one goes first.") in reasons(offer)


def test_a_link_without_a_target_leads_to_the_page_itself() -> None:
    assert found(discover(URL, link=["<>; rel=self, <>; rel=hub"])) == (URL, ())


def test_a_link_of_another_page_is_none_of_this() -> None:
    offer = discover(URL, link=[f'<{HUB}>; rel=hub; anchor="/other", </t>; rel=self; anchor="#top"'])
    assert found(offer) == ("https://a.example/t", ())
    assert "anchor" in next(one.reason for one in offer.findings if one.value == HUB)


@pytest.mark.parametrize(
    "href", ["ftp://h.example/", "javascript:x", "https://u:p@h.example/", "http://[", "x" * 5000]
)
def test_only_addresses_of_the_web_are_used(href: str) -> None:
    offer = discover("mailto:x", link=[f"<{href}>; rel=hub"])
    assert offer.hubs == ()
    assert ("header", "hub", False, "It leads to no http or https URL.") in reasons(offer)


def test_no_topic_is_made_up() -> None:
    assert found(discover(URL, link=[f"<{HUB}>; rel=hub"])) == (None, (HUB,))
    assert found(discover(URL)) == (None, ())
    assert all(one.reason and not one.used for one in discover(URL).findings)


def test_more_hubs_than_anybody_has_are_passed_over() -> None:
    offer = discover(URL, link=[f"<https://h.example/{number}>; rel=hub" for number in range(30)])
    assert offer.hubs == tuple(f"https://h.example/{number}" for number in range(websub.MAX_HUBS))
    assert len(offer.findings) < 30


# --- headers go before the document -----------------------------------------------------------------------

PAGE = b'<link rel="hub" href="https://page.example/"><link rel="self" href="/page">'


def test_the_header_goes_before_the_document() -> None:
    offer = discover(URL, link=[f"<{HUB}>; rel=hub, </header>; rel=self"], body=PAGE)
    assert found(offer) == ("https://a.example/header", (HUB,))
    assert ("element", "hub", False, "The Link header goes first.") in reasons(offer)


def test_what_the_header_lacks_the_document_says() -> None:
    offer = discover(URL, link=[f"<{HUB}>; rel=hub"], body=PAGE)
    assert found(offer) == ("https://a.example/page", (HUB,))
    offer = discover(URL, link=["</header>; rel=self"], body=PAGE)
    assert found(offer) == ("https://a.example/header", ("https://page.example/",))


# --- HTML -------------------------------------------------------------------------------------------------

HEAD = '<link rel="hub" href="https://hub.example/"><link href="/topic" rel="self alternate">'


@pytest.mark.parametrize(
    "page",
    [
        f"<!doctype html><html><head><title>T</title>{HEAD}</head><body>x</body></html>",
        f"<title>T</title>{HEAD}<p>x",
        f"{HEAD.upper().replace('HTTPS://HUB.EXAMPLE/', HUB).replace('/TOPIC', '/topic')}",
        f"<head><noscript><img src=x></noscript>{HEAD}</head>",
        f"<noscript><img src=x></noscript>{HEAD}",
        f"<head><script>if (a<b) x('<body>')</script><style>b{{}}</style>{HEAD}</head>",
        f"<html><head></head>\n{HEAD}<body>",
        (
            '<head><base href="https://hub.example/x/"><link rel=hub href=..>'
            '<link rel=self href="https://a.example/topic"></head>'
        ),
        (
            '<head><link rel=hub href="."><base href="https://hub.example/">'
            '<link rel=self href="https://a.example/topic"></head>'
        ),
        f"<head>{'<meta name=x content=y>' * 5000}{HEAD}</head>",
    ],
)
def test_links_of_the_head(page: str) -> None:
    for media_type in ("text/html", "application/xhtml+xml", ""):
        offer = discover(URL, body=page.encode(), media_type=media_type)
        assert found(offer) == ("https://a.example/topic", (HUB,)), offer.findings


@pytest.mark.parametrize(
    "page",
    [
        f"<head><title>T</title></head><body>{HEAD}</body>",
        f"<head></head><body><p>x</p>{HEAD}",
        f"<p>x</p>{HEAD}",
        f"text{HEAD}",
        f"<title>T</title><custom-element></custom-element>{HEAD}",
        f"<head><title>T</title><div>{HEAD}</div></head>",
        f"<head>text{HEAD}</head>",
        f"<head><svg>{HEAD}</svg></head>",
        f"<head></head><body></body><head>{HEAD}</head>",
        HEAD.replace("<link", "<a"),
    ],
)
def test_links_elsewhere_do_not_count_and_are_told(page: str) -> None:
    offer = discover(URL, body=page.encode(), media_type="text/html")
    assert found(offer) == (None, ())
    assert ("element", "hub", False, "Only link elements in the head of a page count.") in reasons(offer)


@pytest.mark.parametrize("around", ["template", "noscript", "textarea", "title", "script"])
def test_what_is_no_part_of_the_page_does_not_count(around: str) -> None:
    page = f"<head><{around}>{HEAD}</{around}></head>"
    assert found(discover(URL, body=page.encode())) == (None, ())


def test_links_of_no_use_do_not_hide_the_others() -> None:
    page = "<link rel=hub>" * 20 + "<link rel=hub href=ftp://x.example/>" * 5 + HEAD
    assert found(discover(URL, body=page.encode())) == ("https://a.example/topic", (HUB,))
    many = "".join(f'<link rel="hub" href="/{number}">' for number in range(100)) + HEAD
    offer = discover(URL, body=many.encode())
    assert (offer.topic_url, len(offer.hubs)) == ("https://a.example/topic", websub.MAX_HUBS)


def test_a_body_full_of_links_is_left_at_that() -> None:
    offer = discover(URL, body=f"<title>T</title><p>{'<a rel=hub href=/x>x</a>' * 10_000}".encode())
    assert found(offer) == (None, ())
    assert len(offer.findings) == 8  # five of them, and that there is nothing else


def test_an_empty_href_is_no_link_and_neither_is_none() -> None:
    offer = discover(URL, body=b'<link rel=self href=""><link rel=hub>')
    assert found(offer) == (None, ())
    assert {"It leads nowhere.", "It has no href."} <= {one.reason for one in offer.findings}


# --- feeds ------------------------------------------------------------------------------------------------


def atom(links: str, root: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="utf-8"?><feed xmlns="{ATOM}"{root}><title>T</title>{links}'
        f'<entry><link rel="hub" href="https://evil.example/"/><link rel="self" href="/evil"/></entry></feed>'
    )


LINKS = '<link rel="hub" href="https://hub.example/"/><link rel="self" href="/topic"/>'


@pytest.mark.parametrize(
    "feed",
    [
        atom(LINKS),
        f"\n{atom(LINKS)}",
        atom("").replace("</feed>", f"{LINKS}</feed>"),
        atom(LINKS.replace('"hub"', '"http://www.iana.org/assignments/relation/hub"')),
        atom(LINKS.replace('"/topic"', '"topic"'), ' xml:base="/"'),
        atom('<link xml:base="https://hub.example/x" rel="hub" href="/"/><link rel="self" href="/topic"/>'),
        atom(LINKS)
        .replace("<", "<a:")
        .replace("<a:/", "</a:")
        .replace("<a:?", "<?")
        .replace("xmlns", "xmlns:a"),
        atom(LINKS).replace(ATOM, "http://purl.org/atom/ns#"),
        atom(LINKS).replace("</entry>", "</entry>&nbsp;"),  # broken further down
    ],
)
def test_links_of_atom(feed: str) -> None:
    for media_type in ("application/atom+xml", "text/xml", "text/html", "text/plain", ""):
        offer = discover(URL, body=feed.encode(), media_type=media_type)
        assert found(offer) == ("https://a.example/topic", (HUB,)), offer.findings
    for encoding in ("utf-8-sig", "utf-16"):
        offer = discover(URL, body=feed.encode(encoding), media_type="application/xml")
        assert found(offer) == ("https://a.example/topic", (HUB,)), offer.findings


def rss(links: str) -> str:
    links = links.replace("<link", "<atom:link")
    return (
        f'<rss version="2.0" xmlns:atom="{ATOM}"><channel><title>T</title><link>https://a.example/</link>'
        f'<item><atom:link rel="hub" href="https://evil.example/"/></item>{links}</channel>'
        '<atom:link rel="self" href="/evil"/></rss>'
    )


@pytest.mark.parametrize(
    "feed",
    [
        rss(LINKS),
        rss(LINKS)
        .replace(
            "<rss",
            '<r:RDF xmlns="http://purl.org/rss/1.0/" xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"',
        )
        .replace("</rss>", "</r:RDF>"),
    ],
)
def test_links_of_rss(feed: str) -> None:
    for media_type in ("application/rss+xml", "text/html"):
        offer = discover(URL, body=feed.encode(), media_type=media_type)
        assert found(offer) == ("https://a.example/topic", (HUB,)), offer.findings


@pytest.mark.parametrize(
    "feed",
    [
        f"<!DOCTYPE feed>{atom(LINKS)[38:]}",
        f'<!DOCTYPE x [<!ENTITY h "{HUB}">]>{atom(LINKS)[38:]}',
        atom("") + LINKS,
        atom(LINKS.replace("<link", '<link xmlns=""')),
        atom(f"<source>{LINKS}</source>"),
        rss("").replace("</channel>", LINKS + "</channel>"),  # RSS's own link has no rel
        f'<x xmlns="{ATOM}">{LINKS}</x>',
        atom(LINKS)
        .replace("utf-8", "unicode_escape")
        .replace("<title>T", "<title>\\u003c/title>\\u003clink>"),
    ],
)
def test_what_is_no_link_of_the_feed_does_not_count(feed: str) -> None:
    offer = discover(URL, body=feed.encode(), media_type="application/xml")
    assert "evil" not in str(offer.hubs)
    if "unicode_escape" not in feed:
        assert found(offer) == (None, ())


def test_links_of_json_feed() -> None:
    feed = (
        b'{"version": "https://jsonfeed.org/version/1.1", "feed_url": "/topic", "hubs": ['
        b'{"type": "rssCloud", "url": "https://cloud.example/"}, {"type": "WebSub", "url": "https://hub.example/"},'
        b'{"type": "WebSub"}, 7], "items": [{"hubs": [{"type": "WebSub", "url": "https://evil.example/"}]}]}'
    )
    for media_type in ("application/feed+json", "application/json", ""):
        assert found(discover(URL, body=feed, media_type=media_type)) == ("https://a.example/topic", (HUB,))
    assert ("feed", "hub", False, "Its type is not WebSub.") in reasons(
        discover(URL, body=feed, media_type="application/json")
    )


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"\xff"]
)
def test_json_that_is_no_feed(body: bytes) -> None:
    assert found(discover(URL, body=body, media_type="application/json")) == (None, ())


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.text(), max_size=3),
    st.binary() | st.text().map(lambda text: f"<feed xmlns='{ATOM}'><link {text}".encode("utf-8", "replace")),
    st.sampled_from(("", "text/html", "application/xml", "application/json", "x/y")) | st.text(max_size=20),
    st.none() | st.text(max_size=20),
    st.text(),
)
def test_discovery_never_raises(
    link: list[str], body: bytes, media_type: str, charset: str | None, url: str
) -> None:
    offer = discover(url, link=link, body=body, media_type=media_type, charset=charset)
    for each in (*offer.hubs, *filter(None, [offer.topic_url])):
        assert each.startswith(("http://", "https://"))


# --- what is offered --------------------------------------------------------------------------------------

PATHS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@given(st.lists(PATHS, max_size=3), PATHS)
@example(['>; rel="self", <'], 'x"\r\nSet-Cookie: a')
def test_link_values_come_back(hubs: list[str], path: str) -> None:
    values = websub.link_values([f"https://h.example/{hub}" for hub in hubs], f"https://a.example/{path}")
    assert all(value.isascii() and value.isprintable() for value in values)
    rels = [link.rels for link in link_header.parse(values)]
    assert rels == [("hub",)] * len(set(hubs)) + [("self",)]


def test_hub_of_youtube() -> None:
    hub = "https://pubsubhubbub.appspot.com/subscribe"
    for url in (
        "https://www.youtube.com/feeds/videos.xml?channel_id=UC1",
        "https://youtube.com/xml/feeds/videos.xml?channel_id=UC1",
        "http://www.youtube.com/feeds/videos.xml",
    ):
        assert websub.known_hub(url) == hub
    for url in (
        "https://www.youtube.com/feeds/videos.xml.evil/",
        "https://youtube.com.evil.example/feeds/videos.xml",
        "https://evil.example/?https://youtube.com/feeds/videos.xml",
        "https://www.youtube.com/@someone",
        "",
    ):
        assert websub.known_hub(url) is None


# --- what is sent -----------------------------------------------------------------------------------------


def test_a_ping_says_the_topic_by_both_names() -> None:
    assert parse_qsl(websub.dump_ping("https://a.example/?a=1&b=é").decode()) == [
        ("hub.mode", "publish"),
        ("hub.url", "https://a.example/?a=1&b=é"),
        ("hub.topic", "https://a.example/?a=1&b=é"),
    ]


def test_a_request_says_what_the_specification_names() -> None:
    form = websub.dump_request(
        "subscribe",
        topic_url="https://a.example/?a=1&b=2",
        callback_url="https://s.example/cb",
        lease_seconds=60,
        secret="é" * 99,
        params={"hub.topic": "x", "hub.secret": "x", "format": "json", "tag": ["a", "b"]},
    )
    assert parse_qs(form.decode()) == {
        "hub.mode": ["subscribe"],
        "hub.topic": ["https://a.example/?a=1&b=2"],
        "hub.callback": ["https://s.example/cb"],
        "hub.lease_seconds": ["60"],
        "hub.secret": ["é" * 99],
        "hub.verify": ["async"],
        "format": ["json"],
        "tag": ["a", "b"],
    }


def test_a_request_has_no_secret_and_no_lease_that_are_none_of_ours() -> None:
    form = websub.dump_request(
        "unsubscribe",
        topic_url="https://a.example/",
        callback_url="https://s.example/cb",
        params={"hub.secret": "x", "hub.lease_seconds": "1", "hub.verify": "sync"},
    )
    assert set(parse_qs(form.decode())) == {"hub.mode", "hub.topic", "hub.callback", "hub.verify"}
    assert b"hub.verify=sync" in form


def test_a_secret_has_less_than_200_bytes() -> None:
    def dump(**options: object) -> bytes:
        return websub.dump_request("subscribe", topic_url="t", callback_url="c", **options)  # type: ignore[arg-type]

    assert dump(secret="x" * websub.MAX_SECRET_BYTES)
    for options in ({"secret": "x" * 200}, {"secret": "é" * 100}, {"lease_seconds": 0}):
        with pytest.raises(ValueError, match="has to be"):
            dump(**options)


# --- what a hub asks --------------------------------------------------------------------------------------

QUERY = {
    "hub.mode": "subscribe",
    "hub.topic": "https://a.example/",
    "hub.challenge": "abc",
    "hub.lease_seconds": "864000",
}


def without(*names: str, **values: str) -> dict[str, str]:
    return {key: value for key, value in QUERY.items() if key not in names} | {
        f"hub.{name}": value for name, value in values.items()
    }


def test_a_verification_is_read() -> None:
    read = parse_verification(MultiDict(QUERY))
    assert (read.mode, read.topic_url, read.challenge, read.lease_seconds, read.reason) == (
        "subscribe",
        "https://a.example/",
        "abc",
        864000,
        "",
    )


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, "Missing parameters: hub.mode, hub.topic, hub.challenge"),
        (without("hub.topic"), "Missing parameters: hub.topic"),
        (without("hub.mode", "hub.challenge"), "Missing parameters: hub.mode, hub.challenge"),
        (without(challenge=""), "Missing parameters: hub.challenge"),
        (without("hub.topic", "hub.challenge", mode="denied"), "Missing parameters: hub.topic"),
        (without(mode="publish"), "Unrecognized hub.mode parameter"),
        (without(mode="Subscribe"), "Unrecognized hub.mode parameter"),
        (without("hub.lease_seconds"), "Missing hub.lease_seconds parameter"),
        *(
            (without(lease_seconds=lease), "hub.lease_seconds must be an integer")
            for lease in (
                "",
                "x",
                "1.5",
                "-5",
                "+5",
                "0",
                "000",
                " 60",
                "\uff16\uff10",
                "\u0663",
                "²",
                "1_000",
                "0x10",
                "1e3",
            )
        ),
        (without(challenge="x" * 5000), "A parameter is too long"),
    ],
)
def test_w17_w19_w20_w21_what_is_missing_or_wrong_is_named(query: dict[str, str], text: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_verification(query)
    assert str(refused.value) == text
    # what is missing goes before a wrong topic, and that before the rest
    incomplete = text.startswith("Missing parameters")
    assert refused.value.topic_url == (None if incomplete else query.get("hub.topic"))


def test_a_denial_needs_no_challenge_and_gives_its_reason() -> None:
    read = parse_verification(without("hub.challenge", mode="denied", reason="No\x00 more"))
    assert (read.mode, read.challenge, read.lease_seconds, read.reason) == ("denied", "", None, "No more")


def test_s17_the_lease_of_an_unsubscription_is_passed_over() -> None:
    for lease in ("5", "x", ""):
        assert parse_verification(without(mode="unsubscribe", lease_seconds=lease)).lease_seconds is None


@pytest.mark.parametrize("lease", ["9" * 12, "9" * 10_000, "1" + "0" * 300])
def test_a_huge_lease_is_the_longest_there_is(lease: str) -> None:
    assert parse_verification(without(lease_seconds=lease)).lease_seconds == websub.MAX_LEASE_SECONDS
    assert parse_verification(without(lease_seconds="0060")).lease_seconds == 60


@given(st.dictionaries(st.sampled_from((*QUERY, "hub.reason", "x")), st.text()))
def test_any_query_is_read_or_refused(query: dict[str, str]) -> None:
    try:
        read = parse_verification(query)
    except RequestError:
        pass
    else:
        assert read.lease_seconds is None or 0 < read.lease_seconds <= websub.MAX_LEASE_SECONDS
        assert (read.challenge == "") == (read.mode == "denied")
