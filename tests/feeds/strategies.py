"""Strategies: descriptions of feeds, as hypothesis makes them up, of which each library makes a class."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.thorough import examples

from .peer import Library

SETTINGS = settings(
    max_examples=examples(300),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# --- what feeds say ---------------------------------------------------------------------------------------

ODD = (
    "",
    " ",
    "plain",
    "A & B < C > D",
    "\"twice\" 'once'",
    '<p class="x">Bread &amp; b&#xfc;tter</p>',
    "two\nlines\ta tab",
    "old\rMac and\r\nWindows",
    "]]>",
    "<?pi?> <!-- c -->",
    "grüße, 世界 \U0001f30d",
    "a\u2028b\u0085c\u00a0d",
    "\x7f\x9f",
    "%s %d {0} {{ x }}",
)
CONTROLS = ("\x00", "a\x08b", "\x1b[0m", "\x0b", "\x1f")
NO_XML = ("a\ufffeb", "\uffff", "\ud800", "x\udfff")
"""What XML has no place for either, but Django writes."""
URLS = (
    "/",
    "/a/b/",
    "/a b/?q=1&r=<2>#top",
    "/\u2665/%20/%zz",
    "//cdn.example/x",
    "relative",
    "?page=2",
    "http://example.com/caf\u00e9",
    "https://example.com:8443/a;b?c=d&e=f#g",
    "mailto:someone@example.com",
    "HTTP://EXAMPLE.com/",
    "tag:example.com,2024:x",
    "/[1]/~me/'\"/",
)

texts = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")),
)
with_controls = st.one_of(*[texts] * 60, st.sampled_from(CONTROLS + NO_XML))
urls = st.one_of(
    st.sampled_from(URLS), st.text("ab/é ?&=;%#", max_size=8).map(lambda text: "/" + text.lstrip("/"))
)
zones = st.one_of(
    st.just(UTC),
    st.sampled_from([ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/St_Johns")]),
    st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds))),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
dates = st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30), timezones=st.none() | zones)  # noqa: DTZ001
dates_and_days = st.one_of(*[dates] * 20, st.dates(date(1900, 1, 2), date(2199, 12, 30)))
"""Django has no place for a day."""
categories = st.lists(with_controls, max_size=3) | st.tuples(texts) | st.none()

FEED_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "title": with_controls,
    "description": with_controls,
    "subtitle": with_controls,
    "feed_url": urls,
    "feed_guid": texts,
    "author_name": with_controls,
    "author_email": texts,
    "author_link": urls,
    "categories": categories,
    "feed_copyright": texts,
    "ttl": texts | st.integers(0, 9999),
}
ITEM_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "item_title": with_controls,
    "item_description": with_controls,
    "item_guid": texts | urls | st.integers(0, 99),
    "item_guid_is_permalink": st.sampled_from([True, False, "true", 1, 0]),
    "item_author_name": with_controls,
    "item_author_email": texts,
    "item_author_link": urls,
    "item_enclosure_url": urls,
    "item_enclosure_length": st.integers(0, 10**12) | texts,
    "item_enclosure_mime_type": with_controls,
    "item_pubdate": dates_and_days,
    "item_updateddate": dates_and_days,
    "item_categories": categories,
    "item_copyright": texts,
    "item_comments": urls | texts,
}

# --- how they say it --------------------------------------------------------------------------------------


class Plain:
    """A hook that is called without an object."""

    def __init__(self, say: Callable[[], Any]) -> None:
        self.say = say

    def __call__(self) -> Any:
        return self.say()


class Wanting:
    """A hook that is called with an object."""

    def __init__(self, say: Callable[[Any], Any]) -> None:
        self.say = say

    def __call__(self, of: Any) -> Any:
        return self.say(of)


def passing_on(hook: Any) -> Any:
    @functools.wraps(hook)
    def passed_on(*args: Any, **kwargs: Any) -> Any:
        return hook(*args, **kwargs)

    return passed_on


def hiding(hook: Any) -> Any:
    def hidden(*args: Any, **kwargs: Any) -> Any:
        return hook(*args, **kwargs)

    return hidden


def missing(self: Any) -> Any:
    raise AttributeError("lost")


SHAPES: Mapping[str, Callable[[Callable[[Any], Any]], Any]] = {
    "method with an object": lambda say: lambda self, of: say(of),
    "method with a default": lambda say: lambda self, of=None: say(of),
    "wrapped method": lambda say: passing_on(lambda self, of: say(of)),
    "twice wrapped method": lambda say: passing_on(passing_on(lambda self, of: say(of))),
    "class method": lambda say: classmethod(lambda cls, of: say(of)),
    "object that wants one": Wanting,
    "method": lambda say: lambda self: say(None),
    "method with keywords": lambda say: lambda self, *, of=None: say(of),
    "static method": lambda say: staticmethod(lambda: say(None)),
    "wrapped static method": lambda say: staticmethod(passing_on(lambda: say(None))),
    "object": lambda say: Plain(lambda: say(None)),
    "property": lambda say: property(lambda self: say(None)),
    "attribute": lambda say: say(None),
}
BAD_SHAPES: Mapping[str, Callable[[Callable[[Any], Any]], Any]] = {
    "hidden by a decorator": lambda say: hiding(lambda self, of: say(of)),
    "static method with an object": lambda say: staticmethod(lambda of: say(of)),
    "method with two": lambda say: lambda self, of, other: say(of),
    "partial": lambda say: functools.partial(say, None),
    "lost property": lambda say: property(missing),
    "TypeError within": lambda say: lambda self, of: len(None),  # type: ignore[arg-type]
}


def shaped(name: str, shape: str, say: Callable[[Any], Any]) -> Any:
    """A hook as it stands in a class, with its name: by it static methods are known."""
    hook = {**SHAPES, **BAD_SHAPES}[shape](say)
    function = getattr(hook, "__func__", hook)
    if isinstance(function, types.FunctionType):
        inspect.unwrap(function).__name__ = function.__name__ = name
    return hook


# --- whole classes ----------------------------------------------------------------------------------------

BLANK = object()
"""No such hook."""


class Thing:
    """What a feed has items of."""

    def __init__(self, values: Mapping[str, Any], name: str, url: str) -> None:
        self.values, self.name, self.url = values, name, url

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return self.url


class Linkless:
    """One without an address."""

    values: Mapping[str, Any] = {}

    def __str__(self) -> str:
        return "linkless"


@st.composite
def things(draw: st.DrawFn) -> Any:
    """Items and the hooks that say something of them, as (shape, constant)."""
    names = draw(st.lists(st.sampled_from(sorted(ITEM_VALUES)), unique=True, max_size=8))
    hooks = {name: (draw(st.sampled_from(sorted(SHAPES))), draw(ITEM_VALUES[name])) for name in names}
    values = {
        name: st.one_of(ITEM_VALUES[name], ITEM_VALUES[name], ITEM_VALUES[name], st.none()) for name in names
    }
    count = draw(st.integers(0, 3))
    several = [
        Thing({name: draw(each) for name, each in values.items()}, draw(texts), draw(urls))
        for _ in range(count)
    ]
    return several, hooks


VERSIONS = ("Rss201rev2Feed", "RssUserland091Feed", "Atom1Feed", "DefaultFeed")


@st.composite
def classes(
    draw: st.DrawFn, *, versions: Sequence[str] = VERSIONS, with_faults: bool = True
) -> Callable[[Library], type[Any]]:
    """A function that makes one class of a feed for Django or for us.

    With faults generators are overridden as one likes, and what nobody could serve is among the hooks.
    """
    several, item_hooks = draw(things())
    names = draw(st.lists(st.sampled_from(sorted(FEED_VALUES)), unique=True))
    feed_hooks = {
        name: (draw(st.sampled_from(sorted(SHAPES))), draw(st.one_of(FEED_VALUES[name], st.none())))
        for name in names
    }
    feed_hooks["link"] = (draw(st.sampled_from(sorted(SHAPES))), draw(urls))
    by_object = draw(st.booleans())
    version = draw(st.sampled_from(versions))
    customised = draw(customisations) if with_faults else set()
    language = draw(st.sampled_from([None, "", "de", "en-gb"]))
    stylesheets = draw(st.none() | st.lists(stylesheet_arguments, max_size=2))
    most = 2 if with_faults or version == "Atom1Feed" else 1
    enclosures = draw(st.none() | st.lists(st.tuples(urls, texts, with_controls), max_size=most))
    extra = draw(st.sampled_from([{}, {}, {"ttl": 60}, {"ttl": "5"}, {"colour": "red"}]))
    as_generator = draw(st.booleans())
    fault = draw(st.sampled_from([None] * 12 + ["hook", "link", "stylesheets"])) if with_faults else None
    if fault == "hook":
        name = draw(st.sampled_from(sorted({*FEED_VALUES, "link"} | set(ITEM_VALUES))))
        hooks = item_hooks if name.startswith("item_") else feed_hooks
        hooks[name] = (draw(st.sampled_from(sorted(BAD_SHAPES))), draw(texts))
    elif fault == "link":
        several = [*several, Linkless()]

    def make(library: Library) -> type[Any]:
        def say_of_item(name: str, constant: Any) -> Callable[[Any], Any]:
            return lambda item: constant if item is None else item.values.get(name)

        def say_of_feed(name: str, constant: Any) -> Callable[[Any], Any]:
            return lambda obj: constant if obj is None else obj.get(name, constant)

        body: dict[str, Any] = {
            name: shaped(name, shape, say_of_feed(name, constant))
            for name, (shape, constant) in feed_hooks.items()
        }
        body |= {
            name: shaped(name, shape, say_of_item(name, constant))
            for name, (shape, constant) in item_hooks.items()
        }
        if as_generator:
            body["items"] = lambda self: iter(several)
        else:
            body["items"] = lambda self, obj: several
        if by_object:
            found = {"title": "of an object", "categories": ["x"]}
            if library.takes_request:
                body["get_object"] = lambda self, request: found
            else:
                body["get_object"] = lambda self: found
        if stylesheets is not None or fault == "stylesheets":
            body["stylesheets"] = (
                "/alone.css"
                if fault == "stylesheets"
                else [library.generators.Stylesheet(**each) for each in stylesheets or ()]
            )
        if enclosures is not None:
            body["item_enclosures"] = lambda self, item: [
                library.generators.Enclosure(*each) for each in enclosures
            ]
        if extra:
            body["item_extra_kwargs"] = lambda self, item: extra
            body["feed_extra_kwargs"] = lambda self, obj: {"taste": "sour & sweet"}
        body["language"] = language
        body["feed_type"] = customise(getattr(library.generators, version), customised)
        return type("Made", (library.feed,), body)

    return make


stylesheet_arguments = st.fixed_dictionaries(
    {"url": urls | st.sampled_from(["/a.css", "/b.xsl", "/c.XSLT", "/d.css?x=1", "https://h/e.css"])},
    optional={
        "mimetype": st.sampled_from(["", None, "text/css", 'a"b&c']),
        "media": st.sampled_from([None, "print", "", "a<b>?>"]),
    },
)

PREFIXED = {"xmlns:itunes": "http://www.itunes.com/dtds/podcast-1.0.dtd", "xmlns:x": "urn:x", "a": "b\n&"}
customisations = st.sets(
    st.sampled_from(
        [
            "root_attributes",
            "rss_attributes",
            "add_root_elements",
            "item_attributes",
            "add_item_elements",
            "write_items",
            "add_item",
            "other media",
        ]
    )
)


def customise(base: type[Any], what: set[str]) -> type[Any]:
    """Override methods of a generator as subclasses of Django's do."""
    body: dict[str, Any] = {}
    if "root_attributes" in what:
        body["root_attributes"] = lambda self: {**base.root_attributes(self), **PREFIXED}
    if "rss_attributes" in what and hasattr(base, "rss_attributes"):
        body["rss_attributes"] = lambda self: {**base.rss_attributes(self), "xmlns:dc": "urn:other", "z": "1"}
    if "add_root_elements" in what:

        def add_root_elements(self: Any, handler: Any) -> None:
            base.add_root_elements(self, handler)
            if "root_attributes" in what:
                handler.addQuickElement("itunes:explicit", "no & yes")
                handler.startElement("itunes:owner", {"x:b": '"', "a": "é"})
                handler.characters("text\tand ")
                handler.ignorableWhitespace(" \n ")
                handler.addQuickElement("x:name")
                handler.endElement("itunes:owner")
                handler.processingInstruction("here", "and there")
            handler.addQuickElement("taste", self.feed.get("taste"), {"n": str(self.num_items())})

        body["add_root_elements"] = add_root_elements
    if "item_attributes" in what:
        body["item_attributes"] = lambda self, item: {"z": item["link"], "a": str(item.get("colour"))}
    if "add_item_elements" in what:

        def add_item_elements(self: Any, handler: Any, item: Any) -> None:
            handler.addQuickElement("before", "")
            base.add_item_elements(self, handler, item)
            handler.addQuickElement("after", item["title"], {"for": item["link"]})
            if "other media" in what:
                # a prefix that we know, said to be another one
                handler.startElement("media:group", {"xmlns:media": "urn:mine"})
                handler.addQuickElement("media:thing", "")
                handler.endElement("media:group")

        body["add_item_elements"] = add_item_elements
    if "write_items" in what:

        def write_items(self: Any, handler: Any) -> None:
            handler.startElement("all", {})
            base.write_items(self, handler)
            handler.endElement("all")

        body["write_items"] = write_items
    if "add_item" in what:

        def add_item(self: Any, title: Any, link: Any, description: Any, **kwargs: Any) -> None:
            base.add_item(self, f"~{title}", link, description, **kwargs)

        body["add_item"] = add_item
    return type(base.__name__, (base,), body) if body else base
