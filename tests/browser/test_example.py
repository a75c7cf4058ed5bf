"""The example in a real browser, on a telephone and on a desk, by day and by night."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from flask_linkback.models import Mention
from tests.browser.looks import look
from tests.example_app import served_example
from tests.neighbours import Neighbour

pytestmark = pytest.mark.browser

HOSTILE_TITLE = (
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> " + "ha" * 60
)
SOURCE = """<title>{title}</title>
<p>I copied out every one of them, &lt;img src=x onerror=alert(1)&gt; too, that
<a href="{target}">the harbour keeps</a>; forty so far, and the light was going.</p>"""
MENTIONS = {
    "/good/names": "Names of boats · Lamplight",
    "/good/hostile": HOSTILE_TITLE,
    "/stranger/hostile": HOSTILE_TITLE,
    "/stranger/walk": "A walk along the quay",
}
POSTS = [
    ("What the harbour keeps", "<p>Rope, rust, and the names of boats.</p>"),
    ("Low water", "<p>At low water the wreck shows its ribs.</p><pre>" + "23:41 0.4 m " * 20 + "</pre>"),
    ("A word of " + "extraordinarily" * 6 + " long", "<p>It must not break the page.</p>"),
    ("What the harbour keeps", "<p>Rope, rust, and the names of boats nobody sails any more.</p>" * 3),
]


@dataclass
class Site:
    """A blog on a port, with a post that a neighbour mentions and one that a neighbour may not yet."""

    url: str
    post_url: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    def good(mention: Mention) -> bool:
        return "/good" in mention.source

    folder = tmp_path_factory.mktemp("blog")
    with served_example(folder, LINKBACK_AUTO_APPROVE=good) as (app, url), Neighbour() as neighbour:
        write = app.test_cli_runner().invoke
        for title, html in POSTS:
            assert write(args=["post", "--title", title, "--html", html]).exit_code == 0
        post_url = f"{url}/posts/what-the-harbour-keeps"
        for path, title in MENTIONS.items():
            body = SOURCE.format(title=title, target=post_url).encode()
            neighbour.answer(path, body=body, headers=[("Content-Type", "text/html; charset=utf-8")])
            with xmlrpc.client.ServerProxy(f"{url}/linkback/pingback") as web:
                web.pingback.ping(neighbour.url(path), post_url)
        yield Site(url=url, post_url=post_url)


def test_index_lists_the_posts(page: Page, site: Site) -> None:
    page.goto(site.url)
    expect(page.get_by_role("link", name="What the harbour keeps")).to_be_visible()
    expect(page.get_by_text("2 mentions")).to_be_visible()
    look(page, "index")


def test_post_shows_its_mentions(page: Page, site: Site) -> None:
    page.goto(site.post_url)
    expect(page.get_by_text("Names of boats · Lamplight")).to_be_visible()
    expect(page.locator(".linkback-threads li")).to_have_count(2)
    look(page, "post")


def test_title_of_a_stranger_is_text(page: Page, site: Site) -> None:
    page.goto(site.post_url)
    expect(page.locator(".linkback-title", has_text="<script>document.title")).to_be_visible()
    assert page.title() == "What the harbour keeps · Low Tide"
    assert page.locator(".mentions :is(script, img)").count() == 0
    page.goto(f"{site.url}/desk/mentions")
    expect(page.get_by_text("<script>document.title")).to_be_visible()
    assert page.locator("main :is(script, img)").count() == 0


def test_form_is_usable_by_keyboard(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/desk/write")
    look(page, "write")
    page.get_by_label("Title").focus()
    page.keyboard.type("Low water")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("<p>Twice.</p>")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Tab")  # opens what few posts need
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Tab")
    assert page.evaluate(outline) == "solid"
    with page.expect_response("**/desk/write") as answer:
        page.keyboard.press("Enter")
    assert answer.value.status == 422


def test_form_says_what_is_wrong(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/desk/write")
    page.get_by_label("Title").fill("Low water")
    page.get_by_label("Text").fill("<p>Twice.</p>")
    with page.expect_response("**/desk/write"):
        page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("alert")).to_contain_text("already")
    expect(page.get_by_label("Text")).to_have_value("<p>Twice.</p>")
    look(page, "write-refused")


def test_desk_shows_who_waits(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/desk/mentions")
    expect(page.get_by_role("button", name="Approve")).to_have_count(2)
    look(page, "mentions")


def test_error_is_a_page(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/posts/nothing")
    expect(page.get_by_text("There is no such page.")).to_be_visible()
    look(page, "error")
