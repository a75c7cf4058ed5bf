"""Commands for topics of others that the site follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..errors import SubscriptionError
from ..models import Subscription, SubscriptionState
from ..site import current_site
from ..websub import subscribing
from .output import Output, command, local_time

__all__ = ["renew", "subscribe", "subscriptions", "unsubscribe"]

_STATES = click.Choice([each.value for each in SubscriptionState])


@command("subscribe")
@click.argument("url")
@click.option("--hub", metavar="URL", help="The hub to ask; default: the one that the page or feed names.")
@click.option("--lease-seconds", type=click.IntRange(1), help="The lease to ask for.")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="What else the hub wants; several are."
)
def subscribe(
    out: Output, url: str, hub: str | None, lease_seconds: int | None, params: Sequence[str]
) -> None:
    """Follow the topic at URL, a feed or a page, by its hub.

    The hub is asked now and confirms by a question of its own, so that the site has to be served where
    LINKBACK_BASE_URL says.
    """
    pairs = dict(_pair(each) for each in params)
    try:
        subscription = subscribing.subscribe(
            current_site(), url, hub=hub, lease_seconds=lease_seconds, params=pairs or None, wait=True
        )
    except SubscriptionError as error:
        raise click.ClickException(str(error)) from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    _finish(out, [subscription])


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.ClickException(f"{text!r} is no NAME=VALUE.")
    return name, value


@command("unsubscribe")
@click.argument("url")
@click.option("--hub", metavar="URL", help="Only at this hub.")
def unsubscribe(out: Output, url: str, hub: str | None) -> None:
    """Stop to follow the topic at URL, at all its hubs or at one; each confirms by a question of its own."""
    _finish(out, _each(url, hub, subscribing.unsubscribe))


@command("renew")
@click.argument("url", required=False)
@click.option("--hub", metavar="URL", help="Only at this hub.")
@click.option("--all", "everything", is_flag=True, help="Renew all that are not unsubscribed.")
def renew(out: Output, url: str | None, hub: str | None, everything: bool) -> None:
    """Ask for a new lease of the topic at URL now; the worker does so in time by itself."""
    if (url is None) is not everything:
        raise click.ClickException("Please give a URL, or --all.")
    _finish(out, _each(url, hub, subscribing.renew))


def _each(url: str | None, hub: str | None, do: Any) -> list[Subscription]:
    """Do something with the subscriptions to a topic, each as far as its hub lets."""
    site = current_site()
    found = [
        each
        for each in subscribing.subscriptions(site, url, hub)
        if each.state is not SubscriptionState.unsubscribed
    ]
    if not found:
        raise click.ClickException("There is no such subscription: see flask linkback subscriptions.")
    for each in found:
        try:
            do(site, each, wait=True)
        except SubscriptionError:
            continue  # its reason is told below
    return found


@command("subscriptions")
@click.argument("topic", metavar="[URL]", required=False)
@click.option("--hub", metavar="URL", help="Only those at this hub.")
@click.option("--state", type=_STATES, help="Only those in this state.")
def subscriptions(out: Output, topic: str | None, hub: str | None, state: str | None) -> None:
    """Show which topics the site follows, at which hubs, and how that goes; with URL, only that topic."""
    found = subscribing.subscriptions(current_site(), topic, hub, state)
    for each in found:
        _say(out, each)
    if not found:
        out.say("There is no subscription.")
    out.finish({"subscriptions": [_as_dict(each) for each in found]})


def _finish(out: Output, found: Sequence[Subscription]) -> None:
    for each in found:
        _say(out, each)
    failed = any(each.state in (SubscriptionState.failed, SubscriptionState.denied) for each in found)
    out.finish({"subscriptions": [_as_dict(each) for each in found]}, failed=failed)


def _say(out: Output, subscription: Subscription) -> None:
    until = subscription.lease_expires_at
    parts = [
        f"{subscription.state.value:14}{subscription.topic_url}",
        f"at {subscription.hub_url}" if subscription.hub_url else "",
        f"until {local_time(until)}" if until is not None else "",
        "(silent: polled hourly)" if subscription.silent else "",
        f"- {subscription.reason}" if subscription.reason else "",
    ]
    out.say(" ".join(filter(None, parts)))


def _as_dict(subscription: Subscription) -> dict[str, Any]:
    times = ("lease_expires_at", "created_at", "verified_at", "delivered_at", "polled_at")
    said: dict[str, Any] = {
        name: getattr(subscription, name)
        for name in ("id", "page_url", "topic_url", "hub_url", "lease_seconds", "silent", "missed", "reason")
    }
    said["state"] = subscription.state.value
    for name in times:
        at = getattr(subscription, name)
        said[name] = at.isoformat() if at is not None else None
    return said
