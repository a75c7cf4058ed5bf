"""Extension: puts the rooms together for an application."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from flask import Blueprint, Flask, request
from flask.typing import ResponseReturnValue

from . import changes, models, publishing, templating
from .blueprints import (
    admin,
    directory,
    door,
    mentions,
    pages,
    pictures,
    pingback,
    publisher,
    trackback,
    webmention,
    websub,
)
from .blueprints import hub as hub_door
from .blueprints import webhooks as webhooks_door
from .changes import Watches
from .cli import linkback_cli
from .config import Settings
from .errors import ConfigError
from .feeds.alternates import linkback_feed_links
from .feeds.mentions import MentionFeed
from .linkbacks import (
    avatars,
    directories,
    explaining,
    moderation,
    moving,
    receiving,
    sending,
    verifying,
    vouching,
    weblogs,
)
from .linkbacks.spam import SpamChecks
from .linkbacks.targets import Target, Targets, View
from .models import Event, Job, Listener, ListenerSecret, Mention, Subscriber, Subscription, SubscriptionState
from .outbox import burying, health, jobs, retention, worker
from .outbox.worker import Runner
from .protocols.entries import ParsedFeed, parse
from .protocols.webhook_schemes import Scheme
from .protocols.websub import Offer
from .site import EXTENSION, Site, current_site
from .webhooks import delivering as deliveries
from .webhooks import dispatch, keeping, recording, replaying, rotating, shaking, switching, trying
from .webhooks import health as listener_health
from .webhooks import receiving as webhooks
from .webhooks.listeners import WATCH
from .webhooks.recording import DELIVER, DISPATCH
from .webhooks.registry import HookRegistry
from .websub import (
    asking,
    contents,
    discovering,
    distributing,
    hub,
    leases,
    polling,
    subscribers,
    subscribing,
    tending,
)
from .websub import publisher as pings
from .websub.credentials import Credentials

if TYPE_CHECKING:
    from flask_sqlalchemy import SQLAlchemy

__all__ = ["Linkback"]

F = TypeVar("F", bound=Callable[..., Any])
HubPolicy = TypeVar("HubPolicy", bound=hub.Policy)
How = str | Callable[[Any], Any]

_HANDLERS: Final[Mapping[str, Callable[..., jobs.Outcome]]] = {
    receiving.VERIFY: verifying.verify,
    sending.SEND: sending.send,
    directories.PING: directories.ping,
    publishing.PUBLISH: publishing.expand,
    pings.PING: pings.ping,
    moderation.ANNOUNCE_MODERATED: moderation.announce_moderated,
    moderation.CHECK_SPAM: moderation.check_spam,
    moderation.CHECK_VOUCH: vouching.check_vouch,
    moving.ANNOUNCE_REMOVED: moving.announce_removed,
    avatars.FETCH: avatars.fetch_avatar,
    weblogs.VERIFY: weblogs.verify,
    leases.ASK: asking.ask,
    leases.TEND: tending.tend,
    contents.ANNOUNCE: contents.announce,
    polling.POLL: polling.poll,
    hub.VERIFY: subscribers.verify,
    subscribers.DENY: subscribers.tell_denied,
    hub.FETCH: distributing.fetch_topic,
    hub.DELIVER: distributing.deliver,
    DISPATCH: dispatch.dispatch,
    DELIVER: deliveries.deliver,
    webhooks.HANDLE: webhooks.handle,
    listener_health.TEND: listener_health.tend,
    shaking.SHAKE: shaking.shake,
    jobs.BURY: burying.bury,
}
_BURIALS: Final[Mapping[str, Callable[..., Any]]] = {
    receiving.VERIFY: verifying.give_up,
    sending.SEND: sending.give_up,
    directories.PING: directories.give_up,
    leases.ASK: asking.give_up,
    pings.PING: pings.give_up,
    hub.VERIFY: subscribers.give_up,
}
_CHORES: Final[Sequence[Callable[[Site], Any]]] = (
    verifying.owe_rechecks,
    avatars.tend_avatars,
    weblogs.sweep,
    polling.owe_polls,
    contents.sweep,
    subscribers.sweep,
    distributing.sweep,
    webhooks.sweep,
    keeping.sweep,
    retention.sweep,
)


class WebSub:
    """``linkback.websub``: our topics and their hubs, what we follow, and a hub of our own."""

    def __init__(self, linkback: Linkback) -> None:
        self._linkback = linkback

    # --- publisher -----------------------------------------------------------------------------------

    def ping_hub(self, topic_url: str, hub_url: str | None = None) -> None:
        """Tell a hub, or all of the topic's, that it has something new, once the transaction commits.

        Raises `NoHub` where there is none.
        """
        pings.ping_hub(topic_url, hub_url)

    def ping_on_change(
        self,
        model: type[Any],
        feeds: Sequence[publishing.Feeds],
        when: Callable[[Any], Any] | None = None,
        at: How | None = None,
        fields: Collection[str] | None = None,
    ) -> None:
        """Tell the hubs of some feeds whenever an object of a model is created, changed or deleted.

        A feed is an endpoint, a pair of that and a callable that takes the object and returns the arguments
        of the URL, a URL or path, or a callable that returns URLs. Where a change moves the object to
        another feed, both are told of. ``when`` says whether an object is in the feeds at all; ``at`` is the
        name, or a callable, of the time since which it is: a later one is waited for. ``fields`` names the
        columns whose changes count, where not all do.
        """
        publishing.ping_on_change(self._linkback._watches, model, feeds, when, at, fields)

    @overload
    def publisher(self, view: F) -> F: ...

    @overload
    def publisher(
        self,
        view: None = None,
        *,
        hubs: Iterable[str] | str | None = None,
        self_url: str | Callable[[], str] | None = None,
        args: Iterable[str] | str | None = None,
    ) -> Callable[[F], F]: ...

    def publisher(
        self,
        view: Any = None,
        *,
        hubs: Iterable[str] | str | None = None,
        self_url: str | Callable[[], str] | None = None,
        args: Iterable[str] | str | None = None,
    ) -> Any:
        """Decorate a view that is no feed: its answers say which hubs tell of it, and what it is called.

        ``hubs`` are told instead of those of the site. The page is called by its public URL with the
        arguments of its query, without those that track visitors; ``args`` names those that count,
        ``self_url`` says all of it. Above or below ``@app.route``, with or without parentheses.
        """
        return publisher.publish_page(view, hubs=hubs, self_url=self_url, args=args)

    def credentials(self, function: F) -> F:
        """Decorate a function that takes the URL of a hub and returns None or (user, password)."""
        return self._linkback._credentials.register(function)

    # --- subscriber ----------------------------------------------------------------------------------

    def discover(self, url: str) -> Offer:
        """Fetch a page or feed and say which topic it is, which hubs deliver it, and how that was found.

        WebSub, section 4. Raises `FetchError`.
        """
        return discovering.discover(current_site(), url)

    def subscribe(
        self,
        topic_or_page_url: str,
        hub: str | None = None,
        lease_seconds: int | None = None,
        secret: str | None = None,
        credentials: tuple[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        wait: bool = False,
    ) -> Subscription:
        """Follow a topic, once the transaction commits; what is subscribed to already is renewed.

        The hub is looked for by the worker (WebSub, section 4), unless ``hub`` names it: the URL is then the
        topic itself. ``lease_seconds`` is what to ask for, ``secret`` (less than 200 bytes) what the hub is
        to sign with, ``credentials`` (user, password) who we are there, ``params`` and ``headers`` what else
        the hub wants; all of them hold for renewals, too. With ``wait`` it commits, asks the hub at once,
        and raises `SubscriptionError` where that refuses. ValueError and `AddressRefused` for what cannot be.
        """
        return subscribing.subscribe(
            current_site(),
            topic_or_page_url,
            hub=hub,
            lease_seconds=lease_seconds,
            secret=secret,
            credentials=credentials,
            params=params,
            headers=headers,
            wait=wait,
        )

    def renew(self, subscription: Subscription, *, wait: bool = False) -> Subscription:
        """Ask for a new lease, once the transaction commits; the worker does so in time by itself."""
        return subscribing.renew(current_site(), subscription, wait=wait)

    def unsubscribe(self, subscription: Subscription, *, wait: bool = False) -> Subscription:
        """Ask the hub to end a subscription, once the transaction commits; it is over when that confirms."""
        return subscribing.unsubscribe(current_site(), subscription, wait=wait)

    def subscriptions(
        self,
        topic_url: str | None = None,
        hub_url: str | None = None,
        state: str | SubscriptionState | None = None,
        expires_before: datetime | None = None,
    ) -> Sequence[Subscription]:
        """Return subscriptions, the oldest first: those of a topic, at a hub, in a state, soon to expire."""
        return subscribing.subscriptions(current_site(), topic_url, hub_url, state, expires_before)

    def entries(self, notification: bytes, *, content_type: str = "", url: str = "") -> ParsedFeed:
        """Read the feed in a notification: all of it text, its links http or https; raises `NotAFeed`."""
        return parse(notification, content_type=content_type, url=url)

    # --- hub -----------------------------------------------------------------------------------------

    def hub_policy(self, function: HubPolicy) -> HubPolicy:
        """Decorate a function that takes a callback's URL, a topic's and the parameters of a request.

        It returns a reason to deny the subscription, which the callback is told, or None. Called by the
        worker before the callback is asked, outside of any transaction: it may ask a service. Of several,
        the first that gives a reason counts.
        """
        self._linkback._policies.add(function)
        return function

    def deny(self, subscriber: Subscriber, reason: str = "") -> bool:
        """End a subscription at our hub and tell its callback why. The caller commits.

        False where there was none.
        """
        return subscribers.deny(current_site(), subscriber, reason)

    def redeliver(self, subscriber: Subscriber) -> bool:
        """Send a subscriber of our hub what its topic says now once more. The caller commits.

        False where the topic was not fetched yet.
        """
        owed = distributing.redeliver(current_site().session, subscriber)
        if owed:
            changes.note_call(current_site().session, "redeliver")
        return owed


class Webhooks:
    """``linkback.webhooks``: events, the listeners that want them, and what others tell us."""

    def __init__(self, linkback: Linkback) -> None:
        self._linkback = linkback

    def receiver(
        self, name: str, *, secret: webhooks.Secrets | None = None, scheme: str | Scheme | None = None
    ) -> Callable[[F], F]:
        """Decorate a function that takes one `ReceivedEvent`: webhooks that come under this name call it.

        They are posted to ``/linkback/receive/<name>``, verified there by ``secret`` and written down; the
        worker calls the function, once for each id, and again by the retry schedule where it raises.
        ``scheme`` is how they are signed, "standard", "github", "stripe", "slack", or a function that takes a
        `Message` and returns `Verified` or raises `BadSignature`; default: ``name`` where that is one of
        these, else "standard". ``secret`` is one, a list of those that count while it is changed, or a
        function that returns either and is called in each request. Raises `AlreadyRegistered`, `ConfigError`
        and `BadSecret`.
        """

        def decorate(function: F) -> F:
            self._linkback._receivers.add(name, function, secret=secret, scheme=scheme)
            return function

        return decorate

    def why(self, event: Event, listener: Listener) -> str | None:
        """Say what keeps an event from a listener, the first thing that does; None if it gets it."""
        return trying.why(current_site(), event, listener)

    def try_filter(
        self,
        filter: Any,  # noqa: A002  as it is called
        last: int = 50,
        *,
        event: str | None = None,
    ) -> Sequence[tuple[Event, bool, str]]:
        """Run a filter on the newest events, of a name or pattern or of all: (event, matched, reason)."""
        return trying.try_filter(current_site(), filter, last, event)

    # --- listeners -----------------------------------------------------------------------------------

    def pause(self, listener: Listener) -> None:
        """Send a listener nothing until it is resumed; what waits for it is given up. The caller commits."""
        switching.pause(current_site(), listener)

    def resume(self, listener: Listener) -> None:
        """Let a paused listener have its events again; the caller commits.

        ValueError for one that is disabled: that resumes by a passing `test`.
        """
        switching.resume(current_site(), listener)

    def remove(self, listener: Listener) -> None:
        """Remove a listener with its secrets; what waits for it is given up. The caller commits."""
        switching.remove(current_site(), listener)

    def test(
        self,
        listener: Listener,
        data: Any = None,
        type: str | None = None,  # noqa: A002
    ) -> switching.Tested:
        """Send a listener a test event now, and say what was sent and answered; it commits.

        It is marked by a header ``Webhook-Test`` and never sent again. Without ``data`` it says what the
        newest event said that the listener hears of. Taken by a 2xx, it lets a disabled or paused listener
        have its events again. ValueError for one that has not answered the handshake.
        """
        return switching.send_test(current_site(), listener, data, type)

    def verify(self, listener: Listener) -> None:
        """Ask a listener again, whose handshake failed, once the transaction commits.

        ValueError for one that needs none.
        """
        shaking.verify(current_site(), listener)

    def secrets(self, listener: Listener) -> Sequence[ListenerSecret]:
        """Return the secrets that sign what a listener is sent, the newest first."""
        return rotating.secrets(current_site(), listener)

    def rotate_secret(
        self, listener: Listener, overlap_seconds: float = rotating.DAY_SECONDS, secret: str | None = None
    ) -> str:
        """Give a listener a new secret and return it; for a while the old one signs, too. The caller commits.

        ``overlap_seconds`` is seven days at most, ``secret`` a ``whsec_...`` or the private key ``whsk_...``
        of a pair. ValueError for others.
        """
        return rotating.rotate_secret(current_site(), listener, overlap_seconds, secret)

    # --- once more -----------------------------------------------------------------------------------

    def replay(self, delivery: Job | int, *, again: bool = False) -> Job:
        """Owe a listener an event once more, under the same ``webhook-id``; the caller commits.

        ``delivery`` is the job, or its id. Raises `ReplayRefused` while it waits or runs, where there is
        nothing to send any more, and for what was delivered already, unless ``again`` says so.
        """
        return replaying.replay(current_site(), delivery, again=again)

    def recover(self, listener: Listener, since: datetime, *, dry_run: bool = False) -> int:
        """Owe a listener all that was given up since a time of the last 14 days; return how many they are.

        With ``dry_run`` they are only counted. What was cancelled stays so. The caller commits.
        """
        return replaying.recover(current_site(), listener, since, dry_run=dry_run)

    def backfill(self, listener: Listener, since: datetime, *, dry_run: bool = False) -> int:
        """Owe a listener the events since a time that it wants and never got; return how many they are.

        With ``dry_run`` they are only counted. The caller commits.
        """
        return replaying.backfill(current_site(), listener, since, dry_run=dry_run)

    def cancel(
        self,
        listener: Listener | None = None,
        *,
        event: Event | None = None,
        delivery: Job | None = None,
    ) -> int:
        """Give up what waits for a listener, of an event or both, or one delivery; return how many that is.

        They are dead then, with the reason "cancelled". The caller commits.
        """
        return replaying.cancel(current_site(), listener, event=event, job=delivery)


class Linkback:
    """The extension: ``linkback = Linkback(db=db)``, then ``linkback.init_app(app)``.

    Several applications may share one object; what is registered on it counts for all of them,
    whenever it is registered. The tables join ``db.metadata`` as soon as ``db`` is known.
    ``blueprints`` names those that are registered by `init_app` (default: WebSub's callbacks, the addresses
    of webhooks, and all that PROTOCOLS, DIRECTORY_SERVER and HUB_ENABLED switch on); with ``()`` the
    application mounts ``linkback.blueprints["pingback"]`` itself. ``callback_view`` is a subclass of
    `CallbackView`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        db: SQLAlchemy | None = None,
        *,
        blueprints: Collection[str] | None = None,
        callback_view: type[websub.CallbackView] = websub.CallbackView,
    ) -> None:
        self.db = db
        self.xmlrpc = pingback.Methods()
        self.blueprints: dict[str, Blueprint] = {
            "pingback": pingback.make_blueprint(self.xmlrpc),
            "webmention": webmention.make_blueprint(),
            "trackback": trackback.make_blueprint(),
            "directory": directory.make_blueprint(),
            "websub": websub.make_blueprint(callback_view),
            "hub": hub_door.make_blueprint(),
            "webhooks": webhooks_door.make_blueprint(),
            "admin": admin.make_blueprint(),
        }
        directory.add_methods(self.xmlrpc)
        self.websub = WebSub(self)
        self.webhooks = Webhooks(self)
        self._blueprints_wanted = blueprints
        self._targets = Targets()
        self._watches = Watches()
        self._watches.watch(WATCH)
        self.hooks = HookRegistry(self._watches)
        self._spam = SpamChecks()
        self._credentials = Credentials()
        self._policies = hub.Policies()
        self._receivers = webhooks.Receivers()
        self._access = admin.Access()
        if db is not None:
            models.attach(db.metadata)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, db: SQLAlchemy | None = None) -> None:
        """Read the settings of an application and put the extension into it."""
        if EXTENSION in app.extensions:
            raise ConfigError(
                f"Linkback is in {app.name!r} already. Was init_app called twice, or once by Linkback(app) "
                "and once by hand?"
            )
        db = db or self.db or app.extensions.get("sqlalchemy")
        if db is None:
            raise ConfigError("Linkback needs a database: Linkback(db=db), with db = SQLAlchemy().")
        settings = Settings.from_config(app.config)
        worker.check_runner(settings.outbox.runner)
        models.attach(db.metadata)
        site = Site(app, db, settings)
        # a runner from the start: it has to know of every fork
        registries = (self._targets, self._watches, self._spam, self._credentials, self._policies)
        for registry in (Runner(), *registries, self.hooks, self._receivers, self._access):
            site.put(registry)
        site.handlers.update(_HANDLERS)
        site.burials.update(_BURIALS)
        site.chores.extend(_CHORES)
        changes.listen(db.session)
        worker.listen(db.session)
        self._register_blueprints(app, settings)
        _add_to_templates(app)
        app.before_request(_before_request)
        app.teardown_request(_after_request)
        app.after_request(door.advertise)
        app.after_request(publisher.advertise)
        app.cli.add_command(linkback_cli)
        app.extensions[EXTENSION] = site

    def _register_blueprints(self, app: Flask, settings: Settings) -> None:
        prefix = settings.site.url_prefix
        base = Blueprint(
            "linkback",
            __name__,
            template_folder="templates",
            static_folder="static/linkback",
            static_url_path=f"{prefix}/static",
        )
        mentions.add_to(base, prefix, feeds=settings.linkbacks.mention_feeds)
        if settings.linkbacks.mention_feeds:
            base.add_url_rule(f"{prefix}/mentions.atom", view_func=MentionFeed.as_view("mentions_atom"))
        if settings.linkbacks.avatar_cache:
            pictures.add_to(base, prefix)
        app.register_blueprint(base)
        wanted = self._blueprints_wanted
        if wanted is None:
            wanted = _switched_on(settings)
        for name in wanted:
            place = settings.admin.admin_url_prefix if name == "admin" else prefix
            app.register_blueprint(self.blueprints[name], url_prefix=place)
        if "pingback" in wanted:
            for alias in settings.linkbacks.pingback_aliases:
                app.add_url_rule(alias, endpoint=pingback.ENDPOINT, methods=("GET", "POST"))

    # --- what accepts linkbacks ----------------------------------------------------------------------

    def target(
        self,
        *views: View,
        model: type[Any] | None = None,
        url: How = "url",
        accepts: bool | str | Callable[[Any], bool] | None = None,
        key: Callable[[Any], str] | None = None,
        date: str | Callable[[Any], datetime | None] | None = None,
    ) -> Callable[[F], F]:
        """Decorate a loader: the pages of these endpoints (or view functions) accept linkbacks.

        The loader takes the URL's arguments and returns the page's object; None, ``NotFound`` and
        ``NoResultFound`` mean that there is no such page. ``accepts`` (bool, attribute, method or
        callable) closes single objects, ``url`` (likewise) is where an object of ``model`` is
        found, ``key`` says what identifies an object that is not mapped, ``date`` how old it is for
        CLOSE_AFTER_DAYS.
        """
        if not views:
            raise TypeError("target() needs an endpoint or view function: @linkback.target('blog.post').")

        def decorate(loader: F) -> F:
            for view in views:
                self._targets.add(
                    Target(
                        view=view, loader=loader, model=model, url=url, accepts=accepts, key=key, date=date
                    )
                )
            return loader

        return decorate

    def register_pingback(self, view: View, loader: Callable[..., Any] | str) -> None:
        """Let the pages of a view (endpoint, function or dotted path) accept linkbacks."""
        self._targets.add(Target(view=view, loader=_callable(loader)))

    def create_ping_func(self, **loaders: Callable[..., Any]) -> Callable[[str, str], str]:
        """Register loaders by endpoint, and return the function behind ``pingback.ping``."""
        for endpoint, loader in loaders.items():
            self.register_pingback(endpoint, loader)
        return pingback.ping_func

    # --- what was received ---------------------------------------------------------------------------

    def mentions_for(
        self,
        obj_or_url: Any = None,
        protocol: str | None = None,
        include_hidden: bool = False,
        *,
        type: str | Collection[str] | None = None,  # noqa: A002  as the column is called
    ) -> Sequence[Mention]:
        """Return the mentions of an object, of a URL of ours, or of the page being served; newest first.

        Those that are verified and approved, unless ``include_hidden``. ``type`` is one of "mention",
        "reply", "like", "repost", "bookmark" and "rsvp", or several of them.
        """
        return templating.mentions_for(obj_or_url, protocol, include_hidden, type=type)

    def mention_count(
        self,
        obj_or_url: Any = None,
        protocol: str | None = None,
        include_hidden: bool = False,
        *,
        type: str | Collection[str] | None = None,  # noqa: A002
    ) -> int:
        """Return the number of what `mentions_for` returns."""
        return templating.mention_count(obj_or_url, protocol, include_hidden, type=type)

    def url_for(self, obj: Any) -> str:
        """Return the absolute URL of an object's page, by the ``url`` of its `target`."""
        return self._targets.url_for(current_site(), obj)

    def moderate(self, mention: Mention, status: str, *, who: str = "") -> None:
        """Decide about a mention: "approved", "rejected", "spam" or "pending". The caller commits."""
        moderation.moderate(current_site(), mention, status, who=who)

    def spam_check(self, function: F) -> F:
        """Decorate a function that takes a verified mention and says "ham", "spam" or "unsure".

        Called by the worker, before AUTO_APPROVE and outside of any transaction: it may ask a service.
        Of several, the first that is sure counts. "ham" approves.
        """
        return self._spam.check(function)

    def spam_feedback(self, function: F) -> F:
        """Decorate a function that takes a mention and "ham" or "spam", as a person corrected it.

        Called by the worker once the decision is committed.
        """
        return self._spam.feedback(function)

    # --- what goes out -------------------------------------------------------------------------------

    def ping_external_links(
        self,
        model: type[Any],
        content: How | None = None,
        url: How = "url",
        when: Callable[[Any], Any] | None = None,
        targets: How | None = None,
    ) -> None:
        """Tell the pages that objects of a model link to, whenever one is created or changed.

        ``content`` (HTML) and ``url`` are attribute names, method names or callables that take the
        object; ``when`` says whether an object is to be told of. ``targets`` names URLs that are told
        exactly, a list or a string such as ``"https://a.example/; https://b.example/"``. Without
        content and targets: TypeError.
        """
        publishing.ping_external_links(self._watches, model, content, url, when, targets)

    def ping_directories(
        self,
        model: type[Any],
        url: How = "url",
        feed_url: How | None = None,
        when: Callable[[Any], Any] | None = None,
    ) -> None:
        """Tell the directories of LINKBACK_DIRECTORIES whenever an object of a model is created or changed.

        ``url`` is as for `ping_external_links`, and so is ``when``. ``feed_url`` is the feed that has the
        object: a URL or path for all of them, or a name or callable like ``url``.
        """
        publishing.ping_directories(self._watches, model, url, feed_url, when)

    def publish(
        self,
        url: str,
        html: str | bytes | None = None,
        targets: Iterable[str] | str | None = None,
        feeds: Iterable[str] | str = (),
        hubs: Iterable[str] | str | None = None,
    ) -> None:
        """Tell the pages that one page of ours links to, directories and hubs, once the transaction commits.

        Without ``html`` and ``targets`` the worker fetches the page. ``feeds`` are the URLs of the feeds
        that have it: directories are told of each, and its hubs, or ``hubs`` instead.
        """
        publishing.publish(url, html, targets, feeds, hubs)

    def gone(self, url: str) -> None:
        """Say that a page of ours was taken away: its URL answers 410, and its targets are told.

        Until it is published again. The caller commits. An object of a model that
        `ping_external_links` watches says so by itself when it is deleted.
        """
        publishing.gone(url)

    def moved(self, old_url: str, new_url: str) -> None:
        """Say that a page of ours has another address: the old one answers 301, the mentions go along.

        The targets of its links are told by the new address. The caller commits.
        """
        publishing.moved(old_url, new_url)

    def explain(self, target_url: str) -> Sequence[explaining.Step]:
        """Look how a page would be told, without telling it; one record for each step."""
        return explaining.explain(current_site(), target_url)

    # --- the admin -----------------------------------------------------------------------------------

    def admin_access(self, function: F) -> F:
        """Decorate a function that says who may do what in the admin; without one it is closed.

        It takes "view", "manage", "reveal" or "resend", and the object that this is about, or None on lists.
        It returns whether the visitor of this request may, or a string: the owner whose listeners, events and
        deliveries alone are shown. One that raises lets nobody in. It is asked about hooks, too: to which
        an owner may listen ("manage"), and whose events they then see ("view").
        """
        return self._access.open_by(function)

    def admin_identity(self, function: F) -> F:
        """Decorate a function that returns who is there, for the audit: a name or an address."""
        return self._access.identify_by(function)

    # --- the outbox ----------------------------------------------------------------------------------

    def run_until_idle(self) -> int:
        """Do all due jobs in this thread and return how many there were."""
        return worker.drain(current_site())

    def health(self) -> dict[str, Any]:
        """Return what the outbox holds: jobs by state, the age of the oldest due one, workers."""
        return health.health(current_site())

    def replay(self, job_id: int) -> bool:
        """Make a dead or done job due again; the caller commits. Say whether there was one."""
        replayed = jobs.replay(current_site().session, job_id)
        if replayed:
            changes.note_call(current_site().session, "replay")
        return replayed


def _switched_on(settings: Settings) -> Sequence[str]:
    names = list(settings.linkbacks.protocols)
    if settings.linkbacks.directory_server:
        names += ["pingback", "directory"]  # the first has the endpoint of all XML-RPC methods
    names += ["websub", "webhooks"]
    if settings.websub.hub_enabled:
        names.append("hub")
    if admin.is_installed():
        names.append("admin")
    return list(dict.fromkeys(names))


def _callable(loader: Callable[..., Any] | str) -> Callable[..., Any]:
    """A loader that is named by a dotted path is imported when it is called first."""
    if not isinstance(loader, str):
        return loader

    def load(**args: Any) -> Any:
        return current_site().resolve(loader)(**args)

    return load


def _add_to_templates(app: Flask) -> None:
    app.jinja_env.globals.update(
        linkback_conversation=templating.linkback_conversation,
        linkback_faces=templating.linkback_faces,
        linkback_feed_links=linkback_feed_links,
        linkback_head=templating.linkback_head,
        linkback_hub_links=publisher.linkback_hub_links,
        mention_count=templating.mention_count,
        mentions_for=templating.mentions_for,
    )
    app.jinja_env.filters["linkback_href"] = templating.safe_href
    app.jinja_env.add_extension(templating.PingbackTags)


_DEPTH_BEFORE: Final = "flask_linkback.depth"
"""Where a request keeps how deep we were before it: one may be made within another."""


def _before_request() -> ResponseReturnValue | None:
    site = current_site()
    request.environ[_DEPTH_BEFORE] = recording.depth.get()
    recording.depth.set(recording.parse_depth(request.headers.get("Webhook-Depth")))
    if request.endpoint is not None:
        site.get(Targets).by_endpoint(site)  # a wrong endpoint is told at the first request
    site.get(Runner).ensure_alive(site)
    return pages.answer_for_absent(site)


def _after_request(_: BaseException | None) -> None:
    recording.depth.set(request.environ.get(_DEPTH_BEFORE, 0))
