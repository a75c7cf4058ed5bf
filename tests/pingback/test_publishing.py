"""Publishing: whose links are told, from where, and what a mistake says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask, url_for

from flask_linkback.errors import UnknownTarget
from flask_linkback.models import Link, LinkState, Mention, Page
from tests.apps import Blog
from tests.neighbours import Neighbour


def targets(blog: Blog) -> list[str]:
    return list(blog.db.session.scalars(sa.select(Link.target).order_by(Link.id)))


def test_what_visitors_wrote_is_not_told(blog: Blog, app: Flask) -> None:
    blog.add(
        "a",
        html='<a href="http://one.test/">mine</a> <a rel="nofollow ugc noopener" href="http://two.test/">theirs</a>',
    )
    blog.site.handlers.pop("send_link")
    blog.linkback.run_until_idle()
    assert targets(blog) == ["http://one.test/"]


def test_a_site_without_address_saves_a_page_that_tells_nobody(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = blogs(sqlite_url, base_url=None)
    with blog.app.app_context():
        blog.add("a", html='<a href="/about">about</a>, and no other link')
        assert blog.db.session.scalar(sa.select(Page.id)) is None


def test_url_for_of_flask_builds_public_urls_without_a_request(
    blogs: Callable[..., Blog], sqlite_url: str
) -> None:
    blog = blogs(sqlite_url, content=None)
    blog.linkback.ping_external_links(
        blog.Post, content="html", url=lambda post: url_for("post", slug=post.slug)
    )
    with blog.app.app_context():
        blog.add("a", html='<a href="http://one.test/">there</a>')
        assert blog.db.session.scalar(sa.select(Page.url)) == "https://blog.example/post/a"


@pytest.mark.parametrize("url", ["https://other.example/", "ftp://blog.example.net/"])
def test_a_page_of_somebody_else_is_not_published(blog: Blog, app: Flask, url: str) -> None:
    with pytest.raises(UnknownTarget, match="LINKBACK_HOSTS"):
        blog.linkback.publish(url, targets=["http://one.test/"])


@pytest.mark.parametrize("wrong", [{"content": "body"}, {"content": "html", "url": "address"}])
def test_a_model_without_the_named_attribute_is_refused(blog: Blog, wrong: dict[str, str]) -> None:
    with pytest.raises(TypeError, match=r"Post has no '(body|address)'"):
        blog.linkback.ping_external_links(blog.Post, **wrong)


def test_an_address_that_our_settings_refused_is_tried_after_an_edit(
    blogs: Callable[..., Blog], sqlite_url: str, tmp_path: object
) -> None:
    with Neighbour() as neighbour:
        neighbour.answer("/page", body=b"nothing here")
        html = f'<a href="{neighbour.url("/page")}">there</a>'
        strict = blogs(sqlite_url, ALLOW_PORTS=(80,))
        with strict.app.app_context():
            strict.add("a", html=html)
            strict.linkback.run_until_idle()
            link = strict.db.session.scalars(sa.select(Link)).one()
            assert link.state is LinkState.refused
            assert "LINKBACK_ALLOW_PORTS" in link.reason
        open_ = blogs(sqlite_url)
        with open_.app.app_context():
            open_.db.session.scalars(sa.select(open_.Post)).one().html = html + " edited"
            open_.db.session.commit()
            open_.linkback.run_until_idle()
            assert open_.db.session.scalars(sa.select(Link)).one().state is LinkState.unsupported
        assert [each.path for each in neighbour.requests] == ["/page"]


def test_a_page_that_accepts_nothing_has_no_mentions(blog: Blog) -> None:
    with blog.app.test_request_context("/about"):
        assert blog.linkback.mentions_for() == ()
        assert blog.linkback.mention_count() == 0
    with blog.app.test_request_context("/post/none"):
        assert blog.linkback.mentions_for() == ()
        with pytest.raises(UnknownTarget):
            blog.linkback.mentions_for("https://blog.example/about")


def test_a_wrong_status_names_the_right_ones(blog: Blog, app: Flask) -> None:
    with pytest.raises(ValueError, match=r"approved, rejected, spam or pending, not 'approve'.*approved\?"):
        blog.linkback.moderate(Mention(status="pending"), "approve")
