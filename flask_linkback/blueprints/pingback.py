"""Pingback: the XML-RPC endpoint, and where a page says that it has one."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Response, current_app, has_request_context, render_template, request
from werkzeug.exceptions import RequestEntityTooLarge

from ..linkbacks.receiving import Refusal, Refused, receive
from ..linkbacks.targets import Targets
from ..linkbacks.verifying import verify_now
from ..protocols import xmlrpc
from ..protocols.pingback import FaultCode, fault
from ..site import Site, current_site

__all__ = ["ENDPOINT", "Method", "Methods", "advertise", "exempt_from_csrf", "make_blueprint", "ping_func"]

logger = logging.getLogger("flask_linkback.pingback")

ENDPOINT: Final = "linkback_pingback.endpoint"

_FAULTS: Final[Mapping[Refusal, FaultCode]] = {
    Refusal.bad_source: FaultCode.SOURCE_DOES_NOT_EXIST,
    Refusal.bad_target: FaultCode.TARGET_IS_NOT_PINGABLE,
    Refusal.same_page: FaultCode.TARGET_IS_NOT_PINGABLE,
    Refusal.no_such_target: FaultCode.TARGET_DOES_NOT_EXIST,
    Refusal.target_closed: FaultCode.TARGET_IS_NOT_PINGABLE,
    Refusal.already: FaultCode.ALREADY_REGISTERED,
    Refusal.too_many: FaultCode.ACCESS_DENIED,
    Refusal.no_such_source: FaultCode.SOURCE_DOES_NOT_EXIST,
    Refusal.no_link: FaultCode.SOURCE_DOES_NOT_LINK,
    Refusal.application: FaultCode.GENERIC,
}
_TYPES: Final = (
    "",
    "text/xml",
    "application/xml",
    "text/plain",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
)
"""Media types that a call may come with: what XML-RPC clients, and curl, say."""


# --- the method --------------------------------------------------------------------------------------


def ping_func(source: str, target: str) -> str:
    """Register that the page at ``source`` links to our page at ``target``.

    Returns a sentence of thanks; raises `flask_linkback.protocols.xmlrpc.Fault` with a code of
    Pingback 1.0, section 3. By default the source is looked at later; with PINGBACK_VERIFY
    "at_once" it is looked at now, within a short time.
    """
    site = current_site()
    caller = (request.remote_addr or "") if has_request_context() else ""
    try:
        received = receive(site, protocol="pingback", source=source, target=target, caller=caller)
        if site.settings.linkbacks.pingback_verify == "at_once":
            verify_now(site, received)
    except Refused as refused:
        logger.info("Refused a pingback: %s", refused, extra={"source": source, "target": target})
        raise fault(_FAULTS[refused.refusal], retry_after=refused.retry_after) from None
    return f"pingback from {source} to {target} saved"


# --- XML-RPC -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of the endpoint: what it is called, what it takes and gives, what it is for."""

    name: str
    function: Callable[..., Any]
    returns: str = "string"
    args: Sequence[str] = ()
    help: str = ""

    @property
    def signature(self) -> list[str]:
        return [self.returns, *self.args]


class Methods:
    """The XML-RPC methods of an application: pingback, introspection, and its own.

    There is no ``system.multicall``: one request must not do the work of a thousand.
    """

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}
        self.register("pingback.ping", ping_func, args=["string", "string"])
        self.register("system.listMethods", self.list_methods, returns="array")
        self.register("system.methodHelp", self.method_help, args=["string"])
        self.register("system.methodSignature", self.method_signature, returns="array", args=["string"])

    def __iter__(self) -> Iterator[Method]:
        return iter(sorted(self._methods.values(), key=lambda method: method.name))

    def register(
        self,
        name: str,
        function: Callable[..., Any] | str,
        returns: str = "string",
        args: Sequence[str] | None = None,
    ) -> None:
        """Offer a function, or what a dotted path names, as a method.

        ``returns`` and ``args`` are XML-RPC types for ``system.methodSignature``; without ``args``
        each parameter of the function counts as a string.
        """
        if isinstance(function, str):
            function = current_site().resolve(function)
        if not callable(function):
            raise TypeError(f"{name} needs a function, not {function!r}.")
        if args is None:
            args = ["string"] * len(inspect.signature(function).parameters)
        text = inspect.getdoc(function) or ""
        self._methods[name] = Method(name=name, function=function, returns=returns, args=args, help=text)

    def call(self, name: str, params: Sequence[Any]) -> Any:
        """Call a method; raises `Fault` for a wrong name, wrong parameters and what the method raises."""
        method = self._find(name)
        try:
            inspect.signature(method.function).bind(*params)
        except TypeError:
            raise fault(FaultCode.WRONG_PARAMS) from None
        wanted_strings = [kind == "string" for kind in method.args]
        if any(
            wanted and not isinstance(given, str)
            for wanted, given in zip(wanted_strings, params, strict=False)
        ):
            raise fault(FaultCode.WRONG_PARAMS)
        try:
            return method.function(*params)
        except xmlrpc.Fault:
            raise
        except Exception:
            logger.exception("The XML-RPC method %s raised.", name)
            raise fault(FaultCode.GENERIC) from None

    def _find(self, name: str) -> Method:
        if name not in self._methods:
            raise fault(FaultCode.NO_SUCH_METHOD)
        return self._methods[name]

    def list_methods(self) -> list[str]:
        """List the names of the methods."""
        return [method.name for method in self]

    def method_help(self, name: str) -> str:
        """Say what a method is for."""
        return self._find(name).help

    def method_signature(self, name: str) -> list[list[str]]:
        """Say what a method gives and takes: a list of lists, the type given first."""
        return [self._find(name).signature]


# --- the endpoint ------------------------------------------------------------------------------------


def make_blueprint(methods: Methods) -> Blueprint:
    """Return the blueprint ``linkback_pingback`` with its one endpoint."""
    blueprint = Blueprint("linkback_pingback", __name__)
    blueprint.url_value_preprocessor(exempt_from_csrf)

    @blueprint.route("/pingback", methods=("GET", "POST"))
    def endpoint() -> Response | str:
        if request.method == "POST":
            return answer(methods)
        return render_template("linkback/methods.html", methods=list(methods))

    return blueprint


def answer(methods: Methods) -> Response:
    """Answer an XML-RPC call; faults come with HTTP 200."""
    retry_after = None
    try:
        call = xmlrpc.parse_call(_body())
        body = _dump(methods.call(call.method, call.params))
    except xmlrpc.Fault as raised:
        retry_after = raised.retry_after
        body = xmlrpc.dump_fault(raised)
    response = Response(body, content_type="text/xml; charset=utf-8")
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _body() -> bytes:
    if request.mimetype not in _TYPES:
        raise fault(FaultCode.NOT_A_CALL)
    request.max_content_length = xmlrpc.MAX_BODY_BYTES
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise fault(FaultCode.NOT_A_CALL) from None


def _dump(value: Any) -> bytes:
    try:
        return xmlrpc.dump_response(value)
    except (TypeError, ValueError):
        logger.exception("An XML-RPC method returned what XML-RPC cannot say.")
        raise fault(FaultCode.GENERIC) from None


def exempt_from_csrf(endpoint: str | None, values: Any) -> None:
    """Exempt the blueprint that is about to serve from an installed Flask-WTF CSRFProtect.

    In the request, so that it does not matter which of the two was initialised first.
    """
    protect = current_app.extensions.get("csrf")
    if protect is not None and request.blueprint is not None:
        protect.exempt(current_app.blueprints[request.blueprint])


# --- autodiscovery -----------------------------------------------------------------------------------


def accepts_here(site: Site) -> bool:
    """Is the page that is served one that accepts pingbacks?"""
    settings = site.settings.linkbacks
    return (
        settings.accept
        and "pingback" in settings.protocols
        and _is_mounted(site)
        and request.endpoint in site.get(Targets).by_endpoint(site)
    )


def _is_mounted(site: Site) -> bool:
    return site.settings.site.base_url is not None and ENDPOINT in site.app.view_functions


def server_url(site: Site) -> str:
    """The absolute URL of the XML-RPC endpoint."""
    return site.url_for(ENDPOINT)


def advertise(response: Response) -> Response:
    """Add ``X-Pingback`` to a page that accepts pingbacks (Pingback 1.0, section 2)."""
    if response.status_code == 200 and request.method in ("GET", "HEAD"):
        site = current_site()
        if accepts_here(site):
            response.headers["X-Pingback"] = server_url(site)
    return response
