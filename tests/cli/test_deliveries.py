"""Commands for webhooks: whoever has no pages for them has these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from flask_linkback import Hook
from flask_linkback.models import Job, JobState, Listener, ListenerSecret, ListenerState
from tests.apps import Blog
from tests.cli.commands import Ran, run
from tests.neighbours import Neighbour
from tests.webhooks.listening import deliveries, shout, work

SECRET = "whsec_" + "QUJD" * 8


@pytest.fixture
def blog(blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour) -> Iterator[Blog]:
    neighbour.answer("/listening", status=204)
    blog = blogs(sqlite_url, content=None, RUNNER="off")
    blog.linkback.hooks.register(Hook(name="shouted", retry=False))
    with blog.app.app_context():
        yield blog


def added(blog: Blog, neighbour: Neighbour, *more: str) -> int:
    ran = run(blog, "listeners", "add", neighbour.url("/listening"), "--event", "shouted", "--json", *more)
    assert ran.status == 0, ran
    return int(ran.json["id"])


def told(blog: Blog, **payload: Any) -> None:
    shout(blog, blog.linkback.hooks["shouted"], **payload)
    work(blog)


# --- listeners ---------------------------------------------------------------------------------------


def test_a_listener_is_added_and_its_secret_shown_once(blog: Blog, neighbour: Neighbour) -> None:
    url = neighbour.url("/listening")
    match = '{"name": {"startswith": "J"}, "age": 3}'
    options = ("--owner", "me", "--options", '{"rate": 5}', "--match", match)
    ran = run(blog, "listeners", "add", url, "--event", "shouted", "--secret", SECRET, *options)
    assert (ran.status, ran.lines[0].split()) == (0, ["1", "active", "shouted", url, "(me)"])
    assert SECRET in ran.stdout
    listed = run(blog, "listeners", "--json")
    assert SECRET not in listed.stdout
    (document,) = listed.json
    assert document["match"] == {"version": 1, "any": [{"name": {"startswith": "J"}, "age": {"is": 3}}]}
    assert (document["options"], document["owner"]) == ({"rate": [5, 1]}, "me")
    told(blog, name="Joe", age=3)
    told(blog, name="Joe", age=4)
    assert len(neighbour.requests) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--match", "{"], "--match is no JSON"),
        (["--match", '"x"'], "an object of fields"),
        (["--match", '{"x": {"startswit": "J"}}'], "startswit"),
        (["--options", "[]"], "no JSON object"),
        (["--options", '{"rat": 1}'], "Did you mean rate"),
        (["--secret", "short"], "24 to 64 bytes"),
        (["--event", "per*"], "no name of a hook"),
    ],
)
def test_what_is_no_listener(blog: Blog, neighbour: Neighbour, args: list[str], said: str) -> None:
    ran = run(blog, "listeners", "add", neighbour.url("/listening"), "--event", "shouted", *args)
    assert ran.status == 1
    assert said in ran.stderr
    assert run(blog, "listeners").lines == ["No listeners."]


def test_an_address_that_is_refused(blog: Blog) -> None:
    ran = run(blog, "listeners", "add", "ftp://a.example/", "--event", "shouted", "--json")
    assert ran.status == 1
    assert "http" in ran.json["error"]


def test_listeners_are_switched(blog: Blog, neighbour: Neighbour) -> None:
    one = str(added(blog, neighbour))
    two = str(added(blog, neighbour))
    ran = run(blog, "listeners", "pause", one, two, "--json")
    assert [each["state"] for each in ran.json] == ["paused", "paused"]
    assert len(run(blog, "listeners", "list", "--state", "paused").lines) == 2
    assert run(blog, "listeners", "resume", one).lines[0].split()[:2] == [one, "active"]
    for args in (("pause", "99"), ("verify", one)):
        assert run(blog, "listeners", *args).status == 1
    blog.db.session.execute(sa.update(Listener.__table__).values(state="disabled", reason="410"))
    blog.db.session.commit()
    refused = run(blog, "listeners", "resume", two)
    assert refused.status == 1
    assert "has to pass" in refused.stderr
    assert run(blog, "listeners", "remove", one).lines == ["1 listener removed."]
    assert len(blog.db.session.scalars(sa.select(ListenerSecret.id)).all()) == 1


def test_a_listener_is_tested(blog: Blog, neighbour: Neighbour) -> None:
    listener_id = str(added(blog, neighbour))
    blog.db.session.execute(sa.update(Listener.__table__).values(state="disabled", reason="410"))
    blog.db.session.commit()
    neighbour.answer("/listening", status=500, body=b"no\x1b[31m")
    ran = run(blog, "listeners", "test", listener_id, "--data", '{"a": 1}', "--type", "shouted.loudly")
    assert ran.status == 1
    assert ran.lines[0] == f"POST {neighbour.url('/listening')}"
    assert "The server answers 500." in ran.stdout
    assert "\x1b" not in ran.stdout
    neighbour.answer("/listening", status=204)
    document = run(blog, "listeners", "test", listener_id, "--json").json
    assert (document["passed"], document["answered"]["status"]) == (True, 204)
    assert document["listener"]["state"] == "active"
    assert run(blog, "listeners", "test", listener_id, "--data", "{").status == 1


# --- events and deliveries ---------------------------------------------------------------------------


def test_what_happened_and_who_did_not_hear_of_it(blog: Blog, neighbour: Neighbour) -> None:
    one = added(blog, neighbour)
    other = added(blog, neighbour, "--match", '{"name": "Jim"}')
    told(blog, name="Joe")
    ran = run(blog, "events")
    assert (ran.status, ran.lines[0].split()[0], ran.lines[0].split()[-1]) == (0, "1", "shouted")
    assert run(blog, "events", "--type", "whispered").lines == ["No events."]
    shown = run(blog, "events", "show", "1", "--json").json
    assert shown["data"] == {"name": "Joe"}
    assert [each["listener_id"] for each in shown["deliveries"]] == [one]
    assert [each["listener_id"] for each in shown["others"]] == [other]
    assert "Jim" in shown["others"][0]["reason"]
    assert f"Not to listener {other}:" in run(blog, "events", "show", "1").stdout
    assert run(blog, "events", "show", "2").status == 1


def test_deliveries_are_listed_shown_and_replayed(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/listening", status=500, body=b"not today")
    added(blog, neighbour)
    told(blog)
    (document,) = run(blog, "deliveries", "--json").json
    assert (document["state"], document["reason"]) == ("dead", "The server answers 500.")
    job_id = str(document["id"])
    shown = run(blog, "deliveries", "show", job_id)
    assert "not today" in shown.stdout
    assert run(blog, "deliveries", "show", job_id, "--json").json["attempts"][0]["status_code"] == 500
    neighbour.answer("/listening", status=200)
    assert run(blog, "deliveries", "replay", job_id).lines[0].split()[:2] == [job_id, "pending"]
    assert run(blog, "deliveries", "replay", job_id).status == 1
    work(blog)
    assert "again=True" in run(blog, "deliveries", "replay", job_id).stderr
    assert run(blog, "deliveries", "replay", job_id, "--again").status == 0
    assert run(blog, "deliveries", "list", "--state", "done").lines == ["No deliveries."]
    assert run(blog, "deliveries", "show", "1").status == 1  # another job
    assert run(blog, "deliveries", "--since", "1h").lines[0].split()[0] == job_id
    assert run(blog, "deliveries", "--since", "2100-01-01").lines == ["No deliveries."]
    assert "is no time" in run(blog, "deliveries", "--since", "soon").stderr


def test_recover_and_cancel(blog: Blog, neighbour: Neighbour) -> None:
    neighbour.answer("/listening", status=500)
    one = str(added(blog, neighbour))
    told(blog)
    told(blog)
    neighbour.answer("/listening", status=200)
    late = str(added(blog, neighbour))

    def recover(*args: str) -> Ran:
        return run(blog, "deliveries", "recover", "--listener", *args)

    assert recover(one, "--since", "1h", "--dry-run").lines == [
        f"2 deliveries would be owed to listener {one}."
    ]
    assert recover(one, "--since", "1h", "--json").json["count"] == 2
    assert recover(late, "--since", "1d", "--never-sent").lines == [
        f"2 deliveries are owed to listener {late}."
    ]
    assert recover(one, "--since", "15d").status == 1
    assert recover(one, "--since", "yesterday").status == 1
    since = (blog.site.now() - timedelta(hours=1)).replace(tzinfo=None).isoformat()
    assert recover(one, "--since", since, "--dry-run").lines == [
        f"0 deliveries would be owed to listener {one}."
    ]
    cancel = ("deliveries", "cancel")
    assert run(blog, *cancel, "--listener", one, "--event", "1").lines == ["1 delivery cancelled."]
    assert run(blog, *cancel, str(deliveries(blog)[1].id)).lines == ["1 delivery cancelled."]
    assert run(blog, *cancel, "--listener", one).status == 1
    assert run(blog, *cancel).status == 1
    waiting = blog.db.session.scalars(sa.select(Job.listener_id).where(Job.state == JobState.pending))
    assert set(waiting) == {int(late)}


# --- secrets -----------------------------------------------------------------------------------------


def test_a_listener_gets_a_new_secret(blog: Blog, neighbour: Neighbour) -> None:
    listener_id = str(added(blog, neighbour))
    document = run(blog, "rotate-secrets", "--listener", listener_id, "--overlap", "2", "--json").json
    listener = blog.db.session.get(Listener, int(listener_id))
    assert listener is not None
    new, _ = blog.linkback.webhooks.secrets(listener)
    assert new.secret == document["secret"]
    said = run(blog, "rotate-secrets", "--listener", listener_id, "--overlap", "0", "--secret", SECRET)
    assert said.lines[1] == "The old one is forgotten."
    assert SECRET in said.stdout
    assert listener.state is ListenerState.active
    for args in (["--listener", "99"], ["--listener", listener_id, "--secret", "x"]):
        assert run(blog, "rotate-secrets", *args).status == 1
    assert run(blog, "rotate-secrets", "--overlap", "1").status == 1
    assert "LINKBACK_SECRET_KEYS is empty" in run(blog, "rotate-secrets").stderr


def test_stored_secrets_get_the_first_of_the_keys(
    blogs: Callable[..., Blog], sqlite_url: str, neighbour: Neighbour
) -> None:
    """Plain ones and those of an older key; after that the older key can go."""
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()

    def stored(blog: Blog) -> list[str]:
        with blog.app.app_context():
            text = sa.text(
                "SELECT secret FROM linkback_listener_secret UNION ALL SELECT headers FROM linkback_listener"
            )
            return sorted(row[0] for row in blog.db.session.execute(text))

    def with_keys(*keys: str) -> Blog:
        return blogs(sqlite_url, content=None, RUNNER="off", SECRET_KEYS=list(keys))

    plain = blogs(sqlite_url, content=None, RUNNER="off")
    for blog in (plain, with_keys(old)):
        added(blog, neighbour, "--secret", SECRET)
        with blog.app.app_context():
            newest = blog.db.session.scalars(sa.select(Listener).order_by(Listener.id.desc())).first()
            newest.headers = {"X-Key": "1"}
            blog.db.session.commit()
    assert [each.partition(":")[0] for each in stored(plain)] == ["fernet", "fernet", "plain", "plain"]
    before = stored(plain)
    both = with_keys(new, old)
    ran = run(both, "rotate-secrets", "--json")
    assert ran.status == 0
    assert {ran.json["encrypted"][table] for table in ("linkback_listener", "linkback_listener_secret")} == {
        2
    }
    assert not set(before) & set(stored(both))
    only_new = with_keys(new)
    with only_new.app.app_context():
        secrets = only_new.db.session.scalars(sa.select(ListenerSecret.secret)).all()
        headers = only_new.db.session.scalars(sa.select(Listener.headers)).all()
        assert headers == [{"X-Key": "1"}] * 2
    assert [str(each) for each in secrets] == [SECRET, SECRET]
    lost = run(with_keys(old), "rotate-secrets")
    assert lost.status == 1
    for table in ("linkback_listener", "linkback_listener_secret"):
        assert f"{table}: none of the keys opens 2 secrets" in lost.stdout
    assert run(only_new, "rotate-secrets").status == 0
