"""Templating: what Jinja templates can say about linkbacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import request
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser
from markupsafe import Markup, escape

from .blueprints.pingback import accepts_here, server_url
from .linkbacks import showing
from .models import Mention
from .site import Route, current_site

__all__ = ["PingbackTags", "linkback_head", "mention_count", "mentions_for", "safe_href"]


def mentions_for(
    obj_or_url: Any = None, protocol: str | None = None, include_hidden: bool = False
) -> Sequence[Mention]:
    """Return the mentions of an object, of a URL of ours, or of the page being served; newest first."""
    what = _page_served() if obj_or_url is None else obj_or_url
    return showing.mentions_for(current_site(), what, protocol, include_hidden=include_hidden)


def mention_count(obj_or_url: Any = None, protocol: str | None = None, include_hidden: bool = False) -> int:
    """Return the number of what `mentions_for` returns."""
    what = _page_served() if obj_or_url is None else obj_or_url
    return showing.mention_count(current_site(), what, protocol, include_hidden=include_hidden)


def _page_served() -> Route:
    """Where the request leads; its host may be any name of ours."""
    return Route(endpoint=request.endpoint or "", args=request.view_args or {})


def linkback_head() -> Markup:
    """Return the link elements for the head of the page being served; empty where it accepts nothing.

    Pingback 1.0, section 2: exactly this form, and no entities but the four.
    """
    site = current_site()
    if not accepts_here(site):
        return Markup()
    return Markup('<link rel="pingback" href="{}">').format(escape(server_url(site)))


def safe_href(url: str) -> str:
    """Return an http(s) URL as it is and anything else as ``""``: no link of a stranger runs script."""
    return url if url.startswith(("http://", "https://")) else ""


class PingbackTags(Extension):
    """The tags of django-pingback: ``{% get_pingback_list for post as pingbacks %}`` and ``_count``."""

    tags = {"get_pingback_list", "get_pingback_count"}  # noqa: RUF012  Jinja's own type

    def parse(self, parser: Parser) -> nodes.Node:
        tag = next(parser.stream)
        words = _words(parser)
        if len(words) != 4:
            parser.fail(f"'{tag.value}' tag requires 4 arguments", tag.lineno)
        if words[0][0].value != "for":
            parser.fail(f"First argument in '{tag.value}' tag must be 'for'", tag.lineno)
        if words[2][0].value != "as":
            parser.fail(f"Third argument in '{tag.value}' tag must be 'as'", tag.lineno)
        call = self.call_method(tag.value, [_expression(parser, words[1])], lineno=tag.lineno)
        return nodes.Assign(nodes.Name(words[3][0].value, "store"), call, lineno=tag.lineno)

    def get_pingback_list(self, obj: Any) -> Sequence[Mention]:
        return mentions_for(obj)

    def get_pingback_count(self, obj: Any) -> int:
        return mention_count(obj)


def _words(parser: Parser) -> list[list[Token]]:
    """Return the tokens up to the tag's end, those of one expression together: ``post.author`` is a word."""
    words: list[list[Token]] = []
    glued = True
    while parser.stream.current.type != "block_end":
        token = next(parser.stream)
        stands_alone = token.type in ("name", "string", "integer", "float")
        if stands_alone and (not words or not glued):
            words.append([token])
        elif words:
            words[-1].append(token)
        else:
            words.append([token])
        glued = not stands_alone and token.type not in ("rparen", "rbracket")
    return words


def _expression(parser: Parser, tokens: list[Token]) -> nodes.Expr:
    stream = parser.stream
    parser.stream = TokenStream(iter(tokens), parser.name, parser.filename)
    try:
        return parser.parse_expression()
    finally:
        parser.stream = stream
