"""Templating: what Jinja templates can say about linkbacks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from flask import has_request_context, request, url_for
from jinja2 import Environment, nodes, pass_eval_context
from jinja2.ext import Extension
from jinja2.filters import do_urlize
from jinja2.lexer import Token, TokenStream
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from markupsafe import Markup

from .errors import UnknownTarget
from .linkbacks import showing
from .linkbacks.advertising import pingback_server, trackback_place, webmention_endpoint
from .linkbacks.avatars import AVATAR
from .linkbacks.shown import Conversation, Faces
from .models import Mention
from .protocols.trackback import dump_rdf
from .site import Route, Site, current_site

__all__ = [
    "PingbackTags",
    "linkback_conversation",
    "linkback_faces",
    "linkback_head",
    "mention_count",
    "mentions_for",
    "safe_href",
]

T = TypeVar("T")


def mentions_for(
    obj_or_url: Any = None,
    protocol: str | None = None,
    include_hidden: bool = False,
    *,
    type: str | Collection[str] | None = None,  # noqa: A002  as the column is called
) -> Sequence[Mention]:
    """Return the mentions of an object, of a URL of ours, or of the page being served; newest first.

    A page being served that accepts none has none; an object or URL that is none of ours raises
    `UnknownTarget`.
    """
    look = partial(showing.mentions_for, protocol=protocol, include_hidden=include_hidden, types=type)
    return _look(look, obj_or_url, nothing=())


def mention_count(
    obj_or_url: Any = None,
    protocol: str | None = None,
    include_hidden: bool = False,
    *,
    type: str | Collection[str] | None = None,  # noqa: A002
) -> int:
    """Return the number of what `mentions_for` returns."""
    look = partial(showing.mention_count, protocol=protocol, include_hidden=include_hidden, types=type)
    return _look(look, obj_or_url, nothing=0)


def linkback_conversation(obj_or_url: Any = None, depth: int = 3, limit: int = 200) -> Conversation:
    """Return what `mention_list` draws: replies in threads and other mentions that are shown."""
    look = partial(showing.conversation_of, avatar_url=_avatar_url, depth=depth, limit=limit)
    return _look(look, obj_or_url, nothing=Conversation())


def linkback_faces(obj_or_url: Any = None, limit: int = 20) -> Sequence[Faces]:
    """Return what `facepile` draws: who likes, reposts, bookmarks or comes, by kind."""
    look = partial(showing.faces_of, avatar_url=_avatar_url, limit=limit)
    return _look(look, obj_or_url, nothing=())


def _avatar_url(key: str) -> str:
    """Where a picture is served: on the host of the page being served, so that ``img-src 'self'`` holds."""
    if has_request_context():
        return url_for(AVATAR, key=key)
    return current_site().url_for(AVATAR, key=key)


def _look(look: Callable[[Site, Any], T], obj_or_url: Any, *, nothing: T) -> T:
    what = _page_served() if obj_or_url is None else obj_or_url
    try:
        return look(current_site(), what)
    except UnknownTarget:
        if obj_or_url is not None:
            raise
        return nothing


def _page_served() -> Route:
    """Where the request leads; its host may be any name of ours."""
    return Route(endpoint=request.endpoint or "", args=request.view_args or {})


def linkback_head(title: str = "") -> Markup:
    """Return what the head of the page being served says of linkbacks; empty where it accepts none.

    The link element of pingback in its exact form, with no entities but the four (Pingback 1.0, section
    2), that of webmention, and where trackbacks are received the comment with their RDF. ``title`` is
    what that calls the page; without one, its URL.
    """
    if not has_request_context():
        return Markup()
    site, endpoint = current_site(), request.endpoint
    links = {
        "pingback": pingback_server(site, endpoint),
        "webmention": webmention_endpoint(site, endpoint),
    }
    head = [
        Markup('<link rel="{}" href="{}">').format(rel, href)
        for rel, href in links.items()
        if href is not None
    ]
    place = trackback_place(site, endpoint, request.view_args)
    if place is not None:
        page_url, ping_url = place
        head.append(Markup(dump_rdf(page_url, title or page_url, ping_url)))  # noqa: S704  it escapes them
    return Markup("\n").join(head)


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
