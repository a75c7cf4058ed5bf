"""Doctor at a URL: what a subscriber sees there, and whether hubs reach our callbacks."""

from __future__ import annotations

import itertools
import socket
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from flask import abort, redirect
from flask import request as current_request
from flask_wtf import CSRFProtect
from werkzeug.wrappers import Response

from flask_linkback import CallbackView, Feed
from flask_linkback.feeds.generators import Atom1Feed
from flask_linkback.models import (
    Content,
    Job,
    Subscription,
    SubscriptionRequest,
    SubscriptionState,
    digest,
)
from flask_linkback.protocols.signatures import sign
from flask_linkback.websub import rehearsing
from tests.apps import Blog
from tests.cli.commands import Ran, ended, run
from tests.neighbours import Answer, Neighbour, Request, Wire
from tests.pingback.tools import NOON, Clock, request, rows
from tests.websub.conftest import blogs, clock, hasty, neighbour, nowhere, serve, tidy
from tests.websub.following import Heard, feed

__all__ = ["blogs", "clock", "hasty", "neighbour", "nowhere", "serve", "tidy"]

ATOM = [("Content-Type", "application/atom+xml")]
Found = list[tuple[str, str, str]]
STEPS = [
    ("ok", "A hub asks whether we meant it: 200."),
    ("ok", "A hub asks about a topic that nobody wants: 404."),
    ("ok", "A stranger brings content, with a wrong signature: 403."),
    ("ok", "A hub brings content, signed as it should be: 202."),
]


@pytest.fixture
def blog(serve: Callable[..., Blog], sqlite_url: str) -> Blog:
    return serve(sqlite_url)


class Latest(Feed):
    feed_type = Atom1Feed
    title = "Latest"
    link = "/"
    description = ""

    def items(self, obj: Any) -> list[str]:
        return []


def doctor(blog: Blog, url: str) -> tuple[Ran, dict[str, Found]]:
    """Return what the command says, and by check: mark, what and advice."""
    ran = run(blog, "doctor", url, "--json")
    said: dict[str, Found] = {"topic": [], "hub": [], "callback": []}
    for each in ran.json["findings"]:
        assert each["mark"] == "note" or bool(each["advice"]) is (each["mark"] != "ok")
        said.setdefault(each["check"], []).append((each["mark"], each["what"], each["advice"]))
    assert ran.status == (0 if ran.json["ok"] else 1)
    return ran, said


def what(found: Found, mark: str) -> list[str]:
    return [said for how, said, _ in found if how == mark]


def nothing_is_left(blog: Blog) -> bool:
    return not any(rows(blog, each) for each in (Subscription, SubscriptionRequest, Content, Job))


def serve_feed(neighbour: Neighbour, *, path: str = "/feed", link: bool = False, **options: Any) -> str:
    """Let a neighbour serve a feed with a hub, which answers no GET; return its URL."""
    url, hub = neighbour.url(path), neighbour.url("/hub")
    neighbour.answer("/hub", status=405)
    headers = [*ATOM, ("Link", f'<{hub}>; rel="hub", <{url}>; rel="self"')] if link else ATOM
    body = feed("1", **{"self_url": url, "hubs": (hub,), **options})
    neighbour.answer(path, body=body, headers=headers)
    return url


# --- what a subscriber sees ----------------------------------------------------------------------------


def test_a_feed_that_can_be_followed(
    serve: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog, url, hub = serve(database_url), serve_feed(neighbour, link=True), neighbour.url("/hub")
    heard = Heard(blog)
    ran, said = doctor(blog, url)
    assert ran.status == 0
    assert [each[:2] for each in said["topic"]] == [
        ("ok", f"{url} answers 200 (application/atom+xml)."),
        ("ok", f'rel="hub" {hub}: used. A hub of the Link header.'),
        ("note", f'rel="hub" {hub}: not used. The Link header goes first.'),
        ("ok", f'rel="self" {url}: used. The topic URL of the Link header.'),
        ("note", f'rel="self" {url}: not used. The Link header goes first.'),
        ("ok", f"The topic is {url}, where it was found."),
        ("ok", "Header and document agree."),
        ("ok", "HEAD says the same as GET."),
    ]
    assert [each[:2] for each in said["hub"]] == [
        ("ok", f"The hub {hub} is there (405)."),
        ("warning", f"{hub} is no https URL: secrets would go to it in the clear."),
    ]
    assert [each[:2] for each in said["callback"]] == STEPS
    assert nothing_is_left(blog)
    assert heard.names == []


def test_a_hub_is_asked_nothing(blog: Blog, neighbour: Neighbour) -> None:
    url = serve_feed(neighbour)
    doctor(blog, url)
    asked = [each for each in neighbour.requests if each.path.startswith("/hub")]
    assert [(each.method, each.path, each.body) for each in asked] == [("GET", "/hub", b"")]


def test_people_read_lines(blog: Blog, neighbour: Neighbour) -> None:
    ran = run(blog, "doctor", serve_feed(neighbour))
    assert ran.status == 0
    assert ran.lines[-4:] == [f"✓ {step}" for _, step in STEPS]
    assert (
        "  By default it gets none, and what it delivers is not signed (LINKBACK_WEBSUB_SECRETS)."
        in ran.lines
    )


def test_doctor_runs_in_another_process_than_the_site(
    serve: Callable[..., Blog],
    database_url: str,
    neighbour: Neighbour,
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    keys = [Fernet.generate_key().decode()]
    blog, url = serve(database_url, SECRET_KEYS=keys), serve_feed(neighbour)
    settings = {"database_url": database_url, "base_url": blog.base_url, "SECRET_KEYS": keys}
    ran = ended(start(settings, "doctor", url))
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.lines[-4:] == [f"✓ {step}" for _, step in STEPS]
    assert nothing_is_left(blog)


def test_redirects_are_followed_and_told(blog: Blog, neighbour: Neighbour) -> None:
    url = serve_feed(neighbour)
    neighbour.answer("/old", status=301, headers=[("Location", "/feed")])
    ran, said = doctor(blog, neighbour.url("/old"))
    assert ran.status == 0
    assert said["topic"][0][:2] == ("note", f"{neighbour.url('/old')} leads to {url} (301).")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(body=feed("1"), headers=ATOM), "names no hub: nobody can subscribe."),
        (Answer(body=b"text"), "names no hub: nobody can subscribe."),
        (Answer(status=404), "answers 404: there is nothing to follow."),
        (Answer(status=500, body=feed(hubs=("https://hub.example/",))), "answers 500: there is nothing to"),
        (Answer(status=302, headers=[("Location", "http://10.0.0.1/")]), "is not fetched: The host has an"),
        (Answer(status=302, headers=[("Location", "/feed")]), "cannot be fetched: The page redirects too"),
    ],
)
def test_what_nobody_can_subscribe_to(blog: Blog, neighbour: Neighbour, answer: Answer, told: str) -> None:
    neighbour.route("/feed", answer)
    ran, said = doctor(blog, neighbour.url("/feed"))
    assert ran.status == 1
    (failure,) = what(said["topic"], "failure")
    assert told in failure
    assert said["hub"] == []
    assert [each[:2] for each in said["callback"]] == STEPS  # all the same


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/feed", "http://127.0.0.1:1/", "https://u:p@a.example/", "http://[/", "https:///"]
)
def test_what_is_not_fetched(blog: Blog, url: str) -> None:
    ran, said = doctor(blog, url)
    assert (ran.status, len(said["topic"]), said["topic"][0][0]) == (1, 1, "failure")
    assert "fetched" in said["topic"][0][1]


def test_a_hub_that_is_known_without_being_named(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    """YouTube's, which is not asked here: no port is open to us."""
    blog = blogs(sqlite_url, ALLOW_PORTS=[1])
    _, said = doctor(blog, "https://www.youtube.com/feeds/videos.xml?channel_id=x")
    hub = "https://pubsubhubbub.appspot.com/subscribe"
    assert what(said["topic"], "ok") == [f"The hub of this topic is known: {hub}. It need not be named."]
    assert what(said["hub"], "failure")[0].startswith(f"{hub} is not fetched: ")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ('<https://other.example/>; rel="hub"', "Header and document name different hubs: "),
        ('<https://other.example/>; rel="self"', "Header and document name different topic URLs: "),
    ],
)
def test_header_and_document_that_disagree(blog: Blog, neighbour: Neighbour, header: str, told: str) -> None:
    url = serve_feed(neighbour)
    body = feed("1", self_url=url, hubs=(neighbour.url("/hub"),))
    neighbour.answer("/feed", body=body, headers=[*ATOM, ("Link", header)])
    _, said = doctor(blog, url)
    assert any(each.startswith(told) for each in what(said["topic"], "warning"))


def test_a_head_that_says_something_else(blog: Blog, neighbour: Neighbour) -> None:
    url = serve_feed(neighbour, link=True)
    linked = neighbour._routes["/feed"]
    assert isinstance(linked, Answer)

    def forget(asked: Request, wire: Wire) -> None:
        answer = linked if asked.method == "GET" else Answer(headers=ATOM)
        wire.send(answer.dump(asked.method))

    neighbour.route("/feed", forget)
    assert what(doctor(blog, url)[1]["topic"], "warning") == [
        "The Link headers of HEAD and GET are not the same."
    ]

    def refuse(asked: Request, wire: Wire) -> None:
        answer = linked if asked.method == "GET" else Answer(status=405)
        wire.send(answer.dump(asked.method))

    neighbour.route("/feed", refuse)
    assert what(doctor(blog, url)[1]["topic"], "warning") == ["HEAD answers 405, GET 200."]


def test_a_topic_without_a_name(blog: Blog, neighbour: Neighbour) -> None:
    ran, said = doctor(blog, serve_feed(neighbour, self_url=""))
    assert ran.status == 0
    assert what(said["topic"], "warning")[0].startswith("It does not say what it is called: ")


def test_a_topic_that_leads_back_to_itself(blog: Blog, neighbour: Neighbour) -> None:
    url = serve_feed(neighbour)
    serve_feed(neighbour, path="/page", self_url=url)
    ran, said = doctor(blog, neighbour.url("/page"))
    assert ran.status == 0
    assert f"{url} leads back to itself." in what(said["topic"], "ok")


@pytest.mark.parametrize(
    ("there", "mark", "told"),
    [
        (Answer(status=404), "failure", "answers 404: a hub finds nothing to deliver there."),
        (Answer(body=feed(self_url="https://x.example/"), headers=ATOM), "warning", "calls itself https://x"),
        (
            Answer(body=feed(hubs=("https://x.example/",)), headers=ATOM),
            "warning",
            "names other hubs: https://x",
        ),
        (Answer(status=302, headers=[("Location", "http://10.0.0.1/")]), "failure", "is not fetched"),
    ],
)
def test_a_topic_that_leads_elsewhere(
    blog: Blog, neighbour: Neighbour, there: Answer, mark: str, told: str
) -> None:
    neighbour.route("/there", there)
    ran, said = doctor(blog, serve_feed(neighbour, self_url=neighbour.url("/there")))
    assert any(told in each for each in what(said["topic"], mark))
    assert ran.status == (mark == "failure")


@pytest.mark.parametrize("hub", ["http://10.0.0.1/", "http://127.0.0.1:1/", "https://nobody.invalid/hub"])
def test_a_hub_that_cannot_be_asked(blog: Blog, neighbour: Neighbour, hub: str) -> None:
    ran, said = doctor(blog, serve_feed(neighbour, hubs=(hub,)))
    assert (ran.status, said["hub"][0][0]) == (1, "failure")
    assert hub in said["hub"][0][1]
    # one that answers is enough to subscribe
    ran, said = doctor(blog, serve_feed(neighbour, hubs=(hub, neighbour.url("/hub"))))
    assert (ran.status, said["hub"][0][0]) == (0, "warning")


def test_a_hub_in_trouble(blog: Blog, neighbour: Neighbour) -> None:
    url = serve_feed(neighbour)
    neighbour.answer("/hub", status=503)
    ran, said = doctor(blog, url)
    assert ran.status == 0
    assert what(said["hub"], "warning")[0] == f"The hub {neighbour.url('/hub')} answers 503."


_BOMB = b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>]><feed xmlns='http://www.w3.org/2005/Atom'>&a;</feed>"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (_BOMB, ATOM),
        (b"<a>" * 100_000, ATOM),
        (b"<div>" * 100_000, [("Content-Type", "text/html")]),
        (b"\x00\xff" * 5000, [("Content-Type", "text/html; charset=\x80")]),
        (b'{"hubs": ' + b"[" * 50_000, [("Content-Type", "application/feed+json")]),
        (feed(hubs=("javascript:alert(1)", "http://[", "file:///etc/passwd")), ATOM),
        (feed(hubs=tuple(f"http://127.0.0.1:1/{'x' * 5000}{n}" for n in range(30))), ATOM),
        (feed(self_url=f"http://127.0.0.1:1/{'x' * 100_000}"), ATOM),
        (feed(hubs=("http://127.0.0.1:1/&#x202e;&#x9b;31m",), self_url="&#x202e;"), ATOM),
        (b"", [("Content-Type", "a\x1b[2J" + "x" * 5000), ("Link", "<" * 5000)]),
        (b"", [("Link", '<?hub.mode=subscribe>; rel="hub self"')]),
    ],
)
def test_pages_that_mean_harm(
    blog: Blog, neighbour: Neighbour, body: bytes, headers: list[tuple[str, str]]
) -> None:
    neighbour.answer("/feed", body=body, headers=headers)
    _, said = doctor(blog, neighbour.url("/feed"))
    assert said["topic"] != []
    assert [each[:2] for each in said["callback"]] == STEPS
    assert all(len(each) < 5000 for found in said.values() for _, each, _ in found)
    shown = run(blog, "doctor", neighbour.url("/feed")).stdout
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
    assert nothing_is_left(blog)


# --- a topic of ours -----------------------------------------------------------------------------------


def serve_own(blog: Blog, **members: Any) -> str:
    kind = type("Own", (Latest,), members)
    blog.app.add_url_rule("/feed.atom", view_func=kind.as_view("latest"))
    return f"{blog.base_url}/feed.atom"


def test_a_feed_of_ours_at_our_own_hub(serve: Callable[..., Blog], database_url: str) -> None:
    blog = serve(database_url, HUB_ENABLED=True)
    url = serve_own(blog)
    for spelled in ("/feed.atom", url, f"{url}?utm_source=x"):
        ran, said = doctor(blog, spelled)
        assert ran.status == 0, ran.stdout
        assert said["topic"][-1][:2] == (
            "ok",
            "It is called as the site publishes it, and names the hubs that are told.",
        )
    assert said["hub"][0][:2] == ("ok", f"{blog.base_url}/linkback/hub is our own hub.")
    assert [each[:2] for each in said["callback"]] == STEPS
    assert what(said["hubs"], "ok") == [f"Topics have the hubs {blog.base_url}/linkback/hub."]
    assert nothing_is_left(blog)


def test_a_feed_of_ours_without_a_hub(blog: Blog) -> None:
    ran, said = doctor(blog, serve_own(blog))
    assert ran.status == 1
    ((_, told, advice),) = [each for each in said["topic"] if each[0] == "failure"]
    assert "names no hub" in told
    assert "LINKBACK_HUBS" in advice


def test_a_hub_of_ours_that_is_switched_off(blog: Blog) -> None:
    url = serve_own(blog, hub=f"{blog.base_url}/linkback/hub")
    ran, said = doctor(blog, url)
    assert ran.status == 1
    assert "there is no hub: 404" in what(said["hub"], "failure")[0]


@pytest.mark.parametrize(
    ("old", "new", "mark", "told"),
    [
        ("/feed.atom", "/other.atom", "failure", "Hubs are told of "),
        ("/told", "/else", "failure", "It names hubs that are never told: "),
        ("/and", "/told", "warning", "Hubs are told that it does not name: "),
    ],
)
def test_a_feed_of_ours_that_is_changed_on_its_way(
    serve: Callable[..., Blog],
    sqlite_url: str,
    neighbour: Neighbour,
    old: str,
    new: str,
    mark: str,
    told: str,
) -> None:
    neighbour.default(Answer(status=405))
    blog = serve(sqlite_url, HUBS=[neighbour.url("/told"), neighbour.url("/and")])
    url = serve_own(blog)

    def change(response: Response) -> Response:
        if current_request.endpoint != "latest":
            return response
        links = [each.replace(old, new) for each in response.headers.getlist("Link")]
        response.headers.setlist("Link", links)
        response.set_data(response.get_data(as_text=True).replace(old, new))
        return response

    blog.app.after_request_funcs.setdefault(None, []).insert(0, change)
    _, said = doctor(blog, url)
    assert any(each.startswith(told) for each in what(said["topic"], mark))


def test_a_page_that_only_accepts_linkbacks_is_no_topic(blog: Blog) -> None:
    with blog.app.app_context():
        blog.add("one")
    ran, said = doctor(blog, "/post/one")
    assert ran.status == 0
    assert (said["topic"], said["hub"], said["callback"]) == ([], [], [])
    assert what(said["advertised"], "ok")[0].startswith(f"{blog.base_url}/post/one says")


def test_a_topic_is_not_asked_to_accept_linkbacks(blog: Blog, neighbour: Neighbour) -> None:
    _, said = doctor(blog, serve_feed(neighbour))
    assert what(said["advertised"], "warning") == ["No page to try."]
    assert what(doctor(blog, "/nowhere")[1]["advertised"], "failure") == [
        f"{blog.base_url}/nowhere is no page of this site."
    ]


# --- our own callback ----------------------------------------------------------------------------------


def _stop(status: int) -> Callable[[], Any]:
    return lambda: abort(status)


@pytest.mark.parametrize(
    ("stop", "told", "advice"),
    [
        (_stop(403), "403 instead of 200.", "A CSRF check, password, firewall or proxy may stop it"),
        (_stop(404), "404 instead of 200.", "with the same database and settings?"),
        (_stop(500), "500 instead of 200.", "See the log of the application"),
        (lambda: redirect("https://www.blog.example/"), "302 instead of 200.", "https://www.blog.example/"),
        (lambda: "<title>Parked</title>", "200, but not with the challenge.", "is LINKBACK_BASE_URL that of"),
        (lambda: ("", 207), "207 instead of 200.", "Something else answers at"),
    ],
)
def test_a_site_that_keeps_hubs_out(
    blog: Blog, neighbour: Neighbour, stop: Callable[[], Any], told: str, advice: str
) -> None:
    url = serve_feed(neighbour)

    @blog.app.before_request
    def keep_out() -> Any:
        return stop() if current_request.path.startswith("/linkback/websub/") else None

    ran, said = doctor(blog, url)
    assert ran.status == 1
    mark, first, advised = said["callback"][0]
    assert (mark, first) == ("failure", f"A hub asks whether we meant it: {told}")
    assert advice in advised
    assert nothing_is_left(blog)


def test_a_check_that_stops_posts_is_found(blog: Blog, neighbour: Neighbour) -> None:
    url = serve_feed(neighbour)

    @blog.app.before_request
    def keep_out() -> Any:
        is_ours = current_request.path.startswith("/linkback/websub/")
        return ("The CSRF token is missing.", 400) if is_ours and current_request.method == "POST" else None

    ran, said = doctor(blog, url)
    assert ran.status == 1
    assert [each[:2] for each in said["callback"]] == [
        *STEPS[:2],
        ("failure", "A stranger brings content, with a wrong signature: 400 instead of 403."),
        ("failure", "A hub brings content, signed as it should be: 400 instead of 202."),
    ]
    assert nothing_is_left(blog)


def test_csrf_protection_is_no_hindrance(blog: Blog, neighbour: Neighbour) -> None:
    CSRFProtect(blog.app)
    _, said = doctor(blog, serve_feed(neighbour))
    assert [each[:2] for each in said["callback"]] == STEPS


def test_an_address_where_nobody_is(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    blog = blogs(sqlite_url, base_url=f"http://127.0.0.1:{port}")
    ran, said = doctor(blog, serve_feed(neighbour))
    assert ran.status == 1
    ((mark, told, advice),) = said["callback"]
    assert (mark, told) == (
        "failure",
        f"{blog.base_url}/linkback/websub/... cannot be fetched: The server does not take the connection.",
    )
    assert f"Is LINKBACK_BASE_URL right, and the site served there? It is {blog.base_url}." in advice
    assert nothing_is_left(blog)


def test_another_application_at_our_address(
    serve: Callable[..., Blog],
    blogs: Callable[..., Blog],
    sqlite_url: str,
    tmp_path: Any,
    neighbour: Neighbour,
) -> None:
    """Its tables do not have what we wrote to ours."""
    other = serve(f"sqlite:///{tmp_path}/other.db")
    blog = blogs(sqlite_url, base_url=other.base_url)
    _, said = doctor(blog, serve_feed(neighbour))
    assert said["callback"][0][:2] == ("failure", "A hub asks whether we meant it: 404 instead of 200.")
    assert nothing_is_left(blog)


def test_an_address_that_we_do_not_talk_to_is_not_tried(serve: Callable[..., Blog], sqlite_url: str) -> None:
    blog = serve(sqlite_url, ALLOW_NETWORKS=(), HUB_ENABLED=True)
    url = serve_own(blog)
    ran, said = doctor(blog, url)
    assert ran.status == 0
    for name, purpose in (("topic", "topic"), ("callback", "callback")):
        ((mark, told, advice),) = said[name]
        assert mark == "warning"
        assert "cannot be tried from here: The host has an address that is not public" in told
        assert f'LINKBACK_ALLOW_NETWORKS = {{"{purpose}": ["ADDRESS/32"]}}' in advice
    blog = serve(sqlite_url, ALLOW_NETWORKS={"topic": "127.0.0.0/8"}, HUB_ENABLED=True)
    ran, said = doctor(blog, serve_own(blog))
    assert (ran.status, said["hub"][0][0], '{"hub": ["ADDRESS/32"]}' in said["hub"][0][2]) == (
        0,
        "warning",
        True,
    )
    assert nothing_is_left(blog)


def test_without_an_address_or_a_callback(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, base_url=None)
    _, said = doctor(blog, "https://topic.invalid/feed")
    assert what(said["callback"], "failure") == ["Hubs cannot call back: there is no public address."]


def test_settings_of_signatures_count(
    serve: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = serve(sqlite_url, WEBSUB_MIN_ALGORITHM="sha512", WEBSUB_BAD_SIGNATURE_STATUS=202)
    _, said = doctor(blog, serve_feed(neighbour))
    assert [each[0] for each in said["callback"]] == ["ok"] * 4
    assert said["callback"][2][1].endswith("signature: 202.")


# --- nothing of it is heard ----------------------------------------------------------------------------


class Keen(CallbackView):
    """An application that does something in the hub's request."""

    def handle_content(self, subscription: Any, content: Any) -> None:
        raise AssertionError("The application heard of it.")


def test_the_application_hears_nothing_whatever_runs(
    serve: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    """Not even where jobs are done by who commits them, and by no view of its own."""
    for number, settings in enumerate(({"RUNNER": "inline"}, {"callback_view": Keen}, {"RUNNER": "thread"})):
        blog = serve(database_url, **settings)
        heard, committed = Heard(blog), itertools.count()
        with blog.app.app_context():
            engine = blog.db.engine

        def spy(connection: Any, *, engine: Any = engine, committed: Any = committed) -> None:
            next(committed)
            assert connection.scalar(sa.select(sa.func.count()).select_from(Content)) == 0
            assert connection.scalar(sa.select(sa.func.count()).select_from(Job)) == 0

        sa.event.listen(engine, "commit", spy)
        _, said = doctor(blog, serve_feed(neighbour))
        sa.event.remove(engine, "commit", spy)
        assert [each[:2] for each in said["callback"]] == STEPS, number
        assert next(committed) > 0
        assert heard.names == []
        assert nothing_is_left(blog)


def test_the_callback_of_a_rehearsal_does_nothing_else(
    serve: Callable[..., Blog], database_url: str, clock: Clock
) -> None:
    blog = serve(database_url)
    heard = Heard(blog)
    with blog.app.app_context():
        rehearsing._begin(blog.site, "token", "secret")
    before = [{**vars(each), "_sa_instance_state": None} for each in rows(blog, SubscriptionRequest)]
    url = f"{blog.base_url}/linkback/websub/token"
    for mode, status in (("unsubscribe", 404), ("denied", 404), ("publish", 400), ("subscribe", 200)):
        query = {
            "hub.mode": mode,
            "hub.topic": rehearsing._TOPIC,
            "hub.challenge": "c",
            "hub.lease_seconds": "9",
        }
        assert request("GET", f"{url}?{urlencode(query)}")[0] == status
    for body in (b"", b"\x00" * 100):
        assert request("POST", url, body, {"X-Hub-Signature": sign("secret", body)})[0] == 202
    assert rows(blog, Content) == rows(blog, Job) == []
    assert heard.names == []
    after = [{**vars(each), "_sa_instance_state": None} for each in rows(blog, SubscriptionRequest)]
    assert str(after) == str(before)
    clock.move(600)
    assert request("GET", f"{url}?{urlencode(query)}")[0] == 410


def test_what_a_killed_doctor_left_is_forgotten(blog: Blog, neighbour: Neighbour, clock: Clock) -> None:
    with blog.app.app_context():
        rehearsing._begin(blog.site, "killed", "secret")
    url = serve_feed(neighbour)
    doctor(blog, url)
    assert [each.token for each in rows(blog, SubscriptionRequest)] == ["killed"]  # it may run yet
    clock.move(601)
    doctor(blog, url)
    assert nothing_is_left(blog)


def test_an_interrupted_doctor_forgets(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(blog.site.fetch, "post", interrupt)
    with blog.app.app_context(), pytest.raises(KeyboardInterrupt):
        rehearsing.rehearse(blog.site)
    assert nothing_is_left(blog)


# --- what is followed and published --------------------------------------------------------------------


def _subscribed(blog: Blog, **values: Any) -> None:
    with blog.app.app_context():
        url = f"https://topic.example/{len(rows(blog, Subscription))}"
        fields = {"key": digest(url), "page_url": url, "topic_url": url, "topic_key": digest(url)}
        blog.db.session.add(Subscription(**{**fields, "created_at": NOON, **values}))
        blog.db.session.commit()


def test_subscriptions_in_trouble(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url)

    def told() -> tuple[str, str]:
        findings = run(blog, "doctor", "--json").json["findings"]
        one = next(each for each in findings if each["check"] == "subscriptions")
        return one["mark"], one["what"]

    assert told() == ("ok", "No topic is followed.")
    active = SubscriptionState.active
    _subscribed(blog, state=active, lease_expires_at=NOON + timedelta(days=1))
    _subscribed(blog, state=SubscriptionState.unsubscribed)
    assert told() == ("ok", "1 subscription, none in trouble.")
    _subscribed(blog, state=SubscriptionState.denied, reason="Not you")
    _subscribed(blog, state=active, silent=True, lease_expires_at=NOON)
    mark, what = told()
    assert mark == "warning"
    assert what.startswith(
        "3 subscriptions: 1 denied, 1 active past the end of the lease, 1 with a silent hub."
    )
    assert what.endswith(" The newest, https://topic.example/2: Not you")


@pytest.mark.parametrize(
    ("settings", "mark", "told"),
    [
        ({}, "ok", "Topics have no hub"),
        ({"HUBS": ["https://hub.example/"]}, "ok", "Topics have the hubs https://hub.example/."),
        ({"HUBS": ["https://hub.example/"], "RUNNER": "off"}, "warning", "nobody tells these"),
        ({"HUB_ENABLED": True, "base_url": None}, "failure", "nobody learns where the hub is"),
    ],
)
def test_hubs(
    blogs: Callable[..., Blog], sqlite_url: str, settings: dict[str, Any], mark: str, told: str
) -> None:
    findings = run(blogs(sqlite_url, **settings), "doctor", "--json").json["findings"]
    one = next(each for each in findings if each["check"] == "hubs")
    assert one["mark"] == mark
    assert told in one["what"]
