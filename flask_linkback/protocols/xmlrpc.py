"""XML-RPC: calls, answers and faults, bytes <-> values."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from lxml import etree

from . import xml
from .xml import MAX_BODY_BYTES, Malformed

__all__ = [
    "APPLICATION_ERROR",
    "INTERNAL_ERROR",
    "MAX_BODY_BYTES",
    "NOT_A_CALL",
    "NOT_WELL_FORMED",
    "NO_SUCH_METHOD",
    "WRONG_PARAMS",
    "Call",
    "Fault",
    "Malformed",
    "Value",
    "dump_call",
    "dump_fault",
    "dump_response",
    "parse_call",
    "parse_response",
]

Value: TypeAlias = "str | int | float | bool | datetime | bytes | list[Value] | dict[str, Value] | None"

# "Specification for Fault Code Interoperability, version 20010516"
NOT_WELL_FORMED: Final = -32700
NOT_A_CALL: Final = -32600
NO_SUCH_METHOD: Final = -32601
WRONG_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
APPLICATION_ERROR: Final = -32500

MAX_PARAMS: Final = 32
MAX_VALUES: Final = 1000
MAX_DEPTH: Final = 16
MAX_METHOD_CHARACTERS: Final = 100
MAX_FAULT_CHARACTERS: Final = 500

_METHOD = re.compile(r"[A-Za-z0-9_.:/]+")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_DOUBLE = re.compile(r"[+-]?(?:[0-9]{1,64}(?:\.[0-9]{0,64})?|\.[0-9]{1,64})(?:[eE][+-]?[0-9]{1,3})?")
_BITS = {"int": 31, "i4": 31, "i8": 63}


class Fault(Exception):
    """The answer is a fault: a number for programs and a sentence for people.

    ``retry_after`` (seconds) does not travel in the XML; it is for the HTTP header beside it.
    """

    def __init__(self, code: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(code, message)
        self.code = int(code)
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One method call."""

    method: str
    params: tuple[Value, ...]


def parse_call(body: bytes) -> Call:
    """Read a call, or raise the ``Fault`` that is its answer.

    XML-RPC specification, "Request format". A byte order mark and white space before the XML declaration
    are tolerated. Too large, a DOCTYPE and no XML are -32700, anything but one clean call is -32600, too
    many or too deep values are -32602.
    """
    try:
        root = xml.parse(body)
    except Malformed as error:
        raise Fault(NOT_WELL_FORMED, str(error)) from None
    try:
        name, params = _call_parts(root)
        budget = _Budget()
        values = tuple(_value(_only_child(param, "value"), budget, 1) for param in params)
    except _TooMuch as error:
        raise Fault(WRONG_PARAMS, str(error)) from None
    except Malformed as error:
        raise Fault(NOT_A_CALL, str(error)) from None
    if budget.nil_seen:
        raise Fault(NOT_A_CALL, "A nil is no value of XML-RPC.")
    return Call(method=name, params=values)


def dump_call(method: str, params: Sequence[Value]) -> bytes:
    """Write a call that ``parse_call``, xmlrpc.client and WordPress read back."""
    if not _METHOD.fullmatch(method):
        raise ValueError(f"{method!r} is no name of an XML-RPC method.")
    written = "".join(f"<param>{_dump(value)}</param>" for value in params)
    return _document(f"<methodCall><methodName>{method}</methodName><params>{written}</params></methodCall>")


def parse_response(body: bytes) -> Value:
    """Read the value of an answer; raise the ``Fault`` it carries, or ``Malformed`` for anything else.

    XML-RPC specification, "Response format". ``nil`` is tolerated, and so is a fault code in a string.
    """
    root = xml.parse(body)
    if root.tag != "methodResponse" or len(root) != 1:
        raise Malformed("No methodResponse with one part.")
    budget = _Budget()
    if root[0].tag == "fault":
        raise _fault(_value(_only_child(root[0], "value"), budget, 1))
    if root[0].tag != "params":
        raise Malformed("Neither params nor fault.")
    return _value(_only_child(_only_child(root[0], "param"), "value"), budget, 1)


def dump_response(value: Value) -> bytes:
    """Write the answer of a call that went well."""
    return _document(
        f"<methodResponse><params><param>{_dump(value)}</param></params></methodResponse>",
    )


def dump_fault(fault: Fault) -> bytes:
    """Write the answer of a call that did not go well; it too travels with HTTP 200."""
    value = _dump({"faultCode": fault.code, "faultString": fault.message})
    return _document(f"<methodResponse><fault>{value}</fault></methodResponse>")


# --- reading ------------------------------------------------------------------------------------------


class _TooMuch(Malformed):
    """More values, or deeper ones, than anybody means."""


class _Budget:
    """What one document may still hold."""

    def __init__(self) -> None:
        self.values = MAX_VALUES
        self.nil_seen = False

    def spend(self, depth: int) -> None:
        self.values -= 1
        if self.values < 0 or depth > MAX_DEPTH:
            raise _TooMuch("Too many or too deeply nested values.")


def _call_parts(root: etree._Element) -> tuple[str, list[etree._Element]]:
    parts = list(root)
    if root.tag != "methodCall" or not parts or parts[0].tag != "methodName" or len(parts) > 2:
        raise Malformed("The document is no methodCall.")
    name = (parts[0].text or "").strip()
    if len(parts[0]) or len(name) > MAX_METHOD_CHARACTERS or not _METHOD.fullmatch(name):
        raise Malformed("The methodName is none.")
    if len(parts) == 1:
        return name, []
    params = list(parts[1])
    if parts[1].tag != "params" or any(param.tag != "param" for param in params):
        raise Malformed("The params are none.")
    if len(params) > MAX_PARAMS:
        raise _TooMuch("Too many params.")
    return name, params


def _only_child(element: etree._Element, tag: str) -> etree._Element:
    if len(element) != 1 or element[0].tag != tag or (element.text or "").strip():
        raise Malformed(f"A {tag} was expected.")
    return element[0]


def _value(element: etree._Element, budget: _Budget, depth: int) -> Value:
    budget.spend(depth)
    if len(element) == 0:  # "If no type is indicated, the type is string"
        return element.text or ""
    if len(element) > 1 or (element.text or "").strip() or (element[0].tail or "").strip():
        raise Malformed("A value holds one type.")
    typed = element[0]
    tag = typed.tag
    if tag == "array":
        data = _only_child(typed, "data")
        return [_value(_named(item, "value"), budget, depth + 1) for item in data]
    if tag == "struct":
        return dict(_member(item, budget, depth) for item in typed)
    if len(typed):
        raise Malformed("A plain value holds no elements.")
    if tag in ("nil", "{http://ws.apache.org/xmlrpc/namespaces/extensions}nil"):
        budget.nil_seen = True
        return None
    return _scalar(str(tag), typed.text or "")


def _named(element: etree._Element, tag: str) -> etree._Element:
    if element.tag != tag:
        raise Malformed(f"A {tag} was expected.")
    return element


def _member(element: etree._Element, budget: _Budget, depth: int) -> tuple[str, Value]:
    if element.tag != "member" or len(element) != 2 or len(element[0]):
        raise Malformed("A member has a name and a value.")
    name = _named(element[0], "name").text or ""
    return name, _value(_named(element[1], "value"), budget, depth + 1)


def _scalar(tag: str, text: str) -> Value:
    if tag == "string":
        return text
    text = text.strip()
    if tag in _BITS and _INTEGER.fullmatch(text):
        number = int(text)
        limit = 1 << _BITS[tag]
        if -limit <= number < limit:
            return number
    elif tag == "boolean" and text in ("0", "1"):
        return text == "1"
    elif tag == "double" and _DOUBLE.fullmatch(text):
        double = float(text)
        if math.isfinite(double):
            return double
    elif tag == "dateTime.iso8601" and len(text) <= 40:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    elif tag == "base64":
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            pass
    raise Malformed("A value is not of its type.")


def _fault(value: Value) -> Fault:
    if not isinstance(value, dict):
        raise Malformed("A fault is a struct.")
    code, message = value.get("faultCode"), value.get("faultString", "")
    if isinstance(code, str) and _INTEGER.fullmatch(code.strip()):
        code = int(code)
    if isinstance(code, bool) or not isinstance(code, int):
        raise Malformed("A fault has a number.")
    return Fault(code, message[:MAX_FAULT_CHARACTERS] if isinstance(message, str) else "")


# --- writing ------------------------------------------------------------------------------------------


def _document(content: str) -> bytes:
    return xml.DECLARATION + content.encode()


def _dump(value: Value) -> str:
    return f"<value>{_dump_typed(value)}</value>"


def _dump_typed(value: Value) -> str:
    if isinstance(value, str):
        return f"<string>{xml.escaped(value)}</string>"
    if isinstance(value, bool):
        return f"<boolean>{int(value)}</boolean>"
    if isinstance(value, int):
        return _dump_integer(int(value))
    if isinstance(value, float) and math.isfinite(value):
        return f"<double>{value!r}</double>"
    if isinstance(value, datetime):
        # XML-RPC has no zones and its readers know none: an aware time is written as UTC.
        moment = value.astimezone(UTC) if value.tzinfo else value
        return f"<dateTime.iso8601>{moment:%Y%m%dT%H:%M:%S}</dateTime.iso8601>"
    if isinstance(value, bytes):
        return f"<base64>{base64.b64encode(value).decode()}</base64>"
    if isinstance(value, list | tuple):
        return f"<array><data>{''.join(_dump(item) for item in value)}</data></array>"
    if isinstance(value, dict):
        members = "".join(
            f"<member><name>{xml.escaped(name)}</name>{_dump(item)}</member>" for name, item in value.items()
        )
        return f"<struct>{members}</struct>"
    raise TypeError(f"XML-RPC has no type for {value!r}.")


def _dump_integer(number: int) -> str:
    for tag in ("int", "i8"):
        if -(1 << _BITS[tag]) <= number < (1 << _BITS[tag]):
            return f"<{tag}>{number}</{tag}>"
    raise ValueError(f"{number} is too large for XML-RPC.")
