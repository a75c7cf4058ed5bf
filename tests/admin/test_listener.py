"""A listener in the admin: what its page tells, and what can be done there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import Hook, ModelHook, match
from flask_linkback.blueprints.admin.listeners import SNIPPET
from flask_linkback.models import Audit, Job, JobState, Listener, ListenerSecret, ListenerState
from flask_linkback.protocols import standardwebhooks
from flask_linkback.webhooks.rotating import secrets
from tests.admin.conftest import Visitor
from tests.admin.stock import HOSTILE, SECRET, fill
from tests.apps import Blog
from tests.neighbours import Neighbour

TABS = ("overview", "deliveries", "withheld", "secret", "test", "settings", "audit")


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


@pytest.fixture
def stocked(blog: Blog) -> Blog:
    blog.linkback.hooks.register(ModelHook(blog.Post, name="person", provides_args=["title", "slug"]))
    with blog.app.app_context():
        fill(blog, 12)
        # no stock is older than its listener
        blog.db.session.execute(sa.update(Listener).values(created_at=datetime(2020, 1, 1, tzinfo=UTC)))
        blog.db.session.commit()
    return blog


def listener_of(blog: Blog, id_: int = 1) -> Listener:
    return blog.db.session.get(Listener, id_, populate_existing=True)  # type: ignore[no-any-return]


def actions(blog: Blog) -> list[str]:
    with blog.app.app_context():
        asked = sa.select(Audit.action).where(Audit.object_key.startswith("listener:")).order_by(Audit.id)
        return list(blog.db.session.scalars(asked))


def since(blog: Blog, days: float = 1) -> str:
    return f"{blog.site.now() - timedelta(days=days):%Y-%m-%dT%H:%M}"


def test_every_tab_of_a_listener_in_every_state(stocked: Blog, visitor: Visitor) -> None:
    for id_ in range(1, 6):
        for tab in (*TABS, "nonsense"):
            page = visitor.text(f"/listeners/{id_}", tab=tab)
            for wrong in ("<script>d", "x=<b>", SECRET, "s3cr3t"):
                assert wrong not in page


def test_what_is_not_there(stocked: Blog, visitor: Visitor) -> None:
    for id_ in (99, 2**63, 10**30):
        assert visitor.get(f"/listeners/{id_}").status_code == 404
        assert visitor.get(f"/listeners/{id_}/filter").status_code == 404


def test_the_overview_says_how_it_is_and_why(stocked: Blog, visitor: Visitor) -> None:
    with stocked.app.app_context():
        failing = listener_of(stocked, 2)
        failing.reason, failing.failed_again_at = "The server answers 503.", failing.failing_at
        stocked.db.session.commit()
    page = visitor.text("/listeners/2")
    for said in (
        "The server answers 503.",
        "it is disabled",
        "in 4 days",
        "name starts with J and address.city is Oslo",
    ):
        assert said in page
    assert "once it passes a test" in visitor.text("/listeners/4")
    assert "100 %" in visitor.text("/listeners/10")


def test_what_its_filter_left_out(stocked: Blog, visitor: Visitor) -> None:
    page = visitor.text("/listeners/2", tab="withheld")
    assert page.count("not something that starts with &#34;J&#34;") == 11  # the twelfth was owed to it
    assert HOSTILE not in page
    assert "has left out nothing" in visitor.text("/listeners/1", tab="withheld")  # of created there is none


def test_it_is_paused_resumed_and_asked_again(stocked: Blog, visitor: Visitor) -> None:
    assert "is paused" in visitor.send("/listeners/1", "pause").text
    assert "has its events again" in visitor.send("/listeners/1", "resume").text
    assert "is disabled" in visitor.send("/listeners/4", "pause").text
    assert "asked once more" in visitor.send("/listeners/5", "verify").text
    assert "needs no handshake" in visitor.send("/listeners/1", "verify").text
    assert actions(stocked) == ["pause", "resume", "verify"]
    with stocked.app.app_context():
        assert listener_of(stocked).state is ListenerState.active


def test_it_is_deleted_once_that_is_confirmed(stocked: Blog, visitor: Visitor) -> None:
    assert "Delete this listener?" in visitor.send("/listeners/1", "delete").text
    answer = visitor.send("/listeners/1", "delete", confirm="1")
    assert "The listener is deleted." in answer.text
    assert answer.request.path.endswith("/hooks")
    assert visitor.get("/listeners/1").status_code == 404
    assert actions(stocked) == ["delete"]


# --- secrets --------------------------------------------------------------------------------------------


def test_a_secret_is_rotated_and_shown_once(stocked: Blog, visitor: Visitor) -> None:
    answer = visitor.send("/listeners/1?tab=secret", "rotate", follow=False, days="3")
    assert answer.status_code == 200
    with stocked.app.app_context():
        new, old = secrets(stocked.site, listener_of(stocked))
        assert old.expires_at is not None
        assert timedelta(days=2, hours=23) < old.expires_at - stocked.site.now() <= timedelta(days=3)
        secret = str(new.secret)
    assert answer.text.count(secret) == 1
    assert SECRET not in answer.text
    page = visitor.text("/listeners/1", tab="secret")
    assert secret not in page
    assert "in 2 days" in page or "in 3 days" in page
    with visitor.client.session_transaction() as session:
        assert secret not in str(dict(session))
    assert visitor.send("/listeners/1?tab=secret", "rotate", days="0", secret=SECRET).text.count(SECRET) == 1
    for days, wrong, said in (("8", "", "Choose for how long"), ("1", "short", "24 to 64 bytes")):
        page = visitor.send("/listeners/1?tab=secret", "rotate", days=days, secret=wrong).text
        assert said in page
    assert actions(stocked) == ["rotate", "rotate"]
    with stocked.app.app_context():
        noted = stocked.db.session.scalars(sa.select(Audit).where(Audit.action == "rotate")).all()
        assert [each.after for each in noted] == [{"overlap_days": 3}, {"overlap_days": 0}]


def test_a_secret_is_revealed_to_who_may_see_it_and_that_is_noted(stocked: Blog, visitor: Visitor) -> None:
    page = visitor.send("/listeners/1?tab=secret", "reveal", secret_id="1").text
    assert page.count(SECRET) == 1
    # that of another listener is not his
    assert SECRET not in visitor.send("/listeners/1?tab=secret", "reveal", secret_id="2").text
    assert actions(stocked) == ["reveal"]
    stocked.linkback.admin_access(lambda action, obj: action != "reveal")
    assert "Reveal" not in visitor.text("/listeners/1", tab="secret")
    assert visitor.send("/listeners/1?tab=secret", "reveal", secret_id="1").status_code == 403


def test_the_snippet_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    room: dict[str, Any] = {"__name__": __name__}
    exec(compile(SNIPPET, "snippet", "exec"), room)
    client, body, now = room["app"].test_client(), b'{"type": "x"}', datetime.now(UTC)
    for secret_list, at, status in (
        (["whsec_" + "A" * 44, SECRET], now, 204),
        (["whsec_" + "A" * 44], now, 401),
        ([SECRET], now - timedelta(hours=1), 401),
    ):
        headers = standardwebhooks.headers(secret_list, webhook_id="evt_1", at=at, body=body)
        said = {**headers, "Content-Type": "application/json"}
        assert client.post("/webhook", data=body, headers=said).status_code == status
    assert client.post("/webhook", data=body).status_code == 401


# --- a test ---------------------------------------------------------------------------------------------


def test_a_test_is_sent_and_shown(stocked: Blog, visitor: Visitor, neighbour: Neighbour) -> None:
    neighbour.answer("/listening", status=503, body=HOSTILE.encode(), headers=[("X-Who", "<b>me")])
    with stocked.app.app_context():
        listener = listener_of(stocked, 4)
        listener.url, listener.host = neighbour.url("/listening"), "127.0.0.1"
        listener.hook = "person"
        stocked.db.session.commit()
    page = visitor.text("/listeners/4", tab="test", type="person.updated")
    assert "address" in page  # of the newest event
    sample = json.dumps({"title": "Mine"})
    page = visitor.send("/listeners/4?tab=test", "test", type="person.updated", sample=sample).text
    for said in (
        "The server answers 503.",
        "Webhook-Test: true",
        "Authorization: ***",
        "x-who: &lt;b&gt;me",
        "Mine",
    ):
        assert said in page
    assert "<script>d" not in page
    neighbour.answer("/listening", status=204)
    page = visitor.send("/listeners/4?tab=test", "test", type="person.updated", sample=sample).text
    assert "It took the test: 204" in page
    assert json.loads(neighbour.requests[-1].body)["data"] == {"title": "Mine"}
    with stocked.app.app_context():
        assert listener_of(stocked, 4).state is ListenerState.active
    assert actions(stocked) == ["test", "test"]


def test_what_cannot_be_sent_as_a_test(stocked: Blog, visitor: Visitor) -> None:
    for sample in ("{", "[" * 100_000, "NaN" * 100_000):
        page = visitor.send("/listeners/1?tab=test", "test", type="x", sample=sample).text
        assert "This is" in page or "at most" in page
    assert "handshake" in visitor.send("/listeners/5?tab=test", "test", sample="{}").text
    assert actions(stocked) == []
    stocked.linkback.admin_access(lambda action, obj: action != "manage")
    assert "right to manage" in visitor.send("/listeners/4?tab=test", "test", sample="{}").text
    stocked.linkback.admin_access(lambda action, obj: action != "resend")
    assert visitor.send("/listeners/1?tab=test", "test", sample="{}").status_code == 403


# --- settings -------------------------------------------------------------------------------------------


def edited(visitor: Visitor, **values: str) -> str:
    said = {
        "listener_url": "https://site1.example/new",
        "listener_events": "person.*",
        "listener_headers": "Authorization: ***\nX-New: 1",
        "listener_format": "standard",
        **values,
    }
    return visitor.send("/listeners/1?tab=settings", "edit", **said).text


def test_settings_are_changed_and_masked_values_kept(stocked: Blog, visitor: Visitor) -> None:
    assert "Authorization: ***" in visitor.text("/listeners/1", tab="settings")
    assert "The settings are saved." in edited(visitor, listener_rate="5")
    with stocked.app.app_context():
        listener = listener_of(stocked)
        assert (listener.url, listener.hook) == ("https://site1.example/new", "person.*")
        assert listener.headers == {"Authorization": "Bearer s3cr3t", "X-New": "1"}
        assert listener.options == {"rate": [5, 1], "format": "standard"}
        (noted,) = stocked.db.session.scalars(sa.select(Audit).where(Audit.action == "edit"))
        assert noted.after["headers"] == ["Authorization", "X-New"]
        assert "s3cr3t" not in str(noted.before) + str(noted.after)
    assert "s3cr3t" not in visitor.text("/listeners/1", tab="audit")


def test_settings_that_cannot_be(stocked: Blog, visitor: Visitor) -> None:
    for values, said in (
        ({"listener_url": "gopher://a.example/"}, "Only http:// and https://"),
        ({"listener_events": "a b"}, "is no name of a hook"),
        ({"listener_headers": "X-Unknown: ***"}, "Give the value"),
        # nobody has a header's value sent to himself
        ({"listener_url": "https://elsewhere.example/"}, "meant for another host"),
        ({"listener_timeout": "x"}, "is no number"),
    ):
        page = edited(visitor, **values)
        assert said in page
        for each in values.values():
            assert each in page
        assert "s3cr3t" not in page
        with stocked.app.app_context():
            assert listener_of(stocked).url == "https://site1.example/hook/1?x=<b>"
    assert actions(stocked) == []


def test_headers_that_nobody_can_read_any_more_are_typed_anew(stocked: Blog, visitor: Visitor) -> None:
    with stocked.app.app_context():
        lost = sa.text("UPDATE linkback_listener SET headers = 'fernet:lost' WHERE id = 1")
        stocked.db.session.execute(lost)
        stocked.db.session.commit()
    page = visitor.text("/listeners/1", tab="settings")
    assert "LINKBACK_SECRET_KEYS is empty" in page
    assert "Authorization" not in page
    assert "Give the value" in edited(visitor)
    assert "The settings are saved." in edited(visitor, listener_headers="Authorization: Bearer n3w")
    with stocked.app.app_context():
        assert listener_of(stocked).headers == {"Authorization": "Bearer n3w"}


# --- once more ------------------------------------------------------------------------------------------


def test_what_was_given_up_is_owed_again_once_confirmed(stocked: Blog, visitor: Visitor) -> None:
    with stocked.app.app_context():
        stocked.db.session.execute(sa.update(Job).where(Job.id == 7).values(listener_id=1))
        listener_of(stocked).state = ListenerState.active
        stocked.db.session.commit()
        assert stocked.db.session.get(Job, 7).state is JobState.dead
    page = visitor.send("/listeners/1?tab=deliveries", "recover", since=since(stocked)).text
    assert "Send 1 delivery again?" in page
    with stocked.app.app_context():
        assert stocked.db.session.get(Job, 7).state is JobState.dead
    values = {"since": since(stocked), "confirm": "1"}
    page = visitor.send("/listeners/1?tab=deliveries", "recover", **values).text
    assert "1 delivery is queued." in page
    assert "deliveries?listener=1" in page
    with stocked.app.app_context():
        assert stocked.db.session.get(Job, 7).state is JobState.pending
        (noted,) = stocked.db.session.scalars(sa.select(Audit).where(Audit.action == "recover"))
        assert noted.after["count"] == 1


def test_what_it_was_never_sent_is_owed_once_confirmed(stocked: Blog, visitor: Visitor) -> None:
    with stocked.app.app_context():
        listener = listener_of(stocked, 6)
        listener.match, listener.hook = match.dump({}), "person"
        stocked.db.session.commit()
    page = visitor.send("/listeners/6?tab=deliveries", "backfill", since=since(stocked)).text
    assert "Send 12 events?" in page
    values = {"since": since(stocked), "confirm": "1"}
    assert (
        "12 deliveries are queued." in visitor.send("/listeners/6?tab=deliveries", "backfill", **values).text
    )
    assert "nothing of the kind" in visitor.send("/listeners/6?tab=deliveries", "backfill", **values).text
    with stocked.app.app_context():
        assert stocked.db.session.query(Job).filter_by(listener_id=6, state="pending").count() == 12
    page = visitor.send("/listeners/6?tab=deliveries", "cancel").text
    assert "Cancel 12 deliveries?" in page
    page = visitor.send("/listeners/6?tab=deliveries", "cancel", confirm="1").text
    assert "12 deliveries are cancelled." in page
    assert "Nothing waits" in visitor.send("/listeners/6?tab=deliveries", "cancel").text
    assert actions(stocked) == ["backfill", "cancel"]


def test_since_when(stocked: Blog, visitor: Visitor) -> None:
    for said in ("", "yesterday", "0001-01-01T00:00+14:00", "2020-01-01T00:00"):
        page = visitor.send("/listeners/1?tab=deliveries", "recover", since=said, confirm="1").text
        assert "Say since when" in page or "is not sent from here" in page


# --- owners ---------------------------------------------------------------------------------------------


def test_an_owner_reaches_no_listener_of_others(stocked: Blog, visitor: Visitor) -> None:
    stocked.linkback.admin_access(lambda action, obj: "acme")
    for tab in TABS:
        assert visitor.get("/listeners/2", tab=tab).status_code == 200
        assert visitor.get("/listeners/1", tab=tab).status_code == 404
    for action in ("pause", "delete", "edit", "rotate", "reveal", "recover", "backfill", "cancel", "test"):
        assert visitor.send("/listeners/1", action, confirm="1", secret_id="1").status_code in (400, 404)
    assert visitor.get("/listeners/1/filter").status_code == 404
    with stocked.app.app_context():
        assert listener_of(stocked).state is ListenerState.active
        assert stocked.db.session.query(ListenerSecret).filter_by(listener_id=1).count() == 1


def test_an_owner_sees_no_event_that_a_hook_keeps_to_others(blog: Blog, visitor: Visitor) -> None:
    class Own(Hook):
        name = "own"
        provides_args = ("word",)

        def event_filter(self, sender: Any, payload: Any, match: Any) -> bool:
            return False

    blog.linkback.hooks.register(Own)
    with blog.app.app_context():
        hook = blog.linkback.hooks["own"]
        path = f"/listeners/{hook.listener(url='https://a.example/', owner='acme').save().id}"
        hook.send(word="private")
        blog.db.session.commit()
    assert "private" in visitor.text(path, tab="test")
    assert "1 of 1" in visitor.text(f"{path}/filter")
    blog.linkback.admin_access(lambda action, obj: "acme")
    for page in (visitor.text(path, tab="test"), visitor.text(f"{path}/filter")):
        assert "private" not in page
        assert "of 1" not in page


def test_who_may_not(stocked: Blog, visitor: Visitor) -> None:
    refused = {
        "manage": ("pause", "resume", "verify", "delete", "edit", "rotate", "cancel"),
        "resend": ("recover", "backfill", "test"),
    }
    for right, several in refused.items():
        stocked.linkback.admin_access(lambda action, obj, right=right: action != right)
        for action in several:
            assert visitor.send("/listeners/1", action, confirm="1").status_code == 403
    assert actions(stocked) == []
