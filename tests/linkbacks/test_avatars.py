"""Avatars: pictures of authors are fetched by the worker and shown from here, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import render_template_string

from flask_linkback.linkbacks import avatars, moderation
from flask_linkback.linkbacks.erasing import Person, erase, mentions_of
from flask_linkback.models import Attempt, Avatar, Host, Job, Mention, digest
from tests import pictures
from tests.apps import Blog
from tests.moderation.tools import moderate
from tests.neighbours import Neighbour, bomb, endless_body, silent, slow_head
from tests.pictures import avif, gif, jpeg, png
from tests.pingback.tools import Clock, add, mentions, pending, request, rows, statements, work
from tests.webmention.tools import sent

DAY = 86_400.0
DRAW = """{% from "linkback/macros.html" import facepile, mention_list, pingback_list -%}
{{ facepile(post, photos=true) }}{{ mention_list(post, photos=true) }}{{ pingback_list(post) }}"""
PICTURE = png(4, 4)


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    """A blog that keeps pictures, and has a post."""
    return keeping(blogs, sqlite_url)


@pytest.fixture
def everywhere(blogs: Callable[..., Blog], database_url: str) -> Blog:
    """The same on each database."""
    return keeping(blogs, database_url)


def keeping(blogs: Callable[..., Blog], url: str, **settings: Any) -> Blog:
    blog = blogs(url, **{"AVATAR_CACHE": True, "AUTO_APPROVE": True, "MENTION_FEEDS": True, **settings})
    add(blog, "hello")
    return blog


def entry(blog: Blog, photo: str, *, author: str = "https://ann.example/", kind: str = "like-of") -> bytes:
    """A page by somebody whose picture is there."""
    return (
        f'<!doctype html><title>x</title><div class="h-entry"><p class="p-author h-card">'
        f'<img class="u-photo" src="{photo}" alt=""><a class="u-url p-name" href="{author}">Ann</a></p>'
        f'<a class="u-{kind}" href="{blog.url("hello")}">it</a><p class="e-content">Words.</p></div>'
    ).encode()


def told(
    blog: Blog, neighbour: Neighbour, path: str = "/ann", *, photo: str = "/me.png", **values: Any
) -> str:
    """Let a page of somebody whose picture lies at ``photo`` mention the post; return the picture's URL."""
    url = photo if "//" in photo else neighbour.url(photo)
    neighbour.answer(path, body=entry(blog, url, **values), headers=[("Content-Type", "text/html")])
    sent(blog, neighbour.url(path), blog.url("hello"))
    work(blog)
    return url


def asked(neighbour: Neighbour, path: str = "/me.png") -> int:
    return sum(request.path == path for request in neighbour.requests)


def kept(blog: Blog) -> list[Avatar]:
    return rows(blog, Avatar)


def local(url: str) -> str:
    return f"/linkback/avatar/{digest(url)}"


def get(blog: Blog, url: str, method: str = "GET", **headers: str) -> Any:
    """Ask our own site for the picture at a URL."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return blog.app.test_client().open(local(url), method=method, headers=names)


def drawn(blog: Blog) -> str:
    """What the macros draw of the post."""
    with blog.app.test_request_context("/post/hello"):
        return render_template_string(DRAW, post=blog.db.session.get(blog.Post, 1))


def json(blog: Blog, form: str = "json") -> Any:
    target = {"target": blog.url("hello")}
    return blog.app.test_client().get(f"/linkback/mentions.{form}", query_string=target).json


def tend(blog: Blog) -> None:
    with blog.app.app_context():
        avatars.tend_avatars(blog.site)


# --- kept and shown ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "media_type"),
    [
        (png(), "image/png"),
        (gif(), "image/gif"),
        (jpeg(), "image/jpeg"),
        (pictures.WEBP_LOSSY, "image/webp"),
        (pictures.AVIF, "image/avif"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_picture_is_kept_by_what_it_is_and_shown_from_here(
    everywhere: Blog, neighbour: Neighbour, picture: bytes, media_type: str
) -> None:
    blog = everywhere
    neighbour.answer("/me.png", body=picture, headers=[("Content-Type", "text/html")])
    url = told(blog, neighbour)
    (avatar,) = kept(blog)
    assert (avatar.key, avatar.url, avatar.host) == (digest(url), url, "127.0.0.1")
    assert (avatar.media_type, avatar.body, avatar.reason) == (media_type, picture, "")
    answer = get(blog, url)
    assert (answer.status_code, answer.data) == (200, picture)
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Content-Disposition"] == "inline"
    assert answer.headers["Cache-Control"] == "public, max-age=86400"
    assert f'src="{local(url)}"' in drawn(blog)
    (said,) = json(blog)["mentions"]
    assert said["author_photo"] == f"https://blog.example{local(url)}"
    (child,) = json(blog, "jf2")["children"]
    assert child["author"]["photo"] == f"https://blog.example{local(url)}"


def test_head_and_not_modified(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/me.png", body=PICTURE)
    url = told(blog, neighbour)
    head = get(blog, url, "HEAD")
    assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", str(len(PICTURE)))
    again = get(blog, url, If_None_Match=head.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    assert get(blog, url, If_None_Match='"other"').status_code == 200


@pytest.mark.parametrize("key", ["0" * 64, "A" * 64, "0" * 63, "%00" * 64, "..%2f..", "x"])
def test_nobody_has_another_picture(blog: Blog, key: str) -> None:
    assert blog.app.test_client().get(f"/linkback/avatar/{key}").status_code == 404


def test_nothing_is_shown_before_the_picture_is_here(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/me.png", status=503)
    url = told(blog, neighbour)
    assert kept(blog) == []
    assert "<img" not in drawn(blog)
    assert json(blog)["mentions"][0]["author_photo"] == ""
    assert json(blog, "jf2")["children"][0]["author"]["photo"] == ""
    assert get(blog, url).status_code == 404
    assert url not in drawn(blog)


def test_where_they_are_served_is_on_the_host_of_the_page(serve: Any, sqlite_url: str) -> None:
    blog = serve(sqlite_url, AVATAR_CACHE=True, AUTO_APPROVE=True, HOSTS="localhost")
    add(blog, "hello")
    with Neighbour() as neighbour:
        neighbour.answer("/me.png", body=PICTURE)
        url = told(blog, neighbour)
    status, headers, body = request("GET", f"{blog.base_url}{local(url)}")
    assert (status, headers["Content-Type"], body) == (200, "image/png", PICTURE)
    with blog.app.test_request_context("/post/hello", base_url="http://localhost"):
        post = blog.db.session.get(blog.Post, 1)
        assert f'src="{local(url)}"' in render_template_string(DRAW, post=post)
    with blog.app.app_context():  # no request: in a command, say
        (faces,) = blog.app.jinja_env.globals["linkback_faces"](post)  # type: ignore[operator]
        assert faces.mentions[0].photo == f"{blog.base_url}{local(url)}"


def test_the_pictures_of_a_page_cost_one_query_more(
    blog: Blog, blogs: Callable[..., Blog], tmp_path: Any, neighbour: Neighbour
) -> None:
    neighbour.answer("/me.png", body=PICTURE)
    neighbour.answer("/you.png", body=PICTURE)
    plain = keeping(blogs, f"sqlite:///{tmp_path}/plain.db", AVATAR_CACHE=False)
    counts = []
    for each in (plain, blog):
        told(each, neighbour, "/ann", photo="/me.png")
        told(each, neighbour, "/bob", photo="/you.png")
        with statements(each) as seen:
            json(each)
        counts.append(len(seen))
    assert counts[1] == counts[0] + 1


# --- off -----------------------------------------------------------------------------------------------


def test_switched_off_nothing_is_fetched_kept_or_served(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=True)
    add(blog, "hello")
    neighbour.answer("/me.png", body=PICTURE)
    url = told(blog, neighbour)
    tend(blog)
    assert (kept(blog), asked(neighbour)) == ([], 0)
    assert "fetch_avatar" not in {job.kind for job in rows(blog, Job)}
    assert get(blog, url).status_code == 404
    assert json(blog)["mentions"][0]["author_photo"] == url


def test_switched_off_again_what_was_kept_goes(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    neighbour.answer("/me.png", body=PICTURE)
    told(keeping(blogs, sqlite_url), neighbour)
    blog = blogs(sqlite_url)
    assert len(kept(blog)) == 1
    tend(blog)
    assert kept(blog) == []


def test_switched_on_the_pictures_of_before_come_within_the_hour(
    blogs: Callable[..., Blog], database_url: str, clock: Clock, neighbour: Neighbour
) -> None:
    off = blogs(database_url, AUTO_APPROVE=True)
    add(off, "hello")
    for name in ("/a", "/b", "/c"):
        neighbour.answer(f"{name}.png", body=PICTURE)
        told(off, neighbour, name, photo=f"{name}.png")
    blog = blogs(database_url, AVATAR_CACHE=True)
    tend(blog)
    due = sorted(job.due_at - clock.at for job in pending(blog, "fetch_avatar"))
    assert due == [timedelta(minutes=20 * number) for number in range(3)]
    tend(blog)
    assert len(pending(blog, "fetch_avatar")) == 3
    clock.move(3600)
    work(blog)
    assert [avatar.body for avatar in kept(blog)] == [PICTURE] * 3


# --- whose are fetched ---------------------------------------------------------------------------------


@pytest.mark.parametrize("show_unapproved", [False, True])
def test_who_waits_makes_nobody_fetch_a_picture(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, show_unapproved: bool
) -> None:
    blog = keeping(blogs, database_url, AUTO_APPROVE=False, SHOW_UNAPPROVED=show_unapproved)
    neighbour.answer("/me.png", body=PICTURE)
    url = told(blog, neighbour)
    tend(blog)
    work(blog)
    assert (asked(neighbour), kept(blog)) == (0, [])
    assert url not in drawn(blog)
    moderate(blog, "rejected")
    assert asked(neighbour) == 0
    moderate(blog, "approved")
    assert asked(neighbour) == 1
    assert local(url) in drawn(blog)


def test_what_a_spam_check_lets_in_has_its_picture(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = keeping(blogs, sqlite_url, AUTO_APPROVE=False)
    verdicts = ["spam", "ham"]
    blog.linkback.spam_check(lambda mention: verdicts.pop(0))
    neighbour.answer("/me.png", body=PICTURE)
    told(blog, neighbour, "/spam")
    assert asked(neighbour) == 0
    told(blog, neighbour, "/ham")
    assert asked(neighbour) == 1


def test_rejected_before_the_worker_came_nothing_is_fetched(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/me.png", status=503)
    told(blog, neighbour)
    assert asked(neighbour) == 1
    moderate(blog, "rejected")
    (job,) = pending(blog, "fetch_avatar")
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Job).where(Job.id == job.id).values(due_at=blog.site.now()))
        blog.db.session.commit()
    work(blog)
    assert asked(neighbour) == 1


def test_two_authors_with_one_picture_have_one_row(everywhere: Blog, neighbour: Neighbour) -> None:
    blog = everywhere
    neighbour.answer("/me.png", body=PICTURE)
    url = told(blog, neighbour, "/ann")
    told(blog, neighbour, "/bob", author="https://bob.example/")
    assert (len(kept(blog)), asked(neighbour)) == (1, 1)
    assert drawn(blog).count(f'src="{local(url)}"') == 2


# --- what is no picture --------------------------------------------------------------------------------

BOUND = avatars.MAX_BYTES
REFUSED: dict[str, tuple[Any, str]] = {
    "svg": ((200, pictures.SVG, "image/svg+xml"), "no_image"),
    "svg-as-png": ((200, pictures.SVG, "image/png"), "no_image"),
    "html-as-png": ((200, pictures.HTML, "image/png"), "no_image"),
    "empty": ((200, b"", "image/png"), "no_image"),
    "bmp": ((200, b"BM" + bytes(60), "image/bmp"), "no_image"),
    "cut": ((200, PICTURE[:12], "image/png"), "no_image"),
    "pixels-png": ((200, png(says=(50_000, 50_000)), "image/png"), "too_many_pixels"),
    "pixels-gif": ((200, gif(65_535, 65_535), "image/gif"), "too_many_pixels"),
    "pixels-gif-frame": ((200, gif(1, 1, frame=(0, 0, 60_000, 9)), "image/gif"), "too_many_pixels"),
    "pixels-jpeg": ((200, jpeg(65_000, 65_000), "image/jpeg"), "too_many_pixels"),
    "pixels-avif": ((200, avif((8, 8), (2_049, 1)), "image/avif"), "too_many_pixels"),
    "too-many-bytes": ((200, PICTURE + bytes(BOUND), "image/png"), "too_large"),
    "404": ((404, PICTURE, "image/png"), "http_404"),
    "410": ((410, b"", "text/plain"), "http_410"),
}


@pytest.mark.parametrize(("answer", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_picture_is_not_kept_nor_asked_for_again(
    blog: Blog, neighbour: Neighbour, answer: tuple[int, bytes, str], reason: str
) -> None:
    status, body, media_type = answer
    neighbour.answer("/me.png", status=status, body=body, headers=[("Content-Type", media_type)])
    url = told(blog, neighbour)
    (avatar,) = kept(blog)
    assert (avatar.reason, avatar.body, avatar.media_type, avatar.digest) == (reason, None, "", "")
    assert pending(blog, "fetch_avatar") == []
    tend(blog)
    assert work(blog) == 0
    assert get(blog, url).status_code == 404
    assert "<img" not in drawn(blog)


def test_as_large_as_it_may_be(blog: Blog, neighbour: Neighbour) -> None:
    body = png(says=(2_048, 2_048)).ljust(BOUND, b"\0")
    neighbour.answer("/me.png", body=body)
    assert get(blog, told(blog, neighbour)).data == body


def test_a_bomb_that_only_its_coding_hides_is_too_large(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/me.png", body=bomb(50), headers=[("Content-Encoding", "gzip")])
    told(blog, neighbour)
    assert [avatar.reason for avatar in kept(blog)] == ["too_large"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("http://10.0.0.7/me.png", "refused"),
        ("http://169.254.169.254/latest/meta-data/", "refused"),
        ("http://[::1]/me.png", "refused"),
        ("file:///etc/passwd", "refused"),
        ("/me.png", "too_many_redirects"),
    ],
)
def test_a_picture_does_not_lead_into_a_network_that_is_not_public(
    blog: Blog, neighbour: Neighbour, place: str, reason: str
) -> None:
    neighbour.answer("/me.png", status=302, headers=[("Location", place)])
    told(blog, neighbour)
    avatar = next(iter(kept(blog)), None)
    if reason == "refused":
        assert avatar is not None
        assert (avatar.body, asked(neighbour)) == (None, 1)
    else:
        assert avatar is None  # perhaps tomorrow it does not
        assert pending(blog, "fetch_avatar")[0].reason == reason


@pytest.mark.parametrize("manners", [endless_body, slow_head, silent])
def test_who_does_not_come_to_an_end_is_left(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, manners: Any
) -> None:
    blog = keeping(blogs, sqlite_url, FETCH_TIMEOUT=0.5)
    neighbour.route("/me.png", manners)
    told(blog, neighbour)
    if manners is endless_body:
        assert [avatar.reason for avatar in kept(blog)] == ["too_large"]
    else:
        (job,) = pending(blog, "fetch_avatar")
        assert (kept(blog), job.reason) == ([], "too_slow")
    (attempt,) = [each for each in rows(blog, Attempt) if each.url == neighbour.url("/me.png")]
    assert attempt.seconds < 5


# --- trouble, and again --------------------------------------------------------------------------------


def test_trouble_is_tried_again_by_the_schedule_and_then_given_up_until_somebody_looks(
    everywhere: Blog, clock: Clock, neighbour: Neighbour
) -> None:
    blog = everywhere
    neighbour.answer("/me.png", status=503)
    url = told(blog, neighbour)
    for number in range(1, 9):
        assert asked(neighbour) == number
        for job in pending(blog, "fetch_avatar"):
            clock.at = max(clock.at, job.due_at)
        work(blog)
    assert pending(blog, "fetch_avatar") == []
    assert [(each.reason, each.body) for each in kept(blog)] == [("http_503", None)]
    tend(blog)
    assert work(blog) == 0
    neighbour.answer("/me.png", body=PICTURE)
    clock.move(3600)
    told(blog, neighbour)
    assert local(url) in drawn(blog)


def test_a_picture_is_new_when_its_mention_is_looked_at_again(
    everywhere: Blog, clock: Clock, neighbour: Neighbour
) -> None:
    blog = everywhere
    neighbour.answer("/me.png", body=PICTURE)
    url = told(blog, neighbour)
    before = get(blog, url).headers["ETag"]
    neighbour.answer("/me.png", body=gif())
    clock.move(3600)
    told(blog, neighbour)  # an update
    answer = get(blog, url)
    assert (answer.content_type, answer.data, answer.headers["ETag"] != before) == ("image/gif", gif(), True)
    assert len(kept(blog)) == 1

    neighbour.answer("/me.png", status=503)
    clock.move(31 * DAY)
    work(blog)  # a look that nobody asked for
    assert asked(neighbour) == 3
    assert get(blog, url).data == gif()  # what is kept stays while there is trouble
    neighbour.answer("/me.png", status=404)
    for job in pending(blog, "fetch_avatar"):
        clock.at = max(clock.at, job.due_at)
    work(blog)
    assert get(blog, url).status_code == 404  # and goes when its owner took it away


def test_many_who_have_the_same_picture_ask_for_it_once_in_a_while(
    blog: Blog, clock: Clock, neighbour: Neighbour
) -> None:
    neighbour.answer("/me.png", body=PICTURE)
    for number in range(5):
        told(blog, neighbour, f"/{number}")
    assert asked(neighbour) == 1
    clock.move(300)
    told(blog, neighbour, "/9")
    assert asked(neighbour) == 2


def test_an_old_picture_is_asked_for_where_no_look_comes_through(
    blog: Blog, clock: Clock, neighbour: Neighbour
) -> None:
    neighbour.answer("/me.png", body=PICTURE)
    told(blog, neighbour)
    neighbour.answer("/ann", status=503)
    clock.move(29 * DAY)
    tend(blog)
    assert pending(blog, "fetch_avatar") == []
    clock.move(1 * DAY + 1)
    work(blog)
    assert asked(neighbour) == 2


def test_the_limits_of_a_host_hold_for_pictures_too(
    blogs: Callable[..., Blog], database_url: str, clock: Clock, neighbour: Neighbour
) -> None:
    blog = keeping(blogs, database_url, RATE_LIMITS={"source_host": 4})
    for number in range(4):
        neighbour.answer(f"/{number}.png", body=PICTURE)
        body = entry(blog, neighbour.url(f"/{number}.png"))
        neighbour.answer(f"/{number}", body=body, headers=[("Content-Type", "text/html")])
        sent(blog, neighbour.url(f"/{number}"), blog.url("hello"))
    work(blog)
    assert len(neighbour.requests) == 4
    clock.move(61)
    work(blog)
    assert len(neighbour.requests) == 8
    assert len(kept(blog)) == 4
    assert {job.state for job in rows(blog, Job)} == {"done"}


# --- letting them go -----------------------------------------------------------------------------------


def test_pictures_that_no_shown_mention_has_are_swept(everywhere: Blog, neighbour: Neighbour) -> None:
    blog = everywhere
    neighbour.answer("/me.png", body=PICTURE)
    neighbour.answer("/you.png", body=PICTURE)
    told(blog, neighbour, "/ann", photo="/me.png")
    told(blog, neighbour, "/bob", photo="/you.png")
    told(blog, neighbour, "/cid", photo="/you.png")
    moderate(blog, "spam")
    tend(blog)
    assert len(kept(blog)) == 2
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Mention).where(Mention.id == 2).values(state="gone"))
        blog.db.session.commit()
    tend(blog)
    assert [avatar.url for avatar in kept(blog)] == [neighbour.url("/me.png")]


def erased(blog: Blog, author: str) -> None:
    with blog.app.app_context():
        announcements = erase(blog.site, mentions_of(blog.site, Person(author=author)), who="cli:ann")
        blog.db.session.commit()
        moderation.announce(blog.site, announcements)


def test_who_is_erased_takes_the_picture_along_but_not_that_of_another(
    everywhere: Blog, neighbour: Neighbour
) -> None:
    blog = everywhere
    neighbour.answer("/me.png", body=PICTURE)
    neighbour.answer("/both.png", body=PICTURE)
    mine = told(blog, neighbour, "/1", photo="/me.png")
    both = told(blog, neighbour, "/2", photo="/both.png")
    told(blog, neighbour, "/3", photo="/both.png", author="https://bob.example/")
    erased(blog, "https://ann.example/")
    assert [avatar.url for avatar in kept(blog)] == [both]
    assert get(blog, mine).status_code == 404
    assert get(blog, both).status_code == 200
    fetches = [job for job in rows(blog, Job) if job.kind == "fetch_avatar"]
    assert [(job.payload, job.host) for job in fetches] == [({}, ""), ({"url": both}, "127.0.0.1")]
    assert mine not in [attempt.url for attempt in rows(blog, Attempt)]
    erased(blog, "https://bob.example/")
    assert (kept(blog), len(mentions(blog))) == ([], 3)
    assert [host.name for host in rows(blog, Host)] == ["*"]


def test_a_picture_that_comes_after_its_author_was_erased_is_not_kept(
    everywhere: Blog, neighbour: Neighbour
) -> None:
    blog = everywhere

    def answer(request: Any, wire: Any) -> None:
        erased(blog, "https://ann.example/")
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PICTURE), PICTURE))

    neighbour.route("/me.png", answer)
    told(blog, neighbour)
    assert asked(neighbour) == 1
    assert kept(blog) == []
    (job,) = [job for job in rows(blog, Job) if job.kind == "fetch_avatar"]
    assert (job.state, job.payload) == ("done", {})
