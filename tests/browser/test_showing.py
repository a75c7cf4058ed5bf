"""What others say, in a real browser: hostile rows do nothing, and the macros look right on every page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, render_template_string
from playwright.sync_api import Browser, Page, Request, expect

from example.models import Post, db
from flask_linkback.linkbacks.avatars import tend_avatars
from flask_linkback.models import Mention
from tests import pictures
from tests.apps import Blog, make_blog
from tests.browser.looks import look
from tests.example_app import served_example
from tests.neighbours import Neighbour
from tests.pingback.tools import Clock, add, served, work
from tests.showing.hostile import ALL, MARK, hostile_blog
from tests.showing.mentions import row, said

pytestmark = pytest.mark.browser

STRICT = "default-src 'self'; img-src 'self' https:"
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">
<rect width="9" height="9" fill="#b5651d"/></svg>"""

# --- hostile rows ------------------------------------------------------------------------------------


def show_all(app: Flask, load: Callable[[int], Any], policy: str = STRICT) -> None:
    """Let an application show a post by all macros and tags, and the JSON where it does not belong."""

    @app.get("/all/<int:strict>/<int:photos>", defaults={"post": 1})
    @app.get("/all/<int:strict>/<int:photos>/<int:post>")
    def show(strict: int, photos: int, post: int) -> Response:
        response = Response(render_template_string(ALL, post=load(post), photos=bool(photos)))
        if strict:
            response.headers["Content-Security-Policy"] = policy
        return response

    @app.get("/favicon.ico")
    def icon() -> tuple[str, int]:
        return "", 204

    @app.get("/raw")
    def raw() -> str:
        target = app.extensions["linkback"].url_for("post", slug="hello")
        answer = app.test_client().get(
            "/linkback/mentions.json", query_string={"target": target, "limit": 100}
        )
        json = answer.text
        return (
            f"<!doctype html><title>Raw</title>{json}<p title='{json}'>{json}</p>"
            f"<script type=application/json>{json}</script><script>var said = {json};</script>"
        )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blog]:
    folder = tmp_path_factory.mktemp("hostile")
    with served(make_blog, f"sqlite:///{folder}/blog.db") as blog:
        hostile_blog(blog)
        show_all(blog.app, lambda post: blog.db.session.get(blog.Post, post))
        yield blog
        blog.close()


class Watched:
    """A page of which everything is remembered that it asks for or tries."""

    def __init__(self, browser: Browser) -> None:
        self.context = browser.new_context()
        self.page = self.context.new_page()
        self.dialogs: list[str] = []
        self.requests: list[Request] = []
        self.errors: list[str] = []
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.context.on("request", lambda request: self.requests.append(request))
        # what leads away from this machine is answered here: nothing goes out even where a test fails
        self.context.route(lambda url: "//127.0.0.1:" not in url, self._answer)

    def _answer(self, route: Any) -> None:
        route.fulfill(body=PICTURE, content_type="image/svg+xml")

    def foreign(self) -> list[Request]:
        return [each for each in self.requests if "//127.0.0.1:" not in each.url]


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    watched = Watched(browser)
    yield watched
    watched.context.close()


@pytest.mark.parametrize("strict", [0, 1])
def test_nothing_of_a_stranger_runs(watched: Watched, hostile: Blog, strict: int) -> None:
    page = watched.page
    page.goto(f"{hostile.base_url}/all/{strict}/0")
    expect(page.locator("#threads article").first).to_be_visible()
    assert page.locator("#pingbacks li").count() > 100
    page.mouse.wheel(0, 100_000)
    for link in page.locator("#faces a").all()[:10]:
        link.hover()
        link.focus()
    assert page.evaluate("[...document.links].filter(a => !/^(https?)?:$/.test(a.protocol)).length") == 0
    assert (
        page.locator("main :is(script, style, iframe, svg, form, input, meta, base, object, img)").count()
        == 0
    )
    assert page.evaluate("document.scripts.length") == 0
    assert (page.title(), len(page.frames)) == ("Hello", 1)
    assert watched.dialogs == []
    assert watched.errors == []
    assert watched.foreign() == []


def test_photos_are_all_that_is_asked_for_elsewhere(watched: Watched, hostile: Blog) -> None:
    page = watched.page
    page.goto(f"{hostile.base_url}/all/1/1", wait_until="networkidle")
    photos = set(page.evaluate("[...document.images].map(image => image.src)"))
    assert watched.foreign() != []
    for request in watched.foreign():
        assert (request.resource_type, request.url in photos) == ("image", True)
        assert "referer" not in request.all_headers()
        assert request.url.startswith("https://")
    assert watched.dialogs == []
    assert page.title() == "Hello"


# --- pictures that are kept here ---------------------------------------------------------------------

NOBODY_ELSE = "default-src 'none'; style-src 'self'; img-src 'self'"
KEPT = {
    "png": pictures.png(9, 9),
    "gif": pictures.gif(),
    "webp": pictures.WEBP_LOSSY,
    "alpha": pictures.WEBP_ALPHA,
    "avif": pictures.AVIF,
}


@pytest.fixture(scope="module")
def neighbour() -> Iterator[Neighbour]:
    """Serves the pictures of authors."""
    with Neighbour() as neighbour:
        for name, picture in KEPT.items():
            neighbour.answer(f"/{name}", body=picture)
        neighbour.answer("/svg", body=PICTURE.encode(), headers=[("Content-Type", "image/png")])
        yield neighbour


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory, neighbour: Neighbour) -> Iterator[Blog]:
    """A post that all who are hostile mention, and some who have a picture, which was fetched."""
    folder = tmp_path_factory.mktemp("keeper")
    with served(make_blog, f"sqlite:///{folder}/blog.db", AVATAR_CACHE=True, RUNNER="off") as blog:
        hostile_blog(blog)
        add(blog, "photos")
        for name in (*KEPT, "svg"):
            for kind in ("like", "reply"):
                said(blog, name, kind, target="photos", author_photo=neighbour.url(f"/{name}"))
        clock = Clock()
        clock.set_for(blog)
        with blog.app.app_context():
            tend_avatars(blog.site)
        clock.move(3600)
        work(blog)
        show_all(blog.app, lambda post: blog.db.session.get(blog.Post, post), NOBODY_ELSE)
        yield blog
        blog.close()


def test_with_pictures_kept_here_nobody_else_is_asked(
    watched: Watched, keeper: Blog, neighbour: Neighbour
) -> None:
    asked = len(neighbour.requests)
    for post in (1, 2):
        watched.page.goto(f"{keeper.base_url}/all/1/1/{post}", wait_until="networkidle")
    assert watched.page.evaluate("document.images.length") == 2 * len(KEPT)
    for image in watched.page.locator("img").all():
        image.scroll_into_view_if_needed()
    watched.page.wait_for_function("[...document.images].every(image => image.complete)")
    assert watched.page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert {request.url.startswith(f"{keeper.base_url}/") for request in watched.requests} == {True}
    assert len(neighbour.requests) == asked
    assert watched.errors == []


def test_a_picture_that_is_opened_is_no_more_than_a_picture(watched: Watched, keeper: Blog) -> None:
    page = watched.page
    page.goto(f"{keeper.base_url}/all/1/1/2")
    for source in page.evaluate("[...document.images].map(image => image.src)"):
        page.goto(source)
        assert page.locator("body > *").count() == 1
        assert page.evaluate("document.images[0].naturalWidth > 0 && document.scripts.length == 0")
    assert watched.foreign() == []


@pytest.mark.parametrize("path", ["/raw", "/linkback/mentions.json?limit=100&target={base_url}/post/hello"])
def test_json_does_nothing_wherever_it_stands(watched: Watched, hostile: Blog, path: str) -> None:
    page = watched.page
    page.goto(hostile.base_url + path.format(base_url=hostile.base_url))
    assert page.title() != MARK
    assert page.locator("img, svg, iframe, form, a").count() == 0
    assert watched.dialogs == []
    assert watched.errors == []
    assert watched.foreign() == []
    if path == "/raw":
        assert page.evaluate("said.mentions.length") == 100


# --- how it looks ------------------------------------------------------------------------------------

NAMES = {
    "ann": "Ann van der Berg",
    "omar": "عمر الخيام",
    "taro": "山田 太郎",
    "bob": "Bob",
    "lena": "Lena Lindqvist-Oppenheimer zu Hohenlohe-Waldenburg-Schillingsfürst von und zu Unaussprechlich",
    "jo": "Jo",
}
TEXTS = {
    "ann": "The ferry keeps them too.\nIts rail has forty names scratched into it, and one of them is mine.",
    "omar": "قرأت هذا مرتين، والمرفأ كما وصفته تماما.",
    "bob": "Which one?",
    "jo": "Agreed.",
    "taro": "港は何でも覚えている。",
    "lena": "https://lena.example/" + "a-very-long-address/" * 12,
}
REPLIES = [
    ("ann", ""),
    ("omar", "ann"),
    ("bob", "ann"),
    ("jo", "bob"),
    ("ann", "jo"),
    ("bob", "ann"),
    ("taro", ""),
    ("lena", "taro"),
]


def conversation(target: str, key: str) -> Iterator[Mention]:
    """Yield replies in threads deeper than are drawn, mentions, and faces of each kind."""
    number = 0
    sources: dict[str, str] = {}
    for name, answers in REPLIES:
        number += 1
        source = f"https://{name}.example/{number}"
        yield row(
            *(name, "reply", target, key, number),
            source=source,
            reply_to=sources.get(answers, ""),
            author_name=NAMES[name],
            content=TEXTS[name],
        )
        sources[name] = source
    for name in ("bob", "lena"):
        number += 1
        yield row(name, "mention", target, key, number, author_name=NAMES[name], title="Links for a wet week")
    yield row("plain", "mention", target, key, number + 1, author_name="", author_url="", title="Harbours")
    for kind, title in (
        [("like", "")] * 26 + [("repost", "")] * 2 + [("rsvp", "RSVP: yes"), ("rsvp", "RSVP: no")]
    ):
        number += 1
        name = list(NAMES)[number % len(NAMES)]
        yield row(name, kind, target, key, number + 1, author_name=NAMES[name], title=title)


@pytest.fixture(scope="module")
def blog_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The example, with a post that many speak of, a like, a reply, and a post nobody speaks of."""
    with served_example(tmp_path_factory.mktemp("blog")) as (app, url):
        with app.app_context():
            for title in ("What the harbour keeps", "Nobody has read this"):
                Post.write(
                    title=title, html="<p>Rope, rust, and the names of boats nobody sails any more.</p>"
                )
            Post.write(
                title="Yes, the boats",
                html="<p>Them too.</p>",
                in_reply_to=f"{url}/posts/what-the-harbour-keeps",
            )
            Post.write(title="A good one", html="", like_of=f"{url}/posts/{'what-the-harbour-keeps-' * 6}")
            db.session.commit()
            db.session.query(Mention).delete()
            db.session.add_all(conversation(f"{url}/posts/what-the-harbour-keeps", "Post:1"))
            db.session.commit()
        yield url


def test_post_with_replies_and_faces(page: Page, blog_url: str) -> None:
    page.goto(f"{blog_url}/posts/what-the-harbour-keeps")
    expect(page.get_by_role("heading", name="26 likes", level=3)).to_be_visible()
    expect(page.get_by_text("and 6 more")).to_be_visible()
    expect(page.get_by_role("list", name="Replies to Ann van der Berg")).to_have_count(1)
    expect(page.get_by_role("link", name="عمر الخيام").first).to_be_visible()
    assert page.evaluate("document.images.length") == 0
    look(page, "conversation")


@pytest.mark.parametrize("name", ["nobody-has-read-this", "yes-the-boats", "a-good-one"])
def test_posts_without_mentions(page: Page, blog_url: str, name: str) -> None:
    page.goto(f"{blog_url}/posts/{name}")
    expect(page.get_by_text("Nothing yet.")).to_be_visible()
    assert page.locator("[class^=linkback-]").count() == 0
    look(page, name)


def test_reply_is_edited(page: Page, blog_url: str) -> None:
    page.goto(f"{blog_url}/desk/write/yes-the-boats")
    expect(page.get_by_label("In reply to")).to_be_visible()
    look(page, "write-reply")


def test_keyboard_goes_through_faces_then_threads(page: Page, blog_url: str) -> None:
    page.goto(f"{blog_url}/posts/what-the-harbour-keeps")
    page.locator("article.h-entry").get_by_role("link", name="Edit").focus()
    order: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.closest('[id^=mention-]')?.id ?? ''"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    drawn = page.evaluate("[...document.querySelectorAll('[id^=mention-]')].map(e => e.id)")
    assert list(dict.fromkeys(order)) == drawn[: len(set(order))]
    focused = page.evaluate(
        "(() => { const r = document.activeElement.getBoundingClientRect(); return r.width > 0 })()"
    )
    assert focused


def test_macros_on_a_page_without_style_of_its_own(page: Page, plain: str) -> None:
    page.goto(f"{plain}/all/1/0")
    expect(page.get_by_role("heading", name="26 likes")).to_be_visible()
    look(page, "plain")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page with nothing but mentions.css, and all that can be said."""
    folder = tmp_path_factory.mktemp("plain")
    with served(make_blog, f"sqlite:///{folder}/blog.db") as blog:
        with blog.app.app_context():
            blog.add("hello")
            blog.db.session.add_all(conversation(blog.url("hello"), "Post:1"))
            blog.db.session.commit()
        show_all(blog.app, lambda post: blog.db.session.get(blog.Post, post))
        yield blog.base_url
        blog.close()
