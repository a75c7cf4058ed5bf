"""The stage: a reply, a like, an edit and a deletion, as the scenes of the demo make them."""

from __future__ import annotations

import pytest

from example.demo import mark, on_stage
from example.stage import DemoError


def test_what_a_scene_can_let_a_blog_do(capsys: pytest.CaptureFixture[str]) -> None:
    with on_stage() as cast:
        cast.stage.begin("A reply, a like, an edit, a deletion")
        target = cast.low_tide.write(title="What the harbour keeps", html="<p>Rope & rust.</p>")
        reply = cast.lamplight.write(title="Forty names", html="<p>I counted.</p>", in_reply_to=target)
        like = cast.lamplight.write(title="Good", like_of=target)
        for source in (reply, like):
            wanted = {"source": source, "target": target}
            mention = cast.stage.wait_for(cast.low_tide, "mention_verified", mention=wanted)["mention"]
            assert mark(mention["id"]) in cast.low_tide.get(target)
        assert f'class="u-in-reply-to" href="{target}"' in cast.lamplight.get(reply)
        assert f'class="u-like-of" href="{target}"' in cast.lamplight.get(like)
        cast.lamplight.edit(reply, title="Forty names", html="<p>I counted again.</p>")
        assert target not in cast.lamplight.get(reply)
        cast.lamplight.delete(like)
        with pytest.raises(DemoError, match=r"4(?:04|10)"):
            cast.lamplight.get(like)
