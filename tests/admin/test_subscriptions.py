"""Subscriptions: what we follow is seen, followed, renewed and ended in the admin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback.models import (
    Audit,
    Content,
    Job,
    Secret,
    Subscription,
    SubscriptionRequest,
    SubscriptionState,
    digest,
)
from flask_linkback.websub.leases import ASK
from tests.admin.conftest import Visitor
from tests.admin.stock import HOSTILE, SECRET, fill
from tests.apps import Blog

NOW = datetime.now(UTC)
TOPIC = "https://elsewhere.example/feed"


def add(blog: Blog, state: SubscriptionState = SubscriptionState.active, **values: Any) -> int:
    """Add a subscription, with the request that its hub confirmed, and return its id."""
    url = values.pop("url", TOPIC)
    with blog.app.app_context():
        count = blog.db.session.scalar(sa.select(sa.func.count()).select_from(Subscription)) or 0
        subscription = Subscription(
            **{
                "key": digest(url, str(count)), "topic_url": url, "topic_key": digest(url), "page_url": url,
                "hub_url": "https://hub.example/", "state": state, "created_at": NOW, **values,
            }
        )  # fmt: skip
        blog.db.session.add(subscription)
        blog.db.session.flush()
        request = SubscriptionRequest(
            subscription_id=subscription.id, token=f"token-of-{subscription.id}", mode="subscribe",
            topic_url=url, hub_url="https://hub.example/", secret=Secret(SECRET), created_at=NOW,
            requested_at=NOW, verified_at=NOW,
        )  # fmt: skip
        blog.db.session.add(request)
        blog.db.session.commit()
        return subscription.id


def read(blog: Blog, statement: Any) -> list[Any]:
    with blog.app.app_context():
        found = list(blog.db.session.scalars(statement))
        blog.db.session.expunge_all()
        return found


def audits(blog: Blog, action: str) -> list[Audit]:
    return read(blog, sa.select(Audit).where(Audit.action == action).order_by(Audit.id))


def asked(blog: Blog) -> list[str]:
    """The modes of the requests that hubs are owed."""
    return sorted(job.payload["mode"] for job in read(blog, sa.select(Job).where(Job.kind == ASK)))


# --- the list ------------------------------------------------------------------------------------------


def test_an_empty_list_says_what_to_do(visitor: Visitor) -> None:
    page = visitor.text("/subscriptions")
    assert "You follow nobody yet." in page
    assert '<details class="add" open>' in page


@pytest.mark.parametrize("n", [1, 60])
def test_the_list(blog: Blog, visitor: Visitor, n: int) -> None:
    with blog.app.app_context():
        fill(blog, n)
    page = visitor.text("/subscriptions")
    assert page.count('name="id"') == min(n, 50)
    assert ("Older" in page) is (n > 50)
    assert "<script>document" not in page
    assert SECRET not in page
    assert len(page) < 100_000


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"state": "denied"}, {"denied"}),
        ({"expired": "yes"}, {"late", "expired"}),
        ({"expired": "no"}, {"active", "denied"}),
        ({"hub": "Other.example"}, {"denied"}),
        ({"topic": "/late"}, {"late"}),
        ({"topic": "100%"}, set()),
        ({"state": "nonsense"}, {"active", "denied", "late", "expired"}),
    ],
)
def test_filters(blog: Blog, visitor: Visitor, query: dict[str, str], wanted: set[str]) -> None:
    day = timedelta(days=1)
    add(blog, url="https://a.example/active", lease_expires_at=NOW + day)
    add(blog, url="https://a.example/late", lease_expires_at=NOW - day)
    add(blog, SubscriptionState.expired, url="https://a.example/expired")
    add(blog, SubscriptionState.denied, url="https://a.example/denied", hub_url="https://other.example/")
    page = visitor.text("/subscriptions", **query)
    assert {
        name for name in ("active", "late", "expired", "denied") if f"a.example/{name}<" in page
    } == wanted


def test_what_is_over_is_red_and_what_is_silent_is_said(blog: Blog, visitor: Visitor) -> None:
    add(blog, lease_expires_at=NOW - timedelta(days=1), silent=True, missed=3)
    page = visitor.text("/subscriptions")
    assert 'class="over"><time' in page
    assert "silent" in page


# --- following -----------------------------------------------------------------------------------------


def test_a_topic_is_followed(blog: Blog, visitor: Visitor) -> None:
    answer = visitor.send(
        "/subscriptions", "subscribe", url=TOPIC, hub="https://hub.example/", lease="7200", follow=False
    )
    (subscription,) = read(blog, sa.select(Subscription))
    assert answer.status_code == 303
    assert answer.location.endswith(f"/subscriptions/{subscription.id}")
    assert (subscription.hub_url, subscription.wanted_lease_seconds) == ("https://hub.example/", 7200)
    assert asked(blog) == ["subscribe"]
    (note,) = audits(blog, "subscribe")
    assert (note.object_key, note.who) == (f"subscription:{subscription.id}", "ada@example.org")
    page = visitor.text(f"/subscriptions/{subscription.id}")
    assert "1 subscription is queued." in page
    assert "/linkback/admin/jobs?kind=ask_hub" in page


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("url", ""),
        ("url", "ftp://a.example/"),
        ("url", f"https://a.example/{HOSTILE}"),
        ("hub", "nonsense"),
        ("lease", "0"),
        ("lease", "-1"),
        ("lease", "9" * 30),
        ("lease", "²"),
        ("lease", "soon"),
    ],
)
def test_what_cannot_be_followed_is_said_at_its_field(
    blog: Blog, visitor: Visitor, field: str, said: str
) -> None:
    form = {"url": TOPIC, "hub": "https://hub.example/", "lease": "60", field: said}
    answer = visitor.send("/subscriptions", "subscribe", **form)
    assert answer.status_code == 422
    assert answer.text.count('class="error"') == 1
    assert f'id="error-{field}"' in answer.text
    assert 'value="60"' in answer.text or field == "lease"  # what was typed is kept
    assert "<script>document" not in answer.text
    assert read(blog, sa.select(Subscription)) == []
    assert audits(blog, "subscribe") == []


def test_nothing_is_asked_of_hubs_without_an_address(blog: Blog, visitor: Visitor) -> None:
    number = add(blog)
    object.__setattr__(blog.site.settings.site, "base_url", None)
    for path, action, form in (
        ("/subscriptions", "subscribe", {"url": TOPIC}),
        ("/subscriptions", "renew", {"id": str(number)}),
        (f"/subscriptions/{number}", "unsubscribe", {}),
    ):
        assert "LINKBACK_BASE_URL" in visitor.send(path, action, **form).text
    assert asked(blog) == []
    assert "There is no address for it" in visitor.text(f"/subscriptions/{number}")


# --- renewing and unsubscribing ------------------------------------------------------------------------


def test_several_are_renewed_and_those_that_ended_are_told(blog: Blog, visitor: Visitor) -> None:
    ids = [add(blog), add(blog, SubscriptionState.failed), add(blog, SubscriptionState.unsubscribed)]
    page = visitor.send("/subscriptions", "renew", id=[str(each) for each in ids]).text
    assert "2 subscriptions are queued for renewal." in page
    assert 'class="note bad" role="status">Failed to renew 1 subscription: it was unsubscribed.' in page
    assert "/linkback/admin/jobs?kind=ask_hub" in page
    assert asked(blog) == ["subscribe", "subscribe"]
    changes = [(note.object_key, note.before, note.after) for note in audits(blog, "renew")]
    assert sorted(changes) == [
        (f"subscription:{ids[0]}", {"state": "active"}, {"state": "active"}),
        (f"subscription:{ids[1]}", {"state": "failed"}, {"state": "discovering"}),
    ]


def test_several_are_unsubscribed(blog: Blog, visitor: Visitor) -> None:
    ids = [add(blog), add(blog, SubscriptionState.unsubscribed), add(blog, SubscriptionState.discovering)]
    with blog.app.app_context():  # the hub of the last was never asked
        blog.db.session.execute(
            sa.update(SubscriptionRequest)
            .where(SubscriptionRequest.subscription_id == ids[2])
            .values(requested_at=None, verified_at=None)
        )
        blog.db.session.commit()
    page = visitor.send("/subscriptions", "unsubscribe", id=[str(each) for each in ids]).text
    assert "1 subscription is queued for unsubscription." in page
    assert "Unsubscribed from 1 topic, whose hub was never asked." in page
    assert "Failed to unsubscribe from 1 topic: it was unsubscribed before." in page
    assert asked(blog) == ["unsubscribe"]
    states = {each.id: each.state.value for each in read(blog, sa.select(Subscription))}
    assert states == {ids[0]: "unsubscribing", ids[1]: "unsubscribed", ids[2]: "unsubscribed"}
    assert len(audits(blog, "unsubscribe")) == 2


def test_one_is_renewed_unsubscribed_and_followed_again(blog: Blog, visitor: Visitor) -> None:
    number = add(blog)
    path = f"/subscriptions/{number}"
    assert "1 subscription is queued for renewal." in visitor.send(path, "renew").text
    assert "1 subscription is queued for unsubscription." in visitor.send(path, "unsubscribe").text
    with blog.app.app_context():
        blog.db.session.execute(sa.update(Subscription).values(state=SubscriptionState.unsubscribed))
        blog.db.session.commit()
    page = visitor.text(path)
    assert "Subscribe again" in page
    assert "Unsubscribe<" not in page
    assert "This subscription has ended." in visitor.send(path, "unsubscribe").text
    visitor.send(path, "renew")
    assert read(blog, sa.select(Subscription.state)) == [SubscriptionState.discovering]


def test_who_may_only_look_changes_nothing(blog: Blog, visitor: Visitor) -> None:
    number = add(blog)
    blog.linkback.admin_access(lambda action, obj: action == "view")
    for path in ("/subscriptions", f"/subscriptions/{number}"):
        page = visitor.text(path)
        assert "Renew" not in page
        assert "token-of-" not in page  # who knows the callback can act as the hub
        for action in ("renew", "unsubscribe", "subscribe"):
            if action != "subscribe" or path == "/subscriptions":
                answer = visitor.send(path, action, id=str(number), url=TOPIC)
                assert answer.status_code == 403
    assert asked(blog) == []


def test_an_owner_sees_nothing_of_it(blog: Blog, visitor: Visitor) -> None:
    number = add(blog)
    blog.linkback.admin_access(lambda action, obj: "acme")
    for path in ("/subscriptions", f"/subscriptions/{number}", "/subscriptions/99"):
        assert visitor.get(path).status_code == 403


# --- one of them ---------------------------------------------------------------------------------------


def test_a_page_tells_all_but_secrets(blog: Blog, visitor: Visitor) -> None:
    number = add(
        blog, secret=Secret("s3cr3t-of-mine"), credentials=Secret("me:passw0rd"),
        params={"format": "json", "key": "hush"}, headers={"Authorization": "Bearer hush"},
        page_url="https://elsewhere.example/", lease_seconds=864_000, wanted_lease_seconds=60,
        silent=True, missed=3, reason=HOSTILE,
    )  # fmt: skip
    page = visitor.text(f"/subscriptions/{number}")
    for hidden in ("s3cr3t-of-mine", "passw0rd", "hush", SECRET, "<script>document"):
        assert hidden not in page
    for said in (
        f"https://blog.example/linkback/websub/token-of-{number}",
        "https://elsewhere.example/",
        "format, key",
        "Authorization",
        "1 minute asked for",
        "did not bring 3 entries",
    ):
        assert said in page


def test_requests_and_their_jobs_are_shown(blog: Blog, visitor: Visitor) -> None:
    number = add(blog)
    visitor.send(f"/subscriptions/{number}", "renew")
    page = visitor.text(f"/subscriptions/{number}")
    (job,) = read(blog, sa.select(Job).where(Job.kind == ASK))
    assert f'href="/linkback/admin/jobs/{job.id}"' in page
    assert page.count("/linkback/websub/") == 2
    assert ">waiting<" in page
    assert "What people did" in page


def test_contents_are_shown_as_text_and_in_part(blog: Blog, visitor: Visitor) -> None:
    number = add(blog)
    with blog.app.app_context():
        for i, body in enumerate([HOSTILE.encode() + b'"' * 1_000_000, b"\xff\x00<p>", None] * 3):
            blog.db.session.add(
                Content(
                    subscription_id=number, digest=str(i), content_type=HOSTILE, body=body,
                    received_at=NOW, request_id=i % 2 or None,
                )
            )  # fmt: skip
        blog.db.session.commit()
    page = visitor.text(f"/subscriptions/{number}")
    assert page.count("<details>") == 5
    assert "1.0 MB" in page
    assert "5 bytes" in page
    assert "not kept any more" in page
    assert "<script>document" not in page
    assert "\u202e" not in page
    assert len(page) < 100_000


@pytest.mark.parametrize("path", ["/subscriptions/99", f"/subscriptions/{2**70}", "/subscriptions/x"])
def test_what_is_not_there_is_404(visitor: Visitor, path: str) -> None:
    assert visitor.get(path).status_code == 404
