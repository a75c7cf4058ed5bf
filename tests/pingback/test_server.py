"""The server: what it takes, what it refuses and why, and what becomes of what it took."""

from __future__ import annotations

import contextlib
import xmlrpc.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import ORMExecuteState

from flask_linkback.models import MentionState, MentionStatus
from flask_linkback.templating import linkback_head
from tests.apps import Blog, mounted
from tests.neighbours import Neighbour
from tests.pingback.tools import (
    ENDPOINT,
    add,
    call,
    fault_of,
    heard,
    mention,
    mentions,
    names,
    page,
    pending,
    ping,
    post,
    request,
    statements,
    work,
)


@pytest.fixture
def at_once(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    """A blog that looks at the source in the request, at the same source as often as it is told."""
    blog = blogs(sqlite_url, PINGBACK_VERIFY="at_once", SOURCE_INTERVAL_SECONDS=0)
    add(blog, "hello")
    return blog


# --- the acceptance cases ------------------------------------------------------------------------------


def test_p01_valid_ping_is_stored_and_approved(
    serve: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = serve(database_url, AUTO_APPROVE=True, content=None)
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target))
    source = neighbour.url("/source")

    server = xmlrpc.client.ServerProxy(blog.base_url + ENDPOINT)
    with server:
        answer = server.pingback.ping(source, target)

    assert answer == f"pingback from {source} to {target} saved"
    assert neighbour.requests == []  # nothing is fetched while the caller waits
    waiting = mention(blog)
    assert (waiting.state, waiting.status) == (MentionState.received, MentionStatus.pending)
    assert work(blog) == 1
    taken = mention(blog)
    assert (taken.state, taken.status) == (MentionState.verified, MentionStatus.approved)
    assert (taken.source, taken.target, taken.target_key) == (source, target, "Post:1")
    assert (taken.protocol, taken.title, taken.content) == (
        "pingback",
        "Their page",
        "Do read this, it is good.",
    )
    _, _, body = request("GET", target)
    assert f'<li id="pingback-{taken.id}">'.encode() in body


def test_p02_source_404_or_unreachable_is_fault_16(at_once: Blog, neighbour: Neighbour) -> None:
    target = at_once.url("hello")
    assert fault_of(ping, at_once, neighbour.url("/missing"), target) == 0x10
    neighbour.answer("/gone", status=410)
    assert fault_of(ping, at_once, neighbour.url("/gone"), target) == 0x10
    with Neighbour() as gone:
        closed = gone.url("/source")
    assert fault_of(ping, at_once, closed, target) == 0x10
    assert {each.state for each in mentions(at_once)} == {MentionState.failed}
    assert {each.reason for each in mentions(at_once)} == {"http_404", "http_410", "unreachable"}
    requests = len(neighbour.requests)
    work(at_once)  # the caller knows: nothing is owed any more
    assert len(neighbour.requests) == requests


def test_p03_source_without_the_link_is_fault_17(at_once: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/source", body=page("https://elsewhere.example/", at_once.url("other")))
    assert fault_of(ping, at_once, neighbour.url("/source"), at_once.url("hello")) == 0x11
    assert mention(at_once).state is MentionState.failed


def test_p04_link_only_as_text_or_image_is_fault_17(at_once: Blog, neighbour: Neighbour) -> None:
    target = at_once.url("hello")
    for number, (html, content_type) in enumerate(
        (
            ("<p>{}</p>", "text/html"),
            ('<img src="{}">', "text/html"),
            ('<!-- <a href="{}">x</a> -->', "text/html"),
            ("<script>'<a href=\"{}\">x</a>'</script>", "text/html"),
            ('<textarea><a href="{}">x</a></textarea>', "text/html"),
            ('<link rel="related" href="{}">', "text/html"),
            ('<a name="{}">x</a>', "text/html"),
            ('<a href="{}">x</a>', "text/plain"),
            ('<a href="{}">x</a>', "image/png"),
        )
    ):
        body = html.format(target).encode()
        neighbour.answer(f"/{number}", body=body, headers=[("Content-Type", content_type)])
        assert fault_of(ping, at_once, neighbour.url(f"/{number}"), target) == 0x11, html


def test_p05_foreign_host_is_fault_33_own_host_with_port_is_fine(blog: Blog, neighbour: Neighbour) -> None:
    add(blog, "hello")
    for target in (
        "https://foreign.example/post/hello",
        "https://blog.example.foreign.example/post/hello",
        "https://user@blog.example/post/hello",
        "ftp://blog.example/post/hello",
        "/post/hello",
        "https://",
        "https://[::1/post/hello",
        "",
    ):
        assert fault_of(ping, blog, neighbour.url("/source"), target) == 0x21, target
    assert mentions(blog) == []
    for number, target in enumerate(
        (
            "https://blog.example:8443/post/hello",
            "http://blog.example/post/hello",
            "HTTPS://BLOG.example/post/hello",
        )
    ):
        assert ping(blog, neighbour.url(f"/source/{number}"), target)


def test_p06_path_without_route_is_fault_32(blog: Blog, neighbour: Neighbour) -> None:
    assert fault_of(ping, blog, neighbour.url("/source"), "https://blog.example/nowhere") == 0x20
    assert mentions(blog) == []


def test_p07_route_without_handler_is_not_pingable(blog: Blog, neighbour: Neighbour) -> None:
    assert fault_of(ping, blog, neighbour.url("/source"), "https://blog.example/about") == 0x21
    assert mentions(blog) == []


def test_p08_handler_that_finds_nothing_is_fault_32(blog: Blog, neighbour: Neighbour) -> None:
    assert fault_of(ping, blog, neighbour.url("/source"), blog.url("missing")) == 0x20
    assert mentions(blog) == []


def test_p09_second_ping_is_fault_48(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    source = neighbour.url("/source")
    ping(blog, source, target)
    assert fault_of(ping, blog, source, target) == 0x30
    assert fault_of(ping, blog, f"{source}#part", f"{target}?x=1#comments") == 0x30
    neighbour.answer("/source", body=page(target))
    work(blog)
    assert fault_of(ping, blog, source, target) == 0x30
    assert len(mentions(blog)) == 1


def test_p10_page_without_title_is_called_unknown(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    for number, title in enumerate((None, "", "  \n ")):
        neighbour.answer(f"/{number}", body=page(target, title=title))
        ping(blog, neighbour.url(f"/{number}"), target)
    work(blog)
    assert [each.title for each in mentions(blog)] == ["Unknown title"] * 3


def test_p11_long_paragraph_is_cut_round_the_link(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    words = " ".join(f"word{number}" for number in range(200))
    neighbour.answer("/source", body=page(target, text=f"{words} before {{}} after {words}"))
    ping(blog, neighbour.url("/source"), target)
    work(blog)
    content = mention(blog).content
    assert 150 < len(content) <= 200
    assert "before this after" in content
    assert content.startswith("…")
    assert content.endswith("…")


def test_p11_the_length_of_an_excerpt_is_a_setting(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, EXCERPT_LENGTH=40)
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target, text="many words " * 20 + "{}" + " and more" * 20))
    ping(blog, neighbour.url("/source"), target)
    work(blog)
    assert len(mention(blog).content) <= 40
    assert "this" in mention(blog).content


def test_p12_short_paragraph_is_kept_whole_and_stripped(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target, text="\n\t  One <b>two</b>\n {} three.  \n"))
    ping(blog, neighbour.url("/source"), target)
    work(blog)
    assert mention(blog).content == "One two this three."


def test_p13_get_lists_the_methods(serve: Callable[..., Blog], sqlite_url: str) -> None:
    blog = serve(sqlite_url, PINGBACK_ALIASES=("/xmlrpc/", "/RPC2"))

    def exclaim(text: str, times: int = 1) -> str:
        """Say <b>it</b> & louder."""
        return text + "!" * times

    blog.linkback.xmlrpc.register("demo.exclaim", exclaim, args=["string", "int"])
    for path in (ENDPOINT, "/xmlrpc/", "/RPC2"):
        status, headers, body = request("GET", blog.base_url + path)
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        text = body.decode()
        for name in ("pingback.ping", "system.listMethods", "system.methodHelp", "system.methodSignature"):
            assert f"<strong>{name}</strong>" in text
        assert "string <strong>pingback.ping</strong>(string, string)" in text
        assert "string <strong>demo.exclaim</strong>(string, int)" in text
        assert "Say &lt;b&gt;it&lt;/b&gt; &amp; louder." in text
        assert "multicall" not in text
        assert request("HEAD", blog.base_url + path)[0] == 200
        assert request("PUT", blog.base_url + path, b"x")[0] == 405
        with xmlrpc.client.ServerProxy(blog.base_url + path) as server:
            assert server.demo.exclaim("Oh", 3) == "Oh!!!"


def test_p13_system_methods(blog: Blog) -> None:
    assert call(blog, "system.listMethods") == [
        "pingback.ping",
        "system.listMethods",
        "system.methodHelp",
        "system.methodSignature",
    ]
    assert call(blog, "system.methodSignature", "pingback.ping") == [["string", "string", "string"]]
    assert "links to our page" in call(blog, "system.methodHelp", "pingback.ping")
    assert fault_of(call, blog, "system.methodHelp", "demo.none") == -32601
    assert fault_of(call, blog, "system.methodSignature", "demo.none") == -32601
    assert fault_of(call, blog, "system.multicall", []) == -32601


def test_p14_header_is_absolute_and_on_200_only(serve: Callable[..., Blog], sqlite_url: str) -> None:
    blog = serve(sqlite_url)
    target = add(blog, "hello")
    for method in ("GET", "HEAD"):
        status, headers, _ = request(method, target)
        assert status == 200
        assert headers.get_all("X-Pingback") == [blog.base_url + ENDPOINT]
        for path in ("/about", "/post/missing", "/nowhere", ENDPOINT):
            assert "X-Pingback" not in request(method, blog.base_url + path)[1]
    assert "X-Pingback" not in request("OPTIONS", target)[1]


def test_p15_malformed_xml_is_a_fault_with_http_200(serve: Callable[..., Blog], sqlite_url: str) -> None:
    server = serve(sqlite_url).base_url + ENDPOINT
    doctype = b"<?xml version='1.0'?><!DOCTYPE x><methodCall/>"
    for body in (b"", b"<", b"<methodCall>", b"\xff\xfe", doctype):
        status, headers, answer = request("POST", server, body, {"Content-Type": "text/xml"})
        assert (status, headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
        with pytest.raises(xmlrpc.client.Fault) as raised:
            xmlrpc.client.loads(answer)
        assert raised.value.faultCode == -32700


# --- the other faults -----------------------------------------------------------------------------------


def test_faults_of_xmlrpc_itself(blog: Blog) -> None:
    def code(body: bytes, **options: Any) -> int:
        response = post(blog, body, **options)
        assert response.status_code == 200
        with pytest.raises(xmlrpc.client.Fault) as raised:
            xmlrpc.client.loads(response.data)
        return raised.value.faultCode

    whole = xmlrpc.client.dumps(("a", "b"), "pingback.ping").encode()
    assert code(b"<no/>") == -32600
    assert code(b"<methodResponse/>") == -32600
    assert code(whole, content_type="application/json") == -32600
    assert code(whole, content_type="multipart/form-data; boundary=x") == -32600
    assert code(whole + b" " * 70_000) == -32600
    assert code(xmlrpc.client.dumps((), "demo.none").encode()) == -32601
    for params in ((), ("a",), ("a", "b", "c"), ("a", 1), (1, "b"), (["a"], {"b": "c"}), (True, b"b")):
        assert code(xmlrpc.client.dumps(params, "pingback.ping").encode()) == -32602, params


def test_calls_come_with_many_media_types(blog: Blog) -> None:
    body = xmlrpc.client.dumps((), "system.listMethods").encode()
    types = ("text/xml", "application/xml; charset=utf-8", "text/plain", "", "application/octet-stream")
    for content_type in types:
        (methods,), _ = xmlrpc.client.loads(post(blog, body, content_type=content_type).data)
        assert "pingback.ping" in methods


def test_fault_0_when_the_application_fails(
    blog: Blog, neighbour: Neighbour, caplog: pytest.LogCaptureFixture
) -> None:
    @blog.linkback.target("about")
    def broken() -> Any:
        return None.page  # type: ignore[attr-defined]

    assert fault_of(ping, blog, neighbour.url("/source"), "https://blog.example/about") == 0
    (record,) = [each for each in caplog.records if each.exc_info]
    assert record.name == "flask_linkback.linkbacks"
    assert "about" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is AttributeError
    assert mentions(blog) == []


@pytest.mark.parametrize("what", ["accepts", "date"])
def test_fault_0_when_the_application_cannot_say_whether_a_page_is_open(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, what: str
) -> None:
    blog = blogs(sqlite_url, CLOSE_AFTER_DAYS=1)
    blog.linkback.target("about", **{what: "no_such_attribute"})(lambda: "about")
    assert fault_of(ping, blog, neighbour.url("/source"), "https://blog.example/about") == 0


def test_fault_50_when_the_sources_server_has_trouble(at_once: Blog, neighbour: Neighbour) -> None:
    """It says nothing about the page: the client may come back, and we look again in any case."""
    target = at_once.url("hello")
    for status in (500, 502, 503, 429, 408):
        neighbour.answer(f"/{status}", status=status)
        assert fault_of(ping, at_once, neighbour.url(f"/{status}"), target) == 0x32
        assert mentions(at_once)[-1].state is MentionState.received
        assert fault_of(ping, at_once, neighbour.url(f"/{status}"), target) == 0x30


def test_fault_17_for_a_page_that_is_too_large(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, PINGBACK_VERIFY="at_once", MAX_HTML_BYTES=20_000)
    target = add(blog, "hello")
    neighbour.answer("/source", body=b"<p>" + b"x" * 30_000 + page(target))
    assert fault_of(ping, blog, neighbour.url("/source"), target) == 0x11


def test_source_that_is_no_url_is_fault_16(blog: Blog) -> None:
    target = add(blog, "hello")
    for source in (
        "",
        "source",
        "/source",
        "ftp://there.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://user:pw@there.example/",
        "http://there.example:0/",
        "http://there.example/a b",
        "http://" + "x" * 300 + ".example/",
        "http://there.example/" + "x" * 2048,
    ):
        assert fault_of(ping, blog, source, target) == 0x10, source
    assert mentions(blog) == []


def test_page_that_says_it_links_to_itself_is_fault_33(blog: Blog) -> None:
    target = add(blog, "hello")
    assert fault_of(ping, blog, f"{target}#a", f"{target}#b") == 0x21


def test_page_of_ours_may_link_to_another(blog: Blog) -> None:
    target = add(blog, "hello")
    assert ping(blog, blog.url("other"), target)


def test_each_fault_leaves_one_record(blog: Blog, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flask_linkback")
    fault_of(ping, blog, "http://there.example/", "https://blog.example/nowhere")
    post(blog, b"<")
    first, second = caplog.records
    assert (first.name, first.levelname) == ("flask_linkback.pingback", "INFO")
    assert vars(first)["fault"] == 32
    assert vars(first)["params"] == ["http://there.example/", "https://blog.example/nowhere"]
    assert vars(second)["fault"] == -32700


# --- own methods ----------------------------------------------------------------------------------------


def describe(thing: dict[str, Any]) -> dict[str, Any]:
    """Say what a thing is."""
    return {"is": thing["name"], "parts": [1, 2.5, True]}


def test_own_methods(blog: Blog) -> None:
    register = blog.linkback.xmlrpc.register
    register("demo.add", lambda a, b: a + b, returns="int", args=["int", "int"])
    register("demo.describe", "tests.pingback.test_server.describe", returns="struct", args=["struct"])
    register("demo.broken", lambda: 1 / 0)
    register("demo.unsayable", lambda: object())
    register("demo.echo", lambda *values: list(values), returns="array", args=["string", "double", "boolean"])
    assert call(blog, "demo.add", 2, 3) == 5
    assert call(blog, "demo.describe", {"name": "pen"}) == {"is": "pen", "parts": [1, 2.5, True]}
    assert call(blog, "demo.echo", "a", 1, True) == ["a", 1, True]
    assert call(blog, "system.methodSignature", "demo.add") == [["int", "int", "int"]]
    assert call(blog, "system.methodHelp", "demo.describe") == "Say what a thing is."
    for params in ((1,), (1, 2, 3), ("1", "2"), (True, 1), (1.0, 2)):
        assert fault_of(call, blog, "demo.add", *params) == -32602
    assert fault_of(call, blog, "demo.echo", "a", "b", True) == -32602
    assert fault_of(call, blog, "demo.echo", "a", 1.0, 1) == -32602


def test_own_method_that_fails_is_a_fault(blog: Blog, caplog: pytest.LogCaptureFixture) -> None:
    blog.linkback.xmlrpc.register("demo.broken", lambda: 1 / 0)
    blog.linkback.xmlrpc.register("demo.unsayable", lambda: object())
    assert fault_of(call, blog, "demo.broken") == -32603
    assert fault_of(call, blog, "demo.unsayable") == 0
    assert len([each for each in caplog.records if each.exc_info]) == 2


def test_own_method_must_be_a_function(blog: Blog) -> None:
    with pytest.raises(TypeError, match=r"demo\.none needs a function"):
        blog.linkback.xmlrpc.register("demo.none", None)  # type: ignore[arg-type]


# --- pages that are closed ------------------------------------------------------------------------------


def test_accepts_closes_single_objects(blog: Blog, neighbour: Neighbour) -> None:
    open_post, closed = add(blog, "open"), add(blog, "closed", closed=True)
    assert ping(blog, neighbour.url("/source"), open_post)
    assert fault_of(ping, blog, neighbour.url("/source"), closed) == 0x21


def test_accepts_is_a_bool_an_attribute_a_method_or_a_callable(blog: Blog) -> None:
    class Thing:
        yes = True
        no = False

        def says_no(self) -> bool:
            return False

    target = "https://blog.example/about"
    for accepts in (None, True, "yes", lambda thing: thing.yes):
        blog.linkback.target("about", accepts=accepts)(Thing)
        assert ping(blog, f"http://there.example/{accepts}".replace(" ", ""), target)
    for accepts in (False, "no", "says_no", lambda thing: thing.no):
        blog.linkback.target("about", accepts=accepts)(Thing)
        assert fault_of(ping, blog, "http://there.example/", target) == 0x21


def test_accept_false_closes_the_site(serve: Callable[..., Blog], sqlite_url: str) -> None:
    blog = serve(sqlite_url, ACCEPT=False)
    target = add(blog, "hello")
    assert fault_of(ping, blog, "http://there.example/", target) == 0x21
    _, headers, body = request("GET", target)
    assert "X-Pingback" not in headers
    assert b'rel="pingback"' not in body


# --- the signals of each transition ----------------------------------------------------------------------


def test_each_transition_has_its_signal_once(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url, SOURCE_INTERVAL_SECONDS=0, RETRY_SCHEDULE=(0,))
    target = add(blog, "hello")
    source = neighbour.url("/source")

    def after(*, status: int = 200, body: bytes = b"", told: bool = True) -> list[str]:
        neighbour.answer("/source", status=status, body=body)
        with heard(blog) as said:
            if told:
                with contextlib.suppress(xmlrpc.client.Fault):
                    ping(blog, source, target)
            work(blog)
        assert {each["mention"].id for _, each in said} <= {1}
        return names(said)

    def state() -> MentionState:
        return mention(blog).state

    # received -> failed -> received -> verified
    assert after(body=page()) == ["mention_received", "mention_removed"]
    assert (state(), mention(blog).reason) == (MentionState.failed, "no_link")
    assert after(body=page(target)) == ["mention_received", "mention_verified"]
    assert (state(), mention(blog).reason) == (MentionState.verified, "")
    # verified -> verified
    assert after(body=page(target)) == []
    assert after(body=page(target, title="Another")) == ["mention_updated"]
    assert mention(blog).title == "Another"
    # verified -> gone -> received -> gone -> received -> verified
    assert after(status=410) == ["mention_removed"]
    assert (state(), mention(blog).reason) == (MentionState.gone, "http_410")
    assert after(status=404) == ["mention_received", "mention_removed"]
    assert (state(), mention(blog).reason) == (MentionState.gone, "http_404")
    assert after(body=page(target, title="Another")) == ["mention_received", "mention_verified"]
    assert after(body=page()) == ["mention_removed"]
    assert (state(), mention(blog).reason) == (MentionState.gone, "no_link")
    assert after(told=False) == []


def test_a_rule_that_decides_is_announced_too(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, AUTO_APPROVE=True)
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target))
    with heard(blog) as said:
        ping(blog, neighbour.url("/source"), target)
        work(blog)
    assert names(said) == ["mention_received", "mention_verified", "mention_moderated"]
    assert said[-1][1]["status"] is MentionStatus.approved
    assert said[-1][1]["previous"] is MentionStatus.pending


def test_a_rule_that_raises_leaves_it_to_a_person(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour, caplog: pytest.LogCaptureFixture
) -> None:
    blog = blogs(sqlite_url, AUTO_APPROVE=[lambda mention: mention.nothing, lambda mention: False])
    target = add(blog, "hello")
    neighbour.answer("/source", body=page(target))
    ping(blog, neighbour.url("/source"), target)
    work(blog)
    assert (mention(blog).state, mention(blog).status) == (MentionState.verified, MentionStatus.pending)
    assert len([each for each in caplog.records if each.exc_info]) == 1


def test_moderation_is_announced_once_it_is_committed(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(database_url)
    target = add(blog, "hello")
    ping(blog, neighbour.url("/source"), target)
    neighbour.answer("/source", body=page(target))
    work(blog)
    with heard(blog) as said:
        with blog.app.app_context():
            (one,) = blog.linkback.mentions_for(target, include_hidden=True)
            blog.linkback.moderate(one, "approved", who="me")
            blog.linkback.moderate(one, "approved")
            assert said == []
            blog.db.session.commit()
        work(blog)
    ((name, values),) = said
    assert (name, values["status"], values["previous"]) == ("mention_moderated", "approved", "pending")
    with blog.app.app_context(), pytest.raises(ValueError, match="maybe"):
        blog.linkback.moderate(mention(blog), "maybe")


def test_known_hosts_need_no_moderator(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    for number in range(2):
        neighbour.answer(f"/{number}", body=page(target))
    ping(blog, neighbour.url("/0"), target)
    work(blog)
    assert mention(blog).status is MentionStatus.pending
    with blog.app.app_context():
        (one,) = blog.linkback.mentions_for(target, include_hidden=True)
        blog.linkback.moderate(one, "approved")
        blog.db.session.commit()
    ping(blog, neighbour.url("/1"), target)
    work(blog)
    assert [each.status for each in mentions(blog)] == [MentionStatus.approved] * 2


def test_the_same_call_twice_at_the_same_time(
    blogs: Callable[..., Blog], database_url: str, neighbour: Neighbour
) -> None:
    """The second one finds no row when it looks, and one when it writes."""
    blog = blogs(database_url)
    target = add(blog, "hello")
    answers: list[str] = []

    def another_one(state: ORMExecuteState) -> None:
        if not answers and state.is_insert:
            answers.append("")
            with ThreadPoolExecutor() as pool:  # in a session of its own
                answers[0] = pool.submit(ping, blog, neighbour.url("/source"), target).result()

    sa.event.listen(blog.db.session, "do_orm_execute", another_one)
    assert fault_of(ping, blog, neighbour.url("/source"), target) == 0x30
    assert answers[0].endswith("saved")
    assert len(mentions(blog)) == 1
    assert len(pending(blog, "verify_source")) == 1


# --- what a link looks like ------------------------------------------------------------------------------


SAME = (
    ("https://blog.example/post/a?x=1&y=2", "https://blog.example/post/a?x=1&y=2"),
    ("https://blog.example/post/a?x=1&y=2", "https://blog.example/post/a?x=1&amp;y=2"),
    ("https://blog.example/post/a#part", "https://blog.example/post/a"),
    ("https://blog.example/post/a", "https://blog.example/post/a#part"),
    ("https://blog.example/post/a", "http://blog.example:8080/post/a?utm=x"),
    ("https://blog.example/post/a", "//blog.example/post/a"),
    ("https://blog.example/post/a", "\n https://blog.example/post/a \t"),
    ("https://blog.example/post/a", "https&#58;//blog&#46;example/post/a"),
    ("https://blog.example/post/%61", "https://blog.example/post/a"),
    ("https://blog.example/post/%C3%BCber%20uns", "https://blog.example/post/über%20uns"),
    ("https://blog.example/post/über%20uns", "https://blog.example/post/%c3%bcber%20uns"),
    ("https://www.blog.example/post/a", "https://blog.example/post/a"),
)


def test_links_are_compared_by_where_they_lead(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = blogs(sqlite_url, HOSTS="www.blog.example")
    add(blog, "a")
    add(blog, "über uns")
    for number, (target, href) in enumerate(SAME):
        headers = [("Content-Type", "text/html; charset=utf-8")]
        neighbour.answer(f"/{number}", body=page(href), headers=headers)
        assert ping(blog, neighbour.url(f"/{number}"), target)
    work(blog)
    for taken, (_, href) in zip(mentions(blog), SAME, strict=True):
        assert taken.state is MentionState.verified, href


def test_links_to_other_pages_do_not_count(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "a")
    for number, href in enumerate(
        (
            "https://blog.example/post/ab",
            "https://blog.example/post/",
            "https://foreign.example/post/a",
            "https://blog.example.foreign.example/post/a",
            "https://foreign.example/?u=https://blog.example/post/a",
            "/post/a",
            "javascript:'https://blog.example/post/a'",
        )
    ):
        neighbour.answer(f"/{number}", body=page(href))
        ping(blog, neighbour.url(f"/{number}"), target)
    work(blog)
    assert {each.state for each in mentions(blog)} == {MentionState.failed}


def test_trailing_slashes_are_redirected_as_the_application_does(blog: Blog, neighbour: Neighbour) -> None:
    blog.app.add_url_rule("/page/<name>/", "page", lambda name: name)
    blog.linkback.target("page")(lambda name: name)
    neighbour.answer("/source", body=page("https://blog.example/page/one/"))
    assert ping(blog, neighbour.url("/source"), "https://blog.example/page/one")
    work(blog)
    taken = mention(blog)
    assert (taken.state, taken.target_key) == (MentionState.verified, "page?name=one")
    assert fault_of(ping, blog, neighbour.url("/source"), "https://blog.example/page/one/") == 0x30


def test_base_url_may_have_a_path(blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour) -> None:
    blog = blogs(sqlite_url, base_url="https://example.org/the/blog")
    target = add(blog, "a")
    assert target == "https://example.org/the/blog/post/a"
    neighbour.answer("/source", body=page(target))
    assert fault_of(ping, blog, neighbour.url("/source"), "https://example.org/post/a") == 0x20
    assert fault_of(ping, blog, neighbour.url("/source"), "https://example.org/the/blogs/post/a") == 0x20
    assert ping(blog, neighbour.url("/source"), target)
    work(blog)
    assert mention(blog).state is MentionState.verified
    response = blog.app.test_client().get("/the/blog/post/a", base_url="https://example.org")
    assert response.status_code == 404  # the prefix is taken off by the server in front
    response = blog.app.test_client().get("/post/a")
    assert response.headers["X-Pingback"] == "https://example.org/the/blog/linkback/pingback"


def test_relative_links_count_on_our_own_pages(serve: Callable[..., Blog], sqlite_url: str) -> None:
    blog = serve(sqlite_url, content=None)
    target = add(blog, "a")
    source = add(blog, "b", html='See <a href="../post/a">there</a>.')
    ping(blog, source, target)
    work(blog)
    assert mention(blog).state is MentionState.verified
    assert mention(blog).content == "See there."


def test_another_port_of_our_host_is_another_site(
    serve: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    """Two blogs with posts of the same name: what one says of its own is not said of the other's."""
    blog = serve(sqlite_url)
    target = add(blog, "hello")
    neighbour.answer("/post/hello", body=page("/post/hello", neighbour.url("/post/hello")))
    ping(blog, neighbour.url("/post/hello"), target)
    neighbour.answer("/both", body=page("/post/hello") + page(target, text="Here is {}."))
    ping(blog, neighbour.url("/both"), target)
    work(blog)
    failed, verified = mentions(blog)
    assert failed.state is MentionState.failed
    assert (verified.state, verified.content) == (MentionState.verified, "Here is this.")


# --- what a source looks like ----------------------------------------------------------------------------


def test_charset_of_the_source(blog: Blog, neighbour: Neighbour) -> None:
    target = add(blog, "hello")
    for number, (encoding, content_type, meta) in enumerate(
        (
            ("utf-8", "text/html; charset=utf-8", ""),
            ("utf-8", "text/html", ""),
            ("latin-1", "text/html; charset=ISO-8859-1", ""),
            ("latin-1", 'text/html;charset="iso-8859-1"', '<meta charset="utf-8">'),
            ("latin-1", "text/html", '<meta charset="iso-8859-1">'),
            ("latin-1", "text/html", '<meta http-equiv="Content-Type" content="text/html; charset=latin1">'),
            ("koi8-r", "application/xhtml+xml; charset=koi8-r", ""),
            ("utf-16", "text/html", ""),
        )
    ):
        title, words = ("Дождь", "Тихий") if encoding == "koi8-r" else ("Über Bäume", "Größe")
        link = f'<a href="{target}">x</a>'
        html = f"<html><head>{meta}<title>{title}</title></head><p>{words}: {link}</p></html>"
        headers = [("Content-Type", content_type)]
        neighbour.answer(f"/{number}", body=html.encode(encoding), headers=headers)
        ping(blog, neighbour.url(f"/{number}"), target)
        work(blog)
        assert (mentions(blog)[-1].title, mentions(blog)[-1].content) == (title, f"{words}: x")


@pytest.mark.parametrize(("hops", "state"), [(5, MentionState.verified), (6, MentionState.received)])
def test_source_may_redirect_five_times(
    blog: Blog, neighbour: Neighbour, hops: int, state: MentionState
) -> None:
    target = add(blog, "hello")
    for number in range(hops):
        neighbour.answer(f"/{number}", status=302, headers=[("Location", f"/{number + 1}")])
    neighbour.answer(f"/{hops}", body=page(target))
    ping(blog, neighbour.url("/0"), target)
    work(blog)
    assert mention(blog).state is state


def test_relative_links_are_relative_to_where_the_redirects_ended(
    serve: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    blog = serve(sqlite_url, content=None)
    target = add(blog, "a")
    add(blog, "b", html='<a href="a">there</a>')
    neighbour.answer("/source", status=301, headers=[("Location", blog.url("b"))])
    ping(blog, neighbour.url("/source"), target)
    work(blog)
    assert mention(blog).state is MentionState.verified


def test_error_page_with_the_link_is_no_source(at_once: Blog, neighbour: Neighbour) -> None:
    target = at_once.url("hello")
    for status, fault in ((404, 0x10), (403, 0x10), (500, 0x32)):
        neighbour.answer(f"/{status}", status=status, body=page(target))
        assert fault_of(ping, at_once, neighbour.url(f"/{status}"), target) == fault


def test_page_cut_at_its_cap(blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour) -> None:
    blog = blogs(sqlite_url, MAX_HTML_BYTES=100_000, SOURCE_INTERVAL_SECONDS=0)
    targets = [add(blog, "hello"), add(blog, "later")]
    filler = b"<p>" + b"many words " * 20_000
    neighbour.answer("/early", body=page(targets[0]) + filler + page(targets[1]))
    neighbour.answer("/late", body=page() + filler + page(targets[0]))
    ping(blog, neighbour.url("/late"), targets[0])
    for target in targets:
        ping(blog, neighbour.url("/early"), target)
    work(blog)
    late, early, behind = mentions(blog)
    assert (late.state, late.reason) == (MentionState.failed, "too_large")
    assert (early.state, early.reason) == (MentionState.verified, "")
    assert (behind.state, behind.reason) == (MentionState.failed, "too_large")

    neighbour.answer("/early", body=page() + filler + page(targets[0]))
    assert fault_of(ping, blog, neighbour.url("/early"), targets[0]) == 0x30
    work(blog)
    stays = mentions(blog)[1]
    assert (stays.state, stays.reason) == (MentionState.verified, "too_large")


def test_who_called_is_told_to_the_source(blog: Blog, neighbour: Neighbour) -> None:
    targets = [add(blog, "a"), add(blog, "b"), add(blog, "c"), add(blog, "d")]
    neighbour.answer("/source", body=page(*targets))
    callers = ("192.0.2.1", "2001:db8:0:0::5", "::ffff:192.0.2.1", "unknown, 1.2.3.4\r\nX: y")
    for caller, target in zip(callers, targets, strict=True):
        ping(blog, neighbour.url("/source"), target, caller=caller)
    work(blog)
    (asked,) = neighbour.requests
    assert asked.header("X-Pingback-Forwarded-For") == "192.0.2.1, 2001:db8::5"
    assert (asked.header("User-Agent") or "").endswith("(+https://blog.example)")
    assert asked.header("X") is None


def test_one_fetch_judges_all_that_wait_for_a_source(blog: Blog, neighbour: Neighbour) -> None:
    targets = [add(blog, slug) for slug in ("a", "b", "c")]
    neighbour.answer("/source", body=page(targets[0], targets[2]))
    for target in targets:
        ping(blog, neighbour.url("/source"), target)
    assert len(pending(blog, "verify_source")) == 1
    work(blog)
    assert [each.state for each in mentions(blog)] == [
        MentionState.verified,
        MentionState.failed,
        MentionState.verified,
    ]
    assert len(neighbour.requests) == 1


# --- where a page says that it accepts -------------------------------------------------------------------


def test_head_element_in_the_exact_form(blog: Blog) -> None:
    add(blog, "hello")
    client = blog.app.test_client()
    body = client.get("/post/hello").text
    assert '<link rel="pingback" href="https://blog.example/linkback/pingback">' in body
    assert body.count('rel="pingback"') == 1
    with blog.app.app_context():
        assert linkback_head() == ""
    with blog.app.test_request_context("/about"):
        assert linkback_head() == ""


def test_the_header_costs_no_query(blog: Blog) -> None:
    blog.app.add_url_rule("/plain", "plain", lambda: "plain")
    blog.linkback.target("plain")(lambda: blog.db.session.get(blog.Post, 1))
    client = blog.app.test_client()
    client.get("/plain")  # which asks whether any page is gone, for five seconds
    with statements(blog) as asked:
        assert "X-Pingback" in client.get("/plain").headers
    assert asked == []


def test_without_base_url_nothing_is_advertised(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, base_url=None, HOSTS="blog.example", content=None)
    with blog.app.app_context():
        blog.add("hello")
    response = blog.app.test_client().get("/post/hello")
    assert response.status_code == 200
    assert "X-Pingback" not in response.headers
    assert 'rel="pingback"' not in response.text
    assert ping(blog, "http://there.example/", "https://blog.example/post/hello")


@pytest.mark.parametrize(
    ("mount", "server"),
    [
        ({"url_prefix": "/xmlrpc"}, "https://blog.example/xmlrpc/pingback"),
        ({"subdomain": "ping"}, "https://ping.blog.example/pingback"),
        (None, None),
    ],
)
def test_the_application_may_mount_the_endpoint_itself(
    sqlite_url: str, mount: dict[str, Any] | None, server: str | None
) -> None:
    app, db = mounted(sqlite_url, "pingback", mount)
    response = app.test_client().get("/page", base_url="https://blog.example")
    assert response.headers.get("X-Pingback") == server
    assert response.text == (f'<link rel="pingback" href="{server}">' if server else "")
    if server is not None:
        assert b"pingback.ping" in app.test_client().get(server).data
    with app.app_context():
        db.engine.dispose()
