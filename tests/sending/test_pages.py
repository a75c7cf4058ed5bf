"""Pages of ours that are gone or moved: what is answered, who is told, and whose the mentions are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_linkback import Linkback, ping_func
from flask_linkback.errors import BaseURLMissing, UnknownTarget
from flask_linkback.models import (
    Link,
    LinkState,
    Mention,
    MentionState,
    MentionStatus,
    Page,
    PageState,
    digest,
)
from tests.apps import Blog
from tests.cli.commands import run
from tests.neighbours import Neighbour
from tests.pingback.tools import (
    Clock,
    add,
    edit,
    fault_of,
    heard,
    link,
    mention,
    mentions,
    names,
    page,
    ping,
    rows,
    statements,
    work,
)
from tests.sending.rocks import Rocks
from tests.sending.test_protocols import There, linked
from tests.webmention.tools import sent


@pytest.fixture
def there(neighbour: Neighbour) -> There:
    return There(neighbour)


def gone(blog: Blog, url: str) -> None:
    with blog.app.app_context():
        blog.linkback.gone(url)
        blog.db.session.commit()


def moved(blog: Blog, old: str, new: str) -> None:
    with blog.app.app_context():
        blog.linkback.moved(old, new)
        blog.db.session.commit()


def publish(blog: Blog, url: str, html: str = "") -> None:
    with blog.app.app_context():
        blog.linkback.publish(url, html=html)
        blog.db.session.commit()


def delete(blog: Blog, slug: str) -> None:
    with blog.app.app_context():
        blog.db.session.delete(blog.db.session.scalars(sa.select(blog.Post).filter_by(slug=slug)).one())
        blog.db.session.commit()


def get(blog: Blog, path: str, **options: Any) -> Any:
    return blog.app.test_client().get(path, **options)


def state(blog: Blog, path: str) -> PageState:
    (found,) = [each for each in rows(blog, Page) if each.url.endswith(path)]
    return found.state  # type: ignore[no-any-return]


# --- gone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "gone"])
def test_delete_1(serve: Callable[..., Blog], database_url: str, rocks: Rocks, how: str) -> None:
    """webmention.rocks: tell of a post, delete it, let its URL answer 410, tell again."""
    blog = serve(database_url)
    target = rocks.url("/delete/1")
    source = add(blog, "hello", html=linked(target))
    work(blog)
    if how == "deleted":
        delete(blog, "hello")
    else:
        gone(blog, "/post/hello")
    work(blog)
    assert rocks.faults == []
    assert [(at, to) for _, at, to in rocks.taken] == [(source, target)] * 2
    assert rocks.taken[0][0] != rocks.taken[1][0]  # the key is good for one use
    assert rocks.gone == [source]
    answer = get(blog, "/post/hello")
    assert answer.status_code == 410
    assert '<meta http-equiv="Status" content="410 Gone">' in answer.text
    assert (link(blog).state, link(blog).removed) == (LinkState.sent, True)


def test_a_page_that_is_gone_answers_410_until_it_is_published_again(
    blogs: Callable[..., Blog], database_url: str, there: There
) -> None:
    blog = blogs(database_url, content=None)
    client = blog.app.test_client()
    assert client.get("/about").status_code == 200
    gone(blog, "/about")  # nobody published it before
    for answer in (client.get("/about"), client.get("/about?utm_source=x"), client.head("/about")):
        assert answer.status_code == 410
        assert "X-Pingback" not in answer.headers
    assert client.post("/about").status_code == 405
    publish(blog, "/about", linked(there.offer("webmention")))
    assert client.get("/about").status_code == 200
    work(blog)
    assert len(there.told) == 1


def test_everybody_who_was_told_is_told_of_the_end(
    blogs: Callable[..., Blog], database_url: str, there: There
) -> None:
    blog = blogs(database_url)
    offered = ("webmention", "pingback", "trackback")
    targets = [there.offer(each, path=f"/{each}-page") for each in offered]
    nothing = there.offer(path="/nothing")
    add(blog, "hello", html=linked(*targets, nothing))
    work(blog)
    assert len(there.told) == 3
    for _ in range(2):
        gone(blog, blog.url("hello"))
        work(blog)
    assert sorted(there.told[3:]) == ["/pingback", "/webmention?a=1&b=2"]  # once, and no trackback
    assert all(each.removed for each in rows(blog, Link))
    with blog.app.app_context():  # and it is there again
        blog.linkback.publish("/post/hello", html=linked(*targets))
        blog.db.session.commit()
    work(blog)
    assert sorted(there.told[5:]) == ["/pingback", "/webmention?a=1&b=2"]


def test_a_deleted_object_says_so_whatever_is_known_of_it(
    blogs: Callable[..., Blog], database_url: str, there: There
) -> None:
    """Its attributes may be expired, and its URL another one than was published."""
    blog = blogs(database_url)
    target = there.offer("webmention")
    add(blog, "hello", html=linked(target))
    with blog.app.app_context():
        post = blog.db.session.scalars(sa.select(blog.Post)).one()
        post.slug = "unsaved"
        blog.db.session.flush()
        blog.db.session.expire_all()
        blog.db.session.delete(post)
        blog.db.session.commit()
    assert state(blog, "/post/hello") is PageState.gone
    work(blog)
    assert there.told == []  # it went before anybody was told


def test_mentions_of_a_deleted_object_are_not_those_of_the_next_one(
    blogs: Callable[..., Blog], database_url: str
) -> None:
    """SQLite gives the highest id to the next row."""
    blog = blogs(database_url)
    target = add(blog, "hello")
    with blog.app.app_context():
        ping_func("https://there.example/1", target)
        blog.db.session.execute(sa.update(Mention).values(state="verified", status="approved"))
        blog.db.session.commit()
    delete(blog, "hello")
    add(blog, "another")
    with blog.app.app_context():
        post = blog.db.session.scalars(sa.select(blog.Post)).one()
        assert blog.linkback.mention_count(post) == 0
        assert blog.db.session.scalar(sa.select(sa.func.count(Mention.id))) == 1


def test_mentions_of_a_deleted_object_are_gone_with_it(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=True)
    target = add(blog, "hello")
    for path, linked_to in (
        ("/there", target),
        ("/never", "https://elsewhere.example/"),
        ("/unseen", target),
    ):
        neighbour.answer(path, body=page(linked_to))
        ping(blog, neighbour.url(path), target)
        if path != "/unseen":
            work(blog)
    with heard(blog) as said:
        delete(blog, "hello")
        assert names(said) == []
        work(blog)
    assert [(name, values["mention"].id, values["reason"]) for name, values in said] == [
        ("mention_removed", 1, "target_gone"),
        ("mention_removed", 3, "target_gone"),
    ]
    assert [(each.state, each.reason) for each in mentions(blog)] == [
        (MentionState.gone, "target_gone"),
        (MentionState.failed, "no_link"),
        (MentionState.failed, "target_gone"),
    ]
    assert not any(each.shown for each in mentions(blog))
    assert [each.path for each in neighbour.requests] == ["/there", "/never"]  # nobody needs to look any more


def test_a_look_during_which_the_object_is_deleted_finds_nothing(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)
    target = add(blog, "hello")

    def answer(request: Any, wire: Any) -> None:
        delete(blog, "hello")
        body = page(target)
        wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    neighbour.route("/source", answer)
    ping(blog, neighbour.url("/source"), target)
    with heard(blog) as said:
        work(blog)
    assert names(said) == ["mention_removed"]
    assert (mention(blog).state, mention(blog).reason) == (MentionState.failed, "target_gone")


def test_an_object_that_takes_the_place_of_a_deleted_one_has_it(
    blogs: Callable[..., Blog], database_url: str
) -> None:
    blog = blogs(database_url)
    add(blog, "hello", html="First.")
    with blog.app.app_context():
        session = blog.db.session
        session.delete(session.scalars(sa.select(blog.Post)).one())
        session.flush()
        session.add(blog.Post(slug="hello", html="Second."))
        session.commit()
    work(blog)
    assert state(blog, "/post/hello") is PageState.published
    assert get(blog, "/post/hello").status_code == 200


def test_a_page_that_is_gone_and_rolled_back_is_there(blog: Blog) -> None:
    with blog.app.app_context():
        blog.linkback.gone("/about")
        blog.db.session.rollback()
    assert get(blog, "/about").status_code == 200
    assert rows(blog, Page) == []


def test_pages_with_a_query_are_pages(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, content=None)
    publish(blog, "/about?p=1")
    gone(blog, "/about?p=2")
    assert [get(blog, f"/about{query}").status_code for query in ("", "?p=1", "?p=2")] == [200, 200, 410]
    gone(blog, "/about")
    assert [get(blog, f"/about{query}").status_code for query in ("", "?p=1", "?p=3")] == [410, 200, 410]


@pytest.mark.parametrize("url", ["/post/föx bar", "/post/f%C3%B6x%20bar"])
def test_paths_in_any_spelling(blogs: Callable[..., Blog], sqlite_url: str, url: str) -> None:
    blog = blogs(sqlite_url, base_url="https://blog.example/sub", content=None)
    gone(blog, f"/sub{url}")
    assert get(blog, url).status_code == 410
    assert get(blog, url, base_url="https://anything.example/sub").status_code == 410


@pytest.mark.parametrize(
    "origin", ["http://blog.example", "https://BLOG.example", "https://blog.example:443"]
)
def test_scheme_and_host_in_any_spelling(blog: Blog, origin: str) -> None:
    gone(blog, f"{origin}/about")
    assert get(blog, "/about").status_code == 410
    publish(blog, f"{origin}/about")
    assert get(blog, "/about").status_code == 200
    moved(blog, f"{origin}/old", f"{origin}/about")
    assert get(blog, "/old").location == "https://blog.example/about"


def test_another_host_of_ours_serves_the_same_page(blogs: Callable[..., Blog], database_url: str) -> None:
    """HOSTS are names for one site: what is gone is gone by each of them."""
    blog = blogs(database_url, HOSTS="www.blog.example")
    target = add(blog, "hello")
    other = "https://www.blog.example"

    def answers() -> list[int]:
        codes = [get(blog, "/post/hello", base_url=host).status_code for host in (blog.base_url, other)]
        return [
            *codes,
            *(fault_of(ping, blog, "http://there.example/1", url) for url in (target, f"{other}/post/hello")),
        ]

    gone(blog, f"{other}/post/hello")
    assert answers() == [410, 410, 32, 32]
    publish(blog, f"{other}:443/post/hello")
    assert [get(blog, "/post/hello", base_url=host).status_code for host in (blog.base_url, other)] == [
        200,
        200,
    ]
    moved(blog, f"{other}/old", f"{other}/post/hello")
    assert get(blog, "/old").location == target
    assert {each.url for each in rows(blog, Page)} == {target, f"{blog.base_url}/old"}


@pytest.mark.parametrize("by", ["host_matching", "subdomain_matching"])
def test_where_hosts_have_pages_of_their_own_one_goes_by_itself(tmp_path: Any, by: str) -> None:
    app = Flask(__name__, **{by: True}, **({"static_host": "blog.example"} if by == "host_matching" else {}))
    app.config.update(
        TESTING=True,
        SERVER_NAME="blog.example" if by == "subdomain_matching" else None,
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/hosts.db",
        LINKBACK_BASE_URL="https://blog.example",
        LINKBACK_HOSTS="notes.blog.example",
        LINKBACK_PROTOCOLS=["pingback"],
    )
    db = SQLAlchemy(app)
    linkback = Linkback(db=db, blueprints=())
    linkback.init_app(app)
    for number, name in enumerate(("", "notes")):
        where = (
            {"subdomain": name} if by == "subdomain_matching" else {"host": f"{name}.blog.example".strip(".")}
        )
        app.add_url_rule("/about", f"about{number}", lambda: "About", **where)
    with app.app_context():
        db.create_all()
        linkback.gone("http://NOTES.blog.example:80/about")
        db.session.commit()
        db.engine.dispose()
    client = app.test_client()
    hosts = ("https://blog.example", "https://notes.blog.example")
    assert [client.get("/about", base_url=host).status_code for host in hosts] == [200, 410]
    with app.app_context():
        db.engine.dispose()


def test_other_processes_know_within_five_seconds(
    blogs: Callable[..., Blog], database_url: str, clock: Clock
) -> None:
    here, elsewhere = blogs(database_url), blogs(database_url)
    assert get(elsewhere, "/about").status_code == 200
    gone(here, "/about")
    assert get(here, "/about").status_code == 410
    clock.move(5)
    assert get(elsewhere, "/about").status_code == 410


def test_what_it_costs(blogs: Callable[..., Blog], sqlite_url: str, clock: Clock) -> None:
    """Nothing where no page is gone, but for one look in five seconds; else one look-up by key."""
    blog = blogs(sqlite_url)

    def looks(path: str) -> int:
        with statements(blog) as seen:
            get(blog, path)
        return sum("linkback_page" in each for each in seen)

    assert [looks("/about"), looks("/about"), looks("/post/none")] == [1, 0, 0]
    clock.move(5)
    assert [looks("/about"), looks("/about")] == [1, 0]
    gone(blog, "/elsewhere")
    assert [looks("/about"), looks("/elsewhere"), looks("/linkback/pingback")] == [1, 1, 0]


def test_a_site_without_tables_serves_its_pages(
    blogs: Callable[..., Blog], database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    blog = blogs(database_url)
    with blog.app.app_context():
        Page.__table__.drop(blog.db.engine)
    assert [get(blog, "/about").status_code for _ in range(2)] == [200, 200]
    assert len([each for each in caplog.records if "which pages are gone" in each.getMessage()]) == 1


def test_an_application_has_its_own_words(blog: Blog, tmp_path: Any) -> None:
    (tmp_path / "linkback").mkdir()
    (tmp_path / "linkback" / "gone.html").write_text("No more.")
    blog.app.template_folder = str(tmp_path)
    gone(blog, "/about")
    assert (get(blog, "/about").status_code, get(blog, "/about").text) == (410, "No more.")


@pytest.mark.parametrize("call", ["gone", "moved"])
def test_they_need_a_commit(blog: Blog, caplog: pytest.LogCaptureFixture, call: str) -> None:
    add(blog, "hello")
    args = ["/about"] if call == "gone" else ["/about", "/post/hello"]
    with blog.app.app_context():
        getattr(blog.linkback, call)(*args)
    (record,) = caplog.records
    assert f"{call}()" in record.getMessage()


@pytest.mark.parametrize("call", ["gone", "moved"])
def test_only_pages_of_ours(blogs: Callable[..., Blog], sqlite_url: str, call: str) -> None:
    blog, nowhere = blogs(sqlite_url), blogs(sqlite_url, base_url=None)
    args = ["https://other.example/"] if call == "gone" else ["/about", "https://other.example/"]
    with blog.app.app_context(), pytest.raises(UnknownTarget, match="LINKBACK_HOSTS"):
        getattr(blog.linkback, call)(*args)
    with nowhere.app.app_context(), pytest.raises(BaseURLMissing):
        getattr(nowhere.linkback, call)(*args)


def test_a_page_that_is_gone_takes_no_mention_though_its_loader_finds_it(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)
    target = add(blog, "hello")
    gone(blog, target)
    for spelling in (target, f"{target}?utm_source=x", target.replace("https", "http")):
        assert fault_of(ping, blog, neighbour.url("/source"), spelling) == 32
    publish(blog, target)
    assert ping(blog, neighbour.url("/source"), target)


def test_a_mention_of_a_page_that_moved_follows_it_though_its_loader_finds_it(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url, AUTO_APPROVE=True)
    old, new = add(blog, "old"), add(blog, "new")
    moved(blog, old, new)
    neighbour.answer("/source", body=page(old))
    ping(blog, neighbour.url("/source"), old)
    work(blog)
    with blog.app.app_context():
        assert blog.linkback.mention_count(new) == 1


def test_a_page_that_is_gone_shows_no_mentions_by_its_address(blog: Blog) -> None:
    """Neither does one that moved before it went; those of its object are still there to be asked for."""
    things(blog)
    mentioned(blog, "/things/b", "http://there.example/1")
    moved(blog, "/things/a", "/things/b")
    gone(blog, "/things/b")
    with blog.app.app_context():
        for path in ("/things/a", "/things/b"):
            with pytest.raises(UnknownTarget):
                blog.linkback.mentions_for(path)
            assert fault_of(ping, blog, "http://there.example/2", blog.base_url + path) == 32
    publish(blog, "/things/b")
    with blog.app.app_context():
        assert len(blog.linkback.mentions_for("/things/a")) == 1


def test_a_command_lists_the_mentions_of_a_page_that_is_gone(blog: Blog) -> None:
    things(blog)
    mentioned(blog, "/things/a", "http://there.example/1")
    gone(blog, "/things/a")
    for spelling in ("/things/a", "http://blog.example/things/a?x=1"):
        assert len(run(blog, "mentions", "--target", spelling, "--json").json) == 1


# --- moved -------------------------------------------------------------------------------------------


def things(blog: Blog) -> None:
    """Pages that nothing identifies but their address."""
    blog.app.add_url_rule("/things/<name>", "thing", lambda name: f"<p>{name}</p>")
    blog.linkback.target("thing")(lambda name: None if name == "missing" else name)


def mentioned(blog: Blog, path: str, source: str, **values: Any) -> None:
    key = f"thing?name={path.rpartition('/')[2]}"
    with blog.app.app_context():
        blog.db.session.add(
            Mention(
                key=digest(source, key),
                source=source,
                source_key=digest(source),
                source_host="there.example",
                target=f"{blog.base_url}{path}",
                target_key=key,
                target_hash=digest(key),
                endpoint="thing",
                protocol="webmention",
                received_at=blog.site.now(),
                **{"state": MentionState.verified, "status": MentionStatus.approved, **values},
            )
        )
        blog.db.session.commit()


def test_a_page_that_moved_answers_301_and_its_mentions_go_along(
    blogs: Callable[..., Blog], database_url: str
) -> None:
    blog = blogs(database_url)
    things(blog)
    mentioned(blog, "/things/a", "http://there.example/1")
    moved(blog, "/things/a", "/things/b")
    for path in ("/things/a", "/things/a?x=1"):
        answer = get(blog, path)
        assert (answer.status_code, answer.location) == (301, "https://blog.example/things/b")
    assert get(blog, "/things/b").status_code == 200
    with blog.app.app_context():
        assert len(blog.linkback.mentions_for("/things/b")) == 1
    carried = mention(blog)
    assert (carried.target_key, carried.target_hash) == ("thing?name=b", digest("thing?name=b"))
    assert carried.key == digest("http://there.example/1", "thing?name=b")
    assert carried.target == "https://blog.example/things/a"  # to that the other page links


def test_an_old_address_stands_for_the_new_one_whatever_its_loader_finds(
    blogs: Callable[..., Blog], database_url: str
) -> None:
    """Until a page is published there again: then each has its own mentions."""
    blog = blogs(database_url)
    things(blog)
    mentioned(blog, "/things/a", "http://there.example/1")
    moved(blog, "/things/a", "/things/b")

    def counts() -> list[int]:
        urls = [f"{blog.base_url}/things/{name}" for name in "ab"]
        answers = [get(blog, f"/linkback/mentions.json?target={url}").json["count"] for url in urls]
        with blog.app.app_context():
            assert [blog.linkback.mention_count(url) for url in urls] == answers
            assert [blog.linkback.mention_count(f"{url}?x=1#part") for url in urls] == answers
        return answers

    assert counts() == [1, 1]
    assert ping(blog, "http://there.example/2", f"{blog.base_url}/things/a")
    assert {each.target_key for each in mentions(blog)} == {"thing?name=b"}
    publish(blog, "/things/a")
    mentioned(blog, "/things/a", "http://there.example/3")
    mentioned(blog, "/things/a", "http://there.example/4")
    assert counts() == [2, 1]
    moved(blog, "/things/a", "/things/b")
    assert counts() == [3, 3]


def test_a_mention_of_the_old_address_is_one_of_the_new(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, clock: Clock
) -> None:
    """Told before and after the move, and looked at again after it: the link is to the old address."""
    blog = blogs(database_url)
    old, _ = add(blog, "old"), add(blog, "new")
    for number, path in enumerate(("/one", "/two")):
        neighbour.answer(path, body=page(old))
        if number:
            moved(blog, "/post/old", "/post/new")
            delete(blog, "old")
            publish_state = state(blog, "/post/old")
            assert publish_state is PageState.moved
        ping(blog, neighbour.url(path), old)
        clock.move(1000)
        work(blog)
    assert {each.target_key for each in mentions(blog)} == {"Post:2"}
    assert {each.state for each in mentions(blog)} == {MentionState.verified}


@pytest.mark.parametrize("protocol", ["pingback", "webmention"])
def test_who_follows_a_move_and_links_to_the_new_address_is_still_a_mention(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour, protocol: str
) -> None:
    """The mention was told of the old URL; a link to either counts."""
    blog = blogs(database_url, SOURCE_INTERVAL_SECONDS=0)
    old, new = add(blog, "old"), add(blog, "new")
    neighbour.answer("/source", body=page(old))
    ping(blog, neighbour.url("/source"), old)
    work(blog)
    moved(blog, old, new)
    for linked_to, found in ((new, "verified"), (old, "verified"), ("https://elsewhere.example/", "gone")):
        neighbour.answer("/source", body=page(linked_to))
        if protocol == "webmention":
            sent(blog, neighbour.url("/source"), new)
        else:
            assert fault_of(ping, blog, neighbour.url("/source"), new) == 48
        work(blog)
        assert mention(blog).state == found


@pytest.mark.parametrize(
    ("old", "new", "stays"),
    [
        (("verified", "approved"), ("verified", "pending"), "old"),
        (("verified", "approved"), ("verified", "rejected"), "old"),
        (("verified", "approved"), ("verified", "approved"), "new"),
        (("verified", "pending"), ("verified", "rejected"), "new"),
        (("verified", "spam"), ("verified", "pending"), "old"),
        (("verified", "pending"), ("failed", "pending"), "old"),
        (("received", "pending"), ("failed", "approved"), "new"),
    ],
)
def test_where_a_page_mentions_both_addresses_one_mention_stays(
    blog: Blog, old: tuple[str, str], new: tuple[str, str], stays: str
) -> None:
    things(blog)
    for path, (found, decided) in (("/things/old", old), ("/things/new", new)):
        mentioned(blog, path, "http://there.example/1", state=found, status=decided)
    mentioned(blog, "/things/old", "http://there.example/2")
    moved(blog, "/things/old", "/things/new")
    first = next(each for each in mentions(blog) if each.source.endswith("1"))
    assert len(mentions(blog)) == 2
    assert first.target.endswith(stays)
    assert {each.target_key for each in mentions(blog)} == {"thing?name=new"}


def test_moves_lead_to_the_last_address_and_in_no_circle(
    blogs: Callable[..., Blog], database_url: str
) -> None:
    blog = blogs(database_url)
    things(blog)

    def led() -> list[str]:
        answers = [get(blog, f"/things/{name}") for name in "abc"]
        return [each.location[-1] if each.status_code == 301 else "-" for each in answers]

    moved(blog, "/things/a", "/things/b")
    moved(blog, "/things/b", "/things/c")
    assert led() == ["c", "c", "-"]
    moved(blog, "/things/c", "/things/a")  # and back
    assert led() == ["-", "a", "a"]
    gone(blog, "/things/a")
    assert (led(), get(blog, "/things/a").status_code) == (["-", "a", "a"], 410)
    publish(blog, "/things/b")
    assert led() == ["-", "-", "a"]


def test_the_targets_of_a_page_that_moved_are_told_by_the_new_address(
    blogs: Callable[..., Blog], database_url: str, there: There
) -> None:
    blog = blogs(database_url)
    offered = ("webmention", "pingback", "trackback")
    targets = [there.offer(each, path=f"/{each}-page") for each in offered]
    add(blog, "hello", html=linked(*targets))
    work(blog)
    with blog.app.app_context():  # as an application renames a post
        blog.db.session.scalars(sa.select(blog.Post)).one().slug = "renamed"
        blog.linkback.moved("/post/hello", "/post/renamed")
        blog.db.session.commit()
    work(blog)
    assert sorted(there.told[3:]) == ["/pingback", "/webmention?a=1&b=2"]  # trackback has it already
    assert {each.source for each in rows(blog, Link)} == {blog.url("renamed")}
    assert {each.state for each in rows(blog, Link)} == {LinkState.sent}
    edit(blog, "renamed", html=linked(*targets[1:]))
    work(blog)
    assert there.told[5:] == ["/webmention?a=1&b=2"]
    assert there.forms[5]["source"] == [blog.url("renamed")]


def test_what_was_not_told_yet_is_told_by_the_new_address(
    blogs: Callable[..., Blog], database_url: str, there: There
) -> None:
    blog = blogs(database_url)
    things(blog)
    publish(blog, "/things/a", linked(there.offer("webmention")))
    moved(blog, "/things/a", "/things/b")
    work(blog)
    assert [form["source"] for form in there.forms] == [["https://blog.example/things/b"]]


def test_a_page_moves_once(blogs: Callable[..., Blog], database_url: str) -> None:
    """What is at its new address moves from there, with mentions that never were the old one's."""
    blog = blogs(database_url)
    things(blog)
    mentioned(blog, "/things/a", "http://there.example/1")
    mentioned(blog, "/things/b", "http://there.example/2")
    moved(blog, "/things/a", "/things/b")
    moved(blog, "/things/a", "/things/b")  # said again, nothing happens
    with blog.app.app_context():
        with pytest.raises(ValueError, match="/things/b already"):
            blog.linkback.moved("/things/a", "/things/c")
        blog.db.session.rollback()
    assert {each.target_key for each in mentions(blog)} == {"thing?name=b"}
    moved(blog, "/things/b", "/things/c")
    moved(blog, "/things/a", "/things/c")  # where it is by now
    assert {each.target_key for each in mentions(blog)} == {"thing?name=c"}


def test_an_object_that_has_another_address_now_keeps_its_mentions(
    blogs: Callable[..., Blog], database_url: str, there: There
) -> None:
    """Another page is published at its old one, and moves elsewhere."""
    blog = blogs(database_url)
    add(blog, "old", html=linked(there.offer("webmention")))
    with blog.app.app_context():
        post = blog.db.session.scalars(sa.select(blog.Post)).one()
        ping_func("https://there.example/1", blog.url("old"))
        post.slug = "renamed"
        blog.linkback.moved("/post/old", "/post/renamed")
        blog.db.session.commit()
    add(blog, "other")
    publish(blog, "/post/old", "<p>Something else</p>")
    moved(blog, "/post/old", "/post/other")
    assert mention(blog).target_key == "Post:1"
    delete(blog, "renamed")
    assert (state(blog, "/post/renamed"), state(blog, "/post/old")) == (PageState.gone, PageState.moved)


def test_a_page_moves_to_one_that_is_there(blog: Blog) -> None:
    things(blog)
    with blog.app.app_context():
        with pytest.raises(UnknownTarget, match="add it first"):
            blog.linkback.moved("/things/a", "/things/missing")
        with pytest.raises(ValueError, match="its own address"):
            blog.linkback.moved("/things/a", "https://blog.example/things/a#part")
        blog.db.session.rollback()
    moved(blog, "/old", "/about")  # which accepts no linkbacks
    assert get(blog, "/old").location == "https://blog.example/about"
