"""Models: the tables, and the words for their states.

The classes are mapped on a base of our own. `attach` copies the bare tables into the application's
metadata, so that ``create_all`` and Alembic see them; sessions of either side work on both. URLs
are Text beside a SHA-256 key, times are aware and UTC, values from strangers are plain text.
"""

from __future__ import annotations

import enum
import hashlib
import json
import logging
import secrets
import weakref
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urldefrag, urlsplit

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, InstanceState, Mapped, mapped_column, validates

from .config import ascii_host
from .errors import ConfigError, MissingExtra

__all__ = [
    "Attempt",
    "Audit",
    "Avatar",
    "Base",
    "Block",
    "BlockKind",
    "Content",
    "DirectoryPing",
    "Event",
    "Host",
    "Job",
    "JobState",
    "Link",
    "LinkState",
    "Listener",
    "ListenerPace",
    "ListenerSecret",
    "ListenerState",
    "ListenerVersion",
    "Mention",
    "MentionState",
    "MentionStatus",
    "Page",
    "PageState",
    "Receipt",
    "Secret",
    "Subscriber",
    "SubscriberState",
    "Subscription",
    "SubscriptionRequest",
    "SubscriptionState",
    "Topic",
    "Weblog",
    "Worker",
    "attach",
    "digest",
    "host_of",
    "key_of",
    "without_fragment",
]

logger = logging.getLogger("flask_linkback.models")


def digest(*parts: str) -> str:
    """Return the SHA-256 of some strings as 64 hexadecimal digits: the key beside a long value."""
    # no URL and no key has a NUL, so no two lists of parts look alike
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def without_fragment(url: str) -> str:
    return urldefrag(url).url


def _new_status_key() -> str:
    return secrets.token_hex(16)


def host_of(url: str) -> str:
    """Return the host name or address of a URL, lower case, ASCII, without port; "" where it has none."""
    try:
        return ascii_host(urlsplit(url).hostname or "")[:255]
    except ValueError:
        return ""


def key_of(obj: Any) -> str | None:
    """Return ``"Post:42"`` for a mapped object that has a primary key, as it was flushed last; else None."""
    state = getattr(obj, "_sa_instance_state", None)
    if not isinstance(state, InstanceState):
        return None
    mapper = state.mapper
    identity = mapper.primary_key_from_instance(obj) if state.key is None else state.key[1]
    if any(part is None for part in identity):
        return None
    return f"{mapper.class_.__name__}:{','.join(str(part) for part in identity)}"


# --- column types ------------------------------------------------------------------------------------


class UTCDateTime(sa.types.TypeDecorator[datetime]):
    """An aware datetime, stored and given back in UTC; a naive one is refused."""

    impl = sa.DateTime
    cache_ok = True

    @staticmethod
    def plain() -> sa.types.TypeEngine[Any]:
        return sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"A time needs a time zone: {value!r}")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Secret(str):
    """A string that does not show itself: its ``repr`` is ``***``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


class _Keyring:
    """Encrypts with the first of some Fernet keys and decrypts with any; without keys, plainly."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._fernet: Any = None
        self._warned = False
        keys = tuple(keys)
        if keys:
            try:
                from cryptography.fernet import Fernet, MultiFernet
            except ImportError:
                raise MissingExtra("LINKBACK_SECRET_KEYS", "crypto") from None
            self._fernet = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, secret: str) -> str:
        if self._fernet is not None:
            return _ENCRYPTED + str(self._fernet.encrypt(secret.encode()), "ascii")
        if not self._warned:
            self._warned = True
            logger.warning("A secret is stored plainly: set LINKBACK_SECRET_KEYS to encrypt secrets.")
        return _PLAIN + secret

    def decrypt(self, stored: str) -> Secret:
        if stored.startswith(_PLAIN):
            return Secret(stored.removeprefix(_PLAIN))
        if self._fernet is None:
            raise ConfigError("A stored secret is encrypted, but LINKBACK_SECRET_KEYS is empty.")
        from cryptography.fernet import InvalidToken

        try:
            return Secret(self._fernet.decrypt(stored.removeprefix(_ENCRYPTED)).decode())
        except InvalidToken:
            raise ConfigError("None of LINKBACK_SECRET_KEYS opens a stored secret.") from None


_PLAIN: Final = "plain:"
_ENCRYPTED: Final = "fernet:"
_keyrings: weakref.WeakKeyDictionary[sa.Dialect, _Keyring] = weakref.WeakKeyDictionary()


def use_keys(engine: sa.Engine, keys: Iterable[str]) -> None:
    """Give the engine of an application the keys for its secrets."""
    if engine.dialect not in _keyrings:
        _keyrings[engine.dialect] = _Keyring(keys)


class SecretText(sa.types.TypeDecorator[Secret]):
    """The one column type of secrets: encrypted at rest, ``***`` in a ``repr``.

    The keys belong to the application's engine, see `use_keys`. A statement on an engine without
    them is refused rather than written plainly. Parameters hide themselves too: from ``echo``, and
    from the messages of failed statements.
    """

    impl = sa.Text
    cache_ok = True

    @staticmethod
    def plain() -> sa.types.TypeEngine[Any]:
        return sa.Text()

    @staticmethod
    def _keyring(dialect: sa.Dialect) -> _Keyring:
        try:
            return _keyrings[dialect]
        except KeyError:
            raise ConfigError("Secrets are read and written through the application's own engine.") from None

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> Secret | None:
        return None if value is None else Secret(self._keyring(dialect).encrypt(value))

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Secret | None:
        return None if value is None else self._keyring(dialect).decrypt(value)

    def process_literal_param(self, value: Any, dialect: sa.Dialect) -> str:
        return "***"


class Sealed(Mapping[str, str]):
    """Headers as they are stored: opened when somebody looks; `ConfigError` where no key does that."""

    def __init__(self, keyring: _Keyring, stored: str) -> None:
        self._keyring = keyring
        self._stored = stored

    @cached_property
    def _said(self) -> dict[str, str]:
        said: dict[str, str] = json.loads(self._keyring.decrypt(self._stored))
        return said

    def __getitem__(self, name: str) -> str:
        return self._said[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)

    def __len__(self) -> int:
        return len(self._said)

    def __repr__(self) -> str:
        return "***"


class SecretHeaders(SecretText):
    """Headers that are sent to somebody, by name: among them may be a password."""

    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Secret | None:
        return None if value is None else super().process_bind_param(json.dumps(dict(value)), dialect)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        return None if value is None else Sealed(self._keyring(dialect), value)

    def compare_values(self, x: Any, y: Any) -> bool:
        try:
            return bool(x == y)
        except ConfigError:  # what nobody can read is not the same
            return False


class _EnumText(sa.types.TypeDecorator[Any]):
    """A `StrEnum` as a plain string."""

    impl = sa.String
    cache_ok = True

    def __init__(self, kind: type[enum.StrEnum]) -> None:
        super().__init__(16)
        self.kind = kind

    @staticmethod
    def plain() -> sa.types.TypeEngine[Any]:
        return sa.String(16)

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> enum.StrEnum | None:
        return None if value is None else self.kind(value)


def _enum(kind: type[enum.StrEnum]) -> Mapped[Any]:
    return mapped_column(_EnumText(kind))


@validates("secret", "credentials", "wanted_secret")
def _hide(self: Any, name: str, value: str | None) -> Secret | None:
    """What is assigned is as secret as what is loaded."""
    return None if value is None else Secret(value)


_BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Bytes = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
_LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


# --- states ------------------------------------------------------------------------------------------


class MentionState(enum.StrEnum):
    """What we found on the source of a mention."""

    received = "received"
    """Somebody told us; not yet looked at."""
    verified = "verified"
    """The source has the link."""
    gone = "gone"
    """The source had the link once; it, or the page, is gone."""
    failed = "failed"
    """The link was never found."""


class MentionStatus(enum.StrEnum):
    """What a person or rule decided about a mention."""

    pending = "pending"
    """Nobody decided yet."""
    approved = "approved"
    """Shown, once verified."""
    rejected = "rejected"
    """Not shown, and stays so when it is sent again."""
    spam = "spam"
    """Not shown, and taught to the spam check."""


class BlockKind(enum.StrEnum):
    """What a block names."""

    host = "host"
    """A host with its subdomains, or an address."""
    url = "url"
    """A URL and what lies below it."""
    regex = "regex"
    """A pattern that is searched in URLs, by RE2."""


class LinkState(enum.StrEnum):
    """What became of a linkback that we owe."""

    waiting = "waiting"
    """Not yet sent, or to be sent again."""
    sent = "sent"
    """The target accepted it."""
    refused = "refused"
    """The target answered that it does not want it."""
    given_up = "given_up"
    """The target did not answer in any of the attempts."""
    unsupported = "unsupported"
    """The target offers no way to be told."""


class PageState(enum.StrEnum):
    """What became of a page of ours."""

    published = "published"
    """It is there."""
    gone = "gone"
    """It was taken away: 410."""
    moved = "moved"
    """It has another address: 301."""


class SubscriptionState(enum.StrEnum):
    """Where a subscription of ours stands."""

    discovering = "discovering"
    """We look for the topic's hub."""
    requested = "requested"
    """The hub was asked and has not confirmed yet."""
    active = "active"
    """The hub delivers."""
    unsubscribing = "unsubscribing"
    """The hub was asked to stop and has not confirmed yet."""
    denied = "denied"
    """The hub refused."""
    failed = "failed"
    """The hub could not be asked, or never confirmed."""
    expired = "expired"
    """The lease ran out."""
    unsubscribed = "unsubscribed"
    """The hub confirmed the end."""


class SubscriberState(enum.StrEnum):
    """Where a subscriber of our hub stands."""

    pending = "pending"
    """Not yet verified."""
    active = "active"
    """Gets every update."""
    expired = "expired"
    """The lease ran out."""
    ended = "ended"
    """Unsubscribed, or its callback answered 410."""


class ListenerState(enum.StrEnum):
    """Where a listener of webhooks stands."""

    unverified = "unverified"
    """A requested handshake is not answered yet."""
    active = "active"
    """Gets its events."""
    failing = "failing"
    """Gets its events, but fails to take them."""
    paused = "paused"
    """Stopped by a person."""
    disabled = "disabled"
    """Stopped by 410 or five bad days."""


class JobState(enum.StrEnum):
    """Where a piece of owed work stands."""

    pending = "pending"
    """Waits until it is due."""
    running = "running"
    """Claimed by a worker until its lease ends."""
    done = "done"
    """Finished."""
    dead = "dead"
    """Given up; can be replayed."""


# --- tables ------------------------------------------------------------------------------------------


def _index_where(condition: str, *columns: str) -> sa.Index:
    """Return an index of some rows, where the database can do that; of all where not."""
    return sa.Index(None, *columns, postgresql_where=sa.text(condition), sqlite_where=sa.text(condition))


class Base(DeclarativeBase):
    """The base of all tables. Names of keys and constraints are given once and for all here."""

    metadata = sa.MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        bytes: _Bytes,
        datetime: UTCDateTime(),
        dict[str, Any]: sa.JSON(none_as_null=True),
        list[Any]: sa.JSON(none_as_null=True),
        str: sa.Text(),
        Secret: SecretText(),
    }

    if TYPE_CHECKING:  # which it always is, here
        __table__: ClassVar[sa.Table]

    id: Mapped[int] = mapped_column(_BigInt, primary_key=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__dict__.get('id')}>"


class Mention(Base):
    """A linkback that we received: ``source`` says that it links to ``target``."""

    __tablename__ = "linkback_mention"
    __table_args__ = (
        sa.UniqueConstraint("key"),
        sa.UniqueConstraint("status_key"),
        # all that a page asks for: without it a server that has old statistics reads all that are shown
        sa.Index(None, "target_hash", "state", "status", "received_at"),
        sa.Index(None, "source_key"),
        sa.Index(None, "source_host", "status"),
        sa.Index(None, "status", "id"),
        sa.Index(None, "state", "checked_at"),
    )

    key: Mapped[str] = mapped_column(sa.String(64))
    """SHA-256 of the source without fragment and the target's key."""
    status_key: Mapped[str] = mapped_column(sa.String(32), default=_new_status_key)
    """What its status page is called by, as long as it lives: ``key`` changes when the target moves."""
    source: Mapped[str]
    source_key: Mapped[str] = mapped_column(sa.String(64))
    source_host: Mapped[str] = mapped_column(sa.String(255))
    target: Mapped[str]
    """The URL as it was sent."""
    target_key: Mapped[str]
    """``"Post:42"`` for a mapped object, else ``"blog.post?slug=x"``."""
    target_hash: Mapped[str] = mapped_column(sa.String(64))
    endpoint: Mapped[str] = mapped_column(sa.String(255), default="")
    protocol: Mapped[str] = mapped_column(sa.String(16))
    state: Mapped[MentionState] = _enum(MentionState)
    status: Mapped[MentionStatus] = _enum(MentionStatus)
    type: Mapped[str] = mapped_column(sa.String(16), default="mention")
    title: Mapped[str] = mapped_column(default="")
    content: Mapped[str] = mapped_column(_LongText, default="")
    author_name: Mapped[str] = mapped_column(default="")
    author_url: Mapped[str] = mapped_column(default="")
    author_photo: Mapped[str] = mapped_column(default="")
    reply_to: Mapped[str] = mapped_column(default="")
    """The other page that a reply answers, where it answers a mention of ours too."""
    vouch: Mapped[str] = mapped_column(default="")
    """The page by which the sender wants to be known here, with VOUCH."""
    published_at: Mapped[datetime | None]
    received_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    """When its source was fetched last."""
    recheck: Mapped[bool] = mapped_column(default=False)
    """Its source is to be fetched again though it was judged before."""
    reason: Mapped[str] = mapped_column(default="")
    caller: Mapped[str] = mapped_column(sa.String(64), default="")
    """The address that told us."""

    @property
    def url(self) -> str:
        return self.source

    @property
    def date(self) -> datetime:
        return self.received_at

    @property
    def host(self) -> str:
        """The host of the source, with its port when it has one; "" where the source is no URL."""
        try:
            return urlsplit(self.source).netloc
        except ValueError:
            return ""

    @property
    def is_erased(self) -> bool:
        """Was its person's data taken away? Then its digests are left, and it stays rejected."""
        return not self.source

    @property
    def shown(self) -> bool:
        return self.state == MentionState.verified and self.status == MentionStatus.approved


class Link(Base):
    """A linkback that we owe or sent: our page ``source`` links to ``target``."""

    __tablename__ = "linkback_link"
    __table_args__ = (sa.UniqueConstraint("key"), sa.Index(None, "source_key"), sa.Index(None, "state", "id"))

    key: Mapped[str] = mapped_column(sa.String(64))
    """SHA-256 of source and target."""
    source: Mapped[str]
    source_key: Mapped[str] = mapped_column(sa.String(64))
    object_key: Mapped[str | None]
    target: Mapped[str]
    """The URL as it stands in the page, fragment included."""
    target_host: Mapped[str] = mapped_column(sa.String(255))
    state: Mapped[LinkState] = _enum(LinkState)
    protocol: Mapped[str | None] = mapped_column(sa.String(16))
    endpoint: Mapped[str | None]
    offers: Mapped[list[Any] | None]
    """The protocols that the target offered when it was looked at last, the one to use first at the front."""
    status_code: Mapped[int | None]
    """The HTTP status of the last answer."""
    fault_code: Mapped[int | None]
    """The XML-RPC fault of the last answer."""
    answer: Mapped[str] = mapped_column(default="")
    reason: Mapped[str] = mapped_column(default="")
    attempts: Mapped[int] = mapped_column(default=0)
    removed: Mapped[bool] = mapped_column(default=False)
    """The page does not have the link any more."""
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


class Page(Base):
    """A page of ours that was published."""

    __tablename__ = "linkback_page"
    __table_args__ = (sa.UniqueConstraint("key"), sa.Index(None, "object_hash"), sa.Index(None, "state"))

    key: Mapped[str] = mapped_column(sa.String(64))
    url: Mapped[str]
    object_key: Mapped[str | None]
    object_hash: Mapped[str | None] = mapped_column(sa.String(64))
    state: Mapped[PageState] = _enum(PageState)
    digest: Mapped[str | None] = mapped_column(sa.String(64))
    """SHA-256 of what was told last: an unchanged page is told once."""
    moved_to: Mapped[str | None]
    title: Mapped[str] = mapped_column(default="")
    excerpt: Mapped[str] = mapped_column(default="")
    """Its first words, for trackback."""
    owed_by: Mapped[int | None]
    """The job that owed its targets last: when it comes again, it has nothing to do."""
    published_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class Host(Base):
    """A foreign host and how often we fetched from it lately; ``"*"`` is all of them."""

    __tablename__ = "linkback_host"
    __table_args__ = (sa.UniqueConstraint("name"),)

    name: Mapped[str] = mapped_column(sa.String(255))
    fetches: Mapped[list[Any]]
    """When fetches of the last minute began: seconds since 1970."""
    leases: Mapped[list[Any]]
    """Fetches under way: [key of the source, seconds since 1970 when it counts as over]."""
    changed_at: Mapped[datetime]


class Avatar(Base):
    """The picture of an author, or why there is none; one for all mentions that have its URL."""

    __tablename__ = "linkback_avatar"
    __table_args__ = (sa.UniqueConstraint("key"),)

    key: Mapped[str] = mapped_column(sa.String(64))
    """SHA-256 of the URL."""
    url: Mapped[str]
    host: Mapped[str] = mapped_column(sa.String(255))
    media_type: Mapped[str] = mapped_column(sa.String(32), default="")
    digest: Mapped[str] = mapped_column(sa.String(64), default="")
    """SHA-256 of the body."""
    body: Mapped[bytes | None]
    """None where there is no picture to show."""
    fetched_at: Mapped[datetime]
    """When it was asked for last."""
    expires_at: Mapped[datetime | None]
    """When it is asked for again though nobody verifies a mention; None for never."""
    reason: Mapped[str] = mapped_column(default="")


class DirectoryPing(Base):
    """A weblog directory that was told of a page."""

    __tablename__ = "linkback_directory_ping"
    __table_args__ = (sa.Index(None, "page_key", "id"),)

    url: Mapped[str]
    page_url: Mapped[str]
    page_key: Mapped[str] = mapped_column(sa.String(64))
    feed_url: Mapped[str | None]
    object_key: Mapped[str | None]
    success: Mapped[bool] = mapped_column(default=False)
    message: Mapped[str] = mapped_column(default="")
    sent_at: Mapped[datetime]

    @property
    def date(self) -> datetime:
        return self.sent_at


class Weblog(Base):
    """A weblog that told our own directory that it has something new."""

    __tablename__ = "linkback_weblog"
    __table_args__ = (sa.UniqueConstraint("key"), sa.Index(None, "pinged_at"))

    key: Mapped[str] = mapped_column(sa.String(64))
    """SHA-256 of its URL."""
    url: Mapped[str]
    host: Mapped[str] = mapped_column(sa.String(255))
    name: Mapped[str]
    feed_url: Mapped[str | None]
    listed: Mapped[bool] = mapped_column(default=False)
    """Its page was found to be there since it told us last."""
    number: Mapped[int] = mapped_column(default=0)
    """Which change of the list it was that it came in: the highest one says how often the list changed."""
    pinged_at: Mapped[datetime]
    """When it told us last."""
    changed_at: Mapped[datetime | None]
    """When it came into the list, or was taken out of it, last."""
    reason: Mapped[str] = mapped_column(default="")
    """Why it is not listed, where it was looked at."""


class Subscription(Base):
    """A topic that we follow at a hub."""

    __tablename__ = "linkback_subscription"
    __table_args__ = (
        sa.UniqueConstraint("key"),
        sa.Index(None, "topic_key"),
        sa.Index(None, "state", "lease_expires_at"),
    )

    _hide = _hide

    key: Mapped[str] = mapped_column(sa.String(64))
    """SHA-256 of what was asked for: the page, and the hub where one was named."""
    topic_url: Mapped[str]
    topic_key: Mapped[str] = mapped_column(sa.String(64))
    page_url: Mapped[str]
    """What was asked for: where the topic and its hub are looked for again at each renewal."""
    hub_url: Mapped[str | None]
    hub_given: Mapped[bool] = mapped_column(default=False)
    """The hub was named by the caller, and is not looked for."""
    state: Mapped[SubscriptionState] = _enum(SubscriptionState)
    wanted_lease_seconds: Mapped[int | None]
    """What to ask the hub for; None is the setting."""
    lease_seconds: Mapped[int | None]
    """What the hub gave."""
    lease_expires_at: Mapped[datetime | None]
    secret: Mapped[Secret | None]
    """What the caller wants content to be signed with; without it each request has a secret of its own."""
    credentials: Mapped[Secret | None]
    params: Mapped[dict[str, Any] | None]
    headers: Mapped[Mapping[str, str] | None] = mapped_column(SecretHeaders)
    silent: Mapped[bool] = mapped_column(default=False)
    """Polling found what the hub should have delivered."""
    missed: Mapped[int] = mapped_column(default=0)
    """How many entries polling found first since the hub delivered anything."""
    seen: Mapped[list[Any] | None]
    """Short digests of the entries that are known, the newest last."""
    etag: Mapped[str | None]
    last_modified: Mapped[str | None]
    created_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    polled_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(default="")


class SubscriptionRequest(Base):
    """One request to a hub, and the callback that it names.

    A new one stands beside that of the active lease until the hub confirms it. The old one is then
    unsubscribed, and takes content until the hub has confirmed that or a day is over.
    """

    __tablename__ = "linkback_subscription_request"
    __table_args__ = (sa.UniqueConstraint("token"), sa.Index(None, "subscription_id"))

    _hide = _hide

    subscription_id: Mapped[int] = mapped_column(
        _BigInt, sa.ForeignKey("linkback_subscription.id", ondelete="CASCADE")
    )
    token: Mapped[str] = mapped_column(sa.String(64))
    """The unguessable part of the callback."""
    mode: Mapped[str] = mapped_column(sa.String(16))
    """``subscribe``, or ``unsubscribe`` once the hub is to end it; ``rehearse`` is that of ``doctor``."""
    topic_url: Mapped[str | None]
    """What the hub was asked for; None until it is asked."""
    hub_url: Mapped[str | None]
    answered_url: Mapped[str | None]
    """Who took the request, where the hub sent us on (307, 308)."""
    secret: Mapped[Secret | None]
    tries: Mapped[int] = mapped_column(default=0)
    """How many requests before this one the hub took and did not confirm."""
    created_at: Mapped[datetime]
    requested_at: Mapped[datetime | None]
    """When the hub was asked last."""
    verified_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    """The callback takes nothing after this time."""
    reason: Mapped[str] = mapped_column(default="")


class Topic(Base):
    """A topic that our hub serves."""

    __tablename__ = "linkback_topic"
    __table_args__ = (sa.UniqueConstraint("key"),)

    key: Mapped[str] = mapped_column(sa.String(64))
    """SHA-256 of its URL."""
    url: Mapped[str]
    """Its one spelling, which stands in each delivery."""
    content_id: Mapped[int | None] = mapped_column(_BigInt)
    """What it said when it was fetched last."""
    etag: Mapped[str | None]
    last_modified: Mapped[str | None]
    fetched_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Subscriber(Base):
    """Who follows a topic at our hub."""

    __tablename__ = "linkback_subscriber"
    __table_args__ = (
        sa.UniqueConstraint("key"),
        sa.Index(None, "topic_id", "state"),
        sa.Index(None, "callback_host"),
        sa.Index(None, "wanted_key"),
        sa.Index(None, "state", "lease_expires_at"),
    )

    _hide = _hide

    key: Mapped[str] = mapped_column(sa.String(64))
    """SHA-256 of topic and callback."""
    topic_id: Mapped[int] = mapped_column(_BigInt, sa.ForeignKey("linkback_topic.id", ondelete="CASCADE"))
    topic_url: Mapped[str]
    """The topic as the subscriber spells it."""
    callback_url: Mapped[str]
    callback_host: Mapped[str] = mapped_column(sa.String(255))
    secret: Mapped[Secret | None]
    state: Mapped[SubscriberState] = _enum(SubscriberState)
    whole: Mapped[bool] = mapped_column(default=False)
    """Gets whole feeds, never only the new entries."""
    lease_seconds: Mapped[int | None]
    lease_expires_at: Mapped[datetime | None]
    wanted_key: Mapped[str | None] = mapped_column(sa.String(32))
    """Names the newest request to subscribe until it is verified, or is not: nothing else changes before."""
    wanted_secret: Mapped[Secret | None]
    """The secret of that request."""
    active_key: Mapped[str | None] = mapped_column(sa.String(32))
    """The request that was verified last: who asked for its end did not ask for that of a later one."""
    failures: Mapped[int] = mapped_column(default=0)
    """How many verifications failed since one succeeded."""
    failed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(default="")


class Content(Base):
    """What a topic said at a time: received for a subscription, or fetched by our hub."""

    __tablename__ = "linkback_content"
    __table_args__ = (sa.Index(None, "subscription_id", "digest"), sa.Index(None, "topic_id", "id"))

    subscription_id: Mapped[int | None] = mapped_column(_BigInt)
    request_id: Mapped[int | None] = mapped_column(_BigInt)
    """The request whose callback took it; None where it was fetched."""
    topic_id: Mapped[int | None] = mapped_column(_BigInt)
    digest: Mapped[str] = mapped_column(sa.String(64))
    content_type: Mapped[str] = mapped_column(default="")
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None]
    """None once its retention is over."""
    received_at: Mapped[datetime]


class Listener(Base):
    """Who wants the events of a hook: a URL, a match, secrets."""

    __tablename__ = "linkback_listener"
    __table_args__ = (
        sa.Index(None, "hook_hash", "id"),
        sa.Index(None, "owner", "id"),
        # what was meant for one that is gone must not come to another
        {"sqlite_autoincrement": True},
    )

    hook: Mapped[str]
    """The name of a hook, or a pattern such as ``person.*``."""
    hook_hash: Mapped[str] = mapped_column(sa.String(64))
    url: Mapped[str]
    host: Mapped[str] = mapped_column(sa.String(255))
    owner: Mapped[str | None] = mapped_column(sa.String(255))
    state: Mapped[ListenerState] = _enum(ListenerState)
    match: Mapped[dict[str, Any] | None]
    config: Mapped[dict[str, Any] | None]
    headers: Mapped[Mapping[str, str] | None] = mapped_column(SecretHeaders)
    options: Mapped[dict[str, Any] | None]
    version: Mapped[int] = mapped_column(default=1)
    failing_at: Mapped[datetime | None]
    """Since when it fails."""
    failed_again_at: Mapped[datetime | None]
    """When it failed first at least twelve hours after that: from then on it is to be disabled."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(default="")


class ListenerVersion(Base):
    """How often the listeners of a name or pattern changed: processes keep an index of them."""

    __tablename__ = "linkback_listener_version"
    __table_args__ = (sa.UniqueConstraint("hook_hash"),)

    hook_hash: Mapped[str] = mapped_column(sa.String(64))
    number: Mapped[int] = mapped_column(default=1)


class ListenerPace(Base):
    """How fast a listener is told that limits this: written for each of its deliveries."""

    __tablename__ = "linkback_listener_pace"
    __table_args__ = (sa.UniqueConstraint("listener_id"),)

    listener_id: Mapped[int] = mapped_column(
        _BigInt, sa.ForeignKey("linkback_listener.id", ondelete="CASCADE")
    )
    next_at: Mapped[datetime]
    """When one more may begin."""
    free_at: Mapped[datetime]
    """The first time that nobody was given yet who waits."""
    leases: Mapped[list[Any]]
    """Deliveries under way: [id of the job, seconds since 1970 when it counts as over]."""


class ListenerSecret(Base):
    """A signing secret of a listener; during a rotation there are several."""

    __tablename__ = "linkback_listener_secret"
    __table_args__ = (sa.Index(None, "listener_id"),)

    _hide = _hide

    listener_id: Mapped[int] = mapped_column(
        _BigInt, sa.ForeignKey("linkback_listener.id", ondelete="CASCADE")
    )
    secret: Mapped[Secret]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class Event(Base):
    """Something that happened and that listeners may want."""

    __tablename__ = "linkback_event"
    __table_args__ = (sa.Index(None, "type", "id"),)

    uid: Mapped[str] = mapped_column(sa.String(64))
    """Its name to the world: random, and so no other's; nobody is asked for it, and no index kept."""
    type: Mapped[str] = mapped_column(sa.String(255))
    hook: Mapped[str] = mapped_column(sa.String(255))
    object_key: Mapped[str | None]
    order_hash: Mapped[str | None] = mapped_column(sa.String(32))
    """Of what it is about, where the order counts."""
    data: Mapped[dict[str, Any] | None]
    """None once its retention is over, and so are the changes."""
    changes: Mapped[dict[str, Any] | None]
    depth: Mapped[int] = mapped_column(default=0)
    """How many webhooks, one causing the other, led to it."""
    created_at: Mapped[datetime]
    dispatched_at: Mapped[datetime | None]
    """When its listeners were found."""


class Job(Base):
    """Owed work. A job of kind ``post_webhook`` is a delivery.

    While it waits, ``due_at`` is when it is to be done; while it runs, when its lease ends.
    """

    __tablename__ = "linkback_job"
    __table_args__ = (
        _index_where("state IN ('pending', 'running')", "state", "due_at", "id"),
        # most have no key, and are written without a look at this
        _index_where("key IS NOT NULL", "key", "state"),
        # what was given up: people look for it
        _index_where("state = 'dead'", "id"),
        # of webhooks alone: what has none of both is written without a look at these
        _index_where("listener_id IS NOT NULL", "listener_id", "id"),
        _index_where("event_id IS NOT NULL", "event_id", "id"),
    )

    kind: Mapped[str] = mapped_column(sa.String(32))
    state: Mapped[JobState] = _enum(JobState)
    due_at: Mapped[datetime]
    host: Mapped[str] = mapped_column(sa.String(255), default="")
    """Whom it talks to: jobs of one slow host must not hold up the others."""
    key: Mapped[str | None] = mapped_column(sa.String(64))
    """What it is about: where one is enough, no second job of a key is added while one waits."""
    payload: Mapped[dict[str, Any] | None]
    listener_id: Mapped[int | None] = mapped_column(_BigInt)
    event_id: Mapped[int | None] = mapped_column(_BigInt)
    attempts: Mapped[int] = mapped_column(default=0)
    token: Mapped[str | None] = mapped_column(sa.String(32))
    """Names the claim: who lost the claim cannot settle the job."""
    reason: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class Attempt(Base):
    """One try at a job: what was answered, and how fast."""

    __tablename__ = "linkback_attempt"
    __table_args__ = (sa.Index(None, "job_id", "number"),)

    job_id: Mapped[int] = mapped_column(_BigInt)
    number: Mapped[int]
    started_at: Mapped[datetime]
    seconds: Mapped[float]
    outcome: Mapped[str] = mapped_column(sa.String(32))
    """``done``, or the class of what went wrong."""
    url: Mapped[str | None]
    address: Mapped[str | None] = mapped_column(sa.String(64))
    status_code: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None]
    """At most 16 KiB of the answer; None once its retention is over."""
    reason: Mapped[str] = mapped_column(default="")


class Receipt(Base):
    """A webhook that we received."""

    __tablename__ = "linkback_receipt"
    __table_args__ = (sa.UniqueConstraint("key"), sa.Index(None, "receiver", "id"))

    key: Mapped[str] = mapped_column(sa.String(64))
    """SHA-256 of receiver and message id: the same message counts once."""
    receiver: Mapped[str] = mapped_column(sa.String(255))
    message_id: Mapped[str]
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None]
    received_at: Mapped[datetime]
    handled_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(default="")


class Block(Base):
    """Whom we do not want to hear: a host, a URL prefix or a pattern."""

    __tablename__ = "linkback_block"
    __table_args__ = (sa.UniqueConstraint("key"), sa.Index(None, "lookup"))

    key: Mapped[str] = mapped_column(sa.String(64))
    """SHA-256 of list, kind and value."""
    lookup: Mapped[str] = mapped_column(sa.String(64))
    """SHA-256 of kind and value, what a source is looked up by; of the kind alone for a pattern."""
    kind: Mapped[BlockKind] = _enum(BlockKind)
    value: Mapped[str]
    list_name: Mapped[str] = mapped_column(sa.String(255), default="")
    reason: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class Worker(Base):
    """A process that works jobs off, and when it was seen last."""

    __tablename__ = "linkback_worker"
    __table_args__ = (sa.UniqueConstraint("name"),)

    name: Mapped[str] = mapped_column(sa.String(64))
    runner: Mapped[str] = mapped_column(sa.String(16))
    machine: Mapped[str] = mapped_column(sa.String(255))
    pid: Mapped[int]
    threads: Mapped[int]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class Audit(Base):
    """Who did what, when."""

    __tablename__ = "linkback_audit"
    __table_args__ = (sa.Index(None, "object_key", "id"),)

    at: Mapped[datetime]
    who: Mapped[str]
    action: Mapped[str] = mapped_column(sa.String(32))
    object_key: Mapped[str] = mapped_column(sa.String(255))
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    reason: Mapped[str] = mapped_column(default="")


# --- the application's metadata ----------------------------------------------------------------------


def attach(metadata: sa.MetaData) -> None:
    """Copy the tables into an application's metadata, once.

    The copies serve DDL only: plain types and values, so that a generated migration imports nothing of
    ours, and fixed names, so that the application's naming convention does not rename them. A metadata
    with a ``schema`` and a table of the application's under one of our names raise `ConfigError`.
    """
    if metadata.schema is not None:
        raise ConfigError("Linkback's tables live in the default schema: give it a MetaData without one.")
    # not in the info of each table: a generated migration would show it
    ours: set[str] = metadata.info.setdefault("flask_linkback", set())
    for table in Base.metadata.sorted_tables:
        if table.name not in metadata.tables:
            ours.add(table.name)
            for column in table.to_metadata(metadata).columns:
                plain = getattr(column.type, "plain", None)
                if plain is not None:
                    column.type = plain()
                if column.default is not None and column.default.is_callable:
                    column.default = None
        elif table.name not in ours:
            raise ConfigError(f"The application has a table {table.name} of its own.")
