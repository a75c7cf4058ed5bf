"""Templating: what Jinja templates can say about linkbacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flask import has_request_context, request
from jinja2 import Environment, nodes, pass_eval_context
from jinja2.ext import Extension
from jinja2.filters import do_urlize
from jinja2.lexer import Token, TokenStream
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from markupsafe import Markup

from .errors import UnknownTarget
from .linkbacks import showing
from .linkbacks.advertising import pingback_server
from .models import Mention
from .site import Route, current_site

__all__ = ["PingbackTags", "linkback_head", "mention_count", "mentions_for", "safe_href"]


def mentions_for(
    obj_or_url: Any = None, protocol: str | None = None, include_hidden: bool = False
) -> Sequence[Mention]:
    """Return the mentions of an object, of a URL of ours, or of the page being served; newest first.

    A page being served that accepts none has none; an object or URL that is none of ours raises
    `UnknownTarget`.
    """
    what = _page_served() if obj_or_url is None else obj_or_url
    try:
        return showing.mentions_for(current_site(), what, protocol, include_hidden=include_hidden)
    except UnknownTarget:
        if obj_or_url is not None:
            raise
        return ()


def mention_count(obj_or_url: Any = None, protocol: str | None = None, include_hidden: bool = False) -> int:
    """Return the number of what `mentions_for` returns."""
    what = _page_served() if obj_or_url is None else obj_or_url
    try:
        return showing.mention_count(current_site(), what, protocol, include_hidden=include_hidden)
    except UnknownTarget:
        if obj_or_url is not None:
            raise
        return 0


def _page_served() -> Route:
    """Where the request leads; its host may be any name of ours."""
    return Route(endpoint=request.endpoint or "", args=request.view_args or {})


def linkback_head() -> Markup:
    """Return the link elements for the head of the page being served; empty where it accepts nothing.

    Pingback 1.0, section 2: exactly this form, and no entities but the four.
    """
    server = pingback_server(current_site(), request.endpoint) if has_request_context() else None
    return Markup() if server is None else Markup('<link rel="pingback" href="{}">').format(server)


def safe_href(url: str) -> str:
    """Return an http(s) URL as it is and anything else as ``""``: no link of a stranger runs script."""
    return url if url.lower().startswith(("http://", "https://")) else ""


# --- django-pingback's templates ---------------------------------------------------------------------


class PingbackTags(Extension):
    """The tags of django-pingback: ``{% get_pingback_list for post as pingbacks %}`` and ``_count``.

    The template on its page also says ``{{ pingback.url|urlizetrunc:40 }}``: that one filter of
    Django's is known too, with Django's colon.
    """

    tags = {"get_pingback_list", "get_pingback_count"}  # noqa: RUF012  Jinja's own type

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters.setdefault("urlizetrunc", urlizetrunc)

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Write ``|urlizetrunc:40`` as Jinja does: ``|urlizetrunc(40)``."""
        for token in stream:
            yield token
            if token.test("name:urlizetrunc") and stream.current.type == "colon":
                colon = next(stream)
                yield Token(colon.lineno, "lparen", "(")
                yield next(stream)
                yield Token(colon.lineno, "rparen", ")")

    def parse(self, parser: Parser) -> nodes.Node:
        tag = next(parser.stream)
        words = _words(parser)
        if len(words) != 4:
            parser.fail(f"'{tag.value}' tag requires 4 arguments", tag.lineno)
        if not _is_name(words[0], "for"):
            parser.fail(f"First argument in '{tag.value}' tag must be 'for'", tag.lineno)
        if not _is_name(words[2], "as"):
            parser.fail(f"Third argument in '{tag.value}' tag must be 'as'", tag.lineno)
        if not _is_name(words[3]):
            parser.fail(f"Fourth argument in '{tag.value}' tag must be a name", tag.lineno)
        call = self.call_method(tag.value, [_expression(parser, words[1])], lineno=tag.lineno)
        return nodes.Assign(nodes.Name(words[3][0].value, "store"), call, lineno=tag.lineno)

    def get_pingback_list(self, obj: Any) -> Sequence[Mention]:
        return mentions_for(obj)

    def get_pingback_count(self, obj: Any) -> int:
        return mention_count(obj)


def _words(parser: Parser) -> list[list[Token]]:
    """Return the tokens up to the tag's end, those of one expression together: ``post.author`` is a word."""
    words: list[list[Token]] = []
    ended = True
    while parser.stream.current.type != "block_end":
        token = next(parser.stream)
        plain = token.type in ("name", "string", "integer", "float")
        if ended and (plain or len(words) < 2):
            words.append([])
        words[-1].append(token)
        ended = plain or token.type in ("rparen", "rbracket")
    return words


def _is_name(word: list[Token], name: str | None = None) -> bool:
    return len(word) == 1 and word[0].type == "name" and name in (None, word[0].value)


def _expression(parser: Parser, tokens: list[Token]) -> nodes.Expr:
    stream = parser.stream
    parser.stream = TokenStream(iter(tokens), parser.name, parser.filename)
    try:
        expression = parser.parse_expression()
        parser.stream.expect("eof")
        return expression
    finally:
        parser.stream = stream


@pass_eval_context
def urlizetrunc(context: EvalContext, text: str, limit: int) -> str:
    """Make links of the URLs in a text and shorten what is shown of them, as Django's filter does."""
    return do_urlize(context, text, limit, rel="nofollow ugc noopener")
