"""An application as people write it, for the type checker: nothing here runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, assert_type

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_linkback import Linkback, errors, ping_func, signals
from flask_linkback.errors import BadSignature
from flask_linkback.linkbacks.explaining import Step
from flask_linkback.models import Link, LinkState, Mention, MentionState, MentionStatus, Subscriber
from flask_linkback.protocols.webhook_schemes import Message, Verified
from flask_linkback.site import Route, Site, current_site
from flask_linkback.webhooks.receiving import ReceivedEvent


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
linkback = Linkback(db=db)


class Post(Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str]
    html: Mapped[str]
    published_at: Mapped[datetime]
    is_open: Mapped[bool]

    def url(self) -> str:
        return f"/post/{self.slug}"


def create_app() -> Flask:
    app = Flask(__name__)
    db.init_app(app)
    linkback.init_app(app)
    signals.mention_verified.connect(tell_me, app)
    return app


def other_ways(app: Flask) -> None:
    Linkback(app, db)
    Linkback(app, db=db, blueprints=["pingback"])
    Linkback().init_app(app, db)


# --- what is accepted ---------------------------------------------------------------------------------


@linkback.target("post", model=Post, url="url", accepts="is_open", date="published_at")
def load_post(slug: str) -> Post | None:
    return db.session.scalar(select(Post).filter_by(slug=slug))


@linkback.target("chapter", "verse", key=lambda chapter: f"chapter:{chapter['number']}", accepts=True)
def load_chapter(number: int) -> dict[str, Any]:
    return {"number": number}


@linkback.spam_check
def ask_about(mention: Mention) -> str:
    return "spam" if "casino" in mention.content else "unsure"


@linkback.spam_feedback
def learn(mention: Mention, verdict: str) -> None:
    print(mention.source, verdict)


assert_type(ask_about(Mention()), str)
assert_type(load_post("a"), Post | None)  # a decorated loader keeps its type
linkback.register_pingback("post", load_post)
linkback.register_pingback(create_app, "blog.views.load_post")
assert_type(linkback.create_ping_func(post=load_post), Callable[[str, str], str])
assert_type(ping_func("https://a.example/", "https://b.example/"), str)


def add(a: int, b: int) -> int:
    return a + b


linkback.xmlrpc.register("demo.add", add, returns="int", args=["int", "int"])


# --- what was received --------------------------------------------------------------------------------


def look(post: Post) -> None:
    assert_type(linkback.mentions_for(post), Sequence[Mention])
    assert_type(linkback.mentions_for("/post/a", protocol="pingback", include_hidden=True), Sequence[Mention])
    assert_type(linkback.mentions_for(post, type=("like", "repost")), Sequence[Mention])
    assert_type(linkback.mention_count(), int)
    assert_type(linkback.mention_count(post, type="reply"), int)
    assert_type(linkback.url_for(post), str)
    for mention in linkback.mentions_for(post):
        assert_type(mention.title, str)
        assert_type(mention.state, MentionState)
        assert_type(mention.status, MentionStatus)
        assert_type(mention.received_at, datetime)
        assert_type(mention.verified_at, datetime | None)
        linkback.moderate(mention, "approved", who="ann")
        linkback.moderate(mention, MentionStatus.spam)


def tell_me(sender: Flask, mention: Mention, **extra: Any) -> None:
    sender.logger.info("%s", mention.source)


# --- what goes out ------------------------------------------------------------------------------------

linkback.ping_external_links(Post, content="html", url="url", when=lambda post: post.is_open)
linkback.ping_external_links(Post, targets=lambda post: ["https://elsewhere.example/"])
linkback.ping_directories(Post, url="url", feed_url=lambda post: f"/feeds/{post.slug}")


def publish() -> None:
    linkback.publish("/about", html="<p>About</p>")
    linkback.publish("/news", targets=["https://elsewhere.example/"])
    linkback.publish("/news", targets="https://elsewhere.example/; https://other.example/")
    linkback.publish("/news", feeds=["/feed.atom"])
    linkback.publish("/news", feeds="/feed.atom", hubs=["https://hub.example/"])
    linkback.websub.ping_hub("/feed.atom")
    linkback.websub.ping_hub("/feed.atom", "https://hub.example/")
    linkback.websub.ping_on_change(
        Post,
        feeds=[
            "feeds.latest",
            ("feeds.beat", lambda post: {"beat_id": post.beat_id}),
            "/x",
            lambda post: post.url(),
        ],
        when=lambda post: post.is_open,
        at="published_at",
        fields=["html"],
    )
    linkback.gone("/news")
    linkback.moved("/about", "/about-us")
    db.session.commit()
    assert_type(linkback.explain("https://elsewhere.example/"), Sequence[Step])
    refused = db.session.scalars(select(Link).where(Link.state == LinkState.refused)).all()
    assert_type(refused, Sequence[Link])


# --- the hub ------------------------------------------------------------------------------------------


@linkback.websub.hub_policy
def policy(callback_url: str, topic_url: str, request_params: Mapping[str, str]) -> str | None:
    return None if request_params.get("key") else "no key"


assert_type(policy("https://a.example/", "https://b.example/", {}), str | None)


def look_after_the_hub(subscriber: Subscriber) -> None:
    assert_type(linkback.websub.deny(subscriber, "no more"), bool)
    assert_type(linkback.websub.redeliver(subscriber), bool)
    db.session.commit()


# --- webhooks ---------------------------------------------------------------------------------------------


@linkback.webhooks.receiver("github", secret=lambda: ["old", "new"])
def on_github(event: ReceivedEvent) -> None:
    assert_type(event.headers["x-github-event"], str)
    assert_type(event.body, bytes)


def by_token(message: Message) -> Verified:
    if message.headers.get("x-token") not in message.secrets:
        raise BadSignature
    return Verified(id=message.headers["x-id"])


@linkback.webhooks.receiver("shop", scheme=by_token)
async def on_shop(event: ReceivedEvent) -> int:
    return len(event.body)


# --- the outbox ---------------------------------------------------------------------------------------


@linkback.websub.publisher
def notices() -> str:
    return "<title>Notices</title>"


@linkback.websub.publisher(args=["page"], hubs="https://hub.example/")
async def calendar(year: int) -> str:
    return f"<title>{year}</title>"


@linkback.websub.credentials
def hub_credentials(hub_url: str) -> tuple[str, str] | None:
    return ("me", "secret") if hub_url == "https://hub.example/" else None


def decorated() -> None:
    assert_type(notices(), str)
    assert_type(hub_credentials("https://hub.example/"), tuple[str, str] | None)


def tend() -> None:
    assert_type(linkback.run_until_idle(), int)
    assert_type(linkback.health(), dict[str, Any])
    assert_type(linkback.replay(1), bool)


# --- the site -----------------------------------------------------------------------------------------


def ask() -> None:
    site = current_site()
    assert_type(site, Site)
    assert_type(site.url_for("post", slug="a"), str)
    assert_type(site.match("https://blog.example/post/a"), Route | None)
    assert_type(site.now(), datetime)
    site.now = lambda: datetime.now(UTC)  # type: ignore[method-assign]
    try:
        site.fetch.get("https://elsewhere.example/")
    except errors.AddressRefused as error:
        assert_type(error.kind, str)


# --- what is refused: an ignore that is not needed is an error too ------------------------------------


def mistakes(post: Post) -> None:
    linkback.moderate(post, "approved")  # type: ignore[arg-type]
    linkback.target("post", modle=Post)  # type: ignore[call-arg]
    linkback.ping_external_links("Post", content="html")  # type: ignore[arg-type]
    linkback.publish(b"/about")  # type: ignore[arg-type]
    linkback.replay("1")  # type: ignore[arg-type]
