"""Examples: those of Django's documentation of feeds, with imports changed and ``request`` dropped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import feedparser
import pytest
from flask import Flask, url_for
from flask.testing import FlaskClient
from jinja2 import DictLoader
from lxml import etree

from flask_linkback import Feed, FeedDoesNotExist, generators
from flask_linkback.feeds import Enclosure
from flask_linkback.feeds.generators import Atom1Feed, Rss201rev2Feed

A = "{http://www.w3.org/2005/Atom}"
ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"


@dataclass(frozen=True, kw_only=True)
class NewsItem:
    id: int
    title: str
    description: str
    pub_date: datetime


@dataclass(frozen=True, kw_only=True)
class Beat:
    id: int
    beat: str

    def get_absolute_url(self) -> str:
        return url_for("beat_detail", beat_id=self.id)

    def __str__(self) -> str:
        return self.beat


@dataclass(frozen=True, kw_only=True)
class Crime:
    number: int
    beat: Beat

    def get_absolute_url(self) -> str:
        return f"/crimes/{self.number}/"

    def __str__(self) -> str:
        return f"Crime {self.number}"


START = datetime(2026, 1, 1, tzinfo=UTC)
NEWS = [
    NewsItem(
        id=number,
        title=f"News {number}",
        description=f"<p>What happened & why, {number}</p>",
        pub_date=START + timedelta(days=number),
    )
    for number in range(9, 0, -1)
]
BEATS = {613: Beat(id=613, beat="0613")}
CRIMES = [Crime(number=number, beat=BEATS[613]) for number in range(40, 0, -1)]


class LatestEntriesFeed(Feed):
    title = "Police beat site news"
    link = "/sitenews/"
    description = "Updates on changes and additions to police beat central."

    def items(self) -> list[NewsItem]:
        return NEWS[:5]

    def item_title(self, item: NewsItem) -> str:
        return item.title

    def item_description(self, item: NewsItem) -> str:
        return item.description

    # item_link is only needed if NewsItem has no get_absolute_url method
    def item_link(self, item: NewsItem) -> str:
        return url_for("news-item", number=item.id)


class ArticlesFeed(Feed):
    title = "My articles"
    description = "What I wrote"
    link = "/articles/"
    description_template = "feeds/articles.html"

    def items(self) -> list[NewsItem]:
        return NEWS[:5]

    def item_link(self, item: NewsItem) -> str:
        return f"/articles/{item.id}/"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = dict(super().get_context_data(**kwargs))
        context["foo"] = "bar"
        return context


class BeatFeed(Feed):
    description_template = "feeds/beat_description.html"

    def get_object(self, beat_id: int) -> Beat:
        try:
            return BEATS[beat_id]
        except KeyError:
            raise FeedDoesNotExist from None

    def title(self, obj: Beat) -> str:
        return f"Police beat central: Crimes for beat {obj.beat}"

    def link(self, obj: Beat) -> str:
        return obj.get_absolute_url()

    def description(self, obj: Beat) -> str:
        return f"Crimes recently reported in police beat {obj.beat}"

    def items(self, obj: Beat) -> list[Crime]:
        return [crime for crime in CRIMES if crime.beat is obj][:30]


class RssSiteNewsFeed(LatestEntriesFeed):
    def item_pubdate(self, item: NewsItem) -> datetime:
        return item.pub_date


class AtomSiteNewsFeed(RssSiteNewsFeed):
    feed_type = Atom1Feed
    subtitle = RssSiteNewsFeed.description


class iTunesFeed(Rss201rev2Feed):
    def root_attributes(self) -> dict[str, Any]:
        attrs = super().root_attributes()
        attrs["xmlns:itunes"] = "http://www.itunes.com/dtds/podcast-1.0.dtd"
        return attrs

    def add_root_elements(self, handler: Any) -> None:
        super().add_root_elements(handler)
        handler.addQuickElement("itunes:explicit", "clean")


class Podcast(LatestEntriesFeed):
    feed_type = iTunesFeed
    stylesheets = ("/static/podcast.xsl",)

    def item_enclosures(self, item: NewsItem) -> Iterable[Enclosure]:
        return [Enclosure(url=f"/audio/{item.id}.mp3", length="1234", mime_type="audio/mpeg")]


class WithExtraArguments(LatestEntriesFeed):
    class Generator(Rss201rev2Feed):
        def add_root_elements(self, handler: Any) -> None:
            super().add_root_elements(handler)
            handler.addQuickElement("keywords", self.feed["keywords"])

        def add_item_elements(self, handler: Any, item: dict[str, Any]) -> None:
            super().add_item_elements(handler, item)
            handler.addQuickElement("image", item["image"])

    feed_type = Generator

    def feed_extra_kwargs(self, obj: Any) -> dict[str, Any]:
        return {"keywords": "police, beat"}

    def item_extra_kwargs(self, item: NewsItem) -> dict[str, Any]:
        return {"image": f"/images/{item.id}.png"}


@pytest.fixture(params=["by default", "compatible"])
def client(request: pytest.FixtureRequest) -> FlaskClient:
    app = Flask(__name__)
    app.testing = True
    app.jinja_loader = DictLoader(
        {
            "feeds/articles.html": "Something about {{ foo }}: {{ obj.description }}",
            "feeds/beat_description.html": "{{ obj }} on {{ site.domain }}",
        }
    )
    app.add_url_rule("/news/<int:number>/", "news-item", lambda number: "")
    app.add_url_rule("/beats/<int:beat_id>/", "beat_detail", lambda beat_id: "")
    for rule, feed in {
        "/latest/feed/": LatestEntriesFeed,
        "/articles/feed/": ArticlesFeed,
        "/beats/<int:beat_id>/rss/": BeatFeed,
        "/sitenews/rss/": RssSiteNewsFeed,
        "/sitenews/atom/": AtomSiteNewsFeed,
        "/podcast/": Podcast,
        "/extra/": WithExtraArguments,
    }.items():
        body = {"django_compatible": request.param == "compatible"}
        served = type(feed.__name__, (feed,), body)
        app.add_url_rule(rule, view_func=served.as_view(feed.__name__))
    return app.test_client()


def read(client: FlaskClient, path: str) -> etree._Element:
    response = client.get(path)
    assert response.status_code == 200
    assert not feedparser.parse(response.data).bozo
    return etree.fromstring(response.data)


def test_latest_entries(client: FlaskClient) -> None:
    root = read(client, "/latest/feed/")
    assert root.findtext("channel/title") == "Police beat site news"
    assert root.findtext("channel/link") == "http://localhost/sitenews/"
    assert [item.findtext("link") for item in root.iter("item")] == [
        f"http://localhost/news/{number}/" for number in (9, 8, 7, 6, 5)
    ]
    assert root.findtext("channel/item/description") == "<p>What happened & why, 9</p>"


def test_articles_with_their_template(client: FlaskClient) -> None:
    root = read(client, "/articles/feed/")
    assert root.findtext("channel/item/description") == (
        "Something about bar: &lt;p&gt;What happened &amp; why, 9&lt;/p&gt;"
    )


def test_a_feed_for_each_beat(client: FlaskClient) -> None:
    root = read(client, "/beats/613/rss/")
    assert root.findtext("channel/title") == "Police beat central: Crimes for beat 0613"
    assert root.findtext("channel/link") == "http://localhost/beats/613/"
    assert root.findtext("channel/description") == "Crimes recently reported in police beat 0613"
    assert root.find(f"channel/{A}link").get("href") == "http://localhost/beats/613/rss/"
    assert len(root.findall("channel/item")) == 30
    assert root.findtext("channel/item/title") == "Crime 40"
    assert root.findtext("channel/item/description") == "Crime 40 on localhost"
    assert client.get("/beats/1/rss/").status_code == 404


def test_rss_and_atom_in_tandem(client: FlaskClient) -> None:
    rss, atom = read(client, "/sitenews/rss/"), read(client, "/sitenews/atom/")
    said = "Updates on changes and additions to police beat central."
    assert rss.findtext("channel/description") == said
    assert atom.findtext(f"{A}subtitle") == said
    assert [item.findtext("guid") for item in rss.iter("item")] == [
        entry.findtext(f"{A}id") for entry in atom.iter(f"{A}entry")
    ]
    assert atom.findtext(f"{A}entry/{A}published") == "2026-01-10T00:00:00+00:00"
    assert client.get("/sitenews/atom/").headers["Content-Type"] == "application/atom+xml; charset=utf-8"
    for path in ("/sitenews/rss/", "/sitenews/atom/"):
        assert client.get(path).headers["Last-Modified"] == "Sat, 10 Jan 2026 00:00:00 GMT"


def test_itunes(client: FlaskClient) -> None:
    response = client.get("/podcast/")
    root = read(client, "/podcast/")
    assert root.findtext(f"channel/{ITUNES}explicit") == "clean"
    # once for all: elements below do not say again what a prefix is
    assert response.data.count(b"xmlns:itunes=") == 1
    assert b'<?xml-stylesheet href="/static/podcast.xsl" media="screen" type="text/xsl"?>' in response.data
    assert root.find("channel/item/enclosure").get("type") == "audio/mpeg"


def test_more_for_generators_of_ones_own(client: FlaskClient) -> None:
    root = read(client, "/extra/")
    assert root.findtext("channel/keywords") == "police, beat"
    assert [item.findtext("image") for item in root.iter("item")] == [
        f"/images/{number}.png" for number in (9, 8, 7, 6, 5)
    ]


# --- the generator alone ----------------------------------------------------------------------------------


@pytest.mark.parametrize("compatible", [False, True])
def test_hot_dog_today(compatible: bool) -> None:
    f = generators.Atom1Feed(
        title="My Blog",
        link="https://www.example.com/",
        description="In which I write about what I ate today.",
        language="en",
        author_name="Myself",
        feed_url="https://example.com/atom.xml",
    )
    f.django_compatible = compatible
    f.add_item(
        title="Hot dog today",
        link="https://www.example.com/entries/1/",
        pubdate=datetime(2026, 7, 1, 12, tzinfo=UTC),
        description="<p>Today I had a Vienna Beef hot dog. It was pink, plump and perfect.</p>",
    )
    summary = "<p>Today I had a Vienna Beef hot dog. It was pink, plump and perfect.</p>"
    updated = "<updated>2026-07-01T12:00:00+00:00</updated>"
    if compatible:
        summary = summary.replace("<", "&lt;").replace(">", "&gt;")
        updated = ""  # which makes it invalid
    else:
        summary = f"<![CDATA[{summary}]]>"
    assert f.writeString("UTF-8") == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<feed xml:lang="en" xmlns="http://www.w3.org/2005/Atom"><title>My Blog</title>'
        '<link href="https://www.example.com/" rel="alternate"/>'
        '<link href="https://example.com/atom.xml" rel="self"/>'
        "<id>https://www.example.com/</id><updated>2026-07-01T12:00:00+00:00</updated>"
        "<author><name>Myself</name></author>"
        "<entry><title>Hot dog today</title>"
        '<link href="https://www.example.com/entries/1/" rel="alternate"/>'
        f"<published>2026-07-01T12:00:00+00:00</published>{updated}"
        "<id>tag:www.example.com,2026-07-01:/entries/1//</id>"
        f'<summary type="html">{summary}</summary></entry></feed>'
    )


@pytest.mark.parametrize("compatible", [False, True])
def test_the_example_of_the_generators_module(compatible: bool) -> None:
    feed = generators.Rss201rev2Feed(
        title="Poynter E-Media Tidbits",
        link="http://www.poynter.org/column.asp?id=31",
        description="A group blog by the sharpest minds in online journalism.",
        language="en",
    )
    feed.django_compatible = compatible
    feed.add_item(title="Hello", link="http://www.holovaty.com/test/", description="Testing.")
    root = etree.fromstring(feed.writeString("utf-8").encode())
    assert root.findtext("channel/link") == "http://www.poynter.org/column.asp?id=31"
    assert root.findtext("channel/item/title") == "Hello"
    assert root.find("channel/item/guid") is None
