"""Odd: what fuzzers think of, and the blog that they talk to."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.apps import Blog
from tests.pingback.tools import add
from tests.thorough import examples

NO_LIMITS: Final = dict.fromkeys(("caller", "target", "source_host", "source_host_parallel", "fetches"))

fuzz = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)

odd_text = st.text(
    alphabet=st.one_of(
        st.sampled_from("\0\x01\x1b\x7f\x85\ud800\udfff\ufffe\u202e\u2028%/\\?#&;:@[]é日😀 <\"'"),
        st.characters(),
    ),
    max_size=30,
)
odd_urls = st.builds(
    lambda start, rest: start + rest,
    st.sampled_from(
        [
            "https://blog.example/post/",
            "https://blog.example/",
            "http://there.example/",
            "https://",
            "",
            "http://[",
            "https://blog.example/post/%00",
            "https://blog.example/post/hello",
            "https://blog.example/post/%ED%A0%80%FF",
        ]
    ),
    odd_text,
)


def page_at_every_path(blog: Blog) -> Blog:
    """Let every path of a blog be one that accepts linkbacks, if there is a post of that name."""

    @blog.app.get("/<path:rest>")
    def by_path(rest: str) -> str:
        return rest

    @blog.linkback.target("by_path")
    def load_path(rest: str) -> Any:
        return blog.db.session.scalar(blog.db.select(blog.Post).filter_by(slug=rest))

    add(blog, "hello")
    return blog
