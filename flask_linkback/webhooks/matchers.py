"""Matchers: what is wanted of one field.

Each is given the value of a field, or `NOT_THERE`, and how that changed. A value of another kind, or none, is
no match and never an error. Nothing is coerced: numbers are compared with numbers (1 is 1.0), texts with
texts, and True is no number.
"""

from __future__ import annotations

import functools
import json
import math

# one of the matchers is called Any
import typing as t
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import ClassVar, Final

from ..errors import MatchError, MissingExtra

Change: t.TypeAlias = tuple[t.Any, t.Any]
"""The old and the new value, where they differ."""
_T = t.TypeVar("_T")

MAX_ALTERNATIVES: Final = 64
"""Ways in which a filter may hold, when what is joined by ``|`` is multiplied out."""
MAX_PATTERN: Final = 256
MAX_LEVELS: Final = 8
"""Of a path, of a value, and of matchers within each other."""
MAX_SEARCHED: Final = 65_536
"""Characters of a value that `Contains` and `Like` look at."""
MAX_BITS: Final = 1024
"""Of an integer."""
_MAX_SHOWN: Final = 80
_PROGRAM_BYTES: Final = 1 << 17
"""What a pattern may need when it is compiled: ``.{1000}`` is one of 7 characters, but not small."""
_SEARCH_BYTES: Final = 1 << 23


class _NotThere:
    def __repr__(self) -> str:
        return "NOT_THERE"


NOT_THERE: Final[t.Any] = _NotThere()
"""The value of a field that an event lacks."""


# --- values ------------------------------------------------------------------------------------------


def scalar(value: object) -> tuple[str, t.Any] | None:
    """Return the kind of a value and the value, so that equal pairs are equal values; None for other things.

    Integers, floats and Decimals are all numbers. What is not a number (NaN) is equal to nothing.
    """
    kind = type(value)
    if kind is str:
        return "text", value
    if kind is bool:
        return "truth", value
    if kind is int:
        return "number", value
    if value is None:
        return "none", None
    # a member of an enum, and text that is marked as safe, are what they are for JSON
    if isinstance(value, str):
        return "text", str.__str__(value)
    if isinstance(value, int):
        return "number", int.__int__(value)
    if isinstance(value, float):
        return None if math.isnan(value) else ("number", float.__float__(value))
    if isinstance(value, Decimal):
        return None if value.is_nan() else ("number", value)
    return None


def text_of(value: object) -> str | None:
    """Return a text as a plain one, and None for anything else."""
    if type(value) is str:
        return value
    return str.__str__(value) if isinstance(value, str) else None


def same(one: object, other: object, levels: int = 64) -> bool:
    """Are these the same, kind by kind? What is nested deeper than anybody's data is not."""
    key = scalar(one)
    if key is not None:
        return key == scalar(other)
    if not levels:
        return False
    if isinstance(one, (list, tuple)):
        return (
            isinstance(other, (list, tuple))
            and len(one) == len(other)
            and all(same(a, b, levels - 1) for a, b in zip(one, other, strict=True))
        )
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(value, other[name], levels - 1) for name, value in one.items())
        )
    return one is other


def _identity(value: object) -> tuple[str, t.Any]:
    """Return what is equal for values that are `same`, to hash it."""
    key = scalar(value)
    if key is not None:
        return key
    if isinstance(value, dict):
        return "dict", frozenset((name, _identity(each)) for name, each in value.items())
    return "list", tuple(_identity(each) for each in t.cast("list[object]", value))


def _checked(value: object, matcher: str, levels: int = MAX_LEVELS) -> t.Any:
    """Return a value that a matcher can be made of: what JSON knows; raises `MatchError`."""
    if isinstance(value, Matchable):
        raise MatchError(f"{matcher} takes a value, not a matcher: {value!r}. Join matchers by & and |.")
    if isinstance(value, (list, tuple)) and levels:
        return [_checked(each, matcher, levels - 1) for each in value]
    if isinstance(value, dict) and levels and all(isinstance(name, str) for name in value):
        return {name: _checked(each, matcher, levels - 1) for name, each in value.items()}
    key = None if isinstance(value, Decimal) else scalar(value)
    if key is None or (isinstance(key[1], float) and not math.isfinite(key[1])):
        raise MatchError(
            f"{matcher} cannot be made of {shown(value)}: values are those of JSON, and a date is its text."
        )
    return key[1]


def _checked_text(value: object, matcher: str) -> str:
    text = text_of(value)
    if text is None:
        raise MatchError(f"{matcher} takes a text, not {shown(value)}.")
    return text


def shown(value: object) -> str:
    """Return a value as it stands in a sentence, cut where it is long."""
    key = scalar(value)
    if value is NOT_THERE:
        told = "missing"
    elif key is None:
        told = "a list" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"
    elif key[0] == "text":
        # what is cut off need not be escaped first
        told = json.dumps(key[1][: _MAX_SHOWN + 1], ensure_ascii=False)
    elif isinstance(key[1], int) and key[1].bit_length() > MAX_BITS:
        told = "a huge number"
    else:
        told = str(key[1]) if key[0] == "number" else json.dumps(key[1])
    return told if len(told) <= _MAX_SHOWN else f"{told[: _MAX_SHOWN - 3]}..."


def bare(value: object) -> str:
    """A value in a description: a word without quotes, where nobody can take it for something else."""
    text = text_of(value)
    if text is not None and len(text) <= _MAX_SHOWN and text.isprintable():
        plain = text.replace("-", "").replace("_", "").replace(".", "").isalnum()
        if plain and text[0].isalpha() and text not in ("true", "false", "null"):
            return text
    return shown(value)


# --- matchers ----------------------------------------------------------------------------------------


class Matchable:
    """What is wanted of a field.

    Equal to what it matches, on either side of ``==``; equal to another matcher that says the same. Its
    hash is that of what it says, not that of the values it matches: no key to look a value up by.
    """

    __slots__ = ("_said", "value")

    op: ClassVar[str] = ""
    """Its name where it is stored."""
    words: ClassVar[tuple[str, str]] = ("", "")
    """What is said of a field that it matches, and of one that it does not."""
    of_value: ClassVar[bool] = True
    """Is it about a value, so that neither it nor its negation holds where there is none?"""

    value: t.Any
    _said: t.Any

    def __init__(self, value: object) -> None:
        self.value = _checked(value, type(self).__name__)
        self._said = _identity(self.value)

    def test(self, value: object) -> bool:
        """Does a value that is there match?"""
        raise NotImplementedError

    def meets(self, value: object, change: Change | None) -> bool:
        """Does it hold for a field, given its value, or NOT_THERE, and how that changed?"""
        return value is not NOT_THERE and self.test(value)

    def misses(self, value: object, change: Change | None) -> bool:
        """Does its negation hold?"""
        return not self.meets(value, change) and not (self.of_value and value is NOT_THERE)

    def ways(self, negated: bool = False) -> list[tuple[Matchable, ...]]:
        """Return simple matchers, of which any row has to hold as a whole."""
        return [(Not(self) if negated else self,)]

    def told(self, show: Callable[[object], str], negated: bool = False) -> str:
        """Say what is wanted of a field, in words to stand behind its name."""
        return self.words[negated].format(*self._filled(show))

    def joint(self, negated: bool = False) -> str:
        """Return the word between its parts, where it has any."""
        return ""

    def first_unmet(self, value: object, change: Change | None, negated: bool = False) -> Unmet:
        """Return the simple matcher that decided that this one does not hold, and whether it was negated."""
        return self, negated

    def dumped(self) -> object:
        """Return what is stored beside the name."""
        return self.value

    def leaves(self) -> Iterator[Matchable]:
        """Walk the simple matchers that it is made of."""
        yield self

    def _filled(self, show: Callable[[object], str]) -> tuple[str, ...]:
        return (show(self.value),)

    def _arguments(self) -> tuple[t.Any, ...]:
        return (self.value,)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Matchable):
            return type(self) is type(other) and bool(self._said == other._said)
        return self.meets(other, None)

    def __hash__(self) -> int:
        return hash((self.op, self._said))

    def __and__(self, other: Matchable) -> And:
        return And(self, other) if isinstance(other, Matchable) else NotImplemented

    def __or__(self, other: Matchable) -> Or:
        return Or(self, other) if isinstance(other, Matchable) else NotImplemented

    def __reduce__(self) -> tuple[t.Any, ...]:
        return type(self), self._arguments()

    def __repr__(self) -> str:
        arguments = (
            json.dumps(each, ensure_ascii=False) if isinstance(each, str) else repr(each)
            for each in self._arguments()
        )
        return f"{type(self).__name__}({', '.join(arguments)})"


Unmet: t.TypeAlias = tuple[Matchable, bool]


class Bare(Matchable):
    """A matcher that is made of nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        self.value = True
        self._said = None

    def _arguments(self) -> tuple[t.Any, ...]:
        return ()


class Any(Bare):
    """Whatever a field is, also where it is missing."""

    __slots__ = ()
    op = "any"
    words = ("is anything", "is never right")
    of_value = False

    def __init__(self, value: object = None) -> None:
        """Take an argument, as durian does, and pass it over."""
        super().__init__()

    def meets(self, value: object, change: Change | None) -> bool:
        return True

    def ways(self, negated: bool = False) -> list[tuple[Matchable, ...]]:
        return [] if negated else [()]


class Exists(Bare):
    """A field that is there, also where it is None."""

    __slots__ = ()
    op = "exists"
    words = ("is there", "is missing")
    of_value = False

    def meets(self, value: object, change: Change | None) -> bool:
        return value is not NOT_THERE

    def ways(self, negated: bool = False) -> list[tuple[Matchable, ...]]:
        return [(Missing() if negated else self,)]


class Missing(Bare):
    """A field that is not there."""

    __slots__ = ()
    op = "missing"
    words = ("is missing", "is there")
    of_value = False

    def meets(self, value: object, change: Change | None) -> bool:
        return value is NOT_THERE

    def ways(self, negated: bool = False) -> list[tuple[Matchable, ...]]:
        return [(Exists() if negated else self,)]


class Is(Matchable):
    """A value and no other: of its kind, numbers as numbers."""

    __slots__ = ()
    op = "is"
    words = ("is {}", "is not {}")

    def test(self, value: object) -> bool:
        return same(self.value, value)


class In(Matchable):
    """One of some values: ``In("draft", "paid")`` or ``In(["draft", "paid"])``."""

    __slots__ = ()
    op = "in"
    words = ("is one of {}", "is none of {}")

    def __init__(self, *values: object) -> None:
        (first, *others) = values or ([],)
        given = first if not others and isinstance(first, (list, tuple, set, frozenset)) else values
        self.value = [_checked(each, "In") for each in t.cast("Iterable[object]", given)]
        self._said = frozenset(_identity(each) for each in self.value)

    def test(self, value: object) -> bool:
        return any(same(each, value) for each in self.value)

    def _filled(self, show: Callable[[object], str]) -> tuple[str, ...]:
        told = ", ".join(show(each) for each in self.value[:_MAX_SHOWN])
        return (told if len(told) <= _MAX_SHOWN else f"{told[: _MAX_SHOWN - 3]}...",)


class Text(Matchable):
    """A matcher of texts, made of a text."""

    __slots__ = ()
    value: str

    def __init__(self, value: object) -> None:
        self.value = self._said = _checked_text(value, type(self).__name__)

    def test(self, value: object) -> bool:
        text = text_of(value)
        return text is not None and self.test_text(text)

    def test_text(self, text: str) -> bool:
        """Does a text match?"""
        raise NotImplementedError


class Startswith(Text):
    """A text that begins so."""

    __slots__ = ()
    op = "startswith"
    words = ("starts with {}", "does not start with {}")

    def test_text(self, text: str) -> bool:
        return text.startswith(self.value)


class Endswith(Text):
    """A text that ends so."""

    __slots__ = ()
    op = "endswith"
    words = ("ends with {}", "does not end with {}")

    def test_text(self, text: str) -> bool:
        return text.endswith(self.value)


class Contains(Text):
    """A text in which this stands, within its first 65 536 characters."""

    __slots__ = ()
    op = "contains"
    words = ("contains {}", "does not contain {}")

    def test_text(self, text: str) -> bool:
        return self.value in text[:MAX_SEARCHED]


class Like(Text):
    """A text in which a pattern of RE2 is found, within its first 65 536 characters.

    Needs the extra ``fast``: without it `MissingExtra`, never another engine, whose time a stranger's pattern
    could make grow without end. A pattern that RE2 refuses (look-around, back-references), or of more
    than 256 characters, is a `MatchError`.
    """

    __slots__ = ("_search",)
    op = "like"
    words = ("is like {}", "is not like {}")

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self._search = compiled(self.value)

    def test_text(self, text: str) -> bool:
        encoded = encoded_for_like(text)
        return encoded is not None and self._search(encoded) is not None


def encoded_for_like(text: str) -> bytes | None:
    """Return what RE2 is to look at; None for a text that has no bytes, half of a surrogate pair."""
    try:
        return text[:MAX_SEARCHED].encode()
    except UnicodeEncodeError:
        return None


@functools.lru_cache(maxsize=1024)
def compiled(pattern: str) -> Callable[[bytes], object]:
    """Return RE2's search for a pattern; raises `MatchError`, or `MissingExtra` without RE2."""
    try:
        import re2
    except ImportError:
        raise MissingExtra("match.Like", "fast") from None
    if len(pattern) > MAX_PATTERN:
        raise MatchError(f"Like takes a pattern of at most {MAX_PATTERN} characters, not {len(pattern)}.")
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    try:
        # first as small as it has to be, then with the room to be searched for in one pass
        for options.max_mem in (_PROGRAM_BYTES, _SEARCH_BYTES):
            made = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0] if error.args else ""
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        raise MatchError(f"{shown(pattern)} is no pattern of RE2: {said}.") from None
    search: Callable[[bytes], object] = made.search
    return search


class Bound(Matchable):
    """A matcher of what is ordered: numbers with numbers, texts with texts by their characters."""

    __slots__ = ()

    def __init__(self, value: object) -> None:
        super().__init__(value)
        if self._said[0] not in ("number", "text"):
            raise MatchError(f"{type(self).__name__} takes a number or a text, not {shown(value)}.")

    def test(self, value: object) -> bool:
        key = scalar(value)
        return key is not None and key[0] == self._said[0] and self.compare(key[1], self.value)

    @staticmethod
    def compare(value: t.Any, bound: t.Any) -> bool:
        """Is a value on the right side of a bound?"""
        raise NotImplementedError


class Gt(Bound):
    """Above a bound."""

    __slots__ = ()
    op = "gt"
    words = ("is above {}", "is not above {}")

    @staticmethod
    def compare(value: t.Any, bound: t.Any) -> bool:
        return bool(value > bound)


class Gte(Bound):
    """At a bound or above it."""

    __slots__ = ()
    op = "gte"
    words = ("is at least {}", "is not at least {}")

    @staticmethod
    def compare(value: t.Any, bound: t.Any) -> bool:
        return bool(value >= bound)


class Lt(Bound):
    """Below a bound."""

    __slots__ = ()
    op = "lt"
    words = ("is below {}", "is not below {}")

    @staticmethod
    def compare(value: t.Any, bound: t.Any) -> bool:
        return bool(value < bound)


class Lte(Bound):
    """At a bound or below it."""

    __slots__ = ()
    op = "lte"
    words = ("is at most {}", "is not at most {}")

    @staticmethod
    def compare(value: t.Any, bound: t.Any) -> bool:
        return bool(value <= bound)


class Changed(Bare):
    """A field whose value changed."""

    __slots__ = ()
    op = "changed"
    words = ("changed", "did not change")
    of_value = False

    def meets(self, value: object, change: Change | None) -> bool:
        return change is not None


class Became(Matchable):
    """A field whose value is this now, and was not before."""

    __slots__ = ()
    op = "became"
    words = ("became {}", "did not become {}")
    of_value = False

    def meets(self, value: object, change: Change | None) -> bool:
        return change is not None and same(self.value, change[1])


class FromTo(Matchable):
    """A field whose value was the one and is the other now."""

    __slots__ = ()
    op = "from_to"
    words = ("went from {} to {}", "did not go from {} to {}")
    of_value = False

    def __init__(self, old: object, new: object) -> None:
        super().__init__([old, new])

    def meets(self, value: object, change: Change | None) -> bool:
        return change is not None and same(self.value, change)

    def _filled(self, show: Callable[[object], str]) -> tuple[str, ...]:
        return (show(self.value[0]), show(self.value[1]))

    def _arguments(self) -> tuple[t.Any, ...]:
        return (self.value[0], self.value[1])


class Not(Matchable):
    """What a matcher does not match. A value that is missing is matched neither by it nor by its negation.

    A plain value means `Is`. What is not about a value is just negated: ``Not(Changed())``.
    """

    __slots__ = ()
    op = "not"
    value: Matchable

    def __init__(self, value: object) -> None:
        self.value = self._said = value if isinstance(value, Matchable) else Is(value)

    def meets(self, value: object, change: Change | None) -> bool:
        return self.value.misses(value, change)

    def misses(self, value: object, change: Change | None) -> bool:
        return self.value.meets(value, change)

    def ways(self, negated: bool = False) -> list[tuple[Matchable, ...]]:
        return self.value.ways(not negated)

    def told(self, show: Callable[[object], str], negated: bool = False) -> str:
        return self.value.told(show, not negated)

    def joint(self, negated: bool = False) -> str:
        return self.value.joint(not negated)

    def first_unmet(self, value: object, change: Change | None, negated: bool = False) -> Unmet:
        return self.value.first_unmet(value, change, not negated)

    def dumped(self) -> object:
        return dump_matcher(self.value)

    def leaves(self) -> Iterator[Matchable]:
        return self.value.leaves()


class Joined(Matchable):
    """Several matchers of one field."""

    __slots__ = ()
    value: tuple[Matchable, ...]
    sign: ClassVar[str]
    all_count: ClassVar[bool]

    def __init__(self, *parts: object) -> None:
        flat: list[Matchable] = []
        for part in parts:
            matcher = part if isinstance(part, Matchable) else Is(part)
            flat += matcher.value if type(matcher) is type(self) else [matcher]
        if len(flat) < 2:
            raise MatchError(f"{type(self).__name__} joins two matchers or more.")
        self.value = self._said = tuple(flat)

    def meets(self, value: object, change: Change | None) -> bool:
        return (all if self.all_count else any)(part.meets(value, change) for part in self.value)

    def misses(self, value: object, change: Change | None) -> bool:
        return (any if self.all_count else all)(part.misses(value, change) for part in self.value)

    def ways(self, negated: bool = False) -> list[tuple[Matchable, ...]]:
        of_parts = [part.ways(negated) for part in self.value]
        if self.all_count is negated:
            return [way for ways in of_parts for way in ways]
        return multiplied(of_parts)

    def told(self, show: Callable[[object], str], negated: bool = False) -> str:
        joint = self.joint(negated)
        told = [part.told(show, negated) for part in self.value]
        other = [part.joint(negated) not in ("", joint) for part in self.value]
        apart = [f"({words})" if is_other else words for words, is_other in zip(told, other, strict=True)]
        return f" {joint} ".join(apart)

    def joint(self, negated: bool = False) -> str:
        return "or" if self.all_count is negated else "and"

    def first_unmet(self, value: object, change: Change | None, negated: bool = False) -> Unmet:
        if self.all_count is negated:
            return self, negated
        return next(
            part.first_unmet(value, change, negated)
            for part in self.value
            if not (part.misses if negated else part.meets)(value, change)
        )

    def dumped(self) -> object:
        return [dump_matcher(part) for part in self.value]

    def leaves(self) -> Iterator[Matchable]:
        return (leaf for part in self.value for leaf in part.leaves())

    def _arguments(self) -> tuple[t.Any, ...]:
        return self.value

    def __repr__(self) -> str:
        return self.sign.join(
            f"({each!r})" if isinstance(each, Joined) else repr(each) for each in self.value
        )


class And(Joined):
    """All of some matchers: ``Gt(1) & Lt(9)``."""

    __slots__ = ()
    op = "all"
    sign = " & "
    all_count = True


class Or(Joined):
    """Any of some matchers: ``Is("a") | Startswith("b")``."""

    __slots__ = ()
    op = "either"
    sign = " | "
    all_count = False


def dump_matcher(matcher: Matchable) -> dict[str, t.Any]:
    """Return a matcher as JSON takes it."""
    return {matcher.op: matcher.dumped()}


def multiplied(of_parts: Iterable[list[tuple[_T, ...]]]) -> list[tuple[_T, ...]]:
    """Return the rows of which any has to hold, when one of each part has to; raises `MatchError`."""
    rows: list[tuple[_T, ...]] = [()]
    for ways in of_parts:
        if len(rows) * len(ways) > MAX_ALTERNATIVES:
            raise too_many_ways()
        rows = [(*row, *way) for row in rows for way in ways]
    return rows


def too_many_ways() -> MatchError:
    return MatchError(f"The filter may hold in more than {MAX_ALTERNATIVES} ways: use fewer | within &.")
