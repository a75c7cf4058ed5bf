"""Flask-Linkback: a Flask site as part of the web around it."""

from . import errors, signals
from .blueprints.pingback import ping_func
from .blueprints.websub import CallbackView
from .errors import FeedDoesNotExist
from .extension import Linkback
from .feeds import Feed, generators

__all__ = [
    "CallbackView",
    "Feed",
    "FeedDoesNotExist",
    "Linkback",
    "errors",
    "generators",
    "ping_func",
    "signals",
]
