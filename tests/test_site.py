"""Site: one application as the extension knows it, and many of them beside each other."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, g, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase
from werkzeug.routing import BaseConverter

import flask_linkback
from flask_linkback import Linkback, signals
from flask_linkback.errors import BaseURLMissing, ConfigError
from flask_linkback.models import Audit, Mention
from flask_linkback.site import Route, Site, current_site, find_site
from tests.apps import Blog, make_blog

MakeSite = Callable[..., Site]


def new_db() -> SQLAlchemy:
    class Base(DeclarativeBase):
        pass

    return SQLAlchemy(model_class=Base)


@pytest.fixture
def sites(tmp_path: Any) -> Iterator[MakeSite]:
    """A maker of sites without pages: ``sites(app=None, **LINKBACK_settings)``."""
    made: list[Site] = []

    def make(app: Flask | None = None, **settings: Any) -> Site:
        app = app or Flask(__name__)
        app.config.setdefault("SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path}/{len(made)}.db")
        app.config.update({f"LINKBACK_{name}": value for name, value in settings.items()})
        app.testing = True
        db = new_db()
        db.init_app(app)
        Linkback(app, db)
        made.append(app.extensions["linkback"])
        return made[-1]

    yield make
    for site in made:
        site.fetch.close()
        with site.context():
            site.engine.dispose()


def page(**args: Any) -> str:
    return repr(args)


def rules(app: Flask, *each: str, **options: Any) -> None:
    for rule in each:
        app.add_url_rule(rule, endpoint=rule, view_func=page, **options)


# --- URLs out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base_url", ["https://blog.example", "https://blog.example/blog", "http://[::1]:5000/a/b"]
)
def test_url_for_needs_no_request(sites: MakeSite, base_url: str) -> None:
    site = sites(BASE_URL=f"{base_url}/")
    site.app.add_url_rule("/post/<slug>", "post", page)
    assert site.url_for("post", slug="a b-ü") == f"{base_url}/post/a%20b-%C3%BC"
    assert site.url_for("post", slug="a", page=2) == f"{base_url}/post/a?page=2"
    assert (
        site.url_for("linkback.static", filename="linkback.css") == f"{base_url}/linkback/static/linkback.css"
    )


def test_url_for_ignores_the_host_of_the_request(sites: MakeSite) -> None:
    site = sites(BASE_URL="https://blog.example")
    site.app.add_url_rule("/post/<slug>", "post", page)
    with site.app.test_request_context(base_url="http://evil.example/prefix"):
        assert site.url_for("post", slug="a") == "https://blog.example/post/a"


def test_url_for_knows_the_defaults_of_the_application(sites: MakeSite) -> None:
    site = sites(BASE_URL="https://blog.example")
    site.app.add_url_rule("/<language>/about", "about", page)

    @site.app.url_defaults
    def add_language(endpoint: str, values: dict[str, Any]) -> None:
        values.setdefault("language", "en")

    assert site.url_for("about") == "https://blog.example/en/about"
    assert site.url_for("about", language="de") == "https://blog.example/de/about"


def test_url_for_a_subdomain_and_a_host(sites: MakeSite) -> None:
    app = Flask(__name__, subdomain_matching=True)
    app.config["SERVER_NAME"] = "blog.example:5000"
    site = sites(app, BASE_URL="https://blog.example")
    app.add_url_rule("/", "person", page, subdomain="<person>")
    assert site.url_for("person", person="ann") == "https://ann.blog.example/"

    app = Flask(__name__, host_matching=True, static_host="blog.example")
    site = sites(app, BASE_URL="https://blog.example")
    app.add_url_rule("/", "other", page, host="other.example")
    assert site.url_for("other") == "https://other.example/"


def test_without_a_public_address_there_are_no_urls(sites: MakeSite) -> None:
    site = sites()
    for ask in (
        lambda: site.url_for("static", filename="x"),
        lambda: site.absolute("/post/a"),
        lambda: site.is_told("https://example.com/"),
        lambda: site.base_url,
    ):
        with pytest.raises(BaseURLMissing, match="Set LINKBACK_BASE_URL"):
            ask()
    assert site.absolute("https://blog.example/") == "https://blog.example/"
    assert not site.is_own("https://blog.example/")


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("/post/a", "https://blog.example/post/a"),
        ("post/a", "https://blog.example/below/post/a"),
        ("?page=2", "https://blog.example/below/?page=2"),
        ("", "https://blog.example/below/"),
        ("//cdn.example/x", "https://cdn.example/x"),
        ("http://a.example/../x", "http://a.example/../x"),
    ],
)
def test_absolute(sites: MakeSite, url: str, absolute: str) -> None:
    assert sites(BASE_URL="https://blog.example/below").absolute(url) == absolute


# --- whose URLs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://blog.example/post/a", True),
        ("http://BLOG.example.:8000/post/a", True),
        ("https://www.blog.example", True),
        ("http://xn--bcher-kva.example/", True),
        ("http://bücher.example/", True),
        ("https://me@blog.example/", True),
        ("https://blog.example@evil.example/", False),
        ("https://old.blog.example/", False),
        ("https://blog.example.evil.example/", False),
        ("https://evil.example/blog.example", False),
        ("/post/a", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://blog.example:port/", True),
        ("", False),
    ],
)
def test_own_are_our_hosts_by_any_scheme_and_port(sites: MakeSite, url: str, own: bool) -> None:
    site = sites(BASE_URL="https://blog.example", HOSTS=["www.blog.example", "bücher.example"])
    assert site.is_own(url) is own


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://elsewhere.example/", True),
        ("https://blog.example/post/a", False),
        ("https://BLOG.example:443/", False),
        ("http://blog.example/", False),
        ("https://blog.example:8443/", True),
        ("https://www.blog.example/", False),
        ("https://www.blog.example:8443/", False),
        ("https://blog.example:port/", True),
        ("mailto:ann@elsewhere.example", False),
        ("https://[::1", False),
    ],
)
def test_told_are_all_but_our_own_host_and_port_and_our_hosts(sites: MakeSite, url: str, told: bool) -> None:
    assert sites(BASE_URL="https://blog.example", HOSTS="www.blog.example").is_told(url) is told


def test_a_neighbour_on_another_port_is_told(sites: MakeSite) -> None:
    site = sites(BASE_URL="http://127.0.0.1:5000")
    assert site.is_told("http://127.0.0.1:5001/post/a")
    assert not site.is_told("http://127.0.0.1:5000/post/a")
    assert site.is_own("http://127.0.0.1:5001/post/a")


# --- URLs in ------------------------------------------------------------------------------------------


class Even(BaseConverter):
    """Numbers that are even; others lead nowhere."""

    regex = r"\d*[02468]"

    def to_python(self, value: str) -> int:
        return int(value)


@pytest.fixture
def site(sites: MakeSite) -> Site:
    site = sites(BASE_URL="https://blog.example")
    app = site.app
    app.url_map.converters["even"] = Even
    rules(app, "/", "/post/<slug>", "/year/<int:year>/", "/files/<path:name>", "/even/<even:number>")
    app.add_url_rule("/page/<int:number>", "page", page)
    app.add_url_rule("/page/", "page", page, defaults={"number": 1})
    app.add_url_rule("/old/<slug>", "old", redirect_to="post/<slug>")
    app.add_url_rule("/away", "away", redirect_to="https://elsewhere.example/")
    app.add_url_rule("/round", "round", redirect_to="round")
    app.add_url_rule("/form", "form", page, methods=["POST"])
    return site


@pytest.mark.parametrize(
    ("path", "endpoint", "args"),
    [
        ("", "/", {}),
        ("/", "/", {}),
        ("/post/a", "/post/<slug>", {"slug": "a"}),
        ("/post/a?x=1&y=/", "/post/<slug>", {"slug": "a"}),
        ("/post/a#comments", "/post/<slug>", {"slug": "a"}),
        ("?x=1", "/", {}),
        ("/post/a%20b", "/post/<slug>", {"slug": "a b"}),
        ("/post/%C3%BC", "/post/<slug>", {"slug": "ü"}),
        ("/post/ü", "/post/<slug>", {"slug": "ü"}),
        ("/post/%FF", "/post/<slug>", {"slug": "\ufffd"}),
        ("/post/100%25", "/post/<slug>", {"slug": "100%"}),
        ("/%70ost/a", "/post/<slug>", {"slug": "a"}),
        ("/post/a;b=c", "/post/<slug>", {"slug": "a;b=c"}),
        ("/files/a%2Fb", "/files/<path:name>", {"name": "a/b"}),
        ("/post/a%2Fb", None, None),
        ("/post/a/", None, None),
        ("/post/", None, None),
        ("/Post/a", None, None),
        ("/nowhere", None, None),
        ("/year/2026/", "/year/<int:year>/", {"year": 2026}),
        ("/year/2026", "/year/<int:year>/", {"year": 2026}),
        ("/year/next/", None, None),
        ("/even/4", "/even/<even:number>", {"number": 4}),
        ("/even/5", None, None),
        ("/page/1", "page", {"number": 1}),
        ("/page/", "page", {"number": 1}),
        ("//post//a", "/post/<slug>", {"slug": "a"}),
        ("/old/a%20b", "/post/<slug>", {"slug": "a b"}),
        ("/away", None, None),
        ("/round", None, None),
        ("/form", None, None),
    ],
)
def test_match(site: Site, path: str, endpoint: str | None, args: dict[str, Any] | None) -> None:
    expected = None if endpoint is None else Route(endpoint=endpoint, args=args or {})
    assert site.match(f"https://blog.example{path}") == expected


@pytest.mark.parametrize(
    "path",
    ["/", "/post/a%20b", "/post/%C3%BC", "/post/%FF", "/files/a%2Fb", "/%70ost/a", "/post/a;b=c", "/page/2"],
)
def test_match_says_what_flask_does(site: Site, path: str) -> None:
    served: list[Route] = []

    @site.app.before_request
    def remember() -> None:
        served.append(Route(endpoint=request.endpoint or "", args=request.view_args or {}))

    assert site.app.test_client().get(path).status_code == 200
    assert served == [site.match(f"https://blog.example{path}")]


@pytest.mark.parametrize(
    "url",
    [
        "https://[::1",
        "https://[x]/",
        "",
        "\x00",
        "https://blog.example:port/nowhere",
        "https://" + "a." * 3000,
    ],
)
def test_match_of_rubbish_is_nothing_worse_than_none(site: Site, url: str) -> None:
    assert site.match(url) in (None, Route(endpoint="/", args={}))


@pytest.mark.parametrize(
    ("url", "matches"),
    [
        ("https://blog.example/below/post/a", True),
        ("http://blog.example:8000/below/post/a", True),
        ("https://blog.example/bel%6Fw/post/a", True),
        ("https://blog.example/post/a", False),
        ("https://blog.example/belowpost/a", False),
        ("https://blog.example/below/below/post/a", False),
    ],
)
def test_match_below_a_path_prefix(sites: MakeSite, url: str, matches: bool) -> None:
    site = sites(BASE_URL="https://blog.example/below")
    rules(site.app, "/", "/post/<slug>", "/archive/")
    assert site.match(url) == (Route(endpoint="/post/<slug>", args={"slug": "a"}) if matches else None)
    for top in ("https://blog.example/below", "https://blog.example/below/"):
        assert site.match(top) == Route(endpoint="/", args={})
    assert site.match("https://blog.example/below/archive") == Route(endpoint="/archive/", args={})


def test_match_by_another_of_our_hosts(sites: MakeSite) -> None:
    site = sites(BASE_URL="https://blog.example", HOSTS="old.example")
    rules(site.app, "/post/<slug>", "/archive/")
    assert site.match("http://old.example/post/a") == Route(endpoint="/post/<slug>", args={"slug": "a"})
    assert site.match("http://old.example/archive") == Route(endpoint="/archive/", args={})


@pytest.mark.parametrize("server_name", ["blog.example", "blog.example:5000"])
@pytest.mark.parametrize(
    "base_url", ["https://blog.example", "https://www.blog.example", "http://blog.example:8000"]
)
def test_match_by_subdomain(sites: MakeSite, server_name: str, base_url: str) -> None:
    app = Flask(__name__, subdomain_matching=True)
    app.config["SERVER_NAME"] = server_name
    site = sites(app, BASE_URL=base_url, HOSTS=["ann.blog.example", "old.example"])
    app.add_url_rule("/", "main", page)
    app.add_url_rule("/", "person", page, subdomain="<person>")
    app.add_url_rule("/post/", "post", page, subdomain="<person>")
    ann = {"person": "ann"}
    assert site.match("https://ann.blog.example/") == Route(endpoint="person", args=ann)
    assert site.match("http://ann.blog.example:8000/post") == Route(endpoint="post", args=ann)
    assert site.match("https://blog.example/") == Route(endpoint="main", args={})
    assert site.match("https://old.example/") == Route(endpoint="main", args={})


def test_match_by_subdomain_behind_a_proxy_with_another_name_inside(sites: MakeSite) -> None:
    app = Flask(__name__, subdomain_matching=True)
    app.config["SERVER_NAME"] = "app.internal"
    site = sites(app, BASE_URL="https://blog.example")
    app.add_url_rule("/", "main", page)
    assert site.match("https://blog.example/") == Route(endpoint="main", args={})
    assert site.url_for("main") == "https://blog.example/"


def test_match_by_host(sites: MakeSite) -> None:
    app = Flask(__name__, host_matching=True, static_host="blog.example")
    site = sites(app, BASE_URL="https://blog.example", HOSTS="other.example")
    app.add_url_rule("/", "main", page, host="blog.example")
    app.add_url_rule("/", "other", page, host="other.example")
    app.add_url_rule("/", "person", page, host="<person>.people.example")
    assert site.match("http://BLOG.example:8000/") == Route(endpoint="main", args={})
    assert site.match("https://other.example/") == Route(endpoint="other", args={})
    assert site.match("https://ann.people.example/") == Route(endpoint="person", args={"person": "ann"})
    assert site.match("https://elsewhere.example/") is None


def test_match_by_host_with_a_port(sites: MakeSite) -> None:
    app = Flask(__name__, host_matching=True, static_host="127.0.0.1:5000")
    site = sites(app, BASE_URL="http://127.0.0.1:5000")
    app.add_url_rule("/", "main", page, host="127.0.0.1:5000")
    assert site.match("http://127.0.0.1:5000/") == Route(endpoint="main", args={})


def test_match_without_a_public_address_goes_by_hosts(sites: MakeSite) -> None:
    site = sites(HOSTS="blog.example")
    rules(site.app, "/post/<slug>")
    assert site.match("https://blog.example/post/a") == Route(endpoint="/post/<slug>", args={"slug": "a"})


def test_a_bug_in_a_converter_is_the_applications(sites: MakeSite) -> None:
    class Broken(BaseConverter):
        def to_python(self, value: str) -> Any:
            raise RuntimeError("broken")

    site = sites(BASE_URL="https://blog.example")
    site.app.url_map.converters["broken"] = Broken
    rules(site.app, "/x/<broken:it>")
    with pytest.raises(RuntimeError, match="broken"):
        site.match("https://blog.example/x/1")


# --- signals ------------------------------------------------------------------------------------------


def test_receivers_are_called_one_by_one_and_one_that_raises_stops_nothing(
    app: Flask, blog: Blog, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []
    error = RuntimeError("broken")

    @signals.link_sent.connect_via(app)
    def first(sender: Flask, **extra: Any) -> None:
        called.append("first")

    @signals.link_sent.connect_via(app)
    def broken(sender: Flask, **extra: Any) -> None:
        called.append("broken")
        raise error

    @signals.link_sent.connect_via(app)
    async def later(sender: Flask, link: Any, **extra: Any) -> None:
        assert sender is app
        assert current_site() is blog.site
        called.append(f"async {link}")

    @signals.link_sent.connect
    def of_all(sender: Flask, link: Any) -> None:
        called.append("all")

    with caplog.at_level(logging.ERROR, "flask_linkback.site"):
        assert blog.site.send(signals.link_sent, link="it") == [error]
    assert sorted(called) == ["all", "async it", "broken", "first"]
    (record,) = caplog.records
    assert record.getMessage() == "A receiver of link_sent raised."
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_what_one_receiver_broke_the_next_one_does_not_meet(app: Flask, blog: Blog) -> None:
    blog.add("a")
    seen: list[int] = []

    def breaks_the_session(sender: Flask, **extra: Any) -> None:
        blog.db.session.add(blog.Post(slug="a"))
        blog.db.session.flush()  # the slug is taken

    def works(sender: Flask, **extra: Any) -> None:
        seen.append(blog.db.session.query(blog.Post).count())

    for receiver in (breaks_the_session, works, breaks_the_session, works):
        with signals.link_sent.connected_to(breaks_the_session), signals.link_sent.connected_to(works):
            blog.site.send(signals.link_sent, link=receiver)
    assert seen == [1, 1, 1, 1]


def test_receivers_of_one_application_do_not_hear_of_another(
    blogs: Callable[..., Blog], tmp_path: Any
) -> None:
    one, two = blogs(f"sqlite:///{tmp_path}/1.db"), blogs(f"sqlite:///{tmp_path}/2.db")
    heard: list[Flask] = []

    @signals.hub_pinged.connect_via(one.app)
    def hear(sender: Flask, **extra: Any) -> None:
        heard.append(sender)

    for blog in (one, two):
        with blog.app.app_context():
            assert blog.site.send(signals.hub_pinged) == []
    assert heard == [one.app]


# --- registries ---------------------------------------------------------------------------------------


class Registry:
    """What a room keeps for an application."""


def test_a_registry_is_made_once(site: Site) -> None:
    mine = Registry()
    assert site.get(Registry) is site.get(Registry)
    site.put(mine)
    assert site.get(Registry) is mine


def test_a_registry_is_made_once_even_by_two_threads(sites: MakeSite) -> None:
    site = sites()
    barrier = threading.Barrier(8)

    class Slow(Registry):
        def __init__(self) -> None:
            barrier.wait(10)  # all threads are inside before the first one is done

    got: list[Slow] = []
    threads = [threading.Thread(target=lambda: got.append(site.get(Slow))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(got) == 8
    assert len(set(map(id, got))) == 1


def test_resolve(site: Site) -> None:
    assert site.resolve("flask_linkback.extension.Linkback") is Linkback
    for name in ("flask_linkback.nothing", "nothing.at_all", "nothing", ""):
        with pytest.raises(ConfigError, match=f"Nothing can be imported as '{name}'"):
            site.resolve(name)


# --- applications beside each other -------------------------------------------------------------------


def audit_row(number: int) -> Audit:
    return Audit(at=datetime(2026, 1, 1, tzinfo=UTC), who="", action=str(number), object_key="")


def actions(blog: Blog) -> list[str]:
    with blog.app.app_context():
        return list(blog.db.session.scalars(sa.select(Audit.action)))


def test_several_applications_each_with_its_own_database(blogs: Callable[..., Blog], tmp_path: Any) -> None:
    made = [
        blogs(f"sqlite:///{tmp_path}/{n}.db", base_url=f"https://{n}.example", EXCERPT_LENGTH=n)
        for n in (1, 2, 3)
    ]
    for number, blog in enumerate(made):
        with blog.app.app_context():
            assert current_site() is blog.site
            assert blog.site.settings.linkbacks.excerpt_length == number + 1
            assert blog.linkback.url_for(blog.add("a")) == f"https://{number + 1}.example/post/a"
            blog.db.session.add(audit_row(number))
            blog.db.session.commit()
    assert [actions(blog) for blog in made] == [["0"], ["1"], ["2"]]
    with made[0].app.app_context(), made[1].app.app_context():
        assert current_site() is made[1].site
    assert find_site() is None


def test_one_extension_and_one_database_object_for_two_applications(tmp_path: Any) -> None:
    """The factory: extensions are made once, applications as often as wanted."""
    db = new_db()
    linkback = Linkback(db=db)

    def create_app(number: int) -> Flask:
        app = Flask(__name__)
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/{number}.db"
        app.config["LINKBACK_BASE_URL"] = f"https://{number}.example"
        app.testing = True
        db.init_app(app)
        linkback.init_app(app)
        app.add_url_rule("/post/<slug>", "post", page)
        return app

    one = create_app(1)

    @linkback.target("post")
    def load(slug: str) -> str:
        return slug

    two = create_app(2)
    for number, app in ((1, one), (2, two)):
        with app.app_context():
            db.create_all()
            db.session.add(audit_row(number))
            db.session.commit()
            assert db.session.scalars(sa.select(Audit.action)).all() == [str(number)]
            assert len(linkback.mentions_for(f"https://{number}.example/post/a")) == 0
            answer = app.test_client().get("/post/a")
            assert answer.headers["X-Pingback"] == f"https://{number}.example/linkback/pingback"
            db.engine.dispose()


def test_all_ways_to_put_it_together(tmp_path: Any) -> None:
    def blank() -> Flask:
        app = Flask(__name__)
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
        return app

    app, db = blank(), new_db()
    db.init_app(app)
    Linkback(app, db)
    assert app.extensions["linkback"].db is db

    app, db = blank(), new_db()
    Linkback(db=db).init_app(app)
    db.init_app(app)  # may come later
    assert app.extensions["linkback"].db is db

    app, db = blank(), new_db()
    Linkback().init_app(app, db)
    assert app.extensions["linkback"].db is db

    app, db = blank(), new_db()
    db.init_app(app)
    Linkback().init_app(app)  # Flask-SQLAlchemy knows it
    assert app.extensions["linkback"].db is db
    assert "linkback_mention" in db.metadata.tables

    app, db, other = blank(), new_db(), new_db()
    Linkback(db=other).init_app(app, db)
    assert app.extensions["linkback"].db is db


def test_second_init_app_is_refused_with_the_likely_cause(blog: Blog) -> None:
    for linkback in (blog.linkback, Linkback(db=blog.db)):
        with pytest.raises(
            ConfigError, match=r"Linkback is in 'tests.apps' already. Was init_app called twice"
        ):
            linkback.init_app(blog.app)


def test_without_a_database_it_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"Linkback needs a database: Linkback\(db=db\)"):
        Linkback().init_app(Flask(__name__))


def test_a_wrong_setting_leaves_the_application_as_it_was() -> None:
    app, db = Flask(__name__), new_db()
    app.config["LINKBACK_BASEURL"] = "https://blog.example"
    before = set(app.blueprints), set(app.view_functions), set(db.metadata.tables)
    with pytest.raises(ConfigError, match="Did you mean LINKBACK_BASE_URL"):
        Linkback().init_app(app, db)
    assert "linkback" not in app.extensions
    assert (set(app.blueprints), set(app.view_functions), set(db.metadata.tables)) == before


def test_outside_of_an_application_the_error_says_what_is_missing() -> None:
    assert find_site() is None
    with pytest.raises(ConfigError, match=r"Did you call linkback.init_app\(app\)"):
        current_site()
    with Flask(__name__).app_context(), pytest.raises(ConfigError, match="There is no Linkback here"):
        current_site()


def test_the_public_module_is_small() -> None:
    assert set(flask_linkback.__all__) <= set(vars(flask_linkback))


# --- nothing is kept alive ----------------------------------------------------------------------------


def used_blog(url: str, kept: list[Any]) -> weakref.ref[Flask]:
    """Make a blog, use most of it and forget it; return a weak reference to its application."""
    blog = make_blog(url, AUTO_APPROVE=True, SECRET_KEYS=())

    @signals.mention_received.connect_via(blog.app)
    def hear(sender: Flask, **extra: Any) -> None:
        g.heard = True

    kept.append(hear)  # a receiver that lives on
    client = blog.app.test_client()
    with blog.app.app_context():
        blog.add("a", html='<a href="mailto:nobody@example.com">nobody</a>')
        assert flask_linkback.ping_func("https://a.example/", "https://blog.example/post/a")
        mention = blog.db.session.scalars(sa.select(Mention)).one()
        blog.linkback.moderate(mention, "approved")
        blog.db.session.commit()
        blog.db.session.delete(mention)
        blog.db.session.commit()
        blog.linkback.run_until_idle()
        assert blog.linkback.health()["jobs"]["pending"] == 0
    assert client.get("/post/a").status_code == 200
    assert client.get("/linkback/pingback").status_code == 200
    assert blog.app.test_cli_runner().invoke(args=["linkback", "init-db"]).exit_code == 0
    blog.close()
    return weakref.ref(blog.app)


def test_an_application_that_nobody_needs_is_collected(tmp_path: Any) -> None:
    kept: list[Any] = []
    alive = [used_blog(f"sqlite:///{tmp_path}/{number}.db", kept) for number in range(3)]
    gc.collect()
    assert [ref() for ref in alive] == [None, None, None]


def test_an_application_goes_while_its_extension_and_database_objects_stay(tmp_path: Any) -> None:
    db = new_db()
    linkback = Linkback(db=db)

    def use() -> weakref.ref[Flask]:
        app = Flask(__name__)
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/a.db"
        app.testing = True
        db.init_app(app)
        linkback.init_app(app)
        with app.app_context():
            db.create_all()
            db.session.add(audit_row(1))
            db.session.commit()
            linkback.run_until_idle()
            db.engine.dispose()
        return weakref.ref(app)

    alive = use()
    gc.collect()
    assert alive() is None
