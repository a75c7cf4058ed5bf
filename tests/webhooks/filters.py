"""Filters and events for hypothesis: few fields and values, so that they often meet."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from flask_linkback.webhooks import match

TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", "ab", "abc", "abcabc", "Oslo", "1", "true", "ß", "é\ud800", "aaaaaaaaaa", "b a"]
    ),
    st.text(alphabet="abcß ", max_size=12),
)
NUMBERS = st.one_of(
    st.integers(min_value=-3, max_value=3),
    st.sampled_from([1.0, 0.5, -0.0, 2**60, 10**40, 1e300]),
)
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans(), st.none())
STRUCTURED = st.one_of(
    st.lists(SCALARS, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "a.b"]), SCALARS, max_size=2)
)
VALUES = st.one_of(SCALARS, SCALARS, STRUCTURED)
PATHS = st.sampled_from(["a", "b", "c", "a.b", "c.a", "c.a.b"])
PATTERNS = st.sampled_from(["a", "^a+$", "b.?c", "(ab)+$", "[^a]", "(?i)OSLO", "^$", "ß"])

SIMPLE = st.one_of(
    st.builds(match.Is, VALUES),
    st.builds(match.Startswith, TEXTS),
    st.builds(match.Endswith, TEXTS),
    st.builds(match.Contains, TEXTS),
    st.builds(match.Like, PATTERNS),
    st.builds(match.In, st.lists(VALUES, max_size=3)),
    st.builds(match.Gt, NUMBERS | TEXTS),
    st.builds(match.Gte, NUMBERS | TEXTS),
    st.builds(match.Lt, NUMBERS | TEXTS),
    st.builds(match.Lte, NUMBERS | TEXTS),
    st.builds(match.Became, VALUES),
    st.builds(match.FromTo, VALUES, VALUES),
    st.sampled_from([match.Any(), match.Exists(), match.Missing(), match.Changed()]),
)
MATCHERS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(match.Not, inner),
        st.builds(lambda one, other: one & other, inner, inner),
        st.builds(lambda one, other: one | other, inner, inner),
    ),
    max_leaves=4,
)
FIELDS = st.dictionaries(PATHS, st.one_of(SIMPLE, MATCHERS), max_size=3)
FILTERS = st.one_of(FIELDS, st.lists(FIELDS, max_size=2))

ODD = st.one_of(
    VALUES,
    st.floats(),
    st.decimals(allow_nan=True, allow_infinity=True, places=1),
    st.just(Decimal("sNaN")),
    st.binary(max_size=3),
    st.builds(object),
    st.builds(set),
)
DATA = st.dictionaries(
    st.sampled_from(["a", "b", "c", "a.b", "c.a"]),
    st.one_of(
        VALUES, ODD, st.dictionaries(st.sampled_from(["a", "b", "a.b"]), VALUES | STRUCTURED, max_size=3)
    ),
    max_size=4,
)
CHANGES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "c.a"]),
        st.one_of(st.lists(VALUES, min_size=2, max_size=2), ODD, st.tuples(STRUCTURED, STRUCTURED)),
        max_size=3,
    ),
)
