"""Differential: a feed's class gives with ``django_compatible`` what it gives in Django, to the letter."""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from lxml import etree

from .peer import (
    ATTRIBUTES_ARE_CHECKED,
    DJANGO,
    OURS,
    Library,
    canonical,
    draw_with,
    serve_django,
    serve_ours,
)

SETTINGS = settings(
    max_examples=300,
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
urls = st.one_of(st.sampled_from(URLS), st.text("ab/é ?&=;%#", max_size=8).map(lambda text: f"/{text}"))
zones = st.one_of(
    st.just(UTC),
    st.sampled_from([ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/St_Johns")]),
    st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds))),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
dates = st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30), timezones=st.none() | zones)  # noqa: DTZ001
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
    "item_pubdate": dates,
    "item_updateddate": dates,
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


@st.composite
def classes(draw: st.DrawFn) -> Callable[[Library], type[Any]]:
    """A function that makes one class of a feed for Django or for us."""
    several, item_hooks = draw(things())
    names = draw(st.lists(st.sampled_from(sorted(FEED_VALUES)), unique=True))
    feed_hooks = {
        name: (draw(st.sampled_from(sorted(SHAPES))), draw(st.one_of(FEED_VALUES[name], st.none())))
        for name in names
    }
    feed_hooks["link"] = (draw(st.sampled_from(sorted(SHAPES))), draw(urls))
    by_object = draw(st.booleans())
    version = draw(st.sampled_from(["Rss201rev2Feed", "RssUserland091Feed", "Atom1Feed", "DefaultFeed"]))
    customised = draw(customisations)
    language = draw(st.sampled_from([None, "", "de", "en-gb"]))
    stylesheets = draw(st.none() | st.lists(stylesheet_arguments, max_size=2))
    enclosures = draw(st.none() | st.lists(st.tuples(urls, texts, with_controls), max_size=2))
    extra = draw(st.sampled_from([{}, {}, {"ttl": 60}, {"ttl": "5"}, {"colour": "red"}]))
    as_generator = draw(st.booleans())
    fault = draw(st.sampled_from([None] * 12 + ["hook", "link", "stylesheets"]))
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


# --- are they the same? -----------------------------------------------------------------------------------

Outcome = tuple[str, ...]
ILL_FORMED = ("no XML",)


def outcome(document: bytes) -> Outcome:
    try:
        return (_timeless(canonical(document)),)
    except (etree.XMLSyntaxError, UnicodeDecodeError):
        return ILL_FORMED


def _timeless(xml: str) -> str:
    """Without the present, which is what a feed without dates has in place of its newest."""
    now = datetime.now(UTC)
    for found in re.findall(r"<lastBuildDate>(.*?)</|<updated>(.*?)</", xml):
        rss, atom = found
        for moment in (now, now - timedelta(seconds=1), now - timedelta(seconds=2)):
            written = rss if rss else atom[:19]
            if written in (f"{moment:%a, %d %b %Y %H:%M:%S} +0000", f"{moment:%Y-%m-%dT%H:%M:%S}"):
                xml = xml.replace(rss or atom, "now")
    return xml


def _timeless_header(text: str | None) -> str:
    now = datetime.now(UTC)
    present = [f"{now - timedelta(seconds=seconds):%a, %d %b %Y %H:%M:%S} GMT" for seconds in range(3)]
    return "now" if text in present else str(text)


def attempt(make: Callable[[], Outcome]) -> Outcome:
    """What comes of it: a document, or the kind of an error and its message."""
    try:
        return make()
    except Exception as error:
        message = re.sub(r"[\w.]*<locals>\.|<lambda>\(\)|\w+\.\w+\(\)", "", str(error))
        return (type(error).__name__, message)


def same(ours: Outcome, theirs: Outcome) -> None:
    event(theirs[0] if len(theirs) == 2 else "a document")
    if not ATTRIBUTES_ARE_CHECKED and ours[0] == "UnserializableContentError" != theirs[0]:
        assert theirs[0] == ILL_FORMED[0]
        return
    if theirs[0] == "UnserializableContentError" and len(ours) == 2:
        return  # of two faults Django tells the first; a text is looked at when it is written out
    assert ours == theirs


PATHS = ("/feed/", "/a%20b/%C3%BC", "/50%25/%23/%3F/%5B1%5D", "/x;y=1/'~")


@SETTINGS
@given(classes(), st.sampled_from(PATHS), st.booleans())
def test_a_class_gives_the_same_in_both(
    make: Callable[[Library], type[Any]], path: str, secure: bool
) -> None:
    def ours() -> Outcome:
        served = serve_ours(make(OURS), path, secure=secure)
        return (*outcome(served.body), served.content_type, _timeless_header(served.last_modified))

    def theirs() -> Outcome:
        served = serve_django(make(DJANGO), path, secure=secure)
        return (*outcome(served.body), served.content_type, _timeless_header(served.last_modified))

    same(attempt(ours), attempt(theirs))


# --- templates --------------------------------------------------------------------------------------------

TEMPLATES = {
    "title.html": "{{ obj }} on {{ site.domain }}: {{ mood }}",
    "words.html": "{% for word in words %}{{ word|upper }}, {% endfor %}",
    "description.html": "<p>{{ obj }}</p>{{ page }} {{ site.name }}{{ request.path }}",
}


def _spelt_alike(xml: str) -> str:
    """Jinja spells two quotes with numbers, in which Django has one with a number and one with a name."""
    return xml.replace("&amp;#x27;", "&amp;#39;").replace("&amp;quot;", "&amp;#34;")


@SETTINGS
@given(
    names=st.lists(texts, max_size=3),
    page=texts,
    title=st.sampled_from([None, "title.html", "words.html", "missing.html"]),
    description=st.sampled_from([None, "description.html", "missing.html"]),
    with_context=st.booleans(),
    version=st.sampled_from(["Rss201rev2Feed", "Atom1Feed"]),
)
def test_templates_draw_the_same_in_both(
    names: list[str],
    page: str,
    title: str | None,
    description: str | None,
    with_context: bool,
    version: str,
) -> None:
    def make(library: Library) -> type[Any]:
        def get_context_data(self: Any, **kwargs: Any) -> Mapping[str, Any]:
            context = library.feed.get_context_data(self, **kwargs)
            assert kwargs["obj"] == "the feed's object"
            assert sorted(kwargs) == ["item", "obj", "request", "site"]
            return {**context, "mood": kwargs["item"].name, "words": page.split(), "page": page}

        body: dict[str, Any] = {
            "feed_type": getattr(library.generators, version),
            "title": "Drawn",
            "link": "/",
            "description": "",
            "title_template": title,
            "description_template": description,
            "items": [Thing({}, name, "/x") for name in names],
        }
        if with_context:
            body["get_context_data"] = get_context_data
        if library.takes_request:
            body["get_object"] = lambda self, request: "the feed's object"
        else:
            body["get_object"] = lambda self: "the feed's object"
        return type("Drawn", (library.feed,), body)

    draw_with(TEMPLATES)
    ours, theirs = serve_ours(make(OURS), "/drawn/"), serve_django(make(DJANGO), "/drawn/")
    assert _spelt_alike(outcome(ours.body)[0]) == _spelt_alike(outcome(theirs.body)[0])


# --- generators alone -------------------------------------------------------------------------------------

GENERATOR_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "language": st.sampled_from(["de", "en-us", ""]),
    "author_email": texts,
    "author_name": with_controls,
    "author_link": urls,
    "subtitle": texts,
    "categories": categories,
    "feed_url": urls,
    "feed_copyright": texts,
    "feed_guid": texts,
    "ttl": texts | st.integers(0, 99),
    "stylesheets": st.none() | st.lists(urls, max_size=2) | st.just("/alone.css"),
    "taste": texts,
}
GENERATOR_ITEM_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "author_email": texts,
    "author_name": with_controls,
    "author_link": urls,
    "pubdate": dates,
    "updateddate": dates,
    "comments": texts,
    "unique_id": texts | st.integers(0, 9),
    "unique_id_is_permalink": st.booleans() | st.just("true"),
    "categories": categories,
    "item_copyright": texts,
    "ttl": texts | st.integers(0, 99),
    "colour": texts,
}


def _some(values: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: st.none() | each for name, each in values.items()})


@SETTINGS
@given(
    version=st.sampled_from(["Rss201rev2Feed", "RssUserland091Feed", "Atom1Feed"]),
    customised=customisations,
    first=st.tuples(with_controls | st.none(), urls, with_controls | st.none()),
    feed_values=_some(GENERATOR_VALUES),
    many=st.sampled_from([1, 1, 1, 100]),
    items=st.lists(
        st.tuples(st.tuples(texts | st.none(), urls, texts | st.none()), _some(GENERATOR_ITEM_VALUES)),
        max_size=3,
    ),
    enclosures=st.lists(st.tuples(urls, texts, texts), max_size=2),
    encoding=st.sampled_from(["utf-8", "iso-8859-1", "us-ascii", "utf-16"]),
    as_text=st.booleans(),
)
def test_a_generator_writes_the_same_in_both(
    version: str,
    customised: set[str],
    first: tuple[Any, ...],
    feed_values: Mapping[str, Any],
    items: list[tuple[tuple[Any, ...], Mapping[str, Any]]],
    enclosures: list[tuple[str, str, str]],
    many: int,
    encoding: str,
    as_text: bool,
) -> None:
    def write(library: Library) -> Outcome:
        feed = customise(getattr(library.generators, version), customised)(*first, **feed_values)
        feed.django_compatible = True
        for number, (positional, values) in enumerate(items * many):
            some = [library.generators.Enclosure(*each) for each in enclosures] if not number else None
            feed.add_item(*positional, enclosures=some, **values)
        assert feed.num_items() == len(items) * many
        if as_text:
            written = feed.writeString(encoding)
            assert written.startswith(f'<?xml version="1.0" encoding="{encoding}"?>\n')
            return outcome(written.partition("\n")[2].encode("utf-8", "xmlcharrefreplace"))
        out = BytesIO()
        feed.write(out, encoding)
        return outcome(out.getvalue())

    same(attempt(lambda: write(OURS)), attempt(lambda: write(DJANGO)))


@SETTINGS
@given(st.one_of(st.dates(), dates), urls)
def test_dates_and_addresses_are_written_the_same(day: date, url: str) -> None:
    ours, theirs = OURS.generators, DJANGO.generators
    assert ours.rfc2822_date(day) == theirs.rfc2822_date(day)
    assert ours.rfc3339_date(day) == theirs.rfc3339_date(day)
    assert ours.iri_to_uri(url) == theirs.iri_to_uri(url)
    for secure in (True, False):
        assert ours.add_domain("h:80", url, secure) == DJANGO.add_domain("h:80", url, secure)
    for when in (day, None):
        assert ours.get_tag_uri(url, when) == theirs.get_tag_uri(url, when)


@SETTINGS
@given(stylesheet_arguments)
def test_stylesheets_are_written_the_same(arguments: Mapping[str, Any]) -> None:
    ours, theirs = OURS.generators.Stylesheet(**arguments), DJANGO.generators.Stylesheet(**arguments)
    assert (str(ours), repr(ours), ours.url, ours.mimetype) == (
        str(theirs),
        repr(theirs),
        theirs.url,
        theirs.mimetype,
    )
