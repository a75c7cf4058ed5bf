"""Flask-Linkback: a Flask site as part of the web around it."""

from . import errors, signals
from .blueprints.pingback import ping_func
from .extension import Linkback

__all__ = ["Linkback", "errors", "ping_func", "signals"]
