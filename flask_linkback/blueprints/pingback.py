"""Pingback: the XML-RPC endpoint."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask import Blueprint, Response, has_request_context, render_template, request

from ..linkbacks.advertising import PINGBACK, server_url
from ..linkbacks.receiving import Refusal, Refused, receive
from ..linkbacks.verifying import HOLD_SECONDS, verify_now
from ..protocols import xmlrpc
from ..protocols.pingback import METHOD, FaultCode, fault
from ..site import Site, current_site
from . import door

__all__ = [
    "ENDPOINT",
    "Method",
    "Methods",
    "make_blueprint",
    "ping_func",
    "server_url",
]

logger = logging.getLogger("flask_linkback.pingback")

ENDPOINT: Final = PINGBACK

_FAULTS: Final[Mapping[Refusal, FaultCode]] = {
    Refusal.bad_source: FaultCode.SOURCE_DOES_NOT_EXIST,
    Refusal.bad_target: FaultCode.TARGET_IS_NOT_PINGABLE,
    Refusal.same_page: FaultCode.TARGET_IS_NOT_PINGABLE,
    Refusal.no_such_target: FaultCode.TARGET_DOES_NOT_EXIST,
    Refusal.target_closed: FaultCode.TARGET_IS_NOT_PINGABLE,
    Refusal.blocked: FaultCode.ACCESS_DENIED,
    Refusal.already: FaultCode.ALREADY_REGISTERED,
    Refusal.too_many: FaultCode.ACCESS_DENIED,
    Refusal.no_such_source: FaultCode.SOURCE_DOES_NOT_EXIST,
    Refusal.source_unavailable: FaultCode.UPSTREAM_ERROR,
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
    """Tell us that the page at ``source`` links to our page at ``target``.

    Returns a sentence of thanks. Faults: 16 the source cannot be read, 17 it has no link to the
    target, 32 there is no such target, 33 it accepts no pingbacks, 48 we know already, 49 not
    wanted, or too many pingbacks (see the Retry-After header), 50 the source's server has trouble, 0
    anything else.
    """
    # Pingback 1.0, section 3. By default the source is looked at later; with PINGBACK_VERIFY
    # "at_once" it is looked at now, within a short time.
    site = current_site()
    caller = (request.remote_addr or "") if has_request_context() else ""
    at_once = site.settings.linkbacks.pingback_verify == "at_once"
    try:
        received = receive(
            site,
            protocol="pingback",
            source=source,
            target=target,
            caller=caller,
            hold_seconds=HOLD_SECONDS if at_once else 0,
        )
        if received.is_known:
            raise Refused(Refusal.already)
        if at_once:
            verify_now(site, received)
    except Refused as refused:
        raise fault(_FAULTS[refused.refusal], retry_after=refused.retry_after) from None
    return f"pingback from {source} to {target} saved"


# --- XML-RPC -----------------------------------------------------------------------------------------

_PYTHON_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "int": int,
    "i4": int,
    "i8": int,
    "boolean": bool,
    "double": (float, int),
    "dateTime.iso8601": datetime,
    "base64": bytes,
    "array": list,
    "struct": dict,
}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of the endpoint: what it is called, what it takes and gives, what it is for."""

    name: str
    function: Callable[..., Any]
    returns: str
    args: Sequence[str]
    help: str
    parameters: inspect.Signature

    @property
    def signatures(self) -> list[list[str]]:
        """What it gives and takes: one list with, and one without each argument that may be left out."""
        needed = sum(each.default is each.empty for each in self.parameters.parameters.values())
        numbers = range(min(needed, len(self.args)), len(self.args) + 1)
        return [[self.returns, *self.args[:number]] for number in numbers]

    def takes(self, params: Sequence[Any]) -> bool:
        """Do these parameters fit, in number and type?"""
        try:
            self.parameters.bind(*params)
        except TypeError:
            return False
        return all(_is_a(given, kind) for kind, given in zip(self.args, params, strict=False))


def _is_a(value: Any, kind: str) -> bool:
    wanted = _PYTHON_TYPES.get(kind)
    if wanted is None:
        return True
    return isinstance(value, wanted) and isinstance(value, bool) == (kind == "boolean")


class Methods:
    """The XML-RPC methods of an application: pingback, introspection, and its own.

    There is no ``system.multicall``: one request must not do the work of a thousand.
    """

    def __init__(self) -> None:
        self._methods: dict[str, Method | Callable[[], Method]] = {}
        self._when: dict[str, Callable[[Site], bool] | None] = {}
        """On which sites there is a method; None: on all of them."""
        self.register(METHOD, ping_func, args=["string", "string"], when=_takes_pingbacks)
        self.register("system.listMethods", self.list_methods, returns="array")
        self.register("system.methodHelp", self.method_help, args=["string"])
        self.register("system.methodSignature", self.method_signature, returns="array", args=["string"])

    def __iter__(self) -> Iterator[Method]:
        return (self._find(name) for name in self.list_methods())

    def register(
        self,
        name: str,
        function: Callable[..., Any] | str,
        returns: str = "string",
        args: Sequence[str] | None = None,
        *,
        when: Callable[[Site], bool] | None = None,
    ) -> None:
        """Offer a function, or what a dotted path names, as a method.

        ``returns`` and ``args`` are XML-RPC types: calls with others are refused; without ``args``
        each parameter of the function is a string. A dotted path is imported when it is needed first.
        On a site of which ``when`` is not true there is no such method.
        """
        self._when[name] = when
        if isinstance(function, str):
            self._methods[name] = lambda: _method(name, current_site().resolve(function), returns, args)
        else:
            self._methods[name] = _method(name, function, returns, args)

    def call(self, name: str, params: Sequence[Any]) -> Any:
        """Call a method; raises `Fault` for a wrong name, wrong parameters and what the method raises."""
        method = self._find(name)
        if not method.takes(params):
            raise fault(FaultCode.WRONG_PARAMS)
        try:
            return method.function(*params)
        except xmlrpc.Fault:
            raise
        except Exception:
            logger.exception("The XML-RPC method %s raised.", name)
            raise fault(FaultCode.GENERIC if name == METHOD else FaultCode.INTERNAL_ERROR) from None

    def _find(self, name: str) -> Method:
        method = self._methods.get(name)
        if method is None or not self._is_there(name):
            raise fault(FaultCode.NO_SUCH_METHOD)
        if not isinstance(method, Method):
            method = self._methods[name] = method()
        return method

    def _is_there(self, name: str) -> bool:
        when = self._when[name]
        return when is None or when(current_site())

    def list_methods(self) -> list[str]:
        """List the names of the methods."""
        return [name for name in sorted(self._methods) if self._is_there(name)]

    def method_help(self, name: str) -> str:
        """Say what a method is for."""
        return self._find(name).help

    def method_signature(self, name: str) -> list[list[str]]:
        """Say what a method gives and takes: a list of lists, the type given first."""
        return self._find(name).signatures


def _takes_pingbacks(site: Site) -> bool:
    return "pingback" in site.settings.linkbacks.protocols


def _method(name: str, function: Any, returns: str, args: Sequence[str] | None) -> Method:
    try:
        parameters = inspect.signature(function)
    except (TypeError, ValueError):  # no function at all, or one written in C
        raise TypeError(f"{name} needs a function whose parameters can be known, not {function!r}.") from None
    return Method(
        name=name,
        function=function,
        returns=returns,
        args=["string"] * len(parameters.parameters) if args is None else args,
        help=_plain(inspect.getdoc(function) or ""),
        parameters=parameters,
    )


def _plain(docstring: str) -> str:
    """A docstring as people read it: a line for each paragraph, no marks."""
    paragraphs = (" ".join(each.split()) for each in docstring.split("\n\n"))
    return "\n\n".join(paragraphs).replace("``", "").replace("`", "")


# --- the endpoint ------------------------------------------------------------------------------------


def make_blueprint(methods: Methods) -> Blueprint:
    """Return the blueprint ``linkback_pingback`` with its one endpoint."""
    blueprint = Blueprint("linkback_pingback", __name__)
    blueprint.url_value_preprocessor(door.exempt_from_csrf)

    @blueprint.route("/pingback", methods=("GET", "POST"))
    def endpoint() -> Response | str:
        if request.method == "POST":
            return answer(methods)
        return render_template("linkback/methods.html", methods=list(methods))

    return blueprint


def answer(methods: Methods) -> Response:
    """Answer an XML-RPC call; faults come with HTTP 200."""
    call: xmlrpc.Call | None = None
    retry_after = None
    try:
        call = xmlrpc.parse_call(_body())
        body = _dump(methods.call(call.method, call.params))
    except xmlrpc.Fault as raised:
        _log(raised, call)
        retry_after = raised.retry_after
        body = xmlrpc.dump_fault(raised)
    response = Response(body, content_type="text/xml; charset=utf-8")
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _body() -> bytes:
    if request.mimetype not in _TYPES:
        raise fault(FaultCode.NOT_A_CALL)
    body = door.body(xmlrpc.MAX_BODY_BYTES)
    if len(body) > xmlrpc.MAX_BODY_BYTES:
        raise fault(FaultCode.NOT_A_CALL)
    return body


def _log(raised: xmlrpc.Fault, call: xmlrpc.Call | None) -> None:
    """Leave one record of a call that was not answered as it hoped."""
    values: dict[str, Any] = {"fault": raised.code, "reason": raised.message, "caller": request.remote_addr}
    if call is not None:
        values |= {"method": call.method, "params": [str(param)[:300] for param in call.params[:2]]}
    logger.info("Answered a call with fault %d.", raised.code, extra=values)


def _dump(value: Any) -> bytes:
    try:
        return xmlrpc.dump_response(value)
    except (TypeError, ValueError):
        logger.exception("An XML-RPC method returned what XML-RPC cannot say.")
        raise fault(FaultCode.GENERIC) from None
