"""States: every step that the documentation draws is walked, with its signal, and no other is taken."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from flask_linkback import ping_func, signals
from flask_linkback.models import (
    Job,
    JobState,
    Link,
    LinkState,
    ListenerState,
    Mention,
    MentionState,
    MentionStatus,
    SubscriberState,
    SubscriptionState,
)
from flask_linkback.outbox import jobs
from flask_linkback.outbox.worker import drain
from flask_linkback.protocols.xmlrpc import Fault
from tests.apps import Blog
from tests.docs.blocks import NEW, Step, drawn
from tests.neighbours import Answer, Neighbour
from tests.pingback.tools import Clock, work
from tests.websub.hubs import SETTINGS, Callback, Topic, ask_for, publish, subscribe, subscriber, tend


@pytest.mark.parametrize(
    "kind",
    [MentionState, MentionStatus, LinkState, SubscriptionState, SubscriberState, ListenerState, JobState],
)
def test_what_is_drawn_are_states_and_signals_that_there_are(kind: Any) -> None:
    steps = drawn(kind)
    words = {word for step in steps for word in step} - {NEW}
    assert words == {member.value for member in kind}
    assert {signal for signal in steps.values() if signal} <= set(signals.__all__)


@dataclass
class Walk:
    """A blog with a post, a neighbour, and the signals that were heard since the last look."""

    blog: Blog
    neighbour: Neighbour
    heard: list[str] = field(default_factory=list)

    def page(self, body: str = "", status: int = 200, **headers: str) -> None:
        """What the neighbour's page is from now on."""
        sent = [
            ("Content-Type", "text/html"),
            *((name.replace("_", "-"), value) for name, value in headers.items()),
        ]
        self.neighbour.answer("/page", status, body.encode(), sent)

    @property
    def link(self) -> str:
        return f'<p>Read <a href="{self.blog.url("a")}">this</a>.</p>'

    def told(self) -> None:
        """The neighbour says that its page links to the post."""
        assert ping_func(self.neighbour.url("/page"), self.blog.url("a"))

    def work(self) -> None:
        """Do what is due."""
        self.blog.linkback.run_until_idle()

    def mention(self) -> Mention:
        self.blog.db.session.rollback()
        return self.blog.db.session.scalars(sa.select(Mention)).one()

    def sent(self) -> Link:
        self.blog.db.session.rollback()
        return self.blog.db.session.scalars(sa.select(Link)).one()

    def expect(self, *wanted: str) -> None:
        """Just these signals were sent, each once."""
        assert sorted(self.heard) == sorted(wanted)
        self.heard.clear()


@pytest.fixture
def walk(blogs: Callable[..., Blog], sqlite_url: str) -> Iterator[Walk]:
    with Neighbour() as neighbour, contextlib.ExitStack() as stack:
        blog = blogs(sqlite_url, SOURCE_INTERVAL_SECONDS=0, AUTO_APPROVE=False, RETRY_SCHEDULE=[0])
        walking = Walk(blog, neighbour)
        for name in signals.__all__:

            def hear(sender: Any, name: str = name, **values: Any) -> None:
                walking.heard.append(name)

            stack.enter_context(getattr(signals, name).connected_to(hear, blog.app))
        with blog.app.app_context():
            blog.add("a")
            blog.linkback.run_until_idle()
            yield walking


Walked = dict[Step, Callable[[Walk], None]]


# --- a mention ----------------------------------------------------------------------------------------


def with_link(walk: Walk) -> None:
    walk.page(walk.link)


def told_falsely(walk: Walk) -> None:
    walk.page("no link")
    walk.told()


def to_received(walk: Walk) -> None:
    with_link(walk)
    walk.told()
    assert walk.mention().state is MentionState.received


def to_verified(walk: Walk) -> None:
    to_received(walk)
    walk.work()
    assert walk.mention().state is MentionState.verified


def to_gone(walk: Walk) -> None:
    to_verified(walk)
    walk.page("no link", status=410)
    look_again(walk)
    assert walk.mention().state is MentionState.gone


def told_again_in_vain(walk: Walk) -> None:
    to_gone(walk)
    walk.told()


def to_failed(walk: Walk) -> None:
    told_falsely(walk)
    walk.work()
    assert walk.mention().state is MentionState.failed


def look_again(walk: Walk) -> None:
    """A repeat answers that it is registered, and makes us look."""
    with pytest.raises(Fault):
        walk.told()
    walk.work()


def updated(walk: Walk) -> None:
    walk.page(f"<title>Now with a title</title>{walk.link}")
    look_again(walk)


def gone(walk: Walk) -> None:
    walk.page("no link")
    look_again(walk)


def page_deleted(walk: Walk) -> None:
    walk.blog.db.session.delete(walk.blog.db.session.scalars(sa.select(walk.blog.Post)).one())
    walk.blog.db.session.commit()
    walk.work()


def found_after_all(walk: Walk) -> None:
    """We gave up the source; then it links to another page of ours, and is looked at for that one."""
    walk.page("", status=503)
    if walk.mention().state is not MentionState.received:
        walk.told()
    walk.work()
    assert walk.mention().recheck
    walk.heard.clear()
    walk.page(walk.link + f'<a href="{walk.blog.url("b")}">too</a>')
    walk.blog.add("b")
    ping_func(walk.neighbour.url("/page"), walk.blog.url("b"))
    walk.work()


def first(walk: Walk) -> Mention:
    return walk.blog.db.session.scalars(sa.select(Mention).order_by(Mention.id)).all()[0]


MENTION: dict[Step, tuple[Callable[[Walk], None], Callable[[Walk], None]]] = {
    (NEW, "received"): (with_link, Walk.told),
    ("received", "verified"): (to_received, Walk.work),
    ("received", "failed"): (told_falsely, Walk.work),
    ("verified", "verified"): (to_verified, updated),
    ("verified", "gone"): (to_verified, gone),
    ("failed", "received"): (to_failed, Walk.told),
    ("gone", "received"): (to_gone, Walk.told),
    ("received", "gone"): (told_again_in_vain, Walk.work),
}


def test_every_step_of_a_mention_is_walked() -> None:
    assert set(MENTION) | {("failed", "verified"), ("gone", "verified")} == set(drawn(MentionState))


@pytest.mark.parametrize("step", MENTION, ids=" -> ".join)
def test_a_step_of_a_mention(walk: Walk, step: Step) -> None:
    before, take = MENTION[step]
    before(walk)
    walk.heard.clear()
    take(walk)
    assert walk.mention().state == step[1]
    walk.expect(drawn(MentionState)[step])


@pytest.mark.parametrize(
    ("before", "step"), [(to_verified, ("verified", "gone")), (to_received, ("received", "failed"))]
)
def test_a_mention_goes_with_the_page_here(walk: Walk, before: Callable[[Walk], None], step: Step) -> None:
    before(walk)
    walk.heard.clear()
    page_deleted(walk)
    assert walk.mention().state == step[1]
    walk.expect(drawn(MentionState)[step])


@pytest.mark.parametrize(
    ("step", "before"), [(("failed", "verified"), to_received), (("gone", "verified"), to_gone)]
)
def test_a_mention_that_was_given_up_is_found_after_all(
    walk: Walk, step: Step, before: Callable[[Walk], None]
) -> None:
    before(walk)
    found_after_all(walk)
    assert first(walk).state == step[1]
    assert walk.heard.count(drawn(MentionState)[step]) == 2  # the other page was verified too


# --- its status ---------------------------------------------------------------------------------------


def test_status_of_a_mention_begins_pending(walk: Walk) -> None:
    to_received(walk)
    assert (NEW, walk.mention().status.value) in drawn(MentionStatus)


@pytest.mark.parametrize("step", [step for step in drawn(MentionStatus) if step[0] != NEW], ids=" -> ".join)
def test_a_step_of_the_status_of_a_mention(walk: Walk, step: Step) -> None:
    to_verified(walk)
    for status in step:
        walk.heard.clear()
        walk.blog.linkback.moderate(walk.mention(), status)
        walk.blog.db.session.commit()
        walk.work()
    assert walk.mention().status == step[1]
    walk.expect(drawn(MentionStatus)[step])


def test_a_rule_decides_as_a_person_does(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    heard = []
    blog = blogs(sqlite_url, AUTO_APPROVE=True)

    def hear(sender: Any, status: MentionStatus, previous: MentionStatus, **values: Any) -> None:
        heard.append((previous.value, status.value))

    with (
        Neighbour() as neighbour,
        blog.app.app_context(),
        signals.mention_moderated.connected_to(hear, blog.app),
    ):
        blog.add("a")
        walk = Walk(blog, neighbour)
        to_verified(walk)
    assert heard == [("pending", "approved")]
    assert heard[0] in drawn(MentionStatus)


# --- a link -------------------------------------------------------------------------------------------

THANKS = (
    b"<?xml version='1.0'?><methodResponse><params><param><value>thanks</value></param></params>"
    b"</methodResponse>"
)


def write(walk: Walk) -> None:
    walk.blog.add("b", html=f'<a href="{walk.neighbour.url("/page")}">there</a>')


def edit(walk: Walk, html: str | None = None) -> None:
    post = walk.blog.db.session.scalars(sa.select(walk.blog.Post).filter_by(slug="b")).one()
    post.html = f"{post.html} Edited." if html is None else html
    walk.blog.db.session.commit()
    expand_only(walk)


def expand_only(walk: Walk) -> None:
    """Do the jobs that publish pages, and leave those that tell targets."""
    send = walk.blog.site.handlers.pop("send_link")
    try:
        walk.blog.site.handlers["send_link"] = lambda site, claim: jobs.later(3600)
        walk.work()
    finally:
        walk.blog.site.handlers["send_link"] = send


def with_server(walk: Walk, status: int = 200, body: bytes = THANKS) -> None:
    walk.page("", X_Pingback=walk.neighbour.url("/pingback"))
    walk.neighbour.answer("/pingback", status, body, [("Content-Type", "text/xml")])


def accepting(walk: Walk) -> None:
    with_server(walk)
    write(walk)


def refusing(walk: Walk) -> None:
    with_server(walk, status=403, body=b"no")
    write(walk)


def out_of_bounds(walk: Walk) -> None:
    walk.blog.add("b", html='<a href="http://10.0.0.1/">far</a>')


def silent(walk: Walk) -> None:
    walk.page("", status=503)
    write(walk)


def offering_nothing(walk: Walk) -> None:
    walk.page("nothing here")
    write(walk)


def then_work(before: Callable[[Walk], None]) -> Callable[[Walk], None]:
    def do(walk: Walk) -> None:
        before(walk)
        walk.work()

    return do


LINK: dict[Step, tuple[Callable[[Walk], None], Callable[[Walk], None]]] = {
    (NEW, "waiting"): (accepting, expand_only),
    ("waiting", "sent"): (accepting, Walk.work),
    ("waiting", "refused"): (refusing, Walk.work),
    ("waiting", "given_up"): (silent, Walk.work),
    ("waiting", "unsupported"): (offering_nothing, Walk.work),
    ("refused", "waiting"): (then_work(out_of_bounds), edit),
    ("given_up", "waiting"): (then_work(silent), edit),
    ("unsupported", "waiting"): (then_work(offering_nothing), edit),
    ("sent", "waiting"): (then_work(accepting), lambda walk: edit(walk, "no link")),
}


def test_every_step_of_a_link_is_walked() -> None:
    assert set(LINK) == set(drawn(LinkState))


@pytest.mark.parametrize("step", LINK, ids=" -> ".join)
def test_a_step_of_a_link(walk: Walk, step: Step) -> None:
    before, take = LINK[step]
    before(walk)
    walk.heard.clear()
    take(walk)
    assert walk.sent().state == step[1]
    signal = drawn(LinkState)[step]
    walk.expect(*([signal] if signal else []))


@pytest.mark.parametrize("before", [accepting, refusing])
def test_who_answered_is_not_told_again_of_the_same_link(walk: Walk, before: Callable[[Walk], None]) -> None:
    then_work(before)(walk)
    state = walk.sent().state
    edit(walk)
    assert walk.sent().state is state


def test_who_took_a_webmention_is_told_of_an_edit(walk: Walk) -> None:
    walk.page("", Link="</webmention>; rel=webmention")
    walk.neighbour.answer("/webmention", 202)
    write(walk)
    walk.work()
    walk.expect("link_sent")
    edit(walk)
    assert walk.sent().state is LinkState.waiting


# --- a subscriber of our hub --------------------------------------------------------------------------


@dataclass
class Follow:
    """A hub, a topic, and a callback that may become a subscriber."""

    blog: Blog
    topic: Topic
    callback: Callback
    clock: Clock
    denied: bool = False

    def ask(self, mode: str = "subscribe") -> None:
        assert ask_for(self.blog, self.callback.url, self.topic.url, mode).status_code == 202

    def asked(self) -> None:
        """Ask and be asked."""
        subscribe(self.blog, self.callback, self.topic.url)

    def refuse(self) -> None:
        self.callback.confirm = lambda challenge: Answer(status=404)
        work(self.blog)

    def deny(self) -> None:
        self.denied = True
        self.asked()

    def expire(self) -> None:
        tend(self.blog, self.clock, days=10)

    def leave(self) -> None:
        self.ask("unsubscribe")
        work(self.blog)

    def answer_gone(self) -> None:
        self.callback.answer = Answer(status=410)
        publish(self.blog, self.topic.url)

    def policy(self, *asked: Any) -> str | None:
        return "no" if self.denied else None


@pytest.fixture
def follow(blogs: Callable[..., Blog], sqlite_url: str) -> Iterator[Follow]:
    with Neighbour() as neighbour:
        clock = Clock()
        follow = Follow(
            clock.set_for(blogs(sqlite_url, **SETTINGS)), Topic(neighbour), Callback(neighbour), clock
        )
        follow.topic.say(b"One.")
        follow.blog.linkback.websub.hub_policy(follow.policy)
        yield follow


SUBSCRIBER: dict[Step, list[list[Callable[[Follow], None]]]] = {
    (NEW, "pending"): [[Follow.ask]],
    ("pending", "active"): [[Follow.ask, Follow.asked]],
    ("pending", "ended"): [[Follow.ask, Follow.refuse], [Follow.ask, Follow.deny]],
    ("active", "expired"): [[Follow.asked, Follow.expire]],
    ("active", "ended"): [[Follow.asked, last] for last in (Follow.leave, Follow.deny, Follow.answer_gone)],
    ("expired", "active"): [[Follow.asked, Follow.expire, Follow.asked]],
    ("expired", "ended"): [[Follow.asked, Follow.expire, Follow.deny]],
    ("ended", "active"): [[Follow.asked, Follow.leave, Follow.asked]],
}


def test_every_step_of_a_subscriber_is_walked() -> None:
    assert set(SUBSCRIBER) == set(drawn(SubscriberState))


@pytest.mark.parametrize(
    ("step", "way"),
    [pytest.param(step, way, id=" -> ".join(step)) for step, ways in SUBSCRIBER.items() for way in ways],
)
def test_a_step_of_a_subscriber(follow: Follow, step: Step, way: list[Callable[[Follow], None]]) -> None:
    *before, last = way
    for each in before:
        each(follow)
    if before:
        assert subscriber(follow.blog).state == step[0]
    last(follow)
    assert subscriber(follow.blog).state == step[1]


# --- a job --------------------------------------------------------------------------------------------


def test_every_step_of_a_job_is_walked(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    """Tried again, put off, given up, replayed, finished, replayed; by a worker that does one at a time."""
    blog = blogs(sqlite_url, RETRY_SCHEDULE=[0, 0, 0])
    site = blog.site
    taken: list[Step] = []
    outcomes = iter([jobs.again("no answer"), jobs.later(0), jobs.dead("never"), jobs.done()])

    def note() -> None:
        """See where the job stands now."""
        with site.new_session() as session:
            state = session.scalars(sa.select(Job.state)).one().value
        before = taken[-1][1] if taken else NEW
        if state != before:
            taken.append((before, state))

    def handle(site: Any, claim: Any) -> jobs.Outcome:
        note()
        return next(outcomes)

    site.handlers["test"] = handle
    with blog.app.app_context():
        jobs.add(blog.db.session, [jobs.NewJob(kind="test")])
        blog.db.session.commit()
        note()
        for _ in range(4):
            drain(site, limit=1)
            note()
            if taken[-1][1] in ("dead", "done"):
                job_id = blog.db.session.scalars(sa.select(Job.id)).one()
                assert blog.linkback.replay(job_id)
                blog.db.session.commit()
                note()
    assert set(taken) == set(drawn(JobState))
