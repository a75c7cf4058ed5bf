"""Models: the tables, their types and names, the words for their states."""

from __future__ import annotations

import enum
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.schema import CreateIndex, CreateTable

from flask_linkback import models
from flask_linkback.errors import ConfigError, MissingExtra
from flask_linkback.models import (
    Base,
    Host,
    Link,
    LinkState,
    Listener,
    ListenerState,
    Mention,
    MentionState,
    MentionStatus,
    Secret,
    Subscription,
    SubscriptionState,
    attach,
    digest,
    host_of,
)
from tests.apps import Blog

TABLES = """
    mention link page host directory_ping weblog subscription subscription_request content topic subscriber
    listener listener_pace listener_secret listener_version event job attempt receipt block worker audit
    avatar
"""
NOW = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
OLD_KEY, NEW_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
MODELS = sorted((mapper.class_ for mapper in Base.registry.mappers), key=lambda model: model.__name__)


# --- tables -------------------------------------------------------------------------------------------


def test_every_table_of_the_contract_is_there_and_no_other() -> None:
    assert set(Base.metadata.tables) == {f"linkback_{name}" for name in TABLES.split()}


@pytest.mark.parametrize("model", MODELS)
def test_every_model_says_what_it_is(model: type[Base]) -> None:
    assert model.__doc__
    assert model.__doc__.partition("\n")[0].endswith(".")
    assert model.__tablename__.removeprefix("linkback_").replace("_", "") == model.__name__.lower()
    assert model.__name__ in models.__all__


def test_every_name_is_given_and_fits_every_database() -> None:
    names = []
    for table in Base.metadata.tables.values():
        assert not any(isinstance(each, sa.CheckConstraint) for each in table.constraints)
        things = (*table.constraints, *table.indexes)
        names += [str(each.name) for each in things]
        assert all(each.name is not None for each in things)
        assert all(isinstance(each.name, sa.sql.naming.conv) for each in things)
    assert len(names) == len(set(names))
    assert max(map(len, names)) <= 63


def test_times_have_a_name_that_says_so() -> None:
    for table in Base.metadata.tables.values():
        for column in table.columns:
            is_time = isinstance(column.type, models.UTCDateTime)
            assert is_time is (column.name == "at" or column.name.endswith("_at")), column


def test_a_row_names_itself_without_asking_the_database() -> None:
    assert repr(Mention()) == "<Mention None>"
    assert repr(Link(id=3)) == "<Link 3>"


# --- attach -------------------------------------------------------------------------------------------

CONVENTIONS: list[dict[str, Any]] = [
    {},
    {
        "pk": "PRIMARY_%(table_name)s",
        "fk": "F_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "uq": "U_%(table_name)s_%(column_0_N_name)s",
        "ix": "I_%(column_0_N_label)s",
        "ck": "C_%(table_name)s_%(constraint_name)s",
    },
    {"fk": "f_%(constraint_name)s", "uq": "u_%(constraint_name)s", "ix": "i_%(constraint_name)s"},
]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    "dialect", [sqlite.dialect(), postgresql.dialect(), mysql.dialect()], ids=lambda d: d.name
)
def test_attached_tables_are_those_of_the_models(convention: dict[str, Any], dialect: sa.Dialect) -> None:
    """Whoever creates them, by whichever naming convention, and on every database."""
    metadata = sa.MetaData(naming_convention=convention)
    attach(metadata)
    for name, table in Base.metadata.tables.items():
        copy = metadata.tables[name]
        assert copy is not table
        assert ddl(copy, dialect) == ddl(table, dialect)


def ddl(table: sa.Table, dialect: sa.Dialect) -> set[str]:
    """The lines that create a table and its indexes; constraints stand in any order."""
    statements = (CreateTable(table), *map(CreateIndex, table.indexes))
    lines = "\n".join(str(each.compile(dialect=dialect)) for each in statements).splitlines()
    return {line.strip(" ,\t") for line in lines}


def test_attached_tables_have_types_of_sqlalchemy_alone() -> None:
    metadata = sa.MetaData()
    attach(metadata)
    for table in metadata.tables.values():
        for column in table.columns:
            assert type(column.type).__module__.startswith("sqlalchemy."), column
            assert column.default is None or column.default.is_scalar, column


def test_times_keep_microseconds_on_mariadb() -> None:
    assert "DATETIME(6)" in "".join(ddl(Base.metadata.tables["linkback_job"], mysql.dialect()))


def test_attaching_again_changes_nothing() -> None:
    metadata = sa.MetaData()
    attach(metadata)
    before = dict(metadata.tables)
    attach(metadata)
    assert dict(metadata.tables) == before
    assert all(metadata.tables[name] is table for name, table in before.items())


def test_metadata_with_a_schema_is_refused() -> None:
    with pytest.raises(ConfigError, match="live in the default schema"):
        attach(sa.MetaData(schema="blog"))


def test_a_table_of_the_applications_own_is_refused() -> None:
    metadata = sa.MetaData()
    sa.Table("linkback_page", metadata, sa.Column("id", sa.Integer, primary_key=True))
    with pytest.raises(ConfigError, match="has a table linkback_page of its own"):
        attach(metadata)


def test_a_clash_that_comes_later_is_told_by_sqlalchemy() -> None:
    metadata = sa.MetaData()
    attach(metadata)
    with pytest.raises(sa.exc.InvalidRequestError, match="linkback_page"):
        sa.Table("linkback_page", metadata, sa.Column("id", sa.Integer, primary_key=True))


# --- times --------------------------------------------------------------------------------------------


@pytest.fixture
def stored(blogs: Callable[..., Blog], database_url: str) -> Iterator[Blog]:
    """A blog on each database, in its context."""
    blog = blogs(database_url)
    with blog.app.app_context():
        yield blog


def host(**values: Any) -> Host:
    return Host(**{"name": "a.example", "fetches": [], "leases": [], "changed_at": NOW, **values})


def test_times_are_aware_and_utc_both_ways(stored: Blog) -> None:
    session = stored.db.session
    session.add(host(changed_at=NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))))
    session.commit()
    found = session.scalars(sa.select(Host)).one()
    assert found.changed_at == NOW
    assert found.changed_at.tzinfo is UTC
    assert found.changed_at.microsecond == 123456
    assert session.scalars(sa.select(Host).where(Host.changed_at == NOW)).all() == [found]
    earlier = NOW - timedelta(microseconds=1)
    assert session.scalars(sa.select(Host).where(Host.changed_at > earlier)).all() == [found]
    assert session.scalars(sa.select(Host).where(Host.changed_at <= earlier)).all() == []


def test_a_naive_time_is_refused(stored: Blog) -> None:
    stored.db.session.add(host(changed_at=datetime(2026, 1, 1)))  # noqa: DTZ001
    with pytest.raises(StatementError, match="A time needs a time zone"):
        stored.db.session.commit()
    stored.db.session.rollback()


def test_no_time_is_no_time(stored: Blog) -> None:
    session = stored.db.session
    session.add(Link(**LINK, sent_at=None))
    session.commit()
    assert session.scalars(sa.select(Link.sent_at)).one() is None


LINK: dict[str, Any] = {
    "key": "k",
    "source": "https://blog.example/",
    "source_key": "k",
    "target": "https://a.example/",
    "target_host": "a.example",
    "state": LinkState.waiting,
    "created_at": NOW,
}


# --- words --------------------------------------------------------------------------------------------

STATES = {
    "MentionState": "received verified gone failed",
    "MentionStatus": "pending approved rejected spam",
    "LinkState": "waiting sent refused given_up unsupported",
    "SubscriptionState": "discovering requested active unsubscribing denied failed expired unsubscribed",
    "SubscriberState": "pending active expired ended",
    "ListenerState": "unverified active failing paused disabled",
    "JobState": "pending running done dead",
}


@pytest.mark.parametrize("name", STATES)
def test_the_states_are_those_of_the_contract(name: str) -> None:
    kind: type[enum.StrEnum] = getattr(models, name)
    assert [member.value for member in kind] == STATES[name].split()
    assert [member.name for member in kind] == STATES[name].split()


def test_states_are_plain_strings_in_the_database(stored: Blog) -> None:
    session = stored.db.session
    session.add(Link(**LINK))
    session.commit()
    assert session.scalar(sa.text("SELECT state FROM linkback_link")) == "waiting"
    link = session.scalars(sa.select(Link).where(Link.state == "waiting")).one()
    assert link.state is LinkState.waiting
    session.execute(sa.text("UPDATE linkback_link SET state = 'sent'"))  # no CHECK has an opinion
    session.commit()
    assert link.state is LinkState.sent


def test_a_word_that_is_no_state_is_refused(stored: Blog) -> None:
    stored.db.session.add(Link(**{**LINK, "state": "lost"}))
    with pytest.raises(StatementError, match="'lost' is not a valid LinkState"):
        stored.db.session.commit()
    stored.db.session.rollback()


@pytest.mark.parametrize("state", MentionState)
@pytest.mark.parametrize("status", MentionStatus)
def test_shown_is_verified_and_approved(state: MentionState, status: MentionStatus) -> None:
    shown = state is MentionState.verified and status is MentionStatus.approved
    assert Mention(state=state, status=status).shown is shown


def test_a_mention_has_the_names_of_django_pingback() -> None:
    mention = Mention(source="http://A.example:8000/post", received_at=NOW)
    assert mention.url == mention.source
    assert mention.date == NOW
    assert mention.host == "A.example:8000"
    for name in ("url", "date"):
        with pytest.raises(AttributeError):
            setattr(mention, name, "x")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.COM:8443/x", "example.com"),
        ("https://example.com.", "example.com"),
        ("https://me@example.com", "example.com"),
        ("https://[2001:DB8::1]:80/", "2001:db8::1"),
        ("https://bücher.example/", "xn--bcher-kva.example"),
        ("https://Straße.example/", "xn--strae-oqa.example"),
        ("//example.com/x", "example.com"),
        ("/x", ""),
        ("mailto:me@example.com", ""),
        ("https://[::1", ""),
        ("https://" + "ü" * 64 + ".example", ""),
        ("https://" + "a" * 300, "a" * 255),
    ],
)
def test_host_of(url: str, host: str) -> None:
    assert host_of(url) == host


def test_digest_tells_lists_of_parts_apart() -> None:
    assert digest("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", "")}) == 4
    assert len(digest("\udcff ü \U0001f600")) == 64


# --- secrets ------------------------------------------------------------------------------------------


def subscription(key: str = "k", secret: str | None = "hunter2") -> Subscription:
    return Subscription(
        key=key,
        topic_url="https://a.example/feed",
        page_url="https://a.example/",
        topic_key="k",
        state=SubscriptionState.discovering,
        created_at=NOW,
        credentials=secret,
    )


def raw(blog: Blog, key: str = "k") -> str | None:
    statement = sa.text("SELECT credentials FROM linkback_subscription WHERE key = :key")
    return blog.db.session.scalar(statement, {"key": key})  # type: ignore[no-any-return]


@pytest.fixture
def keyed(blogs: Callable[..., Blog], database_url: str) -> Iterator[Callable[..., Blog]]:
    """Blogs with different SECRET_KEYS on one and the same database."""
    contexts = []

    def make(*keys: str, **settings: Any) -> Blog:
        blog = blogs(database_url, SECRET_KEYS=keys, **settings)
        contexts.append(blog.app.app_context())
        contexts[-1].push()
        return blog

    yield make
    for context in reversed(contexts):
        context.pop()


def test_secrets_are_encrypted_at_rest(keyed: Callable[..., Blog], caplog: pytest.LogCaptureFixture) -> None:
    blog = keyed(NEW_KEY)
    blog.db.session.add(subscription())
    blog.db.session.commit()
    stored = raw(blog)
    assert stored is not None
    assert "hunter2" not in stored
    assert Fernet(NEW_KEY).decrypt(stored.removeprefix("fernet:")) == b"hunter2"
    blog.db.session.expire_all()
    secret = blog.db.session.scalars(sa.select(Subscription.credentials)).one()
    assert secret == "hunter2"
    assert not caplog.records


@pytest.mark.parametrize("table", ["linkback_subscription", "linkback_listener"])
def test_headers_that_are_sent_are_as_secret(keyed: Callable[..., Blog], table: str) -> None:
    blog = keyed(NEW_KEY)
    said = {"Authorization": "Bearer hunter2", "X-Name": "J\xf6rg"}
    listener = Listener(
        hook="a",
        hook_hash="a",
        url="https://a.example/",
        host="a.example",
        state=ListenerState.active,
        created_at=NOW,
        updated_at=NOW,
    )
    row = subscription() if table == "linkback_subscription" else listener
    row.headers = said
    blog.db.session.add(row)
    blog.db.session.commit()
    stored = blog.db.session.scalar(sa.text(f"SELECT headers FROM {table}"))
    assert stored.startswith("fernet:")
    assert (row.headers, repr(row.headers)) == (said, "***")
    row.headers = dict(said)
    assert not blog.db.session.is_modified(row)
    row.headers = None
    blog.db.session.commit()
    assert blog.db.session.scalar(sa.text(f"SELECT headers FROM {table}")) is None
    assert row.headers is None


def test_no_secret_is_no_secret(keyed: Callable[..., Blog]) -> None:
    blog = keyed(NEW_KEY)
    blog.db.session.add_all([subscription(secret=None), subscription("empty", "")])
    blog.db.session.commit()
    blog.db.session.expire_all()
    assert raw(blog) is None
    assert raw(blog, "empty") != ""
    assert blog.db.session.scalars(sa.select(Subscription.credentials).order_by(Subscription.id)).all() == [
        None,
        "",
    ]


def test_the_first_key_encrypts_and_all_decrypt(keyed: Callable[..., Blog]) -> None:
    old = keyed(OLD_KEY)
    old.db.session.add(subscription("old"))
    old.db.session.commit()

    both = keyed(NEW_KEY, OLD_KEY)
    row = both.db.session.scalars(sa.select(Subscription)).one()
    assert row.credentials == "hunter2"
    both.db.session.add(subscription("new"))
    both.db.session.commit()
    stored = (raw(both, "new") or "").removeprefix("fernet:")
    assert Fernet(NEW_KEY).decrypt(stored) == b"hunter2"
    with pytest.raises(InvalidToken):
        Fernet(OLD_KEY).decrypt(stored)

    new = keyed(NEW_KEY)
    credentials = sa.select(Subscription.credentials)
    assert new.db.session.scalars(credentials.where(Subscription.key == "new")).one() == "hunter2"
    with pytest.raises(ConfigError, match="None of LINKBACK_SECRET_KEYS opens a stored secret"):
        new.db.session.scalars(credentials.where(Subscription.key == "old")).one()


def test_without_keys_secrets_are_plain_and_one_warning_says_so(
    keyed: Callable[..., Blog], caplog: pytest.LogCaptureFixture
) -> None:
    blog = keyed()
    with caplog.at_level(logging.WARNING, "flask_linkback.models"):
        blog.db.session.add_all([subscription(str(number)) for number in range(3)])
        blog.db.session.commit()
    assert raw(blog, "0") == "plain:hunter2"
    assert blog.db.session.scalars(sa.select(Subscription.credentials)).all() == ["hunter2"] * 3
    (record,) = caplog.records
    assert record.getMessage() == "A secret is stored plainly: set LINKBACK_SECRET_KEYS to encrypt secrets."

    later = keyed(NEW_KEY)  # what is plain stays readable once there are keys
    assert later.db.session.scalars(sa.select(Subscription.credentials)).all() == ["hunter2"] * 3


def test_encrypted_secrets_without_keys_say_what_is_missing(keyed: Callable[..., Blog]) -> None:
    blog = keyed(NEW_KEY)
    blog.db.session.add(subscription())
    blog.db.session.commit()
    bare = keyed()
    with pytest.raises(ConfigError, match="is encrypted, but LINKBACK_SECRET_KEYS is empty"):
        bare.db.session.scalars(sa.select(Subscription.credentials)).all()


def test_keys_can_be_required(blogs: Callable[..., Blog], sqlite_url: str) -> None:
    with pytest.raises(ConfigError, match="LINKBACK_REQUIRE_SECRET_KEYS"):
        blogs(sqlite_url, REQUIRE_SECRET_KEYS=True)


def test_another_engine_is_refused_rather_than_written_to_plainly(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/other.db")
    Base.metadata.create_all(engine)
    with sa.orm.Session(engine) as session:
        session.add(subscription())
        with pytest.raises(StatementError, match="through the application's own engine"):
            session.commit()
    engine.dispose()


def test_a_secret_does_not_show_itself(keyed: Callable[..., Blog]) -> None:
    blog = keyed(NEW_KEY)
    row = subscription()
    assert repr(row.credentials) == "***"  # before it is stored, too
    blog.db.session.add(row)
    blog.db.session.commit()
    assert isinstance(row.credentials, Secret)
    assert repr({"credentials": row.credentials}) == "{'credentials': ***}"
    assert f"{row.credentials!r} {row!r}" == f"*** <Subscription {row.id}>"
    assert str(row.credentials) == "hunter2"


@pytest.mark.parametrize("keys", [(), (NEW_KEY,)], ids=["plain", "encrypted"])
def test_a_secret_is_in_no_echo_and_in_no_error(
    keyed: Callable[..., Blog], keys: tuple[str, ...], caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    blog = keyed(*keys)
    session = blog.db.session
    blog.site.engine.echo = True
    session.add(subscription())
    session.commit()
    stored = raw(blog)
    session.add(subscription())
    with pytest.raises(IntegrityError) as raised:
        session.commit()
    session.rollback()
    blog.site.engine.echo = False
    said = caplog.text + "".join(capsys.readouterr()) + str(raised.value)
    assert "linkback_subscription" in said
    assert "***" in str(raised.value)
    assert "hunter2" not in said
    assert stored is not None
    assert stored not in said


def test_a_secret_that_is_written_into_a_statement_is_hidden() -> None:
    statement = sa.select(Subscription.id).where(Subscription.credentials == "hunter2")
    assert "hunter2" not in str(statement.compile(compile_kwargs={"literal_binds": True}))


def test_keys_need_the_crypto_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    engine = sa.create_engine("sqlite://")
    with pytest.raises(MissingExtra, match="flask-linkback\\[crypto\\]"):
        models.use_keys(engine, [NEW_KEY])
