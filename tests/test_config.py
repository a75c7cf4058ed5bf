"""Settings: every key with its default, what it takes and what it refuses."""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
import math
import sys
import zoneinfo
from datetime import UTC
from typing import Any

import pytest
from cryptography.fernet import Fernet

from flask_linkback import config, errors
from flask_linkback.config import Settings, setting_fields
from flask_linkback.errors import BaseURLMissing, ConfigError, MissingExtra, did_you_mean

KEY = Fernet.generate_key().decode()
OTHER_KEY = Fernet.generate_key().decode()
LIMITS = {"caller": 60, "target": 30, "source_host": 20, "source_host_parallel": 2, "fetches": 300}
NAMES = [field.name.upper() for _, field in setting_fields()]


def approve(mention: Any) -> bool:
    return True


def read(**settings: Any) -> Settings:
    """Read settings, as an application with these LINKBACK_ keys does."""
    return Settings.from_config({f"LINKBACK_{name}": value for name, value in settings.items()})


def value_of(name: str, settings: Settings) -> Any:
    part = next(part for part, field in setting_fields() if field.name.upper() == name)
    return getattr(getattr(settings, part), name.lower())


def networks(*each: str) -> tuple[Any, ...]:
    return tuple(map(ipaddress.ip_network, each))


DEFAULTS: dict[str, Any] = {
    "BASE_URL": None,
    "HOSTS": (),
    "SITE_NAME": None,
    "URL_PREFIX": "/linkback",
    "SECRET_KEYS": (),
    "REQUIRE_SECRET_KEYS": False,
    "ALLOW_NETWORKS": {},
    "ALLOW_PORTS": {80, 443, 8000, 8008, 8080, 8443},
    "EGRESS_PROXY": None,
    "CA_BUNDLE": None,
    "CONNECT_TIMEOUT": 5,
    "READ_TIMEOUT": 10,
    "FETCH_TIMEOUT": 15,
    "DELIVERY_TIMEOUT": 10,
    "MAX_REDIRECTS": 5,
    "MAX_BODY_BYTES": 2 * 1024 * 1024,
    "MAX_HTML_BYTES": 1024 * 1024,
    "RUNNER": "thread",
    "WORKER_THREADS": 8,
    "RETRY_SCHEDULE": (0, 5, 300, 1800, 7200, 18000, 36000, 36000),
    "RETENTION_DAYS": 30,
    "ROW_RETENTION_DAYS": 90,
    "PINGBACK_ALIASES": (),
    "PROTOCOLS": ("pingback", "webmention"),
    "PINGBACK_VERIFY": "queued",
    "ACCEPT": True,
    "CLOSE_AFTER_DAYS": None,
    "AUTO_APPROVE": ("known_host", "known_author"),
    "SHOW_UNAPPROVED": False,
    "EXCERPT_LENGTH": 200,
    "SOURCE_INTERVAL_SECONDS": 300,
    "RATE_LIMITS": LIMITS,
    "REVERIFY_DAYS": 30,
    "DIRECTORIES": (),
    "DIRECTORY_INTERVAL_SECONDS": 300,
    "DIRECTORY_SERVER": False,
    "MENTION_FEEDS": False,
    "VOUCH": False,
    "AVATAR_CACHE": False,
    "HUBS": (),
    "HUB_CREDENTIALS": None,
    "WEBSUB_SECRETS": "https",
    "WEBSUB_BAD_SIGNATURE_STATUS": 403,
    "WEBSUB_MIN_ALGORITHM": "sha1",
    "LEASE_SECONDS": 864000,
    "MAX_LEASE_SECONDS": 1209600,
    "HUB_ENABLED": False,
    "HUB_TOPICS": "own",
    "HUB_LEASE_SECONDS": (3600, 864000, 2592000),
    "HUB_ALGORITHM": "sha256",
    "LANGUAGE": "en-us",
    "TIMEZONE": UTC,
    "ADMIN_URL_PREFIX": "/linkback/admin",
}

# name -> what is given, what is read
GOOD: dict[str, list[tuple[Any, Any]]] = {
    "BASE_URL": [
        (None, None),
        ("https://example.com", "https://example.com"),
        ("https://example.com/blog/", "https://example.com/blog"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://Example.COM.:443", "https://example.com"),
        ("HTTPS://example.com:80", "https://example.com:80"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://Straße.example", "https://xn--strae-oqa.example"),
        ("http://[::1]:5000/", "http://[::1]:5000"),
    ],
    "HOSTS": [
        ("www.example.com", ("www.example.com",)),
        (["WWW.Example.com.", "example.org:8000"], ("www.example.com", "example.org")),
        (["bücher.example"], ("xn--bcher-kva.example",)),
        ({"[::1]"}, ("::1",)),
    ],
    "SITE_NAME": [(None, None), ("Beats", "Beats")],
    "URL_PREFIX": [("/a/b", "/a/b"), ("/a/", "/a")],
    "SECRET_KEYS": [
        ((), ()),
        (KEY, (KEY,)),
        (KEY.encode(), (KEY,)),
        ([KEY, OTHER_KEY.encode()], (KEY, OTHER_KEY)),
    ],
    "REQUIRE_SECRET_KEYS": [(False, False)],
    "ALLOW_NETWORKS": [
        ((), {"": ()}),
        ("10.0.0.0/8", {"": networks("10.0.0.0/8")}),
        (["10.0.0.0/8", "::1"], {"": networks("10.0.0.0/8", "::1/128")}),
        ({"hub": "10.0.0.0/8", "topic": ()}, {"hub": networks("10.0.0.0/8"), "topic": ()}),
    ],
    "ALLOW_PORTS": [("any", None), (80, {80}), ([80, 8080], {80, 8080}), ((), set())],
    "EGRESS_PROXY": [(None, None), ("http://a:b@proxy.example:3128", "http://a:b@proxy.example:3128")],
    "CA_BUNDLE": [(None, None), ("/etc/ssl/ca.pem", "/etc/ssl/ca.pem")],
    "CONNECT_TIMEOUT": [(0.5, 0.5)],
    "READ_TIMEOUT": [(3, 3)],
    "FETCH_TIMEOUT": [(2.5, 2.5)],
    "DELIVERY_TIMEOUT": [(30, 30)],
    "MAX_REDIRECTS": [(0, 0), (20, 20)],
    "MAX_BODY_BYTES": [(1024, 1024)],
    "MAX_HTML_BYTES": [(65536, 65536)],
    "RUNNER": [(each, each) for each in ("thread", "external", "celery", "inline", "off")],
    "WORKER_THREADS": [(1, 1), (512, 512)],
    "RETRY_SCHEDULE": [([0, 0.5, 60], (0, 0.5, 60)), ((0,), (0,))],
    "RETENTION_DAYS": [(1, 1)],
    "ROW_RETENTION_DAYS": [(365, 365)],
    "PINGBACK_ALIASES": [("/xmlrpc/", ("/xmlrpc/",)), (["/a", "/b/c"], ("/a", "/b/c"))],
    "PROTOCOLS": [("pingback", ("pingback",)), (["trackback"], ("trackback",)), ((), ())],
    "PINGBACK_VERIFY": [("queued", "queued"), ("at_once", "at_once")],
    "ACCEPT": [(False, False)],
    "CLOSE_AFTER_DAYS": [(None, None), (14, 14)],
    "AUTO_APPROVE": [
        (True, True),
        (False, False),
        ((), ()),
        ("known_host", ("known_host",)),
        (approve, (approve,)),
        (["known_author", approve], ("known_author", approve)),
    ],
    "SHOW_UNAPPROVED": [(True, True)],
    "EXCERPT_LENGTH": [(1, 1), (10_000, 10_000)],
    "SOURCE_INTERVAL_SECONDS": [(0, 0), (1.5, 1.5)],
    "RATE_LIMITS": [
        ({}, LIMITS),
        ({"caller": 1}, {**LIMITS, "caller": 1}),
        ({"caller": None, "fetches": 10}, {**LIMITS, "caller": None, "fetches": 10}),
    ],
    "REVERIFY_DAYS": [(None, None), (7, 7)],
    "DIRECTORIES": [("https://rpc.example/", ("https://rpc.example/",))],
    "DIRECTORY_INTERVAL_SECONDS": [(0, 0)],
    "DIRECTORY_SERVER": [(True, True)],
    "MENTION_FEEDS": [(True, True)],
    "VOUCH": [(True, True)],
    "AVATAR_CACHE": [(True, True)],
    "HUBS": [
        ("https://hub.example/", ("https://hub.example/",)),
        (["http://a.example"], ("http://a.example",)),
    ],
    "HUB_CREDENTIALS": [
        (None, None),
        ("blog.hubs.credentials", "blog.hubs.credentials"),
        ({"https://hub.example/": ["me", "pw"]}, {"https://hub.example/": ("me", "pw")}),
    ],
    "WEBSUB_SECRETS": [("always", "always"), ("never", "never")],
    "WEBSUB_BAD_SIGNATURE_STATUS": [(202, 202)],
    "WEBSUB_MIN_ALGORITHM": [("sha256", "sha256")],
    "LEASE_SECONDS": [(60, 60)],
    "MAX_LEASE_SECONDS": [(60, 60)],
    "HUB_ENABLED": [(True, True)],
    "HUB_TOPICS": [("any", "any")],
    "HUB_LEASE_SECONDS": [([1, 2, 2], (1, 2, 2))],
    "HUB_ALGORITHM": [("sha512", "sha512")],
    "LANGUAGE": [("de", "de")],
    "TIMEZONE": [("utc", UTC), ("Europe/Paris", zoneinfo.ZoneInfo("Europe/Paris"))],
    "ADMIN_URL_PREFIX": [("/admin/linkback", "/admin/linkback")],
}

NO_BOOLEANS = (0, 1, "yes", None)
NO_TEXTS = (1, b"text", ["text"])
NO_NUMBERS = ("5", None, True, math.nan, math.inf, -1)
NO_LISTS = (5, None, b"x", {"a": 1}, [5])
NO_PATHS = ("linkback", "/", "", "//host/x", "/a?b", "/a b", "https://example.com/a", None, 1)
NO_URLS = (
    "example.com",
    "ftp://example.com",
    "https://",
    "https://a.example:x/",
    "https://[::1",
    "https://a b/",
)

BAD: dict[str, tuple[Any, ...]] = {
    "BASE_URL": (
        *NO_URLS,
        "https://example.com?x",
        "https://example.com/#x",
        "https://example.com//x",
        "https://me:pw@example.com",
        "https://example.com:0",
        "https://example.com\n",
        "https://" + "ä" * 64 + ".example",
        b"https://example.com",
        5,
    ),
    "HOSTS": (
        *NO_LISTS,
        "https://example.com",
        "example.com/blog",
        "me@example.com",
        "",
        "[::1",
        "a b",
        "ü" * 64,
    ),
    "SITE_NAME": NO_TEXTS,
    "URL_PREFIX": NO_PATHS,
    "SECRET_KEYS": (5, None, {"a": KEY}, "hunter2", [KEY, "hunter2"], [5], [b"\xff"], "ü" * 32),
    "REQUIRE_SECRET_KEYS": NO_BOOLEANS,
    "ALLOW_NETWORKS": (5, None, [5], "10.0.0.1/8", "localhost", {"hubs": ()}, {"hub": "x"}, {1: ()}),
    "ALLOW_PORTS": (None, "80", "all", [0], [65536], ["80"], True, [True], {80: 1}),
    "EGRESS_PROXY": ("proxy.example", 5),
    "CA_BUNDLE": NO_TEXTS,
    "CONNECT_TIMEOUT": (*NO_NUMBERS, 0),
    "READ_TIMEOUT": (*NO_NUMBERS, 0),
    "FETCH_TIMEOUT": (*NO_NUMBERS, 0),
    "DELIVERY_TIMEOUT": (*NO_NUMBERS, 0),
    "MAX_REDIRECTS": (*NO_NUMBERS, 21, 1.5),
    "MAX_BODY_BYTES": (*NO_NUMBERS, 1023, 2000.5),
    "MAX_HTML_BYTES": (*NO_NUMBERS, 1023),
    "RUNNER": ("threads", None, True, ["thread"]),
    "WORKER_THREADS": (*NO_NUMBERS, 0, 513),
    "RETRY_SCHEDULE": (5, None, "0, 5", [], {0: 5}, {0, 5}, [0, -1], [0, "5"], [0, None]),
    "RETENTION_DAYS": (*NO_NUMBERS, 0, 0.5),
    "ROW_RETENTION_DAYS": (*NO_NUMBERS, 0),
    "PINGBACK_ALIASES": (*NO_LISTS, "xmlrpc", "/", ["/a", "b"]),
    "PROTOCOLS": (*NO_LISTS, "pingbacks", ["pingback", "gopher"]),
    "PINGBACK_VERIFY": ("later", None, True),
    "ACCEPT": NO_BOOLEANS,
    "CLOSE_AFTER_DAYS": (0, "14", 1.5, True),
    "AUTO_APPROVE": (None, 1, "all", ["known_hosts"], [1], {"known_host": True}, b"known_host"),
    "SHOW_UNAPPROVED": NO_BOOLEANS,
    "EXCERPT_LENGTH": (*NO_NUMBERS, 0, 10_001),
    "SOURCE_INTERVAL_SECONDS": NO_NUMBERS,
    "RATE_LIMITS": (None, 60, ["caller"], {"callers": 1}, {"caller": 0}, {"caller": "60"}, {"target": True}),
    "REVERIFY_DAYS": (0, "30", True),
    "DIRECTORIES": (*NO_LISTS, *NO_URLS),
    "DIRECTORY_INTERVAL_SECONDS": NO_NUMBERS,
    "DIRECTORY_SERVER": NO_BOOLEANS,
    "MENTION_FEEDS": NO_BOOLEANS,
    "VOUCH": NO_BOOLEANS,
    "AVATAR_CACHE": NO_BOOLEANS,
    "HUBS": (*NO_LISTS, *NO_URLS),
    "HUB_CREDENTIALS": (
        5,
        ["hunter2"],
        {"https://hub.example/": "hunter2"},
        {"https://hub.example/": ("me", "hunter2", "x")},
        {"https://hub.example/": (1, 2)},
        {"hub.example": ("me", "hunter2")},
    ),
    "WEBSUB_SECRETS": ("http", None, True),
    "WEBSUB_BAD_SIGNATURE_STATUS": (*NO_NUMBERS, 199, 500),
    "WEBSUB_MIN_ALGORITHM": ("md5", None),
    "LEASE_SECONDS": (*NO_NUMBERS, 0, 1.5),
    "MAX_LEASE_SECONDS": (*NO_NUMBERS, 0),
    "HUB_ENABLED": NO_BOOLEANS,
    "HUB_TOPICS": ("all", None),
    "HUB_LEASE_SECONDS": (60, None, "1,2,3", [1, 2], [1, 2, 3, 4], [3, 2, 1], [0, 1, 2], [1, 2, 2.5]),
    "HUB_ALGORITHM": ("sha", None),
    "LANGUAGE": (*NO_TEXTS, None),
    "TIMEZONE": ("Europe", "Mars/Olympus", "../etc/passwd", "", None, 1),
    "ADMIN_URL_PREFIX": NO_PATHS,
}


def cases(table: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(name, each, id=f"{name}-{number}")
        for name, values in table.items()
        for number, each in enumerate(values)
    ]


# --- each key -----------------------------------------------------------------------------------------


def test_this_file_looks_at_every_setting() -> None:
    assert set(NAMES) == set(DEFAULTS) == set(GOOD) == set(BAD)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_default(name: str) -> None:
    assert value_of(name, read()) == DEFAULTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_default_is_a_value_that_the_key_takes(name: str) -> None:
    field = next(field for _, field in setting_fields() if field.name.upper() == name)
    if name in ("TIMEZONE", "ALLOW_PORTS"):  # kept in another form than they are written in
        assert field.metadata["default"] == DEFAULTS[name]
    elif name == "ALLOW_NETWORKS":
        assert not field.metadata["default"]
    else:
        assert field.metadata["check"](name, field.metadata["default"]) == DEFAULTS[name]


@pytest.mark.parametrize(("name", "pair"), cases(GOOD))
def test_good_value(name: str, pair: tuple[Any, Any]) -> None:
    given, expected = pair
    assert value_of(name, read(**{name: given})) == expected


@pytest.mark.parametrize(("name", "value"), cases(BAD))
def test_bad_value_is_refused_with_the_name_of_its_key(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^LINKBACK_{name}\b") as refused:
        read(**{name: value})
    assert len(str(refused.value)) < 300
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_documented(name: str) -> None:
    doc = next(field for _, field in setting_fields() if field.name.upper() == name).metadata["doc"]
    assert doc[0].isupper()
    assert doc.endswith(".")
    assert len(doc) < 100


# --- all keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("LINKBACK_TIME_ZONE", "LINKBACK_TIMEZONE"),
        ("LINKBACK_BASEURL", "LINKBACK_BASE_URL"),
        ("LINKBACK_SECRET_KEY", "LINKBACK_SECRET_KEYS"),
        ("LINKBACK_HUB", "LINKBACK_HUBS"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest_name(key: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"^There is no setting {key}. Did you mean {meant}[?]$"):
        Settings.from_config({key: 1})


def test_unknown_key_that_is_near_to_nothing_is_refused_without_a_guess() -> None:
    with pytest.raises(ConfigError, match=r"^There is no setting LINKBACK_QWXYZ\.$"):
        Settings.from_config({"LINKBACK_QWXYZ": 1})


def test_keys_of_others_are_left_alone() -> None:
    others = {"LINKBACKS": 1, "SQLALCHEMY_ECHO": "x", "linkback_base_url": 5, "BASE_URL": 5}
    assert Settings.from_config(others) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("RUNNER", "threads", "Did you mean thread?"),
        ("PROTOCOLS", ["pingbacks"], "Did you mean pingback?"),
        ("AUTO_APPROVE", "known_hosts", "Did you mean known_host?"),
        ("RATE_LIMITS", {"callers": 1}, "Did you mean caller?"),
        ("ALLOW_NETWORKS", {"hubs": ()}, "Did you mean hub?"),
    ],
)
def test_word_that_is_nearly_right_is_refused_with_the_right_one(name: str, value: Any, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(**{name: value})
    assert str(refused.value).endswith(hint)


def test_did_you_mean_says_nothing_when_nothing_is_near() -> None:
    assert did_you_mean("colour", ["color"]) == " Did you mean color?"
    assert did_you_mean("colour", ["weight"]) == ""


def test_settings_are_frozen() -> None:
    settings = read(RATE_LIMITS={"caller": 1}, ALLOW_NETWORKS={"hub": "10.0.0.0/8"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.site.base_url = "https://example.com"  # type: ignore[misc]
    for mapping in (settings.linkbacks.rate_limits, settings.fetch.allow_networks):
        with pytest.raises(TypeError):
            mapping["caller"] = None  # type: ignore[index]
    assert read().linkbacks.rate_limits["caller"] == 60


def test_every_part_is_read() -> None:
    parts = [field.name for field in dataclasses.fields(Settings) if dataclasses.is_dataclass(field.default)]
    assert parts == list(dict.fromkeys(part for part, _ in setting_fields()))
    assert all(
        isinstance(getattr(config, name), type) for name in config.__all__ if name.endswith("Settings")
    )


# --- the public address -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flask_keys", "base_url"),
    [
        ({"SERVER_NAME": "blog.example"}, "http://blog.example"),
        ({"SERVER_NAME": "blog.example", "PREFERRED_URL_SCHEME": "https"}, "https://blog.example"),
        ({"SERVER_NAME": "localhost:5000", "APPLICATION_ROOT": "/"}, "http://localhost:5000"),
        ({"SERVER_NAME": "blog.example", "APPLICATION_ROOT": "/b/"}, "http://blog.example/b"),
        ({"SERVER_NAME": "blog.example", "APPLICATION_ROOT": "b"}, "http://blog.example/b"),
        ({"SERVER_NAME": None}, None),
        ({"SERVER_NAME": ""}, None),
        ({"SERVER_NAME": "a.example", "LINKBACK_BASE_URL": "https://b.example"}, "https://b.example"),
        ({"SERVER_NAME": "a.example", "LINKBACK_BASE_URL": None}, "http://a.example"),
    ],
)
def test_base_url_comes_from_what_flask_knows(flask_keys: dict[str, Any], base_url: str | None) -> None:
    assert Settings.from_config(flask_keys).site.base_url == base_url


def test_bad_server_name_is_named() -> None:
    with pytest.raises(ConfigError, match="made from SERVER_NAME 'a b'"):
        Settings.from_config({"SERVER_NAME": "a b"})


def test_without_a_public_address_the_error_says_what_to_set() -> None:
    with pytest.raises(BaseURLMissing, match=r"^Set LINKBACK_BASE_URL \(or SERVER_NAME\)"):
        _ = read().base_url
    assert read(BASE_URL="https://example.com/").base_url == "https://example.com"


# --- secrets ------------------------------------------------------------------------------------------


def test_secrets_stay_out_of_repr() -> None:
    settings = read(
        SECRET_KEYS=KEY,
        HUB_CREDENTIALS={"https://hub.example/": ("me", "hunter2")},
        EGRESS_PROXY="http://me:hunter2@proxy.example:3128",
    )
    assert KEY not in repr(settings)
    assert "hunter2" not in repr(settings)
    assert "WORKER_THREADS".lower() in repr(settings)


def test_required_secret_keys() -> None:
    with pytest.raises(ConfigError, match="LINKBACK_REQUIRE_SECRET_KEYS is set, but LINKBACK_SECRET_KEYS is"):
        read(REQUIRE_SECRET_KEYS=True)
    assert read(REQUIRE_SECRET_KEYS=True, SECRET_KEYS=KEY).site.require_secret_keys


def test_secret_keys_need_the_crypto_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    assert read(SECRET_KEYS=()).site.secret_keys == ()
    with pytest.raises(
        MissingExtra, match=r"LINKBACK_SECRET_KEYS needs: pip install 'flask-linkback\[crypto\]'"
    ):
        read(SECRET_KEYS=KEY)


def test_time_zone_utc_needs_no_database_of_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here(key: str) -> zoneinfo.ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError(key)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", none_here)
    assert read(TIMEZONE="UTC").feeds.timezone is UTC


# --- errors -------------------------------------------------------------------------------------------


def test_an_error_without_a_message_says_its_docstring() -> None:
    assert str(errors.UnknownTarget()) == "The URL or object is none that accepts linkbacks."
    assert str(errors.UnknownTarget("what")) == "what"
    assert str(errors.FetchError()) == "The page could not be fetched."


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    assert errors.__doc__ is not None
    drawing = errors.__doc__.partition("::\n")[2].partition("Not of the tree")[0]
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in filter(str.strip, drawing.splitlines()):
        name = line.strip("│├└─ ").split()[0]
        depth = line.index(name)
        above = [each for each in above if each[0] < depth]
        drawn[name] = above[-1][1] if above else None
        above.append((depth, name))
    defined = {
        name: kind.__base__.__name__ if kind.__base__ is not Exception else None
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert drawn == defined
    assert set(defined) | {"did_you_mean"} == set(errors.__all__)


def test_nothing_is_logged_by_reading(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        read(BASE_URL="https://example.com")
    assert not caplog.records
