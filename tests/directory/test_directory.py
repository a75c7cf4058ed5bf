"""Directory: what weblogs may tell, what they hear, when they are listed, and what strangers cannot do."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from flask_wtf import CSRFProtect
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from flask_linkback.linkbacks import weblogs
from flask_linkback.models import Attempt, DirectoryPing, Host, Job, JobState, Weblog
from flask_linkback.outbox.chores import EVERY, Timetable
from tests.apps import Blog
from tests.cli.commands import run
from tests.moderation.test_erasing import everything
from tests.moderation.tools import block
from tests.neighbours import Neighbour
from tests.pingback.tools import CALLER, NOON, Clock, add, call, fault_of, heard, request, rows, work
from tests.thorough import examples

PING, EXTENDED = "weblogUpdates.ping", "weblogUpdates.extendedPing"
FORM, LIST, SHORT = "/linkback/pingSiteForm", "/linkback/changes.xml", "/linkback/shortChanges.xml"
HTML = [("Content-Type", "text/html; charset=utf-8")]
THANKS = {"flerror": False, "message": "Thanks for the ping."}


@pytest.fixture
def blogs(blogs: Callable[..., Blog]) -> Callable[..., Blog]:
    """A maker of blogs that are directories."""
    return lambda url, **settings: blogs(url, **{"DIRECTORY_SERVER": True, "content": None, **settings})


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock) -> Blog:
    return blogs(sqlite_url)


def page(neighbour: Neighbour, path: str = "/", **answer: Any) -> str:
    """Let there be a weblog at a path; return its URL."""
    neighbour.answer(path, **{"body": b"<title>Theirs</title>", "headers": HTML, **answer})
    return neighbour.url(path)


def listed(blog: Blog, path: str = LIST) -> list[dict[str, str]]:
    """Read a list: what is said of each weblog."""
    return [dict(each.attrib) for each in document(blog, path)]


def document(blog: Blog, path: str = LIST) -> Any:
    response = blog.app.test_client().get(path)
    assert (response.status_code, response.content_type) == (200, "application/xml; charset=utf-8")
    return etree.fromstring(response.data)


def get(blog: Blog, path: str = LIST, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return blog.app.test_client().get(path, headers=named)


def form(blog: Blog, *, method: str = "POST", caller: str = CALLER, **fields: str) -> tuple[int, str]:
    """Send a ping by the form; return the status and what was said."""
    sent: dict[str, Any] = {"query_string": fields} if method == "GET" else {"data": fields}
    environment = {"REMOTE_ADDR": caller}
    response = blog.app.test_client().open(FORM, method=method, environ_overrides=environment, **sent)
    assert response.content_type == "text/plain; charset=utf-8"
    assert len(response.text) <= 201
    return response.status_code, response.text.strip()


# --- what is told -----------------------------------------------------------------------------------


def test_a_weblog_is_listed_once_its_page_was_seen(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    blog = blogs(database_url)
    url = page(neighbour)
    with heard(blog) as said:
        assert call(blog, PING, "A blög & more", url) == THANKS
        assert (neighbour.requests, listed(blog)) == ([], [])
        assert work(blog) == 1
    assert said == []
    assert [each.method for each in neighbour.requests] == ["GET"]
    clock.move(7)
    (one,) = listed(blog)
    assert one == {"name": "A blög & more", "url": url, "when": "0"}
    (row,) = rows(blog, Weblog)
    assert (row.listed, row.number, row.pinged_at, row.reason) == (True, 1, NOON, "")
    assert rows(blog, Attempt)[0].status_code == 200
    assert rows(blog, Host)[0].leases == []


@pytest.mark.parametrize(
    "params",
    [
        ("/feed",),  # WordPress
        ("/post", "/feed"),  # weblogs.com
        ("", "/feed"),
        ("/post", "/feed", "cats|dogs"),
    ],
)
def test_an_extended_ping_names_the_feed(blog: Blog, neighbour: Neighbour, params: tuple[str, ...]) -> None:
    url = page(neighbour)
    sent = [neighbour.url(each) if each.startswith("/") else each for each in params]
    assert call(blog, EXTENDED, "Theirs", url, *sent) == THANKS
    work(blog)
    assert listed(blog) == [{"name": "Theirs", "url": url, "when": "0", "rssUrl": neighbour.url("/feed")}]


def test_a_plain_ping_may_name_the_page_that_changed(blog: Blog, neighbour: Neighbour) -> None:
    assert call(blog, PING, "Theirs", page(neighbour), neighbour.url("/post")) == THANKS
    work(blog)
    assert "rssUrl" not in listed(blog)[0]
    assert len(neighbour.requests) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_form_does_the_same(blog: Blog, neighbour: Neighbour, method: str) -> None:
    url, feed = page(neighbour), neighbour.url("/feed")
    assert form(blog, method=method, name="Theirs", url=url, changesURL=feed) == (200, "Thanks for the ping.")
    work(blog)
    assert listed(blog) == [{"name": "Theirs", "url": url, "when": "0", "rssUrl": feed}]


def test_who_only_looks_tells_nothing(blog: Blog, neighbour: Neighbour) -> None:
    fields = {"name": "Theirs", "url": page(neighbour)}
    response = blog.app.test_client().head(FORM, query_string=fields)
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
    assert rows(blog, Weblog) == []


def test_csrf_protection_does_not_concern_us(blog: Blog) -> None:
    CSRFProtect(blog.app)
    assert form(blog, name="A", url="https://a.example/")[0] == 200
    assert call(blog, PING, "B", "https://b.example/") == THANKS


def test_a_feed_elsewhere_is_left_out(blog: Blog, neighbour: Neighbour) -> None:
    """Anybody may send the ping of a weblog, with a feed of their own."""
    call(blog, EXTENDED, "Theirs", page(neighbour), "https://evil.example/feed")
    work(blog)
    assert "rssUrl" not in listed(blog)[0]


def test_the_methods_say_what_they_are(blog: Blog) -> None:
    assert {PING, EXTENDED, "pingback.ping"} <= set(call(blog, "system.listMethods"))
    signatures = call(blog, "system.methodSignature", EXTENDED)
    assert signatures == [["struct", *["string"] * number] for number in (3, 4, 5)]
    assert "flerror" in call(blog, "system.methodHelp", PING)
    shown = blog.app.test_client().get("/linkback/pingback").text
    assert EXTENDED in shown


# --- how often --------------------------------------------------------------------------------------


def test_a_weblog_is_one_entry_and_tells_once_in_an_interval(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    blog = blogs(database_url)
    url = page(neighbour)
    call(blog, PING, "Theirs", url)
    work(blog)
    clock.move(299)
    before = rows(blog, Weblog)[0].__dict__
    again = call(blog, PING, "Another name", f"{url}#there")
    assert again["flerror"] is False
    assert "know already" in again["message"]
    assert work(blog) == 0
    after = rows(blog, Weblog)[0].__dict__
    assert {**before, "_sa_instance_state": 0} == {**after, "_sa_instance_state": 0}
    clock.move(1)
    assert call(blog, PING, "Another name", url.replace("http://", "HTTP://")) == THANKS
    assert listed(blog) == []  # until it was looked at
    work(blog)
    assert [(each["name"], each["when"]) for each in listed(blog)] == [("Another name", "0")]
    assert len(rows(blog, Weblog)) == 1
    assert document(blog).get("count") == "2"


def test_the_same_ping_many_times_at_once_is_one_entry(
    serve: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = serve(database_url, DIRECTORY_SERVER=True, content=None)
    sent = urlencode({"name": "Theirs", "url": page(neighbour)})
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: request("GET", f"{blog.base_url}{FORM}?{sent}"), range(16))
        assert {status for status, _, _ in answers} == {200}
    assert len(rows(blog, Weblog)) == 1
    work(blog)
    assert (len(listed(blog)), len(neighbour.requests)) == (1, 1)


def test_interval_zero_is_no_interval(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, DIRECTORY_INTERVAL_SECONDS=0)
    assert [call(blog, PING, name, page(neighbour)) for name in "ab"] == [THANKS, THANKS]
    assert [(each.name, len(rows(blog, Job))) for each in rows(blog, Weblog)] == [("b", 1)]


def test_callers_have_a_limit(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock) -> None:
    blog = blogs(sqlite_url, RATE_LIMITS={"caller": 2})
    public = "93.184.215.14"
    for number in range(2):
        assert form(blog, caller=public, name="A", url=f"https://a{number}.example/")[0] == 200
    refused = call(blog, PING, "A", "https://a.example/", caller=public)
    assert refused == {"flerror": True, "message": "Too many pings: please come back later."}
    fields, environment = {"name": "A", "url": "https://a.example/"}, {"REMOTE_ADDR": public}
    response = blog.app.test_client().post(FORM, data=fields, environ_overrides=environment)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "60")
    assert call(blog, PING, "A", "https://a.example/", caller="93.184.215.15") == THANKS
    clock.move(60)
    assert call(blog, PING, "A", "https://b.example/", caller=public) == THANKS


def test_a_host_is_asked_as_often_as_its_limit_says(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    blog = blogs(database_url, RATE_LIMITS={"source_host": 2})
    for path in ("/a", "/b", "/c"):
        call(blog, PING, path, page(neighbour, path))
    work(blog)
    assert len(neighbour.requests) == 2
    clock.move(61)
    work(blog)
    assert len(neighbour.requests) == len(listed(blog)) == 3


# --- what is not taken ------------------------------------------------------------------------------

REFUSED: list[tuple[str, str, str]] = [
    ("", "https://a.example/", ""),
    ("<b> </b>\u200b", "https://a.example/", ""),
    ("A", "", ""),
    ("A", "ftp://a.example/", ""),
    ("A", "javascript:alert(1)", ""),
    ("A", "https://", ""),
    ("A", "https://user:secret@a.example/", ""),
    ("A", "https://a.example/" + "x" * 3000, ""),
    ("A", "http://10.0.0.1/", ""),
    ("A", "http://0x0a.1/", ""),
    ("A", "http://[::1]/", ""),
    ("A", "http://localhost/", ""),
    ("A", "http://printer.local/", ""),
    ("A", "https://a.example/", "file:///etc/passwd"),
]


def test_what_is_wrong_is_said_and_nothing_is_written(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url, ALLOW_NETWORKS=(), RATE_LIMITS={"caller": None})
    for name, url, feed in REFUSED:
        answer = call(blog, EXTENDED, name, url, feed)
        assert answer["flerror"] is True, url
        assert 0 < len(answer["message"]) <= 200
        assert form(blog, name=name, url=url, changesURL=feed) == (400, answer["message"])
    assert rows(blog, Weblog) + rows(blog, Job) == []


def test_a_call_that_is_none_is_a_fault(blog: Blog) -> None:
    url = "https://a.example/"
    for method, params in (
        (PING, ()),
        (PING, ("A",)),
        (PING, ("A", url, "", "")),
        (PING, (1, url)),
        (EXTENDED, ("A", url)),
        (EXTENDED, ("A", url, "", "", "", "")),
        (EXTENDED, ("A", url, "", ["x"])),
    ):
        assert fault_of(call, blog, method, *params) == -32602
    assert rows(blog, Weblog) == []


def test_a_form_that_is_none_is_refused(blog: Blog) -> None:
    client = blog.app.test_client()
    assert client.post(FORM, data=b"{}", content_type="application/json").status_code == 415
    assert client.post(FORM, data={"name": "x" * 17_000}).status_code == 400
    fields = urlencode([("name", "A"), ("url", "https://a.example/")] + [("x", "")] * 20)
    assert client.get(f"{FORM}?{fields}").status_code == 400
    assert form(blog) == (400, "The name of the weblog is missing.")
    assert rows(blog, Weblog) == []


def test_who_is_blocked_is_refused_and_not_listed(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    url = page(neighbour)
    call(blog, PING, "Theirs", url)
    block(blog, "127.0.0.1")
    work(blog)
    assert (listed(blog), rows(blog, Weblog)[0].reason) == ([], "blocked")
    clock.move(300)
    refused = {"flerror": True, "message": "The weblog is not wanted here."}
    assert call(blog, PING, "Theirs", url) == refused
    assert form(blog, name="Theirs", url=url) == (403, refused["message"])


def test_who_is_blocked_with_a_sweep_goes_at_once(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    call(blog, PING, "Theirs", page(neighbour))
    work(blog)
    seen = get(blog).headers["Last-Modified"]
    clock.move(10)
    assert run(blog, "block", "add", "127.0.0.1", "--sweep").status == 0
    assert get(blog, If_Modified_Since=seen).status_code == 200
    assert listed(blog) == []


def test_who_is_erased_leaves_no_trace(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    blog = blogs(database_url)
    url = page(neighbour, "/joes-blog")
    call(blog, EXTENDED, "Joe", url, neighbour.url("/joes-feed"))
    work(blog)
    seen = get(blog).headers["Last-Modified"]
    clock.move(10)
    told = ("Joe", "joes", "127.0.0.1")
    assert all(each in everything(blog) for each in told)
    ran = run(blog, "erase", "--host", "127.0.0.1", "--yes", "--json")
    assert (ran.status, ran.json) == (0, {"mentions": [], "weblogs": [1], "subscribers": [], "erased": True})
    assert [each for each in told if each in everything(blog)] == []
    assert get(blog, If_Modified_Since=seen).status_code == 200
    assert listed(blog) == []
    clock.move(300)
    assert call(blog, PING, "Joe", url) == THANKS
    work(blog)
    assert [each["url"] for each in listed(blog)] == [url]
    assert run(blog, "erase", "--author", url, "--dry-run").lines == [
        f"Would empty weblog 1: {url}",
        "Would erase 1 weblog.",
    ]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 404}, "http_404"),
        ({"status": 410}, "http_410"),
        ({"headers": [("Content-Type", "application/rss+xml")]}, "not_html"),
    ],
)
def test_a_weblog_that_is_not_there_is_never_listed(
    blog: Blog, neighbour: Neighbour, answer: dict[str, Any], reason: str
) -> None:
    call(blog, PING, "Theirs", page(neighbour, **answer))
    work(blog)
    assert (listed(blog), rows(blog, Weblog)[0].reason) == ([], reason)
    assert [each.state for each in rows(blog, Job)] == [JobState.done]


def test_a_weblog_in_trouble_is_looked_at_again_while_it_would_be_listed(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    blog = blogs(database_url)
    call(blog, PING, "Theirs", page(neighbour, status=503))
    call(blog, PING, "Other", page(neighbour, "/other", status=503))
    work(blog)
    assert listed(blog) == []
    page(neighbour)
    clock.move(400)
    work(blog)
    assert [(each["name"], each["when"]) for each in listed(blog)] == [("Theirs", "400")]
    asked = len(neighbour.requests)
    clock.move(3 * 3600)
    work(blog)
    assert len(neighbour.requests) == asked
    assert listed(blog) == []


def test_a_redirect_to_a_blocked_host_is_no_way_in(blog: Blog, neighbour: Neighbour) -> None:
    there = page(neighbour, "/there").replace("127.0.0.1", "127.0.0.2")
    with Neighbour(host="127.0.0.2") as other:
        page(other, "/there")
        there = other.url("/there")
        neighbour.answer("/", status=302, headers=[("Location", there)])
        block(blog, "127.0.0.2")
        call(blog, PING, "Theirs", neighbour.url("/"))
        work(blog)
    assert (listed(blog), rows(blog, Weblog)[0].reason) == ([], "blocked")


# --- the lists --------------------------------------------------------------------------------------


def test_the_newest_first_for_three_hours(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    blog = blogs(database_url)
    assert document(blog).get("count") == "0"
    for path in ("/a", "/b"):
        call(blog, PING, path, page(neighbour, path))
        work(blog)
        clock.move(301)
    root = document(blog)
    assert (root.tag, root.get("version"), root.get("count")) == ("weblogUpdates", "2", "2")
    assert root.get("updated") == format_datetime(NOON + timedelta(seconds=301), usegmt=True)
    assert [(each["name"], each["when"]) for each in listed(blog)] == [("/b", "0"), ("/a", "301")]
    assert [each["name"] for each in listed(blog, SHORT)] == []
    clock.move(3 * 3600 - 602)
    assert [each["name"] for each in listed(blog)] == ["/b"]
    clock.move(301)
    root = document(blog)
    assert (len(root), root.get("count")) == (0, "2")
    assert root.get("updated") == format_datetime(NOON + timedelta(seconds=301 + 3 * 3600), usegmt=True)


def test_the_short_list_has_five_minutes(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    call(blog, PING, "Theirs", page(neighbour))
    work(blog)
    clock.move(299)
    assert len(listed(blog, SHORT)) == 1
    clock.move(1)
    assert (len(listed(blog, SHORT)), len(listed(blog))) == (0, 1)


@pytest.mark.parametrize("path", [LIST, SHORT])
def test_an_unchanged_list_is_not_sent_again(
    blog: Blog, neighbour: Neighbour, clock: Clock, path: str
) -> None:
    """A client that goes by the time alone sees every change: what comes, and what goes."""
    seen = [get(blog, path)]

    def changed() -> bool:
        """Whether a list is sent to who saw the last one; by its tag and by its time it is the same."""
        tag, moment = (seen[-1].headers[name] for name in ("ETag", "Last-Modified"))
        answers = [get(blog, path, If_None_Match=tag), get(blog, path, If_Modified_Since=moment)]
        assert len({each.status_code for each in answers}) == 1
        assert all(each.headers["Cache-Control"] == "max-age=60" for each in answers)
        if answers[0].status_code == 304:
            assert {each.data for each in answers} == {b""}
            return False
        seen.append(answers[0])
        return True

    assert not changed()
    clock.move(5.4)
    call(blog, PING, "Theirs", page(neighbour))
    assert not changed()
    work(blog)
    assert not changed()  # in this second somebody may have asked before
    clock.move(0.6)
    assert changed()
    assert not changed()
    clock.move(300)
    assert changed() == (path == SHORT)
    clock.move(3 * 3600)
    assert changed() == (path == LIST)
    assert not changed()


def test_what_a_list_says_of_itself(blog: Blog) -> None:
    response = get(blog)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["Last-Modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert blog.app.test_client().head(LIST).status_code == 200
    assert blog.app.test_client().post(LIST).status_code == 405


def test_names_are_text(blog: Blog, neighbour: Neighbour) -> None:
    hostile = '\u202e<script>alert(1)</script><b>Tom &amp; "Jerry"</b>\'s\n\t blog <i>' + "y" * 500
    call(blog, PING, hostile, page(neighbour))
    work(blog)
    name = listed(blog)[0]["name"]
    assert name.startswith('Tom & "Jerry"\'s blog yyy')
    assert (len(name), name[-1]) == (200, "…")


# --- bounds -----------------------------------------------------------------------------------------


def test_the_table_is_bounded(
    blogs: Callable[..., Blog], database_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    blog = blogs(database_url, RATE_LIMITS={"caller": None})
    monkeypatch.setattr(weblogs, "MAX_WEBLOGS", 5)
    monkeypatch.setattr(weblogs, "MAX_OF_A_HOST", 3)
    full = {"flerror": True, "message": "The directory is full: please come back later."}
    answers = [call(blog, PING, "A", f"https://a.example/{number}") for number in range(4)]
    assert answers == [THANKS, THANKS, THANKS, full]
    answers = [call(blog, PING, "A", f"https://b{number}.example/") for number in range(3)]
    assert answers == [THANKS, THANKS, full]
    assert form(blog, name="A", url="https://c.example/")[0] == 503
    clock.move(3 * 3600)  # who told long ago gives way
    assert call(blog, PING, "A", "https://c.example/") == THANKS
    assert [each.host for each in rows(blog, Weblog)] == ["c.example"]


def test_who_told_long_ago_is_forgotten(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    blog = blogs(database_url)
    for path in ("/a", "/b", "/none"):
        call(blog, PING, path, page(neighbour, path, status=404 if path == "/none" else 200))
        work(blog)
    chores = Timetable()
    chores.do(blog.site)
    assert len(rows(blog, Weblog)) == 3
    clock.move(3 * 3600 + EVERY.total_seconds())
    chores.do(blog.site)
    assert [each.name for each in rows(blog, Weblog)] == ["/b"]  # by it is known how often the list changed
    assert document(blog).get("count") == "2"


# --- the switch -------------------------------------------------------------------------------------


def test_with_the_setting_off_there_is_no_directory(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, DIRECTORY_SERVER=False)
    client = blog.app.test_client()
    assert [client.get(path).status_code for path in (FORM, LIST, SHORT)] == [404] * 3
    for method in (PING, EXTENDED):
        assert fault_of(call, blog, method, "A", page(neighbour), "") == -32601
        assert fault_of(call, blog, "system.methodHelp", method) == -32601
        assert fault_of(call, blog, "system.methodSignature", method) == -32601
    assert not [name for name in call(blog, "system.listMethods") if name.startswith("weblogUpdates")]
    assert "weblogUpdates" not in client.get("/linkback/pingback").text
    assert rows(blog, Weblog) + rows(blog, Job) == []


def test_with_the_setting_off_what_is_mounted_by_hand_is_not_there(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = blogs(sqlite_url, DIRECTORY_SERVER=False)
    blog.app.register_blueprint(blog.linkback.blueprints["directory"], url_prefix="/mine")
    assert blog.app.test_client().get("/mine/changes.xml").status_code == 404


def test_what_waited_is_left_alone_when_it_is_switched_off(blog: Blog, neighbour: Neighbour) -> None:
    call(blog, PING, "Theirs", page(neighbour))
    object.__setattr__(blog.site.settings.linkbacks, "directory_server", False)
    assert work(blog) == 1
    assert neighbour.requests == []


def test_a_directory_may_take_no_pingbacks(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, PROTOCOLS=())
    target = add(blog, "hello")
    assert call(blog, PING, "A", "https://a.example/") == THANKS
    assert fault_of(call, blog, "pingback.ping", "https://a.example/", target) == -32601
    assert "pingback.ping" not in call(blog, "system.listMethods")
    shown = blog.app.test_client().get("/linkback/pingback").text
    assert "pingback.ping" not in shown
    assert "X-Pingback" not in blog.app.test_client().get("/post/hello").headers


def test_an_application_may_have_methods_of_these_names(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, DIRECTORY_SERVER=False)
    blog.linkback.xmlrpc.register(PING, lambda name, url: f"{name} {url}")
    assert call(blog, PING, "a", "b") == "a b"


# --- two sites --------------------------------------------------------------------------------------


def test_a_site_tells_another_by_all_its_ways(
    serve: Callable[..., Blog], database_url: str, sqlite_url: str, clock: Clock
) -> None:
    """A model, ``publish`` and the command on one side; endpoint, worker and list on the other."""
    directory = serve(sqlite_url)
    there = f"{directory.base_url}/linkback/pingback"
    writer = serve(
        f"{database_url}2" if database_url == sqlite_url else database_url,
        DIRECTORIES=[there],
        SITE_NAME="A blög & more",
        DIRECTORY_SERVER=False,
    )

    @writer.app.get("/")
    def home() -> str:
        return "<title>Home</title>"

    writer.linkback.ping_directories(writer.Post, url="url", feed_url="/feed.atom")
    add(writer, "hello")
    assert work(writer) == 1
    assert [(each.success, each.message) for each in rows(writer, DirectoryPing)] == [
        (True, "Thanks for the ping.")
    ]
    assert listed(directory) == []
    assert work(directory) == 1
    entry = {
        "name": "A blög & more",
        "url": f"{writer.base_url}/",
        "when": "0",
        "rssUrl": f"{writer.base_url}/feed.atom",
    }
    assert listed(directory) == [entry]
    clock.move(300)
    with writer.app.app_context():
        writer.linkback.publish("/post/hello", html="<p>Hello")
        writer.db.session.commit()
    work(writer)
    work(directory)
    del entry["rssUrl"]  # of a plain ping
    assert listed(directory) == [entry]
    clock.move(300)
    ran = run(writer, "ping-directories", "/post/hello", "--feed", "/feed.atom")
    assert (ran.status, ran.lines) == (0, [f"told     {there}  Thanks for the ping."])
    work(directory)
    assert [each["when"] for each in listed(directory)] == ["0"]
    status, headers, body = request("GET", f"{directory.base_url}{LIST}")
    assert (status, headers["Content-Type"]) == (200, "application/xml; charset=utf-8")
    assert b"/feed.atom" in body
    assert headers["Last-Modified"] == format_datetime(datetime(2026, 3, 1, 12, 10, tzinfo=UTC), usegmt=True)


# --- whatever strangers send ------------------------------------------------------------------------

odd_text = st.text(
    alphabet=st.one_of(
        st.sampled_from("\0\x01\x1b\x7f\x85\ud800\ufffe\u202e\u2028%/\\?#&;:@[]é日😀 <>\"'\n\r\t"),
        st.characters(),
    ),
    max_size=40,
)
odd_urls = st.builds(
    lambda start, rest: start + rest,
    st.sampled_from(
        ["https://a.example/", "http://A.example:80/x?", "HTTPS://bücher.example", "http://[", ""]
    ),
    odd_text,
)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(name=odd_text, url=odd_urls, feed=odd_urls)
def test_whatever_strangers_send(fuzzed: Blog, name: str, url: str, feed: str) -> None:
    """The answer is a documented one, and what is taken stands in a list that can be read back."""
    sent = urlencode({"name": name, "url": url, "changesURL": feed}, errors="surrogatepass")
    response = fuzzed.app.test_client().get(f"{FORM}?{sent}")
    assert response.status_code in (200, 400)
    assert len(response.text) <= 201
    with fuzzed.app.app_context():  # as if each page had been seen
        fuzzed.db.session.execute(fuzzed.db.update(Weblog).values(listed=True, changed_at=NOON))
        fuzzed.db.session.commit()
    for each in document(fuzzed):
        assert each.get("name").strip() == each.get("name") != ""
        assert each.get("name").isprintable() or any(ord(letter) > 0xFF for letter in each.get("name"))
        for address in filter(None, (each.get("url"), each.get("rssUrl"))):
            assert address.startswith(("http://", "https://"))
            assert not set(address) & set("<>\"' \n\r\t\0")


@pytest.fixture
def fuzzed(blogs: Callable[..., Blog], database_url: str) -> Blog:
    """One directory for all that a fuzzer thinks of."""
    return blogs(database_url, RATE_LIMITS={"caller": None})


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(
    body=st.binary(max_size=200),
    params=st.lists(odd_text | st.integers(0, 9) | st.lists(odd_text), max_size=7),
)
def test_whatever_strangers_call(fuzzed: Blog, body: bytes, params: list[Any]) -> None:
    written = [value if not isinstance(value, str) else clean(value) for value in params]
    written = [[clean(each) for each in value] if isinstance(value, list) else value for value in written]
    codes = set()
    for method in (PING, EXTENDED):
        try:
            answer = call(fuzzed, method, *written)
        except xmlrpc.client.Fault as fault:
            codes.add(fault.faultCode)
        else:
            assert set(answer) == {"flerror", "message"}
            assert 0 < len(answer["message"]) <= 200
    assert codes <= {-32602}
    assert fuzzed.app.test_client().post(FORM, data=body).status_code in (400, 415)


def clean(text: str) -> str:
    """What an XML-RPC client can write."""
    return "".join(
        each for each in text if each >= " " and not "\ud800" <= each <= "\udfff" and each != "\ufffe"
    )
