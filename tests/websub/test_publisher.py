"""Publisher: what feeds and pages say of their hubs, which are told, when, and how often."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
import sqlalchemy as sa
from flask import Flask, render_template_string, request
from flask.views import MethodView, View
from flask_sqlalchemy import SQLAlchemy
from lxml import etree
from sqlalchemy.orm import Mapped, mapped_column, relationship

from flask_linkback import Feed, Linkback, errors
from flask_linkback.errors import AddressRefused, BaseURLMissing, ConfigError, NoHub
from flask_linkback.feeds.generators import Atom1Feed, JSONFeed, Rss201rev2Feed, RssUserland091Feed
from flask_linkback.models import Attempt, Job, JobState
from flask_linkback.protocols import link_header
from flask_linkback.protocols.websub import discover
from flask_linkback.websub.publisher import PING, hubs_of, owe_pings
from tests.apps import Blog
from tests.cli.commands import run
from tests.neighbours import Neighbour, hang_up
from tests.pingback.tools import NOON, Clock, heard, names, pending, rows, vanish, work

TOPIC = "https://blog.example/feed.atom"
HUB = "https://hub.example/"


class Latest(Feed):
    """A feed in which nothing happens."""

    feed_type = Atom1Feed
    title = "Latest"
    link = "/"
    description = ""

    def items(self, obj: Any) -> list[str]:
        return ["one"]

    def item_link(self, item: Any) -> str:
        return f"/{item}"

    def item_pubdate(self, item: Any) -> datetime:
        return NOON


def client_of(feed: Any, **settings: Any) -> Any:
    """A client of an application that has nothing but a feed: no database, no Linkback."""
    app = Flask(__name__)
    app.config.update(TESTING=True, **settings)
    app.add_url_rule("/feed", view_func=feed.as_view("feed"))
    return app.test_client()


def add_feed(blog: Blog, feed: type[Feed] = Latest, rule: str = "/feed.atom", name: str = "latest") -> Any:
    blog.app.add_url_rule(rule, view_func=feed.as_view(name))
    return blog.app.test_client()


def links_of(answer: Any) -> list[tuple[str, str]]:
    """Relations and URLs of the Link headers."""
    return [
        (rel, link.url) for link in link_header.parse(answer.headers.getlist("Link")) for rel in link.rels
    ]


def told(neighbour: Neighbour) -> list[tuple[str, str]]:
    """Paths of hubs and the topics that they were told of."""
    found = []
    for seen in neighbour.requests:
        form = dict(parse_qsl(seen.body.decode()))
        assert form == {"hub.mode": "publish", "hub.url": form["hub.url"], "hub.topic": form["hub.url"]}
        found.append((seen.path, form["hub.url"]))
    return found


def ping(blog: Blog, *args: Any) -> None:
    with blog.app.app_context():
        blog.linkback.websub.ping_hub(*args)
        blog.db.session.commit()


@pytest.fixture(autouse=True)
def coroutines_end() -> Iterator[None]:
    """The thread in which asgiref ran a coroutine ends when its executor is garbage."""
    yield
    left = [each for each in threading.enumerate() if each.name.startswith("ThreadPoolExecutor")]
    if left:
        gc.collect()  # takes seconds: only where there is one
    for thread in left:
        thread.join(10)


@pytest.fixture
def hub(neighbour: Neighbour) -> str:
    """A hub that takes what it is told, as PubSubHubbub 0.3 says."""
    neighbour.answer("/", 204)
    return neighbour.url("/")


# --- the acceptance cases ---------------------------------------------------------------------------------


def test_w1_without_a_hub_there_is_an_error_and_with_one_it_is_told(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, hub: str
) -> None:
    blog = blogs(database_url)
    with blog.app.app_context(), pytest.raises(NoHub, match=r"^Give hub_url or set LINKBACK_HUBS\.$"):
        blog.linkback.websub.ping_hub(TOPIC)
    assert issubclass(NoHub, ValueError)  # as in django-push
    ping(blog, TOPIC, hub)
    assert neighbour.requests == []  # nothing in the request
    with heard(blog) as said:
        work(blog)
    (seen,) = neighbour.requests
    assert seen.method == "POST"
    topic = quote(TOPIC, safe="")
    assert seen.body == f"hub.mode=publish&hub.url={topic}&hub.topic={topic}".encode()
    assert seen.header("Content-Type") == "application/x-www-form-urlencoded"
    assert "Linkback" in (seen.header("User-Agent") or "")
    assert seen.header("Authorization") is None
    assert said == [("hub_pinged", {"topic_url": TOPIC, "hub_url": hub, "status": 204})]


def test_w2_the_setting_says_which_hubs(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    neighbour.answer("/a", 204)
    neighbour.answer("/b", 202)
    blog = blogs(database_url, HUBS=[neighbour.url("/a"), neighbour.url("/b")])
    ping(blog, "/feed.atom")
    work(blog)
    assert sorted(told(neighbour)) == [("/a", TOPIC), ("/b", TOPIC)]


def test_w3_the_argument_beats_the_setting(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, hub: str
) -> None:
    blog = blogs(database_url, HUBS=[neighbour.url("/other")])
    ping(blog, TOPIC, hub)
    work(blog)
    assert told(neighbour) == [("/", TOPIC)]


class OfGetHub(Latest):
    def get_hub(self, obj: Any) -> str:
        return f"{super().get_hub(obj)}own"


@pytest.mark.parametrize(
    ("feed", "hubs"),
    [
        (Latest, [HUB]),
        (type("OfHub", (Latest,), {"hub": "https://own.example/"}), ["https://own.example/"]),
        (
            type("OfHubs", (Latest,), {"hubs": ["https://a.example/", "/b"]}),
            ["https://a.example/", "https://blog.example/b"],
        ),
        (OfGetHub, [f"{HUB}own"]),
    ],
)
def test_w4_the_hub_stands_after_updated_and_before_the_first_entry(
    blogs: Callable[..., Blog], sqlite_url: str, feed: type[Feed], hubs: list[str]
) -> None:
    answer = add_feed(blogs(sqlite_url, HUBS=HUB), feed).get("/feed.atom")
    children = [(etree.QName(child).localname, child.get("rel")) for child in etree.fromstring(answer.data)]
    at = [place for place, child in enumerate(children) if child == ("link", "hub")]
    assert children.index(("updated", None)) < at[0]
    assert at == [*range(at[0], at[0] + len(hubs))]
    assert children[at[-1] + 1] == ("entry", None)
    assert [url for rel, url in links_of(answer) if rel == "hub"] == hubs
    assert discover(TOPIC, body=answer.data, media_type=answer.mimetype).hubs == tuple(hubs)


def test_w5_a_feed_works_without_any_hub(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    for answer in (
        client_of(Latest).get("/feed"),
        add_feed(blogs(sqlite_url)).get("/feed.atom"),
        client_of(type("None_", (Latest,), {"get_hub": lambda self, obj: None})).get("/feed"),
    ):
        assert answer.status_code == 200
        assert b'rel="hub"' not in answer.data
        assert links_of(answer) == []


# --- what feeds say ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("feed_type", [Atom1Feed, Rss201rev2Feed, RssUserland091Feed, JSONFeed])
@pytest.mark.parametrize("rule", ["/feed", "/grüße/feed", "/a b/~feed", "/a+b&c/feed"])
def test_our_own_feeds_are_discovered(
    blogs: Callable[..., Blog], sqlite_url: str, feed_type: Any, rule: str
) -> None:
    blog = blogs(sqlite_url, HUBS=[HUB, "https://second.example/"])
    client = add_feed(blog, type("One", (Latest,), {"feed_type": feed_type}), rule)
    path = quote(rule, safe="/~+&")
    answer = client.get(f"{path}?utm_source=x&fbclid=y", headers={"Host": "evil.example"})
    assert answer.status_code == 200
    topic = blog.site.url_for("latest")
    by_header = discover(topic, link=answer.headers.getlist("Link"))
    by_document = discover(topic, body=answer.data, media_type=answer.mimetype, charset="utf-8")
    for offer in (by_header, by_document):
        assert (offer.topic_url, offer.hubs) == (topic, (HUB, "https://second.example/"))
    assert [rel for rel, _ in links_of(answer)] == ["hub", "hub", "self"]
    # and that is what the hubs are told
    with blog.app.app_context():
        blog.linkback.websub.ping_on_change(blog.Post, feeds=["latest"])
        blog.add("one")
    assert {job.payload["topic_url"] for job in pending(blog, PING)} == {topic}


@pytest.mark.parametrize("more", [{}, {"last_modified": lambda self: NOON}, {"stream": True}])
def test_head_and_304_say_it_too(blogs: Callable[..., Blog], sqlite_url: str, more: dict[str, Any]) -> None:
    client = add_feed(blogs(sqlite_url, HUBS=HUB), type("One", (Latest,), more))

    def asked(method: str, etag: str = "") -> Any:
        with client.open("/feed.atom", method=method, headers={"If-None-Match": etag}) as answer:
            _ = answer.data  # to the end
            return answer

    first = asked("GET")
    unchanged = asked("GET", first.headers.get("ETag", ""))
    assert unchanged.status_code == (200 if "stream" in more else 304)
    for answer in (first, asked("HEAD"), unchanged):
        assert links_of(answer) == [("hub", HUB), ("self", TOPIC)]


def test_what_a_class_says_itself_counts_and_none_switches_off(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    class Off(Latest):
        hub = None

    class AlsoOff(Latest):
        hubs = ()

    class OnAgain(Off):
        hubs = (HUB,)

    class OffAgain(OnAgain):
        hub = None

    class ByMethod(OffAgain):
        def get_hub(self, obj: Any) -> list[str]:
            return ["https://a.example/", "https://b.example/"]

    class AsBefore(Latest):
        def get_hub(self, obj: Any) -> Any:
            return super().get_hub(obj)

    class OfObject(Latest):
        def get_object(self) -> str:
            return "x"

        def hub(self, obj: str) -> str:
            return f"https://{obj}.example/"

    expected = {
        Off: [],
        AlsoOff: [],
        OnAgain: [HUB],
        OffAgain: [],
        ByMethod: ["https://a.example/", "https://b.example/"],
        AsBefore: ["https://set.example/", "https://too.example/"],
        OfObject: ["https://x.example/"],
    }
    for feed, hubs in expected.items():
        blog = blogs(sqlite_url, HUBS=["https://set.example/", "https://too.example/"])
        answer = add_feed(blog, feed).get("/feed.atom")
        assert [url for rel, url in links_of(answer) if rel == "hub"] == hubs, feed
        assert discover(TOPIC, body=answer.data, media_type=answer.mimetype).hubs == tuple(hubs), feed
        assert ("self" in dict(links_of(answer))) == bool(hubs)


def test_hubs_work_without_linkback() -> None:
    answer = client_of(type("One", (Latest,), {"hub": HUB})).get("/feed?utm_source=x")
    assert links_of(answer) == [("hub", HUB), ("self", "http://localhost/feed")]


@pytest.mark.parametrize(
    ("said", "topic"),
    [
        ("/canonical", "https://blog.example/canonical"),
        ("canonical?a=é b", "https://blog.example/canonical?a=%C3%A9%20b"),
        ("https://blog.example/grün", "https://blog.example/gr%C3%BCn"),
    ],
)
def test_the_hook_for_its_own_address_is_heard(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, hub: str, said: str, topic: str
) -> None:
    blog = blogs(sqlite_url, HUBS=hub)
    answer = add_feed(blog, type("One", (Latest,), {"feed_url": said})).get("/feed.atom")
    assert links_of(answer)[-1] == ("self", topic)
    assert discover(TOPIC, body=answer.data, media_type=answer.mimetype).topic_url == topic
    blog.linkback.websub.ping_on_change(blog.Post, feeds=["latest"])
    with blog.app.app_context():
        blog.add("one")
    work(blog)
    assert told(neighbour) == [("/", topic)]


def test_each_format_is_a_topic_of_its_own(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, hub: str
) -> None:
    blog = blogs(sqlite_url, HUBS=hub)
    client = add_feed(blog, type("One", (Latest,), {"feed_types": (Atom1Feed, JSONFeed)}))
    for query in ("", "?format=json"):
        answer = client.get(f"/feed.atom{query}&utm_medium=x".replace("atom&", "atom?"))
        assert dict(links_of(answer))["self"] == f"{TOPIC}{query}"
    blog.linkback.websub.ping_on_change(blog.Post, feeds=["latest"])
    with blog.app.app_context():
        blog.add("one")
    work(blog)
    assert sorted(told(neighbour)) == [
        ("/", TOPIC),
        ("/", f"{TOPIC}?format=atom"),
        ("/", f"{TOPIC}?format=json"),
    ]


def test_older_pages_of_a_feed_have_no_hub(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    """Nobody tells of them."""
    feed = type("Two", (Latest,), {"paginate_by": 1, "items": lambda self: ["one", "two"]})
    client = add_feed(blogs(sqlite_url, HUBS=HUB), feed)
    assert dict(links_of(client.get("/feed.atom")))["hub"] == HUB
    answer = client.get("/feed.atom?page=2")
    assert (answer.status_code, links_of(answer)) == (200, [])
    assert b'rel="hub"' not in answer.data


def test_other_hubs_make_another_document(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    feed = type("Dated", (Latest,), {"last_modified": lambda self: NOON})
    before = add_feed(blogs(sqlite_url, HUBS=HUB), feed).get("/feed.atom")
    now = add_feed(blogs(sqlite_url), feed).get(
        "/feed.atom", headers={"If-None-Match": before.headers["ETag"]}
    )
    assert now.status_code == 200


def test_a_document_as_django_has_it_has_no_hub(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    feed = type("Same", (Latest,), {"django_compatible": True})
    answer = add_feed(blogs(sqlite_url, HUBS=HUB), feed).get("/feed.atom")
    assert b"hub" not in answer.data
    assert links_of(answer) == []


def test_our_own_hub_comes_first(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    own = "https://blog.example/linkback/hub"
    blog = blogs(sqlite_url, HUBS=[HUB, own], HUB_ENABLED=True)
    if "linkback_hub.endpoint" not in blog.app.view_functions:
        blog.app.add_url_rule("/linkback/hub", "linkback_hub.endpoint", lambda: "")
    assert hubs_of(blog.site) == (own, HUB)
    blog = blogs(sqlite_url, HUBS=[HUB], HUB_ENABLED=False)
    assert hubs_of(blog.site) == (HUB,)


# --- pages that are no feed -------------------------------------------------------------------------------


def page_of(blog: Blog, decorate: Callable[[Any, Any], Any], rule: str = "/news") -> Any:
    """A client of a blog whose page is decorated: ``decorate(publisher, route)`` takes the view."""
    decorate(blog.linkback.websub, blog.app.route(rule, endpoint="news"))
    return blog.app.test_client()


async def _coroutine() -> str:
    return "<title>News</title>"


class _Page(View):
    def dispatch_request(self) -> str:
        return "<title>News</title>"


class _Methods(MethodView):
    def get(self) -> str:
        return "<title>News</title>"

    def post(self) -> str:
        return "taken"


def _news() -> str:
    return "<title>News</title>"


PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "below the route": lambda websub, route: route(websub.publisher(lambda: _news())),
    "above the route": lambda websub, route: websub.publisher(route(lambda: _news())),
    "with parentheses": lambda websub, route: route(websub.publisher()(lambda: _news())),
    "a coroutine": lambda websub, route: route(websub.publisher(_coroutine)),
    "a class": lambda websub, route: route(websub.publisher(type("Page", (_Page,), {})).as_view("news")),
    "what as_view returns": lambda websub, route: websub.publisher(route(_Page.as_view("news"))),
    "decorators of a class": lambda websub, route: route(
        type("Page", (_Methods,), {"decorators": [websub.publisher]}).as_view("news")  # type: ignore[attr-defined]
    ),
}


@pytest.mark.parametrize("where", PLACES)
def test_a_page_says_its_hubs(blogs: Callable[..., Blog], sqlite_url: str, where: str) -> None:
    blog = blogs(sqlite_url, HUBS=[HUB, "https://second.example/"])
    client = page_of(blog, PLACES[where])
    for answer in (client.get("/news"), client.head("/news")):
        assert answer.status_code == 200
        assert links_of(answer) == [
            ("hub", HUB),
            ("hub", "https://second.example/"),
            ("self", "https://blog.example/news"),
        ]
    assert links_of(client.get("/about")) == []
    assert links_of(client.options("/news")) == []
    assert links_of(client.post("/news")) == []


def test_what_is_not_the_page_says_nothing(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, HUBS=HUB)

    def view() -> Any:
        return "x", int(request.args["status"])

    client = page_of(blog, lambda websub, route: route(websub.publisher(view)))
    for status, count in ((200, 2), (304, 2), (201, 0), (301, 0), (404, 0), (500, 0)):
        assert len(links_of(client.get(f"/news?status={status}"))) == count


@pytest.mark.parametrize(
    ("options", "query", "topic"),
    [
        ({}, "?utm_source=a&page=2&utm_medium=b", "?page=2"),
        ({}, "?fbclid=1&gclid=2&mc_cid=3&mc_eid=4&%75tm_source=x", ""),
        ({}, "?b=2&a=%C3%A9+x&a=&c", "?b=2&a=%C3%A9+x&a=&c"),
        ({"args": ("page",)}, "?b=2&page=3&page=4", "?page=3&page=4"),
        ({"args": "page"}, "?x", ""),
        ({"args": ()}, "?page=1", ""),
        ({"self_url": "/other?x=1"}, "?page=1", None),
        ({"self_url": lambda: "https://blog.example/other?x=1"}, "?page=1", None),
    ],
)
def test_what_a_page_is_called(
    blogs: Callable[..., Blog], sqlite_url: str, options: Any, query: str, topic: str | None
) -> None:
    blog = blogs(sqlite_url, HUBS=HUB, base_url="https://blog.example/blog")
    client = page_of(blog, lambda websub, route: route(websub.publisher(**options)(lambda: "x")), "/né ws")
    answer = client.get(f"/n%C3%A9%20ws{query}", headers={"Host": "evil.example"})
    home = (
        "https://blog.example/other?x=1"
        if topic is None
        else f"https://blog.example/blog/n%C3%A9%20ws{topic}"
    )
    assert dict(links_of(answer))["self"] == home


def test_a_page_of_a_subdomain_is_called_so(sqlite_url: str) -> None:
    app = Flask(__name__, subdomain_matching=True)
    app.config.update(
        TESTING=True,
        SERVER_NAME="blog.example",
        PREFERRED_URL_SCHEME="https",
        SQLALCHEMY_DATABASE_URI=sqlite_url,
        LINKBACK_HUBS=HUB,
        LINKBACK_HOSTS="news.blog.example",
    )
    linkback = Linkback(app, SQLAlchemy(app))
    for subdomain in ("", "news", "other"):
        view = linkback.websub.publisher(lambda: "x")
        app.add_url_rule("/page", f"page{subdomain}", view, subdomain=subdomain)
    client = app.test_client()
    for host, home in (
        ("blog.example", "blog.example"),
        ("news.blog.example", "news.blog.example"),
        ("other.blog.example", "blog.example"),  # not among HOSTS
    ):
        answer = client.get("/page", base_url=f"http://{host}")
        assert dict(links_of(answer))["self"] == f"https://{home}/page"


def test_a_page_of_a_site_that_does_not_know_its_address(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, HUBS=HUB, base_url=None)
    client = page_of(blog, lambda websub, route: route(websub.publisher(lambda: "x")))
    assert links_of(client.get("/news")) == [("hub", HUB), ("self", "http://localhost/news")]


def test_a_page_may_have_links_and_hubs_of_its_own(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, HUBS=HUB)

    def view() -> Any:
        return (
            "x",
            200,
            [("Link", '<https://own.example/>; rel="hub", </me>; rel="self"'), ("Link", "</a>; rel=next")],
        )

    def decorate(websub: Any, route: Any) -> None:
        route(websub.publisher(hubs=["https://own.example/", "/hub"])(view))

    answer = page_of(blog, decorate).get("/news")
    assert links_of(answer) == [
        ("hub", "https://own.example/"),
        ("self", "/me"),
        ("next", "/a"),
        ("hub", "https://blog.example/hub"),
    ]
    blog = blogs(sqlite_url, HUBS=HUB)
    answer = page_of(blog, lambda websub, route: route(websub.publisher(hubs=())(lambda: "x"))).get("/news")
    assert links_of(answer) == []


def test_the_head_of_a_page_says_what_its_headers_say(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, HUBS=[HUB, "https://second.example/?a&b"])

    def view() -> str:
        return render_template_string("<head><title>x</title>{{ linkback_hub_links() }}</head><body>")

    client = page_of(blog, lambda websub, route: route(websub.publisher(view)))
    blog.app.add_url_rule("/plain", "plain", lambda: view())
    answer = client.get("/news?a=1&utm_source=x&b=%22%3E")
    topic = "https://blog.example/news?a=1&b=%22%3E"
    by_header = discover(topic, link=answer.headers.getlist("Link"))
    by_document = discover(topic, body=answer.data, media_type="text/html")
    for offer in (by_header, by_document):
        assert (offer.topic_url, offer.hubs) == (topic, (HUB, "https://second.example/?a&b"))
    assert client.get("/plain").text == "<head><title>x</title></head><body>"


# --- telling one hub --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_will_do(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, status: int
) -> None:
    neighbour.answer("/", status)
    blog = blogs(sqlite_url, HUBS=neighbour.url("/"))
    ping(blog, TOPIC)
    with heard(blog) as said:
        work(blog)
    (job,) = rows(blog, Job)
    assert (job.state, [values["status"] for _, values in said]) == (JobState.done, [status])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422])
def test_what_a_hub_refuses_is_refused(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, status: int
) -> None:
    neighbour.answer("/", status, b"No.")
    blog = blogs(sqlite_url, HUBS=neighbour.url("/"))
    ping(blog, TOPIC)
    with heard(blog) as said:
        work(blog)
    (job,) = rows(blog, Job)
    (attempt,) = rows(blog, Attempt)
    assert (job.state, job.reason) == (JobState.dead, f"The server answers {status}.")
    assert (attempt.status_code, attempt.body) == (status, b"No.")
    assert [values["status"] for _, values in said] == [status]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 301, 307])
def test_what_may_pass_is_tried_again(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock, status: int
) -> None:
    neighbour.answer("/", status, headers=[("Location", neighbour.url("/elsewhere"))])
    blog = blogs(database_url, HUBS=neighbour.url("/"))
    ping(blog, TOPIC)
    with heard(blog) as said:
        work(blog)
        assert said == []  # not yet
        neighbour.answer("/", 204)
        clock.move(90)
        work(blog)
    assert told(neighbour) == [("/", TOPIC)] * 2
    assert names(said) == ["hub_pinged"]


def test_retry_after_is_honoured_even_by_what_changes_meanwhile(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    neighbour.answer("/", 503, headers=[("Retry-After", "120")])
    blog = blogs(database_url, HUBS=neighbour.url("/"))
    ping(blog, TOPIC)
    work(blog)
    clock.move(100)
    ping(blog, TOPIC)  # one more change
    work(blog)
    assert len(neighbour.requests) == 1
    neighbour.answer("/", 204)
    clock.move(60)
    work(blog)
    assert told(neighbour) == [("/", TOPIC)] * 2  # one ping for both changes
    assert pending(blog, PING) == []


def test_a_change_hastens_a_ping_that_failed(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    neighbour.route("/", hang_up)
    blog = blogs(database_url, HUBS=neighbour.url("/"), RETRY_SCHEDULE=(0, 86_400))
    ping(blog, TOPIC)
    work(blog)
    before = len(neighbour.requests)
    neighbour.answer("/", 204)
    ping(blog, TOPIC)
    work(blog)
    assert len(neighbour.requests) == before + 1
    (job,) = rows(blog, Job)
    assert job.state is JobState.done


def test_a_hub_that_is_away_for_good_is_given_up(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    neighbour.route("/", hang_up)
    blog = blogs(sqlite_url, HUBS=neighbour.url("/"), RETRY_SCHEDULE=(0, 5))
    ping(blog, TOPIC)
    with heard(blog) as said:
        work(blog)
        clock.move(60)
        work(blog)
    assert said == [("hub_pinged", {"topic_url": TOPIC, "hub_url": neighbour.url("/"), "status": None})]
    (job,) = rows(blog, Job)
    assert job.state is JobState.dead


def test_a_ping_that_takes_its_worker_along_is_ended(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    blog = blogs(database_url, HUBS=neighbour.url("/"), RETRY_SCHEDULE=(0,))
    ping(blog, TOPIC)
    vanish(blog, clock)
    with heard(blog) as said:
        work(blog)
    assert [values.get("status", 0) for name, values in said if name == "hub_pinged"] == [None]
    assert neighbour.requests == []


def test_several_changes_of_a_topic_are_one_ping(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, hub: str
) -> None:
    blog = blogs(database_url, HUBS=hub)
    for topic in (TOPIC, "/other", TOPIC, "/feed.atom"):
        ping(blog, topic)
    work(blog)
    assert sorted(told(neighbour)) == [("/", TOPIC), ("/", "https://blog.example/other")]
    ping(blog, TOPIC)
    work(blog)
    assert len(neighbour.requests) == 3


def test_one_hub_that_fails_does_not_stop_the_next(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    neighbour.route("/dead", hang_up)
    neighbour.answer("/no", 403)
    neighbour.answer("/good", 204)
    hubs = [neighbour.url("/dead"), "http://10.0.0.1/", neighbour.url("/no"), neighbour.url("/good")]
    blog = blogs(database_url, HUBS=hubs)
    ping(blog, TOPIC)
    with heard(blog) as said:
        work(blog)
    assert {values["hub_url"]: values["status"] for _, values in said} == {
        "http://10.0.0.1/": None,
        neighbour.url("/no"): 403,
        neighbour.url("/good"): 204,
    }


def test_nothing_is_told_for_a_transaction_that_rolled_back(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, hub: str, caplog: Any
) -> None:
    blog = blogs(database_url, HUBS=hub)
    with caplog.at_level(logging.WARNING), blog.app.app_context():
        blog.linkback.websub.ping_hub(TOPIC)
        blog.db.session.rollback()
    assert "ping_hub()" in caplog.text
    work(blog)
    assert neighbour.requests == []


def test_the_policy_for_hubs_decides(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, hub: str
) -> None:
    blog = blogs(sqlite_url, HUBS=hub, ALLOW_NETWORKS={"topic": "127.0.0.0/8", "callback": "127.0.0.0/8"})
    ping(blog, TOPIC)
    work(blog)
    assert neighbour.requests == []
    blog = blogs(sqlite_url, HUBS=hub, ALLOW_NETWORKS={"hub": "127.0.0.0/8"})
    ping(blog, TOPIC)
    work(blog)
    assert told(neighbour) == [("/", TOPIC)]


@pytest.mark.parametrize("hub_url", ["ftp://hub.example/", "hub.example", "https://u:p@hub.example/", ""])
def test_what_is_no_hub_is_refused_at_once(blogs: Callable[..., Blog], sqlite_url: str, hub_url: str) -> None:
    blog = blogs(sqlite_url)
    with blog.app.app_context(), pytest.raises(AddressRefused):
        blog.linkback.websub.ping_hub(TOPIC, hub_url)


# --- credentials ------------------------------------------------------------------------------------------

BASIC = "Basic bWU6cMOkc3M="  # me:päss


def secret_of(hub_url: str) -> tuple[str, str] | None:
    return ("me", "päss") if hub_url.endswith("/a") else None


@pytest.mark.parametrize("how", ["dict", "path", "decorator", "coroutine"])
def test_who_we_are_at_a_hub(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, how: str
) -> None:
    for path in ("/a", "/a/", "/b"):
        neighbour.answer(path, 204)
    hubs = [neighbour.url(path) for path in ("/a", "/a/", "/b")]
    setting = {"dict": {hubs[0]: ("me", "päss")}, "path": f"{__name__}.secret_of"}.get(how)
    blog = blogs(sqlite_url, HUBS=hubs, HUB_CREDENTIALS=setting)
    if how == "decorator":
        assert blog.linkback.websub.credentials(secret_of) is secret_of
    if how == "coroutine":

        @blog.linkback.websub.credentials
        async def ask(hub_url: str) -> tuple[str, str] | None:
            return secret_of(hub_url)

    ping(blog, TOPIC)
    work(blog)
    said = {seen.path: seen.header("Authorization") for seen in neighbour.requests}
    assert said == {"/a": BASIC, "/a/": None, "/b": None}


def test_credentials_that_are_none_are_a_mistake_that_is_told(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, hub: str
) -> None:
    blog = blogs(sqlite_url, HUBS=hub)
    blog.linkback.websub.credentials(lambda hub_url: "me:secret")
    ping(blog, TOPIC)
    work(blog)
    assert neighbour.requests == []
    (job,) = rows(blog, Job)
    assert "pair (user, password)" in job.reason
    assert "secret" not in job.reason


# --- models -----------------------------------------------------------------------------------------------


@pytest.fixture
def beats(blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, hub: str) -> Blog:
    """A paper whose stories are in the feed of all, in that of their beat, and may have a time."""
    blog = blogs(database_url, HUBS=hub, content=None)
    db: Any = blog.db

    class Beat(db.Model):
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str]

    class Story(db.Model):
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(default="")
        live: Mapped[bool] = mapped_column(default=True)
        beat_id: Mapped[int | None] = mapped_column(sa.ForeignKey("beat.id"))
        published_at: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
        beat: Mapped[Beat | None] = relationship()

        def feed_args(self) -> dict[str, Any]:
            return {"beat_id": self.beat_id}

        @property
        def feed_url(self) -> str | None:
            return f"/beat/{self.beat_id}" if self.beat_id else None

    class OfBeat(Latest):
        def get_object(self, beat_id: int) -> int:
            return beat_id

    add_feed(blog, Latest, "/all", "all")
    add_feed(blog, OfBeat, "/beat/<beat_id>", "beat")
    blog.started = [Beat, Story]
    with blog.app.app_context():
        db.create_all()
        db.session.add_all([Beat(slug=slug) for slug in ("city", "sports")])
        db.session.commit()
    return blog


def write(blog: Blog, **values: Any) -> int:
    with blog.app.app_context():
        story = blog.started[1](**values)
        blog.db.session.add(story)
        blog.db.session.commit()
        return story.id  # type: ignore[no-any-return]


def change(blog: Blog, story_id: int, **values: Any) -> None:
    with blog.app.app_context():
        story = blog.db.session.get(blog.started[1], story_id)
        for name, value in values.items():
            setattr(story, name, value)
        blog.db.session.commit()


def delete(blog: Blog, story_id: int) -> None:
    with blog.app.app_context():
        blog.db.session.delete(blog.db.session.get(blog.started[1], story_id))
        blog.db.session.commit()


@pytest.fixture
def news(beats: Blog, neighbour: Neighbour) -> Callable[[], list[str]]:
    """Do what is due, and return the paths of the topics that were told since the last time."""
    seen = 0

    def news() -> list[str]:
        nonlocal seen
        work(beats)
        found = [topic.removeprefix("https://blog.example") for _, topic in told(neighbour)[seen:]]
        seen += len(found)
        return sorted(found)

    return news


def test_created_changed_and_deleted_objects_are_news(beats: Blog, news: Callable[[], list[str]]) -> None:
    beats.linkback.websub.ping_on_change(beats.started[1], feeds=["all"])
    story = write(beats, title="One")
    assert news() == ["/all"]
    change(beats, story, title="Two")
    assert news() == ["/all"]
    change(beats, story, title="Two")
    assert news() == []  # it says the same
    delete(beats, story)
    assert news() == ["/all"]


def test_only_changes_of_these_columns_count(beats: Blog, news: Callable[[], list[str]]) -> None:
    beats.linkback.websub.ping_on_change(beats.started[1], feeds=["all"], fields=["title"])
    story = write(beats, title="One")
    assert news() == ["/all"]
    change(beats, story, live=False)
    assert news() == []
    change(beats, story, title="Two", live=True)
    assert news() == ["/all"]
    delete(beats, story)
    assert news() == ["/all"]


BY_ATTRIBUTE: Any = ("beat", lambda story: {"beat_id": story.beat_id})
BY_METHOD: Any = ("beat", lambda story: story.feed_args())
BY_RELATION: Any = ("beat", lambda story: {"beat_id": story.beat.id if story.beat else None})
BY_URL: Any = lambda story: f"/beat/{story.beat_id}" if story.beat_id else None  # noqa: E731


BY_PROPERTY: Any = lambda story: [story.feed_url]  # noqa: E731


@pytest.mark.parametrize("feed", [BY_ATTRIBUTE, BY_METHOD, BY_RELATION, BY_URL, BY_PROPERTY])
@pytest.mark.parametrize("how", ["by key", "by object"])
def test_a_story_that_moves_is_news_for_both_feeds(
    beats: Blog, news: Callable[[], list[str]], feed: Any, how: str
) -> None:
    beats.linkback.websub.ping_on_change(beats.started[1], feeds=["all", feed])
    story = write(beats, beat_id=1)
    assert news() == ["/all", "/beat/1"]
    with beats.app.app_context():
        found = beats.db.session.get(beats.started[1], story)
        assert found is not None
        assert found.beat.slug == "city"  # it is loaded
        if how == "by key":
            found.beat_id = 2
        else:
            found.beat = beats.db.session.get(beats.started[0], 2)
        beats.db.session.commit()
    assert news() == ["/all", "/beat/1", "/beat/2"]
    change(beats, story, beat_id=None)
    assert news() == ["/all", "/beat/2"]
    change(beats, story, title="Homeless")
    assert news() == ["/all"]
    change(beats, story, beat_id=1)
    assert news() == ["/all", "/beat/1"]
    delete(beats, story)
    assert news() == ["/all", "/beat/1"]


def test_when_says_what_is_in_the_feed(beats: Blog, news: Callable[[], list[str]]) -> None:
    beats.linkback.websub.ping_on_change(beats.started[1], feeds=["/all"], when=lambda story: story.live)
    story = write(beats, live=False)
    assert news() == []
    change(beats, story, title="Still a draft")
    assert news() == []
    change(beats, story, live=True)
    assert news() == ["/all"]
    change(beats, story, live=False)
    assert news() == ["/all"]  # it is taken out
    delete(beats, story)
    assert news() == []


def due(blog: Blog) -> list[datetime]:
    return sorted(job.due_at for job in pending(blog, PING))


def test_a_scheduled_story_is_news_when_it_appears(
    beats: Blog, news: Callable[[], list[str]], clock: Clock
) -> None:
    beats.linkback.websub.ping_on_change(beats.started[1], feeds=["all", BY_ATTRIBUTE], at="published_at")
    at = NOON + timedelta(hours=5)
    story = write(beats, beat_id=1, published_at=at)
    other = write(beats, beat_id=1, published_at=at + timedelta(hours=1))
    assert (news(), len(due(beats))) == ([], 4)
    clock.move(5 * 3600)
    assert news() == ["/all", "/beat/1"]
    clock.move(3600)
    assert news() == ["/all", "/beat/1"]
    clock.move(3600)
    change(beats, story, title="Corrected")
    assert news() == ["/all", "/beat/1"]
    delete(beats, other)
    assert news() == ["/all", "/beat/1"]
    assert due(beats) == []


def test_the_time_of_a_scheduled_story_may_change(
    beats: Blog, news: Callable[[], list[str]], clock: Clock
) -> None:
    beats.linkback.websub.ping_on_change(beats.started[1], feeds=["all", BY_ATTRIBUTE], at="published_at")
    hour = timedelta(hours=1)
    story = write(beats, beat_id=1, published_at=NOON + 5 * hour)
    for at in (NOON + 2 * hour, NOON + 9 * hour, NOON + 3 * hour):
        change(beats, story, published_at=at)
        assert due(beats) == [at, at]
    change(beats, story, beat_id=2)
    assert {job.payload["topic_url"][-6:] for job in pending(beats, PING)} == {"le/all", "beat/2"}
    change(beats, story, published_at=None)
    assert due(beats) == []
    change(beats, story, published_at=NOON + hour)
    change(beats, story, published_at=NOON - hour)  # at once
    assert (news(), due(beats)) == (["/all", "/beat/2"], [])
    change(beats, story, published_at=NOON + hour)  # taken out again, for a while
    assert (news(), due(beats)) == (["/all", "/beat/2"], [NOON + hour] * 2)
    delete(beats, story)
    assert (news(), due(beats)) == ([], [])


def test_a_ping_for_later_is_moved(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url, HUBS=[HUB, "https://second.example/"])
    with blog.app.app_context():
        for about, hours in (("a", 3), ("b", 4), ("a", 2)):
            owed = owe_pings(
                blog.site, blog.site.session, TOPIC, due_at=NOON + timedelta(hours=hours), about=about
            )
            assert owed == 2
        blog.db.session.commit()
    assert due(blog) == [NOON + timedelta(hours=hours) for hours in (2, 2, 4, 4)]


def test_a_time_without_zone_is_that_of_the_feeds(
    blogs: Callable[..., Blog], sqlite_url: str, hub: str
) -> None:
    blog = blogs(sqlite_url, HUBS=hub, TIMEZONE="Europe/Paris", content=None)
    blog.linkback.websub.ping_on_change(
        blog.Post,
        feeds=["/feed"],
        at=lambda post: datetime(2026, 3, 2),  # noqa: DTZ001
    )
    with blog.app.app_context():
        blog.add("one")
    assert due(blog) == [datetime(2026, 3, 1, 23, tzinfo=UTC)]


def test_what_a_feed_says_of_its_hubs_is_told(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, hub: str
) -> None:
    class Own(Latest):
        def get_object(self, name: str) -> str:
            if name == "gone":
                raise errors.FeedDoesNotExist
            return name

        def get_hub(self, obj: str) -> str | None:
            return neighbour.url(f"/{obj}") if obj != "quiet" else None

    for path in ("/a", "/b"):
        neighbour.answer(path, 204)
    blog = blogs(sqlite_url, HUBS=hub, content=None)
    add_feed(blog, Own, "/feed/<name>", "own")
    feeds: Any = [("own", lambda _, name=name: {"name": name}) for name in ("a", "b", "quiet", "gone")]
    blog.linkback.websub.ping_on_change(blog.Post, feeds=feeds)
    with blog.app.app_context():
        blog.add("one")
        blog.linkback.websub.ping_hub("/feed/a")
        with pytest.raises(NoHub):
            blog.linkback.websub.ping_hub("/feed/quiet")
        blog.db.session.commit()
    work(blog)
    home = "https://blog.example/feed"
    assert sorted(told(neighbour)) == [("/a", f"{home}/a"), ("/b", f"{home}/b")]


def test_a_decorated_page_is_news_too(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, hub: str
) -> None:
    neighbour.answer("/own", 204)
    blog = blogs(sqlite_url, HUBS=hub, content=None)
    page_of(blog, lambda websub, route: route(websub.publisher(hubs=neighbour.url("/own"))(lambda: "x")))
    blog.linkback.websub.ping_on_change(blog.Post, feeds=["news"])
    with blog.app.app_context():
        blog.add("one")
    work(blog)
    assert told(neighbour) == [("/own", "https://blog.example/news")]


def test_without_hubs_nothing_is_owed_and_no_address_is_needed(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = blogs(sqlite_url, base_url=None, content=None)
    blog.linkback.websub.ping_on_change(blog.Post, feeds=["post", lambda post: "/x"])
    with blog.app.app_context():
        blog.add("one")
    assert rows(blog, Job) == []


def test_what_is_missing_is_told(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, HUBS=HUB, content=None)
    for arguments in (
        {"feeds": []},
        {"feeds": "latest"},
        {"feeds": ["latest"], "at": "publishd"},
        {"feeds": ["latest"], "fields": ["titel"]},
    ):
        with pytest.raises(TypeError):
            blog.linkback.websub.ping_on_change(blog.Post, **arguments)
    add_feed(blog)
    blog.linkback.websub.ping_on_change(blog.Post, feeds=["latst"])
    with blog.app.app_context(), pytest.raises(ConfigError, match="Did you mean latest"):
        blog.add("one")
    blog = blogs(sqlite_url, HUBS=HUB, content=None, base_url=None)
    add_feed(blog)
    blog.linkback.websub.ping_on_change(blog.Post, feeds=["latest"])
    with blog.app.app_context(), pytest.raises(BaseURLMissing):
        blog.add("two")


# --- publish ----------------------------------------------------------------------------------------------


def test_publish_tells_the_hubs_of_each_feed(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, hub: str
) -> None:
    neighbour.answer("/own", 204)
    neighbour.answer("/said", 204)
    blog = blogs(database_url, HUBS=hub, content=None)
    add_feed(blog)
    add_feed(blog, type("Own", (Latest,), {"hub": neighbour.url("/own")}), "/own.atom", "own")
    with blog.app.app_context():
        blog.linkback.publish("/post/one", html="<p>x", feeds=["/feed.atom", "/own.atom"])
        blog.linkback.publish("/post/one", html="<p>x", feeds=["/feed.atom"])  # unchanged
        blog.db.session.commit()
    work(blog)
    assert sorted(told(neighbour)) == [("/", TOPIC), ("/own", "https://blog.example/own.atom")]
    with blog.app.app_context():
        blog.linkback.publish("/post/one", html="<p>y", feeds="/own.atom", hubs=neighbour.url("/said"))
        blog.linkback.publish("/post/two", html="<p>y")
        blog.linkback.publish("/post/three", html="<p>y", feeds=TOPIC, hubs=())
        with pytest.raises(AddressRefused):
            blog.linkback.publish("/post/four", html="<p>y", feeds=TOPIC, hubs=["x"])
        blog.db.session.commit()
    work(blog)
    assert told(neighbour)[2:] == [("/said", "https://blog.example/own.atom")]


def test_publish_tells_of_a_page_that_is_a_topic(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, hub: str
) -> None:
    blog = blogs(sqlite_url, HUBS=hub, content=None)
    page_of(blog, lambda websub, route: route(websub.publisher(lambda: "x")))
    with blog.app.app_context():
        blog.linkback.publish("/news", html="<p>x")
        blog.linkback.publish("/about", html="<p>x")
        blog.db.session.commit()
    work(blog)
    assert told(neighbour) == [("/", "https://blog.example/news")]


# --- the command ------------------------------------------------------------------------------------------


def test_ping_hub_at_once(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, hub: str
) -> None:
    neighbour.answer("/other", 403)
    blog = blogs(database_url, HUBS=hub)
    ran = run(blog, "ping-hub", "/feed.atom", "--json")
    assert (ran.status, told(neighbour)) == (0, [("/", TOPIC)])
    told_of = {"hub": hub, "topic": TOPIC, "state": "told", "status": 204, "reason": "", "due_at": None}
    assert ran.json == {"pings": [told_of]}
    ran = run(blog, "ping-hub", TOPIC, "--hub", neighbour.url("/other"))
    assert ran.status == 1
    assert ran.lines == [f"failed   {neighbour.url('/other')}  {TOPIC}  403  The server answers 403."]


def test_ping_hub_says_when_it_waits(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    neighbour.answer("/", 503, headers=[("Retry-After", "600")])
    blog = blogs(sqlite_url, HUBS=neighbour.url("/"))
    for _ in range(2):
        ran = run(blog, "ping-hub", TOPIC, "--json")
        assert (ran.status, ran.json["pings"][0]["state"]) == (1, "waits")
        assert datetime.fromisoformat(ran.json["pings"][0]["due_at"]) >= clock() + timedelta(seconds=600)
    assert len(neighbour.requests) == 1
    assert "Due at" in run(blog, "ping-hub", TOPIC).stdout


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((TOPIC,), "has no hub"),
        ((TOPIC, "--hub", "x"), "http"),
        (("gopher:x", "--hub", HUB), "http"),
    ],
)
def test_ping_hub_needs_a_hub_and_a_topic(
    blogs: Callable[..., Blog], sqlite_url: str, args: tuple[str, ...], text: str
) -> None:
    ran = run(blogs(sqlite_url), "ping-hub", *args)
    assert ran.status == 1
    assert text in ran.stderr
