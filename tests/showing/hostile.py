"""Hostile: rows that nobody cleaned, of the kinds that checkmention tries on receivers of webmentions."""

from __future__ import annotations

from flask_linkback.models import MentionStatus
from tests.apps import Blog
from tests.pingback.tools import add
from tests.showing.mentions import said

MARK = "taken"
"""What the document is called once anything of a stranger has run."""
TAKE = f"document.title='{MARK}';alert('{MARK}')"

TEXTS = [
    f"<script>{TAKE}</script>",
    f"</script><script>{TAKE}</script>",
    f"</title></textarea></style></p></li></ol><script>{TAKE}</script>",
    f'<img src=x onerror="{TAKE}">',
    f'"><img src="https://evil.example/x.png" onerror="{TAKE}">',
    f"' onmouseover='{TAKE}' x='",
    f'" autofocus onfocus="{TAKE}" tabindex=1 x="',
    f'<svg onload="{TAKE}"><animate onbegin="{TAKE}" attributeName=x></svg>',
    f'<svg><script href="data:text/javascript,{TAKE}"/></svg>',
    "<iframe src='https://evil.example/'></iframe>",
    "<link rel=stylesheet href='https://evil.example/x.css'><style>*{display:none}</style>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'><base href='https://evil.example/'>",
    "<form action='https://evil.example/'><input name=csrf_token autofocus></form>",
    f"<a href='javascript:{TAKE}'>click</a>",
    f"<math><mtext></form><form><mglyph><style></math><img src=x onerror={TAKE}>",
    f"<!--><img src=x onerror={TAKE}>-->",
    f"&lt;img src=x onerror={TAKE}&gt;",
    f"<scr\0ipt>{TAKE}</scr\0ipt>",
    f"\u202e<gpj.exe>\u202d\u2066\u2067 <b onclick={TAKE}>",
    f"\uff1cscript\uff1e{TAKE}\uff1c/script\uff1e \ufeff<\u200bscript>{TAKE}",
    "{{ 7 * 7 }} {% raw %} {#",
    f"{{{{ cycler.__init__.__globals__ }}}}<img src=x onerror={TAKE}>",
    "A" * 20_000,
    "Z" + "\u0301" * 1_000,
    "x " * 10_000,
    "\n" * 500 + "end",
]
URLS = [
    f"javascript:{TAKE}",
    f"JaVaScRiPt:{TAKE}",
    f" javascript:{TAKE}",
    f"java\nscript:{TAKE}",
    f"\x01javascript:{TAKE}",
    f"data:text/html,<script>{TAKE}</script>",
    "data:image/svg+xml,<svg onload='alert(1)'/>",
    f"vbscript:{TAKE}",
    "//evil.example/",
    "file:///etc/passwd",
    f'https://evil.example/" onmouseover="{TAKE}" x="',
    f"https://evil.example/' onfocus='{TAKE}' autofocus x='",
    f"https://evil.example/><script>{TAKE}</script>",
    "https://evil.example/\0x",
    "https://evil.example/\u202egpj.exe",
    "https://user:secret@evil.example/",
    "https://[evil.example/",
    "https://evil.example:99999/",
    "https://evil.example/" + "a" * 10_000,
    "http://",
    "",
]
KINDS = ["mention", "reply", "like", "repost", "bookmark", "rsvp", "<svg/onload=1>"]


def hostile_blog(blog: Blog) -> Blog:
    """Put a post into a blog that all of them mention, in every column that is shown."""
    add(blog, "hello")
    for number, text in enumerate(TEXTS):
        for kind in (KINDS[number % len(KINDS)], "reply", "like"):
            said(blog, f"t{number}{kind[:1]}", kind, title=text, content=text, author_name=text)
    for number, url in enumerate(URLS):
        for kind in (KINDS[number % len(KINDS)], "mention", "like"):
            places = {"source": url, "author_url": url, "author_photo": url, "reply_to": url}
            said(blog, f"u{number}{kind[:1]}", kind, **places)
    said(blog, "hidden", status=MentionStatus.pending)
    return blog


ALL = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Hello</title>
<link rel="stylesheet" href="{{ url_for('linkback.static', filename='mentions.css') }}"></head><body><main>
{% from "linkback/macros.html" import facepile, mention_list, pingback_list %}
<h1>Hello</h1>
<div id="faces">{{ facepile(post, heading=2, photos=photos) }}</div>
<div id="threads">{{ mention_list(post, heading=2, photos=photos) }}</div>
<div id="pingbacks">{{ pingback_list(post) }}</div>
<div id="tags">{% get_pingback_list for post as pingbacks %}{% for pingback in pingbacks %}
<p>{{ pingback.date }}, {{ pingback.url|urlizetrunc:40 }}: {{ pingback.title }} {{ pingback.content }}
<a href="{{ pingback.author_url | linkback_href }}">{{ pingback.author_name }}</a> {{ pingback.host }}</p>
{% endfor %}</div></main></body></html>"""
"""A page that says all that can be said, by every macro and tag."""
