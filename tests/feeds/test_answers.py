"""Answers to requests for feeds: what is there, what is unchanged, in which format and in which part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from flask_babel import Babel
from lxml import etree
from sqlalchemy.exc import NoResultFound
from werkzeug.exceptions import NotFound

from flask_linkback import Feed, FeedDoesNotExist
from flask_linkback.feeds import Category, Enclosure
from flask_linkback.feeds.generators import Atom1Feed, JSONFeed, Rss201rev2Feed, RssUserland091Feed
from tests.apps import Blog

ATOM = "{http://www.w3.org/2005/Atom}"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Post:
    def __init__(self, number: int, moment: datetime | date | None = None) -> None:
        self.number = number
        self.moment = moment if moment is not None else NOON + timedelta(days=number)

    def get_absolute_url(self) -> str:
        return f"/posts/{self.number}"

    def __str__(self) -> str:
        return f"Post <{self.number}>"


class Posts(Feed):
    """A feed that counts how often its items are asked for."""

    title = "Posts"
    link = "/"
    description = "All of them"
    asked = 0
    posts: Any = (Post(2), Post(1))

    def items(self) -> Any:
        type(self).asked += 1
        return self.posts

    def item_pubdate(self, item: Post) -> Any:
        return item.moment


@pytest.fixture
def posts() -> type[Posts]:
    return type("Posts", (Posts,), {"asked": 0})


def client_of(*views: tuple[str, Any], **config: Any) -> FlaskClient:
    app = Flask("feeds")
    app.config.update(TESTING=True, **config)
    for path, view in views:
        made = view.as_view(f"feed{path}") if isinstance(view, type) else view
        app.add_url_rule(path, endpoint=f"feed{path}", view_func=made)
    return app.test_client()


def titles(xml: bytes) -> list[str]:
    root = etree.fromstring(xml)
    found = [*root.iter("item"), *root.iter(f"{ATOM}entry")]
    return [str(each.findtext("title") or each.findtext(f"{ATOM}title")) for each in found]


def links(xml: bytes) -> dict[str, str]:
    """The links of a feed by their relation."""
    root = etree.fromstring(xml)
    channel = root.find("channel")
    parent = channel if channel is not None else root
    return {each.get("rel", "alternate"): each.get("href", "") for each in parent.findall(f"{ATOM}link")}


# --- where it is -------------------------------------------------------------------------------------


def test_class_and_instance_are_views(posts: type[Posts]) -> None:
    client = client_of(("/class", posts), ("/instance", posts()))
    assert titles(client.get("/class").data) == titles(client.get("/instance").data)
    app = Flask("feeds")
    app.add_url_rule("/named", view_func=posts())
    assert "Posts" in app.view_functions


def test_get_and_head_only(posts: type[Posts]) -> None:
    client = client_of(("/feed", posts))
    assert client.post("/feed").status_code == 405
    assert client.head("/feed").data == b""


@pytest.mark.parametrize("error", [NotFound, FeedDoesNotExist, NoResultFound])
def test_what_get_object_does_not_find_is_404(posts: type[Posts], error: type[Exception]) -> None:
    class Missing(posts):  # type: ignore[misc,valid-type]
        def get_object(self, beat_id: int) -> Any:
            raise error

    assert client_of(("/beats/<int:beat_id>", Missing)).get("/beats/613").status_code == 404


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("compatible", [False, True])
@pytest.mark.parametrize("error", [NotFound, FeedDoesNotExist, NoResultFound])
def test_what_items_do_not_find_is_500(
    posts: type[Posts], error: type[Exception], compatible: bool, streams: bool
) -> None:
    class Broken(posts):  # type: ignore[misc,valid-type]
        stream = streams
        django_compatible = compatible

        def items(self) -> Any:
            raise error

    client = client_of(("/feed", Broken))
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    assert client.get("/feed").status_code == 500


def test_addresses_are_those_of_the_request_where_there_is_no_base_url(posts: type[Posts]) -> None:
    answer = client_of(("/feed é", posts)).get("/feed é", base_url="https://example.com:8443/blog")
    root = etree.fromstring(answer.data)
    assert root.findtext("channel/link") == "https://example.com:8443/"
    assert links(answer.data)["self"] == "https://example.com:8443/blog/feed%20%C3%A9"


def test_addresses_are_those_of_base_url(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, BASE_URL="https://blog.example")
    view = type("Posts", (Posts,), {})
    blog.app.add_url_rule("/feed", view_func=view.as_view("feed"))
    answer = blog.app.test_client().get("/feed", base_url="http://evil.example")
    assert b"evil" not in answer.data
    assert links(answer.data)["self"] == "https://blog.example/feed"


def test_dates_without_a_zone_are_of_the_setting(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, TIMEZONE="Europe/Berlin", LANGUAGE="de")
    naive, day = datetime(2026, 7, 1, 12, tzinfo=UTC).replace(tzinfo=None), date(2026, 1, 1)
    posts = (Post(1, naive), Post(2, day), Post(3, naive.replace(tzinfo=ZoneInfo("Asia/Tokyo"))))
    blog.app.add_url_rule("/feed", view_func=type("Posts", (Posts,), {"posts": posts}).as_view("feed"))
    root = etree.fromstring(blog.app.test_client().get("/feed").data)
    assert [each.text for each in root.iter("pubDate")] == [
        "Wed, 01 Jul 2026 12:00:00 +0200",
        "Thu, 01 Jan 2026 00:00:00 +0100",
        "Wed, 01 Jul 2026 12:00:00 +0900",
    ]
    assert root.findtext("channel/language") == "de"


def test_the_language_is_the_locale_of_flask_babel(posts: type[Posts]) -> None:
    client = client_of(("/feed", posts))
    app = client.application
    Babel(app, locale_selector=lambda: request.accept_languages.best_match(["de", "pt_BR"]))
    for asked, language in (("de", "de"), ("pt-BR", "pt-BR")):
        answer = client.get("/feed", headers={"Accept-Language": asked})
        assert etree.fromstring(answer.data).findtext("channel/language") == language
        assert answer.headers["Vary"] == "Accept-Language"
    posts.language = "fr"  # the class knows better
    answer = client.get("/feed", headers={"Accept-Language": "de"})
    assert etree.fromstring(answer.data).findtext("channel/language") == "fr"
    assert "Vary" not in answer.headers


# --- unchanged ---------------------------------------------------------------------------------------


@pytest.fixture
def dated(posts: type[Posts]) -> type[Posts]:
    class Dated(posts):  # type: ignore[misc,valid-type]
        changed: Any = NOON
        word: Any = None

        def last_modified(self, obj: Any) -> Any:
            return self.changed

        def etag(self, obj: Any) -> Any:
            return self.word

    return Dated


def test_unchanged_is_said_before_items_are_asked_for(dated: type[Posts]) -> None:
    client = client_of(("/feed", dated))
    first = client.get("/feed")
    assert first.status_code == 200
    assert dated.asked == 1
    assert first.headers["Last-Modified"] == "Mon, 04 May 2026 12:00:00 GMT"
    for condition in (
        {"If-None-Match": first.headers["ETag"]},
        {"If-None-Match": '"other", ' + first.headers["ETag"]},
        {"If-Modified-Since": first.headers["Last-Modified"]},
        {"If-Modified-Since": "Tue, 05 May 2026 00:00:00 GMT"},
        # who sends both is answered by the first (RFC 9110, section 13.2.2)
        {"If-None-Match": first.headers["ETag"], "If-Modified-Since": "Mon, 04 May 2020 12:00:00 GMT"},
    ):
        for method in ("GET", "HEAD"):
            answer = client.open("/feed", method=method, headers=condition)
            assert (answer.status_code, answer.data) == (304, b""), condition
            assert answer.headers["ETag"] == first.headers["ETag"]
            assert answer.headers["Cache-Control"] == "no-cache"
    assert dated.asked == 1
    for condition in (
        {"If-None-Match": '"other"', "If-Modified-Since": first.headers["Last-Modified"]},
        {"If-Modified-Since": "Sun, 03 May 2026 12:00:00 GMT"},
        {"If-Modified-Since": "rubbish"},
    ):
        assert client.get("/feed", headers=condition).status_code == 200


def test_head_asks_for_no_items_and_promises_no_length(dated: type[Posts]) -> None:
    answer = client_of(("/feed", dated)).head("/feed")
    assert (answer.status_code, dated.asked) == (200, 0)
    assert "Content-Length" not in answer.headers
    assert answer.headers["ETag"].startswith('W/"')
    assert answer.headers["Content-Type"] == "application/rss+xml; charset=utf-8"


@pytest.mark.parametrize("change", [{"changed": NOON + timedelta(seconds=1)}, {"word": "3"}, {"title": "x"}])
def test_the_tag_changes_with_what_the_hooks_say(dated: type[Posts], change: dict[str, Any]) -> None:
    dated.word = "2"  # type: ignore[attr-defined]
    client = client_of(("/feed", dated))
    before = client.head("/feed").headers["ETag"]
    for name, value in change.items():
        setattr(dated, name, value)
    assert (client.head("/feed").headers["ETag"] != before) == ("title" not in change)


def test_without_hooks_the_tag_is_of_the_document(posts: type[Posts]) -> None:
    client = client_of(("/feed", posts))
    first = client.get("/feed")
    again = {"If-None-Match": first.headers["ETag"]}
    assert client.get("/feed", headers=again).status_code == 304
    assert first.headers["Last-Modified"] == "Wed, 06 May 2026 12:00:00 GMT"
    posts.posts = posts.posts[:1]  # an older one is deleted: no date says so
    second = client.get("/feed", headers=again)
    assert second.status_code == 200
    assert second.headers["Last-Modified"] == first.headers["Last-Modified"]


def test_an_empty_feed_is_the_same_whenever_it_is_read(posts: type[Posts]) -> None:
    posts.posts = ()
    for version in (Rss201rev2Feed, Atom1Feed, RssUserland091Feed):
        posts.feed_type = version
        answer = client_of(("/feed", posts)).get("/feed")
        assert "Last-Modified" not in answer.headers
        assert b"lastBuildDate" not in answer.data
        if version is Atom1Feed:
            assert b"<updated>1970-01-01T00:00:00+00:00</updated>" in answer.data


def test_how_long_it_may_be_kept(posts: type[Posts]) -> None:
    posts.max_age = 600
    assert client_of(("/feed", posts)).get("/feed").headers["Cache-Control"] == "max-age=600"


class Kept(dict[str, Any]):
    """What cachelib's caches do."""

    seconds: Any = None

    def set(self, key: str, value: Any, timeout: int | None = None) -> None:
        self[key] = value
        self.seconds = timeout


@pytest.mark.parametrize("with_hook", [False, True])
def test_bodies_are_kept(posts: type[Posts], dated: type[Posts], with_hook: bool) -> None:
    view = dated if with_hook else posts
    cache = view.cache = Kept()
    view.cache_seconds = 60
    client = client_of(("/feed", view), ("/other", view))
    first = client.get("/feed")
    second = client.get("/feed")
    assert view.asked == 1
    assert (first.data, sorted(first.headers)) == (second.data, sorted(second.headers))
    assert cache.seconds == 60
    assert client.get("/other").data != first.data  # its own address is another
    view.cache_version = "2"
    client.get("/feed")
    assert view.asked == 3
    if with_hook:
        view.changed = NOON + timedelta(days=1)  # type: ignore[attr-defined]
        client.get("/feed")
        assert view.asked == 4


def test_hubs_are_said_in_the_feed_and_in_its_headers(dated: type[Posts]) -> None:
    dated.hubs = ["https://hub.example/"]  # type: ignore[attr-defined]
    client = client_of(("/feed", dated))
    first = client.get("/feed")
    expected = ['<https://hub.example/>; rel="hub"', '<http://localhost/feed>; rel="self"']
    assert links(first.data)["hub"] == "https://hub.example/"
    unchanged = client.get("/feed", headers={"If-None-Match": first.headers["ETag"]})
    assert unchanged.status_code == 304
    for answer in (first, client.head("/feed"), unchanged):
        assert answer.headers.getlist("Link") == expected


# --- streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [Rss201rev2Feed, Atom1Feed, RssUserland091Feed])
def test_a_stream_is_the_same_document(posts: type[Posts], version: Any) -> None:
    several = [Post(number, NOON - timedelta(hours=number)) for number in range(200)]
    posts.feed_type, posts.posts = version, several
    whole = client_of(("/feed", posts)).get("/feed").data
    streamed = type("Streamed", (posts,), {"stream": True, "items": lambda self: iter(several)})
    answer = client_of(("/feed", streamed)).get("/feed")
    assert "Content-Length" not in answer.headers
    assert answer.data == whole


def test_a_stream_begins_before_its_items_end(posts: type[Posts]) -> None:
    seen: list[int] = []

    def items(self: Any) -> Iterator[Post]:
        for number in range(1000):
            seen.append(number)
            yield Post(number)

    streamed = type("Streamed", (posts,), {"stream": True, "items": items})
    answer = client_of(("/feed", streamed)).get("/feed", buffered=False)
    chunks = answer.iter_encoded()
    assert next(chunks).startswith(b"<?xml")
    assert 0 < len(seen) < 200
    answer.close()
    assert len(seen) < 200


def test_a_stream_that_breaks_does_not_end_like_a_whole_document(posts: type[Posts]) -> None:
    def items(self: Any) -> Iterator[Post]:
        yield from map(Post, range(500))
        raise ZeroDivisionError

    streamed = type("Streamed", (posts,), {"stream": True, "items": items})
    answer = client_of(("/feed", streamed)).get("/feed", buffered=False)
    read: list[bytes] = []
    with pytest.raises(ZeroDivisionError):
        read.extend(answer.iter_encoded())
    assert read[0].startswith(b"<?xml")
    assert b"</rss>" not in b"".join(read)


def test_head_of_a_stream_asks_for_no_items(posts: type[Posts]) -> None:
    posts.stream = True
    assert client_of(("/feed", posts)).head("/feed").status_code == 200
    assert posts.asked == 0


# --- one document, whatever wrote it -----------------------------------------------------------------


@pytest.mark.parametrize("version", [Rss201rev2Feed, Atom1Feed])
def test_items_written_at_once_are_those_of_the_generator(posts: type[Posts], version: Any) -> None:
    class Rich(posts):  # type: ignore[misc,valid-type]
        feed_type = version
        item_author_name, item_author_email, item_author_link = "Ann", "ann@example.com", "/ann"
        item_categories = ("a&b", Category("c", "https://c.example/", "C"), 3)
        item_comments, item_copyright, item_guid_is_permalink = "/comments", "©", True
        item_enclosure_url, item_enclosure_length, item_enclosure_mime_type = "/é.mp3", 3, "audio/mpeg"
        item_updateddate = NOON

        def item_guid(self, item: Post) -> Any:
            return item.number

        def item_description(self, item: Post) -> str:
            return ["<p>]]></p>", "<p>a\rb</p>", "plain", ""][item.number % 4]

    Rich.posts = [Post(number) for number in range(8)]
    at_once = client_of(("/feed", Rich)).get("/feed").data
    subclass = type("Own", (version,), {"add_item_elements": version.add_item_elements})
    dicts = client_of(("/feed", type("Rich", (Rich,), {"feed_type": subclass}))).get("/feed").data
    own = type("Own", (version,), {"add_item": lambda self, **item: version.add_item(self, **item)})
    calls = client_of(("/feed", type("Rich", (Rich,), {"feed_type": own}))).get("/feed").data
    assert at_once == dicts == calls
    assert len(titles(at_once)) == 8


OURS = ("authors", "hubs", "links", "extensions", "updated", "icon", "favicon", "deleted_items", "prefixes")


@pytest.mark.parametrize("value", ["text", 3, ["a", "b"], {"a": "b"}, None])
@pytest.mark.parametrize("version", [Rss201rev2Feed, Atom1Feed, JSONFeed])
def test_an_application_may_give_its_generator_what_has_a_name_of_ours(
    posts: type[Posts], version: Any, value: Any
) -> None:
    """As a class of Django does that knows nothing of ours: what is of another kind is its own."""
    kept = {name: value for name in OURS if not (name in ("icon", "favicon", "hubs") and value)}
    posts.feed_type = version
    plain = client_of(("/feed", posts)).get("/feed").data
    posts.feed_extra_kwargs = lambda self, obj: kept  # type: ignore[method-assign]
    posts.item_extra_kwargs = lambda self, item: dict.fromkeys(OURS, value)  # type: ignore[method-assign]
    assert client_of(("/feed", posts)).get("/feed").data == plain


def test_django_writes_nothing_of_ours(posts: type[Posts]) -> None:
    for posts.feed_type in (Rss201rev2Feed, Atom1Feed):
        posts.django_compatible = True
        plain = client_of(("/feed", posts)).get("/feed").data
        given = {"icon": "/i", "favicon": "/f", "hubs": ["https://h.example/"], "links": [("a", "/b")]}
        compatible = type("Same", (posts,), {"feed_extra_kwargs": lambda self, obj, given=given: given})
        assert client_of(("/feed", compatible)).get("/feed").data == plain


def test_links_and_one_enclosure(posts: type[Posts]) -> None:
    posts.links = [("license", "/licence")]  # type: ignore[attr-defined]
    posts.item_enclosures = lambda self, item: Enclosure("/a.mp3", "3", "audio/mpeg")  # type: ignore[method-assign]
    document = client_of(("/feed", posts)).get("/feed").data
    assert links(document)["license"] == "http://localhost/licence"
    (first, _) = etree.fromstring(document).iter("enclosure")
    assert first.get("url") == "http://localhost/a.mp3"


# --- formats -----------------------------------------------------------------------------------------


@pytest.fixture
def several(posts: type[Posts]) -> type[Posts]:
    posts.feed_types = (Atom1Feed, Rss201rev2Feed)
    return posts


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/rss+xml", "application/rss+xml"),
        ("application/atom+xml;q=0.5, application/rss+xml", "application/rss+xml"),
        ("application/xml", "application/atom+xml"),
        ("*/*", "application/atom+xml"),
        ("text/html", "application/atom+xml"),
        ("", "application/atom+xml"),
    ],
)
def test_one_url_in_the_format_that_is_accepted(several: type[Posts], accept: str, media_type: str) -> None:
    answer = client_of(("/feed", several)).get("/feed", headers={"Accept": accept})
    assert answer.mimetype == media_type
    assert answer.headers["Vary"] == "Accept"


def test_one_url_in_the_format_that_is_named(several: type[Posts]) -> None:
    client = client_of(("/feed", several))
    answer = client.get("/feed?format=rss&utm_source=x", headers={"Accept": "application/atom+xml"})
    assert answer.mimetype == "application/rss+xml"
    assert "Vary" not in answer.headers
    assert links(answer.data)["self"] == "http://localhost/feed?format=rss"
    assert client.get("/feed?format=html").status_code == 404


def test_formats_have_validators_of_their_own(several: type[Posts]) -> None:
    several.last_modified = lambda self, obj: NOON  # type: ignore[attr-defined]
    client = client_of(("/feed", several))
    tags = {client.head(f"/feed?format={name}").headers["ETag"] for name in ("rss", "atom")}
    assert len(tags) == 2


# --- parts -------------------------------------------------------------------------------------------


class Query:
    """A query as SQLAlchemy has them: it is asked for a slice or for its count."""

    def __init__(self, several: list[Post]) -> None:
        self.several = several

    def __getitem__(self, part: slice) -> list[Post]:
        assert part.stop is not None
        return self.several[part]

    def count(self) -> int:
        return len(self.several)


@pytest.mark.parametrize("made", [list, tuple, Query, iter])
def test_pages(posts: type[Posts], made: Any) -> None:
    posts.paginate_by = 2
    posts.items = lambda self: made([Post(number) for number in range(5)])  # type: ignore[method-assign]
    client = client_of(("/feed", posts))
    base = "http://localhost/feed"
    pages = [client.get(f"/feed{query}").data for query in ("", "?page=2", "?page=3")]
    assert [len(titles(page)) for page in pages] == [2, 2, 1]
    last = {} if made is iter else {"last": f"{base}?page=3"}
    assert links(pages[0]) == {"self": base, "first": base, "next": f"{base}?page=2"} | last
    assert (
        links(pages[1])
        == {
            "self": f"{base}?page=2",
            "first": base,
            "previous": base,
            "next": f"{base}?page=3",
        }
        | last
    )
    assert (
        links(pages[2])
        == {
            "self": f"{base}?page=3",
            "first": base,
            "previous": f"{base}?page=2",
        }
        | last
    )
    for page in ("4", "0", "-1", "x", "", "1.5", "\uff19", "9" * 5000):
        assert client.get("/feed", query_string={"page": page}).status_code == 404, page


def test_archives(posts: type[Posts]) -> None:
    days = [date(2026, 5, 3), date(2026, 5, 1), date(2026, 3, 9), date(2025, 12, 31)]
    posts.posts = [Post(number, day) for number, day in enumerate(days)]
    posts.archive_by = "month"
    posts.feed_type = Atom1Feed
    client = client_of(("/feed", posts))
    base = "http://localhost/feed"
    current = client.get("/feed").data
    assert len(titles(current)) == 2
    assert links(current)["prev-archive"] == f"{base}?archive=2026-03"
    assert b"fh:archive" not in current
    march = client.get("/feed?archive=2026-03").data
    assert titles(march) == ["Post &lt;2&gt;"]
    assert {rel: href for rel, href in links(march).items() if rel not in ("alternate", "self")} == {
        "current": base,
        "prev-archive": f"{base}?archive=2025-12",
    }
    december = client.get("/feed?archive=2025-12").data
    assert links(december)["next-archive"] == f"{base}?archive=2026-03"
    root = etree.fromstring(december)
    assert len(root.findall("{http://purl.org/syndication/history/1.0}archive")) == 1
    for other in ("2026-05", "2024-01", "x", ""):
        assert client.get("/feed", query_string={"archive": other}).status_code == 404


def test_archives_need_a_period_and_dates(posts: type[Posts]) -> None:
    posts.archive_by = "fortnight"
    with pytest.raises(Exception, match="archive_by is 'fortnight': it must be one of year, month, day"):
        client_of(("/feed", posts)).get("/feed")
