"""Doctor: is everything in place for linkbacks to work here?"""

from __future__ import annotations

import contextlib
import contextvars
import enum
import functools
import importlib.util
import ipaddress
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.routing import BuildError, Rule
from werkzeug.test import TestResponse

from ..blueprints import pingback
from ..errors import AddressRefused, ConfigError, FetchError, MissingExtra
from ..fetch import Response, public_address
from ..linkbacks.advertising import TRACKBACK, WEBMENTION
from ..linkbacks.blocks import without_effect
from ..linkbacks.receiving import Refusal, Refused, locate
from ..linkbacks.spam import SpamChecks, name_of
from ..linkbacks.targets import Targets
from ..models import Base, Block, Job, JobState, Mention, SecretText
from ..outbox.health import SEEN_SECONDS, health
from ..outbox.worker import Runner
from ..protocols import link_header, xmlrpc
from ..protocols.websub import Offer
from ..site import Site, current_site
from ..websub.discovering import look_at
from ..websub.publisher import what_says
from .output import Output, cause_of, command, counted, local_time
from .tables import Lacking, address_of, lacking

__all__ = ["CHECKS", "Case", "Finding", "Mark", "check", "doctor", "is_ours"]


# --- what a check says -------------------------------------------------------------------------------


class Mark(enum.Enum):
    """How serious a finding is."""

    ok = "✓"
    """As it should be."""
    note = "·"
    """Neither good nor bad."""
    warning = "!"
    """Works, but somebody should know."""
    failure = "✗"
    """Something does not work, or is not safe."""


_COLOURS: Final = {Mark.ok: "green", Mark.note: None, Mark.warning: "yellow", Mark.failure: "red"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found: how serious, what, and what to do about it."""

    mark: Mark
    what: str
    advice: str = ""


def _ok(what: str) -> Finding:
    return Finding(mark=Mark.ok, what=what)


def _warning(what: str, advice: str) -> Finding:
    return Finding(mark=Mark.warning, what=what, advice=advice)


def _failure(what: str, advice: str) -> Finding:
    return Finding(mark=Mark.failure, what=what, advice=advice)


@dataclass(frozen=True, kw_only=True)
class Case:
    """The site that is looked at; ``url`` is the page or topic to try, if one was named."""

    site: Site
    url: str | None = None

    @functools.cached_property
    def health(self) -> dict[str, Any]:
        return health(self.site)

    @functools.cached_property
    def page(self) -> str | None:
        """The URL as that of a page which should accept linkbacks; None for that of a topic."""
        if self.url is None or not is_ours(self.site, self.url):
            return None
        return None if self._is_published and not self._is_target else self.url

    @functools.cached_property
    def topic(self) -> str | None:
        """The URL as that of a topic; None for a page of ours that is none, and only accepts linkbacks."""
        if self.url is None or not is_ours(self.site, self.url):
            return self.url
        is_page = self.site.match(self.url) is not None
        return self.url if is_page and (self._is_published or not self._is_target) else None

    @functools.cached_property
    def seen(self) -> tuple[Response, Offer] | FetchError:
        """What a subscriber sees at the URL, or why nothing."""
        try:
            return look_at(self.site, self.url or "")
        except FetchError as error:
            return error

    @property
    def _is_target(self) -> bool:
        route = self.site.match(self.url or "")
        return route is not None and route.endpoint in self.site.get(Targets).by_endpoint(self.site)

    @property
    def _is_published(self) -> bool:
        route = self.site.match(self.url or "")
        return route is not None and what_says(self.site.app.view_functions.get(route.endpoint)) is not None

    def ask(self, method: str, url: str, **options: Any) -> TestResponse:
        """Ask the application, in this process, for a URL of ours; raises what the application raises.

        It is asked as by a stranger: not in the context of the command, and not to be remembered.
        """
        parts, base = urlsplit(url), urlsplit(self.site.base_url)
        path = parts.path.removeprefix(base.path) or "/"
        options |= {"base_url": f"{parts.scheme}://{parts.netloc}{base.path}", "query_string": parts.query}

        def ask() -> TestResponse:
            with self.site.app.test_client(use_cookies=False) as client:
                return client.open(path, method=method, **options)

        with _nothing_is_kept(self.site), self.site.get(Runner).taken():
            return contextvars.Context().run(ask)


def is_ours(site: Site, url: str) -> bool:
    """Is this a URL of the site? Another port of the same machine is another site."""
    return site.settings.site.base_url is not None and site.is_own(url) and not site.is_told(url)


@contextlib.contextmanager
def _nothing_is_kept(site: Site) -> Iterator[None]:
    """Roll back what this thread commits: a page may count its visitors."""
    me = threading.get_ident()

    def undo(connection: sa.Connection) -> None:
        if threading.get_ident() == me:
            connection.connection.rollback()

    engines = list(site.db.engines.values())
    for engine in engines:
        sa.event.listen(engine, "commit", undo)
    try:
        yield
    finally:
        for engine in engines:
            sa.event.remove(engine, "commit", undo)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One look at a site."""

    name: str
    look: Callable[[Case], Finding | Iterable[Finding]]
    needs_tables: bool
    needs_url: bool

    def run(self, case: Case) -> list[Finding]:
        """Look; what can be expected to go wrong is a finding too."""
        findings: list[Finding] = []
        try:
            found = self.look(case)
            findings.extend([found] if isinstance(found, Finding) else found)
        except SQLAlchemyError as error:
            what = f"The database refuses: {cause_of(error)}."
            findings.append(_failure(what, "Is it the right one, and is it up?"))
        except ConfigError as error:
            findings.append(_failure(str(error), "Put the configuration right."))
        except BuildError as error:
            what = f"The URL of {error.endpoint!r} cannot be built."
            findings.append(_failure(what, "Mount the blueprint where a URL without arguments leads."))
        return findings


CHECKS: Final[list[Check]] = []
"""All checks in the order in which they run; `check` adds one."""
Look = TypeVar("Look", bound=Callable[[Case], Finding | Iterable[Finding]])


def check(name: str, *, needs_tables: bool = False, needs_url: bool = False) -> Callable[[Look], Look]:
    """Add a function to the checks. One that needs tables, or a URL, is left out where there are none."""

    def decorate(look: Look) -> Look:
        CHECKS.append(Check(name=name, look=look, needs_tables=needs_tables, needs_url=needs_url))
        return look

    return decorate


@command("doctor")
@click.argument("url", required=False)
def doctor(out: Output, url: str | None) -> None:
    """Look whether everything is in place for linkbacks, feeds and hubs to work.

    URL is a page of ours that accepts linkbacks, to be tried in this process, or a topic, ours or another
    site's: then you are told what a subscriber sees there, and whether hubs reach our callbacks.
    """
    site = current_site()
    case = Case(site=site, url=None if url is None else site.absolute(url))
    has_tables = True
    findings: list[tuple[Check, Finding]] = []
    left_out: list[str] = []
    for each in CHECKS:
        if each.needs_url and url is None:
            continue
        if each.needs_tables and not has_tables:
            left_out.append(each.name)
            continue
        found = each.run(case)
        findings += [(each, finding) for finding in found]
        if each.look is tables:
            has_tables = all(finding.mark is Mark.ok for finding in found)
        for finding in found:
            out.say(f"{finding.mark.value} {finding.what}", fg=_COLOURS[finding.mark])
            if finding.advice:
                out.say(f"  {finding.advice}")
    if left_out:
        out.say(f"Not checked without the tables: {', '.join(left_out)}.")
    sick = any(finding.mark is Mark.failure for _, finding in findings)
    out.finish(
        {
            "ok": not sick,
            "findings": [
                {
                    "check": each.name,
                    "mark": finding.mark.name,
                    "what": finding.what,
                    "advice": finding.advice,
                }
                for each, finding in findings
            ],
            "left_out": left_out,
        },
        failed=sick,
    )


# --- the site ----------------------------------------------------------------------------------------


@check("base_url")
def base_url(case: Case) -> Finding:
    """Is there a public address, and do the endpoints' URLs build with it?"""
    site = case.site
    base = site.settings.site.base_url
    if base is None:
        return _failure(
            "LINKBACK_BASE_URL is not set: nothing can be sent, and no page says where its server is.",
            "Set it, or SERVER_NAME, to the site's public address, such as 'https://example.com'.",
        )
    if _is_mounted(site):
        pingback.server_url(site)
    if not _is_public(urlsplit(base).hostname or ""):
        return _warning(
            f"LINKBACK_BASE_URL is {base}: only this network can reach it.",
            "Fine for trying things out. On the net, set the site's public address.",
        )
    return _ok(f"LINKBACK_BASE_URL is {base}.")


def _is_public(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return public_address(str(ipaddress.ip_address(host)))
    return "." in host and not host.endswith((".localhost", ".local", ".internal", ".test"))


@check("targets")
def targets(case: Case) -> Finding:
    """Do the pages that accept linkbacks exist?"""
    found = case.site.get(Targets).by_endpoint(case.site)  # ConfigError: an endpoint that is not there
    if not found:
        return _warning(
            "No page accepts linkbacks.",
            "Register a loader: @linkback.target('blog.post'), for its endpoint.",
        )
    return _ok(f"Linkbacks are accepted by the pages of {', '.join(sorted(found))}.")


# --- the database ------------------------------------------------------------------------------------


@check("tables")
def tables(case: Case) -> Finding:
    """Has the database what the models describe?"""
    engine = case.site.engine
    try:
        missing: Lacking = lacking(engine)
    except SQLAlchemyError as error:
        return _failure(
            f"The database {address_of(engine)} cannot be reached: {cause_of(error)}.",
            "Is SQLALCHEMY_DATABASE_URI right, and is the server up?",
        )
    if missing:
        return _failure(f"The database lacks {missing}.", missing.advice)
    return _ok("The tables are there, with all their columns.")


_FULL: Final = 2
_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")
_WAL_IS_SAFE_FROM: Final = (3, 51, 3)


@check("durability", needs_tables=True)
def durability(case: Case) -> Finding:
    """Does a commit survive? Told for SQLite, where the application chooses."""
    engine = case.site.engine
    if engine.dialect.name != "sqlite":
        return _ok(f"The database is {engine.dialect.name}.")
    with engine.connect() as connection:
        journal = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar()).lower()
        synchronous = int(connection.exec_driver_sql("PRAGMA synchronous").scalar() or 0)
        version = str(connection.exec_driver_sql("SELECT sqlite_version()").scalar())
    what = f"SQLite {version}, journal_mode {journal}, synchronous {_SYNCHRONOUS[synchronous]}."
    advice = []
    if journal == "memory" and not urlsplit(str(engine.url)).path.strip("/"):
        advice.append("The database is in memory: nothing survives the process.")
    elif journal in ("memory", "off"):
        advice.append("A crash may destroy the file: use journal_mode DELETE.")
    if journal == "wal" and tuple(map(int, version.split("."))) < _WAL_IS_SAFE_FROM:
        advice.append("Before 3.51.3 a bug in WAL may damage the file: update SQLite, or use DELETE.")
    if synchronous < _FULL:
        advice.append("Commits may be lost when the power fails: PRAGMA synchronous = FULL keeps them.")
    return _warning(what, " ".join(advice)) if advice else _ok(what)


@check("secrets", needs_tables=True)
def secrets(case: Case) -> Finding:
    """Are stored secrets encrypted, and do the keys open them?"""
    settings = case.site.settings.site
    plain, encrypted = _count_secrets(case.site)
    create = (
        "Put a key of cryptography.fernet.Fernet.generate_key() into LINKBACK_SECRET_KEYS: "
        "pip install 'flask-linkback[crypto]'."
    )
    if not settings.secret_keys:
        if encrypted:
            return _failure(
                f"{counted(encrypted, 'secret')} stored encrypted, but LINKBACK_SECRET_KEYS is empty.",
                "Put back the keys that they were stored with.",
            )
        if plain or settings.require_secret_keys:
            return _failure(
                f"LINKBACK_SECRET_KEYS is empty: {counted(plain, 'secret')} stored plainly.", create
            )
        return _warning("LINKBACK_SECRET_KEYS is empty: secrets would be stored plainly.", create)
    closed = _closed_secrets(case.site)
    if closed:
        return _failure(
            f"LINKBACK_SECRET_KEYS does not open what is stored in {', '.join(closed)}.",
            "Put back the keys that it was stored with, behind the newest one.",
        )
    if plain:
        return _warning(
            f"{counted(plain, 'secret')} stored plainly, from before LINKBACK_SECRET_KEYS was set.",
            "Store them anew: what is written from now on is encrypted.",
        )
    return _ok(f"LINKBACK_SECRET_KEYS is set, {counted(encrypted, 'secret')} stored encrypted.")


_SECRETS: Final = tuple(
    column
    for table in Base.metadata.sorted_tables
    for column in table.columns
    if isinstance(column.type, SecretText)
)
_SECRETS_TRIED: Final = 100


def _count_secrets(site: Site) -> tuple[int, int]:
    """Return how many secrets are stored plainly, and how many encrypted."""
    plain = total = 0
    with site.engine.connect() as connection:
        for column in _SECRETS:
            text = sa.type_coerce(column, sa.Text())  # as it is stored
            total += connection.scalar(sa.select(sa.func.count(text))) or 0
            begins_so = text.like("plain:%")
            plain += connection.scalar(sa.select(sa.func.count(text)).where(begins_so)) or 0
    return plain, total - plain


def _closed_secrets(site: Site) -> list[str]:
    """Return the tables with secrets, of the newest ones, that no key opens."""
    closed = []
    with site.engine.connect() as connection:
        for column in _SECRETS:
            newest = sa.select(column).where(column.is_not(None)).order_by(column.table.c.id.desc())
            try:
                for secret in connection.scalars(newest.limit(_SECRETS_TRIED)):
                    len(secret)  # headers are opened by whoever looks
            except ConfigError:
                closed.append(column.table.name)
    return closed


# --- the outbox --------------------------------------------------------------------------------------

_LATE_SECONDS: Final = 60
_TOO_LATE_SECONDS: Final = 15 * 60


@check("worker", needs_tables=True)
def worker(case: Case) -> Finding:
    """Does somebody work the jobs off?"""
    runner = case.site.settings.outbox.runner
    seen = case.health["workers"]
    if seen:
        newest = min(each["seen_seconds_ago"] for each in seen)
        return _ok(f"{counted(len(seen), 'worker')} at work, seen {newest:.0f} s ago (RUNNER is {runner!r}).")
    match runner:
        case "inline":
            return _ok("Jobs are done by the thread that commits them (RUNNER is 'inline').")
        case "off":
            return _warning(
                "Nobody does the jobs (RUNNER is 'off').",
                "Run 'flask linkback worker', or set LINKBACK_RUNNER to 'thread'.",
            )
        case "thread":
            return _warning(
                f"No worker was seen for {SEEN_SECONDS} s.",
                "With RUNNER 'thread' it starts with the first request or commit of a web process.",
            )
    return _failure(
        f"No worker was seen for {SEEN_SECONDS} s: nothing is sent or verified (RUNNER is {runner!r}).",
        "Start 'flask linkback worker', and let systemd or the like keep it running.",
    )


@check("due", needs_tables=True)
def due(case: Case) -> Finding:
    """Is owed work done in time?"""
    seconds = case.health["oldest_due_seconds"]
    if seconds is None:
        return _ok("No job is due.")
    what = f"The oldest due job waits for {seconds:.0f} s."
    if seconds > _TOO_LATE_SECONDS:
        return _failure(what, "No worker runs, or it cannot keep up: see the worker's log.")
    if seconds > _LATE_SECONDS:
        return _warning(what, "The worker may be busy, or gone: look again in a minute.")
    return _ok(what)


@check("failed", needs_tables=True)
def failed(case: Case) -> Finding:
    """Do jobs wait since an attempt failed?"""
    again = sa.and_(Job.state == JobState.pending, Job.attempts > 0)
    number = sa.func.count()
    with case.site.new_session() as session:
        reasons = session.execute(
            sa.select(Job.kind, Job.reason, number, sa.func.min(Job.due_at))
            .where(again)
            .group_by(Job.kind, Job.reason)
            .order_by(number.desc(), Job.kind, Job.reason)
        ).all()
    if not reasons:
        return _ok("No job waits after a failed attempt.")
    kind, reason, common, _ = reasons[0]
    waiting = sum(row[2] for row in reasons)
    return _warning(
        f"{counted(waiting, 'job')} to be tried again after a failure, {common} of them {kind}: {reason}",
        f"The next one is due at {local_time(min(row[3] for row in reasons))}. Where one reason is most of "
        "them, look whether its cause is here.",
    )


@check("dead", needs_tables=True)
def dead(case: Case) -> Finding:
    """Was anything given up?"""
    with case.site.new_session() as session:
        given_up = session.execute(
            sa.select(Job.id, Job.kind, Job.reason)
            .where(Job.state == JobState.dead)
            .order_by(Job.id.desc())
            .limit(1)
        ).first()
    if given_up is None:
        return _ok("No job was given up.")
    return _warning(
        f"{counted(case.health['jobs']['dead'], 'job')} given up, "
        f"the newest is {given_up.id}, {given_up.kind}: {given_up.reason}",
        "When the cause is gone, linkback.replay(id) and a commit try one again.",
    )


@check("handlers", needs_tables=True)
def handlers(case: Case) -> Finding:
    """Can every job that waits be done by this application?"""
    unfinished = (JobState.pending, JobState.running)
    with case.site.new_session() as session:
        kinds = session.scalars(sa.select(Job.kind).where(Job.state.in_(unfinished)).distinct()).all()
    strange = sorted(set(kinds) - set(case.site.handlers))
    if strange:
        return _failure(
            f"Jobs wait that nobody here can do: {', '.join(strange)}.",
            "Another version wrote them, or an application with more extensions: run the worker of that.",
        )
    return _ok("Every job that waits has a handler.")


# --- the way in --------------------------------------------------------------------------------------


@check("csrf")
def csrf(case: Case) -> Finding:
    """Do the pingback endpoint and its aliases answer a stranger's POST?"""
    site = case.site
    if "pingback" not in site.settings.linkbacks.protocols:
        return _ok("Pingbacks are not received (LINKBACK_PROTOCOLS).")
    if not _is_mounted(site):
        return _warning(
            "The pingback endpoint is not mounted.", "app.register_blueprint(linkback.blueprints['pingback'])"
        )
    if site.settings.site.base_url is None:
        return _warning("Not tried: it takes a public address.", "Set LINKBACK_BASE_URL.")
    asked = list(_endpoint_urls(site))
    for url in asked:
        trouble = _trouble_with_post(case, url)
        if trouble is not None:
            return trouble
    return _ok(f"An XML-RPC call is answered at {', '.join(asked)}.")


def _is_mounted(site: Site) -> bool:
    return pingback.ENDPOINT in site.app.view_functions


def _endpoint_urls(site: Site) -> Iterator[str]:
    """The endpoint's own URL, then those of its aliases."""
    rules = [rule for rule in site.app.url_map.iter_rules(pingback.ENDPOINT) if not rule.arguments]
    urls = [pingback.server_url(site), *(_url_of(site, rule) for rule in rules)]
    urls += [site.base_url + alias for alias in site.settings.linkbacks.pingback_aliases]
    return iter(dict.fromkeys(urls))


def _url_of(site: Site, rule: Rule) -> str:
    base = urlsplit(site.base_url)
    host = base.netloc
    if rule.host:
        host = rule.host
    elif rule.subdomain:
        host = f"{rule.subdomain}.{host}"
    return f"{base.scheme}://{host}{base.path}{rule.rule}"


def _trouble_with_post(case: Case, url: str) -> Finding | None:
    call = xmlrpc.dump_call("system.listMethods", [])
    try:
        response = case.ask("POST", url, data=call, content_type="text/xml")
    except Exception as error:  # in debug mode whatever the application raises comes through
        return _failure(
            f"A POST to {url} raises {type(error).__name__}: {error}", "Put the application right."
        )
    if response.status_code == 200:
        with contextlib.suppress(xmlrpc.Fault, xmlrpc.Malformed):
            methods = xmlrpc.parse_response(response.data)
            if isinstance(methods, list) and "pingback.ping" in methods:
                return None
        return _failure(
            f"A POST to {url} answers 200, but not with XML-RPC.",
            "Something of the application answers instead of the endpoint: let it leave this path alone.",
        )
    if response.status_code == 404:
        advice = "Mount the blueprint linkback.blueprints['pingback'] there, or take the alias away."
    elif response.status_code in (400, 403) and "csrf" in case.site.app.extensions:
        advice = (
            "A CSRF check stops it. Flask-WTF is told of the exemption: do not call csrf.protect() by hand."
        )
    else:
        advice = "Something of the application stops it, a before_request say: let it leave this path alone."
    return _failure(f"A POST to {url} answers {response.status_code}.", advice)


@check("advertised")
def advertised(case: Case) -> Finding:
    """Do pages that accept linkbacks say where the pingback server is?"""
    site = case.site
    settings = site.settings.linkbacks
    if not settings.accept or "pingback" not in settings.protocols:
        return _ok("Pages say nothing of a pingback server: none is received (ACCEPT, PROTOCOLS).")
    if site.settings.site.base_url is None or not _is_mounted(site):
        return _failure(
            "No page says where its pingback server is.", "Set LINKBACK_BASE_URL, and mount the blueprint."
        )
    if case.page is not None:
        route = site.match(case.page)
        if route is None:
            return _failure(f"{case.page} is no page of this site.", "Pass the URL of one.")
        if route.endpoint not in site.get(Targets).by_endpoint(site):
            return _failure(
                f"{case.page} accepts no linkbacks.",
                f"Register a loader: @linkback.target({route.endpoint!r}).",
            )
    return _first_page(case, [case.page] if case.page is not None else list(_pages(site)))


def _first_page(case: Case, pages: Sequence[str]) -> Finding:
    """Judge the first page that is there."""
    answers = []
    for page in pages:
        try:
            got, head = case.ask("GET", page), case.ask("HEAD", page)
        except Exception as error:  # in debug mode whatever the application raises comes through
            answers.append(f"{page} raises {type(error).__name__}")
            continue
        if got.status_code != 200:
            answers.append(f"{page} answers {got.status_code}")
            continue
        trouble = _loaded(case, page)  # what takes none need not say where
        if trouble is not None:
            return trouble
        server = pingback.server_url(case.site)
        for method, answer in (("GET", got), ("HEAD", head)):
            if answer.headers.get("X-Pingback") != server:
                return _failure(
                    f"{method} {page} has no X-Pingback header with {server}.",
                    "Something of the application takes it away, an after_request or a cache say.",
                )
        return _ok(f"{page} says that the pingback server is at {server}.")
    if answers:
        return _warning(
            f"No page to try: {'; '.join(answers)}.", "Pass one that is there: flask linkback doctor URL"
        )
    return _warning("No page to try.", "Pass one: flask linkback doctor URL")


def _loaded(case: Case, page: str) -> Finding | None:
    """What is wrong with a page as a target; None when it would take a pingback."""
    try:
        locate(case.site, page)
    except Refused as refused:
        match refused.refusal:
            case Refusal.target_closed:
                return _warning(f"{page} is closed.", "That is well if you mean it: see accepts= and date=.")
            case Refusal.application:
                return _failure(f"The loader of {page} raises.", "The log has the traceback.")
            case _:
                return _failure(
                    f"{page} is there, but its loader finds nothing.", "Let it return what the page is about."
                )
    return None


@check("webmention")
def webmentions(case: Case) -> Finding:
    """Does the webmention endpoint answer a stranger's POST, and do pages say where it is?"""
    if "webmention" not in case.site.settings.linkbacks.protocols:
        return _ok("Webmentions are not received (LINKBACK_PROTOCOLS).")
    if WEBMENTION not in case.site.app.view_functions:
        return _warning(
            "The webmention endpoint is not mounted.",
            "app.register_blueprint(linkback.blueprints['webmention'])",
        )
    if case.site.settings.site.base_url is None:
        return _warning("Not tried: it takes a public address.", "Set LINKBACK_BASE_URL.")
    url = case.site.url_for(WEBMENTION)
    # a form without fields: only the endpoint itself says so in these words
    trouble = _trouble_with_form(case, url, 400, b"The source is missing.")
    return trouble or _says_where(case, url)


@check("trackback")
def trackbacks(case: Case) -> Finding:
    """Does the trackback endpoint answer a stranger's POST?"""
    if "trackback" not in case.site.settings.linkbacks.protocols:
        return _ok("Trackbacks are not received (LINKBACK_PROTOCOLS).")
    if TRACKBACK not in case.site.app.view_functions:
        return _warning(
            "The trackback endpoint is not mounted.",
            "app.register_blueprint(linkback.blueprints['trackback'])",
        )
    if case.site.settings.site.base_url is None:
        return _warning("Not tried: it takes a public address.", "Set LINKBACK_BASE_URL.")
    url = case.site.url_for(TRACKBACK)
    return _trouble_with_form(case, url, 200, b"<error>1</error>") or _ok(
        f"A trackback is answered at {url}."
    )


def _trouble_with_form(case: Case, url: str, status: int, words: bytes) -> Finding | None:
    try:
        response = case.ask("POST", url, data={})
    except Exception as error:  # in debug mode whatever the application raises comes through
        return _failure(
            f"A POST to {url} raises {type(error).__name__}: {error}", "Put the application right."
        )
    if response.status_code == status and words in response.data:
        return None
    return _failure(
        f"A form without fields, sent to {url}, is answered {response.status_code} by something else.",
        "Something of the application stops it, a before_request or a CSRF check say: let it leave this "
        "path alone.",
    )


def _says_where(case: Case, url: str) -> Finding:
    """Judge the first page that is there and takes linkbacks."""
    for page in [case.page] if case.page is not None else _pages(case.site):
        with contextlib.suppress(Exception):  # which another check tells of
            answer = case.ask("GET", page)
            if answer.status_code != 200 or _loaded(case, page) is not None:
                continue
            links = link_header.parse(answer.headers.getlist("Link"))
            if not any(link.url == url and "webmention" in link.rels for link in links):
                return _failure(
                    f"GET {page} has no Link header with {url}.",
                    "Something of the application takes it away, an after_request or a cache say.",
                )
            return _ok(f"A webmention is answered at {url}, and {page} says so.")
    return _ok(f"A webmention is answered at {url}.")


_PAGES_TRIED: Final = 5


def _pages(site: Site) -> Iterator[str]:
    """Pages that should accept linkbacks: where mentions point to, and those without arguments."""
    endpoints = site.get(Targets).by_endpoint(site)
    with contextlib.suppress(SQLAlchemyError), site.new_session() as session:
        newest = sa.select(Mention.target).order_by(Mention.id.desc()).limit(_PAGES_TRIED)
        for target in session.scalars(newest).all():
            route = site.match(target)
            if route is not None and route.endpoint in endpoints:
                with contextlib.suppress(BuildError):
                    yield site.url_for(route.endpoint, **route.args)
    for endpoint in endpoints:
        with contextlib.suppress(BuildError):
            yield site.url_for(endpoint)


# --- moderation --------------------------------------------------------------------------------------


@check("blocks", needs_tables=True)
def blocks(case: Case) -> Finding:
    """Do the block lists keep out whom they name?"""
    idle = without_effect(case.site)
    if idle:
        what = f"{counted(len(idle), 'blocked pattern')} without effect: {idle[0]}"
        missing = isinstance(idle[0], MissingExtra)
        advice = (
            "Install it, or remove the patterns." if missing else "Take it off, and add it as RE2 takes it."
        )
        return _failure(what, advice)
    lists, expired = _count_blocks(case.site)
    if expired:
        names = ", ".join(f"{name} ({number})" for name, number in expired.items())
        return _warning(
            f"Blocks have expired and keep nobody out: {names}.",
            "Import the list anew, or take them off: flask linkback block remove --list NAME --all",
        )
    if not lists:
        return _ok("Nothing is blocked.")
    number = sum(lists.values())
    return _ok(f"{counted(number, 'block')} on {counted(len(lists), 'list')}: {', '.join(lists)}.")


def _count_blocks(site: Site) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many blocks each list holds, and how many of them have expired."""
    counts = sa.select(Block.list_name, sa.func.count()).group_by(Block.list_name).order_by(Block.list_name)
    with site.new_session() as session:
        lists = {row[0]: row[1] for row in session.execute(counts)}
        expired = session.execute(counts.where(Block.expires_at <= site.now()))
        return lists, {row[0]: row[1] for row in expired}


@check("spam")
def spam(case: Case) -> Finding:
    """Does somebody look at what is shown?"""
    checks = case.site.get(SpamChecks).checks
    if checks:
        return _ok(f"Spam is looked for by {', '.join(name_of(each) for each in checks)}.")
    if case.site.settings.linkbacks.auto_approve is True:
        return _warning(
            "Everything that is verified is shown at once, and nobody looks for spam.",
            "Let LINKBACK_AUTO_APPROVE name rules, or register a check: @linkback.spam_check.",
        )
    return _ok("No spam check: whom LINKBACK_AUTO_APPROVE does not know waits for a moderator.")


@check("microformats")
def microformats(case: Case) -> Finding:
    """Is what a source says read by its microformats?"""
    if importlib.util.find_spec("mf2py") is not None:
        return _ok("mf2py is installed: replies, likes and their authors are read by microformats2.")
    return _warning(
        "mf2py is not installed: replies and likes are plain mentions, and few authors are known.",
        "To tell replies, likes and their authors: pip install 'flask-linkback[mf2]'.",
    )


# --- the way out -------------------------------------------------------------------------------------


@check("loopback")
def loopback(case: Case) -> Finding:
    """Does the site refuse to fetch from its own network?"""
    site = case.site
    settings = site.settings.fetch
    if not site.fetch.self_check():
        return _failure(
            "Connections are not checked: a stranger can make the site fetch from its own network.",
            "urllib3 is not one that this version knows: install urllib3>=2.7,<3.",
        )
    if settings.egress_proxy is not None:
        return _warning(
            "Everything is fetched through LINKBACK_EGRESS_PROXY.",
            "That proxy has to refuse addresses of its own network: try one through it.",
        )
    if public_address("127.0.0.1", settings.allow_networks.get("", ())):
        return _warning(
            "LINKBACK_ALLOW_NETWORKS opens this machine's own network.",
            "Fine for trying things out. On the net, take 127.0.0.0/8 out.",
        )
    port = min(settings.allow_ports) if settings.allow_ports else 80
    try:
        site.fetch.get(f"http://127.0.0.1:{port}/", timeout=2)
    except AddressRefused:
        return _ok("A page of this machine's own network is not fetched.")
    except FetchError as error:
        found = str(error)
    else:
        found = "It was answered."
    return _failure(
        f"The site connected to 127.0.0.1: {found}",
        "Is urllib3 patched, by a tracing package say? Take that out.",
    )
