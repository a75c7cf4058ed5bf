"""What a transaction did to watched objects is told once, in that transaction, or not at all."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.model import Model
from sqlalchemy import event
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    DeclarativeBaseNoMeta,
    Mapped,
    MappedAsDataclass,
    Session,
    declarative_base,
    mapped_column,
)
from sqlalchemy.orm import relationship as relate

from flask_linkback import Linkback, changes
from flask_linkback.changes import (
    BulkPolicy,
    BulkRefused,
    BulkStatement,
    Change,
    Kind,
    Watch,
    Watches,
)
from flask_linkback.errors import ConfigError, LinkbackError
from flask_linkback.models import Job, Mention, MentionState, MentionStatus
from flask_linkback.outbox import jobs, worker
from tests.apps import Blog

Told = list[tuple[Any, ...]]


@pytest.fixture
def blog(blogs: Callable[..., Blog], database_url: str) -> Iterator[Blog]:
    blog = blogs(database_url, content=None, RUNNER="off")
    with blog.app.app_context():
        yield blog


@pytest.fixture
def session(blog: Blog) -> Session:
    return blog.db.session()


@pytest.fixture
def own_url(tmp_path: Path) -> str:
    """An empty database, for models of one test's own."""
    return f"sqlite:///{tmp_path}/own.db"


def short(change: Change | BulkStatement) -> tuple[Any, ...]:
    if isinstance(change, BulkStatement):
        return ("bulk", change.kind.value, change.model.__name__)
    return (change.kind.value, change.obj.slug, dict(change.fields))


def watch(blog: Blog, *fields: str, name: str = "test", **options: Any) -> Told:
    """Watch posts, and return what is told; a job is written for each change."""
    told: Told = []

    def hear(session: Session, changes: Sequence[Change | BulkStatement]) -> None:
        told.extend(map(short, changes))
        jobs.add(session, [jobs.NewJob(kind=name) for _ in changes])

    options = {"model": blog.Post, "callback": hear, **options}
    blog.site.get(Watches).watch(Watch(name=name, fields=fields, **options))
    return told


def owed(blog: Blog) -> int:
    """How many jobs are committed."""
    with blog.site.new_session() as session:
        return len(session.scalars(sa.select(Job)).all())


# --- one transaction ---------------------------------------------------------------------------------


def test_changes_are_told_once_in_the_transaction_that_made_them(blog: Blog, session: Session) -> None:
    told = watch(blog, "title")
    post = blog.Post(slug="a", title="A")
    session.add(post)
    session.flush()
    assert told == []
    session.commit()
    assert told == [("created", "a", {"title": (None, "A")})]
    assert owed(blog) == 1
    told.clear()

    post.title = "B"
    session.commit()
    assert told == [("updated", "a", {"title": ("A", "B")})]
    told.clear()

    session.delete(post)
    session.commit()
    assert told == [("deleted", "a", {"title": ("B", None)})]
    assert owed(blog) == 3


def test_a_transaction_that_rolls_back_tells_nothing(blog: Blog, session: Session) -> None:
    told = watch(blog)
    session.add(blog.Post(slug="a"))
    session.flush()
    session.rollback()
    session.add(blog.Post(slug="b"))
    session.flush()
    session.close()
    session.commit()
    assert (told, owed(blog)) == ([], 0)


def test_what_was_owed_goes_with_a_commit_that_fails_later(blog: Blog, session: Session) -> None:
    told = watch(blog)

    def refuse(session: Session) -> None:
        raise ValueError("no")

    event.listen(session, "before_commit", refuse)
    session.add(blog.Post(slug="a"))
    with pytest.raises(ValueError, match="no"):
        session.commit()
    session.rollback()
    event.remove(session, "before_commit", refuse)
    assert told == [("created", "a", {})]
    session.commit()
    assert owed(blog) == 0


def change_twice(session: Session, post: Any, first: str, second: str) -> None:
    post.title = first
    session.flush()
    post.title = second
    session.flush()


def test_two_flushes_are_one_change(blog: Blog, session: Session) -> None:
    told = watch(blog, "title")
    post = blog.Post(slug="a", title="A")
    session.add(post)
    session.flush()
    change_twice(session, post, "B", "C")
    session.commit()
    assert told == [("created", "a", {"title": (None, "C")})]
    told.clear()

    change_twice(session, post, "D", "E")
    session.commit()
    assert told == [("updated", "a", {"title": ("C", "E")})]
    told.clear()

    change_twice(session, post, "F", "E")
    session.commit()
    assert told == [], "there and back is nothing"

    change_twice(session, post, "G", "H")
    session.delete(post)
    session.commit()
    assert told == [("deleted", "a", {"title": ("E", None)})]
    told.clear()

    gone = blog.Post(slug="b")
    session.add(gone)
    session.flush()
    session.delete(gone)
    session.commit()
    assert told == [], "nobody ever saw it"


def test_a_change_of_another_column_is_not_told_to_who_wants_fields(blog: Blog, session: Session) -> None:
    titles, all_of_it, both = watch(blog, "title"), watch(blog), watch(blog, "title", "html")
    post = blog.Post(slug="a", title="A", html="x")
    session.add(post)
    session.commit()
    assert titles == [("created", "a", {"title": (None, "A")})]
    assert all_of_it == [("created", "a", {})]
    assert both == [("created", "a", {"title": (None, "A"), "html": (None, "x")})]
    for told in (titles, all_of_it, both):
        told.clear()

    post.html = "y"
    session.commit()
    assert (titles, all_of_it, both) == ([], [("updated", "a", {})], [("updated", "a", {"html": ("x", "y")})])
    all_of_it.clear()
    both.clear()

    # one field goes there and back, another column stays changed
    post.html, post.closed = "z", True
    session.flush()
    post.html = "y"
    session.commit()
    assert (titles, all_of_it, both) == ([], [("updated", "a", {})], [])


def test_old_values_are_known_after_a_commit_expired_them(blog: Blog, session: Session) -> None:
    told = watch(blog, "title", "html")
    post = blog.Post(slug="a", title="A", html="x")
    session.add(post)
    session.commit()
    told.clear()

    assert sa.inspect(post).expired
    post.title = "A"
    session.commit()
    assert told == [], "the same value is no change"
    assert sa.inspect(post).expired
    post.title = "B"
    session.commit()
    assert told == [("updated", "a", {"title": ("A", "B")})]
    told.clear()

    assert sa.inspect(post).expired
    session.delete(post)
    session.commit()
    assert told == [("deleted", "a", {"title": ("B", None), "html": ("x", None)})]


def test_what_sql_makes_of_a_value_is_told_as_it_became(blog: Blog, session: Session) -> None:
    told, beside = watch(blog, "title"), watch(blog, "slug", every=True)
    post = blog.Post(slug="a", title="One")
    session.add(post)
    session.commit()
    told.clear(), beside.clear()
    post.title = blog.Post.title + " and more"
    session.commit()
    assert (told, beside) == ([("updated", "a", {"title": ("One", "One and more")})], [("updated", "a", {})])
    post.title = sa.func.trim(blog.Post.title)  # which changes nothing
    session.commit()
    assert len(told) == 1
    savepoint = session.begin_nested()
    post.title = sa.func.nothing_like_it()
    with pytest.raises(sa.exc.DBAPIError):
        session.flush()
    savepoint.rollback()
    post.title = "Two"
    session.commit()
    assert told[1:] == [("updated", "a", {"title": ("One and more", "Two")})]


def test_the_old_value_of_a_deleted_object_is_what_was_stored(blog: Blog, session: Session) -> None:
    told = watch(blog, "title")
    post = blog.add("a", title="A")
    told.clear()
    post.title = "never stored"
    session.delete(post)
    session.commit()
    assert told == [("deleted", "a", {"title": ("A", None)})]


def test_changes_are_told_in_their_order_and_in_one_call(blog: Blog, session: Session) -> None:
    calls: list[int] = []
    watch(blog, callback=lambda session, changes: calls.append(len(changes)))
    told = watch(blog)
    for slug in "abc":
        session.add(blog.Post(slug=slug))
        session.flush()
    session.commit()
    assert [slug for _, slug, _ in told] == ["a", "b", "c"]
    assert calls == [3]


# --- savepoints --------------------------------------------------------------------------------------


def test_a_savepoint_that_rolls_back_takes_its_changes_with_it(blog: Blog, session: Session) -> None:
    told = watch(blog, "title")
    kept = blog.Post(slug="kept", title="A")
    session.add(kept)
    with contextlib.suppress(ValueError), session.begin_nested():
        session.add(blog.Post(slug="dropped"))
        kept.title = "B"
        session.flush()
        raise ValueError("no")
    session.commit()
    assert told == [("created", "kept", {"title": (None, "A")})]
    assert owed(blog) == 1


def test_a_savepoint_that_is_released_keeps_them(blog: Blog, session: Session) -> None:
    told = watch(blog)
    with session.begin_nested():
        session.add(blog.Post(slug="a"))
    assert told == []
    assert owed(blog) == 0
    session.commit()
    assert told == [("created", "a", {})]
    assert owed(blog) == 1


def test_an_outer_rollback_takes_released_savepoints_too(blog: Blog, session: Session) -> None:
    told = watch(blog)
    with session.begin_nested():
        session.add(blog.Post(slug="a"))
    session.rollback()
    session.commit()
    assert (told, owed(blog)) == ([], 0)


def test_savepoints_in_savepoints(blog: Blog, session: Session) -> None:
    told = watch(blog)
    outer = session.begin_nested()
    session.add(blog.Post(slug="in the outer"))
    with session.begin_nested():
        session.add(blog.Post(slug="in a released inner"))
    inner = session.begin_nested()
    session.add(blog.Post(slug="in a dropped inner"))
    session.flush()
    inner.rollback()
    outer.commit()
    dropped = session.begin_nested()
    with session.begin_nested():
        session.add(blog.Post(slug="released into a dropped one"))
    dropped.rollback()
    session.commit()
    assert [slug for _, slug, _ in told] == ["in the outer", "in a released inner"]


def test_a_deletion_in_a_dropped_savepoint_did_not_happen(blog: Blog, session: Session) -> None:
    told = watch(blog)
    post = blog.Post(slug="a")
    session.add(post)
    session.flush()
    savepoint = session.begin_nested()
    session.delete(post)
    session.flush()
    savepoint.rollback()
    session.commit()
    assert told == [("created", "a", {})]


def commit_session(session: Session, blog: Blog) -> None:
    session.add(blog.Post(slug="outside"))
    session.begin_nested()
    session.begin_nested()
    session.add(blog.Post(slug="inside"))
    session.commit()


def commit_transaction(session: Session, blog: Blog) -> None:
    transaction = session.begin()
    session.add(blog.Post(slug="outside"))
    session.begin_nested()
    session.add(blog.Post(slug="inside"))
    transaction.commit()


def commit_by_manager(session: Session, blog: Blog) -> None:
    with blog.db.session.begin():
        session.add(blog.Post(slug="outside"))
        session.begin_nested()
        session.begin_nested()
        session.add(blog.Post(slug="inside"))


@pytest.mark.parametrize("commit", [commit_session, commit_transaction, commit_by_manager])
def test_a_commit_over_open_savepoints_tells_all(
    blog: Blog, session: Session, commit: Callable[[Session, Blog], None]
) -> None:
    told = watch(blog)
    commit(session, blog)
    assert told == [("created", "outside", {}), ("created", "inside", {})]
    assert owed(blog) == 2


def test_coalescing_reaches_over_savepoints(blog: Blog, session: Session) -> None:
    told = watch(blog, "title")
    with session.begin():
        post = blog.Post(slug="a", title="A")
        session.add(post)
        for title in "BCD":
            with session.begin_nested():
                post.title = title
    assert told == [("created", "a", {"title": (None, "D")})]


def test_begin_as_a_context_manager(blog: Blog, session: Session) -> None:
    told = watch(blog)
    with blog.db.session.begin():
        session.add(blog.Post(slug="a"))
    with contextlib.suppress(ValueError), blog.db.session.begin():
        session.add(blog.Post(slug="b"))
        session.flush()
        raise ValueError("no")
    assert told == [("created", "a", {})]
    assert owed(blog) == 1


# --- late --------------------------------------------------------------------------------------------


def later_in_the_next_commit(blog: Blog, act: Callable[[], Any]) -> None:
    """Let another listener act once, after ours."""
    acts = [act]

    def late(session: Session) -> None:
        if acts:
            acts.pop()()

    event.listen(blog.db.session, "before_commit", late)


def test_what_others_flush_later_in_the_same_commit_is_written_at_once(blog: Blog, session: Session) -> None:
    told = watch(blog, "title")
    post = blog.add("a", title="A")
    told.clear()

    def late() -> None:
        post.title = "C"
        session.add(blog.Post(slug="late"))
        session.flush()
        session.execute(sa.update(blog.Post).where(blog.Post.slug == "late").values(html="bulk"))
        session.add(blog.Post(slug="not even flushed"))

    later_in_the_next_commit(blog, late)
    bulk = watch(blog, bulk=BulkPolicy.event)
    post.title = "B"
    session.commit()
    assert told == [
        ("updated", "a", {"title": ("A", "B")}),
        ("created", "late", {"title": (None, "")}),
        ("updated", "a", {"title": ("B", "C")}),
        ("created", "not even flushed", {"title": (None, "")}),
    ]
    assert ("bulk", "updated", "Post") in bulk
    assert owed(blog) == 1 + len(told) + len(bulk)


def test_a_watcher_that_hears_of_a_late_change_may_change_objects(blog: Blog, session: Session) -> None:
    """In the middle of a flush SQLAlchemy would forget what is done to objects."""
    other = blog.add("other", title="0")

    def hear(session: Session, changes: Sequence[Change | BulkStatement]) -> None:
        slugs = [change.obj.slug for change in changes if isinstance(change, Change)]
        if "late" in slugs:
            other.title = "1"
            session.add(blog.Post(slug="because of late"))

    watch(blog, callback=hear)

    def late() -> None:
        session.add(blog.Post(slug="late"))
        session.flush()

    later_in_the_next_commit(blog, late)
    session.add(blog.Post(slug="early"))
    session.commit()
    assert session.scalar(sa.select(blog.Post.title).where(blog.Post.slug == "other")) == "1"
    assert session.scalar(sa.select(blog.Post.id).where(blog.Post.slug == "because of late"))


def test_what_watchers_change_is_told_too(blog: Blog, session: Session) -> None:
    told = watch(blog)

    def hear(session: Session, changes: Sequence[Change | BulkStatement]) -> None:
        for change in changes:
            if isinstance(change, Change) and len(change.obj.slug) < 4:
                session.add(blog.Post(slug=change.obj.slug + "x"))

    watch(blog, callback=hear)
    session.add(blog.Post(slug="x"))
    session.commit()
    assert [slug for _, slug, _ in told] == ["x", "xx", "xxx", "xxxx"]


def test_watchers_that_chase_each_other_are_stopped(blog: Blog, session: Session) -> None:
    def hear(session: Session, changes: Sequence[Change | BulkStatement]) -> None:
        session.add(blog.Post(slug=str(len(numbers))))
        numbers.append(1)

    numbers: list[int] = []
    watch(blog, callback=hear)
    session.add(blog.Post(slug="a"))
    with pytest.raises(LinkbackError, match="100 times over in one commit"):
        session.commit()
    session.rollback()


# --- bulk statements ---------------------------------------------------------------------------------

STATEMENTS: dict[str, Callable[[Any], Any]] = {
    "created": lambda Post: sa.insert(Post).values(slug="b", title="", html="", closed=False),
    "updated": lambda Post: sa.update(Post).values(title="B"),
    "deleted": lambda Post: sa.delete(Post).where(Post.slug == "a"),
}


@pytest.mark.parametrize("kind", list(STATEMENTS))
def test_a_bulk_statement_is_an_event(blog: Blog, session: Session, kind: str) -> None:
    blog.add("a")
    got: list[Any] = []
    told = watch(blog, bulk=BulkPolicy.event)
    watch(blog, bulk=BulkPolicy.event, callback=lambda session, changes: got.extend(changes))
    session.execute(STATEMENTS[kind](blog.Post))
    assert told == []
    session.commit()
    assert told == [("bulk", kind, "Post")]
    assert got[0].statement.table.name == "post"
    session.execute(STATEMENTS["updated"](blog.Post))
    session.rollback()
    with session.begin_nested() as savepoint:
        session.execute(STATEMENTS["updated"](blog.Post))
        savepoint.rollback()
    session.commit()
    assert len(told) == 1


def test_bulk_statements_in_every_form_are_seen(blog: Blog, session: Session) -> None:
    told = watch(blog, bulk=BulkPolicy.event)
    many = [{"slug": slug, "title": "", "html": "", "closed": False} for slug in "abc"]
    session.execute(sa.insert(blog.Post), many)
    found = session.scalars(sa.insert(blog.Post).returning(blog.Post), [{**many[0], "slug": "d"}]).all()
    assert [post.slug for post in found] == ["d"]
    blog.db.session.query(blog.Post).filter_by(slug="a").update({"title": "A"})
    blog.db.session.query(blog.Post).filter_by(slug="b").delete()
    session.commit()
    kinds = ["created", "created", "updated", "deleted"]
    assert told == [("bulk", kind, "Post") for kind in kinds]


def test_a_bulk_statement_that_fails_changed_nothing(blog: Blog, session: Session) -> None:
    told = watch(blog, bulk=BulkPolicy.event)
    blog.add("a")
    told.clear()
    with pytest.raises(sa.exc.IntegrityError), session.begin_nested():
        session.execute(sa.insert(blog.Post).values(slug="a", title="", html="", closed=False))
    session.commit()
    assert told == []


def test_a_bulk_statement_can_be_refused_or_warned_of(
    blog: Blog, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    told = watch(blog, name="first")
    session.execute(STATEMENTS["updated"](blog.Post))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "first does not see a bulk statement on Post."
    watch(blog, name="second", bulk=BulkPolicy.event)
    watch(blog, name="third", bulk=BulkPolicy.error)
    blog_id = blog.add("a").id
    for statement in STATEMENTS.values():
        with pytest.raises(BulkRefused, match="third does not see bulk statements: change Post"):
            session.execute(statement(blog.Post))
    session.execute(sa.update(Job).values(reason=""))  # nobody watches these
    session.execute(sa.update(blog.Post.__table__).values(title="a statement on a table, not a model"))
    session.commit()
    assert blog_id
    assert told == [("created", "a", {})]


# --- trouble -----------------------------------------------------------------------------------------


def test_a_watcher_that_raises_fails_the_commit_and_nothing_is_half_written(
    blog: Blog, session: Session
) -> None:
    told = watch(blog, name="good")

    def fail(session: Session, changes: Any) -> None:
        jobs.add(session, [jobs.NewJob(kind="half")])
        raise ValueError("odd")

    watch(blog, name="ping_external_links(Post)", callback=fail)
    session.add(blog.Post(slug="a"))
    with pytest.raises(ValueError, match="odd") as caught:
        session.commit()
    assert caught.value.__notes__ == ["Raised for ping_external_links(Post); so the commit fails."]
    assert told == [("created", "a", {})]
    # what is in the transaction now must not be committed as it is
    with pytest.raises(LinkbackError, match=r"ping_external_links\(Post\) raised in this transaction"):
        session.commit()
    session.rollback()
    assert owed(blog) == 0
    assert session.scalars(sa.select(blog.Post)).all() == []


def test_a_watcher_that_raises_late_fails_the_commit_too(blog: Blog, session: Session) -> None:
    def fail(session: Session, changes: Any) -> None:
        if any(change.obj.slug == "late" for change in changes):
            raise ValueError("odd")

    watch(blog, callback=fail)

    later_in_the_next_commit(blog, lambda: session.add(blog.Post(slug="late")))
    session.add(blog.Post(slug="a"))
    with pytest.raises(ValueError, match="odd"):
        session.commit()
    session.rollback()
    assert session.scalars(sa.select(blog.Post)).all() == []


def test_a_watcher_that_fails_silently_leaves_a_dead_job(
    blog: Blog, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(session: Session, changes: Any) -> None:
        jobs.add(session, [jobs.NewJob(kind="half")])
        session.add(blog.Post(slug="half"))
        session.flush()
        raise ValueError("odd")

    def keep(session: Session, changes: Any, error: Exception) -> None:
        jobs.add_dead(session, jobs.NewJob(kind="event"), f"{type(error).__name__}: {error}")

    watch(blog, name="quiet", callback=fail, on_error=keep)
    session.add(blog.Post(slug="a"))
    session.commit()
    with blog.site.new_session() as own:
        job = own.scalars(sa.select(Job)).one()
        assert (job.kind, job.state.value, job.reason) == ("event", "dead", "ValueError: odd")
    assert [post.slug for post in session.scalars(sa.select(blog.Post))] == ["a"]
    (record,) = caplog.records
    assert (record.getMessage(), record.exc_info is not None) == ("quiet raised.", True)


# --- registration ------------------------------------------------------------------------------------


def test_a_field_that_is_no_column_is_refused(blog: Blog) -> None:
    with pytest.raises(ConfigError, match=r"test: Post has no column 'titel'\. Did you mean title\?"):
        watch(blog, "titel")
    with pytest.raises(ConfigError, match="no column 'url'"):
        watch(blog, "url")


def test_registration_does_not_need_the_other_models(own_url: str) -> None:
    """It stands below the model's class, where other classes are not defined yet."""

    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)

    class Author(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        books = relate("Book", back_populates="author", cascade="all, delete-orphan")

    told: Told = []
    watches = Watches()
    hear = Watch(
        name="authors",
        model=Author,
        fields=("name",),
        callback=lambda session, changes: told.extend((each.kind, dict(each.fields)) for each in changes),
    )
    watches.watch(hear)

    class Book(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]
        author_id: Mapped[int] = mapped_column(sa.ForeignKey("author.id"))
        author: Mapped[Author] = relate(back_populates="books")

    books: Told = []
    watches.watch(
        Watch(
            name="books",
            model=Book,
            fields=("title", "author_id"),
            callback=lambda session, changes: books.extend(
                (each.kind, dict(each.fields)) for each in changes
            ),
        )
    )
    with plain_app(db, own_url, watches) as app, app.app_context():
        one, two = Author(name="one"), Author(name="two", books=[Book(title="a"), Book(title="b")])
        db.session.add_all([one, two])
        db.session.commit()
        assert told == [("created", {"name": (None, "one")}), ("created", {"name": (None, "two")})]
        assert books == [("created", {"title": (None, t), "author_id": (None, two.id)}) for t in "ab"]
        told.clear()
        books.clear()
        two.name = "drei"
        two.books[0].author = one  # the column follows in the flush
        db.session.commit()
        assert told == [("updated", {"name": ("two", "drei")})], "a collection is no column"
        assert books == [("updated", {"author_id": (two.id, one.id)})]
        books.clear()
        del one.books[0]  # an orphan
        db.session.commit()
        assert books == [("deleted", {"title": ("a", None), "author_id": (one.id, None)})]
        books.clear()
        db.session.delete(two)  # which takes its books with it
        db.session.commit()
        assert books == [("deleted", {"title": ("b", None), "author_id": (two.id, None)})]


def test_subclasses_are_watched_also_those_to_come(own_url: str) -> None:
    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)

    class Page(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        title: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "page"}  # noqa: RUF012

    told: Told = []
    watches = Watches()
    watches.watch(
        Watch(
            name="pages",
            model=Page,
            fields=("title",),
            callback=lambda session, changes: told.extend(
                (each.kind, type(each.obj).__name__, each.fields["title"]) for each in changes
            ),
        )
    )

    class Note(Page):
        __mapper_args__ = {"polymorphic_identity": "note"}  # noqa: RUF012

    class Long(Page):
        id: Mapped[int] = mapped_column(sa.ForeignKey("page.id"), primary_key=True)
        text: Mapped[str] = mapped_column(default="")
        __mapper_args__ = {"polymorphic_identity": "long"}  # noqa: RUF012

    with plain_app(db, own_url, watches) as app, app.app_context():
        for kind in (Page, Note, Long):
            page = kind(title="A")
            db.session.add(page)
            db.session.commit()
            assert sa.inspect(page).expired
            page.title = "B"
            db.session.commit()
            name = kind.__name__
            assert told == [("created", name, (None, "A")), ("updated", name, ("A", "B"))]
            told.clear()


class plain_app:
    """An application with a given ``db``."""

    def __init__(self, db: SQLAlchemy, url: str, watches: Watches | None = None, **config: Any) -> None:
        self.db = db
        linkback = Linkback(db=db)
        self.app = Flask(__name__)
        self.app.config.update(TESTING=True, SQLALCHEMY_DATABASE_URI=url, LINKBACK_RUNNER="off", **config)
        db.init_app(self.app)
        linkback.init_app(self.app)
        if watches is not None:
            self.app.extensions["linkback"].put(watches)
        with self.app.app_context():
            db.create_all()

    def __enter__(self) -> Flask:
        return self.app

    def __exit__(self, *_: object) -> None:
        with self.app.app_context():
            self.db.session.remove()
            for engine in self.db.engines.values():
                engine.dispose()
        self.app.extensions["linkback"].fetch.close()


def test_a_model_of_another_bind_is_refused_unless_that_is_wanted(own_url: str) -> None:
    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)

    class Visit(db.Model):  # type: ignore[name-defined,misc]
        __bind_key__ = "other"
        id: Mapped[int] = mapped_column(primary_key=True)

    told: Told = []

    def hear(session: Session, changes: Sequence[Change | BulkStatement]) -> None:
        told.extend(each.kind for each in changes)  # type: ignore[misc]
        jobs.add(session, [jobs.NewJob(kind="visit")])

    watches = Watches()
    visits = Watch(name="VisitHook", model=Visit, callback=hear)
    with pytest.raises(
        ConfigError, match=r"VisitHook: Visit lives in the bind 'other'.*allow_other_bind=True"
    ):
        watches.watch(visits)
    assert not watches.of(Visit)
    watches.watch(visits, allow_other_bind=True)
    other = own_url.replace(".db", "-other.db")
    with plain_app(db, own_url, watches, SQLALCHEMY_BINDS={"other": other}) as app, app.app_context():
        db.session.add(Visit())
        db.session.commit()
        assert told == ["created"]
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Job)) == 1


def test_a_value_that_is_changed_in_place_is_a_change(own_url: str) -> None:
    """Its old value is not known: it is the new one."""

    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)

    class Page(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        data: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(sa.JSON))

    told: Told = []
    watches = Watches()
    watches.watch(
        Watch(
            name="pages",
            model=Page,
            fields=("data",),
            callback=lambda session, changes: told.extend(
                (each.kind, each.fields["data"]) for each in changes
            ),
        )
    )
    with plain_app(db, own_url, watches) as app, app.app_context():
        page = Page(data={"a": 1})
        db.session.add(page)
        db.session.commit()
        told.clear()
        page.data["a"] = 2
        db.session.flush()
        page.data["a"] = 3
        db.session.commit()
        assert told == [("updated", (None, {"a": 3}))]
        told.clear()
        page.data = {"b": 1}
        db.session.flush()
        page.data["b"] = 2
        db.session.commit()
        assert told == [("updated", ({"a": 3}, {"b": 2}))]


# --- explicit calls ----------------------------------------------------------------------------------


def a_mention(blog: Blog) -> Mention:
    mention = Mention(
        key="k",
        source="https://a.example/",
        source_key="s",
        source_host="a.example",
        target="https://blog.example/post/a",
        target_key="Post:1",
        target_hash="t",
        protocol="pingback",
        state=MentionState.verified,
        status=MentionStatus.pending,
        received_at=blog.site.now(),
    )
    blog.db.session.add(mention)
    blog.db.session.commit()
    return mention


ENDS: dict[str, Callable[[Blog], Any]] = {
    "rollback": lambda blog: blog.db.session.rollback(),
    "close": lambda blog: blog.db.session.close(),
    "remove": lambda blog: blog.db.session.remove(),
}


@pytest.mark.parametrize("end", list(ENDS))
def test_a_call_that_nobody_commits_is_told_of_once(
    blog: Blog, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    mention = a_mention(blog)
    blog.linkback.publish("/post/a", targets=["https://b.example/"])
    blog.linkback.publish("/post/b", targets=["https://b.example/"])
    blog.linkback.moderate(mention, "approved")
    assert caplog.records == []
    ENDS[end](blog)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "What publish(), moderate() wrote was not committed: call db.session.commit()."
    )
    ENDS[end](blog)
    assert len(caplog.records) == 1
    assert owed(blog) == 0


def test_a_call_that_the_end_of_a_request_drops_is_told_of(
    blogs: Callable[..., Blog], own_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    blog = blogs(own_url, content=None, RUNNER="off")

    @blog.app.get("/publish")
    def publish() -> str:
        blog.linkback.publish("/post/a", targets=["https://b.example/"])
        return "and forgotten"

    blog.app.test_client().get("/publish")
    assert [record.getMessage() for record in caplog.records] == [
        "What publish() wrote was not committed: call db.session.commit()."
    ]


def test_a_call_that_is_committed_is_no_matter(blog: Blog, caplog: pytest.LogCaptureFixture) -> None:
    session = blog.db.session()
    blog.linkback.publish("/post/a", targets=["https://b.example/"])
    session.commit()
    with session.begin_nested():
        blog.linkback.publish("/post/b", targets=["https://b.example/"])
    session.commit()
    with session.begin():
        blog.linkback.publish("/post/c", targets=["https://b.example/"])
        session.begin_nested()
    savepoint = session.begin_nested()
    blog.linkback.publish("/post/d", targets=["https://b.example/"])
    savepoint.rollback()  # which says it clearly enough
    session.commit()
    session.rollback()
    blog.db.session.remove()
    assert caplog.records == []
    assert owed(blog) == 3


# --- several applications ----------------------------------------------------------------------------


def test_applications_that_share_a_db_have_watches_of_their_own(tmp_path: Any) -> None:
    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)

    class Post(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    told: dict[str, list[Kind]] = {"one": [], "two": []}
    apps = []
    for name, heard in told.items():
        watches = Watches()
        watches.watch(
            Watch(
                name=name,
                model=Post,
                callback=lambda session, changes, heard=heard: heard.extend(each.kind for each in changes),  # type: ignore[misc]
            )
        )
        apps.append(plain_app(db, f"sqlite:///{tmp_path}/{name}.db", watches))
    third = Flask("without")
    third.config.update(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/three.db")
    db.init_app(third)
    for app in (apps[0].app, apps[1].app, apps[0].app):
        with app.app_context():
            db.session.add(Post())
            db.session.commit()
    with third.app_context():
        Post.__table__.create(db.engine)
        db.session.add(Post())
        db.session.commit()
        db.engine.dispose()
    assert told == {"one": ["created", "created"], "two": ["created"]}
    for each in apps:
        each.__exit__()


def test_each_db_is_heard_once_also_one_at_the_address_of_another() -> None:
    """Application factories make them by the dozen; `event.contains` takes some for others."""
    expected = Counter([*changes._EVENTS.values(), *worker._EVENTS.values()])
    for _ in range(300):
        db = SQLAlchemy()
        for _ in "twice":
            changes.listen(db.session)
            worker.listen(db.session)
        with db.session.session_factory(bind=None) as session:
            heard = Counter(
                listener
                for name in {*changes._EVENTS, *worker._EVENTS}
                for listener in getattr(session.dispatch, name)
                if getattr(listener, "__module__", "").startswith("flask_linkback.")
            )
        assert heard == expected


def test_two_who_want_a_field_listen_to_it_once(blog: Blog) -> None:
    watch(blog, "title")
    before = len(list(blog.Post.title.dispatch.set))
    watch(blog, "title")
    assert len(list(blog.Post.title.dispatch.set)) == before


# --- base classes ------------------------------------------------------------------------------------


def fresh(*bases: type) -> Any:
    return type("Base", bases, {})


STYLES: dict[str, Callable[[], SQLAlchemy]] = {
    "default": lambda: SQLAlchemy(),
    "Model": lambda: SQLAlchemy(model_class=fresh(Model)),
    "declarative_base()": lambda: SQLAlchemy(model_class=declarative_base()),
    "DeclarativeBase": lambda: SQLAlchemy(model_class=fresh(DeclarativeBase)),
    "DeclarativeBaseNoMeta": lambda: SQLAlchemy(model_class=fresh(DeclarativeBaseNoMeta)),
    "dataclasses": lambda: SQLAlchemy(model_class=fresh(MappedAsDataclass, DeclarativeBase)),
    "dataclasses, turned": lambda: SQLAlchemy(model_class=fresh(DeclarativeBase, MappedAsDataclass)),
    "dataclasses, no meta": lambda: SQLAlchemy(model_class=fresh(MappedAsDataclass, DeclarativeBaseNoMeta)),
    "one dataclass": lambda: SQLAlchemy(model_class=fresh(DeclarativeBase)),
}


def post_of(style: str, db: SQLAlchemy) -> Any:
    if "dataclass" in style:
        bases = (MappedAsDataclass, db.Model) if style.startswith("one") else (db.Model,)

        class Post(*bases):  # type: ignore[misc]
            __tablename__ = "post"
            id: Mapped[int] = mapped_column(primary_key=True, init=False)
            title: Mapped[str] = mapped_column(default="")

    elif style in ("default", "Model", "declarative_base()"):

        class Post(db.Model):  # type: ignore[name-defined,misc,no-redef]
            __tablename__ = "post"
            id = sa.Column(sa.Integer, primary_key=True)
            title = sa.Column(sa.String)

    else:

        class Post(db.Model):  # type: ignore[name-defined,misc,no-redef]
            id: Mapped[int] = mapped_column(primary_key=True)
            title: Mapped[str]

    return Post


@pytest.mark.parametrize("style", list(STYLES))
def test_every_style_of_base_class(own_url: str, style: str) -> None:
    try:
        db = STYLES[style]()
        Post = post_of(style, db)
    except sa.exc.InvalidRequestError as error:
        pytest.skip(f"Flask-SQLAlchemy itself does not take it: {error}")
    told: Told = []

    def hear(session: Session, changes: Sequence[Change | BulkStatement]) -> None:
        told.extend((each.kind, dict(each.fields)) for each in changes if isinstance(each, Change))
        jobs.add(session, [jobs.NewJob(kind="a")])

    watches = Watches()
    watches.watch(Watch(name="posts", model=Post, fields=("title",), callback=hear))
    with plain_app(db, own_url, watches) as app, app.app_context():
        # two that are equal, as dataclasses may be
        posts = [Post(title="A"), Post(title="A")]
        db.session.add_all(posts)
        db.session.commit()
        posts[0].title = "B"
        db.session.commit()
        with db.session.begin_nested() as savepoint:
            posts[1].title = "C"
            db.session.flush()
            savepoint.rollback()
        db.session.delete(posts[0])
        db.session.commit()
        assert told == [
            ("created", {"title": (None, "A")}),
            ("created", {"title": (None, "A")}),
            ("updated", {"title": ("A", "B")}),
            ("deleted", {"title": ("B", None)}),
        ]
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Job)) == 3
