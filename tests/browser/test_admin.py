"""The admin in a real browser: each screen as it looks, what people do there, and what strangers cannot."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from flask_linkback import Hook
from flask_linkback.models import (
    Event,
    Job,
    JobState,
    Listener,
    ListenerState,
    Mention,
    MentionStatus,
    Subscription,
    digest,
)
from flask_linkback.webhooks import match
from flask_linkback.webhooks.recording import DELIVER
from tests.admin.stock import HOSTILE, fill
from tests.apps import Blog, make_blog
from tests.browser.looks import look
from tests.browser.scene import LISTS, tabs
from tests.neighbours import Neighbour
from tests.pingback.tools import served
from tests.thorough import some

pytestmark = pytest.mark.browser

RIGHTS = frozenset({"view", "manage", "resend", "reveal"})
ROW = 19
"""Of the stock's, one that is as hostile as can be."""
SERIOUS = ("serious", "critical")
SCREENS = {
    **LISTS,
    **tabs(ROW),
    "listener_create": "/listeners/create?type=person",
    "listener_filter": f"/listeners/{ROW}/filter",
    "listener_filter_json": f"/listeners/{ROW}/filter?mode=json",
    "mention": f"/mentions/{ROW}",
    "link": f"/links/{ROW}",
    "subscription": f"/subscriptions/{ROW}",
    "subscriber": f"/subscribers/{ROW}",
    "event": f"/events/{ROW}",
    "delivery": f"/deliveries/{ROW}",
    "receipt": f"/receivers/{ROW}",
    "job": f"/jobs/{ROW}",
}
FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  return [e.className || e.name || e.tagName, e.tagName, e.textContent.trim(), style.outlineStyle];
}"""


@dataclass
class Site:
    """A blog with an admin on a port, who may do what there, and a neighbour that listens."""

    blog: Blog
    neighbour: Neighbour
    rights: set[str] = field(default_factory=lambda: set(RIGHTS))

    def url(self, path: str) -> str:
        return f"{self.blog.base_url}/linkback/admin{path}"

    @contextmanager
    def only(self, *rights: str) -> Iterator[None]:
        """Let visitors do no more than this for a while."""
        self.rights.clear()
        self.rights.update(rights)
        try:
            yield
        finally:
            self.rights.update(RIGHTS)

    def value(self, asked: Any) -> Any:
        with self.blog.app.app_context():
            return self.blog.db.session.scalar(asked)

    def hurt(self) -> int:
        """Return the number of a delivery to the neighbour that was given up."""
        with self.blog.app.app_context():
            now, session = datetime.now(UTC), self.blog.db.session
            url = self.neighbour.url("/hook")
            listener = Listener(
                hook="person", hook_hash=digest("person"), url=url, host="127.0.0.1", created_at=now,
                state=ListenerState.active, match=match.dump({}), headers={}, updated_at=now,
            )  # fmt: skip
            event = Event(
                uid=f"evt_{now:%H%M%S%f}", type="person", hook="person", data={"name": "Jim"},
                created_at=now, dispatched_at=now,
            )  # fmt: skip
            session.add_all([listener, event])
            session.flush()
            job = Job(
                kind=DELIVER, state=JobState.dead, due_at=now, created_at=now, finished_at=now,
                host="127.0.0.1", listener_id=listener.id, event_id=event.id, attempts=3,
                reason="The server answers 503.",
            )  # fmt: skip
            session.add(job)
            session.commit()
            return job.id


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    database = f"sqlite:///{tmp_path_factory.mktemp('admin')}/blog.db"
    with (
        served(make_blog, database, RUNNER="off", HUB_ENABLED=True) as blog,
        Neighbour() as neighbour,
    ):
        blog.linkback.hooks.register(Hook(name="person", provides_args=["name", "address"]))
        blog.linkback.webhooks.receiver("github", secret="a secret of theirs")(print)
        site = Site(blog, neighbour)
        blog.linkback.admin_access(lambda action, obj: action in site.rights)
        blog.linkback.admin_identity(lambda: "ada@example.org")
        blog.app.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
        with blog.app.app_context():
            fill(blog, 20)
        neighbour.answer("/hook", body=b"thanks")
        yield site
        blog.close()


@contextmanager
def opened(browser: Browser, *, width: int = 1280, script: bool = True) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": width, "height": 844}, java_script_enabled=script, reduced_motion="reduce"
    )
    yield context.new_page()
    context.close()


@pytest.fixture
def desk(browser: Browser) -> Iterator[Page]:
    with opened(browser) as page:
        yield page


@pytest.fixture(params=[True, False], ids=["script", "no-script"])
def either(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page with JavaScript, and one without."""
    with opened(browser, script=request.param) as page:
        yield page


# --- every screen --------------------------------------------------------------------------------------


CHECKED = {1280: list(SCREENS), 390: some(list(SCREENS), each=3)}
"""Where accessibility is checked: by night and on a telephone a part every day, all of it by make hostile."""


def test_every_screen(page: Page, site: Site) -> None:
    """Each is as wide as its window, can be read, keeps nobody out, and lets nothing of a stranger live."""
    dialogs: list[str] = []
    foreign: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: foreign.append(request.url))
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    is_checked = (page.viewport_size or {})["width"] == (390 if is_dark else 1280)
    for name, path in SCREENS.items():
        page.goto(site.url(path))
        look(page, name)
        assert page.title().endswith(" · Linkback"), (name, page.title())
        assert page.locator("main :is(script, style, iframe, img, object, embed, base, meta)").count() == 0, (
            name
        )
        assert page.evaluate("document.scripts.length") == 1, name
        assert page.evaluate("[...document.links].every(a => /^https?:$/.test(a.protocol))"), name
        if name in (CHECKED[390] if is_dark else CHECKED[1280]) and is_checked:
            found = Axe().run(page).response["violations"]
            assert [each["id"] for each in found if each["impact"] in SERIOUS] == [], (name, found)
    assert dialogs == []
    assert [url for url in foreign if not url.startswith(site.blog.base_url)] == []


def test_every_screen_is_closed(desk: Page, site: Site) -> None:
    with site.only():
        for name, path in SCREENS.items():
            answer = desk.goto(site.url(path))
            assert answer is not None
            assert answer.status == 403, name
            assert HOSTILE[:20] not in desk.content(), name


def test_who_may_only_look_has_nothing_to_press(desk: Page, site: Site) -> None:
    with site.only("view"):
        for name, path in SCREENS.items():
            desk.goto(site.url(path))
            assert desk.locator("main form[method=post] button:visible").count() == 0, name
            assert desk.locator("main input[type=checkbox]:visible").count() == 0, name


# --- what people do ------------------------------------------------------------------------------------


def test_a_listener_is_made(either: Page, site: Site) -> None:
    page = either
    page.goto(site.url("/hooks"))
    page.get_by_role("link", name="Add a listener").first.click()
    page.get_by_label("Event").select_option("person")
    page.get_by_role("button", name="Next…").click()
    page.get_by_label("Listener URL").fill(site.neighbour.url("/new"))
    page.locator("select#name_cond").select_option("starts with")
    page.get_by_label("What name is compared with").fill("J")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Listener Created!")).to_be_visible()
    secret = page.locator("#the-secret").inner_text()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/=]{32,}", secret)
    page.get_by_role("link", name="Go to the listener").click()
    path = page.url.partition("?")[0]
    for tab in ("overview", "secret", "settings", "test", "audit"):
        page.goto(f"{path}?tab={tab}")
        assert secret not in page.content()


def test_a_filter_is_tried_and_saved(either: Page, site: Site) -> None:
    page = either
    page.goto(site.url("/listeners/3/filter"))
    expect(page.get_by_text("It would have received 0 of 20.")).to_be_visible()
    page.get_by_label("Operator").nth(0).select_option("contains")
    page.get_by_label("Value").nth(0).fill("<script>")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("It would have received 20 of 20.")).to_be_visible()
    page.get_by_label("Value").nth(1).fill("Bergen")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("then save")).to_be_visible()
    expect(page.get_by_text("It would have received 0 of 20.")).to_be_visible()
    page.get_by_role("button", name="Remove this condition").nth(1).click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("The filter is saved")
    stored = site.value(sa.select(Listener.match).where(Listener.id == 3))
    assert match.equal(match.load(stored), {"name": match.Contains("<script>")})
    with site.blog.app.app_context():  # as it was, for who comes next
        listener = site.blog.db.session.get(Listener, 3)
        listener.match = match.dump({"name": match.Startswith("J"), "address.city": "Oslo"})
        site.blog.db.session.commit()


def test_what_was_given_up_is_sent_again(desk: Page, site: Site) -> None:
    before, job = len(site.neighbour.requests), site.hurt()
    desk.goto(site.url(f"/deliveries/{job}"))
    desk.get_by_role("button", name="Send again").click()
    expect(desk.get_by_role("status")).to_contain_text("queued")
    with site.blog.app.app_context():
        site.blog.linkback.run_until_idle()
    came = site.neighbour.wait_for(before + 1)[-1]
    assert (came.method, came.path) == ("POST", "/hook")
    assert b'"Jim"' in came.body
    desk.reload()
    expect(desk.locator(".states")).to_contain_text("delivered")


def test_mentions_are_decided(desk: Page, site: Site) -> None:
    desk.goto(site.url("/mentions?status=pending"))
    shown = desk.locator("tbody tr").count()
    assert shown > 3
    desk.get_by_label("Tick all rows of this page").check()
    desk.locator("tbody input").nth(0).uncheck()
    desk.get_by_role("button", name="Approve").click()
    expect(desk.get_by_role("status")).to_contain_text(f"{shown - 1} mentions are approved.")
    expect(desk.locator("tbody tr")).to_have_count(1)
    desk.locator("tbody a").first.click()
    desk.get_by_role("button", name="Spam").click()
    expect(desk.locator(".states")).to_contain_text("spam")
    pending = sa.select(sa.func.count()).where(Mention.status == MentionStatus.pending)
    assert site.value(pending) == 0


def test_a_subscription_is_renewed(desk: Page, site: Site) -> None:
    desk.goto(site.url(f"/subscriptions/{site.value(sa.select(sa.func.min(Subscription.id)))}"))
    desk.get_by_role("button", name="Renew").click()
    said = desk.get_by_role("status")
    expect(said).to_contain_text("queued")
    said.get_by_role("link").click()
    expect(desk.get_by_role("heading", level=1)).to_have_text("Jobs")
    expect(desk.locator("tbody tr").first).to_contain_text("ask hub")


# --- how it is used ------------------------------------------------------------------------------------


def test_a_keyboard_is_enough(desk: Page, site: Site) -> None:
    desk.goto(site.url("/mentions"))
    desk.keyboard.press("Tab")
    assert desk.evaluate(FOCUSED)[2] == "Skip to the content"
    desk.keyboard.press("Enter")
    assert desk.evaluate("document.activeElement.id") == "main"
    desk.goto(site.url("/mentions"))
    reached = []
    for _ in range(45):
        desk.keyboard.press("Tab")
        reached.append(desk.evaluate(FOCUSED))
    assert [each for each in reached if each[3] == "none"] == []
    texts = [each[2] for each in reached]
    names = [each[0] for each in reached]
    for wanted in ("Links", "Hooks and listeners", "Filter", "Approve", "A reply to your post"):
        assert wanted in texts, wanted
    assert {"status", "protocol", "host", "target", "id"} <= set(names)
    first = desk.locator("tbody input").first
    first.focus()
    desk.keyboard.press("Space")
    expect(first).to_be_checked()
    desk.get_by_role("button", name="Reject").focus()
    desk.keyboard.press("Enter")
    expect(desk.get_by_role("status")).to_contain_text("1 mention is rejected.")
    add = site.url("/blocks")
    desk.goto(add)
    desk.locator("summary").focus()
    desk.keyboard.press("Enter")
    expect(desk.get_by_label("Host, URL or pattern")).to_be_visible()


def test_the_menu_of_a_telephone_needs_no_script(browser: Browser, site: Site) -> None:
    with opened(browser, width=390, script=False) as page:
        page.goto(site.url("/mentions"))
        menu = page.get_by_role("navigation", name="Admin")
        expect(menu).to_be_hidden()
        page.get_by_role("link", name="Menu", exact=True).click()
        expect(menu).to_be_visible()
        page.get_by_role("link", name="Close the menu").click()
        expect(menu).to_be_hidden()
        page.get_by_role("link", name="Menu", exact=True).click()
        menu.get_by_role("link", name="Deliveries").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Deliveries")
        expect(menu).to_be_hidden()


def test_a_list_follows_what_happens(desk: Page, site: Site) -> None:
    desk.goto(site.url("/deliveries?tail=1"))
    desk.evaluate("document.body.dataset.kept = 'yes'")
    job = site.hurt()
    expect(desk.locator("tbody")).to_contain_text(f"person {job}", timeout=15_000)
    assert desk.evaluate("document.body.dataset.kept") == "yes"  # nothing else was loaded anew
