"""Settings: what an application can set, checked when the extension is initialised.

Every field below is one ``LINKBACK_`` key of ``app.config``, in capitals. This is the only module
that reads ``app.config``.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import zoneinfo
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from types import MappingProxyType
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, urlsplit

import idna

from .errors import BaseURLMissing, ConfigError, MissingExtra, did_you_mean

__all__ = [
    "AdminSettings",
    "FeedSettings",
    "FetchSettings",
    "IPNetwork",
    "LinkbackSettings",
    "OutboxSettings",
    "Settings",
    "SiteSettings",
    "WebSubSettings",
    "ascii_host",
    "setting_fields",
]

PREFIX: Final = "LINKBACK_"
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Check = Callable[[str, Any], Any]


def _refuse(name: str, value: object, wanted: str) -> NoReturn:
    raise ConfigError(f"{PREFIX}{name} must be {wanted}, not {value!r}.")


def _refuse_unseen(name: str, wanted: str) -> NoReturn:
    """Refuse a value that may be secret."""
    raise ConfigError(f"{PREFIX}{name} must be {wanted}.")


def _boolean(name: str, value: Any) -> bool:
    return value if isinstance(value, bool) else _refuse(name, value, "True or False")


def _text(name: str, value: Any) -> str:
    return value if isinstance(value, str) else _refuse(name, value, "a string")


def _path(name: str, value: Any) -> str:
    """A URL path that starts with a slash and does not end with one."""
    text = _text(name, value)
    if not text.startswith("/") or text == "/" or "//" in text or any(c in text for c in "?#<> "):
        _refuse(name, value, "a URL path such as '/linkback'")
    return text.rstrip("/")


def _split_http(url: str) -> SplitResult | None:
    """Split an http or https URL; None for anything else."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without end, a port that is no number
        return None
    return parts if fits and url.isprintable() and " " not in url else None


def ascii_host(host: str) -> str:
    """Return a host name as it is sent and compared: lower case, ASCII, no dot at its end.

    ValueError when it is no name.
    """
    host = host.lower().rstrip(".")
    return host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")


def _host(parts: SplitResult | None) -> str:
    try:
        return ascii_host(parts.hostname or "") if parts else ""
    except ValueError:
        return ""


def _base_url(name: str, value: Any) -> str:
    """The address of a site as it is compared: no slash at its end, no port that goes without saying."""
    text = _text(name, value)
    parts = _split_http(text)
    host = _host(parts)
    if parts is None or not host or "?" in text or "#" in text or "//" in parts.path:
        _refuse(name, value, "an absolute http(s) URL such as 'https://example.com'")
    if "@" in parts.netloc:
        _refuse_unseen(name, "a URL without user name and password")
    authority = f"[{host}]" if ":" in host else host
    if parts.port not in (None, {"http": 80, "https": 443}[parts.scheme]):
        authority += f":{parts.port}"
    return f"{parts.scheme}://{authority}{parts.path.rstrip('/')}"


def _http_url(name: str, value: Any) -> str:
    text = _text(name, value)
    return text if _split_http(text) else _refuse(name, value, "an absolute http(s) URL")


def _proxy_url(name: str, value: Any) -> str:
    if isinstance(value, str) and _split_http(value):
        return value
    _refuse_unseen(name, "a URL such as 'http://proxy.example:3128'")


def _strings(name: str, value: Any) -> tuple[str, ...]:
    """Several strings; one string alone is one element."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Collection) or isinstance(value, (bytes, Mapping)):
        _refuse(name, value, "a list of strings")
    return tuple(_text(name, each) for each in value)


def _hosts(name: str, value: Any) -> tuple[str, ...]:
    """Host names without scheme, path and port, in lower case."""
    hosts = []
    for each in _strings(name, value):
        parts = _split_http(f"http://{each}")
        host = _host(parts)
        if not host or any(c in each for c in "/?#@"):
            _refuse(name, each, "a host name such as 'www.example.com'")
        hosts.append(host)
    return tuple(hosts)


def _http_urls(name: str, value: Any) -> tuple[str, ...]:
    return tuple(_http_url(name, each) for each in _strings(name, value))


def _paths(name: str, value: Any) -> tuple[str, ...]:
    """URL paths that are served as written, slash at the end included."""
    paths = _strings(name, value)
    for each in paths:
        _path(name, each)
    return paths


def _number(at_least: float, at_most: float = math.inf, *, whole: bool = True) -> Check:
    wanted = ("a whole number" if whole else "a number") + (
        f" of at least {at_least:g}" if at_most == math.inf else f" from {at_least:g} to {at_most:g}"
    )

    def check(name: str, value: Any) -> float:
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            _refuse(name, value, wanted)
        if not math.isfinite(value) or not at_least <= value <= at_most:
            _refuse(name, value, wanted)
        return value

    return check


def _numbers(at_least: float) -> Check:
    one = _number(at_least, whole=False)

    def check(name: str, value: Any) -> tuple[float, ...]:
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or not value:
            _refuse(name, value, f"a list of numbers of at least {at_least:g}")
        return tuple(one(name, each) for each in value)

    return check


def _lease_limits(name: str, value: Any) -> tuple[int, int, int]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or len(value) != 3:
        _refuse(name, value, "three numbers of seconds in rising order: least, default, most")
    least, default, most = (int(_number(1, 2**31 - 1)(name, each)) for each in value)
    if not least <= default <= most:
        _refuse(name, value, "three numbers of seconds in rising order: least, default, most")
    return least, default, most


def _choice(*choices: str) -> Check:
    def check(name: str, value: Any) -> str:
        if value not in choices:
            raise ConfigError(
                f"{PREFIX}{name} must be one of {', '.join(map(repr, choices))}, not {value!r}."
                + did_you_mean(str(value), choices)
            )
        return str(value)

    return check


def _choices(*choices: str) -> Check:
    one = _choice(*choices)
    return lambda name, value: tuple(one(name, each) for each in _strings(name, value))


def _optional(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _networks(name: str, value: Any) -> Mapping[str, tuple[IPNetwork, ...]]:
    """Networks by purpose; a plain list of networks is for every purpose, written ``""``."""
    if not isinstance(value, Mapping):
        value = {"": value}
    parsed: dict[str, tuple[IPNetwork, ...]] = {}
    for purpose, networks in value.items():
        if purpose not in _PURPOSES:
            raise ConfigError(
                f"{PREFIX}{name} knows no purpose {purpose!r}, only topic, hub and callback."
                + did_you_mean(str(purpose), _PURPOSES)
            )
        try:
            parsed[purpose] = tuple(ipaddress.ip_network(each) for each in _strings(name, networks))
        except ValueError as error:
            raise ConfigError(f"{PREFIX}{name}: {error}.") from None
    return MappingProxyType(parsed)


def _ports(name: str, value: Any) -> frozenset[int] | None:
    if value == "any":
        return None
    if isinstance(value, int):
        value = (value,)
    if not isinstance(value, Collection) or isinstance(value, (str, bytes, Mapping)):
        _refuse(name, value, "a list of port numbers, or 'any'")
    return frozenset(int(_number(1, 65535)(name, each)) for each in value)


def _rate_limits(name: str, value: Any) -> Mapping[str, int | None]:
    if not isinstance(value, Mapping):
        _refuse(name, value, "a dict such as {'caller': 60}")
    for key, limit in value.items():
        if key not in _RATE_LIMITS:
            raise ConfigError(f"{PREFIX}{name} has no limit {key!r}.{did_you_mean(str(key), _RATE_LIMITS)}")
        _optional(_number(1))(f"{name}[{key!r}]", limit)
    return MappingProxyType({**_RATE_LIMITS, **value})


def _approvers(name: str, value: Any) -> bool | tuple[str | Callable[..., bool], ...]:
    """True or False for all or none, else the names of rules, or callables that take a mention."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) or callable(value):
        value = (value,)
    if not isinstance(value, Collection) or isinstance(value, (bytes, Mapping)):
        _refuse(name, value, "True, False, or a list of 'known_host', 'known_author' and callables")
    one = _choice("known_host", "known_author")
    return tuple(each if callable(each) else one(name, each) for each in value)


def _credentials(name: str, value: Any) -> str | Mapping[str, tuple[str, str]]:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        _refuse_unseen(name, "a dotted path of a function, or a dict {hub_url: (user, password)}")
    pairs = {}
    for hub_url, pair in value.items():
        is_pair = isinstance(pair, Sequence) and len(pair) == 2 and not isinstance(pair, (str, bytes))
        if not is_pair or not all(isinstance(each, str) for each in pair):
            _refuse_unseen(f"{name}[{hub_url!r}]", "a pair (user, password)")
        pairs[_http_url(name, hub_url)] = (pair[0], pair[1])
    return MappingProxyType(pairs)


def _timezone(name: str, value: Any) -> tzinfo:
    text = _text(name, value)
    if text.upper() == "UTC":
        return UTC  # known also where the machine has no database of time zones
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "Europe" is a directory
        _refuse(name, value, "a time zone such as 'Europe/Paris'")


def _keys(name: str, value: Any) -> tuple[str, ...]:
    """Fernet keys, each 32 bytes in URL-safe base64, as str or as the bytes that Fernet makes."""
    if isinstance(value, (str, bytes)):
        value = (value,)
    if not isinstance(value, Sequence) or not all(isinstance(each, (str, bytes)) for each in value):
        _refuse_unseen(name, "a list of Fernet keys")
    if not value:
        return ()
    try:
        from cryptography.fernet import Fernet
    except ImportError:
        raise MissingExtra(PREFIX + name, "crypto") from None
    keys = []
    for position, each in enumerate(value):
        try:
            key = each if isinstance(each, str) else each.decode("ascii")
            Fernet(key)
        except ValueError:  # never the key itself
            _refuse_unseen(f"{name}[{position}]", "a Fernet key: 32 bytes in URL-safe base64")
        keys.append(key)
    return tuple(keys)


_PURPOSES: Final = ("", "topic", "hub", "callback")
_RATE_LIMITS: Final[Mapping[str, int | None]] = MappingProxyType(
    {"caller": 60, "target": 30, "source_host": 20, "source_host_parallel": 2, "fetches": 300}
)


def _setting(default: Any, check: Check, doc: str, *, secret: bool = False) -> Any:
    """A field with its check and the sentence that documents it; a secret one stays out of ``repr``."""
    # a factory, since dataclasses refuse a default that cannot be hashed
    metadata = {"check": check, "default": default, "doc": doc}
    return dataclasses.field(default_factory=lambda: default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class SiteSettings:
    """Who the site is and how the extension runs in it."""

    base_url: str | None = _setting(
        None, _optional(_base_url), "The site's public address. Where unset, it is made from SERVER_NAME."
    )
    hosts: tuple[str, ...] = _setting(
        (), _hosts, "Other host names of this site; their pages are targets too and are not told."
    )
    site_name: str | None = _setting(None, _optional(_text), "The site's name, for directories and feeds.")
    url_prefix: str = _setting("/linkback", _path, "Where the endpoints are mounted.")
    secret_keys: tuple[str, ...] = _setting(
        (), _keys, "Fernet keys for secrets at rest; the first encrypts, all decrypt.", secret=True
    )
    require_secret_keys: bool = _setting(
        False, _boolean, "Refuse to start without SECRET_KEYS instead of storing secrets plainly."
    )


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """What may be fetched, from where, for how long."""

    allow_networks: Mapping[str, tuple[IPNetwork, ...]] = _setting(
        MappingProxyType({}),
        _networks,
        "Networks that may be reached although not public; by purpose as a dict.",
    )
    allow_ports: frozenset[int] | None = _setting(
        frozenset((80, 443, 8000, 8008, 8080, 8443)), _ports, "Ports that may be reached, or 'any'."
    )
    egress_proxy: str | None = _setting(
        None, _optional(_proxy_url), "A filtering HTTP proxy that all requests go through.", secret=True
    )
    ca_bundle: str | None = _setting(
        None, _optional(_text), "A file of CA certificates to trust instead of the system's."
    )
    connect_timeout: float = _setting(5, _number(0.01, whole=False), "Seconds to connect.")
    read_timeout: float = _setting(10, _number(0.01, whole=False), "Seconds between two reads.")
    fetch_timeout: float = _setting(
        15, _number(0.01, whole=False), "Seconds for one fetch, redirects and body included."
    )
    delivery_timeout: float = _setting(
        10, _number(0.01, whole=False), "Seconds for one request that we send, answer included."
    )
    max_redirects: int = _setting(5, _number(0, 20), "Redirects followed by a GET or HEAD.")
    max_body_bytes: int = _setting(2 << 20, _number(1024), "Bytes of an answer, on the wire and decoded.")
    max_html_bytes: int = _setting(1 << 20, _number(1024), "Bytes of an HTML page that are looked at.")


@dataclass(frozen=True, kw_only=True)
class OutboxSettings:
    """Who does the owed work, when and how long it is kept."""

    runner: str = _setting(
        "thread",
        _choice("thread", "external", "celery", "inline", "off"),
        "Who works the jobs off: thread, external, inline or off; celery is planned.",
    )
    worker_threads: int = _setting(
        8, _number(1, 512), "Threads of one worker that send; who waits for a slow answer does not count."
    )
    retry_schedule: tuple[float, ...] = _setting(
        (0, 5, 300, 1800, 7200, 18000, 36000, 36000),
        _numbers(0),
        "Seconds before each attempt, after the one before; their number is the number of attempts.",
    )
    retention_days: int = _setting(30, _number(1), "Days that bodies are kept.")
    row_retention_days: int = _setting(90, _number(1), "Days that finished rows are kept.")


@dataclass(frozen=True, kw_only=True)
class LinkbackSettings:
    """Pingback, webmention, trackback and directories."""

    pingback_aliases: tuple[str, ...] = _setting(
        (), _paths, "Further paths of the XML-RPC endpoint, such as '/xmlrpc/'."
    )
    protocols: tuple[str, ...] = _setting(
        ("pingback", "webmention"),
        _choices("pingback", "webmention", "trackback"),
        "What is received: pingback, webmention, trackback.",
    )
    pingback_verify: str = _setting(
        "queued",
        _choice("queued", "at_once"),
        "When to verify: queued is later, at_once is in the request, with exact faults.",
    )
    accept: bool = _setting(True, _boolean, "False closes the whole site for linkbacks.")
    close_after_days: int | None = _setting(
        None, _optional(_number(1)), "Days after which a target with a date is closed."
    )
    auto_approve: bool | tuple[str | Callable[..., bool], ...] = _setting(
        ("known_host", "known_author"),
        _approvers,
        "What needs no moderator: known_host, known_author, callables; or True, all of it.",
    )
    show_unapproved: bool = _setting(False, _boolean, "Show mentions that wait for a moderator.")
    excerpt_length: int = _setting(200, _number(1, 10_000), "Characters round the link.")
    source_interval_seconds: float = _setting(
        300, _number(0, whole=False), "A source is fetched at most once in this time; 0 = no limit."
    )
    rate_limits: Mapping[str, int | None] = _setting(
        _RATE_LIMITS, _rate_limits, "Calls and fetches a minute; given keys replace, None = no limit."
    )
    reverify_days: int | None = _setting(
        30, _optional(_number(1)), "Days after which a shown mention is looked at again."
    )
    mention_feeds: bool = _setting(
        False, _boolean, "Serve the mentions of a page as JF2, as webmention.io does, and as Atom."
    )
    directories: tuple[str, ...] = _setting((), _http_urls, "XML-RPC URLs of weblog directories.")
    directory_interval_seconds: float = _setting(
        300,
        _number(0, whole=False),
        "A feed is announced, and a weblog that tells us taken, at most once in this time.",
    )
    directory_server: bool = _setting(
        False, _boolean, "Be a weblog directory ourselves, with ``changes.xml``."
    )
    vouch: bool = _setting(
        False,
        _boolean,
        "Ask strangers who send webmentions for a page that vouches for them; send such, too.",
    )
    avatar_cache: bool = _setting(
        False, _boolean, "Fetch the pictures of authors whose mentions are shown, and show them from here."
    )


@dataclass(frozen=True, kw_only=True)
class WebSubSettings:
    """Publishing to hubs, subscribing at hubs, being a hub."""

    hubs: tuple[str, ...] = _setting((), _http_urls, "Hubs that are told of new content.")
    hub_credentials: str | Mapping[str, tuple[str, str]] | None = _setting(
        None,
        _optional(_credentials),
        "Who we are at a hub: a dotted path or {hub_url: (user, password)}.",
        secret=True,
    )
    websub_secrets: str = _setting(
        "https",
        _choice("https", "always", "never"),
        "For which hubs a subscription has a secret: https, always or never.",
    )
    websub_bad_signature_status: int = _setting(
        403, _number(200, 499), "The answer to content with a missing or wrong signature."
    )
    websub_min_algorithm: str = _setting(
        "sha1",
        _choice("sha1", "sha256", "sha384", "sha512"),
        "The weakest signature that we accept: sha1, sha256, sha384 or sha512.",
    )
    lease_seconds: int = _setting(864000, _number(1), "The lease that we ask a hub for.")
    max_lease_seconds: int = _setting(1209600, _number(1), "The longest lease that we believe a hub.")
    hub_enabled: bool = _setting(False, _boolean, "Be a hub ourselves, at URL_PREFIX/hub.")
    hub_topics: str = _setting("own", _choice("own", "any"), "Topics that our hub serves: own or any.")
    hub_lease_seconds: tuple[int, int, int] = _setting(
        (3600, 864000, 2592000), _lease_limits, "Least, default and longest lease that our hub gives."
    )
    hub_algorithm: str = _setting(
        "sha256",
        _choice("sha1", "sha256", "sha384", "sha512"),
        "How our hub signs content: sha1, sha256, sha384 or sha512.",
    )


@dataclass(frozen=True, kw_only=True)
class FeedSettings:
    """Defaults of feeds."""

    language: str = _setting("en-us", _text, "The language of feeds, where Flask-Babel gives none.")
    timezone: tzinfo = _setting(UTC, _timezone, "What dates without a time zone mean.")


@dataclass(frozen=True, kw_only=True)
class AdminSettings:
    """The admin."""

    admin_url_prefix: str = _setting("/linkback/admin", _path, "Where the admin is mounted.")


_PARTS: Final[Mapping[str, type[Any]]] = {
    "site": SiteSettings,
    "fetch": FetchSettings,
    "outbox": OutboxSettings,
    "linkbacks": LinkbackSettings,
    "websub": WebSubSettings,
    "feeds": FeedSettings,
    "admin": AdminSettings,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one application, a part for each room of the extension."""

    site: SiteSettings = SiteSettings()
    fetch: FetchSettings = FetchSettings()
    outbox: OutboxSettings = OutboxSettings()
    linkbacks: LinkbackSettings = LinkbackSettings()
    websub: WebSubSettings = WebSubSettings()
    feeds: FeedSettings = FeedSettings()
    admin: AdminSettings = AdminSettings()
    server_name: str | None = None
    """Flask's own SERVER_NAME: where it is set, subdomains are those of it."""
    free_forms: bool = False
    """Whether forms go without a token: in tests of the application's, with Flask-WTF's own switch."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read and check the ``LINKBACK_`` keys of an application's configuration.

        An unknown key and a value of the wrong kind raise `ConfigError`, the first with the name
        of the nearest known key.
        """
        known = {field.name.upper(): (part, field) for part, field in setting_fields()}
        values: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        for key, value in config.items():
            if not key.startswith(PREFIX):
                continue
            name = key.removeprefix(PREFIX)
            if name not in known:
                raise ConfigError(f"There is no setting {key}.{did_you_mean(name, known, prefix=PREFIX)}")
            part, field = known[name]
            values[part][field.name] = field.metadata["check"](name, value)
        if values["site"].get("base_url") is None:
            values["site"]["base_url"] = _base_url_of_flask(config)
        parts: dict[str, Any] = {part: kind(**values[part]) for part, kind in _PARTS.items()}
        settings = cls(
            **parts,
            server_name=config.get("SERVER_NAME") or None,
            free_forms=bool(config.get("TESTING")) and config.get("WTF_CSRF_ENABLED") is False,
        )
        if settings.site.require_secret_keys and not settings.site.secret_keys:
            raise ConfigError("LINKBACK_REQUIRE_SECRET_KEYS is set, but LINKBACK_SECRET_KEYS is empty.")
        return settings

    @property
    def base_url(self) -> str:
        """The site's public address without a slash at its end; raises `BaseURLMissing`."""
        if self.site.base_url is None:
            raise BaseURLMissing
        return self.site.base_url


def _base_url_of_flask(config: Mapping[str, Any]) -> str | None:
    """The address that SERVER_NAME, PREFERRED_URL_SCHEME and APPLICATION_ROOT make up."""
    server_name = config.get("SERVER_NAME")
    if not server_name:
        return None
    scheme = config.get("PREFERRED_URL_SCHEME") or "http"
    root = (config.get("APPLICATION_ROOT") or "").strip("/")
    try:
        return _base_url("BASE_URL", f"{scheme}://{server_name}/{root}")
    except ConfigError as error:
        raise ConfigError(f"{error} It was made from SERVER_NAME {server_name!r}.") from None


def setting_fields() -> list[tuple[str, dataclasses.Field[Any]]]:
    """Return every setting as (name of its part, dataclass field), in the order of the parts."""
    return [(part, field) for part, kind in _PARTS.items() for field in dataclasses.fields(kind)]
