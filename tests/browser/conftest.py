"""Fixtures: a Chromium, and pages of several sizes by day and by night that fail a test by what they log."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.thorough import some

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for these tests: Playwright's event loop lies in this thread, and no other test wants one there."""
    if not os.path.exists(CHROMIUM):
        reason = f"There is no browser at {CHROMIUM}."
        if os.environ.get("LINKBACK_TEST_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(
    params=some([(1280, "light"), (390, "light"), (390, "dark"), (1280, "dark")], each=2),
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that fails the test if anything is written to its console."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 844 if width < 500 else 900},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    page = context.new_page()
    trouble: list[str] = []

    def written(message: ConsoleMessage) -> None:
        # the browser complains about the status of a page that we asked for on purpose
        if message.location["url"] != page.url:
            trouble.append(message.text)

    page.on("console", written)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    yield page
    context.close()
    assert not trouble
