"""Errors: every exception that Flask-Linkback raises.

::

    LinkbackError
    ├── ConfigError              a setting or the way the extension is put together
    │   ├── BaseURLMissing
    │   └── MissingExtra
    ├── ImproperlyConfigured     a feed's class lacks something
    ├── FeedDoesNotExist         there is no feed for these arguments
    ├── UnserializableContentError  a text that XML cannot hold (also a ValueError)
    ├── BulkRefused              a bulk statement would change watched rows unseen
    ├── AlreadyRegistered        the name of a hook or receiver that is taken
    ├── NotRegistered            a hook that is not there
    ├── ReplayRefused            a delivery that cannot be sent again now (also a ValueError)
    ├── UnknownTarget            a URL or object that accepts no linkbacks
    ├── MatchError               a filter that cannot be made, kept or searched with (also a ValueError)
    ├── NoHub                    nobody says which hub is to be told (also a ValueError)
    ├── SubscriptionError        a hub did not take a request
    ├── BadSecret                a secret that no webhook is signed with (also a ValueError)
    ├── BadSignature             a webhook that is not signed as it should be
    └── FetchError               a page could not be fetched
        ├── AddressRefused
        ├── TooLarge
        ├── TooSlow
        ├── TooManyRedirects
        └── Unreachable

Not of the tree is `flask_linkback.protocols.xmlrpc.Fault`, the answer of an XML-RPC method.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AddressRefused",
    "AlreadyRegistered",
    "BadSecret",
    "BadSignature",
    "BaseURLMissing",
    "BulkRefused",
    "ConfigError",
    "FeedDoesNotExist",
    "FetchError",
    "ImproperlyConfigured",
    "LinkbackError",
    "MatchError",
    "MissingExtra",
    "NoHub",
    "NotRegistered",
    "ReplayRefused",
    "SubscriptionError",
    "TooLarge",
    "TooManyRedirects",
    "TooSlow",
    "Unreachable",
    "UnserializableContentError",
    "UnknownTarget",
    "did_you_mean",
]


class LinkbackError(Exception):
    """Something that Flask-Linkback cannot do."""

    def __init__(self, message: str = "") -> None:
        """Say what is wrong; without a message, the first line of the class's docstring says it."""
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class ConfigError(LinkbackError):
    """A setting, or the way the extension is put together, is wrong."""


class BaseURLMissing(ConfigError):
    """Set LINKBACK_BASE_URL (or SERVER_NAME): what is sent or advertised is built from it."""


class MissingExtra(ConfigError):
    """A feature needs packages of an extra that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs: pip install 'flask-linkback[{extra}]'")


class ImproperlyConfigured(LinkbackError):
    """The class of a feed lacks something, or a hook of it is not what it should be."""


class FeedDoesNotExist(LinkbackError):
    """There is no feed for these arguments."""


class UnserializableContentError(LinkbackError, ValueError):
    """Control characters are not supported in XML 1.0"""


class BulkRefused(LinkbackError):
    """A bulk statement would change watched rows unseen."""


class AlreadyRegistered(LinkbackError):
    """A hook, or a receiver of webhooks, of this name is registered already."""


class NotRegistered(LinkbackError):
    """No hook of this name is registered."""


class ReplayRefused(LinkbackError, ValueError):
    """The delivery cannot be sent again now."""


class UnknownTarget(LinkbackError):
    """The URL or object is none that accepts linkbacks."""


class MatchError(LinkbackError, ValueError):
    """The filter cannot be made, kept or searched with."""


class NoHub(LinkbackError, ValueError):
    """Give hub_url or set LINKBACK_HUBS."""


class SubscriptionError(LinkbackError):
    """A hub did not take a request.

    ``subscription`` is what was asked for, ``response`` the last attempt: its ``status_code`` (None where
    there was no answer), ``body`` and ``reason``.
    """

    def __init__(self, message: str, subscription: object, response: object) -> None:
        super().__init__(message)
        self.subscription = subscription
        self.response = response


class BadSecret(LinkbackError, ValueError):
    """The secret is none that webhooks are signed with."""


class BadSignature(LinkbackError):
    """The signature of a webhook is missing or wrong."""


class FetchError(LinkbackError):
    """The page could not be fetched.

    ``kind`` is a short stable word for records and counters.
    """

    kind = "fetch_error"


class AddressRefused(FetchError):
    """The address, port or form of the URL is one that we do not talk to."""

    kind = "address_refused"


class TooLarge(FetchError):
    """The answer has more bytes than allowed."""

    kind = "too_large"


class TooSlow(FetchError):
    """The answer did not arrive within its deadline."""

    kind = "too_slow"


class TooManyRedirects(FetchError):
    """The page redirects too often."""

    kind = "too_many_redirects"


class Unreachable(FetchError):
    """The server cannot be reached, or does not speak HTTP as it should."""

    kind = "unreachable"


def did_you_mean(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return ``" Did you mean X?"`` for the nearest of the known words, or ``""``."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {prefix}{near[0]}?" if near else ""
