"""Channels that accept Slack's webhooks."""

from __future__ import annotations

import msgspec

from app.alerting.channels.channel import Channel
from app.alerting.channels.http_post import (
    WEB_ADDRESS,
    check_web_address,
    mask_web_address,
    post_json,
)
from app.alerting.notification import Notification

_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SIGNS = {"firing": "🔴", "resolved": "🟢", "test": "🔵"}


class Slack:
    """A text in Slack's markup. Mattermost, Rocket.Chat and Discord (…/slack) accept it too."""

    name = "slack"
    help = "a Slack-compatible webhook: Slack, Mattermost, Rocket.Chat, Discord (…/slack)"
    fields = (WEB_ADDRESS,)

    def complete(self, channel: Channel) -> Channel:
        return channel

    def check(self, channel: Channel) -> None:
        check_web_address(channel)

    def masked_address(self, channel: Channel) -> str:
        return mask_web_address(channel)

    async def deliver(self, channel: Channel, message: Notification, now_s: int) -> None:
        await post_json(channel, slack_body(message))


def slack_body(message: Notification) -> bytes:
    """The JSON of a notification."""
    lines = [f"{_SIGNS[message.status]} *{_escape(message.title)}*"]
    for item in message.alerts:
        lines.append(f"• {_escape(item.what)}" + (f"; {_escape(item.dyno)}" if item.dyno else ""))
        lines += [f"    {_escape(text)}" for text in (item.means, item.reason) if text]
        lines += [f"    _Check:_ {_escape(item.look)}"] if item.look else []
    if message.before:
        lines.append(f"*Just before:* {_escape(message.before)}")
    if message.besides:
        lines.append(f"Also firing: {_escape('; '.join(message.besides))}.")
    lines += [_escape(note) for note in message.notes]
    lines.append(f"<{message.link}|Open in Dynometer>")
    return msgspec.json.encode({"text": "\n".join(lines)})


def _escape(text: str) -> str:
    return text.translate(_ESCAPED)
