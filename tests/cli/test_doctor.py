"""Doctor: each check, with each of its marks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from flask import Flask, abort, g, redirect, request
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from urllib3.connection import HTTPConnection
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Response

from flask_linkback import Linkback, fetch
from flask_linkback.cli import doctor
from flask_linkback.cli.doctor import CHECKS, Case, Finding, Mark, check
from flask_linkback.cli.output import local_time
from flask_linkback.models import Base, Block, Job, JobState, Secret, Subscription, SubscriptionState
from flask_linkback.models import Worker as WorkerRow
from flask_linkback.outbox import jobs
from flask_linkback.protocols import xmlrpc
from tests.apps import Blog
from tests.cli.commands import add_mention, ended, found, run
from tests.neighbours import Neighbour, no_threads_left

Bare = Callable[..., Blog]


@pytest.fixture
def bare(sqlite_url: str) -> Iterator[Bare]:
    """A maker of applications with nothing but the extension: ``bare(ALLOW_NETWORKS=())``."""
    made: list[Blog] = []

    def make(
        *,
        url: str = sqlite_url,
        blueprints: Any = None,
        config: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Blog:
        app = Flask("bare")
        app.config.update(
            {
                "TESTING": True,
                "SECRET_KEY": "test",
                "SQLALCHEMY_DATABASE_URI": url,
                "LINKBACK_BASE_URL": "https://blog.example",
                **(config or {}),
                **{f"LINKBACK_{name}": value for name, value in settings.items()},
            }
        )
        db = SQLAlchemy()
        linkback = Linkback(db=db, blueprints=blueprints)
        db.init_app(app)
        linkback.init_app(app)
        with app.app_context():
            db.create_all()
        made.append(Blog(app=app, db=db, linkback=linkback, Post=None, base_url="https://blog.example"))
        return made[-1]

    yield make
    for each in made:
        each.close()


# --- the command -------------------------------------------------------------------------------------


def test_people_read_a_line_for_each_finding(bare: Bare) -> None:
    blog = bare(RUNNER="inline", SECRET_KEYS=[Fernet.generate_key().decode()])
    ran = run(blog, "doctor")
    assert ran.status == 0
    assert ran.lines[:3] == [
        "✓ LINKBACK_BASE_URL is https://blog.example.",
        "! No page accepts linkbacks.",
        "  Register a loader: @linkback.target('blog.post'), for its endpoint.",
    ]
    assert [line[0] for line in ran.lines].count("✗") == 0
    assert run(bare(BASE_URL=None), "doctor").lines[0][0] == "✗"


def test_every_check_is_told_in_its_order(blog: Blog) -> None:
    findings = run(blog, "doctor", "--json").json["findings"]
    assert [each["check"] for each in findings] == [each.name for each in CHECKS if not each.needs_url]


def test_checks_that_need_tables_are_left_out_without_them(blog: Blog) -> None:
    with blog.app.app_context():
        Base.metadata.drop_all(blog.db.engine)
    document = run(blog, "doctor", "--json").json
    checks = [each for each in CHECKS if not each.needs_url]
    assert document["left_out"] == [each.name for each in checks if each.needs_tables]
    assert {each["check"] for each in document["findings"]} == {
        each.name for each in checks if not each.needs_tables
    }
    ran = run(blog, "doctor")
    assert ran.status == 1
    assert ran.lines[-1] == f"Not checked without the tables: {', '.join(document['left_out'])}."


def test_a_check_is_added_by_a_decorator(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", [])

    @check("weather")
    def weather(case: Case) -> Finding:
        return Finding(mark=Mark.warning, what=f"Rain at {case.url}.", advice="Take an umbrella.")

    assert run(blog, "doctor", "/about").lines == [
        "! Rain at https://blog.example/about.",
        "  Take an umbrella.",
    ]


def test_a_check_that_the_database_fails_is_a_finding(blog: Blog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", [])

    @check("broken")
    def broken(case: Case) -> Finding:
        with case.site.engine.connect() as connection:
            connection.execute(sa.text("SELECT nobody"))
        raise AssertionError

    mark, what, _ = found(blog, "broken")
    assert (mark, what) == ("failure", "The database refuses: no such column: nobody.")


def test_doctor_leaves_no_thread_and_no_worker(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    with no_threads_left():
        blog = blogs(sqlite_url, testing=False, RUNNER="thread")
        assert found(blog, "csrf")[0] == "ok"


def test_doctor_runs_as_a_process(database_url: str, start: Callable[..., subprocess.Popen[str]]) -> None:
    ran = ended(start({"database_url": database_url, "RUNNER": "thread"}, "doctor"))
    assert (ran.status, ran.stderr) == (0, "")
    assert {line[0] for line in ran.lines} == {"✓", "·", "!", " "}
    ran = ended(start({"database_url": database_url, "base_url": None}, "doctor", "--json"))
    assert (ran.status, ran.json["ok"]) == (1, False)


@pytest.mark.parametrize("runner", ["thread", "inline"])
def test_doctor_changes_nothing(blogs: Callable[..., Blog], database_url: str, runner: str) -> None:
    """Not even what a page writes when it is visited, and no job is done meanwhile."""
    blog = blogs(database_url, RUNNER="off")
    with blog.app.app_context():
        blog.add("one", title="0")
    blog = blogs(database_url, RUNNER=runner)
    visits = []

    @blog.app.before_request
    def count() -> None:
        visits.append(request.method)
        post = blog.db.session.scalars(sa.select(blog.Post)).one()
        post.title = str(int(post.title) + 1)
        jobs.add(blog.db.session, [jobs.NewJob(kind="greet")])
        blog.db.session.commit()

    assert found(blog, "advertised", "/post/one")[0] == "ok"
    assert visits == ["POST", "GET", "HEAD", "POST", "GET"]
    with blog.app.app_context():
        assert blog.db.session.scalars(sa.select(blog.Post.title)).one() == "0"
        assert blog.db.session.scalars(sa.select(Job.state)).all() == [JobState.pending]  # of the post
        blog.add("two")  # from here on, what is committed stays
    with blog.app.app_context():
        assert len(blog.db.session.scalars(sa.select(blog.Post)).all()) == 2


def test_what_other_threads_commit_meanwhile_stays(blog: Blog) -> None:
    @blog.app.before_request
    def elsewhere() -> None:
        def commit() -> None:
            with blog.app.app_context():
                blog.add(f"from-{request_number}")

        request_number = next(numbers)
        thread = threading.Thread(target=commit)
        thread.start()
        thread.join(10)

    numbers = iter(range(10))
    assert found(blog, "csrf")[0] == "ok"
    with blog.app.app_context():
        assert blog.db.session.scalars(sa.select(blog.Post.slug)).all() == ["from-0", "from-1"]


def test_pages_are_asked_for_as_by_a_stranger(blog: Blog) -> None:
    """Not in the context of the command, with the scheme, host and port of the public address."""
    seen = []

    @blog.app.before_request
    def look() -> None:
        seen.append((request.url, g.get("mine"), request.cookies.get("session")))
        g.mine = True

    assert found(blog, "csrf")[0] == "ok"
    doors = [f"https://blog.example/linkback/{protocol}" for protocol in ("pingback", "webmention")]
    assert seen == [(door, None, None) for door in doors]


def test_a_site_below_a_path_is_asked_there(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    blog = blogs(sqlite_url, base_url="https://blog.example/sub")
    with blog.app.app_context():
        blog.add("one")
    seen = []

    @blog.app.before_request
    def look() -> None:
        seen.append(request.url)

    url = "https://blog.example/sub/post/one"
    assert found(blog, "advertised", url) == (
        "ok",
        f"{url} says that the pingback server is at https://blog.example/sub/linkback/pingback.",
        "",
    )
    assert seen[-1] == url


# --- base_url ----------------------------------------------------------------------------------------


def test_base_url(bare: Bare) -> None:
    assert found(bare(), "base_url") == ("ok", "LINKBACK_BASE_URL is https://blog.example.", "")


@pytest.mark.parametrize(
    "host",
    ["localhost:5000", "127.0.0.1:5000", "[::1]", "192.168.1.2", "blog.test", "blog.localhost", "intranet"],
)
def test_base_url_that_only_this_network_reaches(bare: Bare, host: str) -> None:
    mark, what, _ = found(bare(BASE_URL=f"http://{host}"), "base_url")
    assert (mark, what) == ("warning", f"LINKBACK_BASE_URL is http://{host}: only this network can reach it.")


def test_base_url_missing(bare: Bare) -> None:
    mark, what, advice = found(bare(BASE_URL=None), "base_url")
    assert mark == "failure"
    assert what.startswith("LINKBACK_BASE_URL is not set")
    assert "SERVER_NAME" in advice


def test_base_url_of_endpoints_that_cannot_be_built(bare: Bare) -> None:
    blog = bare(blueprints=())
    blog.app.register_blueprint(blog.linkback.blueprints["pingback"], url_prefix="/<lang>")
    for name in ("base_url", "csrf"):
        mark, what, _ = found(blog, name)
        assert (mark, what) == ("failure", "The URL of 'linkback_pingback.endpoint' cannot be built.")


# --- targets -----------------------------------------------------------------------------------------


def test_targets(blog: Blog) -> None:
    assert found(blog, "targets") == ("ok", "Linkbacks are accepted by the pages of post.", "")


def test_targets_missing(bare: Bare) -> None:
    mark, what, advice = found(bare(), "targets")
    assert (mark, what) == ("warning", "No page accepts linkbacks.")
    assert "@linkback.target" in advice


def test_targets_that_are_no_endpoints(blog: Blog) -> None:
    blog.linkback.register_pingback("pots", lambda slug: None)
    mark, what, _ = found(blog, "targets")
    assert mark == "failure"
    assert "'pots'" in what
    assert "Did you mean " in what


# --- tables ------------------------------------------------------------------------------------------


def test_tables(blogs: Callable[..., Blog], database_url: str) -> None:
    assert found(blogs(database_url), "tables")[0] == "ok"


def test_tables_missing(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url)
    with blog.app.app_context():
        Base.metadata.tables["linkback_host"].drop(blog.db.engine)
    mark, what, advice = found(blog, "tables")
    assert (mark, what) == ("failure", "The database lacks the table linkback_host.")
    assert "flask db upgrade" in advice
    assert "flask linkback init-db" in advice


def test_columns_missing(blogs: Callable[..., Blog], database_url: str) -> None:
    blog = blogs(database_url)
    with blog.app.app_context(), blog.db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE linkback_page DROP COLUMN moved_to"))
        connection.execute(sa.text("ALTER TABLE linkback_job DROP COLUMN reason"))
        Base.metadata.tables["linkback_host"].drop(connection)
    mark, what, advice = found(blog, "tables")
    assert mark == "failure"
    assert what == (
        "The database lacks the table linkback_host "
        "and the columns linkback_job.reason, linkback_page.moved_to."
    )
    assert "'flask db upgrade'" in advice


def test_tables_of_a_database_that_is_away(blogs: Callable[..., Blog], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    blog = blogs(f"sqlite:///{home}/blog.db")
    with blog.app.app_context():
        blog.db.engine.dispose()
    shutil.rmtree(home)
    mark, what, _ = found(blog, "tables")
    assert mark == "failure"
    assert what.startswith(f"The database sqlite:///{home}/blog.db cannot be reached: ")


# --- durability --------------------------------------------------------------------------------------


def with_pragmas(blog: Blog, *pragmas: str) -> Blog:
    """Let each connection of a blog begin with these pragmas."""
    with blog.app.app_context():
        engine = blog.db.engine
    engine.dispose()

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()

    return blog


def test_durability(blog: Blog) -> None:
    mark, what, _ = found(blog, "durability")
    assert mark == "ok"
    assert "journal_mode delete, synchronous FULL." in what


@pytest.mark.parametrize(("safe_from", "mark"), [((3, 0, 0), "ok"), ((99, 0, 0), "warning")])
def test_durability_of_wal_depends_on_the_version(
    blog: Blog, monkeypatch: pytest.MonkeyPatch, safe_from: tuple[int, ...], mark: str
) -> None:
    monkeypatch.setattr(doctor, "_WAL_IS_SAFE_FROM", safe_from)
    seen, what, advice = found(with_pragmas(blog, "journal_mode = WAL"), "durability")
    assert seen == mark
    assert "journal_mode wal" in what
    assert ("3.51.3" in advice) is (mark == "warning")


@pytest.mark.parametrize(
    ("pragma", "advice"),
    [
        ("synchronous = NORMAL", "Commits may be lost when the power fails"),
        ("synchronous = OFF", "Commits may be lost when the power fails"),
        ("journal_mode = MEMORY", "A crash may destroy the file"),
        ("journal_mode = OFF", "A crash may destroy the file"),
    ],
)
def test_durability_that_is_weak(blog: Blog, pragma: str, advice: str) -> None:
    mark, _, told = found(with_pragmas(blog, pragma), "durability")
    assert mark == "warning"
    assert told.startswith(advice)


def test_durability_in_memory(bare: Bare) -> None:
    mark, _, advice = found(bare(url="sqlite://"), "durability")
    assert (mark, advice) == ("warning", "The database is in memory: nothing survives the process.")


def test_durability_of_a_server_is_its_own_business(blogs: Callable[..., Blog], postgresql_url: str) -> None:
    assert found(blogs(postgresql_url), "durability") == ("ok", "The database is postgresql.", "")


# --- secrets -----------------------------------------------------------------------------------------

KEYS = [Fernet.generate_key().decode() for _ in range(2)]


def keep_secret(blog: Blog) -> Blog:
    """Store a secret with the keys of this blog."""
    with blog.app.app_context():
        count = len(blog.site.session.scalars(sa.select(Subscription.id)).all())
        blog.site.session.add(
            Subscription(
                key=f"key-{count}",
                topic_url="https://other.example/feed",
                page_url="https://other.example/",
                topic_key="",
                state=SubscriptionState.active,
                credentials=Secret("joe:secret"),
                created_at=blog.site.now(),
            )
        )
        blog.site.session.commit()
    return blog


def test_secrets_that_nobody_has(bare: Bare) -> None:
    mark, what, advice = found(bare(), "secrets")
    assert (mark, what) == (
        "warning",
        "LINKBACK_SECRET_KEYS is empty: secrets would be stored plainly.",
    )
    assert "Fernet.generate_key()" in advice


def test_secrets_stored_plainly(bare: Bare) -> None:
    mark, what, _ = found(keep_secret(bare()), "secrets")
    assert (mark, what) == ("failure", "LINKBACK_SECRET_KEYS is empty: 1 secret stored plainly.")


def test_secrets_stored_encrypted(bare: Bare) -> None:
    blog = keep_secret(bare(SECRET_KEYS=KEYS[0]))
    assert found(blog, "secrets") == ("ok", "LINKBACK_SECRET_KEYS is set, 1 secret stored encrypted.", "")
    rotated = keep_secret(bare(SECRET_KEYS=[KEYS[1], KEYS[0]]))
    assert found(rotated, "secrets")[0] == "ok"
    mark, what, _ = found(bare(SECRET_KEYS=KEYS[1]), "secrets")
    assert (mark, what) == (
        "failure",
        "LINKBACK_SECRET_KEYS does not open what is stored in linkback_subscription.",
    )
    mark, what, _ = found(bare(), "secrets")
    assert (mark, what) == ("failure", "2 secrets stored encrypted, but LINKBACK_SECRET_KEYS is empty.")


def test_secrets_from_before_there_were_keys(bare: Bare) -> None:
    keep_secret(bare())
    mark, what, _ = found(bare(SECRET_KEYS=KEYS), "secrets")
    assert (mark, what) == ("warning", "1 secret stored plainly, from before LINKBACK_SECRET_KEYS was set.")


# --- worker ------------------------------------------------------------------------------------------


def see_worker(blog: Blog, seconds_ago: float) -> None:
    with blog.app.app_context():
        now = blog.site.now()
        blog.db.session.add(
            WorkerRow(
                name=f"worker-{seconds_ago}",
                runner="external",
                machine="here",
                pid=1,
                threads=1,
                started_at=now,
                seen_at=now - timedelta(seconds=seconds_ago),
            )
        )
        blog.db.session.commit()


@pytest.mark.parametrize(
    ("runner", "mark"), [("thread", "warning"), ("external", "failure"), ("inline", "ok"), ("off", "warning")]
)
def test_worker_that_was_not_seen(bare: Bare, runner: str, mark: str) -> None:
    blog = bare(RUNNER=runner)
    see_worker(blog, 61)
    seen, what, advice = found(blog, "worker")
    assert seen == mark
    if runner == "thread":
        assert "starts with the first request" in advice
    else:
        assert f"RUNNER is {runner!r}" in what


@pytest.mark.parametrize("runner", ["thread", "external", "off"])
def test_worker_that_was_seen(bare: Bare, runner: str) -> None:
    blog = bare(RUNNER=runner)
    see_worker(blog, 50)
    see_worker(blog, 5)
    mark, what, _ = found(blog, "worker")
    assert mark == "ok"
    assert what.startswith("2 workers at work, seen 5 s ago")


# --- due, dead, handlers -----------------------------------------------------------------------------


def owe(
    blog: Blog, *, seconds_ago: float = 0, kind: str = "send_link", state: JobState = JobState.pending
) -> None:
    with blog.app.app_context():
        due_at = blog.site.now() - timedelta(seconds=seconds_ago)
        jobs.add(blog.db.session, [jobs.NewJob(kind=kind, due_at=due_at)])
        blog.db.session.execute(sa.update(Job).values(state=state, reason="It burned."))
        blog.db.session.commit()


@pytest.mark.parametrize(
    ("seconds_ago", "mark"), [(-3600, "ok"), (30, "ok"), (90, "warning"), (840, "warning"), (960, "failure")]
)
def test_due(bare: Bare, seconds_ago: float, mark: str) -> None:
    blog = bare()
    owe(blog, seconds_ago=seconds_ago)
    seen, what, _ = found(blog, "due")
    assert seen == mark
    assert what.startswith("No job is due." if seconds_ago < 0 else "The oldest due job waits for ")


def test_dead(bare: Bare) -> None:
    blog = bare()
    assert found(blog, "dead") == ("ok", "No job was given up.", "")
    owe(blog, state=JobState.dead)
    mark, what, advice = found(blog, "dead")
    assert (mark, what) == ("warning", "1 job given up, the newest is 1, send_link: It burned.")
    assert "linkback.replay(id)" in advice


def test_failed(bare: Bare) -> None:
    blog = bare()
    owe(blog)
    assert found(blog, "failed") == ("ok", "No job waits after a failed attempt.", "")
    with blog.app.app_context():
        session, now = blog.db.session, datetime(2026, 1, 1, 12, tzinfo=UTC)
        for number, reason in enumerate(("http_500", "too_slow", "too_slow", "too_slow", "Never tried.")):
            due_at = now + timedelta(hours=number)
            jobs.add(session, [jobs.NewJob(kind="verify_source", key=str(number), due_at=due_at)])
            tried = sa.update(Job).where(Job.key == str(number))
            session.execute(tried.values(reason=reason, attempts=int(number < 4)))
        session.execute(sa.update(Job).where(Job.key == "1").values(state=JobState.running))
        session.commit()
    mark, what, advice = found(blog, "failed")
    assert (mark, what) == (
        "warning",
        "3 jobs to be tried again after a failure, 2 of them verify_source: too_slow",
    )
    assert f"due at {local_time(now)}." in advice


def test_handlers(bare: Bare) -> None:
    blog = bare()
    owe(blog, kind="send_link")
    owe(blog, kind="unheard_of", state=JobState.done)
    assert found(blog, "handlers") == ("ok", "Every job that waits has a handler.", "")
    owe(blog, kind="unheard_of")
    mark, what, _ = found(blog, "handlers")
    assert (mark, what) == ("failure", "Jobs wait that nobody here can do: unheard_of.")


# --- csrf --------------------------------------------------------------------------------------------

ENDPOINT = "https://blog.example/linkback/pingback"


def test_csrf_at_the_endpoint_and_its_aliases(bare: Bare) -> None:
    blog = bare(PINGBACK_ALIASES=["/xmlrpc/", "/RPC2"])
    assert found(blog, "csrf") == (
        "ok",
        f"An XML-RPC call is answered at {ENDPOINT}, https://blog.example/xmlrpc/, https://blog.example/RPC2.",
        "",
    )


def test_csrf_exempted_though_initialised_later(bare: Bare) -> None:
    blog = bare(PINGBACK_ALIASES="/xmlrpc/")
    CSRFProtect(blog.app)

    @blog.app.post("/form")
    def form() -> str:
        return ""

    assert found(blog, "csrf")[0] == "ok"
    assert blog.app.test_client().post("/form").status_code == 400


def test_csrf_on_a_subdomain(bare: Bare) -> None:
    blog = bare(blueprints=(), config={"SERVER_NAME": "blog.example"})
    blog.app.subdomain_matching = True
    blog.app.url_map.subdomain_matching = True
    blog.app.register_blueprint(blog.linkback.blueprints["pingback"], subdomain="api")
    assert found(blog, "csrf")[:2] == (
        "ok",
        "An XML-RPC call is answered at https://api.blog.example/pingback.",
    )


def test_csrf_on_another_host(bare: Bare) -> None:
    rule = Rule("/xmlrpc", endpoint="any", host="api.example")
    blog = bare(BASE_URL="https://blog.example/sub")
    Map([rule], host_matching=True)
    assert doctor._url_of(blog.site, rule) == "https://api.example/sub/xmlrpc"


def test_csrf_of_an_endpoint_that_was_replaced(bare: Bare) -> None:
    blog = bare()
    fault = xmlrpc.dump_fault(xmlrpc.Fault(-32601, "No such method."))
    blog.app.before_request(lambda: Response(fault, content_type="text/xml"))
    mark, what, _ = found(blog, "csrf")
    assert (mark, what) == ("failure", f"A POST to {ENDPOINT} answers 200, but not with XML-RPC.")


def test_csrf_of_the_applications_own_making(bare: Bare) -> None:
    blog = bare()
    protect = CSRFProtect()
    blog.app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    protect.init_app(blog.app)
    blog.app.before_request(protect.protect)
    mark, what, advice = found(blog, "csrf")
    assert (mark, what) == ("failure", f"A POST to {ENDPOINT} answers 400.")
    assert "CSRF" in advice


def test_csrf_check_at_an_alias_only(bare: Bare) -> None:
    blog = bare(PINGBACK_ALIASES="/xmlrpc/")

    @blog.app.before_request
    def guard() -> Response | None:
        return redirect("/login") if request.path == "/xmlrpc/" else None

    mark, what, advice = found(blog, "csrf")
    assert (mark, what) == ("failure", "A POST to https://blog.example/xmlrpc/ answers 302.")
    assert "before_request" in advice


def test_csrf_of_something_else_that_answers(bare: Bare) -> None:
    blog = bare()
    blog.app.before_request(lambda: "<h1>Back soon</h1>")
    mark, what, _ = found(blog, "csrf")
    assert (mark, what) == ("failure", f"A POST to {ENDPOINT} answers 200, but not with XML-RPC.")


def test_csrf_of_an_application_that_raises(bare: Bare) -> None:
    blog = bare()

    @blog.app.before_request
    def guard() -> None:
        raise RuntimeError("on fire")

    mark, what, _ = found(blog, "csrf")
    assert (mark, what) == ("failure", f"A POST to {ENDPOINT} raises RuntimeError: on fire")


def test_csrf_at_an_alias_that_is_not_mounted(bare: Bare) -> None:
    blog = bare(blueprints=(), PINGBACK_ALIASES="/xmlrpc/")
    blog.app.register_blueprint(blog.linkback.blueprints["pingback"], url_prefix="/own")
    mark, what, advice = found(blog, "csrf")
    assert (mark, what) == ("failure", "A POST to https://blog.example/xmlrpc/ answers 404.")
    assert "alias" in advice


def test_csrf_where_nothing_is_received(bare: Bare) -> None:
    assert found(bare(PROTOCOLS="webmention"), "csrf")[0] == "ok"
    mark, what, _ = found(bare(blueprints=()), "csrf")
    assert (mark, what) == ("warning", "The pingback endpoint is not mounted.")
    assert found(bare(BASE_URL=None), "csrf")[0] == "warning"


# --- webmention and trackback ------------------------------------------------------------------------


def test_webmention_that_is_answered_and_said(blog: Blog) -> None:
    url = "https://blog.example/linkback/webmention"
    assert found(blog, "webmention") == ("ok", f"A webmention is answered at {url}.", "")
    with blog.app.app_context():
        blog.add("one")
    page = blog.url("one")
    told = f"A webmention is answered at {url}, and {page} says so."
    assert found(blog, "webmention", page) == ("ok", told, "")


def test_webmention_that_the_application_stops(bare: Bare) -> None:
    blog = bare()
    blog.app.before_request(lambda: ("No.", 403) if request.method == "POST" else None)
    mark, what, _ = found(blog, "webmention")
    assert mark == "failure"
    assert "answered 403 by something else" in what


def test_webmention_that_no_page_says(blog: Blog) -> None:
    with blog.app.app_context():
        blog.add("one")

    @blog.app.after_request
    def without(response: Response) -> Response:
        response.headers.pop("Link", None)
        return response

    # after_request functions run in the order opposite to that of their registration
    functions = blog.app.after_request_funcs[None]
    functions.insert(0, functions.pop())
    mark, what, _ = found(blog, "webmention", blog.url("one"))
    assert (mark, what) == (
        "failure",
        f"GET {blog.url('one')} has no Link header with https://blog.example/linkback/webmention.",
    )


@pytest.mark.parametrize("protocol", ["webmention", "trackback"])
def test_protocol_that_is_not_received(bare: Bare, protocol: str) -> None:
    assert found(bare(PROTOCOLS="pingback"), protocol)[0] == "ok"
    mark, what, _ = found(bare(PROTOCOLS=protocol, blueprints=()), protocol)
    assert (mark, what) == ("warning", f"The {protocol} endpoint is not mounted.")
    assert found(bare(PROTOCOLS=protocol, BASE_URL=None), protocol)[0] == "warning"


def test_trackback_that_is_answered(bare: Bare) -> None:
    told = "A trackback is answered at https://blog.example/linkback/trackback/."
    assert found(bare(PROTOCOLS="trackback"), "trackback") == ("ok", told, "")


# --- advertised --------------------------------------------------------------------------------------


def test_advertised_by_a_page_that_was_named(blog: Blog) -> None:
    with blog.app.app_context():
        blog.add("one")
    expected = ("ok", f"{blog.url('one')} says that the pingback server is at {ENDPOINT}.", "")
    assert found(blog, "advertised", "/post/one") == expected
    assert found(blog, "advertised", blog.url("one")) == expected


@pytest.mark.parametrize(
    ("loader", "options", "mark", "what"),
    [
        (lambda: None, {}, "failure", "its loader finds nothing"),
        (lambda wrong: wrong, {}, "failure", "The loader of"),
        (lambda: "about", {"accepts": False}, "warning", "is closed"),
    ],
)
def test_advertised_by_a_page_that_takes_none(
    blog: Blog, loader: Any, options: dict[str, Any], mark: str, what: str
) -> None:
    blog.linkback.target("about", **options)(loader)
    told = found(blog, "advertised", "/about")
    assert told[0] == mark
    assert what in told[1]


def test_advertised_by_the_target_of_a_mention(blog: Blog) -> None:
    with blog.app.app_context():
        blog.add("one")
    add_mention(blog, target="http://blog.example/post/one?utm=1")
    add_mention(blog, target=blog.url("two"))  # newer, but gone
    add_mention(blog, target="https://blog.example/about")  # accepts no linkbacks
    mark, what, _ = found(blog, "advertised")
    assert (mark, what) == ("ok", f"{blog.url('one')} says that the pingback server is at {ENDPOINT}.")


def test_advertised_by_a_page_without_arguments(blog: Blog) -> None:
    blog.linkback.register_pingback("about", lambda: object())
    mark, what, _ = found(blog, "advertised")
    assert (mark, what) == (
        "ok",
        f"https://blog.example/about says that the pingback server is at {ENDPOINT}.",
    )


@pytest.mark.parametrize("settings", [{"ACCEPT": False}, {"PROTOCOLS": "webmention"}])
def test_advertised_where_nothing_is_accepted(bare: Bare, settings: dict[str, Any]) -> None:
    assert found(bare(**settings), "advertised")[0] == "ok"


def test_advertised_without_a_page_to_try(blog: Blog) -> None:
    assert found(blog, "advertised") == ("warning", "No page to try.", "Pass one: flask linkback doctor URL")
    add_mention(blog)
    assert found(blog, "advertised") == (
        "warning",
        f"No page to try: {blog.url('one')} answers 404.",
        "Pass one that is there: flask linkback doctor URL",
    )


def test_advertised_by_a_page_that_raises(blog: Blog) -> None:
    add_mention(blog)

    @blog.app.before_request
    def guard() -> None:
        if request.endpoint == "post":
            raise RuntimeError("on fire")

    mark, what, _ = found(blog, "advertised")
    assert (mark, what) == ("warning", f"No page to try: {blog.url('one')} raises RuntimeError.")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_advertised_no_more_once_the_application_is_through(blog: Blog, method: str) -> None:
    with blog.app.app_context():
        blog.add("one")

    def strip(response: Response) -> Response:
        if request.method == method:
            del response.headers["X-Pingback"]
        return response

    # what is registered first runs last
    blog.app.after_request_funcs[None].insert(0, strip)
    mark, what, _ = found(blog, "advertised", "/post/one")
    assert (mark, what) == (
        "failure",
        f"{method} {blog.url('one')} has no X-Pingback header with {ENDPOINT}.",
    )


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("/nowhere", "https://blog.example/nowhere is no page of this site."),
        ("/about", "https://blog.example/about accepts no linkbacks."),
    ],
)
def test_advertised_by_a_page_that_cannot_be(blog: Blog, url: str, what: str) -> None:
    assert found(blog, "advertised", url)[:2] == ("failure", what)


def test_advertised_without_an_address(bare: Bare) -> None:
    assert found(bare(BASE_URL=None), "advertised")[0] == "failure"
    assert found(bare(blueprints=()), "advertised")[0] == "failure"


def test_advertised_by_no_page_that_forbids_itself(blog: Blog) -> None:
    with blog.app.app_context():
        blog.add("one")
    blog.app.before_request(lambda: abort(403) if request.endpoint == "post" else None)
    mark, what, _ = found(blog, "advertised", "/post/one")
    assert (mark, what) == ("warning", f"No page to try: {blog.url('one')} answers 403.")


# --- loopback ----------------------------------------------------------------------------------------


def test_loopback(bare: Bare) -> None:
    with Neighbour() as neighbour:
        blog = bare(ALLOW_PORTS=[neighbour.port])
        assert found(blog, "loopback") == (
            "ok",
            "A page of this machine's own network is not fetched.",
            "",
        )
        assert neighbour.connections == 0
    assert found(bare(ALLOW_PORTS="any"), "loopback")[0] == "ok"
    assert found(bare(), "loopback")[0] == "ok"


def test_loopback_that_a_setting_opens(bare: Bare) -> None:
    mark, what, _ = found(bare(ALLOW_NETWORKS="127.0.0.0/8"), "loopback")
    assert (mark, what) == ("warning", "LINKBACK_ALLOW_NETWORKS opens this machine's own network.")
    assert found(bare(ALLOW_NETWORKS={"callback": "127.0.0.0/8"}), "loopback")[0] == "ok"


def test_loopback_behind_a_proxy(bare: Bare) -> None:
    mark, what, _ = found(bare(EGRESS_PROXY="http://127.0.0.1:3128"), "loopback")
    assert (mark, what) == ("warning", "Everything is fetched through LINKBACK_EGRESS_PROXY.")


def test_loopback_when_urllib3_opens_its_sockets_itself(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch._Connection, "_new_conn", HTTPConnection._new_conn)
    mark, what, advice = found(bare(), "loopback")
    assert mark == "failure"
    assert what.startswith("Connections are not checked")
    assert "urllib3" in advice


def test_loopback_that_is_connected_to_after_all(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.Fetcher, "self_check", lambda self: True)
    monkeypatch.setattr(fetch, "public_address", lambda address, allow=(): True)
    with Neighbour() as neighbour:
        blog = bare(ALLOW_PORTS=[neighbour.port])
        mark, what, _ = found(blog, "loopback")
        assert (mark, what) == ("failure", "The site connected to 127.0.0.1: It was answered.")
    mark, what, _ = found(blog, "loopback")
    assert (mark, what) == (
        "failure",
        "The site connected to 127.0.0.1: The server does not take the connection.",
    )


# --- moderation --------------------------------------------------------------------------------------


def test_blocks_in_force_are_counted(bare: Bare) -> None:
    blog = bare()
    assert found(blog, "blocks") == ("ok", "Nothing is blocked.", "")
    run(blog, "block", "add", "a.example", "b.example")
    run(blog, "block", "add", "casino", "--kind", "regex", "--list", "words")
    assert found(blog, "blocks") == ("ok", "3 blocks on 2 lists: manual, words.", "")


def test_blocks_that_expired_are_a_warning(bare: Bare) -> None:
    blog = bare()
    run(blog, "block", "add", "a.example", "b.example", "--list", "shared", "--expires", "1")
    run(blog, "block", "add", "c.example")
    now = blog.site.now()
    blog.site.now = lambda: now + timedelta(days=2)  # type: ignore[method-assign]
    mark, what, advice = found(blog, "blocks")
    assert (mark, what) == ("warning", "Blocks have expired and keep nobody out: shared (2).")
    assert "block remove --list NAME --all" in advice


def test_patterns_without_re2_are_a_failure(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    blog = bare()
    run(blog, "block", "add", "casino", "viagra", "--kind", "regex")
    run(blog, "block", "add", "old", "--kind", "regex", "--expires", "1")
    monkeypatch.setitem(sys.modules, "re2", None)
    mark, what, _ = found(blog, "blocks")
    assert mark == "failure"
    assert what == (
        "3 blocked patterns without effect: A block by regex needs: pip install 'flask-linkback[fast]'"
    )
    now = blog.site.now()
    blog.site.now = lambda: now + timedelta(days=2)  # type: ignore[method-assign]
    assert found(blog, "blocks")[1].startswith("2 blocked patterns")


def test_a_pattern_that_re2_does_not_take_is_a_failure(bare: Bare) -> None:
    blog = bare()
    run(blog, "block", "add", "casino", "--kind", "regex")
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Block).values(value="("))
        blog.db.session.commit()
    mark, what, advice = found(blog, "blocks")
    assert (mark, what) == ("failure", "1 blocked pattern without effect: '(' is no pattern: missing ): (")
    assert "RE2" in advice


def test_spam_checks_are_named(bare: Bare) -> None:
    blog = bare(AUTO_APPROVE=True)

    def akismet(mention: Any) -> str:
        return "unsure"

    mark, what, advice = found(blog, "spam")
    assert (mark, what) == (
        "warning",
        "Everything that is verified is shown at once, and nobody looks for spam.",
    )
    assert "@linkback.spam_check" in advice
    blog.linkback.spam_check(akismet)
    assert found(blog, "spam") == ("ok", "Spam is looked for by akismet.", "")


def test_without_a_spam_check_strangers_wait(bare: Bare) -> None:
    mark, what, _ = found(bare(), "spam")
    assert (mark, what[:14]) == ("ok", "No spam check:")


def test_it_says_whether_microformats_are_read(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    blog = bare()
    mark, what, _ = found(blog, "microformats")
    assert (mark, what[:19]) == ("ok", "mf2py is installed:")
    monkeypatch.setitem(sys.modules, "mf2py", None)
    mark, what, advice = found(blog, "microformats")
    assert (mark, what[:23]) == ("warning", "mf2py is not installed:")
    assert "flask-linkback[mf2]" in advice


def test_who_lacks_keys_is_told_of_the_extra(bare: Bare) -> None:
    mark, _, advice = found(bare(), "secrets")
    assert mark == "warning"
    assert "flask-linkback[crypto]" in advice
