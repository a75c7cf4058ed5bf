"""Callback: whatever somebody asks of it or brings to it, the answer is one of those that are documented."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_linkback.models import Subscription, SubscriptionRequest, SubscriptionState
from tests.apps import Blog
from tests.pingback.tools import work
from tests.websub.following import Hub, requests_of, subscribe, subscription

TOPIC = "https://topic.example/feed"
ASKED = (200, 400, 404, 410)
BROUGHT = (202, 400, 403, 404, 410, 413, 415)

texts = st.text(max_size=60) | st.sampled_from(
    [
        TOPIC,
        "subscribe",
        "unsubscribe",
        "denied",
        "publish",
        "",
        "0",
        "99",
        "-1",
        "9" * 400,
        "\0",
        "\ud800",
        "x" * 9000,
    ]
)
names = st.sampled_from(
    ["hub.mode", "hub.topic", "hub.challenge", "hub.lease_seconds", "hub.reason", "hub.verify_token", "hub.x"]
)
headers = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80)


@pytest.fixture(params=["with a secret", "without"])
def blog(serve: Callable[..., Blog], sqlite_url: str, hub: Hub, request: pytest.FixtureRequest) -> Blog:
    blog = serve(sqlite_url, MAX_BODY_BYTES=2000)
    subscribe(blog, TOPIC, hub=hub.url, secret="s" if request.param == "with a secret" else None)
    work(blog)
    assert hub.confirm()[0] == 200
    return blog


def path_of(blog: Blog) -> str:
    return f"/linkback/websub/{requests_of(blog)[0].token}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(query=st.lists(st.tuples(names, texts), max_size=8))
def test_questions(blog: Blog, query: list[tuple[str, str]]) -> None:
    client, path = blog.app.test_client(), path_of(blog)
    said = [(name, value.encode("utf-8", "surrogatepass")) for name, value in query]
    response = client.get(path, query_string=said)
    assert response.status_code in ASKED
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    if response.status_code == 200 and subscription(blog).state is SubscriptionState.active:
        assert response.get_data(as_text=True) == dict(reversed(query))["hub.challenge"]
    if (
        subscription(blog).state is not SubscriptionState.active
    ):  # it was denied: the next example has another
        assert ("hub.mode", "denied") in query
        with blog.app.app_context():
            blog.db.session.query(SubscriptionRequest).update({"ends_at": None})
            blog.db.session.query(Subscription).update({"state": SubscriptionState.active})
            blog.db.session.commit()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    body=st.binary(max_size=2100),
    said=st.dictionaries(
        st.sampled_from(
            ["X-Hub-Signature", "Link", "Content-Type", "User-Agent", "Content-Encoding", "Content-Length"]
        ),
        headers,
    ),
)
def test_content(blog: Blog, body: bytes, said: dict[str, str]) -> None:
    said.pop("Content-Length", None)
    response = blog.app.test_client().post(path_of(blog), data=body, headers=said)
    assert response.status_code in BROUGHT
    if requests_of(blog)[0].secret is None and len(body) <= 2000 and "Content-Encoding" not in said:
        assert response.status_code == 202


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods(blog: Blog, method: str) -> None:
    assert blog.app.test_client().open(path_of(blog), method=method).status_code == 405


def test_content_in_chunks(blog: Blog) -> None:
    path = path_of(blog)
    for size, status in ((1000, (202, 403)), (5000, (413,))):
        response = blog.app.test_client().post(
            path,
            input_stream=io.BytesIO(b"x" * size),
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert response.status_code in status
