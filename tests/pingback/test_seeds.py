"""Easy to miss in a re-creation: points 1 to 5 and 7 to 9 of django-pingback's list."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable
from typing import Any

import pytest
from flask import current_app
from flask.views import View
from werkzeug.exceptions import NotFound

import flask_linkback
from flask_linkback.errors import ConfigError
from flask_linkback.models import Link, LinkState, MentionState
from tests.apps import Blog
from tests.neighbours import Neighbour
from tests.pingback.peers import Peer
from tests.pingback.tools import (
    ENDPOINT,
    add,
    call,
    edit,
    fault_of,
    link,
    mention,
    mentions,
    page,
    ping,
    post,
    rows,
    work,
)


def show(slug: str) -> str:
    return slug


def load(slug: str) -> str | None:
    return None if slug == "missing" else f"thing {slug}"


class Show(View):
    def dispatch_request(self, slug: str) -> str:
        return slug


# --- 1: two interfaces, three ways to name a view -----------------------------------------------------


@pytest.mark.parametrize(
    ("view", "loader"),
    [
        ("show_thing", load),
        (show, load),
        ("tests.pingback.test_seeds.show", load),
        ("show_thing", "tests.pingback.test_seeds.load"),
        (show, lambda **args: load(**args)),
    ],
)
def test_1_register_pingback_takes_endpoint_function_and_dotted_path(
    blog: Blog, view: Any, loader: Any
) -> None:
    blog.linkback.register_pingback(view, loader)
    blog.app.add_url_rule("/things/<slug>", "show_thing", show)
    assert ping(blog, "http://there.example/", "https://blog.example/things/pen")
    assert mention(blog).target_key == "show_thing?slug=pen"
    assert fault_of(ping, blog, "http://there.example/", "https://blog.example/things/missing") == 0x20


def test_1_ping_func_is_the_method_itself(blog: Blog) -> None:
    target = add(blog, "hello")
    with blog.app.app_context():
        assert flask_linkback.ping_func("http://there.example/", target) == (
            f"pingback from http://there.example/ to {target} saved"
        )
        with pytest.raises(Exception, match="48"):
            flask_linkback.ping_func("http://there.example/", target)
    blog.linkback.xmlrpc.register("blog.ping", flask_linkback.ping_func)
    assert call(blog, "blog.ping", "http://there.example/2", target).endswith("saved")
    assert len(mentions(blog)) == 2


def test_1_create_ping_func_goes_by_endpoint(blog: Blog) -> None:
    loaders: dict[str, Any] = {"show_thing": load, "show.view": load}
    ping_func = blog.linkback.create_ping_func(**loaders)
    blog.app.add_url_rule("/things/<slug>", "show_thing", show)
    blog.app.add_url_rule("/views/<slug>", view_func=Show.as_view("show.view"))
    for number, path in enumerate(("things", "views")):
        target = f"https://blog.example/{path}/pen"
        with blog.app.app_context():
            assert ping_func("http://there.example/", target).endswith("saved")
        assert mentions(blog)[number].target == target


def test_1_views_may_be_classes_and_have_decorators(blog: Blog) -> None:
    blog.app.add_url_rule("/views/<slug>", view_func=Show.as_view("views"))
    blog.linkback.target(Show, "post")(load)
    assert ping(blog, "http://there.example/", "https://blog.example/views/pen")


def test_1_unknown_endpoint_is_told_at_the_first_request(blog: Blog) -> None:
    for view, said in (
        ("pots", "There is no endpoint 'pots' to accept linkbacks. Did you mean post?"),
        ("blog.views.nothing", "There is no endpoint 'blog.views.nothing' to accept linkbacks."),
        (load, "load accepts linkbacks, but is no view of"),
    ):
        blog.linkback._targets._targets[1:] = []
        blog.linkback.register_pingback(view, load)
        with pytest.raises(ConfigError) as raised:
            blog.app.test_client().get("/about")
        assert said in str(raised.value)


@pytest.mark.parametrize("nothing", [None, NotFound(), "one"])
def test_1_three_ways_to_say_that_there_is_no_such_page(blog: Blog, nothing: Any) -> None:
    def find() -> Any:
        if nothing == "one":
            return blog.db.session.execute(blog.db.select(blog.Post)).one()
        if nothing is not None:
            raise nothing
        return None

    blog.linkback.target("about")(find)
    assert fault_of(ping, blog, "http://there.example/", "https://blog.example/about") == 0x20


def test_1_a_page_may_be_anything_with_a_key(blog: Blog, neighbour: Neighbour) -> None:
    blog.app.add_url_rule("/things/<slug>", "show_thing", show)
    blog.linkback.target("show_thing", key=lambda thing: f"thing/{thing.lower()}")(load)
    ping(blog, neighbour.url("/source"), "https://blog.example/things/Pen")
    assert mention(blog).target_key == "thing/thing pen"
    assert fault_of(ping, blog, neighbour.url("/source"), "https://blog.example/things/pen") == 0x30


def test_1_target_needs_a_view(blog: Blog) -> None:
    with pytest.raises(TypeError, match="endpoint or view"):
        blog.linkback.target()


# --- 2, 3, 4: the endpoint, its faults, its header --------------------------------------------------------


def test_2_endpoint_lists_its_methods_and_describes_them(blog: Blog) -> None:
    page = blog.app.test_client().get(ENDPOINT).text
    for name in call(blog, "system.listMethods"):
        assert name in page
        assert call(blog, "system.methodHelp", name).partition("\n")[0]
    assert fault_of(call, blog, "system.multicall", [{"methodName": "pingback.ping", "params": []}]) == -32601


def test_3_faults_are_sent_and_ints_are_understood(blog: Blog, neighbour: Neighbour) -> None:
    body = xmlrpc.client.dumps(("http://there.example/", "https://blog.example/about"), "pingback.ping")
    assert b"<fault>" in post(blog, body.encode()).data
    peer = Peer(neighbour, answer=0x21)
    add(blog, "hello", html=f'<a href="{peer.url}">x</a>')
    work(blog)
    assert (link(blog).state, link(blog).fault_code) == (LinkState.refused, 0x21)


def test_4_method_and_header_come_of_themselves(blog: Blog) -> None:
    """Nobody registered ``pingback.ping``, and nobody wrote a header: `make_blog` does neither."""
    add(blog, "hello")
    client = blog.app.test_client()
    assert "pingback.ping" in call(blog, "system.listMethods")
    assert client.get("/post/hello").headers["X-Pingback"] == f"https://blog.example{ENDPOINT}"
    for status in (201, 204, 206, 301, 304, 404, 410, 500):
        name = f"status_{status}"
        blog.app.view_functions[name] = lambda status=status: ("", status)
        blog.app.url_map.add(blog.app.url_rule_class(f"/{name}", endpoint=name, methods=["GET"]))
        blog.linkback.register_pingback(name, lambda: "thing")
        assert "X-Pingback" not in client.get(f"/{name}").headers


# --- 5, 7: the client's rows, and a list of its own --------------------------------------------------------


def test_5_every_link_has_a_row_which_allows_another_try(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)
    peer = Peer(neighbour)
    refusing = Peer(neighbour, path="/no", server_path="/no/rpc", answer=xmlrpc.client.Fault(33, "No."))
    neighbour.answer("/plain", body=b"no server")
    urls = [peer.url, refusing.url, neighbour.url("/plain"), neighbour.url("/missing")]
    html = "".join(f'<a href="{url}">x</a>' for url in urls)
    add(blog, "hello", html=html)
    work(blog)
    assert [each.state for each in rows(blog, Link)] == ["sent", "refused", "unsupported", "refused"]
    Peer(neighbour, path="/plain", server_path="/plain/rpc")
    edit(blog, "hello", html=f"More: {html}")
    work(blog)
    assert [each.state for each in rows(blog, Link)] == ["sent", "refused", "sent", "refused"]
    assert len(peer.calls) == len(refusing.calls) == 1


def test_7_ping_only_these_urls(blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour) -> None:
    blog = blogs(sqlite_url, content=None)
    blog.Post.trackback_urls = property(lambda post: post.title)
    blog.linkback.ping_external_links(blog.Post, targets="trackback_urls")
    peer = Peer(neighbour)
    other = peer.serve_page("/other")
    add(blog, "hello", title=f"{peer.url}; {other}", html='<a href="http://not.example/">x</a>')
    work(blog)
    assert [target for _, target in peer.calls] == [peer.url, other]


# --- 8, 9: what is shown, and where a target is ------------------------------------------------------------


def test_8_unapproved_mentions_are_hidden_unless_asked_for(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    for setting, shown in ((False, 0), (True, 1)):
        blog = blogs(sqlite_url, AUTO_APPROVE=False, SHOW_UNAPPROVED=setting)
        target = blog.url("hello")
        if not setting:
            add(blog, "hello")
            neighbour.answer("/source", body=page(target))
            ping(blog, neighbour.url("/source"), target)
            work(blog)
        with blog.app.app_context():
            assert blog.linkback.mention_count(target) == shown
            assert len(blog.linkback.mentions_for(target)) == shown
            assert blog.linkback.mention_count(target, include_hidden=True) == 1
        assert blog.app.test_client().get("/post/hello").text.count("<li id=") == shown


def test_9_port_query_and_fragment_of_a_target_do_not_matter(blog: Blog, neighbour: Neighbour) -> None:
    add(blog, "hello")
    neighbour.answer("/source", body=page("https://blog.example/post/hello"))
    target = "http://blog.example:8080/post/hello?utm_source=x#comments"
    ping(blog, neighbour.url("/source"), target)
    work(blog)
    assert (mention(blog).state, mention(blog).target) == (MentionState.verified, target)
    assert fault_of(ping, blog, neighbour.url("/source"), "https://blog.example/post/hello") == 0x30
    assert fault_of(ping, blog, neighbour.url("/source"), "https://sub.blog.example/post/hello") == 0x21


def test_9_hosts_are_compared_in_any_spelling(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, base_url="https://bücher.example", HOSTS=("WWW.bücher.example", "[2001:db8::1]"))
    add(blog, "hello")
    for number, host in enumerate(
        (
            "bücher.example",
            "xn--bcher-kva.example",
            "BÜCHER.example:8443",
            "www.bücher.example",
            "[2001:DB8::1]:81",
        )
    ):
        assert ping(blog, neighbour.url(f"/{number}"), f"http://{host}/post/hello"), host


def test_pages_know_their_site(blog: Blog) -> None:
    """A loader runs where the application's own code does."""
    blog.linkback.target("about")(lambda: current_app.name)
    assert ping(blog, "http://there.example/", "https://blog.example/about")
