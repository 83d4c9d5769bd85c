"""Which notifications a channel accepts."""

from __future__ import annotations

from app.alerting.channels.channel import Channel


def test_which_messages_a_channel_accepts() -> None:
    blogs = Channel("blogs", "slack", "https://x", 1, apps=("blog-*",), least="page")

    assert blogs.accepts("blog-1", "page")
    assert not blogs.accepts("blog-1", "warn")
    assert not blogs.accepts("shop", "page")
    assert blogs.accepts("-", "page")
