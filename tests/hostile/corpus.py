"""Corpus: documents that have hurt parsers, in the size in which they do, and in a small one to mutate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from flask_linkback.protocols import trackback, xmlrpc
from tests.thorough import FULL

CALL: Final = xmlrpc.dump_call("pingback.ping", ["https://a.example/1", "https://blog.example/post/one"])
ANSWER: Final = xmlrpc.dump_response("thanks")
FAULT: Final = xmlrpc.dump_fault(xmlrpc.Fault(17, "There is no link."))
PAGE: Final = (
    b'<!doctype html><html><head><title>A page</title><meta charset=utf-8><base href="/x/">'
    b'<link rel="pingback" href="https://a.example/rpc">'
    b'</head><body><p>Read <a href="https://blog.example/post/one">this</a> &amp; that.</p>'
    b"<script>if (a</b/.test(c)) {}</script><!-- <a href=x> --><template><a href=y>y</a></template>"
    b"</body></html>"
)
POST: Final = (
    b'<!doctype html><title>A post</title><meta name="author" content="Ann"><div class="h-feed">'
    b'<article class="h-entry"><h1 class="p-name">A post</h1>'
    b'<a class="p-author h-card" href="/"><img src="/a.png">Ann</a>'
    b'<time class="dt-published" datetime="2026-11-19T10:00:00+01:00">yesterday</time>'
    b'<a class="u-url" href=""></a><div class="u-in-reply-to h-cite"><a class="p-name u-url"'
    b' href="https://blog.example/post/one">it</a></div>'
    b'<div class="e-content"><p>Yes, <b class="p-rsvp">yes</b>!</p></div></article></div>'
    b'<div class="hentry"><b class="entry-title">x</b><i class="author vcard"><a class="url fn" href="/b">Bob'
    b'</a></i><div class="entry-content">y</div></div><script type="application/ld+json">{"@graph":'
    b' [{"@type": "Article", "author": {"@id": "#a"}}, {"@id": "#a", "name": "Ann", "image": ["/a.png"]}]}'
    b"</script>"
)
HEADER: Final = (
    b'<https://a.example/wm>; rel="webmention"; title="a \\"b\\"", </rpc>;rel=pingback, <x>; rel="a b"'
)
VALUES: Final = (
    b"Fri, 20 Nov 2026 10:00:00 GMT",
    b"120",
    b"https://a.example:8080/p?q=1;r#f; http://b.example/",
    b"http://[2606:4700::1111]:81/",
    b"http://z\xc3\xb6\xc3\x9f.example/\xc3\xa9",
)
MENTION: Final = b"source=https%3A%2F%2Fa.example%2F1&target=https%3A%2F%2Fblog.example%2Fpost%2Fone"
PING: Final = b"title=A+page&url=https%3A%2F%2Fa.example%2F1&excerpt=%E9+%3Cb%3E&charset=iso-8859-1"
TAKEN: Final = trackback.dump_response("No <b>more</b> & no less.")
OFFER: Final = (
    b'<head><link rel="webmention" href="/wm"><meta http-equiv="Status" content="410 Gone"></head><body>'
    + trackback.dump_rdf("https://a.example/", "A page", "https://a.example/tb").encode()
    + b'<a rel="trackback" href="/tb"><blockquote cite="https://blog.example/post/one">x</blockquote>'
)
NOTE: Final = b'{"type": "Note", "inReplyTo": ["https:\\/\\/blog.example\\/post\\/one"], "n": {"a\\"": 1}}'
ATOM: Final = (
    b'<feed xmlns="http://www.w3.org/2005/Atom" xml:base="/x/"><title type="html">A &lt;b></title>'
    b"<id>urn:x:1</id><updated>2026-05-05T10:00:00.5+02:00</updated><author><name>Ann</name></author>"
    b'<link rel="self" href="/f"/><link rel="hub" href="http://[/"/>'
    b'<entry><id>urn:x:2</id><title>5 &lt; 6</title><link rel="enclosure" href="a.mp3"/>'
    b'<link href="1" type="a/b" hreflang="en"/><content type="html">&lt;a href="/1">x&lt;/a></content>'
    b"<source><author/></source></entry></feed>"
)
RSS: Final = (
    b'<?xml version="1.0" encoding="iso-8859-1"?>'
    b'<rss version="2.0" xmlns:a="http://www.w3.org/2005/Atom"><channel><title>T</title>'
    b'<link>https://a.example/</link><a:link rel="self" href="/f"/>'
    b"<lastBuildDate>Mon, 04 May 2026 10:00 GMT</lastBuildDate>"
    b'<item><guid>1</guid><enclosure url="x:1" length="-1" type="a/b"/><author>Ann</author>'
    b"<description><![CDATA[<img src=a>]]></description><pubDate>4 May 26 10:00:00 +0200</pubDate></item>"
    b"</channel></rss>"
)
JSON_FEED: Final = (
    b'{"version": "https://jsonfeed.org/version/1.1", "title": "T", "hubs": [{"url": "u:1"}, 2], '
    b'"items": [3, {"id": "1", "content_html": "<a href=x>", "date_published": "2026-05-04T10:00:00Z", '
    b'"attachments": [{}]}]}'
)
GOOD: Final = (
    *(CALL, ANSWER, FAULT, PAGE, POST, HEADER, MENTION, PING, TAKEN, OFFER, NOTE),
    *(ATOM, RSS, JSON_FEED),
    *VALUES,
)

# what the markup of a call, of an answer and of a page begins and ends with
_SHELLS: Final = {
    "call": (
        b"<methodCall><methodName>pingback.ping</methodName><params><param><value>",
        b"</value></param></params></methodCall>",
    ),
    "answer": (
        b"<methodResponse><params><param><value>",
        b"</value></param></params></methodResponse>",
    ),
    "page": (b"<html><head><title>x</title></head><body>", b"</body></html>"),
    "feed": (
        b'<rss version="2.0"><channel><title>x</title><item><description>',
        b"</description></item></channel></rss>",
    ),
}


def _laughs(levels: int, width: int) -> bytes:
    entities = [b'<!ENTITY l0 "lol">']
    entities += [
        b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * width) for level in range(1, levels)
    ]
    return b"<!DOCTYPE x [" + b"".join(entities) + b"]>"


def _attributes(count: int) -> bytes:
    return b"<a " + b" ".join(b'a%d="x"' % number for number in range(count)) + b">x</a>"


_DTD: Final = b"<!DOCTYPE x SYSTEM 'file:///etc/hostname'>"
_EXTERNAL: Final = b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
_PARAMETER: Final = b"<!DOCTYPE x [<!ENTITY % p SYSTEM 'http://127.0.0.1:9/x.dtd'> %p;]>"
_NESTED: Final = b"<!DOCTYPE x [<!ENTITY % a \"<!ENTITY &#37; b SYSTEM 'file:///etc/passwd'>\"> %a; %b;]>"

_BAD_UTF_8: Final = b"\xff\xfe\xc0\x80\xed\xa0\x80\xf8\x88\x80\x80\x80\xf4\x90\x80\x80\xe2\x82"

_PROLOGUES: Final[Mapping[str, Callable[[int], tuple[bytes, bytes]]]] = {
    "billion laughs": lambda n: (_laughs(10, 10), b"&l9;"),
    "quadratic blow-up": lambda n: (b'<!DOCTYPE x [<!ENTITY a "%s">]>' % (b"x" * n), b"&a;" * n),
    "external entity": lambda n: (_EXTERNAL, b"&e;"),
    "parameter entity": lambda n: (_PARAMETER, b"x"),
    "nested parameter entity": lambda n: (_NESTED, b"x"),
    "external DTD": lambda n: (_DTD, b"x"),
    "recursive entity": lambda n: (b'<!DOCTYPE x [<!ENTITY a "&b;"><!ENTITY b "&a;">]>', b"&a;"),
    "many entities": lambda n: (
        b"<!DOCTYPE x [" + b"".join(b'<!ENTITY e%d "x">' % number for number in range(n)) + b"]>",
        b"&e1;",
    ),
    "default attributes": lambda n: (b'<!DOCTYPE x [<!ATTLIST a b CDATA "%s">]>' % (b"x" * n), b"<a/>" * n),
    "an unfinished DOCTYPE": lambda n: (b"<!DOCTYPE x [" + b"<!ENTITY " * n, b"x"),
}
"""Made for a size: what stands before the root, and what within."""

_INNARDS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "depth, closed": lambda n: b"<b>" * n + b"</b>" * n,
    "depth, not closed": lambda n: b"<b>" * n,
    "depth of arrays": lambda n: b"<array><data><value>" * n + b"</value></data></array>" * n,
    "depth of structs": lambda n: b"<struct><member><name>x</name><value>" * n,
    "depth of links": lambda n: b'<a href="https://blog.example/post/one">' * n,
    "depth of tables": lambda n: b"<table><tr><td>" * n,
    "depth of fonts": lambda n: b"<p><font><b><i><u>" * n,
    "depth of templates": lambda n: b"<template>" * n,
    "end tags of others": lambda n: b"<b>" * n + b"</i>" * n,
    "end tags alone": lambda n: b"</p>" * n,
    "attributes": _attributes,
    "attributes without end": lambda n: b"<a " + b"href=x " * n,
    "attributes that are slashes": lambda n: b"<a" + b"/" * n,
    "a long attribute": lambda n: b'<a href="' + b"x" * n + b'">x</a>',
    "a long unfinished attribute": lambda n: b'<a href="' + b"x" * n,
    "a long name": lambda n: b"<" + b"a" * n + b">",
    "a long text": lambda n: b"x" * n,
    "a long line of white space": lambda n: b" \t\n" * (n // 3),
    "a long number": lambda n: b"<int>" + b"9" * n + b"</int>",
    "a long double": lambda n: b"<double>" + b"1" * n + b"e" + b"9" * n + b"</double>",
    "base64": lambda n: b"<base64>" + b"A" * n + b"=</base64>",
    "a time": lambda n: b"<dateTime.iso8601>" + b"2" * n + b"</dateTime.iso8601>",
    "comments": lambda n: b"<!--x-->" * (n // 4),
    "a comment without end": lambda n: b"<!-- <a href=x>" + b"--" * n,
    "comments within comments": lambda n: b"<!--" * n,
    "bogus comments": lambda n: b"<?x " * n + b"<!x " * n + b"</ " * n,
    "processing instructions": lambda n: b"<?x y?>" * n,
    "CDATA": lambda n: b"<![CDATA[" * n + b"]]>" * n,
    "scripts": lambda n: b"<script><!--<script>" * n,
    "a script without end": lambda n: b"<script>" + b"</scrip" * n,
    "titles": lambda n: b"<title>" * n,
    "a textarea without end": lambda n: b"<textarea>" + b"<a href=x>" * n,
    "references": lambda n: b"&amp;&#x41;&#0;&#xD800;&#x110000;&#99999999999;&bogus;&" * (n // 8),
    "a long reference": lambda n: b"&#" + b"9" * n + b";",
    "angle brackets": lambda n: b"<" * n + b">" * n,
    "quotes": lambda n: b"<a '\"" * n,
    "namespaces": lambda n: b"".join(b'<x:a%d xmlns:x="u:%d"/>' % (i, i) for i in range(n // 8)),
    "NUL": lambda n: b"\0" * n + b"<a href=\0x>\0</a>",
    "control characters": lambda n: bytes(range(1, 32)) * (n // 16 + 1),
    "bad UTF-8": lambda n: (
        b"\xff\xfe\xc0\x80\xed\xa0\x80\xf8\x88\x80\x80\x80\xf4\x90\x80\x80\xe2\x82" * (n // 8 + 1)
    ),
    "many links": lambda n: b"".join(b'<a href="http://h%d.example/">x</a> ' % number for number in range(n)),
    "link elements": lambda n: b'<link rel="pingback" href=' * n,
    "almost a link element": lambda n: b'<link rel="pingback" href="' + b"x" * n,
    "link elements of no use": lambda n: b"<link pingback " * n,
    "bases": lambda n: b'<base href="//x/">' * n,
    "depth of entries": lambda n: b'<div class="h-entry">' * n,
    "depth of persons": lambda n: b'<div class="p-author p-name u-url h-card">' * n,
    "depth of old persons": lambda n: b'<div class="hentry">' + b'<b class="author vcard fn url">' * n,
    "depth of contents": lambda n: b'<div class="h-entry">' + b'<div class="e-content">' * n + b"x" * n,
    "entries": lambda n: b'<div class="h-entry"><p class="p-name">x</p></div>' * n,
    "pieces of content": lambda n: b'<div class="h-entry"><div class="e-content">' + b"x<br>" * n,
    "classes": lambda n: b'<p class="h-entry ' + b"p-name h-x%d " * n + b'">x</p>',
    "times": lambda n: b'<p class="h-entry"><b class="dt-published">' + b'<i class="value">2026-</i>' * n,
    "JSON-LD": lambda n: b'<script type="application/ld+json">' + b'{"@graph":[' * n + b"</script>",
    "a base without a host": lambda n: b'<base href="http://[">' + b'<a href="x">x</a>' * (n // 8),
}
"""Made for a size: what stands within the root."""

_VALUES: Final[Mapping[str, Callable[[int], bytes]]] = {
    "link header: quotes": lambda n: b'<x>; a="' + b'\\"' * n,
    "link header: an open quote": lambda n: b'<x>; rel="' * n,
    "link header: parameters": lambda n: b"<x>" + b";a" * n,
    "link header: equal signs": lambda n: b"<x>;" + b"=" * n,
    "link header: white space": lambda n: b"<x>" + b" " * n + b";" + b" " * n,
    "link header: URLs": lambda n: b"<x>," * n,
    "link header: angles": lambda n: b"<" * n + b">" * n,
    "URL: a port": lambda n: b"http://a.example:" + b"9" * n,
    "URL: dots": lambda n: b"http://" + b"a." * n,
    "URL: at signs": lambda n: b"http://" + b"@" * n + b"127.0.0.1/",
    "URL: percents": lambda n: b"http://a.example/" + b"%" * n,
    "URL: slashes": lambda n: b"http:" + b"/" * n,
    "URL: brackets": lambda n: b"http://" + b"[" * n + b"]" * n,
    "URL: parents": lambda n: b"http://a.example" + b"/.." * n,
    "URL: other scripts": lambda n: "http://ⅷ。ß.例え/\u202e".encode() * (n // 16 + 1),
    "URLs": lambda n: b"http://a.example/;" * n,
    "URLs without an end": lambda n: b";, " * n + b"http",
    "a number": lambda n: b"9" * n,
    "a negative number": lambda n: b"-" + b"9" * n,
    "a date far away": lambda n: b"Fri, 31 Dec 9999 23:59:59 -2359",
    "a date of no zone": lambda n: b"Fri, 20 Nov 2026 10:00:00 +" + b"9" * n,
    "dates": lambda n: b"Fri, 20 Nov 2026 " * n,
    "colons": lambda n: b"1:" * n,
    "parentheses": lambda n: b"(" * n + b")" * n,
}
"""Made for a size: what stands in a header or is a URL."""


_MANY: Final = 100_000 if FULL else 20_000


def large() -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of pages as large as the door lets in, a text beyond it, and long values."""
    for shell in ("page", "feed"):
        for name, document in _in_shell(shell, _MANY):
            yield name, document[: 1 << 20]
    yield "page: more text than comes in", _SHELLS["page"][0] + b"x" * (_MANY * 110)
    for name, make in _VALUES.items():
        yield name, make(_MANY)


def small(size: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of documents with ``size`` of whatever repeats.

    2 000 still fit into a call; some ten are enough where many variants are wanted.
    """
    for shell in _SHELLS:
        yield from _in_shell(shell, size)
    for name, make in _VALUES.items():
        yield name, make(size)
    yield from _encoded()
    for number, good in enumerate(GOOD):
        yield f"good {number}", good
        yield f"good {number}, cut", good[: len(good) // 2]
    yield "nothing", b""


def _in_shell(shell: str, size: int) -> Iterator[tuple[str, bytes]]:
    start, end = _SHELLS[shell]
    for name, prologue in _PROLOGUES.items():
        before, within = prologue(size)
        yield f"{shell}: {name}", before + start + within + end
    for name, make in _INNARDS.items():
        yield f"{shell}: {name}", start + make(size) + end


def _encoded() -> Iterator[tuple[str, bytes]]:
    """Documents in encodings, and with declarations of encodings, that nobody expects."""
    text = CALL.decode().partition("?>")[2]
    for encoding in (
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-7",
        "cp037",
        "utf-8-sig",
        "shift_jis",
    ):
        yield f"in {encoding}", text.encode(encoding)
        yield f"page in {encoding}", PAGE.decode().encode(encoding)
    names = ("utf-7", "utf-16", "utf-32", "x-unknown", "punycode", "idna", "rot13", "zlib", "unicode_escape")
    for name in (
        *names,
        "ebcdic-cp-us",
        "iso-2022-jp",
        "\u00fc",
        "a" * 5000,
        "",
        "utf-8\0",
        "../../etc/passwd",
    ):
        yield f"says {name[:20]!r}", f'<?xml version="1.0" encoding="{name}"?>{text}'.encode()
        yield f"page says {name[:20]!r}", f'<meta charset="{name}">'.encode() + PAGE
    yield "utf-7 tags", b'<?xml version="1.0" encoding="utf-7"?>+ADw-methodCall+AD4-'
    yield "two marks", b"\xef\xbb\xbf" * 3 + CALL
    yield "a mark of UTF-16 before UTF-8", b"\xff\xfe" + CALL
    yield "UTF-16 cut in a character", PAGE.decode().encode("utf-16")[:-1]
    yield "UTF-16 surrogates", b"\xff\xfe" + b"\x00\xd8" * 500
    yield "UTF-16 that says UTF-8", '<?xml version="1.0" encoding="utf-8"?><methodCall/>'.encode("utf-16")
    yield "XML 1.1", b'<?xml version="1.1"?>' + CALL.partition(b"?>")[2]
    yield "standalone", b'<?xml version="1.0" standalone="no"?>' + CALL.partition(b"?>")[2]


TOKENS: Final = (
    *(start for start, _ in _SHELLS.values()),
    *(end for _, end in _SHELLS.values()),
    *(_DTD, _EXTERNAL, _PARAMETER, b"<!DOCTYPE", b"<!ENTITY", b"]>", b"<![CDATA[", b"]]>", b"<!--", b"-->"),
    *(b"<", b">", b"/>", b"</", b"&", b";", b'"', b"'", b"=", b"\\", b",", b"\0", b"\xff", b"\xed\xa0\x80"),
    *(b"&#xD800;", b"&#0;", b"&#x10FFFF;", b"\xef\xbb\xbf", b"\xff\xfe", b"<a href=", b"</a>", b"<script>"),
    *(b"<title>", b"<template>", b"</template>", b"<base href=", b"http://", b"https://[", b":99999", b"@"),
    *(b'<p class="h-entry">', b'<b class="p-author h-card">', b'<b class="e-content">', b'<b class="value">'),
    *(
        b'<b class="dt-published">',
        b'<a class="u-url u-like-of" href="',
        b'<script type="application/ld+json">',
    ),
    *(b"<value><int>", b"<struct>", b"<member>", b"<name>", b"<nil/>", b"<i8>", b"<double>1e999</double>"),
    *(
        b"<link rel=webmention",
        b"rel='trackback'",
        b"<rdf:Description trackback:ping=",
        b"<response>",
        b"%E9",
    ),
    *(b"2026-11-20", b"GMT", b"-0000", b"%00", b"%", b"xn--", "。".encode(), "\u202e".encode()),
)
"""Pieces that mean something to one of the parsers."""
