"""Topics: the doctor's look at what we follow and publish, and at what a subscriber sees at a URL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import sqlalchemy as sa
from werkzeug.http import parse_options_header

from ..errors import AddressRefused, FetchError
from ..fetch import Response, check_url
from ..models import Subscription, SubscriptionState
from ..outbox.replies import is_success
from ..protocols import websub
from ..protocols.websub import Offer, known_hub
from ..site import Site
from ..websub.asking import CALLBACK
from ..websub.discovering import ACCEPT, look_at
from ..websub.publisher import OWN_HUB, hubs_of, own_hub, published_at
from ..websub.rehearsing import Step, rehearse
from .doctor import Case, Finding, Mark, check, is_ours
from .output import counted

__all__ = ["callback", "hub", "hubs", "subscriptions", "topic"]

_SHOWN: Final = 300


def _say(mark: Mark, what: str, advice: str = "") -> Finding:
    return Finding(mark=mark, what=what, advice=advice)


def _short(text: str) -> str:
    """Return a stranger's text so that it fills no screen."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _listed(urls: Iterable[str]) -> str:
    return ", ".join(_short(url) for url in urls) or "none"


# --- what we follow and publish ------------------------------------------------------------------------

_IN_TROUBLE: Final = (SubscriptionState.denied, SubscriptionState.failed, SubscriptionState.expired)


@check("subscriptions", needs_tables=True)
def subscriptions(case: Case) -> Finding:
    """Do hubs bring what is followed?"""
    followed = Subscription.state != SubscriptionState.unsubscribed
    overdue = sa.and_(
        Subscription.state == SubscriptionState.active, Subscription.lease_expires_at <= case.site.now()
    )
    silent = sa.and_(Subscription.state == SubscriptionState.active, Subscription.silent)
    with case.site.new_session() as session:
        number = sa.func.count()
        states = sa.select(Subscription.state, number).where(followed).group_by(Subscription.state)
        counts = {row[0]: row[1] for row in session.execute(states)}
        told = {state.value: counts.get(state, 0) for state in _IN_TROUBLE}
        for name, which in (("active past the end of the lease", overdue), ("with a silent hub", silent)):
            told[name] = session.scalar(sa.select(number).select_from(Subscription).where(which)) or 0
        newest = sa.select(Subscription).where(Subscription.state.in_(_IN_TROUBLE))
        one = session.scalar(newest.order_by(Subscription.id.desc()).limit(1))
    troubles = [f"{many} {name}" for name, many in told.items() if many]
    total = counted(sum(counts.values()), "subscription")
    if not counts:
        return _say(Mark.ok, "No topic is followed.")
    if not troubles:
        return _say(Mark.ok, f"{total}, none in trouble.")
    because = f" The newest, {_short(one.topic_url)}: {_short(one.reason)}" if one is not None else ""
    return _say(
        Mark.warning,
        f"{total}: {', '.join(troubles)}.{because}",
        "See flask linkback subscriptions, ask again by flask linkback renew URL, and for what is wrong: "
        "flask linkback doctor URL",
    )


@check("hubs", needs_tables=True)
def hubs(case: Case) -> Finding:
    """Can hubs be named and told?"""
    site = case.site
    if site.settings.websub.hub_enabled:
        if site.settings.site.base_url is None:
            return _say(
                Mark.failure,
                "LINKBACK_HUB_ENABLED is set, but nobody learns where the hub is.",
                "Set LINKBACK_BASE_URL.",
            )
        if OWN_HUB not in site.app.view_functions:
            return _say(
                Mark.failure,
                "LINKBACK_HUB_ENABLED is set, but the hub is not mounted.",
                "app.register_blueprint(linkback.blueprints['hub'])",
            )
    named = hubs_of(site)
    if not named:
        return _say(Mark.ok, "Topics have no hub, unless their views name one (LINKBACK_HUBS).")
    runner = site.settings.outbox.runner
    if runner not in ("inline", "thread") and not case.health["workers"]:
        return _say(
            Mark.warning,
            f"Topics have the hubs {_listed(named)}, but nobody tells these: no worker was seen.",
            "Run 'flask linkback worker'.",
        )
    return _say(Mark.ok, f"Topics have the hubs {_listed(named)}.")


# --- what a subscriber sees ----------------------------------------------------------------------------


@check("topic", needs_url=True)
def topic(case: Case) -> Iterator[Finding]:
    """Is there a topic at the URL, with a hub, by which it can be followed?"""
    if case.topic is None:
        return
    known = known_hub(case.topic)
    if known is not None:
        yield _say(Mark.ok, f"The hub of this topic is known: {known}. It need not be named.")
    seen = case.seen
    if isinstance(seen, FetchError):
        yield _not_fetched(case.site, case.topic, seen, "topic")
        return
    response, offer = seen
    url = _short(response.url)
    if len(response.hops) > 1:
        redirects = ", ".join(str(hop.status) for hop in response.hops[:-1])
        yield _say(Mark.note, f"{_short(case.topic)} leads to {url} ({redirects}).")
    if not is_success(response):
        yield _say(
            Mark.failure, f"{url} answers {response.status}: there is nothing to follow.", "Pass another URL."
        )
        return
    kind = _short(response.headers.get("Content-Type", "no Content-Type"))
    yield _say(Mark.ok, f"{url} answers {response.status} ({kind}).")
    for each in offer.findings:
        yield _found(each)
    if known is None:
        yield from _hub_of(case, response, offer)
        yield from _self_of(case, response, offer)
    yield from _agreement(response)
    yield from _head(case, response)
    yield from _as_published(case, response, offer)


def _found(finding: websub.Finding) -> Finding:
    if not finding.value:
        return _say(Mark.ok if finding.used else Mark.note, finding.reason)
    used = "used" if finding.used else "not used"
    what = f'rel="{finding.rel}" {_short(finding.value)}: {used}. {finding.reason}'
    return _say(Mark.ok if finding.used else Mark.note, what)


def _hub_of(case: Case, response: Response, offer: Offer) -> Iterator[Finding]:
    """Is a hub named?"""
    if not offer.hubs:
        advice = (
            "Set LINKBACK_HUBS or LINKBACK_HUB_ENABLED; its view is a feed, or a @linkback.websub.publisher."
            if is_ours(case.site, response.url)
            else "It can be read now and then, or name the hub: flask linkback subscribe URL --hub URL"
        )
        yield _say(Mark.failure, f"{_short(response.url)} names no hub: nobody can subscribe.", advice)


def _agreement(response: Response) -> Iterator[Finding]:
    """Do header and document say the same?"""
    media_type, options = parse_options_header(response.headers.get("Content-Type"))
    header = websub.discover(response.url, link=response.headers.get_all("Link"))
    document = websub.discover(
        response.url, body=response.body, media_type=media_type, charset=options.get("charset")
    )
    said = False
    for name, in_header, in_document in (
        ("hubs", header.hubs, document.hubs),
        ("topic URLs", _one(header.topic_url), _one(document.topic_url)),
    ):
        if not (in_header and in_document):
            continue
        said = True
        if set(in_header) != set(in_document):
            yield _say(
                Mark.warning,
                f"Header and document name different {name}: {_listed(in_header)}; {_listed(in_document)}.",
                "Subscribers go by the header; those who read only the document follow something else.",
            )
            return
    if said:
        yield _say(Mark.ok, "Header and document agree.")


def _one(url: str | None) -> tuple[str, ...]:
    return () if url is None else (url,)


def _self_of(case: Case, response: Response, offer: Offer) -> Iterator[Finding]:
    """Is the topic the URL where it was found, or one that leads back to itself?"""
    own = offer.topic_url
    if own is None:
        yield _say(
            Mark.warning,
            f"It does not say what it is called: {_short(response.url)} is taken for the topic.",
            'Hubs may know it by another name. Publishers have to say rel="self" (WebSub, section 4).',
        )
    elif own == response.url:
        yield _say(Mark.ok, f"The topic is {_short(own)}, where it was found.")
    else:
        yield _say(Mark.note, f"The topic is {_short(own)}, not {_short(response.url)}.")
        yield _leads_back(case.site, own, offer.hubs)


def _leads_back(site: Site, url: str, hubs: tuple[str, ...]) -> Finding:
    try:
        response, there = look_at(site, url)
    except FetchError as error:
        return _not_fetched(site, url, error, "topic")
    if not is_success(response):
        return _say(
            Mark.failure,
            f"{_short(url)} answers {response.status}: a hub finds nothing to deliver there.",
            'Let rel="self" be the address of the topic.',
        )
    if there.topic_url not in (url, None):
        return _say(
            Mark.warning,
            f"{_short(url)} calls itself {_short(there.topic_url or '')}.",
            'Let rel="self" of each lead to one and the same.',
        )
    if hubs and not set(hubs) & set(there.hubs):
        return _say(
            Mark.warning,
            f"{_short(url)} names other hubs: {_listed(there.hubs)}.",
            "A hub that the topic does not name may not know it.",
        )
    return _say(Mark.ok, f"{_short(url)} leads back to itself.")


def _head(case: Case, response: Response) -> Iterator[Finding]:
    """Does HEAD say what GET says? Subscribers may begin with either."""
    advice = "Subscribers may ask by HEAD first, and go by its Link headers (WebSub, section 4)."
    try:
        head = case.site.fetch.head(response.url, headers={"Accept": ACCEPT}, purpose="topic")
    except FetchError as error:
        yield _say(Mark.warning, f"HEAD fails: {error}", advice)
        return
    if head.status != response.status:
        yield _say(Mark.warning, f"HEAD answers {head.status}, GET {response.status}.", advice)
        return
    by_get, by_head = (
        websub.discover(response.url, link=each.headers.get_all("Link")) for each in (response, head)
    )
    if (by_get.hubs, by_get.topic_url) != (by_head.hubs, by_head.topic_url):
        yield _say(Mark.warning, "The Link headers of HEAD and GET are not the same.", advice)
    else:
        yield _say(Mark.ok, "HEAD says the same as GET.")


def _as_published(case: Case, response: Response, offer: Offer) -> Iterator[Finding]:
    """Is a topic of ours called as it is when hubs are told, and are they those that it names?"""
    if not is_ours(case.site, response.url) or not offer.hubs:
        return
    called = offer.topic_url or response.url
    try:
        # by its own name first: the URL that was asked for may have arguments that do not count
        topics = published_at(case.site, called) if is_ours(case.site, called) else []
        topics = topics or published_at(case.site, response.url)
    except Exception as error:  # a feed's hooks are the application's
        yield _say(
            Mark.failure, f"Its view raises {type(error).__name__}: {error}", "Put the application right."
        )
        return
    if not topics:
        return
    advice = "A cache, a proxy or the application may change it on its way, or links are written by hand."
    told = next((each for each in topics if each.url == called), None)
    if told is None:
        names = _listed(each.url for each in topics)
        yield _say(
            Mark.failure,
            f"Hubs are told of {names}, but it is called {_short(called)}: nothing comes.",
            f"Is LINKBACK_BASE_URL right ({case.site.base_url})? {advice}",
        )
    elif not set(offer.hubs) <= set(told.hubs):
        untold = [each for each in offer.hubs if each not in told.hubs]
        yield _say(
            Mark.failure,
            f"It names hubs that are never told: {_listed(untold)}.",
            f"Name them in LINKBACK_HUBS, or as the hubs of the view. {advice}",
        )
    elif set(offer.hubs) != set(told.hubs):
        unnamed = [each for each in told.hubs if each not in offer.hubs]
        yield _say(Mark.warning, f"Hubs are told that it does not name: {_listed(unnamed)}.", advice)
    else:
        yield _say(Mark.ok, "It is called as the site publishes it, and names the hubs that are told.")


def _not_fetched(site: Site, url: str, error: FetchError, purpose: str) -> Finding:
    """Tell why something was not fetched: our own network may be what keeps us from a page of ours."""
    if not isinstance(error, AddressRefused):
        own = f" Is LINKBACK_BASE_URL right, and the site served there? It is {site.settings.site.base_url}."
        advice = f"Is it up, and is its certificate good?{own if is_ours(site, url) else ''}"
        return _say(Mark.failure, f"{_short(url)} cannot be fetched: {error}", advice)
    if not (is_ours(site, url) and _is_well_formed(url)):
        return _say(
            Mark.failure,
            f"{_short(url)} is not fetched: {error}",
            "What only this network reaches nobody else can follow. LINKBACK_ALLOW_NETWORKS opens networks.",
        )
    return _say(
        Mark.warning,
        f"{_short(url)} cannot be tried from here: {error}",
        "Others may reach it all the same. To try it, open the address of that host alone, or its port: "
        f'LINKBACK_ALLOW_NETWORKS = {{"{purpose}": ["ADDRESS/32"]}}, LINKBACK_ALLOW_PORTS',
    )


def _is_well_formed(url: str) -> bool:
    try:
        check_url(url)
    except AddressRefused:
        return False
    return True


# --- its hubs ------------------------------------------------------------------------------------------


@check("hub", needs_url=True)
def hub(case: Case) -> Iterator[Finding]:
    """Are the hubs there? They are asked nothing: a GET without parameters is all that they see."""
    if case.topic is None:
        return
    known = known_hub(case.topic)
    offered = () if isinstance(case.seen, FetchError) else case.seen[1].hubs
    named = (known,) if known is not None else offered
    replies = {each: _reply_of_hub(case.site, each) for each in named}
    somebody_answers = any(isinstance(each, Response) for each in replies.values())
    for url, reply in replies.items():
        yield _judge_hub(case.site, url, reply, somebody_answers=somebody_answers)
        if not url.lower().startswith("https://"):
            yield _say(
                Mark.warning,
                f"{_short(url)} is no https URL: secrets would go to it in the clear.",
                "By default it gets none, and what it delivers is not signed (LINKBACK_WEBSUB_SECRETS).",
            )


def _reply_of_hub(site: Site, url: str) -> Response | FetchError:
    try:
        return site.fetch.get(url, purpose="hub", follow=False, on_chunk=lambda *_: True)
    except FetchError as error:
        return error


def _judge_hub(site: Site, url: str, reply: Response | FetchError, *, somebody_answers: bool) -> Finding:
    if isinstance(reply, FetchError):
        finding = _not_fetched(site, url, reply, "hub")
        if somebody_answers and finding.mark is Mark.failure:
            return _say(Mark.warning, finding.what, f"{finding.advice} Another hub answers.")
        return finding
    if is_ours(site, url):
        if url == own_hub(site) and reply.status == 200:
            return _say(Mark.ok, f"{_short(url)} is our own hub.")
        if reply.status in (404, 410):
            return _say(
                Mark.failure,
                f"{_short(url)} is a URL of ours, but there is no hub: {reply.status}.",
                "Set LINKBACK_HUB_ENABLED, or let the page name another hub.",
            )
    if reply.status >= 500:
        return _say(
            Mark.warning,
            f"The hub {_short(url)} answers {reply.status}.",
            "Look again later, it may be in trouble.",
        )
    # hubs need not answer GET, so that 404 and 405 are as good as 200
    return _say(Mark.ok, f"The hub {_short(url)} is there ({reply.status}).")


# --- our own callback ----------------------------------------------------------------------------------


@check("callback", needs_tables=True, needs_url=True)
def callback(case: Case) -> Iterator[Finding]:
    """Does our callback answer a hub as it should, at the public address?"""
    site = case.site
    if case.topic is None:
        return
    if CALLBACK not in site.app.view_functions:
        yield _say(
            Mark.warning if is_ours(site, case.topic) else Mark.failure,
            "Hubs cannot call back: the endpoint for that is not mounted.",
            "app.register_blueprint(linkback.blueprints['websub'])",
        )
        return
    if site.settings.site.base_url is None:
        yield _say(
            Mark.failure, "Hubs cannot call back: there is no public address.", "Set LINKBACK_BASE_URL."
        )
        return
    for step in rehearse(site):
        yield _judge(site, step)


def _judge(site: Site, step: Step) -> Finding:
    reply = step.reply
    # the token is a secret as long as it lasts, and nothing to remember afterwards
    where = step.url.rpartition("/")[0]
    if isinstance(reply, FetchError):
        return _not_fetched(site, f"{where}/...", reply, "callback")
    what = f"{step.what}: {reply.status}"
    if step.is_good:
        return _say(Mark.ok, f"{what}.")
    if reply.status == step.should:
        return _say(
            Mark.failure,
            f"{what}, but not with the challenge.",
            f"Something else answers at {where}: is LINKBACK_BASE_URL that of this application?",
        )
    return _say(Mark.failure, f"{what} instead of {step.should}.", _advice(site, reply, where))


def _advice(site: Site, reply: Response, where: str) -> str:
    if 300 <= reply.status < 400:
        return (
            f"It is redirected to {_short(reply.headers.get('Location', 'nowhere'))}: hubs need not follow. "
            "Set LINKBACK_BASE_URL to where the site is."
        )
    if reply.status in (404, 410):
        return (
            f"Is {where} served by this application, with the same database and settings? "
            f"LINKBACK_BASE_URL is {site.base_url}."
        )
    if reply.status in (400, 401, 403, 405, 429):
        return f"A CSRF check, password, firewall or proxy may stop it: let them leave {where}/ alone."
    if reply.status >= 500:
        return "See the log of the application, and of the proxy before it."
    return f"Something else answers at {where}/: let it leave this path alone."
