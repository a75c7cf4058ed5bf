"""Flask-Linkback: a Flask site as part of the web around it."""

from . import errors, signals
from .blueprints.pingback import ping_func
from .blueprints.websub import CallbackView
from .errors import FeedDoesNotExist
from .extension import Linkback
from .feeds import Feed, generators
from .webhooks import match
from .webhooks.hooks import Hook, ModelHook, SignalHook

__all__ = [
    "CallbackView",
    "Feed",
    "FeedDoesNotExist",
    "Hook",
    "Linkback",
    "ModelHook",
    "SignalHook",
    "errors",
    "generators",
    "match",
    "ping_func",
    "signals",
]
