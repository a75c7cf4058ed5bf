"""The frame: what holds on every screen and for every form, mounted anywhere, in whatever hands."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_linkback import Hook, Linkback
from flask_linkback.blueprints.admin import _SCREENS
from flask_linkback.blueprints.admin.access import Right
from flask_linkback.errors import ConfigError, MissingExtra
from flask_linkback.models import (
    Audit,
    Event,
    Job,
    Listener,
    ListenerSecret,
    ListenerState,
    Receipt,
    Secret,
    Subscriber,
    Subscription,
    SubscriptionRequest,
    Topic,
    digest,
)
from tests.admin.conftest import PREFIX, Visitor
from tests.admin.stock import HOSTILE, fill
from tests.apps import Blog
from tests.thorough import examples

ACTIONS = [(screen, name) for screen in _SCREENS for name in screen.actions]
NAMES = [f"{screen.name}-{name}" for screen, name in ACTIONS]
TABS = ("overview", "deliveries", "withheld", "secret", "test", "settings", "audit")
LINKS = re.compile(r' (?:href|action|src)="([^"]+)"')
RIGHTS = {
    "decide": Right.manage, "subscribe": Right.manage, "renew": Right.manage, "unsubscribe": Right.manage,
    "deny": Right.manage, "pause": Right.manage, "resume": Right.manage, "delete": Right.manage,
    "edit": Right.manage, "rotate": Right.manage, "cancel": Right.manage, "verify": Right.manage,
    "filter": Right.manage, "create": Right.manage, "add": Right.manage, "remove": Right.manage,
    "reveal": Right.reveal,
    "resend": Right.resend, "replay": Right.resend, "ping": Right.resend, "redeliver": Right.resend,
    "send": Right.resend, "recover": Right.resend, "backfill": Right.resend, "test": Right.resend,
}  # fmt: skip


class Person(Hook):
    name = "person"
    provides_args = ("name",)


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str) -> Blog:
    """A blog on SQLite: most of this is no database's matter."""
    return stocked(blogs(sqlite_url, RUNNER="off", HUB_ENABLED=True))


def stocked(made: Blog) -> Blog:
    made.linkback.admin_access(lambda action, obj: True)
    made.linkback.admin_identity(lambda: "ada@example.org")
    made.linkback.hooks.register(Person)
    made.linkback.webhooks.receiver("github", secret="a secret of theirs")(print)
    with made.app.app_context():
        fill(made, 6)
    return made


def path_of(screen: Any, id_: int = 2) -> str:
    return str(screen.rule.replace("<int:id>", str(id_)))


def pages(visitor: Visitor) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every page."""
    for screen in _SCREENS:
        queries: list[dict[str, str]] = [{}]
        if screen.name == "listener":
            queries = [{"tab": tab} for tab in TABS]
        elif screen.name == "listener_create":
            queries = [{"type": "person"}]
        elif screen.name in ("hooks", "hub"):
            queries = [{}, {"tab": "hooks"}, {"tab": "subscribers"}]
        for query in queries:
            for id_ in (1, 2) if "<int:id>" in screen.rule else (1,):
                yield f"{path_of(screen, id_)} {query}", visitor.text(path_of(screen, id_), **query)


# --- rights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("screen", "name"), ACTIONS, ids=NAMES)
def test_each_form_takes_its_right_and_its_token(
    blog: Blog, visitor: Visitor, screen: Any, name: str
) -> None:
    assert screen.actions[name].right is RIGHTS[name]
    visitor.get("/subscriptions")
    before = _rows(blog)
    path = f"{PREFIX}{path_of(screen)}"
    whole = {"action": name, "id": "2", "confirm": "1", "csrf_token": visitor.token}
    for token in ("", "x", visitor.token[::-1]):
        assert visitor.client.post(path, data={**whole, "csrf_token": token}).status_code == 400
    for missing in (RIGHTS[name], Right.view):
        blog.linkback.admin_access(lambda action, obj, missing=missing: action != missing)
        assert visitor.client.post(path, data=whole).status_code == 403
    assert _rows(blog) == before


def _rows(blog: Blog) -> list[int]:
    with blog.app.app_context():
        tables = (Audit, Job, Listener, ListenerSecret, Subscription)
        return [blog.db.session.query(table).count() for table in tables]


def test_other_methods_change_nothing(blog: Blog, visitor: Visitor) -> None:
    before = _rows(blog)
    for screen in _SCREENS:
        path = f"{PREFIX}{path_of(screen)}"
        assert visitor.client.head(path).status_code in (200, 303)
        assert visitor.client.options(path).status_code == 200
        visitor.get("/subscriptions")
        for data in ({}, {"action": ""}, {"action": "explode"}, {"action": ["", "delete"]}):
            answer = visitor.client.post(path, data={"csrf_token": visitor.token, **data})
            assert answer.status_code == 400, (path, data)
        assert visitor.client.get(f"{path}?action=delete&confirm=1&id=1").status_code in (200, 303)
        assert visitor.client.put(path).status_code == 405
    assert _rows(blog) == before


def test_what_raises_in_a_page_undoes_what_was_done(blog: Blog, visitor: Visitor) -> None:
    """A new secret that is shown, and not kept, would be one that nothing is signed with."""

    def may(action: str, obj: Any) -> bool:
        if action == "reveal":
            raise RuntimeError("It does not know this right.")
        return True

    blog.linkback.admin_access(may)
    answer = visitor.send("/listeners/2?tab=secret", "rotate", days="1")
    assert answer.status_code == 403
    assert "whsec_" not in answer.text
    with blog.app.app_context():
        assert blog.db.session.query(ListenerSecret).filter_by(listener_id=2).count() == 1
        assert not blog.db.session.query(Audit).filter_by(action="rotate").count()


def test_a_form_is_not_read_to_its_end_before_it_is_known_whose_it_is(blog: Blog) -> None:
    blog.linkback.admin_access(lambda action, obj: False)
    answer = blog.app.test_client().post(f"{PREFIX}/hooks", data={"x": "y" * 3_000_000})
    assert answer.status_code == 413


# --- tokens --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("protect", [False, True])
@pytest.mark.parametrize("prefix", [PREFIX, "/portal"])
def test_forms_are_sent_by_http_and_https_with_a_protect_and_without(
    blog: Blog, scheme: str, protect: bool, prefix: str
) -> None:
    if protect:
        CSRFProtect(blog.app)
    blog.app.register_blueprint(blog.linkback.blueprints["admin"], name="portal", url_prefix="/portal")
    visitor = Visitor(blog, prefix)
    visitor.client.environ_base["wsgi.url_scheme"] = scheme
    assert visitor.send("/mentions/1", "decide", status="spam").status_code == 200
    answer = visitor.client.post(f"{prefix}/mentions/1", data={"action": "decide", "status": "approved"})
    assert answer.status_code == 400


def test_notes_leave_room_in_the_cookie_and_come_from_nowhere_else(blog: Blog, visitor: Visitor) -> None:
    for value in ("\U0001f4a5" * 250, "漢字" * 120, "x" * 400):
        for _again in range(6):
            visitor.send("/blocks", "add", value=f"{value}.example", follow=False)
            visitor.send("/listeners/2?tab=test", "test", follow=False, sample="{}", type=value)
            visitor.send("/hooks", "resume", follow=False, id=["1", "2", "3", "4", "5"])
    cookie = visitor.client.get_cookie("session")
    assert cookie is not None
    assert len(cookie.value) < 3800
    visitor.text("/mentions")  # which shows them
    forged = visitor.text("/mentions", _linkback_notes="forged", note="forged", message="forged")
    assert 'class="note' not in forged


# --- where it is mounted -------------------------------------------------------------------------------


def test_a_second_mount_leads_nowhere_else(blog: Blog) -> None:
    blog.app.register_blueprint(blog.linkback.blueprints["admin"], name="portal", url_prefix="/portal")
    portal = Visitor(blog, "/portal")
    for path, text in pages(portal):
        for link in LINKS.findall(text):
            place = urlsplit(link.replace("&amp;", "&"))
            is_ours = place.path.startswith(("/portal/", "/linkback/static/"))
            assert place.netloc or is_ours or link.startswith("#"), (path, link)
            assert not place.path.startswith(PREFIX), (path, link)
    answer = portal.send("/listeners/2", "delete", follow=False, confirm="1")
    assert answer.location == "/portal/hooks"


def test_mounted_by_hand(sqlite_url: str) -> None:
    app = Flask("by_hand")
    app.config.update(SQLALCHEMY_DATABASE_URI=sqlite_url, SECRET_KEY="x", TESTING=True)
    db = SQLAlchemy()
    linkback = Linkback(db=db, blueprints=())
    db.init_app(app)
    linkback.init_app(app)
    app.register_blueprint(linkback.blueprints["admin"], url_prefix="/room")
    linkback.admin_access(lambda action, obj: True)
    with app.app_context():
        db.create_all()
    for screen in _SCREENS:
        if "<int:id>" not in screen.rule and screen.name != "listener_create":
            assert app.test_client().get(f"/room{screen.rule}").status_code == 200, screen.name
    style = re.search('href="([^"]+admin[.]css)"', app.test_client().get("/room/").text)
    assert style is not None
    with app.test_client().get(style[1]) as found:
        assert found.status_code == 200
    with app.app_context():
        db.engine.dispose()


def test_without_the_extra_the_rest_works(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flask_wtf", None)
    app = Flask("bare")
    app.config.update(SQLALCHEMY_DATABASE_URI=sqlite_url, TESTING=True)
    db = SQLAlchemy(app)
    linkback = Linkback(app, db)
    assert not any(rule.endpoint.startswith("linkback_admin") for rule in app.url_map.iter_rules())
    with pytest.raises(MissingExtra, match="admin"):
        app.register_blueprint(linkback.blueprints["admin"], url_prefix="/room")


def test_without_a_secret_key_it_says_so(blog: Blog, visitor: Visitor) -> None:
    blog.app.secret_key = None
    with pytest.raises(ConfigError, match="SECRET_KEY"):
        visitor.get("/mentions")


def test_headers_of_the_application_do_not_take_the_place_of_ours(blog: Blog, visitor: Visitor) -> None:
    @blog.app.after_request
    def loosen(response: Any) -> Any:
        response.headers.setdefault("Content-Security-Policy", "default-src *")
        response.headers.setdefault("Referrer-Policy", "unsafe-url")
        return response

    for path in ("/", "/mentions/99", "/nothing-here"):
        headers = visitor.get(path).headers
        if path != "/nothing-here":  # which is no page of the admin
            assert headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert headers["Referrer-Policy"] == "no-referrer"


# --- secrets -------------------------------------------------------------------------------------------


KNOWN = {
    name: f"known-secret-{name}"
    for name in ("signing", "header", "hub", "wanted", "request", "password", "param", "asked", "token")
}


@pytest.fixture
def secretive(blog: Blog) -> Blog:
    with blog.app.app_context():
        session = blog.db.session
        for listener in session.scalars(sa.select(Listener)):
            listener.headers = {"Authorization": KNOWN["header"]}
        for kept in session.scalars(sa.select(ListenerSecret)):
            kept.secret = Secret(KNOWN["signing"])
        for subscriber in session.scalars(sa.select(Subscriber)):
            subscriber.secret, subscriber.wanted_secret = Secret(KNOWN["hub"]), Secret(KNOWN["wanted"])
        for subscription in session.scalars(sa.select(Subscription)):
            subscription.secret = Secret(KNOWN["hub"])
            subscription.credentials = Secret(json.dumps(["ada", KNOWN["password"]]))
            subscription.params = {"token": KNOWN["param"]}
            subscription.headers = {"X-Token": KNOWN["header"]}
        for asked in session.scalars(sa.select(SubscriptionRequest)):
            asked.secret = Secret(KNOWN["request"])
        for receipt in session.scalars(sa.select(Receipt)):
            receipt.headers = {"X-Hub-Signature-256": KNOWN["asked"], "Cookie": KNOWN["asked"]}
        for job in session.scalars(sa.select(Job)):
            job.payload = {"verify_token": KNOWN["token"], "deep": [{"secret": KNOWN["token"]}]}
        session.commit()
    return blog


def test_no_page_tells_a_secret(secretive: Blog, visitor: Visitor) -> None:
    for path, text in pages(visitor):
        for secret in KNOWN.values():
            assert secret not in text, (path, secret)


def test_a_secret_is_told_once(secretive: Blog, visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    told = []
    page = visitor.send("/listeners/2?tab=secret", "rotate", days="1").text
    told.append(_secret_of(page))
    with secretive.app.app_context():
        number = secretive.db.session.query(ListenerSecret.id).filter_by(listener_id=2).first()[0]
    page = visitor.send("/listeners/2?tab=secret", "reveal", secret_id=str(number)).text
    assert _secret_of(page) == KNOWN["signing"]
    filled_in = {
        "url": "https://a.example/", "listener_events": "person", "listener_format": "standard",
        "listener_headers": f"X-Key: {KNOWN['header']}",
    }  # fmt: skip
    page = visitor.send("/listeners/create?type=person", "create", **filled_in).text
    told.append(_secret_of(page))
    assert all(each.startswith("whsec_") for each in told)
    told += KNOWN.values()
    for path, text in pages(visitor):
        for secret in told:
            assert secret not in text, (path, secret)
    with visitor.client.session_transaction() as kept, secretive.app.app_context():
        audits = secretive.db.session.scalars(sa.select(Audit)).all()
        records = [str(vars(record)) for record in caplog.records]
        for place in (
            str(dict(kept)),
            *(f"{each.before}{each.after}{each.reason}" for each in audits),
            *records,
        ):
            assert not [secret for secret in told if secret in place], place


def _secret_of(page: str) -> str:
    found = re.search(r'<code id="the-secret">([^<]+)</code>', page)
    assert found is not None
    return found[1]


def test_a_secret_that_was_typed_is_not_said_back(blog: Blog, visitor: Visitor) -> None:
    typed = "whsec_" + "c2VjcmV0" * 4
    for values in ({"url": "gopher://a.example/"}, {"url": "https://a.example/", "listener_rate": "x"}):
        values |= {"listener_events": "person", "listener_secret": typed}
        page = visitor.send("/listeners/create?type=person", "create", **values).text
        assert "not right" in page
        assert typed not in page


# --- what is gone, and what is odd ---------------------------------------------------------------------


def test_pages_answer_when_the_keys_of_secrets_are_gone(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    kept = blogs(sqlite_url, RUNNER="off", SECRET_KEYS=(Fernet.generate_key().decode(),))
    with kept.app.app_context():
        fill(kept, 6)
    lost = blogs(sqlite_url, RUNNER="off", HUB_ENABLED=True)
    lost.linkback.admin_access(lambda action, obj: True)
    lost.linkback.hooks.register(Person)
    visitor = Visitor(lost)
    for _path, text in pages(visitor):
        assert "</html>" in text
    for path, action, values in (
        ("/listeners/2?tab=secret", "reveal", {"secret_id": "2"}),
        ("/listeners/2?tab=secret", "rotate", {"days": "1"}),
        ("/listeners/2?tab=test", "test", {"sample": "{}", "type": "person"}),
        ("/subscriptions/2", "renew", {}),
        ("/subscribers/1", "deny", {"confirm": "1"}),
        ("/deliveries/2", "resend", {"confirm": "1"}),
    ):
        assert visitor.send(path, action, **values).status_code == 200, (path, action)


def test_pages_answer_when_what_they_are_about_is_gone(blog: Blog, visitor: Visitor) -> None:
    with blog.app.app_context():
        session = blog.db.session
        for event in session.scalars(sa.select(Event).where(Event.id < 3)):
            event.data = event.changes = None
        for receipt in session.scalars(sa.select(Receipt)):
            receipt.body = receipt.headers = None
        for table in (ListenerSecret, Topic, SubscriptionRequest):
            session.execute(sa.delete(table))
        session.execute(sa.update(Listener).values(hook="gone.*", match={"odd": [1]}, options={"odd": 1}))
        session.execute(sa.update(Job).where(Job.id < 3).values(listener_id=99, event_id=99))
        session.commit()
    blog.linkback.hooks.unregister(Person)
    blog.linkback.hooks.register(Person(name="person"))
    for _path, text in pages(visitor):
        assert "</html>" in text
    for screen, name in ACTIONS:
        answer = visitor.send(path_of(screen), name, id=["1", "2"], confirm="1", listener="1", do="save")
        assert answer.status_code in (200, 303, 400, 404, 422), (screen.name, name)


ODD = (
    "", "0", "1", "2", "-1", "²", "9" * 18, "9" * 60, "nan", "1e999", "\0", "a\0b", "\ud800", "\u202e",
    HOSTILE, "x" * 10_000, "[" * 5000, "{}", "null", "[]", '{"name": {"like": "("}}', '{"a": 1e999}',
    "person", "person.*", "*", "https://[", "http://a.example:99999/", "https://a.example/", "X: y",
    "X: \ud800", "***", "X: ***", "whsec_", "whsk_x", "2026-02-30", "0001-01-01T00:00", "9999-12-31T23:59",
    "spam", "save", "try", "json", "rows", "row:0", "drop:0:0", "group", "regex", "host", "(a+)+",
    "linkback.test", "5/0", "1/nan",
)  # fmt: skip
FIELDS = (
    "id", "confirm", "again", "status", "type", "sample", "do", "mode", "json", "field-0-0", "op-0-0",
    "value-0-0", "field-99-99", "value-1-1", "op-1-1", "tried", "url", "hub", "lease", "reason", "kind",
    "value", "days", "secret", "secret_id", "since", "listener", "listener_url", "listener_events",
    "listener_headers", "listener_secret", "listener_owner", "listener_rate", "listener_concurrency",
    "listener_timeout", "listener_retry_schedule", "listener_format", "listener_handshake", "name_cond",
    "name_query",
)  # fmt: skip


@pytest.fixture
def unsending(
    blogs: Callable[..., Blog], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Visitor, Blog]:
    """A visitor whose tests go nowhere, and the blog, on each database."""
    blog = stocked(blogs(database_url, RUNNER="off", HUB_ENABLED=True))
    visitor = Visitor(blog)
    from flask_linkback.errors import Unreachable
    from flask_linkback.fetch import Fetcher

    def refuse(*_args: Any, **_more: Any) -> Any:
        raise Unreachable("Nobody is there.")

    monkeypatch.setattr(Fetcher, "post", refuse)
    visitor.get("/subscriptions")
    return visitor, blog


@settings(
    max_examples=examples(300),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_form_is_too_odd(unsending: tuple[Visitor, Blog], data: st.DataObject) -> None:
    visitor, blog = unsending
    with blog.app.app_context():  # what an example deleted
        listener = blog.db.session.get(Listener, 2)
        if listener is None:
            values = {"id": 2, "hook": "person", "hook_hash": digest("person"), "url": "https://a.example/"}
            now = blog.site.now()
            blog.db.session.add(
                Listener(
                    **values, state=ListenerState.active, host="a.example", created_at=now, updated_at=now
                )
            )
            blog.db.session.commit()
    screen, name = data.draw(st.sampled_from(ACTIONS))
    value = st.one_of(st.sampled_from(ODD), st.text(max_size=20))
    said = dict(data.draw(st.lists(st.tuples(st.sampled_from(FIELDS), value), max_size=8)))
    query = "?type=person" if screen.name == "listener_create" else ""
    form = {"id": "1", **said, "action": name, "csrf_token": visitor.token}
    body = "&".join(f"{key}={_quoted(each)}" for key, each in form.items())
    answer = visitor.client.post(
        f"{PREFIX}{path_of(screen)}{query}", data=body, content_type="application/x-www-form-urlencoded"
    )
    assert answer.status_code in (200, 303, 400, 404, 413, 422), (screen.name, name, said)
    assert "<script>d" not in answer.text


def _quoted(said: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(said, errors="surrogatepass")
