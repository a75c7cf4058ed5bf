"""Vouching: strangers pass by the word of a page that we know, and we pass by one that knows us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from flask_linkback.linkbacks import moderation
from flask_linkback.linkbacks.erasing import Person, erase, mentions_of
from flask_linkback.models import Attempt, Host, Job, Link, LinkState, Mention, MentionStatus
from tests.apps import Blog
from tests.moderation.tools import audits, block, moderate
from tests.neighbours import Answer, Neighbour, Request, Wire, endless_body, silent
from tests.pingback.tools import Clock, add, edit, link, mentions, page, pending, ping, rows, work
from tests.webmention.tools import ENDPOINT, post, send, status

HTML = [("Content-Type", "text/html; charset=utf-8")]


@pytest.fixture
def carol() -> Iterator[Neighbour]:
    """Another site than that of the neighbour: hosts are told apart by name, not by port."""
    with Neighbour(host="127.0.0.2") as carol:
        yield carol


@pytest.fixture
def dave() -> Iterator[Neighbour]:
    with Neighbour(host="127.0.0.3") as dave:
        yield dave


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str, carol: Neighbour) -> Blog:
    """A blog that wants vouches, and knows Carol."""
    return asking(blogs, sqlite_url, carol)


@pytest.fixture
def everywhere(blogs: Callable[..., Blog], database_url: str, carol: Neighbour) -> Blog:
    """The same on each database."""
    return asking(blogs, database_url, carol)


def asking(blogs: Callable[..., Blog], url: str, carol: Neighbour, **settings: Any) -> Blog:
    blog = blogs(url, **{"VOUCH": True, "SOURCE_INTERVAL_SECONDS": 0, **settings})
    befriend(blog, carol)
    return blog


def befriend(blog: Blog, friend: Neighbour) -> None:
    """Let a mention by a page of somebody be approved."""
    target = add(blog, "friends")
    friend.answer("/blogroll", body=page(target))
    ping(blog, friend.url("/blogroll"), target)
    work(blog)
    moderate(blog, "approved")
    add(blog, "hello")


def vouch(
    carol: Neighbour, neighbour: Neighbour, *, rel: str = "", path: str = "/knows", **kinds: Any
) -> str:
    """Let a page of Carol's link to the neighbour's site; return its URL."""
    body = f'<title>x</title><p>I know <a rel="{rel}" href="{neighbour.url("/about")}">somebody</a>.'
    carol.answer(path, **{"body": body.encode(), "headers": HTML, **kinds})
    return carol.url(path)


def tell(
    blog: Blog, neighbour: Neighbour, vouch: str | None = None, *, path: str = "/post", **options: Any
) -> Any:
    """Send a webmention of a page that has the link, with a vouch, and return the answer."""
    neighbour.answer(path, body=page(blog.url("hello")))
    form = {"source": neighbour.url(path), "target": blog.url("hello")}
    if vouch is not None:
        form["vouch"] = vouch
    return post(blog, urlencode(form), **options)


def newest(blog: Blog) -> Mention:
    return mentions(blog)[-1]


def said(blog: Blog, answer: Any) -> tuple[str, str, str]:
    """What the page of a mention says: display, reason, message."""
    told = status(blog, answer.headers["Location"]).json
    return told["display"], told["reason"], told["message"]


# --- receiving -----------------------------------------------------------------------------------------


def test_who_is_vouched_for_is_approved(everywhere: Blog, carol: Neighbour, neighbour: Neighbour) -> None:
    blog = everywhere
    url = vouch(carol, neighbour)
    answer = tell(blog, neighbour, url)
    assert answer.status_code == 201
    assert carol.requests[-1].path == "/blogroll"  # nothing is fetched while the caller waits
    work(blog)
    taken = newest(blog)
    assert (taken.status, taken.vouch, taken.reason) == (MentionStatus.approved, url, "")
    assert audits(blog)[-1] == ("vouch", "mention:2", "pending", "approved")
    assert said(blog, answer)[0] == "shown"
    (attempt,) = [each for each in rows(blog, Attempt) if each.url == url]
    assert (attempt.outcome, attempt.status_code) == ("done", 200)


def test_without_a_vouch_a_stranger_waits_and_is_asked_for_one(
    everywhere: Blog, carol: Neighbour, neighbour: Neighbour
) -> None:
    blog = everywhere
    answer = tell(blog, neighbour)
    assert answer.status == "449 Retry With vouch"
    assert "vouch" in answer.text
    assert len(answer.text.splitlines()) == 2
    work(blog)
    assert newest(blog).status is MentionStatus.pending
    display, reason, message = said(blog, answer)
    assert (display, reason) == ("waiting", "vouch_missing")
    assert message.startswith("The link was found. The mention waits for a moderator. ")
    assert len(message) <= 200
    again = tell(blog, neighbour, vouch(carol, neighbour))
    assert (again.status_code, again.headers["Location"]) == (201, answer.headers["Location"])
    work(blog)
    assert newest(blog).status is MentionStatus.approved
    assert len(mentions(blog)) == 2


def test_what_was_asked_for_may_come_before_the_source_was_looked_at(
    blog: Blog, carol: Neighbour, neighbour: Neighbour
) -> None:
    assert tell(blog, neighbour).status_code == 449
    assert tell(blog, neighbour, vouch(carol, neighbour)).status_code == 201
    assert tell(blog, neighbour).status_code == 201  # the vouch stays though it is not said again
    work(blog)
    assert newest(blog).status is MentionStatus.approved


def test_449_as_json_and_as_a_page(blog: Blog, neighbour: Neighbour) -> None:
    as_json = tell(blog, neighbour, headers={"Accept": "application/json"})
    assert (as_json.status_code, as_json.json["reason"]) == (449, "vouch_missing")
    assert as_json.json["location"] == as_json.headers["Location"]
    as_page = tell(blog, neighbour, headers={"Accept": "text/html"})
    assert (as_page.status_code, "with a vouch" in as_page.text) == (449, True)
    assert 'name="vouch"' in blog.app.test_client().get(ENDPOINT).text


def test_a_known_host_need_not_be_vouched_for(blog: Blog, carol: Neighbour) -> None:
    answer = tell(blog, carol, path="/more")
    assert answer.status_code == 201
    work(blog)
    assert newest(blog).status is MentionStatus.approved
    assert audits(blog)[-1][0] == "rule:known_host"


def test_where_a_rule_approves_nobody_looks_at_the_vouch(
    blogs: Callable[..., Blog], sqlite_url: str, carol: Neighbour, neighbour: Neighbour
) -> None:
    blog = asking(blogs, sqlite_url, carol, AUTO_APPROVE=True)
    assert tell(blog, neighbour).status_code == 201
    assert tell(blog, neighbour, vouch(carol, neighbour), path="/other").status_code == 201
    work(blog)
    assert {each.status for each in mentions(blog)} == {MentionStatus.approved}
    assert "/knows" not in [request.path for request in carol.requests]


def test_a_vouch_counts_where_no_rule_approves_anything(
    blogs: Callable[..., Blog], sqlite_url: str, carol: Neighbour, neighbour: Neighbour
) -> None:
    blog = asking(blogs, sqlite_url, carol, AUTO_APPROVE=())
    tell(blog, neighbour, vouch(carol, neighbour))
    work(blog)
    assert newest(blog).status is MentionStatus.approved


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [("spam", MentionStatus.spam), ("unsure", MentionStatus.approved)],
)
def test_spam_checks_come_before_the_vouch(
    blog: Blog, carol: Neighbour, neighbour: Neighbour, verdict: str, expected: MentionStatus
) -> None:
    blog.linkback.spam_check(lambda mention: verdict)
    tell(blog, neighbour, vouch(carol, neighbour))
    work(blog)
    assert newest(blog).status is expected


def test_a_page_of_ours_that_links_to_a_site_knows_it(
    blogs: Callable[..., Blog], database_url: str, carol: Neighbour, neighbour: Neighbour
) -> None:
    blog = blogs(database_url, VOUCH=True, SOURCE_INTERVAL_SECONDS=0)
    add(blog, "hello")
    add(blog, "links", html=f'<a href="{carol.url("/")}">Carol</a>')
    work(blog)
    url = vouch(carol, neighbour)
    tell(blog, neighbour, url)
    work(blog)
    assert newest(blog).status is MentionStatus.approved
    edit(blog, "links", html="")
    work(blog)
    with Neighbour(host="127.0.0.4") as eve:
        tell(blog, eve, vouch(carol, eve))
        work(blog)
        assert (newest(blog).status, newest(blog).reason) == (MentionStatus.pending, "vouch_unknown")


# --- what is no vouch ----------------------------------------------------------------------------------

NO_VOUCH: dict[str, tuple[dict[str, Any], str]] = {
    "nofollow": ({"rel": "nofollow"}, "vouch_no_link"),
    "comment": ({"rel": "external UGC"}, "vouch_no_link"),
    "no-link": ({"body": b"<title>x</title>127.0.0.1 http://127.0.0.1/"}, "vouch_no_link"),
    "image": ({"body": b'<img src="http://127.0.0.1/x.png">'}, "vouch_no_link"),
    "in-comment": ({"body": b'<!-- <a href="http://127.0.0.1/">x</a> -->'}, "vouch_no_link"),
    "in-script": ({"body": b"<script>'<a href=\"http://127.0.0.1/\">x</a>'</script>"}, "vouch_no_link"),
    "subdomain": ({"body": b'<a href="http://127.0.0.1.example/">x</a>'}, "vouch_no_link"),
    "credentials": ({"body": b'<a href="http://127.0.0.1@evil.example/">x</a>'}, "vouch_no_link"),
    "text": ({"headers": [("Content-Type", "text/plain")]}, "vouch_no_link"),
    "behind-the-cap": ({"body": b"x" * (1 << 20) + b'<a href="http://127.0.0.1/">x</a>'}, "vouch_no_link"),
    "404": ({"status": 404}, "vouch_unreadable"),
    "410": ({"status": 410}, "vouch_unreadable"),
    "inwards": ({"status": 302, "headers": [("Location", "http://10.0.0.1/")]}, "vouch_unreadable"),
}


@pytest.mark.parametrize(("kinds", "reason"), NO_VOUCH.values(), ids=NO_VOUCH)
def test_what_is_no_vouch_leaves_it_to_a_moderator(
    blog: Blog, carol: Neighbour, neighbour: Neighbour, kinds: dict[str, Any], reason: str
) -> None:
    answer = tell(blog, neighbour, vouch(carol, neighbour, **kinds))
    assert answer.status_code == 201
    work(blog)
    taken = newest(blog)
    assert (taken.status, taken.reason) == (MentionStatus.pending, reason)
    display, told, message = said(blog, answer)
    assert (display, told) == ("waiting", reason)
    assert "vouches for it" in message
    assert pending(blog, "check_vouch") == []
    moderate(blog, "approved")
    assert newest(blog).reason == ""


@pytest.mark.parametrize("place", ["stranger", "own", "source"])
def test_nobody_vouches_for_themselves_and_no_stranger_for_another(
    blog: Blog, neighbour: Neighbour, dave: Neighbour, place: str
) -> None:
    pages = {
        "stranger": vouch(dave, neighbour),
        "own": blog.url("friends"),
        "source": vouch(neighbour, neighbour),
    }
    answer = tell(blog, neighbour, pages[place])
    work(blog)
    assert said(blog, answer)[:2] == ("waiting", "vouch_unknown")
    assert dave.requests == []  # nobody has us fetch whatever they name
    assert [request.path for request in neighbour.requests] == ["/post"]


def test_a_host_that_is_blocked_vouches_for_nobody(
    blog: Blog, carol: Neighbour, neighbour: Neighbour
) -> None:
    block(blog, "127.0.0.2")
    tell(blog, neighbour, vouch(carol, neighbour))
    work(blog)
    assert newest(blog).reason == "vouch_unknown"


def test_who_is_rejected_meanwhile_vouches_for_nobody(
    blog: Blog, carol: Neighbour, neighbour: Neighbour
) -> None:
    moderate(blog, "rejected")
    tell(blog, neighbour, vouch(carol, neighbour))
    work(blog)
    assert newest(blog).reason == "vouch_unknown"


def test_a_redirect_of_a_known_host_does_not_let_a_stranger_vouch(
    blog: Blog, carol: Neighbour, neighbour: Neighbour, dave: Neighbour
) -> None:
    there = vouch(dave, neighbour)
    carol.answer("/goto", status=302, headers=[("Location", there)])
    tell(blog, neighbour, carol.url("/goto"))
    work(blog)
    assert (newest(blog).status, newest(blog).reason) == (MentionStatus.pending, "vouch_unknown")
    carol.answer("/moved", status=301, headers=[("Location", vouch(carol, neighbour))])
    tell(blog, neighbour, carol.url("/moved"))
    work(blog)
    assert newest(blog).status is MentionStatus.approved


@pytest.mark.parametrize("value", ["ftp://carol.example/", "carol", "http://carol.example/ x"])
def test_what_is_no_url_is_told_so(blog: Blog, neighbour: Neighbour, value: str) -> None:
    answer = tell(blog, neighbour, value)
    assert (answer.status_code, answer.text) == (400, "The vouch is no http or https URL.\n")
    long = tell(blog, neighbour, "https://carol.example/" + "x" * 2048)
    assert (long.status_code, long.text) == (400, "The vouch is too long.\n")
    odd = tell(blog, neighbour, "https://carol.example/\0", headers={"Accept": "application/json"})
    assert odd.status_code == 400
    assert len(mentions(blog)) == 1


def test_an_empty_vouch_is_none(blog: Blog, neighbour: Neighbour) -> None:
    """As a form has it that nobody filled in."""
    assert tell(blog, neighbour, "").status_code == 449


@pytest.mark.parametrize("manners", [endless_body, silent])
def test_a_page_without_end_holds_nobody_up(
    blogs: Callable[..., Blog], sqlite_url: str, carol: Neighbour, neighbour: Neighbour, manners: Any
) -> None:
    blog = asking(blogs, sqlite_url, carol, FETCH_TIMEOUT=0.5)
    carol.route("/knows", manners)
    tell(blog, neighbour, carol.url("/knows"))
    work(blog)
    assert newest(blog).status is MentionStatus.pending


def test_trouble_is_tried_again_by_the_schedule(
    everywhere: Blog, clock: Clock, carol: Neighbour, neighbour: Neighbour
) -> None:
    blog = everywhere
    tell(blog, neighbour, vouch(carol, neighbour, status=503))
    work(blog)
    assert (newest(blog).status, newest(blog).reason) == (MentionStatus.pending, "")
    vouch(carol, neighbour)
    (job,) = pending(blog, "check_vouch")
    clock.at = job.due_at
    work(blog)
    assert newest(blog).status is MentionStatus.approved


def test_trouble_without_end_is_given_up(
    blog: Blog, clock: Clock, carol: Neighbour, neighbour: Neighbour
) -> None:
    tell(blog, neighbour, vouch(carol, neighbour, status=503))
    for _ in range(8):
        work(blog)
        for job in pending(blog, "check_vouch"):
            clock.at = max(clock.at, job.due_at)
    assert (newest(blog).status, newest(blog).reason) == (MentionStatus.pending, "vouch_unreadable")
    assert pending(blog, "check_vouch") == []


def test_the_limits_of_a_host_hold_for_vouches_too(
    blogs: Callable[..., Blog], database_url: str, clock: Clock, carol: Neighbour, neighbour: Neighbour
) -> None:
    blog = asking(blogs, database_url, carol, RATE_LIMITS={"source_host": 3, "caller": None})
    clock.move(61)
    for number in range(3):
        tell(blog, neighbour, vouch(carol, neighbour, path=f"/knows-{number}"), path=f"/{number}")
    befriended = len(carol.requests)
    with Neighbour(host="127.0.0.5") as eve:
        tell(blog, eve, vouch(carol, eve, path="/knows-eve"))
        work(blog)
        assert len(carol.requests) == befriended + 3
        clock.move(61)
        work(blog)
    assert len(carol.requests) == befriended + 4
    assert {each.status for each in mentions(blog)} == {MentionStatus.approved}


def test_rejected_while_the_page_was_looked_at_it_stays_so(
    blog: Blog, carol: Neighbour, neighbour: Neighbour
) -> None:
    def answer(request: Request, wire: Wire) -> None:
        with blog.app.app_context():
            told = blog.db.session.get(Mention, 2)
            blog.linkback.moderate(told, "rejected")
            blog.db.session.commit()
        body = f'<a href="{neighbour.url("/")}">x</a>'.encode()
        wire.send(Answer(body=body, headers=HTML).dump("GET"))

    carol.route("/knows", answer)
    tell(blog, neighbour, carol.url("/knows"))
    work(blog)
    assert newest(blog).status is MentionStatus.rejected
    again = tell(blog, neighbour, vouch(carol, neighbour))
    assert again.status_code == 201
    assert work(blog) == 0


def test_who_is_erased_takes_the_vouch_along(
    everywhere: Blog, carol: Neighbour, neighbour: Neighbour
) -> None:
    blog = everywhere
    url = vouch(carol, neighbour, status=503)
    tell(blog, neighbour, url)
    work(blog)
    with blog.app.app_context():
        ids = mentions_of(blog.site, Person(host="127.0.0.1"))
        announcements = erase(blog.site, ids, who="cli:ann")
        blog.db.session.commit()
        moderation.announce(blog.site, announcements)
    assert newest(blog).vouch == ""
    assert url not in [attempt.url for attempt in rows(blog, Attempt)]
    (job,) = [job for job in rows(blog, Job) if job.kind == "check_vouch"]
    assert (job.state, job.payload, job.host) == ("done", {}, "")
    assert {host.name for host in rows(blog, Host)} == {"*", "127.0.0.2"}


def test_switched_off_a_vouch_is_passed_over(
    blogs: Callable[..., Blog], database_url: str, carol: Neighbour, neighbour: Neighbour
) -> None:
    blog = asking(blogs, database_url, carol, VOUCH=False)
    assert tell(blog, neighbour, vouch(carol, neighbour)).status_code == 201
    assert tell(blog, neighbour, "no URL", path="/other").status_code == 201
    work(blog)
    assert {(each.vouch, each.reason) for each in mentions(blog)} == {("", "")}
    assert newest(blog).status is MentionStatus.pending
    assert "/knows" not in [request.path for request in carol.requests]
    assert "check_vouch" not in {job.kind for job in rows(blog, Job)}
    assert 'name="vouch"' not in blog.app.test_client().get(ENDPOINT).text


def test_pingbacks_have_no_vouch(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/post", body=page(blog.url("hello")))
    ping(blog, neighbour.url("/post"), blog.url("hello"))
    work(blog)
    assert (newest(blog).status, newest(blog).reason) == (MentionStatus.pending, "")


# --- sending -------------------------------------------------------------------------------------------


class Strict:
    """Somebody's page with an endpoint that takes nothing without a vouch."""

    def __init__(self, dave: Neighbour) -> None:
        self.forms: list[dict[str, list[str]]] = []
        self._dave = dave
        self.answers = [449, 202]
        self.headers: list[tuple[str, str]] = []
        dave.route("/webmention", self._take)

    def _take(self, request: Request, wire: Wire) -> None:
        self.forms.append(parse_qs(request.body.decode()))
        status = self.answers[min(len(self.forms), len(self.answers)) - 1]
        wire.send(Answer(status=status, headers=self.headers).dump("POST"))

    def page(self, *links: str) -> str:
        """A page that links to some others."""
        body = '<link rel="webmention" href="/webmention">' + "".join(
            f'<a href="{each}">x</a>' for each in links
        )
        self._dave.answer("/page", body=body.encode(), headers=HTML)
        return self._dave.url("/page")


@pytest.fixture
def strict(dave: Neighbour) -> Strict:
    return Strict(dave)


def publish(blog: Blog, target: str) -> Link:
    """Let a post link to a page, and tell it; return what came of it."""
    add(blog, "news", html=f'<a href="{target}">x</a>')
    work(blog)
    return link(blog)


def test_who_wants_a_vouch_gets_the_page_of_one_who_links_here(
    everywhere: Blog, carol: Neighbour, strict: Strict
) -> None:
    blog = everywhere
    told = publish(blog, strict.page())
    assert [form.get("vouch") for form in strict.forms] == [None, [carol.url("/blogroll")]]
    assert [form["source"] for form in strict.forms] == [[blog.url("news")]] * 2
    assert (told.state, told.status_code) == (LinkState.sent, 202)
    assert told.reason == f"With the vouch of {carol.url('/blogroll')}."


def test_the_best_vouch_is_of_a_site_to_which_the_target_links(
    blog: Blog, carol: Neighbour, neighbour: Neighbour, strict: Strict
) -> None:
    neighbour.answer("/newer", body=page(blog.url("hello")))
    send(blog, neighbour.url("/newer"), blog.url("hello"))
    work(blog)
    moderate(blog, "approved")
    publish(blog, strict.page("https://elsewhere.example/", carol.url("/another")))
    assert strict.forms[-1]["vouch"] == [carol.url("/blogroll")]


def test_without_anybody_it_is_refused(blogs: Callable[..., Blog], sqlite_url: str, strict: Strict) -> None:
    blog = blogs(sqlite_url, VOUCH=True)
    told = publish(blog, strict.page())
    assert (told.state, told.status_code, len(strict.forms)) == (LinkState.refused, 449, 1)


def test_only_what_is_approved_and_on_another_site_than_theirs_vouches_for_us(
    blogs: Callable[..., Blog], sqlite_url: str, carol: Neighbour, dave: Neighbour, strict: Strict
) -> None:
    blog = asking(blogs, sqlite_url, carol)
    moderate(blog, "rejected")
    dave.answer("/mine", body=page(blog.url("hello")))
    send(blog, dave.url("/mine"), blog.url("hello"))
    work(blog)
    moderate(blog, "approved")
    told = publish(blog, strict.page())
    assert (told.state, len(strict.forms)) == (LinkState.refused, 1)


def test_a_vouch_that_does_not_help_is_sent_once(blog: Blog, strict: Strict) -> None:
    strict.answers = [449]
    told = publish(blog, strict.page())
    assert (told.state, told.status_code, len(strict.forms)) == (LinkState.refused, 449, 2)


def test_switched_off_449_is_a_refusal_like_others(
    blogs: Callable[..., Blog], sqlite_url: str, carol: Neighbour, strict: Strict
) -> None:
    blog = asking(blogs, sqlite_url, carol, VOUCH=False)
    told = publish(blog, strict.page())
    assert (told.state, len(strict.forms)) == (LinkState.refused, 1)


def test_who_keeps_what_has_no_vouch_is_told_when_the_link_goes(
    blogs: Callable[..., Blog], sqlite_url: str, strict: Strict, dave: Neighbour
) -> None:
    blog = blogs(sqlite_url)
    strict.answers, strict.headers = [449], [("Location", "/kept/7")]
    told = publish(blog, strict.page())
    assert (told.state, told.status_code, told.answer) == (LinkState.sent, 449, dave.url("/kept/7"))
    edit(blog, "news", html="Nothing.")
    work(blog)
    assert len(strict.forms) == 2
    assert link(blog).removed


def test_two_blogs_meet_by_a_friend_of_both(
    serve: Callable[..., Blog], tmp_path: Any, carol: Neighbour
) -> None:
    """Bob tells Alice, who does not know him; Carol, to whom Alice links, links to Bob."""
    bob = serve(f"sqlite:///{tmp_path}/bob.db", VOUCH=True)
    alice = serve(f"sqlite:///{tmp_path}/alice.db", VOUCH=True)
    befriend(bob, carol)
    add(alice, "links", html=f'<a href="{carol.url("/")}">Carol</a>')
    add(alice, "post")
    add(bob, "news", html=f'<p>Read <a href="{alice.url("post")}">this</a>.')
    work(bob)
    assert (link(bob).state, link(bob).status_code) == (LinkState.sent, 201)
    work(alice)
    (taken,) = mentions(alice)
    assert (taken.source, taken.vouch) == (bob.url("news"), carol.url("/blogroll"))
    assert taken.shown
    assert audits(alice) == [("vouch", "mention:1", "pending", "approved")]
