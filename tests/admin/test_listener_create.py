"""Creating a listener in the admin: the two steps of durian, and what is asked beside them."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
import sqlalchemy as sa
from wtforms import StringField

from flask_linkback import Hook, ModelHook
from flask_linkback.models import Audit, Job, Listener, ListenerSecret, ListenerState
from flask_linkback.webhooks import match
from flask_linkback.webhooks.forms import HookConfigForm
from tests.admin.conftest import Visitor
from tests.apps import Blog

CREATE = "/listeners/create?type=person"
URL = "https://where.joe/is/listening"
SECRET = "whsec_YSBzZWNyZXQgdGhhdCBzb21lYm9keSBwYXN0ZWQ="
FILLED_IN = {
    "url": URL,
    "title_cond": str(match.STARTSWITH),
    "title_query": "J",
    "slug_cond": "0",
    "listener_events": "person.created",
    "listener_format": "standard",
}


class PersonForm(HookConfigForm):
    note = StringField("Your <i>note</i>")


@pytest.fixture
def hooks(blog: Blog) -> Blog:
    hook = ModelHook(
        blog.Post,
        name="person",
        verbose_name="person",
        provides_args=["title", "slug"],
        config_form=PersonForm,
    )
    blog.linkback.hooks.register(hook)
    return blog


def listeners(blog: Blog) -> list[Listener]:
    return list(blog.db.session.scalars(sa.select(Listener).order_by(Listener.id)))


def test_select_leads_to_create(hooks: Blog, visitor: Visitor) -> None:
    page = visitor.text("/listeners/select")
    for said in ("<h1>Select event</h1>", 'name="type"', ">Person</option>", "Next…", 'method="get"'):
        assert said in page
    page = visitor.text("/listeners/create", type="person")
    for said in ("Create Person Listener", "Listener configuration", "Filter events", ">Create</button>"):
        assert said in page
    for said in ("Listener URL", 'name="title_cond"', 'name="slug_query"', "Your &lt;i&gt;note"):
        assert said in page


def test_what_is_not_there(hooks: Blog, visitor: Visitor) -> None:
    answer = visitor.get("/listeners/create")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/linkback/admin/listeners/select")
    assert visitor.get("/listeners/create", type="nobody").status_code == 404
    assert visitor.send("/listeners/create?type=nobody", "create").status_code in (400, 404)


def test_a_listener_is_created_and_its_secret_shown_once(hooks: Blog, visitor: Visitor) -> None:
    answer = visitor.send(CREATE, "create", follow=False, **FILLED_IN, note="mine\0")
    assert answer.status_code == 200
    assert "Listener Created!" in answer.text
    with hooks.app.app_context():
        (listener,) = listeners(hooks)
        path = f"/listeners/{listener.id}"
        assert (listener.hook, listener.url, listener.owner) == ("person.created", URL, None)
        assert listener.state is ListenerState.active
        assert match.equal(match.load(listener.match), {"title": match.Startswith("J")})
        assert listener.config == {"note": "mine"}
        secret = str(hooks.db.session.scalar(sa.select(ListenerSecret.secret)))
        (audit,) = hooks.db.session.scalars(sa.select(Audit))
        assert (audit.action, audit.object_key) == ("create", f"listener:{listener.id}")
        assert audit.after["filter"] == "title starts with J"
        assert secret not in str(audit.after)
    assert answer.text.count(secret) == 1
    assert secret not in str(answer.headers)
    with visitor.client.session_transaction() as session:
        assert secret not in str(dict(session))
    for tab in ("overview", "secret", "settings", "audit"):
        assert secret not in visitor.text(path, tab=tab)


def test_what_is_asked_beside_durians(hooks: Blog, visitor: Visitor) -> None:
    values = {
        **FILLED_IN,
        "listener_secret": SECRET,
        "listener_headers": "Authorization: Bearer x\n\nX-Who: me",
        "listener_owner": "acme",
        "listener_rate": "100/60",
        "listener_concurrency": "3",
        "listener_timeout": "4.5",
        "listener_retry_schedule": "0, 5, 60",
        "listener_format": "cloudevents",
        "listener_handshake": "1",
    }
    assert SECRET in visitor.send(CREATE, "create", **values).text
    with hooks.app.app_context():
        (listener,) = listeners(hooks)
        assert listener.owner == "acme"
        assert listener.state is ListenerState.unverified
        assert listener.headers == {"Authorization": "Bearer x", "X-Who": "me"}
        assert listener.options == {
            "rate": [100, 60],
            "concurrency": 3,
            "timeout": 4.5,
            "retry_schedule": [0, 5, 60],
            "format": "cloudevents",
        }
        assert hooks.db.session.query(Job).filter_by(kind="shake_hands").count() == 1


WRONG: tuple[tuple[dict[str, str], str], ...] = (
    ({"url": "ftp://a.example/"}, "Only http:// and https:// URLs are fetched."),
    ({"url": "https://user:pw@a.example/"}, "credentials"),
    ({"url": ""}, "This field is required."),
    ({"title_cond": str(match.LIKE), "title_query": "("}, "no pattern"),
    ({"title_cond": "99"}, "valid choice"),
    ({"listener_events": "other"}, "Choose the events."),
    ({"listener_events": "*"}, "Choose the events."),
    ({"listener_secret": "short"}, "24 to 64 bytes"),
    ({"listener_headers": "Host: a.example"}, "cannot be given the header"),
    ({"listener_headers": "nothing"}, "a name, a colon and a value"),
    ({"listener_headers": "Authorization: ***"}, "Give the value"),
    ({"listener_rate": "many"}, "is no number"),
    ({"listener_rate": "nan"}, "number from"),
    ({"listener_concurrency": "1.5"}, "whole number"),
    ({"listener_timeout": "600"}, "number from"),
    ({"listener_format": "morse"}, "is one of"),
    ({"listener_retry_schedule": "0,,x"}, "is no number"),
)


def test_what_is_wrong_is_told_and_all_input_kept(hooks: Blog, visitor: Visitor) -> None:
    for values, said in WRONG:
        typed: dict[str, Any] = {**FILLED_IN, "note": "\"><script>alert('note')</script>", **values}
        page = visitor.send(CREATE, "create", **typed).text
        assert said in page.replace("&#39;", "'").replace("&#34;", '"')
        assert "Something is not right yet" in page
        assert "&lt;script&gt;alert" in page
        assert "<script>alert" not in page
        if "title_query" not in values:
            assert 'value="J"' in page
    with hooks.app.app_context():
        assert listeners(hooks) == []
        assert hooks.db.session.query(Audit).count() == 0


def test_what_a_hook_refuses_itself_is_told(hooks: Blog, visitor: Visitor) -> None:
    class Picky(Hook):
        name = "picky"

        def add_listener_by_form(self, form: Any, match: Any = None, **options: Any) -> Listener:
            super().add_listener_by_form(form, match, **options)
            raise ValueError("Not <you>.")

    hooks.linkback.hooks.register(Picky)
    values = {"url": URL, "listener_events": "picky"}
    assert "Not &lt;you&gt;." in visitor.send("/listeners/create?type=picky", "create", **values).text
    with hooks.app.app_context():
        assert listeners(hooks) == []


def test_an_owner_creates_for_nobody_else(hooks: Blog, visitor: Visitor) -> None:
    class Sly(HookConfigForm):
        owner = StringField()

    hooks.linkback.hooks.register(Hook(name="sly", config_form=Sly))
    hooks.linkback.admin_access(lambda action, obj: "acme")
    assert "listener_owner" not in visitor.text("/listeners/create", type="person")
    visitor.send(CREATE, "create", **FILLED_IN, listener_owner="other", owner="other")
    values = {"url": URL, "listener_events": "sly", "owner": "other"}
    visitor.send("/listeners/create?type=sly", "create", **values)
    with hooks.app.app_context():
        assert [each.owner for each in listeners(hooks)] == ["acme", "acme"]


def test_who_may_only_look_creates_nothing(hooks: Blog, visitor: Visitor) -> None:
    hooks.linkback.admin_access(lambda action, obj: action == "view")
    assert ">Create</button>" not in visitor.text("/listeners/create", type="person")
    assert visitor.send(CREATE, "create", **FILLED_IN).status_code == 403


def test_a_form_makes_one_listener(hooks: Blog, visitor: Visitor) -> None:
    """Whoever loads the page with the secret again, and sends the form again so, has made no second one."""
    found = re.search(r'name="once" value="([^"]+)"', visitor.text(CREATE))
    assert found
    once = found[1]
    wrong = visitor.send(CREATE, "create", **{**FILLED_IN, "url": "nonsense"}, once=once)
    assert f'name="once" value="{once}"' in wrong.text
    assert "Listener Created!" in visitor.send(CREATE, "create", **FILLED_IN, once=once).text
    again = visitor.send(CREATE, "create", follow=False, **FILLED_IN, once=once)
    assert again.headers["Location"] == "/linkback/admin/hooks"
    assert "was made already" in visitor.text("/hooks")
    with hooks.app.app_context():
        assert len(listeners(hooks)) == 1
    assert "Listener Created!" in visitor.send(CREATE, "create", **FILLED_IN, once="another").text
    with hooks.app.app_context():
        assert len(listeners(hooks)) == 2


def test_what_lacks_an_extra_is_said_where_it_was_chosen(
    hooks: Blog, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    chosen = {**FILLED_IN, "title_cond": str(match.LIKE), "title_query": "J%", "listener_rate": "many"}
    answer = visitor.send(CREATE, "create", follow=False, **chosen)
    assert answer.status_code == 200
    for said in ("flask-linkback[fast]", "is no number", f'value="{URL}"', 'value="J%"'):
        assert said in answer.text


@pytest.mark.parametrize(
    ("url", "is_told"),
    [
        ("http://10.0.0.1/x", True),
        ("http://[::1]/x", True),
        ("http://127.0.0.1/x", False),  # these tests open it
        ("http://where.example/x", False),
    ],
)
def test_an_address_to_which_nothing_is_sent_is_told(
    hooks: Blog, visitor: Visitor, url: str, is_told: bool
) -> None:
    text = visitor.send(CREATE, "create", **{**FILLED_IN, "url": url}).text
    assert "Listener Created!" in text
    assert ("LINKBACK_ALLOW_NETWORKS" in text) is is_told
