"""Feeds: the same classes as feeds of ours, of Django and of feedgen; unchanged feeds beside a bare view.

The time is CPU time in this process, for an item. Before anything is measured, ours in Django's terms
(``django_compatible``) must be Django's document.
"""

from __future__ import annotations

import contextlib
import itertools
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from flask import Flask
from lxml import etree

from flask_linkback.feeds import Feed, generators

from .runner import Benchmark, Ratio, Scale, Ways

__all__ = ["BENCHMARKS"]

ITEMS: Final = 1000
FORMATS: Final = ("Rss201rev2Feed", "Atom1Feed")
SHORT_NAMES: Final = {"Rss201rev2Feed": "RSS", "Atom1Feed": "Atom"}
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
BODY: Final = """<p>Spring tide, and the keel lies dry on the sand: it is as long as the quay is wide,
and nobody knows whose it was.</p><p>The harbour master keeps a list of names,
<a href="/posts/names?from=1890">which begins in 1890</a>, and a picture of each; a café on the quay has
the others. Whoever knows more may write to him, or come on a Sunday, when the tower is open &amp; the
lamp is lit.</p><p>The next spring tide is in two weeks, and until then the mud has it again, as it has
had it since before the list began.</p>"""
GEO: Final = "http://www.georss.org/georss"


@dataclass(frozen=True)
class Post:
    """As a row of a database would be."""

    number: int
    title: str
    body: str
    published: datetime
    updated: datetime
    author: str
    tags: tuple[str, ...]
    sound: str

    def get_absolute_url(self) -> str:
        return f"/posts/{self.number}/"


def post(number: int) -> Post:
    return Post(
        number=number,
        title=f"Low water & high, number {number}",
        body=BODY,
        published=BEGAN + timedelta(minutes=number),
        updated=BEGAN + timedelta(minutes=number + 5),
        author="Ann",
        tags=("harbour", "keel"),
        sound=f"https://example.com/{number}.mp3",
    )


POSTS: Final = [post(number) for number in range(ITEMS)]


def feed_class(base: Any, feed_type: Any, posts: Any) -> Any:
    """The same class for any base, with hooks as Django's documentation has them."""

    class Latest(base):  # type: ignore[misc]
        title = "Low Tide"
        link = "/posts/"
        description = "What the harbour keeps"
        language = "en"
        author_name = "Ann"
        categories = ("harbour", "tides")
        item_enclosure_length = 12345
        item_enclosure_mime_type = "audio/mpeg"

        def items(self) -> Any:
            return posts()

        def item_title(self, item: Post) -> str:
            return item.title

        def item_description(self, item: Post) -> str:
            return item.body

        def item_pubdate(self, item: Post) -> datetime:
            return item.published

        def item_updateddate(self, item: Post) -> datetime:
            return item.updated

        def item_author_name(self, item: Post) -> str:
            return item.author

        def item_categories(self, item: Post) -> tuple[str, ...]:
            return item.tags

        def item_enclosure_url(self, item: Post) -> str:
            return item.sound

    Latest.feed_type = feed_type
    return Latest


def with_hooks(generator: Any) -> Any:
    """A generator with methods for the root and the items overridden."""

    class Tide(generator):  # type: ignore[misc]
        def root_attributes(self) -> Any:
            return {**super().root_attributes(), "xmlns:georss": GEO}

        def add_root_elements(self, handler: Any) -> None:
            super().add_root_elements(handler)
            handler.addQuickElement("georss:featurename", "Harbour")

        def item_attributes(self, item: Any) -> Any:
            return {"bacon": "yum"}

        def add_item_elements(self, handler: Any, item: Any) -> None:
            super().add_item_elements(handler, item)
            handler.addQuickElement("georss:point", "54.1 8.9")

    return Tide


# --- ours and Django's -------------------------------------------------------------------------------


def _django() -> Any:
    """Django, set up once in this process."""
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], USE_TZ=True, TIME_ZONE="UTC", INSTALLED_APPS=[])
        django.setup()
    return django


def _ours(feed_type: Any, posts: Any, **attributes: Any) -> Callable[[], bytes]:
    view = feed_class(Feed, feed_type, posts)
    for name, value in attributes.items():
        setattr(view, name, value)
    app = Flask("feeds")
    app.add_url_rule("/feed/", view_func=view.as_view("feed"))

    def serve() -> bytes:
        with app.test_request_context("/feed/", base_url="http://localhost"):
            return bytes(app.ensure_sync(app.view_functions["feed"])().get_data())

    return serve


def _theirs(feed_type: Any, posts: Any) -> Callable[[], bytes]:
    _django()
    from django.contrib.syndication.views import Feed as DjangoFeed
    from django.test import RequestFactory

    view = feed_class(DjangoFeed, feed_type, posts)()

    def serve() -> bytes:
        return bytes(view(RequestFactory().get("/feed/", HTTP_HOST="localhost")).content)

    return serve


def _feedgen(name: str) -> Callable[[], bytes]:
    from feedgen.feed import FeedGenerator

    def serve() -> bytes:
        feed = FeedGenerator()
        feed.id("http://localhost/posts/")
        feed.title("Low Tide")
        feed.link(href="http://localhost/posts/", rel="alternate")
        feed.link(href="http://localhost/feed/", rel="self")
        feed.description("What the harbour keeps")
        feed.language("en")
        feed.author(name="Ann")
        for each in POSTS:
            entry = feed.add_entry(order="append")
            url = f"http://localhost{each.get_absolute_url()}"
            entry.id(url)
            entry.title(each.title)
            entry.link(href=url)
            entry.summary(each.body)
            entry.author(name=each.author)
            entry.published(each.published)
            entry.updated(each.updated)
            entry.category([{"term": tag} for tag in each.tags])
            entry.enclosure(each.sound, "12345", "audio/mpeg")
        return bytes(feed.rss_str() if name == "Rss201rev2Feed" else feed.atom_str())

    return serve


def _low(module: Any, name: str) -> Callable[[], bytes]:
    """The generator alone: ``add_item`` and ``writeString``."""
    make = getattr(module, name)

    def write() -> bytes:
        feed = make("Low Tide", "http://localhost/posts/", "What the harbour keeps", language="en")
        for each in POSTS:
            url = f"http://localhost{each.get_absolute_url()}"
            feed.add_item(
                each.title,
                url,
                each.body,
                author_name=each.author,
                pubdate=each.published,
                updateddate=each.updated,
                unique_id=url,
                categories=each.tags,
                enclosures=[module.Enclosure(each.sound, "12345", "audio/mpeg")],
            )
        return bytes(feed.writeString("utf-8"), "utf-8")

    return write


def _check_equal(ours: bytes, theirs: bytes) -> None:
    canonical = [etree.tostring(etree.fromstring(each), method="c14n") for each in (ours, theirs)]
    if canonical[0] != canonical[1]:
        raise SystemExit("In Django's terms, ours is another document than Django's.")


def microseconds(work: Callable[[], bytes], count: int, repeat: int) -> float:
    """CPU time for an item, the best of some."""
    best = float("inf")
    for _ in range(repeat):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best * 1e6 / count


@contextlib.contextmanager
def ways(name: str, count: int, scale: Scale) -> Iterator[Ways]:
    _django()
    from django.utils import feedgenerator

    posts = [post(number) for number in range(scale.of(count, min(count, 100)))]
    repeat = scale.of(3 if count <= ITEMS else 1, 1)

    def all_posts() -> list[Post]:
        return posts

    plain, theirs = getattr(generators, name), getattr(feedgenerator, name)
    pairs = {"": (plain, theirs), ", hooks": (with_hooks(plain), with_hooks(theirs))}
    made: dict[str, Callable[[], bytes]] = {}
    for label, (mine, others) in pairs.items():
        made[f"ours{label}"] = _ours(mine, all_posts)
        made[f"Django{label}"] = _theirs(others, all_posts)
        _check_equal(_ours(mine, all_posts, django_compatible=True)(), made[f"Django{label}"]())
    if count == ITEMS:
        made |= {"feedgen": _feedgen(name), "ours, low": _low(generators, name)}
        made["Django, low"] = _low(feedgenerator, name)
    yield {label: partial(microseconds, work, len(posts), repeat) for label, work in made.items()}


def _benchmark(name: str, count: int) -> Benchmark:
    ratios = [
        Ratio(
            what="Django's Feed ÷ ours, hooks overridden",
            of="Django, hooks",
            to="ours, hooks",
            at_least=8 if count == ITEMS else None,
        ),
        Ratio(what="Django's Feed ÷ ours", of="Django", to="ours", at_least=10 if count == ITEMS else None),
    ]
    if count == ITEMS:
        ratios += [
            Ratio(what="feedgen ÷ ours", of="feedgen", to="ours", at_least=5),
            Ratio(what="Django's generator ÷ ours", of="Django, low", to="ours, low", at_least=4),
        ]
    return Benchmark(
        name=f"feeds_{SHORT_NAMES[name].lower()}_{count}",
        title=f"{SHORT_NAMES[name]} of {count:,} items, CPU time for an item".replace(",", " "),
        unit="µs",
        better="less",
        ways=partial(ways, name, count),
        ratios=ratios,
        rounds=5 if count <= ITEMS else 1,
    )


# --- unchanged ---------------------------------------------------------------------------------------

BARE: Final = "a bare view"


@contextlib.contextmanager
def unchanged_ways(scale: Scale) -> Iterator[Ways]:
    def never() -> Any:
        raise SystemExit("items() was called for an unchanged feed.")

    view = feed_class(Feed, generators.Rss201rev2Feed, never)
    view.last_modified = lambda self, obj: BEGAN
    app = Flask("unchanged")
    app.add_url_rule("/feed/", view_func=view.as_view("feed"))
    app.add_url_rule("/bare/", view_func=lambda: "Hello", endpoint="bare")
    client = app.test_client()
    etag = client.head("/feed/").headers["ETag"]
    repeat = scale.of(500, 50)

    def ask(status: int, method: str, path: str, **headers: str) -> float:
        began = time.process_time()
        for _ in range(repeat):
            response = client.open(path, method=method, headers=headers)
        if response.status_code != status:
            raise SystemExit(f"{method} {path}: {response.status}")
        return (time.process_time() - began) * 1e6 / repeat

    yield {
        BARE: partial(ask, 200, "GET", "/bare/"),
        "304": partial(ask, 304, "GET", "/feed/", **{"If-None-Match": etag}),
        "HEAD": partial(ask, 200, "HEAD", "/feed/"),
    }


UNCHANGED: Final = Benchmark(
    name="feeds_unchanged",
    title="A feed that did not change, a request",
    unit="µs",
    better="less",
    ways=unchanged_ways,
    ratios=[
        Ratio(what="304 ÷ a bare view", of="304", to=BARE, at_most=1.5),
        Ratio(what="HEAD ÷ a bare view", of="HEAD", to=BARE, at_most=1.5),
    ],
)

# --- streamed ----------------------------------------------------------------------------------------


def peak_of(name: str, count: int) -> float:
    """MiB that are allocated at most while a feed is streamed and read."""
    posts = map(post, itertools.count())
    view = feed_class(Feed, getattr(generators, name), lambda: itertools.islice(posts, count))
    view.stream = True
    app = Flask("stream")
    app.add_url_rule("/feed/", view_func=view.as_view("feed"))
    client = app.test_client()
    tracemalloc.start()
    try:
        read = sum(len(chunk) for chunk in client.get("/feed/").iter_encoded())
        if read < 500 * count:
            raise SystemExit("The stream ended too soon.")
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def streamed_ways(name: str, scale: Scale) -> Iterator[Ways]:
    peak_of(name, 10)  # what is only once
    many = scale.of(50_000, 2000)
    yield {
        f"{count} items": partial(peak_of, name, size) for count, size in (("1000", 1000), ("50 000", many))
    }


def _streamed(name: str) -> Benchmark:
    return Benchmark(
        name=f"feeds_streamed_{SHORT_NAMES[name].lower()}",
        title=f"{SHORT_NAMES[name]} as a stream, peak of memory",
        unit="MiB",
        better="less",
        ways=partial(streamed_ways, name),
        ratios=[Ratio(what="50 000 items ÷ 1 000", of="50 000 items", to="1000 items")],
        rounds=1,
    )


BENCHMARKS = (
    *(_benchmark(name, count) for count in (ITEMS, 50, 50_000) for name in FORMATS),
    UNCHANGED,
    *(_streamed(name) for name in FORMATS),
)
