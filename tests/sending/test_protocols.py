"""The sender's choice: webmention before pingback before trackback, one of them in each attempt."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa

from flask_linkback.models import Attempt, Link, LinkState
from tests.apps import Blog
from tests.neighbours import Answer, Neighbour, Request, Wire, hang_up
from tests.pingback.peers import XML
from tests.pingback.tools import Clock, add, edit, heard, link, names, pending, publish_now, rows, work

YES = b"<?xml version='1.0'?><response><error>0</error></response>"
NO = b"<?xml version='1.0'?><response><error>1</error><message>Go away.</message></response>"
OFFERS = {
    "webmention": '<a rel="webmention" href="/webmention?a=1&amp;b=2">w</a>',
    "pingback": '<link rel="pingback" href="{0}/pingback">',
    "trackback": '<link rel="trackback" href="/trackback">',
}


def linked(*urls: str) -> str:
    return " ".join(f'<a href="{url}">x</a>' for url in urls)


@dataclass
class There:
    """A page that offers what it is told to, and what its endpoints were sent."""

    neighbour: Neighbour
    answers: dict[str, Answer] = field(default_factory=dict)
    on_post: Callable[[], Any] = lambda: None

    def __post_init__(self) -> None:
        thanks = xmlrpc.client.dumps(("Thank you.",), methodresponse=True).encode()
        self.answers = {
            "webmention": Answer(status=202, body=b"Thank you.", headers=[("Content-Type", "text/plain")]),
            "pingback": Answer(body=thanks, headers=[XML]),
            "trackback": Answer(body=YES, headers=[XML]),
        }
        for name in self.answers:
            self.neighbour.route(f"/{name}", self._answer)

    def _answer(self, request: Request, wire: Wire) -> None:
        self.on_post()
        name = request.path[1:].partition("?")[0]
        wire.send(self.answers[name].dump(request.method))

    def offer(self, *protocols: str, path: str = "/page") -> str:
        body = "".join(OFFERS[each].format(self.neighbour.url("")) for each in protocols)
        self.neighbour.answer(path, body=body.encode(), headers=[("Content-Type", "text/html")])
        return self.neighbour.url(path)

    @property
    def told(self) -> list[str]:
        """The endpoints that were posted to."""
        return [each.path for each in self.neighbour.requests if each.method == "POST"]

    @property
    def forms(self) -> list[dict[str, list[str]]]:
        posts = [each for each in self.neighbour.requests if each.method == "POST"]
        return [parse_qs(each.body.decode(), keep_blank_values=True) for each in posts]


@pytest.fixture
def there(neighbour: Neighbour) -> There:
    return There(neighbour)


# --- which protocol -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "used", "remembered"),
    [
        (("trackback", "pingback", "webmention"), "webmention", ["webmention", "pingback", "trackback"]),
        (("trackback", "pingback"), "pingback", ["pingback", "trackback"]),
        (("pingback",), "pingback", ["pingback"]),
        (("trackback",), "trackback", ["trackback"]),
        ((), None, []),
    ],
)
def test_the_first_of_what_the_target_offers(
    blogs: Callable[..., Blog],
    database_url: str,
    there: There,
    offered: tuple[str, ...],
    used: str | None,
    remembered: list[str],
) -> None:
    blog = blogs(database_url, PROTOCOLS=())  # what is received makes no difference
    add(blog, "hello", html=linked(there.offer(*offered)))
    work(blog)
    told = link(blog)
    assert (told.protocol, told.offers) == (used, remembered)
    assert told.state is (LinkState.sent if used else LinkState.unsupported)
    assert [each.partition("?")[0] for each in there.told] == ([f"/{used}"] if used else [])


@pytest.mark.parametrize("status", [403, 500])
def test_no_second_protocol_in_the_same_attempt(blog: Blog, there: There, clock: Clock, status: int) -> None:
    there.answers["webmention"] = Answer(status=status, body=b"no")
    target = there.offer("webmention", "pingback", "trackback")
    add(blog, "hello", html=linked(target))
    work(blog)
    assert there.told == ["/webmention?a=1&b=2"]
    assert link(blog).state is (LinkState.refused if status == 403 else LinkState.waiting)
    assert link(blog).reason == f"The webmention endpoint answers {status}."
    there.offer("pingback")  # the next attempt looks again
    clock.move(10)
    work(blog)
    assert there.told[1:] == ([] if status == 403 else ["/pingback"])
    assert len(rows(blog, Attempt)) == (1 if status == 403 else 2)


# --- webmention -----------------------------------------------------------------------------------------


def test_a_webmention_is_a_form_with_two_fields(blog: Blog, there: There) -> None:
    target = there.offer("webmention") + "#part"
    source = add(blog, "hello", html=linked(target))
    with heard(blog) as said:
        work(blog)
    (post,) = [each for each in there.neighbour.requests if each.method == "POST"]
    assert post.path == "/webmention?a=1&b=2"  # the query stays in the URL
    assert post.header("Content-Type") == "application/x-www-form-urlencoded"
    assert there.forms == [{"source": [source], "target": [target]}]  # the target as it stands in the page
    assert (link(blog).answer, link(blog).status_code) == ("Thank you.", 202)
    assert names(said) == ["link_sent"]


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (Answer(status=200, body=b"<p>Thanks,</p><p>a lot.</p>"), "Thanks,\na lot."),
        (Answer(status=204), ""),
        (Answer(status=299, body=b"<&>", headers=[("Content-Type", "text/plain")]), "<&>"),
        (Answer(status=201, body=b"x", headers=[("Location", "/status/1")]), "{}/status/1"),
        (Answer(status=201, body=b"no address"), "no address"),
        (Answer(status=202, headers=[("Location", "/status/1")]), ""),
    ],
)
def test_every_2xx_is_a_success(
    blogs: Callable[..., Blog], sqlite_url: str, there: There, answer: Answer, kept: str
) -> None:
    blog = blogs(sqlite_url)
    there.answers["webmention"] = answer
    add(blog, "hello", html=linked(there.offer("webmention")))
    work(blog)
    told = link(blog)
    assert (told.state, told.status_code) == (LinkState.sent, answer.status)
    assert told.answer == kept.format(there.neighbour.url(""))
    assert rows(blog, Attempt)[-1].body == answer.body


STATUSES = {
    **dict.fromkeys((400, 403, 404, 405, 410), "refused"),
    **dict.fromkeys((301, 307, 408, 425, 429, 500, 503), "waiting"),
}


@pytest.mark.parametrize("protocol", ["webmention", "trackback"])
def test_what_each_status_means(blog: Blog, there: There, protocol: str) -> None:
    target = there.offer(protocol)
    for status, state in STATUSES.items():
        headers = [("Location", "/elsewhere"), ("Retry-After", "700")]
        there.answers[protocol] = Answer(status=status, body=b"for a reason", headers=headers)
        add(blog, f"status{status}", html=linked(target))
        work(blog)
        told = rows(blog, Link)[-1]
        assert (told.state, told.status_code, told.answer) == (state, status, "for a reason")
    for job in pending(blog, "send_link"):
        assert (job.due_at - blog.site.now()).total_seconds() == 700
    assert "/elsewhere" not in there.told  # nobody follows a redirect of a POST


def test_what_is_kept_of_an_answer_is_bounded(
    blogs: Callable[..., Blog], database_url: str, there: There
) -> None:
    blog = blogs(database_url)
    there.answers["webmention"] = Answer(body=b"\0\xff" + b"x" * 100_000)
    add(blog, "hello", html=linked(there.offer("webmention")))
    work(blog)
    assert len(link(blog).answer) <= 2000
    assert "\0" not in link(blog).answer
    assert len(rows(blog, Attempt)[-1].body) == 16 * 1024


# --- trackback ------------------------------------------------------------------------------------------


def test_a_trackback_tells_what_the_page_says(
    blogs: Callable[..., Blog], database_url: str, there: There
) -> None:
    blog = blogs(database_url, SITE_NAME="A blög")
    html = f"<h1>On  <em>föxes</em></h1><nav>Home</nav><p>They are {linked(there.offer('trackback'))}.</p>"
    source = add(blog, "hello", html=html)
    work(blog)
    (post,) = [each for each in there.neighbour.requests if each.method == "POST"]
    assert post.header("Content-Type") == "application/x-www-form-urlencoded; charset=utf-8"
    assert there.forms == [
        {"title": ["On föxes"], "url": [source], "excerpt": ["They are x."], "blog_name": ["A blög"]}
    ]
    assert link(blog).state is LinkState.sent


def test_a_trackback_of_an_object_takes_its_title_where_the_content_has_none(
    blog: Blog, there: There
) -> None:
    source = add(blog, "hello", html=linked(there.offer("trackback")), title="Hello there")
    work(blog)
    assert there.forms == [{"title": ["Hello there"], "url": [source], "excerpt": ["x"]}]


def test_a_trackback_of_targets_alone_is_an_address(
    blogs: Callable[..., Blog], sqlite_url: str, there: There
) -> None:
    blog = blogs(sqlite_url, content=None)
    with blog.app.app_context():
        blog.linkback.publish("/page", targets=[there.offer("trackback")])
        blog.db.session.commit()
    work(blog)
    assert there.forms == [{"url": ["https://blog.example/page"]}]


def test_a_trackback_of_a_page_that_was_fetched(
    serve: Callable[..., Blog], sqlite_url: str, there: There
) -> None:
    blog = serve(sqlite_url, content=None)
    source = add(blog, "hello", html=linked(there.offer("trackback")))
    with blog.app.app_context():
        blog.linkback.publish("/post/hello")
        blog.db.session.commit()
    work(blog)
    assert there.forms == [{"title": ["About hello"], "url": [source], "excerpt": ["x"]}]


@pytest.mark.parametrize(
    ("body", "state", "reason"),
    [
        (YES, "sent", ""),
        (NO, "refused", "Error: Go away."),
        (b"", "refused", "The answer is none of a trackback server."),
        (b"<!doctype html><p>Hello", "refused", "The answer is none of a trackback server."),
    ],
)
def test_a_trackback_is_never_sent_again_once_it_was_answered(
    blog: Blog, there: There, clock: Clock, body: bytes, state: str, reason: str
) -> None:
    there.answers["trackback"] = Answer(body=body)
    target = there.offer("trackback")
    add(blog, "hello", html=linked(target))
    work(blog)
    assert (link(blog).state, link(blog).reason) == (state, reason)
    for html in (f"More. {linked(target)}", "Nothing.", linked(target), "Nothing again."):
        edit(blog, "hello", html=html)
        clock.move(100_000)
        work(blog)
    pings = [each for each in there.told if each == "/trackback"]
    assert len(pings) == (1 if state == "sent" else 2)  # who refused it is asked when the link is back


def test_a_target_that_knows_only_trackback_now_is_not_told_twice(blog: Blog, there: There) -> None:
    target = there.offer("webmention", "trackback")
    add(blog, "hello", html=linked(target))
    work(blog)
    there.offer("trackback")
    edit(blog, "hello", html=f"More. {linked(target)}")
    work(blog)
    assert there.told == ["/webmention?a=1&b=2"]
    assert (link(blog).state, link(blog).offers) == (LinkState.unsupported, ["trackback"])
    assert link(blog).reason == "The target knows only trackback, which can say a thing once."


# --- edits ----------------------------------------------------------------------------------------------


def test_an_edit_is_told_by_webmention_and_not_by_pingback(
    blogs: Callable[..., Blog], database_url: str, there: There
) -> None:
    blog = blogs(database_url)
    targets = [there.offer(each, path=f"/{each}-page") for each in ("webmention", "pingback", "trackback")]
    add(blog, "hello", html=linked(*targets))
    work(blog)
    assert len(there.told) == 3
    edit(blog, "hello", title="Another title")  # the content is the same
    work(blog)
    assert len(there.told) == 3
    edit(blog, "hello", html="Edited. " + linked(*targets))
    with heard(blog) as said:
        work(blog)
    assert there.told[3:] == ["/webmention?a=1&b=2"]
    assert names(said) == ["link_sent"]
    edit(blog, "hello", html="Nothing.")
    work(blog)
    assert sorted(there.told[4:]) == ["/pingback", "/webmention?a=1&b=2"]  # removed


def test_a_page_that_is_fetched_is_compared_with_what_it_said(
    serve: Callable[..., Blog], database_url: str, there: There
) -> None:
    blog = serve(database_url, content=None)
    target = there.offer("webmention")
    add(blog, "hello", html=linked(target))

    def publish() -> int:
        with blog.app.app_context():
            blog.linkback.publish("/post/hello")
            blog.db.session.commit()
        work(blog)
        return len(there.told)

    assert [publish(), publish()] == [1, 1]
    edit(blog, "hello", html=f"More. {linked(target)}")
    assert [publish(), publish()] == [2, 2]


def test_a_webmention_endpoint_that_finds_no_link_any_more_was_told(blog: Blog, there: There) -> None:
    add(blog, "hello", html=linked(there.offer("webmention")))
    work(blog)
    there.answers["webmention"] = Answer(status=400, body=b"no link")
    edit(blog, "hello", html="Nothing.")
    work(blog)
    assert (link(blog).state, link(blog).removed) == (LinkState.sent, True)


def test_an_edit_while_the_target_is_told_of_the_one_before(
    blogs: Callable[..., Blog], database_url: str, there: There
) -> None:
    """The answer is to the old version: the new one is told too."""
    blog = blogs(database_url)
    target = there.offer("webmention")
    edits = [f"Third. {linked(target)}"]

    def meanwhile() -> None:
        if edits:
            edit(blog, "hello", html=edits.pop())
            publish_now(blog)

    add(blog, "hello", html=linked(target))
    work(blog)
    edit(blog, "hello", html=f"Second. {linked(target)}")
    there.on_post = meanwhile
    with heard(blog) as said:
        work(blog)
    assert len(there.told) == 3
    assert link(blog).state is LinkState.sent
    assert names(said) == ["link_sent"]


@pytest.mark.parametrize("html", ["Second. {}", "Nothing."])
def test_an_edit_while_a_trackback_is_sent_changes_nothing(
    blogs: Callable[..., Blog], database_url: str, there: There, html: str
) -> None:
    """It was taken, and there is no more to say by trackback."""
    blog = blogs(database_url)
    target = there.offer("trackback")
    edits = [html.format(linked(target))]

    def meanwhile() -> None:
        if edits:
            edit(blog, "hello", html=edits.pop())
            publish_now(blog)

    add(blog, "hello", html=linked(target))
    there.on_post = meanwhile
    with heard(blog) as said:
        work(blog)
    assert there.told == ["/trackback"]
    assert (link(blog).state, link(blog).protocol) == (LinkState.sent, "trackback")
    assert link(blog).removed is (html == "Nothing.")
    assert names(said) == ["link_sent"]


def test_offers_stay_when_nobody_could_look(blog: Blog, there: There) -> None:
    target = there.offer("webmention", "pingback")
    add(blog, "hello", html=linked(target))
    work(blog)
    there.neighbour.route("/page", hang_up)
    edit(blog, "hello", html=f"More. {linked(target)}")
    work(blog)
    assert (link(blog).state, link(blog).offers) == (LinkState.waiting, ["webmention", "pingback"])


# --- explain --------------------------------------------------------------------------------------------


def test_explain_says_what_would_be_used_and_what_the_others_offered(
    blogs: Callable[..., Blog], sqlite_url: str, there: There
) -> None:
    blog = blogs(sqlite_url)
    rdf = '<!-- <rdf:Description dc:identifier="{}" trackback:ping="/trackback"/> -->'
    target = there.neighbour.url("/page")
    body = OFFERS["pingback"].format(there.neighbour.url("")) + rdf.format(target) + OFFERS["webmention"]
    there.neighbour.answer("/page", body=body.encode())
    with blog.app.app_context():
        steps = blog.linkback.explain(target)
        assert blog.db.session.scalars(sa.select(Link)).all() == []
    assert [(each.step, each.protocol, each.used) for each in steps] == [
        ("request", None, True),
        ("header", "webmention", False),
        ("element", "webmention", True),
        ("header", "pingback", False),
        ("element", "pingback", True),
        ("rdf", "trackback", True),
        ("element", "trackback", False),
        ("endpoint", "webmention", True),
        ("endpoint", "pingback", False),
        ("endpoint", "trackback", False),
        ("verdict", "webmention", True),
    ]
    assert steps[7].value == there.neighbour.url("/webmention?a=1&b=2")
    assert steps[8].reason == "A pingback server at 127.0.0.1; webmention goes first."
    assert steps[10].reason == "It would be told by webmention."
    assert there.told == []
