"""Templates: django-pingback's tags, the globals, and the list of mentions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import render_template_string
from jinja2 import Environment, TemplateSyntaxError

from flask_linkback.errors import UnknownTarget
from flask_linkback.models import Mention
from flask_linkback.templating import PingbackTags, safe_href
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock, add, mentions, page, ping, statements, work

# as it stands in django-pingback's description, without {% load %}
DJANGO_PINGBACKS_TEMPLATE = """
    {% get_pingback_list for object as pingbacks %}
    {% if pingbacks %}
        <h1>Pingbacks</h1>
        {% for pingback in pingbacks %}
            <div class="b-pingback">
                <p class="b-meta">
                    <a name="pingback-{{ pingback.id }}" href="{{ object.get_absolute_url }}#pingback-{{ pingback.id }}" class="b-permlink">permalink</a>
                    {{ pingback.date }}, pingback from {{ pingback.url|urlizetrunc:40 }}:
                </p>

                <p>{{ pingback.content }}</p>
            </div>
        {% endfor %}
    {% endif %}
"""  # noqa: E501


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, clock: Clock) -> Blog:
    """A blog with three mentions, of which one waits for a moderator, and one of another post."""
    blog = blogs(sqlite_url, AUTO_APPROVE=lambda mention: "hidden" not in mention.source)
    hello, other = add(blog, "hello"), add(blog, "other")
    for name, target in (("first", hello), ("hidden", hello), ("second", hello), ("third", other)):
        neighbour.answer(f"/{name}", body=page(target, title=f"The {name} & <b>only</b>"))
        clock.move(1)
        ping(blog, neighbour.url(f"/{name}"), target)
    work(blog)
    return blog


def render(blog: Blog, template: str, **values: Any) -> str:
    with blog.app.test_request_context("/post/hello"):
        values.setdefault("post", blog.db.session.get(blog.Post, 1))
        return render_template_string(template, **values)


# --- the tags --------------------------------------------------------------------------------------------


def test_p22_list_and_count_newest_first(blog: Blog) -> None:
    template = """{% get_pingback_list for post as pingbacks -%}
    {% get_pingback_count for post as n -%}
    {{ n }}:{% for pingback in pingbacks %} {{ pingback.url.rpartition("/")[2] }}{% endfor %}"""
    assert render(blog, template) == "2: second first"


def test_p22_the_object_may_be_any_expression(blog: Blog) -> None:
    with blog.app.app_context():
        post = blog.db.session.get(blog.Post, 1)
    values = {"posts": [post], "things": {"post": post, "all": [post]}, "find": lambda number, name: post}
    for words in (
        "for post as x",
        "for posts[0] as x",
        "for things.post as x",
        "for find(1, name='x') as x",
        'for things["post"] as x',
        "for posts|first as x",
        "for (posts | first) as x",
        "for [post][0] as x",
        "for things.all[0] as x",
    ):
        template = f"{{% get_pingback_count {words} %}}{{{{ x }}}}"
        assert render(blog, template, post=post, **values) == "2", words


@pytest.mark.parametrize("tag", ["get_pingback_list", "get_pingback_count"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "'{}' tag requires 4 arguments"),
        ("for post", "'{}' tag requires 4 arguments"),
        ("for post as", "'{}' tag requires 4 arguments"),
        ("for post as x y", "'{}' tag requires 4 arguments"),
        ("for post.name | as x", "'{}' tag requires 4 arguments"),
        ("of post as x", "First argument in '{}' tag must be 'for'"),
        ("'for' post as x", "First argument in '{}' tag must be 'for'"),
        ("for post in x", "Third argument in '{}' tag must be 'as'"),
        ("for post as 'x'", "Fourth argument in '{}' tag must be a name"),
        ("for post as x.y", "Fourth argument in '{}' tag must be a name"),
        ("for post) as x", "unexpected ')'"),
        ("for post[ as x", "unexpected"),
        ("for post! as x", "unexpected char '!'"),
    ],
)
def test_p22_syntax_errors(tag: str, words: str, said: str) -> None:
    with pytest.raises(TemplateSyntaxError) as raised:
        Environment(extensions=[PingbackTags]).from_string(f"\n{{% {tag} {words} %}}")
    assert said.format(tag) in str(raised.value)
    assert raised.value.lineno == 2


def test_p22_template_of_django_pingbacks_page_runs(blog: Blog, neighbour: Neighbour) -> None:
    with blog.app.app_context():
        post = blog.db.session.get(blog.Post, 1)
    post.get_absolute_url = "/post/hello"
    text = render(blog, DJANGO_PINGBACKS_TEMPLATE, object=post)
    newest, oldest = (each for each in reversed(mentions(blog)[:3]) if each.shown)
    assert text.index(f'<a name="pingback-{newest.id}"') < text.index(f'<a name="pingback-{oldest.id}"')
    assert f'href="/post/hello#pingback-{newest.id}" class="b-permlink"' in text
    assert f'<a href="{newest.url}" rel="nofollow noopener ugc">{newest.url}</a>:' in text
    assert str(newest.date) in text
    assert "<p>Do read this, it is good.</p>" in text
    assert render(blog, DJANGO_PINGBACKS_TEMPLATE, object=blog.Post(id=999)).strip() == ""


def test_p22_the_one_filter_of_django(blog: Blog) -> None:
    assert render(blog, "{{ 'http://a.example/abcdefgh'|urlizetrunc:12 }}") == (
        '<a href="http://a.example/abcdefgh" rel="nofollow noopener ugc">http://a.exa...</a>'
    )
    assert render(blog, "{{ '<b>'|urlizetrunc(5)|upper }}") == "&LT;B&GT;"
    assert render(blog, "{% for x in [1] %}{{ {'urlizetrunc': 1}['urlizetrunc'] }}{% endfor %}") == "1"


# --- the globals -----------------------------------------------------------------------------------------


def test_globals_know_object_url_and_the_page_being_served(blog: Blog) -> None:
    for what in ("post", "'https://blog.example/post/hello'", "'/post/hello?x#y'", ""):
        assert render(blog, f"{{{{ mention_count({what}) }}}}") == "2"
        assert render(blog, f"{{{{ mentions_for({what}) | length }}}}") == "2"
    assert render(blog, "{{ mention_count(post, include_hidden=true) }}") == "3"
    assert render(blog, "{{ mention_count(post, protocol='pingback') }}") == "2"
    assert render(blog, "{{ mention_count(post, 'webmention') }}") == "0"


def test_the_page_being_served_may_be_on_any_host(blog: Blog) -> None:
    with blog.app.test_request_context("/post/other", base_url="http://internal:8000"):
        assert render_template_string("{{ mention_count() }}") == "1"


def test_what_is_no_page_of_ours_is_an_error(blog: Blog) -> None:
    for what in ("https://foreign.example/", "/nowhere", "/about", "/post/missing", object(), [1]):
        with blog.app.app_context(), pytest.raises(UnknownTarget):
            blog.linkback.mentions_for(what)


def test_an_object_that_is_not_stored_is_an_error(blog: Blog) -> None:
    with blog.app.app_context(), pytest.raises(UnknownTarget, match="primary key"):
        blog.linkback.mention_count(blog.Post())


def test_url_for_an_object(blog: Blog) -> None:
    with blog.app.app_context():
        post = blog.db.session.get(blog.Post, 1)
        assert blog.linkback.url_for(post) == "https://blog.example/post/hello"
        with pytest.raises(UnknownTarget, match="Thing has no 'url'"):
            blog.linkback.url_for(type("Thing", (), {})())


def test_showing_mentions_asks_once(blog: Blog) -> None:
    with blog.app.test_request_context("/post/hello"):
        post = blog.db.session.get(blog.Post, 1)
        with statements(blog) as asked:
            text = render_template_string(
                '{% from "linkback/macros.html" import pingback_list %}{{ pingback_list(post) }}', post=post
            )
    assert text.count("<li") == 2
    assert len(asked) == 1


# --- the list of mentions -----------------------------------------------------------------------------------


def test_pingback_list(blog: Blog, neighbour: Neighbour) -> None:
    text = blog.app.test_client().get("/post/hello").text
    newest = mentions(blog)[2]
    assert f'<li id="pingback-{newest.id}">' in text
    assert "The second &amp; &lt;b&gt;only&lt;/b&gt;" in text or "The second &amp; only" in text
    assert f'<time datetime="{newest.date.isoformat()}">2026-03-01 12:00</time>' in text
    assert f'<a href="{newest.url}" rel="nofollow ugc noopener">127.0.0.1:{neighbour.port}</a>' in text
    assert "Do read this, it is good." in text
    assert "hidden" not in text


def test_pingback_list_of_nothing_is_nothing(blog: Blog) -> None:
    add(blog, "lonely")
    assert "<ol" not in blog.app.test_client().get("/post/lonely").text


def test_what_strangers_write_is_text(blog: Blog) -> None:
    with blog.app.app_context():
        one = blog.db.session.get_one(Mention, 1)
        one.title = "<script>alert(1)</script>"
        one.content = '"><img src=x onerror=alert(1)> {{ 7 * 7 }}'
        blog.db.session.commit()
    page = blog.app.test_client().get("/post/hello").text
    assert '<p class="linkback-title">&lt;script&gt;alert(1)&lt;/script&gt;</p>' in page
    assert "&#34;&gt;&lt;img src=x onerror=alert(1)&gt; {{ 7 * 7 }}</blockquote>" in page


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", " http://a.example/", "//a.example/", ""]
)
def test_only_http_urls_are_linked(url: str) -> None:
    assert safe_href(url) == ""
    assert safe_href("HTTPS://a.example/") == "HTTPS://a.example/"
