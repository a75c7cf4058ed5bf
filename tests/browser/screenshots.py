"""Screenshots: every screen of the admin, on a telephone and on a desk, by day and by night.

``make screenshots`` writes them into ``docs/_build/screenshots``, and those that the documentation shows into
``docs/images``.
"""

from __future__ import annotations

import base64
import logging
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import make_server

from tests.apps import make_blog
from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.scene import BASE_URL, set_scene

SIZES: Final = {390: 844, 1280: 900}
SCHEMES: Final[tuple[Any, ...]] = ("light", "dark")
SHOWN: Final = ("overview", "mentions", "listener", "listener_filter", "deliveries", "delivery")
"""What the documentation shows, by day on a desk and by night on a telephone."""
SHOWN_AS: Final = {(1280, "light"): "", (390, "dark"): "-small"}
DOCS: Final = Path(__file__).parents[2] / "docs"


@contextmanager
def served_scene() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Serve a blog with an open admin, and return the admin's address with the paths of its screens."""
    with tempfile.TemporaryDirectory() as folder:
        blog = make_blog(f"sqlite:///{folder}/blog.db", base_url=BASE_URL, RUNNER="off", HUB_ENABLED=True)
        blog.linkback.admin_access(lambda action, obj: True)
        paths = set_scene(blog)
        server = make_server("127.0.0.1", 0, blog.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.port}/linkback/admin", paths
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            blog.close()


def take(browser: Browser, base: str, paths: Mapping[str, str], folder: Path, images: Path) -> int:
    """Take a picture of each screen in each size and scheme; return how many there are."""
    for width, height in SIZES.items():
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
            )
            page = context.new_page()
            for name, path in paths.items():
                answer = page.goto(f"{base}{path}")
                if answer is None or answer.status != 200:
                    raise SystemExit(f"{path} answers {answer and answer.status}.")
                page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
                suffix = SHOWN_AS.get((width, scheme))
                if name in SHOWN and suffix is not None:
                    _take_small(page, images / f"admin-{name.replace('_', '-')}{suffix}.webp")
            context.close()
    return len(paths) * len(SIZES) * len(SCHEMES)


def _take_small(page: Page, path: Path) -> None:
    """Take a picture of what the window shows, in a format of which it takes a third of the bytes."""
    asked = {"format": "webp", "quality": 82}
    taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", asked)
    path.write_bytes(base64.b64decode(taken["data"]))


def main() -> None:
    logging.disable(logging.WARNING)
    folder, images = DOCS / "_build" / "screenshots", DOCS / "images"
    for each in (folder, images):
        each.mkdir(parents=True, exist_ok=True)
    with served_scene() as (base, paths), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        count = take(browser, base, paths, folder, images)
        browser.close()
    sys.stdout.write(f"{count} pictures are in {folder}, and those of the documentation in {images}.\n")


if __name__ == "__main__":
    main()
