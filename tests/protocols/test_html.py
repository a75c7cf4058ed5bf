"""HTML: only real links count, their words come with them, and no page keeps us busy."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Collection, Hashable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from flask_linkback.protocols import html
from flask_linkback.protocols.html import (
    CITING,
    COMMENT,
    Element,
    ElementScan,
    Found,
    LinkScan,
    outgoing_links,
    safe_url,
    text_of,
)
from tests.thorough import examples, usual

TARGET = "https://blog.example/entry?a=1&b=2"
LINK = '<a href="https://blog.example/entry?a=1&amp;b=2">this</a>'
HOSTS = {"blog.example"}
FILLER = (
    '<div class="x"><p>Lorem <em>ipsum</em> <a href="/x/{0}?a=1&amp;b=2">dolor</a> &mdash; sit.</p></div>\n'
)


def scan_of(
    page: str | bytes,
    *,
    chunk: int = 1000,
    hosts: set[str] | None = HOSTS,
    excerpt_length: int = 200,
    charset: str | None = None,
    base_url: str = "https://source.example/post",
    stop_when: int | None = 1,
    citing: Mapping[str, Collection[str]] | None = None,
) -> LinkScan:
    def wanted(url: str) -> Hashable | None:
        return "entry" if url.partition("#")[0] == TARGET else None

    scan = LinkScan(
        wanted,
        base_url=base_url,
        hosts=hosts,
        excerpt_length=excerpt_length,
        charset=charset,
        stop_when=stop_when,
        citing=citing,
    )
    data = page.encode() if isinstance(page, str) else page
    for start in range(0, len(data), chunk):
        if scan.feed(data[start : start + chunk]):
            break
    scan.close()
    return scan


def found_in(page: str | bytes, **options: object) -> Found | None:
    return scan_of(page, **options).found.get("entry")  # type: ignore[arg-type]


def excerpt_of(page: str, length: int = 200) -> str:
    found = found_in(page, excerpt_length=length)
    assert found is not None
    assert len(found.excerpt) <= length
    return found.excerpt


def filler(size: int) -> str:
    unit = len(FILLER)
    return "".join(FILLER.format(number) for number in range(size // unit + 1))


def everywhere(link: str) -> list[str]:
    """The same link near the start of a page and far behind it."""
    return [link, f"<title>t</title><body>{filler(200_000)}{link}{filler(50_000)}"]


@pytest.mark.parametrize(
    "link",
    [
        LINK,
        LINK.replace('"', "'"),
        "<A HREF=https://blog.example/entry?a=1&b=2>this</A>",
        '<a class="u-url" href = "https://blog.example/entry?a=1&#38;b=2#part" rel="nofollow">this</a>',
        '<a title="a > b" data-x=\'<!--\' href=" https://blog.example/entry?a=1&amp;b=2 ">this</a>',
        '<a/href="https://blog.example/entry?a=1&amp;b=2">this</a>',
        '<a href="https://BLOG.example/" href="x">no</a>' + LINK,
        '<a href="https:&#x2F;&#x2F;bl&#111;g.ex&#97;mple/entry?a=1&amp;b=2">this</a>',
        '<a href="https://blog.example/en\ntry?a=1&amp;b=2">this</a>',
        f"<noscript>{LINK}</noscript>",
        f'<p title="<!--">{LINK}</p><!-- -->',
        f"<script><!-- <script> </script> --></script>{LINK}",
        f"<!-->{LINK}<!-- -->",
        f"</>{LINK}",
        f"<template><p>x</p></template>{LINK}",
        f"<script/>{LINK}",
    ],
)
def test_links_that_count(link: str) -> None:
    for page in everywhere(link):
        found = found_in(page)
        assert found is not None
        assert found.url.partition("#")[0] == TARGET


@pytest.mark.parametrize(
    "text",
    [
        "https://blog.example/entry?a=1&amp;b=2",
        '<img src="https://blog.example/entry?a=1&amp;b=2">',
        '<link href="https://blog.example/entry?a=1&amp;b=2"><area href="https://blog.example/entry?a=1&amp;b=2">',
        '<a name="https://blog.example/entry?a=1&amp;b=2">x</a>',
        f"<!-- {LINK} -->",
        f"<!-- <!-- {LINK} -->",
        f"<script>{LINK}</script>",
        f"<script><!-- <script>{LINK}</script> {LINK} --></script>",
        f"<SCRIPT type=text/template>{LINK}</SCRIPT >",
        f"<style>{LINK}</style>",
        f"<textarea>{LINK}</textarea>",
        f"<title>{LINK}</title>",
        f"<xmp>{LINK}</xmp>",
        f"<iframe>{LINK}</iframe>",
        f"<template><div>{LINK}</div></template>",
        f"<code>{LINK.replace('<', '&lt;')}</code>",
        f"<p title='{LINK}'>x</p>",
        f"<b x={LINK[:2]} y='{LINK}'>x</b>",
        f"<? {LINK[:-4]}",
        '<a href="ftp://blog.example/entry?a=1&amp;b=2">x</a>',
        '<a href="javascript:https://blog.example/entry?a=1&amp;b=2">x</a>',
        f'<a href="https://blog.example/{"x" * 3000}">x</a>',
        '<a href="http://[blog.example">x</a>',
        f"<plaintext>{LINK}",
    ],
)
def test_p4_what_is_no_link(text: str) -> None:
    for page in everywhere(text):
        for hosts in (HOSTS, None):
            assert found_in(page, hosts=hosts) is None


def test_constructs_longer_than_a_chunk() -> None:
    long = "x" * 200_000
    for before in (
        f"<script>var a = '{long}'</script>",
        f"<script><!-- <script>{long}</script> --></script>",
        f"<!-- {long} -->",
        f'<img src="data:{long}" alt="">',
        f"<img src=data:{long}>",
        f"<img {long}>",
        f"<!{long}>",
        f"<textarea>{long}</textarea>",
        f"<b{long}></b>",
    ):
        page = f"<title>t</title><body>{filler(100_000)}{before}{LINK}"
        assert found_in(page) is not None, before[:20]
    for before in (
        f"<script>{long}",
        f"<!-- {long}",
        f'<img src="{long}',
        f"<script><!--{long}<script>{long}</script>",
    ):
        assert found_in(f"<title>t</title><body>{filler(100_000)}{before}{LINK}") is None, before[:20]


def test_base() -> None:
    bases = '<base href="https://blog.example/dir/"><base href="https://no.example/">'
    assert found_in(f'{bases}<a href="../entry?a=1&amp;b=2">x</a>') is not None
    assert found_in('<a href="/entry?a=1&amp;b=2">x</a>', base_url="https://blog.example/a/b") is not None
    assert found_in("<a href='?a=1&amp;b=2#x'>x</a>", base_url="https://blog.example/entry?q") is not None
    assert found_in("<a href='?a=1&amp;b=2'>x</a>", base_url="no url [") is None
    far = f'<base href="//blog.example/"><title>t</title><body>{filler(200_000)}'
    assert found_in(f'{far}<a href="entry?a=1&amp;b=2">x</a>') is not None


def test_wanted_is_asked_once_for_each_url() -> None:
    asked: list[str] = []
    scan = LinkScan(asked.append, base_url="https://s.example/", stop_when=None)
    scan.feed(b"<a href=/a>1</a><a href='/a'>2</a><a href=mailto:x@y>3</a><a href=/b>4</a>" * 3)
    scan.close()
    assert asked == ["https://s.example/a", "https://s.example/b"]


def test_first_link_of_each_key_and_stop() -> None:
    scan = LinkScan(lambda url: url[-1], base_url="https://s.example/", stop_when=2)
    page = b"<p>A <a href=/a rel='Nofollow UGC ugc'>one</a></p><p><a href=/a>two</a></p>"
    page += b"<p>B <a href=/b>b</a></p>"
    fed = [
        scan.feed(page + b" " * 20_000),
        scan.feed(b"<title></title>" + b"<p>x</p>" * 10_000),
        scan.feed(b""),
    ]
    scan.close()
    assert fed[1:] == [True, True]
    assert scan.found == {
        "a": Found(url="https://s.example/a", rels=("nofollow", "ugc"), text="one", excerpt="A one"),
        "b": Found(url="https://s.example/b", rels=(), text="b", excerpt="B b"),
    }


def test_p10_title() -> None:
    assert scan_of(f"<p>{LINK}</p>").title is None
    assert scan_of(f"<title></title><p>{LINK}</p>").title is None
    assert scan_of(f"<title>\n A &amp; &eacute; <b>\u202e\x01 </title>{LINK}").title == "A & é <b>"
    assert scan_of(f"<svg><title>icon</title></svg><title>real</title><title>x</title>{LINK}").title == "real"
    assert scan_of("<title>" + "x " * 5000).title in (None, ("x " * 150).rstrip())
    assert scan_of("<title>" + "xy " * 5000 + "</title>").title == ("xy " * 100).rstrip()
    assert scan_of(f"<p>{LINK}</p>{'<i>x</i>' * 1000}<title>late</title>").title == "late"


def test_p11_long_paragraph_is_cut_round_the_link() -> None:
    words = " ".join(f"word{number}" for number in range(500))
    for page in (
        f"<p>{words} {LINK} {words}</p>",
        f"<title>t</title><body>{filler(200_000)}<p>{words} {LINK} {words}</p>",
    ):
        excerpt = excerpt_of(page)
        assert "word499 this word0" in excerpt
        assert excerpt.startswith("…")
        assert excerpt.endswith("…")
        assert 190 <= len(excerpt) <= 200
    assert excerpt_of(f"<p>{LINK} {words}</p>").startswith("this word0 word1")
    assert excerpt_of(f"<p>{words} {LINK}</p>").endswith("word499 this")


def test_p12_short_paragraph_whole() -> None:
    assert (
        excerpt_of(f"<p>before</p><p>\n  See\t<em>also</em> {LINK},\n ok. </p><p>after</p>")
        == "See also this, ok."
    )
    assert excerpt_of(f"<ul><li>one<li>{LINK}<li>two</ul>") == "this"
    assert excerpt_of(f"<td>a</td><td>b <b>{LINK}</b></td>") == "b this"
    assert excerpt_of(f"<div>intro <p>x</p>y{LINK}<p>z</p></div>end") == "intro x ythis z"
    assert excerpt_of(f"a<br>b {LINK}") == "a b this"


def test_excerpt_lengths() -> None:
    for length in range(30):
        excerpt_of(f"<p>aaa bbb ccc {LINK} ddd eee fff</p>", length)
        excerpt_of(f"<p>{LINK}</p>", length)
    assert "this" in excerpt_of(f"<p>aaa bbb ccc {LINK} ddd eee fff</p>", 12)
    assert excerpt_of(f"<p>aaa {LINK}</p>", 0) == ""


def test_excerpt_is_plain_text() -> None:
    before = "a<script>no()</script><style>no</style>\u202eb\x01\x7f &lt;i&gt; "
    assert excerpt_of(f"<p>{before}{LINK}<template>no</template>\u200fc</p>") == "ab <i> thisc"


def test_a_page_that_is_cut_off() -> None:
    assert excerpt_of(f"<p>See {LINK[:-4]}") == "See this"
    assert found_in(f"<p>See {LINK[:20]}") is None
    assert scan_of("").found == {}


@pytest.mark.parametrize(
    ("encoding", "before", "charset"),
    [
        ("utf-8", "", None),
        ("utf-8", "", "UTF-8"),
        ("utf-8", "\ufeff", "latin-1"),
        ("utf-8", "", "utf-7"),
        ("utf-8", "", "unicode_escape"),
        ("utf-8", "", "no such thing \0"),
        ("utf-8", '<meta charset="utf-16">', None),
        ("utf-8", '<meta charset="utf-7">', None),
        ("latin-1", "", None),
        ("latin-1", "", "iso-8859-1"),
        ("latin-1", "", " 'Latin1' "),
        ("cp1252", '<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">', None),
        ("iso8859-15", '<?xml version="1.0" encoding="iso-8859-15"?>', None),
        ("cp949", "<meta charset=euc-kr>", None),
        ("utf-16-le", "\ufeff", None),
        ("utf-16-be", "\ufeff", "latin-1"),
        ("utf-16-le", "", "utf-16"),
    ],
)
def test_charsets(encoding: str, before: str, charset: str | None) -> None:
    word = "é" if encoding != "cp949" else "가"
    page = f"{before}<title>{word}</title><body>{filler(100_000)}<p>{word} {LINK}</p>".encode(
        encoding, "replace"
    )
    scan = scan_of(page, charset=charset)
    assert scan.title == word
    assert isinstance(found := scan.found["entry"], Found)
    assert found.excerpt == f"{word} this"


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert scan_of(b"<title>\xff\xe9a</title>", charset="utf-8").title == "\ufffd\ufffda"
    assert scan_of(b"<title>\x81a</title>").title == "\ufffda"


def test_outgoing_links() -> None:
    page = (
        '<a href="/a">1</a><a href="HTTP://x.example/b#f" rel=nofollow>2</a><a href="/a">3</a>'
        '<a href="c?d=1&amp;e=2">4</a>'
        '<a href="mailto:x@y">5</a><a href="#top">6</a><a>7</a><a href="http://[x">8</a>'
        '<!-- <a href="/z"> -->'
        '<a href="//y.example/é">9</a><img src="/i"><a href="http://">10</a>'
    )
    assert outgoing_links(page, "https://s.example/p/q") == [
        "https://s.example/a",
        "http://x.example/b#f",
        "https://s.example/p/c?d=1&e=2",
        "https://s.example/p/q#top",
        "https://y.example/é",
    ]
    assert outgoing_links(page.encode(), "https://s.example/p/q") == outgoing_links(
        page, "https://s.example/p/q"
    )
    assert outgoing_links("", "https://s.example/") == []
    many = "".join(f"<a href=/{number}>x</a>" for number in range(5000))
    assert outgoing_links(many, "https://s.example/") == [
        f"https://s.example/{n}" for n in range(html.MAX_LINKS)
    ]


@pytest.mark.parametrize(
    "element",
    [
        '<area href="{}">',
        '<link rel="in-reply-to" href="{}">',
        '<img alt="" src="{}">',
        "<IMG SRC={}>",
        '<video src="{}"></video>',
        '<video poster="{}"></video>',
        '<audio src="{}"></audio>',
        '<video><source src="{}"><track src="/x"></video>',
        '<iframe src="{}"></iframe>',
        '<object data="{}"></object>',
        '<embed src="{}">',
        '<q cite="{}">x</q>',
        '<ins cite="{}">x</ins>',
        '<img src="https://bl&#111;g.example/entry?a=1&#38;b=2">',
    ],
)
def test_other_elements_link_too_where_that_is_asked(element: str) -> None:
    for page in everywhere(
        "<p>See " + element.format("https://blog.example/entry?a=1&amp;b=2") + " there.</p>"
    ):
        assert found_in(page) is None
        found = found_in(page, citing=CITING)
        assert found is not None
        assert (found.url, found.text) == (TARGET, "")
        assert found.excerpt.startswith("See")
    assert found_in(f"<template>{page}</template>", citing=CITING) is None


@pytest.mark.parametrize(
    "text",
    [
        '<form action="https://blog.example/entry?a=1&amp;b=2"></form>',
        '<script src="https://blog.example/entry?a=1&amp;b=2"></script>',
        '<img alt="https://blog.example/entry?a=1&amp;b=2">',
        '<!-- <img src="https://blog.example/entry?a=1&amp;b=2"> -->',
        "https://blog.example/entry?a=1&amp;b=2",
    ],
)
def test_nothing_else_links(text: str) -> None:
    for page in everywhere(text):
        assert found_in(page, citing=CITING) is None


def test_the_words_of_a_quotation_are_its_excerpt() -> None:
    page = (
        "<p>no</p><blockquote cite='https://blog.example/entry?a=1&amp;b=2'><p>Well said.</p></blockquote>no"
    )
    found = found_in(page, citing=CITING)
    assert found is not None
    assert found.excerpt == "Well said."


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ('<meta http-equiv="Status" content="410 Gone">', 410),
        ("<META CONTENT=' 410' HTTP-EQUIV=status>", 410),
        (f'<title>t</title><meta http-equiv="Status" content="410">{LINK}', 410),
        ('<meta http-equiv="Status" content="200 OK"><meta http-equiv="Status" content="410">', 200),
        ('<meta http-equiv="Status" content="x"><meta http-equiv="Status" content="404">', 404),
        ('<meta http-equiv="Status" content="4100">', None),
        ('<meta http-equiv="Status">', None),
        ('<meta name="Status" content="410 Gone">', None),
        ('<p>x</p><meta http-equiv="Status" content="410 Gone">', None),
        ('<!-- <meta http-equiv="Status" content="410 Gone"> -->', None),
        # an implied head holds what an explicit one does
        ('<!doctype html><title>t</title><meta http-equiv="Status" content="410">', 410),
        ('<noscript><link rel="x"></noscript> <meta http-equiv="Status" content="410"><p>x', 410),
        ('<html><noscript></noscript><title>t</title><meta http-equiv="Status" content="410"><body>', 410),
        ('<template><p>x</p></template><meta http-equiv="Status" content="410">', 410),
        ('<noscript></noscript>x<meta http-equiv="Status" content="410">', None),
        ('<noscript></noscript><p>x</p><meta http-equiv="Status" content="410">', None),
        ('<body><meta http-equiv="Status" content="410">', None),
        (f'<title>t</title><body>{filler(200_000)}<meta http-equiv="Status" content="410">{LINK}', None),
        ("", None),
    ],
)
def test_the_status_that_a_head_says(page: str, status: int | None) -> None:
    assert scan_of(page).status == status


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.sampled_from(("<b>", "</b>", "<script>", "&#", ";", "x", " ", "<", "\ud800", "\0"))))
def test_text_of_is_never_too_long(pieces: list[str]) -> None:
    assert len(text_of("".join(pieces), 5)) <= 5


class Reference:
    """All of a page by lxml alone."""

    def __init__(self, page: bytes) -> None:
        self.links: dict[str, None] = {}
        parser = etree.HTMLParser(target=self, encoding="utf-8", no_network=True)  # type: ignore[arg-type]
        parser.feed(page)
        parser.close()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "a" and attributes.get("href", "").startswith("https://blog.example/"):
            self.links[attributes["href"]] = None

    def close(self) -> None:
        pass


PIECES = (
    *(
        "<p>",
        "</p>",
        '<div title="',
        '">',
        "'",
        '"',
        ">",
        "<",
        "=",
        " ",
        "/",
        "<!--",
        "-->",
        "--!>",
        "--",
        "!",
        "<br/>",
    ),
    *(
        "<script>",
        "</script>",
        "<script",
        "</scr",
        "<script/>",
        "<style>",
        "</style >",
        "<textarea>",
        "</textarea>",
    ),
    *(
        "<title>",
        "</title>",
        "<TITLE",
        "<xmp>",
        "</xmp>",
        "<plaintext",
        "<iframe>",
        "</iframe>",
        "<noscript>",
        "a",
    ),
    *(
        "</noscript>",
        "<?",
        "<!x",
        "</ ",
        "</>",
        "<![CDATA[",
        "]]>",
        "<svg>",
        "</svg>",
        "href=",
        "<a ",
        "&amp;",
        "\n",
    ),
    *("<b x=", "\0", "é", "</a>", "SCRIPT", "<noembed>", "</noembed>", "<noframes>", "</noframes>"),
    *(f"<a{space}href={quote}https://blog.example/N{quote}>" for space in " /\n" for quote in ("'", '"', "")),
)


@settings(max_examples=examples(400), deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=60), st.sampled_from([1, 7, 30, 100]), st.sampled_from([0, 50])
)
def test_agrees_with_lxml_alone(pieces: list[str], chunk: int, head: int) -> None:
    """Wherever the page is cut, and whatever was not shown to lxml, the same links are found."""
    page = "".join(piece.replace("N", str(number)) for number, piece in enumerate(pieces)).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "CHUNK_BYTES", chunk)
        patch.setattr(html, "HEAD_BYTES", head)
        patch.setattr(html, "_SNIFFED_BYTES", 1)
        scan = LinkScan(
            lambda url: url if url.startswith("https://blog.example/") else None,
            base_url="https://source.example/",
            hosts=HOSTS,
            charset="utf-8",
            stop_when=None,
        )
        for start in range(0, len(page), 13):
            scan.feed(page[start : start + 13])
        scan.close()
    assert sorted(map(str, scan.found)) == sorted(Reference(page).links)


def elements_of(page: str | bytes, *words: str, chunk: int = 1000) -> list[Element]:
    scan = ElementScan(words, charset="utf-8")
    data = page.encode() if isinstance(page, str) else page
    found: list[Element] = []
    for start in range(0, len(data), chunk):
        found += scan.feed(data[start : start + chunk])
    found += scan.close()
    return [(tag, dict(attributes)) for tag, attributes in found]


def test_elements_come_in_their_order() -> None:
    page = (
        '<link rel="Me" href=a><b>x</b><!-- me --><template><i rel="me"></i><!-- me --></template>'
        '<a rel=m&#101;>x</a><script><a rel=me></script><textarea><a rel=me></textarea><x:y z="&lt;"/>'
    )
    for where in everywhere(page):
        elements = [each for each in elements_of(where, "me") if each != ("div", {"class": "x"})]
        assert [each for each in elements if "/x/" not in each[1].get("href", "")] == [
            ("link", {"rel": "Me", "href": "a"}),
            (COMMENT, {COMMENT: " me "}),
            ("a", {"rel": "me"}),
            ("x:y", {"z": "<"}),
        ]


def test_elements_are_told_near_the_words_alone() -> None:
    far = "<title>t</title><body>" + "<i a=b>x</i>" * 10_000
    assert elements_of(far + "<i c=d>word</i>", "no") == []
    assert ("i", {"c": "d"}) in elements_of(far + "<i c=d>WORD</i>", "word")
    assert ("base", {"href": "x"}) in elements_of(far + "<BASE href=x>", "no")
    assert ("a", {"rel": "word"}) in elements_of(far + "<a rel='w&#111;rd'>", "word")


def test_who_has_seen_enough_reads_no_further() -> None:
    scan = ElementScan(["me"], charset="utf-8")
    elements = scan.feed(b"<link rel=me href=a>" + b"<link rel=me href=b>" * 100_000)
    began = time.thread_time()
    assert next(elements) == ("link", {"rel": "me", "href": "a"})
    assert usual(time.thread_time() - began) < 0.01


class ElementReference:
    """The links with a rel of a page, by lxml alone."""

    def __init__(self, page: bytes) -> None:
        self.links: list[Element] = []
        parser = etree.HTMLParser(target=self, encoding="utf-8", no_network=True)  # type: ignore[arg-type]
        parser.feed(page)
        parser.close()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if "rel" in attributes:
            self.links.append((tag, dict(attributes)))

    def close(self) -> None:
        pass


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.sampled_from((*PIECES, "<a rel=web ", "<link rel='web'>", "<b REL=W&#101;B>")), max_size=60)
)
def test_elements_agree_with_lxml_alone(pieces: list[str]) -> None:
    page = "".join(pieces).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "_SIP_BYTES", 7)
        patch.setattr(html, "CHUNK_BYTES", 30)
        patch.setattr(html, "_SNIFFED_BYTES", 1)
        found = [element for element in elements_of(page, "web", chunk=13) if "rel" in element[1]]
    assert found == ElementReference(page).links


@settings(max_examples=examples(150), deadline=None)
@given(st.binary(max_size=300), st.text(max_size=20) | st.none(), st.integers(0, 40))
def test_never_raises(page: bytes, charset: str | None, length: int) -> None:
    scan = LinkScan(lambda url: url, base_url="https://s.example/", charset=charset, excerpt_length=length)
    scan.feed(page)
    scan.feed(b"<p><a href=x>" + page)
    scan.close()
    assert all(len(one.excerpt) <= length for one in scan.found.values())
    outgoing_links(page, "https://s.example/")


MIB = 1 << 20


@pytest.mark.parametrize(
    "page",
    [
        b"<b>" * (MIB // 6) + b"</i>" * (MIB // 8),
        (b"<b>" * 60 + b"</i>" * 60 + b"blog.example") * (MIB // 432),
        b"<div>" * (MIB // 10) + b"</span>" * (MIB // 14),
        b"<template>" * (MIB // 10),
        b"<a " + b"x=1 " * (MIB // 4),
        b"<a href='" * (MIB // 9),
        b"<script>" + b"<!--<script>" * (MIB // 12),
        b"<!--" + b"-" * MIB,
        b"<" * MIB,
        b"\0" * MIB,
        b"<script " + b"=" * MIB,
        b"href=&#" * (MIB // 7),
        b"<a href=https://blog.example/>" + b"x " * (MIB // 2),
        b"".join(b"<a href=https://blog.example/%d>x</a>" % number for number in range(MIB // 41)),
    ],
    ids=lambda page: repr(page[:12]),
)
@pytest.mark.parametrize("hosts", [HOSTS, None], ids=["hosts", "all"])
def test_hostile_pages_cost_little(page: bytes, hosts: set[str] | None) -> None:
    started = time.process_time()
    scan = LinkScan(lambda url: url, base_url="https://s.example/", hosts=hosts, stop_when=None)
    for start in range(0, len(page), 4096):
        scan.feed(page[start : start + 4096])
    scan.close()
    assert usual(time.process_time() - started) < 1
    if hosts is None:
        started = time.process_time()
        elements_of(page, "blog", "a", chunk=4096)
        assert usual(time.process_time() - started) < 1


@pytest.mark.parametrize("hosts", [HOSTS, None], ids=["hosts", "all"])
def test_memory_does_not_grow_with_the_page(hosts: set[str] | None) -> None:
    def peak(size: int) -> int:
        page = ("<title>t</title><body>" + filler(size) + LINK).encode()
        tracemalloc.start()
        assert found_in(page, chunk=16_384, hosts=hosts) is not None
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100_000)
    assert peak(2_000_000) < peak(400_000) + 512 * 1024


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>One <b>bold</b>\n word.</p><p>Two<br>three</p>", "One bold word.\nTwo\nthree"),
        ("a<ul><li>b<li>c</ul>d<table><tr><td>e<td>f</table>", "a\nb\nc\nd\ne\nf"),
        ("<pre>a\n  b</pre>c\nd", "a\nb\nc d"),
        ('<img src="x" alt="👍"><img src="y">', "👍"),
        ("a<script>no()</script><style>no</style><iframe>no</iframe><svg><text>no</text></svg>b", "ab"),
        ("&lt;script&gt;&amp;&#x202e;\u202e&nbsp;x", "<script>& x"),
        ("<title>no</title><!-- no --><textarea>no</textarea><template>no</template>yes", "yes"),
        ("", ""),
    ],
)
def test_text_of(markup: str, text: str) -> None:
    assert text_of(markup, 100) == text
    assert text_of(markup.encode(), 100) == text


def test_text_of_is_cut() -> None:
    assert text_of("<p>" + "word " * 100_000, 12) == "word word w…"
    assert text_of("<b>" * 300_000 + "x", 12) == ""


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("/a?b=c#d", "https://s.example/a?b=c#d"),
        (" HTTP://x.example:8080/ ", "http://x.example:8080/"),
        ("//x.example", "https://x.example"),
        ("https://例え.example/é", "https://例え.example/é"),
        ("https://[2001:db8::1]:81/", "https://[2001:db8::1]:81/"),
        ("a b\"c<d>e`f'g", "https://s.example/p/a%20b%22c%3Cd%3Ee%60f'g"),
        ("ja\nvascript:alert(1)", ""),
        ("JavaScript:alert(1)", ""),
        ("\x01javascript:alert(1)", ""),
        ("\u00a0javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("vbscript:x", ""),
        ("mailto:x@y.example", ""),
        ("https://u:p@x.example/", ""),
        ("https://u@x.example/", ""),
        ("https://x.example\\@y.example/", ""),
        ("https://x.example/\x00", ""),
        ("https://x.example/\u202egnp.exe", ""),
        ("https://x.example/\u200b", ""),
        ("https://x%2eexample/", ""),
        ("https://x<y>.example/", ""),
        ("https://x.example:99999/", ""),
        ("https://x.example:0/", ""),
        ("https://x.example:a/", ""),
        ("https://[x/", ""),
        ("https://x.example/" + "a" * 2048, ""),
        ("https://x.example/" + '"' * 1000, ""),
    ],
)
def test_safe_url(href: str, url: str) -> None:
    assert safe_url("https://s.example/p/q", href) == url


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=60), st.text(max_size=30))
def test_a_safe_url_is_safe(href: str, base_url: str) -> None:
    url = safe_url(base_url, href) or safe_url("https://s.example/", href)
    assert not url or (url.startswith(("http://", "https://")) and url.isprintable())
    assert not set(' "<>`\\') & set(url)
